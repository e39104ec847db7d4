"""The parameter ``q`` of NetSuite's collections: ``companyName START_WITH "A" AND id ANY_OF [1, 2]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from meltano_assets.sandbox.company_books import Ref, customs_of
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.netsuite_wire import ACCOUNT_ZONE, as_moment

Condition = Callable[[Record], bool]
_TOKENS = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\[[^\]]*\]|[()]|[^\s()\[\]"]+)')
_DATES = ("%m/%d/%Y", "%Y-%m-%d", "%m/%d/%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")
_MOST_DEPTH = 50


class FilterError(Exception):
    """A filter that cannot be read; the message is for the client."""


def parse_filter(text: str, known: frozenset[str]) -> Condition:
    """The condition of a filter; ``known`` are the fields of the record type in small letters."""
    tokens, place = [], 0
    while place < len(text.rstrip()):
        found = _TOKENS.match(text, place)
        if found is None:
            raise FilterError(f"Invalid query filter near position {place}.")
        tokens.append(found[1])
        place = found.end()
    parser = _Parser(tokens, known)
    condition = parser.either(0)
    if parser.tokens:
        raise FilterError(f"Invalid query filter: unexpected {parser.tokens[0]}.")
    return condition


class _Parser:
    def __init__(self, tokens: list[str], known: frozenset[str]) -> None:
        self.tokens = tokens
        self._known = known

    def either(self, depth: int) -> Condition:
        if depth > _MOST_DEPTH:
            raise FilterError("Invalid query filter: too many parentheses.")
        parts = [self._both(depth)]
        while self._next_is("OR"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda record: any(p(record) for p in parts)

    def _both(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._next_is("AND"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else lambda record: all(p(record) for p in parts)

    def _next_is(self, word: str) -> bool:
        if self.tokens and self.tokens[0].upper() == word:
            self.tokens.pop(0)
            return True
        return False

    def _take(self) -> str:
        if not self.tokens:
            raise FilterError("Invalid query filter: it ends too early.")
        return self.tokens.pop(0)

    def _one(self, depth: int) -> Condition:
        if self._next_is("("):
            inside = self.either(depth + 1)
            if not self._next_is(")"):
                raise FilterError("Invalid query filter: a parenthesis is missing.")
            return inside
        field = self._take()
        if field.lower() not in self._known:
            raise FilterError(f"Field '{field}' is not filterable or does not exist.")
        operator = self._take().upper()
        is_negated = operator.endswith("_NOT")
        base = operator.removesuffix("_NOT")
        if base not in _OPERATORS and base not in ("EMPTY", *_AT):
            raise FilterError(f"Unknown operator '{operator}'.")
        if base == "EMPTY":
            return lambda record: (_value(record, field) in (None, "", [])) is not is_negated
        wanted = _operands(self._take())
        if base in _AT:
            span = _day(wanted[0])
            holds_at = _AT[base]

            def at(record: Record) -> bool:
                moment = as_moment(_value(record, field))
                return moment is not None and holds_at(moment, *span) is not is_negated

            return at
        holds = _OPERATORS[base]
        return lambda record: holds(_texts(_value(record, field)), wanted) is not is_negated


_OPERATORS: dict[str, Callable[[list[str], list[str]], bool]] = {
    "IS": lambda seen, wanted: _bools(seen) == _bools(wanted[:1]),
    "CONTAIN": lambda seen, wanted: wanted[0].casefold() in _first(seen),
    "START_WITH": lambda seen, wanted: _first(seen).startswith(wanted[0].casefold()),
    "END_WITH": lambda seen, wanted: _first(seen).endswith(wanted[0].casefold()),
    "ANY_OF": lambda seen, wanted: not set(seen).isdisjoint(wanted),
    "EQUAL": lambda seen, wanted: _number(seen) == _number(wanted),
    "GREATER": lambda seen, wanted: _compared(seen, wanted, 1),
    "GREATER_OR_EQUAL": lambda seen, wanted: _compared(seen, wanted, 1, 0),
    "LESS": lambda seen, wanted: _compared(seen, wanted, -1),
    "LESS_OR_EQUAL": lambda seen, wanted: _compared(seen, wanted, -1, 0),
    "BETWEEN": lambda seen, wanted: (
        _compared(seen, wanted[:1], 1, 0) and _compared(seen, wanted[-1:], -1, 0)
    ),
    "WITHIN": lambda seen, wanted: (
        _compared(seen, wanted[:1], 1, 0) and _compared(seen, wanted[-1:], -1, 0)
    ),
}
#: Operator → (value, begin of the day, its end). What is after a day begins with its midnight, so
#: that windows which end where the next one begins lose nothing.
_AT: dict[str, Callable[[datetime, datetime, datetime], bool]] = {
    "AFTER": lambda value, begin, _end: value > begin,
    "BEFORE": lambda value, begin, _end: value < begin,
    "ON": lambda value, begin, end: begin <= value < end,
    "ON_OR_AFTER": lambda value, begin, _end: value >= begin,
    "ON_OR_BEFORE": lambda value, _begin, end: value < end,
}


def _operands(token: str) -> list[str]:
    if token.startswith("["):
        return [item.strip().strip('"') for item in token[1:-1].split(",")]
    if token.startswith('"'):
        return [re.sub(r"\\(.)", r"\1", token[1:-1])]
    return [token]


def _value(record: Record, field: str) -> object:
    wanted = {"id": "internalid"}.get(field.lower(), field.lower())
    for name, value in record.items():
        if name.lower() == wanted:
            return value
    return next((c.value for c in customs_of(record) if c.script_id.lower() == wanted), None)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [
        item.id if isinstance(item, Ref) else "" if item is None else str(item) for item in values
    ]


def _first(seen: list[str]) -> str:
    return seen[0].casefold() if seen else ""


def _bools(values: list[str]) -> list[str]:
    words = {"t": "true", "f": "false"}
    return [words.get(value.casefold(), value.casefold()) for value in values]


def _number(values: list[str]) -> float | None:
    try:
        return float(values[0])
    except (ValueError, IndexError):
        return None


def _compared(seen: list[str], wanted: list[str], *signs: int) -> bool:
    one, other = _number(seen), _number(wanted)
    if other is None:
        raise FilterError(f"'{wanted[0] if wanted else ''}' is not a number.")
    return one is not None and (one > other) - (one < other) in signs


def _day(text: str) -> tuple[datetime, datetime]:
    for pattern in _DATES:
        try:
            begin = datetime.strptime(text, pattern).replace(tzinfo=ACCOUNT_ZONE)
        except ValueError:
            continue
        if "H" in pattern:
            return begin, begin + timedelta(seconds=1)
        return begin, begin + timedelta(days=1)
    raise FilterError(f"Parsing '{text}' failed with date format M/d/yyyy.")
