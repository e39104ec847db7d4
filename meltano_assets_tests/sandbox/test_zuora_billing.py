"""What Zuora bills of what clients sell, by its contract, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sandbox.zuora_periods import Span, due, next_due
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.test_zuora_writes import BILL_TO, Writer

COLLECT = "/v1/operations/invoice-collect"
#: The day of the company as it is begun.
PRESENT = TODAY - timedelta(days=30)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """A tenant of these tests' own."""
    folder = tmp_path_factory.mktemp("tenant")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.05, today=TODAY) as manifest:
        yield Writer(Sandbox(manifest))


def monthly(writer: Writer, price: int) -> str:
    """A plan of the catalogue that costs so much a month, in advance, on the account's day."""
    product = {"Name": "Box", "EffectiveStartDate": "2020-01-01", "EffectiveEndDate": "2099-01-01"}
    made = writer.told("POST", "/v1/object/product", product)
    told = {"Name": "Monthly", "ProductId": made["Id"]}
    plan = writer.told("POST", "/v1/object/product-rate-plan", told)
    charge = {
        "Name": "Box fee", "ProductRatePlanId": plan["Id"], "ChargeModel": "Flat Fee Pricing",
        "ChargeType": "Recurring", "BillingPeriod": "Month", "BillCycleType": "DefaultFromCustomer",
        "BillingPeriodAlignment": "AlignToCharge", "AccountingCode": "Subscription Revenue",
    }  # fmt: skip
    charged = writer.told("POST", "/v1/object/product-rate-plan-charge", charge)
    writer.prices = {charged["Id"]: price}  # type: ignore[attr-defined]
    return str(plan["Id"])


def begun(writer: Writer, account: str, price: int, **fields: Any) -> dict[str, Any]:
    plan = monthly(writer, price)
    (charge,) = writer.prices  # type: ignore[attr-defined]
    override = {"productRatePlanChargeId": charge, "price": price}
    plans = [{"productRatePlanId": plan, "chargeOverrides": [override]}]
    return writer.subscription(account, subscribeToRatePlans=plans, **fields)


def items(writer: Writer, invoice: str) -> list[tuple[str, str, float]]:
    found = writer.told("GET", f"/v1/invoices/{invoice}/items", pageSize=40)["invoiceItems"]
    return sorted(
        (each["serviceStartDate"], each["serviceEndDate"], each["chargeAmount"]) for each in found
    )


def balance(writer: Writer, account: str) -> float:
    return float(writer.told("GET", f"/v1/accounts/{account}")["metrics"]["balance"])


def test_a_subscription_is_billed_when_it_is_made(writer: Writer) -> None:
    account = writer.account(billCycleDay=1, paymentTerm="Net 30")["accountNumber"]
    made = begun(
        writer, account, 31, contractEffectiveDate="2025-01-21", runBilling=True,
        targetDate="2025-03-01",
    )  # fmt: skip
    invoice = writer.told("GET", f"/v1/invoices/{made['invoiceId']}")
    assert items(writer, invoice["id"]) == [
        ("2025-01-21", "2025-01-31", 11),
        ("2025-02-01", "2025-02-28", 31),
        ("2025-03-01", "2025-03-31", 31),
    ]
    assert (invoice["status"], invoice["amount"], invoice["balance"]) == ("Posted", 73, 73)
    assert (invoice["invoiceDate"], invoice["targetDate"]) == (str(PRESENT), "2025-03-01")
    assert (date.fromisoformat(invoice["dueDate"]) - PRESENT).days == 30
    assert (invoice["source"], invoice["includesRecurring"]) == ("API", True)
    assert balance(writer, account) == 73
    path = f"/v1/subscriptions/{made['subscriptionNumber']}"
    (plan,) = writer.told("GET", path)["ratePlans"]
    assert plan["ratePlanCharges"][0]["chargedThroughDate"] == "2025-04-01"
    # Nothing is billed twice; what follows is.
    told = {"accountKey": account, "targetDate": "2025-03-31"}
    assert writer.told("POST", COLLECT, told)["invoices"] == []
    (more,) = writer.told("POST", COLLECT, {**told, "targetDate": "2025-04-01"})["invoices"]
    assert more["invoiceAmount"] == "31.00"
    zoql = f"select Amount, Balance from Invoice where InvoiceNumber = '{more['invoiceNumber']}'"
    assert writer.rows(zoql)[0]["Balance"] == 31
    assert balance(writer, account) == 104


