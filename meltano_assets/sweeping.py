"""When the keys of a stream are read, and how much of them at a time.

Belongs here: what is due, the budget, one run's part of a pass; alike for assets and command line.
Does not belong here: reading keys (``sources/``), what follows for the table (``warehouse/sweep.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from meltano_assets.errors import FatalError, PlatformError, QuotaError, RetriableError
from meltano_assets.warehouse import sweep as passes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from meltano_assets.extraction import OpenSource
    from meltano_assets.sources.base import KeyPage
    from meltano_assets.streams import Stream, Sweep
    from meltano_assets.warehouse.connection import Warehouse
    from meltano_assets.warehouse.sweep import Pass, Sweeper

#: A pass whose position the vendor does not take in so many runs begins anew.
_STUMBLES = 3


@dataclass(frozen=True, slots=True)
class Swept:
    """What one run did: the pass as it is now, and why it went no further."""

    of: Pass
    pages: int = 0
    keys: int = 0
    calls: int = 0
    stopped: str = ""

    @property
    def is_healthy(self) -> bool:
        """False when nobody can tell what is deleted until a person has looked."""
        return self.of.state in {"open", "complete"}

    def facts(self) -> dict[str, str | int]:
        """The same for people."""
        found: dict[str, str | int] = {
            "pass": f"{self.of.state} since {self.of.began_at:%Y-%m-%d %H:%M}",
            "keys read in this run": self.keys,
            "calls of this run": self.calls,
            "keys read in the pass": self.of.keys,
        }
        if self.of.vanished is not None:
            found["rows that the vendor no longer has"] = self.of.vanished
            found["now marked as deleted"] = self.of.marked or 0
            found["found alive again"] = self.of.revived or 0
        if self.of.awaits_proof:
            found["next"] = "another pass, which must miss the same rows"
        if self.stopped:
            found["stopped"] = self.stopped
        return found


def due(warehouse: Warehouse, stream: Stream, *, now: datetime) -> datetime | None:
    """When keys are to be read next; None for streams that need it not or were never loaded.

    A pass that is open, or that leaves rows to be proved deleted, is due at once.
    """
    if stream.sweep is None or stream.disposition != "upsert" or not stream.primary_key:
        return None
    last = passes.last_pass(warehouse, stream)
    if last is None:
        since = passes.loaded_since(warehouse, stream)
        return None if since is None else since + stream.sweep.every
    if last.is_open or last.awaits_proof:
        return now
    return last.began_at + stream.sweep.every


def sweep(
    opened: OpenSource,
    stream: Stream,
    warehouse: Warehouse,
    *,
    now: datetime,
    plan: Sweep | None = None,
    calls: int | None = None,
) -> Swept | None:
    """Read keys as far as the budget goes; at the end of the pass the vanished rows are marked.

    ``calls`` replaces the plan's budget. None when another process is at it.
    """
    plan = plan or stream.sweep
    if plan is None or stream.disposition != "upsert" or not stream.primary_key:
        raise FatalError(
            "keys are read of streams that are upserted alone",
            source=stream.source,
            stream=stream.name,
            hint="one that is replaced as a whole has no rows that are gone",
        )
    try:
        with passes.sweeper(warehouse, stream) as sweeper:
            if sweeper is None:
                return None
            budget = calls or _budget(opened, stream, warehouse, plan)
            return _sweep(opened, stream, sweeper, plan, budget, now)
    except PlatformError as error:
        error.source, error.stream = stream.source, stream.name
        raise


def _budget(opened: OpenSource, stream: Stream, warehouse: Warehouse, plan: Sweep) -> int:
    """Calls that this run may spend: the plan's, and no more than what is left of the day's share."""
    if opened.meter is None:
        return plan.calls
    of_day = int(opened.meter.limits()[0] * plan.quota_share)
    return min(plan.calls, of_day - passes.calls_of_last_day(warehouse, stream.source))


def _sweep(
    opened: OpenSource, stream: Stream, sweeper: Sweeper, plan: Sweep, budget: int, now: datetime
) -> Swept:
    can_resume = opened.can_resume_keys(stream)
    one = sweeper.current(resumable=can_resume)
    done = Swept(one)
    if budget < 1:
        return replace(done, stopped="the day's share of the vendor's calls is spent")
    before = opened.requests
    try:
        one, pages = _begin(opened, stream, sweeper, one, now)
        for page in pages:
            calls = max(done.pages + 1, opened.requests - before)
            one = sweeper.store(
                one, page.records, page.position, calls - done.calls, is_exact=page.is_exact
            )
            done = Swept(one, done.pages + 1, done.keys + page.records.num_rows, calls)
            if page.is_last:
                return replace(done, of=sweeper.conclude(one, max_vanished=plan.max_vanished))
            if calls >= budget:
                break
    except QuotaError as error:
        done = replace(done, of=one, stopped=str(error))
    if can_resume:
        return replace(done, of=one, stopped=done.stopped or "the run's budget is spent")
    sweeper.abandon(one)
    few = f"{budget:,} calls are too few: these keys are read at one go or not at all"
    return replace(done, of=replace(one, state="abandoned"), stopped=done.stopped or few)


def _begin(
    opened: OpenSource, stream: Stream, sweeper: Sweeper, one: Pass, now: datetime
) -> tuple[Pass, Iterator[KeyPage]]:
    """The pages from the pass's position on; of a new pass when the vendor no longer takes that."""
    pages = opened.read_keys(stream, one.position, now=now)
    if one.position is None:
        return one, pages
    try:
        return one, chain([next(pages)], pages)
    except (StopIteration, FatalError, RetriableError) as error:
        if isinstance(error, QuotaError):
            raise
        one = sweeper.stumble(one)
        if isinstance(error, RetriableError) and one.stumbles < _STUMBLES:
            raise
    sweeper.abandon(one)
    return sweeper.current(), opened.read_keys(stream, None, now=now)
