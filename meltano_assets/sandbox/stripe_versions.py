"""How Stripe's objects look to a client that asks for another version of the API.

The account's own version is ``API_VERSION``. Of the vendor's changelog this knows what clients notice:

* since 2025-09-30 (``clover``) a discount and a promotion code name their coupon instead of carrying it;
* since 2025-03-31 (``basil``) periods of subscriptions stand at their items, and an invoice tells of its
  subscription, its payment and its prices elsewhere;
* before 2022-11-15 a charge came with its refunds;
* before 2020-08-27 a customer came with cards and subscriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.stripe_books import Books
from meltano_assets.sandbox.stripe_wire import existing, nested, refunds_of, subscriptions_of

BASIL, CLOVER = "2025-03-31", "2025-09-30"
_REFUNDS_UNTIL, _CUSTOMERS_UNTIL = "2022-11-15", "2020-08-27"


def shaped(books: Books, version: str, record: Record) -> Record:
    """The object, and those in it, as that version has them."""
    if record.get("object") == "event":
        # An event is told as it was when it happened, in the account's own version.
        return record
    if version >= BASIL:
        return _walked(record, _CLOVER if version >= CLOVER else _BASIL)
    if version < _REFUNDS_UNTIL and record.get("object") == "charge" and "refunds" not in record:
        refunds = refunds_of(books, str(record["id"]))
        record = {**record, "refunds": nested(refunds, f"/v1/charges/{record['id']}/refunds")}
    is_old = version < _CUSTOMERS_UNTIL and record.get("object") == "customer"
    if is_old and "subscriptions" not in record and not record.get("deleted"):
        key = str(record["id"])
        existing(books, "customer", key)
        cards = [card for card in books.live("card").values() if card["customer"] == key]
        owned = [s for s in subscriptions_of(books, key) if s["status"] != "canceled"]
        record = {
            **record,
            "sources": nested(cards, f"/v1/customers/{key}/sources"),
            "subscriptions": nested(owned, f"/v1/customers/{key}/subscriptions"),
        }
    return record


def _walked(value: Record, changes: Mapping[str, Callable[[Record], Record]]) -> Record:
    """The object with every object in it changed, the inner ones first."""
    inner: Record = {}
    for name, held in value.items():
        if isinstance(held, dict):
            inner[name] = _walked(held, changes)
        elif isinstance(held, list):
            inner[name] = [
                _walked(each, changes) if isinstance(each, dict) else each for each in held
            ]
        else:
            inner[name] = held
    change = changes.get(str(value.get("object")))
    return change(inner) if change else inner


def _subscription(record: Record) -> Record:
    period = {
        f"current_period_{end}": record.get(f"current_period_{end}") for end in ("start", "end")
    }
    items = record.get("items")
    gone = (*period, "discount")
    changed = {name: value for name, value in record.items() if name not in gone}
    if isinstance(items, dict) and isinstance(items.get("data"), list):
        changed["items"] = {**items, "data": [{**item, **period} for item in items["data"]]}
    return changed


def _invoice(record: Record) -> Record:
    gone = (
        "charge", "discount", "paid", "paid_out_of_band", "payment_intent", "quote", "subscription",
        "subscription_details", "subscription_proration_date", "tax", "total_tax_amounts", "transfer_data",
    )  # fmt: skip
    subscription = record.get("subscription")
    parent: Record | None = None
    if subscription is not None:
        parent = {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"metadata": {}, "subscription": subscription},
        }
    kept = {name: value for name, value in record.items() if name not in gone}
    return {**kept, "parent": parent, "total_taxes": _taxes(record.get("total_tax_amounts"))}


def _taxes(amounts: object) -> list[Record]:
    """What was a rate's id beside an amount, with its details."""
    return [
        {
            "amount": tax["amount"],
            "tax_behavior": "inclusive" if tax["inclusive"] else "exclusive",
            "tax_rate_details": {"tax_rate": tax["tax_rate"]},
            "taxability_reason": tax["taxability_reason"] or "not_available",
            "taxable_amount": tax["taxable_amount"],
            "type": "tax_rate_details",
        }
        for tax in (amounts if isinstance(amounts, list) else [])
    ]