def test_changes_and_ends_give_back_what_was_billed_beyond_them(writer: Writer) -> None:
    account = writer.account(billCycleDay=1)["accountNumber"]
    made = begun(writer, account, 30, contractEffectiveDate="2025-04-01")
    path = f"/v1/subscriptions/{made['subscriptionNumber']}"
    told = {"accountKey": account, "targetDate": "2025-04-01"}
    writer.told("POST", COLLECT, told)
    (plan,) = writer.told("GET", path)["ratePlans"]
    change = {
        "ratePlanId": plan["id"],
        "contractEffectiveDate": "2025-04-11",
        "chargeUpdateDetails": [
            {"ratePlanChargeId": plan["ratePlanCharges"][0]["id"], "price": 60}
        ],
    }
    billing = {"runBilling": True, "targetDate": "2025-04-11"}
    changed = writer.told("PUT", path, {"update": [change], **billing})
    assert items(writer, changed["invoiceId"]) == [
        ("2025-04-11", "2025-04-30", -20),
        ("2025-04-11", "2025-04-30", 40),
    ]
    (plan,) = writer.told("GET", path)["ratePlans"]
    (charge,) = plan["ratePlanCharges"]
    assert (charge["segment"], charge["price"]) == (2, 60)
    assert charge["effectiveStartDate"] == "2025-04-11"
    gone = {"cancellationPolicy": "SpecificDate", "cancellationEffectiveDate": "2025-04-21"}
    ended = writer.told(
        "PUT", f"{path}/cancel", {**gone, "invoice": True, "targetDate": "2025-05-01"}
    )
    assert items(writer, ended["invoiceId"]) == [("2025-04-21", "2025-04-30", -20)]
    assert balance(writer, account) == 30
    told = {"accountKey": account, "targetDate": "2025-12-01"}
    assert writer.told("POST", COLLECT, told)["invoices"] == []


def test_a_cancellation_at_the_end_of_the_last_bill_gives_nothing_back(writer: Writer) -> None:
    account = writer.account(billCycleDay=1)["accountNumber"]
    made = begun(writer, account, 30, contractEffectiveDate="2025-04-01")
    path = f"/v1/subscriptions/{made['subscriptionNumber']}"
    writer.told("POST", COLLECT, {"accountKey": account, "targetDate": "2025-05-15"})
    gone = {"cancellationPolicy": "EndOfLastInvoicePeriod", "runBilling": True}
    ended = writer.told("PUT", f"{path}/cancel", gone)
    assert ended["cancelledDate"] == "2025-06-01"
    assert "invoiceId" not in ended


def test_accounts_and_orders_bill_what_they_begin(writer: Writer) -> None:
    plan = {"productRatePlanId": writer.plan()["id"]}
    begin = {
        "contractEffectiveDate": "2025-05-01", "termType": "TERMED", "initialTerm": 12,
        "subscribeToRatePlans": [plan],
    }  # fmt: skip
    body = {
        "name": "At once", "currency": "USD", "billToContact": BILL_TO, "subscription": begin,
        "runBilling": True, "collect": True, "targetDate": "2025-05-01",
        "hpmCreditCardPaymentMethodId": "2c92a0fd5e1d2b3c015e1d2b3c4d5e6f",
    }  # fmt: skip
    made = writer.told("POST", "/v1/accounts", body)
    invoice = writer.told("GET", f"/v1/invoices/{made['invoiceId']}")
    assert (invoice["amount"], invoice["balance"]) == (39, 0)
    assert (made["paidAmount"], made["contractedMrr"]) == ("39", "3.25")
    paid = writer.told("GET", f"/v1/payments/{made['paymentId']}")
    assert (paid["amount"], paid["status"]) == (39, "Processed")
    assert balance(writer, made["accountNumber"]) == 0
    action = {
        "type": "CreateSubscription",
        "triggerDates": [{"name": "ContractEffective", "triggerDate": "2025-05-01"}],
        "createSubscription": {"subscribeToRatePlans": [plan]},
    }
    account = writer.account()["accountNumber"]
    order = {
        "orderDate": "2025-05-01",
        "existingAccountNumber": account,
        "subscriptions": [{"orderActions": [action]}],
        "processingOptions": {
            "runBilling": True,
            "billingOptions": {"targetDate": "2025-05-01", "documentDate": "2025-05-02"},
        },
    }
    placed = writer.told("POST", "/v1/orders", order)
    (number,) = placed["invoiceNumbers"]
    assert writer.told("GET", f"/v1/invoices/{number}")["invoiceDate"] == "2025-05-02"
    assert balance(writer, account) == 39
    wrong = {**body, "name": "Never made", "subscription": {**begin, "termType": "SHORT"}}
    assert writer.refused("POST", "/v1/accounts", wrong) == 53200020
    assert not writer.rows("select Id from Account where Name = 'Never made'")


