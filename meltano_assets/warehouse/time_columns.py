"""Columns of dates and times on their way into Postgres: what it can hold, and what is text so far.

Text is read by Arrow's own parser, a column at once; what that refuses goes one by one through
``time_values.py``.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.converted import (
    NULL_WIRE,
    US,
    US_UTC,
    Converted,
    another,
    is_text,
    mask,
    within,
)
from meltano_assets.warehouse.time_values import parse_time

#: Postgres' time stamps and dates begin in 4713 BC. Dates end in 5874897 AD, time stamps in 294276,
#: which is a little more than 64 bits of microseconds since 1970 can say.
_MIN_MICROSECONDS = -210_866_803_200_000_000
_MAX_MICROSECONDS = 2**63 - 1
_MIN_DAYS = -2_440_588
_MAX_DAYS = 2_145_031_948
#: The years that Python's and most clients' dates can say: 1 to 9999.
_YEAR_1_MICROSECONDS = -62_135_596_800_000_000
_YEAR_10000_MICROSECONDS = 253_402_300_800_000_000
_YEAR_1_DAYS = -719_162
_YEAR_10000_DAYS = 2_932_897
#: Days that 64 bits of microseconds can say, and how many Arrow can write out (to the end of 32767).
_MAX_MICROSECOND_DAYS = _MAX_MICROSECONDS // 86_400_000_000
_MAX_WRITTEN_DAYS = 11_248_738

#: Postgres writes and reads these; Arrow has no infinite time.
_INFINITE = ("infinity", "-infinity")


def writable(array: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Times that can be written out, the others as null, and which those are."""
    kind = array.type
    if pa.types.is_date(kind):
        numbers, per_day = array.cast(pa.int32()), 1
    elif pa.types.is_timestamp(kind) and kind.unit != "ns":
        numbers = array.cast(pa.int64())
        per_day = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6}[kind.unit]
    else:
        return array, None
    return within(array, numbers, _MIN_DAYS * per_day, _MAX_WRITTEN_DAYS * per_day - 1)


def to_timestamp(array: pa.Array, target: ColumnType) -> Converted:
    kind = array.type
    wire = NULL_WIRE[target]
    cleaned: Counter[str] = Counter()
    bad: np.ndarray | None = None
    if pa.types.is_date(kind):
        days = array.cast(pa.int32()).cast(pa.int64())
        days, bad = within(days, days, -_MAX_MICROSECOND_DAYS, _MAX_MICROSECOND_DAYS)
        array = pc.multiply(days, 86_400_000_000).cast(US)
    elif pa.types.is_timestamp(kind):
        if kind.tz and target == "timestamp":
            return Converted(array, wider="timestamptz")
        if not kind.tz and target == "timestamptz":
            cleaned["naive_time_as_utc"] += len(array) - array.null_count
        array, bad = _sayable(array)
        array = _microseconds(array, cleaned)
    elif is_text(kind):
        texts = array
        array, naive, bad = _times_from_text(texts, cleaned)
        zoned = mask(pc.is_valid(array)) & ~naive
        if target == "timestamp" and zoned.any():
            return Converted(texts, wider="timestamptz")
        if target == "timestamptz":
            cleaned["naive_time_as_utc"] += int(naive.sum())
    else:
        return another(array, target)
    return _in_range(array.cast(US).cast(pa.int64()), wire, bad, cleaned)


