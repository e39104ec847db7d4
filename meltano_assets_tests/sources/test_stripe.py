"""What is particular to Stripe as a source: changes and deletes by events, inner lists (X1–X4)."""
# ruff: noqa: SIM117 the connection's block and the claim about it stay apart

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources.stripe import API_VERSION, STRIPE, connect
from meltano_assets.streams import Batch, Bookmark, ReadOptions, Stream
from meltano_assets_tests.clients.local_server import Answer, FakeClock, Request, serving
from meltano_assets_tests.sources.conftest import Vendors

CHARGES, CUSTOMERS = STRIPE.stream("charges"), STRIPE.stream("customers")
INVOICES, SUBSCRIPTIONS = STRIPE.stream("invoices"), STRIPE.stream("subscriptions")
NOW = datetime(2026, 1, 31, tzinfo=UTC)
Rows = dict[object, dict[str, object]]


def read(
    settings: Mapping[str, str], stream: Stream, bookmark: Bookmark | None = None
) -> list[Batch]:
    with connect(settings) as reader:
        return list(reader.read(stream, bookmark, ReadOptions(), now=datetime.now(UTC)))


def rows(batches: list[Batch]) -> Rows:
    return {row["id"]: row for batch in batches for row in batch.records.to_pylist()}


@pytest.fixture
def own_vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    """A company of the test's own, which may move in time."""
    folder = tmp_path_factory.mktemp("stripe")
    with serve_in_thread(state_dir=folder, seed=3, scale=0.05) as manifest:
        yield Vendors(manifest)


def test_changes_and_deletes_come_by_events(own_vendors: Vendors) -> None:
    settings = own_vendors.settings("stripe")
    first = read(settings, CUSTOMERS)
    own_vendors.advance(3)
    news = rows(read(settings, CUSTOMERS, first[-1].bookmark))
    gone = {key: row for key, row in news.items() if row["_deleted_at"]}
    assert gone
    assert all(row["email"] and row["_deleted_at"] == row["as_of"] for row in gone.values())
    changed = {key: row for key, row in news.items() if key in rows(first) and key not in gone}
    assert any(str(row["description"]).startswith("Seen on day") for row in changed.values())
    assert set(news) - set(rows(first))


def test_cancelled_subscriptions_stay(own_vendors: Vendors) -> None:
    settings = own_vendors.settings("stripe")
    first = read(settings, SUBSCRIPTIONS)
    own_vendors.advance(3)
    news = rows(read(settings, SUBSCRIPTIONS, first[-1].bookmark))
    ended = [row for row in news.values() if row["status"] == "canceled"]
    assert ended
    assert all(row["_deleted_at"] is None and row["ended_at"] for row in ended)


def test_what_other_clients_write_is_read(own_vendors: Vendors) -> None:
    settings = own_vendors.settings("stripe")
    first = read(settings, CUSTOMERS)
    older = [row for row in rows(first).values() if row["_deleted_at"] is None]
    changed, deleted = str(older[0]["id"]), str(older[1]["id"])

    def write(method: str, path: str, form: dict[str, str]) -> str:
        address = f"{settings['base_url']}/v1/{path}"
        key = (settings["api_key"], "")
        answer = requests.request(method, address, data=form, auth=key, timeout=10)
        assert answer.ok, answer.text
        return str(answer.json()["id"])

    # Within one second: the last word counts.
    made = write("POST", "customers", {"name": "One"})
    write("POST", f"customers/{made}", {"name": "Two", "metadata[a]": "b"})
    write("POST", f"customers/{changed}", {"description": "by hand"})
    write("DELETE", f"customers/{deleted}", {})
    news = rows(read(settings, CUSTOMERS, first[-1].bookmark))
    assert news[made]["name"] == "Two"
    assert news[changed]["description"] == "by hand"
    assert news[deleted]["_deleted_at"] is not None
    assert rows(read(settings, CUSTOMERS)).keys() == rows(first).keys() | {made}


def test_lists_inside_an_object_are_whole(vendors: Vendors) -> None:
    settings = vendors.settings("stripe")
    for stream, name in ((INVOICES, "lines"), (SUBSCRIPTIONS, "items")):
        sizes = {len(json.loads(str(row[name]))) for row in rows(read(settings, stream)).values()}
        assert sizes == {1, 12}, stream.key
    for row in rows(read(settings, INVOICES)).values():
        assert sum(line["amount"] for line in json.loads(str(row["lines"]))) == row["total"]


