"""What the tests of the loader share: streams, batches and whole tables to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from psycopg import sql

from meltano_assets.streams import Batch, Bookmark, Column, ColumnType, Disposition, Stream
from meltano_assets.warehouse.connection import Warehouse

Rows = Sequence[Mapping[str, object]]


def stream(
    columns: Mapping[str, ColumnType],
    *,
    name: str = "things",
    source: str = "shop",
    primary_key: tuple[str, ...] = ("id",),
    replication_key: str | None = None,
    disposition: Disposition = "upsert",
    **options: Any,
) -> Stream:
    """A stream of the given columns."""
    return Stream(
        source,
        name,
        tuple(Column(column, kind) for column, kind in columns.items()),
        primary_key=primary_key,
        replication_key=replication_key,
        disposition=disposition,
        **options,
    )


def batch(rows: Rows, bookmark: str | None = None, schema: pa.Schema | None = None) -> Batch:
    """Records as a batch; fields that only later rows have are kept."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if schema is None:
        arrays = [pa.array([row.get(name) for row in rows]) for name in names]
        records = pa.RecordBatch.from_arrays(arrays, names=names)
    else:
        records = pa.RecordBatch.from_pylist(list(rows), schema=schema)
    return Batch(records, None if bookmark is None else Bookmark(bookmark))


def query(warehouse: Warehouse, statement: str, *params: object) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    with warehouse.connect() as connection:
        cursor = connection.execute(sql.SQL(statement), params or None)
        return cursor.fetchall() if cursor.description else []


def contents(warehouse: Warehouse, table: str, columns: str = "*", order: str = "1") -> list[Any]:
    """The whole table as text rows, ordered: what "equal to the byte" means in these tests."""
    rows = query(warehouse, f"select ({columns})::text from {table} order by {order}")
    return [text for (text,) in rows]
