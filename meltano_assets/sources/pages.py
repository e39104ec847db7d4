"""A page of JSON records → Arrow, without making Python objects where that can be helped.

The quick way splits the page's bytes into one line a record and has Arrow read the declared
fields; the certain way parses everything. The quick way is taken only where it provably gives the
same: a wrong split leaves a bracket open, which the parser refuses, and so it does values that are
not exactly of the declared type.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from meltano_assets.clients.policy import value_at
from meltano_assets.sources.records import (
    ARROW_TYPES,
    Record,
    RoundedError,
    batch_from_records,
    nested_texts,
    parse_json,
    parse_json_exactly,
    typed,
)
from meltano_assets.streams import Column

#: How many closing brackets behind the records are tried for the end of their list.
_MAX_TAIL_LISTS = 8
_FIRST_KEY = re.compile(rb'\{\s*("[^"\\]*")\s*:')
#: Types that Arrow's JSON reader does not take from strings, or not in every spelling.
_AS_TEXT = frozenset({"date", "timestamp", "bytea"})


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
            self.envelope, lines = split
            self.content: object = lines
            self._batch = quick_batch(columns, lines)
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
            line = self.content.partition(b"\n")[0]
            return frozenset(orjson.loads(line)) if line else frozenset()
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
    """The envelope with an empty list, and the records as one line each; None when unsure.

    Whether the lines are records is for their parser to say: a cut at another place leaves a
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
            break
    else:
        return None
    content = body[start:end].strip()
    first = _FIRST_KEY.match(content)
    if first is None:
        return (envelope, b"") if not content else None
    head = b"{" + first.group(1)
    for between in (b"},", b"}, "):
        lines = content.replace(between + head, b"}\n" + head)
        if lines is not content:
            return envelope, lines
    return envelope, content


def quick_batch(columns: Sequence[Column], lines: bytes) -> pa.RecordBatch | None:
    """Lines of records by the declared columns, or None where only the certain way will do.

    Arrow's reader is strict: it refuses whatever is not exactly of the column's type (a number in
    a text column, a fraction in a whole one, more places than asked for, a lone surrogate), and
    reads decimals digit by digit. It cannot hand on nested values as they stand; see
    ``_nested_texts``.
    """
    if not lines:
        return batch_from_records(columns, [])
    plain = [column for column in columns if column.type != "jsonb"]
    nested = [column for column in columns if column.type == "jsonb"]
    arrays: dict[str, pa.Array] = {}
    if plain:
        types = {
            column.vendor_field: pa.string()
            if column.type in _AS_TEXT
            else ARROW_TYPES[column.type]
            for column in plain
        }
        if len(types) < len(plain):  # two columns of one field may differ in type
            return None
        options = json.ParseOptions(
            explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="ignore"
        )
        try:
            table = json.read_json(pa.BufferReader(lines), parse_options=options)
        except pa.ArrowInvalid:
            return None
        table = table.combine_chunks()
        for column in plain:
            array = _in_one_piece(table.column(column.vendor_field))
            if column.type in _AS_TEXT:
                array = typed(column.type, array)
            elif column.type == "numeric":
                array = _narrowed(array)
            arrays[column.name] = array
    if nested:
        texts = _nested_texts(nested, lines)
        if texts is None:
            return None
        arrays |= texts
    names = [column.name for column in columns]
    return pa.RecordBatch.from_arrays([arrays[name] for name in names], names=names)


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


def _nested_texts(columns: Sequence[Column], lines: bytes) -> dict[str, pa.Array] | None:
    """Nested values as JSON text, by one parse of all lines; None where that is not exact."""
    try:
        records = orjson.loads(b"[" + lines.replace(b"\n", b",") + b"]")
    except orjson.JSONDecodeError:
        return None
    texts: dict[str, pa.Array] = {}
    for column in columns:
        array = nested_texts([record.get(column.vendor_field) for record in records])
        if array is None:
            return None
        texts[column.name] = array
    return texts
