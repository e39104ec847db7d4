"""JSON on its way into ``jsonb``: whole columns checked at once, single values only when refused.

Rules: ``\\u0000`` and lone surrogates inside strings become U+FFFD; NaN and the infinities become the
JSON strings "NaN", "Infinity", "-Infinity"; a document nested deeper than ``MAX_DEPTH`` is kept as one
JSON string of its text; what is not JSON is set aside.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from meltano_assets import json_objects
from meltano_assets.warehouse.converted import mask, text_bytes
from meltano_assets.warehouse.time_values import duration_text, interval_text

#: The deepest nesting stored as a tree; Postgres' own parser overflows its stack near 6,000.
MAX_DEPTH = 1000

#: Postgres holds strings of up to 268,435,455 bytes inside jsonb.
_MAX_STRING = 268_435_455

_SUSPICIOUS_VALUE = r"\\u0000|\\u[dD][89a-fA-F]|[eE][+-]?[0-9]{4}|[0-9]{1000}"
#: Line ends are harmless between values, but the check below goes by lines; and it takes NaN and
#: infinities, which are no JSON.
_SUSPICIOUS = _SUSPICIOUS_VALUE + r"|[\n\r]|(?:^|[:,\[\s])-?(?:NaN|Inf)"
#: Arrow's reader keeps the fields that it is told; a table of none would not count its rows.
_NO_FIELDS = pa_json.ParseOptions(
    explicit_schema=pa.schema([("\x01none", pa.string())]),
    unexpected_field_behavior="ignore",
)
#: The reader's own limit, in bytes.
_MAX_BLOCK = 2**31 - 2


def checked(array: pa.Array, cleaned: Counter[str]) -> tuple[pa.Array, np.ndarray | None]:
    """The texts with every rule applied, and the rows that are no JSON."""
    suspicious = _suspicious(array)
    plain = array if not suspicious.any() else pc.if_else(pa.array(suspicious), None, array)
    if not _all_json(plain):
        plain = pa.nulls(len(array), array.type)
        suspicious = mask(pc.is_valid(array))
    if not suspicious.any():
        _count_repeated(array, cleaned)
        return array, None
    bad = np.zeros(len(array), dtype=bool)
    mended: list[str | None] = []
    for row in np.flatnonzero(suspicious):
        text = mend(array[int(row)].as_py(), cleaned)
        bad[row] = text is None
        mended.append(text)
    _count_repeated(plain, cleaned)
    asked = array.take(pa.array(np.flatnonzero(suspicious & ~bad))).to_pylist()
    # What became a string of its text was nested too deeply to be looked at.
    looked_at = [was for was, now in zip(asked, filter(None, mended), strict=True)
                 if was[:1] == now[:1]]  # fmt: skip
    _count_repeated(pa.array(looked_at, pa.large_string()), cleaned)
    wide = array.cast(pa.large_string())
    wide = pc.replace_with_mask(wide, pa.array(suspicious), pa.array(mended, pa.large_string()))
    return wide, bad if bad.any() else None


def _suspicious(array: pa.Array) -> np.ndarray:
    """Which texts may need one of the rules."""
    found = mask(pc.match_substring_regex(array, _SUSPICIOUS)).copy()
    # Each level takes a bracket on either side.
    long = mask(pc.greater(pc.binary_length(array), 2 * MAX_DEPTH))
    if long.any():
        texts = array.filter(pa.array(long))
        brackets = pc.add(pc.count_substring(texts, "["), pc.count_substring(texts, "{"))
        found[np.flatnonzero(long)[mask(pc.greater(brackets, MAX_DEPTH))]] = True
    return found


def _count_repeated(array: pa.Array, cleaned: Counter[str]) -> None:
    """Count the values that Postgres drops, since it keeps the last of those with one key."""
    if array.null_count == len(array):
        return
    texts = array.drop_null().cast(pa.large_binary())
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :]
    data = texts.buffers()[2][int(offsets[0]) : int(offsets[len(texts)])].to_pybytes()
    if json_objects.may_repeat_a_key(data):
        count = sum(json_objects.repeated_keys(text) for text in texts.to_pylist())
        cleaned[json_objects.KEY_TWICE] += count


def _all_json(array: pa.Array) -> bool:
    """Parse every text as a line of its own, without keeping anything.

    A line that begins and ends an object cannot run into the next one. Anything else is written as the
    value of a key and as the item of a list: whatever is more or less than one value is refused by
    one of the two.
    """
    texts = pc.drop_null(array).cast(pa.large_string())
    is_object = pc.and_(pc.starts_with(texts, "{"), pc.ends_with(texts, "}"))
    objects, others = texts.filter(is_object), texts.filter(pc.invert(is_object))
    return _are_lines(_joined(objects, "\n")) and _are_lines(
        _joined('{"v":', others, ',"w":[', others, "]}\n")
    )


def _joined(*parts: pa.Array | str) -> pa.Array:
    """Texts put together; what stands between the arrays is the same in each."""
    kind = pa.large_string()
    every = (pa.scalar(part, kind) if isinstance(part, str) else part for part in (*parts, ""))
    return pc.binary_join_element_wise(*every)


def _are_lines(lines: pa.Array) -> bool:
    """True when each text, with its line end, is one JSON object."""
    data = text_bytes(lines)
    if not data:
        return True
    if len(data) >= _MAX_BLOCK:
        return False
    try:
        found = pa_json.read_json(
            pa.BufferReader(data),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=_NO_FIELDS,
        )
    except pa.ArrowInvalid:
        return False
    return bool(found.num_rows == len(lines))


def mend(text: str, cleaned: Counter[str]) -> str | None:
    """One text as Postgres takes it, or None when it is no JSON."""
    if depth(text) > MAX_DEPTH:
        return _as_string(text, cleaned)
    if not re.search(_SUSPICIOUS_VALUE, text):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
        else:
            return text
    rules: Counter[str] = Counter()

    def special(name: str) -> str:
        rules["nan_in_json"] += 1
        return name

    def number(literal: str) -> object:
        exponent = re.search(r"[eE]([+-]?\d+)$", literal)
        is_beyond = len(literal) > 10_000 or (exponent and abs(int(exponent[1])) > 10_000)
        if is_beyond:
            rules["number_in_json_as_text"] += 1
            return literal
        return orjson.Fragment(literal)

    try:
        value = json.loads(text, parse_constant=special, parse_float=number, parse_int=number)
        result = dumps(value, rules)
    except orjson.JSONEncodeError:
        # The encoder's own limit on nesting, met only by a document that needs mending.
        return _as_string(text, cleaned)
    except RecursionError:
        return _as_string(text, cleaned)
    except ValueError:
        return None
    cleaned.update(rules)
    return result


def unescaped(text: str) -> str | None:
    """The same JSON with characters in the place of their escapes; None where it nests too deeply."""
    try:
        value = json.loads(text, parse_float=orjson.Fragment, parse_int=orjson.Fragment)
        return dumps(value, Counter())
    except (orjson.JSONEncodeError, RecursionError):
        return None


def _as_string(text: str, cleaned: Counter[str]) -> str:
    cleaned["deep_json_as_text"] += 1
    return dumps(text, cleaned)


def depth(text: str) -> int:
    """How deeply the brackets of a JSON text nest."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.S)
    level = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def dumps(value: object, cleaned: Counter[str]) -> str:
    """JSON text of a Python value, with this module's rules applied."""
    try:
        text = orjson.dumps(value, default=_default, option=_OPTIONS).decode()
        if "\\u0000" not in text and "null" not in text:
            return text
    except orjson.JSONEncodeError:
        pass
    return orjson.dumps(_clean(value, cleaned), default=_default, option=_OPTIONS).decode()


