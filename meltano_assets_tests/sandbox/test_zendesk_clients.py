"""W2: other people's clients of Zendesk, unmodified, from environments of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.other_environment import installed
from meltano_assets_tests.sandbox.test_billing_clients import run, synced
from meltano_assets_tests.sandbox.vendor_address import as_vendor

pytestmark = pytest.mark.slow
HOSTS = ("sandbox.zendesk.com",)

_ZENPY = """
import io, json, sys
from datetime import UTC, datetime
from zenpy import Zenpy
from zenpy.lib.api_objects import (
    Comment, Identity, Organization, OrganizationMembership, Ticket, User)
from zenpy.lib.exception import APIException, RecordNotFoundException
known = json.loads(sys.argv[1])
zenpy = Zenpy(subdomain="sandbox", email=known["email"], token=known["api_token"])
since = datetime(2015, 1, 1, tzinfo=UTC)
told = {
    "tickets": len(list(zenpy.tickets())),
    "by cursor": len(list(zenpy.tickets(cursor_pagination=20))),
    "exported": len({t.id for t in zenpy.tickets.incremental(start_time=since)}),
    "users": len(list(zenpy.users.incremental(start_time=since))),
    "organizations": len(list(zenpy.organizations())),
    "solved": len(zenpy.search(type="ticket", status="solved")),
    "exported search": len(list(zenpy.search_export(type="ticket", status="solved"))),
}
made = zenpy.tickets.create(Ticket(subject="Made by zenpy", description="hello", tags=["zen"],
    requester=User(name="New Person", email="new@zenpy.test")))
ticket = made.ticket
told["requester"] = ticket.requester.email
ticket.status = "pending"
ticket.comment = Comment(body="a note", public=False)
zenpy.tickets.update(ticket)
told["status"] = zenpy.tickets(id=ticket.id).status
told["comments"] = [[c.body, c.public] for c in zenpy.tickets.comments(ticket=ticket.id)]
told["tags"] = sorted(zenpy.tickets.add_tags(ticket.id, ["more"]))
job = zenpy.tickets.create([Ticket(subject="m", description=str(n)) for n in range(3)])
told["job"] = [zenpy.job_status(id=job.id).status, job.total]
told["found"] = [t.id for t in zenpy.search("zenpy", type="ticket")] == [ticket.id]
zenpy.tickets.delete(ticket)
try:
    zenpy.tickets(id=ticket.id)
except RecordNotFoundException:
    told["gone"] = True
zenpy.tickets.restore(ticket)
told["restored"] = zenpy.tickets(id=ticket.id).id == ticket.id
organization = zenpy.organizations.create(Organization(name="Zen Ltd", domain_names=["zen.test"]))
user = zenpy.users.create(User(name="Zen", email="zen@zenpy.test", organization_id=organization.id))
told["members"] = [u.email for u in zenpy.organizations.users(organization)]
file = zenpy.attachments.upload(io.BytesIO(b"hello"), target_name="a.txt")
ticket.comment = Comment(body="with a file", uploads=[file.token])
zenpy.tickets.update(ticket)
told["files"] = [a.file_name for c in zenpy.tickets.comments(ticket.id) for a in c.attachments]
member = OrganizationMembership(user_id=user.id, organization_id=organization.id)
told["belongs"] = zenpy.organization_memberships.create(member).user_id == user.id
identity = Identity(type="email", value="zen2@zenpy.test")
zenpy.users.identities.create(user=user.id, identity=identity)
told["addresses"] = len(list(zenpy.users.identities(user.id)))
both = zenpy.users.create_or_update([User(name="Zen", email="zen@zenpy.test"),
                                     User(name="Two", email="two@zenpy.test")])
told["both"] = [r.action for r in zenpy.job_status(id=both.id).results]
other = zenpy.tickets.create(Ticket(subject="same", description="again")).ticket
zenpy.disable_caching()
zenpy.tickets.merge(target=ticket, source=other)
told["merged"] = zenpy.tickets(id=other.id).status
try:
    zenpy.users.create(User(name="Twin", email="zen@zenpy.test"))
except APIException as error:
    told["refused"] = error.response.status_code
print(json.dumps(told))
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Sandbox]:
    """A desk of the test's own, for clients that write."""
    with serve_in_thread(state_dir=tmp_path / "desk", seed=7, scale=0.05, today=TODAY) as manifest:
        yield Sandbox(manifest)


def test_zenpy_reads_searches_and_writes(desk: Sandbox, tmp_path: Path) -> None:
    known = desk.manifest["zendesk"]
    truths = desk.truths()["tickets"]
    python = installed(tmp_path, "zenpy==2.0.57") / "python"
    with as_vendor(str(known["base_url"]), HOSTS, tmp_path) as environment:
        told = json.loads(run([str(python), "-c", _ZENPY, json.dumps(known)], environment))
    kept = truths["total"] - truths["deleted"]
    assert (told["tickets"], told["by cursor"], told["exported"]) == (kept, kept, truths["total"])
    assert told["solved"] == told["exported search"] > 0
    assert told["users"] > told["organizations"] > 0
    written = {name: told[name] for name in list(told)[7:]}
    assert written == {
        "requester": "new@zenpy.test",
        "status": "pending",
        "comments": [["hello", True], ["a note", False]],
        "tags": ["more", "zen"],
        "job": ["completed", 3],
        "found": True,
        "gone": True,
        "restored": True,
        "members": ["zen@zenpy.test"],
        "files": ["a.txt"],
        "belongs": True,
        "addresses": 2,
        "both": ["update", "create"],
        "merged": "closed",
        "refused": 422,
    }


def test_tap_zendesk(desk: Sandbox, tmp_path: Path) -> None:
    known = desk.manifest["zendesk"]
    truths = desk.truths()["tickets"]
    tap = installed(tmp_path, "tap-zendesk==2.8.2") / "tap-zendesk"
    config = {
        "subdomain": "sandbox",
        "access_token": known["oauth_token"],
        "start_date": "2015-01-01T00:00:00Z",
    }
    wanted = {"tickets", "ticket_comments", "users", "organizations", "groups", "sla_policies"}
    # A refusal in the middle is waited out.
    desk.arm("zendesk", "throttle", match="/api/v2/incremental/")
    with as_vendor(str(known["base_url"]), HOSTS, tmp_path) as environment:
        counts = synced(tap, config, wanted, tmp_path, environment)
    kept = truths["total"] - truths["deleted"]
    assert set(counts) == wanted
    assert (counts["tickets"], counts["ticket_comments"]) == (truths["total"], kept)
