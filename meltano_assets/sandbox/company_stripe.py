"""The self-serve side of the company: small customers who pay by card, as its Stripe account has it.

Customers subscribe for themselves, are charged every month, sometimes fail to pay, ask their money
back, dispute, leave or delete themselves; every change leaves an event. Objects are dicts as Stripe
writes them (API version 2024-06-20): times in seconds since 1970, amounts in the smallest unit.
Lists inside an object are whole here; the service shows their first ten.
"""

from __future__ import annotations

from itertools import count
from math import inf

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_balance import Balance
from meltano_assets.sandbox.company_stripe_payments import Payments
from meltano_assets.sandbox.company_stripe_records import StripeRecords
from meltano_assets.sandbox.company_stripe_shapes import (
    CUSTOMER,
    INVOICE,
    INVOICE_LINE,
    MONTH_SECONDS,
    PRICE,
    PRODUCT,
    RECURRING,
    SUBSCRIPTION,
    SUBSCRIPTION_ITEM,
)
from meltano_assets.sandbox.company_words import mailbox, person
from meltano_assets.sandbox.company_world import World, scaled

#: Name and monthly price in cents.
PLANS = {"Bronze": 400, "Silver": 1_900, "Gold": 9_900}
_ADD_ONS = ("Storage", "Minutes", "Support", "Seats")
_CURRENCIES = {"usd": 80, "eur": 15, "jpy": 5}
_COUNTRIES = ("US", "DE", "JP", "BR", "NL")
_MONTH = 30


