"""Hostile input (L3, L5, L6): everything lands as it was said, is set aside with a reason, or is an error."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.streams import Batch, Bookmark, ColumnType, Disposition, LoadOutcome, Stream
from meltano_assets.warehouse import merge, state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.files import read_file
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.singer import SingerTarget
from meltano_assets_tests.warehouse.tables import batch, query, stream

LENIENT = {"inferred_types": True, "max_quarantine_share": 1.0}


def store(warehouse: Warehouse, path: Path, content: str | bytes, *key: str) -> LoadOutcome:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    columns, batches = read_file(path)
    target = Stream(
        "shop", "things", columns, primary_key=key, disposition="upsert" if key else "append",
        options=LENIENT,
    )  # fmt: skip
    return load(warehouse, target, (Batch(records) for records in batches))


def one(warehouse: Warehouse, array: pa.Array) -> tuple[LoadOutcome, list[tuple[object, ...]]]:
    """One value of an Arrow type in a column that nobody declared."""
    records = pa.RecordBatch.from_arrays([pa.array([1]), array], names=["id", "v"])
    outcome = load(warehouse, stream({"id": "bigint"}), [Batch(records)])
    return outcome, query(warehouse, "select v::text from shop.things")


# names and shapes


def test_names_that_postgres_would_cut_are_refused(warehouse: Warehouse) -> None:
    for target in (
        stream({"id": "bigint"}, name="x" * 64),
        stream({"id": "bigint", "é" * 32: "text"}),
        stream({"id": "bigint"}, source="a\x00b"),
    ):
        with pytest.raises(FatalError, match="cannot hold whole"):
            load(warehouse, target, [batch([{"id": 1}])])


#: What a statement may call its tables and columns; fields are called so, too.
WORDS = [
    "r",
    "p",
    "t",
    "v",
    "l",
    "d",
    "b",
    "k",
    "o",
    "s",
    "m",
    "j",
    "n",
    "excluded",
    "gone",
    "place",
    "rank",
    "ranked",
    "next",
    "until",
    "mark",
    "is_mark",
    "is_new",
    "is_written",
    "merged",
    "joined",
    "judged",
    "newest",
    "earlier",
    "old_0",
    "new_0",
    "last_values",
    "count",
    "value",
    "values",
    "order",
    "user",
    "select",
]


@pytest.mark.parametrize("replication_key", [None, "at"])
@pytest.mark.parametrize("disposition", ["upsert", "append", "replace", "scd2"])
def test_fields_called_like_the_loaders_own_words_are_fields(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    disposition: Disposition,
    replication_key: str | None,
) -> None:
    """New, changed, deleted and refused records, merged in place and written anew."""
    things = stream(
        {**dict.fromkeys(WORDS, "bigint"), "at": "date"},
        primary_key=("next", "place"),
        disposition=disposition,
        replication_key=replication_key,
    )

    def record(number: int, value: int | None, day: int, **other: object) -> dict[str, object]:
        return {
            **dict.fromkeys(WORDS, value),
            "next": number,
            "place": 7,
            "at": date(2026, 1, day),
            **other,
        }

    load(warehouse, things, [batch([record(number, 1, 1) for number in range(20)])])
    query(warehouse, "alter table shop.things add check (r <> 13)")
    many = [record(number, 2, 2) for number in range(20)]
    gone = {"_deleted_at": datetime(2026, 1, 4, tzinfo=UTC)}
    many += [record(40, 13, 2), record(41, 4, 2), record(41, 5, 3), record(5, None, 3, **gone)]
    outcome = load(warehouse, things, [batch(many)], allow_shrink=True)
    assert outcome.quarantined == 1 and outcome.is_balanced
    last = " and _valid_to is null" if disposition == "scd2" else ""
    rows = query(
        warehouse,
        f"select rank, p, gone from shop.things where next in (3, 41) {last} order by next",
    )
    assert rows == [(1 if disposition == "append" else 2,) * 3, (5,) * 3]
    if disposition != "append":
        ended = query(warehouse, "select p from shop.things where _deleted_at is not null")
        assert ended == [(2,)]
    query(warehouse, "alter table shop.things drop constraint things_r_check")
    monkeypatch.setattr(merge, "REWRITE_ROWS", 4)
    again = [record(number, 6, 5) for number in range(20)]
    outcome = load(warehouse, things, [batch(again)], allow_shrink=True)
    assert outcome.is_balanced and outcome.quarantined == 0


def test_fields_with_odd_names_keep_their_columns_in_later_loads(warehouse: Warehouse) -> None:
    names = [
        "a\x00b",
        "a\x00\x00b",
        "😀",
        "a.b",
        'a"b',
        "select",
        "",
        " ",
        "%s",
        "_loaded_at",
        "ctid",
    ]
    record = {"id": 1} | {name: number for number, name in enumerate(names)}
    load(warehouse, stream({"id": "bigint"}), [batch([record])])
    width = query(warehouse, "select count(*) from information_schema.columns"
                             " where table_name = 'things'")  # fmt: skip
    again = load(warehouse, stream({"id": "bigint"}), [batch([record])])
    assert (again.unchanged, again.schema_changes) == (1, [])
    assert width == [(len(names) + 4,)]


def test_a_users_own_malformed_column_is_a_column(tmp_path: Path, warehouse: Warehouse) -> None:
    store(warehouse, tmp_path / "f.csv", "id,_malformed\n1,x\n2,\n", "id")
    assert query(warehouse, "select id, _malformed from shop.things order by id") == [
        (1, "x"), (2, None)
    ]  # fmt: skip


def test_a_field_called_like_a_readers_own_is_a_column(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    outcome = store(warehouse, tmp_path / "f.ndjson", '{"id":1,"\\u0000malformed":"x"}\n', "id")
    assert (outcome.inserted, outcome.quarantined) == (1, 0)
    assert query(warehouse, "select id, _malformed from shop.things") == [(1, "x")]


def test_json_fields_that_are_no_unicode_stay_apart(tmp_path: Path, warehouse: Warehouse) -> None:
    store(warehouse, tmp_path / "f.ndjson", '{"id":1,"\\ud800":1,"\\ud801":2}\n', "id")
    assert query(warehouse, "select _ud800, _ud801 from shop.things") == [(1, 2)]


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("value", [7, "seven"])
def test_fields_beyond_what_a_table_holds_are_kept_as_json(
    warehouse: Warehouse, is_declared: bool, value: object
) -> None:
    names = [f"c{number}" for number in range(1700)]
    kind: ColumnType = "text" if isinstance(value, str) else "bigint"
    target = stream({"id": "bigint"} | (dict.fromkeys(names, kind) if is_declared else {}))
    record = dict.fromkeys(names, value) | {"id": 1}
    for _ in range(2):
        outcome = load(warehouse, target, [batch([record])])
    assert outcome.unchanged == 1
    ((stored,),) = query(warehouse, "select to_jsonb(t) from shop.things as t")
    found = {**stored, **stored["_more_fields"]}
    assert {name: found[name] for name in record} == record


# keys


def test_a_key_is_measured_over_all_its_columns(warehouse: Warehouse) -> None:
    target = stream({"a": "text", "b": "text"}, primary_key=("a", "b"))
    outcome = load(
        warehouse, target, [batch([{"a": "x" * 2000, "b": "y" * 2000}, {"a": "", "b": ""}])]
    )
    assert (outcome.inserted, outcome.quarantined) == (1, 1)


def test_equal_documents_as_keys_are_one_record(warehouse: Warehouse) -> None:
    target = stream({"id": "jsonb"})
    records = [{"id": text} for text in ("1", "1.0", '{"a":1}', '{"a": 1}')]
    outcome = load(warehouse, target, [batch(records)])
    assert (outcome.inserted, outcome.superseded) == (2, 2)


# values


def test_map_keys_that_stand_twice_are_kept_and_counted(warehouse: Warehouse) -> None:
    outcome, rows = one(
        warehouse, pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))
    )
    assert rows == [('[["a", 1], ["a", 2]]',)]
    assert outcome.cleaned == {"map_with_key_twice": 1}


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([[1, 1001, 10**9, None]], pa.list_(pa.time64("ns"))),
         '["00:00:00.000000001", "00:00:00.000001001", "00:00:01", null]'),
        (pa.array([{"at": [1]}], pa.struct([("at", pa.list_view(pa.time64("ns")))])),
         '{"at": ["00:00:00.000000001"]}'),
        (pa.array([{"at": 1001}], pa.struct([("at", pa.timestamp("ns"))])),
         '{"at": "1970-01-01T00:00:00.000001001"}'),
        (pa.array([[("a", 1), ("b", 2)]], pa.map_(pa.string(), pa.time64("ns"))),
         '{"a": "00:00:00.000000001", "b": "00:00:00.000000002"}'),
        (pa.array([[(b"\xff", 1)]], pa.map_(pa.binary(), pa.int64())), '{"ff": 1}'),
        (pa.array([[([1], 1)]], pa.map_(pa.list_(pa.int64()), pa.int64())), '{"[1]": 1}'),
        (pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()),
                                  pa.array(['{"a":1.10}', "null"], pa.json_())),
         '[{"a": 1.10}, null]'),
    ],
)  # fmt: skip
def test_nested_values_are_said_whole(warehouse: Warehouse, array: pa.Array, text: str) -> None:
    records = pa.RecordBatch.from_arrays([pa.array([1]), array], names=["id", "v"])
    load(warehouse, stream({"id": "bigint"}), [Batch(records)])
    assert query(warehouse, "select v::text from shop.things") == [(text,)]


def test_durations_and_intervals_are_text_that_postgres_understands(warehouse: Warehouse) -> None:
    span = pa.scalar((1, 2, 3_000_000), pa.month_day_nano_interval())
    assert one(warehouse, pa.array([span]))[1] == [("P1M2DT0.003S",)]
    one(warehouse, pa.array([timedelta(days=1, milliseconds=-500)]))
    assert query(warehouse, "select v::interval = '23:59:59.5' from shop.things") == [(True,)]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([2**63 - 1], pa.int64()).cast(pa.timestamp("s")),
        pa.array([-(2**62)], pa.int64()).cast(pa.timestamp("ms", "UTC")),
        pa.StructArray.from_arrays(
            [pa.array([2**62], pa.int64()).cast(pa.timestamp("us"))], names=["t"]
        ),
        pa.StructArray.from_arrays([pa.array([2**30], pa.int32()).cast(pa.date32())], names=["t"]),
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["t", "t"]),
    ],
    ids=["seconds", "milliseconds", "time in struct", "date in struct", "field twice"],
)
def test_values_that_nobody_can_say_are_set_aside(warehouse: Warehouse, array: pa.Array) -> None:
    outcome, rows = one(warehouse, array)
    assert (outcome.quarantined, rows) == (1, [])


def test_zero_and_one_are_truth_values(warehouse: Warehouse) -> None:
    target = stream({"id": "bigint", "b": "boolean"}, options={"max_quarantine_share": 1.0})
    load(
        warehouse, target, [batch([{"id": 1, "b": "1"}, {"id": 2, "b": "0"}, {"id": 3, "b": "2"}])]
    )
    assert query(warehouse, "select id, b from shop.things order by id") == [(1, True), (2, False)]


# files


def test_not_a_number_inside_json_is_not_lost(tmp_path: Path, warehouse: Warehouse) -> None:
    outcome = store(warehouse, tmp_path / "f.ndjson", '{"id":1,"j":[NaN,{"x":-Infinity}]}\n', "id")
    assert query(warehouse, "select j::text from shop.things") == [('["NaN", {"x": "-Infinity"}]',)]
    assert outcome.cleaned == {"nan_in_json": 2}


def test_deep_json_in_a_file_follows_the_rule_for_deep_json(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    deep = ["[" * 100_000 + "]" * 100_000, '{"a":' * 1500 + "1" + "}" * 1500, "[" * 950 + "]" * 950]
    lines = [f'{{"id":{n},"x":"[{{","j":{text},"y":{n}}}' for n, text in enumerate(deep)]
    outcome = store(warehouse, tmp_path / "f.ndjson", "\n".join(lines), "id")
    rows = query(warehouse, "select x, jsonb_typeof(j), j #>> '{}', y from shop.things order by id")
    assert rows[:2] == [("[{", "string", deep[0], 0), ("[{", "string", deep[1], 1)]
    assert rows[2][1] == "array"
    assert outcome.cleaned == {"deep_json_as_text": 2}


def test_broken_utf8_in_json_follows_the_rule_for_text(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    outcome = store(warehouse, tmp_path / "f.ndjson", b'{"id":1,"a":"caf\xe9"}\n', "id")
    assert query(warehouse, "select a from shop.things") == [("caf\ufffd",)]
    assert outcome.cleaned == {"invalid_utf8": 1}


def test_empty_objects_are_counted(tmp_path: Path, warehouse: Warehouse) -> None:
    outcome = store(warehouse, tmp_path / "f.ndjson", "{}\n{}\n")
    assert (outcome.read, outcome.quarantined) == (2, 2)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04\x00\x00",
        b"7z\xbc\xaf\x27\x1c",
        b"\n<!DOCTYPE html>\n<html></html>",
        b"\xef\xbb\xbf<?xml version='1.0'?><a/>",
    ],
)
def test_files_of_other_kinds_are_refused(
    tmp_path: Path, warehouse: Warehouse, content: bytes
) -> None:
    with pytest.raises(FatalError, match="give CSV, NDJSON or Parquet, plain or compressed"):
        store(warehouse, tmp_path / "f.csv", content)


@pytest.mark.parametrize(
    "content",
    [
        '{\n  "a": {},\n  "b": [\n    {"id": 1},\n    {"id": 2}\n  ]\n}\n',
        '\n[\n{"id": 1}\n,\n{"id": 2}\n]\n',
        '[{\n"id": 1}]',
        '{"features": [\n{"id": 1},\n{"id": 2}\n]}\n',
    ],
)
def test_one_json_document_over_several_lines_is_no_ndjson(
    tmp_path: Path, warehouse: Warehouse, content: str
) -> None:
    with pytest.raises(FatalError, match="one JSON document over several lines"):
        store(warehouse, tmp_path / "f.json", content)
    assert query(warehouse, "select to_regclass('shop.things')") == [(None,)]


@pytest.mark.parametrize("first", ['{"id": 0, "a": "cut', "[1, 2", '{"id": 0'])
def test_a_first_line_that_is_cut_off_is_a_record_that_is_set_aside(
    tmp_path: Path, warehouse: Warehouse, first: str
) -> None:
    lines = "".join(f'{{"id": {number}}}\n' for number in range(1, 20))
    outcome = store(warehouse, tmp_path / "f.ndjson", f"{first}\n{lines}")
    assert (outcome.inserted, outcome.quarantined) == (19, 1)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (b"id,\xe9t\xe9", ["id", "_xe9t_xe9"]),
        (b"id,a\x0bb", ["id", "a_b"]),
        ("id,a\u2028b".encode(), ["id", "a_b"]),
        (b'id,"a\nb"', ["id", "a_b"]),
        (b"\r\nid,a", ["id", "a"]),
    ],
)
def test_odd_headers_leave_the_rows_alone(
    tmp_path: Path, warehouse: Warehouse, header: bytes, columns: list[str]
) -> None:
    outcome = store(warehouse, tmp_path / "f.csv", header + b"\n1,x\n2,y\n", "id")
    assert outcome.inserted == 2
    found = query(warehouse, f"select {', '.join(columns)} from shop.things order by id")
    assert found == [(1, "x"), (2, "y")]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("sep=;\nid;a,b\n1;x\n", ["id", "a,b"]),
        ("\ufeffsep=|\r\nid|a,b\r\n1|x\r\n", ["id", "a,b"]),
        ("sep=x,id\n1,2\n", ["sep=x", "id"]),
        ('id,"a;b;c;d"\n1,x\n', ["id", "a;b;c;d"]),
        ('"a, b"\t"c, d"\tid\n1\t2\t3\n', ["a, b", "c, d", "id"]),
        ("\n\nid;a\n1;2,5\n", ["id", "a"]),
        ("id;a\r1;b,c,d\r2;e,f,g\r", ["id", "a"]),
        ('"one ""big"" one"|id\n1|2\n', ['one "big" one', "id"]),
    ],
)
def test_what_stands_in_quotes_or_below_is_no_sign_between_headers(
    tmp_path: Path, content: str, found: list[str]
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(content.encode())
    columns, batches = read_file(path)
    assert [column.vendor_field for column in columns] == found
    assert all(records.schema.names == found for records in batches)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_without_a_value_in_a_column_leaves_the_columns_type(
    tmp_path: Path, warehouse: Warehouse, suffix: str
) -> None:
    store(warehouse, tmp_path / "f.csv", "id,n,day,ok\n1,7,2026-03-01,true\n", "id")
    content: str | bytes = "id,n,day,ok\n2,,,\n"
    if suffix == "parquet":
        nothing = pa.nulls(1)
        table = pa.table({"id": [2], "n": nothing, "day": nothing, "ok": nothing})
        pa_parquet.write_table(table, tmp_path / "g.parquet")
        content = (tmp_path / "g.parquet").read_bytes()
    outcome = store(warehouse, tmp_path / f"f.{suffix}", content, "id")
    assert (outcome.inserted, outcome.schema_changes) == (1, [])
    store(warehouse, tmp_path / "f.csv", "id,n,day,ok\n3,7.5,2026-03-02,\n", "id")
    rows = query(warehouse, "select pg_typeof(n)::text, pg_typeof(day)::text, pg_typeof(ok)::text, n"
                            " from shop.things order by id")  # fmt: skip
    assert rows == [("numeric", "date", "boolean", n) for n in (7, None, 7.5)]


def test_a_ragged_row_that_is_not_utf8_is_set_aside_like_any_other(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    rows = [b"%d,caf\xe9" % n for n in range(20)]
    content = b"id,a\n" + b"\n".join([*rows, b"20,caf\xe9,x", b'21,"caf\xc3\xa9"', b"22,"])
    outcome = store(warehouse, tmp_path / "f.csv", content, "id")
    assert (outcome.inserted, outcome.quarantined) == (22, 1)
    assert outcome.cleaned == {"invalid_utf8": 20}
    assert query(warehouse, "select a from shop.things where id in (0, 21, 22) order by id") == [
        ("caf\ufffd",), ("caf\xe9",), (None,),
    ]  # fmt: skip
    kept = query(warehouse, "select record, record_number from shop.things__quarantine")
    assert kept == [("20,caf\ufffd,x", 21)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(gzip.compress(b"id,a\n1,x\n")), "compressed twice"),
        ("id,a\n1,x\n".encode("utf-16-le"), "UTF-16"),
        (b"PARE\x00\x15", "an encrypted Parquet file"),
        (b"SQLite format 3\x00,x\n", "no text"),
        (b"\x02\x11id,a\n1,x\n", "no text"),
        (bz2.compress(gzip.compress(b"id,a\n1,x\n")), "compressed twice"),
    ],
    ids=["gzip of gzip", "UTF-16 without a mark", "encrypted", "a database", "signs", "bzip2"],
)
def test_what_is_no_text_is_not_read_as_a_csv(
    tmp_path: Path, warehouse: Warehouse, content: bytes, words: str
) -> None:
    with pytest.raises(FatalError, match=rf"f\.csv is .*{words}"):
        store(warehouse, tmp_path / "f.csv", content)
    assert query(warehouse, "select to_regclass('shop.things')") == [(None,)]


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "parquet"])
def test_a_file_may_say_what_is_deleted(tmp_path: Path, warehouse: Warehouse, suffix: str) -> None:
    rows = [
        {"id": 1, "v": "a", "_deleted_at": None},
        {"id": 2, "v": "b", "_deleted_at": "2026-03-01T00:00:00Z"},
    ]
    path = tmp_path / f"f.{suffix}"
    if suffix == "parquet":
        pa_parquet.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "csv":
        path.write_text("id,v,_deleted_at\n1,a,\n2,b,2026-03-01T00:00:00Z\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = store(warehouse, path, path.read_bytes(), "id")
    assert (outcome.inserted, outcome.deleted) == (2, 1)
    assert set(_columns(warehouse, "shop.things")) == {
        "id", "v", "_deleted_at", "_loaded_at", "_load_id",
    }  # fmt: skip
    assert query(warehouse, "select id from shop.things where _deleted_at is not null") == [(2,)]


def test_a_delete_that_says_no_time_is_set_aside(tmp_path: Path, warehouse: Warehouse) -> None:
    outcome = store(warehouse, tmp_path / "f.csv", "id,_deleted_at\n1,2026-03-01\n2,zz\n3,\n", "id")
    assert (outcome.inserted, outcome.quarantined, outcome.deleted) == (2, 1, 1)


@pytest.mark.parametrize("name", ["", "\\ud800"])
def test_a_field_with_hardly_a_name_has_one_column(
    tmp_path: Path, warehouse: Warehouse, name: str
) -> None:
    outcome = store(warehouse, tmp_path / "f.ndjson", f'{{"id": 1, "{name}": "x"}}\n', "id")
    (column,) = set(_columns(warehouse, "shop.things")) - {
        "id", "_deleted_at", "_loaded_at", "_load_id",
    }  # fmt: skip
    assert outcome.inserted == 1
    assert query(warehouse, f"select {column} from shop.things") == [("x",)]


def _columns(warehouse: Warehouse, table: str) -> list[str]:
    found = query(
        warehouse,
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " and not attisdropped order by attnum",
        table,
    )
    return [name for (name,) in found]


def test_a_csv_cut_inside_a_quoted_value_is_an_error(tmp_path: Path, warehouse: Warehouse) -> None:
    with pytest.raises(FatalError, match="ends inside a quoted value"):
        store(warehouse, tmp_path / "f.csv", 'id,a\n1,"x"\n2,"abc\n3,y\n')
    assert query(warehouse, "select to_regclass('shop.things')") == [(None,)]
    store(warehouse, tmp_path / "f.csv", 'id,a\n1,5" pipe\n2,"x ""y"""\n3,""\n', "id")
    rows = query(warehouse, "select a from shop.things order by id")
    assert rows == [('5" pipe',), ('x "y"',), ("",)]


