"""Records → Arrow: declared types, hostile values, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.errors import RetriableError
from meltano_assets.sources.pages import Page
from meltano_assets.sources.records import ARROW_TYPES, batch_from_text, read_csv, typed
from meltano_assets.streams import COLUMN_TYPES, Column, ColumnType


def column(kind: ColumnType, *values: object) -> pa.Array:
    """The values as records of one column, by way of a page's bytes."""
    body = json.dumps({"data": {"rows": [{"f": value} for value in values]}}).encode()
    return Page(body, "data.rows", [Column("c", kind, field="f")]).batch.column("c")


def raw_column(kind: ColumnType, *texts: str) -> pa.Array:
    rows = ",".join(f'{{"f":{text}}}' for text in texts)
    return Page(f"[{rows}]".encode(), "", [Column("f", kind)]).batch.column("f")


@pytest.mark.parametrize("kind", COLUMN_TYPES)
def test_every_column_type_has_an_arrow_type_and_takes_nulls(kind: ColumnType) -> None:
    for values in ((), (None,), (None, None)):
        array = column(kind, *values)
        assert array.type == ARROW_TYPES[kind]
        assert array.to_pylist() == list(values)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("text", ["a", "", None], ["a", "", None]),
        ("text", [1, True, 1.5, {"b": [None]}], ["1", "true", "1.5", '{"b":[null]}']),
        ("boolean", [True, False, None], [True, False, None]),
        ("boolean", ["true", False], [True, False]),
        ("bigint", [1, 2**62, None], [1, 2**62, None]),
        ("bigint", [7.0, "8"], [7, 8]),
        ("integer", [1, -5], [1, -5]),
        ("integer", [1, 2**40], [1, 2**40]),
        ("numeric", [7.25, 7.0, 3, None], [Decimal("7.25"), 7, 3, None]),
        ("numeric", ["7.50", "1e3", "-0.125"], [Decimal("7.5"), 1000, Decimal("-0.125")]),
        ("numeric", [10**30, 0], [10**30, 0]),
        ("double precision", [1, 1.5, "2.5"], [1.0, 1.5, 2.5]),
        ("date", ["2024-02-29", None], [date(2024, 2, 29), None]),
        ("jsonb", [{"a": 1}, [1, "x"], "text", 5], ['{"a": 1}', '[1, "x"]', '"text"', "5"]),
        ("uuid", ["x"], ["x"]),
    ],
)
def test_values_take_the_declared_type(
    kind: ColumnType, values: list[object], expected: list[object]
) -> None:
    assert column(kind, *values).to_pylist() == expected


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02T03:04:05.678+0000",
        "2024-01-02T03:04:05.678Z",
        "2024-01-02T03:04:05.678",
        "2024-01-02 03:04:05.678",
        "2024-01-02T05:04:05.678+02:00",
        "2024-01-02 03:04:05.678+00",
    ],
)
def test_times_of_any_zone_are_utc(text: str) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 678000, UTC)
    assert column("timestamptz", text, None).to_pylist() == [moment, None]
    assert (
        column("timestamptz", text, "2024-01-02T03:04:05Z", "2024-01-02").to_pylist()[0] == moment
    )


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("bigint", 1, 2**70),
        ("bigint", 1, "one"),
        ("integer", 1, 1.5),
        ("numeric", 1.5, "NaN"),
        ("date", "2024-01-02", "0000-00-00"),
        ("timestamptz", "2024-01-02T00:00:00Z", "10000-01-01T00:00:00Z"),
        ("timestamptz", "2024-01-02T00:00:00Z", "infinity"),
        ("boolean", True, "perhaps"),
        ("double precision", 1.5, "much"),
    ],
)
def test_a_value_that_does_not_fit_leaves_the_column_as_text(
    kind: ColumnType, good: object, bad: object
) -> None:
    array = column(kind, good, bad, None)
    assert array.type == pa.string()
    kept = [text if isinstance(text, str) else json.dumps(text) for text in (good, bad)]
    assert array.to_pylist() == [*kept, None]


@pytest.mark.parametrize(
    "text", ["0.1234567890123456789", "12345678901234567890.5", "9007199254740993.0", "1e-19"]
)
def test_no_digit_is_lost(text: str) -> None:
    assert raw_column("numeric", "1.5", text).to_pylist() == [Decimal("1.5"), Decimal(text)]
    assert raw_column("jsonb", f'{{"a":[{text}]}}').to_pylist() in (
        [f'{{"a":[{text}]}}'],
        [f'{{"a":[{Decimal(text)!s}]}}'],
    )


def test_whole_numbers_beyond_a_double_stay_exact() -> None:
    assert raw_column("bigint", "9007199254740993", "9007199254740993.0").to_pylist() == [
        9007199254740993,
        9007199254740993,
    ]


def test_lone_surrogates_and_nan_stop_nothing() -> None:
    texts = raw_column("text", '"\\ud800x"', '"good"').cast(pa.binary()).to_pylist()
    assert texts == [b"\xed\xa0\x80x", b"good"]
    assert raw_column("numeric", "NaN", "1").to_pylist() == ["NaN", "1"]
    assert raw_column("jsonb", "[NaN]").to_pylist() == ["[NaN]"]


QUICK_AND_CERTAIN = [
    {"id": 1, "t": 'a},{"id":2,"b', "j": [{"id": 1}, {"id": 2}], "n": 1.25},
    {"id": 2, "t": '\\ " \n \u2028 é 🎉', "j": {"k\\": 'q"\n', "e": []}, "n": 7},
    {"id": 3, "t": None, "j": None, "n": None},
    {"id": 4, "t": "x\u0000y", "j": {"id": {"id": [[]]}}, "n": 0.1},
    {"id": 5, "t": "{}", "j": [], "n": -12345.6789},
    {"id": 6, "t": "plain", "j": {"deep": [1, "two", None, True, 3.5]}, "n": 100},
]
LAYOUTS = [
    lambda value: json.dumps(value).encode(),
    lambda value: json.dumps(value, ensure_ascii=False).encode(),
    lambda value: json.dumps(value, separators=(",", ":")).encode(),
    lambda value: json.dumps(value, indent=1).encode(),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=["plain", "utf-8", "tight", "indented"])
