"""Entries of the YAML files in which users name sources: read, checked word by word.

Belongs here: the form that ``databases.yml`` and ``singer.yml`` share. Every error names the file, the
entry and the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from meltano_assets import environment
from meltano_assets.errors import FatalError
from meltano_assets.streams import Disposition
from meltano_assets.yaml_files import read_mapping

#: Names become schemas, variables and asset keys.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_CRON = re.compile(r"\S+( \S+){4}")
CATALOGS = "catalogs"
DISPOSITIONS: tuple[Disposition, ...] = get_args(Disposition)


@dataclass(frozen=True, slots=True)
class Entry:
    """A mapping of a user's file; ``place`` says where it stands."""

    place: str
    words: Mapping[str, object]

    def check(self, known: tuple[str, ...], *, required: tuple[str, ...] = ()) -> None:
        """FatalError for a word that nobody knows, and for one that is missing."""
        for word in self.words:
            if word not in known:
                near = get_close_matches(str(word), known, n=1)
                raise FatalError(
                    f"{self.place}: unknown word {word!r}",
                    hint=f"did you mean {near[0]}?" if near else f"known are: {', '.join(known)}",
                )
        for word in required:
            if word not in self.words:
                raise FatalError(f"{self.place}: {word} is missing")

    def text(self, word: str, default: str = "") -> str:
        """A text; FatalError for anything else."""
        value = self.words.get(word, default)
        if not isinstance(value, str):
            raise FatalError(f"{self.place}: {word} is not a text")
        return value

    def number(self, word: str, default: int, *, most: int) -> int:
        """A whole number from 1 (0 for the default 0) to ``most``."""
        value = self.words.get(word, default)
        if type(value) is not int or not min(default, 1) <= value <= most:
            raise FatalError(
                f"{self.place}: {word} is not a whole number from {min(default, 1)} to {most}"
            )
        return value

    def texts(self, word: str) -> tuple[str, ...]:
        """A list of texts; one text stands for a list of one."""
        value = self.words.get(word, [])
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise FatalError(f"{self.place}: {word} is not a list of texts")
        return tuple(values)

    def cron(self, default: str) -> str:
        """A schedule of five fields."""
        value = self.text("cron", default)
        if not _CRON.fullmatch(value):
            raise FatalError(f"{self.place}: cron needs five fields", hint="such as '15 * * * *'")
        return value

    def disposition(self) -> Disposition | None:
        """How rows meet those that are there; None when it follows from the keys."""
        value = self.words.get("disposition")
        if value is None:
            return None
        for known in DISPOSITIONS:
            if value == known:
                return known
        raise FatalError(f"{self.place}: disposition is one of {', '.join(DISPOSITIONS)}")


def read_entries(file: str) -> Iterator[tuple[str, Entry]]:
    """The file's entries by name; none without the file."""
    path = environment.user_file(file)
    for name, words in read_mapping(path, "names of sources").items():
        place = f"{file}, {name}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise FatalError(
                f"{place}: not the name of a source",
                hint="lower-case letters, digits and _; it becomes the schema of its tables",
            )
        if not isinstance(words, dict | None):
            raise FatalError(f"{place}: not a list of words and values")
        yield name, Entry(place, words or {})


def catalog_file(source: str, suffix: str) -> Path:
    """Where ``discover`` keeps what a source said that it has."""
    return environment.user_file(CATALOGS) / f"{source}.{suffix}"


def write_catalog(path: Path, content: bytes) -> None:
    """Write the file whole or not at all; FatalError when it cannot be."""
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        raise FatalError(f"{path} cannot be written: {error.strerror}") from None
