"""How the subscriptions of clients live on: each period has its bill, and a change within one its proration.

What fell due while the company's clock moved is made up for before the next request is answered, each
thing at its own time, as the vendor's test clocks do.
"""

from __future__ import annotations

from collections.abc import Mapping

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_shapes import INVOICE_LINE
from meltano_assets.sandbox.stripe_billing import Billing, mapping
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_periods import period_end
from meltano_assets.sandbox.stripe_wire import Problem, existing

#: A first bill that is not paid by then ends the subscription.
_PATIENCE_SECONDS = 23 * 3_600
_LIVING = ("active", "trialing", "past_due", "unpaid")


class Renewals:
    """Bills subscriptions."""

    def __init__(self, books: Books, billing: Billing) -> None:
        self._books = books
        self._billing = billing

    def catch_up(self) -> bool:
        """Do what has fallen due; whether there was anything."""
        present, has_done = self._books.stamp(), False
        while due := min(self._due(present), default=None):
            at, key = due
            with self._books.moment(at):
                self._turn(existing(self._books, "subscription", key))
            has_done = True
        return has_done

    def _due(self, present: int) -> list[tuple[int, str]]:
        """What is to happen by now: when, and to which subscription."""
        found = []
        for subscription in self._books.own("subscription"):
            at = None
            if subscription["status"] == "incomplete":
                at = int(str(subscription["created"])) + _PATIENCE_SECONDS
            elif subscription["status"] in _LIVING:
                at = int(str(subscription["current_period_end"]))
                if (end := subscription["cancel_at"]) is not None:
                    at = min(at, int(str(end)))
            if at is not None and at <= present:
                found.append((at, str(subscription["id"])))
        return found

    def _turn(self, subscription: Record) -> None:
        """A period ends: another one begins, or the subscription ends with it."""
        at = self._books.stamp()
        if subscription["status"] == "incomplete":
            invoice = self._books.live("invoice").get(str(subscription["latest_invoice"]))
            if invoice is not None and invoice["status"] == "open":
                self._billing.close(invoice, "void", "voided")
            told = {"status": "incomplete_expired", "ended_at": at}
            self._books.change("customer.subscription.updated", subscription, **told)
            return
        if subscription["cancel_at"] is not None and int(str(subscription["cancel_at"])) <= at:
            self._books.end(str(subscription["id"]))
            told = {
                **mapping(subscription["cancellation_details"]),
                "reason": "cancellation_requested",
            }
            self._books.change(
                "customer.subscription.deleted", subscription, status="canceled", ended_at=at,
                canceled_at=subscription["canceled_at"] or at, cancellation_details=told,
            )  # fmt: skip
            return
        status = "past_due" if subscription["status"] in ("past_due", "unpaid") else "active"
        subscription = self._books.change(
            "customer.subscription.updated", subscription, status=status,
            current_period_start=at, current_period_end=next_end(subscription, at),
        )  # fmt: skip
        self._bill_period(subscription)

    def _bill_period(self, subscription: Record) -> None:
        customer = existing(self._books, "customer", str(subscription["customer"]))
        told = {"subscription": subscription["id"]}
        if subscription["collection_method"] == "send_invoice":
            days = subscription["days_until_due"]
            told |= {"collection_method": "send_invoice", "days_until_due": days}
        invoice = self._billing.draft(customer, str(subscription["currency"]), told)
        self.take_pending(subscription, invoice)
        invoice = self.with_lines(subscription, invoice, "subscription_cycle")
        self._books.change(None, subscription, latest_invoice=invoice["id"])
        paused = mapping(subscription["pause_collection"]).get("behavior")
        if paused == "keep_as_draft":
            return
        invoice = self._billing.finalize(invoice)
        if paused is not None and invoice["status"] == "open":
            is_void = paused == "void"
            self._billing.close(
                invoice,
                *(("void", "voided") if is_void else ("uncollectible", "marked_uncollectible")),
            )
        elif invoice["status"] == "open" and subscription["collection_method"] != "send_invoice":
            try:
                self._billing.pay(invoice, {})
            except Problem:
                current = existing(self._books, "subscription", str(subscription["id"]))
                self._books.change("customer.subscription.updated", current, status="past_due")

    def with_lines(
        self, subscription: Record, invoice: Record, reason: str, *, is_free: bool = False
    ) -> Record:
        """The draft with a line for each item of the subscription, and what is pending."""
        lines = [self._line(subscription, item, invoice, is_free=is_free)
                 for item in items_of(subscription["items"])]  # fmt: skip
        invoice = self._books.change(None, invoice, lines=lines, billing_reason=reason)
        return self._billing.totalled(invoice)

    def _line(
        self, subscription: Record, item: Record, invoice: Record, *, is_free: bool
    ) -> Record:
        price = mapping(item["price"])
        cost = 0 if is_free else cost_of(item)
        return {
            **INVOICE_LINE,
            "id": self._books.new_id("il"),
            "amount": cost,
            "amount_excluding_tax": cost,
            "currency": subscription["currency"],
            "description": f"{item['quantity']} × {price['nickname'] or price['id']}",
            "invoice": invoice["id"],
            "period": {
                "end": subscription["current_period_end"],
                "start": subscription["current_period_start"],
            },
            "plan": item["plan"],
            "price": price,
            "quantity": item["quantity"],
            "subscription": subscription["id"],
            "subscription_item": item["id"],
            "tax_rates": item["tax_rates"],
            "type": "subscription",
        }

    # Prorations

    def take_pending(self, subscription: Record, invoice: Record) -> None:
        """What waits for the customer's next bill goes on this one."""
        for item in list(self._books.live("invoiceitem").values()):
            is_its = item["subscription"] in (None, subscription["id"])
            if item["customer"] == subscription["customer"] and is_its and item["invoice"] is None:
                self._books.change(None, item, invoice=invoice["id"])

    def prorate(self, before: Record, after: Record, params: Mapping[str, object]) -> None:
        """Give back what was not used of items that changed, and charge the rest of their period."""
        behavior = params.get("proration_behavior") or "create_prorations"
        if behavior == "none" or before["status"] not in ("active", "past_due"):
            return
        start, end = (int(str(before[f"current_period_{name}"])) for name in ("start", "end"))
        asked = params.get("proration_date")
        at = min(max(int(str(asked)) if asked else self._books.stamp(), start), end)
        share = (end - at) / (end - start)
        old = {str(item["id"]): item for item in items_of(before["items"])}
        new = {str(item["id"]): item for item in items_of(after["items"])}
        pending = []
        for key in [*old, *(key for key in new if key not in old)]:
            if key in old and key in new and _same(old[key], new[key]):
                continue
            if key in old:
                pending.append(self._pending(after, old[key], -share, "Unused time on", at, end))
            if key in new:
                pending.append(self._pending(after, new[key], share, "Remaining time on", at, end))
        if behavior == "always_invoice" and pending:
            customer = existing(self._books, "customer", str(after["customer"]))
            told = {"subscription": after["id"]}
            invoice = self._billing.draft(customer, str(after["currency"]), told)
            self.take_pending(after, invoice)
            invoice = self._books.change(None, invoice, billing_reason="subscription_update")
            invoice = self._billing.finalize(self._billing.totalled(invoice))
            self._books.change(None, after, latest_invoice=invoice["id"])
            if invoice["status"] == "open":
                self._billing.pay(invoice, {})

    def _pending(
        self, subscription: Record, item: Record, share: float, words: str, at: int, end: int
    ) -> Record:
        price = mapping(item["price"])
        amount = round(cost_of(item) * share)
        return self._books.put(
            "invoiceitem.created",
            {
                "id": self._books.new_id("ii"),
                "object": "invoiceitem",
                "amount": amount,
                "currency": subscription["currency"],
                "customer": subscription["customer"],
                "date": self._books.stamp(),
                "description": f"{words} {item['quantity']} × {price['nickname'] or price['id']}",
                "discountable": False,
                "discounts": [],
                "invoice": None,
                "livemode": False,
                "metadata": {},
                "period": {"end": end, "start": at},
                "plan": item["plan"],
                "price": price,
                "proration": True,
                "quantity": item["quantity"],
                "subscription": subscription["id"],
                "subscription_item": item["id"],
                "tax_rates": [],
                "test_clock": None,
                "unit_amount": amount,
                "unit_amount_decimal": str(amount),
            },
        )


def cost_of(item: Record) -> int:
    """What an item of a subscription costs in a period."""
    unit = mapping(item["price"])["unit_amount"]
    return int(str(unit or 0)) * int(str(item["quantity"] or 0))


def next_end(subscription: Record, at: int) -> int:
    """The end of the period that begins then."""
    price = mapping(items_of(subscription["items"])[0]["price"])
    return period_end(int(str(subscription["billing_cycle_anchor"])), at, interval_of(price))


def interval_of(price: Record) -> tuple[str, int]:
    """A price's period: so many days, weeks, months or years."""
    recurring = mapping(price["recurring"])
    return str(recurring.get("interval", "month")), int(str(recurring.get("interval_count", 1)))


def _same(old: Record, new: Record) -> bool:
    return (mapping(old["price"])["id"], old["quantity"]) == (
        mapping(new["price"])["id"],
        new["quantity"],
    )
