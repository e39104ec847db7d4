"""Any Postgres database as a source: tables read by COPY, changed rows by their replication key.

Paging: a table with an index on its replication key is read in key order, page by page, each page
in a snapshot of its own, so that a read that breaks off goes on where it was and holds nothing back
at the source. Any other table is read by one COPY in one snapshot, or (``parallel``) by several
connections that share one, each with ranges of the key or of the table's blocks.

Late commits: a row may become visible long after the time in its key. A read waits a moment for the
transactions that run when it begins; what they still hold back is read again next time
(``settled.py``). The lookback only has to cover clocks that differ. Rows without a replication key
come with every full read.

Deletes: a sweep reads the primary key in its order and finds the rows that are gone; a small table may
be read with the disposition ``replace``.

A stream's table is ``<options schema or public>.<options table or the stream's name>``. A stream that
declares no columns has those of its table, without the ones in ``exclude``. A source is made of this by
naming its variables and streams, as ``version.py`` does, or by an entry in ``databases.yml``.

An infinite time, which neither Arrow nor most readers of the warehouse can hold, becomes null; the
load log says how many there were.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.database import Database, Snapshot, TableFacts
from meltano_assets.clients.policy import Clock, Transport
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.sources.base import (
    Connect,
    KeyPage,
    naming_stream,
    no_records,
    plan_window,
    required,
    undeclared_fields,
    where_to_set,
    with_bookmarks,
)
from meltano_assets.sources.records import batch_from_text, read_csv
from meltano_assets.sources.settled import Settled
from meltano_assets.streams import (
    LOADER_COLUMNS,
    Batch,
    Bookmark,
    Column,
    ColumnType,
    ReadOptions,
    Stream,
    Window,
)

if TYPE_CHECKING:
    from psycopg import sql

#: Rows of a page, where the option ``page_rows`` says nothing else.
PAGE_ROWS = 200_000
#: How long a read waits for the transactions that run when it begins.
PATIENCE_SECONDS = 5.0
#: Tables beyond this size are not sorted for the sake of order alone.
_SORTED_BYTES = 1 << 30
#: Pieces for each connection, so that one with many rows does not keep the others waiting.
_PIECES = 4

_TIMES = frozenset({"date", "timestamp", "timestamptz"})
_INFINITE = ("infinity", "-infinity")
_TYPES: Mapping[str, ColumnType] = {
    "smallint": "integer",
    "integer": "integer",
    "bigint": "bigint",
    "oid": "bigint",
    "numeric": "numeric",
    "money": "numeric",
    "real": "double precision",
    "double precision": "double precision",
    "boolean": "boolean",
    "date": "date",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "json": "jsonb",
    "jsonb": "jsonb",
    "uuid": "uuid",
    "inet": "inet",
    "bytea": "bytea",
}
#: Categories of types whose values have parts: arrays, composites, ranges.
_WITH_PARTS = frozenset("ACR")
_INTEGERS = frozenset({"smallint", "integer", "bigint"})

Texts = dict[str, pa.Array]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is read of one table: columns with the expressions that give their text, and bounds."""

    stream: Stream
    facts: TableFacts
    columns: Sequence[Column]
    window: Window

    @property
    def key(self) -> str | None:
        """The replication key's column at the source."""
        name = self.stream.replication_key
        return self.stream.column(name).vendor_field if name else None

    @property
    def order(self) -> list[str]:
        """The columns that put rows in order: replication key, then primary key."""
        primary = [self.stream.column(name).vendor_field for name in self.stream.primary_key]
        return [self.key, *(name for name in primary if name != self.key)] if self.key else []

    @property
    def is_paged(self) -> bool:
        """True when pages by key are cheap, and no tie can fall between two of them."""
        return self.key in self.facts.indexed and bool(self.stream.primary_key)


