"""Decimal text to Postgres' binary ``numeric``, exact to the last digit and with its own scale.

Numbers of up to 15 digits go through numpy, all at once, into a fixed frame of six base-10,000
digits (Postgres strips the zero ones); longer ones and exponents one by one.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_GROUPS = 6
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
    texts = pl.Series(array)
    frame = pl.DataFrame({"text": texts}).select(
        plain=pl.col("text").str.contains(r"^-?[0-9]{1,15}(\.[0-9]{0,15})?$"),
        unscaled=pl.col("text").str.replace(".", "", literal=True).cast(pl.Int64, strict=False),
        scale=(
            pl.col("text").str.len_bytes() - pl.col("text").str.find(".", literal=True) - 1
        ).fill_null(0),
        negative=pl.col("text").str.starts_with("-"),
    )
    scale = frame["scale"].fill_null(0).to_numpy().astype(np.int64)
    unscaled = np.abs(frame["unscaled"].fill_null(0).to_numpy())
    is_null = texts.is_null().to_numpy()
    fits = frame["plain"].fill_null(value=False).to_numpy() & (unscaled < 10**15)
    fits &= frame["unscaled"].is_not_null().to_numpy()
    negative = frame["negative"].fill_null(value=False).to_numpy() & (unscaled != 0)
    frames = _frames(np.where(fits, unscaled, 0), np.where(fits, scale, 0), negative)
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


def _frames(unscaled: np.ndarray, scale: np.ndarray, negative: np.ndarray) -> np.ndarray:
    frames = np.zeros(len(unscaled), dtype=_FRAME)
    groups_after_point = -(-scale // 4)
    rest = unscaled * 10 ** (groups_after_point * 4 - scale)
    digits = np.empty((len(unscaled), _GROUPS), dtype=np.int64)
    for group in range(_GROUPS - 1, -1, -1):
        rest, digits[:, group] = np.divmod(rest, 10_000)
    frames["count"] = _GROUPS
    frames["weight"] = _GROUPS - 1 - groups_after_point
    frames["sign"] = np.where(negative, _NEGATIVE, 0)
    frames["scale"] = scale
    frames["digits"] = digits
    return frames


def _fixed(frames: np.ndarray, is_null: np.ndarray) -> pa.Array:
    valid = None
    if is_null.any():
        valid = pa.py_buffer(np.packbits(~is_null, bitorder="little").tobytes())
    kind = pa.binary(_FRAME.itemsize)
    return pa.Array.from_buffers(kind, len(frames), [valid, pa.py_buffer(frames.tobytes())])
