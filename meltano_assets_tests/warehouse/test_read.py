"""Out of the warehouse (L11): every type as Arrow, exactly, in batches."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.read import read_batches, read_table, select
from meltano_assets_tests.warehouse.tables import batch, query, stream


def test_types_and_values_come_out_as_they_went_in(warehouse: Warehouse) -> None:
    table = read_table(
        warehouse,
        """select 1::bigint as i, ''::text as empty, null::text as nothing, 1.50::numeric as n,
            2.5::numeric(10, 2) as scaled, '{"a": "x,\\ny"}'::jsonb as j, '\\x00ff'::bytea as b,
            true as t, 'NaN'::float8 as f, '2026-03-01 10:00+02'::timestamptz as at,
            '0044-03-15 BC'::date as ides, '10000-01-01'::timestamp as late""",
    )
    row = table.slice(0, 1)
    assert row.column("i").to_pylist() == [1]
    assert (row.column("empty")[0].as_py(), row.column("nothing")[0].as_py()) == ("", None)
    assert row.column("n").to_pylist() == [Decimal("1.50")]
    assert row.schema.field("scaled").type == pa.decimal128(10, 2)
    assert row.column("b").to_pylist() == [b"\x00\xff"]
    assert row.column("t").to_pylist() == [True]
    assert str(row.column("f")[0]) == "nan"
    assert row.column("at")[0].as_py() == datetime.fromisoformat("2026-03-01T08:00:00+00:00")
    assert row.column("ides").cast(pa.int32()).to_pylist() == [-735_160]
    assert row.column("late").cast(pa.int64()).to_pylist() == [253_402_300_800_000_000]


def test_large_results_come_in_batches_and_equal_what_was_loaded(warehouse: Warehouse) -> None:
    ids = pa.array(range(30_000), pa.int64())
    texts = pa.array([None if n % 7 == 0 else '"\n,' + "é" * (n % 300) for n in range(30_000)])
    records = pa.RecordBatch.from_arrays([ids, texts], ["id", "v"])
    load(warehouse, stream({"id": "bigint", "v": "text"}), [Batch(records)])
    statement = select("shop", "things", ["id", "v"])
    batches = list(read_batches(warehouse, statement))
    assert len(batches) > 1
    assert pa.Table.from_batches(batches).sort_by("id").equals(pa.Table.from_batches([records]))


def test_no_rows_still_tell_the_schema_and_parameters_are_bound(warehouse: Warehouse) -> None:
    empty = read_table(warehouse, "select 1 as a, 'x'::text as b where false")
    assert empty.num_rows == 0 and empty.schema.names == ["a", "b"]
    table = read_table(
        warehouse, "select %s::text as a, %s::date as b;", ["it's", date(2026, 3, 1)]
    )
    assert table.to_pylist() == [{"a": "it's", "b": date(2026, 3, 1)}]
    nulls = read_table(warehouse, "select null::text as a union all select null")
    assert nulls.num_rows == 2


def test_numerics_that_no_decimal_holds_stay_exact_text(warehouse: Warehouse) -> None:
    long = "1" + "0" * 50
    table = read_table(warehouse, f"select {long}::numeric as n union all select 'NaN'")
    assert sorted(table.column("n").to_pylist()) == sorted([long, "NaN"])


def test_reading_changes_nothing_and_says_what_is_wrong(warehouse: Warehouse) -> None:
    query(warehouse, "create table t (a int)")
    with pytest.raises(FatalError):
        read_table(warehouse, "with x as (insert into t values (1) returning a) select a from x")
    with pytest.raises(FatalError, match="infinite"):
        read_table(warehouse, "select 'infinity'::timestamptz as at")
    assert query(warehouse, "select count(*) from t") == [(0,)]


def test_a_reader_that_stops_early_leaves_no_connection_behind(warehouse: Warehouse) -> None:
    load(warehouse, stream({"id": "bigint"}), [batch([{"id": 1}])])
    batches = read_batches(warehouse, "select repeat('x', 1000) from generate_series(1, 100000)")
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    left = query(
        warehouse, "select count(*) from pg_stat_activity where datname = current_database()"
    )
    assert left == [(1,)]
