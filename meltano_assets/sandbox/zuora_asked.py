"""What requests to Zuora say: lists, dates and numbers, each judged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.zuora_writes import Refused

#: Months of the longest term.
_LONGEST = 1_200
#: Years that a contract can speak of.
_YEARS = range(1900, 2200)
#: Digits of the largest amount.
_MOST_DIGITS = 18


def rows_in(told: Mapping[str, object], name: str) -> list[Record]:
    """The objects of a list; none where there is no list."""
    value = told.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts_in(told: Mapping[str, object], name: str) -> list[str]:
    """The values of a list as texts; one value is a list of one."""
    value = told.get(name)
    values = value if isinstance(value, list) else [value]
    return [str(each) for each in values if each not in (None, "")]


def date_in(told: Mapping[str, object], name: str, otherwise: date) -> date:
    """A date that the request says, or another one."""
    value = told.get(name)
    if value in (None, ""):
        return otherwise
    try:
        found = date.fromisoformat(str(value)[:10])
    except ValueError:
        raise Refused(53200020, f"'{name}' is not a date: {value}") from None
    if found.year not in _YEARS:
        raise Refused(53200020, f"'{name}' is too far away: {value}")
    return found


def whole_in(told: Mapping[str, object], name: str, otherwise: int) -> int:
    """A positive number of periods, or another one."""
    value = told.get(name)
    if value in (None, ""):
        return otherwise
    if isinstance(value, bool) or not is_number(str(value)) or not 0 < int(str(value)) <= _LONGEST:
        raise Refused(53200020, f"'{name}' must be a number from 1 to {_LONGEST}")
    return int(str(value))


def decimal_of(value: object) -> Decimal:
    """A number; nothing is zero."""
    try:
        number = Decimal(str(value or 0))
    except InvalidOperation:
        raise Refused(53200020, f"{value} is not a number") from None
    if not number.is_finite() or number.adjusted() >= _MOST_DIGITS:
        raise Refused(53200020, f"{value} is not a number")
    return number
