"""What is particular to Lever as a source: X1, X3, X4, X8."""
# ruff: noqa: SIM117 the connection's block and the claim about it stay apart

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from meltano_assets.clients.policy import Transport
from meltano_assets.errors import FatalError, PlatformError, RetriableError
from meltano_assets.sources.lever import LEVER, LeverReader, connect
from meltano_assets.sources.lever_streams import (
    APPLICATIONS,
    CANDIDATES,
    OFFERS,
    OPPORTUNITIES,
    POSTINGS,
    REQUISITIONS,
    USERS,
)
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream
from meltano_assets_tests.clients.local_server import Answer, FakeClock, Request, serving
from meltano_assets_tests.sources.conftest import Vendors

NOW = datetime(2026, 1, 10, tzinfo=UTC)
Rows = dict[object, dict[str, Any]]


@contextmanager
def reading(settings: dict[str, str], transport: Transport | None = None) -> Iterator[LeverReader]:
    with connect(settings, transport=transport or FakeClock().transport()) as reader:
        yield reader


def rows(batches: list[Batch]) -> Rows:
    return {row["id"]: row for batch in batches for row in batch.records.to_pylist()}


def read(
    vendors: Vendors, stream: Stream, bookmark: Bookmark | None = None, **settings: str
) -> Rows:
    with reading({**vendors.settings("lever"), **settings}) as reader:
        return rows(list(reader.read(stream, bookmark, ReadOptions(), now=datetime.now(UTC))))


def truths(vendors: Vendors) -> dict[str, Any]:
    address = f"{vendors.manifest['control']['base_url']}/truths"
    found: dict[str, Any] = requests.get(address, timeout=60).json()["hiring"]
    return found


def test_the_funnel_and_the_hires_are_what_happened(vendors: Vendors) -> None:
    known = truths(vendors)
    opportunities = read(vendors, OPPORTUNITIES)
    live = [row for row in opportunities.values() if row.get("_deleted_at") is None]
    assert len(live) == known["opportunities"]["live"]
    assert len(opportunities) - len(live) == known["opportunities"]["deleted"]
    active = Counter(row["stage"] for row in live if row["archived_at"] is None)
    assert active == known["opportunities"]["active_by_stage"]
    reasons = Counter(row["archive_reason_id"] for row in live if row["archived_at"])
    assert reasons == known["opportunities"]["archived_by_reason"]
    hires = Counter(
        row["archived_at"].strftime("%Y-%m")
        for row in read(vendors, CANDIDATES).values()
        if row["archive_reason_text"] == "Hired"
    )
    assert hires == known["hires"]["by_month"]
    assert (
        Counter(row["status"] for row in read(vendors, OFFERS).values())
        == (known["offers_by_status"])
    )


def test_candidates_have_the_pipeline_in_parallel_lists(vendors: Vendors) -> None:
    candidates = [row for row in read(vendors, CANDIDATES).values() if not row.get("_deleted_at")]
    for row in candidates:
        lists = [
            json.loads(row[f"pipeline_stage_{part}"]) for part in ("ids", "names", "timestamps")
        ]
        assert len({len(part) for part in lists}) == 1
        assert lists[0][-1] == row["stage_id"]
        assert lists[1][-1] == row["stage_text"]
        assert all(datetime.fromisoformat(moment).tzinfo for moment in lists[2])
    personal = {"name", "emails", "phones", "headline", "location", "links"}
    assert not personal & set(candidates[0])


def test_parts_of_nested_objects_have_columns(vendors: Vendors) -> None:
    posting = next(iter(read(vendors, POSTINGS).values()))
    assert (posting["commitment"], posting["location"]) == ("Full-time", "Remote")
    requisition = next(iter(read(vendors, REQUISITIONS).values()))
    assert (requisition["location"], bool(requisition["team"])) == ("Remote", True)
    applications = read(vendors, APPLICATIONS)
    ended = read(vendors, OPPORTUNITIES)
    for row in applications.values():
        assert row["archived_at"] == ended[row["opportunity_id"]]["archived_at"]
        assert row["opportunity_updated_at"] == ended[row["opportunity_id"]]["updated_at"]


