"""Bulk API 2.0 over HTTP: query jobs, ingest jobs, their states and their files."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.salesforce import SalesforceOrg
from meltano_assets.sandbox.salesforce_bulk import BulkJobs
from meltano_assets.sandbox.salesforce_http import Call
from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id

ENDED = ("JobComplete", "Failed", "Aborted")


def _until_ended(api: Api, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        info: dict[str, Any] = api.get(path).json()
        if info["state"] in ENDED:
            return info
        assert time.monotonic() < deadline, info


def _open(api: Api, **job: Any) -> str:
    body = {"object": "Host__c", "contentType": "CSV", "lineEnding": "LF", **job}
    if body.get("operation", "upsert") == "upsert":
        body = {"operation": "upsert", "externalIdFieldName": "Meltano_Id__c", **body}
    answer = api.call("POST", "/jobs/ingest", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "Open"
    return str(answer.json()["id"])


def _upload(api: Api, job: str, content: str | bytes | Iterable[bytes]) -> requests.Response:
    data = content.encode() if isinstance(content, str) else content
    headers = {"Content-Type": "text/csv; charset=UTF-8"}
    return api.call("PUT", f"/jobs/ingest/{job}/batches", data=data, headers=headers)


def _ingest(
    api: Api, content: str | bytes | Iterable[bytes], **job: Any
) -> tuple[str, dict[str, Any]]:
    job_id = _open(api, **job)
    uploaded = _upload(api, job_id, content)
    assert uploaded.status_code == 201, uploaded.text
    closed = api.call("PATCH", f"/jobs/ingest/{job_id}", json={"state": "UploadComplete"})
    assert closed.json()["state"] == "UploadComplete"
    return job_id, _until_ended(api, f"/jobs/ingest/{job_id}")


def _results(api: Api, job: str, kind: str, delimiter: str = ",") -> list[dict[str, str]]:
    answer = api.get(f"/jobs/ingest/{job}/{kind}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/csv")
    text = answer.content.decode()
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def _query_job(api: Api, soql: str, **job: Any) -> str:
    body = {"operation": "query", "query": soql, **job}
    answer = api.call("POST", "/jobs/query", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "UploadComplete"
    info = _until_ended(api, f"/jobs/query/{answer.json()['id']}")
    assert info["state"] == "JobComplete", info
    return str(info["id"])


# --- query ---------------------------------------------------------------------------------


def test_query_results_come_as_the_vendor_writes_them(api: Api) -> None:
    soql = (
        "SELECT Id, Name, Owner.Name, NumberOfEmployees, Using_CE__c, CreatedDate, Website "
        "FROM Account WHERE Name LIKE 'O%' OR Name = 'Account 04' ORDER BY Name"
    )
    job = _query_job(api, soql)
    answer = api.get(f"/jobs/query/{job}/results")
    assert answer.headers["Sforce-Locator"] == "null"
    assert answer.headers["Sforce-NumberOfRecords"] == "2"
    assert answer.content.decode() == (
        '"Id","Name","Owner.Name","NumberOfEmployees","Using_CE__c","CreatedDate","Website"\n'
        f'"{known_id("001", 4)}","Account 04","First Last2","","true",'
        '"2024-01-05T00:00:00.000Z","https://www.account4.test"\n'
        f'"{known_id("001", 2)}","O\'Brien ""Quoted"", 50%_off","First Last3","","false",'
        '"2024-01-03T00:00:00.000Z","https://www.account2.test"\n'
    )


def test_query_numbers_are_javas(api: Api) -> None:
    for amount in (1e7, 0.5, 12345678.25):
        body = {"Name": "n", "CloseDate": "2024-01-01", "StageName": "1-Discovery"}
        api.call("POST", "/sobjects/Opportunity", json={**body, "Amount": amount})
    job = _query_job(api, "SELECT Amount FROM Opportunity WHERE Name = 'n' ORDER BY Amount")
    text = api.get(f"/jobs/query/{job}/results").text
    assert text.split() == ['"Amount"', '"0.5"', '"1.0E7"', '"1.234567825E7"']


def test_query_locators_cut_results_anywhere(api: Api) -> None:
    rows = "".join(f"h{n},name{n}\n" for n in range(4_500))
    _ingest(api, "Meltano_Id__c,Name\n" + rows)
    job = _query_job(
        api, "SELECT Meltano_Id__c FROM Host__c", columnDelimiter="PIPE", lineEnding="CRLF"
    )
    seen: list[str] = []
    locator = ""
    pages = 0
    while locator != "null":
        params = {"maxRecords": "1300", **({"locator": locator} if locator else {})}
        answer = api.get(f"/jobs/query/{job}/results", params=params)
        lines = answer.content.decode().split("\r\n")
        assert lines[0] == '"Meltano_Id__c"'
        assert int(answer.headers["Sforce-NumberOfRecords"]) == len(lines) - 2
        seen += lines[1:-1]
        locator = answer.headers["Sforce-Locator"]
        pages += 1
    assert pages == 4
    assert seen == [f'"h{n}"' for n in range(4_500)]
    bad = api.get(f"/jobs/query/{job}/results", params={"locator": "!"})
    assert api.error(bad) == (400, "INVALID_QUERY_LOCATOR")


def test_query_all_returns_the_recycle_bin(api: Api) -> None:
    job = _query_job(api, "SELECT Id FROM Account WHERE IsDeleted = true", operation="queryAll")
    assert known_id("001", 20) in api.get(f"/jobs/query/{job}/results").text


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Nope FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM", "MALFORMED_QUERY"),
        ("SELECT COUNT() FROM Account", "FEATURENOTENABLED"),
        ("SELECT BillingAddress FROM Account", "FEATURENOTENABLED"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "FEATURENOTENABLED"),
        ("SELECT Id FROM Account OFFSET 5", "FEATURENOTENABLED"),
    ],
)
def test_queries_that_bulk_cannot_run_are_refused(shared: Api, soql: str, code: str) -> None:
    answer = shared.call("POST", "/jobs/query", json={"operation": "query", "query": soql})
    assert shared.error(answer) == (400, code)


def test_a_job_takes_a_few_polls_and_tells_its_state(api: Api) -> None:
    body = {"operation": "query", "query": "SELECT Id FROM Account"}
    job = api.call("POST", "/jobs/query", json=body).json()
    assert job["object"] == "Account"
    assert (job["apiVersion"], job["columnDelimiter"]) == (59.0, "COMMA")
    path = f"/jobs/query/{job['id']}"
    early = api.get(f"{path}/results")
    assert api.error(early) == (400, "INVALIDJOBSTATE")
    states = []
    deadline = time.monotonic() + 10
    while not states or states[-1] != "JobComplete":
        states.append(api.get(path).json()["state"])
        assert time.monotonic() < deadline
    assert states.count("InProgress") >= 2
    info = api.get(path).json()
    assert (info["jobType"], info["numberRecordsProcessed"]) == ("V2Query", 19)
    listed = api.get("/jobs/query").json()
    assert [entry["id"] for entry in listed["records"]] == [job["id"]]
    assert listed["done"] is True


def test_jobs_belong_to_the_version_that_made_them(api: Api) -> None:
    job = _query_job(api, "SELECT Id FROM Account")
    api.version = "58.0"
    assert api.get(f"/jobs/query/{job}/results").status_code == 409
    api.version = "59.0"
    assert api.call("DELETE", f"/jobs/query/{job}").status_code == 204
    assert api.error(api.get(f"/jobs/query/{job}")) == (404, "NOT_FOUND")


# --- ingest --------------------------------------------------------------------------------


def test_upsert_reports_every_row_in_one_of_three_files(api: Api) -> None:
    content = (
        "Meltano_Id__c,Name,Host_Users__c,Last_Ping__c,Mattermost_Enabled__c,Host_Data_Source__c\n"
        'a,"Line\nbreak, ""quoted""",5,2024-01-02,true,WHOIS\n'
        "b,b,many,2024-01-02,true,WHOIS\n"
        "c,c,5,02.01.2024,true,WHOIS\n"
        "d,d,5,2024-01-02,perhaps,WHOIS\n"
        "e,e,5,2024-01-02,true,Oracle\n"
        "f,,5,2024-01-02,true,WHOIS\n"
        ",g,5,2024-01-02,true,WHOIS\n"
    )
    job, info = _ingest(api, content)
    assert info["state"] == "JobComplete"
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (7, 6)
    good = _results(api, job, "successfulResults")
    assert list(good[0])[:3] == ["sf__Id", "sf__Created", "Meltano_Id__c"]
    assert (good[0]["sf__Created"], good[0]["Name"]) == ("true", 'Line\nbreak, "quoted"')
    bad = {row["Meltano_Id__c"]: row["sf__Error"] for row in _results(api, job, "failedResults")}
    assert bad["b"] == (
        "INVALID_FIELD:Failed to deserialize field at col 2. Due to, 'many' is not a valid value "
        "for the type xsd:double:Host_Users__c --"
    )
    assert "is not a valid value for the type xsd:date:Last_Ping__c --" in bad["c"]
    assert "xsd:boolean:Mattermost_Enabled__c --" in bad["d"]
    assert bad["e"] == (
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:Host Data Source: bad value for restricted "
        "picklist field: Oracle:Host_Data_Source__c --"
    )
    assert bad["f"] == "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"
    assert bad[""] == "MISSING_ARGUMENT:Meltano_Id__c not specified: --"
    assert _results(api, job, "unprocessedrecords") == []


