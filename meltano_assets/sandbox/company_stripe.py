"""The self-serve side of the company: small customers who pay by card, as its Stripe account has it.

Customers subscribe for themselves, are charged every month, sometimes fail to pay, ask their money
back, dispute, leave or delete themselves; every change leaves an event. Objects are dicts as Stripe
writes them (API version 2024-06-20): times in seconds since 1970, amounts in the smallest unit.
Lists inside an object are whole here; the service shows their first ten.
"""

from __future__ import annotations

from itertools import count

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_payments import Payments
from meltano_assets.sandbox.company_stripe_records import StripeRecords
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
        self._payments = Payments(self)
        self._subscribers = count(1)
        self._prices: list[Record] = []
        self._invoices: dict[str, int] = {}
        self._built = -1

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
                "id": self.new_id("prod"),
                "object": "product",
                "active": True,
                "attributes": [],
                "created": self.stamp(at),
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
                "updated": self.stamp(at),
                "url": None,
            },
        )
        price = {
            "id": self.new_id("price"),
            "object": "price",
            "active": True,
            "billing_scheme": "per_unit",
            "created": self.stamp(at),
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
                "id": self.new_id("cus"),
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
                "created": self.stamp(at),
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
        key = self.new_id("sub")
        chosen = [self.rng.choice(self._prices[: len(PLANS)])]
        chosen += [self.rng.choice(self._prices[len(PLANS) :]) for _ in range(items - 1)]
        start = self.stamp(at)
        lines: list[Record] = [
            {
                "id": self.new_id("si"),
                "object": "subscription_item",
                "billing_thresholds": None,
                "created": start,
                "discounts": [],
                "metadata": {},
                "plan": self._plan(price),
                "price": price,
                "quantity": self.rng.randrange(1, 6),
                "subscription": key,
                "tax_rates": [],
            }
            for price in chosen
        ]
        subscription = self.put(
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
            current_period_end=start + _MONTH * 86_400,
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
                    "id": self.new_id("il"),
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
        return self.put(
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
