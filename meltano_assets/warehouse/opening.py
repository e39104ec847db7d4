"""Files and standard input as plain UTF-8: what they are packed or written in is undone on the way.

How a file is packed is told by its first bytes, and so is UTF-16 or UTF-32 with a byte order mark; any
other encoding has to be named. What the bytes then are is a matter of ``files.py`` and ``singer.py``.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol, TypeVar, cast

import pyarrow as pa

from meltano_assets.errors import FatalError

BLOCK_BYTES = 4 * 1024 * 1024
#: What of a file is looked at to tell what it is.
HEAD_BYTES = 1 << 16

#: Endings of the names of packed files.
PACKED_ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".zstd", ".lz4")

Block = TypeVar("Block")


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def _by_arrow(codec: str) -> Callable[[IO[bytes]], _Reads]:
    def unpack(packed: IO[bytes]) -> _Reads:
        return cast(_Reads, pa.CompressedInputStream(pa.PythonFile(packed, "r"), codec))

    return unpack


#: By what a packed file begins with, how it is unpacked.
_PACKED: dict[bytes, Callable[[IO[bytes]], _Reads]] = {
    b"\x1f\x8b": lambda packed: gzip.GzipFile(fileobj=packed),
    **dict.fromkeys([b"BZh%d1AY" % level for level in range(1, 10)], bz2.BZ2File),
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _by_arrow("zstd"),
    b"\x04\x22\x4d\x18": _by_arrow("lz4"),
}
_MAGIC = tuple(_PACKED)
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException)

#: Byte order marks, the longer ones first: UTF-32's begins like UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def is_packed(head: bytes) -> bool:
    """True for the beginning of a packed file."""
    return head.startswith(_MAGIC)


def open_plain(name: str, encoding: str | None = None) -> io.BufferedReader:
    """A file, or standard input for ``-``, unpacked and in UTF-8, to be read and looked into.

    Whoever reads it does so through ``guarded``: what is damaged shows on the way.
    """
    if encoding is not None:
        _check_encoding(encoding)
    if name == "-":
        opened = _buffered(_AsItComes(cast(io.BufferedReader, sys.stdin.buffer)))
    else:
        try:
            opened = _buffered(io.FileIO(name))
        except OSError as error:
            raise FatalError(f"{name} cannot be read: {error.strerror}") from None
    try:
        return _in_plain(opened, name, encoding)
    except FatalError:
        opened.close()
        raise


def _in_plain(opened: io.BufferedReader, name: str, encoding: str | None) -> io.BufferedReader:
    begin = _looked_into(opened, name)
    for magic, unpack in _PACKED.items():
        if begin.startswith(magic):
            opened = _buffered(_Unpacked(opened, unpack))
            begin = _looked_into(opened, name)
            break
    marked = next((kind for mark, kind in _MARKS.items() if begin.startswith(mark)), None)
    if encoding is not None and begin.startswith(b"PAR1"):
        raise FatalError(
            f"{name} is a Parquet file, whose text is in UTF-8", hint="leave --encoding out"
        )
    if (written := encoding or marked) is not None:
        opened = _buffered(_Rewritten(opened, written))
        _looked_into(opened, name)
    return opened


def guarded(opened: IO[bytes], blocks: Iterator[Block], name: str) -> Iterator[Block]:
    """What is read from an open file, which is closed in the end; FatalError where it is damaged."""
    try:
        yield from blocks
    except EOFError:
        raise _damaged(name) from None
    except UnicodeDecodeError as error:
        raise _wrongly_written(name, error) from None
    finally:
        if name != "-":
            opened.close()


def head(name: str) -> bytes:
    """The first bytes of a file, plain; of standard input nothing is taken. Empty if unreadable.

    So it is, too, for what can be read only once, such as a named pipe.
    """
    try:
        if name != "-" and not Path(name).is_file():
            return b""
        if name != "-":
            with open_plain(name) as opened:
                return opened.peek(HEAD_BYTES)[:HEAD_BYTES]
        begin = cast(io.BufferedReader, sys.stdin.buffer).peek(HEAD_BYTES)
    except (OSError, FatalError):
        return b""
    for magic, unpack in _PACKED.items():
        if begin.startswith(magic):
            return _as_far_as_it_goes(unpack(io.BytesIO(begin)))
    return begin


def _as_far_as_it_goes(unpacked: _Reads) -> bytes:
    found = b""
    try:
        while len(found) < HEAD_BYTES and (more := unpacked.read(1024)):
            found += more
    except _DAMAGED:
        pass
    return found


def _buffered(source: object) -> io.BufferedReader:
    return io.BufferedReader(cast(io.FileIO, source), BLOCK_BYTES)


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)
        is_known = codecs.lookup(encoding).incrementaldecoder is not None
    except (LookupError, ValueError):
        is_known = False
    if not is_known:
        raise FatalError(
            f"unknown encoding {encoding!r}", hint="such as latin-1, cp1252 or utf-16-le"
        )


def _looked_into(opened: io.BufferedReader, name: str) -> bytes:
    try:
        return opened.peek(BLOCK_BYTES)
    except EOFError:
        raise _damaged(name) from None
    except UnicodeDecodeError as error:
        raise _wrongly_written(name, error) from None


def _damaged(name: str) -> FatalError:
    return FatalError(f"{name}: the compressed file is damaged or cut off")


def _wrongly_written(name: str, error: UnicodeDecodeError) -> FatalError:
    return FatalError(
        f"{name} is not written in {error.encoding}, or cut off", hint="name another --encoding"
    )


class _Source(io.RawIOBase):
    """Bytes made of those of another file, which is closed with it."""

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source

    def readable(self) -> bool:
        """It is only read."""
        return True

    def close(self) -> None:
        """Close both."""
        if not self.closed:
            super().close()
            self._source.close()


class _AsItComes(_Source):
    """What a tap has printed so far, though it be a line: nobody waits for a whole block."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer with what is there."""
        data = self._source.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Standard input stays open."""
        io.RawIOBase.close(self)


class _Unpacked(_Source):
    """What a packed file holds; EOFError where it is damaged or cut off."""

    def __init__(self, packed: io.BufferedReader, unpack: Callable[[IO[bytes]], _Reads]) -> None:
        super().__init__(packed)
        unpacked = unpack(packed)
        self._read: Callable[[int], bytes] = getattr(unpacked, "read1", unpacked.read)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one step goes."""
        try:
            data = self._read(len(buffer))
        except _DAMAGED:
            raise EOFError from None
        buffer[: len(data)] = data
        return len(data)


class _Rewritten(_Source):
    """A text in UTF-8 that is written in another encoding; UnicodeDecodeError where it is not."""

    def __init__(self, source: io.BufferedReader, encoding: str) -> None:
        super().__init__(source)
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._rest = b""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one step goes."""
        while not self._rest:
            data = self._source.read1(BLOCK_BYTES)
            self._rest = self._decoder.decode(data, final=not data).encode()
            if not data:
                break
        taken, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)
