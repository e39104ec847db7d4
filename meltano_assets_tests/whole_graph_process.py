"""A process that runs the whole graph on what the environment names, for tests that kill it."""

from __future__ import annotations

import sys

import dagster as dg

from meltano_assets.definitions import defs


def main() -> int:
    """0 when every step succeeded; failures go to standard error."""
    job = defs().resolve_job_def("everything")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    for event in result.all_events:
        if event.is_step_failure:
            text = event.step_failure_data.error_display_string
            sys.stderr.write(f"{event.step_key}: {text[-2000:]}\n")
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main())
