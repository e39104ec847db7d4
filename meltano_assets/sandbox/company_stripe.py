"""The self-serve side of the company: small customers who pay by card, as its Stripe account has it.

Customers subscribe for themselves, are charged every month, sometimes fail to pay, ask their money
back, dispute, leave or delete themselves; every change leaves an event. Objects are dicts as Stripe
writes them (API version 2024-06-20): times in seconds since 1970, amounts in the smallest unit.
Lists inside an object are whole here; the service shows their first ten.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from math import floor

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice, mailbox, person
from meltano_assets.sandbox.company_world import World, scaled

API_VERSION = "2024-06-20"
#: Name and monthly price in cents.
PLANS = {"Bronze": 400, "Silver": 1_900, "Gold": 9_900}
_ADD_ONS = ("Storage", "Minutes", "Support", "Seats")
_CURRENCIES = {"usd": 80, "eur": 15, "jpy": 5}
_COUNTRIES = ("US", "DE", "JP", "BR", "NL")
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MONTH = 30
_REASONS = ("requested_by_customer", "duplicate", "fraudulent", None)


class SelfServe:
    """Stripe's objects and events, built day by day as they are asked for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = world.clock
        self._rng = dice(f"{world.seed}:stripe")
        self._names = dice(f"{world.seed}:stripe:ids")
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._sequence = count()
        self._charges = count(1)
        self._subscribers = count(1)
        #: Kind of object → id → object, in the order of creation; deleted ones are gone.
        self.live: dict[str, dict[str, Record]] = {}
        self.deleted: dict[str, set[str]] = {}
        self.events: list[Record] = []
        self._prices: list[Record] = []
        self._invoices: dict[str, int] = {}
        self._news: dict[int, dict[str, int]] = {}
        self._built = -1

    def build(self, day: int) -> None:
        """Live on until the end of that day."""
        while self._built < day:
            self._built += 1
            if self._built == 0:
                self._begin()
            else:
                self._new_day(self._built)
            while self._agenda and self._agenda[0][0] < self._built:
                at, _, action = heapq.heappop(self._agenda)
                action(at)

    def news(self, day: int) -> dict[str, int]:
        """Kind of event → how many that day had."""
        self.build(day)
        return self._news.get(day, {})

    # The store

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{''.join(self._names.choices(_LETTERS, k=24))}"

    def _stamp(self, at: float) -> int:
        return int(self._clock.at(at).timestamp())

    def _put(self, at: float, event: str | None, record: Record, **before: object) -> Record:
        kind = str(record["object"])
        self.live.setdefault(kind, {})[str(record["id"])] = record
        if event is not None:
            self._tell(at, event, record, before)
        return record

    def _change(self, at: float, event: str, record: Record, **fields: object) -> Record:
        current = self.live[str(record["object"])][str(record["id"])]
        before = {name: current.get(name) for name in fields}
        return self._put(at, event, {**current, **fields}, **before)

    def _delete(self, at: float, event: str, record: Record) -> None:
        kind, key = str(record["object"]), str(record["id"])
        current = self.live[kind].pop(key)
        self.deleted.setdefault(kind, set()).add(key)
        self._tell(at, event, current, {})

    def _tell(self, at: float, event: str, record: Record, before: dict[str, object]) -> None:
        data: Record = {"object": record}
        if before:
            data["previous_attributes"] = before
        self.events.append(
            {
                "id": self._id("evt"),
                "object": "event",
                "api_version": API_VERSION,
                "created": self._stamp(at),
                "data": data,
                "livemode": False,
                "pending_webhooks": 0,
                "request": {"id": None, "idempotency_key": None},
                "type": event,
            }
        )
        day = 0 if at < 0 else floor(at) + 1
        counts = self._news.setdefault(day, {})
        counts[event] = counts.get(event, 0) + 1

    def _when(self, at: float, action: Callable[[float], None]) -> None:
        # Between four hours after the beginning of a day and its end, as everything else.
        at = floor(at) + 0.2 + 0.75 * (at - floor(at))
        heapq.heappush(self._agenda, (at, next(self._sequence), action))

    # Beginnings

    def _begin(self) -> None:
        for name, amount in (*PLANS.items(), *((name, 100) for name in _ADD_ONS)):
            self._product(-450.0, name, amount)
        retired = self._product(-440.0, "Tin", 100)
        self._delete(-20.5, "product.deleted", retired)
        silver = next(p for p in self.live["product"].values() if p["name"] == "Silver")
        self._change(
            -12.0, "product.updated", silver, description="For teams", updated=self._stamp(-12.0)
        )
        for _ in range(max(10, scaled(160, self._world.scale))):
            self._when(self._rng.uniform(-400, -1), self._arrive)

    def _new_day(self, day: int) -> None:
        for _ in range(scaled(1, self._world.scale)):
            self._when(day - 1 + self._rng.random() * 0.9, self._arrive)
        kept = list(self.live["customer"].values())
        at = day - 0.5
        self._change(
            at, "customer.updated", self._rng.choice(kept), description=f"Seen on day {day}"
        )
        if day % 3 == 0:
            gone = self._rng.choice(kept)
            self._leave(at + 0.1, gone)
        if day % 4 == 0:
            product = self._rng.choice(list(self.live["product"].values()))
            self._change(
                at, "product.updated", product, updated=self._stamp(at), description=f"Day {day}"
            )

    def _product(self, at: float, name: str, amount: int) -> Record:
        product = self._put(
            at,
            "product.created",
            {
                "id": self._id("prod"),
                "object": "product",
                "active": True,
                "attributes": [],
                "created": self._stamp(at),
                "default_price": None,
                "description": None,
                "images": [],
                "livemode": False,
                "marketing_features": [],
                "metadata": {},
                "name": name,
                "package_dimensions": None,
                "shippable": None,
                "statement_descriptor": None,
                "tax_code": None,
                "type": "service",
                "unit_label": None,
                "updated": self._stamp(at),
                "url": None,
            },
        )
        price = {
            "id": self._id("price"),
            "object": "price",
            "active": True,
            "billing_scheme": "per_unit",
            "created": self._stamp(at),
            "currency": "usd",
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": None,
            "metadata": {},
            "nickname": name,
            "product": product["id"],
            "recurring": {
                "aggregate_usage": None,
                "interval": "month",
                "interval_count": 1,
                "trial_period_days": None,
                "usage_type": "licensed",
            },
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "recurring",
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        }
        self._prices.append(self._put(at, "price.created", price))
        return product

    def _arrive(self, at: float) -> None:
        """Somebody signs up and takes a subscription."""
        rng = self._rng
        given, family = person(rng)
        currency = rng.choices(list(_CURRENCIES), weights=list(_CURRENCIES.values()))[0]
        number = next(self._subscribers)
        customer = self._put(
            at,
            "customer.created",
            {
                "id": self._id("cus"),
                "object": "customer",
                "address": {
                    "city": None,
                    "country": rng.choice(_COUNTRIES),
                    "line1": None,
                    "line2": None,
                    "postal_code": None,
                    "state": None,
                },
                "balance": 0,
                "created": self._stamp(at),
                "currency": currency,
                "default_source": None,
                "delinquent": False,
                "description": 'says "hi", often\n🚀' if number % 13 == 12 else None,
                "discount": None,
                "email": f"{mailbox(given, family)}.{number}@example.com",
                "invoice_prefix": f"{number:08X}",
                "invoice_settings": {
                    "custom_fields": None,
                    "default_payment_method": None,
                    "footer": None,
                    "rendering_options": None,
                },
                "livemode": False,
                "metadata": {"signup": "web"} if number % 2 else {},
                "name": f"{given} {family}",
                "next_invoice_sequence": 1,
                "phone": None,
                "preferred_locales": [],
                "shipping": None,
                "tax_exempt": "none",
                "test_clock": None,
            },
        )
        items = 12 if number % 10 == 9 else 1
        self._subscribe(at + 0.001, customer, items)

    def _subscribe(self, at: float, customer: Record, items: int) -> None:
        key = self._id("sub")
        chosen = [self._rng.choice(self._prices[: len(PLANS)])]
        chosen += [self._rng.choice(self._prices[len(PLANS) :]) for _ in range(items - 1)]
        start = self._stamp(at)
        lines: list[Record] = [
            {
                "id": self._id("si"),
                "object": "subscription_item",
                "billing_thresholds": None,
                "created": start,
                "discounts": [],
                "metadata": {},
                "plan": self._plan(price),
                "price": price,
                "quantity": self._rng.randrange(1, 6),
                "subscription": key,
                "tax_rates": [],
            }
            for price in chosen
        ]
        subscription = self._put(
            at,
            "customer.subscription.created",
            {
                "id": key,
                "object": "subscription",
                "application": None,
                "automatic_tax": {"enabled": False, "liability": None},
                "billing_cycle_anchor": start,
                "billing_thresholds": None,
                "cancel_at": None,
                "cancel_at_period_end": False,
                "canceled_at": None,
                "cancellation_details": {"comment": None, "feedback": None, "reason": None},
                "collection_method": "charge_automatically",
                "created": start,
                "currency": customer["currency"],
                "current_period_end": start + _MONTH * 86_400,
                "current_period_start": start,
                "customer": customer["id"],
                "days_until_due": None,
                "default_payment_method": None,
                "default_source": None,
                "default_tax_rates": [],
                "description": None,
                "discount": None,
                "discounts": [],
                "ended_at": None,
                "items": lines,
                "latest_invoice": None,
                "livemode": False,
                "metadata": {},
                "on_behalf_of": None,
                "pause_collection": None,
                "payment_settings": {"payment_method_types": None},
                "pending_setup_intent": None,
                "plan": lines[0]["plan"] if items == 1 else None,
                "quantity": lines[0]["quantity"] if items == 1 else None,
                "schedule": None,
                "start_date": start,
                "status": "active",
                "test_clock": None,
                "trial_end": None,
                "trial_start": None,
            },
        )
        self._bill(at + 0.001, subscription)

    def _plan(self, price: Record) -> Record:
        return {
            "id": price["id"],
            "object": "plan",
            "active": True,
            "amount": price["unit_amount"],
            "currency": price["currency"],
            "interval": "month",
            "interval_count": 1,
            "product": price["product"],
        }

    # Months

    def _bill(self, at: float, subscription: Record) -> None:
        """A month is invoiced and charged; the next one waits."""
        current = self.live["subscription"][str(subscription["id"])]
        customer = self.live["customer"].get(str(current["customer"]))
        if current["status"] != "active" or customer is None:
            return
        fate = self._rng.random()
        if fate < 0.04 and current["latest_invoice"]:
            self._cancel(at, current)
            return
        invoice = self._invoice(at, current, customer)
        start = self._stamp(at)
        self._change(
            at,
            "customer.subscription.updated",
            current,
            latest_invoice=invoice["id"],
            current_period_start=start,
            current_period_end=start + _MONTH * 86_400,
        )
        if fate > 0.95:
            self._charge(at + 0.001, invoice, customer, fails=True)
            self._when(at + 3, lambda then: self._charge(then, invoice, customer))
        else:
            self._charge(at + 0.001, invoice, customer)
        self._when(at + _MONTH, lambda then: self._bill(then, subscription))

    def _invoice(self, at: float, subscription: Record, customer: Record) -> Record:
        items = subscription["items"]
        assert isinstance(items, list)
        key = self._id("in")
        start = self._stamp(at)
        lines: list[Record] = []
        for item in items:
            amount = int(item["price"]["unit_amount"]) * int(item["quantity"])
            lines.append(
                {
                    "id": self._id("il"),
                    "object": "line_item",
                    "amount": amount,
                    "amount_excluding_tax": amount,
                    "currency": subscription["currency"],
                    "description": f"{item['quantity']} × {item['price']['nickname']}",
                    "discountable": True,
                    "invoice": key,
                    "livemode": False,
                    "metadata": {},
                    "period": {"end": start + _MONTH * 86_400, "start": start},
                    "plan": item["plan"],
                    "price": item["price"],
                    "proration": False,
                    "quantity": item["quantity"],
                    "subscription": subscription["id"],
                    "subscription_item": item["id"],
                    "type": "subscription",
                }
            )
        total = sum(int(str(line["amount"])) for line in lines)
        number = self._invoices[str(customer["id"])] = (
            self._invoices.get(str(customer["id"]), 0) + 1
        )
        return self._put(
            at,
            "invoice.created",
            {
                "id": key,
                "object": "invoice",
                "account_country": "US",
                "account_name": "Meltano Sandbox",
                "amount_due": total,
                "amount_paid": 0,
                "amount_remaining": total,
                "amount_shipping": 0,
                "attempt_count": 0,
                "attempted": False,
                "auto_advance": True,
                "automatic_tax": {"enabled": False, "liability": None, "status": None},
                "billing_reason": "subscription_cycle"
                if subscription["latest_invoice"]
                else "subscription_create",
                "charge": None,
                "collection_method": "charge_automatically",
                "created": start,
                "currency": subscription["currency"],
                "custom_fields": None,
                "customer": customer["id"],
                "customer_address": customer["address"],
                "customer_email": customer["email"],
                "customer_name": customer["name"],
                "customer_phone": None,
                "customer_shipping": None,
                "customer_tax_exempt": "none",
                "customer_tax_ids": [],
                "default_payment_method": None,
                "default_source": None,
                "default_tax_rates": [],
                "description": None,
                "discount": None,
                "discounts": [],
                "due_date": None,
                "effective_at": start,
                "ending_balance": 0,
                "footer": None,
                "hosted_invoice_url": f"https://invoice.example.com/i/{key}",
                "invoice_pdf": f"https://pay.example.com/invoice/{key}/pdf",
                "lines": lines,
                "livemode": False,
                "metadata": {},
                "next_payment_attempt": None,
                "number": f"{customer['invoice_prefix']}-{number:04d}",
                "on_behalf_of": None,
                "paid": False,
                "paid_out_of_band": False,
                "payment_intent": None,
                "payment_settings": {"payment_method_types": None},
                "period_end": start,
                "period_start": start,
                "post_payment_credit_notes_amount": 0,
                "pre_payment_credit_notes_amount": 0,
                "receipt_number": None,
                "starting_balance": 0,
                "statement_descriptor": None,
                "status": "open",
                "status_transitions": {
                    "finalized_at": start,
                    "marked_uncollectible_at": None,
                    "paid_at": None,
                    "voided_at": None,
                },
                "subscription": subscription["id"],
                "subtotal": total,
                "subtotal_excluding_tax": total,
                "tax": None,
                "test_clock": None,
                "total": total,
                "total_discount_amounts": [],
                "total_excluding_tax": total,
                "total_tax_amounts": [],
                "webhooks_delivered_at": start,
            },
        )

    def _charge(self, at: float, invoice: Record, customer: Record, *, fails: bool = False) -> None:
        current = self.live["invoice"].get(str(invoice["id"]))
        if current is None or current["status"] != "open":
            return
        number = next(self._charges)
        intent = self._id("pi")
        charge: Record = {
            "id": self._id("ch"),
            "object": "charge",
            "amount": current["amount_due"],
            "amount_captured": 0 if fails else current["amount_due"],
            "amount_refunded": 0,
            "application": None,
            "application_fee": None,
            "application_fee_amount": None,
            "balance_transaction": None if fails else self._id("txn"),
            "billing_details": {
                "address": customer["address"],
                "email": customer["email"],
                "name": customer["name"],
                "phone": None,
            },
            "calculated_statement_descriptor": "MELTANO SANDBOX",
            "captured": not fails,
            "created": self._stamp(at),
            "currency": current["currency"],
            "customer": customer["id"],
            "description": "Subscription update",
            "destination": None,
            "dispute": None,
            "disputed": False,
            "failure_balance_transaction": None,
            "failure_code": "card_declined" if fails else None,
            "failure_message": "Your card was declined." if fails else None,
            "fraud_details": {},
            "invoice": current["id"],
            "livemode": False,
            "metadata": {},
            "on_behalf_of": None,
            "order": None,
            "outcome": {
                "network_status": "declined_by_network" if fails else "approved_by_network",
                "reason": "generic_decline" if fails else None,
                "risk_level": "normal",
                "risk_score": number % 60,
                "type": "issuer_declined" if fails else "authorized",
            },
            "paid": not fails,
            "payment_intent": intent,
            "payment_method": self._id("pm"),
            "payment_method_details": {
                "card": {"brand": "visa", "country": "US", "last4": f"{number % 10_000:04d}"},
                "type": "card",
            },
            "receipt_email": None,
            "receipt_number": None,
            "refunded": False,
            "review": None,
            "shipping": None,
            "source_transfer": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "failed" if fails else "succeeded",
            "transfer_data": None,
            "transfer_group": None,
        }
        self._put(at, "charge.failed" if fails else "charge.succeeded", charge)
        attempts = int(str(current["attempt_count"])) + 1
        if fails:
            self._change(
                at,
                "invoice.payment_failed",
                current,
                attempt_count=attempts,
                attempted=True,
                charge=charge["id"],
                next_payment_attempt=self._stamp(at + 3),
            )
            return
        changes = current["status_transitions"]
        assert isinstance(changes, dict)
        self._change(
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
            status_transitions={**changes, "paid_at": self._stamp(at)},
        )
        if number % 14 == 5:
            self._when(at + 2 + number % 9, lambda then: self._refund(then, charge))
        elif number % 21 == 7:
            self._when(at + 4 + number % 11, lambda then: self._dispute(then, charge))

    def _refund(self, at: float, charge: Record) -> None:
        number = self._rng.randrange(2)
        whole = int(str(charge["amount"]))
        amount = whole if number else max(1, whole // 2)
        self._change(
            at, "charge.refunded", charge, amount_refunded=amount, refunded=amount == whole
        )
        refund = self._put(
            at,
            "refund.created",
            {
                "id": self._id("re"),
                "object": "refund",
                "amount": amount,
                "balance_transaction": self._id("txn"),
                "charge": charge["id"],
                "created": self._stamp(at),
                "currency": charge["currency"],
                "destination_details": {"type": "card", "card": {"type": "refund"}},
                "metadata": {},
                "payment_intent": charge["payment_intent"],
                "reason": self._rng.choice(_REASONS),
                "receipt_number": None,
                "source_transfer_reversal": None,
                "status": "pending",
                "transfer_reversal": None,
            },
        )
        self._when(at + 2, lambda then: self._settle(then, refund))

    def _settle(self, at: float, refund: Record) -> None:
        self._change(at, "charge.refund.updated", refund, status="succeeded")

    def _dispute(self, at: float, charge: Record) -> None:
        key = self._id("dp")
        self._change(at, "charge.updated", charge, disputed=True, dispute=key)
        dispute = self._put(
            at,
            "charge.dispute.created",
            {
                "id": key,
                "object": "dispute",
                "amount": charge["amount"],
                "balance_transactions": [
                    {"id": self._id("txn"), "object": "balance_transaction", "fee": 1_500}
                ],
                "charge": charge["id"],
                "created": self._stamp(at),
                "currency": charge["currency"],
                "evidence": {"customer_name": None, "uncategorized_text": None},
                "evidence_details": {
                    "due_by": self._stamp(at + 10),
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
        ending = self._rng.choice(["won", "lost"])
        self._when(
            at + 12,
            lambda then: self._close(then, dispute, ending),
        )

    def _close(self, at: float, dispute: Record, ending: str) -> None:
        self._change(at, "charge.dispute.closed", dispute, status=ending)

    # Endings

    def _cancel(self, at: float, subscription: Record) -> None:
        stamp = self._stamp(at)
        self._change(
            at,
            "customer.subscription.deleted",
            subscription,
            status="canceled",
            canceled_at=stamp,
            ended_at=stamp,
            cancellation_details={
                "comment": None,
                "feedback": None,
                "reason": "cancellation_requested",
            },
        )

    def _leave(self, at: float, customer: Record) -> None:
        """Deleting a customer cancels what they subscribed to."""
        for subscription in list(self.live["subscription"].values()):
            if subscription["customer"] == customer["id"] and subscription["status"] == "active":
                self._cancel(at, subscription)
        self._delete(at + 0.001, "customer.deleted", customer)
