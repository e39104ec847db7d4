"""From what a ping says about its host to a name that can be compared, matched and looked up.

``clean_hosts`` is a pure function from a column of raw hosts to kind, parts and clean names. It
opens nothing and asks nobody: the suffix list is the one that came with tldextract.

Kinds:

- ``domain``: a name under a public suffix. Only these names may be told to a provider.
- ``ipv4``, ``ipv6``: a globally reachable address, in its one canonical spelling.
- ``internal``: a name or an address that means something inside one network only: single labels,
  special-use names (``.local``, ``.internal``, ``home.arpa``, ``.onion`` …), names that end in no
  public suffix, and every address that is not globally reachable.
- ``invalid``: no host can be called this, or it is a bare public suffix and so nobody's.

Names come out as DNS carries them: lower case, A-labels (``xn--``), no dot at either end. What a
host lacks is null, never an empty text; ``clean_domain`` is null unless the kind is ``domain``,
``ipv4`` or ``ipv6``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import unquote

import numpy as np

from meltano_assets.hosts.addresses import (
    ends_in_number,
    format_ipv4_number,
    is_public,
    is_public_ipv4_number,
    parse_ipv4_number,
    parse_ipv6,
)
from meltano_assets.hosts.suffixes import BoolArray, IntArray, suffix_table

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["domain", "ipv4", "ipv6", "internal", "invalid"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DOMAIN, IPV4, IPV6, INTERNAL, INVALID = range(len(KINDS))

#: The columns of ``clean_hosts``, in order.
COLUMNS = (
    "raw_host",
    "kind",
    "subdomain",
    "domain",
    "suffix",
    "clean_domain",
    "clean_full_domain",
)

#: Top-level names that stand in the public suffix list, yet name nothing in the public DNS.
_INTERNAL_TOP_LABELS = ("arpa", "onion")

# Authorities of these schemes are package names, extension ids or paths, not hosts.
_NOT_HOSTS = (
    "about|android-app|app|blob|capacitor|cid|content|data|chrome|chrome-extension|file|ionic|"
    "ios-app|jar|javascript|mailto|moz-extension|ms-[a-z-]+|opaque|resource|"
    "safari-web-extension|sms|tel|urn|vbscript|view-source"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[/\\]{2}")
# ``data:8080`` is a host and its port, ``data:text/html`` is not.
_NOT_A_HOST = re.compile(rf"(?:{_NOT_HOSTS}):(?![0-9]+(?:[/?#\\]|\Z)|\Z)", re.IGNORECASE | re.ASCII)
_AUTHORITY_END = re.compile(r"[/\\?#]")
_PORT = re.compile(r"[0-9]*\Z")
_NAME = re.compile(r"[a-z0-9_.-]+\Z")
#: What pings wrap around a host and no host contains: blanks, controls, byte-order mark.
_EDGES = "".join(map(chr, range(0x21))) + "\x7f\x85\xa0\u2028\u2029\u3000\ufeff"
_MAX_HOST_LENGTH = 1024
_MAX_NAME_LENGTH = 253
_MAX_LABEL_LENGTH = 63

# The shapes that make up the bulk, for the regular-expression engine of polars. What comes before
# the host is cut off first: a pattern without a choice at its beginning compiles to a single pass.
_CANONICAL = r"^[a-z0-9_-][a-z0-9_.-]*[a-z0-9_-]$"
_BEFORE_HOST = r"^[Hh][Tt][Tt][Pp][Ss]?://(?:[^/?#\\@\[\]]*@)?"
_HOST_AND_END = r"^([A-Za-z0-9_.-]+)(?::[0-9]+)?(?:[/?#\\]|$)"

#: Looked at to decide whether finding the distinct values first pays.
_SAMPLE_ROWS = 50_000
_DISTINCT_SHARE = 0.8
_SLICE_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class CleanHost:
    """One cleaned host; the parts that it lacks are None."""

    kind: Kind
    subdomain: str | None = None
    domain: str | None = None
    suffix: str | None = None
    clean_domain: str | None = None
    clean_full_domain: str | None = None


def clean_host(raw: str | None) -> CleanHost:
    """One host, for a person or a single answer; columns go to ``clean_hosts``."""
    import pyarrow as pa

    row = clean_hosts(pa.array([raw], pa.string())).to_pylist()[0]
    del row["raw_host"]
    return CleanHost(**row)


def clean_hosts(raw: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Kind, parts and clean names of every raw host, in the same order.

    Each distinct value is cleaned once and mapped to its rows, so that time and working memory
    follow the distinct hosts; a column that hardly repeats itself is cleaned as it comes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = raw if isinstance(raw, pa.ChunkedArray) else pa.chunked_array([raw])
    if column.type != pa.string():
        column = column.cast(pa.string())
    sample = column.slice(0, _SAMPLE_ROWS)
    chunks: list[list[pa.Array]] = []
    if pc.count_distinct(sample, mode="all").as_py() >= _DISTINCT_SHARE * len(sample):
        for start in range(0, len(column), _SLICE_ROWS):
            values = _combined(column.slice(start, _SLICE_ROWS))
            chunks.append([values, *_clean(values)])
    else:
        encoded = column.dictionary_encode(null_encoding="encode")
        distinct = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.string())
        cleaned = _clean(distinct)
        for values, chunk in zip(column.chunks, encoded.chunks, strict=True):
            chunks.append([values, *(part.take(chunk.indices) for part in cleaned)])
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    return pa.Table.from_batches(
        [pa.RecordBatch.from_arrays(arrays, schema=schema) for arrays in chunks], schema=schema
    )


def clean_lines(lines: Iterable[bytes], out: IO[str], *, rows_per_batch: int = 100_000) -> int:
    """Raw hosts, one a line, to CSV with a header, in the same order; gives the number of rows."""
    import pyarrow as pa

    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    total = 0
    for batch in _batched(lines, rows_per_batch):
        table = clean_hosts(pa.array(batch, pa.string()))
        columns = [["" if x is None else x for x in col.to_pylist()] for col in table.columns]
        writer.writerows(zip(*columns, strict=True))
        total += len(batch)
    return total


def _batched(lines: Iterable[bytes], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for line in lines:
        batch.append(line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace"))
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def host_name(raw: str) -> str:
    """The bare name or address in a raw host, as DNS would be asked for it; '' when there is none.

    The exact and slow way for one value. The bulk goes another way to the same answers.
    """
    text = raw.strip(_EDGES)
    if _NOT_A_HOST.match(text):
        return ""
    if scheme := _SCHEME.match(text):
        text = text[scheme.end() :]
    elif text.startswith(("//", r"\\")):
        text = text[2:]
    host = _AUTHORITY_END.split(text, maxsplit=1)[0].rpartition("@")[2].strip(_EDGES)
    if len(host) > _MAX_HOST_LENGTH:
        return ""
    if host.startswith("["):
        inside, bracket, port = host[1:].partition("]")
        if not bracket or not _PORT.match(port.removeprefix(":")):
            return ""
        address = parse_ipv6(inside) if ":" in inside else None
        return "" if address is None else str(address)
    if host.count(":") > 1:
        address = parse_ipv6(host)
        return "" if address is None else str(address)
    host, _, port = host.partition(":")
    if not _PORT.match(port):
        return ""
    if "%" in host:
        host = unquote(host)
    if not host.isascii() or "xn--" in host.lower():
        host = _ascii_name(host)
    host = host.lower().rstrip(".")
    return host if _NAME.match(host) else ""


def _ascii_name(host: str) -> str:
    """UTS-46 mapping, then A-labels; '' when IDNA 2008 allows no such name (emoji, for one)."""
    import idna

    try:
        mapped = idna.uts46_remap(host, std3_rules=False)
        return ".".join(_ascii_label(label) for label in mapped.split("."))
    except (UnicodeError, IndexError):
        return ""


@lru_cache(maxsize=65_536)
def _ascii_label(label: str) -> str:
    import idna

    if label.isascii() and not label.startswith("xn--"):
        return label
    return idna.alabel(label).decode("ascii")


def _is_ascii_label(label: str) -> bool:
    try:
        return bool(_ascii_label(label))
    except (UnicodeError, IndexError):
        return False


def _combined(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _names(values: pa.Array) -> tuple[pa.Array, list[int]]:
    """``host_name`` of a whole column, and the rows that hold an IPv6 address."""
    import polars as pl
    import pyarrow as pa

    series = pl.Series(values)
    canonical = series.str.contains(_CANONICAL).fill_null(False)
    if canonical.all():
        return values, []
    others = (~canonical).arg_true()
    rest = series.gather(others)
    found = rest.str.replace(_BEFORE_HOST, "").str.extract(_HOST_AND_END, 1)
    names = found.str.to_lowercase().str.strip_chars_end(".")
    slow = names.is_null().arg_true()
    exact = [host_name(text) if text else "" for text in rest.gather(slow).to_list()]
    # One take from: the raw values as they are, the extracted names, the exact ones.
    pool = pa.concat_arrays(
        [values, names.to_arrow().cast(pa.string()), pa.array(exact, pa.string())]
    )
    other_rows = others.to_numpy().astype(np.int64)
    slow_rows = slow.to_numpy().astype(np.int64)
    index = np.arange(len(values), dtype=np.int64)
    index[other_rows] = len(values) + np.arange(len(others), dtype=np.int64)
    index[other_rows[slow_rows]] = (
        len(values) + len(others) + np.arange(len(slow_rows), dtype=np.int64)
    )
    ipv6 = [int(row) for row, name in zip(other_rows[slow_rows], exact, strict=True) if ":" in name]
    return pool.take(pa.array(index)), ipv6


def _clean(values: pa.Array) -> list[pa.Array]:
    """The columns behind ``raw_host`` for one array of values."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.compute as pc

    names, ipv6_rows = _names(values)
    if names.null_count:
        names = names.fill_null("")
    if not len(names):
        return [pa.array([], pa.string()) for _ in COLUMNS[1:]]
    table = suffix_table()
    split = pc.split_pattern(names, ".")
    labels = split.flatten()
    ends = np.asarray(split.offsets, np.int64)
    starts, counts = ends[:-1], np.diff(ends)
    offsets = _offsets(labels)
    is_named = _are_names(names, labels, offsets, starts)

    codes = np.asarray(pc.index_in(labels, value_set=table.labels).fill_null(-1), np.int64)
    suffixes = table.find(codes, starts, counts)
    own_labels = counts - suffixes.count
    top_codes = np.asarray(pc.index_in(pa.array(_INTERNAL_TOP_LABELS), table.labels), np.int64)
    is_public_name = (suffixes.count > 0) & ~np.isin(codes[ends[1:] - 1], top_codes)
    kind = np.full(len(names), INVALID, np.int8)
    kind[is_named & ((counts == 1) | ~is_public_name)] = INTERNAL
    kind[is_named & is_public_name & (own_labels > 0)] = DOMAIN

    texts = _place_addresses(kind, names, _numeric_rows(labels, offsets, ends), ipv6_rows)
    if texts:
        mask = np.zeros(len(names), np.bool_)
        mask[list(texts)] = True
        replacements = pa.array([texts[row] for row in sorted(texts)], pa.string())
        names = pc.replace_with_mask(names, pa.array(mask), replacements)

    is_domain = kind == DOMAIN
    first = np.where(is_domain, starts + own_labels - 1, 0)
    begin = np.where(is_domain, offsets[first] - offsets[starts] + first - starts, 0)
    frame = pl.DataFrame(
        {"name": pl.Series(names), "begin": begin, "before": np.maximum(begin - 1, 0)}
    )
    parts = frame.select(
        pl.col("name").str.slice("begin").alias("tail"),
        pl.col("name").str.slice(0, "before").alias("head"),
    )
    tail, head = (series.to_arrow().cast(pa.string()) for series in parts)
    suffix = table.texts.take(pa.array(suffixes.node, mask=~is_domain | (suffixes.node < 0)))
    wild = is_domain & (suffixes.node < 0)
    if wild.any():
        texts_of_wild = [text.partition(".")[2] for text in tail.filter(pa.array(wild)).to_pylist()]
        suffix = pc.replace_with_mask(suffix, pa.array(wild), pa.array(texts_of_wild, pa.string()))
    return [
        pa.array(KINDS, pa.string()).take(pa.array(kind)),
        _where(is_domain & (begin > 0), head),
        labels.take(pa.array(first, mask=~is_domain)),
        suffix,
        _where(kind < INTERNAL, tail),
        _where(kind < INVALID, names),
    ]


