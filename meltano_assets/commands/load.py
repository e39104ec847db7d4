"""Loading files and the output of Singer taps."""

from __future__ import annotations

import gc
import sys
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from meltano_assets import connections, environment
from meltano_assets.commands.terminal import Wait, err, nearest, print_outcome
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    from meltano_assets.streams import Disposition, LoadOutcome


class FileFormat(StrEnum):
    """What a file holds."""

    auto = "auto"
    csv = "csv"
    ndjson = "ndjson"
    parquet = "parquet"
    singer = "singer"


class Into(Enum):
    """How records meet the rows that are there."""

    upsert = "upsert"
    append = "append"
    replace = "replace"
    scd2 = "scd2"


class Policy(StrEnum):
    """What happens to a field or a value that the table has no room for."""

    evolve = "evolve"
    freeze = "freeze"
    quarantine = "quarantine"


def load_file(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Plain or gzip; - for stdin.")],
    table: Annotated[
        str | None, typer.Option(metavar="SCHEMA.TABLE", help="Where the records go.")
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Singer: where the tables go, one for each stream."),
    ] = None,
    primary_key: Annotated[
        list[str] | None, typer.Option(help="Key column; repeat or separate by commas.")
    ] = None,
    replication_key: Annotated[
        str | None, typer.Option(help="Column that orders changes: the newest wins.")
    ] = None,
    disposition: Annotated[
        Into | None,
        typer.Option(
            help="Default: upsert with a primary key, else append; scd2 keeps all versions."
        ),
    ] = None,
    policy: Annotated[
        Policy,
        typer.Option(
            help="A new field or wider value: evolve makes room, freeze fails, "
            "quarantine sets the record aside."
        ),
    ] = Policy.evolve,
    full_refresh: Annotated[
        bool,
        typer.Option(
            "--full-refresh",
            help="The file holds everything: replaces the table; scd2: ends what is gone.",
        ),
    ] = False,
    format: Annotated[FileFormat, typer.Option(help="Told by the content.")] = FileFormat.auto,
    delimiter: Annotated[
        str | None,
        typer.Option(metavar="SIGN", help="CSV: what separates values. Told by the header."),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What a CSV or NDJSON is written in, if not UTF-8."),
    ] = None,
    singer_metadata: Annotated[
        bool, typer.Option("--singer-metadata", help="Singer: add the columns _sdc_*.")
    ] = False,
    hard_delete: Annotated[
        bool,
        typer.Option(
            "--hard-delete",
            help="Singer: old versions and deleted records are removed; else they get _deleted_at.",
        ),
    ] = False,
    wait: Wait = 600,
) -> None:
    """Load a CSV, NDJSON or Parquet file, or what a Singer tap prints, into tables.

    Tables are made and widened as needed. Every record is accounted for: read = loaded + unchanged +
    superseded + quarantined. Singer messages go to --schema NAME instead of --table: keys come from
    SCHEMA, and each STATE is printed once the records before it are committed.
    """
    from meltano_assets.warehouse.singer import is_singer

    gc.enable()  # everything is imported
    is_messages = format is FileFormat.singer or (
        format is FileFormat.auto and (schema is not None or is_singer(file))
    )
    options: dict[str, object] = {"schema_policy": policy.value}
    if is_messages:
        ours = {
            "--table": table,
            "--primary-key": primary_key,
            "--replication-key": replication_key,
            "--full-refresh": full_refresh,
            "--delimiter": delimiter,
            "--encoding": encoding,
        }
        for option, value in ours.items():
            if value:
                raise FatalError(
                    f"{option} is not for Singer messages: their SCHEMA says it",
                    hint="name --schema, or --format ndjson to load the lines as they are",
                )
        _load_singer(
            file,
            schema,
            disposition=disposition,
            options=options,
            add_metadata=singer_metadata,
            is_hard_delete=hard_delete,
            wait=wait,
        )
        return
    for option, value in {
        "--schema": schema, "--singer-metadata": singer_metadata, "--hard-delete": hard_delete
    }.items():  # fmt: skip
        if value:
            raise FatalError(f"{option} is for Singer messages", hint="add --format singer")
    _load_records(
        file,
        table,
        format,
        keys=tuple(
            dict.fromkeys(key for text in primary_key or [] for key in text.split(",") if key)
        ),
        replication_key=replication_key,
        disposition=disposition,
        options=options,
        full_refresh=full_refresh,
        delimiter=delimiter,
        encoding=encoding,
        wait=wait,
    )


