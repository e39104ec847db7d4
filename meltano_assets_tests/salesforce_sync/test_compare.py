"""S1, S3 and S5, claims about planning: policies, canonical comparison, rejects, accounting, speed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltano_assets.errors import FatalError
from meltano_assets.salesforce_sync.compare import plan
from meltano_assets.salesforce_sync.plan import LedgerEntry, Plan
from meltano_assets.salesforce_sync.spec import Reference
from meltano_assets_tests.salesforce_sync.builders import (
    NOW,
    all_parents,
    current_of,
    describe_field,
    host_org,
    host_spec,
    planned,
    reasons,
    rows_of,
    sent,
)

A = "a00000000000001AAA"


def record(key: str = "h1", **values: str | None) -> dict[str, str | None]:
    return {"Id": A, "Meltano_Id__c": key, **values}


def row(key: str | None = "h1", **values: object) -> dict[str, object]:
    return {"meltano_id__c": key, **values}


def one_field(policy: str, field: str = "Name", **options: object):
    rule = {"field": field, "policy": policy, **options}
    extra = {"changed_at": "updated_at"} if policy == "newest" else {}
    return host_spec({"value": rule}, **extra)


# -- policies --


@pytest.mark.parametrize("policy", ["own", "fill_if_empty", "newest", "create_only"])
def test_a_created_record_gets_every_field_that_has_a_value(policy):
    made = planned(one_field(policy), [row(value="x"), row("h2", value=None)])
    assert sent(made) == {"h1": {"Name": "x"}, "h2": {}}
    assert (made.creations, made.updates) == (2, 0)


def test_never_is_not_sent_even_for_a_new_record():
    """S3: never."""
    made = planned(one_field("never"), [row(value="x")])
    assert sent(made) == {"h1": {}}


def test_own_overwrites_what_differs_and_leaves_what_agrees():
    """S3: own."""
    made = planned(
        one_field("own"),
        [row("h1", value="new"), row("h2", value="same")],
        [record("h1", Name="old"), record("h2", Id="a00000000000002AAA", Name="same")],
    )
    assert sent(made) == {"h1": {"Name": "new"}}
    assert made.changes[0].before == {"Name": "old"}
    assert made.changes[0].record_id == A
    assert made.unchanged == 1


@pytest.mark.parametrize("policy", ["own", "newest", "fill_if_empty"])
def test_null_in_the_model_never_erases(policy):
    made = planned(
        one_field(policy),
        [row(value=None, updated_at=datetime(2030, 1, 1, tzinfo=UTC))],
        [record(Name="kept", LastModifiedDate="2020-01-01T00:00:00.000+0000")],
    )
    assert made.changes == ()


def test_null_erases_only_where_the_field_says_erase():
    made = planned(one_field("own", erase=True), [row(value=None)], [record(Name="gone")])
    assert sent(made) == {"h1": {"Name": None}}


def test_erase_cannot_empty_a_checkbox():
    spec = one_field("own", "Mattermost_Enabled__c", erase=True)
    made = planned(spec, [row(value=None)], [record(Mattermost_Enabled__c="true")])
    assert made.changes == ()


@pytest.mark.parametrize("erase", [True, False])
@pytest.mark.parametrize("value", ["#N/A", " #N/A ", "", "  "])
def test_not_available_and_blanks_in_the_data_are_no_values(value, erase):
    """S3: ``#N/A`` in the data erases nothing."""
    made = planned(one_field("own"), [row(value=value)], [record(Name="kept")])
    assert made.changes == ()
    assert sent(planned(one_field("own"), [row(value=value)])) == {"h1": {}}


def test_fill_if_empty_fills_and_never_overwrites():
    """S3: fill_if_empty."""
    made = planned(
        one_field("fill_if_empty"),
        [row("h1", value="x"), row("h2", value="x")],
        [record("h1", Name=None), record("h2", Name="theirs")],
    )
    assert sent(made) == {"h1": {"Name": "x"}}


