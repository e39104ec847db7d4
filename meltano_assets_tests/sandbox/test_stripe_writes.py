"""What clients write to the simulated Stripe: kept, checked, told by events, and done once (W1, W2)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sandbox.stripe_periods import period_end
from meltano_assets_tests.sandbox.conftest import SEED, TODAY, Sandbox


class Desk:
    """The account, for who writes."""

    def __init__(self, sandbox: Sandbox) -> None:
        known = sandbox.manifest["stripe"]
        self.sandbox = sandbox
        self.base, self.key = f"{known['base_url']}/v1", str(known["api_key"])

    def call(self, method: str, path: str, form: Any = None, **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.request(
            method, f"{self.base}/{path}", data=form, headers=named, auth=(self.key, ""), timeout=20
        )

    def post(self, path: str, **form: Any) -> dict[str, Any]:
        answer = self.call("POST", path, form)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = requests.get(f"{self.base}/{path}", params=params, auth=(self.key, ""), timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, path: str, method: str = "POST", **form: Any) -> tuple[Any, ...]:
        answer = self.call(method, path, form)
        error = answer.json()["error"]
        return answer.status_code, error.get("code"), error.get("param")

    def payer(self) -> dict[str, Any]:
        customer = self.post("customers", email="payer@example.com", payment_method="pm_card_visa")
        method = self.get(f"customers/{customer['id']}/payment_methods")["data"][0]
        name = "invoice_settings[default_payment_method]"
        return self.post(f"customers/{customer['id']}", **{name: method["id"]})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("written")
    with serve_in_thread(state_dir=folder, seed=SEED, scale=0.05, today=TODAY) as manifest:
        yield Sandbox(manifest)


@pytest.fixture
def desk(served: Sandbox) -> Iterator[Desk]:
    served.clear()
    yield Desk(served)
    served.clear()


@pytest.mark.parametrize(("text", "value"), [("True", True), ("False", False), ("true", True)])
def test_a_boolean_is_one_as_older_clients_write_it(desk: Desk, text: str, value: bool) -> None:
    assert desk.post("products", name="Seat", active=text)["active"] is value
    assert desk.refused("products", name="Seat", active="yes") == (400, None, "active")


def test_customers_are_made_changed_and_deleted_with_events(desk: Desk) -> None:
    form = {
        "name": 'Ada "🚀"',
        "email": "ada@example.com",
        "address[city]": "Berlin",
        "metadata[tier]": "gold",
        "metadata[old]": "1",
        "preferred_locales[0]": "de",
        "preferred_locales[1]": "en",
    }
    made = desk.post("customers", **form)
    key = made["id"]
    assert made["address"]["city"] == "Berlin"
    assert made["preferred_locales"] == ["de", "en"]
    changed = desk.post(f"customers/{key}", **{"metadata[old]": "", "description": "new"})
    assert (changed["metadata"], changed["name"]) == ({"tier": "gold"}, form["name"])
    assert desk.post(f"customers/{key}", description="")["description"] is None
    assert desk.get("customers", email="ada@example.com")["data"][0]["id"] == key
    found = desk.get("customers/search", query="metadata['tier']:'gold'")["data"]
    assert [customer["id"] for customer in found] == [key]
    answer = desk.call("DELETE", f"customers/{key}").json()
    assert answer == desk.get(f"customers/{key}")
    assert answer == {"id": key, "object": "customer", "deleted": True}
    told = [e for e in desk.get("events", limit=10)["data"] if e["data"]["object"]["id"] == key]
    assert [event["type"] for event in told] == [
        "customer.deleted",
        "customer.updated",
        "customer.updated",
        "customer.created",
    ]
    assert told[1]["data"]["previous_attributes"] == {"description": "new"}
    assert told[1]["request"]["id"].startswith("req_")


@pytest.mark.parametrize(
    ("path", "form", "told"),
    [
        ("customers", {"colour": "red"}, (400, "parameter_unknown", "colour")),
        ("customers", {"address[planet]": "x"}, (400, "parameter_unknown", "address[planet]")),
        ("customers", {"address": "Berlin"}, (400, None, "address")),
        ("customers", {"email": "nobody"}, (400, "email_invalid", "email")),
        ("customers", {"balance": "much"}, (400, "parameter_invalid_integer", "balance")),
        ("customers", {"metadata[a]": "x" * 501}, (400, None, "metadata[a]")),
        ("customers", {"tax_exempt": "maybe"}, (400, None, "tax_exempt")),
        ("customers/cus_no", {}, (404, "resource_missing", "id")),
        ("products", {}, (400, "parameter_missing", "name")),
        ("products", {"name": ""}, (400, "parameter_invalid_empty", "name")),
        ("products", {"name": "x", "active": "yes"}, (400, None, "active")),
        ("prices", {"currency": "usd", "product": "no"}, (400, "resource_missing", "product")),
        ("prices", {"currency": "zzz", "unit_amount": "1"}, (400, None, "currency")),
        ("charges", {"amount": "5", "currency": "usd", "source": "tok_visa"},
         (400, "amount_too_small", "amount")),
        ("charges", {"amount": "500", "currency": "usd"}, (400, "parameter_missing", None)),
        ("charges", {"amount": "500", "currency": "usd", "source": "tok_no"},
         (400, "resource_missing", "source")),
        ("payment_intents", {"currency": "usd"}, (400, "parameter_missing", "amount")),
        ("refunds", {}, (400, "parameter_missing", None)),
        ("refunds", {"charge": "ch_no"}, (404, "resource_missing", "id")),
        ("subscriptions", {"customer": "cus_no"}, (400, "resource_missing", "customer")),
        ("topups", {"amount": "500"},
         (403, "more_permissions_required_for_application", None)),
        ("customers/cus_no/dance", {}, (404, None, None)),
        ("nonsense", {}, (404, None, None)),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_as_stripe_does(
    path: str, form: dict[str, str], told: tuple[Any, ...], desk: Desk
) -> None:
    assert desk.refused(path, **form) == told


def test_json_is_no_form(desk: Desk) -> None:
    answer = desk.call("POST", "customers", '{"name": "x"}', content_type="application/json")
    assert answer.status_code == 400
    assert "check that your POST content type" in answer.json()["error"]["message"]


def test_a_refused_write_leaves_nothing(desk: Desk) -> None:
    before = desk.get("events")["data"][0]["id"]
    form = {"name": "Half", "default_price_data[currency]": "usd"}
    assert desk.refused("products", **form) == (400, "parameter_missing", "unit_amount")
    assert desk.refused("customers", name="x", **{"expand[]": "owner"}) == (400, None, "expand")
    assert desk.get("events")["data"][0]["id"] == before


def test_a_product_comes_with_its_price_and_goes_only_without(desk: Desk) -> None:
    form = {
        "name": "Rocket",
        "default_price_data[currency]": "EUR",
        "default_price_data[unit_amount]": "1999",
        "default_price_data[recurring][interval]": "year",
        "expand[]": "default_price",
    }
    product = desk.post("products", **form)
    price = product["default_price"]
    assert (price["currency"], price["unit_amount_decimal"]) == ("eur", "1999")
    assert price["recurring"]["interval"] == "year"
    assert desk.get(f"plans/{price['id']}")["interval"] == "year"
    assert desk.refused(f"products/{product['id']}", "DELETE")[0] == 400
    retired = desk.post(f"prices/{price['id']}", active="false", lookup_key="rocket")
    assert (retired["active"], retired["lookup_key"]) == (False, "rocket")
    found = desk.get("prices", **{"lookup_keys[]": "rocket"})["data"]
    assert [p["id"] for p in found] == [price["id"]]
    bare = desk.post("products", id="bare", name="Bare")
    assert desk.call("POST", "products", {"id": "bare", "name": "x"}).status_code == 400
    assert desk.call("DELETE", f"products/{bare['id']}").json()["deleted"] is True


def test_charges_are_captured_and_given_back_in_parts(desk: Desk) -> None:
    held = desk.post("charges", amount=1000, currency="usd", source="tok_visa", capture="false")
    assert (held["captured"], held["amount_captured"]) == (False, 0)
    taken = desk.post(f"charges/{held['id']}/capture", amount=800)
    assert (taken["amount_captured"], taken["amount_refunded"]) == (800, 200)
    assert desk.refused(f"charges/{held['id']}/capture")[1] == "charge_already_captured"
    back = desk.post("refunds", charge=held["id"], amount=300, reason="duplicate")
    assert (back["status"], back["reason"]) == ("succeeded", "duplicate")
    assert desk.refused("refunds", charge=held["id"], amount=501) == (400, None, "amount")
    rest = desk.post("refunds", charge=held["id"])
    assert rest["amount"] == 500
    assert desk.refused("refunds", charge=held["id"])[1] == "charge_already_refunded"
    charge = desk.get(f"charges/{held['id']}", **{"expand[]": "refunds"})
    assert charge["refunded"] is True
    assert {r["id"] for r in charge["refunds"]["data"]} == {back["id"], rest["id"]}
    for made, amount in ((taken, 800), (back, -300), (rest, -500)):
        moved = desk.get(f"balance_transactions/{made['balance_transaction']}")
        assert (moved["source"], moved["amount"], moved["status"]) == (
            made["id"],
            amount,
            "pending",
        )


def test_a_declined_card_is_told_and_leaves_its_charge(desk: Desk) -> None:
    form = {"amount": 900, "currency": "usd", "source": "tok_visa_chargeDeclinedInsufficientFunds"}
    answer = desk.call("POST", "charges", form)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (402, "card_error")
    assert (error["code"], error["decline_code"]) == ("card_declined", "insufficient_funds")
    assert desk.get(f"charges/{error['charge']}")["status"] == "failed"


def test_an_intent_goes_from_a_method_to_a_charge(desk: Desk) -> None:
    intent = desk.post("payment_intents", amount=2000, currency="eur", capture_method="manual")
    path = f"payment_intents/{intent['id']}"
    assert intent["status"] == "requires_payment_method"
    assert desk.refused(f"{path}/confirm")[1] == "payment_intent_unexpected_state"
    form = {"payment_method": "pm_card_visa_chargeDeclined"}
    refused = desk.call("POST", f"{path}/confirm", form).json()["error"]
    assert refused["payment_intent"]["last_payment_error"]["code"] == "card_declined"
    held = desk.post(f"{path}/confirm", payment_method="pm_card_mastercard")
    assert (held["status"], held["amount_capturable"]) == ("requires_capture", 2000)
    done = desk.post(f"{path}/capture", amount_to_capture=1500, **{"expand[]": "latest_charge"})
    assert (done["status"], done["amount_received"]) == ("succeeded", 1500)
    assert done["latest_charge"]["payment_method_details"]["card"]["brand"] == "mastercard"
    assert desk.refused(f"{path}/cancel")[1] == "payment_intent_unexpected_state"
    assert desk.post("refunds", payment_intent=intent["id"])["amount"] == 1500


def test_the_companys_charges_have_their_intents_and_cards(desk: Desk) -> None:
    charge = desk.get("charges", **{"expand[]": "data.payment_intent"})["data"][0]
    intent = charge["payment_intent"]
    assert (intent["object"], intent["latest_charge"]) == ("payment_intent", charge["id"])
    method = desk.get(f"payment_methods/{charge['payment_method']}")
    assert method["card"]["last4"] == charge["payment_method_details"]["card"]["last4"]


def test_an_invoice_from_draft_to_paid(desk: Desk) -> None:
    customer = desk.payer()
    invoice = desk.post("invoices", customer=customer["id"], **{"metadata[po]": "7"})
    assert (invoice["status"], invoice["number"]) == ("draft", None)
    item = {"customer": customer["id"], "invoice": invoice["id"], "currency": "usd"}
    desk.post("invoiceitems", amount=1200, description="Setup", **item)
    extra = desk.post("invoiceitems", unit_amount=300, quantity=2, **item)
    path = f"invoices/{invoice['id']}"
    assert desk.get(path)["total"] == 1800
    desk.post(f"invoiceitems/{extra['id']}", quantity=1)
    final = desk.post(f"{path}/finalize")
    assert (final["status"], final["amount_due"]) == ("open", 1500)
    assert final["number"].endswith("-0001")
    assert desk.refused("invoiceitems", amount=5, **item)[1] == "invoice_not_editable"
    expand = {"expand[]": "payment_intent.latest_charge"}
    paid = desk.post(f"{path}/pay", **expand)
    assert (paid["status"], paid["amount_paid"]) == ("paid", 1500)
    charge = paid["payment_intent"]["latest_charge"]
    assert (charge["id"], charge["amount"]) == (paid["charge"], 1500)
    assert desk.refused(f"{path}/void")[0] == 400
    assert [line["amount"] for line in desk.get(f"{path}/lines")["data"]] == [1200, 300]
    gone = desk.post("invoices", customer=customer["id"])
    assert desk.call("DELETE", f"invoices/{gone['id']}").json()["deleted"] is True
    assert desk.refused(f"invoices/{gone['id']}", "GET")[0] == 404


def test_a_subscription_is_billed_changed_and_ended(desk: Desk) -> None:
    customer = desk.payer()
    product = desk.post("products", name="Seat")
    recurring = {"recurring[interval]": "month", "currency": "usd", "product": product["id"]}
    small = desk.post("prices", unit_amount=500, **recurring)
    large = desk.post("prices", unit_amount=900, **recurring)
    form = {"items[0][price]": small["id"], "items[0][quantity]": 3}
    made = desk.post(
        "subscriptions", customer=customer["id"], **form, **{"expand[]": "latest_invoice"}
    )
    assert made["status"] == "active"
    assert (made["latest_invoice"]["status"], made["latest_invoice"]["amount_paid"]) == (
        "paid",
        1500,
    )
    path = f"subscriptions/{made['id']}"
    item = made["items"]["data"][0]["id"]
    changed = desk.post(path, **{"items[0][id]": item, "items[0][price]": large["id"]})
    assert changed["items"]["data"][0]["id"] == item
    assert (changed["plan"]["amount"], changed["quantity"]) == (900, 3)
    assert desk.post(path, cancel_at_period_end="true")["cancel_at"] == made["current_period_end"]
    assert desk.call("DELETE", path).json()["status"] == "canceled"
    assert desk.refused(path, "DELETE")[0] == 404
    poor = desk.post("customers", name="Poor")
    assert desk.refused("subscriptions", customer=poor["id"], **form)[1] == "resource_missing"
    trial = desk.post("subscriptions", customer=poor["id"], trial_period_days=14, **form)
    assert trial["status"] == "trialing"


def test_the_same_key_gets_the_same_answer(desk: Desk) -> None:
    form = {"amount": 700, "currency": "usd", "source": "tok_visa"}
    first = desk.call("POST", "charges", form, idempotency_key="one")
    again = desk.call("POST", "charges", form, idempotency_key="one")
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert "Idempotent-Replayed" not in first.headers
    other = desk.call("POST", "charges", {**form, "amount": 800}, idempotency_key="one")
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    elsewhere = desk.call("POST", "payment_intents", form, idempotency_key="one")
    assert elsewhere.json()["error"]["type"] == "idempotency_error"
    assert desk.call("POST", "charges", form, idempotency_key="x" * 256).status_code == 400


def test_only_what_was_begun_is_remembered(desk: Desk) -> None:
    bad = desk.call("POST", "charges", {"amount": "x"}, idempotency_key="two")
    assert bad.status_code == 400
    declined = {"amount": 700, "currency": "usd", "source": "tok_chargeDeclined"}
    first = desk.call("POST", "charges", declined, idempotency_key="two")
    again = desk.call("POST", "charges", declined, idempotency_key="two")
    assert (first.status_code, again.status_code) == (402, 402)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_key_in_use_is_a_conflict(desk: Desk) -> None:
    desk.sandbox.arm("stripe", "slow_write", seconds=1.5)
    form = {"name": "Twice"}
    answers: list[requests.Response] = []

    def first() -> None:
        answers.append(desk.call("POST", "customers", form, idempotency_key="three"))

    thread = threading.Thread(target=first)
    thread.start()
    while desk.sandbox.counts("stripe")["requests"] == 0:
        pass
    refused = desk.call("POST", "customers", form, idempotency_key="three")
    thread.join()
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert refused.headers["Stripe-Should-Retry"] == "true"
    again = desk.call("POST", "customers", form, idempotency_key="three")
    assert again.json() == answers[0].json()


def test_a_write_whose_answer_was_lost_is_not_done_twice(desk: Desk) -> None:
    desk.sandbox.arm("stripe", "drop_after")
    form = {"name": "Lost", "metadata[mark]": "lost"}
    with pytest.raises(requests.ConnectionError):
        desk.call("POST", "customers", form, idempotency_key="four")
    kept = desk.call("POST", "customers", form, idempotency_key="four").json()
    found = desk.get("customers/search", query="metadata['mark']:'lost'")["data"]
    assert [customer["id"] for customer in found] == [kept["id"]]


def test_what_was_written_outlives_the_process_and_the_day(tmp_path: Path) -> None:
    def running() -> Any:
        return serve_in_thread(state_dir=tmp_path, seed=SEED, scale=0.05, today=TODAY)

    with running() as manifest:
        desk = Desk(Sandbox(manifest))
        subscription = desk.get("subscriptions")["data"][0]
        company_customer = subscription["customer"]
        desk.post(f"customers/{company_customer}", phone="123")
        desk.call("DELETE", f"subscriptions/{subscription['id']}")
        form = {"name": "Kept"}
        made = desk.call("POST", "customers", form, idempotency_key="five").json()
    with running() as manifest:
        sandbox = Sandbox(manifest)
        desk = Desk(sandbox)
        assert desk.get(f"customers/{made['id']}")["name"] == "Kept"
        again = desk.call("POST", "customers", form, idempotency_key="five")
        assert again.json()["id"] == made["id"]
        before = desk.get("invoices", subscription=subscription["id"], limit=100)["data"]
        sandbox.advance(31)
        # The company lives on around it: other fields change, this subscription is billed no more.
        assert desk.get(f"customers/{company_customer}")["phone"] == "123"
        after = desk.get("invoices", subscription=subscription["id"], limit=100)["data"]
        assert [i["id"] for i in after] == [i["id"] for i in before]
        latest = desk.get("invoices", limit=1)["data"][0]
        assert latest["created"] > before[0]["created"] + 20 * 86_400
        # Keys are kept for a day.
        later = desk.call("POST", "customers", form, idempotency_key="five").json()
        assert later["id"] != made["id"]


def subscribed(desk: Desk, amount: int = 1000, **more: Any) -> dict[str, Any]:
    """A customer's new monthly subscription."""
    customer = desk.post("customers", name="Renewing", source="tok_visa")
    price = desk.post(
        "prices",
        currency="usd",
        unit_amount=amount,
        **{"recurring[interval]": "month", "product_data[name]": f"p{amount}"},
    )
    form = {"items[0][price]": price["id"], "items[0][quantity]": 2, **more}
    return desk.post("subscriptions", customer=customer["id"], **form)


