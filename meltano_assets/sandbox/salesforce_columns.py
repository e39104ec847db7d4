"""``/query?q=…&columns=true``: the columns of a query's answer instead of its records."""

from __future__ import annotations

from meltano_assets.sandbox import soql
from meltano_assets.sandbox.salesforce_schema import ID_KINDS, NUMBER_KINDS, TEXT_KINDS, Field
from meltano_assets.sandbox.soql_records import ChildList, Compiled, Node

_APEX_TYPES = {
    **dict.fromkeys(ID_KINDS, "Id"),
    **dict.fromkeys(TEXT_KINDS, "String"),
    **dict.fromkeys(NUMBER_KINDS, "Double"),
    "boolean": "Boolean",
    "int": "Integer",
    "date": "Date",
    "datetime": "Datetime",
    "base64": "Blob",
}


def columns_of(compiled: Compiled, query: soql.Query) -> dict[str, object]:
    """What the columns are called and hold; relationships and subqueries have columns of their own."""
    columns = _aggregates(compiled, query) if query.is_aggregate else _columns(compiled.root)
    return {
        "columnMetadata": columns,
        "entityName": compiled.sobject.name,
        "groupBy": bool(query.group_by),
        "idSelected": any(column["columnName"] == "Id" for column in columns),
        "keyPrefix": compiled.sobject.key_prefix,
    }


def _columns(node: Node) -> list[dict[str, object]]:
    columns = []
    for name, _kind, payload in node.items:
        if isinstance(payload, Node):
            link = node.sobject.by_relationship(name)
            key = link.name if link else None
            columns.append(_column(name, joined=_columns(payload), foreign_key=key))
        elif isinstance(payload, ChildList):
            inside = _columns(payload.compiled.root)
            columns.append(_column(name, joined=inside, is_aggregate=True))
        else:
            columns.append(_column(name, node.sobject.find(name)))
    return columns


def _aggregates(compiled: Compiled, query: soql.Query) -> list[dict[str, object]]:
    columns = []
    keys = compiled.aggregates or []
    for (name, kind), selected in zip(keys, query.selected, strict=False):
        item = selected.item
        if isinstance(item, soql.Path) and not item.function and not selected.alias:
            columns.append(_column(name, compiled.sobject.find(item.names[-1])))
            continue
        path = item.path if isinstance(item, soql.Aggregate) else item
        function = getattr(item, "function", "")
        inside = ".".join(path.names) if isinstance(path, soql.Path) else ""
        told = _column(name, is_aggregate=True)
        told["displayName"] = f"{function}({inside})" if function else inside
        told["numberType"] = kind == "int" or kind in NUMBER_KINDS
        columns.append(told)
    return columns


def _column(
    name: str,
    field: Field | None = None,
    *,
    joined: list[dict[str, object]] | None = None,
    foreign_key: str | None = None,
    is_aggregate: bool = False,
) -> dict[str, object]:
    kind = field.kind if field else ""
    return {
        "aggregate": is_aggregate,
        "apexType": _APEX_TYPES.get(kind),
        "booleanType": kind == "boolean",
        "columnName": name,
        "custom": field is not None and field.custom,
        "displayName": name,
        "foreignKeyName": foreign_key,
        "insertable": field is not None and field.createable,
        "joinColumns": joined or [],
        "numberType": kind == "int" or kind in NUMBER_KINDS,
        "textType": kind in TEXT_KINDS,
        "updatable": field is not None and field.updateable,
    }
