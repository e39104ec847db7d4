"""What ``describe`` tells of an object's fields, and what becomes of them.

Compound fields repeat what their parts hold; a bulk job refuses them, so their parts are read instead.
A reference that may lead to several objects gets a column that says to which, told by the first three
characters of the id: that needs no join, and serves REST and bulk jobs alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.errors import FatalError
from meltano_assets.sources.naming import column_name
from meltano_assets.streams import Column, ColumnType, Stream

Told = Mapping[str, object]

#: Types of fields as ``describe`` tells them; all others are text.
_TYPES: Mapping[str, ColumnType] = {
    "boolean": "boolean",
    "int": "integer",
    "long": "bigint",
    "double": "numeric",
    "currency": "numeric",
    "percent": "numeric",
    "date": "date",
    "datetime": "timestamptz",
}
_COMPOUND = frozenset({"address", "location"})
#: Files are fetched one by one.
_LEFT_OUT = _COMPOUND | {"base64"}
_PERSONAL_TYPES = frozenset({"email", "phone"})
_PERSONAL_NAMES = frozenset({"FirstName", "LastName", "MiddleName", "Username", "Birthdate"})
#: What stands behind the relationship in the field of a column that says where a reference leads.
_TYPE = ".type"


def described_columns(fields: Iterable[Told], key: str) -> tuple[Column, ...]:
    """A column for every field, and one for the type of every reference that has several."""
    columns: dict[str, Column] = {}
    typed = []
    for told in fields:
        field, kind = str(told.get("name")), str(told.get("type"))
        if kind in _LEFT_OUT:
            continue
        name = column_name(field)
        columns[name] = Column(
            name,
            "timestamptz" if field == key else _TYPES.get(kind, "text"),
            str(told.get("label") or ""),
            field=field,
            is_pii=kind in _PERSONAL_TYPES or field in _PERSONAL_NAMES,
        )
        if _leads_to_several(told):
            typed.append((field, str(told.get("relationshipName"))))
    for field, relationship in typed:
        name = f"{column_name(relationship)}_type"
        told_by = f"The object that {field} belongs to."
        columns.setdefault(name, Column(name, "text", told_by, field=f"{relationship}.Type"))
    return tuple(columns.values())


def _leads_to_several(told: Told) -> bool:
    targets = told.get("referenceTo")
    return bool(told.get("relationshipName")) and isinstance(targets, list) and len(targets) > 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, and what is made of it.

    ``columns`` are those that come of it, ``fields`` those that the vendor is asked for, ``types``
    says of which id's column a type is told.
    """

    columns: tuple[Column, ...]
    fields: tuple[Column, ...]
    types: Mapping[str, str]

    def completed(
        self, batch: pa.RecordBatch, objects: Callable[[], Mapping[str, str]]
    ) -> pa.RecordBatch:
        """The batch with the types of its references; ``objects`` gives them by key prefix."""
        if not self.types:
            return batch
        arrays = [
            object_types(batch.column(self.types[column.name]), objects())
            if column.name in self.types
            else batch.column(column.name)
            for column in self.columns
        ]
        return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in self.columns])


def asked_of(columns: Sequence[Column], fields: Sequence[Told]) -> Asked:
    """The columns whose fields the organisation has and lets us see, in its own spelling."""
    names = {str(told.get("name")).lower(): told for told in fields}
    references = {
        str(told.get("relationshipName")).lower(): str(told.get("name"))
        for told in fields
        if told.get("relationshipName")
    }
    present: list[Column] = []
    sources: dict[str, str] = {}
    for column in columns:
        wanted = column.vendor_field.lower()
        told = names.get(wanted)
        if told is not None:
            _refuse_compound(told, fields)
            present.append(replace(column, field=str(told.get("name"))))
        elif wanted.endswith(_TYPE) and (source := references.get(wanted.removesuffix(_TYPE))):
            present.append(column)
            sources[column.name] = source
    asked = {column.vendor_field: column for column in present if column.name not in sources}
    for source in sources.values():
        asked.setdefault(source, Column(column_name(source), field=source))
    types = {name: asked[source].name for name, source in sources.items()}
    return Asked(tuple(present), tuple(asked.values()), types)


def _refuse_compound(told: Told, fields: Iterable[Told]) -> None:
    if told.get("type") not in _COMPOUND:
        return
    name = str(told.get("name"))
    parts = [str(each.get("name")) for each in fields if each.get("compoundFieldName") == name]
    raise FatalError(
        f"{name} only shows other fields together, and bulk jobs refuse it",
        hint=f"choose its parts: {', '.join(parts)}",
    )


def object_types(ids: pa.Array, objects: Mapping[str, str]) -> pa.Array:
    """The object of each id by its first three characters; null where nobody knows them."""
    prefixes = pc.utf8_slice_codeunits(ids.cast(pa.string()), 0, 3)
    places = pc.index_in(prefixes, value_set=pa.array(list(objects), pa.string()))
    return pa.array(list(objects.values()), pa.string()).take(places)


def lacking(stream: Stream, columns: Iterable[Column]) -> list[str]:
    """Keys of the stream that are not among the columns."""
    keys = {*stream.primary_key, *filter(None, [stream.replication_key])}
    return sorted(keys - {column.name for column in columns})
