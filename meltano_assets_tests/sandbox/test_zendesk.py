"""Zendesk by its contract, over a real socket."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox

EXPORT = "/api/v2/incremental/tickets/cursor.json"


class Client:
    """Requests with the sandbox's credentials."""

    def __init__(self, sandbox: Sandbox) -> None:
        settings = sandbox.manifest["zendesk"]
        self.base_url = settings["base_url"]
        self.session = requests.Session()
        self.session.auth = (f"{settings['email']}/token", settings["api_token"])

    def get(self, path: str, **params: object) -> requests.Response:
        """One GET below the base URL, or of a whole link."""
        url = path if path.startswith("http") else self.base_url + path
        return self.session.get(url, params=params or None, timeout=10)

    def export(self, path: str = EXPORT, **params: object) -> list[dict[str, Any]]:
        """All pages of the cursor export."""
        found: list[dict[str, Any]] = []
        page = self.get(path, **params).json()
        while True:
            found += page["tickets"]
            if page["end_of_stream"]:
                return found
            page = self.get(page["after_url"]).json()


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    """A client that may log in."""
    return Client(sandbox)


def test_cursor_export_gives_every_ticket_once_in_order(client: Client, sandbox: Sandbox) -> None:
    tickets = client.export(start_time=0, per_page=37)
    assert len(tickets) == sandbox.truths()["tickets"]["total"]
    assert len({ticket["id"] for ticket in tickets}) == len(tickets)
    stamps = [ticket["generated_timestamp"] for ticket in tickets]
    assert stamps == sorted(stamps)
    deleted = [ticket for ticket in tickets if ticket["status"] == "deleted"]
    assert len(deleted) == sandbox.truths()["tickets"]["deleted"] > 0
    assert tickets[0]["url"] == f"{client.base_url}/api/v2/tickets/{tickets[0]['id']}.json"


def test_a_page_cut_inside_one_second_loses_nothing(client: Client) -> None:
    whole = client.export(start_time=0)
    shared = [
        t
        for t in whole
        if sum(o["generated_timestamp"] == t["generated_timestamp"] for o in whole) > 3
    ]
    assert len(shared) >= 4
    start = shared[0]["generated_timestamp"]
    tail = [t["id"] for t in whole if t["generated_timestamp"] >= start]
    assert [t["id"] for t in client.export(start_time=start, per_page=1)] == tail


def test_the_last_cursor_asks_for_news_only(own_sandbox: Sandbox) -> None:
    client = Client(own_sandbox)
    last = client.get(EXPORT, start_time=0, per_page=1000).json()
    assert last["end_of_stream"] is True
    again = client.get(EXPORT, cursor=last["after_cursor"]).json()
    assert (again["tickets"], again["end_of_stream"]) == ([], True)
    assert again["after_cursor"] == last["after_cursor"]
    changed = own_sandbox.advance()["zendesk"]["tickets"]
    news = client.get(EXPORT, cursor=last["after_cursor"]).json()
    assert len(news["tickets"]) == changed > 0
    before = {ticket["id"] for ticket in last["tickets"]}
    ids = {ticket["id"] for ticket in news["tickets"]}
    assert ids & before
    assert ids - before


def test_nothing_found_gives_no_cursor(client: Client) -> None:
    answer = client.get(EXPORT, start_time=int(time.time()) - 120).json()
    assert answer["tickets"] == []
    assert answer["end_of_stream"] is True
    assert answer["after_cursor"] is None
    assert answer["after_url"] is None


def test_start_time_may_be_a_float_and_must_lie_a_minute_back(client: Client) -> None:
    assert client.get(EXPORT, start_time="1701388800.0").status_code == 200
    late = client.get(EXPORT, start_time=int(time.time()) - 10)
    assert late.status_code == 400
    assert late.json()["error"] == "StartTimeTooRecent"
    for wrong in ("", "yesterday", "-5"):
        assert client.get(EXPORT, start_time=wrong).status_code == 400
    assert client.get(EXPORT).status_code == 400
    assert client.get(EXPORT, cursor="nonsense").status_code == 400


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_paths_go_with_and_without_their_ending(client: Client, suffix: str) -> None:
    page = client.get(f"/api/v2/incremental/tickets/cursor{suffix}", start_time=0).json()
    assert page["tickets"]
    assert client.get(f"/api/v2/groups{suffix}").json()["groups"]


