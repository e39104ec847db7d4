"""A Singer target: messages on a stream of lines into tables of one schema.

SCHEMA declares a table, RECORDs fill it, a STATE is handed on only after everything before it is
committed. Records are gathered per stream and loaded together; the last one read of a key wins. Nested
objects and arrays are ``jsonb``. ACTIVATE_VERSION marks the rows of older versions as deleted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlparse

import orjson
import psycopg
import pyarrow as pa
from psycopg import sql

from meltano_assets import json_objects, singer_schema
from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, Column, ColumnType, Disposition, LoadOutcome, Stream
from meltano_assets.warehouse import (
    books,
    catalog,
    files,
    json_records,
    opening,
    singer_blocks,
    state,
)
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.evolution import IS_WHOLE, OBSERVED
from meltano_assets.warehouse.json_columns import Columns
from meltano_assets.warehouse.load import load, new_load_id
from meltano_assets.warehouse.names import fold_all
from meltano_assets.warehouse.records import DELETED_AT, INFERRED, with_malformed
from meltano_assets.warehouse.schema import TableName, find

#: Everything gathered is loaded when one of these is reached.
FLUSH_RECORDS = 50_000
FLUSH_BYTES = 64 * 1024 * 1024
FLUSH_SECONDS = 60.0

#: So much is looked at together for keys that stand twice.
_LOOKED_AT_BYTES = 1024 * 1024

_VERSION = "_sdc_table_version"
_DELETED = "_sdc_deleted_at"
_VERSION_COLUMN = Column(_VERSION, "bigint", "The version of the table that the tap was sending.")
_METADATA_COLUMNS = (
    Column("_sdc_extracted_at", "timestamptz", "When the tap took the record from its source."),
    Column("_sdc_received_at", "timestamptz", "When the target read the record."),
    Column("_sdc_batched_at", "timestamptz", "When the target began to store the record."),
    Column(_DELETED, "timestamptz", "When the record was deleted at the source."),
    Column("_sdc_sequence", "bigint", "Milliseconds since 1970 when the target read the record."),
    _VERSION_COLUMN,
    Column("_sdc_sync_started_at", "bigint", "Milliseconds since 1970 when the input began."),
)


@dataclass(slots=True)
class _Table:
    """One stream of the input, and what has been gathered for it."""

    stream: Stream
    kinds: dict[str, ColumnType]
    required: frozenset[str]
    is_closed: bool
    declaration: Mapping[str, object]
    is_stored: bool = False
    has_batches: bool = False
    #: Lines whose records come after all others here, and are still to be parsed.
    block: singer_blocks.Block | None = None
    #: Records that are columns already; those of ``records`` come after them.
    batches: list[pa.RecordBatch] = field(default_factory=list)
    records: list[dict[str, object]] = field(default_factory=list)
    #: Records that cannot be loaded as the schema says, as text, with their line and the reason.
    refused: list[tuple[str, int | None, str]] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    #: A version that ends older rows at the next commit, and whether records without any came since.
    activated: int | None = None
    has_plain: bool = False
    #: Lines that are still to be looked at for keys that stand twice, and how many did.
    lines: list[bytes] = field(default_factory=list)
    line_bytes: int = 0
    repeated: int = 0

    def look_at(self, line: bytes) -> None:
        """Keep a line until there are enough to be looked at together."""
        self.lines.append(line)
        self.line_bytes += len(line)
        if self.line_bytes > _LOOKED_AT_BYTES:
            self.count_repeated()

    def count_repeated(self) -> None:
        """Count the values that are lost because their object has the key once more."""
        self.repeated += json_records.repeated_keys(b"\n".join(self.lines))
        self.lines, self.line_bytes = [], 0

    @property
    def told_kinds(self) -> dict[str, ColumnType]:
        """The fields' types, without those of which the schema says nothing: their values do."""
        silent = {one.vendor_field for one in self.stream.columns if not one.is_type_known}
        return {name: kind for name, kind in self.kinds.items() if name not in silent}

    @property
    def is_empty(self) -> bool:
        """True when nothing has been gathered."""
        has_lines = self.block is not None and bool(self.block.lines)
        return not (has_lines or self.batches or self.records or self.refused)

    def gather(self) -> None:
        """Make columns of the records, behind those that are there."""
        if self.records:
            # A field that a record leaves out is null, whatever the other records of the load hold.
            batch = json_records.batch(self.records, self.told_kinds, self.kinds)
            if batch.num_columns:
                self.batches.append(batch)
            else:
                empty = json_records.empty(self.records)
                self.refused += [(text, None, "the record is empty") for text in empty]
            self.records = []

    def append(self, batch: pa.RecordBatch, version: int | None) -> None:
        """Keep records that were parsed at once, all of one version."""
        self.gather()
        if version is not None:
            column = pa.repeat(pa.scalar(version, pa.int64()), batch.num_rows)
            if _VERSION in batch.schema.names:
                batch = batch.drop_columns([_VERSION])
            batch = batch.append_column(_VERSION, column)
        self.batches.append(singer_blocks.completed(batch, self.kinds))


