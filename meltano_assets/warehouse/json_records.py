"""JSON records as Arrow columns, exactly: numbers as they are written, nested values as JSON text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import chain

import orjson
import pyarrow as pa

from meltano_assets import json_objects
from meltano_assets.streams import ColumnType
from meltano_assets.warehouse import json_values
from meltano_assets.warehouse.inference import infer
from meltano_assets.warehouse.types import join


class _Number(str):
    """A number as it was written, where no Python number is exact."""

    __slots__ = ()


class _Deep(str):
    """A value as it was written, nested more deeply than a parser follows."""

    __slots__ = ()


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.S)
_PLACE = "\x00deep value "


def loads_exactly(line: bytes | str) -> object:
    """A JSON text with every number exact; ValueError when it is none."""
    return json.loads(line, parse_int=_exact_integer, parse_float=_Number)


def _exact_integer(literal: str) -> object:
    number = int(literal) if len(literal) < 4000 else None
    return number if number is not None and abs(number) < 2**63 else _Number(literal)


def loads_leniently(line: bytes | str) -> object:
    """What orjson refuses and is still an object: NaN, broken UTF-8, lone surrogates, deep nesting.

    None when it is no JSON at all. Broken bytes come back as lone surrogates.
    """
    text = line if isinstance(line, str) else line.decode("utf-8", "surrogateescape")
    try:
        return _loads(text)
    except ValueError:
        return None
    except RecursionError:
        pass
    shallow, deep = _without_deep_values(text)
    try:
        return _restored(_loads(shallow), deep)
    except (ValueError, RecursionError):
        return None


def _loads(text: str) -> object:
    return json.loads(text, parse_int=_exact_integer, parse_float=_Number, parse_constant=_Number)


def _without_deep_values(text: str) -> tuple[str, list[_Deep]]:
    """The text with each field that nests too deeply replaced by a mark, and those fields."""
    pieces: list[str] = []
    deep: list[_Deep] = []
    level = deepest = start = end = 0
    # A Singer message holds its fields one level further inside than a plain record.
    outer = 2 if re.match(r'\s*\{.{0,200}?"record"\s*:', text, re.S) else 1
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            level += 1
            if level == outer + 1:
                start, deepest = token.start(), 0
            deepest = max(deepest, level)
        elif token[0] in "]}":
            level -= 1
            if level == outer and deepest > json_values.MAX_DEPTH - 100:
                pieces += [text[end:start], json.dumps(f"{_PLACE}{len(deep)}")]
                deep.append(_Deep(text[start : token.end()]))
                end = token.end()
    return "".join([*pieces, text[end:]]), deep


def _restored(value: object, deep: list[_Deep]) -> object:
    if isinstance(value, str) and value.startswith(_PLACE):
        return deep[int(value.removeprefix(_PLACE))]
    if isinstance(value, dict):
        return {key: _restored(item, deep) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item, deep) for item in value]
    return value


def repeated_keys(lines: bytes) -> int:
    """How many values of the lines' objects are lost because their object has the key once more."""
    if not json_objects.may_repeat_a_key(lines):
        return 0
    return sum(map(json_objects.repeated_keys, lines.split(b"\n")))


def batch(
    records: list[dict[str, object]],
    kinds: dict[str, ColumnType],
    always: Iterable[str] = (),
) -> pa.RecordBatch:
    """Columns from objects; ``kinds`` learns what each field's values have been so far.

    The fields in ``always`` become columns even where no record has them.
    """
    shapes = dict.fromkeys(map(tuple, records))
    fields = list(dict.fromkeys(chain(always, chain.from_iterable(shapes))))
    columns: Iterable[Sequence[object]]
    if list(shapes) == [tuple(fields)]:
        # Every record has the same fields in the same order: columns without a look at the names.
        columns = zip(*map(dict.values, records), strict=True)
    else:
        columns = ([record.get(field) for record in records] for field in fields)
    arrays = []
    for field, values in zip(fields, columns, strict=True):
        array, kind = _json_column(values, kinds.get(field))
        if kind is not None:
            kinds[field] = join(kinds[field], kind) if field in kinds else kind
        arrays.append(array)
    if not fields:
        return pa.RecordBatch.from_arrays([], names=[])
    return pa.RecordBatch.from_arrays(arrays, names=[clean_name(field) for field in fields])


def clean_name(field: str) -> str:
    """A field's name as it can be written: lone surrogates as their escapes."""
    return field.encode("utf-8", "backslashreplace").decode()


def _json_column(
    values: Sequence[object], before: ColumnType | None
) -> tuple[pa.Array, ColumnType | None]:
    """One field's values as Arrow, and the type that they ask for."""
    found = set(map(type, values)) - {type(None)}
    if not found:
        return pa.nulls(len(values), pa.string()), None
    if found == {bool} and before in (None, "boolean"):
        return pa.array(values, pa.bool_()), "boolean"
    if found == {int} and before in (None, "bigint", "numeric"):
        try:
            return pa.array(values, pa.int64()), "bigint"
        except OverflowError:
            pass
    if found <= {int, float, _Number} and before in (None, "bigint", "numeric"):
        texts = [None if value is None else str(value) for value in values]
        return pa.array(texts, pa.string()), "numeric"
    if found == {str} and before != "jsonb":
        array = _strings(values)
        if before not in (None, "timestamptz", "date"):
            return array, "text"
        kind = infer(array, before)
        return array, kind if kind in ("timestamptz", "date") else "text"
    if before == "jsonb" or (before is None and found & {dict, list, _Deep}):
        texts = [None if value is None else dumps(value) for value in values]
        return pa.array(texts, pa.large_string()), "jsonb"
    texts = [None if value is None else _as_text(value) for value in values]
    return _strings(texts), "text"


def _strings(values: Sequence[object]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        # What has no UTF-8 goes on as it came; the loader's rule for broken UTF-8 takes it from here.
        raw = [None if value is None else _raw(str(value)) for value in values]
        array = pa.array(raw, pa.large_binary())
        return pa.Array.from_buffers(
            pa.large_string(), len(array), array.buffers(), array.null_count
        )


def _raw(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else dumps(value)


def dumps(value: object) -> str:
    """JSON text with every number as it was written."""
    try:
        return orjson.dumps(
            value, default=_fragment, option=orjson.OPT_PASSTHROUGH_SUBCLASS
        ).decode()
    except orjson.JSONEncodeError:
        return _written(value)


def _written(value: object) -> str:
    """JSON text without the encoder's limits: any depth, lone surrogates as escapes."""
    pieces: list[str] = []
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, _Number | _Deep):
            pieces.append(item)
        elif isinstance(item, dict):
            parts: list[object] = [_Number("{")]
            for place, (key, inner) in enumerate(item.items()):
                parts += [_Number(("," if place else "") + json.dumps(key) + ":"), inner]
            pending += reversed([*parts, _Number("}")])
        elif isinstance(item, list):
            parts = [_Number("[")]
            for place, inner in enumerate(item):
                parts += [_Number(","), inner] if place else [inner]
            pending += reversed([*parts, _Number("]")])
        else:
            pieces.append(json.dumps(item))
    return "".join(pieces)


def empty(records: list[dict[str, object]]) -> list[str]:
    """The texts of records when none of them has a field: no batch of columns can count them."""
    return [] if any(records) else ["{}"] * len(records)


def _fragment(value: object) -> object:
    if isinstance(value, _Number | _Deep):
        return orjson.Fragment(str(value))
    raise TypeError
