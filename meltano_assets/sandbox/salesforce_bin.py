"""The recycle bin, and merging: records come back, go for good, or become one.

What was deleted with a record does not come back with it here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from meltano_assets.sandbox.salesforce_drafts import Draft
from meltano_assets.sandbox.salesforce_org import RollBack, SalesforceOrg
from meltano_assets.sandbox.salesforce_schema import SObject, parse_id
from meltano_assets.sandbox.salesforce_values import ApiProblem
from meltano_assets.sandbox.salesforce_writes import Writer

_MERGEABLE = ("Account", "Contact", "Lead")
_MOST_MERGED = 2


class _Refused(Exception):
    def __init__(self, problem: ApiProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def undelete(org: SalesforceOrg, ids: Sequence[str]) -> list[dict[str, object]]:
    """An ``UndeleteResult`` for each record."""

    def back(sobject: SObject, record_id: str) -> None:
        stamps = [n for n in ("LastModifiedDate", "SystemModstamp") if sobject.find(n)]
        stamped = "".join(f', "{name}" = ?' for name in stamps)
        org.reader().execute(
            f'UPDATE "{sobject.name}" SET "IsDeleted" = 0{stamped} WHERE "Id" = ?',
            (*(org.stamp() for _ in stamps), record_id),
        )

    return [_one(org, record_id, back) for record_id in ids]


def empty(org: SalesforceOrg, ids: Sequence[str]) -> list[dict[str, object]]:
    """An ``EmptyRecycleBinResult`` for each record."""

    def away(sobject: SObject, record_id: str) -> None:
        org.reader().execute(f'DELETE FROM "{sobject.name}" WHERE "Id" = ?', (record_id,))

    return [_one(org, record_id, away) for record_id in ids]


def _one(org: SalesforceOrg, text: str, deed: Callable[[SObject, str], None]) -> dict[str, object]:
    record_id = parse_id(text)
    sobject = org.schema.by_prefix.get(record_id[:3]) if record_id else None
    problem = None
    if record_id is None or sobject is None or not sobject.has_is_deleted:
        problem = ApiProblem("MALFORMED_ID", f"bad id {text}")
    else:
        with org.writing() as connection:
            row = connection.execute(
                f'SELECT "IsDeleted" FROM "{sobject.name}" WHERE "Id" = ?', (record_id,)
            ).fetchone()
            if row is None:
                problem = ApiProblem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
            elif not row[0]:
                message = "Entity is not in the recycle bin"
                problem = ApiProblem("UNDELETE_FAILED", message)
            else:
                deed(sobject, record_id)
    errors = [problem] if problem else []
    return {"errors": errors, "id": record_id, "success": not errors}


def merge(
    org: SalesforceOrg, sobject: SObject, master: Draft, others: Sequence[str]
) -> dict[str, object]:
    """A ``MergeResult``: what hung on the others hangs on the master, and they are deleted."""
    result: dict[str, object] = {
        "errors": [], "id": None, "mergedRecordIds": [], "success": False, "updatedRelatedIds": [],
    }  # fmt: skip
    try:
        with org.writing():
            try:
                made = _merged(org, sobject, master, others)
            except _Refused as refused:
                result["errors"] = [refused.problem]
                raise RollBack from refused
    except RollBack:
        return result
    return {**result, **made, "success": True}


def _merged(
    org: SalesforceOrg, sobject: SObject, master: Draft, others: Sequence[str]
) -> dict[str, object]:
    if sobject.name not in _MERGEABLE:
        message = f"merge is not supported for {sobject.name}"
        raise _Refused(ApiProblem("INVALID_TYPE_FOR_OPERATION", message))
    ids = [parse_id(text) for text in others]
    known = [i for i in ids if i is not None and i[:3] == sobject.key_prefix]
    if not 1 <= len(ids) <= _MOST_MERGED or len(known) != len(ids) or master.record_id in known:
        message = "one or two other records of the same kind are to be merged"
        raise _Refused(ApiProblem("INVALID_ID_FIELD", message, ("recordToMergeIds",)))
    with org.writing() as connection:
        writer = Writer(org, connection, sobject, allow_duplicates=True)
        outcome = writer.save("update", [master])[0]
        if outcome.problems:
            raise _Refused(outcome.problems[0])
        moved = []
        for child in org.schema.objects.values():
            for field in child.stored_fields:
                if field.kind != "reference" or sobject.name not in field.refers_to:
                    continue
                if not field.child_relationship or field.generated:
                    continue
                inside = f'"{field.name}" IN (SELECT value FROM json_each(?))'
                keys = json.dumps(known)
                rows = connection.execute(
                    f'SELECT "Id" FROM "{child.name}" WHERE {inside}', (keys,)
                ).fetchall()
                moved += [row[0] for row in rows]
                stamped = ', "SystemModstamp" = ?' if child.find("SystemModstamp") else ""
                stamps = (org.stamp(),) if stamped else ()
                connection.execute(
                    f'UPDATE "{child.name}" SET "{field.name}" = ?{stamped} WHERE {inside}',
                    (outcome.record_id, *stamps, keys),
                )
        for gone in writer.save("delete", [Draft(record_id=key) for key in known]):
            if gone.problems:
                raise _Refused(gone.problems[0])
        if sobject.find("MasterRecordId"):
            connection.execute(
                f'UPDATE "{sobject.name}" SET "MasterRecordId" = ? '
                'WHERE "Id" IN (SELECT value FROM json_each(?))',
                (outcome.record_id, json.dumps(known)),
            )
    return {"id": outcome.record_id, "mergedRecordIds": known, "updatedRelatedIds": moved}
