"""The simulated Zuora as its API reference has it (W1, W2, W3)."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox


class Tenant:
    """The tenant of a running sandbox, logged in."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.known = sandbox.manifest["zuora"]
        self.base = str(self.known["base_url"])
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.token()}"

    def token(self) -> str:
        form = {name: self.known[name] for name in ("client_id", "client_secret")}
        answer = requests.post(
            f"{self.base}/oauth/token",
            data={**form, "grant_type": "client_credentials"},
            timeout=10,
        )
        assert answer.status_code == 200
        assert answer.json()["token_type"] == "bearer"
        return str(answer.json()["access_token"])

    def post(self, path: str, body: object) -> requests.Response:
        return self.session.post(f"{self.base}{path}", json=body, timeout=10)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(f"{self.base}{path}", timeout=10, **options)

    def zoql(self, text: str, **conf: object) -> dict[str, Any]:
        body: dict[str, object] = {"queryString": text}
        if conf:
            body["conf"] = conf
        return dict(self.post("/v1/action/query", body).json())

    def order(self, query: str, **options: object) -> dict[str, Any]:
        deleted = options.pop("deleted", None)
        asked = {"name": "q", "query": query, "type": "zoqlexport"}
        body = {
            "format": "csv",
            "version": "1.2",
            "name": "test",
            "encrypted": "none",
            "useQueryLabels": "true",
            "dateTimeUtc": "true",
            **options,
            "queries": [{**asked, **({"deleted": deleted} if deleted else {})}],
        }
        return dict(self.post("/v1/batch-query/", body).json())

    def finish(self, job: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """The states that the job was seen in, and its last answer."""
        states = [job["status"]]
        while states[-1] not in ("completed", "error", "aborted", "cancelled"):
            job = self.get(f"/v1/batch-query/jobs/{job['id']}").json()
            states.append(job["status"])
            assert len(states) < 10
        return states, job

    def rows(self, job: dict[str, Any]) -> list[dict[str, str]]:
        (batch,) = self.finish(job)[1]["batches"]
        files = batch.get("segments") or [batch["fileId"]]
        found: list[dict[str, str]] = []
        for file in files:
            found += csv.DictReader(io.StringIO(self.get(f"/v1/file/{file}").text))
        assert len(found) == batch["recordCount"]
        return found


@pytest.fixture
def tenant(sandbox: Sandbox) -> Tenant:
    return Tenant(sandbox)


@pytest.fixture(scope="module")
def slow_tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """A tenant that takes its time over jobs."""
    folder = tmp_path_factory.mktemp("slow")
    with serve_in_thread(
        state_dir=folder, seed=7, scale=0.05, today=TODAY, has_vendor_limits=True
    ) as manifest:
        yield Tenant(Sandbox(manifest))


def test_every_login_and_none_without(tenant: Tenant) -> None:
    known, path = tenant.known, f"{tenant.base}/v1/describe/Account"
    keys = {"apiAccessKeyId": known["username"], "apiSecretAccessKey": known["password"]}
    basic = (str(known["username"]), str(known["password"]))
    assert requests.get(path, headers=keys, timeout=10).status_code == 200
    assert requests.get(path, auth=basic, timeout=10).status_code == 200
    assert requests.get(path, timeout=10).status_code == 401
    wrong = {**keys, "apiSecretAccessKey": "no"}
    refused = requests.get(path, headers=wrong, timeout=10)
    assert (refused.status_code, refused.json()["message"]) == (401, "Authentication error")
    bad = requests.post(
        f"{tenant.base}/oauth/token",
        data={"client_id": "x", "client_secret": "y", "grant_type": "client_credentials"},
        timeout=10,
    )
    assert bad.status_code == 401


def test_headers_of_every_answer(tenant: Tenant) -> None:
    headers = {"Zuora-Track-Id": "track-7", "Zuora-Entity-Ids": str(tenant.known["entity_id"])}
    answer = tenant.get("/v1/describe/Account", headers=headers)
    assert answer.headers["Zuora-Track-Id"] == "track-7"
    assert int(answer.headers["RateLimit-Remaining"]) < int(answer.headers["RateLimit-Limit"])
    foreign = tenant.get("/v1/describe/Account", headers={"Zuora-Entity-Ids": "0" * 32})
    assert (foreign.status_code, foreign.json()["success"]) == (403, False)


def test_zoql_pages_by_locator_and_leaves_nulls_out(tenant: Tenant) -> None:
    page = tenant.zoql("select Id, Name, ParentId from Account", batchSize=20)
    found, total = page["records"], page["size"]
    assert (len(found), page["done"]) == (20, False)
    while not page["done"]:
        page = tenant.post("/v1/action/queryMore", {"queryLocator": page["queryLocator"]}).json()
        found += page["records"]
    assert "queryLocator" not in page
    assert len({record["Id"] for record in found}) == len(found) == total
    assert any("ParentId" not in record for record in found)
    lost = tenant.post("/v1/action/queryMore", {"queryLocator": "2c92a0-2000"})
    assert (lost.status_code, lost.json()["FaultCode"]) == (400, "INVALID_QUERY_LOCATOR")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("select Nope from Account", "INVALID_FIELD"),
        ("select Id from Nope", "INVALID_TYPE"),
        ("select Id from Account where UpdatedDate > 'yesterday'", "INVALID_VALUE"),
        ("select * from Account", "fns:MALFORMED_QUERY"),
        ("select Id from Account order by Id", "fns:MALFORMED_QUERY"),
        ("select Account.Id from Contact", "INVALID_FIELD"),
        ("select Id from RevenueScheduleItem", "INVALID_TYPE"),
        ("select Id from Account where Name = 'O", "fns:MALFORMED_QUERY"),
    ],
)
def test_zoql_refuses_in_the_vendors_words(query: str, code: str, tenant: Tenant) -> None:
    answer = tenant.post("/v1/action/query", {"queryString": query})
    fault = answer.json()
    assert answer.status_code == 400
    assert (fault.get("FaultCode") or fault["faultcode"]) == code


