"""A page of JSON records → Arrow, without making Python objects where that can be helped.

The quick way splits the page's bytes into one line a record and has Arrow or polars read the
declared fields; the certain way parses everything. The quick way is taken only where it gives the
same: a wrong split leaves a bracket open, which the parsers refuse, and where a value may have lost
something on the way, the certain way is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from meltano_assets.clients.policy import value_at
from meltano_assets.sources.records import (
    ARROW_TYPES,
    MAY_BE_ROUNDED,
    Record,
    RoundedError,
    batch_from_records,
    parse_json,
    parse_json_exactly,
    typed,
)
from meltano_assets.streams import Column

#: How many closing brackets behind the records are tried for the end of their list.
_MAX_TAIL_LISTS = 8
_FIRST_KEY = re.compile(rb'\{\s*("[^"\\]*")\s*:')
#: The first key with a plain value, and the second key: enough to tell a record from what it holds.
_FIRST_TWO_KEYS = re.compile(
    rb'\{("[^"\\]*")(: ?)(?:"(?:[^"\\]|\\.)*"|[-+0-9.eE]+|true|false|null)(, ?"[^"\\]*":)'
)
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
#: A key with an escape in it: polars writes nested ones without.
_ESCAPED_KEY = re.compile(rb'\\["\\][^"\\]*" ?:')
#: No list and no object: a string that has lost its quotes, or a plain value.
_NOT_NESTED = r"^(?:[^\[{]|$)"
#: Not all of these are escaped by polars.
_CONTROL = r"[\x00-\x1f]"
#: What may have been a nested value where text is declared.
_MAYBE_NESTED = r"^(?s:\[.*\]|\{.*\})$"
#: A text that is a number of more digits than a double holds for certain.
_LONG_NUMBER = (
    r"^-?(?:[0-9]{20,}|[0-9]*\.[0-9]{15,}|[0-9]{2,}\.[0-9]{13,}|[0-9]{9,}\.[0-9]{6,}"
    r"|[0-9.]+[eE][-+]?[0-9]+)$"
)
#: A whole number that may have been written as a longer fraction, and the look of such a fraction.
_LONG_INTEGER = r"^-?[0-9]{16,}$"
_EXACT_INTEGER = 10**15
_LONG_FRACTION = re.compile(rb"[0-9]{16}\.|[0-9][eE]")
_TEXTS = frozenset({"text", "jsonb", "uuid", "inet"})
_CAST_AT_ONCE = frozenset({"boolean", "integer", "bigint", "double precision"})
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
    if two := _FIRST_TWO_KEYS.match(content):
        key, colon, second = two.groups()
        value = rb'(?:"(?:[^"\\]|\\.)*"|[-+0-9.eE]+|true|false|null)'
        head = re.escape(b"{" + key + colon)
        return envelope, re.sub(
            rb"\}, ?(?=" + head + value + re.escape(second) + rb")", b"}\n", content
        )
    head = b"{" + first.group(1)
    for between in (b"},", b"}, "):
        lines = content.replace(between + head, b"}\n" + head)
        if lines is not content:
            return envelope, lines
    return envelope, content


def quick_batch(columns: Sequence[Column], lines: bytes) -> pa.RecordBatch | None:
    """Lines of records by the declared columns, or None where only the certain way will do."""
    if not lines:
        return batch_from_records(columns, [])
    if all(column.type != "jsonb" for column in columns):
        batch = _strict_batch(columns, lines)
        if batch is not None:
            return batch
    return _tolerant_batch(columns, lines)


def _strict_batch(columns: Sequence[Column], lines: bytes) -> pa.RecordBatch | None:
    """By Arrow's reader, which refuses whatever is not exactly of the column's type.

    A number in a text column, a fraction in a whole one, more places than asked for, a lone
    surrogate: all refused. Decimals are read digit by digit.
    """
    types = {
        column.vendor_field: pa.string() if column.type in _AS_TEXT else ARROW_TYPES[column.type]
        for column in columns
    }
    if len(types) < len(columns):  # two columns of one field may differ in type
        return None
    try:
        table = json.read_json(
            pa.BufferReader(lines),
            # One block: a page is small, and threads cost more than they bring.
            read_options=json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
            parse_options=json.ParseOptions(
                explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:
        return None
    arrays = []
    for column in columns:
        array = _in_one_piece(table.column(column.vendor_field))
        if column.type in _AS_TEXT:
            array = typed(column.type, array)
        elif column.type == "numeric":
            array = _narrowed(array)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])


def _tolerant_batch(columns: Sequence[Column], lines: bytes) -> pa.RecordBatch | None:
    """By polars' reader with every value as text: strings as they are, numbers and truth values
    as JSON writes them, nested ones as JSON text.

    Fractions go through doubles, lone surrogates and escapes in keys are lost, and a string in a
    nested column loses its quotes; where that may have happened, the answer is None.
    """
    import polars as pl

    if (b"\\ud" in lines or b"\\uD" in lines) and _LONE_SURROGATE.search(lines):
        return None
    nested = {column.vendor_field for column in columns if column.type == "jsonb"}
    if nested and _may_confuse(lines, nested):
        return None
    fields = dict.fromkeys((column.vendor_field for column in columns), pl.String)
    try:
        frame = pl.read_ndjson(lines, schema=fields)
    except pl.exceptions.PolarsError:
        return None
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    found = _cast_at_once(columns, table)
    if found is None:
        texts = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
        found = {
            column.name: _in_one_piece(texts.column(column.vendor_field)) for column in columns
        }
    arrays = []
    for column in columns:
        array = found[column.name]
        if pa.types.is_integer(array.type):
            is_long = pc.any(pc.greater(pc.abs(array), _EXACT_INTEGER)).as_py()
            if is_long and _LONG_FRACTION.search(lines):
                return None
        if pa.types.is_string(array.type):
            if _may_have_changed(column, array, lines):
                return None
            if column.type not in _TEXTS:
                array = typed(column.type, array)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])


def _cast_at_once(columns: Sequence[Column], table: pa.Table) -> dict[str, pa.Array] | None:
    """All columns by one cast; None when a single value does not fit its type."""
    if len(table.column_names) < len(columns):  # two columns of one field
        return None
    types = [
        (
            column.vendor_field,
            ARROW_TYPES[column.type] if column.type in _CAST_AT_ONCE else pa.string(),
        )
        for column in columns
    ]
    try:
        cast = table.cast(pa.schema(types))
    except pa.ArrowInvalid:
        return None
    return {column.name: _in_one_piece(cast.column(column.vendor_field)) for column in columns}


def _may_confuse(lines: bytes, nested: Iterable[str]) -> bool:
    """True when a nested column may hold a string that looks nested, or a key with an escape."""
    if b"\\" in lines and _ESCAPED_KEY.search(lines):
        return True
    if b'"[' not in lines and b'"{' not in lines:
        return False
    names = [orjson.dumps(name) for name in nested]
    return b'" :' in lines or any(
        name + mark in lines for name in names for mark in (b':"', b': "')
    )


def _may_have_changed(column: Column, texts: pa.Array, lines: bytes) -> bool:
    """True when a text may not be what the certain way makes of the value."""
    if column.type == "double precision" or texts.null_count == len(texts):
        return False

    def some(pattern: str) -> bool:
        return pc.any(pc.match_substring_regex(texts, pattern)).as_py() is True

    if column.type == "jsonb":
        return some(f"{_NOT_NESTED}|{MAY_BE_ROUNDED}|{_CONTROL}")
    # One look is enough for nearly all columns.
    if not some(f"{_LONG_NUMBER}|{_MAYBE_NESTED}|{_LONG_INTEGER}"):
        return False
    if some(f"{_LONG_NUMBER}|{_MAYBE_NESTED}"):
        return True
    return _LONG_FRACTION.search(lines) is not None


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
