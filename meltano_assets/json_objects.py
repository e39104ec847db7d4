"""JSON objects in their text: where each field's value stands, and columns by Arrow's reader.

Shared by what reads vendors' pages and what reads files. ``index`` finds the objects and their
fields by structure alone, many bytes at a time and without a Python object per value; what it says
holds for valid JSON only, so it is believed only when a parser has read the same text.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from json import loads
from threading import local

import numpy as np
import pyarrow as pa
from pyarrow import json

#: The rule, in a load's account, that of values with one key the last is kept.
KEY_TWICE = "json_key_twice"

#: All brackets, and no other character of JSON outside strings, become 0x7f with these bits set.
_BRACKET_BITS, _BRACKET = 0x26, 0x7F
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"{[")] = 1
_STEPS[list(b"}]")] = -1
_SHIFTS = [np.uint64(1 << power) for power in range(6)]
_ZERO, _ONE, _TOP_BIT = np.uint64(0), np.uint64(1), np.uint64(63)
#: The first so many bytes of eight.
_KEPT = np.array([2 ** (8 * size) - 1 for size in range(9)], np.uint64)
_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64
)
#: More levels than this are for a parser to follow.
_DEEP = 100
_PADDING = np.full(16, ord("."), np.uint8)

#: A key with an escape in it; now and then only the end of some text.
_ESCAPED_KEY = re.compile(rb'\\.[^"\\]*"\s*:', re.S)

#: From so many bytes on, two threads read faster than one.
_WORTH_A_THREAD = 1 << 18


@dataclass(frozen=True, slots=True)
class Written:
    """A field's values as they are written; null where there is none, or null itself."""

    texts: pa.StringArray
    #: Objects that do not have the field.
    absent: int
    #: How often an object has it once more; the last one counts.
    repeated: int


class Objects:
    """The objects of a text, at the places that ``index`` has found."""

    def __init__(
        self,
        text: bytes,
        padded: np.ndarray,
        places: np.ndarray,
        steps: np.ndarray,
        level: np.ndarray,
    ) -> None:
        self._text = text
        self._padded = padded
        self.deepest = int(level.max())
        #: The commas between objects.
        self.commas = places[level == 0]
        outer = np.flatnonzero(level == 1)
        places, steps = places[outer], steps[outer]
        objects = np.cumsum(steps > 0, dtype=np.int32)
        self.count = int(objects[-1])
        self.starts = places[steps > 0]
        before = np.flatnonzero(steps >= 0)
        self._objects = objects[before] - 1
        self._members = _after_blanks(padded, places[before] + 1)
        self._ends = places[before + 1]

    def lines(self) -> bytes:
        """One line an object, for objects with commas between them."""
        lines = self._padded[: len(self._text)].copy()
        if b"\n" in self._text:
            # Inside a string it stays, to be refused.
            breaks = np.flatnonzero(lines == ord("\n"))
            lines[breaks[~_is_inside(self._text, lines)[breaks]]] = ord(" ")
        lines[self.commas] = ord("\n")
        return lines.tobytes()

    def written(self, field: str) -> Written | None:
        """The field's values; None when its name may be written in more than one way."""
        name = b'"' + field.encode("utf-8", "replace") + b'"'
        if not field.isprintable() or '"' in field or "\\" in field or self._has_escaped_key:
            return None
        found = self._named(name)
        starts = _after_blanks(self._padded, self._members[found] + len(name))
        starts = _after_blanks(self._padded, starts + 1)  # the colon
        ends = _after_blanks(self._padded, self._ends[found] - 1, -1) + 1
        place = np.full(self.count, -1, np.int32)
        place[self._objects[found]] = np.arange(len(found), dtype=np.int32)
        has_it = place >= 0
        absent = self.count - int(np.count_nonzero(has_it))
        if len(found):
            has_it &= self._padded[starts][place] != ord("n")
        # The values and what stands between them as one array without a copy; then only the values.
        bounds = np.zeros(2 * len(found) + 1, np.int32)
        bounds[0:-1:2], bounds[1::2] = starts, ends
        bounds[-1] = ends[-1] if len(found) else 0
        pieces = pa.StringArray.from_buffers(
            2 * len(found), pa.py_buffer(bounds), pa.py_buffer(self._text)
        )
        texts = pieces.take(pa.array(2 * place, mask=~has_it))
        return Written(texts, absent, len(found) - self.count + absent)

    def _named(self, name: bytes) -> np.ndarray:
        """The members that begin with this name, quotes included."""
        size = min(len(name), 8)
        mask = np.uint64((1 << 8 * size) - 1)
        found = np.flatnonzero(
            (self._eight_bytes & mask) == np.uint64(int.from_bytes(name[:size], "little"))
        )
        if len(name) > size and len(found):
            rest = self._members[found][:, None] + np.arange(size, len(name))
            np.minimum(rest, len(self._padded) - 1, out=rest)
            same = self._padded[rest] == np.frombuffer(name, np.uint8)[size:]
            found = found[same.all(axis=1)]
        return found

    @cached_property
    def _eight_bytes(self) -> np.ndarray:
        """The first eight bytes of each member."""
        windows: np.ndarray = np.ndarray(
            (len(self._padded) - 7,), "<u8", self._padded.data, strides=(1,)
        )
        taken: np.ndarray = windows[self._members]
        return taken

    @cached_property
    def _has_escaped_key(self) -> bool:
        return b"\\" in self._text and _ESCAPED_KEY.search(self._text) is not None