@pytest.mark.parametrize("chosen", [(0,), (1, 2), (3, 5), (5, 5), (2, 4), (0, 1, 2, 3, 4, 5), ()])
def test_a_page_reads_the_same_however_it_is_written(
    layout: Callable[[object], bytes], chosen: tuple[int, ...]
) -> None:
    records = [QUICK_AND_CERTAIN[index] for index in chosen]
    columns = [
        Column("id", "bigint"),
        Column("t"),
        Column("j", "jsonb"),
        Column("n", "numeric"),
        Column("absent", "timestamptz"),
    ]
    page = Page(layout({"more": [1], "data": records, "tail": [[2]], "next": "c"}), "data", columns)
    assert page.get("next") == "c"
    assert page.get("tail") == [[2]]
    assert len(page) == len(records)
    assert page.records == records
    read = page.batch.to_pylist()
    assert [row["id"] for row in read] == [record["id"] for record in records]
    assert [row["t"] for row in read] == [record["t"] for record in records]
    assert [row["j"] and json.loads(row["j"]) for row in read] == [
        record["j"] if record["j"] is not None else None for record in records
    ]
    numbers = [record["n"] for record in records]
    assert [row["n"] for row in read] == [n if n is None else Decimal(str(n)) for n in numbers]
    assert all(row["absent"] is None for row in read)


@given(st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.text() | st.none()}), max_size=4))
def test_text_round_trips_through_a_page(records: list[dict[str, str | None]]) -> None:
    body = json.dumps({"rows": records}).encode()
    assert Page(body, "rows", [Column("a"), Column("b")]).batch.to_pylist() == records


@pytest.mark.parametrize("body", [b"", b'{"rows": [', b'{"rows": [{"a": 1}', b"<html>", b"null"])
def test_half_a_page_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        Page(body, "rows", COLUMNS)


@pytest.mark.parametrize("body", [b'{"rows": 1}', b'{"other": []}', b'{"rows": [1]}', b"[]"])
def test_a_page_without_its_records_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        Page(body, "rows", COLUMNS)


NESTED = Column("a", "jsonb")


def test_nesting_without_end_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        Page(b'{"rows":[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "rows", [NESTED])


@pytest.mark.parametrize("depth", [200, 300, 800])
@pytest.mark.parametrize("inner", ["1", "0.12345678901234567890", '"a"'])
def test_deep_nesting_is_kept(depth: int, inner: str) -> None:
    text = "[" * depth + inner + "]" * depth
    assert raw_column("jsonb", text, "[1]").to_pylist() == [text, "[1]"]


def test_two_columns_of_one_field() -> None:
    columns = [Column("day", "text", field="at"), Column("at", "timestamptz")]
    batch = Page(b'[{"at":"2024-01-02T00:00:00Z"}]', "", columns).batch
    assert batch.to_pylist() == [
        {"day": "2024-01-02T00:00:00Z", "at": datetime(2024, 1, 2, tzinfo=UTC)}
    ]


def test_a_file_that_is_no_csv_shows_none_of_its_values() -> None:
    with pytest.raises(RetriableError, match="cut off or no CSV") as info:
        read_csv(b"a,b\n1,2\ncanary,2,3\n")
    assert "canary" not in str(info.value)
    assert info.value.__suppress_context__


COLUMNS = [Column("i", "bigint"), Column("t", "text"), Column("b", "boolean")]


def test_csv_keeps_null_and_empty_text_apart() -> None:
    texts = read_csv(b'1,"",true\n,,\n3,"a\n,""b""",false\n', names=["i", "t", "b"])
    batch = batch_from_text(COLUMNS, texts)
    assert batch.to_pylist() == [
        {"i": 1, "t": "", "b": True},
        {"i": None, "t": None, "b": None},
        {"i": 3, "t": 'a\n,"b"', "b": False},
    ]


def test_csv_with_a_header_where_everything_is_quoted() -> None:
    texts = read_csv(b'"i","t","b"\n"1","","true"\n"","x",""\n', null_text="")
    assert batch_from_text(COLUMNS, texts).to_pylist() == [
        {"i": 1, "t": None, "b": True},
        {"i": None, "t": "x", "b": None},
    ]


def test_csv_of_a_header_alone_has_no_rows() -> None:
    batch = batch_from_text(COLUMNS, read_csv(b'"i","t","b"\n', null_text=""))
    assert batch.num_rows == 0
    assert batch.schema.field("i").type == pa.int64()


@given(
    st.lists(
        st.none()
        | st.decimals(
            allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12
        )
    )
)
def test_decimal_text_round_trips(values: list[Decimal | None]) -> None:
    texts = pa.array([None if value is None else str(value) for value in values], pa.string())
    assert typed("numeric", texts).to_pylist() == values


@given(st.lists(st.none() | st.datetimes(timezones=st.just(UTC))))
def test_times_round_trip(values: list[datetime | None]) -> None:
    texts = pa.array(
        [None if value is None else value.isoformat() for value in values], pa.string()
    )
    assert typed("timestamptz", texts).to_pylist() == values


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(_JSON.filter(lambda value: value is not None), max_size=4))
def test_nested_values_round_trip_as_json_text(values: list[object]) -> None:
    assert [json.loads(text) for text in column("jsonb", *values).to_pylist()] == values
