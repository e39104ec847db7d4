"""Creating, updating, upserting and deleting records, with the errors a real org gives.

All APIs come here: single records, collections, composite and bulk. A ``Draft`` is one record as
a client sent it, already in stored form; ``save`` answers one ``Outcome`` per draft, in order. A
record that fails never disturbs another; whoever wants all or none rolls the transaction back.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from meltano_assets.sandbox.salesforce_drafts import Draft
from meltano_assets.sandbox.salesforce_history import Row, is_remembered, remember, remembered
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_picklists import STAGE_BY_NAME
from meltano_assets.sandbox.salesforce_rollups import SHOWN, roll_up
from meltano_assets.sandbox.salesforce_schema import Field, SObject, parse_id
from meltano_assets.sandbox.salesforce_values import ApiProblem

Operation = Literal["insert", "update", "upsert", "delete", "hardDelete"]

#: Records that one transaction of the vendor takes at a time; duplicates within it are refused.
CHUNK = 200

_CASCADES = {
    "Account": (
        ("Contact", "AccountId"),
        ("Opportunity", "AccountId"),
        ("AccountHistory", "AccountId"),
    ),
    "Opportunity": (
        ("OpportunityLineItem", "OpportunityId"),
        ("OpportunityHistory", "OpportunityId"),
        ("OpportunityFieldHistory", "OpportunityId"),
    ),
    "Campaign": (("CampaignMember", "CampaignId"),),
    "Lead": (("CampaignMember", "LeadId"),),
    "Contact": (("CampaignMember", "ContactId"),),
    "Case": (("CaseComment", "ParentId"), ("EmailMessage", "ParentId")),
    "Order": (("OrderItem", "OrderId"),),
    "Quote": (("QuoteLineItem", "QuoteId"),),
}
_COMPANY_WORDS = re.compile(r"[\s,.]+(inc|ltd|llc|gmbh|corp|corporation|co|ag|sa|bv)\.?$", re.I)


@dataclass(slots=True)
class Outcome:
    """What became of one draft."""

    record_id: str | None = None
    created: bool = False
    problems: tuple[ApiProblem, ...] = ()

    @property
    def success(self) -> bool:
        return not self.problems


class Writer:
    """Saves drafts of one object inside one transaction."""

    def __init__(
        self,
        org: SalesforceOrg,
        connection: sqlite3.Connection,
        sobject: SObject,
        *,
        allow_duplicates: bool = False,
    ) -> None:
        self.org = org
        self.connection = connection
        self.sobject = sobject
        self.allow_duplicates = allow_duplicates
        self.stamp = org.stamp()
        fields = sobject.stored_fields
        self.not_createable = {f.name for f in fields if not f.createable}
        self.not_updateable = {f.name for f in fields if not f.updateable}
        self.required = [f for f in fields if f.is_required]
        self.not_null = {f.name for f in fields if not f.nillable and f.kind != "boolean"}
        self.defaults = {
            f.name: int(bool(f.default)) if f.kind == "boolean" else f.default
            for f in fields
            if not f.generated and (f.kind == "boolean" or isinstance(f.default, str))
        }
        self.unique = [f for f in fields if f.unique]
        self.references = [f for f in fields if f.kind == "reference" and f.createable]

    def save(
        self, operation: Operation, drafts: Sequence[Draft], external: Field | None = None
    ) -> list[Outcome]:
        """One outcome per draft, in order."""
        outcomes: list[Outcome] = []
        for start in range(0, len(drafts), CHUNK):
            chunk = drafts[start : start + CHUNK]
            if operation in ("delete", "hardDelete"):
                outcomes += self._delete(chunk, is_hard=operation == "hardDelete")
            else:
                outcomes += self._save(operation, chunk, external)
        if self.sobject.name in SHOWN and any(outcome.success for outcome in outcomes):
            roll_up(self.connection, self.stamp)
        return outcomes

    # finding

    def _lookup(self, sobject: SObject, name: str, keys: Iterable[object]) -> dict[str, list[str]]:
        """Key (folded) → ids of living records."""
        living = ' AND "IsDeleted" = 0' if sobject.has_is_deleted else ""
        rows = self.connection.execute(
            f'SELECT "{name}", "Id" FROM "{sobject.name}" '
            f'WHERE "{name}" IN (SELECT value FROM json_each(?)){living}',
            (json.dumps(list(keys)),),
        )
        found: dict[str, list[str]] = {}
        for key, record_id in rows:
            found.setdefault(str(key).lower(), []).append(record_id)
        return found

    def _states(self, sobject: SObject, ids: Iterable[str]) -> dict[str, bool]:
        """Id → is it deleted?"""
        deleted = '"IsDeleted"' if sobject.has_is_deleted else "0"
        rows = self.connection.execute(
            f'SELECT "Id", {deleted} FROM "{sobject.name}" '
            'WHERE "Id" IN (SELECT value FROM json_each(?))',
            (json.dumps(list(ids)),),
        )
        return {record_id: bool(is_deleted) for record_id, is_deleted in rows}

    def _check_ids(self, drafts: Sequence[Draft], verb: str) -> None:
        """Every draft must name a living record of this object."""
        for draft in drafts:
            if not draft.record_id:
                draft.problems.append(
                    ApiProblem("MISSING_ARGUMENT", f"Id not specified in an {verb} call")
                )
                continue
            parsed = parse_id(draft.record_id)
            if parsed is None or parsed[:3] != self.sobject.key_prefix:
                draft.problems.append(
                    ApiProblem(
                        "MALFORMED_ID",
                        f"{self.sobject.label} ID: id value of incorrect type: {draft.record_id}",
                        ("Id",),
                    )
                )
                continue
            draft.record_id = parsed
        states = self._states(self.sobject, (d.record_id for d in drafts if d.record_id))
        for draft in drafts:
            if draft.problems or not draft.record_id:
                continue
            if draft.record_id not in states:
                draft.problems.append(
                    ApiProblem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
                )
            elif states[draft.record_id]:
                draft.problems.append(ApiProblem("ENTITY_IS_DELETED", "entity is deleted"))

    # checking

    def _take_faults(self, operation: str, drafts: Sequence[Draft]) -> None:
        faults = self.org.faults
        if not (faults.standing("lock_rows") or faults.standing("record_error")):
            return
        for draft in drafts:
            subject = f"{self.sobject.name} {operation} {draft.key or draft.record_id or ''}"
            if faults.take("lock_rows", subject):
                record = draft.record_id or "unknown"
                draft.problems.append(
                    ApiProblem(
                        "UNABLE_TO_LOCK_ROW",
                        f"unable to obtain exclusive access to this record or 1 records: {record}",
                    )
                )
            elif fault := faults.take("record_error", subject):
                draft.problems.append(
                    ApiProblem(
                        fault.text("code", "FIELD_CUSTOM_VALIDATION_EXCEPTION"),
                        fault.text("message", "A validation rule refused the record"),
                        fault.names("fields"),
                    )
                )

    def _find_parents(self, drafts: Sequence[Draft]) -> None:
        wanted: dict[tuple[str, str], tuple[SObject, Field, set[str]]] = {}
        for draft in drafts:
            for target, found, key in draft.parents.values():
                entry = wanted.setdefault((target.name, found.name), (target, found, set()))
                entry[2].add(key)
        known = {
            place: self._lookup(target, found.name, keys)
            for place, (target, found, keys) in wanted.items()
        }
        for draft in drafts:
            for name, (target, found, key) in draft.parents.items():
                ids = known[target.name, found.name].get(key.lower(), [])
                if len(ids) == 1:
                    draft.values[name] = ids[0]
                    continue
                what = "not found" if not ids else "is not unique"
                draft.problems.append(
                    ApiProblem(
                        "INVALID_FIELD",
                        f"Foreign key external ID: {key.lower()} {what} for field {found.name} in "
                        f"entity {target.name}",
                    )
                )

    def _check_references(self, drafts: Sequence[Draft]) -> None:
        for ref in self.references:
            by_prefix: dict[str, set[str]] = {}
            for draft in drafts:
                value = draft.values.get(ref.name)
                if isinstance(value, str) and ref.name not in draft.parents:
                    by_prefix.setdefault(value[:3], set()).add(value)
            if not by_prefix:
                continue
            states: dict[str, bool] = {}
            for name in ref.refers_to:
                target = self.org.schema.find(name)
                if target and target.key_prefix in by_prefix:
                    states |= self._states(target, by_prefix[target.key_prefix])
            prefixes = {t.key_prefix for n in ref.refers_to if (t := self.org.schema.find(n))}
            for draft in drafts:
                value = draft.values.get(ref.name)
                if not isinstance(value, str) or states.get(value) is False:
                    continue
                if ref.name in draft.parents:
                    continue
                if value[:3] not in prefixes:
                    problem = ApiProblem(
                        "FIELD_INTEGRITY_EXCEPTION",
                        f"{ref.label}: id value of incorrect type: {value}",
                        (ref.name,),
                    )
                elif value in states:
                    problem = ApiProblem("ENTITY_IS_DELETED", "entity is deleted", (ref.name,))
                else:
                    problem = ApiProblem(
                        "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", (ref.name,)
                    )
                draft.problems.append(problem)

    def _check_unique(self, drafts: Sequence[Draft]) -> None:
        for unique in self.unique:
            name = unique.name
            keys = {d.values[name] for d in drafts if d.values.get(name) is not None}
            if not keys:
                continue
            owners = self._lookup(self.sobject, name, keys)
            taken: set[str] = set()
            for draft in drafts:
                value = draft.values.get(name)
                if value is None or draft.problems:
                    continue
                key = str(value).lower()
                owner = owners.get(key, [draft.record_id])[0]
                if owner != draft.record_id:
                    message = f"{name} duplicates value on record with id: {owner}"
                elif key in taken:
                    message = "<unknown> duplicates value on record with id: <unknown>"
                else:
                    taken.add(key)
                    continue
                draft.problems.append(
                    ApiProblem("DUPLICATE_VALUE", f"duplicate value found: {message}")
                )

    def _check_fields(self, draft: Draft, *, is_new: bool) -> None:
        forbidden = (self.not_createable if is_new else self.not_updateable) & draft.values.keys()
        if forbidden:
            names = sorted(forbidden)
            draft.problems.append(
                ApiProblem(
                    "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {', '.join(names)}. Please check the security "
                    "settings of this field and verify that it is read/write for your profile or "
                    "permission set.",
                    tuple(names),
                )
            )
        if is_new:
            missing = [f.name for f in self.required if draft.values.get(f.name) is None]
        else:
            missing = [
                name for name in self.not_null & draft.values.keys() if draft.values[name] is None
            ]
        if missing and not any(set(p.fields) & set(missing) for p in draft.problems):
            draft.problems.append(
                ApiProblem(
                    "REQUIRED_FIELD_MISSING",
                    f"Required fields are missing: [{', '.join(missing)}]",
                    tuple(missing),
                )
            )

    def _check_duplicate_rules(self, drafts: Sequence[Draft]) -> None:
        objects = {
            name
            for fault in self.org.faults.standing("duplicate_rule")
            for name in fault.names("objects", ("Account", "Contact", "Lead"))
        }
        if self.allow_duplicates or self.sobject.name not in objects:
            return
        column = {"Account": "Name", "Contact": "Email", "Lead": "Email"}.get(
            self.sobject.name, "Name"
        )
        rows = self.connection.execute(
            f'SELECT "{column}", "Id" FROM "{self.sobject.name}" '
            f'WHERE "{column}" IS NOT NULL AND "IsDeleted" = 0'
        )
        known: dict[str, set[str]] = {}
        for value, record_id in rows:
            known.setdefault(_match_key(value), set()).add(record_id)
        for draft in drafts:
            value = draft.values.get(column)
            if value is None or draft.problems:
                continue
            if known.get(_match_key(value), set()) - {draft.record_id}:
                draft.problems.append(
                    ApiProblem("DUPLICATES_DETECTED", "Use one of these records?")
                )

    # writing

    def _save(
        self, operation: Operation, drafts: Sequence[Draft], external: Field | None
    ) -> list[Outcome]:
        if operation == "insert":
            for draft in drafts:
                if draft.record_id:
                    draft.problems.append(
                        ApiProblem(
                            "INVALID_FIELD_FOR_INSERT_UPDATE",
                            "cannot specify Id in an insert call",
                            ("Id",),
                        )
                    )
                    draft.record_id = None
        elif operation == "update" or (external is not None and external.kind == "id"):
            self._check_ids([d for d in drafts if operation == "update" or d.record_id], "update")
            _refuse_repeated_ids(drafts)
        elif external is not None:
            self._match_external(drafts, external)
        self._take_faults(operation, drafts)
        self._find_parents(drafts)
        for draft in drafts:
            if not draft.problems:
                self._check_fields(draft, is_new=draft.record_id is None)
        self._check_references(drafts)
        self._check_unique(drafts)
        self._check_duplicate_rules(drafts)
        good = [draft for draft in drafts if not draft.problems]
        new = [draft for draft in good if draft.record_id is None]
        new_ids = {id(draft) for draft in new}
        before = self._remembered(good)
        self._insert(new)
        self._update([draft for draft in good if id(draft) not in new_ids])
        if is_remembered(self.sobject):
            remember(self.org, self.connection, self.sobject, before, self._remembered(good))
        return [
            Outcome(problems=tuple(draft.problems))
            if draft.problems
            else Outcome(draft.record_id, created=id(draft) in new_ids)
            for draft in drafts
        ]

    def _remembered(self, drafts: Sequence[Draft]) -> dict[str, Row]:
        if not is_remembered(self.sobject):
            return {}
        ids = [draft.record_id for draft in drafts if draft.record_id]
        return remembered(self.connection, self.sobject, ids)

    def _match_external(self, drafts: Sequence[Draft], external: Field) -> None:
        matches = self._lookup(self.sobject, external.name, {d.key for d in drafts if d.key})
        seen: dict[str, list[Draft]] = {}
        for draft in drafts:
            draft.record_id = None
            if draft.key is None:
                if not draft.problems:
                    draft.problems.append(
                        ApiProblem("MISSING_ARGUMENT", f"{external.name} not specified")
                    )
                continue
            key = draft.key.lower()
            seen.setdefault(key, []).append(draft)
            ids = matches.get(key, [])
            if len(ids) > 1:
                draft.problems.append(
                    ApiProblem(
                        "DUPLICATE_EXTERNAL_ID",
                        f"more than one record found for external id field: [{', '.join(ids)}]",
                    )
                )
            elif ids:
                draft.record_id = ids[0]
        for same in seen.values():
            if len(same) > 1:
                for draft in same:
                    draft.problems.append(
                        ApiProblem(
                            "DUPLICATE_VALUE",
                            f"Duplicate external id specified: {draft.key}",
                            (external.name,),
                        )
                    )

    def _derive(self, draft: Draft) -> None:
        """Fields that follow from others."""
        stage = draft.values.get("StageName")
        if self.sobject.name == "Opportunity" and isinstance(stage, str):
            _, probability, is_closed, is_won = STAGE_BY_NAME.get(
                stage.lower(), (stage, 0, False, False)
            )
            draft.values["IsClosed"] = int(is_closed)
            draft.values["IsWon"] = int(is_won)
            if draft.values.get("Probability") is None:
                draft.values["Probability"] = float(probability)
        if self.sobject.name == "User":
            names = (draft.values.get("FirstName"), draft.values.get("LastName"))
            if names[1]:
                draft.values["Name"] = " ".join(str(name) for name in names if name)

    def _insert(self, drafts: Sequence[Draft]) -> None:
        if not drafts:
            return
        ids = self.org.new_ids(self.connection, self.sobject.key_prefix, len(drafts))
        user, stamp = self.org.user_id, self.stamp
        counted = {f.name: self._last_number(f.name) for f in self.sobject.fields if f.auto_number}
        groups: dict[tuple[str, ...], list[tuple[object, ...]]] = {}
        for draft, record_id in zip(drafts, ids, strict=True):
            draft.record_id = record_id
            self._derive(draft)
            values = {
                **self.defaults,
                **draft.values,
                "Id": record_id,
                "CreatedDate": stamp,
                "CreatedById": user,
                "LastModifiedDate": stamp,
                "LastModifiedById": user,
                "SystemModstamp": stamp,
            }
            counted = {name: last + 1 for name, last in counted.items()}
            values |= {name: f"{number:08}" for name, number in counted.items()}
            if "ownerid" in self.sobject.field_by_name and not values.get("OwnerId"):
                values["OwnerId"] = user
            groups.setdefault(tuple(values), []).append(tuple(values.values()))
        for names, rows in groups.items():
            columns = ", ".join(f'"{name}"' for name in names)
            marks = ", ".join("?" * len(names))
            self.connection.executemany(
                f'INSERT INTO "{self.sobject.name}" ({columns}) VALUES ({marks})', rows
            )

    def _last_number(self, name: str) -> int:
        """The greatest number that Salesforce has given to a record."""
        highest = f'SELECT max(CAST("{name}" AS INTEGER)) FROM "{self.sobject.name}"'
        return self.connection.execute(highest).fetchone()[0] or 1000

    def _update(self, drafts: Sequence[Draft]) -> None:
        groups: dict[tuple[str, ...], list[tuple[object, ...]]] = {}
        for draft in drafts:
            self._derive(draft)
            values = {
                **draft.values,
                "LastModifiedDate": self.stamp,
                "LastModifiedById": self.org.user_id,
                "SystemModstamp": self.stamp,
            }
            groups.setdefault(tuple(values), []).append((*values.values(), draft.record_id))
        for names, rows in groups.items():
            settings = ", ".join(f'"{name}" = ?' for name in names)
            self.connection.executemany(
                f'UPDATE "{self.sobject.name}" SET {settings} WHERE "Id" = ?', rows
            )

    def _delete(self, drafts: Sequence[Draft], *, is_hard: bool) -> list[Outcome]:
        self._check_ids(drafts, "delete")
        if not self.sobject.has_is_deleted:
            for draft in drafts:
                draft.problems.append(
                    ApiProblem(
                        "INVALID_TYPE_FOR_OPERATION",
                        f"entity type {self.sobject.name} does not support delete",
                    )
                )
        self._take_faults("delete", drafts)
        ids = [str(draft.record_id) for draft in drafts if not draft.problems]
        if is_hard:
            self.connection.execute(
                f'DELETE FROM "{self.sobject.name}" WHERE "Id" IN (SELECT value FROM json_each(?))',
                (json.dumps(ids),),
            )
        else:
            self._recycle(self.sobject, ids)
        return [
            Outcome(problems=tuple(d.problems)) if d.problems else Outcome(d.record_id)
            for d in drafts
        ]

    def _recycle(self, sobject: SObject, ids: Sequence[str]) -> None:
        """Puts records into the recycle bin, with what depends on them."""
        if not ids:
            return
        keys = json.dumps(list(ids))
        inside = "IN (SELECT value FROM json_each(?))"
        for name, ref in _CASCADES.get(sobject.name, ()):
            child = self.org.schema.find(name)
            rows = self.connection.execute(
                f'SELECT "Id" FROM "{name}" WHERE "{ref}" {inside} AND "IsDeleted" = 0', (keys,)
            ).fetchall()
            if child:
                self._recycle(child, [row[0] for row in rows])
        if sobject.has_shared_prefix:
            # Histories of fields go for good, and nobody is told.
            self.connection.execute(f'DELETE FROM "{sobject.name}" WHERE "Id" {inside}', (keys,))
            return
        if sobject.name == "Account":
            self.connection.execute(
                f'UPDATE "Host__c" SET "Account__c" = NULL WHERE "Account__c" {inside}', (keys,)
            )
        stamps = [n for n in ("LastModifiedDate", "SystemModstamp") if sobject.find(n)]
        stamped = ", ".join(f'"{name}" = ?' for name in stamps)
        self.connection.execute(
            f'UPDATE "{sobject.name}" SET "IsDeleted" = 1, {stamped} WHERE "Id" {inside}',
            (*(self.stamp for _ in stamps), keys),
        )


def _refuse_repeated_ids(drafts: Sequence[Draft]) -> None:
    """One call changes a record once; the first of several rows counts."""
    seen: set[str] = set()
    for draft in drafts:
        if draft.problems or draft.record_id is None:
            continue
        if draft.record_id in seen:
            draft.problems.append(
                ApiProblem("DUPLICATE_VALUE", f"Duplicate id specified: {draft.record_id}")
            )
        seen.add(draft.record_id)


def _match_key(value: object) -> str:
    return _COMPANY_WORDS.sub("", str(value).strip()).lower()
