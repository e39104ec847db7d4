"""One column of a raw table filled in, for a field that was chosen later than the others.

Belongs here: keys and values beside the table → that column of the table. Does not belong here:
what is read and what it costs (``extraction.py``).

Values are loaded beside the table first, by the loader's own rules, and put in by one transaction: a
run that is killed changes nothing, and the next one begins anew. Rows that get another value get a
new ``_loaded_at``, so that incremental models see them; nothing else of them changes, and neither
does the bookmark. Rows that came after the values were read have the field already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, Column, Stream
from meltano_assets.warehouse import books, catalog, own_types, schema, state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.schema import TableName

_SUFFIX = "__backfill"


@dataclass(frozen=True, slots=True)
class Filled:
    """What a backfill did: keys read, rows given a value, rows of snapshots, records refused."""

    read: int
    updated: int
    snapshots: int
    quarantined: int


def fill_column(
    warehouse: Warehouse, stream: Stream, column: Column, batches: Iterable[Batch]
) -> Filled:
    """Put the field's values into the table (and its dbt snapshot's present rows), by key."""
    if not stream.primary_key:
        raise FatalError("has no key to find its rows by", source=stream.source, stream=stream.name)
    live = TableName(stream.source, stream.name)
    with warehouse.connect() as connection:
        found = schema.find(connection, live, stream.primary_key)
    if found is None:
        raise FatalError(
            "was never loaded",
            source=stream.source,
            stream=stream.name,
            hint="extract it: the field comes along",
        )
    own = {name: found.own[name] for name in stream.primary_key if name in found.own}
    keys = (stream.column(name) for name in stream.primary_key)
    beside = Stream(
        stream.source,
        f"{stream.name}{_SUFFIX}",
        columns=(*(replace(key, type="text") if key.name in own else key for key in keys), column),
        primary_key=stream.primary_key,
        disposition="replace",
        max_shrink=1.0,
    )
    names = [*stream.primary_key, column.name]
    outcome = load(
        warehouse,
        beside,
        (Batch(batch.records.select(names)) for batch in batches),
        full_refresh=True,
    )
    with warehouse.connect(application_name="meltano-assets backfill") as connection:
        key = state.stream_lock(stream.source, stream.name)
        connection.execute("select pg_advisory_xact_lock(%s)", [key])
        source = TableName(beside.source, beside.name)
        # A key that is none of the table's type is no row's.
        own_types.cast_landed(connection, source.sql, own, stream.primary_key, lambda _: None)
        _ensure_column(connection, live, source, column, stream, outcome.load_id)
        updated = _copy_values(
            connection, live, source, column.name, [(name, name) for name in stream.primary_key]
        )
        snapshots = _fill_snapshots(connection, stream, source, column)
        for name in (source.name, f"{source.name}__quarantine"):
            connection.execute(
                sql.SQL("drop table if exists {}").format(sql.Identifier(source.schema, name))
            )
        for book in ("bookmarks", "column_names"):
            connection.execute(
                sql.SQL("delete from {} where source = %s and stream = %s").format(
                    sql.Identifier(books.SCHEMA, book)
                ),
                [beside.source, beside.name],
            )
    return Filled(outcome.read, updated, snapshots, outcome.quarantined)


def _type_of(connection: psycopg.Connection, table: TableName, column: str) -> str | None:
    row = connection.execute(
        "select format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = to_regclass(%s) and attname = %s and not attisdropped",
        [table.sql.as_string(connection), column],
    ).fetchone()
    return str(row[0]) if row else None


def _ensure_column(
    connection: psycopg.Connection,
    live: TableName,
    source: TableName,
    column: Column,
    stream: Stream,
    load_id: str,
) -> None:
    kind = _type_of(connection, source, column.name)
    assert kind is not None
    if _type_of(connection, live, column.name) is not None:
        return
    connection.execute(
        sql.SQL("alter table {} add column {} {}").format(
            live.sql, sql.Identifier(column.name), sql.SQL(kind)
        )
    )
    names = [(column.vendor_field, column.name)]
    catalog.write_names(connection, stream.source, stream.name, names, load_id)
    change = catalog.SchemaChange(str(live), column.name, "add column", new_type=kind)
    catalog.write_schema_changes(connection, stream.source, stream.name, [change], load_id)


def _copy_values(
    connection: psycopg.Connection,
    target: TableName,
    source: TableName,
    column: str,
    keys: list[tuple[str, str]],
    *,
    condition: sql.Composable | None = None,
    stamp: bool = True,
) -> int:
    kind = _type_of(connection, target, column)
    assert kind is not None
    statement = sql.SQL(
        "update {target} as t set {column} = b.{column}::{kind}{stamp} from {source} as b"
        " where {keys} and t.{column} is distinct from b.{column}::{kind}{condition}"
    ).format(
        target=target.sql,
        source=source.sql,
        column=sql.Identifier(column),
        kind=sql.SQL(kind),
        stamp=sql.SQL(", _loaded_at = clock_timestamp()" if stamp else ""),
        keys=sql.SQL(" and ").join(
            sql.SQL("t.{}::text = b.{}::text").format(sql.Identifier(mine), sql.Identifier(theirs))
            if mine != theirs
            else sql.SQL("t.{0} = b.{0}").format(sql.Identifier(mine))
            for mine, theirs in keys
        ),
        condition=condition or sql.SQL(""),
    )
    return connection.execute(statement).rowcount


def _fill_snapshots(
    connection: psycopg.Connection, stream: Stream, source: TableName, column: Column
) -> int:
    """The present rows of the stream's dbt snapshot; its key is its first column."""
    if len(stream.primary_key) != 1:
        return 0
    found = connection.execute(
        "select n.nspname, a.attname from pg_class as c"
        " inner join pg_namespace as n on n.oid = c.relnamespace"
        " inner join pg_attribute as a on a.attrelid = c.oid and a.attnum = 1"
        " where c.relname = %s and c.relkind = 'r' and not a.attisdropped",
        [f"snap_{stream.source}__{stream.name}"],
    ).fetchall()
    rows = 0
    for place, key in found:
        snapshot = TableName(place, f"snap_{stream.source}__{stream.name}")
        kind = _type_of(connection, source, column.name)
        connection.execute(
            sql.SQL("alter table {} add column if not exists {} {}").format(
                snapshot.sql, sql.Identifier(column.name), sql.SQL(kind or "text")
            )
        )
        rows += _copy_values(
            connection,
            snapshot,
            source,
            column.name,
            [(key, stream.primary_key[0])],
            condition=sql.SQL(" and t.dbt_valid_to is null"),
            stamp=False,
        )
    return rows
