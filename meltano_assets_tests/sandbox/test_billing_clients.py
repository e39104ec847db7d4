"""Other people's clients against the simulated Zuora and Stripe, unchanged (W2).

Each is installed from the index into an environment of its own, so these tests are slow.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import SCALE, SEED, TODAY, Sandbox
from meltano_assets_tests.sandbox.other_environment import installed
from meltano_assets_tests.sandbox.vendor_address import as_vendor

pytestmark = pytest.mark.slow
ZUORA_HOSTS = ("rest.zuora.com", "rest.na.zuora.com")


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def synced(
    tap: Path,
    config: dict[str, Any],
    streams: set[str],
    folder: Path,
    environment: dict[str, str],
    option: str = "--catalog",
) -> Counter[str]:
    """Records by stream that the tap delivers after its own discovery; ``option`` names the catalog."""
    settings, catalog = folder / "config.json", folder / "catalog.json"
    settings.write_text(json.dumps(config))
    found = json.loads(run([str(tap), "-c", str(settings), "--discover"], environment))
    for stream in found["streams"]:
        for entry in stream["metadata"]:
            usable = entry["metadata"].get("inclusion") != "unsupported"
            entry["metadata"]["selected"] = usable and stream["stream"] in streams
    catalog.write_text(json.dumps(found))
    out = run([str(tap), "-c", str(settings), option, str(catalog)], environment)
    messages = [json.loads(line) for line in out.splitlines()]
    return Counter(m["stream"] for m in messages if m["type"] == "RECORD")


def test_tap_zuora_by_both_of_its_ways(sandbox: Sandbox, tmp_path: Path) -> None:
    known = sandbox.manifest["zuora"]
    truths = sandbox.truths()["billing"]["records"]
    tap = installed(tmp_path, "tap-zuora==1.6.1") / "tap-zuora"
    wanted = {"Account", "Contact", "RatePlanCharge", "Invoice"}
    oauth = {
        "username": known["client_id"],
        "password": known["client_secret"],
        "auth_type": "OAUTH",
        "api_type": "REST",
        "start_date": "2022-01-01T00:00:00Z",
    }
    aqua = {
        **oauth,
        "username": known["username"],
        "password": known["password"],
        "auth_type": "BASIC",
        "api_type": "AQUA",
        "partner_id": known["partner_id"],
    }
    with as_vendor(str(known["base_url"]), ZUORA_HOSTS, tmp_path) as environment:
        for config in (oauth, aqua):
            counts = synced(tap, config, wanted, tmp_path, environment)
            assert counts == {name: truths[name] for name in wanted}, config["api_type"]


_ZUORA_SDK = """
import json, os, sys, time
import zuora_sdk as z
from zuora_sdk.zuora_client import ZuoraClient
base, key, secret = sys.argv[1:]
client = ZuoraClient(key, secret, env=None, config=z.Configuration(host=base))
client.initialize()
job = client.aggregate_queries_api().create_batch_query(z.CreateBatchQueryJobRequest(
    format="csv", version="1.0", name="read", encrypted="none",
    queries=[z.CreateBatchQueryRequest(name="Account", query="select Id, Name from Account",
                                          type="zoqlexport")]))
while not str((job := client.aggregate_queries_api().get_batch_query_job(job.id)).status).endswith(
    ("completed", "COMPLETED")
):
    time.sleep(0.05)
queries = client.data_queries_api()
data = queries.post_data_query_job(z.SubmitDataQueryRequest(
    query="select id from account", output_format="JSON", compression="NONE",
    output=z.SubmitDataQueryRequestOutput(target="S3"))).data
while queries.get_data_query_job(data.id).data.query_status not in ("completed", "failed"):
    time.sleep(0.05)
done = queries.get_data_query_job(data.id).data
objects = client.object_queries_api()
seen, cursor = [], None
while True:
    page = objects.query_accounts(page_size=3, cursor=cursor, expand=["billTo"])
    seen += page.data
    cursor = page.next_page
    if not cursor:
        break
plan = objects.query_product_rate_plans(page_size=1).data[0].id
made = client.accounts_api().create_account(z.CreateAccountRequest(
    name="New", currency="USD", bill_cycle_day=1, bill_to_contact=z.CreateAccountContact(
        first_name="A", last_name="B", country="Germany")))
terms = {"initialTerm": {"period": 12, "periodType": "Month", "termType": "TERMED"},
         "renewalTerms": [{"period": 12, "periodType": "Month"}]}
begin = {"subscribeToRatePlans": [{"productRatePlanId": plan}], "terms": terms}
order = client.orders_api().create_order(z.CreateOrderRequest(
    order_date="2025-01-01", existing_account_number=made.account_number,
    subscriptions=[z.CreateOrderSubscription(order_actions=[
        z.CreateOrderAction(type="CreateSubscription", create_subscription=begin)])]))