def test_time_based_export_repeats_the_last_second_and_ends(
    client: Client, sandbox: Sandbox
) -> None:
    seen: dict[int, dict[str, Any]] = {}
    page = client.get("/api/v2/incremental/tickets.json", start_time=0, per_page=50).json()
    repeated = 0
    while True:
        assert page["count"] == len(page["tickets"])
        repeated += sum(ticket["id"] in seen for ticket in page["tickets"])
        seen.update({ticket["id"]: ticket for ticket in page["tickets"]})
        if page["end_of_stream"]:
            break
        assert page["end_time"] == page["tickets"][-1]["generated_timestamp"]
        assert f"start_time={page['end_time']}" in page["next_page"]
        page = client.get(page["next_page"]).json()
    assert len(seen) == sandbox.truths()["tickets"]["total"]
    assert repeated > 0


@pytest.mark.parametrize("name", ["users", "organizations"])
def test_other_exports_have_content(client: Client, name: str) -> None:
    page = client.get(f"/api/v2/incremental/{name}.json", start_time=0).json()
    assert len(page[name]) == page["count"] > 5
    assert page["end_of_stream"] is True
    sample = client.get(f"/api/v2/incremental/{name}/sample.json", start_time=0).json()
    assert 0 < len(sample[name]) <= 50


def test_sideloads_come_along(client: Client) -> None:
    page = client.get(EXPORT, start_time=0, per_page=3, include="users,groups,metric_sets").json()
    users = {user["id"] for user in page["users"]}
    assert {ticket["requester_id"] for ticket in page["tickets"]} <= users
    assert page["groups"]
    assert page["tickets"][0]["metric_set"]["ticket_id"] == page["tickets"][0]["id"]


def test_wrong_credentials_are_refused_in_the_vendors_words(
    client: Client, sandbox: Sandbox
) -> None:
    settings = sandbox.manifest["zendesk"]
    url = settings["base_url"] + "/api/v2/groups.json"
    for auth in (None, (settings["email"], "password"), (f"{settings['email']}/token", "wrong")):
        answer = requests.get(url, auth=auth, timeout=10)
        assert answer.status_code == 401
        assert answer.json() == {"error": "Couldn't authenticate you"}
    bearer = {"Authorization": f"Bearer {settings['oauth_token']}"}
    assert requests.get(url, headers=bearer, timeout=10).status_code == 200


def test_too_many_requests_say_so_in_plain_text(client: Client, sandbox: Sandbox) -> None:
    sandbox.arm("zendesk", "throttle", times=1, retry_after_seconds=1)
    answer = client.get(EXPORT, start_time=0)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "requests per minute exceeded" in answer.text
    following = client.get(EXPORT, start_time=0)
    assert following.status_code == 200
    assert int(following.headers["X-Rate-Limit-Remaining"]) < int(following.headers["X-Rate-Limit"])
    assert "ratelimit-reset" in following.headers


def test_the_vendors_own_limit_of_exports_can_be_had(tmp_path: Path) -> None:
    with serve_in_thread(
        state_dir=tmp_path, seed=7, scale=0.02, today=TODAY, has_vendor_limits=True
    ) as manifest:
        client = Client(Sandbox(manifest))
        statuses = [client.get(EXPORT, start_time=0).status_code for _ in range(11)]
        assert statuses == [200] * 10 + [429]
        assert client.get("/api/v2/groups.json").status_code == 200


def test_answers_are_compressed_on_wish(client: Client) -> None:
    plain = client.session.get(
        client.base_url + EXPORT,
        params={"start_time": 0},
        headers={"Accept-Encoding": "identity"},
        timeout=10,
    )
    packed = client.get(EXPORT, start_time=0)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 4
    assert packed.json() == plain.json()


