"""Salesforce sync: what the marts decided, written back, planned first.

Writes only where the environment says so or where the Salesforce is the sandbox's; elsewhere the
assets plan and tell what they would have sent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster_dbt import get_asset_key_for_model

from meltano_assets import automation, environment
from meltano_assets.assets.raw import OWNERS, RETRY
from meltano_assets.resources import Vendors, WarehouseResource, dagster_edge
from meltano_assets.salesforce_sync.render import render_plan
from meltano_assets.salesforce_sync.spec import SyncSpec, load_spec
from meltano_assets.salesforce_sync.sync import SyncOutcome, run_sync
from meltano_assets.sources.salesforce import SALESFORCE

GROUP = "salesforce_sync"
#: Changes shown with a run in the UI; all of them are in the tables of schema salesforce_sync.
SHOWN_CHANGES = 20


class SyncConfig(dg.Config):
    """``force`` sends a plan that the breaker would stop; ``plan_only`` sends nothing.

    ``retry`` sends also what Salesforce refused or a revert undid, though its row has not changed.
    """

    force: bool = False
    retry: bool = False
    plan_only: bool = False


def build_sync_assets(
    dbt_models: dg.AssetsDefinition, sources: Sequence[dg.AssetsDefinition]
) -> list[dg.AssetsDefinition]:
    """One asset for each entry of ``salesforce_sync.yml``, gated on everything upstream of it."""
    parents = {
        key: dependencies
        for definition in (dbt_models, *sources)
        for key, dependencies in definition.asset_deps.items()
    }
    return [_sync_asset(spec, dbt_models, parents) for spec in load_spec().values()]


def sync_key(spec: SyncSpec) -> dg.AssetKey:
    """The asset of a sync."""
    return dg.AssetKey([GROUP, spec.name])


def _upstream(
    key: dg.AssetKey, parents: Mapping[dg.AssetKey, AbstractSet[dg.AssetKey]]
) -> set[dg.AssetKey]:
    """The asset and all that it is made from."""
    found: set[dg.AssetKey] = set()
    queue = [key]
    while queue:
        found.add(next_key := queue.pop())
        queue.extend(parents.get(next_key, set()) - found)
    return found


def _sync_asset(
    spec: SyncSpec,
    dbt_models: dg.AssetsDefinition,
    parents: Mapping[dg.AssetKey, AbstractSet[dg.AssetKey]],
) -> dg.AssetsDefinition:
    key = sync_key(spec)
    model = get_asset_key_for_model([dbt_models], spec.model)

    @dg.asset(
        key=key,
        deps=[model, *(sync_key(needed) for needed in spec.depends_on)],
        group_name=GROUP,
        kinds={"salesforce"},
        owners=OWNERS,
        description=_description(spec),
        metadata={"object": spec.object, "operation": spec.operation, "key": spec.key_field},
        tags={"layer": "sync"},
        pool=GROUP,
        retry_policy=RETRY,
        automation_condition=automation.on_checked_news(_upstream(model, parents)),
        check_specs=[
            dg.AssetCheckSpec(
                "every_row_accounted_for",
                asset=key,
                description="Rows of the model = sent + unchanged + parked + failed.",
            ),
            dg.AssetCheckSpec(
                "nothing_refused",
                asset=key,
                description="No row was parked or failed; the reasons are in the metadata.",
            ),
        ],
    )
    def sync(
        context: dg.AssetExecutionContext,
        config: SyncConfig,
        vendors: Vendors,
        database: WarehouseResource,
    ) -> Iterator[Any]:
        from meltano_assets.clients.salesforce import SalesforceClient
        from meltano_assets.warehouse import claims

        push = not config.plan_only and may_push(vendors)
        with dagster_edge():
            settings = vendors.settings_of(SALESFORCE.name, SALESFORCE.variables)
            warehouse = database.open()
            with SalesforceClient(settings) as client:
                outcome = run_sync(
                    warehouse,
                    client,
                    spec,
                    push=push,
                    now=datetime.now(UTC),
                    run_id=context.run.run_id,
                    force=config.force,
                    retry=config.retry,
                )
            claims.record_reconciliation(
                warehouse,
                GROUP,
                spec.name,
                run_id=context.run.run_id,
                hops={
                    f"{spec.model} to {'sent' if outcome.is_pushed else 'planned'}": (
                        outcome.rows,
                        _accounted(outcome),
                    )
                },
            )
        context.log.info(_summary(spec, outcome))
        yield dg.MaterializeResult(metadata=_metadata(outcome))
        yield from _checks(outcome)

    return sync


def may_push(vendors: Vendors) -> bool:
    """True where the environment writes to vendors, and always for the sandbox's Salesforce."""
    if vendors.is_sandbox(SALESFORCE.name, SALESFORCE.variables):
        return True
    return automation.PUSHES_TO_VENDORS[environment.current_environment()]