def test_create_only_and_never_leave_existing_records_alone():
    for policy in ("create_only", "never"):
        assert planned(one_field(policy), [row(value="x")], [record(Name=None)]).changes == ()


@pytest.mark.parametrize(
    ("updated_at", "wins"),
    [(datetime(2026, 2, 2, tzinfo=UTC), True), (datetime(2026, 1, 31, tzinfo=UTC), False)],
)
def test_newest_compares_the_row_with_the_records_last_change(updated_at, wins):
    """S3: newest."""
    made = planned(
        one_field("newest"),
        [row(value="ours", updated_at=updated_at)],
        [record(Name="theirs", LastModifiedDate="2026-02-01T00:00:00.000+0000")],
    )
    assert bool(made.changes) is wins


def test_newest_replaces_what_the_sync_itself_sent_last():
    # The record's last change is our own push, later than the row's time.
    ledger = {"h1": LedgerEntry("sent", "", sent={"Name": "ours"})}
    old_row = [row(value="ours, corrected", updated_at=datetime(2026, 1, 1, tzinfo=UTC))]
    here = [record(Name="ours", LastModifiedDate="2026-02-01T00:00:00.000+0000")]
    assert planned(one_field("newest"), old_row, here, ledger=ledger).updates == 1
    here[0]["Name"] = "someone else's"
    assert planned(one_field("newest"), old_row, here, ledger=ledger).updates == 0


def test_create_leaves_existing_records_alone_and_counts_them_unchanged():
    spec = host_spec(operation="create")
    made = planned(spec, [row(name="x"), row("h2", name="y")], [record(Name="other")])
    assert sent(made) == {"h2": {"Name": "y"}}
    assert made.unchanged == 1


def test_update_matches_by_id_and_parks_records_that_are_gone():
    spec = host_spec({"name": "Name"}, operation="update", match="id", external_id=None)
    made = planned(
        spec,
        [{"id": A[:15], "name": "x"}, {"id": "a00000000000009AAA", "name": "y"}],
        [record(Name=None)],
    )
    assert sent(made) == {A: {"Name": "x"}}
    assert reasons(made) == {"a00000000000009AAA": "record_not_found"}


# -- one spelling for equal values --


@pytest.mark.parametrize(
    ("field", "ours", "theirs"),
    [
        ("Name", "  Acme ", "Acme"),
        ("Notes__c", "a\r\nb", "a\nb"),
        ("Host_Users__c", Decimal("250.000"), "250"),
        ("Host_Users__c", 250, "250"),
        ("Host_Users__c", 250.0, "250"),
        ("Host_Users__c", "250", "250"),
        ("Host_Users__c", Decimal("-0.2"), "0"),
        ("Score__c", Decimal("7.255"), "7.26"),
        ("Last_Ping__c", date(2026, 2, 1), "2026-02-01"),
        ("Last_Ping__c", datetime(2026, 2, 1, 23, 59, tzinfo=UTC), "2026-02-01"),
        ("Seen_At__c", datetime(2026, 2, 1, 1, 2, 3, 999, UTC), "2026-02-01T01:02:03.000+0000"),
        ("Seen_At__c", "2026-02-01T03:02:03+02:00", "2026-02-01T01:02:03.000+0000"),
        ("Mattermost_Enabled__c", True, "true"),
        ("Mattermost_Enabled__c", "f", "false"),
        ("Account__c", "001D000000IqhSL", "001D000000IqhSLIAZ"),
        ("Link__c", "example.com", "http://example.com/"),
        ("Tags__c", "b; a", "a;b"),
    ],
)
def test_values_that_mean_the_same_are_unchanged(field, ours, theirs):
    made = planned(one_field("own", field), [row(value=ours)], [record(**{field: theirs})])
    assert sent(made) == {}
    assert made.unchanged == 1


def test_external_ids_match_whatever_their_case_unless_the_field_is_case_sensitive():
    spec = one_field("own")
    rows, here = [row("Example.COM", value="x")], [record("example.com", Name="x")]
    assert planned(spec, rows, here).changes == ()
    exact = host_org(Meltano_Id__c={"caseSensitive": True})
    assert planned(spec, rows, here, org=exact).creations == 1


