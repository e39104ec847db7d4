"""SOSL, searches by parameters and what the search resources tell of themselves."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id


def _search(api: Api, sosl: str) -> requests.Response:
    return api.get("/search/", params={"q": sosl})


def _found(api: Api, sosl: str) -> list[dict[str, Any]]:
    answer = _search(api, sosl)
    assert answer.status_code == 200, answer.text
    records: list[dict[str, Any]] = answer.json()["searchRecords"]
    return records


def _names(api: Api, expression: str, rest: str = "RETURNING Account(Name)") -> list[str]:
    return [record["Name"] for record in _found(api, f"FIND {{{expression}}} {rest}")]


def test_without_returning_the_ids_of_every_object_are_told(shared: Api) -> None:
    found = _found(shared, "FIND {user1}")
    assert found == [
        {
            "attributes": {
                "type": "User",
                "url": f"/services/data/v59.0/sobjects/User/{known_id('005', 1)}",
            },
            "Id": known_id("005", 1),
        }
    ]
    assert {record["attributes"]["type"] for record in _found(shared, "FIND {account}")} == {
        "Account",
        "Contact",
    }


def test_before_version_37_the_answer_is_a_bare_list(shared: Api) -> None:
    path = f"{shared.base}/services/data/v36.0/search"
    answer = shared.get(path, params={"q": "FIND {deal} RETURNING Opportunity LIMIT 2"})
    assert [record["attributes"]["type"] for record in answer.json()] == ["Opportunity"] * 2


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("müller", ["Müller & Söhne"]),
        ("MÜLLER SÖHNE", ["Müller & Söhne"]),
        ('"söhne müller"', []),
        ('"müller söhne"', ["Müller & Söhne"]),
        (r"müller \& söhne", ["Müller & Söhne"]),
        ("mül*", ["Müller & Söhne"]),
        ("m?ller", ["Müller & Söhne"]),
        ("mülle", []),
        (r"O\'Brien", ['O\'Brien "Quoted", 50%_off']),
        ("brien AND NOT quoted", []),
        ("brien OR müller", ["Müller & Söhne", 'O\'Brien "Quoted", 50%_off']),
        ("(brien OR müller) AND quoted", ['O\'Brien "Quoted", 50%_off']),
        ("account11", ["Account 11"]),
        ("account AND 07", ["Account 07"]),
    ],
)
def test_words_phrases_wildcards_and_operators(
    shared: Api, expression: str, names: list[str]
) -> None:
    assert _names(shared, expression, "IN NAME FIELDS RETURNING Account(Name)") == names


def test_the_group_decides_which_fields_are_looked_through(shared: Api) -> None:
    def contacts(group: str) -> int:
        return len(_found(shared, f"FIND {{ann3*}} IN {group} FIELDS RETURNING Contact"))

    assert [contacts(group) for group in ("ALL", "NAME", "EMAIL", "PHONE")] == [1, 1, 1, 0]
    assert len(_found(shared, 'FIND {"ann2@account.test"} IN EMAIL FIELDS')) == 1
    assert _found(shared, r"FIND {ann2\@account.test} IN NAME FIELDS RETURNING Contact") == []


def test_each_object_has_fields_conditions_an_order_and_limits(shared: Api) -> None:
    sosl = (
        "FIND {account} IN NAME FIELDS RETURNING "
        "Account(Id, Name, Owner.Name WHERE NumberOfEmployees > 100 ORDER BY Name DESC LIMIT 2 "
        "OFFSET 1), Contact(LastName WHERE Email LIKE 'ann%')"
    )
    found = _found(shared, sosl)
    assert [record["Name"] for record in found] == ["Account 17", "Account 15"]
    assert found[0]["Owner"]["Name"].startswith("First Last")
    gone = "FIND {account} IN NAME FIELDS RETURNING Account(Name WHERE Name = 'Account 20')"
    assert _found(shared, gone) == []


def test_an_overall_limit_is_shared_out_evenly(shared: Api) -> None:
    sosl = "FIND {account OR smith* OR deal} RETURNING Account, Contact, Opportunity LIMIT {}"

    def counts(limit: int) -> list[int]:
        kinds = [r["attributes"]["type"] for r in _found(shared, sosl.replace("{}", str(limit)))]
        return [kinds.count(name) for name in ("Account", "Contact", "Opportunity")]

    assert counts(6) == [2, 2, 2]
    assert counts(35) == [13, 12, 10]
    assert counts(2000) == [19, 15, 10]
    assert sum(counts(1)) == 1


def test_labels_come_when_asked_for(shared: Api) -> None:
    sosl = "FIND {müller} RETURNING Account(Name, Website) WITH METADATA='LABELS'"
    answer = _search(shared, sosl).json()
    assert answer["metadata"]["entityMetadata"] == [
        {
            "entityName": "Account",
            "fieldMetadata": [
                {"label": "Account Name", "name": "Name"},
                {"label": "Website", "name": "Website"},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("sosl", "code", "message"),
    [
        ("FIND müller", "MALFORMED_SEARCH", "No search term found. The search term must be"),
        ("FIND {}", "MALFORMED_SEARCH", "No search term found. The search term must be"),
        ("", "MALFORMED_SEARCH", "No search term found. The search term must be"),
        ("FIND {a}", "MALFORMED_SEARCH", "search term must be longer than one character: a"),
        ("FIND {*}", "MALFORMED_SEARCH", "search term must be longer than one character: *"),
        ("FIND {John|jane} RETURNING Contact", "MALFORMED_SEARCH", "Column:10\nline 1:10 mism"),
        ("FIND {Marie-pier}", "MALFORMED_SEARCH", "mismatched character '-' expecting '}'"),
        ("FIND {john", "MALFORMED_SEARCH", "mismatched character '<EOF>' expecting '}'"),
        ("FIND {john AND}", "MALFORMED_SEARCH", "unexpected token: }"),
        ("FIND {(john}", "MALFORMED_SEARCH", "unexpected token: }"),
        ("FIND {name} IN ALL TYPE", "MALFORMED_SEARCH", "Column:19\nMalformed search token: TYPE"),
        ("FIND {name} RETURNING Account(Name", "MALFORMED_SEARCH", "unexpected token: <EOF>"),
        ("FIND {name} RETURNING Nope", "INVALID_TYPE", "sObject type 'Nope' is not supported"),
        ("FIND {name} RETURNING Account(Nope)", "INVALID_FIELD", "No such column 'Nope'"),
        ("FIND {name} RETURNING Account(COUNT())", "MALFORMED_SEARCH", "Aggregate functions"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    shared: Api, sosl: str, code: str, message: str
) -> None:
    answer = _search(shared, sosl)
    assert shared.error(answer) == (400, code)
    assert message in answer.json()[0]["message"]


def test_a_search_by_parameters_of_the_address(shared: Api) -> None:
    answer = shared.get("/parameterizedSearch", params={"q": "user1"})
    assert [record["Id"] for record in answer.json()["searchRecords"]] == [known_id("005", 1)]
    params: list[tuple[str, str]] = [
        ("q", "account"),
        ("in", "NAME"),
        ("sobject", "Account"),
        ("sobject", "Contact"),
        ("fields", "id"),
        ("Account.fields", "id,name"),
        ("Account.where", "NumberOfEmployees > 100"),
        ("Account.orderBy", "Name DESC"),
        ("defaultLimit", "3"),
    ]
    found = shared.get("/parameterizedSearch/", params=params).json()["searchRecords"]
    assert [record["Name"] for record in found] == ["Account 19", "Account 17", "Account 15"]
    assert shared.error(shared.get("/parameterizedSearch")) == (400, "MISSING_ARGUMENT")


def test_a_search_by_parameters_in_the_body(shared: Api) -> None:
    body = {
        "q": "O'Brien",
        "fields": ["Id", "Name"],
        "sobjects": [{"name": "Account"}, {"name": "Contact", "limit": 2}],
        "in": "ALL",
        "overallLimit": 5,
        "defaultLimit": 4,
    }
    answer = shared.call("POST", "/parameterizedSearch", json=body)
    assert [record["Name"] for record in answer.json()["searchRecords"]] == [
        'O\'Brien "Quoted", 50%_off'
    ]
    bad = shared.call("POST", "/parameterizedSearch", json={"q": "x1", "sobjects": [{}]})
    assert shared.error(bad) == (400, "JSON_PARSER_ERROR")
    aimless = shared.call("POST", "/parameterizedSearch", json={"q": "x1", "fields": ["Id"]})
    assert shared.error(aimless) == (400, "INVALID_SEARCH")


def test_scope_and_layouts(shared: Api) -> None:
    scope = shared.get("/search/scopeOrder").json()
    assert scope[0] == {
        "type": "Account",
        "url": "/services/data/v59.0/sobjects/Account/describe",
    }
    layouts = shared.get("/search/layout", params={"q": "Account,Contact"}).json()
    assert [layout["objectType"] for layout in layouts] == ["Account", "Contact"]
    assert layouts[0]["searchColumns"][0] == {
        "field": "Account.Name",
        "format": None,
        "label": "Account Name",
        "name": "Name",
    }
    assert shared.error(shared.get("/search/layout", params={"q": "Nope"})) == (400, "INVALID_TYPE")
    assert shared.error(shared.call("POST", "/search")) == (405, "METHOD_NOT_ALLOWED")
