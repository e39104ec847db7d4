"""Payments by card, as Stripe has them: charges, refunds and disputes."""

from __future__ import annotations

from itertools import count

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_balance import Balance, charge_fee, shown
from meltano_assets.sandbox.company_stripe_records import StripeRecords
from meltano_assets.sandbox.company_stripe_shapes import CHARGE, REFUND

#: In the smallest unit, whatever the currency.
_DISPUTE_FEE = 1_500
_REASONS = ("requested_by_customer", "duplicate", "fraudulent", None)


class Payments:
    """Charges invoices, gives money back, loses disputes."""

    def __init__(self, books: StripeRecords, balance: Balance) -> None:
        self._books = books
        self._balance = balance
        self._charges = count(1)

    def charge(self, at: float, invoice: Record, customer: Record, *, fails: bool = False) -> None:
        """The card is charged what the invoice asks for; some ask their money back later."""
        current = self._books.live["invoice"].get(str(invoice["id"]))
        if current is None or current["status"] != "open":
            return
        number = next(self._charges)
        intent = self._books.new_id("pi")
        charge: Record = {
            **CHARGE,
            "id": self._books.new_id("ch"),
            "amount": current["amount_due"],
            "amount_captured": 0 if fails else current["amount_due"],
            "balance_transaction": None if fails else self._books.new_id("txn"),
            "billing_details": {
                "address": customer["address"],
                "email": customer["email"],
                "name": customer["name"],
                "phone": None,
            },
            "captured": not fails,
            "created": self._books.stamp(at),
            "currency": current["currency"],
            "customer": customer["id"],
            "description": "Subscription update",
            "failure_code": "card_declined" if fails else None,
            "failure_message": "Your card was declined." if fails else None,
            "invoice": current["id"],
            "outcome": {
                "network_status": "declined_by_network" if fails else "approved_by_network",
                "reason": "generic_decline" if fails else None,
                "risk_level": "normal",
                "risk_score": number % 60,
                "type": "issuer_declined" if fails else "authorized",
            },
            "paid": not fails,
            "payment_intent": intent,
            "payment_method": self._books.new_id("pm"),
            "payment_method_details": {
                "card": {"brand": "visa", "country": "US", "last4": f"{number % 10_000:04d}"},
                "type": "card",
            },
            "status": "failed" if fails else "succeeded",
        }
        self._books.put(at, "charge.failed" if fails else "charge.succeeded", charge)
        attempts = int(str(current["attempt_count"])) + 1
        if fails:
            self._books.change(
                at,
                "invoice.payment_failed",
                current,
                attempt_count=attempts,
                attempted=True,
                charge=charge["id"],
                next_payment_attempt=self._books.stamp(at + 3),
            )
            return
        amount = int(str(charge["amount"]))
        fee = charge_fee(amount, str(charge["currency"]))
        self._balance.move(at, "charge", charge, amount, fee=fee)
        changes = current["status_transitions"]
        assert isinstance(changes, dict)
        self._books.change(
            at,
            "invoice.paid",
            current,
            status="paid",
            paid=True,
            attempted=True,
            attempt_count=attempts,
            amount_paid=current["amount_due"],
            amount_remaining=0,
            charge=charge["id"],
            payment_intent=intent,
            next_payment_attempt=None,
            status_transitions={**changes, "paid_at": self._books.stamp(at)},
        )
        if number % 14 == 5:
            self._books.when(at + 2 + number % 9, lambda then: self._refund(then, charge))
        elif number % 21 == 7:
            self._books.when(at + 4 + number % 11, lambda then: self._dispute(then, charge))

    def _refund(self, at: float, charge: Record) -> None:
        number = self._books.rng.randrange(2)
        whole = int(str(charge["amount"]))
        amount = whole if number else max(1, whole // 2)
        self._books.change(
            at, "charge.refunded", charge, amount_refunded=amount, refunded=amount == whole
        )
        refund = self._books.put(
            at,
            "refund.created",
            {
                **REFUND,
                "id": self._books.new_id("re"),
                "amount": amount,
                "balance_transaction": self._books.new_id("txn"),
                "charge": charge["id"],
                "created": self._books.stamp(at),
                "currency": charge["currency"],
                "payment_intent": charge["payment_intent"],
                "reason": self._books.rng.choice(_REASONS),
                "status": "pending",
            },
        )
        self._balance.move(at, "refund", refund, -amount)
        self._books.when(at + 2, lambda then: self._settle(then, refund))

    def _settle(self, at: float, refund: Record) -> None:
        self._books.change(at, "charge.refund.updated", refund, status="succeeded")

    def _dispute(self, at: float, charge: Record) -> None:
        key = self._books.new_id("dp")
        self._books.change(at, "charge.updated", charge, disputed=True, dispute=key)
        amount = int(str(charge["amount"]))
        # The bank takes the money back at once.
        taken = self._balance.move(
            at,
            "adjustment",
            {"id": key, "object": "dispute", "currency": charge["currency"]},
            -amount,
            fee=_DISPUTE_FEE,
            category="dispute",
        )
        dispute = self._books.put(
            at,
            "charge.dispute.created",
            {
                "id": key,
                "object": "dispute",
                "amount": charge["amount"],
                "balance_transactions": [shown(taken)],
                "charge": charge["id"],
                "created": self._books.stamp(at),
                "currency": charge["currency"],
                "evidence": {"customer_name": None, "uncategorized_text": None},
                "evidence_details": {
                    "due_by": self._books.stamp(at + 10),
                    "has_evidence": False,
                    "past_due": False,
                    "submission_count": 0,
                },
                "is_charge_refundable": False,
                "livemode": False,
                "metadata": {},
                "network_reason_code": "10.4",
                "payment_intent": charge["payment_intent"],
                "payment_method_details": {"card": {"brand": "visa"}, "type": "card"},
                "reason": "fraudulent",
                "status": "needs_response",
            },
        )
        ending = self._books.rng.choice(["won", "lost"])
        self._books.when(
            at + 12,
            lambda then: self._close(then, dispute, ending),
        )

    def _close(self, at: float, dispute: Record, ending: str) -> None:
        if ending == "won":
            amount = int(str(dispute["amount"]))
            given = self._balance.move(
                at, "adjustment", dispute, amount, category="dispute_reversal"
            )
            taken = dispute["balance_transactions"]
            assert isinstance(taken, list)
            self._books.change(
                at,
                "charge.dispute.funds_reinstated",
                dispute,
                balance_transactions=[*taken, shown(given)],
            )
        self._books.change(at, "charge.dispute.closed", dispute, status=ending)
