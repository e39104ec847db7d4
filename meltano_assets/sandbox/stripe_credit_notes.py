"""What clients write to Stripe about money owed less: credit notes, and the balance of a customer.

A note on an open invoice takes from what is due; one on a paid invoice gives back: to the card, to the
customer's balance, or outside of Stripe. A customer's balance is settled when the next invoice is
finalized.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_forms import (
    ANY,
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
from meltano_assets.sandbox.stripe_wire import Problem, existing, missing

_REASONS = ("duplicate", "fraudulent", "order_change", "product_unsatisfactory")
_NEW_NOTE: Shape = {
    **texts("invoice memo refund"),
    "amount": INTEGER,
    "credit_amount": INTEGER,
    "effective_at": INTEGER,
    "email_type": ("credit_note", "none"),
    "lines": [
        {
            **texts("description invoice_line_item unit_amount_decimal"),
            "amount": INTEGER,
            "quantity": INTEGER,
            "tax_amounts": ANY,
            "tax_rates": [TEXT],
            "type": ("custom_line_item", "invoice_line_item"),
            "unit_amount": INTEGER,
        }
    ],
    "metadata": METADATA,
    "out_of_band_amount": INTEGER,
    "reason": _REASONS,
    "refund_amount": INTEGER,
    "refunds": [{"amount_refunded": INTEGER, "refund": TEXT, "type": ("refund",)}],
    "shipping_cost": ANY,
}
_BACK = ("credit_amount", "out_of_band_amount", "refund_amount")
_MOST = 99_999_999


class CreditNotes:
    """Writes credit notes and keeps the balances of customers."""

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
            case ["credit_notes"]:
                params = checked(given, _NEW_NOTE, "invoice")
                return lambda: self._issue(params)
            case ["credit_notes", key]:
                params = checked(given, {"memo": TEXT, "metadata": METADATA})
                return lambda: self._change(existing(self._books, "credit_note", key), params)
            case ["credit_notes", key, "void"]:
                checked(given, {})
                return lambda: self._void(existing(self._books, "credit_note", key))
            case ["customers", key, "balance_transactions"]:
                shape: Shape = {**texts("currency description"), "amount": INTEGER,
                                "metadata": METADATA}  # fmt: skip
                params = checked(given, shape, "amount", "currency")
                return lambda: self._adjust(existing(self._books, "customer", key), params)
            case ["customers", key, "balance_transactions", one]:
                params = checked(given, {"description": TEXT, "metadata": METADATA})
                return lambda: self._change_moved(key, one, params)
        return None

    def preview(self, given: Mapping[str, Any]) -> Record:
        """The note as it would be; nothing of it stays."""
        return self._drawn(checked(given, _NEW_NOTE, "invoice"))

    # Notes

    def _drawn(self, params: Mapping[str, Any]) -> Record:
        invoice = existing(self._books, "invoice", params["invoice"], "invoice")
        linked = [entry["refund"] for entry in params.get("refunds") or () if entry.get("refund")]
        refund = params.get("refund") or (linked[0] if linked else None)
        if invoice["status"] not in ("open", "paid", "uncollectible"):
            message = (
                f"Credit notes can only be created for invoices that are open, paid or uncollectible; "
                f"this one is {invoice['status']}."
            )
            raise Problem(400, message, None, "invoice")
        key = self._books.new_id("cn")
        lines = self._lines(invoice, params)
        amount = sum(int(str(line["amount"])) for line in lines)
        taxes = [tax for line in lines for tax in items_of(line["tax_amounts"])]
        total = amount + sum(int(str(t["amount"])) for t in taxes if not t["inclusive"])
        cut = sum(int(str(line["discount_amount"])) for line in lines)
        total -= cut
        if total < 1:
            raise Problem(400, "Credit notes must be of a positive amount.", None, "amount")
        is_paid = invoice["status"] == "paid"
        done = int(str(invoice["post_payment_credit_notes_amount"]))
        left = (
            int(str(invoice["total"])) - done if is_paid else int(str(invoice["amount_remaining"]))
        )
        if total > left:
            message = f"The credit note's total ({total}) is greater than what is left of the invoice ({left})."
            raise Problem(400, message, None, "amount")
        back = sum(params.get(name) or 0 for name in _BACK)
        if any((params.get(name) or 0) < 0 for name in _BACK):
            raise Problem(400, "Invalid non-negative integer", "parameter_invalid_integer")
        if back != (total if is_paid else 0) and refund is None:
            message = (
                f"The sum of credit amount, refund amount and out of band amount ({back}) must equal "
                f"the post payment credit note amount ({total if is_paid else 0})."
            )
            raise Problem(400, message)
        return {
            "id": key,
            "object": "credit_note",
            "amount": total,
            "amount_shipping": 0,
            "created": self._books.stamp(),
            "currency": invoice["currency"],
            "customer": invoice["customer"],
            "customer_balance_transaction": None,
            "discount_amount": cut,
            "discount_amounts": [c for line in lines for c in items_of(line["discount_amounts"])],
            "effective_at": params.get("effective_at"),
            "invoice": invoice["id"],
            "lines": lines,
            "livemode": False,
            "memo": params.get("memo"),
            "metadata": merged_metadata({}, params.get("metadata") or {}),
            "number": self._number(invoice),
            "out_of_band_amount": params.get("out_of_band_amount"),
            "pdf": f"https://pay.example.com/credit_notes/{key}/pdf",
            "reason": params.get("reason"),
            "refund": refund,
            "shipping_cost": None,
            "status": "issued",
            "subtotal": amount,
            "subtotal_excluding_tax": amount,
            "tax_amounts": taxes,
            "total": total,
            "total_excluding_tax": amount - cut,
            "type": "post_payment" if is_paid else "pre_payment",
            "voided_at": None,
        }

    def _lines(self, invoice: Record, params: Mapping[str, Any]) -> list[Record]:
        entries = params.get("lines") or []
        if (amount := params.get("amount")) is not None:
            entries = [*entries, {"type": "custom_line_item", "unit_amount": amount}]
        if not entries:
            message = "One of amount, lines or shipping_cost must be provided."
            raise Problem(400, message, "parameter_missing")
        return [self._line(invoice, e, f"lines[{n}]") for n, e in enumerate(entries)]

    def _line(self, invoice: Record, entry: Mapping[str, Any], path: str) -> Record:
        kind = entry.get("type")
        if kind is None:
            raise required_problem(f"{path}[type]")
        quantity = 1 if entry.get("quantity") is None else entry["quantity"]
        unit, of, cuts, taxes = entry.get("unit_amount"), None, [], []
        rates: list[Record] = []
        if kind == "invoice_line_item":
            key = entry.get("invoice_line_item")
            if not key:
                raise required_problem(f"{path}[invoice_line_item]")
            of = next((one for one in items_of(invoice["lines"]) if one["id"] == key), None)
            if of is None:
                raise missing("invoice line item", key, f"{path}[invoice_line_item]")
            whole = int(str(of["amount"]))
            amount = entry.get("amount")
            if amount is None:
                count = int(str(of.get("quantity") or 1))
                amount = whole if "quantity" not in entry else round(whole / count * quantity)
            share = amount / whole if whole else 0
            rates = items_of(of.get("tax_rates"))
            taxes = _parts(of.get("tax_amounts"), share)
            cuts = _parts(of.get("discount_amounts"), share)
        else:
            if unit is None:
                raise required_problem(f"{path}[unit_amount]")
            amount = unit * quantity
        if not 0 < amount <= _MOST:
            message = f"Invalid positive integer: {amount}"
            raise Problem(400, message, "parameter_invalid_integer", path)
        return {
            "id": self._books.new_id("cnli"),
            "object": "credit_note_line_item",
            "amount": amount,
            "amount_excluding_tax": amount,
            "description": entry.get("description") or (of or {}).get("description"),
            "discount_amount": sum(int(str(cut["amount"])) for cut in cuts),
            "discount_amounts": cuts,
            **({"invoice_line_item": of["id"]} if of else {}),
            "livemode": False,
            "quantity": quantity,
            "tax_amounts": taxes,
            "tax_rates": rates,
            "type": kind,
            "unit_amount": unit,
            "unit_amount_decimal": None if unit is None else str(unit),
            "unit_amount_excluding_tax": str(amount if unit is None else unit),
        }

    def _number(self, invoice: Record) -> str:
        notes = self._books.live("credit_note").values()
        return f"{invoice['number']}-CN-{sum(n['invoice'] == invoice['id'] for n in notes) + 1:02d}"

    def _issue(self, params: dict[str, Any]) -> Record:
        note = self._drawn(params)
        invoice = existing(self._books, "invoice", str(note["invoice"]))
        total = int(str(note["amount"]))
        if note["type"] == "pre_payment":
            self._owe(invoice, -total)
            return self._books.put("credit_note.created", note)
        if note["refund"]:
            existing(self._books, "refund", str(note["refund"]), "refund")
        elif amount := params.get("refund_amount"):
            charge = invoice["charge"]
            if not charge:
                message = "This invoice has no charge that could be refunded."
                raise Problem(400, message, None, "refund_amount")
            note["refund"] = self._payments.refund({"charge": charge, "amount": amount})["id"]
        if amount := params.get("credit_amount"):
            customer = existing(self._books, "customer", str(note["customer"]), "customer")
            moved = self.move(
                customer, -amount, str(note["currency"]), "credit_note", credit_note=note["id"]
            )
            note["customer_balance_transaction"] = moved["id"]
        done = int(str(invoice["post_payment_credit_notes_amount"])) + total
        self._books.change("invoice.updated", invoice, post_payment_credit_notes_amount=done)
        return self._books.put("credit_note.created", note)

    def _owe(self, invoice: Record, amount: int) -> None:
        """So much more is due of an open invoice; nothing left means that it is paid."""
        names = ("amount_due", "amount_remaining")
        fields: Record = {name: int(str(invoice[name])) + amount for name in names}
        fields["pre_payment_credit_notes_amount"] = (
            int(str(invoice["pre_payment_credit_notes_amount"])) - amount
        )
        event = "invoice.updated"
        if fields["amount_remaining"] == 0:
            fields |= {"status": "paid", "paid": True}
            transitions = invoice["status_transitions"]
            assert isinstance(transitions, dict)
            fields["status_transitions"] = {**transitions, "paid_at": self._books.stamp()}
            event = "invoice.paid"
        intent = self._books.live("payment_intent").get(str(invoice["payment_intent"]))
        if intent is not None and intent["status"] != "succeeded":
            if fields["amount_remaining"]:
                self._books.change(None, intent, amount=fields["amount_remaining"])
            else:
                self._books.change(
                    "payment_intent.canceled", intent, status="canceled",
                    canceled_at=self._books.stamp(),
                )  # fmt: skip
        self._books.change(event, invoice, **fields)

    def _change(self, note: Record, params: dict[str, Any]) -> Record:
        fields: Record = {name: params[name] for name in ("memo",) if name in params}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(note["metadata"], params["metadata"])
        return self._books.change("credit_note.updated", note, **fields)

    def _void(self, note: Record) -> Record:
        invoice = existing(self._books, "invoice", str(note["invoice"]))
        if note["status"] == "void":
            raise Problem(400, "This credit note has already been voided.")
        if note["type"] != "pre_payment" or invoice["status"] != "open":
            raise Problem(400, "You can only void credit notes that belong to open invoices.")
        self._owe(invoice, int(str(note["amount"])))
        return self._books.change(
            "credit_note.voided", note, status="void", voided_at=self._books.stamp()
        )

    # Balances

    def move(
        self, customer: Record, amount: int, currency: str, kind: str, **told: object
    ) -> Record:
        """The customer's balance is another; what is below nought is the customer's."""
        ending = int(str(customer["balance"])) + amount
        self._books.change(
            "customer.updated", customer, balance=ending,
            currency=customer["currency"] or currency,
        )  # fmt: skip
        return self._books.put(
            None,
            {
                "id": self._books.new_id("cbtxn"),
                "object": "customer_balance_transaction",
                "amount": amount,
                "created": self._books.stamp(),
                "credit_note": None,
                "currency": currency,
                "customer": customer["id"],
                "description": None,
                "ending_balance": ending,
                "invoice": None,
                "livemode": False,
                "metadata": {},
                "type": kind,
                **told,
            },
        )

    def _adjust(self, customer: Record, params: dict[str, Any]) -> Record:
        if abs(params["amount"]) > _MOST:
            message = f"Invalid integer: {params['amount']}"
            raise Problem(400, message, "parameter_invalid_integer", "amount")
        if customer["currency"] not in (None, params["currency"]):
            message = (
                f"The currency of a customer's balance must be theirs ({customer['currency']})."
            )
            raise Problem(400, message, None, "currency")
        return self.move(
            customer, params["amount"], params["currency"], "adjustment",
            description=params.get("description"),
            metadata=merged_metadata({}, params.get("metadata") or {}),
        )  # fmt: skip

    def _change_moved(self, customer: str, key: str, params: dict[str, Any]) -> Record:
        moved = existing(self._books, "customer_balance_transaction", key)
        if moved["customer"] != customer:
            raise missing("customer_balance_transaction", key, "id")
        fields: Record = {n: params[n] for n in ("description",) if n in params}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(moved["metadata"], params["metadata"])
        return self._books.change(None, moved, **fields)


def _parts(parts: object, share: float) -> list[Record]:
    """So much of each discount or tax."""
    return [{**part, "amount": round(int(str(part["amount"])) * share)} for part in items_of(parts)]
