"""Assets that clients write to the simulated Marketo: folders, tokens, programs, e-mails (W1, W2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.test_marketo_writes import Writer

_PROGRAMS = json.dumps({"id": 20, "type": "Folder"})
_EMAIL = {
    "subject": "Hello", "fromName": "Us", "fromEmail": "us@x.test", "replyEmail": "us@x.test",
    "template": "301", "folder": json.dumps({"id": 32, "type": "Folder"}),
}  # fmt: skip


class Builder(Writer):
    """A client that builds assets, by forms."""

    def send(self, path: str, **form: object) -> dict[str, Any]:
        address = f"{self.base}/rest/asset/v1/{path}.json"
        answer = requests.post(address, data=form, headers=self.headers, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def made(self, path: str, **form: object) -> dict[str, Any]:
        answer = self.send(path, **form)
        assert answer["success"], answer
        return answer["result"][0]

    def refused(self, path: str, **form: object) -> str:
        answer = self.send(path, **form)
        assert not answer["success"], answer
        return answer["errors"][0]["code"]

    def asset(self, path: str, **query: object) -> list[dict[str, Any]]:
        return self.get(f"/rest/asset/v1/{path}.json", **query).get("result", [])


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """A subscription of these tests' own."""
    folder = tmp_path_factory.mktemp("assets")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.05, today=TODAY) as manifest:
        yield Builder(Sandbox(manifest))


def test_a_folder_is_made_renamed_filled_and_deleted(builder: Builder) -> None:
    made = builder.made("folders", name="Spring", parent=_PROGRAMS, description="new")
    assert (made["path"], made["parent"]) == (
        "/Marketing Activities/Programs/Spring",
        {"id": 20, "type": "Folder"},
    )
    key = made["id"]
    assert builder.asset(f"folder/{key}", type="Folder") == [made]
    assert builder.asset("folder/byName", name="Spring") == [made]
    assert builder.refused("folders", name="Spring", parent=_PROGRAMS) == "709"
    renamed = builder.made(f"folder/{key}", type="Folder", name="Summer", isArchive="true")
    assert (renamed["name"], renamed["isArchive"]) == ("Summer", True)
    # As a client of Python writes it, which is no JSON.
    inner = builder.made("folders", name="In", parent=f"{{'id': {key}, 'type': Folder}}")
    assert builder.refused(f"folder/{key}/delete", type="Folder") == "709"
    below = builder.asset(f"folder/{key}/content", type="Folder")
    assert below == [{"id": inner["id"], "type": "Folder"}]
    for number in (inner["id"], key):
        assert builder.made(f"folder/{number}/delete", type="Folder") == {"id": number}
    assert builder.asset(f"folder/{key}", type="Folder") == []


def test_tokens_are_kept_replaced_and_deleted(builder: Builder) -> None:
    told = {"folderType": "Folder", "name": "price", "type": "text"}
    builder.made("folder/20/tokens", value="5", **told)
    builder.made(
        "folder/20/tokens", folderType="Folder", name="on", type="date", value="2025-06-01"
    )
    kept = builder.made("folder/20/tokens", value="6", **told)
    assert {token["name"]: token["value"] for token in kept["tokens"]} == {
        "on": "2025-06-01", "price": "6",
    }  # fmt: skip
    assert builder.asset("folder/20/tokens", folderType="Folder")[0]["tokens"] == kept["tokens"]
    left = builder.made("folder/20/tokens/delete", **told)
    assert [token["name"] for token in left["tokens"]] == ["on"]
    assert builder.refused("folder/20/tokens/delete", **told) == "702"


