"""Small worlds for the sync's tests: an org's describe call, model rows, current records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import pyarrow as pa

from meltano_assets.salesforce_sync.compare import ParentLookup, no_parents, plan, selected_fields
from meltano_assets.salesforce_sync.plan import LedgerEntry, Plan
from meltano_assets.salesforce_sync.spec import Reference, SyncSpec, parse_spec
from meltano_assets.salesforce_sync.values import ObjectDescription, parse_describe

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def describe_field(name: str, kind: str = "string", **flags: object) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": name,
        "type": kind,
        "label": name,
        "length": 255 if kind == "string" else 0,
        "createable": True,
        "updateable": True,
        "nillable": True,
    }
    entry.update(flags)
    return entry


def picklist(*values: str) -> list[dict[str, object]]:
    return [{"value": value, "active": True} for value in values]


def host_org(**changed: Mapping[str, object]) -> ObjectDescription:
    """Host__c with one field of each kind; ``changed`` overrides flags of a field."""
    fields = [
        describe_field("Id", "id", createable=False, updateable=False, nillable=False, length=18),
        describe_field("Name", length=80),
        describe_field("Meltano_Id__c", externalId=True, unique=True),
        describe_field("Account__c", "reference", length=18, relationshipName="Account__r"),
        describe_field("Host_Users__c", "double", precision=18, scale=0),
        describe_field("Score__c", "double", precision=6, scale=2),
        describe_field("Seats__c", "int", digits=8),
        describe_field("Last_Ping__c", "date"),
        describe_field("Seen_At__c", "datetime"),
        describe_field("Notes__c", "textarea", length=131072),
        describe_field("Link__c", "url", length=255),
        describe_field("License_Ids__c", length=255),
        describe_field("Mattermost_Enabled__c", "boolean", nillable=False),
        describe_field("Tags__c", "multipicklist", picklistValues=picklist("a", "b", "c")),
        describe_field(
            "Source__c",
            "picklist",
            length=255,
            restrictedPicklist=True,
            picklistValues=picklist("DiscoverOrg", "Clearbit", "WHOIS"),
        ),
        describe_field(
            "LastModifiedDate", "datetime", createable=False, updateable=False, nillable=False
        ),
    ]
    for entry in fields:
        entry.update(changed.get(str(entry["name"]), {}))
    return parse_describe({"name": "Host__c", "fields": fields})


def host_spec(fields: Mapping[str, object] | None = None, **entries: object) -> SyncSpec:
    entry: dict[str, object] = {
        "model": "hosts",
        "object": "Host__c",
        "external_id": "Meltano_Id__c",
        "operation": "upsert",
        "fields": fields or {"name": {"field": "Name", "policy": "own"}},
    }
    entry.update(entries)
    return parse_spec({"syncs": {"hosts": entry}})["hosts"]


def rows_of(spec: SyncSpec, records: Sequence[Mapping[str, object]]) -> pa.Table:
    return pa.table({name: [row.get(name) for row in records] for name in spec.columns})


def current_of(
    spec: SyncSpec, org: ObjectDescription, records: Sequence[Mapping[str, str | None]] = ()
) -> pa.Table:
    """Records of the org in canonical text, with the columns that planning selects."""
    names = selected_fields(spec, org)
    return pa.table(
        {name: pa.array([each.get(name) for each in records], pa.large_string()) for name in names}
    )


def planned(
    spec: SyncSpec,
    rows: Sequence[Mapping[str, object]],
    current: Sequence[Mapping[str, str | None]] = (),
    *,
    org: ObjectDescription | None = None,
    ledger: Mapping[str, LedgerEntry] | None = None,
    parents: ParentLookup = no_parents,
) -> Plan:
    org = org or host_org()
    return plan(
        spec,
        rows_of(spec, rows),
        current_of(spec, org, current),
        org,
        ledger or {},
        run_id="run",
        now=NOW,
        parents=parents,
    )


def all_parents(reference: Reference, wanted: Collection[str]) -> Collection[str]:
    return wanted


def sent(made: Plan) -> dict[str, dict[str, str | None]]:
    """What the plan would send, by key."""
    return {change.key: dict(change.after) for change in made.changes}


def reasons(made: Plan) -> dict[str, str]:
    """Why each parked row is parked, by key."""
    return {each.key: each.reject.reason for each in made.parked}