def test_a_bill_run_makes_drafts_which_are_posted_or_given_up(writer: Writer) -> None:
    accounts = [writer.account(billCycleDay=1) for _ in range(2)]
    for account in accounts:
        begun(writer, account["accountNumber"], 30, contractEffectiveDate="2025-04-01")
    filters = [{"filterType": "Account", "accountId": each["accountId"]} for each in accounts]
    asked = {"targetDate": "2025-04-30", "invoiceDate": "2025-04-30", "billRunFilters": filters}
    run = writer.told("POST", "/v1/bill-runs", asked)
    assert run["status"] == "Pending"
    path = f"/v1/bill-runs/{run['id']}"
    assert writer.told("GET", path)["status"] == "Completed"
    source = f"select Status, Amount from Invoice where SourceId = '{run['billRunNumber']}'"
    assert [(r["Status"], r["Amount"]) for r in writer.rows(source)] == [("Draft", 30)] * 2
    assert balance(writer, accounts[0]["accountNumber"]) == 0
    assert writer.told("PUT", f"{path}/cancel", {})["status"] == "Canceled"
    assert {row["Status"] for row in writer.rows(source)} == {"Canceled"}
    assert writer.told("DELETE", path)["id"] == run["id"]
    assert writer.refused("GET", path) == 50000040
    # What was given up is due again.
    again = writer.told("POST", "/v1/bill-runs", asked)
    posted = writer.told("PUT", f"/v1/bill-runs/{again['billRunNumber']}/post", {})
    assert posted["status"] == "Posted"
    assert [balance(writer, each["accountNumber"]) for each in accounts] == [30, 30]
    assert writer.refused("PUT", f"/v1/bill-runs/{again['id']}/cancel", {}) == 58490030
    assert writer.refused("POST", "/v1/bill-runs", {"billRunFilters": filters}) == 58490020


def test_documents_are_drafted_posted_and_deleted(writer: Writer) -> None:
    account = writer.account(billCycleDay=1)["accountNumber"]
    begun(writer, account, 30, contractEffectiveDate="2025-04-01")
    path = f"/v1/accounts/{account}/billing-documents/generate"
    asked = {"targetDate": "2025-04-01", "effectiveDate": "2025-04-01"}
    (draft,) = writer.told("POST", path, asked)["invoices"]
    assert writer.told("POST", path, asked)["invoices"] == []
    assert writer.told("DELETE", f"/v1/invoices/{draft['id']}")["id"] == draft["id"]
    (draft,) = writer.told("POST", path, asked)["invoices"]
    both = {"invoices": [{"id": draft["id"]}, {"id": "no"}]}
    results = writer.told("POST", "/v1/invoices/bulk-post", both)["invoices"]
    assert [each["success"] for each in results] == [True, False]
    assert balance(writer, account) == 30
    assert writer.refused("PUT", f"/v1/invoices/{draft['id']}/post", {}) == 59210020
    collected = writer.told("POST", COLLECT, {"accountKey": account, "invoiceId": draft["id"]})
    assert collected["amountCollected"] == "0"


