"""What is particular to Zendesk as a source."""
# ruff: noqa: SIM117 the connection's block and the claim about it stay apart

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sources.zendesk import TICKETS, ZENDESK, ZendeskReader, connect
from meltano_assets.streams import Batch, Bookmark, ReadOptions
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.state import read_bookmark
from meltano_assets_tests.clients.local_server import Answer, FakeClock, Request, serving
from meltano_assets_tests.sources.conftest import Vendors

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def ticket(number: int, **more: object) -> dict[str, object]:
    seconds = 1_700_000_000 + number
    return {
        "id": number,
        "status": "open",
        "updated_at": "2023-11-14T22:13:20Z",
        "generated_timestamp": seconds,
        **more,
    }


def page(tickets: list[dict[str, object]], cursor: str | None, is_end: bool = True) -> Answer:
    body = {
        "tickets": tickets,
        "after_cursor": cursor,
        "after_url": f"https://elsewhere.example/api/v2/x?cursor={cursor}",
        "end_of_stream": is_end,
    }
    return Answer(json.dumps(body).encode())


@contextmanager
def reading(base_url: str, clock: FakeClock | None = None) -> Iterator[ZendeskReader]:
    settings = {"base_url": base_url, "email": "me@x.example", "api_token": "canary-token"}
    with connect(settings, transport=(clock or FakeClock()).transport()) as reader:
        yield reader


def rows(batches: list[Batch]) -> list[dict[str, object]]:
    return [row for batch in batches for row in batch.records.to_pylist()]


def test_the_first_read_starts_at_the_beginning_and_the_next_at_the_cursor() -> None:
    def handler(request: Request) -> Answer:
        cursor = request.params.get("cursor")
        if cursor is None:
            assert request.params["start_time"] == "0"
            return page([ticket(1), ticket(2)], "one", is_end=False)
        assert "start_time" not in request.params
        return {"one": page([ticket(3)], "two"), "two": page([], None)}[cursor]

    with serving(handler) as server, reading(server.base_url) as reader:
        first = list(reader.read(TICKETS, None, ReadOptions(), now=NOW))
        assert [row["id"] for row in rows(first)] == [1, 2, 3]
        assert [batch.bookmark for batch in first] == [
            Bookmark("2023-11-14T22:13:22+00:00", "one"),
            Bookmark("2023-11-14T22:13:23+00:00", "two"),
        ]
        assert list(reader.read(TICKETS, first[-1].bookmark, ReadOptions(), now=NOW)) == []
        assert server.seen[0].headers["Authorization"].startswith("Basic ")
        assert all(request.path.startswith("/api/v2/incremental/") for request in server.seen)


def test_a_rewound_bookmark_starts_at_its_time() -> None:
    with serving(lambda request: page([ticket(1)], "c")) as server:
        with reading(server.base_url) as reader:
            bookmark = Bookmark("2024-01-01T00:00:00+00:00")
            list(reader.read(TICKETS, bookmark, ReadOptions(), now=NOW))
            assert server.seen[0].params["start_time"] == "1704067200"


def test_a_start_in_the_latest_minute_is_moved_back() -> None:
    with serving(lambda request: page([], None)) as server, reading(server.base_url) as reader:
        options = ReadOptions(start=NOW - timedelta(seconds=5))
        list(reader.read(TICKETS, None, options, now=NOW))
        assert int(server.seen[0].params["start_time"]) == int(NOW.timestamp()) - 120


def test_an_end_cuts_and_leaves_the_cursor_behind_the_last_whole_page() -> None:
    def handler(request: Request) -> Answer:
        if request.params.get("cursor") == "one":
            return page([ticket(3), ticket(9)], "two")
        return page([ticket(1), ticket(2)], "one", is_end=False)

    end = datetime.fromtimestamp(1_700_000_005, UTC)
    with serving(handler) as server, reading(server.base_url) as reader:
        batches = list(reader.read(TICKETS, None, ReadOptions(end=end), now=NOW))
    assert [row["id"] for row in rows(batches)] == [1, 2, 3]
    assert [batch.bookmark.cursor if batch.bookmark else None for batch in batches] == ["one", None]


def test_deleted_tickets_get_the_moment_of_their_last_change() -> None:
    tickets = [ticket(1, status="deleted"), ticket(2)]
    with serving(lambda request: page(tickets, "c")) as server:
        with reading(server.base_url) as reader:
            first, second = rows(list(reader.read(TICKETS, None, ReadOptions(), now=NOW)))
    assert first["_deleted_at"] == first["updated_at"]
    assert second["_deleted_at"] is None


def test_odd_tickets_stop_nothing() -> None:
    tickets = [
        ticket(1, subject='quote " \\ \u0000 🎉', tags=["a\nb", 'q"'], custom_fields=[{"id": 1}]),
        ticket(2, due_at="whenever", satisfaction_rating="none", requester_id=2**70),
        ticket(3, news={"not": "declared"}),
    ]
    with serving(lambda request: page(tickets, "c")) as server:
        with reading(server.base_url) as reader:
            first, second, third = rows(list(reader.read(TICKETS, None, ReadOptions(), now=NOW)))
            assert reader.undeclared == {"tickets": frozenset()}
    assert first["subject"] == 'quote " \\ \u0000 🎉'
    assert json.loads(str(first["tags"])) == ["a\nb", 'q"']
    assert (second["due_at"], second["requester_id"]) == ("whenever", str(2**70))
    assert json.loads(str(second["satisfaction_rating"])) == "none"
    assert third["id"] == 3


