"""A page of JSON records → Arrow, without making Python objects where that can be helped.

The quick way has Arrow's reader make the declared columns of the page's bytes; it refuses whatever
is not exactly of a column's type. A column with nested values, or one that was refused, is cut out
as it is written, and only its values are parsed one by one. Where that could say anything else than
the certain way, which parses everything, the certain way is gone.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache

import numpy as np
import orjson
import pyarrow as pa

from meltano_assets import json_objects
from meltano_assets.clients.policy import value_at
from meltano_assets.sources.records import (
    ARROW_TYPES,
    Record,
    RoundedError,
    batch_from_records,
    from_written,
    parse_json,
    parse_json_exactly,
    typed,
)
from meltano_assets.streams import Column, ColumnType

#: How many closing brackets behind the records are tried for the end of their list.
_MAX_TAIL_LISTS = 8
#: Types that Arrow's JSON reader does not take from strings, or not in every spelling.
_AS_TEXT = frozenset({"date", "timestamp", "bytea"})
#: What Arrow's reader says of a column that it refuses: its name, or only its type.
_REFUSED_COLUMN = re.compile(r"Column\(/(.*?)((?:/\[\])*)\) changed from (\w+) to (\w+) in", re.S)
_REFUSED_TYPE = re.compile(r"Failed to convert JSON|not a valid decimal128 number|[Dd]ecimal")
_OBJECT, _LIST = pa.struct([]), pa.list_(pa.null())
#: Types for what is inside a list; what is inside an object is left to look at.
_LISTS = {
    "object": pa.list_(_OBJECT),
    "string": pa.list_(pa.string()),
    "number": pa.list_(pa.float64()),
    "boolean": pa.list_(pa.bool_()),
}

#: Deeper ones are left to the certain way, which says so where it is too deep.
_MAX_DEPTH = 900

_log = logging.getLogger(__name__)
_DECODER = json.JSONDecoder()


class Page:
    """One JSON answer: an envelope around a list of records at ``path`` (dots between names).

    Making one raises ValueError when the body is no JSON or has no such list, so it serves as
    ``parse`` of ``HttpClient.fetch``. ``content`` is equal for pages with the same records. With
    ``is_optional`` an answer without the list is a page of none.
    """

    def __init__(
        self,
        body: bytes,
        path: str = "",
        columns: Sequence[Column] = (),
        *,
        is_optional: bool = False,
    ) -> None:
        self._body = body
        self._path = path
        self._columns = columns
        self._batch: pa.RecordBatch | None = None
        split = split_page(body, path) if columns else None
        if split is not None:
            self.envelope, content = split
            self.content: object = content
            self._batch = quick_batch(columns, content)
        if self._batch is None:
            self.envelope, self._is_plain = parse_json(body)
            if json_objects.may_repeat_a_key(body):
                _tell_repeated(json_objects.repeated_keys(body))
            is_absent = is_optional and value_at(self.envelope, path) is None
            self._records = () if is_absent else _list_at(self.envelope, path)
            self.content = self._records

    _records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.records) if self._batch is None else int(self._batch.num_rows)

    def get(self, path: str) -> object:
        """A value of the envelope by its path; None when it is absent."""
        return value_at(self.envelope, path)

    @property
    def records(self) -> Sequence[Record]:
        """The records as parsed JSON."""
        return self._parsed if self._batch is not None else self._records

    @property
    def fields(self) -> frozenset[str]:
        """The field names of the first record: a cheap look for new ones."""
        if isinstance(self.content, bytes):
            try:
                first = _DECODER.raw_decode(self.content.decode())[0] if self.content else {}
            except RecursionError:
                raise ValueError("nested too deeply") from None
            return frozenset(first)
        return frozenset(self.records[0]) if len(self) else frozenset()

    @cached_property
    def _parsed(self) -> Sequence[Record]:
        return _list_at(parse_json(self._body)[0], self._path)

    @property
    def batch(self) -> pa.RecordBatch:
        """The records by the declared columns."""
        if self._batch is None:
            self._batch, self._parsed = self._slow_batch(), self._records
        return self._batch

    def unfolded(
        self, columns: Sequence[Column], unfold: Callable[[Record], Iterable[Record]]
    ) -> pa.RecordBatch:
        """The records that lie inside the page's records."""
        inner = [each for record in self.records for each in unfold(record)]
        if self._is_plain:
            try:
                return batch_from_records(columns, inner)
            except RoundedError:
                pass
        exact = _list_at(parse_json_exactly(self._body), self._path)
        inner = [each for record in exact for each in unfold(record)]
        return batch_from_records(columns, inner, are_exact=True)

    def _slow_batch(self) -> pa.RecordBatch:
        if self._is_plain:
            try:
                return batch_from_records(self._columns, self._records)
            except RoundedError:
                pass
        exact = _list_at(parse_json_exactly(self._body), self._path)
        return batch_from_records(self._columns, exact, are_exact=True)


