"""The loader's own books, schema ``meltano``: bookmarks, load log, names, changes and ledgers.

Functions that take a ``Warehouse`` are for everybody; those that take a connection belong to a
load's transaction, so that books and rows are committed together or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from hashlib import blake2b

import psycopg
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import Bookmark, LoadOutcome
from meltano_assets.warehouse.connection import Warehouse

SCHEMA = "meltano"
_LOCK_WAIT = 1.0

_DDL = """
create table if not exists meltano.load_log (
    id bigint generated always as identity primary key,
    load_id text not null,
    checkpoint integer not null,
    source text not null,
    stream text not null,
    table_name text not null,
    disposition text not null,
    run_id text not null,
    environment text not null,
    status text not null check (status in ('committed', 'failed')),
    started_at timestamptz not null,
    finished_at timestamptz not null,
    read bigint not null,
    inserted bigint not null,
    updated bigint not null,
    unchanged bigint not null,
    superseded bigint not null,
    quarantined bigint not null,
    deleted bigint not null,
    cleaned jsonb not null,
    schema_changes jsonb not null,
    bookmark_value text,
    bookmark_cursor text,
    error text
);
create index if not exists load_log_stream on meltano.load_log (source, stream, id);
create table if not exists meltano.bookmarks (
    id bigint generated always as identity primary key,
    source text not null,
    stream text not null,
    value text,
    cursor text,
    reason text not null check (reason in ('load', 'set', 'rewind')),
    load_id text,
    set_at timestamptz not null default clock_timestamp()
);
create index if not exists bookmarks_stream on meltano.bookmarks (source, stream, id);
create table if not exists meltano.job_log (
    id bigint generated always as identity primary key,
    source text not null,
    stream text not null,
    job_id text not null,
    state text not null,
    request jsonb,
    progress jsonb,
    run_id text,
    ordered_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    unique (source, stream, job_id)
);
alter table meltano.job_log add column if not exists kind text not null default '';
alter table meltano.job_log add column if not exists fingerprint text not null default '';
create index if not exists job_log_open on meltano.job_log (source, stream, kind, fingerprint)
    where state in ('ordered', 'ready', 'read');
create table if not exists meltano.schema_changes (
    id bigint generated always as identity primary key,
    source text not null,
    stream text not null,
    table_name text not null,
    column_name text,
    change text not null,
    old_type text,
    new_type text,
    load_id text,
    changed_at timestamptz not null default clock_timestamp()
);
create table if not exists meltano.column_names (
    source text not null,
    stream text not null,
    field text not null,
    column_name text not null,
    first_load_id text,
    first_seen_at timestamptz not null default clock_timestamp(),
    primary key (source, stream, field),
    unique (source, stream, column_name)
);
alter table meltano.column_names add column if not exists field_id text;
alter table meltano.column_names add column if not exists is_declared boolean not null default false;
alter table meltano.column_names add column if not exists gone_since timestamptz;
create table if not exists meltano.table_names (
    source text not null,
    stream text not null,
    table_name text not null,
    first_seen_at timestamptz not null default clock_timestamp(),
    primary key (source, stream),
    unique (source, table_name)
);
create table if not exists meltano.quota_ledger (
    id bigint generated always as identity primary key,
    source text not null,
    environment text not null,
    day date not null,
    run_id text not null,
    entry text not null check (entry in ('reserved', 'settled', 'vendor')),
    calls bigint not null,
    noted_at timestamptz not null default clock_timestamp()
);
create index if not exists quota_ledger_day on meltano.quota_ledger (source, day);
create table if not exists meltano.new_fields (
    source text not null,
    stream text not null,
    field text not null,
    type text not null,
    first_seen_at timestamptz not null default clock_timestamp(),
    primary key (source, stream, field)
);
create table if not exists meltano.sweeps (
    id bigint generated always as identity primary key,
    source text not null,
    stream text not null,
    state text not null default 'open'
        check (state in ('open', 'complete', 'refused', 'abandoned')),
    key_columns text[] not null,
    known_until timestamptz,
    position text,
    is_exact boolean not null default true,
    stumbles integer not null default 0,
    pages bigint not null default 0,
    keys bigint not null default 0,
    vanished bigint,
    marked bigint,
    revived bigint,
    began_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);
create index if not exists sweeps_stream on meltano.sweeps (source, stream, id);
create table if not exists meltano.sweep_calls (
    source text not null,
    stream text not null,
    calls bigint not null,
    noted_at timestamptz not null default clock_timestamp()
);
create index if not exists sweep_calls_day on meltano.sweep_calls (source, noted_at);
create table if not exists meltano.reconciliation (
    id bigint generated always as identity primary key,
    source text not null,
    stream text not null,
    run_id text not null,
    hop text not null,
    expected bigint,
    actual bigint,
    details jsonb,
    checked_at timestamptz not null default clock_timestamp()
);
"""
_DDL_DIGEST = blake2b(_DDL.encode(), digest_size=8).hexdigest()


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


def advisory_key(text: str) -> int:
    """A signed 64-bit advisory-lock key for a name."""
    digest = blake2b(text.encode(), digest_size=8, person=b"meltano").digest()
    return int.from_bytes(digest, signed=True)


def ensure(connection: psycopg.Connection) -> None:
    """Create or bring up to date the schema ``meltano``; safe when many do it at once."""
    if _is_current(connection):
        return
    connection.execute("select pg_advisory_xact_lock(%s)", [advisory_key("ensure state")])
    if not _is_current(connection):
        ensure_schema(connection, SCHEMA)
        # Statement by statement: the simple protocol is only used for queries without parameters.
        connection.execute(_DDL)
        connection.execute(
            sql.SQL("comment on schema meltano is {}").format(
                sql.Literal(f"meltano-assets: the loader's books, layout {_DDL_DIGEST}")
            )
        )
    connection.commit()


def ensure_schema(connection: psycopg.Connection, name: str) -> None:
    """Create a schema unless it exists; needs no right to create one that does."""
    found = connection.execute("select 1 from pg_namespace where nspname = %s", [name]).fetchone()
    if found is None:
        connection.execute("select pg_advisory_xact_lock(%s)", [advisory_key(f"schema {name}")])
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(name)))


def _is_current(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = %s", [SCHEMA]
    ).fetchone()
    return row is not None and str(row[0] or "").endswith(_DDL_DIGEST)


# bookmarks


def read_bookmark(warehouse: Warehouse, source: str, stream: str) -> Bookmark | None:
    """The stream's bookmark, or None when it was never loaded.

    None too when the table that it speaks of is gone: reading on from there would leave a table
    without its older rows. A bookmark that a person has set holds in any case.
    """
    with warehouse.connect(application_name="meltano-assets bookmark") as connection:
        ensure(connection)
        row = connection.execute(
            "select reason = 'set' or exists (select from pg_class c join pg_namespace n"
            " on n.oid = c.relnamespace where n.nspname = b.source and c.relname = b.stream)"
            " from meltano.bookmarks as b where source = %s and stream = %s"
            " order by id desc limit 1",
            [source, stream],
        ).fetchone()
        return current_bookmark(connection, source, stream) if row and row[0] else None


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
            json.dumps(outcome.schema_changes),
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
