"""What clients write to Zendesk, by its contract, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.test_zendesk import Client

TICKETS = "/api/v2/tickets"


class Writer(Client):
    """A client that writes, too."""

    def send(
        self, method: str, path: str, body: object = None, **options: Any
    ) -> requests.Response:
        url = f"{self.base_url}{path}"
        return self.session.request(method, url, json=body, timeout=10, **options)

    def ticket(self, **fields: object) -> dict[str, Any]:
        """A new ticket."""
        body = {"ticket": {"subject": "s", "comment": {"body": "hello"}, **fields}}
        made = self.send("POST", f"{TICKETS}.json", body)
        assert made.status_code == 201, made.text
        return made.json()["ticket"]

    def kept(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """The ticket as it is now."""
        return self.get(f"{TICKETS}/{ticket['id']}.json").json()["ticket"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """A desk of these tests' own."""
    folder = tmp_path_factory.mktemp("desk")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.05, today=TODAY) as manifest:
        yield Writer(Sandbox(manifest))


def test_a_new_ticket_is_found_everywhere(desk: Writer) -> None:
    agent = desk.get("/api/v2/users/me.json").json()["user"]
    before = desk.get(f"{TICKETS}/count.json").json()["count"]["value"]
    cursor = desk.get("/api/v2/incremental/tickets/cursor.json", start_time=0).json()
    made = desk.send(
        "POST",
        f"{TICKETS}.json",
        {
            "ticket": {
                "subject": "Zebra crossing",
                "comment": {"body": "It is <grey>", "public": False},
                "priority": "high",
                "assignee_email": agent["email"],
                "tags": ["One Tag", "one_tag", "b"],
                "requester": {"name": "New Person", "email": "new.person@zebra.test"},
            }
        },
    )
    assert made.status_code == 201, made.text
    ticket = made.json()["ticket"]
    assert made.headers["Location"] == ticket["url"]
    assert made.json()["audit"]["ticket_id"] == ticket["id"]
    assert (ticket["status"], ticket["priority"], ticket["is_public"]) == ("open", "high", False)
    assert (ticket["tags"], ticket["assignee_id"]) == (["b", "one_tag"], agent["id"])
    person = desk.get(f"/api/v2/users/{ticket['requester_id']}.json").json()["user"]
    assert (person["email"], person["role"]) == ("new.person@zebra.test", "end-user")
    assert desk.kept(ticket) == ticket
    assert desk.get(f"{TICKETS}/count.json").json()["count"]["value"] == before + 1
    news = desk.get(cursor["after_url"]).json()["tickets"]
    assert [t["id"] for t in news] == [ticket["id"]]
    found = desk.get("/api/v2/search.json", query="type:ticket zebra").json()
    assert [r["id"] for r in found["results"]] == [ticket["id"]]
    asked = desk.get(f"/api/v2/users/{person['id']}/tickets/requested.json").json()["tickets"]
    assert [t["id"] for t in asked] == [ticket["id"]]


def test_an_update_leaves_a_comment_and_an_audit(desk: Writer) -> None:
    ticket = desk.ticket(tags=["a"])
    path = f"{TICKETS}/{ticket['id']}"
    change = {
        "status": "pending",
        "additional_tags": ["b"],
        "custom_fields": [{"id": ticket["custom_fields"][0]["id"], "value": "11.0"}],
        "comment": {"body": "note", "public": False},
    }
    done = desk.send("PUT", f"{path}.json", {"ticket": change}).json()
    assert (done["ticket"]["status"], done["ticket"]["tags"]) == ("pending", ["a", "b"])
    assert done["ticket"]["custom_fields"][0]["value"] == "11.0"
    kinds = [(e["type"], e.get("field_name")) for e in done["audit"]["events"]]
    assert kinds == [("Change", "status"), ("Change", "tags"), ("Comment", None)]
    comments = desk.get(f"{path}/comments.json").json()["comments"]
    assert [(c["body"], c["public"]) for c in comments] == [("hello", True), ("note", False)]
    assert len(desk.get(f"{path}/audits.json").json()["audits"]) == 2
    assert desk.send("PUT", f"{path}/tags.json", {"tags": ["c"]}).json() == {
        "tags": ["a", "b", "c"]
    }
    assert desk.send("DELETE", f"{path}/tags.json", {"tags": ["a"]}).json()["tags"] == ["b", "c"]
    assert desk.send("POST", f"{path}/tags.json", {"tags": ["z"]}).status_code == 201
    assert desk.get(f"{path}/tags.json").json() == {"tags": ["z"]}
    stale = {"subject": "x", "safe_update": True, "updated_stamp": "2020-01-01T00:00:00Z"}
    assert desk.send("PUT", path, {"ticket": stale}).status_code == 409
    desk.send("PUT", path, {"ticket": {"status": "closed"}})
    refused = desk.send("PUT", path, {"ticket": {"subject": "x"}})
    assert refused.status_code == 422
    assert "status" in refused.json()["details"]


