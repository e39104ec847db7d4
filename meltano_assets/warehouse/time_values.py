"""Times as text, of any year: what is left when Arrow's own parser refuses a column. Spans of time as text."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal

_TIME = re.compile(
    r"\s*(?P<sign>[+-]?)(?P<year>\d{4,6})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[Tt ]\s*(?P<clock>\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d+))?"
    r"\s*(?P<zone>Z|z|UTC|[+-]\d\d(?::?\d\d(?::\d\d)?)?)?)?(?P<era> BC)?\s*"
)


def parse_time(text: str) -> tuple[int, bool, bool] | None:
    """(microseconds since 1970, is naive, was rounded) of an ISO time of any year, else None.

    Also as Postgres writes times before Christ, and with the 60th second and the 24th hour, which are
    to Postgres the next minute and the next day.
    """
    match = _TIME.fullmatch(text)
    if match is None or match["sign"] == "-":
        return None
    year, shift = int(match["year"]), 0
    if match["era"]:
        if year == 0 or match["sign"]:
            return None
        year = 1 - year
    # The Gregorian calendar repeats every 400 years = 146,097 days.
    while not 1 <= year <= 9999:
        step = 1 if year < 1 else -math.ceil((year - 9999) / 400)
        year += 400 * step
        shift -= step * 146_097 * 86_400_000_000
    zone = match["zone"] or ""
    zone = "+00:00" if zone in ("Z", "z", "UTC") else zone
    clock = match["clock"] or "00:00:00"
    if clock in ("24:00", "24:00:00") and not (match["fraction"] or "").strip("0"):
        clock, shift = "00:00:00", shift + 86_400_000_000
    elif clock.endswith(":60") and len(clock) == 8:
        clock, shift = f"{clock[:5]}:59", shift + 1_000_000
    try:
        moment = datetime.fromisoformat(
            f"{year:04}-{match['month']}-{match['day']}T{clock}{zone or '+00:00'}"
        )
    except ValueError:
        return None
    fraction = match["fraction"] or ""
    nanos = int(fraction[:9].ljust(9, "0")) if fraction else 0
    micros, rest = divmod(nanos, 1000)
    micros += rest > 500 or (rest == 500 and micros % 2 == 1)
    is_rounded = rest != 0 or bool(fraction[9:].strip("0"))
    span = moment - datetime(1970, 1, 1, tzinfo=UTC)
    total = (span.days * 86_400 + span.seconds) * 1_000_000 + micros + shift
    return (total, not zone, is_rounded) if abs(total) < 2**63 else None


def duration_text(number: int, per_second: int) -> str:
    """ISO 8601, which Postgres reads as an interval."""
    return f"PT{format((Decimal(number) / per_second).normalize(), 'f')}S"


def interval_text(months: int, days: int, nanoseconds: int) -> str:
    """ISO 8601 with the parts apart: no month has a certain number of days."""
    return f"P{months}M{days}D{duration_text(nanoseconds, 10**9)[1:]}"
