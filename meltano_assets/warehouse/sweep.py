"""Passes over a stream's keys, which find the rows that the vendor no longer has.

Belongs here: what was seen of a pass, and what follows for the table. Does not belong here: reading
keys (``sources/``), when and how much (``sweeping.py``).

The keys of a page and the position behind it are stored by one transaction, so a pass that is killed
goes on with the page that was not stored. What a pass may take for deleted:

- only rows that were in the table when it began, unchanged since. Loads of a stream follow each other,
  so those are the rows whose ``_loaded_at`` is not later than the newest one of that moment; whatever
  was created or changed during the pass is loaded later and not judged;
- only when it is complete, and not more than a share of the live rows: a permission that was taken
  away looks like a mass delete;
- only what two complete passes in a row have missed, unless the pages follow the order of the keys: a
  record may slip from an unread page to one that is read already when another is deleted meanwhile.

A row that was taken for deleted (its ``_load_id`` says so) and is seen again is live again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
import pyarrow as pa
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import Stream
from meltano_assets.warehouse import books, own_types, schema, state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.copy import BinaryCopy
from meltano_assets.warehouse.records import Fitter
from meltano_assets.warehouse.schema import TableName

_APPLICATION = "meltano-assets sweep"
_LOAD_ID = "sweep-"
_KEPT_CALLS = timedelta(days=2)
_COLUMNS = (
    "id, state, position, is_exact, stumbles, pages, keys, vanished, marked, revived, began_at,"
    " ended_at"
)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the keys of a stream, so far or at its end.

    ``vanished`` are the rows that it missed; ``marked`` those of them that are now deleted.
    """

    id: int
    state: str
    position: str | None
    is_exact: bool
    stumbles: int
    pages: int
    keys: int
    vanished: int | None
    marked: int | None
    revived: int | None
    began_at: datetime
    ended_at: datetime | None

    @property
    def is_open(self) -> bool:
        """True while keys are still to be read."""
        return self.state == "open"

    @property
    def awaits_proof(self) -> bool:
        """True when rows are missing that only another pass can tell to be deleted."""
        return self.state == "complete" and (self.vanished or 0) > (self.marked or 0)


def last_pass(warehouse: Warehouse, stream: Stream) -> Pass | None:
    """The newest pass that was not abandoned; None before the first."""
    with warehouse.connect(application_name=_APPLICATION) as connection:
        books.ensure(connection)
        return _last(connection, stream)


def loaded_since(warehouse: Warehouse, stream: Stream) -> datetime | None:
    """When the stream was loaded first, as far as the load log reaches."""
    with warehouse.connect(application_name=_APPLICATION) as connection:
        books.ensure(connection)
        row = connection.execute(
            "select min(finished_at) from meltano.load_log where source = %s and stream = %s"
            " and status = 'committed'",
            [stream.source, stream.name],
        ).fetchone()
    return row[0] if row else None


def calls_of_last_day(warehouse: Warehouse, source: str) -> int:
    """Calls that all passes of a source have cost in the last 24 hours."""
    with warehouse.connect(application_name=_APPLICATION) as connection:
        books.ensure(connection)
        row = connection.execute(
            "select coalesce(sum(calls), 0) from meltano.sweep_calls"
            " where source = %s and noted_at > clock_timestamp() - interval '1 day'",
            [source],
        ).fetchone()
    return int(row[0]) if row else 0