def test_nights_bill_and_renew_what_clients_sold(tmp_path: Path) -> None:
    where: dict[str, Any] = {"state_dir": tmp_path, "seed": 7, "scale": 0.05, "today": TODAY}
    with serve_in_thread(**where) as manifest:
        writer = Writer(Sandbox(manifest))
        account = writer.account(billCycleDay=PRESENT.day)["accountNumber"]
        made = begun(
            writer, account, 30, contractEffectiveDate=str(PRESENT), runBilling=True, initialTerm=1,
            renewalTerm=1, autoRenew=True,
        )  # fmt: skip
        assert made["invoiceId"]
        writer.sandbox.advance(20)
        assert balance(writer, account) == 30
    with serve_in_thread(**where) as manifest:
        writer = Writer(Sandbox(manifest))
        writer.sandbox.advance(45)
        assert balance(writer, account) == 90
        found = writer.told("GET", f"/v1/transactions/invoices/accounts/{account}")["invoices"]
        dates = sorted(each["invoiceDate"] for each in found)
        assert [date.fromisoformat(each).day for each in dates] == [PRESENT.day] * 3
        assert {each["source"] for each in found} == {"API", "BillRun"}
        renewed = writer.told("GET", f"/v1/subscriptions/{made['subscriptionNumber']}")
        assert (renewed["status"], renewed["version"]) == ("Active", 3)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COLLECT, {}),
        (COLLECT, {"accountKey": {"a": 1}, "targetDate": 5}),
        (COLLECT, {"accountKey": "no", "invoiceId": ["x"]}),
        ("/v1/bill-runs", {"targetDate": "9999-12-31"}),
        ("/v1/bill-runs", {"targetDate": "2025-01-01", "billRunFilters": [{"accountId": None}]}),
        ("/v1/invoices/bulk-post", {"invoices": "all"}),
        ("/v1/accounts/no/billing-documents/generate", {}),
        ("/v1/operations/nothing", {}),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    writer: Writer, path: str, body: dict[str, object]
) -> None:
    answer = writer.send("POST", path, body)
    assert answer.status_code < 500
    assert answer.json()["success"] is False


@pytest.mark.parametrize(
    "dates", [{"targetDate": "soon"}, {"invoiceTargetDate": "9999-12-31"}], ids=str
)
def test_a_bill_that_cannot_be_leaves_no_sale(writer: Writer, dates: dict[str, str]) -> None:
    """By any call that sells: it is judged before anything is written."""
    account = writer.account(billCycleDay=1)["accountNumber"]
    number = "A-S-UNBILLED"
    product = {"productRatePlanId": monthly(writer, 5)}
    sale = {"subscriptionNumber": number, "subscribeToRatePlans": [product]}
    sold = {"accountKey": account, **sale, "runBilling": True, **dates}
    action = {"type": "CreateSubscription", "createSubscription": sale}
    order = {
        "orderDate": "2025-01-01", "existingAccountNumber": account,
        "subscriptions": [{"orderActions": [action]}],
        "processingOptions": {"runBilling": True, "billingOptions": {"targetDate": "soon"}},
    }  # fmt: skip
    opened = {"name": "Later", "currency": "USD", "billToContact": BILL_TO, "subscription": sale}
    for path, body in (
        ("/v1/subscriptions", sold),
        ("/v1/orders", order),
        ("/v1/accounts", {**opened, "accountNumber": "A-UNBILLED", "runBilling": True, **dates}),
    ):
        assert writer.send("POST", path, body).json()["success"] is False, path
    assert writer.send("GET", f"/v1/subscriptions/{number}").json()["success"] is False
    assert writer.send("GET", "/v1/accounts/A-UNBILLED").json()["success"] is False


def test_terms_end_before_the_calendar_does(writer: Writer) -> None:
    account = writer.account(billCycleDay=1)["accountNumber"]
    long = {"renewalTerm": 1_200, "renewalTermPeriodType": "Year"}
    number = begun(writer, account, 5, **long)["subscriptionNumber"]
    for _ in range(8):
        answer = writer.send("PUT", f"/v1/subscriptions/{number}/renew", {})
        assert answer.status_code < 500
    assert answer.json()["success"] is False


