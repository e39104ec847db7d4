"""Tables of the disposition ``scd2``: every version of a record, and since when until when it held.

A row is a version: it holds from ``_valid_from`` up to, not including, ``_valid_to``, which is null
for the version that holds now. Versions are ordered by the replication key where it is a time, else by
when they were loaded. ``_valid_to`` follows from the versions alone, so loading the same records again,
late or out of order changes nothing that was told rightly before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import ColumnType
from meltano_assets.warehouse import merge, schema
from meltano_assets.warehouse.catalog import SchemaChange
from meltano_assets.warehouse.merge import Keys
from meltano_assets.warehouse.refused import kept_out
from meltano_assets.warehouse.schema import LOADER_TYPES, Table, TableName, column_list

#: What a history table has besides, in front of the loader's columns.
HISTORY_TYPES: dict[str, ColumnType] = {
    "_valid_from": "timestamptz",
    "_valid_to": "timestamptz",
    "_row_hash": "text",
}
_TIMES: Mapping[str, str] = {
    "timestamptz": "{}",
    "timestamp": "{} at time zone 'UTC'",
    "date": "{}::timestamp at time zone 'UTC'",
}
_VERSIONS = sql.Identifier("pg_temp", "meltano_versions")
#: What else the statements speak of.
_WORDS = ("mark", "rank", "place", "next", "until")
#: Columns about the transport of a record; a record that differs in them alone is the same version.
_ABOUT_TRANSPORT = "_sdc_"


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of records: how many versions they are, and what was written of them."""

    versions: int
    inserted: int
    updated: int
    deleted: int


def ensure(
    connection: psycopg.Connection,
    name: TableName,
    live: Table | None,
    columns: Mapping[str, ColumnType],
    keys: Keys,
) -> list[SchemaChange]:
    """Make the table, or make a table of another disposition a history: its rows become versions."""
    if live is not None and "_valid_from" in live.columns:
        schema.require_key(connection, live, (*keys.primary, "_valid_from"))
        return []
    if live is None:
        every = {**columns, **HISTORY_TYPES, **LOADER_TYPES}
        connection.execute(
            sql.SQL("create table {} ({})").format(
                name.sql,
                schema.definitions(every, (*keys.primary, "_valid_from", "_row_hash")),
            )
        )
        schema.set_defaults(connection, name)
        changes = [SchemaChange(str(name), None, "created table")]
    else:
        schema.require_key(connection, live, keys.primary)
        changes = schema.grow(connection, live, LOADER_TYPES)
        _convert(connection, live, keys)
        changes += [
            SchemaChange(str(name), column, "added column", None, kind)
            for column, kind in HISTORY_TYPES.items()
        ]
    connection.execute(
        sql.SQL("alter table {} add constraint {} primary key ({})").format(
            name.sql,
            sql.Identifier(schema.free_name(connection, name, "_pkey")),
            column_list([*keys.primary, "_valid_from"]),
        )
    )
    connection.execute(
        sql.SQL("create unique index {} on {} ({}) where _valid_to is null").format(
            sql.Identifier(schema.free_name(connection, name, "_current")),
            name.sql,
            column_list(keys.primary),
        )
    )
    return changes


def _convert(connection: psycopg.Connection, live: Table, keys: Keys) -> None:
    # A table made elsewhere does not know since when its rows have held.
    began: sql.Composable = sql.SQL("coalesce(_loaded_at, now())")
    ordering = keys.replication or ""
    if live.columns.get(ordering) in _TIMES:
        began = sql.SQL("coalesce({}, {})").format(
            _as_time(sql.Identifier(ordering), live.columns[ordering]), began
        )
    values = [name for name in live.columns if name not in LOADER_TYPES]
    (constraint,) = connection.execute(
        "select conname from pg_constraint where conrelid = %s and contype = 'p'", [live.oid]
    ).fetchone() or (None,)
    for statement in (
        "alter table {table} add column _valid_from timestamptz,"
        " add column _valid_to timestamptz, add column _row_hash text",
        "update {table} set _valid_from = {began}, _valid_to = greatest(_deleted_at, {began}),"
        " _row_hash = {hash} where _deleted_at is not null",
        "update {table} set _valid_from = {began}, _row_hash = {hash} where _deleted_at is null",
        "alter table {table} drop constraint {constraint}, alter column _row_hash set not null",
    ):
        connection.execute(
            sql.SQL(statement).format(  # type: ignore[arg-type] # one of the literals above
                table=live.name.sql,
                began=began,
                hash=_hash(values, live.name.name),
                constraint=sql.Identifier(str(constraint)),
            )
        )


