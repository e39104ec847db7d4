"""Stripe's search: its query language over charges, customers, invoices, prices, products, subscriptions.

Written from the vendor's page "Search": ``field:"value"``, ``field~"part"``, ``field>1``, ``-`` before a
clause, ``metadata["key"]``, ``null``, and either AND or OR between clauses, never both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from operator import ge, gt, le, lt
from typing import Any

from meltano_assets.sandbox.company_sales import Record

#: What may be searched by, as the vendor lists it.
FIELDS: dict[str, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        "charge": "amount billing_details.address.postal_code created currency customer disputed "
        "metadata payment_method_details.card.brand payment_method_details.card.last4 refunded status",
        "customer": "created email metadata name phone",
        "invoice": "created currency customer metadata number receipt_number subscription total status",
        "payment_intent": "amount created currency customer metadata status",
        "price": "active currency lookup_key metadata product type created",
        "product": "active description metadata name shippable url created",
        "subscription": "canceled_at created metadata status",
    }.items()
}
_CLAUSE = re.compile(
    r"""\s*(?P<not>-)?(?P<field>[a-z_][\w.]*)(?:\[["'](?P<key>[^"']+)["']\])?
    \s*(?P<sign>>=|<=|[:~<>])\s*(?:(?P<quote>["'])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P=quote)
    |(?P<word>[\w.]+))\s*""",
    re.X | re.I,
)
_JOINT = re.compile(r"(AND|OR)\b|(?=-?[a-z_])", re.I)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
Test = Callable[[Record], bool]


class SearchError(Exception):
    """A query that Stripe refuses."""


def found(kind: str, query: str, records: Iterable[Record]) -> list[Record]:
    """The records that the query finds, in their order."""
    tests: list[Test] = []
    joints: set[str] = set()
    place = 0
    while True:
        clause = _CLAUSE.match(query, place)
        if clause is None:
            raise SearchError(f"We were unable to parse your search query near {query[place:]!r}.")
        tests.append(_test(kind, clause))
        place = clause.end()
        if place >= len(query):
            break
        joint = _JOINT.match(query, place)
        if joint is None:
            raise SearchError(f"We were unable to parse your search query near {query[place:]!r}.")
        joints.add((joint[1] or "AND").upper())
        place = joint.end()
    if len(joints) > 1:
        raise SearchError("You can't combine AND and OR in the same query.")
    join = any if "OR" in joints else all
    return [record for record in records if join(test(record) for test in tests)]


def _test(kind: str, clause: re.Match[str]) -> Test:
    name, key = clause["field"].lower(), clause["key"]
    if name not in FIELDS[kind] or (name == "metadata") != (key is not None):
        raise SearchError(f"Field `{name}` is an unsupported search field for resource `{kind}s`.")
    sign, is_negated = clause["sign"], bool(clause["not"])
    wanted = clause["word"] if clause["text"] is None else re.sub(r"\\(.)", r"\1", clause["text"])
    is_null = clause["word"] is not None and wanted.lower() == "null"
    if sign in _SIGNS and not re.fullmatch(r"-?\d+(\.\d+)?", wanted):
        raise SearchError(f"`{sign}` needs a number, not {wanted!r}.")

    def test(record: Record) -> bool:
        told = _told(record, name, key)
        if is_null:
            fits = told is None
        elif sign in _SIGNS:
            fits = isinstance(told, int | float) and _SIGNS[sign](told, float(wanted))
        elif told is None:
            fits = False
        else:
            text = str(told).lower()
            fits = wanted.lower() in text if sign == "~" else wanted.lower() == text
        return fits != is_negated

    return test


def _told(record: Record, name: str, key: str | None) -> object:
    value: object = record
    for step in [*name.split("."), *([key] if key else [])]:
        value = value.get(step) if isinstance(value, dict) else None
    return value