def test_minus_zero_keeps_its_sign(tmp_path: Path, warehouse: Warehouse) -> None:
    store(warehouse, tmp_path / "f.csv", "id,n\n1,-0.0\n2,1.50\n", "id")
    assert query(warehouse, "select n from shop.things order by id") == [("-0.0",), ("1.50",)]


# tables that somebody else has touched


def test_a_bookmark_does_not_outlive_rows_that_were_not_logged(warehouse: Warehouse) -> None:
    things = stream({"id": "bigint"})
    load(warehouse, things, [batch([{"id": 1}], "5")])
    query(warehouse, "alter table shop.things set unlogged")
    assert state.read_bookmark(warehouse, "shop", "things") == Bookmark("5")
    # As a server does that starts after a crash.
    query(warehouse, "truncate shop.things")
    assert state.read_bookmark(warehouse, "shop", "things") is None

    def dies_between() -> Iterator[Batch]:
        yield batch([{"id": 1}], "3")
        raise RetriableError("gone")

    with pytest.raises(RetriableError):
        load(warehouse, things, dies_between())
    assert state.read_bookmark(warehouse, "shop", "things") == Bookmark("3")


def test_a_bookmark_does_not_outlive_its_table(warehouse: Warehouse) -> None:
    target = stream({"id": "bigint"})
    load(warehouse, target, [batch([{"id": 1}], "2026-02-01")])
    query(warehouse, "drop table shop.things")
    assert state.read_bookmark(warehouse, "shop", "things") is None

    def cut_short() -> list[Batch]:
        return [batch([{"id": 1}], "2026-01-01")]

    load(warehouse, target, cut_short())
    assert state.read_bookmark(warehouse, "shop", "things") == Bookmark("2026-01-01")
    query(warehouse, "drop table shop.things")
    state.set_bookmark(warehouse, "shop", "things", Bookmark("2026-01-15"))
    assert state.read_bookmark(warehouse, "shop", "things") == Bookmark("2026-01-15")


