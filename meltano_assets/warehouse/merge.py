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

from meltano_assets.warehouse.schema import TableName, column_list, same_key

#: Below this many records the difference cannot be felt.
REWRITE_ROWS = 10_000
#: Above this size the space for a second copy and the lock at its end weigh more than the time.
_REWRITE_BYTES = 20 * 1024**3
_SAMPLE = 2_000


@dataclass(frozen=True, slots=True)
class Keys:
    """What identifies a record, what orders its versions, and what tells whether two are the same.

    Columns ``as_text`` are compared as text: to their types, values that differ may be equal (1 month and
    30 days, A and a where case does not count), or may not be compared at all.
    """

    primary: tuple[str, ...]
    replication: str | None = None
    as_text: frozenset[str] = frozenset()

    def compared(self, column: str, value: sql.Composable) -> sql.Composable:
        """A column's value as it is compared."""
        return sql.SQL("({})::text").format(value) if column in self.as_text else value


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of the records that were to be merged."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Own:
    """The rows ``t`` of a table that this transaction has stored already."""

    table: TableName
    load_id: str

    @property
    def condition(self) -> sql.Composable:
        """What tells them from the others."""
        return sql.SQL("t._loaded_at = now() and t._load_id = {}").format(sql.Literal(self.load_id))


def keep_newest(
    connection: psycopg.Connection,
    landing: sql.Composable,
    keys: Keys,
    columns: Sequence[str],
    *,
    has_deletes: bool,
    own: Own | None = None,
) -> int:
    """Leave one record a key, the newest; a delete keeps its key's last values. Returns how many go.

    Rows of ``own`` were read before: where a record came between one and its delete, nulls are its
    last values too, and the row gets them here.
    """
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
            ).format(landing=landing, kept=kept, same=same_key(keys.primary, "l", "p"))
        )
        if own is not None:
            change = _Change(keys, columns, has_deletes=False, incoming="p")
            connection.execute(
                sql.SQL(
                    "update {target} as t set {assigned} from last_values as p"
                    " where {same} and {is_own} and {is_fresh}"
                ).format(
                    target=own.table.sql,
                    assigned=sql.SQL(", ").join(
                        sql.SQL("{} = {}").format(sql.Identifier(column), value)
                        for column, value in change.assigned
                        if column in values
                    ),
                    same=same_key(keys.primary, "t", "p"),
                    is_own=own.condition,
                    is_fresh=change.is_fresh,
                )
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
    is_partitioned: bool = False,
    only_changed: bool = False,
) -> Merged:
    """Insert new keys, update changed records, leave equal and newer ones alone.

    The landing table holds one record a key; the target enforces the key. ``only_changed``: records
    that change nothing are left out before, which pays where most of them do not.
    """
    # Partitions do not tell whether a row was there; the statement sees the table as it was before.
    is_new: sql.Composable = sql.SQL("t.xmax = 0")
    if is_partitioned:
        is_new = sql.SQL("not exists (select from {} as o where {})").format(
            target.sql, same_key(keys.primary, "o", "t")
        )
    change = _Change(keys, columns, has_deletes, incoming="excluded")
    names = [*columns, "_deleted_at"]
    deleted = count_deletes(connection, landing, target, keys, columns) if has_deletes else 0
    chosen: sql.Composable = sql.SQL("")
    if only_changed:
        found = _Change(keys, columns, has_deletes, incoming="l")
        chosen = sql.SQL(
            " left join {target} as t on {same}"
            " where t.{key} is null or {is_fresh} and ({old}) is distinct from ({new})"
        ).format(
            target=target.sql,
            same=same_key(keys.primary, "t", "l"),
            key=sql.Identifier(keys.primary[0]),
            is_fresh=found.is_fresh,
            old=found.old,
            new=found.new,
        )
    row = connection.execute(
        sql.SQL(
            "with merged as ("
            "insert into {target} as t ({names}, _loaded_at, _load_id) overriding system value"
            " select {values}, now(), {load_id} from {landing} as l{chosen}"
            " on conflict ({key}) do update set {assigned}, _loaded_at = now(),"
            " _load_id = {load_id} where {is_fresh} and ({old}) is distinct from ({new})"
            " returning {is_new} as is_new"
            ") select count(*) filter (where is_new), count(*) filter (where not is_new)"
            " from merged"
        ).format(
            target=target.sql,
            is_new=is_new,
            names=column_list(names),
            values=column_list(names, "l"),
            load_id=sql.Literal(load_id),
            landing=landing,
            chosen=chosen,
            key=column_list(keys.primary),
            assigned=sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(column), value)
                for column, value in change.assigned
            ),
            is_fresh=change.is_fresh,
            old=change.old,
            new=change.new,
        )
    ).fetchone()
    assert row is not None
    return Merged(int(row[0]), int(row[1]), deleted)


