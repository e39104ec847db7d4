"""Zendesk Support: tickets by the cursor-based incremental export.

Paging: ``after_cursor`` until ``end_of_stream``; the last cursor is the bookmark of the next
read. The export is ordered by ``generated_timestamp`` (the system's time), not ``updated_at``.
Limits: ten export requests a minute, told by 429 and ``Retry-After`` with a plain-text body.
Deletes: a deleted ticket comes once more with the status ``deleted`` and gets ``_deleted_at``.
"""

from __future__ import annotations

from meltano_assets.streams import Column, Stream

TICKETS = Stream(
    source="zendesk",
    name="tickets",
    description="Support tickets in their latest state.",
    columns=(
        Column("id", "bigint"),
        Column("url", "text"),
        Column("external_id", "text"),
        Column("type", "text"),
        Column("subject", "text", is_pii=True),
        Column("raw_subject", "text", is_pii=True),
        Column("description", "text", is_pii=True),
        Column("priority", "text"),
        Column("status", "text"),
        Column("recipient", "text", is_pii=True),
        Column("requester_id", "bigint"),
        Column("submitter_id", "bigint"),
        Column("assignee_id", "bigint"),
        Column("organization_id", "bigint"),
        Column("group_id", "bigint"),
        Column("forum_topic_id", "bigint"),
        Column("problem_id", "bigint"),
        Column("via_followup_source_id", "bigint"),
        Column("ticket_form_id", "bigint"),
        Column("brand_id", "bigint"),
        Column("collaborator_ids", "jsonb"),
        Column("collaborators", "jsonb"),
        Column("follower_ids", "jsonb"),
        Column("email_cc_ids", "jsonb"),
        Column("sharing_agreement_ids", "jsonb"),
        Column("followup_ids", "jsonb"),
        Column("macro_ids", "jsonb"),
        Column("tags", "jsonb"),
        Column("custom_fields", "jsonb"),
        Column("fields", "jsonb"),
        Column("via", "jsonb"),
        Column("satisfaction_rating", "jsonb"),
        Column("has_incidents", "boolean"),
        Column("allow_channelback", "boolean"),
        Column("is_public", "boolean"),
        Column("due_at", "timestamptz"),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
        Column("generated_timestamp", "bigint", "Seconds since 1970 at which the export saw it."),
    ),
    primary_key=("id",),
    replication_key="generated_timestamp",
    is_sorted=True,
)

STREAMS: tuple[Stream, ...] = (TICKETS,)