@pytest.mark.parametrize(
    ("code", "kind"),
    [("53100", RetriableError), ("25006", FatalError)],
    ids=["disk full", "read only"],
)
def test_a_full_disk_changes_nothing(
    warehouse: Warehouse, code: str, kind: type[Exception]
) -> None:
    target = stream({"id": "bigint"})
    load(warehouse, target, [batch([{"id": 1}], "2026-01-01")])
    query(
        warehouse,
        "create function shop.fail() returns trigger language plpgsql as"
        f" $$begin raise exception using errcode = '{code}', message = 'no'; end$$",
    )
    query(warehouse, "create trigger t before insert on shop.things"
                     " for each row execute function shop.fail()")  # fmt: skip
    for is_full in (False, True):
        with pytest.raises(kind):
            load(warehouse, target, [batch([{"id": 2}], "2026-01-02")], full_refresh=is_full)
        assert query(warehouse, "select id from shop.things") == [(1,)]
        assert state.read_bookmark(warehouse, "shop", "things") == Bookmark("2026-01-01")


def test_a_read_only_database_is_a_clear_error(warehouse: Warehouse) -> None:
    load(warehouse, stream({"id": "bigint"}), [batch([{"id": 1}])])
    query(warehouse, f'alter database "{warehouse.database}"'
                     " set default_transaction_read_only = on")  # fmt: skip
    with pytest.raises(FatalError, match="read-only"):
        load(warehouse, stream({"id": "bigint"}), [batch([{"id": 2}])])
    assert query(warehouse, "select id from shop.things") == [(1,)]


