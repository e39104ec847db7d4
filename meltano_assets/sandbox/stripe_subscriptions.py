"""What clients write to Stripe about subscriptions; how they live on is in ``stripe_renewals.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_shapes import (
    SUBSCRIPTION,
    SUBSCRIPTION_ITEM,
)
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.stripe_billing import COLLECTION, DAY_SECONDS, Billing, mapping
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_discounts import GIVEN, Discounts
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
from meltano_assets.sandbox.stripe_kept import Kept
from meltano_assets.sandbox.stripe_payments import Payments
from meltano_assets.sandbox.stripe_periods import period_end
from meltano_assets.sandbox.stripe_renewals import Renewals, interval_of
from meltano_assets.sandbox.stripe_wire import Problem, existing, missing

_SUBSCRIPTION_ITEM: Shape = {
    **texts("price plan"),
    "metadata": METADATA,
    "price_data": {
        **texts("currency product unit_amount_decimal"),
        "recurring": {"interval": INTERVALS, "interval_count": INTEGER},
        "tax_behavior": TAX_BEHAVIORS,
        "unit_amount": INTEGER,
    },
    "quantity": INTEGER,
    "tax_rates": [TEXT],
}
CHANGED_ITEM: Shape = {
    **_SUBSCRIPTION_ITEM,
    "clear_usage": BOOLEAN,
    "deleted": BOOLEAN,
    "id": TEXT,
}
_BEHAVIORS = (
    "allow_incomplete",
    "default_incomplete",
    "error_if_incomplete",
    "pending_if_incomplete",
)
PRORATIONS = ("always_invoice", "create_prorations", "none")
_SUBSCRIPTION: Shape = {
    **texts("coupon default_payment_method default_source description promotion_code"),
    "automatic_tax": ANY,
    "billing_cycle_anchor": ANY,
    "cancel_at": INTEGER,
    "cancel_at_period_end": BOOLEAN,
    "cancellation_details": texts("comment feedback"),
    "collection_method": COLLECTION,
    "days_until_due": INTEGER,
    "default_tax_rates": [TEXT],
    "discounts": [GIVEN],
    "items": [CHANGED_ITEM],
    "metadata": METADATA,
    "off_session": BOOLEAN,
    "pause_collection": {
        "behavior": ("keep_as_draft", "mark_uncollectible", "void"),
        "resumes_at": INTEGER,
    },
    "payment_behavior": _BEHAVIORS,
    "payment_settings": ANY,
    "proration_behavior": PRORATIONS,
    "proration_date": INTEGER,
    "trial_end": ANY,
    "trial_settings": ANY,
}
_NEW_SUBSCRIPTION: Shape = {
    **_SUBSCRIPTION,
    **texts("customer currency"),
    "items": [_SUBSCRIPTION_ITEM],
    "trial_period_days": INTEGER,
}
_OF_CHANGE = ("off_session", "payment_behavior", "proration_behavior", "proration_date")
_OWN_ITEM: Shape = {
    **_SUBSCRIPTION_ITEM,
    **{name: _SUBSCRIPTION[name] for name in _OF_CHANGE},
    "subscription": TEXT,
}
_GONE_ITEM: Shape = {
    "clear_usage": BOOLEAN,
    "proration_behavior": PRORATIONS,
    "proration_date": INTEGER,
}
_RESUME: Shape = {
    "billing_cycle_anchor": ("now", "unchanged"),
    "proration_behavior": PRORATIONS,
    "proration_date": INTEGER,
}
#: No time since 1970 has so many digits.
_LONG = 12
_MOST_TRIAL_DAYS = 730
_MOST_TRIAL_SECONDS = 5 * 366 * DAY_SECONDS
_CANCEL: Shape = {
    "cancellation_details": texts("comment feedback"),
    "invoice_now": BOOLEAN,
    "prorate": BOOLEAN,
}


class Subscriptions:
    """Begins, changes and ends what customers subscribe to."""

    def __init__(
        self,
        books: Books,
        payments: Payments,
        billing: Billing,
        new_price: Callable[[dict[str, Any]], Record],
        discounts: Discounts,
        kept: Kept,
    ) -> None:
        self._books = books
        self._discounts = discounts
        self._kept = kept
        self._new_price = new_price
        self._payments = payments
        self._billing = billing
        self._renewals = Renewals(books, billing)

    def catch_up(self) -> bool:
        """Do what has fallen due; whether there was anything."""
        return self._renewals.catch_up()

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        match method, parts:
            case "POST", ["subscriptions"]:
                params = checked(given, _NEW_SUBSCRIPTION, "customer")
                return lambda: self.subscribe(params)
            case "POST", ["subscriptions", key]:
                params = checked(given, _SUBSCRIPTION)
                return lambda: self.change(existing(self._books, "subscription", key), params)
            case "POST", ["subscriptions", key, "resume"]:
                params = checked(given, _RESUME)
                return lambda: self._resume(existing(self._books, "subscription", key))
            case "POST", ["subscription_items"]:
                params = checked(given, _OWN_ITEM, "subscription")
                return lambda: self._add_item(params)
            case "POST", ["subscription_items", key]:
                shape = {n: k for n, k in _OWN_ITEM.items() if n != "subscription"}
                params = checked(given, shape)
                return lambda: self._change_item(key, params)
            case "DELETE", ["subscription_items", key]:
                params = checked(given, _GONE_ITEM)
                return lambda: self._drop_item(key, params)
            case "DELETE", ["subscriptions", key]:
                params = checked(given, _CANCEL)
                return lambda: self._cancel(existing(self._books, "subscription", key), params)
        return None

    def subscribe(self, params: dict[str, Any]) -> Record:
        """A customer subscribes, and gets the first bill."""
        customer = existing(self._books, "customer", params["customer"], "customer")
        if not params.get("items"):
            raise required_problem("items")
        key, stamp = self._books.new_id("sub"), self._books.stamp()
        items = [
            self._item(key, entry, f"items[{place}]") for place, entry in enumerate(params["items"])
        ]
        prices = [mapping(item["price"]) for item in items]
        currency = prices[0]["currency"]
        if any(p["currency"] != currency for p in prices):
            message = "All prices on a subscription must have the same currency."
            raise Problem(400, message, None, "items")
        interval = interval_of(prices[0])
        if any(interval_of(price) != interval for price in prices):
            message = "Currently, all plans on a subscription must have the same billing interval."
            raise Problem(400, message, None, "items")
        trial = self._trial(params, stamp)
        behavior = params.get("payment_behavior", "allow_incomplete")
        is_sent = params.get("collection_method") == "send_invoice"
        if is_sent and params.get("days_until_due") is None:
            raise required_problem("days_until_due")
        computed = ("discounts", "default_tax_rates")
        plain = (name for name in _SUBSCRIPTION if name in SUBSCRIPTION and name not in computed)
        fields: Record = {name: params[name] for name in plain if name in params}
        fields["default_tax_rates"] = self._kept.rates(
            params.get("default_tax_rates"), "default_tax_rates"
        )
        end = trial or period_end(stamp, stamp, interval)
        subscription: Record = {
            **SUBSCRIPTION,
            **fields,
            "id": key,
            "billing_cycle_anchor": trial or stamp,
            "created": stamp,
            "currency": currency,
            "current_period_end": end,
            "current_period_start": stamp,
            "customer": customer["id"],
            "items": items,
            "metadata": merged_metadata({}, params.get("metadata") or {}),
            **_single(items),
            "start_date": stamp,
            "status": "trialing" if trial else "incomplete",
            "trial_end": trial,
            "trial_start": stamp if trial else None,
        }
        if params.get("cancel_at_period_end"):
            subscription |= {"cancel_at": end, "canceled_at": stamp}
        if method := params.get("default_payment_method"):
            owned = self._payments.method(method, customer["id"], "default_payment_method")
            if owned["customer"] is None:
                message = (
                    f"The customer does not have a payment method with the ID {method}. The payment "
                    "method must be attached to the customer."
                )
                raise Problem(400, message, "resource_missing", "default_payment_method")
        subscription |= self._discounts.of_subscription(params, subscription)
        bill = {**subscription, "lines": []}
        if not trial and not is_sent and behavior != "default_incomplete":
            self._check_payable(customer, params)
        subscription = self._books.put("customer.subscription.created", subscription)
        return self._first_bill(bill, customer, params, is_trial=trial is not None)

    def _first_bill(
        self, subscription: Record, customer: Record, params: Mapping[str, Any], *, is_trial: bool
    ) -> Record:
        key = str(subscription["id"])
        of_invoice = {n: params[n] for n in ("collection_method", "days_until_due") if n in params}
        currency = str(subscription["currency"])
        invoice = self._billing.draft(customer, currency, {**of_invoice, "subscription": key})
        invoice = self._renewals.with_lines(
            subscription, invoice, "subscription_create", is_free=is_trial
        )
        invoice = self._billing.finalize(invoice)
        status = "trialing" if is_trial else "active"
        behavior = params.get("payment_behavior", "allow_incomplete")
        if invoice["status"] == "open" and params.get("collection_method") != "send_invoice":
            status = "incomplete"
            if behavior != "default_incomplete":
                try:
                    self._billing.pay(invoice, {})
                    status = "active"
                except Problem:
                    if behavior == "error_if_incomplete":
                        self._billing.close(
                            existing(self._books, "invoice", str(invoice["id"])), "void", "voided"
                        )
                        self._books.delete(None, existing(self._books, "subscription", key))
                        raise
        return self._books.change(
            None,
            existing(self._books, "subscription", key),
            latest_invoice=invoice["id"],
            status=status,
        )

    def _check_payable(self, customer: Record, params: Mapping[str, Any]) -> None:
        settings = mapping(customer["invoice_settings"])
        if not (
            params.get("default_payment_method")
            or settings["default_payment_method"]
            or customer["default_source"]
        ):
            message = (
                "This customer has no attached payment source or default payment method. Please "
                "consider adding a default payment method. For more information, visit "
                "https://stripe.com/docs/billing/payment-methods#setting-default."
            )
            raise Problem(400, message, "resource_missing")

    def _trial(self, params: Mapping[str, Any], stamp: int) -> int | None:
        end = params.get("trial_end")
        if end == "now":
            return None
        if end:
            is_time = is_number(str(end)) and len(str(end)) < _LONG
            if not is_time or int(end) <= stamp:
                message = "Invalid timestamp: must be an integer Unix timestamp in the future."
                raise Problem(400, message, None, "trial_end")
            if int(end) > stamp + _MOST_TRIAL_SECONDS:
                message = "Invalid timestamp: can be no more than five years in the future."
                raise Problem(400, message, None, "trial_end")
            return int(end)
        days = params.get("trial_period_days")
        if days is not None and not 0 <= days <= _MOST_TRIAL_DAYS:
            message = f"The maximum number of trial period days is {_MOST_TRIAL_DAYS}."
            raise Problem(400, message, None, "trial_period_days")
        return stamp + days * DAY_SECONDS if days else None

    def _item(self, subscription: str, entry: Mapping[str, Any], path: str) -> Record:
        name = "price" if entry.get("price") else "plan"
        if (told := entry.get("price_data")) and not entry.get(name):
            own = self._priced(told, f"{path}[price_data]")
            entry, name = {**entry, "price": own["id"]}, "price"
        if not entry.get(name):
            raise required_problem(f"{path}[price]")
        price = self._books.live("price").get(entry[name])
        if price is None:
            raise missing(name, entry[name], f"{path}[{name}]")
        if price["type"] != "recurring":
            message = (
                "The price specified is set to `type=one_time` but this field only accepts prices "
                "with `type=recurring`."
            )
            raise Problem(400, message, None, f"{path}[price]")
        return {
            **SUBSCRIPTION_ITEM,
            "id": self._books.new_id("si"),
            "created": self._books.stamp(),
            "metadata": merged_metadata({}, entry.get("metadata") or {}),
            "plan": self._books.live("plan")[str(price["id"])],
            "price": price,
            "quantity": 1 if entry.get("quantity") is None else entry["quantity"],
            "subscription": subscription,
            "tax_rates": self._kept.rates(entry.get("tax_rates"), f"{path}[tax_rates]"),
        }

    def _priced(self, told: Mapping[str, Any], path: str) -> Record:
        """A price for one subscription alone, which nobody can choose again."""
        for name in ("currency", "product", "recurring"):
            if not told.get(name):
                raise required_problem(f"{path}[{name}]")
        return self._new_price({**told, "active": False})

    def change(self, subscription: Record, params: dict[str, Any]) -> Record:
        """The subscription is another from now on."""
        if subscription["status"] == "canceled" and params.keys() - {
            "metadata",
            "cancellation_details",
        }:
            message = (
                "A canceled subscription can only update its cancellation_details and metadata."
            )
            raise Problem(400, message)
        plain = ("cancel_at", "cancel_at_period_end", "collection_method", "days_until_due",
                 "default_payment_method", "description", "pause_collection")  # fmt: skip
        fields: Record = {name: params[name] for name in plain if name in params}
        fields |= self._discounts.of_subscription(params, subscription)
        if "default_tax_rates" in params:
            rates = self._kept.rates(params["default_tax_rates"], "default_tax_rates")
            fields["default_tax_rates"] = rates
        if method := params.get("default_payment_method"):
            self._payments.method(method, subscription["customer"], "default_payment_method")
        if "metadata" in params:
            fields["metadata"] = merged_metadata(subscription["metadata"], params["metadata"])
        if details := params.get("cancellation_details"):
            held = mapping(subscription["cancellation_details"])
            fields["cancellation_details"] = {**held, **details}
        if "cancel_at_period_end" in params:
            is_ending = params["cancel_at_period_end"]
            fields["cancel_at"] = subscription["current_period_end"] if is_ending else None
            fields["canceled_at"] = self._books.stamp() if is_ending else None
        if params.get("trial_end") == "now" and subscription["status"] == "trialing":
            stamp = self._books.stamp()
            fields |= {
                "trial_end": stamp,
                "current_period_end": stamp,
                "billing_cycle_anchor": stamp,
            }
        if params.get("items"):
            items = self._changed_items(subscription, params["items"])
            fields |= {"items": items, **_single(items)}
        after = self._books.change("customer.subscription.updated", subscription, **fields)
        if params.get("items"):
            self._renewals.prorate(subscription, after, params)
        if params.get("trial_end") == "now":
            self.catch_up()
        return existing(self._books, "subscription", str(subscription["id"]))

    def _resume(self, subscription: Record) -> Record:
        if subscription["status"] != "paused":
            message = (
                "You can only resume a subscription that is paused; this one has a status of "
                f"{subscription['status']}."
            )
            raise Problem(400, message)
        return self._books.change("customer.subscription.resumed", subscription, status="active")

    def _add_item(self, params: dict[str, Any]) -> Record:
        """One more item, by itself."""
        key = params["subscription"]
        subscription = existing(self._books, "subscription", key, "subscription")
        known = {item["id"] for item in items_of(subscription["items"])}
        entry, of_change = _parted(params)
        changed = self.change(subscription, {**of_change, "items": [entry]})
        return next(i for i in items_of(changed["items"]) if i["id"] not in known)

    def _change_item(self, key: str, params: dict[str, Any]) -> Record:
        entry, of_change = _parted(params)
        owner = self._owner(key)
        changed = self.change(owner, {**of_change, "items": [{**entry, "id": key}]})
        return next(item for item in items_of(changed["items"]) if item["id"] == key)

    def _drop_item(self, key: str, params: dict[str, Any]) -> Record:
        _, of_change = _parted(params)
        entry = {"id": key, "deleted": True}
        self.change(self._owner(key), {**of_change, "items": [entry]})
        return {"id": key, "object": "subscription_item", "deleted": True}

    def _owner(self, item: str) -> Record:
        """The subscription that an item belongs to."""
        for subscription in self._books.live("subscription").values():
            if any(each["id"] == item for each in items_of(subscription["items"])):
                return subscription
        raise missing("subscription_item", item, "id")

    def _changed_items(self, subscription: Record, entries: list[dict[str, Any]]) -> list[Record]:
        items = {str(item["id"]): item for item in items_of(subscription["items"])}
        for place, entry in enumerate(entries):
            path = f"items[{place}]"
            key = entry.get("id")
            if key is None:
                item = self._item(str(subscription["id"]), entry, path)
                items[str(item["id"])] = item
                continue
            if key not in items:
                raise missing("subscription_item", key, f"{path}[id]")
            if entry.get("deleted"):
                del items[key]
                continue
            known = items[key]
            priced = {"price": mapping(known["price"])["id"], "quantity": known["quantity"]}
            item = self._item(str(subscription["id"]), {**priced, **entry}, path)
            metadata = known["metadata"]
            if "metadata" in entry:
                metadata = merged_metadata(metadata, entry["metadata"])
            if "tax_rates" not in entry:
                item["tax_rates"] = known["tax_rates"]
            items[key] = {**item, "id": key, "created": known["created"], "metadata": metadata}
        if not items:
            message = "A subscription must have at least one active plan. To cancel it, delete it."
            raise Problem(400, message, None, "items")
        return list(items.values())

    def _cancel(self, subscription: Record, params: Mapping[str, Any]) -> Record:
        if subscription["status"] == "canceled":
            raise missing("subscription", str(subscription["id"]), "id")
        return self.cancel(subscription, params.get("cancellation_details") or {})

    def cancel(self, subscription: Record, details: Mapping[str, Any] | None = None) -> Record:
        """The subscription has ended; the company bills it no more."""
        stamp = self._books.stamp()
        self._books.end(str(subscription["id"]))
        told = {"comment": None, "feedback": None, **(details or {})}
        return self._books.change(
            "customer.subscription.deleted",
            subscription,
            status="canceled",
            canceled_at=stamp,
            ended_at=stamp,
            cancellation_details={**told, "reason": "cancellation_requested"},
        )


def _single(items: list[Record]) -> Record:
    """What a subscription repeats of its only item."""
    only = items[0] if len(items) == 1 else {"plan": None, "quantity": None}
    return {"plan": only["plan"], "quantity": only["quantity"]}


def _parted(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is said of an item, and how the change is to be made."""
    entry = {n: v for n, v in params.items() if n in _SUBSCRIPTION_ITEM}
    return entry, {n: v for n, v in params.items() if n in _OF_CHANGE}
