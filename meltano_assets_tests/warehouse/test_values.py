"""Hostile and merely awkward values (L6): one rule each, through the real load into a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, ColumnType, LoadOutcome
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.numeric_values import encode
from meltano_assets.warehouse.types import from_arrow
from meltano_assets.warehouse.values import convert
from meltano_assets_tests.warehouse.tables import query, stream

Store = Callable[..., tuple[LoadOutcome, list[object]]]


@pytest.fixture
def store(warehouse: Warehouse) -> Store:
    """Loads one column of values (an id beside it) and reads the column back as text."""
    number = 0

    def run(
        array: pa.Array, kind: ColumnType, **options: object
    ) -> tuple[LoadOutcome, list[object]]:
        nonlocal number
        number += 1
        table = f"t{number}"
        columns = stream({"id": "bigint", "v": kind}, name=table)
        columns = replace(columns, options={"max_quarantine_share": 1.0, **options})
        ids = pa.array(range(len(array)), pa.int64())
        records = pa.RecordBatch.from_arrays([ids, array], names=["id", "v"])
        outcome = load(warehouse, columns, [Batch(records)])
        assert outcome.is_balanced
        rows = query(warehouse, f"select v::text from shop.{table} order by id")
        return outcome, [value for (value,) in rows]

    return run


# text


def test_nul_bytes_become_the_replacement_character_and_are_counted(store: Store) -> None:
    outcome, values = store(pa.array(["a\x00b", "\x00", "plain", None]), "text")
    assert values == ["a\ufffdb", "\ufffd", "plain", None]
    assert outcome.cleaned == {"nul": 2}


def test_bytes_that_are_not_utf8_become_the_replacement_character(store: Store) -> None:
    raw = pa.array([b"ok", b"\xff\xfe", b"\xed\xa0\x80"])
    strings = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    outcome, values = store(strings, "text")
    assert values[0] == "ok" and "\ufffd" in str(values[1]) and "\ufffd" in str(values[2])
    assert outcome.cleaned == {"invalid_utf8": 2}


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        ("integer", "5"),
        ("bigint", "5"),
        ("numeric", "5.25"),
        ("double precision", "0.5"),
        ("boolean", "true"),
        ("date", "2026-03-01"),
        ("timestamp", "2026-03-01 00:00:00"),
        ("timestamptz", "2026-03-01 00:00:00+00"),
        ("uuid", "00000000-0000-4000-8000-000000000000"),
        ("inet", "192.0.2.1/32"),
    ],
)
def test_bytes_that_are_not_utf8_are_no_value_of_any_other_type(
    store: Store, warehouse: Warehouse, kind: ColumnType, good: str
) -> None:
    raw = pa.array([good.encode(), b"\xa9", b"5\xff", None])
    strings = pa.Array.from_buffers(pa.string(), 4, raw.buffers(), raw.null_count)
    outcome, values = store(strings, kind)
    assert values == [good, None] and outcome.quarantined == 2
    (table,) = query(warehouse, "select table_name from meltano.load_log")[0]
    kept = query(warehouse, f"select record, reason from {table}__quarantine order by id")
    assert [reason for _, reason in kept] == [f"not a {kind}"] * 2
    assert all("\ufffd" in str(record) for record, _ in kept)


def test_empty_text_and_null_stay_apart(store: Store) -> None:
    _, values = store(pa.array(["", None, " ", "\r", "\n", '"', "\\N", "\\."]), "text")
    assert values == ["", None, " ", "\r", "\n", '"', "\\N", "\\."]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
)
def test_every_kind_of_arrow_string_is_text(store: Store, kind: pa.DataType) -> None:
    array = pa.array(["x", "skip", "ü\x00", None, "🚀"]).cast(kind)
    _, values = store(array.slice(2), "text")
    assert values == ["ü\ufffd", None, "🚀"]


def test_a_string_of_20_megabytes_arrives_whole(store: Store) -> None:
    outcome, values = store(pa.array(["é" * 10_000_000, "small"]), "text")
    assert len(str(values[0])) == 10_000_000 and values[1] == "small"
    assert outcome.inserted == 2


# numbers


def test_a_fraction_in_an_integer_column_makes_it_numeric(store: Store) -> None:
    outcome, values = store(pa.array(["1", "7.25", "-3"]), "integer")
    assert values == ["1", "7.25", "-3"]
    assert outcome.schema_changes == ["created table", "widened column v (integer → numeric)"]


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (pa.array([1, 2**31]), "integer", ["1", "2147483648"]),
        (pa.array([1, 2**63], pa.uint64()), "integer", ["1", "9223372036854775808"]),
        (pa.array(["1", "9" * 40]), "bigint", ["1", "9" * 40]),
        (pa.array([1.0, 2.0, None]), "integer", ["1", "2", None]),
        (pa.array([1.0, 2.5]), "bigint", ["1", "2.5"]),
        (pa.array([Decimal("1.00"), Decimal("2.00")]), "integer", ["1", "2"]),
        (pa.array(["+5", "007", "1.0", "-0"]), "integer", ["5", "7", "1", "0"]),
        (pa.array([2**53 + 1]), "double precision", ["9007199254740993"]),
        (pa.array(["9007199254740993", "0.5"]), "double precision", ["9007199254740993", "0.5"]),
        (pa.array(["0.1", "1e-300", "nan"]), "double precision", ["0.1", "1e-300", "NaN"]),
        (pa.array([0.1, 1e22, float("nan"), float("-inf"), -0.0]), "double precision",
         ["0.1", "1e+22", "NaN", "-Infinity", "-0"]),
        (pa.array([True, False]), "integer", ["true", "false"]),
    ],
)  # fmt: skip
def test_numbers_are_kept_or_the_column_widens(
    store: Store, array: pa.Array, kind: ColumnType, expected: list[str | None]
) -> None:
    outcome, values = store(array, kind)
    assert values == expected
    assert outcome.quarantined == 0


def test_numeric_keeps_every_digit_scale_and_special_value(store: Store) -> None:
    texts = ["0", "0.00", "-1.50", "1e30", "1E-20", "123456789012345.678901234567890", "NaN",
             "Infinity", "-inf", "  12 ", ".5", "5.", "-0.0001", "9" * 60 + ".1", "10000", "00012"]  # fmt: skip
    _, values = store(pa.array(texts), "numeric")
    assert values == ["0", "0.00", "-1.50", "1" + "0" * 30, "0.00000000000000000001",
                      "123456789012345.678901234567890", "NaN", "Infinity", "-Infinity", "12",
                      "0.5", "5", "-0.0001", "9" * 60 + ".1", "10000", "12"]  # fmt: skip


def test_floats_in_a_numeric_column_keep_their_shortest_exact_text(store: Store) -> None:
    _, values = store(pa.array([0.1, 1 / 3, 1e-7, 123456.789, float("nan"), None]), "numeric")
    assert values == ["0.1", "0.3333333333333333", "0.0000001", "123456.789", "NaN", None]


def test_text_in_a_numeric_column_is_set_aside_and_the_others_load(
    store: Store, warehouse: Warehouse
) -> None:
    outcome, values = store(pa.array(["1", "abc", "3", "", "0x1F", "1_000"]), "numeric")
    assert values == ["1", "3"]
    assert (outcome.read, outcome.inserted, outcome.quarantined) == (6, 2, 4)
    kept = query(warehouse, "select record, reason, column_name from shop.t1__quarantine")
    assert kept[0] == ('{"id":1,"v":"abc"}', "not a numeric", "v")
    assert len(kept) == 4


def test_nan_in_an_integer_column_is_set_aside(store: Store) -> None:
    outcome, values = store(pa.array([1.0, float("nan"), float("inf")]), "bigint")
    assert values == ["1"] and outcome.quarantined == 2


def test_too_many_bad_records_fail_the_load_and_nothing_is_stored(
    store: Store, warehouse: Warehouse
) -> None:
    with pytest.raises(FatalError, match="11 of 100 records cannot be stored"):
        store(pa.array(["x"] * 11 + ["1"] * 89), "numeric", max_quarantine_share=0.1)
    assert query(
        warehouse, "select to_regclass('shop.t1'), to_regclass('shop.t1__quarantine')"
    ) == [(None, None)]


_decimals = st.decimals(allow_nan=True, allow_infinity=True, places=None).filter(
    lambda number: not number.is_snan()
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_decimals, st.decimals(-(10**9), 10**9, places=4)), max_size=20))
def test_every_decimal_text_is_encoded_as_its_own_value(numbers: list[Decimal]) -> None:
    texts = [str(number) for number in numbers]
    converted = convert(pa.array(texts, pa.string()), "numeric")
    bad = converted.bad if converted.bad is not None else [False] * len(numbers)
    for number, raw, is_bad in zip(numbers, converted.array.to_pylist(), bad, strict=True):
        assert is_bad == (encode(number) is None)
        if not is_bad:
            decoded = _decode(raw)
            assert decoded == number or (decoded.is_nan() and number.is_nan())


def _decode(raw: bytes) -> Decimal:
    words = [int.from_bytes(raw[at : at + 2], signed=at != 4) for at in range(0, len(raw), 2)]
    count, weight, sign, scale, *digits = words
    if sign in (0xC000, 0xD000, 0xF000):
        return Decimal({0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}[sign])
    assert len(digits) == count and all(0 <= digit < 10_000 for digit in digits) and scale >= 0
    text = "".join(f"{digit:04}" for digit in digits) or "0"
    number = Decimal(("-" if sign else "") + f"{text}e{4 * (weight - count + 1)}")
    return number if count else Decimal(0)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**70), 2**70)), min_size=1, max_size=5))
def test_integers_of_any_size_arrive_as_they_are(store: Store, numbers: list[int | None]) -> None:
    texts = pa.array([None if number is None else str(number) for number in numbers], pa.string())
    _, values = store(texts, "integer")
    assert values == texts.to_pylist()


# times


def test_naive_times_are_utc_and_counted(store: Store) -> None:
    texts = ["2026-03-01T10:00:00", "2026-03-01 10:00:00+02:00", "2026-03-01T10:00:00.5Z", None]
    outcome, values = store(pa.array(texts), "timestamptz")
    assert values == [
        "2026-03-01 10:00:00+00",
        "2026-03-01 08:00:00+00",
        "2026-03-01 10:00:00.5+00",
        None,
    ]
    assert outcome.cleaned == {"naive_time_as_utc": 1}
    outcome, values = store(pa.array([1_772_359_200], pa.timestamp("s")), "timestamptz")
    assert values == ["2026-03-01 10:00:00+00"] and outcome.cleaned == {"naive_time_as_utc": 1}


def test_a_zone_in_a_column_without_zones_widens_it(store: Store) -> None:
    _, values = store(pa.array(["2026-03-01T10:00:00", "2026-03-01T10:00:00+02:00"]), "timestamp")
    assert values == ["2026-03-01 10:00:00+00", "2026-03-01 08:00:00+00"]


def test_years_0_and_10000_are_kept_and_counted(store: Store) -> None:
    texts = ["0000-03-01T00:00:00Z", "10000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
             "0001-01-01T00:00:00Z", "294000-12-31T00:00:00Z"]  # fmt: skip
    outcome, values = store(pa.array(texts), "timestamptz")
    assert values == [
        "0001-03-01 00:00:00+00 BC",
        "10000-01-01 00:00:00+00",
        "9999-12-31 23:59:59.999999+00",
        "0001-01-01 00:00:00+00",
        "294000-12-31 00:00:00+00",
    ]
    assert outcome.cleaned == {"unusual_year": 3}
    outcome, values = store(pa.array([date(1, 1, 1), date(9999, 12, 31)]), "date")
    assert values == ["0001-01-01", "9999-12-31"] and outcome.cleaned == {}
    outcome, values = store(pa.array(["0000-02-29", "10000-01-01"]), "date")
    assert values == ["0001-02-29 BC", "10000-01-01"] and outcome.cleaned == {"unusual_year": 2}


def test_times_that_are_none_or_out_of_range_are_set_aside(store: Store) -> None:
    texts = ["2026-02-30T00:00:00Z", "infinit", "yesterday", "", "400000-01-01T00:00:00Z",
             "2026-01-01T25:00:00Z", "0000-00-00", "2026-01-01T00:00:00Z"]  # fmt: skip
    outcome, values = store(pa.array(texts), "timestamptz")
    assert values == ["2026-01-01 00:00:00+00"] and outcome.quarantined == 7


def test_nanoseconds_are_rounded_as_postgres_rounds_and_counted(store: Store) -> None:
    nanos = pa.array([1_500, 2_500, 1_501, 999_999_999_999, 1_000, None], pa.int64())
    outcome, values = store(nanos.cast(pa.timestamp("ns", "UTC")), "timestamptz")
    assert values == [
        "1970-01-01 00:00:00.000002+00",
        "1970-01-01 00:00:00.000002+00",
        "1970-01-01 00:00:00.000002+00",
        "1970-01-01 00:16:40+00",
        "1970-01-01 00:00:00.000001+00",
        None,
    ]
    assert outcome.cleaned == {"microseconds_rounded": 4}


def test_a_time_of_day_in_a_date_column_widens_it(store: Store) -> None:
    _, values = store(pa.array(["2026-03-01", "2026-03-01T10:00:00Z"]), "date")
    assert values == ["2026-03-01 00:00:00+00", "2026-03-01 10:00:00+00"]
    _, values = store(pa.array(["2026-03-01", "2026-03-02T00:00:00Z"]), "date")
    assert values == ["2026-03-01", "2026-03-02"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=1, max_size=5))
def test_times_arrive_as_they_are_from_arrow_and_from_text(
    store: Store, times: list[datetime]
) -> None:
    as_arrow = pa.array(times, pa.timestamp("us", "UTC"))
    as_text = pa.array([moment.isoformat() for moment in times])
    assert store(as_arrow, "timestamptz")[1] == store(as_text, "timestamptz")[1]


def test_times_that_postgres_writes_or_takes_are_times(store: Store, warehouse: Warehouse) -> None:
    texts = [
        "1890-01-01 00:53:28+00:53:28", "1890-01-01T00:00:00-04:56:02", "2016-12-31T23:59:60Z",  "2020-02-28T24:00:00Z", "2020-12-31 24:00", "2020-01-01t10:00:00z",
        "0044-03-15 12:00:00+00 BC", "0001-12-31 BC", "4713-01-01 00:00:00+00 BC",
    ]  # fmt: skip
    outcome, values = store(pa.array(texts), "timestamptz")
    assert outcome.quarantined == 0
    with warehouse.connect() as connection:
        connection.execute("set timezone to 'UTC'")
        assert values == [
            connection.execute("select %s::timestamptz::text", [text]).fetchone()[0]  # type: ignore[index]
            for text in texts
        ]
    assert store(pa.array(["0044-03-15 BC", "0001-01-01"]), "date")[1] == [
        "0044-03-15 BC", "0001-01-01",
    ]  # fmt: skip
    assert store(pa.array(["2016-12-31 23:59:60.25+00"]), "timestamptz")[1] == [
        "2017-01-01 00:00:00.25+00"
    ]
    no_times = ["2020-01-01T24:00:01Z", "2020-01-01T24:00:00.5Z", "2020-01-01T23:60:00Z",
                "2020-01-01T23:59:61Z", "0000-01-01 BC"]  # fmt: skip
    assert store(pa.array(no_times), "timestamptz")[0].quarantined == len(no_times)


FAR = 2**31 - 1


@pytest.mark.parametrize(
    "array",
    [
        pa.array([FAR, -FAR, 0], pa.int32()).cast(pa.date32()),
        pa.array([2**62, -(2**62), 0], pa.timestamp("s")),
        pa.array([2**62, -(2**62), 0], pa.timestamp("ms", "UTC")),
        pa.array([FAR * 86_400_000, -FAR * 86_400_000, 0], pa.int64()).cast(pa.date64()),
        pa.array([FAR * 10**9, -FAR * 10**9, 0], pa.int64()).cast(pa.date64()),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz", "text", "jsonb"])
def test_times_beyond_a_columns_range_are_set_aside_not_wrapped(
    store: Store, array: pa.Array, kind: ColumnType
) -> None:
    outcome, values = store(array, kind)
    assert outcome.quarantined == 2
    assert [str(value).strip('"')[:10] for value in values] == ["1970-01-01"]


def test_times_of_every_unit_are_dates_where_they_are_whole_days(store: Store) -> None:
    day = 86_400_000_000
    for unit, factor in (("s", 10**6), ("ms", 10**3), ("us", 1)):
        days = pa.array([106_000_000 * day // factor, -day // factor, None], pa.timestamp(unit))
        assert store(days, "date")[1] == ["292188-02-22", "1969-12-31", None]
    # The last microsecond that 64 bits can say, and the last nanosecond.
    assert store(pa.array([2**63 - 1], pa.timestamp("us")), "date")[1] == [
        "294247-01-10 04:00:54.775807"
    ]
    assert store(pa.array([2**63 - 1], pa.timestamp("ns")), "date")[1] == [
        "2262-04-11 23:47:16.854776"
    ]
    # Dates in milliseconds may hide a time of day.
    odd = pa.array([86_400_000, 86_400_001], pa.int64()).cast(pa.date64())
    assert store(odd.slice(0, 1), "date")[1] == ["1970-01-02"]
    assert store(odd.slice(0, 1), "text")[1] == ["1970-01-02"]
    assert store(odd, "date")[1] == ["1970-01-02 00:00:00", "1970-01-02 00:00:00.001"]


def _small(kind: pa.DataType, low: int, high: int) -> st.SearchStrategy[pa.Array]:
    numbers = st.one_of(st.none(), st.integers(low, high))
    width = pa.int32() if kind == pa.date32() else pa.int64()
    return st.lists(numbers, min_size=1, max_size=4).map(lambda found: pa.array(found, width).cast(kind))  # fmt: skip


def _made(kind: pa.DataType, values: st.SearchStrategy[object]) -> st.SearchStrategy[pa.Array]:
    lists = st.lists(st.one_of(st.none(), values), min_size=1, max_size=4)
    return lists.map(lambda found: pa.array(found, kind))


def _decimals(kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
    digits = st.integers(-(10**kind.precision) + 1, 10**kind.precision - 1)
    return _made(kind, digits.map(lambda number: Decimal((number < 0, tuple(map(int, str(abs(number)))), -kind.scale))))  # fmt: skip


_DAY = 86_400
_DECIMALS = (
    pa.decimal32(7, 2), pa.decimal64(18, 18), pa.decimal128(38, 6), pa.decimal256(76, 30),
)  # fmt: skip
#: Arrays of every kind that has one value in a cell, in the encodings in which they travel.
_ARRAYS = st.one_of(
    *(
        _made(kind, st.integers(-(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1))
        for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())
    ),
    *(
        _made(kind, st.integers(0, 2**kind.bit_width - 1))
        for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
    ),
    *(
        _made(kind, st.floats(width=kind.bit_width))
        for kind in (pa.float16(), pa.float32(), pa.float64())
    ),
    *map(_decimals, _DECIMALS),
    _made(pa.bool_(), st.booleans()),
    *(
        _made(kind, st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
        for kind in (pa.string(), pa.large_string(), pa.string_view())
    ),
    *(_made(kind, st.binary()) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    _made(pa.binary(3), st.binary(min_size=3, max_size=3)),
    _small(pa.date32(), -719_162, 2_932_896),
    *(
        _small(pa.timestamp(unit, zone), -719_162 * _DAY * each, 2_932_896 * _DAY * each)
        for unit, each in (("s", 1), ("ms", 10**3), ("us", 10**6))
        for zone in (None, "UTC", "Asia/Kathmandu")
    ),
)


def _as_dictionary(array: pa.Array) -> pa.Array:
    # Narrow decimals are the only values of which Arrow makes no dictionary.
    is_narrow = pa.types.is_decimal32(array.type) or pa.types.is_decimal64(array.type)
    return array if is_narrow else array.dictionary_encode()


_ENCODED = st.one_of(
    _ARRAYS,
    _ARRAYS.map(lambda array: pa.concat_arrays([array, array]).slice(1)),
    _ARRAYS.map(_as_dictionary),
)


def _said(value: object) -> str | None:
    """A value in words that Postgres reads."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_ENCODED)
