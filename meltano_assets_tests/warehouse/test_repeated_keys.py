"""Keys that stand twice in one JSON object (L6): the last value is kept, the others are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltano_assets.json_objects import may_repeat_a_key, repeated_keys
from meltano_assets.streams import Batch, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.files import read_file
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.singer import SingerTarget
from meltano_assets_tests.warehouse.tables import query, stream


@pytest.mark.parametrize(
    "before", [b"", b'{"id":0,"v":[],"w":{}}\n{"id":9,"v":[{"a":1},{"a":1}]}\n']
)
@pytest.mark.parametrize(
    ("line", "kept", "lost"),
    [
        (b'{"id":1,"id":2,"v":[1]}', (2, [1]), 1),
        (b'{"id":1,"v":{"a":1,"b":{"a":2},"a":3}}', (1, {"a": 3, "b": {"a": 2}}), 1),
        (rb'{"id":1,"v":{"a":1,"\u0061":2}, "v" : {"a":[{"k":1,"k":2},{"k":1}]}}',
         (1, {"a": [{"k": 2}, {"k": 1}]}), 3),
        (b'{"id":1,"v":{"a long name 1":1,"a long name 2":1,"a long name 1":2}}',
         (1, {"a long name 1": 2, "a long name 2": 1}), 1),
        (rb'{"id":1,"v":{"a":"\",\"a\":","b":"{\"a\":1,\"a\":2}"}}',
         (1, {"a": '","a":', "b": '{"a":1,"a":2}'}), 0),
    ],
)  # fmt: skip
def test_keys_that_stand_twice_in_json_are_counted_and_the_last_is_kept(
    tmp_path: Path, warehouse: Warehouse, before: bytes, line: bytes, kept: object, lost: int
) -> None:
    path = tmp_path / "twice.ndjson"
    path.write_bytes(before + line + b"\n")
    columns, batches = read_file(path)
    declared = Stream("shop", "things", columns, disposition="append")
    outcome = load(warehouse, declared, (Batch(records) for records in batches))
    assert query(warehouse, "select id, v from shop.things where id in (1, 2)") == [kept]
    assert outcome.cleaned.get("json_key_twice", 0) == lost


def test_keys_that_stand_twice_in_json_of_other_origin_are_counted(warehouse: Warehouse) -> None:
    """In texts of a jsonb column, also beside texts that are mended or no JSON."""
    texts = ['{"a":1,"a":2}', '{"a":\n1,"a":2}', '{"a":"\\u0000","a":3}', '{"a":1', "[1]", None,
             '{"a":1,"a":2,"a":3}', '"x"', '{"a":1}', '{"a":1}']  # fmt: skip
    for valid in (texts, [text for text in texts if text != '{"a":1']):
        records = pa.RecordBatch.from_pydict({"id": [*range(len(valid))], "v": valid})
        declared = stream({"id": "bigint", "v": "jsonb"}, options={"max_quarantine_share": 1.0})
        outcome = load(warehouse, declared, [Batch(records)])
        assert outcome.cleaned["json_key_twice"] == 5
        assert query(warehouse, "select v from shop.things where id = 0") == [({"a": 2},)]


def test_keys_that_stand_twice_in_singer_messages_are_counted(warehouse: Warehouse) -> None:
    lines = [
        b'{"type":"SCHEMA","stream":"s","key_properties":["id"],"schema":{"properties":'
        b'{"id":{"type":"integer"},"v":{"type":"object"}}}}',
        b'{"type":"RECORD","stream":"s","record":{"id":1,"v":{"a":1},"v":{"a":2,"a":3}}}',
        b'{"type":"RECORD","stream":"s","record":{"id":2,"v":{"a":1}}}',
    ]
    target = SingerTarget(warehouse, "tap", on_state=lambda _: None)
    assert [outcome.cleaned for outcome in target.run(lines)] == [{"json_key_twice": 2}]
    assert query(warehouse, "select v from tap.s order by id") == [({"a": 3},), ({"a": 1},)]


class _Pairs(list[tuple[str, object]]):
    """An object in which a key may stand twice."""


def written(value: object, blank: str) -> str:
    if isinstance(value, _Pairs):
        pairs = (f"{json.dumps(key)}{blank}:{blank}{written(one, blank)}" for key, one in value)
        return "{" + f"{blank},{blank}".join(pairs) + blank + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(one, blank) for one in value) + "]"
    return json.dumps(value)


def repeated(value: object) -> int:
    if isinstance(value, _Pairs):
        here = len(value) - len({key for key, _ in value})
        return here + sum(repeated(one) for _, one in value)
    return sum(map(repeated, value)) if isinstance(value, list) else 0


json_values_strategy = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=4), st.just('"a":')),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        # Pairs: a key may come again.
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "", 'q"', "nine bytes"]), inner), max_size=4
        ).map(_Pairs),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(json_values_strategy, min_size=1, max_size=4), st.sampled_from(["", " ", "\n "]))
def test_the_quick_look_for_keys_that_stand_twice_misses_none(
    values: list[object], blank: str
) -> None:
    text = "".join(written(value, blank) for value in values).encode()
    lost = sum(map(repeated, values))
    assert sum(repeated_keys(written(value, blank)) for value in values) == lost
    # It may be wrong the other way only where a name is written in several ways.
    assert may_repeat_a_key(text) == (lost > 0) or b'q\\"' in text or not text
