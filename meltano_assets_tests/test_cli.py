"""The command line as a user meets it (load and its files: L11): verbs, names, exit codes, files, ends."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest
import requests

from meltano_assets import cli, connections
from meltano_assets.commands import edge
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources import SOURCES
from meltano_assets.sources.version import VERSION
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.command_line import (
    command,
    nothing_looked_up,
    process,
    start,
    variables,
)
from meltano_assets_tests.sources.conftest import Vendors

VERBS = [
    "demo",
    "extract",
    "load",
    "bookmark",
    "backfill",
    "reconcile",
    "sweep",
    "quota",
    "quarantine",
    "pseudonyms",
    "hosts",
    "enrich",
    "sync",
    "query",
    "mapping",
    "dbt",
    "discover",
    "scaffold",
    "sandbox",
    "doctor",
]


@pytest.fixture(scope="module")
def company(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    with serve_in_thread(
        state_dir=tmp_path_factory.mktemp("company"),
        postgres_url=server.url("postgres"),
        database="sandbox_cli",
        scale=0.05,
    ) as manifest:
        yield Vendors(manifest)


@pytest.fixture
def configured(
    company: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Warehouse]:
    """Every vendor and the warehouse are named by variables."""
    for name, value in variables(company).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    with nothing_looked_up():
        yield warehouse


@pytest.fixture
def stored(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """The warehouse alone is named."""
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    with nothing_looked_up():
        yield warehouse


def rows(warehouse: Warehouse, query: str) -> list[tuple[object, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query.encode()).fetchall()


# help, names, exit codes


def test_help_is_there_at_once_and_names_every_verb() -> None:
    began = time.monotonic()
    ran = process("--help")
    assert time.monotonic() - began < 5  # 0.5 s on an idle machine
    assert ran.code == 0
    found = re.findall(r"^│ ([a-z]+) +[A-Z]", ran.out, flags=re.MULTILINE)
    assert found == VERBS
    assert "Exit codes" in ran.out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom meltano_assets import cli\ncli.run(lambda: cli.app(['--help']))\n"
        "heavy = {'dagster', 'pandas', 'pyarrow', 'psycopg', 'requests', 'starlette', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stderr.strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    ran = command(verb, "--help")
    assert ran.code == 0
    assert f"Example: {'zcat' if verb == 'load' else 'meltano-assets ' + verb}" in ran.out


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["extrct"], "Did you mean extract"),
        (["bookmark", "shw"], "Did you mean show"),
        (["extract", "salesfroce"], "Did you mean salesforce?"),
        (["extract", "salesforce.acounts"], "accounts"),
        (["extract", "pagerduty"], "There are: salesforce, version, zendesk"),
        (["extract", "zendesk", "--ful-refresh"], "--full-refresh"),
        (["extract", "zendesk", "--days", "0"], "greater than or equal to 1"),
        (["extract", "zendesk", "--days", "1", "--start", "2026-01-01"], "exclude each other"),
        (["extract", "zendesk", "--start", "yesterday"], "write 2026-01-31"),
        (["extract", "zendesk", "--start", "2026-02-01", "--end", "2026-01-01"], "nothing lies"),
        (["extract", "zendesk", "--folder", "here"], "add --output file"),
        (["load", "x.csv"], "Missing option '--table'"),
        (["load", "nowhere.csv", "--table", "a.b"], "nowhere.csv cannot be read"),
        (["load", "x.csv", "--table", "b"], "write schema.table"),
        (["load", "x.csv", "--table", "a.b", "--disposition", "upsert"], "--primary-key"),
        (["bookmark", "set", "salesforce", "2026-01-01"], "name one stream of it"),
        (["bookmark", "set", "salesforce.leads", "rubbish"], "is not an ISO time"),
        (["bookmark", "rewind", "zendesk.groups"], "read whole each time"),
        (["hosts", "clean", "/nowhere"], "No such file"),
        (["sandbox", "advance", "week"], "write 1d"),
        (["sandbox", "--scale", "0"], "greater than or equal to"),
    ],
)
def test_wrong_words_end_in_a_message_that_helps(words: list[str], suggestion: str) -> None:
    ran = command(*words)
    assert ran.code == 2
    assert suggestion in " ".join(re.sub(r"[│╭╮╰╯─]", " ", ran.err).split())


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_missing_variable_is_named_with_where_to_set_it(
    source: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "production")
    ran = command("extract", source.name)  # type: ignore[attr-defined]
    assert ran.code == 2
    for variable in source.variables:  # type: ignore[attr-defined]
        assert not variable.is_required or variable.name in ran.err
    assert ".env" in ran.err


# the edge


def test_exit_codes_say_whether_a_retry_helps() -> None:
    def fail(error: Exception) -> Callable[[], None]:
        def raising() -> None:
            raise error

        return raising

    assert cli.run(lambda: None) == 0
    assert cli.run(fail(RetriableError("later"))) == 1
    assert cli.run(fail(FatalError("never"))) == 2
    assert cli.run(fail(KeyError("oops"))) == 2


def test_what_nobody_foresaw_is_one_line_with_its_traceback_in_a_private_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state_directory: Path
) -> None:
    secret = "canary/of+the=edge"
    monkeypatch.setenv("ZENDESK_API_TOKEN", secret)
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", "postgresql://me:canary%2Fpassword@nowhere/x")

    def fails() -> None:
        raise ZeroDivisionError(f"[red]cannot divide by {secret} or canary/password")

    assert cli.run(fails) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ZeroDivisionError: [red]cannot divide by *** or ***")
    assert "meltano_assets/cli.py:" in told
    assert len(told.splitlines()) == 1
    log = state_directory / "errors.log"
    assert str(log) in told
    assert log.stat().st_mode & 0o777 == 0o600
    content = log.read_text()
    assert "Traceback" in content
    assert "fails" in content
    assert secret not in content
    assert "canary/password" not in content


def test_the_edge_works_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path / "file" / "state"))
    assert edge.report(ValueError("odd")) == 2
    assert "ValueError: odd" in capsys.readouterr().err


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.txt"
    hosts.write_text("".join(f"host{n}.example{n}.com\n" for n in range(20_000)))
    with start("hosts", "clean", str(hosts)) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline().startswith(b"raw_host,kind")
        running.stdout.close()
        told = running.stderr.read()
        running.wait(30)
    assert told == b""


# extract


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


# load


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


# bookmarks


def test_bookmarks_are_shown_set_and_rewound(configured: Warehouse) -> None:
    """L10: each move is kept, and a rewind goes back to the one before."""
    assert "never loaded" in command("bookmark", "show", "salesforce.users").out
    assert command("extract", "salesforce.users").code == 0
    loaded = command("bookmark", "show", "salesforce.users").out
    moment = re.findall(r"\d{4}-\S+", loaded)[0]
    ran = command("bookmark", "set", "salesforce.users", "1999-12-31")
    assert ran.out == "salesforce.users continues from 1999-12-31T00:00:00+00:00\n"
    assert "read 0" not in command("extract", "salesforce.users", "--end", "2999-01-01").out
    assert command("bookmark", "set", "salesforce.users", "2000-01-01T12:00+02:00").code == 0
    assert "2000-01-01T10:00:00+00:00" in command("bookmark", "show").out
    ran = command("bookmark", "rewind", "salesforce.users")
    assert ran.out == f"salesforce.users continues from {moment}\n"
    everything = command("bookmark", "show").out.splitlines()
    assert len(everything) == 1 + sum(len(source.streams) for source in SOURCES)


# quota, backfill, reconcile


def test_calls_are_counted_priced_and_shown(
    configured: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6, X7, X9 as a person sees them, from one field that was chosen later."""
    monkeypatch.setenv("MELTANO_STREAMS_FILE", str(tmp_path / "streams.yml"))
    quota = "quota: {calls: 100000, elsewhere_share: 0.5}"
    (tmp_path / "streams.yml").write_text(f"salesforce: {{{quota}}}")
    assert command("extract", "salesforce.accounts").code == 0
    shown = command("quota", "show", "salesforce").out
    assert "80,000, 50,000 outside production" in shown
    used = re.findall(r"local (\d+)", shown)
    assert used
    assert 0 < int(used[0]) < 10
    assert "no daily limit" in command("quota", "show", "zendesk").out
    refused = command("backfill", "salesforce.accounts", "CleanStatus", "--plan")
    assert refused.code == 2
    assert "streams.yml" in refused.err
    (tmp_path / "streams.yml").write_text(
        f"salesforce: {{{quota}, streams: {{accounts: {{add: [CleanStatus]}}}}}}"
    )
    plan = command("backfill", "salesforce.accounts", "CleanStatus", "--plan")
    assert plan.code == 0
    assert "where CleanStatus is not null" in plan.out
    assert re.search(r"about \d+ calls of [\d,]+ that are left of our share", plan.out)
    filled = "select count(*) from information_schema.columns where column_name = %s"
    name = "clean_status"
    assert rows(configured, filled.replace("%s", f"'{name}'")) == [(0,)]
    ran = command("backfill", "salesforce.accounts", "CleanStatus")
    assert ran.code == 0
    assert re.search(r"[1-9]\d* rows changed", ran.out)
    assert command("extract", "salesforce.accounts").code == 0
    agreed = command("reconcile", "salesforce.accounts", "--ask")
    assert agreed.code == 0
    assert re.search(r"salesforce.accounts +source to table +(\d+) +\1 +yes", agreed.out)
    with configured.connect() as connection:
        connection.execute("delete from salesforce.accounts where _deleted_at is null")
    missing = command("reconcile", "salesforce.accounts", "--ask")
    assert missing.code == 1
    assert re.search(r"source to table +\d+ +0 +NO", missing.out)