def keep(
    connection: psycopg.Connection,
    landing: sql.Composable,
    target: TableName,
    keys: Keys,
    types: Mapping[str, ColumnType],
    columns: Sequence[str],
    *,
    has_deletes: bool,
    may_repeat: bool,
    only_missing: bool,
    is_whole: bool,
    load_id: str,
    is_guarded: bool = False,
) -> Kept:
    """Bring landed records into the history; records that it holds already change nothing.

    ``only_missing`` takes records without a time only for keys that the history does not have.
    ``is_whole``: the records are all that the source has, so each of them holds now. ``is_guarded``: a
    trigger or rule may keep rows out, which is a FatalError.
    """
    step = _Step(connection, landing, target, keys, types, columns, only_missing, load_id)
    if not step.is_timed and may_repeat:
        merge.keep_newest(connection, landing, keys, columns, has_deletes=has_deletes)
    versions = step.gather()
    if has_deletes:
        step.complete_deletes()
    updated = deleted = 0
    if has_deletes:
        deleted += step.count_deleted_versions()
    if step.is_timed and is_whole:
        step.begin_again()
    if step.is_timed:
        updated += step.correct()
    marked = step.mark_last() if has_deletes and not step.is_timed else 0
    inserted = step.insert(is_guarded=is_guarded)
    if has_deletes and step.is_timed:
        new, marked = step.mark_by_time()
        inserted += new
        deleted += new
    step.close_and_open()
    step.refresh_transport()
    connection.execute("drop table pg_temp.meltano_versions")
    return Kept(versions, inserted, updated + marked, deleted + marked)


def end_missing(
    connection: psycopg.Connection,
    landing: sql.Composable,
    target: TableName,
    keys: Keys,
    *,
    load_id: str,
    max_shrink: float,
) -> int:
    """End what a full read did not bring again; FatalError when that would be too much."""
    missing = sql.SQL(
        "t._valid_to is null and not exists (select from {landing} as l where {same})"
    ).format(landing=landing, same=_same(keys.primary, "t", "l"))
    row = connection.execute(
        sql.SQL(
            "select count(*), count(*) filter (where {}) from {} as t where t._valid_to is null"
        ).format(missing, target.sql)
    ).fetchone()
    held, gone = row if row else (0, 0)
    if gone > held * max_shrink:
        raise FatalError(
            f"the load lacks {gone} of the {held} records that hold now, more than"
            f" {max_shrink:.0%}; the table was left as it is",
            hint="if the source really lost them, load once with shrinking allowed",
        )
    return connection.execute(
        sql.SQL(
            "update {} as t set _valid_to = greatest(now(), _valid_from), _deleted_at = now(),"
            " _loaded_at = now(), _load_id = {} where {}"
        ).format(target.sql, sql.Literal(load_id), missing)
    ).rowcount