def test_a_program_is_made_changed_copied_and_takes_leads(builder: Builder) -> None:
    channel = builder.asset("channels")[0]["name"]
    costs = json.dumps([{"startDate": "2025-05-01", "cost": 100}])
    form = {"name": "Ours", "folder": _PROGRAMS, "type": "program", "channel": channel}
    made = builder.made("programs", costs=costs, **form)
    assert (made["type"], made["costs"][0]["cost"]) == ("Default", 100)
    key = made["id"]
    assert builder.asset(f"program/{key}") == [made]
    changed = builder.made(f"program/{key}", description="d", startDate="2025-05-01T00:00:00Z")
    assert (changed["description"], changed["startDate"][:10]) == ("d", "2025-05-01")
    place = json.dumps({"id": key, "type": "Program"})
    email = builder.made("emails", name="Ours.Mail", **{**_EMAIL, "folder": place})
    inside = builder.asset(f"folder/{key}/content", type="Program")
    assert {"id": email["id"], "type": "Email"} in inside
    lead = builder.save({"email": "in@program.test"})[0]["id"]
    body = {"statusName": "Member", "input": [{"leadId": lead}]}
    assert builder.results(f"/rest/v1/programs/{key}/members/status.json", body)[0]["status"]
    copy = builder.made(f"program/{key}/clone", name="Copy", folder=_PROGRAMS)
    assert copy["channel"] == channel
    assert builder.made(f"program/{copy['id']}/delete") == {"id": copy["id"]}
    assert builder.refused(f"program/{copy['id']}/delete") == "702"


def test_an_email_is_drafted_approved_copied_and_deleted(builder: Builder) -> None:
    made = builder.made("emails", name="News", operational="true", **_EMAIL)
    assert (made["status"], made["operational"]) == ("draft", True)
    assert made["subject"] == {"type": "Text", "value": "Hello"}
    key = made["id"]
    builder.made(f"email/{key}/content", subject=json.dumps({"type": "Text", "value": "Hi"}))
    assert builder.made(f"email/{key}", description="d")["subject"]["value"] == "Hi"
    assert builder.made(f"email/{key}/approveDraft") == {"id": key}
    assert builder.asset(f"email/{key}")[0]["status"] == "approved"
    assert builder.refused(f"email/{key}/delete") == "709"
    assert builder.made(f"email/{key}/sendSample", emailAddress="a@b.test")["result"] is True
    copy = builder.made(f"email/{key}/clone", name="News 2", folder=_EMAIL["folder"])
    assert copy["subject"]["value"] == "Hi"
    builder.made(f"email/{key}/unapprove")
    assert builder.made(f"email/{key}/delete") == {"id": key}


@pytest.mark.parametrize(
    ("path", "form", "code"),
    [
        ("folders", {}, "701"),
        ("folders", {"name": "x", "parent": "{"}, "701"),
        ("folders", {"name": "x", "parent": '{"id": 999999}'}, "710"),
        ("folders", {"name": "x" * 256, "parent": _PROGRAMS}, "701"),
        ("folder/20", {"type": "Folder", "name": "x"}, "709"),
        ("folder/20/delete", {"type": "Folder"}, "709"),
        ("folder/99999999/delete", {"type": "Folder"}, "702"),
        ("folder/20/dance", {}, "610"),
        ("folder/20/tokens", {"folderType": "Nope", "name": "a", "type": "text"}, "701"),
        ("folder/20/tokens", {"folderType": "Folder", "name": "a", "type": "sound"}, "701"),
        ("folder/20/tokens", {"folderType": "Folder", "name": "a", "type": "text"}, "701"),
        ("programs", {"name": "x", "folder": _PROGRAMS, "type": "x", "channel": "y"}, "701"),
        ("programs", {"name": "x", "folder": _PROGRAMS, "type": "Event", "channel": "y"}, "702"),
        ("programs", {"name": "x", "folder": "[]"}, "701"),
        ("emails", {"name": "x"}, "701"),
        ("emails", {"name": "x", **_EMAIL, "template": "1"}, "702"),
        ("email/1/approveDraft", {}, "702"),
        ("staticLists", {"name": "x", "folder": "no"}, "701"),
        ("staticList/x/delete", {}, "702"),
        ("forms", {"name": "x"}, "603"),
    ],
)
def test_what_cannot_be_built_is_refused(
    path: str, form: dict[str, str], code: str, builder: Builder
) -> None:
    assert builder.refused(path, **form) == code


def test_the_companys_own_assets_stay(builder: Builder) -> None:
    program = builder.asset("programs")[0]
    assert builder.refused(f"program/{program['id']}", description="x") == "709"
    email = builder.asset("emails")[0]
    assert builder.refused(f"email/{email['id']}/unapprove") == "709"
