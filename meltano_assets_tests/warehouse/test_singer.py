"""The Singer target (L11): what taps send, what they may get wrong, when a STATE may go on.

The cases are those that the standard tests of Singer targets try, and those that taps were seen to send.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.singer_schema import Property, properties, property_type
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.singer import SingerTarget, is_singer, open_lines
from meltano_assets_tests.warehouse.tables import query

USERS = {
    "type": "SCHEMA",
    "stream": "Users",
    "key_properties": ["Id"],
    "schema": {
        "properties": {
            "Id": {"type": "integer"},
            "name": {"type": ["null", "string"]},
            "paid": {"type": ["null", "number"]},
            "at": {"type": "string", "format": "date-time"},
            "tags": {"type": "array"},
        }
    },
}


def user(number: object, **values: object) -> dict[str, object]:
    return {"type": "RECORD", "stream": "Users", "record": {"Id": number, **values}}


def run(warehouse: Warehouse, *messages: object, **options: Any) -> tuple[SingerTarget, list[str]]:
    states: list[str] = []
    target = SingerTarget(warehouse, "tap", on_state=states.append, **options)
    target.run(
        line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in messages
    )
    return target, states


def test_records_land_in_the_declared_types_and_the_last_of_a_key_wins(
    warehouse: Warehouse,
) -> None:
    line = b'{"type":"RECORD","stream":"Users","record":{"Id":3,"paid":0.12345678901234567890}}\n'
    target, states = run(
        warehouse,
        USERS,
        user(1, name="a", paid=1.5, at="2026-03-01T00:00:00Z", tags=["x", {"y": 1}]),
        user(2, name="b"),
        {"type": "STATE", "value": {"a": 1}},
        user(1, name="c"),
        line,
        {"type": "STATE", "value": {"a": 2}},
    )
    assert states == ['{"a":2}']
    assert query(
        warehouse, "select id, name, paid::text, tags::text from tap.users order by id"
    ) == [
        (1, "c", None, None),
        (2, "b", None, None),
        (3, None, "0.12345678901234567890", None),
    ]
    outcome = target.outcomes[0]
    assert (outcome.read, outcome.inserted, outcome.superseded) == (4, 3, 1)


def test_an_older_bookmark_that_is_read_later_wins(warehouse: Warehouse) -> None:
    """Singer's order is that of reading: a source restored from a backup sends older times."""
    schema = {**USERS, "bookmark_properties": ["at"]}
    for number, times in enumerate([("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"), (None,)]):
        sent = [user(1, at=at, name=f"{number}.{place}") for place, at in enumerate(times)]
        target, _ = run(warehouse, schema, *sent)
        assert sum(outcome.superseded for outcome in target.outcomes) == len(times) - 1
        rows = query(warehouse, 'select name, "at" is null from tap.users')
        assert rows == [(f"{number}.{len(times) - 1}", times[-1] is None)]


def test_a_state_waits_for_the_data_before_it(warehouse: Warehouse) -> None:
    states: list[str] = []
    target = SingerTarget(warehouse, "tap", on_state=states.append)
    lines = [USERS, user(1), {"type": "STATE", "value": 1}, user(2), {"type": "NONSENSE"}]
    with pytest.raises(FatalError, match="line 5"):
        target.run(json.dumps(line).encode() for line in lines)
    assert states == []


def test_several_streams_and_a_schema_that_changes_in_between(warehouse: Warehouse) -> None:
    wider = json.loads(json.dumps(USERS))
    wider["schema"]["properties"]["Id"] = {"type": ["integer", "string"]}
    wider["schema"]["properties"]["new"] = {"type": "boolean"}
    other = {**USERS, "stream": "users", "key_properties": []}
    run(
        warehouse, USERS, user(1), other, {**user(7), "stream": "users"}, {**user(7), "stream": "users"},
        wider, user("x", new=True),
    )  # fmt: skip
    assert query(warehouse, "select id, new from tap.users order by id") == [
        ("1", None),
        ("x", True),
    ]
    tables = query(warehouse, "select tablename from pg_tables where schemaname = 'tap' order by 1")
    assert len(tables) == 2
    assert query(warehouse, f'select count(*) from tap."{tables[1][0]}"') == [(2,)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (["id", "part"], ["id"], "the key was id, part, and is id from here on"),
        (["id"], ["id", "part"], "the key was id, and is id, part from here on"),
        (["id"], [], "the key was id, and is nothing from here on"),
    ],
)
def test_another_key_in_mid_stream_is_an_error_that_says_what_to_do(
    warehouse: Warehouse, before: list[str], after: list[str], told: str
) -> None:
    schema = {"properties": {"id": {"type": "integer"}, "part": {"type": "integer"}}}
    parts = {"type": "SCHEMA", "stream": "parts", "schema": schema}
    record = {"type": "RECORD", "stream": "parts", "record": {"id": 1, "part": 2}}
    with pytest.raises(FatalError, match=f"line 3: {told}.*drop the primary key of tap.parts"):
        run(
            warehouse,
            {**parts, "key_properties": before},
            record,
            {**parts, "key_properties": after},
            record,
        )
    assert query(warehouse, "select id, part from tap.parts") == [(1, 2)]
    query(warehouse, "alter table tap.parts drop constraint parts_pkey")
    run(warehouse, {**parts, "key_properties": after}, record)


