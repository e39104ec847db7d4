"""Metrics of the semantic layer as plain SQL, worked out by their declarations alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AGGREGATIONS = {"sum": "sum({})", "average": "avg({})", "count_distinct": "count(distinct {})"}


def metric_query(
    manifest: Mapping[str, Any], name: str, grain: str = "month", entity: str | None = None
) -> str:
    """A query of (period, member, value) for one metric of the manifest.

    ``member`` is the entity's key, or ``all``. Simple, ratio and derived metrics without filters.
    """
    metric = manifest["metrics"][f"metric.meltano_assets.{name}"]
    assert not metric.get("filter"), name
    params = metric["type_params"]
    if metric["type"] == "simple":
        return _measured(manifest, params["measure"]["name"], grain, entity)
    if metric["type"] == "ratio":
        parts = [params["numerator"]["name"], params["denominator"]["name"]]
        expression = f"{parts[0]}::numeric / nullif({parts[1]}, 0)"
    else:
        parts = [part["name"] for part in params["metrics"]]
        expression = params["expr"]
    joined = " full join ".join(
        f"(select period, member, value::numeric as {part} from"
        f" ({metric_query(manifest, part, grain, entity)}) as {part}_found) as {part}_named"
        + (" using (period, member)" if place else "")
        for place, part in enumerate(parts)
    )
    return f"select period, member, {expression} as value from {joined}"


def _measured(manifest: Mapping[str, Any], name: str, grain: str, entity: str | None) -> str:
    for semantic in manifest["semantic_models"].values():
        for measure in semantic["measures"]:
            if measure["name"] != name:
                continue
            time = measure["agg_time_dimension"] or semantic["defaults"]["agg_time_dimension"]
            day = _expression(semantic["dimensions"], time)
            member = "'all'"
            if entity:
                member = f"coalesce({_expression(semantic['entities'], entity)}, 'none')"
            value = AGGREGATIONS[measure["agg"]].format(measure["expr"] or name)
            return (
                f"select date_trunc('{grain}', {day})::date as period, {member} as member,"
                f" {value} as value from {semantic['node_relation']['relation_name']}"
                f" where {day} is not null group by 1, 2"
            )
    raise LookupError(name)


def _expression(parts: list[Mapping[str, Any]], name: str) -> str:
    [found] = [part["expr"] or part["name"] for part in parts if part["name"] == name]
    return str(found)