# hosts, enrich, sync


def test_hosts_are_cleaned_line_by_line() -> None:
    hosts = b"https://git.example.co.uk:8443/x\n10.0.0.1\n\xff\xfe\n\n" + "bücher.de\n".encode()
    ran = process("hosts", "clean", "-", stdin=hosts)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert len(lines) == 1 + 5
    assert lines[1].endswith("domain,git,example,co.uk,example.co.uk,git.example.co.uk")
    assert [line.split(",")[1] for line in lines[2:]] == [
        "internal",
        "invalid",
        "invalid",
        "domain",
    ]


def test_enrich_tells_each_step_and_what_it_kept_to_itself(configured: Warehouse) -> None:
    ran = command("enrich", "nobody-knows-this.com", "10.0.0.1", "..")
    assert ran.code == 0, ran.err
    assert "nobody-knows-this.com: discoverorg miss" in ran.out
    assert "10.0.0.1: internal, no provider is asked about it" in ran.out
    assert "nobody-knows-this.com in the caches:" in ran.out
    assert "    discoverorg_cache: miss, asked 20" in ran.out
    assert "2 withheld" in ran.out


def test_an_unreachable_bootstrap_address_leaves_the_lists_as_they_are(
    configured: Warehouse,
) -> None:
    ran = command("hosts", "bootstrap", "--url", "http://127.0.0.1:9/rdap/dns.json")
    assert ran.code != 0
    assert "the lists used so far stay in use" in ran.err
    assert command("hosts", "bootstrap", "--url", "file:///etc/passwd").code != 0


