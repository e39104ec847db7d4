"""Zuora's two query languages: ZOQL (by the query action) and Export ZOQL (AQuA and exports).

``parse`` reads the text, ``run`` gives the rows. ZOQL knows plain fields, ``and``, ``or`` and six
comparisons; Export ZOQL adds joins (``Account.Name``), ``*``, ``like``, brackets, ``order by``,
``limit`` and plain aggregates. Errors carry Zuora's fault codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Protocol

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.zuora_schema import RELATIONS, Field, ObjectType, object_types

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:\\.|[^'\\])*')|(?P<number>-?\d+(?:\.\d+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_][\w.]*)|(?P<sign>!=|<>|<=|>=|[=<>(),*]))",
    re.S,
)
_AGGREGATES = ("count", "sum", "min", "max", "avg")
Value = object
Test = Callable[[Record], bool]


class QueryError(Exception):
    """What Zuora would refuse, with its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Tenant(Protocol):
    """Where the records are."""

    def rows(self, name: str, *, with_deleted: bool = False) -> Sequence[Record]:
        """All records of an object."""
        ...

    def find(self, name: str, key: object) -> Record | None:
        """One record by its id."""
        ...


@dataclass(frozen=True, slots=True)
class Selected:
    """One thing that is asked for: a field, perhaps of a joined object, perhaps aggregated."""

    label: str
    field: Field
    path: tuple[str, ...] = ()
    aggregate: str | None = None


@dataclass(slots=True)
class Query:
    """A query that was understood."""

    text: str
    kind: ObjectType
    selected: list[Selected]
    where: Test | None = None
    order: tuple[tuple[Selected, bool], ...] = ()
    limit: int | None = None


def parse(
    text: str, tenant: Tenant, *, is_export: bool, zone: tzinfo = UTC, is_data_query: bool = False
) -> Query:
    """The query behind the text; times without a zone are of that one. QueryError when refused.

    Data queries are close to Export ZOQL, with every field plain.
    """
    return _Parser(text, tenant, is_export or is_data_query, zone, is_data_query).parse()


