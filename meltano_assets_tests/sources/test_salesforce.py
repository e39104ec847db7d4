"""What is particular to Salesforce as a source."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from meltano_assets.clients.salesforce import Poll, SalesforceClient
from meltano_assets.clients.salesforce_chunks import whole_range
from meltano_assets.errors import FatalError
from meltano_assets.extraction import open_source
from meltano_assets.sources.base import Source
from meltano_assets.sources.naming import column_name
from meltano_assets.sources.rules import SourceRules, load_rules, with_objects
from meltano_assets.sources.salesforce import (
    SALESFORCE,
    SalesforceReader,
    connect,
    object_stream,
)
from meltano_assets.sources.zendesk import ZENDESK
from meltano_assets.streams import Batch, ReadOptions, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.state import read_bookmark
from meltano_assets_tests.clients.local_server import FakeClock
from meltano_assets_tests.sources.conftest import Vendors

ACCOUNTS = SALESFORCE.stream("accounts")
QUICK = Poll(first_seconds=0.01, max_seconds=0.05)


def read(
    settings: dict[str, str], stream: Stream, *, bulk_threshold: int = 10**9
) -> tuple[list[Batch], SalesforceReader]:
    with connect(settings, poll=QUICK, bulk_threshold=bulk_threshold) as reader:
        batches = list(reader.read(stream, None, ReadOptions(), now=datetime.now(UTC)))
        return batches, reader


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("Id", "id"),
        ("AccountId", "account_id"),
        ("SystemModstamp", "system_modstamp"),
        ("NumberOfEmployees", "number_of_employees"),
        ("CurrencyIsoCode", "currency_iso_code"),
        ("SQL_Source__c", "sql_source__c"),
        ("Incremental_ACV__c", "incremental_acv__c"),
        ("GitLab_Version__c", "gitlab_version__c"),
        ("MQL_Date__c", "mql_date__c"),
    ],
)
def test_columns_are_named_in_snake_case(field: str, name: str) -> None:
    assert column_name(field) == name


@pytest.mark.parametrize("stream", SALESFORCE.streams, ids=lambda stream: stream.name)
def test_bulk_and_rest_deliver_the_same_rows(stream: Stream, vendors: Vendors) -> None:
    settings = vendors.settings("salesforce")
    by_rest, _ = read(settings, stream)
    by_bulk, _ = read(settings, stream, bulk_threshold=1)
    one = pa.Table.from_batches([batch.records for batch in by_rest]).sort_by("id")
    other = pa.Table.from_batches([batch.records for batch in by_bulk]).sort_by("id")
    assert one.schema.names == other.schema.names
    assert one.to_pylist() == other.to_pylist()
    assert by_rest[-1].bookmark == by_bulk[-1].bookmark
    assert all(batch.bookmark is None for batch in by_bulk[:-1])


def test_deleted_records_come_with_the_moment_of_their_deletion(vendors: Vendors) -> None:
    batches, _reader = read(vendors.settings("salesforce"), SALESFORCE.stream("leads"))
    rows = [row for batch in batches for row in batch.records.to_pylist()]
    deleted = [row for row in rows if row["is_deleted"]]
    assert deleted
    assert all(row["_deleted_at"] == row["system_modstamp"] for row in deleted)
    assert all(row["_deleted_at"] is None for row in rows if not row["is_deleted"])


def test_a_field_that_disappears_is_left_out_and_stops_nothing(vendors: Vendors) -> None:
    vendors.arm("salesforce", "missing_field", field="Account.Industry")
    batches, _ = read(vendors.settings("salesforce"), ACCOUNTS)
    assert "industry" not in batches[0].records.schema.names
    assert batches[0].records.num_rows > 0


def test_a_key_that_may_not_be_seen_is_fatal(vendors: Vendors) -> None:
    vendors.arm("salesforce", "missing_field", field="Account.SystemModstamp")
    with pytest.raises(FatalError, match=r"salesforce\.accounts: Account has no system_modstamp"):
        read(vendors.settings("salesforce"), ACCOUNTS)


def test_an_object_that_is_not_there_is_fatal_and_says_so(vendors: Vendors) -> None:
    nowhere = replace(ACCOUNTS, options={"object": "Nonsense__c"})
    with pytest.raises(FatalError, match=r"salesforce\.accounts: .*no object Nonsense__c"):
        read(vendors.settings("salesforce"), nowhere)


def test_fields_that_nobody_declared_are_told_and_not_loaded(vendors: Vendors) -> None:
    batches, reader = read(vendors.settings("salesforce"), ACCOUNTS)
    assert "CleanStatus" in reader.undeclared["accounts"]
    assert "Industry" not in reader.undeclared["accounts"]
    assert "clean_status" not in batches[0].records.schema.names


def test_a_user_with_a_password_reads_the_same(vendors: Vendors) -> None:
    settings = vendors.settings("salesforce")
    by_app, _ = read({k: v for k, v in settings.items() if k != "password"}, ACCOUNTS)
    by_user, _ = read({k: v for k, v in settings.items() if k != "client_id"}, ACCOUNTS)
    assert [batch.records for batch in by_app] == [batch.records for batch in by_user]


def test_few_requests_are_spent(vendors: Vendors) -> None:
    _, reader = read(vendors.settings("salesforce"), ACCOUNTS)
    assert reader.requests == 3  # login, describe, one page


def test_a_session_may_end_between_pages(vendors: Vendors) -> None:
    settings = vendors.settings("salesforce")
    stream = SALESFORCE.stream("leads")
    everything, _ = read(settings, stream)
    with SalesforceClient(settings, http=FakeClock().transport()) as client:
        soql = "SELECT Id FROM Lead"
        pages = client.query_pages(
            soql, include_deleted=True, page_size=200, parse=lambda response: response.json()
        )
        seen = [record["Id"] for record in next(pages)["records"]]
        vendors.arm("salesforce", "expire_session")
        seen += [record["Id"] for page in pages for record in page["records"]]
    assert len(set(seen)) == sum(batch.records.num_rows for batch in everything)


def test_loading_twice_writes_nothing_the_second_time(
    vendors: Vendors, warehouse: Warehouse
) -> None:
    settings = vendors.settings("salesforce")
    with connect(settings) as reader:
        now = datetime.now(UTC)
        first = load(warehouse, ACCOUNTS, reader.read(ACCOUNTS, None, ReadOptions(), now=now))
        assert first.inserted == first.read > 0
        assert first.quarantined == 0
        bookmark = read_bookmark(warehouse, "salesforce", "accounts")
        assert bookmark
        again = load(warehouse, ACCOUNTS, reader.read(ACCOUNTS, bookmark, ReadOptions(), now=now))
        assert (again.inserted, again.updated) == (0, 0)
        with warehouse.connect() as connection:
            row = connection.execute(
                "select count(*) filter (where _deleted_at is null) from salesforce.accounts"
            ).fetchone()
        assert row == (reader.count(ACCOUNTS),)


# -- objects by name --

OBJECTS = """
salesforce:
  personal: drop
  objects:
    - Case
    - {object: Contact, stream: people}
    - {object: Organization, stream: organization}
  streams:
    people:
      select: [first_name, email, title, mailing_street]
      columns: {title: pseudonymize}