def test_a_trigger_that_swallows_rows_is_no_success(warehouse: Warehouse) -> None:
    target = stream({"id": "bigint"})
    load(warehouse, target, [batch([{"id": 1}])])
    query(warehouse, "create function shop.swallow() returns trigger language plpgsql as"
                     " 'begin return null; end'")  # fmt: skip
    query(warehouse, "create trigger t before insert on shop.things"
                     " for each row execute function shop.swallow()")  # fmt: skip
    with pytest.raises(FatalError, match="a trigger or rule"):
        load(warehouse, target, [batch([{"id": 2}])], full_refresh=True)
    assert query(warehouse, "select id from shop.things") == [(1,)]


# batches that differ


def test_batches_without_a_declared_column(warehouse: Warehouse) -> None:
    target = stream({"id": "bigint", "a": "text", "b": "text"})
    outcome = load(warehouse, target, [batch([{"id": 1, "a": "x"}]), batch([{"id": 2, "b": "y"}])])
    assert outcome.inserted == 2
    load(warehouse, target, [batch([{"id": 1, "b": "z"}])])
    rows = query(warehouse, "select id, a, b from shop.things order by id")
    assert rows == [(1, "x", "z"), (2, None, "y")]


VALUES = [
    pa.array([1]),
    pa.array([1.5]),
    pa.array([True]),
    pa.array([{"a": 1}]),
    pa.nulls(1),
    pa.array([b"\xff"]),
    pa.array(["x"]),
]


