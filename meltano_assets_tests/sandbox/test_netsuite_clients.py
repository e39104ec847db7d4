"""Other people's clients against the simulated NetSuite, unchanged (W2): netsuitesdk and netsuite.

Each lives in an environment of its own. netsuitesdk is told the sandbox's address in place of the
vendor's, which it spells out in two constants; netsuite comes through a proxy that ends TLS.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import SCALE, SEED, TODAY
from meltano_assets_tests.sandbox.other_environment import installed
from meltano_assets_tests.sandbox.tls_proxy import tls_proxy

pytestmark = pytest.mark.slow

PACKAGE = "netsuitesdk==3.3.0"
REST_PACKAGE = "netsuite[rest_api]==0.12.0"
SCRIPT = """
import json, sys
from netsuitesdk.internal.client import NetSuiteClient
known = json.loads(sys.stdin.read())
base = known["base_url"]
NetSuiteClient.WSDL_URL_TEMPLATE = base + "/wsdl/{wsdl_version}/netsuite.wsdl"
NetSuiteClient.DATACENTER_URL_TEMPLATE = base + "/services/{netsuite_port_version}"
from netsuitesdk import NetSuiteConnection

def connect(**wrong):
    return NetSuiteConnection(**{
        "account": known["account"], "consumer_key": known["consumer_key"],
        "consumer_secret": known["consumer_secret"], "token_key": known["token_id"],
        "token_secret": known["token_secret"], "caching": False,
        "search_body_fields_only": False, "page_size": 25, **wrong,
    })

sdk = connect()
found = {"currencies": len(sdk.currencies.get_all())}
for name in ("accounts", "customers", "departments", "employees", "expense_categories", "items",
             "locations", "projects", "subsidiaries", "terms", "vendors"):
    found[name] = sum(len(page) for page in getattr(sdk, name).get_all_generator())
bills = list(sdk.vendor_bills.get_all_generator())
found["vendor_bills"] = len(bills)
found["bill_lines"] = sum(len(bill.expenseList.expense) for bill in bills)
found["journal_entries"] = len(list(sdk.journal_entries.get_all_generator()))
found["vendor_payments"] = len(list(sdk.vendor_payments.get_all_generator()))
found["counted"] = sdk.accounts.count()
vendor = next(iter(sdk.vendors.get_all_generator()))[0]
found["got"] = sdk.vendors.get(internalId=vendor.internalId).entityId == vendor.entityId
found["searched"] = len(sdk.vendors.search("entityId", vendor.entityId, "is"))
account = next(iter(sdk.accounts.get_all_generator()))[0].internalId
bill = {"externalId": "bill-new", "entity": {"internalId": vendor.internalId}, "memo": "new",
        "subsidiary": {"internalId": "1"}, "currency": {"internalId": "1"},
        "expenseList": [{"account": {"internalId": account}, "amount": 12.5}]}
made = sdk.vendor_bills.post(dict(bill))
found["posted"] = sdk.vendor_bills.get(externalId="bill-new").userTotal
found["again"] = sdk.vendor_bills.post(dict(bill))["internalId"] == made["internalId"]
sdk.client.delete("vendorBill", internalId=made["internalId"])
errors = {}
for name, ask in {
    "missing": lambda: sdk.vendors.get(internalId="999999"),
    "deleted": lambda: sdk.vendor_bills.get(externalId="bill-new"),
    "login": lambda: connect(token_secret="wrong").currencies.get_all(),
}.items():
    try:
        ask()
    except Exception as error:
        errors[name] = f"{type(error).__name__}: {error}"
print(json.dumps({"found": found, "errors": errors}))
"""


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the client in it; skips where the index cannot be reached."""
    return installed(tmp_path_factory.mktemp("netsuitesdk"), PACKAGE) / "python"


