"""CSV as batches of texts: header and delimiter, where a record ends, and rows that are none.

A quote begins a value only where the value begins; anywhere else it is text. Where something follows the
quote that ends a value, the row is set aside: whether a quote inside is missing its twin, or one further up
was never closed, nobody can tell. What the texts are is told by ``inference.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from meltano_assets.errors import FatalError
from meltano_assets.warehouse.names import unique_names
from meltano_assets.warehouse.records import MALFORMED, REASON, with_malformed

_BOM = b"\xef\xbb\xbf"

#: Spreadsheet programs write, and understand, the delimiter in a line of its own before the header.
_TOLD_DELIMITER = re.compile(rb"sep=([,\t;|])(?:\r\n|\r|\n)", re.I)
_DELIMITERS = ",\t;|"

_LINE = re.compile(rb"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
_BLANK_LINES = re.compile(rb"(?:[^\S\r\n]*+[\r\n])*+")
_LINE_END = re.compile(rb"[\r\n]|\Z")

_BEHIND_A_QUOTE = "text behind the quote that ends a value; or a quote further up was never closed"


class Piece(NamedTuple):
    """Whole records; ``is_plain`` says that every quote in them is where one belongs."""

    text: bytes
    is_plain: bool


class Reader:
    """The records of an open CSV; ``header`` is known once the first piece was asked for."""

    def __init__(
        self, opened: IO[bytes], name: str, delimiter: str | None, block_bytes: int
    ) -> None:
        self._opened = opened
        self._name = name
        self._delimiter = delimiter
        self._block_bytes = block_bytes
        self._rows = 0
        self.header: list[str] = []

    def pieces(self) -> Iterator[Piece]:
        """Records as they are written, about ``block_bytes`` at a time."""
        rest = self._after_header()
        wanted = self._block_bytes
        while True:
            end, is_plain = self._quotes.record_end(rest)
            if end:
                yield Piece(rest[:end], is_plain)
                rest = rest[end:]
                wanted = self._block_bytes
            elif rest:
                wanted *= 2
            more = self._opened.read(max(wanted - len(rest), self._block_bytes))
            if not more:
                if rest:
                    yield Piece(rest, is_plain=False)
                return
            rest += more

    def parse(self, piece: Piece) -> pa.RecordBatch:
        """A piece as columns of text, with the rows that are no records behind the others."""
        batch = self._parsed(*piece)
        self._rows += batch.num_rows
        return batch

    def _after_header(self) -> bytes:
        """Find the names and what separates them; returns what has been read behind them."""
        data = b""
        while True:
            wanted = max(self._block_bytes, len(data))
            more = self._opened.read(wanted)
            data += more if data else more.removeprefix(_BOM)
            end = self._find_header(data, is_all=len(more) < wanted)
            if end is not None:
                return data[end:]

    def _find_header(self, data: bytes, *, is_all: bool) -> int | None:
        """Where the records begin; None when more has to be read to tell."""
        told = _TOLD_DELIMITER.match(data)
        delimiter = self._delimiter or (told[1].decode() if told else None)
        start = _behind(_BLANK_LINES, data, told.end() if told else 0)
        if not data[start:].strip():
            if is_all:
                raise FatalError(f"{self._name} is empty", hint="a CSV needs a header line")
            return None
        line = end = _behind(_LINE, data, start)
        while data.count(b'"', start, end) % 2 and end < len(data):
            end = _behind(_LINE, data, end)
        # A name may go on in the next lines; else its quote is just a sign in it.
        for stop in (end, line):
            separator = delimiter or _most_frequent(data[start:stop])
            quotes = _Quotes(separator)
            names = quotes.record(data[start:stop])
            if names is not None and (is_all or stop < len(data)):
                self.header, self._separator, self._quotes = unique_names(names), separator, quotes
                return stop
        if is_all:
            raise FatalError(
                f"{self._name} is no CSV that can be read: its header has a quote that is never"
                " closed, or text behind one that is"
            )
        return None

    def _parsed(self, piece: bytes, is_plain: bool) -> pa.RecordBatch:
        if not _is_utf8(piece):
            # Arrow's parser says nothing of a ragged row that is not UTF-8. Byte by byte, all is.
            return _bytes_again(self._parsed(piece.decode("latin-1").encode(), is_plain))
        mark, behind_quotes = "", list[str]()
        if not is_plain:
            piece, mark, behind_quotes = self._without_malformed(piece)
        texts: list[str] = []
        numbers: list[int] = []
        reasons: list[str | None] = []

        def keep(row: pa_csv.InvalidRow) -> str:
            is_marked = mark != "" and row.text == mark
            texts.append(behind_quotes.pop(0) if is_marked else row.text)
            numbers.append(self._rows + row.number)
            reasons.append(_BEHIND_A_QUOTE if is_marked else None)
            return "skip"

        try:
            table = pa_csv.read_csv(
                pa.BufferReader(piece),
                read_options=pa_csv.ReadOptions(
                    column_names=self.header, block_size=len(piece) + 1, use_threads=False
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self._separator,
                    newlines_in_values=True,
                    invalid_row_handler=keep,
                    ignore_empty_lines=len(self.header) > 1,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(self.header, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" not in str(error):
                raise FatalError(f"{self._name} is not a CSV that can be read") from None
            table = pa.table({field: pa.array([], pa.string()) for field in self.header})
        batch = table.combine_chunks().to_batches()
        records = batch[0] if batch else _nothing(self.header)
        return with_malformed(records, texts, numbers, reasons) if texts else records

    def _without_malformed(self, piece: bytes) -> tuple[bytes, str, list[str]]:
        """The piece with a mark, which is no record, for each row with text behind a quote.

        Returns the mark too, and those rows as they are written. FatalError when the piece, which ends
        where a record or the file does, ends inside a value.
        """
        count = self._quotes.count(piece)
        bare, is_open = piece, bool(count and count % 2)
        places: list[int] = []
        if count is None:
            bare, places, is_open = self._quotes.blotted(piece)
        if is_open:
            raise FatalError(
                f"{self._name} ends inside a quoted value", hint="is the file cut off?"
            )
        if not places:
            return piece, "", []
        mark = self._separator * len(self.header) + "malformed"
        while mark.encode() in piece:
            mark += "."
        kept: list[bytes] = []
        rows: list[str] = []
        end = 0
        for place in places:
            if place < end:
                continue
            begin = 1 + max(bare.rfind(b"\n", end, place), bare.rfind(b"\r", end, place), end - 1)
            kept += [piece[end:begin], mark.encode()]
            end = _LINE_END.search(bare, place).start()  # type: ignore[union-attr]
            rows.append(piece[begin:end].decode("utf-8"))
        return b"".join([*kept, piece[end:]]), mark, rows


class _Quotes:
    """Tells where values in quotes begin and end; every text begins where a record does."""

    def __init__(self, delimiter: str) -> None:
        sign = re.escape(delimiter.encode())
        self._delimiter = delimiter.encode()
        self._beside = np.zeros(256, dtype=bool)
        self._beside[list(b'\r\n"' + self._delimiter)] = True
        inside = rb'"[^"]*+(?:""[^"]*+)*+'
        behind = rb"(?P<behind>[^\r\n" + sign + rb"]*+)"
        self._quoted = re.compile(
            rb"(?:\A|(?<=[\r\n" + sign + rb"]))" + inside + rb'(?P<closed>"?)' + behind
        )
        self._value = re.compile(
            rb"(?P<quoted>" + inside + rb'(?P<closed>"?))?' + behind + rb"(?P<end>" + sign + rb")?"
        )

    def count(self, text: bytes) -> int | None:
        """How many quotes there are; None unless each begins a value, ends one or is one of two."""
        signs = np.frombuffer(text, np.uint8)
        places = np.flatnonzero(signs == ord('"'))
        first, second = places[::2], places[1::2]
        if len(first) and first[0] == 0:
            first = first[1:]
        if len(second) and second[-1] == len(text) - 1:
            second = second[:-1]
        are_beside = self._beside[signs[first - 1]].all() and self._beside[signs[second + 1]].all()
        return len(places) if are_beside else None

    def record_end(self, text: bytes) -> tuple[int, bool]:
        """The place behind the last line end that is no part of a quoted value; 0 for none.

        Also whether no quote up to there is out of place.
        """
        count = self.count(text)
        if count is None:
            return _line_end(self.blotted(text)[0], 0), False
        return _line_end(text, count), True

    def blotted(self, text: bytes) -> tuple[bytes, list[int], bool]:
        """The text with every value in quotes crossed out, as long as it was.

        Returns, too, the places of the values behind which more stands, and whether the last one
        is still open.
        """
        bare = bytearray(text)
        places = []
        is_open = False
        for value in self._quoted.finditer(text):
            start, end = value.span()
            bare[start:end] = b"x" * (end - start)
            is_open = not value["closed"]
            if value["behind"].strip():
                places.append(start)
        return bytes(bare), places, is_open

    def record(self, text: bytes) -> list[str] | None:
        """The values of a text that is one record; None when it is none, or not a whole one."""
        values = []
        text = text.rstrip(b"\r\n")
        place, is_last = 0, False
        while not is_last:
            found = self._value.match(text, place)
            assert found is not None
            quoted, behind = found["quoted"], found["behind"]
            if quoted is not None and (not found["closed"] or behind.strip()):
                return None
            value = quoted[1:-1].replace(b'""', b'"') if quoted is not None else b""
            values.append((value + behind).decode("utf-8", "backslashreplace"))
            place, is_last = found.end(), found["end"] is None
        return values if place == len(text) else None


def _line_end(text: bytes, quotes: int) -> int:
    """The place behind the last line end with an even number of quotes before it; 0 for none.

    ``quotes`` is how many there are in the text. Where no line ends with a line feed, a carriage
    return ends it, if not at the very end, where a line feed may follow.
    """
    for sign, stop in ((b"\n", len(text)), (b"\r", max(len(text) - 1, 0))):
        end = stop
        before = quotes - text.count(b'"', end) if quotes else 0
        while (place := text.rfind(sign, 0, end)) >= 0:
            if quotes:
                before -= text.count(b'"', place, end)
            if before % 2 == 0:
                return place + 1
            # All line ends behind the quote before this one are as much inside of a value.
            end = text.rfind(b'"', 0, place) + 1
    return 0


def _behind(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    """The end of what matches from ``start`` on."""
    found = pattern.match(text, start)
    return found.end() if found else start


def _most_frequent(header: bytes) -> str:
    """The delimiter that occurs most in a header, what stands in quotes left out."""
    bare = re.sub(rb'"[^"]*"', b"", header)
    return max(_DELIMITERS, key=lambda sign: bare.count(sign.encode()))


def _is_utf8(piece: bytes) -> bool:
    ends = pa.array([0, len(piece)], pa.int64()).buffers()[1]
    try:
        pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(piece)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _bytes_again(records: pa.RecordBatch) -> pa.RecordBatch:
    """The strings with the bytes that they had; what is not UTF-8 is the loader's to judge."""
    arrays = []
    for name, array in zip(records.schema.names, records.columns, strict=True):
        if name == MALFORMED:
            texts = array.to_pylist()
            readable = [
                None if text is None else text.encode("latin-1").decode("utf-8", "replace")
                for text in texts
            ]
            arrays.append(pa.array(readable, pa.string()))
        elif name == REASON or not pa.types.is_string(array.type):
            arrays.append(array)
        else:
            raw = [None if text is None else text.encode("latin-1") for text in array.to_pylist()]
            binary = pa.array(raw, pa.large_binary())
            arrays.append(
                pa.Array.from_buffers(
                    pa.large_string(), len(binary), binary.buffers(), binary.null_count
                )
            )
    return pa.RecordBatch.from_arrays(arrays, names=records.schema.names)


def _nothing(names: Iterable[str]) -> pa.RecordBatch:
    fields = list(names)
    return pa.RecordBatch.from_arrays([pa.array([], pa.string()) for _ in fields], names=fields)
