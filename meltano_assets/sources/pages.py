"""A page of JSON records → Arrow, without making Python objects where that can be helped.

The quick way splits the page's bytes into one line a record and lets polars read the declared
fields as text; the certain way parses everything. The quick way is taken only where it provably
gives the same: a wrong split leaves a bracket open and is refused by the parser, and the values
that polars renders otherwise than they were written are looked for. ``quick_rows`` documents which.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.policy import value_at
from meltano_assets.sources.records import (
    MAY_BE_ROUNDED,
    Record,
    RoundedError,
    batch_from_records,
    batch_from_text,
    parse_json,
    parse_json_exactly,
    strings,
)
from meltano_assets.streams import Column

#: How many closing brackets behind the records are tried for the end of their list.
_MAX_TAIL_LISTS = 8
_FIRST_KEY = re.compile(rb'\{\s*("[^"\\]*")\s*:')
#: Escapes that polars turns into something else: lone surrogates, written alone or in pairs.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
#: The shortest text that ``MAY_BE_ROUNDED`` finds and polars writes.
_SHORTEST_ROUNDED = 16
_NUMBERS = frozenset({"integer", "bigint", "numeric", "double precision"})


class Page:
    """One JSON answer: an envelope around a list of records at ``path`` (dots between names).

    Making one raises ValueError when the body is no JSON or has no such list, so it serves as
    ``parse`` of ``HttpClient.fetch``. ``content`` is equal for pages with the same records.
    """

    def __init__(self, body: bytes, path: str = "", columns: Sequence[Column] = ()) -> None:
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
            self._records = self.content = _list_at(self.envelope, path)

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
        if between + head in content:
            content = content.replace(between + head, b"}\n" + head)
            break
    return envelope, content


def quick_batch(columns: Sequence[Column], lines: bytes) -> pa.RecordBatch | None:
    """Lines of records by the declared columns, or None where only the certain way will do.

    That is: surrogate escapes (polars writes NUL for lone ones), JSON strings in ``jsonb``
    columns (they would lose their quotes), nested values in other columns, and numbers of more
    digits than a double holds. Inside nested values polars writes strings without their escapes,
    so rows with a backslash anywhere are parsed singly for them.
    """
    if not lines:
        return batch_from_records(columns, [])
    if b"\\u" in lines and _SURROGATE.search(lines):
        return None
    nested = [column for column in columns if column.type == "jsonb"]
    for column in nested:
        name = orjson.dumps(column.vendor_field)
        if re.search(rb'%s\s*:\s*"' % re.escape(name), lines):
            return None
    schema = dict.fromkeys((column.vendor_field for column in columns), pl.String)
    try:
        frame = pl.read_ndjson(io.BytesIO(lines), schema=schema)
    except pl.exceptions.PolarsError:
        return None
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    texts: dict[str, pa.Array] = {
        name: _in_one_piece(array)
        for name, array in zip(table.column_names, table.columns, strict=True)
    }
    for column in columns:
        array = texts[column.vendor_field]
        if column.type == "jsonb" or column.type in _NUMBERS:
            if _has_long_number(array):
                return None
        elif pc.any(pc.or_(pc.starts_with(array, "{"), pc.starts_with(array, "["))).as_py():
            return None
    if nested and b"\\" in lines:
        texts |= _nested_again(nested, texts, lines)
    return batch_from_text(columns, texts)


def _has_long_number(array: pa.Array) -> bool:
    longest = pc.max(pc.binary_length(array)).as_py()
    if longest is None or longest < _SHORTEST_ROUNDED:
        return False
    return bool(pc.any(pc.match_substring_regex(array, MAY_BE_ROUNDED)).as_py())


def _in_one_piece(array: pa.ChunkedArray) -> pa.Array:
    return array.cast(pa.string()).combine_chunks()


def _nested_again(
    nested: Sequence[Column], texts: Mapping[str, pa.Array], lines: bytes
) -> dict[str, pa.Array]:
    """The nested columns with the rows that hold a backslash parsed singly."""
    rows = [line for line in lines.split(b"\n") if line.strip()]
    is_escaped = [b"\\" in line for line in rows]
    parsed = [orjson.loads(line) for line in rows if b"\\" in line]
    mended: dict[str, pa.Array] = {}
    for column in nested:
        name = column.vendor_field
        values = [record.get(name) for record in parsed]
        right = strings([None if v is None else orjson.dumps(v).decode() for v in values])
        mended[name] = pc.replace_with_mask(texts[name], pa.array(is_escaped), right)
    return mended