def test_payouts_know_the_balance_transactions_that_they_are_made_of(
    own_vendors: Vendors,
) -> None:
    settings = own_vendors.settings("stripe")
    payouts, moved = STRIPE.stream("payouts"), STRIPE.stream("balance_transactions")
    first = read(settings, payouts)
    movements = rows(read(settings, moved))
    own_vendors.advance(8)
    news = rows(read(settings, payouts, first[-1].bookmark))
    assert set(news) - set(rows(first)), "a Monday was among these days"
    changed = {**rows(first), **news}
    later = read(settings, moved, read(settings, moved)[-1].bookmark)
    movements |= rows(read(settings, moved)) | rows(later)
    assert len({row["currency"] for row in changed.values()}) > 1
    for key, payout in changed.items():
        members = [movements[one] for one in json.loads(str(payout["balance_transactions"]))]
        assert len(members) > 1
        assert sum(int(str(one["net"])) for one in members) == 0, key
        [itself] = [one for one in members if one["type"] == "payout"]
        assert (itself["source"], itself["amount"]) == (key, -int(str(payout["amount"])))
        assert isinstance(payout["arrival_date"], datetime)
    charges = rows(read(settings, CHARGES))
    paid = {row["balance_transaction"]: row for row in charges.values() if row["captured"]}
    assert {str(row["id"]) for row in paid.values()} == {
        str(one["source"]) for one in movements.values() if one["type"] == "charge"
    }
    for key, row in paid.items():
        one = movements[key]
        assert (one["source"], one["amount"]) == (row["id"], row["amount"])
        assert int(str(one["net"])) == int(str(row["amount"])) - int(str(one["fee"]))


def test_payouts_made_by_hand_are_not_asked_what_they_are_made_of() -> None:
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        asked.append(request.path.partition("?")[0])
        payout = {"id": "po_1", "object": "payout", "created": 1, "amount": 5, "automatic": False}
        page = [] if asked[-1] == "/v1/events" else [payout]
        return _answer({"object": "list", "data": page, "has_more": False})

    with serving(answer) as server:
        settings = {"base_url": server.base_url, "api_key": "sk_test_x"}
        with connect(settings, transport=FakeClock(NOW).transport()) as reader:
            found = list(reader.read(STRIPE.stream("payouts"), None, ReadOptions(), now=NOW))
    assert rows(found)["po_1"]["balance_transactions"] is None
    assert set(asked) == {"/v1/events", "/v1/payouts"}


def test_amounts_are_whole_and_times_are_times(vendors: Vendors) -> None:
    row = next(iter(rows(read(vendors.settings("stripe"), CHARGES)).values()))
    assert isinstance(row["amount"], int)
    assert isinstance(row["created"], datetime)
    assert row["created"].tzinfo is not None


# -- a Stripe of the test's own --


def charge(key: str, created: int, **values: object) -> dict[str, object]:
    return {"id": key, "object": "charge", "created": created, "amount": 100, **values}


class Shop:
    """Charges and events as a test wants them; events older than ``oldest`` are forgotten."""

    def __init__(self, charges: list[dict[str, object]], events: list[dict[str, object]]) -> None:
        self.charges = charges
        self.events = events
        self.oldest = 0
        self.retrieved: list[str] = []

    def __call__(self, request: Request) -> Answer:
        params = request.params
        path = request.path.partition("?")[0]
        if path.startswith("/v1/charges/"):
            self.retrieved.append(path)
            found = next((c for c in self.charges if path.endswith(str(c["id"]))), None)
            missing = {"error": {"code": "resource_missing", "message": "No such charge"}}
            return _answer(found or missing, 200 if found else 404)
        kept = self.charges
        if path == "/v1/events":
            kept = [e for e in self.events if int(str(e["created"])) >= self.oldest]
        if "starting_after" in params and params["starting_after"] not in {c["id"] for c in kept}:
            lost = {"error": {"code": "resource_missing", "message": "No such charge: 'x'"}}
            return _answer(lost, 400)
        low = int(params.get("created[gte]", 0))
        high = int(params.get("created[lt]", 1 << 40))
        page = [r for r in kept if low <= int(str(r["created"])) < high]
        return _answer({"object": "list", "data": page, "has_more": False})


def _answer(content: object, status: int = 200) -> Answer:
    return Answer(json.dumps(content).encode(), status)


def event(
    key: str, at: datetime, changed: dict[str, object], version: str = API_VERSION
) -> dict[str, object]:
    return {
        "id": key,
        "object": "event",
        "api_version": version,
        "created": int(at.timestamp()),
        "type": "charge.updated",
        "data": {"object": changed},
    }


def read_shop(shop: Shop, bookmark: Bookmark | None = None) -> list[Batch]:
    with serving(shop) as server:
        settings = {"base_url": server.base_url, "api_key": "sk_test_x"}
        with connect(settings, transport=FakeClock(NOW).transport()) as reader:
            return list(reader.read(CHARGES, bookmark, ReadOptions(), now=NOW))


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def test_an_event_in_another_version_is_asked_for_again() -> None:
    at = days_ago(2)
    created = int(days_ago(9).timestamp())
    shop = Shop([charge("ch_1", created, status="new")], [])
    old = charge("ch_1", created, status="old")
    shop.events = [event("evt_1", at, old, "2019-01-01")]
    found = rows(read_shop(shop))
    assert (found["ch_1"]["status"], found["ch_1"]["as_of"]) == ("new", at)
    assert shop.retrieved == ["/v1/charges/ch_1"]
    shop.events = [event("evt_1", at, old)]
    assert rows(read_shop(shop))["ch_1"]["status"] == "old"


