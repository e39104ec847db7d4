"""Out of the warehouse: the rows of a query as Arrow, streamed.

COPY … TO STDOUT in CSV, parsed by Arrow in pieces: several times as fast as rows through Python
objects (docs/performance.md). NULL and '' stay apart, since COPY quotes the one and not the other.

Arrow types: integers, floats, booleans, dates and time stamps (UTC, microseconds) as themselves,
``numeric(p,s)`` as decimal, bytea as binary, everything else as text. ``numeric`` without a scale has
no Arrow type that holds all its values: ``read_batches`` gives its exact text (field metadata
``postgres_type`` says numeric), ``read_table`` decimals of the greatest scale found, if they fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.time_values import parse_time

Query = str | sql.Composable

#: A batch is cut when this much CSV has come together.
BATCH_BYTES = 4 * 1024 * 1024

_NUMERIC = 1700
_BYTEA = 17
_ARROW_TYPES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    26: pa.int64(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """A result's Arrow schema, and the types in which its CSV is parsed first."""

    schema: pa.Schema
    raw: dict[str, pa.DataType]
    names: tuple[str, ...]


def read_batches(
    warehouse: Warehouse,
    query: Query,
    params: Sequence[object] = (),
    *,
    application_name: str = "meltano-assets read",
) -> Iterator[pa.RecordBatch]:
    """The query's rows in batches; always at least one, which tells the schema.

    The connection stays open until the last batch is taken or the iterator is closed.
    """
    with warehouse.connect(application_name=application_name) as connection:
        connection.read_only = True
        shape = _shape(connection, query, params)
        statement = sql.SQL("copy ({}) to stdout (format csv)").format(_composable(query))
        is_first = True
        rows: list[bytes] = []
        size = 0
        with connection.cursor() as cursor, cursor.copy(statement, params or None) as copy:
            while data := copy.read():
                rows.append(bytes(data))
                size += len(data)
                if size >= BATCH_BYTES:
                    yield _parse(b"".join(rows), shape)
                    is_first, size = False, 0
                    rows.clear()
        if rows or is_first:
            yield _parse(b"".join(rows), shape)


def read_table(warehouse: Warehouse, query: Query, params: Sequence[object] = ()) -> pa.Table:
    """All of the query's rows; unscaled numerics as decimals where these hold them exactly."""
    table = pa.Table.from_batches(read_batches(warehouse, query, params))
    for place, field in enumerate(table.schema):
        if (field.metadata or {}).get(b"postgres_type") == b"numeric":
            decimals = _as_decimals(table.column(place))
            if decimals is not None:
                table = table.set_column(place, field.name, decimals)
    return table


def described(
    connection: psycopg.Connection, schema: str, table: str
) -> list[tuple[str, str, bool]]:
    """The relation's columns in order: name, type as Postgres writes it, whether it may be null."""
    rows = connection.execute(
        """
        select a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull
        from pg_attribute a
        join pg_class c on c.oid = a.attrelid
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped
        order by a.attnum
        """,
        (schema, table),
    )
    return [(str(name), str(kind), bool(is_nullable)) for name, kind, is_nullable in rows]


def count_rows(connection: psycopg.Connection, schema: str, table: str) -> int:
    """How many rows the relation has now."""
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def select(schema: str, table: str, columns: Sequence[str] | None = None) -> sql.Composed:
    """``select`` of a table's columns, or of all of them, for the readers above."""
    names = (
        sql.SQL("*")
        if columns is None
        else sql.SQL(", ").join(sql.Identifier(column) for column in columns)
    )
    return sql.SQL("select {} from {}").format(names, sql.Identifier(schema, table))


def _composable(query: Query) -> sql.Composable:
    return query if isinstance(query, sql.Composable) else sql.SQL(query.rstrip().rstrip(";"))


