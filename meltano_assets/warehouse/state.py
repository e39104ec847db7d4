"""How far each stream is loaded, and what became of every load: bookmarks, lock and load log.

Functions that take a ``Warehouse`` are for everybody; those that take a connection belong to a
load's transaction, so that books and rows are committed together or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

import psycopg
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import Bookmark, LoadOutcome
from meltano_assets.warehouse.books import advisory_key, ensure
from meltano_assets.warehouse.connection import Warehouse

_LOCK_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class BookmarkEntry:
    """One entry of a stream's bookmark history; ``reason`` is load, set or rewind."""

    id: int
    bookmark: Bookmark
    reason: str
    load_id: str | None
    set_at: datetime


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """One load of a stream as the log tells it, its checkpoints added up."""

    load_id: str
    table: str
    disposition: str
    run_id: str
    status: str
    started_at: datetime
    finished_at: datetime
    read: int
    inserted: int
    updated: int
    unchanged: int
    superseded: int
    quarantined: int
    deleted: int
    checkpoints: int
    cleaned: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None


# bookmarks


def read_bookmark(warehouse: Warehouse, source: str, stream: str) -> Bookmark | None:
    """The stream's bookmark, or None when it was never loaded.

    None too when the table that it speaks of is gone, or was not logged and lost its rows with a server
    that crashed: reading on from there would leave a table without its older rows. A bookmark that a
    person has set holds in any case.
    """
    with warehouse.connect(application_name="meltano-assets bookmark") as connection:
        ensure(connection)
        row = connection.execute(
            "select reason = 'set' from meltano.bookmarks where source = %s and stream = %s"
            " order by id desc limit 1",
            [source, stream],
        ).fetchone()
        if row is None or not (row[0] or has_rows(connection, source, stream)):
            return None
        return current_bookmark(connection, source, stream)


def has_rows(connection: psycopg.Connection, schema: str, table: str) -> bool:
    """False when there is no such table, or a crash of the server has emptied it.

    A table without rows that is logged is one whose source has none.
    """
    row = connection.execute(
        "select c.relpersistence from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relname = %s",
        [schema, table],
    ).fetchone()
    if row is None or row[0] != "u":
        return row is not None
    statement = sql.SQL("select exists (select from {})").format(sql.Identifier(schema, table))
    found = connection.execute(statement).fetchone()
    return found is not None and bool(found[0])


def current_bookmark(connection: psycopg.Connection, source: str, stream: str) -> Bookmark | None:
    """The stream's bookmark as this transaction sees it."""
    row = connection.execute(
        "select value, cursor from meltano.bookmarks where source = %s and stream = %s"
        " order by id desc limit 1",
        [source, stream],
    ).fetchone()
    return None if row is None or row == (None, None) else Bookmark(*row)


def bookmark_history(
    warehouse: Warehouse, source: str, stream: str, limit: int = 100
) -> list[BookmarkEntry]:
    """The latest entries of a stream's bookmark, newest first."""
    with warehouse.connect(application_name="meltano-assets bookmark") as connection:
        ensure(connection)
        rows = connection.execute(
            "select id, value, cursor, reason, load_id, set_at from meltano.bookmarks"
            " where source = %s and stream = %s order by id desc limit %s",
            [source, stream, limit],
        ).fetchall()
    return [
        BookmarkEntry(number, Bookmark(value, cursor), reason, load_id, set_at)
        for number, value, cursor, reason, load_id, set_at in rows
    ]


def set_bookmark(warehouse: Warehouse, source: str, stream: str, bookmark: Bookmark | None) -> None:
    """Put the bookmark where a person wants it; None means: read everything next time."""
    with warehouse.connect(application_name="meltano-assets bookmark") as connection:
        ensure(connection)
        lock_stream(connection, source, stream)
        write_bookmark(connection, source, stream, bookmark or Bookmark(), reason="set")


def rewind_bookmark(
    warehouse: Warehouse,
    source: str,
    stream: str,
    *,
    entry_id: int | None = None,
    before: datetime | None = None,
) -> Bookmark | None:
    """Go back to an earlier entry: the one given, the last set before a time, or the previous one.

    The history stays; the rewind is a new entry. Returns the bookmark that holds now.
    """
    with warehouse.connect(application_name="meltano-assets bookmark") as connection:
        ensure(connection)
        lock_stream(connection, source, stream)
        rows = connection.execute(
            "select id, value, cursor, set_at from meltano.bookmarks"
            " where source = %s and stream = %s order by id desc",
            [source, stream],
        ).fetchall()
        if not rows:
            raise FatalError("there is no bookmark to rewind", source=source, stream=stream)
        if entry_id is not None:
            found = [row for row in rows if row[0] == entry_id]
            if not found:
                raise FatalError(
                    f"bookmark history has no entry {entry_id}",
                    source=source,
                    stream=stream,
                    hint="see `bookmark show`",
                )
        elif before is not None:
            found = [row for row in rows if row[3] < before]
        else:
            found = [row for row in rows if row[1:3] != rows[0][1:3]]
        target = Bookmark(found[0][1], found[0][2]) if found else Bookmark()
        write_bookmark(connection, source, stream, target, reason="rewind")
    return None if target == Bookmark() else target


def write_bookmark(
    connection: psycopg.Connection,
    source: str,
    stream: str,
    bookmark: Bookmark,
    *,
    reason: str = "load",
    load_id: str | None = None,
) -> None:
    """Append to the history, in the caller's transaction."""
    connection.execute(
        "insert into meltano.bookmarks (source, stream, value, cursor, reason, load_id)"
        " values (%s, %s, %s, %s, %s, %s)",
        [source, stream, bookmark.value, bookmark.cursor, reason, load_id],
    )