def _tell_repeated(count: int) -> None:
    if count:
        _log.warning(
            "a page has %d values whose object has the same key once more; the last of each is kept",
            count,
        )


def _list_at(value: object, path: str) -> Sequence[Record]:
    records = value_at(value, path)
    if not isinstance(records, list):
        raise ValueError(f"no list of records at {path or 'the top'}")
    if not all(type(record) is dict for record in records):
        raise ValueError("a record is not an object")
    return records


def split_page(body: bytes, path: str) -> tuple[object, bytes] | None:
    """The envelope with an empty list, and the text between the list's brackets; None when unsure.

    Whether the text holds records is for their parser to say: a cut at another place leaves a
    bracket open.
    """
    key = path.rpartition(".")[2].encode()
    opening = re.search(rb'"%s"\s*:\s*\[' % re.escape(key) if key else rb"^\s*\[", body)
    if opening is None:
        return None
    start, end = opening.end(), len(body)
    for _ in range(_MAX_TAIL_LISTS):
        end = body.rfind(b"]", start, end)
        if end < 0:
            return None
        try:
            envelope = orjson.loads(body[:start] + body[end:])
        except orjson.JSONDecodeError:
            continue
        if value_at(envelope, path) == []:
            return envelope, body[start:end].strip()
    return None


def quick_batch(columns: Sequence[Column], content: bytes) -> pa.RecordBatch | None:
    """Records with commas between them by the declared columns; None where only the certain way
    will do."""
    if not content:
        return batch_from_records(columns, [])
    if not content.startswith(b"{") or not json_objects.is_utf8(content):
        return None
    return _reading(tuple(columns)).batch(content)


@lru_cache(256)
def _reading(columns: tuple[Column, ...]) -> _Reading:
    return _Reading(columns)


class _Reading:
    """How the pages of a stream are read, which their oddities teach.

    A field is read as what its column is declared; where the vendor writes text for it, as text;
    where it writes whole numbers for a text, as such; else it is cut out as it is written. Of
    nested values Arrow's reader says only where there are some.
    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._types: dict[str, pa.DataType] = {}
        #: Fields that are read as something else than declared.
        self._retyped: set[str] = set()
        #: Fields that are cut out as they are written.
        self._cut: set[str] = set()
        self._nested = {column.vendor_field for column in columns if column.type == "jsonb"}
        self._is_simple = not self._nested
        for column in columns:
            field = column.vendor_field
            kind = pa.string() if column.type in _AS_TEXT else ARROW_TYPES[column.type]
            kind = _OBJECT if column.type == "jsonb" else kind
            if self._types.get(field, kind) != kind:
                self._cut.add(field)
            self._types[field] = kind
        self._learnt()

    def _learnt(self) -> None:
        kinds = {name: kind for name, kind in self._types.items() if name not in self._cut}
        self._schema = pa.schema(list(kinds.items()))

    def batch(self, content: bytes) -> pa.RecordBatch | None:
        """The declared columns, or None; tried again for every new oddity."""
        for _ in range(4 * len(self._columns) + 2):
            try:
                return self._batch(content)
            except _OtherwiseError as error:
                self._cut.add(error.field)
                self._learnt()
            except pa.ArrowInvalid as error:
                if not self._learn(str(error), content):
                    return None
                self._learnt()
        return None

    def _batch(self, content: bytes) -> pa.RecordBatch | None:
        brackets = objects = None
        if not self._cut and self._is_simple and b"\n" not in content:
            lines, commas = _likely_lines(content)
        else:
            brackets = None if b"\n" in content else json_objects.outline(content)
            if self._cut or brackets is None:
                objects = json_objects.index(content)
                if objects is None or len(objects.commas) != objects.count - 1:
                    return None
            shape = brackets or objects
            assert shape is not None
            if shape.deepest > _MAX_DEPTH:
                return None
            lines, commas = shape.lines(), shape.commas
        cut = int(commas[len(commas) // 2]) + 1 if len(commas) else 0
        table = json_objects.read_lines(lines, self._schema, cut=cut)
        if table.num_rows != len(commas) + 1:
            return None
        read = dict(zip(self._schema.names, _in_one_piece(table), strict=True))
        arrays = []
        for column in self._columns:
            field = column.vendor_field
            if field in self._nested and brackets is not None and field not in self._cut:
                texts = brackets.nested(field, read[field].is_valid())
                if texts is None:
                    raise _OtherwiseError(field)
                arrays.append(texts)
            elif field in self._nested or field in self._cut:
                written = objects.written(field) if objects is not None else None
                if written is None or written.repeated:
                    return None
                arrays.append(from_written(column.type, written.texts))
            else:
                arrays.append(_as_declared(column.type, read[field]))
        return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in self._columns])

    def _learn(self, message: str, content: bytes) -> bool:
        """False when what Arrow's reader says is nothing new."""
        if found := _REFUSED_COLUMN.search(message):
            field, inside, before, now = found.groups()
            if field not in self._types or field in self._cut:
                return False
            kind = self._otherwise(field, inside, before, now)
            if kind is None:
                self._cut.add(field)
            else:
                self._types[field] = kind
            return True
        if _REFUSED_TYPE.search(message):
            return self._learn_of_each(content)
        is_news, self._is_simple = self._is_simple, False
        return is_news

    def _otherwise(self, field: str, inside: str, before: str, now: str) -> pa.DataType | None:
        """What a field may be read as when it is not what it was taken for; None to cut it out."""
        kind = self._types[field]
        if field in self._nested:
            if not inside and kind == _OBJECT and now == "array":
                return _LIST
            return _LISTS.get(now) if inside == "/[]" and before == "null" else None
        if field in self._retyped:
            return None
        self._retyped.add(field)
        if now == "string":
            return pa.string()
        return pa.int64() if now == "number" else None

    def _learn_of_each(self, content: bytes) -> bool:
        """Find out which fields hold what their type cannot: the reader does not name them."""
        objects = json_objects.index(content)
        if objects is None:
            return False
        lines = objects.lines()
        is_news = False
        for field, kind in self._types.items():
            if field in self._cut:
                continue
            try:
                json_objects.read_lines(lines, pa.schema([(field, kind)]))
            except pa.ArrowInvalid:
                is_news = True
                if kind == pa.int32():
                    self._types[field] = pa.int64()
                elif kind in _TIMES and field not in self._retyped:
                    # Arrow takes all of them as text, and reads more forms of them from that.
                    self._types[field] = pa.string()
                else:
                    self._cut.add(field)
        return is_news


