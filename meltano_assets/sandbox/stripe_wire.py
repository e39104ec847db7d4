"""What Stripe's service says and shows: errors in its form, objects with their inner lists and ``expand``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.service import json_response
from meltano_assets.sandbox.stripe_books import Books, items_of

#: Objects inside an object that come as a list of at most so many.
NESTED_ROWS = 10
#: (Kind, field) → the kind of object whose id stands there.
_REFERENCES = {
    ("charge", "balance_transaction"): "balance_transaction",
    ("charge", "customer"): "customer",
    ("charge", "dispute"): "dispute",
    ("charge", "invoice"): "invoice",
    ("charge", "payment_intent"): "payment_intent",
    ("customer", "default_source"): "card",
    ("checkout.session", "customer"): "customer",
    ("credit_note", "customer"): "customer",
    ("credit_note", "customer_balance_transaction"): "customer_balance_transaction",
    ("credit_note", "invoice"): "invoice",
    ("credit_note", "refund"): "refund",
    ("customer_balance_transaction", "credit_note"): "credit_note",
    ("customer_balance_transaction", "customer"): "customer",
    ("customer_balance_transaction", "invoice"): "invoice",
    ("discount", "customer"): "customer",
    ("discount", "promotion_code"): "promotion_code",
    ("dispute", "charge"): "charge",
    ("dispute", "payment_intent"): "payment_intent",
    ("invoice", "charge"): "charge",
    ("invoice", "customer"): "customer",
    ("invoice", "discounts"): "discount",
    ("invoice", "default_payment_method"): "payment_method",
    ("invoice", "payment_intent"): "payment_intent",
    ("invoice", "subscription"): "subscription",
    ("invoiceitem", "customer"): "customer",
    ("invoiceitem", "discounts"): "discount",
    ("invoiceitem", "invoice"): "invoice",
    ("invoiceitem", "subscription"): "subscription",
    ("payment_intent", "customer"): "customer",
    ("payment_intent", "invoice"): "invoice",
    ("payment_intent", "latest_charge"): "charge",
    ("payment_intent", "payment_method"): "payment_method",
    ("payment_method", "customer"): "customer",
    ("payout", "balance_transaction"): "balance_transaction",
    ("payout", "failure_balance_transaction"): "balance_transaction",
    ("plan", "product"): "product",
    ("price", "product"): "product",
    ("product", "default_price"): "price",
    ("promotion_code", "customer"): "customer",
    ("quote", "customer"): "customer",
    ("quote", "invoice"): "invoice",
    ("quote", "subscription"): "subscription",
    ("refund", "balance_transaction"): "balance_transaction",
    ("refund", "charge"): "charge",
    ("refund", "payment_intent"): "payment_intent",
    ("setup_attempt", "customer"): "customer",
    ("setup_attempt", "payment_method"): "payment_method",
    ("setup_attempt", "setup_intent"): "setup_intent",
    ("setup_intent", "customer"): "customer",
    ("setup_intent", "latest_attempt"): "setup_attempt",
    ("setup_intent", "payment_method"): "payment_method",
    ("subscription", "customer"): "customer",
    ("subscription", "schedule"): "subscription_schedule",
    ("subscription_schedule", "customer"): "customer",
    ("subscription_schedule", "subscription"): "subscription",
    ("subscription", "discounts"): "discount",
    ("subscription", "default_payment_method"): "payment_method",
    ("subscription", "latest_invoice"): "invoice",
}
#: What moved the balance, by the beginning of its id.
_SOURCES = {"ch": "charge", "dp": "dispute", "po": "payout", "re": "refund"}
#: What can be asked for and is left as it is: there is nothing behind it here.
_HOLLOW = {
    "charge": {"application", "on_behalf_of", "review", "source_transfer"},
    "checkout.session": {"invoice", "payment_intent", "payment_link", "setup_intent",
                         "subscription"},
    "coupon": {"applies_to", "currency_options"},
    "customer": {"discount", "sources", "tax_ids", "tax", "cash_balance", "test_clock"},
    "invoice": {"discount", "default_source", "default_tax_rates", "quote"},
    "payment_intent": {"review", "on_behalf_of", "application", "source", "processing"},
    "plan": {"tiers"},
    "price": {"tiers", "currency_options"},
    "product": {"tax_code"},
    "payout": {"destination", "original_payout", "reversed_by"},
    "refund": {"failure_balance_transaction", "transfer_reversal"},
    "setup_intent": {"application", "mandate", "on_behalf_of", "single_use_mandate"},
    "subscription": {"discount", "default_source", "pending_setup_intent",
                     "default_tax_rates", "test_clock"},
    "subscription_item": {"discounts", "tax_rates"},
}  # fmt: skip


#: What holds lines of what is sold → its path.
_SOLD = {
    "checkout.session": "checkout/sessions",
    "payment_link": "payment_links",
    "quote": "quotes",
}
#: How errors name a kind of object, where not as it is called.
_LABELS = {
    "payment_method": "PaymentMethod", "promotion_code": "promotion code",
    "setup_intent": "setupintent",
}  # fmt: skip


@dataclass(slots=True)
class Problem(Exception):
    """What a request gets instead of an answer; ``more`` stands beside the message."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    kind: str = "invalid_request_error"
    headers: dict[str, str] = field(default_factory=dict)
    more: Record = field(default_factory=dict)

    def body(self) -> Record:
        """The answer as Stripe writes it."""
        return {"error": self.error()}

    def error(self) -> Record:
        """What the answer tells."""
        error: Record = {"type": self.kind, "message": self.message, **self.more}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param:
            error["param"] = self.param
        return error

    def response(self) -> Response:
        """The answer."""
        return json_response(self.body(), self.status, self.headers)


