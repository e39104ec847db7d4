"""Names: every vendor field keeps a column of its own, whatever it is called.

A column name is at most 63 bytes (Postgres silently cuts longer ones), in lower case, of letters,
digits and ``_``. Two fields that would fold to the same name are told apart by a digest of the
field's own name, so that the result does not depend on the order in which they appear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

from meltano_assets.streams import HISTORY_COLUMNS, LOADER_COLUMNS

#: Postgres' NAMEDATALEN - 1.
NAME_BYTES = 63

#: Columns that every table has already.
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


def cut(name: str, limit: int = NAME_BYTES) -> str:
    """The name in at most ``limit`` bytes, told apart by a digest when something was cut off."""
    encoded = name.encode()
    if len(encoded) <= limit:
        return name
    digest = _digest(name)
    head = encoded[: limit - len(digest) - 1].decode(errors="ignore")
    return f"{head}_{digest}"


def suffixed(name: str, suffix: str) -> str:
    """``name`` + ``suffix`` in 63 bytes; the suffix always survives whole."""
    return cut(name, NAME_BYTES - len(suffix.encode())) + suffix


def fold(field: str) -> str:
    """The column name that a field would like to have; need not be free."""
    name = re.sub(r"[^\w]+", "_", field.strip().lower())
    name = name if name.strip("_") else f"column_{_digest(field)}"
    return cut(name)


def fold_all(fields: Iterable[str], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """A column for each field: the known ones kept, the others new and free of collisions.

    Of several new fields that fold to one name, the one spelt exactly like it keeps it; else the
    first does.
    """
    columns = dict(known or {})
    taken = {*columns.values(), *LOADER_COLUMNS, *HISTORY_COLUMNS, *_SYSTEM_COLUMNS}
    fresh = [name for name in dict.fromkeys(fields) if name not in columns]
    exact = {name for name in fresh if fold(name) == name and name not in taken}
    for name in exact:
        columns[name] = name
        taken.add(name)
    for name in fresh:
        if name in exact:
            continue
        column = fold(name)
        if column in taken:
            column = suffixed(column, f"_{_digest(name)}")
        attempt = 0
        while column in taken:
            attempt += 1
            column = suffixed(fold(name), f"_{_digest(name)}_{attempt}")
        columns[name] = column
        taken.add(column)
    return {name: columns[name] for name in dict.fromkeys([*(known or {}), *fresh])}


def _digest(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def unique_names(fields: Iterable[str]) -> list[str]:
    """A name for every field: those without one, or with one that stands before, get a number."""
    names: dict[str, None] = {}
    for number, field in enumerate(fields, 1):
        wanted = field or f"column_{number}"
        while wanted in names:
            wanted += f"_{number}"
        names[wanted] = None
    return list(names)