def charge(**fields: object) -> dict[str, object]:
    return {
        "ChargeType": "Recurring", "BillingPeriod": "Month", "Quantity": Decimal(1),
        "EffectiveStartDate": date(2024, 1, 31), "EffectiveEndDate": date(2025, 1, 31), **fields,
    }  # fmt: skip


def test_periods_keep_the_day_of_the_month() -> None:
    found = due(charge(), Decimal(10), 31, date(2024, 1, 31), date(2024, 4, 30))
    assert [(each.start.day, each.end.day) for each in found] == [
        (31, 29),
        (29, 31),
        (31, 30),
        (30, 31),
    ]
    assert {each.amount for each in found} == {Decimal("10.00")}


def test_a_charge_of_one_time_is_billed_once_and_kept() -> None:
    once = charge(ChargeType="OneTime", Quantity=Decimal(3))
    start, end = date(2024, 1, 31), date(2024, 2, 1)
    assert due(once, Decimal(5), 1, start, start) == [Span(start, end, Decimal("15.00"))]
    billed = {**once, "ChargedThroughDate": end, "EffectiveEndDate": start}
    assert due(billed, Decimal(5), 1, start, date(2030, 1, 1)) == []
    assert (next_due(once), next_due(billed)) == (start, None)


@pytest.mark.parametrize(
    ("base", "period", "amount"),
    [("Per Month", "Annual", 120), ("Per Year", "Quarter", 3), (None, "Semi_Annual", 10)],
)
def test_a_list_price_is_for_its_base(base: str | None, period: str, amount: int) -> None:
    price = Decimal(12) if base == "Per Year" else Decimal(10)
    told = charge(ListPriceBase=base, BillingPeriod=period, EffectiveEndDate=None)
    assert due(told, price, 31, date(2024, 1, 31), date(2024, 1, 31))[0].amount == amount


def counts(writer: Writer) -> list[int]:
    kinds = ("Subscription", "Invoice", "InvoiceItem", "Account", "RatePlanCharge")
    return [len(writer.rows(f"select Id from {kind}")) for kind in kinds]


def test_what_will_be_billed_is_previewed(writer: Writer) -> None:
    account = writer.account(billCycleDay=1)["accountNumber"]
    made = begun(writer, account, 31, contractEffectiveDate="2025-04-01")
    before = counts(writer)
    asked = {"accountNumber": account, "targetDate": "2025-05-01"}
    told = writer.told("POST", "/v1/operations/billing-preview", asked)
    seen = [
        (i["serviceStartDate"], i["serviceEndDate"], i["chargeAmount"])
        for i in told["invoiceItems"]
    ]
    assert seen == [("2025-04-01", "2025-04-30", 31), ("2025-05-01", "2025-05-31", 31)]
    assert {i["subscriptionNumber"] for i in told["invoiceItems"]} == {made["subscriptionNumber"]}
    of_one = writer.told(
        "POST",
        f"/v1/subscriptions/{made['subscriptionNumber']}/preview",
        {"targetDate": "2025-05-01"},
    )
    assert of_one["amount"] == 62
    assert counts(writer) == before
    # It comes true.
    (bill,) = writer.told("POST", COLLECT, {"accountKey": account, "targetDate": "2025-05-01"})[
        "invoices"
    ]
    assert bill["invoiceAmount"] == "62.00"
    again = writer.told("POST", "/v1/operations/billing-preview", asked)
    assert again["invoiceItems"] == []
    end = made_end(writer, made)
    beyond = {**asked, "targetDate": str(end + timedelta(days=40))}
    plain = writer.told("POST", "/v1/operations/billing-preview", beyond)["invoiceItems"]
    renewed = writer.told(
        "POST", "/v1/operations/billing-preview", {**beyond, "assumeRenewal": "All"}
    )
    assert len(renewed["invoiceItems"]) > len(plain)
    assert made_end(writer, made) == end
    asked.pop("targetDate")
    assert writer.refused("POST", "/v1/operations/billing-preview", asked) == 58490020


def made_end(writer: Writer, made: dict[str, Any]) -> date:
    path = f"/v1/subscriptions/{made['subscriptionNumber']}"
    return date.fromisoformat(writer.told("GET", path)["termEndDate"])


