"""Salesforce: sales objects by REST query, by Bulk API 2.0 where a stream is long.

Paging: ``nextRecordsUrl`` of at most 2,000 records, or result locators of a bulk job; both ways
deliver the same rows. A query that takes Salesforce too long is cut into ranges of ids.
Limits: a daily count of API requests, told in ``Sforce-Limit-Info``.
Deletes: ``queryAll`` returns what lies in the recycle bin with ``IsDeleted``; such a record gets
``_deleted_at``. Changes are ordered by ``SystemModstamp``, which also moves on changes made by
the system. Activities of long ago are archived: only ``queryAll`` shows them.
Not here: which objects there are (``salesforce_streams.py``, ``salesforce_packages.py``), writing to
Salesforce (``salesforce_sync``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from urllib.parse import quote

import pyarrow as pa

from meltano_assets.clients.jobs import run_job
from meltano_assets.clients.policy import ROLLING, Quota, Transport
from meltano_assets.clients.salesforce import BULK_PAGE_ROWS, Poll, SalesforceClient
from meltano_assets.clients.salesforce_chunks import IdRange, whole_range
from meltano_assets.clients.salesforce_wire import is_too_slow, limit_info
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError, PlatformError
from meltano_assets.sources.base import (
    FieldCost,
    KeyPage,
    Source,
    deleted_where,
    naming_stream,
    no_records,
    plan_window,
    required,
    with_bookmarks,
)
from meltano_assets.sources.naming import column_name
from meltano_assets.sources.pages import Page
from meltano_assets.sources.records import batch_from_text, read_csv
from meltano_assets.sources.salesforce_fields import Asked, asked_of, described_columns, lacking
from meltano_assets.sources.salesforce_packages import PACKAGE_STREAMS
from meltano_assets.sources.salesforce_streams import LOOKBACK, PACKAGE, STREAMS, fields, text
from meltano_assets.streams import (
    DESCRIBED,
    NEEDED,
    Batch,
    Bookmark,
    Column,
    JobKey,
    ReadOptions,
    Stream,
    Window,
)

#: From so many records on a read goes by a bulk job: its pages are larger, it costs few requests,
#: and the vendor may split it by key. Below, a job's own waiting costs more than it saves.
BULK_THRESHOLD = 20_000


#: A longer query does not fit into the address of a GET.
_LONGEST_QUERY = 12_000
_REST_PAGE_ROWS = 2000


def object_stream(entry: Mapping[str, object]) -> Stream:
    """A stream of any object, standard or custom: all fields that ``describe`` tells.

    ``entry`` has the ``object``'s API name and may name the ``stream`` and the field that orders
    changes (``replication_key``), where an object has no ``SystemModstamp``.
    """
    name = str(entry.get("object") or "")
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise FatalError(f"{name!r} is no API name of an object", source="salesforce")
    key = str(entry.get("replication_key") or "SystemModstamp")
    return Stream(
        source="salesforce",
        name=str(entry.get("stream") or column_name(name)),
        columns=(*text("Id"), *fields("timestamptz", key)),
        primary_key=("id",),
        replication_key=column_name(key),
        description=f"All fields of the object {name}.",
        lookback=LOOKBACK,
        is_sorted=True,
        options={"object": name, DESCRIBED: True, NEEDED: ("is_deleted",)},
    )


VARIABLES = (
    Variable("SALESFORCE_BASE_URL", "base_url", "the organisation's address, https://…"),
    Variable("SALESFORCE_CLIENT_ID", "client_id", "the connected app's id", is_required=False),
    Variable(
        "SALESFORCE_CLIENT_SECRET",
        "client_secret",
        "the connected app's secret",
        is_secret=True,
        is_required=False,
    ),
    Variable("SALESFORCE_USERNAME", "username", "a user's name", is_required=False),
    Variable(
        "SALESFORCE_PASSWORD",
        "password",
        "the user's password",
        is_secret=True,
        is_required=False,
    ),
    Variable(
        "SALESFORCE_SECURITY_TOKEN",
        "security_token",
        "the user's security token",
        is_secret=True,
        is_required=False,
    ),
    Variable("SALESFORCE_API_VERSION", "api_version", "such as 59.0", is_required=False),
)


@dataclass(frozen=True, slots=True)
class _Query:
    """What is asked for: a query with its condition, perhaps of a range of ids; ``mark`` is what
    makes the bulk job of another run as good.
    """

    stream: Stream
    columns: tuple[Column, ...]
    text: str
    mark: Mapping[str, object]
    limit: str = ""
    job: str = "bulk query"
    include_deleted: bool = True
    ids: IdRange | None = None

    def soql(self, order: str = "") -> str:
        """The query as it is sent."""
        condition = ""
        if self.ids is not None:
            word = "AND" if " WHERE " in self.text else "WHERE"
            condition = f" {word} {self.ids.condition}"
        return f"{self.text}{condition}{order}{self.limit}"


class SalesforceReader:
    """Reads objects of one organisation."""

    def __init__(
        self,
        client: SalesforceClient,
        *,
        bulk_threshold: int = BULK_THRESHOLD,
        mapped: Callable[[Stream], tuple[Column, ...]] = lambda _stream: (),
    ) -> None:
        self._client = client
        self._mapped = mapped
        self._bulk_threshold = bulk_threshold
        self._told: dict[str, list[Mapping[str, object]] | None] = {}
        self._prefixes: dict[str, str] | None = None
        self.undeclared: dict[str, frozenset[str]] = {}
        self.absent: dict[str, str] = {}
        """By stream, why the organisation has nothing of it to read."""

    @property
    def requests(self) -> int:
        """Requests sent so far, logins included."""
        return self._client.requests

    def count(self, stream: Stream) -> int | None:
        """How many records there are outside the recycle bin; None where counting takes too long,
        or where there is no such object.
        """
        return None if self._is_absent(stream) else self._count(stream)

    def _count(self, stream: Stream, where: str = "") -> int | None:
        is_all, live = _living(stream)
        try:
            return self._client.count(_object(stream), _and(live, where), include_deleted=is_all)
        except PlatformError as error:
            if is_too_slow(error):
                return None
            raise

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """Changed and deleted records in the order of their changes, or unordered by bulk job."""
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        # What was read once has not been absent always: then its absence is a failure.
        if bookmark is None and self._is_absent(stream):
            return
        asked = self._asked(stream)
        limit = f" LIMIT {options.limit}" if options.limit is not None else ""
        query = _Query(
            stream,
            asked.fields,
            _soql(stream, asked.fields, window),
            # The window's end is "now" and differs from run to run: it is not a job's mark.
            {"start": window.start, "end": options.end, "limit": options.limit},
            limit=limit,
        )
        order = f" ORDER BY {stream.column(str(stream.replication_key)).vendor_field}, Id"
        is_sorted, batches = self._answer(query, order)
        whole = (_with_deleted(asked.completed(batch, self._objects), stream) for batch in batches)
        yield from with_bookmarks(stream, whole, window, bookmark, options, is_sorted=is_sorted)

    def _answer(self, query: _Query, order: str = "") -> tuple[bool, Iterator[pa.RecordBatch]]:
        """Whether the query's records come in order, and the records: by REST, by bulk job, or in
        ranges of ids where Salesforce gives the query up.
        """
        if len(quote(query.soql())) > _LONGEST_QUERY:
            return False, self._in_ranges(query, self._by_bulk(query))
        pages = self._client.query_pages(
            query.soql(order),
            include_deleted=query.include_deleted,
            parse=lambda response: Page(response.body, "records", query.columns),
        )
        try:
            first = next(pages, None)
        except PlatformError as error:
            if not is_too_slow(error) or query.ids is not None:
                raise
            return False, self._in_ranges(query, None)
        if first is None:
            return True, iter(())
        total = first.get("totalSize")
        if not query.limit and isinstance(total, int) and total >= self._bulk_threshold:
            return False, self._in_ranges(query, self._by_bulk(query))
        return True, (page.batch for page in chain([first], pages) if len(page))

    def _in_ranges(
        self, query: _Query, whole: Iterator[pa.RecordBatch] | None
    ) -> Iterator[pa.RecordBatch]:
        """The records of the whole query, or of ranges of its ids, ever smaller ones, where it is too
        slow. What a slow one has given already comes again.
        """
        try:
            if whole is not None:
                yield from whole
                return
        except PlatformError as error:
            if not is_too_slow(error) or query.ids is not None:
                raise
        bounds = self._id_bounds(query)
        if bounds is None:
            return
        everything, last = whole_range(*bounds)
        waiting = deque(everything.pieces(last))
        while waiting:
            ids = waiting.popleft()
            try:
                yield from self._answer(replace(query, ids=ids))[1]
            except PlatformError as error:
                if not is_too_slow(error) or ids.is_single:
                    raise
                waiting.extendleft(reversed(list(ids.pieces(last))))

    def _id_bounds(self, query: _Query) -> tuple[str, str] | None:
        """The least and the greatest id of the object, which Salesforce finds by its index."""
        found = []
        for way in ("ASC", "DESC"):
            soql = f"SELECT Id FROM {_object(query.stream)} ORDER BY Id {way} LIMIT 1"
            pages = self._client.query(soql, include_deleted=query.include_deleted)
            found += [str(record["Id"]) for page in pages for record in page]
        return (found[0], found[1]) if found else None

    def _by_bulk(self, query: _Query) -> Iterator[pa.RecordBatch]:
        """The query's records by a bulk job that another run may have ordered."""
        stream = query.stream
        request: dict[str, object] = {
            "object": _object(stream),
            "fields": [column.vendor_field for column in query.columns],
            **query.mark,
        }
        if query.ids is not None:
            request["ids"] = query.ids.condition
        files = run_job(
            JobKey(stream.source, stream.name, query.job, request),
            self._client.query_job(query.soql(), include_deleted=query.include_deleted),
            self._client.transport,
            poll=self._client.poll,
        )
        for body in files:
            yield batch_from_text(query.columns, read_csv(body, null_text=""))

    def field_cost(self, stream: Stream, column: Column) -> FieldCost:
        """Counted by Salesforce, by one call."""
        where = self._has_value(stream, column)
        records = self._count(stream, where)
        filtered = f"where {column.vendor_field} is not null" if where else "all records"
        if records is None:
            return FieldCost(None, None, f"Id and {column.vendor_field}, {filtered}, in ranges")
        if records >= self._bulk_threshold:
            # Order, result pages, and the questions in between.
            calls = 12 + -(-records // BULK_PAGE_ROWS)
            return FieldCost(records, calls, f"Id and {column.vendor_field}, {filtered}, by bulk")
        calls = max(1, -(-records // _REST_PAGE_ROWS))
        return FieldCost(records, calls, f"Id and {column.vendor_field}, {filtered}, by query")

    @naming_stream
    def read_field(self, stream: Stream, column: Column, *, now: datetime) -> Iterator[Batch]:
        """``Id`` and the field, where it is not null and Salesforce can filter by it."""
        keys = tuple(stream.column(name) for name in stream.primary_key)
        asked = asked_of((*keys, column), self._described(stream))
        is_all, live = _living(stream)
        where = _and(live, self._has_value(stream, column))
        soql = f"SELECT {', '.join(c.vendor_field for c in asked.fields)} FROM {_object(stream)}"
        soql += f" WHERE {where}" if where else ""
        query = _Query(
            stream,
            asked.fields,
            soql,
            {"soql": soql},
            job="bulk backfill",
            include_deleted=is_all,
        )
        for batch in self._answer(query)[1]:
            yield Batch(asked.completed(batch, self._objects))

    def read_keys(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage]:
        """Ids in their order, 2,000 a call: what was deleted for good is in no recycle bin."""
        keys = tuple(stream.column(name) for name in stream.primary_key)
        fields = ", ".join(column.vendor_field for column in keys)
        order = keys[0].vendor_field
        is_all, live = _living(stream)
        while True:
            where = _and(live, f"{order} > '{position}'" if position else "")
            where = f" WHERE {where}" if where else ""
            soql = f"SELECT {fields} FROM {_object(stream)}{where} ORDER BY {order}"
            pages = self._client.query_pages(
                f"{soql} LIMIT {_REST_PAGE_ROWS}",
                include_deleted=is_all,
                parse=lambda response: Page(response.body, "records", keys),
            )
            batches = [page.batch for page in pages if len(page)]
            rows = sum(batch.num_rows for batch in batches)
            for batch in batches[:-1]:
                yield KeyPage(batch, is_exact=True)
            position = str(batches[-1].column(0)[-1]) if batches else position
            is_last = rows < _REST_PAGE_ROWS
            last = batches[-1] if batches else no_records(keys)
            yield KeyPage(last, position, is_last, is_exact=True)
            if is_last:
                return

    def _has_value(self, stream: Stream, column: Column) -> str:
        """The condition that the field is not null; empty for long texts, which cannot be asked."""
        fields = self._described(stream)
        for asked in asked_of((column,), fields).fields:
            told = next(told for told in fields if told.get("name") == asked.vendor_field)
            return f"{asked.vendor_field} != null" if told.get("filterable") else ""
        raise FatalError(
            f"{_object(stream)} has no field {column.vendor_field}, or the user may not see it",
            hint="grant the integration user read access to the field",
        )

    def columns(self, stream: Stream) -> tuple[Column, ...]:
        """All columns of a stream that was named by a user, as the organisation describes them."""
        key = stream.column(str(stream.replication_key)).vendor_field
        return described_columns(self._described(stream), key)

    def _described(self, stream: Stream) -> list[Mapping[str, object]]:
        """What the organisation says of the object's fields; FatalError where there is no object."""
        found = self._told_of(stream)
        if found is None:
            raise FatalError(
                f"the organisation has no object {_object(stream)}, or the user may not see it",
                source=stream.source,
                stream=stream.name,
                hint="create it or grant the integration user read access to it",
            )
        return found

    def _told_of(self, stream: Stream) -> list[Mapping[str, object]] | None:
        """The object's fields, None without an object; asked once a connection."""
        name = _object(stream)
        if name not in self._told:
            try:
                fields = self._client.describe(name).get("fields")
                self._told[name] = fields if isinstance(fields, list) else []
            except FatalError as error:
                if "NOT_FOUND" not in error.message:
                    raise
                self._told[name] = None
        return self._told[name]

    def _is_absent(self, stream: Stream) -> bool:
        """True where the object comes with a package that the organisation does not have."""
        package = stream.options.get(PACKAGE)
        if package is None or self._told_of(stream) is not None:
            return False
        self.absent[stream.name] = (
            f"the organisation has no object {_object(stream)}: the package {package} is not "
            "installed, or the integration user may not see it"
        )
        return True

    def _objects(self) -> Mapping[str, str]:
        """Names of all objects by the prefix of their ids; asked once a connection."""
        if self._prefixes is None:
            told = self._client.objects()
            self._prefixes = {
                str(each["keyPrefix"]): str(each["name"]) for each in told if each.get("keyPrefix")
            }
        return self._prefixes

    def _asked(self, stream: Stream) -> Asked:
        """The declared columns that the organisation has and lets us see, keys among them."""
        fields = self._described(stream)
        # What the user's own mapping reads is chosen, though no stream declares it.
        asked = asked_of((*stream.columns, *self._mapped(stream)), fields)
        known = {column.vendor_field for column in asked.columns}
        self.undeclared[stream.name] = frozenset(str(told.get("name")) for told in fields) - known
        if lost := lacking(stream, asked.columns):
            raise FatalError(
                f"{_object(stream)} has no {', '.join(lost)}",
                source=stream.source,
                stream=stream.name,
                hint="grant the integration user read access to the object and its fields",
            )
        return asked


def _living(stream: Stream) -> tuple[bool, str]:
    """Whether what is not deleted must be asked for as what is, and the condition for that."""
    if any(column.name == "is_archived" for column in stream.columns):
        return True, "IsDeleted = false"
    return False, ""


def _and(*conditions: str) -> str:
    return " AND ".join(filter(None, conditions))


def _object(stream: Stream) -> str:
    return str(stream.options.get("object", stream.name))


def _soql(stream: Stream, columns: tuple[Column, ...], window: Window) -> str:
    key = stream.column(str(stream.replication_key)).vendor_field
    terms = [f"{key} < {_literal(window.end)}"]
    if window.start is not None:
        terms.insert(0, f"{key} >= {_literal(window.start)}")
    fields = ", ".join(column.vendor_field for column in columns)
    return f"SELECT {fields} FROM {_object(stream)} WHERE {' AND '.join(terms)}"


def _literal(moment: datetime) -> str:
    """A SOQL time; SOQL knows milliseconds."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{text}Z"


def _with_deleted(batch: pa.RecordBatch, stream: Stream) -> pa.RecordBatch:
    if "is_deleted" not in batch.schema.names:
        return batch
    moments = deleted_where(batch.column("is_deleted"), batch.column(str(stream.replication_key)))
    return batch.append_column("_deleted_at", moments)


@contextmanager
def connect(
    settings: Mapping[str, str],
    *,
    transport: Transport | None = None,
    poll: Poll | None = None,
    bulk_threshold: int = BULK_THRESHOLD,
) -> Iterator[SalesforceReader]:
    """A reader of the organisation that the settings name."""
    from meltano_assets import environment, field_mapping

    required(settings, "salesforce", VARIABLES)
    mapped = field_mapping.read(environment.dbt_project_directory() / field_mapping.FILE)
    with SalesforceClient(settings, http=transport, poll=poll) as client:
        yield SalesforceReader(
            client,
            bulk_threshold=bulk_threshold,
            mapped=lambda stream: field_mapping.mapped_columns(mapped, stream),
        )


SALESFORCE = Source(
    name="salesforce",
    title="Salesforce",
    description="Accounts, people, campaigns and opportunities of the sales team.",
    variables=VARIABLES,
    streams=(*STREAMS, *PACKAGE_STREAMS),
    connect=connect,
    kinds=("salesforce",),
    cron="10 * * * *",
    quota=Quota(calls=15_000, zone=ROLLING, usage=limit_info),
    by_name=object_stream,
)
