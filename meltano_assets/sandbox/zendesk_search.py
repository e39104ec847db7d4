"""Zendesk's search: its query language over tickets, users, organizations and groups.

Written from the vendor's pages "Zendesk Support search reference" and "Search API": ``key:value`` with
``:``, ``<``, ``>``, ``<=`` and ``>=``, a leading ``-`` for "not", phrases in quotes, words that any text
may begin with, ``order_by`` and ``sort``. Terms of one key are alternatives, keys narrow each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import eq, ge, gt, le, lt
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number

Records = Mapping[str, list[Record]]
_Ordered = int | str

#: More results than these are only to be had by the export.
MAX_RESULTS = 1000
TYPES = {
    "ticket": "tickets",
    "user": "users",
    "organization": "organizations",
    "group": "groups",
}
_TERM = re.compile(
    r"""(?P<not>-)?(?:(?P<key>[a-z_]\w*)(?P<sign><=|>=|[:<>]))?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))""",
    re.I,
)
_DATES = {"created": "created_at", "updated": "updated_at", "solved": "solved_at"}
_DATES |= {"due_date": "due_at", **{name: name for name in _DATES.values()}}
_PEOPLE = {"requester": "requester_id", "assignee": "assignee_id", "submitter": "submitter_id"}
_GROUPS = {"organization": ("organizations", "organization_id"), "group": ("groups", "group_id")}
_ORDERED = {
    "status": ("new", "open", "pending", "hold", "solved", "closed"),
    "priority": ("low", "normal", "high", "urgent"),
}
_TEXTS = {
    "ticket": ("subject", "description"),
    "user": ("name", "email", "notes"),
    "organization": ("name", "notes", "details"),
    "group": ("name",),
}
_UNITS = {"hour": 1, "day": 24, "week": 168, "month": 720, "year": 8760}


class SearchError(Exception):
    """A query that the service refuses."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition; without a key the value is looked for in the texts."""

    key: str
    sign: str
    value: str
    is_negated: bool = False


def parse(query: str) -> list[Term]:
    """The terms of a query."""
    terms = []
    for found in _TERM.finditer(query):
        value = found["word"] if found["phrase"] is None else found["phrase"]
        terms.append(
            Term((found["key"] or "").lower(), found["sign"] or "", value, bool(found["not"]))
        )
    return terms


def search(
    query: str,
    records: Records,
    now: datetime,
    *,
    only: str | None = None,
    sort_by: str | None = None,
    descending: bool = True,
) -> list[tuple[str, Record]]:
    """Type and record of all that the query finds; the newest first unless told otherwise."""
    terms = parse(query)
    if not terms:
        return []  # Clients probe the search without a query.
    wanted = {t.value.lower() for t in terms if t.key == "type" and not t.is_negated}
    wanted = {only} if only else wanted
    if unknown := wanted - TYPES.keys() - {"entry", "topic"}:
        raise SearchError(f"unknown type: {', '.join(sorted(unknown))}")
    orders = {t.key: t.value.lower() for t in terms if t.key in ("order_by", "sort")}
    sort_by = sort_by or orders.get("order_by")
    descending = orders.get("sort", "desc") == "desc" if "sort" in orders else descending
    by_key: dict[tuple[str, bool], list[Term]] = {}
    for number, term in enumerate(terms):
        if term.key in ("type", "order_by", "sort"):
            continue
        # A range has two ends, and every word must be there: only equal things are alternatives.
        is_alternative = term.key and term.sign == ":"
        key = term.key if is_alternative else f"{term.key} {number}"
        by_key.setdefault((key, term.is_negated), []).append(term)
    found = [
        (kind, record)
        for kind, name in TYPES.items()
        if not wanted or kind in wanted
        for record in records[name]
        if all(
            any(_fits(kind, record, term, records, now) for term in alternatives) != is_negated
            for (_, is_negated), alternatives in by_key.items()
        )
    ]
    place = _ordering(sort_by)
    return sorted(found, key=lambda pair: place(pair[1]), reverse=descending)