class PostgresReader:
    """Reads tables of one database."""

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or Clock()
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

    def resolve(self, stream: Stream) -> Stream:
        """The stream with its table's columns and primary key, where it declares none."""
        if stream.columns:
            return stream
        with self._open() as snapshot:
            return resolved(stream, _described(snapshot, stream))

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """Rows whose replication key lies in the window, in its order where that is cheap."""
        old = None if options.full_refresh or bookmark is None else bookmark.cursor
        with self._open() as snapshot:
            facts = _described(snapshot, stream)
            stream = stream if stream.columns else resolved(stream, facts)
            settled, end = self._settle(snapshot, Settled.parse(old))
            window = plan_window(stream, bookmark, options, now=min(now, end))
            if options.start is None and window.start is not None and old:
                past = Settled.parse(old).at
                window = Window(min(window.start, past or window.start), window.end)
            if window.is_empty:
                return
            plan = _Plan(stream, facts, _columns(stream, facts), window)
            self.undeclared[stream.name] = undeclared_fields(stream, facts.types) - set(
                _names(stream, "exclude")
            )
            is_sorted, texts = self._texts(snapshot, plan, options)
            cleaned: Counter[str] = Counter()
            batches = (
                batch_from_text(plan.columns, _finite(plan, text, cleaned)) for text in texts
            )
            read = with_bookmarks(stream, batches, window, bookmark, options, is_sorted=is_sorted)
            for plain in read:
                batch = replace(plain, cleaned=dict(cleaned))
                cleaned.clear()
                if batch.bookmark is None or stream.replication_key is None:
                    yield batch
                else:
                    # A window of a person's own says nothing of what lies outside.
                    is_own = options.start is not None or options.end is not None
                    known = old if is_own else str(settled) or None
                    mark = replace(batch.bookmark, cursor=known)
                    yield replace(batch, bookmark=mark)

    def read_keys(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage] | None:
        """Keys in their order, page by page; None where no index gives that order."""
        with self._open() as snapshot:
            facts = _described(snapshot, stream)
        stream = stream if stream.columns else resolved(stream, facts)
        keys = [stream.column(name) for name in stream.primary_key]
        if not keys or keys[0].vendor_field not in facts.indexed:
            return None
        plan = _Plan(replace(stream, replication_key=None), facts, keys, Window(None, now))
        return self._key_pages(plan, position)

    def _key_pages(self, plan: _Plan, position: str | None) -> Iterator[KeyPage]:
        most = int(str(plan.stream.options.get("page_rows", PAGE_ROWS)))
        names = [column.vendor_field for column in plan.columns]
        last: list[str] | None = None if position is None else json.loads(position)
        with self._open() as snapshot:
            while True:
                bounds = [] if last is None else [_behind(names, last)]
                rows = 0
                batches = []
                for texts in _parsed(snapshot, plan, _select(plan, bounds, by=names, limit=most)):
                    rows += len(texts[names[0]])
                    last = [texts[name][-1].as_py() for name in names]
                    batches.append(batch_from_text(plan.columns, _finite(plan, texts, Counter())))
                snapshot.release()
                for batch in batches[:-1]:
                    yield KeyPage(batch, is_exact=True)
                yield KeyPage(
                    batches[-1] if batches else no_records(plan.columns),
                    json.dumps(last),
                    is_last=rows < most,
                    is_exact=True,
                )
                if rows < most:
                    return

    def _settle(self, snapshot: Snapshot, old: Settled) -> tuple[Settled, datetime]:
        """Wait for what runs now, for a moment; what is settled then, and the end to read to."""
        first = seen = snapshot.transactions()
        snapshot.release()
        pause, deadline = 0.02, self._clock.monotonic() + PATIENCE_SECONDS
        while seen.oldest < first.next and self._clock.monotonic() < deadline:
            self._clock.sleep(pause)
            pause = min(pause * 2, 0.5)
            seen = snapshot.transactions()
            snapshot.release()
        return old.after(first.at, first.next, seen.oldest), first.at

    def _texts(
        self, snapshot: Snapshot, plan: _Plan, options: ReadOptions
    ) -> tuple[bool, Iterator[Texts]]:
        """Whether the rows come in order, and the rows as columns of text."""
        connections = int(str(plan.stream.options.get("parallel", 1)))
        is_whole = plan.window.start is None and options.limit is None
        if connections > 1 and is_whole:
            return False, self._side_by_side(plan, connections)
        if plan.is_paged:
            return True, _pages(snapshot, plan, options.limit)
        is_sorted = plan.key is not None and (
            plan.facts.bytes < _SORTED_BYTES or options.limit is not None
        )
        by = plan.order if is_sorted else ()
        query = _select(plan, _bounds(plan), by=by, limit=options.limit)
        return is_sorted, _parsed(snapshot, plan, query)

    def _side_by_side(self, plan: _Plan, connections: int) -> Iterator[Texts]:
        """The rows by several connections that see the same; in no order."""
        with self._open() as leader:
            shared = leader.export()
            pieces: queue.SimpleQueue[sql.Composable] = queue.SimpleQueue()
            for piece in _pieces(leader, plan, connections * _PIECES):
                pieces.put(_select(plan, [*_bounds(plan), piece]))
            ready: queue.Queue[Texts | None] = queue.Queue(connections)
            stopped = threading.Event()

            def hand_on(item: Texts | None) -> None:
                while not stopped.is_set():
                    try:
                        ready.put(item, timeout=0.2)
                    except queue.Full:
                        continue
                    return

            def work() -> None:
                try:
                    with self._open(shared) as snapshot:
                        while not stopped.is_set() and not pieces.empty():
                            try:
                                query = pieces.get_nowait()
                            except queue.Empty:
                                return
                            for texts in _parsed(snapshot, plan, query):
                                hand_on(texts)
                                if stopped.is_set():
                                    return
                finally:
                    hand_on(None)

            with ThreadPoolExecutor(connections, "read") as pool:
                workers = [pool.submit(work) for _ in range(connections)]
                try:
                    ended = 0
                    while ended < connections:
                        item = ready.get()
                        if item is not None:
                            yield item
                            continue
                        ended += 1
                        for worker in workers:
                            if worker.done():
                                worker.result()
                finally:
                    stopped.set()
                for worker in workers:
                    worker.result()

    @contextmanager
    def _open(self, shared: str | None = None) -> Iterator[Snapshot]:
        with self._database.snapshot(shared) as snapshot:
            self._snapshots.append(snapshot)
            yield snapshot


