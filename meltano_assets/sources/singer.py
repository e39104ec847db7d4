"""Any Singer tap as a source: an entry of ``singer.yml`` names it; docs/singer.md has every word.

``meltano-assets discover`` asks the tap for its catalog and keeps it as ``catalogs/<source>.json``; its
selected streams become assets. Each stream is read by a run of the tap of its own, with the state that
was committed with the records before it: the state lives in the stream's bookmark. Deletes: as the tap
tells them (``_sdc_deleted_at``); streams that it reads whole replace their table.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import orjson
import pyarrow as pa

from meltano_assets.clients import singer
from meltano_assets.clients.policy import Transport
from meltano_assets.clients.singer import Tap, TapSpec
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.singer_schema import properties
from meltano_assets.sources.base import (
    Connect,
    Source,
    naming_stream,
    required,
    undeclared_fields,
)
from meltano_assets.sources.entries import Entry, catalog_file, read_entries
from meltano_assets.sources.records import (
    Record,
    RoundedError,
    batch_from_records,
    parse_json,
    parse_json_exactly,
)
from meltano_assets.streams import (
    Batch,
    Bookmark,
    Column,
    Disposition,
    ReadOptions,
    Stream,
)

FILE = "singer.yml"
_WORDS = (
    "title",
    "description",
    "tap",
    "executable",
    "python",
    "settings",
    "select",
    "exclude",
    "streams",
    "cron",
    "silence_minutes",
)
_STREAM_WORDS = ("primary_key", "replication_key", "replication_method", "select", "exclude")
_METHODS = ("INCREMENTAL", "FULL_TABLE", "LOG_BASED")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ODD = re.compile(r"[^A-Za-z0-9_]+")
_SECRET_WORD = re.compile(r"secret|token|password|passwd|key|credential|auth", re.I)
#: A batch is handed on when one of these is reached.
_BATCH_RECORDS = 20_000
_BATCH_BYTES = 16 << 20

_log = logging.getLogger(__name__)


def configured() -> Iterator[Source]:
    """The sources of the file; FatalError names what is wrong in it."""
    for name, entry in read_entries(FILE):
        entry.check(_WORDS, required=("tap",))
        settings = entry.words.get("settings", {})
        if not isinstance(settings, dict):
            raise FatalError(f"{entry.place}: settings are names and values")
        spec = TapSpec(entry.texts("tap"), entry.text("executable"), entry.text("python"))
        variables = tuple(
            Variable(variable, variable, f"used in {FILE}, {name}", is_secret=True)
            for variable in sorted(set(_REFERENCE.findall(json.dumps(settings, default=str))))
        )
        minutes = entry.number("silence_minutes", 60, most=60 * 24)
        yield Source(
            name=name,
            title=entry.text("title", spec.command),
            description=entry.text("description", f"What {spec.command} reads."),
            variables=variables,
            streams=tuple(_streams(name, entry, _saved_catalog(name))),
            connect=_connector(name, spec, settings, variables, minutes * 60.0),
            kinds=("singer",),
            cron=entry.cron("0 3 * * *"),
        )


def _saved_catalog(source: str) -> Mapping[str, object]:
    path = catalog_file(source, "json")
    place = f"{path.parent.name}/{path.name}"
    try:
        catalog = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError):
        catalog = None
    if not isinstance(catalog, dict) or not isinstance(catalog.get("streams"), list):
        raise FatalError(
            f"{place} is no Singer catalog", hint=f"meltano-assets discover {source} --write"
        )
    return catalog


def _streams(source: str, entry: Entry, catalog: Mapping[str, object]) -> Iterator[Stream]:
    """The selected streams of the catalog."""
    selected, left_out = entry.texts("select"), entry.texts("exclude")
    told = entry.words.get("streams", {})
    if not isinstance(told, dict):
        raise FatalError(f"{entry.place}: streams are names with their words")
    found = [stream for stream in _list(catalog.get("streams")) if isinstance(stream, dict)]
    names = {singer.stream_name(stream) for stream in found}
    taken: set[str] = set()
    if catalog and (unknown := {*selected, *left_out, *map(str, told)} - names):
        raise FatalError(
            f"{entry.place}: the catalog has no stream {', '.join(sorted(unknown))}",
            hint=f"there are: {', '.join(sorted(names))}",
        )
    for stream in found:
        name = singer.stream_name(stream)
        is_chosen = singer.metadata_of(stream).get("selected") is not False
        if name in left_out or (name not in selected if selected else not is_chosen):
            continue
        words = told.get(name) or {}
        if not isinstance(words, dict):
            raise FatalError(f"{entry.place}, {name}: not a list of words and values")
        made = _stream(source, stream, Entry(f"{entry.place}, {name}", words))
        if made.name in taken:
            raise FatalError(
                f"{entry.place}: two streams become the table {made.name}",
                hint="leave one out with `exclude`",
            )
        taken.add(made.name)
        yield made


def _table_name(stream: str) -> str:
    """The stream's name as a table and an asset may bear it: ``public-orders`` → ``public_orders``."""
    return _ODD.sub("_", stream).strip("_") or "stream"