@pytest.mark.parametrize("start", range(0, len(VALUES), 3))
@pytest.mark.parametrize("kind", [None, "bigint", "text", "jsonb"])
def test_types_that_change_between_batches_give_what_as_many_loads_give(
    warehouse: Warehouse, start: int, kind: ColumnType | None
) -> None:
    columns: dict[str, ColumnType] = {"id": "bigint"} | ({"v": kind} if kind else {})
    arrays = VALUES[start:] + VALUES[:start]
    pieces = [
        Batch(pa.RecordBatch.from_arrays([pa.array([number]), array], names=["id", "v"]))
        for number, array in enumerate(arrays)
    ]
    together = load(warehouse, stream(columns, name="together"), pieces)
    apart = [load(warehouse, stream(columns, name="apart"), [piece]) for piece in pieces]
    assert together.is_balanced
    assert together.quarantined == sum(outcome.quarantined for outcome in apart)
    rows, same = (
        query(warehouse, f"select id, v::text, pg_typeof(v)::text from shop.{name} order by id")
        for name in ("together", "apart")
    )
    assert rows == same


# Singer


USERS = {
    "type": "SCHEMA",
    "stream": "users",
    "key_properties": ["id"],
    "schema": {"properties": {"id": {"type": "integer"}, "s": {"type": "string"},
                              "n": {"type": "number"}, "o": {"type": "object"}}},
}  # fmt: skip


