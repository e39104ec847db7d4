"""A Singer target: messages on a stream of lines into tables of one schema.

SCHEMA declares a table, RECORDs fill it, a STATE is handed on only after everything before it is
committed. Records are gathered per stream and loaded together; the last one read of a key wins. Nested
objects and arrays are ``jsonb``. ACTIVATE_VERSION marks the rows of other versions as deleted.
"""

from __future__ import annotations

import gzip
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlparse

import orjson
import pyarrow as pa
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, Column, ColumnType, LoadOutcome, Stream
from meltano_assets.warehouse import files, json_records
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.names import fold_all
from meltano_assets.warehouse.records import DELETED_AT
from meltano_assets.warehouse.schema import TableName, find
from meltano_assets.warehouse.types import join

#: Everything gathered is loaded when one of these is reached.
FLUSH_RECORDS = 50_000
FLUSH_BYTES = 64 * 1024 * 1024
FLUSH_SECONDS = 60.0

_VERSION = "_sdc_table_version"
_VERSION_COLUMN = Column(_VERSION, "bigint", "The version of the table that the tap was sending.")
_METADATA_COLUMNS = (
    Column("_sdc_extracted_at", "timestamptz", "When the tap took the record from its source."),
    Column("_sdc_received_at", "timestamptz", "When the target read the record."),
    Column("_sdc_sequence", "bigint", "Place of the record in the input."),
)


@dataclass(slots=True)
class _Table:
    """One stream of the input, and what has been gathered for it."""

    stream: Stream
    kinds: dict[str, ColumnType]
    is_closed: bool
    declaration: Mapping[str, object]
    is_stored: bool = False
    records: list[dict[str, object]] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)
    version: int | None = None


class SingerTarget:
    """Takes the lines of one tap; ``outcomes`` tells what was loaded, per load."""

    def __init__(
        self,
        warehouse: Warehouse,
        schema: str,
        *,
        on_state: Callable[[str], None],
        on_progress: Callable[[LoadOutcome], None] | None = None,
        add_metadata: bool = False,
        run_id: str = "",
        environment: str = "local",
    ) -> None:
        self._warehouse = warehouse
        self._schema = schema
        self._on_state = on_state
        self._on_progress = on_progress
        self._add_metadata = add_metadata
        self._run_id = run_id
        self._environment = environment
        self._tables: dict[str, _Table] = {}
        self._names: dict[str, str] = {}
        self._state: str | None = None
        self._gathered = self._bytes = 0
        self._flushed_at = time.monotonic()
        self.outcomes: list[LoadOutcome] = []

    def run(self, lines: Iterable[bytes]) -> list[LoadOutcome]:
        """Load everything; FatalError names the line that breaks the protocol."""
        for number, line in enumerate(lines, 1):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                self._take(text, number)
            is_due = time.monotonic() - self._flushed_at > FLUSH_SECONDS
            if self._gathered >= FLUSH_RECORDS or self._bytes >= FLUSH_BYTES or is_due:
                self.flush()
        self.flush()
        for table in self._tables.values():
            if not table.is_stored:
                # A stream without records is a table without rows, not a table that is missing.
                self._store(table, iter(()))
        return self.outcomes

    def flush(self) -> None:
        """Commit what was gathered, then hand on the latest STATE."""
        for table in self._tables.values():
            self._load(table)
        self._gathered = self._bytes = 0
        self._flushed_at = time.monotonic()
        if self._state is not None:
            self._on_state(self._state)
            self._state = None

    def _take(self, line: bytes, number: int) -> None:
        try:
            message = (
                json_records.loads_exactly(line)
                if files.has_long_number(line)
                else orjson.loads(line)
            )
        except (ValueError, RecursionError):
            message = json_records.loads_leniently(line)
        if not isinstance(message, dict):
            raise FatalError(f"line {number} is no Singer message", hint="is this a tap's output?")
        kind = message.get("type")
        if kind == "RECORD":
            self._record(message, line, number)
        elif kind == "SCHEMA":
            self._declare(message, number)
        elif kind == "STATE":
            self._state = orjson.dumps(message.get("value")).decode()
        elif kind == "ACTIVATE_VERSION":
            self._activate(message, number)
        elif kind == "BATCH":
            self._batch(message, number)
        else:
            raise FatalError(f"line {number}: unknown Singer message type")

    def _table(self, message: Mapping[str, object], number: int) -> _Table:
        name = message.get("stream")
        if not isinstance(name, str) or name not in self._tables:
            raise FatalError(f"line {number}: a record comes before the SCHEMA of its stream")
        return self._tables[name]

    def _record(self, message: Mapping[str, object], line: bytes, number: int) -> None:
        table = self._table(message, number)
        record = message.get("record")
        if not isinstance(record, dict):
            raise FatalError(f"line {number}: a RECORD without a record")
        self._gathered += 1
        self._bytes += len(line)
        if (deleted := record.pop("_sdc_deleted_at", None)) is not None:
            record[DELETED_AT] = deleted
        if table.is_closed and not record.keys() <= {*table.kinds, DELETED_AT}:
            table.malformed.append(orjson.dumps(record, default=str).decode())
            return
        version = message.get("version")
        if isinstance(version, int):
            if table.version is None:
                self._declare_version(table)
            table.version = version
            record[_VERSION] = version
        if self._add_metadata:
            record.setdefault("_sdc_extracted_at", message.get("time_extracted"))
            record.setdefault("_sdc_received_at", datetime.now(UTC).isoformat())
            record.setdefault("_sdc_sequence", number)
        table.records.append(record)

    def _declare(self, message: Mapping[str, object], number: int) -> None:
        name, schema = message.get("stream"), message.get("schema")
        if not isinstance(name, str) or not isinstance(schema, dict):
            raise FatalError(f"line {number}: a SCHEMA without stream or schema")
        if name in self._tables:
            if self._tables[name].declaration == message:
                return
            self._load(self._tables[name])
        properties = schema.get("properties") or {}
        columns = fold_all(properties)
        declared = [
            Column(columns[key], column_type(value), field=key)
            for key, value in properties.items()
            if key != "_sdc_deleted_at"
        ]
        named = message.get("key_properties")
        keys = [str(key) for key in named] if isinstance(named, list) else []
        missing = [key for key in keys if key not in columns]
        if missing:
            raise FatalError(
                f"line {number}: key properties that the schema does not have",
                source=self._schema,
                stream=name,
            )
        if self._add_metadata:
            taken = {column.name for column in declared}
            declared += [column for column in _METADATA_COLUMNS if column.name not in taken]
        self._names = fold_all([name], self._names)
        stream = Stream(
            self._schema,
            self._names[name],
            tuple(declared),
            primary_key=tuple(columns[key] for key in keys),
            disposition="upsert" if keys else "append",
        )
        kinds = {column.vendor_field: column.type for column in declared}
        is_closed = schema.get("additionalProperties") is False
        self._tables[name] = _Table(stream, kinds, is_closed, message)

    def _declare_version(self, table: _Table) -> None:
        columns = (*table.stream.columns, _VERSION_COLUMN)
        table.stream = Stream(
            table.stream.source,
            table.stream.name,
            columns,
            primary_key=table.stream.primary_key,
            disposition=table.stream.disposition,
        )
        table.kinds[_VERSION] = "bigint"

    def _load(self, table: _Table) -> None:
        if not table.records and not table.malformed:
            return
        # A field that a record leaves out is null, whatever the other records of the load hold.
        records = json_records.batch(table.records, dict(table.kinds), table.kinds)
        malformed = table.malformed
        if not records.num_columns:
            malformed += json_records.empty(table.records)
        if malformed:
            records = files.with_malformed(records, malformed)
        table.records, table.malformed = [], []
        self._store(table, iter([records]))

    def _store(self, table: _Table, batches: Iterator[pa.RecordBatch]) -> None:
        table.is_stored = True
        self.outcomes.append(
            load(
                self._warehouse,
                table.stream,
                (Batch(records) for records in batches),
                run_id=self._run_id,
                environment=self._environment,
                on_progress=self._on_progress,
            )
        )

    def _activate(self, message: Mapping[str, object], number: int) -> None:
        """Rows that the tap did not send again in this version are gone at the source."""
        table = self._table(message, number)
        self._load(table)
        name = TableName(table.stream.source, table.stream.name)
        with self._warehouse.connect(application_name="meltano-assets singer") as connection:
            found = find(connection, name)
            if found is None or _VERSION not in found.columns:
                return
            connection.execute(
                sql.SQL(
                    "update {} set _deleted_at = now(), _loaded_at = now()"
                    " where _deleted_at is null and {} is distinct from %s"
                ).format(name.sql, sql.Identifier(_VERSION)),
                [message.get("version")],
            )

    def _batch(self, message: Mapping[str, object], number: int) -> None:
        """Files that the tap wrote instead of RECORD messages."""
        table = self._table(message, number)
        self._load(table)
        manifest = message.get("manifest")
        for address in manifest if isinstance(manifest, list) else []:
            parts = urlparse(str(address))
            if parts.scheme not in ("", "file"):
                raise FatalError(f"line {number}: a BATCH file that is not local")
            path = Path(unquote(parts.path))
            form: files.FileFormat = "parquet" if path.suffix == ".parquet" else "ndjson"
            _, batches = files.read_file(path, form)
            self._store(table, batches)