class Outline:
    """The objects of a text and the nested values in their fields, from its brackets alone."""

    def __init__(
        self, text: bytes, letters: np.ndarray, places: np.ndarray, steps: np.ndarray,
        level: np.ndarray, commas: np.ndarray,
    ) -> None:  # fmt: skip
        self._text = text
        self._letters = letters
        self.deepest = int(level.max())
        self.count = len(commas) + 1
        #: The commas between objects.
        self.commas = commas
        is_opening = steps > 0
        inner = level == 2
        inner_opening = inner & is_opening
        self._starts = places[inner_opening]
        self._ends = places[inner & ~is_opening] + 1
        objects = np.cumsum((level == 1) & is_opening, dtype=np.int32)
        self._objects = objects[inner_opening] - 1

    def lines(self) -> pa.Buffer:
        """One line an object."""
        lines = self._letters.copy()
        lines[self.commas] = ord("\n")
        return pa.py_buffer(lines)

    def nested(self, field: str, is_filled: pa.Array) -> pa.StringArray | None:
        """The field's values, all of them nested or null, as they are written.

        ``is_filled`` tells for each object whether a parser met a value. None where that cannot
        be told from the brackets.
        """
        name = b'"' + field.encode("utf-8", "replace") + b'"'
        found = self._named(name)
        rows = self._objects[found]
        filled = np.flatnonzero(is_filled.to_numpy(zero_copy_only=False))
        if not np.array_equal(rows, filled):
            return None
        if not len(found):
            return pa.nulls(self.count, pa.string())
        bounds = np.empty(2 * len(found), np.int32)
        bounds[0::2], bounds[1::2] = self._starts[found], self._ends[found]
        # The values and what stands between them as one array without a copy; then only the values.
        pieces = pa.StringArray.from_buffers(
            len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(self._text)
        )
        if len(found) == self.count:
            return pieces.take(pa.array(np.arange(0, len(bounds), 2, dtype=np.int32)))
        place = np.full(self.count, -1, np.int32)
        place[rows] = np.arange(0, len(bounds), 2, dtype=np.int32)
        return pieces.take(pa.array(place, mask=place < 0))

    def _named(self, name: bytes) -> np.ndarray:
        """The nested values of this name, quotes included."""
        size = min(len(name), 8)
        last = np.uint64(int.from_bytes(name[-size:], "little"))
        found = np.flatnonzero(self._eight_bytes >> np.uint64(8 * (8 - size)) == last)
        first = self._key_ends[found] - len(name) + 1
        # Behind a backslash it is the end of a longer name.
        is_whole = (first > 0) & (self._letters[first - 1] != ord("\\"))
        found, first = found[is_whole], first[is_whole]
        if len(name) > size and len(found):
            rest = first[:, None] + np.arange(len(name) - size)
            same = self._letters[rest] == np.frombuffer(name, np.uint8)[:-size]
            found = found[same.all(axis=1)]
        named: np.ndarray = found
        return named

    @cached_property
    def _eight_bytes(self) -> np.ndarray:
        """The last eight bytes of each name, its quote the highest; zeros before the text."""
        windows: np.ndarray = np.ndarray((len(self._text) - 7,), "<u8", self._text, strides=(1,))
        missing = np.maximum(7 - self._key_ends, 0)
        taken: np.ndarray = windows[self._key_ends - 7 + missing]
        taken <<= 8 * missing.astype(np.uint64)
        return taken

    @cached_property
    def _key_ends(self) -> np.ndarray:
        """Where the names of the nested values end."""
        colons = _after_blanks(self._letters, self._starts - 1, -1)
        return _after_blanks(self._letters, colons - 1, -1)


