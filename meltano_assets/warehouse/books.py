"""The schema ``meltano``: its tables, made and brought up to date, and held to be ours.

Belongs here: the layout of the loader's books. What is written in them belongs to ``state.py``,
``catalog.py``, ``jobs.py``, ``quota.py``, ``sweep.py`` and ``roles/``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import psycopg
from psycopg import sql

from meltano_assets.errors import FatalError

SCHEMA = "meltano"

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
create table if not exists meltano.role_access (
    role text not null,
    access text not null check (access in ('read', 'write', 'except')),
    schema_name text not null,
    table_name text not null,
    has_personal_data boolean not null,
    primary key (role, access, schema_name, table_name)
);
"""
_DDL_DIGEST = blake2b(_DDL.encode(), digest_size=8).hexdigest()


def _columns_of(ddl: str) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Table, column and type of what the statements make with a table, and of what they add to it."""
    made = []
    tables = re.findall(r"create table if not exists meltano\.(\w+) \((.*?)\n\);", ddl, re.S)
    for table, body in tables:
        columns = re.findall(r"^    (?!primary|unique)(\w+) ([a-z\[\]]+)", body, re.M)
        made += [(table, column, kind) for column, kind in columns]
    added = r"alter table meltano\.(\w+) add column if not exists (\w+) ([a-z\[\]]+)"
    return made, re.findall(added, ddl)


_MADE, _ADDED = _columns_of(_DDL)

#: Is the layout this one, and which of the columns that should be there are not, or have another type?
#: The last tells whether something of the table's name is there at all.
_LOOK = """
select coalesce(obj_description(n.oid, 'pg_namespace') like %(mark)s, false),
    array(
        select k.place::integer
        from unnest(%(books)s::text[], %(columns)s::text[], %(kinds)s::text[])
            with ordinality as k (book, name, kind, place)
        left join pg_class c on c.relnamespace = n.oid and c.relname = k.book
            and c.relkind in ('r', 'p')
        left join pg_attribute a on a.attrelid = c.oid and a.attname = k.name
        where a.atttypid is distinct from k.kind::regtype
        order by k.place
    ),
    array(select relname::text from pg_class where relnamespace = n.oid and relname = any (%(books)s))
from pg_namespace n where n.nspname = %(schema)s
"""


def advisory_key(text: str) -> int:
    """A signed 64-bit advisory-lock key for a name."""
    digest = blake2b(text.encode(), digest_size=8, person=b"meltano").digest()
    return int.from_bytes(digest, signed=True)


def ensure(connection: psycopg.Connection) -> None:
    """Create or bring up to date the schema ``meltano``; safe when many do it at once.

    FatalError when something there bears the name of one of the books and is another table.
    """
    if _look(connection).is_current:
        return
    connection.execute("select pg_advisory_xact_lock(%s)", [advisory_key("ensure state")])
    found = _look(connection)
    if not found.is_current:
        found.refuse_foreign(but=_ADDED)
        ensure_schema(connection, SCHEMA)
        # Statement by statement: the simple protocol is only used for queries without parameters.
        connection.execute(_DDL)
        connection.execute(
            sql.SQL("comment on schema meltano is {}").format(
                sql.Literal(f"meltano-assets: the loader's books, layout {_DDL_DIGEST}")
            )
        )
        _look(connection).refuse_foreign()
    connection.commit()


def ensure_schema(connection: psycopg.Connection, name: str) -> None:
    """Create a schema unless it exists; needs no right to create one that does."""
    found = connection.execute("select 1 from pg_namespace where nspname = %s", [name]).fetchone()
    if found is None:
        connection.execute("select pg_advisory_xact_lock(%s)", [advisory_key(f"schema {name}")])
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is of the books: columns that are not as they should be, and names that are taken."""

    has_mark: bool = False
    missing: tuple[tuple[str, str, str], ...] = tuple(_MADE + _ADDED)
    taken: frozenset[str] = frozenset()

    @property
    def is_current(self) -> bool:
        return self.has_mark and not self.missing

    def refuse_foreign(self, but: Sequence[tuple[str, str, str]] = ()) -> None:
        """FatalError for a table of somebody else's; columns that ``but`` names may be added to it."""
        for book, column, kind in self.missing:
            if book in self.taken and (book, column, kind) not in but:
                raise FatalError(
                    f"{SCHEMA}.{book} is not the loader's own table: it has no column {column} ({kind})",
                    hint=f"rename it (or give it that column back): the loader makes its own {book}",
                )


def _look(connection: psycopg.Connection) -> _Found:
    books, columns, kinds = (list(part) for part in zip(*_MADE, *_ADDED, strict=True))
    row = connection.execute(
        _LOOK,
        {
            "mark": f"%{_DDL_DIGEST}",
            "schema": SCHEMA,
            "books": books,
            "columns": columns,
            "kinds": kinds,
        },
    ).fetchone()
    if row is None:
        return _Found()
    all_columns = _MADE + _ADDED
    return _Found(row[0], tuple(all_columns[place - 1] for place in row[1]), frozenset(row[2]))
