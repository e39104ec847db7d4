"""The graph as Dagster sees it: loads from nothing, wired whole, quiet outside production."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import dagster as dg
import pytest

from meltano_assets import automation
from meltano_assets.definitions import defs
from meltano_assets.environment import project_root
from meltano_assets.sources import SOURCES


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


def graph_of(definitions: dg.Definitions) -> dg.AssetGraph:
    return definitions.resolve_asset_graph()


def keys_of(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in graph_of(definitions).materializable_asset_keys}


def test_definitions_load_with_an_empty_environment_and_no_warning() -> None:
    code = (
        "import dagster as dg, warnings\n"
        "from meltano_assets.definitions import defs\n"
        "dg.Definitions.validate_loadable(defs())\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    ours = "meltano_assets"
    result = subprocess.run(
        [
            sys.executable,
            *("-W", "error::dagster.SupersessionWarning"),
            *("-W", "error::dagster.BetaWarning"),
            *("-W", "error::dagster.PreviewWarning"),
            *("-W", f"error::DeprecationWarning:{ours}"),
            *("-c", code),
        ],
        env=environment,
        cwd=project_root(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "deprecat" not in result.stderr.lower()


def test_importing_the_definitions_is_quick() -> None:
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import meltano_assets.definitions"],
        cwd=project_root(),
        check=True,
        timeout=60,
    )
    assert time.monotonic() - began < 15


def test_every_stream_is_an_asset(definitions: dg.Definitions) -> None:
    streams = {f"{source.name}/{stream.name}" for source in SOURCES for stream in source.streams}
    assert streams <= keys_of(definitions)


def test_every_dbt_source_is_materialized_by_an_asset(definitions: dg.Definitions) -> None:
    graph = graph_of(definitions)
    unmade = set(graph.get_all_asset_keys()) - set(graph.materializable_asset_keys)
    assert not unmade


def test_the_sync_comes_after_everything_else(definitions: dg.Definitions) -> None:
    graph = graph_of(definitions)
    upstream: set[dg.AssetKey] = set()
    queue = [dg.AssetKey(["salesforce_sync", "hosts"])]
    while queue:
        for key in graph.get(queue.pop()).parent_keys - upstream:
            upstream.add(key)
            queue.append(key)
    names = {key.to_user_string() for key in upstream}
    assert {
        "salesforce/accounts",
        "version/usage_data",
        "hosts/cleaned_hosts",
        "enrichment/clearbit_cache",
        "sync/sync_salesforce_hosts",
        "salesforce_sync/new_accounts",
    } <= names


def test_every_asset_says_what_it_is(definitions: dg.Definitions) -> None:
    graph = graph_of(definitions)
    silent = [
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if not graph.get(key).description or not graph.get(key).group_name
    ]
    assert not silent
    unowned = [
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if not graph.get(key).owners and key.path[0] != "seeds"
    ]
    assert not unowned


def test_every_hop_has_checks(definitions: dg.Definitions) -> None:
    graph = graph_of(definitions)
    checked = {key.asset_key.path[0] for key in graph.asset_check_keys}
    hops = {"salesforce", "version", "zendesk", "hosts", "enrichment", "analytics", "sync"}
    assert hops | {"salesforce_sync"} <= checked


@pytest.mark.parametrize("environment", ["local", "test", "review"])
def test_nothing_runs_by_itself_outside_production(environment: automation.EnvironmentName) -> None:
    schedules = automation.build_schedules(SOURCES, environment)
    sensors = automation.build_sensors(environment)
    assert all(s.default_status is dg.DefaultScheduleStatus.STOPPED for s in schedules)
    assert all(s.default_status is dg.DefaultSensorStatus.STOPPED for s in sensors)


def test_everything_runs_by_itself_in_production() -> None:
    schedules = automation.build_schedules(SOURCES, "production")
    sensors = automation.build_sensors("production")
    assert {s.name for s in schedules} >= {f"{source.name}_schedule" for source in SOURCES}
    assert all(s.default_status is dg.DefaultScheduleStatus.RUNNING for s in schedules)
    assert all(s.default_status is dg.DefaultSensorStatus.RUNNING for s in sensors)


def test_a_family_that_the_table_does_not_name_fails() -> None:
    with pytest.raises(KeyError, match="table of environments"):
        automation.is_automatic("forgotten_sensor", "local")
