"""Paging styles and the walk-through of docs/new-source.md, over real sockets."""
# ruff: noqa: SIM117 the server's block and the claim about it stay apart

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meltano_assets.clients.http import HttpClient
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sources.base import Source
from meltano_assets.sources.rest import (
    CursorPaging,
    Endpoint,
    LinkPaging,
    LocatorPaging,
    OffsetPaging,
    OnePage,
    Paging,
    RestReader,
    TimePaging,
    read_pages,
    unix_milliseconds,
    unix_seconds,
)
from meltano_assets.streams import Bookmark, Column, ReadOptions, Stream, Window
from meltano_assets_tests.clients.local_server import Answer, FakeClock, Request, serving

NOW = datetime(2026, 1, 10, tzinfo=UTC)
IDS = list(range(1, 8))


def answer(**body: object) -> Answer:
    return Answer(json.dumps(body).encode())


def items(ids: list[int]) -> list[dict[str, int]]:
    return [{"id": number} for number in ids]


def cursor(request: Request) -> Answer:
    start = int(request.params.get("page", 0))
    following = start + 3 if start + 3 < len(IDS) else None
    return answer(items=items(IDS[start : start + 3]), meta={"next": following and str(following)})


def more(request: Request) -> Answer:
    """A token always, and an empty page in the middle that is not the end."""
    start = int(request.params.get("page", 0))
    ids = {0: IDS[:4], 1: [], 2: IDS[4:]}[start]
    return answer(items=items(ids), token=start + 1, has_more=start < 2)


def offset(request: Request) -> Answer:
    start, size = int(request.params["offset"]), int(request.params["limit"])
    return answer(items=items(IDS[start : start + size]))


def numbered(request: Request) -> Answer:
    page, size = int(request.params["page"]), int(request.params["limit"])
    return answer(items=items(IDS[(page - 1) * size : page * size]))


def link(request: Request) -> Answer:
    start = int(request.params.get("from", 0))
    following = f"https://elsewhere.example/items?from={start + 3}"
    return answer(
        items=items(IDS[start : start + 3]), next=following if start + 3 < len(IDS) else None
    )


def time(request: Request) -> Answer:
    start = int(request.params.get("since", 1))
    ids = [number for number in IDS if number >= start][:3]
    return answer(items=items(ids), end_time=ids[-1], end_of_stream=ids[-1] == IDS[-1])


@pytest.mark.parametrize(
    ("handler", "paging"),
    [
        (lambda request: answer(items=items(IDS)), OnePage()),
        (cursor, CursorPaging("page", found_at="meta.next", size_param="size", size=3)),
        (more, CursorPaging("page", found_at="token", more="has_more")),
        (offset, OffsetPaging(size=3)),
        (offset, OffsetPaging(size=7)),
        (numbered, OffsetPaging(param="page", size=3, start=1, step=1)),
        (link, LinkPaging("next")),
        (time, TimePaging("since", reached="end_time", end="end_of_stream")),
    ],
    ids=["one", "cursor", "more", "offset", "offset-full", "numbered", "link", "time"],
)
def test_every_paging_style_reads_everything(
    handler: Callable[[Request], Answer], paging: Paging
) -> None:
    transport = FakeClock().transport()
    with serving(handler) as server:
        with HttpClient(server.base_url, source="vendor", transport=transport) as client:
            pages = read_pages(client, Endpoint("/items", "items", paging), stream="items")
            read = [record["id"] for page in pages for record in page.records]
    assert sorted(set(read)) == IDS  # type: ignore[type-var]


@pytest.mark.parametrize(
    "body",
    [
        {"items": items([1]), "next": "/items?page=2"},
        {"items": [], "next": "/items?page=2"},
    ],
)
def test_a_page_that_names_itself_as_the_next_ends_in_an_error(body: dict[str, object]) -> None:
    transport = FakeClock().transport()
    with serving(lambda request: answer(**body)) as server:
        with HttpClient(server.base_url, source="vendor", transport=transport) as client:
            endpoint = Endpoint("/items", "items", LinkPaging("next"))
            with pytest.raises(RetriableError, match=r"vendor\.items: .*same page"):
                list(read_pages(client, endpoint, stream="items"))
            assert len(server.seen) <= 3


def test_the_same_page_under_new_tokens_ends_in_an_error() -> None:
    tokens = iter(range(100))
    transport = FakeClock().transport()
    with serving(lambda request: answer(items=items([1]), next=next(tokens))) as server:
        with HttpClient(server.base_url, source="vendor", transport=transport) as client:
            endpoint = Endpoint("/items", "items", CursorPaging("page", found_at="next"))
            with pytest.raises(RetriableError, match="same page"):
                list(read_pages(client, endpoint, stream="items"))


@pytest.mark.parametrize(
    ("paging", "body"),
    [
        (CursorPaging("page", found_at="token", more="has_more"), {"has_more": True}),
        (CursorPaging("page", found_at="token", end="done"), {"done": False, "token": None}),
        (LocatorPaging("/more", "token", found_at="token", done="done"), {"done": False}),
        (TimePaging("since", reached="end_time", end="done"), {"done": False}),
    ],
    ids=["more", "end", "locator", "time"],
)
def test_a_page_that_promises_more_but_not_where_is_asked_for_again(
    paging: Paging, body: dict[str, object]
) -> None:
    """X8: pages are never silently the last."""
    whole = {"items": items(IDS[3:]), "has_more": False, "done": True}
    answers = [{"items": items(IDS[:3]), **body}, whole]
    transport = FakeClock().transport()
    with serving(
        lambda request: answer(**(answers.pop(0) if len(answers) > 1 else whole))
    ) as server:
        with HttpClient(server.base_url, source="vendor", transport=transport) as client:
            pages = list(read_pages(client, Endpoint("/items", "items", paging), stream="items"))
    assert [record["id"] for page in pages for record in page.records] == IDS[3:]
    with serving(lambda request: answer(items=items(IDS[:3]), **body)) as server:
        with HttpClient(server.base_url, source="vendor", transport=transport) as client:
            with pytest.raises(RetriableError, match="more is promised"):
                list(read_pages(client, Endpoint("/items", "items", paging), stream="items"))