def _stream(source: str, catalog: Mapping[str, object], entry: Entry) -> Stream:
    entry.check(_STREAM_WORDS)
    facts = singer.metadata_of(catalog)
    chosen, left_out = entry.texts("select"), entry.texts("exclude")
    keys = entry.texts("primary_key") or tuple(
        map(str, _list(facts.get("table-key-properties") or catalog.get("key_properties")))
    )
    method = entry.text("replication_method") or str(
        facts.get("forced-replication-method")
        or facts.get("replication-method")
        or catalog.get("replication_method")
        or ""
    )
    if method and method not in _METHODS:
        raise FatalError(f"{entry.place}: replication_method is one of {', '.join(_METHODS)}")
    key = entry.text("replication_key") or str(
        facts.get("replication-key")
        or catalog.get("replication_key")
        or next(iter(_list(facts.get("valid-replication-keys"))), "")
        or ""
    )
    if not method:
        method = "INCREMENTAL" if key else "FULL_TABLE"
    schema = catalog.get("schema")
    known = properties(schema) if isinstance(schema, dict) else {}
    is_known = set(known)
    if unknown := {*chosen, *left_out, *keys, *filter(None, [key])} - is_known:
        raise FatalError(f"{entry.place}: the stream has no field {', '.join(sorted(unknown))}")
    needed = {*keys, *filter(None, [key])}
    columns = []
    for field, found in known.items():
        words = singer.metadata_of(catalog, ["properties", field])
        is_offered = words.get("inclusion") != "unsupported" and words.get("selected") is not False
        is_wanted = field in chosen if chosen else is_offered
        is_automatic = field in needed or words.get("inclusion") == "automatic"
        if field != _DELETED and (is_automatic or (is_wanted and field not in left_out)):
            columns.append(Column(field, found.type))
    disposition: Disposition = "upsert" if keys else "append"
    if method == "FULL_TABLE":
        disposition = "replace"
    return Stream(
        source=source,
        name=_table_name(singer.stream_name(catalog)),
        columns=tuple(columns),
        primary_key=keys,
        replication_key=key if method == "INCREMENTAL" and key else None,
        disposition=disposition,
        options={
            "catalog": catalog,
            "method": method,
            "stream": singer.stream_name(catalog),
            "id": str(catalog.get("tap_stream_id") or singer.stream_name(catalog)),
        },
    )


_DELETED = "_sdc_deleted_at"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