def test_lists_have_offset_and_cursor_pages(client: Client) -> None:
    total = client.get("/api/v2/users.json").json()["count"]
    by_offset: list[int] = []
    link: str | None = "/api/v2/users.json?per_page=7"
    while link:
        page = client.get(link).json()
        by_offset += [user["id"] for user in page["users"]]
        link = page["next_page"]
    by_cursor: list[int] = []
    page = client.get("/api/v2/users", **{"page[size]": 7}).json()
    while True:
        by_cursor += [user["id"] for user in page["users"]]
        if not page["meta"]["has_more"]:
            assert page["links"]["next"] is None
            break
        page = client.get(page["links"]["next"]).json()
    assert by_offset == by_cursor
    assert len(by_offset) == total


def test_ticket_list_leaves_deleted_ones_out(client: Client, sandbox: Sandbox) -> None:
    truth = sandbox.truths()["tickets"]
    assert client.get("/api/v2/tickets.json").json()["count"] == truth["total"] - truth["deleted"]
    counted = client.get("/api/v2/tickets/count.json").json()["count"]["value"]
    assert counted == truth["total"] - truth["deleted"]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("search", "results"),
        ("channels/voice/phone_numbers", "phone_numbers"),
        ("views", "views"),
        ("triggers/active", "triggers"),
        ("incremental/routing/attributes", "attributes"),
    ],
)
def test_known_lists_without_content_have_their_envelope(
    client: Client, path: str, key: str
) -> None:
    answer = client.get(f"/api/v2/{path}.json", start_time=0)
    assert answer.status_code == 200
    assert answer.json()[key] == []


def test_single_records_and_unknown_ones(client: Client) -> None:
    group = client.get("/api/v2/groups.json").json()["groups"][0]
    assert client.get(f"/api/v2/groups/{group['id']}.json").json() == {"group": group}
    assert client.get("/api/v2/users/me.json").json()["user"]["role"] == "admin"
    number = client.get("/api/v2/tickets.json").json()["tickets"][0]["id"]
    for part in ("comments", "audits"):
        assert client.get(f"/api/v2/tickets/{number}/{part}.json").json()[part]
    missing = client.get("/api/v2/tickets/999999999.json")
    assert (missing.status_code, missing.json()["error"]) == (404, "RecordNotFound")
    unknown = client.get("/api/v2/horses.json")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "InvalidEndpoint")


def test_a_repeated_page_leads_to_itself(client: Client, sandbox: Sandbox) -> None:
    sandbox.arm("zendesk", "repeat_page", times=3, match="cursor")
    first = client.get(EXPORT, start_time=0, per_page=5).json()
    second = client.get(first["after_url"]).json()
    third = client.get(second["after_url"]).json()
    assert first["end_of_stream"] is second["end_of_stream"] is False
    assert second["after_cursor"] == third["after_cursor"]
    assert second["tickets"] == third["tickets"]


def test_links_can_be_made_to_lead_elsewhere(client: Client, sandbox: Sandbox) -> None:
    sandbox.arm("zendesk", "foreign_link", host="http://203.0.113.9")
    page = client.get(EXPORT, start_time=0, per_page=5).json()
    assert page["after_url"].startswith("http://203.0.113.9/api/v2/incremental/")


def test_the_schema_changes_on_request_until_cleared(client: Client, sandbox: Sandbox) -> None:
    sandbox.arm(
        "zendesk",
        "change_schema",
        add={"sentiment": {"score": 3}},
        drop=["subject"],
        retype={"priority": 2},
    )
    for _ in range(2):
        ticket = client.get(EXPORT, start_time=0, per_page=1).json()["tickets"][0]
        assert ticket["sentiment"] == {"score": 3}
        assert "subject" not in ticket
        assert ticket["priority"] == 2
    sandbox.clear()
    assert "subject" in client.get(EXPORT, start_time=0, per_page=1).json()["tickets"][0]


