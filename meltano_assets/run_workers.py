"""Runs whose process is gone: found, ended, and their places in the vendors' pools given back.

A process that is killed says nothing to Dagster, so its run stays "started" for good and keeps the
places that its steps had in the pools; every later read of the same source then waits for them,
without a word. Belongs here: telling whether a run's process still lives, and what follows. Does
not belong here: the storage (``instance.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import psutil

# The interface that every launcher implements has no public name.
from dagster._core.launcher.base import (  # noqa: TID251
    CheckRunHealthResult,
    LaunchRunContext,
    WorkerStatus,
)

from meltano_assets import process_locks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The boot and process namespace in which a run's process was started.
MACHINE_TAG = "meltano/machine"
#: Clocks of the process table and of the event log, told apart by no less.
_CLOCK_SECONDS = 2.0


class PlatformRunLauncher(dg.DefaultRunLauncher):
    """Dagster's own launcher, which also knows when the process of a run is gone.

    Dagster's daemon asks it about every started run (``run_monitoring`` in ``dagster.yaml``) and
    marks a run as failed whose process no longer exists: killed, or lost with its machine.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch it, and write down on which machine."""
        self._instance.add_run_tags(context.dagster_run.run_id, machine_tags())
        super().launch_run(context)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes, by the process that the run's first event names."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """NOT_FOUND when the run's process is gone; RUNNING also when that can't be told."""
        reason = why_gone(self._instance, run)
        if reason is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, reason)


def machine_tags() -> Mapping[str, str]:
    """Tags of a run whose process runs here."""
    return {MACHINE_TAG: process_locks.home()}


def why_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """Why the run's process no longer exists; None when it does, or when nothing tells."""
    machine = run.tags.get(MACHINE_TAG)
    if not machine or not process_locks.home():
        return None
    if machine != process_locks.home():
        return "the machine or container that ran it was started anew"
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        told = event.engine_event_data.metadata.get("pid") if event else None
        if told is not None and str(told.value).isdigit():
            if _lives(int(str(told.value)), entry.timestamp):
                return None
            return f"the process that ran it ({told.value}) is gone"
    return None


def end_abandoned_runs(instance: dg.DagsterInstance) -> dict[str, str]:
    """Mark started runs as failed whose process is gone, and give their places in pools back.

    Returns why, by the run's id.
    """
    gone = {
        run.run_id: reason
        for run in runs_under_way(instance)
        if (reason := why_gone(instance, run)) is not None
    }
    for run_id, reason in gone.items():
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, f"Ended: {reason}.")
    pools = instance.event_log_storage
    for run_id in pools.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or why_gone(instance, run) is not None:
            pools.free_concurrency_slots_for_run(run_id)
    return gone


def runs_under_way(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Runs that have started and not ended, newest first."""
    return instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))


def _lives(pid: int, since: float) -> bool:
    """True when that process exists and is not a later one with the same number."""
    try:
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return not is_zombie and process.create_time() <= since + _CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
