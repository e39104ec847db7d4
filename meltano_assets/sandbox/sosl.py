"""SOSL text → a tree, and what its search expression means for one text.

The grammar follows the vendor's "SOSL Syntax" pages: ``FIND {…}``, the group of fields, ``RETURNING``
with the clauses of SOQL for each object, ``WITH`` and an overall limit. Knows no org: objects and
fields are checked by ``soql_sqlite``. Errors carry the vendor's code and its message form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from meltano_assets.sandbox.soql import Parser, Path, Query, Selected, SoqlError, error_at

GROUPS = ("all", "name", "email", "phone", "sidebar")
#: What means something in a search expression, so that it must be escaped to be looked for.
RESERVED = frozenset("?&|!{}[]()^~*:\\\"'+-")
_OPERATORS = frozenset('?*()"')
_NO_TERM = "No search term found. The search term must be enclosed in braces."
_PREFIX = re.compile(r"\s*find\b\s*", re.I)


@dataclass(frozen=True, slots=True)
class Term:
    """A word or a phrase, with its wildcards."""

    pattern: str
    """A regular expression for the texts in which it stands."""


@dataclass(frozen=True, slots=True)
class Combined:
    operator: Literal["AND", "OR", "AND NOT"]
    left: Expression
    right: Expression


Expression = Term | Combined


@dataclass(slots=True)
class Search:
    """One search: what is looked for, in which fields, and what is told of the records found."""

    expression: Expression
    group: str = "all"
    returning: list[Query] = field(default_factory=list)
    """Empty: the ids of everything."""
    limit: int | None = None
    with_labels: bool = False
    text: str = ""


def parse(text: str) -> Search:
    """The tree of a search; raises ``SoqlError`` as the vendor words it."""
    try:
        return _parsed(text)
    except SoqlError as error:
        if error.code != "MALFORMED_QUERY":
            raise
        raise SoqlError("MALFORMED_SEARCH", error.message) from error


def _parsed(text: str) -> Search:
    prefix = _PREFIX.match(text)
    if prefix is None or text[prefix.end() : prefix.end() + 1] != "{":
        raise SoqlError("MALFORMED_SEARCH", _NO_TERM)
    words = _Words(text, prefix.end() + 1)
    expression = words.expression()
    rest = _Clauses(text, words.close())
    return rest.search(expression)


# --- the expression ------------------------------------------------------------------------


class _Words:
    """``{john AND (smith* OR "mary ann")}``: braces around, operators between."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.tokens = list(self.read(start))
        self.index = 0

    def read(self, position: int) -> Iterator[tuple[str, str, int]]:
        """Kind, text and place; the text of a term is its pattern."""
        while (char := self.char(position)) != "}":
            if char.isspace():
                position += 1
            elif char in "()":
                yield char, char, position
                position += 1
            else:
                start = position
                quoted = char == '"'
                literal, position = self.term(position + quoted, quoted=quoted)
                plain = "".join(char for char, _ in literal)
                if not quoted and plain.upper() in ("AND", "OR", "NOT"):
                    yield plain.upper(), plain, start
                elif any(char.isalnum() or is_wildcard for char, is_wildcard in literal):
                    yield "term", self.pattern(literal), start
        yield "end", "", position

    def char(self, position: int) -> str:
        if position < len(self.text):
            return self.text[position]
        raise self.mismatched("<EOF>", position)

    def mismatched(self, char: str, position: int) -> SoqlError:
        before = self.text.rfind("\n", 0, position)
        line, column = self.text.count("\n", 0, position) + 1, position - before - 1
        message = f"line {line}:{column} mismatched character '{char}' expecting '}}'"
        return error_at("MALFORMED_SEARCH", self.text, position - 1, message)

    def term(self, position: int, *, quoted: bool) -> tuple[list[tuple[str, bool]], int]:
        """Characters, each with whether it is a wildcard, and the place behind them."""
        found: list[tuple[str, bool]] = []
        while True:
            char = self.char(position)
            if quoted and char == '"':
                return found, position + 1
            if not quoted and (char.isspace() or char in '}()"'):
                return found, position
            if char == "\\":
                position += 1
                found.append((self.char(position), False))
            elif char in "*?":
                found.append((char, True))
            elif char in RESERVED and not (quoted and char != "}"):
                raise self.mismatched(char, position)
            else:
                found.append((char, False))
            position += 1

    def pattern(self, literal: list[tuple[str, bool]]) -> str:
        """Words end where letters become digits, as the vendor's do; a wildcard leads no word."""
        while literal and (literal[0][1] or not literal[0][0].isalnum()):
            literal = literal[1:]
        letters = [char for char, is_wildcard in literal if not is_wildcard and char.isalnum()]
        if len(letters) < 2 and "".join(letters).isascii():
            shown = "".join(char for char, _ in literal) or "*"
            raise SoqlError(
                "MALFORMED_SEARCH", f"search term must be longer than one character: {shown}"
            )
        parts: list[str] = []
        before = ""
        for char, is_wildcard in literal:
            kind = "*" if is_wildcard else _kind(char)
            if is_wildcard:
                parts.append(r"[^\W_]*" if char == "*" else r"[^\W_]")
            elif not kind:
                if before:
                    parts.append(r"[\W_]+")
            else:
                if not before:
                    parts.append(f"(?<!{kind})")
                elif before not in ("*", kind):
                    parts.append(r"[\W_]*")
                parts.append(re.escape(char))
            before = kind
        while parts and parts[-1] == r"[\W_]+":
            parts.pop()
        last = next(_kind(char) for char, _ in reversed(literal) if char.isalnum())
        return "".join(parts) if literal[-1] == ("*", True) else "".join([*parts, f"(?!{last})"])

    # operators

    @property
    def kind(self) -> str:
        return self.tokens[self.index][0]

    def unexpected(self) -> SoqlError:
        _, shown, position = self.tokens[self.index]
        message = f"unexpected token: {shown or '}'}"
        return error_at("MALFORMED_SEARCH", self.text, position, message)

    def expression(self) -> Expression:
        found = self.all_of()
        while self.kind == "OR":
            self.index += 1
            found = Combined("OR", found, self.all_of())
        return found

    def all_of(self) -> Expression:
        found = self.unit()
        while self.kind in ("AND", "term", "("):
            operator: Literal["AND", "AND NOT"] = "AND"
            if self.kind == "AND":
                self.index += 1
                if self.kind == "NOT":
                    self.index += 1
                    operator = "AND NOT"
            found = Combined(operator, found, self.unit())
        return found

    def unit(self) -> Expression:
        kind, pattern, _ = self.tokens[self.index]
        if kind == "end" and self.index == 0:
            raise SoqlError("MALFORMED_SEARCH", _NO_TERM)
        if kind not in ("term", "("):
            raise self.unexpected()
        self.index += 1
        if kind == "term":
            return Term(pattern)
        found = self.expression()
        if self.kind != ")":
            raise self.unexpected()
        self.index += 1
        return found

    def close(self) -> int:
        """The place behind the closing brace."""
        if self.kind != "end":
            raise self.unexpected()
        return self.tokens[self.index][2] + 1


