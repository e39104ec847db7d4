"""Rows of a compiled query → the records of an answer, as JSON objects or as CSV cells."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from meltano_assets.sandbox.salesforce_schema import NUMBER_KINDS, Field, SObject
from meltano_assets.sandbox.salesforce_values import java_double


@dataclass(slots=True)
class Node:
    """One level of an answered record: its own fields, its parents, its child lists."""

    sobject: SObject
    id_index: int
    items: list[tuple[str, str, object]] = field(default_factory=list)
    """(key, kind, payload): column index (also of a blob), parent node, indexes of a compound's parts, child list, or
    the nodes by object of a ``TYPEOF``."""
    type_index: int = -1
    """Where the object's name stands that a polymorphic reference leads to."""

    def find_parent(self, name: str) -> Node | None:
        for key, kind, payload in self.items:
            if kind == "parent" and key == name and isinstance(payload, Node):
                return payload
        return None


@dataclass(slots=True)
class ChildList:
    """A subquery in the select list."""

    key: str
    compiled: Compiled
    limit: int | None
    offset: int


@dataclass(slots=True)
class Compiled:
    """A query ready to run."""

    sobject: SObject
    columns: list[str]
    joins: str
    where: str
    tail: str
    parameters: list[object]
    root: Node
    children: list[ChildList]
    header: list[str]
    """Column names of a bulk result."""
    csv_kinds: list[str]
    is_count: bool = False
    aggregates: list[tuple[str, str]] | None = None
    """(key, kind) per column of an aggregate query."""
    group_by: str = ""
    has_compound: bool = False
    has_type_of: bool = False

    def ids_sql(self) -> str:
        table = self.sobject.name
        return f'SELECT t0.rowid FROM "{table}" t0{self.joins}{self.where}{self.tail}'

    def page_sql(self) -> str:
        return (
            f"SELECT {', '.join(self.columns)} FROM json_each(?) page "
            f'CROSS JOIN "{self.sobject.name}" t0 ON t0.rowid = page.value{self.joins} '
            "ORDER BY page.key"
        )

    def row_numbers(self, connection: sqlite3.Connection) -> array[int]:
        """The rows that match, in order: the snapshot that a cursor pages through."""
        rows = connection.execute(self.ids_sql(), self.parameters)
        return array("q", (row[0] for row in rows))

    def count(self, connection: sqlite3.Connection) -> int:
        sql = f"SELECT count(*) FROM ({self.ids_sql()})"
        return int(connection.execute(sql, self.parameters).fetchone()[0])

    def page(
        self, connection: sqlite3.Connection, rows: Sequence[int], version: str
    ) -> list[dict[str, object]]:
        """The records of these rows, as a REST answer has them."""
        found = connection.execute(self.page_sql(), (json.dumps(list(rows)),)).fetchall()
        lists: dict[str, dict[str, object]] = {}
        if self.children:
            ids = [row[self.root.id_index] for row in found]
            for child in self.children:
                lists[child.key] = _child_lists(connection, child, ids, version)
        base = f"/services/data/v{version}/sobjects/"
        if not self.children and all(kind == "column" for _, kind, _ in self.root.items):
            return _flat_records(self.root, found, base)
        return [_record(self.root, row, base, lists) for row in found]

    def aggregate_records(self, connection: sqlite3.Connection) -> list[dict[str, object]]:
        sql = (
            f'SELECT {", ".join(self.columns)} FROM "{self.sobject.name}" t0'
            f"{self.joins}{self.where}{self.group_by}{self.tail}"
        )
        keys = self.aggregates or []
        return [
            {
                "attributes": {"type": "AggregateResult"},
                **{
                    key: _json_value(kind, value)
                    for (key, kind), value in zip(keys, row, strict=True)
                },
            }
            for row in connection.execute(sql, self.parameters)
        ]

    def csv_rows(
        self, connection: sqlite3.Connection, rows: Sequence[int]
    ) -> Iterable[Sequence[object]]:
        """The cells of these rows, as a bulk result has them."""
        found = connection.execute(self.page_sql(), (json.dumps(list(rows)),))
        special = [
            (index, kind)
            for index, kind in enumerate(self.csv_kinds)
            if kind in ("boolean", "datetime") or kind in NUMBER_KINDS
        ]
        width = len(self.header)
        for row in found:
            cells = list(row[:width])
            for index, kind in special:
                value = cells[index]
                if value is None:
                    continue
                if kind == "boolean":
                    cells[index] = "true" if value else "false"
                elif kind == "datetime":
                    cells[index] = value[:-5] + "Z"
                else:
                    cells[index] = java_double(value)
            yield cells