class _Step:
    """The statements of one merge. ``v`` is an incoming version, ``t`` a stored one."""

    def __init__(
        self,
        connection: psycopg.Connection,
        landing: sql.Composable,
        target: TableName,
        keys: Keys,
        types: Mapping[str, ColumnType],
        columns: Sequence[str],
        only_missing: bool,
        load_id: str,
    ) -> None:
        self._only_missing = only_missing
        self._target = target
        self._connection = connection
        self._keys = keys
        self._key = keys.primary
        self._replication = keys.replication if keys.replication in columns else None
        self.is_timed = self._replication is not None and types[self._replication] in _TIMES
        self._columns = list(columns)
        self._values = [name for name in columns if name not in keys.primary]
        self._compared = [name for name in self._values if not name.startswith(_ABOUT_TRANSPORT)]
        at: sql.Composable = sql.SQL("now()")
        if self.is_timed and self._replication is not None:
            kind = types[self._replication]
            at = sql.SQL("coalesce({}, _deleted_at, now())").format(
                _as_time(sql.Identifier(self._replication), kind)
            )
        self._parts: dict[str, sql.Composable] = {
            "landing": landing,
            "versions": _VERSIONS,
            "target": target.sql,
            "key": column_list(keys.primary),
            "columns": column_list(columns),
            "from_v": column_list(columns, "v"),
            "at": at,
            # No field has a column of such a name.
            **{name: sql.Identifier(f"meltano {name}") for name in _WORDS},
            "load_id": sql.Literal(load_id),
            "same": _same(keys.primary, "t", "v"),
            "hash": _hash([*keys.primary, *self._compared], "v"),
            "differs": self._differs("v", "t"),
            # A delete without a time of its own says nothing but that the key is gone.
            "is_mark": sql.SQL("(_deleted_at is not null and {} is null)").format(
                sql.Identifier(self._replication)
            )
            if self.is_timed and self._replication
            else sql.SQL("false"),
        }

    def gather(self) -> int:
        """One incoming version for each key and time, the last read of several."""
        self._run(
            "create temp table meltano_versions on commit drop as"
            " select {columns}, _deleted_at, _valid_from, {mark} from ("
            "select {columns}, _deleted_at, {at} as _valid_from, {is_mark} as {mark},"
            " row_number() over (partition by {key}, {at}, {is_mark} order by ctid desc) as {rank}"
            " from {landing}) as l where {rank} = 1"
        )
        self._run("create index on {versions} ({key}, _valid_from)")
        self._run("analyze {versions}")
        return self._count("select count(*) from {versions}")

    def complete_deletes(self) -> None:
        """A delete keeps the values that it does not carry itself."""
        if not self._values:
            return
        before = sql.SQL("t._valid_from < v._valid_from" if self.is_timed else "true")
        earlier = sql.SQL(
            "select {values}, t._valid_from from {versions} as t"
            " where {same} and t._deleted_at is null and not t.{mark} and {before} union all"
        ).format(**self._parts, values=column_list(self._values, "t"), before=before)
        self._run(
            "update {versions} as d set {kept} from ("
            "select v.ctid as {place}, p.* from {versions} as v cross join lateral ("
            "{earlier} select {values}, t._valid_from from {target} as t where {same} and {before}"
            " order by _valid_from desc limit 1) as p"
            " where v._deleted_at is not null and not v.{mark}) as p where d.ctid = p.{place}",
            kept=sql.SQL(", ").join(
                sql.SQL("{name} = coalesce(d.{name}, p.{name})").format(name=sql.Identifier(name))
                for name in self._values
            ),
            earlier=earlier if self.is_timed else sql.SQL(""),
            values=column_list(self._values, "t"),
            before=before,
        )

    def count_deleted_versions(self) -> int:
        """Versions that are deletes and not yet stored as such."""
        if self.is_timed:
            return self._count(
                "select count(*) from {versions} as v where v._deleted_at is not null"
                " and not v.{mark} and not exists (select from {target} as t where {same}"
                " and t._valid_from = v._valid_from and t._deleted_at is not null)"
            )
        return self._count(
            "select count(*) from {versions} as v {last} where v._deleted_at is not null"
            " and (p._valid_from is null or p._deleted_at is null and {is_fresh} and {differs_p})",
            **self._last(),
        )

    def begin_again(self) -> None:
        """What is there although its last version has ended holds from now on, whatever its own time.

        Only of whole reads: in others an old record may just be late.
        """
        self._run(
            "update {versions} as v set _valid_from = greatest(now(), p._valid_to + interval"
            " '1 microsecond') from (select distinct on ({key}) ctid as place from {versions}"
            " order by {key}, _valid_from desc) as newest, lateral (select t._valid_to"
            " from {versions} as v cross join lateral (select * from {target} as t where {same}"
            " order by t._valid_from desc limit 1) as t where v.ctid = newest.place"
            " and t._deleted_at is not null and v._valid_from <= t._valid_to) as p"
            " where v.ctid = newest.place and v._deleted_at is null and not v.{mark}"
        )

    def correct(self) -> int:
        """A version of the same time with other values: the last read is right."""
        return self._run(
            "update {target} as t set {assigned}, _row_hash = {hash},"
            " _deleted_at = coalesce(t._deleted_at, v._deleted_at),"
            " _loaded_at = now(), _load_id = {load_id} from {versions} as v"
            " where {same} and t._valid_from = v._valid_from and not v.{mark}"
            " and ({differs} or v._deleted_at is not null and t._deleted_at is null)",
            assigned=sql.SQL(", ").join(
                sql.SQL("{name} = v.{name}").format(name=sql.Identifier(name))
                for name in self._values
            ),
        )

    def mark_last(self) -> int:
        """Deletes that carry nothing new end the last version of their key."""
        return self._run(
            "update {target} as t set _deleted_at = v._deleted_at, _loaded_at = now(),"
            " _load_id = {load_id} from {versions} as v {last}"
            " where {same} and t._valid_from = p._valid_from and v._deleted_at is not null"
            " and p._deleted_at is null and {is_fresh} and not {differs_p}",
            **self._last(),
        )

    def insert(self, *, is_guarded: bool) -> int:
        """Versions that the table does not have; closed until ``close_and_open``."""
        into = (
            "insert into {target} as t ({columns}, _deleted_at, _valid_from, _valid_to, _row_hash,"
            " _loaded_at, _load_id) overriding system value select {from_v}, v._deleted_at, {begins}, {begins}, {hash},"
            " now(), {load_id}"
        )
        new, parts = self._new()
        wanted = self._count("select count(*)" + new, **parts) if is_guarded else None
        inserted = self._run(into + new, **parts)
        if wanted not in (None, inserted):
            raise kept_out(self._target, inserted)
        return inserted

    def _new(self) -> tuple[str, dict[str, sql.Composable]]:
        """Which incoming versions ``v`` are new, as the end of a statement, and its parts."""
        statement = " from {versions} as v"
        if self.is_timed:
            return (
                statement + " where not v.{mark} and not exists (select from {target} as t"
                " where {same} and t._valid_from = v._valid_from)"
                # One without a time is a version only if it differs from the last.
                " and (v.{ordering} is not null or v._deleted_at is not null or not exists ("
                "select from (select * from {target} as t where {same}"
                " order by t._valid_from desc limit 1) as p"
                " where p._deleted_at is null and not {differs_p}))",
                {
                    "begins": sql.SQL("v._valid_from"),
                    "ordering": sql.Identifier(self._replication or ""),
                    "differs_p": self._differs("v", "p"),
                },
            )
        begins = sql.SQL("greatest(now(), p._valid_from + interval '1 microsecond')")
        return (
            statement + " {last} where p._valid_from is null or {is_fresh} and ({differs_p} or"
            " v._deleted_at is null and p._deleted_at is not null)",
            {"begins": begins, **self._last()},
        )

    def mark_by_time(self) -> tuple[int, int]:
        """Deletes that only say when: of an unknown key, and of the version that held then."""
        new = self._run(
            "insert into {target} as t ({columns}, _deleted_at, _valid_from, _valid_to, _row_hash,"
            " _loaded_at, _load_id) overriding system value select {from_v}, v._deleted_at, v._valid_from, v._valid_from,"
            " {hash}, now(), {load_id} from {versions} as v"
            " where v.{mark} and not exists (select from {target} as t where {same})"
        )
        marked = self._run(
            "update {target} as t set _deleted_at = v._deleted_at, _loaded_at = now(),"
            " _load_id = {load_id} from {versions} as v"
            " where v.{mark} and {same} and t._deleted_at is null and t._valid_from = ("
            "select max(t._valid_from) from {target} as t"
            " where {same} and t._valid_from <= v._deleted_at)"
        )
        return new, marked

    def close_and_open(self) -> None:
        """Let every version of the keys at hand hold until the next one, or its deletion."""
        # Two statements, since only one version of a key may be open at any time.
        for is_closed in ("is not null", "is null"):
            self._run(
                "update {target} as t set _valid_to = v.{until}, _loaded_at = now(),"
                " _load_id = {load_id} from (select {key}, _valid_from, case"
                " when _deleted_at is not null or {next} is not null"
                " then greatest(_valid_from, least(_deleted_at, {next})) end as {until} from ("
                "select {key}, _valid_from, _deleted_at,"
                " lead(_valid_from) over (partition by {key} order by _valid_from) as {next}"
                " from {target} where ({key}) in (select {key} from {versions})) as t) as v"
                " where {same} and t._valid_from = v._valid_from and v.{until} {is_closed}"
                " and t._valid_to is distinct from v.{until}",
                is_closed=sql.SQL(is_closed),
            )

    def refresh_transport(self) -> None:
        """What is known of the last transport of an unchanged record."""
        silent = [name for name in self._values if name.startswith(_ABOUT_TRANSPORT)]
        if silent:
            self._run(
                "update {target} as t set {assigned} from {versions} as v where {same}"
                " and t._valid_to is null and v._deleted_at is null and {differ}",
                assigned=sql.SQL(", ").join(
                    sql.SQL("{name} = v.{name}").format(name=sql.Identifier(name))
                    for name in silent
                ),
                differ=self._differ(silent, "t", "v"),
            )

    def _last(self) -> dict[str, sql.Composable]:
        """The last stored version ``p`` of each incoming key, and how the incoming one compares."""
        is_fresh: sql.Composable = sql.SQL("false" if self._only_missing else "true")
        if self._replication is not None:
            is_fresh = sql.SQL(
                "({new} >= {old} or {old} is null or {new} is null and v._deleted_at is not null)"
            ).format(
                new=sql.Identifier("v", self._replication),
                old=sql.Identifier("p", self._replication),
            )
        return {
            "last": sql.SQL(
                "left join lateral (select * from {target} as t where {same}"
                " order by t._valid_from desc limit 1) as p on true"
            ).format(**self._parts),
            "is_fresh": is_fresh,
            "differs_p": self._differs("v", "p"),
        }

    def _differs(self, one: str, other: str) -> sql.Composable:
        return self._differ(self._compared, one, other)

    def _differ(self, columns: Sequence[str], one: str, other: str) -> sql.Composable:
        if not columns:
            return sql.SQL("false")
        sides = (
            sql.SQL(", ").join(
                self._keys.compared(column, sql.Identifier(relation, column)) for column in columns
            )
            for relation in (one, other)
        )
        return sql.SQL("(({}) is distinct from ({}))").format(*sides)

    def _run(self, statement: str, **parts: sql.Composable) -> int:
        composed = sql.SQL(statement).format(**self._parts, **parts)  # type: ignore[arg-type] # literals
        return self._connection.execute(composed).rowcount

    def _count(self, statement: str, **parts: sql.Composable) -> int:
        composed = sql.SQL(statement).format(**self._parts, **parts)  # type: ignore[arg-type] # literals
        row = self._connection.execute(composed).fetchone()
        return int(row[0]) if row else 0


def _as_time(name: sql.Composable, kind: str) -> sql.Composable:
    return sql.SQL("(" + _TIMES[kind] + ")").format(name)  # type: ignore[arg-type] # literals


def _same(key: Sequence[str], one: str, other: str) -> sql.Composed:
    return sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one, column), sql.Identifier(other, column))
        for column in key
    )


def _hash(columns: Sequence[str], relation: str) -> sql.Composable:
    """A digest of the columns that hold something: a column more, all null, is no other row."""
    texts = sql.SQL(" || ").join(
        sql.SQL("coalesce({} || quote_literal({}::text), '')").format(
            sql.Literal(f"{name}="), sql.Identifier(relation, name)
        )
        for name in sorted(columns)
    )
    return sql.SQL("left(encode(sha256(convert_to({}, 'UTF8')), 'hex'), 32)").format(texts)
