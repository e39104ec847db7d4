"""RECORD messages of one stream, gathered as lines so that their records are parsed all at once.

Most taps write their records alike, with nothing but strings and numbers around them. Such a line is
split, without parsing it, into the record's text and the message around it; a block of texts becomes
columns by ``json_columns.py``. Whatever is written in another way, or holds a surprise, is None here
and is left to be read message by message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import orjson
import pyarrow as pa

from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.json_columns import Columns
from meltano_assets.warehouse.opening import BLOCK_BYTES

#: Fewer lines than these are parsed one by one faster than at once.
WORTH_A_BLOCK = 100

_MEMBER = (
    rb'"(?:type|stream|version|time_extracted)"\s*+:\s*+(?:"[^"\\\x00-\x1f]*+"|-?[0-9]++|null)\s*+'
)
#: The message up to its record, the record, and what follows; it can be split at one place only,
#: since no bracket stands in what surrounds the record but its own.
_SPLIT = re.compile(
    rb'(\{\s*+(?:' + _MEMBER + rb',\s*+)*+"record"\s*+:\s*+)(\{.*\})(\s*+(?:,\s*+'
    + _MEMBER + rb')*+\}\s*+)\Z',
    re.S,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a line says around its record, and where in the line the record stands."""

    stream: str
    version: int | None
    start: int
    end: int


def envelope(line: bytes) -> Envelope | None:
    """The message around a line's record; None when the line has to be parsed as a whole.

    That the record's text is one JSON object is for who parses it to see.
    """
    split = _SPLIT.match(line)
    if split is None:
        return None
    around = split[1] + b"{}" + split[3]
    try:
        message = orjson.loads(around)
    except ValueError:
        return None
    stream, version = message.get("stream"), version_of(message)
    if message.get("type") != "RECORD" or not isinstance(stream, str):
        return None
    if len(message) != around.count(b'":') or version != message.get("version"):
        # A name that stands twice, or a version that is none.
        return None
    return Envelope(stream, version, split.start(2), split.end(2))


def version_of(message: Mapping[str, object]) -> int | None:
    """The version that a message names; None for what is no whole number of 64 bits."""
    version = message.get("version")
    is_whole = isinstance(version, int) and not isinstance(version, bool)
    return cast(int, version) if is_whole and abs(cast(int, version)) < 2**63 else None


@dataclass(slots=True)
class Block:
    """Lines of one stream and one version, waiting to be parsed at once."""

    columns: Columns
    required: frozenset[str]
    version: int | None = None
    #: Lines with their numbers, and where in each the record stands.
    lines: list[tuple[bytes, int]] = field(default_factory=list)
    _places: list[tuple[int, int]] = field(default_factory=list)
    _bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self._bytes >= BLOCK_BYTES

    @property
    def is_hopeless(self) -> bool:
        """True when the stream's records hold so many surprises that gathering them is a waste."""
        return self.columns.has_given_up

    def add(self, line: bytes, number: int, found: Envelope) -> None:
        self.lines.append((line, number))
        self._places.append((found.start, found.end))
        self._bytes += len(line)

    def take(self) -> tuple[pa.RecordBatch | None, list[tuple[bytes, int]]]:
        """The records as columns, or None and the lines; the block is empty then."""
        batch = self._parsed() if len(self.lines) >= WORTH_A_BLOCK else None
        lines = [] if batch is not None else self.lines
        self.lines, self._places, self._bytes = [], [], 0
        return batch, lines

    def _parsed(self) -> pa.RecordBatch | None:
        batch = self.columns.read(b"\n".join(self._texts()))
        if batch is None or batch.num_rows != len(self.lines):
            return None
        # Null and missing look alike in a column: only where it has no null are all there.
        if any(
            name not in batch.schema.names or batch.column(name).null_count
            for name in self.required
        ):
            return None
        return batch

    def _texts(self) -> Iterator[bytes]:
        for (line, _), (start, end) in zip(self.lines, self._places, strict=True):
            yield line[start:end]


def completed(batch: pa.RecordBatch, kinds: Mapping[str, ColumnType]) -> pa.RecordBatch:
    """The batch with every field of ``kinds``; those that no record has are null."""
    rows, names = batch.num_rows, batch.schema.names
    missing = [name for name in kinds if name not in names]
    arrays = [*batch.columns, *(pa.nulls(rows, pa.string()) for _ in missing)]
    return pa.RecordBatch.from_arrays(arrays, names=[*names, *missing])
