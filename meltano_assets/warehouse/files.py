"""Files as batches: CSV, NDJSON and Parquet, plain or packed, from a path or standard input.

Nothing is held but the block at hand. Types are inferred from the first block (``inference.py``) and
widened by the loader as later values demand. A row that cannot be read as a record (too few or too many
fields) travels in the column ``_malformed`` and is set aside by the loader; a file that is broken as a
whole (cut off, not the format that it claims) is a FatalError.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Literal, TypeVar, get_args

import orjson
import pyarrow as pa

from meltano_assets import json_objects
from meltano_assets.errors import FatalError
from meltano_assets.streams import Column, ColumnType
from meltano_assets.warehouse import csv_files, json_records
from meltano_assets.warehouse.inference import infer
from meltano_assets.warehouse.json_columns import Columns
from meltano_assets.warehouse.names import fold_all
from meltano_assets.warehouse.opening import (
    BLOCK_BYTES,
    HEAD_BYTES,
    PACKED_ENDINGS,
    guarded,
    head,
    is_packed,
    open_plain,
)
from meltano_assets.warehouse.parquet_files import read_parquet
from meltano_assets.warehouse.records import DELETED_AT, with_malformed

FileFormat = Literal["auto", "csv", "ndjson", "parquet"]

Block = TypeVar("Block")

_PARQUET_MAGIC = b"PAR1"
_BOM = b"\xef\xbb\xbf"

#: What a file begins with that is none of ours, and would give nonsense as a CSV.
_OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
    b"\xff\x06\x00\x00sNaPpY": "compressed with Snappy",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"PARE": "an encrypted Parquet file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
}

#: What no text has in its first line, and every binary file has there.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_LINE_BYTES = 1024

#: Often an error page that was saved under the name of the file.
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\b|html\b|\?xml\b)", re.I)
#: An object, or a list of them; no header begins like this.
_JSON = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*+(?:\[\s*+)?+\{\s*+(?:"(?:[^"\\]|\\.)*+"\s*+:|\}\s*+[\n,\]])', re.S
)

#: Digits and points become 0, signs -, exponents e, what may follow a number ; – so numbers can be
#: found without a regex.
_SHAPES = bytes(
    ord("0") if chr(code) in "0123456789." else
    ord("-") if chr(code) in "+-" else
    ord("e") if chr(code) in "eE" else
    ord(";") if chr(code) in ",}] \t\r\n" else ord(" ")
    for code in range(256)
)  # fmt: skip
#: How numbers with an exponent end.
_EXPONENTS = (b"e000", b"e-000", b"0e0;", b"0e00;", b"0e-0;", b"0e-00;")
#: Zeros at the end (``.0`` alone stays as it is); more than 15 digits.
_TRAILING_ZERO = re.compile(rb"\.[0-9]+0[,}\]\s]")
_LONG_FRACTION = re.compile(
    rb"\.(?:"
    + b"".join(rb"(?<=[0-9]{%d}\.)[0-9]{%d}|" % (whole, 16 - whole) for whole in range(1, 16))
    + rb"(?<=[0-9]{16}\.))"
)


def has_inexact_number(text: bytes) -> bool:
    """True when a number may stand there that a double or 64 bits would not give back as written."""
    shape = text.translate(_SHAPES)
    if b"0" * 17 in shape and (b"0" * 19 in shape or _LONG_FRACTION.search(text)):
        return True
    if b"0e" in shape and any(one in shape for one in _EXPONENTS):
        return True
    return _TRAILING_ZERO.search(text) is not None


def read_file(
    path: Path | str,
    file_format: FileFormat = "auto",
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    kinds: Mapping[str, ColumnType] | None = None,
) -> tuple[tuple[Column, ...], Iterator[pa.RecordBatch]]:
    """A file's columns, as far as its first block tells, and its records; ``-`` is standard input.

    ``encoding`` is what a text is written in, if neither UTF-8 nor marked as UTF-16; ``kinds`` are types of
    JSON fields that are known beforehand.
    """
    name = str(path)
    opened = open_plain(name, encoding)
    begin = opened.peek(BLOCK_BYTES)[:BLOCK_BYTES]
    kind = _detect(name, begin) if file_format == "auto" else file_format
    if kind not in get_args(FileFormat):
        raise FatalError(f"{name}: unknown format {kind!r}", hint="use csv, ndjson or parquet")
    if words := _something_else(begin, kind, delimiter or ""):
        if name != "-":
            opened.close()
        raise FatalError(
            f"{name} is {words}",
            hint="give CSV, NDJSON or Parquet, plain or compressed (gzip, bzip2, xz, zstd, lz4);"
            " --encoding names another encoding than UTF-8",
        )
    if kind == "parquet":
        kinds_of, batches = read_parquet(opened, name)
        return _columns(kinds_of), batches
    if kind == "csv":
        return _read_csv(opened, name, delimiter)
    return _read_ndjson(guarded(opened, _blocks(opened), name), name, dict(kinds or {}))


def _begins_with(head: bytes, magic: bytes) -> bool:
    """True when the bytes begin like that, and not with a word of text that does."""
    if not head.startswith(magic):
        return False
    line = head.split(b"\n", 1)[0][:_LINE_BYTES].rstrip()
    return not magic.isalnum() or head == magic or _CONTROL.search(line) is not None


def _something_else(head: bytes, kind: FileFormat, delimiter: str) -> str | None:
    """What a file is that has none of the formats; None for one that may have its format."""
    if is_packed(head):
        return "compressed twice"
    for magic, words in _OTHERS.items():
        if _begins_with(head, magic):
            return words
    # No text begins like this, while a value further down may well hold a NUL.
    line = head.lstrip().split(b"\n", 1)[0][:HEAD_BYTES].replace(delimiter.encode(), b"")
    is_binary = _CONTROL.search(line) is not None if kind == "csv" else b"\x00" in line
    if kind != "parquet" and is_binary:
        return "no text, or text in UTF-16"
    if kind != "parquet" and _MARKUP.match(head):
        return "an HTML or XML document"
    if kind == "csv" and _JSON.match(head):
        return "JSON"
    return None


def _detect(name: str, head: bytes) -> FileFormat:
    if _begins_with(head, _PARQUET_MAGIC):
        return "parquet"
    plain = name.lower()
    for ending in PACKED_ENDINGS:
        plain = plain.removesuffix(ending)
    if plain.endswith((".parquet", ".pq")):
        return "parquet"
    if plain.endswith((".ndjson", ".jsonl", ".json")) or _JSON.match(head):
        return "ndjson"
    if plain.endswith((".csv", ".tsv", ".txt")):
        return "csv"
    return "ndjson" if head.removeprefix(_BOM).lstrip().startswith(b"{") else "csv"


def tells_its_columns(path: str, file_format: FileFormat) -> bool:
    """True for formats whose beginning names every column: all but NDJSON."""
    begin = head(path)
    if file_format != "auto" or not begin:
        return file_format not in ("auto", "ndjson")
    return _detect(path, begin) != "ndjson"


def _blocks(opened: IO[bytes]) -> Iterator[bytes]:
    """Pieces of about BLOCK_BYTES that end where a line ends."""
    rest = opened.read(BLOCK_BYTES).removeprefix(_BOM)
    wanted = BLOCK_BYTES
    while rest:
        end = rest.rfind(b"\n") + 1
        if end:
            yield rest[:end]
            rest = rest[end:]
            wanted = BLOCK_BYTES
        else:
            wanted *= 2
        more = opened.read(max(wanted - len(rest), BLOCK_BYTES))
        if not more:
            if rest:
                yield rest
            return
        rest += more


def _parsed(
    blocks: Iterator[Block], parse: Callable[[Block], pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Each block parsed, in order, by a thread that is one block ahead of who stores them."""
    with ThreadPoolExecutor(1, "parse") as ahead:
        parsing = None
        for block in blocks:
            parsed, parsing = parsing, ahead.submit(parse, block)
            if parsed is not None:
                yield parsed.result()
        if parsing is not None:
            yield parsing.result()