def column_type(schema: object) -> ColumnType:
    """The column for a property of a JSON schema; what may be several things is text."""
    if not isinstance(schema, dict):
        return "jsonb"
    for union in ("anyOf", "oneOf"):
        if isinstance(schema.get(union), list):
            kinds = [
                column_type(one)
                for one in schema[union]
                if not (isinstance(one, dict) and one.get("type") in ("null", ["null"]))
            ]
            return _joined(kinds)
    named = schema.get("type")
    names = named if isinstance(named, list) else [named] if named else []
    known: dict[str, ColumnType] = {
        "integer": "bigint",
        "number": "numeric",
        "boolean": "boolean",
        "object": "jsonb",
        "array": "jsonb",
        "string": "text",
    }
    if schema.get("format") == "date-time":
        known["string"] = "timestamptz"
    elif schema.get("format") == "date":
        known["string"] = "date"
    return _joined([known[name] for name in names if name in known])


def _joined(kinds: list[ColumnType]) -> ColumnType:
    if not kinds:
        return "jsonb"
    result = kinds[0]
    for kind in kinds[1:]:
        result = join(result, kind)
    return result


def open_lines(path: str) -> Iterator[bytes]:
    """The lines of a file, plain or gzip, or of standard input (``-``)."""
    if path == "-":
        yield from sys.stdin.buffer
        return
    name = Path(path)
    try:
        with name.open("rb") as opened:
            is_gzip = opened.read(2) == b"\x1f\x8b"
        with gzip.open(name) if is_gzip else name.open("rb") as lines:
            yield from lines
    except (EOFError, gzip.BadGzipFile):
        raise FatalError(f"{path}: the compressed file is damaged or cut off") from None
    except OSError as error:
        raise FatalError(f"{path} cannot be read: {error.strerror}") from None