subscriptions = client.subscriptions_api()
begun = subscriptions.get_subscription_by_key(order.subscription_numbers[0])
subscriptions.cancel_subscription(begun.subscription_number, z.CancelSubscriptionRequest(
    cancellation_policy="EndOfCurrentTerm"))
ended = subscriptions.get_subscription_by_key(begun.subscription_number)
print(json.dumps({
    "objects": len({each.id for each in seen}),
    "contacts": sum(each.bill_to is not None for each in seen),
    "account": client.accounts_api().get_account(made.account_id).basic_info.name,
    "order": client.orders_api().get_order(order.order_number).order.status.lower(),
    "statuses": [begun.status, ended.status],
    "exported": job.batches[0].record_count,
    "queried": int(done.output_rows),
    "listed": queries.get_data_query_jobs().data[0].id == data.id,
}), flush=True)
os._exit(0)
"""


def test_the_official_client_of_zuora(tmp_path: Path) -> None:
    python = installed(tmp_path, "zuora-sdk==3.21.0") / "python"
    with serve_in_thread(state_dir=tmp_path / "state", seed=SEED, scale=SCALE, today=TODAY) as made:
        known = made["zuora"]
        accounts = Sandbox(made).truths()["billing"]["records"]["Account"]
        address = [str(known[name]) for name in ("base_url", "client_id", "client_secret")]
        told = json.loads(run([str(python), "-c", _ZUORA_SDK, *address], {}).splitlines()[-1])
    assert told == {
        "exported": accounts,
        "queried": accounts,
        "listed": True,
        "objects": accounts,
        "contacts": accounts,
        "account": "New",
        "order": "completed",
        "statuses": ["Active", "Cancelled"],
    }


def test_tap_stripe(sandbox: Sandbox, tmp_path: Path) -> None:
    known = sandbox.manifest["stripe"]
    truths = sandbox.truths()["self_serve"]["records"]
    tap = installed(tmp_path, "tap-stripe==3.3.0") / "tap-stripe"
    config = {
        "client_secret": known["api_key"],
        "account_id": "acct_1MeltanoSandbox00",
        "start_date": "2022-01-01T00:00:00Z",
    }
    wanted = {"charges", "customers", "invoices", "subscriptions", "disputes", "products"}
    with as_vendor(str(known["base_url"]), ("api.stripe.com",), tmp_path) as environment:
        counts = synced(tap, config, wanted, tmp_path, environment)
    assert counts == {name: truths[name.removesuffix("s")] for name in wanted}


_STRIPE = """
import json, sys, stripe
base, key = sys.argv[1:]
client = stripe.StripeClient(key, base_addresses={"api": base})
v1 = client.v1
long = [i for i in v1.invoices.list({"limit": 100}).auto_paging_iter() if i.lines.has_more]
errors = []
for call in (
    lambda: v1.charges.retrieve("ch_no"),
    lambda: v1.charges.list({"limit": 1000}),
    lambda: stripe.StripeClient("sk_no", base_addresses={"api": base}).v1.balance.retrieve(),
):
    try:
        call()
    except stripe.StripeError as error:
        errors.append([type(error).__name__, error.code])
print(json.dumps({
    "customers": len(list(v1.customers.list({"limit": 3}).auto_paging_iter())),
    "lines": len(list(long[0].lines.auto_paging_iter())),
    "events": len(v1.events.list({"types": ["invoice.paid"], "created": {"gte": 0}}).data),
    "errors": errors,
}))
"""


def test_the_official_client_of_stripe(sandbox: Sandbox, tmp_path: Path) -> None:
    known = sandbox.manifest["stripe"]
    python = installed(tmp_path, "stripe==16.1.0") / "python"
    command = [str(python), "-c", _STRIPE, str(known["base_url"]), str(known["api_key"])]
    told = json.loads(run(command, {}))
    assert told["customers"] == sandbox.truths()["self_serve"]["records"]["customer"]
    assert (told["lines"], told["events"]) == (12, 10)
    assert told["errors"] == [
        ["InvalidRequestError", "resource_missing"],
        ["InvalidRequestError", "parameter_invalid_integer"],
        ["AuthenticationError", None],
    ]


_STRIPE_WRITES = """
import json, sys, stripe
base, key, control = sys.argv[1:]
client = stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=2)
v1 = client.v1

def arm(kind):
    import urllib.request
    body = json.dumps({"service": "stripe", "kind": kind}).encode()
    urllib.request.urlopen(urllib.request.Request(control + "/faults", body)).read()

