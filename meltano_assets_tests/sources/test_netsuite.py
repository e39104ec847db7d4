"""NetSuite as a source (X1–X4, X8, X9): spans, searches that end, deletes, versions, bad input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.clients.netsuite import SearchPage
from meltano_assets.clients.policy import Clock, Retry, Transport
from meltano_assets.errors import FatalError, PlatformError, RetriableError
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources.netsuite import (
    EPOCH,
    MAX_RESTARTS,
    NETSUITE,
    NetSuiteReader,
    connect,
    host_of,
)
from meltano_assets.sources.netsuite_columns import RecordType, record_stream
from meltano_assets.streams import Batch, Bookmark, ReadOptions, Stream, Window
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.state import read_bookmark
from meltano_assets_tests.sources.conftest import Vendors

TRANSACTIONS = NETSUITE.stream("transactions")
#: Does not wait between tries.
HASTY = Transport(retry=Retry(tries=3), clock=Clock(sleep=lambda seconds: None))


@contextmanager
def reader(vendors: Vendors, **settings: str) -> Iterator[NetSuiteReader]:
    with connect({**vendors.settings("netsuite"), **settings}, transport=HASTY) as opened:
        yield opened


def read(
    opened: NetSuiteReader,
    stream: Stream = TRANSACTIONS,
    bookmark: Bookmark | None = None,
    **options: Any,
) -> list[Batch]:
    return list(opened.read(stream, bookmark, ReadOptions(**options), now=datetime.now(UTC)))


def rows(batches: list[Batch], key: str = "internal_id") -> dict[object, dict[str, Any]]:
    return {row[key]: row for batch in batches for row in batch.records.to_pylist()}


def truths(vendors: Vendors) -> Any:
    control = vendors.manifest["control"]["base_url"]
    return requests.get(f"{control}/truths", timeout=30).json()["books"]


_whole: dict[tuple[str, int], dict[object, dict[str, Any]]] = {}


@pytest.fixture
def everything(vendors: Vendors) -> dict[object, dict[str, Any]]:
    """All transactions of the company's present day, read once."""
    control = str(vendors.manifest["control"]["base_url"])
    key = (control, requests.get(f"{control}/clock", timeout=30).json()["day"])
    if key not in _whole:
        with reader(vendors) as opened:
            _whole[key] = rows(read(opened))
    return _whole[key]


# -- what is read --


def test_the_books_come_as_the_company_keeps_them(
    vendors: Vendors, everything: dict[object, dict[str, Any]]
) -> None:
    known = truths(vendors)
    kinds: dict[str, int] = {}
    for row in everything.values():
        kinds[row["transaction_type"]] = kinds.get(row["transaction_type"], 0) + 1
    assert kinds == known["transactions"]
    invoices = [row for row in everything.values() if row["transaction_type"] == "Invoice"]
    total = sum((row["total"] * row["exchange_rate"] for row in invoices), Decimal())
    assert abs(float(total) - known["invoices"]["total_usd"]) < 0.01
    still_open = sum(
        (row["amount_remaining"] * row["exchange_rate"] for row in invoices), Decimal()
    )
    assert abs(float(still_open) - known["invoices"]["open_usd"]) < 0.01
    with reader(vendors) as opened:
        expenses = rows(read(opened, NETSUITE.stream("expenses")), "unique_id")
        assert len(rows(read(opened, NETSUITE.stream("customers")))) == known["customers"]
    by_department: dict[str, Decimal] = {}
    for row in expenses.values():
        name = row["department_name"]
        by_department[name] = by_department.get(name, Decimal()) + row["amount"]
    assert {n: float(v) for n, v in by_department.items()} == known["expenses_by_department"]


def test_lines_agree_with_their_transactions(
    vendors: Vendors, everything: dict[object, dict[str, Any]]
) -> None:
    with reader(vendors) as opened:
        items = rows(read(opened, NETSUITE.stream("transaction_items")), "unique_id")
        lines = rows(read(opened, NETSUITE.stream("transaction_lines")), "unique_id")
        applied = rows(read(opened, NETSUITE.stream("applications")), "unique_id")
        # Every stream of lines took one search and its pages, however many transactions.
        assert opened.requests == 3
    sums: dict[int, Decimal] = {}
    for row in items.values():
        sums[row["transaction_id"]] = sums.get(row["transaction_id"], Decimal()) + row["amount"]
    for key, total in sums.items():
        assert total == everything[key]["total"]
        assert everything[key]["last_modified_date"] is not None
    balance = sum(((row["debit"] or 0) - (row["credit"] or 0) for row in lines.values()), Decimal())
    assert balance == 0
    assert all(row["doc"] in everything for row in applied.values())


