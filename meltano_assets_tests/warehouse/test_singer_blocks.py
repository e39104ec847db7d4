"""RECORD messages parsed at once give what they give one by one (L11, L6)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meltano_assets.errors import FatalError
from meltano_assets.warehouse import singer_blocks
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.json_columns import Columns
from meltano_assets.warehouse.singer import SingerTarget
from meltano_assets.warehouse.singer_blocks import Envelope, envelope
from meltano_assets_tests.warehouse.tables import query

#: More lines than a block needs to be worth it.
MANY = 3 * singer_blocks.WORTH_A_BLOCK

PROPERTIES: dict[str, object] = {
    "id": {"type": "integer"},
    "n": {"type": ["null", "number"]},
    "whole": {"type": ["null", "integer"]},
    "ok": {"type": ["null", "boolean"]},
    "name": {"type": ["null", "string"]},
    "at": {"type": ["null", "string"], "format": "date-time"},
    "on": {"type": ["null", "string"], "format": "date"},
    "doc": {"type": ["null", "object"]},
    "list": {"type": ["null", "array"]},
    "never": {"type": ["null", "string"]},
}


def schema(*keys: str, **options: object) -> bytes:
    message = {
        "type": "SCHEMA",
        "stream": "s",
        "key_properties": list(keys),
        "schema": {"properties": PROPERTIES, **options},
    }
    return json.dumps(message).encode() + b"\n"


def text(number: int, **fields: str) -> str:
    """A record's text; fields are given as JSON texts."""
    values = {
        "id": str(number),
        "n": f"{number}.10",
        "whole": "null" if number % 3 else str(number),
        "ok": "true" if number % 2 else "false",
        "name": json.dumps(f'näme {number} \\ " \n'),
        "at": f'"2026-03-01T00:00:{number % 60:02d}Z"',
        "on": '"2026-03-01"',
        "doc": f'{{"inner": {{"x": [{number}, 1.50]}}}}',
        "list": f'["{number}", null]',
        **fields,
    }
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items() if value) + "}"


def plain(record: str, around: str = "") -> bytes:
    return f'{{"type": "RECORD", "stream": "s", "record": {record}{around}}}\n'.encode(
        "utf-8", "surrogateescape"
    )


def one_by_one(line: bytes) -> bytes:
    """The same message with a member that has no meaning, so that no block takes it."""
    return (
        line.replace(b"{", b'{"note": {}, ', 1) if line.startswith(b'{"type": "RECORD"') else line
    )


def differing(**by_number: Callable[[int], dict[str, str]]) -> list[bytes]:
    (of,) = by_number.values()
    return [plain(text(number, **of(number))) for number in range(MANY)]


