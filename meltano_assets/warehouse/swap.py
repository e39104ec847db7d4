"""Replacing a whole table without anybody seeing it empty or missing.

The new rows are loaded into a table beside the live one and get their primary key there; then, in the
last moment of the same transaction, the names are exchanged. COPY FREEZE makes the new rows visible
even to transactions that began before the swap, so they too see a full table; where several connections
fill a large one, the exchange waits for such transactions (``fill.py``). What people have given to the
table is carried over (``standing.py``); views are pointed at the new one (``views.py``).

What hangs on the table's identity and cannot be carried over makes ``exchange`` fill the live table in place
instead: slower, but nothing breaks, and readers see the old rows until commit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import ColumnType
from meltano_assets.warehouse import schema, standing, views
from meltano_assets.warehouse.catalog import SchemaChange
from meltano_assets.warehouse.records import Rejected
from meltano_assets.warehouse.refused import Refuse, brought_in, kept_out
from meltano_assets.warehouse.schema import Table, TableName, same_key
from meltano_assets.warehouse.snapshots import has_older_readers

#: Rows of other tables that refer to this one's.
_IS_REFERRED_TO = """
select exists (
    select from pg_constraint where contype = 'f' and confrelid = %(oid)s and conrelid <> confrelid
)
"""

#: Neither constrained nor commented, and room for two more columns, since those dropped go on counting.
_ARE_STAMPS_PLAIN = """
select not exists (
        select from pg_attribute a
        where a.attrelid = %(oid)s and a.attname = any (%(stamps)s) and (
            a.attnotnull or col_description(a.attrelid, a.attnum) is not null
            or exists (
                select from pg_constraint c
                where c.conrelid = a.attrelid and a.attnum = any (c.conkey)
            )
        )
    )
    and (select count(*) from pg_attribute where attrelid = %(oid)s and attnum > 0) < 1500
"""


#: What the names of tables beside begin with.
HIDDEN = "meltano_new_"
_HIDDEN = re.compile(HIDDEN + "[0-9a-f]{12}")

#: How long the exchange waits for readers to finish before it fills the table in place instead.
_LOCK_PATIENCE = "10s"


@dataclass(frozen=True, slots=True)
class Beside:
    """A table being filled beside the live one, which may not exist yet.

    ``is_stamped`` says that its rows bring ``_loaded_at`` and ``_load_id`` themselves; else
    ``exchange`` adds the two. ``is_passing`` says that it only hands its rows on and never takes the
    live table's place.
    """

    name: TableName
    live: Table | None
    is_stamped: bool
    is_passing: bool = False


def open_beside(
    connection: psycopg.Connection,
    name: TableName,
    live: Table | None,
    columns: Mapping[str, ColumnType],
    *,
    required: Sequence[str],
    suffix: str,
    has_stamps: bool = False,
) -> tuple[Beside, list[SchemaChange]]:
    """An empty table with the live one's shape, grown to the wanted columns.

    ``required`` is the key that it will have.

    ``has_stamps`` keeps ``_loaded_at`` and ``_load_id`` for rows that bring them.
    """
    beside = TableName(name.schema, HIDDEN + suffix)
    own = {key: kind for key, kind in schema.LOADER_TYPES.items() if key not in schema.STAMPS}
    if live is None:
        schema.create(connection, beside, {**columns, **own}, required)
        return Beside(beside, None, is_stamped=False), []
    schema.refuse_unfillable(live, columns)
    is_passing = not standing.is_movable(connection, live)
    standing.create_like(connection, beside, live, required, is_passing=is_passing)
    is_stamped = has_stamps or not _are_stamps_plain(connection, live)
    if is_stamped:
        own = schema.LOADER_TYPES
    else:
        connection.execute(
            sql.SQL("alter table {} {}").format(
                beside.sql,
                sql.SQL(", ").join(
                    sql.SQL("drop column {}").format(sql.Identifier(name)) for name in schema.STAMPS
                ),
            )
        )
    found = schema.find(connection, beside, required)
    assert found is not None
    changes = schema.grow(connection, found, {**columns, **own})
    if is_stamped:
        schema.set_defaults(connection, beside)
    changes = [
        SchemaChange(str(name), one.column, one.change, one.old_type, one.new_type)
        for one in changes
    ]
    return Beside(beside, live, is_stamped, is_passing), changes


def _are_stamps_plain(connection: psycopg.Connection, live: Table) -> bool:
    """True when nobody notices that the loader's columns are not those of before but new ones."""
    if any(
        live.columns.get(column) != schema.LOADER_TYPES[column] or column in live.inexact
        for column in schema.STAMPS
    ):
        return False
    row = connection.execute(_ARE_STAMPS_PLAIN, {"oid": live.oid, "stamps": list(schema.STAMPS)})
    found = row.fetchone()
    return found is not None and bool(found[0])


