"""The billing periods of Zuora's charges, and what each costs.

A period begins on the bill cycle day, in the months that the charge's alignment tells. What lies only
partly in the life of a charge costs its share of the period's days. Ends of spans are not included.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from meltano_assets.sandbox.company_catalog import decimal, money
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zuora_writes import Refused

_MONTHS = {
    "Month": 1, "Quarter": 3, "Semi_Annual": 6, "Annual": 12, "Eighteen_Months": 18,
    "Two_Years": 24, "Three_Years": 36, "Five_Years": 60,
}  # fmt: skip
#: What a list price is for, where it is not for the billing period.
_PRICE_MONTHS = {"PerMonth": 1, "PerYear": 12}
_MOST_MONTHS = 120
#: Until when a charge without an end lives.
_FAR = date(2200, 1, 1)


@dataclass(frozen=True, slots=True)
class Span:
    """Days of a charge with their cost."""

    start: date
    end: date
    amount: Decimal


def after(start: date, term: int, period: str) -> date:
    """The day on which a term ends that begins on a day; one after the last day of all is refused."""
    try:
        if period in ("Week", "Day"):
            return start + timedelta(days=term * (7 if period == "Week" else 1))
        return _months_after(start, term * (12 if period == "Year" else 1), start.day)
    except (ValueError, OverflowError):
        raise Refused(53200020, f"The term of {term} {period} ends too late") from None


def months_of(charge: Record) -> int:
    """The months of a charge's billing period; a year where it has none of months."""
    name = str(charge.get("BillingPeriod"))
    if name == "Specific_Months":
        return max(1, min(int(str(charge.get("SpecificBillingPeriod") or 1)), _MOST_MONTHS))
    return _MONTHS.get(name, 12)


def price_months(charge: Record) -> int:
    """The months that a charge's list price is for."""
    base = str(charge.get("ListPriceBase") or "").replace(" ", "").replace("_", "")
    return _PRICE_MONTHS.get(base) or months_of(charge)


def due(charge: Record, price: Decimal, cycle_day: int, aligned: date, target: date) -> list[Span]:
    """What is to be billed of a charge whose periods begin up to the target, in advance.

    What was billed beyond its end is given back. ``aligned`` is the day from which its months count.
    """
    start, end = charge["EffectiveStartDate"], charge.get("EffectiveEndDate")
    billed = charge.get("ChargedThroughDate")
    assert isinstance(start, date)
    last = end if isinstance(end, date) else _FAR
    begin = max(start, billed) if isinstance(billed, date) else start
    amount = price * decimal(charge.get("Quantity"))
    if charge.get("ChargeType") != "Recurring":
        is_open = charge.get("ChargeType") == "OneTime" and billed is None
        is_due = is_open and start <= target and start < last
        return [Span(start, start + timedelta(days=1), money(amount))] if is_due else []
    amount = amount * months_of(charge) / price_months(charge)
    if begin > last:
        if max(start, last) > target:
            return []
        shares = _shares(charge, amount, cycle_day, aligned, max(start, last), begin)
        return [Span(s.start, s.end, -s.amount) for s in shares]
    found = []
    for share in _shares(charge, amount, cycle_day, aligned, begin, last):
        if share.start > target:
            break
        found.append(share)
    return found


def next_due(charge: Record) -> date | None:
    """The day from which something of a charge waits for its bill; None where all is billed."""
    start, end = charge["EffectiveStartDate"], charge.get("EffectiveEndDate")
    billed = charge.get("ChargedThroughDate")
    assert isinstance(start, date)
    if charge.get("ChargeType") == "Recurring" and isinstance(billed, date):
        if isinstance(end, date) and billed >= end:
            return None if billed == end else max(start, end)
        return billed
    is_open = billed is None and charge.get("ChargeType") in ("Recurring", "OneTime")
    return start if is_open and not (isinstance(end, date) and end <= start) else None


def _shares(
    charge: Record, amount: Decimal, cycle_day: int, aligned: date, start: date, end: date
) -> Iterator[Span]:
    """The charge's periods from one day up to another, each as far as it lies between them."""
    if charge.get("BillingPeriod") == "Subscription_Term":
        if start < end:
            yield Span(start, end, money(amount))
        return
    for whole_start, whole_end in _periods(charge, cycle_day, aligned, start):
        first, last = max(whole_start, start), min(whole_end, end)
        if first >= last:
            return
        share = Decimal((last - first).days) / (whole_end - whole_start).days
        yield Span(first, last, money(amount * share))


def _periods(
    charge: Record, cycle_day: int, aligned: date, start: date
) -> Iterator[tuple[date, date]]:
    if charge.get("BillingPeriod") == "Week":
        week = timedelta(weeks=1)
        begin = aligned + (start - aligned) // week * week
        while True:
            yield begin, begin + week
            begin += week
    months = months_of(charge)
    anchor = _months_after(aligned, 0, cycle_day)
    if anchor < aligned:
        anchor = _months_after(aligned, 1, cycle_day)
    turn = ((start.year - anchor.year) * 12 + start.month - anchor.month) // months - 1
    while True:
        begin, end = (_months_after(anchor, n * months, cycle_day) for n in (turn, turn + 1))
        if end > start:
            yield begin, end
        turn += 1


def _months_after(start: date, months: int, day: int) -> date:
    """That day of the month so many months later, or the last of a month that has no such day."""
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    return date(year, month + 1, min(day, calendar.monthrange(year, month + 1)[1]))
