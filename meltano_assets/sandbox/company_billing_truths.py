"""What must come out of the company's billing, known from how its subscriptions were made."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from meltano_assets.sandbox.company_billing import BillingDesk
from meltano_assets.sandbox.company_stripe import SelfServe

#: Days overdue up to which (not including) a bucket of receivables goes.
_BUCKETS = ((30, "1: <30"), (61, "2: 30-60"), (91, "3: 61-90"))
_LAST_BUCKET = "4: >90"
_MONTHS = 13


def billing_truths(desk: BillingDesk, today: date) -> dict[str, object]:
    """Recurring revenue, churn and receivables at the beginning of that day, by currency.

    Drafts count nowhere. ``excluded`` are subscriptions flagged to be left out of analyses, which
    the sums here include.
    """
    kept = [s for s in desk.subscriptions if s.status != "Draft"]
    months = [today]
    while len(months) < _MONTHS:
        months.append(months[-1].replace(day=1) - timedelta(days=1))
    mrr: dict[str, dict[str, str]] = {}
    for end in months:
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for subscription in kept:
            sums[subscription.currency] += subscription.mrr_on(end)
        mrr[end.isoformat()] = _texts(sums)
    churned: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for subscription in kept:
        if subscription.cancelled is not None:
            lost = subscription.mrr_on(subscription.cancelled - timedelta(days=1))
            churned[f"{subscription.cancelled:%Y-%m}"][subscription.currency] += lost
    return {
        "accounts": len(desk.live["Account"]),
        "subscriptions": {
            "active": sum(1 for s in kept if s.status == "Active"),
            "cancelled": sum(1 for s in kept if s.status == "Cancelled"),
            "draft": len(desk.subscriptions) - len(kept),
            "excluded": [s.name for s in kept if s.is_excluded],
        },
        "mrr_by_date": mrr,
        "arr": _texts({c: 12 * Decimal(v) for c, v in mrr[today.isoformat()].items()}),
        "churned_mrr_by_month": {m: _texts(sums) for m, sums in sorted(churned.items())},
        "receivables": _receivables(desk, today),
        "records": {name: len(records) for name, records in sorted(desk.live.items())},
    }


def _receivables(desk: BillingDesk, today: date) -> dict[str, object]:
    """Overdue posted invoices by how long they are so."""
    amounts: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    counts: dict[str, int] = defaultdict(int)
    for invoice in desk.live["Invoice"].values():
        due, balance = invoice["DueDate"], invoice["Balance"]
        if invoice["Status"] != "Posted" or not isinstance(due, date) or due >= today:
            continue
        if not isinstance(balance, Decimal) or balance <= 0:
            continue
        days = (today - due).days
        bucket = next((name for limit, name in _BUCKETS if days < limit), _LAST_BUCKET)
        account = desk.live["Account"][str(invoice["AccountId"])]
        amounts[bucket][str(account["Currency"])] += balance
        counts[bucket] += 1
    return {
        bucket: {"invoices": counts[bucket], "balance": _texts(amounts[bucket])}
        for bucket in sorted(amounts)
    }


def self_serve_truths(books: SelfServe) -> dict[str, object]:
    """Money taken and given back by currency, in the smallest unit."""
    taken: dict[str, int] = defaultdict(int)
    for charge in books.live["charge"].values():
        if charge["status"] == "succeeded":
            taken[str(charge["currency"])] += int(str(charge["amount"]))
    refunded: dict[str, int] = defaultdict(int)
    for refund in books.live.get("refund", {}).values():
        refunded[str(refund["currency"])] += int(str(refund["amount"]))
    subscriptions = books.live["subscription"].values()
    return {
        "charged": dict(sorted(taken.items())),
        "refunded": dict(sorted(refunded.items())),
        "arrived": _arrived(books),
        "active_subscriptions": sum(1 for s in subscriptions if s["status"] == "active"),
        "deleted": {kind: len(keys) for kind, keys in sorted(books.deleted.items())},
        "records": {kind: len(records) for kind, records in sorted(books.live.items())},
    }


def _arrived(books: SelfServe) -> dict[str, dict[str, int]]:
    """Currency → gross, fees and net of what reached the bank, as charges, refunds and disputes had it.

    Counted from the account's movements, each by the payout that it went with.
    """
    payouts = books.live.get("payout", {})
    sums: dict[str, dict[str, int]] = {}
    for one in books.live.get("balance_transaction", {}).values():
        payout = payouts.get(str(one["_payout"]))
        if one["type"] == "payout" or payout is None or payout["status"] != "paid":
            continue
        known = sums.setdefault(str(one["currency"]), {"gross": 0, "fees": 0, "net": 0})
        for name, field in (("gross", "amount"), ("fees", "fee"), ("net", "net")):
            known[name] += int(str(one[field]))
    return dict(sorted(sums.items()))


def _texts(sums: dict[str, Decimal]) -> dict[str, str]:
    return {currency: format(value, "f") for currency, value in sorted(sums.items())}
