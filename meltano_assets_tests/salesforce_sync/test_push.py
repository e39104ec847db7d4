"""S4, claims about sending: order, sizes, what is tried again, that no change lacks a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from meltano_assets.clients.salesforce import (
    BulkFailed,
    BulkResult,
    BulkSaved,
    SaveError,
    SaveResult,
)
from meltano_assets.salesforce_sync.plan import Change
from meltano_assets.salesforce_sync.push import PushOptions, explain, push_changes
from meltano_assets.salesforce_sync.results import Result
from meltano_assets_tests.salesforce_sync.builders import host_org, host_spec, planned

SMALL = PushOptions(bulk_threshold=10, bulk_job_rows=20, lock_chunks=(2, 1))
LOCKED = SaveError("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access")


@dataclass
class ScriptedClient:
    """Answers each record by a rule; remembers what was asked."""

    rule: Callable[[str], SaveError | None] = lambda key: None
    process: Callable[[int, list[Mapping[str, object]]], int] | None = None
    collections: list[list[Mapping[str, object]]] = field(default_factory=list)
    jobs: list[tuple[str, list[Mapping[str, object]]]] = field(default_factory=list)

    def _save(self, records: Sequence[Mapping[str, object]], key: str) -> list[SaveResult]:
        self.collections.append(list(records))
        answers = []
        for record in records:
            error = self.rule(str(record[key]))
            answers.append(
                SaveResult(None, False, False, (error,))
                if error
                else SaveResult("a00000000000001AAA", True, key != "Id")
            )
        return answers

    def upsert_collection(
        self, object_name: str, external_id: str, records: Sequence[Mapping[str, object]]
    ) -> list[SaveResult]:
        return self._save(records, external_id)

    def update_collection(
        self, object_name: str, records: Sequence[Mapping[str, object]]
    ) -> list[SaveResult]:
        return self._save(records, "Id")

    def bulk_ingest(
        self,
        object_name: str,
        operation: str,
        rows: Iterable[Mapping[str, object]],
        external_id: str | None = None,
    ) -> BulkResult:
        rows = list(rows)
        self.jobs.append((operation, rows))
        key = external_id or "Id"
        reach = self.process(len(self.jobs), rows) if self.process else len(rows)
        saved, failed = [], []
        for row in rows[:reach]:
            told = str(row[key])
            if error := self.rule(told):
                failed.append(BulkFailed("", (error,), told))
            else:
                saved.append(BulkSaved("a00000000000001AAA", bool(external_id), told))
        rest = [str(row[key]) for row in rows[reach:]]
        error = "job 750 Failed: InternalServerError" if rest else None
        return BulkResult(tuple(saved), tuple(failed), tuple(rest), ("750",), error)


def plan_of(creates: int = 0, updates: int = 0, parent: str = ""):
    made = planned(host_spec(), [])
    changes = [
        Change(f"c{n:03d}", None, {}, {"Name": "x"}, "hash", "create", parent)
        for n in range(creates)
    ]
    changes += [
        Change(f"u{n:03d}", f"id{n:03d}", {"Name": "a"}, {"Name": "b"}, "hash", "update", parent)
        for n in range(updates)
    ]
    return replace(made, changes=tuple(changes), description=host_org())


def pushed(client: ScriptedClient, plan, options: PushOptions = SMALL):
    waits: list[float] = []
    results: list[Result] = []
    for part in push_changes(client, plan, sleep=waits.append, options=options):
        results += part
    assert sorted(each.change.key for each in results) == sorted(c.key for c in plan.changes)
    return results, waits


def test_few_records_go_by_collections_new_ones_by_upsert_and_old_ones_by_id():
    client = ScriptedClient()
    results, _ = pushed(client, plan_of(creates=2, updates=1))
    assert client.collections == [
        [{"Name": "x", "Meltano_Id__c": "c000"}, {"Name": "x", "Meltano_Id__c": "c001"}],
        [{"Name": "b", "Id": "id000"}],
    ]
    assert [each.is_created for each in results] == [True, True, False]
    assert client.jobs == []


def test_many_records_go_by_jobs_of_limited_size():
    client = ScriptedClient()
    pushed(client, plan_of(creates=45, updates=3))
    assert [(operation, len(rows)) for operation, rows in client.jobs] == [
        ("upsert", 20),
        ("upsert", 20),
        ("upsert", 5),
    ]
    assert client.jobs[0][1][0] == {"Meltano_Id__c": "c000", "Name": "x"}
    assert len(client.collections) == 1


def test_one_parents_records_are_sent_together():
    plan = plan_of(creates=4)
    parents = ["b", "a", "b", "a"]
    changes = [replace(each, parent=p) for each, p in zip(plan.changes, parents, strict=True)]
    client = ScriptedClient()
    pushed(client, replace(plan, changes=tuple(changes)))
    sent = [record["Meltano_Id__c"] for record in client.collections[0]]
    assert sent == ["c001", "c003", "c000", "c002"]


def test_typed_values_go_as_json_values():
    plan = plan_of(updates=1)
    after = {
        "Host_Users__c": "12",
        "Score__c": "1.5",
        "Mattermost_Enabled__c": "true",
        "Last_Ping__c": "2026-01-01",
        "Name": None,
        "Account__r.Meltano_Id__c": "acme.com",
    }
    client = ScriptedClient()
    pushed(client, replace(plan, changes=(replace(plan.changes[0], after=after),)))
    assert client.collections[0][0] == {
        "Id": "id000",
        "Host_Users__c": 12,
        "Score__c": 1.5,
        "Mattermost_Enabled__c": True,
        "Last_Ping__c": "2026-01-01",
        "Name": None,
        "Account__r.Meltano_Id__c": "acme.com",
    }


def test_locked_records_are_tried_again_in_smaller_chunks_with_growing_waits():
    locks = {"c001": 1, "c002": 2}

    def rule(key: str) -> SaveError | None:
        locks[key] = locks.get(key, 0) - 1
        return LOCKED if locks[key] >= 0 else None

    client = ScriptedClient(rule)
    results, waits = pushed(client, plan_of(creates=4))
    assert all(each.state == "sent" for each in results)
    assert [len(chunk) for chunk in client.collections] == [4, 2, 1]
    assert waits == [1, 2]


def test_a_record_that_stays_locked_fails_and_is_left_to_the_next_run():
    client = ScriptedClient(lambda key: LOCKED if key == "c001" else None)
    results, _ = pushed(client, plan_of(creates=3))
    bad = [each for each in results if each.state != "sent"]
    assert [(each.change.key, each.state, each.reason) for each in bad] == [
        ("c001", "failed", "locked")
    ]


def test_a_job_that_fails_half_way_is_taken_up_where_it_stopped():
    client = ScriptedClient(process=lambda job, rows: 8 if job == 1 else len(rows))
    results, _ = pushed(
        client, plan_of(creates=300), PushOptions(bulk_job_rows=300, bulk_threshold=9)
    )
    assert all(each.state == "sent" for each in results)
    assert [len(rows) for _, rows in client.jobs] == [300, 292]
    assert {row["Meltano_Id__c"] for row in client.jobs[1][1]}.isdisjoint(
        {row["Meltano_Id__c"] for row in client.jobs[0][1][:8]}
    )


def test_what_no_job_processes_ends_as_failed_with_the_jobs_reason():
    client = ScriptedClient(process=lambda job, rows: 0)
    options = PushOptions(bulk_threshold=10, bulk_job_rows=500)
    results, waits = pushed(client, plan_of(creates=300), options)
    assert {(each.state, each.reason) for each in results} == {("failed", "unprocessed")}
    assert "InternalServerError" in results[0].detail
    assert len(client.jobs) == 3
    assert waits == [2, 4]


def test_locked_rows_of_a_job_are_tried_again():
    locks = {f"c{n:03d}": 1 for n in range(5)}

    def rule(key: str) -> SaveError | None:
        locks[key] = locks.get(key, 0) - 1
        return LOCKED if locks[key] >= 0 else None

    client = ScriptedClient(rule)
    results, _ = pushed(client, plan_of(creates=20))
    assert all(each.state == "sent" for each in results)
    assert len(client.jobs) == 1
    assert [len(chunk) for chunk in client.collections] == [2, 2, 1]


def test_a_text_that_reads_not_available_never_enters_a_jobs_file():
    plan = plan_of(updates=12)
    odd = replace(plan.changes[3], after={"Name": "#N/A"})
    changes = (*plan.changes[:3], odd, *plan.changes[4:])
    client = ScriptedClient()
    pushed(client, replace(plan, changes=changes))
    assert all(row["Name"] != "#N/A" for _, rows in client.jobs for row in rows)
    assert client.collections == [[{"Id": "id003", "Name": "#N/A"}]]


@pytest.mark.parametrize(
    ("code", "message", "reason", "state"),
    [
        ("DUPLICATES_DETECTED", "Use one of these records?", "duplicate", "parked"),
        ("REQUIRED_FIELD_MISSING", "missing", "required_field", "parked"),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no", "validation_rule", "parked"),
        ("UNABLE_TO_LOCK_ROW", "locked", "locked", "failed"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "x: UNABLE_TO_LOCK_ROW", "locked", "failed"),
        (
            "INVALID_FIELD",
            "Foreign key external ID: acme not found for field Meltano_Id__c in entity Account",
            "reference_not_found",
            "failed",
        ),
        ("SOMETHING_NEW", "?", "other", "parked"),
    ],
)
def test_errors_of_records_are_told_apart(code, message, reason, state):
    error = SaveError(code, message, ("Name",))
    found_reason, found_state, detail = explain([error])
    assert (found_reason, found_state) == (reason, state)
    assert detail == f"{code}: {message} [Name]"
    assert explain([])[:2] == ("vendor_error", "failed")
