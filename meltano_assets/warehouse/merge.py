"""From the table that COPY filled to the table that people read.

Belongs here: which of several records of one key wins, and the statements that bring the winners into
the raw table while counting what became of each. The filled table was made in this transaction, so its
rows lie in the order in which they were read (``ctid``): ties go to the last read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from meltano_assets.warehouse.schema import TableName, column_list

_T = sql.SQL("t")
_L = sql.SQL("l")


@dataclass(frozen=True, slots=True)
class Keys:
    """What identifies a record, and what orders its versions."""

    primary: tuple[str, ...]
    replication: str | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of the records that were to be merged."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0


def has_duplicates(
    connection: psycopg.Connection, landing: sql.Composable, key: Sequence[str]
) -> bool:
    """True when some key occurs twice in the landing table."""
    row = connection.execute(
        sql.SQL("select exists (select from {} group by {} having count(*) > 1)").format(
            landing, column_list(key)
        )
    ).fetchone()
    return row is not None and bool(row[0])


def keep_newest(
    connection: psycopg.Connection,
    landing: sql.Composable,
    keys: Keys,
    columns: Sequence[str],
    *,
    has_deletes: bool,
) -> int:
    """Leave one record a key, the newest; a delete keeps its key's last values. Returns how many go."""
    key = column_list(keys.primary)
    order: sql.Composable = sql.SQL("ctid desc")
    if keys.replication:
        order = sql.SQL("{}, {} desc nulls last, ctid desc").format(
            # A delete that carries no replication key is later than what it deletes.
            sql.SQL("(_deleted_at is not null and {} is null) desc").format(
                sql.Identifier(keys.replication)
            ),
            sql.Identifier(keys.replication),
        )
    values = [column for column in columns if column not in keys.primary]
    if has_deletes and values:
        connection.execute(
            sql.SQL(
                "create temp table last_values on commit drop as"
                " select distinct on ({key}) {columns} from {landing} where _deleted_at is null"
                " and ({key}) in (select {key} from {landing} where _deleted_at is not null)"
                " order by {key}, {order}"
            ).format(
                key=key, columns=column_list([*keys.primary, *values]), landing=landing, order=order
            )
        )
    gone = connection.execute(
        sql.SQL(
            "delete from {landing} as l using ("
            "select ctid as place, row_number() over (partition by {key} order by {order}) as rank"
            " from {landing}) as ranked"
            " where l.ctid = ranked.place and ranked.rank > 1"
        ).format(landing=landing, key=key, order=order)
    ).rowcount
    if has_deletes and values:
        kept = sql.SQL(", ").join(
            sql.SQL("{name} = coalesce(l.{name}, p.{name})").format(name=sql.Identifier(column))
            for column in values
        )
        connection.execute(
            sql.SQL(
                "update {landing} as l set {kept} from last_values as p"
                " where {same} and l._deleted_at is not null"
            ).format(landing=landing, kept=kept, same=_same_key(keys.primary, "l", "p"))
        )
        connection.execute("drop table last_values")
    return gone


def upsert(
    connection: psycopg.Connection,
    landing: sql.Composable,
    target: TableName,
    keys: Keys,
    columns: Sequence[str],
    *,
    has_deletes: bool,
    load_id: str,
) -> Merged:
    """Insert new keys, update changed records, leave equal and newer ones alone.

    The landing table holds one record a key.
    """
    same = _same_key(keys.primary, "t", "l")
    values = [column for column in columns if column not in keys.primary]
    fresh: sql.Composable = sql.SQL("true")
    if keys.replication and keys.replication in columns:
        fresh = sql.SQL("(l.{key} >= t.{key} or l.{key} is null or t.{key} is null)").format(
            key=sql.Identifier(keys.replication)
        )
    deleted = 0
    deleted_value: sql.Composable = sql.SQL("null::timestamptz")
    if has_deletes:
        deleted_value = sql.SQL(
            "case when l._deleted_at is not null then coalesce(t._deleted_at, l._deleted_at) end"
        )
        row = connection.execute(
            sql.SQL(
                "select count(*) from {landing} as l left join {target} as t on {same}"
                " where l._deleted_at is not null and t._deleted_at is null"
                " and ({fresh} or t.{key} is null)"
            ).format(
                landing=landing,
                target=target.sql,
                same=same,
                fresh=fresh,
                key=sql.Identifier(keys.primary[0]),
            )
        ).fetchone()
        deleted = int(row[0]) if row else 0
    assigned = [(column, _new_value(column, has_deletes)) for column in values]
    assigned.append(("_deleted_at", deleted_value))
    updated = connection.execute(
        sql.SQL(
            "update {target} as t set {assigned}, _loaded_at = now(), _load_id = {load_id}"
            " from {landing} as l where {same} and {fresh} and ({old}) is distinct from ({new})"
        ).format(
            target=target.sql,
            assigned=sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(column), value)
                for column, value in assigned
            ),
            load_id=sql.Literal(load_id),
            landing=landing,
            same=same,
            fresh=fresh,
            old=column_list([column for column, _ in assigned], "t"),
            new=sql.SQL(", ").join(value for _, value in assigned),
        )
    ).rowcount
    inserted = insert_missing(
        connection, landing, target, keys, columns, has_deletes=has_deletes, load_id=load_id
    )
    return Merged(inserted, updated, deleted)


def insert_missing(
    connection: psycopg.Connection,
    landing: sql.Composable,
    target: TableName,
    keys: Keys,
    columns: Sequence[str],
    *,
    has_deletes: bool,
    load_id: str,
) -> int:
    """Insert the records whose key the target does not have."""
    names = [*columns, *(["_deleted_at"] if has_deletes else [])]
    return connection.execute(
        sql.SQL(
            "insert into {target} ({names}, _loaded_at, _load_id)"
            " select {values}, now(), {load_id} from {landing} as l"
            " where not exists (select from {target} as t where {same})"
        ).format(
            target=target.sql,
            names=column_list(names),
            values=column_list(names, "l"),
            load_id=sql.Literal(load_id),
            landing=landing,
            same=_same_key(keys.primary, "t", "l"),
        )
    ).rowcount


def insert_all(
    connection: psycopg.Connection,
    landing: sql.Composable,
    target: TableName,
    columns: Sequence[str],
    *,
    has_deletes: bool,
    load_id: str,
) -> int:
    """Insert every record."""
    names = [*columns, *(["_deleted_at"] if has_deletes else [])]
    return connection.execute(
        sql.SQL(
            "insert into {} ({}, _loaded_at, _load_id) select {}, now(), {} from {} as l"
        ).format(
            target.sql,
            column_list(names),
            column_list(names, "l"),
            sql.Literal(load_id),
            landing,
        )
    ).rowcount


def _new_value(column: str, has_deletes: bool) -> sql.Composable:
    """A delete says nothing of the values it does not carry."""
    name = sql.Identifier(column)
    if not has_deletes:
        return sql.SQL("l.{}").format(name)
    return sql.SQL(
        "case when l._deleted_at is not null then coalesce(l.{0}, t.{0}) else l.{0} end"
    ).format(name)


def _same_key(key: Sequence[str], one: str, other: str) -> sql.Composed:
    return sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one, column), sql.Identifier(other, column))
        for column in key
    )
