"""Blocks of JSON records parsed at once (L6, L8): the same as record by record, or not at all."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.streams import Batch, ColumnType
from meltano_assets.warehouse import json_records
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.files import has_inexact_number, read_file
from meltano_assets.warehouse.json_columns import Columns
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse.tables import query, stream

KINDS: dict[str, ColumnType] = {
    "id": "bigint", "n": "numeric", "b": "boolean", "s": "text", "t": "timestamptz", "d": "date",
    "j": "jsonb",
}  # fmt: skip
PLAIN = (
    b'{"id":1,"n":1.5,"b":true,"s":"x","t":"2026-01-01T00:00:00Z","d":"2026-01-01","j":{"a":[1]}}\n'
)


def meaning(batch: pa.RecordBatch, kinds: dict[str, ColumnType]) -> dict[str, list[object]]:
    """What the columns say: numbers as numbers, documents as values."""
    said: dict[str, list[object]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = column.to_pylist()
        if kinds[name] == "jsonb":
            values = [None if one is None else orjson.loads(one) for one in values]
        elif kinds[name] == "numeric":
            values = [None if one is None else f"{Decimal(one):f}" for one in values]
        said[name] = values
    return said


def slowly(block: bytes, kinds: dict[str, ColumnType]) -> pa.RecordBatch:
    records = [json_records.loads_exactly(line) for line in block.splitlines()]
    return json_records.batch(cast(list[dict[str, object]], records), kinds)


@pytest.mark.parametrize("seed", range(30))
def test_a_block_says_the_same_as_its_records(seed: int) -> None:
    dice = random.Random(seed)
    texts = ["", "é 東京 🚀", 'a "quoted" \\ text\n', "\x00\x1f", "2026-01-01", "5", "true", "null"]
    documents = [{}, {"k": 1, "v": {"w": texts[2]}}, {"k": 2.5}, {"": None, "z": [1, 2]}, {"z": []},
                 {"k": -0.0}, {"k": 1e5, "é": "\x7f\x85\u2028"}, {"a\tb\r\n": "/<>&'"}]  # fmt: skip
    values = {
        "id": lambda: dice.choice([0, -1, 2**63 - 1, -(2**63) + 1, dice.randrange(10**9)]),
        "n": lambda: dice.choice([1, -2, 0.1, 1.0, 1e-7, 123456.789, dice.random(), 2**53 - 1]),
        "b": lambda: dice.random() < 0.5,
        "s": lambda: dice.choice(texts),
        "t": lambda: "2026-01-01T00:00:00.25Z",
        "d": lambda: "2026-02-03",
        "j": lambda: dice.choice(documents),
    }
    sparse = dice.choice([0.0, 0.1, 0.5])
    absent = dice.sample(sorted(values), dice.randrange(3))
    records = []
    for _ in range(200):
        record: dict[str, object] = {}
        for name, value in values.items():
            if name in absent or dice.random() < sparse / 2:
                continue
            record[name] = None if dice.random() < sparse else value()
        records.append(record)
    block = b"\n".join(map(orjson.dumps, records)) + b"\n"
    fast_kinds, slow_kinds = dict(KINDS), dict(KINDS)
    fast = Columns(fast_kinds).read(block)
    if fast is None:
        assert absent or sparse or any(b"\\u00" in line for line in block.splitlines())
        return
    slow = slowly(block, slow_kinds)
    assert meaning(fast, KINDS) == meaning(slow, KINDS)
    assert fast_kinds == slow_kinds


def test_plain_blocks_are_parsed_at_once() -> None:
    block = PLAIN * 100 + b'{"id":2,"n":3,"b":null,"s":null,"t":null,"d":null,"j":null}\n'
    fast = Columns(dict(KINDS)).read(block)
    assert fast is not None and fast.num_rows == 101
    assert meaning(fast, KINDS) == meaning(slowly(block, dict(KINDS)), KINDS)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":1,"id":2}', b'{"id":1}{"id":2}', b'{"id":1.0}', b'{"id":"1"}', b'{"n":"1"}',
        b'{"s":1}', b'{"s":{"a":1}}', b'{"b":1}', b'{"t":5}', b'{"j":"text"}', b'{"j":[1,"a"]}',
        b'{"new":1}', b'{"new":null}', b"[1]", b"oops", b"", b'{"n":NaN}', b'{"n":1.}',
        b'{"n":01}', b'{"n":-Infinity}', b'{"id":9223372036854775808}', b'{"s":"\\ud800"}', b'{"id":1,}',
        b'{"id":01}', b'{"j":{"a":' + b"[" * 600 + b"]" * 600 + b"}}",
        b'{"j":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", b'{"id":1} x',
        b'{"s":"a\tb"}',
    ],
    ids=lambda line: line[:24].decode(),
)  # fmt: skip
def test_a_block_with_a_surprise_is_left_to_the_other_parser(line: bytes) -> None:
    assert Columns(dict(KINDS)).read(PLAIN + line + b"\n" + PLAIN) is None


_digits = st.text("0123456789", min_size=1, max_size=25)
_whole = _digits.map(lambda digits: digits.lstrip("0") or "0")
_numbers = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "-"]),
        _whole,
        st.just("") | _digits.map(lambda digits: "." + digits),
        st.just("") | st.sampled_from(["e", "E", "e-", "E+"]).map(lambda sign: sign + "3"),
    ),
)


def as_postgres_writes(number: str) -> str:
    """The number with its scale; Postgres, too, has no minus before a zero."""
    value = Decimal(number)
    return f"{value if value else abs(value):f}"


@given(st.lists(_numbers, min_size=1, max_size=8))
def test_numbers_are_exact_by_column_or_record_by_record(numbers: list[str]) -> None:
    """What a double would change is found before one is made."""
    block = "".join(f'{{"n":{number}}}\n' for number in numbers).encode()
    fast = Columns({"n": "numeric"}).read(block)
    assert fast is not None and fast.column(0).to_pylist() == numbers
    for line, number in zip(block.splitlines(), numbers, strict=True):
        if not has_inexact_number(line):
            said = json_records.batch([orjson.loads(line)], {}).column(0)[0].as_py()
            assert as_postgres_writes(str(said)) == as_postgres_writes(number)


def test_numbers_are_stored_as_written_in_the_first_block_and_in_later_ones(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    """No digit and no trailing zero is lost on the way from a file's text to a numeric (L6)."""
    dice = random.Random(11)
    numbers = ["1.10", "-0.00", "19.90", "9007199254.740993", "1e5", "1.50e-7", "2.5", "10.0", "7",
               "9007199254740993", "0.1234567890123456789", "123456789012345678901234567890.50"]  # fmt: skip
    for _ in range(300):
        whole, part = dice.randrange(10 ** dice.randrange(1, 22)), dice.randrange(1, 22)
        numbers.append(f"{whole}.{dice.randrange(10**part):0{part}d}")
    filler = "x" * 30_000
    path = tmp_path / "f.ndjson"
    with path.open("w") as file:
        for place, number in enumerate(numbers * 2):
            doc = f', "doc": {{"k": {number}}}' if place % 2 else ""
            file.write(f'{{"id": {place}, "n": {number}, "s": "{filler}"{doc}}}\n')
    columns, batches = read_file(path)
    things = stream({}, disposition="upsert")
    outcome = load(warehouse, replace(things, columns=columns), map(Batch, batches))
    assert outcome.inserted == len(numbers) * 2
    rows = query(warehouse, "select n::text, doc ->> 'k' from shop.things order by id")
    wanted = [as_postgres_writes(number) for number in numbers * 2]
    assert [number for number, _ in rows] == wanted
    assert [inner for _, inner in rows] == [
        number if place % 2 else None for place, number in enumerate(wanted)
    ]


