"""A plan of statements, and the words that they are made of. Knows nothing of the catalogue's present state
but what it is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql

from meltano_assets.warehouse.roles.present import Right
from meltano_assets.warehouse.roles.wanted import Attributes, Role

#: In the order in which Postgres' own documents list them.
_ORDER = (
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
    "MAINTAIN",
    "USAGE",
    "CREATE",
)
#: Privileges, words before them, role → what they are on.
Grouped = defaultdict[tuple[frozenset[str], str, str], list[sql.Identifier]]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; ``shown`` is what people see of it where it holds a secret, ``remark`` stands behind it."""

    part: str
    text: sql.Composed
    shown: sql.Composed | None = None
    remark: str = ""

    def __str__(self) -> str:
        remark = f" -- {self.remark}" if self.remark else ""
        return (self.shown or self.text).as_string(None) + ";" + remark


@dataclass(slots=True)
class Plan:
    """What would be done. ``problems`` keep it from being done; ``notes`` are worth knowing;
    ``open_doors`` are rights of everybody that reach further than the file.
    """

    statements: list[Statement] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    open_doors: list[str] = field(default_factory=list)

    @property
    def is_settled(self) -> bool:
        """True when the database is as the file says."""
        return not (self.statements or self.problems or self.open_doors)

    def __str__(self) -> str:
        lines, part = [], ""
        for statement in self.statements:
            if statement.part != part:
                part = statement.part
                lines.append(f"-- {part}")
            lines.append(str(statement))
        return "\n".join(lines)


def difference(
    wish: frozenset[str], have: Iterable[Right]
) -> tuple[frozenset[str], list[frozenset[str]], list[frozenset[str]]]:
    """What is missing, what is too much, and what may be handed on and should not."""
    rights = set(have)
    names = {right.privilege for right in rights}
    excess = frozenset(names - wish)
    handed_on = frozenset(r.privilege for r in rights if r.is_grantable) & wish
    return frozenset(wish - names), [excess] if excess else [], [handed_on] if handed_on else []


def column_difference(
    columns: Sequence[str], have: Mapping[str, Iterable[Right]], taken: set[str]
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Columns to grant SELECT on, and by privilege those to take it from.

    What is ``taken`` from the table goes from its columns along.
    """
    less: dict[str, list[str]] = defaultdict(list)
    granted = set()
    for column, rights in have.items():
        for right in rights:
            if right.privilege in taken:
                continue
            if right.privilege == "SELECT" and column in columns and not right.is_grantable:
                granted.add(column)
            else:
                less[right.privilege].append(column)
    more = tuple(column for column in columns if column not in granted)
    return more, {privilege: tuple(sorted(names)) for privilege, names in less.items()}


def attribute_words(role: Role, known: tuple[bool, bool, Attributes] | None) -> str:
    """The attributes to be said: all that differ from what is there, or from Postgres' defaults."""
    login, is_super, before = known or (False, False, Attributes())
    wish = role.attributes
    words = []
    for word, is_wished, was in (
        ("login", role.can_login, login),
        ("superuser", role.is_superuser, is_super),
        ("createdb", wish.createdb, before.createdb),
        ("createrole", wish.createrole, before.createrole),
        ("inherit", wish.inherit, before.inherit),
        ("replication", wish.replication, before.replication),
        ("bypassrls", wish.bypassrls, before.bypassrls),
    ):
        if is_wished != was:
            words.append(word if is_wished else f"no{word}")
    if wish.connection_limit != before.connection_limit:
        words.append(f"connection limit {wish.connection_limit}")
    if wish.valid_until != before.valid_until:
        words.append(f"valid until '{_until(wish.valid_until)}'")
    return "".join(f" {word}" for word in words)


def _until(moment: datetime | None) -> str:
    return "infinity" if moment is None else moment.isoformat(sep=" ")


def privileges_of(names: Iterable[str]) -> sql.SQL:
    ordered = sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else 99, name))
    return sql.SQL(", ".join(name.lower() for name in ordered))  # type: ignore[arg-type]


def identifiers(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