def _read_csv(
    opened: IO[bytes], name: str, delimiter: str | None
) -> tuple[tuple[Column, ...], Iterator[pa.RecordBatch]]:
    reader = csv_files.Reader(opened, name, delimiter, BLOCK_BYTES)
    pieces = guarded(opened, reader.pieces(), name)
    leading = next(pieces, None)
    if leading is None:
        return _columns(dict.fromkeys(reader.header)), iter(())
    batch = reader.parse(leading)
    kinds = {field: infer(batch.column(field)) for field in reader.header}
    return _columns(kinds), chain([batch], _parsed(pieces, reader.parse))


def _columns(kinds: Mapping[str, ColumnType | None]) -> tuple[Column, ...]:
    """Columns for a file's fields, None for those without a value; every table has one for deletes."""
    names = fold_all(field for field in kinds if field != DELETED_AT)
    return tuple(
        Column(column, kinds[field] or "text", field=field, is_type_known=kinds[field] is not None)
        for field, column in names.items()
    )


# NDJSON


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the cycle collector, which would look at every new record again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read_ndjson(
    blocks: Iterator[bytes], name: str, kinds: dict[str, ColumnType]
) -> tuple[tuple[Column, ...], Iterator[pa.RecordBatch]]:
    columns_of = Columns(kinds)
    lines_before = 0

    def parse(block: bytes) -> pa.RecordBatch:
        nonlocal lines_before
        whole = columns_of.read(block)
        if whole is not None:
            lines_before += whole.num_rows
            return whole
        with _no_collection():
            records, malformed = _records(block, name, lines_before)
            batch = json_records.batch(records, kinds)
            repeated = json_records.repeated_keys(block)
            malformed += [(text, None) for text in json_records.empty(records)]
            del records
        lines_before += block.count(b"\n")
        if malformed:
            texts, numbers = zip(*malformed, strict=True)
            batch = with_malformed(batch, texts, numbers)
        return json_objects.with_repeated(batch, repeated)

    block = next(blocks, None)
    leading = None if block is None else parse(block)
    if leading is None or not (leading.num_columns or leading.num_rows):
        raise FatalError(f"{name} is empty")
    named = {json_records.clean_name(field): kind for field, kind in kinds.items()}
    return _columns(named), chain([leading], _parsed(blocks, parse))


