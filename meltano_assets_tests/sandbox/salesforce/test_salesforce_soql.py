"""SOQL over HTTP: what it finds, what it refuses, how it pages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meltano_assets.sandbox import soql
from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id


def test_records_carry_their_type_and_url(shared: Api) -> None:
    answer = shared.query("SELECT Id, Name, Using_CE__c FROM Account WHERE Name = 'account 04'")
    assert answer.json() == {
        "totalSize": 1,
        "done": True,
        "records": [
            {
                "attributes": {
                    "type": "Account",
                    "url": f"/services/data/v59.0/sobjects/Account/{known_id('001', 4)}",
                },
                "Id": known_id("001", 4),
                "Name": "Account 04",
                "Using_CE__c": True,
            }
        ],
    }
    assert answer.headers["Sforce-Limit-Info"].startswith("api-usage=")


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("Type = 'customer'", 6),
        ("Type != 'Customer'", 13),
        ("Type = null", 6),
        ("Type != NULL", 13),
        ("NOT Type = 'Customer'", 13),
        ("Type IN ('Customer', 'Prospect')", 13),
        ("Type IN ('Customer', null)", 12),
        ("Type NOT IN ('Customer')", 13),
        ("(NOT Type IN ('Customer'))", 13),
        ("Type = ''", 6),
        ("NumberOfEmployees > 100 AND NumberOfEmployees <= 130", 2),
        ("NumberOfEmployees < 1e2", 5),
        ("Using_CE__c = TRUE", 4),
        ("(Type = 'Customer' OR Type = 'Prospect') AND Using_CE__c = false", 10),
        ("Name LIKE 'ACCOUNT%'", 17),
        ("Name LIKE 'Account _5'", 2),
        ("Name LIKE '%50\\%\\_off'", 1),
        ("Name = 'O\\'Brien \\\"Quoted\\\", 50%_off'", 1),
        ("Name = 'MÜLLER & SÖHNE'", 1),
        ("Name LIKE 'mül%'", 1),
        ("Name IN ('mÜller & söhne', 'Account 03')", 2),
        ("CreatedDate >= 2024-01-10T00:00:00Z", 11),
        ("CreatedDate > 2024-01-10T02:00:00+02:00", 10),
        ("CreatedDate < 2024-01-10T00:00:00.000+0000 AND CreatedDate > 2024-01-08T00:00:00Z", 1),
        ("Owner.Name = 'First Last2'", 7),
        ("Owner.Manager.Name = 'First Last1'", 13),
        ("Parent.Parent.Name = null", 19),
        ("Account.Name = 'Account 04'", 1),
        ("Id IN (SELECT AccountId FROM Contact WHERE LastName LIKE 'Smith%')", 6),
        ("Id NOT IN (SELECT AccountId FROM Contact)", 13),
        ("DAY_IN_MONTH(CreatedDate) = 5", 1),
        ("CALENDAR_YEAR(CreatedDate) = 2023", 0),
    ],
)
def test_conditions_follow_the_rules_of_soql(shared: Api, where: str, count: int) -> None:
    answer = shared.query(f"SELECT COUNT() FROM Account WHERE {where}")
    assert answer.json() == {"totalSize": count, "done": True, "records": []}


@pytest.mark.parametrize(
    ("condition", "days"),
    [
        # Deals close on 2024-05-11 … 2024-05-20; the clock stands on Wednesday 2024-05-15.
        ("= TODAY", [15]),
        ("= YESTERDAY", [14]),
        ("= TOMORROW", [16]),
        ("> TODAY", [16, 17, 18, 19, 20]),
        ("<= YESTERDAY", [11, 12, 13, 14]),
        ("= LAST_N_DAYS:2", [13, 14, 15]),
        ("= NEXT_N_DAYS:2", [16, 17]),
        ("= N_DAYS_AGO:3", [12]),
        ("= THIS_WEEK", [12, 13, 14, 15, 16, 17, 18]),
        ("= LAST_WEEK", [11]),
        ("= NEXT_WEEK", [19, 20]),
        ("= THIS_MONTH", list(range(11, 21))),
        ("= LAST_N_MONTHS:3", []),
        ("!= THIS_YEAR", []),
        ("< THIS_WEEK", [11]),
    ],
)
def test_date_literals_count_from_the_companys_day(
    shared: Api, condition: str, days: list[int]
) -> None:
    found = shared.column(
        f"SELECT CloseDate FROM Opportunity WHERE CloseDate {condition} ORDER BY CloseDate"
    )
    assert [int(day[-2:]) for day in found] == days


def test_order_puts_nulls_first_unless_asked(shared: Api) -> None:
    base = "SELECT Amount FROM Opportunity ORDER BY Amount"
    assert shared.column(base)[0] is None
    assert shared.column(base + " DESC")[0] is None
    assert shared.column(base + " DESC NULLS LAST")[:2] == [10002.5, 9002.25]
    assert shared.column(base + " NULLS LAST LIMIT 2 OFFSET 1") == [2000.5, 3000.75]


def test_parents_are_nested_and_null_where_there_is_none(shared: Api) -> None:
    found = shared.rows(
        "SELECT LastName, Account.Name, Account.Owner.Name FROM Contact "
        "WHERE LastName IN ('Smith3', 'Smith14') ORDER BY LastName"
    )
    assert found[0] == {"LastName": "Smith14", "Account": None}
    assert found[1]["Account"]["attributes"]["type"] == "Account"
    assert found[1]["Account"]["Name"] == "Account 04"
    assert found[1]["Account"]["Owner"]["Name"] == "First Last2"


def test_children_come_as_lists(shared: Api) -> None:
    found = shared.rows(
        "SELECT Name, (SELECT LastName FROM Contacts WHERE LastName != 'Smith9' "
        "ORDER BY LastName DESC LIMIT 1), (SELECT Id FROM Opportunities) "
        "FROM Account WHERE Name IN ('Account 04', 'Account 19') ORDER BY Name"
    )
    contacts = found[0]["Contacts"]
    assert (contacts["totalSize"], contacts["done"]) == (1, True)
    assert contacts["records"][0]["LastName"] == "Smith3"
    assert found[0]["Opportunities"]["totalSize"] == 2
    assert found[1]["Contacts"] is None


def test_aggregates(shared: Api) -> None:
    found = shared.rows(
        "SELECT StageName stage, COUNT(Id), SUM(Amount) total, MIN(CloseDate), AVG(Amount), "
        "COUNT_DISTINCT(AccountId) FROM Opportunity GROUP BY StageName "
        "HAVING COUNT(Id) > 1 ORDER BY StageName"
    )
    assert [row["stage"] for row in found] == ["1-Discovery", "Closed Won"]
    assert found[0] == {
        "stage": "1-Discovery",
        "expr0": 5,
        "total": 30007.5,
        "expr1": "2024-05-12",
        "expr2": 6001.5,
        "expr3": 2,
    }
    assert shared.rows("SELECT MAX(Amount) FROM Opportunity") == [{"expr0": 10002.5}]
    grouped = shared.rows(
        "SELECT Owner.Name, CALENDAR_MONTH(CreatedDate) m, COUNT(Id) n FROM Account "
        "GROUP BY Owner.Name, CALENDAR_MONTH(CreatedDate)"
    )
    assert [(row["Name"], row["n"]) for row in grouped] == [
        ("First Last1", 6),
        ("First Last2", 7),
        ("First Last3", 6),
    ]


def test_deleted_records_are_seen_by_query_all_only(shared: Api) -> None:
    where = "SELECT Id, IsDeleted FROM Account WHERE Name = 'Account 20'"
    assert shared.rows(where) == []
    assert shared.rows(where, everything=True) == [{"Id": known_id("001", 20), "IsDeleted": True}]


def test_a_label_may_have_a_name_of_its_own(shared: Api) -> None:
    text = "SELECT Type, toLabel(Type) label FROM Account WHERE Type = 'Customer' LIMIT 1"
    assert shared.rows(text) == [{"Type": "Customer", "label": "Customer"}]
    assert shared.error(shared.query("SELECT Name n FROM Account")) == (400, "MALFORMED_QUERY")


def test_ids_match_in_both_lengths(shared: Api) -> None:
    long = known_id("001", 4)
    for text in (long, long[:15]):
        assert shared.column(f"SELECT Id FROM Account WHERE Id = '{text}'") == [long]


def test_fields_function_lists_fields_within_a_limit(shared: Api) -> None:
    everything = shared.rows("SELECT FIELDS(ALL) FROM Account LIMIT 1")[0]
    assert {"Id", "BillingAddress", "Meltano_Id__c"} <= everything.keys()
    assert everything["BillingAddress"]["country"] == "Germany"
    custom = shared.rows("SELECT FIELDS(CUSTOM) FROM Account LIMIT 1")[0]
    assert "Name" not in custom
    assert "Meltano_Id__c" not in shared.rows("SELECT FIELDS(STANDARD) FROM Account")[0]
    answer = shared.query("SELECT FIELDS(ALL) FROM Account LIMIT 201")
    assert shared.error(answer) == (400, "MALFORMED_QUERY")


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("", "MALFORMED_QUERY", "empty"),
        ("SELECT", "MALFORMED_QUERY", "unexpected token: <EOF>"),
        ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY", "unexpected token: <EOF>"),
        ("SELECT Id FROM Account LIMIT x", "MALFORMED_QUERY", "unexpected token: 'x'"),
        ("SELECT * FROM Account", "MALFORMED_QUERY", "line 1:7"),
        ("SELECT Id FROM Account WHERE Name = 'x", "MALFORMED_QUERY", "mismatched character"),
        ("SELECT Id FROM Account WHERE Name='a' AND Type='b' OR Id=null", "MALFORMED_QUERY", "OR"),
        ("SELECT Id, Nope FROM Account", "INVALID_FIELD", "Row:1:Column:12\nNo such column 'Nope'"),
        ("SELECT Id FROM Nope", "INVALID_TYPE", "sObject type 'Nope' is not supported"),
        ("SELECT Foo.Name FROM Account", "INVALID_FIELD", "Didn't understand relationship 'Foo'"),
        ("SELECT Id, Id FROM Account", "INVALID_FIELD", "duplicate field selected: Id"),
        ("SELECT (SELECT Id FROM Foos) FROM Account", "INVALID_TYPE", "'Foos' in FROM part"),
        ("SELECT Id FROM Account WHERE Id = 'abc'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID"),
        ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD", "must be of type string"),
        ("SELECT Id FROM Account WHERE Using_CE__c = 'true'", "INVALID_FIELD", "type boolean"),
        (
            "SELECT Id FROM Account WHERE CreatedDate > '2024-01-01T00:00:00Z'",
            "INVALID_FIELD",
            "must be of type dateTime and should not be enclosed in quotes",
        ),
        ("SELECT Id FROM Account WHERE CreatedDate > 2024-01-01", "INVALID_FIELD", "dateTime"),
        ("SELECT Id FROM Account WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered"),
        ("SELECT Id FROM Account ORDER BY Description", "MALFORMED_QUERY", "can not be sorted"),
        ("SELECT Name, COUNT(Id) FROM Account", "MALFORMED_QUERY", "grouped or aggregated: Name"),
        ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "2000"),
        ("SELECT Id FROM Account WHERE " + "(" * 2000, "QUERY_TOO_COMPLICATED", "complicated"),
    ],
)
def test_bad_queries_are_refused_in_the_vendors_words(
    shared: Api, query: str, code: str, message: str
) -> None:
    answer = shared.query(query)
    assert shared.error(answer) == (400, code)
    assert message in answer.json()[0]["message"]


def test_pages_follow_a_locator_and_may_be_asked_again(api: Api) -> None:
    _fill_hosts(api, 450)
    options = {"headers": {"Sforce-Query-Options": "batchSize=200"}}
    first = api.query("SELECT Name FROM Host__c ORDER BY Name", **options).json()
    assert (first["totalSize"], first["done"], len(first["records"])) == (450, False, 200)
    names = [record["Name"] for record in first["records"]]
    # What happens meanwhile does not disturb the cursor.
    _fill_hosts(api, 10, prefix="later")
    url = first["nextRecordsUrl"]
    assert url.startswith("/services/data/v59.0/query/01g")
    again = api.get(api.base + url).json()
    while url:
        page = api.get(api.base + url).json()
        names += [record["Name"] for record in page["records"]]
        url = page.get("nextRecordsUrl")
    assert page["done"] is True
    assert names == [f"host{n:04}" for n in range(450)]
    assert again["records"][0]["Name"] == "host0200"


def test_dead_locators_are_refused(api: Api) -> None:
    refused = (400, "INVALID_QUERY_LOCATOR")
    assert api.error(api.get("/query/01gxx0000000001AAA-2000")) == refused
    assert api.error(api.get("/query/nonsense")) == refused
    _fill_hosts(api, 201)
    options = {"headers": {"Sforce-Query-Options": "batchSize=1"}}
    urls = [
        api.query("SELECT Id FROM Host__c", **options).json()["nextRecordsUrl"] for _ in range(11)
    ]
    assert api.error(api.get(api.base + urls[0])) == refused
    assert api.get(api.base + urls[1]).status_code == 200


def _fill_hosts(api: Api, count: int, prefix: str = "host") -> None:
    for start in range(0, count, 200):
        records: list[dict[str, Any]] = [
            {"attributes": {"type": "Host__c"}, "Name": f"{prefix}{n:04}"}
            for n in range(start, min(start + 200, count))
        ]
        answer = api.call("POST", "/composite/sobjects", json={"records": records})
        assert all(result["success"] for result in answer.json())


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(_TEXT)
def test_any_text_survives_a_quoted_literal(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    query = soql.parse(f"SELECT Id FROM Account WHERE Name = '{quoted}'")
    assert isinstance(query.where, soql.Comparison)
    assert soql.unescape(query.where.value.text) == text


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(_TEXT)
def test_any_text_is_found_by_its_own_literal(shared: Api, text: str) -> None:
    stored = text.replace("\x00", "").strip()
    if not stored:
        return
    created = shared.call("POST", "/sobjects/Campaign", json={"Name": stored})
    assert created.status_code == 201, created.text
    quoted = stored.replace("\\", "\\\\").replace("'", "\\'")
    found = shared.rows(f"SELECT Id, Name FROM Campaign WHERE Name = '{quoted}'")
    assert {"Id": created.json()["id"], "Name": stored} in found


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_the_parser_refuses_rather_than_fails(text: str) -> None:
    for query in (text, f"SELECT {text} FROM Account", f"SELECT Id FROM A WHERE {text}"):
        try:
            soql.parse(query)
        except soql.SoqlError as error:
            assert error.code == "MALFORMED_QUERY"


def _activities(api: Api) -> None:
    for subject, who, what in (
        ("a", known_id("003", 1), known_id("001", 1)),
        ("b", None, known_id("006", 2)),
        ("c", known_id("003", 2), None),
    ):
        answer = api.call(
            "POST",
            "/sobjects/Task",
            json={
                "Subject": subject,
                "WhoId": who,
                "WhatId": what,
                "Status": "Completed",
                "OwnerId": known_id("005", 2),
            },
        )
        assert answer.status_code == 201, answer.text


def test_a_polymorphic_reference_shows_what_all_its_objects_have(api: Api) -> None:
    _activities(api)
    found = api.query(
        "SELECT Subject, Who.Name, Who.Type, What.Name, What.Type FROM Task ORDER BY Subject"
    ).json()["records"]
    assert [(t["Who"] or {}).get("Type") for t in found] == ["Contact", None, "Contact"]
    assert found[0]["What"] == {
        "attributes": {
            "type": "Account",
            "url": f"/services/data/v59.0/sobjects/Account/{known_id('001', 1)}",
        },
        "Name": "Müller & Söhne",
        "Type": "Account",
    }
    assert (found[1]["Who"], found[1]["What"]["Type"]) == (None, "Opportunity")
    where = "WHERE What.Type = 'Opportunity'"
    assert api.column(f"SELECT Subject FROM Task {where}") == ["b"]
    where = "WHERE What.Type IN ('Account', 'Lead') AND Who.FirstName = 'Ann1'"
    assert api.column(f"SELECT Subject FROM Task {where}") == ["a"]
    assert api.rows("SELECT What.Type t, COUNT(Id) n FROM Task GROUP BY What.Type") == [
        {"t": None, "n": 1},
        {"t": "Account", "n": 1},
        {"t": "Opportunity", "n": 1},
    ]
    # What only some of the objects have is not there.
    answer = api.query("SELECT What.Website FROM Task")
    assert api.error(answer) == (400, "INVALID_FIELD")
    assert "on entity 'Name'" in answer.json()[0]["message"]


def test_typeof_gives_the_fields_of_the_object_that_is_there(api: Api) -> None:
    _activities(api)
    soql_text = (
        "SELECT Subject, TYPEOF What WHEN Account THEN Website, NumberOfEmployees "
        "WHEN Opportunity THEN Amount, StageName ELSE Name END FROM Task ORDER BY Subject"
    )
    first, second, third = api.query(soql_text).json()["records"]
    assert first["What"].pop("attributes")["type"] == "Account"
    assert first["What"] == {"Website": "https://www.account1.test", "NumberOfEmployees": 10}
    assert second["What"].pop("attributes")["type"] == "Opportunity"
    assert second["What"] == {"Amount": 2000.5, "StageName": "1-Discovery"}
    assert third["What"] is None
    found = api.query(
        "SELECT Subject, TYPEOF What WHEN Account THEN Website ELSE Name, Type END FROM Task "
        "WHERE Subject = 'b'"
    ).json()["records"][0]
    assert found["What"]["Name"] == "Deal 2"
    assert found["What"]["attributes"]["type"] == "Opportunity"
    for text, code in (
        ("SELECT TYPEOF Account WHEN Account THEN Name END FROM Task", "MALFORMED_QUERY"),
        ("SELECT TYPEOF What WHEN User THEN Name END FROM Task", "INVALID_TYPE"),
        ("SELECT TYPEOF What WHEN Account THEN Nope END FROM Task", "INVALID_FIELD"),
        ("SELECT TYPEOF What ELSE Name END FROM Task", "MALFORMED_QUERY"),
    ):
        assert api.error(api.query(text)) == (400, code), text
    body = {
        "operation": "query",
        "query": "SELECT TYPEOF What WHEN Account THEN Name END FROM Task",
    }
    assert api.call("POST", "/jobs/query", json=body).status_code == 400


def test_the_columns_of_an_answer_can_be_asked_for(shared: Api) -> None:
    def columns(soql_text: str) -> list[dict[str, Any]]:
        answer = shared.get("/query", params={"q": soql_text, "columns": "true"}).json()
        told: list[dict[str, Any]] = answer["columnMetadata"]
        return told

    told = columns(
        "SELECT Id, Owner.Name, Using_CE__c, (SELECT LastName FROM Contacts) FROM Account"
    )
    shapes = [(c["columnName"], c["apexType"], c["aggregate"], c["foreignKeyName"]) for c in told]
    assert shapes == [
        ("Id", "Id", False, None),
        ("Owner", None, False, "OwnerId"),
        ("Using_CE__c", "Boolean", False, None),
        ("Contacts", None, True, None),
    ]
    assert [c["columnName"] for c in told[1]["joinColumns"]] == ["Name"]
    assert [c["columnName"] for c in told[3]["joinColumns"]] == ["LastName"]
    told = columns(
        "SELECT StageName, avg(Amount), max(Amount) most FROM Opportunity GROUP BY StageName"
    )
    assert [(c["columnName"], c["displayName"], c["numberType"]) for c in told] == [
        ("StageName", "StageName", False),
        ("expr0", "avg(Amount)", True),
        ("most", "max(Amount)", True),
    ]


def test_an_address_that_ends_in_a_slash_may_be_joined_with_a_path(shared: Api) -> None:
    assert shared.get(f"{shared.base}//services/data/v59.0/limits").status_code == 200
