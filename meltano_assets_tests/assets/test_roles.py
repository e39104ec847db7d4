"""R1: drift of roles is a daily check of the graph, where there is a roles.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from meltano_assets import automation, connections
from meltano_assets.assets.roles import CHECK, build_roles
from meltano_assets.automation import ROLES
from meltano_assets.connections import WAREHOUSE_DATABASE
from meltano_assets.resources import WarehouseResource
from meltano_assets.sources import SOURCES
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.warehouse.role_server import RoleServer

FILE = """
~team: {privileges: {schemas: {read: [crm]}, tables: {read: [crm.*]}}}
~ann: {can_login: yes, attributes: ["PASSWORD \\"{{ env['ANNS_PASSWORD'] }}\\""], member_of: [~team]}
"""


@pytest.fixture
def house(
    dbt_warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parsed_by_dbt: Callable[[Path], None],
) -> Iterator[RoleServer]:
    """A warehouse with a schema, and a folder for users' files."""
    parsed_by_dbt(tmp_path / "state" / "dbt" / WAREHOUSE_DATABASE)
    monkeypatch.setenv("MELTANO_CONFIG_DIR", str(tmp_path))
    house = RoleServer(dbt_warehouse, tmp_path)
    house.execute("create schema crm", "create table crm.accounts (id int)")
    yield house
    house.execute("drop schema crm cascade")
    house.clean()
    connections.warehouse.cache_clear()


def graph(database: Warehouse) -> dg.Definitions:
    """What a roles.yaml adds to the graph."""
    assets, checks = build_roles()
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=[j for j in automation.build_jobs((), has_roles=bool(assets)) if "roles" in j.name],
        schedules=[
            schedule
            for schedule in automation.build_schedules((), "production", has_roles=bool(assets))
            if "roles" in schedule.name
        ],
        resources={"database": WarehouseResource(url=database.url)},
    )


def checked(house: RoleServer) -> dg.AssetCheckEvaluation:
    """What the daily job finds."""
    job = graph(house.administration).resolve_job_def("roles_check")
    result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral())
    assert result.success
    [evaluation] = result.get_asset_check_evaluations()
    assert (evaluation.asset_key, evaluation.check_name) == (ROLES, CHECK)
    return evaluation


def test_without_a_file_there_is_no_asset_no_check_and_no_schedule(tmp_path: Path) -> None:
    assert build_roles() == ([], [])
    assert not [s for s in automation.build_schedules(SOURCES, "local") if "roles" in s.name]


def test_drift_is_found_by_a_job_of_every_day(house: RoleServer) -> None:
    """Without the passwords of anybody."""
    house.file(FILE)
    [schedule] = graph(house.administration).schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.cron_schedule == "30 6 * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert not checked(house).passed
    house.apply(FILE)
    found = checked(house)
    assert found.passed, found.metadata

    house.execute("grant insert on crm.accounts to ~ann", "grant select on crm.accounts to public")
    found = checked(house)
    assert not found.passed
    told = {name: str(value.value) for name, value in found.metadata.items()}
    assert house.name('revoke insert on "crm"."accounts" from "~ann";') in told["plan"]
    assert 'everybody may select "crm"."accounts"' in told["open to everybody"]
    assert told["next step"] == "meltano-assets roles plan, then roles apply"


def test_the_whole_graph_loads_with_a_file(
    house: RoleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meltano_assets.definitions import defs

    house.file(FILE)
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", house.administration.url)
    whole = defs()
    dg.Definitions.validate_loadable(whole)
    assert any(key.asset_key == ROLES for key in whole.resolve_asset_graph().asset_check_keys)
    everything = whole.resolve_job_def("everything")
    assert ROLES not in everything.asset_layer.executable_asset_keys