def test_zoql_compares_by_type(tenant: Tenant) -> None:
    def ids(where: str) -> set[str]:
        page = tenant.zoql(f"select Id from Invoice where {where}")
        return {record["Id"] for record in page.get("records", [])}

    everything = ids("Amount > -1")
    owed = ids("Balance > 0 and Status = 'Posted'")
    assert owed < everything
    assert ids("Balance > 0 and Status = 'Posted' or Balance = 0") == everything
    assert ids("UpdatedDate >= '2024-01-01T00:00:00Z'") == ids(
        "UpdatedDate >= '2023-12-31T16:00:00'"  # no zone: the tenant's
    )
    assert ids("InvoiceNumber != null") | ids("InvoiceNumber = null") == everything
    assert ids("DueDate < '2000-01-01'") == set()


def test_aqua_takes_its_time_and_tells_its_states(slow_tenant: Tenant) -> None:
    job = slow_tenant.order("select Id, Account.Name from Contact")
    states, done = slow_tenant.finish(job)
    assert states == ["submitted", "executing", "executing", "completed"]
    assert done["batches"][0]["full"] is True
    rows = slow_tenant.rows(done)
    assert list(rows[0]) == ["Contact.Id", "Account.Name"]
    ended = slow_tenant.session.delete(
        f"{slow_tenant.base}/v1/batch-query/jobs/{slow_tenant.order('select Id from Contact')['id']}",
        timeout=10,
    )
    assert ended.json()["status"] == "cancelled"


def test_aqua_refuses_with_http_200(tenant: Tenant) -> None:
    stranger = tenant.order("select Id from Account", partner="nobody", project="p")
    assert stranger == {"errorCode": "90006", "message": "Partner ID is not recognized"}
    wrong = tenant.order("select AccountId from Contact")
    assert wrong["status"] == "error"
    assert wrong["message"].startswith("There is a syntax error")
    assert wrong["id"]
    partner = {"partner": tenant.known["partner_id"], "project": "periods"}
    deleted = {"column": "Deleted", "format": "Boolean"}
    periods = tenant.order("select Id from AccountingPeriod", deleted=deleted, **partner)
    assert periods["message"].startswith("Objects included in the queries do not support")
    gone = tenant.get("/v1/batch-query/jobs/2c92a0")
    assert gone.status_code == 404