def test_a_value_of_any_arrow_type_is_what_postgres_reads_of_its_text(
    store: Store, warehouse: Warehouse, array: pa.Array
) -> None:
    kind = from_arrow(array.type)
    _, values = store(array, kind)
    texts = [_said(value) for value in array.to_pylist()]
    as_read = f"select v::{kind}::text from unnest(%s::text[])"
    with warehouse.connect() as connection:
        connection.execute("set timezone to 'UTC'")
        expected = connection.execute(f"{as_read} with ordinality as t(v, n) order by n", [texts])
        assert values == [value for (value,) in expected]


# JSON


def test_json_that_postgres_refuses_follows_its_rules(store: Store) -> None:
    texts = ['{"a": "x\\u0000y"}', '["\\ud800", "\\ud83d\\ude00"]', "[NaN, Infinity, -Infinity]",
             '{"a": 1,\n "b": 2}', '"\\\\u0000"', "[1e400, 123456789012345678901234567890]",
             '{"a": 1, "a": 2}', "null", None]  # fmt: skip
    outcome, values = store(pa.array(texts), "jsonb")
    assert values == ['{"a": "x\ufffdy"}', '["\ufffd", "😀"]', '["NaN", "Infinity", "-Infinity"]',
                      '{"a": 1, "b": 2}', '"\\\\u0000"',
                      f"[1{'0' * 400}, 123456789012345678901234567890]", '{"a": 2}', "null", None]  # fmt: skip
    assert outcome.cleaned == {
        "nul": 1, "lone_surrogate": 1, "nan_in_json": 3, "json_key_twice": 1,
    }  # fmt: skip


