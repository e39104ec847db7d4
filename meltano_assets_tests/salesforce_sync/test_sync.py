"""S1 to S7, claims about whole syncs: a real Postgres, the simulated Salesforce over sockets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.salesforce_sync.check import check_org
from meltano_assets.salesforce_sync.current import FetchOptions
from meltano_assets.salesforce_sync.outcome import OutcomeStore
from meltano_assets.salesforce_sync.push import PushOptions
from meltano_assets.salesforce_sync.render import render_history, render_plan, render_plans
from meltano_assets.salesforce_sync.spec import parse_spec
from meltano_assets.salesforce_sync.sync import plan_sync, push_sync, show_record
from meltano_assets.sandbox.salesforce_schema import make_id
from meltano_assets_tests.salesforce_sync.builders import NOW
from meltano_assets_tests.salesforce_sync.conftest import NEW_ACCOUNTS, World, host

ACME, BOLT, CORE = (make_id("001", number, "Co0") for number in (1, 2, 3))


def test_hosts_are_created_then_changed_then_left_alone(world: World):
    """S2: a second run with nothing new sends nothing."""
    stats = '{"issues": 3, "text": "line\\nbreak, \\"quotes\\" 😀"}'
    rows = [
        host(
            "a.example.com",
            account__c=ACME,
            host_users__c=12,
            last_ping__c=date(2026, 2, 28),
            raw_usage_stats__c=stats,
            mattermost_enabled__c=True,
            version_link__c="https://version.example.com/1",
        ),
        host("b.example.com", account_meltano_id="bolt.com"),
    ]
    world.fill("hosts", rows)
    first = world.sync()
    assert (first.created, first.updated, first.parked, first.failed) == (2, 0, 0, 0)
    fields = ["Name", "Account__c", "Host_Users__c", "Last_Ping__c", "Mattermost_Enabled__c"]
    one, two = world.records("Host__c", *fields)
    assert (one["Account__c"], one["Host_Users__c"], one["Last_Ping__c"]) == (
        ACME,
        12,
        "2026-02-28",
    )
    assert one["Mattermost_Enabled__c"] is True
    assert two["Account__c"] == BOLT

    again = world.sync()
    assert (again.sent, again.unchanged) == (0, 2)
    assert again.requests < 10

    world.fill("hosts", [{**rows[0], "host_users__c": 13}, rows[1]])
    third = world.sync()
    assert (third.created, third.updated, third.unchanged) == (0, 1, 1)
    (change,) = third.plan.changes  # type: ignore[union-attr]
    assert (change.before, change.after) == ({"Host_Users__c": "12"}, {"Host_Users__c": "13"})
    assert world.records("Host__c", "Name", "Host_Users__c")[0]["Host_Users__c"] == 13


def test_many_hosts_go_through_bulk_jobs_and_a_second_run_sends_nothing(world: World):
    """S2, S4: above the threshold, by jobs."""
    rows = [
        host(
            f"h{n:03d}.example.com",
            account_meltano_id="bolt.com",
            host_users__c=n,
            mattermost_enabled__c=n % 2 == 0,
            raw_usage_stats__c=json.dumps({"n": n, "text": 'a,"b"\nc'}),
        )
        for n in range(150)
    ]
    world.fill("hosts", rows)
    first = world.sync()
    assert (first.created, first.failed, first.parked) == (150, 0, 0)
    again = world.sync()
    assert (again.sent, again.unchanged) == (0, 150)
    assert again.requests < 10
    world.fill("hosts", [{**row, "host_users__c": 1000} for row in rows])
    third = world.sync()
    assert (third.created, third.updated) == (0, 150)
    assert {each["Host_Users__c"] for each in world.records("Host__c", "Host_Users__c")} == {1000}


def test_records_are_read_alike_by_keys_by_pages_and_by_a_query_job(world: World):
    rows = [
        host(
            f"h{n:03d}.example.com",
            account_meltano_id="bolt.com" if n % 3 else None,
            host_users__c=n if n % 2 else None,
            last_ping__c=date(2026, 2, 1),
            mattermost_enabled__c=n % 2 == 0,
            raw_usage_stats__c=json.dumps({"n": n, "text": 'a,"b"\nc 😀'}),
        )
        for n in range(30)
    ]
    rows[7]["name"] = 'O\'Brien \\ "quoted"'
    rows.append(host("k'ey\\.example.com", name="odd key"))
    world.fill("hosts", rows)
    assert world.sync().created == 31
    waits: list[float] = []
    ways = [
        FetchOptions(),
        FetchOptions(few_queries=0),
        FetchOptions(few_queries=0, rest_records=0, sleep=waits.append),
    ]
    for way in ways:
        outcome = world.sync(fetch=way)
        assert (outcome.sent, outcome.unchanged) == (0, 31)
        assert outcome.requests < 10
    assert len(waits) == 1
    assert 0 < waits[0] < 0.1


def test_new_accounts_and_their_hosts_go_in_one_run(world: World):
    """S5: a new host names its account by external id."""
    world.fill("new_accounts", [{"meltano_id__c": "new.com", "name": "New", "website": "new.com"}])
    world.fill("hosts", [host("x.new.com", account_meltano_id="new.com")])
    planned = world.sync(push=False)
    assert (planned.to_create, planned.is_pushed, planned.parked) == (1, False, 0)
    assert world.sync("new_accounts").created == 1
    assert world.sync("hosts").created == 1
    (record,) = world.records("Host__c", "Account__r.Name")
    assert record["Account__r"]["Name"] == "New"  # type: ignore[index]
    again = world.sync("new_accounts")
    assert (again.sent, again.unchanged) == (0, 1)


def test_a_host_whose_account_nobody_creates_is_parked_until_it_exists(world: World):
    world.fill("new_accounts", [])
    world.fill("hosts", [host("x.new.com", account_meltano_id="new.com")])
    outcome = world.sync()
    assert (outcome.created, outcome.reasons) == (0, {"reference_not_found": 1})
    world.fill("new_accounts", [{"meltano_id__c": "new.com", "name": "New"}])
    world.sync("new_accounts")
    assert world.sync().created == 1


def test_account_updates_fill_only_what_is_empty(world: World):
    """S3: what a person wrote stays."""
    rows = [
        {"id": ACME, "industry": "Retail", "numberofemployees": 99},
        {"id": CORE, "industry": "Retail", "numberofemployees": 99},
        {"id": make_id("001", 99, "Co0"), "industry": "Retail"},
    ]
    world.fill("account_updates", rows)
    outcome = world.sync("account_updates")
    assert (outcome.updated, outcome.unchanged) == (1, 1)
    assert outcome.reasons == {"record_not_found": 1}
    accounts = {each["Name"]: each for each in world.records("Account", "Name", "Industry")}
    assert accounts["Acme"]["Industry"] == "Technology"
    assert accounts["Core"]["Industry"] == "Retail"


def test_where_nothing_is_pushed_the_plan_is_kept_and_salesforce_stays_as_it_was(world: World):
    """S7: elsewhere it plans."""
    world.fill("hosts", [host("a.example.com")])
    outcome = world.sync(push=False)
    assert (outcome.to_create, outcome.sent) == (1, 0)
    assert world.records("Host__c") == []
    assert world.sql("select key, state from salesforce_sync.changes") == [
        ("a.example.com", "planned")
    ]


def test_bad_values_are_parked_by_reason_and_nothing_is_truncated(world: World):
    """S5: values are held against describe before anything is sent."""
    world.fill(
        "hosts",
        [
            host("good.example.com"),
            host("long.example.com", name="n" * 300),
            host("odd.example.com", host_data_source__c="Rumour"),
            host("na.example.com", version_link__c="#N/A"),
        ],
    )
    outcome = world.sync()
    assert outcome.created == 2
    assert outcome.reasons == {"too_long": 1, "picklist": 1}
    assert {each["Name"] for each in world.records("Host__c", "Name")} == {
        "good.example.com",
        "na.example.com",
    }
    rejects = world.sql("select key, reason, refused_by from salesforce_sync.rejects order by 1")
    assert rejects == [
        ("long.example.com", "too_long", "plan"),
        ("odd.example.com", "picklist", "plan"),
    ]


def test_an_account_whose_name_is_too_long_is_parked_and_its_host_waits_for_it(world: World):
    """S5: neither a cut name nor a host without its account."""
    named = {"meltano_id__c": "long.com", "website": "long.com"}
    ours = host("gitlab.long.com", account_meltano_id="long.com")
    world.fill("new_accounts", [{**named, "name": "n" * 300}])
    world.fill("hosts", [ours])
    first = world.sync("new_accounts")
    assert (first.created, first.reasons) == (0, {"too_long": 1})
    before = {str(each["Id"]) for each in world.records("Account", "Name")}
    assert world.sync().reasons == {"reference_not_found": 1}

    world.fill("new_accounts", [{**named, "name": "Long"}])
    assert world.sync("new_accounts").created == 1
    assert world.sync().created == 1
    (record,) = world.records("Host__c", "Account__c")
    (made,) = (each for each in world.records("Account", "Name") if str(each["Id"]) not in before)
    assert (record["Account__c"], made["Name"]) == (made["Id"], "Long")


def test_a_read_only_field_parks_the_records_that_would_change_it(world: World):
    world.fill("hosts", [host("a.example.com", host_users__c=1)])
    world.sync()
    world.faults.arm("read_only_field", field="Host__c.Host_Users__c", times=None)
    world.fill("hosts", [host("a.example.com", host_users__c=2), host("b.example.com")])
    outcome = world.sync()
    assert (outcome.created, outcome.reasons) == (1, {"not_permitted": 1})
    world.faults.clear()
    assert world.sync().updated == 1


def test_a_field_that_vanished_is_a_clear_error(world: World):
    world.fill("hosts", [host("a.example.com")])
    world.faults.arm("missing_field", field="Host__c.Host_Users__c", times=None)
    with pytest.raises(FatalError, match="no field Host_Users__c"):
        world.sync()


def test_locked_records_are_tried_again(world: World):
    """S4: a lock passes."""
    world.fill("hosts", [host(f"h{n}.example.com") for n in range(5)])
    world.faults.arm("lock_rows", times=3)
    outcome = world.sync()
    assert (outcome.created, outcome.failed) == (5, 0)


def test_a_record_that_stays_locked_is_tried_by_the_next_run(world: World):
    world.fill("hosts", [host("a.example.com"), host("b.example.com")])
    world.faults.arm("lock_rows", times=None, match="a.example.com")
    outcome = world.sync()
    assert (outcome.created, outcome.failed, outcome.reasons) == (1, 1, {"locked": 1})
    world.faults.clear()
    assert world.sync().created == 1


def test_locked_rows_of_a_bulk_job_are_tried_again(world: World):
    world.fill("hosts", [host(f"h{n}.example.com") for n in range(50)])
    world.faults.arm("lock_rows", times=7)
    outcome = world.sync()
    assert (outcome.created, outcome.failed) == (50, 0)


def test_a_duplicate_rule_parks_until_the_row_changes(world: World):
    """S4: what is refused for good waits for another row."""
    row = {"meltano_id__c": "acme.com", "name": "Acme"}
    world.fill("new_accounts", [row])
    world.faults.arm("duplicate_rule", times=None)
    outcome = world.sync("new_accounts")
    assert (outcome.created, outcome.reasons) == (0, {"duplicate": 1})
    world.faults.clear()
    held = world.sync("new_accounts")
    assert (held.created, held.parked, held.reasons) == (0, 1, {"duplicate": 1})
    ((detail,),) = world.sql("select detail from salesforce_sync.rejects")
    assert detail.startswith("DUPLICATES_DETECTED")
    world.fill("new_accounts", [{**row, "name": "Acme Holding"}])
    assert world.sync("new_accounts").created == 1
    assert world.sql("select * from salesforce_sync.rejects") == []


def test_a_session_that_ends_in_the_middle_is_renewed(world: World):
    world.fill("hosts", [host(f"h{n:03d}.example.com") for n in range(450)])
    world.options = PushOptions(bulk_threshold=1000)
    world.faults.arm("expire_session", match="composite", skip=1)
    assert world.sync().created == 450


def test_a_session_that_ends_in_a_bulk_job_is_renewed(world: World):
    world.fill("hosts", [host(f"h{n:03d}.example.com") for n in range(50)])
    world.faults.arm("expire_session", match="GET /services/data/v59.0/jobs/ingest")
    assert world.sync().created == 50
    assert len(world.records("Host__c")) == 50


def test_a_bulk_job_that_fails_half_way_is_completed(world: World):
    """S4: what a job left unprocessed is read and sent."""
    world.fill("hosts", [host(f"h{n:03d}.example.com") for n in range(60)])
    world.faults.arm("fail_bulk_job", after=25)
    outcome = world.sync()
    assert (outcome.created, outcome.failed) == (60, 0)
    assert len(world.records("Host__c")) == 60


@pytest.mark.slow
def test_a_bulk_job_of_25000_that_fails_after_10000_is_completed(world: World):
    """S4, at the size of a real job: nothing is lost, nothing is created twice."""
    world.options = PushOptions(lock_wait_seconds=0)
    world.fill("hosts", [host(f"h{n:05d}.example.com") for n in range(25_000)])
    world.faults.arm("fail_bulk_job", after=10_000)
    outcome = world.sync(force=True)
    assert (outcome.created, outcome.failed, outcome.parked) == (25_000, 0, 0)
    names = [str(record["Name"]) for record in world.records("Host__c", "Name")]
    assert len(names) == len(set(names)) == 25_000

    again = world.sync()
    assert (again.sent, again.unchanged) == (0, 25_000)


def test_an_answer_that_is_lost_creates_no_duplicate(world: World):
    """S2: the run repeated after a time-out finds what it had created."""
    world.fill("hosts", [host(f"h{n}.example.com") for n in range(5)])
    world.faults.arm("drop_after", match="PATCH /services/data/v59.0/composite")
    outcome = world.sync()
    assert outcome.sent == 5
    assert len(world.records("Host__c")) == 5


def test_a_failure_in_the_middle_is_healed_by_the_next_run(world: World):
    world.fill("hosts", [host(f"h{n:03d}.example.com") for n in range(450)])
    world.options = PushOptions(bulk_threshold=1000)
    world.faults.arm("request_limit", match="composite", skip=1, times=None)
    with pytest.raises(FatalError):
        world.sync()
    assert world.sql("select state, created from salesforce_sync.runs") == [("failed", 200)]
    world.faults.clear()
    healed = world.sync()
    assert (healed.created, healed.unchanged) == (250, 200)
    assert len(world.records("Host__c")) == 450


KILLED = """
import json, os, signal, sys
from datetime import UTC, datetime
from meltano_assets.clients.policy import Transport
from meltano_assets.clients.salesforce import SalesforceClient
from meltano_assets.salesforce_sync.push import PushOptions
from meltano_assets.salesforce_sync.sync import run_sync
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.salesforce_sync import conftest

