"""Stripe: payments of customers who serve themselves.

Paging: newest first, a hundred at once, behind the last id. Objects do not say when they changed;
the events of the last thirty days do, and hold the object as it became. So a read takes the events
first, the newest of each object, and then the list without those; ``as_of`` is the event's time, or
the object's creation. Deletes are events, too. A bookmark older than the events has the list read
as a whole. Lists inside an object (``lines`` of invoices, ``items`` of subscriptions) are completed.

Amounts are whole numbers in the currency's smallest unit (cents; yen have none), next to
``currency``; times are seconds since 1970 at Stripe and times in the warehouse. Limits: a hundred
reads a second, told by 429.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import (
    BrokenAnswerError,
    ErrorTable,
    HeaderAuth,
    LoopGuard,
    RateBudget,
    Response,
    Transport,
    json_detail,
)
from meltano_assets.environment import Variable
from meltano_assets.errors import GoneError, RetriableError
from meltano_assets.sources.base import (
    Source,
    naming_stream,
    plan_window,
    required,
    undeclared_fields,
    where_to_set,
    with_bookmarks,
)
from meltano_assets.sources.pages import Page
from meltano_assets.sources.records import Record, batch_from_records, parse_json_exactly
from meltano_assets.sources.rest import Params, unix_seconds
from meltano_assets.sources.stripe_streams import STREAMS, Listing
from meltano_assets.streams import (
    Batch,
    Bookmark,
    Column,
    ReadOptions,
    Stream,
    Window,
)

#: The version whose shapes the columns have; events in another are asked for again.
API_VERSION = "2024-06-20"
#: How long Stripe keeps events.
EVENTS_AGE = timedelta(days=30)
_PAGE_ROWS = 100
_UTC_TIME = pa.timestamp("us", "UTC")


VARIABLES = (
    Variable("STRIPE_BASE_URL", "base_url", "https://api.stripe.com"),
    Variable("STRIPE_API_KEY", "api_key", "a restricted key that may read", is_secret=True),
    Variable(
        "STRIPE_API_VERSION",
        "api_version",
        f"the version whose shapes are asked for; {API_VERSION} when unset",
        is_required=False,
    ),
)


class StripeReader:
    """Reads one account."""

    def __init__(self, client: HttpClient, version: str = API_VERSION) -> None:
        self._client = client
        self._version = version
        self.undeclared: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._client.requests

    def count(self, stream: Stream) -> int | None:
        """Stripe cannot tell."""
        return None

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """What events tell of since the bookmark, then what else is in the list."""
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        batches = self._batches(stream, window, bookmark, options, now)
        yield from with_bookmarks(stream, batches, window, bookmark, options)

    def _batches(
        self,
        stream: Stream,
        window: Window,
        bookmark: Bookmark | None,
        options: ReadOptions,
        now: datetime,
    ) -> Iterator[pa.RecordBatch]:
        listing = stream.options["listing"]
        assert isinstance(listing, Listing)
        since, floor = window.start, None
        is_told = bool(listing.events) and options.start is None
        if since is not None and is_told and not self._events_reach(since, now):
            # What changed meanwhile was told while nobody listened: the whole list is read, and is
            # newer than anything that was committed.
            since, floor = None, bookmark.as_time() if bookmark else None
        seen: set[str] = set()
        if listing.events:
            yield from self._changes(stream, listing, since, window.end, seen)
        known = pa.array(sorted(seen), pa.string())
        params: dict[str, str | int] = {**listing.params, "created[lt]": _ceiling(window.end)}
        if since is not None:
            params["created[gte]"] = unix_seconds(since)
        columns = _wire(stream)
        parse = _records if listing.is_completed else _columns_of(columns)
        for answer in self._pages(listing.path, params, parse):
            self.undeclared.setdefault(stream.name, undeclared_fields(stream, answer.fields))
            batch = answer.batch
            if batch is None:
                batch = self._as_batch(listing, columns, answer.records)
            batch = batch.filter(pc.invert(pc.is_in(batch.column("id"), known)))
            if batch.num_rows:
                as_of = _time(batch.column("created"))
                if floor is not None:
                    least = pa.scalar(floor, _UTC_TIME)
                    as_of = pc.if_else(pc.less(as_of, least), least, as_of)
                yield _finished(stream, batch, as_of)

    def _events_reach(self, since: datetime, now: datetime) -> bool:
        """True when no event since then is forgotten: it is not long ago, or there are older ones."""
        if since > now - EVENTS_AGE + timedelta(days=1):
            return True
        params: dict[str, str | int] = {"created[lt]": unix_seconds(since), "limit": 1}
        return bool(self._client.get_json("/v1/events", params).get("data"))

    # -- events --

    def _changes(
        self,
        stream: Stream,
        listing: Listing,
        since: datetime | None,
        end: datetime,
        seen: set[str],
    ) -> Iterator[pa.RecordBatch]:
        """Objects as their newest event left them; ``seen`` gets the ids of all that changed.

        An object whose newest event lies behind the window is for the next read.
        """
        params: dict[str, str | int] = {
            f"types[{place}]": name for place, name in enumerate(listing.events)
        }
        if since is not None:
            params["created[gte]"] = unix_seconds(since)
        columns = _wire(stream)
        for answer in self._pages("/v1/events", params, _records):
            events: list[Record] = []
            for event in answer.records:
                changed = _object_of(event)
                key = str(changed.get("id"))
                if changed.get("object") == listing.kind and key not in seen:
                    seen.add(key)
                    if _seconds(event) < end.timestamp():
                        events.append(event)
            if events:
                objects = [self._as_declared(listing, event) for event in events]
                times = pa.array([_seconds(event) for event in events], pa.int64())
                is_gone = pa.array([event.get("type") == listing.deleted for event in events])
                batch = self._as_batch(listing, columns, objects)
                yield _finished(stream, batch, _time(times), is_gone)

    def _as_declared(self, listing: Listing, event: Record) -> Record:
        """The event's object in the version that the columns have."""
        changed = _object_of(event)
        if event.get("api_version") == self._version or event.get("type") == listing.deleted:
            return changed
        try:
            found = self._client.fetch(
                "GET", f"{listing.path}/{changed.get('id')}", parse=_exact_object
            )
        except GoneError:
            return changed
        return changed if found.get("deleted") else found

    # -- pages and objects --

    def _pages(
        self, path: str, params: Params, parse: Callable[[Response], _Answer]
    ) -> Iterator[_Answer]:
        """The list's pages; RetriableError when they go in a circle or lose their place."""
        guard = LoopGuard("stripe")
        sent: Params = {**params, "limit": _PAGE_ROWS}
        while True:
            try:
                answer = self._client.fetch("GET", path, params=sent, parse=parse)
            except GoneError:
                if "starting_after" not in sent:
                    raise
                raise RetriableError(
                    "the record behind which the next page begins was deleted meanwhile",
                    source="stripe",
                    hint="run it again",
                ) from None
            if answer.has_more:
                guard.check(answer.last_id)
            yield answer
            if not answer.has_more:
                return
            sent = {**sent, "starting_after": answer.last_id}

    def _as_batch(
        self, listing: Listing, columns: Sequence[Column], records: Sequence[Record]
    ) -> pa.RecordBatch:
        """The objects by their columns, the lists inside them whole."""
        if listing.is_completed:
            records = [self._completed(listing, record) for record in records]
        return batch_from_records(columns, records, are_exact=True)

    def _completed(self, listing: Listing, record: Record) -> Record:
        whole = dict(record)
        for name, path in listing.nested.items():
            inner = record.get(name)
            if not isinstance(inner, dict) or not isinstance(inner.get("data"), list):
                continue
            items = list(inner["data"])
            if inner.get("has_more") and items:
                items += self._rest(record, path, {"starting_after": str(items[-1].get("id"))})
            whole[name] = items
        for name, path in listing.members.items():
            if record.get("automatic"):
                whole[name] = [member.get("id") for member in self._rest(record, path, {})]
        return whole

    def _rest(self, record: Record, path: str, params: Params) -> Iterator[Record]:
        """The entries of a list that belongs to an object."""
        link, _, query = path.format(id=record.get("id")).partition("?")
        key, _, value = query.partition("=")
        for answer in self._pages(link, {**params, key: value} if key else params, _records):
            yield from answer.records


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page: its records, or the batch that was made of them at once."""

    records: Sequence[Record]
    batch: pa.RecordBatch | None
    fields: frozenset[str]
    last_id: str
    has_more: bool


def _columns_of(columns: Sequence[Column]) -> Callable[[Response], _Answer]:
    """Reads a page into a batch of these columns."""

    def parse(response: Response) -> _Answer:
        page = Page(response.body, "data", columns)
        ids = page.batch.column("id")
        last = str(ids[-1].as_py()) if len(ids) else ""
        return _Answer((), page.batch, page.fields, last, _has_more(page.get("has_more"), last))

    return parse


def _records(response: Response) -> _Answer:
    """Reads a page into its records, every number as it was written."""
    page = _exact_object(response)
    records = page.get("data")
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise ValueError("no list of records")
    last = str(records[-1].get("id")) if records else ""
    fields = frozenset(records[0]) if records else frozenset()
    return _Answer(records, None, fields, last, _has_more(page.get("has_more"), last))


def _has_more(told: object, last_id: str) -> bool:
    """Whether another page follows; BrokenAnswerError when nothing says behind which object."""
    if told and not last_id:
        raise BrokenAnswerError("more is promised, but there is no object to go on behind")
    return bool(told)


def _exact_object(response: Response) -> Record:
    value = parse_json_exactly(response.body)
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def _object_of(event: Record) -> Record:
    data = event.get("data")
    changed = data.get("object") if isinstance(data, dict) else None
    return changed if isinstance(changed, dict) else {}


def _seconds(event: Record) -> int:
    created = event.get("created")
    if not isinstance(created, int):
        raise RetriableError("an event without a time", source="stripe")
    return created


def _ceiling(moment: datetime) -> int:
    """Whole seconds, so that ``[lt]`` keeps what happened in the last one."""
    return unix_seconds(moment) + (1 if moment.microsecond else 0)


def _wire(stream: Stream) -> tuple[Column, ...]:
    """The columns as they come: times are whole numbers."""
    return tuple(
        replace(column, type="bigint") if column.type == "timestamptz" else column
        for column in stream.columns
        if column.name != "as_of"
    )


def _time(seconds: pa.Array) -> pa.Array:
    """Seconds since 1970 as times; anything else stays as it is, for the loader to judge."""
    if not pa.types.is_integer(seconds.type):
        return seconds
    return pc.multiply(seconds.cast(pa.int64()), 1_000_000).cast(_UTC_TIME)


def _finished(
    stream: Stream, batch: pa.RecordBatch, as_of: pa.Array, is_gone: pa.Array | None = None
) -> pa.RecordBatch:
    """The batch with real times, ``as_of`` and ``_deleted_at``."""
    arrays = {
        column.name: _time(batch.column(column.name))
        if column.type == "timestamptz"
        else batch.column(column.name)
        for column in stream.columns
        if column.name != "as_of"
    }
    nothing = pa.nulls(batch.num_rows, _UTC_TIME)
    arrays["as_of"] = as_of
    arrays["_deleted_at"] = nothing if is_gone is None else pc.if_else(is_gone, as_of, nothing)
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


@contextmanager
def connect(
    settings: Mapping[str, str], *, transport: Transport | None = None
) -> Iterator[StripeReader]:
    """A reader of the account that the settings name."""
    required(settings, "stripe", VARIABLES)
    key = settings["api_key"]
    version = settings.get("api_version") or API_VERSION
    client = HttpClient(
        settings["base_url"],
        source="stripe",
        auth=HeaderAuth("Authorization", f"Bearer {key}"),
        errors=ErrorTable(json_detail("error.code", "error.message"), {"resource_missing": "gone"}),
        headers={"Stripe-Version": version},
        budget=RateBudget(requests=90, per_seconds=1.0),
        transport=transport,
        secrets=[key],
        hint=where_to_set(VARIABLES),
    )
    with client:
        yield StripeReader(client, version)


STRIPE = Source(
    name="stripe",
    title="Stripe",
    description="Payments of customers who serve themselves.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connect,
    kinds=("stripe",),
    cron="25 * * * *",
)