def test_the_window_goes_into_the_parameters() -> None:
    window = Window(NOW - timedelta(days=1), NOW)
    endpoint = Endpoint("/x", "", start="from", end="to", params={"a": 1})
    assert endpoint.within(window).params == {
        "a": 1,
        "from": "2026-01-09T00:00:00Z",
        "to": "2026-01-10T00:00:00Z",
    }
    in_seconds = Endpoint("/x", "", start="from", time=unix_seconds).within(window)
    assert in_seconds.params == {"from": 1767916800}
    in_milliseconds = Endpoint("/x", "", end="to", time=unix_milliseconds).within(window)
    assert in_milliseconds.params == {"to": 1768003200000}
    assert endpoint.within(Window(None, NOW)).params == {"a": 1, "to": "2026-01-10T00:00:00Z"}


def test_an_empty_vendor_yields_nothing() -> None:
    stream = Stream(
        source="vendor",
        name="items",
        columns=(Column("id", "bigint"),),
        disposition="replace",
        options={"endpoint": Endpoint("/items", "items")},
    )
    with serving(lambda request: answer(items=[])) as server:
        with HttpClient(server.base_url, source="vendor") as client:
            reader = RestReader(client)
            assert list(reader.read(stream, None, ReadOptions(), now=NOW)) == []
            assert reader.requests == 1
            assert reader.count(stream) is None


# -- the sample of the documentation --

DOCUMENT = Path(__file__).parents[2] / "docs" / "new-source.md"


@pytest.fixture(scope="module")
def sample() -> str:
    """The source that the walk-through writes."""
    if not DOCUMENT.is_file():
        pytest.skip("the documentation is not beside the package")
    match = re.search(r"```python\n(\"\"\".*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert match
    return match.group(1)


@pytest.fixture(scope="module")
def helpdesk(sample: str) -> types.ModuleType:
    module = types.ModuleType("helpdesk")
    exec(compile(sample, "docs/new-source.md", "exec"), module.__dict__)
    return module


ARTICLES = [
    {
        "id": number,
        "title": f"Article {number}",
        "labels": ["a", {"b": number}],
        "votes": number / 4,
        "updated_at": f"2026-01-0{number}T00:00:00Z",
        "deleted_at": "2026-01-06T00:00:00Z" if number == 6 else None,
        "news": "not declared",
    }
    for number in IDS
]


def vendor(request: Request) -> Answer:
    if request.headers.get("X-Api-Key") != "canary-key":
        return Answer(b'{"error": {"code": "unauthorized", "message": "who?"}}', status=401)
    since, before = request.params.get("updated_since", ""), request.params["updated_before"]
    found = [item for item in ARTICLES if since <= str(item["updated_at"]) < before]
    start = int(request.params.get("page", 0))
    following = str(start + 2) if start + 2 < len(found) else None
    return answer(data={"articles": found[start : start + 2]}, meta={"next": following})


def test_the_sample_is_a_whole_source(sample: str, helpdesk: types.ModuleType) -> None:
    source: Source = helpdesk.HELPDESK
    stream = source.stream("articles")
    transport = FakeClock().transport()
    with serving(vendor) as server:
        settings = {"base_url": server.base_url, "api_key": "canary-key"}
        with helpdesk.connect(settings, transport=transport) as reader:
            first = list(reader.read(stream, None, ReadOptions(), now=NOW))
            bookmark = first[-1].bookmark
            assert reader.undeclared == {"articles": {"news"}}
            again = list(reader.read(stream, bookmark, ReadOptions(), now=NOW))
    rows = [row for batch in first for row in batch.records.to_pylist()]
    assert [row["id"] for row in rows] == IDS
    assert [row["id"] for row in rows if row["_deleted_at"]] == [6]
    assert json.loads(next(row["labels"] for row in rows)) == ["a", {"b": 1}]
    assert bookmark == Bookmark("2026-01-07T00:00:00+00:00")
    assert [row["id"] for batch in again for row in batch.records.to_pylist()] == [7]
    assert "news" not in rows[0]


def test_the_sample_takes_little_code(sample: str) -> None:
    body = re.sub(r'^""".*?"""', "", sample, flags=re.DOTALL)
    lines = [line for line in body.splitlines() if line.strip() and "import" not in line]
    assert len(lines) <= 60


def test_the_sample_names_what_is_wrong(helpdesk: types.ModuleType) -> None:
    stream = helpdesk.ARTICLES
    with pytest.raises(FatalError, match="not set: HELPDESK_API_KEY"):
        with helpdesk.connect({"base_url": "http://127.0.0.1:1"}):
            pass
    with serving(vendor) as server:
        settings = {"base_url": server.base_url, "api_key": "canary-wrong"}
        with helpdesk.connect(settings) as reader:
            with pytest.raises(FatalError, match=r"unauthorized: who\?.*HELPDESK_API_KEY") as info:
                list(reader.read(stream, None, ReadOptions(), now=NOW))
    assert "canary" not in str(info.value)