def test_files_in_every_format(tenant: Tenant) -> None:
    query = "select Id, Name from Account order by Name desc limit 3"
    texts = []
    for kind in ("csv", "GZIP", "zip"):
        (batch,) = tenant.finish(tenant.order(query, format=kind))[1]["batches"]
        body = tenant.get(f"/v1/files/{batch['fileId']}").content
        if kind == "GZIP":
            body = gzip.decompress(body)
        if kind == "zip":
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                body = archive.read(archive.namelist()[0])
        texts.append(body)
    assert texts[0] == texts[1] == texts[2]
    names = [row["Account.Name"] for row in csv.DictReader(io.StringIO(texts[0].decode()))]
    assert names == sorted(names, reverse=True)
    assert len(names) == 3


def test_stateful_jobs_tell_what_changed_and_what_is_gone(own_sandbox: Sandbox) -> None:
    tenant = Tenant(own_sandbox)
    options = {
        "partner": tenant.known["partner_id"],
        "project": "contacts",
        "deleted": {"column": "Deleted", "format": "Boolean"},
    }
    query = "select Id, City, UpdatedDate from Contact"
    first = tenant.rows(tenant.order(query, **options))
    assert {row["Deleted"] for row in first} == {"false"}
    own_sandbox.advance(4)
    job = tenant.finish(tenant.order(query, **options))[1]
    assert job["batches"][0]["full"] is False
    news = tenant.rows(job)
    assert 0 < len(news) < len(first)
    gone = {row["Contact.Id"] for row in news if row["Deleted"] == "true"}
    now = {row["Contact.Id"] for row in tenant.rows(tenant.order(query))}
    assert gone
    assert not gone & now
    since = {**options, "incrementalTime": "2025-05-01 17:00:00"}  # midnight UTC
    assert {row["Contact.Id"] for row in tenant.rows(tenant.order(query, **since))} == {
        row["Contact.Id"] for row in news
    }