def is_hidden(name: str) -> bool:
    """True for what a table is called that is filled beside another one, and dropped if that is broken off."""
    return _HIDDEN.fullmatch(name) is not None


def exchange(
    connection: psycopg.Connection,
    beside: Beside,
    name: TableName,
    *,
    is_reshaped: bool,
    primary_key: Sequence[str],
    refuse: Refuse,
    in_place: bool = False,
    is_frozen: bool = True,
) -> None:
    """Let the table beside, its key in place, take the live table's name and standing.

    ``in_place`` moves the rows instead, for readers whose snapshot is older than the table beside. So
    it is done, too, when the rows are not frozen and there are such readers in the last moment.
    """
    default_name = schema.primary_key_name(name.name)
    if not beside.is_stamped:
        schema.stamp(connection, beside.name)
    if beside.live is None:
        _rename(connection, beside.name, name, primary_key, default_name)
        return
    live = beside.live
    key_name = standing.key_name(connection, live) or default_name
    above = views.above(connection, live.oid)
    direct = [view for view in above if view.level == 1]
    if in_place or beside.is_passing or not standing.is_movable(connection, live):
        _fill_in_place(connection, beside, live, primary_key, refuse)
        return
    standing.require_values(connection, live, beside.name, primary_key, refuse)
    indexes = standing.copy_indexes(connection, live, beside.name)
    standing.copy_standing(connection, live, beside.name)
    statistics = standing.extended_statistics(connection, live)
    if is_reshaped and above:
        with views.taken_down(connection, live.oid):
            _put_in_place(connection, beside, name, primary_key, key_name)
    else:
        if not _locked(connection, live, direct) or (
            not is_frozen and has_older_readers(connection)
        ):
            _fill_in_place(connection, beside, live, primary_key, refuse)
            return
        _put_in_place(connection, beside, name, primary_key, key_name, direct=direct)
    for temporary, final in indexes:
        connection.execute(
            sql.SQL("alter index {} rename to {}").format(
                sql.Identifier(name.schema, temporary), sql.Identifier(final)
            )
        )
    for step in statistics:
        connection.execute(step)


def _locked(connection: psycopg.Connection, live: Table, direct: list[views.View]) -> bool:
    """Lock out readers, unless a long query keeps us waiting: then everybody would wait with us."""
    try:
        with connection.transaction():
            connection.execute("select set_config('lock_timeout', %s, true)", [_LOCK_PATIENCE])
            views.lock(connection, direct)
            connection.execute(
                sql.SQL("lock table {} in access exclusive mode").format(live.name.sql)
            )
            connection.execute("set local lock_timeout to default")
    except errors.LockNotAvailable:
        return False
    return True


def _put_in_place(
    connection: psycopg.Connection,
    beside: Beside,
    name: TableName,
    primary_key: Sequence[str],
    key_name: str,
    *,
    direct: Sequence[views.View] = (),
) -> None:
    assert beside.live is not None
    old = TableName(name.schema, f"{beside.name.name}_old")
    connection.execute(
        sql.SQL("alter table {} rename to {}").format(name.sql, sql.Identifier(old.name))
    )
    connection.execute(
        sql.SQL("alter table {} rename to {}").format(beside.name.sql, sql.Identifier(name.name))
    )
    views.rebind(connection, list(direct))
    connection.execute(sql.SQL("drop table {}").format(old.sql))
    if primary_key:
        _rename_key(connection, name, key_name)


