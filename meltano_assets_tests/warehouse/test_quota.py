"""X7, L10 (the ledger): calls are shared by all runs and environments, and nobody exceeds them."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.quota import QuotaLedger, QuotaWindow, quota_window

DAY = QuotaWindow(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1))


def ledger(warehouse: Warehouse, environment: str = "production") -> QuotaLedger:
    return QuotaLedger(warehouse, run_id="run", environment=environment)


def reserve(books: QuotaLedger, wanted: int, limit: int = 100, elsewhere: int = 10) -> int:
    return books.reserve("shop", DAY, wanted, limit=limit, elsewhere_limit=elsewhere).calls


def test_what_is_reserved_by_one_run_is_missing_to_the_other(warehouse: Warehouse) -> None:
    assert reserve(ledger(warehouse), 70) == 70
    assert reserve(ledger(warehouse), 70) == 30
    assert reserve(ledger(warehouse), 1) == 0
    assert ledger(warehouse).use("shop", DAY).used == 100
    assert ledger(warehouse).use("other", DAY).used == 0


def test_unused_calls_come_back_once(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    grant = books.reserve("shop", DAY, 50, limit=100, elsewhere_limit=10)
    books.settle(grant, 20)
    books.settle(grant, 0)
    assert books.use("shop", DAY).used == 20


def test_a_killed_run_never_makes_the_ledger_count_too_few(warehouse: Warehouse) -> None:
    reserve(ledger(warehouse), 60)
    assert reserve(ledger(warehouse), 60) == 40


def test_outside_production_only_the_small_share_is_used_by_all_together(
    warehouse: Warehouse,
) -> None:
    assert reserve(ledger(warehouse, "review"), 8) == 8
    assert reserve(ledger(warehouse, "local"), 8) == 2
    assert reserve(ledger(warehouse, "test"), 8) == 0
    assert reserve(ledger(warehouse), 100) == 90
    assert ledger(warehouse).use("shop", DAY).by_environment == {
        "review": 8,
        "local": 2,
        "production": 90,
    }


def test_the_vendors_count_raises_ours_and_never_lowers_it(warehouse: Warehouse) -> None:
    books = ledger(warehouse)
    grant = books.reserve("shop", DAY, 10, limit=100, elsewhere_limit=10)
    books.settle(grant, 10)
    books.note_vendor("shop", 60)  # somebody else calls, too
    assert books.use("shop", DAY).used == 60
    reserve(books, 10)
    assert books.use("shop", DAY).used == 70
    books.note_vendor("shop", 5)  # an answer read late
    assert books.use("shop", DAY).used == 70
    assert books.use("shop", DAY).vendor == 5
    assert reserve(books, 100) == 30


def test_a_window_that_is_over_does_not_count(warehouse: Warehouse) -> None:
    reserve(ledger(warehouse), 100)
    tomorrow = QuotaWindow(DAY.end, DAY.end + timedelta(days=1))
    grant = ledger(warehouse).reserve("shop", tomorrow, 5, limit=100, elsewhere_limit=1)
    assert grant.calls == 5


def test_many_threads_never_exceed_the_limit(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda _: reserve(ledger(warehouse), 7), range(24)))
    assert sum(granted) == 100


def test_two_processes_never_exceed_the_limit(warehouse: Warehouse) -> None:
    script = """
import sys
from datetime import UTC, datetime, timedelta
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.quota import QuotaLedger, QuotaWindow
books = QuotaLedger(Warehouse(sys.argv[1]), run_id="x", environment="production")
now = datetime.now(UTC)
day = QuotaWindow(now - timedelta(hours=1), now + timedelta(hours=1))
total = 0
while calls := books.reserve("shop", day, 3, limit=50, elsewhere_limit=5).calls:
    total += calls
print(total)
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", script, warehouse.url], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    totals = [int(run.communicate(timeout=60)[0]) for run in runs]
    assert sum(totals) == 50


@pytest.mark.parametrize(
    ("zone", "now", "start", "end"),
    [
        ("UTC", "2026-01-10T12:00", "2026-01-10T00:00", "2026-01-11T00:00"),
        ("America/Chicago", "2026-01-10T05:59", "2026-01-09T06:00", "2026-01-10T06:00"),
        ("America/Chicago", "2026-07-10T06:00", "2026-07-10T05:00", "2026-07-11T05:00"),
        # clocks go forward: a day of 23 hours
        ("America/Chicago", "2026-03-08T12:00", "2026-03-08T06:00", "2026-03-09T05:00"),
        ("America/Chicago", "2026-11-01T12:00", "2026-11-01T05:00", "2026-11-02T06:00"),
    ],
)
def test_a_vendors_day_begins_at_its_own_midnight(
    zone: str, now: str, start: str, end: str
) -> None:
    window = quota_window(zone, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert window == QuotaWindow(
        datetime.fromisoformat(start).replace(tzinfo=UTC),
        datetime.fromisoformat(end).replace(tzinfo=UTC),
    )


def test_the_last_24_hours_are_a_window_too() -> None:
    now = datetime(2026, 1, 10, 12, tzinfo=UTC)
    window = quota_window("rolling", now)
    assert window.is_rolling
    assert window.start == now - timedelta(days=1)
    assert window.end > now
