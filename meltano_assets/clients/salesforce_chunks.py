"""Ranges of record ids, for queries that take too long as a whole.

Pure arithmetic: 15 characters of an id are a number with 62 digits, and Salesforce compares and
indexes ids by it. Ranges depend on the first id and on the order of magnitude of the last alone, so
that a run which comes later makes the same ones and finds the jobs that were ordered for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 15
#: How many ranges the whole is cut into, and each that is still too slow: a try costs minutes.
PIECES = 16


@dataclass(frozen=True, slots=True)
class IdRange:
    """Ids from ``first`` up to, not including, ``end``; both as numbers."""

    first: int
    end: int

    @property
    def condition(self) -> str:
        """The range in SOQL."""
        return f"Id >= '{_text(self.first)}' AND Id < '{_text(self.end)}'"

    def pieces(self, last: int) -> Iterator[IdRange]:
        """The range in equal parts, as far as there are ids up to ``last``; itself when it is one id."""
        step = max(1, -(-(self.end - self.first) // PIECES))
        for first in range(self.first, min(self.end, last + 1), step):
            yield IdRange(first, min(first + step, self.end))

    @property
    def is_single(self) -> bool:
        """True when nothing is left to divide."""
        return self.end - self.first <= 1


def whole_range(first_id: str, last_id: str) -> tuple[IdRange, int]:
    """The range from the first id that covers the last one, and the last id as a number."""
    first, last = _number(first_id), _number(last_id)
    size = 1 << (last - first).bit_length()
    return IdRange(first, first + size), last


def _number(record_id: str) -> int:
    number = 0
    for letter in record_id[:_LENGTH]:
        number = number * 62 + _DIGITS.index(letter)
    return number


def _text(number: int) -> str:
    letters = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, 62)
        letters.append(_DIGITS[digit])
    return "".join(reversed(letters))
