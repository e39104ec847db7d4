"""Lists and exports of the real Zendesk that this company leaves empty, with their envelopes."""

from __future__ import annotations

#: Path of a real list → the key of its envelope, for lists that are empty here.
EMPTY_LISTS = {
    "activities": "activities",
    "audit_logs": "audit_logs",
    "automations": "automations",
    "bookmarks": "bookmarks",
    "business_hours/schedules": "schedules",
    "channels/voice/phone_numbers": "phone_numbers",
    "custom_objects": "custom_objects",
    "custom_roles": "custom_roles",
    "custom_statuses": "custom_statuses",
    "deletion_schedules": "deletion_schedules",
    "dynamic_content/items": "items",
    "organization_fields": "organization_fields",
    "organization_memberships": "organization_memberships",
    "organization_subscriptions": "organization_subscriptions",
    "problems": "tickets",
    "recipient_addresses": "recipient_addresses",
    "requests": "requests",
    "resource_collections": "resource_collections",
    "routing/attributes": "attributes",
    "satisfaction_reasons": "reasons",
    "sessions": "sessions",
    "sharing_agreements": "sharing_agreements",
    "skips": "skips",
    "suspended_tickets": "suspended_tickets",
    "target_failures": "target_failures",
    "targets": "targets",
    "ticket_skips": "skips",
    "triggers": "triggers",
    "triggers/active": "triggers",
    "user_fields": "user_fields",
    "views": "views",
    "views/active": "views",
    "webhooks": "webhooks",
    "workspaces": "workspaces",
}
#: Time-based exports without content: path → envelope key.
EMPTY_EXPORTS = {
    "routing/attributes": "attributes",
    "routing/attribute_values": "attribute_values",
    "routing/instance_values": "instance_values",
}
