"""What is synced: the entries of ``dbt_project/salesforce_sync.yml``, checked word by word.

Belongs here: the shape of an entry, its defaults, errors that name the wrong word and the right
one. Does not belong here: anything that needs Salesforce or the warehouse (see ``check``).
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from meltano_assets.environment import dbt_project_directory
from meltano_assets.errors import FatalError
from meltano_assets.yaml_files import read_mapping

Operation = Literal["upsert", "create", "update"]
Policy = Literal["own", "fill_if_empty", "newest", "create_only", "never"]

#: Words for what an org's field must be, and the describe types that serve.
FIELD_TYPES: Mapping[str, frozenset[str]] = {
    "text": frozenset({"string", "textarea", "phone", "url", "email", "picklist", "combobox"}),
    "long text": frozenset({"textarea"}),
    "number": frozenset({"int", "double", "currency", "percent", "long"}),
    "checkbox": frozenset({"boolean"}),
    "date": frozenset({"date", "datetime"}),
    "datetime": frozenset({"datetime"}),
    "lookup": frozenset({"reference"}),
    "picklist": frozenset({"picklist", "combobox", "multipicklist", "string"}),
    "phone": frozenset({"phone", "string"}),
    "email": frozenset({"email", "string"}),
    "url": frozenset({"url", "string"}),
}

SPEC_FILE = "salesforce_sync.yml"

_SYNC_KEYS = (
    "model",
    "schema",
    "object",
    "external_id",
    "match",
    "operation",
    "depends_on",
    "references",
    "fields",
    "changed_at",
    "breaker",
    "description",
)
_FIELD_KEYS = ("field", "policy", "erase", "type", "length", "personal", "description")
_REFERENCE_KEYS = ("relationship", "external_id", "policy")
_BREAKER_KEYS = ("changed_percent", "creations")
_API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_COLUMN_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One model column, the field it goes to, and who decides about the field's value.

    ``erase`` lets a null in the model empty the field; without it null says nothing. ``type``
    and ``length`` are what the org's field must be; only ``check`` reads them. A ``personal`` value
    is shown to the person who asks for a plan, and in nothing that is kept.
    """

    column: str
    field: str
    policy: Policy
    erase: bool = False
    type: str | None = None
    length: int | None = None
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A model column with the external id of a parent that may be created in the same run.

    It counts only where the row has no Salesforce id of the parent (the plain column that goes to
    the same lookup ``field``). ``field`` is None when the entry leaves it to the describe call.
    """

    column: str
    relationship: str
    external_id: str
    policy: Policy
    field: str | None = None

    @property
    def path(self) -> str:
        """``Account__r.Meltano_Id__c``: the name in SOQL, CSV headers and plans."""
        return f"{self.relationship}.{self.external_id}"


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a plan is too big to be pushed unasked.

    ``changed_percent`` is the share of the object's records in the org that one run may change
    (a run that changes 200 records or fewer never trips it); ``creations`` how many it may create.
    """

    changed_percent: float
    creations: int
    changed_floor: int = 200


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """One sync: a model's rows into one object's records."""

    name: str
    model: str
    object: str
    operation: Operation
    key_column: str
    key_field: str
    fields: tuple[FieldRule, ...]
    breaker: Breaker
    references: tuple[Reference, ...] = ()
    depends_on: tuple[SyncSpec, ...] = ()
    changed_at: str | None = None
    schema: str = "sync"

    @property
    def matches_by_id(self) -> bool:
        """True when rows name Salesforce ids, so that nothing can be created."""
        return self.key_field == "Id"

    @property
    def newest_fields(self) -> frozenset[str]:
        """The fields under policy ``newest``, in lower case: what was sent is remembered."""
        fields = [rule.field for rule in self.fields if rule.policy == "newest"]
        fields += [each.path for each in self.references if each.policy == "newest"]
        return frozenset(name.lower() for name in fields)

    @property
    def relation(self) -> str:
        """``schema.model``, for messages."""
        return f"{self.schema}.{self.model}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The model columns that the sync reads, each once, the key first."""
        names = [self.key_column]
        names += [rule.column for rule in self.fields]
        names += [reference.column for reference in self.references]
        if self.changed_at:
            names.append(self.changed_at)
        return tuple(dict.fromkeys(names))

    @property
    def digest(self) -> str:
        """Changes with whatever decides about the values sent, so that parked rows get a retry."""
        parts = [self.object, self.operation, self.key_field]
        parts += [f"{rule.column}>{rule.field}:{rule.policy}:{rule.erase}" for rule in self.fields]
        parts += [f"{ref.column}>{ref.path}:{ref.policy}" for ref in self.references]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def default_spec_path() -> Path:
    """Where the shipped entries are: beside the dbt models that they read."""
    return dbt_project_directory() / SPEC_FILE


