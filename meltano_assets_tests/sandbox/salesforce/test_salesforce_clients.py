"""Other people's client against the simulated Salesforce: simple-salesforce, unchanged.

It insists on ``https://`` and on the vendor's host names, so its session sends such requests to
the sandbox; nothing else is different from real use.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
)

from meltano_assets_tests.sandbox.salesforce.conftest import START, Api, known_id


class _ToSandbox(HTTPAdapter):
    """Sends what is meant for any HTTPS host to the sandbox."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        parts = urlsplit(str(request.url))
        request.url = f"{self._base}{parts.path}{'?' + parts.query if parts.query else ''}"
        return super().send(request, *args, **options)


def _session(api: Api) -> requests.Session:
    session = requests.Session()
    session.mount("https://", _ToSandbox(api.base))
    return session


@pytest.fixture
def client(api: Api) -> Salesforce:
    api.org.bulk_polls = 1
    known = api.org.credentials
    return Salesforce(
        username=known.username,
        password=known.password,
        security_token=known.security_token,
        session=_session(api),
    )


def test_every_login_of_the_client(api: Api) -> None:
    known = api.org.credentials
    secret = {"consumer_key": known.client_id, "consumer_secret": known.client_secret}
    person = {"username": known.username, "password": known.password}
    for options in (
        {**person, "security_token": known.security_token},
        {**person, "organizationId": "00D000000000001"},
        {**person, **secret},
        {**secret, "domain": "company.my"},
        {"session_id": api.login(), "instance_url": api.base},
    ):
        client = Salesforce(session=_session(api), **options)
        assert client.query("SELECT Id FROM Account LIMIT 1")["totalSize"] == 1
    with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
        Salesforce(username="a", password="b", security_token="c", session=_session(api))


def test_an_expired_session_is_renewed(api: Api, client: Salesforce) -> None:
    api.org.expire_sessions()
    assert client.query("SELECT COUNT() FROM Account")["totalSize"] == 19


