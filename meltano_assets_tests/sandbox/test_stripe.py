"""The simulated Stripe as its API reference has it (W1, W2, W3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox


class Account:
    """The account of a running sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        known = sandbox.manifest["stripe"]
        self.base, self.key = str(known["base_url"]), str(known["api_key"])

    def get(self, path: str, **params: Any) -> requests.Response:
        bearer = {"Authorization": f"Bearer {self.key}"}
        return requests.get(f"{self.base}/v1/{path}", params=params, headers=bearer, timeout=10)

    def all(self, path: str, **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(path, **params).json()
            found += page["data"]
            if not page["has_more"]:
                return found
            params["starting_after"] = found[-1]["id"]


@pytest.fixture
def account(sandbox: Sandbox) -> Account:
    return Account(sandbox)


def test_keys_as_bearer_or_user(account: Account) -> None:
    assert account.get("account").json()["object"] == "account"
    path = f"{account.base}/v1/account"
    assert requests.get(path, auth=(account.key, ""), timeout=10).status_code == 200
    nobody = requests.get(path, timeout=10)
    assert nobody.status_code == 401
    assert "did not provide an API key" in nobody.json()["error"]["message"]
    wrong = requests.get(path, auth=("sk_test_wrong_key_1234", ""), timeout=10).json()
    assert wrong["error"]["message"].startswith("Invalid API Key provided: sk_test_")
    assert "wrong" not in wrong["error"]["message"]


def test_versions_and_methods_that_there_are_not(account: Account) -> None:
    path, known = f"{account.base}/v1/charges", (account.key, "")
    for version, status in (("2026-05-27.dahlia", 200), ("1999-01-01", 400), ("latest", 400)):
        answer = requests.get(path, auth=known, headers={"Stripe-Version": version}, timeout=10)
        assert answer.status_code == status, version
    assert answer.json()["error"]["message"] == "Invalid Stripe API version: latest"
    for method in ("PUT", "OPTIONS", "PATCH"):
        refused = requests.request(method, path, auth=known, timeout=10)
        assert refused.status_code == 404
        assert refused.json()["error"]["message"].startswith(f"Unrecognized request URL ({method}")


def test_lists_go_forward_and_back(account: Account) -> None:
    charges = account.all("charges", limit=7)
    created = [charge["created"] for charge in charges]
    assert created == sorted(created, reverse=True)
    assert len({charge["id"] for charge in charges}) == len(charges) > 14
    back = account.get("charges", limit=7, ending_before=charges[10]["id"]).json()
    assert [charge["id"] for charge in back["data"]] == [c["id"] for c in charges[3:10]]
    middle = created[len(created) // 2]
    younger = account.all("charges", limit=100, **{"created[gt]": middle})
    assert [c["id"] for c in younger] == [c["id"] for c in charges if c["created"] > middle]


def test_what_moves_the_balance_goes_to_the_bank_once(account: Account) -> None:
    """Every movement is a charge's, refund's, dispute's or payout's, and in one payout at most."""
    moved = {one["id"]: one for one in account.all("balance_transactions", limit=100)}
    payouts = {one["id"]: one for one in account.all("payouts", limit=100)}
    assert {one["status"] for one in payouts.values()} >= {"paid", "failed"}
    kinds = {"ch": "charges", "re": "refunds", "dp": "disputes", "po": "payouts"}
    known = {
        prefix: {one["id"] for one in account.all(path, limit=100)}
        for prefix, path in kinds.items()
    }
    for one in moved.values():
        assert one["source"] in known[one["source"][:2]]
        assert one["net"] == one["amount"] - one["fee"]
        assert one["fee"] == sum(fee["amount"] for fee in one["fee_details"])
    seen: set[str] = set()
    for key, payout in payouts.items():
        members = account.all("balance_transactions", payout=key, limit=3)
        ids = {one["id"] for one in members}
        assert len(ids) == len(members)
        assert not ids & seen
        seen |= ids
        assert payout["balance_transaction"] in ids
        assert sum(one["net"] for one in members) == 0
        assert {one["currency"] for one in members} == {payout["currency"]}
    held: dict[str, int] = defaultdict(int)
    for one in moved.values():
        held[one["currency"]] += one["net"]
    told: dict[str, int] = defaultdict(int)
    answer = account.get("balance").json()
    for part in (*answer["available"], *answer["pending"]):
        told[part["currency"]] += part["amount"]
    assert told == held
    for charge in account.all("charges", limit=100, **{"expand[]": "data.balance_transaction"}):
        if charge["captured"]:
            assert charge["balance_transaction"]["source"] == charge["id"]
        else:
            assert charge["balance_transaction"] is None
    some = next(iter(payouts.values()))
    at = some["arrival_date"]
    assert some in account.all("payouts", arrival_date=at, status=some["status"])
    assert account.all("payouts", **{"arrival_date[gt]": at, "status": "failed"}) == [
        p for p in payouts.values() if p["arrival_date"] > at and p["status"] == "failed"
    ]
    old = account.all("balance/history", limit=100, type="refund")
    assert [o["id"] for o in old] == [k for k, one in moved.items() if one["type"] == "refund"]
    refused = requests.post(f"{account.base}/v1/payouts", auth=(account.key, ""), timeout=10)
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("path", "params", "status", "code", "param"),
    [
        ("balance_transactions", {"payout": "po_no"}, 400, "resource_missing", "payout"),
        ("charges", {"limit": 101}, 400, "parameter_invalid_integer", "limit"),
        ("charges", {"colour": "red"}, 400, "parameter_unknown", "colour"),
        ("charges", {"created[most]": "1"}, 400, "parameter_unknown", "created[most]"),
        ("charges", {"expand": "customer"}, 400, None, "expand"),
        ("charges", {"starting_after": ""}, 400, "parameter_invalid_empty", "starting_after"),
        ("charges", {"starting_after": "ch_no"}, 400, "resource_missing", "starting_after"),
        ("charges/ch_no", {}, 404, "resource_missing", "id"),
        ("charges", {"expand[]": "data.owner"}, 400, None, "expand"),
        ("subscription_items", {}, 400, "parameter_missing", "subscription"),
        ("nonsense", {}, 404, None, None),
        ("coupons/no", {}, 404, "resource_missing", "id"),
        ("checkout/sessions/no/line_items", {}, 404, "resource_missing", "id"),
        ("issuing/cards", {}, 400, None, None),
        ("invoices/upcoming", {}, 400, "parameter_missing", "customer"),
        ("setup_attempts", {}, 400, "parameter_missing", "setup_intent"),
        ("charges", {"email": "a@example.com"}, 400, "parameter_unknown", "email"),
    ],
)
def test_errors_in_stripes_form(
    path: str, params: dict[str, Any], status: int, code: str, param: str, account: Account
) -> None:
    answer = account.get(path, **params)
    error = answer.json()["error"]
    assert (answer.status_code, error.get("code"), error.get("param")) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert answer.headers["Request-Id"].startswith("req_")


def test_inner_lists_are_short_and_go_on_elsewhere(account: Account) -> None:
    invoices = account.all("invoices", limit=100)
    long = next(i for i in invoices if i["lines"]["has_more"])
    assert len(long["lines"]["data"]) == 10
    lines = account.all(f"invoices/{long['id']}/lines", limit=5)
    assert len(lines) == long["lines"]["total_count"] == 12
    assert sum(line["amount"] for line in lines) == long["total"]
    subscription = account.get(f"subscriptions/{long['subscription']}").json()
    items = account.all("subscription_items", subscription=subscription["id"], limit=100)
    assert len(items) == 12


def test_cancelled_subscriptions_come_only_when_asked_for(account: Account) -> None:
    everything = account.all("subscriptions", status="all", limit=100)
    statuses = {s["status"] for s in account.all("subscriptions", limit=100)}
    assert "canceled" not in statuses
    assert len(account.all("subscriptions", status="canceled")) == sum(
        1 for s in everything if s["status"] == "canceled"
    )


def test_events_tell_of_changes_and_deletes(own_sandbox: Sandbox) -> None:
    account = Account(own_sandbox)
    before = account.all("events", limit=100)
    own_sandbox.advance(3)
    events = account.all("events", limit=100)
    known = {event["id"] for event in before}
    news = [event for event in events if event["id"] not in known]
    assert {"customer.updated", "customer.deleted", "invoice.paid"} <= {e["type"] for e in news}
    gone = next(e for e in news if e["type"] == "customer.deleted")["data"]["object"]["id"]
    assert account.get(f"customers/{gone}").json() == {
        "id": gone,
        "object": "customer",
        "deleted": True,
    }
    assert gone not in {customer["id"] for customer in account.all("customers", limit=100)}
    chosen = account.all("events", limit=100, **{"types[]": ["customer.deleted", "invoice.paid"]})
    assert {event["type"] for event in chosen} == {"customer.deleted", "invoice.paid"}
    assert account.all("events", type="customer.*", limit=100)


def test_misbehaviour_in_stripes_form(sandbox: Sandbox, account: Account) -> None:
    sandbox.arm("stripe", "throttle")
    slow = account.get("charges")
    assert (slow.status_code, slow.json()["error"]["code"]) == (429, "rate_limit")
    assert slow.headers["Stripe-Rate-Limited-Reason"] == "global-rate"
    sandbox.arm("stripe", "expire_session")
    assert account.get("charges").json()["error"]["code"] == "api_key_expired"
    sandbox.arm("stripe", "unavailable")
    assert account.get("charges").json()["error"]["type"] == "api_error"


def test_the_truths_of_self_service_come_out_of_the_lists(
    sandbox: Sandbox, account: Account
) -> None:
    known = sandbox.truths()["self_serve"]
    taken: dict[str, int] = defaultdict(int)
    for charge in account.all("charges", limit=100):
        taken[charge["currency"]] += charge["amount_captured"]
    assert taken == known["charged"]
    refunded: dict[str, int] = defaultdict(int)
    for refund in account.all("refunds", limit=100):
        refunded[refund["currency"]] += refund["amount"]
    assert refunded == known["refunded"]


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account that keeps events for thirty days."""
    folder = tmp_path_factory.mktemp("forgetful")
    with serve_in_thread(
        state_dir=folder, seed=7, scale=0.05, today=TODAY, has_vendor_limits=True
    ) as manifest:
        yield Account(Sandbox(manifest))


def test_events_are_forgotten_after_thirty_days(forgetful: Account) -> None:
    events = forgetful.all("events", limit=100)
    charges = forgetful.all("charges", limit=100)
    oldest = min(event["created"] for event in events)
    assert min(charge["created"] for charge in charges) < oldest
    assert max(event["created"] for event in events) - oldest <= 30 * 86_400


def test_search_by_its_own_language(account: Account) -> None:
    charges = account.all("charges", limit=100)
    customers = account.all("customers", limit=100)

    def found(path: str, query: str, **params: Any) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = []
        while True:
            answer = account.get(f"{path}/search", query=query, **params)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            assert page["object"] == "search_result"
            hits += page["data"]
            if not page["has_more"]:
                assert page["next_page"] is None
                return hits
            params["page"] = page["next_page"]

    def ids(records: Any) -> list[str]:
        return [record["id"] for record in records]

    large = [c for c in charges if c["status"] == "succeeded" and c["amount"] > 5000]
    query = "status:'succeeded' AND amount>5000"
    assert ids(found("charges", query, limit=7)) == ids(large) != []
    either = [c for c in charges if c["amount"] < 2000 or c["status"] == "failed"]
    assert ids(found("charges", "amount<2000 OR status:'failed'", limit=100)) == ids(either)
    one = customers[3]
    assert ids(found("customers", f"email:'{one['email']}'")) == [one["id"]]
    part = one["email"][2:7]
    some = [c for c in customers if part in c["email"]]
    assert ids(found("customers", f'email~"{part}"', limit=100)) == ids(some)
    mine = [c for c in charges if c["customer"] == one["id"]]
    hits = found(
        "charges", f"customer:'{one['id']}' -status:'failed'", **{"expand[]": "data.customer"}
    )
    assert ids(hits) == ids(c for c in mine if c["status"] != "failed")
    assert all(hit["customer"]["object"] == "customer" for hit in hits)
    assert account.get("customers/search", query="email~'@'", **{"expand[]": "total_count"}).json()[
        "total_count"
    ] == len(customers)
    for bad in ("", "foo bar", "nope:'1'", "amount>'x'", "amount>1 AND amount<2 OR amount>3"):
        answer = account.get("charges/search", query=bad)
        assert answer.status_code == 400, bad
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert account.get("refunds/search", query="amount>1").status_code == 404
