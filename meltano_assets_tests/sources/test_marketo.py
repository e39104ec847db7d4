"""What is particular to Marketo as a source: X1, X3, X4, X8, L10, and issue-by-issue bad input."""
# ruff: noqa: SIM117 the connection's block and the claim about it stay apart

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.clients.jobs import MemoryJobs
from meltano_assets.clients.policy import Transport
from meltano_assets.errors import (
    CredentialsError,
    FatalError,
    PlatformError,
    QuotaError,
    RetriableError,
)
from meltano_assets.extraction import open_source
from meltano_assets.sources.marketo import (
    LONGEST_WINDOW,
    MARKETO,
    MarketoReader,
    _spans,
    connect,
)
from meltano_assets.sources.marketo_streams import ACTIVITIES, LEADS, PROGRAM_MEMBERS, PROGRAMS
from meltano_assets.streams import Batch, Column, JobKey, ReadOptions, Stream, VendorJob
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.clients.local_server import FakeClock
from meltano_assets_tests.sources.conftest import Vendors

Rows = dict[object, dict[str, Any]]


class KilledError(BaseException):
    """The process dies here."""


@dataclass
class Noted(MemoryJobs):
    """A job log that several processes share, as the warehouse's does; may die after a note."""

    orders: list[str] = field(default_factory=list)
    die_at: str = ""
    kept: dict[str, VendorJob] = field(default_factory=dict)

    def find(self, key: JobKey) -> VendorJob | None:
        job = self.kept.get(key.fingerprint)
        return job if job is not None and job.is_open else None

    def note(self, key: JobKey, job: VendorJob) -> None:
        if job.state == "ordered":
            self.orders.append(job.id)
        self.kept[key.fingerprint] = job
        if job.state == self.die_at:
            self.die_at = ""
            raise KilledError


def now() -> datetime:
    return datetime.now(UTC)


def window_start(of: datetime) -> datetime:
    """The start of the window that a moment lies in."""
    return of - (of - datetime(2000, 1, 1, tzinfo=UTC)) % LONGEST_WINDOW


#: A short past is enough where the number of windows does not matter; it begins with a whole window,
#: since a part of one may hold no lead at all, whatever today is.
RECENT = ReadOptions(start=window_start(now() - timedelta(days=95)), end=now() - timedelta(days=31))


@contextmanager
def reading(
    vendors: Vendors, transport: Transport | None = None, **settings: str
) -> Iterator[MarketoReader]:
    known = {**vendors.settings("marketo"), **settings}
    with connect(known, transport=transport or FakeClock().transport()) as reader:
        yield reader


def read(
    vendors: Vendors,
    stream: Stream = LEADS,
    options: ReadOptions = RECENT,
    transport: Transport | None = None,
    **settings: str,
) -> Rows:
    with reading(vendors, transport, **settings) as reader:
        return rows(stream, list(reader.read(stream, None, options, now=now())))


def rows(stream: Stream, batches: list[Batch]) -> Rows:
    return {
        tuple(row[name] for name in stream.primary_key): row
        for batch in batches
        for row in batch.records.to_pylist()
    }


def truths(vendors: Vendors) -> dict[str, Any]:
    address = f"{vendors.manifest['control']['base_url']}/truths"
    found: dict[str, Any] = requests.get(address, timeout=60).json()["marketing"]
    return found


# -- what is read --


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 4_000_000))
def test_windows_have_no_gap_and_no_overlap_and_are_never_too_long(
    start: datetime, minutes: int
) -> None:
    """X3: and a later start cuts at the same places."""
    start = start.replace(year=2010 + start.year % 20, microsecond=0, day=min(start.day, 28))
    end = start + timedelta(minutes=minutes)
    spans = list(_spans(start, end))
    assert all(last - first <= LONGEST_WINDOW for first, last in spans)
    assert [first for first, _last in spans[1:]] == [last for _first, last in spans[:-1]]
    assert (spans[0][0], spans[-1][1]) == (start, end) if minutes else not spans
    if len(spans) > 1:
        later = list(_spans(start + timedelta(seconds=1), end))
        assert later[-len(spans[1:]) :] == spans[1:]


def test_everything_the_subscription_has_is_read(vendors: Vendors) -> None:
    known = truths(vendors)
    leads = read(vendors, options=ReadOptions())
    live = [row for row in leads.values() if row.get("_deleted_at") is None]
    assert len(live) == known["leads"]["live"]
    assert len(leads) - len(live) == known["leads"]["gone"]
    assert sum(row["unsubscribed"] for row in live) == known["leads"]["unsubscribed"]
    programs = read(vendors, PROGRAMS)
    spend = sum(cost["cost"] for row in programs.values() for cost in json.loads(row["costs"]))
    assert spend == known["program_spend"]["total"]
    assert all(row["updated_at"].tzinfo for row in programs.values())
    members = read(vendors, PROGRAM_MEMBERS, ReadOptions())
    assert len(members) == known["program_members"]["total"]
    reached = sum(row["reached_success"] for row in members.values())
    assert reached == known["program_members"]["reached_success"]