def test_a_subscription_is_billed_each_period_and_prorated(tmp_path: Path) -> None:
    where: dict[str, Any] = {"state_dir": tmp_path, "seed": SEED, "scale": 0.05, "today": TODAY}
    with serve_in_thread(**where) as manifest:
        desk = Desk(Sandbox(manifest))
        made = subscribed(desk)
        ending = subscribed(desk, cancel_at_period_end="true")
        trial = subscribed(desk, trial_period_days=5)
        poor = subscribed(desk)
        desk.post(f"customers/{poor['customer']}", source="tok_chargeCustomerFail")
        path = f"subscriptions/{made['id']}"
        begun = desk.get("invoices", subscription=made["id"])["data"]
        assert [(i["billing_reason"], i["total"]) for i in begun] == [("subscription_create", 2000)]
        desk.sandbox.advance(15)
        change = {"items[0][id]": made["items"]["data"][0]["id"], "items[0][quantity]": 4}
        assert desk.post(path, **change)["quantity"] == 4
        pending = desk.get("invoiceitems", customer=made["customer"])["data"]
        amounts = sorted(item["amount"] for item in pending)
        assert all(item["proration"] for item in pending)
        assert len(amounts) == 2
        assert abs(sum(amounts) - amounts[1] / 2) <= 1
        assert 800 < amounts[1] // 2 < 1200
        silent = {**change, "items[0][quantity]": 3, "proration_behavior": "none"}
        desk.post(path, **silent)
        assert len(desk.get("invoiceitems", customer=made["customer"])["data"]) == 2
        living = desk.get(f"subscriptions/{trial['id']}")
        assert living["status"] == "active"
        assert living["current_period_start"] == trial["trial_end"]
        bills = desk.get("invoices", subscription=trial["id"])["data"]
        assert [bill["total"] for bill in bills] == [2000, 0]
        assert bills[0]["created"] == trial["trial_end"]
        desk.sandbox.advance(17)
        renewed = desk.get(path)
        assert renewed["current_period_start"] == made["current_period_end"]
        last = desk.get("invoices", subscription=made["id"])["data"][0]
        assert (last["billing_reason"], last["status"]) == ("subscription_cycle", "paid")
        assert last["total"] == 3000 + sum(amounts)
        assert last["created"] == made["current_period_end"]
        assert renewed["latest_invoice"] == last["id"]
        ended = desk.get(f"subscriptions/{ending['id']}")
        assert (ended["status"], ended["ended_at"]) == ("canceled", ending["current_period_end"])
        assert desk.get(f"subscriptions/{poor['id']}")["status"] == "past_due"
        told = desk.get("events", type="invoice.payment_failed")["data"]
        assert poor["customer"] in {event["data"]["object"]["customer"] for event in told}
        assert len(desk.get("invoices", subscription=made["id"])["data"]) == 2
    with serve_in_thread(**where) as manifest:
        again = Desk(Sandbox(manifest))
        assert len(again.get("invoices", subscription=made["id"])["data"]) == 2
        assert again.get(path)["latest_invoice"] == last["id"]


