"""The quick way from a page's bytes to Arrow gives what the certain way gives."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltano_assets.sources.pages import Page, quick_batch, split_page
from meltano_assets.sources.records import batch_from_records, parse_json_exactly
from meltano_assets.streams import Column

COLUMNS = (
    Column("id", "bigint"),
    Column("name", "text"),
    Column("amount", "numeric"),
    Column("share", "double precision"),
    Column("is_open", "boolean"),
    Column("at", "timestamptz"),
    Column("day", "date"),
    Column("tags", "jsonb"),
    Column("custom", "jsonb"),
)
FLAT = tuple(column for column in COLUMNS if column.type != "jsonb")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    # How long fractions are spelled where text is declared differs even between parsers.
    st.integers(-(10**6), 10**6).map(lambda number: number / 4),
    st.text(max_size=8),
    st.sampled_from(["7", "1.50", "2026-01-02T03:04:05Z", "2026-01-02", "true", "", "[1]", "{}"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "name", "x", 'q"t']), inner, max_size=3),
    ),
    max_leaves=5,
)
#: Mostly as declared, now and then anything.
likely: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(0, 2**40),
    "name": st.text(max_size=12),
    "amount": st.decimals(-(10**6), 10**6, places=2).map(float),
    "share": st.floats(allow_nan=False, allow_infinity=False),
    "is_open": st.booleans(),
    "at": st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+02:00"]),
    "day": st.sampled_from(["2026-01-02", "1999-12-31"]),
    "tags": st.lists(st.text(max_size=5), max_size=3),
    "custom": st.lists(st.fixed_dictionaries({"id": st.integers(), "name": st.text(max_size=3)})),
}
records = st.lists(
    st.fixed_dictionaries(
        {"id": likely["id"]},
        optional={
            **{name: st.one_of(likely[name], st.none()) for name in likely if name != "id"},
            "extra": values,
        },
    ),
    max_size=4,
)
odd_records = st.lists(
    st.dictionaries(st.sampled_from([*likely, "extra"]), values, max_size=6), max_size=4
)


def plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows, nested texts parsed, so that blanks between values do not matter."""
    raw = batch.set_column(0, "id", batch.column("id"))
    rows: list[dict[str, Any]] = []
    columns = {}
    for name in raw.schema.names:
        array = raw.column(name)
        if pa.types.is_string(array.type):
            array = array.cast(pa.binary())
        elif pa.types.is_timestamp(array.type):
            array = array.cast(pa.int64())  # Python knows no years before 1 and after 9999
        columns[name] = array.to_pylist()
    for place in range(raw.num_rows):
        row = {name: cells[place] for name, cells in columns.items()}
        for name in ("tags", "custom"):
            if row.get(name) is not None:
                row[name] = json.loads(
                    row[name].decode("utf-8", "surrogatepass"), parse_float=Decimal
                )
        rows.append(row)
    return rows


def kinds(batch: pa.RecordBatch) -> list[str]:
    return ["decimal" if pa.types.is_decimal(f.type) else str(f.type) for f in batch.schema]


def certain(columns: tuple[Column, ...], body: bytes) -> pa.RecordBatch:
    parsed: Any = parse_json_exactly(body)
    return batch_from_records(columns, parsed["items"], are_exact=True)


def check(items: list[dict[str, Any]], columns: tuple[Column, ...], ensure_ascii: bool) -> None:
    text = json.dumps({"items": items, "next": [1]}, ensure_ascii=ensure_ascii)
    body = text.encode("utf-8", "surrogatepass")
    wanted = certain(columns, body)
    # Columns of this page alone: what other pages taught decides the way.
    untaught = tuple(replace(column, description=text) for column in columns)
    for known in (columns, untaught, untaught):
        page = Page(body, "items", known)
        assert plain(page.batch) == plain(wanted)
        assert kinds(page.batch) == kinds(wanted)
        assert len(page) == len(items)