def test_a_day_of_activities_is_that_day_exactly(vendors: Vendors) -> None:
    """A2: days put together are the whole, each read on its own."""
    first = (now() - timedelta(days=50)).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [first + timedelta(days=n) for n in range(4)]
    whole = read(vendors, ACTIVITIES, ReadOptions(start=days[0], end=days[3]))
    parts = [
        read(vendors, ACTIVITIES, ReadOptions(start=start, end=start + timedelta(days=1)))
        for start in days[:3]
    ]
    assert sum(map(len, parts)) == len(whole) > 0
    assert {**parts[0], **parts[1], **parts[2]} == whole
    for start, part in zip(days, parts, strict=False):
        assert all(
            start <= row["activity_date"] < start + timedelta(days=1) for row in part.values()
        )


def test_a_described_field_that_nobody_declared_can_be_chosen(vendors: Vendors) -> None:
    """X5: undeclared fields are reported with their types; chosen ones come typed."""
    chosen = replace(
        LEADS,
        columns=(*LEADS.columns, Column("seat_budget__c", "numeric", field="Seat_Budget__c")),
    )
    with reading(vendors) as reader:
        batches = list(reader.read(chosen, None, RECENT, now=now()))
        assert "GDPR_Consent__c" in reader.undeclared["leads"]
        assert reader.undeclared_types["leads"]["GDPR_Consent__c"] == "boolean"
    found = rows(chosen, batches)
    assert {pa.types.is_decimal(b.records.schema.field("seat_budget__c").type) for b in batches}
    assert any(row["seat_budget__c"] for row in found.values())


def test_merged_leads_are_deleted_ones(vendors: Vendors) -> None:
    """X4."""
    leads = read(vendors, options=ReadOptions())
    gone = {key for key, row in leads.items() if row.get("_deleted_at")}
    merges = read(vendors, ACTIVITIES, ReadOptions())
    merged = {
        int(number)
        for row in merges.values()
        if row["activity_type_id"] == 32
        for number in re.findall(r"\d+", row["attributes"].split("]")[0])
    }
    assert merged
    assert {(number,) for number in merged} <= gone


# -- jobs --


@pytest.mark.parametrize("state", ["ordered", "ready", "read"])
def test_a_job_is_taken_up_wherever_the_process_died(vendors: Vendors, state: str) -> None:
    """L10: killed after it was ordered, awaited or read, no window is ordered twice."""
    expected = read(vendors)
    jobs = Noted(die_at=state)
    with pytest.raises(KilledError):
        read(vendors, transport=FakeClock().transport(jobs=jobs))
    before = len(jobs.orders)
    assert before >= 1
    assert read(vendors, transport=FakeClock().transport(jobs=jobs)) == expected
    windows = {job.id for job in jobs.kept.values()}
    assert len(windows) == len(set(jobs.orders)) == len(jobs.kept)


def test_the_next_windows_are_ordered_while_one_is_read(vendors: Vendors) -> None:
    jobs = Noted()
    with reading(vendors, FakeClock().transport(jobs=jobs)) as reader:
        batches = reader.read(LEADS, None, RECENT, now=now())
        while not jobs.orders:
            next(batches)
        assert len(jobs.orders) == 3
        batches.close()  # type: ignore[attr-defined]


def test_a_limited_read_orders_one_window(vendors: Vendors) -> None:
    jobs = Noted()
    few = replace(RECENT, limit=5)
    assert len(read(vendors, options=few, transport=FakeClock().transport(jobs=jobs))) == 5
    assert len(jobs.orders) == 1


def test_a_failed_job_ends_the_read_and_is_not_taken_up(vendors: Vendors) -> None:
    jobs = Noted()
    vendors.arm("marketo", "job_failed")
    with pytest.raises(FatalError, match="ended as Failed"):
        read(vendors, transport=FakeClock().transport(jobs=jobs))
    assert read(vendors, transport=FakeClock().transport(jobs=jobs)) == read(vendors)


def test_a_job_that_is_never_processed_is_not_awaited_for_ever(vendors: Vendors) -> None:
    vendors.arm("marketo", "job_stuck", times=10_000)
    clock = FakeClock()
    with pytest.raises(RetriableError, match="still Queued after"):
        read(vendors, transport=clock.transport())
    assert max(clock.slept) == 60
    vendors.clear_faults()
    cancel_all(vendors)


