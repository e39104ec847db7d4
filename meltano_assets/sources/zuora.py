"""Zuora Billing: accounts, subscriptions, invoices, payments and revenue.

Everything goes by AQuA exports, which are files: a first read by a stateless job; what changed since
by a stateful one, which also tells what was deleted. The latter needs a partner id; without one,
changes come by ZOQL in pages of 2,000, and deletes are not told. Objects that exports refuse are
read by ZOQL, too. Files are unordered, so the bookmark moves at the end.

Limits: 50,000 requests a minute; too many at once are told by 429 and want two minutes of rest.
Stateful exports count from a second in the tenant's zone (``ZUORA_TIME_ZONE``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.jobs import Poll, run_job
from meltano_assets.clients.policy import Transport
from meltano_assets.clients.zuora import (
    POLL,
    AquaJob,
    Description,
    Export,
    RefusedQueryError,
    ZuoraClient,
)
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError, GoneError, RetriableError
from meltano_assets.sources.base import (
    Source,
    between,
    deleted_where,
    naming_stream,
    plan_window,
    required,
    undeclared_fields,
    where_to_set,
    with_bookmarks,
)
from meltano_assets.sources.pages import Page
from meltano_assets.sources.records import batch_from_text, read_csv_stream
from meltano_assets.sources.zuora_streams import STREAMS
from meltano_assets.streams import Batch, Bookmark, Column, JobKey, ReadOptions, Stream, Window

DEFAULT_TIME_ZONE = "America/Los_Angeles"
_DELETED = "Deleted"
_UTC_TIME = pa.timestamp("us", "UTC")

VARIABLES = (
    Variable("ZUORA_BASE_URL", "base_url", "the tenant's REST address, https://rest.zuora.com"),
    Variable("ZUORA_CLIENT_ID", "client_id", "an OAuth client's id", is_required=False),
    Variable(
        "ZUORA_CLIENT_SECRET",
        "client_secret",
        "the OAuth client's secret",
        is_secret=True,
        is_required=False,
    ),
    Variable("ZUORA_USERNAME", "username", "a user's name, without OAuth", is_required=False),
    Variable(
        "ZUORA_PASSWORD", "password", "the user's password", is_secret=True, is_required=False
    ),
    Variable(
        "ZUORA_PARTNER_ID",
        "partner_id",
        "the partner id that Zuora's support gave out; needed for deletes",
        is_required=False,
    ),
    Variable(
        "ZUORA_ENTITY_ID", "entity_id", "which entity, where there are more", is_required=False
    ),
    Variable(
        "ZUORA_TIME_ZONE",
        "time_zone",
        f"the tenant's time zone; {DEFAULT_TIME_ZONE} when unset",
        is_required=False,
    ),
)


class ZuoraReader:
    """Reads one tenant."""

    def __init__(
        self, client: ZuoraClient, *, partner: str = "", zone: ZoneInfo, poll: Poll = POLL
    ) -> None:
        self._client = client
        self._partner = partner
        self._zone = zone
        self._poll = poll
        self.undeclared: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> int:
        """Requests sent so far, logins included."""
        return self._client.requests

    def count(self, stream: Stream) -> int | None:
        """How many records there are, for objects that ZOQL knows."""
        try:
            return self._client.count(_object(stream))
        except (FatalError, RetriableError):
            return None

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """Changed and, with a partner id, deleted records since the bookmark; at first all."""
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        description = self._describe(stream)
        if window.start is not None and not self._partner and _zoql_tells(stream, description):
            batches = self._by_zoql(stream, description, window)
        else:
            batches = self._by_export(stream, description, window, options)
        key = str(stream.replication_key)
        cut = (between(batch, key, window.start, window.end) for batch in batches)
        yield from with_bookmarks(stream, cut, window, bookmark, options)

    def _describe(self, stream: Stream) -> Description:
        try:
            description = self._client.describe(_object(stream))
        except GoneError:
            raise FatalError(
                f"the tenant has no object {_object(stream)}, or the user may not see it",
                hint="enable the feature in Zuora, or leave the stream out",
            ) from None
        joined = {f"{name}Id" for name in description.joins.values()}
        offered = {*description.exported.values(), *description.queried.values(), *joined}
        self.undeclared[stream.name] = undeclared_fields(stream, offered)
        return description

    # -- exports --

    def _by_export(
        self, stream: Stream, description: Description, window: Window, options: ReadOptions
    ) -> Iterator[pa.RecordBatch]:
        fields = _exported(stream, description)
        is_stateful = window.start is not None and bool(self._partner)
        has_deleted = is_stateful and bool(stream.options.get("has_deleted"))
        query = f"select {', '.join(fields)} from {_object(stream)}"
        if window.start is not None and not is_stateful:
            query += f" where UpdatedDate >= '{_zoql_time(window.start)}'"
        if options.limit is not None and window.start is None:
            query += f" limit {options.limit}"
        export = Export(
            name=f"meltano_assets_{stream.name}",
            query=query,
            partner=self._partner,
            project=f"meltano_assets_{stream.name}",
            since=tenant_time(window.start, self._zone) if is_stateful else None,
            has_deleted=has_deleted,
        )
        try:
            yield from self._run(stream, fields, export, window)
        except RefusedQueryError as refusal:
            if export.has_deleted and "deleted" in refusal.message.lower():
                plain = Export(export.name, query, export.partner, export.project, export.since)
                yield from self._run(stream, fields, plain, window)
            elif description.queried:
                yield from self._instead_of_export(stream, description, window, refusal)
            else:
                raise

    def _instead_of_export(
        self, stream: Stream, description: Description, window: Window, refusal: RefusedQueryError
    ) -> Iterator[pa.RecordBatch]:
        batches = self._by_zoql(stream, description, window)
        try:
            first = next(batches, None)
        except FatalError:
            raise refusal from None
        yield from chain([] if first is None else [first], batches)

    def _run(
        self, stream: Stream, fields: Mapping[str, Column], export: Export, window: Window
    ) -> Iterator[pa.RecordBatch]:
        """The batches of the export, of an open job where there is one."""
        request = {
            "query": export.query,
            "start": window.start,
            "is_stateful": export.since is not None,
            "has_deleted": export.has_deleted,
        }

        def parse(chunks: Iterator[bytes]) -> Iterator[tuple[pa.RecordBatch, int]]:
            for texts in read_csv_stream(chunks, null_text=""):
                batch = _batch(stream, fields, texts)
                yield batch, batch.num_rows

        yield from run_job(
            JobKey(stream.source, stream.name, "export", request),
            AquaJob(self._client.http, export, parse),
            self._client.http.transport,
            poll=self._poll,
        )

    # -- ZOQL --

    def _by_zoql(
        self, stream: Stream, description: Description, window: Window
    ) -> Iterator[pa.RecordBatch]:
        columns = tuple(
            column
            for column in stream.columns
            if column.vendor_field.lower() in description.queried
        )
        _refuse_without_keys(stream, columns)
        fields = ", ".join(description.queried[c.vendor_field.lower()] for c in columns)
        terms = [f"UpdatedDate < '{_zoql_time(window.end)}'"]
        if window.start is not None:
            terms.insert(0, f"UpdatedDate >= '{_zoql_time(window.start)}'")
        zoql = f"select {fields} from {_object(stream)} where {' and '.join(terms)}"
        pages = self._client.query_pages(
            zoql, lambda response: Page(response.body, "records", columns, is_optional=True)
        )
        return (
            page.batch.append_column("_deleted_at", pa.nulls(len(page), _UTC_TIME))
            for page in pages
            if len(page)
        )


def _object(stream: Stream) -> str:
    return str(stream.options["object"])


def _zoql_tells(stream: Stream, description: Description) -> bool:
    """True when ZOQL has every column that exports have."""
    offered = _exported(stream, description).values()
    return all(column.vendor_field.lower() in description.queried for column in offered)


def _exported(stream: Stream, description: Description) -> dict[str, Column]:
    """What to select, with its column: fields that exports have, pointers by their join."""
    fields: dict[str, Column] = {}
    for column in stream.columns:
        name = column.vendor_field.lower()
        if name in description.exported:
            fields[description.exported[name]] = column
        elif name.endswith("id") and name[:-2] in description.joins:
            fields[f"{description.joins[name[:-2]]}.Id"] = column
    _refuse_without_keys(stream, tuple(fields.values()))
    return fields


def _refuse_without_keys(stream: Stream, columns: Sequence[Column]) -> None:
    keys = {*stream.primary_key, stream.replication_key}
    if lost := keys - {column.name for column in columns}:
        raise FatalError(
            f"{_object(stream)} offers no {', '.join(sorted(filter(None, lost)))}",
            hint="give the user read access to the object and all its fields",
        )


def _batch(
    stream: Stream, fields: Mapping[str, Column], texts: Mapping[str, pa.Array]
) -> pa.RecordBatch:
    """A piece of a file by the declared types; its header names fields, plainly or with the object."""
    found = {name.lower(): array for name, array in texts.items()}
    named: dict[str, pa.Array] = {}
    for name, column in fields.items():
        whole = name.lower() if "." in name else f"{_object(stream)}.{name}".lower()
        array = found.get(whole, found.get(name.lower()))
        if array is None:
            raise FatalError(f"the export has no column {name}", hint="run it again")
        named[column.vendor_field] = array
    batch = batch_from_text(tuple(fields.values()), named)
    deleted = found.get(_DELETED.lower(), found.get(f"{_object(stream)}.{_DELETED}".lower()))
    if deleted is None:
        # What a whole export holds is there, even what was once deleted.
        return batch.append_column("_deleted_at", pa.nulls(batch.num_rows, _UTC_TIME))
    is_gone = pc.is_in(pc.utf8_lower(deleted), pa.array(["true", "1"]))
    moments = batch.column(str(stream.replication_key))
    return batch.append_column("_deleted_at", deleted_where(is_gone, moments))


def _zoql_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def tenant_time(moment: datetime | None, zone: ZoneInfo) -> str | None:
    """The moment as ``incrementalTime``: seconds in the tenant's zone, never read as a later one.

    In the hour that a zone lives through twice the text could mean either; it is begun before it.
    """
    if moment is None:
        return None
    local = moment.astimezone(zone)
    if local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset():
        local = (moment - timedelta(hours=2)).astimezone(zone)
    return local.strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def connect(
    settings: Mapping[str, str],
    *,
    transport: Transport | None = None,
    poll: Poll = POLL,
) -> Iterator[ZuoraReader]:
    """A reader of the tenant that the settings name."""
    required(settings, "zuora", VARIABLES)
    hint = where_to_set(VARIABLES)
    pairs = (("client_id", "client_secret"), ("username", "password"))
    if not any(all(settings.get(name) for name in pair) for pair in pairs):
        raise FatalError(
            "not set: ZUORA_CLIENT_ID with ZUORA_CLIENT_SECRET, or ZUORA_USERNAME with"
            " ZUORA_PASSWORD",
            source="zuora",
            hint=hint,
        )
    zone_name = settings.get("time_zone") or DEFAULT_TIME_ZONE
    try:
        zone = ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError):
        raise FatalError(
            f"ZUORA_TIME_ZONE is no time zone: {zone_name}",
            source="zuora",
            hint="write it like America/Los_Angeles",
        ) from None
    client = ZuoraClient(settings, transport=transport, hint=hint)
    try:
        yield ZuoraReader(client, partner=settings.get("partner_id", ""), zone=zone, poll=poll)
    finally:
        client.close()


ZUORA = Source(
    name="zuora",
    title="Zuora",
    description="Billing: subscriptions, invoices, payments and revenue.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connect,
    kinds=("zuora",),
    cron="20 * * * *",
)
