"""REST sources of the usual kind: an endpoint, a paging style, a window in the parameters.

Belongs here: what several vendors do alike. A source chooses its paging here, its authentication
and error table in ``clients/policy.py``; docs/new-source.md walks through one. A vendor with a
protocol of its own reads in its own file and takes only what fits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import BrokenAnswerError, LoopGuard, Response
from meltano_assets.sources.base import (
    KeyPage,
    between,
    live_keys,
    naming_stream,
    plan_window,
    spans,
    undeclared_fields,
    with_bookmarks,
)
from meltano_assets.sources.children import read_child_keys, read_children
from meltano_assets.sources.pages import Page
from meltano_assets.sources.records import Record
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

if TYPE_CHECKING:
    import pyarrow as pa

Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Next:
    """Where the next page is: other parameters at the same path, a link of the vendor, or another
    path with a body of its own.
    """

    params: Params = field(default_factory=dict)
    link: str | None = None
    body: Mapping[str, object] | None = None


class Paging(Protocol):
    """A paging style: what to add to the first request, and where the next page is.

    An answer that promises more and does not say where is broken: ``following`` raises
    BrokenAnswerError, and the page is asked for again.
    """

    def first(self) -> Params:
        """Parameters of the first request."""
        ...

    def following(self, page: Page, sent: Params) -> Next | None:
        """The next page, or None at the end. ``sent`` are the parameters of this one."""
        ...


@dataclass(frozen=True, slots=True)
class OnePage:
    """Everything comes at once."""

    def first(self) -> Params:
        return {}

    def following(self, page: Page, sent: Params) -> Next | None:
        return None


@dataclass(frozen=True, slots=True)
class CursorPaging:
    """The answer holds a token (``found_at`` its path) that goes into the next request.

    ``more`` is the path of a value that says whether more follows, ``end`` of one that says that
    none does; without either the pages end when the token is absent. ``is_alone``: the token
    replaces all other parameters.
    """

    param: str
    found_at: str
    more: str | None = None
    end: str | None = None
    size_param: str | None = None
    size: int = 100
    is_alone: bool = False

    def first(self) -> Params:
        return {self.size_param: self.size} if self.size_param else {}

    def following(self, page: Page, sent: Params) -> Next | None:
        token = page.get(self.found_at)
        if self.more is not None and not page.get(self.more):
            return None
        if self.end is not None and page.get(self.end):
            return None
        if not isinstance(token, (str, int)) or token == "":
            if self.more is not None or (self.end is not None and page.get(self.end) is False):
                raise BrokenAnswerError(f"more is promised, but {self.found_at} does not say where")
            return None
        kept = self.first() if self.is_alone else sent
        return Next({**kept, self.param: token})


@dataclass(frozen=True, slots=True)
class OffsetPaging:
    """Pages are counted, by records or (``step=1``) by pages; a page that is not full is the last.

    ``until_empty`` reads on until a page is empty, for vendors that hand out short pages in the
    middle; ``more`` is the path of a value that says whether more follows.
    """

    param: str = "offset"
    size_param: str = "limit"
    size: int = 100
    start: int = 0
    step: int | None = None
    until_empty: bool = False
    more: str | None = None

    def first(self) -> Params:
        return {self.param: self.start, self.size_param: self.size}

    def following(self, page: Page, sent: Params) -> Next | None:
        if self.more is not None:
            is_last = not page.get(self.more)
        else:
            is_last = len(page) == 0 if self.until_empty else len(page) < self.size
        if is_last:
            return None
        return Next({**sent, self.param: int(sent[self.param]) + (self.step or self.size)})


@dataclass(frozen=True, slots=True)
class LinkPaging:
    """The answer holds the address of the next page; it is followed on the base URL only."""

    link: str
    size_param: str | None = None
    size: int = 100

    def first(self) -> Params:
        return {self.size_param: self.size} if self.size_param else {}

    def following(self, page: Page, sent: Params) -> Next | None:
        link = page.get(self.link)
        return Next(link=link) if isinstance(link, str) and link else None


@dataclass(frozen=True, slots=True)
class LocatorPaging:
    """The answer holds a locator (``found_at`` its path) that is posted to another path.

    ``done`` is the path of a value that says that this page is the last.
    """

    path: str
    param: str
    found_at: str
    done: str

    def first(self) -> Params:
        return {}

    def following(self, page: Page, sent: Params) -> Next | None:
        if page.get(self.done):
            return None
        locator = page.get(self.found_at)
        if not isinstance(locator, (str, int)) or locator == "":
            if page.get(self.done) is False:
                raise BrokenAnswerError(f"more is promised, but {self.found_at} does not say where")
            return None
        return Next(link=self.path, body={self.param: locator})


@dataclass(frozen=True, slots=True)
class TimePaging:
    """The answer says up to which time it reaches; the next request starts there.

    Records of that instant come again. A page with no more than those is the last.
    """

    param: str
    reached: str
    end: str

    def first(self) -> Params:
        return {}

    def following(self, page: Page, sent: Params) -> Next | None:
        reached = page.get(self.reached)
        if page.get(self.end) or not len(page):
            return None
        if not isinstance(reached, (str, int)):
            if page.get(self.end) is False:
                raise BrokenAnswerError(
                    f"more is promised, but {self.reached} does not say from when on"
                )
            return None
        return Next({**sent, self.param: reached})


def unix_seconds(moment: datetime) -> int:
    """Seconds since 1970, rounded down."""
    return int(moment.timestamp())


def unix_milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return int(moment.timestamp() * 1000)


def iso_seconds(moment: datetime) -> str:
    """``2024-01-31T00:00:00Z``, rounded down."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a stream is read. ``start`` and ``end`` are the parameters of the window, ``deleted_at``
    is the field that tells when a record was deleted.

    With a ``body`` the request is a POST that changes nothing. ``is_optional``: an answer without
    a list means no records. ``max_span``: the vendor takes no longer window; what lies further
    back than ``earliest`` is not asked for. ``parents``: one request for each record of another
    endpoint, whose columns fill the path; see :class:`Parents`. ``unfold`` gives the records that
    lie inside a record of the answer, where the stream is about those.
    """

    path: str
    records: str
    paging: Paging = OnePage()
    params: Params = field(default_factory=dict)
    start: str | None = None
    end: str | None = None
    time: Callable[[datetime], str | int] = iso_seconds
    deleted_at: str | None = None
    body: Mapping[str, object] | None = None
    is_optional: bool = False
    max_span: timedelta | None = None
    earliest: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    parents: Parents | None = None
    unfold: Callable[[Record], Iterable[Record]] | None = None

    def within(self, window: Window) -> Endpoint:
        """The endpoint with the window in its parameters."""
        bounds: dict[str, str | int] = {}
        if self.start and window.start is not None:
            bounds[self.start] = self.time(window.start)
        if self.end:
            bounds[self.end] = self.time(window.end)
        return self.starting_with(bounds)

    def at(self, path: str) -> Endpoint:
        """The same endpoint at another path, for one parent's children."""
        return replace(self, path=path, parents=None)

    def starting_with(self, params: Params) -> Endpoint:
        """The endpoint with more parameters in its first request."""
        return replace(self, params={**self.params, **params})


