"""What tickets bring about at the support desk: comments, audits, events, metrics, ratings; and the
rules agents work by.

Pure functions of a ticket: the service (``zendesk.py``) says where and in what pages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from html import escape

from meltano_assets.sandbox.company_sales import Record

#: Exports that list what happened rather than what is.
EVENT_EXPORTS = ("ticket_events", "ticket_metric_events")
_MADE = "2024-02-01T09:00:00Z"
MACROS: list[Record] = [
    {
        "id": 50_001 + number,
        "title": title,
        "active": number != 2,
        "default": False,
        "position": number + 1,
        "description": None,
        "actions": [
            {"field": "status", "value": status},
            {"field": "comment_value", "value": text},
        ],
        "restriction": {"type": "Group", "id": 20_001, "ids": [20_001]} if number == 1 else None,
        "created_at": _MADE,
        "updated_at": _MADE,
    }
    for number, (title, status, text) in enumerate(
        (
            ("Ask for logs", "pending", "Could you send us the log?"),
            ("Licence renewed", "solved", "Your licence is renewed – thank you!"),
            ("Old greeting", "open", "Hello"),
        )
    )
]
POLICIES: list[Record] = [
    {
        "id": 60_001 + number,
        "title": title,
        "description": f"{title} customers",
        "position": number + 1,
        "filter": {
            "all": [{"field": "current_tags", "operator": "includes", "value": tag}],
            "any": [],
        },
        "policy_metrics": [
            {
                "priority": priority,
                "metric": "first_reply_time",
                "target": target,
                "business_hours": False,
            }
            for priority, target in (("urgent", hours * 15), ("normal", hours * 60))
        ],
        "created_at": _MADE,
        "updated_at": _MADE,
    }
    for number, (title, tag, hours) in enumerate((("Premium", "enterprise", 1), ("Basic", "ci", 8)))
]


def comment(ticket: Record) -> Record:
    """The first comment of a ticket."""
    number = int(str(ticket["id"]))
    return {
        "id": number * 10 + 1,
        "type": "Comment",
        "audit_id": number * 10 + 2,
        "author_id": ticket["submitter_id"],
        "body": ticket["description"],
        "html_body": f"<div>{escape(str(ticket['description']))}</div>",
        "plain_body": ticket["description"],
        "public": ticket["is_public"],
        "attachments": [],
        "via": ticket["via"],
        "metadata": {},
        "created_at": ticket["created_at"],
    }


def audit(ticket: Record) -> Record:
    """The making of a ticket: its first comment, and its status."""
    number = int(str(ticket["id"]))
    outside = ("via", "metadata", "created_at")
    said = {k: v for k, v in comment(ticket).items() if k not in outside}
    created = {"id": number * 10 + 3, "type": "Create", "field_name": "status", "value": "new"}
    return {
        "id": number * 10 + 2,
        "ticket_id": number,
        "author_id": ticket["submitter_id"],
        "created_at": ticket["created_at"],
        "via": ticket["via"],
        "metadata": {},
        "events": [said, created],
    }


def metric_set(ticket: Record) -> Record:
    """How long a ticket took."""
    number = int(str(ticket["id"]))
    is_solved = ticket["status"] in ("solved", "closed")
    return {
        "id": number + 500_000,
        "ticket_id": number,
        "created_at": ticket["created_at"],
        "updated_at": ticket["updated_at"],
        "assigned_at": ticket["created_at"] if ticket["assignee_id"] else None,
        "solved_at": ticket["updated_at"] if is_solved else None,
        "reopens": 0,
        "replies": number % 5,
        "group_stations": 1,
        "assignee_stations": 1,
        "reply_time_in_minutes": {"calendar": number % 600, "business": number % 200},
        "first_resolution_time_in_minutes": {
            "calendar": number % 9000 if is_solved else None,
            "business": number % 3000 if is_solved else None,
        },
        "full_resolution_time_in_minutes": {
            "calendar": number % 9000 if is_solved else None,
            "business": number % 3000 if is_solved else None,
        },
        "agent_wait_time_in_minutes": {"calendar": number % 300, "business": number % 100},
        "requester_wait_time_in_minutes": {"calendar": number % 700, "business": number % 250},
        "on_hold_time_in_minutes": {"calendar": 0, "business": 0},
        "initially_assigned_at": ticket["created_at"] if ticket["assignee_id"] else None,
        "assignee_updated_at": None,
        "requester_updated_at": ticket["created_at"],
        "status_updated_at": ticket["updated_at"],
        "latest_comment_added_at": ticket["created_at"],
        "custom_status_updated_at": ticket["updated_at"],
    }


def rating(ticket: Record) -> Record | None:
    """The answer to "how was it?", where the requester gave or was asked for one."""
    given = ticket["satisfaction_rating"]
    if not isinstance(given, dict) or given.get("score") not in ("offered", "good", "bad"):
        return None
    return {
        "id": 70_000 + int(str(ticket["id"])),
        "ticket_id": ticket["id"],
        "score": given["score"],
        "comment": given.get("comment"),
        "reason": None,
        "reason_id": 0,
        "reason_code": 0,
        "assignee_id": ticket["assignee_id"],
        "group_id": ticket["group_id"],
        "requester_id": ticket["requester_id"],
        "created_at": ticket["created_at"],
        "updated_at": ticket["updated_at"],
    }


def events(name: str, ticket: Record, include: Collection[str] = ()) -> Iterator[Record]:
    """What happened to a ticket, as the export of that name tells it."""
    number = int(str(ticket["id"]))
    ends = (("created_at", 0), ("updated_at", 1))
    if name == "ticket_metric_events":
        for place, (field, instance) in enumerate(ends):
            yield {
                "id": number * 10 + 4 + place,
                "ticket_id": number,
                "metric": "reply_time",
                "instance_id": instance,
                "type": "activate" if place == 0 else "fulfill",
                "time": ticket[field],
            }
        return
    said = comment(ticket)
    told: Record = {"id": said["id"], "comment_present": True, "comment_public": said["public"]}
    if "comment_events" in include:
        told = said
    yield {
        "id": number * 10 + 2,
        "ticket_id": number,
        "timestamp": _seconds(ticket["created_at"]),
        "created_at": ticket["created_at"],
        "updater_id": ticket["submitter_id"],
        "via": "Web form",
        "system": {"client": "sandbox", "location": "Utrecht"},
        "metadata": {},
        "event_type": "Audit",
        "child_events": [
            {"id": number * 10 + 3, "event_type": "Create", "status": "new", "via": "Web form"},
            {**told, "event_type": "Comment", "via_reference_id": None},
        ],
    }
    if ticket["updated_at"] != ticket["created_at"]:
        yield {
            "id": number * 10 + 6,
            "ticket_id": number,
            "timestamp": _seconds(ticket["updated_at"]),
            "created_at": ticket["updated_at"],
            "updater_id": ticket["assignee_id"] or -1,
            "via": "Rule",
            "system": {},
            "metadata": {},
            "event_type": "Audit",
            "child_events": [
                {
                    "id": number * 10 + 7,
                    "event_type": "Change",
                    "status": ticket["status"],
                    "previous_value": "new",
                    "via": "Rule",
                }
            ],
        }


def deleted(ticket: Record) -> Record:
    """The entry of a deleted ticket in their list."""
    return {
        "id": ticket["id"],
        "subject": ticket["subject"],
        "description": ticket["description"],
        "actor": {"id": -1, "name": None},
        "deleted_at": ticket.get("_deleted_at") or ticket["updated_at"],
        "previous_state": ticket.get("_status_before") or "open",
    }


def identity(user: Record) -> Record:
    """The address of a user, as one of their identities."""
    return {
        "id": int(str(user["id"])) + 900_000,
        "user_id": user["id"],
        "type": "email",
        "value": user["email"],
        "verified": True,
        "primary": True,
        "created_at": user["created_at"],
        "updated_at": user["updated_at"],
    }


def _seconds(text: object) -> int:
    return int(datetime.fromisoformat(str(text)).timestamp())