def test_applications_come_with_their_opportunities(vendors: Vendors) -> None:
    """Not one request for each opportunity."""
    with reading(vendors.settings("lever")) as reader:
        batches = list(reader.read(APPLICATIONS, None, ReadOptions(), now=datetime.now(UTC)))
        assert reader.requests <= 1 + len(rows(batches)) // 100


def test_offers_are_asked_for_of_changed_opportunities_alone(vendors: Vendors) -> None:
    opportunities = read(vendors, OPPORTUNITIES)
    moments = sorted(row["updated_at"] for row in opportunities.values())
    since = moments[-5]
    bookmark = Bookmark((since + OFFERS.lookback).isoformat())
    with reading(vendors.settings("lever")) as reader:
        list(reader.read(OFFERS, bookmark, ReadOptions(), now=datetime.now(UTC)))
        assert reader.requests <= 6


def test_confidential_records_come_on_request(vendors: Vendors) -> None:
    few, all_ = read(vendors, OPPORTUNITIES), read(vendors, OPPORTUNITIES, confidentiality="all")
    assert set(few) < set(all_)
    assert len(read(vendors, USERS)) == truths(vendors)["users"]


@pytest.mark.parametrize("stream", [OPPORTUNITIES, OFFERS], ids=lambda stream: stream.name)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("throttle", {"times": 3}),
        ("unavailable", {}),
        ("server_error", {}),
        ("drop", {}),
        ("truncate", {}),
        ("garbage", {}),
        ("html", {}),
        ("drip", {"seconds": 0.2}),
    ],
)
def test_passing_trouble_costs_no_record(
    vendors: Vendors, stream: Stream, kind: str, options: dict[str, Any]
) -> None:
    expected = read(vendors, stream)
    vendors.arm("lever", kind, match="/opportunities", **options)
    assert read(vendors, stream) == expected


def test_too_many_requests_are_waited_out_without_a_word_of_the_vendor(vendors: Vendors) -> None:
    clock = FakeClock()
    vendors.arm("lever", "throttle", times=3)
    with reading(vendors.settings("lever"), clock.transport()) as reader:
        list(reader.read(POSTINGS, None, ReadOptions(), now=datetime.now(UTC)))
    waits = [wait for wait in clock.slept if wait >= 0.5]
    assert len(waits) == 3
    assert waits[-1] > 1


def test_parents_and_children_share_one_rate(vendors: Vendors) -> None:
    """However many workers there are, Lever sees no more requests than the account may make."""
    settings = {**vendors.settings("lever"), "requests_per_second": "40"}
    began = time.monotonic()
    with connect(settings) as reader:
        list(reader.read(OFFERS, None, ReadOptions(), now=datetime.now(UTC)))
        count = reader.requests
    assert count > 80
    assert time.monotonic() - began >= (count - 40) / 40 - 0.1


def test_a_wrong_key_is_fatal_and_said_where_to_set(vendors: Vendors) -> None:
    with pytest.raises(FatalError, match="LEVER_API_KEY") as error:
        read(vendors, POSTINGS, api_key="canary-wrong-key")
    assert "canary" not in str(error.value)
    vendors.arm("lever", "expire_session", times=5)
    with pytest.raises(FatalError, match="credentials were refused"):
        read(vendors, POSTINGS)


def test_a_repeated_offset_ends_in_a_clear_error(vendors: Vendors) -> None:
    vendors.arm("lever", "repeat_page", times=1000)
    with pytest.raises(RetriableError, match="repeats the same page"):
        read(vendors, OPPORTUNITIES)


def test_an_offset_that_is_no_longer_good_is_for_the_next_run() -> None:
    def handler(request: Request) -> Answer:
        if "offset" in request.params:
            body = {"code": "BadRequestError", "message": "Invalid offset token: x"}
            return Answer(json.dumps(body).encode(), 400)
        record = {"id": "1", "updatedAt": 1_700_000_000_000}
        body = {"data": [record], "hasNext": True, "next": "x"}
        return Answer(json.dumps(body).encode())

    with serving(handler) as server:
        with reading({"base_url": server.base_url, "api_key": "k"}) as reader:
            with pytest.raises(RetriableError, match="Invalid offset"):
                list(reader.read(POSTINGS, None, ReadOptions(), now=NOW))