def load_spec(path: Path | None = None) -> dict[str, SyncSpec]:
    """All syncs by name, each after the ones it depends on; FatalError names what is wrong."""
    file = path or default_spec_path()
    if not file.is_file():
        raise FatalError(f"there is no {file}", hint="docs/salesforce-sync.md says what it holds")
    document = read_mapping(file, "`syncs` and what is below")
    return parse_spec(document, file.name)


def parse_spec(document: object, file_name: str = SPEC_FILE) -> dict[str, SyncSpec]:
    """The parsed document as syncs, in an order that respects ``depends_on``."""
    top = _mapping(document, file_name)
    _known(top, ("syncs",), file_name)
    entries = _mapping(top.get("syncs"), f"{file_name}: syncs")
    parsed: dict[str, SyncSpec] = {}
    for name in _ordered(entries, file_name):
        parsed[name] = _parse_sync(name, entries[name], parsed, f"{file_name}: {name}")
    return parsed


def select_syncs(specs: Mapping[str, SyncSpec], names: Iterable[str]) -> tuple[SyncSpec, ...]:
    """The named syncs in push order, all when none is named; a wrong name suggests a right one."""
    wanted = set(names)
    for name in sorted(wanted - set(specs)):
        raise FatalError(f"there is no sync {name!r}", hint=_suggest(name, specs))
    return tuple(spec for name, spec in specs.items() if not wanted or name in wanted)


def _ordered(entries: Mapping[str, object], file_name: str) -> Iterator[str]:
    done: set[str] = set()
    open_: list[str] = []

    def visit(name: str) -> Iterator[str]:
        if name in done:
            return
        if name in open_:
            circle = " → ".join([*open_[open_.index(name) :], name])
            raise FatalError(f"{file_name}: depends_on goes in a circle: {circle}")
        open_.append(name)
        for needed in _depends_on(name, entries[name], file_name):
            if needed not in entries:
                raise FatalError(
                    f"{file_name}: {name}: depends_on names {needed!r}, which is no sync",
                    hint=_suggest(needed, entries),
                )
            yield from visit(needed)
        open_.pop()
        done.add(name)
        yield name

    for name in entries:
        yield from visit(name)


def _depends_on(name: str, entry: object, file_name: str) -> list[str]:
    needed = _mapping(entry, f"{file_name}: {name}").get("depends_on") or []
    if not isinstance(needed, list) or not all(isinstance(item, str) for item in needed):
        raise FatalError(f"{file_name}: {name}: depends_on is not a list of sync names")
    return needed


def _parse_sync(name: str, entry: object, parsed: Mapping[str, SyncSpec], where: str) -> SyncSpec:
    values = _mapping(entry, where)
    _known(values, _SYNC_KEYS, where)
    operation = cast(
        Operation, _one_of(values.get("operation", "upsert"), get_args(Operation), where)
    )
    key_column, key_field = _key(values, operation, where)
    changed_at = values.get("changed_at")
    if changed_at is not None:
        changed_at = _column(changed_at, f"{where}: changed_at")
    default_policy: Policy = "fill_if_empty" if operation == "update" else "own"
    rules = _parse_fields(values, default_policy, where)
    references, rules = _parse_references(values, rules, default_policy, where)
    rules = [rule for rule in rules if rule.field.lower() != key_field.lower()]
    if not rules and not references:
        raise FatalError(f"{where}: fields lists nothing to sync")
    _unique_targets(rules, where)
    policies = [(rule.column, rule.policy) for rule in rules]
    policies += [(reference.column, reference.policy) for reference in references]
    for column, policy in policies:
        if policy == "newest" and not changed_at:
            raise FatalError(
                f"{where}: {column} has policy newest",
                hint="say in changed_at which model column tells when a row changed",
            )
    return SyncSpec(
        name=name,
        model=_column(values.get("model"), f"{where}: model"),
        schema=_column(values.get("schema", "sync"), f"{where}: schema"),
        object=_api_name(values.get("object"), f"{where}: object"),
        operation=operation,
        key_column=key_column,
        key_field=key_field,
        fields=tuple(rules),
        references=tuple(references),
        depends_on=tuple(parsed[needed] for needed in _depends_on(name, entry, where)),
        changed_at=changed_at,
        breaker=_parse_breaker(values.get("breaker"), operation, f"{where}: breaker"),
    )


def _key(values: Mapping[str, object], operation: Operation, where: str) -> tuple[str, str]:
    external_id, match = values.get("external_id"), values.get("match")
    if external_id is not None and match is not None:
        raise FatalError(f"{where}: has both external_id and match", hint="keep one")
    if match is not None:
        if operation != "update":
            raise FatalError(
                f"{where}: match fits only operation update, not {operation}",
                hint="name the external_id by which a repeated run recognises its records",
            )
        return _column(match, f"{where}: match"), "Id"
    if external_id is None:
        raise FatalError(f"{where}: has no external_id", hint="or match: id, to update by id")
    field = _api_name(external_id, f"{where}: external_id")
    fields = values.get("fields")
    for column, rule in fields.items() if isinstance(fields, dict) else ():
        target = rule.get("field") if isinstance(rule, dict) else rule
        if isinstance(target, str) and target.lower() == field.lower():
            return _column(column, f"{where}: fields"), field
    return _column(field.lower(), f"{where}: external_id"), field


