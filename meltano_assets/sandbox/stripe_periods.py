"""The periods of Stripe's subscriptions: of calendar months, counted from their anchor."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

_FIXED = {"day": timedelta(days=1), "week": timedelta(weeks=1)}
_MONTHS = {"month": 1, "year": 12}


def period_end(anchor: int, start: int, interval: tuple[str, int]) -> int:
    """The end of the period that holds ``start``; all times in seconds since 1970.

    Periods of months end on the anchor's day of the month and hour, or on the last day of a month
    that has no such day: anchored at January 31, they end on February 28 and March 31.
    """
    name, count = interval
    if name in _FIXED:
        length = int(_FIXED[name].total_seconds()) * count
        return anchor + ((start - anchor) // length + 1) * length
    months = _MONTHS[name] * count
    first, now = (datetime.fromtimestamp(stamp, UTC) for stamp in (anchor, start))
    turn = ((now.year - first.year) * 12 + now.month - first.month) // months
    while (end := _months_after(first, turn * months)) <= start:
        turn += 1
    return end


def _months_after(first: datetime, months: int) -> int:
    years, month = divmod(first.month - 1 + months, 12)
    year = first.year + years
    day = min(first.day, calendar.monthrange(year, month + 1)[1])
    return int(first.replace(year=year, month=month + 1, day=day).timestamp())