_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS


def _clean(value: object, cleaned: Counter[str]) -> object:
    if isinstance(value, str):
        return _clean_string(value, cleaned)
    if isinstance(value, float) and not math.isfinite(value):
        cleaned["nan_in_json"] += 1
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return orjson.Fragment(str(value))
    if isinstance(value, dict):
        return {
            _clean_string(str(key), cleaned): _clean(item, cleaned) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_clean(item, cleaned) for item in value]
    return value


def _clean_string(text: str, cleaned: Counter[str]) -> str:
    if "\x00" in text:
        cleaned["nul"] += 1
        text = text.replace("\x00", "\ufffd")
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        cleaned["lone_surrogate"] += 1
        text = re.sub("[\ud800-\udfff]", "\ufffd", text)
    return text


def _default(value: object) -> object:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value)) if value.is_finite() else str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, timedelta):
        # A nanosecond that only pandas' own class can say comes beside.
        nanos = value // timedelta(microseconds=1) * 1000 + getattr(value, "nanoseconds", 0)
        return duration_text(nanos, 10**9)
    if isinstance(value, pa.MonthDayNano):
        return interval_text(*value)
    if type(value).__name__ in ("NaTType", "NAType"):
        # pandas' words for what is missing.
        return None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "Mm":
        return value.tolist()
    return str(value)


