"""Parquet files: read from a path or standard input, and written whole or not at all."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet

from meltano_assets.errors import FatalError
from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.names import unique_names
from meltano_assets.warehouse.time_values import interval_text
from meltano_assets.warehouse.types import from_arrow

#: The server waits for the first ones, and larger batches are no quicker.
_PARQUET_ROWS = 16_384
_COPY_BYTES = 4 * 1024 * 1024

_PARTS = struct.Struct("<III")
_PERIOD = "pandas.period"


def read_parquet(
    opened: io.BufferedReader, name: str
) -> tuple[dict[str, ColumnType | None], Iterator[pa.RecordBatch]]:
    """The fields' types, None for those without a value, and the records of an open file."""
    kept: IO[bytes] | None = None
    if name == "-" or not isinstance(getattr(opened, "raw", None), io.FileIO):
        # Parquet is read from its end: what cannot be sought is kept in a file meanwhile.
        kept = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the batches
        try:
            shutil.copyfileobj(opened, kept, _COPY_BYTES)
        except (EOFError, zlib.error):
            raise FatalError(f"{name}: the compressed file is damaged or cut off") from None
        kept.flush()
    if name != "-":
        opened.close()
    with _told(name):
        file = _File(name if kept is None else kept)
    kinds = {
        column: None if pa.types.is_null(kind) else from_arrow(kind)
        for column, kind in file.types.items()
    }

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            with _told(name):
                yield from file.batches()
        finally:
            file.close()
            if kept is not None:
                kept.close()

    return kinds, batches()


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowNotImplementedError:
        raise FatalError(
            f"{name} has a column in a form that cannot be read here",
            hint="write it with another type or compression",
        ) from None
    except (pa.ArrowException, OSError):
        raise FatalError(f"{name} is damaged, cut off or no Parquet file") from None


class _File:
    """An open file; ``types`` are those of its columns, each with a name of its own."""

    def __init__(self, source: str | IO[bytes]) -> None:
        #: Times of 96 bits reach further than nanoseconds in 64, which most programs make of them.
        self._parquet = pa_parquet.ParquetFile(
            source, coerce_int96_timestamp_unit="us", page_checksum_verification=True
        )
        schema, columns = self._parquet.schema_arrow, self._parquet.schema
        self._long_times: list[str] = []
        self._spans: list[str] = []
        #: pandas' periods, and how long one of each column is.
        self._periods: dict[str, str] = {}
        self._fine: pa_parquet.ParquetFile | None = None
        leaf = 0
        for field in schema:
            leaves = [columns.column(leaf + n) for n in range(_leaves(field.type))]
            leaf += len(leaves)
            is_alone = schema.names.count(field.name) == 1
            if is_alone and any(one.physical_type == "INT96" for one in leaves):
                self._long_times.append(field.name)
            is_span = pa.types.is_fixed_size_binary(field.type)
            if is_alone and is_span and leaves[0].converted_type == "INTERVAL":
                self._spans.append(field.name)
            if is_alone and (frequency := _frequency(field)) is not None:
                self._periods[field.name] = frequency
        self._names = unique_names(schema.names)
        self.types = dict(zip(self._names, schema.types, strict=True))
        self.types |= dict.fromkeys((*self._spans, *self._periods), pa.string())
        # A file without a name is opened once more where the system lets us.
        again = Path(source if isinstance(source, str) else f"/proc/self/fd/{source.fileno()}")
        if self._long_times and again.exists():
            self._fine = pa_parquet.ParquetFile(again)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The records."""
        fine = None
        if self._fine is not None:
            fine = self._fine.iter_batches(_PARQUET_ROWS, columns=self._long_times)
        for batch in self._parquet.iter_batches(_PARQUET_ROWS):
            if fine is not None:
                batch = _with_nanoseconds(batch, next(fine))  # noqa: PLW2901
            for span in self._spans:
                place = batch.schema.get_field_index(span)
                batch = batch.set_column(place, span, _texts(batch.column(place)))  # noqa: PLW2901
            for name, frequency in self._periods.items():
                place = batch.schema.get_field_index(name)
                texts = _period_texts(batch.column(place), frequency)
                batch = batch.set_column(place, name, texts)  # noqa: PLW2901
            yield batch.rename_columns(self._names)

    def close(self) -> None:
        """Close the file."""
        self._parquet.close(force=True)
        if self._fine is not None:
            self._fine.close(force=True)


def _leaves(kind: pa.DataType) -> int:
    """How many columns of the file a field takes."""
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves(kind.storage_type)
    if not pa.types.is_nested(kind):
        return 1
    return sum(_leaves(kind.field(place).type) for place in range(kind.num_fields))


def _with_nanoseconds(batch: pa.RecordBatch, fine: pa.RecordBatch) -> pa.RecordBatch:
    """The times to the nanosecond, where all of a column are within the years that it reaches."""
    for name in fine.schema.names:
        place = batch.schema.get_field_index(name)
        coarse, exact = batch.column(place), fine.column(name)
        if exact.cast(coarse.type, safe=False).equals(coarse):
            batch = batch.set_column(place, name, exact)
    return batch


def _texts(spans: pa.Array) -> pa.Array:
    """Parquet's intervals, which are months, days and milliseconds, as text."""
    return pa.array([None if one is None else _text(one) for one in spans.to_pylist()], pa.string())


def _text(span: bytes) -> str:
    months, days, milliseconds = _PARTS.unpack(span)
    return interval_text(months, days, milliseconds * 10**6)


def _frequency(field: pa.Field) -> str | None:
    """How long a period of pandas is, by the letters that pandas has for it; None for anything else.

    Once pandas is imported, Arrow knows the type; before, it is a number with a note.
    """
    if isinstance(field.type, pa.BaseExtensionType):
        is_period = field.type.extension_name == _PERIOD
        return str(getattr(field.type, "freq", "")) or None if is_period else None
    note = field.metadata or {}
    if note.get(b"ARROW:extension:name") != _PERIOD.encode():
        return None
    try:
        told = json.loads(note.get(b"ARROW:extension:metadata", b""))
    except ValueError:
        return None
    frequency = told.get("freq") if isinstance(told, dict) else None
    return frequency if isinstance(frequency, str) else None


def _period_texts(periods: pa.Array, frequency: str) -> pa.Array:
    """Periods as people write them, such as 2026-01: the file has how many came since 1970."""
    import pandas as pd  # slow to import, seldom needed

    if isinstance(periods, pa.ExtensionArray):
        periods = periods.storage
    there = periods.is_valid().to_numpy(zero_copy_only=False)
    numbers = pc.fill_null(periods, 0).to_numpy()
    index = pd.PeriodIndex.from_ordinals(numbers, freq=frequency)  # type: ignore[attr-defined] # not in its stubs
    texts = index.astype(str)
    return pa.array(texts.to_numpy(dtype=object), pa.string(), mask=~there)


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