def test_periods_are_calendar_months_counted_from_their_anchor() -> None:
    def stamp(text: str) -> int:
        return int(datetime.fromisoformat(f"{text}T10:30:00+00:00").timestamp())

    def ends(anchor: str, interval: str, count: int = 1) -> list[str]:
        at, found = stamp(anchor), []
        for _ in range(4):
            at = period_end(stamp(anchor), at, (interval, count))
            found.append(datetime.fromtimestamp(at, UTC).date().isoformat())
        return found

    months = ["2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31"]
    assert ends("2024-01-31", "month") == months
    assert ends("2024-11-30", "month", 3) == [
        "2025-02-28",
        "2025-05-30",
        "2025-08-30",
        "2025-11-30",
    ]
    assert ends("2024-02-29", "year") == ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]
    assert ends("2024-12-25", "week", 2) == ["2025-01-08", "2025-01-22", "2025-02-05", "2025-02-19"]
    # A trial ends where the anchor is, which lies ahead.
    assert period_end(stamp("2024-03-31"), stamp("2024-03-20"), ("month", 1)) == stamp("2024-03-31")


def test_a_subscription_may_bring_its_own_price(desk: Desk) -> None:
    customer = desk.payer()["id"]
    product = desk.post("products", name="Own")["id"]
    path = "items[0][price_data]"
    form = {
        f"{path}[currency]": "usd",
        f"{path}[unit_amount]": 300,
        f"{path}[recurring][interval]": "year",
    }
    refused = (400, "parameter_missing", f"{path}[product]")
    assert desk.refused("subscriptions", customer=customer, **form) == refused
    form[f"{path}[product]"] = product
    made = desk.post("subscriptions", customer=customer, **form)
    price = made["items"]["data"][0]["price"]
    assert (price["unit_amount"], price["recurring"]["interval"]) == (300, "year")
    assert desk.get(f"prices/{price['id']}")["active"] is False
    year = made["current_period_end"] - made["current_period_start"]
    assert year in (365 * 86_400, 366 * 86_400)
    for count in (0, 4):
        form[f"{path}[recurring][interval_count]"] = count
        refused = (400, None, "recurring[interval_count]")
        assert desk.refused("subscriptions", customer=customer, **form) == refused


