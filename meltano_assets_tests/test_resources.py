"""The COPY IO manager (L11) between test assets and a real Postgres, and the edge to Dagster."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.resources import CopyIOManager, Load, Vendors, WarehouseResource
from meltano_assets.streams import Batch, Bookmark, Column, Stream
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
PEOPLE = {
    "id": pa.array([1, 2, 3], pa.int64()),
    "name": pa.array(["Ann", None, ""], pa.string()),
    "price": pa.array([Decimal("7.25"), None, Decimal("0.10")], pa.decimal128(10, 2)),
    "at": pa.array([0, None, 1_700_000_000_000_000], pa.timestamp("us", "UTC")),
    "is_good": pa.array([True, None, False], pa.bool_()),
}


def run(
    warehouse: Warehouse, *assets: dg.AssetsDefinition | dg.AssetSpec
) -> dg.ExecuteInProcessResult:
    database = WarehouseResource(url=warehouse.url)
    return dg.materialize(
        [*assets],
        resources={"io_manager": CopyIOManager(database=database)},
        instance=dg.DagsterInstance.ephemeral(),
        run_config=QUIET,
        raise_on_error=False,
    )


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query.encode()).fetchall()


def failure(result: dg.ExecuteInProcessResult) -> Any:
    return next(e.step_failure_data for e in result.all_events if e.is_step_failure)


def made(value: object, **settings: Any) -> dg.AssetsDefinition:
    """An asset ``shop.people`` that returns the value (or what a function makes)."""

    @dg.asset(key=["shop", "people"], **settings)
    def people() -> Any:
        return value() if callable(value) else value

    return people


def record_batches() -> Iterator[pa.RecordBatch]:
    table = pa.table(PEOPLE)
    for place in range(table.num_rows):
        yield from table.slice(place, 1).combine_chunks().to_batches()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(pa.table(PEOPLE), id="table"),
        pytest.param(pa.table(PEOPLE).to_batches()[0], id="batch"),
        pytest.param(lambda: dg.MaterializeResult(value=record_batches()), id="generator"),
        pytest.param(lambda: iter(list(record_batches())), id="iterator"),
        pytest.param(
            lambda: pa.RecordBatchReader.from_batches(pa.table(PEOPLE).schema, record_batches()),
            id="reader",
        ),
        pytest.param(lambda: list(record_batches()), id="list"),
        pytest.param(pa.table(PEOPLE).to_pandas(types_mapper=pd.ArrowDtype), id="pandas"),
    ],
)
def test_whatever_holds_records_lands_with_its_types(value: object, warehouse: Warehouse) -> None:
    result = run(warehouse, made(value, metadata={"primary_key": "id"}))
    assert result.success
    assert rows(
        warehouse, "select id, name, price::text, at::text, is_good from shop.people order by id"
    ) == [
        (1, "Ann", "7.25", "1970-01-01 00:00:00+00", True),
        (2, None, None, None, None),
        (3, "", "0.10", "2023-11-14 22:13:20+00", False),
    ]
    [event] = result.asset_materializations_for_node("shop__people")
    assert event.metadata["read"].value == 3
    assert event.metadata["dagster/row_count"].value == 3
    key = "select conkey::int[] from pg_constraint where conrelid = 'shop.people'::regclass"
    assert rows(warehouse, f"{key} and contype = 'p'") == [([1],)]


def test_plain_pandas_lands_too(warehouse: Warehouse) -> None:
    frame = pd.DataFrame(
        {"id": [1, 2], "name": ["Ann", None], "at": pd.to_datetime(["2026-01-01", None], utc=True)},
        index=[7, 8],
    )
    assert run(warehouse, made(frame)).success
    columns = "select column_name, data_type from information_schema.columns"
    types = dict(rows(warehouse, f"{columns} where table_name = 'people'"))
    assert types["id"] == "bigint"
    assert types["at"] == "timestamp with time zone"
    assert not [name for name in types if "index" in name]
    assert rows(warehouse, "select count(*) from shop.people where name is null") == [(1,)]


BIG = 2**53 + 1


@pytest.mark.parametrize("kind", ["Int64", "int64[pyarrow]", "object"])
def test_large_integers_beside_nulls_keep_their_digits(kind: str, warehouse: Warehouse) -> None:
    frame = pd.DataFrame({"id": [1, 2], "big": pd.Series([BIG, None], dtype=kind)})
    assert run(warehouse, made(frame)).success
    assert rows(warehouse, "select big from shop.people order by id") == [(BIG,), (None,)]


def test_integers_that_pandas_rounded_beside_a_null_are_refused(warehouse: Warehouse) -> None:
    """L11: numpy has no null for integers, so pandas makes floats of them before we see one."""
    frame = pd.DataFrame({"id": [1, 2], "big": [BIG, None]})
    result = run(warehouse, made(frame))
    assert not result.success
    text = failure(result).error_display_string
    assert "shop.people" in text and "column big" in text and "dtype_backend" in text
    assert str(2**53) not in text
    assert rows(warehouse, "select to_regclass('shop.people')") == [(None,)]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"odd": [1j, "secret value"]}), "column odd"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "two columns of one name"),
    ],
)
def test_a_frame_that_is_no_table_is_told_without_its_values(
    frame: pd.DataFrame, words: str, warehouse: Warehouse
) -> None:
    result = run(warehouse, made(frame))
    assert words in failure(result).error_display_string
    assert "secret value" not in str([str(event) for event in result.all_events])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2.0**53, None], "double[pyarrow]"),
        ([2.0**70, None], "float64"),
        ([2.0**53, 0.5, None], "float64"),
        ([2.0**53, 3.0], "float64"),
        ([5.0, None], "float64"),
        ([None, None], "float64"),
    ],
)
def test_real_floats_are_stored_as_they_are(
    values: list[float | None], kind: str, warehouse: Warehouse
) -> None:
    frame = pd.DataFrame({"id": range(len(values)), "x": pd.Series(values, dtype=kind)})
    assert run(warehouse, made(frame)).success
    assert rows(warehouse, "select x from shop.people order by id") == [(one,) for one in values]


def test_nan_is_null_from_numpy_and_nan_from_arrow(warehouse: Warehouse) -> None:
    """Numpy has one word for both; Arrow has two, and infinity is a value everywhere."""
    texts = "select x::text from shop.people order by id"
    frame = pd.DataFrame({"id": [1, 2, 3], "x": [float("nan"), None, float("inf")]})
    assert run(warehouse, made(frame)).success
    assert rows(warehouse, texts) == [(None,), (None,), ("Infinity",)]
    table = pa.table({"id": [1, 2, 3], "x": pa.array([float("nan"), None, float("inf")])})
    for value in (table, table.to_pandas(types_mapper=pd.ArrowDtype)):
        assert run(warehouse, made(value)).success
        assert rows(warehouse, texts) == [("NaN",), (None,), ("Infinity",)]


def test_downstream_gets_pandas_or_arrow_as_it_asks(warehouse: Warehouse) -> None:
    seen: dict[str, Any] = {}

    @dg.asset(ins={"people": dg.AssetIn(key=["shop", "people"])})
    def analyst(people: pd.DataFrame) -> None:
        seen["pandas"] = people

    @dg.asset(ins={"people": dg.AssetIn(key=["shop", "people"])})
    def engineer(people: pa.Table) -> None:
        seen["arrow"] = people

    @dg.asset(ins={"people": dg.AssetIn(key=["shop", "people"])})
    def newcomer(people: Any) -> None:
        seen["default"] = people

    upstream = made(pa.table(PEOPLE), metadata={"primary_key": ["id"]})
    assert run(warehouse, upstream, analyst, engineer, newcomer).success
    frame, table = seen["pandas"].set_index("id").sort_index(), seen["arrow"]
    assert isinstance(frame["name"].dtype, pd.ArrowDtype)
    assert frame["price"][1] == Decimal("7.25")
    assert frame["name"][3] == ""
    assert pd.isna(frame["name"][2])
    assert isinstance(seen["default"], pd.DataFrame)
    assert isinstance(table, pa.Table)
    assert {*PEOPLE, "_loaded_at", "_load_id"} <= set(table.column_names)
    assert sorted(table["id"].to_pylist()) == [1, 2, 3]


def test_disposition_and_key_come_from_the_assets_metadata(warehouse: Warehouse) -> None:
    def one(number: int, name: str) -> pa.Table:
        return pa.table({"id": [number], "name": [name]})

    upsert = {"primary_key": ["id"], "disposition": "upsert"}
    for value in (one(1, "Ann"), one(2, "Bob"), one(1, "Anna")):
        assert run(warehouse, made(value, metadata=upsert)).success
    names = "select name from shop.people order by name"
    assert rows(warehouse, names) == [("Anna",), ("Bob",)]
    assert run(warehouse, made(pa.table({"id": [1, 2], "name": ["x", "y"]}))).success
    assert rows(warehouse, names) == [("x",), ("y",)]
    assert run(warehouse, made(one(1, "z"), metadata={"disposition": "append"})).success
    assert rows(warehouse, names) == [("x",), ("y",), ("z",)]


def test_an_asset_without_a_schema_in_its_key_goes_to_public(warehouse: Warehouse) -> None:
    @dg.asset
    def lonely() -> pa.Table:
        return pa.table({"id": [1, 1]})

    assert run(warehouse, lonely).success
    assert rows(warehouse, "select count(*) from public.lonely") == [(2,)]


def test_an_asset_that_returns_nothing_stores_nothing(warehouse: Warehouse) -> None:
    assert run(warehouse, made(None)).success
    assert rows(warehouse, "select to_regclass('shop.people')") == [(None,)]


@pytest.mark.parametrize("value", [42, "text", {"id": 1}, [("id", 1)], ["a"], []])
def test_what_cannot_be_stored_is_a_clear_failure(value: object, warehouse: Warehouse) -> None:
    retry = dg.RetryPolicy(max_retries=3)
    result = run(warehouse, made(value, retry_policy=retry))
    assert not result.success
    data = failure(result).user_failure_data
    assert "shop.people: cannot store" in data.description
    assert "iterator of record batches" in data.description
    assert not [e for e in result.all_events if e.event_type_value == "STEP_RESTARTED"]


@pytest.mark.parametrize(
    "metadata", [{"disposition": "merge"}, {"disposition": "upsert"}, {"primary_key": "nope"}]
)
def test_settings_that_make_no_sense_are_a_clear_failure(
    metadata: dict[str, Any], warehouse: Warehouse
) -> None:
    result = run(warehouse, made(pa.table({"id": [1]}), metadata=metadata))
    assert not result.success
    data = failure(result).user_failure_data
    assert data is not None
    assert "shop.people" in data.description
    assert rows(warehouse, "select to_regclass('shop.people')") == [(None,)]


def streamed(attempts: list[int], trouble: Exception | None, *, fails: int = 99) -> Any:
    """An asset whose batches break off after the second, as often as told."""
    stream = Stream(
        "shop", "people", (Column("id", "bigint"), Column("name")), ("id",), replication_key="id"
    )

    @dg.asset(
        key=["shop", "people"],
        retry_policy=dg.RetryPolicy(max_retries=2, delay=0.01),
    )
    def people() -> Iterator[Any]:
        attempts.append(1)

        def batches() -> Iterator[Batch]:
            for number in range(1, 4):
                if number == 3 and trouble is not None and len(attempts) <= fails:
                    raise trouble
                records = pa.record_batch({"id": [number], "name": ["secret value"]})
                yield Batch(records, Bookmark(str(number)) if number in (1, 3) else None)

        yield dg.MaterializeResult(value=Load(stream, batches()))

    return people


def test_a_fatal_error_in_mid_stream_is_not_retried_and_leaves_whole_checkpoints(
    warehouse: Warehouse,
) -> None:
    attempts: list[int] = []
    trouble = FatalError("the vendor said no", hint="ask them")
    result = run(warehouse, streamed(attempts, trouble))
    assert not result.success
    data = failure(result)
    assert data.user_failure_data.description == "shop.people: the vendor said no (ask them)"
    assert data.user_failure_data.metadata["next step"].value == "ask them"
    assert len(attempts) == 1
    # What was committed stands with its bookmark; what came after it is gone without a trace.
    assert rows(warehouse, "select id from shop.people") == [(1,)]
    assert state.read_bookmark(warehouse, "shop", "people") == Bookmark("1")
    leftovers = "select relname from pg_class where relname like 'meltano_new%'"
    assert rows(warehouse, leftovers) == []
    last = state.last_load(warehouse, "shop", "people")
    assert last is not None and last.status == "failed"
    assert run(warehouse, streamed([], None)).success
    assert rows(warehouse, "select id from shop.people order by id") == [(1,), (2,), (3,)]


def test_a_retriable_error_in_mid_stream_is_retried_by_the_assets_policy(
    warehouse: Warehouse,
) -> None:
    attempts: list[int] = []
    result = run(warehouse, streamed(attempts, RetriableError("busy"), fails=2))
    assert result.success
    assert len(attempts) == 3
    assert rows(warehouse, "select id from shop.people order by id") == [(1,), (2,), (3,)]
    attempts.clear()
    result = run(warehouse, streamed(attempts, RetriableError("busy")))
    assert not result.success
    assert len(attempts) == 3
    assert "busy" in failure(result).error_display_string


def test_no_value_of_a_record_is_in_a_failure(warehouse: Warehouse) -> None:
    result = run(warehouse, streamed([], FatalError("no")))
    assert "secret value" not in str([str(event) for event in result.all_events])


def test_a_table_that_is_not_there_is_a_clear_failure(warehouse: Warehouse) -> None:
    @dg.asset(ins={"gone": dg.AssetIn(key=["shop", "gone"])})
    def reader(gone: pd.DataFrame) -> None:
        pass

    result = run(warehouse, dg.AssetSpec(["shop", "gone"]), reader)
    assert not result.success
    assert "shop.gone" in failure(result).error_display_string


def test_vendors_are_those_given_and_optional_ones_may_be_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from meltano_assets.hosts import clearbit, discoverorg

    groups = {"clearbit": clearbit.VARIABLES, "discoverorg": discoverorg.VARIABLES}
    given = Vendors(settings={"clearbit": {"api_key": "x"}}, settings_are_sandbox=True)
    assert given.is_sandbox("clearbit", clearbit.VARIABLES)
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "production")
    assert given.optional_settings(groups) == {"clearbit": {"api_key": "x"}}
    assert not Vendors().is_sandbox("clearbit", clearbit.VARIABLES)