def test_a_key_that_the_schema_drops_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(FatalError, match=r"line 1: key properties.*does not have: part"):
        run(warehouse, {**USERS, "key_properties": ["Id", "part"]})


def test_a_key_named_twice_is_one_key(warehouse: Warehouse) -> None:
    run(warehouse, {**USERS, "key_properties": ["Id", "Id"]}, user(1, name="a"), user(1, name="b"))
    assert query(warehouse, "select id, name from tap.users") == [(1, "b")]


def test_bad_records_are_set_aside_and_bad_input_is_an_error(warehouse: Warehouse) -> None:
    closed = json.loads(json.dumps(USERS))
    closed["schema"]["additionalProperties"] = False
    target, _ = run(
        warehouse, closed, user(1), user(None), user(2, paid="much"), user(3, unknown=1)
    )
    assert (target.outcomes[0].inserted, target.outcomes[0].quarantined) == (1, 3)
    for messages, reason in (
        ([user(1)], "line 1: a RECORD comes before"),
        ([USERS, b"{not json\n"], "line 2 is no Singer message"),
        ([{**USERS, "key_properties": ["absent"]}], "line 1: key properties"),
        # Without a key every record would be a row, each time.
        ([{**USERS, "key_properties": "Id"}], "line 1: key properties that are no list"),
        # A tap that is given `null` as its state begins from nothing.
        ([USERS, {"type": "STATE"}], "line 2: a STATE without a value"),
    ):
        with pytest.raises(FatalError, match=reason):
            run(warehouse, *messages)


def test_an_activated_version_deletes_what_was_not_sent_again(warehouse: Warehouse) -> None:
    def versioned(number: int, version: int) -> dict[str, object]:
        return {**user(number), "version": version}

    activate = {"type": "ACTIVATE_VERSION", "stream": "Users", "version": 1}
    run(warehouse, USERS, versioned(1, 1), versioned(2, 1), activate)
    run(warehouse, USERS, versioned(2, 2), versioned(3, 2), {**activate, "version": 2})
    rows = query(warehouse, "select id, _deleted_at is null from tap.users order by id")
    assert rows == [(1, False), (2, True), (3, True)]


def test_batches_metadata_and_gzip_are_taken(warehouse: Warehouse, tmp_path: Path) -> None:
    part = tmp_path / "part 1.jsonl.gz"
    part.write_bytes(gzip.compress(b'{"Id": 5, "name": "e"}\n{"Id": 6}\n'))
    batch = {"type": "BATCH", "stream": "Users", "manifest": [part.as_uri()]}
    path = tmp_path / "input.gz"
    lines = [USERS, {**user(1), "time_extracted": "2026-03-01T00:00:00Z"}, batch]
    path.write_bytes(gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines)))
    SingerTarget(warehouse, "tap", on_state=lambda _: None, add_metadata=True).run(
        open_lines(str(path))
    )
    rows = query(warehouse, "select id, _sdc_sequence > 0, _sdc_extracted_at is not null"
                 " from tap.users order by id")  # fmt: skip
    assert rows == [(1, True, True), (5, True, False), (6, True, False)]


