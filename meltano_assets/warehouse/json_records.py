"""JSON records as Arrow columns, exactly: numbers as they are written, nested values as JSON text."""

from __future__ import annotations

import json
from itertools import chain

import orjson
import pyarrow as pa

from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.inference import infer
from meltano_assets.warehouse.types import join


class _Number(str):
    """A number as it was written, where no Python number is exact."""

    __slots__ = ()


def loads_exactly(line: bytes | str) -> object:
    """A JSON text with every number exact; ValueError when it is none."""
    return json.loads(line, parse_int=_exact_integer, parse_float=_Number)


def _exact_integer(literal: str) -> object:
    number = int(literal) if len(literal) < 4000 else None
    return number if number is not None and abs(number) < 2**63 else _Number(literal)


def loads_leniently(line: bytes | str) -> object:
    """What orjson refuses and is still an object: NaN, lone surrogates, deep nesting."""
    try:
        return json.loads(line, parse_int=_exact_integer, parse_float=_Number)
    except (ValueError, RecursionError):
        return None


def batch(records: list[dict[str, object]], kinds: dict[str, ColumnType]) -> pa.RecordBatch:
    """Columns from objects; ``kinds`` learns what each field's values have been so far."""
    fields = list(dict.fromkeys(chain.from_iterable(records)))
    arrays = []
    for field in fields:
        values = [record.get(field) for record in records]
        array, kind = _json_column(values, kinds.get(field))
        if kind is not None:
            kinds[field] = join(kinds[field], kind) if field in kinds else kind
        arrays.append(array)
    if not fields:
        return pa.RecordBatch.from_arrays([], names=[])
    return pa.RecordBatch.from_arrays(arrays, names=[_clean_name(field) for field in fields])


def _clean_name(field: str) -> str:
    return field.encode("utf-8", "replace").decode()


def _json_column(
    values: list[object], before: ColumnType | None
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
    if found & {dict, list} or before == "jsonb":
        texts = [None if value is None else _dumps(value) for value in values]
        is_json = before in (None, "jsonb") and found <= {dict, list, str, int, float, bool}
        return pa.array(texts, pa.large_string()), "jsonb" if is_json else "text"
    texts = [None if value is None else _as_text(value) for value in values]
    return _strings(texts), "text"


def _strings(values: list[object] | list[str | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; the loader's rule for broken UTF-8 takes it from here.
        raw = [
            None if value is None else str(value).encode("utf-8", "surrogatepass")
            for value in values
        ]
        array = pa.array(raw, pa.large_binary())
        return pa.Array.from_buffers(
            pa.large_string(), len(array), array.buffers(), array.null_count
        )


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else _dumps(value)


def _dumps(value: object) -> str:
    try:
        return orjson.dumps(
            value, default=_fragment, option=orjson.OPT_PASSTHROUGH_SUBCLASS
        ).decode()
    except orjson.JSONEncodeError:
        return json.dumps(value)


def _fragment(value: object) -> object:
    if isinstance(value, _Number):
        return orjson.Fragment(str(value))
    raise TypeError
