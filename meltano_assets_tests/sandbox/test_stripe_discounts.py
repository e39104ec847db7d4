"""Coupons, taxes, credit notes, set-ups and webhooks that clients write to the simulated Stripe (W1, W2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sandbox.stripe_totals import totalled
from meltano_assets_tests.sandbox.conftest import SEED, TODAY, Sandbox
from meltano_assets_tests.sandbox.test_stripe_writes import Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("discounts")
    with serve_in_thread(state_dir=folder, seed=SEED, scale=0.05, today=TODAY) as manifest:
        yield Desk(Sandbox(manifest))


def _price(desk: Desk, amount: int = 1_000, **recurring: str) -> str:
    form = {f"recurring[{name}]": value for name, value in recurring.items()}
    told = {"product_data[name]": "Seat", "unit_amount": amount, "currency": "usd", **form}
    return str(desk.post("prices", **told)["id"])


def _invoice(desk: Desk, amount: int = 1_000, **form: Any) -> dict[str, Any]:
    customer = form.pop("customer", None) or desk.payer()["id"]
    invoice = desk.post("invoices", customer=customer, currency="usd", **form)
    item = {"customer": customer, "invoice": invoice["id"], "amount": amount, "currency": "usd"}
    desk.post("invoiceitems", **item)
    return desk.get(f"invoices/{invoice['id']}")


def test_coupons_are_made_changed_found_and_deleted(desk: Desk) -> None:
    made = desk.post("coupons", id="TEN", percent_off="12.5", name="Ten", **{"metadata[a]": "1"})
    assert (made["percent_off"], made["duration"], made["valid"]) == (12.5, "once", True)
    assert desk.get("coupons/TEN") == made
    assert desk.post("coupons/TEN", name="Eleven")["name"] == "Eleven"
    assert desk.refused("coupons", id="TEN", percent_off="1")[1] == "resource_already_exists"
    assert [c["id"] for c in desk.get("coupons", limit=1)["data"]] == ["TEN"]
    gone = desk.call("DELETE", "coupons/TEN").json()
    assert gone == {"id": "TEN", "object": "coupon", "deleted": True}
    assert desk.refused("coupons/TEN", "GET") == (404, "resource_missing", "id")


@pytest.mark.parametrize(
    ("path", "form", "told"),
    [
        ("coupons", {}, (400, "parameter_missing", None)),
        ("coupons", {"percent_off": "101"}, (400, None, "percent_off")),
        ("coupons", {"percent_off": "1e99"}, (400, None, "percent_off")),
        ("coupons", {"amount_off": "5"}, (400, "parameter_missing", "currency")),
        ("coupons", {"amount_off": "-5", "currency": "usd"},
         (400, "parameter_invalid_integer", "amount_off")),
        ("coupons", {"percent_off": "5", "duration": "repeating"},
         (400, "parameter_missing", "duration_in_months")),
        ("coupons", {"percent_off": "5", "duration": "repeating", "duration_in_months": "9" * 15},
         (400, None, "duration_in_months")),
        ("coupons", {"percent_off": "5", "redeem_by": "1"}, (400, None, "redeem_by")),
        ("coupons", {"amount_off": "9" * 17, "currency": "usd"},
         (400, "parameter_invalid_integer", "amount_off")),
        ("customers", {"balance": "9" * 17}, (400, "parameter_invalid_integer", "balance")),
        ("prices", {"currency": "usd", "product_data[name]": "x", "unit_amount_decimal": "1e400"},
         (400, None, "unit_amount_decimal")),
        ("prices", {"currency": "usd", "product_data[name]": "x", "unit_amount_decimal": "NaN"},
         (400, None, "unit_amount_decimal")),
        ("subscriptions", {"customer": "cus_no", "items[0][quantity]": "-5"},
         (400, "parameter_invalid_integer", "items[0][quantity]")),
        ("promotion_codes", {}, (400, "parameter_missing", "coupon")),
        ("promotion_codes", {"coupon": "no"}, (400, "resource_missing", "coupon")),
        ("customers", {"coupon": "no"}, (400, "resource_missing", "coupon")),
        ("customers", {"promotion_code": "no"}, (400, "resource_missing", "promotion_code")),
        ("tax_rates", {"display_name": "VAT", "inclusive": "false"},
         (400, "parameter_missing", "percentage")),
        ("tax_rates", {"display_name": "VAT", "inclusive": "no", "percentage": "19"},
         (400, None, "inclusive")),
        ("webhook_endpoints", {"url": "nowhere", "enabled_events[]": "*"},
         (400, "url_invalid", "url")),
        ("webhook_endpoints", {"url": "https://x.example", "enabled_events[]": "Dance!"},
         (400, None, "enabled_events[0]")),
        ("webhook_endpoints", {"url": "https://x.example"},
         (400, "parameter_missing", "enabled_events")),
        ("credit_notes", {"invoice": "in_no"}, (400, "resource_missing", "invoice")),
        ("setup_intents", {"customer": "cus_no"}, (400, "resource_missing", "customer")),
        ("setup_intents/seti_no/confirm", {}, (404, "resource_missing", "id")),
        ("checkout/sessions", {"mode": "payment"}, (400, "parameter_missing", "success_url")),
        ("checkout/sessions/cs_no/expire", {}, (404, "resource_missing", "id")),
        ("customers/cus_no/balance_transactions", {"amount": "1", "currency": "usd"},
         (404, "resource_missing", "id")),
        ("shipping_rates", {"display_name": "Post"},
         (400, "parameter_missing", "fixed_amount[amount]")),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(
    path: str, form: dict[str, str], told: tuple[Any, ...], desk: Desk
) -> None:
    assert desk.refused(path, **form) == told


@pytest.mark.parametrize(
    ("coupon", "rate", "cut", "tax", "total"),
    [
        ({"percent_off": "25"}, None, 250, None, 750),
        ({"amount_off": "300", "currency": "usd"}, None, 300, None, 700),
        ({"amount_off": "9000", "currency": "usd"}, None, 1_000, None, 0),
        ({"percent_off": "50"}, ("19", "false"), 500, 95, 595),
        (None, ("19", "true"), 0, 160, 1_000),
    ],
)
def test_a_bill_is_cut_and_taxed(
    coupon: dict[str, str] | None,
    rate: tuple[str, str] | None,
    cut: int,
    tax: int | None,
    total: int,
    desk: Desk,
) -> None:
    form = {}
    if coupon:
        form["discounts[0][coupon]"] = desk.post("coupons", **coupon)["id"]
    if rate:
        told = desk.post("tax_rates", display_name="VAT", percentage=rate[0], inclusive=rate[1])
        form["default_tax_rates[0]"] = told["id"]
    invoice = _invoice(desk, **form)
    line = invoice["lines"]["data"][0]
    assert (invoice["subtotal"], invoice["tax"], invoice["total"]) == (1_000, tax, total)
    assert sum(part["amount"] for part in invoice["total_discount_amounts"]) == cut
    assert sum(part["amount"] for part in line["discount_amounts"]) == cut
    assert [part["amount"] for part in line["tax_amounts"]] == ([] if tax is None else [tax])
    paid = desk.post(f"invoices/{invoice['id']}/pay")
    assert (paid["status"], paid["amount_paid"]) == ("paid", total)
    if coupon:
        expand = {"expand[]": "discounts.promotion_code"}
        shown = desk.get(f"invoices/{invoice['id']}", **expand)
        assert shown["discounts"][0]["coupon"]["times_redeemed"] == 1
        assert desk.get(f"coupons/{form['discounts[0][coupon]']}")["times_redeemed"] == 1


def test_an_amount_off_is_shared_out_over_the_lines_it_applies_to() -> None:
    lines = [
        {"amount": 100, "price": {"product": "a"}},
        {"amount": 200, "price": {"product": "b"}},
        {"amount": 700, "price": {"product": "a"}},
        {"amount": -50, "price": {"product": "a"}},
        {"amount": 500, "price": {"product": "a"}, "discountable": False},
    ]
    coupon = {"percent_off": None, "amount_off": 101, "applies_to": {"products": ["a"]}}
    told, fields = totalled(lines, {}, [{"id": "di_1", "coupon": coupon}], [])
    cuts = [[cut["amount"] for cut in line["discount_amounts"]] for line in told]
    assert cuts == [[13], [], [88], [], []]
    assert (fields["subtotal"], fields["total"]) == (1_450, 1_349)
    assert fields["total_discount_amounts"] == [{"amount": 101, "discount": "di_1"}]


def test_a_customers_discount_that_holds_once_is_gone_with_its_bill(desk: Desk) -> None:
    coupon = desk.post("coupons", percent_off="10")
    customer = desk.payer()["id"]
    code = desk.post("promotion_codes", coupon=coupon["id"], code="Fall", customer=customer)
    assert desk.get("promotion_codes", code="Fall")["data"] == [code]
    held = desk.post(f"customers/{customer}", promotion_code=code["id"])["discount"]
    assert (held["promotion_code"], held["coupon"]["id"]) == (code["id"], coupon["id"])
    assert desk.get(f"customers/{customer}/discount")["id"] == held["id"]
    invoice = _invoice(desk, customer=customer)
    assert (invoice["discount"]["id"], invoice["total"]) == (held["id"], 900)
    desk.post(f"invoices/{invoice['id']}/finalize")
    assert desk.get(f"customers/{customer}")["discount"] is None
    assert _invoice(desk, customer=customer)["total"] == 1_000
    types = [e["type"] for e in desk.get("events", limit=20)["data"]]
    assert "customer.discount.created" in types
    assert "customer.discount.deleted" in types


def test_a_code_is_for_its_customer_and_as_often_as_it_says(desk: Desk) -> None:
    coupon = desk.post("coupons", percent_off="10", max_redemptions="1")["id"]
    owner, other = desk.post("customers")["id"], desk.post("customers")["id"]
    code = desk.post("promotion_codes", coupon=coupon, customer=owner)["id"]
    assert desk.refused(f"customers/{other}", promotion_code=code)[0::2] == (400, "promotion_code")
    desk.post(f"customers/{owner}", promotion_code=code)
    assert desk.get(f"coupons/{coupon}")["valid"] is False
    told = (400, "coupon_expired", "coupon")
    assert desk.refused(f"customers/{other}", coupon=coupon) == told
    gone = desk.call("DELETE", f"customers/{owner}/discount").json()
    assert (gone["object"], gone["deleted"]) == ("discount", True)
    assert desk.refused(f"customers/{owner}/discount", "DELETE")[0] == 404


def test_a_subscription_is_billed_less_for_as_long_as_its_discount_lasts(
    own_sandbox: Sandbox,
) -> None:
    desk = Desk(own_sandbox)
    form = {"percent_off": "50", "duration": "repeating", "duration_in_months": "2"}
    coupon = desk.post("coupons", **form)["id"]
    rate = desk.post("tax_rates", display_name="VAT", percentage="10", inclusive="false")["id"]
    price = _price(desk, interval="month")
    told = {"items[0][price]": price, "discounts[0][coupon]": coupon, "default_tax_rates[]": rate}
    made = desk.post("subscriptions", customer=desk.payer()["id"], **told)
    assert made["discount"]["end"] is not None
    assert made["default_tax_rates"][0]["id"] == rate
    own_sandbox.advance(95)
    bills = desk.get("invoices", subscription=made["id"])["data"]
    assert [bill["total"] for bill in reversed(bills)] == [550, 550, 1_100, 1_100]
    desk.post(f"subscriptions/{made['id']}", coupon=desk.post("coupons", percent_off="100")["id"])
    preview = desk.post("invoices/create_preview", subscription=made["id"])
    assert (preview["subtotal"], preview["total"]) == (1_000, 0)
    desk.call("DELETE", f"subscriptions/{made['id']}/discount")
    assert desk.get(f"subscriptions/{made['id']}")["discounts"] == []


def test_a_credit_note_takes_from_what_is_due_and_can_be_voided(desk: Desk) -> None:
    invoice = _invoice(desk)["id"]
    assert desk.refused("credit_notes", invoice=invoice, amount="1") == (400, None, "invoice")
    number = desk.post(f"invoices/{invoice}/finalize")["number"]
    preview = desk.get("credit_notes/preview", invoice=invoice, amount=400)
    assert (preview["total"], desk.get("credit_notes", invoice=invoice)["data"]) == (400, [])
    note = desk.post("credit_notes", invoice=invoice, amount="400", reason="duplicate")
    assert (note["type"], note["number"]) == ("pre_payment", f"{number}-CN-01")
    assert desk.get(f"invoices/{invoice}")["amount_remaining"] == 600
    assert desk.refused("credit_notes", invoice=invoice, amount="601") == (400, None, "amount")
    assert desk.post(f"credit_notes/{note['id']}/void")["status"] == "void"
    assert desk.get(f"invoices/{invoice}")["amount_remaining"] == 1_000
    assert desk.refused(f"credit_notes/{note['id']}/void")[0] == 400
    desk.post("credit_notes", invoice=invoice, amount="1000")
    assert desk.get(f"invoices/{invoice}")["status"] == "paid"


def test_a_credit_note_on_a_paid_bill_gives_back(desk: Desk) -> None:
    invoice = _invoice(desk)
    key, customer = invoice["id"], invoice["customer"]
    charge = desk.post(f"invoices/{key}/pay")["charge"]
    line = {"lines[0][type]": "invoice_line_item", "lines[0][quantity]": "1",
            "lines[0][invoice_line_item]": invoice["lines"]["data"][0]["id"]}  # fmt: skip
    assert desk.refused("credit_notes", invoice=key, **line)[0] == 400
    note = desk.post("credit_notes", invoice=key, refund_amount="700", credit_amount="300", **line)
    assert note["type"] == "post_payment"
    assert desk.get(f"credit_notes/{note['id']}/lines")["data"][0]["amount"] == 1_000
    assert desk.get(f"charges/{charge}")["amount_refunded"] == 700
    assert desk.get(f"refunds/{note['refund']}")["amount"] == 700
    moved = desk.get(f"customers/{customer}/balance_transactions")["data"]
    assert [(m["type"], m["amount"], m["credit_note"]) for m in moved] == [
        ("credit_note", -300, note["id"])
    ]
    # The next bill is less by what is theirs.
    bill = desk.post(f"invoices/{_invoice(desk, customer=customer)['id']}/finalize")
    assert (bill["starting_balance"], bill["amount_due"], bill["ending_balance"]) == (-300, 700, 0)
    assert desk.get(f"customers/{customer}")["balance"] == 0


def test_a_setup_intent_keeps_a_card_for_later(desk: Desk) -> None:
    customer = desk.post("customers")["id"]
    intent = desk.post("setup_intents", customer=customer)
    assert (intent["status"], intent["usage"]) == ("requires_payment_method", "off_session")
    path = f"setup_intents/{intent['id']}"
    assert desk.refused(f"{path}/confirm")[1] == "setup_intent_unexpected_state"
    answer = desk.call("POST", f"{path}/confirm", {"payment_method": "pm_card_chargeDeclined"})
    assert answer.status_code == 402
    assert answer.json()["error"]["setup_intent"]["last_setup_error"]["code"] == "card_declined"
    done = desk.post(f"{path}/confirm", payment_method="pm_card_visa")
    assert done["status"] == "succeeded"
    methods = desk.get(f"customers/{customer}/payment_methods")["data"]
    assert [method["id"] for method in methods] == [done["payment_method"]]
    tried = desk.get("setup_attempts", setup_intent=intent["id"])["data"]
    assert [attempt["status"] for attempt in tried] == ["succeeded", "failed"]
    assert desk.refused(f"{path}/cancel")[1] == "setup_intent_unexpected_state"
    assert desk.get("setup_intents", customer=customer)["data"] == [done]


def test_a_webhook_endpoint_tells_its_secret_once(desk: Desk) -> None:
    form = {"url": "https://hook.example/x", "enabled_events[]": "charge.failed"}
    made = desk.post("webhook_endpoints", **form)
    assert made.pop("secret").startswith("whsec_")
    assert desk.get(f"webhook_endpoints/{made['id']}") == made
    assert desk.post(f"webhook_endpoints/{made['id']}", disabled="true")["status"] == "disabled"
    assert desk.call("DELETE", f"webhook_endpoints/{made['id']}").json()["deleted"] is True
    assert desk.get("webhook_endpoints")["data"] == []


def test_a_checkout_session_is_open_until_it_expires(desk: Desk) -> None:
    form = {"mode": "payment", "success_url": "https://x.example",
            "line_items[0][price]": _price(desk), "line_items[0][quantity]": "3"}  # fmt: skip
    made = desk.post("checkout/sessions", **form, **{"expand[]": "line_items"})
    assert (made["amount_total"], made["status"]) == (3_000, "open")
    assert made["line_items"]["data"][0]["quantity"] == 3
    key = made["id"]
    assert desk.get(f"checkout/sessions/{key}/line_items")["data"][0]["amount_total"] == 3_000
    assert desk.post(f"checkout/sessions/{key}/expire")["status"] == "expired"
    assert desk.refused(f"checkout/sessions/{key}/expire")[0] == 400
    assert [s["id"] for s in desk.get("checkout/sessions", status="expired")["data"]] == [key]


def test_tax_ids_and_shipping_rates_are_kept(desk: Desk) -> None:
    customer = desk.post("customers")["id"]
    path = f"customers/{customer}/tax_ids"
    made = desk.post(path, type="eu_vat", value="DE123456789")
    assert (made["country"], desk.get(path)["data"]) == ("DE", [made])
    assert desk.get(f"{path}/{made['id']}") == made
    assert desk.call("DELETE", f"{path}/{made['id']}").json()["deleted"] is True
    amount = {"fixed_amount[amount]": "500", "fixed_amount[currency]": "usd"}
    rate = desk.post("shipping_rates", display_name="Post", type="fixed_amount", **amount)
    # As older official clients write it.
    assert desk.get("shipping_rates", active="True")["data"] == [rate]


def test_a_plan_is_a_price_by_its_older_name(desk: Desk) -> None:
    form = {"id": "gold", "amount": "900", "currency": "usd", "interval": "month"}
    assert desk.refused("plans", **form) == (400, "parameter_missing", "product")
    made = desk.post("plans", **form, **{"product[name]": "Gold"})
    assert (made["object"], made["amount"], made["interval"]) == ("plan", 900, "month")
    assert desk.get("prices/gold")["recurring"]["interval"] == "month"
    assert desk.refused("plans", product=made["product"], **form)[1] == "resource_already_exists"
    assert desk.post("plans/gold", nickname="G")["nickname"] == "G"
    assert desk.call("DELETE", "plans/gold").json()["deleted"] is True
    assert desk.refused("plans/gold", "GET") == (404, "resource_missing", "id")


def test_an_item_of_a_subscription_comes_changes_and_goes(desk: Desk) -> None:
    price, other = _price(desk, 1_000, interval="month"), _price(desk, 300, interval="month")
    made = desk.post("subscriptions", customer=desk.payer()["id"], **{"items[0][price]": price})
    key = made["id"]
    item = desk.post("subscription_items", subscription=key, price=other, quantity="2")
    assert (item["price"]["id"], item["quantity"]) == (other, 2)
    changed = desk.post(f"subscription_items/{item['id']}", quantity="5", proration_behavior="none")
    assert changed["quantity"] == 5
    assert len(desk.get("subscription_items", subscription=key)["data"]) == 2
    gone = desk.call("DELETE", f"subscription_items/{item['id']}").json()
    assert (gone["object"], gone["deleted"]) == ("subscription_item", True)
    last = desk.get("subscription_items", subscription=key)["data"][0]["id"]
    assert desk.refused(f"subscription_items/{last}", "DELETE") == (400, None, "items")
    assert desk.refused("subscription_items/si_no", quantity="1")[1] == "resource_missing"


def test_a_quote_becomes_a_subscription_or_an_invoice(desk: Desk) -> None:
    customer = desk.payer()["id"]
    for price, result in (
        (_price(desk, 700, interval="month"), "subscription"),
        (_price(desk, 700), "invoice"),
    ):
        line = {"line_items[0][price]": price, "line_items[0][quantity]": "2"}
        quote = desk.post("quotes", customer=customer, description="offer", **line)
        path = f"quotes/{quote['id']}"
        assert (quote["status"], quote["amount_total"], quote["number"]) == ("draft", 1_400, None)
        assert desk.refused(f"{path}/accept")[0] == 400
        assert desk.post(f"{path}/finalize")["number"].startswith("QT-")
        assert desk.refused(path, description="later")[0] == 400
        done = desk.post(f"{path}/accept", **{"expand[]": "line_items"})
        assert (done["status"], done["line_items"]["data"][0]["quantity"]) == ("accepted", 2)
        sold = desk.get(f"{result}s/{done[result]}")
        assert sold["customer"] == customer
        assert desk.get("quotes", status="accepted", limit=1)["data"][0]["id"] == quote["id"]
    assert desk.post(f"quotes/{desk.post('quotes')['id']}/cancel")["status"] == "canceled"
    assert desk.refused(f"quotes/{desk.post('quotes')['id']}/finalize")[0::2] == (400, "customer")


def test_links_and_portals_are_told(desk: Desk) -> None:
    line = {"line_items[0][price]": _price(desk), "line_items[0][quantity]": "1"}
    link = desk.post("payment_links", **line)
    assert link["active"] is True
    assert desk.post(f"payment_links/{link['id']}", active="false")["active"] is False
    assert desk.get(f"payment_links/{link['id']}/line_items")["data"][0]["quantity"] == 1
    assert [each["id"] for each in desk.get("payment_links", active="false")["data"]] == [
        link["id"]
    ]
    portal = desk.post("billing_portal/sessions", customer=desk.post("customers")["id"])
    assert portal["url"].startswith("https://")
    assert desk.refused("payment_links")[1:] == ("parameter_missing", "line_items")


def test_a_bill_that_is_too_great_is_refused(desk: Desk) -> None:
    customer = desk.payer()["id"]
    price = _price(desk, 99_999_999_999)
    form = {"customer": customer, "price": price, "quantity": "999999"}
    invoice = desk.post("invoices", customer=customer, currency="usd")["id"]
    assert desk.refused("invoiceitems", invoice=invoice, **form) == (400, "amount_too_large", None)
    assert desk.get(f"invoices/{invoice}")["total"] == 0


def test_a_schedule_turns_from_phase_to_phase(own_sandbox: Sandbox) -> None:
    desk = Desk(own_sandbox)
    small, great = _price(desk, 100, interval="month"), _price(desk, 900, interval="month")
    phases = {
        "phases[0][items][0][price]": small, "phases[0][iterations]": "1",
        "phases[1][items][0][price]": great, "phases[1][items][0][quantity]": "2",
        "phases[1][duration][interval]": "month", "phases[1][duration][interval_count]": "2",
        "phases[1][proration_behavior]": "none",
    }  # fmt: skip
    form = {"customer": desk.payer()["id"], "start_date": "now", "end_behavior": "cancel"}
    made = desk.post("subscription_schedules", **form, **phases)
    key = made["id"]
    assert (made["status"], len(made["phases"])) == ("active", 2)
    assert made["current_phase"]["end_date"] == made["phases"][1]["start_date"]
    path = f"subscriptions/{made['subscription']}"
    assert desk.get(path)["items"]["data"][0]["price"]["id"] == small
    own_sandbox.advance(65)
    now = desk.get(path, **{"expand[]": "schedule"})
    assert (now["schedule"]["id"], now["items"]["data"][0]["price"]["id"]) == (key, great)
    assert now["items"]["data"][0]["quantity"] == 2
    bills = desk.get("invoices", subscription=made["subscription"])["data"]
    assert [bill["total"] for bill in reversed(bills)] == [100, 1_800, 1_800]
    own_sandbox.advance(35)
    assert desk.get(f"subscription_schedules/{key}")["status"] == "completed"
    assert desk.get(path)["status"] == "canceled"
    assert desk.refused(f"subscription_schedules/{key}/release")[0] == 400


def test_a_schedule_is_made_of_a_subscription_released_and_cancelled(desk: Desk) -> None:
    price = _price(desk, interval="month")
    made = desk.post("subscriptions", customer=desk.payer()["id"], **{"items[0][price]": price})
    schedule = desk.post("subscription_schedules", from_subscription=made["id"])
    assert (schedule["status"], schedule["subscription"]) == ("active", made["id"])
    assert desk.refused("subscription_schedules", from_subscription=made["id"])[0] == 400
    released = desk.post(f"subscription_schedules/{schedule['id']}/release")
    assert (released["status"], released["released_subscription"]) == ("released", made["id"])
    later = {
        "customer": made["customer"],
        "start_date": "2000000000",
        "phases[0][items][0][price]": price,
    }
    coming = desk.post("subscription_schedules", **later)
    assert (coming["status"], coming["subscription"]) == ("not_started", None)
    assert desk.post(f"subscription_schedules/{coming['id']}/cancel")["status"] == "canceled"
    bad = {**later, "phases[0][iterations]": "0"}
    assert desk.refused("subscription_schedules", **bad)[1:] == (
        "parameter_invalid_integer", "phases[0][iterations]",
    )  # fmt: skip
    for form in (
        {},
        {"customer": made["customer"]},
        {**later, "start_date": "9" * 17},
        {**later, "start_date": "9" * 11},
    ):
        assert desk.refused("subscription_schedules", **form)[0] == 400