def _json_value(kind: str, value: object) -> object:
    if kind == "boolean" and value is not None:
        return bool(value)
    return value


def _flat_records(
    node: Node, rows: Iterable[tuple[object, ...]], base: str
) -> list[dict[str, object]]:
    name = node.sobject.name
    prefix = f"{base}{name}/"
    fields = [(key, payload) for key, _, payload in node.items if isinstance(payload, int)]
    keys = [key for key, _ in fields]
    indexes = [index for _, index in fields]
    booleans = [
        key for key in keys if (found := node.sobject.find(key)) and found.kind == "boolean"
    ]
    id_index = node.id_index
    in_order = indexes == list(range(len(indexes)))
    records = []
    for row in rows:
        record: dict[str, object] = {
            "attributes": {"type": name, "url": f"{prefix}{row[id_index]}"}
        }
        # Rows may carry further columns (ids of parents) behind those that were asked for.
        record.update(zip(keys, row if in_order else [row[i] for i in indexes], strict=False))
        for key in booleans:
            if record[key] is not None:
                record[key] = record[key] == 1
        records.append(record)
    return records


def _record(
    node: Node, row: Sequence[object], base: str, lists: dict[str, dict[str, object]]
) -> dict[str, object]:
    name = str(row[node.type_index]) if node.type_index >= 0 else node.sobject.name
    record_id = row[node.id_index]
    record: dict[str, object] = {"attributes": {"type": name, "url": f"{base}{name}/{record_id}"}}
    for key, kind, payload in node.items:
        if kind == "column" and isinstance(payload, int):
            found = node.sobject.find(key)
            record[key] = _json_value(found.kind if found else "", row[payload])
        elif kind == "blob" and isinstance(payload, int):
            # Bytes have an address of their own.
            is_there = row[payload] is not None
            record[key] = f"{base}{name}/{record_id}/{key}" if is_there else None
        elif kind == "parent" and isinstance(payload, Node):
            present = row[payload.id_index] is not None
            record[key] = _record(payload, row, base, {}) if present else None
        elif kind == "compound" and isinstance(payload, dict):
            parts = {name: row[index] for name, index in payload.items()}
            is_there = any(part is not None for part in parts.values())
            record[key] = dict(sorted(parts.items())) if is_there else None
        elif kind == "typeof" and isinstance(payload, dict):
            record[key] = _chosen(payload, row, base)
        elif kind == "children":
            record[key] = lists[key].get(str(record_id))
    return record


def _chosen(choices: dict[str, Node], row: Sequence[object], base: str) -> object:
    """The branch of a ``TYPEOF`` whose object is there, else what all objects have."""
    common = choices["Name"]
    if row[common.id_index] is None:
        return None
    return _record(choices.get(str(row[common.type_index]), common), row, base, {})


def part_name(part: str, compound: Field) -> str:
    """What a part is called inside its compound: ``BillingCity`` → ``city``."""
    stem = compound.name.removesuffix("c" if compound.custom else "Address")
    name = part.removeprefix(stem).removesuffix("__s")
    return name[0].lower() + name[1:]


def _child_lists(
    connection: sqlite3.Connection, child: ChildList, ids: Sequence[object], version: str
) -> dict[str, object]:
    compiled = child.compiled
    sql = (
        f'SELECT {", ".join(compiled.columns)} FROM "{compiled.sobject.name}" t0'
        f"{compiled.joins}{compiled.where}{compiled.tail}"
    )
    base = f"/services/data/v{version}/sobjects/"
    grouped: dict[str, list[dict[str, object]]] = {}
    for row in connection.execute(sql, [*compiled.parameters, json.dumps(ids)]):
        # The last column is the reference to the parent.
        grouped.setdefault(str(row[-1]), []).append(_record(compiled.root, row, base, {}))
    end = None if child.limit is None else child.offset + child.limit
    return {
        parent: {"totalSize": len(records), "done": True, "records": records}
        for parent, found in grouped.items()
        if (records := found[child.offset : end])
    }
