"""What clients write to Zuora, and what they ask of its objects, by its contract, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox

BILL_TO = {"firstName": "Ada", "lastName": "Bell", "country": "Germany", "workEmail": "a@b.example"}


class Writer:
    """A client of one tenant."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        known = sandbox.manifest["zuora"]
        self.base = str(known["base_url"])
        keys = {
            "apiAccessKeyId": str(known["username"]),
            "apiSecretAccessKey": str(known["password"]),
        }
        self.session = requests.Session()
        self.session.headers.update(keys)

    def send(self, method: str, path: str, body: object = None, **params: Any) -> requests.Response:
        return self.session.request(
            method, f"{self.base}{path}", json=body, params=params, timeout=10
        )

    def told(self, method: str, path: str, body: object = None, **params: Any) -> Any:
        answer = self.send(method, path, body, **params)
        assert answer.status_code == 200, answer.text
        assert answer.json().get("success", True), answer.text
        return answer.json()

    def told_list(self, method: str, path: str, body: object) -> list[dict[str, Any]]:
        answer = self.send(method, path, body)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    def refused(self, method: str, path: str, body: object = None) -> int:
        """The code with which a request is refused."""
        answer = self.send(method, path, body).json()
        assert answer["success"] is False
        return int(answer["reasons"][0]["code"])

    def rows(self, zoql: str) -> list[dict[str, Any]]:
        return self.told("POST", "/v1/action/query", {"queryString": zoql}).get("records", [])

    def listed(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of an object query."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.told("GET", f"/object-query/{path}", **params)
            found += page["data"]
            if "nextPage" not in page:
                return found
            params["cursor"] = page["nextPage"]

    def account(self, **fields: object) -> dict[str, Any]:
        body = {"name": "New & Co", "currency": "USD", "billToContact": BILL_TO, **fields}
        return self.told("POST", "/v1/accounts", body)

    def plan(self) -> dict[str, Any]:
        """A plan of the catalogue, with its charges."""
        product = self.told("GET", "/v1/catalog/products")["products"][0]
        return product["productRatePlans"][0]

    def subscription(self, account: str, **fields: object) -> dict[str, Any]:
        plans = [{"productRatePlanId": self.plan()["id"]}]
        body = {
            "accountKey": account,
            "contractEffectiveDate": "2025-01-01",
            "termType": "TERMED",
            "initialTerm": 12,
            "renewalTerm": 6,
            "subscribeToRatePlans": plans,
            **fields,
        }
        return self.told("POST", "/v1/subscriptions", body)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """A tenant of these tests' own."""
    folder = tmp_path_factory.mktemp("tenant")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.1, today=TODAY) as manifest:
        yield Writer(Sandbox(manifest))


