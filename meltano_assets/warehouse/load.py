"""Loading a stream: batches in, one transaction per checkpoint, an account of every record out.

COPY into a table made in the transaction → merge → bookmark → load log → commit. Killed at any instant,
table, bookmark and log agree. How the rows get into their table is ``intake.py``'s matter.
docs/loading.md has the rules in plain words.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pyarrow as pa
from psycopg import errors as pg

from meltano_assets.errors import FatalError, PlatformError, RetriableError
from meltano_assets.json_objects import KEY_TWICE, repeated_in
from meltano_assets.streams import OWN, Batch, Bookmark, ColumnType, LoadOutcome, Stream
from meltano_assets.warehouse import (
    books,
    catalog,
    evolution,
    fill,
    history,
    quarantine,
    schema,
    state,
    swap,
)
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.copy import pieces
from meltano_assets.warehouse.encoding import Encoding
from meltano_assets.warehouse.intake import Intake, hidden_name, set_up
from meltano_assets.warehouse.names import NAME_BYTES
from meltano_assets.warehouse.records import DELETED_AT, Fitter, Rejected
from meltano_assets.warehouse.schema import LOADER_TYPES, TableName
from meltano_assets.warehouse.types import join

#: What is prepared at a time, whatever the size of the source's batches.
_PIECE_ROWS = 65_536
_PIECE_BYTES = 24 * 1024 * 1024
#: The first piece is small: until it is ready, the server has nothing to do.
_FIRST_ROWS = 8_192

#: Records set aside are written when this many have come together.
_REJECTED_PER_WRITE = 5_000


def load(
    warehouse: Warehouse,
    stream: Stream,
    batches: Iterable[Batch],
    *,
    run_id: str = "",
    environment: str = "local",
    full_refresh: bool = False,
    on_progress: Callable[[LoadOutcome], None] | None = None,
    lock_wait_seconds: float = 600,
    allow_shrink: bool = False,
    before_commit: Callable[[psycopg.Connection], None] | None = None,
) -> LoadOutcome:
    """Bring a stream's batches into ``<source>.<name>`` and account for every record.

    ``full_refresh`` replaces the table whatever the disposition. ``lock_wait_seconds`` is how long
    to wait for another load of the same stream; 0 refuses at once. ``allow_shrink`` lets a replace
    lose more rows than the stream's ``max_shrink`` allows. ``before_commit`` may add statements to
    the transaction of every checkpoint.
    """
    job = _Load(
        warehouse,
        stream,
        run_id=run_id,
        environment=environment,
        is_replace=full_refresh or stream.disposition == "replace",
        on_progress=on_progress,
        allow_shrink=allow_shrink,
        before_commit=before_commit,
    )
    try:
        job.check_names()
        with warehouse.connect(application_name=f"meltano-assets load {stream.key}") as connection:
            job.run(connection, batches, lock_wait_seconds)
    except PlatformError as error:
        if error.source is None:
            error.source, error.stream = stream.source, stream.name
        error.message = job.told_of_live(error.message)
        job.log_failure(str(error))
        raise
    except BaseException as error:
        job.log_failure(type(error).__name__)
        raise
    return job.outcome


def new_load_id(moment: datetime) -> str:
    """A name for a load: when it began, and something that no other has."""
    return f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


class _Load:
    """One load in progress; ``outcome`` holds what is committed."""

    def __init__(
        self,
        warehouse: Warehouse,
        stream: Stream,
        *,
        run_id: str,
        environment: str,
        is_replace: bool,
        on_progress: Callable[[LoadOutcome], None] | None,
        allow_shrink: bool,
        before_commit: Callable[[psycopg.Connection], None] | None,
    ) -> None:
        self._warehouse = warehouse
        self._stream = stream
        self._run_id = run_id
        self._environment = environment
        self._is_replace = is_replace
        self._on_progress = on_progress
        self._allow_shrink = allow_shrink
        self._before_commit = before_commit
        self._table = TableName(stream.source, stream.name)
        self._is_history = stream.disposition == "scd2"
        self._began = time.monotonic()
        now = datetime.now(UTC)
        self._started_at = now
        self.outcome = LoadOutcome(
            load_id=new_load_id(now),
            table=str(self._table),
            disposition="replace" if is_replace and not self._is_history else stream.disposition,
        )
        #: Of the checkpoint in progress.
        self._part = self._new_part()
        self._cleaned: Counter[str] = Counter()
        self._rejected: list[Rejected] = []
        self._delivered: set[str] = set()
        self._changes: list[catalog.SchemaChange] = []

    # the course of a load

    def run(
        self,
        connection: psycopg.Connection,
        batches: Iterable[Batch],
        lock_wait_seconds: float,
    ) -> None:
        """All batches, checkpoint by checkpoint."""
        self._connection = connection
        self._prepare(lock_wait_seconds)
        bookmark: Bookmark | None = None
        try:
            for batch in batches:
                self._cleaned.update(batch.cleaned)
                self._cleaned[KEY_TWICE] += repeated_in(batch.records)
                self._take(batch.records)
                bookmark = batch.bookmark or bookmark
                if batch.bookmark is not None and not self._is_replace:
                    self._checkpoint(bookmark)
                    bookmark = None
                elif self._on_progress is not None:
                    self._on_progress(self._so_far())
            if self._part.read or not self.outcome.checkpoints or bookmark is not None:
                self._checkpoint(bookmark)
        except BaseException as error:
            self._intake.abort(error)
            raise
        finally:
            self._intake.close()
        self.outcome.seconds = time.monotonic() - self._began

    def told_of_live(self, message: str) -> str:
        """What Postgres says of the table beside, said of the one that people know."""
        return message.replace(hidden_name(self._table).name, self._table.name)

    def log_failure(self, error: str) -> None:
        """The failed part's row in the load log, in a transaction of its own, if it can be."""
        self._part.cleaned = dict(+self._cleaned)
        self._part.checkpoints = self.outcome.checkpoints + 1
        # What was read and refused is worth knowing; nothing of it was stored.
        told = replace(self._part, bookmark=None, inserted=0, updated=0, deleted=0)
        entry = self._entry(told, status="failed", error=error)
        try:
            with self._warehouse.connect(application_name="meltano-assets log") as connection:
                books.ensure(connection)
                state.write_log(connection, entry)
        except PlatformError:
            # The warehouse itself is gone; the error that is being raised says so.
            return

    def _prepare(self, lock_wait_seconds: float) -> None:
        connection = self._connection
        set_up(connection, self.outcome.load_id)
        self._lock(lock_wait_seconds)
        books.ensure(connection)
        # Committed at once: its lock would make other first loads of the source wait.
        books.ensure_schema(connection, self._table.schema)
        connection.commit()
        fill.drop_leftovers(connection)
        self._live = schema.find(connection, self._table, self._stream.primary_key)
        #: Was the table missing when the load began, or its rows? Then an older bookmark is no step back.
        self._is_new = not state.has_rows(connection, self._table.schema, self._table.name)
        if self._live is not None:
            self._live = self._renamed(self._live)
            self._check_shape(self._live)
        types: dict[str, ColumnType] = {
            column.name: "text" if column.type == OWN else column.type
            for column in self._stream.columns
        }
        if self._live is not None and evolution.is_the_table_authority(self._stream):
            types = {}
        if self._live is not None:
            # What has a column keeps it, should there be more fields than a table has room for.
            there = {name: types[name] for name in self._live.columns if name in types}
            types = {**there, **types}
            guessed = {column.name for column in self._stream.columns if not column.is_type_known}
            for column, kind in self._live.columns.items():
                if column in LOADER_TYPES or (column in history.HISTORY_TYPES and self._is_history):
                    continue
                is_told = column in types and column not in guessed
                types[column] = join(types[column], kind) if is_told else kind
        types[DELETED_AT] = "timestamptz"
        names = catalog.known_names(connection, self._stream.source, self._stream.name)
        self._fitter = Fitter(self._stream, types, names, Encoding.of(connection))
        self._settle_types()
        self._declaration = evolution.Declaration(connection, self._stream)
        self._intake = Intake(
            self._warehouse,
            connection,
            self._stream,
            self._fitter.types,
            load_id=self.outcome.load_id,
            is_replace=self._is_replace,
            allow_shrink=self._allow_shrink,
            refuse=self._refuse,
        )
        self._intake.begin(self._live)
        connection.commit()

    def _settle_types(self) -> None:
        """What has a column has its type."""
        if self._live is not None:
            self._fitter.unknown -= self._live.columns.keys()

    def _renamed(self, live: schema.Table) -> schema.Table:
        """The live table, its columns called what they are declared as now."""
        connection = self._connection
        renamed = evolution.rename_columns(connection, self._stream, live, self.outcome.load_id)
        if not renamed:
            return live
        # Committed at once: readers must not wait for the load.
        connection.commit()
        self.outcome.schema_changes += map(str, renamed)
        found = schema.find(connection, self._table, self._stream.primary_key)
        assert found is not None
        return found

    def _check_shape(self, live: schema.Table) -> None:
        """Say what cannot be loaded now, and not after everything was read."""
        key = self._stream.primary_key
        declared = {*key, *(column.name for column in self._stream.columns)}
        schema.refuse_unfillable(live, declared)
        schema.refuse_other_case(live, declared)
        schema.refuse_other_loader_columns(live)
        if self._stream.disposition == "upsert" and not self._is_replace:
            schema.refuse_deferrable_key(live)
        is_merged = bool(key) and not self._is_history and not self._is_replace
        if is_merged and not schema.is_empty(self._connection, self._table):
            schema.refuse_other_key(live, key)

    def check_names(self) -> None:
        """Postgres cuts long names without a word, and two may become one; some names are ours."""
        stream = self._stream
        if stream.source == books.SCHEMA or swap.is_hidden(stream.name):
            raise FatalError(
                f"{stream.key} is a name for the platform's own tables",
                source=stream.source,
                stream=stream.name,
                hint="load into another schema or table",
            )
        for name in (stream.source, stream.name, *(column.name for column in stream.columns)):
            if not name or "\x00" in name or len(name.encode("utf-8", "replace")) > NAME_BYTES:
                raise FatalError(
                    f"a name that Postgres cannot hold whole: {name[:40]!r}…",
                    hint=f"schema, table and columns have 1 to {NAME_BYTES} bytes",
                )

    def _lock(self, wait_seconds: float) -> None:
        connection = self._connection
        key = state.stream_lock(self._stream.source, self._stream.name)
        row = connection.execute("select pg_try_advisory_lock(%s)", [key]).fetchone()
        if row is None or not row[0]:
            busy = RetriableError(
                "another load of this stream is running",
                source=self._stream.source,
                stream=self._stream.name,
                hint="wait for it to end, or stop it",
            )
            if wait_seconds <= 0:
                raise busy
            try:
                connection.execute(
                    "select set_config('lock_timeout', %s, true)", [f"{round(wait_seconds * 1000)}"]
                )
                connection.execute("select pg_advisory_lock(%s)", [key])
            except pg.LockNotAvailable:
                raise busy from None
        connection.commit()

    # one batch

    def _take(self, records: pa.RecordBatch) -> None:
        if not records.num_rows:
            self._fitter.fit(records)
        first = 0 if self._part.read or self.outcome.checkpoints else _FIRST_ROWS
        for part in (records[:first], records[first:]):
            for piece in pieces(part, _PIECE_ROWS, _PIECE_BYTES):
                self._take_piece(piece)

    def _take_piece(self, records: pa.RecordBatch) -> None:
        self._part.read += records.num_rows
        known = len(self._fitter.types)
        fitted = self._fitter.fit(records)
        if self._live is not None and len(self._fitter.types) > known:
            declared = {column.name for column in self._stream.columns}
            schema.refuse_other_case(self._live, declared.union(self._fitter.new_names.values()))
        self._cleaned.update(fitted.cleaned)
        self._delivered.update(fitted.rows.schema.names)
        self._refuse(*fitted.rejected)
        if fitted.rows.num_rows:
            self._intake.take(fitted.rows)

    def _refuse(self, *rejected: Rejected) -> None:
        """Set records aside, unless there are too many of them."""
        if rejected:
            self._part.quarantined += len(rejected)
            self._rejected += rejected
            quarantine.check_share(
                self._stream,
                self.outcome.quarantined + self._part.quarantined,
                self.outcome.read + self._part.read,
                rejected[-1],
            )
        if len(self._rejected) >= _REJECTED_PER_WRITE:
            self._write_rejected()

    def _write_rejected(self) -> None:
        if self._rejected:
            self._intake.pause()
            self._intake.stay_alone()
            quarantine.write(self._connection, self._table, self._rejected, self.outcome.load_id)
            self._rejected = []

    # one checkpoint

    def _checkpoint(self, bookmark: Bookmark | None) -> None:
        self._intake.pause()
        stored = self._intake.store()
        self._changes += stored.changes
        for name in ("inserted", "updated", "unchanged", "superseded", "deleted"):
            setattr(self._part, name, getattr(self._part, name) + getattr(stored, name))
        self._write_rejected()
        self._changes += self._declaration.write(
            self._connection, self._live, self._delivered, self.outcome.load_id
        )
        part = self._part
        part.checkpoints = self.outcome.checkpoints + 1
        part.cleaned = dict(+self._cleaned)
        part.schema_changes = [str(change) for change in self._changes]
        part.bookmark = state.move_bookmark(
            self._connection,
            self._stream.source,
            self._stream.name,
            bookmark,
            may_go_back=self._is_replace or self._is_new,
            load_id=self.outcome.load_id,
        )
        part.seconds = time.monotonic() - self._began
        if not part.is_balanced:
            raise FatalError(
                f"records do not add up: {part.read} read, {part.loaded} loaded,"
                f" {part.unchanged} unchanged, {part.superseded} superseded,"
                f" {part.quarantined} quarantined; nothing was stored",
                hint="this is a fault of the loader, please report it",
            )
        names = self._fitter.new_names
        if names:
            catalog.write_names(
                self._connection,
                self._stream.source,
                self._stream.name,
                names.items(),
                self.outcome.load_id,
            )
        if self._changes:
            catalog.write_schema_changes(
                self._connection,
                self._stream.source,
                self._stream.name,
                self._changes,
                self.outcome.load_id,
            )
        state.write_log(self._connection, self._entry(part))
        if self._before_commit is not None:
            self._before_commit(self._connection)
        self._connection.commit()
        self._committed(part)

    def _committed(self, part: LoadOutcome) -> None:
        total = self.outcome
        total.add(part)
        total.bookmark = part.bookmark
        total.checkpoints = part.checkpoints
        total.seconds = part.seconds
        self._started_at = datetime.now(UTC)
        self._part = self._new_part()
        self._cleaned = Counter()
        self._changes = []
        self._fitter.new_names = {}
        self._live = schema.find(self._connection, self._table, self._stream.primary_key)
        self._settle_types()
        self._intake.begin(self._live)
        self._connection.commit()
        if self._on_progress is not None:
            self._on_progress(replace(total))

    def _so_far(self) -> LoadOutcome:
        """What is committed plus what is under way, for progress displays."""
        total = replace(self.outcome, cleaned=dict(self.outcome.cleaned))
        total.read += self._part.read
        total.quarantined += self._part.quarantined
        total.seconds = time.monotonic() - self._began
        return total

    def _new_part(self) -> LoadOutcome:
        return LoadOutcome(
            load_id=self.outcome.load_id,
            table=self.outcome.table,
            disposition=self.outcome.disposition,
        )

    def _entry(
        self, outcome: LoadOutcome, status: str = "committed", error: str | None = None
    ) -> state.LogEntry:
        return state.LogEntry(
            self._stream.source,
            self._stream.name,
            self._run_id,
            self._environment,
            self._started_at,
            outcome,
            status,
            error,
        )
