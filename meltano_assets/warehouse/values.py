"""Values on their way into Postgres: one rule for each that a column cannot take as it is.

``convert`` takes an Arrow array and the column's type and gives an array whose bytes Postgres
accepts, the rules that changed a value (counted), the rows that contradict the type, and, when the
column's type is too narrow, the wider type to convert to instead. The work is done per array; single
values are looked at only after a whole array was refused. The rules are written out in
docs/loading.md.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.streams import ColumnType
from meltano_assets.warehouse import json_values, numeric_values
from meltano_assets.warehouse.converted import (
    NULL_WIRE,
    Converted,
    another,
    is_bytes,
    is_text,
    mask,
    text_bytes,
)
from meltano_assets.warehouse.time_columns import to_date, to_timestamp, writable
from meltano_assets.warehouse.time_values import duration_text, interval_text
from meltano_assets.warehouse.types import from_arrow, join


def convert(array: pa.Array, target: ColumnType) -> Converted:
    """The array as Postgres' ``target`` takes it; never a value silently altered."""
    if isinstance(array.type, pa.UuidType) and target in ("text", "jsonb"):
        array = _uuid_texts(array.storage, is_json=target == "jsonb")
    array = _plain(array)
    if pa.types.is_null(array.type):
        return Converted(pa.nulls(len(array), NULL_WIRE[target]))
    if is_text(array.type) and target not in _TAKE_ANY_BYTES and not _is_utf8(array):
        # No number and no time is written in it, and parsers of text trust that it is text.
        texts = [_decoded(raw) for raw in array.cast(pa.large_binary()).to_pylist()]
        readable = pa.array(texts, pa.large_string())
        broken = mask(pc.is_valid(array)) & ~mask(pc.is_valid(readable))
        converted = _CONVERTERS[target](readable)
        converted.bad = broken if converted.bad is None else converted.bad | broken
        return converted
    return _CONVERTERS[target](array)


#: Types with a rule of their own for text that is not UTF-8.
_TAKE_ANY_BYTES: tuple[ColumnType, ...] = ("text", "jsonb", "bytea", "own")


