"""What clients write to Stripe to sell: quotes, links to pay at, and sessions of the customer portal.

A quote is drafted, finalized, and accepted or cancelled; accepted, it becomes a subscription or an invoice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.stripe_billing import COLLECTION, Billing, mapping
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_forms import (
    ANY,
    BOOLEAN,
    INTEGER,
    METADATA,
    TEXT,
    Shape,
    checked,
    merged_metadata,
    required_problem,
    texts,
)
from meltano_assets.sandbox.stripe_setups import Setups
from meltano_assets.sandbox.stripe_subscriptions import Subscriptions
from meltano_assets.sandbox.stripe_wire import Problem, existing

_LINE: Shape = {"price": TEXT, "price_data": ANY, "quantity": INTEGER, "tax_rates": [TEXT]}
_QUOTE: Shape = {
    **texts("customer description footer header on_behalf_of"),
    "collection_method": COLLECTION,
    "expires_at": INTEGER,
    "invoice_settings": {"days_until_due": INTEGER},
    "line_items": [{**_LINE, "id": TEXT}],
    "metadata": METADATA,
    "subscription_data": ANY,
}
_LINK: Shape = {
    "active": BOOLEAN,
    "after_completion": ANY,
    "allow_promotion_codes": BOOLEAN,
    "currency": TEXT,
    "customer_creation": ("always", "if_required"),
    "line_items": [{**_LINE, "adjustable_quantity": ANY, "id": TEXT}],
    "metadata": METADATA,
    "submit_type": ("auto", "book", "donate", "pay"),
}
_PORTAL: Shape = {
    **texts("configuration customer locale on_behalf_of return_url"),
    "flow_data": ANY,
}
_MONTH_SECONDS = 30 * 86_400


class Offers:
    """Writes quotes, payment links and portal sessions."""

    def __init__(
        self, books: Books, setups: Setups, billing: Billing, subscriptions: Subscriptions
    ) -> None:
        self._books = books
        self._setups = setups
        self._billing = billing
        self._subscriptions = subscriptions

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        if method != "POST":
            return None
        match parts:
            case ["quotes"]:
                params = checked(given, _QUOTE)
                return lambda: self._new_quote(params)
            case ["quotes", key]:
                params = checked(given, _QUOTE)
                return lambda: self._change_quote(existing(self._books, "quote", key), params)
            case ["quotes", key, ("accept" | "cancel" | "finalize") as word]:
                checked(given, {"expires_at": INTEGER} if word == "finalize" else {})
                return lambda: self._turn(existing(self._books, "quote", key), word)
            case ["payment_links"]:
                params = checked(given, _LINK, "line_items")
                return lambda: self._new_link(params)
            case ["payment_links", key]:
                params = checked(given, _LINK)
                return lambda: self._change_link(existing(self._books, "payment_link", key), params)
            case ["billing_portal", "sessions"]:
                params = checked(given, _PORTAL, "customer")
                return lambda: self._new_portal(params)
        return None

    # Quotes

    def _new_quote(self, params: dict[str, Any]) -> Record:
        if key := params.get("customer"):
            existing(self._books, "customer", key, "customer")
        stamp = self._books.stamp()
        items = self._items(params)
        plain = ("customer", "description", "footer", "header", "on_behalf_of")
        return self._books.put(
            "quote.created",
            {
                "id": self._books.new_id("qt"),
                "object": "quote",
                **_totals(items),
                "application": None,
                "automatic_tax": {"enabled": False, "liability": None, "status": None},
                "collection_method": params.get("collection_method") or "charge_automatically",
                "created": stamp,
                "default_tax_rates": [],
                "discounts": [],
                "expires_at": params.get("expires_at") or stamp + _MONTH_SECONDS,
                "from_quote": None,
                "invoice": None,
                "invoice_settings": params.get("invoice_settings") or {"days_until_due": None},
                "livemode": False,
                "metadata": merged_metadata({}, params.get("metadata") or {}),
                "number": None,
                "status": "draft",
                "status_transitions": dict.fromkeys(("accepted_at", "canceled_at", "finalized_at")),
                "subscription": None,
                "subscription_data": {
                    "description": None, "effective_date": None, "trial_period_days": None,
                },
                "subscription_schedule": None,
                "test_clock": None,
                "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
                "transfer_data": None,
                **{name: params.get(name) for name in plain},
                "_items": items,
            },
        )  # fmt: skip

    def _items(self, params: Mapping[str, Any]) -> list[Record]:
        entries = params.get("line_items") or []
        return [
            self._setups.item(entry, f"line_items[{n}]", "quote") for n, entry in enumerate(entries)
        ]

    def _change_quote(self, quote: Record, params: dict[str, Any]) -> Record:
        if quote["status"] != "draft" and params.keys() - {"metadata"}:
            raise _not_now(quote, "update", "draft")
        if key := params.get("customer"):
            existing(self._books, "customer", key, "customer")
        fixed = ("line_items", "metadata", "subscription_data")
        fields: Record = {n: v for n, v in params.items() if n not in fixed}
        if "line_items" in params:
            items = self._items(params)
            fields |= {**_totals(items), "_items": items}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(quote["metadata"], params["metadata"])
        return self._books.change(None, quote, **fields)

    def _turn(self, quote: Record, word: str) -> Record:
        allowed = {"finalize": ("draft",), "accept": ("open",), "cancel": ("draft", "open")}[word]
        if quote["status"] not in allowed:
            raise _not_now(quote, word, " or ".join(allowed))
        status = {"finalize": "open", "accept": "accepted", "cancel": "canceled"}[word]
        name = {"finalize": "finalized", "accept": "accepted", "cancel": "canceled"}[word]
        fields: Record = {"status": status}
        if word == "finalize":
            if not quote["customer"]:
                raise Problem(
                    400, "You cannot finalize a quote without a customer.", None, "customer"
                )
            if not items_of(quote["_items"]):
                raise Problem(400, "You cannot finalize a quote without line items.")
            fields["number"] = f"QT-{str(quote['id'])[-8:].upper()}-1"
        if word == "accept":
            fields |= self._sold(quote)
        transitions = mapping(quote["status_transitions"])
        fields["status_transitions"] = {**transitions, f"{name}_at": self._books.stamp()}
        return self._books.change(f"quote.{name}", quote, **fields)

    def _sold(self, quote: Record) -> Record:
        """What an accepted quote became."""
        items = items_of(quote["_items"])
        is_sent = quote["collection_method"] == "send_invoice"
        days = mapping(quote["invoice_settings"]).get("days_until_due")
        told: dict[str, Any] = {"collection_method": quote["collection_method"]}
        if is_sent:
            told["days_until_due"] = 30 if days is None else days
        recurring = [i for i in items if mapping(i["price"])["type"] == "recurring"]
        if recurring:
            entries = [
                {"price": mapping(i["price"])["id"], "quantity": i["quantity"]} for i in recurring
            ]
            behavior = "default_incomplete"
            asked = {**told, "customer": quote["customer"], "items": entries}
            made = self._subscriptions.subscribe({**asked, "payment_behavior": behavior})
            return {"subscription": made["id"], "invoice": made["latest_invoice"]}
        customer = existing(self._books, "customer", str(quote["customer"]), "customer")
        currency = str(quote["currency"])
        invoice = self._billing.draft(customer, currency, told)
        for item in items:
            entry = {"customer": customer["id"], "invoice": invoice["id"], "currency": currency}
            price = mapping(item["price"])["id"]
            self._billing.new_item({**entry, "price": price, "quantity": item["quantity"]})
        return {"invoice": invoice["id"]}

    # Links and portals

    def _new_link(self, params: dict[str, Any]) -> Record:
        items = self._items(params)
        if not items:
            raise required_problem("line_items")
        key = self._books.new_id("plink")
        return self._books.put(
            "payment_link.created",
            {
                "id": key,
                "object": "payment_link",
                "active": True,
                "after_completion": {
                    "type": "hosted_confirmation",
                    "hosted_confirmation": {"custom_message": None},
                },
                "allow_promotion_codes": bool(params.get("allow_promotion_codes")),
                "automatic_tax": {"enabled": False, "liability": None},
                "billing_address_collection": "auto",
                "currency": items[0]["currency"],
                "customer_creation": params.get("customer_creation") or "if_required",
                "livemode": False,
                "metadata": merged_metadata({}, params.get("metadata") or {}),
                "payment_method_types": None,
                "submit_type": params.get("submit_type") or "auto",
                "url": f"https://buy.example.com/{key}",
                "_items": items,
            },
        )

    def _change_link(self, link: Record, params: dict[str, Any]) -> Record:
        kept = ("active", "allow_promotion_codes", "customer_creation", "submit_type")
        fields: Record = {name: params[name] for name in kept if name in params}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(link["metadata"], params["metadata"])
        return self._books.change("payment_link.updated", link, **fields)

    def _new_portal(self, params: dict[str, Any]) -> Record:
        existing(self._books, "customer", params["customer"], "customer")
        key = self._books.new_id("bps")
        # Nobody can ask for it again.
        return {
            "id": key,
            "object": "billing_portal.session",
            "configuration": params.get("configuration") or self._books.new_id("bpc"),
            "created": self._books.stamp(),
            "customer": params["customer"],
            "flow": None,
            "livemode": False,
            "locale": params.get("locale"),
            "on_behalf_of": None,
            "return_url": params.get("return_url"),
            "url": f"https://billing.example.com/p/session/{key}",
        }


def _totals(items: list[Record]) -> Record:
    total = sum(int(str(item["amount_total"])) for item in items)
    recurring = [i for i in items if mapping(i["price"])["type"] == "recurring"]
    told: Record | None = None
    if recurring:
        amount = sum(int(str(item["amount_total"])) for item in recurring)
        period = mapping(mapping(recurring[0]["price"])["recurring"])
        told = {
            "amount_subtotal": amount,
            "amount_total": amount,
            "interval": period.get("interval"),
            "interval_count": period.get("interval_count"),
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        }
    return {
        "amount_subtotal": total,
        "amount_total": total,
        "computed": {
            "recurring": told,
            "upfront": {"amount_subtotal": total, "amount_total": total},
        },
        "currency": items[0]["currency"] if items else None,
    }


def _not_now(quote: Record, verb: str, allowed: str) -> Problem:
    message = (
        f"You cannot {verb} a quote that has a status of {quote['status']}; it must be {allowed}."
    )
    return Problem(400, message)