def test_empty_cells_leave_alone_and_na_empties(api: Api) -> None:
    _ingest(api, "Meltano_Id__c,Name,Host_Users__c,GitLab_Version__c\na,A,5,10.1\nb,B,6,10.2\n")
    job, _ = _ingest(
        api, "Meltano_Id__c,Name,Host_Users__c,GitLab_Version__c\na,,#N/A,\nb,C,,#N/A\n"
    )
    assert [row["sf__Created"] for row in _results(api, job, "successfulResults")] == ["false"] * 2
    assert api.rows("SELECT Name, Host_Users__c, GitLab_Version__c FROM Host__c ORDER BY Name") == [
        {"Name": "A", "Host_Users__c": None, "GitLab_Version__c": "10.1"},
        {"Name": "C", "Host_Users__c": 6.0, "GitLab_Version__c": None},
    ]


def test_parents_by_external_id_and_every_operation(api: Api) -> None:
    _, info = _ingest(
        api, "Name,Meltano_Id__c\nAcme,acme.com\n", object="Account", operation="insert"
    )
    assert info["numberRecordsFailed"] == 0
    job, _ = _ingest(
        api,
        "Meltano_Id__c\tName\tAccount__r.Meltano_Id__c\nx\tX\tacme.com\ny\tY\tnobody\n",
        columnDelimiter="TAB",
    )
    failed = _results(api, job, "failedResults", "\t")
    assert failed[0]["sf__Error"].startswith(
        "INVALID_FIELD:Foreign key external ID: nobody not found"
    )
    host = _results(api, job, "successfulResults", "\t")[0]["sf__Id"]
    assert api.rows("SELECT Account__r.Name FROM Host__c")[0]["Account__r"]["Name"] == "Acme"
    job, _ = _ingest(api, f"Id,Name,Account__r.Meltano_Id__c\n{host},Z,#N/A\n", operation="update")
    assert api.rows("SELECT Name, Account__c FROM Host__c") == [{"Name": "Z", "Account__c": None}]
    job, info = _ingest(api, f"Id\n{host}\n{host[:-3]}x\n", operation="delete")
    assert info["numberRecordsFailed"] == 1
    assert api.rows("SELECT Id FROM Host__c") == []
    job, info = _ingest(
        api, "Id\n" + known_id("001", 3) + "\n", object="Account", operation="hardDelete"
    )
    assert info["numberRecordsFailed"] == 0
    assert (
        api.rows(f"SELECT Id FROM Account WHERE Id = '{known_id('001', 3)}'", everything=True) == []
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Meltano_Id__c,Nope__c\na,b\n", "InvalidBatch : Field name not found : Nope__c"),
        (
            "Meltano_Id__c,Account__r.Nope\na,b\n",
            "InvalidBatch : Field name not found : Account__r.Nope",
        ),
        (
            "Meltano_Id__c,Name\r\na,b\r\n",
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF",
        ),
        (b"Meltano_Id__c,Name\na,\xff\n", "InvalidBatch : Failed to parse CSV"),
        ('Meltano_Id__c,Name\na,"b\n', "InvalidBatch : Failed to parse CSV"),
        ("", "InvalidBatch : The uploaded data is empty"),
    ],
)
def test_files_that_cannot_be_read_fail_the_job(
    api: Api, content: str | bytes, message: str
) -> None:
    job, info = _ingest(api, content)
    assert info["state"] == "Failed"
    assert info["errorMessage"].startswith(message)
    assert info["numberRecordsProcessed"] == 0
    assert api.rows("SELECT Id FROM Host__c") == []
    for kind in ("successfulResults", "failedResults", "unprocessedrecords"):
        answer = api.get(f"/jobs/ingest/{job}/{kind}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv")


