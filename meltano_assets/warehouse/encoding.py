"""Databases whose encoding is not UTF-8: what they cannot hold is found before it is sent.

Postgres would refuse the whole COPY for one character. The records that have one are set aside, and
kept in the quarantine with the character as an escape of JSON.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass

import numpy as np
import psycopg
import pyarrow as pa

from meltano_assets.warehouse import json_values
from meltano_assets.warehouse.converted import text_bytes

#: Postgres' names, where Python's differ by more than case and punctuation.
_CODECS = {
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "WIN866": "cp866",
    "WIN874": "cp874",
    "EUC_CN": "gb2312",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """A database's encoding other than UTF-8; SQL_ASCII takes any bytes."""

    name: str
    #: Python's name; None where every character is taken, or none is known to be refused.
    codec: str | None

    @classmethod
    def of(cls, connection: psycopg.Connection) -> Encoding | None:
        """The database's encoding; None for UTF-8, which holds everything."""
        name = connection.info.parameter_status("server_encoding") or "UTF8"
        if name == "UTF8":
            return None
        codec = _CODECS.get(name) or re.sub(r"^WIN(?=\d)", "cp", name)
        try:
            return cls(name, None if name == "SQL_ASCII" else codecs.lookup(codec).name)
        except LookupError:
            return cls(name, None)

    def fitted(self, array: pa.Array, *, is_json: bool) -> tuple[pa.Array, np.ndarray | None]:
        """Texts as the database takes them, and the rows that it cannot hold.

        Escapes in JSON become the characters that they stand for: Postgres refuses others than it holds.
        """
        data = text_bytes(array)
        if data.isascii() and not (is_json and b"\\u" in data):
            return array, None
        texts: list[str | None] = array.to_pylist()
        unfit = np.zeros(len(texts), dtype=bool)
        for row, text in enumerate(texts):
            if text is not None and is_json and "\\u" in text:
                texts[row] = json_values.unescaped(text)
                unfit[row] = texts[row] is None
            unfit[row] |= not self._holds(texts[row] or "")
        return pa.array(texts, pa.large_string()), unfit if unfit.any() else None

    def escaped(self, text: str) -> str:
        """The text with what the database cannot hold as escapes of JSON."""
        if self._holds(text):
            return text
        return "".join(one if self._holds(one) else json.dumps(one)[1:-1] for one in text)

    def _holds(self, text: str) -> bool:
        if self.codec is None:
            return True
        try:
            text.encode(self.codec)
        except UnicodeEncodeError:
            return False
        return True