def _shape(connection: psycopg.Connection, query: Query, params: Sequence[object]) -> _Shape:
    cursor = connection.execute(
        sql.SQL("select * from ({}) as q limit 0").format(_composable(query)), params or None
    )
    fields, raw, names = [], {}, []
    for place, column in enumerate(cursor.description or ()):
        kind = _ARROW_TYPES.get(column.type_code, pa.string())
        metadata = None
        if column.type_code == _NUMERIC:
            if column.precision is not None and column.precision <= 38 and (column.scale or 0) >= 0:
                kind = pa.decimal128(column.precision, column.scale or 0)
            else:
                metadata = {"postgres_type": "numeric"}
        elif column.type_code == _BYTEA:
            kind = pa.binary()
        name = f"{place}"
        names.append(name)
        raw[name] = pa.string() if column.type_code == _BYTEA else kind
        fields.append(pa.field(column.name, kind, metadata=metadata))
    return _Shape(pa.schema(fields), raw, tuple(names))


def _parse(csv: bytes, shape: _Shape) -> pa.RecordBatch:
    if not csv:
        return pa.RecordBatch.from_arrays(
            [pa.array([], field.type) for field in shape.schema], schema=shape.schema
        )
    if not shape.names:
        raise FatalError("the query has no columns")
    try:
        table = _read_csv(csv, shape, shape.raw)
    except pa.ArrowInvalid:
        # A year outside 1 to 9999, an infinite date or a NaN where a decimal stands.
        table = _read_csv(csv, shape, {name: pa.string() for name in shape.names})
    arrays = [
        _converted(column.combine_chunks(), field)
        for column, field in zip(table.columns, shape.schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=shape.schema)


def _read_csv(csv: bytes, shape: _Shape, types: dict[str, pa.DataType]) -> pa.Table:
    return pa_csv.read_csv(
        pa.BufferReader(csv),
        read_options=pa_csv.ReadOptions(
            column_names=list(shape.names), block_size=len(csv) + 1, use_threads=False
        ),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _converted(column: pa.Array, field: pa.Field) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if column.type == field.type:
        return column
    if pa.types.is_binary(field.type):
        values = [None if text is None else bytes.fromhex(text[2:]) for text in column.to_pylist()]
        return pa.array(values, pa.binary())
    if pa.types.is_boolean(field.type):
        return pc.equal(column, "t")
    if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
        return _unusual_times(column, field)
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid:
        raise FatalError(
            f"column {field.name} holds a value that is no {field.type}",
            hint="cast the column to text in the query",
        ) from None


def _unusual_times(column: pa.Array, field: pa.Field) -> pa.Array:
    numbers = [
        None if text is None else _microseconds(text, field.name) for text in column.to_pylist()
    ]
    if pa.types.is_date(field.type):
        days = [None if number is None else number // 86_400_000_000 for number in numbers]
        return pa.array(days, pa.int32()).cast(field.type)
    return pa.array(numbers, pa.int64()).cast(field.type)


def _microseconds(text: str, column: str) -> int:
    """Postgres' text of any finite time, years before Christ included."""
    common = text.removesuffix(" BC")
    shift = 0
    if common != text:
        # Year n BC is year 1 - n; 400 years later the calendar is the same.
        year, rest = common.split("-", 1)
        cycles = -(-int(year) // 400)
        common = f"{1 - int(year) + 400 * cycles:04}-{rest}"
        shift = cycles * 146_097 * 86_400_000_000
    parsed = parse_time(common)
    if parsed is None:
        raise FatalError(
            f"column {column} holds an infinite time", hint="cast the column to text in the query"
        )
    return parsed[0] - shift


def _as_decimals(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Decimals of the greatest scale found; None when some value does not fit."""
    fraction = pc.extract_regex(texts, r"\.(?P<digits>[0-9]*)$")
    lengths = pc.binary_length(pc.struct_field(fraction, "digits"))
    scale = pc.max(lengths).as_py() or 0
    if scale > 38:
        return None
    try:
        return texts.cast(pa.decimal128(38, scale))
    except pa.ArrowInvalid:
        return None
