"""Claims about comparing an org with what the syncs need."""

from __future__ import annotations

import re
from collections.abc import Mapping

from meltano_assets.errors import FatalError
from meltano_assets.salesforce_sync.check import check_org, needed_permissions
from meltano_assets.salesforce_sync.spec import load_spec
from meltano_assets_tests.salesforce_sync.builders import describe_field, host_spec
from meltano_assets_tests.salesforce_sync.conftest import World


class DescribedOrg:
    """Answers describe calls from a dictionary."""

    def __init__(self, objects: Mapping[str, object]) -> None:
        self.objects = objects

    def describe(self, name: str) -> object:
        if name not in self.objects:
            raise FatalError(f"answer 404 (NOT_FOUND) to GET …/sobjects/{name}/describe")
        return self.objects[name]


def org(*fields: dict[str, object], **flags: object) -> DescribedOrg:
    return DescribedOrg({"Host__c": {"name": "Host__c", "fields": list(fields), **flags}})


KEY = describe_field("Meltano_Id__c", externalId=True, unique=True)
NAME = describe_field("Name", length=80)


def found(client: DescribedOrg, **spec_values: object) -> list[tuple[str, str | None]]:
    findings = check_org(client, [host_spec(**spec_values)])  # type: ignore[arg-type]
    return [(each.level, each.field) for each in findings]


def test_the_sandbox_org_has_all_that_the_syncs_need(world: World):
    assert check_org(world.client, world.specs.values()) == []


def test_a_sound_org_has_no_findings():
    assert found(org(KEY, NAME)) == []


def test_a_missing_object_is_described_with_all_its_fields():
    fields = {"name": "Name", "score": {"field": "Score__c", "type": "number"}}
    (finding,) = check_org(DescribedOrg({}), [host_spec(fields)])  # type: ignore[arg-type]
    assert (finding.level, finding.field) == ("error", None)
    for word in [
        "Custom Object",
        "Meltano_Id__c (Text(255), External ID, Unique",
        "Score__c (Number)",
    ]:
        assert word in finding.fix


def test_the_shipped_syncs_say_exactly_what_to_create_in_an_empty_org():
    """Nothing is guessed: each custom field comes with its type, and the permission set in full."""
    specs = load_spec().values()
    account = {"name": "Account", "fields": [NAME]}
    findings = check_org(DescribedOrg({"Account": account}), specs)  # type: ignore[arg-type]
    told = "\n".join(finding.fix for finding in findings)
    for definition in (
        "Custom Object: label Host, object name Host",
        "Meltano_Id__c (Text(255), External ID, Unique, case-insensitive)",
        "Raw_Usage_Stats__c (Long Text Area(131072))",
        "Account__c (Lookup, relationship Account__r)",
        "Using_CE__c (Checkbox)",
        "Active_CE_Users__c (Number)",
    ):
        assert definition in told
    custom = re.findall(r"(\w+__c)(?: \((\w+))?", told)
    assert {name for name, kind in custom if not kind} <= {"Host__c"}
    assert needed_permissions(specs)[:3] == [
        "System: API Enabled",
        "Object Account: read, create, edit, delete (to revert)",
        "Fields of Account, read and edit: Meltano_Id__c, Website, Type, AccountSource, OwnerId, "
        "Using_CE__c, Active_CE_Users__c, Industry, Description, NumberOfEmployees, Phone",
    ]


def test_a_user_who_may_not_delete_cannot_revert_creations():
    assert found(org(KEY, NAME, deletable=False)) == [("warning", None)]
    by_id = org(NAME, deletable=False)
    assert found(by_id, operation="update", external_id=None, match="id") == []


def test_the_key_must_be_an_external_id_and_should_be_unique():
    assert found(org(NAME)) == [("error", "Meltano_Id__c")]
    assert found(org(describe_field("Meltano_Id__c"), NAME)) == [("error", "Meltano_Id__c")]
    plain = describe_field("Meltano_Id__c", externalId=True)
    assert found(org(plain, NAME)) == [("warning", "Meltano_Id__c")]


def test_missing_fields_types_lengths_and_permissions_are_named():
    """S5: the org is held against what the syncs need."""
    fields = {
        "a": {"field": "A__c", "policy": "own", "type": "text", "length": 255},
        "b": {"field": "B__c", "policy": "own", "type": "number"},
        "c": {"field": "C__c", "policy": "own", "length": 255},
        "d": {"field": "D__c", "policy": "own"},
        "e": {"field": "E__c", "policy": "never"},
    }
    client = org(
        KEY,
        describe_field("B__c"),
        describe_field("C__c", length=40),
        describe_field("D__c", updateable=False),
        describe_field("E__c", updateable=False, createable=False),
    )
    findings = check_org(client, [host_spec(fields)])  # type: ignore[arg-type]
    assert [(each.level, each.field) for each in findings] == [
        ("error", "A__c"),
        ("error", "B__c"),
        ("warning", "C__c"),
        ("warning", "D__c"),
    ]
    assert "A__c (Text(255))" in findings[0].fix
    assert "Host__c.A__c" in str(findings[0])


def test_rights_on_the_object_are_checked():
    assert found(org(KEY, NAME, createable=False)) == [("error", None)]


def test_a_missing_relationship_and_the_parents_key_are_named():
    references = {"parent": {"relationship": "Account__r", "external_id": "Meltano_Id__c"}}
    assert found(org(KEY, NAME), references=references) == [("error", "Account__c")]
    lookup = describe_field(
        "Account__c", "reference", relationshipName="Account__r", referenceTo=["Account"]
    )
    client = org(KEY, NAME, lookup)
    client.objects = {**client.objects, "Account": {"name": "Account", "fields": [NAME]}}
    assert found(client, references=references) == [("error", "Meltano_Id__c")]
