"""The whole graph on one page. The only assembler; ``workspace.yaml`` loads it."""

from __future__ import annotations

import json

import dagster as dg

from meltano_assets import automation, environment
from meltano_assets.assets.dbt import build_dbt_assets, dbt_project, dbt_resource
from meltano_assets.assets.hosts import build_hosts_assets
from meltano_assets.assets.raw import build_raw_assets
from meltano_assets.assets.reconciliation import build_reconciliation_checks
from meltano_assets.assets.roles import build_roles
from meltano_assets.assets.salesforce import build_sync_assets
from meltano_assets.resources import CopyIOManager, Vendors, WarehouseResource
from meltano_assets.sources.registry import registered


@dg.definitions
def defs() -> dg.Definitions:
    """The graph on the systems of this environment."""
    return build_definitions(WarehouseResource(), Vendors())


def build_definitions(database: WarehouseResource, vendors: Vendors) -> dg.Definitions:
    """Sources → raw tables → hosts → dbt → Salesforce, with what runs it."""
    here = environment.current_environment()
    project = dbt_project()
    sources = registered()
    tables = [*build_raw_assets(sources), *build_hosts_assets()]
    dbt_models = build_dbt_assets(project)
    roles, role_checks = build_roles()
    return dg.Definitions(
        assets=[
            *tables,
            dbt_models,
            *build_sync_assets(dbt_models, tables),
            *roles,
        ],
        asset_checks=[
            build_reconciliation_checks(json.loads(project.manifest_path.read_text())),
            *role_checks,
        ],
        jobs=automation.build_jobs(sources, has_roles=bool(roles)),
        schedules=automation.build_schedules(sources, here, has_roles=bool(roles)),
        sensors=automation.build_sensors(here),
        resources={
            "database": database,
            "vendors": vendors,
            "io_manager": CopyIOManager(database=database),
            "dbt": dbt_resource(project),
        },
        executor=dg.in_process_executor,
    )