def test_records_fit_the_vendors_description(client: Client, shared_fixtures: Path) -> None:
    text = (shared_fixtures / "zendesk" / "support-openapi.yaml").read_text()
    schemas = yaml.load(text, yaml.CBaseLoader)["components"]["schemas"]
    described = schemas["TicketObject"]["properties"]
    kinds: dict[str, tuple[type, ...]] = {
        "integer": (int,),
        "string": (str,),
        "boolean": (bool,),
        "array": (list,),
        "object": (dict,),
    }
    # Not in the description, but in the incremental export's answers.
    exported = {"generated_timestamp", "fields", "brand_id", "is_public", "ticket_form_id"}
    tickets = client.export(start_time=0)
    for ticket in tickets:
        for name, value in ticket.items():
            if name not in described:
                assert name in exported, name
            elif value is not None:
                assert isinstance(value, kinds[described[name]["type"]]), name
        if ticket["status"] != "deleted":
            assert ticket["status"] in described["status"]["enum"]
        assert ticket["priority"] in (None, *described["priority"]["enum"])
        assert ticket["type"] in (None, *described["type"]["enum"])
    envelope = schemas["CursorBasedExportIncrementalTicketsResponse"]["properties"]
    assert set(client.get(EXPORT, start_time=0).json()) == set(envelope)
    envelope = schemas["TimeBasedExportIncrementalTicketsResponse"]["properties"]
    answer = client.get("/api/v2/incremental/tickets", start_time=0).json()
    assert set(answer) == set(envelope)


def test_a_start_time_is_the_number_it_begins_with(client: Client) -> None:
    path = "/api/v2/incremental/organizations.json"
    whole = client.get(path, start_time=0).json()["count"]
    answer = client.get(path, start_time="2025-06-01T00:00:00Z")
    assert (answer.status_code, answer.json()["count"]) == (200, whole)
    assert client.get(path, start_time="now").status_code == 400


def test_metric_events_may_be_probed_with_the_present_time(client: Client) -> None:
    path = "/api/v2/incremental/ticket_metric_events.json"
    answer = client.get(path, start_time=int(time.time()))
    assert (answer.status_code, answer.json()["ticket_metric_events"]) == (200, [])
    assert client.get(path).status_code == 400


def test_offset_pagination_ends_after_a_hundred_pages(client: Client) -> None:
    assert client.get("/api/v2/tickets.json", page=100).status_code == 200
    answer = client.get("/api/v2/tickets.json", page=101)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidPaginationDepth")


