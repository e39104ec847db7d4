"""L10: the job log keeps vendor jobs across processes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from meltano_assets.streams import JobKey, VendorJob
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.jobs import JobLog

KEY = JobKey(
    "shop", "orders", "export", {"fields": ["id"], "start": datetime(2026, 1, 1, tzinfo=UTC)}
)
JOB = VendorJob("750A", "ordered", {"end": "2026-02-01"}, datetime(2026, 2, 1, tzinfo=UTC))


def test_another_process_finds_an_open_job_with_its_details(warehouse: Warehouse) -> None:
    assert JobLog(warehouse).find(KEY) is None
    JobLog(warehouse, run_id="a").note(KEY, JOB)
    assert JobLog(warehouse, run_id="b").find(KEY) == JOB
    assert JobLog(warehouse).find(replace(KEY, request={"fields": ["id", "x"]})) is None


def test_a_job_is_open_until_what_was_read_is_committed(warehouse: Warehouse) -> None:
    log = JobLog(warehouse)
    for state in ("ordered", "ready", "read"):
        log.note(KEY, replace(JOB, state=state))  # type: ignore[arg-type]
        found = JobLog(warehouse).find(KEY)
        assert found is not None
        assert found.state == state
    JobLog(warehouse).settle()
    assert JobLog(warehouse).find(KEY) is not None
    log.settle()
    assert JobLog(warehouse).find(KEY) is None


def test_ended_jobs_are_not_found_but_stay_in_the_log(warehouse: Warehouse) -> None:
    log = JobLog(warehouse, run_id="a")
    for number, state in enumerate(("failed", "vanished", "abandoned")):
        log.note(KEY, replace(JOB, id=str(number), state=state))  # type: ignore[arg-type]
    assert log.find(KEY) is None
    with warehouse.connect() as connection:
        rows = connection.execute("select job_id, state, run_id from meltano.job_log").fetchall()
    assert sorted(rows) == [("0", "failed", "a"), ("1", "vanished", "a"), ("2", "abandoned", "a")]