def test_dates_are_the_accounts_and_large_sums_exact(
    everything: dict[object, dict[str, Any]],
) -> None:
    for row in everything.values():
        assert type(row["tran_date"]) is date
        # The company's books are kept at UTC-8, its transactions dated by the day in UTC.
        assert abs(row["tran_date"] - row["created_date"].date()) <= timedelta(days=1)
    assert all(
        isinstance(row["exchange_rate"] or Decimal(1), Decimal) for row in everything.values()
    )


@pytest.mark.parametrize("version", [pytest.param("2017_2", marks=pytest.mark.slow), "2023_2"])
def test_any_version_and_contract_gives_the_same(
    version: str,
    vendors: Vendors,
    shared_fixtures: Path,
    tmp_path: Path,
) -> None:
    """The vendor's whole contract of 2017.2, under its own version and another."""
    folder = shared_fixtures / "netsuite" / "wsdl-2017_2"
    streams = [NETSUITE.stream(name) for name in ("customers", "items", "deleted_records")]
    with serve_in_thread(state_dir=tmp_path, scale=0.1, netsuite_wsdl=folder) as theirs:
        other = {name: str(value) for name, value in theirs["netsuite"].items()}
        with connect({**other, "wsdl_version": version}) as opened:
            by_theirs = [
                [batch.records.to_pydict() for batch in read(opened, stream)] for stream in streams
            ]
    with serve_in_thread(state_dir=tmp_path, scale=0.1) as ours:
        settings = {name: str(value) for name, value in ours["netsuite"].items()}
        with connect({**settings, "wsdl_version": "2020_1"}) as opened:
            by_ours = [
                [batch.records.to_pydict() for batch in read(opened, stream)] for stream in streams
            ]
    assert by_theirs == by_ours
    assert all(batches for batches in by_ours)


def test_one_more_record_type_is_one_more_line(vendors: Vendors) -> None:
    whole = record_stream("employees", RecordType("Employee"), "People of the company.")
    with reader(vendors) as opened:
        found = rows(read(opened, whole))
        assert opened.count(whole) == len(found) > 0
    some = next(iter(found.values()))
    assert '"entityId":' in some["record"]
    assert some["last_modified_date"] is not None
    accounts = record_stream("x", RecordType("Account"), "x", is_incremental=False)
    wrong = record_stream("y", RecordType("Account"), "y")
    nowhere = record_stream("z", RecordType("MoonLanding"), "z")
    with reader(vendors) as opened:
        assert rows(read(opened, accounts))
        with pytest.raises(FatalError, match="is_incremental=False"):
            read(opened, wrong, start=datetime(2020, 1, 1, tzinfo=UTC))
        with pytest.raises(FatalError, match="no MoonLandingSearchBasic") as info:
            read(opened, nowhere)
        assert info.value.place == "netsuite.z"


# -- spans and pages --


def test_pages_and_spans_give_the_whole(
    vendors: Vendors, everything: dict[object, dict[str, Any]]
) -> None:
    with reader(vendors, page_size="20") as whole:
        opened = NetSuiteReader(whole._client, max_pages=2)
        batches = read(opened)
    assert rows(batches) == everything
    bookmarks = [batch.bookmark.as_time() for batch in batches if batch.bookmark]
    assert len(bookmarks) > 5
    assert bookmarks == sorted(bookmarks)  # type: ignore[type-var]
    # Where a bookmark is, all that is older has come before.
    seen: set[object] = set()
    for batch in batches:
        seen |= set(batch.records.column("internal_id").to_pylist())
        if batch.bookmark:
            moment = batch.bookmark.as_time()
            older = {key for key, row in everything.items() if row["last_modified_date"] <= moment}
            assert older <= seen