def test_head_answers_as_get_without_a_body(client: Client) -> None:
    answer = client.session.head(client.base_url + "/api/v2/tickets.json", timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")


def test_audits_carry_the_comments(client: Client) -> None:
    ticket = client.get("/api/v2/tickets.json", per_page=1).json()["tickets"][0]
    [comment] = client.get(f"/api/v2/tickets/{ticket['id']}/comments.json").json()["comments"]
    [audit] = client.get(f"/api/v2/tickets/{ticket['id']}/audits.json").json()["audits"]
    told = [event for event in audit["events"] if event["type"] == "Comment"]
    assert [event["id"] for event in told] == [comment["id"]]
    assert told[0]["body"] == comment["body"] == ticket["description"]
    assert comment["audit_id"] == audit["id"]


def test_audits_and_metrics_of_all_tickets_are_lists(client: Client) -> None:
    count = client.get("/api/v2/tickets/count.json").json()["count"]["value"]
    for path, key in (("ticket_audits", "audits"), ("ticket_metrics", "ticket_metrics")):
        body = client.get(f"/api/v2/{path}.json").json()
        assert body["count"] == count
        number = body[key][0]["ticket_id"]
        part = path.removeprefix("ticket_")
        one = client.get(f"/api/v2/tickets/{number}/{part}.json").json()
        assert one[key if key == "audits" else "ticket_metric"] in (body[key][0], [body[key][0]])


def test_events_tell_comments_only_when_asked(client: Client) -> None:
    path = "/api/v2/incremental/ticket_events.json"
    bare = client.get(path, start_time=0).json()["ticket_events"]
    full = client.get(path, start_time=0, include="comment_events").json()["ticket_events"]
    assert [event["id"] for event in bare] == [event["id"] for event in full]
    said = [c for e in full for c in e["child_events"] if c["event_type"] == "Comment"]
    told = [c for e in bare for c in e["child_events"] if c["event_type"] == "Comment"]
    assert len(said) == len(told) > 0
    assert all(comment["body"] for comment in said)
    assert all("body" not in comment and comment["comment_present"] for comment in told)


def test_ratings_are_of_rated_tickets_and_filtered_by_time(client: Client) -> None:
    path = "/api/v2/satisfaction_ratings.json"
    ratings = client.get(path, per_page=100).json()["satisfaction_ratings"]
    assert {rating["score"] for rating in ratings} <= {"offered", "good", "bad"}
    middle = sorted(rating["updated_at"] for rating in ratings)[len(ratings) // 2]
    seconds = int(datetime.fromisoformat(middle).timestamp())
    later = client.get(path, per_page=100, start_time=seconds).json()["satisfaction_ratings"]
    assert later
    assert all(rating["updated_at"] >= middle for rating in later)
    assert client.get(path, start_time="monday").status_code == 400


@pytest.mark.parametrize("path", ["macros", "slas/policies", "brands", "ticket_forms"])
def test_rules_and_forms_come_in_both_kinds_of_pages(client: Client, path: str) -> None:
    offset = client.get(f"/api/v2/{path}.json").json()
    cursor = client.get(f"/api/v2/{path}.json", **{"page[size]": 100}).json()
    key = path.rpartition("/")[2] if path != "slas/policies" else "sla_policies"
    assert offset[key] == cursor[key]
    assert offset[key]
    assert cursor["meta"]["has_more"] is False


def test_links_lead_to_where_the_client_came_from(client: Client, sandbox: Sandbox) -> None:
    def link(**headers: str) -> str:
        address = f"{client.base_url}/api/v2/users.json"
        answer = client.session.get(address, params={"per_page": 2}, headers=headers, timeout=10)
        return str(answer.json()["next_page"]).split("/api")[0]

    assert link() == client.base_url
    # A client that calls the vendor by name came through a tunnel that ended TLS for it.
    assert link(Host="acme.zendesk.com") == "https://acme.zendesk.com"
    assert link(Host="sandbox.internal:8080") == "http://sandbox.internal:8080"
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "vendor.example"}
    assert link(**forwarded) == "https://vendor.example"


def test_search_by_its_own_language(client: Client) -> None:
    tickets = client.get("/api/v2/tickets.json", per_page=100, sort="id")
    everything: list[dict[str, Any]] = tickets.json()["tickets"]
    while (link := tickets.json()["next_page"]) is not None:
        tickets = client.get(link)
        everything += tickets.json()["tickets"]
    users = {user["id"]: user for user in client.get("/api/v2/users.json").json()["users"]}

    def found(query: str, **params: object) -> list[Any]:
        answer = client.get("/api/v2/search.json", query=query, **params)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        count = client.get("/api/v2/search/count.json", query=query).json()["count"]
        assert body["count"] == count
        return [result["id"] for result in body["results"]]

    def ids(fits: Any) -> set[Any]:
        return {ticket["id"] for ticket in everything if fits(ticket)}

    size = {"per_page": 100}
    assert set(found("type:ticket status:new", **size)) == ids(lambda t: t["status"] == "new")
    waiting = ids(lambda t: t["status"] in ("new", "open") and t["priority"] == "high")
    assert waiting
    assert set(found("type:ticket status<pending priority:high", **size)) == waiting
    assert set(found("type:ticket status:new status:open priority:high", **size)) == waiting
    one = everything[5]
    day = one["created_at"][:10]
    assert one["id"] in found(f"type:ticket created:{day}", **size)
    assert found(f"type:ticket created<{min(t['created_at'] for t in everything)}") == []
    requester = users[one["requester_id"]]
    theirs = ids(lambda t: t["requester_id"] == requester["id"])
    assert set(found(f"requester:{requester['email']} type:ticket", **size)) == theirs
    assert found(f'type:user "{requester["name"]}"') == [requester["id"]]
    assert found(f"type:ticket {one['id']}")[0] == one["id"] or one["id"] in found(str(one["id"]))
    without = found("type:ticket -status:closed -status:solved order_by:created sort:asc", **size)
    times = {ticket["id"]: ticket["created_at"] for ticket in everything}
    assert without == sorted(without, key=lambda number: (times[number], number))
    answer = client.get("/api/v2/search.json", query="type:user role:agent").json()
    assert {result["role"] for result in answer["results"]} == {"agent"}
    assert {result["result_type"] for result in answer["results"]} == {"user"}
    # More than the first thousand only the export gives.
    assert client.get("/api/v2/search.json", query="a", page=11, per_page=100).status_code == 422
    answer = client.get("/api/v2/search.json", query="created>soon")
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid")
    params = {"query": "status>=new", "filter[type]": "ticket", "page[size]": 100}
    page = client.get("/api/v2/search/export.json", **params).json()
    exported = [result["id"] for result in page["results"]]
    while page["meta"]["has_more"]:
        page = client.get(page["links"]["next"]).json()
        exported += [result["id"] for result in page["results"]]
    assert sorted(exported) == sorted(ids(lambda t: True))
    answer = client.get("/api/v2/users/search.json", query=requester["email"]).json()
    assert [user["id"] for user in answer["users"]] == [requester["id"]]


def test_metric_events_come_in_cursor_pages_too(client: Client) -> None:
    path = "/api/v2/incremental/ticket_metric_events"
    whole = client.get(path, start_time=0).json()["ticket_metric_events"]
    page = client.get(path, start_time=0, **{"page[size]": 50}).json()
    found = page["ticket_metric_events"]
    while page["meta"]["has_more"]:
        page = client.get(page["links"]["next"]).json()
        found += page["ticket_metric_events"]
    assert found == whole


def test_what_belongs_to_a_record(client: Client) -> None:
    ticket = client.get("/api/v2/tickets.json").json()["tickets"][0]
    path = f"/api/v2/tickets/{ticket['id']}"
    for part, field in (("collaborators", "collaborator_ids"), ("followers", "follower_ids")):
        users = client.get(f"{path}/{part}").json()["users"]
        assert {user["id"] for user in users} == set(ticket[field])
    assert client.get(f"{path}/incidents").json()["tickets"] == []
    comments = client.get(f"{path}/comments").json()["comments"]
    assert client.get(f"{path}/comments/count.json").json()["count"]["value"] == len(comments)
    audit = client.get(f"{path}/audits").json()["audits"][0]
    assert client.get(f"{path}/audits/{audit['id']}.json").json()["audit"] == audit
    user = ticket["requester_id"]
    asked = client.get(f"/api/v2/users/{user}/tickets/requested").json()["count"]
    related = client.get(f"/api/v2/users/{user}/related").json()["user_related"]
    assert related["requested_tickets"] == asked > 0
    identities = client.get(f"/api/v2/users/{user}/identities").json()["identities"]
    one = client.get(f"/api/v2/users/{user}/identities/{identities[0]['id']}").json()
    assert one["identity"] == identities[0]
    organization = client.get("/api/v2/organizations.json").json()["organizations"][0]["id"]
    users = client.get(f"/api/v2/organizations/{organization}/users").json()["count"]
    related = client.get(f"/api/v2/organizations/{organization}/related").json()
    assert related["organization_related"]["users_count"] == users


def test_paths_of_the_description_are_known(client: Client, shared_fixtures: Path) -> None:
    """A list's path, its count, and a record of it: there, or said to be missing."""
    text = (shared_fixtures / "zendesk" / "support-openapi.yaml").read_text()
    described = yaml.load(text, Loader=yaml.CBaseLoader)["paths"]
    for name in (
        "macros",
        "slas/policies",
        "views",
        "user_fields",
        "targets",
        "satisfaction_ratings",
    ):
        path = f"/api/v2/{name}"
        assert path in described
        page = client.get(path).json()
        [key] = page.keys() - {"count", "next_page", "previous_page"}
        listed = page[key]
        while page["next_page"]:
            page = client.get(page["next_page"]).json()
            listed += page[key]
        assert client.get(f"{path}/count").json()["count"]["value"] == len(listed)
        unknown = client.get(f"{path}/1234567")
        assert (unknown.status_code, unknown.json()["error"]) == (404, "RecordNotFound")
        for record in listed[:1]:
            assert record in client.get(f"{path}/{record['id']}.json").json().values()
    assert client.get("/api/v2/nonsense/1").json()["error"] == "InvalidEndpoint"
    assert client.get("/api/v2/locales/current.json").json()["locale"]["locale"] == "en-US"


def test_a_login_may_name_its_scheme_in_any_case(client: Client, sandbox: Sandbox) -> None:
    token = sandbox.manifest["zendesk"]["oauth_token"]
    url = f"{client.base_url}/api/v2/groups"
    for scheme in ("bearer", "BEARER", "Bearer"):
        answer = requests.get(url, headers={"Authorization": f"{scheme} {token}"}, timeout=10)
        assert answer.status_code == 200
