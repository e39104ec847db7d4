"""What a source is, and what all of them do alike: windows, bookmarks, limits.

Belongs here: the frame that every source fills in. Does not belong here: a vendor's words, and
how records become Arrow (``records.py``) or REST pages are turned (``rest.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.policy import Quota, Transport
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError, PlatformError
from meltano_assets.sources.records import ARROW_TYPES
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

R = TypeVar("R")
P = ParamSpec("P")


class Reader(Protocol):
    """An open connection to a source."""

    @property
    def requests(self) -> int:
        """Requests or queries sent so far."""
        ...

    @property
    def undeclared(self) -> Mapping[str, frozenset[str]]:
        """By stream, fields that the vendor offered in this connection and no column declares."""
        ...

    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """The stream's records since the bookmark; nothing is asked before the first batch is."""
        ...

    def count(self, stream: Stream) -> int | None:
        """How many live records the vendor says it has, or None where it cannot tell."""
        ...


@runtime_checkable
class KnowsColumns(Protocol):
    """A reader that can complete a stream which declares no columns."""

    def resolve(self, stream: Stream) -> Stream:
        """The stream with its columns and keys as the vendor tells them; unchanged when declared."""
        ...


@runtime_checkable
class MaySkip(Protocol):
    """A reader that skips streams of which the vendor has nothing here."""

    @property
    def absent(self) -> Mapping[str, str]:
        """By stream, why it was skipped in this connection."""
        ...


@dataclass(frozen=True, slots=True)
class FieldCost:
    """What one more field costs to read for all records: ``calls`` is None where nobody can know."""

    records: int | None
    calls: int | None
    how: str


@runtime_checkable
class FieldReader(Protocol):
    """A reader that can read keys and one field alone, where it is not null."""

    def field_cost(self, stream: Stream, column: Column) -> FieldCost:
        """How many records have the field and how many calls they cost."""
        ...

    def read_field(self, stream: Stream, column: Column, *, now: datetime) -> Iterator[Batch]:
        """Keys and the field of the records that have it."""
        ...


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Keys of live records, and where the next ones are.

    ``position`` is None when a later read cannot go on behind this page. ``is_exact`` says that pages
    follow the order of the keys, so that nothing can slip from one to another between two reads.
    """

    records: pa.RecordBatch
    position: str | None = None
    is_last: bool = False
    is_exact: bool = False


@runtime_checkable
class KeyReader(Protocol):
    """A reader that can read the keys of a stream alone, and go on where another read left off."""

    def read_keys(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage] | None:
        """The keys of all live records from the position on; None where only a whole read tells."""
        ...


class Connect(Protocol):
    """Opens a connection by settings in the vendor's words, and validates them.

    ``transport`` says what to do about time, failure and quota; production's way when omitted.
    """

    def __call__(
        self, settings: Mapping[str, str], *, transport: Transport | None = None
    ) -> AbstractContextManager[Reader]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """One vendor system: its streams and how one connects to it.

    ``variables`` are what ``connect`` needs, by the vendor's words (``Variable.setting``); ``cron`` is
    when it is read where schedules run; ``kinds`` are the tags the UI shows. ``quota`` is how many
    calls the vendor allows in a day, where it counts them. ``by_name`` makes a stream of any other
    collection of the vendor, from an entry under ``objects`` in the user's ``streams.yml``.
    """

    name: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    streams: tuple[Stream, ...]
    connect: Connect
    kinds: tuple[str, ...] = ()
    cron: str = "0 * * * *"
    quota: Quota | None = None
    by_name: Callable[[Mapping[str, object]], Stream] | None = None

    def stream(self, name: str) -> Stream:
        """The stream of that name; KeyError lists what there is."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        names = ", ".join(stream.name for stream in self.streams)
        raise KeyError(f"{self.name} has no stream {name!r}, only {names}")


def naming_stream(
    read: Callable[Concatenate[R, Stream, P], Iterator[Batch]],
) -> Callable[Concatenate[R, Stream, P], Iterator[Batch]]:
    """For ``read`` methods: an error that leaves them says which stream it is about."""

    @wraps(read)
    def named(reader: R, stream: Stream, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Batch]:
        try:
            yield from read(reader, stream, *args, **kwargs)
        except PlatformError as error:
            error.source, error.stream = stream.source, stream.name
            raise

    return named


def undeclared_fields(stream: Stream, offered: Iterable[str]) -> frozenset[str]:
    """Fields that no column of the stream declares."""
    return frozenset(offered) - {column.vendor_field for column in stream.columns}


def required(settings: Mapping[str, str], source: str, variables: Iterable[Variable]) -> None:
    """FatalError naming every required setting that is absent, and where to set it."""
    missing = [
        variable.name
        for variable in variables
        if variable.is_required and not settings.get(variable.setting)
    ]
    if missing:
        raise FatalError(
            f"not set: {', '.join(missing)}", source=source, hint=where_to_set(variables)
        )


def where_to_set(variables: Iterable[Variable]) -> str:
    """Which variables to look at, and where they are set."""
    names = ", ".join(variable.name for variable in variables)
    return f"check {names} in the environment or in the file .env of the project's root"