def test_a_read_that_breaks_between_spans_goes_on_there(
    vendors: Vendors, everything: dict[object, dict[str, Any]]
) -> None:
    kept: list[Batch] = []
    with reader(vendors, page_size="20") as whole:
        opened = NetSuiteReader(whole._client, max_pages=2)
        batches = opened.read(TRANSACTIONS, None, ReadOptions(), now=datetime.now(UTC))
        for batch in batches:
            kept.append(batch)
            if len(kept) == 9:
                vendors.arm("netsuite", "not_success", times=50, code="INVALID_RCRD_TYPE")
                with pytest.raises(FatalError, match="INVALID_RCRD_TYPE"):
                    list(batches)
                break
    vendors.clear_faults()
    committed = [batch.bookmark for batch in kept if batch.bookmark][-1]
    with reader(vendors) as opened:
        rest = read(opened, bookmark=committed)
    # What was deleted since the bookmark is told too, also where it was never read.
    news = {key: row for key, row in rows(rest).items() if key in everything}
    assert len(news) < len(everything)
    assert {**rows(kept), **news} == everything


@given(
    st.lists(st.integers(0, 10_000_000), max_size=60),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(0, 5_000_000)),
)
def test_spans_cover_a_window_without_gap_or_overlap(
    minutes: list[int], pages: int, begin: int | None
) -> None:
    """X3: whatever the records' times, each lies in one span, and spans follow each other."""
    moments = sorted(EPOCH + timedelta(minutes=minute) for minute in minutes)
    asked: list[Window] = []

    class Counting(NetSuiteReader):
        def _criteria(self, record: RecordType, span: Window | None) -> object:
            assert span is not None
            return span

    class Client:
        def search(self, span: Window) -> SearchPage:
            inside = [m for m in moments if (span.start or EPOCH) <= m < span.end]
            asked.append(span)
            return SearchPage(total_records=len(inside), total_pages=-(-len(inside) // 2))

    start = None if begin is None else EPOCH + timedelta(minutes=begin)
    end = EPOCH + timedelta(minutes=10_000_001)
    opened = Counting(Client(), max_pages=pages)  # type: ignore[arg-type]
    reading: Any = type("Reading", (), {"stream": TRANSACTIONS, "record": RecordType("x")})
    spans = [span for _, span in opened._spans(reading, Window(start, end))]
    assert spans[0].start == start
    assert spans[-1].end == end
    assert all(one.end == other.start for one, other in pairwise(spans))


def test_a_search_that_expires_is_begun_again(
    vendors: Vendors, everything: dict[object, dict[str, Any]]
) -> None:
    vendors.arm("netsuite", "expire_search", match="searchMoreWithId", skip=3)
    with reader(vendors, page_size="40") as opened:
        batches = read(opened)
    assert rows(batches) == everything
    assert sum(batch.records.num_rows for batch in batches) > len(everything)


def test_a_search_that_always_expires_ends_in_a_clear_error(vendors: Vendors) -> None:
    vendors.arm("netsuite", "expire_search", times=1000, match="searchMoreWithId")
    with reader(vendors, page_size="40") as opened:
        with pytest.raises(RetriableError, match="NETSUITE_PAGE_SIZE") as info:
            read(opened)
        assert opened.requests == 2 * (MAX_RESTARTS + 1)
    assert info.value.place == "netsuite.transactions"


def test_a_page_that_comes_again_ends_in_a_clear_error(vendors: Vendors) -> None:
    vendors.arm("netsuite", "repeat_page", times=1000)
    with reader(vendors, page_size="40") as opened:
        with pytest.raises(RetriableError, match="repeats the same page"):
            read(opened)
        assert opened.requests < 5


# -- news and deletes --


def test_deletes_mark_the_rows_and_keep_their_values(
    vendors: Vendors, warehouse: Warehouse
) -> None:
    def sync() -> int:
        bookmark = read_bookmark(warehouse, "netsuite", "transactions")
        with reader(vendors) as opened:
            batches = opened.read(TRANSACTIONS, bookmark, ReadOptions(), now=datetime.now(UTC))
            outcome = load(warehouse, TRANSACTIONS, batches)
            assert outcome.is_balanced
            assert outcome.quarantined == 0
            with warehouse.connect() as connection:
                found = connection.execute(
                    "select count(*) from netsuite.transactions where _deleted_at is null"
                ).fetchone()
            assert found == (opened.count(TRANSACTIONS),)
        return outcome.deleted

    assert sync() == 0
    sync()  # may learn of deletes of the last moments before the first, which read no deletes
    assert sync() == 0
    deleted = 0
    for _ in range(3):
        vendors.advance(1)
        deleted += sync()
    assert deleted
    with warehouse.connect() as connection:
        gone = connection.execute(
            "select transaction_type, tran_id, user_total, last_modified_date < _deleted_at"
            " from netsuite.transactions where _deleted_at is not null"
            " and tran_id is not null"
        ).fetchall()
    assert gone
    assert {row[0] for row in gone} == {"VendorBill"}
    assert all(row[2] > 0 and row[3] for row in gone)


# -- bad input --


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("throttle", {"times": 2}), ("unavailable", {}), ("server_error", {}), ("html", {}),
        ("drop", {}), ("drop_after", {}), ("truncate", {}), ("garbage", {}), ("entities", {}),
        ("drip", {"seconds": 0.2}), ("expire_session", {}),
        ("not_success", {"code": "WS_REQUEST_BLOCKED"}), ("not_success", {"code": "UNEXPECTED_ERROR"}),
        ("fault", {"name": "exceededRequestLimitFault"}),
    ],
)  # fmt: skip
def test_passing_trouble_is_survived(kind: str, options: dict[str, Any], vendors: Vendors) -> None:
    stream = NETSUITE.stream("customers")
    with reader(vendors, page_size="20") as opened:
        everything = rows(read(opened, stream))
    in_operations = ("not_success", "fault")
    match = "search" if kind in in_operations else "/services/"
    vendors.arm("netsuite", kind, match=match, **options)
    with reader(vendors, page_size="20") as opened:
        assert rows(read(opened, stream)) == everything
    armed = requests.get(f"{vendors.manifest['control']['base_url']}/faults", timeout=10).json()
    assert not armed


