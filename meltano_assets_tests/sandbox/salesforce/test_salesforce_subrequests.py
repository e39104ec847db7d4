"""Calls inside one call: what composite, batch and graph allow, undo and answer."""

from __future__ import annotations

from typing import Any

from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id

DATA = "/services/data/v59.0"
ROLLED_BACK = (
    "The transaction was rolled back since another operation in the same transaction failed."
)


def _part(name: str, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
    part = {"referenceId": name, "method": method, "url": DATA + path, **more}
    return part if body is None else {**part, "body": body}


def _account(name: str, label: str | None = "x") -> dict[str, Any]:
    return _part(name, "POST", "/sobjects/Account", {"Name": label})


def _composite(api: Api, *parts: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    answer = api.call("POST", "/composite", json={"compositeRequest": parts, **options})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["compositeResponse"]
    return results


def _graphs(api: Api, **graphs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = api.call("POST", "/composite/graph", json=_as_graphs(graphs))
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["graphs"]
    return results


def _as_graphs(graphs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {"graphs": [{"graphId": key, "compositeRequest": g} for key, g in graphs.items()]}


def test_a_graph_is_carried_out_whole_or_not_at_all(api: Api) -> None:
    def graph(last_name: str | None) -> list[dict[str, Any]]:
        link = {"LastName": last_name, "AccountId": "@{a.id}"}
        return [
            _account("a", f"Graph {last_name}"),
            _part("c", "POST", "/sobjects/Contact", link),
            _part("u", "PATCH", "/sobjects/Account/@{a.id}", {"Industry": "Media"}),
            _part("g", "GET", "/sobjects/Contact/@{c.id}?fields=AccountId"),
        ]

    good, bad = _graphs(api, g1=graph("Well"), g2=graph(None))
    assert (good["graphId"], good["isSuccessful"]) == ("g1", True)
    results = good["graphResponse"]["compositeResponse"]
    assert [r["httpStatusCode"] for r in results] == [201, 201, 204, 200]
    assert results[0]["httpHeaders"] == {
        "Location": f"{DATA}/sobjects/Account/{results[0]['body']['id']}"
    }
    assert (results[2]["body"], results[3]["body"]["AccountId"]) == (None, results[0]["body"]["id"])
    assert (bad["graphId"], bad["isSuccessful"]) == ("g2", False)
    results = bad["graphResponse"]["compositeResponse"]
    assert [r["referenceId"] for r in results] == ["a", "c", "u", "g"]
    assert [r["httpStatusCode"] for r in results] == [400] * 4
    assert [r["body"][0]["errorCode"] for r in results] == [
        "PROCESSING_HALTED",
        "REQUIRED_FIELD_MISSING",
        "PROCESSING_HALTED",
        "PROCESSING_HALTED",
    ]
    assert results[0]["body"][0]["message"] == ROLLED_BACK
    assert api.column("SELECT Name FROM Account WHERE Name LIKE 'Graph%'") == ["Graph Well"]


def test_a_graph_refers_to_no_other_graph_and_to_nothing_later(api: Api) -> None:
    link = {"LastName": "x", "AccountId": "@{a.id}"}
    contact = _part("c", "POST", "/sobjects/Contact", link)
    for graphs in ({"g1": [_account("a")], "g2": [contact]}, {"g2": [contact, _account("a")]}):
        failed = _graphs(api, **graphs)[-1]
        results = failed["graphResponse"]["compositeResponse"]
        assert (failed["isSuccessful"], results[0]["httpStatusCode"]) == (False, 400)
        assert results[0]["body"][0]["errorCode"] == "PROCESSING_HALTED"


def test_after_fourteen_failed_graphs_the_rest_is_not_tried(api: Api) -> None:
    graphs = {f"g{n}": [_account("a", None)] for n in range(15)}
    results = _graphs(api, **graphs, last=[_account("a", "never")])
    assert [r["isSuccessful"] for r in results] == [False] * 16
    last = results[-1]["graphResponse"]["compositeResponse"][0]
    assert last["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert api.rows("SELECT Id FROM Account WHERE Name = 'never'") == []


def test_the_limits_of_graphs(api: Api) -> None:
    def chain(length: int) -> list[dict[str, Any]]:
        first = [_account("n0")]
        return first + [
            _part(f"n{n}", "PATCH", "/sobjects/Account/@{n0.id}", {"Site": f"@{{n{n - 1}.id}}"})
            for n in range(1, length)
        ]

    names = ("Account", "Contact", "Lead", "Opportunity", "Host__c", "Task", "Event", "Case")
    kinds = [
        _part(f"{name}{method}", method, f"/sobjects/{name}/1", {})
        for name in names
        for method in ("DELETE", "PATCH")
    ]
    for graphs, code in (
        ({f"g{n}": [] for n in range(76)}, "LIMIT_EXCEEDED"),
        ({"g": [_account(f"a{n}") for n in range(501)]}, "LIMIT_EXCEEDED"),
        ({"g": chain(16)}, "LIMIT_EXCEEDED"),
        ({"g": kinds}, "LIMIT_EXCEEDED"),
        ({"a.b": []}, "INVALID_INPUT"),
        ({"x" * 41: []}, "INVALID_INPUT"),
        ({"g": [_account("a"), _account("a")]}, "INVALID_INPUT"),
    ):
        answer = api.call("POST", "/composite/graph", json=_as_graphs(graphs))
        assert api.error(answer) == (400, code)
    twice = {"graphs": _as_graphs({"g": []})["graphs"] * 2}
    assert api.error(api.call("POST", "/composite/graph", json=twice)) == (400, "INVALID_INPUT")
    query = _graphs(api, g=[_part("q", "GET", "/query?q=SELECT+Id+FROM+Account")])[0]
    assert query["isSuccessful"] is False
    old = api.base + "/services/data/v49.0/composite/graph"
    assert api.error(api.call("POST", old, json={"graphs": []})) == (404, "NOT_FOUND")
    assert api.error(api.get("/composite/graph")) == (405, "METHOD_NOT_ALLOWED")


def test_composite_gives_nulls_numbers_and_places_in_lists_on(api: Api) -> None:
    rows = "SELECT Id, Name, NumberOfEmployees, Industry FROM Account WHERE Name = 'Account 03'"
    copy = {
        "Name": "Copy of @{q.records[0].Name}",
        "NumberOfEmployees": "@{q.records[0].NumberOfEmployees}",
        "Industry": "@{q.records[0].Industry}",
    }
    parts = (
        _part("q", "GET", f"/query?q={rows}"),
        _part("copy", "POST", "/sobjects/Account", copy),
        _part("none", "GET", "/sobjects/Account/@{q.records[1].Id}"),
        _part("after", "GET", "/sobjects/Account/@{copy.id}"),
    )
    query, made, missing, after = _composite(api, *parts)
    assert (query["httpStatusCode"], made["httpStatusCode"]) == (200, 201)
    assert missing["httpStatusCode"] == 400
    assert missing["body"][0]["message"].startswith(
        "Invalid reference specified. No value for q.records[1].Id found in q."
    )
    assert after["body"]["Name"] == "Copy of Account 03"
    assert (after["body"]["NumberOfEmployees"], after["body"]["Industry"]) == (30, None)
    api.version = "51.0"
    assert [r["httpStatusCode"] for r in _composite(api, *parts)] == [200, 400, 400, 400]


def test_all_or_none_of_a_composite_undoes_its_collections(api: Api) -> None:
    records = [{"attributes": {"type": "Account"}, "Name": name} for name in ("in a list", None)]
    body = {"allOrNone": False, "records": records}
    parts = (
        _part("list", "POST", "/composite/sobjects", body),
        _account("alone", "alone"),
    )
    collection, alone = _composite(api, *parts, allOrNone=True)
    assert collection["httpStatusCode"] == 200
    assert [result["success"] for result in collection["body"]] == [True, False]
    assert alone["body"][0]["message"] == ROLLED_BACK
    names = "SELECT Name FROM Account WHERE Name IN ('in a list', 'alone') ORDER BY Name"
    assert api.rows(names) == []
    _composite(api, *parts)
    assert api.column(names) == ["alone", "in a list"]


def test_what_a_composite_request_must_be(api: Api) -> None:
    wide = [_part(f"q{n}", "GET", "/query?q=SELECT+Id+FROM+Account") for n in range(5)]
    wide.append(_part("more", "POST", "/composite/sobjects", {"records": []}))
    for parts, code in (
        ([_account(f"a{n}") for n in range(26)], "LIMIT_EXCEEDED"),
        (wide, "LIMIT_EXCEEDED"),
        ([_account("a.b")], "JSON_PARSER_ERROR"),
        ([{**_account("a"), "method": "post"}], "INVALID_INPUT"),
        ([{**_account("a"), "httpHeaders": {"Accept": "text/csv"}}], "INVALID_INPUT"),
        ([_account("a"), _account("a")], "INVALID_INPUT"),
        (["a"], "JSON_PARSER_ERROR"),
        (None, "MISSING_ARGUMENT"),
    ):
        answer = api.call("POST", "/composite", json={"compositeRequest": parts})
        assert api.error(answer) == (400, code), parts
    body = {"compositeRequest": [], "allOrNone": "yes"}
    assert api.error(api.call("POST", "/composite", json=body)) == (400, "JSON_PARSER_ERROR")
    nested = _part("n", "POST", "/composite/batch", {"batchRequests": []})
    assert _composite(api, nested)[0]["httpStatusCode"] == 400
    assert _composite(api, _account("a"), collateSubrequests=False)[0]["httpStatusCode"] == 201
    since = {"If-Modified-Since": "Thu, 16 May 2024 00:00:00 GMT"}
    part = _part("old", "GET", f"/sobjects/Account/{known_id('001', 1)}", httpHeaders=since)
    assert _composite(api, part)[0]["httpStatusCode"] == 304


def test_what_a_batch_may_ask(api: Api) -> None:
    def batch(*urls: str) -> Any:
        calls = [{"method": "GET", "url": url} for url in urls]
        return api.call("POST", "/composite/batch", json={"batchRequests": calls})

    for url in (
        "v60.0/limits",
        "v33.0/limits",
        "limits",
        "v59.0/composite/batch",
        "v59.0/jobs/query",
    ):
        assert api.error(batch(url)) == (400, "INVALID_INPUT"), url
    assert api.error(batch(*["v59.0/limits"] * 26)) == (400, "LIMIT_EXCEEDED")
    answer = batch("v34.0/limits", f"{DATA}/query?q=SELECT Name FROM Account LIMIT 1").json()
    assert [result["statusCode"] for result in answer["results"]] == [200, 200]
    assert answer["hasErrors"] is False
