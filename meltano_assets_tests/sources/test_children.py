"""Child streams and bodies with locators: X1, X3, X8 over real sockets."""
# ruff: noqa: SIM117 the server's block and the claim about it stay apart

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from meltano_assets.clients.http import HttpClient, oauth_token
from meltano_assets.clients.policy import ErrorTable, RateBudget, TokenAuth
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sources.base import spans
from meltano_assets.sources.children import in_order
from meltano_assets.sources.rest import (
    CursorPaging,
    Endpoint,
    LocatorPaging,
    OffsetPaging,
    Parents,
    RestReader,
    read_pages,
)
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window
from meltano_assets_tests.clients.local_server import Answer, FakeClock, Request, serving

NOW = datetime(2026, 1, 10, tzinfo=UTC)
OFFERS = Stream(
    "jobs",
    "offers",
    columns=(
        Column("id", "text"),
        Column("candidate_id", "text"),
        Column("candidate_updated_at", "timestamptz"),
        Column("salary", "numeric"),
    ),
    primary_key=("id",),
    replication_key="candidate_updated_at",
    options={
        "endpoint": Endpoint(
            "/candidates/{candidate_id}/offers",
            records="data",
            paging=CursorPaging("offset", found_at="next"),
            parents=Parents(
                Endpoint(
                    "/candidates",
                    records="data",
                    paging=CursorPaging("offset", found_at="next"),
                    start="since",
                ),
                (
                    Column("candidate_id", "text", field="id"),
                    Column("candidate_updated_at", "timestamptz", field="updatedAt"),
                ),
            ),
        )
    },
)


def answer(**body: object) -> Answer:
    return Answer(json.dumps(body).encode())


def company(count: int, busy: set[int] | None = None) -> Callable[[Request], Answer]:
    """Candidates c0, c1 …, a day apart; each has as many offers as its number, three at most."""

    def handle(request: Request) -> Answer:
        offset = int(request.params.get("offset", 0))
        if request.path == "/candidates":
            since = request.params.get("since", "")
            times = [f"2026-01-0{number + 1}T00:00:00Z" for number in range(count)]
            found = [
                {"id": f"c{number}", "updatedAt": text}
                for number, text in enumerate(times)
                if text >= since
            ]
            more = {"next": offset + 2} if offset + 2 < len(found) else {}
            return answer(data=found[offset : offset + 2], **more)
        number = int(request.path.split("/")[2][1:])
        if busy is not None and number in busy:
            return Answer(b"{}", status=404)
        offers = [{"id": f"c{number}o{n}", "salary": 100.5} for n in range(min(number, 3))]
        more = {"next": offset + 2} if offset + 2 < len(offers) else {}
        return answer(data=offers[offset : offset + 2], **more)

    return handle


def read(
    http: HttpClient,
    bookmark: Bookmark | None = None,
    options: ReadOptions | None = None,
    stream: Stream = OFFERS,
) -> list[Batch]:
    return list(RestReader(http).read(stream, bookmark, options or ReadOptions(), now=NOW))


def ids(batches: list[Batch]) -> list[str]:
    return [row["id"] for batch in batches for row in batch.records.to_pylist()]


def bookmarks(batches: list[Batch]) -> list[str | None]:
    return [batch.bookmark.value for batch in batches if batch.bookmark]


def test_children_of_all_parents_come_in_order_with_their_parents_fields() -> None:
    with serving(company(5)) as server, HttpClient(server.base_url, source="jobs") as http:
        batches = read(http)
    assert ids(batches) == ["c1o0", "c2o0", "c2o1", "c3o0", "c3o1", "c3o2", "c4o0", "c4o1", "c4o2"]
    rows = [row for batch in batches for row in batch.records.to_pylist()]
    assert {row["candidate_id"] for row in rows if row["id"].startswith("c3")} == {"c3"}
    assert rows[0]["candidate_updated_at"] == datetime(2026, 1, 2, tzinfo=UTC)
    assert bookmarks(batches) == ["2026-01-05T00:00:00+00:00"]


def test_parents_without_children_move_the_bookmark_too() -> None:
    with serving(company(1)) as server, HttpClient(server.base_url, source="jobs") as http:
        batches = read(http)
    assert ids(batches) == []
    assert bookmarks(batches) == ["2026-01-01T00:00:00+00:00"]


