"""JSON records parsed into columns at once, for blocks without a surprise.

Arrow's parser is told what every field has been so far and refuses a block in which a value is
something else. What it refuses, and what it could say less exactly than ``json_records.py`` does
record by record, is left to that module: new fields, deep nesting, broken lines.
"""

from __future__ import annotations

import json
import re

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from meltano_assets import json_objects
from meltano_assets.streams import ColumnType
from meltano_assets.warehouse import json_values
from meltano_assets.warehouse.inference import infer
from meltano_assets.warehouse.types import join

_STRICT: dict[ColumnType, pa.DataType] = {
    "bigint": pa.int64(),
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "timestamptz": pa.string(),
    "date": pa.string(),
}
#: Arrow's threads each take a piece of this size; a record must fit in.
_PIECE_BYTES = 1024 * 1024
#: So many blocks refused one after the other, and the next ones are not tried.
_PATIENCE = 3

#: A character that a name of printable ASCII may have been written with.
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")

_ALL_BUT_OPENING = bytes(code for code in range(256) if chr(code) not in "[{\n")


class Columns:
    """Parses blocks of lines whose fields are known; ``kinds`` is shared with the other parser."""

    def __init__(self, kinds: dict[str, ColumnType]) -> None:
        self._kinds = kinds
        self._refused = 0

    @property
    def has_given_up(self) -> bool:
        """True when so many blocks were refused that no further one is looked at."""
        return self._refused >= _PATIENCE

    def read(self, block: bytes) -> pa.RecordBatch | None:
        """The block's records, numerics as they are written; None to parse record by record."""
        if self.has_given_up or not self._kinds or _may_be_deep(block):
            return None
        batch = self._read(block)
        self._refused = self._refused + 1 if batch is None else 0
        return batch

    def _read(self, block: bytes) -> pa.RecordBatch | None:
        kinds = self._kinds
        strict = [(field, _STRICT[kind]) for field, kind in kinds.items() if kind in _STRICT]
        nested = [field for field, kind in kinds.items() if kind == "jsonb"]
        numeric = [field for field, kind in kinds.items() if kind == "numeric"]
        if len(strict) + len(nested) < len(kinds):
            return None
        try:
            table = pa_json.read_json(
                pa.BufferReader(block),
                read_options=pa_json.ReadOptions(block_size=_PIECE_BYTES),
                parse_options=pa_json.ParseOptions(explicit_schema=pa.schema(strict)),
            )
        except pa.ArrowInvalid:
            return None
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        if table.num_rows != lines or not set(table.column_names) <= set(kinds):
            return None
        found = {name: table.column(name).combine_chunks() for name in table.column_names}
        # A double would make 1.1 of 1.10 and drop digits; Arrow's says only where numbers are.
        written = [name for name in (*nested, *numeric) if name in found]
        if not _keep_written(block, written, found):
            return None
        arrays: dict[str, pa.Array] = {}
        first: object = None
        for field, array in found.items():
            if array.null_count == len(array):
                first = first or orjson.loads(block[: block.find(b"\n") + 1 or None])
                if isinstance(first, dict) and field in first:
                    arrays[field] = pa.nulls(len(array), pa.string())
                elif _is_mentioned(field, block):
                    return None
                continue
            if kinds[field] in ("timestamptz", "date"):
                kind = infer(array, kinds[field])
                kinds[field] = join(kinds[field], kind if kind in _TIMES else "text")
            arrays[field] = array
        return pa.RecordBatch.from_arrays([*arrays.values()], names=[*arrays]) if arrays else None


def _keep_written(block: bytes, fields: list[str], found: dict[str, pa.Array]) -> bool:
    """Put fields' values as they are written in the place of what Arrow made of them."""
    fields = [field for field in fields if not pa.types.is_null(found[field].type)]
    if not fields:
        return True
    objects = json_objects.index(block)
    for field in fields:
        parsed = found[field]
        is_nested = pa.types.is_nested(parsed.type)
        if objects is None or not (is_nested or pa.types.is_floating(parsed.type)):
            return False
        values = objects.written(field)
        if (
            values is None
            or values.repeated
            or not values.texts.is_valid().equals(parsed.is_valid())
        ):
            return False
        if not is_nested and not pc.all(pc.is_finite(parsed), min_count=0).as_py():
            return False  # NaN is no number of JSON, though Arrow reads it
        texts = values.texts
        if is_nested:
            try:
                texts.validate(full=True)
            except pa.ArrowInvalid:  # not UTF-8
                return False
            texts = texts.cast(pa.large_string())
        found[field] = texts
    return True


_TIMES: tuple[ColumnType, ...] = ("timestamptz", "date")


def _may_be_deep(block: bytes) -> bool:
    """True when a line opens so many brackets that a parser's stack could overflow."""
    opening = block.translate(None, _ALL_BUT_OPENING).split(b"\n")
    return max(map(len, opening)) >= json_values.MAX_DEPTH // 2


def _is_mentioned(field: str, block: bytes) -> bool:
    """True when a record may have the field; also when its name may be written in another way."""
    name = json.dumps(field, ensure_ascii=False)
    if not field.isascii() or "\\" in name or name.encode() in block:
        return True
    return _ESCAPED_ASCII.search(block) is not None
