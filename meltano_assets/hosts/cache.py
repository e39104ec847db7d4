"""The tables of the hosts flow: cleaned hosts, and what each provider answered.

Belongs here: the tables, which hosts are to be cleaned, and the one query that decides for all
domains together what is still to be asked. Does not belong here: asking (``enrich.py``).

An answer, positive or negative, is good for 30 days. ``pending`` and ``error`` are no answers: they
are written only where no answer stands, so that an outage erases nothing, and asked again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import orjson

from meltano_assets.errors import FatalError
from meltano_assets.hosts.clean import clean_hosts
from meltano_assets.hosts.providers import Answer, Outcome
from meltano_assets.hosts.waterfall import CACHES
from meltano_assets.streams import Batch, Bookmark, Column, LoadOutcome, Stream

if TYPE_CHECKING:
    import pyarrow as pa

    from meltano_assets.warehouse.connection import Warehouse

PING_DAYS = 60
FRESH_DAYS = 30
#: How far behind the last run of cleaning loaded pings are looked at again.
LOADED_LOOKBACK_HOURS = 6
#: From this size on a table is indexed while it is written to, which takes two passes and longer.
INDEXED_IN_USE_FROM_BYTES = 256 * 1024 * 1024
#: Characters of a raw host that are kept. A key of Postgres holds 2,600 bytes; the host of a URL
#: stands in front of its longest part, the query.
LONGEST_RAW_HOST = 600

NameKind = Literal["domain", "address"]

CLEANED_HOSTS = Stream(
    source="hosts",
    name="cleaned_hosts",
    description="Every raw host of recent pings with its kind, parts and clean names.",
    columns=(
        Column("raw_host", "text", "What the ping said, unchanged.", is_pii=True),
        Column("kind", "text", "domain, ipv4, ipv6, internal or invalid."),
        Column("subdomain", "text", "Labels in front of the registrable domain."),
        Column("domain", "text", "The label that was registered."),
        Column("suffix", "text", "The public suffix, private ones included."),
        Column("clean_domain", "text", "Registrable domain or public address; null otherwise."),
        Column("clean_full_domain", "text", "The whole name or address, canonical."),
        Column("last_pinged_at", "timestamptz", "Latest ping that carried this raw host."),
        Column("cleaned_at", "timestamptz"),
    ),
    primary_key=("raw_host",),
    replication_key="cleaned_at",
)

# The window ends at the latest ping, as the models' window does, but never in the future.
_RECENT_PINGS = """
with window_start as materialized (
    select least(greatest({latest}), %s) - make_interval(days => {days}) as since
),
recent as (
    select raw_host, pinged_at, loaded_at from ({pings}) as pings
    where raw_host is not null and pinged_at >= (select since from window_start)
)
"""
# Whatever a load brings: a host without a row that knows of the ping.
_NEW_OR_CHANGED = """
select raw_host, max(pinged_at) as last_pinged_at
from recent
where loaded_at >= %s and not exists (
    select from hosts.cleaned_hosts as cleaned
    where cleaned.raw_host = recent.raw_host and cleaned.last_pinged_at >= recent.pinged_at
)
group by raw_host
"""
_ALL = "select raw_host, max(pinged_at) as last_pinged_at from recent group by raw_host"
_RAW_HOSTS = {
    "version.version_checks": "referer_url",
    "version.usage_data": "coalesce(hostname, source_ip)",
}
# Bytes first, as in the models' macro raw_host: counting characters would cost more than grouping.
_RAW_HOST = "case when octet_length({0}) <= {1} then {0} else left({0}, {1}) end"


def refresh_cleaned_hosts(
    warehouse: Warehouse,
    *,
    now: datetime,
    run_id: str = "",
    environment: str = "local",
    full_refresh: bool = False,
    on_progress: Callable[[LoadOutcome], None] | None = None,
) -> LoadOutcome:
    """Clean the raw hosts of the last 60 days that are new or were pinged since last cleaned.

    ``full_refresh`` cleans all of them and drops older ones. Without any raw table of pings it
    fails and says what to load.
    """
    import pyarrow as pa

    from meltano_assets.warehouse.load import load
    from meltano_assets.warehouse.read import read_batches

    is_first = full_refresh or not existing_tables(warehouse, [CLEANED_HOSTS.key])
    query = recent_pings(warehouse) + (_ALL if is_first else _NEW_OR_CHANGED)
    ensure_indexes(warehouse)
    parameters = [now] if is_first else [now, unseen_since(warehouse)]

    def batches() -> Iterator[Batch]:
        for records in read_batches(warehouse, query, parameters):
            cleaned = clean_hosts(records.column("raw_host"))
            pinged = records.column("last_pinged_at").cast(pa.timestamp("us", "UTC"))
            moments = pa.array([now], pinged.type).take(pa.array([0] * len(pinged), pa.int32()))
            for batch in (
                cleaned.append_column("last_pinged_at", pa.chunked_array([pinged]))
                .append_column("cleaned_at", pa.chunked_array([moments]))
                .combine_chunks()
                .to_batches()
            ):
                yield Batch(batch)
        # Only a run that got here says how far pings have been seen.
        nothing = pa.RecordBatch.from_pylist([], schema=pa.schema([("raw_host", pa.string())]))
        yield Batch(nothing, bookmark=Bookmark(now.isoformat()))

    return load(
        warehouse,
        CLEANED_HOSTS,
        batches(),
        run_id=run_id,
        environment=environment,
        full_refresh=full_refresh,
        on_progress=on_progress,
    )


def unseen_since(warehouse: Warehouse) -> datetime:
    """Since when pings may have been loaded that no complete run of cleaning has seen.

    A row carries the time at which its load began: the loads that ended since are those of the log,
    however long they took. Six hours more cover clocks that differ and rows that no load brought.
    """
    from meltano_assets.warehouse.state import read_bookmark

    bookmark = read_bookmark(warehouse, CLEANED_HOSTS.source, CLEANED_HOSTS.name)
    seen_until = bookmark.as_time() if bookmark else None
    if seen_until is None:
        return datetime(1970, 1, 1, tzinfo=UTC)
    margin = seen_until - timedelta(hours=LOADED_LOOKBACK_HOURS)
    with warehouse.connect() as connection:
        row = connection.execute(
            "select min(started_at) from meltano.load_log where status = 'committed'"
            " and source || '.' || stream = any(%s) and finished_at >= %s",
            [list(_RAW_HOSTS), margin],
        ).fetchone()
    return min(margin, row[0]) if row and row[0] else margin


def ensure_indexes(warehouse: Warehouse) -> None:
    """Indexes that find new and latest pings; left for the next run where a load holds the table.

    They make cleaning and the models quick and are no condition of either. An invalid one, left by
    a build that was killed or gave up, is dropped and built anew.
    """
    for table in sorted(existing_tables(warehouse, _RAW_HOSTS)):
        schema, name = table.split(".")
        wanted = {
            f"{name}_pinged": "btree (updated_at)",
            # Rows come in the order of loads: a summary of each stretch of pages is enough.
            f"{name}_loaded": "brin (_loaded_at) with (autosummarize = on)",
        }
        with warehouse.connect() as connection:
            valid = {
                str(index)
                for (index,) in connection.execute(
                    "select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid"
                    " where i.indrelid = to_regclass(%s) and i.indisvalid",
                    [table],
                )
            }
            row = connection.execute("select pg_table_size(to_regclass(%s))", [table]).fetchone()
        in_use = row is not None and row[0] >= INDEXED_IN_USE_FROM_BYTES
        for index, definition in wanted.items():
            if index not in valid:
                _build_index(warehouse, (schema, name), index, definition, in_use=in_use)


def _build_index(
    warehouse: Warehouse, table: tuple[str, str], index: str, definition: str, *, in_use: bool
) -> None:
    from psycopg import errors, sql

    concurrently = sql.SQL("concurrently" if in_use else "")
    with warehouse.connect(
        autocommit=True, application_name="meltano-assets hosts", statement_timeout_seconds=0
    ) as connection:
        # Who waits for a lock keeps writers waiting behind it; a build in use waits beside them.
        connection.execute(f"set lock_timeout = '{'30s' if in_use else '1s'}'")
        with contextlib.suppress(errors.LockNotAvailable):
            # Waits for a build that another run is at, or gives up: never drops a half-built one.
            connection.execute(
                sql.SQL("drop index {} if exists {}").format(
                    concurrently, sql.Identifier(table[0], index)
                )
            )
            connection.execute(
                sql.SQL("create index {} if not exists {} on {} using " + definition).format(
                    concurrently, sql.Identifier(index), sql.Identifier(*table)
                )
            )


def recent_pings(warehouse: Warehouse) -> str:
    """SQL with the pings of the last 60 days as ``recent``; %s is the present.

    It has raw_host, pinged_at and loaded_at. As in the models, deleted pings are none, nor do they
    say where the window ends.

    FatalError where no table of pings is loaded yet.
    """
    tables = existing_tables(warehouse, _RAW_HOSTS)
    found = {table: host for table, host in _RAW_HOSTS.items() if table in tables}
    if not found:
        raise FatalError(
            "no pings are loaded yet: neither version.version_checks nor version.usage_data exists",
            source=CLEANED_HOSTS.source,
            stream=CLEANED_HOSTS.name,
            hint="load them first: meltano-assets extract version",
        )
    return _RECENT_PINGS.format(
        latest=", ".join(
            f"(select max(updated_at) from {table} where _deleted_at is null)" for table in found
        ),
        days=PING_DAYS,
        pings=" union all ".join(
            f"select {_RAW_HOST.format(host, LONGEST_RAW_HOST)} as raw_host,"
            f" updated_at as pinged_at, _loaded_at as loaded_at from {table}"
            " where _deleted_at is null"
            for table, host in found.items()
        ),
    )


def existing_tables(warehouse: Warehouse, names: Iterable[str]) -> set[str]:
    """Those of the tables ``schema.name`` that exist."""
    wanted = list(names)
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select name from unnest(%s::text[]) as name where to_regclass(name) is not null",
            [wanted],
        ).fetchall()
    return {str(name) for (name,) in rows}


def ensure_caches(warehouse: Warehouse, *, run_id: str = "", environment: str = "local") -> None:
    """Create the cache tables that are not there, so that models can read all of them."""
    from meltano_assets.warehouse.load import load

    streams = {stream.key: stream for stream in CACHES}
    for key in sorted(set(streams) - existing_tables(warehouse, streams)):
        stream = streams[key]
        load(
            warehouse,
            stream,
            [Batch(rows_of(stream, [], datetime.now(UTC)))],
            run_id=run_id,
            environment=environment,
        )


# -- deciding --


@dataclass(frozen=True, slots=True)
class Pending:
    """A name with something left to ask, and what each cache holds of it.

    ``states`` has an outcome for each provider with an answer that is still good; ``known`` those
    with any answer at all, however old.
    """

    name: str
    states: Mapping[str, Outcome]
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be asked, and how many names need nothing."""

    open: tuple[Pending, ...]
    total: int
    cached: Mapping[str, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Names for which the caches hold the whole answer."""
        return self.total - len(self.open)


# Candidates come from the hosts that were pinged inside the window, or from the caller's list.
_WINDOW = """
    window_start as (
        select least(max(last_pinged_at), %(now)s) - make_interval(days => {days}) as since
        from hosts.cleaned_hosts
    )
"""
_RECENT = {
    "domain": """
        select clean_domain as name from hosts.cleaned_hosts, window_start
        where kind = 'domain' and clean_domain is not null and last_pinged_at >= since
        union
        select reverse.clean_domain
        from window_start, hosts.cleaned_hosts as cleaned
        inner join enrichment.reverse_dns_cache as reverse on reverse.ip = cleaned.clean_full_domain
        where cleaned.kind in ('ipv4', 'ipv6') and reverse.outcome = 'hit'
            and reverse.clean_domain is not null and cleaned.last_pinged_at >= since
    """,
    "address": """
        select distinct clean_full_domain as name from hosts.cleaned_hosts, window_start
        where kind in ('ipv4', 'ipv6') and clean_full_domain is not null
            and last_pinged_at >= since
    """,
}
_GIVEN = "select distinct unnest(%(names)s::text[]) as name"


def decide(
    warehouse: Warehouse,
    waterfall: Sequence[tuple[Stream, bool]],
    *,
    kind: NameKind,
    names: Sequence[str] | None,
    now: datetime,
) -> Decision:
    """What is left to ask, for all names by one query.

    ``waterfall`` has the caches in the order of asking, and whether each provider may be asked. A
    name is done at the first hit, or when every provider that may be asked has said no.
    ``names`` None means those of recent pings.
    """
    from psycopg import sql

    judged, known, joins, counts = [], [], [], []
    done: sql.Composable = sql.SQL("true")
    for place, (stream, _) in enumerate(waterfall):
        alias, state = sql.Identifier(f"cache_{place}"), sql.Identifier(f"state_{place}")
        judged.append(
            sql.SQL(
                "case when {0}.outcome in ('hit', 'miss') and {0}.last_update > %(fresh)s"
                " then {0}.outcome end as {1}"
            ).format(alias, state)
        )
        known.append(
            sql.SQL("coalesce({0}.outcome in ('hit', 'miss'), false) as {1}").format(
                alias, sql.Identifier(f"known_{place}")
            )
        )
        joins.append(
            sql.SQL(" left join {} as {} on {}.{} = candidates.name").format(
                sql.Identifier(stream.source, stream.name),
                alias,
                alias,
                sql.Identifier(stream.primary_key[0]),
            )
        )
        counts.append(sql.SQL("count({})").format(state))
    for place, (_, is_enabled) in reversed(list(enumerate(waterfall))):
        state = sql.Identifier(f"state_{place}")
        goes_on = "coalesce({0} = 'miss', false)" if is_enabled else "true"
        done = sql.SQL("(coalesce({0} = 'hit', false) or (" + goes_on + " and {1}))").format(
            state, done
        )
    places = range(len(waterfall))
    states = [sql.Identifier(f"state_{place}") for place in places]
    flags = [sql.Identifier(f"known_{place}") for place in places]
    query = sql.SQL(
        "with {window} candidates as ({candidates}),"
        " judged as (select candidates.name, {judged} from candidates {joins})"
        " select null as name, array[count(*), {counts}] as counts,"
        " null::text[] as states, null::boolean[] as known from judged"
        " union all select name, null, array[{states}], array[{flags}] from judged where not {done}"
    ).format(
        window=sql.SQL("" if names is not None else _WINDOW.format(days=PING_DAYS) + ","),
        candidates=sql.SQL(_GIVEN if names is not None else _RECENT[kind]),
        judged=sql.SQL(", ").join([*judged, *known]),
        joins=sql.SQL("").join(joins),
        counts=sql.SQL(", ").join(counts),
        states=sql.SQL(", ").join(states),
        flags=sql.SQL(", ").join(flags),
        done=done,
    )
    parameters = {
        "now": now,
        "fresh": now - timedelta(days=FRESH_DAYS),
        "names": None if names is None else list(names),
    }
    keys = [stream.name for stream, _ in waterfall]
    open_names: list[Pending] = []
    totals = [0] * (len(keys) + 1)
    with warehouse.connect(application_name="meltano-assets enrich") as connection:
        if names is None:
            # Nobody has looked at hosts that were cleaned just now, and Postgres would take a million
            # for a few: looked up one by one they take three times as long.
            connection.execute("set local enable_nestloop = off")
        for name, found, given, flags_of in connection.execute(query, parameters):
            if found is not None:
                totals = found
                continue
            open_names.append(
                Pending(
                    name,
                    {key: state for key, state in zip(keys, given, strict=True) if state},
                    frozenset(key for key, flag in zip(keys, flags_of, strict=True) if flag),
                )
            )
    open_names.sort(key=lambda pending: pending.name)
    return Decision(tuple(open_names), totals[0], dict(zip(keys, totals[1:], strict=True)))


def reverse_domains(warehouse: Warehouse, addresses: Sequence[str]) -> set[str]:
    """The domains that these addresses resolve to, as far as the cache knows."""
    with warehouse.connect(application_name="meltano-assets enrich") as connection:
        rows = connection.execute(
            "select distinct clean_domain from enrichment.reverse_dns_cache"
            " where ip = any(%s) and outcome = 'hit' and clean_domain is not null",
            [list(addresses)],
        ).fetchall()
    return {str(domain) for (domain,) in rows}


@dataclass(frozen=True, slots=True)
class Recalled:
    """What one cache holds of a name, for a person."""

    name: str
    table: str
    outcome: str
    asked_at: datetime
    told: str | None


def recall(
    warehouse: Warehouse, waterfall: Sequence[Stream], names: Sequence[str]
) -> list[Recalled]:
    """What the caches hold of these names, each in the order of the waterfall."""
    from psycopg import sql

    found = []
    with warehouse.connect(application_name="meltano-assets enrich") as connection:
        for stream in waterfall:
            columns = {column.name for column in stream.columns}
            told = next(each for each in ("company_name", "name", "host_name") if each in columns)
            query = sql.SQL(
                "select {key}, outcome, last_update, {told} from {table} where {key} = any(%s)"
            ).format(
                key=sql.Identifier(stream.primary_key[0]),
                told=sql.Identifier(told),
                table=sql.Identifier(stream.source, stream.name),
            )
            for name, outcome, at, text in connection.execute(query, [list(names)]):
                found.append(Recalled(name, stream.name, outcome, at, text))
    places = {name: place for place, name in enumerate(names)}
    return sorted(found, key=lambda each: places[each.name])


# -- writing --


def store(
    warehouse: Warehouse,
    stream: Stream,
    answers: Sequence[tuple[str, Answer]],
    *,
    now: datetime,
    run_id: str = "",
    environment: str = "local",
) -> LoadOutcome:
    """Write answers into their cache, in one transaction."""
    from meltano_assets.warehouse.load import load

    batch = Batch(rows_of(stream, answers, now))
    return load(warehouse, stream, [batch], run_id=run_id, environment=environment)


def rows_of(stream: Stream, answers: Sequence[tuple[str, Answer]], now: datetime) -> pa.RecordBatch:
    """The answers as rows of the cache table."""
    import pyarrow as pa

    arrays = []
    for column in stream.columns:
        if column.name == stream.primary_key[0]:
            values = pa.array([name for name, _ in answers], pa.string())
        elif column.name == "outcome":
            values = pa.array([answer.outcome for _, answer in answers], pa.string())
        elif column.name == "last_update":
            values = pa.array([now] * len(answers), pa.timestamp("us", "UTC"))
        elif column.name == "raw_answer":
            values = pa.array([_json(answer.raw) for _, answer in answers], pa.string())
        else:
            values = pa.array(
                [answer.columns.get(column.name) for _, answer in answers], pa.string()
            )
        arrays.append(values)
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in stream.columns])


def _json(raw: object) -> str | None:
    return None if raw is None else orjson.dumps(raw, default=str).decode()
