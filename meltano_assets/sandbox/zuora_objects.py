"""Zuora's object queries (``/object-query``): lists with filters, order, fields and related objects.

Names begin with a small letter here. ``filter[]=status.EQ:Active``, ``sort[]=name.ASC``,
``fields[]=id,name``, ``expand[]=account``; pages are led on by a cursor.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.zuora_query import Tenant
from meltano_assets.sandbox.zuora_schema import RELATIONS, ObjectType, object_types
from meltano_assets.sandbox.zuora_tenant import typed

MAX_PAGE, PAGE = 50, 20
_FILTER = re.compile(r"(\w+)\.(EQ|NE|GT|GE|LT|LE|SW|IN):(.*)", re.S)
_SORT = re.compile(r"(\w+)\.(ASC|DESC)")
#: Fields that are named otherwise here.
_NAMES: Mapping[str, Mapping[str, str]] = {
    "Account": {"BillToContactId": "billToId", "SoldToContactId": "soldToId"},
    "Contact": {"Nickname": "nickName"},
}
#: By which field a record is found besides its id.
NUMBERS = {
    "Account": "AccountNumber", "Subscription": "Name", "Invoice": "InvoiceNumber",
    "Payment": "PaymentNumber", "Refund": "RefundNumber", "RatePlanCharge": "ChargeNumber",
    "Amendment": "Code", "Product": "SKU",
}  # fmt: skip


class ObjectQueryError(Exception):
    """What the service refuses, with its status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class ObjectQueries:
    """Answers object queries over the tenant's records."""

    def __init__(self, tenant: Tenant, shown: Callable[[object], object]) -> None:
        self._tenant = tenant
        self._shown = shown

    def answer(
        self, resource: str, key: str | None, query: Mapping[str, Sequence[str]], *, stuck: bool
    ) -> Record:
        """A page of a collection, or one record of it by id or number."""
        kind = _kind_of(resource)
        expanded = _words(query, "expand[]")
        is_whole = query.get("includeNullFields", ["false"])[-1] == "true"
        wanted = {name.lower() for name in _words(query, "fields[]")}

        def told(record: Record) -> Record:
            content = self._told(kind, record, is_whole=is_whole)
            if wanted:
                content = {n: v for n, v in content.items() if n.lower() in {"id", *wanted}}
            for path in expanded:
                self._expand(kind, record, content, path.lower().split("."), is_whole=is_whole)
            return content

        if key is not None:
            found = find(self._tenant, kind.name, key)
            if found is None:
                raise ObjectQueryError(f"Cannot find {kind.name} {key}", 404)
            return told(found)
        records = self._chosen(kind, query)
        size = _size(query)
        mark = hashlib.sha256(repr((resource, sorted(query.get("filter[]", [])))).encode())
        begin = _place(query.get("cursor", [""])[-1], mark.hexdigest()[:10])
        answer: Record = {"data": [told(record) for record in records[begin : begin + size]]}
        if begin + size < len(records):
            place = begin if stuck else begin + size
            token = f"{mark.hexdigest()[:10]}:{place}"
            answer["nextPage"] = base64.urlsafe_b64encode(token.encode()).decode()
        return answer

    def _chosen(self, kind: ObjectType, query: Mapping[str, Sequence[str]]) -> list[Record]:
        records = list(self._tenant.rows(kind.name))
        for text in query.get("filter[]", ()):
            records = [r for r in records if _holds(kind, text, r)]
        for text in reversed(_words(query, "sort[]")):
            found = _SORT.fullmatch(text)
            if found is None:
                raise ObjectQueryError(f"Invalid sort: {text}")
            name = _field(kind, found[1])
            records.sort(key=lambda r: _sort_key(r.get(name)), reverse=found[2] == "DESC")
        return records

    def _told(self, kind: ObjectType, record: Record, *, is_whole: bool) -> Record:
        names = [field.name for field in kind.fields.values()] if is_whole else list(record)
        return {
            name_of(kind.name, name): self._shown(value) if value is not None else None
            for name in names
            if ((value := record.get(name)) is not None or is_whole) and name != "Deleted"
        }

    def _expand(
        self, kind: ObjectType, record: Record, content: Record, path: list[str], *, is_whole: bool
    ) -> None:
        """Puts the related objects of a path into what is told of a record."""
        word, *rest = path
        for field in kind.fields.values():
            if field.relation is None:
                continue
            own = name_of(kind.name, field.name).removesuffix("Id")
            if word in (own.lower(), field.relation.lower()):
                target = object_types().get(RELATIONS[field.name][1].lower())
                found = self._tenant.find(target.name, record.get(field.name)) if target else None
                if target is not None and found is not None:
                    told = content.get(own)
                    inside = told if isinstance(told, dict) else self._told(
                        target, found, is_whole=is_whole
                    )  # fmt: skip
                    content[own] = inside
                    if rest:
                        self._expand(target, found, inside, rest, is_whole=is_whole)
                return
        for child in object_types().values():
            if word != _plural(child.name).lower() or f"{kind.name}Id".lower() not in child.fields:
                continue
            rows = [r for r in self._tenant.rows(child.name) if r[f"{kind.name}Id"] == record["Id"]]
            listed = content.setdefault(
                _plural(child.name), [self._told(child, r, is_whole=is_whole) for r in rows]
            )
            if rest and isinstance(listed, list):
                for row, inside in zip(rows, listed, strict=True):
                    self._expand(child, row, inside, rest, is_whole=is_whole)
            return
        raise ObjectQueryError(f"Cannot expand {word} of {kind.name}")