def supersede_own(
    connection: psycopg.Connection,
    landing: sql.Composable,
    own: Own,
    keys: Keys,
    columns: Sequence[str],
    *,
    has_deletes: bool,
) -> tuple[int, int]:
    """Merge the records whose key this transaction has already stored; returns superseded, deleted.

    Of each such pair one record is superseded: the older one, wherever it lies.
    """
    again = sql.Identifier("pg_temp", "meltano_again")
    connection.execute(
        sql.SQL(
            "create temp table meltano_again on commit drop as select l.* from {landing} as l"
            " join {target} as t on {same} where {is_own}"
        ).format(
            landing=landing,
            target=own.table.sql,
            same=same_key(keys.primary, "t", "l"),
            is_own=own.condition,
        )
    )
    found = connection.execute(
        sql.SQL("delete from {landing} as l using {again} as a where {same}").format(
            landing=landing, again=again, same=same_key(keys.primary, "a", "l")
        )
    ).rowcount
    merged = Merged()
    if found:
        merged = upsert(
            connection,
            again,
            own.table,
            keys,
            columns,
            has_deletes=has_deletes,
            load_id=own.load_id,
        )
    connection.execute(sql.SQL("drop table {}").format(again))
    return found, merged.deleted


def rewrite(
    connection: psycopg.Connection,
    landing: sql.Composable,
    live: TableName,
    beside: TableName,
    keys: Keys,
    columns: Sequence[str],
    everything: Sequence[str],
    *,
    has_deletes: bool,
    load_id: str,
) -> Merged:
    """The merged table written anew into ``beside``: what pays when most of the live rows change.

    One join writes every row once and in order, where an update in place writes a new version,
    a log record and often an index entry for each. Unchanged rows keep ``_loaded_at``.
    """
    change = _Change(keys, columns, has_deletes, incoming="l")
    deleted = count_deletes(connection, landing, live, keys, columns) if has_deletes else 0
    new_values = {
        **{column: sql.Identifier("l", column) for column in columns},
        **dict(change.assigned),
        "_loaded_at": sql.SQL("now()"),
        "_load_id": sql.Literal(load_id),
    }
    # A key of the live table alone stays as it is; one of the landing table alone is new.
    is_written = sql.SQL(
        "t.{key} is null or l.{key} is not null and {is_fresh} and ({old}) is distinct from ({new})"
    ).format(
        key=sql.Identifier(keys.primary[0]),
        is_fresh=change.is_fresh,
        old=change.old,
        new=change.new,
    )
    parts = [sql.SQL("t.{} is null as is_new").format(sql.Identifier(keys.primary[0]))]
    chosen: list[sql.Composable] = []
    defaults = _defaults(connection, live)
    for number, column in enumerate(everything):
        old, new = sql.Identifier(f"old_{number}"), sql.Identifier(f"new_{number}")
        parts.append(sql.SQL("t.{} as {}").format(sql.Identifier(column), old))
        if column in new_values:
            parts.append(sql.SQL("{} as {}").format(new_values[column], new))
            chosen.append(sql.SQL("case when is_written then {} else {} end").format(new, old))
        elif column in defaults:
            default = sql.SQL(defaults[column])  # type: ignore[arg-type] # as Postgres writes it
            chosen.append(sql.SQL("case when is_new then {} else {} end").format(default, old))
        else:
            chosen.append(old)
    written = connection.execute(
        sql.SQL(
            "insert into {beside} ({names}) select {chosen} from ("
            "select {is_written} as is_written, {parts} from {live} as t"
            # offset 0: or else the comparison of all columns is done again for every column.
            " full join {landing} as l on {same} offset 0) as joined"
        ).format(
            beside=beside.sql,
            names=column_list(everything),
            chosen=sql.SQL(", ").join(chosen),
            is_written=is_written,
            parts=sql.SQL(", ").join(parts),
            live=live.sql,
            landing=landing,
            same=same_key(keys.primary, "t", "l"),
        )
    ).rowcount
    row = connection.execute(
        sql.SQL(
            "select (select count(*) from {beside} where _loaded_at = now()),"
            " (select count(*) from {live})"
        ).format(beside=beside.sql, live=live.sql)
    ).fetchone()
    assert row is not None
    # now() is the time of this transaction, so nothing else bears it.
    written_by_us, before = (int(number) for number in row)
    inserted = written - before
    return Merged(inserted, written_by_us - inserted, deleted)


