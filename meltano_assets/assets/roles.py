"""Roles of the warehouse as an asset of the graph: a check says every day whether they are as declared.

Nothing is applied here: who may read what is changed by a person, with ``meltano-assets roles apply``.
"""

from typing import Any

import dagster as dg

from meltano_assets import modelling, roles
from meltano_assets.assets.raw import OWNERS
from meltano_assets.automation import ROLES
from meltano_assets.resources import WarehouseResource, dagster_edge

CHECK = "roles_as_declared"
#: So much of the statements is kept with a run.
_SHOWN = 20_000


def build_roles() -> tuple[list[dg.AssetSpec], list[dg.AssetChecksDefinition]]:
    """The asset and its check; neither without a ``roles.yaml``."""
    if not roles.file().is_file():
        return [], []
    return [_roles()], [_check()]


def _roles() -> dg.AssetSpec:
    return dg.AssetSpec(
        ROLES,
        group_name="roles",
        kinds={"postgres"},
        owners=OWNERS,
        description=(
            "Who may log into the warehouse, and read and write what, as roles.yaml says.\n\n"
            "`meltano-assets roles plan` shows what `roles apply` would change. What dbt builds gets its"
            " grants with it, a new raw table behind the next build."
        ),
    )


def _check() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=CHECK,
        asset=ROLES,
        description=(
            "Roles, memberships, owners, grants by table and column and default privileges are exactly"
            " those of roles.yaml, and nothing is open to everybody."
        ),
    )
    def roles_as_declared(
        context: dg.AssetCheckExecutionContext, database: WarehouseResource
    ) -> dg.AssetCheckResult:
        from meltano_assets.warehouse.roles import apply

        with dagster_edge():
            warehouse = database.open()
            wanted = roles.read_roles()
            planned = apply.plan(
                warehouse,
                wanted,
                modelling.impersonal_columns(warehouse.url),
                roles.passwords(wanted, is_needed=False),
            )
        metadata: dict[str, Any] = {
            "roles": len(wanted),
            "statements": len(planned.statements),
        }
        if planned.statements:
            metadata["plan"] = dg.MetadataValue.md(f"```sql\n{str(planned)[:_SHOWN]}\n```")
            metadata["next step"] = "meltano-assets roles plan, then roles apply"
        for name, lines in (
            ("problems", planned.problems),
            ("open to everybody", planned.open_doors),
            ("notes", planned.notes),
        ):
            if lines:
                metadata[name] = dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))
        return dg.AssetCheckResult(passed=planned.is_settled, metadata=metadata)

    return roles_as_declared