def test_what_is_no_json_is_set_aside(store: Store) -> None:
    texts = ['{"a": 1}', "{a: 1}", "", "[1", '1}\n{"v": 2', '"a\nb"', "[1,]", "nul", "[] []", "1,2",
             '1,"x":2', '{},"x":{}', '[1],"w":[2]', "{}{}", '{"a":', '{"a":{}', "-NaN", "Inf"]  # fmt: skip
    outcome, values = store(pa.array(texts), "jsonb")
    assert values == ['{"a": 1}'] and outcome.quarantined == len(texts) - 1


def test_texts_that_are_json_only_together_are_set_aside(store: Store) -> None:
    outcome, values = store(pa.array(['{"a":', '{"b": 2}}', "{}{}", "[]"]), "jsonb")
    assert values == ["[]"] and outcome.quarantined == 3


def test_deep_json_is_kept_as_a_json_string_and_the_rest_as_trees(store: Store) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    fine = "[" * 900 + "]" * 900
    outcome, values = store(pa.array([deep, fine, '{"a": "[[[["}']), "jsonb")
    assert json.loads(str(values[0])) == deep
    assert values[1] == fine and values[2] == '{"a": "[[[["}'
    assert outcome.cleaned == {"deep_json_as_text": 1}


def test_nested_arrow_becomes_json(store: Store) -> None:
    nested = pa.array([{"a": [1, None, float("nan")], "s": "x\x00"}, {"a": None, "s": "é"}, None])
    outcome, values = store(nested, "jsonb")
    assert values == ['{"a": [1.0, null, "NaN"], "s": "x\ufffd"}', '{"a": null, "s": "é"}', None]
    assert outcome.cleaned == {"nan_in_json": 1, "nul": 1}