DEFINITIONS = {
    "definitions": {
        "time": {"type": ["null", "string"], "format": "date-time"},
        "node": {"anyOf": [{"type": "null"}, {"$ref": "#/definitions/node"}]},
        "odd/name": {"type": "integer"},
    }
}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": ["null", "integer"]}, "bigint"),
        ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, "timestamptz"),
        ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, "boolean"),
        ({"type": ["integer", "string"]}, "text"),
        ({"type": ["string", "object", "null"]}, "jsonb"),
        ({"type": ["integer", "number"]}, "numeric"),
        ({"type": "number", "multipleOf": 1e-10}, "numeric"),
        ({"type": "string", "format": "singer.decimal"}, "numeric"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "time"}, "text"),
        ({"type": "string", "format": "uuid"}, "uuid"),
        ({"type": "string", "contentEncoding": "base16"}, "text"),
        ({}, "jsonb"),
        (True, "jsonb"),
        ({"type": ["object", "null"], "properties": {}}, "jsonb"),
        ({"properties": {"a": {}}}, "jsonb"),
        ({"enum": ["a", None]}, "text"),
        ({"const": 1}, "bigint"),
        ({"allOf": [{"description": "x"}, {"type": "integer"}]}, "bigint"),
        ({"$ref": "#/definitions/time"}, "timestamptz"),
        ({"$ref": "#/definitions/odd~1name"}, "bigint"),
        ({"$ref": "#/definitions/node"}, "jsonb"),
        ({"anyOf": [{"type": "string", "format": "date"}, {"$ref": "#/definitions/time"}]}, "timestamptz"),
    ],
)  # fmt: skip
def test_json_schema_types_become_columns(schema: object, kind: str) -> None:
    assert property_type(schema, DEFINITIONS) == Property(kind)  # type: ignore[arg-type]


def test_a_schema_that_cannot_be_understood_is_an_error(warehouse: Warehouse) -> None:
    with pytest.raises(FatalError, match="leads nowhere"):
        property_type({"$ref": "#/definitions/absent"}, DEFINITIONS)
    with pytest.raises(FatalError, match=r"tap\.Users: line 1: the SCHEMA has no properties"):
        run(warehouse, {**USERS, "schema": {"type": "object"}, "key_properties": []})
    assert properties({"type": "object", "additionalProperties": True}) == {}


def test_a_time_or_a_string_is_a_time_until_a_string_comes(warehouse: Warehouse) -> None:
    schema = {"properties": {
        "Id": {"type": "integer"},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string", "null"]}]},
    }}  # fmt: skip
    loose = {**USERS, "schema": schema}
    run(warehouse, loose, user(1, at="2026-03-01T00:00:00Z"))
    kind = "select pg_typeof(at)::text, at::text from tap.users order by id"
    assert query(warehouse, kind) == [("timestamp with time zone", "2026-03-01 00:00:00+00")]
    run(warehouse, loose, user(2, at="last spring"))
    assert query(warehouse, kind)[1] == ("text", "last spring")


def test_a_required_property_that_is_missing_sets_only_its_record_aside(
    warehouse: Warehouse,
) -> None:
    strict = json.loads(json.dumps(USERS))
    strict["schema"]["required"] = ["Id", "name"]
    target, _ = run(warehouse, strict, user(1, name="a"), user(2), user(3, name=None))
    assert (target.outcomes[0].inserted, target.outcomes[0].quarantined) == (2, 1)
    found = query(warehouse, "select record, record_number, reason from tap.users__quarantine")
    assert found == [('{"Id":2}', 3, "a required property is missing")]


def test_streams_that_differ_in_case_keep_their_tables_in_every_run(warehouse: Warehouse) -> None:
    lower = {**USERS, "stream": "users"}
    run(warehouse, USERS, user(1))
    run(warehouse, lower, {**user(2), "stream": "users"})
    run(warehouse, USERS, user(3))
    assert query(warehouse, "select id from tap.users order by id") == [(1,), (3,)]
    tables = query(warehouse, "select stream, table_name from meltano.table_names order by 1")
    assert [stream for stream, _ in tables] == ["Users", "users"]
    assert query(warehouse, f'select id from tap."{tables[1][1]}"') == [(2,)]


def test_a_state_is_handed_on_as_it_was_written(warehouse: Warehouse) -> None:
    text = '{"n":123456789012345678901234567890,"x":0.10000000000000000001,"s":"é"}'
    _, states = run(warehouse, ('{"type":"STATE","value":' + text + "}").encode())
    assert states == [text]