def outline(text: bytes) -> Outline | None:
    """The outline of objects with commas between them; None where more than a look is needed."""
    size = len(text)
    if not 8 <= size < 1 << 31:
        return None
    letters = np.frombuffer(text, np.uint8)
    work, is_bracket, is_quote = _scratch(size)
    words = _inside_strings(text, letters, is_quote, is_bracket)
    places, level = _brackets(letters, work, is_bracket, words)
    steps = 3 - (letters[places] & 6).astype(np.int8)
    if not len(level) or level[-1] != 0 or level.min() < 0:
        return None
    level += steps < 0  # a closing bracket belongs to what it closes
    outer = level == 1
    starts, ends = places[outer & (steps > 0)], places[outer & (steps < 0)]
    if starts[0] != 0 or ends[-1] != size - 1 or not (letters[starts] == ord("{")).all():
        return None
    commas = ends[:-1] + 1
    gaps = starts[1:] - commas
    is_plain = (letters[commas] == ord(",")) & (gaps <= 2)
    is_plain &= (gaps == 1) | (letters[commas + 1] == ord(" "))
    if not is_plain.all():
        return None
    return Outline(text, letters, places, steps, level, commas)


_memory = local()
#: Larger texts are rare and get memory of their own.
_KEPT_BYTES = 1 << 24


