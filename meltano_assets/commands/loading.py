"""Reading and loading: extract, load, bookmarks, quarantine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meltano_assets import connections, environment
from meltano_assets.commands.terminal import (
    SuggestingGroup,
    err,
    find_streams,
    nearest,
    out,
    parse_time,
    print_outcome,
)
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    from meltano_assets.streams import LoadOutcome, Stream

bookmark_app = typer.Typer(
    cls=SuggestingGroup, help="How far each stream is loaded.", no_args_is_help=True
)
quarantine_app = typer.Typer(
    cls=SuggestingGroup, help="Records that could not be stored.", no_args_is_help=True
)


class Output(StrEnum):
    """Where extracted records go."""

    db = "db"
    file = "file"


def extract(
    name: Annotated[str, typer.Argument(metavar="SOURCE[.STREAM]")],
    start: Annotated[str | None, typer.Option(help="Read from this ISO time on.")] = None,
    end: Annotated[str | None, typer.Option(help="Read up to this ISO time.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Read the last N days.")] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Read everything; forget the bookmark.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after N records.")] = None,
    output: Annotated[Output, typer.Option(help="Load the warehouse, or write files.")] = Output.db,
    folder: Annotated[
        Path, typer.Option(help="Folder for --output file; one Parquet file a stream.")
    ] = Path(),
) -> None:
    """Read a source, or one stream of it, into the warehouse or into Parquet files."""
    from meltano_assets.streams import ReadOptions

    source, streams = find_streams(name)
    if days is not None and start is not None:
        raise FatalError("--days and --start exclude each other", hint="leave one out")
    since = datetime.now(UTC) - timedelta(days=days) if days else parse_time("--start", start)
    options = ReadOptions(
        full_refresh=full_refresh, start=since, end=parse_time("--end", end), limit=limit
    )
    with source.connect(connections.source_settings(source)) as reader:
        for stream in streams:
            if output is Output.file:
                path, rows = _extract_to_file(reader, stream, options, folder)
                out.print(f"{stream.key}: {rows} records in {path}")
                continue
            print_outcome(stream.key, _extract_to_warehouse(reader, stream, options))


def _extract_to_warehouse(reader: Any, stream: Stream, options: Any) -> LoadOutcome:
    from meltano_assets.warehouse import state
    from meltano_assets.warehouse.load import load

    warehouse = connections.warehouse()
    bookmark = state.read_bookmark(warehouse, stream.source, stream.name)
    batches = reader.read(stream, bookmark, options, now=datetime.now(UTC))
    with err.status(f"{stream.key} ...") as status:
        return load(
            warehouse,
            stream,
            batches,
            environment=environment.current_environment(),
            full_refresh=options.full_refresh,
            on_progress=lambda so_far: status.update(f"{stream.key}: {so_far.read:,} records"),
        )


def _extract_to_file(reader: Any, stream: Stream, options: Any, folder: Path) -> tuple[Path, int]:
    from meltano_assets.warehouse.files import write_parquet

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stream.source}.{stream.name}.parquet"
    batches = reader.read(stream, None, options, now=datetime.now(UTC))
    return path, write_parquet(path, (batch.records for batch in batches))


@bookmark_app.command("show")
def bookmark_show(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE[.STREAM]]")] = None,
) -> None:
    """Show how far each stream is committed."""
    from rich.table import Table

    from meltano_assets.sources import SOURCES
    from meltano_assets.warehouse import state

    streams = find_streams(name)[1] if name else [stream for s in SOURCES for stream in s.streams]
    warehouse = connections.warehouse()
    table = Table("stream", "bookmark", "cursor", box=None)
    for stream in streams:
        bookmark = state.read_bookmark(warehouse, stream.source, stream.name)
        value = (bookmark.value if bookmark else None) or "never loaded"
        table.add_row(stream.key, value, (bookmark.cursor if bookmark else None) or "")
    out.print(table)


@bookmark_app.command("set")
def bookmark_set(
    name: Annotated[str, typer.Argument(metavar="SOURCE.STREAM")],
    value: Annotated[str, typer.Argument(help="The replication key to begin again from.")],
) -> None:
    """Begin the next read of a stream from VALUE."""
    from meltano_assets.streams import Bookmark
    from meltano_assets.warehouse import state

    _, streams = find_streams(name)
    if len(streams) != 1:
        raise FatalError(f"{name} is a source", hint="name one stream of it")
    state.set_bookmark(
        connections.warehouse(), streams[0].source, streams[0].name, Bookmark(value=value)
    )
    out.print(f"{streams[0].key} continues from {value}")


@bookmark_app.command("rewind")
def bookmark_rewind(
    name: Annotated[str, typer.Argument(metavar="SOURCE.STREAM")],
) -> None:
    """Go back to the bookmark before the last one."""
    from meltano_assets.warehouse import state

    _, streams = find_streams(name)
    if len(streams) != 1:
        raise FatalError(f"{name} is a source", hint="name one stream of it")
    bookmark = state.rewind_bookmark(connections.warehouse(), streams[0].source, streams[0].name)
    out.print(f"{streams[0].key} continues from {bookmark.value if bookmark else 'the beginning'}")


class FileFormat(StrEnum):
    """What a file holds."""

    auto = "auto"
    csv = "csv"
    ndjson = "ndjson"
    parquet = "parquet"


class Into(Enum):
    """How records meet the rows that are there."""

    upsert = "upsert"
    append = "append"
    replace = "replace"


def load_file(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Plain or gzip; - for stdin.")],
    table: Annotated[str, typer.Option(metavar="SCHEMA.TABLE", help="Where the records go.")],
    primary_key: Annotated[
        list[str] | None, typer.Option(help="Key column; repeat or separate by commas.")
    ] = None,
    replication_key: Annotated[
        str | None, typer.Option(help="Column that orders changes: the newest wins.")
    ] = None,
    disposition: Annotated[
        Into | None, typer.Option(help="Default: upsert with a primary key, else append.")
    ] = None,
    format: Annotated[FileFormat, typer.Option(help="Told by the content.")] = FileFormat.auto,
) -> None:
    """Load a CSV, NDJSON or Parquet file into a table; makes and widens the table as needed."""
    from meltano_assets.streams import Batch, Stream
    from meltano_assets.warehouse.files import read_file
    from meltano_assets.warehouse.load import load

    schema, dot, name = table.partition(".")
    if not (schema and dot and name):
        raise FatalError(f"--table {table!r} names no schema", hint="write schema.table")
    keys = tuple(key for text in primary_key or [] for key in text.split(",") if key)
    how = disposition or (Into.upsert if keys else Into.append)
    if how is Into.upsert and not keys:
        raise FatalError("upsert needs --primary-key", hint="name it, or use --disposition append")
    columns, batches = read_file(file, format.value)
    known = [column.name for column in columns]
    for wanted in (*keys, *filter(None, [replication_key])):
        if wanted not in known:
            raise FatalError(f"{file} has no column {wanted!r}." + nearest(wanted, known))
    stream = Stream(
        source=schema,
        name=name,
        columns=columns,
        primary_key=keys,
        replication_key=replication_key,
        disposition=how.value,
    )
    with err.status(f"{table} ...") as status:
        outcome = load(
            connections.warehouse(),
            stream,
            (Batch(records) for records in batches),
            environment=environment.current_environment(),
            on_progress=lambda so_far: status.update(f"{table}: {so_far.read:,} records"),
        )
    print_outcome(table, outcome)


@quarantine_app.command("show")
def quarantine_show(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE[.STREAM]]")] = None,
) -> None:
    """How many records of each stream wait, and why; never their values."""
    from rich.table import Table

    from meltano_assets.warehouse.quarantine import reasons

    warehouse = connections.warehouse()
    table = Table("stream", "reason", "column", "records", box=None)
    for stream in streams_of(name):
        for reason, column, count in reasons(warehouse, stream):
            table.add_row(stream.key, reason, column or "", f"{count:,}")
    out.print(table if table.row_count else "Nothing waits in quarantine.")


@quarantine_app.command("replay")
def quarantine_replay(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE[.STREAM]]")] = None,
) -> None:
    """Load the waiting records again, after the cause was mended."""
    from meltano_assets.warehouse.replay import replay

    replayed = 0
    for stream in streams_of(name):
        outcome = replay(
            connections.warehouse(), stream, environment=environment.current_environment()
        )
        if outcome is not None:
            replayed += 1
            print_outcome(stream.key, outcome)
    if not replayed:
        out.print("Nothing waits in quarantine.")


def streams_of(name: str | None) -> list[Stream]:
    """The streams that a user named; all of them by default."""
    from meltano_assets.sources import SOURCES

    return find_streams(name)[1] if name else [each for s in SOURCES for each in s.streams]