def resolved(stream: Stream, facts: TableFacts) -> Stream:
    """The stream with the columns and the primary key of its table."""
    chosen, left_out = _names(stream, "select"), _names(stream, "exclude")
    if unknown := {*chosen, *left_out} - set(facts.types):
        raise FatalError(
            f"{'.'.join(_table(stream))} has no column {', '.join(sorted(unknown))}",
            source=stream.source,
            stream=stream.name,
            hint="correct select and exclude of the table",
        )
    keys = stream.primary_key or facts.primary_key
    needed = {*keys, *filter(None, [stream.replication_key])}
    names = [
        name
        for name in facts.types
        if name in needed or ((not chosen or name in chosen) and name not in left_out)
    ]
    if lost := needed - set(names):
        raise _without(stream, lost)
    columns = tuple(
        Column(
            f"source{name}" if name in LOADER_COLUMNS else name,
            _column_type(facts, name),
            facts.comments[name],
            field=name if name in LOADER_COLUMNS else None,
        )
        for name in names
    )
    is_incremental = stream.replication_key is not None and bool(keys)
    disposition = stream.disposition
    if "disposition" not in stream.options:
        disposition = "upsert" if is_incremental else "replace"
    return replace(
        stream,
        columns=columns,
        primary_key=keys,
        disposition=disposition,
        description=stream.description or facts.comment,
    )


def _column_type(facts: TableFacts, name: str) -> ColumnType:
    kind = facts.types[name]
    if facts.kinds[name] in _WITH_PARTS:
        return "jsonb"
    # numeric(10,2) and timestamp(3) with time zone are their types without the bounds.
    plain = " ".join(kind.replace("(", " (").split())
    if "(" in plain:
        before, _, rest = plain.partition(" (")
        plain = f"{before} {rest.partition(')')[2].strip()}".strip()
    return _TYPES.get(plain, "text")


def _names(stream: Stream, option: str) -> tuple[str, ...]:
    names = stream.options.get(option, ())
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def _table(stream: Stream) -> tuple[str, str]:
    return str(stream.options.get("schema", "public")), str(
        stream.options.get("table", stream.name)
    )


def _described(snapshot: Snapshot, stream: Stream) -> TableFacts:
    facts = snapshot.describe(*_table(stream))
    if facts is None:
        raise FatalError(
            f"there is no table {'.'.join(_table(stream))}",
            source=stream.source,
            stream=stream.name,
            hint="does the user have the right to see it?",
        )
    return facts


def _columns(stream: Stream, facts: TableFacts) -> list[Column]:
    """The stream's columns that the table has."""
    present = [column for column in stream.columns if column.vendor_field in facts.types]
    keys = {*stream.primary_key, *filter(None, [stream.replication_key])}
    if lost := keys - {column.name for column in present}:
        raise _without(stream, lost)
    return present


def _without(stream: Stream, lost: Iterable[str]) -> FatalError:
    return FatalError(
        f"{'.'.join(_table(stream))} has no {', '.join(sorted(lost))}",
        source=stream.source,
        stream=stream.name,
    )


def _finite(plan: _Plan, texts: Texts, cleaned: Counter[str]) -> Texts:
    """The texts without infinite times, bytes as they are."""
    for column in plan.columns:
        if column.type == "bytea":
            values: list[str | None] = texts[column.vendor_field].to_pylist()
            raw = [None if value is None else bytes.fromhex(value[2:]) for value in values]
            texts[column.vendor_field] = pa.array(raw, pa.binary())
        if column.type not in _TIMES:
            continue
        array = texts[column.vendor_field]
        infinite = pc.is_in(array, value_set=pa.array(_INFINITE))
        if count := pc.sum(infinite).as_py():
            texts[column.vendor_field] = pc.if_else(infinite, None, array)
            cleaned["infinite_time_as_null"] += count
    return texts


def _parsed(snapshot: Snapshot, plan: _Plan, query: sql.Composable) -> Iterator[Texts]:
    names = [column.vendor_field for column in plan.columns]
    for chunk in snapshot.copy_csv(query):
        yield read_csv(chunk, names=names)


