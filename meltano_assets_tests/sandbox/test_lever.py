"""The sandbox's Lever keeps the vendor's contract (W1, W2, W3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_hiring import HIRED, HiringDesk
from meltano_assets.sandbox.lever import TokenBucket
from meltano_assets_tests.sandbox.conftest import Sandbox


class Client:
    """A plain client of one account."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.base = str(settings["base_url"])
        self.auth: Any = (str(settings["api_key"]), "")

    def ask(self, path: str, **params: object) -> requests.Response:
        return requests.get(f"{self.base}/{path}", params=params, auth=self.auth, timeout=10)  # type: ignore[arg-type]

    def all(self, path: str, **params: object) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        while True:
            answer = self.ask(path, **params)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            records += page["data"]
            assert page["hasNext"] is ("next" in page)
            if not page["hasNext"]:
                return records
            params["offset"] = page["next"]


@pytest.fixture
def lever(sandbox: Sandbox) -> Iterator[Client]:
    yield Client(sandbox.manifest["lever"])
    sandbox.clear()


def test_a_key_or_a_token_opens_the_account(lever: Client, sandbox: Sandbox) -> None:
    token = sandbox.manifest["lever"]["oauth_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{lever.base}/stages", headers=headers, timeout=10).status_code == 200
    lever.auth = ("wrong", "")
    refused = lever.ask("stages")
    assert refused.status_code == 401
    assert set(refused.json()) == {"code", "message"}


def test_pages_hold_every_opportunity_once(lever: Client, sandbox: Sandbox) -> None:
    records = lever.all("opportunities", limit=7)
    truths = sandbox.truths()["hiring"]["opportunities"]
    assert len({record["id"] for record in records}) == len(records) == truths["live"]
    secret = lever.all("opportunities", confidentiality="confidential")
    assert len(secret) == truths["confidential"]
    assert len(lever.all("opportunities", confidentiality="all")) == len(records) + len(secret)
    assert lever.all("candidates") == lever.all("opportunities")
    assert len(lever.all("opportunities/deleted")) == truths["deleted"]


def test_offsets_are_opaque_and_good_for_their_list_alone(lever: Client) -> None:
    token = lever.ask("opportunities", limit=1).json()["next"]
    for path, offset in (("opportunities", "abc"), ("postings", token)):
        answer = lever.ask(path, offset=offset, limit=1)
        assert answer.status_code == 400
        assert answer.json()["code"] == "BadRequestError"
        assert answer.json()["message"].startswith("Invalid offset token")


