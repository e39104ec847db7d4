"""The quota ledger: calls to vendors, shared by all runs and environments that use this database.

Belongs here: ``meltano.quota_ledger``. Does not belong here: what a vendor's limit is and what its
headers say (``clients/policy.py``), who reserves (``extraction.py``).

Calls are reserved before they are made, a chunk at a time, and settled at what was used. A chunk
whose process was killed stays reserved until the window is over, so that the ledger never counts
too few. What the vendor itself says was used (an entry ``vendor``) can raise the count, never lower
it: an answer may be read later than the calls after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg

from meltano_assets.warehouse.books import advisory_key, ensure
from meltano_assets.warehouse.connection import Warehouse

PRODUCTION = "production"
ROLLING = "rolling"
_APPLICATION = "meltano-assets quota"
_DAY = timedelta(days=1)

_OURS = """
select environment, entry, calls, id from meltano.quota_ledger
where source = %(source)s and noted_at >= %(start)s and noted_at < %(end)s
"""
_USED = f"""
with entries as ({_OURS}),
ours as (
    select
        coalesce(sum(calls) filter (where entry <> 'vendor'), 0) as total,
        coalesce(sum(calls) filter (where entry <> 'vendor' and environment <> '{PRODUCTION}'), 0)
            as elsewhere
    from entries
),
told as (
    select v.calls + coalesce((
        select sum(e.calls) from entries as e
        where (e.entry <> 'vendor' and e.id > v.id) or (e.entry = 'reserved' and e.id < v.id)
    ), 0) as total
    from entries as v
    where v.entry = 'vendor'
    order by v.id desc
    limit %(told)s
)
select greatest(ours.total, (select max(total) from told))::bigint, ours.elsewhere::bigint
from ours
"""


@dataclass(frozen=True, slots=True)
class QuotaWindow:
    """The span for which a vendor counts: from ``start`` until ``end``, when the count resets."""

    start: datetime
    end: datetime
    is_rolling: bool = False


def quota_window(zone: str, now: datetime) -> QuotaWindow:
    """The vendor's day around ``now``: from midnight in its zone, or the last 24 hours."""
    if zone == ROLLING:
        return QuotaWindow(now - _DAY, now + timedelta(minutes=1), is_rolling=True)
    local = now.astimezone(ZoneInfo(zone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    # A day has 23 or 25 hours when clocks change: midnight is found in the zone itself.
    following = (midnight + timedelta(days=1)).replace(fold=0)
    return QuotaWindow(midnight.astimezone(UTC), following.astimezone(UTC))


@dataclass(frozen=True, slots=True)
class Grant:
    """What was reserved: ``calls`` may be fewer than wanted, and none at the end."""

    id: int
    calls: int
    used_before: int


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """How much of a window is used: by the ledger, by environment, and as the vendor said last."""

    used: int
    by_environment: Mapping[str, int] = field(default_factory=dict)
    vendor: int | None = None


class QuotaLedger:
    """Reservations of one run. Safe for many processes and threads; each call is a transaction."""

    def __init__(self, warehouse: Warehouse, *, run_id: str, environment: str) -> None:
        self._warehouse = warehouse
        self._run_id = run_id
        self._environment = environment

    def reserve(
        self, source: str, window: QuotaWindow, wanted: int, *, limit: int, elsewhere_limit: int
    ) -> Grant:
        """Take up to ``wanted`` calls within the limits of all, and of all outside production."""
        with self._locked(source) as connection:
            total, elsewhere = self._used(connection, source, window)
            left = limit - total
            if self._environment != PRODUCTION:
                left = min(left, elsewhere_limit - elsewhere)
            granted = max(0, min(wanted, left))
            if not granted:
                return Grant(0, 0, total)
            row = connection.execute(
                "insert into meltano.quota_ledger (source, environment, day, run_id, entry, calls)"
                " values (%s, %s, current_date, %s, 'reserved', %s) returning id",
                [source, self._environment, self._run_id, granted],
            ).fetchone()
            assert row is not None
            return Grant(int(row[0]), granted, total)

    def settle(self, grant: Grant, used: int) -> None:
        """Give back what was not used; settling twice changes nothing."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            connection.execute(
                "update meltano.quota_ledger set entry = 'settled', calls = %s"
                " where id = %s and entry = 'reserved'",
                [used, grant.id],
            )

    def note_vendor(self, source: str, used: int) -> None:
        """What the vendor says was used in its window, by everybody who calls it."""
        with self._locked(source) as connection:
            connection.execute(
                "insert into meltano.quota_ledger (source, environment, day, run_id, entry, calls)"
                " values (%s, %s, current_date, %s, 'vendor', %s)",
                [source, self._environment, self._run_id, used],
            )

    def use(self, source: str, window: QuotaWindow) -> QuotaUse:
        """How much of the window is used."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            ensure(connection)
            total, _ = self._used(connection, source, window)
            rows = connection.execute(_OURS, _span(source, window)).fetchall()
        by_environment: dict[str, int] = {}
        told: tuple[int, int] | None = None
        for environment, entry, calls, number in rows:
            if entry == "vendor":
                told = max(told or (0, 0), (number, calls))
            else:
                by_environment[environment] = by_environment.get(environment, 0) + calls
        return QuotaUse(total, by_environment, told[1] if told else None)

    def _used(
        self, connection: psycopg.Connection, source: str, window: QuotaWindow
    ) -> tuple[int, int]:
        row = connection.execute(_USED, _span(source, window)).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    @contextmanager
    def _locked(self, source: str) -> Iterator[psycopg.Connection]:
        """A transaction in which nobody else reserves of this source."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            ensure(connection)
            key = advisory_key(f"quota {source}")
            connection.execute("select pg_advisory_xact_lock(%s)", [key])
            yield connection


def _span(source: str, window: QuotaWindow) -> dict[str, object]:
    # In a window that rolls, what the vendor said long ago has rolled away.
    told = 1 if window.is_rolling else 1000
    return {"source": source, "start": window.start, "end": window.end, "told": told}
