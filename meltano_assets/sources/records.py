"""Vendors' records → Arrow, by the columns that a stream declares.

A whole column is converted at once. When one value does not fit the declared type, the column
of that batch stays text, every value as the vendor wrote it: the loader's rules then decide
(widen, quarantine), and no record is lost or stops the others. Nested values become JSON text.

===============  =======================
column type      Arrow type
===============  =======================
numeric          decimal128(38, s), s as small as the batch allows
timestamptz      timestamp(us, UTC); times without a zone are UTC
jsonb            string (JSON text)
uuid, inet       string
others           their namesakes
===============  =======================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from csv import Error as CsvError
from csv import reader
from datetime import UTC, datetime
from decimal import Decimal
from io import RawIOBase
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from meltano_assets.errors import RetriableError
from meltano_assets.streams import Column, ColumnType

if TYPE_CHECKING:
    from typing_extensions import Buffer

Record = Mapping[str, object]

_UTC_TIME = pa.timestamp("us", "UTC")

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    "text": pa.string(),
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "numeric": pa.decimal128(38, 9),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": _UTC_TIME,
    "jsonb": pa.string(),
    "uuid": pa.string(),
    "inet": pa.string(),
    "bytea": pa.binary(),
}

#: A double holds so many decimal digits for certain, and whole numbers up to so much.
_EXACT_DIGITS = 15
_EXACT_INTEGER = 1 << 53
_MAX_DIGITS = 38
#: Numbers inside JSON text that a double may have rounded.
MAY_BE_ROUNDED = r"[0-9]{16}|[0-9]\.[0-9]{15}|[0-9][eE]\+?[0-9]"

#: The end of a time that names its zone.
_ZONE = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)$", re.I)
#: A time that is a count since 1970. So much is the year 5138 in seconds, March 1973 in milliseconds.
_COUNTED = re.compile(r"-?\d{5,17}")
_FEWEST_MILLISECONDS = 100_000_000_000
_REFUSED = (pa.ArrowException, TypeError, ValueError, ArithmeticError)


class RoundedError(Exception):
    """A number was parsed as a double and may have lost digits."""


def parse_json(body: bytes) -> tuple[object, bool]:
    """JSON as vendors write it, also with lone surrogates and NaN, and whether it was plain.

    ValueError when it is cut off or nested beyond what can be read.
    """
    try:
        return orjson.loads(body), True
    except orjson.JSONDecodeError:
        return parse_json_exactly(body), False


def parse_json_exactly(body: bytes) -> object:
    """JSON with every fraction as a Decimal and every whole number in full."""
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"), parse_float=Decimal)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def batch_from_records(
    columns: Sequence[Column], records: Sequence[Record], *, are_exact: bool = False
) -> pa.RecordBatch:
    """Parsed JSON objects as one batch; fields that no column declares are left out."""
    arrays = []
    for column in columns:
        field = column.vendor_field
        values = [record.get(field) for record in records]
        arrays.append(_column(column.type, values, are_exact=are_exact))
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])


def batch_from_text(columns: Sequence[Column], texts: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Columns of text (of a CSV file, by vendor field) as one batch."""
    present = [column for column in columns if column.vendor_field in texts]
    arrays = [typed(column.type, texts[column.vendor_field]) for column in present]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in present])


