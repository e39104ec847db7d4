"""What a stream is: the words that every floor shares.

Belongs here: values that describe a vendor's collection, its columns and the pieces in which it
is read. Does not belong here: reading (``sources/``), storing (``warehouse/``), Dagster.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import pyarrow as pa

ColumnType = Literal[
    "text",
    "boolean",
    "integer",
    "bigint",
    "numeric",
    "double precision",
    "date",
    "timestamp",
    "timestamptz",
    "jsonb",
    "uuid",
    "inet",
    "bytea",
    "own",
]
#: In a table made elsewhere, a column of a type that no stream declares: Postgres casts its values' text.
OWN: ColumnType = "own"
#: What a stream may declare.
COLUMN_TYPES: tuple[ColumnType, ...] = tuple(kind for kind in get_args(ColumnType) if kind != OWN)

Disposition = Literal["replace", "append", "upsert", "scd2"]

#: Columns that the loader adds to every raw table; a stream never declares them.
#: A source that knows deletes may put ``_deleted_at`` (timestamptz) into its batches.
LOADER_COLUMNS = ("_loaded_at", "_load_id", "_deleted_at")

#: What tables of the disposition ``scd2`` have besides: since when and until when a version holds.
HISTORY_COLUMNS = ("_valid_from", "_valid_to", "_row_hash")


#: ``Stream.options`` key: names of columns that the reader itself looks at. A stream that has it
#: lets the reader ask the vendor for the selected columns only.
NEEDED = "needed"
#: ``Stream.options`` key: the vendor says which columns there are; the reader's ``columns`` asks it.
DESCRIBED = "described"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a raw table.

    ``name`` is the warehouse column, ``field`` the vendor's own name where it differs. When the name
    is a new one, ``renamed_from`` is the column's old name; ``field_id`` is what the vendor calls
    the field for ever, so that a rename is recognised without being declared. Where nothing has told
    the type yet (``is_type_known``), an existing column keeps its own.
    """

    name: str
    type: ColumnType = "text"
    description: str = ""
    field: str | None = None
    is_pii: bool = False
    renamed_from: str | None = None
    field_id: str | None = None
    is_type_known: bool = True

    @property
    def vendor_field(self) -> str:
        """The name under which the vendor delivers this column."""
        return self.name if self.field is None else self.field


@dataclass(frozen=True, slots=True)
class Sweep:
    """How records are found that the vendor has deleted without telling: by reading all keys.

    ``every`` is how often; ``calls`` how many calls of the vendor one run may spend on it, and
    ``quota_share`` which part of the vendor's day, where it counts one. A pass that would take more
    than ``max_vanished`` of the live rows for deleted is refused.
    """

    every: timedelta = timedelta(days=7)
    calls: int = 200
    quota_share: float = 0.05
    max_vanished: float = 0.2


