"""The balance of the company's Stripe account: what moved it, and what went on to the bank.

Every charge, refund and dispute moves the balance and has its fee. What has been available is paid
out every Monday, a payout for each currency; one in many comes back from the bank and is in the
balance again.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from math import floor

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe_records import StripeRecords
from meltano_assets.sandbox.company_stripe_shapes import PAYOUT

_DAY_SECONDS = 86_400
#: Currency → what a charge costs besides its share, in the smallest unit.
_FIXED_FEES = {"usd": 30, "eur": 25}
_PER_MILLE = 29
_CATEGORIES = {"charge": "charge", "refund": "refund", "payout": "payout"}


def charge_fee(amount: int, currency: str) -> int:
    """What Stripe keeps of a charge."""
    return (amount * _PER_MILLE + 500) // 1000 + _FIXED_FEES.get(currency, 0)


def movement(
    key: str, kind: str, source: Record, amount: int, at: int, *, fee: int = 0, category: str = ""
) -> Record:
    """A balance transaction; what comes in by card is available two days later.

    ``_payout``: with which payout it went to the bank. Its status is what the clock says.
    """
    details: Record = {
        "amount": fee,
        "application": None,
        "currency": source["currency"],
        "description": "Dispute fee" if source["object"] == "dispute" else "Stripe processing fees",
        "type": "stripe_fee",
    }
    is_later = kind != "payout_failure"
    return {
        "id": key,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": (at // _DAY_SECONDS + 2) * _DAY_SECONDS if is_later else at,
        "created": at,
        "currency": source["currency"],
        "description": source.get("description"),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [details] if fee else [],
        "net": amount - fee,
        "reporting_category": category or _CATEGORIES[kind],
        "source": source["id"],
        "status": "pending",
        "type": kind,
        "_payout": None,
    }


def shown(one: Record) -> Record:
    """The movement as another object holds it."""
    return {name: value for name, value in one.items() if not name.startswith("_")}


def as_of(movements: Iterable[Record], now: int) -> dict[str, Record]:
    """Id → balance transaction with the status that it has by then."""
    return {
        str(one["id"]): {**one, "status": "available" if _day(one) <= now else "pending"}
        for one in movements
    }


def balance(movements: Iterable[Record]) -> Record:
    """What the account holds: by currency, what can be paid out and what is on its way in."""
    sums: dict[str, dict[str, int]] = {"available": {}, "pending": {}}
    for one in movements:
        held = sums[str(one["status"])]
        currency = str(one["currency"])
        held[currency] = held.get(currency, 0) + int(str(one["net"]))
    return {
        "object": "balance",
        **{
            name: [
                {"amount": amount, "currency": currency, "source_types": {"card": amount}}
                for currency, amount in sorted(held.items())
            ]
            for name, held in sums.items()
        },
        "livemode": False,
    }


def _day(one: Record) -> int:
    # A payout has left the balance when it is made, before the bank has it.
    return int(str(one["created" if one["type"] == "payout" else "available_on"]))


class Balance:
    """The books of the balance, kept as the company goes on."""

    def __init__(self, books: StripeRecords) -> None:
        self._books = books
        self._unpaid: list[str] = []
        self._payouts = count(1)
        self._bank = books.new_id("ba")

    def begin(self, day: int) -> None:
        """Pay out on the first Monday from that day on, and on each after it."""
        while self._books.clock.at(day).weekday() != 0:
            day += 1
        self._books.when(day, self._pay_out)

    def move(
        self, at: float, kind: str, source: Record, amount: int, *, fee: int = 0, category: str = ""
    ) -> Record:
        """The balance moves; the movement is named by ``source`` where that has a name for it."""
        key = str(source.get("balance_transaction") or self._books.new_id("txn"))
        if kind == "payout_failure":
            key = str(source["failure_balance_transaction"])
        stamp = self._books.stamp(at)
        one = movement(key, kind, source, amount, stamp, fee=fee, category=category)
        if kind == "payout":
            one["_payout"] = source["id"]
        else:
            self._unpaid.append(key)
        return self._books.put(at, None, one)

    def _pay_out(self, at: float) -> None:
        self._books.when(floor(at) + 7, self._pay_out)
        stamp = self._books.stamp(at)
        moved = self._books.live.get("balance_transaction", {})
        due: dict[str, list[Record]] = {}
        for key in self._unpaid:
            if int(str(moved[key]["available_on"])) <= stamp:
                due.setdefault(str(moved[key]["currency"]), []).append(moved[key])
        for currency, movements in sorted(due.items()):
            net = sum(int(str(one["net"])) for one in movements)
            if net > 0:
                self._send(at, currency, net, movements)

    def _send(self, at: float, currency: str, net: int, movements: list[Record]) -> None:
        stamp = self._books.stamp(at)
        payout = {
            **PAYOUT,
            "id": self._books.new_id("po"),
            "amount": net,
            "arrival_date": (stamp // _DAY_SECONDS + 2) * _DAY_SECONDS,
            "balance_transaction": self._books.new_id("txn"),
            "created": stamp,
            "currency": currency,
            "destination": self._bank,
        }
        for one in movements:
            self._books.put(at, None, {**one, "_payout": payout["id"]})
        gone = {one["id"] for one in movements}
        self._unpaid = [key for key in self._unpaid if key not in gone]
        self.move(at, "payout", payout, -net)
        self._books.put(at, "payout.created", payout)
        ending = self._fail if next(self._payouts) % 23 == 11 else self._arrive
        self._books.when(at + 2, lambda then: ending(then, payout))

    def _arrive(self, at: float, payout: Record) -> None:
        self._books.change(at, "payout.paid", payout, status="paid")
        self._books.change(
            at, "payout.reconciliation_completed", payout, reconciliation_status="completed"
        )

    def _fail(self, at: float, payout: Record) -> None:
        failed = self._books.change(
            at,
            "payout.failed",
            payout,
            failure_balance_transaction=self._books.new_id("txn"),
            failure_code="account_closed",
            failure_message="The bank account has been closed.",
            reconciliation_status="completed",
            status="failed",
        )
        self.move(
            at, "payout_failure", failed, int(str(payout["amount"])), category="payout_reversal"
        )