def test_records(api: Api, client: Salesforce) -> None:
    made = client.Account.create({"Name": "Client", "Meltano_Id__c": "client.test"})
    assert made["success"] is True
    assert client.Account.update(made["id"], {"Industry": "Media"}) == 204
    assert client.Account.get(made["id"])["Industry"] == "Media"
    assert client.Account.upsert("Meltano_Id__c/client.test", {"Industry": "Retail"}) == 200
    assert client.Account.get_by_custom_id("Meltano_Id__c", "client.test")["Industry"] == "Retail"
    hour = timedelta(hours=1)
    assert client.Account.updated(START - hour, START + hour)["ids"] == [made["id"]]
    assert client.Account.delete(made["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        client.Account.get(made["id"])
    with pytest.raises(SalesforceMalformedRequest, match="No such column"):
        client.Account.create({"Nope": 1})
    twins = [{"Id": known_id("a00", n), "Name": "t", "Meltano_Id__c": "t"} for n in (1, 2)]
    api.company.days[1] = {"Host__c": twins}
    api.org.advance_to(1)
    with pytest.raises(SalesforceMoreThanOneRecord):
        client.Host__c.get_by_custom_id("Meltano_Id__c", "t")


def test_metadata_and_limits(client: Salesforce) -> None:
    names = {entry["name"] for entry in client.describe()["sobjects"]}
    assert {"Account", "Host__c"} <= names
    fields = {field["name"] for field in client.Host__c.describe()["fields"]}
    assert "Meltano_Id__c" in fields
    assert client.limits()["DailyApiRequests"]["Max"] == 100_000
    assert client.api_usage["api-usage"].total == 100_000
    assert client.is_sandbox() is True


def test_queries_follow_their_pages(api: Api, client: Salesforce) -> None:
    rows = [{"Name": f"h{n}"} for n in range(2_100)]
    client.bulk2.Host__c.insert(records=rows, wait=0)
    found = list(client.query_all_iter("SELECT Name FROM Host__c"))
    assert [record["Name"] for record in found] == [f"h{n}" for n in range(2_100)]
    everything = client.query_all("SELECT Id FROM Account", include_deleted=True)
    assert everything["totalSize"] == 20


def test_bulk_2(client: Salesforce) -> None:
    rows = [{"Meltano_Id__c": f"h{n}", "Name": f"n{n}"} for n in range(30)]
    rows[7]["Name"] = "x" * 81
    done = client.bulk2.Host__c.upsert(records=rows, external_id_field="Meltano_Id__c", wait=0)
    assert (done[0]["numberRecordsProcessed"], done[0]["numberRecordsFailed"]) == (30, 1)
    failed = client.bulk2.Host__c.get_failed_records(done[0]["job_id"])
    assert "STRING_TOO_LONG" in failed
    assert client.bulk2.Host__c.get_unprocessed_records(done[0]["job_id"]).count("\n") == 1
    pages = list(
        client.bulk2.Host__c.query("SELECT Meltano_Id__c FROM Host__c", max_records=10, wait=0)
    )
    read = [row for page in pages for row in csv.DictReader(io.StringIO(page))]
    assert len(pages) == 3
    assert {row["Meltano_Id__c"] for row in read} == {f"h{n}" for n in range(30)} - {"h7"}


def test_the_first_bulk_api(api: Api, client: Salesforce) -> None:
    # The client sleeps five seconds whenever a batch is not ready at once.
    api.org.bulk_polls = 0
    rows: list[dict[str, Any]] = [{"Meltano_Id__c": f"b{n}", "Name": f"n{n}"} for n in range(12)]
    rows[3]["Nope__c"] = 1
    rows[4]["Host_Users__c"] = "x"
    done = client.bulk.Host__c.upsert(rows, "Meltano_Id__c", batch_size=10)
    assert [result["success"] for result in done] == [True] * 3 + [False] * 2 + [True] * 7
    assert done[3]["errors"][0]["statusCode"] == "INVALID_FIELD"
    found = client.bulk.Host__c.query("SELECT Id, Name FROM Host__c ORDER BY Name", wait=0)
    assert [record["Name"] for record in found][:2] == ["n0", "n1"]
    gone = client.bulk.Host__c.delete([{"Id": record["Id"]} for record in found])
    assert all(result["success"] for result in gone)
    assert client.query("SELECT COUNT() FROM Host__c")["totalSize"] == 0


def test_the_first_bulk_api_in_csv_and_xml(api: Api) -> None:
    api.org.bulk_polls = 1
    base = f"{api.base}/services/async/61.0/job"
    session = requests.Session()
    refused = session.post(base, json={"operation": "query"}, timeout=10)
    assert (refused.status_code, refused.json()["exceptionCode"]) == (401, "InvalidSessionId")
    session.headers["X-SFDC-Session"] = api.login()
    body = {"operation": "queryAll", "object": "Account", "contentType": "CSV"}
    job = session.post(base, json=body, timeout=10).json()["id"]
    csv_headers = {"Content-Type": "text/csv"}
    soql = "SELECT Id, Name FROM Account WHERE Name = 'Account 03'"
    text = session.post(f"{base}/{job}/batch", soql, headers=csv_headers, timeout=10).text
    batch = text.split("<id>")[1].split("</id>")[0]
    path = f"{base}/{job}/batch/{batch}"
    states = [session.get(path, timeout=10).text.split("<state>")[1].split("<")[0] for _ in "ab"]
    assert states == ["InProgress", "Completed"]
    listed = session.get(f"{path}/result", timeout=10).text
    result = listed.split("<result>")[1].split("</result>")[0]
    rows = session.get(f"{path}/result/{result}", timeout=10).text
    assert rows == f'"Id","Name"\n"{known_id("001", 3)}","Account 03"\n'
    bad = session.post(
        f"{base}/{job}/batch", "SELECT Nope FROM Account", headers=csv_headers, timeout=10
    )
    bad_batch = bad.text.split("<id>")[1].split("</id>")[0]
    told = [session.get(f"{base}/{job}/batch/{bad_batch}", timeout=10).text for _ in "ab"][1]
    assert "<state>Failed</state>" in told
    assert "<stateMessage>InvalidBatch" in told
    closed = session.post(f"{base}/{job}", json={"state": "Closed"}, timeout=10).json()
    assert (closed["state"], closed["numberBatchesTotal"]) == ("Closed", 2)
    body = {"operation": "insert", "object": "Host__c", "contentType": "CSV"}
    job = session.post(base, json=body, timeout=10).json()["id"]
    text = session.post(
        f"{base}/{job}/batch",
        "Name\r\none\r\n" + "x" * 90 + "\r\n",
        headers=csv_headers,
        timeout=10,
    ).text
    path = f"{base}/{job}/batch/" + text.split("<id>")[1].split("</id>")[0]
    session.get(path, timeout=10)
    lines = session.get(f"{path}/result", timeout=10).text.splitlines()
    assert lines[0] == '"Id","Success","Created","Error"'
    assert lines[1].endswith('"true","true",""')
    assert lines[2].startswith(
        '"","false","false","STRING_TOO_LONG:Host Name: data value too large'
    )
    lost = session.get(f"{base}/750000000000000AAA", timeout=10)
    assert lost.status_code == 400
    assert "<exceptionCode>InvalidJob</exceptionCode>" in lost.text


def test_a_query_of_the_first_bulk_api_is_cut_into_chunks_of_ids(api: Api) -> None:
    api.org.bulk_polls = 1
    base = f"{api.base}/services/async/61.0/job"
    session = requests.Session()
    session.headers["X-SFDC-Session"] = api.login()
    body = {"operation": "query", "object": "Account", "contentType": "CSV"}
    csv_headers = {"Content-Type": "text/csv"}

    def sent(soql: str, **headers: str) -> tuple[str, list[dict[str, Any]]]:
        """A job's address, and its batches when all are done."""
        made = session.post(base, json=body, headers=headers, timeout=10).json()
        path = f"{base}/{made['id']}"
        session.post(f"{path}/batch", soql, headers=csv_headers, timeout=10)
        told = [session.get(f"{path}/batch", timeout=10).text for _ in "ab"][1]
        return path, [
            dict(re.findall(r"<(\w+)>([^<]*)</", info))
            for info in re.findall(r"<batchInfo>(.*?)</batchInfo>", told)
        ]

    def result(path: str, batch: dict[str, Any]) -> str:
        address = f"{path}/batch/{batch['id']}/result"
        name = session.get(address, timeout=10).text.split("<result>")[1].split("<")[0]
        return session.get(f"{address}/{name}", timeout=10).text

    soql = "SELECT Name FROM Account WHERE Name != 'Account 03'"
    chunked = {"Sforce-Enable-PKChunking": "true; chunkSize=8"}
    path, (pattern, *chunks) = sent(soql, **chunked)
    assert (pattern["state"], pattern["numberRecordsProcessed"]) == ("NotProcessed", "0")
    assert [chunk["state"] for chunk in chunks] == ["Completed"] * 3
    asked = session.get(f"{path}/batch/{pattern['id']}/request", timeout=10)
    assert asked.text == soql
    read = [list(csv.reader(io.StringIO(result(path, chunk)))) for chunk in chunks]
    assert {rows[0][0] for rows in read} == {"Name"}
    names = [row[0] for rows in read for row in rows[1:]]
    assert len(names) == len(set(names)) == 18
    total = session.get(path, headers={"Accept": "application/json"}, timeout=10).json()
    assert (total["numberBatchesTotal"], total["numberRecordsProcessed"]) == (4, 18)
    _, (refused,) = sent(soql + " ORDER BY Name", **chunked)
    assert refused["state"] == "Failed"
    path, (whole,) = sent("SELECT Name FROM Account WHERE Name = 'nobody'")
    assert result(path, whole) == "Records not found for this query"
    api.faults.arm("query_timeout", rows=10)
    assert "QUERY_TIMEOUT" in sent(soql)[1][0]["stateMessage"]
    assert {batch["state"] for batch in sent(soql, **chunked)[1][1:]} == {"Completed"}
    wide = {"Sforce-Enable-PKChunking": "chunkSize=12"}
    states = [batch["state"] for batch in sent("SELECT Id FROM Account", **wide)[1]]
    assert states == ["NotProcessed", "Failed", "Completed"]


def test_types_of_the_first_bulk_api_are_bare(api: Api) -> None:
    api.org.bulk_polls = 0
    session = requests.Session()
    session.headers["X-SFDC-Session"] = api.login()
    for name, kind, listed in (
        ("JSON", "application/json", "application/json"),
        ("CSV", "text/csv", "application/xml"),
    ):
        body = {"operation": "query", "object": "Account", "contentType": name}
        base = f"{api.base}/services/async/61.0/job"
        path = f"{base}/{session.post(base, json=body, timeout=10).json()['id']}/batch"
        headers = {"Content-Type": kind}
        made = session.post(path, "SELECT Id FROM Account", headers=headers, timeout=10)
        assert made.headers["Content-Type"] == listed
        number = made.json()["id"] if name == "JSON" else made.text.split("<id>")[1].split("<")[0]
        session.get(f"{path}/{number}", timeout=10)
        results = session.get(f"{path}/{number}/result", timeout=10)
        assert results.headers["Content-Type"] == listed
        key = results.json()[0] if name == "JSON" else results.text.split("result>")[1][:-2]
        rows = session.get(f"{path}/{number}/result/{key}", timeout=10)
        assert (rows.status_code, rows.headers["Content-Type"]) == (200, kind)
