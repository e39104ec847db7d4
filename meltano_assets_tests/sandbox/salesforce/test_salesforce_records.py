"""Single records and describes over HTTP."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id

STAMP = "2024-05-15T12:00:00.000+0000"


def _create(api: Api, name: str, **values: Any) -> str:
    answer = api.call("POST", f"/sobjects/{name}", json=values)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"id": answer.json()["id"], "success": True, "errors": []}
    return str(answer.json()["id"])


def _read(api: Api, name: str, record_id: str) -> dict[str, Any]:
    answer = api.get(f"/sobjects/{name}/{record_id}")
    assert answer.status_code == 200, answer.text
    record: dict[str, Any] = answer.json()
    return record


# --- describe ------------------------------------------------------------------------------


def test_describe_tells_what_a_client_needs_to_know(shared: Api) -> None:
    host = shared.get("/sobjects/host__c/describe").json()
    assert (host["name"], host["keyPrefix"], host["custom"]) == ("Host__c", "a00", True)
    fields = {field["name"]: field for field in host["fields"]}
    key = fields["Meltano_Id__c"]
    assert (key["externalId"], key["unique"], key["idLookup"], key["length"]) == (
        True,
        True,
        True,
        255,
    )
    assert (key["type"], key["soapType"], key["nillable"]) == ("string", "xsd:string", True)
    users = fields["Host_Users__c"]
    assert (users["type"], users["precision"], users["scale"]) == ("double", 18, 0)
    account = fields["Account__c"]
    assert (account["referenceTo"], account["relationshipName"]) == (["Account"], "Account__r")
    source = fields["Host_Data_Source__c"]
    assert source["restrictedPicklist"] is True
    assert [v["value"] for v in source["picklistValues"]] == ["DiscoverOrg", "Clearbit", "WHOIS"]
    long = fields["Raw_Usage_Stats__c"]
    assert (long["type"], long["length"], long["filterable"]) == ("textarea", 131072, False)
    assert fields["Mattermost_Enabled__c"]["defaultedOnCreate"] is True
    created = fields["CreatedDate"]
    assert (created["createable"], created["updateable"]) == (False, False)
    assert len(set(map(str, (sorted(f) for f in host["fields"])))) == 1


def test_describe_of_accounts_lists_children_and_compound_fields(shared: Api) -> None:
    account = shared.get("/sobjects/Account/describe/").json()
    children = {
        c["relationshipName"]: (c["childSObject"], c["field"])
        for c in account["childRelationships"]
    }
    assert children["Contacts"] == ("Contact", "AccountId")
    assert children["Hosts__r"] == ("Host__c", "Account__c")
    fields = {field["name"]: field for field in account["fields"]}
    assert fields["BillingAddress"]["type"] == "address"
    assert fields["BillingCity"]["compoundFieldName"] == "BillingAddress"
    assert account["urls"]["describe"] == "/services/data/v59.0/sobjects/Account/describe"


def test_the_org_has_the_usual_objects(shared: Api) -> None:
    answer = shared.get("/sobjects/").json()
    objects = {entry["name"]: entry for entry in answer["sobjects"]}
    assert {"Account", "Host__c", "Task", "Case", "Organization"} <= objects.keys()
    assert objects["Account"]["keyPrefix"] == "001"
    assert shared.rows("SELECT Id, CaseNumber, Account.Name FROM Case") == []
    users = shared.rows("SELECT Name, Profile.Name FROM User ORDER BY Id")
    profiles = [user["Profile"]["Name"] for user in users]
    assert profiles == ["System Administrator", "Standard User", "Standard User"]
    assert shared.rows("SELECT IsSandbox FROM Organization") == [{"IsSandbox": True}]
    assert shared.error(shared.get("/sobjects/Nope/describe")) == (404, "NOT_FOUND")
    basic = shared.get("/sobjects/Account").json()
    assert basic["objectDescribe"]["name"] == "Account"


def test_describes_tell_what_belongs_together(shared: Api) -> None:
    described = {
        name: shared.get(f"/sobjects/{name}/describe").json()
        for name in ("Contact", "Lead", "User", "Task", "Case", "Account", "CampaignMember")
    }
    fields = {name: {f["name"]: f for f in told["fields"]} for name, told in described.items()}
    for name in ("Contact", "Lead", "User"):
        assert fields[name]["LastName"]["compoundFieldName"] == "Name", name
    assert fields["Contact"]["OtherCity"]["compoundFieldName"] == "OtherAddress"
    who = fields["Task"]["WhoId"]
    assert (who["referenceTo"], who["relationshipName"]) == (["Contact", "Lead"], "Who")
    assert (who["polymorphicForeignKey"], who["namePointing"]) == (True, True)
    number = fields["Case"]["CaseNumber"]
    assert (number["autoNumber"], number["nameField"], number["createable"]) == (True, True, False)
    children = {c["relationshipName"]: c for c in described["Account"]["childRelationships"]}
    assert {"Cases", "Contracts", "Orders", "Assets", "Notes"} <= children.keys()
    # Only a custom object's records are found by their name.
    assert not fields["Account"]["Name"]["idLookup"]
    host = shared.get("/sobjects/Host__c/describe").json()["fields"]
    assert next(f for f in host if f["name"] == "Name")["idLookup"]
    for told in described.values():
        names = ",".join(f["name"] for f in told["fields"])
        assert shared.query(f"SELECT {names} FROM {told['name']}").status_code == 200


def test_cases_are_counted_and_bytes_have_an_address(api: Api) -> None:
    account = known_id("001", 3)
    case = _create(api, "Case", Subject="It hangs", AccountId=account)
    _create(api, "Case", Subject="Again", ParentId=case)
    found = api.rows("SELECT CaseNumber, Status, IsClosed FROM Case ORDER BY CaseNumber")
    assert [row["CaseNumber"] for row in found] == ["00001001", "00001002"]
    assert (found[0]["Status"], found[0]["IsClosed"]) == ("New", False)
    told = api.get(f"/sobjects/Account/{account}/Cases").json()
    assert (told["totalSize"], told["records"][0]["Subject"]) == (1, "It hangs")
    body = base64.b64encode(b"\x00\xffbytes").decode()
    part = _create(api, "Attachment", ParentId=case, Name="log.bin", Body=body)
    shown = _read(api, "Attachment", part)
    assert shown["Body"] == f"/services/data/v59.0/sobjects/Attachment/{part}/Body"
    assert api.get(api.base + shown["Body"]).content == b"\x00\xffbytes"
    job = api.call(
        "POST", "/jobs/query", json={"operation": "query", "query": "SELECT Body FROM Attachment"}
    )
    assert job.status_code == 400


def test_a_member_shows_the_name_of_its_person(api: Api) -> None:
    campaign = _create(api, "Campaign", Name="Fair")
    child = _create(api, "Campaign", Name="Booth", ParentId=campaign, ActualCost=12.5)
    _create(api, "CampaignMember", CampaignId=child, ContactId=known_id("003", 1))
    assert api.rows("SELECT Name FROM CampaignMember") == [{"Name": "Ann1 Smith1"}]
    top = _read(api, "Campaign", campaign)
    assert (top["NumberOfContacts"], top["HierarchyNumberOfContacts"]) == (0, 1)
    assert top["HierarchyActualCost"] == 12.5


# --- create, read, update, delete ----------------------------------------------------------


def test_a_record_keeps_what_was_written_and_when(api: Api) -> None:
    record_id = _create(
        api,
        "Host__c",
        Name="  gitlab.example.com ",
        Account__c=known_id("001", 3)[:15],
        Host_Users__c=12.5,
        Last_Ping__c="2024-05-01",
        Mattermost_Enabled__c=True,
        Host_Data_Source__c="WHOIS",
        Meltano_Id__c="",
    )
    record = _read(api, "Host__c", record_id)
    assert record_id.startswith("a00")
    assert len(record_id) == 18
    assert record["Name"] == "gitlab.example.com"
    assert record["Account__c"] == known_id("001", 3)
    assert record["Host_Users__c"] == 13.0
    assert record["Last_Ping__c"] == "2024-05-01"
    assert (record["Mattermost_Enabled__c"], record["Meltano_Id__c"]) == (True, None)
    assert {record[f] for f in ("CreatedDate", "LastModifiedDate", "SystemModstamp")} == {STAMP}
    assert record["CreatedById"] == record["OwnerId"] == known_id("005", 1)
    api.clock.at += timedelta(hours=1)
    changed = api.call("PATCH", f"/sobjects/Host__c/{record_id}", json={"Host_Users__c": None})
    assert (changed.status_code, changed.content) == (204, b"")
    record = _read(api, "Host__c", record_id)
    assert record["Host_Users__c"] is None
    assert record["CreatedDate"] == STAMP
    assert record["SystemModstamp"] == "2024-05-15T13:00:00.000+0000"


def test_composed_and_derived_fields_follow(api: Api) -> None:
    contact = _create(api, "Contact", FirstName="Ada", LastName="King")
    assert _read(api, "Contact", contact)["Name"] == "Ada King"
    api.call("PATCH", f"/sobjects/Contact/{contact}", json={"LastName": "Lovelace"})
    assert _read(api, "Contact", contact)["Name"] == "Ada Lovelace"
    deal = {"Name": "Deal", "CloseDate": "2024-06-01", "StageName": "Closed Won"}
    won = _read(api, "Opportunity", _create(api, "Opportunity", **deal))
    assert (won["IsClosed"], won["IsWon"], won["Probability"]) == (True, True, 100.0)
    assert won["CurrencyIsoCode"] == "USD"


def test_deleted_records_go_to_the_recycle_bin(api: Api) -> None:
    account = known_id("001", 4)
    api.clock.at += timedelta(minutes=5)
    assert api.call("DELETE", f"/sobjects/Account/{account}").status_code == 204
    assert api.error(api.get(f"/sobjects/Account/{account}")) == (404, "ENTITY_IS_DELETED")
    again = api.call("DELETE", f"/sobjects/Account/{account}")
    assert api.error(again) == (404, "ENTITY_IS_DELETED")
    found = api.rows(
        f"SELECT IsDeleted, SystemModstamp FROM Account WHERE Id = '{account}'", everything=True
    )
    assert found == [{"IsDeleted": True, "SystemModstamp": "2024-05-15T12:05:00.000+0000"}]
    # Contacts and opportunities go with their account.
    assert api.rows("SELECT Id FROM Contact WHERE Account.Name = 'Account 04'") == []


def test_changes_of_a_span_of_time(api: Api) -> None:
    span = {"start": "2024-05-15T11:00:00+00:00", "end": "2024-05-15T13:00:00+00:00"}
    host = _create(api, "Host__c", Name="new")
    gone = _create(api, "Host__c", Name="gone")
    api.call("DELETE", f"/sobjects/Host__c/{gone}")
    updated = api.get("/sobjects/Host__c/updated/", params=span).json()
    assert updated == {"ids": [host], "latestDateCovered": STAMP}
    deleted = api.get("/sobjects/Host__c/deleted/", params=span).json()
    assert deleted["deletedRecords"] == [{"id": gone, "deletedDate": STAMP}]
    wrong = {"start": span["end"], "end": span["start"]}
    answer = api.get("/sobjects/Host__c/updated/", params=wrong)
    assert api.error(answer) == (400, "INVALID_REPLICATION_DATE")


@pytest.mark.parametrize(
    ("name", "values", "code", "message", "fields"),
    [
        ("Account", {}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", ["Name"]),
        ("Account", {"Name": " "}, "REQUIRED_FIELD_MISSING", "Required", ["Name"]),
        (
            "Account",
            {"Name": "x" * 256},
            "STRING_TOO_LONG",
            "Account Name: data value too large",
            ["Name"],
        ),
        (
            "Account",
            {"Name": "x", "Nope__c": 1},
            "INVALID_FIELD",
            "No such column 'Nope__c' on sobject of type Account",
            None,
        ),
        (
            "Account",
            {"Name": "x", "Sales_Segmentation__c": "Huge"},
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            "Sales Segmentation: bad value for restricted picklist field: Huge",
            ["Sales_Segmentation__c"],
        ),
        (
            "Contact",
            {"LastName": "x", "Email": "no@dots"},
            "INVALID_EMAIL_ADDRESS",
            "Email: invalid email address: no@dots",
            ["Email"],
        ),
        (
            "Account",
            {"Name": "x", "Active_CE_Users__c": 1e18},
            "NUMBER_OUTSIDE_VALID_RANGE",
            "Active CE Users",
            ["Active_CE_Users__c"],
        ),
        (
            "Account",
            {"Name": "x", "CreatedDate": "2024-01-01T00:00:00Z"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "Unable to create/update fields: CreatedDate.",
            ["CreatedDate"],
        ),
        (
            "Account",
            {"Name": "x", "Id": "001"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "cannot specify Id",
            ["Id"],
        ),
        (
            "Contact",
            {"LastName": "x", "AccountId": "001x"},
            "MALFORMED_ID",
            "Account ID: id value of incorrect type: 001x",
            ["AccountId"],
        ),
        (
            "Contact",
            {"LastName": "x", "AccountId": known_id("003", 1)},
            "FIELD_INTEGRITY_EXCEPTION",
            "Account ID: id value of incorrect type",
            ["AccountId"],
        ),
        (
            "Contact",
            {"LastName": "x", "AccountId": known_id("001", 99)},
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
            ["AccountId"],
        ),
        (
            "Contact",
            {"LastName": "x", "AccountId": known_id("001", 20)},
            "ENTITY_IS_DELETED",
            "entity is deleted",
            ["AccountId"],
        ),
        (
            "Account",
            {"Name": 5},
            "JSON_PARSER_ERROR",
            "Cannot deserialize instance of string from VALUE_NUMBER_INT value 5",
            None,
        ),
        (
            "Account",
            {"Name": "x", "Using_CE__c": "maybe"},
            "JSON_PARSER_ERROR",
            "instance of boolean from VALUE_STRING value maybe or request may be missing a required field at [line:1, column:30]",
            None,
        ),
        (
            "Account",
            {"Name": "x", "NumberOfEmployees": 7.5},
            "JSON_PARSER_ERROR",
            "instance of int from VALUE_NUMBER_FLOAT value 7.5",
            None,
        ),
        (
            "Host__c",
            {"Name": "x", "Last_Ping__c": "2024-02-30"},
            "JSON_PARSER_ERROR",
            "instance of date from VALUE_STRING value 2024-02-30",
            None,
        ),
        (
            "Host__c",
            {"Name": "x", "Account__r": {"Meltano_Id__c": "nobody"}},
            "INVALID_FIELD",
            "Foreign key external ID: nobody not found for field Meltano_Id__c in entity Account",
            None,
        ),
        (
            "Host__c",
            {"Name": "x", "Mattermost_Enabled__c": None},
            "INVALID_TYPE_ON_FIELD_IN_RECORD",
            "Mattermost Enabled: value not of required type",
            ["Mattermost_Enabled__c"],
        ),
    ],
)
def test_bad_values_are_refused_in_the_vendors_words(
    shared: Api,
    name: str,
    values: dict[str, Any],
    code: str,
    message: str,
    fields: list[str] | None,
) -> None:
    answer = shared.call("POST", f"/sobjects/{name}", json=values)
    # 404 belongs to the record of the URL alone.
    assert shared.error(answer)[1] == code
    assert answer.status_code == 400
    assert message in answer.json()[0]["message"]
    if fields is not None:
        assert answer.json()[0]["fields"] == fields


def test_bodies_that_are_no_json_are_refused(shared: Api) -> None:
    for body in ("", "{", "[]", '{"Name": }'):
        answer = shared.call("POST", "/sobjects/Account", data=body)
        assert shared.error(answer) == (400, "JSON_PARSER_ERROR")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"]
)
def test_bodies_of_another_type_are_refused(shared: Api, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = shared.call("POST", "/sobjects/Account", data='{"Name": "x"}', headers=headers)
    assert shared.error(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_resources_to_read_take_no_other_method(shared: Api) -> None:
    for path in ("/limits", "/recent", ""):
        for method in ("DELETE", "POST", "PUT", "OPTIONS"):
            answer = shared.call(method, path)
            assert shared.error(answer) == (405, "METHOD_NOT_ALLOWED"), (method, path)


def test_a_refused_method_is_told_what_is_allowed(shared: Api) -> None:
    for method, path, allowed in (
        ("POST", "/query", "HEAD,GET"),
        ("PUT", "/sobjects/Account", "GET,HEAD,POST"),
        ("OPTIONS", "/composite/batch", "POST"),
    ):
        answer = shared.call(method, path)
        assert shared.error(answer) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["Allow"] == allowed


def test_hostile_text_is_stored_or_refused(shared: Api) -> None:
    def body(text: str) -> str:
        return '{"Name": "x", "Description": "' + text + '"}'

    for sent, kept in (
        ("\\u0000a", "\x00a"),
        ("a\\ud800b", "a\ufffdb"),
        ("\\ud83d\\ude00 \u202e", "\U0001f600 \u202e"),
        ("<b>&amp;'--;\\n\\t", "<b>&amp;'--;"),
    ):
        answer = shared.call("POST", "/sobjects/Account", data=body(sent).encode())
        assert answer.status_code == 201, answer.text
        record = _read(shared, "Account", answer.json()["id"])
        assert record["Description"] == kept
    for number in ("NaN", "Infinity", "1e400", "9" * 30):
        text = f'{{"Name": "x", "NumberOfEmployees": {number}}}'
        answer = shared.call("POST", "/sobjects/Account", data=text)
        assert answer.status_code == 400, answer.text


def test_limits_of_requests(shared: Api) -> None:
    long = "SELECT Id FROM Account WHERE Name = '" + "x" * 17_000 + "'"
    assert shared.query(long).status_code == 414
    body = {"operation": "query", "query": long + " " * 100_000}
    answer = shared.call("POST", "/jobs/query", json=body)
    assert shared.error(answer) == (400, "MALFORMED_QUERY")
    user = known_id("005", 2)
    answer = shared.call("DELETE", f"/sobjects/User/{user}")
    assert shared.error(answer) == (400, "INVALID_TYPE_FOR_OPERATION")


def test_ids_that_lead_nowhere(shared: Api) -> None:
    nobody = known_id("001", 999)
    assert shared.error(shared.get(f"/sobjects/Account/{nobody}")) == (404, "NOT_FOUND")
    patch = shared.call("PATCH", f"/sobjects/Account/{nobody}", json={"Name": "x"})
    assert shared.error(patch) == (404, "NOT_FOUND")
    assert shared.error(shared.get("/sobjects/Account/nonsense")) == (404, "NOT_FOUND")
    wrong = shared.get(f"/sobjects/Account/{known_id('003', 1)}")
    assert shared.error(wrong) == (404, "NOT_FOUND")
    put = shared.call("PUT", f"/sobjects/Account/{known_id('001', 1)}")
    assert shared.error(put) == (405, "METHOD_NOT_ALLOWED")


def test_requests_may_depend_on_the_last_change(api: Api) -> None:
    path = f"/sobjects/Account/{known_id('001', 1)}"  # of 2 January 2024
    early, late = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"
    assert api.get(path, headers={"If-Modified-Since": early}).status_code == 200
    known = api.get(path, headers={"If-Modified-Since": late})
    assert (known.status_code, known.content) == (304, b"")
    assert api.get(path, headers={"If-Modified-Since": "soon"}).status_code == 200
    condition = {"If-Unmodified-Since": early}
    refused = api.call("PATCH", path, headers=condition, json={"Name": "n"})
    assert api.error(refused) == (412, "PRECONDITION_FAILED")
    assert api.error(api.call("DELETE", path, headers=condition)) == (412, "PRECONDITION_FAILED")
    condition = {"If-Unmodified-Since": late}
    assert api.call("PATCH", path, headers=condition, json={"Name": "n"}).status_code == 204
    assert api.call("DELETE", path, headers=condition).status_code == 412


def test_every_resource_of_the_root_answers(shared: Api) -> None:
    for name, path in shared.get("").json().items():
        answer = shared.get(shared.base + path)
        is_root_of_others = name == "jobs"
        needs_a_query = name in ("parameterizedSearch", "query", "queryAll", "search")
        expected = 404 if is_root_of_others else 400 if needs_a_query else 200
        assert answer.status_code == expected, name


def test_chosen_fields_and_related_records(shared: Api) -> None:
    contact = f"/sobjects/Contact/{known_id('003', 3)}"
    chosen = shared.get(contact, params={"fields": "LastName,Email"}).json()
    assert {k: v for k, v in chosen.items() if k != "attributes"} == {
        "LastName": "Smith3",
        "Email": "ann3@account.test",
    }
    assert shared.get(f"{contact}/Account").json()["Name"] == "Account 04"
    bad = shared.get(contact, params={"fields": "Nope"})
    assert shared.error(bad) == (400, "INVALID_FIELD")


# --- external ids --------------------------------------------------------------------------


def test_upsert_by_external_id_creates_then_updates(api: Api) -> None:
    path = "/sobjects/Host__c/Meltano_Id__c/a%2Fb%20c"
    created = api.call("PATCH", path, json={"Name": "one"})
    assert created.status_code == 201
    assert created.json()["created"] is True
    updated = api.call("PATCH", path.replace("a%2F", "A%2F"), json={"Name": "two"})
    assert updated.status_code == 200
    assert updated.json() == {
        "id": created.json()["id"],
        "success": True,
        "errors": [],
        "created": False,
    }
    assert api.get(path).json()["Name"] == "two"
    api.version = "45.0"
    assert api.call("PATCH", path, json={"Name": "three"}).status_code == 204
    api.version = "59.0"
    twice = api.call("PATCH", path, json={"Name": "x", "Meltano_Id__c": "a/b c"})
    assert api.error(twice) == (400, "INVALID_FIELD")
    assert api.call("DELETE", path).status_code == 204
    assert api.error(api.get(path)) == (404, "NOT_FOUND")
    unknown = api.call("PATCH", "/sobjects/Host__c/Name__c/x", json={})
    assert api.error(unknown) == (404, "NOT_FOUND")


def test_upsert_may_be_told_to_update_only(api: Api) -> None:
    path = "/sobjects/Host__c/Meltano_Id__c/only"
    answer = api.call("PATCH", path, params={"updateOnly": "true"}, json={"Name": "n"})
    assert api.error(answer) == (404, "NOT_FOUND")
    assert api.call("PATCH", path, json={"Name": "n"}).status_code == 201
    answer = api.call("PATCH", path, params={"updateOnly": "true"}, json={"Name": "m"})
    assert (answer.status_code, answer.json()["created"]) == (200, False)


def test_an_external_id_of_several_records_is_a_choice(api: Api) -> None:
    # The vendor allows it while a field is no longer unique; here the company does it.
    twins = [{"Id": known_id("a00", n), "Name": "twin", "Meltano_Id__c": "twin"} for n in (1, 2)]
    api.company.days[1] = {"Host__c": twins}
    api.org.advance_to(1)
    path = "/sobjects/Host__c/Meltano_Id__c/twin"
    answer = api.get(path)
    assert answer.status_code == 300
    assert answer.json() == [
        f"/services/data/v59.0/sobjects/Host__c/{known_id('a00', n)}" for n in (1, 2)
    ]
    assert api.call("PATCH", path, json={"Name": "x"}).status_code == 300


def test_unique_values_are_guarded(api: Api) -> None:
    first = _create(api, "Account", Name="x", Meltano_Id__c="example.com")
    answer = api.call(
        "POST", "/sobjects/Account", json={"Name": "y", "Meltano_Id__c": "EXAMPLE.com"}
    )
    assert api.error(answer) == (400, "DUPLICATE_VALUE")
    assert answer.json()[0]["message"] == (
        f"duplicate value found: Meltano_Id__c duplicates value on record with id: {first}"
    )
    api.call("DELETE", f"/sobjects/Account/{first}")
    _create(api, "Account", Name="y", Meltano_Id__c="example.com")


def test_parents_are_found_by_external_id(api: Api) -> None:
    account = _create(api, "Account", Name="x", Meltano_Id__c="Example.com")
    host = _create(api, "Host__c", Name="h", Account__r={"Meltano_Id__c": "example.com"})
    assert _read(api, "Host__c", host)["Account__c"] == account
    named = {"attributes": {"type": "Account"}, "Meltano_Id__c": None}
    api.call("PATCH", f"/sobjects/Host__c/{host}", json={"Account__r": named})
    assert _read(api, "Host__c", host)["Account__c"] is None


# --- what may be hidden or locked ----------------------------------------------------------


def test_fields_can_be_hidden_and_locked(api: Api) -> None:
    api.faults.arm("missing_field", times=None, field="Account.Industry")
    api.faults.arm("read_only_field", times=None, field="Account.Website")
    fields = {f["name"]: f for f in api.get("/sobjects/Account/describe").json()["fields"]}
    assert "Industry" not in fields
    assert (fields["Website"]["updateable"], fields["Website"]["createable"]) == (False, False)
    assert api.error(api.query("SELECT Industry FROM Account")) == (400, "INVALID_FIELD")
    answer = api.call("POST", "/sobjects/Account", json={"Name": "x", "Website": "y"})
    assert api.error(answer) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    api.faults.clear()
    _create(api, "Account", Name="x", Website="y", Industry="Technology")


def test_a_duplicate_rule_can_be_switched_on(api: Api) -> None:
    api.faults.arm("duplicate_rule", times=None, objects=["Account"])
    body = {"Name": "account 05, Inc."}
    answer = api.call("POST", "/sobjects/Account", json=body)
    assert api.error(answer) == (400, "DUPLICATES_DETECTED")
    assert answer.json()[0]["message"] == "Use one of these records?"
    chosen = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
    assert api.call("POST", "/sobjects/Account", json=body, headers=chosen).status_code == 201


# --- what Salesforce writes by itself ---------------------------------------------------------


def test_a_deal_that_a_client_changes_has_a_history(api: Api) -> None:
    deal = known_id("006", 2)

    def progress() -> list[dict[str, Any]]:
        return api.rows(
            "SELECT StageName, Amount, Probability, ForecastCategory, ExpectedRevenue "
            f"FROM OpportunityHistory WHERE OpportunityId = '{deal}' ORDER BY Id"
        )

    changes = {"StageName": "5-Negotiating", "OwnerId": known_id("005", 3)}
    assert api.call("PATCH", f"/sobjects/Opportunity/{deal}", json=changes).status_code == 204
    last = progress()[-1]
    assert last["StageName"] == "5-Negotiating"
    assert (last["Amount"], last["Probability"]) == (2000.5, 75.0)
    assert (last["ForecastCategory"], last["ExpectedRevenue"]) == ("Forecast", 1500.38)
    tracked = api.rows(
        "SELECT Field, OldValue, NewValue FROM OpportunityFieldHistory "
        f"WHERE OpportunityId = '{deal}' ORDER BY Id"
    )
    owners = (known_id("005", 1), known_id("005", 3))
    assert [tuple(row.values()) for row in tracked] == [
        ("StageName", "1-Discovery", "5-Negotiating"),
        ("Owner", "First Last1", "First Last3"),
        ("Owner", *owners),
    ]
    # What changes nothing that is tracked leaves no row; a new deal has its first.
    seen = len(progress())
    api.call("PATCH", f"/sobjects/Opportunity/{deal}", json={"NextStep": "call"})
    assert len(progress()) == seen
    deal = _create(
        api, "Opportunity", Name="New", StageName="1-Discovery", CloseDate="2024-06-01", Amount=10
    )
    assert [(row["StageName"], row["Amount"]) for row in progress()] == [("1-Discovery", 10.0)]
    rows = api.column(f"SELECT Field FROM OpportunityFieldHistory WHERE OpportunityId = '{deal}'")
    assert rows == ["created"]
    api.call("DELETE", f"/sobjects/Opportunity/{deal}")
    assert progress() == []


def test_an_account_that_a_client_changes_has_a_history(api: Api) -> None:
    account = known_id("001", 3)
    api.call("PATCH", f"/sobjects/Account/{account}", json={"Industry": "Media", "Phone": "1"})
    rows = api.rows(
        f"SELECT Field, OldValue, NewValue FROM AccountHistory WHERE AccountId = '{account}'"
    )
    assert rows == [{"Field": "Industry", "OldValue": None, "NewValue": "Media"}]


def test_fields_that_follow_from_others(api: Api) -> None:
    campaign = _create(api, "Campaign", Name="Fair")
    lead = _create(
        api, "Lead", LastName="King", FirstName="Ada", Company="Analytical", City="London"
    )
    member = _create(api, "CampaignMember", CampaignId=campaign, LeadId=lead)
    shown = _read(api, "CampaignMember", member)
    assert (shown["Type"], shown["LeadOrContactId"]) == ("Lead", lead)
    assert (shown["FirstName"], shown["City"]) == ("Ada", "London")
    assert shown["CompanyOrAccount"] == "Analytical"
    deal = _create(
        api, "Opportunity", Name="d", StageName="Closed Won", CloseDate="2024-05-02", Amount=7,
        CampaignId=campaign,
    )  # fmt: skip
    made = _read(api, "Opportunity", deal)
    assert (made["ForecastCategory"], made["Fiscal"]) == ("Closed", "2024 2")
    assert (made["FiscalYear"], made["FiscalQuarter"]) == (2024, 2)
    counted = _read(api, "Campaign", campaign)
    assert (counted["NumberOfLeads"], counted["NumberOfContacts"]) == (1, 0)
    assert (counted["NumberOfWonOpportunities"], counted["AmountWonOpportunities"]) == (1, 7.0)
    refused = api.call("PATCH", f"/sobjects/Opportunity/{deal}", json={"Fiscal": "x"})
    assert api.error(refused) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    user = _read(api, "User", known_id("005", 1))
    assert (user["UserType"], user["TimeZoneSidKey"]) == ("Standard", "America/Los_Angeles")
