"""Counts behind the asset checks: keys, live rows, collapse."""

from __future__ import annotations

import pyarrow as pa
import pytest

from meltano_assets.streams import Batch, Column, Stream
from meltano_assets.warehouse import claims
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load

STREAM = Stream(
    source="shop",
    name="orders",
    columns=(Column("id", "bigint"), Column("note", "text")),
    primary_key=("id",),
)


@pytest.fixture
def loaded(warehouse: Warehouse) -> Warehouse:
    records = pa.record_batch({"id": [1, 2, 3, 4], "note": ["a", "b", "c", "d"]})
    load(warehouse, STREAM, [Batch(records)])
    return warehouse


def note(warehouse: Warehouse, expected: int | None, actual: int) -> None:
    claims.record_reconciliation(
        warehouse,
        STREAM.source,
        STREAM.name,
        run_id="r",
        hops={claims.LIVE_ROWS: (expected, actual)},
    )


def test_a_table_that_is_not_there_has_no_rows(warehouse: Warehouse) -> None:
    assert claims.live_rows(warehouse, STREAM) == 0
    assert claims.quarantined_rows(warehouse, STREAM) == 0


def test_deleted_rows_are_rows_but_not_live(loaded: Warehouse) -> None:
    with loaded.connect() as connection:
        connection.execute("update shop.orders set _deleted_at = now() where id = 4")
    assert claims.live_rows(loaded, STREAM) == 3
    assert claims.all_rows(loaded, STREAM) == 4


def test_duplicate_keys_are_counted_where_nothing_forbids_them(loaded: Warehouse) -> None:
    assert claims.duplicate_keys(loaded, STREAM) == 0
    with loaded.connect() as connection:
        row = connection.execute(
            "select conname from pg_constraint where contype = 'p'"
            " and conrelid = 'shop.orders'::regclass"
        ).fetchone()
        assert row is not None
        connection.execute(f'alter table shop.orders drop constraint "{row[0]}"'.encode())
        connection.execute("insert into shop.orders (id, note) values (4, 'again')")
    assert claims.duplicate_keys(loaded, STREAM) == 1


def test_a_collapse_does_not_become_the_measure_of_the_next_load(loaded: Warehouse) -> None:
    assert claims.last_healthy_rows(loaded, STREAM) is None
    note(loaded, None, 100)
    assert claims.last_healthy_rows(loaded, STREAM) == 100
    note(loaded, 100, 90)
    assert claims.last_healthy_rows(loaded, STREAM) == 90
    note(loaded, 90, 3)
    assert claims.last_healthy_rows(loaded, STREAM) == 90
    note(loaded, 90, 4)
    assert claims.last_healthy_rows(loaded, STREAM) == 90
    note(loaded, None, 4)
    assert claims.last_healthy_rows(loaded, STREAM) == 4
