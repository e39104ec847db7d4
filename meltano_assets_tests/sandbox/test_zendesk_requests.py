"""Zendesk's requests, ratings and webhooks, as those write them who ask for help or build on it (W2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.test_zendesk_writes import TICKETS, Writer

_HOOK = {
    "name": "Ours", "endpoint": "https://hook.test/x", "http_method": "POST",
    "request_format": "json", "status": "active",
    "authentication": {"type": "bearer_token", "data": {"token": "t0p"}, "add_position": "header"},
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """A desk of these tests' own."""
    folder = tmp_path_factory.mktemp("requests")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.05, today=TODAY) as manifest:
        yield Writer(Sandbox(manifest))


def test_a_request_is_a_ticket_as_its_requester_sees_it(desk: Writer) -> None:
    body = {"request": {"subject": "Lamp", "priority": "low", "comment": {"body": "It is out"}}}
    answer = desk.send("POST", "/api/v2/requests.json", body)
    assert answer.status_code == 201, answer.text
    made = answer.json()["request"]
    assert (made["subject"], made["description"], made["solved"]) == ("Lamp", "It is out", False)
    assert "tags" not in made
    assert made["url"].endswith(f"/api/v2/requests/{made['id']}.json")
    path = f"/api/v2/requests/{made['id']}"
    assert desk.get(f"{path}.json").json()["request"] == made
    assert made["id"] in [r["id"] for r in desk.get("/api/v2/requests.json").json()["requests"]]
    secret = {"ticket": {"comment": {"body": "internal", "public": False}}}
    desk.send("PUT", f"{TICKETS}/{made['id']}.json", secret)
    told = {"request": {"comment": {"body": "Still out"}, "solved": True}}
    changed = desk.send("PUT", f"{path}.json", told).json()["request"]
    assert (changed["status"], changed["solved"]) == ("solved", True)
    comments = desk.get(f"{path}/comments.json").json()["comments"]
    assert [comment["body"] for comment in comments] == ["It is out", "Still out"]
    one = desk.get(f"{path}/comments/{comments[1]['id']}.json").json()["comment"]
    assert one["body"] == "Still out"
    found = desk.get("/api/v2/requests/search.json", query="lamp").json()["requests"]
    assert [request["id"] for request in found] == [made["id"]]
    solved = desk.get("/api/v2/requests/solved.json").json()["requests"]
    assert made["id"] in [request["id"] for request in solved]
    own = desk.get(f"/api/v2/users/{made['requester_id']}/requests.json").json()["requests"]
    assert made["id"] in [request["id"] for request in own]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "requests", {"request": {"subject": "x"}}, 422),
        ("POST", "requests", {"request": {"subject": "x", "comment": {}}}, 422),
        ("POST", "requests", {"request": 7}, 400),
        ("PUT", "requests/123456789", {"request": {}}, 404),
        ("DELETE", "requests/1", None, 404),
        ("GET", "requests/123456789", None, 404),
        ("GET", "requests/123456789/comments", None, 404),
        ("POST", "webhooks", {"webhook": {}}, 400),
        ("POST", "webhooks", {"webhook": {**_HOOK, "http_method": "DANCE"}}, 400),
        ("POST", "webhooks", {"webhook": {**_HOOK, "endpoint": "nowhere"}}, 400),
        ("POST", "webhooks", {"webhook": {**_HOOK, "endpoint": "http://[x"}}, 400),
        ("POST", "webhooks", {"webhook": {**_HOOK, "subscriptions": "all"}}, 400),
        ("POST", "webhooks", {"webhook": {**_HOOK, "name": []}}, 400),
        ("PATCH", "webhooks/01HNO", {"webhook": {"name": "x"}}, 404),
        ("GET", "webhooks/01HNO", None, 404),
    ],
)
def test_what_makes_no_sense_is_refused(
    method: str, path: str, body: object, status: int, desk: Writer
) -> None:
    assert desk.send(method, f"/api/v2/{path}.json", body).status_code == status


