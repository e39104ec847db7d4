"""What is particular to Zuora as a source: exports, their jobs, deletes, and ZOQL beside them (X1–X4).

Issue of bad input: wrong partner, half a file, a lost file, failed and stuck jobs, lost locators,
fields that are gone, answers of 200 that mean no.
"""

# ruff: noqa: SIM117 the connection's block and the claim about it stay apart

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.clients.jobs import MemoryJobs, Poll
from meltano_assets.clients.policy import Transport
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources.records import read_csv_stream
from meltano_assets.sources.zuora import ZUORA, ZuoraReader, connect, tenant_time
from meltano_assets.streams import Batch, Bookmark, JobKey, ReadOptions, Stream, VendorJob
from meltano_assets_tests.clients.local_server import Answer, FakeClock, Request, serving
from meltano_assets_tests.sources.conftest import Vendors

ACCOUNTS = ZUORA.stream("accounts")
CONTACTS = ZUORA.stream("contacts")
QUICK = Poll(first_seconds=0.01, max_seconds=0.05, deadline_seconds=0.3)
Rows = dict[object, dict[str, object]]


class KeptJobs(MemoryJobs):
    """Remembers jobs as a warehouse does: what was read but not committed stays open."""

    def find(self, key: JobKey) -> VendorJob | None:
        job = self.noted.get((key.source, key.stream, key.kind, key.fingerprint))
        return job if job is not None and job.is_open else None


def read(
    reader: ZuoraReader,
    stream: Stream,
    bookmark: Bookmark | None = None,
    options: ReadOptions | None = None,
) -> list[Batch]:
    return list(reader.read(stream, bookmark, options or ReadOptions(), now=datetime.now(UTC)))


def rows(batches: list[Batch]) -> Rows:
    return {row["id"]: row for batch in batches for row in batch.records.to_pylist()}


@contextmanager
def opened(vendors: Vendors, **changes: str) -> Iterator[ZuoraReader]:
    settings = {**vendors.settings("zuora"), **changes}
    with connect(settings, poll=QUICK) as reader:
        yield reader


@pytest.fixture
def own_vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    """A company of the test's own, which may move in time."""
    folder = tmp_path_factory.mktemp("zuora")
    with serve_in_thread(state_dir=folder, seed=3, scale=0.05) as manifest:
        yield Vendors(manifest)


# -- ways of reading --


@pytest.mark.parametrize(
    "stream", [ACCOUNTS, CONTACTS, ZUORA.stream("invoices")], ids=lambda stream: stream.name
)
def test_exports_and_zoql_deliver_the_same_changes(stream: Stream, own_vendors: Vendors) -> None:
    with opened(own_vendors) as reader, opened(own_vendors, partner_id="") as other:
        first = read(reader, stream)
        bookmark = first[-1].bookmark
        own_vendors.advance(4)
        by_export = rows(read(reader, stream, bookmark))
        by_zoql = rows(read(other, stream, bookmark))
    live = {key: row for key, row in by_export.items() if row["_deleted_at"] is None}
    assert by_zoql == live != {}


def test_deletes_come_with_the_time_of_the_change(own_vendors: Vendors) -> None:
    with opened(own_vendors) as reader:
        before = rows(read(reader, CONTACTS))
        bookmark = read(reader, CONTACTS)[-1].bookmark
        own_vendors.advance(4)
        news = rows(read(reader, CONTACTS, bookmark))
        now = rows(read(reader, CONTACTS))
    gone = {key: row for key, row in news.items() if row["_deleted_at"] is not None}
    assert gone
    assert not set(gone) & set(now)
    assert all(row["_deleted_at"] == row["updated_date"] for row in gone.values())
    assert set(before) - set(now) <= set(gone)


def test_a_user_and_password_will_do(vendors: Vendors) -> None:
    with opened(vendors) as reader, opened(vendors, client_id="") as other:
        assert rows(read(reader, ACCOUNTS)) == rows(read(other, ACCOUNTS))
    with (
        opened(vendors, client_id="", password="wrong") as wrong,
        pytest.raises(FatalError, match=r"credentials were refused.*ZUORA_PASSWORD"),
    ):
        read(wrong, ACCOUNTS)
    with (
        pytest.raises(FatalError, match="ZUORA_CLIENT_ID with ZUORA_CLIENT_SECRET"),
        opened(vendors, client_id="", password=""),
    ):
        pass


def test_objects_that_exports_refuse_are_read_by_zoql(vendors: Vendors) -> None:
    with opened(vendors) as reader:
        wanted = rows(read(reader, ACCOUNTS))
        client = reader._client
        description = client.describe("Account")
        odd = {**description.exported, "nope": "Nope"}
        stream = ACCOUNTS.with_disposition("upsert")
        client._described["Account"] = type(description)(
            {**odd, "notes": "Nope"}, description.queried, description.joins
        )
        found = rows(read(reader, stream))
    assert {key: row["name"] for key, row in found.items()} == {
        key: row["name"] for key, row in wanted.items()
    }


