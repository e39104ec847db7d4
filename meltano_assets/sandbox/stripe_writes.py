"""What clients write to Stripe: which paths take a write, and customers, products, prices and disputes.

Payments, invoices and subscriptions have files of their own. Each write
checks its parameters first; only what happens after that is remembered for its idempotency key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_shapes import CUSTOMER, PRICE, PRODUCT, RECURRING
from meltano_assets.sandbox.stripe_billing import Billing
from meltano_assets.sandbox.stripe_books import Books
from meltano_assets.sandbox.stripe_cards import (
    add_source,
    attached,
    change_source,
    delete_source,
)
from meltano_assets.sandbox.stripe_credit_notes import CreditNotes
from meltano_assets.sandbox.stripe_discounts import Discounts
from meltano_assets.sandbox.stripe_forms import (
    ANY,
    BOOLEAN,
    INTEGER,
    INTERVALS,
    METADATA,
    TAX_BEHAVIORS,
    TEXT,
    Shape,
    checked,
    merged_metadata,
    required_problem,
    texts,
)
from meltano_assets.sandbox.stripe_intents import Intents
from meltano_assets.sandbox.stripe_kept import Kept
from meltano_assets.sandbox.stripe_offers import Offers
from meltano_assets.sandbox.stripe_payments import ADDRESS, SHIPPING, Payments
from meltano_assets.sandbox.stripe_previews import Previews
from meltano_assets.sandbox.stripe_schedules import Schedules
from meltano_assets.sandbox.stripe_setups import Setups
from meltano_assets.sandbox.stripe_subscriptions import Subscriptions
from meltano_assets.sandbox.stripe_wire import Problem, missing

#: A write after its parameters were checked.
Deed = Callable[[], Record]
_CUSTOMER: Shape = {
    **texts(
        "name description phone email invoice_prefix payment_method source test_clock coupon "
        "promotion_code default_source"
    ),
    "address": ADDRESS,
    "balance": INTEGER,
    "cash_balance": ANY,
    "invoice_settings": {
        "custom_fields": [{"name": TEXT, "value": TEXT}],
        "default_payment_method": TEXT,
        "footer": TEXT,
        "rendering_options": ANY,
    },
    "metadata": METADATA,
    "next_invoice_sequence": INTEGER,
    "preferred_locales": [TEXT],
    "shipping": SHIPPING,
    "tax": ANY,
    "tax_exempt": ("exempt", "none", "reverse"),
    "tax_id_data": ANY,
}
_RECURRING: Shape = {
    "aggregate_usage": ("last_during_period", "last_ever", "max", "sum"),
    "interval": INTERVALS,
    "interval_count": INTEGER,
    "meter": TEXT,
    "trial_period_days": INTEGER,
    "usage_type": ("licensed", "metered"),
}
_NEW_PRICE: Shape = {
    **texts("currency product nickname lookup_key unit_amount_decimal"),
    "active": BOOLEAN,
    "billing_scheme": ("per_unit", "tiered"),
    "currency_options": ANY,
    "custom_unit_amount": ANY,
    "metadata": METADATA,
    "product_data": {**texts("id name statement_descriptor tax_code unit_label"),
                     "active": BOOLEAN, "metadata": METADATA},
    "recurring": _RECURRING,
    "tax_behavior": TAX_BEHAVIORS,
    "tiers": ANY,
    "tiers_mode": ("graduated", "volume"),
    "transfer_lookup_key": BOOLEAN,
    "transform_quantity": {"divide_by": INTEGER, "round": ("down", "up")},
    "unit_amount": INTEGER,
}  # fmt: skip
_PRICE: Shape = {
    **texts("nickname lookup_key"),
    "active": BOOLEAN,
    "currency_options": ANY,
    "metadata": METADATA,
    "tax_behavior": TAX_BEHAVIORS,
    "transfer_lookup_key": BOOLEAN,
}
_NEW_PLAN: Shape = {
    **texts("amount_decimal currency id meter nickname"),
    "active": BOOLEAN,
    "aggregate_usage": _RECURRING["aggregate_usage"],
    "amount": INTEGER,
    "billing_scheme": ("per_unit", "tiered"),
    "interval": INTERVALS,
    "interval_count": INTEGER,
    "metadata": METADATA,
    "product": ANY,
    "tiers": ANY,
    "tiers_mode": ("graduated", "volume"),
    "transform_usage": {"divide_by": INTEGER, "round": ("down", "up")},
    "trial_period_days": INTEGER,
    "usage_type": ("licensed", "metered"),
}
_PLAN: Shape = {
    **texts("nickname"), "active": BOOLEAN, "metadata": METADATA, "trial_period_days": INTEGER
}  # fmt: skip
_PRODUCT: Shape = {
    **texts("name description statement_descriptor tax_code unit_label url default_price"),
    "active": BOOLEAN,
    "images": [TEXT],
    "marketing_features": [{"name": TEXT}],
    "metadata": METADATA,
    "package_dimensions": ANY,
    "shippable": BOOLEAN,
}
_NEW_PRODUCT: Shape = {
    **{name: kind for name, kind in _PRODUCT.items() if name != "default_price"},
    "default_price_data": {**texts("currency unit_amount_decimal"), "recurring": _RECURRING,
                           "tax_behavior": TAX_BEHAVIORS, "unit_amount": INTEGER,
                           "metadata": METADATA},
    "id": TEXT,
    "type": ("good", "service"),
}  # fmt: skip
#: A price's period lasts three years at most.
_MOST_INTERVALS = {"day": 1_095, "week": 156, "month": 36, "year": 3}
_SOURCE: Shape = {"metadata": METADATA, "source": ANY, "validate": BOOLEAN}
_CARD: Shape = {
    **texts(
        "name address_city address_country address_line1 address_line2 address_state address_zip"
    ),
    "exp_month": INTEGER,
    "exp_year": INTEGER,
    "metadata": METADATA,
    "owner": ANY,
}
_DISPUTE: Shape = {"evidence": ANY, "metadata": METADATA, "submit": BOOLEAN}


class Writes:
    """Finds what a POST or DELETE asks for."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._payments = Payments(books)
        self._intents = Intents(books, self._payments)
        self._discounts, self._kept = Discounts(books), Kept(books)
        self.credit_notes = CreditNotes(books, self._payments)
        self._billing = Billing(
            books, self._payments, self._intents, self._discounts, self._kept, self.credit_notes
        )
        self._subscriptions = Subscriptions(
            books, self._payments, self._billing, self.new_price, self._discounts, self._kept
        )
        self._schedules = Schedules(books, self._subscriptions)
        self._setups = Setups(books, self._payments, self.new_price)
        self._offers = Offers(books, self._setups, self._billing, self._subscriptions)
        self.previews = Previews(books, self._billing, self._subscriptions)

    def catch_up(self) -> bool:
        """Do what has fallen due; whether there was anything."""
        parts = (self._discounts, self._schedules, self._subscriptions, self._setups)
        return sum(part.catch_up() for part in parts) > 0

    def deed(self, method: str, parts: list[str], given: Mapping[str, Any]) -> Deed | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        if method == "POST":
            match parts:
                case ["customers"]:
                    params = checked(given, _CUSTOMER)
                    return lambda: self._new_customer(params)
                case ["customers", key]:
                    params = checked(given, _CUSTOMER)
                    return lambda: self._change_customer(self.one("customer", key), params)
                case ["customers", key, "sources" | "cards"]:
                    params = checked(given, _SOURCE)
                    return lambda: add_source(self._books, self.one("customer", key), params)
                case ["customers", key, "sources" | "cards", card]:
                    params = checked(given, _CARD)
                    return lambda: change_source(
                        self._books, self.one("customer", key), card, params
                    )
                case ["invoices", "create_preview"]:
                    return lambda: self.previews.preview(given)
                case ["products"]:
                    params = checked(given, _NEW_PRODUCT, "name")
                    return lambda: self._new_product(params)
                case ["products", key]:
                    params = checked(given, _PRODUCT)
                    return lambda: self._change_product(self.one("product", key), params)
                case ["prices"]:
                    params = checked(given, _NEW_PRICE, "currency")
                    return lambda: self.new_price(params)
                case ["prices", key]:
                    params = checked(given, _PRICE)
                    return lambda: self._change_price(self.one("price", key), params)
                case ["plans"]:
                    params = checked(given, _NEW_PLAN, "currency", "interval")
                    return lambda: self._new_plan(params)
                case ["plans", key]:
                    params = checked(given, _PLAN)
                    return lambda: self._change_plan(self.one("plan", key), params)
                case ["disputes", key]:
                    params = checked(given, _DISPUTE)
                    return lambda: self._change_dispute(self.one("dispute", key), params)
                case ["disputes", key, "close"]:
                    checked(given, {})
                    return lambda: self._close_dispute(self.one("dispute", key))
        elif method == "DELETE":
            match parts:
                case ["customers", key, "sources" | "cards", card]:
                    checked(given, {})
                    return lambda: delete_source(self._books, self.one("customer", key), card)
                case ["plans", key]:
                    checked(given, {})
                    return lambda: self._delete_plan(self.one("plan", key))
                case ["customers", key]:
                    checked(given, {})
                    return lambda: self._delete_customer(self.one("customer", key))
                case ["products", key]:
                    checked(given, {})
                    return lambda: self._delete_product(self.one("product", key))
        others = (
            self._payments, self._intents, self._billing, self._subscriptions, self._discounts,
            self.credit_notes, self._setups, self._kept, self._offers, self._schedules,
        )  # fmt: skip
        deeds = (part.deed(method, parts, given) for part in others)
        return next(filter(None, deeds), None)

    def one(self, kind: str, key: str) -> Record:
        """The object of that id."""
        found = self._books.live(kind).get(key)
        if found is None:
            raise missing(kind, key, "id")
        return found

    # Customers

    def _new_customer(self, params: dict[str, Any]) -> Record:
        key = self._books.new_id("cus")
        customer: Record = {
            **CUSTOMER,
            "id": key,
            "created": self._books.stamp(),
            "invoice_prefix": key[-8:].upper(),
            **self._customer_fields(params, CUSTOMER),
        }
        customer |= self._discounts.of_customer(params, customer)
        card = attached(self._books, params, customer)
        return self._books.put("customer.created", {**customer, **card})

    def _change_customer(self, customer: Record, params: dict[str, Any]) -> Record:
        fields = self._customer_fields(params, customer)
        fields |= self._discounts.of_customer(params, customer)
        card = attached(self._books, params, customer)
        return self._books.change("customer.updated", customer, **fields, **card)

    def _customer_fields(self, params: dict[str, Any], known: Record) -> Record:
        plain = ("address", "balance", "description", "email", "invoice_prefix", "name", "phone",
                 "next_invoice_sequence", "preferred_locales", "shipping", "tax_exempt",
                 "test_clock")  # fmt: skip
        fields: Record = {name: params[name] for name in plain if name in params}
        if isinstance(fields.get("address"), dict):
            fields["address"] = {**dict.fromkeys(ADDRESS), **params["address"]}
        if settings := params.get("invoice_settings"):
            held = known["invoice_settings"]
            fields["invoice_settings"] = {**(held if isinstance(held, dict) else {}), **settings}
            if method := settings.get("default_payment_method"):
                owner = self._books.live("payment_method").get(method, {}).get("customer")
                if owner is None or owner != known.get("id"):
                    message = (
                        "The customer does not have a payment method with the ID "
                        f"{method}. The payment method must be attached to the customer."
                    )
                    name = "invoice_settings[default_payment_method]"
                    raise Problem(400, message, "resource_missing", name)
        if params.get("default_source"):
            card = self._books.live("card").get(params["default_source"])
            if card is None or card["customer"] != known.get("id"):
                raise missing("source", params["default_source"], "default_source")
            fields["default_source"] = card["id"]
        if "metadata" in params:
            fields["metadata"] = merged_metadata(known["metadata"], params["metadata"])
        return fields

    def _delete_customer(self, customer: Record) -> Record:
        for subscription in list(self._books.live("subscription").values()):
            if subscription["customer"] == customer["id"] and subscription["status"] != "canceled":
                self._subscriptions.cancel(subscription)
        self._books.delete("customer.deleted", customer)
        return {"id": customer["id"], "object": "customer", "deleted": True}

    # Products and prices

    def _new_product(self, params: dict[str, Any]) -> Record:
        key = params.get("id") or self._books.new_id("prod")
        if key in self._books.live("product"):
            raise Problem(400, "Product already exists.", "resource_already_exists", "id")
        stamp = self._books.stamp()
        product: Record = {
            **PRODUCT,
            "created": stamp,
            "updated": stamp,
            **{n: v for n, v in params.items() if n not in ("default_price_data", "metadata")},
            "id": key,
            "metadata": merged_metadata({}, params.get("metadata") or {}),
        }
        product = self._books.put("product.created", product)
        if first := params.get("default_price_data"):
            if not first.get("currency"):
                raise required_problem("default_price_data[currency]")
            price = self.new_price({**first, "product": key})
            product = self._books.change(None, product, default_price=price["id"])
        return product

    def _change_product(self, product: Record, params: dict[str, Any]) -> Record:
        fields: Record = dict(params)
        if "metadata" in params:
            fields["metadata"] = merged_metadata(product["metadata"], params["metadata"])
        if price := params.get("default_price"):
            known = self._books.live("price").get(price)
            if known is None or known["product"] != product["id"]:
                raise missing("price", price, "default_price")
        if any(product.get(name) != value for name, value in fields.items()):
            fields["updated"] = self._books.stamp()
        return self._books.change("product.updated", product, **fields)

    def _delete_product(self, product: Record) -> Record:
        if any(p["product"] == product["id"] for p in self._books.live("price").values()):
            message = (
                "This product cannot be deleted because it has one or more user-created prices."
            )
            raise Problem(400, message)
        self._books.delete("product.deleted", product)
        return {"id": product["id"], "object": "product", "deleted": True}

    def new_price(self, params: dict[str, Any]) -> Record:
        """A price of a product, which may come with it."""
        product = params.get("product")
        if product is None and params.get("product_data"):
            product = self._new_product(params["product_data"])["id"]
        if product is None:
            raise required_problem("product")
        if product not in self._books.live("product"):
            raise missing("product", product, "product")
        if params.get("tiers") or params.get("billing_scheme") == "tiered":
            raise Problem(400, "The sandbox keeps no tiered prices.", None, "billing_scheme")
        amount, exact = _unit_amount(params)
        recurring = params.get("recurring")
        if recurring is not None:
            _check_recurring(recurring)
        price: Record = {
            **PRICE,
            "id": params.get("id") or self._books.new_id("price"),
            "active": params.get("active", True),
            "created": self._books.stamp(),
            "currency": params["currency"],
            "custom_unit_amount": params.get("custom_unit_amount"),
            "lookup_key": self._lookup_key(params),
            "metadata": merged_metadata({}, params.get("metadata") or {}),
            "nickname": params.get("nickname"),
            "product": product,
            "recurring": {**RECURRING, **recurring} if recurring else None,
            "tax_behavior": params.get("tax_behavior", "unspecified"),
            "transform_quantity": params.get("transform_quantity"),
            "type": "recurring" if recurring else "one_time",
            "unit_amount": amount,
            "unit_amount_decimal": exact,
        }
        return self._books.put("price.created", price)

    def _lookup_key(self, params: dict[str, Any]) -> str | None:
        key: str | None = params.get("lookup_key")
        for other in self._books.live("price").values():
            if key and other["lookup_key"] == key and other["active"]:
                if not params.get("transfer_lookup_key"):
                    message = (
                        f"A price (`{other['id']}`) already uses that lookup key. Pass "
                        "`transfer_lookup_key=true` to move it."
                    )
                    raise Problem(400, message, "resource_already_exists", "lookup_key")
                self._books.change("price.updated", other, lookup_key=None)
        return key

    def _change_price(self, price: Record, params: dict[str, Any]) -> Record:
        kept = ("active", "nickname", "tax_behavior")
        fields: Record = {name: params[name] for name in kept if name in params}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(price["metadata"], params["metadata"])
        if "lookup_key" in params and params["lookup_key"] != price["lookup_key"]:
            fields["lookup_key"] = self._lookup_key(params)
        return self._books.change("price.updated", price, **fields)

    # Plans: prices by their older name

    def _new_plan(self, params: dict[str, Any]) -> Record:
        product = params.get("product")
        if isinstance(product, Mapping):
            product = self._new_product(checked(product, _NEW_PRODUCT, "name"))["id"]
        elif not isinstance(product, str) or not product:
            raise required_problem("product")
        if (key := params.get("id")) and key in self._books.live("price"):
            raise Problem(400, "Plan already exists.", "resource_already_exists", "id")
        of_period = {name: params[name] for name in _RECURRING if name in params}
        kept = ("active", "billing_scheme", "currency", "id", "metadata", "nickname", "tiers")
        price = self.new_price(
            {
                **{name: params[name] for name in kept if name in params},
                "product": product,
                "recurring": of_period,
                "transform_quantity": params.get("transform_usage"),
                "unit_amount": params.get("amount"),
                "unit_amount_decimal": params.get("amount_decimal"),
            }
        )
        return self.one("plan", str(price["id"]))

    def _change_plan(self, plan: Record, params: dict[str, Any]) -> Record:
        price = self.one("price", str(plan["id"]))
        self._change_price(price, {n: v for n, v in params.items() if n != "trial_period_days"})
        return self.one("plan", str(plan["id"]))

    def _delete_plan(self, plan: Record) -> Record:
        self._books.delete("price.deleted", self.one("price", str(plan["id"])))
        return {"id": plan["id"], "object": "plan", "deleted": True}

    # Disputes

    def _change_dispute(self, dispute: Record, params: dict[str, Any]) -> Record:
        self._check_open(dispute)
        fields: Record = {}
        if isinstance(evidence := params.get("evidence"), dict):
            held = dispute["evidence"]
            fields["evidence"] = {**(held if isinstance(held, dict) else {}), **evidence}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(dispute["metadata"], params["metadata"])
        details = dispute["evidence_details"]
        if isinstance(details, dict) and "evidence" in fields:
            is_sent = params.get("submit", True)
            count = int(details["submission_count"]) + int(is_sent)
            fields["evidence_details"] = {
                **details,
                "has_evidence": True,
                "submission_count": count,
            }
            if is_sent:
                fields["status"] = "under_review"
        return self._books.change("charge.dispute.updated", dispute, **fields)

    def _close_dispute(self, dispute: Record) -> Record:
        self._check_open(dispute)
        return self._books.change("charge.dispute.closed", dispute, status="lost")

    def _check_open(self, dispute: Record) -> None:
        if dispute["status"] in ("won", "lost"):
            raise Problem(400, "This dispute is already closed", None)


