"""Zendesk's streams beside tickets, people and groups: what happened to tickets, and the lists that
agents work by.

Audits and comments come from the event export, a thousand a request, not ticket by ticket. Metrics
come along with the ticket export. Lists have no filter by time: they are small and replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from meltano_assets.sources.records import Record
from meltano_assets.sources.rest import CursorPaging, Endpoint, TimePaging, unix_seconds
from meltano_assets.streams import Column, ColumnType, Stream, Sweep


def cursor_export(name: str, **params: str | int) -> Endpoint:
    """The cursor-based incremental export of tickets or users."""
    return Endpoint(
        f"/api/v2/incremental/{name}/cursor.json",
        records=name,
        paging=CursorPaging(
            param="cursor",
            found_at="after_cursor",
            end="end_of_stream",
            size_param="per_page",
            size=1000,
            is_alone=True,
        ),
        params=params,
        start="start_time",
        time=unix_seconds,
    )


def cursor_list(path: str, records: str) -> Endpoint:
    """A list in cursor pages."""
    return Endpoint(
        f"/api/v2/{path}.json",
        records=records,
        paging=CursorPaging(
            "page[after]",
            found_at="meta.after_cursor",
            more="meta.has_more",
            size_param="page[size]",
        ),
    )


def _time_export(name: str, **params: str | int) -> Endpoint:
    return Endpoint(
        f"/api/v2/incremental/{name}.json",
        records=name,
        paging=TimePaging("start_time", reached="end_time", end="end_of_stream"),
        params={"start_time": 0, **params},
        start="start_time",
        time=unix_seconds,
    )


def _columns(kind: ColumnType, *names: str, is_pii: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, kind, is_pii=is_pii) for name in names)


def _list(
    name: str, description: str, *columns: Column, path: str = "", key: str = "", pk: str = "id"
) -> Stream:
    return Stream(
        source="zendesk",
        name=name,
        description=description,
        columns=columns,
        primary_key=(pk,),
        disposition="replace",
        options={"endpoint": cursor_list(path or name, key or name), "is_optional": True},
    )


_TIMES = _columns("timestamptz", "created_at", "updated_at")


def _comments(event: Record) -> Iterable[Record]:
    children = event.get("child_events")
    for child in children if isinstance(children, list) else ():
        if child.get("event_type") == "Comment" or child.get("type") == "Comment":
            told = {"ticket_id": event.get("ticket_id"), "event_id": event.get("id")}
            yield {"created_at": event.get("created_at"), **child, **told}


def _metrics(ticket: Record) -> Iterable[Record]:
    found = ticket.get("metric_set")
    if isinstance(found, dict):
        seen = {"ticket_id": ticket.get("id"), "seen_at": ticket.get("generated_timestamp")}
        yield {**found, **seen}


TICKET_AUDITS = Stream(
    source="zendesk",
    name="ticket_audits",
    description="Every change of a ticket, with the single events it was made of.",
    columns=(
        *_columns("bigint", "id", "ticket_id", "updater_id"),
        *_columns("text", "event_type", "via"),
        *_columns("jsonb", "system", "metadata"),
        Column("child_events", "jsonb", "What changed; comments are in ticket_comments."),
        *_columns("timestamptz", "created_at"),
        Column("timestamp", "bigint", "Seconds since 1970."),
    ),
    primary_key=("id",),
    replication_key="created_at",
    options={"endpoint": _time_export("ticket_events")},
)
TICKET_COMMENTS = Stream(
    source="zendesk",
    name="ticket_comments",
    description="What was said about a ticket, publicly or among agents.",
    columns=(
        *_columns("bigint", "id", "ticket_id", "event_id", "author_id", "audit_id"),
        *_columns("text", "type"),
        *_columns("text", "body", "html_body", "plain_body", is_pii=True),
        *_columns("boolean", "public"),
        *_columns("jsonb", "via", "metadata", "attachments", is_pii=True),
        *_columns("timestamptz", "created_at"),
    ),
    primary_key=("id",),
    replication_key="created_at",
    options={
        "endpoint": Endpoint(
            "/api/v2/incremental/ticket_events.json",
            records="ticket_events",
            paging=TimePaging("start_time", reached="end_time", end="end_of_stream"),
            params={"start_time": 0, "include": "comment_events"},
            start="start_time",
            time=unix_seconds,
            unfold=_comments,
        )
    },
)
TICKET_METRICS = Stream(
    source="zendesk",
    name="ticket_metrics",
    description="How long a ticket took, and how often it was handed on, reopened and answered.",
    columns=(
        *_columns("bigint", "id", "ticket_id"),
        *_columns("integer", "reopens", "replies", "group_stations", "assignee_stations"),
        *_columns(
            "jsonb",
            "reply_time_in_minutes",
            "first_resolution_time_in_minutes",
            "full_resolution_time_in_minutes",
            "agent_wait_time_in_minutes",
            "requester_wait_time_in_minutes",
            "on_hold_time_in_minutes",
        ),
        *_columns(
            "timestamptz",
            "assigned_at",
            "initially_assigned_at",
            "assignee_updated_at",
            "requester_updated_at",
            "status_updated_at",
            "latest_comment_added_at",
            "custom_status_updated_at",
            "solved_at",
            "created_at",
            "updated_at",
        ),
        Column("seen_at", "timestamptz", "When the export saw the ticket."),
    ),
    primary_key=("id",),
    replication_key="seen_at",
    options={
        "endpoint": Endpoint(
            "/api/v2/incremental/tickets/cursor.json",
            records="tickets",
            paging=CursorPaging(
                param="cursor",
                found_at="after_cursor",
                end="end_of_stream",
                size_param="per_page",
                size=1000,
            ),
            params={"start_time": 0, "include": "metric_sets"},
            start="start_time",
            time=unix_seconds,
            unfold=_metrics,
        )
    },
)
TICKET_METRIC_EVENTS = Stream(
    source="zendesk",
    name="ticket_metric_events",
    description="When the clocks of replies, waiting and resolution started, stopped and broke.",
    columns=(
        *_columns("bigint", "id", "ticket_id"),
        *_columns("integer", "instance_id"),
        *_columns("text", "metric", "type"),
        *_columns("jsonb", "status", "sla", "group_sla"),
        *_columns("boolean", "deleted"),
        *_columns("timestamptz", "time"),
    ),
    primary_key=("id",),
    replication_key="time",
    options={"endpoint": _time_export("ticket_metric_events")},
)
SATISFACTION_RATINGS = Stream(
    source="zendesk",
    name="satisfaction_ratings",
    description="What requesters thought of the help they got.",
    columns=(
        *_columns("bigint", "id", "ticket_id", "assignee_id", "group_id", "requester_id"),
        *_columns("text", "score", "reason"),
        *_columns("text", "comment", is_pii=True),
        *_columns("bigint", "reason_id", "reason_code"),
        *_TIMES,
    ),
    primary_key=("id",),
    replication_key="updated_at",
    # The filter works on whole seconds, and an offered rating changes when it is given.
    lookback=timedelta(minutes=5),
    sweep=Sweep(),
    options={
        "endpoint": Endpoint(
            "/api/v2/satisfaction_ratings.json",
            records="satisfaction_ratings",
            paging=CursorPaging(
                "page[after]",
                found_at="meta.after_cursor",
                more="meta.has_more",
                size_param="page[size]",
            ),
            start="start_time",
            time=unix_seconds,
        )
    },
)

MORE_STREAMS: tuple[Stream, ...] = (
    TICKET_AUDITS,
    TICKET_COMMENTS,
    TICKET_METRICS,
    TICKET_METRIC_EVENTS,
    SATISFACTION_RATINGS,
    _list(
        "group_memberships",
        "Which agents are in which groups.",
        *_columns("bigint", "id", "user_id", "group_id"),
        *_columns("boolean", "default"),
        *_columns("text", "url"),
        *_TIMES,
    ),
    _list(
        "ticket_fields",
        "Fields of tickets, the account's own ones among them.",
        *_columns("bigint", "id", "sub_type_id"),
        *_columns("text", "type", "title", "raw_title", "description", "raw_description"),
        *_columns("text", "agent_description", "tag", "regexp_for_validation", "url"),
        *_columns("integer", "position"),
        *_columns("boolean", "active", "required", "removable", "visible_in_portal"),
        *_columns("boolean", "editable_in_portal", "required_in_portal"),
        *_columns("jsonb", "custom_field_options", "system_field_options"),
        *_TIMES,
    ),
    _list(
        "ticket_forms",
        "Forms in which tickets are entered.",
        *_columns("bigint", "id"),
        *_columns("text", "name", "raw_name", "display_name", "raw_display_name", "url"),
        *_columns("integer", "position"),
        *_columns("boolean", "active", "default", "end_user_visible", "in_all_brands"),
        *_columns("jsonb", "ticket_field_ids", "restricted_brand_ids"),
        *_columns("jsonb", "agent_conditions", "end_user_conditions"),
        *_TIMES,
    ),
    _list(
        "macros",
        "Prepared answers and changes.",
        *_columns("bigint", "id"),
        *_columns("text", "title", "description", "url"),
        *_columns("integer", "position"),
        *_columns("boolean", "active", "default"),
        *_columns("jsonb", "actions", "restriction"),
        *_TIMES,
    ),
    _list(
        "sla_policies",
        "What was promised to whom.",
        *_columns("bigint", "id"),
        *_columns("text", "title", "description", "url"),
        *_columns("integer", "position"),
        *_columns("jsonb", "filter", "policy_metrics"),
        *_TIMES,
        path="slas/policies",
    ),
    _list(
        "brands",
        "Faces of the support desk.",
        *_columns("bigint", "id"),
        *_columns("text", "name", "subdomain", "host_mapping", "brand_url", "url"),
        *_columns("boolean", "active", "default", "has_help_center", "is_deleted"),
        *_columns("jsonb", "ticket_form_ids"),
        *_TIMES,
    ),
    _list(
        "tags",
        "Tags of tickets and how often they were used.",
        *_columns("text", "name"),
        *_columns("bigint", "count"),
        pk="name",
    ),
)
