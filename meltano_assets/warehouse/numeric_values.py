"""Decimal text to Postgres' binary ``numeric``, exact to the last digit and with its own scale.

Numbers of up to 16 digits on either side of the point go through numpy, all at once, into a fixed frame
of eight base-10,000 digits (Postgres strips the zero ones); longer ones and exponents one by one.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Groups of four digits before the point, and as many after it.
_SIDE = 4
_GROUPS = 2 * _SIDE
_FRAME = np.dtype(
    [
        ("count", ">i2"),
        ("weight", ">i2"),
        ("sign", ">u2"),
        ("scale", ">u2"),
        ("digits", ">i2", (_GROUPS,)),
    ]
)
_NEGATIVE, _NAN, _INFINITY, _MINUS_INFINITY = 0x4000, 0xC000, 0xD000, 0xF000

#: Postgres' limits: digits before the point and after it.
_MAX_INTEGER_DIGITS = 131_072
_MAX_SCALE = 16_383

_NUMBER = re.compile(
    r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf(?:inity)?)\s*", re.I | re.A
)


@dataclass(frozen=True, slots=True)
class Numerics:
    """Values in Postgres' binary form, and the rows that are no numbers."""

    array: pa.Array
    bad: np.ndarray | None = None


def parse(text: str) -> Decimal | None:
    """The number that a text says, NaN and infinities included, else None."""
    return Decimal(text.strip()) if _NUMBER.fullmatch(text) else None


def from_text(array: pa.Array) -> Numerics:
    """Text → numeric, each value with the scale in which it is written."""
    import polars as pl  # a third of what starting a process takes

    texts = pl.Series(array)
    sides = pl.col("text").str.split_exact(".", 1)
    frame = pl.DataFrame({"text": texts}).select(
        plain=pl.col("text").str.contains(r"^-?[0-9]{1,16}(\.[0-9]{0,16})?$"),
        whole=sides.struct.field("field_0").str.strip_prefix("-").cast(pl.Int64, strict=False),
        fraction=sides.struct.field("field_1").cast(pl.Int64, strict=False),
        scale=sides.struct.field("field_1").str.len_bytes(),
        negative=pl.col("text").str.starts_with("-"),
    )
    is_null = texts.is_null().to_numpy()
    fits = frame["plain"].fill_null(value=False).to_numpy()
    numbers = {
        name: np.where(fits, frame[name].fill_null(0).to_numpy(), 0).astype(np.int64)
        for name in ("whole", "fraction", "scale")
    }
    negative = frame["negative"].fill_null(value=False).to_numpy()
    frames = _frames(**numbers, negative=negative)
    slow = ~fits & ~is_null
    if not slow.any():
        return Numerics(_fixed(frames, is_null))
    encoded: list[bytes | None] = []
    bad = np.zeros(len(texts), dtype=bool)
    for row in np.flatnonzero(slow):
        number = parse(texts[int(row)])
        value = None if number is None else encode(number)
        bad[row] = value is None
        encoded.append(value)
    wide = _fixed(frames, is_null).cast(pa.binary())
    wide = pc.replace_with_mask(wide, pa.array(slow), pa.array(encoded, pa.binary()))
    return Numerics(wide, bad if bad.any() else None)


def from_decimals(array: pa.Array) -> Numerics:
    """Arrow decimals of any width and scale → numeric."""
    if array.type.scale >= 0:
        try:
            return Numerics(array.cast(pa.decimal128(38, array.type.scale)))
        except pa.ArrowInvalid:
            pass
    values = [None if value is None else encode(value) for value in array.to_pylist()]
    return Numerics(pa.array(values, pa.binary()))


def encode(number: Decimal) -> bytes | None:
    """Postgres' binary form of one number; None when it is beyond Postgres' limits."""
    sign, digits, exponent = number.as_tuple()
    if exponent in ("n", "N"):
        return struct.pack(">hhHH", 0, 0, _NAN, 0)
    if exponent == "F":
        return struct.pack(">hhHH", 0, 0, _MINUS_INFINITY if sign else _INFINITY, 0)
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    if not number:
        return struct.pack(">hhHH", 0, 0, 0, min(scale, _MAX_SCALE))
    if len(digits) + exponent > _MAX_INTEGER_DIGITS or scale > _MAX_SCALE:
        return None
    text = "".join(map(str, digits))
    # Align to groups of four around the decimal point.
    text += "0" * (exponent % 4)
    groups_after_point = -(exponent // 4)
    text = text.zfill(-(-len(text) // 4) * 4)
    groups = [int(text[start : start + 4]) for start in range(0, len(text), 4)]
    weight = len(groups) - groups_after_point - 1
    while groups and groups[-1] == 0:
        groups.pop()
    header = struct.pack(">hhHH", len(groups), weight, _NEGATIVE if sign else 0, scale)
    return header + struct.pack(f">{len(groups)}h", *groups)


def _frames(
    whole: np.ndarray, fraction: np.ndarray, scale: np.ndarray, negative: np.ndarray
) -> np.ndarray:
    frames = np.zeros(len(whole), dtype=_FRAME)
    digits = np.empty((len(whole), _GROUPS), dtype=np.int64)
    for side, number in enumerate((whole, fraction * 10 ** (4 * _SIDE - scale))):
        rest = number
        for group in range(_SIDE - 1, -1, -1):
            rest, digits[:, side * _SIDE + group] = np.divmod(rest, 10_000)
    frames["count"] = _GROUPS
    frames["weight"] = _SIDE - 1
    frames["sign"] = np.where(negative & ((whole != 0) | (fraction != 0)), _NEGATIVE, 0)
    frames["scale"] = scale
    frames["digits"] = digits
    return frames


def _fixed(frames: np.ndarray, is_null: np.ndarray) -> pa.Array:
    valid = None
    if is_null.any():
        valid = pa.py_buffer(np.packbits(~is_null, bitorder="little").tobytes())
    kind = pa.binary(_FRAME.itemsize)
    return pa.Array.from_buffers(kind, len(frames), [valid, pa.py_buffer(frames.tobytes())])