def _defaults(connection: psycopg.Connection, table: TableName) -> dict[str, str]:
    """What a new row has in columns that no record carries, as SQL."""
    rows = connection.execute(
        "select a.attname, pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d"
        " join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum"
        " where d.adrelid = to_regclass(%s) and a.attgenerated = ''",
        [table.sql.as_string(connection)],
    ).fetchall()
    return dict(rows)


@dataclass(frozen=True, slots=True)
class Sample:
    """Of some landed records, how many have a key of the live table and how many change its row."""

    records: int = 0
    known: int = 0
    changing: int = 0

    @property
    def is_mostly_unchanged(self) -> bool:
        """True when it pays to look for what is changed before any row is touched.

        A row that stays as it is is locked by ON CONFLICT, which costs twice as much as comparing it,
        writes its page and a log record.
        """
        return self.known - self.changing > self.records / 2


def sample(
    connection: psycopg.Connection,
    landing: sql.Composable,
    live: TableName,
    keys: Keys,
    columns: Sequence[str],
    rows: int,
) -> Sample:
    """Compare some of the landed records with the live table; nothing where they are few."""
    if rows < REWRITE_ROWS:
        return Sample()
    change = _Change(keys, columns, has_deletes=False, incoming="l")
    row = connection.execute(
        sql.SQL(
            "select count(*), count(t.{key}),"
            " count(*) filter (where t.{key} is not null and {is_fresh}"
            " and ({old}) is distinct from ({new}))"
            " from (select * from {landing} tablesample system ({percent}) limit {limit}) as l"
            " left join {live} as t on {same}"
        ).format(
            live=live.sql,
            key=sql.Identifier(keys.primary[0]),
            is_fresh=change.is_fresh,
            old=change.old,
            new=change.new,
            landing=landing,
            percent=sql.Literal(min(100.0, 100.0 * 4 * _SAMPLE / rows)),
            limit=sql.Literal(_SAMPLE),
            same=same_key(keys.primary, "t", "l"),
        )
    ).fetchone()
    assert row is not None
    return Sample(*(int(number) for number in row))


def pays_to_rewrite(
    connection: psycopg.Connection, live: TableName, rows: int, sampled: Sample
) -> bool:
    """True when a sample says that writing the whole table anew is cheaper than changing it.

    Measured (docs/performance.md): an update in place costs about four times, an insert with its
    look at the index more than twice as much as a row written anew.
    """
    if not sampled.records:
        return False
    row = connection.execute(
        "select greatest(reltuples, 0), pg_relation_size(oid) from pg_class"
        " where oid = to_regclass(%s)",
        [live.sql.as_string(connection)],
    ).fetchone()
    if row is None or row[0] > 4 * rows or row[1] > _REWRITE_BYTES:
        return False
    counted = connection.execute(sql.SQL("select count(*) from {}").format(live.sql)).fetchone()
    assert counted is not None
    updates = rows * sampled.changing / sampled.records
    inserts = rows * (sampled.records - sampled.known) / sampled.records
    return int(counted[0]) + inserts < 4 * updates + 2.2 * inserts


