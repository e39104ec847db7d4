"""extract and load, from the words to the rows: L11."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest

from meltano_assets.sources.version import VERSION
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.command_line import (
    command,
    process,
)
from meltano_assets_tests.commands.conftest import rows
from meltano_assets_tests.sources.test_singer import make_wheel


def test_extract_loads_what_is_new_and_says_how_much(configured: Warehouse) -> None:
    first = command("extract", "zendesk.tickets")
    assert first.code == 0, first.err
    assert re.match(r"zendesk\.tickets: read [1-9]\d* = loaded", first.out)
    before = rows(configured, "select count(*) from zendesk.tickets")
    again = command("extract", "zendesk.tickets")
    assert again.out.startswith("zendesk.tickets: read 0 = loaded 0")
    whole = command("extract", "zendesk.tickets", "--full-refresh")
    assert f"read {before[0][0]} = loaded {before[0][0]}" in whole.out
    assert rows(configured, "select count(*) from zendesk.tickets") == before


def test_extract_reads_a_whole_source(configured: Warehouse) -> None:
    ran = command("extract", "version")
    assert ran.code == 0
    told = [line.split(":")[0] for line in ran.out.splitlines() if "read" in line]
    assert told == [stream.key for stream in VERSION.streams]


def test_extract_keeps_to_a_span_and_a_limit(configured: Warehouse) -> None:
    ran = command("extract", "salesforce.leads", "--limit", "3")
    assert ran.out.startswith("salesforce.leads: read 3 = loaded 3")
    ran = command("extract", "salesforce.leads", "--start", "1990-01-01", "--end", "1990-02-01")
    assert ran.out.startswith("salesforce.leads: read 0")
    ran = command("extract", "salesforce.leads", "--days", "20000", "--limit", "5")
    assert ran.out.startswith("salesforce.leads: read 5")


def test_a_tap_that_needs_no_variable_is_discovered_and_extracted(
    stored: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings are all written out; nothing has to be set, and no sandbox stands in for it."""
    monkeypatch.setenv("MELTANO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path / "state"))
    entry = {
        "tap": str(make_wheel(tmp_path)),
        "executable": "tap-test",
        "settings": {"api_token": "written out", "count": 3},
        "select": "shop-orders",
    }
    (tmp_path / "singer.yml").write_text(json.dumps({"shop": entry}))
    ran = command("extract", "shop")
    assert ran.code == 2
    assert "none of its tables or streams is known yet" in ran.err
    assert "meltano-assets discover shop --write" in ran.err
    ran = command("discover", "shop", "--write")
    assert ran.code == 0, ran.err
    ran = command("extract", "shop")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("shop.shop_orders: read 3 = loaded 3")
    assert rows(stored, "select count(*) from shop.shop_orders") == [(3,)]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_an_extracted_file_loads_to_the_same_rows(
    kind: str, configured: Warehouse, tmp_path: Path
) -> None:
    folder = tmp_path / "a folder"
    ran = command(
        *("extract", "salesforce.accounts", "--output", "file"),
        *("--format", kind, "--folder", str(folder)),
    )
    assert ran.code == 0, ran.err
    path = folder / f"salesforce.accounts.{kind}"
    assert [each.name for each in folder.iterdir()] == [path.name]
    table = pa_parquet.read_table(path) if kind == "parquet" else pa_csv.read_csv(path)
    assert f"{table.num_rows} records in {path}" in ran.out
    assert command("extract", "salesforce.accounts").code == 0
    assert command("load", str(path), "--table", "files.accounts", "--primary-key", "id").code == 0
    columns = "id, name, website, number_of_employees, using_ce__c, system_modstamp, description"
    assert rows(configured, f"select {columns} from files.accounts order by id") == rows(
        configured, f"select {columns} from salesforce.accounts order by id"
    )


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_of_nothing_still_has_its_columns(
    kind: str, configured: Warehouse, tmp_path: Path
) -> None:
    ran = command(
        *("extract", "zendesk.tickets", "--output", "file", "--format", kind),
        *("--end", "1990-01-01", "--folder", str(tmp_path)),
    )
    assert ran.code == 0, ran.err
    path = tmp_path / f"zendesk.tickets.{kind}"
    names = (
        pa_parquet.read_schema(path).names
        if kind == "parquet"
        else path.read_text().strip().replace('"', "").split(",")
    )
    assert {"id", "subject", "updated_at"} <= set(names)


def test_a_folder_that_cannot_be_written_is_named(configured: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = command(
        *("extract", "zendesk.groups", "--output", "file", "--folder", str(tmp_path / "file" / "x"))
    )
    assert ran.code == 2
    assert "cannot be written" in ran.err
    assert "--folder" in ran.err


def test_load_takes_csv_and_says_what_it_set_aside(stored: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('id,name\n1,Ann\n2,Bob\n2,Bobby\n3,"too","many"\n')
    ran = command("load", str(path), "--table", "crm.people", "--primary-key", "id")
    assert ran.code == 0
    assert ran.out.startswith(
        "crm.people: read 4 = loaded 2 + unchanged 0 + superseded 1 + quarantined 1"
    )
    assert "meltano-assets quarantine show crm.people" in ran.out
    assert rows(stored, "select id, name from crm.people order by id") == [(1, "Ann"), (2, "Bobby")]
    shown = command("quarantine", "show", "crm.people")
    assert re.search(r"crm\.people +malformed row +1", shown.out)
    assert command("quarantine", "show").out == shown.out
    replayed = command("quarantine", "replay", "crm.people")
    assert "stay where they are" in replayed.out
    wrong = command("quarantine", "show", "crm.peeple")
    assert wrong.code == 2
    assert "Did you mean crm.people?" in wrong.err


def test_load_takes_the_delimiter_that_is_named(stored: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "things.csv"
    path.write_text("id\ta^b\n1\tx^y\n")
    words = ("load", str(path), "--table", "files.things", "--delimiter")
    assert command(*words, "\\t").code == 0
    assert rows(stored, "select id, a_b from files.things") == [(1, "x^y")]
    assert command(*words, "^", "--disposition", "replace", "--policy", "evolve").code == 0
    assert rows(stored, "select id_a, b from files.things") == [("1\tx", "y")]
    for sign in ("", "||", '"', "€"):
        ran = command(*words, sign)
        assert (ran.code, "is not one sign" in ran.err) == (2, True)
    ran = command("load", str(path), "--schema", "tap", "--format", "singer", "--delimiter", ";")
    assert (ran.code, "--delimiter is not for Singer" in ran.err) == (2, True)


def test_load_takes_standard_input_plain_and_gzip(stored: Warehouse) -> None:
    text = b'{"id": 1, "tags": ["a"]}\n{"id": 2, "price": 7.25}\n'
    for data, loaded in ((text, "loaded 2 + unchanged 0"), (gzip.compress(text), "loaded 0")):
        ran = process("load", "-", "--table", "shop.items", "--primary-key", "id", stdin=data)
        assert ran.code == 0, ran.err
        assert loaded in ran.out
    assert rows(stored, "select id, price::text from shop.items order by id") == [
        (1, None),
        (2, "7.25"),
    ]


def test_load_suggests_the_column_that_was_meant(stored: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("id,name,updated_at\n1,Ann,2026-01-01\n")
    ran = command("load", str(path), "--table", "crm.people", "--primary-key", "ID")
    assert (ran.code, "Did you mean" in ran.err or "There are: id" in ran.err) == (2, True)
    ran = command(
        *("load", str(path), "--table", "crm.people", "--primary-key", "id"),
        *("--replication-key", "update_at"),
    )
    assert ran.code == 2
    assert "Did you mean updated_at?" in ran.err
    assert rows(stored, "select to_regclass('crm.people')") == [(None,)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("cut.csv.gz", gzip.compress(b"id,name\n" * 1000, mtime=0)[:30], "damaged or cut off"),
        ("some.parquet", b"PAR1" + bytes(100), "damaged"),
        ("some.ndjson", b"[1, 2]\nnothing\n", "no NDJSON"),
    ],
)
def test_a_damaged_file_leaves_nothing(
    name: str, content: bytes, message: str, stored: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    ran = command("load", str(path), "--table", "files.damaged")
    assert ran.code == 2
    assert message in ran.err
    assert rows(stored, "select to_regclass('files.damaged')") == [(None,)]


def test_load_is_a_singer_target(tmp_path: Path, server: EmbeddedServer) -> None:
    url = server.ensure_database("cli_singer")
    messages = tmp_path / "tap.singer"
    schema = {"properties": {"id": {"type": "integer"}, "score": {"type": ["null", "number"]}}}
    lines: list[dict[str, object]] = [
        {"type": "SCHEMA", "stream": "users", "schema": schema, "key_properties": ["id"]},
        {"type": "RECORD", "stream": "users", "record": {"id": 1, "score": 7.25}},
        {"type": "STATE", "value": {"users": 1}},
    ]
    messages.write_text("\n".join(json.dumps(line) for line in lines))
    result = subprocess.run(
        [
            *(sys.executable, "-m", "meltano_assets.cli", "load", str(messages)),
            *("--format", "singer", "--schema", "tap"),
        ],
        env={**os.environ, "MELTANO_WAREHOUSE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == '{"users":1}\n'
    assert "tap.users: read 1 = loaded 1" in result.stderr
    with Warehouse(url).connect() as connection:
        assert connection.execute("select id, score::text from tap.users").fetchall() == [
            (1, "7.25")
        ]


SINGER = (
    '{"type": "SCHEMA", "stream": "people", "key_properties": ["id"], "schema": {"properties":'
    ' {"id": {"type": "integer"}, "paid": {"type": "number"}, "extra": {"type": "object"}}}}\n'
    '{"type": "RECORD", "stream": "people", "record": {"id": 1, "paid": 1.25, "extra": {"a": [1]}}}\n'
)
NDJSON = '{"id": 1, "paid": 1.25, "at": "2026-01-02T03:04:05Z", "extra": {"a": [1]}, "b": true}\n'


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("id,paid,at,b\n1,1.25,2026-01-02,true\n", ["--table", "t.people"]),
        (NDJSON, ["--table", "t.people"]),
        (SINGER, ["--schema", "t"]),
    ],
    ids=["csv", "ndjson", "singer"],
)
def test_loading_a_file_needs_no_pandas(
    tmp_path: Path, warehouse: Warehouse, text: str, options: list[str]
) -> None:
    """Looking for it would be a quarter of what a small load takes."""
    file = tmp_path / "people"
    file.write_text(text)
    script = (
        "import sys\n"
        "from meltano_assets import cli\n"
        "sys.argv = ['meltano-assets', 'load', *sys.argv[1:]]\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    print([name for name in ('pandas', 'dagster') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(file), *options],
        env={**os.environ, "MELTANO_WAREHOUSE_URL": warehouse.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr
    with warehouse.connect() as connection:
        row = connection.execute("select count(*), sum(paid) from t.people").fetchone()
    assert row is not None and (row[0], float(row[1])) == (1, 1.25)