def test_amounts_keep_every_digit(vendors: Vendors) -> None:
    with opened(vendors) as reader:
        batches = read(reader, ZUORA.stream("rate_plan_charges"))
    kinds = {batch.records.schema.field("mrr").type for batch in batches}
    assert all(pa.types.is_decimal(kind) and kind.scale == 9 for kind in kinds)


# -- jobs --


def test_a_job_is_taken_up_after_a_crash_and_not_ordered_again(vendors: Vendors) -> None:
    """Killed while it waits, and killed while it reads: one order in all."""
    settings = vendors.settings("zuora")
    jobs = KeptJobs()
    vendors.arm("zuora", "job_stuck", times=1000)
    with connect(settings, transport=Transport(jobs=jobs), poll=QUICK) as reader:
        with pytest.raises(RetriableError, match="still executing"):
            read(reader, ACCOUNTS)
    vendors.clear_faults()
    (waiting,) = jobs.noted.values()
    with connect(settings, transport=Transport(jobs=jobs), poll=QUICK) as reader:
        batches = reader.read(ACCOUNTS, None, ReadOptions(), now=datetime.now(UTC))
        next(batches)
        batches.close()  # type: ignore[attr-defined]
    with connect(settings, transport=Transport(jobs=jobs), poll=QUICK) as reader:
        found = rows(read(reader, ACCOUNTS))
    (done,) = jobs.noted.values()
    assert done.id == waiting.id
    assert len(found) > 7


@pytest.mark.parametrize(
    ("kind", "said"),
    [("job_error", "ended as error: The query could not"), ("job_aborted", "ended as aborted")],
)
def test_a_job_that_failed_ends_the_read(kind: str, said: str, vendors: Vendors) -> None:
    vendors.arm("zuora", kind)
    with opened(vendors) as reader:
        with pytest.raises(FatalError, match=said) as info:
            read(reader, ACCOUNTS)
        assert info.value.stream == "accounts"
        assert len(rows(read(reader, ACCOUNTS))) > 7


@pytest.mark.parametrize("kind", ["lose_job", "lose_file"])
def test_what_the_vendor_lost_is_ordered_once_more(kind: str, vendors: Vendors) -> None:
    with opened(vendors) as reader:
        wanted = rows(read(reader, ACCOUNTS))
    vendors.arm("zuora", kind)
    with opened(vendors) as reader:
        assert rows(read(reader, ACCOUNTS)) == wanted
    vendors.arm("zuora", kind, times=1000)
    with opened(vendors) as reader, pytest.raises(RetriableError, match="gone at the vendor"):
        read(reader, ACCOUNTS)


def test_half_a_file_is_no_file(vendors: Vendors) -> None:
    """A cut value reaches nobody, even where the cut looks like the file's end."""
    with opened(vendors) as reader:
        wanted = rows(read(reader, ACCOUNTS))
    vendors.arm("zuora", "cut_file")
    kept: list[Batch] = []
    with opened(vendors) as reader:
        with pytest.raises(RetriableError, match=r"cut off|Zuora counted"):
            kept.extend(reader.read(ACCOUNTS, None, ReadOptions(), now=datetime.now(UTC)))
        assert all(batch.bookmark is None for batch in kept)
        assert rows(kept).items() <= wanted.items()


def test_each_order_has_an_idempotency_key_of_its_own() -> None:
    """A lost answer is asked for again under the same key; a lost job is not ordered under it."""
    keys: list[str] = []
    described = (
        b"<object><fields>"
        + b"".join(
            b"<field><name>%s</name><contexts><context>export</context></contexts></field>" % name
            for name in (b"Id", b"UpdatedDate")
        )
        + b"</fields><related-objects/></object>"
    )

    def answer(request: Request) -> Answer:
        if request.path.startswith("/oauth"):
            return Answer(b'{"access_token": "t"}')
        if request.path.startswith("/v1/describe"):
            return Answer(described, content_type="application/xml")
        if request.method == "POST":
            keys.append(request.headers["Idempotency-Key"])
            return Answer(b'{"id": "job", "status": "submitted"}', 503 if len(keys) == 1 else 200)
        return Answer(b'{"message": "no such job"}', 404)

    with serving(answer) as server:
        settings = {"base_url": server.base_url, "client_id": "a", "client_secret": "b"}
        with connect(settings, transport=FakeClock().transport()) as reader:
            with pytest.raises(RetriableError, match="gone at the vendor"):
                read(reader, ACCOUNTS)
    assert keys[0] == keys[1] != keys[2]
    assert len(keys) == 3


# -- refusals --


