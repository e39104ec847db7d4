"""What an org lacks for the syncs to run, and what exactly to create. Nothing is guessed.

Compares the describe calls with the specs: objects, external-id fields, fields, types, lengths,
permissions, relationships. Nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meltano_assets.errors import FatalError
from meltano_assets.salesforce_sync.current import fetch_describe
from meltano_assets.salesforce_sync.spec import FIELD_TYPES, FieldRule, Reference, SyncSpec
from meltano_assets.salesforce_sync.values import Field, ObjectDescription

if TYPE_CHECKING:
    from meltano_assets.clients.salesforce import SalesforceClient

_SETUP = "Setup → Object Manager"

#: Our words for types as Setup spells them.
_SETUP_TYPES = {"long text": "Long Text Area", "datetime": "Date/Time", "url": "URL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to do in the org. ``error`` stops the sync, ``warning`` costs some records."""

    sync: str
    object: str
    field: str | None
    level: Literal["error", "warning"]
    problem: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.object}.{self.field}" if self.field else self.object
        return f"{self.level}: {place} ({self.sync}): {self.problem}. {self.fix}"


def check_org(client: SalesforceClient, specs: Iterable[SyncSpec]) -> list[Finding]:
    """All that has to be done in the org before these syncs can run; empty when nothing has."""
    described: dict[str, ObjectDescription | None] = {}

    def describe(name: str) -> ObjectDescription | None:
        if name not in described:
            described[name] = _describe_or_none(client, name)
        return described[name]

    findings: list[Finding] = []
    for spec in specs:
        about = describe(spec.object)
        if about is None:
            findings.append(_no_object(spec))
            continue
        findings += _check_object(spec, about)
        findings += _check_key(spec, about)
        for rule in spec.fields:
            findings += _check_field(spec, about, rule)
        for reference in spec.references:
            findings += _check_reference(spec, about, reference)
            lookup = about.lookup(reference.relationship)
            for parent_name in lookup.reference_to[:1] if lookup else ():
                parent = describe(parent_name)
                if parent:
                    findings += _check_parent(spec, parent, reference)
    return list(dict.fromkeys(findings))


def needed_permissions(specs: Iterable[SyncSpec]) -> list[str]:
    """What the integration user's permission set has to hold, a line each; asks nobody."""
    rights: dict[str, set[str]] = {}
    edited: dict[str, dict[str, None]] = {}
    for spec in specs:
        own = rights.setdefault(spec.object, {"read"})
        fields = edited.setdefault(spec.object, {})
        if spec.operation != "update":
            own |= {"create", "delete (to revert)"}
        if spec.operation != "create":
            own.add("edit")
        names = [rule.field for rule in spec.fields if rule.policy != "never"]
        names += [_lookup_name(reference) for reference in spec.references]
        if not spec.matches_by_id:
            names.insert(0, spec.key_field)
        # The name and what Salesforce requires carry no field-level security.
        fields.update(dict.fromkeys(name for name in names if name != "Name"))
    order = ("read", "create", "edit", "delete (to revert)")
    lines = ["System: API Enabled"]
    for name, own in rights.items():
        lines.append(f"Object {name}: {', '.join(right for right in order if right in own)}")
        lines.append(f"Fields of {name}, read and edit: {', '.join(edited[name])}")
    return lines


def _describe_or_none(client: SalesforceClient, name: str) -> ObjectDescription | None:
    try:
        return fetch_describe(client, name)
    except FatalError as error:
        if "NOT_FOUND" in error.message or "404" in error.message:
            return None
        raise


def _no_object(spec: SyncSpec) -> Finding:
    if not spec.object.endswith("__c"):
        fix = "Correct `object` in the spec, or let the integration user see the object"
        return Finding(spec.name, spec.object, None, "error", "there is no such object", fix)
    label = _label(spec.object)
    fields = {spec.key_field: _definition(spec.key_field, None, None, is_key=True)}
    # Every object has a Name; what a relationship leads to is a lookup.
    for rule in spec.fields:
        if rule.field != "Name":
            fields.setdefault(rule.field, _definition(rule.field, rule.type, rule.length))
    for reference in spec.references:
        name = _lookup_name(reference)
        fields[name] = f"{name} (Lookup, relationship {reference.relationship})"
    wanted = ", ".join(fields.values())
    fix = (
        f"{_SETUP} → Create → Custom Object: label {label}, object name {spec.object[:-3]}; "
        f"then its fields: {wanted}; let the integration user read, create and edit it"
    )
    return Finding(spec.name, spec.object, None, "error", "there is no such object", fix)


