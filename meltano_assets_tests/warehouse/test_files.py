"""Files into tables (L11): formats, inference, and every way in which a file can be broken."""

from __future__ import annotations

import gc
import gzip
import json
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, ColumnType, LoadOutcome, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.files import read_file
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.parquet_files import write_parquet
from meltano_assets_tests.warehouse.tables import query


def store(warehouse: Warehouse, path: Path, *key: str) -> LoadOutcome:
    columns, batches = read_file(path)
    stream = Stream(
        "shop", "things", columns, primary_key=key, disposition="upsert" if key else "append",
        options={"inferred_types": True, "max_quarantine_share": 0.9},
    )  # fmt: skip
    return load(warehouse, stream, (Batch(records) for records in batches))


def types(path: Path) -> dict[str, ColumnType]:
    columns, _ = read_file(path)
    return {column.name: column.type for column in columns}


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_csv_types_are_recognised_conservatively(tmp_path: Path, warehouse: Warehouse) -> None:
    path = write(
        tmp_path / "f.csv",
        "id,zip,big,amount,ok,day,at,doc,plus,empty,Name\n"
        "1,00501,123456789012345678901234567890,1.50,true,2026-03-01,2026-03-01T10:00:00Z,"
        '"{""a"": 1}",+5,,x\n'
        '2,90210,5,2,false,2026-03-02,2026-03-01 10:00:00,[],+6,,""\n',
    )
    assert types(path) == {
        "id": "bigint", "zip": "text", "big": "numeric", "amount": "numeric", "ok": "boolean",
        "day": "date", "at": "timestamptz", "doc": "jsonb", "plus": "text", "empty": "text",
        "name": "text",
    }  # fmt: skip
    store(warehouse, path, "id")
    assert query(
        warehouse, "select zip, big::text, amount::text, name from shop.things order by id"
    ) == [
        ("00501", "123456789012345678901234567890", "1.50", "x"),
        ("90210", "5", "2", ""),
    ]