def find(tenant: Tenant, name: str, key: str) -> Record | None:
    """A record by id or number; of several versions the last."""
    found = tenant.find(name, key)
    if found is None and name in NUMBERS:
        same = [r for r in tenant.rows(name) if r.get(NUMBERS[name]) == key]
        found = max(same, key=lambda r: int(str(r.get("Version") or 0)), default=None)
    return None if found is None or found.get("Deleted") else found


def name_of(kind: str, field: str) -> str:
    """A field's name as it begins with a small letter; the tenant's own keep theirs."""
    if field.endswith("__c"):
        return field
    return _NAMES.get(kind, {}).get(field) or field[:1].lower() + field[1:]


def _kind_of(resource: str) -> ObjectType:
    word = resource.replace("-", "").lower()
    kind = object_types().get(word.removesuffix("s"))
    if kind is None or not word.endswith("s"):
        raise ObjectQueryError(f"Unknown object: {resource}", 404)
    return kind


def _field(kind: ObjectType, name: str) -> str:
    for field in kind.fields.values():
        if name.lower() in (field.name.lower(), name_of(kind.name, field.name).lower()):
            return field.name
    raise ObjectQueryError(f"Unknown field: {name}")


def _holds(kind: ObjectType, text: str, record: Record) -> bool:
    found = _FILTER.fullmatch(text)
    if found is None:
        raise ObjectQueryError(f"Invalid filter: {text}")
    name, operator, given = _field(kind, found[1]), found[2], found[3]
    value = record.get(name)
    texts = given.strip("[]").split(",") if operator == "IN" else [given]
    try:
        wanted = [None if t == "null" else typed(kind.name, name, t.strip()) for t in texts]
    except ValueError:
        raise ObjectQueryError(f"Invalid value in filter: {text}") from None
    if operator in ("EQ", "IN"):
        return value in wanted
    if operator == "NE":
        return value not in wanted
    if value is None or wanted[0] is None:
        return False
    if operator == "SW":
        return str(value).startswith(given)
    seen, bound = _sort_key(value), _sort_key(wanted[0])
    tests = {"GT": seen > bound, "GE": seen >= bound, "LT": seen < bound, "LE": seen <= bound}
    return tests[operator]


def _sort_key(value: object) -> tuple[int, float, str]:
    if isinstance(value, datetime):
        return 1, value.astimezone(UTC).timestamp(), ""
    if isinstance(value, date):
        return 1, float(value.toordinal()), ""
    if isinstance(value, str):
        return 1, 0.0, value
    return (
        (0, 0.0, "")
        if value is None
        else (1, float(str(int(value) if isinstance(value, bool) else value)), "")
    )


def _plural(name: str) -> str:
    return f"{name[:1].lower()}{name[1:]}s"


def _words(query: Mapping[str, Sequence[str]], name: str) -> list[str]:
    return [
        word.strip() for text in query.get(name, ()) for word in text.split(",") if word.strip()
    ]


def _size(query: Mapping[str, Sequence[str]]) -> int:
    text = query.get("pageSize", [str(PAGE)])[-1]
    if not is_number(text) or not 1 <= int(text) <= MAX_PAGE:
        raise ObjectQueryError(f"pageSize must be from 1 to {MAX_PAGE}")
    return int(text)


def _place(cursor: str, mark: str) -> int:
    if not cursor:
        return 0
    try:
        told, _, place = base64.urlsafe_b64decode(cursor).decode().partition(":")
        begin = int(place)
    except ValueError:
        told, begin = "", 0
    if told != mark:
        raise ObjectQueryError("Invalid cursor")
    return begin
