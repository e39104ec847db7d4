"""What clients write to Stripe about payment intents, from their beginning to the charge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_shapes import PAYMENT_INTENT
from meltano_assets.sandbox.stripe_books import Books
from meltano_assets.sandbox.stripe_cards import declined, public
from meltano_assets.sandbox.stripe_forms import (
    ANY,
    BOOLEAN,
    INTEGER,
    METADATA,
    TEXT,
    Shape,
    checked,
    merged_metadata,
    texts,
)
from meltano_assets.sandbox.stripe_payments import PAYMENT, SHIPPING, Payments, check_amount
from meltano_assets.sandbox.stripe_wire import Problem, existing

_INTENT: Shape = {
    **PAYMENT,
    **texts("currency customer payment_method payment_method_configuration"),
    "amount": INTEGER,
    "capture_method": ("automatic", "automatic_async", "manual"),
    "payment_method_data": ANY,
    "payment_method_options": ANY,
    "payment_method_types": [TEXT],
    "setup_future_usage": ("off_session", "on_session"),
}
_CONFIRM: Shape = {
    **texts("payment_method return_url receipt_email confirmation_token mandate"),
    "capture_method": ("automatic", "automatic_async", "manual"),
    "error_on_requires_action": BOOLEAN,
    "mandate_data": ANY,
    "off_session": ANY,
    "payment_method_data": ANY,
    "payment_method_options": ANY,
    "payment_method_types": [TEXT],
    "radar_options": ANY,
    "setup_future_usage": ("off_session", "on_session"),
    "shipping": SHIPPING,
    "use_stripe_sdk": BOOLEAN,
}
_NEW_INTENT: Shape = {
    **_INTENT,
    **_CONFIRM,
    "automatic_payment_methods": {"allow_redirects": ("always", "never"), "enabled": BOOLEAN},
    "confirm": BOOLEAN,
    "confirmation_method": ("automatic", "manual"),
}
_CAPTURE_INTENT: Shape = {
    **texts("statement_descriptor statement_descriptor_suffix"),
    "amount_to_capture": INTEGER,
    "application_fee_amount": INTEGER,
    "final_capture": BOOLEAN,
    "metadata": METADATA,
    "transfer_data": ANY,
}
_CANCEL_REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_INTENT_FIELDS = (
    "amount", "application_fee_amount", "capture_method", "currency", "customer", "description",
    "on_behalf_of", "payment_method_types", "receipt_email", "setup_future_usage", "shipping",
    "statement_descriptor", "statement_descriptor_suffix", "transfer_data", "transfer_group",
)  # fmt: skip


class Intents:
    """Begins, confirms, captures and cancels payment intents."""

    def __init__(self, books: Books, payments: Payments) -> None:
        self._books = books
        self._payments = payments

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        if method != "POST":
            return None
        match parts:
            case ["payment_intents"]:
                params = checked(given, _NEW_INTENT, "amount", "currency")
                return lambda: self._new_intent(params)
            case ["payment_intents", key]:
                params = checked(given, _INTENT)
                return lambda: self._change_intent(
                    existing(self._books, "payment_intent", key), params
                )
            case ["payment_intents", key, "confirm"]:
                params = checked(given, _CONFIRM)
                return lambda: self._confirm(existing(self._books, "payment_intent", key), params)
            case ["payment_intents", key, "capture"]:
                params = checked(given, _CAPTURE_INTENT)
                return lambda: self._capture_intent(
                    existing(self._books, "payment_intent", key), params
                )
            case ["payment_intents", key, "cancel"]:
                params = checked(given, {"cancellation_reason": _CANCEL_REASONS})
                return lambda: self._cancel_intent(
                    existing(self._books, "payment_intent", key), params
                )
        return None

    def _new_intent(self, params: dict[str, Any]) -> Record:
        check_amount(params["amount"], params["currency"])
        if customer := params.get("customer"):
            existing(self._books, "customer", customer, "customer")
        if params.get("payment_method_types") and params.get("automatic_payment_methods"):
            message = (
                "You may only specify one of these parameters: automatic_payment_methods, "
                "payment_method_types."
            )
            raise Problem(400, message, None, "automatic_payment_methods")
        self._check_types(params)
        key = self._books.new_id("pi")
        secret = self._books.new_id("secret")
        fields: Record = {name: params[name] for name in _INTENT_FIELDS if name in params}
        intent: Record = {
            **PAYMENT_INTENT,
            **fields,
            "id": key,
            "automatic_payment_methods": params.get("automatic_payment_methods"),
            "client_secret": f"{key}_{secret}",
            "confirmation_method": params.get("confirmation_method", "automatic"),
            "created": self._books.stamp(),
            "metadata": merged_metadata({}, params.get("metadata") or {}),
        }
        method = None
        if name := params.get("payment_method"):
            method = self._payments.method(name, customer)
            intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        intent = self._books.put("payment_intent.created", intent)
        return self._confirm(intent, {}) if params.get("confirm") else intent

    def _check_types(self, params: Mapping[str, Any]) -> None:
        for kind in params.get("payment_method_types") or ():
            if kind != "card":
                message = (
                    f'The payment method type "{kind}" is invalid. Please ensure the provided type '
                    "is activated in your dashboard "
                    "(https://dashboard.stripe.com/account/payments/settings) and your account is "
                    "enabled for any preview features that you are trying to use."
                )
                raise Problem(
                    400, message, "payment_intent_invalid_parameter", "payment_method_types"
                )

    def _change_intent(self, intent: Record, params: dict[str, Any]) -> Record:
        fixed = {"amount", "currency", "customer", "payment_method", "capture_method"}
        if intent["status"] not in _OPEN and (changed := sorted(fixed & params.keys())):
            message = (
                f"This PaymentIntent's {changed[0]} could not be updated because it has a status of "
                f"{intent['status']}. You may only update the {changed[0]} of a PaymentIntent with one "
                f"of the following statuses: {', '.join(_OPEN)}."
            )
            raise self._unexpected(intent, message)
        if params.get("amount") is not None:
            check_amount(params["amount"], params.get("currency") or str(intent["currency"]))
        if customer := params.get("customer"):
            existing(self._books, "customer", customer, "customer")
        self._check_types(params)
        fields: Record = {name: params[name] for name in _INTENT_FIELDS if name in params}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
        if name := params.get("payment_method"):
            method = self._payments.method(name, params.get("customer", intent["customer"]))
            fields |= {"payment_method": method["id"], "status": "requires_confirmation"}
        return self._books.change(None, intent, **fields)

    def _confirm(self, intent: Record, params: dict[str, Any]) -> Record:
        if intent["status"] not in _OPEN:
            message = (
                f"You cannot confirm this PaymentIntent because it has "
                f"{'already succeeded after being previously confirmed' if intent['status'] == 'succeeded' else 'a status of ' + str(intent['status'])}."
            )
            raise self._unexpected(intent, message)
        name = params.get("payment_method") or intent["payment_method"]
        if name is None:
            message = (
                "You cannot confirm this PaymentIntent because it's missing a payment method. You can "
                "either update the PaymentIntent with a payment method and then confirm it again, or "
                "confirm it again directly with a payment method or ConfirmationToken."
            )
            raise self._unexpected(intent, message)
        method = self._payments.method(str(name), intent["customer"])
        return self.pay(intent, method)

    def pay(self, intent: Record, method: Record) -> Record:
        """Charge the card for an intent; a Problem when it is declined."""
        is_manual = intent["capture_method"] == "manual"
        whole = int(str(intent["amount"]))
        kept = ("customer", "description", "invoice", "receipt_email", "shipping", "metadata",
                "statement_descriptor", "statement_descriptor_suffix", "transfer_group",
                "on_behalf_of", "transfer_data", "application_fee_amount")  # fmt: skip
        charge = self._payments.charge(
            whole,
            str(intent["currency"]),
            method,
            **{name: intent[name] for name in kept},
            captured=not is_manual,
            payment_intent=intent["id"],
        )
        if charge["status"] == "failed":
            refused = declined(method, charge)
            error = {**refused.error(), "payment_method": public(method)}
            intent = self._books.change(
                "payment_intent.payment_failed",
                intent,
                last_payment_error=error,
                latest_charge=charge["id"],
                payment_method=None,
                status="requires_payment_method",
            )
            refused.more |= {"payment_intent": intent, "payment_method": public(method)}
            raise refused
        if intent["setup_future_usage"] and intent["customer"] and not method["customer"]:
            self._books.change("payment_method.attached", method, customer=intent["customer"])
        status = "requires_capture" if is_manual else "succeeded"
        return self._books.change(
            "payment_intent.amount_capturable_updated" if is_manual else "payment_intent.succeeded",
            intent,
            amount_capturable=whole if is_manual else 0,
            amount_received=0 if is_manual else whole,
            last_payment_error=None,
            latest_charge=charge["id"],
            payment_method=method["id"],
            status=status,
        )

    def _capture_intent(self, intent: Record, params: dict[str, Any]) -> Record:
        if intent["status"] != "requires_capture":
            message = (
                "This PaymentIntent could not be captured because it has a status of "
                f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
                "captured: requires_capture."
            )
            raise self._unexpected(intent, message)
        charge = existing(self._books, "charge", str(intent["latest_charge"]))
        charge = self._payments.capture(charge, params.get("amount_to_capture"))
        fields: Record = {}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
        return self._books.change(
            "payment_intent.succeeded",
            intent,
            **fields,
            amount_capturable=0,
            amount_received=charge["amount_captured"],
            status="succeeded",
        )

    def _cancel_intent(self, intent: Record, params: dict[str, Any]) -> Record:
        allowed = ("requires_payment_method", "requires_capture", "requires_confirmation",
                   "requires_action", "processing")  # fmt: skip
        if intent["status"] not in allowed:
            message = (
                f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. "
                "Only a PaymentIntent with one of the following statuses may be canceled: "
                f"{', '.join(allowed)}."
            )
            raise self._unexpected(intent, message)
        if intent["status"] == "requires_capture":
            charge = existing(self._books, "charge", str(intent["latest_charge"]))
            self._payments.refund({"charge": charge["id"]})
        return self._books.change(
            "payment_intent.canceled",
            intent,
            amount_capturable=0,
            canceled_at=self._books.stamp(),
            cancellation_reason=params.get("cancellation_reason"),
            status="canceled",
        )

    def _unexpected(self, intent: Record, message: str) -> Problem:
        code = "payment_intent_unexpected_state"
        return Problem(400, message, code, more={"payment_intent": public(intent)})