def test_null_and_empty_text_newlines_and_quotes_survive_csv(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    path = write(tmp_path / "f.csv", 'id;text\r\n1;"a\r\nb;""c"""\r\n2;\r\n3;""\r\n')
    store(warehouse, path, "id")
    rows = query(warehouse, "select text from shop.things order by id")
    assert rows == [('a\r\nb;"c"',), (None,), ("",)]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_types_widen_over_a_file_of_many_blocks(
    tmp_path: Path, warehouse: Warehouse, suffix: str
) -> None:
    filler = "x" * 1000
    lines = [f"{n},{filler}" for n in range(12_000)] + ["7.25," + filler, "n/a," + '"a\nb"']
    content = ("v,filler\n" + "\n".join(lines)).encode()
    path = tmp_path / f"f.{suffix}"
    path.write_bytes(gzip.compress(content, 1) if suffix.endswith("gz") else content)
    assert types(path)["v"] == "bigint"
    outcome = store(warehouse, path)
    assert outcome.inserted == 12_002
    rows = query(warehouse, "select v from shop.things where v in ('7', '7.25', 'n/a') order by v")
    assert rows == [("7",), ("7.25",), ("n/a",)]


def test_ragged_rows_are_set_aside_and_the_others_load(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    path = write(tmp_path / "f.csv", "id,a\n1,x\n2\n3,y,z\n4,w\n")
    outcome = store(warehouse, path, "id")
    assert (outcome.read, outcome.inserted, outcome.quarantined) == (4, 2, 2)
    kept = query(warehouse, "select record, record_number, reason from shop.things__quarantine"
                            " order by id")  # fmt: skip
    assert kept == [("2", 2, "malformed row"), ("3,y,z", 3, "malformed row")]


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_numbers_and_truth_values_of_a_record_set_aside_stay_what_they_are(
    tmp_path: Path, warehouse: Warehouse, suffix: str
) -> None:
    """Files come as text: what is a number in its column is one in the record, to the last digit."""
    row = {"id": 1, "n": 1, "big": 2, "ok": False, "code": "x"}
    bad = {"id": None, "n": 7, "big": 123456789012345678901234567890, "ok": True, "code": "007"}
    if suffix == "csv":
        lines = [",".join(row)] + [",".join("" if v is None else str(v).lower() for v in one.values())
                                   for one in (row, bad)]  # fmt: skip
    else:
        lines = [json.dumps(one) for one in (row, bad)]
    text = "\n".join(lines).replace("7,12", "7.50,12").replace("7, ", "7.50, ")
    outcome = store(warehouse, write(tmp_path / f"f.{suffix}", text), "id")
    assert (outcome.inserted, outcome.quarantined) == (1, 1)
    kept = query(warehouse, "select record from shop.things__quarantine")
    assert kept == [
        ('{"id":null,"n":7.50,"big":123456789012345678901234567890,"ok":true,"code":"007"}',)
    ]


def test_ndjson_keeps_what_json_says(tmp_path: Path, warehouse: Warehouse) -> None:
    records = [
        '{"id": 1, "code": "007", "n": 1.10, "big": 123456789012345678901234567890, "ok": true}',
        '{"id": 2, "n": 0.12345678901234567890123, "doc": {"a": [1, 2.50]}, "at": "2026-03-01T00:00:00Z"}',
        '{"id": 3, "n": NaN, "doc": "text", "late": {"x": "\\ud800"}}',
        '{"id": 4, "n": null, "code": "a\\u0000b"}',
    ]
    path = write(tmp_path / "f.ndjson", "\n".join(records))
    outcome = store(warehouse, path, "id")
    assert (outcome.read, outcome.inserted) == (4, 4)
    rows = query(warehouse, "select code, n::text, big::text, doc::text, late::text from shop.things order by id")  # fmt: skip
    assert rows[0] == ("007", "1.10", "123456789012345678901234567890", None, None)
    assert rows[1] == (None, "0.12345678901234567890123", None, '{"a": [1, 2.50]}', None)
    assert rows[2] == (None, "NaN", None, '"text"', '{"x": "\ufffd"}')
    assert rows[3][0] == "a\ufffdb"


def test_a_line_that_is_no_object_is_set_aside(tmp_path: Path, warehouse: Warehouse) -> None:
    deep = '{"id": 5, "d": ' + "[" * 100_000 + "]" * 100_000 + "}"
    path = write(tmp_path / "f.ndjson", '{"id": 1}\nnot json\n[1]\n\n{"id": 2, "id": 3}\n' + deep)
    outcome = store(warehouse, path, "id")
    assert (outcome.read, outcome.inserted, outcome.quarantined) == (5, 3, 2)
    assert query(warehouse, "select id from shop.things order by id") == [(1,), (3,), (5,)]
    numbers = query(warehouse, "select record_number from shop.things__quarantine order by id")
    assert numbers == [(2,), (3,)]


def test_parquet_brings_its_own_types(tmp_path: Path, warehouse: Warehouse) -> None:
    table = pa.table({"id": [1, 2], "Doc": [{"a": 1}, None], "x": pa.array([1.5, None])})
    pa_parquet.write_table(table, tmp_path / "f.parquet")
    assert types(tmp_path / "f.parquet") == {
        "id": "bigint", "doc": "jsonb", "x": "double precision"
    }  # fmt: skip
    store(warehouse, tmp_path / "f.parquet", "id")
    assert query(warehouse, "select doc::text, x from shop.things order by id") == [
        ('{"a": 1}', 1.5),
        (None, None),
    ]


@pytest.mark.parametrize(
    "name",
    ["cut.csv.gz", "cut.parquet", "text.parquet", "empty.csv", "absent.csv", "no.ndjson"],
)
def test_a_broken_file_is_an_error_and_nothing_is_stored(
    tmp_path: Path, warehouse: Warehouse, name: str
) -> None:
    rows = "id,a\n" + "".join(f"{n},{json.dumps(n * 7919)}\n" for n in range(200_000))
    pa_parquet.write_table(pa.table({"id": range(1000)}), tmp_path / "whole")
    content = {
        "cut.csv.gz": gzip.compress(rows.encode())[:-2000],
        "cut.parquet": (tmp_path / "whole").read_bytes()[:-200],
        # A CSV with one name, to a program that does not believe the file's.
        "text.parquet": b"PAR1PAR1",
        "empty.csv": b"",
        "no.ndjson": b"this is\nno json\n",
    }
    path = tmp_path / name
    if name in content:
        path.write_bytes(content[name])
    with pytest.raises(FatalError, match=name):
        store(warehouse, path, "id")
    assert query(warehouse, "select to_regclass('shop.things')") == [(None,)]


def test_parquet_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    first = pa.RecordBatch.from_pydict({"id": [1, 2], "v": ["a", None]})
    assert write_parquet(path, [first, pa.RecordBatch.from_pydict({"id": [3]})]) == 3
    assert pa_parquet.read_table(path).to_pydict() == {"id": [1, 2, 3], "v": ["a", None, None]}
    with pytest.raises(FatalError, match="did not have: late"):
        write_parquet(path, [first, pa.RecordBatch.from_pydict({"id": [4], "late": [1]})])
    assert pa_parquet.read_table(path).num_rows == 3
    assert [file.name for file in tmp_path.iterdir()] == ["out.parquet"]
    assert write_parquet(tmp_path / "none.parquet", []) == 0


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_reading_may_stop_anywhere(form: str, tmp_path: Path) -> None:
    """The thread that reads ahead ends with who reads, and keeps the order."""
    path = tmp_path / f"many.{form}"
    text = "x" * 1_000
    with path.open("w") as file:
        if form == "csv":
            file.write("id,text\n")
        for number in range(20_000):
            file.write(
                f"{number},{text}\n" if form == "csv" else f'{{"id":{number},"text":"{text}"}}\n'
            )
    _, batches = read_file(path)
    ids = [number for batch in batches for number in batch.column("id").to_pylist()]
    assert [int(number) for number in ids] == list(range(20_000))
    _, batches = read_file(path)
    next(batches), next(batches)
    del batches
    gc.collect()
    assert not [thread.name for thread in threading.enumerate() if "parse" in thread.name]
