"""Parquet files: read from a path or standard input, and written whole or not at all."""

from __future__ import annotations

import io
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from meltano_assets.errors import FatalError
from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.types import from_arrow

#: The server waits for the first ones, and larger batches are no quicker.
_PARQUET_ROWS = 16_384
_COPY_BYTES = 4 * 1024 * 1024


def read_parquet(
    opened: io.BufferedReader, name: str
) -> tuple[dict[str, ColumnType | None], Iterator[pa.RecordBatch]]:
    """The fields' types, None for those without a value, and the records of an open file."""
    source: IO[bytes] | str = name
    if name == "-" or not isinstance(getattr(opened, "raw", None), io.FileIO):
        # Parquet is read from its end: what cannot be sought is kept in a file meanwhile.
        source = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the batches
        try:
            shutil.copyfileobj(opened, source, _COPY_BYTES)
        except (EOFError, zlib.error):
            raise FatalError(f"{name}: the compressed file is damaged or cut off") from None
        source.seek(0)
    if name != "-":
        opened.close()
    try:
        parquet = pa_parquet.ParquetFile(source)
    except (pa.ArrowException, OSError):
        if not isinstance(source, str):
            source.close()
        raise FatalError(f"{name} is damaged, cut off or no Parquet file") from None
    kinds = {
        field.name: None if pa.types.is_null(field.type) else from_arrow(field.type)
        for field in parquet.schema_arrow
    }

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from parquet.iter_batches(_PARQUET_ROWS)
        except pa.ArrowNotImplementedError:
            raise FatalError(
                f"{name} has a column in a form that cannot be read here",
                hint="write it with another type or compression",
            ) from None
        except (pa.ArrowInvalid, OSError):
            raise FatalError(f"{name} is damaged or cut off") from None
        finally:
            parquet.close(force=True)

    return kinds, batches()


def write_parquet(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Write records to a Parquet file, whole or not at all; returns how many there were.

    The first batch tells the columns. A later one may lack some of them; a field that it has beyond
    them is an error, since a Parquet file cannot take it any more.
    """
    unfinished = path.with_name(path.name + ".part")
    rows = 0
    writer: pa_parquet.ParquetWriter | None = None
    try:
        for batch in batches:
            if writer is None:
                writer = pa_parquet.ParquetWriter(unfinished, batch.schema, compression="zstd")
            writer.write_batch(_aligned(batch, writer.schema, path.name))
            rows += batch.num_rows
        if writer is None:
            writer = pa_parquet.ParquetWriter(unfinished, pa.schema([]))
        writer.close()
        unfinished.replace(path)
    finally:
        if writer is not None:
            writer.close()
        unfinished.unlink(missing_ok=True)
    return rows


def _aligned(batch: pa.RecordBatch, schema: pa.Schema, name: str) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    extra = set(batch.schema.names) - set(schema.names)
    if extra:
        raise FatalError(
            f"{name}: fields that the first records did not have: {', '.join(sorted(extra))}",
            hint="declare the stream's columns, or load into the warehouse",
        )
    arrays = []
    for field in schema:
        place = batch.schema.get_field_index(field.name)
        try:
            arrays.append(
                pa.nulls(batch.num_rows, field.type)
                if place < 0
                else batch.column(place).cast(field.type)
            )
        except pa.ArrowInvalid:
            raise FatalError(f"{name}: field {field.name} changes its type") from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