def run(python: Path, settings: dict[str, object]) -> Any:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [str(python), "-c", SCRIPT], input=json.dumps(settings), capture_output=True, text=True,
        check=False, env=environ,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_netsuitesdk_reads_the_company(other_python: Path, tmp_path: Path) -> None:
    with serve_in_thread(state_dir=tmp_path, seed=SEED, scale=SCALE, today=TODAY) as manifest:
        answer = run(other_python, manifest["netsuite"])
        company = Company(SEED, SCALE, TODAY)
        state = company.books(0).state(company.now(0))
    found, errors = answer["found"], answer["errors"]
    assert found["customers"] == len(state["Customer"])
    assert found["vendor_bills"] == len(state["VendorBill"])
    assert found["bill_lines"] == sum(
        len(bill["expenseList"])  # type: ignore[arg-type]
        for bill in state["VendorBill"].values()
    )
    assert found["journal_entries"] == len(state["JournalEntry"])
    assert found["vendor_payments"] == len(state["VendorPayment"])
    assert found["accounts"] == found["counted"] == len(state["Account"])
    assert (found["currencies"], found["locations"], found["projects"]) == (3, 0, 0)
    assert (found["got"], found["searched"]) == (True, 1)
    assert (found["posted"], found["again"]) == (12.5, True)
    assert "RCRD_DSNT_EXIST" in errors["missing"]
    assert "RCRD_DSNT_EXIST" in errors["deleted"]
    assert errors["login"].startswith("NetSuiteLoginError")


REST_SCRIPT = """
import asyncio, json, sys
from netsuite import Config, NetSuite, TokenAuth
known = json.loads(sys.stdin.read())

def api(**wrong):
    names = ("consumer_key", "consumer_secret", "token_id", "token_secret")
    auth = TokenAuth(**{**{name: known[name] for name in names}, **wrong})
    return NetSuite(Config(account=known["account"], auth=auth)).rest_api

async def work():
    rest, found, errors = api(), {}, {}
    for kind in ("account", "customer", "invoice", "vendorBill", "contact"):
        page = await rest.get(f"/record/v1/{kind}", params={"limit": 1})
        found[kind] = page["totalResults"]
    rows, offset = [], 0
    while True:
        page = await rest.suiteql("SELECT id, entityid FROM customer ORDER BY id", 10, offset)
        rows += page["items"]
        offset += 10
        if not page["hasMore"]:
            break
    found["rows"] = len(rows)
    await rest.post("/record/v1/customer", json={"companyName": "A", "externalId": "new"})
    await rest.patch("/record/v1/customer/eid:new", json={"phone": "1"})
    found["phone"] = (await rest.get("/record/v1/customer/eid:new"))["phone"]
    await rest.delete("/record/v1/customer/eid:new")
    found["fields"] = len((await rest.jsonschema("customer"))["properties"])
    found["paths"] = len((await rest.openapi(["customer"]))["paths"])
    for name, ask in {
        "missing": lambda: rest.get("/record/v1/customer/eid:new"),
        "query": lambda: rest.suiteql("SELECT x FROM nowhere"),
        "login": lambda: api(token_secret="wrong").get("/record/v1/customer"),
    }.items():
        try:
            await ask()
        except Exception as error:
            errors[name] = str(error)
    print(json.dumps({"found": found, "errors": errors}))

asyncio.run(work())
"""


def test_netsuite_reads_and_writes_by_rest(tmp_path: Path) -> None:
    bin_folder = installed(tmp_path / "netsuite", REST_PACKAGE)
    with serve_in_thread(state_dir=tmp_path, seed=SEED, scale=SCALE, today=TODAY) as manifest:
        known = manifest["netsuite"]
        host = f"{str(known['account']).lower().replace('_', '-')}.suitetalk.api.netsuite.com"
        with tls_proxy({host: str(known["base_url"])}, tmp_path / "tls") as proxy:
            ran = subprocess.run(
                [str(bin_folder / "python"), "-c", REST_SCRIPT], input=json.dumps(known),
                capture_output=True, text=True, check=False, timeout=300,
                env={"PATH": os.environ["PATH"], **proxy.environment},
            )  # fmt: skip
        assert ran.returncode == 0, ran.stderr[-4000:]
        answer = json.loads(ran.stdout.splitlines()[-1])
        company = Company(SEED, SCALE, TODAY)
        state = company.books(0).state(company.now(0))
    found, errors = answer["found"], answer["errors"]
    for name, kind in {
        "account": "Account", "customer": "Customer", "invoice": "Invoice",
        "vendorBill": "VendorBill", "rows": "Customer",
    }.items():  # fmt: skip
        assert found[name] == len(state[kind]), name
    assert (found["contact"], found["phone"], found["paths"]) == (0, "1", 2)
    assert found["fields"] > 50
    assert "NONEXISTENT_ID" in errors["missing"]
    assert "Record 'nowhere' was not found" in errors["query"]
    assert "INVALID_LOGIN" in errors["login"]
