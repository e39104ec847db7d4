"""Tickets as those see them who asked: Zendesk's requests, and their word on how it was.

A request is a ticket without what only agents see; its comments are the public ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zendesk_answers import Refused, Written, invalid, object_of
from meltano_assets.sandbox.zendesk_desk import Desk
from meltano_assets.sandbox.zendesk_details import Part

SCORES = ("good", "bad", "good_with_comment", "bad_with_comment", "offered", "unoffered")
_OPEN = ("new", "open", "pending", "hold")
_SHARED = (
    "id", "subject", "description", "status", "priority", "type", "organization_id", "group_id",
    "assignee_id", "requester_id", "collaborator_ids", "email_cc_ids", "is_public", "due_at",
    "ticket_form_id", "recipient", "via", "custom_fields", "created_at", "updated_at",
)  # fmt: skip
#: What someone who asks may say of a request, beside the comment.
_GIVEN = (
    "subject", "priority", "type", "custom_fields", "ticket_form_id", "due_at", "recipient",
    "requester", "collaborators", "email_ccs",
)  # fmt: skip


def shown(ticket: Record, me: int) -> Record:
    """The request behind a ticket."""
    status = ticket["status"]
    can_solve = ticket["requester_id"] == me and ticket["assignee_id"] is not None
    return {
        **{name: ticket.get(name) for name in _SHARED},
        # Who asks sees a ticket that waits for somebody else as an open one.
        "status": "open" if status == "hold" else status,
        "can_be_solved_by_me": can_solve and status in _OPEN,
        "custom_status_id": ticket.get("custom_status_id"),
        "fields": ticket.get("custom_fields"),
        "followup_source_id": None,
        "solved": status in ("solved", "closed"),
    }


def found(
    desk: Desk, kept: list[Record], parts: Sequence[str], query: Mapping[str, str]
) -> Part | None:
    """What is at a path below ``requests``; ``kept`` are the tickets that are not deleted."""
    me = int(str(desk.records("users")[0]["id"]))

    def those(holds: Callable[[Record], bool]) -> Part:
        return "requests", [shown(ticket, me) for ticket in kept if holds(ticket)]

    match parts:
        case []:
            return those(lambda t: t["requester_id"] == me)
        case ["open"]:
            return those(lambda t: t["requester_id"] == me and t["status"] in _OPEN)
        case ["solved"]:
            return those(lambda t: t["requester_id"] == me and t["status"] not in _OPEN)
        case ["ccd"]:
            return those(lambda t: me in _ids(t, "collaborator_ids"))
        case ["search"]:
            words = query.get("query", "").lower().split()
            return those(
                lambda t: all(w in f"{t['subject']} {t['description']}".lower() for w in words)
            )
        case [number, *rest] if len(rest) < 3:
            ticket = next((t for t in kept if str(t["id"]) == number), None)
            if ticket is None:
                return None
            if not rest:
                return {"request": shown(ticket, me)}
            said = [c for c in desk.comments(ticket) if c.get("public", True)]
            if rest == ["comments"]:
                return "comments", said
            one = next((c for c in said if str(c["id"]) == rest[-1]), None)
            return {"comment": one} if rest[0] == "comments" and one else None
    return None


def of_person(kept: list[Record], key: str, number: str, me: int) -> Part:
    """The requests of a user or an organization."""
    return "requests", [shown(t, me) for t in kept if str(t[key]) == number]


def asked(body: Record) -> Record:
    """The ticket that a new request is to be."""
    given = object_of(body, "request")
    said = given.get("comment")
    if not isinstance(said, dict):
        raise invalid("base", "Description: cannot be blank", "BlankValue")
    return {"comment": {**said, "public": True}, **{n: given[n] for n in _GIVEN if n in given}}


def changed(body: Record) -> Record:
    """The change of a ticket that who asked makes: a comment, or that it is solved."""
    given = object_of(body, "request")
    change: Record = {}
    if "comment" in given:
        said = given["comment"]
        change["comment"] = {**said, "public": True} if isinstance(said, dict) else said
    if given.get("solved") is True:
        change["status"] = "solved"
    return change


def rated(desk: Desk, ticket: Record, body: Record) -> Written:
    """The requester's word on a ticket that is solved."""
    given = object_of(body, "satisfaction_rating")
    score, comment = given.get("score"), given.get("comment")
    if score not in SCORES:
        raise invalid("score", f"Score: {score} is not included in the list")
    if ticket["status"] != "solved":
        raise Refused(
            422,
            {
                "error": "RecordInvalid",
                "description": "Record validation errors",
                "details": {"base": [{"description": "Ticket must be solved", "error": None}]},
            },
        )
    number = int(str(ticket["id"]))
    rating: Record = {
        "id": 70_000 + number,
        "score": str(score).removesuffix("_with_comment"),
        "comment": None if comment is None else str(comment),
    }
    desk.write("tickets", number, {"satisfaction_rating": rating})
    return Written(200, body={"satisfaction_rating": {**rating, "ticket_id": number}})


def _ids(ticket: Record, field: str) -> list[object]:
    value = ticket.get(field)
    return value if isinstance(value, list) else []