def _are_names(names: pa.Array, labels: pa.Array, offsets: IntArray, starts: IntArray) -> BoolArray:
    """True where DNS and IDNA allow the name.

    Every label is 1 to 63 long, has no hyphen at an edge and, beginning with ``xn--``, decodes;
    the name has at most 253 characters.
    """
    import pyarrow as pa

    lengths = np.diff(offsets)
    is_bad = (lengths == 0) | (lengths > _MAX_LABEL_LENGTH)
    data = _bytes(labels)
    if len(data):
        initial = data[np.minimum(offsets[:-1], len(data) - 1)]
        is_bad |= initial == ord("-")
        is_bad |= (data[offsets[1:] - 1] == ord("-")) & (lengths > 0)
        is_encoded = (initial == ord("x")) & (lengths > 4) & ~is_bad
        for place, letter in enumerate(b"n--", start=1):
            rows = np.flatnonzero(is_encoded)
            is_encoded[rows] = data[offsets[rows] + place] == letter
        rows = np.flatnonzero(is_encoded)
        encoded = labels.take(pa.array(rows)).to_pylist()
        is_bad[rows] = [not _is_ascii_label(label) for label in encoded]
    are_names = np.diff(_offsets(names)) <= _MAX_NAME_LENGTH
    if is_bad.any():
        are_names[np.searchsorted(starts, np.flatnonzero(is_bad), side="right") - 1] = False
    return are_names