def _rename(
    connection: psycopg.Connection,
    beside: TableName,
    name: TableName,
    primary_key: Sequence[str],
    key_name: str,
) -> None:
    connection.execute(
        sql.SQL("alter table {} rename to {}").format(beside.sql, sql.Identifier(name.name))
    )
    if primary_key:
        _rename_key(connection, name, key_name)


def _rename_key(connection: psycopg.Connection, name: TableName, key_name: str) -> None:
    row = connection.execute(
        "select conname from pg_constraint where conrelid = to_regclass(%s) and contype = 'p'",
        [name.sql.as_string(connection)],
    ).fetchone()
    taken = connection.execute(
        "select to_regclass(%s) is not null",
        [sql.Identifier(name.schema, key_name).as_string(connection)],
    ).fetchone()
    if row is not None and taken is not None and not taken[0]:
        connection.execute(
            sql.SQL("alter table {} rename constraint {} to {}").format(
                name.sql, sql.Identifier(row[0]), sql.Identifier(key_name)
            )
        )


def _fill_in_place(
    connection: psycopg.Connection,
    beside: Beside,
    live: Table,
    key: Sequence[str],
    refuse: Refuse,
) -> None:
    """Old rows out, new rows in, the table itself untouched; readers keep the old rows meanwhile."""
    found = schema.find(connection, beside.name, key)
    assert found is not None
    # What Postgres computes, it computes anew.
    columns = {name: kind for name, kind in found.columns.items() if name not in live.computed}
    schema.grow(connection, live, columns)
    taken_out: list[Rejected] = []

    def take(rejected: Rejected) -> None:
        taken_out.append(rejected)
        refuse(rejected)

    filled = _fill(connection, beside.name, live, list(columns), found.primary_key, take)
    row = connection.execute(sql.SQL("select count(*) from {}").format(beside.name.sql)).fetchone()
    if row is None or row[0] != filled + len(taken_out):
        raise kept_out(live.name, filled)
    connection.execute(sql.SQL("drop table {}").format(beside.name.sql))


def _fill(
    connection: psycopg.Connection,
    beside: TableName,
    live: Table,
    names: Sequence[str],
    key: Sequence[str],
    refuse: Refuse,
) -> int:
    """The new rows instead of the old ones; returns how many there are now.

    A row to which others refer is changed, not deleted and made anew: its deletion would be refused, or
    would take the others with it. Rows of tables that inherit from this one are none of it.
    """
    columns = schema.column_list(names)
    # ``only`` a partitioned table has no rows.
    itself = sql.SQL("{}" if live.is_partitioned else "only {}").format(live.name.sql)
    gone: sql.Composable = sql.SQL("true")
    met: sql.Composable = sql.SQL("")
    row = connection.execute(_IS_REFERRED_TO, {"oid": live.oid}).fetchone()
    if row is not None and row[0]:
        if not key or set(key) != set(live.primary_key):
            raise FatalError(
                f"rows of other tables refer to {live.name}, and without its primary key no row of it"
                " is known again",
                hint="declare the primary key, or remove the foreign keys",
            )
        gone = sql.SQL("not exists (select from {} as b where {})").format(
            beside.sql, same_key(key, "t", "b")
        )
        met = sql.SQL(" on conflict ({}) do update set {}").format(
            schema.column_list(key),
            sql.SQL(", ").join(
                sql.SQL("{name} = excluded.{name}").format(name=sql.Identifier(name))
                for name in names
                if name not in key
            ),
        )
    connection.execute(sql.SQL("delete from {} as t where {}").format(itself, gone))
    # That others miss what was deleted is no new row's fault.
    connection.execute("set constraints all immediate")

    def insert(rows: sql.Composable) -> int:
        return connection.execute(
            sql.SQL("insert into {} ({}) overriding system value select {} from {}{}").format(
                live.name.sql, columns, columns, rows, met
            )
        ).rowcount

    known = [name for name in names if name not in schema.STAMPS]
    return sum(brought_in(connection, beside.sql, insert, known, refuse))