def test_a_deleted_ticket_can_be_restored(desk: Writer) -> None:
    ticket = desk.ticket(status="open")
    path = f"{TICKETS}/{ticket['id']}.json"
    gone = desk.send("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert desk.get(path).status_code == 404
    listed = desk.get("/api/v2/deleted_tickets.json").json()["deleted_tickets"]
    assert {t["id"] for t in listed} >= {ticket["id"]}
    exported = desk.get("/api/v2/incremental/tickets/cursor.json", start_time=0).json()["tickets"]
    assert exported[-1]["status"] == "deleted"
    assert not [name for name in exported[-1] if name.startswith("_")]
    restored = desk.send("PUT", f"/api/v2/deleted_tickets/{ticket['id']}/restore.json")
    assert restored.status_code == 200
    assert desk.kept(ticket)["status"] == "open"


def test_many_records_are_written_by_a_job(desk: Writer) -> None:
    given = [{"subject": f"m{n}", "comment": {"body": "b"}} for n in range(3)]
    job = desk.send(
        "POST", f"{TICKETS}/create_many.json", {"tickets": [*given, {"subject": "empty"}]}
    ).json()["job_status"]
    assert (job["status"], job["total"]) == ("queued", 4)
    done = desk.get(job["url"]).json()["job_status"]
    assert (done["status"], done["progress"]) == ("completed", 4)
    ids = [result["id"] for result in done["results"] if result.get("success")]
    assert (len(ids), done["results"][3]["error"]) == (3, "RecordInvalid")
    joined = ",".join(map(str, ids))
    path = f"{TICKETS}/update_many.json?ids={joined}"
    desk.send("PUT", path, {"ticket": {"status": "solved"}})
    assert {desk.kept({"id": number})["status"] for number in ids} == {"solved"}
    desk.send("DELETE", f"{TICKETS}/destroy_many.json?ids={joined}")
    assert desk.get(f"{TICKETS}/{ids[0]}.json").status_code == 404
    too_many = [{"subject": "m", "comment": {"body": "b"}}] * 101
    refused = desk.send("POST", f"{TICKETS}/create_many.json", {"tickets": too_many})
    assert refused.status_code == 413


def test_users_and_organizations_are_kept(desk: Writer) -> None:
    person = {"name": "Ada", "email": "ada@writes.test"}
    made = desk.send("POST", "/api/v2/users.json", {"user": person})
    assert made.status_code == 201
    user = made.json()["user"]
    again = desk.send("POST", "/api/v2/users.json", {"user": person})
    assert again.status_code == 422
    assert again.json()["details"]["email"][0]["error"] == "DuplicateValue"
    body = {"user": {**person, "name": "Ada King"}}
    merged = desk.send("POST", "/api/v2/users/create_or_update.json", body)
    assert (merged.status_code, merged.json()["user"]["id"]) == (200, user["id"])
    organization = desk.send(
        "POST", "/api/v2/organizations.json", {"organization": {"name": "Writes Ltd"}}
    ).json()["organization"]
    desk.send(
        "PUT", f"/api/v2/users/{user['id']}.json", {"user": {"organization_id": organization["id"]}}
    )
    members = desk.get(f"/api/v2/organizations/{organization['id']}/users.json").json()["users"]
    assert [(u["id"], u["name"]) for u in members] == [(user["id"], "Ada King")]
    gone = desk.send("DELETE", f"/api/v2/users/{user['id']}.json")
    assert gone.json()["user"]["active"] is False
    assert desk.get(f"/api/v2/users/{user['id']}.json").status_code == 404
    assert desk.send("DELETE", f"/api/v2/organizations/{organization['id']}").status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"{TICKETS}.json", {"ticket": {"subject": "no comment"}}, 422),
        ("POST", f"{TICKETS}.json", {"ticket": {"comment": {"body": "b"}, "status": "odd"}}, 422),
        ("POST", f"{TICKETS}.json", {"ticket": {"comment": {"body": "b"}, "group_id": 1}}, 422),
        ("POST", f"{TICKETS}.json", {"ticket": {"comment": {"body": "b"}, "requester_id": 1}}, 422),
        (
            "POST",
            f"{TICKETS}.json",
            {"ticket": {"comment": {"body": "b"}, "requester_id": 1e30}},
            422,
        ),
        ("POST", f"{TICKETS}.json", {"tickets": {}}, 400),
        ("POST", f"{TICKETS}.json", [], 400),
        ("PUT", f"{TICKETS}/123456789.json", {"ticket": {}}, 404),
        ("DELETE", f"{TICKETS}/123456789.json", None, 404),
        ("POST", "/api/v2/users.json", {"user": {"email": "x@y.test"}}, 422),
        ("POST", "/api/v2/users.json", {"user": {"name": "x", "role": "king"}}, 422),
        ("POST", "/api/v2/targets.json", {"target": {}}, 403),
        ("POST", "/api/v2/triggers.json", {"trigger": {}}, 422),
        ("POST", f"{TICKETS}/1/nothing.json", {}, 404),
    ],
)
def test_bad_writes_are_refused(
    desk: Writer, method: str, path: str, body: object, status: int
) -> None:
    before = desk.get(f"{TICKETS}/count.json").json()["count"]["value"]
    answer = desk.send(method, path, body)
    assert (answer.status_code, "error" in answer.json()) == (status, True)
    assert desk.get(f"{TICKETS}/count.json").json()["count"]["value"] == before