def test_uploads_arrive_in_chunks_with_a_bom(api: Api) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"\xef\xbb\xbfMeltano_Id__c,"
        yield "Name\na,Mün".encode()[:-1]
        yield "Mün".encode()[-1:]
        yield b"chen\n"

    _, info = _ingest(api, pieces())
    assert info["numberRecordsFailed"] == 0
    assert api.column("SELECT Name FROM Host__c") == ["München"]


def test_a_job_that_breaks_off_leaves_the_rest_unprocessed(api: Api) -> None:
    api.faults.arm("fail_bulk_job", after=2_500)
    content = "Meltano_Id__c,Name\n" + "".join(f"h{n},n{n}\n" for n in range(6_000))
    job, info = _ingest(api, content)
    assert (info["state"], info["numberRecordsProcessed"]) == ("Failed", 2_500)
    assert info["errorMessage"].startswith("InternalServerError")
    assert len(_results(api, job, "successfulResults")) == 2_500
    rest = _results(api, job, "unprocessedrecords")
    assert [row["Meltano_Id__c"] for row in rest] == [f"h{n}" for n in range(2_500, 6_000)]


def test_states_that_do_not_allow_a_step(api: Api) -> None:
    job = _open(api)
    path = f"/jobs/ingest/{job}"
    too_early = api.call("PATCH", path, json={"state": "UploadComplete"})
    assert api.error(too_early) == (400, "INVALIDJOBSTATE")
    assert api.error(api.get(f"{path}/successfulResults")) == (400, "INVALIDJOBSTATE")
    assert _upload(api, job, "Meltano_Id__c\na\n").status_code == 201
    assert api.error(_upload(api, job, "Meltano_Id__c\na\n")) == (400, "INVALIDJOBSTATE")
    aborted = api.call("PATCH", path, json={"state": "Aborted"})
    assert aborted.json()["state"] == "Aborted"
    assert [row["Meltano_Id__c"] for row in _results(api, job, "unprocessedrecords")] == ["a"]
    done, _ = _ingest(api, "Meltano_Id__c,Name\na,b\n")
    late = api.call("PATCH", f"/jobs/ingest/{done}", json={"state": "Aborted"})
    assert api.error(late) == (400, "INVALIDJOBSTATE")
    assert api.call("DELETE", path).status_code == 204


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "merge"},
        {"object": "Nope"},
        {"externalIdFieldName": "Original_Hostname__c"},
        {"externalIdFieldName": None},
        {"columnDelimiter": "SPACE"},
        {"contentType": "XML"},
    ],
)
def test_jobs_that_make_no_sense_are_refused(shared: Api, change: dict[str, Any]) -> None:
    body = {"object": "Host__c", "operation": "upsert", "externalIdFieldName": "Meltano_Id__c"}
    answer = shared.call("POST", "/jobs/ingest", json={**body, **change})
    assert shared.error(answer) == (400, "INVALIDJOB")