def test_a_next_page_without_an_address_is_not_taken_for_the_end() -> None:
    body = {"data": [{"id": "1", "updatedAt": 1_700_000_000_000}], "hasNext": True, "next": None}
    with serving(lambda request: Answer(json.dumps(body).encode())) as server:
        with reading({"base_url": server.base_url, "api_key": "k"}) as reader:
            with pytest.raises(RetriableError, match="more is promised"):
                list(reader.read(POSTINGS, None, ReadOptions(), now=NOW))


def test_an_opportunity_deleted_meanwhile_has_no_offers() -> None:
    def handler(request: Request) -> Answer:
        if request.path.endswith("/offers"):
            missing = {"code": "ResourceNotFound", "message": "gone"}
            return Answer(json.dumps(missing).encode(), 404)
        record = {"id": "1", "updatedAt": 1_700_000_000_000}
        return Answer(json.dumps({"data": [record], "hasNext": False}).encode())

    with serving(handler) as server:
        with reading({"base_url": server.base_url, "api_key": "k"}) as reader:
            batches = list(reader.read(OFFERS, None, ReadOptions(), now=NOW))
    assert rows(batches) == {}
    assert batches[-1].bookmark == Bookmark("2023-11-14T22:13:20+00:00")


def test_no_more_workers_than_declared_are_under_way() -> None:
    under_way, most = 0, 0
    lock = threading.Lock()

    def handler(request: Request) -> Answer:
        nonlocal under_way, most
        if not request.path.endswith("/offers"):
            data = [{"id": str(n), "updatedAt": 1_700_000_000_000 + n} for n in range(40)]
            return Answer(json.dumps({"data": data, "hasNext": False}).encode())
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        with lock:
            under_way -= 1
        offer = {"id": f"o{request.path}", "status": "sent"}
        return Answer(json.dumps({"data": [offer]}).encode())

    settings = {"api_key": "k", "requests_per_second": "1000"}
    with serving(handler) as server:
        with connect({**settings, "base_url": server.base_url}) as reader:
            batches = list(reader.read(OFFERS, None, ReadOptions(), now=NOW))
    assert len(rows(batches)) == 40
    assert 2 <= most <= 4


def test_fields_that_change_or_disappear_cost_no_record(vendors: Vendors) -> None:
    expected = read(vendors, POSTINGS)
    vendors.arm("lever", "change_schema", match="postings", drop=["state"], retype={"text": 17})
    found = read(vendors, POSTINGS)
    assert set(found) == set(expected)
    assert {row["state"] for row in found.values()} == {None}
    assert {row["text"] for row in found.values()} == {"17"}
    vendors.clear_faults()
    vendors.arm("lever", "change_schema", match="postings", add={"newField": 1})
    with reading(vendors.settings("lever")) as reader:
        list(reader.read(POSTINGS, None, ReadOptions(), now=datetime.now(UTC)))
        assert "newField" in reader.undeclared["postings"]


def test_a_field_that_nobody_declared_can_be_chosen(vendors: Vendors) -> None:
    chosen = replace(POSTINGS, columns=(*POSTINGS.columns, Column("x", "jsonb", field="content")))
    assert json.loads(next(iter(read(vendors, chosen).values()))["x"])["closing"] == "Apply & see."


def test_without_expanded_applications_nothing_is_taken_for_nothing() -> None:
    record = {"id": "1", "updatedAt": 1_700_000_000_000, "applications": ["a1"]}
    with serving(lambda request: Answer(json.dumps({"data": [record]}).encode())) as server:
        with reading({"base_url": server.base_url, "api_key": "k"}) as reader:
            with pytest.raises(FatalError, match="not expanded"):
                list(reader.read(APPLICATIONS, None, ReadOptions(), now=NOW))


def test_a_rate_that_is_no_number_is_named(vendors: Vendors) -> None:
    settings = {**vendors.settings("lever"), "requests_per_second": "fast"}
    with pytest.raises(PlatformError, match="LEVER_REQUESTS_PER_SECOND"), reading(settings):
        pass


def test_each_day_brings_changes_and_deletes(vendors: Vendors) -> None:
    before = read(vendors, OPPORTUNITIES)
    newest = max(row["updated_at"] for row in before.values())
    vendors.advance(1)
    news = read(vendors, OPPORTUNITIES, Bookmark((newest + timedelta(seconds=1)).isoformat()))
    assert any(before.get(key) != row for key, row in news.items())
    assert LEVER.stream("opportunities") is OPPORTUNITIES