def test_a_body_that_is_no_json_is_refused(desk: Writer) -> None:
    url = f"{desk.base_url}{TICKETS}.json"
    answer = desk.session.post(url, data="{not json", timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidRequest")
    assert desk.session.options(url, timeout=10).status_code == 404


def test_what_was_written_outlives_a_restart_and_the_companys_days(tmp_path: Path) -> None:
    options: dict[str, Any] = {"state_dir": tmp_path, "seed": 7, "scale": 0.02, "today": TODAY}
    with serve_in_thread(**options) as manifest:
        desk = Writer(Sandbox(manifest))
        ticket = desk.ticket(subject="kept")
        living = [t for t in desk.export(start_time=0) if t["status"] not in ("closed", "deleted")]
        for other in living:
            path = f"{TICKETS}/{other['id']}"
            desk.send("PUT", path, {"ticket": {"external_id": f"mine-{other['id']}"}})
    with serve_in_thread(**options) as manifest:
        sandbox = Sandbox(manifest)
        desk = Writer(sandbox)
        assert desk.kept(ticket)["subject"] == "kept"
        sandbox.advance(2)
        exported = {t["id"]: t for t in desk.export(start_time=0)}
        for other in living:
            assert exported[other["id"]]["external_id"] == f"mine-{other['id']}"
        assert desk.ticket()["id"] > ticket["id"]


def made(desk: Writer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A new record of any kind."""
    answer = desk.send("POST", f"/api/v2/{path}.json", body)
    assert answer.status_code == 201, answer.text
    (record,) = (value for key, value in answer.json().items() if key in body)
    return record


def test_smaller_collections_are_kept(desk: Writer) -> None:
    group = made(desk, "groups", {"group": {"name": "Night shift"}})
    user = made(desk, "users", {"user": {"name": "Nia", "email": "nia@kept.example"}})
    organization = made(
        desk, "organizations", {"organization": {"name": "Kept", "external_id": "k1"}}
    )
    member = {"user_id": user["id"], "group_id": group["id"]}
    membership = made(desk, "group_memberships", {"group_membership": member})
    belongs = {"user_id": user["id"], "organization_id": organization["id"]}
    made(desk, "organization_memberships", {"organization_membership": belongs})
    listed = desk.get(f"/api/v2/users/{user['id']}/group_memberships.json").json()
    assert [each["id"] for each in listed["group_memberships"]] == [membership["id"]]
    for path in (f"users/{user['id']}", f"organizations/{organization['id']}"):
        told = desk.get(f"/api/v2/{path}/organization_memberships.json").json()
        assert [each["user_id"] for each in told["organization_memberships"]] == [user["id"]]
    macro = made(desk, "macros", {"macro": {"title": "M", "actions": [{"field": "status"}]}})
    macros = desk.get("/api/v2/macros.json").json()["macros"]
    assert macros[-1]["id"] == macro["id"]
    changed = desk.send("PUT", f"/api/v2/groups/{group['id']}.json", {"group": {"name": "Day"}})
    assert changed.json()["group"]["name"] == "Day"
    assert desk.get(f"/api/v2/groups/{group['id']}.json").json()["group"]["name"] == "Day"
    assert desk.send("DELETE", f"/api/v2/macros/{macro['id']}.json").status_code == 204
    assert desk.get(f"/api/v2/macros/{macro['id']}.json").status_code == 404
    for path, body in (
        ("groups", {"group": {}}),
        ("group_memberships", {"group_membership": {**member, "group_id": 5}}),
    ):
        assert desk.send("POST", f"/api/v2/{path}.json", body).status_code == 422
    for query in ({"external_id": "k1"}, {"name": "kept"}):
        found = desk.get("/api/v2/organizations/search.json", **query).json()["organizations"]
        assert [each["id"] for each in found] == [organization["id"]]
    many = desk.get("/api/v2/organizations/show_many.json", external_ids="k1,k2").json()
    assert many["count"] == 1


def test_users_have_tags_and_further_addresses_and_become_one(desk: Writer) -> None:
    user = made(desk, "users", {"user": {"name": "Ira", "email": "ira@kept.example"}})
    path = f"/api/v2/users/{user['id']}"
    assert desk.send("PUT", f"{path}/tags.json", {"tags": ["VIP"]}).json() == {"tags": ["vip"]}
    assert desk.get(f"{path}/tags.json").json() == {"tags": ["vip"]}
    second = {"type": "email", "value": "ira2@kept.example"}
    address = made_identity(desk, path, second)
    taken = desk.send(
        "POST", f"{path}/identities.json", {"identity": {**second, "value": user["email"]}}
    )
    assert taken.status_code == 422
    primary = desk.send("PUT", f"{path}/identities/{address['id']}/make_primary.json")
    assert [each["primary"] for each in primary.json()["identities"]] == [True, False]
    assert desk.get(f"{path}.json").json()["user"]["email"] == "ira2@kept.example"
    other = made(desk, "users", {"user": {"name": "Ira B", "email": "irab@kept.example"}})
    ticket = desk.ticket(requester_id=other["id"])
    merged = desk.send(
        "PUT", f"/api/v2/users/{other['id']}/merge.json", {"user": {"id": user["id"]}}
    )
    assert merged.json()["user"]["id"] == user["id"]
    assert desk.kept(ticket)["requester_id"] == user["id"]
    gone = desk.get("/api/v2/deleted_users.json").json()["deleted_users"]
    assert other["id"] in {each["id"] for each in gone}
    forgotten = desk.send("DELETE", f"/api/v2/deleted_users/{other['id']}.json")
    assert forgotten.json()["deleted_user"]["id"] == other["id"]
    job = desk.send(
        "POST",
        "/api/v2/users/create_or_update_many.json",
        {"users": [{"name": "X", "email": "x@kept.example"}, {"id": user["id"], "name": "Ira C"}]},
    ).json()["job_status"]
    done = desk.get(f"/api/v2/job_statuses/{job['id']}.json").json()["job_status"]
    assert [each["action"] for each in done["results"]] == ["create", "update"]


def made_identity(desk: Writer, path: str, identity: dict[str, Any]) -> dict[str, Any]:
    answer = desk.send("POST", f"{path}/identities.json", {"identity": identity})
    assert answer.status_code == 201, answer.text
    return answer.json()["identity"]


def test_files_come_with_comments(desk: Writer) -> None:
    url = f"{desk.base_url}/api/v2/uploads.json"

    def upload(content: bytes, **params: str) -> dict[str, Any]:
        sent = {"Content-Type": "text/plain"}
        answer = desk.session.post(url, params=params, data=content, headers=sent, timeout=10)
        assert answer.status_code == 201, answer.text
        return answer.json()["upload"]

    first = upload(b"one", filename="one.txt")
    second = upload(b"two\x00", filename="two.txt", token=first["token"])
    assert [file["file_name"] for file in second["attachments"]] == ["one.txt", "two.txt"]
    ticket = desk.ticket()
    comment = {"ticket": {"comment": {"body": "see", "uploads": [first["token"]]}}}
    assert desk.send("PUT", f"{TICKETS}/{ticket['id']}.json", comment).status_code == 200
    said = desk.get(f"{TICKETS}/{ticket['id']}/comments.json").json()["comments"][-1]
    files = said["attachments"]
    assert [(f["file_name"], f["size"]) for f in files] == [("one.txt", 3), ("two.txt", 4)]
    assert desk.session.get(files[1]["content_url"], timeout=10).content == b"two\x00"
    told = desk.get(f"/api/v2/attachments/{files[0]['id']}.json").json()["attachment"]
    assert told["content_type"] == "text/plain"
    assert desk.session.post(url, data=b"x", timeout=10).status_code == 400


def test_tickets_become_one_and_come_from_elsewhere(desk: Writer) -> None:
    target, source = desk.ticket(), desk.ticket()
    answer = desk.send(
        "POST",
        f"{TICKETS}/{target['id']}/merge.json",
        {"ids": [source["id"]], "target_comment": "both"},
    )
    assert answer.json()["job_status"]["status"] == "queued"
    assert desk.kept(source)["status"] == "closed"
    said = desk.get(f"{TICKETS}/{target['id']}/comments.json").json()["comments"]
    assert (said[-1]["body"], said[-1]["public"]) == ("both", False)
    old = {
        "subject": "Old",
        "created_at": "2020-01-02T03:04:05Z",
        "status": "closed",
        "comments": [{"value": "first"}, {"value": "second", "public": False}],
    }
    imported = made(desk, "imports/tickets", {"ticket": old})
    assert (imported["created_at"], imported["status"]) == ("2020-01-02T03:04:05Z", "closed")
    said = desk.get(f"{TICKETS}/{imported['id']}/comments.json").json()["comments"]
    assert [each["body"] for each in said] == ["first", "second"]


def test_views_find_tickets_by_their_conditions(desk: Writer) -> None:
    urgent = desk.ticket(priority="urgent", tags=["view"])
    low = desk.ticket(priority="low", tags=["view"])
    rule = {
        "title": "Mine",
        "all": [
            {"field": "current_tags", "operator": "includes", "value": "view"},
            {"field": "status", "operator": "less_than", "value": "solved"},
        ],
        "any": [{"field": "priority", "operator": "is", "value": "urgent"}],
    }
    view = desk.send("POST", "/api/v2/views.json", {"view": rule}).json()["view"]
    path = f"/api/v2/views/{view['id']}"
    found = desk.get(f"{path}/tickets.json").json()["tickets"]
    assert [ticket["id"] for ticket in found] == [urgent["id"]]
    rows = desk.get(f"{path}/execute.json").json()["rows"]
    assert [row["ticket"]["id"] for row in rows] == [urgent["id"]]
    assert desk.get(f"{path}/count.json").json()["view_count"]["value"] == 1
    counted = desk.get("/api/v2/views/count_many.json", ids=f"{view['id']},5").json()
    assert [each["value"] for each in counted["view_counts"]] == [1]
    desk.send("PUT", path, {"view": {"any": []}})
    found = desk.get(f"{path}/tickets.json").json()["tickets"]
    assert {ticket["id"] for ticket in found} == {urgent["id"], low["id"]}


def test_a_macros_effect_is_told_and_not_carried_out(desk: Writer) -> None:
    ticket = desk.ticket(tags=["old"])
    actions = [
        {"field": "status", "value": "pending"},
        {"field": "current_tags", "value": "new other"},
        {"field": "comment_value", "value": ["channel:all", "Hello"]},
    ]
    body = {"macro": {"title": "M", "actions": actions}}
    macro = desk.send("POST", "/api/v2/macros.json", body).json()["macro"]
    alone = desk.get(f"/api/v2/macros/{macro['id']}/apply.json").json()["result"]["ticket"]
    assert (alone["status"], alone["comment"]["body"]) == ("pending", "Hello")
    path = f"{TICKETS}/{ticket['id']}/macros/{macro['id']}/apply.json"
    after = desk.get(path).json()["result"]["ticket"]
    assert (after["id"], after["tags"]) == (ticket["id"], ["old", "new", "other"])
    assert desk.kept(ticket)["tags"] == ["old"]
    assert desk.get(f"{TICKETS}/{ticket['id']}/macros/7/apply.json").status_code == 404


def test_spam_is_deleted_and_its_sender_suspended(desk: Writer) -> None:
    ticket = desk.ticket(requester={"name": "Spam", "email": "spam@zebra.test"})
    desk.send("PUT", f"{TICKETS}/{ticket['id']}/mark_as_spam.json")
    assert desk.get(f"{TICKETS}/{ticket['id']}.json").status_code == 404
    user = desk.get(f"/api/v2/users/{ticket['requester_id']}.json").json()["user"]
    assert user["suspended"] is True


def test_people_are_found_by_what_they_belong_to(desk: Writer) -> None:
    agent = desk.get("/api/v2/users/me.json").json()["user"]
    group = desk.send("POST", "/api/v2/groups.json", {"group": {"name": "Night"}}).json()["group"]
    link = {"user_id": agent["id"], "group_id": group["id"]}
    desk.send("POST", "/api/v2/group_memberships.json", {"group_membership": link})
    groups = desk.get(f"/api/v2/users/{agent['id']}/groups.json").json()["groups"]
    assert "Night" in {each["name"] for each in groups}
    people = desk.get(f"/api/v2/groups/{group['id']}/users.json").json()["users"]
    assert [each["id"] for each in people] == [agent["id"]]
    assert group["id"] in {
        g["id"] for g in desk.get("/api/v2/groups/assignable.json").json()["groups"]
    }
    mine = desk.ticket(assignee_id=agent["id"])
    assigned = desk.get(f"/api/v2/users/{agent['id']}/tickets/assigned.json", per_page=1000).json()
    assert mine["id"] in {each["id"] for each in assigned["tickets"]}
    assert mine["id"] in {t["id"] for t in desk.get(f"{TICKETS}/recent.json").json()["tickets"]}


def test_a_view_can_be_looked_at_before_it_is_saved(desk: Writer) -> None:
    desk.ticket(tags=["preview_me"])
    rule = {"all": [{"field": "current_tags", "operator": "includes", "value": "preview_me"}]}
    body = {"view": {"conditions": rule, "output": {"columns": ["subject"]}}}
    found = desk.send("POST", "/api/v2/views/preview.json", body).json()
    assert (found["count"], len(found["rows"])) == (1, 1)
    counted = desk.send("POST", "/api/v2/views/preview/count.json", body).json()
    assert counted["view_count"]["value"] == 1
    assert desk.send("POST", "/api/v2/views/preview.json", {"view": 7}).status_code == 200
    assert desk.send("POST", "/api/v2/views/preview/wings.json", body).status_code == 404
    assert desk.send("POST", "/api/v2/views/preview.json", [1]).status_code == 400


def test_macros_tell_their_categories_and_actions(desk: Writer) -> None:
    rule = {"title": "Bills::Late", "actions": [{"field": "status", "value": "open"}]}
    assert desk.send("POST", "/api/v2/macros.json", {"macro": rule}).status_code == 201
    assert desk.get("/api/v2/macros/categories.json").json() == {"categories": ["Bills"]}
    actions = desk.get("/api/v2/macros/actions.json").json()["actions"]
    assert {"status", "comment_value"} <= {action["value"] for action in actions}


def test_an_export_of_a_search_has_cursors_only(desk: Writer) -> None:
    path = "/api/v2/search/export.json"
    for query in ("type:ticket", "nobody-has-this"):
        params = {"query": query, "filter[type]": "ticket"}
        answer = desk.get(path, **params).json()
        assert "count" not in answer
        assert answer["meta"]["has_more"] is False