class SingerTarget:
    """Takes the lines of one tap; ``outcomes`` tells what was loaded, per load.

    ``disposition`` is for streams with key properties; those without are appended.
    ``is_hard_delete`` removes the rows of older versions and of deleted records, which are else marked.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        schema: str,
        *,
        on_state: Callable[[str], None],
        on_progress: Callable[[LoadOutcome], None] | None = None,
        add_metadata: bool = False,
        is_hard_delete: bool = False,
        disposition: Disposition = "upsert",
        options: Mapping[str, object] | None = None,
        lock_wait_seconds: float = 600,
        run_id: str = "",
        environment: str = "local",
    ) -> None:
        self._warehouse = warehouse
        self._schema = schema
        self._on_state = on_state
        self._on_progress = on_progress
        self._add_metadata = add_metadata
        self._is_hard_delete = is_hard_delete
        self._disposition = disposition
        self._options = dict(options or {})
        self._lock_wait_seconds = lock_wait_seconds
        self._run_id = run_id
        self._environment = environment
        self._tables: dict[str, _Table] = {}
        #: Messages that activate a version of a stream whose SCHEMA is still to come, and their lines.
        self._early: dict[str, tuple[Mapping[str, object], int]] = {}
        self._names: dict[str, str] | None = None
        self._state: str | None = None
        self._gathered = self._bytes = 0
        self._began = round(time.time() * 1000)
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
        for table in self._tables.values():
            if not table.is_stored and table.is_empty:
                # A stream without records is a table without rows, not a table that is missing.
                self._store(table, iter(()))
        self.flush()
        return self.outcomes

    def flush(self) -> None:
        """Commit what was gathered, then hand on the latest STATE."""
        for table in self._tables.values():
            self._settle(table)
        for table in self._tables.values():
            self._load(table)
        self._gathered = self._bytes = 0
        self._flushed_at = time.monotonic()
        if self._state is not None:
            self._on_state(self._state)
            self._state = None

    def _take(self, line: bytes, number: int) -> None:
        if self._waits(line, number):
            return
        message = _message(line, number)
        kind = message.get("type")
        if kind == "RECORD":
            table = self._table(message, number)
            self._settle(table)
            self._count(line)
            self._record(table, message, line, number)
        elif kind == "SCHEMA":
            self._declare(message, number)
        elif kind == "STATE":
            if "value" not in message:
                raise FatalError(f"line {number}: a STATE without a value")
            self._state = json_records.dumps(message.get("value"))
        elif kind == "ACTIVATE_VERSION":
            self._activate(message, number)
        elif kind == "BATCH":
            self._batch(message, number)
        else:
            raise FatalError(f"line {number}: unknown Singer message type")

    def _table(self, message: Mapping[str, object], number: int) -> _Table:
        name = message.get("stream")
        if not isinstance(name, str) or name not in self._tables:
            article = "an" if message["type"] == "ACTIVATE_VERSION" else "a"
            raise FatalError(
                f"line {number}: {article} {message['type']} comes before the SCHEMA of its stream",
                source=self._schema,
                stream=name if isinstance(name, str) else None,
            )
        return self._tables[name]

    def _count(self, line: bytes) -> None:
        self._gathered += 1
        self._bytes += len(line)

    def _waits(self, line: bytes, number: int) -> bool:
        """True when the line is one of those whose records are parsed together, later."""
        found = singer_blocks.envelope(line)
        table = self._tables.get(found.stream) if found is not None else None
        if found is None or table is None or table.block is None or table.block.is_hopeless:
            return False
        if table.block.version != found.version:
            self._settle(table)
            table.block.version = found.version
        table.block.add(line, number, found)
        self._count(line)
        if table.block.is_full:
            self._settle(table)
        return True

    def _settle(self, table: _Table) -> None:
        """Parse the lines that wait: at once where they hold no surprise, else one by one."""
        if table.block is None or not table.block.lines:
            return
        batch, lines = table.block.take()
        if batch is not None:
            self._note_version(table, table.block.version)
            table.append(batch, table.block.version)
        for line, number in lines:
            self._record(table, _message(line, number), line, number)

    def _record(
        self, table: _Table, message: Mapping[str, object], line: bytes, number: int
    ) -> None:
        record = message.get("record")
        if not isinstance(record, dict):
            raise self._fatal(table, f"line {number}: a RECORD without a record")
        table.look_at(line)
        if (deleted := record.pop(_DELETED, None)) is not None:
            record[DELETED_AT] = deleted
        if table.is_closed and not record.keys() <= {*table.kinds, DELETED_AT}:
            self._refuse(table, record, number, "a property that the schema does not allow")
            return
        # A delete says no more than what was deleted.
        if not table.required <= record.keys() and deleted is None:
            self._refuse(table, record, number, "a required property is missing")
            return
        version = singer_blocks.version_of(message)
        self._note_version(table, version)
        if version is not None:
            record[_VERSION] = version
        if self._add_metadata:
            record.setdefault("_sdc_extracted_at", message.get("time_extracted"))
            record.setdefault("_sdc_received_at", datetime.now(UTC).isoformat())
            record.setdefault("_sdc_sequence", round(time.time() * 1000))
            record.setdefault("_sdc_sync_started_at", self._began)
            record[_DELETED] = deleted
        table.records.append(record)

    def _refuse(
        self, table: _Table, record: Mapping[str, object], number: int, reason: str
    ) -> None:
        table.refused.append((json_records.dumps(record), number, reason))

    def _declare(self, message: Mapping[str, object], number: int) -> None:
        name, schema = message.get("stream"), message.get("schema")
        if not isinstance(name, str) or not isinstance(schema, dict):
            raise FatalError(f"line {number}: a SCHEMA without stream or schema")
        known = self._tables.get(name)
        if known is not None:
            if known.declaration == message:
                return
            self._load(known)
        try:
            found = singer_schema.properties(schema)
        except FatalError as error:
            error.message = f"line {number}: {error.message}"
            error.source, error.stream = self._schema, name
            raise
        columns = fold_all(found)
        declared = [
            Column(columns[key], kind.type, field=key, is_type_known=kind.is_known)
            for key, kind in found.items()
            if key not in (_DELETED, DELETED_AT)
        ]
        named = message.get("key_properties")
        if not isinstance(named, list | None):
            raise FatalError(
                f"line {number}: key properties that are no list", source=self._schema, stream=name
            )
        keys = list(dict.fromkeys(map(str, named or [])))
        if absent := [key for key in keys if key not in columns]:
            raise FatalError(
                f"line {number}: key properties that the schema does not have: {', '.join(absent)}",
                source=self._schema,
                stream=name,
                hint="the tap has to declare and select its keys; see its catalog",
            )
        primary_key = tuple(columns[key] for key in keys)
        if known is not None and known.is_stored:
            self._refuse_other_key(known, primary_key, number)
        taken = {column.name for column in declared}
        if self._add_metadata:
            declared += [column for column in _METADATA_COLUMNS if column.name not in taken]
        stream = Stream(
            self._schema,
            self._table_name(name),
            tuple(declared),
            primary_key=primary_key,
            disposition=self._disposition if keys else "append",
            options={
                INFERRED: frozenset(columns[key] for key, kind in found.items() if kind.is_loose),
                OBSERVED: True,
                IS_WHOLE: True,
                **self._options,
            },
        )
        required = schema.get("required")
        kinds = {column.vendor_field: column.type for column in declared}
        if DELETED_AT in found:
            # Every table has that column.
            kinds[DELETED_AT] = "timestamptz"
        self._tables[name] = _Table(
            stream,
            kinds=kinds,
            required=frozenset(map(str, required)) if isinstance(required, list) else frozenset(),
            is_closed=schema.get("additionalProperties") is False,
            declaration=message,
        )
        if not self._add_metadata:
            table = self._tables[name]
            table.block = singer_blocks.Block(Columns(dict(table.kinds)), table.required)
        if (early := self._early.pop(name, None)) is not None:
            self._activate(*early)

    def _refuse_other_key(self, known: _Table, key: tuple[str, ...], number: int) -> None:
        """One table cannot keep records by two keys."""
        stream = known.stream
        if set(stream.primary_key) == set(key):
            return
        was, now = (", ".join(part) or "nothing" for part in (stream.primary_key, key))
        raise self._fatal(
            known,
            f"line {number}: the key was {was}, and is {now} from here on; what came before is stored",
            f"drop the primary key of {stream.key} and run the tap again,"
            " or drop the table and let the tap send everything anew",
        )

    def _table_name(self, name: str) -> str:
        """The stream's table: the one it had in earlier runs, else a name that is free."""
        with self._warehouse.connect(application_name="meltano-assets singer") as connection:
            if self._names is None:
                books.ensure(connection)
                self._names = catalog.known_tables(connection, self._schema)
            if name not in self._names:
                self._names = fold_all([name], self._names)
                catalog.write_table(connection, self._schema, name, self._names[name])
        return self._names[name]

    def _note_version(self, table: _Table, version: int | None) -> None:
        if version is None:
            table.has_plain = True
            return
        if not table.versions and _VERSION not in table.kinds:
            columns = (*table.stream.columns, _VERSION_COLUMN)
            table.stream = replace(table.stream, columns=columns)
            table.kinds[_VERSION] = "bigint"
        table.versions.add(version)

    def _load(self, table: _Table) -> None:
        """Commit what was gathered for a stream, and the version that was activated."""
        self._settle(table)
        if table.activated is not None and table.has_plain:
            # What came since without a version stays; only what was there before goes.
            self._retire_older(table)
        if not table.is_empty:
            self._store_gathered(table)
        if table.activated is not None:
            self._retire_older(table)

    def _store_gathered(self, table: _Table) -> None:
        table.count_repeated()
        if self._add_metadata:
            now = datetime.now(UTC).isoformat()
            for record in table.records:
                record.setdefault("_sdc_batched_at", now)
        table.gather()
        batches = table.batches or [json_records.batch([], table.told_kinds, table.kinds)]
        last = batches[-1]
        if table.refused:
            last = with_malformed(last, *zip(*table.refused, strict=True))
        batches[-1] = json_objects.with_repeated(last, table.repeated)
        table.batches, table.refused, table.repeated = [], [], 0
        self._store(table, iter(batches))

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
                lock_wait_seconds=self._lock_wait_seconds,
                before_commit=partial(self._remove_deleted, table.stream),
            )
        )

    def _remove_deleted(self, stream: Stream, connection: psycopg.Connection) -> None:
        """Rows that a record has deleted go at once, if that is wanted."""
        if self._is_hard_delete and stream.disposition != "scd2":
            name = TableName(stream.source, stream.name)
            statement = sql.SQL("delete from {} where _deleted_at is not null").format(name.sql)
            if find(connection, name) is not None:
                connection.execute(statement)

    def _activate(self, message: Mapping[str, object], number: int) -> None:
        """Rows that the tap did not send again in this version are gone at the source.

        Taps say it behind the last record, and in a first sync before the first one, too: there it waits
        for the next commit, so that nobody sees the table without its rows meanwhile. What some say before
        the SCHEMA, counts from there on.
        """
        name = message.get("stream")
        if isinstance(name, str) and name not in self._tables:
            self._early[name] = (message, number)
            return
        table = self._table(message, number)
        version = singer_blocks.version_of(message)
        if version is None:
            raise self._fatal(table, f"line {number}: an ACTIVATE_VERSION without a version")
        self._load(table)
        table.activated, table.has_plain = version, False
        if version in table.versions:
            self._retire_older(table)

    def _retire_older(self, table: _Table) -> None:
        """Mark or remove the rows of versions before the activated one, and write it down."""
        version, table.activated = table.activated, None
        stream = table.stream
        name = TableName(stream.source, stream.name)
        with self._warehouse.connect(application_name="meltano-assets singer") as connection:
            state.lock_stream(connection, stream.source, stream.name, self._lock_wait_seconds)
            found = find(connection, name)
            if found is None:
                return
            older: sql.Composable = sql.SQL("{} < {}").format(
                sql.Identifier(_VERSION), sql.Literal(version)
            )
            # BATCH files carry no version: where they are used, rows without one are none of another.
            if _VERSION not in found.columns:
                older = sql.SQL("true" if not table.has_batches else "false")
            elif not table.has_batches:
                older = sql.SQL("({} or {} is null)").format(older, sql.Identifier(_VERSION))
            began = datetime.now(UTC)
            gone = self._retire(connection, table, name, older, _DELETED in found.columns)
            if gone:
                outcome = LoadOutcome(
                    new_load_id(began), str(name), stream.disposition, deleted=gone, checkpoints=1
                )
                self.outcomes.append(outcome)
                entry = state.LogEntry(
                    stream.source, stream.name, self._run_id, self._environment, began, outcome
                )
                state.write_log(connection, entry)

    def _retire(
        self,
        connection: psycopg.Connection,
        table: _Table,
        name: TableName,
        older: sql.Composable,
        has_metadata: bool,
    ) -> int:
        """Mark or remove rows; returns how many."""
        if self._is_hard_delete and table.stream.disposition != "scd2":
            statement = sql.SQL("delete from {} where {}").format(name.sql, older)
            return connection.execute(statement).rowcount
        marks = [sql.SQL("_deleted_at = now(), _loaded_at = now()")]
        if table.stream.disposition == "scd2":
            marks.append(sql.SQL("_valid_to = greatest(now(), _valid_from)"))
            older = sql.SQL("_valid_to is null and {}").format(older)
        if has_metadata:
            marks.append(sql.SQL("_sdc_deleted_at = now()"))
        return connection.execute(
            sql.SQL("update {} set {} where _deleted_at is null and {}").format(
                name.sql, sql.SQL(", ").join(marks), older
            )
        ).rowcount

    def _batch(self, message: Mapping[str, object], number: int) -> None:
        """Files that the tap wrote instead of RECORD messages."""
        table = self._table(message, number)
        manifest, encoding = message.get("manifest"), message.get("encoding")
        if not isinstance(manifest, list):
            raise self._fatal(table, f"line {number}: a BATCH without a manifest")
        said = encoding.get("format") if isinstance(encoding, dict) else None
        if said not in (None, "jsonl", "parquet"):
            raise self._fatal(
                table, f"line {number}: a BATCH in an unknown format", "use jsonl or parquet"
            )
        self._load(table)
        table.has_batches = True
        for address in manifest:
            parts = urlparse(str(address))
            if parts.scheme not in ("", "file"):
                raise self._fatal(table, f"line {number}: a BATCH file that is not local")
            path = Path(unquote(parts.path))
            is_parquet = said == "parquet" or (said is None and ".parquet" in path.suffixes)
            if not is_parquet and _is_empty(path):
                continue
            form: files.FileFormat = "parquet" if is_parquet else "ndjson"
            _, batches = files.read_file(path, form, kinds=table.told_kinds)
            self._store(table, self._completed(table, batches))

    def _completed(
        self, table: _Table, batches: Iterable[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """Batches of a file with every declared field and the metadata that is wanted."""
        now = datetime.now(UTC)
        stamps = {
            "_sdc_received_at": pa.scalar(now),
            "_sdc_batched_at": pa.scalar(now),
            "_sdc_sequence": pa.scalar(round(time.time() * 1000)),
            "_sdc_sync_started_at": pa.scalar(self._began),
        }
        for batch in batches:
            for name in table.kinds:
                if name in batch.schema.names:
                    continue
                value = stamps.get(name) if self._add_metadata else None
                filled = (
                    pa.nulls(batch.num_rows) if value is None else pa.repeat(value, batch.num_rows)
                )
                batch = batch.append_column(name, filled)  # noqa: PLW2901
            yield batch

    def _fatal(self, table: _Table, message: str, hint: str | None = None) -> FatalError:
        return FatalError(message, source=table.stream.source, stream=table.stream.name, hint=hint)


def _message(line: bytes, number: int) -> dict[str, object]:
    try:
        message = (
            json_records.loads_exactly(line)
            if files.has_inexact_number(line)
            else orjson.loads(line)
        )
    except (ValueError, RecursionError):
        message = json_records.loads_leniently(line)
    if not isinstance(message, dict):
        raise FatalError(f"line {number} is no Singer message", hint="is this a tap's output?")
    return message


def _is_empty(path: Path) -> bool:
    return next(open_lines(str(path)), None) is None


_MESSAGE = re.compile(rb'"type"\s*:\s*"(?:SCHEMA|RECORD|STATE|ACTIVATE_VERSION|BATCH)"')


def is_singer(path: str) -> bool:
    """True when the first line begins like a Singer message; takes nothing from standard input."""
    first = opening.head(path).removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    is_message = first.startswith(b"{") and _MESSAGE.search(first) is not None
    return is_message and (b'"stream"' in first or b'"value"' in first)


def open_lines(path: str) -> Iterator[bytes]:
    """The lines of a file or of standard input (``-``), plain or packed."""
    opened = opening.open_plain(path)
    return opening.guarded(opened, iter(opened), path)