# -- rejects --


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("Name", "n" * 300, "too_long"),
        ("Name", "😀" * 41, "too_long"),
        ("License_Ids__c", "1, " * 86 + "1", "too_long"),
        ("Source__c", "Rumour", "picklist"),
        ("Host_Users__c", "many", "wrong_type"),
        ("Host_Users__c", float("nan"), "wrong_type"),
        ("Host_Users__c", True, "wrong_type"),
        ("Score__c", Decimal("10000"), "out_of_range"),
        ("Seats__c", 7.25, "wrong_type"),
        ("Seats__c", 100_000_000, "out_of_range"),
        ("Last_Ping__c", "yesterday", "wrong_type"),
        ("Last_Ping__c", date(1066, 10, 14), "out_of_range"),
        ("Seen_At__c", "9999-12-31T23:59:59-12:00", "wrong_type"),
        ("Mattermost_Enabled__c", "perhaps", "wrong_type"),
        ("Account__c", "not-an-id", "not_an_id"),
    ],
)
def test_a_value_that_salesforce_would_refuse_parks_the_record_whole(field, value, reason):
    """S5: length, type, picklist."""
    spec = one_field("own", field)
    for current in ([], [record()]):
        made = planned(spec, [row(value=value)], current)
        assert made.changes == ()
        assert reasons(made) == {"h1": reason}
        assert made.parked[0].reject.field == field
        assert str(value) not in made.parked[0].reject.detail


def test_values_at_the_limit_pass_untruncated():
    name = "😀" * 40
    made = planned(one_field("own"), [row(value=name), row("h2", value="n" * 80)])
    assert sent(made) == {"h1": {"Name": name}, "h2": {"Name": "n" * 80}}


def test_a_bad_value_that_would_not_be_sent_parks_nothing():
    made = planned(one_field("fill_if_empty"), [row(value="n" * 300)], [record(Name="theirs")])
    assert made.parked == ()
    assert made.unchanged == 1


def test_an_unrestricted_picklist_takes_new_values():
    org = host_org(Source__c={"restrictedPicklist": False})
    made = planned(one_field("own", "Source__c"), [row(value="Rumour")], org=org)
    assert made.parked == ()


def test_a_field_that_became_read_only_parks_with_its_name():
    org = host_org(Name={"updateable": False})
    made = planned(
        one_field("own"), [row(value="new"), row("h2", value="x")], [record(Name="old")], org=org
    )
    assert reasons(made) == {"h1": "not_permitted"}
    assert "Name" in made.parked[0].reject.detail
    assert sent(made) == {"h2": {"Name": "x"}}


def test_missing_duplicate_and_ambiguous_keys_are_parked():
    made = planned(
        one_field("own"),
        [row(None, value="x"), row("d", value="x"), row("D", value="y"), row("m", value="z")],
        [record("m", Name="1"), record("M", Name="2")],
    )
    assert [each.reject.reason for each in made.parked] == [
        "missing_key",
        "duplicate_key",
        "duplicate_key",
        "ambiguous_match",
    ]
    assert made.changes == ()


def test_a_new_record_without_a_required_field_is_parked():
    org = host_org(Notes__c={"nillable": False})
    spec = host_spec({"name": "Name", "notes": "Notes__c"})
    made = planned(spec, [row(name="x"), row("h2", name="y", notes="z")], org=org)
    assert reasons(made) == {"h1": "required_field"}
    assert set(sent(made)) == {"h2"}


def test_what_salesforce_refused_waits_until_the_row_changes():
    spec = one_field("own")
    first = planned(spec, [row(value="x")])
    word = first.changes[0].row_hash
    ledger = {"h1": LedgerEntry("parked", word, "duplicate", "rule", refused_by="salesforce")}
    held = planned(spec, [row(value="x")], ledger=ledger)
    assert held.changes == ()
    assert (held.parked[0].is_held, held.parked[0].reject.reason) == (True, "duplicate")
    assert planned(spec, [row(value="y")], ledger=ledger).creations == 1
    other_spec = one_field("fill_if_empty")
    assert planned(other_spec, [row(value="x")], ledger=ledger).creations == 1