def _numeric_rows(labels: pa.Array, offsets: IntArray, ends: IntArray) -> IntArray:
    """Rows whose last label begins with a digit: no top-level domain does."""
    data = _bytes(labels)
    if not len(data):
        return np.zeros(0, np.int64)
    initial = data[np.minimum(offsets[ends[1:] - 1], len(data) - 1)]
    return np.flatnonzero((initial >= ord("0")) & (initial <= ord("9")))


def _place_addresses(
    kind: np.ndarray[Any, np.dtype[np.int8]],
    names: pa.Array,
    numeric_rows: IntArray,
    ipv6_rows: list[int],
) -> dict[int, str]:
    """Correct the kind of rows that hold addresses; their canonical texts by row."""
    import pyarrow as pa

    texts: dict[int, str] = {}
    candidates = numeric_rows[kind[numeric_rows] != INVALID]
    for row, name in zip(
        candidates.tolist(), names.take(pa.array(candidates)).to_pylist(), strict=True
    ):
        number = parse_ipv4_number(name)
        if number is not None:
            kind[row] = IPV4 if is_public_ipv4_number(number) else INTERNAL
            texts[row] = format_ipv4_number(number)
        elif ends_in_number(name):
            kind[row] = INVALID
    for row in ipv6_rows:
        texts[row] = names[row].as_py()
        kind[row] = IPV6 if is_public(texts[row]) else INTERNAL
    return texts


def _where(mask: BoolArray, values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if mask.all():
        return values
    return pc.if_else(pa.array(mask), values, pa.scalar(None, pa.string()))


def _offsets(strings: pa.Array) -> IntArray:
    buffer = strings.buffers()[1]
    offsets = np.frombuffer(buffer, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return offsets.astype(np.int64)


def _bytes(strings: pa.Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    buffer = strings.buffers()[2]
    return np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