def test_only_changed_parents_are_asked() -> None:
    with serving(company(5)) as server, HttpClient(server.base_url, source="jobs") as http:
        batches = read(http, Bookmark("2026-01-04T00:00:00+00:00"))
        assert ids(batches) == ["c3o0", "c3o1", "c3o2", "c4o0", "c4o1", "c4o2"]
        assert not any(request.path.startswith("/candidates/c1") for request in server.seen)


def test_sorted_parents_move_the_bookmark_page_by_page() -> None:
    stream = replace(OFFERS, is_sorted=True)
    with serving(company(5)) as server, HttpClient(server.base_url, source="jobs") as http:
        batches = read(http, stream=stream)
    assert [value[:10] for value in bookmarks(batches) if value] == [
        "2026-01-02",
        "2026-01-04",
        "2026-01-05",
    ]


def test_a_limit_ends_the_read_and_moves_nothing() -> None:
    with serving(company(5)) as server, HttpClient(server.base_url, source="jobs") as http:
        batches = read(http, options=ReadOptions(limit=4))
    assert len(ids(batches)) == 4
    assert bookmarks(batches) == []


def test_a_parent_that_is_gone_has_no_children() -> None:
    with (
        serving(company(5, busy={3})) as server,
        HttpClient(server.base_url, source="jobs") as http,
    ):
        assert ids(read(http)) == ["c1o0", "c2o0", "c2o1", "c4o0", "c4o1", "c4o2"]


def test_an_error_of_one_child_ends_the_read_without_a_bookmark() -> None:
    def broken(request: Request) -> Answer:
        if request.path.startswith("/candidates/c3"):
            return Answer(b"{}", status=400)
        return company(5)(request)

    kept: list[Batch] = []
    with serving(broken) as server, HttpClient(server.base_url, source="jobs") as http:
        with pytest.raises(FatalError):
            for batch in RestReader(http).read(OFFERS, None, ReadOptions(), now=NOW):
                kept.append(batch)
    assert bookmarks(kept) == []


def test_requests_are_side_by_side_but_not_more_than_asked() -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def slow(request: Request) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return company(9)(request)

    with serving(slow) as server, HttpClient(server.base_url, source="jobs") as http:
        read(http)
        assert http.requests == len(server.seen)
    assert 2 <= most <= 4


def test_threads_share_one_rate_budget() -> None:
    clock = FakeClock()
    budget = RateBudget(requests=2, per_seconds=10)
    with serving(lambda request: answer(data=[])) as server:
        with HttpClient(
            server.base_url, source="jobs", budget=budget, transport=clock.transport()
        ) as http:
            list(in_order(lambda n: http.get_json(f"/{n}"), range(20), 4))
    moments = sorted(budget.book(0.0) for _ in range(1))
    # 20 requests, two in any ten seconds: the twenty-first may leave 100 seconds after the first.
    assert moments[0] >= 100


