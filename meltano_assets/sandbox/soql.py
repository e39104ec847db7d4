"""SOQL text → a tree. Knows the grammar, not the org: names are checked by ``soql_sqlite``.

The grammar follows the vendor's "SOQL SELECT Syntax" page: fields with relationship paths, child
subqueries, aggregates and aliases, ``FIELDS()``, date functions, conditions with semi-joins and
date literals, grouping, ordering, limit and offset. Errors carry the vendor's code and its
message form, with the place of the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from meltano_assets.sandbox.numbers import is_number

AGGREGATES = ("count", "count_distinct", "sum", "min", "max", "avg")
DATE_FUNCTIONS = (
    "calendar_year",
    "calendar_quarter",
    "calendar_month",
    "day_in_month",
    "day_in_week",
    "day_in_year",
    "day_only",
    "hour_in_day",
    "week_in_year",
)
_WRAPPERS = ("tolabel", "format", "convertcurrency", "converttimezone")
_RANGE_WORDS = frozenset(
    [
        "yesterday",
        "today",
        "tomorrow",
        "last_week",
        "this_week",
        "next_week",
        "last_month",
        "this_month",
        "next_month",
        "last_90_days",
        "next_90_days",
        "this_quarter",
        "last_quarter",
        "next_quarter",
        "this_year",
        "last_year",
        "next_year",
        "this_fiscal_quarter",
        "last_fiscal_quarter",
        "next_fiscal_quarter",
        "this_fiscal_year",
        "last_fiscal_year",
        "next_fiscal_year",
    ]
)
_RANGE_N_WORDS = frozenset(
    [
        "last_n_days",
        "next_n_days",
        "n_days_ago",
        "last_n_weeks",
        "next_n_weeks",
        "n_weeks_ago",
        "last_n_months",
        "next_n_months",
        "n_months_ago",
        "last_n_quarters",
        "next_n_quarters",
        "n_quarters_ago",
        "last_n_years",
        "next_n_years",
        "n_years_ago",
    ]
)


class SoqlError(Exception):
    """A query that Salesforce would refuse."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def error_at(code: str, soql: str, position: int, message: str) -> SoqlError:
    """The vendor's form: the text around the place, a caret, row and column, the reason."""
    position = min(max(position, 0), len(soql))
    line_start = soql.rfind("\n", 0, position) + 1
    line_end = soql.find("\n", position)
    line = soql[line_start : line_end if line_end >= 0 else len(soql)]
    column = position - line_start
    start = max(0, column - 40)
    window = line[start : column + 40]
    row = soql.count("\n", 0, position) + 1
    pointer = " " * (column - start) + "^"
    return SoqlError(
        code,
        f"\n{window}\n{pointer}\nERROR at Row:{row}:Column:{column + 1}\n{message}",
    )


class Token(NamedTuple):
    kind: str
    text: str
    position: int


_TOKENS = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<datetime>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|z|[+-]\d{2}:?\d{2})?)"
    r"|(?P<date>\d{4}-\d{2}-\d{2})"
    r"|(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<currency>[A-Za-z]{3}\d+(?:\.\d+)?(?![A-Za-z0-9_]))"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<string>'(?:[^'\\]|\\.)*')"
    r"|(?P<operator><=|>=|!=|<>|=|<|>)"
    r"|(?P<punct>[(),:])",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _tokens(soql: str, position: int) -> Iterator[Token]:
    while position < len(soql):
        match = _TOKENS.match(soql, position)
        if not match:
            char = soql[position]
            if char == "'":
                raise SoqlError(
                    "MALFORMED_QUERY",
                    f"line 1:{position} mismatched character '<EOF>' expecting '''",
                )
            raise SoqlError(
                "MALFORMED_QUERY", f"line 1:{position} no viable alternative at character '{char}'"
            )
        kind = match.lastgroup or ""
        if kind != "space":
            yield Token(kind, match.group(), position)
        position = match.end()
    yield Token("end", "<EOF>", len(soql))


