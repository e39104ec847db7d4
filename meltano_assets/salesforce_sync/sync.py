"""The sync as assets and the command line call it: plan → push → outcome, under one lock.

``run_sync`` does all of it. ``plan_sync`` only looks; ``push_sync`` pushes a plan that a person
has seen, unless something was pushed since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from meltano_assets.errors import FatalError, PlatformError
from meltano_assets.salesforce_sync.compare import ID, lookup_field, plan
from meltano_assets.salesforce_sync.current import (
    FetchOptions,
    fetch_current,
    fetch_describe,
    fetch_existing_parents,
)
from meltano_assets.salesforce_sync.outcome import OutcomeStore
from meltano_assets.salesforce_sync.plan import Plan
from meltano_assets.salesforce_sync.push import PushOptions, Sleep, push_changes
from meltano_assets.salesforce_sync.results import Result, RunState, Tally
from meltano_assets.salesforce_sync.spec import Reference, SyncSpec
from meltano_assets.salesforce_sync.values import ObjectDescription, canonical

if TYPE_CHECKING:
    from meltano_assets.clients.salesforce import SalesforceClient
    from meltano_assets.warehouse.connection import Warehouse

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What a run did. When pushed: rows = created + updated + unchanged + parked + failed.

    ``to_create`` and ``to_update`` are what was planned; ``is_pushed`` says whether that was sent.
    ``reasons`` counts parked and failed records by reason class.
    """

    sync: str
    object: str
    run_id: str
    is_pushed: bool
    rows: int
    to_create: int
    to_update: int
    unchanged: int
    parked: int
    created: int = 0
    updated: int = 0
    deleted: int = 0
    failed: int = 0
    skipped: int = 0
    requests: int = 0
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    #: The first records that Salesforce itself refused.
    refused: tuple[Result, ...] = ()
    plan: Plan | None = field(default=None, repr=False, compare=False)

    @property
    def sent(self) -> int:
        """Records that Salesforce accepted."""
        return self.created + self.updated + self.deleted


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a push is."""

    sync: str
    done: int
    total: int
    tally: Tally


OnProgress = Callable[[Progress], None]


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


def plan_sync(
    warehouse: Warehouse,
    client: SalesforceClient,
    spec: SyncSpec,
    *,
    now: datetime,
    run_id: str,
    retry: bool = False,
    fetch: FetchOptions | None = None,
) -> Plan:
    """What a run would change; nothing is sent and nothing written down.

    ``retry`` plans also what Salesforce refused or a revert undid, though its row is the same.
    """
    store = OutcomeStore(warehouse, client.organization_id)
    store.ensure()
    fetch = fetch or FetchOptions()
    before = client.requests
    rows = store.read_rows(spec)
    ledger = store.read_ledger(spec)
    if rows.num_rows == 0:
        waiting = (key for key, each in ledger.items() if each.state in {"parked", "failed"})
        return Plan(
            spec=spec,
            run_id=run_id,
            planned_at=now,
            description=ObjectDescription(name=spec.object, fields={}),
            rows=0,
            resolved=tuple(waiting),
            previous_run=store.last_push(spec.name),
        )
    describe = fetch_describe(client, spec.object)
    key_field = describe.field(spec.key_field)
    _check_key(spec, describe)
    keys = {
        key
        for text in rows.column(spec.key_column).to_pylist()
        if (key := canonical(text, key_field)) is not None
    }
    # What Salesforce holds is about as wide as what the model holds.
    fetch = replace(fetch, row_bytes=max(200, rows.nbytes // rows.num_rows))
    current = fetch_current(client, spec, describe, keys, fetch)

    def parents(reference: Reference, wanted: Collection[str]) -> Collection[str]:
        found = fetch_existing_parents(client, describe, reference, wanted, fetch)
        folded = {each.lower() for each in found}
        if all(each.lower() in folded for each in wanted):
            return found
        lookup = lookup_field(reference, describe)
        for needed in spec.depends_on:
            makes_parents = needed.operation != "update" and needed.object in lookup.reference_to
            if makes_parents and needed.key_field == reference.external_id:
                found |= store.read_keys(needed)
        return found

    made = plan(
        spec,
        rows,
        current,
        describe,
        ledger,
        run_id=run_id,
        now=now,
        parents=parents,
        retry=retry,
    )
    if made.needs_org_count:
        made = replace(made, org_records=client.count(spec.object))
    return replace(made, requests=client.requests - before, previous_run=store.last_push(spec.name))


def run_sync(
    warehouse: Warehouse,
    client: SalesforceClient,
    spec: SyncSpec,
    *,
    push: bool,
    now: datetime,
    run_id: str,
    force: bool = False,
    retry: bool = False,
    on_progress: OnProgress | None = None,
    options: PushOptions | None = None,
    fetch: FetchOptions | None = None,
    sleep: Sleep = time.sleep,
    clock: Clock = utc_now,
) -> SyncOutcome:
    """Plan, and where ``push`` says so send it; the outcome is in schema ``salesforce_sync``.

    The breaker stops a plan that is too big with a FatalError unless ``force`` is given.
    """
    store = OutcomeStore(warehouse, client.organization_id)
    store.ensure()
    started = time.monotonic()
    with store.lock(spec) if push else nullcontext():
        made = plan_sync(warehouse, client, spec, now=now, run_id=run_id, retry=retry, fetch=fetch)
        if not push:
            store.start(made, "planned", message=made.breaker)
            outcome = _planned(made)
        else:
            pushing = _Push(store, client, made, force, on_progress, options, sleep, clock)
            outcome = pushing.run()
    return replace(outcome, seconds=round(time.monotonic() - started, 3))


def push_sync(
    warehouse: Warehouse,
    client: SalesforceClient,
    plan: Plan,
    *,
    force: bool = False,
    on_progress: OnProgress | None = None,
    options: PushOptions | None = None,
    sleep: Sleep = time.sleep,
    clock: Clock = utc_now,
) -> SyncOutcome:
    """Send a plan that was made before; FatalError when another run has pushed since."""
    store = OutcomeStore(warehouse, client.organization_id)
    store.ensure()
    started = time.monotonic()
    with store.lock(plan.spec):
        if plan.previous_run != store.last_push(plan.spec.name):
            raise FatalError(
                f"the plan of sync {plan.spec.name} is out of date: another run has pushed since",
                source="salesforce",
                hint="plan again",
            )
        outcome = _Push(store, client, plan, force, on_progress, options, sleep, clock).run()
    return replace(outcome, seconds=round(time.monotonic() - started, 3))


def show_record(warehouse: Warehouse, record: str) -> dict[str, list[dict[str, object]]]:
    """All that is known of a record, by key or Salesforce id: ``ledger`` and ``changes``."""
    store = OutcomeStore(warehouse)
    store.ensure()
    return store.history(record)


def recent_runs(warehouse: Warehouse, limit: int = 20) -> list[dict[str, object]]:
    """The last runs with their counts, last first."""
    store = OutcomeStore(warehouse)
    store.ensure()
    return store.recent_runs(limit)


@dataclass(slots=True)
class _Push:
    """One push of one plan; the lock is held by the caller."""

    store: OutcomeStore
    client: SalesforceClient
    plan: Plan
    force: bool
    on_progress: OnProgress | None
    options: PushOptions | None
    sleep: Sleep
    clock: Clock

    def run(self) -> SyncOutcome:
        made = self.plan
        if made.breaker and not self.force:
            self.store.start(made, "stopped", message=made.breaker)
            raise FatalError(
                f"sync {made.spec.name} {made.breaker}; nothing was sent",
                source="salesforce",
                stream=made.spec.object,
                hint="look at the plan (`meltano-assets sync plan`), then push with --force",
            )
        tally, requests = push_recorded(
            self.store,
            self.client,
            made,
            on_progress=self.on_progress,
            options=self.options,
            sleep=self.sleep,
            clock=self.clock,
        )
        return replace(
            _planned(made),
            is_pushed=True,
            parked=len(made.parked) + tally.parked,
            created=tally.created,
            updated=tally.updated,
            failed=tally.failed,
            reasons=dict(tally.reasons),
            refused=tuple(tally.refused),
            requests=requests,
        )


def push_recorded(
    store: OutcomeStore,
    client: SalesforceClient,
    plan: Plan,
    *,
    on_progress: OnProgress | None,
    options: PushOptions | None,
    sleep: Sleep,
    clock: Clock,
    reverts: str | None = None,
    skipped: Sequence[Result] = (),
) -> tuple[Tally, int]:
    """Send a plan and write down every result; the lock is held by the caller.

    ``reverts`` names the run that the plan undoes; ``skipped`` is what it leaves alone.
    """
    before = client.requests
    number = store.start(plan, "pushing", reverts=reverts)
    tally = Tally(reasons=plan.reasons)
    tally.add(skipped)
    state: RunState = "failed"
    message: str | None = "ended by an error of its own"
    try:
        for results in push_changes(client, plan, sleep=sleep, options=options):
            at = clock()
            store.record(number, plan, results, now=at)
            if reverts:
                undone = [each.change for each in results if each.state == "sent"]
                hashes = {change.key: change.row_hash for change in undone}
                store.mark_reverted(plan.spec, hashes, at)
            tally.add(results)
            if on_progress:
                on_progress(Progress(plan.spec.name, tally.done, len(plan.changes), tally))
        state, message = "done", None
    except PlatformError as error:
        message = error.message
        raise
    finally:
        requests = plan.requests + client.requests - before
        store.finish(number, state, tally, requests=requests, now=clock(), message=message)
    return tally, requests


def _planned(made: Plan) -> SyncOutcome:
    return SyncOutcome(
        sync=made.spec.name,
        object=made.spec.object,
        run_id=made.run_id,
        is_pushed=False,
        rows=made.rows,
        to_create=made.creations,
        to_update=made.updates,
        unchanged=made.unchanged,
        parked=len(made.parked),
        requests=made.requests,
        reasons=made.reasons,
        plan=made,
    )


def _check_key(spec: SyncSpec, describe: ObjectDescription) -> None:
    key_field = describe.field(spec.key_field)
    if key_field.name != ID and not key_field.is_external_id:
        raise FatalError(
            f"{describe.name}.{key_field.name} is not marked as an external id in this org",
            source="salesforce",
            hint="`meltano-assets sync check` says what to change",
        )
