"""Numbers in requests."""

from __future__ import annotations

#: What a database and JSON can hold.
_MOST_DIGITS = 18


def is_number(text: str) -> bool:
    """Is the text a whole number that an id, a page or a time can be?"""
    return text.isdecimal() and len(text) <= _MOST_DIGITS