CASES: dict[str, tuple[bytes, list[bytes]]] = {
    "plain": (schema("id"), [plain(text(number)) for number in range(MANY)]),
    "no key": (schema(), [plain(text(number)) for number in range(MANY)]),
    "the last of a key wins": (
        schema("id"),
        [plain(text(n % 7, name=f'"{n}"')) for n in range(MANY)],
    ),
    "digits": (
        schema("id"),
        differing(of=lambda n: {"n": "0.12345678901234567890" if n % 2 else "1e-7"}),
    ),
    "integers beyond 64 bits": (
        schema("id"),
        differing(of=lambda n: {"whole": "9" * 30 if n == 150 else str(n)}),
    ),
    "a fraction where integers are declared": (
        schema("id"),
        differing(of=lambda n: {"whole": "7.25" if n == 150 else str(n)}),
    ),
    "another type in one record": (
        schema("id"),
        differing(of=lambda n: {"ok": '"maybe"' if n == 150 else "true"}),
    ),
    "a scalar where an object is declared": (
        schema("id"),
        differing(of=lambda n: {"doc": "3" if n == 150 else "{}"}),
    ),
    "no time": (
        schema("id"),
        differing(of=lambda n: {"at": '"soon"' if n == 150 else '"2026-03-01T00:00:00Z"'}),
    ),
    "a field that is nobody's": (
        schema("id"),
        differing(of=lambda n: {"new": str(n) if n == 150 else ""}),
    ),
    "missing fields": (
        schema("id"),
        differing(of=lambda n: {"n": "" if n % 2 else "1", "name": "" if n > 100 else '"x"'}),
    ),
    "a field's name inside another's document": (
        schema("id"),
        differing(of=lambda n: {"doc": f'{{"n": {n}.50, "list": [1]}}'}),
    ),
    "keys that stand twice": (
        schema("id"),
        differing(of=lambda n: {"doc": '{"a": 1, "a": 2}' if n == 150 else '{"a": 1}'}),
    ),
    "no key in one record": (
        schema("id"),
        differing(of=lambda n: {"id": "" if n == 150 else str(n)}),
    ),
    "a null character": (
        schema("id"),
        differing(of=lambda n: {"name": '"a\\u0000b"' if n == 150 else '"ab"'}),
    ),
    "half a surrogate": (
        schema("id"),
        differing(of=lambda n: {"name": '"a\\ud800b"' if n == 150 else '"ab"'}),
    ),
    "broken UTF-8": (
        schema("id"),
        differing(of=lambda n: {"name": '"a\udcffb"' if n == 150 else '"ab"'}),
    ),
    "NaN": (schema("id"), differing(of=lambda n: {"n": "NaN" if n == 150 else "1"})),
    "deep": (
        schema("id"),
        differing(of=lambda n: {"list": "[" * 3000 + "]" * 3000 if n == 150 else "[]"}),
    ),
    "a required field is missing": (
        schema("id", required=["name"]),
        differing(of=lambda n: {"name": "" if n == 150 else '"x"'}),
    ),
    "nothing else is allowed": (
        schema("id", additionalProperties=False),
        differing(of=lambda n: {"new": "1" if n == 150 else ""}),
    ),
    "deleted": (
        schema("id"),
        differing(of=lambda n: {"_sdc_deleted_at": '"2026-03-01T00:00:00Z"' if n == 150 else ""}),
    ),
    "a record that stands twice": (
        schema("id"),
        [plain(text(n), ', "record": {"id": -1}' if n == 150 else "") for n in range(MANY)],
    ),
    "lists of several types": (
        schema("id"),
        differing(of=lambda n: {"list": '[1, "a", {}, null, 2.50]'}),
    ),
    "empty records": (schema(), [plain("{}") for _ in range(MANY)]),
    "versions": (
        schema("id"),
        [plain(text(n), f', "version": {n // 120}') for n in range(MANY)],
    ),
    "a version now and then": (
        schema("id"),
        [plain(text(n), ', "version": 3' if n % 140 > 110 else "") for n in range(MANY)],
    ),
    "a few unlike lines between many alike": (
        schema("id"),
        [
            one_by_one(plain(text(n % 200))) if n % 130 == 0 else plain(text(n % 200))
            for n in range(MANY)
        ],
    ),
}


def set_aside(warehouse: Warehouse, name: str) -> list[tuple[object, ...]]:
    """Number, column, reason and record of what is in quarantine; blanks in JSON do not count."""
    if query(warehouse, f"select to_regclass('{name}.s__quarantine') is null") == [(True,)]:
        return []
    found = query(
        warehouse,
        f"select record_number, column_name, reason, record from {name}.s__quarantine"
        " order by 1, 4",
    )
    return [(*said, without_blanks(str(record))) for *said, record in found]


def without_blanks(record: str) -> object:
    found = json.loads(record)
    texts = {name: found[name] for name in ("doc", "list") if isinstance(found.get(name), str)}
    nested = {name: json.loads(value) for name, value in texts.items()}
    return {**found, **nested}


def told(warehouse: Warehouse, name: str, lines: list[bytes]) -> dict[str, object]:
    """What a load leaves in the warehouse and says about it."""
    target = SingerTarget(warehouse, name, on_state=lambda _: None)
    outcomes = target.run(lines)
    columns = query(
        warehouse,
        "select column_name, data_type from information_schema.columns"
        f" where table_schema = '{name}' and table_name = 's' order by column_name",
    )
    rows = query(
        warehouse,
        "select (to_jsonb(s) - '_load_id' - '_loaded_at' - '_row_id')::text as row"
        f" from {name}.s order by 1",
    )
    return {
        "columns": columns,
        "rows": rows,
        "quarantine": set_aside(warehouse, name),
        "outcomes": [
            (o.read, o.inserted, o.updated, o.unchanged, o.superseded, o.quarantined, o.cleaned)
            for o in outcomes
        ],
    }


@pytest.mark.parametrize("case", CASES)
def test_records_parsed_at_once_are_those_parsed_one_by_one(
    warehouse: Warehouse, case: str
) -> None:
    declared, lines = CASES[case]
    at_once = told(warehouse, "at_once", [declared, *lines])
    alone = told(warehouse, "alone", [declared, *map(one_by_one, lines)])
    assert at_once == alone


