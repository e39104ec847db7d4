"""Runs whose process was killed: told from living ones, ended, and their places given back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from meltano_assets import environment, run_workers
from meltano_assets.demo import run as demo
from meltano_assets.errors import RetriableError
from meltano_assets.warehouse.connection import Warehouse

POOL = "vendor"
READER = f"""
import sys, time
from pathlib import Path
import dagster as dg
from meltano_assets import run_workers

@dg.asset(pool={POOL!r})
def reads():
    Path(sys.argv[2]).touch()
    time.sleep(600)

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    job = dg.Definitions([reads], jobs=[dg.define_asset_job("everything")]).resolve_job_def("everything")
    job.execute_in_process(instance=instance, tags=run_workers.machine_tags())
"""


@pytest.fixture
def home(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Dagster home with the project's own settings, stored in this test's database."""
    monkeypatch.setenv("MELTANO_DAGSTER_URL", warehouse.url)
    shutil.copy(environment.project_root() / "dagster.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


@pytest.fixture
def reader(home: Path, instance: dg.DagsterInstance) -> Iterator[subprocess.Popen[bytes]]:
    """A process in mid-read of the vendor, whose place in the pool it has."""
    flag = home / "reading"
    with (home / "output.log").open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", READER, str(home), str(flag)], stderr=sink
        )
    try:
        deadline = time.monotonic() + 60
        while not flag.exists():
            assert process.poll() is None, (home / "output.log").read_text()
            assert time.monotonic() < deadline, (home / "output.log").read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def launcher(instance: dg.DagsterInstance) -> run_workers.PlatformRunLauncher:
    found = instance.run_launcher
    assert isinstance(found, run_workers.PlatformRunLauncher)
    return found


def places(instance: dg.DagsterInstance) -> int:
    return len(instance.event_log_storage.get_concurrency_info(POOL).claimed_slots)


def test_a_killed_run_is_ended_and_its_place_is_free(
    instance: dg.DagsterInstance, reader: subprocess.Popen[bytes]
) -> None:
    (run,) = run_workers.runs_under_way(instance)
    assert places(instance) == 1
    os.kill(reader.pid, signal.SIGKILL)
    reader.wait()

    told = launcher(instance).check_run_worker_health(run)
    assert told.status.name == "NOT_FOUND"
    assert str(reader.pid) in str(told.msg)

    assert list(run_workers.end_abandoned_runs(instance)) == [run.run_id]
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert places(instance) == 0
    assert run_workers.end_abandoned_runs(instance) == {}


def test_a_living_run_keeps_its_place_and_the_demo_does_not_wait_for_it(
    instance: dg.DagsterInstance, reader: subprocess.Popen[bytes]
) -> None:
    (run,) = run_workers.runs_under_way(instance)
    assert launcher(instance).check_run_worker_health(run).status.name == "RUNNING"
    assert run_workers.end_abandoned_runs(instance) == {}
    with pytest.raises(RetriableError, match=f"the run {run.run_id[:8]} is reading the sources"):
        demo._alone_in_the_pools(instance, Console())
    assert places(instance) == 1


def test_a_run_of_a_machine_that_was_started_anew_is_gone(
    instance: dg.DagsterInstance,
    reader: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (run,) = run_workers.runs_under_way(instance)
    monkeypatch.setattr(run_workers.process_locks, "home", lambda: "the next boot pid:[1]")
    assert "started anew" in str(launcher(instance).check_run_worker_health(run).msg)


def test_a_later_process_with_the_same_number_is_not_the_run_s(
    instance: dg.DagsterInstance, reader: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = run_workers.runs_under_way(instance)
    began = run_workers.psutil.Process(reader.pid).create_time()
    monkeypatch.setattr(run_workers.psutil.Process, "create_time", lambda _: began + 3600)
    assert launcher(instance).check_run_worker_health(run).status.name == "NOT_FOUND"


def test_a_run_that_nobody_marked_is_left_to_its_owner(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(
        dg.Definitions([], jobs=[_nothing]).resolve_job_def("nothing"),
    )
    assert launcher(instance).check_run_worker_health(run).status.name == "RUNNING"


@dg.op
def _idle() -> None:
    """Does nothing."""


@dg.job(name="nothing")
def _nothing() -> None:
    _idle()
