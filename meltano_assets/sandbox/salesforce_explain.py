"""``/query?explain=…``: how a query would be carried out.

The plans follow the vendor's published rules of selectivity: which fields have an index, and from
how many records on an index is not worth its while.
"""

from __future__ import annotations

from collections.abc import Sequence

from meltano_assets.sandbox import soql
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_schema import Field, SObject
from meltano_assets.sandbox.soql_sqlite import compile_query

_INDEXED = frozenset({"Name", "CreatedDate", "SystemModstamp", "RecordTypeId", "Email"})
_FIRST = 1_000_000
#: The share of the first million records, and that of the others, up to which an index is used.
_STANDARD_SHARES = (0.3, 0.15)
_CUSTOM_SHARES = (0.1, 0.05)
_SCAN_COST = 0.65


def explain(org: SalesforceOrg, query: soql.Query, sobject: SObject) -> dict[str, object]:
    """The plans for a query that was checked, the one that would be used first."""
    conditions = _all_of(query.where)
    total = _count(org, query, None)
    matching = _count(org, query, query.where)
    plans: list[dict[str, object]] = []
    unindexed: list[str] = []
    for condition in conditions:
        field = _field_of(sobject, condition)
        if field is None:
            continue
        if not _is_indexed(field) or _is_unselective(condition):
            unindexed.append(field.name)
            continue
        found = _count(org, query, condition)
        cost = found / _worthwhile(field, total) if total else 0.0
        if cost <= 1:
            plans.append(_plan(sobject, "Index", [field.name], (found, total), cost, unindexed))
    scan_cost = _SCAN_COST if matching < total else 2 * _SCAN_COST
    plans.append(_plan(sobject, "TableScan", [], (matching, total), scan_cost, unindexed))
    plans.sort(key=lambda plan: float(str(plan["relativeCost"])))
    return {"plans": plans, "sourceQuery": query.text}


def _plan(
    sobject: SObject,
    operation: str,
    fields: list[str],
    records: tuple[int, int],
    cost: float,
    unindexed: Sequence[str],
) -> dict[str, object]:
    """One plan; ``records`` are those it finds and all there are."""
    why = "Not considering filter for optimization because unindexed"
    notes = [{"description": why, "fields": [f], "tableEnumOrId": sobject.name} for f in unindexed]
    return {
        "cardinality": records[0],
        "fields": fields,
        "leadingOperationType": operation,
        "notes": notes,
        "relativeCost": round(cost, 3),
        "sobjectCardinality": records[1],
        "sobjectType": sobject.name,
    }


def _all_of(condition: soql.Condition | None) -> tuple[soql.Condition, ...]:
    """The conditions that must all hold."""
    if condition is None:
        return ()
    if isinstance(condition, soql.Junction) and condition.operator == "AND":
        return condition.conditions
    return (condition,)


def _field_of(sobject: SObject, condition: soql.Condition) -> Field | None:
    """The object's own field that a simple condition is about."""
    if not isinstance(condition, soql.Comparison | soql.Membership):
        return None
    path = condition.subject
    if not isinstance(path, soql.Path) or path.function or len(path.names) != 1:
        return None
    return sobject.find(path.names[0])


def _is_indexed(field: Field) -> bool:
    return (
        field.kind in ("id", "reference")
        or field.external_id
        or field.unique
        or field.name in _INDEXED
    )


def _is_unselective(condition: soql.Condition) -> bool:
    """Does no index help: a negation, or a pattern that begins with anything?"""
    if isinstance(condition, soql.Membership):
        return condition.is_negated
    if not isinstance(condition, soql.Comparison):
        return True
    is_open = condition.operator.upper() == "LIKE" and condition.value.text[:1] in "%_"
    return condition.operator == "!=" or is_open


def _worthwhile(field: Field, total: int) -> float:
    """How many records an index may find."""
    is_own = field.external_id or field.unique or field.custom
    first, others = _CUSTOM_SHARES if is_own else _STANDARD_SHARES
    return max(1.0, min(total, _FIRST) * first + max(0, total - _FIRST) * others)


def _count(org: SalesforceOrg, query: soql.Query, condition: soql.Condition | None) -> int:
    ids = [soql.Selected(soql.Path(("Id",), 0))]
    counted = soql.Query(
        query.object_name, query.object_position, ids, query.alias, condition, text=query.text
    )
    now = org.clock.now()
    compiled = compile_query(counted, org.user_schema, now, include_deleted=True)
    return compiled.count(org.reader())