def run(
    query: Query,
    tenant: Tenant,
    *,
    with_deleted: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[Record]:
    """The records that the query is about, in its order; aggregates are for ``rows_of``."""
    records: Iterable[Record] = tenant.rows(query.kind.name, with_deleted=with_deleted)
    if since is not None:
        records = (r for r in records if _moment(r["UpdatedDate"]) >= since)
    if until is not None:
        records = (r for r in records if _moment(r["UpdatedDate"]) <= until)
    if query.where is not None:
        records = filter(query.where, records)
    for selected, is_descending in reversed(query.order):
        field = selected
        records = sorted(
            records,
            key=lambda r: _sort_key(value_of(r, field, tenant, query.kind)),
            reverse=is_descending,
        )
    for place, record in enumerate(records):
        if query.limit is not None and place >= query.limit:
            return
        yield record


def rows_of(query: Query, tenant: Tenant, records: Iterable[Record]) -> Iterator[list[Value]]:
    """The asked values of each record, or one row of aggregates."""
    if not any(item.aggregate for item in query.selected):
        for record in records:
            yield [value_of(record, item, tenant, query.kind) for item in query.selected]
        return
    kept = list(records)
    row: list[Value] = []
    for item in query.selected:
        values = [v for r in kept if (v := value_of(r, item, tenant, query.kind)) is not None]
        row.append(_aggregate(item.aggregate, values))
    yield row


def _aggregate(name: str | None, values: list[Value]) -> Value:
    if name == "count":
        return len(values)
    if not values:
        return None
    if name in ("min", "max"):
        return (min if name == "min" else max)(values, key=_sort_key)
    total = sum((Decimal(str(value)) for value in values), Decimal(0))
    return total if name == "sum" else total / len(values)


def value_of(record: Record, selected: Selected, tenant: Tenant, kind: ObjectType) -> Value:
    """The selected value, through its joins."""
    current: Record | None = record
    for place, pointer in enumerate(selected.path):
        key = None if current is None else current.get(pointer)
        if key is None:
            return None
        if place == len(selected.path) - 1 and selected.field.name == "Id":
            return key
        current = tenant.find(RELATIONS[pointer][1], key)
    return None if current is None else current.get(selected.field.name)


def _sort_key(value: Value) -> tuple[bool, object]:
    return (value is not None, str(value) if isinstance(value, bool) else value)


def _moment(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.min.replace(tzinfo=UTC)


class _Parser:
    def __init__(
        self, text: str, tenant: Tenant, is_export: bool, zone: tzinfo, is_data_query: bool
    ) -> None:
        self._is_data_query = is_data_query
        self._text = text
        self._tenant = tenant
        self._is_export = is_export
        self._zone = zone
        self._tokens = list(self._scan(text))
        self._place = 0
        self._kind: ObjectType | None = None

    def _scan(self, text: str) -> Iterator[tuple[str, str]]:
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise self._malformed(text[place:].strip()[:20])
            yield found.lastgroup, found[found.lastgroup]
            place = found.end()

    def _malformed(self, near: str) -> QueryError:
        return QueryError("MALFORMED_QUERY", f"You have an error in your ZOQL syntax near '{near}'")

    # Tokens

    def _peek(self) -> str:
        if self._place >= len(self._tokens):
            return ""
        group, word = self._tokens[self._place]
        return word if group == "text" else word.lower()

    def _take(self) -> tuple[str, str]:
        if self._place >= len(self._tokens):
            raise self._malformed("<EOF>")
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, *words: str) -> str:
        _, word = self._take()
        if word.lower() not in words:
            raise self._malformed(word)
        return word.lower()

    # The parts of a query

    def parse(self) -> Query:
        self._expect("select")
        names: list[tuple[str | None, str]] = []
        while True:
            names.append(self._column())
            if self._peek() != ",":
                break
            self._take()
        self._expect("from")
        _, name = self._take()
        kind = object_types().get(name.lower())
        if kind is None or (not self._is_export and not kind.fields["id"].is_queried):
            if self._is_export:
                raise QueryError("INVALID_TYPE", f"noSuchDataSource: {name}")
            raise QueryError("INVALID_TYPE", f"invalid type for query: {name}")
        self._kind = kind
        query = Query(self._text, kind, self._select(names, kind))
        if self._peek() == "where":
            self._take()
            query.where = self._any_of()
        if self._is_export and self._peek() == "order":
            self._take()
            self._expect("by")
            query.order = tuple(self._orders())
        if self._is_export and self._peek() == "limit":
            self._take()
            _, number = self._take()
            if not is_number(number):
                raise self._malformed(number)
            query.limit = int(number)
        if self._place < len(self._tokens):
            raise self._malformed(self._tokens[self._place][1])
        return query

    def _column(self) -> tuple[str | None, str]:
        group, word = self._take()
        if word == "*" and self._is_export:
            return None, "*"
        if group != "name":
            raise self._malformed(word)
        if self._peek() == "(" and self._is_export and word.lower() in _AGGREGATES:
            self._take()
            _, inner = self._take()
            self._expect(")")
            return word.lower(), inner
        return None, word

    def _select(self, names: list[tuple[str | None, str]], kind: ObjectType) -> list[Selected]:
        selected: list[Selected] = []
        for aggregate, name in names:
            if name == "*":
                selected += [
                    Selected(f"{kind.name}.{field.name}", field)
                    for field in kind.fields.values()
                    if field.is_exported or self._is_data_query
                ]
                continue
            item = self._field(name)
            label = f"{aggregate}({item.label})" if aggregate else item.label
            selected.append(Selected(label, item.field, item.path, aggregate))
        return selected

    def _field(self, name: str) -> Selected:
        kind = self._kind
        assert kind is not None
        if (
            self._is_export
            and name.lower().startswith(f"{kind.name.lower()}.")
            and (kind.name.lower() not in kind.joins)
        ):
            name = name.partition(".")[2]
        join, dot, last = name.rpartition(".")
        if dot:
            return self._joined(kind, join, last, name)
        field = kind.fields.get(name.lower())
        if field is None or not self._is_known(field):
            raise QueryError(
                "INVALID_FIELD", f"invalid field for query: {kind.name.lower()}.{name}"
            )
        return Selected(f"{kind.name}.{field.name}", field)

    def _is_known(self, field: Field) -> bool:
        if self._is_data_query:
            return True
        return field.is_exported if self._is_export else field.is_queried

    def _joined(self, kind: ObjectType, join: str, last: str, name: str) -> Selected:
        path = kind.joins.get(join.lower()) if self._is_export else None
        if path is None:
            raise QueryError(
                "INVALID_FIELD", f"invalid field for query: {kind.name.lower()}.{name}"
            )
        target = object_types().get(RELATIONS[path[-1]][1].lower())
        field = target.fields.get(last.lower()) if target else None
        if field is None and last.lower() == "id":
            field = kind.fields["id"]
        if field is None or not field.is_exported:
            raise QueryError("INVALID_FIELD", f"invalid field for query: {name}")
        label = next(shown for shown, _ in kind.related if shown.lower() == join.lower())
        return Selected(f"{label}.{field.name}", field, path)

    def _orders(self) -> Iterator[tuple[Selected, bool]]:
        while True:
            _, name = self._take()
            field = self._field(name)
            is_descending = False
            if self._peek() in ("asc", "desc"):
                is_descending = self._expect("asc", "desc") == "desc"
            yield field, is_descending
            if self._peek() != ",":
                return
            self._take()

    # Conditions

    def _any_of(self) -> Test:
        tests = [self._all_of()]
        while self._peek() == "or":
            self._take()
            tests.append(self._all_of())
        return tests[0] if len(tests) == 1 else lambda record: any(t(record) for t in tests)

    def _all_of(self) -> Test:
        tests = [self._condition()]
        while self._peek() == "and":
            self._take()
            tests.append(self._condition())
        return tests[0] if len(tests) == 1 else lambda record: all(t(record) for t in tests)

    def _condition(self) -> Test:
        if self._peek() == "(" and self._is_export:
            self._take()
            inner = self._any_of()
            self._expect(")")
            return inner
        group, name = self._take()
        if group != "name":
            raise self._malformed(name)
        selected = self._field(name)
        sign = self._expect(
            "=", "!=", "<>", "<", ">", "<=", ">=", *(("like",) if self._is_export else ())
        )
        wanted = self._literal(selected.field)
        return self._comparison(selected, sign, wanted)

    def _literal(self, field: Field) -> Value:
        group, word = self._take()
        if group == "name":
            if word.lower() == "null":
                return None
            if word.lower() in ("true", "false") and field.type == "boolean":
                return word.lower() == "true"
            raise self._malformed(word)
        if group == "number" and field.type in ("decimal", "integer"):
            return Decimal(word)
        if group != "text":
            raise self._malformed(word)
        text = re.sub(r"\\(.)", r"\1", word[1:-1])
        try:
            if field.type == "datetime":
                moment = datetime.fromisoformat(text)
                return moment.replace(tzinfo=self._zone) if moment.tzinfo is None else moment
            if field.type == "date":
                return date.fromisoformat(text[:10])
            if field.type in ("decimal", "integer"):
                return Decimal(text)
            if field.type == "boolean":
                return text.lower() == "true"
        except (ValueError, InvalidOperation):
            raise QueryError(
                "INVALID_VALUE", f"invalid value for field {field.name}: {text}"
            ) from None
        return text

    def _comparison(self, selected: Selected, sign: str, wanted: Value) -> Test:
        tenant, kind = self._tenant, self._kind
        assert kind is not None
        name = selected.field.name

        def value(record: Record) -> Value:
            return value_of(record, selected, tenant, kind) if selected.path else record.get(name)

        if wanted is None:
            if sign in ("=",):
                return lambda record: value(record) is None
            if sign in ("!=", "<>"):
                return lambda record: value(record) is not None
            raise self._malformed(f"{sign} null")
        if sign == "like":
            pattern = re.compile(re.escape(str(wanted)).replace("%", ".*"), re.I | re.S)
            return lambda record: pattern.fullmatch(str(value(record) or "")) is not None
        if sign in ("!=", "<>"):
            return lambda record: value(record) != wanted
        if sign == "=":
            return lambda record: value(record) == wanted
        return _ordered(value, sign, wanted)


def _ordered(value: Callable[[Record], Value], sign: str, wanted: Value) -> Test:
    signs: dict[str, Callable[[object, object], bool]] = {
        "<": lambda a, b: a < b,  # type: ignore[operator]
        ">": lambda a, b: a > b,  # type: ignore[operator]
        "<=": lambda a, b: a <= b,  # type: ignore[operator]
        ">=": lambda a, b: a >= b,  # type: ignore[operator]
    }
    compare = signs[sign]

    def test(record: Record) -> bool:
        found = value(record)
        return found is not None and compare(found, wanted)

    return test