def move_bookmark(
    connection: psycopg.Connection,
    source: str,
    stream: str,
    bookmark: Bookmark | None,
    *,
    may_go_back: bool,
    load_id: str,
) -> Bookmark | None:
    """Write the bookmark of a load unless it is the one that holds; returns the one that holds then."""
    current = current_bookmark(connection, source, stream)
    if bookmark is None or bookmark == current:
        return current
    if current is not None and not may_go_back and _is_before(bookmark, current):
        bookmark = Bookmark(current.value, bookmark.cursor)
        if bookmark == current:
            return current
    write_bookmark(connection, source, stream, bookmark, load_id=load_id)
    return bookmark


def _is_before(one: Bookmark, other: Bookmark) -> bool:
    """True when both are times (or both numbers) and the one is earlier."""
    if one.value is None or other.value is None:
        return False
    try:
        first, second = one.as_time(), other.as_time()
        return first is not None and second is not None and first < second
    except ValueError:
        pass
    try:
        return int(one.value) < int(other.value)
    except ValueError:
        return False


def lock_stream(
    connection: psycopg.Connection, source: str, stream: str, wait_seconds: float = _LOCK_WAIT
) -> None:
    """Keep loads of the stream out until the transaction ends; FatalError when one is running.

    Waits a moment: the lock of a load that has just ended goes with its server process.
    """
    try:
        # 0 would mean: wait without end.
        wait = f"{max(1, round(wait_seconds * 1000))}"
        connection.execute("select set_config('lock_timeout', %s, true)", [wait])
        connection.execute("select pg_advisory_xact_lock(%s)", [stream_lock(source, stream)])
        connection.execute("select set_config('lock_timeout', '0', true)")
    except psycopg.errors.LockNotAvailable:
        raise FatalError(
            "a load of this stream is running",
            source=source,
            stream=stream,
            hint="wait for it to end",
        ) from None


def stream_lock(source: str, stream: str) -> int:
    """The advisory-lock key under which one stream is loaded."""
    return advisory_key(f"load {source}.{stream}")


# load log


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one checkpoint (or one failure) writes into the load log."""

    source: str
    stream: str
    run_id: str
    environment: str
    started_at: datetime
    outcome: LoadOutcome
    status: str = "committed"
    error: str | None = None


def write_log(connection: psycopg.Connection, entry: LogEntry) -> None:
    """One row in the load log, in the caller's transaction."""
    outcome = entry.outcome
    bookmark = outcome.bookmark or Bookmark()
    connection.execute(
        "insert into meltano.load_log (load_id, checkpoint, source, stream, table_name,"
        " disposition, run_id, environment, status, started_at, finished_at, read, inserted,"
        " updated, unchanged, superseded, quarantined, deleted, cleaned, schema_changes,"
        " bookmark_value, bookmark_cursor, error)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp(),"
        " %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            outcome.load_id,
            outcome.checkpoints,
            entry.source,
            entry.stream,
            outcome.table,
            outcome.disposition,
            entry.run_id,
            entry.environment,
            entry.status,
            entry.started_at,
            outcome.read,
            outcome.inserted,
            outcome.updated,
            outcome.unchanged,
            outcome.superseded,
            outcome.quarantined,
            outcome.deleted,
            json.dumps(outcome.cleaned),
            # No escapes: a database in SQL_ASCII takes the characters themselves.
            json.dumps(outcome.schema_changes, ensure_ascii=False),
            bookmark.value,
            bookmark.cursor,
            entry.error,
        ],
    )


_LOADS = """
select load_id, min(table_name), min(disposition), min(run_id),
    case when bool_or(status = 'failed') then 'failed' else 'committed' end,
    min(started_at), max(finished_at),
    coalesce(sum(read) filter (where status = 'committed'), 0)::bigint,
    coalesce(sum(inserted) filter (where status = 'committed'), 0)::bigint,
    coalesce(sum(updated) filter (where status = 'committed'), 0)::bigint,
    coalesce(sum(unchanged) filter (where status = 'committed'), 0)::bigint,
    coalesce(sum(superseded) filter (where status = 'committed'), 0)::bigint,
    coalesce(sum(quarantined) filter (where status = 'committed'), 0)::bigint,
    coalesce(sum(deleted) filter (where status = 'committed'), 0)::bigint,
    count(*) filter (where status = 'committed'),
    coalesce(jsonb_agg(cleaned) filter (where status = 'committed'), '[]'),
    max(error)
from meltano.load_log
where source = %s and stream = %s
group by load_id
order by max(id) desc
limit %s
"""

_LOAD_FIELDS = [field.name for field in fields(LoadRecord)][:15]


def recent_loads(
    warehouse: Warehouse, source: str, stream: str, limit: int = 20
) -> list[LoadRecord]:
    """The stream's latest loads, newest first; failed ones included."""
    with warehouse.connect(application_name="meltano-assets log") as connection:
        ensure(connection)
        rows = connection.execute(_LOADS, [source, stream, limit]).fetchall()
    loads = []
    for row in rows:
        cleaned: dict[str, int] = {}
        for counts in row[15]:
            for rule, count in counts.items():
                cleaned[rule] = cleaned.get(rule, 0) + count
        known = dict(zip(_LOAD_FIELDS, row[:15], strict=True))
        loads.append(LoadRecord(**known, cleaned=cleaned, error=row[16]))
    return loads


def last_load(warehouse: Warehouse, source: str, stream: str) -> LoadRecord | None:
    """The stream's latest load, failed or not; None when there was none."""
    return next(iter(recent_loads(warehouse, source, stream, limit=1)), None)