given = json.loads(sys.argv[1])

def after(source, response):
    # What Salesforce has just done, nothing here has remembered yet.
    if given["sign"] in response.text[:300]:
        given["times"] -= 1
        if given["times"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

spec = conftest.parse_spec({"syncs": {"hosts": {**conftest.HOSTS, "depends_on": []}}})["hosts"]
with SalesforceClient(given["settings"], http=Transport(after_response=after)) as client:
    run_sync(
        Warehouse(given["url"]), client, spec, push=True, now=datetime.now(UTC), run_id="killed",
        options=PushOptions(bulk_threshold=given["threshold"]),
    )
"""


def killed_run(world: World, sign: str, times: int, threshold: int) -> None:
    """A run in another process that is killed when an answer has shown the sign so often."""
    given = {"settings": world.settings, "url": world.warehouse.url, "sign": sign, "times": times}
    given["threshold"] = threshold
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(given)],
        cwd=root,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    # Its server process notices in its own time, and holds the lock until then.
    left = (
        "select 1 from pg_stat_activity where datname = current_database()"
        " and application_name like 'meltano-assets salesforce sync%'"
    )
    deadline = time.monotonic() + 15
    while world.sql(left):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_that_is_killed_in_a_bulk_job_leaves_nothing_to_duplicate(world: World):
    world.fill("hosts", [host(f"h{n:03d}.example.com") for n in range(450)])
    killed_run(world, '"UploadComplete"', times=1, threshold=100)
    outcome = world.sync()
    assert (outcome.failed, outcome.sent + outcome.unchanged) == (0, 450)
    keys = [each["Meltano_Id__c"] for each in world.records("Host__c", "Meltano_Id__c")]
    assert len(keys) == len(set(keys)) == 450


def test_a_run_that_is_killed_leaves_nothing_to_duplicate(world: World):
    world.fill("hosts", [host(f"h{n:03d}.example.com") for n in range(450)])
    killed_run(world, '"success"', times=2, threshold=1000)
    assert len(world.records("Host__c")) == 400
    outcome = world.sync()
    assert (outcome.created, outcome.unchanged) == (50, 400)
    keys = [each["Meltano_Id__c"] for each in world.records("Host__c", "Meltano_Id__c")]
    assert len(keys) == len(set(keys)) == 450
    states = world.sql("select state from salesforce_sync.runs order by number")
    assert states == [("interrupted",), ("done",)]
    known = world.sql(
        "select c.state, count(*) from salesforce_sync.changes c"
        " join salesforce_sync.runs r on r.number = c.run_number"
        " where r.run_id = 'killed' group by 1 order by 1"
    )
    assert known == [("sent", 200), ("unknown", 250)]


def test_two_runs_at_once_exclude_each_other(world: World, eventually):
    world.fill("hosts", [host("a.example.com")])
    OutcomeStore(world.warehouse).ensure()
    world.faults.arm("slow", match="composite", seconds=1)
    outcomes = []
    other = threading.Thread(target=lambda: outcomes.append(world.sync(run_id="other")))
    other.start()
    eventually(lambda: world.sql("select 1 from salesforce_sync.runs where state = 'pushing'"))
    with pytest.raises(RetriableError, match="another run of sync hosts is under way"):
        world.sync()
    other.join()
    assert (outcomes[0].created, world.sync().sent) == (1, 0)


def test_a_key_longer_than_any_external_id_is_parked(world: World):
    world.fill("hosts", [host("k" * 20_000, name="long key"), host("a.example.com")])
    outcome = world.sync()
    assert (outcome.created, outcome.reasons) == (1, {"too_long": 1})


def test_newest_wins_by_time_and_over_what_the_sync_sent_itself(world: World):
    entry = {
        **NEW_ACCOUNTS,
        "operation": "upsert",
        "changed_at": "changed_at",
        "fields": {"name": "Name", "website": {"field": "website", "policy": "newest"}},
    }
    world.specs["accounts"] = parse_spec({"syncs": {"accounts": entry}})["accounts"]

    def sent(website: str, changed_at: datetime) -> int:
        row = {"meltano_id__c": "x.com", "name": "X", "website": website}
        world.fill("new_accounts", [{**row, "changed_at": changed_at}])
        return world.sync("accounts").sent

    # The org's time stands at nine o'clock.
    early, late = datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert sent("one.com", early) == 1
    assert sent("two.com", early) == 1
    (record,) = [each for each in world.records("Account", "Name") if each["Name"] == "X"]
    world.client.update_collection("Account", [{"Id": record["Id"], "Website": "theirs.com"}])
    assert sent("three.com", early) == 0
    assert sent("three.com", late) == 1


def test_the_breaker_stops_and_force_goes_on(world: World):
    """S6: it stops and asks."""
    from dataclasses import replace

    spec = world.specs["hosts"]
    world.specs["hosts"] = replace(spec, breaker=replace(spec.breaker, creations=3))
    world.fill("hosts", [host(f"h{n}.example.com") for n in range(4)])
    with pytest.raises(FatalError, match="would create 4 records; the limit is 3"):
        world.sync()
    assert world.records("Host__c") == []
    assert world.sql("select state from salesforce_sync.runs") == [("stopped",)]
    assert world.sync(force=True).created == 4


def test_the_breaker_knows_the_share_of_the_org(world: World):
    from dataclasses import replace

    spec = world.specs["hosts"]
    breaker = replace(spec.breaker, changed_percent=50, changed_floor=5)
    world.specs["hosts"] = replace(spec, breaker=breaker)
    rows = [host(f"h{n}.example.com", host_users__c=1) for n in range(12)]
    world.fill("hosts", rows)
    world.sync()
    world.fill("hosts", [{**row, "host_users__c": 2} for row in rows[:6]] + rows[6:])
    assert world.sync().updated == 6
    world.fill("hosts", [{**row, "host_users__c": 3} for row in rows[:7]] + rows[7:])
    with pytest.raises(FatalError, match="7 of 12 Host__c records"):
        world.sync()


def test_a_plan_that_was_seen_can_be_pushed_until_something_else_was(world: World):
    """S1: what is pushed is what was looked at."""
    world.fill("hosts", [host("a.example.com")])
    spec = world.specs["hosts"]
    made = plan_sync(world.warehouse, world.client, spec, now=NOW, run_id="seen")
    text = render_plan(made)
    assert "1 to create" in text and "a.example.com" in text
    data = json.loads(render_plans([made]))[0]
    assert data["changes"][0]["fields"]["Name"] == {"before": None, "after": "a.example.com"}
    assert push_sync(world.warehouse, world.client, made).created == 1
    with pytest.raises(FatalError, match="out of date"):
        push_sync(world.warehouse, world.client, made)


def test_a_records_history_is_found_by_key_and_by_id(world: World):
    world.fill("hosts", [host("a.example.com", host_users__c=1)])
    world.sync()
    world.fill("hosts", [host("a.example.com", host_users__c=2)])
    world.sync()
    (record,) = world.records("Host__c")
    by_key = show_record(world.warehouse, "a.example.com")
    assert by_key == show_record(world.warehouse, str(record["Id"]))
    assert [each["action"] for each in by_key["changes"]] == ["update", "create"]
    assert by_key["changes"][0]["before"] == {"Host_Users__c": "1"}
    assert by_key["ledger"][0]["state"] == "sent"
    told = render_history(by_key).splitlines()
    assert told[0] == f"hosts: Host__c a.example.com ({record['Id']}): sent"
    assert "  Host_Users__c: 1 → 2" in told
    assert sum("hosts create: sent  run run1" in line for line in told) == 1


def test_personal_values_are_shown_to_the_one_who_asks_and_kept_nowhere(world: World):
    """P4, S1: what is kept with a run in the UI names the field and hides its value."""
    entry = {
        "model": "new_accounts",
        "object": "Account",
        "external_id": "Meltano_Id__c",
        "operation": "create",
        "fields": {
            "name": {"field": "Name", "personal": True},
            "website": "Phone",
            "type": "Type",
        },
    }
    world.specs["people"] = parse_spec({"syncs": {"people": entry}})["people"]
    row = {"meltano_id__c": "p.com", "name": "Jo Doe", "website": "+1 555 1", "type": "Prospect"}
    world.fill("new_accounts", [row])
    made = plan_sync(world.warehouse, world.client, world.specs["people"], now=NOW, run_id="x")
    shown, kept = render_plan(made), render_plan(made, is_private=True)
    assert "Jo Doe" in shown
    assert "+1 555 1" in shown
    assert "Jo Doe" not in kept
    assert "+1 555 1" not in kept
    assert "Name: (personal)" in kept
    assert "Type: Prospect" in kept


def test_an_empty_model_asks_salesforce_nothing(world: World):
    world.fill("hosts", [])
    outcome = world.sync()
    assert (outcome.rows, outcome.requests) == (0, 0)


def test_any_model_syncs_to_any_object_by_one_entry(world: World):
    """Leads: nothing in the engine knows them."""
    made = world.client.create_collection(
        "Lead",
        [
            {"LastName": "Ng", "Company": "Acme", "Industry": "Retail"},
            {"LastName": "Roy", "Company": "Bolt"},
            {"LastName": "Sy", "Company": "Core"},
        ],
    )
    entry = {
        "model": "scored_leads",
        "object": "Lead",
        "match": "lead_id",
        "operation": "update",
        "fields": {
            "industry": {"field": "Industry", "policy": "fill_if_empty"},
            "title": {"field": "Title", "policy": "own"},
            "company": {"field": "Company", "policy": "never"},
        },
    }
    world.specs["leads"] = parse_spec({"syncs": {"leads": entry}})["leads"]
    assert check_org(world.client, [world.specs["leads"]]) == []
    rows = [
        {"lead_id": answer.id, "industry": "Energy", "title": title, "company": "other"}
        for answer, title in zip(made, ["CTO", "t" * 200, None], strict=True)
    ]
    world.fill("scored_leads", rows)
    outcome = world.sync("leads")
    assert (outcome.updated, outcome.reasons) == (2, {"too_long": 1})
    leads = world.records("Lead", "LastName", "Industry", "Title", "Company")
    assert [(each["Industry"], each["Title"], each["Company"]) for each in leads] == [
        ("Retail", "CTO", "Acme"),
        (None, None, "Bolt"),
        ("Energy", None, "Core"),
    ]
    assert world.sync("leads").sent == 0


def test_progress_is_told(world: World):
    world.fill("hosts", [host(f"h{n}.example.com") for n in range(3)])
    seen: list[tuple[int, int]] = []
    world.sync(on_progress=lambda so_far: seen.append((so_far.done, so_far.total)))
    assert seen == [(3, 3)]
