"""Claims about the spec file: its shape, its defaults, and errors that name the wrong word."""

from __future__ import annotations

import copy

import pytest

from meltano_assets.errors import FatalError
from meltano_assets.salesforce_sync.spec import load_spec, parse_spec, select_syncs

HOSTS = {
    "model": "sync_salesforce_hosts",
    "object": "Host__c",
    "external_id": "Meltano_Id__c",
    "operation": "upsert",
    "depends_on": ["accounts"],
    "references": {
        "account_meltano_id": {"relationship": "Account__r", "external_id": "Meltano_Id__c"}
    },
    "fields": {
        "meltano_id__c": {"field": "Meltano_Id__c", "policy": "own"},
        "name": {"field": "Name", "policy": "own"},
        "account__c": {"field": "Account__c", "policy": "fill_if_empty"},
        "account_meltano_id": {"field": "Account__c", "policy": "fill_if_empty"},
    },
}
ACCOUNTS = {
    "model": "new_accounts",
    "object": "Account",
    "external_id": "Meltano_Id__c",
    "operation": "create",
    "fields": {"name": "Name"},
}


def document(**hosts: object) -> dict[str, object]:
    entry = copy.deepcopy(HOSTS)
    entry.update(hosts)
    return {"syncs": {"hosts": entry, "accounts": copy.deepcopy(ACCOUNTS)}}


def test_the_shipped_file_is_sound_and_in_push_order():
    specs = load_spec()
    assert list(specs).index("new_accounts") < list(specs).index("hosts")
    assert specs["account_updates"].matches_by_id
    assert {rule.policy for rule in specs["account_updates"].fields} == {"fill_if_empty"}


def test_the_shipped_syncs_send_the_fields_of_host_records_and_accounts():
    """H7: all that the uploads of 2018 sent, under the same names, keyed by our external id."""
    specs = load_spec()

    def sent(sync: str) -> set[str]:
        rules = [*specs[sync].fields, *specs[sync].references]
        return {rule.field for rule in rules} | {specs[sync].key_field}

    assert sent("hosts") >= {
        "Account__c",
        "GitLab_Edition__c",
        "GitLab_Version__c",
        "Host_Data_Source__c",
        "Host_Users__c",
        "Installation_Type__c",
        "Last_Ping__c",
        "License_Ids__c",
        "Mattermost_Enabled__c",
        "Meltano_Id__c",
        "Name",
        "Original_Hostname__c",
        "Raw_Usage_Stats__c",
        "Raw_Version_Stats__c",
        "Version_Link__c",
    }
    created = {
        "AccountSource",
        "Meltano_Id__c",
        "Name",
        "OwnerId",
        "Type",
        "Using_CE__c",
        "Website",
    }
    assert sent("new_accounts") >= created
    described = {"Description", "Industry", "NumberOfEmployees", "Website"}
    assert sent("account_updates") >= {*described, "Id"}


def test_an_entry_becomes_a_sync():
    specs = parse_spec(document())
    assert list(specs) == ["accounts", "hosts"]
    hosts = specs["hosts"]
    assert hosts.depends_on == (specs["accounts"],)
    assert (hosts.key_column, hosts.key_field) == ("meltano_id__c", "Meltano_Id__c")
    assert [rule.field for rule in hosts.fields] == ["Name", "Account__c"]
    (reference,) = hosts.references
    assert reference.path == "Account__r.Meltano_Id__c"
    assert (reference.field, reference.policy) == ("Account__c", "fill_if_empty")
    assert hosts.columns == ("meltano_id__c", "name", "account__c", "account_meltano_id")


def test_a_reference_takes_the_policy_of_its_lookup():
    entry = document()
    del entry["syncs"]["hosts"]["fields"]["account_meltano_id"]  # type: ignore[index]
    (reference,) = parse_spec(entry)["hosts"].references
    assert (reference.field, reference.policy) == ("Account__c", "fill_if_empty")


