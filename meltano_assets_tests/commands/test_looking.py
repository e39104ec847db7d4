"""Verbs that show and change what is kept: bookmarks, quota, hosts, providers, sync, queries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from meltano_assets.sources import SOURCES
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.command_line import (
    command,
    process,
)
from meltano_assets_tests.commands.conftest import rows


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


def test_doctor_exits_by_its_findings(stored: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = command("doctor")
    assert healthy.code == 0
    assert "ok   warehouse: Postgres" in healthy.out
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "prod")
    ill = command("doctor")
    assert ill.code == 2
    assert "FAIL environment: MELTANO_ENVIRONMENT is 'prod'" in ill.out
    assert "→ use one of local, test, review, production" in ill.out