class Sweeper:
    """The passes of one stream, for the one process that works on them."""

    def __init__(self, connection: psycopg.Connection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream
        self._table = TableName(stream.source, stream.name)
        live = schema.find(connection, self._table, stream.primary_key)
        connection.commit()
        if live is None:
            raise FatalError("was never loaded", hint="extract it first")
        self._types = {name: live.columns[name] for name in stream.primary_key}
        self._own = {name: live.own[name] for name in stream.primary_key if name in live.own}

    def current(self, *, resumable: bool = True) -> Pass:
        """The open pass where one can go on with it, else a new one."""
        found = _last(self._connection, self._stream)
        if found is not None and found.is_open:
            if resumable and found.position is not None and self._fits(found):
                return found
            self.abandon(found)
        row = self._connection.execute(
            sql.SQL(
                "insert into meltano.sweeps (source, stream, key_columns, known_until)"
                " select %s, %s, %s, (select max(_loaded_at) from {}) returning id"
            ).format(self._table.sql),
            [self._stream.source, self._stream.name, list(self._stream.primary_key)],
        ).fetchone()
        assert row is not None
        self._connection.execute(
            sql.SQL("create table {} ({})").format(
                _keys_of(int(row[0])), schema.definitions(self._types)
            )
        )
        self._connection.commit()
        found = _last(self._connection, self._stream)
        assert found is not None
        return found

    def store(
        self,
        one: Pass,
        records: pa.RecordBatch,
        position: str | None,
        calls: int,
        *,
        is_exact: bool,
    ) -> Pass:
        """Remember the keys of a page and the position behind it, both or neither.

        Without a position the one before holds; keys that come twice do no harm.
        """
        names = list(self._types)
        fitter = Fitter(
            Stream(
                self._stream.source,
                self._stream.name,
                tuple(self._stream.column(name) for name in names),
                primary_key=self._stream.primary_key,
            ),
            self._types,
            {name: name for name in names},
        )
        connection = self._connection
        if records.num_rows:
            fitted = fitter.fit(records.select(names))
            if fitted.rejected or any(fitter.types[name] != self._types[name] for name in names):
                raise FatalError(
                    "keys came that are not of the table's types, so nothing can be compared",
                    hint="load the stream with --full-refresh",
                )
            with BinaryCopy(connection, _keys_of(one.id), list(self._types.items())) as copy:
                copy.write(fitted.rows.select(names))
        connection.execute(
            "update meltano.sweeps set position = coalesce(%s, position), is_exact = is_exact and %s, stumbles = 0,"
            " pages = pages + 1, keys = keys + %s where id = %s",
            [position, is_exact, records.num_rows, one.id],
        )
        connection.execute(
            "insert into meltano.sweep_calls (source, stream, calls) values (%s, %s, %s)",
            [self._stream.source, self._stream.name, calls],
        )
        connection.commit()
        return self._again(one)

    def stumble(self, one: Pass) -> Pass:
        """Note that the vendor would not go on at the pass's position."""
        self._connection.execute(
            "update meltano.sweeps set stumbles = stumbles + 1 where id = %s", [one.id]
        )
        self._connection.commit()
        return self._again(one)

    def abandon(self, one: Pass) -> None:
        """Give the pass up; nothing follows from it."""
        self._end(one, "abandoned")
        self._connection.commit()

    def conclude(self, one: Pass, *, max_vanished: float) -> Pass:
        """What a pass that has read every key says about the table, done by one transaction."""
        connection = self._connection
        state.lock_stream(connection, self._stream.source, self._stream.name, wait_seconds=600)
        # A key that is none of the table's type is no row's.
        own_types.cast_landed(
            connection, _keys_of(one.id), self._own, list(self._types), lambda _: None
        )
        gone = sql.Identifier("pg_temp", "meltano_gone")
        connection.execute(
            sql.SQL(
                "create temp table meltano_gone on commit drop as"
                " select {keys} from {table} as t where t._deleted_at is null and t._loaded_at <="
                " (select known_until from meltano.sweeps where id = {id})"
                " and not exists (select from {seen} as s where {same})"
            ).format(
                keys=schema.column_list(self._types, "t"),
                table=self._table.sql,
                id=sql.Literal(one.id),
                seen=_keys_of(one.id),
                same=schema.same_key(self._stream.primary_key, "s", "t"),
            )
        )
        vanished = self._count(sql.SQL("select count(*) from {}").format(gone))
        live = self._count(
            sql.SQL("select count(*) from {} where _deleted_at is null").format(self._table.sql)
        )
        if vanished > live * max_vanished:
            self._end(one, "refused", vanished=vanished)
            connection.commit()
            return self._again(one)
        revived = self._set_deleted(
            one,
            sql.SQL("null"),
            sql.SQL("t._deleted_at is not null and t._load_id like {} and exists ({})").format(
                sql.Literal(f"{_LOAD_ID}%"), self._found_in(_keys_of(one.id))
            ),
        )
        proof = gone if one.is_exact else self._missed_before(one)
        marked = 0
        if vanished and proof is not None:
            marked = self._set_deleted(
                one,
                sql.SQL("now()"),
                sql.SQL("t._deleted_at is null and exists ({}) and exists ({})").format(
                    self._found_in(gone), self._found_in(proof)
                ),
            )
        self._forget_missed()
        if vanished > marked:
            connection.execute(
                sql.SQL("create table {} as select * from {}").format(_missed_by(one.id), gone)
            )
        self._end(one, "complete", vanished=vanished, marked=marked, revived=revived)
        connection.execute(
            "delete from meltano.sweep_calls where noted_at < clock_timestamp() - %s", [_KEPT_CALLS]
        )
        connection.commit()
        return self._again(one)

    def _set_deleted(self, one: Pass, value: sql.SQL, condition: sql.Composable) -> int:
        return self._connection.execute(
            sql.SQL(
                "update {table} as t set _deleted_at = {value}, _loaded_at = now(),"
                " _load_id = {load_id} where {condition}"
            ).format(
                table=self._table.sql,
                value=value,
                load_id=sql.Literal(f"{_LOAD_ID}{one.id}"),
                condition=condition,
            )
        ).rowcount

    def _found_in(self, table: sql.Composable) -> sql.Composed:
        return sql.SQL("select from {} as s where {}").format(
            table, schema.same_key(self._stream.primary_key, "s", "t")
        )

    def _missed_before(self, one: Pass) -> sql.Identifier | None:
        """What the complete pass before this one has missed."""
        row = self._connection.execute(
            "select id from meltano.sweeps where source = %s and stream = %s and id < %s"
            " and state = 'complete' order by id desc limit 1",
            [self._stream.source, self._stream.name, one.id],
        ).fetchone()
        if row is None:
            return None
        name = _missed_by(int(row[0]))
        there = self._connection.execute(
            "select to_regclass(%s) is not null", [name.as_string(self._connection)]
        ).fetchone()
        return name if there and there[0] else None

    def _forget_missed(self) -> None:
        for (number,) in self._connection.execute(
            "select id from meltano.sweeps where source = %s and stream = %s",
            [self._stream.source, self._stream.name],
        ).fetchall():
            self._connection.execute(sql.SQL("drop table if exists {}").format(_missed_by(number)))

    def _end(self, one: Pass, how: str, **counts: int) -> None:
        names = ("vanished", "marked", "revived")
        self._connection.execute(
            "update meltano.sweeps set state = %s, vanished = %s, marked = %s, revived = %s,"
            " ended_at = clock_timestamp() where id = %s",
            [how, *(counts.get(name) for name in names), one.id],
        )
        self._connection.execute(sql.SQL("drop table if exists {}").format(_keys_of(one.id)))

    def _fits(self, one: Pass) -> bool:
        """False when the stream has other keys by now, or what was seen is gone."""
        row = self._connection.execute(
            "select key_columns = %s and to_regclass(%s) is not null from meltano.sweeps"
            " where id = %s",
            [
                list(self._stream.primary_key),
                _keys_of(one.id).as_string(self._connection),
                one.id,
            ],
        ).fetchone()
        return bool(row and row[0])

    def _again(self, one: Pass) -> Pass:
        row = self._connection.execute(
            f"select {_COLUMNS} from meltano.sweeps where id = %s", [one.id]
        ).fetchone()
        self._connection.commit()
        assert row is not None
        return Pass(*row)

    def _count(self, query: sql.Composed) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0


@contextlib.contextmanager
def sweeper(warehouse: Warehouse, stream: Stream) -> Iterator[Sweeper | None]:
    """The stream's passes, for this process alone; None while another one works on them."""
    with warehouse.connect(application_name=f"{_APPLICATION} {stream.key}") as connection:
        books.ensure(connection)
        key = books.advisory_key(f"sweep {stream.key}")
        row = connection.execute("select pg_try_advisory_lock(%s)", [key]).fetchone()
        connection.commit()
        yield Sweeper(connection, stream) if row and row[0] else None


def _last(connection: psycopg.Connection, stream: Stream) -> Pass | None:
    row = connection.execute(
        f"select {_COLUMNS} from meltano.sweeps where source = %s and stream = %s"
        " and state <> 'abandoned' order by id desc limit 1",
        [stream.source, stream.name],
    ).fetchone()
    return None if row is None else Pass(*row)


def _keys_of(number: int) -> sql.Identifier:
    return sql.Identifier(books.SCHEMA, f"sweep_keys_{number}")


def _missed_by(number: int) -> sql.Identifier:
    return sql.Identifier(books.SCHEMA, f"sweep_missed_{number}")
