"""S2 and S4, claims about the sync's memory, on a real Postgres."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.salesforce_sync.outcome import OutcomeStore
from meltano_assets.salesforce_sync.results import Result, Tally
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.salesforce_sync.builders import NOW, host_spec, planned, reasons


@pytest.fixture
def store(warehouse: Warehouse) -> OutcomeStore:
    made = OutcomeStore(warehouse)
    made.ensure()
    return made


def ledger_states(warehouse: Warehouse) -> dict[str, str]:
    with warehouse.connect() as connection:
        return dict(connection.execute("select key, state from salesforce_sync.ledger").fetchall())


def column(warehouse: Warehouse, query: str) -> list[object]:
    with warehouse.connect() as connection:
        return [row[0] for row in connection.execute(query)]  # type: ignore[arg-type]


def a_plan(*names: str, **values: object):
    made = planned(host_spec(), [{"meltano_id__c": name, "name": name} for name in names])
    return replace(made, **values)


def test_a_model_is_read_as_text_with_every_type(warehouse, store):
    with warehouse.connect() as connection:
        connection.execute("create schema sync")
        connection.execute(
            "create table sync.hosts as select 'k' as meltano_id__c, 'a''b'::text as name,"
            " 1.50::numeric as score, 'NaN'::numeric as users, true as mattermost,"
            " timestamptz '2026-01-01 02:00+02' as seen, date '2026-01-02' as ping,"
            " array['b', 'a'] as tags, '{\"a\": 1}'::jsonb as notes, null::text as link"
        )
    fields = {
        "name": "Name",
        "score": "Score__c",
        "users": "Host_Users__c",
        "mattermost": "Mattermost_Enabled__c",
        "seen": "Seen_At__c",
        "ping": "Last_Ping__c",
        "tags": "Tags__c",
        "notes": "Notes__c",
        "link": "Link__c",
    }
    spec = host_spec(fields)
    rows = store.read_rows(spec)
    assert rows.column_names == list(spec.columns)
    row = rows.to_pylist()[0]
    made = planned(replace(spec, fields=spec.fields[1:]), [row])
    assert reasons(made) == {"k": "wrong_type"}
    spec = replace(spec, fields=tuple(rule for rule in spec.fields if rule.column != "users"))
    (change,) = planned(spec, [row]).changes
    assert change.after == {
        "Name": "a'b",
        "Score__c": "1.5",
        "Mattermost_Enabled__c": "true",
        "Seen_At__c": "2026-01-01T00:00:00.000+0000",
        "Last_Ping__c": "2026-01-02",
        "Tags__c": "a;b",
        "Notes__c": '{"a": 1}',
    }


def test_a_missing_model_or_column_is_named(warehouse, store):
    with pytest.raises(FatalError, match=r"sync\.hosts .* not in the warehouse"):
        store.read_rows(host_spec())
    with warehouse.connect() as connection:
        connection.execute("create schema sync")
        connection.execute("create table sync.hosts (meltano_id__c text, names text)")
    with pytest.raises(FatalError, match="did you mean names"):
        store.read_rows(host_spec())


def test_two_runs_of_one_sync_exclude_each_other_but_not_other_syncs(store):
    spec = host_spec()
    refused = pytest.raises(RetriableError, match="another run of sync hosts")
    with store.lock(spec), store.lock(replace(spec, name="other")), refused, store.lock(spec):
        pass
    with store.lock(spec):
        pass


def test_organisations_are_told_apart(warehouse):
    """S2, S4: what one org refused or was sent says nothing of another; nor is it undone there."""
    one, other = (
        OutcomeStore(warehouse, "00D000000000001"),
        OutcomeStore(warehouse, "00D000000000002"),
    )
    one.ensure()
    plan = a_plan("a")
    number = one.start(plan, "pushing")
    one.record(number, plan, [Result(plan.changes[0], "parked", None, reason="duplicate")], now=NOW)
    one.finish(number, "done", Tally(), requests=1, now=NOW)
    assert set(one.read_ledger(plan.spec)) == {"a"}
    assert other.read_ledger(plan.spec) == {}
    assert (one.last_push("hosts"), other.last_push("hosts")) == (number, 0)
    assert [run.number for run in one.pushed_runs(plan.run_id)] == [number]
    assert other.pushed_runs(plan.run_id) == []
    with one.lock(plan.spec), other.lock(plan.spec):
        pass
    # A run that was killed in one org is not marked by a run in the other.
    pushing = one.start(plan, "pushing")
    other.start(plan, "planned")
    assert column(
        warehouse, f"select state from salesforce_sync.runs where number = {pushing}"
    ) == ["pushing"]
    assert {row["org"] for row in other.history("a")["ledger"]} == {"00D000000000001"}


def test_tables_of_the_first_version_are_taken_over_by_the_org_that_is_asked(warehouse, store):
    """Their one org had no name; its parked records and its last run stay known."""
    plan = a_plan("a")
    number = store.start(plan, "pushing")
    store.record(number, plan, [Result(plan.changes[0], "parked", None, reason="other")], now=NOW)
    with warehouse.connect() as connection:
        for statement in (
            "drop view salesforce_sync.rejects",
            "alter table salesforce_sync.runs drop column org",
            "alter table salesforce_sync.ledger drop column org",
            "alter table salesforce_sync.ledger add primary key (sync, key)",
            "comment on schema salesforce_sync is 'tables of version 1'",
        ):
            connection.execute(statement)
    named = OutcomeStore(warehouse, "00D000000000001")
    named.ensure()
    assert set(named.read_ledger(plan.spec)) == {"a"}
    assert named.last_push("hosts") == number
    assert column(warehouse, "select org from salesforce_sync.rejects") == ["00D000000000001"]


def test_results_go_to_history_and_ledger(warehouse, store):
    plan = a_plan("a", "b", "c")
    number = store.start(plan, "pushing")
    one, two, three = plan.changes
    results = [
        Result(one, "sent", "a00000000000001AAA", is_created=True),
        Result(two, "parked", reason="duplicate", detail="DUPLICATES_DETECTED: …"),
        Result(three, "failed", reason="locked"),
    ]
    store.record(number, plan, results, now=NOW)
    tally = Tally()
    tally.add(results)
    store.finish(number, "done", tally, requests=3, now=NOW)
    assert ledger_states(warehouse) == {"a": "sent", "b": "parked", "c": "failed"}
    assert set(column(warehouse, "select key from salesforce_sync.rejects")) == {"b", "c"}
    run = store.recent_runs()[0]
    assert (run["created"], run["parked"], run["failed"], run["state"]) == (1, 1, 1, "done")
    assert run["reasons"] == {"duplicate": 1, "locked": 1}
    history = store.history("a00000000000001AAA")
    assert history["ledger"][0]["key"] == "a"
    assert history["changes"][0]["after"] == {"Name": "a"}
    ledger = store.read_ledger(plan.spec)
    again = planned(
        plan.spec, [{"meltano_id__c": name, "name": name} for name in "bc"], ledger=ledger
    )
    assert [change.key for change in again.changes] == ["c"]
    assert again.parked[0].is_held


def test_only_the_last_unpushed_plan_is_kept(warehouse, store):
    store.start(a_plan("a"), "planned")
    store.start(a_plan("b"), "stopped")
    store.start(a_plan("c"), "planned")
    assert column(warehouse, "select key from salesforce_sync.changes") == ["c"]


def test_a_killed_run_is_marked_and_its_unrecorded_changes_stay_known(warehouse, store):
    plan = a_plan("a", "b")
    number = store.start(plan, "pushing")
    store.record(number, plan, [Result(plan.changes[0], "sent", "id")], now=NOW)
    store.start(a_plan("c", run_id="next"), "pushing")
    assert store.recent_runs()[1]["state"] == "interrupted"
    (run,) = store.pushed_runs("run")
    assert [each.state for each in store.changes_of(run)] == ["sent", "unknown"]


def test_plan_rejects_reach_the_ledger_once_and_leave_it_when_resolved(warehouse, store):
    bad = a_plan("n" * 99)
    store.start(bad, "planned")
    (before,) = column(warehouse, "select updated_at from salesforce_sync.ledger")
    store.start(replace(bad, planned_at=NOW.replace(year=2027)), "planned")
    assert column(warehouse, "select updated_at from salesforce_sync.ledger") == [before]
    resolved = planned(host_spec(), [], ledger=store.read_ledger(bad.spec))
    store.start(resolved, "planned")
    assert set(ledger_states(warehouse).values()) == {"resolved"}
    assert store.read_ledger(bad.spec) == {}


def test_keys_of_a_sync_exclude_its_parked_ones(warehouse, store):
    with warehouse.connect() as connection:
        connection.execute("create schema sync")
        connection.execute(
            "create table sync.hosts as"
            " select unnest(array['a', 'b', null]) as meltano_id__c, 'x' as name"
        )
    spec = host_spec()
    plan = a_plan("b")
    number = store.start(plan, "pushing")
    store.record(number, plan, [Result(plan.changes[0], "parked", reason="duplicate")], now=NOW)
    assert store.read_keys(spec) == {"a"}