def count_deletes(
    connection: psycopg.Connection,
    landing: sql.Composable,
    target: TableName,
    keys: Keys,
    columns: Sequence[str],
) -> int:
    """How many records become deleted that were not, or were not there."""
    change = _Change(keys, columns, has_deletes=True, incoming="l")
    row = connection.execute(
        sql.SQL(
            "select count(*) from {landing} as l left join {target} as t on {same}"
            " where l._deleted_at is not null and t._deleted_at is null"
            " and (t.{key} is null or {is_fresh})"
        ).format(
            landing=landing,
            target=target.sql,
            same=same_key(keys.primary, "t", "l"),
            key=sql.Identifier(keys.primary[0]),
            is_fresh=change.is_fresh,
        )
    ).fetchone()
    return int(row[0]) if row else 0


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
            "insert into {target} ({names}, _loaded_at, _load_id) overriding system value"
            " select {values}, now(), {load_id} from {landing} as l"
            " where not exists (select from {target} as t where {same})"
        ).format(
            target=target.sql,
            names=column_list(names),
            values=column_list(names, "l"),
            load_id=sql.Literal(load_id),
            landing=landing,
            same=same_key(keys.primary, "t", "l"),
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


def kept_out(
    connection: psycopg.Connection,
    landing: sql.Composable,
    target: TableName,
    keys: Keys,
    columns: Sequence[str],
    *,
    has_deletes: bool,
    load_id: str,
    is_append: bool,
) -> list[str]:
    """The records, as JSON, that were merged and are not in the table: a trigger or rule took them."""
    change = _Change(keys, columns, has_deletes, incoming="l")
    is_old = sql.SQL("{} and t._load_id is distinct from {} and {} and ({}) is distinct from ({})")
    rows = connection.execute(
        sql.SQL(
            "select row_to_json(r.*)::text from (select {known} from {landing} as l"
            " left join {target} as t on {same} where t.{key} is null or {is_old}) as r"
        ).format(
            known=column_list([*columns, *(["_deleted_at"] if has_deletes else [])], "l"),
            landing=landing,
            target=target.sql,
            same=same_key(keys.primary, "t", "l"),
            key=sql.Identifier(keys.primary[0]),
            is_old=is_old.format(
                sql.SQL("false" if is_append else "true"),
                sql.Literal(load_id),
                change.is_fresh,
                change.old,
                change.new,
            ),
        )
    ).fetchall()
    return [str(record) for (record,) in rows]


class _Change:
    """What a record of the landing table does to the stored row ``t`` of the same key.

    ``incoming`` is the name under which the statement knows the record. A delete says nothing of
    the values that it does not carry, and the first time of a delete stands.
    """

    def __init__(
        self, keys: Keys, columns: Sequence[str], has_deletes: bool, *, incoming: str
    ) -> None:
        def value(column: str) -> sql.Composable:
            parts = {
                "new": sql.Identifier(incoming, column),
                "old": sql.Identifier("t", column),
                "gone": sql.Identifier(incoming, "_deleted_at"),
            }
            if not has_deletes:
                return parts["new"]
            return sql.SQL(
                "case when {gone} is not null then coalesce({new}, {old}) else {new} end"
            ).format(**parts)

        gone = sql.Identifier(incoming, "_deleted_at")
        deleted_at: sql.Composable = sql.SQL("null::timestamptz")
        if has_deletes:
            deleted_at = sql.SQL(
                "case when {gone} is not null then coalesce(t._deleted_at, {gone}) end"
            ).format(gone=gone)
        values = [column for column in columns if column not in keys.primary]
        self.assigned = [(column, value(column)) for column in values]
        self.assigned.append(("_deleted_at", deleted_at))
        self.old, self.new = (
            sql.SQL(", ").join(keys.compared(column, value) for column, value in side)
            for side in (
                [(column, sql.Identifier("t", column)) for column, _ in self.assigned],
                self.assigned,
            )
        )
        self.is_fresh: sql.Composable = sql.SQL("true")
        if keys.replication and keys.replication in columns:
            # As in keep_newest: a record without a replication key is older than any with one, but
            # a delete without one is later than what it deletes.
            is_delete = sql.SQL(" or {new} is null and {gone} is not null" if has_deletes else "")
            self.is_fresh = sql.SQL("({new} >= {old} or {old} is null{is_delete})").format(
                new=sql.Identifier(incoming, keys.replication),
                old=sql.Identifier("t", keys.replication),
                is_delete=is_delete.format(
                    new=sql.Identifier(incoming, keys.replication), gone=gone
                ),
            )