def _is_utf8(array: pa.Array) -> bool:
    """True when all text is what it says to be; much quicker than any parser of it."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


def _plain(array: pa.Array) -> pa.Array:
    """Without dictionary, run-end or extension encoding, and without views, which few kernels take."""
    while True:
        if pa.types.is_date64(array.type):
            return _whole_days(array)
        if isinstance(array.type, pa.Bool8Type):
            array = array.storage.cast(pa.bool_())
        elif isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            words = _plain(array.dictionary)
            array = pa.DictionaryArray.from_arrays(array.indices, words).dictionary_decode()
        elif pa.types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        elif pa.types.is_string_view(array.type):
            array = array.cast(pa.large_string())
        elif pa.types.is_binary_view(array.type):
            array = array.cast(pa.large_binary())
        else:
            return array


def _whole_days(array: pa.Array) -> pa.Array:
    """Dates in milliseconds as dates in days; as times, where one is no whole day or too far away."""
    try:
        return array.cast(pa.date32())
    except pa.ArrowInvalid:
        return array.view(pa.timestamp("ms"))


# text


def clean_text(array: pa.Array, cleaned: Counter[str]) -> pa.Array:
    """Text that Postgres stores: NUL and what is not UTF-8 become U+FFFD."""
    if not _is_utf8(array):
        texts: list[str | None] = []
        for raw in array.cast(pa.large_binary()).to_pylist():
            text = None if raw is None else raw.decode("utf-8", "replace")
            cleaned["invalid_utf8"] += int(text is not None and text.encode() != raw)
            texts.append(text)
        array = pa.array(texts, pa.large_string())
    if _may_hold_nul(array):
        found = mask(pc.match_substring(array, "\x00"))
        if found.any():
            cleaned["nul"] += int(found.sum())
            array = pc.replace_substring(array, "\x00", "\ufffd")
    return array


def _may_hold_nul(array: pa.Array) -> bool:
    """A quick look at the bytes behind the strings; no false negatives."""
    data = array.buffers()[2]
    if data is None or data.size == 0:
        return False
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    offsets = np.frombuffer(array.buffers()[1], dtype=width)
    start, end = offsets[array.offset], offsets[array.offset + len(array)]
    return start < end and bool(np.frombuffer(data, np.uint8)[start:end].min() == 0)


def _to_text(array: pa.Array) -> Converted:
    cleaned: Counter[str] = Counter()
    bad: np.ndarray | None = None
    if pa.types.is_nested(array.type):
        array, bad = json_values.from_nested(array, cleaned)
    elif not is_text(array.type):
        array, bad = writable(array)
        array = as_text(array)
    return Converted(clean_text(array, cleaned), bad=bad, cleaned=cleaned)


def as_text(array: pa.Array) -> pa.Array:
    """An array of single values as the text a person would write for them."""
    kind = array.type
    if is_bytes(kind):
        texts = [None if value is None else value.hex() for value in array.to_pylist()]
        return pa.array(texts, pa.large_string())
    if pa.types.is_timestamp(kind):
        exact = array.cast(pa.timestamp(kind.unit))
        return pc.strftime(exact, format="%Y-%m-%d %H:%M:%S" + ("+00" if kind.tz else ""))
    if pa.types.is_decimal(kind):
        texts = [None if value is None else format(value, "f") for value in array.to_pylist()]
        return pa.array(texts, pa.large_string())
    if pa.types.is_duration(kind):
        return _durations(array)
    if pa.types.is_interval(kind):
        texts = [None if value is None else interval_text(*value) for value in array.to_pylist()]
        return pa.array(texts, pa.large_string())
    return array.cast(pa.string())


def _durations(array: pa.Array) -> pa.Array:
    """ISO 8601, which Postgres reads as an interval: the bare number would not tell its unit."""
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[array.type.unit]
    texts = [
        None if number is None else duration_text(number, scale)
        for number in array.cast(pa.int64()).to_pylist()
    ]
    return pa.array(texts, pa.large_string())


def _to_own(array: pa.Array) -> Converted:
    """Text that Postgres casts, lists and structs as JSON (``own_types.py``)."""
    kind = array.type
    if is_bytes(kind):
        # As Postgres writes bytes: without the sign of it, hexadecimal digits would be bytes of their own.
        return Converted(pc.binary_join_element_wise("\\x", as_text(array), ""))
    if pa.types.is_nested(kind) and json_values.holds(kind, is_bytes):
        return Converted(pa.nulls(len(array), pa.string()), bad=mask(pc.is_valid(array)))
    return _to_text(array)


# numbers

_NEGATIVE_ZERO = r"^\s*-(?:0+\.?0*|\.0+)(?:[eE][+-]?[0-9]+)?\s*$"


def _negative_zeros(texts: pa.Array) -> Counter[str]:
    """Count the zeros with a sign, which only floating point numbers keep."""
    written = text_bytes(texts)
    if b"-0" not in written and b"-." not in written:
        return Counter()
    found = pc.sum(pc.match_substring_regex(texts, _NEGATIVE_ZERO)).as_py()
    return Counter(negative_zero=found or 0)


def _to_integer(array: pa.Array, target: ColumnType) -> Converted:
    wire = NULL_WIRE[target]
    kind = array.type
    if pa.types.is_integer(kind):
        try:
            return Converted(array.cast(wire))
        except pa.ArrowInvalid:
            return Converted(array, wider=join(target, from_arrow(kind)))
    if pa.types.is_floating(kind):
        numbers = array.cast(pa.float64())
        finite = mask(pc.is_finite(numbers)) | ~mask(pc.is_valid(numbers))
        usable = numbers if finite.all() else pc.if_else(pa.array(finite), numbers, None)
        try:
            return Converted(
                usable.cast(wire),
                bad=None if finite.all() else ~finite,
                cleaned=_negative_zeros(numbers.cast(pa.string())),
            )
        except pa.ArrowInvalid:
            return Converted(array, wider=_wider_integer(usable, target))
    if pa.types.is_decimal(kind):
        try:
            return Converted(array.cast(wire))
        except pa.ArrowInvalid:
            return Converted(array, wider=_wider_integer(array, target))
    if is_text(kind):
        converted = _integers_from_text(array, target)
        converted.cleaned.update(_negative_zeros(array))
        return converted
    return another(array, target)


def _wider_integer(array: pa.Array, target: ColumnType) -> ColumnType:
    if target == "integer":
        try:
            array.cast(pa.int64())
        except pa.ArrowInvalid:
            return "numeric"
        return "bigint"
    return "numeric"


def _integers_from_text(array: pa.Array, target: ColumnType) -> Converted:
    # Arrow takes hexadecimal numbers, too.
    if b"x" not in (text := text_bytes(array)) and b"X" not in text:
        try:
            return Converted(array.cast(NULL_WIRE[target]))
        except pa.ArrowInvalid:
            pass
    numeric = numeric_values.from_text(array)
    if numeric.bad is not None and numeric.bad.all():
        return Converted(pa.nulls(len(array), NULL_WIRE[target]), bad=numeric.bad)
    if numeric.bad is not None:
        array = pc.if_else(pa.array(numeric.bad), None, array)
    exact = pc.match_substring_regex(array, r"^[+-]?[0-9]+(\.0*)?$")
    if pc.all(exact).as_py() is False:
        special = mask(pc.match_substring_regex(array, r"(?i)^\s*[+-]?(nan|inf)"))
        if special.any():
            bad = special if numeric.bad is None else special | numeric.bad
            rest = _integers_from_text(pc.if_else(pa.array(special), None, array), target)
            rest.bad = bad if rest.bad is None else rest.bad | bad
            return rest
        return Converted(array, wider="numeric")
    plain = pc.replace_substring_regex(array, r"^\+|\.0*$", "")
    try:
        return Converted(plain.cast(NULL_WIRE[target]), bad=numeric.bad)
    except pa.ArrowInvalid:
        return Converted(array, wider=_wider_integer(plain, target))


def _to_numeric(array: pa.Array) -> Converted:
    kind = array.type
    if pa.types.is_decimal128(kind) and kind.scale >= 0:
        return Converted(array)
    if pa.types.is_integer(kind):
        return Converted(array.cast(pa.decimal128(20, 0)))
    if pa.types.is_floating(kind):
        array = array.cast(pa.float64()).cast(pa.string())
        converted = numeric_values.from_text(array)
    elif pa.types.is_decimal(kind):
        converted = numeric_values.from_decimals(array)
    elif is_text(kind):
        converted = numeric_values.from_text(array)
    else:
        return another(array, "numeric")
    cleaned = _negative_zeros(array) if is_text(array.type) else Counter[str]()
    return Converted(converted.array, bad=converted.bad, cleaned=cleaned)


def _to_double(array: pa.Array) -> Converted:
    kind = array.type
    if pa.types.is_floating(kind):
        return Converted(array.cast(pa.float64()))
    if pa.types.is_integer(kind):
        try:
            return Converted(array.cast(pa.float64()))
        except pa.ArrowInvalid:
            return Converted(array, wider="numeric")
    if pa.types.is_decimal(kind):
        return Converted(array, wider="numeric")
    if is_text(kind):
        return _doubles_from_text(array)
    return another(array, "double precision")


def _doubles_from_text(array: pa.Array) -> Converted:
    try:
        doubles = array.cast(pa.float64())
        bad = None
    except pa.ArrowInvalid:
        import polars as pl  # slow to import, seldom needed

        parsed = pl.Series(array).str.strip_chars().cast(pl.Float64, strict=False)
        bad = mask(pc.is_valid(array)) & parsed.is_null().to_numpy()
        doubles = parsed.to_arrow()
        array = pc.if_else(pa.array(bad), None, array)
    # A long number would lose digits in a double: 9007199254740993, 0.12345678901234567890.
    long = mask(pc.match_substring_regex(array, r"[0-9.]{16,}"))
    if long.any() and _loses_digits(array.filter(pa.array(long))):
        return Converted(array, wider="numeric")
    return Converted(doubles, bad=bad)


def _loses_digits(array: pa.Array) -> bool:
    return any(
        numeric_values.parse(text) != numeric_values.parse(repr(float(text)))
        for text in array.to_pylist()
    )


# truth


def _to_boolean(array: pa.Array) -> Converted:
    kind = array.type
    if pa.types.is_boolean(kind):
        return Converted(array)
    if pa.types.is_integer(kind):
        if pc.all(pc.is_in(array, pa.array([0, 1, None], kind))).as_py() is not False:
            return Converted(array.cast(pa.bool_()))
        return another(array, "boolean")
    if is_text(kind):
        true = pc.equal(array, "true")
        if pc.all(pc.or_(true, pc.equal(array, "false"))).as_py() is not False:
            return Converted(true)
        lower = pc.utf8_lower(pc.utf8_trim_whitespace(array))
        true = pc.is_in(lower, pa.array(["true", "t", "1"], lower.type))
        false = pc.is_in(lower, pa.array(["false", "f", "0"], lower.type))
        known = pc.or_(true, false)
        bad = mask(pc.is_valid(array)) & ~mask(known)
        values = pc.if_else(known, true, None)
        return Converted(values, bad=bad if bad.any() else None)
    return another(array, "boolean")


# other things


def _to_jsonb(array: pa.Array) -> Converted:
    cleaned: Counter[str] = Counter()
    bad: np.ndarray | None = None
    if is_text(array.type):
        array = clean_text(array, cleaned)
        array, bad = json_values.checked(array, cleaned)
    elif pa.types.is_nested(array.type):
        array, unsayable = json_values.from_nested(array, cleaned)
        array, bad = json_values.checked(array, cleaned)
        if unsayable is not None:
            bad = unsayable if bad is None else bad | unsayable
    elif pa.types.is_boolean(array.type) or pa.types.is_integer(array.type):
        array = array.cast(pa.string())
    else:
        array, bad = json_values.from_nested(array, cleaned)
    return Converted(array, bad=bad, cleaned=cleaned)


def _to_uuid(array: pa.Array) -> Converted:
    kind = array.type
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return Converted(array)
    if not is_text(kind):
        return another(array, "uuid")
    import polars as pl  # slow to import, seldom needed

    text = pl.Series(array)
    digits = text.str.to_lowercase().str.strip_chars("{} ").str.replace_all("-", "", literal=True)
    good = digits.str.contains("^[0-9a-f]{32}$").fill_null(value=False)
    raw = pl.select(pl.when(good).then(digits).otherwise(None)).to_series().str.decode("hex")
    bad = (text.is_not_null() & ~good).to_numpy()
    wire = raw.to_arrow().cast(pa.large_binary())
    return Converted(wire, bad=bad if bad.any() else None)


def _uuid_texts(array: pa.Array, *, is_json: bool) -> pa.Array:
    """Sixteen bytes each in the form that everybody writes, as text or as JSON."""
    import polars as pl  # slow to import, seldom needed

    digits = pl.Series(array.cast(pa.binary())).bin.encode("hex").to_arrow().cast(pa.string())
    places = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
    texts = pc.binary_join_element_wise(
        *(pc.utf8_slice_codeunits(digits, start, end) for start, end in places), "-"
    )
    return pc.binary_join_element_wise('"', texts, '"', "") if is_json else texts


def _to_inet(array: pa.Array) -> Converted:
    if not is_text(array.type):
        return another(array, "inet")
    words = pc.dictionary_encode(array)
    packed = [_inet_bytes(text) for text in words.dictionary.to_pylist()]
    wire = pc.take(pa.array(packed, pa.binary()), words.indices)
    bad = mask(pc.is_valid(array)) & ~mask(pc.is_valid(wire))
    return Converted(wire, bad=bad if bad.any() else None)


def _inet_bytes(text: str) -> bytes | None:
    """Postgres' binary form: family, bits, is_cidr, length, address."""
    try:
        interface = ipaddress.ip_interface(text.strip())
    except ValueError:
        return None
    if getattr(interface, "scope_id", None):
        return None
    address = interface.packed
    return bytes([2 if len(address) == 4 else 3, interface.network.prefixlen, 0, len(address)]) + (
        address
    )


def _to_bytea(array: pa.Array) -> Converted:
    if is_bytes(array.type):
        return Converted(array)
    if is_text(array.type):
        return Converted(array.cast(pa.large_string()).cast(pa.large_binary()))
    return another(array, "bytea")


_CONVERTERS: dict[ColumnType, Callable[[pa.Array], Converted]] = {
    "text": _to_text,
    "boolean": _to_boolean,
    "integer": lambda array: _to_integer(array, "integer"),
    "bigint": lambda array: _to_integer(array, "bigint"),
    "numeric": _to_numeric,
    "double precision": _to_double,
    "date": to_date,
    "timestamp": lambda array: to_timestamp(array, "timestamp"),
    "timestamptz": lambda array: to_timestamp(array, "timestamptz"),
    "jsonb": _to_jsonb,
    "uuid": _to_uuid,
    "inet": _to_inet,
    "bytea": _to_bytea,
    "own": _to_own,
}