def test_budget_keeps_its_promise_for_any_interleaving() -> None:
    budget = RateBudget(requests=3, per_seconds=5)
    booked: list[float] = []
    lock = threading.Lock()

    def book() -> None:
        for _ in range(50):
            wait = budget.book(1.0)
            with lock:
                booked.append(1.0 + wait)

    threads = [threading.Thread(target=book) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    booked.sort()
    assert all(later - earlier >= 5 for earlier, later in zip(booked, booked[3:], strict=False))


def test_a_token_that_all_threads_find_expired_is_fetched_once() -> None:
    logins = 0

    def log_in() -> str:
        nonlocal logins
        logins += 1
        time.sleep(0.02)
        return f"token-{logins}"

    def handle(request: Request) -> Answer:
        good = request.headers.get("Authorization") == "Bearer token-2"
        return answer(data=[]) if good else Answer(b"{}", status=401)

    with serving(handle) as server:
        with HttpClient(server.base_url, source="jobs", auth=TokenAuth(log_in)) as http:
            list(in_order(lambda n: http.get_json(f"/{n}"), range(12), 4))
    assert logins == 2


def test_locator_pages_are_posted() -> None:
    def handle(request: Request) -> Answer:
        assert request.method == "POST"
        body = json.loads(request.body)
        if request.path == "/query":
            assert body == {"queryString": "select Id from Account"}
            return answer(records=[{"id": 1}], done=False, queryLocator="q-1")
        assert request.path == "/queryMore"
        assert body == {"queryLocator": "q-1"}
        return answer(records=[{"id": 2}], done=True)

    endpoint = Endpoint(
        "/query",
        records="records",
        paging=LocatorPaging("/queryMore", "queryLocator", found_at="queryLocator", done="done"),
        body={"queryString": "select Id from Account"},
    )
    with serving(handle) as server, HttpClient(server.base_url, source="shop") as http:
        pages = list(read_pages(http, endpoint, stream="accounts", columns=(Column("id"),)))
    assert [row["id"] for page in pages for row in page.records] == [1, 2]


def test_a_locator_that_repeats_is_noticed() -> None:
    def handle(request: Request) -> Answer:
        return answer(records=[{"id": len(request.body)}], done=False, queryLocator="q-1")

    paging = LocatorPaging("/queryMore", "queryLocator", found_at="queryLocator", done="done")
    endpoint = Endpoint("/query", records="records", paging=paging, body={"a": 1})
    with serving(handle) as server, HttpClient(server.base_url, source="shop") as http:
        with pytest.raises(RetriableError, match="repeats the same page"):
            list(read_pages(http, endpoint, stream="accounts"))


def test_offset_pages_may_be_short_or_end_without_a_list() -> None:
    def handle(request: Request) -> Answer:
        start = int(request.params["offset"])
        if start >= 6:
            return answer(success=True, warnings=["No assets found"])
        return answer(result=[{"id": start}, {"id": start + 1}][: 1 if start == 2 else 2])

    paging = OffsetPaging(size=2, until_empty=True)
    endpoint = Endpoint("/programs", records="result", paging=paging, is_optional=True)
    with serving(handle) as server, HttpClient(server.base_url, source="shop") as http:
        pages = list(read_pages(http, endpoint, stream="programs"))
    assert [row["id"] for page in pages for row in page.records] == [0, 1, 2, 4, 5]


def test_spans_cover_the_window_without_gap_or_overlap() -> None:
    window = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 15, 12, tzinfo=UTC))
    pieces = list(spans(window, timedelta(days=31)))
    assert pieces[0].start == window.start
    assert pieces[-1].end == window.end
    assert all(a.end == b.start for a, b in pairwise(pieces))
    assert all(piece.end - piece.start <= timedelta(days=31) for piece in pieces if piece.start)
    whole = list(spans(Window(None, window.end), timedelta(days=31), window.start))  # type: ignore[arg-type]
    assert whole == pieces
    assert list(spans(window, None)) == [window]


def test_errors_inside_a_good_answer_are_waited_out_refreshed_or_final() -> None:
    answers = [
        {"success": False, "errors": [{"code": "606", "message": "rate limit"}]},
        {"success": False, "errors": [{"code": "602", "message": "token expired"}]},
        {"success": True, "result": []},
    ]
    logins: list[str] = []

    def handle(request: Request) -> Answer:
        if request.path == "/identity/oauth/token":
            logins.append(request.params["client_secret"])
            return answer(access_token=f"t{len(logins)}")
        return answer(**answers.pop(0))

    def detail(response: object) -> tuple[str, str]:
        body = response.json()  # type: ignore[attr-defined]
        first = (body.get("errors") or [{}])[0]
        return first.get("code", ""), first.get("message", "")

    table = ErrorTable(
        detail,
        {"606": "throttle", "602": "refresh", "607": "quota"},
        in_success=True,
        waits={"606": 20},
    )
    clock = FakeClock()
    with serving(handle) as server:
        login = HttpClient(server.base_url, source="mail", transport=clock.transport())
        form = {"grant_type": "client_credentials", "client_id": "i", "client_secret": "secret-1"}
        auth = oauth_token(login, "/identity/oauth/token", form, method="GET")
        with HttpClient(
            server.base_url, source="mail", auth=auth, errors=table, transport=clock.transport()
        ) as http:
            # A POST, too: the vendor has surely not acted.
            assert http.fetch("POST", "/x", parse=lambda r: r.json()) == {
                "success": True,
                "result": [],
            }
            assert clock.slept == [20]
            assert len(logins) == 2
            answers.append({"success": False, "errors": [{"code": "607", "message": "daily"}]})
            with pytest.raises(FatalError, match="limit is used up"):
                http.get_json("/x")