def _pages(snapshot: Snapshot, plan: _Plan, limit: int | None) -> Iterator[Texts]:
    """The rows in key order, each page in a snapshot of its own."""
    from psycopg import sql

    most = int(str(plan.stream.options.get("page_rows", PAGE_ROWS)))
    left = limit
    last: list[str] | None = None
    while left is None or left > 0:
        size = most if left is None else min(most, left)
        bounds = _bounds(plan, with_nulls=False)
        if last is not None:
            bounds.append(_behind(plan.order, last))
        rows = 0
        for texts in _parsed(snapshot, plan, _select(plan, bounds, by=plan.order, limit=size)):
            rows += len(texts[plan.order[0]])
            last = [texts[name][-1].as_py() for name in plan.order]
            yield texts
        snapshot.release()
        left = None if left is None else left - rows
        if rows < size:
            break
    if plan.window.start is None and plan.key and left != 0:
        without = sql.SQL("{} is null").format(sql.Identifier(plan.key))
        yield from _parsed(snapshot, plan, _select(plan, [without], limit=left))


def _behind(names: Sequence[str], last: Sequence[str]) -> sql.Composable:
    """The condition of rows that come after the last one in the order of those columns."""
    from psycopg import sql

    return sql.SQL("({}) > ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(map(sql.Literal, last)),
    )


def _bounds(plan: _Plan, *, with_nulls: bool = True) -> list[sql.Composable]:
    """The window as conditions; rows without a key belong to a read from the beginning."""
    from psycopg import sql

    if plan.key is None:
        return []
    key = sql.Identifier(plan.key)
    # A comparison without a zone fits both kinds of time columns; sessions run in UTC.
    end = sql.Literal(_text(plan.window.end))
    if plan.window.start is None:
        every = sql.SQL("({0} < {1} or {0} is null)") if with_nulls else sql.SQL("{0} < {1}")
        return [every.format(key, end)]
    start = sql.Literal(_text(plan.window.start))
    return [sql.SQL("{} < {}").format(key, end), sql.SQL("{} >= {}").format(key, start)]


def _pieces(leader: Snapshot, plan: _Plan, count: int) -> list[sql.Composable]:
    """Conditions that share the table out: by key ranges, else by blocks, else not at all."""
    from psycopg import sql

    primary = plan.stream.primary_key
    field = plan.stream.column(primary[0]).vendor_field if len(primary) == 1 else ""
    if plan.facts.types.get(field) in _INTEGERS:
        found = leader.key_range(*_table(plan.stream), field)
        if found is None:
            return [sql.SQL("true")]
        lowest, highest = found
        step = max(1, -(-(highest - lowest + 1) // count))
        return [
            sql.SQL("{0} between {1} and {2}").format(
                sql.Identifier(field), sql.Literal(first), sql.Literal(first + step - 1)
            )
            for first in range(lowest, highest + 1, step)
        ]
    if not plan.facts.pages:
        return [sql.SQL("true")]
    step = max(1, -(-plan.facts.pages // count))
    firsts = range(0, plan.facts.pages, step)
    pieces: list[sql.Composable] = []
    for first in firsts:
        piece = sql.SQL("ctid >= {}").format(sql.Literal(f"({first},0)"))
        if first != firsts[-1]:
            piece += sql.SQL(" and ctid < {}").format(sql.Literal(f"({first + step},0)"))
        pieces.append(piece)
    return pieces


def _select(
    plan: _Plan,
    bounds: Sequence[sql.Composable],
    *,
    by: Sequence[str] = (),
    limit: int | None = None,
) -> sql.Composable:
    from psycopg import sql

    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(_expression(plan.facts, column) for column in plan.columns),
        sql.Identifier(*_table(plan.stream)),
    )
    if bounds:
        query += sql.SQL(" where {}").format(sql.SQL(" and ").join(bounds))
    if by:
        query += sql.SQL(" order by {}").format(sql.SQL(", ").join(map(sql.Identifier, by)))
    if limit is not None:
        query += sql.SQL(" limit {}").format(sql.Literal(limit))
    return query


def _expression(facts: TableFacts, column: Column) -> sql.Composable:
    """What gives the column's text as the loader reads it."""
    from psycopg import sql

    name = sql.Identifier(column.vendor_field)
    if column.type == "boolean":
        # COPY writes booleans as t and f, their text is true and false.
        return sql.SQL("{}::text").format(name)
    if facts.types[column.vendor_field] == "money":
        return sql.SQL("{}::numeric").format(name)
    if column.type == "jsonb" and facts.kinds[column.vendor_field] in _WITH_PARTS:
        return sql.SQL("to_jsonb({})").format(name)
    return name


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
        yield PostgresReader(database, clock=transport.clock if transport else None)

    return connect