def _scratch(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three arrays to work in. Fresh memory for every page costs more than the work itself."""
    room: np.ndarray | None = getattr(_memory, "room", None)
    if room is None or room.shape[1] < size:
        room = np.empty((3, size + size // 4), np.uint8)
        if size <= _KEPT_BYTES:
            _memory.room = room
    return room[0, :size], room[1, :size].view(bool), room[2, :size].view(bool)


def index(text: bytes) -> Objects | None:
    """The objects of a text that holds nothing else, but commas or line ends between them."""
    if len(text) >= 1 << 31:
        return None
    padded = np.concatenate([np.frombuffer(text, np.uint8), _PADDING])
    letters = padded[: len(text)]
    work, is_token, is_quote = _scratch(len(text))
    np.bitwise_or(letters, _BRACKET_BITS, out=work)
    np.equal(work, _BRACKET, out=is_token)
    is_comma = np.equal(letters, ord(","), out=work.view(bool))
    np.logical_or(is_token, is_comma, out=is_token)
    tokens = _words(is_token)
    places = _places(tokens & ~_inside_strings(text, letters, is_quote, is_token))
    steps = _STEPS[letters[places]]
    level = np.cumsum(steps, dtype=np.int32)
    if not len(level) or level[-1] != 0 or level.min() < 0:
        return None
    level += steps < 0  # a closing bracket belongs to what it closes
    opening = places[(level == 1) & (steps > 0)]
    if not len(opening) or not (letters[opening] == ord("{")).all():
        return None
    return Objects(text, padded, places, steps, level)


def may_repeat_a_key(text: bytes) -> bool:
    """False when no object in a text of JSON values has a key twice; True is worth a parser's look.

    It goes by where the keys stand, how long they are, and by their first and last eight bytes.
    """
    size = len(text)
    padded = np.zeros(size + 32, np.uint8)
    letters = padded[16 : 16 + size]
    letters[:] = np.frombuffer(text, np.uint8)
    work, is_bracket, is_quote = _scratch(size)
    words = _inside_strings(text, letters, is_quote, is_bracket)
    quotes = np.flatnonzero(is_quote)
    if len(quotes) % 2:
        return True
    starts, ends = quotes[0::2], quotes[1::2]
    is_key = padded[16:][_after_blanks(padded[16:], ends + 1, is_open=True)] == ord(":")
    starts, ends = starts[is_key] + 1, ends[is_key]
    if len(starts) < 2:
        return False
    if b"\\" in text:
        slashes = np.flatnonzero(letters == ord("\\"))
        before = np.searchsorted(starts, slashes, side="right") - 1
        if ((before >= 0) & (slashes < ends[before])).any():
            return True  # one name may be written in several ways
    places, level = _brackets(letters, work, is_bracket, words)
    if not len(level) or places[0] > starts[0] or level.max() > _DEEP:
        return True
    last = np.searchsorted(places, starts) - 1
    depth = level[last]
    is_opening = (letters[places] & 6) == 2
    owners = np.zeros(len(starts), np.uint64)
    for each in range(int(depth.max()) + 1):
        opening = np.flatnonzero(is_opening & (level == each))
        mine = np.flatnonzero(depth == each)
        if len(mine) and len(opening):
            owners[mine] = opening[np.searchsorted(opening, last[mine], side="right") - 1]
    sizes = ends - starts
    windows: np.ndarray = np.ndarray((size + 25,), "<u8", padded.data, strides=(1,))
    marks = (windows[starts + 16] & _KEPT[np.minimum(sizes, 8)]) * _FACTORS[0]
    marks ^= np.where(sizes > 8, windows[ends + 8], _ZERO) * _FACTORS[1]
    marks ^= (owners * _FACTORS[2]) ^ (sizes.astype(np.uint64) * _FACTORS[3])
    marks.sort()
    return bool((marks[1:] == marks[:-1]).any())


def _brackets(
    letters: np.ndarray, work: np.ndarray, is_bracket: np.ndarray, words: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the brackets outside strings are, and how many are open behind each."""
    np.bitwise_or(letters, _BRACKET_BITS, out=work)
    np.equal(work, _BRACKET, out=is_bracket)
    places = _places(_words(is_bracket) & ~words)
    return places, np.cumsum(3 - (letters[places] & 6).astype(np.int8), dtype=np.int32)


def _inside_strings(
    text: bytes, letters: np.ndarray, is_quote: np.ndarray, work: np.ndarray
) -> np.ndarray:
    """A bit for each byte, set from a string's opening quote to before its closing one.

    The other arrays are memory to work in.
    """
    np.equal(letters, ord('"'), out=is_quote)
    words = _words(is_quote)
    if b"\\" in text:
        np.equal(letters, ord("\\"), out=work)
        slashes = _words(work)
        escaped = _escaped(letters, _places(words & _moved(slashes)), slashes)
        is_quote[escaped] = False
        np.bitwise_xor.at(words, escaped >> 6, _ONE << (escaped & 63).astype(np.uint64))
    # Each bit becomes the parity of the quotes so far: first within a word, then across them.
    for shift in _SHIFTS:
        words ^= words << shift
    odd = np.bitwise_xor.accumulate(words >> _TOP_BIT)
    words[1:] ^= _ZERO - odd[:-1]
    return words


def _words(bits: np.ndarray) -> np.ndarray:
    """64 bits each, the first one the lowest."""
    words = np.zeros(len(bits) // 64 + 1, np.uint64)
    packed = np.packbits(bits, bitorder="little")
    words.view(np.uint8)[: len(packed)] = packed
    return words


def _places(words: np.ndarray) -> np.ndarray:
    """Where bits are set; the fewer words have any, the sooner."""
    some = np.flatnonzero(words)
    bits = np.unpackbits(words[some].view(np.uint8), bitorder="little").view(bool).nonzero()[0]
    places: np.ndarray = (some[bits >> 6] << 6) + (bits & 63)
    return places


def _moved(words: np.ndarray) -> np.ndarray:
    """Every bit one place further."""
    moved: np.ndarray = words << _ONE
    moved[1:] |= words[:-1] >> _TOP_BIT
    return moved


def _escaped(letters: np.ndarray, places: np.ndarray, slashes: np.ndarray) -> np.ndarray:
    """Of places behind a backslash, those whose backslash is not escaped itself."""
    in_row = np.flatnonzero(letters[places - 2] == ord("\\"))
    in_row = in_row[places[in_row] > 1]
    if not len(in_row):
        return places
    rows = _places(slashes & ~_moved(slashes))
    began = rows[np.searchsorted(rows, places[in_row]) - 1]
    return np.delete(places, in_row[(places[in_row] - began) % 2 == 0])


def _is_inside(text: bytes, letters: np.ndarray) -> np.ndarray:
    work, _, is_quote = _scratch(len(text))
    words = _inside_strings(text, letters, is_quote, work.view(bool))
    bits = np.unpackbits(words.view(np.uint8), count=len(letters), bitorder="little")
    return bits.view(bool)


def _after_blanks(
    letters: np.ndarray, places: np.ndarray, step: int = 1, *, is_open: bool = False
) -> np.ndarray:
    """The places, moved on to the next letter that is no blank; ``is_open``: zeros end the text."""
    while (is_blank := letters[places] <= ord(" ")).any():
        if is_open:
            is_blank &= letters[places] != 0
            if not is_blank.any():
                return places
        places = places + step * is_blank
    return places


def repeated_keys(text: bytes | str) -> int:
    """How many values of a JSON text are lost because their object has the key once more."""
    repeated = 0

    def count(pairs: list[tuple[str, object]]) -> None:
        nonlocal repeated
        repeated += len(pairs) - len({key for key, _ in pairs})

    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    try:
        loads(text, object_pairs_hook=count)
    except (ValueError, RecursionError):
        return 0
    return repeated


def with_repeated(batch: pa.RecordBatch, count: int) -> pa.RecordBatch:
    """The batch, saying of itself how many values were lost to keys that stand twice."""
    return batch.replace_schema_metadata({KEY_TWICE: str(count)}) if count else batch


def repeated_in(batch: pa.RecordBatch) -> int:
    """What ``with_repeated`` has said."""
    return int((batch.schema.metadata or {}).get(KEY_TWICE.encode(), 0))


def is_utf8(text: bytes) -> bool:
    """True when the text is valid UTF-8, which Arrow's reader does not check."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_lines(
    lines: bytes | pa.Buffer, schema: pa.Schema, *, unexpected: str = "ignore", cut: int = 0
) -> pa.Table:
    """Lines of objects by a schema; ArrowInvalid when a value is not exactly of its field's type.

    The first letter must be an opening brace (at a null Arrow's reader crashes). At ``cut``, when
    given, a line begins: what is before and what is behind it is read side by side.
    """
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected)
    buffer = pa.py_buffer(lines)

    def read(piece: pa.Buffer) -> pa.Table:
        whole = json.ReadOptions(use_threads=False, block_size=piece.size + 1)
        return json.read_json(pa.BufferReader(piece), read_options=whole, parse_options=options)

    if not cut or buffer.size < _WORTH_A_THREAD or (os.cpu_count() or 1) < 2:
        return read(buffer)
    second = _helper().submit(read, buffer.slice(cut))
    try:
        first = read(buffer.slice(0, cut))
    except BaseException:
        second.cancel()
        raise
    # On a busy machine the helper may not have begun.
    rest = read(buffer.slice(cut)) if second.cancel() else second.result()
    return pa.concat_tables([first, rest])


@cache
def _helper() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "json")
