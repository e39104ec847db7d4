"""What people's assets return (L11): frames in slices, objects of mixed kinds, iterators of all sorts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import LoadOutcome, Stream
from meltano_assets.warehouse import frames
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.schema import columns_from_arrow
from meltano_assets_tests.warehouse.tables import query

FRAME = pd.DataFrame(
    {
        "id": range(10),
        "text": pd.Series(
            [None, None, None, "a", "", "\u00e9", float("nan"), pd.NA, "x", "y"], dtype=object
        ),
        "amount": [
            Decimal("1.5"),
            None,
            Decimal("-0.25"),
            None,
            None,
            None,
            *[Decimal(10**30)] * 4,
        ],
        "flag": [True, None] * 5,
        "real": [0.5, float("nan")] * 5,
        "at": pd.to_datetime(["2026-01-02T03:04:05Z"] * 10),
    }
)


def test_slices_hold_what_the_whole_frame_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pa.Table.from_pandas(FRAME, preserve_index=False)
    monkeypatch.setattr(frames, "_SLICE_ROWS", 3)
    schema, batches = frames.batches_of(FRAME)
    slices = [one.records for one in batches]
    assert [one.num_rows for one in slices] == [3, 3, 3, 1]
    assert schema.names == whole.schema.names
    rows = [row for one in slices for row in one.to_pylist()]
    assert rows == whole.to_pylist()
    same = [name for name in schema.names if name != "amount"]
    for one in slices:
        assert [one.schema.field(name).type for name in same] == [
            whole.schema.field(name).type for name in same
        ]
        assert pa.types.is_decimal(one.schema.field("amount").type)


@pytest.mark.parametrize("last", [7, {"a": 1}, True])
def test_a_column_of_two_types_is_text_wherever_the_second_begins(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, last: object
) -> None:
    monkeypatch.setattr(frames, "_SLICE_ROWS", 3)
    frame = pd.DataFrame({"id": range(7), "v": pd.Series([*["x"] * 6, last], dtype=object)})
    store(warehouse, frame)
    assert query(warehouse, "select v from shop.things order by id") == [
        *[("x",)] * 6,
        (json.dumps(last, separators=(",", ":")),),
    ]


def store(warehouse: Warehouse, holder: Any) -> LoadOutcome:
    """Load what an asset returned, as the IO manager does."""
    schema, batches = frames.record_batches(holder)
    things = Stream("shop", "things", columns_from_arrow(schema), disposition="replace")
    return load(warehouse, things, batches)


def stored(warehouse: Warehouse, holder: Any) -> tuple[str, list[str | None]]:
    """The type that column ``v`` got, and its values as text."""
    store(warehouse, holder)
    rows = query(warehouse, "select pg_typeof(v)::text, v::text from shop.things order by n")
    return rows[0][0], [text for _, text in rows]


EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        # Arrow would make 1.0 of the True …
        ([2.5, True, None], "text", ["2.5", "true", None]),
        ([1, True, False], "text", ["1", "true", "false"]),
        ([np.int64(1), np.bool_(True)], "text", ["1", "true"]),
        ([{"a": 2.5}, {"a": True}], "jsonb", ['{"a": 2.5}', '{"a": true}']),
        ([[2.5, True], ["x"]], "jsonb", ["[2.5, true]", '["x"]']),
        # … drop the time of day …
        (
            [date(2026, 1, 2), datetime(2026, 1, 2, 5)],  # noqa: DTZ001 - without a zone
            "timestamp without time zone",
            ["2026-01-02 00:00:00", "2026-01-02 05:00:00"],
        ),
        # … and drop or make up a zone.
        (
            [datetime(2026, 1, 2, 5), datetime(2026, 1, 2, 5, tzinfo=EAST)],  # noqa: DTZ001
            "timestamp with time zone",
            ["2026-01-02 05:00:00+00", "2026-01-02 03:00:00+00"],
        ),
        (
            [datetime(2026, 1, 2, 5, tzinfo=UTC), pd.Timestamp("2026-01-02T05:00+02:00"), pd.NaT],
            "timestamp with time zone",
            ["2026-01-02 05:00:00+00", "2026-01-02 03:00:00+00", None],
        ),
        ([2**60 + 1, 0.5], "numeric", ["1152921504606846977", "0.5"]),
        ([2**70, -1], "numeric", ["1180591620717411303424", "-1"]),
        ([Decimal("0.10"), 0.1, 7], "numeric", ["0.10", "0.1", "7"]),
        ([2**70, "x"], "text", ["1180591620717411303424", "x"]),
        ([b"\xff", "x"], "text", ["ff", "x"]),
        ([timedelta(seconds=1), 1], "text", ["PT1S", "1"]),
        ([{"a": np.float64(0.5), "b": {1}}], "jsonb", ['{"a": 0.5, "b": [1]}']),
        ([[np.arange(2), pd.NaT, pd.NA, float("nan")]], "jsonb", ['[[0, 1], null, null, "NaN"]']),
        ([UUID(int=1), UUID(int=2)], "uuid", [str(UUID(int=1)), str(UUID(int=2))]),
        (["a\ud800b", "c"], "text", ["a\ufffdb", "c"]),
    ],
)
def test_objects_of_mixed_kinds_become_what_the_lattice_has_for_all(
    warehouse: Warehouse, values: list[object], kind: str, texts: list[str | None]
) -> None:
    column = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        column[place] = value
    frame = pd.DataFrame({"n": range(len(values)), "v": pd.Series(column, dtype=object)})
    assert stored(warehouse, frame) == (kind, texts)


@pytest.mark.parametrize(
    ("holder", "kind", "texts"),
    [
        (pl.DataFrame({"n": [1, 2], "v": [Decimal("1.50"), None]}), "numeric", ["1.50", None]),
        (pl.DataFrame({"n": [1], "v": ["x"]}, schema_overrides={"v": pl.Categorical}), "text", ["x"]),
        (iter([pd.DataFrame({"n": [n], "v": [n]}) for n in (1, 2)]), "bigint", ["1", "2"]),
        ([pl.DataFrame({"n": [1], "v": [1]}), pa.table({"v": [0.5], "n": [2]})], "numeric", ["1", "0.5"]),
        ([{"n": 1, "v": 1}, {"n": 2, "w": 5}, {"v": 2, "n": 3}], "bigint", ["1", None, "2"]),
        (({"n": n, "v": n / 2} for n in range(1, 3)), "double precision", ["0.5", "1"]),
        # What is first met as nothing but nulls has the type of its first values.
        ([pa.record_batch({"n": [1], "v": pa.nulls(1)}), pa.record_batch({"n": [2], "v": [7]})],
         "bigint", [None, "7"]),
        ([pa.record_batch({"n": [1]}), pa.record_batch({"n": [2], "v": [True]})],
         "boolean", [None, "true"]),
    ],
)  # fmt: skip
def test_frames_tables_and_dictionaries_are_taken_one_by_one_too(
    warehouse: Warehouse, holder: Any, kind: str, texts: list[str | None]
) -> None:
    assert stored(warehouse, holder) == (kind, texts)


def test_many_dictionaries_arrive_whole_and_in_order(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_RECORDS", 3)
    outcome = store(warehouse, ({"n": n, "v": n * n} for n in range(10)))
    assert outcome.read == outcome.inserted == 10
    assert query(warehouse, "select n, v from shop.things order by n") == [
        (n, n * n) for n in range(10)
    ]


def test_a_column_of_nothing_but_nulls_leaves_the_type_that_is_there(warehouse: Warehouse) -> None:
    store(warehouse, pd.DataFrame({"n": [1], "v": [5]}))
    kind, texts = stored(warehouse, pd.DataFrame({"n": [1], "v": pd.Series([None], dtype=object)}))
    assert (kind, texts) == ("bigint", [None])


@pytest.mark.parametrize(
    ("holder", "told"),
    [
        (pl.DataFrame({"v": [1]}).lazy(), "cannot store LazyFrame"),
        (pl.DataFrame({"v": pl.Series([object()], dtype=pl.Object)}), "Python objects"),
        (pd.Series([1]), "no form as a table"),
        ({"v": [1]}, "cannot store dict"),
        ("v", "cannot store str"),
        (5, "cannot store int"),
        ([], "without any batch"),
        ([(1, 2)], "list of tuple"),
        ([{"v": 1}, (1, 2)], "list of dictionaries and other things"),
        ([pa.record_batch({"v": [1]}), 5], "list of int"),
    ],
)
def test_what_holds_no_records_is_refused_by_its_name(
    warehouse: Warehouse, holder: Any, told: str
) -> None:
    with pytest.raises(FatalError, match=told):
        store(warehouse, holder)


def test_a_generator_that_fails_stores_nothing_and_tells_no_value(warehouse: Warehouse) -> None:
    def failing() -> Iterator[dict[str, object]]:
        yield {"v": 1}
        raise ValueError("secret 123")

    with pytest.raises(ValueError, match="secret"):
        store(warehouse, failing())
    assert query(warehouse, "select to_regclass('shop.things')") == [(None,)]


def test_columns_that_arrow_does_not_take_as_they_are_keep_their_values() -> None:
    frame = pd.DataFrame(
        {
            "month": pd.PeriodIndex(["2026-01", pd.NaT], freq="M"),
            "seldom": pd.arrays.SparseArray([0, 5]),
            "large": pd.Series([2**70, -1], dtype=object),
            "small": pd.Series([7, None], dtype=object),
        }
    )
    schema, batches = frames.batches_of(frame)
    assert [row for one in batches for row in one.records.to_pylist()] == [
        {"month": "2026-01", "seldom": 0, "large": str(2**70), "small": 7},
        {"month": None, "seldom": 5, "large": "-1", "small": None},
    ]
    assert pa.types.is_decimal(schema.field("large").type)
    assert schema.field("seldom").type == pa.int64()
    with pytest.raises(FatalError, match=r"no form as a table: .*wave"):
        frames.batches_of(pd.DataFrame({"wave": [1j]}))