def test_large_stateful_loads_come_in_segments(tenant: Tenant) -> None:
    options = {"partner": tenant.known["partner_id"], "project": "all"}
    query = "select Id from RevenueScheduleItem"
    (batch,) = tenant.finish(tenant.order(query, **options))[1]["batches"]
    if batch["recordCount"] > 500:
        assert len(batch["segments"]) == -(-batch["recordCount"] // 500)
    assert len(tenant.rows(tenant.order(query))) == batch["recordCount"]


def test_exports_and_describe(tenant: Tenant) -> None:
    listed = tenant.get("/v1/describe").text
    assert listed.count("<name>") == 31
    described = tenant.get("/v1/describe/Contact").text
    assert "<name>AccountId</name>" in described
    assert "<related-objects>" in described
    body = {"Format": "csv", "Query": "select Id, Account.Id from Contact"}
    made = tenant.post("/v1/object/export", body).json()
    assert made["Success"] is True
    export = tenant.get(f"/v1/object/export/{made['Id']}").json()
    assert export["Status"] == "Completed"
    assert tenant.get(f"/v1/files/{export['FileId']}").text.startswith("Contact.Id,Account.Id\n")
    refused = tenant.post("/v1/object/export", {"Format": "csv", "Query": "select Id from Nope"})
    assert refused.status_code == 400
    assert "noSuchDataSource" in refused.json()["Errors"][0]["Message"]


def test_data_queries_records_and_the_catalogue(tenant: Tenant) -> None:
    query = (
        "SELECT id, accountid FROM contact WHERE updateddate >= TIMESTAMP '2020-01-01T00:00:00Z'"
    )
    made = tenant.post("/query/jobs", {"query": query, "outputFormat": "JSON"}).json()["data"]
    assert made["queryStatus"] == "accepted"
    done = tenant.get(f"/query/jobs/{made['id']}").json()["data"]
    lines = [
        json.loads(line)
        for line in tenant.session.get(done["dataFile"], timeout=10).text.splitlines()
    ]
    assert len(lines) == done["outputRows"] > 0
    account = tenant.get(f"/v1/object/account/{lines[0]['accountid']}").json()
    assert account["Id"] == lines[0]["accountid"]
    page = tenant.get("/v1/catalog/products?pageSize=3").json()
    names = [product["name"] for product in page["products"]]
    while "nextPage" in page:
        page = tenant.session.get(page["nextPage"], timeout=10).json()
        names += [product["name"] for product in page["products"]]
    assert len(names) == len(set(names)) == 8


def test_misbehaviour_in_the_vendors_form(sandbox: Sandbox, tenant: Tenant) -> None:
    sandbox.arm("zuora", "throttle", retry_after_seconds=7)
    slow = tenant.get("/v1/describe/Account")
    assert (slow.status_code, slow.headers["Retry-After"]) == (429, "7")
    sandbox.arm("zuora", "concurrency")
    busy = tenant.get("/v1/describe/Account")
    assert (busy.status_code, busy.headers["Concurrency-Limit-Remaining"]) == (429, "0")
    sandbox.arm("zuora", "expire_session")
    assert tenant.get("/v1/describe/Account").status_code == 401
    tenant.session.headers["Authorization"] = f"Bearer {tenant.token()}"
    sandbox.arm("zuora", "job_error", message="out of memory")
    failed = tenant.finish(tenant.order("select Id from Account"))[1]
    assert (failed["status"], failed["batches"][0]["message"]) == ("error", "out of memory")
    sandbox.arm("zuora", "lose_file")
    (batch,) = tenant.finish(tenant.order("select Id from Account"))[1]["batches"]
    assert tenant.get(f"/v1/file/{batch['fileId']}").status_code == 404


def test_the_truths_of_billing_come_out_of_the_records(sandbox: Sandbox, tenant: Tenant) -> None:
    """Recurring revenue and receivables, added up from what the API tells."""
    known = sandbox.truths()["billing"]
    today = date.fromisoformat(sandbox.truths()["now"][:10])
    query = (
        "select MRR, EffectiveStartDate, EffectiveEndDate, Subscription.Status, Account.Currency"
        " from RatePlanCharge"
    )
    mrr: dict[str, dict[str, Decimal]] = {day: defaultdict(Decimal) for day in known["mrr_by_date"]}
    for row in tenant.rows(tenant.order(query)):
        if row["Subscription.Status"] in ("Draft", "Expired"):
            continue
        start, end = (row[f"RatePlanCharge.Effective{name}Date"] for name in ("Start", "End"))
        for day, sums in mrr.items():
            if start <= day < end:
                sums[row["Account.Currency"]] += Decimal(row["RatePlanCharge.MRR"])
    for day, sums in known["mrr_by_date"].items():
        expected = {currency: Decimal(value) for currency, value in sums.items() if Decimal(value)}
        assert {c: v for c, v in mrr[day].items() if v} == expected, day
    query = "select Balance, DueDate, Status, Account.Currency from Invoice"
    overdue: dict[str, Decimal] = defaultdict(Decimal)
    for row in tenant.rows(tenant.order(query)):
        if row["Invoice.Status"] == "Posted" and row["Invoice.DueDate"] < today.isoformat():
            overdue[row["Account.Currency"]] += Decimal(row["Invoice.Balance"])
    expected_overdue: dict[str, Decimal] = defaultdict(Decimal)
    for bucket in known["receivables"].values():
        for currency, value in bucket["balance"].items():
            expected_overdue[currency] += Decimal(value)
    assert {c: v for c, v in overdue.items() if v} == expected_overdue
    statuses = [row["Status"] for row in tenant.zoql("select Status from Subscription")["records"]]
    assert statuses.count("Active") == known["subscriptions"]["active"]


def test_data_queries_are_listed_and_cancelled(slow_tenant: Tenant) -> None:
    path = f"{slow_tenant.base}/query/jobs"
    keys = []
    for name in ("account", "contact"):
        body = {"query": f"select id from {name}", "output": {"target": "s3"}}
        made = slow_tenant.session.post(path, json=body, timeout=10).json()
        keys.append(made["data"]["id"])
    listed = slow_tenant.get("/query/jobs?pageSize=2").json()["data"]
    assert [job["id"] for job in listed] == keys[::-1]
    ended = slow_tenant.session.delete(f"{path}/{keys[0]}", timeout=10).json()["data"]
    assert ended["queryStatus"] == "cancelled"
    assert slow_tenant.get(f"/query/jobs/{keys[0]}").json()["data"]["queryStatus"] == "cancelled"
    running = slow_tenant.get("/query/jobs?queryStatus=accepted").json()["data"]
    assert [job["id"] for job in running] == keys[1:]
    assert slow_tenant.get("/query/jobs?pageSize=0").status_code == 400
    assert slow_tenant.session.delete(f"{path}/nope", timeout=10).status_code == 404