def user(**values: object) -> dict[str, object]:
    return {"type": "RECORD", "stream": "users", "record": values}


def sing(warehouse: Warehouse, *messages: object, add_metadata: bool = False) -> list[LoadOutcome]:
    target = SingerTarget(warehouse, "tap", on_state=lambda _: None, add_metadata=add_metadata)
    return target.run(
        line if isinstance(line, bytes) else json.dumps(line).encode() for line in messages
    )


def test_text_keeps_its_form_whatever_its_neighbours_are(warehouse: Warehouse) -> None:
    sing(warehouse, USERS, user(id=1, s="plain"), user(id=2, s={"a": 1}), user(id=3, s=7))
    rows = query(warehouse, "select s from tap.users order by id")
    assert rows == [("plain",), ('{"a":1}',), ("7",)]


def test_what_a_record_leaves_out_is_null_in_every_load(warehouse: Warehouse) -> None:
    sing(warehouse, USERS, user(id=1, s="a", n=1))
    sing(warehouse, USERS, user(id=1, n=2))
    assert query(warehouse, "select s, n from tap.users") == [(None, 2)]


def test_a_stream_without_records_is_an_empty_table(warehouse: Warehouse) -> None:
    sing(warehouse, b"\xef\xbb\xbf" + json.dumps(USERS).encode())
    assert query(warehouse, "select id, s, n, o from tap.users") == []