def test_sync_verbs_answer_before_anything_was_built(configured: Warehouse) -> None:
    wrong = command("sync", "plan", "new_acounts")
    assert (wrong.code, "new_accounts" in wrong.err) == (2, True)
    absent = command("sync", "plan", "hosts")
    assert absent.code == 2
    assert "sync_salesforce_hosts" in absent.err
    refused = command("sync", "apply")
    assert refused.code == 2
    assert "does not write to vendors" in refused.err
    assert command("sync", "check").code == 0
    unknown = command("sync", "show", "nobody.example")
    assert (unknown.code, "nobody.example" in unknown.err) == (2, True)
    unknown = command("sync", "revert", "no-run")
    assert (unknown.code, "sync runs" in unknown.err) == (2, True)
    runs = command("sync", "runs")
    assert (runs.code, runs.out.split()[:2]) == (0, ["run", "sync"])


def test_query_prints_rows_for_people_and_for_programs(configured: Warehouse) -> None:
    statement = "select n, nullif(n, 2)::text || ',a' as t, 1.50 as d from generate_series(1, 3) n;"
    shown = command("query", statement, "--limit", "2")
    assert shown.out.splitlines() == [
        "n  t    d",
        "1  1,a  1.50",
        "2       1.50",
        "… more rows than 2; --limit 0 shows all",
    ]
    csv = process("query", "-", "--format", "csv", stdin=statement.encode())
    assert csv.out.splitlines()[:3] == ['"n","t","d"', '1,"1,a","1.50"', '2,,"1.50"']
    lines = process("query", statement, "--format", "ndjson").out.splitlines()
    assert json.loads(lines[1]) == {"n": 2, "t": None, "d": "1.50"}
    assert process("query", "select 1 where false", "--format", "csv").out == '"?column?"\n'
    assert command("query", "select nothing").code == 2
    assert command("query", "drop schema meltano cascade").code == 2