@dataclass(frozen=True, slots=True)
class Parents:
    """The parents of a child stream: where they are read and which of their fields are used.

    ``columns`` are read of each parent. They fill the child path's braces
    (``/v1/opportunities/{opportunity_id}/offers``), and those that the child stream also declares
    are put into its records, so that a parent's time can be the child's replication key. At most
    ``workers`` requests are under way at once, under the client's one rate budget.
    """

    endpoint: Endpoint
    columns: tuple[Column, ...]
    workers: int = 4


def read_pages(
    client: HttpClient, endpoint: Endpoint, *, stream: str, columns: Sequence[Column] = ()
) -> Iterator[Page]:
    """The endpoint's pages in turn; RetriableError when they go in a circle."""
    for page, _ in placed_pages(client, endpoint, stream=stream, columns=columns):
        yield page


def placed_pages(
    client: HttpClient,
    endpoint: Endpoint,
    *,
    stream: str,
    columns: Sequence[Column] = (),
    place: str | None = None,
) -> Iterator[tuple[Page, str | None]]:
    """The pages from a place on, each with the place of the next one, None behind the last."""
    guard = LoopGuard(client.source, stream)
    params: Params = {**endpoint.params, **endpoint.paging.first()}
    link, body = endpoint.path, endpoint.body
    if place is not None:
        link, params, body = json.loads(place)
    guard.check((link, sorted(params.items()), body))

    def parse(response: Response) -> tuple[Page, Next | None]:
        page = Page(response.body, endpoint.records, columns, is_optional=endpoint.is_optional)
        return page, endpoint.paging.following(page, params)

    while True:
        page, following = client.fetch(
            "GET" if body is None else "POST",
            link,
            params=params,
            json=body,
            parse=parse,
            is_repeatable=True,
        )
        if following is not None:
            token = (following.link or link, sorted(following.params.items()), following.body)
            guard.check(token, page.content if len(page) else None)
        if following is None:
            yield page, None
            return
        link, params = following.link or link, following.params
        body = body if following.body is None else following.body
        yield page, json.dumps([link, params, body])


