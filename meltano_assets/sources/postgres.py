"""Any Postgres database as a source: tables read by COPY, changed rows by their replication key.

Paging: none, one COPY inside one snapshot, ordered by replication and primary key. Deletes: not
seen; a table whose rows are deleted is better read with the disposition ``replace``. A source is
made of this by naming its variables and streams, as ``version.py`` does. A stream's table is
``<options schema or public>.<options table or the stream's name>``.

An infinite time, which neither Arrow nor most readers of the warehouse can hold, becomes null; the
log says how many there were.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.database import Database, Snapshot
from meltano_assets.clients.policy import Transport
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.sources.base import (
    Connect,
    naming_stream,
    plan_window,
    required,
    undeclared_fields,
    where_to_set,
    with_bookmarks,
)
from meltano_assets.sources.records import batch_from_text, read_csv
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

if TYPE_CHECKING:
    from psycopg import sql

_TIMES = frozenset({"date", "timestamp", "timestamptz"})
_INFINITE = ("infinity", "-infinity")

_log = logging.getLogger(__name__)


class PostgresReader:
    """Reads tables of one database; every read sees one snapshot of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._snapshots: list[Snapshot] = []
        self.undeclared: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> int:
        """Queries sent so far."""
        return sum(snapshot.queries for snapshot in self._snapshots)

    def count(self, stream: Stream) -> int | None:
        """How many rows the table has now."""
        with self._open() as snapshot:
            return snapshot.count(*_table(stream))

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """Rows whose replication key lies in the window, in its order."""
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        with self._open() as snapshot:
            there = snapshot.columns(*_table(stream))
            columns = _columns(stream, there)
            self.undeclared[stream.name] = undeclared_fields(stream, there)
            names = [column.vendor_field for column in columns]
            chunks = snapshot.copy_csv(_query(stream, columns, window, options.limit))
            texts = (_finite(stream, columns, read_csv(chunk, names=names)) for chunk in chunks)
            batches = (batch_from_text(columns, text) for text in texts)
            yield from with_bookmarks(stream, batches, window, bookmark, options)

    @contextmanager
    def _open(self) -> Iterator[Snapshot]:
        with self._database.snapshot() as snapshot:
            self._snapshots.append(snapshot)
            yield snapshot


def _table(stream: Stream) -> tuple[str, str]:
    return str(stream.options.get("schema", "public")), str(
        stream.options.get("table", stream.name)
    )


def _columns(stream: Stream, there: Mapping[str, str]) -> list[Column]:
    """The declared columns that the table has."""
    table = ".".join(_table(stream))
    if not there:
        raise FatalError(
            f"there is no table {table}",
            source=stream.source,
            stream=stream.name,
            hint="does the user have the right to see it?",
        )
    present = [column for column in stream.columns if column.vendor_field in there]
    keys = {*stream.primary_key, *filter(None, [stream.replication_key])}
    if lost := keys - {column.name for column in present}:
        raise FatalError(
            f"{table} has no {', '.join(sorted(lost))}", source=stream.source, stream=stream.name
        )
    return present


def _finite(
    stream: Stream, columns: list[Column], texts: dict[str, pa.Array]
) -> dict[str, pa.Array]:
    """The texts without infinite times."""
    for column in columns:
        if column.type not in _TIMES:
            continue
        array = texts[column.vendor_field]
        infinite = pc.is_in(array, value_set=pa.array(_INFINITE))
        if count := pc.sum(infinite).as_py():
            texts[column.vendor_field] = pc.if_else(infinite, None, array)
            _log.warning("%s: %d infinite %s became null", stream.key, count, column.name)
    return texts


def _query(
    stream: Stream, columns: list[Column], window: Window, limit: int | None
) -> sql.Composable:
    from psycopg import sql

    def name(column: Column) -> sql.Composable:
        identifier = sql.Identifier(column.vendor_field)
        # COPY writes booleans as t and f, their text is true and false.
        return sql.SQL("{}::text").format(identifier) if column.type == "boolean" else identifier

    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(name(column) for column in columns), sql.Identifier(*_table(stream))
    )
    if stream.replication_key is not None:
        key = sql.Identifier(stream.column(stream.replication_key).vendor_field)
        # A comparison without a zone fits both kinds of time columns; sessions run in UTC.
        bounds = [sql.SQL("{} < {}").format(key, sql.Literal(_text(window.end)))]
        if window.start is not None:
            bounds.append(sql.SQL("{} >= {}").format(key, sql.Literal(_text(window.start))))
        order = [key, *(sql.Identifier(stream.column(k).vendor_field) for k in stream.primary_key)]
        query += sql.SQL(" where {} order by {}").format(
            sql.SQL(" and ").join(bounds), sql.SQL(", ").join(order)
        )
    if limit is not None:
        query += sql.SQL(" limit {}").format(sql.Literal(limit))
    return query


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


def connector(source: str, variables: tuple[Variable, ...]) -> Connect:
    """``Source.connect`` for a database whose address is the setting ``url``."""

    @contextmanager
    def connect(
        settings: Mapping[str, str], *, transport: Transport | None = None
    ) -> Iterator[PostgresReader]:
        required(settings, source, variables)
        database = Database(settings["url"], source=source, hint=where_to_set(variables))
        yield PostgresReader(database)

    return connect
