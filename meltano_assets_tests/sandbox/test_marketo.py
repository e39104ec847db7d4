"""The sandbox's Marketo keeps the vendor's contract (W1, W2, W3)."""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.marketo_wire import Limits, MarketoError
from meltano_assets_tests.sandbox.conftest import Sandbox


class Client:
    """A plain client of one subscription."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.base = str(settings["base_url"])
        self.settings = settings
        self.log_in()

    def identity(self, method: str = "GET", **changes: str) -> requests.Response:
        params = {
            "grant_type": "client_credentials",
            "client_id": self.settings["client_id"],
            "client_secret": self.settings["client_secret"],
            **changes,
        }
        return requests.request(
            method, f"{self.base}/identity/oauth/token", params=params, timeout=10
        )

    def log_in(self) -> None:
        token = self.identity().json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str, **params: object) -> dict[str, Any]:
        answer = requests.get(self.base + path, params=params, headers=self.headers, timeout=10)  # type: ignore[arg-type]
        assert answer.status_code == 200
        return answer.json()

    def post(self, path: str, body: object = None) -> dict[str, Any]:
        answer = requests.post(self.base + path, json=body, headers=self.headers, timeout=10)
        assert answer.status_code == 200
        return answer.json()

    def code(self, answer: dict[str, Any]) -> str:
        assert answer["success"] is False
        return str(answer["errors"][0]["code"])

    def export(self, kind: str, fields: list[str], filters: dict[str, Any]) -> dict[str, Any]:
        order = {"format": "CSV", "fields": fields, "filter": filters}
        job = self.post(f"/bulk/v1/{kind}/export/create.json", order)["result"][0]
        assert job["status"] == "Created"
        path = f"/bulk/v1/{kind}/export/{job['exportId']}"
        assert self.post(f"{path}/enqueue.json")["result"][0]["status"] == "Queued"
        for _ in range(200):
            job = self.get(f"{path}/status.json")["result"][0]
            if job["status"] in ("Completed", "Failed"):
                break
            time.sleep(0.01)
        return job

    def file(self, kind: str, job: dict[str, Any], **headers: str) -> requests.Response:
        path = f"/bulk/v1/{kind}/export/{job['exportId']}/file.json"
        return requests.get(self.base + path, headers={**self.headers, **headers}, timeout=10)


@pytest.fixture
def marketo(sandbox: Sandbox) -> Iterator[Client]:
    yield Client(sandbox.manifest["marketo"])
    sandbox.clear()


def span(start: str, end: str) -> dict[str, str]:
    return {"startAt": f"{start}T00:00:00Z", "endAt": f"{end}T00:00:00Z"}


def months() -> list[dict[str, str]]:
    starts = [f"{year}-{month:02}-01" for year in (2022, 2023, 2024) for month in range(1, 13)]
    starts += [f"2025-{month:02}-01" for month in range(1, 8)]
    return [span(a, b) for a, b in pairwise(starts)]


def test_a_token_is_the_same_until_it_expires_and_both_methods_get_it(marketo: Client) -> None:
    first, second = marketo.identity().json(), marketo.identity("POST").json()
    assert first["access_token"] == second["access_token"]
    assert first["token_type"] == "bearer"
    assert 0 < second["expires_in"] <= 3600
    wrong = marketo.identity(client_secret="x")
    assert wrong.status_code == 401
    assert wrong.json()["error"] == "unauthorized"


def test_errors_are_told_by_codes_in_answers_of_status_200(
    marketo: Client, sandbox: Sandbox
) -> None:
    assert marketo.code(marketo.get("/rest/v1/nothing.json")) == "610"
    assert marketo.code(marketo.get("/rest/v1/leads.json")) == "1002"
    assert marketo.code(marketo.get("/rest/v1/lists.json", nextPageToken="ABC")) == "1003"
    assert marketo.code(marketo.get("/rest/v1/lists.json", batchSize=301)) == "1003"
    assert marketo.code(marketo.post("/rest/v1/leads.json", {"input": []})) == "1002"
    assert marketo.code(marketo.post("/rest/v1/lists.json", {"input": [{}]})) == "603"
    known = marketo.headers
    marketo.headers = {}
    assert marketo.code(marketo.get("/rest/v1/lists.json")) == "600"
    marketo.headers = {"Authorization": "Bearer x:sj"}
    assert marketo.code(marketo.get("/rest/v1/lists.json")) == "601"
    marketo.headers = known
    sandbox.arm("marketo", "expire_session")
    assert marketo.code(marketo.get("/rest/v1/lists.json")) == "602"
    marketo.log_in()
    assert marketo.get("/rest/v1/lists")["success"]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("throttle", "606"),
        ("quota", "607"),
        ("unavailable", "608"),
        ("too_many_at_once", "615"),
    ],
)
def test_limits_have_codes_of_their_own(
    marketo: Client, sandbox: Sandbox, kind: str, code: str
) -> None:
    sandbox.arm("marketo", kind)
    assert marketo.code(marketo.get("/rest/v1/lists.json")) == code
    assert marketo.get("/rest/v1/lists.json")["success"]


def test_too_many_calls_in_twenty_seconds_are_refused(
    sandbox: Sandbox, tmp_path: Any, small_company: Any
) -> None:
    from meltano_assets.sandbox.marketo import Marketo

    limited = Marketo(
        small_company,
        lambda: 0,
        client_id="a",
        client_secret="b",
        folder=tmp_path,
        limits=Limits(calls=100, calls_a_day=150),
    )
    for _ in range(100):
        limited._count_call()
    with pytest.raises(MarketoError) as error:
        limited._count_call()
    assert error.value.code == "606"
    limited._recent.clear()
    with pytest.raises(MarketoError) as error:
        for _ in range(60):
            limited._count_call()
    assert error.value.code == "607"


def test_lists_are_paged_by_tokens(marketo: Client) -> None:
    everything = marketo.get("/rest/v1/campaigns.json")["result"]
    seen: list[int] = []
    token = None
    while True:
        more = {"nextPageToken": token} if token else {}
        page = marketo.get("/rest/v1/campaigns.json", batchSize=7, **more)
        seen += [record["id"] for record in page["result"]]
        token = page.get("nextPageToken")
        if token is None:
            break
    assert seen == [record["id"] for record in everything]


def test_programs_end_with_a_warning_and_their_costs_are_the_campaigns(
    marketo: Client, sandbox: Sandbox
) -> None:
    programs = marketo.get("/rest/asset/v1/programs.json", maxReturn=200)["result"]
    beyond = marketo.get("/rest/asset/v1/programs.json", maxReturn=200, offset=200)
    assert "result" not in beyond
    assert beyond["warnings"] == ["No assets found for the given search criteria."]
    spend = sandbox.truths()["campaign_spend"]["by_campaign"]
    for program in programs:
        cost = sum(cost["cost"] for cost in program["costs"])
        assert abs(cost - spend.get(program["sfdcId"], 0)) <= 0.5
    assert sum(len(program["costs"]) for program in programs) > len(programs) / 2


def test_an_export_holds_every_lead_of_its_windows_once(marketo: Client, sandbox: Sandbox) -> None:
    fields = ["id", "updatedAt", "email", "sfdcType", "Comments__c"]
    seen: dict[str, dict[str, str]] = {}
    for window in months():
        job = marketo.export("leads", fields, {"updatedAt": window})
        assert job["status"] == "Completed"
        answer = marketo.file("leads", job)
        content = answer.content
        assert job["fileChecksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert job["fileSize"] == len(content)
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        assert len(rows) == job["numberOfRecords"]
        seen.update({row["id"]: row for row in rows})
    truths = sandbox.truths()["marketing"]["leads"]
    assert len(seen) == truths["live"]
    assert (
        Counter(row["sfdcType"].replace("null", "None") for row in seen.values())
        == (truths["by_salesforce_type"])
    )
    assert any("\n" in row["Comments__c"] for row in seen.values())


def test_a_file_can_be_read_in_ranges(marketo: Client) -> None:
    job = marketo.export("leads", ["id", "email"], {"createdAt": span("2025-03-01", "2025-03-31")})
    whole = marketo.file("leads", job).content
    part = marketo.file("leads", job, Range="bytes=10-19")
    assert part.status_code == 206
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    assert part.content == whole[10:20]
    assert marketo.file("leads", job, Range="bytes=10-").content == whole[10:]
    assert marketo.file("leads", job, Range=f"bytes={len(whole)}-").status_code == 416


def test_activities_carry_a_json_object_in_a_cell_and_the_word_null(marketo: Client) -> None:
    job = marketo.export("activities", [], {"createdAt": span("2025-03-01", "2025-03-20")})
    rows = list(csv.DictReader(io.StringIO(marketo.file("activities", job).text, newline="")))
    assert rows
    assert all(isinstance(json.loads(row["attributes"]), dict) for row in rows)
    assert {row["campaignId"] for row in rows} > {"null"}
    sent = [row for row in rows if row["activityTypeId"] == "6"]
    job = marketo.export(
        "activities", [], {"createdAt": span("2025-03-01", "2025-03-20"), "activityTypeIds": [6]}
    )
    assert job["numberOfRecords"] == len(sent)


def test_orders_that_the_vendor_refuses(marketo: Client, sandbox: Sandbox) -> None:
    def order(kind: str, fields: list[str], filters: dict[str, Any]) -> str:
        body = {"fields": fields, "filter": filters}
        return marketo.code(marketo.post(f"/bulk/v1/{kind}/export/create.json", body))

    long = {"updatedAt": span("2025-01-01", "2025-02-02")}
    short = {"updatedAt": span("2025-01-01", "2025-02-01")}
    assert order("leads", ["id"], long) == "1003"
    assert order("leads", ["nothing"], short) == "1006"
    assert order("leads", [], short) == "1002"
    assert order("leads", ["id"], {}) == "1003"
    assert order("leads", ["id"], {"city": "x"}) == "1035"
    assert order("activities", [], {"activityTypeIds": [1]}) == "1003"
    assert order("program/members", ["leadId"], {"programIds": list(range(1001, 1012))}) == "1003"
    sandbox.arm("marketo", "no_updated_at")
    assert order("leads", ["id"], short) == "1035"


def test_ten_jobs_wait_at_most_and_two_are_processed(marketo: Client, sandbox: Sandbox) -> None:
    sandbox.arm("marketo", "job_stuck", times=None)
    paths = []
    for _ in range(11):
        body = {"fields": ["id"], "filter": {"createdAt": span("2025-01-01", "2025-01-02")}}
        job = marketo.post("/bulk/v1/leads/export/create.json", body)["result"][0]
        paths.append(f"/bulk/v1/leads/export/{job['exportId']}")
    answers = [marketo.post(f"{path}/enqueue.json") for path in paths]
    assert [answer["success"] for answer in answers] == [True] * 10 + [False]
    assert answers[-1]["errors"] == [{"code": "1029", "message": "Too many jobs in queue"}]
    listed = marketo.get("/bulk/v1/leads/export.json", status="Queued")["result"]
    assert len(listed) == 10
    for path in paths:
        assert marketo.post(f"{path}/cancel.json")["result"][0]["status"] == "Cancelled"
    assert marketo.code(marketo.post(f"{paths[0]}/cancel.json")) == "1003"


def test_what_can_go_wrong_with_a_job(marketo: Client, sandbox: Sandbox) -> None:
    filters = {"createdAt": span("2025-03-01", "2025-03-31")}
    sandbox.arm("marketo", "job_failed")
    job = marketo.export("leads", ["id"], filters)
    assert (job["status"], bool(job["errorMsg"])) == ("Failed", True)
    sandbox.arm("marketo", "file_missing")
    job = marketo.export("leads", ["id"], filters)
    assert marketo.file("leads", job).status_code == 404
    sandbox.arm("marketo", "file_error")
    assert marketo.file("leads", job).json()["success"] is False
    sandbox.arm("marketo", "cut_file")
    assert len(marketo.file("leads", job).content) < job["fileSize"]
    sandbox.arm("marketo", "wrong_checksum")
    job = marketo.export("leads", ["id"], filters)
    content = marketo.file("leads", job).content
    assert job["fileChecksum"] != f"sha256:{hashlib.sha256(content).hexdigest()}"
    sandbox.arm("marketo", "export_quota")
    body = {"fields": ["id"], "filter": filters}
    job = marketo.post("/bulk/v1/leads/export/create.json", body)["result"][0]
    refused = marketo.post(f"/bulk/v1/leads/export/{job['exportId']}/enqueue.json")
    assert "daily quota" in refused["errors"][0]["message"]


def test_activities_by_tokens_may_have_empty_pages_before_the_end(
    marketo: Client, sandbox: Sandbox
) -> None:
    token = marketo.get(
        "/rest/v1/activities/pagingtoken.json", sinceDatetime="2022-01-01T00:00:00+00:00"
    )["nextPageToken"]
    sizes: list[int] = []
    while True:
        page = marketo.get("/rest/v1/activities.json", nextPageToken=token, activityTypeIds="24")
        sizes.append(len(page.get("result", [])))
        token = page["nextPageToken"]
        if not page["moreResult"]:
            break
    assert sum(sizes) == sandbox.truths()["marketing"]["activities"]["by_type"]["24"]
    assert len(sizes) > 2


def test_days_bring_new_changed_deleted_and_merged_leads(tmp_path: Any) -> None:
    from datetime import date

    from meltano_assets.sandbox.company import Company
    from meltano_assets.sandbox.company_marketing import MarketingDesk

    def desk(day: int) -> MarketingDesk:
        made = MarketingDesk(Company(5, 0.3, date(2025, 6, 1)))
        made.build(day)
        return made

    before, after = desk(0), desk(3)
    assert set(after.leads) - set(before.leads)
    gone = set(before.leads) - set(after.leads)
    assert gone <= set(after.gone)
    kinds = Counter(a["activityTypeId"] for a in after.activities[len(before.activities) :])
    assert kinds[37] and kinds[32]
    changed = [
        number for number, lead in before.leads.items() if after.leads.get(number, lead) != lead
    ]
    assert changed
    assert all(after.leads[n]["updatedAt"] > before.leads[n]["updatedAt"] for n in changed)
    assert desk(3).activities == after.activities


def test_assets_are_browsed_and_found_by_name_and_id(marketo: Client) -> None:
    folders = marketo.get("/rest/asset/v1/folders.json")["result"]
    programs = marketo.get("/rest/asset/v1/programs.json", maxReturn=200)["result"]
    channels = marketo.get("/rest/asset/v1/channels.json")["result"]
    assert {p["channel"] for p in programs} <= {c["name"] for c in channels}
    program = programs[0]
    inside = marketo.get(f"/rest/asset/v1/folder/{program['id']}/content.json", type="Program")
    assert {item["type"] for item in inside["result"]} == {"Email", "SmartCampaign"}
    for kind, name in (("emails", "email"), ("smartCampaigns", "smartCampaign"), ("forms", "form")):
        first = marketo.get(f"/rest/asset/v1/{kind}.json")["result"][0]
        by_id = marketo.get(f"/rest/asset/v1/{name}/{first['id']}.json")["result"]
        by_name = marketo.get(f"/rest/asset/v1/{name}/byName.json", name=first["name"])["result"]
        assert by_id == by_name == [first]
        missing = marketo.get(f"/rest/asset/v1/{name}/77777777.json")
        assert missing["success"] is True
        assert missing["warnings"] == ["No assets found for the given search criteria."]
        assert "result" not in missing
    assert all(
        marketo.get(f"/rest/asset/v1/folder/{f['id']}.json", type="Folder")["result"] == [f]
        for f in folders
    )
    nothing = marketo.get("/rest/asset/v1/tagTypes.json")
    assert nothing["warnings"] == ["No assets found for the given search criteria."]
    assert marketo.get("/rest/asset/v1/folder/1.json")["errors"][0]["code"] == "701"


def test_the_custom_object_describes_itself_and_is_found_by_its_keys(marketo: Client) -> None:
    about = marketo.get("/rest/v1/customobjects/workshop_c/describe.json")["result"][0]
    assert about == marketo.get("/rest/v1/customobjects.json", names="workshop_c")["result"][0]
    names = {field["name"] for field in about["fields"]}
    assert {*about["dedupeFields"], about["idField"]} <= names
    lead = marketo.get("/rest/v1/lists.json")["result"][0]["id"]
    lead = marketo.get(f"/rest/v1/lists/{lead}/leads.json")["result"][0]["id"]
    made = {"leadId": lead, "workshopName": "Keys"}
    marketo.post("/rest/v1/customobjects/workshop_c.json", {"input": [made]})
    asked = {"filterType": "dedupeFields", "fields": ["workshopName"], "input": [made]}
    path = "/rest/v1/customobjects/workshop_c.json?_method=GET"
    found = marketo.post(path, asked)["result"]
    assert [record["workshopName"] for record in found] == ["Keys"]
    assert set(found[0]) == {"seq", "marketoGUID", "workshopName"}
    for path, code in (
        ("customobjects/nope_c/describe", "1013"),
        ("opportunities/roles/describe", "1018"),
        ("companies", "1018"),
        ("namedaccounts", "603"),
    ):
        assert marketo.code(marketo.get(f"/rest/v1/{path}.json")) == code


def test_assets_tell_what_is_inside(marketo: Client) -> None:
    asset = "/rest/asset/v1"
    email = marketo.get(f"{asset}/emails.json", maxReturn=1)["result"][0]
    sections = marketo.get(f"{asset}/email/{email['id']}/content.json")["result"]
    assert [part["index"] for part in sections] == [1, 2]
    assert all({v["type"] for v in part["value"]} == {"HTML", "Text"} for part in sections)
    full = marketo.get(f"{asset}/email/{email['id']}/fullContent.json")["result"][0]
    assert full["content"].startswith("<!DOCTYPE html>")
    fields = marketo.get(f"{asset}/form/601/fields.json")["result"]
    known = {f["rest"]["name"].lower() for f in marketo.get("/rest/v1/leads/describe.json")["result"] if "rest" in f}  # fmt: skip
    assert {field["id"].lower() for field in fields} <= known
    form = marketo.get(f"{asset}/form/601.json")["result"][0]
    thanks = marketo.get(f"{asset}/form/601/thankYouPage.json")["result"][0]
    assert thanks == {"id": 601, "thankYouList": form["thankYouList"]}
    page = marketo.get(f"{asset}/landingPage/501/content.json")["result"]
    assert page[1]["content"] == 601
    for path in (
        "landingPage/501/fullContent", "landingPage/501/variables", "emailTemplate/301/content",
        "landingPageTemplate/302/content", f"email/{email['id']}/variables", "form/fields",
        "form/programMemberFields",
    ):  # fmt: skip
        assert marketo.get(f"{asset}/{path}.json")["result"], path
    for path, code in {
        "email/7/content": "702", "form/7/fields": "702", "landingPage/7/content": "702",
        "form/601/wings": "610", "email/x/fullContent": "702",
    }.items():  # fmt: skip
        assert marketo.code(marketo.get(f"{asset}/{path}.json")) == code, path


def test_schemas_tell_the_fields_of_every_object(marketo: Client) -> None:
    first = marketo.get("/rest/v1/leads/schema/fields.json", batchSize=50)
    rest = marketo.get(
        "/rest/v1/leads/schema/fields.json", batchSize=300, nextPageToken=first["nextPageToken"]
    )
    assert "nextPageToken" not in rest
    names = [field["name"] for field in (*first["result"], *rest["result"])]
    assert len(set(names)) == len(names) > 80
    one = marketo.get("/rest/v1/leads/schema/fields/email.json")["result"]
    assert [field["name"] for field in one] == ["email"]
    company = marketo.get("/rest/v1/companies/schema/fields.json")["result"]
    assert {field["name"] for field in company} <= set(names)
    for path in (
        "opportunities/schema/fields", "programs/members/schema/fields", "customobjects/schema",
        "programs/members/schema/fields/statusName", "customobjects/schema/workshop_c/describe",
        "customobjects/schema/fieldDataTypes", "customobjects/schema/linkableObjects",
    ):  # fmt: skip
        assert marketo.get(f"/rest/v1/{path}.json")["result"], path
    for path, code in {
        "leads/schema/fields/none": "1006", "customobjects/schema/none_c/describe": "1013",
        "leads/schema/fields/email/x": "610",
    }.items():  # fmt: skip
        assert marketo.code(marketo.get(f"/rest/v1/{path}.json")) == code, path


def test_a_path_may_lead_up(marketo: Client) -> None:
    host = marketo.base.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", "/rest/../bulk/v1/leads/export.json", headers=marketo.headers)
    assert json.loads(connection.getresponse().read())["success"] is True
    connection.close()


def test_what_is_too_long_is_refused_by_http(marketo: Client) -> None:
    ids = ",".join(str(n) for n in range(2_000))
    url = f"{marketo.base}/rest/v1/leads.json"
    long = requests.get(
        url, params={"filterType": "id", "filterValues": ids}, headers=marketo.headers, timeout=10
    )
    assert long.status_code == 414
    # The same question fits into a body.
    asked = requests.post(
        url, params={"_method": "GET"}, headers=marketo.headers, timeout=10,
        data={"filterType": "id", "filterValues": ",".join(ids.split(",")[:300])},
    )  # fmt: skip
    assert asked.json()["success"] is True
    body = {"input": [{"email": "big@x.example", "address": "x" * (1 << 20)}]}
    assert requests.post(url, json=body, headers=marketo.headers, timeout=10).status_code == 413
