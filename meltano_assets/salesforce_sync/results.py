"""What became of changes: one result each, their tally, and runs and changes of the past."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from meltano_assets.salesforce_sync.plan import Change

#: ``planned``: not to be pushed here. ``stopped``: by the breaker. ``interrupted``: killed.
RunState = Literal["planned", "stopped", "pushing", "done", "failed", "interrupted"]

#: ``parked`` waits for its row to change, ``failed`` is tried again by the next run, ``skipped``
#: was left alone on purpose (revert).
ResultState = Literal["sent", "parked", "failed", "skipped"]


SHOWN_REFUSALS = 50


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one change."""

    change: Change
    state: ResultState
    record_id: str | None = None
    is_created: bool = False
    reason: str = ""
    detail: str = ""


@dataclass(slots=True)
class Tally:
    """Results counted while they come in."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    parked: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    #: Parked and failed results, the first of them only: there may be a hundred thousand.
    refused: list[Result] = field(default_factory=list)

    def add(self, results: Iterable[Result]) -> None:
        """Count what became of these changes."""
        for result in results:
            if result.state != "sent":
                setattr(self, result.state, getattr(self, result.state) + 1)
                self.reasons[result.reason] = self.reasons.get(result.reason, 0) + 1
                if result.state != "skipped" and len(self.refused) < SHOWN_REFUSALS:
                    self.refused.append(result)
            elif result.change.action == "delete":
                self.deleted += 1
            elif result.change.action == "create" and result.is_created:
                self.created += 1
            else:
                self.updated += 1

    @property
    def done(self) -> int:
        """How many changes have a result."""
        sent = self.created + self.updated + self.deleted
        return sent + self.parked + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class PastChange:
    """One change of a past run, for history and revert."""

    run_number: int
    position: int
    sync: str
    change: Change
    state: str
    reason: str | None
    detail: str | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run as it is remembered."""

    number: int
    run_id: str
    sync: str
    operation: str
    state: str
    is_pushed: bool
    planned_at: datetime
    finished_at: datetime | None
