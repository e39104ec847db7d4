"""Which fields of Zendesk's records clients may write, and what a new record is at first."""

from __future__ import annotations

from meltano_assets.sandbox.company_sales import Record

SINGULAR = {"tickets": "ticket", "users": "user", "organizations": "organization"}
STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
PRIORITIES = (None, "low", "normal", "high", "urgent")
TYPES = (None, "problem", "incident", "question", "task")
ROLES = ("end-user", "agent", "admin")
TICKET_FIELDS = [
    "subject",
    "type",
    "priority",
    "status",
    "recipient",
    "assignee_id",
    "organization_id",
    "group_id",
    "collaborator_ids",
    "follower_ids",
    "email_cc_ids",
    "problem_id",
    "due_at",
    "external_id",
    "tags",
    "ticket_form_id",
    "brand_id",
]
USER_FIELDS = [
    "name",
    "email",
    "role",
    "phone",
    "organization_id",
    "tags",
    "user_fields",
    "locale",
    "time_zone",
    "external_id",
    "notes",
    "details",
    "verified",
    "suspended",
    "default_group_id",
    "alias",
]
ORGANIZATION_FIELDS = [
    "name",
    "external_id",
    "domain_names",
    "details",
    "notes",
    "group_id",
    "shared_comments",
    "shared_tickets",
    "tags",
    "organization_fields",
]
API = {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}}
NEW_USER: Record = {
    "active": True,
    "verified": False,
    "suspended": False,
    "shared": False,
    "locale": "en-US",
    "time_zone": "UTC",
    "phone": None,
    "organization_id": None,
    "default_group_id": None,
    "tags": [],
    "user_fields": {},
    "role": "end-user",
    "email": None,
}
NEW_ORGANIZATION: Record = {
    "external_id": None,
    "domain_names": [],
    "details": "",
    "notes": None,
    "group_id": None,
    "shared_comments": False,
    "shared_tickets": False,
    "tags": [],
    "organization_fields": {},
}
NEW_TICKET: Record = {
    "external_id": None,
    "type": None,
    "priority": None,
    "status": "new",
    "recipient": None,
    "assignee_id": None,
    "organization_id": None,
    "group_id": None,
    "collaborator_ids": [],
    "follower_ids": [],
    "email_cc_ids": [],
    "forum_topic_id": None,
    "problem_id": None,
    "has_incidents": False,
    "is_public": True,
    "due_at": None,
    "tags": [],
    "satisfaction_rating": {"score": "unoffered"},
    "sharing_agreement_ids": [],
    "followup_ids": [],
    "allow_channelback": False,
    "allow_attachments": True,
    "from_messaging_channel": False,
}
