"""Zendesk's smaller answers: parts of a ticket, of a user, of an organization, and lists that never change."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zendesk_desk import Desk
from meltano_assets.sandbox.zendesk_kept import identities
from meltano_assets.sandbox.zendesk_tickets import metric_set

#: A list's key and its records, to be paged; or an answer as it is; or nothing of that name.
Part = tuple[str, list[Record]] | Record | None
_LOCALE: Record = {
    "id": 1,
    "locale": "en-US",
    "name": "English",
    "native_name": "English",
    "presentation_name": "English - English",
    "rtl": False,
    "created_at": "2009-07-20T22:55:29Z",
    "updated_at": "2011-05-05T10:38:52Z",
    "default": True,
}
#: Answers that say the same to everybody.
FIXED: Mapping[str, Part] = {
    "account/settings": {
        "settings": {
            "active_features": {
                "customer_satisfaction": True,
                "organization_access_enabled": True,
                "sandbox": False,
                "ticket_forms": True,
                "ticket_tagging": True,
                "user_org_fields": True,
                "user_tagging": True,
            },
            "api": {"api_password_access": "false", "api_token_access": "true"},
            "branding": {"favicon_url": None, "header_color": "78A300"},
            "localization": {"locale_ids": [1], "time_zone": "UTC", "uses_12_hour_clock": False},
            "tickets": {"comments_public_by_default": True, "tagging": True},
            "users": {"tagging": True, "time_zone_selection": True},
        }
    },
    "locales": ("locales", [_LOCALE]),
    "locales/agent": ("locales", [_LOCALE]),
    "locales/current": {"locale": _LOCALE},
    "locales/public": ("locales", [_LOCALE]),
    "locales/1": {"locale": _LOCALE},
    "locales/en-US": {"locale": _LOCALE},
}


def ticket_part(desk: Desk, kept: list[Record], ticket: Record, part: str) -> Part:
    """What belongs to a ticket; ``kept`` are all tickets that are not deleted."""
    name, _, number = part.partition("/")
    if name == "audits" and number:
        told = next((a for a in desk.audits(ticket) if str(a["id"]) == number), None)
        return None if told is None else {"audit": told}
    answers: dict[str, Callable[[], Part]] = {
        "comments": lambda: ("comments", desk.comments(ticket)),
        "audits": lambda: ("audits", desk.audits(ticket)),
        "tags": lambda: {"tags": ticket["tags"]},
        "metrics": lambda: {"ticket_metric": metric_set(ticket)},
        "collaborators": lambda: ("users", _people(desk, ticket, "collaborator_ids")),
        "followers": lambda: ("users", _people(desk, ticket, "follower_ids")),
        "email_ccs": lambda: ("users", _people(desk, ticket, "email_cc_ids")),
        "incidents": lambda: ("tickets", [t for t in kept if t["problem_id"] == ticket["id"]]),
        "related": lambda: {
            "topic_id": None,
            "followup_source_ids": [],
            "from_archive": False,
            "incidents": sum(1 for t in kept if t["problem_id"] == ticket["id"]),
            "twitter": {},
        },
    }
    return answers[part]() if part in answers else None


def person_part(desk: Desk, kept: list[Record], user: Record, part: str) -> Part:
    """What belongs to a user."""
    if part == "tags":
        return {"tags": user["tags"]}
    word, _, number = part.partition("/")
    if word == "identities":
        found = identities(desk, user)
        one: Record | None = next((each for each in found if str(each["id"]) == number), None)
        return {"identity": one} if one else None if number else ("identities", found)
    if part == "related":
        return {
            "user_related": {
                "assigned_tickets": sum(1 for t in kept if t["assignee_id"] == user["id"]),
                "requested_tickets": sum(1 for t in kept if t["requester_id"] == user["id"]),
                "ccd_tickets": sum(1 for t in kept if user["id"] in _ids(t, "collaborator_ids")),
                "organization_subscriptions": 0,
            }
        }
    empty = {"skips": "skips", "sessions": "sessions",
             "organization_subscriptions": part, "compliance_deletion_statuses": part}  # fmt: skip
    return (empty[part], []) if part in empty else None


def organization_part(desk: Desk, kept: list[Record], organization: Record, part: str) -> Part:
    """What belongs to an organization."""
    if part == "tags":
        return {"tags": organization["tags"]}
    if part != "related":
        empty = ("subscriptions",)
        return (part.replace("subs", "organization_subs"), []) if part in empty else None
    people = [u for u in desk.records("users") if u["organization_id"] == organization["id"]]
    tickets = [t for t in kept if t["organization_id"] == organization["id"]]
    return {"organization_related": {"tickets_count": len(tickets), "users_count": len(people)}}


def _people(desk: Desk, ticket: Record, field: str) -> list[Record]:
    wanted = _ids(ticket, field)
    return [user for user in desk.records("users") if user["id"] in wanted]


def _ids(ticket: Record, field: str) -> list[object]:
    found = ticket.get(field)
    return found if isinstance(found, list) else []