def test_a_change_can_be_billed_at_once(desk: Desk) -> None:
    made = subscribed(desk, 3000)
    change = {"items[0][id]": made["items"]["data"][0]["id"], "items[0][quantity]": 5}
    now = made["current_period_start"]
    after = desk.post(
        f"subscriptions/{made['id']}",
        proration_behavior="always_invoice",
        proration_date=now,
        **change,
    )
    bill = desk.get(f"invoices/{after['latest_invoice']}")
    assert (bill["billing_reason"], bill["status"]) == ("subscription_update", "paid")
    assert bill["total"] == 9000
    assert sorted(line["amount"] for line in bill["lines"]["data"]) == [-6000, 15000]


def test_objects_have_the_shape_of_the_version_asked_for(desk: Desk) -> None:
    made = subscribed(desk, 700)
    paths = {
        "subscription": f"subscriptions/{made['id']}",
        "invoice": f"invoices/{made['latest_invoice']}",
        "customer": f"customers/{made['customer']}",
    }

    def told(kind: str, version: str) -> dict[str, Any]:
        answer = desk.call("GET", paths[kind], stripe_version=version)
        assert answer.headers["Stripe-Version"] == version
        return answer.json()

    own = told("invoice", "2024-06-20")
    paths["charge"] = f"charges/{own['charge']}"
    assert own["subscription"] == made["id"]
    new = told("invoice", "2025-03-31.basil")
    assert new["parent"]["subscription_details"]["subscription"] == made["id"]
    assert not {"subscription", "charge", "payment_intent", "paid"} & new.keys()
    (line,) = new["lines"]["data"]
    assert line["pricing"]["price_details"]["price"] == made["plan"]["id"]
    assert line["parent"]["subscription_item_details"]["subscription"] == made["id"]
    assert "price" not in line
    subscription = told("subscription", "2025-09-30.clover")
    (item,) = subscription["items"]["data"]
    assert item["current_period_end"] == made["current_period_end"]
    assert "current_period_end" not in subscription
    assert "refunds" not in told("charge", "2022-11-15")
    assert told("charge", "2022-08-01")["refunds"]["data"] == []
    assert "subscriptions" not in told("customer", "2020-08-27")
    old = told("customer", "2019-12-03")
    assert [each["id"] for each in old["subscriptions"]["data"]] == [made["id"]]
    assert old["sources"]["data"][0]["id"] == old["default_source"]
    paid = desk.get("invoice_payments", invoice=own["id"])["data"]
    assert [each["payment"]["payment_intent"] for each in paid] == [own["payment_intent"]]
    wide = {"expand[]": "payments"}
    assert desk.get(paths["invoice"], **wide)["payments"]["data"] == paid
    listed = desk.call("GET", "invoices?limit=1", stripe_version="2025-03-31.basil").json()
    assert "parent" in listed["data"][0]
    (event,) = desk.get("events", type="invoice.created", limit=1)["data"]
    same = desk.call("GET", f"events/{event['id']}", stripe_version="2025-03-31.basil").json()
    assert same == event
    assert desk.call("GET", paths["charge"], stripe_version="yesterday").status_code == 400


