"""What clients write to Stripe to prepare payments: setup intents, and pages where customers pay.

Nobody opens the pages here: a checkout session stays open until it is ended or its day is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.stripe_books import Books
from meltano_assets.sandbox.stripe_cards import declined, outcome, public
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
from meltano_assets.sandbox.stripe_payments import Payments
from meltano_assets.sandbox.stripe_wire import Problem, existing

_INTENT: Shape = {
    **texts("customer description payment_method payment_method_configuration"),
    "attach_to_self": BOOLEAN,
    "flow_directions": [("inbound", "outbound")],
    "metadata": METADATA,
    "payment_method_data": ANY,
    "payment_method_options": ANY,
    "payment_method_types": [TEXT],
}
_CONFIRM: Shape = {
    **texts("payment_method return_url confirmation_token"),
    "mandate_data": ANY,
    "payment_method_data": ANY,
    "payment_method_options": ANY,
    "use_stripe_sdk": BOOLEAN,
}
_NEW_INTENT: Shape = {
    **_INTENT,
    **_CONFIRM,
    "automatic_payment_methods": {"allow_redirects": ("always", "never"), "enabled": BOOLEAN},
    "confirm": BOOLEAN,
    "on_behalf_of": TEXT,
    "single_use": {"amount": INTEGER, "currency": TEXT},
    "usage": ("off_session", "on_session"),
}
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCEL_REASONS = ("abandoned", "duplicate", "requested_by_customer")
_SESSION: Shape = {
    **texts(
        "cancel_url client_reference_id currency customer customer_email return_url success_url "
        "locale payment_method_configuration"
    ),
    "adaptive_pricing": ANY,
    "after_expiration": ANY,
    "allow_promotion_codes": BOOLEAN,
    "automatic_tax": ANY,
    "billing_address_collection": ("auto", "required"),
    "consent_collection": ANY,
    "custom_fields": ANY,
    "custom_text": ANY,
    "customer_creation": ("always", "if_required"),
    "customer_update": ANY,
    "discounts": ANY,
    "expires_at": INTEGER,
    "invoice_creation": ANY,
    "line_items": [
        {
            **texts("price"),
            "adjustable_quantity": ANY,
            "dynamic_tax_rates": [TEXT],
            "price_data": ANY,
            "quantity": INTEGER,
            "tax_rates": [TEXT],
        }
    ],
    "metadata": METADATA,
    "mode": ("payment", "setup", "subscription"),
    "payment_intent_data": ANY,
    "payment_method_collection": ("always", "if_required"),
    "payment_method_options": ANY,
    "payment_method_types": [TEXT],
    "phone_number_collection": {"enabled": BOOLEAN},
    "redirect_on_completion": ("always", "if_required", "never"),
    "setup_intent_data": ANY,
    "shipping_address_collection": ANY,
    "shipping_options": ANY,
    "submit_type": ("auto", "book", "donate", "pay"),
    "subscription_data": ANY,
    "tax_id_collection": ANY,
    "ui_mode": ("embedded", "hosted"),
}
_PLAIN_OF_SESSION = (
    "after_expiration", "allow_promotion_codes", "billing_address_collection", "cancel_url",
    "client_reference_id", "consent_collection", "customer", "customer_creation", "customer_email",
    "invoice_creation", "locale", "payment_method_collection", "return_url",
    "shipping_address_collection", "submit_type", "success_url",
)  # fmt: skip
_DAY_SECONDS = 86_400
_LEAST_SECONDS = 1_800
_MOST_QUANTITY = 999_999


class Setups:
    """Begins, confirms and ends setup intents and checkout sessions."""

    def __init__(
        self,
        books: Books,
        payments: Payments,
        new_price: Callable[[dict[str, Any]], Record],
    ) -> None:
        self._books = books
        self._payments = payments
        self._new_price = new_price

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        if method != "POST":
            return None
        match parts:
            case ["setup_intents"]:
                params = checked(given, _NEW_INTENT)
                return lambda: self._new_intent(params)
            case ["setup_intents", key]:
                params = checked(given, _INTENT)
                return lambda: self._change_intent(self._one("setup_intent", key), params)
            case ["setup_intents", key, "confirm"]:
                params = checked(given, _CONFIRM)
                return lambda: self._confirm(self._one("setup_intent", key), params)
            case ["setup_intents", key, "cancel"]:
                params = checked(given, {"cancellation_reason": _CANCEL_REASONS})
                return lambda: self._cancel(self._one("setup_intent", key), params)
            case ["checkout", "sessions"]:
                params = checked(given, _SESSION)
                return lambda: self._new_session(params)
            case ["checkout", "sessions", key]:
                params = checked(given, {"metadata": METADATA})
                return lambda: self._change_session(self._one("checkout.session", key), params)
            case ["checkout", "sessions", key, "expire"]:
                checked(given, {})
                return lambda: self._expire(self._one("checkout.session", key))
        return None

    def catch_up(self) -> bool:
        """End the sessions whose time is over; whether there were any."""
        present, has_done = self._books.stamp(), False
        for session in self._books.own("checkout.session"):
            if session["status"] == "open" and int(str(session["expires_at"])) <= present:
                self._expire(session)
                has_done = True
        return has_done

    def _one(self, kind: str, key: str) -> Record:
        return existing(self._books, kind, key)

    # Setup intents

    def _new_intent(self, params: dict[str, Any]) -> Record:
        if customer := params.get("customer"):
            existing(self._books, "customer", customer, "customer")
        key, secret = self._books.new_id("seti"), self._books.new_id("secret")
        plain = ("attach_to_self", "customer", "description", "flow_directions", "on_behalf_of")
        intent: Record = {
            "id": key,
            "object": "setup_intent",
            "application": None,
            "attach_to_self": False,
            "automatic_payment_methods": params.get("automatic_payment_methods"),
            "cancellation_reason": None,
            "client_secret": f"{key}_{secret}",
            "created": self._books.stamp(),
            "customer": None,
            "description": None,
            "flow_directions": None,
            "last_setup_error": None,
            "latest_attempt": None,
            "livemode": False,
            "mandate": None,
            "metadata": merged_metadata({}, params.get("metadata") or {}),
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {
                "card": {"mandate_options": None, "network": None,
                         "request_three_d_secure": "automatic"},
            },
            "payment_method_types": params.get("payment_method_types") or ["card"],
            "single_use_mandate": None,
            "status": "requires_payment_method",
            "usage": params.get("usage") or "off_session",
            **{name: params[name] for name in plain if name in params},
        }  # fmt: skip
        if name := params.get("payment_method"):
            method = self._payments.method(name, customer)
            intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        intent = self._books.put("setup_intent.created", intent)
        return self._confirm(intent, {}) if params.get("confirm") else intent

    def _change_intent(self, intent: Record, params: dict[str, Any]) -> Record:
        plain = ("attach_to_self", "customer", "description", "flow_directions")
        fields: Record = {name: params[name] for name in plain if name in params}
        fixed = params.keys() & {"customer", "payment_method", "payment_method_types"}
        if intent["status"] not in _OPEN and fixed:
            raise _unexpected(intent, "update", _OPEN)
        if customer := params.get("customer"):
            existing(self._books, "customer", customer, "customer")
        if "metadata" in params:
            fields["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
        if name := params.get("payment_method"):
            method = self._payments.method(name, params.get("customer", intent["customer"]))
            fields |= {"payment_method": method["id"], "status": "requires_confirmation"}
        return self._books.change(None, intent, **fields)

    def _confirm(self, intent: Record, params: Mapping[str, Any]) -> Record:
        if intent["status"] not in _OPEN:
            raise _unexpected(intent, "confirm", _OPEN)
        name = params.get("payment_method") or intent["payment_method"]
        if name is None:
            message = (
                "You cannot confirm this SetupIntent because it's missing a payment method. Update the "
                "SetupIntent with a payment method and then confirm it again."
            )
            raise Problem(400, message, "setup_intent_unexpected_state",
                          more={"setup_intent": intent})  # fmt: skip
        method = self._payments.method(str(name), intent["customer"])
        refused = outcome(method) is not None and not method.get("_attaches")
        error = {**declined(method).error(), "payment_method": public(method)} if refused else None
        attempt = self._books.put(
            None,
            {
                "id": self._books.new_id("setatt"),
                "object": "setup_attempt",
                "application": None,
                "attach_to_self": intent["attach_to_self"],
                "created": self._books.stamp(),
                "customer": intent["customer"],
                "flow_directions": intent["flow_directions"],
                "livemode": False,
                "on_behalf_of": None,
                "payment_method": method["id"],
                "payment_method_details": {"card": {}, "type": "card"},
                "setup_error": error,
                "setup_intent": intent["id"],
                "status": "failed" if refused else "succeeded",
                "usage": intent["usage"],
            },
        )
        if refused:
            intent = self._books.change(
                "setup_intent.setup_failed", intent, last_setup_error=error,
                latest_attempt=attempt["id"], payment_method=None,
                status="requires_payment_method",
            )  # fmt: skip
            problem = declined(method)
            problem.more |= {"payment_method": public(method), "setup_intent": intent}
            raise problem
        if intent["customer"] and not method["customer"]:
            self._books.change("payment_method.attached", method, customer=intent["customer"])
        return self._books.change(
            "setup_intent.succeeded", intent, last_setup_error=None, latest_attempt=attempt["id"],
            payment_method=method["id"], status="succeeded",
        )  # fmt: skip

    def _cancel(self, intent: Record, params: Mapping[str, Any]) -> Record:
        if intent["status"] not in _OPEN:
            raise _unexpected(intent, "cancel", _OPEN)
        reason = params.get("cancellation_reason")
        return self._books.change(
            "setup_intent.canceled", intent, cancellation_reason=reason, status="canceled"
        )

    # Checkout

    def _new_session(self, params: dict[str, Any]) -> Record:
        mode = params.get("mode") or "payment"
        is_embedded = params.get("ui_mode") == "embedded"
        if not is_embedded and not params.get("success_url"):
            raise required_problem("success_url")
        if customer := params.get("customer"):
            existing(self._books, "customer", customer, "customer")
        entries = params.get("line_items") or []
        if mode != "setup" and not entries:
            raise required_problem("line_items")
        if (
            mode == "setup"
            and not params.get("currency")
            and not params.get("payment_method_types")
        ):
            raise required_problem("currency")
        items = [self.item(e, f"line_items[{n}]", mode) for n, e in enumerate(entries)]
        total = sum(int(str(item["amount_total"])) for item in items) if items else None
        stamp = self._books.stamp()
        expires = params.get("expires_at") or stamp + _DAY_SECONDS
        if not stamp + _LEAST_SECONDS <= expires <= stamp + _DAY_SECONDS:
            message = (
                "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout "
                "Session creation."
            )
            raise Problem(400, message, None, "expires_at")
        key = self._books.new_id("cs_test")
        session: Record = {
            "id": key,
            "object": "checkout.session",
            "amount_subtotal": total,
            "amount_total": total,
            "automatic_tax": {"enabled": False, "liability": None, "status": None},
            "client_secret": f"{key}_secret" if is_embedded else None,
            "consent": None,
            "created": stamp,
            "currency": items[0]["currency"] if items else params.get("currency"),
            "custom_fields": [],
            "custom_text": {"after_submit": None, "shipping_address": None, "submit": None},
            "customer_details": None,
            "expires_at": expires,
            "invoice": None,
            "livemode": False,
            "metadata": merged_metadata({}, params.get("metadata") or {}),
            "mode": mode,
            "payment_intent": None,
            "payment_link": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {},
            "payment_method_types": params.get("payment_method_types") or ["card"],
            "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
            "phone_number_collection": {"enabled": False},
            "recovered_from": None,
            "setup_intent": None,
            "shipping_cost": None,
            "shipping_details": None,
            "shipping_options": [],
            "status": "open",
            "subscription": None,
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": params.get("ui_mode") or "hosted",
            "url": None if is_embedded else f"https://checkout.example.com/c/pay/{key}",
            **{name: params.get(name) for name in _PLAIN_OF_SESSION},
            "_items": items,
        }
        return self._books.put(None, session)

    def item(self, entry: Mapping[str, Any], path: str, mode: str) -> Record:
        """A line of what is to be sold, by a price that is there or comes with it."""
        if told := entry.get("price_data"):
            price = self._own_price(told, f"{path}[price_data]")
        elif key := entry.get("price"):
            price = existing(self._books, "price", key, f"{path}[price]")
        else:
            raise required_problem(f"{path}[price]")
        if mode == "payment" and price["type"] == "recurring":
            message = (
                "You specified `payment` mode but passed a recurring price. Either switch to "
                "`subscription` mode or use only one-time prices."
            )
            raise Problem(400, message, None, f"{path}[price]")
        quantity = 1 if entry.get("quantity") is None else entry["quantity"]
        if not 1 <= quantity <= _MOST_QUANTITY:
            message = f"Invalid quantity: must be from 1 to {_MOST_QUANTITY}"
            raise Problem(400, message, "parameter_invalid_integer", f"{path}[quantity]")
        amount = int(str(price["unit_amount"] or 0)) * quantity
        product = self._books.live("product").get(str(price["product"]), {})
        return {
            "id": self._books.new_id("li"),
            "object": "item",
            "amount_discount": 0,
            "amount_subtotal": amount,
            "amount_tax": 0,
            "amount_total": amount,
            "currency": price["currency"],
            "description": product.get("name"),
            "price": price,
            "quantity": quantity,
        }

    def _own_price(self, told: object, path: str) -> Record:
        if not isinstance(told, Mapping):
            raise Problem(400, "Invalid object", None, path)
        shape: Shape = {
            **texts("currency product unit_amount_decimal"),
            "product_data": {**texts("name description tax_code"), "images": [TEXT],
                             "metadata": METADATA},
            "recurring": {"interval": ("day", "week", "month", "year"), "interval_count": INTEGER},
            "tax_behavior": ("exclusive", "inclusive", "unspecified"),
            "unit_amount": INTEGER,
        }  # fmt: skip
        return self._new_price({**checked(told, shape, "currency"), "active": False})

    def _change_session(self, session: Record, params: dict[str, Any]) -> Record:
        metadata = merged_metadata(session["metadata"], params.get("metadata") or {})
        return self._books.change(None, session, metadata=metadata)

    def _expire(self, session: Record) -> Record:
        if session["status"] != "open":
            message = (
                'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
                f"Session has a status of `{session['status']}`."
            )
            raise Problem(400, message)
        return self._books.change("checkout.session.expired", session, status="expired", url=None)


def _unexpected(intent: Record, verb: str, allowed: tuple[str, ...]) -> Problem:
    message = (
        f"You cannot {verb} this SetupIntent because it has a status of {intent['status']}. Only a "
        f"SetupIntent with one of the following statuses may be: {', '.join(allowed)}."
    )
    more: Record = {"setup_intent": intent}
    return Problem(400, message, "setup_intent_unexpected_state", more=more)