@dataclass(frozen=True, slots=True)
class Stream:
    """One collection of one source and how it is kept in the warehouse.

    The raw table is ``<source>.<name>``. ``lookback`` is how far an incremental read reaches
    behind the bookmark. ``is_sorted`` says that records arrive in replication-key order, so that
    the bookmark may move while the stream is still being read. ``max_shrink`` is the share of
    the last load's rows that a ``replace`` may lose before it is refused. ``sweep`` is for streams
    of which the vendor tells no deletes.
    """

    source: str
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    replication_key: str | None = None
    disposition: Disposition = "upsert"
    description: str = ""
    lookback: timedelta = timedelta(0)
    is_sorted: bool = False
    max_shrink: float = 0.5
    options: Mapping[str, object] = field(default_factory=dict)
    sweep: Sweep | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.key}: a column is declared twice")
        missing = {*self.primary_key, *filter(None, [self.replication_key])} - set(names)
        if missing and names:
            raise ValueError(f"{self.key}: keys without a column: {', '.join(sorted(missing))}")
        if self.disposition == "scd2" and (taken := {*names} & {*HISTORY_COLUMNS}):
            raise ValueError(f"{self.key}: scd2 makes columns of its own: {', '.join(taken)}")
        if self.disposition in ("upsert", "scd2") and not self.primary_key:
            raise ValueError(f"{self.key}: {self.disposition} needs a primary key")

    @property
    def key(self) -> str:
        """``source.stream``, as users write it on the command line."""
        return f"{self.source}.{self.name}"

    def column(self, name: str) -> Column:
        """The declared column of that name; KeyError names the stream."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.key} has no column {name!r}")

    def with_disposition(self, disposition: Disposition) -> Stream:
        """The same stream, stored another way."""
        return replace(self, disposition=disposition)


@dataclass(frozen=True, slots=True)
class Window:
    """The span of replication-key time to read: ``start`` inclusive, ``end`` exclusive.

    ``start`` is None for everything from the beginning. ``end`` is fixed before reading, so that
    changes during the read are left to the next window.
    """

    start: datetime | None
    end: datetime

    def __post_init__(self) -> None:
        if self.end.tzinfo is None or (self.start is not None and self.start.tzinfo is None):
            raise ValueError("a window's bounds carry a time zone")

    @property
    def is_empty(self) -> bool:
        """True when no instant lies inside."""
        return self.start is not None and self.start >= self.end


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a stream is committed.

    ``value`` is the greatest committed replication key (ISO text for times, else its text);
    ``cursor`` what the vendor wants to see again (an ``after_cursor``), where it has one.
    """

    value: str | None = None
    cursor: str | None = None

    def as_time(self) -> datetime | None:
        """The value as an aware UTC time, or None when there is none yet."""
        if self.value is None:
            return None
        moment = datetime.fromisoformat(self.value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Batch:
    """A piece of a stream: Arrow records and, where it is safe, the bookmark behind them.

    A bookmark says: once these and all earlier records are committed, the next read may begin
    there. A batch without one must not move the stored bookmark. ``cleaned`` counts values that
    the reader had to change, by rule.
    """

    records: pa.RecordBatch
    bookmark: Bookmark | None = None
    cleaned: Mapping[str, int] = field(default_factory=dict)


Batches = Iterator[Batch]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may ask of one read, by run config or on the command line."""

    full_refresh: bool = False
    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = None


JobState = Literal["ordered", "ready", "read", "finished", "failed", "vanished", "abandoned"]


@dataclass(frozen=True, slots=True)
class JobKey:
    """What a long job at a vendor was ordered for.

    ``request`` holds what makes one job's result as good as another's: fields, filters, the
    window's start. What differs from run to run (a window's end that is "now") stays out of it.
    """

    source: str
    stream: str
    kind: str
    request: Mapping[str, object] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Equal for requests that may share a job."""
        text = json.dumps(self.request, sort_keys=True, default=str)
        return blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class VendorJob:
    """A long job at a vendor as the job log keeps it.

    ``details`` is what whoever takes the job up must know of the order, such as the end of its
    window. Open jobs are ``ordered``, ``ready`` (the vendor is done) or ``read`` (every record was
    handed on, their commit is not yet known).
    """

    id: str
    state: JobState
    details: Mapping[str, object]
    ordered_at: datetime

    @property
    def is_open(self) -> bool:
        """True while a new read should take this job up."""
        return self.state in {"ordered", "ready", "read"}


@dataclass(slots=True)
class LoadOutcome:
    """The account of one load: ``read = inserted + updated + unchanged + superseded + quarantined``.

    ``superseded`` records were replaced by a newer one of the same key inside the same load;
    ``cleaned`` counts values changed by a rule for hostile values, by rule.
    """

    load_id: str
    table: str
    disposition: Disposition
    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    quarantined: int = 0
    deleted: int = 0
    checkpoints: int = 0
    seconds: float = 0.0
    bookmark: Bookmark | None = None
    cleaned: dict[str, int] = field(default_factory=dict)
    schema_changes: list[str] = field(default_factory=list)

    def add(self, part: LoadOutcome) -> None:
        """Count a checkpoint's records and changes in."""
        self.read += part.read
        self.inserted += part.inserted
        self.updated += part.updated
        self.unchanged += part.unchanged
        self.superseded += part.superseded
        self.quarantined += part.quarantined
        self.deleted += part.deleted
        for rule, count in part.cleaned.items():
            self.cleaned[rule] = self.cleaned.get(rule, 0) + count
        self.schema_changes += part.schema_changes

    @property
    def loaded(self) -> int:
        """Rows written: inserted or updated."""
        return self.inserted + self.updated

    @property
    def accounted(self) -> int:
        """Records whose fate is known."""
        return self.loaded + self.unchanged + self.superseded + self.quarantined

    @property
    def is_balanced(self) -> bool:
        """True when every record read is accounted for."""
        return self.read == self.accounted
