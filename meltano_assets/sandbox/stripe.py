"""Stripe: the company's account for customers who serve themselves, as its clients have it.

Lists with cursors, objects by id, nested lists, events of thirty days, ``expand``, errors in
Stripe's own form, and the search. Other lists of the real service are empty. Writing is refused as it is for a
restricted key. ``created`` and the age of events count by the company's clock.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe import SelfServe
from meltano_assets.sandbox.company_stripe_records import API_VERSION
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.service import HttpService, RateLimit, json_response
from meltano_assets.sandbox.stripe_search import FIELDS, SearchError, found

ACCOUNT = "acct_1MeltanoSandbox00"
EVENTS_SECONDS = 30 * 86_400
OLDEST_VERSION = "2011-01-01"
_VERSION = re.compile(r"\d{4}-\d\d-\d\d(\.\w+)?")
#: Objects inside an object that come as a list of at most so many.
NESTED_ROWS = 10
#: Path of a list → the kind of object in it.
LISTS = {
    "charges": "charge",
    "customers": "customer",
    "disputes": "dispute",
    "invoices": "invoice",
    "prices": "price",
    "products": "product",
    "refunds": "refund",
    "subscriptions": "subscription",
}
_SINGULAR = {kind: path for path, kind in LISTS.items()}
#: Lists of the real service that hold nothing here.
EMPTY_LISTS = frozenset(
    {
        "accounts",
        "application_fees",
        "balance_transactions",
        "checkout/sessions",
        "coupons",
        "credit_notes",
        "file_links",
        "files",
        "invoiceitems",
        "payment_intents",
        "payment_methods",
        "payouts",
        "promotion_codes",
        "quotes",
        "reviews",
        "setup_intents",
        "shipping_rates",
        "subscription_schedules",
        "tax_rates",
        "topups",
        "transfers",
    }
)
_FILTERS = frozenset(
    {
        "active", "charge", "collection_method", "currency", "customer", "delivery_success",
        "email", "ending_before", "expand", "ids", "invoice", "limit", "payment_intent", "price",
        "product", "shippable", "starting_after", "status", "subscription", "type", "types", "url",
        "created", "due_date", "current_period_end", "current_period_start", "test_clock",
        "include", "plan", "transfer_group", "arrival_date", "payout", "source", "lookup_keys",
        "recurring", "automatic_tax", "pending",
    }
)  # fmt: skip
_EXPANDABLE = {
    "charge": {"customer", "invoice", "refunds", "dispute", "balance_transaction"},
    "customer": {"subscriptions", "discount", "sources", "tax_ids", "default_source"},
    "dispute": {"charge"},
    "invoice": {"customer", "subscription", "charge", "discounts", "lines", "payment_intent"},
    "plan": {"product", "tiers"},
    "price": {"product", "tiers", "currency_options"},
    "product": {"default_price"},
    "refund": {"charge", "balance_transaction"},
    "subscription": {"customer", "latest_invoice", "discounts", "schedule", "items"},
}


@dataclass(slots=True)
class _ProblemError(Exception):
    """What the request gets instead of an answer."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    kind: str = "invalid_request_error"
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        error: dict[str, object] = {"type": self.kind, "message": self.message}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param:
            error["param"] = self.param
        return json_response({"error": error}, self.status, self.headers)


