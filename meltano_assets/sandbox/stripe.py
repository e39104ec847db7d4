"""Stripe: the company's account for customers who serve themselves, as its clients have it.

Lists with cursors, objects by id, nested lists, events of thirty days, ``expand``, errors in
Stripe's own form, the search, and writes with idempotency keys. Other lists of the real service are
empty, and what is written to them is refused as it is for a restricted key. ``created`` and the age of
events count by the company's clock.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_balance import balance
from meltano_assets.sandbox.company_stripe_records import API_VERSION
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import HttpService, RateLimit, json_response
from meltano_assets.sandbox.state import StateFolder
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_cards import source_of
from meltano_assets.sandbox.stripe_forms import read_form, required_problem
from meltano_assets.sandbox.stripe_lists import (
    ANY_FILTERS,
    CLOSED,
    EMPTY_LISTS,
    EMPTY_PARTS,
    FILTERS,
    LISTS,
    OF_PAGES,
    READ_ONLY,
    chosen,
    stem,
    within,
)
from meltano_assets.sandbox.stripe_previews import line_items
from meltano_assets.sandbox.stripe_search import FIELDS, SearchError, found
from meltano_assets.sandbox.stripe_versions import shaped
from meltano_assets.sandbox.stripe_wire import (
    Problem,
    created,
    existing,
    expanded,
    missing,
    newest_first,
    payments_of,
    refunds_of,
    shortened,
    subscriptions_of,
)
from meltano_assets.sandbox.stripe_writes import Deed, Writes

ACCOUNT = "acct_1MeltanoSandbox00"
EVENTS_SECONDS = 30 * 86_400
OLDEST_VERSION = "2011-01-01"
_VERSION = re.compile(r"\d{4}-\d\d-\d\d(\.\w+)?")
#: Writes by these methods carry no idempotency key that counts.
_IDEMPOTENT = ("GET", "DELETE")
_MAX_KEY = 255


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
        folder: StateFolder | None = None,
    ) -> None:
        self._company = company
        self._now = now
        self._books = Books(company, day, now, folder)
        self._writes = Writes(self._books)
        #: Idempotency keys of writes that are under way.
        self._under_way: set[str] = set()
        self._key = api_key
        #: Thirty days are what Stripe promises; without this, events of thirty days before the
        #: company's first day stay.
        self.forgets_events = forgets_events
        self._requests = RateLimit(requests_per_minute)
        self.service = HttpService("stripe", "Stripe", self.handle, self._error)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        request_id = f"req_{secrets.token_hex(7)}"
        try:
            response = await self._answer(request, request_id)
        except Problem as problem:
            response = problem.response()
        response.headers["Request-Id"] = request_id
        response.headers["Stripe-Version"] = request.headers.get("stripe-version", API_VERSION)
        is_worth = response.status_code >= 500 or response.status_code == 409
        response.headers["Stripe-Should-Retry"] = "true" if is_worth else "false"
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
            return Problem(401, shown, "api_key_expired").response()
        if kind == "forbidden":
            message = "The provided key does not have the required permissions for this endpoint."
            code = "more_permissions_required_for_application"
            return Problem(403, message, code).response()
        if kind == "unavailable":
            return Problem(503, "Stripe is temporarily unavailable", kind="api_error").response()
        message = "An unknown error occurred"
        return Problem(500, message, kind="api_error").response()

    async def _answer(self, request: Request, request_id: str) -> Response:
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
            raise Problem(400, f"Invalid Stripe API version: {version}")
        if request.method not in ("GET", "POST", "DELETE"):
            raise _unknown_path(request)
        self._catch_up()
        if request.method == "GET":
            return json_response(self._get(request, parts[1:]))
        return await self._write(request, parts[1:], request_id)

    # Writing

    def _catch_up(self) -> None:
        """What fell due since the last request: periods of subscriptions."""
        self._books.request = (None, None)
        if self._writes.catch_up():
            self._books.keep()

    async def _write(self, request: Request, parts: list[str], request_id: str) -> Response:
        body = await request.body()
        kind = request.headers.get("content-type", "")
        given = read_form(request.url.query, kind, body)
        key = request.headers.get("idempotency-key", "")
        if request.method in _IDEMPOTENT:
            key = ""
        if len(key) > _MAX_KEY:
            raise Problem(400, f"Idempotency keys must be at most {_MAX_KEY} characters.")
        if not key:
            return await self._carried_out(request, parts, given, request_id, None)
        asked = _print(request, given)
        if (known := self._books.answer(key)) is not None:
            if known["asked"] != asked:
                raise _other_parameters(key)
            headers = {"Idempotent-Replayed": "true", "Original-Request": str(known["request"])}
            return json_response(known["body"], int(str(known["status"])), headers)
        if key in self._under_way:
            message = (
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going through): "
                f"{key}. Please try again later."
            )
            raise Problem(409, message, "idempotency_key_in_use", kind="idempotency_error")
        self._under_way.add(key)
        try:
            return await self._carried_out(request, parts, given, request_id, (key, asked))
        finally:
            self._under_way.discard(key)

    async def _carried_out(
        self,
        request: Request,
        parts: list[str],
        given: dict[str, Any],
        request_id: str,
        key: tuple[str, str] | None,
    ) -> Response:
        """The write's answer, remembered for its key once the parameters were found good."""
        deed = self._deed(request, parts, given)
        if fault := self.service.faults.take("slow_write", f"{request.method} {request.url.path}"):
            await asyncio.sleep(fault.number("seconds", 1))
        status, mark = 200, self._books.mark()
        self._books.request = (request_id, key[0] if key else None)
        try:
            made = deed()
            expands = given.get("expand", [])
            expands = expands if isinstance(expands, list) else [expands]
            body: object = made if made.get("deleted") else self._shown(request, made, expands)
        except Problem as problem:
            status, body = problem.status, problem.body()
            if problem.kind != "card_error":
                # What a bank refuses leaves its traces; nothing else that is refused does.
                self._books.roll_back(mark)
        if key is not None:
            self._books.remember(*key, status, body, request_id)
        self._books.keep()
        return json_response(body, status)

    def _deed(self, request: Request, parts: list[str], given: dict[str, Any]) -> Deed:
        deed = self._writes.deed(request.method, parts, given)
        if deed is not None:
            return deed
        kept_elsewhere = {"/".join(parts[: n + 1]) for n in range(len(parts))} & (
            EMPTY_LISTS.keys() | READ_ONLY
        )
        if not kept_elsewhere:
            raise _unknown_path(request)
        message = (
            "The provided key does not have the required permissions for this endpoint: the sandbox "
            f"keeps nothing that is written to /v1/{parts[0]}"
        )
        raise Problem(403, message, "more_permissions_required_for_application")

    def _check_key(self, request: Request) -> None:
        header = request.headers.get("authorization", "")
        scheme, _, rest = header.partition(" ")
        given = rest if scheme.lower() == "bearer" else ""
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(rest, validate=True).decode().partition(":")[0]
            except ValueError:
                given = ""
        if not given:
            message = (
                "You did not provide an API key. You need to provide your API key in the "
                "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                "YOUR_SECRET_KEY')."
            )
            challenge = {"WWW-Authenticate": 'Basic realm="Stripe"'}
            raise Problem(401, message, headers=challenge)
        if not secrets.compare_digest(given.encode(), self._key.encode()):
            raise Problem(401, f"Invalid API Key provided: {_shown(given)}")

    # Reading

    def _get(self, request: Request, parts: list[str]) -> object:
        books = self._books
        match parts:
            case ["account"]:
                return self._account()
            case ["accounts", key]:
                if key != ACCOUNT:
                    message = f"No such account: '{key}'"
                    raise Problem(403, message, "account_invalid")
                return self._account()
            case ["balance"]:
                return balance(books.live("balance_transaction").values())
            case ["balance", "history", *key]:
                # What the list was called before.
                return self._get(request, ["balance_transactions", *key])
            case ["events"]:
                return self._page(request, self._events(request), "events")
            case ["events", key]:
                event = next((e for e in self._events(request) if e["id"] == key), None)
                return self._single(request, "event", key, event)
            case ["invoices", "upcoming", *rest] if rest in ([], ["lines"]):
                return self._upcoming(request, has_lines=bool(rest))
            case ["invoices", key, "lines"]:
                invoice = existing(self._books, "invoice", key)
                return self._page(request, items_of(invoice["lines"]), "invoices/lines")
            case ["invoice_payments"]:
                payments = [p for i in books.live("invoice").values() for p in payments_of(i)]
                for name in ("invoice", "status"):
                    if (value := request.query_params.get(name)) is not None:
                        payments = [p for p in payments if p[name] == value]
                return self._page(request, newest_first(payments), "invoice_payments")
            case ["invoice_payments", key]:
                payments = [p for i in books.live("invoice").values() for p in payments_of(i)]
                paid = next((p for p in payments if p["id"] == key), None)
                return self._single(request, "invoice_payment", key, paid)
            case ["subscription_items"]:
                key = request.query_params.get("subscription", "")
                if not key:
                    message = "Missing required param: subscription."
                    raise Problem(400, message, "parameter_missing", "subscription")
                owner = existing(self._books, "subscription", key)
                return self._page(request, items_of(owner["items"]), "subscription_items")
            case ["subscription_items", key]:
                owners = books.live("subscription").values()
                items = (i for s in owners for i in items_of(s["items"]) if i["id"] == key)
                return self._single(request, "subscription_item", key, next(items, None))
            case ["charges", key, "refunds"]:
                existing(self._books, "charge", key)
                return self._page(request, refunds_of(books, key), "charges/refunds")
            case ["charges", key, "refunds", refund]:
                known = books.live("refund").get(refund)
                is_its = known is not None and known["charge"] == key
                return self._single(request, "refund", refund, known if is_its else None)
            case ["customers", key, "subscriptions"]:
                owned = [s for s in subscriptions_of(books, key) if s["status"] != "canceled"]
                return self._page(request, owned, "customers/subscriptions")
            case ["customers", key, "payment_methods"]:
                existing(self._books, "customer", key)
                methods = books.live("payment_method").values()
                owned = newest_first(m for m in methods if m["customer"] == key)
                return self._page(request, owned, "customers/payment_methods")
            case ["customers", key, ("sources" | "cards")]:
                existing(self._books, "customer", key)
                cards = [c for c in books.live("card").values() if c["customer"] == key]
                return self._page(request, cards, "customers/sources")
            case ["customers", key, ("sources" | "cards"), card]:
                customer = existing(self._books, "customer", key)
                return self._single(request, "card", card, source_of(books, customer, card))
            case ["accounts"]:
                return self._page(request, [], "accounts")
            case ["accounts", key, ("persons" | "external_accounts" | "capabilities") as name]:
                return self._page(request, [], name)
            case ["setup_attempts"]:
                if "setup_intent" not in request.query_params:
                    raise required_problem("setup_intent")
                key = request.query_params["setup_intent"]
                raise missing("setupintent", key, "setup_intent")
            case [name, key, part] if part in EMPTY_PARTS.get(name, ()):
                if name in LISTS:
                    existing(self._books, LISTS[name], key)
                return self._page(request, [], part)
            case [area, *_] if area in CLOSED:
                page = f"https://dashboard.stripe.com/{area}/overview"
                message = f"Your account is not set up to use {CLOSED[area]}. Please visit {page} to get started."
                raise Problem(400, message)
            case [*names] if "/".join(names) in EMPTY_LISTS:
                return self._page(request, [], names[0])
            case [*names, key] if "/".join(names) in EMPTY_LISTS:
                raise missing(EMPTY_LISTS["/".join(names)], key, "id")
            case [*names, key, _] if "/".join(names) in EMPTY_LISTS:
                raise missing(EMPTY_LISTS["/".join(names)], key, "id")
            case [name] if name in LISTS:
                return self._page(request, self._list(request, LISTS[name]), name)
            case [name, "search"] if LISTS.get(name) in FIELDS:
                return self._search(request, LISTS[name])
            case [name, key] if name in LISTS:
                kind = LISTS[name]
                if books.is_deleted(kind, key):
                    if kind not in ("customer", "product"):
                        raise missing(kind, key, "id")
                    return {"id": key, "object": kind, "deleted": True}
                return self._single(request, kind, key, books.live(kind).get(key))
        raise _unknown_path(request)

    def _upcoming(self, request: Request, *, has_lines: bool) -> object:
        """What is to be billed next, as versions before 2025-03-31 ask for it; or its lines."""
        if request.headers.get("stripe-version", API_VERSION) >= "2025-03-31":
            raise _unknown_path(request)
        asked = read_form(request.url.query, "", b"")
        pages = ("limit", "starting_after", "ending_before") if has_lines else ()
        given = {name: value for name, value in asked.items() if name not in pages}
        invoice = self._writes.previews.upcoming(given)
        if has_lines:
            return self._page(request, line_items(invoice), "invoices/upcoming/lines")
        return self._shown(request, invoice, _expands(request))

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

    def _single(self, request: Request, kind: str, key: str, known: Record | None) -> Record:
        if known is None:
            raise missing(kind, key, "id")
        for name in request.query_params:
            if stem(name) not in ("expand", "client_secret"):
                message = f"Received unknown parameter: {name}"
                raise Problem(400, message, "parameter_unknown", name)
        return self._shown(request, known, _expands(request))

    def _events(self, request: Request) -> list[Record]:
        present = self._now() if self.forgets_events else self._company.now(0)
        oldest = int(present.timestamp()) - EVENTS_SECONDS
        events = [e for e in self._books.events() if created(e) >= oldest]
        query = request.query_params
        wanted = [v for k, v in query.multi_items() if re.fullmatch(r"types(\[\d*\])?", k)]
        if len(wanted) > 20:
            raise Problem(400, "Array must have at most 20 elements", None, "types")
        if "type" in query:
            if wanted:
                message = "You may only specify one of these parameters: type, types."
                raise Problem(400, message, None, "type")
            wanted = [query["type"]]
        if wanted:
            patterns = re.compile("|".join(re.escape(w).replace(r"\*", ".*") for w in wanted))
            events = [e for e in events if patterns.fullmatch(str(e["type"]))]
        return newest_first(events)

    def _list(self, request: Request, kind: str) -> list[Record]:
        payout = request.query_params.get("payout")
        is_wanted = kind == "balance_transaction" and payout is not None
        if is_wanted and payout not in self._books.live("payout"):
            raise missing("payout", str(payout), "payout")
        return chosen(self._books.live(kind).values(), kind, request.query_params)

    def _search(self, request: Request, kind: str) -> dict[str, object]:
        query = request.query_params
        if not query.get("query"):
            raise Problem(400, "Missing required param: query.", "parameter_missing", "query")
        records = self._books.live(kind).values()
        try:
            hits = found(kind, query["query"], newest_first(records))
        except SearchError as error:
            raise Problem(400, str(error), None, "query") from error
        limit = self._limit(query.get("limit"))
        page = query.get("page", "0")
        begin = int(page) if is_number(page) else -1
        if begin < 0 or self.service.faults.take("lose_cursor", request.url.path):
            raise Problem(400, f"Invalid page: {page}", None, "page")
        end = begin + limit
        has_more = end < len(hits)
        following = begin if self.service.faults.take("repeat_page", request.url.path) else end
        answer: dict[str, object] = {
            "object": "search_result",
            "data": [
                self._shown(request, r, _expands(request, in_list=True)) for r in hits[begin:end]
            ],
            "has_more": has_more,
            "next_page": str(following) if has_more else None,
            "url": request.url.path.rstrip("/"),
        }
        if any(value == "total_count" for _, value in query.multi_items()):
            answer["total_count"] = len(hits)
        return answer

    # Pages

    def _page(self, request: Request, records: Sequence[Record], path: str) -> dict[str, object]:
        query = request.query_params
        known = {*FILTERS.get(path, ANY_FILTERS).split(), *OF_PAGES}
        for name in query:
            if stem(name) not in known:
                message = f"Received unknown parameter: {name}"
                raise Problem(400, message, "parameter_unknown", name)
        for name in ("starting_after", "ending_before"):
            if query.get(name) == "":
                message = (
                    f"You passed an empty string for '{name}'. We assume empty values are an attempt "
                    "to unset a parameter; however it cannot be unset."
                )
                raise Problem(400, message, "parameter_invalid_empty", name)
        limit = self._limit(query.get("limit"))
        records = within(records, query.multi_items())
        after, before = query.get("starting_after"), query.get("ending_before")
        if after and before:
            message = "You may only specify one of these parameters: starting_after, ending_before."
            raise Problem(400, message, None, "starting_after")
        name = request.url.path.rstrip("/").rpartition("/")[2]
        places = {str(record["id"]): place for place, record in enumerate(records)}
        cursor = after or before
        is_lost = cursor and self.service.faults.take("lose_cursor", request.url.path)
        if cursor and (is_lost or cursor not in places):
            kind = LISTS.get(name, name.removesuffix("s"))
            raise missing(kind, cursor, "starting_after" if after else "ending_before")
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
            "data": [
                self._shown(request, r, _expands(request, in_list=True)) for r in records[begin:end]
            ],
            "has_more": has_more,
            "url": request.url.path.rstrip("/"),
        }

    def _limit(self, text: str | None) -> int:
        if text is None:
            return 10
        if not is_number(text.removeprefix("-")):
            raise Problem(400, f"Invalid integer: {text}", "parameter_invalid_integer", "limit")
        number = int(text)
        if not 1 <= number <= 100:
            bound = "less than or equal to 100" if number > 100 else "greater than or equal to 1"
            message = f"This value must be {bound} (it currently is '{number}')."
            raise Problem(400, message, "parameter_invalid_integer", "limit")
        return number

    # Objects

    def _shown(self, request: Request, record: Record, expands: Iterable[str]) -> Record:
        version = request.headers.get("stripe-version", API_VERSION)
        return shaped(self._books, version, self._told(record, expands))

    def _told(self, record: Record, expands: Iterable[str]) -> Record:
        shown = shortened(record)
        if record["object"] == "event":
            data = record["data"]
            assert isinstance(data, dict)
            return {**shown, "data": {**data, "object": self._changed(shortened(data["object"]))}}
        return self._changed(expanded(self._books, record, expands))

    def _changed(self, record: Record) -> Record:
        fault = self.service.faults.take("change_schema", str(record["object"]))
        if fault is None:
            return record
        record = dict(record)
        for option in ("add", "retype"):
            values = fault.options.get(option)
            if isinstance(values, dict):
                record.update({str(name): value for name, value in values.items()})
        for name in items_of(fault.options.get("drop")):
            record.pop(str(name), None)
        return record


