"""A SOQL tree → SQLite.

Names and types are checked against the org's schema here, with the vendor's error codes and
words. Every comparison follows SOQL's rules where they differ from SQL's: ``!=`` and ``NOT IN``
hold for nulls, text compares without regard to case, ``''`` is null, ids compare in their
18-character form.
"""

from __future__ import annotations

from datetime import datetime

from meltano_assets.sandbox import soql
from meltano_assets.sandbox.salesforce_schema import (
    ID_KINDS,
    NUMBER_KINDS,
    Field,
    Schema,
    SObject,
)
from meltano_assets.sandbox.soql import SoqlError, error_at
from meltano_assets.sandbox.soql_literals import (
    DATE_SQL,
    date_range,
    folded,
    stored_literal,
    wrong_type,
)
from meltano_assets.sandbox.soql_polymorphic import (
    NAME,
    NOT_POLYMORPHIC,
    branches,
    column_of,
    is_polymorphic,
    name_table,
)
from meltano_assets.sandbox.soql_records import ChildList, Compiled, Node, part_name

MAX_OFFSET = 2000
MAX_FIELDS_LIMIT = 200
_MAX_PATH = 6
_SEE_WSDL = "Please reference your WSDL or the describe call for the appropriate names."


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
        self.has_type_of = False

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
            target = NAME if is_polymorphic(ref) else self.schema.find(ref.refers_to[0])
            if target is None:
                raise SoqlError(
                    "INVALID_TYPE", f"sObject type '{ref.refers_to[0]}' is not supported."
                )
            rows = name_table(self.schema, ref) if target is NAME else f'"{target.name}"'
            self.joins[through] = self.join_table(alias, ref, target, rows)
        return self.joins[through]

    def join_table(
        self, alias: str, ref: Field, sobject: SObject, table: str
    ) -> tuple[str, SObject]:
        new_alias = f"t{len(self.join_sql) + 1}"
        self.join_sql.append(
            f' LEFT JOIN {table} {new_alias} ON {new_alias}."Id" = {alias}."{ref.name}"'
        )
        return new_alias, sobject

    def expression(self, path: soql.Path) -> tuple[str, Field]:
        """SQL of a path, with its date function."""
        _, alias, _, found = self.resolve(path)
        if found.is_compound:
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
        return DATE_SQL[path.function].format(column), Field(found.name, kind, found.label)  # type: ignore[arg-type]

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
            has_type_of=self.has_type_of,
        )

    def select_fields(self) -> None:
        seen: set[tuple[str, ...]] = set()
        for selected in self.query.selected:
            item = selected.item
            if isinstance(item, soql.Query):
                self.select_children(item, selected.position)
            elif isinstance(item, soql.TypeOf):
                self.select_type_of(item)
            elif isinstance(item, str):
                for found in self.all_fields(item):
                    path = soql.Path((found.name,), selected.position)
                    if (found.name,) not in seen:
                        seen.add((found.name,))
                        self.select_path(path)
            elif isinstance(item, soql.Path):
                if selected.alias and not selected.is_wrapped:
                    raise self.error(
                        "MALFORMED_QUERY",
                        selected.position,
                        f"only aggregate expressions use field aliasing: '{selected.alias}'",
                    )
                through, _, _, found = self.resolve(item)
                key = (selected.alias,) if selected.alias else (*through, found.name)
                if key in seen:
                    raise SoqlError(
                        "INVALID_FIELD", f"duplicate field selected: {'.'.join(item.names)}"
                    )
                seen.add(key)
                self.select_path(item, selected.alias)
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

    def select_path(self, path: soql.Path, name_in_answer: str = "") -> None:
        if path.function:
            raise self.error(
                "MALFORMED_QUERY",
                path.position,
                f"Field must be grouped or aggregated: {path.names[-1]}",
            )
        through, alias, sobject, found = self.resolve(path)
        if name_in_answer:
            index = self.column(_shown(alias, found))
            self.root.items.append((name_in_answer, "column", index))
            self.header.append(name_in_answer)
            self.csv_kinds.append(found.kind)
            return
        node = self.root
        for name in through:
            parent = node.find_parent(name)
            if parent is None:
                parent = Node(sobject, -1)
                node.items.append((name, "parent", parent))
            node = parent
        node.sobject = sobject
        if found.is_compound:
            self.has_compound = True
            parts = {
                part_name(name, found): self.column(f'{alias}."{name}"')
                for name in found.components
            }
            node.items.append((found.name, "compound", parts))
            return
        index = self.column(_shown(alias, found))
        node.items.append((found.name, "blob" if found.kind == "base64" else "column", index))
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
            if node.sobject is NAME:
                node.type_index = self.column(f'{alias}."Type"')
        for key, kind, payload in node.items:
            if kind == "parent" and isinstance(payload, Node):
                self.complete_ids(payload, (*through, key))

    def select_type_of(self, item: soql.TypeOf) -> None:
        """One level whose fields depend on the object that the reference leads to."""
        ref = self.sobject.by_relationship(".".join(item.path.names))
        if ref is None or not is_polymorphic(ref):
            raise self.error("MALFORMED_QUERY", item.path.position, NOT_POLYMORPHIC)
        self.has_type_of = True
        choices: dict[str, Node] = {}
        for target, paths in branches(self.query.text, item, ref):
            table = NAME if target == NAME.name else self.schema.find(target)
            if table is None:
                raise SoqlError("INVALID_TYPE", f"sObject type '{target}' is not supported.")
            place = (str(ref.relationship), target)
            rows = name_table(self.schema, ref) if table is NAME else f'"{table.name}"'
            self.joins[place] = self.join_table("t0", ref, table, rows)
            node = choices[target] = Node(table, -1)
            for path in paths:
                found = column_of(self.query.text, table, path)
                index = self.column(f'{self.joins[place][0]}."{found.name}"')
                node.items.append((found.name, "column", index))
            self.complete_ids(node, place)
        self.root.items.append((str(ref.relationship), "typeof", choices))

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
            if isinstance(item, (soql.Query, soql.TypeOf, str)):
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
        if (
            (function in ("sum", "avg") and not is_number)
            or found.is_compound
            or found.kind == "boolean"
        ):
            raise self.error(
                "MALFORMED_QUERY",
                item.position,
                f"field {found.name} does not support aggregate operator {function.upper()}",
            )
        if function == "sum" and found.kind in NUMBER_KINDS:
            # The vendor adds decimals, SQLite doubles.
            return f"round(sum({column}), {found.scale})", found.kind
        kind = "double" if function == "avg" else found.kind
        return f"{function}({column})", kind

    # the other clauses

    def where(self) -> str:
        parts = []
        if not self.include_deleted and self.sobject.has_is_deleted:
            parts.append('t0."IsDeleted" = 0')
            if self.sobject.find("IsArchived") and self.sobject.find("WhoId"):
                # Old activities are shown to queryAll alone.
                parts.append('t0."IsArchived" = 0')
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
        stored = stored_literal(self.query.text, found, value)
        if stored is None:
            if operator == "=":
                return f"{column} IS NULL"
            if operator == "!=":
                return f"{column} IS NOT NULL"
            return "0"
        # Ids have an order: the vendor itself cuts queries by ``Id >= … AND Id < …``.
        if found.kind == "boolean" and operator not in ("=", "!="):
            raise self.error("INVALID_FIELD", position, "invalid operator on boolean field")
        column, stored = folded(column, stored)
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
        column, text = folded(column, pattern)
        self.parameters.append(text)
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
        stored = [stored_literal(self.query.text, found, value) for value in condition.values]
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

    def in_range(self, column: str, found: Field, operator: str, value: soql.Value) -> str:
        if found.kind not in ("date", "datetime"):
            raise wrong_type(self.query.text, found, value, "string", quoted=True)
        start, end = date_range(value.text, value.number, self.now.date())
        suffix = "T00:00:00.000+0000" if found.kind == "datetime" else ""
        low, high = start.isoformat() + suffix, end.isoformat() + suffix
        if operator in ("=", "!="):
            self.parameters.extend((low, high))
            inside = f"({column} >= ? AND {column} < ?)"
            return inside if operator == "=" else f"NOT ifnull({inside}, 0)"
        self.parameters.append(high if operator in (">", "<=") else low)
        return f"{column} {'>=' if operator in ('>', '>=') else '<'} ?"


def _shown(alias: str, found: Field) -> str:
    if found.shown is None:
        return f'{alias}."{found.name}"'
    return "'{}'".format(found.shown.replace("'", "''"))
