"""JSON schemas of Singer streams as columns: types, formats, unions, references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meltano_assets.errors import FatalError
from meltano_assets.streams import ColumnType

_TYPES: Mapping[str, ColumnType] = {
    "integer": "bigint",
    "number": "numeric",
    "boolean": "boolean",
    "object": "jsonb",
    "array": "jsonb",
    "string": "text",
}
_FORMATS: Mapping[str, ColumnType] = {
    "date-time": "timestamptz",
    "date": "date",
    "uuid": "uuid",
    # Taps of databases send exact decimals as text.
    "singer.decimal": "numeric",
}
_TIMES = ("date", "timestamptz")


@dataclass(frozen=True, slots=True)
class Property:
    """The column for a property. ``is_loose``: it becomes text when a value asks for that.

    ``is_known`` is false for a property that may be nothing but null.
    """

    type: ColumnType
    is_loose: bool = False
    is_known: bool = True


def properties(schema: Mapping[str, object]) -> dict[str, Property]:
    """The columns of a stream's schema, by property."""
    named = schema.get("properties")
    if named is None and schema.get("additionalProperties"):
        return {}
    if not isinstance(named, dict):
        raise FatalError("the SCHEMA has no properties", hint="is this a tap's output?")
    return {str(name): property_type(value, schema) for name, value in named.items()}


def property_type(schema: object, root: Mapping[str, object] | None = None) -> Property:
    """The column for one property; what may be several things is text, or jsonb if one has parts."""
    kinds = _kinds(schema, root or {}, ())
    if kinds is None:
        return Property("jsonb")
    found = list(dict.fromkeys(kinds))
    if "jsonb" in found:
        return Property("jsonb")
    times = [kind for kind in found if kind in _TIMES]
    if times and len(found) == len(times) + ("text" in found):
        # Taps declare times that their source does not guarantee as "a time or a string".
        return Property(_joined(times), is_loose="text" in found)
    return Property(_joined(found)) if found else Property("jsonb", is_known=False)


def _kinds(
    schema: object, root: Mapping[str, object], followed: tuple[str, ...]
) -> list[ColumnType] | None:
    """Every type that the schema allows, null left out; None when it says nothing of the type."""
    if not isinstance(schema, dict):
        return None
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference in followed:
            return ["jsonb"]
        return _kinds(_resolve(reference, root), root, (*followed, reference))
    for union in ("anyOf", "oneOf"):
        if isinstance(parts := schema.get(union), list):
            found: list[ColumnType] = []
            for part in parts:
                kinds = _kinds(part, root, followed)
                if kinds is None:
                    return None
                found += kinds
            return found
    if isinstance(parts := schema.get("allOf"), list):
        told = (_kinds(part, root, followed) for part in parts)
        return next((kinds for kinds in told if kinds is not None), None)
    named = schema.get("type")
    if isinstance(named, str):
        named = [named]
    if not isinstance(named, list):
        return _kinds_of_untyped(schema)
    return [
        _FORMATS.get(str(schema.get("format")), "text") if name == "string" else _TYPES[name]
        for name in named
        if name in _TYPES
    ]


def _kinds_of_untyped(schema: Mapping[str, object]) -> list[ColumnType] | None:
    if schema.get("format") in _FORMATS:
        return [_FORMATS[str(schema["format"])]]
    if "properties" in schema or "items" in schema:
        return ["jsonb"]
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(values, list):
        return None
    names: dict[type, ColumnType] = {str: "text", bool: "boolean", int: "bigint", float: "numeric"}
    return [names.get(type(value), "jsonb") for value in values if value is not None]


def _resolve(reference: str, root: Mapping[str, object]) -> object:
    """What a reference inside the document points to: ``#/definitions/name``."""
    found: object = root
    if not reference.startswith("#"):
        raise FatalError("a $ref of the SCHEMA leads outside of it")
    for step in reference.removeprefix("#").strip("/").split("/") if reference != "#" else []:
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            raise FatalError("a $ref of the SCHEMA leads nowhere")
        found = found[key]
    return found


def _joined(kinds: Sequence[ColumnType]) -> ColumnType:
    """The narrowest type that holds all: the loader's lattice for the types that occur here."""
    found = set(kinds)
    if found == {"bigint", "numeric"}:
        return "numeric"
    if found == {"date", "timestamptz"}:
        return "timestamptz"
    return kinds[0] if len(found) == 1 else "text"
