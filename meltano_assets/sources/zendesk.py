"""Zendesk Support: tickets and the people around them.

Paging: tickets and users by the cursor-based incremental export (``after_cursor`` until
``end_of_stream``; the last cursor is the bookmark of the next read), organizations and events of
tickets by the time-based one, small lists by cursor pages. The ticket export is ordered by ``generated_timestamp`` (the
system's time), not ``updated_at``. Limits: ten export requests a minute, told by 429 and
``Retry-After`` with a plain-text body. Deletes: a deleted ticket comes once more with the status
``deleted``, a deleted user inactive, an organization with ``deleted_at``; small lists are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import (
    BasicAuth,
    ErrorTable,
    Response,
    Transport,
    value_at,
)
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError, RetriableError, SkippableError
from meltano_assets.sources.base import (
    KeyPage,
    Source,
    as_bookmark,
    deleted_where,
    moves_bookmark,
    naming_stream,
    plan_window,
    required,
    where_to_set,
)
from meltano_assets.sources.rest import (
    Endpoint,
    RestReader,
    TimePaging,
    read_pages,
    unix_seconds,
)
from meltano_assets.sources.zendesk_streams import MORE_STREAMS, cursor_export, cursor_list
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

#: The export refuses a start less than a minute old; two allow for clocks that differ.
YOUNGEST_START = timedelta(minutes=2)


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
        # Names and addresses, and whatever somebody made a field for.
        Column("collaborators", "jsonb", is_pii=True),
        Column("follower_ids", "jsonb"),
        Column("email_cc_ids", "jsonb"),
        Column("sharing_agreement_ids", "jsonb"),
        Column("followup_ids", "jsonb"),
        Column("macro_ids", "jsonb"),
        Column("tags", "jsonb"),
        Column("custom_fields", "jsonb", is_pii=True),
        Column("fields", "jsonb", is_pii=True),
        Column("via", "jsonb", is_pii=True),
        Column("satisfaction_rating", "jsonb", is_pii=True),
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
    options={"export": cursor_export("tickets")},
)

USERS = Stream(
    source="zendesk",
    name="users",
    description="People: end users who ask and agents who answer.",
    columns=(
        Column("id", "bigint"),
        Column("url", "text"),
        Column("name", "text", is_pii=True),
        Column("email", "text", is_pii=True),
        Column("phone", "text", is_pii=True),
        Column("role", "text"),
        Column("custom_role_id", "bigint"),
        Column("external_id", "text"),
        Column("organization_id", "bigint"),
        Column("default_group_id", "bigint"),
        Column("active", "boolean", "False for deleted users."),
        Column("verified", "boolean"),
        Column("suspended", "boolean"),
        Column("shared", "boolean"),
        Column("locale", "text"),
        Column("time_zone", "text"),
        Column("tags", "jsonb"),
        Column("user_fields", "jsonb"),
        Column("last_login_at", "timestamptz"),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    is_sorted=True,
    options={"export": cursor_export("users")},
)

ORGANIZATIONS = Stream(
    source="zendesk",
    name="organizations",
    description="The companies of end users.",
    columns=(
        Column("id", "bigint"),
        Column("url", "text"),
        Column("name", "text"),
        Column("external_id", "text"),
        Column("domain_names", "jsonb"),
        Column("details", "text"),
        Column("notes", "text"),
        Column("group_id", "bigint"),
        Column("shared_comments", "boolean"),
        Column("shared_tickets", "boolean"),
        Column("tags", "jsonb"),
        Column("organization_fields", "jsonb"),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    options={
        "endpoint": Endpoint(
            "/api/v2/incremental/organizations.json",
            records="organizations",
            paging=TimePaging("start_time", reached="end_time", end="end_of_stream"),
            params={"start_time": 0},
            start="start_time",
            time=unix_seconds,
            deleted_at="deleted_at",
        )
    },
)

GROUPS = Stream(
    source="zendesk",
    name="groups",
    description="Groups of agents.",
    columns=(
        Column("id", "bigint"),
        Column("url", "text"),
        Column("name", "text"),
        Column("description", "text"),
        Column("default", "boolean"),
        Column("deleted", "boolean"),
        Column("is_public", "boolean"),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
    ),
    primary_key=("id",),
    disposition="replace",
    options={
        "endpoint": cursor_list("groups", "groups"),
    },
)

STREAMS: tuple[Stream, ...] = (TICKETS, USERS, ORGANIZATIONS, GROUPS, *MORE_STREAMS)


VARIABLES = (
    Variable("ZENDESK_BASE_URL", "base_url", "https://<subdomain>.zendesk.com"),
    Variable("ZENDESK_EMAIL", "email", "the e-mail address of the token's owner"),
    Variable("ZENDESK_API_TOKEN", "api_token", "an API token", is_secret=True),
)


def _detail(response: Response) -> tuple[str, str]:
    """Zendesk's errors: an object with a text or an object under ``error``, or plain text."""
    try:
        body = response.json()
    except ValueError:
        kind = response.headers.get("Content-Type", "")
        return "", response.text[:200] if kind.startswith("text/plain") else ""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return str(error.get("title") or ""), str(error.get("message") or "")
    description = body.get("description") if isinstance(body, dict) else None
    return str(error or ""), str(description or "")