class SingerReader:
    """Reads streams of one tap; each read is a run of its own."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap
        self.undeclared: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> int:
        """Runs of the tap; what it asks of its vendor it does not tell."""
        return self.tap.runs

    def count(self, stream: Stream) -> int | None:
        """A tap cannot tell."""
        return None

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """What the tap sends since its committed state, with the state behind it."""
        if options.end is not None:
            raise FatalError("a tap cannot be told where to end", hint="leave the end out")
        old = None if options.full_refresh or options.start else bookmark
        state = _state(old)
        overrides = {"start_date": options.start.isoformat()} if options.start else {}
        gathered = _Gathered(stream)
        sent_as = {stream.options["stream"], stream.options["id"]}
        others: Counter[str] = Counter()
        left = options.limit
        latest = old.cursor if old else None
        is_whole = True
        messages = self.tap.messages(_only(stream), state, overrides)
        try:
            for line in messages:
                kind, message = _parsed(line, stream)
                if kind == "RECORD" and message.get("stream") not in sent_as:
                    others[str(message.get("stream"))] += 1
                elif kind == "RECORD":
                    gathered.add(message, line)
                    left = None if left is None else left - 1
                elif kind == "STATE":
                    latest = orjson.dumps(message.get("value")).decode()
                elif kind == "SCHEMA" and message.get("stream") in sent_as:
                    self._note(stream, message)
                if left == 0:
                    is_whole = False
                    break
                if gathered.is_full:
                    yield Batch(gathered.take(), self._mark(stream, latest, options))
        finally:
            messages.close()  # type: ignore[attr-defined]
        if others:
            names = ", ".join(f"{count:,} of {name}" for name, count in others.items())
            if not gathered.count:
                raise FatalError(f"the tap sent records of other streams only: {names}")
            _log.warning(
                "%s: the tap also sent records that were not asked for: %s", stream.key, names
            )
        mark = self._mark(stream, latest, options) if is_whole else None
        has_moved = mark is not None and (old is None or mark.cursor != old.cursor)
        if gathered.records or has_moved:
            yield Batch(gathered.take(), mark)

    def _mark(self, stream: Stream, state: str | None, options: ReadOptions) -> Bookmark | None:
        """The bookmark of a state; a read from a chosen start leaves the stored one alone."""
        if state is None or options.start is not None or options.limit is not None:
            return None
        return Bookmark(_reached(state, str(stream.options["id"])), state)

    def _note(self, stream: Stream, message: Mapping[str, object]) -> None:
        schema = message.get("schema")
        fields = schema.get("properties") if isinstance(schema, dict) else None
        if isinstance(fields, dict):
            offered = {str(field) for field in fields if not str(field).startswith("_sdc_")}
            self.undeclared[stream.name] = undeclared_fields(stream, offered)


class _Gathered:
    """Records on their way into a batch."""

    def __init__(self, stream: Stream) -> None:
        self._columns = stream.columns
        self.records: list[Record] = []
        self._lines: list[bytes] = []
        self._bytes = 0
        self.count = 0

    def add(self, message: Mapping[str, object], line: bytes) -> None:
        record = message.get("record")
        if not isinstance(record, dict):
            raise FatalError("the tap sent a RECORD without a record")
        self.records.append(record)
        self.count += 1
        self._lines.append(line)
        self._bytes += len(line)

    @property
    def is_full(self) -> bool:
        return len(self.records) >= _BATCH_RECORDS or self._bytes >= _BATCH_BYTES

    def take(self) -> pa.RecordBatch:
        columns = self._columns
        if any(_DELETED in record for record in self.records):
            columns += (Column("_deleted_at", "timestamptz", field=_DELETED),)
        try:
            batch = batch_from_records(columns, self.records)
        except RoundedError:
            exact = [_record_of(parse_json_exactly(line)) for line in self._lines]
            batch = batch_from_records(columns, exact, are_exact=True)
        self.records, self._lines, self._bytes = [], [], 0
        return batch


def _record_of(message: object) -> Record:
    record = message.get("record") if isinstance(message, dict) else None
    return record if isinstance(record, dict) else {}


def _parsed(line: bytes, stream: Stream) -> tuple[str, Mapping[str, object]]:
    if not line.strip():
        return "", {}
    try:
        message, _ = parse_json(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        # Taps that print what they do between their messages.
        _log.warning("%s: a line of the tap is no message", stream.key)
        return "", {}
    return str(message.get("type")), message


def _state(bookmark: Bookmark | None) -> Mapping[str, object] | None:
    if bookmark is None or bookmark.cursor is None:
        return None
    state = orjson.loads(bookmark.cursor)
    return state if isinstance(state, dict) else None


def _reached(state: str, stream: str) -> str | None:
    """The replication key's value in a state, where it is one that we can read."""
    found = orjson.loads(state)
    marks = found.get("bookmarks") if isinstance(found, dict) else None
    mark = marks.get(stream) if isinstance(marks, dict) else None
    if isinstance(mark, dict):
        for value in (mark.get("replication_key_value"), *mark.values()):
            if isinstance(value, str):
                try:
                    datetime.fromisoformat(value)
                except ValueError:
                    continue
                return value
    return None


