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
        ("stages", {"text": "x"}, None, 403),
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
