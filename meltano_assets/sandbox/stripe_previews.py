"""Previews of Stripe's bills: what a customer or subscription is to be billed next, or after a change.

The bill is written as it would be, at its own time, shown, and everything is put back as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.stripe_billing import COLLECTION, NEW_ITEM, Billing, mapping
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_forms import (
    ANY,
    BOOLEAN,
    INTEGER,
    TEXT,
    Shape,
    checked,
    required_problem,
    texts,
)
from meltano_assets.sandbox.stripe_renewals import Renewals, next_end
from meltano_assets.sandbox.stripe_subscriptions import CHANGED_ITEM, PRORATIONS, Subscriptions
from meltano_assets.sandbox.stripe_wire import Problem, existing

_HOUR = 3_600
_BILLED = ("active", "trialing", "past_due", "unpaid")
_DETAILS: Shape = {
    "billing_cycle_anchor": ANY,
    "cancel_at": INTEGER,
    "cancel_at_period_end": BOOLEAN,
    "cancel_now": BOOLEAN,
    "default_tax_rates": [TEXT],
    "items": [CHANGED_ITEM],
    "proration_behavior": PRORATIONS,
    "proration_date": INTEGER,
    "resume_at": TEXT,
    "start_date": INTEGER,
    "trial_end": ANY,
}
_PREVIEW: Shape = {
    **texts("currency customer schedule subscription on_behalf_of"),
    "automatic_tax": ANY,
    "customer_details": ANY,
    "discounts": ANY,
    "invoice_items": [{**NEW_ITEM, "invoiceitem": TEXT, "price_data": ANY}],
    "issuer": ANY,
    "preview_mode": ("next", "recurring"),
    "schedule_details": ANY,
    "subscription_details": _DETAILS,
}
#: ``invoices/upcoming`` has the details one by one.
_UPCOMING: Shape = {
    **{name: kind for name, kind in _PREVIEW.items() if name != "subscription_details"},
    **{f"subscription_{name}": kind for name, kind in _DETAILS.items()},
    "coupon": TEXT,
    "collection_method": COLLECTION,
}


class Previews:
    """Draws up bills that nobody gets."""

    def __init__(self, books: Books, billing: Billing, subscriptions: Subscriptions) -> None:
        self._books = books
        self._billing = billing
        self._subscriptions = subscriptions
        self._renewals = Renewals(books, billing)

    def preview(self, given: Mapping[str, Any]) -> Record:
        """The next bill, with ``subscription_details`` as a change of the subscription."""
        params = checked(given, _PREVIEW)
        return self._drawn(params, params.get("subscription_details") or {})

    def upcoming(self, given: Mapping[str, Any]) -> Record:
        """The same, asked for in the older way."""
        params = checked(given, _UPCOMING)
        details = {
            name: params[f"subscription_{name}"]
            for name in _DETAILS
            if f"subscription_{name}" in params
        }
        return {n: v for n, v in self._drawn(params, details).items() if n != "id"}

    def _drawn(self, params: dict[str, Any], details: dict[str, Any]) -> Record:
        mark = self._books.mark()
        try:
            subscription, customer = self._whose(params)
            if subscription is not None:
                invoice = self._of(subscription, customer, params, details)
            elif details.get("items"):
                invoice = self._of_new(customer, params, details)
            else:
                invoice = self._of_items(customer, params)
        finally:
            self._books.roll_back(mark)
        at = int(str(invoice["created"]))
        is_charged = invoice["collection_method"] == "charge_automatically"
        return {
            **invoice,
            "id": f"upcoming_{invoice['id']}",
            "billing_reason": "upcoming",
            "lines": [_line(line) for line in items_of(invoice["lines"])],
            "next_payment_attempt": at + _HOUR if is_charged else None,
            "number": None,
            "payment_intent": None,
            "status": "draft",
        }

    def _whose(self, params: Mapping[str, Any]) -> tuple[Record | None, Record]:
        """The subscription that is billed next, if any, and its customer."""
        if key := params.get("subscription"):
            subscription = existing(self._books, "subscription", key, "subscription")
            owner = str(subscription["customer"])
            if params.get("customer") not in (None, owner):
                message = f"Subscription {key} does not belong to customer {params['customer']}."
                raise Problem(400, message, None, "subscription")
            return subscription, existing(self._books, "customer", owner, "customer")
        if not params.get("customer"):
            raise required_problem("customer")
        customer = existing(self._books, "customer", params["customer"], "customer")
        details = params.get("subscription_details") or {}
        if details.get("items") or params.get("subscription_items"):
            return None, customer
        living = [
            s for s in self._books.live("subscription").values()
            if s["customer"] == customer["id"] and s["status"] in _BILLED
            and not s["cancel_at_period_end"]
        ]  # fmt: skip
        living.sort(key=lambda s: int(str(s["current_period_end"])))
        return (living[0] if living else None), customer

    def _of(
        self,
        subscription: Record,
        customer: Record,
        params: dict[str, Any],
        details: dict[str, Any],
    ) -> Record:
        behavior = details.get("proration_behavior")
        change = {n: v for n, v in details.items() if n not in ("cancel_now", "resume_at")}
        if change:
            if behavior == "always_invoice":
                change["proration_behavior"] = "create_prorations"
            subscription = self._subscriptions.change(subscription, change)
        if subscription["status"] not in _BILLED or subscription["cancel_at_period_end"]:
            raise _nothing(f"subscription: {subscription['id']}")
        if behavior == "always_invoice":
            # What changed is billed at once.
            return self._bill(subscription, customer, params, has_period=False)
        at = int(str(subscription["current_period_end"]))
        with self._books.moment(at):
            begun = self._books.change(
                None, subscription, current_period_start=at,
                current_period_end=next_end(subscription, at),
            )  # fmt: skip
            invoice = self._bill(begun, customer, params, has_period=True)
        return {**invoice, "period_start": subscription["current_period_start"], "period_end": at}

    def _bill(
        self, subscription: Record, customer: Record, params: dict[str, Any], *, has_period: bool
    ) -> Record:
        told: dict[str, Any] = {"subscription": subscription["id"]}
        if subscription["collection_method"] == "send_invoice":
            days = subscription["days_until_due"]
            told |= {"collection_method": "send_invoice", "days_until_due": days}
        invoice = self._billing.draft(customer, str(subscription["currency"]), told)
        is_next = params.get("preview_mode") != "recurring"
        if is_next:
            self._renewals.take_pending(subscription, invoice)
        self._add(invoice, customer, params)
        if has_period:
            return self._renewals.with_lines(subscription, invoice, "upcoming")
        return self._billing.totalled(invoice)

    def _of_new(self, customer: Record, params: dict[str, Any], details: dict[str, Any]) -> Record:
        """The first bill of a subscription that there is not yet."""
        asked = {
            "customer": customer["id"], "items": details["items"],
            "payment_behavior": "default_incomplete",
            **{name: details[name] for name in ("trial_end",) if name in details},
        }  # fmt: skip
        made = self._subscriptions.subscribe(asked)
        invoice = existing(self._books, "invoice", str(made["latest_invoice"]))
        invoice = self._books.change(None, invoice, status="draft")
        self._renewals.take_pending(made, invoice)
        self._add(invoice, customer, params)
        return {**self._billing.totalled(invoice), "subscription": None}

    def _of_items(self, customer: Record, params: dict[str, Any]) -> Record:
        """What waits for the customer's next bill, without a subscription."""
        currency = str(params.get("currency") or customer["currency"] or "usd")
        invoice = self._billing.draft(customer, currency, {})
        for item in list(self._books.live("invoiceitem").values()):
            if item["customer"] == customer["id"] and item["invoice"] is None:
                self._books.change(None, item, invoice=invoice["id"])
        self._add(invoice, customer, params)
        invoice = self._billing.totalled(invoice)
        if not items_of(invoice["lines"]):
            raise _nothing(f"customer: {customer['id']}")
        return invoice

    def _add(self, invoice: Record, customer: Record, params: Mapping[str, Any]) -> None:
        """The items that are only to be imagined."""
        for entry in params.get("invoice_items") or []:
            told = {name: value for name, value in entry.items() if name not in ("invoiceitem",)}
            told |= {"customer": customer["id"], "invoice": invoice["id"]}
            told.setdefault("currency", invoice["currency"])
            self._billing.new_item(told)


def _line(line: Record) -> Record:
    """A line whose id is the same whenever it is asked for, so that pages of lines fit together."""
    source = line.get("subscription_item") or line["id"]
    return {**line, "id": f"il_{str(source).partition('_')[2]}", "invoice": None}


def _nothing(whose: str) -> Problem:
    return Problem(404, f"No upcoming invoices for {whose}", "invoice_upcoming_none")


def line_items(invoice: Mapping[str, object]) -> list[Record]:
    """The lines of a preview."""
    return [mapping(line) for line in items_of(invoice["lines"])]