def _only(stream: Stream) -> dict[str, object]:
    """The catalog with this stream alone, and of its fields those that have columns."""
    catalog = stream.options["catalog"]
    assert isinstance(catalog, dict)
    fields = {column.vendor_field for column in stream.columns}
    schema = json.loads(json.dumps(catalog.get("schema") or {}))
    schema["selected"] = True
    metadata: list[object] = []
    known = set()
    for entry in _list(catalog.get("metadata")):
        if not isinstance(entry, dict):
            continue
        place, words = list(_list(entry.get("breadcrumb"))), dict(entry.get("metadata") or {})
        known.add(tuple(place))
        if not place:
            words["selected"] = True
            words["replication-method"] = stream.options["method"]
            if stream.replication_key:
                words["replication-key"] = stream.replication_key
        elif len(place) == 2 and place[0] == "properties":
            words["selected"] = place[1] in fields
        metadata.append({"breadcrumb": place, "metadata": words})
    if () not in known:
        metadata.append({"breadcrumb": [], "metadata": {"selected": True}})
    for field in (schema.get("properties") or {}).keys() - {p[1] for p in known if len(p) == 2}:
        words = {"selected": field in fields}
        metadata.append({"breadcrumb": ["properties", field], "metadata": words})
    chosen = {
        **catalog,
        "schema": schema,
        "metadata": metadata,
        "selected": True,
        "replication_method": stream.options["method"],
    }
    if stream.replication_key:
        chosen["replication_key"] = stream.replication_key
    return {"streams": [chosen]}


def _connector(
    source: str,
    spec: TapSpec,
    words: Mapping[str, object],
    variables: tuple[Variable, ...],
    silence_seconds: float,
) -> Connect:
    @contextmanager
    def connect(
        settings: Mapping[str, str], *, transport: Transport | None = None
    ) -> Iterator[SingerReader]:
        required(settings, source, variables)
        yield SingerReader(tap_of(source, spec, words, settings, silence_seconds))

    return connect


def tap_of(
    source: str,
    spec: TapSpec,
    settings: Mapping[str, object],
    given: Mapping[str, str],
    silence_seconds: float = singer.SILENCE_SECONDS,
) -> Tap:
    """The tap with its settings filled in from the variables that they name."""
    filled = _filled(settings, given)
    assert isinstance(filled, dict)
    secrets = {value for value in given.values() if value} | set(_secrets(filled))
    return Tap(source, spec, filled, frozenset(secrets), silence_seconds)


def _filled(value: object, given: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: given.get(found.group(1), ""), value)
    if isinstance(value, dict):
        return {str(name): _filled(inner, given) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, given) for inner in value]
    return value


def _secrets(settings: Mapping[str, object]) -> Iterator[str]:
    """Values that stand in the file itself under a name that says what they are."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _secrets(value)
        elif isinstance(value, str) and value and _SECRET_WORD.search(str(name)):
            yield value


def discover(source: Source, settings: Mapping[str, str]) -> dict[str, object]:
    """The tap's own catalog."""
    with source.connect(settings) as reader:
        assert isinstance(reader, SingerReader)
        return reader.tap.discover()


def summary(catalog: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """Name, primary key and replication key of each stream, for people."""
    rows = []
    for found in _list(catalog.get("streams")):
        if isinstance(found, dict):
            stream = _stream("", found, Entry(singer.stream_name(found), {}))
            key = stream.replication_key or f"{stream.options['method']}".lower()
            rows.append(
                (str(stream.options["stream"]), ", ".join(stream.primary_key) or "none", key)
            )
    return rows
