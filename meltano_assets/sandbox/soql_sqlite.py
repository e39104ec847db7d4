"""A SOQL tree → SQLite, and rows → the records of an answer.

Names and types are checked against the org's schema here, with the vendor's error codes and
words. Every comparison follows SOQL's rules where they differ from SQL's: ``!=`` and ``NOT IN``
hold for nulls, text compares without regard to case, ``''`` is null, ids compare in their
18-character form.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from meltano_assets.sandbox import soql
from meltano_assets.sandbox.salesforce_schema import (
    ID_KINDS,
    NUMBER_KINDS,
    Field,
    Schema,
    SObject,
    parse_id,
)
from meltano_assets.sandbox.salesforce_values import format_datetime, java_double, parse_datetime
from meltano_assets.sandbox.soql import SoqlError, error_at

MAX_OFFSET = 2000
MAX_FIELDS_LIMIT = 200
_MAX_PATH = 6
_SEE_WSDL = "Please reference your WSDL or the describe call for the appropriate names."


@dataclass(slots=True)
class Node:
    """One level of an answered record: its own fields, its parents, its child lists."""

    sobject: SObject
    id_index: int
    items: list[tuple[str, str, object]] = field(default_factory=list)
    """(key, kind, payload): column index, parent node, address indexes or child list."""

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
    name = node.sobject.name
    record_id = row[node.id_index]
    record: dict[str, object] = {"attributes": {"type": name, "url": f"{base}{name}/{record_id}"}}
    for key, kind, payload in node.items:
        if kind == "column" and isinstance(payload, int):
            found = node.sobject.find(key)
            record[key] = _json_value(found.kind if found else "", row[payload])
        elif kind == "parent" and isinstance(payload, Node):
            present = row[payload.id_index] is not None
            record[key] = _record(payload, row, base, {}) if present else None
        elif kind == "address" and isinstance(payload, list):
            record[key] = _address([row[i] for i in payload])
        elif kind == "children":
            record[key] = lists[key].get(str(record_id))
    return record


def _address(parts: Sequence[object]) -> dict[str, object] | None:
    if all(part is None for part in parts):
        return None
    street, city, state, postal_code, country = parts
    return {
        "city": city,
        "country": country,
        "geocodeAccuracy": None,
        "latitude": None,
        "longitude": None,
        "postalCode": postal_code,
        "state": state,
        "street": street,
    }


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


# --- compiling -----------------------------------------------------------------------------


def compile_query(
    query: soql.Query, schema: Schema, now: datetime, *, include_deleted: bool = False
) -> Compiled:
    """Checks a query against the schema and makes it runnable; raises ``SoqlError``."""
    sobject = schema.find(query.object_name)
    if sobject is None:
        raise error_at(
            "INVALID_TYPE",
            query.text,
            query.object_position,
            f"sObject type '{query.object_name}' is not supported. If you are attempting to use a "
            "custom object, be sure to append the '__c' after the entity name. " + _SEE_WSDL,
        )
    return _Compiler(query, schema, sobject, now, include_deleted=include_deleted).compile()


class _Compiler:
    def __init__(
        self,
        query: soql.Query,
        schema: Schema,
        sobject: SObject,
        now: datetime,
        *,
        include_deleted: bool,
    ) -> None:
        self.query = query
        self.schema = schema
        self.sobject = sobject
        self.now = now
        self.include_deleted = include_deleted
        self.joins: dict[tuple[str, ...], tuple[str, SObject]] = {}
        self.join_sql: list[str] = []
        self.columns: list[str] = []
        self.parameters: list[object] = []
        self.header: list[str] = []
        self.csv_kinds: list[str] = []
        self.root = Node(sobject, -1)
        self.children: list[ChildList] = []
        self.has_compound = False

    # names

    def error(self, code: str, position: int, message: str) -> SoqlError:
        return error_at(code, self.query.text, position, message)

    def resolve(self, path: soql.Path) -> tuple[tuple[str, ...], str, SObject, Field]:
        """Relationship names, table alias, object and field of a path."""
        names = list(path.names)
        if len(names) > 1 and names[0].lower() in (
            self.query.alias.lower(),
            self.sobject.name.lower(),
        ):
            names.pop(0)
        if len(names) > _MAX_PATH:
            raise self.error(
                "INVALID_QUERY_FILTER_OPERATOR",
                path.position,
                "SOQL relationships may not be more than 5 levels deep",
            )
        alias, sobject = "t0", self.sobject
        through: list[str] = []
        for name in names[:-1]:
            ref = sobject.by_relationship(name)
            if ref is None:
                raise self.error(
                    "INVALID_FIELD",
                    path.position,
                    f"Didn't understand relationship '{name}' in field path. If you are attempting "
                    "to use a custom relationship, be sure to append the '__r' after the custom "
                    "relationship name. " + _SEE_WSDL,
                )
            through.append(str(ref.relationship))
            alias, sobject = self.join(tuple(through), alias, ref)
        found = sobject.find(names[-1])
        if found is None:
            raise self.error(
                "INVALID_FIELD",
                path.position,
                f"No such column '{names[-1]}' on entity '{sobject.name}'. If you are attempting "
                "to use a custom field, be sure to append the '__c' after the custom field name. "
                + _SEE_WSDL,
            )
        return tuple(through), alias, sobject, found

    def join(self, through: tuple[str, ...], alias: str, ref: Field) -> tuple[str, SObject]:
        if through not in self.joins:
            # Of the kinds that a polymorphic owner may have, only users hold records here.
            target = "User" if "User" in ref.refers_to else ref.refers_to[0]
            sobject = self.schema.find(target)
            if sobject is None:
                raise SoqlError("INVALID_TYPE", f"sObject type '{target}' is not supported.")
            new_alias = f"t{len(self.joins) + 1}"
            self.join_sql.append(
                f' LEFT JOIN "{sobject.name}" {new_alias} ON {new_alias}."Id" = {alias}."{ref.name}"'
            )
            self.joins[through] = (new_alias, sobject)
        return self.joins[through]

    def expression(self, path: soql.Path) -> tuple[str, Field]:
        """SQL of a path, with its date function."""
        _, alias, _, found = self.resolve(path)
        if found.kind == "address":
            raise self.error(
                "INVALID_FIELD",
                path.position,
                f"field '{found.name}' can not be filtered in a query call",
            )
        column = f'{alias}."{found.name}"'
        if not path.function:
            return column, found
        if found.kind not in ("date", "datetime"):
            raise self.error(
                "INVALID_FIELD",
                path.position,
                f"field {found.name} does not support date function {path.function.upper()}",
            )
        kind = "date" if path.function == "day_only" else "int"
        return _DATE_SQL[path.function].format(column), Field(found.name, kind, found.label)  # type: ignore[arg-type]

    # the select list

    def column(self, sql: str) -> int:
        self.columns.append(sql)
        return len(self.columns) - 1

    def compile(self) -> Compiled:
        query = self.query
        if query.all_rows:
            raise SoqlError("MALFORMED_QUERY", "ALL ROWS not allowed in this context")
        if query.offset is not None and query.offset > MAX_OFFSET:
            raise SoqlError(
                "NUMBER_OUTSIDE_VALID_RANGE",
                f"Maximum SOQL offset allowed is {MAX_OFFSET}",
            )
        aggregates = None
        if query.is_count and len(query.selected) == 1 and not query.group_by:
            self.root.id_index = self.column('t0."Id"')
        elif query.is_aggregate:
            aggregates = self.select_aggregates()
        else:
            self.select_fields()
        where = self.where()
        tail = self.tail()
        group_by = self.grouping()
        return Compiled(
            sobject=self.sobject,
            columns=self.columns,
            joins="".join(self.join_sql),
            where=where,
            tail=tail,
            parameters=self.parameters,
            root=self.root,
            children=self.children,
            header=self.header,
            csv_kinds=self.csv_kinds,
            is_count=query.is_count and aggregates is None,
            aggregates=aggregates,
            group_by=group_by,
            has_compound=self.has_compound,
        )

    def select_fields(self) -> None:
        seen: set[tuple[str, ...]] = set()
        for selected in self.query.selected:
            item = selected.item
            if isinstance(item, soql.Query):
                self.select_children(item, selected.position)
            elif isinstance(item, str):
                for found in self.all_fields(item):
                    path = soql.Path((found.name,), selected.position)
                    if (found.name,) not in seen:
                        seen.add((found.name,))
                        self.select_path(path)
            elif isinstance(item, soql.Path):
                if selected.alias:
                    raise self.error(
                        "MALFORMED_QUERY",
                        selected.position,
                        f"only aggregate expressions use field aliasing: '{selected.alias}'",
                    )
                through, _, _, found = self.resolve(item)
                key = (*through, found.name)
                if key in seen:
                    raise SoqlError(
                        "INVALID_FIELD", f"duplicate field selected: {'.'.join(item.names)}"
                    )
                seen.add(key)
                self.select_path(item)
        self.complete_ids(self.root, ())

    def all_fields(self, which: str) -> list[Field]:
        limit = self.query.limit
        if which != "standard" and (limit is None or limit > MAX_FIELDS_LIMIT):
            raise SoqlError(
                "MALFORMED_QUERY",
                f"The SOQL FIELDS function must have a LIMIT of at most {MAX_FIELDS_LIMIT}",
            )
        return [
            f
            for f in self.sobject.fields
            if which == "all" or f.custom == (which == "custom") or f.kind == "id"
        ]

    def select_path(self, path: soql.Path) -> None:
        if path.function:
            raise self.error(
                "MALFORMED_QUERY",
                path.position,
                f"Field must be grouped or aggregated: {path.names[-1]}",
            )
        through, alias, sobject, found = self.resolve(path)
        node = self.root
        for name in through:
            parent = node.find_parent(name)
            if parent is None:
                parent = Node(sobject, -1)
                node.items.append((name, "parent", parent))
            node = parent
        node.sobject = sobject
        if found.kind == "address":
            self.has_compound = True
            indexes = [self.column(f'{alias}."{name}"') for name in found.components]
            node.items.append((found.name, "address", indexes))
            return
        index = self.column(f'{alias}."{found.name}"')
        node.items.append((found.name, "column", index))
        if found.kind == "id":
            node.id_index = index
        self.header.append(".".join((*through, found.name)))
        self.csv_kinds.append(found.kind)

    def complete_ids(self, node: Node, through: tuple[str, ...]) -> None:
        """Every level needs its id, for its URL and to know whether it is there."""
        if node.id_index < 0:
            alias = self.joins[through][0] if through else "t0"
            if through:
                node.sobject = self.joins[through][1]
            node.id_index = self.column(f'{alias}."Id"')
        for key, kind, payload in node.items:
            if kind == "parent" and isinstance(payload, Node):
                self.complete_ids(payload, (*through, key))

    def select_children(self, inner: soql.Query, position: int) -> None:
        found = self.schema.child(self.sobject, inner.object_name)
        if found is None:
            raise self.error(
                "INVALID_TYPE",
                inner.object_position,
                f"Didn't understand relationship '{inner.object_name}' in FROM part of query call. "
                "If you are attempting to use a custom relationship, be sure to append the '__r' "
                "after the custom relationship name. " + _SEE_WSDL,
            )
        child, ref = found
        key = str(ref.child_relationship)
        if any(existing.key == key for existing in self.children):
            raise self.error("MALFORMED_QUERY", position, f"duplicate subquery: {key}")
        limit, offset = inner.limit, inner.offset or 0
        inner.limit = inner.offset = None
        compiler = _Compiler(
            inner, self.schema, child, self.now, include_deleted=self.include_deleted
        )
        compiled = compiler.compile()
        if compiled.aggregates or compiled.is_count:
            raise self.error(
                "MALFORMED_QUERY", position, "Only root queries support aggregate expressions"
            )
        compiled.columns.append(f't0."{ref.name}"')
        link = f't0."{ref.name}" IN (SELECT value FROM json_each(?))'
        compiled.where = f"{compiled.where} AND {link}" if compiled.where else f" WHERE {link}"
        entry = ChildList(key, compiled, limit, offset)
        self.children.append(entry)
        self.root.items.append((key, "children", entry))

    def select_aggregates(self) -> list[tuple[str, str]]:
        keys: list[tuple[str, str]] = []
        unnamed = 0
        grouped = {self.expression(path)[0] for path in self.query.group_by}
        for selected in self.query.selected:
            item = selected.item
            if isinstance(item, (soql.Query, str)):
                raise SoqlError(
                    "MALFORMED_QUERY", "Grouped query cannot use child relationships in SELECT list"
                )
            if isinstance(item, soql.Aggregate):
                sql, kind = self.aggregate(item)
                key = selected.alias
            else:
                sql, found = self.expression(item)
                if sql not in grouped:
                    raise self.error(
                        "MALFORMED_QUERY",
                        item.position,
                        f"Field must be grouped or aggregated: {item.names[-1]}",
                    )
                kind = found.kind
                key = selected.alias or ("" if item.function else found.name)
            if not key:
                key = f"expr{unnamed}"
                unnamed += 1
            self.column(sql)
            keys.append((key, kind))
        return keys

    def aggregate(self, item: soql.Aggregate) -> tuple[str, str]:
        if item.path is None:
            return "count(*)", "int"
        column, found = self.expression(item.path)
        function = item.function
        if function == "count":
            return f"count({column})", "int"
        if function == "count_distinct":
            return f"count(DISTINCT {column})", "int"
        is_number = found.kind in NUMBER_KINDS or found.kind == "int"
        if (function in ("sum", "avg") and not is_number) or found.kind in ("boolean", "address"):
            raise self.error(
                "MALFORMED_QUERY",
                item.position,
                f"field {found.name} does not support aggregate operator {function.upper()}",
            )
        kind = "double" if function == "avg" else found.kind
        return f"{function}({column})", kind

    # the other clauses

    def where(self) -> str:
        parts = []
        if not self.include_deleted and self.sobject.has_is_deleted:
            parts.append('t0."IsDeleted" = 0')
        if self.query.where is not None:
            parts.append(self.condition(self.query.where))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def grouping(self) -> str:
        group_by = ""
        if self.query.group_by:
            group_by = " GROUP BY " + ", ".join(
                self.expression(path)[0] for path in self.query.group_by
            )
        if self.query.having is not None:
            group_by += f" HAVING {self.condition(self.query.having)}"
        return group_by

    def tail(self) -> str:
        query = self.query
        parts = []
        for order in query.order_by:
            if isinstance(order.subject, soql.Aggregate):
                sql = self.aggregate(order.subject)[0]
            else:
                sql, found = self.expression(order.subject)
                if found.is_long_text:
                    raise self.error(
                        "MALFORMED_QUERY",
                        order.subject.position,
                        f"field '{found.name}' can not be sorted in a query call",
                    )
            direction = "DESC" if order.is_descending else "ASC"
            parts.append(f"{sql} {direction} NULLS {'LAST' if order.nulls_last else 'FIRST'}")
        if not query.is_aggregate:
            parts.append("t0.rowid")
        tail = f" ORDER BY {', '.join(parts)}" if parts else ""
        if query.limit is not None or query.offset is not None:
            tail += f" LIMIT {-1 if query.limit is None else query.limit}"
            tail += f" OFFSET {query.offset or 0}"
        return tail

    # conditions

    def condition(self, condition: soql.Condition) -> str:
        if isinstance(condition, soql.Junction):
            inner = f" {condition.operator} ".join(self.condition(c) for c in condition.conditions)
            return f"({inner})"
        if isinstance(condition, soql.Not):
            # A comparison with null is false in SOQL, so its negation is true.
            return f"NOT ifnull({self.condition(condition.condition)}, 0)"
        if isinstance(condition, soql.Membership):
            return self.membership(condition)
        return self.comparison(condition)

    def comparison(self, condition: soql.Comparison) -> str:
        subject = condition.subject
        if isinstance(subject, soql.Aggregate):
            column, kind = self.aggregate(subject)
            found = Field(subject.function, kind, subject.function)  # type: ignore[arg-type]
            position = subject.position
        else:
            column, found = self.expression(subject)
            position = subject.position
        value, operator = condition.value, condition.operator
        if found.is_long_text:
            raise self.error(
                "INVALID_FIELD",
                position,
                f"field '{found.name}' can not be filtered in a query call",
            )
        if operator == "LIKE":
            return self.like(column, found, value, position)
        if value.kind == "range":
            return self.in_range(column, found, operator, value)
        stored = self.value(found, value)
        if stored is None:
            if operator == "=":
                return f"{column} IS NULL"
            if operator == "!=":
                return f"{column} IS NOT NULL"
            return "0"
        if found.kind in ("boolean", *ID_KINDS) and operator not in ("=", "!="):
            raise self.error(
                "INVALID_FIELD",
                position,
                f"invalid operator on {'boolean' if found.kind == 'boolean' else 'id'} field",
            )
        column, stored = _folded(column, stored)
        self.parameters.append(stored)
        return f"{column} IS NOT ?" if operator == "!=" else f"{column} {operator} ?"

    def like(self, column: str, found: Field, value: soql.Value, position: int) -> str:
        if value.kind != "string" or found.storage != "TEXT COLLATE NOCASE":
            raise self.error(
                "INVALID_FIELD",
                position,
                f"invalid operator on {'id' if found.kind in ID_KINDS else found.kind} field",
            )
        pattern = soql.unescape(value.text, for_like=True)
        column, folded = _folded(column, pattern)
        self.parameters.append(folded)
        return f"{column} LIKE ? ESCAPE '\\'"

    def membership(self, condition: soql.Membership) -> str:
        column, found = self.expression(condition.subject)
        if found.is_long_text:
            raise self.error(
                "INVALID_FIELD",
                condition.subject.position,
                f"field '{found.name}' can not be filtered in a query call",
            )
        if condition.query is not None:
            inner = self.semi_join(condition.query)
            return f"{column} {'NOT ' if condition.is_negated else ''}IN ({inner})"
        stored = [self.value(found, value) for value in condition.values]
        present = [value for value in stored if value is not None]
        has_null = len(present) < len(stored)
        if any(isinstance(value, str) and not value.isascii() for value in present):
            column = f"soql_fold({column})"
            present = [str(value).casefold() for value in present]
        self.parameters.extend(present)
        marks = ", ".join("?" * len(present))
        if condition.is_negated:
            return (
                f"({column} NOT IN ({marks}) AND {column} IS NOT NULL)"
                if has_null
                else f"({column} NOT IN ({marks}) OR {column} IS NULL)"
            )
        return (
            f"({column} IN ({marks}) OR {column} IS NULL)" if has_null else f"{column} IN ({marks})"
        )

    def semi_join(self, inner: soql.Query) -> str:
        sobject = self.schema.find(inner.object_name)
        if sobject is None:
            raise self.error(
                "INVALID_TYPE",
                inner.object_position,
                f"sObject type '{inner.object_name}' is not supported.",
            )
        if len(inner.selected) != 1 or not isinstance(inner.selected[0].item, soql.Path):
            raise self.error(
                "MALFORMED_QUERY",
                inner.object_position,
                "Semi join sub-selects may only select one field",
            )
        compiler = _Compiler(
            inner, self.schema, sobject, self.now, include_deleted=self.include_deleted
        )
        column, found = compiler.expression(inner.selected[0].item)
        if found.kind not in ID_KINDS:
            raise self.error(
                "MALFORMED_QUERY",
                inner.object_position,
                "Semi join sub-selects can only query id fields, cannot use: "
                f"'{inner.selected[0].item.names[-1]}'",
            )
        where = compiler.where()
        where += f"{' AND' if where else ' WHERE'} {column} IS NOT NULL"
        self.parameters.extend(compiler.parameters)
        return f'SELECT {column} FROM "{sobject.name}" t0{"".join(compiler.join_sql)}{where}'

    def value(self, found: Field, value: soql.Value) -> str | int | float | None:
        """The stored form of a literal; refuses one of another type."""
        if value.kind == "null":
            return None
        kind = found.kind
        if kind in ID_KINDS:
            if value.kind != "string":
                raise self.wrong_type(found, value, "string", quoted=True)
            text = soql.unescape(value.text)
            if not text:
                return None
            stored = parse_id(text)
            if stored is None:
                raise self.error(
                    "INVALID_QUERY_FILTER_OPERATOR", value.position, f"invalid ID field: {text}"
                )
            return stored
        if kind == "boolean":
            if value.kind != "boolean":
                raise self.wrong_type(found, value, "boolean", quoted=False)
            return int(value.text == "true")
        if kind in NUMBER_KINDS or kind == "int":
            if value.kind != "number":
                raise self.wrong_type(
                    found, value, "int" if kind == "int" else "double", quoted=False
                )
            return float(value.text)
        if kind == "date":
            if value.kind != "date":
                raise self.wrong_type(found, value, "date", quoted=False)
            return self.checked_date(value)
        if kind == "datetime":
            moment = parse_datetime(value.text) if value.kind == "datetime" else None
            if moment is None:
                raise self.wrong_type(found, value, "dateTime", quoted=False)
            return format_datetime(moment)
        if value.kind != "string":
            raise self.wrong_type(found, value, "string", quoted=True)
        # Salesforce keeps no empty strings: '' is null.
        return soql.unescape(value.text) or None

    def checked_date(self, value: soql.Value) -> str:
        try:
            return date.fromisoformat(value.text).isoformat()
        except ValueError as error:
            raise self.error(
                "MALFORMED_QUERY", value.position, f"invalid date: {value.text}"
            ) from error

    def wrong_type(
        self, found: Field, value: soql.Value, type_name: str, *, quoted: bool
    ) -> SoqlError:
        return self.error(
            "INVALID_FIELD",
            value.position,
            f"value of filter criterion for field '{found.name}' must be of type {type_name} "
            f"and should {'' if quoted else 'not '}be enclosed in quotes",
        )

    def in_range(self, column: str, found: Field, operator: str, value: soql.Value) -> str:
        if found.kind not in ("date", "datetime"):
            raise self.wrong_type(found, value, "string", quoted=True)
        start, end = date_range(value.text, value.number, self.now.date())
        suffix = "T00:00:00.000+0000" if found.kind == "datetime" else ""
        low, high = start.isoformat() + suffix, end.isoformat() + suffix
        if operator in ("=", "!="):
            self.parameters.extend((low, high))
            inside = f"({column} >= ? AND {column} < ?)"
            return inside if operator == "=" else f"NOT ifnull({inside}, 0)"
        self.parameters.append(high if operator in (">", "<=") else low)
        return f"{column} {'>=' if operator in ('>', '>=') else '<'} ?"


def _folded(column: str, stored: str | int | float) -> tuple[str, str | int | float]:
    """SQLite ignores case in ASCII only; other letters are folded by a function."""
    if isinstance(stored, str) and not stored.isascii():
        return f"soql_fold({column})", stored.casefold()
    return column, stored


def add_functions(connection: sqlite3.Connection) -> None:
    """What compiled queries need on their connection."""
    connection.create_function(
        "soql_fold",
        1,
        lambda value: value.casefold() if isinstance(value, str) else value,
        deterministic=True,
    )


_DATE_SQL = {
    "calendar_year": "CAST(substr({0}, 1, 4) AS INTEGER)",
    "calendar_quarter": "((CAST(substr({0}, 6, 2) AS INTEGER) + 2) / 3)",
    "calendar_month": "CAST(substr({0}, 6, 2) AS INTEGER)",
    "day_in_month": "CAST(substr({0}, 9, 2) AS INTEGER)",
    "day_in_week": "(CAST(strftime('%w', substr({0}, 1, 10)) AS INTEGER) + 1)",
    "day_in_year": "CAST(strftime('%j', substr({0}, 1, 10)) AS INTEGER)",
    "day_only": "substr({0}, 1, 10)",
    "hour_in_day": "CAST(substr({0}, 12, 2) AS INTEGER)",
    "week_in_year": "((CAST(strftime('%j', substr({0}, 1, 10)) AS INTEGER) - 1) / 7 + 1)",
}


# --- date literals -------------------------------------------------------------------------


def _add_months(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def date_range(word: str, count: int, today: date) -> tuple[date, date]:
    """First day, and first day after, of a date literal."""
    fixed = {"last_90_days": ("last_n_days", 90), "next_90_days": ("next_n_days", 90)}
    word, count = fixed.get(word, (word, count))
    word = word.replace("_fiscal", "")
    one = timedelta(days=1)
    try:
        if word in ("today", "yesterday", "tomorrow"):
            start = today + one * {"yesterday": -1, "today": 0, "tomorrow": 1}[word]
            return start, start + one
        if word == "last_n_days":
            return today - one * count, today + one
        if word == "next_n_days":
            return today + one, today + one * (count + 1)
        if word == "n_days_ago":
            return today - one * count, today - one * (count - 1)
        unit = word.rstrip("s").removesuffix("_ago").rstrip("s").rsplit("_", 1)[1]
        if unit == "week":
            # Weeks begin on Sunday in the default locale.
            week = today - one * ((today.weekday() + 1) % 7)

            def step(n: int) -> date:
                return week + timedelta(weeks=n)

        else:
            months = {"month": 1, "quarter": 3, "year": 12}[unit]
            base = date(today.year, (today.month - 1) // months * months + 1, 1)

            def step(n: int) -> date:
                return _add_months(base, n * months)

        if "_n_" in word:
            if word.startswith("last"):
                return step(-count), step(0)
            return step(1), step(count + 1)
        if word.startswith("n_"):
            return step(-count), step(-count + 1)
        shift = {"last": -1, "this": 0, "next": 1}[word.split("_", 1)[0]]
        return step(shift), step(shift + 1)
    except (OverflowError, ValueError) as error:
        raise SoqlError("INVALID_FIELD", f"date literal out of range: {word}:{count}") from error
