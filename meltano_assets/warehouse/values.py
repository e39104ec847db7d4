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
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.streams import ColumnType
from meltano_assets.warehouse import json_values, numeric_values
from meltano_assets.warehouse.time_values import duration_text, interval_text, parse_time
from meltano_assets.warehouse.types import from_arrow, join

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

_US = pa.timestamp("us")
_US_UTC = pa.timestamp("us", "UTC")


@dataclass(slots=True)
class Converted:
    """An array for the wire. ``bad`` marks rows to quarantine; ``wider`` asks for another type."""

    array: pa.Array
    bad: np.ndarray | None = None
    wider: ColumnType | None = None
    cleaned: Counter[str] = field(default_factory=Counter)


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
_TAKE_ANY_BYTES: tuple[ColumnType, ...] = ("text", "jsonb", "bytea")


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


def _another(array: pa.Array, target: ColumnType) -> Converted:
    """The declared type cannot say what this Arrow type holds."""
    return Converted(array, wider=join(target, from_arrow(array.type)))


def mask(array: pa.Array) -> np.ndarray:
    """A boolean Arrow array as numpy, null counted as False."""
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)


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
        array, bad = _writable(array)
        array = as_text(array)
    return Converted(clean_text(array, cleaned), bad=bad, cleaned=cleaned)


def _writable(array: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Times that can be written out, the others as null, and which those are."""
    kind = array.type
    if pa.types.is_date(kind):
        numbers, per_day = array.cast(pa.int32()), 1
    elif pa.types.is_timestamp(kind) and kind.unit != "ns":
        numbers = array.cast(pa.int64())
        per_day = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6}[kind.unit]
    else:
        return array, None
    return _within(array, numbers, _MIN_DAYS * per_day, _MAX_WRITTEN_DAYS * per_day - 1)


def _within(
    array: pa.Array, numbers: pa.Array, low: int, high: int
) -> tuple[pa.Array, np.ndarray | None]:
    """The array with null for what is not between the two, and which that is."""
    outside = mask(pc.or_(pc.less(numbers, low), pc.greater(numbers, high)))
    if not outside.any():
        return array, None
    return pc.if_else(pa.array(outside), pa.scalar(None, array.type), array), outside


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
        texts = [None if value is None else interval_text(value) for value in array.to_pylist()]
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


# numbers


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
            return Converted(usable.cast(wire), bad=None if finite.all() else ~finite)
        except pa.ArrowInvalid:
            return Converted(array, wider=_wider_integer(usable, target))
    if pa.types.is_decimal(kind):
        try:
            return Converted(array.cast(wire))
        except pa.ArrowInvalid:
            return Converted(array, wider=_wider_integer(array, target))
    if is_text(kind):
        return _integers_from_text(array, target)
    return _another(array, target)


def _wider_integer(array: pa.Array, target: ColumnType) -> ColumnType:
    if target == "integer":
        try:
            array.cast(pa.int64())
        except pa.ArrowInvalid:
            return "numeric"
        return "bigint"
    return "numeric"


def _integers_from_text(array: pa.Array, target: ColumnType) -> Converted:
    whole = pc.match_substring_regex(array, r"^-?[0-9]+$")
    if pc.all(whole).as_py() is not False:
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
        converted = numeric_values.from_text(array.cast(pa.float64()).cast(pa.string()))
    elif pa.types.is_decimal(kind):
        converted = numeric_values.from_decimals(array)
    elif is_text(kind):
        converted = numeric_values.from_text(array)
    else:
        return _another(array, "numeric")
    return Converted(converted.array, bad=converted.bad)


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
    return _another(array, "double precision")


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
        return _another(array, "boolean")
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
    return _another(array, "boolean")


# time


def _to_timestamp(array: pa.Array, target: ColumnType) -> Converted:
    kind = array.type
    wire = NULL_WIRE[target]
    cleaned: Counter[str] = Counter()
    bad: np.ndarray | None = None
    if pa.types.is_date(kind):
        days = array.cast(pa.int32()).cast(pa.int64())
        days, bad = _within(days, days, -_MAX_MICROSECOND_DAYS, _MAX_MICROSECOND_DAYS)
        array = pc.multiply(days, 86_400_000_000).cast(_US)
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
        return _another(array, target)
    return _in_range(array.cast(_US).cast(pa.int64()), wire, bad, cleaned)


def _sayable(array: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Times that 64 bits of microseconds can say, the others as null, and which those are."""
    factor = {"s": 1_000_000, "ms": 1_000}.get(array.type.unit)
    if factor is None:
        return array, None
    most = _MAX_MICROSECONDS // factor
    return _within(array, array.cast(pa.int64()), -most, most)


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
        return array.cast(_US_UTC), nothing, None
    except pa.ArrowInvalid:
        pass
    try:
        return array.cast(_US), mask(pc.is_valid(array)), None
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
    return pa.array(micros, pa.int64()).cast(_US_UTC), naive, bad if bad.any() else None


def _to_date(array: pa.Array) -> Converted:
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
        return _another(array, "date")
    checked = _in_range(days, pa.date32(), bad, cleaned) if _days_fit(days) else None
    if checked is None:
        return Converted(array, wider="text")
    return checked


def _days_fit(days: pa.Array) -> bool:
    bounds = pc.min_max(days)
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    return least is None or (least >= -(2**31) and most < 2**31)


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
        return _another(array, "uuid")
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
        return _another(array, "inet")
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
    return _another(array, "bytea")


#: The Arrow type that stands for a column in which a batch has nothing but nulls.
NULL_WIRE: dict[ColumnType, pa.DataType] = {
    "text": pa.string(),
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "numeric": pa.decimal128(20, 0),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp": _US,
    "timestamptz": _US_UTC,
    "jsonb": pa.string(),
    "uuid": pa.binary(16),
    "inet": pa.binary(),
    "bytea": pa.binary(),
}

_CONVERTERS: dict[ColumnType, Callable[[pa.Array], Converted]] = {
    "text": _to_text,
    "boolean": _to_boolean,
    "integer": lambda array: _to_integer(array, "integer"),
    "bigint": lambda array: _to_integer(array, "bigint"),
    "numeric": _to_numeric,
    "double precision": _to_double,
    "date": _to_date,
    "timestamp": lambda array: _to_timestamp(array, "timestamp"),
    "timestamptz": lambda array: _to_timestamp(array, "timestamptz"),
    "jsonb": _to_jsonb,
    "uuid": _to_uuid,
    "inet": _to_inet,
    "bytea": _to_bytea,
}