def test_cards_come_and_go_by_the_customers_sources(desk: Desk) -> None:
    customer = desk.post("customers", name="Carded")
    path = f"customers/{customer['id']}/sources"
    first = desk.post(path, source="tok_visa", **{"metadata[a]": "b"})
    assert (first["object"], first["last4"], first["metadata"]) == ("card", "4242", {"a": "b"})
    second = desk.post(path, source="tok_mastercard")
    assert desk.get(f"customers/{customer['id']}")["default_source"] == first["id"]
    assert desk.get(path, object="card", limit=1)["has_more"] is True
    assert desk.get(f"{path}/{second['id']}") == second
    changed = desk.post(f"{path}/{second['id']}", exp_month=3, name="N")
    assert (changed["exp_month"], changed["name"]) == (3, "N")
    gone = desk.call("DELETE", f"{path}/{first['id']}").json()
    assert gone == {"id": first["id"], "object": "card", "deleted": True}
    assert desk.get(f"customers/{customer['id']}")["default_source"] == second["id"]
    charge = desk.post("charges", amount=500, currency="usd", customer=customer["id"])
    assert charge["source"]["id"] == second["id"]
    assert desk.refused(path) == (400, "parameter_missing", "source")
    assert desk.refused(path, source="tok_nope") == (400, "resource_missing", "source")
    assert desk.refused(path, source="tok_chargeDeclined") == (402, "card_declined", None)
    assert desk.refused(path, **{"source[object]": "card"})[0] == 402
    assert desk.refused(f"{path}/{first['id']}", method="DELETE")[:2] == (404, "resource_missing")
    assert desk.refused("customers/cus_nope/sources", source="tok_visa")[0] == 404