class ZendeskReader:
    """Reads one Zendesk account."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._lists = RestReader(client, youngest_start=YOUNGEST_START)

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._client.requests

    @property
    def undeclared(self) -> Mapping[str, frozenset[str]]:
        """By stream, fields of the answers that no column declares."""
        return self._lists.undeclared

    def count(self, stream: Stream) -> int | None:
        """How many tickets, users and so on are not deleted; None where Zendesk only estimates."""
        if stream.name not in _COUNTED:
            return None
        try:
            answer = self._client.get_json(f"/api/v2/{stream.name}/count.json")
        except (FatalError, RetriableError):
            return None
        value = value_at(answer, "count.value")
        return value if isinstance(value, int) and value < _EXACT_COUNT else None

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """Records that changed since the cursor, or since the window's start; lists as a whole."""
        export = stream.options.get("export")
        try:
            if isinstance(export, Endpoint):
                yield from self._read_export(stream, export, bookmark, options, now)
            else:
                yield from self._lists.read(stream, bookmark, options, now=now)
        except SkippableError as error:
            # 403: the plan has no such feature, which is no failure of a list that depends on it.
            if not stream.options.get("is_optional"):
                raise FatalError(
                    f"access was denied: {error.message}", hint=where_to_set(VARIABLES)
                ) from None

    def read_keys(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage] | None:
        """Keys of a list page by page; None for exports, which tell their deletes."""
        if "endpoint" not in stream.options:
            return None
        return self._lists.read_keys(stream, position, now=now)

    def _read_export(
        self,
        stream: Stream,
        export: Endpoint,
        bookmark: Bookmark | None,
        options: ReadOptions,
        now: datetime,
    ) -> Iterator[Batch]:
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        may_move = moves_bookmark(window, bookmark, options)
        keeps_cursor = not options.full_refresh and options.start is None
        cursor = bookmark.cursor if bookmark and keeps_cursor else None
        if cursor is not None:
            export = export.starting_with({"cursor": cursor})
        else:
            start = min(window.start or datetime.fromtimestamp(0, UTC), now - YOUNGEST_START)
            export = export.within(Window(start, window.end))
        greatest = bookmark.as_time() if bookmark and not options.full_refresh else None
        left = options.limit
        pages = read_pages(self._client, export, stream=stream.name, columns=stream.columns)
        for page in pages:
            if not len(page):
                continue
            batch = self._lists.noted(stream, page).batch
            moments = _moments(batch.column(str(stream.replication_key)))
            deleted_at = deleted_where(_is_deleted(batch), batch.column("updated_at"))
            batch = batch.append_column("_deleted_at", deleted_at)
            kept = batch if options.end is None else _before(batch, moments, options.end)
            kept = kept if left is None else kept.slice(0, left)
            is_whole = kept.num_rows == batch.num_rows
            behind = None
            if may_move and is_whole:
                greatest = max(filter(None, (greatest, pc.max(moments).as_py())), default=None)
                token = page.get("after_cursor")
                cursor = token if isinstance(token, str) and token else cursor
                behind = as_bookmark(greatest, cursor)
            yield Batch(kept, behind)
            left = None if left is None else left - kept.num_rows
            if not is_whole or left == 0:
                return


#: Lists that have a count of their own.
_COUNTED = frozenset({"tickets", "users", "organizations", "groups", "group_memberships"})
#: Above so many Zendesk's count is an estimate, refreshed once a day.
_EXACT_COUNT = 100_000
_UTC_TIME = pa.timestamp("us", "UTC")


def _moments(keys: pa.Array) -> pa.Array:
    """The replication keys as times; null for what is none."""
    if pa.types.is_integer(keys.type):
        return pc.multiply(keys.cast(pa.int64()), 1_000_000).cast(_UTC_TIME)
    return keys if keys.type == _UTC_TIME else pa.nulls(len(keys), _UTC_TIME)


def _before(batch: pa.RecordBatch, moments: pa.Array, end: datetime) -> pa.RecordBatch:
    """The records of before that time."""
    return batch.filter(pc.fill_null(pc.less(moments, pa.scalar(end, _UTC_TIME)), True))


def _is_deleted(batch: pa.RecordBatch) -> pa.Array:
    """Which tickets or users are deleted."""
    if "status" in batch.schema.names:
        return pc.equal(batch.column("status"), "deleted")
    return pc.equal(batch.column("active").cast(pa.string()), "false")


@contextmanager
def connect(
    settings: Mapping[str, str], *, transport: Transport | None = None
) -> Iterator[ZendeskReader]:
    """A reader of the account that the settings name."""
    required(settings, "zendesk", VARIABLES)
    client = HttpClient(
        settings["base_url"],
        source="zendesk",
        auth=BasicAuth(f"{settings['email']}/token", settings["api_token"]),
        errors=ErrorTable(_detail, {403: "skip", "InvalidPaginationParameter": "later"}),
        transport=transport,
        hint=where_to_set(VARIABLES),
    )
    with client:
        yield ZendeskReader(client)


ZENDESK = Source(
    name="zendesk",
    title="Zendesk",
    description="Support tickets and the people around them.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connect,
    kinds=("zendesk",),
    cron="30 * * * *",
)
