"""What runs by itself: a real daemon turns ticks into runs, and bad data stops the sync."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from meltano_assets.connections import WAREHOUSE_DATABASE
from meltano_assets.definitions import defs
from meltano_assets.environment import project_root
from meltano_assets.warehouse import server as embedded
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests import quick_definitions
from meltano_assets_tests.dagster_processes import Running, running, sparse_environment

#: A tick is up to a minute away; the rest is imports, the sandbox's start and the run.
TICK_SECONDS, NEWS_SECONDS = 150.0, 120.0
#: It waits for its tick while the tests that need nothing of it run.
pytestmark = pytest.mark.usefixtures("daemon")


@dataclass
class Daemon:
    """The daemon, and Dagster's storage and the warehouse that it works on."""

    process: Running
    instance: dg.DagsterInstance
    warehouse: Warehouse

    def runs(self, tag: str, value: str) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(tags={tag: value})))

    def first_finished(self, tag: str, value: str, seconds: float) -> dg.DagsterRun:
        """The first run with this tag, once it has ended."""
        self.process.wait(
            lambda: any(run.is_finished for run in self.runs(tag, value)), seconds, value
        )
        return next(run for run in reversed(self.runs(tag, value)) if run.is_finished)

    def count(self, table: str) -> int:
        with self.warehouse.connect() as connection:
            row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
        assert row is not None
        return int(row[0])

    def errors_of(self, run: dg.DagsterRun) -> list[str]:
        return [
            event.message
            for event in self.instance.all_logs(run.run_id)
            if "FAILURE" in str(event.dagster_event and event.dagster_event.event_type_value)
        ]


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, parsed_by_dbt: Callable[[Path], None]
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    parsed_by_dbt(folder / "state" / "dbt" / WAREHOUSE_DATABASE)
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(project_root() / "dagster.yaml", home)
    module = {
        "module_name": quick_definitions.__name__,
        "working_directory": str(project_root()),
    }
    workspace = folder / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"python_module": module}]}))
    environment = {
        **sparse_environment(folder),
        "DAGSTER_HOME": str(home),
        "MELTANO_ENVIRONMENT": "test",
    }
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
    with (
        running(command, environment, folder, directory=folder) as process,
        embedded.attach(folder / "state") as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MELTANO_DAGSTER_URL", server.ensure_database("dagster"))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield Daemon(process, instance, Warehouse(server.ensure_database(WAREHOUSE_DATABASE)))


SYNC = dg.AssetSelection.groups("salesforce_sync")
HOSTS = dg.AssetSelection.groups("hosts")
ACCOUNTS = dg.AssetKey(["salesforce", "accounts"])
SYNC_MODELS = [
    dg.AssetKey(["sync", name])
    for name in ("sync_salesforce_new_accounts", "sync_salesforce_hosts")
]


class History:
    """What happened to the graph, told to an instance without running anything."""

    def __init__(self, instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
        self.definitions = definitions
        self.graph = definitions.resolve_asset_graph()
        self._instance = instance
        self._cursor: Any = None

    def updated(self, key: dg.AssetKey, *, failed: str = "") -> None:
        """The asset was materialized and its checks ran."""
        self._instance.report_runless_asset_event(dg.AssetMaterialization(key))
        for check in self.graph.get(key).check_keys:
            result = dg.AssetCheckEvaluation(
                asset_key=key, check_name=check.name, passed=check.name != failed, metadata={}
            )
            self._instance.report_runless_asset_event(result)

    def requested(self, selection: dg.AssetSelection = SYNC) -> set[str]:
        """What the sensor of these assets would launch now."""
        result = dg.evaluate_automation_conditions(
            self.definitions, self._instance, asset_selection=selection, cursor=self._cursor
        )
        self._cursor = result.cursor
        keys = selection.resolve(self.graph)
        return {key.path[-1] for key in keys if result.get_num_requested(key)}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


@pytest.fixture(scope="module")
def instance(definitions: dg.Definitions) -> Iterator[dg.DagsterInstance]:
    """Everything was materialized once, with every check passed."""
    with dg.DagsterInstance.ephemeral() as instance:
        told = History(instance, definitions)
        for key in told.graph.materializable_asset_keys:
            told.updated(key)
        yield instance


@pytest.fixture
def history(instance: dg.DagsterInstance, definitions: dg.Definitions) -> History:
    """Everything is as new as what it is made of."""
    told = History(instance, definitions)
    for downstream in (HOSTS, SYNC):
        for key in downstream.resolve(told.graph):
            told.updated(key)
    return told


def test_news_of_the_marts_is_synced(history: History) -> None:
    assert not history.requested()
    for model in SYNC_MODELS:
        history.updated(model)
    assert history.requested() == {"new_accounts", "hosts"}
    assert not history.requested()


@pytest.mark.parametrize("failing", ["sync_salesforce_new_accounts", "accounts"])
def test_a_failed_blocking_check_anywhere_upstream_stops_the_sync(
    history: History, failing: str
) -> None:
    """Directly upstream, or in a raw table while news of another source comes along."""
    bad = ACCOUNTS if failing == "accounts" else SYNC_MODELS[0]
    blocking = [key for key in history.graph.get(bad).check_keys if history.graph.get(key).blocking]
    assert not history.requested()
    for model in SYNC_MODELS:
        history.updated(model)
    history.updated(bad, failed=blocking[0].name)
    assert "new_accounts" not in history.requested()
    assert "new_accounts" not in history.requested()
    history.updated(bad)
    assert "new_accounts" in history.requested()


def test_bad_rows_do_not_travel_to_the_hosts(history: History) -> None:
    pings = dg.AssetKey(["version", "usage_data"])
    assert not history.requested(HOSTS)
    history.updated(pings, failed="records_accounted_for")
    assert not history.requested(HOSTS)
    history.updated(pings)
    assert history.requested(HOSTS) == {"cleaned_hosts"}


def test_a_tick_of_a_schedule_launches_a_run_that_succeeds(daemon: Daemon) -> None:
    run = daemon.first_finished("dagster/schedule_name", quick_definitions.SCHEDULE, TICK_SECONDS)
    assert run.is_success, daemon.errors_of(run)
    assert run.job_name == "version_job"
    assert daemon.count("version.usage_data") > 1000
    assert daemon.count("version.version_checks") > 1000


def test_news_upstream_launches_the_family_downstream(daemon: Daemon) -> None:
    run = daemon.first_finished("automation", quick_definitions.SENSOR, NEWS_SECONDS)
    assert run.is_success, daemon.errors_of(run)
    families = {key.path[0] for key in run.asset_selection or ()}
    assert families == {"hosts", "enrichment"}
    assert daemon.count("hosts.cleaned_hosts") > 100
    assert daemon.count("enrichment.clearbit_cache") > 10
