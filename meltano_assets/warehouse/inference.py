"""Types from values, for files that declare none: recognised conservatively.

A column is a number, a truth value, a time or JSON only if every value is written as the warehouse
would write it, so that turning it back to text later gives the same text. Leading zeros, plus signs,
thousands separators and padded values stay text; whole numbers beyond 64 bits become numeric.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.types import join

_NUMERIC = r"^(?:0|-?[1-9][0-9]*|(?:0|-?[1-9][0-9]*)\.[0-9]+|-0\.[0-9]*[1-9][0-9]*)$"
#: Once a column is numeric, every way in which JSON writes a number goes.
_NUMERIC_LATER = (
    r"^(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|NaN|-?Infinity|nan|-?inf)$"
)

_HEAD = 100

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
        if expected == kind == "numeric" and _all_match(array, _NUMERIC_LATER):
            return kind
        if _all_match(array, pattern):
            return kind
    return "text"


def _all_match(array: pa.Array, pattern: str) -> bool:
    # Most patterns fail at once; the whole array is looked at only for those that don't.
    head = pc.all(pc.match_substring_regex(array.slice(0, _HEAD), pattern)).as_py()
    return head is not False and bool(pc.all(pc.match_substring_regex(array, pattern)).as_py())


def widened(present: ColumnType, array: pa.Array) -> ColumnType:
    """The type of a column that so far was ``present``, after these texts."""
    found = infer(array, present)
    return present if found is None else join(present, found)
