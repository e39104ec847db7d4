"""What a plan is: the records that one run of one sync would create and change, and why not.

Belongs here: the values that planning hands to pushing, showing and remembering, and the breaker.
Does not belong here: how a plan is made (``compare``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from meltano_assets.salesforce_sync.spec import SyncSpec
from meltano_assets.salesforce_sync.values import ObjectDescription, Reject

Action = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One record that will be created (it has no ``record_id`` yet), updated or deleted.

    Values are canonical texts. ``before`` is the before-image of the fields in ``after`` (and of
    the lookup field where ``after`` names a parent by external id). ``parent`` sorts records of one
    parent together, so that parallel batches do not fight for its lock.
    """

    key: str
    record_id: str | None
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]
    row_hash: str
    action: Action = "update"
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Parked:
    """One row that is not sent, and why. ``is_held``: refused by Salesforce and unchanged since."""

    key: str
    record_id: str | None
    row_hash: str
    reject: Reject
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What is remembered of a record that was not simply sent, or (``sent``) what was sent last."""

    state: str
    row_hash: str
    reason: str = ""
    detail: str = ""
    refused_by: str | None = None
    sent: Mapping[str, str | None] = field(default_factory=dict)

    def holds(self, row_hash: str) -> bool:
        """True when sending this very row again would only repeat what happened."""
        asked_salesforce = self.state == "reverted" or self.refused_by == "salesforce"
        is_waiting = self.state in {"parked", "reverted"}
        return is_waiting and asked_salesforce and self.row_hash == row_hash


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run of one sync will do, before it does it."""

    spec: SyncSpec
    run_id: str
    planned_at: datetime
    description: ObjectDescription
    rows: int
    changes: tuple[Change, ...] = ()
    parked: tuple[Parked, ...] = ()
    unchanged: int = 0
    resolved: tuple[str, ...] = ()
    org_records: int | None = None
    requests: int = 0
    previous_run: int | None = None

    @property
    def creations(self) -> int:
        """How many records the run would create."""
        return sum(1 for change in self.changes if change.action == "create")

    @property
    def updates(self) -> int:
        """How many existing records the run would change."""
        return sum(1 for change in self.changes if change.action == "update")

    @property
    def reasons(self) -> dict[str, int]:
        """Parked rows by reason class, most frequent first."""
        return dict(Counter(each.reject.reason for each in self.parked).most_common())

    @property
    def needs_org_count(self) -> bool:
        """True when the breaker has to know how many records the org holds."""
        limit = self.spec.breaker
        return self.updates > limit.changed_floor and limit.changed_percent < 100

    @property
    def breaker(self) -> str | None:
        """Why a person should look before this is pushed, or None."""
        limit = self.spec.breaker
        if self.creations > limit.creations:
            return f"would create {self.creations} records; the limit is {limit.creations}"
        if self.needs_org_count and self.org_records is not None:
            percent = 100 * self.updates / max(self.org_records, 1)
            if percent > limit.changed_percent:
                return (
                    f"would change {self.updates} of {self.org_records} {self.spec.object} records "
                    f"({percent:.0f} %); the limit is {limit.changed_percent:g} %"
                )
        return None