def test_spans_of_time_inside_json_are_the_text_that_they_are_in_a_column(store: Store) -> None:
    spans = pa.array([{"d": timedelta(days=-1, microseconds=1)}])
    assert store(spans, "jsonb")[1] == ['{"d": "PT-86399.999999S"}']
    parts = pa.array([(1, -2, 3_000_000_001)], pa.month_day_nano_interval())
    assert store(parts, "jsonb")[1] == ['"P1M-2DT3.000000001S"']
    nanos = pa.StructArray.from_arrays([pa.array([10**18 + 1], pa.duration("ns"))], ["d"])
    assert store(nanos, "jsonb")[1] == ['{"d": "PT1000000000.000000001S"}']


# others


def test_uuid_inet_bytea_and_boolean(store: Store) -> None:
    uuid = UUID("123e4567-e89b-12d3-a456-426614174000")
    outcome, values = store(pa.array([str(uuid), uuid.hex.upper(), f"{{{uuid}}}", "x"]), "uuid")
    assert values == [str(uuid)] * 3 and outcome.quarantined == 1
    outcome, values = store(pa.array(["10.1.2.3", "fe80::1/64", "10.0.0.0/8", "10.1"]), "inet")
    assert values == ["10.1.2.3/32", "fe80::1/64", "10.0.0.0/8"] and outcome.quarantined == 1
    assert store(pa.array([b"\x00\xff", b""]), "bytea")[1] == ["\\x00ff", "\\x"]
    outcome, values = store(pa.array(["true", "F", "yes", None]), "boolean")
    assert values == ["true", "false", None] and outcome.quarantined == 1