class SelfServe(StripeRecords):
    """Stripe's objects and events, built day by day as they are asked for."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._world = world
        self._balance = Balance(self)
        self._payments = Payments(self, self._balance)
        self._subscribers = count(1)
        self._prices: list[Record] = []
        self._invoices: dict[str, int] = {}
        self._built = -1
        #: Subscriptions that clients ended → when, in seconds since 1970: no month follows.
        self.ended: dict[str, int] = {}

    def build(self, day: int) -> None:
        """Live on until the end of that day."""
        while self._built < day:
            self._built += 1
            if self._built == 0:
                self._begin()
            else:
                self._new_day(self._built)
            self.do_until(self._built)

    def news(self, day: int) -> dict[str, int]:
        """Kind of event → how many that day had."""
        self.build(day)
        return self._news.get(day, {})

    # Beginnings

    def _begin(self) -> None:
        for name, amount in (*PLANS.items(), *((name, 100) for name in _ADD_ONS)):
            self._product(-450.0, name, amount)
        retired = self._product(-440.0, "Tin", 100)
        self.delete(-20.5, "product.deleted", retired)
        silver = next(p for p in self.live["product"].values() if p["name"] == "Silver")
        self.change(
            -12.0, "product.updated", silver, description="For teams", updated=self.stamp(-12.0)
        )
        self._balance.begin(-400)
        for _ in range(max(10, scaled(160, self._world.scale))):
            self.when(self.rng.uniform(-400, -1), self._arrive)

    def _new_day(self, day: int) -> None:
        for _ in range(scaled(1, self._world.scale)):
            self.when(day - 1 + self.rng.random() * 0.9, self._arrive)
        kept = list(self.live["customer"].values())
        at = day - 0.5
        self.change(at, "customer.updated", self.rng.choice(kept), description=f"Seen on day {day}")
        if day % 3 == 0:
            gone = self.rng.choice(kept)
            self._leave(at + 0.1, gone)
        if day % 4 == 0:
            product = self.rng.choice(list(self.live["product"].values()))
            self.change(
                at, "product.updated", product, updated=self.stamp(at), description=f"Day {day}"
            )

    def _product(self, at: float, name: str, amount: int) -> Record:
        product = self.put(
            at,
            "product.created",
            {
                **PRODUCT,
                "id": self.new_id("prod"),
                "created": self.stamp(at),
                "name": name,
                "updated": self.stamp(at),
            },
        )
        price = {
            **PRICE,
            "id": self.new_id("price"),
            "created": self.stamp(at),
            "currency": "usd",
            "nickname": name,
            "product": product["id"],
            "recurring": RECURRING,
            "type": "recurring",
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        }
        self._prices.append(self.put(at, "price.created", price))
        return product

    def _arrive(self, at: float) -> None:
        """Somebody signs up and takes a subscription."""
        rng = self.rng
        given, family = person(rng)
        currency = rng.choices(list(_CURRENCIES), weights=list(_CURRENCIES.values()))[0]
        number = next(self._subscribers)
        customer = self.put(
            at,
            "customer.created",
            {
                **CUSTOMER,
                "id": self.new_id("cus"),
                "address": {
                    "city": None,
                    "country": rng.choice(_COUNTRIES),
                    "line1": None,
                    "line2": None,
                    "postal_code": None,
                    "state": None,
                },
                "created": self.stamp(at),
                "currency": currency,
                "description": 'says "hi", often\n🚀' if number % 13 == 12 else None,
                "email": f"{mailbox(given, family)}.{number}@example.com",
                "invoice_prefix": f"{number:08X}",
                "metadata": {"signup": "web"} if number % 2 else {},
                "name": f"{given} {family}",
            },
        )
        items = 12 if number % 10 == 9 else 1
        self._subscribe(at + 0.001, customer, items)

    def _subscribe(self, at: float, customer: Record, items: int) -> None:
        key = self.new_id("sub")
        chosen = [self.rng.choice(self._prices[: len(PLANS)])]
        chosen += [self.rng.choice(self._prices[len(PLANS) :]) for _ in range(items - 1)]
        start = self.stamp(at)
        lines: list[Record] = [
            {
                **SUBSCRIPTION_ITEM,
                "id": self.new_id("si"),
                "created": start,
                "plan": self._plan(price),
                "price": price,
                "quantity": self.rng.randrange(1, 6),
                "subscription": key,
            }
            for price in chosen
        ]
        subscription = self.put(
            at,
            "customer.subscription.created",
            {
                **SUBSCRIPTION,
                "id": key,
                "billing_cycle_anchor": start,
                "created": start,
                "currency": customer["currency"],
                "current_period_end": start + MONTH_SECONDS,
                "current_period_start": start,
                "customer": customer["id"],
                "items": lines,
                "plan": lines[0]["plan"] if items == 1 else None,
                "quantity": lines[0]["quantity"] if items == 1 else None,
                "start_date": start,
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
        if self.ended.get(str(current["id"]), inf) <= self.stamp(at):
            return
        fate = self.rng.random()
        if fate < 0.04 and current["latest_invoice"]:
            self._cancel(at, current)
            return
        invoice = self._invoice(at, current, customer)
        start = self.stamp(at)
        self.change(
            at,
            "customer.subscription.updated",
            current,
            latest_invoice=invoice["id"],
            current_period_start=start,
            current_period_end=start + MONTH_SECONDS,
        )
        if fate > 0.95:
            self._payments.charge(at + 0.001, invoice, customer, fails=True)
            self.when(at + 3, lambda then: self._payments.charge(then, invoice, customer))
        else:
            self._payments.charge(at + 0.001, invoice, customer)
        self.when(at + _MONTH, lambda then: self._bill(then, subscription))

    def _invoice(self, at: float, subscription: Record, customer: Record) -> Record:
        items = subscription["items"]
        assert isinstance(items, list)
        key = self.new_id("in")
        start = self.stamp(at)
        lines: list[Record] = []
        for item in items:
            amount = int(item["price"]["unit_amount"]) * int(item["quantity"])
            lines.append(
                {
                    **INVOICE_LINE,
                    "id": self.new_id("il"),
                    "amount": amount,
                    "amount_excluding_tax": amount,
                    "currency": subscription["currency"],
                    "description": f"{item['quantity']} × {item['price']['nickname']}",
                    "invoice": key,
                    "period": {"end": start + MONTH_SECONDS, "start": start},
                    "plan": item["plan"],
                    "price": item["price"],
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
        return self.put(
            at,
            "invoice.created",
            {
                **INVOICE,
                "id": key,
                "amount_due": total,
                "amount_remaining": total,
                "billing_reason": "subscription_cycle"
                if subscription["latest_invoice"]
                else "subscription_create",
                "created": start,
                "currency": subscription["currency"],
                "customer": customer["id"],
                "customer_address": customer["address"],
                "customer_email": customer["email"],
                "customer_name": customer["name"],
                "effective_at": start,
                "ending_balance": 0,
                "hosted_invoice_url": f"https://invoice.example.com/i/{key}",
                "invoice_pdf": f"https://pay.example.com/invoice/{key}/pdf",
                "lines": lines,
                "number": f"{customer['invoice_prefix']}-{number:04d}",
                "period_end": start,
                "period_start": start,
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
                "total": total,
                "total_excluding_tax": total,
                "webhooks_delivered_at": start,
            },
        )

    # Endings

    def _cancel(self, at: float, subscription: Record) -> None:
        stamp = self.stamp(at)
        self.change(
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
        self.delete(at + 0.001, "customer.deleted", customer)