def test_a_plain_text_429_is_obeyed() -> None:
    answers = iter(
        [
            Answer(
                b"Number of allowed API requests per minute exceeded",
                status=429,
                content_type="text/plain",
                headers={"Retry-After": "33"},
            ),
            page([ticket(1)], "c"),
        ]
    )
    clock = FakeClock()
    with serving(lambda request: next(answers)) as server:
        with reading(server.base_url, clock) as reader:
            assert len(rows(list(reader.read(TICKETS, None, ReadOptions(), now=NOW)))) == 1
    assert clock.slept == [33.0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "Couldn\'t authenticate you"}', "authenticate you.*ZENDESK_API_TOKEN"),
        (b'{"error": {"title": "No", "message": "Not yours"}}', "No: Not yours"),
        (b"go away", "401 Unauthorized"),
    ],
)
def test_refused_credentials_say_what_the_vendor_said(body: bytes, words: str) -> None:
    with serving(lambda request: Answer(body, status=401)) as server:
        with reading(server.base_url) as reader:
            with pytest.raises(FatalError, match=words):
                list(reader.read(TICKETS, None, ReadOptions(), now=NOW))


def test_the_same_cursor_for_ever_raises() -> None:
    with serving(lambda request: page([ticket(1)], "same", is_end=False)) as server:
        with reading(server.base_url) as reader:
            with pytest.raises(RetriableError, match=r"zendesk\.tickets: .*same page"):
                list(reader.read(TICKETS, None, ReadOptions(), now=NOW))
            assert reader.requests <= 3


def test_an_empty_account_yields_nothing() -> None:
    with serving(lambda request: page([], None)) as server, reading(server.base_url) as reader:
        assert list(reader.read(TICKETS, None, ReadOptions(), now=NOW)) == []


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (Answer(b'{"count": {"value": 12, "refreshed_at": null}}'), 12),
        (Answer(b'{"count": {"value": 250000, "refreshed_at": null}}'), None),
        (Answer(b'{"error": "InvalidEndpoint"}', status=404), None),
    ],
)
def test_an_estimate_is_no_count(answer: Answer, count: int | None) -> None:
    with serving(lambda request: answer) as server, reading(server.base_url) as reader:
        assert reader.count(TICKETS) == count


def test_tickets_are_loaded_and_nothing_is_written_twice(
    vendors: Vendors, warehouse: Warehouse
) -> None:
    now = datetime.now(UTC)
    with connect(vendors.settings("zendesk")) as reader:
        first = load(warehouse, TICKETS, reader.read(TICKETS, None, ReadOptions(), now=now))
        assert first.quarantined == 0
        assert first.inserted > 0
        bookmark = read_bookmark(warehouse, "zendesk", "tickets")
        assert bookmark
        assert bookmark.cursor
        again = load(warehouse, TICKETS, reader.read(TICKETS, bookmark, ReadOptions(), now=now))
        assert again.loaded == 0


def test_a_plan_without_a_feature_is_no_failure_but_a_forbidden_ticket_is() -> None:
    """403 on a list that only some plans have: skipped. On tickets: named as what it is."""

    def forbidden(request: Request) -> Answer:
        return Answer(b'{"error": "Forbidden", "description": "no such feature"}', status=403)

    settings = {"email": "a@b.example", "api_token": "canary-token"}
    with serving(forbidden) as server:
        with connect({"base_url": server.base_url, **settings}) as reader:
            policies = ZENDESK.stream("sla_policies")
            assert list(reader.read(policies, None, ReadOptions(), now=NOW)) == []
            with pytest.raises(FatalError, match="access was denied") as info:
                list(reader.read(TICKETS, None, ReadOptions(), now=NOW))
            assert "ZENDESK_API_TOKEN" in str(info.value)


def test_comments_and_metrics_lie_inside_what_is_read(vendors: Vendors) -> None:
    with connect(vendors.settings("zendesk")) as reader:
        tables = {
            name: pa.Table.from_batches(
                [
                    batch.records
                    for batch in reader.read(ZENDESK.stream(name), None, ReadOptions(), now=_now())
                ]
            )
            for name in ("ticket_comments", "ticket_audits", "ticket_metrics")
        }
    comments = tables["ticket_comments"].to_pylist()
    audits = {row["id"] for row in tables["ticket_audits"].to_pylist()}
    assert all(row["body"] and row["event_id"] in audits for row in comments)
    metrics = tables["ticket_metrics"].to_pylist()
    assert {row["ticket_id"] for row in comments} == {row["ticket_id"] for row in metrics}


def _now() -> datetime:
    return datetime.now(UTC)
