"""The Singer target: what taps send, what they may get wrong, and when a STATE may go on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from meltano_assets.errors import FatalError
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.singer import SingerTarget, column_type, open_lines
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


def run(warehouse: Warehouse, *messages: object, **options: bool) -> tuple[SingerTarget, list[str]]:
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


def test_bad_records_are_set_aside_and_bad_input_is_an_error(warehouse: Warehouse) -> None:
    closed = json.loads(json.dumps(USERS))
    closed["schema"]["additionalProperties"] = False
    target, _ = run(
        warehouse, closed, user(1), user(None), user(2, paid="much"), user(3, unknown=1)
    )
    assert (target.outcomes[0].inserted, target.outcomes[0].quarantined) == (1, 3)
    for messages, reason in (
        ([user(1)], "line 1: a record comes before"),
        ([USERS, b"{not json\n"], "line 2 is no Singer message"),
        ([{**USERS, "key_properties": ["absent"]}], "line 1: key properties"),
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
    rows = query(warehouse, "select id, _sdc_sequence, _sdc_extracted_at is not null"
                 " from tap.users order by id")  # fmt: skip
    assert rows == [(1, 2, True), (5, None, False), (6, None, False)]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": ["null", "integer"]}, "bigint"),
        ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, "timestamptz"),
        ({"type": ["integer", "string"]}, "text"),
        ({"type": ["integer", "number"]}, "numeric"),
        ({"type": "string", "format": "date"}, "date"),
        ({}, "jsonb"),
        ({"type": ["object", "null"], "properties": {}}, "jsonb"),
    ],
)
def test_json_schema_types_become_columns(schema: object, kind: str) -> None:
    assert column_type(schema) == kind