class _OtherwiseError(Exception):
    """A field's nested values do not stand where they should."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


_TIMES = (pa.timestamp("us"), pa.timestamp("us", "UTC"))


def _as_declared(kind: ColumnType, array: pa.Array) -> pa.Array:
    """What a field was read as, as the column's type."""
    if array.type == ARROW_TYPES[kind]:
        return _narrowed(array) if kind == "numeric" else array
    if array.type == pa.int64():
        if kind == "integer":
            try:
                return array.cast(pa.int32())
            except pa.ArrowInvalid:
                return array
        array = array.cast(pa.string())
    return typed(kind, array)


def _likely_lines(content: bytes) -> tuple[pa.Buffer, np.ndarray]:
    """One line a record where brackets with a comma between them separate records, which Arrow's
    reader finds out: a line end anywhere else is none that it takes; and where the commas were."""
    letters = np.frombuffer(content, np.uint8)
    opening = np.flatnonzero(letters == ord("{"))[1:]
    commas = opening - 1
    commas = commas - (letters[commas] == ord(" "))
    commas = commas[(letters[commas] == ord(",")) & (letters[commas - 1] == ord("}"))]
    lines = letters.copy()
    lines[commas] = ord("\n")
    return pa.py_buffer(lines), commas


def _in_one_piece(table: pa.Table) -> list[pa.Array]:
    batches = table.combine_chunks().to_batches()
    columns: list[pa.Array] = batches[0].columns
    return columns


def _narrowed(array: pa.Array) -> pa.Array:
    """The decimals with few places, where few are enough: money mostly."""
    if array.null_count == len(array):
        return array
    if array.offset:
        array = pa.concat_arrays([array])
    places = array.type.scale
    words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2)
    low, high = words[: len(array)].T
    if not (high == low >> 63).all():
        return array
    if array.null_count:
        low = np.where(array.is_valid().to_numpy(zero_copy_only=False), low, 0)
    for fewer in (0, 2, 4):
        unit = 10 ** (places - fewer)
        if not (low % unit).any():
            short = low // unit
            pairs = np.stack([short, short >> 63], axis=1)
            buffers = [array.is_valid().buffers()[1] if array.null_count else None,
                       pa.py_buffer(pairs)]  # fmt: skip
            return pa.Array.from_buffers(pa.decimal128(38, fewer), len(array), buffers)
    return array
