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

from meltano_assets.warehouse.converted import mask, text_bytes

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

#: A number whose digits fit into the frame, and the type that holds it when multiplied by 10^16.
_PLAIN = r"^-?[0-9]{1,16}(\.[0-9]{0,16})?$"
_FRAME_DECIMAL = pa.decimal128(8 * _SIDE, 4 * _SIDE)
_E4, _E8, _FIVES = np.uint32(10**4), np.uint64(10**8), np.uint64(5**16)

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
    is_null = ~mask(pc.is_valid(array))
    slow = np.zeros(len(array), dtype=bool)
    numbers = None if _may_hold_exponent(array) else _parsed(array)
    if numbers is None:
        # Looked at one by one in this order only: text that is no number, an exponent, many digits.
        slow = ~mask(pc.match_substring_regex(array, _PLAIN)) & ~is_null
        plain = pc.if_else(pa.array(slow), pa.scalar(None, array.type), array)
        numbers = _parsed(plain)
        assert numbers is not None
        frames = _frames(numbers, _scales(plain))
    else:
        frames = _frames(numbers, _scales(array))
    if not slow.any():
        return Numerics(_fixed(frames, is_null))
    encoded: list[bytes | None] = []
    bad = np.zeros(len(array), dtype=bool)
    for row in np.flatnonzero(slow):
        number = parse(array[int(row)].as_py())
        value = None if number is None else encode(number)
        bad[row] = value is None
        encoded.append(value)
    wide = _fixed(frames, is_null).cast(pa.binary())
    wide = pc.replace_with_mask(wide, pa.array(slow), pa.array(encoded, pa.binary()))
    return Numerics(wide, bad if bad.any() else None)


def _may_hold_exponent(array: pa.Array) -> bool:
    """A quick look at the bytes behind the strings; no false negatives."""
    text = text_bytes(array)
    return b"e" in text or b"E" in text


def _parsed(array: pa.Array) -> pa.Array | None:
    """Each number times 10^16, as 128 bits; None when one has more digits or is no number."""
    try:
        return array.cast(_FRAME_DECIMAL)
    except pa.ArrowInvalid:
        return None


def _scales(array: pa.Array) -> np.ndarray:
    """How many digits stand after the point of each number; 0 for null."""
    point = pc.find_substring(array, ".").fill_null(-1).to_numpy()
    size = pc.binary_length(array).fill_null(0).to_numpy()
    return np.where(point < 0, 0, size - point - 1)


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


def _frames(numbers: pa.Array, scale: np.ndarray) -> np.ndarray:
    """The frames of numbers that were multiplied by 10^16; null is 0."""
    low, high, negative = _magnitudes(numbers)
    frames = np.empty(len(numbers), dtype=_FRAME)
    frames["count"] = _GROUPS
    frames["weight"] = _SIDE - 1
    frames["sign"] = np.where(negative, _NEGATIVE, 0)
    frames["scale"] = scale
    for side, part in enumerate(_sides(low, high)):
        left = part // _E8
        for half, eight in enumerate((left, part - left * _E8)):
            group = eight.astype(np.uint32)
            upper = group // _E4
            place = side * _SIDE + 2 * half
            frames["digits"][:, place] = upper
            frames["digits"][:, place + 1] = group - upper * _E4
    return frames


def _magnitudes(numbers: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lower and upper 64 bits of each absolute value, and which are negative."""
    words = np.frombuffer(numbers.buffers()[1], "<u8").reshape(-1, 2)
    words = words[numbers.offset : numbers.offset + len(numbers)]
    low, high = words[:, 0].copy(), words[:, 1].copy()
    if numbers.null_count:
        is_null = ~mask(pc.is_valid(numbers))
        low[is_null] = high[is_null] = 0
    negative = high >> np.uint64(63) != 0
    low[negative] = ~low[negative] + np.uint64(1)
    high[negative] = ~high[negative] + (low[negative] == 0)
    return low, high, negative


def _sides(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """128 bits divided by 10^16: the digits before the point, and those after it.

    10^16 is 2^16 times 5^16. The first is a shift; the second has 38 bits, so that a long division
    by limbs of 26 bits stays within 64.
    """
    below = low & np.uint64(0xFFFF)
    low, high = (low >> np.uint64(16)) | (high << np.uint64(48)), high >> np.uint64(16)
    limb = np.uint64((1 << 26) - 1)
    limbs = (
        (low >> np.uint64(52)) | ((high << np.uint64(12)) & limb),
        (low >> np.uint64(26)) & limb,
        low & limb,
    )
    rest = high >> np.uint64(14)
    whole = np.zeros_like(low)
    for each in limbs:
        rest = (rest << np.uint64(26)) | each
        quotient = rest // _FIVES
        rest -= quotient * _FIVES
        whole = (whole << np.uint64(26)) + quotient
    return whole, (rest << np.uint64(16)) | below


def _fixed(frames: np.ndarray, is_null: np.ndarray) -> pa.Array:
    valid = None
    if is_null.any():
        valid = pa.py_buffer(np.packbits(~is_null, bitorder="little").tobytes())
    kind = pa.binary(_FRAME.itemsize)
    return pa.Array.from_buffers(kind, len(frames), [valid, pa.py_buffer(frames.tobytes())])