@pytest.mark.parametrize(
    ("name", "code", "error", "words"),
    [
        ("invalidCredentialsFault", "INVALID_LOGIN_CREDENTIALS", FatalError, "NETSUITE_TOKEN_ID"),
        ("insufficientPermissionFault", "INSUFFICIENT_PERMISSION", FatalError, "role"),
        ("exceededUsageLimitFault", "SSS_USAGE_LIMIT_EXCEEDED", FatalError, "used up"),
        ("exceededConcurrentRequestLimitFault", "WS_REQUEST_BLOCKED", RetriableError, "3 tries"),
    ],
)
def test_lasting_trouble_names_itself(
    name: str, code: str, error: type[PlatformError], words: str, vendors: Vendors
) -> None:
    vendors.arm("netsuite", "fault", times=100, name=name, code=code)
    with reader(vendors) as opened, pytest.raises(error, match=words) as info:
        read(opened)
    assert info.value.place == "netsuite.transactions"


def test_fields_that_come_go_or_change_lose_no_record(vendors: Vendors) -> None:
    stream = NETSUITE.stream("customers")
    with reader(vendors) as opened:
        before = rows(read(opened, stream))
        vendors.arm(
            "netsuite", "change_schema",
            add={"brandNew": "x"}, drop=["companyName"], retype={"creditLimit": "plenty"},
        )  # fmt: skip
        after = rows(read(opened, stream))
        assert opened.undeclared["customers"] == {"brandNew"}
    assert after.keys() == before.keys()
    for key, row in after.items():
        assert row["company_name"] is None
        assert row["credit_limit"] == "plenty"
        assert row["custom_field_list"] == before[key]["custom_field_list"]


# -- settings --


def test_an_account_is_found_by_its_id() -> None:
    assert host_of("1234567_SB1") == "https://1234567-sb1.suitetalk.api.netsuite.com"


@pytest.mark.parametrize("account", ["1234567_SB1", "1234567-sb1", " 1234567_sb1 "])
def test_an_account_is_signed_as_the_vendor_spells_it(account: str, vendors: Vendors) -> None:
    with reader(vendors, account=account) as opened:
        assert rows(read(opened, NETSUITE.stream("currencies")))


@pytest.mark.parametrize("size", ["0", "4", "1001", "many"])
def test_a_page_size_that_the_vendor_refuses_is_named(size: str, vendors: Vendors) -> None:
    with pytest.raises(FatalError, match="NETSUITE_PAGE_SIZE"), reader(vendors, page_size=size):
        pass