def test_every_stream_is_committed_before_a_state_and_nothing_after_a_failure(
    warehouse: Warehouse,
) -> None:
    committed: list[object] = []

    def look(_: str) -> None:
        committed.append(query(
            warehouse, "select (select count(*) from tap.users), (select count(*) from tap.others)"
        )[0])  # fmt: skip

    other = {**USERS, "stream": "others"}
    lines = [USERS, other, user(1), {**user(1), "stream": "others"}, {"type": "STATE", "value": 1},
             user(2), b"{broken"]  # fmt: skip
    target = SingerTarget(warehouse, "tap", on_state=look)
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]

    def slow() -> Any:
        for line in encoded:
            yield line
            if b"STATE" in line:
                target.flush()

    with pytest.raises(FatalError, match="line 7"):
        target.run(slow())
    assert committed == [(1, 1)]
    assert query(warehouse, "select id from tap.users") == [(1,)]


@pytest.mark.parametrize("is_hard", [False, True])
def test_versions_end_rows_softly_or_hard(warehouse: Warehouse, is_hard: bool) -> None:
    activate = {"type": "ACTIVATE_VERSION", "stream": "Users", "version": 2}
    run(warehouse, USERS, {**user(1), "version": 1}, {**user(2), "version": 1}, add_metadata=True)
    query(warehouse, "insert into tap.users (id) values (3)")
    messages = (USERS, activate, {**user(2), "version": 2}, activate)
    target, _ = run(warehouse, *messages, is_hard_delete=is_hard, add_metadata=True)
    rows = query(warehouse, "select id from tap.users where _sdc_deleted_at is null"
                            " and _deleted_at is null order by id")  # fmt: skip
    assert rows == [(2,)]
    assert query(warehouse, "select count(*) from tap.users") == [(1 if is_hard else 3,)]
    assert sum(outcome.deleted for outcome in target.outcomes) == 2
    logged = query(warehouse, "select sum(deleted)::int from meltano.load_log")
    assert logged == [(2,)]


def live(warehouse: Warehouse) -> list[int]:
    rows = query(warehouse, "select id from tap.users where _deleted_at is null order by id")
    return [number for (number,) in rows]


@pytest.mark.parametrize("is_hard", [False, True])
@pytest.mark.parametrize("had_versions", [False, True])
def test_a_version_without_a_record_ends_all_older_rows(
    warehouse: Warehouse, is_hard: bool, had_versions: bool
) -> None:
    before = {"version": 1} if had_versions else {}
    run(warehouse, USERS, {**user(1), **before}, {**user(2), **before})
    activate = {"type": "ACTIVATE_VERSION", "stream": "Users", "version": 2}
    state = {"type": "STATE", "value": {"at": 1}}
    target, states = run(warehouse, USERS, activate, state, is_hard_delete=is_hard)
    assert live(warehouse) == [] and states == ['{"at":1}']
    assert query(warehouse, "select count(*) from tap.users") == [(0 if is_hard else 2,)]
    assert [outcome.deleted for outcome in target.outcomes if outcome.deleted] == [2]
    run(warehouse, USERS, {**user(2), "version": 2}, activate)
    assert live(warehouse) == [2]


@pytest.mark.parametrize("is_early", [False, True])
def test_a_version_announced_before_its_records_waits_for_them(
    warehouse: Warehouse, is_early: bool
) -> None:
    run(warehouse, USERS, user(1), user(2), {**user(3), "version": 1})
    activate = {"type": "ACTIVATE_VERSION", "stream": "Users", "version": 2}
    seen: list[list[int]] = []

    def lines() -> Iterator[bytes]:
        # Some taps say it before the SCHEMA, and some of a stream that never has one.
        first = (
            [activate, {**activate, "stream": "Nobody"}, USERS] if is_early else [USERS, activate]
        )
        for message in (*first, {**user(2), "version": 2}, {**user(4), "version": 2}):
            seen.append(live(warehouse))
            yield json.dumps(message).encode()

    SingerTarget(warehouse, "tap", on_state=lambda _: None).run(lines())
    assert seen == [[1, 2, 3]] * (5 if is_early else 4)
    assert live(warehouse) == [2, 4]
    # Row 2 was never marked: it was there all the time.
    assert query(warehouse, "select sum(deleted)::int from meltano.load_log") == [(2,)]


def test_records_without_a_version_behind_an_announced_one_stay(warehouse: Warehouse) -> None:
    run(warehouse, USERS, {**user(1), "version": 1}, {**user(2), "version": 1})
    activate = {"type": "ACTIVATE_VERSION", "stream": "Users", "version": 2}
    run(warehouse, USERS, activate, user(2), user(3))
    assert live(warehouse) == [2, 3]


