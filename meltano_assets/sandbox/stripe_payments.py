"""What clients write to Stripe about money: charges, refunds and payment methods.

Cards are Stripe's test cards by name (``stripe_cards.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_balance import charge_fee, movement
from meltano_assets.sandbox.company_stripe_shapes import CHARGE, REFUND
from meltano_assets.sandbox.stripe_books import Books
from meltano_assets.sandbox.stripe_cards import (
    BLANK_BILLING,
    check_attachable,
    declined,
    new_card,
    new_method,
    outcome,
)
from meltano_assets.sandbox.stripe_forms import (
    ANY,
    BOOLEAN,
    INTEGER,
    METADATA,
    TEXT,
    ZERO_DECIMAL,
    Shape,
    checked,
    merged_metadata,
    required_problem,
    texts,
)
from meltano_assets.sandbox.stripe_wire import Problem, existing, missing

ADDRESS: Shape = texts("city country line1 line2 postal_code state")
SHIPPING: Shape = {**texts("carrier name phone tracking_number"), "address": ADDRESS}
_BILLING: Shape = {**texts("email name phone tax_id"), "address": ADDRESS}
PAYMENT: Shape = {
    **texts("description receipt_email statement_descriptor statement_descriptor_suffix"),
    **texts("transfer_group on_behalf_of"),
    "application_fee_amount": INTEGER,
    "metadata": METADATA,
    "shipping": SHIPPING,
    "transfer_data": ANY,
}
_NEW_CHARGE: Shape = {
    **PAYMENT,
    **texts("currency customer source"),
    "amount": INTEGER,
    "capture": BOOLEAN,
    "radar_options": ANY,
}
_CHARGE: Shape = {
    **texts("customer description receipt_email transfer_group"),
    "fraud_details": ANY,
    "metadata": METADATA,
    "shipping": SHIPPING,
}
_CAPTURE: Shape = {
    **texts("receipt_email statement_descriptor statement_descriptor_suffix transfer_group"),
    "amount": INTEGER,
    "application_fee_amount": INTEGER,
    "transfer_data": ANY,
}
_REFUND: Shape = {
    **texts("charge payment_intent currency customer instructions_email origin"),
    "amount": INTEGER,
    "metadata": METADATA,
    "reason": ("duplicate", "fraudulent", "requested_by_customer"),
    "refund_application_fee": BOOLEAN,
    "reverse_transfer": BOOLEAN,
}
_METHOD: Shape = {
    **texts("customer payment_method"),
    "allow_redisplay": ("always", "limited", "unspecified"),
    "billing_details": _BILLING,
    "card": ANY,
    "metadata": METADATA,
    "type": TEXT,
}


class Payments:
    """Charges cards and gives money back."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        if method != "POST":
            return None
        match parts:
            case ["charges"]:
                params = checked(given, _NEW_CHARGE, "amount", "currency")
                return lambda: self._new_charge(params)
            case ["charges", key]:
                params = checked(given, _CHARGE)
                return lambda: self._change("charge", key, "charge.updated", params)
            case ["charges", key, "capture"]:
                params = checked(given, _CAPTURE)
                return lambda: self.capture(
                    existing(self._books, "charge", key), params.get("amount")
                )
            case ["charges", key, "refunds" | "refund"]:
                params = {**checked(given, _REFUND), "charge": key}
                return lambda: self.refund(params)
            case ["refunds"]:
                params = checked(given, _REFUND)
                return lambda: self.refund(params)
            case ["refunds", key]:
                params = checked(given, {"metadata": METADATA})
                return lambda: self._change("refund", key, "charge.refund.updated", params)
            case ["refunds", key, "cancel"]:
                checked(given, {})
                return lambda: self._cancel_refund(existing(self._books, "refund", key))
            case ["payment_methods"]:
                params = checked(given, _METHOD)
                return lambda: self._new_method(params)
            case ["payment_methods", key]:
                params = checked(given, _METHOD)
                return lambda: self._change("payment_method", key, "payment_method.updated", params)
            case ["payment_methods", key, "attach"]:
                params = checked(given, {"customer": TEXT}, "customer")
                return lambda: self._attach(key, params["customer"])
            case ["payment_methods", key, "detach"]:
                checked(given, {})
                return lambda: self._detach(existing(self._books, "payment_method", key))
        return None

    def _change(self, kind: str, key: str, event: str, params: dict[str, Any]) -> Record:
        record = existing(self._books, kind, key)
        fields: Record = {name: value for name, value in params.items() if name in record}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(record["metadata"], params["metadata"])
        for name in ("billing_details", "fraud_details", "card"):
            if isinstance(fields.get(name), dict) and isinstance(held := record[name], dict):
                fields[name] = {**held, **params[name]}
        return self._books.change(event, record, **fields)

    # Charges

    def _new_charge(self, params: dict[str, Any]) -> Record:
        check_amount(params["amount"], params["currency"])
        customer = None
        if key := params.get("customer"):
            customer = existing(self._books, "customer", key, "customer")
        source: Any = params.get("source")
        if source is None and customer is None:
            raise Problem(400, "Must provide source or customer.", "parameter_missing")
        if source is None and customer is not None:
            source = customer["default_source"]
            if source is None:
                message = "Cannot charge a customer that has no active card"
                raise Problem(402, message, "missing", "card", "card_error")
        card = self._books.live("card").get(source) or new_card(self._books, source, "source")
        if card["customer"] is not None and card["customer"] != params.get("customer"):
            raise missing("source", source, "source")
        told = {name: params[name] for name in PAYMENT if name in params and name != "metadata"}
        charge = self.charge(
            params["amount"],
            params["currency"],
            card,
            **told,
            captured=params.get("capture", True),
            customer=params.get("customer"),
            metadata=merged_metadata({}, params.get("metadata") or {}),
            source={n: v for n, v in card.items() if not n.startswith("_")},
        )
        if charge["status"] == "failed":
            raise declined(card, charge)
        return charge

    def charge(self, amount: int, currency: str, card: Record, **fields: object) -> Record:
        """A card is charged; the charge has failed where the card's name says so."""
        refusal = outcome(card)
        code, reason, words = refusal or (None, None, None)
        is_captured = refusal is None and bool(fields.get("captured", True))
        inner = card.get("card")
        details: Record = inner if isinstance(inner, dict) else card
        key = self._books.new_id("ch")
        charge: Record = {
            **CHARGE,
            **fields,
            "id": key,
            "amount": amount,
            "amount_captured": amount if is_captured else 0,
            "balance_transaction": self._books.new_id("txn") if is_captured else None,
            "billing_details": card.get("billing_details") or BLANK_BILLING,
            "captured": is_captured,
            "created": self._books.stamp(),
            "currency": currency,
            "failure_code": code,
            "failure_message": words,
            "outcome": {
                "network_status": "approved_by_network" if refusal is None else "declined_by_network",
                "reason": reason,
                "risk_level": "normal",
                "risk_score": 12,
                "seller_message": "Payment complete."
                if refusal is None
                else "The bank did not return any further details with this decline.",
                "type": "authorized" if refusal is None else "issuer_declined",
            },
            "paid": refusal is None,
            "payment_method": card["id"],
            "payment_method_details": {
                "card": {n: details.get(n) for n in ("brand", "country", "exp_month", "exp_year",
                                                     "fingerprint", "funding", "last4")},
                "type": "card",
            },
            "receipt_url": f"https://pay.example.com/receipts/{key}",
            "status": "succeeded" if refusal is None else "failed",
        }  # fmt: skip
        if is_captured:
            self._took(charge)
        return self._books.put("charge.succeeded" if refusal is None else "charge.failed", charge)

    def _took(self, charge: Record) -> None:
        """What was captured of a charge comes into the balance."""
        amount = int(str(charge["amount_captured"]))
        fee = charge_fee(amount, str(charge["currency"]))
        key = str(charge["balance_transaction"])
        self._books.put(None, movement(key, "charge", charge, amount, self._books.stamp(), fee=fee))

    def capture(self, charge: Record, amount: int | None) -> Record:
        """Take what was held, or a part of it."""
        if charge["captured"]:
            message = f"Charge {charge['id']} has already been captured."
            raise Problem(400, message, "charge_already_captured")
        if charge["status"] == "failed" or charge["refunded"]:
            message = f"Charge {charge['id']} cannot be captured."
            raise Problem(400, message, "charge_not_refundable" if charge["refunded"] else None)
        whole = int(str(charge["amount"]))
        taken = whole if amount is None else amount
        if not 1 <= taken <= whole:
            message = (
                f"Amount must be no more than {_money(whole, str(charge['currency']))}"
                if taken > whole
                else "Invalid positive integer"
            )
            raise Problem(400, message, "amount_too_large" if taken > whole else None, "amount")
        captured = self._books.change(
            "charge.captured",
            charge,
            captured=True,
            amount_captured=taken,
            amount_refunded=whole - taken,
            balance_transaction=self._books.new_id("txn"),
        )
        self._took(captured)
        return captured

    # Refunds

    def refund(self, params: dict[str, Any]) -> Record:
        """Give money back."""
        if key := params.get("payment_intent"):
            intent = existing(self._books, "payment_intent", key, "payment_intent")
            latest = str(intent["latest_charge"])
            charge = self._books.live("charge").get(latest)
            if charge is None or charge["status"] != "succeeded":
                message = f"This PaymentIntent ({key}) does not have a successful charge to refund."
                raise Problem(400, message, "payment_intent_unexpected_state", "payment_intent")
        elif key := params.get("charge"):
            charge = existing(
                self._books, "charge", key, "charge" if "currency" in params else "id"
            )
        else:
            message = (
                "One of the following params should be provided for this request: "
                "payment_intent or charge."
            )
            raise Problem(400, message, "parameter_missing")
        name, currency = charge["id"], str(charge["currency"])
        if charge["disputed"]:
            message = f"Charge {name} has been charged back; cannot issue a refund."
            raise Problem(400, message, "charge_disputed")
        if charge["status"] == "failed":
            message = f"Charge {name} did not succeed; cannot issue a refund."
            raise Problem(400, message, "charge_not_refundable")
        back = int(str(charge["amount_refunded"]))
        left = int(str(charge["amount"])) - back
        if left <= 0:
            message = f"Charge {name} has already been refunded."
            raise Problem(400, message, "charge_already_refunded")
        amount = left if params.get("amount") is None else params["amount"]
        if amount < 1:
            raise Problem(400, "Invalid positive integer", "parameter_invalid_integer", "amount")
        if amount > left:
            message = (
                f"Refund amount ({_money(amount, currency)}) is greater than "
                f"{'unrefunded amount on charge' if back else 'charge amount'} "
                f"({_money(left, currency)})"
            )
            raise Problem(400, message, None, "amount")
        self._books.change(
            "charge.refunded", charge, amount_refunded=back + amount, refunded=amount == left
        )
        refund = self._books.put(
            "refund.created",
            {
                **REFUND,
                "id": self._books.new_id("re"),
                "amount": amount,
                "balance_transaction": self._books.new_id("txn"),
                "charge": name,
                "created": self._books.stamp(),
                "currency": currency,
                "metadata": merged_metadata({}, params.get("metadata") or {}),
                "payment_intent": charge["payment_intent"],
                "reason": params.get("reason"),
                "status": "succeeded",
            },
        )
        key, stamp = str(refund["balance_transaction"]), self._books.stamp()
        self._books.put(None, movement(key, "refund", refund, -amount, stamp))
        return refund

    def _cancel_refund(self, refund: Record) -> Record:
        message = (
            f"Refund {refund['id']} can't be canceled: it has a status of {refund['status']}; only "
            "refunds with a status of requires_action can be."
        )
        raise Problem(400, message)

    # Methods of payment

    def _new_method(self, params: dict[str, Any]) -> Record:
        if params.get("type") is None:
            raise required_problem("type")
        card = params.get("card")
        if params["type"] != "card":
            message = f"Invalid type: the sandbox keeps cards, not {params['type']}"
            raise Problem(400, message, None, "type")
        token = card.get("token") if isinstance(card, dict) else None
        if token is None:
            if isinstance(card, dict) and card.get("number"):
                message = (
                    "Sending credit card numbers directly to the Stripe API is generally unsafe. "
                    "We suggest you use test tokens that map to the test card you are using, see "
                    "https://stripe.com/docs/testing."
                )
                raise Problem(402, message, None, None, "card_error")
            raise required_problem("card[token]")
        return self._books.put(
            None,
            {
                **new_method(self._books, token, "card[token]"),
                "billing_details": {**BLANK_BILLING, **(params.get("billing_details") or {})},
                "metadata": merged_metadata({}, params.get("metadata") or {}),
            },
        )

    def method(self, key: str, customer: object, param: str = "payment_method") -> Record:
        """The card of that id, or a new one of that name; of no other customer."""
        known = self._books.live("payment_method").get(key)
        if known is None:
            known = self._books.put(None, new_method(self._books, key, param))
        if known["customer"] is not None and known["customer"] != customer:
            message = (
                f"The provided PaymentMethod was previously used with another Customer, or belongs to "
                f"{'another' if customer else 'a'} Customer. Please include the Customer in the "
                "`customer` parameter on the PaymentIntent."
            )
            raise Problem(400, message, None, param)
        return known

    def _attach(self, key: str, customer: str) -> Record:
        existing(self._books, "customer", customer, "customer")
        known = self._books.live("payment_method").get(key)
        if known is None:
            known = self._books.put(None, new_method(self._books, key, "payment_method"))
        if known["customer"] not in (None, customer):
            message = "The payment method you provided has already been attached to a customer."
            raise Problem(400, message, "payment_method_unexpected_state")
        check_attachable(known)
        return self._books.change("payment_method.attached", known, customer=customer)

    def _detach(self, method: Record) -> Record:
        if method["customer"] is None:
            message = (
                "The payment method you provided is not attached to a customer so detachment is "
                "impossible."
            )
            raise Problem(400, message, "payment_method_unexpected_state")
        return self._books.change("payment_method.detached", method, customer=None)


def check_amount(amount: int, currency: str) -> None:
    """Stripe takes no less than half a dollar, and no more than eight digits."""
    if amount < 1:
        raise Problem(400, "Invalid positive integer", "parameter_invalid_integer", "amount")
    least = 50
    if amount < least:
        message = f"Amount must be at least {_money(least, currency)} {currency}"
        raise Problem(400, message, "amount_too_small", "amount")
    if amount > 99_999_999:
        message = f"Amount must be no more than {_money(99_999_999, currency)}"
        raise Problem(400, message, "amount_too_large", "amount")


def _money(amount: int, currency: str) -> str:
    sign = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}.get(currency, "")
    if currency in ZERO_DECIMAL:
        return f"{sign}{amount:,}"
    return f"{sign}{amount / 100:,.2f}"