def _expands(request: Request, *, in_list: bool = False) -> list[str]:
    """What the request wants to see instead of ids."""
    if "expand" in request.query_params:
        raise Problem(400, "Invalid array", None, "expand")
    wanted = [v for k, v in request.query_params.multi_items() if stem(k) == "expand"]
    if not in_list:
        return wanted
    return [v.removeprefix("data.") for v in wanted if v not in ("data", "total_count")]


def _shown(key: str) -> str:
    """A key as Stripe repeats it in errors."""
    return f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}" if len(key) > 12 else "*" * len(key)


def _print(request: Request, given: dict[str, Any]) -> str:
    """What tells requests with the same idempotency key apart."""
    content = orjson.dumps(
        [request.method, request.url.path.rstrip("/"), given], option=orjson.OPT_SORT_KEYS
    )
    return hashlib.sha256(content).hexdigest()


def _other_parameters(key: str) -> Problem:
    message = (
        "Keys for idempotent requests can only be used with the same parameters they were first used "
        f"with. Try using a key other than '{key}' if you meant to execute a different request."
    )
    return Problem(400, message, kind="idempotency_error")


def _unknown_path(request: Request) -> Problem:
    message = (
        f"Unrecognized request URL ({request.method}: {request.url.path}). "
        "Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
    )
    return Problem(404, message)


def _too_many(fault: Fault | None) -> Problem:
    """Without Retry-After, unless a fault asks for it."""
    headers = {"Stripe-Rate-Limited-Reason": "global-rate"}
    if fault is not None:
        headers["Retry-After"] = str(round(fault.number("retry_after_seconds", 1)))
    message = (
        "Request rate limit exceeded. You can learn more about rate limits here "
        "https://stripe.com/docs/rate-limits."
    )
    return Problem(429, message, "rate_limit", headers=headers)
