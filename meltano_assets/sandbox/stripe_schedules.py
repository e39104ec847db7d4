"""What clients write to Stripe about subscriptions to come: schedules with their phases.

A schedule begins its subscription when its first phase does; each later phase changes the items. When the
last is over the subscription goes on by itself (``release``) or ends (``cancel``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.stripe_billing import COLLECTION, mapping
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_forms import (
    ANY,
    BOOLEAN,
    INTEGER,
    INTERVALS,
    METADATA,
    TEXT,
    Shape,
    checked,
    merged_metadata,
    required_problem,
    texts,
)
from meltano_assets.sandbox.stripe_periods import period_end
from meltano_assets.sandbox.stripe_renewals import interval_of
from meltano_assets.sandbox.stripe_subscriptions import PRORATIONS, Subscriptions
from meltano_assets.sandbox.stripe_wire import Problem, existing

_PHASE: Shape = {
    **texts("currency default_payment_method description"),
    "collection_method": COLLECTION,
    "duration": {"interval": INTERVALS, "interval_count": INTEGER},
    "end_date": ANY,
    "items": [{"price": TEXT, "quantity": INTEGER, "metadata": METADATA, "tax_rates": [TEXT]}],
    "iterations": INTEGER,
    "metadata": METADATA,
    "proration_behavior": PRORATIONS,
    "start_date": ANY,
    "trial": BOOLEAN,
    "trial_end": ANY,
}
_SCHEDULE: Shape = {
    "default_settings": ANY,
    "end_behavior": ("cancel", "none", "release", "renew"),
    "metadata": METADATA,
    "phases": [_PHASE],
    "proration_behavior": PRORATIONS,
}
_NEW: Shape = {**_SCHEDULE, **texts("customer from_subscription"), "start_date": ANY}
_MOST_ITERATIONS = 120
_MOST_SECONDS = 100 * 366 * 86_400
_LIVING = ("active", "not_started")
_SETTINGS: Record = {
    "application_fee_percent": None,
    "automatic_tax": {"enabled": False, "liability": None},
    "billing_cycle_anchor": "automatic",
    "billing_thresholds": None,
    "collection_method": "charge_automatically",
    "default_payment_method": None,
    "description": None,
    "invoice_settings": {"account_tax_ids": None, "days_until_due": None},
    "on_behalf_of": None,
    "transfer_data": None,
}


class Schedules:
    """Writes schedules, and begins and ends their phases."""

    def __init__(self, books: Books, subscriptions: Subscriptions) -> None:
        self._books = books
        self._subscriptions = subscriptions

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        if method != "POST":
            return None
        match parts:
            case ["subscription_schedules"]:
                params = checked(given, _NEW)
                return lambda: self._new(params)
            case ["subscription_schedules", key]:
                params = checked(given, _SCHEDULE)
                return lambda: self._change(self._one(key), params)
            case ["subscription_schedules", key, "cancel"]:
                checked(given, {"invoice_now": BOOLEAN, "prorate": BOOLEAN})
                return lambda: self._cancel(self._one(key))
            case ["subscription_schedules", key, "release"]:
                checked(given, {"preserve_cancel_date": BOOLEAN})
                return lambda: self._release(self._one(key))
        return None

    def catch_up(self) -> bool:
        """Turn to the phases that are due, each at its time; whether there were any."""
        has_done = False
        while due := min(
            ((turn, str(schedule["id"])) for schedule in self._books.own("subscription_schedule")
             if (turn := self._due(schedule)) is not None),
            default=None,
        ):  # fmt: skip
            # What is billed before that time has the items of before.
            with self._books.moment(due[0] - 1):
                self._subscriptions.catch_up()
            self._turn(self._one(due[1]))
            has_done = True
        return has_done

    def _one(self, key: str) -> Record:
        return existing(self._books, "subscription_schedule", key)

    # Writing

    def _new(self, params: dict[str, Any]) -> Record:
        stamp = self._books.stamp()
        key = self._books.new_id("sub_sched")
        subscription = None
        if name := params.get("from_subscription"):
            if params.get("phases") or params.get("customer"):
                message = "You cannot set phases or a customer with `from_subscription`."
                raise Problem(400, message, None, "from_subscription")
            subscription = existing(self._books, "subscription", name, "from_subscription")
            if subscription["schedule"]:
                message = f"The subscription {name} is managed by a schedule already."
                raise Problem(400, message, None, "from_subscription")
            customer, phases = subscription["customer"], [_phase_of(subscription)]
        else:
            customer = params.get("customer")
            if not customer:
                raise required_problem("customer")
            existing(self._books, "customer", customer, "customer")
            if not params.get("phases"):
                raise required_problem("phases")
            begin = _moment(params.get("start_date"), "start_date", stamp)
            phases = self._phases(params["phases"], begin)
        schedule = self._books.put(
            "subscription_schedule.created",
            {
                "id": key,
                "object": "subscription_schedule",
                "application": None,
                "canceled_at": None,
                "completed_at": None,
                "created": stamp,
                "current_phase": None,
                "customer": customer,
                "default_settings": {**_SETTINGS, **mapping(params.get("default_settings"))},
                "end_behavior": params.get("end_behavior") or "release",
                "livemode": False,
                "metadata": merged_metadata({}, params.get("metadata") or {}),
                "phases": phases,
                "released_at": None,
                "released_subscription": None,
                "status": "not_started",
                "subscription": subscription["id"] if subscription else None,
                "test_clock": None,
            },
        )
        if subscription is not None:
            self._books.change(None, subscription, schedule=key)
        self._turned(key)
        return self._one(str(schedule["id"]))

    def _phases(self, entries: list[dict[str, Any]], begin: int) -> list[Record]:
        phases: list[Record] = []
        for place, entry in enumerate(entries):
            path = f"phases[{place}]"
            if not entry.get("items"):
                raise required_problem(f"{path}[items]")
            prices = []
            for number, item in enumerate(entry["items"]):
                name = f"{path}[items][{number}][price]"
                if not item.get("price"):
                    raise required_problem(name)
                price = existing(self._books, "price", item["price"], name)
                if price["type"] != "recurring":
                    message = "The price specified is not recurring."
                    raise Problem(400, message, None, name)
                prices.append(price)
            begin = _moment(entry.get("start_date"), f"{path}[start_date]", begin)
            if begin > self._books.stamp() + _MOST_SECONDS:
                message = "Invalid timestamp: can be no more than a hundred years in the future."
                raise Problem(400, message, None, f"{path}[start_date]")
            end = self._end(entry, begin, prices[0], path)
            phases.append(
                {
                    "add_invoice_items": [],
                    "application_fee_percent": None,
                    "billing_cycle_anchor": None,
                    "billing_thresholds": None,
                    "collection_method": entry.get("collection_method"),
                    "coupon": None,
                    "currency": prices[0]["currency"],
                    "default_payment_method": entry.get("default_payment_method"),
                    "default_tax_rates": [],
                    "description": entry.get("description"),
                    "discounts": [],
                    "end_date": end,
                    "invoice_settings": None,
                    "items": [
                        {
                            "billing_thresholds": None,
                            "discounts": [],
                            "metadata": item.get("metadata") or {},
                            "plan": item["price"],
                            "price": item["price"],
                            "quantity": 1 if item.get("quantity") is None else item["quantity"],
                            "tax_rates": [],
                        }
                        for item in entry["items"]
                    ],
                    "metadata": entry.get("metadata") or {},
                    "on_behalf_of": None,
                    "proration_behavior": entry.get("proration_behavior") or "create_prorations",
                    "start_date": begin,
                    "transfer_data": None,
                    "trial_end": None,
                }
            )
            begin = end
        return phases

    def _end(self, entry: Mapping[str, Any], begin: int, price: Record, path: str) -> int:
        """When a phase is over: at its date, or after so many periods."""
        if entry.get("end_date") not in (None, "now"):
            end = _moment(entry["end_date"], f"{path}[end_date]", begin)
            if end <= begin:
                message = "A phase must end after it begins."
                raise Problem(400, message, None, f"{path}[end_date]")
            return end
        # Newer clients name a duration, older ones so many of the price's periods.
        length = entry.get("duration") or {}
        name = "duration" if length else "iterations"
        given = length.get("interval_count") if length else entry.get("iterations")
        count = 1 if given is None else given
        if not 1 <= count <= _MOST_ITERATIONS:
            message = f"Invalid {name}: must be from 1 to {_MOST_ITERATIONS}"
            raise Problem(400, message, "parameter_invalid_integer", f"{path}[{name}]")
        period = interval_of(price)
        if length:
            period, count = (length.get("interval") or "month", count), 1
        end = begin
        for _ in range(count):
            end = period_end(begin, end, period)
        return end

    def _change(self, schedule: Record, params: dict[str, Any]) -> Record:
        self._check_living(schedule, "update")
        fields: Record = {n: params[n] for n in ("end_behavior",) if n in params}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(schedule["metadata"], params["metadata"])
        if params.get("phases"):
            first = items_of(schedule["phases"])[0]
            fields["phases"] = self._phases(params["phases"], int(str(first["start_date"])))
        changed = self._books.change("subscription_schedule.updated", schedule, **fields)
        self._turned(str(changed["id"]))
        return self._one(str(changed["id"]))

    def _cancel(self, schedule: Record) -> Record:
        self._check_living(schedule, "cancel")
        subscription = self._books.live("subscription").get(str(schedule["subscription"]))
        if subscription is not None and subscription["status"] != "canceled":
            self._subscriptions.cancel(subscription)
        return self._books.change(
            "subscription_schedule.canceled", schedule, status="canceled", current_phase=None,
            canceled_at=self._books.stamp(),
        )  # fmt: skip

    def _release(self, schedule: Record) -> Record:
        self._check_living(schedule, "release")
        subscription = self._books.live("subscription").get(str(schedule["subscription"]))
        if subscription is not None:
            self._books.change(None, subscription, schedule=None)
        return self._books.change(
            "subscription_schedule.released", schedule, status="released", current_phase=None,
            released_at=self._books.stamp(), released_subscription=schedule["subscription"],
            subscription=None,
        )  # fmt: skip

    def _check_living(self, schedule: Record, verb: str) -> None:
        if schedule["status"] not in _LIVING:
            message = (
                f"You cannot {verb} a subscription schedule that is currently in the "
                f"`{schedule['status']}` status."
            )
            raise Problem(400, message)

    # Living on

    def _turned(self, key: str) -> None:
        """Begin and end the phases that are due."""
        while self._due(schedule := self._one(key)) is not None:
            self._turn(schedule)

    def _due(self, schedule: Record) -> int | None:
        """When something was to happen to a schedule that has not, if anything."""
        if schedule["status"] not in _LIVING:
            return None
        following = self._following(schedule)
        current = mapping(schedule["current_phase"])
        at = following["start_date"] if following else current.get("end_date")
        is_due = at is not None and int(str(at)) <= self._books.stamp()
        return int(str(at)) if is_due else None

    def _following(self, schedule: Record) -> Record | None:
        current = mapping(schedule["current_phase"])
        after = int(str(current["end_date"])) if current else 0
        phases = (p for p in items_of(schedule["phases"]) if int(str(p["start_date"])) >= after)
        return next(phases, None)

    def _turn(self, schedule: Record) -> None:
        following = self._following(schedule)
        if following is not None:
            self._begin(schedule, following)
        else:
            self._finish(schedule)

    def _begin(self, schedule: Record, phase: Record) -> None:
        at = int(str(phase["start_date"]))
        current = {"start_date": at, "end_date": phase["end_date"]}
        with self._books.moment(min(at, self._books.stamp())):
            subscription = self._books.live("subscription").get(str(schedule["subscription"]))
            entries = [
                {"price": item["price"], "quantity": item["quantity"]}
                for item in items_of(phase["items"])
            ]
            if subscription is None:
                asked: dict[str, Any] = {"customer": schedule["customer"], "items": entries}
                asked["payment_behavior"] = "default_incomplete"
                subscription = self._subscriptions.subscribe(asked)
                if subscription["status"] == "incomplete":
                    subscription = self._books.change(None, subscription, status="active")
                self._books.change(None, subscription, schedule=schedule["id"])
            elif schedule["current_phase"] is not None:
                gone = [
                    {"id": item["id"], "deleted": True} for item in items_of(subscription["items"])
                ]
                change = {"items": [*entries, *gone]}
                behavior = phase["proration_behavior"]
                self._subscriptions.change(subscription, {**change, "proration_behavior": behavior})
            self._books.change(
                "subscription_schedule.updated", schedule, status="active", current_phase=current,
                subscription=subscription["id"],
            )  # fmt: skip

    def _finish(self, schedule: Record) -> None:
        """The last phase is over."""
        end = int(str(mapping(schedule["current_phase"])["end_date"]))
        with self._books.moment(end):
            if schedule["end_behavior"] != "cancel":
                self._release(schedule)
                return
            subscription = self._books.live("subscription").get(str(schedule["subscription"]))
            if subscription is not None and subscription["status"] != "canceled":
                self._subscriptions.cancel(subscription)
            self._books.change(
                "subscription_schedule.completed", schedule, status="completed",
                current_phase=None, completed_at=end,
            )  # fmt: skip


def _moment(given: object, path: str, other: int) -> int:
    """A time as parameters tell it; ``now`` and nothing are the other."""
    if given in (None, "", "now"):
        return other
    text = str(given)
    if not is_number(text) or len(text) > 11:
        message = f"Invalid timestamp: {text}"
        raise Problem(400, message, "parameter_invalid_integer", path)
    return int(text)


def _phase_of(subscription: Record) -> Record:
    """What a subscription is in now, as a phase."""
    return {
        "add_invoice_items": [],
        "currency": subscription["currency"],
        "collection_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": subscription["current_period_end"],
        "items": [
            {
                "metadata": {},
                "plan": mapping(item["price"])["id"],
                "price": mapping(item["price"])["id"],
                "quantity": item["quantity"],
                "tax_rates": [],
            }
            for item in items_of(subscription["items"])
        ],
        "metadata": {},
        "proration_behavior": "create_prorations",
        "start_date": subscription["current_period_start"],
        "trial_end": None,
    }
