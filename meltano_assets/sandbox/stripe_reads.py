"""What Stripe's clients read: objects by id, lists with cursors, nested lists, events of thirty days, searches.

Lists of the real service that hold nothing here are empty in the service's own form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from starlette.requests import Request

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_balance import balance
from meltano_assets.sandbox.company_stripe_records import API_VERSION
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.numbers import is_number
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
    OWNED,
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
    unknown_path,
)
from meltano_assets.sandbox.stripe_writes import Writes

ACCOUNT = "acct_1MeltanoSandbox00"
EVENTS_SECONDS = 30 * 86_400


class Reads:
    """Answers what asks and changes nothing."""

    def __init__(
        self,
        company: Company,
        books: Books,
        writes: Writes,
        faults: FaultBox,
        *,
        now: Callable[[], datetime],
        forgets_events: bool,
    ) -> None:
        self._company = company
        self._books = books
        self._previews = writes.previews
        self._credit_notes = writes.credit_notes
        self._faults = faults
        self._now = now
        #: Thirty days are what Stripe promises; without this, events of thirty days before the
        #: company's first day stay.
        self._forgets_events = forgets_events

    def answer(self, request: Request, parts: list[str]) -> object:
        """What a GET of that path gets."""
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
                return self.answer(request, ["balance_transactions", *key])
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
                existing(books, "setup_intent", key, "setup_intent")
                attempts = books.live("setup_attempt").values()
                tried = [one for one in attempts if one["setup_intent"] == key]
                return self._page(request, newest_first(tried), "setup_attempts")
            case ["credit_notes", "preview", *rest] if rest in ([], ["lines"]):
                return self._preview_credit(request, has_lines=bool(rest))
            case ["credit_notes", key, "lines"]:
                note = existing(books, "credit_note", key)
                return self._page(request, items_of(note["lines"]), "credit_notes/lines")
            case ["checkout", "sessions", key, "line_items"]:
                session = existing(books, "checkout.session", key)
                return self._page(
                    request, items_of(session["_items"]), "checkout/sessions/line_items"
                )
            case [
                ("payment_links" | "quotes") as name,
                key,
                ("line_items" | "computed_upfront_line_items") as part,
            ]:
                offer = existing(books, LISTS[name], key)
                return self._page(request, items_of(offer["_items"]), f"{name}/{part}")
            case ["customers", key, "discount"]:
                held = existing(books, "customer", key)["discount"]
                if not isinstance(held, dict):
                    message = f"No active discount for customer: {key}"
                    raise Problem(404, message, "resource_missing", None)
                return held
            case ["customers", key, part] if part in OWNED:
                existing(books, "customer", key)
                owned = [r for r in books.live(OWNED[part]).values() if r["customer"] == key]
                return self._page(request, newest_first(owned), f"customers/{part}")
            case ["customers", key, part, one] if part in OWNED:
                existing(books, "customer", key)
                known = books.live(OWNED[part]).get(one)
                is_its = known is not None and known["customer"] == key
                return self._single(request, OWNED[part], one, known if is_its else None)
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
            case [name, "search"] if LISTS.get(name) in FIELDS:
                return self._search(request, LISTS[name])
            case [*names] if (path := "/".join(names)) in LISTS:
                return self._page(request, self._list(request, LISTS[path]), path)
            case [*names, key] if "/".join(names) in LISTS:
                kind = LISTS["/".join(names)]
                if books.is_deleted(kind, key):
                    if kind not in ("customer", "product"):
                        raise missing(kind, key, "id")
                    return {"id": key, "object": kind, "deleted": True}
                return self._single(request, kind, key, books.live(kind).get(key))
        raise unknown_path(request)

    def _upcoming(self, request: Request, *, has_lines: bool) -> object:
        """What is to be billed next, as versions before 2025-03-31 ask for it; or its lines."""
        if request.headers.get("stripe-version", API_VERSION) >= "2025-03-31":
            raise unknown_path(request)
        asked = read_form(request.url.query, "", b"")
        pages = ("limit", "starting_after", "ending_before") if has_lines else ()
        given = {name: value for name, value in asked.items() if name not in pages}
        invoice = self._previews.upcoming(given)
        if has_lines:
            return self._page(request, line_items(invoice), "invoices/upcoming/lines")
        return self.shown(request, invoice, _expands(request))

    def _preview_credit(self, request: Request, *, has_lines: bool) -> object:
        """What a credit note would be; or its lines."""
        given = read_form(request.url.query, "", b"")
        pages = ("limit", "starting_after", "ending_before") if has_lines else ()
        asked = {name: value for name, value in given.items() if name not in pages}
        note = self._credit_notes.preview(asked)
        if has_lines:
            return self._page(request, items_of(note["lines"]), "credit_notes/preview/lines")
        return self.shown(request, note, _expands(request))

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
        return self.shown(request, known, _expands(request))

    def _events(self, request: Request) -> list[Record]:
        present = self._now() if self._forgets_events else self._company.now(0)
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
        if begin < 0 or self._faults.take("lose_cursor", request.url.path):
            raise Problem(400, f"Invalid page: {page}", None, "page")
        end = begin + limit
        has_more = end < len(hits)
        following = begin if self._faults.take("repeat_page", request.url.path) else end
        answer: dict[str, object] = {
            "object": "search_result",
            "data": [
                self.shown(request, r, _expands(request, in_list=True)) for r in hits[begin:end]
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
        is_lost = cursor and self._faults.take("lose_cursor", request.url.path)
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
        if after and has_more and self._faults.take("repeat_page", request.url.path):
            begin, end = max(0, begin - limit), begin
        return {
            "object": "list",
            "data": [
                self.shown(request, r, _expands(request, in_list=True)) for r in records[begin:end]
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

    def shown(self, request: Request, record: Record, expands: Iterable[str]) -> Record:
        """The object as that request is to see it."""
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
        fault = self._faults.take("change_schema", str(record["object"]))
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
