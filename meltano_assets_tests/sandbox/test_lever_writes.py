"""What clients write to Lever, by its contract, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.test_lever import Client


class Writer(Client):
    """A client that writes, as the first user."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox.manifest["lever"])
        self.sandbox = sandbox
        self.user = self.all("users")[0]["id"]

    def send(self, method: str, path: str, body: object = None, **more: Any) -> requests.Response:
        params = more.pop("params", {"perform_as": self.user})
        url = f"{self.base}/{path}"
        return requests.request(
            method, url, json=body, params=params, auth=self.auth, timeout=10, **more
        )

    def data(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        answer = self.send(method, path, body)
        assert answer.status_code == status, answer.text
        return answer.json()["data"]

    def begin(self, **fields: object) -> dict[str, Any]:
        return self.data("POST", "opportunities", {"name": "Zoë", **fields}, 201)

    def now(self, opportunity: dict[str, Any]) -> dict[str, Any]:
        return self.ask(f"opportunities/{opportunity['id']}").json()["data"]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """An account of these tests' own."""
    folder = tmp_path_factory.mktemp("account")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.05, today=TODAY) as manifest:
        yield Writer(Sandbox(manifest))


def test_a_new_opportunity_is_found_everywhere(writer: Writer) -> None:
    posting = writer.all("postings")[0]
    before = writer.all("opportunities")
    made = writer.begin(
        emails=["zoe@new.example"], postings=[posting["id"]], tags=["fast"], sources=["Fair"]
    )
    assert made == writer.now(made)
    after = writer.all("opportunities")
    assert {r["id"] for r in after} - {r["id"] for r in before} == {made["id"]}
    news = writer.all("opportunities", updated_at_start=made["updatedAt"])
    assert [r["id"] for r in news] == [made["id"]]
    assert [r["id"] for r in writer.all("opportunities", tag="fast")] == [made["id"]]
    (application,) = writer.all(f"opportunities/{made['id']}/applications")
    assert (application["posting"], application["id"]) == (posting["id"], made["applications"][0])
    again = writer.begin(emails=["zoe@new.example"])
    assert again["contact"] == made["contact"]
    assert again["id"] != made["id"]


def test_an_opportunity_moves_ends_and_comes_back(writer: Writer) -> None:
    made = writer.begin()
    path = f"opportunities/{made['id']}"
    stages = [stage["id"] for stage in writer.all("stages")]
    moved = writer.data("PUT", f"{path}/stage", {"stage": stages[5]})
    assert moved["stage"] == stages[5]
    assert [c["toStageId"] for c in moved["stageChanges"]] == ["lead-new", stages[5]]
    reason = writer.all("archive_reasons")[1]["id"]
    ended = writer.data("PUT", f"{path}/archived", {"reason": reason})
    assert ended["archived"]["reason"] == reason
    assert made["id"] in {r["id"] for r in writer.all("opportunities", archived="true")}
    assert writer.data("PUT", f"{path}/archived", {"reason": None})["archived"] is None
    assert writer.now(made)["archived"] is None