def from_nested(array: pa.Array, cleaned: Counter[str]) -> tuple[pa.Array, np.ndarray | None]:
    """Structs, lists and maps (and any other value) as JSON text, and rows that none can say.

    A map in which a key stands twice becomes a list of pairs, so that nothing is dropped.
    """
    maps = "strict" if holds(array.type, pa.types.is_map) else None
    bad = np.zeros(len(array), dtype=bool)
    try:
        if holds(array.type, _is_half_said):
            raise ValueError
        values = array.to_pylist(maps_as_pydicts=maps)
    except (ValueError, OverflowError, KeyError):
        # Some value is not what Python says at once: each is asked for by itself.
        values = []
        for row, scalar in enumerate(array):
            value, bad[row] = _one(scalar, cleaned)
            values.append(value)
    texts = [None if value is None else dumps(value, cleaned) for value in values]
    return pa.array(texts, pa.large_string()), bad if bad.any() else None


def _one(scalar: pa.Scalar, cleaned: Counter[str]) -> tuple[object, bool]:
    """One value for JSON; True when Python cannot say it (a year 300,000, a struct's field twice)."""
    try:
        return _said(scalar, cleaned), False
    except (ValueError, OverflowError):
        return None, True


def _said(scalar: pa.Scalar, cleaned: Counter[str]) -> object:
    """A value as JSON says it, with the nanoseconds of a time of day and the JSON in a JSON leaf."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StructScalar):
        names = [scalar.type.field(place).name for place in range(scalar.type.num_fields)]
        if len(set(names)) < len(names):
            raise ValueError("a struct has a field twice")
        return {name: _said(scalar[place], cleaned) for place, name in enumerate(names)}
    if isinstance(scalar, pa.MapScalar):
        pairs = [
            (_said(pair["key"], cleaned), _said(pair["value"], cleaned)) for pair in scalar.values
        ]
        keys = [_key(key) for key, _ in pairs]
        if len(set(keys)) < len(keys):
            cleaned["map_with_key_twice"] += 1
            return pairs
        return dict(zip(keys, (value for _, value in pairs), strict=True))
    if isinstance(scalar, pa.ListScalar):
        return [_said(item, cleaned) for item in scalar.values]
    if isinstance(scalar, pa.UnionScalar | pa.DictionaryScalar | pa.RunEndEncodedScalar):
        return _said(scalar.value, cleaned)
    if _is_half_said(scalar.type):
        if isinstance(scalar, pa.ExtensionScalar):
            return orjson.Fragment(scalar.value.as_py())
        return str(scalar.cast(pa.string())) if scalar.value % 1000 else scalar.as_py()
    return scalar.as_py()


def _key(key: object) -> object:
    """A map's key as a key of JSON, which is text; lists and structs as their JSON."""
    if isinstance(key, bytes):
        return key.hex()
    return dumps(key, Counter()) if isinstance(key, dict | list) else key


def _is_half_said(arrow_type: pa.DataType) -> bool:
    """Values of which Python would say a part only, or in another form, or that it cannot put together."""
    if pa.types.is_map(arrow_type):
        key = arrow_type.key_type
        return bool(pa.types.is_nested(key) or pa.types.is_binary(key))
    return arrow_type == pa.time64("ns") or isinstance(arrow_type, pa.JsonType)


def holds(arrow_type: pa.DataType, claim: Callable[[pa.DataType], bool]) -> bool:
    """True when the claim holds for the type or for one inside it."""
    if claim(arrow_type):
        return True
    if isinstance(arrow_type, pa.BaseExtensionType):
        return holds(arrow_type.storage_type, claim)
    if pa.types.is_dictionary(arrow_type) or pa.types.is_run_end_encoded(arrow_type):
        return holds(arrow_type.value_type, claim)
    return any(holds(arrow_type.field(child).type, claim) for child in range(arrow_type.num_fields))