def read_csv(
    body: bytes, *, names: Sequence[str] | None = None, null_text: str | None = None
) -> dict[str, pa.Array]:
    """A CSV file as columns of text, each in one piece; ``names`` when it has no header.

    An empty cell without quotes is null, a quoted one is the empty text; ``null_text`` names the
    text that also means null, where the vendor quotes everything. RetriableError when it is none.
    """
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names or _header(body), pa.string()),
        null_values=["" if null_text is None else null_text],
        strings_can_be_null=True,
        quoted_strings_can_be_null=null_text is not None,
        check_utf8=False,
    )
    try:
        table = csv.read_csv(
            pa.BufferReader(body),
            read_options=csv.ReadOptions(block_size=len(body) + 1, column_names=names),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=convert,
        )
    except pa.ArrowInvalid:
        raise _no_csv() from None
    return {
        name: column.combine_chunks()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


#: A streamed CSV is parsed in pieces of so many bytes; no record may be larger. Arrow reads up to 32
#: of them ahead.
_CSV_BLOCK = 2 << 20


def read_csv_stream(
    chunks: Iterable[bytes], *, null_text: str | None = None
) -> Iterator[dict[str, pa.Array]]:
    """A CSV file that is too large to hold, piece by piece as ``read_csv`` gives it.

    RetriableError when it is none; a file cut at a line's end looks whole, so count the records.
    """
    source = _Chunks(chunks)
    names = _header(source.first_line())
    if not names:
        return
    try:
        pieces = csv.open_csv(
            source,
            read_options=csv.ReadOptions(block_size=_CSV_BLOCK, use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=["" if null_text is None else null_text],
                strings_can_be_null=True,
                quoted_strings_can_be_null=null_text is not None,
                check_utf8=False,
            ),
        )
        for piece in pieces:
            yield dict(zip(piece.schema.names, piece.columns, strict=True))
    except pa.ArrowInvalid:
        raise _no_csv() from None


def _no_csv() -> RetriableError:
    """Without Arrow's own message, which quotes the row."""
    return RetriableError(
        "a file of records is cut off or no CSV", hint="run it again: the file is fetched anew"
    )


class _Chunks(RawIOBase):
    """Chunks of bytes as a file to read once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def first_line(self) -> bytes:
        """The bytes up to the first line's end, which stay to be read; no longer than a record."""
        while b"\n" not in self._held and (chunk := next(self._chunks, b"")):
            self._held += chunk
            if len(self._held) > _CSV_BLOCK:
                raise _no_csv()
        return self._held

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        # As much as is asked for: Arrow takes a piece for whole lines and a rest.
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and (self._held or self._fetch()):
            size = min(len(view) - filled, len(self._held))
            view[filled : filled + size] = self._held[:size]
            self._held = self._held[size:]
            filled += size
        return filled

    def _fetch(self) -> bool:
        self._held = next(self._chunks, b"")
        return bool(self._held)


def _header(body: bytes) -> list[str]:
    line = body[: body.find(b"\n") + 1 or len(body)].decode("utf-8-sig", "replace")
    try:
        return next(reader([line]), [])
    except CsvError:
        raise _no_csv() from None


def typed(kind: ColumnType, texts: pa.Array) -> pa.Array:
    """Text as the column's type; the text itself when any value does not fit."""
    if texts.null_count == len(texts):
        return pa.nulls(len(texts), ARROW_TYPES[kind])
    try:
        if kind == "numeric":
            return _decimals(texts)
        if kind in {"timestamptz", "timestamp"}:
            return _times(kind, texts)
        return texts.cast(ARROW_TYPES[kind])
    except _REFUSED:
        return typed("bigint", texts) if kind == "integer" else texts


def _decimals(texts: pa.Array) -> pa.Array:
    """Decimal text with no more places than the longest value needs."""
    point = pc.find_substring(texts, ".")
    if pc.any(pc.and_(pc.ends_with(texts, "0"), pc.greater(point, -1))).as_py():
        texts = pc.replace_substring_regex(texts, r"(\.[0-9]*?)0+$", r"\1")
        point = pc.find_substring(texts, ".")
    places = pc.subtract(pc.subtract(pc.binary_length(texts), point), 1)
    most = pc.max(pc.if_else(pc.equal(point, -1), 0, places)).as_py() or 0
    try:
        return texts.cast(pa.decimal128(38, most))
    except pa.ArrowInvalid:
        numbers = [None if text is None else Decimal(text) for text in texts.to_pylist()]
    if any(number is not None and not number.is_finite() for number in numbers):
        raise ValueError("not a finite number")
    if (places := _places(numbers)) > _MAX_DIGITS:
        raise ValueError("more places than a decimal has")
    return pa.array(numbers, pa.decimal128(38, places))


def _places(numbers: Iterable[Decimal | None]) -> int:
    exponents = (
        -int(number.normalize().as_tuple().exponent) for number in numbers if number is not None
    )
    return max(0, *exponents, 0)


def _times(kind: ColumnType, texts: pa.Array) -> pa.Array:
    """ISO times of any zone, or of none; whole numbers are seconds or milliseconds since 1970."""
    sample = texts[pc.index(texts.is_valid(), True).as_py()].as_py()
    if _COUNTED.fullmatch(sample):
        counted = texts.cast(pa.int64())
        is_seconds = pc.less(pc.abs(counted), _FEWEST_MILLISECONDS)
        factor = pc.if_else(is_seconds, 1_000_000, 1_000)
        return pc.multiply_checked(counted, factor).cast(_UTC_TIME).cast(ARROW_TYPES[kind])
    likely = _UTC_TIME if _ZONE.search(sample) else pa.timestamp("us")
    try:
        times = texts.cast(likely)
    except pa.ArrowInvalid:
        moments = [None if text is None else _moment(text) for text in texts.to_pylist()]
        times = pa.array(moments, _UTC_TIME)
    # Between UTC and no zone the cast keeps the digits.
    return times.cast(ARROW_TYPES[kind])


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


# -- JSON values as they are written --

#: Strings without an escape, and numbers that are written as text would be.
_PLAIN = r'^(?:"[^"\\]*"|-?[1-9][0-9]*(?:\.[0-9]+)?|0(?:\.[0-9]+)?)$'
#: Of a number, the digits behind the point do not always go the same way as those of a text.
_PLAIN_WHOLE = r'^(?:"[^"\\]*"|-?[1-9][0-9]*|0)$'


def from_written(kind: ColumnType, texts: pa.StringArray) -> pa.Array:
    """Values of one field as JSON writes them (null where there is none) as the column's type."""
    if kind == "jsonb":
        return texts
    plain = _PLAIN if kind in {"text", "uuid", "inet"} else _PLAIN_WHOLE
    if pc.all(pc.match_substring_regex(texts, plain)).as_py() is not False:
        return typed(kind, pc.utf8_trim(texts, '"'))
    listed = ",".join(pc.fill_null(texts, "null").to_pylist())
    values = parse_json_exactly(f"[{listed}]".encode())
    assert isinstance(values, list)
    return _column(kind, values, are_exact=True)


# -- Python values, as JSON gives them --


def _column(kind: ColumnType, values: list[object], *, are_exact: bool) -> pa.Array:
    return _CONVERTERS.get(kind, _from_any)(kind, values, are_exact)


def _from_any(kind: ColumnType, values: list[object], are_exact: bool) -> pa.Array:
    """Values whose Python type is the column's own, else by way of their text."""
    try:
        if kind == "boolean":
            return pa.array(values, pa.bool_())
        return typed(kind, pa.array(values, pa.string()))
    except _REFUSED:
        if not are_exact:
            _refuse_rounded(values)
            if float in map(type, values):
                raise RoundedError from None  # a double has forgotten that 1.10 was written so
        return typed(kind, _texts(values))


def _from_integers(kind: ColumnType, values: list[object], are_exact: bool) -> pa.Array:
    try:
        if not {type(value) for value in values} <= {int, type(None)}:
            raise TypeError("not whole numbers only")
        try:
            return pa.array(values, ARROW_TYPES[kind])
        except _REFUSED:
            return pa.array(values, pa.int64())
    except _REFUSED:
        if not are_exact:
            _refuse_rounded(values)
        texts = _texts([_whole(value) for value in values])
        return typed(kind, texts)


def _from_numbers(kind: ColumnType, values: list[object], are_exact: bool) -> pa.Array:
    if kind == "double precision":
        try:
            return pa.array(values, pa.float64())
        except _REFUSED:
            return typed(kind, _texts(values))
    if not are_exact:
        _refuse_rounded(values)
    return typed(kind, _texts([_whole(value) for value in values]))


def _from_nested(kind: ColumnType, values: list[object], are_exact: bool) -> pa.Array:
    if are_exact:
        return _strings([None if value is None else json_text(value) for value in values])
    texts = nested_texts(values)
    if texts is None:
        raise RoundedError
    return texts


def nested_texts(values: Iterable[object]) -> pa.Array | None:
    """Values as JSON text; None where a number may have lost digits, or nesting is too deep."""
    try:
        texts = [None if value is None else orjson.dumps(value).decode() for value in values]
    except orjson.JSONEncodeError:
        return None
    array = pa.array(texts, pa.string())
    may_be_rounded = pc.any(pc.match_substring_regex(array, MAY_BE_ROUNDED)).as_py()
    return None if may_be_rounded else array


_CONVERTERS: Mapping[ColumnType, Callable[[ColumnType, list[object], bool], pa.Array]] = {
    "integer": _from_integers,
    "bigint": _from_integers,
    "numeric": _from_numbers,
    "double precision": _from_numbers,
    "jsonb": _from_nested,
}


def _refuse_rounded(values: Iterable[object]) -> None:
    for value in values:
        if type(value) is dict or type(value) is list:
            raise RoundedError  # whatever is inside
        if type(value) is float and (
            abs(value) >= _EXACT_INTEGER
            or len(repr(value).lstrip("-0.").replace(".", "")) > _EXACT_DIGITS
        ):
            raise RoundedError


def _whole(value: object) -> object:
    """A number that is whole as an integer: 7.0 → 7."""
    if type(value) is Decimal and value.is_finite() and value.adjusted() < _MAX_DIGITS:
        return int(value) if value == value.to_integral_value() else value
    if type(value) is float and abs(value) < _EXACT_INTEGER and value.is_integer():
        return int(value)
    return value


def _texts(values: Iterable[object]) -> pa.Array:
    return _strings([None if value is None else _as_text(value) for value in values])


def _strings(values: list[str | None]) -> pa.Array:
    """Strings; lone surrogates go in as the bytes they are, for the loader to clean and count."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        raw = [
            None if value is None else value.encode("utf-8", "surrogatepass") for value in values
        ]
        return pa.array(raw, pa.binary()).view(pa.string())


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json_text(value)


def json_text(value: object) -> str:
    """A parsed value as JSON text, every number as it was written, at any depth."""
    text: list[str] = []
    left: list[object] = [value]
    while left:
        item = left.pop()
        if isinstance(item, _Mark):
            text.append(item)
        elif isinstance(item, dict):
            left.append(_Mark("}"))
            for place, (key, inner) in enumerate(reversed(item.items())):
                comma = "," if place < len(item) - 1 else ""
                left += [inner, _Mark(f"{comma}{json.dumps(key)}:")]
            text.append("{")
        elif isinstance(item, list):
            left.append(_Mark("]"))
            for place, inner in enumerate(reversed(item)):
                left += [inner, _Mark("," if place < len(item) - 1 else "")]
            text.append("[")
        else:
            text.append(str(item) if isinstance(item, Decimal) else json.dumps(item))
    return "".join(text)


class _Mark(str):
    """Text that stands between values."""

    __slots__ = ()
