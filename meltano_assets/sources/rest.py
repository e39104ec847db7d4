"""REST sources of the usual kind: an endpoint, a paging style, a window in the parameters.

Belongs here: what several vendors do alike. A source chooses its paging here, its authentication
and error table in ``clients/policy.py``; docs/new-source.md walks through one. A vendor with a
protocol of its own reads in its own file and takes only what fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import LoopGuard
from meltano_assets.sources.base import (
    between,
    naming_stream,
    plan_window,
    undeclared_fields,
    with_bookmarks,
)
from meltano_assets.sources.pages import Page
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Next:
    """Where the next page is: other parameters at the same path, or a link of the vendor."""

    params: Params = field(default_factory=dict)
    link: str | None = None


class Paging(Protocol):
    """A paging style: what to add to the first request, and where the next page is."""

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
            return None
        kept = self.first() if self.is_alone else sent
        return Next({**kept, self.param: token})


@dataclass(frozen=True, slots=True)
class OffsetPaging:
    """Pages are counted, by records or (``step=1``) by pages; a page that is not full is the last."""

    param: str = "offset"
    size_param: str = "limit"
    size: int = 100
    start: int = 0
    step: int | None = None

    def first(self) -> Params:
        return {self.param: self.start, self.size_param: self.size}

    def following(self, page: Page, sent: Params) -> Next | None:
        if len(page) < self.size:
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
        if page.get(self.end) or not isinstance(reached, (str, int)) or not len(page):
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
    """

    path: str
    records: str
    paging: Paging = OnePage()
    params: Params = field(default_factory=dict)
    start: str | None = None
    end: str | None = None
    time: Callable[[datetime], str | int] = iso_seconds
    deleted_at: str | None = None

    def within(self, window: Window) -> Endpoint:
        """The endpoint with the window in its parameters."""
        bounds: dict[str, str | int] = {}
        if self.start and window.start is not None:
            bounds[self.start] = self.time(window.start)
        if self.end:
            bounds[self.end] = self.time(window.end)
        return self.starting_with(bounds)

    def starting_with(self, params: Params) -> Endpoint:
        """The endpoint with more parameters in its first request."""
        return replace(self, params={**self.params, **params})


def read_pages(
    client: HttpClient, endpoint: Endpoint, *, stream: str, columns: Sequence[Column] = ()
) -> Iterator[Page]:
    """The endpoint's pages in turn; RetriableError when they go in a circle."""
    guard = LoopGuard(client.source, stream)
    params: Params = {**endpoint.params, **endpoint.paging.first()}
    link = endpoint.path
    guard.check((link, sorted(params.items())))
    while True:
        page = client.fetch(
            "GET",
            link,
            params=params,
            parse=lambda response: Page(response.body, endpoint.records, columns),
        )
        following = endpoint.paging.following(page, params)
        if following is not None:
            token = following.link or (link, sorted(following.params.items()))
            guard.check(token, page.content if len(page) else None)
        yield page
        if following is None:
            return
        link, params = following.link or link, following.params


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
        columns = stream.columns
        if endpoint.deleted_at:
            columns += (Column("_deleted_at", "timestamptz", field=endpoint.deleted_at),)
        pages = read_pages(
            self.client, endpoint.within(window), stream=stream.name, columns=columns
        )
        batches = (self.noted(stream, page).batch for page in pages if len(page))
        if stream.replication_key is not None:
            # What the vendor cannot be asked for is cut here.
            start = options.start if endpoint.start is None else None
            end = window.end if endpoint.end is None else None
            key = stream.replication_key
            batches = (between(batch, key, start, end) for batch in batches)
        yield from with_bookmarks(stream, batches, window, bookmark, options)

    def noted(self, stream: Stream, page: Page) -> Page:
        """The page, after a look for fields that nobody declared."""
        endpoint = stream.options.get("endpoint")
        known = {endpoint.deleted_at or ""} if isinstance(endpoint, Endpoint) else set()
        self.undeclared.setdefault(stream.name, undeclared_fields(stream, page.fields - known))
        return page
