"""Reading and loading: extract, load, bookmarks, quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from meltano_assets import connections, environment
from meltano_assets.commands.sweeping import sweep_when_due
from meltano_assets.commands.terminal import (
    SuggestingGroup,
    Wait,
    err,
    find_streams,
    nearest,
    parse_time,
    print_outcome,
    say,
    say_columns,
)
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    import pyarrow as pa

    from meltano_assets.extraction import OpenSource
    from meltano_assets.streams import LoadOutcome, Stream

bookmark_app = typer.Typer(
    cls=SuggestingGroup,
    help="How far each stream is loaded.",
    epilog="Example: meltano-assets bookmark set salesforce.leads 2026-01-01",
    no_args_is_help=True,
)
quarantine_app = typer.Typer(
    cls=SuggestingGroup,
    help="Records that could not be stored.",
    epilog="Example: meltano-assets quarantine show salesforce.leads",
    no_args_is_help=True,
)


class Output(StrEnum):
    """Where extracted records go."""

    db = "db"
    file = "file"


class Written(StrEnum):
    """What an extracted file holds."""

    parquet = "parquet"
    csv = "csv"


def extract(
    name: Annotated[
        str, typer.Argument(metavar="SOURCE[.STREAM]", help="Such as zendesk or salesforce.leads.")
    ],
    start: Annotated[str | None, typer.Option(help="Read from this ISO time on.")] = None,
    end: Annotated[str | None, typer.Option(help="Read up to this ISO time.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Read the last N days.")] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Read everything; forget the bookmark.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after N records of each stream.")
    ] = None,
    output: Annotated[Output, typer.Option(help="Load the warehouse, or write files.")] = Output.db,
    folder: Annotated[
        Path | None, typer.Option(help="Where --output file writes; default: the current folder.")
    ] = None,
    format: Annotated[
        Written | None, typer.Option(help="What --output file writes; default: parquet.")
    ] = None,
    wait: Wait = 600,
) -> None:
    """Read a source, or one stream of it, into the warehouse or into files.

    Reads what is new since the last time; files hold everything that the options ask for. One
    file for each stream: SOURCE.STREAM.parquet or .csv.
    """
    from meltano_assets.extraction import open_source
    from meltano_assets.streams import ReadOptions

    source, streams = find_streams(name)
    if output is Output.db and (folder is not None or format is not None):
        raise FatalError(
            "--folder and --format say how files are written", hint="add --output file"
        )
    if days is not None and start is not None:
        raise FatalError("--days and --start exclude each other", hint="leave one out")
    since = datetime.now(UTC) - timedelta(days=days) if days else parse_time("--start", start)
    until = parse_time("--end", end)
    if since is not None and until is not None and since >= until:
        raise FatalError(
            f"nothing lies between {since:%Y-%m-%d %H:%M} and {until:%Y-%m-%d %H:%M}",
            hint="the start must be before --end",
        )
    options = ReadOptions(full_refresh=full_refresh, start=since, end=until, limit=limit)
    warehouse = connections.warehouse() if output is Output.db else None
    with open_source(
        source,
        connections.source_settings(source),
        warehouse=warehouse,
        rules=connections.source_rules(source),
        is_sandbox=connections.is_sandbox(source.variables),
    ) as reader:
        for stream in map(reader.resolve, streams):
            if output is Output.file:
                path, rows = _extract_to_file(
                    reader, stream, options, folder or Path(), format or Written.parquet
                )
                say(f"{stream.key}: {rows:,} records in {path}")
                continue
            print_outcome(stream.key, extract_to_warehouse(reader, stream, options, wait=wait))


def extract_to_warehouse(
    reader: OpenSource, stream: Stream, options: Any, *, wait: float = 600
) -> LoadOutcome:
    """Read one stream from its bookmark, as the options ask, into its raw table."""
    from meltano_assets.streams import ReadOptions
    from meltano_assets.warehouse import state
    from meltano_assets.warehouse.load import load

    warehouse = connections.warehouse()
    bookmark = state.read_bookmark(warehouse, stream.source, stream.name)
    batches = reader.read(stream, bookmark, options, now=datetime.now(UTC))
    with err.status(f"{stream.key} ...") as status:
        outcome = load(
            warehouse,
            reader.selected(stream).load,
            batches,
            environment=environment.current_environment(),
            full_refresh=options.full_refresh,
            lock_wait_seconds=wait,
            on_progress=lambda so_far: status.update(f"{stream.key}: {so_far.read:,} records"),
        )
    reader.settle(stream)
    if options == ReadOptions():
        sweep_when_due(reader, stream)
    if why := reader.skipped(stream):
        err.print(f"[yellow]skipped:[/] {escape(why)}", soft_wrap=True)
    if reader.stopped is not None:
        err.print(f"[yellow]stopped:[/] {escape(str(reader.stopped))}", soft_wrap=True)
    return outcome


def _extract_to_file(
    reader: Any, stream: Stream, options: Any, folder: Path, written: Written
) -> tuple[Path, int]:
    from meltano_assets.sources.base import no_records
    from meltano_assets.warehouse.parquet_files import write_parquet

    path = folder / f"{stream.source}.{stream.name}.{written.value}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with err.status(f"{stream.key} ...") as status:

            def records() -> Iterator[pa.RecordBatch]:
                rows = 0
                for batch in reader.read(stream, None, options, now=datetime.now(UTC)):
                    yield batch.records
                    rows += batch.records.num_rows
                    status.update(f"{stream.key}: {rows:,} records")
                if not rows:
                    # The columns alone, so that an empty file still says what it would hold.
                    yield no_records(reader.selected(stream).load.columns)

            write = write_parquet if written is Written.parquet else _write_csv
            return path, write(path, records())
    except OSError as error:
        raise FatalError(
            f"{path} cannot be written: {error.strerror}",
            source=stream.source,
            stream=stream.name,
            hint="name another --folder",
        ) from None


def _write_csv(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Write records to a CSV file, whole or not at all; an empty text is "", nothing is null."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    unfinished = path.with_name(path.name + ".part")
    rows = 0
    names: list[str] = []
    try:
        with unfinished.open("wb") as file:
            for batch in batches:
                options = pa_csv.WriteOptions(include_header=not names)
                names = names or batch.schema.names
                if extra := set(batch.schema.names) - set(names):
                    raise FatalError(
                        f"{path.name}: fields that the first records did not have: "
                        + ", ".join(sorted(extra)),
                        hint="write parquet, or load into the warehouse",
                    )
                columns = [
                    batch.column(name)
                    if name in batch.schema.names
                    else pa.nulls(batch.num_rows, pa.string())
                    for name in names
                ]
                aligned = pa.RecordBatch.from_arrays(columns, names=names)
                pa_csv.write_csv(aligned, file, options)
                rows += batch.num_rows
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


@bookmark_app.command("show")
def bookmark_show(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE[.STREAM]]")] = None,
) -> None:
    """Show how far each stream is committed."""
    from meltano_assets.warehouse import state

    warehouse = connections.warehouse()
    rows = []
    for stream in _declared_streams(name):
        bookmark = state.read_bookmark(warehouse, stream.source, stream.name)
        value = (bookmark.value if bookmark else None) or _without_bookmark(stream)
        rows.append((stream.key, value, (bookmark.cursor if bookmark else None) or ""))
    say_columns(("stream", "bookmark", "cursor"), rows)


def _without_bookmark(stream: Stream) -> str:
    return "never loaded" if stream.replication_key else "read whole each time"


@bookmark_app.command("set")
def bookmark_set(
    name: Annotated[str, typer.Argument(metavar="SOURCE.STREAM")],
    value: Annotated[
        str, typer.Argument(metavar="TIME", help="Such as 2026-01-31 or 2026-01-31T12:00Z.")
    ],
) -> None:
    """Begin the next read of a stream from TIME."""
    from meltano_assets.streams import Bookmark
    from meltano_assets.warehouse import state

    stream = _one_stream(name)
    moment = parse_time("TIME", value)
    assert moment is not None
    state.set_bookmark(
        connections.warehouse(), stream.source, stream.name, Bookmark(value=moment.isoformat())
    )
    say(f"{stream.key} continues from {moment.isoformat()}")


@bookmark_app.command("rewind")
def bookmark_rewind(
    name: Annotated[str, typer.Argument(metavar="SOURCE.STREAM")],
    before: Annotated[
        str | None, typer.Option(help="To what held before this ISO time, not just one step.")
    ] = None,
) -> None:
    """Go back to the bookmark before the last one."""
    from meltano_assets.warehouse import state

    stream = _one_stream(name)
    bookmark = state.rewind_bookmark(
        connections.warehouse(),
        stream.source,
        stream.name,
        before=parse_time("--before", before),
    )
    say(f"{stream.key} continues from {bookmark.value if bookmark else 'the beginning'}")


def _one_stream(name: str) -> Stream:
    """The incremental stream that a user named."""
    _, streams = find_streams(name)
    if len(streams) != 1:
        names = ", ".join(stream.key for stream in streams)
        raise FatalError(f"{name} is a source", hint=f"name one stream of it: {names}")
    if streams[0].replication_key is None:
        raise FatalError("has no bookmark: it is read whole each time", stream=name)
    return streams[0]


def _declared_streams(name: str | None) -> list[Stream]:
    """The streams that a user named; all of them by default."""
    from meltano_assets.sources.registry import registered

    return find_streams(name)[1] if name else [each for s in registered() for each in s.streams]


Waiting = Annotated[
    str | None, typer.Argument(metavar="[SOURCE[.STREAM]|SCHEMA.TABLE]", help="All by default.")
]


@quarantine_app.command("show")
def quarantine_show(name: Waiting = None) -> None:
    """How many records of each stream wait, and why; never their values."""
    from meltano_assets.warehouse.quarantine import reasons

    warehouse = connections.warehouse()
    rows = [
        (stream.key, reason, column or "", f"{count:,}")
        for stream in _streams_that_wait(name)
        for reason, column, count in reasons(warehouse, stream)
    ]
    if rows:
        say_columns(("stream", "reason", "column", "records"), rows)
    else:
        say("Nothing waits in quarantine.")


@quarantine_app.command("replay")
def quarantine_replay(name: Waiting = None) -> None:
    """Load the waiting records again, after the cause was mended."""
    from meltano_assets.warehouse.quarantine import reasons
    from meltano_assets.warehouse.replay import replay

    warehouse = connections.warehouse()
    replayed = 0
    for stream in _streams_that_wait(name):
        outcome = replay(warehouse, stream, environment=environment.current_environment())
        if outcome is None:
            continue
        replayed += 1
        print_outcome(stream.key, outcome)
        left = sum(count for _, _, count in reasons(warehouse, stream)) - outcome.quarantined
        if left:
            say(f"  {left:,} are no records at all and stay where they are")
    if not replayed:
        say("Nothing waits in quarantine.")


def _streams_that_wait(name: str | None) -> list[Stream]:
    """The declared streams and the tables of `load` that a user named, or all of them."""
    from meltano_assets.sources.registry import registered

    schema, _, table = (name or "").partition(".")
    if name is not None and schema in {source.name for source in registered()}:
        return find_streams(name)[1]
    loaded = _loaded_tables()
    if name is not None:
        if (schema, table) not in loaded:
            known = [f"{schema}.{table}" for schema, table in loaded]
            known += [stream.key for stream in _declared_streams(None)]
            raise FatalError(f"nothing was ever loaded into {name!r}." + nearest(name, known))
        return _as_streams([(schema, table)])
    declared = _declared_streams(None)
    keys = {(stream.source, stream.name) for stream in declared}
    return declared + _as_streams([each for each in loaded if each not in keys])


def _loaded_tables() -> list[tuple[str, str]]:
    """Schema and table of everything that was ever loaded."""
    with connections.warehouse().connect() as connection:
        row = connection.execute("select to_regclass('meltano.load_log') is not null").fetchone()
        if row is None or not row[0]:
            return []
        found = connection.execute(
            "select distinct source, stream from meltano.load_log order by 1, 2"
        ).fetchall()
    return [(str(schema), str(table)) for schema, table in found]


def _as_streams(tables: list[tuple[str, str]]) -> list[Stream]:
    """Tables of `load` as streams: columns and key are what the table has."""
    from meltano_assets.streams import HISTORY_COLUMNS, LOADER_COLUMNS, Column, Stream
    from meltano_assets.warehouse.schema import TableName, find

    streams = []
    with connections.warehouse().connect() as connection:
        for schema, name in tables:
            table = find(connection, TableName(schema, name))
            if table is None:
                continue
            is_history = "_valid_from" in table.primary_key
            columns = [
                Column(column, kind)
                for column, kind in table.columns.items()
                if column not in (*LOADER_COLUMNS, *(HISTORY_COLUMNS if is_history else ()))
            ]
            keys = tuple(key for key in table.primary_key if not is_history or key != "_valid_from")
            streams.append(
                Stream(
                    source=schema,
                    name=name,
                    columns=tuple(columns),
                    primary_key=keys,
                    disposition="scd2" if is_history else "upsert" if keys else "append",
                )
            )
    return streams