def test_windows_are_milliseconds_and_hold_both_ends(lever: Client) -> None:
    records = lever.all("opportunities")
    times = sorted(record["updatedAt"] for record in records)
    start, end = times[len(times) // 3], times[2 * len(times) // 3]
    chosen = lever.all("opportunities", updated_at_start=start, updated_at_end=end)
    assert sorted(r["updatedAt"] for r in chosen) == [t for t in times if start <= t <= end]
    assert lever.ask("opportunities", updated_at_start="yesterday").status_code == 400
    assert lever.ask("opportunities", limit=101).status_code == 400


def test_what_is_expanded_is_an_object(lever: Client) -> None:
    plain = lever.ask("opportunities", limit=1).json()["data"][0]
    record = lever.ask("opportunities", limit=1, expand=["stage", "applications"]).json()["data"][0]
    assert record["stage"]["id"] == plain["stage"]
    assert [application["id"] for application in record["applications"]] == plain["applications"]
    assert lever.ask("opportunities", expand="moon").status_code == 400
    few = lever.ask("opportunities", limit=1, include=["id", "origin"]).json()["data"][0]
    assert set(few) == {"id", "origin"}


def test_children_belong_to_their_opportunity(lever: Client, sandbox: Sandbox) -> None:
    offers: Counter[str] = Counter()
    for record in lever.all("opportunities"):
        applications = lever.all(f"opportunities/{record['id']}/applications")
        assert [application["opportunityId"] for application in applications] == [record["id"]]
        offers.update(o["status"] for o in lever.all(f"opportunities/{record['id']}/offers"))
    assert offers == sandbox.truths()["hiring"]["offers_by_status"]
    missing = lever.ask("opportunities/nobody/offers")
    assert (missing.status_code, missing.json()["code"]) == (404, "ResourceNotFound")


def test_hires_are_people_of_the_sales_team_and_others(
    lever: Client, sandbox: Sandbox, small_company: Company
) -> None:
    hired = [
        record
        for record in lever.all("opportunities", confidentiality="all")
        if record["archived"] and record["archived"]["reason"] == HIRED
    ]
    names = {record["name"] for record in hired}
    assert {user["Name"] for user in small_company.salesforce_state(0)["User"].values()} <= names
    months = Counter(
        datetime.fromtimestamp(r["archived"]["archivedAt"] / 1000, UTC).strftime("%Y-%m")
        for r in hired
        if r["confidentiality"] == "non-confidential"
    )
    assert months == sandbox.truths()["hiring"]["hires"]["by_month"]
    heads = {r["id"]: r["headcountHired"] for r in lever.all("requisitions", confidentiality="all")}
    assert sum(heads.values()) == len(hired)


def test_too_many_requests_are_told_without_a_time(lever: Client, sandbox: Sandbox) -> None:
    sandbox.arm("lever", "throttle")
    answer = lever.ask("stages")
    assert (answer.status_code, answer.json()["code"]) == (429, "TooManyRequests")
    assert "Retry-After" not in answer.headers
    bucket = TokenBucket(10, 20)
    assert sum(bucket.take() for _ in range(40)) == pytest.approx(20, abs=1)


def test_deactivated_users_come_on_request(lever: Client) -> None:
    assert len(lever.all("users")) < len(lever.all("users", includeDeactivated="true"))


def test_days_move_the_funnel(tmp_path: Any) -> None:
    company = Company(5, 0.3, date(2025, 6, 1))

    def state(day: int) -> dict[str, dict[str, Any]]:
        desk = HiringDesk(company)
        desk.build(day)
        now = int(company.now(day).timestamp() * 1000)
        return {str(r["id"]): r for r in desk.opportunities(now)}

    before, after = state(0), state(9)
    assert set(after) - set(before)
    assert [key for key in before if key in after and after[key]["stage"] != before[key]["stage"]]
    assert state(9) == after


def test_what_hangs_on_opportunities_fits_their_lives(lever: Client) -> None:
    seen: Counter[str] = Counter()
    users = {user["id"] for user in lever.all("users", includeDeactivated="true")}
    templates = {one["id"] for one in lever.all("feedback_templates")}
    for one in lever.all("opportunities")[:40]:
        path = f"opportunities/{one['id']}"
        stages = {change["toStageId"] for change in one["stageChanges"]}
        kinds = (
            "resumes",
            "files",
            "notes",
            "panels",
            "interviews",
            "feedback",
            "forms",
            "referrals",
        )
        found = {kind: lever.all(f"{path}/{kind}") for kind in kinds}
        seen.update({kind: len(records) for kind, records in found.items()})
        talks = {talk["id"]: talk for talk in found["interviews"]}
        assert [panel["interviews"] for panel in found["panels"]] == [[t] for t in talks.values()]
        for talk in talks.values():
            assert talk["stage"] in stages
            assert {who["id"] for who in talk["interviewers"]} <= users
        for form in found["feedback"]:
            talk = talks[form["interview"]]
            assert talk["feedbackForms"] == [form["id"]]
            assert form["completedAt"] > talk["date"]
            assert form["baseTemplateId"] in templates
        assert bool(found["referrals"]) is (one["origin"] == "referred")
        for record in found["resumes"]:
            assert record["createdAt"] == one["createdAt"]
            assert lever.ask(f"{path}/resumes/{record['id']}").json()["data"] == record
            file = lever.ask(f"{path}/resumes/{record['id']}/download")
            assert len(file.content) == record["file"]["size"]
        if found["resumes"]:
            again = lever.all(f"{path}/resumes")
            assert again == found["resumes"]
    assert all(seen[kind] for kind in kinds), seen