def test_what_planning_refused_is_judged_anew_each_time():
    spec = one_field("own", "Source__c")
    made = planned(spec, [row(value="Rumour")])
    ledger = {"h1": LedgerEntry("parked", made.parked[0].row_hash, "picklist", refused_by="plan")}
    org = host_org(Source__c={"restrictedPicklist": False})
    assert planned(spec, [row(value="Rumour")], org=org, ledger=ledger).creations == 1


def test_a_reverted_record_is_not_sent_again_until_its_row_changes():
    spec = one_field("own")
    word = planned(spec, [row(value="x")]).changes[0].row_hash
    ledger = {"h1": LedgerEntry("reverted", word)}
    assert planned(spec, [row(value="x")], [record(Name="old")], ledger=ledger).changes == ()
    assert planned(spec, [row(value="z")], [record(Name="old")], ledger=ledger).updates == 1


def test_a_failure_is_tried_again_and_resolved_when_nothing_is_left_to_do():
    ledger = {"h1": LedgerEntry("failed", "w", "locked"), "gone": LedgerEntry("parked", "w", "x")}
    spec = one_field("own")
    made = planned(spec, [row(value="x")], [record(Name="old")], ledger=ledger)
    assert made.updates == 1
    assert made.resolved == ("gone",)
    made = planned(spec, [row(value="x")], [record(Name="x")], ledger=ledger)
    assert set(made.resolved) == {"h1", "gone"}


# -- references --


def parent_spec(policy: str = "own"):
    return host_spec(
        {"account__c": {"field": "Account__c", "policy": policy}},
        references={"parent": {"relationship": "Account__r", "external_id": "Meltano_Id__c"}},
    )


def test_a_parent_is_named_by_external_id_only_where_its_id_is_unknown():
    account = "001D000000IqhSLIAZ"
    made = planned(
        parent_spec(),
        [row("h1", parent="acme.com"), row("h2", parent="acme.com", account__c=account)],
        parents=all_parents,
    )
    assert sent(made) == {
        "h1": {"Account__r.Meltano_Id__c": "acme.com"},
        "h2": {"Account__c": account},
    }
    assert made.changes[0].parent == "acme.com"


def test_a_parent_that_exists_nowhere_parks_the_record():
    asked: list[set[str]] = []

    def lookup(reference: Reference, wanted: Collection[str]) -> Collection[str]:
        asked.append(set(wanted))
        return {"ACME.com"}

    made = planned(
        parent_spec(), [row("h1", parent="acme.com"), row("h2", parent="x.com")], parents=lookup
    )
    assert asked == [{"acme.com", "x.com"}]
    assert reasons(made) == {"h2": "reference_not_found"}


def test_a_parent_already_set_is_unchanged_and_not_asked_for():
    def lookup(reference: Reference, wanted: Collection[str]) -> Collection[str]:
        raise AssertionError("nothing to look up")

    here = [record(**{"Account__c": "001D000000IqhSLIAZ", "Account__r.Meltano_Id__c": "Acme.com"})]
    made = planned(parent_spec(), [row(parent="acme.com")], here, parents=lookup)
    assert made.unchanged == 1


def test_fill_if_empty_keeps_another_parent():
    here = [record(**{"Account__c": "001D000000IqhSLIAZ", "Account__r.Meltano_Id__c": None})]
    made = planned(
        parent_spec("fill_if_empty"), [row(parent="acme.com")], here, parents=all_parents
    )
    assert made.changes == ()


# -- accounting, breaker, generality, speed --


def test_every_row_is_accounted_for():
    spec = one_field("own")
    rows = [row("new", value="x"), row("h1", value="x"), row("h2", value="y")]
    rows += [row(None, value="x"), row("long", value="n" * 99)]
    made = planned(spec, rows, [record("h1", Name="x"), record("h2", Name="x")])
    assert (made.creations, made.updates, made.unchanged, len(made.parked)) == (1, 1, 1, 2)
    assert made.rows == 5
    assert made.reasons == {"missing_key": 1, "too_long": 1}