def _ordering(sort_by: str | None) -> Callable[[Record], tuple[object, ...]]:
    if sort_by in _ORDERED:
        ranks = _ORDERED[sort_by]
        return lambda r: (ranks.index(str(r[sort_by])) if r.get(sort_by) in ranks else -1, _id(r))
    name = _DATES.get(sort_by or "", "created_at")
    if sort_by in ("ticket_type", "type"):
        name = "type"
    return lambda record: (str(record.get(name) or ""), _id(record))


def _id(record: Record) -> int:
    return int(str(record["id"]))


def _fits(kind: str, record: Record, term: Term, records: Records, now: datetime) -> bool:
    key, value = term.key, term.value
    if not key:
        if is_number(value) and str(record["id"]) == value:
            return True
        return _begins(_texts(kind, record), value)
    if key in _DATES:
        return _in_time(str(record.get(_DATES[key]) or ""), term.sign, value, now)
    if key in _PEOPLE:
        return kind == "ticket" and _is_named(record.get(_PEOPLE[key]), value, records["users"])
    if key in _GROUPS:
        name, reference = _GROUPS[key]
        return _is_named(record.get(reference), value, records[name])
    if key in _ORDERED:
        return _in_order(record.get(key), term.sign, value.lower(), _ORDERED[key])
    if key in ("tags", "tag"):
        tags = record.get("tags")
        names = [str(tag).lower() for tag in tags] if isinstance(tags, list) else []
        return not names if value.lower() == "none" else value.lower() in names
    if key in ("ticket_type", "via"):
        told = record.get("type") if key == "ticket_type" else record.get("via")
        channel = told.get("channel") if isinstance(told, dict) else told
        return kind == "ticket" and str(channel or "none").lower() == value.lower()
    if key not in record:
        return False
    told = record.get(key)
    if value.lower() == "none":
        return told in (None, "")
    if isinstance(told, bool):
        return str(told).lower() == value.lower()
    text = str(told if told is not None else "").lower()
    return _begins([text], value) if "*" in value else value.lower() in text


def _texts(kind: str, record: Record) -> list[str]:
    texts = [str(record.get(name) or "").lower() for name in _TEXTS[kind]]
    tags = record.get("tags")
    return [*texts, *(str(tag).lower() for tag in tags)] if isinstance(tags, list) else texts


def _begins(texts: Iterable[str], value: str) -> bool:
    """Does a word, or the phrase, stand in one of the texts? ``*`` stands for anything."""
    pattern = r"\b" + re.escape(value.lower()).replace(r"\*", r"\w*") + r"\b"
    return any(re.search(pattern, text) for text in texts)


def _is_named(number: object, value: str, among: list[Record]) -> bool:
    if value.lower() == "none" or number is None:
        return value.lower() == "none" and number is None
    if value.lower() == "me":
        return number == among[0]["id"]
    if str(number) == value:
        return True
    record = next((r for r in among if r["id"] == number), None)
    told = [record.get("name"), record.get("email")] if record else []
    return any(value.lower() in str(text or "").lower() for text in told)


def _in_order(told: object, sign: str, value: str, ranks: tuple[str, ...]) -> bool:
    if value not in ranks or told not in ranks:
        return value == "none" and told is None
    return _compared(ranks.index(str(told)), sign, ranks.index(value))


def _compared(left: _Ordered, sign: str, right: _Ordered) -> bool:
    compare: Callable[[Any, Any], bool] = {":": eq, "<": lt, "<=": le, ">": gt, ">=": ge}[sign]
    return compare(left, right)


def _in_time(told: str, sign: str, value: str, now: datetime) -> bool:
    if not told:
        return False
    if relative := re.fullmatch(r"(\d+)(hour|day|week|month|year)s?", value.lower()):
        hours = int(relative[1]) * _UNITS[relative[2]]
        bound = (now - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _compared(told, sign, bound)
    if re.fullmatch(r"\d{4}(-\d\d){0,2}", value):
        # Days, months and years are compared as such.
        return _compared(told[: len(value)], sign, value)
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise SearchError(f"invalid date: {value}") from error
    utc = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return _compared(told, sign, utc.strftime("%Y-%m-%dT%H:%M:%SZ"))