def test_policies_and_breakers_default_by_operation():
    specs = parse_spec(
        {
            "syncs": {
                "mine": {**ACCOUNTS, "operation": "upsert"},
                "theirs": {
                    "model": "m",
                    "object": "Account",
                    "match": "id",
                    "operation": "update",
                    "fields": {"name": "Name"},
                },
            }
        }
    )
    assert [spec.fields[0].policy for spec in specs.values()] == ["own", "fill_if_empty"]
    assert [spec.breaker.changed_percent for spec in specs.values()] == [100, 50]


def test_the_digest_follows_what_decides_about_values():
    one, same = parse_spec(document())["hosts"], parse_spec(document(model="other"))["hosts"]
    fields = {**HOSTS["fields"], "name": {"field": "Name", "policy": "create_only"}}
    assert one.digest == same.digest
    assert one.digest != parse_spec(document(fields=fields))["hosts"].digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objekt": "X"}, ["objekt", "did you mean object"]),
        ({"object": None}, ["object", "API name"]),
        ({"object": "Host__c; DROP"}, ["object", "API name"]),
        ({"model": "Robert'); --"}, ["model", "lower-case"]),
        ({"operation": "upsurt"}, ["upsurt", "did you mean upsert"]),
        ({"external_id": None}, ["external_id"]),
        ({"match": "id"}, ["both external_id and match"]),
        ({"match": "id", "external_id": None}, ["match fits only operation update"]),
        ({"depends_on": ["acounts"]}, ["acounts", "did you mean accounts"]),
        ({"depends_on": "accounts"}, ["depends_on", "list"]),
        ({"depends_on": ["hosts"]}, ["circle", "hosts → hosts"]),
        ({"fields": {}, "references": {}}, ["nothing to sync"]),
        ({"fields": None}, ["fields", "nothing"]),
        ({"fields": {"name": {"field": "Name", "policy": "owns"}}}, ["owns", "did you mean own"]),
        ({"fields": {"name": {"feld": "Name"}}}, ["feld", "did you mean field"]),
        ({"fields": {"a": "Name", "b": "Name"}}, ["a and b both go to Name"]),
        ({"fields": {"name": {"field": "Name", "policy": "newest"}}}, ["newest", "changed_at"]),
        ({"fields": {"name": {"field": "Name", "erase": "yes"}}}, ["erase", "true or false"]),
        ({"fields": {"name": {"field": "Name", "length": "80"}}}, ["length", "whole number"]),
        ({"fields": {"name": {"field": "Name", "type": "txt"}}}, ["txt", "did you mean text"]),
        ({"references": {"x": {"relationship": "Account__r"}}}, ["references: x: external_id"]),
        ({"breaker": {"changed_percent": 120}}, ["changed_percent", "0 to 100"]),
        ({"breaker": {"creations": -1}}, ["creations"]),
        ({"breaker": {"percent": 1}}, ["percent", "did you mean changed_percent"]),
    ],
)
def test_what_is_wrong_is_named(change, words):
    with pytest.raises(FatalError) as raised:
        parse_spec(document(**change), "sync.yml")
    for word in ["sync.yml", *words]:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("syncs: [", ["line 1"]),
        ("just text", ["at the left margin"]),
        ("syncs:\n  a: {}\n  a: {}\n", ["line 3", "a stands there twice"]),
        ("", ["found nothing"]),
        ("sinks: {}", ["sinks", "syncs"]),
    ],
)
def test_a_broken_file_says_where(tmp_path, text, words):
    path = tmp_path / "my_syncs.yml"
    path.write_text(text)
    with pytest.raises(FatalError) as raised:
        load_spec(path)
    for word in ["my_syncs.yml", *words]:
        assert word in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FatalError, match=r"none\.yml"):
        load_spec(tmp_path / "none.yml")


def test_syncs_are_selected_in_push_order_and_wrong_names_suggest_right_ones():
    specs = parse_spec(document())
    assert [spec.name for spec in select_syncs(specs, [])] == ["accounts", "hosts"]
    assert [spec.name for spec in select_syncs(specs, ["hosts", "accounts"])] == list(specs)
    with pytest.raises(FatalError, match="did you mean hosts"):
        select_syncs(specs, ["host"])