def _line(record: Record) -> Record:
    price, item = record.get("price"), record.get("subscription_item")
    gone = (
        "invoice_item",
        "plan",
        "price",
        "proration",
        "subscription_item",
        "tax_amounts",
        "tax_rates",
        "type",
    )
    kept = {name: value for name, value in record.items() if name not in gone}
    details: Record = {
        "proration": bool(record.get("proration")),
        "subscription": record.get("subscription"),
        "subscription_item": item,
    }
    is_item = item is None
    kind = "invoice_item_details" if is_item else "subscription_item_details"
    if is_item:
        details["invoice_item"] = record.get("invoice_item")
    other = "subscription_item_details" if is_item else "invoice_item_details"
    pricing: Record | None = None
    if isinstance(price, dict):
        named = {"price": price["id"], "product": price.get("product")}
        pricing = {
            "type": "price_details",
            "price_details": named,
            "unit_amount_decimal": price.get("unit_amount_decimal"),
        }
    return {
        **kept,
        "parent": {"type": kind, kind: details, other: None},
        "pricing": pricing,
        "taxes": _taxes(record.get("tax_amounts")),
    }


def _invoice_item(record: Record) -> Record:
    price, subscription = record.get("price"), record.get("subscription")
    gone = (
        "plan",
        "price",
        "subscription",
        "subscription_item",
        "unit_amount",
        "unit_amount_decimal",
    )
    kept = {name: value for name, value in record.items() if name not in gone}
    pricing: Record | None = None
    if isinstance(price, dict):
        named = {"price": price["id"], "product": price.get("product")}
        decimal = record.get("unit_amount_decimal")
        pricing = {"type": "price_details", "price_details": named, "unit_amount_decimal": decimal}
    parent: Record | None = None
    if subscription is not None:
        told = {"subscription": subscription, "subscription_item": record.get("subscription_item")}
        parent = {"type": "subscription_details", "subscription_details": told}
    return {**kept, "parent": parent, "pricing": pricing}


def _payment(record: Record) -> Record:
    """Charges and payment intents, which know no more of their invoice."""
    return {name: value for name, value in record.items() if name != "invoice"}


def _credit_note(record: Record) -> Record:
    kept = {name: v for name, v in record.items() if name not in ("refund", "tax_amounts")}
    is_paid, amount, refund = record["type"] == "post_payment", record["amount"], record["refund"]
    return {
        **kept,
        "post_payment_amount": amount if is_paid else 0,
        "pre_payment_amount": 0 if is_paid else amount,
        "pretax_credit_amounts": [],
        "refunds": [{"amount_refunded": amount, "refund": refund}] if refund else [],
        "total_taxes": _taxes(record.get("tax_amounts")),
    }


def _credit_line(record: Record) -> Record:
    gone = ("amount_excluding_tax", "tax_amounts", "unit_amount_excluding_tax")
    kept = {name: value for name, value in record.items() if name not in gone}
    return {**kept, "pretax_credit_amounts": [], "taxes": _taxes(record.get("tax_amounts"))}


def _named(record: Record) -> Record:
    """A discount or promotion code that names its coupon."""
    coupon = record.get("coupon")
    kept = {name: value for name, value in record.items() if name != "coupon"}
    told = {"coupon": coupon["id"] if isinstance(coupon, dict) else coupon, "type": "coupon"}
    return {**kept, ("source" if record["object"] == "discount" else "promotion"): told}


_BASIL: Mapping[str, Callable[[Record], Record]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "line_item": _line,
    "invoiceitem": _invoice_item,
    "charge": _payment,
    "payment_intent": _payment,
    "credit_note": _credit_note,
    "credit_note_line_item": _credit_line,
}
_CLOVER = {**_BASIL, "discount": _named, "promotion_code": _named}