def test_a_field_inside_another_value_is_not_taken_for_the_record_s_own() -> None:
    block = PLAIN + b'{"n":2.50,"j":{"n":1.10,"deep":[[[[[[[["n"]]]]]]]]},"s":"\\"n\\": 7"}\n'
    fast = Columns(dict(KINDS)).read(block)
    assert fast is not None
    assert fast.column(fast.schema.get_field_index("n")).to_pylist() == ["1.5", "2.50"]
    kept = fast.column(fast.schema.get_field_index("j"))[1].as_py()
    assert kept == '{"n":1.10,"deep":[[[[[[[["n"]]]]]]]]}'


def test_long_numbers_are_kept_as_they_are_written() -> None:
    long = b"0.12345678901234567890123"
    block = PLAIN + b'{"id":2,"n":' + long + b',"s":"x","j":{"z":' + long + b"}}\n"
    fast = Columns(dict(KINDS)).read(block)
    assert fast is not None
    assert fast.column(fast.schema.get_field_index("n")).to_pylist() == ["1.5", long.decode()]
    assert fast.column(fast.schema.get_field_index("j"))[1].as_py() == f'{{"z":{long.decode()}}}'


def test_a_field_that_no_record_of_a_block_has_is_no_column_of_it() -> None:
    """A column of nulls would say that the values are gone."""
    block = b'{"id":1,"s":null}\n{"id":2,"s":null}\n'
    fast = Columns(dict(KINDS)).read(block)
    assert fast is not None and fast.schema.names == ["id", "s"]
    later = b'{"id":1}\n{"id":2,"s":null}\n'
    assert Columns(dict(KINDS)).read(later) is None


def test_after_some_blocks_with_surprises_no_more_are_tried() -> None:
    columns = Columns(dict(KINDS))
    for _ in range(3):
        assert columns.read(PLAIN + b'{"id":"1"}\n') is None
    assert columns.read(PLAIN) is None