def unknown_path(request: Request) -> Problem:
    """The service knows no such address."""
    message = (
        f"Unrecognized request URL ({request.method}: {request.url.path}). "
        "Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
    )
    return Problem(404, message)


def missing(kind: str, key: str, param: str) -> Problem:
    """No such object: 404 where it is asked for, 400 where it is named."""
    label = _LABELS.get(kind, kind)
    status = 404 if param == "id" else 400
    return Problem(status, f"No such {label}: '{key}'", "resource_missing", param)


def existing(books: Books, kind: str, key: str, param: str = "id") -> Record:
    """The object of that id, else Stripe's answer to a ``param`` that names nothing."""
    found = books.live(kind).get(key)
    if found is None:
        raise missing(kind, key, param)
    return found


def newest_first(records: Iterable[Record]) -> list[Record]:
    """In the order of lists."""
    ordered = list(records)
    ordered.reverse()
    ordered.sort(key=created, reverse=True)
    return ordered


def created(record: Record) -> int:
    """When it was made; what says nothing of it stays as it lies."""
    return int(str(record.get("created", record.get("date", 0))))


def shortened(record: Record) -> Record:
    """The object as shown: inner lists have their first ten, what only the sandbox knows is left out."""
    key = record.get("id")
    if any(name.startswith("_") for name in record):
        record = {name: value for name, value in record.items() if not name.startswith("_")}
    if record["object"] == "invoice":
        path = f"/v1/invoices/{key}/lines"
        return {**record, "lines": nested(items_of(record["lines"]), path)}
    if record["object"] == "credit_note":
        return {
            **record,
            "lines": nested(items_of(record["lines"]), f"/v1/credit_notes/{key}/lines"),
        }
    if record["object"] == "subscription":
        path = f"/v1/subscription_items?subscription={key}"
        return {**record, "items": nested(items_of(record["items"]), path)}
    return record


def expanded(books: Books, record: Record, expands: Iterable[str]) -> Record:
    """The object as shown, with objects instead of their ids where that was asked for."""
    shown = shortened(record)
    for path in expands:
        steps = path.split(".")
        if len(steps) > 4:
            message = "You cannot expand more than 4 levels of a property."
            raise Problem(400, message, None, "expand")
        shown = _expanded(books, shown, steps, path)
    return shown


