"""Column types: the lattice they widen along, and how Arrow, Postgres and streams name them.

Widening loses nothing: integer → bigint → numeric, double precision → numeric, date → timestamp →
timestamptz, and text as the last resort for everything else. Nothing is ever narrowed. A column of a type
that no stream declares (``own``) keeps it, whatever comes.
"""

from __future__ import annotations

import pyarrow as pa
from psycopg import sql

from meltano_assets.streams import OWN, ColumnType

#: A type and those it may become, nearest first; text is above all of them.
_WIDER: dict[ColumnType, tuple[ColumnType, ...]] = {
    "integer": ("bigint", "double precision", "numeric"),
    "bigint": ("numeric",),
    "double precision": ("numeric",),
    "numeric": (),
    "date": ("timestamp", "timestamptz"),
    "timestamp": ("timestamptz",),
    "timestamptz": (),
}

#: What ``format_type`` says, for types that a table made elsewhere may have.
_FROM_POSTGRES: dict[str, ColumnType] = {
    "text": "text",
    "boolean": "boolean",
    "integer": "integer",
    "bigint": "bigint",
    "numeric": "numeric",
    "double precision": "double precision",
    "date": "date",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "jsonb": "jsonb",
    "uuid": "uuid",
    "inet": "inet",
    "bytea": "bytea",
}
_WIDENED_FROM_POSTGRES: dict[str, ColumnType] = {
    "smallint": "integer",
    "real": "double precision",
    "json": "jsonb",
    "name": "text",
    '"char"': "text",
}


def join(one: ColumnType, other: ColumnType) -> ColumnType:
    """The narrowest type that holds every value of both."""
    if one == other:
        return one
    if OWN in (one, other):
        return OWN
    above_one = (one, *_WIDER.get(one, ()))
    above_other = (other, *_WIDER.get(other, ()))
    for candidate in above_one:
        if candidate in above_other:
            return candidate
    return "text"


def from_postgres(type_name: str) -> tuple[ColumnType, bool]:
    """The column type behind a ``format_type`` name, and whether it is exactly that type.

    ``varchar(20)``, ``numeric(10,2)`` or ``smallint`` map to the type that never refuses or
    rounds a value, with False. Types that no stream declares, arrays among them, are ``own``.
    """
    if type_name.endswith("[]"):
        return OWN, True
    if exact := _FROM_POSTGRES.get(type_name):
        return exact, True
    if wide := _WIDENED_FROM_POSTGRES.get(type_name):
        return wide, False
    if type_name.startswith("numeric("):
        return "numeric", False
    if type_name.startswith("character varying"):
        return "text", False
    if type_name.startswith("timestamp("):
        return ("timestamp" if "without" in type_name else "timestamptz"), False
    return OWN, True


def as_sent(kind: ColumnType) -> sql.SQL:
    """The type in which values of a column are sent, for a definition."""
    return sql.SQL("text" if kind == OWN else kind)


def from_arrow(arrow_type: pa.DataType) -> ColumnType:
    """The column type that holds every value of an Arrow type."""
    kinds = pa.types
    if kinds.is_dictionary(arrow_type):
        return from_arrow(arrow_type.value_type)
    if kinds.is_run_end_encoded(arrow_type):
        return from_arrow(arrow_type.value_type)
    if isinstance(arrow_type, pa.BaseExtensionType):
        known: dict[str, ColumnType] = {
            "arrow.uuid": "uuid", "arrow.json": "jsonb", "arrow.bool8": "boolean",
        }  # fmt: skip
        return known.get(arrow_type.extension_name) or from_arrow(arrow_type.storage_type)
    if kinds.is_boolean(arrow_type):
        return "boolean"
    if kinds.is_uint64(arrow_type):
        return "numeric"
    if kinds.is_int64(arrow_type) or kinds.is_uint32(arrow_type):
        return "bigint"
    if kinds.is_integer(arrow_type):
        return "integer"
    if kinds.is_floating(arrow_type):
        return "double precision"
    if kinds.is_decimal(arrow_type):
        return "numeric"
    if kinds.is_date(arrow_type):
        return "date"
    if kinds.is_timestamp(arrow_type):
        return "timestamptz" if arrow_type.tz else "timestamp"
    if kinds.is_nested(arrow_type):
        return "jsonb"
    if (
        kinds.is_binary(arrow_type)
        or kinds.is_large_binary(arrow_type)
        or kinds.is_fixed_size_binary(arrow_type)
        or kinds.is_binary_view(arrow_type)
    ):
        return "bytea"
    return "text"


def cast_expression(column: str, old: ColumnType, new: ColumnType) -> sql.Composable:
    """SQL that turns a stored value of the old type into the new one, for ``USING``."""
    name = sql.Identifier(column)
    if new == "timestamptz":
        return sql.SQL("{}::timestamp at time zone 'UTC'").format(name)
    if old == "bytea" and new == "text":
        return sql.SQL("encode({}, 'hex')").format(name)
    if old == "double precision" and new == "numeric":
        # The direct cast keeps 15 digits only; the text form is the shortest exact one.
        return sql.SQL("{}::text::numeric").format(name)
    return sql.SQL("{}::{}").format(name, sql.SQL(new))
