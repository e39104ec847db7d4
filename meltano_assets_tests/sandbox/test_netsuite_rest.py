"""NetSuite's REST services: records, filters, schemas, SuiteQL, signatures and errors."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import requests

from meltano_assets.sandbox.company import Company
from meltano_assets_tests.sandbox.conftest import Sandbox

QL = "/services/rest/query/v1/suiteql"
RECORD = "/services/rest/record/v1/"


class Rest:
    """A client that signs as RFC 5849 says."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.known = settings
        self.base = str(settings["base_url"])

    def header(self, method: str, url: str, **wrong: str) -> str:
        known = {**self.known, **wrong}
        parts = urlsplit(url)
        given = {
            "oauth_consumer_key": known["consumer_key"], "oauth_token": known["token_id"],
            "oauth_signature_method": "HMAC-SHA256", "oauth_version": "1.0",
            "oauth_timestamp": wrong.get("timestamp", str(int(time.time()))),
            "oauth_nonce": wrong.get("nonce", secrets.token_hex(8)),
        }  # fmt: skip
        pairs = sorted(
            (quote(n, safe="~"), quote(v, safe="~"))
            for n, v in [*given.items(), *parse_qsl(parts.query, keep_blank_values=True)]
        )
        plain = f"{parts.scheme}://{parts.netloc}{parts.path}"
        listed = "&".join(f"{n}={v}" for n, v in pairs)
        message = "&".join(quote(text, safe="~") for text in (method, plain, listed))
        key = f"{known['consumer_secret']}&{known['token_secret']}"
        digest = hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()
        given["oauth_signature"] = base64.b64encode(digest).decode()
        listed = ", ".join(f'{n}="{quote(v, safe="~")}"' for n, v in given.items())
        return f'OAuth realm="{known["account"]}", {listed}'

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        url = path if path.startswith("http") else self.base + path
        url = requests.Request(method, url).prepare().url or url
        return requests.request(
            method, url, data=None if body is None else json.dumps(body), timeout=30,
            headers={"Authorization": self.header(method, url), "Content-Type": "application/json",
                     **headers},
        )  # fmt: skip

    def suiteql(self, query: str, **parameters: int) -> requests.Response:
        path = (
            QL + ("?" if parameters else "") + "&".join(f"{n}={v}" for n, v in parameters.items())
        )
        return self.ask("POST", path, {"q": query}, Prefer="transient")


@pytest.fixture
def rest(sandbox: Sandbox) -> Rest:
    return Rest(sandbox.manifest["netsuite"])


@pytest.fixture
def own_rest(own_sandbox: Sandbox) -> Rest:
    return Rest(own_sandbox.manifest["netsuite"])