def _expanded(books: Books, record: Record, steps: list[str], asked: str) -> Record:
    kind, name, rest = str(record.get("object", "")), steps[0], steps[1:]
    held = record.get(name)
    target = _REFERENCES.get((kind, name))
    if (kind, name) == ("balance_transaction", "source"):
        target = _SOURCES[str(held).partition("_")[0]]
    if target is not None:
        if isinstance(held, list):
            held = [_referred(books, target, key) for key in held]
        else:
            held = _referred(books, target, held)
    elif kind == "charge" and name == "refunds":
        held = nested(refunds_of(books, str(record["id"])), f"/v1/charges/{record['id']}/refunds")
    elif kind in _SOLD and name == "line_items":
        items = items_of(books.live(kind)[str(record["id"])]["_items"])
        held = nested(items, f"/v1/{_SOLD[kind]}/{record['id']}/line_items")
    elif kind == "customer" and name == "subscriptions":
        path = f"/v1/customers/{record['id']}/subscriptions"
        owned = subscriptions_of(books, str(record["id"]))
        held = nested([shortened(s) for s in owned if s["status"] != "canceled"], path)
    elif kind == "invoice" and name == "payments":
        path = f"/v1/invoice_payments?invoice={record['id']}"
        held = nested(payments_of(record), path)
    elif name in _HOLLOW.get(kind, ()) or (rest and name in record and held is None):
        return record
    elif not rest or not isinstance(held, dict | list):
        raise Problem(400, f"This property cannot be expanded ({asked}).", None, "expand")
    if rest and isinstance(held, list):
        held = [_expanded(books, e, rest, asked) if isinstance(e, dict) else e for e in held]
    elif rest and isinstance(held, dict):
        if held.get("object") == "list" and rest[0] == "data":
            inner = [
                _expanded(books, entry, rest[1:], asked) if rest[1:] else entry
                for entry in items_of(held["data"])
            ]
            held = {**held, "data": inner}
        else:
            held = _expanded(books, held, rest, asked)
    return {**record, name: held}


def _referred(books: Books, kind: str, key: object) -> object:
    """The object of that id, if there is or was one."""
    if not isinstance(key, str):
        return key
    found = books.live(kind).get(key)
    if found is None and books.is_deleted(kind, key):
        found = {"id": key, "object": kind, "deleted": True}
    return shortened(found) if found else key


def payments_of(invoice: Record) -> list[Record]:
    """How an invoice was paid or is to be, as newer versions tell it."""
    intent = invoice.get("payment_intent")
    if intent is None:
        return []
    is_paid = invoice["status"] == "paid"
    transitions = invoice["status_transitions"]
    paid_at = transitions.get("paid_at") if isinstance(transitions, dict) else None
    return [
        {
            "id": f"inpay_{str(invoice['id']).removeprefix('in_')}",
            "object": "invoice_payment",
            "amount_paid": invoice["amount_paid"] if is_paid else None,
            "amount_requested": invoice["amount_due"],
            "created": invoice["created"],
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {
                "payment_intent": intent["id"] if isinstance(intent, dict) else intent,
                "type": "payment_intent",
            },
            "status": "paid" if is_paid else "canceled" if invoice["status"] == "void" else "open",
            "status_transitions": {"canceled_at": None, "paid_at": paid_at},
        }
    ]


def refunds_of(books: Books, charge: str) -> list[Record]:
    """What was given back of a charge, the newest first."""
    return newest_first(r for r in books.live("refund").values() if r["charge"] == charge)


def subscriptions_of(books: Books, customer: str) -> list[Record]:
    """What a customer subscribed to, the newest first."""
    subscriptions = books.live("subscription").values()
    return newest_first(s for s in subscriptions if s["customer"] == customer)


def nested(records: Sequence[Record], path: str) -> Record:
    """A list inside of an object."""
    return {
        "object": "list",
        "data": list(records[:NESTED_ROWS]),
        "has_more": len(records) > NESTED_ROWS,
        "total_count": len(records),
        "url": path,
    }
