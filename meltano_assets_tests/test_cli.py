"""The command line as a user meets it: verbs, names, exit codes, ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from meltano_assets import cli, connections
from meltano_assets.commands import edge
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sources import SOURCES
from meltano_assets_tests.command_line import (
    command,
    nothing_looked_up,
    process,
    start,
)

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
    "roles",
    "discover",
    "scaffold",
    "sandbox",
    "doctor",
]


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


def test_help_is_folded_to_the_terminal() -> None:
    assert "ask for. One file for each stream" in command("extract", "--help").out


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
        (["discover", "billing"], "no entry 'billing' in databases.yml or singer.yml (write one"),
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