def _load_records(
    file: str,
    table: str | None,
    file_format: FileFormat,
    *,
    keys: tuple[str, ...],
    replication_key: str | None,
    disposition: Into | None,
    options: dict[str, object],
    full_refresh: bool,
    delimiter: str | None,
    encoding: str | None,
    wait: float,
) -> None:
    from meltano_assets.streams import Batch, Stream
    from meltano_assets.warehouse.evolution import IS_WHOLE, OBSERVED
    from meltano_assets.warehouse.files import read_file, tells_its_columns
    from meltano_assets.warehouse.load import load
    from meltano_assets.warehouse.records import INFERRED

    if table is None:
        raise FatalError("Missing option '--table'", hint="write --table schema.table")
    place, dot, name = table.partition(".")
    if not (place and dot and name):
        raise FatalError(f"--table {table!r} names no schema", hint="write schema.table")
    how = disposition or (Into.upsert if keys else Into.append)
    if how in (Into.upsert, Into.scd2) and not keys:
        raise FatalError(
            f"{how.value} needs --primary-key", hint="name it, or use --disposition append"
        )
    if delimiter is not None:
        delimiter = delimiter.replace("\\t", "\t")
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
            raise FatalError(
                f"--delimiter {delimiter!r} is not one sign", hint=r"such as ';', '|' or '\t'"
            )
    is_whole = tells_its_columns(file, cast(Any, file_format.value))
    columns, batches = read_file(
        file, cast(Any, file_format.value), delimiter=delimiter, encoding=encoding
    )
    known = {column.name: column.name for column in columns}
    known |= {column.vendor_field: column.name for column in columns}
    for wanted in (*keys, *filter(None, [replication_key])):
        if wanted not in known:
            raise FatalError(f"{file} has no column {wanted!r}." + nearest(wanted, list(known)))
    stream = Stream(
        source=place,
        name=name,
        columns=columns,
        primary_key=tuple(known[key] for key in keys),
        replication_key=known[replication_key] if replication_key else None,
        disposition=how.value,
        options={INFERRED: True, OBSERVED: True, IS_WHOLE: is_whole, **options},
    )
    with err.status(f"{stream.key} ...") as status:
        outcome = load(
            connections.warehouse(),
            stream,
            (Batch(records) for records in batches),
            environment=environment.current_environment(),
            full_refresh=full_refresh,
            lock_wait_seconds=wait,
            on_progress=lambda so_far: status.update(f"{stream.key}: {so_far.read:,} records"),
        )
    print_outcome(stream.key, outcome)
    if outcome.cleaned.get("invalid_utf8") and encoding is None:
        err.print("  not UTF-8? --encoding cp1252 (or another) reads such a file", soft_wrap=True)


def _load_singer(
    file: str,
    schema: str | None,
    *,
    disposition: Into | None,
    options: dict[str, object],
    add_metadata: bool,
    is_hard_delete: bool,
    wait: float,
) -> None:
    from meltano_assets.warehouse.singer import SingerTarget, open_lines

    if not schema:
        raise FatalError(
            f"{'standard input' if file == '-' else file} holds Singer messages, which need --schema",
            hint="name the schema of the tables",
        )
    if disposition is Into.replace:
        raise FatalError(
            "Singer messages are not loaded with --disposition replace",
            hint="a tap that sends everything says so by ACTIVATE_VERSION",
        )

    def hand_on(state: str) -> None:
        sys.stdout.write(state + "\n")
        sys.stdout.flush()

    with err.status(f"{schema} ...") as status:

        def show(so_far: LoadOutcome) -> None:
            status.update(f"{so_far.table}: {so_far.read:,} records")

        # Standard output belongs to STATE; progress and the account of rows go to standard error.
        target = SingerTarget(
            connections.warehouse(),
            schema,
            on_state=hand_on,
            on_progress=show,
            add_metadata=add_metadata,
            is_hard_delete=is_hard_delete,
            disposition=cast("Disposition", (disposition or Into.upsert).value),
            options=options,
            lock_wait_seconds=wait,
            environment=environment.current_environment(),
        )
        outcomes = target.run(open_lines(file))
    for outcome in outcomes:
        print_outcome(outcome.table, outcome, to=err)