def _check_recurring(told: Mapping[str, Any]) -> None:
    interval = told.get("interval")
    if not interval:
        raise required_problem("recurring[interval]")
    count = told.get("interval_count")
    if count is not None and not 1 <= count <= _MOST_INTERVALS[interval]:
        message = (
            f"Invalid interval_count: must be from 1 to {_MOST_INTERVALS[interval]} {interval}s"
        )
        raise Problem(400, message, None, "recurring[interval_count]")


def _unit_amount(params: dict[str, Any]) -> tuple[int | None, str | None]:
    """The amount, and as decimal; one of them is given, or the customer chooses."""
    if (amount := params.get("unit_amount")) is not None:
        if amount < 0:
            message = f"Invalid non-negative integer: {amount}"
            raise Problem(400, message, "parameter_invalid_integer", "unit_amount")
        return amount, str(amount)
    if (text := params.get("unit_amount_decimal")) is not None:
        if not re.fullmatch(r"\d{1,11}(\.\d{1,12})?", text):
            message = f"Invalid decimal: {text}"
            raise Problem(400, message, None, "unit_amount_decimal")
        exact = Decimal(text)
        return (int(exact) if exact == exact.to_integral_value() else None), text
    if params.get("custom_unit_amount"):
        return None, None
    raise required_problem("unit_amount")
