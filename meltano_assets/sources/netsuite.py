"""NetSuite: customers, vendors, items, the chart of accounts, and transactions with their lines.

Paging: ``search``, then ``searchMoreWithId`` by page number. Searches aren't ordered by time, so an
incremental read is cut into spans of few enough pages, oldest first, and the bookmark moves from
span to span; a search that ends at the vendor (a quarter of an hour without a page) is begun again
with its span. Lines come out of searches for their transactions, narrowed to the types that have
such lines; never one by one. Limits: requests at a time, by the account's licence, told by faults
that are waited out. Deletes: ``getDeleted`` since the bookmark; short lists are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from meltano_assets.clients.netsuite import NetSuiteClient, Passport, SearchPage
from meltano_assets.clients.policy import LoopGuard, Transport
from meltano_assets.environment import Variable, state_directory
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sources.base import (
    Source,
    as_bookmark,
    between,
    key_range,
    moves_bookmark,
    naming_stream,
    plan_window,
    required,
    where_to_set,
    with_bookmarks,
)
from meltano_assets.sources.netsuite_columns import RecordType
from meltano_assets.sources.netsuite_streams import STREAMS
from meltano_assets.sources.records import ARROW_TYPES
from meltano_assets.sources.xml_records import XmlColumns
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

#: Nothing in NetSuite is older than the company.
EPOCH = datetime(1998, 1, 1, tzinfo=UTC)
#: The end of a window stays so far behind the present, for clocks that differ.
SAFETY = timedelta(minutes=1)
#: A span of more pages is cut in two, so that a read that breaks has not much to repeat.
MAX_PAGES = 40
SHORTEST_SPAN = timedelta(minutes=2)
#: How often a search that ends before its last page is begun again.
MAX_RESTARTS = 3
DEFAULT_PAGE_SIZE = 1000
SMALLEST_PAGE, LARGEST_PAGE = 5, 1000

VARIABLES = (
    Variable("NETSUITE_ACCOUNT", "account", "account id, as 1234567 or 1234567_SB1"),
    Variable(
        "NETSUITE_CONSUMER_KEY", "consumer_key", "consumer key of the integration", is_secret=True
    ),
    Variable("NETSUITE_CONSUMER_SECRET", "consumer_secret", "its secret", is_secret=True),
    Variable("NETSUITE_TOKEN_ID", "token_id", "id of the user's access token", is_secret=True),
    Variable("NETSUITE_TOKEN_SECRET", "token_secret", "its secret", is_secret=True),
    Variable(
        "NETSUITE_WSDL_VERSION",
        "wsdl_version",
        "version of the interface, as 2023_2",
        is_required=False,
        default="2023_2",
    ),
    Variable(
        "NETSUITE_BASE_URL",
        "base_url",
        "where the account lives; unset: found by its id",
        is_required=False,
    ),
    Variable(
        "NETSUITE_PAGE_SIZE",
        "page_size",
        "records a page, 5 to 1000; fewer when NetSuite takes too long over one",
        is_required=False,
    ),
)


class NetSuiteReader:
    """Reads streams whose ``options["record"]`` is a :class:`RecordType`."""

    def __init__(self, client: NetSuiteClient, *, max_pages: int = MAX_PAGES) -> None:
        self._client = client
        self._max_pages = max_pages
        self._ends: dict[str, datetime] = {}
        self.undeclared: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._client.requests

    def count(self, stream: Stream) -> int | None:
        """How many records there are, up to the end of the last read; lines cannot be counted."""
        record = _record(stream)
        if record.sublist or record.lists_deleted:
            return None
        if record.get_all:
            return len(self._client.get_all(record.get_all).records)
        end = self._ends.get(stream.name)
        # What came after the read is not missing from it.
        span = None if end is None else Window(EPOCH, end)
        criteria = self._criteria(record, span)
        return self._client.search(criteria, page_size=SMALLEST_PAGE).total_records

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """The stream's records: all of them, or what changed and went since the bookmark."""
        record = _record(stream)
        reading = _Reading(stream, record)
        if stream.replication_key is None:
            yield from self._whole_list(reading, options, now)
        else:
            window = plan_window(stream, bookmark, options, now=now, safety=SAFETY)
            if window.is_empty:
                return
            self._ends[stream.name] = window.end
            if record.lists_deleted:
                pages = self._deleted_pages(record, window)
                batches = (reading.batch(page) for page in pages)
                trimmed = (self._trimmed(reading, batch, window, options) for batch in batches)
                yield from with_bookmarks(stream, trimmed, window, bookmark, options)
            else:
                yield from self._changes(reading, window, bookmark, options)
        self.undeclared[stream.name] = frozenset(reading.columns.undeclared)

    # -- what is read --

    def _whole_list(
        self, reading: _Reading, options: ReadOptions, now: datetime
    ) -> Iterator[Batch]:
        if reading.record.get_all:
            batches = iter((reading.batch(self._client.get_all(reading.record.get_all)),))
        else:
            batches = (reading.batch(page) for page in self._pages(reading, None))
        yield from with_bookmarks(reading.stream, batches, Window(None, now), None, options)

    def _changes(
        self, reading: _Reading, window: Window, bookmark: Bookmark | None, options: ReadOptions
    ) -> Iterator[Batch]:
        """Deletes first, then span by span; the bookmark moves with the last batch of a span."""
        stream = reading.stream
        is_news = bookmark is not None and not options.full_refresh and options.start is None
        if is_news and options.limit is None and not reading.record.sublist:
            for batch in self._tombstones(reading, window):
                yield Batch(batch)
        may_move = moves_bookmark(window, bookmark, options)
        greatest = None if options.full_refresh or bookmark is None else bookmark.as_time()
        left = options.limit
        for pages, span in self._spans(reading, window):
            held: pa.RecordBatch | None = None
            for page in pages:
                batch = self._trimmed(reading, reading.batch(page), span, options)
                if not batch.num_rows:
                    continue
                if held is not None:
                    yield Batch(held)
                held = batch if left is None else batch.slice(0, left)
                if left is not None:
                    left -= held.num_rows
                    if left == 0:
                        yield Batch(held)
                        return
                _, highest = key_range(held, str(stream.replication_key))
                greatest = max(filter(None, (greatest, highest)), default=None)
            if held is not None:
                yield Batch(held, as_bookmark(greatest) if may_move else None)

    def _tombstones(self, reading: _Reading, window: Window) -> Iterator[pa.RecordBatch]:
        """Records that were deleted since the window's start: their key and the moment."""
        if not reading.record.deleted_as:
            return
        columns = XmlColumns(
            (
                Column("key", "bigint", field="record@internalId"),
                Column("at", "timestamptz", field="deletedDate"),
            )
        )
        for page in self._deleted_pages(reading.record, window):
            found = columns.batch(page.records)
            found = between(found, "at", window.start, window.end)
            if not found.num_rows:
                continue
            rows = found.num_rows
            arrays = {
                column.name: pa.nulls(rows, ARROW_TYPES[column.type])
                for column in reading.stream.columns
            }
            arrays[reading.stream.primary_key[0]] = found.column("key")
            arrays["_deleted_at"] = found.column("at")
            yield pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))

    @staticmethod
    def _trimmed(
        reading: _Reading, batch: pa.RecordBatch, span: Window, options: ReadOptions
    ) -> pa.RecordBatch:
        """What lies in the span exactly: the vendor's searches are to the minute at worst."""
        return between(batch, str(reading.stream.replication_key), span.start, span.end)

    # -- spans and pages --

    def _spans(
        self, reading: _Reading, window: Window
    ) -> Iterator[tuple[Iterator[SearchPage], Window]]:
        """The window in spans of few enough pages, oldest first, each with its pages."""
        todo = [window]
        while todo:
            span = todo.pop()
            first = self._client.search(self._criteria(reading.record, span))
            start = span.start or EPOCH
            if first.total_pages > self._max_pages and span.end - start > SHORTEST_SPAN:
                middle = start + (span.end - start) / 2
                middle = middle.replace(microsecond=0)
                todo += [Window(middle, span.end), Window(span.start, middle)]
            else:
                yield self._pages(reading, span, first), span

    def _pages(
        self, reading: _Reading, span: Window | None, first: SearchPage | None = None
    ) -> Iterator[SearchPage]:
        """The pages of a search; it is begun anew when it ends at the vendor before its time."""
        for _ in range(MAX_RESTARTS + 1):
            page = first or self._client.search(self._criteria(reading.record, span))
            first = None
            if page.is_gone:
                continue
            guard = LoopGuard("netsuite", reading.stream.name)
            guard.check(1, _fingerprint(page))
            yield page
            for number in range(2, page.total_pages + 1):
                following = self._client.more(page.search_id, number)
                if following.is_gone:
                    break
                guard.check(number, _fingerprint(following))
                yield following
            else:
                return
        raise RetriableError(
            f"the search ended {MAX_RESTARTS + 1} times before its last page",
            source="netsuite",
            stream=reading.stream.name,
            hint="try again later, or with smaller pages (NETSUITE_PAGE_SIZE)",
        )

    def _deleted_pages(self, record: RecordType, window: Window) -> Iterator[SearchPage]:
        known = self._client.contract.allowed("DeletedRecordType")
        types = [name for name in record.deleted_as if not known or name in known]
        page, pages = 1, 1
        while page <= pages:
            found = self._client.deleted(_to_the_minute(window.start), window.end, types, page)
            pages = found.total_pages
            yield found
            page += 1

    # -- the contract --

    def _criteria(self, record: RecordType, span: Window | None) -> object:
        contract = self._client.contract
        name = f"{record.search}SearchBasic"
        values: dict[str, object] = {}
        if record.types:
            known = contract.allowed("TransactionType")
            types = [value for value in record.types if not known or value in known]
            values["type"] = self._client.any_of(types)
        if record.custom_type:
            values["recType"] = contract.make("RecordRef", internalId=record.custom_type)
        if span is not None and span.start is not None:
            end = _to_the_minute(span.end) + timedelta(minutes=1)
            values[self._time_field(name)] = self._client.within(_to_the_minute(span.start), end)
        return contract.make(name, **values)

    def _time_field(self, search: str) -> str:
        """What the search calls the time of the last change."""
        for field in ("lastModifiedDate", "lastModified"):
            if self._client.contract.has_field(search, field):
                return field
        raise FatalError(
            f"{search} cannot be asked for what changed",
            source="netsuite",
            hint="declare the stream with is_incremental=False",
        )