#: A first line that only begins something: a bracket, or a key whose value is yet to come.
_OPENS_A_DOCUMENT = re.compile(
    rb'\s*+(?:\[[ \t]*+\{?|\{(?:[ \t]*+"(?:[^"\\\r\n]|\\.)*+"[ \t]*+:[ \t]*+[\[{])?)[ \t\r]*+\n'
)


def _records(
    block: bytes, name: str, lines_before: int
) -> tuple[list[dict[str, object]], list[tuple[str, int | None]]]:
    """The block's objects; lines that are none are set aside as they are, with their numbers."""
    records: list[dict[str, object]] = []
    malformed: list[tuple[str, int | None]] = []
    is_exact = not has_inexact_number(block)
    for number, line in enumerate(block.split(b"\n"), lines_before + 1):
        if not line or line.isspace():
            continue
        try:
            record = (
                orjson.loads(line)
                if is_exact or not has_inexact_number(line)
                else json_records.loads_exactly(line)
            )
        except ValueError:
            record = json_records.loads_leniently(line)
        except RecursionError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            malformed.append((line.decode("utf-8", "replace"), number))
    if malformed and lines_before == 0 and _OPENS_A_DOCUMENT.match(block):
        raise FatalError(
            f"{name} is no NDJSON but one JSON document over several lines",
            hint="write one object a line; of an array, `jq -c '.[]'` makes that, of an object `jq -c .`",
        )
    if malformed and not records and lines_before == 0:
        raise FatalError(
            f"{name} is no NDJSON: not one of its first lines is a JSON object",
            hint="write one object a line; of an array, `jq -c '.[]'` makes that",
        )
    return records, malformed