def test_plain_records_are_parsed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = dict.fromkeys(("id", "whole"), "bigint") | {
        "n": "numeric",
        "ok": "boolean",
        "doc": "jsonb",
        "list": "jsonb",
        "at": "timestamptz",
        "on": "date",
        "name": "text",
        "never": "text",
    }
    block = singer_blocks.Block(Columns(kinds), frozenset({"id"}))  # type: ignore[arg-type]
    for number in range(MANY):
        line = plain(text(number))
        found = envelope(line)
        assert found is not None
        block.add(line, number, found)
    batch, lines = block.take()
    assert batch is not None
    assert not lines
    assert batch.column("n").to_pylist()[:3] == ["0.10", "1.10", "2.10"]
    assert json.loads(batch.column("doc")[3].as_py()) == {"inner": {"x": [3, 1.5]}}
    whole = singer_blocks.completed(batch, kinds)  # type: ignore[arg-type]
    assert whole.column("never").null_count == MANY
    assert pa.types.is_int64(whole.column("id").type)


def test_a_line_that_breaks_in_a_block_is_named(warehouse: Warehouse) -> None:
    lines = [schema("id"), *(plain(text(number)) for number in range(MANY))]
    lines[200] = plain('{"id": 1, "name": "cut}')
    handed_on: list[str] = []
    target = SingerTarget(warehouse, "tap", on_state=handed_on.append)
    with pytest.raises(FatalError, match="line 201 is no Singer message"):
        target.run([*lines, b'{"type": "STATE", "value": 1}\n'])
    assert not handed_on


def test_streams_may_take_turns_line_by_line(warehouse: Warehouse) -> None:
    other = schema("id").replace(b'"stream": "s"', b'"stream": "t"')
    lines = [schema("id"), other]
    for number in range(MANY):
        line = plain(text(number))
        lines += [line, line.replace(b'"stream": "s"', b'"stream": "t"')]
    SingerTarget(warehouse, "tap", on_state=lambda _: None).run(lines)
    for table in ("s", "t"):
        assert query(warehouse, f"select count(*), max(id) from tap.{table}") == [(MANY, MANY - 1)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"type":"RECORD","stream":"s","record":{"a":1}}', ("s", None, b'{"a":1}')),
        (b'{"record":{"a":1},"stream":"s","type":"RECORD"}\n', ("s", None, b'{"a":1}')),
        (b'{"type":"RECORD","stream":"s","record":{"version":3}}', ("s", None, b'{"version":3}')),
        (
            b'{"type":"RECORD","stream":"s","record":{"b":{"c":1},"version":3}}',
            ("s", None, b'{"b":{"c":1},"version":3}'),
        ),
        (b'{"type":"RECORD","stream":"s","record":{},"version":3}\r\n', ("s", 3, b"{}")),
        (b'{"type":"RECORD","stream":"s","record":{},"version":null}', ("s", None, b"{}")),
        (
            b'{"type": "RECORD", "stream": "s", "time_extracted": "2026", "record": {"a": "}"}, '
            b'"version": 1 }',
            ("s", 1, b'{"a": "}"}'),
        ),
        (b'{"type":"RECORD","stream":"s","record":[1]}', None),
        (b'{"type":"RECORD","stream":"s","stream":"t","record":{}}', None),
        # That this is one object is for the parser to see.
        (b'{"type":"RECORD","stream":"s","record":{},"record":{}}', ("s", None, b'{},"record":{}')),
        (b'{"type":"RECORD","stream":"s","record":{},"version":99999999999999999999}', None),
        (b'{"type":"RECORD","stream":"s","record":{},"version":01}', None),
        (b'{"type":"RECORD","record":{}}', None),
        (b'{"type":"STATE","stream":"s","record":{}}', None),
        (b'{"type":"RECORD","stream":"\xff","record":{}}', None),
        (b'{"type":"RECORD","stream":"\\u0073","record":{}}', None),
        (b"{}", None),
    ],
)
def test_a_line_is_split_where_its_record_stands(
    line: bytes, expected: tuple[str, int | None, bytes] | None
) -> None:
    found = envelope(line)
    said = found and (found.stream, found.version, line[found.start : found.end])
    assert said == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(["type", "stream", "version", "time_extracted", "record", "x"]), _JSON
    ),
    st.dictionaries(st.sampled_from(["type", "version", "record", "a"]), _JSON),
    st.permutations(["type", "stream", "record", "version"]),
    st.booleans(),
)
@example({}, {"a": {"record": {}}}, ["type", "stream", "record", "version"], True)
def test_what_is_split_off_is_the_message_s_record(
    odd: dict[str, object], record: dict[str, object], order: list[str], is_ascii: bool
) -> None:
    usual = {"type": "RECORD", "stream": "s", "record": record, "version": 5}
    message = {name: usual[name] for name in order} | odd
    line = json.dumps(message, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    found = envelope(line)
    if found is None:
        assert odd  # what is written as usual is always split
        return
    try:
        split = json.loads(line[found.start : found.end])
    except ValueError:
        return  # no object: a block with it is refused
    assert split == message["record"]
    assert found == Envelope(message["stream"], message.get("version"), found.start, found.end)  # type: ignore[arg-type]
