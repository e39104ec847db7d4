"""Looking into the warehouse: the rows of one query, on the screen or for the next program."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from meltano_assets.commands.terminal import say, say_columns

if TYPE_CHECKING:
    import pyarrow as pa


class Shape(StrEnum):
    """How rows are printed."""

    text = "text"
    csv = "csv"
    ndjson = "ndjson"


def query_command(
    statement: Annotated[
        str, typer.Argument(metavar="SQL|-", help="One select; - reads it from standard input.")
    ],
    format: Annotated[Shape, typer.Option(help="For people or for programs.")] = Shape.text,
    limit: Annotated[
        int, typer.Option(min=0, help="Rows shown as text; 0 for all. Other formats print all.")
    ] = 50,
) -> None:
    """Print the rows of a query against the warehouse; changes nothing."""
    from meltano_assets import connections
    from meltano_assets.warehouse.read import read_batches

    text = sys.stdin.read() if statement == "-" else statement
    batches = read_batches(
        connections.warehouse(),
        text.strip().rstrip(";"),
        application_name="meltano-assets query",
    )
    if format is Shape.csv:
        _print_csv(batches)
    elif format is Shape.ndjson:
        _print_ndjson(batches)
    else:
        _print_text(batches, limit)


def _print_text(batches: Iterator[pa.RecordBatch], limit: int) -> None:
    rows: list[list[str]] = []
    headers: list[str] = []
    for batch in batches:
        headers = batch.schema.names
        wanted = batch.slice(0, limit + 1 - len(rows)) if limit else batch
        columns = [_texts(column) for column in wanted.columns]
        rows.extend([*row] for row in zip(*columns, strict=True))
        if limit and len(rows) > limit:
            break
    say_columns(headers, rows[: limit or None])
    if limit and len(rows) > limit:
        say(f"… more rows than {limit:,}; --limit 0 shows all")


def _texts(column: pa.Array) -> list[str]:
    """Values on one line each; null is shown as nothing."""
    return ["" if value is None else " ".join(str(value).split()) for value in column.to_pylist()]


def _print_csv(batches: Iterator[pa.RecordBatch]) -> None:
    import pyarrow.csv as pa_csv

    first = next(batches)
    with pa_csv.CSVWriter(sys.stdout.buffer, first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def _print_ndjson(batches: Iterator[pa.RecordBatch]) -> None:
    import orjson

    for batch in batches:
        for row in batch.to_pylist():
            sys.stdout.buffer.write(orjson.dumps(row, default=str) + b"\n")