def test_tags_sources_and_links_come_and_go(writer: Writer) -> None:
    made = writer.begin(tags=["a"])
    path = f"opportunities/{made['id']}"
    assert writer.data("POST", f"{path}/addTags", {"tags": ["b", "a", "b"]})["tags"] == ["a", "b"]
    assert writer.data("POST", f"{path}/removeTags", {"tags": ["a", "x"]})["tags"] == ["b"]
    links = ["https://one.example"]
    assert writer.data("POST", f"{path}/addLinks", {"links": links})["links"] == links
    assert writer.data("POST", f"{path}/removeLinks", {"links": links})["links"] == []
    assert writer.data("POST", f"{path}/addSources", {"sources": ["Fair"]})["sources"] == ["Fair"]
    wrong = writer.send("POST", f"{path}/addTags", {"tags": "a"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "BadRequestError")
    assert writer.send("POST", f"{path}/addTags", {}).status_code == 400


def test_notes_and_files_hang_on_an_opportunity(writer: Writer) -> None:
    path = f"opportunities/{writer.begin()['id']}"
    note = writer.data("POST", f"{path}/notes", {"value": "Good talk"}, 201)
    assert writer.all(f"{path}/notes") == [note]
    changed = writer.data("PUT", f"{path}/notes/{note['id']}", {"value": "Great"})
    assert changed["fields"][0]["value"] == "Great"
    assert writer.ask(f"{path}/notes/{note['id']}").json()["data"] == changed
    assert writer.send("DELETE", f"{path}/notes/{note['id']}").status_code == 204
    assert writer.all(f"{path}/notes") == []
    assert writer.send("DELETE", f"{path}/notes/{note['id']}").status_code == 404
    answer = requests.post(
        f"{writer.base}/{path}/files",
        params={"perform_as": writer.user},
        files={"file": ("cv.pdf", b"%PDF\x00\xff", "application/pdf")},
        auth=writer.auth,
        timeout=10,
    )
    assert answer.status_code == 201
    file = answer.json()["data"]
    assert (file["name"], file["ext"], file["size"]) == ("cv.pdf", "pdf", 6)
    assert writer.all(f"{path}/files") == [file]
    content = writer.ask(f"{path}/files/{file['id']}/download").content
    assert content == b"%PDF\x00\xff"


def test_a_contact_changes_in_all_its_opportunities(writer: Writer) -> None:
    first = writer.begin(emails=["c@new.example"])
    second = writer.begin(emails=["c@new.example"])
    path = f"contacts/{first['contact']}"
    assert writer.ask(path).json()["data"]["emails"] == ["c@new.example"]
    changed = writer.data("PUT", path, {"name": "New Name", "headline": "Boss"})
    assert (changed["id"], changed["name"]) == (first["contact"], "New Name")
    assert [writer.now(each)["name"] for each in (first, second)] == ["New Name"] * 2


def test_postings_requisitions_and_users(writer: Writer) -> None:
    posting = writer.data("POST", "postings", {"text": "Baker"}, 201)
    assert (posting["state"], posting["user"]) == ("draft", writer.user)
    assert writer.data("POST", f"postings/{posting['id']}", {"text": "Cook"})["text"] == "Cook"
    needed = {"requisitionCode": "R-9", "name": "Cook", "headcountTotal": 2}
    requisition = writer.data("POST", "requisitions", needed, 201)
    path = f"requisitions/{requisition['id']}"
    writer.data("PUT", path, {**needed, "headcountTotal": 3})
    assert writer.ask(path).json()["data"]["headcountTotal"] == 3
    assert writer.send("DELETE", path).status_code == 204
    assert writer.ask(path).status_code == 404
    user = writer.data("POST", "users", {"name": "U", "email": "u@new.example"}, 201)
    taken = writer.send("POST", "users", {"name": "U", "email": "u@new.example"})
    assert taken.status_code == 409
    writer.data("POST", f"users/{user['id']}/deactivate")
    assert user["id"] not in {u["id"] for u in writer.all("users")}
    writer.data("POST", f"users/{user['id']}/reactivate")
    assert user["id"] in {u["id"] for u in writer.all("users")}


@pytest.mark.parametrize(
    ("path", "body", "params", "status"),
    [
        ("opportunities", {}, {}, 400),
        ("opportunities", {}, {"perform_as": "nobody"}, 404),
        ("opportunities", {"stage": "nowhere"}, None, 400),
        ("opportunities", {"postings": ["a", "b"]}, None, 400),
        ("opportunities", [], None, 400),
        ("opportunities/nothing/notes", {"value": "x"}, None, 404),
        ("postings", {}, None, 400),
        ("stages", {"text": "x"}, None, 405),
        ("stages/x", {"text": "x"}, None, 405),
        ("contacts/x", {}, None, 405),
        ("nothing", {}, None, 404),
        ("nothing/x/y/z", {}, None, 404),
        ("opportunities/nothing/resumes", {}, None, 405),
        ("opportunities/nothing/wings", {}, None, 404),
        ("webhooks", {"url": "x"}, None, 400),
        ("webhooks", {"url": "https://x.example", "event": "dance"}, None, 400),
        ("webhooks", {"url": 5, "event": "candidateHired"}, None, 400),
    ],
)
def test_what_makes_no_sense_is_refused(
    writer: Writer, path: str, body: object, params: dict[str, str] | None, status: int
) -> None:
    more = {} if params is None else {"params": params}
    answer = writer.send("POST", path, body, **more)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message"}


def test_what_was_written_outlives_a_restart_and_the_companys_days(tmp_path: Path) -> None:
    where: dict[str, Any] = {"state_dir": tmp_path, "seed": 7, "scale": 0.05, "today": TODAY}
    with serve_in_thread(**where) as manifest:
        writer = Writer(Sandbox(manifest))
        made = writer.begin()
        known = writer.all("opportunities", limit=1)[0]
        writer.data("POST", f"opportunities/{known['id']}/addTags", {"tags": ["kept"]})
    with serve_in_thread(**where) as manifest:
        writer = Writer(Sandbox(manifest))
        writer.sandbox.advance(3)
        assert writer.now(made) == made
        assert "kept" in writer.now(known)["tags"]


def test_a_method_that_is_not_served_is_told_what_is(writer: Writer) -> None:
    for method, path, allowed in (
        ("DELETE", "stages", "GET"),
        ("PATCH", "opportunities", "GET, POST"),
        ("DELETE", "postings/x", "GET, PUT"),
        ("PATCH", "requisitions/x", "GET, PUT, DELETE"),
        ("POST", "opportunities/x/stage", "PUT"),
        ("PUT", "opportunities/x/notes", "GET, POST"),
    ):
        answer = writer.send(method, path, {})
        assert answer.status_code == 405
        assert answer.headers["Allow"] == allowed
        assert answer.json() == {
            "code": "MethodNotAllowedError", "message": f"{method} is not allowed",
        }  # fmt: skip


def test_panels_hold_interviews_which_get_feedback(writer: Writer) -> None:
    made = writer.begin()
    path = f"opportunities/{made['id']}"
    talk = {"date": 1_700_000_000_000, "duration": 30, "interviewers": [{"id": writer.user}]}
    asked = {"timezone": "UTC", "interviews": [talk]}
    panel = writer.data("POST", f"{path}/panels", asked, 201)
    assert (panel["start"], panel["end"]) == (1_700_000_000_000, 1_700_001_800_000)
    later = {**talk, "date": 1_700_007_200_000, "panel": panel["id"]}
    second = writer.data("POST", f"{path}/interviews", later, 201)
    talks = writer.all(f"{path}/interviews")
    assert [one["panel"] for one in talks] == [panel["id"], panel["id"]]
    assert talks[1] == second
    assert writer.all(f"{path}/panels")[0]["end"] == 1_700_009_000_000
    moved = writer.data("PUT", f"{path}/interviews/{second['id']}", {"location": "call"})
    assert (moved["location"], moved["date"]) == ("call", second["date"])
    template = writer.all("feedback_templates")[0]
    told = {
        "baseTemplateId": template["id"], "interview": second["id"], "panel": panel["id"],
        "fieldValues": [{"id": template["fields"][0]["id"], "value": "3 - Hire"}],
    }  # fmt: skip
    feedback = writer.data("POST", f"{path}/feedback", told, 201)
    assert feedback["fields"][0]["value"] == "3 - Hire"
    assert feedback["text"] == template["text"]
    answer = {"id": template["fields"][1]["id"], "value": "Good"}
    writer.data("PUT", f"{path}/feedback/{feedback['id']}", {"fieldValues": [answer]})
    (kept,) = writer.all(f"{path}/feedback")
    assert [field["value"] for field in kept["fields"]] == ["3 - Hire", "Good"]
    for body in (
        {**told, "baseTemplateId": "x"}, {**told, "fieldValues": [{"id": "x", "value": 1}]}, {},
    ):  # fmt: skip
        assert writer.send("POST", f"{path}/feedback", body).status_code == 400
    for body in ({**later, "panel": "x"}, {**later, "interviewers": [{"id": "x"}]},
                 {**later, "date": "soon"}, {**later, "interviewers": 7}):  # fmt: skip
        assert writer.send("POST", f"{path}/interviews", body).status_code == 400
    assert writer.send("POST", f"{path}/panels", asked, params={}).status_code == 400
    assert writer.send("DELETE", f"{path}/feedback/{feedback['id']}").status_code == 204
    assert writer.all(f"{path}/feedback") == []


def test_what_the_company_made_can_be_changed_and_deleted(writer: Writer) -> None:
    opportunity, note = next(
        (one, notes[0])
        for one in writer.all("opportunities")
        if (notes := writer.all(f"opportunities/{one['id']}/notes"))
    )
    path = f"opportunities/{opportunity['id']}/notes"
    before = writer.all(path)
    changed = writer.data("PUT", f"{path}/{note['id']}", {"value": "Else"})
    assert changed["fields"][0]["value"] == "Else"
    assert writer.all(path) == [changed, *before[1:]]
    assert writer.send("DELETE", f"{path}/{note['id']}").status_code == 204
    assert writer.all(path) == before[1:]


def test_webhooks_and_templates_are_kept(writer: Writer) -> None:
    hook = writer.data(
        "POST", "webhooks", {"url": "https://x.example", "event": "candidateHired"}, 201
    )
    assert writer.all("webhooks") == [hook]
    assert writer.send("DELETE", f"webhooks/{hook['id']}").status_code == 204
    made = writer.data("POST", "form_templates", {"text": "T", "fields": []}, 201)
    assert made in writer.all("form_templates")