# the sandbox


def test_sandbox_says_one_line_serves_everybody_and_ends_cleanly(
    state_directory: Path,
) -> None:
    company = state_directory / "sandbox" / "company"
    with start("sandbox", "--json", "--scale", "0.02") as running:
        assert running.stdout is not None and running.stderr is not None
        manifest = json.loads(running.stdout.readline())
        assert set(manifest) >= {"salesforce", "zendesk", "version", "dns", "control"}
        control = manifest["control"]["base_url"]

        with nothing_looked_up():
            # Other commands use the one that a person opened.
            ran = command("sandbox", "advance", "2d")
            assert ran.code == 0, ran.err
            assert json.loads(ran.out)["day"] == 2
            assert connections.sandbox_manifest() == manifest
            assert command("extract", "zendesk.groups").code == 0
            late = command("sandbox", "advance", "900d")
            assert (late.code, "overtake the present" in late.err) == (1, True)
            second = command("sandbox")
            assert (second.code, control in second.err) == (2, True)
            fresh = command("demo", "--fresh")
            assert (fresh.code, "in use" in fresh.err) == (2, True)
        assert requests.get(f"{control}/clock", timeout=10).json()["day"] == 2

        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
        assert running.stdout.read() == b""
        assert running.stderr.read() == b""

    assert company.stat().st_mode & 0o777 == 0o700

    # The folder's company goes on, with the seed and scale that it was made with.
    with start("sandbox") as running:
        assert running.stdout is not None and running.stderr is not None
        said = b""
        while b"Credentials" not in said:
            said += (line := running.stdout.readline())
            assert line, running.stderr.read()
        assert manifest["version"]["password"].encode() not in said
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
    with nothing_looked_up():
        other = command("sandbox", "--seed", "4")
        assert (other.code, "holds the company of seed 1" in other.err) == (2, True)
        for fault, message in (
            ("zendesk:boom", "no fault 'boom'"),
            ("nobody:drop", "no service 'nobody'"),
            ("rubbish", "service:kind"),
        ):
            ran = command("sandbox", "--fault", fault)
            assert (ran.code, message in ran.err) == (2, True), ran.err


def test_doctor_exits_by_its_findings(stored: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = command("doctor")
    assert healthy.code == 0
    assert "ok   warehouse: Postgres" in healthy.out
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "prod")
    ill = command("doctor")
    assert ill.code == 2
    assert "FAIL environment: MELTANO_ENVIRONMENT is 'prod'" in ill.out
    assert "→ use one of local, test, review, production" in ill.out


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
