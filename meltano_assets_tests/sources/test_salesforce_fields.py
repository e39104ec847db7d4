"""Fields of Salesforce that are not what they seem: references to several objects, compound ones,
and objects that only some organisations have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from meltano_assets.clients.salesforce import SalesforceClient
from meltano_assets.errors import FatalError
from meltano_assets.extraction import open_source
from meltano_assets.sources.rules import load_rules, with_objects
from meltano_assets.sources.salesforce import SALESFORCE, SalesforceReader, connect
from meltano_assets.sources.salesforce_fields import asked_of, object_types
from meltano_assets.sources.salesforce_packages import PACKAGE_STREAMS
from meltano_assets.streams import Bookmark, Column, ReadOptions, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.sources.conftest import Vendors
from meltano_assets_tests.sources.test_salesforce import QUICK, read

TASKS, QUOTES = SALESFORCE.stream("tasks"), SALESFORCE.stream("zqu_quotes")
BOTH_WAYS = pytest.mark.parametrize("bulk_threshold", [10**9, 1], ids=["rest", "bulk"])
Row = dict[str, object]


def rows(settings: dict[str, str], stream: Stream, bulk_threshold: int = 10**9) -> list[Row]:
    batches, _ = read(settings, stream, bulk_threshold=bulk_threshold)
    return [row for batch in batches for row in batch.records.to_pylist()]


# -- references to several objects --


@BOTH_WAYS
@pytest.mark.parametrize("name", ["tasks", "events"])
def test_a_reference_to_several_objects_says_to_which(
    name: str, bulk_threshold: int, vendors: Vendors
) -> None:
    settings = vendors.settings("salesforce")
    found = rows(settings, SALESFORCE.stream(name), bulk_threshold)
    known: dict[object, str] = {}
    with SalesforceClient(settings) as client:
        for each in ("Lead", "Contact", "Account", "Opportunity", "Campaign"):
            for page in client.query(f"SELECT Id FROM {each}", include_deleted=True):
                known |= {record["Id"]: each for record in page}
    for row in found:
        assert row["who_type"] == known.get(row["who_id"])
        assert row["what_type"] == known.get(row["what_id"])
    kinds = {"Lead", "Contact", None} if name == "tasks" else {"Contact", None}
    assert {row["who_type"] for row in found} == kinds
    assert {row["owner_id"] is not None for row in found} == {True}


def test_the_owner_of_a_lead_may_be_a_queue(vendors: Vendors) -> None:
    found = rows(vendors.settings("salesforce"), SALESFORCE.stream("leads"))
    assert {row["owner_type"] for row in found} == {"User"}
    queue = pa.array(["00G5e0000000001AAA", "0055e0000000001AAA", None, "zzz", ""])
    kinds = object_types(queue, {"00G": "Group", "005": "User"})
    assert kinds.to_pylist() == ["Group", "User", None, None, None]


@BOTH_WAYS
def test_the_type_of_a_reference_can_be_chosen_without_it(
    bulk_threshold: int, vendors: Vendors
) -> None:
    settings = vendors.settings("salesforce")
    kept = ("id", "system_modstamp", "what_type")
    only = replace(TASKS, columns=tuple(c for c in TASKS.columns if c.name in kept))
    found = rows(settings, only, bulk_threshold)
    assert {tuple(sorted(row)) for row in found} == {tuple(sorted(kept))}
    whole = {row["id"]: row["what_type"] for row in rows(settings, TASKS)}
    assert {row["id"]: row["what_type"] for row in found} == whole


@BOTH_WAYS
def test_the_type_of_a_reference_is_priced_and_read_alone(
    bulk_threshold: int, vendors: Vendors
) -> None:
    """X6 for a column that only follows from another; archived activities are among them."""
    settings, column = vendors.settings("salesforce"), TASKS.column("who_type")
    with connect(settings, poll=QUICK, bulk_threshold=bulk_threshold) as reader:
        cost = reader.field_cost(TASKS, column)
        batches = reader.read_field(TASKS, column, now=datetime.now(UTC))
        found = [row for batch in batches for row in batch.records.to_pylist()]
    wanted = {
        row["id"]: row["who_type"]
        for row in rows(settings, TASKS)
        if row["who_id"] and not row["is_deleted"]
    }
    assert cost.records == len(wanted) > 0
    assert {row["id"]: row["who_type"] for row in found} == wanted


def test_archived_activities_are_read_and_counted(vendors: Vendors) -> None:
    settings = vendors.settings("salesforce")
    live = {str(row["id"]) for row in rows(settings, TASKS) if not row["is_deleted"]}
    archived = [row for row in rows(settings, TASKS) if row["is_archived"]]
    assert archived
    with connect(settings) as reader, SalesforceClient(settings) as client:
        assert reader.count(TASKS) == len(live)
        assert client.count("Task") == len(live) - sum(not row["is_deleted"] for row in archived)
        pages = list(reader.read_keys(TASKS, None, now=datetime.now(UTC)))
    assert {key for page in pages for key in page.records.column("id").to_pylist()} == live


# -- objects by name --


def by_name(tmp_path: Path, text: str) -> Stream:
    file = tmp_path / "streams.yml"
    file.write_text(text)
    [source] = with_objects([SALESFORCE], file)
    load_rules([source], file)
    return source.streams[-1]


def whole(settings: dict[str, str], stream: Stream, bulk_threshold: int) -> list[Row]:
    with connect(settings, poll=QUICK, bulk_threshold=bulk_threshold) as reader:
        known = replace(stream, columns=reader.columns(stream))
    return rows(settings, known, bulk_threshold)


def test_an_object_by_name_tells_the_types_of_its_references(
    vendors: Vendors, tmp_path: Path
) -> None:
    stream = by_name(tmp_path, "salesforce: {objects: [{object: Task, stream: activities}]}")
    found = whole(vendors.settings("salesforce"), stream, 10**9)
    expected = {row["id"]: row["what_type"] for row in rows(vendors.settings("salesforce"), TASKS)}
    assert {row["id"]: row["what_type"] for row in found} == expected
    assert "owner_type" not in found[0]


def test_compound_fields_come_by_their_parts_in_both_ways(vendors: Vendors, tmp_path: Path) -> None:
    settings = vendors.settings("salesforce")
    stream = by_name(tmp_path, "salesforce: {objects: [{object: Account, stream: companies}]}")
    by_rest, by_bulk = (
        sorted(whole(settings, stream, threshold), key=lambda row: str(row["id"]))
        for threshold in (10**9, 1)
    )
    assert by_rest == by_bulk
    assert not {"billing_address", "headquarters__c"} & by_rest[0].keys()
    known = {row["id"]: row for row in by_rest if row["billing_latitude"] is not None}
    assert known
    with SalesforceClient(settings) as client:
        soql = "SELECT Id, BillingAddress, Headquarters__c FROM Account"
        for page in client.query(soql, include_deleted=True):
            for record in page:
                address, place = record["BillingAddress"], record["Headquarters__c"]
                assert (place is None) == (record["Id"] not in known)
                if isinstance(address, Mapping) and isinstance(place, Mapping):
                    mine = known[record["Id"]]
                    assert address["city"] == mine["billing_city"]
                    assert address["latitude"] == pytest.approx(
                        float(str(mine["billing_latitude"]))
                    )
                    longitude = float(str(mine["headquarters__longitude__s"]))
                    assert place["longitude"] == pytest.approx(longitude)


@pytest.mark.parametrize(
    ("field", "part"),
    [("BillingAddress", "BillingStreet"), ("Headquarters__c", "Headquarters__Latitude__s")],
)
def test_a_compound_field_that_was_chosen_is_told_with_its_parts(
    field: str, part: str, vendors: Vendors
) -> None:
    accounts = SALESFORCE.stream("accounts")
    wider = replace(accounts, columns=(*accounts.columns, Column("place", field=field)))
    with pytest.raises(FatalError, match=f"{field} only shows") as info:
        rows(vendors.settings("salesforce"), wider)
    assert part in str(info.value)


def test_fields_are_found_in_any_spelling() -> None:
    told = [{"name": "zqu__BillCycleDay__c", "type": "string"}, {"name": "Id", "type": "id"}]
    asked = asked_of([Column("day", field="zqu__billcycleday__c"), Column("gone")], told)
    assert [column.vendor_field for column in asked.fields] == ["zqu__BillCycleDay__c"]


# -- objects of packages --


@pytest.mark.parametrize("stream", PACKAGE_STREAMS, ids=lambda stream: stream.name)
def test_an_object_of_a_package_that_is_not_installed_is_skipped_and_told(
    stream: Stream, vendors: Vendors, warehouse: Warehouse
) -> None:
    settings = vendors.settings("salesforce")
    vendors.arm("salesforce", "missing_object", object=stream.options["object"])
    with open_source(SALESFORCE, settings, warehouse=warehouse, is_sandbox=True) as opened:
        batches = opened.read(stream, None, ReadOptions(), now=datetime.now(UTC))
        outcome = load(warehouse, opened.selected(stream).load, batches)
        opened.settle(stream)
        facts = opened.facts(stream)
        assert opened.count(stream) is None
    assert (outcome.read, outcome.bookmark) == (0, None)
    assert str(stream.options["object"]) in str(facts["skipped"])
    assert f"the package {stream.options['package']} is not installed" in str(facts["skipped"])
    with warehouse.connect() as connection:
        table = f"salesforce.{stream.name}"
        assert connection.execute("select to_regclass(%s) is not null", (table,)).fetchone() == (
            True,
        )


def test_an_object_that_was_there_before_and_is_gone_is_a_failure(vendors: Vendors) -> None:
    vendors.arm("salesforce", "missing_object", object="zqu__Quote__c")
    bookmark = Bookmark("2024-01-01T00:00:00+00:00")
    with connect(vendors.settings("salesforce")) as reader:
        with pytest.raises(FatalError, match=r"salesforce\.zqu_quotes: .*no object zqu__Quote__c"):
            list(reader.read(QUOTES, bookmark, ReadOptions(), now=datetime.now(UTC)))
        assert reader.absent == {}


def test_an_object_that_every_organisation_has_is_never_skipped(vendors: Vendors) -> None:
    vendors.arm("salesforce", "missing_object", object="Account")
    with connect(vendors.settings("salesforce")) as reader:
        assert isinstance(reader, SalesforceReader)
        with pytest.raises(FatalError, match="no object Account"):
            list(
                reader.read(
                    SALESFORCE.stream("accounts"), None, ReadOptions(), now=datetime.now(UTC)
                )
            )
