"""Types from values, for files that declare none: recognised conservatively.

A column is a number, a truth value, a time or JSON only if every value is written as the warehouse
would write it, so that turning it back to text later gives the same text. Leading zeros, plus signs,
thousands separators and padded values stay text; whole numbers beyond 64 bits become numeric.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.converted import text_bytes
from meltano_assets.warehouse.types import join

_NUMERIC = r"^(?:0|-?[1-9][0-9]*|(?:0|-?[1-9][0-9]*)\.[0-9]+|-0\.[0-9]*[1-9][0-9]*)$"
#: Once a column is numeric, every way in which JSON writes a number goes.
_NUMERIC_LATER = (
    r"^(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|NaN|-?Infinity|nan|-?inf)$"
)

_HEAD = 100

#: Every digit as 0.
_DIGITS = bytes(ord("0") if chr(code) in "0123456789" else code for code in range(256))

_PATTERNS: tuple[tuple[ColumnType, str], ...] = (
    ("boolean", r"^(?:true|false)$"),
    ("bigint", r"^(?:0|-?[1-9][0-9]{0,17})$"),
    ("numeric", _NUMERIC),
    ("date", r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])$"),
    (
        "timestamptz",
        r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
        r"(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?$",
    ),
    ("jsonb", r"^(?:\{[\s\S]*\}|\[[\s\S]*\])$"),
)


def infer(array: pa.Array, expected: ColumnType | None = None) -> ColumnType | None:
    """The narrowest type that all texts are written in; None when there is nothing but nulls.

    ``expected`` is tried first, which is all that a column usually needs after its first batch.
    """
    if array.null_count == len(array):
        return None
    if expected == "text":
        return "text"
    if expected == "jsonb":
        # Any JSON value may stand in such a column; what is none shows when it is converted.
        return "jsonb"
    order = sorted(_PATTERNS, key=lambda one: one[0] != expected)
    for kind, pattern in order:
        if expected == kind == "numeric" and _all_match(array, kind, _NUMERIC_LATER):
            return kind
        if _all_match(array, kind, pattern):
            return kind
    return "text"


def _all_match(array: pa.Array, kind: ColumnType, pattern: str) -> bool:
    # Most patterns fail at once; the whole array is looked at only for those that don't.
    head = pc.all(pc.match_substring_regex(array.slice(0, _HEAD), pattern)).as_py()
    if head is False:
        return False
    if quick := _QUICK.get(kind):
        sure = quick(array)
        if sure is not None:
            return sure
    return bool(pc.all(pc.match_substring_regex(array, pattern)).as_py())


def _are_whole(array: pa.Array) -> bool | None:
    """Whole numbers of up to 18 digits are what is written again as it was; None when unsure."""
    try:
        numbers = array.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    bounds = pc.min_max(numbers)
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    is_short = least is None or (least > -(10**18) and most < 10**18)
    return is_short and pc.all(pc.equal(numbers.cast(array.type), array)).as_py() is not False


def _are_times(array: pa.Array) -> bool | None:
    """Times that are all written alike are what one of them is; None for any others.

    A month or a day that is none shows when they are converted.
    """
    texts = array.drop_null()
    lengths = pc.min_max(pc.binary_length(texts))
    size = lengths["min"].as_py()
    if not size or size != lengths["max"].as_py():
        return None
    shapes = text_bytes(texts).translate(_DIGITS)
    return True if shapes == shapes[:size] * len(texts) else None


_QUICK: dict[ColumnType, Callable[[pa.Array], bool | None]] = {
    "bigint": _are_whole,
    "date": _are_times,
    "timestamptz": _are_times,
}


def widened(present: ColumnType, array: pa.Array) -> ColumnType:
    """The type of a column that so far was ``present``, after these texts."""
    found = infer(array, present)
    return present if found is None else join(present, found)