def test_a_job_can_be_made_with_its_data(api: Api) -> None:
    job = '{"object":"Host__c","operation":"insert","contentType":"CSV","lineEnding":"LF"}'
    files = {
        "job": (None, job, "application/json"),
        "content": ("content", "Name\none\ntwo\n", "text/csv"),
    }
    answer = api.call("POST", "/jobs/ingest", files=files)
    assert answer.status_code == 200, answer.text
    info = _until_ended(api, f"/jobs/ingest/{answer.json()['id']}")
    assert (info["state"], info["numberRecordsProcessed"]) == ("JobComplete", 2)


def test_a_job_goes_on_where_the_process_ended(api: Api) -> None:
    job = _open(api)
    _upload(api, job, "Meltano_Id__c,Name\n" + "".join(f"h{n},n\n" for n in range(3_000)))
    # Another process takes over the same file before the job was closed here.
    folder = api.org.path.parent
    org = SalesforceOrg(folder, api.company, api.clock)
    jobs = BulkJobs(org)

    def call(method: str, body: bytes = b"") -> dict[str, Any]:
        path = f"/jobs/ingest/{job}"
        reply = jobs.handle(Call(org, method, path, body=body, version="59.0"), ["ingest", job])
        assert isinstance(reply.content, dict)
        return reply.content

    call("PATCH", b'{"state":"UploadComplete"}')
    deadline = time.monotonic() + 10
    while call("GET")["state"] != "JobComplete":
        assert time.monotonic() < deadline
    jobs.stop()
    org.close()
    assert api.query("SELECT COUNT() FROM Host__c").json()["totalSize"] == 3_000
