"""``python -m meltano_assets.sandbox``: the sandbox alone, next to a Postgres of one's own."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from meltano_assets.sandbox.control import Manifest
from meltano_assets.sandbox.server import run


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m meltano_assets.sandbox", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    parser.add_argument("--state-dir", type=Path, default=Path(".meltano/sandbox/company"))
    parser.add_argument("--postgres-url", help="superuser's URL; without it no version database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--today", type=date.fromisoformat, help="YYYY-MM-DD; first start only")
    parser.add_argument("--port-base", type=int)
    parser.add_argument("--fault", action="append", default=[], metavar="SERVICE:KIND[:TIMES]")
    parser.add_argument("--vendor-limits", action="store_true", help="the vendors' real rates")
    given = parser.parse_args(arguments)

    def announce(manifest: Manifest) -> None:
        text = json.dumps(manifest, indent=None if given.json else 2)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    try:
        run(
            state_dir=given.state_dir,
            postgres_url=given.postgres_url,
            seed=given.seed,
            scale=given.scale,
            today=given.today,
            port_base=given.port_base,
            faults=given.fault,
            has_vendor_limits=given.vendor_limits,
            on_ready=announce,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
