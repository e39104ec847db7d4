"""What each stream's fields, columns and tables are called, and how tables changed (schema ``meltano``).

Written in a load's transaction, so that names and rows are committed together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from meltano_assets.warehouse.books import ensure
from meltano_assets.warehouse.connection import Warehouse

#: How a NUL in a field's name is written down; Postgres' text cannot hold it.
_WRITTEN_NUL = r"\u0000"


def _written(name: str) -> str:
    """A field's name as text that Postgres holds."""
    return name.encode("utf-8", "backslashreplace").decode().replace("\x00", _WRITTEN_NUL)


def known_names(connection: psycopg.Connection, source: str, stream: str) -> dict[str, str]:
    """Field → column, as earlier loads decided it."""
    rows = connection.execute(
        "select field, column_name from meltano.column_names where source = %s and stream = %s",
        [source, stream],
    ).fetchall()
    return {field.replace(_WRITTEN_NUL, "\x00"): column for field, column in rows}


def write_names(
    connection: psycopg.Connection,
    source: str,
    stream: str,
    names: Iterable[tuple[str, str]],
    load_id: str,
) -> None:
    """Remember which column belongs to which field."""
    connection.cursor().executemany(
        "insert into meltano.column_names (source, stream, field, column_name, first_load_id)"
        " values (%s, %s, %s, %s, %s) on conflict do nothing",
        [(source, stream, _written(name), column, load_id) for name, column in names],
    )


@dataclass(frozen=True, slots=True)
class KnownColumn:
    """A field that some load knew, and its column."""

    field: str
    column: str
    field_id: str | None
    is_declared: bool
    is_gone: bool


def known_columns(connection: psycopg.Connection, source: str, stream: str) -> list[KnownColumn]:
    """Every field that some load of the stream knew."""
    rows = connection.execute(
        "select field, column_name, field_id, is_declared, gone_since is not null"
        " from meltano.column_names where source = %s and stream = %s",
        [source, stream],
    ).fetchall()
    return [KnownColumn(row[0].replace(_WRITTEN_NUL, "\x00"), *row[1:]) for row in rows]


def write_columns(
    connection: psycopg.Connection,
    source: str,
    stream: str,
    columns: Iterable[tuple[str, str, str | None, bool]],
    load_id: str,
) -> None:
    """Remember declared columns: field, column, the vendor's id, is it declared for good."""
    news = [(_written(name), *rest) for name, *rest in columns]
    cursor = connection.cursor()
    cursor.executemany(
        "delete from meltano.column_names where source = %s and stream = %s"
        " and column_name = %s and field <> %s",
        [(source, stream, column, name) for name, column, _, _ in news],
    )
    cursor.executemany(
        "insert into meltano.column_names"
        " (source, stream, field, column_name, field_id, is_declared, first_load_id)"
        " values (%s, %s, %s, %s, %s, %s, %s) on conflict (source, stream, field) do update set"
        " column_name = excluded.column_name, field_id = excluded.field_id,"
        " is_declared = excluded.is_declared",
        [
            (
                source,
                stream,
                name,
                column,
                known_as,
                is_declared,
                load_id,
            )
            for name, column, known_as, is_declared in news
        ],
    )


def forget_columns(
    connection: psycopg.Connection, source: str, stream: str, columns: Iterable[str]
) -> None:
    """The columns bear other names now; their fields are noted anew."""
    connection.execute(
        "delete from meltano.column_names where source = %s and stream = %s"
        " and column_name = any(%s)",
        [source, stream, list(columns)],
    )


def mark_columns(
    connection: psycopg.Connection,
    source: str,
    stream: str,
    gone: Iterable[str],
    back: Iterable[str],
) -> None:
    """Mark columns whose field is gone, and those whose field is back."""
    for columns, moment in ((gone, sql.SQL("now()")), (back, sql.SQL("null"))):
        if names := list(columns):
            connection.execute(
                sql.SQL(
                    "update meltano.column_names set gone_since = {}"
                    " where source = %s and stream = %s and column_name = any(%s)"
                ).format(moment),
                [source, stream, names],
            )


def known_tables(connection: psycopg.Connection, source: str) -> dict[str, str]:
    """Stream → table, for streams whose own names are no names of tables."""
    rows = connection.execute(
        "select stream, table_name from meltano.table_names where source = %s", [source]
    ).fetchall()
    return {str(stream): str(table) for stream, table in rows}


def write_table(connection: psycopg.Connection, source: str, stream: str, table: str) -> None:
    """Remember which table belongs to which stream."""
    connection.execute(
        "insert into meltano.table_names (source, stream, table_name) values (%s, %s, %s)"
        " on conflict do nothing",
        [source, _written(stream), table],
    )


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One change of a table's shape; ``str()`` is what people read."""

    table: str
    column: str | None
    change: str
    old_type: str | None = None
    new_type: str | None = None

    def __str__(self) -> str:
        what = f"{self.change} {self.column}" if self.column else self.change
        types = " → ".join(kind for kind in (self.old_type, self.new_type) if kind)
        return f"{what} ({types})" if types else what


def write_schema_changes(
    connection: psycopg.Connection,
    source: str,
    stream: str,
    changes: Iterable[SchemaChange],
    load_id: str,
) -> None:
    """Rows in the log of schema changes, in the caller's transaction."""
    connection.cursor().executemany(
        "insert into meltano.schema_changes"
        " (source, stream, table_name, column_name, change, old_type, new_type, load_id)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            (
                source,
                stream,
                change.table,
                change.column,
                change.change,
                change.old_type,
                change.new_type,
                load_id,
            )
            for change in changes
        ],
    )


def write_new_fields(
    warehouse: Warehouse, source: str, stream: str, fields: Mapping[str, str]
) -> None:
    """Remember fields that a vendor offered and nobody declared, by their type."""
    if not fields:
        return
    with warehouse.connect(application_name="meltano-assets fields") as connection:
        ensure(connection)
        connection.cursor().executemany(
            "insert into meltano.new_fields (source, stream, field, type) values (%s, %s, %s, %s)"
            " on conflict do nothing",
            [
                (source, stream, name.replace("\x00", _WRITTEN_NUL), kind)
                for name, kind in sorted(fields.items())
            ],
        )


def new_fields(warehouse: Warehouse, source: str, stream: str) -> dict[str, str]:
    """Fields that a vendor offered and nobody declared, with their types."""
    with warehouse.connect(application_name="meltano-assets fields") as connection:
        ensure(connection)
        rows = connection.execute(
            "select field, type from meltano.new_fields where source = %s and stream = %s"
            " order by field",
            [source, stream],
        ).fetchall()
    return {name.replace(_WRITTEN_NUL, "\x00"): kind for name, kind in rows}