def _check_object(spec: SyncSpec, about: ObjectDescription) -> Iterator[Finding]:
    rights = []
    if spec.operation != "update" and not about.is_createable:
        rights.append("create")
    if spec.operation != "create" and not about.is_updateable:
        rights.append("edit")
    if rights:
        words = " and ".join(rights)
        problem = f"the integration user may not {words} records"
        fix = f"Give its permission set {words} on {about.name}"
        yield Finding(spec.name, about.name, None, "error", problem, fix)
    if spec.operation != "update" and not about.is_deletable:
        problem = "the integration user may not delete records: revert leaves created ones behind"
        fix = f"Give its permission set delete on {about.name}, where runs are to be undone"
        yield Finding(spec.name, about.name, None, "warning", problem, fix)


def _check_key(spec: SyncSpec, about: ObjectDescription) -> Iterator[Finding]:
    if spec.matches_by_id:
        return
    yield from _check_external_id(spec, about, spec.key_field)
    key = about.find(spec.key_field)
    if key and spec.operation != "update" and not key.is_createable:
        yield _not_permitted(spec, about, key, "set")


def _check_parent(
    spec: SyncSpec, parent: ObjectDescription, reference: Reference
) -> Iterator[Finding]:
    yield from _check_external_id(spec, parent, reference.external_id)


def _check_external_id(spec: SyncSpec, about: ObjectDescription, name: str) -> Iterator[Finding]:
    key = about.find(name)
    where = f"{_SETUP} → {about.name} → Fields & Relationships"
    if key is None:
        fix = f"{where} → New: {_definition(name, None, None, is_key=True)}"
        yield Finding(spec.name, about.name, name, "error", "there is no such field", fix)
        return
    if not key.is_external_id:
        problem, fix = "is not an external id", f"{where} → {name} → Edit: tick External ID"
        yield Finding(spec.name, about.name, name, "error", problem, fix)
    elif not key.is_unique:
        problem = "is not unique: a repeated upsert may meet two records and write neither"
        fix = f"{where} → {name} → Edit: tick Unique"
        yield Finding(spec.name, about.name, name, "warning", problem, fix)


def _check_field(spec: SyncSpec, about: ObjectDescription, rule: FieldRule) -> Iterator[Finding]:
    found = about.find(rule.field)
    where = f"{_SETUP} → {about.name} → Fields & Relationships"
    if found is None:
        fix = f"{where} → New: {_definition(rule.field, rule.type, rule.length)}"
        problem = "there is no such field, or the integration user may not see it"
        yield Finding(spec.name, about.name, rule.field, "error", problem, fix)
        return
    if rule.policy == "never":
        return
    if spec.operation != "update" and not found.is_createable:
        yield _not_permitted(spec, about, found, "set")
    is_changed = spec.operation != "create" and rule.policy != "create_only"
    if is_changed and not found.is_updateable:
        yield _not_permitted(spec, about, found, "change")
    if rule.type and found.type not in FIELD_TYPES[rule.type]:
        problem = f"is of type {found.type}, not {rule.type}"
        fix = f"{where} → {found.name}: change its type to {rule.type}"
        yield Finding(spec.name, about.name, found.name, "error", problem, fix)
    if rule.length and 0 < found.length < rule.length:
        problem = f"holds {found.length} characters, not {rule.length}: longer values are parked"
        fix = f"{where} → {found.name} → Edit: length {rule.length}"
        yield Finding(spec.name, about.name, found.name, "warning", problem, fix)


def _check_reference(
    spec: SyncSpec, about: ObjectDescription, reference: Reference
) -> Iterator[Finding]:
    if about.lookup(reference.relationship) is None:
        name = _lookup_name(reference)
        problem = f"there is no relationship {reference.relationship}"
        fix = f"{_SETUP} → {about.name} → Fields & Relationships → New: Lookup, API name {name}"
        yield Finding(spec.name, about.name, name, "error", problem, fix)


def _not_permitted(spec: SyncSpec, about: ObjectDescription, found: Field, verb: str) -> Finding:
    problem = f"the integration user may not {verb} it: records that need it are parked"
    fix = (
        f"{_SETUP} → {about.name} → {found.name} → Set Field-Level Security: visible, not read-only"
    )
    return Finding(spec.name, about.name, found.name, "warning", problem, fix)


def _lookup_name(reference: Reference) -> str:
    return reference.field or f"{reference.relationship.removesuffix('__r')}__c"


def _definition(name: str, kind: str | None, length: int | None, is_key: bool = False) -> str:
    if is_key:
        return f"{name} (Text(255), External ID, Unique, case-insensitive)"
    size = f"({length})" if length else ""
    return f"{name} ({_SETUP_TYPES.get(kind, kind.capitalize())}{size})" if kind else name


def _label(api_name: str) -> str:
    return api_name.removesuffix("__c").replace("_", " ")