def error(answer: requests.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/vnd.oracle.resource+json; type=error"
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["title"]
    return answer.status_code, told["o:errorDetails"][0]["o:errorCode"]


def test_a_collection_is_read_page_by_page(rest: Rest, small_company: Company) -> None:
    customers = small_company.books(0).state(small_company.now(0))["Customer"]
    seen: list[str] = []
    path: str | None = f"{RECORD}customer?limit=10"
    while path:
        page = rest.ask("GET", path)
        assert page.headers["Content-Type"] == (
            "application/vnd.oracle.resource+json; type=collection"
        )
        told = page.json()
        assert told["totalResults"] == len(customers)
        assert told["count"] == len(told["items"])
        seen += [item["id"] for item in told["items"]]
        links = {link["rel"]: link["href"] for link in told["links"]}
        assert told["hasMore"] is ("next" in links)
        path = links.get("next")
    assert seen == list(customers)


def test_a_record_has_its_references_lists_and_own_fields(rest: Rest) -> None:
    key = rest.ask("GET", f"{RECORD}invoice?limit=1").json()["items"][0]["id"]
    plain = rest.ask("GET", f"{RECORD}invoice/{key}").json()
    assert plain["item"] == {
        "links": [{"rel": "self", "href": f"{rest.base}{RECORD}invoice/{key}/item"}]
    }
    assert plain["entity"]["links"][0]["href"].endswith(f"/customer/{plain['entity']['id']}")
    assert plain["status"]["refName"]
    assert plain["custbody_salesforce_opportunity"] == plain["externalId"]
    whole = rest.ask("GET", f"{RECORD}INVOICE/{key}?expandSubResources=true").json()
    lines = whole["item"]["items"]
    assert whole["item"]["totalResults"] == len(lines) > 0
    assert sum(line["amount"] for line in lines) == pytest.approx(whole["total"])
    assert rest.ask("GET", whole["item"]["links"][0]["href"]).json() == whole["item"]
    assert rest.ask("GET", lines[0]["links"][0]["href"]).json() == lines[0]
    assert rest.ask("GET", f"{RECORD}invoice/eid:{plain['externalId']}").json() == plain
    account = rest.ask("GET", f"{RECORD}account/1?fields=acctType,acctName").json()
    assert account.keys() == {"links", "id", "acctType", "acctName"}
    assert account["acctType"] == {"id": "Bank", "refName": "Bank"}
    simple = rest.ask("GET", f"{RECORD}account/1?simpleEnumFormat=true").json()
    assert simple["acctType"] == "Bank"


def test_filters_find_what_they_say(rest: Rest, small_company: Company) -> None:
    customers = small_company.books(0).state(small_company.now(0))["Customer"]

    def found(text: str) -> list[str]:
        answer = rest.ask("GET", f"{RECORD}customer?q={quote(text)}")
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    one = next(iter(customers.values()))
    name = str(one["companyName"])
    assert found(f'companyName IS "{name}"') == [one["internalId"]]
    assert found(f'id EQUAL {one["internalId"]} AND companyname START_WITH "{name[:3]}"') == [
        one["internalId"]
    ]
    assert found(f"id ANY_OF [{one['internalId']}, 99999]") == [one["internalId"]]
    assert len(found("id EMPTY_NOT")) == len(customers)
    assert found("(id EQUAL 1) OR id BETWEEN [1, 2]") == []
    later = found('lastModifiedDate ON_OR_AFTER "1/1/2025"')
    earlier = found('lastModifiedDate BEFORE "01/01/2025"')
    assert sorted([*later, *earlier]) == sorted(customers)
    assert earlier
    changed = small_company.books(0).state(small_company.now(0))["Customer"]["116"][
        "lastModifiedDate"
    ]
    day = f"{changed:%m/%d/%Y}"
    assert "116" in found(f'lastModifiedDate AFTER "{day}"')
    assert "116" in found(f'lastModifiedDate ON "{day}"')
    assert "116" not in found(f'lastModifiedDate AFTER_NOT "{day}"')
    for text, code in {
        "nothing IS 1": "NONEXISTENT_FIELD", "id LIKES 1": "INVALID_PARAMETER", "(id IS 1": "INVALID_PARAMETER",
        'lastModifiedDate AFTER "x"': "INVALID_PARAMETER", "(" * 200: "INVALID_PARAMETER",
        "id GREATER x": "INVALID_PARAMETER", "id": "INVALID_PARAMETER",
    }.items():  # fmt: skip
        answer = rest.ask("GET", f"{RECORD}customer?q={quote(text)}")
        assert error(answer) == (400, code), text


def test_records_are_made_changed_and_deleted(own_rest: Rest) -> None:
    rest = own_rest
    made = rest.ask("POST", f"{RECORD}customer", {
        "companyName": "By REST", "externalId": "r-1", "subsidiary": {"id": "1"},
        "emailPreference": {"id": "PDF"}, "custentity_health": 0.5,
    })  # fmt: skip
    assert (made.status_code, made.content) == (204, b"")
    customer = rest.ask("GET", made.headers["Location"]).json()
    assert (customer["companyName"], customer["custentity_health"]) == ("By REST", 0.5)
    assert customer["subsidiary"]["refName"] == "Meltano Sandbox"
    changed = rest.ask("PATCH", f"{RECORD}customer/eid:r-1", {"phone": "12", "email": None})
    assert changed.status_code == 204
    assert rest.ask("GET", f"{RECORD}customer/{customer['id']}").json()["phone"] == "12"
    for _ in range(2):
        put = rest.ask(
            "PUT", f"{RECORD}customer/eid:r-2", {"companyName": "Put", "subsidiary": {"id": 1}}
        )
        assert put.status_code == 204
    line = {"item": {"id": "1"}, "quantity": 2, "rate": 10.5}
    bill = rest.ask(
        "POST", f"{RECORD}invoice", {"entity": {"id": customer["id"]}, "item": {"items": [line]}}
    )
    where = bill.headers["Location"]
    assert rest.ask("GET", where).json()["total"] == 21.0
    more = {"item": {"id": "2"}, "quantity": 1, "rate": 4}
    assert rest.ask("PATCH", where, {"item": {"items": [more]}}).status_code == 204
    assert rest.ask("GET", where).json()["total"] == 25.0
    assert (
        rest.ask("PATCH", f"{where}?replace=item", {"item": {"items": [more]}}).status_code == 204
    )
    assert rest.ask("GET", where).json()["total"] == 4.0
    assert rest.suiteql(
        "SELECT foreigntotal FROM transaction WHERE id = " + where.rpartition("/")[2]
    ).json()["items"] == [{"links": [], "foreigntotal": "4"}]
    held = rest.ask("DELETE", f"{RECORD}customer/eid:r-1")
    assert error(held) == (400, "USER_ERROR")
    assert rest.ask("DELETE", where).status_code == 204
    assert rest.ask("DELETE", f"{RECORD}customer/eid:r-1").status_code == 204
    assert error(rest.ask("GET", f"{RECORD}customer/eid:r-1")) == (404, "NONEXISTENT_ID")


def bill(**line: object) -> dict[str, object]:
    """A new invoice of one line."""
    return {"entity": {"id": "116"}, "item": {"items": [{"item": {"id": "1"}, "rate": 5, **line}]}}


def test_what_cannot_be_is_a_problem(rest: Rest) -> None:
    customer = f"{RECORD}customer"
    for method, path, body, wanted in (
        ("POST", customer, {"companyName": "x", "nope": 1}, (400, "NONEXISTENT_FIELD")),
        ("POST", customer, {}, (400, "USER_ERROR")),
        ("POST", customer, [], (400, "INVALID_CONTENT")),
        ("POST", customer, {"companyName": {"a": 1}}, (400, "INVALID_VALUE")),
        ("POST", customer, {"companyName": "a\x00"}, (400, "INVALID_VALUE")),
        ("POST", customer, {"companyName": "a", "externalId": "\x00"}, (400, "INVALID_VALUE")),
        ("POST", customer, {"companyName": "a", "externalId": {}}, (400, "INVALID_VALUE")),
        ("POST", customer, {"companyName": "a", "nullFieldList": ["x"]}, (400, "NONEXISTENT_FIELD")),
        ("POST", customer, {"companyName": "a", "custentity_x": [[1]]}, (400, "INVALID_VALUE")),
        ("POST", customer, {"companyName": "a", "addressBook": {"items": [[1]]}}, (400, "INVALID_CONTENT")),
        ("POST", customer, {"companyName": "a", "subsidiary": {"id": "77"}}, (400, "INVALID_VALUE")),
        ("POST", f"{RECORD}invoice", {"entity": 1, "item": {"items": [7]}}, (400, "INVALID_CONTENT")),
        ("POST", f"{RECORD}invoice", {"item": {"items": 7}}, (400, "INVALID_CONTENT")),
        *(
            ("POST", f"{RECORD}invoice", bill(**{name: value}), (400, code))
            for name, value, code in (
                ("quantity", "NaN", "INVALID_VALUE"), ("quantity", "1e999", "INVALID_VALUE"),
                ("line", "9" * 30, "INVALID_VALUE"), ("line", "9" * 5000, "INVALID_VALUE"),
                ("revRecStartDate", "0001-01-01", "INVALID_VALUE_FORMAT"),
                ("revRecStartDate", "9999-12-31T23:59:59", "INVALID_VALUE_FORMAT"),
                ("revRecStartDate", "soon", "INVALID_VALUE_FORMAT"),
            )
        ),
        ("PUT", f"{customer}/eid:%01", {"companyName": "x"}, (400, "INVALID_VALUE")),
        ("PATCH", f"{customer}/%01", {"companyName": "x"}, (400, "INVALID_VALUE")),
        ("PUT", f"{customer}/7", {}, (405, "INVALID_METHOD")),
        ("DELETE", customer, None, (405, "INVALID_METHOD")),
        ("PATCH", f"{customer}/99999999", {}, (404, "NONEXISTENT_ID")),
        ("GET", f"{customer}/x'y", None, (404, "NONEXISTENT_ID")),
        ("GET", f"{customer}?limit=0", None, (400, "INVALID_PARAMETER")),
        ("GET", f"{customer}?limit=1001", None, (400, "INVALID_PARAMETER")),
        ("GET", f"{customer}?offset=-1", None, (400, "INVALID_PARAMETER")),
        ("GET", f"{RECORD}nothing", None, (404, "NONEXISTENT_RECORD_TYPE")),
        ("GET", "/services/rest/else", None, (404, "INVALID_URL")),
        ("GET", f"{RECORD}metadata-catalog/nothing", None, (404, "NONEXISTENT_RECORD_TYPE")),
        ("GET", f"{RECORD}metadata-catalog?select=nothing", None, (404, "NONEXISTENT_RECORD_TYPE")),
        ("POST", f"{RECORD}contact", {"a": 1}, (403, "INSUFFICIENT_PERMISSION")),
        ("POST", QL, {"q": "SELECT id FROM customer"}, (400, "INVALID_HEADER")),
        ("GET", QL, None, (405, "INVALID_METHOD")),
    ):  # fmt: skip
        answer = rest.ask(method, path, body)
        assert error(answer) == wanted, (method, path, body, answer.text)
    lenient = {"X-NetSuite-PropertyNameValidation": "ignore"}
    told = rest.ask("POST", customer, {"nope": 1}, **lenient)
    assert error(told) == (400, "USER_ERROR")


def test_who_does_not_sign_stays_out(rest: Rest) -> None:
    url = f"{rest.base}{RECORD}customer?limit=1&q="

    def ask(header: str | None) -> int:
        headers = {} if header is None else {"Authorization": header}
        answer = requests.get(url, headers=headers, timeout=30)
        if answer.status_code != 200:
            assert error(answer) == (401, "INVALID_LOGIN")
            scheme = "Bearer" if (header or "").startswith("Bearer") else "OAuth"
            assert answer.headers["WWW-Authenticate"].startswith(scheme)
        return answer.status_code

    right = rest.header("GET", url)
    assert ask(right) == 200
    assert ask(right) == 401  # a nonce counts once
    late = str(int(time.time()) - 400)
    for header in (
        None, "", "OAuth", "Bearer x", "OAuth realm=,,,=", rest.header("POST", url),
        rest.header("GET", f"{url}x"), rest.header("GET", url, token_secret="wrong"),
        rest.header("GET", url, account="999"), rest.header("GET", url, consumer_key="x"),
        rest.header("GET", url, timestamp=late), rest.header("GET", url, timestamp="soon"),
    ):  # fmt: skip
        assert ask(header) == 401, header


def test_schemas_tell_every_field_of_a_record(rest: Rest) -> None:
    catalog = rest.ask("GET", f"{RECORD}metadata-catalog").json()["items"]
    names = {item["name"] for item in catalog}
    assert {"customer", "invoice", "vendorBill", "contact"} <= names
    links = {link["mediaType"] for link in catalog[0]["links"]}
    assert links == {"application/json", "application/swagger+json", "application/schema+json"}
    schema = {"Accept": "application/schema+json"}
    for name in sorted(names):
        answer = rest.ask("GET", f"{RECORD}metadata-catalog/{name}", **schema)
        assert answer.headers["Content-Type"] == "application/schema+json"
        told = answer.json()["properties"]
        for item in rest.ask("GET", f"{RECORD}{name}?limit=2").json()["items"]:
            record = rest.ask("GET", item["links"][0]["href"]).json()
            assert record.keys() <= told.keys(), name
    invoice = rest.ask("GET", f"{RECORD}metadata-catalog/invoice", **schema).json()["properties"]
    lines = rest.ask("GET", invoice["item"]["$ref"], **schema).json()["properties"]["items"]
    assert "quantity" in lines["items"]["properties"]
    assert rest.ask("GET", f"{RECORD}metadata-catalog/nsLink", **schema).status_code == 200
    swagger = rest.ask(
        "GET",
        f"{RECORD}metadata-catalog?select=customer,invoice",
        Accept="application/swagger+json",
    ).json()
    assert swagger["openapi"].startswith("3.")
    assert {"/customer", "/customer/{id}", "/invoice"} <= swagger["paths"].keys()


def test_suiteql_knows_the_words_of_oracle(rest: Rest, small_company: Company) -> None:
    state = small_company.books(0).state(small_company.now(0))

    def rows(query: str) -> list[dict[str, str]]:
        answer = rest.suiteql(query)
        assert answer.status_code == 200, answer.text
        return [{n: v for n, v in row.items() if n != "links"} for row in answer.json()["items"]]

    first = next(iter(state["Customer"].values()))
    assert rows(
        "SELECT id, companyName, BUILTIN.DF(subsidiary) AS sub FROM customer WHERE ROWNUM <= 1"
    ) == [
        {"id": first["internalId"], "companyname": first["companyName"], "sub": "Meltano Sandbox"}
    ]
    total = sum(len(state[kind]) for kind in ("Invoice", "VendorBill", "VendorPayment", "ExpenseReport", "JournalEntry", "CustomerPayment", "CreditMemo") if kind in state)  # fmt: skip
    assert rows("SELECT COUNT(*) FROM transaction") == [{"expr1": str(total)}]
    kinds = rows(
        "SELECT type, BUILTIN.DF(type) AS name, COUNT(*) AS n FROM transaction GROUP BY type"
    )
    counts = {row["name"]: int(row["n"]) for row in kinds}
    assert counts["Invoice"] == len(state["Invoice"])
    assert counts["Bill"] == len(state["VendorBill"])
    lines = rows(
        "SELECT t.tranid, SUM(tl.netamount) AS s, MAX(t.foreigntotal) AS total FROM transaction t"
        " INNER JOIN transactionLine tl ON tl.transaction = t.id AND tl.mainline = 'F'"
        " WHERE t.type = 'CustInvc' GROUP BY t.tranid ORDER BY t.tranid FETCH FIRST 5 ROWS ONLY"
    )
    assert len(lines) == 5
    for row in lines:
        assert -float(row["s"]) == pytest.approx(float(row["total"]))
    assert rows("SELECT SUM(debit) - SUM(credit) AS x FROM transactionaccountingline tal JOIN transaction t"
                " ON t.id = tal.transaction WHERE t.type = 'Journal'") == [{"x": "0"}]  # fmt: skip
    later = rows("SELECT id FROM transaction WHERE trandate > TO_DATE('2025-01-05', 'YYYY-MM-DD')")
    assert later == rows("SELECT id FROM transaction WHERE trandate > '1/5/2025'")
    assert 0 < len(later) < total
    assert rows("SELECT ADD_MONTHS(TO_DATE('2024-01-31','YYYY-MM-DD'), 1) AS a, NVL(NULL, 'x') AS b,"
                " TO_CHAR(TO_DATE('2/3/2024','MM/DD/YYYY'), 'YYYY-MM') AS c, DECODE(1, 2, 'a', 1, 'b') AS d"
                " FROM DUAL") == [{"a": "2/29/2024", "b": "x", "c": "2024-02", "d": "b"}]  # fmt: skip
    assert rows("SELECT TOP 2 id FROM currency ORDER BY id DESC") == [{"id": "3"}, {"id": "2"}]
    assert rows("SELECT id FROM customer WHERE companyname = 'it''s -- ROWNUM <= 1'") == []
    star = rows("SELECT * FROM account WHERE id = 1")[0]
    assert star["accttype"] == "Bank"
    assert not any("$" in name for name in star)


def test_suiteql_is_read_in_pages(rest: Rest) -> None:
    query = "SELECT id FROM transaction ORDER BY id"
    whole = rest.suiteql(query).json()
    pages, offset = [], 0
    while True:
        page = rest.suiteql(query, limit=100, offset=offset).json()
        assert page["totalResults"] == whole["totalResults"]
        pages += page["items"]
        if not page["hasMore"]:
            break
        offset += page["count"]
    assert pages == whole["items"]


def test_suiteql_only_reads(rest: Rest) -> None:
    for query in (
        "DROP TABLE customer", "DELETE FROM customer", "INSERT INTO customer(id) VALUES (1)",
        "SELECT id FROM customer; DROP TABLE customer", "SELECT nope FROM customer", "SELECT * FROM nope",
        "SELECT id FROM customer LIMIT 5", "PRAGMA query_only = OFF", "ATTACH DATABASE '/tmp/x' AS y",
        "SELECT load_extension('x')", "SELECT zeroblob(1000000000)", "SELECT readfile('/etc/passwd')",
        "SELECT id FROM customer WHERE ROWNUM <= " + "9" * 5000, "SELECT TOP 99999999999999999999 id FROM customer",
        "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT COUNT(*) FROM x",
        "SELECT * FROM sqlite_master", "SELECT 'x", "(" * 5000, "SELECT \x00", "WITH", "SELECT nofunction(1)",
    ):  # fmt: skip
        answer = rest.suiteql(query)
        assert error(answer) == (400, "INVALID_PARAMETER"), (query, answer.text)
        assert answer.json()["o:errorDetails"][0]["detail"].startswith("Invalid search query.")
    assert rest.suiteql("SELECT COUNT(*) AS n FROM customer").json()["items"][0]["n"] != "0"


def test_faults_are_told_in_the_words_of_rest(sandbox: Sandbox, rest: Rest) -> None:
    for kind, wanted in {
        "throttle": (429, "CONCURRENCY_LIMIT_EXCEEDED"), "unavailable": (503, "UNEXPECTED_ERROR"),
        "server_error": (500, "UNEXPECTED_ERROR"), "expire_session": (401, "INVALID_LOGIN"),
    }.items():  # fmt: skip
        sandbox.arm("netsuite", kind)
        assert error(rest.ask("GET", f"{RECORD}customer?limit=1")) == wanted
    sandbox.arm("netsuite", "repeat_page")
    page = rest.ask("GET", f"{RECORD}customer?limit=5&offset=5").json()
    assert page["offset"] == 0
    sandbox.arm("netsuite", "change_schema", drop=["acctName"], add={"acctColour": "red"})
    account = rest.ask("GET", f"{RECORD}account/1").json()
    assert "acctName" not in account
    assert account["acctColour"] == "red"