def test_the_next_bill_is_foreseen_and_comes_true(tmp_path: Path) -> None:
    with serve_in_thread(state_dir=tmp_path, seed=SEED, scale=0.05, today=TODAY) as manifest:
        desk = Desk(Sandbox(manifest))
        made = subscribed(desk)
        events = desk.get("events", limit=1)["data"][0]["id"]
        desk.post("invoiceitems", customer=made["customer"], amount=70, currency="usd")
        told = desk.post("invoices/create_preview", subscription=made["id"])
        assert (told["object"], told["status"], told["billing_reason"]) == (
            "invoice", "draft", "upcoming",
        )  # fmt: skip
        assert told["id"].startswith("upcoming_in_")
        assert (told["total"], told["amount_due"]) == (2070, 2070)
        assert told["period_end"] == told["created"] == made["current_period_end"]
        line = next(line for line in told["lines"]["data"] if line["type"] == "subscription")
        assert line["period"]["start"] == made["current_period_end"]
        old = desk.get("invoices/upcoming", customer=made["customer"])
        assert "id" not in old
        assert old["total"] == told["total"]
        lines = desk.get("invoices/upcoming/lines", customer=made["customer"], limit=1)
        assert (len(lines["data"]), lines["has_more"]) == (1, True)
        first = lines["data"][0]["id"]
        path = "invoices/upcoming/lines"
        rest = desk.get(path, customer=made["customer"], starting_after=first)
        assert (len(rest["data"]), rest["has_more"]) == (1, False)
        # Nothing of it stays.
        assert (
            desk.get("invoices", subscription=made["id"])["data"][0]["id"] == made["latest_invoice"]
        )
        assert desk.get(f"subscriptions/{made['id']}") == made
        recent = [event["id"] for event in desk.get("events", limit=5)["data"]]
        assert recent.index(events) == 1  # the item alone came since
        desk.sandbox.advance(32)
        (bill, _) = desk.get("invoices", subscription=made["id"])["data"]
        assert (bill["total"], bill["billing_reason"]) == (2070, "subscription_cycle")