class Stripe:
    """The account at the address of its service."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        *,
        now: Callable[[], datetime],
        api_key: str,
        requests_per_minute: int = 6_000,
        forgets_events: bool = True,
    ) -> None:
        self._company = company
        self._day = day
        self._now = now
        self._key = api_key
        #: Thirty days are what Stripe promises; without this, events of thirty days before the
        #: company's first day stay.
        self.forgets_events = forgets_events
        self._requests = RateLimit(requests_per_minute)
        self.service = HttpService("stripe", "Stripe", self.handle, self._error)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            response = self._answer(request)
        except _ProblemError as problem:
            response = problem.response()
        response.headers["Request-Id"] = f"req_{secrets.token_hex(7)}"
        response.headers["Stripe-Version"] = request.headers.get("stripe-version", API_VERSION)
        response.headers["Stripe-Should-Retry"] = "true" if response.status_code >= 500 else "false"
        if key := request.headers.get("idempotency-key"):
            response.headers["Idempotency-Key"] = key
        return response

    def _error(self, kind: str, fault: Fault) -> Response | None:
        if kind == "throttle":
            return _too_many(
                fault if fault.is_set("with_retry_after", default=False) else None
            ).response()
        if kind == "expire_session":
            shown = f"Expired API Key provided: {_shown(self._key)}"
            return _ProblemError(401, shown, "api_key_expired").response()
        if kind == "unavailable":
            return _ProblemError(
                503, "Stripe is temporarily unavailable", kind="api_error"
            ).response()
        message = "An unknown error occurred"
        return _ProblemError(500, message, kind="api_error").response()

    def _answer(self, request: Request) -> Response:
        self._check_key(request)
        remaining, _ = self._requests.spend(time.monotonic())
        if remaining < 0:
            raise _too_many(None)
        path = request.url.path.strip("/")
        parts = path.split("/")
        if parts[0] != "v1" or len(parts) < 2:
            raise _unknown_path(request)
        version = request.headers.get("stripe-version", API_VERSION)
        if not _VERSION.fullmatch(version) or version < OLDEST_VERSION:
            raise _ProblemError(400, f"Invalid Stripe API version: {version}")
        if request.method not in ("GET", "POST", "DELETE"):
            raise _unknown_path(request)
        if request.method != "GET":
            message = "The provided key does not have the required permissions for this endpoint"
            raise _ProblemError(403, message, "more_permissions_required_for_application")
        return json_response(self._get(request, parts[1:]))

    def _check_key(self, request: Request) -> None:
        header = request.headers.get("authorization", "")
        scheme, _, rest = header.partition(" ")
        given = rest if scheme.lower() == "bearer" else ""
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(rest, validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                given = ""
        if not given:
            message = (
                "You did not provide an API key. You need to provide your API key in the "
                "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                "YOUR_SECRET_KEY')."
            )
            challenge = {"WWW-Authenticate": 'Basic realm="Stripe"'}
            raise _ProblemError(401, message, headers=challenge)
        if not secrets.compare_digest(given.encode(), self._key.encode()):
            raise _ProblemError(401, f"Invalid API Key provided: {_shown(given)}")

    # Reading

    def _books(self) -> SelfServe:
        return self._company.stripe(self._day())

    def _get(self, request: Request, parts: list[str]) -> object:
        books = self._books()
        match parts:
            case ["account"]:
                return self._account()
            case ["accounts", key]:
                if key != ACCOUNT:
                    message = f"No such account: '{key}'"
                    raise _ProblemError(403, message, "account_invalid")
                return self._account()
            case ["balance"]:
                return {"object": "balance", "available": [], "pending": [], "livemode": False}
            case ["events"]:
                return self._page(request, self._events(request))
            case ["events", key]:
                event = next((e for e in self._events(request) if e["id"] == key), None)
                return self._rendered(request, self._one("event", key, event))
            case ["invoices", key, "lines"]:
                invoice = self._one("invoice", key, books.live["invoice"].get(key))
                return self._page(request, _items(invoice["lines"]))
            case ["subscription_items"]:
                key = request.query_params.get("subscription", "")
                if not key:
                    message = "Missing required param: subscription."
                    raise _ProblemError(400, message, "parameter_missing", "subscription")
                owner = self._one("subscription", key, books.live["subscription"].get(key))
                return self._page(request, _items(owner["items"]))
            case ["charges", key, "refunds"]:
                return self._page(request, self._refunds(key))
            case ["customers", key, "subscriptions"]:
                owned = [s for s in books.live["subscription"].values() if s["customer"] == key]
                return self._page(request, _newest_first(owned))
            case ["plans"]:
                return self._page(request, self._plans())
            case ["plans", key]:
                plan = next((p for p in self._plans() if p["id"] == key), None)
                return self._one("plan", key, plan)
            case [name] if name in EMPTY_LISTS:
                return self._page(request, [])
            case [name, section] if f"{name}/{section}" in EMPTY_LISTS:
                return self._page(request, [])
            case [name] if name in LISTS:
                return self._page(request, self._list(request, LISTS[name]))
            case [name, "search"] if LISTS.get(name) in FIELDS:
                return self._search(request, LISTS[name])
            case [name, key] if name in LISTS:
                kind = LISTS[name]
                if key in books.deleted.get(kind, ()):
                    if kind == "invoice":
                        raise _missing(kind, key, "invoice")
                    return {"id": key, "object": kind, "deleted": True}
                return self._rendered(request, self._one(kind, key, books.live[kind].get(key)))
        raise _unknown_path(request)

    def _plans(self) -> list[Record]:
        """Prices in the older shape."""
        prices = _newest_first(self._books().live["price"].values())
        kept = ("id", "active", "billing_scheme", "created", "currency", "livemode", "metadata",
                "nickname", "product", "tiers_mode", "transform_quantity")  # fmt: skip
        return [
            {
                **{name: price[name] for name in kept},
                "object": "plan",
                "aggregate_usage": None,
                "amount": price["unit_amount"],
                "amount_decimal": price["unit_amount_decimal"],
                "interval": "month",
                "interval_count": 1,
                "trial_period_days": None,
                "usage_type": "licensed",
            }
            for price in prices
        ]

    def _account(self) -> Record:
        created = int(self._company.now(0).timestamp()) - 500 * 86_400
        return {
            "id": ACCOUNT,
            "object": "account",
            "business_type": "company",
            "charges_enabled": True,
            "country": "US",
            "created": created,
            "default_currency": "usd",
            "details_submitted": True,
            "email": "payments@meltano-sandbox.com",
            "metadata": {},
            "payouts_enabled": True,
            "settings": {"dashboard": {"display_name": "Meltano Sandbox", "timezone": "Etc/UTC"}},
            "type": "standard",
        }

    def _one(self, kind: str, key: str, found: Record | None) -> Record:
        if found is None:
            raise _missing(kind, key, "id")
        return found

    def _refunds(self, charge: str) -> list[Record]:
        refunds = self._books().live.get("refund", {}).values()
        return _newest_first(r for r in refunds if r["charge"] == charge)

    def _events(self, request: Request) -> list[Record]:
        present = self._now() if self.forgets_events else self._company.now(0)
        oldest = int(present.timestamp()) - EVENTS_SECONDS
        events = [e for e in self._books().events if _created(e) >= oldest]
        query = request.query_params
        wanted = [v for k, v in query.multi_items() if re.fullmatch(r"types(\[\d*\])?", k)]
        if len(wanted) > 20:
            raise _ProblemError(400, "Array must have at most 20 elements", None, "types")
        if "type" in query:
            if wanted:
                message = "You may only specify one of these parameters: type, types."
                raise _ProblemError(400, message, None, "type")
            wanted = [query["type"]]
        if wanted:
            patterns = re.compile("|".join(re.escape(w).replace(r"\*", ".*") for w in wanted))
            events = [e for e in events if patterns.fullmatch(str(e["type"]))]
        return _newest_first(events)

    def _list(self, request: Request, kind: str) -> list[Record]:
        records: Iterable[Record] = self._books().live.get(kind, {}).values()
        query = request.query_params
        for name in ("customer", "charge", "subscription", "payment_intent", "product", "email"):
            if name in query and name != "email":
                records = [r for r in records if r.get(name) == query[name]]
            elif name in query:
                records = [r for r in records if r.get("email") == query["email"]]
        if "active" in query:
            records = [r for r in records if r.get("active") == (query["active"] == "true")]
        status = query.get("status")
        if kind == "subscription":
            # Cancelled ones come only when asked for.
            if status == "ended":
                records = [r for r in records if r["status"] in ("canceled", "incomplete_expired")]
            elif status not in (None, "all"):
                records = [r for r in records if r["status"] == status]
            elif status is None:
                records = [r for r in records if r["status"] != "canceled"]
        elif status is not None:
            records = [r for r in records if r.get("status") == status]
        return _newest_first(records)

    def _search(self, request: Request, kind: str) -> dict[str, object]:
        query = request.query_params
        if not query.get("query"):
            raise _ProblemError(400, "Missing required param: query.", "parameter_missing", "query")
        records = self._books().live.get(kind, {}).values()
        try:
            hits = found(kind, query["query"], _newest_first(records))
        except SearchError as error:
            raise _ProblemError(400, str(error), None, "query") from error
        limit = self._limit(query.get("limit"))
        page = query.get("page", "0")
        begin = int(page) if page.isdigit() else -1
        if begin < 0 or self.service.faults.take("lose_cursor", request.url.path):
            raise _ProblemError(400, f"Invalid page: {page}", None, "page")
        end = begin + limit
        has_more = end < len(hits)
        following = begin if self.service.faults.take("repeat_page", request.url.path) else end
        answer: dict[str, object] = {
            "object": "search_result",
            "data": [self._rendered(request, r, in_list=True) for r in hits[begin:end]],
            "has_more": has_more,
            "next_page": str(following) if has_more else None,
            "url": request.url.path.rstrip("/"),
        }
        if any(value == "total_count" for _, value in query.multi_items()):
            answer["total_count"] = len(hits)
        return answer

    # Pages

    def _page(self, request: Request, records: Sequence[Record]) -> dict[str, object]:
        query = request.query_params
        for name in query:
            if re.split(r"[\[.]", name)[0] not in _FILTERS:
                message = f"Received unknown parameter: {name}"
                raise _ProblemError(400, message, "parameter_unknown", name)
        limit = self._limit(query.get("limit"))
        records = _within(records, query.multi_items())
        after, before = query.get("starting_after"), query.get("ending_before")
        if after and before:
            message = "You may only specify one of these parameters: starting_after, ending_before."
            raise _ProblemError(400, message, None, "starting_after")
        name = request.url.path.rstrip("/").rpartition("/")[2]
        places = {str(record["id"]): place for place, record in enumerate(records)}
        cursor = after or before
        is_lost = cursor and self.service.faults.take("lose_cursor", request.url.path)
        if cursor and (is_lost or cursor not in places):
            kind = LISTS.get(name, name.removesuffix("s"))
            raise _missing(kind, cursor, "starting_after" if after else "ending_before")
        if before:
            end = places[before]
            begin = max(0, end - limit)
            has_more = begin > 0
        else:
            begin = places[after] + 1 if after else 0
            end = min(len(records), begin + limit)
            has_more = end < len(records)
        if after and has_more and self.service.faults.take("repeat_page", request.url.path):
            begin, end = max(0, begin - limit), begin
        return {
            "object": "list",
            "data": [self._rendered(request, r, in_list=True) for r in records[begin:end]],
            "has_more": has_more,
            "url": request.url.path.rstrip("/"),
        }

    def _limit(self, text: str | None) -> int:
        if text is None:
            return 10
        if not re.fullmatch(r"-?\d+", text):
            raise _ProblemError(
                400, f"Invalid integer: {text}", "parameter_invalid_integer", "limit"
            )
        number = int(text)
        if not 1 <= number <= 100:
            bound = "less than or equal to 100" if number > 100 else "greater than or equal to 1"
            message = f"This value must be {bound} (it currently is '{number}')."
            raise _ProblemError(400, message, "parameter_invalid_integer", "limit")
        return number

    # Objects

    def _rendered(self, request: Request, record: Record, *, in_list: bool = False) -> Record:
        shown = _shortened(record)
        if record["object"] == "event":
            data = record["data"]
            assert isinstance(data, dict)
            return {**shown, "data": {**data, "object": self._changed(_shortened(data["object"]))}}
        expands = [v for k, v in request.query_params.multi_items() if k.startswith("expand")]
        for expand in expands:
            if expand == "total_count":
                continue
            steps = expand.split(".")
            if in_list and steps[0] == "data":
                steps = steps[1:]
            if len(steps) > 4:
                message = "You cannot expand more than 4 levels of a property."
                raise _ProblemError(400, message, None, "expand")
            if len(steps) > 1 and steps[0] in shown:
                continue  # inside what is there anyway
            if steps:
                shown = self._expanded(shown, steps[0], expand)
        return self._changed(shown)

    def _expanded(self, record: Record, name: str, asked: str) -> Record:
        kind = str(record["object"])
        if name not in _EXPANDABLE.get(kind, set()):
            message = f"This property cannot be expanded ({asked})."
            raise _ProblemError(400, message, None, "expand")
        key = str(record["id"])
        if kind == "charge" and name == "refunds":
            path = f"/v1/charges/{key}/refunds"
            return {**record, name: _nested(self._refunds(key), path)}
        if kind == "customer" and name == "subscriptions":
            owned = [
                _shortened(s)
                for s in self._books().live["subscription"].values()
                if s["customer"] == key and s["status"] != "canceled"
            ]
            path = f"/v1/customers/{key}/subscriptions"
            return {**record, name: _nested(_newest_first(owned), path)}
        target = "invoice" if name == "latest_invoice" else name
        found = self._books().live.get(target, {}).get(str(record.get(name)))
        return {**record, name: _shortened(found)} if found else record

    def _changed(self, record: Record) -> Record:
        fault = self.service.faults.take("change_schema", str(record["object"]))
        if fault is None:
            return record
        record = dict(record)
        for option in ("add", "retype"):
            values = fault.options.get(option)
            if isinstance(values, dict):
                record.update({str(name): value for name, value in values.items()})
        for name in _items(fault.options.get("drop")):
            record.pop(str(name), None)
        return record


def _items(value: object) -> list[Record]:
    return value if isinstance(value, list) else []


def _created(record: Record) -> int:
    return int(str(record["created"]))


def _newest_first(records: Iterable[Record]) -> list[Record]:
    ordered = list(records)
    ordered.reverse()
    ordered.sort(key=_created, reverse=True)
    return ordered


def _nested(records: Sequence[Record], path: str) -> Record:
    return {
        "object": "list",
        "data": list(records[:NESTED_ROWS]),
        "has_more": len(records) > NESTED_ROWS,
        "total_count": len(records),
        "url": path,
    }


def _shortened(record: Record) -> Record:
    """The object with its inner lists as Stripe shows them: the first ten."""
    key = record.get("id")
    if record["object"] == "invoice":
        return {**record, "lines": _nested(_items(record["lines"]), f"/v1/invoices/{key}/lines")}
    if record["object"] == "subscription":
        path = f"/v1/subscription_items?subscription={key}"
        return {**record, "items": _nested(_items(record["items"]), path)}
    return record


def _within(records: Sequence[Record], params: Iterable[tuple[str, str]]) -> Sequence[Record]:
    """The records whose ``created`` fits."""
    for name, text in params:
        found = re.fullmatch(r"created(?:\[(gt|gte|lt|lte)\])?", name)
        if found is None:
            continue
        if not re.fullmatch(r"\d+", text):
            raise _ProblemError(
                400, f"Invalid timestamp: {text}", "parameter_invalid_integer", name
            )
        bound = int(text)
        sign = found[1]
        records = [
            record
            for record in records
            if (sign == "gt" and _created(record) > bound)
            or (sign == "gte" and _created(record) >= bound)
            or (sign == "lt" and _created(record) < bound)
            or (sign == "lte" and _created(record) <= bound)
            or (sign is None and _created(record) == bound)
        ]
    return records


def _shown(key: str) -> str:
    """A key as Stripe repeats it in errors."""
    return f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}" if len(key) > 12 else "*" * len(key)


def _missing(kind: str, key: str, param: str) -> _ProblemError:
    return _ProblemError(
        404 if param == "id" else 400, f"No such {kind}: '{key}'", "resource_missing", param
    )


def _unknown_path(request: Request) -> _ProblemError:
    message = (
        f"Unrecognized request URL ({request.method}: {request.url.path}). "
        "Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
    )
    return _ProblemError(404, message)


def _too_many(fault: Fault | None) -> _ProblemError:
    """Without Retry-After, unless a fault asks for it."""
    headers = {"Stripe-Rate-Limited-Reason": "global-rate"}
    if fault is not None:
        headers["Retry-After"] = str(round(fault.number("retry_after_seconds", 1)))
    message = (
        "Request rate limit exceeded. You can learn more about rate limits here "
        "https://stripe.com/docs/rate-limits."
    )
    return _ProblemError(429, message, "rate_limit", headers=headers)
