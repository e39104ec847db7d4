"""Raw assets: one for every stream of every source, loaded by the COPY IO manager."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from meltano_assets import sweeping
from meltano_assets.errors import FatalError, PlatformError
from meltano_assets.extraction import OpenSource
from meltano_assets.resources import Load, Vendors, WarehouseResource, dagster_edge
from meltano_assets.sources.base import Source
from meltano_assets.sources.registry import registered
from meltano_assets.sources.rules import Selected, SourceRules, load_rules, selected
from meltano_assets.streams import LOADER_COLUMNS, Bookmark, LoadOutcome, ReadOptions, Stream
from meltano_assets.sweeping import Swept
from meltano_assets.warehouse import claims, state
from meltano_assets.warehouse.connection import Warehouse

RETRY = dg.RetryPolicy(
    max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
OWNERS = ["team:data"]
_SWEPT = "vanished_rows_marked"
LOADER_TYPES = {"_loaded_at": "timestamptz", "_load_id": "text", "_deleted_at": "timestamptz"}


class ReadConfig(dg.Config):
    """What to read: everything new by default.

    ``start`` and ``end`` are ISO times that replace the bookmark's window for this run;
    ``limit`` ends the read after that many records and leaves the bookmark alone.
    """

    full_refresh: bool = False
    start: str | None = None
    end: str | None = None
    limit: int | None = None

    def options(self) -> ReadOptions:
        """The same as the ground floor's value."""
        return ReadOptions(
            full_refresh=self.full_refresh,
            start=parse_time("start", self.start),
            end=parse_time("end", self.end),
            limit=self.limit,
        )