def test_sales_are_previewed_without_being_made(writer: Writer) -> None:
    plan = monthly(writer, 31)
    (charge,) = writer.prices  # type: ignore[attr-defined]
    account = writer.account(billCycleDay=1)["accountNumber"]
    sale = {
        "termType": "TERMED", "initialTerm": 12, "renewalTerm": 12,
        "contractEffectiveDate": "2025-04-01", "targetDate": "2025-05-01",
        "subscribeToRatePlans": [
            {"productRatePlanId": plan,
             "chargeOverrides": [{"productRatePlanChargeId": charge, "price": 31}]}
        ],
    }  # fmt: skip
    before = counts(writer)
    for who in (
        {"accountKey": account},
        {"previewAccountInfo": {"billCycleDay": 1, "currency": "USD"}},
    ):
        told = writer.told("POST", "/v1/subscriptions/preview", {**sale, **who})
        assert (told["amount"], told["contractedMrr"]) == (62, 31)
        assert [item["chargeName"] for item in told["invoiceItems"]] == ["Box fee", "Box fee"]
    create = {
        "type": "CreateSubscription",
        "triggerDates": [{"name": "ContractEffective", "triggerDate": "2025-04-01"}],
        "createSubscription": {
            "terms": {"initialTerm": {"period": 12, "periodType": "Month", "termType": "TERMED"}},
            "subscribeToRatePlans": sale["subscribeToRatePlans"],
        },
    }  # fmt: skip
    order = {
        "orderDate": "2025-04-01", "existingAccountNumber": account,
        "subscriptions": [{"orderActions": [create]}],
        "previewOptions": {
            "previewTypes": ["BillingDocs", "ChargeMetrics"], "previewThruType": "SpecificDate",
            "specificPreviewThruDate": "2025-05-01",
        },
    }  # fmt: skip
    result = writer.told("POST", "/v1/orders/preview", order)["previewResult"]
    assert [invoice["amount"] for invoice in result["invoices"]] == [62]
    assert result["chargeMetrics"][0]["cmrr"] == 31
    assert counts(writer) == before
    assert balance(writer, account) == 0
    order.pop("previewOptions")
    assert writer.refused("POST", "/v1/orders/preview", order) == 53400020


def test_a_draft_is_generated_and_posted_by_the_older_calls(writer: Writer) -> None:
    known = writer.account(billCycleDay=1)
    account, key = known["accountNumber"], known["accountId"]
    begun(writer, account, 31, contractEffectiveDate="2025-04-01")
    asked = {"AccountId": key, "InvoiceDate": "2025-05-01", "TargetDate": "2025-05-01"}
    body = {
        "objects": [asked, asked, {"AccountId": "x", "TargetDate": "2025-05-01"}],
        "type": "Invoice",
    }
    made, nothing, nobody = writer.told_list("POST", "/v1/action/generate", body)
    assert made["Success"] is True
    assert [each["Success"] for each in (nothing, nobody)] == [False, False]
    path = f"/v1/object/invoice/{made['Id']}"
    draft = writer.told("GET", path)
    assert (draft["Status"], draft["Amount"], draft["Balance"]) == ("Draft", 62, 0)
    assert balance(writer, account) == 0
    assert writer.told("PUT", path, {"Status": "Posted"})["Success"] is True
    posted = writer.told("GET", path)
    assert (posted["Status"], posted["Balance"]) == ("Posted", 62)
    assert balance(writer, account) == 62
    assert writer.told("PUT", path, {"Status": "Posted"})["Success"] is True
    assert balance(writer, account) == 62
    assert writer.told("PUT", path, {"Status": "Draft"})["Success"] is True
    assert balance(writer, account) == 0
    assert writer.told("PUT", path, {"Status": "Canceled"})["Success"] is True
    refused = writer.send("PUT", path, {"Status": "Posted"}).json()
    assert (refused["Success"], refused["Errors"][0]["Code"]) == (False, "INVALID_VALUE")
    assert writer.told("GET", path)["Status"] == "Canceled"
    wrong = {**body, "type": "Payment"}
    assert writer.send("POST", "/v1/action/generate", wrong).status_code == 400