"""


def configured(tmp_path: Path, text: str = OBJECTS) -> tuple[Source, SourceRules]:
    file = tmp_path / "streams.yml"
    file.write_text(text)
    [source] = with_objects([SALESFORCE], file)
    return source, load_rules([source], file)["salesforce"]


def test_any_object_is_read_by_its_name_with_all_its_fields(
    vendors: Vendors, warehouse: Warehouse, tmp_path: Path
) -> None:
    source, rules = configured(tmp_path)
    stream = source.stream("organization")
    settings = vendors.settings("salesforce")
    with open_source(source, settings, warehouse=warehouse, rules=rules, is_sandbox=True) as opened:
        chosen = opened.selected(stream).load
        outcome = load(
            warehouse, chosen, opened.read(stream, None, ReadOptions(), now=datetime.now(UTC))
        )
    assert outcome.inserted == 1
    types = {column.name: column.type for column in chosen.columns}
    assert types["is_sandbox"] == "boolean"
    assert types["system_modstamp"] == "timestamptz"
    with warehouse.connect() as connection:
        row = connection.execute("select name is not null from salesforce.organization").fetchone()
    assert row == (True,)


def test_rules_hold_for_fields_that_only_the_organisation_knows(
    vendors: Vendors,
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """X5: personal fields of an object named by a user are dropped, the rest is not even asked for."""
    monkeypatch.setenv("MELTANO_PSEUDONYM_KEYS", "k1:a-secret-of-chance-1")
    source, rules = configured(tmp_path)
    stream = source.stream("people")
    settings = vendors.settings("salesforce")
    with open_source(source, settings, warehouse=warehouse, rules=rules, is_sandbox=True) as opened:
        batches = opened.read(stream, None, ReadOptions(), now=datetime.now(UTC))
        rows = [row for batch in batches for row in batch.records.to_pylist()]
    filled = {name for row in rows for name, value in row.items() if value is not None}
    assert filled <= {
        "id",
        "system_modstamp",
        "is_deleted",
        "title",
        "mailing_street",
        "_deleted_at",
    }
    assert all(row["title"] is None or row["title"].startswith("~k1~") for row in rows)
    assert any(row["title"] for row in rows)
    assert all(row["email"] is None and row["first_name"] is None for row in rows)


def test_an_object_without_records_and_one_without_an_object(
    vendors: Vendors, tmp_path: Path
) -> None:
    source, _ = configured(tmp_path)
    batches, _ = read(vendors.settings("salesforce"), source.stream("case"))
    assert sum(batch.records.num_rows for batch in batches) == 0
    nowhere = object_stream({"object": "zqu__Nothing__c"})
    with (
        connect(vendors.settings("salesforce")) as reader,
        pytest.raises(FatalError, match="no object zqu__Nothing__c"),
    ):
        reader.columns(nowhere)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("salesforce: {objects: [Bad name]}", "no API name"),
        ("salesforce: {objects: [{object: Lead, stream: leads}]}", "leads already"),
        ("salesforce: {objects: Lead}", "a list"),
        ("zendesk: {objects: [tickets]}", "takes none by name"),
    ],
)
def test_an_object_that_cannot_be_meant_is_named(text: str, names: str, tmp_path: Path) -> None:
    file = tmp_path / "streams.yml"
    file.write_text(text)
    with pytest.raises(FatalError, match=names):
        with_objects([SALESFORCE, ZENDESK], file)


def test_a_query_too_long_for_an_address_goes_by_bulk(
    vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = vendors.settings("salesforce")
    by_rest, _ = read(settings, ACCOUNTS)
    monkeypatch.setattr("meltano_assets.sources.salesforce._LONGEST_QUERY", 100)
    by_bulk, _ = read(settings, ACCOUNTS)
    rows = [
        pa.Table.from_batches([batch.records for batch in batches]).sort_by("id").to_pylist()
        for batches in (by_rest, by_bulk)
    ]
    assert rows[0] == rows[1]


# -- a job outlives its process --


def test_a_bulk_job_is_taken_up_after_a_crash_and_closed_by_the_commit(
    vendors: Vendors, warehouse: Warehouse
) -> None:
    """X1, L10: killed while the result is read; the next run orders nothing."""
    settings = vendors.settings("salesforce")
    source = replace(SALESFORCE, connect=partial(connect, poll=QUICK, bulk_threshold=1))

    def jobs() -> list[tuple[str, str]]:
        with warehouse.connect() as connection:
            return connection.execute("select job_id, state from meltano.job_log").fetchall()

    with open_source(source, settings, warehouse=warehouse, is_sandbox=True) as opened:
        next(opened.read(ACCOUNTS, None, ReadOptions(), now=datetime.now(UTC)))
    [(job, state)] = jobs()
    assert state in {"ready", "read"}
    with open_source(source, settings, warehouse=warehouse, is_sandbox=True) as opened:
        batches = opened.read(ACCOUNTS, None, ReadOptions(), now=datetime.now(UTC))
        outcome = load(warehouse, ACCOUNTS, batches)
        assert jobs() == [(job, "read")]
        opened.settle(ACCOUNTS)
    assert jobs() == [(job, "finished")]
    assert outcome.inserted > 0


def test_a_field_is_priced_and_read_alone(vendors: Vendors) -> None:
    """X6: Id and the field, only where it has a value, by query or by bulk."""
    settings = vendors.settings("salesforce")
    column = ACCOUNTS.column("industry")
    everything, _ = read(settings, ACCOUNTS)
    wanted = {
        row["id"]: row["industry"]
        for batch in everything
        for row in batch.records.to_pylist()
        if row["industry"] is not None and not row["is_deleted"]
    }
    for threshold, way in ((10**9, "by query"), (1, "by bulk")):
        with connect(settings, poll=QUICK, bulk_threshold=threshold) as reader:
            cost = reader.field_cost(ACCOUNTS, column)
            assert cost.records == len(wanted)
            assert cost.calls
            assert way in cost.how
            before = reader.requests
            batches = list(reader.read_field(ACCOUNTS, column, now=datetime.now(UTC)))
            assert reader.requests - before <= cost.calls + 2
        rows = [row for batch in batches for row in batch.records.to_pylist()]
        assert {row["id"]: row["industry"] for row in rows} == wanted


# -- queries that take too long --


@pytest.mark.parametrize("bulk_threshold", [10**9, 30], ids=["rest", "bulk"])
def test_a_query_that_takes_too_long_is_cut_into_ranges_of_ids(
    vendors: Vendors, bulk_threshold: int
) -> None:
    """X8: nothing is lost or read twice, and the bookmark moves behind the last range."""
    settings = vendors.settings("salesforce")
    members = SALESFORCE.stream("campaign_members")
    calm, _ = read(settings, members)
    vendors.arm("salesforce", "query_timeout", rows=250, object="CampaignMember")
    cut, reader = read(settings, members, bulk_threshold=bulk_threshold)

    def ids(batches: list[Batch]) -> list[str]:
        return sorted(str(key) for batch in batches for key in batch.records.column("id"))

    assert ids(cut) == ids(calm)
    assert len(ids(cut)) > 40
    assert cut[-1].bookmark == calm[-1].bookmark
    assert all(batch.bookmark is None for batch in cut[:-1])
    assert reader.requests > 4


def test_ranges_of_a_read_that_was_killed_find_their_bulk_jobs_again(
    vendors: Vendors, warehouse: Warehouse
) -> None:
    members = SALESFORCE.stream("campaign_members")
    settings = vendors.settings("salesforce")
    source = replace(SALESFORCE, connect=partial(connect, poll=QUICK, bulk_threshold=2))
    vendors.arm("salesforce", "query_timeout", rows=250, object="CampaignMember")

    def jobs() -> list[tuple[str, str]]:
        with warehouse.connect() as connection:
            return connection.execute(
                "select job_id, state from meltano.job_log where state <> 'failed' order by id"
            ).fetchall()

    with open_source(source, settings, warehouse=warehouse) as opened:
        batches = opened.read(members, None, ReadOptions(), now=datetime.now(UTC))
        for _ in range(3):
            next(batches)
        before = jobs()
        assert len(before) > 2
    with open_source(source, settings, warehouse=warehouse) as opened:
        list(opened.read(members, None, ReadOptions(), now=datetime.now(UTC)))
    assert [job for job, _ in jobs()][: len(before)] == [job for job, _ in before]


def test_a_count_that_takes_too_long_is_no_count(vendors: Vendors) -> None:
    vendors.arm("salesforce", "query_timeout", rows=1, counts=True)
    with connect(vendors.settings("salesforce"), poll=QUICK) as reader:
        assert reader.count(ACCOUNTS) is None
        assert reader.field_cost(ACCOUNTS, ACCOUNTS.column("website")).calls is None


def test_ranges_of_ids_cover_every_id_once() -> None:
    """Whatever the letters: Salesforce orders ids as numbers of 62 digits."""
    first, last = "001A0000000abcz", "001A00000F0Zz01"
    everything, end = whole_range(first, last)
    pieces = list(everything.pieces(end))
    assert 1 < len(pieces) <= 16
    assert pieces[0].condition.startswith(f"Id >= '{first}'")
    assert all(one.end == other.first for one, other in pairwise(pieces))
    assert pieces[-1].first <= end < pieces[-1].end
    assert whole_range(first, "001A00000F0Zz02")[0] == everything
    smallest = pieces[3]
    while not smallest.is_single:
        smallest = next(smallest.pieces(end))
    assert list(smallest.pieces(end)) == [smallest]