def parse_time(name: str, text: str | None) -> datetime | None:
    """An ISO time, taken as UTC where it has no zone; FatalError when it is none."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FatalError(
            f"{name} is not an ISO time", hint="write 2026-01-31 or …T12:00Z"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def read_options(context: dg.AssetExecutionContext, config: ReadConfig) -> ReadOptions:
    """What the config says; in a run over days, their window, from the first to the end of the last."""
    options = config.options()
    if not (context.has_partition_key or context.has_partition_key_range):
        return options
    if options != ReadOptions():
        raise FatalError(
            "a run over days takes no read config",
            hint="choose the days, or materialize the asset with start and end",
        )
    window = context.partition_time_window
    return ReadOptions(start=window.start, end=window.end)


def build_raw_assets(sources: tuple[Source, ...]) -> list[dg.AssetsDefinition]:
    """One asset for each stream of the sources."""
    known = {source.name: source for source in (*registered(), *sources)}
    rules = load_rules(known.values())
    return [
        _raw_asset(source, stream, rules.get(source.name) or SourceRules())
        for source in sources
        for stream in source.streams
    ]


def column_schema(chosen: Selected) -> dg.TableSchema:
    """The raw table's columns as the UI shows them, with what the user's rules make of each."""
    stream = chosen.load
    declared = [
        dg.TableColumn(
            column.name,
            column.type,
            description=column.description or None,
            tags=column_tags(chosen.marks(column)),
            constraints=dg.TableColumnConstraints(
                nullable=column.name not in stream.primary_key,
                unique=stream.primary_key == (column.name,),
            ),
        )
        for column in stream.columns
    ]
    added = [dg.TableColumn(name, LOADER_TYPES[name]) for name in LOADER_COLUMNS]
    return dg.TableSchema(columns=declared + added)


def column_tags(marks: Mapping[str, str | bool]) -> dict[str, str] | None:
    """Marks of a column as the UI takes them."""
    return {name: str(value).lower() for name, value in marks.items() if value} or None


def _raw_asset(source: Source, stream: Stream, rules: SourceRules) -> dg.AssetsDefinition:
    key = dg.AssetKey([source.name, stream.name])

    @dg.asset(
        key=key,
        group_name=f"raw/{source.name}",
        kinds={*(source.kinds or (source.name,)), "postgres"},
        owners=OWNERS,
        description=_description(source, stream),
        metadata={
            "dagster/column_schema": column_schema(selected(stream, rules.of(stream.name))),
            "dagster/table_name": f"{source.name}.{stream.name}",
            "primary key": ", ".join(stream.primary_key) or "none",
            "replication key": stream.replication_key or "none",
            "disposition": stream.disposition,
        },
        pool=source.name,
        retry_policy=RETRY,
        io_manager_key="io_manager",
        check_specs=[
            *_sweep_specs(key, stream),
            dg.AssetCheckSpec(
                "records_accounted_for",
                asset=key,
                description="Read = loaded + unchanged + superseded + quarantined.",
                blocking=True,
            ),
            dg.AssetCheckSpec(
                "primary_key_unique",
                asset=key,
                description="No two rows share the primary key and none lacks it.",
                blocking=True,
            ),
            dg.AssetCheckSpec(
                "row_count_not_collapsed",
                asset=key,
                description="The table keeps at least half of the live rows of its last healthy load.",
                blocking=True,
            ),
            dg.AssetCheckSpec(
                "bookmark_not_backwards",
                asset=key,
                description="The bookmark is not older than before the load.",
            ),
            dg.AssetCheckSpec(
                "source_count_agrees",
                asset=key,
                description="Live and quarantined rows against the vendor's own count, where it tells.",
            ),
            dg.AssetCheckSpec(
                "read_to_the_end",
                asset=key,
                description="Our share of the vendor's calls was enough; else the next run goes on.",
            ),
        ],
        tags={"layer": "raw", "source": source.name},
    )
    def materialize(
        context: dg.AssetExecutionContext,
        config: ReadConfig,
        vendors: Vendors,
        database: WarehouseResource,
    ) -> Iterator[Any]:
        with dagster_edge():
            warehouse = database.open()
            before = state.read_bookmark(warehouse, source.name, stream.name)
            options = read_options(context, config)
            with vendors.open(source, warehouse, context.run.run_id) as reader:
                table = reader.resolve(stream)
                batches = reader.read(table, before, options, now=datetime.now(UTC))
                chosen = reader.selected(table)
                load = Load(
                    chosen.load,
                    batches,
                    full_refresh=options.full_refresh,
                    facts=lambda: reader.facts(table),
                )
                shown = {"dagster/column_schema": column_schema(chosen)}
                yield dg.MaterializeResult(value=load, metadata=shown)
                if load.outcome is None:
                    raise FatalError("the load ended without an account", source=source.name)
                reader.settle(table)
                is_whole = options == ReadOptions() and reader.stopped is None
                theirs = reader.count(table) if is_whole else None
                context.log.info(_summary(table, load.outcome, reader.requests))
                if why := reader.skipped(table):
                    context.log.warning(f"{table.key} was skipped: {why}")
                stopped = reader.stopped
                swept = _sweep(context, warehouse, reader, table) if is_whole else None
            with warehouse.held() as one:
                ours = claims.live_rows(one, table)
                aside = claims.quarantined_rows(one, table)
                # A person who asks for everything anew also says that fewer rows are right.
                healthy = None if options.full_refresh else claims.last_healthy_rows(one, table)
                counts = {
                    claims.LIVE_ROWS: (healthy, ours),
                    "extracted to loaded": (load.outcome.read, load.outcome.accounted),
                    # Within what waits in quarantine nobody can say which of them the vendor counts.
                    "source to table": (
                        theirs,
                        theirs if theirs is not None and ours <= theirs <= ours + aside else ours,
                    ),
                    "loaded to quarantined": (0, load.outcome.quarantined),
                }
                claims.record_reconciliation(
                    one, table.source, table.name, run_id=context.run.run_id, hops=counts
                )
                yield from _checks(one, table, load.outcome, before, healthy, ours, aside, theirs)
            yield dg.AssetCheckResult(
                check_name="read_to_the_end",
                passed=stopped is None,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"stopped": str(stopped or "no")},
            )
            if stream.sweep is not None:
                yield _sweep_result(swept, is_whole=is_whole)

    return materialize


def _sweep_specs(key: dg.AssetKey, stream: Stream) -> list[dg.AssetCheckSpec]:
    if stream.sweep is None:
        return []
    return [
        dg.AssetCheckSpec(
            _SWEPT,
            asset=key,
            description="Keys are read in passes, and rows that the vendor no longer has are marked"
            " as deleted; a pass that finds too many of them is refused.",
        )
    ]


def _sweep(
    context: dg.AssetExecutionContext, warehouse: Warehouse, reader: OpenSource, stream: Stream
) -> Swept | PlatformError | datetime | None:
    """This run's part of the pass over the stream's keys, where one is due; else when it will be.

    What was loaded is committed, so a failure here is told by the check alone.
    """
    now = datetime.now(UTC)
    when = sweeping.due(warehouse, stream, now=now)
    if when is None or when > now:
        return when
    try:
        swept = sweeping.sweep(reader, stream, warehouse, now=now)
    except PlatformError as error:
        return error
    if swept is not None:
        context.log.info(f"{stream.key}: {swept.facts()}")
    return swept


def _sweep_result(
    what: Swept | PlatformError | datetime | None, *, is_whole: bool
) -> dg.AssetCheckResult:
    metadata: dict[str, str | int] = {}
    is_healthy = not isinstance(what, PlatformError)
    if isinstance(what, Swept):
        metadata, is_healthy = what.facts(), what.is_healthy
    elif isinstance(what, PlatformError):
        metadata = {"failed": str(what)}
    elif what is not None:
        metadata = {"next pass": f"{what:%Y-%m-%d %H:%M} UTC"}
    elif not is_whole:
        metadata = {"next pass": "not in a run that reads a part or is stopped"}
    return dg.AssetCheckResult(
        check_name=_SWEPT,
        passed=is_healthy,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )


def _description(source: Source, stream: Stream) -> str:
    lines = [
        stream.description or f"{stream.name} of {source.title}.",
        "",
        f"Read from {source.title} into `{source.name}.{stream.name}`, {stream.disposition}"
        + (f" on `{', '.join(stream.primary_key)}`" if stream.primary_key else "")
        + (f", incremental on `{stream.replication_key}`." if stream.replication_key else "."),
    ]
    return "\n".join(lines)


def _summary(stream: Stream, outcome: LoadOutcome, requests: int) -> str:
    return (
        f"{stream.key}: read {outcome.read}, loaded {outcome.loaded}, unchanged "
        f"{outcome.unchanged}, superseded {outcome.superseded}, quarantined "
        f"{outcome.quarantined}, deleted {outcome.deleted}, {requests} requests"
    )


def _checks(
    warehouse: Warehouse,
    stream: Stream,
    outcome: LoadOutcome,
    before: Bookmark | None,
    healthy_rows: int | None,
    rows_now: int,
    aside: int,
    vendor_rows: int | None,
) -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(
        check_name="records_accounted_for",
        passed=outcome.is_balanced,
        metadata={"read": outcome.read, "quarantined": outcome.quarantined},
    )
    duplicates = claims.duplicate_keys(warehouse, stream)
    yield dg.AssetCheckResult(
        check_name="primary_key_unique", passed=duplicates == 0, metadata={"duplicates": duplicates}
    )
    yield dg.AssetCheckResult(
        check_name="row_count_not_collapsed",
        passed=healthy_rows is None or not claims.has_collapsed(stream, healthy_rows, rows_now),
        metadata={
            "live rows": rows_now,
            "at the last healthy load": "none" if healthy_rows is None else healthy_rows,
            "when it is right": "materialize with full_refresh: true",
        },
    )
    old = before.value if before else None
    new = outcome.bookmark.value if outcome.bookmark else None
    yield dg.AssetCheckResult(
        check_name="bookmark_not_backwards",
        passed=old is None or new is None or new >= old,
        metadata={"before": old or "none", "now": new or "unchanged"},
    )
    yield dg.AssetCheckResult(
        check_name="source_count_agrees",
        passed=vendor_rows is None or rows_now <= vendor_rows <= rows_now + aside,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "table": rows_now,
            "quarantine": aside,
            "vendor": "not told" if vendor_rows is None else vendor_rows,
        },
    )