def test_a_record_of_an_older_version_among_newer_ones_is_ended_too(warehouse: Warehouse) -> None:
    activate = {"type": "ACTIVATE_VERSION", "stream": "Users", "version": 2}
    stray = [{**user(1), "version": 2}, {**user(2), "version": 1}, user(3)]
    run(warehouse, USERS, activate, *stray, activate)
    assert live(warehouse) == [1]


@pytest.mark.parametrize("is_hard", [False, True])
def test_a_deleted_record_is_marked_or_removed(warehouse: Warehouse, is_hard: bool) -> None:
    gone = {"_sdc_deleted_at": "2026-03-01T00:00:00Z"}
    run(warehouse, USERS, user(1), user(2), user(3), is_hard_delete=is_hard)
    run(warehouse, USERS, user(1, **gone), user(4), user(5, **gone), is_hard_delete=is_hard)
    assert live(warehouse) == [2, 3, 4]
    assert query(warehouse, "select count(*) from tap.users") == [(3 if is_hard else 5,)]
    assert query(warehouse, "select sum(deleted)::int from meltano.load_log") == [(2,)]


def test_an_older_version_ends_no_newer_rows(warehouse: Warehouse) -> None:
    def sync(version: int, *numbers: int) -> list[object]:
        records = [{**user(number), "version": version} for number in numbers]
        return [
            USERS,
            *records,
            {"type": "ACTIVATE_VERSION", "stream": "Users", "version": version},
        ]

    run(warehouse, *sync(5, 1, 2))
    run(warehouse, *sync(4, 3))
    assert live(warehouse) == [1, 2, 3]
    run(warehouse, *sync(6, 3))
    assert live(warehouse) == [3]


def test_all_metadata_columns_are_there_on_request(warehouse: Warehouse) -> None:
    deleted = {**user(1, _sdc_deleted_at="2026-03-01T00:00:00Z"), "version": 7,
               "time_extracted": "2026-02-01T00:00:00Z"}  # fmt: skip
    run(warehouse, USERS, deleted, user(2), add_metadata=True)
    rows = query(
        warehouse,
        "select id, _sdc_extracted_at::date::text, _sdc_received_at <= _sdc_batched_at,"
        " _sdc_deleted_at = _deleted_at, _sdc_table_version, _sdc_sequence >= _sdc_sync_started_at"
        " from tap.users order by id",
    )
    assert rows == [
        (1, "2026-02-01", True, True, 7, True),
        (2, None, True, None, None, True),
    ]


def test_batches_follow_the_declared_types(warehouse: Warehouse, tmp_path: Path) -> None:
    schema = {"properties": {"Id": {"type": "integer"}, "o": {"type": ["object", "string"]},
                             "t": {"type": "string"}}}  # fmt: skip
    lines = b'{"Id": 1, "o": "plain", "t": "2026-01-01"}\n{"Id": 2, "o": {"a": 1}}'
    (tmp_path / "a.jsonl").write_bytes(lines)
    message = {"type": "BATCH", "stream": "Users", "manifest": [str(tmp_path / "a.jsonl")]}
    run(warehouse, {**USERS, "schema": schema}, user(3, o="x", t="1"), message)
    rows = query(warehouse, "select id, o::text, t from tap.users order by id")
    assert rows == [(1, '"plain"', "2026-01-01"), (2, '{"a": 1}', None), (3, '"x"', "1")]


def test_parquet_and_empty_batches_are_taken_and_live_on(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    pa_parquet.write_table(pa.table({"Id": [1, 2], "name": ["a", None]}), tmp_path / "a")
    (tmp_path / "b.jsonl").write_bytes(b"")
    message = {"type": "BATCH", "stream": "Users", "encoding": {"format": "parquet"},
               "manifest": [(tmp_path / "a").as_uri()]}  # fmt: skip
    empty = {**message, "encoding": {"format": "jsonl", "compression": "none"},
             "manifest": [str(tmp_path / "b.jsonl")]}  # fmt: skip
    activate = {"type": "ACTIVATE_VERSION", "stream": "Users", "version": 2}
    run(warehouse, USERS, {**user(9), "version": 1}, message, empty, activate)
    rows = query(warehouse, "select id, _deleted_at is null from tap.users order by id")
    assert rows == [(1, True), (2, True), (9, False)]
    unknown = {**message, "encoding": {"format": "avro"}}
    with pytest.raises(FatalError, match="line 2: a BATCH in an unknown format"):
        run(warehouse, USERS, unknown)


@pytest.mark.parametrize(
    ("line", "is_message"),
    [
        (b'{"type": "SCHEMA", "stream": "a", "schema": {}}\n', True),
        (b'\xef\xbb\xbf{"stream":"a","record":{},"type":"RECORD"}\n', True),
        (b'{"type": "STATE", "value": {}}', True),
        (b'{"type": "dog", "stream": "a"}\n', False),
        (b"type,stream\nRECORD,a\n", False),
        (b"", False),
    ],
)
def test_singer_messages_are_recognised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: bytes, is_message: bool
) -> None:
    for content in (line, gzip.compress(line)):
        (tmp_path / "f").write_bytes(content)
        assert is_singer(str(tmp_path / "f")) == is_message
        stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", stream)
        assert is_singer("-") == is_message
        assert b"".join(open_lines("-")) == line


