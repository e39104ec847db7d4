"""What the converters of a column's values share: what they return, and small questions about arrays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.types import from_arrow, join

US = pa.timestamp("us")
US_UTC = pa.timestamp("us", "UTC")

#: The Arrow type that stands for a column in which a batch has nothing but nulls.
NULL_WIRE: dict[ColumnType, pa.DataType] = {
    "text": pa.string(),
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "numeric": pa.decimal128(20, 0),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp": US,
    "timestamptz": US_UTC,
    "jsonb": pa.string(),
    "uuid": pa.binary(16),
    "inet": pa.binary(),
    "bytea": pa.binary(),
    "own": pa.string(),
}


@dataclass(slots=True)
class Converted:
    """An array for the wire. ``bad`` marks rows to quarantine; ``wider`` asks for another type."""

    array: pa.Array
    bad: np.ndarray | None = None
    wider: ColumnType | None = None
    cleaned: Counter[str] = field(default_factory=Counter)


def is_text(arrow_type: pa.DataType) -> bool:
    """True for Arrow's three kinds of strings."""
    kinds = pa.types
    return bool(
        kinds.is_string(arrow_type)
        or kinds.is_large_string(arrow_type)
        or kinds.is_string_view(arrow_type)
    )


def is_bytes(arrow_type: pa.DataType) -> bool:
    """True for Arrow's kinds of byte strings."""
    return from_arrow(arrow_type) == "bytea" if not is_text(arrow_type) else False


def another(array: pa.Array, target: ColumnType) -> Converted:
    """The declared type cannot say what this Arrow type holds."""
    return Converted(array, wider=join(target, from_arrow(array.type)))


def text_bytes(array: pa.Array) -> bytes:
    """The bytes of all of an array's strings, one after the other (and of what a null may hide)."""
    data = array.buffers()[2]
    if data is None or not len(array):
        return b""
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    offsets = np.frombuffer(array.buffers()[1], dtype=width)
    start, end = int(offsets[array.offset]), int(offsets[array.offset + len(array)])
    return bytes(data.slice(start, end - start).to_pybytes())


def mask(array: pa.Array) -> np.ndarray:
    """A boolean Arrow array as numpy, null counted as False."""
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)


def within(
    array: pa.Array, numbers: pa.Array, low: int, high: int
) -> tuple[pa.Array, np.ndarray | None]:
    """The array with null for what is not between the two, and which that is."""
    outside = mask(pc.or_(pc.less(numbers, low), pc.greater(numbers, high)))
    if not outside.any():
        return array, None
    return pc.if_else(pa.array(outside), pa.scalar(None, array.type), array), outside