def test_arrows_own_uuids_and_truth_values_are_what_they_say(store: Store) -> None:
    uuid = UUID("123e4567-e89b-12d3-a456-426614174000")
    raw = pa.array([uuid.bytes, None], pa.binary(16))
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), raw)
    assert from_arrow(uuids.type) == "uuid"
    assert store(uuids, "uuid")[1] == store(uuids, "text")[1] == [str(uuid), None]
    assert store(uuids, "jsonb")[1] == [f'"{uuid}"', None]
    truths = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, 2, None], pa.int8()))
    assert from_arrow(truths.type) == "boolean"
    assert store(truths, "boolean")[1] == ["true", "false", "true", None]


def test_a_key_that_is_null_missing_or_too_long_is_set_aside(warehouse: Warehouse) -> None:
    texts = stream({"id": "text"}, options={"max_quarantine_share": 1.0})
    ids = pa.array(["a", None, "x" * 5000])
    outcome = load(warehouse, texts, [Batch(pa.RecordBatch.from_arrays([ids], ["id"]))])
    assert (outcome.inserted, outcome.quarantined) == (1, 2)
    other = pa.RecordBatch.from_arrays([pa.array([1])], ["other"])
    outcome = load(warehouse, texts, [Batch(other)])
    assert outcome.quarantined == 1
    reasons = query(warehouse, "select reason from shop.things__quarantine order by id")
    assert reasons == [
        ("the primary key is null",),
        ("the primary key is too long to be indexed",),
        ("the primary key is missing",),
    ]


@pytest.mark.parametrize("kind", ["integer", "bigint", "numeric", "double precision"])
@pytest.mark.parametrize("texts", [True, False])
def test_a_zero_that_loses_its_sign_is_counted(store: Store, kind: ColumnType, texts: bool) -> None:
    written = ["-0.0", "-0", "0", "-5", "-0.00e5", None]
    array = pa.array(written) if texts else pa.array(written).cast(pa.float64())
    outcome, values = store(array, kind)
    if kind == "double precision":
        assert values == ["-0", "-0", "0", "-5", "-0", None] and outcome.cleaned == {}
    else:
        assert outcome.cleaned == {"negative_zero": 3}
        assert [str(value).strip("0.") for value in values] == ["", "", "", "-5", "", "None"]