@settings(deadline=None, max_examples=150)
@given(records, st.booleans())
def test_pages_as_declared_read_the_same_either_way(
    items: list[dict[str, Any]], ensure_ascii: bool
) -> None:
    check(items, COLUMNS, ensure_ascii)
    check(items, FLAT, ensure_ascii)


@settings(deadline=None, max_examples=150)
@given(odd_records, st.booleans())
def test_pages_of_anything_read_the_same_either_way(
    items: list[dict[str, Any]], ensure_ascii: bool
) -> None:
    check(items, COLUMNS, ensure_ascii)
    check(items, FLAT, ensure_ascii)


def ticket(number: int, **more: object) -> dict[str, object]:
    return {
        "id": number,
        "name": f'n {number} \\ "q" é 🚀',
        "amount": 12.5,
        "share": 0.1 + number,
        "is_open": True,
        "at": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "tags": ["a", "b"],
        "custom": [{"id": 1, "value": "x"}, {"id": 2, "value": None}],
        **more,
    }


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"amount": "12.50"},
        {"id": "7"},
        {"name": 5},
        {"name": True},
        {"name": None, "tags": None},
        {"custom": {}},
        {"extra": {"id": 5, "name": "x"}},
        {"is_open": "yes"},
        {"at": "2026-01-02 03:04:05"},
        {"at": 1767322800000},
    ],
    ids=str,
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_usual_pages_and_usual_oddities_go_the_quick_way(
    more: dict[str, object], separators: tuple[str, str]
) -> None:
    """Also with nested objects that begin like the records."""
    items = [ticket(1), ticket(2, **more), ticket(3)]
    body = json.dumps({"items": items, "next": None}, separators=separators).encode()
    split = split_page(body, "items")
    assert split is not None
    quick = quick_batch(COLUMNS, split[1])
    assert quick is not None
    assert plain(quick) == plain(certain(COLUMNS, body))


@pytest.mark.parametrize(
    ("text", "is_quick"),
    [
        ('"amount": 1.2345678901234567890123', True),
        ('"amount": 12345678.1000000001', True),
        ('"amount": 123456789.123456789', True),
        ('"amount": 1e5, "id": 7.0', True),
        ('"id": 7.5, "name": 1.10', True),
        ('"id": 18446744073709551616', True),
        ('"id": true, "name": -0.0, "is_open": 1', True),
        ('"tags": [0.12345678901234567], "custom": 1e5', True),
        ('"tags": "a plain string", "custom": "[1, 2]"', True),
        (r'"tags": {"a\"},{\"id\": [1]}": 1}, "other": [{"id": 5},{"id": 6, "tags": 1}]', True),
        (r'"tags": {"a": "\\"}, "other": [{"id": 5},{"id": 6, "tags": 1}]', True),
        (r'"name": "\"},{\"id\":2", "tags": [{"id": 5},{"id": 6}]', True),
        ('"tags": [1], "tags": [2]', False),
        ('"id": 2, "id": 3', False),
        (r'"t\u0061gs": [1]', False),
        (r'"name": "\ud800"', False),
        (r'"tags": ["\ude00"]', False),
        ('"name": NaN, "tags": [NaN]', True),
        ('"name": "NaN", "tags": ["Infinity"]', True),
    ],
)
def test_odd_pages_read_as_the_certain_way_reads_them(text: str, is_quick: bool) -> None:
    """By column where that is known to say the same."""
    # Columns of this test alone: what earlier pages taught would decide the way.
    declared = tuple(replace(column, description=text) for column in COLUMNS)
    body = f'{{"items": [{{"more": 1, {text}}},{{"id": 2}}, {{"name": "x"}}]}}'.encode()
    split = split_page(body, "items")
    assert split is not None
    assert (quick_batch(declared, split[1]) is not None) == is_quick
    for columns in (declared, FLAT):
        assert plain(Page(body, "items", columns).batch) == plain(certain(columns, body))