def test_a_tap_may_declare_the_column_for_deletes(warehouse: Warehouse) -> None:
    schema = {
        "type": "SCHEMA", "stream": "t", "key_properties": ["id"],
        "schema": {
            "properties": {
                "id": {"type": "integer"}, "": {"type": "string"},
                "_deleted_at": {"type": ["null", "string"], "format": "date-time"},
            },
            "additionalProperties": False,
        },
    }  # fmt: skip
    deleted = [None, "2026-03-01T00:00:00Z"]
    records = [
        {
            "type": "RECORD",
            "stream": "t",
            "record": {"id": n, "": "x", "_deleted_at": deleted[n % 2]},
        }
        for n in range(300)
    ]
    target, _ = run(warehouse, schema, *records)
    assert (target.outcomes[0].inserted, target.outcomes[0].deleted) == (300, 150)
    columns = query(
        warehouse,
        "select attname from pg_attribute where attrelid = 'tap.t'::regclass and attnum > 0"
        " and attname <> all ('{id,_deleted_at,_loaded_at,_load_id}')",
    )
    assert len(columns) == 1
    assert query(warehouse, f"select distinct {columns[0][0]} from tap.t") == [("x",)]


def test_a_property_that_is_only_ever_null_leaves_the_columns_type(warehouse: Warehouse) -> None:
    def schema(kind: object) -> dict[str, object]:
        properties = {"id": {"type": "integer"}, "n": {"type": kind}}
        return {"type": "SCHEMA", "stream": "t", "key_properties": ["id"],
                "schema": {"properties": properties}}  # fmt: skip

    def record(number: int, value: object) -> dict[str, object]:
        return {"type": "RECORD", "stream": "t", "record": {"id": number, "n": value}}

    run(warehouse, schema("integer"), record(1, 5))
    run(warehouse, schema("null"), record(2, None), record(3, 7))
    rows = query(warehouse, "select pg_typeof(n)::text, n from tap.t order by id")
    assert rows == [("bigint", 5), ("bigint", None), ("bigint", 7)]


def test_a_property_without_a_type_takes_values_as_they_are(warehouse: Warehouse) -> None:
    properties = {"id": {"type": "integer"}, "a": {"type": "null"}, "b": {"type": []}}
    schema = {"type": "SCHEMA", "stream": "t", "key_properties": ["id"],
              "schema": {"properties": properties}}  # fmt: skip
    records = [{"id": 1, "a": "later", "b": 1}, {"id": 2, "a": None, "b": "x"}]
    run(warehouse, schema, *({"type": "RECORD", "stream": "t", "record": one} for one in records))
    assert query(warehouse, "select a, b from tap.t order by id") == [("later", "1"), (None, "x")]


@pytest.mark.parametrize("version", [True, "7", 1.5, None, 2**63, 2**64 - 1, 2**70])
def test_a_version_that_is_none_is_no_record_s_fault_and_activates_nothing(
    warehouse: Warehouse, version: object
) -> None:
    lines = [{**user(number), "version": version} for number in range(300)]
    target, _ = run(warehouse, USERS, *lines)
    assert target.outcomes[0].inserted == 300
    activate = {"type": "ACTIVATE_VERSION", "stream": "Users", "version": version}
    with pytest.raises(FatalError, match="line 2: an ACTIVATE_VERSION without a version"):
        run(warehouse, USERS, activate)
    assert query(warehouse, "select count(*) from tap.users where _deleted_at is null") == [(300,)]
