"""What files are packed and written in (L6, L11): undone on the way, or an error that says what it is."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.warehouse.files import read_file
from meltano_assets.warehouse.opening import head
from meltano_assets.warehouse.parquet_files import write_parquet
from meltano_assets.warehouse.singer import is_singer, open_lines

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    "lz4": lambda data: pa.compress(data, "lz4", asbytes=True),
}
ROWS = [{"id": number, "a": f"caf\u00e9 {number * 7919}"} for number in range(3_000)]
CSV = "id,a\n" + "".join(f"{row['id']},{row['a']}\n" for row in ROWS)
NDJSON = "".join(json.dumps(row) + "\n" for row in ROWS)


def records(path: Path, encoding: str | None = None) -> list[dict[str, object]]:
    _, batches = read_file(path, encoding=encoding)
    found = pa.Table.from_batches(list(batches)).to_pylist()
    return [{**row, "id": int(row["id"])} for row in found]


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_a_packed_file_is_what_it_holds(tmp_path: Path, packing: str, form: str) -> None:
    if form == "parquet":
        write_parquet(tmp_path / "plain", [pa.RecordBatch.from_pylist(ROWS)])
        content = (tmp_path / "plain").read_bytes()
    else:
        content = (CSV if form == "csv" else NDJSON).encode()
    # The name need not say it.
    for name in (f"f.{form}.{packing}", f"f.{form}"):
        (tmp_path / name).write_bytes(PACKED[packing](content))
        assert records(tmp_path / name) == ROWS


@pytest.mark.parametrize("packing", PACKED)
def test_several_packed_parts_behind_each_other_are_one_file(tmp_path: Path, packing: str) -> None:
    data = CSV.encode()
    pack = PACKED[packing]
    path = tmp_path / "f.csv"
    path.write_bytes(pack(data[:10_000]) + pack(data[10_000:]))
    assert records(path) == ROWS


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("form", ["csv", "ndjson", "singer"])
def test_a_packed_file_that_is_cut_off_or_damaged_is_an_error(
    tmp_path: Path, packing: str, form: str
) -> None:
    data = (CSV if form == "csv" else NDJSON).encode()
    packed = PACKED[packing](data)
    broken = bytearray(packed)
    broken[len(packed) // 2 : len(packed) // 2 + 40] = bytes(40)
    path = tmp_path / f"f.{form}.{packing}"
    cut = [packed[: len(packed) // 2], packed[:-3]]
    # The other two have no checksums, unless whoever packed a file asked for them.
    for content in [*cut, bytes(broken)] if packing in ("gz", "bz2", "xz") else cut:
        path.write_bytes(content)
        with pytest.raises(FatalError, match=r"f\..*damaged or cut off"):
            list(open_lines(str(path)) if form == "singer" else read_file(path)[1])


@pytest.mark.parametrize("packing", [None, *PACKED])
def test_messages_are_known_by_their_beginning(tmp_path: Path, packing: str | None) -> None:
    line = b'{"type": "STATE", "value": {}}\n' * 1000
    path = tmp_path / "f"
    path.write_bytes(line if packing is None else PACKED[packing](line))
    assert is_singer(str(path))
    assert head(str(path)) == line[: len(head(str(path)))]
    assert b"".join(open_lines(str(path))) == line


@pytest.mark.parametrize("packing", [None, "zst"])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be", "latin-1", "cp1252"])
def test_a_text_in_another_encoding_is_read(
    tmp_path: Path, encoding: str, form: str, packing: str | None
) -> None:
    """A byte order mark tells the encoding, any other has to be named."""
    text = CSV if form == "csv" else json.dumps(ROWS[0], ensure_ascii=False) + "\n"
    content = text.encode(encoding)
    path = tmp_path / f"f.{form}"
    path.write_bytes(content if packing is None else PACKED[packing](content))
    is_marked = encoding in ("utf-16", "utf-32")
    assert records(path, None if is_marked else encoding) == (ROWS if form == "csv" else ROWS[:1])


def test_a_text_that_is_not_in_its_encoding_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    for content, encoding, words in (
        (codecs.BOM_UTF16_LE + CSV.encode("utf-16-le")[:-1], None, "not written in utf-16"),
        (CSV.encode(), "ascii", "not written in ascii"),
        (CSV.encode(), "klingon", "unknown encoding 'klingon'"),
        (CSV.encode(), "base64", "unknown encoding 'base64'"),
        (b"PAR1\x15\x04", "latin-1", "Parquet"),
    ):
        path.write_bytes(content)
        with pytest.raises(FatalError, match=words):
            list(read_file(path, encoding=encoding)[1])


def test_a_line_of_standard_input_is_there_once_it_was_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tap that waits for something must not keep back what it has said."""
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
    line = b'{"type": "STATE", "value": {}}\n'
    os.write(writing, line)
    lines = open_lines("-")
    assert next(lines) == line
    os.write(writing, line)
    assert next(lines) == line
    os.close(writing)
    assert list(lines) == []
    sys.stdin.close()


def test_what_is_read_from_a_pipe_is_not_looked_into_twice(tmp_path: Path) -> None:
    """The first look would take away what the second is to find."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=[CSV])
    assert head(str(pipe)) == b""
    writer.start()
    assert len(records(pipe)) == len(ROWS)
    writer.join()