def test_a_change_is_previewed_without_being_made(desk: Desk) -> None:
    made = subscribed(desk)
    item = made["items"]["data"][0]["id"]
    details = {
        "subscription": made["id"], "subscription_details[items][0][id]": item,
        "subscription_details[items][0][quantity]": 3,
    }  # fmt: skip
    told = desk.post("invoices/create_preview", **details)
    kinds = [line["type"] for line in told["lines"]["data"]]
    assert kinds.count("invoiceitem") == 2  # unused and remaining time
    assert told["total"] > 3_000
    at_once = desk.post(
        "invoices/create_preview", **details,
        **{"subscription_details[proration_behavior]": "always_invoice"},
    )  # fmt: skip
    assert {line["type"] for line in at_once["lines"]["data"]} == {"invoiceitem"}
    none = desk.post(
        "invoices/create_preview", **details,
        **{"subscription_details[proration_behavior]": "none"},
    )  # fmt: skip
    assert none["total"] == 3_000
    assert desk.get(f"subscriptions/{made['id']}") == made
    price = made["items"]["data"][0]["price"]["id"]
    new = desk.post(
        "invoices/create_preview", customer=made["customer"],
        **{"subscription_details[items][0][price]": price, "invoice_items[0][amount]": 5,
           "invoice_items[0][currency]": "usd"},
    )  # fmt: skip
    assert (new["total"], new["subscription"]) == (1_005, None)
    nobody = desk.post("customers", name="N")["id"]
    assert desk.refused("invoices/create_preview", customer=nobody) == (
        404, "invoice_upcoming_none", None,
    )  # fmt: skip
    assert desk.refused("invoices/create_preview") == (400, "parameter_missing", "customer")
    assert desk.refused("invoices/create_preview", wings=1)[:2] == (400, "parameter_unknown")
    ended = {"subscription": made["id"], "subscription_details[cancel_at_period_end]": "true"}
    assert desk.refused("invoices/create_preview", **ended)[:2] == (404, "invoice_upcoming_none")
    gone = desk.call(
        "GET", f"invoices/upcoming?customer={nobody}", Stripe_Version="2025-03-31.basil"
    )
    assert gone.status_code == 404
