"""S6, claims about undoing a run, against the simulated Salesforce."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meltano_assets.clients.salesforce import SalesforceClient
from meltano_assets.errors import FatalError
from meltano_assets.salesforce_sync.revert import revert_run
from meltano_assets.salesforce_sync.sync import SyncOutcome
from meltano_assets.sandbox.salesforce_schema import make_id
from meltano_assets_tests.salesforce_sync.builders import NOW
from meltano_assets_tests.salesforce_sync.conftest import World, host

ACME, CORE = make_id("001", 1, "Co0"), make_id("001", 3, "Co0")


def revert(world: World, run_id: str, *, push: bool = True) -> list[SyncOutcome]:
    return revert_run(
        world.warehouse,
        world.client,
        world.specs,
        run_id,
        now=NOW,
        new_run_id=f"revert of {run_id}",
        push=push,
        options=world.options,
        sleep=lambda seconds: None,
    )


def test_changed_fields_go_back_and_created_records_are_deleted(world: World):
    """S6: before-images are restored."""
    world.fill("hosts", [host("a.example.com", host_users__c=1, mattermost_enabled__c=True)])
    world.sync()
    world.fill(
        "hosts",
        [
            host(
                "a.example.com",
                host_users__c=2,
                mattermost_enabled__c=False,
                version_link__c="https://v.example.com",
                account_meltano_id="bolt.com",
            ),
            host("b.example.com"),
        ],
    )
    assert (world.sync().created, len(world.records("Host__c"))) == (1, 2)
    (outcome,) = revert(world, "run2")
    assert (outcome.updated, outcome.deleted, outcome.skipped) == (1, 1, 0)
    (record,) = world.records(
        "Host__c", "Host_Users__c", "Mattermost_Enabled__c", "Version_Link__c", "Account__c"
    )
    del record["Id"]
    assert record == {
        "Host_Users__c": 1,
        "Mattermost_Enabled__c": True,
        "Version_Link__c": None,
        "Account__c": None,
    }


def test_reverted_records_rest_until_their_rows_change(world: World):
    world.fill("hosts", [host("a.example.com", host_users__c=1)])
    world.sync()
    revert(world, "run1")
    assert world.records("Host__c") == []
    held = world.sync()
    assert (held.sent, held.parked, held.reasons) == (0, 1, {"reverted": 1})
    assert held.plan.parked[0].reject.detail == "undone by a revert"  # type: ignore[union-attr]
    assert world.sync(retry=True).created == 1, "unless they are asked for"
    revert(world, "run3")
    world.fill("hosts", [host("a.example.com", host_users__c=2)])
    assert world.sync().created == 1


def test_a_field_that_somebody_changed_since_keeps_its_value(world: World):
    rows = [
        {"id": ACME, "industry": "Retail", "numberofemployees": 99},
        {"id": CORE, "industry": "Retail", "numberofemployees": 99},
    ]
    world.fill("account_updates", rows)
    assert world.sync("account_updates").updated == 1
    world.client.update_collection("Account", [{"Id": CORE, "Industry": "Energy"}])
    (outcome,) = revert(world, "run1")
    assert outcome.updated == 1
    accounts = {
        each["Name"]: (each["Industry"], each["NumberOfEmployees"])
        for each in world.records("Account", "Name", "Industry", "NumberOfEmployees")
    }
    assert accounts["Core"] == ("Energy", None)
    assert accounts["Acme"] == ("Technology", 10)


def test_a_created_record_that_somebody_changed_stays(world: World):
    world.fill("hosts", [host("a.example.com", host_users__c=1)])
    world.sync()
    (record,) = world.records("Host__c")
    world.client.update_collection("Host__c", [{"Id": record["Id"], "Host_Users__c": 5}])
    (outcome,) = revert(world, "run1")
    assert (outcome.deleted, outcome.skipped, outcome.reasons) == (0, 1, {"changed_since": 1})
    assert len(world.records("Host__c")) == 1


def test_a_created_record_touched_in_another_field_stays_too(world: World):
    world.fill("hosts", [host("a.example.com")])
    world.sync()
    world.clock.at = world.clock.at.replace(hour=15)
    (record,) = world.records("Host__c")
    world.client.update_collection("Host__c", [{"Id": record["Id"], "License_Ids__c": "7"}])
    (outcome,) = revert(world, "run1")
    assert outcome.reasons == {"changed_since": 1}


def test_the_hosts_of_a_run_go_before_their_accounts(world: World):
    world.fill("new_accounts", [{"meltano_id__c": "new.com", "name": "New"}])
    world.fill("hosts", [host("x.new.com", account_meltano_id="new.com")])
    world.sync("new_accounts", run_id="both")
    world.sync("hosts", run_id="both")
    outcomes = revert(world, "both")
    assert [(each.sync, each.deleted) for each in outcomes] == [("hosts", 1), ("new_accounts", 1)]
    assert len(world.records("Account")) == 3


def test_a_second_revert_finds_nothing_to_undo(world: World):
    world.fill("hosts", [host("a.example.com", host_users__c=1)])
    world.sync()
    world.fill("hosts", [host("a.example.com", host_users__c=2)])
    world.sync()
    assert revert(world, "run2")[0].updated == 1
    (again,) = revert(world, "run2")
    assert (again.sent, again.reasons) == (0, {"nothing_to_undo": 1})


def test_a_revert_that_is_only_planned_changes_nothing(world: World):
    world.fill("hosts", [host("a.example.com")])
    world.sync()
    (outcome,) = revert(world, "run1", push=False)
    assert (outcome.is_pushed, len(outcome.plan.changes)) == (False, 1)  # type: ignore[union-attr]
    assert len(world.records("Host__c")) == 1


def test_what_a_killed_run_may_have_sent_is_undone_too(world: World):
    from meltano_assets.salesforce_sync.outcome import OutcomeStore
    from meltano_assets.salesforce_sync.sync import plan_sync

    world.fill("hosts", [host("a.example.com"), host("b.example.com")])
    spec = world.specs["hosts"]
    made = plan_sync(world.warehouse, world.client, spec, now=NOW, run_id="killed")
    OutcomeStore(world.warehouse, world.client.organization_id).start(made, "pushing")
    # One record arrived, then the process died before it could write that down.
    world.client.upsert_collection(
        "Host__c",
        "Meltano_Id__c",
        [{**made.changes[0].after, "Meltano_Id__c": made.changes[0].key}],
    )
    (outcome,) = revert(world, "killed")
    assert (outcome.deleted, outcome.skipped) == (1, 0)
    assert world.records("Host__c") == []


class CascadingClient:
    """The org's client, in an org whose contacts die with their account."""

    def __init__(self, client: SalesforceClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def describe(self, object_name: str) -> dict[str, object]:
        child = {"childSObject": "Contact", "field": "AccountId", "cascadeDelete": True}
        return {**self._client.describe(object_name), "childRelationships": [child]}


def test_a_parent_with_children_of_its_own_stays(world: World):
    rows = [{"meltano_id__c": name, "name": name} for name in ("lone.com", "met.com")]
    world.fill("new_accounts", rows)
    world.sync("new_accounts")
    (met,) = [each for each in world.records("Account", "Name") if each["Name"] == "met.com"]
    world.client.create_collection("Contact", [{"LastName": "Ng", "AccountId": met["Id"]}])
    world.client = CascadingClient(world.client)  # type: ignore[assignment]
    (outcome,) = revert(world, "run1")
    assert (outcome.deleted, outcome.reasons) == (1, {"has_children": 1})
    assert "met.com" in [each["Name"] for each in world.records("Account", "Name")]


def test_an_unknown_run_is_named(world: World):
    with pytest.raises(FatalError, match="no run 'nothing'"):
        revert(world, "nothing")


def test_texts_that_read_not_available_survive_a_revert(world: World):
    """A before-image may be ``#N/A``; in a job's file it would erase the field."""
    world.fill("hosts", [host(f"h{n:02d}.example.com") for n in range(3)])
    world.sync()
    records = world.records("Host__c")
    world.client.update_collection(
        "Host__c", [{"Id": each["Id"], "Version_Link__c": "#N/A"} for each in records]
    )
    assert {each["Version_Link__c"] for each in world.records("Host__c", "Version_Link__c")} == {
        "#N/A"
    }
    world.fill(
        "hosts", [host(f"h{n:02d}.example.com", version_link__c="https://x") for n in range(3)]
    )
    world.options = replace(world.options, bulk_threshold=2)
    world.sync()
    revert(world, "run2")
    links = {each["Version_Link__c"] for each in world.records("Host__c", "Version_Link__c")}
    assert links == {"#N/A"}
