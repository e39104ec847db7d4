"""The pieces of the demo: what it refuses, how it tells a run, what its report holds."""

from __future__ import annotations

import io
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from rich.console import Console

from meltano_assets import connections, environment
from meltano_assets.commands.sandbox import sandbox_advance
from meltano_assets.demo.report import print_report
from meltano_assets.demo.run import advance_company
from meltano_assets.demo.story import AssetAccount, Story
from meltano_assets.errors import FatalError, RetriableError, SkippableError
from meltano_assets.resources import CopyIOManager, WarehouseResource
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.clients.local_server import Answer, free_port, serving
from meltano_assets_tests.command_line import command, nothing_looked_up


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    with nothing_looked_up():
        yield


# what it refuses


def test_demo_does_not_run_on_systems_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENDESK_API_TOKEN", "one of the user's own")
    ran = command("demo")
    assert ran.code == 2
    assert "variables of zendesk are set" in ran.err
    assert not environment.state_directory().exists()


def test_fresh_does_not_empty_a_warehouse_of_the_users(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    ran = command("demo", "--fresh")
    assert ran.code == 2
    assert "unset MELTANO_WAREHOUSE_URL" in ran.err


def test_a_port_that_is_taken_is_told_before_anything_runs() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = command("demo", "--ui", "--port", str(port))
    assert ran.code == 2
    assert f"port {port} is in use" in ran.err
    assert not environment.state_directory().exists()


# how it tells a run


def people() -> list[dg.AssetsDefinition]:
    key = dg.AssetKey(["shop", "people"])

    @dg.asset(
        key=key,
        check_specs=[dg.AssetCheckSpec("fine", asset=key), dg.AssetCheckSpec("odd", asset=key)],
    )
    def loads() -> Iterator[Any]:
        yield dg.MaterializeResult(value=pa.table({"id": [1, 2]}))
        yield dg.AssetCheckResult(check_name="fine", passed=True)
        yield dg.AssetCheckResult(
            check_name="odd", passed=False, severity=dg.AssetCheckSeverity.WARN
        )

    @dg.asset(key=["shop", "broken"], deps=[key])
    def breaks() -> None:
        raise dg.Failure("shop.broken: [the vendor] said no", allow_retries=False)

    return [loads, breaks]


def told(warehouse: Warehouse, *, is_terminal: bool) -> tuple[Story, str]:
    """A small run with its story and report, as a user sees them."""
    screen = io.StringIO()
    out = Console(file=screen, force_terminal=is_terminal, width=100, color_system=None)
    groups = {"shop/people": "raw/shop", "shop/broken": "salesforce_sync"}
    database = WarehouseResource(url=warehouse.url)
    job = dg.Definitions(
        assets=people(), resources={"io_manager": CopyIOManager(database=database)}
    ).resolve_implicit_global_asset_job_def()
    story = Story(out, groups)
    run_id = str(uuid.uuid4())
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_event_listener(run_id, story.hear)
        with story:
            job.execute_in_process(
                instance=instance,
                run_id=run_id,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
    print_report(out, story, 1.5, is_first=True)
    return story, screen.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_every_asset_and_every_failure_is_told(
    is_terminal: bool, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    story, text = told(warehouse, is_terminal=is_terminal)
    account = story.accounts["shop/people"]
    assert (account.hop, account.passed, account.failed) == ("sources", 1, 1)
    assert account.facts["read"] == 2
    [landed] = [line for line in text.splitlines() if line.startswith("shop/people")]
    assert landed.split()[1:5] == ["2", "2", "0", "0"]
    assert landed.rstrip().endswith("1 of 2")
    assert "check failed shop/people: odd" in text
    assert "failed shop__broken: shop.broken: [the vendor] said no" in text
    assert "First run: 2 assets and 2 checks in 2 s." in text
    if not is_terminal:
        assert "\x1b[" not in text


def test_a_narrow_terminal_cuts_no_number(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    screen = io.StringIO()
    out = Console(file=screen, force_terminal=False, width=80, color_system=None)
    story = Story(out, {})
    key = "zuora/revenue_schedule_item_invoice_item_adjustments"
    facts = {"read": 1_234_567, "inserted": 1_234_560, "unchanged": 5, "quarantined": 2}
    story.accounts[key] = AssetAccount(
        key, "sources", "raw/zuora", {**facts, "seconds": 123.4}, passed=11
    )
    print_report(out, story, 1.5, is_first=True)
    lines = screen.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    [landed] = [line for line in lines if line.startswith("zuora/")]
    assert landed.split()[1:] == ["1,234,567", "1,234,560", "5", "2", "123.4", "11", "✓"]


# time passes


def test_advance_tells_what_changed_or_why_not() -> None:
    answers = [
        Answer(b'{"day": 3}'),
        Answer(b'{"error": "the company would overtake the present"}', status=409),
        Answer(b"oops", status=500),
    ]
    with serving(lambda request: answers.pop(0)) as control:
        company = connections.company_directory()
        with connections.serving(company, is_shared=False) as opened:
            manifest = f'{{"control": {{"base_url": "{control.base_url}"}}}}'.encode()
            answers.insert(0, Answer(manifest))
            opened.write_text(f'{{"base_url": "{control.base_url}"}}')
            assert advance_company(3) == {"day": 3}
            with pytest.raises(SkippableError, match="overtake"):
                advance_company(3)
            with pytest.raises(RetriableError, match="did not advance"):
                advance_company(3)


def test_a_sandbox_that_went_away_is_told() -> None:
    with connections.serving(connections.company_directory(), is_shared=False) as opened:
        opened.write_text(f'{{"base_url": "http://127.0.0.1:{free_port()}"}}')
        with pytest.raises(RetriableError, match="does not answer"):
            advance_company(1)
    with pytest.raises(FatalError, match="not a number of days"):
        sandbox_advance("many")