def test_records_are_made_changed_and_deleted_one_by_one(writer: Writer) -> None:
    path = "/v1/object/account"
    made = writer.told("POST", path, {"Name": "Crud", "Currency": "EUR", "Note__c": "own"})
    assert made["Success"]
    one = f"{path}/{made['Id']}"
    assert writer.told("PUT", one, {"Notes": "n", "fieldsToNull": ["Note__c"]})["Success"]
    record = writer.told("GET", one)
    assert (record["Notes"], record["Status"], record.get("Note__c")) == ("n", "Active", None)
    zoql = f"select Id, Name from Account where Id = '{made['Id']}'"
    assert [row["Name"] for row in writer.rows(zoql)] == ["Crud"]
    assert writer.told("DELETE", one) == {"success": True, "id": made["Id"]}
    assert writer.send("GET", one).status_code == 404
    assert writer.rows(zoql) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"Name": "x"}, "MISSING_REQUIRED_VALUE"),
        ({"Name": "x", "Currency": "USD", "Colour": 1}, "INVALID_FIELD"),
        ({"Name": "x", "Currency": "USD", "Balance": 1}, "INVALID_FIELD"),
        ({"Name": "x", "Currency": "USD", "BillCycleDay": "first"}, "INVALID_VALUE"),
        ({"Name": "x", "Currency": "USD", "BillToContactId": "nobody"}, "INVALID_ID"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(
    writer: Writer, body: dict[str, object], code: str
) -> None:
    answer = writer.send("POST", "/v1/object/account", body)
    assert answer.status_code == 400
    assert answer.json()["Success"] is False
    assert answer.json()["Errors"][0]["Code"] == code


def test_actions_write_many_records(writer: Writer) -> None:
    account = writer.account()["accountId"]
    contact = {"AccountId": account, "FirstName": "A", "LastName": "B", "Country": "Chile"}
    order = {"type": "Contact", "objects": [contact, {"FirstName": "A"}]}
    made = writer.told_list("POST", "/v1/action/create", order)
    assert [each["Success"] for each in made] == [True, False]
    key = made[0]["Id"]
    change = {"type": "Contact", "objects": [{"Id": key, "City": "Jena"}, {"Id": "no"}]}
    changed = writer.told_list("POST", "/v1/action/update", change)
    assert [each["Success"] for each in changed] == [True, False]
    assert writer.told("GET", f"/v1/contacts/{key}")["city"] == "Jena"
    gone = writer.told_list("POST", "/v1/action/delete", {"type": "Contact", "ids": [key, "no"]})
    assert [each["success"] for each in gone] == [True, False]


def test_accounts_have_contacts_and_a_summary(writer: Writer) -> None:
    made = writer.account(notes="n", autoPay=True, Own__c="own")
    for key in (made["accountId"], made["accountNumber"]):
        account = writer.told("GET", f"/v1/accounts/{key}")
        assert account["basicInfo"]["name"] == "New & Co"
        assert account["basicInfo"]["Own__c"] == "own"
        assert account["billingAndPayment"]["autoPay"] is True
        assert account["billToContact"]["workEmail"] == "a@b.example"
        assert account["metrics"]["currency"] == "USD"
    path = f"/v1/accounts/{made['accountNumber']}"
    writer.told("PUT", path, {"name": "Other", "billToContact": {"city": "Ulm"}})
    account = writer.told("GET", path)
    assert (account["basicInfo"]["name"], account["billToContact"]["city"]) == ("Other", "Ulm")
    writer.subscription(made["accountNumber"])
    assert len(writer.told("GET", f"{path}/summary")["subscriptions"]) == 1
    assert writer.refused("DELETE", path) == 53100030
    lonely = writer.account()["accountNumber"]
    writer.told("DELETE", f"/v1/accounts/{lonely}")
    assert writer.refused("GET", f"/v1/accounts/{lonely}") == 50000040
    assert writer.refused("POST", "/v1/accounts", {"name": "x", "currency": "USD"}) == 53100020
    taken = {"accountNumber": made["accountNumber"], "name": "x", "currency": "USD"}
    assert writer.refused("POST", "/v1/accounts", {**taken, "billToContact": BILL_TO}) == 53100020


def test_a_subscription_lives_through_versions(writer: Writer) -> None:
    account = writer.account()["accountNumber"]
    charge = writer.plan()["productRatePlanCharges"][0]
    pricing = {"productRatePlanChargeId": charge["id"], "quantity": 10, "price": 12}
    plans = [{"productRatePlanId": writer.plan()["id"], "chargeOverrides": [pricing]}]
    made = writer.subscription(account, subscribeToRatePlans=plans)
    number = made["subscriptionNumber"]
    path = f"/v1/subscriptions/{number}"
    first = writer.told("GET", path)
    assert (first["status"], first["version"], first["termEndDate"]) == ("Active", 1, "2026-01-01")
    (plan,) = first["ratePlans"]
    assert (plan["ratePlanCharges"][0]["quantity"], plan["ratePlanCharges"][0]["price"]) == (10, 12)
    assert first["contractedMrr"] > 0
    numbered = plan["ratePlanCharges"][0]["number"]
    change = {
        "ratePlanId": plan["id"],
        "contractEffectiveDate": "2025-02-01",
        "chargeUpdateDetails": [
            {"ratePlanChargeId": plan["ratePlanCharges"][0]["id"], "quantity": 20}
        ],
    }
    changed = writer.told("PUT", path, {"update": [change]})
    assert changed["contractedMrr"] == pytest.approx(2 * first["contractedMrr"])
    second = writer.told("GET", path)
    assert (second["version"], second["previousSubscriptionId"]) == (2, first["id"])
    assert second["ratePlans"][0]["ratePlanCharges"][0]["number"] == numbered
    assert writer.told("GET", f"{path}/versions/1")["status"] == "Expired"
    renewed = writer.told("PUT", f"{path}/renew", {})
    assert (renewed["termStartDate"], renewed["termEndDate"]) == ("2026-01-01", "2026-07-01")
    gone = {"cancellationPolicy": "SpecificDate", "cancellationEffectiveDate": "2025-05-05"}
    assert writer.told("PUT", f"{path}/cancel", gone)["cancelledDate"] == "2025-05-05"
    assert writer.told("GET", path)["status"] == "Cancelled"
    assert writer.refused("PUT", f"{path}/renew", {}) == 53200030
    rows = writer.rows(f"select Version, Status from Subscription where Name = '{number}'")
    assert sorted((row["Version"], row["Status"]) for row in rows) == [
        (1, "Expired"),
        (2, "Expired"),
        (3, "Expired"),
        (4, "Cancelled"),
    ]
    found = writer.told("GET", f"/v1/subscriptions/accounts/{account}")["subscriptions"]
    assert [each["version"] for each in found] == [4]


def test_an_order_begins_and_changes_subscriptions(writer: Writer) -> None:
    account = writer.account()["accountNumber"]
    plan = writer.plan()["id"]
    create = {
        "type": "CreateSubscription",
        "triggerDates": [{"name": "ContractEffective", "triggerDate": "2025-03-01"}],
        "createSubscription": {
            "terms": {
                "initialTerm": {"period": 6, "periodType": "Month", "termType": "TERMED"},
                "renewalTerms": [{"period": 12, "periodType": "Month"}],
                "autoRenew": True,
            },
            "subscribeToRatePlans": [{"productRatePlanId": plan}],
        },
    }
    order = {
        "orderDate": "2025-02-28",
        "existingAccountNumber": account,
        "subscriptions": [{"orderActions": [create]}],
    }
    placed = writer.told("POST", "/v1/orders", order)
    (number,) = placed["subscriptionNumbers"]
    begun = writer.told("GET", f"/v1/subscriptions/{number}")
    assert (begun["contractEffectiveDate"], begun["termEndDate"]) == ("2025-03-01", "2025-09-01")
    assert (begun["autoRenew"], begun["renewalTerm"]) == (True, 12)
    cancel = {
        "type": "CancelSubscription",
        "cancelSubscription": {"cancellationPolicy": "EndOfCurrentTerm"},
    }
    add = {"type": "AddProduct", "addProduct": {"productRatePlanId": plan}}
    more = {"subscriptionNumber": number, "orderActions": [add, cancel]}
    second = writer.told("POST", "/v1/orders", {**order, "subscriptions": [more]})
    ended = writer.told("GET", f"/v1/subscriptions/{number}")
    assert (ended["status"], ended["cancelledDate"], ended["version"]) == (
        "Cancelled",
        "2025-09-01",
        3,
    )
    assert len(ended["ratePlans"]) == 2
    told = writer.told("GET", f"/v1/orders/{second['orderNumber']}")["order"]
    assert (told["subscriptions"][0]["baseVersion"], told["subscriptions"][0]["newVersion"]) == (
        1,
        3,
    )
    for path in (f"subscriptionOwner/{account}", f"subscription/{number}"):
        orders = writer.told("GET", f"/v1/orders/{path}")["orders"]
        assert [each["orderNumber"] for each in orders] == [
            second["orderNumber"],
            placed["orderNumber"],
        ]
    page = writer.told("GET", "/v1/orders", pageSize=1)
    following = writer.session.get(page["nextPage"], timeout=10).json()
    assert following["orders"] != page["orders"]
    for wrong, code in (
        ({**order, "orderDate": None}, 53400020),
        ({**order, "subscriptions": []}, 53400020),
        ({**order, "existingAccountNumber": "no"}, 50000040),
        ({**order, "orderNumber": placed["orderNumber"]}, 53400022),
    ):
        assert writer.refused("POST", "/v1/orders", wrong) == code
    assert writer.refused("DELETE", f"/v1/orders/{placed['orderNumber']}") == 53400030


def test_object_queries_filter_sort_expand_and_page(writer: Writer) -> None:
    everything = writer.listed("subscriptions", pageSize=7)
    assert len({each["id"] for each in everything}) == len(everything)
    zoql = writer.rows("select Id from Subscription")
    assert {each["id"] for each in everything} == {row["Id"] for row in zoql}
    active = writer.listed(
        "subscriptions", **{"filter[]": ["status.EQ:Active", "version.GE:2"], "sort[]": "name.DESC"}
    )
    assert active
    assert all(each["status"] == "Active" and each["version"] >= 2 for each in active)
    assert [s["name"] for s in active] == sorted((s["name"] for s in active), reverse=True)
    fewer = writer.listed("subscriptions", **{"fields[]": "name,status", "pageSize": 50})
    assert set(fewer[0]) == {"id", "name", "status"}
    one = writer.told(
        "GET",
        f"/object-query/subscriptions/{active[0]['name']}",
        **{"expand[]": ["account", "rateplans.rateplancharges"]},
    )
    assert one["account"]["id"] == one["accountId"]
    assert one["ratePlans"][0]["ratePlanCharges"][0]["ratePlanId"] == one["ratePlans"][0]["id"]
    accounts = writer.listed("accounts", **{"expand[]": "billTo", "pageSize": 50})
    assert accounts[0]["billTo"]["id"] == accounts[0]["billToId"]
    since = "updatedDate.GE:2025-01-01T00:00:00Z"
    assert (
        0 < len(writer.listed("invoices", **{"filter[]": since})) < len(writer.listed("invoices"))
    )
    chosen = writer.listed("accounts", **{"filter[]": f"id.IN:[{accounts[0]['id']},x]"})
    assert [each["id"] for each in chosen] == [accounts[0]["id"]]
    for wrong in (
        {"pageSize": 51},
        {"cursor": "abc"},
        {"filter[]": "status=Active"},
        {"filter[]": "colour.EQ:red"},
        {"sort[]": "name"},
        {"expand[]": "nothing"},
    ):
        answer = writer.send("GET", "/object-query/subscriptions", **wrong)
        assert answer.status_code == 400, wrong
        assert answer.json()["success"] is False
    assert writer.send("GET", "/object-query/nothings").status_code == 404
    assert writer.send("GET", "/object-query/accounts/none").status_code == 404


def test_invoices_and_payments_are_listed(writer: Writer) -> None:
    found = writer.told("GET", "/v1/invoices", pageSize=1)
    assert "nextPage" in found
    invoice = found["invoices"][0]
    one = writer.told("GET", f"/v1/invoices/{invoice['invoiceNumber']}")
    assert one["id"] == invoice["id"]
    items = writer.told("GET", f"/v1/invoices/{invoice['id']}/items")["invoiceItems"]
    assert {item["invoiceId"] for item in items} == {invoice["id"]}
    account = writer.told("GET", f"/v1/accounts/{invoice['accountId']}")["basicInfo"]
    path = f"/v1/transactions/payments/accounts/{account['accountNumber']}"
    payments = writer.told("GET", path)["payments"]
    assert {payment["accountId"] for payment in payments} == {invoice["accountId"]}


def test_what_was_written_outlives_a_restart_and_the_companys_days(tmp_path: Path) -> None:
    where: dict[str, Any] = {"state_dir": tmp_path, "seed": 7, "scale": 0.1, "today": TODAY}
    with serve_in_thread(**where) as manifest:
        writer = Writer(Sandbox(manifest))
        account = writer.account()["accountNumber"]
        number = writer.subscription(account)["subscriptionNumber"]
        # Billed up to its end, so that no night changes it.
        writer.told("POST", "/v1/operations/invoice-collect", {"accountKey": account})
        before = writer.told("GET", f"/v1/subscriptions/{number}")
        known = writer.listed("accounts")[0]
        writer.told("PUT", f"/v1/accounts/{known['id']}", {"notes": "kept"})
    with serve_in_thread(**where) as manifest:
        writer = Writer(Sandbox(manifest))
        writer.sandbox.advance(2)
        assert writer.told("GET", f"/v1/subscriptions/{number}") == before
        notes = writer.told("GET", f"/v1/accounts/{known['id']}")["basicInfo"]["notes"]
        assert notes == "kept"
        assert writer.account()["accountNumber"] > account