def cancel_all(vendors: Vendors) -> None:
    with reading(vendors) as reader:
        http = reader._client.http
        for job in reader._client.results("/bulk/v1/leads/export.json", {"status": "Queued"}):
            path = f"/bulk/v1/leads/export/{job['exportId']}/cancel.json"
            http.fetch("POST", path, parse=lambda response: response, is_repeatable=True)


def test_a_full_queue_is_waited_for(vendors: Vendors) -> None:
    vendors.arm("marketo", "queue_full", times=4)
    assert read(vendors) == read(vendors)


# -- what goes wrong with files --


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("file_missing", {}),
        ("file_error", {}),
        ("truncate", {"match": "/file.json", "times": 2}),
        ("drop", {"match": "/file.json"}),
        ("drip", {"match": "/file.json", "seconds": 0.2}),
        ("slow", {"match": "/file.json", "seconds": 0.1}),
        ("server_error", {"match": "/status.json", "code": "611"}),
        ("server_error", {"match": "/create.json", "code": "604"}),
        ("server_error", {"match": "/describe.json", "code": "713"}),
        ("too_many_at_once", {}),
        ("garbage", {"match": "/status.json"}),
        ("html", {"match": "/enqueue.json"}),
    ],
)
def test_passing_trouble_costs_no_record(
    vendors: Vendors, kind: str, options: dict[str, Any]
) -> None:
    """X8: a lost file is ordered anew, a broken one resumed, transient codes repeated."""
    expected = read(vendors)
    vendors.arm("marketo", kind, **options)
    assert read(vendors) == expected


@pytest.mark.parametrize("kind", ["cut_file", "wrong_checksum"])
def test_a_file_that_is_not_whole_is_refused_and_the_next_read_heals(
    vendors: Vendors, kind: str
) -> None:
    expected = read(vendors)
    vendors.arm("marketo", kind)
    kept: list[Batch] = []
    with reading(vendors) as reader:
        with pytest.raises(RetriableError) as error:
            kept.extend(reader.read(LEADS, None, RECENT, now=now()))
    assert "cut off" in str(error.value)
    assert {**rows(LEADS, kept), **read(vendors)} == expected


def test_a_download_goes_on_where_it_broke_off(vendors: Vendors) -> None:
    """The second request asks for the rest by range, and the parts fit together."""
    expected = read(vendors, ACTIVITIES)
    vendors.arm("marketo", "truncate", match="/activities/export", times=3, skip=4)
    assert read(vendors, ACTIVITIES) == expected


# -- what the vendor refuses --


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("quota", {"times": 1000}, "607"),
        ("export_quota", {"times": 1000}, "daily quota"),
    ],
)
def test_a_used_up_quota_stops_at_once_and_says_when_to_go_on(
    vendors: Vendors, kind: str, options: dict[str, Any], words: str
) -> None:
    """X7."""
    clock = FakeClock()
    vendors.arm("marketo", kind, **options)
    with pytest.raises(QuotaError, match=words) as error:
        read(vendors, transport=clock.transport())
    assert "reset" in str(error.value.hint)
    assert sum(clock.slept) < 5


def test_a_quota_that_ends_in_the_middle_keeps_what_was_read(vendors: Vendors) -> None:
    vendors.arm("marketo", "export_quota", times=1000, skip=8)
    kept: list[Batch] = []
    with reading(vendors) as reader:
        with pytest.raises(QuotaError):
            kept.extend(reader.read(LEADS, None, ReadOptions(), now=now()))
    assert any(batch.bookmark for batch in kept)


def test_a_subscription_without_the_filter_is_read_by_creation(vendors: Vendors) -> None:
    """Changed leads are found among all that were ever created."""
    options = replace(RECENT, start=now() - timedelta(days=40))
    expected = read(vendors, options=options)
    vendors.arm("marketo", "no_updated_at", times=10_000)
    assert read(vendors, options=options) == expected
    members = read(vendors, PROGRAM_MEMBERS, options)
    vendors.clear_faults()
    assert read(vendors, PROGRAM_MEMBERS, options) == members


def test_wrong_credentials_are_asked_for_once(vendors: Vendors) -> None:
    with reading(vendors, client_secret="canary-wrong") as reader:
        with pytest.raises(FatalError, match="MARKETO_CLIENT_SECRET") as error:
            list(reader.read(LEADS, None, RECENT, now=now()))
        assert reader.requests == 1
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("code", ["606", "611", "615", "713"])
def test_a_login_that_answers_with_passing_trouble_is_repeated(vendors: Vendors, code: str) -> None:
    """Marketo may say no inside an answer of status 200, also where tokens are given."""
    expected = read(vendors)
    vendors.arm("marketo", "server_error", match="/identity/", code=code)
    assert read(vendors, transport=FakeClock().transport()) == expected