def _description(spec: SyncSpec) -> str:
    policies = ", ".join(f"`{rule.field}` {rule.policy}" for rule in spec.fields)
    return (
        f"Sends `{spec.relation}` to Salesforce's `{spec.object}`: {spec.operation} by "
        f"`{spec.key_field}`.\n\nPlanned first, field by field; unchanged records are not sent. "
        f"Policies: {policies}."
    )


def _summary(spec: SyncSpec, outcome: SyncOutcome) -> str:
    verb = "sent" if outcome.is_pushed else "planned only"
    return (
        f"{spec.name} ({verb}): {outcome.rows} rows, {outcome.created} created, "
        f"{outcome.updated} updated, {outcome.unchanged} unchanged, {outcome.parked} parked, "
        f"{outcome.failed} failed, {outcome.requests} requests"
    )


def _metadata(outcome: SyncOutcome) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "planned": outcome.to_create + outcome.to_update,
        "sent": outcome.sent,
        "created": outcome.created,
        "updated": outcome.updated,
        "unchanged": outcome.unchanged,
        "parked": outcome.parked,
        "failed": outcome.failed,
        "requests": outcome.requests,
        "seconds": round(outcome.seconds, 3),
        "pushed": outcome.is_pushed,
        "dagster/row_count": outcome.rows,
    }
    if outcome.reasons:
        metadata["reasons"] = dict(outcome.reasons)
    if (plan := outcome.plan) is not None:
        text = render_plan(plan, SHOWN_CHANGES, is_private=True)
        metadata["plan"] = dg.MetadataValue.md(f"```\n{text}\n```")
        if plan.changes:
            metadata["changes"] = _table(
                {
                    "record": change.key,
                    "id": change.record_id or "new",
                    "action": change.action,
                    "fields": ", ".join(change.after),
                }
                for change in plan.changes[:SHOWN_CHANGES]
            )
        if plan.parked:
            metadata["parked by the plan"] = _table(
                {
                    "record": each.key or "(no key)",
                    "reason": each.reject.reason,
                    "detail": each.reject.detail,
                    "waits for its row": "yes" if each.is_held else "no",
                }
                for each in plan.parked[:SHOWN_CHANGES]
            )
    if outcome.refused:
        metadata["refused by Salesforce"] = _table(
            {
                "record": each.change.key,
                "state": each.state,
                "reason": each.reason,
                "detail": each.detail,
            }
            for each in outcome.refused[:SHOWN_CHANGES]
        )
    counts = {
        "created": outcome.created,
        "updated": outcome.updated,
        "unchanged": outcome.unchanged,
        **{f"not sent: {reason}": count for reason, count in outcome.reasons.items()},
    }
    metadata["outcome"] = _table(
        {"result": result, "records": count} for result, count in counts.items() if count
    )
    return metadata


def _table(rows: Iterable[Mapping[str, str | int]]) -> dg.TableMetadataValue:
    """Rows as a table in the UI; a table without rows needs its columns told."""
    records = [dg.TableRecord(dict(row)) for row in rows]
    if records:
        return dg.MetadataValue.table(records)
    schema = dg.TableSchema([dg.TableColumn("result"), dg.TableColumn("records", "int")])
    return dg.MetadataValue.table([], schema=schema)


def _accounted(outcome: SyncOutcome) -> int:
    """Rows of the model whose fate is known."""
    done = outcome.created + outcome.updated + outcome.failed
    if not outcome.is_pushed:
        done = outcome.to_create + outcome.to_update
    return done + outcome.unchanged + outcome.parked


def _checks(outcome: SyncOutcome) -> Iterator[dg.AssetCheckResult]:
    counted = _accounted(outcome)
    yield dg.AssetCheckResult(
        check_name="every_row_accounted_for",
        passed=counted == outcome.rows,
        metadata={"rows": outcome.rows, "counted": counted},
    )
    yield dg.AssetCheckResult(
        check_name="nothing_refused",
        passed=outcome.parked + outcome.failed == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"reasons": dict(outcome.reasons)},
    )