def test_a_solved_ticket_is_rated(desk: Writer) -> None:
    ticket = desk.ticket()
    path = f"{TICKETS}/{ticket['id']}"
    body = {"satisfaction_rating": {"score": "good", "comment": "Thanks"}}
    assert desk.send("POST", f"{path}/satisfaction_rating.json", body).status_code == 422
    desk.send("PUT", f"{path}.json", {"ticket": {"status": "solved"}})
    odd = {"satisfaction_rating": {"score": "so-so"}}
    assert desk.send("POST", f"{path}/satisfaction_rating.json", odd).status_code == 422
    answer = desk.send("POST", f"{path}/satisfaction_rating.json", body)
    assert (answer.status_code, answer.json()["satisfaction_rating"]["score"]) == (200, "good")
    assert desk.kept(ticket)["satisfaction_rating"]["comment"] == "Thanks"
    listed = desk.get("/api/v2/satisfaction_ratings.json").json()["satisfaction_ratings"]
    assert [r["score"] for r in listed if r["ticket_id"] == ticket["id"]] == ["good"]


def test_webhooks_are_kept_without_their_credentials(desk: Writer) -> None:
    answer = desk.send("POST", "/api/v2/webhooks", {"webhook": _HOOK})
    made = answer.json()["webhook"]
    assert (answer.status_code, made["name"], made["subscriptions"]) == (201, "Ours", [])
    assert "t0p" not in answer.text
    path = f"/api/v2/webhooks/{made['id']}"
    assert desk.get(path).json()["webhook"] == made
    assert desk.send("PATCH", path, {"webhook": {"status": "inactive"}}).status_code == 204
    listed = desk.get("/api/v2/webhooks", **{"page[size]": 10}).json()
    assert [hook["status"] for hook in listed["webhooks"]] == ["inactive"]
    assert listed["meta"]["has_more"] is False
    secret = desk.get(f"{path}/signing_secret").json()["signing_secret"]["secret"]
    renewed = desk.send("POST", f"{path}/signing_secret").json()["signing_secret"]["secret"]
    assert renewed != secret
    assert desk.get(f"{path}/invocations").json()["invocations"] == []
    tried = desk.send("POST", "/api/v2/webhooks/test", {"request": {"endpoint": "x"}})
    assert tried.json()["response"]["status"] == 200
    copied = desk.send("POST", f"/api/v2/webhooks?clone_webhook_id={made['id']}")
    assert copied.json()["webhook"]["endpoint"] == _HOOK["endpoint"]
    assert desk.send("POST", "/api/v2/webhooks?clone_webhook_id=no").status_code == 404
    assert desk.send("DELETE", path).status_code == 204
    assert desk.get(path).status_code == 404


def test_small_things_have_their_addresses(desk: Writer) -> None:
    field = {
        "type": "tagger",
        "title": "Colour",
        "custom_field_options": [{"name": "Red", "value": "red"}],
    }
    made = desk.send("POST", "/api/v2/ticket_fields", {"ticket_field": field}).json()[
        "ticket_field"
    ]
    options = desk.get(f"/api/v2/ticket_fields/{made['id']}/options").json()
    assert [o["value"] for o in options["custom_field_options"]] == ["red"]
    ticket = desk.ticket()
    audits = desk.get(f"{TICKETS}/{ticket['id']}/audits").json()["audits"]
    one = desk.get(f"{TICKETS}/{ticket['id']}/audits/{audits[0]['id']}").json()["audit"]
    assert one == audits[0]
    for path in (
        "macros/search?query=a", "macros/definitions", "triggers/definitions",
        "channels/voice/stats/incremental/calls?start_time=1", "help_center/en-us/articles",
        "channels/voice/stats/current_queue_activity", "/tickets.json?per_page=1",
    ):  # fmt: skip
        assert desk.get(f"/api/v2/{path}").status_code == 200
    job = desk.send(
        "PUT", f"{TICKETS}/update_many?ids={ticket['id']}", {"ticket": {"priority": "low"}}
    )
    key = job.json()["job_status"]["id"]
    many = desk.get("/api/v2/job_statuses/show_many", ids=f"{key},no").json()
    assert [(j["id"], j["status"]) for j in many["job_statuses"]] == [(key, "completed")]