@pytest.mark.parametrize(
    ("code", "kind"), [("607", QuotaError), ("601", CredentialsError), ("603", FatalError)]
)
def test_a_login_that_is_refused_for_good_is_asked_for_once(
    vendors: Vendors, code: str, kind: type[PlatformError]
) -> None:
    vendors.arm("marketo", "server_error", match="/identity/", code=code)
    with reading(vendors) as reader:
        with pytest.raises(kind, match=code):
            list(reader.read(LEADS, None, RECENT, now=now()))
        assert reader.requests == 1


def test_a_token_that_is_refused_again_and_again_ends(vendors: Vendors) -> None:
    vendors.arm("marketo", "expire_session", times=1000)
    with pytest.raises(PlatformError, match="credentials were refused"):
        read(vendors)


def test_a_repeated_page_token_ends_in_a_clear_error(vendors: Vendors) -> None:
    vendors.arm("marketo", "repeat_page", times=1000)
    with pytest.raises(RetriableError, match="repeats the same page"):
        read(vendors, PROGRAMS)
    with pytest.raises(RetriableError, match="repeats the same page"):
        read(vendors, options=ReadOptions())


# -- a schema that changes --


def test_a_field_that_disappears_costs_no_record(vendors: Vendors) -> None:
    expected = read(vendors)
    vendors.arm("marketo", "change_schema", drop=["title", "leadSource"])
    found = read(vendors)
    gone = {"title", "lead_source"}
    assert set(found) == set(expected)
    for key, row in found.items():
        kept = {name: value for name, value in expected[key].items() if name not in gone}
        assert {name: value for name, value in row.items() if name not in gone} == kept
        assert row.get("_deleted_at") or not gone & set(row)


def test_a_key_that_disappears_is_told(vendors: Vendors) -> None:
    vendors.arm("marketo", "change_schema", drop=["updatedAt"])
    with pytest.raises(FatalError, match="updated_at"):
        read(vendors)


def test_a_field_that_changes_its_type_comes_as_text(vendors: Vendors) -> None:
    expected = read(vendors)
    vendors.arm("marketo", "change_schema", retype={"leadScore": "hot, very"})
    found = read(vendors)
    live = [key for key, row in expected.items() if not row.get("_deleted_at")]
    assert {found[key]["lead_score"] for key in live} == {"hot, very"}
    assert [found[key]["email"] for key in live] == [expected[key]["email"] for key in live]


# -- settings --


def test_the_address_may_be_what_marketos_pages_show(vendors: Vendors) -> None:
    base = vendors.settings("marketo")["base_url"]
    assert read(vendors, PROGRAMS, base_url=f"{base}/rest") == read(vendors, PROGRAMS)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("start_date", "soon", "MARKETO_START_DATE"),
        ("calls_per_20_seconds", "many", "MARKETO_CALLS_PER_20_SECONDS"),
    ],
)
def test_settings_that_are_wrong_are_named(
    vendors: Vendors, setting: str, value: str, words: str
) -> None:
    with pytest.raises(FatalError, match=words), reading(vendors, **{setting: value}):
        pass


def test_a_start_date_is_where_the_first_read_begins(vendors: Vendors) -> None:
    since = (now() - timedelta(days=60)).replace(hour=0, minute=0, second=0, microsecond=0)
    found = read(vendors, options=ReadOptions(), start_date=since.date().isoformat())
    everything = read(vendors, options=ReadOptions())
    assert found == {key: row for key, row in everything.items() if row["updated_at"] >= since}


# -- stored --


def test_leads_are_loaded_and_deletes_keep_the_last_values(
    vendors: Vendors, warehouse: Warehouse
) -> None:
    """X4, L2, L10: twice, with a day between, by the jobs of a real job log."""
    settings = vendors.settings("marketo")
    with open_source(MARKETO, settings, warehouse=warehouse) as source:
        first = load(warehouse, LEADS, source.read(LEADS, None, ReadOptions(), now=now()))
        source.settle(LEADS)
    assert first.is_balanced
    vendors.advance(1)
    with open_source(MARKETO, settings, warehouse=warehouse) as source:
        second = load(
            warehouse, LEADS, source.read(LEADS, first.bookmark, ReadOptions(), now=now())
        )
        source.settle(LEADS)
    assert second.is_balanced
    assert second.deleted > 0
    with warehouse.connect() as connection:
        known = truths(vendors)["leads"]
        count = connection.execute(
            "select count(*) filter (where _deleted_at is null),"
            " count(*) filter (where _deleted_at > %s and email is not null) from marketo.leads",
            [first.bookmark.as_time() if first.bookmark else None],
        ).fetchone()
        states = connection.execute("select distinct state from meltano.job_log").fetchall()
    assert count is not None
    assert count[0] == known["live"]
    assert count[1] > 0
    assert states == [("finished",)]