def test_the_newest_event_of_an_object_wins() -> None:
    created = int(days_ago(9).timestamp())
    shop = Shop([charge("ch_1", created), charge("ch_2", created)], [])
    shop.events = [
        event("evt_2", days_ago(1), charge("ch_1", created, status="two")),
        event("evt_1", days_ago(3), charge("ch_1", created, status="one")),
    ]
    batches = read_shop(shop)
    assert sum(batch.records.num_rows for batch in batches) == 2
    found = rows(batches)
    assert (found["ch_1"]["status"], found["ch_1"]["as_of"]) == ("two", days_ago(1))
    assert found["ch_2"]["as_of"] == days_ago(9)


def test_after_a_long_pause_the_whole_list_is_read() -> None:
    """Events that told of a change are gone: what is stored must not stay as it was."""
    created = int(days_ago(200).timestamp())
    shop = Shop([charge("ch_1", created, status="changed")], [])
    bookmark = Bookmark(days_ago(60).isoformat())
    shop.oldest = int(days_ago(30).timestamp())
    found = rows(read_shop(shop, bookmark))
    assert found["ch_1"]["status"] == "changed"
    assert found["ch_1"]["as_of"] == days_ago(60)
    shop.events = [event("evt_0", days_ago(90), charge("ch_0", created))]
    shop.oldest = 0
    assert rows(read_shop(shop, bookmark)) == {}


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(b'{"object": "list", "data": [{"id": '), RetriableError, "cut off"),
        (Answer(b'{"object": "list"}'), RetriableError, "cut off or not what was asked"),
        (Answer(b'{"error": {"message": "Invalid API Key"}}', 401), FatalError, "STRIPE_API_KEY"),
        (Answer(b'{"error": {"message": "no right"}}', 403), FatalError, "access was denied"),
        (Answer(b'{"error": {"code": "rate_limit"}}', 429), RetriableError, "rate_limit"),
    ],
    ids=["cut", "no list", "key", "right", "rate"],
)
def test_bad_answers_end_in_a_clear_error(answer: Answer, kind: type[Exception], said: str) -> None:
    with serving(lambda _: replace(answer)) as server:
        settings = {"base_url": server.base_url, "api_key": "sk_test_x"}
        with connect(settings, transport=FakeClock(NOW).transport()) as reader:
            with pytest.raises(kind, match=said):
                list(reader.read(CHARGES, None, ReadOptions(), now=NOW))


def test_a_page_repeated_for_ever_ends(vendors: Vendors) -> None:
    vendors.arm("stripe", "repeat_page", times=1000)
    with pytest.raises(RetriableError, match="repeats the same page"):
        read(vendors.settings("stripe"), CHARGES)


class Endless:
    """A list that promises more and does not say behind which object; whole again after a while."""

    def __init__(self, broken: int, page: list[dict[str, object]]) -> None:
        self.broken = broken
        self.page = page
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Answer:
        if not request.path.startswith("/v1/charges"):
            return _answer({"object": "list", "data": [], "has_more": False})
        self.asked.append(request.params.get("starting_after", ""))
        is_broken = len(self.asked) <= self.broken
        content = self.page if is_broken else [charge("ch_1", int(days_ago(9).timestamp()))]
        return _answer({"object": "list", "data": content, "has_more": is_broken})


NAMELESS: list[dict[str, object]] = [{"id": "", "object": "charge", "created": 1, "amount": 1}]


@pytest.mark.parametrize("page", [[], NAMELESS], ids=["empty", "nameless"])
def test_more_without_a_place_to_go_on_is_asked_for_again(page: list[dict[str, object]]) -> None:
    """X8: nothing of the broken answer is kept, and no page is asked for behind nothing."""
    list_of = Endless(1, page)
    with serving(list_of) as server:
        settings = {"base_url": server.base_url, "api_key": "sk_test_x"}
        with connect(settings, transport=FakeClock(NOW).transport()) as reader:
            found = rows(list(reader.read(CHARGES, None, ReadOptions(), now=NOW)))
    assert set(found) == {"ch_1"}
    assert list_of.asked == ["", ""]


@pytest.mark.parametrize("page", [[], NAMELESS], ids=["empty", "nameless"])
def test_more_without_a_place_to_go_on_is_refused_in_the_end(page: list[dict[str, object]]) -> None:
    list_of = Endless(1000, page)
    with serving(list_of) as server:
        settings = {"base_url": server.base_url, "api_key": "sk_test_x"}
        with connect(settings, transport=FakeClock(NOW).transport()) as reader:
            with pytest.raises(
                RetriableError, match=r"stripe\.charges: .*no object to go on"
            ) as info:
                list(reader.read(CHARGES, None, ReadOptions(), now=NOW))
    assert info.value.exit_code == 1
    assert 1 < len(list_of.asked) < 20
    assert set(list_of.asked) == {""}
