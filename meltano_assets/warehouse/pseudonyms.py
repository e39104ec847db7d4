"""Pseudonyms that are stored already, put under a newer key in place.

Belongs here: finding and replacing them in every table. Does not belong here: keys and hashing
(``privacy.py``).

Works by table and column in pieces, each a transaction of its own. A pseudonym names its key, so a
run that was killed goes on where it was, and one that is repeated finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.state import stream_lock

_PIECE = 200_000
_APPLICATION = "meltano-assets pseudonyms"
_COLUMNS = """
select n.nspname, c.relname, a.attname, format_type(a.atttypid, null)
from pg_attribute as a
inner join pg_class as c on c.oid = a.attrelid
inner join pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence <> 't' and a.attnum > 0 and not a.attisdropped
    and a.atttypid in ('text'::regtype, 'varchar'::regtype, 'jsonb'::regtype, 'json'::regtype)
    and n.nspname not in ('meltano', 'dagster', 'information_schema')
    and n.nspname not like 'pg\\_%'
order by 1, 2, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Renewed:
    """How many rows of one column have new pseudonyms."""

    table: str
    column: str
    rows: int


def rotate(
    warehouse: Warehouse, older: Sequence[str], renewed_in: Callable[[str], str]
) -> Iterator[Renewed]:
    """Put every pseudonym of the older keys under the newest one, column by column.

    Records in quarantine and nested values are searched, too. A table that is being loaded is
    waited for.
    """
    if not older:
        return
    pattern = f"~({'|'.join(older)})~[A-Za-z0-9_-]{{43}}"
    with warehouse.connect(application_name=_APPLICATION) as connection:
        columns = connection.execute(_COLUMNS).fetchall()
    for schema, table, column, kind in columns:
        rows = 0
        while done := _renew_piece(warehouse, (schema, table, column), kind, pattern, renewed_in):
            rows += done
        if rows:
            yield Renewed(f"{schema}.{table}", column, rows)


def _renew_piece(
    warehouse: Warehouse,
    place: tuple[str, str, str],
    kind: str,
    pattern: str,
    renewed_in: Callable[[str], str],
) -> int:
    schema, table, column = place
    names = {
        "table": sql.Identifier(schema, table),
        "column": sql.Identifier(column),
        "kind": sql.SQL(kind),
    }
    with warehouse.connect(application_name=_APPLICATION) as connection:
        stream = table.removesuffix("__quarantine")
        connection.execute("select pg_advisory_xact_lock(%s)", [stream_lock(schema, stream)])
        query = sql.SQL(
            "select distinct {column}::text from {table} where {column}::text ~ %s limit %s"
        ).format(**names)
        old = [row[0] for row in connection.execute(query, [pattern, _PIECE]).fetchall()]
        if not old:
            return 0
        return _replace(connection, names, old, [renewed_in(text) for text in old])


def _replace(
    connection: psycopg.Connection,
    names: dict[str, sql.Composable],
    old: list[str],
    new: list[str],
) -> int:
    statement = sql.SQL(
        "update {table} as t set {column} = m.new::{kind}"
        " from unnest(%s::text[], %s::text[]) as m (old, new) where t.{column}::text = m.old"
    ).format(**names)
    return connection.execute(statement, [old, new]).rowcount
