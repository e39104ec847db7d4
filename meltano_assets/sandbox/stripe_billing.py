"""What clients write to Stripe about bills: invoices and the items on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_shapes import (
    INVOICE,
    INVOICE_LINE,
    PAYMENT_INTENT,
)
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_credit_notes import CreditNotes
from meltano_assets.sandbox.stripe_discounts import GIVEN, Discounts
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
from meltano_assets.sandbox.stripe_intents import Intents
from meltano_assets.sandbox.stripe_kept import Kept
from meltano_assets.sandbox.stripe_payments import Payments
from meltano_assets.sandbox.stripe_totals import totalled
from meltano_assets.sandbox.stripe_wire import Problem, existing

DAY_SECONDS = 86_400
MOST_TOTAL = 999_999_999_999
COLLECTION = ("charge_automatically", "send_invoice")
_INVOICE: Shape = {
    **texts("description footer default_payment_method default_source statement_descriptor"),
    "auto_advance": BOOLEAN,
    "automatic_tax": ANY,
    "collection_method": COLLECTION,
    "custom_fields": [{"name": TEXT, "value": TEXT}],
    "days_until_due": INTEGER,
    "default_tax_rates": [TEXT],
    "discounts": [GIVEN],
    "due_date": INTEGER,
    "metadata": METADATA,
    "payment_settings": ANY,
}
_NEW_INVOICE: Shape = {
    **_INVOICE,
    **texts("currency customer subscription"),
    "pending_invoice_items_behavior": ("exclude", "include"),
}
_PAY: Shape = {
    **texts("payment_method source mandate"),
    "forgive": BOOLEAN,
    "off_session": BOOLEAN,
    "paid_out_of_band": BOOLEAN,
}
_ITEM: Shape = {
    **texts("description price unit_amount_decimal"),
    "amount": INTEGER,
    "discountable": BOOLEAN,
    "discounts": [GIVEN],
    "metadata": METADATA,
    "period": {"end": INTEGER, "start": INTEGER},
    "quantity": INTEGER,
    "tax_rates": [TEXT],
    "unit_amount": INTEGER,
}
NEW_ITEM: Shape = {**_ITEM, **texts("currency customer invoice subscription")}


class Billing:
    """Writes bills and has them paid."""

    def __init__(
        self,
        books: Books,
        payments: Payments,
        intents: Intents,
        discounts: Discounts,
        kept: Kept,
        credit_notes: CreditNotes,
    ) -> None:
        self._books = books
        self._payments = payments
        self._intents = intents
        self._discounts = discounts
        self._kept = kept
        self._credit_notes = credit_notes

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        match method, parts:
            case "POST", ["invoices"]:
                params = checked(given, _NEW_INVOICE, "customer")
                return lambda: self._new_invoice(params)
            case "POST", ["invoices", key]:
                params = checked(given, _INVOICE)
                return lambda: self._change_invoice(existing(self._books, "invoice", key), params)
            case "DELETE", ["invoices", key]:
                checked(given, {})
                return lambda: self._delete_invoice(existing(self._books, "invoice", key))
            case "POST", ["invoices", key, "finalize"]:
                checked(given, {"auto_advance": BOOLEAN})
                return lambda: self.finalize(existing(self._books, "invoice", key))
            case "POST", ["invoices", key, "pay"]:
                params = checked(given, _PAY)
                return lambda: self.pay(existing(self._books, "invoice", key), params)
            case "POST", ["invoices", key, "send"]:
                checked(given, {})
                return lambda: self._send(existing(self._books, "invoice", key))
            case "POST", ["invoices", key, "void"]:
                checked(given, {})
                return lambda: self.close(existing(self._books, "invoice", key), "void", "voided")
            case "POST", ["invoices", key, "mark_uncollectible"]:
                checked(given, {})
                name = "marked_uncollectible"
                return lambda: self.close(
                    existing(self._books, "invoice", key), "uncollectible", name
                )
            case "POST", ["invoiceitems"]:
                params = checked(given, NEW_ITEM, "customer")
                return lambda: self.new_item(params)
            case "POST", ["invoiceitems", key]:
                params = checked(given, _ITEM)
                return lambda: self._change_item(existing(self._books, "invoiceitem", key), params)
            case "DELETE", ["invoiceitems", key]:
                checked(given, {})
                return lambda: self._delete_item(existing(self._books, "invoiceitem", key))
        return None

    # Invoices

    def _new_invoice(self, params: dict[str, Any]) -> Record:
        customer = existing(self._books, "customer", params["customer"], "customer")
        if subscription := params.get("subscription"):
            existing(self._books, "subscription", subscription, "subscription")
        currency = params.get("currency") or customer["currency"] or "usd"
        invoice = self.draft(customer, str(currency), params)
        if params.get("pending_invoice_items_behavior") == "include":
            for item in list(self._books.live("invoiceitem").values()):
                if item["customer"] == customer["id"] and item["invoice"] is None:
                    self._books.change(None, item, invoice=invoice["id"])
        return self.totalled(invoice)

    def draft(self, customer: Record, currency: str, params: Mapping[str, Any]) -> Record:
        """A draft without lines."""
        method = params.get("collection_method", "charge_automatically")
        days = params.get("days_until_due")
        if method == "send_invoice" and days is None and params.get("due_date") is None:
            message = (
                "If invoices are sent to the customer to pay, you must provide days_until_due or "
                "due_date."
            )
            raise Problem(400, message, "parameter_missing", "days_until_due")
        stamp = self._books.stamp()
        fields = {n: params[n] for n in _INVOICE if n in params and n in INVOICE}
        key = self._books.new_id("in")
        return self._books.put(
            "invoice.created",
            {
                **INVOICE,
                **fields,
                **self._discounts.of_invoice(params, customer, key),
                "id": key,
                "created": stamp,
                "currency": currency,
                "customer": customer["id"],
                "customer_address": customer["address"],
                "customer_email": customer["email"],
                "customer_name": customer["name"],
                "customer_phone": customer["phone"],
                "customer_shipping": customer["shipping"],
                "default_tax_rates": self._kept.rates(
                    params.get("default_tax_rates"), "default_tax_rates"
                ),
                "due_date": stamp + days * DAY_SECONDS
                if days is not None
                else params.get("due_date"),
                "metadata": merged_metadata({}, params.get("metadata") or {}),
                "period_end": stamp,
                "period_start": stamp,
                "subscription": params.get("subscription"),
            },
        )

    def _change_invoice(self, invoice: Record, params: dict[str, Any]) -> Record:
        fixed = sorted(params.keys() - {"metadata", "description", "auto_advance"})
        if invoice["status"] != "draft" and fixed:
            message = f"Finalized invoices can't be updated in this way ({fixed[0]})."
            raise Problem(400, message, "invoice_not_editable", fixed[0])
        fields: Record = {n: v for n, v in params.items() if n in INVOICE}
        fields |= self._discounts.given_to_invoice(params, invoice)
        if "default_tax_rates" in params:
            rates = self._kept.rates(params["default_tax_rates"], "default_tax_rates")
            fields["default_tax_rates"] = rates
        if (days := params.get("days_until_due")) is not None:
            fields["due_date"] = int(str(invoice["created"])) + days * DAY_SECONDS
        if "metadata" in params:
            fields["metadata"] = merged_metadata(invoice["metadata"], params["metadata"])
        changed = self._books.change("invoice.updated", invoice, **fields)
        return self.totalled(changed) if changed["status"] == "draft" else changed

    def _delete_invoice(self, invoice: Record) -> Record:
        if invoice["status"] != "draft" or invoice["subscription"]:
            message = (
                "You can only delete draft invoices that are not attached to subscriptions. To void a "
                "finalized invoice, use the void endpoint."
            )
            raise Problem(400, message, "invoice_not_editable")
        for item in list(self._books.live("invoiceitem").values()):
            if item["invoice"] == invoice["id"]:
                self._books.delete("invoiceitem.deleted", item)
        self._books.delete("invoice.deleted", invoice)
        return {"id": invoice["id"], "object": "invoice", "deleted": True}

    def totalled(self, invoice: Record) -> Record:
        """A draft with the lines of its items."""
        lines = [line for line in items_of(invoice["lines"]) if line.get("type") == "subscription"]
        for item in self._books.live("invoiceitem").values():
            if item["invoice"] == invoice["id"]:
                lines.append(self._line(invoice, item))
        subscription = self._books.live("subscription").get(str(invoice["subscription"]), {})
        lines, fields = totalled(
            lines,
            self._books.live("discount"),
            self._discounts.known(invoice["discounts"]),
            items_of(invoice["default_tax_rates"])
            or items_of(subscription.get("default_tax_rates")),
        )
        if abs(int(str(fields["subtotal"]))) > MOST_TOTAL:
            message = f"The total of an invoice must be no more than {MOST_TOTAL}."
            raise Problem(400, message, "amount_too_large")
        due = max(0, int(str(fields["total"])))
        return self._books.change(
            None, invoice, lines=lines, amount_due=due, amount_remaining=due, **fields
        )

    def _line(self, invoice: Record, item: Record) -> Record:
        kept = ("amount", "currency", "description", "discountable", "metadata", "period", "plan",
                "price", "quantity", "subscription", "tax_rates")  # fmt: skip
        return {
            **INVOICE_LINE,
            **{name: item[name] for name in kept},
            "discounts": item["discounts"],
            "id": f"il_{str(item['id'])[3:]}",
            "amount_excluding_tax": item["amount"],
            "invoice": invoice["id"],
            "invoice_item": item["id"],
            "type": "invoiceitem",
        }

    def finalize(self, invoice: Record) -> Record:
        """The invoice is due; one of nothing is paid."""
        if invoice["status"] != "draft":
            message = (
                "This invoice is already finalized, you can't re-finalize a non-draft invoice."
            )
            raise Problem(400, message, "invoice_not_editable")
        customer = existing(self._books, "customer", str(invoice["customer"]), "customer")
        stamp, number = self._books.stamp(), self._number(customer)
        starting, total = int(str(customer["balance"])), int(str(invoice["total"]))
        due = max(0, total + starting)
        ending = starting + total - due
        transitions = {**mapping(invoice["status_transitions"]), "finalized_at": stamp}
        fields: Record = {
            "amount_due": due,
            "amount_remaining": due,
            "effective_at": stamp,
            "ending_balance": ending,
            "hosted_invoice_url": f"https://invoice.example.com/i/{invoice['id']}",
            "invoice_pdf": f"https://pay.example.com/invoice/{invoice['id']}/pdf",
            "number": number,
            "starting_balance": starting,
            "status": "open",
            "status_transitions": transitions,
        }
        if due:
            fields["payment_intent"] = self._intent({**invoice, **fields})["id"]
        invoice = self._books.change("invoice.finalized", invoice, **fields)
        if ending != starting:
            self._credit_notes.move(
                customer, ending - starting, str(invoice["currency"]), "applied_to_invoice",
                invoice=invoice["id"],
            )  # fmt: skip
        self._discounts.used(invoice)
        customer = existing(self._books, "customer", str(invoice["customer"]), "customer")
        if customer["currency"] is None:
            self._books.change("customer.updated", customer, currency=invoice["currency"])
        return invoice if invoice["amount_due"] else self._paid(invoice)

    def _number(self, customer: Record) -> str:
        """The customer's next number; the company counts its own in the same row."""
        numbers = [
            int(str(i["number"]).rpartition("-")[2])
            for i in self._books.live("invoice").values()
            if i["customer"] == customer["id"] and i["number"]
        ]
        return f"{customer['invoice_prefix']}-{max(numbers, default=0) + 1:04d}"

    def _intent(self, invoice: Record) -> Record:
        key = self._books.new_id("pi")
        secret = self._books.new_id("secret")
        return self._books.put(
            "payment_intent.created",
            {
                **PAYMENT_INTENT,
                "id": key,
                "amount": invoice["amount_due"],
                "client_secret": f"{key}_{secret}",
                "created": self._books.stamp(),
                "currency": invoice["currency"],
                "customer": invoice["customer"],
                "description": invoice["description"] or "Payment for Invoice",
                "invoice": invoice["id"],
            },
        )

    def pay(self, invoice: Record, params: Mapping[str, Any]) -> Record:
        """Have it paid: as asked, or by a card; a Problem when that is declined."""
        if invoice["status"] == "draft":
            invoice = self.finalize(invoice)
        elif invoice["status"] == "paid":
            raise Problem(400, "Invoice is already paid")
        elif invoice["status"] == "void":
            raise Problem(400, "You cannot pay a voided invoice.", "invoice_not_editable")
        if invoice["status"] == "paid":
            return invoice
        if params.get("paid_out_of_band"):
            return self._paid(invoice, paid_out_of_band=True)
        method = self._method(invoice, params)
        intents = self._books.live("payment_intent")
        intent = intents.get(str(invoice["payment_intent"])) or self._intent(invoice)
        attempts = int(str(invoice["attempt_count"])) + 1
        try:
            intent = self._intents.pay(intent, method)
        except Problem as refused:
            self._books.change(
                "invoice.payment_failed",
                invoice,
                attempt_count=attempts,
                attempted=True,
                charge=refused.more.get("charge"),
                payment_intent=intent["id"],
            )
            raise
        return self._paid(
            invoice,
            attempt_count=attempts,
            charge=intent["latest_charge"],
            payment_intent=intent["id"],
        )

    def _method(self, invoice: Record, params: Mapping[str, Any]) -> Record:
        """What is charged: as asked, else of the invoice, its subscription or its customer."""
        owner = str(invoice["customer"])
        if name := params.get("payment_method") or params.get("source"):
            return self._payments.method(str(name), owner)
        customer = existing(self._books, "customer", owner, "customer")
        subscription = self._books.live("subscription").get(str(invoice["subscription"]), {})
        for name in (
            invoice["default_payment_method"],
            subscription.get("default_payment_method"),
            mapping(customer["invoice_settings"])["default_payment_method"],
        ):
            if name:
                return self._payments.method(str(name), owner)
        if card := self._books.live("card").get(str(customer["default_source"])):
            return card
        message = (
            "There is no `default_payment_method` set on this Customer or Invoice. Please set a "
            "payment method and try again."
        )
        raise Problem(400, message, "invoice_payment_intent_requires_action")

    def _paid(self, invoice: Record, **fields: object) -> Record:
        stamp = self._books.stamp()
        due = invoice["amount_due"]
        self._books.change(
            "invoice.paid",
            invoice,
            amount_paid=due,
            amount_remaining=0,
            attempted=True,
            paid=True,
            status="paid",
            status_transitions={**mapping(invoice["status_transitions"]), "paid_at": stamp},
            **fields,
        )
        subscription = self._books.live("subscription").get(str(invoice["subscription"]))
        if subscription is not None and subscription["status"] == "incomplete":
            self._books.change("customer.subscription.updated", subscription, status="active")
        return existing(self._books, "invoice", str(invoice["id"]))

    def _send(self, invoice: Record) -> Record:
        if invoice["collection_method"] != "send_invoice":
            message = (
                "You can only manually send an invoice if its collection method is 'send_invoice'."
            )
            raise Problem(400, message)
        if invoice["status"] == "draft":
            invoice = self.finalize(invoice)
        if invoice["status"] != "open":
            raise Problem(400, "You can only send open invoices.", "invoice_not_editable")
        return self._books.put("invoice.sent", invoice)

    def close(self, invoice: Record, status: str, name: str) -> Record:
        """Nobody pays it any more."""
        allowed = ("open",) if status == "uncollectible" else ("open", "uncollectible")
        if invoice["status"] not in allowed:
            message = "You can only pass in open invoices. This invoice isn't open."
            raise Problem(400, message, "invoice_not_editable")
        transitions = mapping(invoice["status_transitions"])
        transitions = {**transitions, f"{name}_at": self._books.stamp()}
        intent = self._books.live("payment_intent").get(str(invoice["payment_intent"]))
        if status == "void" and intent is not None and intent["status"] != "succeeded":
            self._books.change(
                "payment_intent.canceled",
                intent,
                canceled_at=self._books.stamp(),
                cancellation_reason="void_invoice",
                status="canceled",
            )
        event = f"invoice.{'voided' if status == 'void' else 'marked_uncollectible'}"
        return self._books.change(event, invoice, status=status, status_transitions=transitions)

    # Items of invoices

    def new_item(self, params: dict[str, Any]) -> Record:
        """An item for a draft or for the customer's next bill."""
        customer = existing(self._books, "customer", params["customer"], "customer")
        invoice = None
        if key := params.get("invoice"):
            invoice = self._editable(existing(self._books, "invoice", key, "invoice"))
        stamp = self._books.stamp()
        currency = params.get("currency") or (invoice or customer)["currency"]
        item: Record = {
            "id": self._books.new_id("ii"),
            "object": "invoiceitem",
            "customer": customer["id"],
            "date": stamp,
            "description": params.get("description"),
            "discountable": params.get("discountable", True),
            "discounts": [],
            "invoice": params.get("invoice"),
            "livemode": False,
            "metadata": merged_metadata({}, params.get("metadata") or {}),
            "period": params.get("period") or {"end": stamp, "start": stamp},
            "plan": None,
            "proration": False,
            "subscription": params.get("subscription"),
            "tax_rates": self._kept.rates(params.get("tax_rates"), "tax_rates"),
            "test_clock": None,
            **self._priced(params, currency),
        }
        item |= self._own_discounts(params, item)
        item = self._books.put("invoiceitem.created", item)
        if invoice is not None:
            self.totalled(invoice)
        return item

    def _own_discounts(self, params: Mapping[str, Any], item: Record) -> Record:
        if "discounts" not in params:
            return {}
        made = self._discounts.given_to_item(params, item)
        return {"discounts": [d["id"] for d in made]}

    def _priced(self, params: Mapping[str, Any], currency: object) -> Record:
        """What an item costs: an amount, or so many of a price."""
        price = None
        if key := params.get("price"):
            price = existing(self._books, "price", key, "price")
            if price["type"] == "recurring":
                message = (
                    "The price specified is set to `type=recurring` but this field only accepts "
                    "prices with `type=one_time`."
                )
                raise Problem(400, message, None, "price")
            currency = price["currency"]
        if currency is None:
            raise required_problem("currency")
        quantity = 1 if params.get("quantity") is None else int(params["quantity"])
        unit = price["unit_amount"] if price else params.get("unit_amount")
        if unit is None and params.get("amount") is None:
            raise required_problem("amount")
        amount = params["amount"] if unit is None else int(str(unit)) * quantity
        unit = amount if unit is None else unit
        return {
            "amount": amount,
            "currency": currency,
            "price": price,
            "quantity": quantity,
            "unit_amount": unit,
            "unit_amount_decimal": str(unit),
        }

    def _editable(self, invoice: Record) -> Record:
        if invoice["status"] != "draft":
            message = "This invoice is no longer editable"
            raise Problem(400, message, "invoice_not_editable", "invoice")
        return invoice

    def _change_item(self, item: Record, params: dict[str, Any]) -> Record:
        invoice = self._of_draft(item)
        fixed = ("price", "discounts", "tax_rates")
        fields: Record = {n: v for n, v in params.items() if n in item and n not in fixed}
        fields |= self._own_discounts(params, item)
        if "tax_rates" in params:
            fields["tax_rates"] = self._kept.rates(params["tax_rates"], "tax_rates")
        if "metadata" in params:
            fields["metadata"] = merged_metadata(item["metadata"], params["metadata"])
        if params.keys() & {"amount", "price", "quantity", "unit_amount"}:
            known = {"quantity": item["quantity"], "unit_amount": item["unit_amount"]}
            if "amount" in params:
                known = {}
            fields |= self._priced({**known, **params}, item["currency"])
        item = self._books.change("invoiceitem.updated", item, **fields)
        if invoice is not None:
            self.totalled(invoice)
        return item

    def _of_draft(self, item: Record) -> Record | None:
        return (
            self._editable(existing(self._books, "invoice", str(item["invoice"])))
            if item["invoice"]
            else None
        )

    def _delete_item(self, item: Record) -> Record:
        invoice = self._of_draft(item)
        self._books.delete("invoiceitem.deleted", item)
        if invoice is not None:
            self.totalled(invoice)
        return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def mapping(value: object) -> Record:
    """A value that is an object, if it is one."""
    return value if isinstance(value, dict) else {}