def test_an_unknown_partner_is_named(own_vendors: Vendors) -> None:
    with opened(own_vendors, partner_id="nobody") as reader:
        bookmark = read(reader, ACCOUNTS)[-1].bookmark
        with pytest.raises(FatalError, match="Partner ID is not recognized"):
            read(reader, ACCOUNTS, bookmark)


def test_a_lost_locator_is_for_another_time(own_vendors: Vendors, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("meltano_assets.clients.zuora._ZOQL_ROWS", 3)
    with opened(own_vendors, partner_id="") as reader:
        bookmark = Bookmark("2020-01-01T00:00:00+00:00")
        whole = rows(read(reader, CONTACTS, bookmark))
        own_vendors.arm("zuora", "lose_locator")
        with pytest.raises(RetriableError, match="INVALID_QUERY_LOCATOR"):
            read(reader, CONTACTS, bookmark)
    assert len(whole) > 3


def test_a_field_that_is_gone_leaves_the_others(vendors: Vendors) -> None:
    with opened(vendors) as reader:
        wanted = rows(read(reader, ACCOUNTS))
    vendors.arm("zuora", "change_schema", match="Account", drop=["Notes"])
    with opened(vendors) as reader:
        found = rows(read(reader, ACCOUNTS))
    assert found == {
        key: {name: value for name, value in row.items() if name != "notes"}
        for key, row in wanted.items()
    }
    vendors.clear_faults()
    vendors.arm("zuora", "change_schema", match="Account", drop=["UpdatedDate"])
    with opened(vendors) as reader, pytest.raises(FatalError, match="offers no updated_date"):
        read(reader, ACCOUNTS)


def test_an_unknown_time_zone_is_named(vendors: Vendors) -> None:
    with pytest.raises(FatalError, match="ZUORA_TIME_ZONE"), opened(vendors, time_zone="Mars"):
        pass


@pytest.mark.parametrize(
    "body",
    [
        b"<object><fields>",
        b'<!DOCTYPE object [<!ENTITY a "b">]><object><name>&a;</name></object>',
        b'{"success": false, "reasons": [{"code": 53000040, "message": "No."}]}',
    ],
    ids=["cut", "entities", "refusal with 200"],
)
def test_answers_that_are_none_end_in_a_clear_error(body: bytes) -> None:
    def answer(request: Request) -> Answer:
        if request.path == "/oauth/token":
            return Answer(b'{"access_token": "t", "token_type": "bearer"}')
        return Answer(body, content_type="application/xml")

    with serving(answer) as server:
        settings = {"base_url": server.base_url, "client_id": "a", "client_secret": "b"}
        with connect(settings, transport=FakeClock().transport()) as reader:
            with pytest.raises((FatalError, RetriableError), match=r"cut off|53000040"):
                read(reader, ACCOUNTS)


# -- times and files --


@given(
    moment=st.datetimes(
        datetime(2015, 1, 1),  # noqa: DTZ001 hypothesis adds the zone
        datetime(2035, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    zone=st.sampled_from(["America/Los_Angeles", "Europe/Amsterdam", "UTC", "Australia/Lord_Howe"]),
)
def test_a_tenants_time_is_never_read_as_a_later_one(moment: datetime, zone: str) -> None:
    """Whichever of two hours Zuora takes the text for, nothing is left out (X3)."""
    text = tenant_time(moment, ZoneInfo(zone))
    assert text
    local = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007
    for fold in (0, 1):
        meant = local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)
        assert meant <= moment
        assert moment - meant < timedelta(hours=3, minutes=1)


@given(
    cells=st.lists(
        st.tuples(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r")),
                  st.text(alphabet='ab",\n é')),
        min_size=1, max_size=20,
    ),
    size=st.integers(1, 50),
)  # fmt: skip
def test_files_read_in_pieces_are_what_was_written(cells: list[tuple[str, str]], size: int) -> None:
    """Quotes, commas, newlines and any alphabet, however the bytes are cut."""
    lines = ["X.Id,X.Name"]
    for place, row in enumerate(cells):
        one, other = (text.replace('"', '""') for text in row)
        lines.append(f'"{place}{one}","{other}"')
    body = ("\n".join(lines) + "\n").encode()
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    found = [
        row
        for piece in read_csv_stream(chunks, null_text="")
        for row in zip(*(array.to_pylist() for array in piece.values()), strict=True)
    ]
    assert found == [(f"{i}{one}", other or None) for i, (one, other) in enumerate(cells)]


def test_reading_a_file_holds_no_more_than_its_pieces() -> None:
    line = b"1," + b"x" * 1000 + b"\n"
    sent = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"id,text\n"
        for _ in range(100):
            yield line * 1000
        sent.set()

    pieces = read_csv_stream(chunks())
    assert next(pieces)["id"].type == pa.string()
    assert not sent.is_set()
    assert sum(len(piece["id"]) for piece in pieces) < 100_000
    assert sent.is_set()
