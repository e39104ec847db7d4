"""Collections, composite, batch and tree over HTTP."""

from __future__ import annotations

from typing import Any

import requests

from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id

UPSERT = "/composite/sobjects/Host__c/Meltano_Id__c"


def _records(object_name: str, *records: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"attributes": {"type": object_name}, **record} for record in records]


def _send(
    api: Api,
    method: str,
    path: str,
    records: list[dict[str, Any]],
    *,
    all_or_none: bool = False,
    **options: Any,
) -> requests.Response:
    body = {"allOrNone": all_or_none, "records": records}
    return api.call(method, path, json=body, **options)


def _codes(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [
        "ok" if result["success"] else result["errors"][0]["statusCode"] for result in answer.json()
    ]


def test_results_come_in_order_and_one_failure_hurts_no_other(api: Api) -> None:
    answer = _send(
        api,
        "POST",
        "/composite/sobjects",
        [
            *_records("Account", {"Name": "a"}, {"Industry": "Banking"}),
            *_records("Contact", {"LastName": "c", "AccountId": known_id("001", 3)}),
            *_records("Account", {"Name": "x" * 300}),
        ],
    )
    assert _codes(answer) == ["ok", "REQUIRED_FIELD_MISSING", "ok", "STRING_TOO_LONG"]
    first, second, third, _ = answer.json()
    assert first["id"].startswith("001")
    assert third == {"id": third["id"], "success": True, "errors": []}
    assert second == {
        "success": False,
        "errors": [
            {
                "statusCode": "REQUIRED_FIELD_MISSING",
                "message": "Required fields are missing: [Name]",
                "fields": ["Name"],
            }
        ],
    }


def test_all_or_none_leaves_nothing_behind(api: Api) -> None:
    records = _records("Account", {"Name": "one"}, {}, {"Name": "three"})
    answer = _send(api, "POST", "/composite/sobjects", records, all_or_none=True)
    rolled_back = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert _codes(answer) == [rolled_back, "REQUIRED_FIELD_MISSING", rolled_back]
    assert api.rows("SELECT Id FROM Account WHERE Name IN ('one', 'three')") == []


def test_update_and_delete_by_id(api: Api) -> None:
    living, gone, nobody = known_id("001", 4), known_id("001", 20), known_id("001", 99)
    answer = _send(
        api,
        "PATCH",
        "/composite/sobjects",
        _records(
            "Account",
            {"Id": living[:15], "Name": "new"},
            {"id": gone, "Name": "new"},
            {"id": nobody, "Name": "new"},
            {"id": known_id("003", 1), "Name": "new"},
            {"Name": "new"},
        ),
    )
    assert _codes(answer) == [
        "ok",
        "ENTITY_IS_DELETED",
        "INVALID_CROSS_REFERENCE_KEY",
        "MALFORMED_ID",
        "MISSING_ARGUMENT",
    ]
    assert api.column("SELECT Id FROM Account WHERE Name = 'new'") == [living]
    ids = ",".join((living, nobody, "junk"))
    answer = api.call("DELETE", "/composite/sobjects", params={"ids": ids, "allOrNone": "false"})
    assert _codes(answer) == ["ok", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"]


def test_upsert_tells_what_was_created(api: Api) -> None:
    records = _records(
        "Host__c",
        {"Meltano_Id__c": "a", "Name": "a"},
        {"Meltano_Id__c": "b", "Name": "b", "Account__r": {"Meltano_Id__c": "acme"}},
        {"Name": "c"},
    )
    answer = _send(api, "PATCH", UPSERT, records)
    assert _codes(answer) == ["ok", "INVALID_FIELD", "MISSING_ARGUMENT"]
    assert answer.json()[0]["created"] is True
    _send(
        api,
        "POST",
        "/composite/sobjects",
        _records("Account", {"Name": "x", "Meltano_Id__c": "acme"}),
    )
    answer = _send(api, "PATCH", UPSERT, records)
    assert [r.get("created") for r in answer.json()] == [False, True, None]
    found = api.rows("SELECT Name, Account__r.Name FROM Host__c ORDER BY Name")
    assert [row["Account__r"] and row["Account__r"]["Name"] for row in found] == [None, "x"]


def test_the_same_key_twice_in_one_request_is_refused_for_both(api: Api) -> None:
    keys = ("same", "other", "SAME")
    records = _records("Host__c", *({"Meltano_Id__c": key, "Name": "n"} for key in keys))
    answer = _send(api, "PATCH", UPSERT, records)
    assert _codes(answer) == ["DUPLICATE_VALUE", "ok", "DUPLICATE_VALUE"]
    assert answer.json()[0]["errors"][0]["message"] == "Duplicate external id specified: same"
    created = _send(api, "POST", "/composite/sobjects", records)
    assert _codes(created) == ["ok", "DUPLICATE_VALUE", "DUPLICATE_VALUE"]


def test_the_same_id_twice_in_one_update_is_refused(api: Api) -> None:
    record_id = known_id("001", 1)
    rows = ({"Id": record_id, "Name": "once"}, {"Id": record_id[:15], "Name": "twice"})
    answer = _send(api, "PATCH", "/composite/sobjects", _records("Account", *rows))
    assert _codes(answer) == ["ok", "DUPLICATE_VALUE"]
    expected = f"Duplicate id specified: {record_id}"
    assert answer.json()[1]["errors"][0]["message"] == expected
    assert api.column(f"SELECT Name FROM Account WHERE Id = '{record_id}'") == ["once"]


def test_requests_that_are_not_well_formed_fail_as_a_whole(shared: Api) -> None:
    many = _records("Account", *({"Name": str(n)} for n in range(201)))
    answer = _send(shared, "POST", "/composite/sobjects", many)
    assert shared.error(answer) == (400, "EXCEEDED_ID_LIMIT")
    for records, code in (
        (_records("Account", {"Name": "ok"}, {"Nope": 1}), "INVALID_FIELD"),
        (_records("Account", {"Name": ["x"]}), "JSON_PARSER_ERROR"),
        (_records("Nope", {"Name": "x"}), "INVALID_TYPE"),
        ([{"Name": "x"}], "INVALID_INPUT"),
    ):
        answer = _send(shared, "POST", "/composite/sobjects", records)
        assert shared.error(answer) == (400, code)
    kinds = ("Account", "Lead")
    mixed = [record for n in range(11) for record in _records(kinds[n % 2], {"Name": "x"})]
    for record in mixed[1::2]:
        record.pop("Name")
    answer = _send(shared, "POST", "/composite/sobjects", mixed)
    assert shared.error(answer) == (400, "INVALID_INPUT")
    unknown = _send(shared, "PATCH", "/composite/sobjects/Host__c/Name__c", [])
    assert shared.error(unknown) == (404, "NOT_FOUND")
    assert shared.rows("SELECT Id FROM Account WHERE Name = 'ok'") == []


def test_retrieve_by_ids_keeps_order_and_gaps(shared: Api) -> None:
    ids = [known_id("001", 3), known_id("001", 99), known_id("001", 1)]
    body = {"ids": ids, "fields": ["Name", "Id"]}
    posted = shared.call("POST", "/composite/sobjects/Account", json=body).json()
    got = shared.get(
        "/composite/sobjects/Account", params={"ids": ",".join(ids), "fields": "Name,Id"}
    ).json()
    assert posted == got
    assert [record and record["Name"] for record in got] == ["Account 03", None, "Müller & Söhne"]


def test_locked_rows_and_chosen_errors(api: Api) -> None:
    api.faults.arm("lock_rows", times=2, match="Host__c upsert b")
    api.faults.arm(
        "record_error", code="FIELD_CUSTOM_VALIDATION_EXCEPTION", message="No", match="c1"
    )
    records = _records(
        "Host__c", *({"Meltano_Id__c": key, "Name": key} for key in ("a", "b1", "b2", "b3", "c1"))
    )
    answer = _send(api, "PATCH", UPSERT, records)
    assert _codes(answer) == [
        "ok",
        "UNABLE_TO_LOCK_ROW",
        "UNABLE_TO_LOCK_ROW",
        "ok",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    ]
    assert _codes(_send(api, "PATCH", UPSERT, records)) == ["ok"] * 5


def test_composite_uses_earlier_results(api: Api) -> None:
    requests_ = [
        {
            "method": "POST",
            "url": "/services/data/v59.0/sobjects/Account",
            "referenceId": "made",
            "body": {"Name": "Composite"},
        },
        {
            "method": "POST",
            "url": "/services/data/v59.0/sobjects/Contact",
            "referenceId": "person",
            "body": {"LastName": "X", "AccountId": "@{made.id}"},
        },
        {
            "method": "GET",
            "url": "/services/data/v59.0/query?q=SELECT Name FROM Account WHERE Id='@{made.id}'",
            "referenceId": "read",
        },
        {
            "method": "GET",
            "url": "/services/data/v59.0/sobjects/Account/@{nobody.id}",
            "referenceId": "lost",
        },
    ]
    answer = api.call("POST", "/composite", json={"compositeRequest": requests_}).json()
    made, person, read, lost = answer["compositeResponse"]
    assert (made["httpStatusCode"], made["referenceId"]) == (201, "made")
    assert made["httpHeaders"]["Location"].endswith(made["body"]["id"])
    assert person["httpStatusCode"] == 201
    assert read["body"]["records"][0]["Name"] == "Composite"
    assert (lost["httpStatusCode"], lost["body"][0]["errorCode"]) == (400, "PROCESSING_HALTED")


def test_composite_all_or_none(api: Api) -> None:
    def part(reference: str, name: str | None) -> dict[str, Any]:
        url = "/services/data/v59.0/sobjects/Account"
        return {"method": "POST", "url": url, "referenceId": reference, "body": {"Name": name}}

    parts = [part("a", "first"), part("b", None), part("c", "third")]
    body = {"allOrNone": True, "compositeRequest": parts}
    answer = api.call("POST", "/composite", json=body).json()["compositeResponse"]
    assert [a["body"][0]["errorCode"] for a in answer] == [
        "PROCESSING_HALTED",
        "REQUIRED_FIELD_MISSING",
        "PROCESSING_HALTED",
    ]
    assert api.rows("SELECT Id FROM Account WHERE Name IN ('first', 'third')") == []


def test_batch_runs_each_call_for_itself(api: Api) -> None:
    calls = [
        {"method": "GET", "url": "v59.0/sobjects/Account/describe"},
        {"method": "PATCH", "url": "v59.0/sobjects/Account/x", "richInput": {"Name": "y"}},
        {"method": "GET", "url": "/v59.0/limits"},
    ]
    answer = api.call("POST", "/composite/batch", json={"batchRequests": calls}).json()
    assert answer["hasErrors"] is True
    assert [result["statusCode"] for result in answer["results"]] == [200, 404, 200]
    assert answer["results"][0]["result"]["name"] == "Account"
    halted = {"batchRequests": calls, "haltOnError": True}
    answer = api.call("POST", "/composite/batch", json=halted).json()
    assert [result["statusCode"] for result in answer["results"]] == [200, 404, 412]


def test_a_tree_is_planted_whole_or_not_at_all(api: Api) -> None:
    def tree(last_name: str | None) -> dict[str, Any]:
        contact = {"attributes": {"type": "Contact", "referenceId": "c"}, "LastName": last_name}
        account = {
            "attributes": {"type": "Account", "referenceId": "a"},
            "Name": "Tree",
            "Contacts": {"records": [contact]},
        }
        return {"records": [account]}

    failed = api.call("POST", "/composite/tree/Account", json=tree(None))
    assert failed.status_code == 400
    assert failed.json()["results"][0]["referenceId"] == "c"
    assert api.rows("SELECT Id FROM Account WHERE Name = 'Tree'") == []
    planted = api.call("POST", "/composite/tree/Account", json=tree("Leaf"))
    assert planted.status_code == 201
    assert [r["referenceId"] for r in planted.json()["results"]] == ["a", "c"]
    found = api.rows("SELECT Account.Name FROM Contact WHERE LastName = 'Leaf'")
    assert found[0]["Account"]["Name"] == "Tree"


def test_a_tree_has_limits_and_names_each_record_once(api: Api) -> None:
    def account(reference: str | None, **more: Any) -> dict[str, Any]:
        attributes = {"type": "Account", "referenceId": reference}
        return {"attributes": attributes, "Name": "Tree", **more}

    def plant(*records: dict[str, Any]) -> requests.Response:
        return api.call("POST", "/composite/tree/Account", json={"records": records})

    deep = account("r0")
    for level in range(1, 6):
        deep = account(f"r{level}", ChildAccounts={"records": [deep]})
    assert api.error(plant(deep)) == (400, "INVALID_INPUT")
    assert api.error(plant(*[account(f"r{n}") for n in range(201)])) == (400, "EXCEEDED_ID_LIMIT")
    refused = plant(account("same"), account("same"), account(None), account("_x"))
    assert refused.status_code == 400
    told = [(r["referenceId"], r["errors"][0]["statusCode"]) for r in refused.json()["results"]]
    assert told == [(name, "INVALID_INPUT") for name in ("same", "", "_x")]
    assert api.rows("SELECT Id FROM Account WHERE Name = 'Tree'") == []
    assert plant(*[account(f"r{n}") for n in range(200)]).status_code == 201