def plan_window(
    stream: Stream,
    bookmark: Bookmark | None,
    options: ReadOptions,
    *,
    now: datetime,
    safety: timedelta = timedelta(0),
) -> Window:
    """What to read: [bookmark - lookback, now - safety), or as the user asks.

    The end is fixed here, before anything is read.
    """
    end = now - safety
    if options.end is not None:
        end = min(end, options.end)
    if options.start is not None:
        return Window(options.start, end)
    since = None if options.full_refresh or bookmark is None else bookmark.as_time()
    return Window(since - stream.lookback if since else None, end)


def spans(
    window: Window, longest: timedelta | None, earliest: datetime = datetime(2000, 1, 1, tzinfo=UTC)
) -> Iterator[Window]:
    """The window in pieces no longer than the vendor takes, oldest first, without gap or overlap.

    A window without a start begins at ``earliest`` when it has to be cut.
    """
    if longest is None:
        yield window
        return
    start = window.start or earliest
    while start < window.end:
        end = min(start + longest, window.end)
        yield Window(start, end)
        start = end


def moves_bookmark(window: Window, bookmark: Bookmark | None, options: ReadOptions) -> bool:
    """True when nothing lies unread between what is committed and the window's start."""
    if window.start is None:
        return True
    since = None if options.full_refresh or bookmark is None else bookmark.as_time()
    return since is not None and window.start <= since


def with_bookmarks(
    stream: Stream,
    batches: Iterable[pa.RecordBatch],
    window: Window,
    bookmark: Bookmark | None,
    options: ReadOptions,
    *,
    is_sorted: bool | None = None,
) -> Iterator[Batch]:
    """The batches, cut at the limit, each with the bookmark that is safe behind it.

    Sorted records move the bookmark with every batch; unsorted ones with the last only, and not
    at all when the limit cut them short. A bookmark never goes back, and it does not jump over a
    span that was not read.
    """
    sorted_claim = stream.is_sorted if is_sorted is None else is_sorted
    may_move = moves_bookmark(window, bookmark, options) and stream.replication_key is not None
    old = None if options.full_refresh or bookmark is None else bookmark.as_time()
    greatest = old
    left = options.limit
    held: pa.RecordBatch | None = None
    for batch in batches:
        if held is not None:
            yield Batch(held)
            held = None
        records = batch if left is None else batch.slice(0, left)
        is_cut = records.num_rows < batch.num_rows
        if left is not None:
            left -= records.num_rows
        if may_move:
            lowest, highest = key_range(records, str(stream.replication_key))
            if sorted_claim and lowest and greatest and greatest != old and lowest < greatest:
                sorted_claim = False
            greatest = max(filter(None, (greatest, highest)), default=None)
        if may_move and not sorted_claim:
            held = records
        else:
            yield Batch(records, as_bookmark(greatest) if may_move else None)
        if is_cut or left == 0:
            break
    else:
        if held is not None:
            yield Batch(held, as_bookmark(greatest))
            held = None
    if held is not None:
        yield Batch(held)


def key_range(records: pa.RecordBatch, name: str) -> tuple[datetime | None, datetime | None]:
    """Least and greatest replication key of a batch; nothing when they are no times."""
    keys = records.column(name)
    if not pa.types.is_temporal(keys.type):
        return None, None
    ends = pc.min_max(keys).as_py()
    return _moment(ends["min"]), _moment(ends["max"])


def between(
    records: pa.RecordBatch, name: str, start: datetime | None, end: datetime | None
) -> pa.RecordBatch:
    """The records whose key lies in [start, end), or has no time."""
    keys = records.column(name)
    if not pa.types.is_timestamp(keys.type):
        return records
    is_inside = pa.repeat(True, len(keys))
    if start is not None:
        is_inside = pc.and_(is_inside, pc.greater_equal(keys, pa.scalar(start, keys.type)))
    if end is not None:
        is_inside = pc.and_(is_inside, pc.less(keys, pa.scalar(end, keys.type)))
    return records.filter(pc.fill_null(is_inside, True))


def _moment(value: datetime | date | None) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def as_bookmark(moment: datetime | None, cursor: str | None = None) -> Bookmark | None:
    """The bookmark of a time, written in UTC; None without one."""
    if moment is None and cursor is None:
        return None
    return Bookmark(moment.astimezone(UTC).isoformat() if moment else None, cursor)


def deleted_where(is_deleted: pa.Array, moments: pa.Array) -> pa.Array:
    """The ``_deleted_at`` column: the moment of each deleted record, else null."""
    kind = pa.timestamp("us", "UTC")
    flags = pc.fill_null(is_deleted, False)
    if moments.type != kind:
        moments = pa.nulls(len(moments), kind)
    return pc.if_else(flags, moments, pa.scalar(None, kind))


def live_keys(records: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """The keys of the records that are not deleted."""
    if "_deleted_at" in records.schema.names:
        records = records.filter(pc.is_null(records.column("_deleted_at")))
    return records.select(list(names))


def no_records(columns: Iterable[Column]) -> pa.RecordBatch:
    """A batch of those columns without records."""
    fields = [(column.name, ARROW_TYPES[column.type]) for column in columns]
    return pa.RecordBatch.from_pylist([], schema=pa.schema(fields))