def _sayable(array: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Times that 64 bits of microseconds can say, the others as null, and which those are."""
    factor = {"s": 1_000_000, "ms": 1_000}.get(array.type.unit)
    if factor is None:
        return array, None
    most = _MAX_MICROSECONDS // factor
    return within(array, array.cast(pa.int64()), -most, most)


def _microseconds(array: pa.Array, cleaned: Counter[str]) -> pa.Array:
    """Nanoseconds rounded to microseconds as Postgres' own parser rounds; others exact."""
    if array.type.unit != "ns":
        return array.cast(pa.timestamp("us", array.type.tz))
    nanos = array.cast(pa.int64()).fill_null(0).to_numpy()
    odd = nanos % 1000
    inexact = int(np.count_nonzero(odd))
    micros = nanos // 1000
    if inexact:
        cleaned["microseconds_rounded"] += inexact
        micros = micros + ((odd > 500) | ((odd == 500) & (micros % 2 == 1)))
    values = pa.array(micros, pa.int64())
    if array.null_count:
        values = pc.if_else(pc.is_valid(array), values, None)
    return values.cast(pa.timestamp("us", array.type.tz))


def _in_range(
    numbers: pa.Array, wire: pa.DataType, bad: np.ndarray | None, cleaned: Counter[str]
) -> Converted:
    """Refuse times that Postgres cannot hold; count those that only Postgres can."""
    is_date = pa.types.is_date(wire)
    low, high = (_MIN_DAYS, _MAX_DAYS) if is_date else (_MIN_MICROSECONDS, _MAX_MICROSECONDS)
    first = _YEAR_1_DAYS if is_date else _YEAR_1_MICROSECONDS
    last = _YEAR_10000_DAYS if is_date else _YEAR_10000_MICROSECONDS
    bounds = pc.min_max(numbers)
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    if least is not None and (least < first or most >= last):
        outside = mask(pc.or_(pc.less(numbers, low), pc.greater(numbers, high)))
        if outside.any():
            bad = outside if bad is None else bad | outside
            numbers = pc.if_else(pa.array(outside), None, numbers)
        cleaned["unusual_year"] += int(
            mask(pc.or_(pc.less(numbers, first), pc.greater_equal(numbers, last))).sum()
        )
    if is_date:
        numbers = numbers.cast(pa.int32())
    return Converted(numbers.cast(wire), bad=bad, cleaned=+cleaned)


def _times_from_text(
    array: pa.Array, cleaned: Counter[str]
) -> tuple[pa.Array, np.ndarray, np.ndarray | None]:
    """Microsecond times in UTC, which of them had no zone, and which are no times."""
    nothing = np.zeros(len(array), dtype=bool)
    try:
        return array.cast(US_UTC), nothing, None
    except pa.ArrowInvalid:
        pass
    try:
        return array.cast(US), mask(pc.is_valid(array)), None
    except pa.ArrowInvalid:
        pass
    micros: list[int | None] = []
    naive, bad = nothing.copy(), nothing.copy()
    for row, text in enumerate(array.to_pylist()):
        value = None
        if text is not None:
            parsed = parse_time(text)
            if parsed is None and text.strip().lower() in _INFINITE:
                cleaned["infinite_time_as_null"] += 1
            elif parsed is None:
                bad[row] = True
            else:
                value, naive[row], is_rounded = parsed
                cleaned["microseconds_rounded"] += is_rounded
        micros.append(value)
    return pa.array(micros, pa.int64()).cast(US_UTC), naive, bad if bad.any() else None


def to_date(array: pa.Array) -> Converted:
    kind = array.type
    cleaned: Counter[str] = Counter()
    bad: np.ndarray | None = None
    if pa.types.is_timestamp(kind):
        sayable, bad = _sayable(array)
        micros = _microseconds(sayable, cleaned).cast(pa.int64())
        whole, rest = np.divmod(micros.fill_null(0).to_numpy(), 86_400_000_000)
        if rest.any():
            return Converted(array, wider="timestamptz" if kind.tz else "timestamp")
        days = pc.if_else(pc.is_valid(micros), pa.array(whole, pa.int64()), None)
    elif pa.types.is_date(kind):
        days = array.cast(pa.int32()).cast(pa.int64())
    elif is_text(kind):
        try:
            days = array.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
        except pa.ArrowInvalid:
            micros, naive, bad = _times_from_text(array, cleaned)
            numbers = micros.cast(pa.int64()).to_pylist()
            if any(number is not None and number % 86_400_000_000 for number in numbers):
                return Converted(array, wider="timestamp" if naive.any() else "timestamptz")
            days = pa.array(
                [None if number is None else number // 86_400_000_000 for number in numbers],
                pa.int64(),
            )
    else:
        return another(array, "date")
    checked = _in_range(days, pa.date32(), bad, cleaned) if _days_fit(days) else None
    if checked is None:
        return Converted(array, wider="text")
    return checked


def _days_fit(days: pa.Array) -> bool:
    bounds = pc.min_max(days)
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    return least is None or (least >= -(2**31) and most < 2**31)