def _parse_fields(
    values: Mapping[str, object], default_policy: Policy, where: str
) -> list[FieldRule]:
    rules = []
    for column, entry in _mapping(values.get("fields"), f"{where}: fields").items():
        place = f"{where}: {column}"
        options = {"field": entry} if isinstance(entry, str) else _mapping(entry, place)
        _known(options, _FIELD_KEYS, place)
        length, kind = options.get("length"), options.get("type")
        if kind is not None:
            kind = _one_of(kind, tuple(FIELD_TYPES), f"{place}: type")
        if length is not None and (not isinstance(length, int) or isinstance(length, bool)):
            raise FatalError(f"{place}: length is not a whole number")
        rules.append(
            FieldRule(
                column=_column(column, place),
                field=_api_name(options.get("field"), f"{place}: field"),
                policy=_policy(options.get("policy", default_policy), place),
                erase=_flag(options.get("erase", False), f"{place}: erase"),
                type=kind,
                length=length,
                personal=_flag(options.get("personal", False), f"{place}: personal"),
            )
        )
    return rules


def _parse_references(
    values: Mapping[str, object], rules: list[FieldRule], default_policy: Policy, where: str
) -> tuple[list[Reference], list[FieldRule]]:
    listed = {rule.column: rule for rule in rules}
    by_field = {rule.field: rule for rule in rules}
    references = []
    for column, entry in _mapping(values.get("references") or {}, f"{where}: references").items():
        place = f"{where}: references: {column}"
        options = _mapping(entry, place)
        _known(options, _REFERENCE_KEYS, place)
        relationship = _api_name(options.get("relationship"), f"{place}: relationship")
        rule = listed.pop(column, None)
        if rule is None and relationship.endswith("__r"):
            rule = by_field.get(f"{relationship[:-3]}__c")
        policy = options.get("policy", rule.policy if rule else default_policy)
        references.append(
            Reference(
                column=_column(column, place),
                relationship=relationship,
                external_id=_api_name(options.get("external_id"), f"{place}: external_id"),
                policy=_policy(policy, place),
                field=rule.field if rule else None,
            )
        )
    return references, list(listed.values())


def _unique_targets(rules: Iterable[FieldRule], where: str) -> None:
    seen: dict[str, str] = {}
    for rule in rules:
        other = seen.setdefault(rule.field.lower(), rule.column)
        if other != rule.column:
            raise FatalError(f"{where}: {other} and {rule.column} both go to {rule.field}")


def _parse_breaker(entry: object, operation: Operation, where: str) -> Breaker:
    # Records that a sync keeps under its own external id may all change in a day (a ping changes
    # each); records that belong to other people must not.
    percent: object = 50.0 if operation == "update" else 100.0
    creations: object = 5_000
    if entry is not None:
        options = _mapping(entry, where)
        _known(options, _BREAKER_KEYS, where)
        percent = options.get("changed_percent", percent)
        creations = options.get("creations", creations)
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise FatalError(f"{where}: changed_percent is not a number from 0 to 100")
    if isinstance(creations, bool) or not isinstance(creations, int) or creations < 0:
        raise FatalError(f"{where}: creations is not a whole number")
    return Breaker(changed_percent=float(percent), creations=creations)


def _policy(value: object, where: str) -> Policy:
    return cast(Policy, _one_of(value, get_args(Policy), f"{where}: policy"))


def _mapping(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise FatalError(f"{where}: expected names with values, found {_kind(value)}")
    return value


def _known(values: Mapping[str, object], allowed: Iterable[str], where: str) -> None:
    for key in values:
        if key not in allowed:
            raise FatalError(f"{where}: unknown word {key!r}", hint=_suggest(key, allowed))


def _one_of(value: object, allowed: tuple[str, ...], where: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise FatalError(f"{where}: {value!r} is not known", hint=_suggest(str(value), allowed))
    return value


def _api_name(value: object, where: str) -> str:
    if not isinstance(value, str) or not _API_NAME.match(value):
        found = _kind(value) if not isinstance(value, str) else repr(value)
        raise FatalError(f"{where}: expected a Salesforce API name, found {found}")
    return value


def _column(value: object, where: str) -> str:
    if not isinstance(value, str) or not _COLUMN_NAME.match(value):
        found = _kind(value) if not isinstance(value, str) else repr(value)
        raise FatalError(f"{where}: expected a lower-case warehouse name, found {found}")
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise FatalError(f"{where}: expected true or false, found {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _suggest(word: str, allowed: Iterable[str]) -> str:
    choices = list(allowed)
    close = difflib.get_close_matches(word, choices, n=1)
    listing = f"one of {', '.join(choices)}" if choices else "none is declared"
    return f"did you mean {close[0]}? {listing}" if close else listing
