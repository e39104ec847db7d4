"""Undoing a run: before-images go back field by field, created records are deleted.

Only what is still as the run left it is touched. A field that somebody changed since keeps its
value; a created record that somebody changed, or that has records of its own by now (contacts,
opportunities), stays. Reverted records rest until their rows change, or the next run would
repeat what was undone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from meltano_assets.errors import FatalError
from meltano_assets.salesforce_sync.compare import ID, MODIFIED
from meltano_assets.salesforce_sync.current import fetch_describe, fetch_records
from meltano_assets.salesforce_sync.outcome import OutcomeStore
from meltano_assets.salesforce_sync.plan import Change, Plan
from meltano_assets.salesforce_sync.push import PushOptions, Sleep
from meltano_assets.salesforce_sync.results import PastChange, PastRun, Result, Tally
from meltano_assets.salesforce_sync.spec import SyncSpec, select_syncs
from meltano_assets.salesforce_sync.sync import (
    Clock,
    OnProgress,
    SyncOutcome,
    push_recorded,
    utc_now,
)
from meltano_assets.salesforce_sync.values import Field, ObjectDescription

if TYPE_CHECKING:
    import pyarrow as pa

    from meltano_assets.clients.salesforce import SalesforceClient
    from meltano_assets.warehouse.connection import Warehouse

CREATED = "CreatedDate"

#: A record's own automation may touch it for so long after its creation.
_SETTLING = timedelta(seconds=60)

#: Standard objects whose records die with their parent; deleting them unasked would lose work.
_CHILDREN_THAT_COUNT = frozenset(
    {"Contact", "Opportunity", "Case", "Contract", "Order", "Asset", "Task", "Event"}
)


def revert_run(
    warehouse: Warehouse,
    client: SalesforceClient,
    specs: Mapping[str, SyncSpec],
    run_id: str,
    *,
    now: datetime,
    new_run_id: str,
    push: bool = True,
    on_progress: OnProgress | None = None,
    options: PushOptions | None = None,
    sleep: Sleep = time.sleep,
    clock: Clock = utc_now,
) -> list[SyncOutcome]:
    """Undo what the run sent, the last sync first; with ``push`` off only plan it.

    Each outcome's ``skipped`` counts fields' records that were left alone, by reason.
    """
    store = OutcomeStore(warehouse, client.organization_id)
    store.ensure()
    runs = [run for run in store.pushed_runs(run_id) if run.operation != "revert"]
    if not runs:
        raise FatalError(
            f"no run {run_id!r} has pushed anything",
            source="salesforce",
            hint="`sync runs` lists them; a revert is not reverted",
        )
    outcomes = []
    for run in runs:
        (spec,) = select_syncs(specs, [run.sync])
        with store.lock(spec):
            started = time.monotonic()
            before = client.requests
            undoing = _Revert(store, client, spec, run, now)
            plan, skipped = undoing.plan(new_run_id)
            plan = replace(plan, requests=client.requests - before)
            tally, requests = Tally(), plan.requests
            if push:
                tally, requests = push_recorded(
                    store,
                    client,
                    plan,
                    on_progress=on_progress,
                    options=options,
                    sleep=sleep,
                    clock=clock,
                    reverts=run_id,
                    skipped=skipped,
                )
            else:
                tally.add(skipped)
            outcome = _outcome(plan, tally, is_pushed=push, requests=requests)
            outcomes.append(replace(outcome, seconds=round(time.monotonic() - started, 3)))
    return outcomes


def _outcome(plan: Plan, tally: Tally, *, is_pushed: bool, requests: int) -> SyncOutcome:
    return SyncOutcome(
        sync=plan.spec.name,
        object=plan.spec.object,
        run_id=plan.run_id,
        is_pushed=is_pushed,
        rows=plan.rows,
        to_create=0,
        to_update=plan.updates,
        unchanged=0,
        parked=tally.parked,
        updated=tally.updated,
        deleted=tally.deleted,
        failed=tally.failed,
        skipped=tally.skipped,
        requests=requests,
        reasons=dict(tally.reasons),
        plan=plan,
    )


class _Revert:
    """The undoing of one past run of one sync."""

    def __init__(
        self,
        store: OutcomeStore,
        client: SalesforceClient,
        spec: SyncSpec,
        run: PastRun,
        now: datetime,
    ) -> None:
        self.store, self.client, self.spec, self.run, self.now = store, client, spec, run, now
        self.describe = fetch_describe(client, spec.object)

    def plan(self, run_id: str) -> tuple[Plan, list[Result]]:
        """The changes that undo, and what is left alone with its reason."""
        past = self.store.changes_of(self.run)
        found = self._current(past)
        changes: list[Change] = []
        skipped: list[Result] = []
        for each in past:
            now = found.get(each.change.record_id or each.change.key.lower())
            undo, reason = self._undo(each.change, now)
            if undo:
                changes.append(undo)
            elif reason:
                skipped.append(Result(each.change, "skipped", reason=reason))
        parents = {each.record_id for each in changes if each.action == "delete"}
        for record_id in self._with_children(sorted(filter(None, parents))):
            kept = [each for each in changes if each.record_id == record_id]
            changes = [each for each in changes if each.record_id != record_id]
            skipped += [Result(each, "skipped", reason="has_children") for each in kept]
        plan = Plan(
            spec=self.spec,
            run_id=run_id,
            planned_at=self.now,
            description=self.describe,
            rows=len(past),
            changes=tuple(changes),
        )
        return plan, skipped

    def _current(self, past: Sequence[PastChange]) -> dict[str, dict[str, str | None]]:
        """The records as they are, by id and, for those whose id was never learnt, by key."""
        key_field = self.describe.field(self.spec.key_field)
        names = [ID, key_field.name, MODIFIED, CREATED]
        for each in past:
            names += [*each.change.after, *each.change.before]
        names = [each for each in dict.fromkeys(names) if "." in each or self.describe.find(each)]
        ids = {each.change.record_id for each in past if each.change.record_id}
        keys = {each.change.key for each in past if not each.change.record_id}
        by_id = self._rows(names, self.describe.field(ID), {each for each in ids if each})
        by_key = self._rows(names, key_field, keys)
        found = {str(row[ID]): row for row in by_id}
        found |= {str(row[key_field.name]).lower(): row for row in by_key}
        return found

    def _rows(
        self, names: Sequence[str], key_field: Field, keys: Collection[str]
    ) -> list[dict[str, str | None]]:
        table: pa.Table = fetch_records(self.client, self.describe, names, key_field, keys)
        rows: list[dict[str, str | None]] = table.to_pylist()
        return rows

    def _undo(
        self, change: Change, now: Mapping[str, str | None] | None
    ) -> tuple[Change | None, str | None]:
        if now is None:
            return None, "record_gone" if change.record_id else None
        if change.action == "create":
            return self._undo_creation(change, now)
        restored: dict[str, str | None] = {}
        is_changed = False
        for name, sent in change.after.items():
            before = change.before.get(name)
            if now.get(name) == before:
                continue
            if now.get(name) != sent:
                is_changed = True
                continue
            about = self.describe.lookup(name.split(".")[0]) if "." in name else None
            if about:
                restored[about.name] = change.before.get(about.name)
            else:
                restored[name] = before
        if not restored:
            return None, "changed_since" if is_changed else "nothing_to_undo"
        undo = replace(
            change,
            record_id=now[ID],
            before={name: now.get(name) for name in restored},
            after=restored,
        )
        return undo, None

    def _undo_creation(
        self, change: Change, now: Mapping[str, str | None]
    ) -> tuple[Change | None, str | None]:
        is_changed = any(now.get(name) != sent for name, sent in change.after.items())
        if is_changed or self._was_touched(now):
            return None, "changed_since"
        undo = replace(
            change,
            record_id=now[ID],
            before={name: now.get(name) for name in change.after},
            after={},
            action="delete",
        )
        return undo, None

    def _was_touched(self, now: Mapping[str, str | None]) -> bool:
        """True when the record was modified after it was created, on Salesforce's own clock."""
        created, modified = now.get(CREATED), now.get(MODIFIED)
        if not created or not modified:
            return False
        settled = datetime.fromisoformat(created) + _SETTLING
        return datetime.fromisoformat(modified) > settled

    def _with_children(self, ids: Sequence[str]) -> Iterator[str]:
        """Those of the records that others depend on and that would take them along."""
        seen: set[str] = set()
        for child, name in self.describe.children if ids else ():
            if not (child in _CHILDREN_THAT_COUNT or child.endswith("__c")):
                continue
            about = ObjectDescription(name=child, fields={})
            field = Field(name=name, type="reference")
            table = fetch_records(self.client, about, [name], field, ids)
            for value in table.column(0).to_pylist():
                if value in ids and value not in seen:
                    seen.add(value)
                    yield value
