"""What Salesforce writes down by itself when a client changes a record.

Deals get a row of ``OpportunityHistory`` when they are made and whenever stage, amount, probability or
close date change; every tracked field that changes gets a row in its object's history, an owner two: one
with names, one with ids. The company writes the histories of its own changes itself.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_schema import SObject

Row = Mapping[str, object]

_PROGRESS = ("StageName", "Amount", "Probability", "CloseDate")
#: Object → its history, the reference to the record, and the fields that an administrator tracks.
_TRACKED = {
    "Account": ("AccountHistory", "AccountId", ("Name", "Type", "OwnerId", "Industry")),
    "Opportunity": (
        "OpportunityFieldHistory",
        "OpportunityId",
        ("Name", "StageName", "Amount", "CloseDate", "OwnerId"),
    ),
}


def is_remembered(sobject: SObject) -> bool:
    """Does the object have a history?"""
    return sobject.name in _TRACKED


def remembered(
    connection: sqlite3.Connection, sobject: SObject, ids: Sequence[str]
) -> dict[str, Row]:
    """The records as they are now, by id, with the fields that a history tells of."""
    names = ["Id", *dict.fromkeys((*_TRACKED[sobject.name][2], *_of_progress(sobject)))]
    columns = ", ".join(f'"{name}"' for name in names)
    rows = connection.execute(
        f'SELECT {columns} FROM "{sobject.name}" WHERE "Id" IN (SELECT value FROM json_each(?))',
        (json.dumps(list(ids)),),
    )
    return {str(row[0]): dict(zip(names, row, strict=True)) for row in rows}


def remember(
    org: SalesforceOrg,
    connection: sqlite3.Connection,
    sobject: SObject,
    before: Mapping[str, Row],
    after: Mapping[str, Row],
) -> None:
    """Write the histories of records that were made (not in ``before``) or changed."""
    history, reference, tracked = _TRACKED[sobject.name]
    rows = []
    for record_id, now in after.items():
        then = before.get(record_id)
        for field, old, new in _changes(connection, then, now, tracked):
            rows.append({reference: record_id, "Field": field, "OldValue": old, "NewValue": new})
    _write(org, connection, history, rows)
    progress = _of_progress(sobject)
    if progress:
        moved = [
            record_id
            for record_id, now in after.items()
            if any(before.get(record_id, {}).get(name, ...) != now[name] for name in progress)
        ]
        _write(org, connection, "OpportunityHistory", _progress(connection, moved))


def _of_progress(sobject: SObject) -> tuple[str, ...]:
    return _PROGRESS if sobject.name == "Opportunity" else ()


def _changes(
    connection: sqlite3.Connection, then: Row | None, now: Row, tracked: Sequence[str]
) -> Iterator[tuple[str, object, object]]:
    if then is None:
        yield "created", None, None
        return
    for name in tracked:
        old, new = then[name], now[name]
        if old == new:
            continue
        if name == "OwnerId":
            yield "Owner", _user(connection, old), _user(connection, new)
        yield name.removesuffix("Id") if name == "OwnerId" else name, old, new


def _user(connection: sqlite3.Connection, user_id: object) -> object:
    row = connection.execute('SELECT "Name" FROM "User" WHERE "Id" = ?', (user_id,)).fetchone()
    return row[0] if row else user_id


def _progress(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Row]:
    names = ("StageName", "Amount", "ExpectedRevenue", "CloseDate", "Probability")
    columns = ", ".join(f'"{name}"' for name in (*names, "ForecastCategory", "Id"))
    rows = connection.execute(
        f'SELECT {columns} FROM "Opportunity" WHERE "Id" IN (SELECT value FROM json_each(?))',
        (json.dumps(list(ids)),),
    )
    keys = (*names, "ForecastCategory", "OpportunityId")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _write(
    org: SalesforceOrg, connection: sqlite3.Connection, name: str, rows: Sequence[Row]
) -> None:
    target = org.schema.find(name)
    if target is None or not rows:
        return
    stamp = org.stamp()
    fixed = {"IsDeleted": 0, "CreatedDate": stamp, "CreatedById": org.user_id}
    if target.find("SystemModstamp"):
        fixed["SystemModstamp"] = stamp
    ids = org.new_ids(connection, target.key_prefix, len(rows))
    names = ("Id", *rows[0], *fixed)
    columns = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(names))
    connection.executemany(
        f'INSERT INTO "{target.name}" ({columns}) VALUES ({marks})',
        [
            (record_id, *row.values(), *fixed.values())
            for record_id, row in zip(ids, rows, strict=True)
        ],
    )
