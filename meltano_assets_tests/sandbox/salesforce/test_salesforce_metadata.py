"""What the org tells of itself: layouts, list views, counts, plans of queries, definitions."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id

FIELDS = "SELECT QualifiedApiName, DataType FROM FieldDefinition"


def test_a_describe_that_did_not_change_is_not_told_again(api: Api) -> None:
    for path in ("/sobjects", "/sobjects/Account/describe"):
        told = api.get(path)
        stamp = told.headers["Last-Modified"]
        assert api.get(path, headers={"If-Modified-Since": stamp}).status_code == 304
        before = format_datetime(parsedate_to_datetime(stamp) - timedelta(days=1), usegmt=True)
        assert api.get(path, headers={"If-Modified-Since": before}).status_code == 200
        assert api.get(path, headers={"If-Modified-Since": "junk"}).status_code == 200
    api.clock.at += timedelta(hours=1)
    api.faults.arm("missing_field", field="Account.Industry")
    changed = api.get("/sobjects/Account/describe", headers={"If-Modified-Since": stamp})
    assert changed.status_code == 200
    assert parsedate_to_datetime(changed.headers["Last-Modified"]) == api.clock.at


def test_layouts_show_the_fields(shared: Api) -> None:
    told = shared.get("/sobjects/Account/describe/layouts/").json()
    mapping = told["recordTypeMappings"][0]
    assert mapping["layoutId"] == told["layouts"][0]["id"]
    assert told["recordTypeSelectorRequired"] == [False]
    one = shared.get(shared.base + mapping["urls"]["layout"]).json()
    assert one == told["layouts"][0]
    items = [
        item
        for section in one["editLayoutSections"]
        for row in section["layoutRows"]
        for item in row["layoutItems"]
    ]
    by_name = {item["layoutComponents"][0]["value"]: item for item in items}
    assert by_name["Name"]["required"] is True
    assert by_name["Name"]["layoutComponents"][0]["details"]["type"] == "string"
    assert "CreatedDate" not in by_name
    compact = shared.get("/sobjects/Account/describe/compactLayouts").json()
    assert compact["compactLayouts"][0]["name"] == "SYSTEM"
    assert shared.get("/sobjects/Account/describe/approvalLayouts").json() == {
        "approvalLayouts": []
    }
    for path in ("layouts/0120000000000ZZAAA", "nothing"):
        answer = shared.get(f"/sobjects/Account/describe/{path}")
        assert shared.error(answer) == (404, "NOT_FOUND")


def test_list_views_lead_to_their_records(shared: Api) -> None:
    told = shared.get("/sobjects/Account/listviews").json()
    assert (told["size"], told["done"], told["sobjectType"]) == (2, True, "Account")
    view = next(v for v in told["listviews"] if v["developerName"] == "AllAccounts")
    assert shared.get(shared.base + view["url"]).json() == view
    described = shared.get(shared.base + view["describeUrl"]).json()
    assert described["query"].startswith("SELECT Name, ")
    assert described["columns"][0]["fieldNameOrPath"] == "Name"
    rows = shared.rows(described["query"])
    results: dict[str, Any] = shared.get(
        shared.base + view["resultsUrl"], params={"limit": 5, "offset": 2}
    ).json()
    assert (results["size"], results["done"], results["id"]) == (5, False, view["id"])
    names = [record["columns"][0]["value"] for record in results["records"]]
    assert names == [row["Name"] for row in rows[2:7]]
    rest = shared.get(shared.base + view["resultsUrl"]).json()
    assert (rest["size"], rest["done"]) == (19, True)
    plans = shared.get("/query", params={"explain": view["id"]}).json()
    assert plans["sourceQuery"] == described["query"]
    too_many = shared.get(shared.base + view["resultsUrl"], params={"limit": 2001})
    assert too_many.status_code == 400
    assert shared.error(shared.get("/sobjects/Account/listviews/00B000000000000")) == (
        404,
        "NOT_FOUND",
    )


def test_tabs_themes_and_counts(shared: Api) -> None:
    tabs = {tab["sobjectName"]: tab["name"] for tab in shared.get("/tabs").json()}
    assert (tabs["Account"], tabs["Host__c"]) == ("standard-Account", "Host__c")
    assert {item["name"] for item in shared.get("/theme").json()["themeItems"]} == set(tabs)
    counts = shared.get("/limits/recordCount", params={"sObjects": "Contact,Account,Nope"}).json()
    assert counts == {
        "sObjects": [{"count": 15, "name": "Contact"}, {"count": 19, "name": "Account"}]
    }
    for path in ("/recent", "/quickActions", "/sobjects/Account/quickActions"):
        assert shared.get(path).json() == []
    assert shared.error(shared.get("/limits/nothing")) == (404, "NOT_FOUND")


def test_the_plans_of_a_query(shared: Api) -> None:
    def plans(soql: str) -> list[dict[str, Any]]:
        answer = shared.get("/query", params={"explain": soql})
        assert answer.status_code == 200, answer.text
        assert answer.json()["sourceQuery"] == soql
        found: list[dict[str, Any]] = answer.json()["plans"]
        return found

    by_id, scan = plans(f"SELECT Name FROM Account WHERE Id = '{known_id('001', 3)}'")
    assert (by_id["leadingOperationType"], by_id["fields"]) == ("Index", ["Id"])
    assert (by_id["cardinality"], by_id["sobjectCardinality"]) == (1, 20)
    assert by_id["relativeCost"] < scan["relativeCost"]
    assert scan["leadingOperationType"] == "TableScan"
    for soql in (
        "SELECT Id FROM Account",
        "SELECT Id FROM Account WHERE CreatedDate > 2000-01-01T00:00:00Z",
        f"SELECT Id FROM Account WHERE Id != '{known_id('001', 3)}'",
    ):
        assert [plan["leadingOperationType"] for plan in plans(soql)] == ["TableScan"], soql
    (scan,) = plans("SELECT Id FROM Account WHERE Type = 'Customer'")
    assert scan["notes"][0]["fields"] == ["Type"]
    for soql, code in (
        ("SELECT Nope FROM Account", "INVALID_FIELD"),
        ("SELECT", "MALFORMED_QUERY"),
        ("00O000000000001", "INVALID_ID"),
    ):
        answer = shared.get("/query", params={"explain": soql})
        assert shared.error(answer) == (400, code)


def test_a_cursor_lives_for_two_days(api: Api) -> None:
    api.org.bulk_polls = 0
    records = [{"attributes": {"type": "Host__c"}, "Name": f"h{n}"} for n in range(200)]
    for _ in range(2):
        api.call("POST", "/composite/sobjects", json={"records": records})
    batches = {"Sforce-Query-Options": "batchSize=200"}
    first = api.query("SELECT Name FROM Host__c", headers=batches).json()
    link = api.base + first["nextRecordsUrl"]
    api.clock.at += timedelta(days=1, hours=23)
    assert api.get(link).json()["done"] is True
    api.clock.at += timedelta(hours=2)
    assert api.error(api.get(link)) == (400, "INVALID_QUERY_LOCATOR")


def test_changes_are_told_for_thirty_days(api: Api) -> None:
    at = api.clock.at
    span = {"start": (at - timedelta(days=31)).isoformat(), "end": at.isoformat()}
    for word in ("updated", "deleted"):
        answer = api.get(f"/sobjects/Account/{word}", params=span)
        assert api.error(answer) == (400, "INVALID_REPLICATION_DATE")


def test_the_schema_can_be_queried(shared: Api) -> None:
    soql = (
        "SELECT QualifiedApiName, Label, KeyPrefix, IsQueryable FROM EntityDefinition "
        "WHERE QualifiedApiName IN ('Account', 'Host__c') ORDER BY QualifiedApiName"
    )
    account, host = shared.rows(soql)
    assert account["KeyPrefix"] == "001"
    assert (host["Label"], host["IsQueryable"]) == ("Host", True)
    types = {
        row["QualifiedApiName"]: row["DataType"]
        for row in shared.rows(FIELDS + " WHERE EntityDefinition.QualifiedApiName = 'Host__c'")
    }
    described = shared.get("/sobjects/Host__c/describe").json()["fields"]
    assert types.keys() == {field["name"] for field in described}
    assert types["Account__c"] == "Lookup(Account)"
    assert types["Last_Ping__c"] == "Date"
    assert types["Raw_Usage_Stats__c"] == "Long Text Area(131072)"
    assert types["Meltano_Id__c"] == "Text(255) (Unique Case Insensitive)"
    told = shared.get("/tooling/query", params={"q": soql}).json()
    assert (told["size"], told["entityTypeName"]) == (2, "EntityDefinition")
    assert told["records"][0]["attributes"] == {
        "type": "EntityDefinition",
        "url": "/services/data/v59.0/tooling/sobjects/EntityDefinition/Account",
    }
    counted = shared.query("SELECT COUNT() FROM EntityDefinition").json()
    assert counted["totalSize"] == len(shared.get("/sobjects").json()["sobjects"])
    assert shared.error(shared.query(FIELDS)) == (400, "MALFORMED_QUERY")
    assert shared.error(shared.query("SELECT Nope FROM EntityDefinition")) == (400, "INVALID_FIELD")
    fields = shared.get("/sobjects/EntityDefinition/describe").json()["fields"]
    assert "DurableId" in {field["name"] for field in fields}


def test_tooling_answers_what_there_is(shared: Api) -> None:
    empty = shared.get("/tooling/query", params={"q": "SELECT Id, Name FROM ApexClass"}).json()
    assert (empty["totalSize"], empty["records"]) == (0, [])
    names = {entry["name"] for entry in shared.get("/tooling/sobjects").json()["sobjects"]}
    assert names == {"EntityDefinition", "FieldDefinition", "ApexClass", "ApexTrigger"}
    described = shared.get("/tooling/sobjects/ApexClass/describe").json()
    assert described["urls"]["sobject"] == "/services/data/v59.0/tooling/sobjects/ApexClass"
    refused = shared.get("/tooling/query", params={"q": "SELECT Id FROM Account"})
    assert shared.error(refused) == (400, "INVALID_TYPE")
    assert shared.error(shared.get("/tooling/executeAnonymous")) == (404, "NOT_FOUND")


def test_a_hidden_field_is_not_in_the_definitions(api: Api) -> None:
    api.faults.arm("missing_field", field="Account.Industry")
    where = " WHERE EntityDefinitionId = 'Account' AND QualifiedApiName = 'Industry'"
    assert api.rows(FIELDS + where) == []
    api.faults.clear()
    assert len(api.rows(FIELDS + where)) == 1