def _kind(char: str) -> str:
    """The class of characters that a word's character belongs to; empty between words."""
    if char.isdecimal():
        return r"\d"
    return r"[^\W\d_]" if char.isalnum() else ""


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.I)


def stands_in(pattern: str, text: str) -> bool:
    """Does a term's pattern find something?"""
    return _compiled(pattern).search(text) is not None


# --- the other clauses ---------------------------------------------------------------------


class _Clauses(Parser):
    """What follows the braces."""

    def search(self, expression: Expression) -> Search:
        search = Search(expression, text=self.soql)
        if self.accept("in"):
            search.group = self.group()
        if self.accept("returning"):
            search.returning.append(self.returned())
            while self.accept_punct(","):
                search.returning.append(self.returned())
        while self.accept("with"):
            search.with_labels |= self.with_clause()
        if self.accept("limit"):
            search.limit = self.whole_number()
        if self.accept("update"):
            self.word()
            while self.accept_punct(","):
                self.word()
        if self.peek.kind != "end":
            raise self.unexpected()
        return search

    def group(self) -> str:
        for words in (GROUPS, ("fields",)):
            token = self.next()
            if token.text.lower() not in words:
                message = f"Malformed search token: {token.text}"
                raise error_at("MALFORMED_SEARCH", self.soql, token.position - 1, message)
        return self.tokens[self.index - 2].text.lower()

    def returned(self) -> Query:
        name = self.word()
        only_id = Selected(Path(("Id",), name.position), position=name.position)
        query = Query(name.text, name.position, [only_id], text=self.soql)
        if not self.accept_punct("("):
            return query
        query.selected = [self.selected(is_nested=True)]
        while self.accept_punct(","):
            query.selected.append(self.selected(is_nested=True))
        if self.accept("where"):
            query.where = self.condition()
        self.ordering(query)
        self.expect_punct(")")
        if query.is_aggregate:
            message = "Aggregate functions are not allowed in a search"
            raise error_at("MALFORMED_SEARCH", self.soql, name.position, message)
        return query

    def with_clause(self) -> bool:
        """``WITH METADATA = 'LABELS'`` matters; the others change no record that is found."""
        name = self.word().text.lower()
        if self.peek.kind == "operator":
            self.next()
            value = self.value().text.lower()
            return name == "metadata" and value == "labels"
        if self.accept_punct("("):
            while not self.accept_punct(")"):
                if self.next().kind == "end":
                    raise self.unexpected()
        return False
