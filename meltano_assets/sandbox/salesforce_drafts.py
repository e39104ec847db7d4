"""A record as a client sent it: read from JSON, in stored form, not yet saved.

What the vendor's JSON parser refuses (unknown fields, wrong types) fails the whole request and is
raised; what it refuses later fails the record and is noted on its draft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from meltano_assets.sandbox.salesforce_schema import Field, Schema, SObject, parse_id
from meltano_assets.sandbox.salesforce_values import (
    ApiProblem,
    NotThisType,
    RecordProblem,
    RequestProblem,
    SqlValue,
    from_json,
)


@dataclass(slots=True)
class Draft:
    """One record as a client sent it."""

    values: dict[str, SqlValue] = field(default_factory=dict)
    record_id: str | None = None
    key: str | None = None
    """The value of the external id that an upsert goes by."""
    parents: dict[str, tuple[SObject, Field, str]] = field(default_factory=dict)
    """Reference field → parent to be found by an external id."""
    problems: list[ApiProblem] = field(default_factory=list)


def draft_from_json(
    schema: Schema,
    sobject: SObject,
    record: Mapping[str, object],
    *,
    external: Field | None = None,
    body: str = "",
) -> Draft:
    """Reads one JSON record; what the vendor's JSON parser refuses raises ``RequestProblem``."""
    draft = Draft()
    for name, value in record.items():
        if name == "attributes":
            continue
        if name.lower() == "id":
            draft.record_id = value if isinstance(value, str) else None
            continue
        found = sobject.find(name)
        if found is None or found.is_compound:
            ref = sobject.by_relationship(name)
            if ref is None or not (isinstance(value, dict) or value is None):
                raise RequestProblem(
                    400,
                    ApiProblem(
                        "INVALID_FIELD",
                        f"No such column '{name}' on sobject of type {sobject.name}",
                    ),
                )
            _read_parent(schema, draft, ref, value)
            continue
        try:
            draft.values[found.name] = from_json(found, value)
        except RecordProblem as error:
            draft.problems.append(error.problem)
        except NotThisType as error:
            place = re.search(rf'"{re.escape(name)}"\s*:\s*', body)
            line, column = _line_and_column(body, place.end() if place else 0)
            raise RequestProblem(
                400,
                ApiProblem("JSON_PARSER_ERROR", f"{error} at [line:{line}, column:{column}]"),
            ) from error
    if external is not None:
        if external.kind == "id":
            draft.key = draft.record_id
        else:
            key = draft.values.get(external.name)
            draft.key = None if key is None else str(key)
    return draft


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _read_parent(schema: Schema, draft: Draft, ref: Field, value: object) -> None:
    if value is None:
        draft.values[ref.name] = None
        return
    keys = {k: v for k, v in value.items() if k != "attributes"} if isinstance(value, dict) else {}
    target = schema.find("User" if "User" in ref.refers_to else ref.refers_to[0])
    name, key = next(iter(keys.items()), ("", None))
    found = target.find(name) if target else None
    if target is None or found is None or len(keys) != 1:
        raise RequestProblem(
            400,
            ApiProblem(
                "INVALID_FIELD",
                f"No such column '{name}' on sobject of type {target.name if target else '?'}",
            ),
        )
    add_parent(draft, ref, target, found, key)


def add_parent(draft: Draft, ref: Field, target: SObject, found: Field, key: object) -> None:
    """Notes that ``ref`` shall point to the record whose ``found`` is ``key``."""
    if found.kind == "id":
        draft.values[ref.name] = parse_id(key)
    elif not (found.external_id or found.id_lookup):
        draft.problems.append(
            ApiProblem(
                "INVALID_FIELD",
                f"{found.name} is not an External ID or indexed field for {target.name}",
            )
        )
    elif key is None or key == "":
        draft.values[ref.name] = None
    else:
        draft.parents[ref.name] = (target, found, str(key))
