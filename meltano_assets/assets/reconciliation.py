"""Counts between the hops of dbt: raw table → staging model → mart, each a check and a kept row.

A staging model must have a row for each row of its raw table. A mart that has one row for each
record of a staging model says so in its properties: ``meta: {rows_of: {model: stg_…, where: …}}``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from meltano_assets.assets.dbt import Translator
from meltano_assets.errors import FatalError
from meltano_assets.resources import WarehouseResource, dagster_edge

if TYPE_CHECKING:
    import psycopg

CHECK = "no_row_lost_on_the_way"
_APPLICATION = "meltano-assets reconciliation"


@dataclass(frozen=True, slots=True)
class Hop:
    """From one relation to the next: their schemas and names, and which rows of the first count."""

    key: dg.AssetKey
    source: str
    stream: str
    name: str
    before: tuple[str, str]
    after: tuple[str, str]
    where: str = "true"


def hops(manifest: Mapping[str, Any]) -> list[Hop]:
    """Every staging model's hop from its raw table, and each declared one from there to a mart."""
    translator = Translator()
    models = {n["name"]: n for n in manifest["nodes"].values() if n["resource_type"] == "model"}
    found = []
    for model in models.values():
        key = translator.get_asset_spec(manifest, model["unique_id"], None).key
        after = (model["schema"], model["alias"])
        if table := _raw_table(manifest, model):
            before = (table["schema"], table["identifier"])
            source, stream = table["source_name"], table["name"]
            found.append(Hop(key, source, stream, "table to staging", before, after))
        declared = model["config"].get("meta", {}).get("rows_of")
        if declared is None:
            continue
        staging = models.get(declared["model"])
        table = staging and _raw_table(manifest, staging)
        if not staging or not table:
            raise FatalError(
                f"{model['name']} says rows_of {declared['model']}, which is no staging model"
            )
        before = (staging["schema"], staging["alias"])
        source, stream, where = table["source_name"], table["name"], declared.get("where", "true")
        name = f"staging to {model['name']}"
        found.append(Hop(key, source, stream, name, before, after, where))
    return found


def _raw_table(manifest: Mapping[str, Any], model: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The table that a staging model stands for."""
    if "staging" not in model["fqn"]:
        return None
    above = [manifest["sources"].get(key) for key in model["depends_on"]["nodes"]]
    return above[0] if len(above) == 1 else None


def build_reconciliation_checks(manifest: Mapping[str, Any]) -> dg.AssetChecksDefinition:
    """One check for each hop's end, all answered by one step."""
    by_key = {hop.key: hop for hop in hops(manifest)}

    @dg.multi_asset_check(
        name="reconciliation",
        specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=hop.key,
                description=f"As many rows as {hop.before[0]}.{hop.before[1]} has"
                + (f" where {hop.where}." if hop.where != "true" else "."),
            )
            for hop in by_key.values()
        ],
        can_subset=True,
    )
    def reconciliation(
        context: dg.AssetCheckExecutionContext, database: WarehouseResource
    ) -> Iterator[Any]:
        from meltano_assets.warehouse import claims

        with dagster_edge():
            warehouse = database.open()
            with warehouse.held(application_name=_APPLICATION) as held:
                for check in sorted(context.selected_asset_check_keys):
                    hop = by_key[check.asset_key]
                    with held.connect() as connection:
                        expected, actual = _counts(connection, hop)
                    claims.record_reconciliation(
                        held,
                        hop.source,
                        hop.stream,
                        run_id=context.run.run_id,
                        hops={hop.name: (expected, actual)},
                    )
                    yield dg.AssetCheckResult(
                        asset_key=hop.key,
                        check_name=CHECK,
                        passed=expected is None or expected == actual,
                        # A load that ends between the two makes them differ for a while.
                        severity=dg.AssetCheckSeverity.WARN,
                        metadata={"expected": str(expected), "actual": actual},
                    )

    return reconciliation


def _counts(connection: "psycopg.Connection", hop: Hop) -> tuple[int | None, int]:
    """Rows before and behind the hop at one moment; nothing is expected of what is not there."""
    from psycopg import sql

    before, after = sql.Identifier(*hop.before), sql.Identifier(*hop.after)
    names = [each.as_string(connection) for each in (before, after)]
    there = connection.execute("select to_regclass(%s), to_regclass(%s)", names).fetchone()
    if there is None or there[1] is None:
        return None, 0
    query = sql.SQL("select {before}, (select count(*) from {after})").format(
        before=sql.SQL("(select count(*) from {} where {})").format(
            # The condition is code of the dbt project, as its models are.
            before,
            sql.SQL(hop.where),  # type: ignore[arg-type] # not a literal
        )
        if there[0] is not None
        else sql.SQL("0::bigint"),
        after=after,
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    return row