def test_fields_that_a_vendor_always_writes_otherwise_are_read_the_quick_way() -> None:
    """Numbers as text, whole numbers for text, for times and for flags, numbers beyond 32 bits."""
    columns = (*COLUMNS, Column("size", "integer"))
    items = [
        ticket(number, size=3_000_000_000, name=number, amount="12.50", is_open=1, at=1767322800000)
        for number in range(3)
    ]
    for body in (
        json.dumps({"items": items}).encode(),
        json.dumps({"items": [{**item, "size": 7} for item in items]}).encode(),
    ):
        split = split_page(body, "items")
        assert split is not None
        quick = quick_batch(columns, split[1])
        assert quick is not None
        assert plain(quick) == plain(certain(columns, body))
        assert kinds(quick) == kinds(certain(columns, body))


def test_names_of_nested_fields_are_told_apart() -> None:
    columns = tuple(Column(name, "jsonb") for name in ("s", "tags", "more tags", "a_long_name_1"))
    body = (
        rb'{"items":[{"a_long_name_2":[0],"tags" : [1],"more tags":[2],"a_long_name_1":{"tags":[3]}},'
        rb'{"s":{},"x\"s":[4],"x\"tags":[5],"a_long_name_1":{"s":6}}, {"tags":null,"other":{"s":[7]}}]}'
    )
    split = split_page(body, "items")
    assert split is not None
    quick = quick_batch(columns, split[1])
    assert quick is not None
    assert quick.to_pylist() == [
        {"s": None, "tags": "[1]", "more tags": "[2]", "a_long_name_1": '{"tags":[3]}'},
        {"s": "{}", "tags": None, "more tags": None, "a_long_name_1": '{"s":6}'},
        dict.fromkeys(("s", "tags", "more tags", "a_long_name_1")),
    ]


def test_pretty_printed_pages_are_read_the_quick_way() -> None:
    body = json.dumps({"items": [ticket(1), ticket(2)]}, indent=2).encode()
    split = split_page(body, "items")
    assert split is not None
    for columns in (COLUMNS, FLAT):
        quick = quick_batch(columns, split[1])
        assert quick is not None and plain(quick) == plain(certain(columns, body))


@pytest.mark.parametrize("content", ["null", "[1]", '{"id":1},null', '{"id":1} null', '{"id":1},',
                                     '{"id":1},5', '{"id":1}{"id":2}', '{"id":[1}]', '{"id":"a\nb"}'])  # fmt: skip
def test_what_is_no_list_of_objects_is_no_page(content: str) -> None:
    for columns in (COLUMNS, FLAT):
        assert quick_batch(columns, content.encode()) is None
        with pytest.raises(ValueError):
            Page(f'{{"items":[{content}]}}'.encode(), "items", columns)


def test_large_pages_are_read_in_two_halves() -> None:
    items = [ticket(number) for number in range(2000)]
    body = json.dumps({"items": items}).encode()
    for columns in (COLUMNS, FLAT):
        assert plain(Page(body, "items", columns).batch) == plain(certain(columns, body))


def test_surrogate_pairs_are_read_the_quick_way() -> None:
    batch = quick_batch(COLUMNS, rb'{"id": 1, "name": "\ud83d\ude00", "tags": ["\ud83d\ude00"]}')
    assert batch is not None
    assert batch.column("name").to_pylist() == ["😀"]


@pytest.mark.parametrize(
    ("text", "count"),
    [(b'{"id":1,"id":2,"name":"x"}', 1), (b'{"id":2,"name":"x","tags":null,"tags":null}', 1),
     (b'{"tags":[1],"id":2,"name":"x","tags":null}', 1), (b'{"id":2,"name":"x"}', 0)],
)  # fmt: skip
def test_keys_that_stand_twice_in_a_record_are_told_and_the_last_is_kept(
    text: bytes, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    page = Page(b'{"items":[' + text + b',{"id":3}]}', "items", COLUMNS)
    assert page.batch.slice(0, 1).select(["id", "name", "tags"]).to_pylist() == [
        {"id": 2, "name": "x", "tags": None}
    ]
    assert [record.args for record in caplog.records] == ([(count,)] if count else [])
