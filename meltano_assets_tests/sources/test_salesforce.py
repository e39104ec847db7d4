"""What is particular to Salesforce as a source."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from meltano_assets.clients.salesforce import Poll, SalesforceClient
from meltano_assets.errors import FatalError
from meltano_assets.sources.naming import column_name
from meltano_assets.sources.salesforce import SALESFORCE, SalesforceReader, connect
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
    assert "LastModifiedById" in reader.undeclared["accounts"]
    assert "Industry" not in reader.undeclared["accounts"]
    assert "last_modified_by_id" not in batches[0].records.schema.names


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