def unescape(body: str, *, for_like: bool = False) -> str:
    r"""The text of a quoted literal; for LIKE, wildcards become SQL's and ``\`` the escape."""
    out = []
    index = 0
    while index < len(body):
        char = body[index]
        index += 1
        if char != "\\":
            out.append(char)
            continue
        char = body[index]
        index += 1
        if char in "_%":
            out.append("\\" + char if for_like else char)
        elif char == "u" and re.match(r"[0-9A-Fa-f]{4}", body[index : index + 4]):
            out.append(chr(int(body[index : index + 4], 16)))
            index += 4
        elif char.lower() in _ESCAPES:
            out.append(_ESCAPES[char.lower()])
        elif char in "'\"\\":
            out.append("\\\\" if for_like and char == "\\" else char)
        else:
            raise SoqlError("MALFORMED_QUERY", f"Invalid string literal: illegal escape '\\{char}'")
    return "".join(out)


# --- the tree ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Path:
    """A field, perhaps through relationships: ``Account.Owner.Name``."""

    names: tuple[str, ...]
    position: int
    function: str = ""
    """A date function around it."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    function: str
    path: Path | None
    position: int


LiteralKind = Literal["string", "number", "boolean", "null", "date", "datetime", "range"]


@dataclass(frozen=True, slots=True)
class Value:
    kind: LiteralKind
    text: str
    position: int
    number: int = 0
    """The ``n`` of ``LAST_N_DAYS:n``."""


@dataclass(frozen=True, slots=True)
class Comparison:
    subject: Path | Aggregate
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Membership:
    subject: Path
    is_negated: bool
    values: tuple[Value, ...] = ()
    query: Query | None = None


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


@dataclass(frozen=True, slots=True)
class Junction:
    operator: Literal["AND", "OR"]
    conditions: tuple[Condition, ...]


Condition = Comparison | Membership | Not | Junction


@dataclass(frozen=True, slots=True)
class TypeOf:
    """``TYPEOF What WHEN Account THEN Phone ELSE Name END``: the fields by the object found."""

    path: Path
    branches: tuple[tuple[Token, tuple[Path, ...]], ...]
    otherwise: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Selected:
    """One item of the select list."""

    item: Path | Aggregate | TypeOf | Query | str
    """``str`` is the argument of ``FIELDS()``: all, standard or custom."""
    alias: str = ""
    position: int = 0
    is_wrapped: bool = False
    """In ``toLabel()`` or its like, which may be renamed."""


@dataclass(frozen=True, slots=True)
class Order:
    subject: Path | Aggregate
    is_descending: bool = False
    nulls_last: bool = False


@dataclass(slots=True)
class Query:
    object_name: str
    object_position: int
    selected: list[Selected]
    alias: str = ""
    where: Condition | None = None
    group_by: list[Path] = field(default_factory=list)
    having: Condition | None = None
    order_by: list[Order] = field(default_factory=list)
    limit: int | None = None
    offset: int | None = None
    all_rows: bool = False
    text: str = ""

    @property
    def is_count(self) -> bool:
        """``SELECT COUNT() FROM …``."""
        first = self.selected[0].item
        return isinstance(first, Aggregate) and first.path is None

    @property
    def is_aggregate(self) -> bool:
        return bool(self.group_by) or any(isinstance(s.item, Aggregate) for s in self.selected)


# --- the parser ----------------------------------------------------------------------------

_CLAUSES = frozenset(
    [
        "where",
        "group",
        "order",
        "limit",
        "offset",
        "having",
        "for",
        "with",
        "using",
        "all",
        "update",
    ]
)


def parse(soql: str) -> Query:
    """The tree of a query; raises ``SoqlError`` as the vendor words it."""
    return Parser(soql).parse()


class Parser:
    """The clauses of a query, one method each; SOSL has some of them too, behind its own ``start``."""

    def __init__(self, soql: str, start: int = 0) -> None:
        self.soql = soql
        self.tokens = list(_tokens(soql, start))
        self.index = 0

    def parse(self) -> Query:
        query = self.query(is_nested=False)
        if self.peek.kind != "end":
            raise self.unexpected()
        return query

    # tokens

    @property
    def peek(self) -> Token:
        return self.tokens[self.index]

    def next(self) -> Token:
        token = self.tokens[self.index]
        if token.kind != "end":
            self.index += 1
        return token

    def unexpected(self, token: Token | None = None) -> SoqlError:
        token = token or self.peek
        text = token.text if token.kind == "end" else f"'{token.text}'"
        return error_at("MALFORMED_QUERY", self.soql, token.position, f"unexpected token: {text}")

    def is_word(self, *words: str) -> bool:
        return self.peek.kind == "word" and self.peek.text.lower() in words

    def accept(self, word: str) -> bool:
        if self.is_word(word):
            self.index += 1
            return True
        return False

    def expect(self, word: str) -> Token:
        if not self.is_word(word):
            raise self.unexpected()
        return self.next()

    def accept_punct(self, char: str) -> bool:
        if self.peek.kind == "punct" and self.peek.text == char:
            self.index += 1
            return True
        return False

    def expect_punct(self, char: str) -> None:
        if not self.accept_punct(char):
            raise self.unexpected()

    def word(self) -> Token:
        if self.peek.kind != "word":
            raise self.unexpected()
        return self.next()

    # clauses

    def query(self, *, is_nested: bool) -> Query:
        self.expect("select")
        selected = [self.selected(is_nested=is_nested)]
        while self.accept_punct(","):
            selected.append(self.selected(is_nested=is_nested))
        self.expect("from")
        name = self.word()
        query = Query(name.text, name.position, selected, text=self.soql)
        if self.accept("as") or (self.peek.kind == "word" and not self.is_word(*_CLAUSES)):
            query.alias = self.word().text
        if self.accept("using"):
            self.expect("scope")
            self.word()
        if self.accept("where"):
            query.where = self.condition()
        while self.accept("with"):
            self.word()
        if self.accept("group"):
            self.expect("by")
            query.group_by.append(self.path())
            while self.accept_punct(","):
                query.group_by.append(self.path())
        if self.accept("having"):
            query.having = self.condition()
        self.ordering(query)
        if self.accept("all"):
            self.expect("rows")
            query.all_rows = True
        while self.accept("for"):
            self.word()
        return query

    def ordering(self, query: Query) -> None:
        """``ORDER BY … LIMIT … OFFSET …``, each as may be."""
        if self.accept("order"):
            self.expect("by")
            query.order_by.append(self.order())
            while self.accept_punct(","):
                query.order_by.append(self.order())
        if self.accept("limit"):
            query.limit = self.whole_number()
        if self.accept("offset"):
            query.offset = self.whole_number()

    def whole_number(self) -> int:
        token = self.next()
        if token.kind != "number" or not is_number(token.text):
            raise self.unexpected(token)
        return int(token.text)

    def selected(self, *, is_nested: bool) -> Selected:
        position = self.peek.position
        if self.accept_punct("("):
            if is_nested:
                raise self.unexpected(self.tokens[self.index - 1])
            query = self.query(is_nested=True)
            self.expect_punct(")")
            return Selected(query, position=position)
        if self.is_word("fields") and self.tokens[self.index + 1].text == "(":
            self.index += 2
            argument = self.word().text.lower()
            self.expect_punct(")")
            if argument not in ("all", "standard", "custom"):
                raise self.unexpected(self.tokens[self.index - 2])
            return Selected(argument, position=position)
        if self.is_word("typeof") and self.tokens[self.index + 1].kind == "word":
            return Selected(self.type_of(), position=position)
        is_wrapped = self.is_word(*_WRAPPERS) and self.tokens[self.index + 1].text == "("
        item = self.path_or_aggregate()
        alias = ""
        if self.peek.kind == "word" and not self.is_word("from", *_CLAUSES):
            alias = self.next().text
        return Selected(item, alias, position, is_wrapped)

    def type_of(self) -> TypeOf:
        self.expect("typeof")
        path = self.path()
        branches = []
        while self.accept("when"):
            name = self.word()
            self.expect("then")
            branches.append((name, self.paths()))
        if not branches:
            raise self.unexpected()
        otherwise = self.paths() if self.accept("else") else ()
        self.expect("end")
        return TypeOf(path, tuple(branches), otherwise)

    def paths(self) -> tuple[Path, ...]:
        found = [self.path()]
        while self.accept_punct(","):
            found.append(self.path())
        return tuple(found)

    def path_or_aggregate(self) -> Path | Aggregate:
        token = self.peek
        if token.kind == "word" and self.tokens[self.index + 1].text == "(":
            name = token.text.lower()
            if name in AGGREGATES:
                self.index += 2
                path = None
                if not self.accept_punct(")"):
                    path = self.path()
                    self.expect_punct(")")
                if path is None and name != "count":
                    raise self.unexpected(self.tokens[self.index - 1])
                return Aggregate(name, path, token.position)
        return self.path()

    def path(self) -> Path:
        token = self.word()
        name = token.text.lower()
        if self.peek.kind == "punct" and self.peek.text == "(":
            if name not in DATE_FUNCTIONS and name not in _WRAPPERS:
                raise self.unexpected()
            self.index += 1
            inner = self.path()
            self.expect_punct(")")
            if name in _WRAPPERS:
                return inner
            return Path(inner.names, inner.position, function=name)
        return Path(tuple(token.text.split(".")), token.position)

    def order(self) -> Order:
        subject = self.path_or_aggregate()
        is_descending = False
        if self.accept("desc"):
            is_descending = True
        else:
            self.accept("asc")
        nulls_last = False
        if self.accept("nulls"):
            if self.accept("last"):
                nulls_last = True
            else:
                self.expect("first")
        return Order(subject, is_descending, nulls_last)

    # conditions

    def condition(self) -> Condition:
        first = self.negation()
        if not self.is_word("and", "or"):
            return first
        operator = self.peek.text.upper()
        conditions = [first]
        while self.is_word("and", "or"):
            # Salesforce refuses AND beside OR without parentheses.
            if self.peek.text.upper() != operator:
                raise self.unexpected()
            self.index += 1
            conditions.append(self.negation())
        return Junction("AND" if operator == "AND" else "OR", tuple(conditions))

    def negation(self) -> Condition:
        if self.accept("not"):
            return Not(self.negation())
        if self.accept_punct("("):
            inner = self.condition()
            self.expect_punct(")")
            return inner
        return self.comparison()

    def comparison(self) -> Condition:
        subject = self.path_or_aggregate()
        token = self.next()
        if token.kind == "operator":
            operator = "!=" if token.text == "<>" else token.text
            return Comparison(subject, operator, self.value())
        word = token.text.lower() if token.kind == "word" else ""
        if word == "like":
            return Comparison(subject, "LIKE", self.value())
        if word in ("in", "not") and isinstance(subject, Path):
            if word == "not":
                self.expect("in")
            return self.membership(subject, is_negated=word == "not")
        if word in ("includes", "excludes") and isinstance(subject, Path):
            self.index -= 1
            raise self.unexpected()
        raise self.unexpected(token)

    def membership(self, subject: Path, *, is_negated: bool) -> Membership:
        self.expect_punct("(")
        if self.is_word("select"):
            query = self.query(is_nested=True)
            self.expect_punct(")")
            return Membership(subject, is_negated, query=query)
        values = [self.value()]
        while self.accept_punct(","):
            values.append(self.value())
        self.expect_punct(")")
        return Membership(subject, is_negated, tuple(values))

    def value(self) -> Value:
        token = self.next()
        kind, text, position = token
        if kind == "string":
            return Value("string", text[1:-1], position)
        if kind == "number":
            return Value("number", text, position)
        if kind == "currency":
            return Value("number", text[3:], position)
        if kind == "date":
            return Value("date", text, position)
        if kind == "datetime":
            return Value("datetime", text.upper(), position)
        word = text.lower()
        if kind == "word":
            if word == "null":
                return Value("null", "", position)
            if word in ("true", "false"):
                return Value("boolean", word, position)
            if word in _RANGE_WORDS:
                return Value("range", word, position)
            if word in _RANGE_N_WORDS:
                self.expect_punct(":")
                return Value("range", word, position, number=self.whole_number())
        raise self.unexpected(token)