def test_the_breaker_counts_creations_and_the_share_of_the_org():
    """S6: creations and the share of changed records."""
    spec = host_spec(breaker={"changed_percent": 10, "creations": 3})
    rows = [row(f"h{n}", name="new") for n in range(300)]
    here = [{"Id": A, "Meltano_Id__c": f"h{n}", "Name": "old"} for n in range(300)]
    made = planned(spec, rows, here)
    assert made.needs_org_count
    assert made.breaker is None
    assert "300 of 1000" in (breaker_with(made, 1000) or "")
    assert breaker_with(made, 10_000) is None
    assert "create 4" in (planned(spec, rows[:4]).breaker or "")
    assert planned(spec, rows[:3]).breaker is None
    assert not planned(spec, rows[:200], here[:200]).needs_org_count


def breaker_with(made: Plan, org_records: int) -> str | None:
    return Plan(
        made.spec,
        made.run_id,
        made.planned_at,
        made.description,
        made.rows,
        made.changes,
        org_records=org_records,
    ).breaker


def test_wrong_names_are_named():
    with pytest.raises(FatalError, match="no column"):
        plan(
            host_spec(),
            pa.table({"meltano_id__c": ["x"]}),
            current_of(host_spec(), host_org()),
            host_org(),
            {},
            run_id="r",
            now=NOW,
        )
    with pytest.raises(FatalError, match="Nmae"):
        planned(host_spec({"name": "Nmae"}), [row(name="x")])


def test_an_empty_model_plans_nothing():
    made = planned(one_field("own"), [])
    assert (made.rows, made.changes, made.parked) == (0, (), ())


hostile = st.text(max_size=30) | st.sampled_from(["#N/A", "x\x00y", "\u202eevil", "a\r\nb", "😀"])


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=3),
        st.tuples(st.none() | hostile, st.none() | st.integers(-(10**17), 10**17)),
        max_size=8,
    )
)
def test_what_was_sent_is_unchanged_when_planned_again(values):
    spec = host_spec({"name": "Name", "users": "Host_Users__c"})
    rows = [row(key, name=name, users=users) for key, (name, users) in values.items()]
    made = planned(spec, rows)
    stored = [{"Id": A, "Meltano_Id__c": key, **after} for key, after in sent(made).items()]
    again = planned(spec, rows, stored)
    parked = {each.key for each in made.parked}
    assert again.changes == ()
    assert {each.key for each in again.parked} == parked


def test_the_engine_is_general():
    """A Lead sync is one entry; nothing else has to know leads."""
    from meltano_assets.salesforce_sync.spec import parse_spec
    from meltano_assets.salesforce_sync.values import parse_describe

    entry = {
        "model": "scored_leads",
        "object": "Lead",
        "external_id": "Score_Id__c",
        "fields": {
            "last_name": {"field": "LastName", "policy": "create_only"},
            "company": {"field": "Company", "policy": "fill_if_empty"},
            "score": {"field": "Score__c", "policy": "own"},
        },
    }
    spec = parse_spec({"syncs": {"leads": entry}})["leads"]
    org = parse_describe(
        {
            "name": "Lead",
            "fields": [
                describe_field("Id", "id"),
                describe_field("LastName", length=80, nillable=False),
                describe_field("Company", length=255, nillable=False),
                describe_field("Score__c", "double", precision=5, scale=1),
                describe_field("Score_Id__c", externalId=True),
            ],
        }
    )
    rows = [
        {"score_id__c": "l1", "last_name": "Ng", "company": "Acme", "score": 4.25},
        {"score_id__c": "l2", "last_name": "Ng", "company": None, "score": 1},
    ]
    made = planned(spec, rows, org=org)
    assert sent(made) == {"l1": {"LastName": "Ng", "Company": "Acme", "Score__c": "4.3"}}
    assert reasons(made) == {"l2": "required_field"}
    assert rows_of(spec, rows).num_rows == made.rows