class _Reading:
    """One stream being read: its record type and its columns."""

    def __init__(self, stream: Stream, record: RecordType) -> None:
        self.stream = stream
        self.record = record
        self.columns = XmlColumns(stream.columns, record.line_key)

    def batch(self, page: SearchPage) -> pa.RecordBatch:
        """The page's records, or their lines."""
        if self.record.sublist:
            return self.columns.line_batch(page.records, self.record.sublist)
        return self.columns.batch(page.records)


def _record(stream: Stream) -> RecordType:
    record = stream.options["record"]
    if not isinstance(record, RecordType):
        raise TypeError(f"{stream.key} names no record type")
    return record


def _fingerprint(page: SearchPage) -> tuple[str | None, ...]:
    return tuple(record.get("internalId") for record in page.records)


def _to_the_minute(moment: datetime | None) -> datetime:
    return (moment or EPOCH).replace(second=0, microsecond=0)


def host_of(account: str) -> str:
    """Where an account's services are: each has a host of its own."""
    return f"https://{account.lower().replace('_', '-')}.suitetalk.api.netsuite.com"


@contextmanager
def connect(
    settings: Mapping[str, str], *, transport: Transport | None = None
) -> Iterator[NetSuiteReader]:
    """A reader of one account; FatalError when a setting is missing or wrong."""
    required(settings, "netsuite", VARIABLES)
    size = settings.get("page_size") or str(DEFAULT_PAGE_SIZE)
    if not size.isdigit() or not SMALLEST_PAGE <= int(size) <= LARGEST_PAGE:
        raise FatalError(
            f"NETSUITE_PAGE_SIZE is {size!r}, not a number from {SMALLEST_PAGE} to {LARGEST_PAGE}",
            source="netsuite",
        )
    account = settings["account"].strip().upper().replace("-", "_")
    base_url = settings.get("base_url") or host_of(account)
    client = NetSuiteClient(
        base_url,
        Passport(
            account=account,
            consumer_key=settings["consumer_key"],
            consumer_secret=settings["consumer_secret"],
            token_id=settings["token_id"],
            token_secret=settings["token_secret"],
        ),
        settings.get("wsdl_version") or "2023_2",
        page_size=int(size),
        # What is served on this machine changes without changing its version.
        cache=None if base_url.startswith("http://127.") else state_directory() / "contracts",
        transport=transport,
        hint=where_to_set(VARIABLES),
    )
    try:
        yield NetSuiteReader(client)
    finally:
        client.close()


NETSUITE = Source(
    name="netsuite",
    title="NetSuite",
    description="Finance: customers, vendors, items, accounts and every transaction with its lines.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connect,
    kinds=("netsuite",),
    cron="20 */4 * * *",
)
