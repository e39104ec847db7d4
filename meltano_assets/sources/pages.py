"""A page of JSON records → Arrow, without making Python objects where that can be helped.

The quick way has Arrow's reader make the declared columns of the page's bytes; it refuses whatever
is not exactly of a column's type. A column with nested values, or one that was refused, is cut out
as it is written, and only its values are parsed one by one. Where that could say anything else than
the certain way, which parses everything, the certain way is gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

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
from meltano_assets.streams import Column

#: How many closing brackets behind the records are tried for the end of their list.
_MAX_TAIL_LISTS = 8
#: Types that Arrow's JSON reader does not take from strings, or not in every spelling.
_AS_TEXT = frozenset({"date", "timestamp", "bytea"})
#: What Arrow's reader says of a column that it refuses: its name, or only its type.
_REFUSED_COLUMN = re.compile(r"Column\(/(.*)\) changed from ", re.S)
_REFUSED_TYPE = re.compile(
    r"Failed to convert JSON to ([a-z]+[0-9]*)|not a valid (decimal128) number"
    r"|(decimal128)|(Decimal|decimal)"
)

#: Deeper ones are left to the certain way, which says so where it is too deep.
_MAX_DEPTH = 900

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
    """How the pages of a stream are read, which their oddities teach."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._types: dict[str, pa.DataType] = {}
        #: Fields that are cut out as they are written.
        self._cut: set[str] = set()
        self._is_simple = True
        for column in columns:
            field = column.vendor_field
            kind = pa.string() if column.type in _AS_TEXT else ARROW_TYPES[column.type]
            if column.type == "jsonb" or self._types.get(field, kind) != kind:
                self._cut.add(field)
            self._types[field] = kind

    def batch(self, content: bytes) -> pa.RecordBatch | None:
        """The declared columns, or None; tried again for every new oddity."""
        for _ in range(len(self._columns) + 2):
            try:
                return self._batch(content)
            except pa.ArrowInvalid as error:
                if not self._learn(str(error)):
                    return None
        return None

    def _batch(self, content: bytes) -> pa.RecordBatch | None:
        objects = None
        if self._cut or not self._is_simple or b"\n" in content:
            objects = json_objects.index(content)
            if objects is None or len(objects.commas) != objects.count - 1:
                return None
            if objects.deepest > _MAX_DEPTH:
                return None
            lines, commas = objects.lines(), objects.commas
        else:
            lines, commas = _likely_lines(content)
        types = {name: kind for name, kind in self._types.items() if name not in self._cut}
        cut = int(commas[len(commas) // 2]) + 1 if len(commas) else 0
        table = json_objects.read_lines(lines, pa.schema(list(types.items())), cut=cut)
        if table.num_rows != len(commas) + 1:
            return None
        arrays = []
        for column in self._columns:
            field = column.vendor_field
            if field in self._cut:
                written = objects.written(field) if objects is not None else None
                if written is None:
                    return None
                array = from_written(column.type, written.texts)
            else:
                array = _in_one_piece(table.column(field))
                if types[field] != ARROW_TYPES[column.type]:
                    array = typed(column.type, array)
                elif column.type == "numeric":
                    array = _narrowed(array)
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in self._columns])

    def _learn(self, message: str) -> bool:
        """False when what Arrow's reader says is nothing new."""
        if found := _REFUSED_COLUMN.search(message):
            news = {found[1]} & self._types.keys() - self._cut
        elif found := _REFUSED_TYPE.search(message):
            name = (found[1] or "decimal128").lower()
            news = {
                field
                for field, kind in self._types.items()
                if str(kind).startswith(name) and field not in self._cut
            }
            if name == "timestamp":
                # Arrow takes all of them as text, and reads more forms of them from that.
                self._types |= dict.fromkeys(news, pa.string())
                return bool(news)
        else:
            is_news, self._is_simple = self._is_simple, False
            return is_news
        self._cut |= news
        return bool(news)


def _likely_lines(content: bytes) -> tuple[bytes, np.ndarray]:
    """One line a record where brackets with a comma between them separate records, which Arrow's
    reader finds out: a line end anywhere else is none that it takes; and where the commas were."""
    letters = np.frombuffer(content, np.uint8)
    opening = np.flatnonzero(letters == ord("{"))[1:]
    commas = opening - 1
    commas = commas - (letters[commas] == ord(" "))
    commas = commas[(letters[commas] == ord(",")) & (letters[commas - 1] == ord("}"))]
    lines = letters.copy()
    lines[commas] = ord("\n")
    return lines.tobytes(), commas


def _in_one_piece(array: pa.ChunkedArray) -> pa.Array:
    combined = array.combine_chunks()
    return combined if isinstance(combined, pa.Array) else combined.chunk(0)


def _narrowed(array: pa.Array) -> pa.Array:
    """The decimals with few places, where few are enough: money mostly."""
    if array.null_count == len(array):
        return array
    for places in (0, 2, 4):
        if pc.all(pc.equal(pc.round(array, places), array)).as_py():
            return array.cast(pa.decimal128(38, places))
    return array