ada = v1.customers.create({
    "name": "Ada", "email": "ada@example.com", "address": {"city": "Berlin"},
    "metadata": {"tier": "gold"}, "payment_method": "pm_card_visa",
})
method = v1.customers.payment_methods.list(ada.id).data[0]
ada = v1.customers.update(ada.id, {"invoice_settings": {"default_payment_method": method.id}})
product = v1.products.create({
    "name": "Seat",
    "default_price_data": {"currency": "usd", "unit_amount": 1500, "recurring": {"interval": "month"}},
    "expand": ["default_price"],
})
subscription = v1.subscriptions.create({
    "customer": ada.id, "items": [{"price": product.default_price.id, "quantity": 2}],
    "expand": ["latest_invoice.payments"],
})
invoice = v1.invoices.create({"customer": ada.id, "auto_advance": False})
v1.invoice_items.create({"customer": ada.id, "invoice": invoice.id, "amount": 250, "currency": "usd"})
invoice = v1.invoices.pay(invoice.id)
# The answer is lost after the payment was made: the client asks again with the key it made up.
before = len(list(v1.payment_intents.list({"customer": ada.id}).auto_paging_iter()))
arm("drop_after")
intent = v1.payment_intents.create({
    "amount": 990, "currency": "eur", "customer": ada.id, "payment_method": method.id, "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
})
made = len(list(v1.payment_intents.list({"customer": ada.id}).auto_paging_iter())) - before
refund = v1.refunds.create({"payment_intent": intent.id, "amount": 90, "reason": "duplicate"})
errors = []
options = {"idempotency_key": "mine"}
v1.customers.create({"name": "One"}, options)
for call in (
    lambda: v1.customers.create({"name": "Two"}, options),
    lambda: v1.payment_intents.create({"amount": 500, "currency": "usd", "confirm": True,
        "payment_method": "pm_card_visa_chargeDeclined"}),
    lambda: v1.customers.create({"colour": "red"}),
    lambda: v1.refunds.create({"charge": "ch_no"}),
    lambda: v1.topups.create({"amount": 500, "currency": "usd"}),
):
    try:
        call()
    except stripe.StripeError as error:
        errors.append([type(error).__name__, error.http_status, error.code])
coupon = v1.coupons.create({"percent_off": 20})
code = v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
bill = v1.invoices.create({"customer": ada.id, "currency": "usd", "discounts": [{"promotion_code": code.id}]})
v1.invoice_items.create({"customer": ada.id, "invoice": bill.id, "amount": 500, "currency": "usd"})
bill = v1.invoices.pay(bill.id, {"expand": ["discounts.promotion_code"]})
note = v1.credit_notes.create({"invoice": bill.id, "amount": 100, "refund_amount": 60, "credit_amount": 40})
v1.subscriptions.cancel(subscription.id)
gone = v1.customers.delete(ada.id)
events = [e.type for e in v1.events.list({"types": ["customer.*"], "limit": 3}).data]
print(json.dumps({
    "subscription": [subscription.status, subscription.latest_invoice.amount_paid,
                     subscription.latest_invoice.payments.data[0].status],
    "invoice": [invoice.status, invoice.amount_paid], "made": made,
    "intent": [intent.status, intent.amount_received, intent.last_response.headers.get("Idempotent-Replayed")],
    "cut": [bill.total, bill.discounts[0].source.coupon == coupon.id, bill.discounts[0].promotion_code.id == code.id],
    "note": [note.type, note.refunds[0].amount_refunded],
    "refund": [refund.status, refund.amount], "errors": errors, "gone": gone.deleted, "events": events,
}))
"""


def test_the_official_client_of_stripe_writes(own_sandbox: Sandbox, tmp_path: Path) -> None:
    known = own_sandbox.manifest["stripe"]
    python = installed(tmp_path, "stripe==16.1.0") / "python"
    address = [str(known["base_url"]), str(known["api_key"]), own_sandbox.control]
    told = json.loads(run([str(python), "-c", _STRIPE_WRITES, *address], {}))
    assert told == {
        "subscription": ["active", 3000, "paid"],
        "invoice": ["paid", 250],
        "made": 1,
        "intent": ["succeeded", 990, "true"],
        "cut": [400, True, True],
        "note": ["post_payment", 100],
        "refund": ["succeeded", 90],
        "errors": [
            ["IdempotencyError", 400, None],
            ["CardError", 402, "card_declined"],
            ["InvalidRequestError", 400, "parameter_unknown"],
            ["InvalidRequestError", 404, "resource_missing"],
            ["PermissionError", 403, None],
        ],
        "gone": True,
        "events": ["customer.deleted", "customer.subscription.deleted", "customer.created"],
    }
