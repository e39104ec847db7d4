"""Stripe's test cards: a name (``tok_visa``, ``pm_card_visa_chargeDeclined`` …) says what becomes of a payment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.stripe_books import Books
from meltano_assets.sandbox.stripe_forms import merged_metadata, required_problem
from meltano_assets.sandbox.stripe_wire import Problem, missing

_BRANDS = {
    "visa": "4242", "visa_debit": "5556", "mastercard": "4444", "mastercard_debit": "3222",
    "mastercard_prepaid": "5100", "amex": "8431", "discover": "9424", "diners": "0004",
    "jcb": "0505", "unionpay": "0005",
}  # fmt: skip
#: The ending of a test card's name → error code, decline code, words.
DECLINES = {
    "": ("card_declined", "generic_decline", "Your card was declined."),
    "InsufficientFunds": ("card_declined", "insufficient_funds",
                          "Your card has insufficient funds."),
    "LostCard": ("card_declined", "lost_card", "Your card was declined."),
    "StolenCard": ("card_declined", "stolen_card", "Your card was declined."),
    "Fraudulent": ("card_declined", "fraudulent", "Your card was declined."),
    "ExpiredCard": ("expired_card", "expired_card", "Your card has expired."),
    "IncorrectCvc": ("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect."),
    "ProcessingError": ("processing_error", "processing_error",
                        "An error occurred while processing your card. Try again in a little bit."),
}  # fmt: skip
_CARD = re.compile(r"(?:tok|pm_card)_(?:visa_)?charge(?:Declined(?P<why>\w*)|CustomerFail)")
BLANK_BILLING: Record = {
    "address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
    "email": None,
    "name": None,
    "phone": None,
}


def attached(books: Books, params: Mapping[str, Any], customer: Record) -> Record:
    """A customer's fields after the card that came with a write is theirs."""
    if name := params.get("source"):
        card = new_card(books, name, "source")
        check_attachable(card)
        books.put("customer.source.created", {**card, "customer": customer["id"]})
        return {"default_source": card["id"]}
    if name := params.get("payment_method"):
        method = books.live("payment_method").get(name)
        method = method or new_method(books, name, "payment_method")
        check_attachable(method)
        books.put("payment_method.attached", {**method, "customer": customer["id"]})
    return {}


def add_source(books: Books, customer: Record, params: Mapping[str, Any]) -> Record:
    """The customer has one card more, by its token; the first is the one that is charged."""
    name = params.get("source")
    if not name:
        raise required_problem("source")
    if isinstance(name, Mapping):
        message = (
            "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest "
            "you use test tokens that map to the test card you are using."
        )
        raise Problem(402, message, kind="card_error")
    card = new_card(books, name, "source")
    check_attachable(card)
    metadata = merged_metadata({}, params.get("metadata") or {})
    card = books.put(
        "customer.source.created", {**card, "customer": customer["id"], "metadata": metadata}
    )
    if customer["default_source"] is None:
        books.change("customer.updated", customer, default_source=card["id"])
    return public(card)


def source_of(books: Books, customer: Record, key: str) -> Record:
    """A card of that customer."""
    card = books.live("card").get(key)
    if card is None or card["customer"] != customer["id"]:
        raise missing("source", key, "id")
    return card


def change_source(books: Books, customer: Record, key: str, params: Mapping[str, Any]) -> Record:
    """Other words about a customer's card."""
    card = source_of(books, customer, key)
    fields: Record = {name: value for name, value in params.items() if name != "metadata"}
    if "metadata" in params:
        fields["metadata"] = merged_metadata(card["metadata"], params["metadata"])
    return public(books.change("customer.source.updated", card, **fields))


def delete_source(books: Books, customer: Record, key: str) -> Record:
    """The card is the customer's no more; another one is charged from now on."""
    card = source_of(books, customer, key)
    books.delete("customer.source.deleted", card)
    if customer["default_source"] == key:
        others = (c["id"] for c in books.live("card").values() if c["customer"] == customer["id"])
        books.change("customer.updated", customer, default_source=next(others, None))
    return {"id": key, "object": "card", "deleted": True}


def new_card(books: Books, name: str, param: str) -> Record:
    """A test card by the name of its token, as a source; kept nowhere yet."""
    if not name.startswith("tok_"):
        raise missing("source", name, param)
    facts = _facts(name, "token", param)
    return {
        "id": books.new_id("card"),
        "object": "card",
        "customer": None,
        "metadata": {},
        "name": None,
        **facts,
        "_attaches": name.endswith("CustomerFail"),
    }


def new_method(books: Books, name: str, param: str) -> Record:
    """A test card by its name, as a method of payment; kept nowhere yet."""
    kind = "token" if name.startswith("tok_") else "PaymentMethod"
    facts = _facts(name, kind, param)
    declined_by = facts.pop("_declined")
    return {
        "id": books.new_id("pm"),
        "object": "payment_method",
        "billing_details": BLANK_BILLING,
        "card": facts,
        "created": books.stamp(),
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
        "_attaches": name.endswith("CustomerFail"),
        "_declined": declined_by,
    }


def _facts(name: str, kind: str, param: str) -> Record:
    found = _CARD.fullmatch(name)
    brand = re.sub(r"^(tok|pm_card)_", "", name)
    why = (found["why"] or "") if found else None
    if found:
        brand = "visa"
    if brand not in _BRANDS or (why and why not in DECLINES):
        raise missing(kind, name, param)
    return {
        "brand": brand.partition("_")[0],
        "checks": {"address_line1_check": None, "address_postal_code_check": None,
                   "cvc_check": "pass"},
        "country": "US",
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": f"Sandbox{_BRANDS[brand]}",
        "funding": brand.partition("_")[2] or "credit",
        "last4": _BRANDS[brand] if why is None else "0002",
        "_declined": why,
    }  # fmt: skip


def outcome(card: Record) -> tuple[str, str, str] | None:
    """Why the bank refuses it – error code, decline code, words –, if it does."""
    why = card.get("_declined")
    return None if why is None else DECLINES[str(why)]


def declined(card: Record, charge: Record | None = None) -> Problem:
    """402: the bank says no."""
    code, reason, words = outcome(card) or DECLINES[""]
    more: Record = {"decline_code": reason, **({"charge": charge["id"]} if charge else {})}
    return Problem(402, words, code, None, "card_error", more=more)


def check_attachable(card: Record) -> None:
    """A card whose charges are declined cannot become a customer's, with one exception among the names."""
    if outcome(card) is not None and not card.get("_attaches"):
        raise declined(card)


def public(record: Record) -> Record:
    return {name: value for name, value in record.items() if not name.startswith("_")}
