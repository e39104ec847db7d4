"""Zendesk Support: tickets by the cursor-based incremental export.

Paging: ``after_cursor`` until ``end_of_stream``; the last cursor is the bookmark of the next
read. The export is ordered by ``generated_timestamp`` (the system's time), not ``updated_at``.
Limits: ten export requests a minute, told by 429 and ``Retry-After`` with a plain-text body.
Deletes: a deleted ticket comes once more with the status ``deleted`` and gets ``_deleted_at``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import BasicAuth, ErrorTable, Response, Transport
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sources.base import (
    Source,
    as_bookmark,
    deleted_where,
    moves_bookmark,
    plan_window,
    required,
    where_to_set,
)
from meltano_assets.sources.rest import CursorPaging, Endpoint, read_pages
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

#: The export refuses a start less than a minute old; two allow for clocks that differ.
YOUNGEST_START = timedelta(minutes=2)

EXPORT = Endpoint(
    "/api/v2/incremental/tickets/cursor.json",
    records="tickets",
    paging=CursorPaging(
        param="cursor",
        found_at="after_cursor",
        end="end_of_stream",
        size_param="per_page",
        size=1000,
        is_alone=True,
    ),
)

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

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._client.requests

    def count(self, stream: Stream) -> int | None:
        """How many tickets are not deleted; None where Zendesk only estimates."""
        try:
            answer = self._client.get_json(f"/api/v2/{stream.name}/count.json")
        except (FatalError, RetriableError):
            return None
        count = answer.get("count")
        value = count.get("value") if isinstance(count, dict) else None
        return value if isinstance(value, int) and value < _EXACT_COUNT else None

    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """Tickets that changed since the cursor, or since the window's start."""
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        may_move = moves_bookmark(window, bookmark, options)
        keeps_cursor = not options.full_refresh and options.start is None
        cursor = bookmark.cursor if bookmark and keeps_cursor else None
        greatest = bookmark.as_time() if bookmark and not options.full_refresh else None
        left = options.limit
        pages = read_pages(
            self._client,
            _export(cursor, window, now),
            stream=stream.name,
            columns=stream.columns,
        )
        for page in pages:
            if not len(page):
                continue
            batch = _with_deleted(page.batch)
            kept = batch if options.end is None else _before(batch, options.end)
            kept = kept if left is None else kept.slice(0, left)
            is_whole = kept.num_rows == batch.num_rows
            greatest = max(filter(None, (greatest, _latest(kept))), default=None)
            token = page.get("after_cursor")
            behind = None
            if may_move and is_whole:
                cursor = token if isinstance(token, str) and token else cursor
                behind = as_bookmark(greatest, cursor)
            yield Batch(kept, behind)
            left = None if left is None else left - kept.num_rows
            if not is_whole or left == 0:
                return


#: Above so many Zendesk's count is an estimate, refreshed once a day.
_EXACT_COUNT = 100_000


def _export(cursor: str | None, window: Window, now: datetime) -> Endpoint:
    """The export from a cursor on, else from the window's start."""
    if cursor is not None:
        return EXPORT.starting_with({"cursor": cursor})
    start = min(window.start or datetime.fromtimestamp(0, UTC), now - YOUNGEST_START)
    return EXPORT.starting_with({"start_time": int(start.timestamp())})


def _latest(batch: pa.RecordBatch) -> datetime | None:
    """The latest ``generated_timestamp``."""
    seconds = batch.column("generated_timestamp")
    latest = pc.max(seconds).as_py() if pa.types.is_integer(seconds.type) else None
    return datetime.fromtimestamp(latest, UTC) if latest is not None else None


def _before(batch: pa.RecordBatch, end: datetime) -> pa.RecordBatch:
    """The records that the export saw before that time."""
    seconds = batch.column("generated_timestamp")
    if not pa.types.is_integer(seconds.type):
        return batch
    return batch.filter(pc.fill_null(pc.less(seconds, int(end.timestamp())), True))


def _with_deleted(batch: pa.RecordBatch) -> pa.RecordBatch:
    is_deleted = pc.equal(batch.column("status"), "deleted")
    return batch.append_column("_deleted_at", deleted_where(is_deleted, batch.column("updated_at")))


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
        errors=ErrorTable(_detail),
        transport=transport,
        hint=where_to_set(VARIABLES),
    )
    with client:
        yield ZendeskReader(client)


ZENDESK = Source(
    name="zendesk",
    title="Zendesk",
    description="Support tickets.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connect,
    kinds=("zendesk",),
    cron="30 * * * *",
)