def test_the_same_schema_again_does_not_end_a_load(warehouse: Warehouse) -> None:
    outcomes = sing(warehouse, USERS, user(id=1), USERS, user(id=2), USERS)
    assert [outcome.inserted for outcome in outcomes] == [2]


def test_a_deep_record_does_not_stop_the_input(warehouse: Warehouse) -> None:
    deep = b'{"type":"RECORD","stream":"users","record":{"id":1,"o":' + b"[" * 5000 + b"]" * 5000
    outcomes = sing(warehouse, USERS, deep + b"}}", user(id=2))
    assert outcomes[0].inserted == 2
    assert query(warehouse, "select jsonb_typeof(o) from tap.users where id = 1") == [("string",)]


def test_deletes_and_own_metadata_fit_a_closed_schema(warehouse: Warehouse) -> None:
    closed = json.loads(json.dumps(USERS))
    closed["schema"]["additionalProperties"] = False
    closed["schema"]["properties"]["_sdc_sequence"] = {"type": "integer"}
    outcomes = sing(
        warehouse, closed, user(id=1, _sdc_deleted_at="2026-01-01T00:00:00Z", _sdc_sequence=9),
        add_metadata=True,
    )  # fmt: skip
    assert (outcomes[0].inserted, outcomes[0].deleted) == (1, 1)
    assert query(warehouse, "select _sdc_sequence from tap.users") == [(9,)]