class RestReader:
    """Reads streams whose ``options["endpoint"]`` is an :class:`Endpoint`.

    ``safety`` keeps the window's end behind the present, for vendors whose newest records are not
    settled; ``youngest_start`` its start, for vendors that refuse a younger one.
    """

    def __init__(
        self,
        client: HttpClient,
        *,
        safety: timedelta = timedelta(0),
        youngest_start: timedelta = timedelta(0),
    ) -> None:
        self.client = client
        self._safety = safety
        self._youngest_start = youngest_start
        self.undeclared: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self.client.requests

    def count(self, stream: Stream) -> int | None:
        """Most vendors cannot tell."""
        return None

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """The stream's records, of the window where the endpoint knows one."""
        endpoint = stream.options["endpoint"]
        if not isinstance(endpoint, Endpoint):
            raise TypeError(f"{stream.key} names no endpoint")
        window = plan_window(stream, bookmark, options, now=now, safety=self._safety)
        if window.is_empty:
            return
        if window.start is not None:
            window = Window(min(window.start, now - self._youngest_start), window.end)
        if endpoint.parents is not None:
            yield from read_children(self, stream, endpoint, window, bookmark, options)
            return
        batches: Iterator[pa.RecordBatch]
        pages = self._pages(stream, endpoint, window)
        if endpoint.unfold is not None:
            unfold = endpoint.unfold
            batches = (page.unfolded(stream.columns, unfold) for page in pages)
        else:
            batches = (self.noted(stream, page).batch for page in pages if len(page))
        if stream.replication_key is not None:
            # What the vendor cannot be asked for is cut here.
            start = options.start if endpoint.start is None else None
            end = window.end if endpoint.end is None else None
            key = stream.replication_key
            batches = (between(batch, key, start, end) for batch in batches)
        yield from with_bookmarks(stream, batches, window, bookmark, options)

    def read_keys(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage] | None:
        """Keys page by page; None where records lie in windows or inside of others."""
        endpoint = stream.options["endpoint"]
        if not isinstance(endpoint, Endpoint) or endpoint.max_span or endpoint.unfold:
            return None
        keys = tuple(stream.column(name) for name in stream.primary_key)
        return self.narrow_pages(replace(stream, columns=keys, replication_key=None), position)

    def narrow_pages(self, stream: Stream, position: str | None) -> Iterator[KeyPage]:
        """All live records of a stream that has few of its columns, from the position on."""
        endpoint = stream.options["endpoint"]
        assert isinstance(endpoint, Endpoint)
        if endpoint.parents is not None:
            yield from read_child_keys(self, stream, endpoint, position)
            return
        columns = stream.columns
        if endpoint.deleted_at:
            columns += (Column("_deleted_at", "timestamptz", field=endpoint.deleted_at),)
        names = [column.name for column in stream.columns]
        for page, place in placed_pages(
            self.client, endpoint, stream=stream.name, columns=columns, place=position
        ):
            yield KeyPage(live_keys(page.batch, names), place, is_last=place is None)

    def _pages(self, stream: Stream, endpoint: Endpoint, window: Window) -> Iterator[Page]:
        columns = () if endpoint.unfold else stream.columns
        if endpoint.deleted_at:
            columns += (Column("_deleted_at", "timestamptz", field=endpoint.deleted_at),)
        for span in spans(window, endpoint.max_span, endpoint.earliest):
            yield from read_pages(
                self.client, endpoint.within(span), stream=stream.name, columns=columns
            )

    def noted(self, stream: Stream, page: Page) -> Page:
        """The page, after a look for fields that nobody declared."""
        endpoint = stream.options.get("endpoint")
        known = {endpoint.deleted_at or ""} if isinstance(endpoint, Endpoint) else set()
        if not len(page):
            return page
        self.undeclared.setdefault(stream.name, undeclared_fields(stream, page.fields - known))
        return page
