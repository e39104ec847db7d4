"""Salesforce: sales objects by REST query, by Bulk API 2.0 where a stream is long.

Paging: ``nextRecordsUrl`` of at most 2,000 records, or result locators of a bulk job; both ways
deliver the same rows. A query that takes Salesforce too long is cut into ranges of ids.
Limits: a daily count of API requests, told in ``Sforce-Limit-Info``.
Deletes: ``queryAll`` returns what lies in the recycle bin with ``IsDeleted``; such a record gets
``_deleted_at``. Changes are ordered by ``SystemModstamp``, which also moves on changes made by
the system. Not here: writing to Salesforce (``salesforce_sync``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
    undeclared_fields,
    with_bookmarks,
)
from meltano_assets.sources.naming import column_name
from meltano_assets.sources.pages import Page
from meltano_assets.sources.records import batch_from_text, read_csv
from meltano_assets.streams import (
    DESCRIBED,
    NEEDED,
    Batch,
    Bookmark,
    Column,
    ColumnType,
    JobKey,
    ReadOptions,
    Stream,
    Window,
)

#: A transaction stamps its records when it writes them and shows them when it commits; Apex and
#: bulk transactions may take minutes, so every read goes this far behind the bookmark.
LOOKBACK = timedelta(minutes=10)

#: From so many records on a read goes by a bulk job: its pages are larger, it costs few requests,
#: and the vendor may split it by key. Below, a job's own waiting costs more than it saves.
BULK_THRESHOLD = 20_000


def _fields(kind: ColumnType, *fields: str, is_pii: bool = False) -> tuple[Column, ...]:
    return tuple(Column(column_name(name), kind, field=name, is_pii=is_pii) for name in fields)


def _text(*fields: str) -> tuple[Column, ...]:
    return _fields("text", *fields)


def _personal(*fields: str) -> tuple[Column, ...]:
    return _fields("text", *fields, is_pii=True)


def _stream(
    name: str,
    object_name: str,
    description: str,
    *columns: Column,
    has_deleted: bool = True,
    is_history: bool = False,
) -> Stream:
    modified = () if is_history else ("LastModifiedDate",)
    audit = _fields("timestamptz", "CreatedDate", *modified, "SystemModstamp")
    deleted = _fields("boolean", "IsDeleted") if has_deleted else ()
    return Stream(
        source="salesforce",
        name=name,
        columns=(*_text("Id"), *columns, *audit, *deleted),
        primary_key=("id",),
        replication_key="system_modstamp",
        disposition="upsert",
        description=description,
        lookback=LOOKBACK,
        is_sorted=True,
        options={"object": object_name, NEEDED: ("is_deleted",)},
    )


#: Types of fields as ``describe`` tells them; all others are text.
_TYPES: Mapping[str, ColumnType] = {
    "boolean": "boolean",
    "int": "integer",
    "long": "bigint",
    "double": "numeric",
    "currency": "numeric",
    "percent": "numeric",
    "date": "date",
    "datetime": "timestamptz",
}
#: Compound fields repeat what their parts hold, and files are fetched one by one: both left out.
_LEFT_OUT = frozenset({"address", "location", "base64"})
_PERSONAL_TYPES = frozenset({"email", "phone"})
_PERSONAL_NAMES = frozenset({"FirstName", "LastName", "MiddleName", "Username", "Birthdate"})
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
        columns=(*_text("Id"), *_fields("timestamptz", key)),
        primary_key=("id",),
        replication_key=column_name(key),
        description=f"All fields of the object {name}.",
        lookback=LOOKBACK,
        is_sorted=True,
        options={"object": name, DESCRIBED: True, NEEDED: ("is_deleted",)},
    )


STREAMS: tuple[Stream, ...] = (
    _stream(
        "accounts",
        "Account",
        "Companies: customers, prospects and partners.",
        *_text("Name", "Type", "Website", "Industry", "Description"),
        *_fields("bigint", "NumberOfEmployees"),
        *_text("Phone", "BillingCountry", "ParentId", "OwnerId", "AccountSource"),
        *_text("Sales_Segmentation__c"),
        *_fields("boolean", "Using_CE__c"),
        *_fields("numeric", "Active_CE_Users__c"),
        *_text("Meltano_Id__c"),
    ),
    _stream(
        "contacts",
        "Contact",
        "People at an account.",
        *_text("AccountId"),
        *_personal("FirstName", "LastName", "Email"),
        *_text("Title", "LeadSource", "OwnerId"),
    ),
    _stream(
        "leads",
        "Lead",
        "People who showed interest and are not yet contacts of an account.",
        *_personal("FirstName", "LastName", "Email"),
        *_text("Company", "Title", "Status", "LeadSource", "Industry", "Website"),
        *_fields("boolean", "IsConverted"),
        *_fields("date", "ConvertedDate"),
        *_text("ConvertedAccountId", "ConvertedContactId", "ConvertedOpportunityId"),
        *_fields("date", "MQL_Date__c"),
        *_text("OwnerId"),
    ),
    _stream(
        "campaigns",
        "Campaign",
        "Marketing campaigns with their budgets, costs and parents.",
        *_text("Name", "Type", "Status"),
        *_fields("boolean", "IsActive"),
        *_fields("date", "StartDate", "EndDate"),
        *_fields("numeric", "BudgetedCost", "ActualCost", "ExpectedRevenue"),
        *_text("ParentId", "OwnerId"),
    ),
    _stream(
        "campaign_members",
        "CampaignMember",
        "Leads and contacts that a campaign reached, and whether they responded.",
        *_text("CampaignId", "LeadId", "ContactId", "Status"),
        *_fields("boolean", "HasResponded"),
        *_fields("date", "FirstRespondedDate"),
    ),
    _stream(
        "opportunities",
        "Opportunity",
        "Deals with their stage, source and values.",
        *_text("AccountId", "Name", "StageName", "Type", "LeadSource"),
        *_fields("numeric", "Amount"),
        *_fields("date", "CloseDate"),
        *_text("CampaignId", "OwnerId"),
        *_fields("boolean", "IsClosed", "IsWon"),
        *_fields("numeric", "Probability"),
        *_fields("date", "Sales_Accepted_Date__c", "Sales_Qualified_Date__c"),
        *_text("SQL_Source__c"),
        *_fields("numeric", "Incremental_ACV__c", "ACV__c"),
        *_text("Sales_Segmentation__c", "Reason_for_Loss__c", "CurrencyIsoCode"),
    ),
    _stream(
        "products",
        "Product2",
        "What the company sells.",
        *_text("Name", "ProductCode", "Description", "Family"),
        *_fields("boolean", "IsActive"),
    ),
    _stream(
        "opportunity_line_items",
        "OpportunityLineItem",
        "Which products a deal consists of, and at what price.",
        *_text("OpportunityId", "Product2Id", "ProductCode", "Name"),
        *_fields("numeric", "Quantity", "ListPrice", "UnitPrice", "TotalPrice"),
        *_fields("date", "ServiceDate"),
        *_text("Description"),
        *_fields("integer", "SortOrder"),
    ),
    _stream(
        "opportunity_history",
        "OpportunityHistory",
        "How a deal's stage, amount, probability and close date changed, since it was made.",
        *_text("OpportunityId", "StageName"),
        *_fields("numeric", "Amount", "ExpectedRevenue"),
        *_fields("date", "CloseDate"),
        *_fields("numeric", "Probability"),
        *_text("ForecastCategory"),
        is_history=True,
    ),
    _stream(
        "users",
        "User",
        "People who work in Salesforce: the owners of the other records.",
        *_personal("Username", "Name", "Email"),
        *_text("Title", "Department"),
        *_fields("boolean", "IsActive"),
        *_text("ManagerId"),
        has_deleted=False,
    ),
    _stream(
        "hosts",
        "Host__c",
        "Installations seen by pings, one record per host, written back by the sync.",
        *_text("Name", "Account__c", "Original_Hostname__c"),
        *_fields("numeric", "Host_Users__c"),
        *_text("Installation_Type__c"),
        *_fields("date", "Last_Ping__c"),
        *_text("Raw_Usage_Stats__c", "Raw_Version_Stats__c", "Version_Link__c"),
        *_text("GitLab_Version__c", "GitLab_Edition__c", "License_Ids__c"),
        *_fields("boolean", "Mattermost_Enabled__c"),
        *_text("Host_Data_Source__c", "Meltano_Id__c", "OwnerId"),
    ),
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
        self._told: dict[str, list[Mapping[str, object]]] = {}
        self.undeclared: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> int:
        """Requests sent so far, logins included."""
        return self._client.requests

    def count(self, stream: Stream) -> int | None:
        """How many records there are outside the recycle bin; None where counting takes too long."""
        return self._count(stream)

    def _count(self, stream: Stream, where: str = "") -> int | None:
        try:
            return self._client.count(_object(stream), where)
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
        columns = self._columns(stream)
        limit = f" LIMIT {options.limit}" if options.limit is not None else ""
        query = _Query(
            stream,
            columns,
            _soql(stream, columns, window),
            # The window's end is "now" and differs from run to run: it is not a job's mark.
            {"start": window.start, "end": options.end, "limit": options.limit},
            limit=limit,
        )
        order = f" ORDER BY {stream.column(str(stream.replication_key)).vendor_field}, Id"
        is_sorted, batches = self._answer(query, order)
        whole = (_with_deleted(batch, stream) for batch in batches)
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
        columns = (*keys, column)
        where = self._has_value(stream, column)
        soql = f"SELECT {', '.join(c.vendor_field for c in columns)} FROM {_object(stream)}"
        soql += f" WHERE {where}" if where else ""
        query = _Query(
            stream, columns, soql, {"soql": soql}, job="bulk backfill", include_deleted=False
        )
        for batch in self._answer(query)[1]:
            yield Batch(batch)

    def read_keys(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage]:
        """Ids in their order, 2,000 a call: what was deleted for good is in no recycle bin."""
        keys = tuple(stream.column(name) for name in stream.primary_key)
        fields = ", ".join(column.vendor_field for column in keys)
        order = keys[0].vendor_field
        while True:
            where = f" WHERE {order} > '{position}'" if position else ""
            soql = f"SELECT {fields} FROM {_object(stream)}{where} ORDER BY {order}"
            pages = self._client.query_pages(
                f"{soql} LIMIT {_REST_PAGE_ROWS}",
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
        for told in self._described(stream):
            if str(told.get("name")).lower() == column.vendor_field.lower():
                return f"{column.vendor_field} != null" if told.get("filterable") else ""
        raise FatalError(
            f"{_object(stream)} has no field {column.vendor_field}, or the user may not see it",
            hint="grant the integration user read access to the field",
        )

    def columns(self, stream: Stream) -> tuple[Column, ...]:
        """All columns of a stream that was named by a user, as the organisation describes them."""
        key = stream.column(str(stream.replication_key)).vendor_field
        columns = []
        for told in self._described(stream):
            field, kind = str(told.get("name")), str(told.get("type"))
            if kind not in _LEFT_OUT:
                columns.append(
                    Column(
                        column_name(field),
                        "timestamptz" if field == key else _TYPES.get(kind, "text"),
                        str(told.get("label") or ""),
                        field=field,
                        is_pii=kind in _PERSONAL_TYPES or field in _PERSONAL_NAMES,
                    )
                )
        return tuple(columns)

    def _described(self, stream: Stream) -> list[Mapping[str, object]]:
        """What the organisation says of the object's fields; asked once a connection."""
        name = _object(stream)
        if name not in self._told:
            try:
                fields = self._client.describe(name).get("fields")
            except FatalError as error:
                if "NOT_FOUND" not in error.message:
                    raise
                raise FatalError(
                    f"the organisation has no object {name}, or the user may not see it",
                    source=stream.source,
                    stream=stream.name,
                    hint="create it or grant the integration user read access to it",
                ) from None
            self._told[name] = fields if isinstance(fields, list) else []
        return self._told[name]

    def _columns(self, stream: Stream) -> tuple[Column, ...]:
        """The declared columns whose fields the organisation has and lets us see."""
        fields = self._described(stream)
        names = {str(field.get("name")): str(field.get("name")).lower() for field in fields}
        # What the user's own mapping reads is chosen, though no stream declares it.
        stream = replace(stream, columns=(*stream.columns, *self._mapped(stream)))
        self.undeclared[stream.name] = undeclared_fields(stream, names)
        present = tuple(c for c in stream.columns if c.vendor_field.lower() in names.values())
        keys = {*stream.primary_key, stream.replication_key}
        if lost := keys - {column.name for column in present}:
            raise FatalError(
                f"{_object(stream)} has no {', '.join(sorted(filter(None, lost)))}",
                source=stream.source,
                stream=stream.name,
                hint="grant the integration user read access to the object and its fields",
            )
        return present


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
    streams=STREAMS,
    connect=connect,
    kinds=("salesforce",),
    cron="10 * * * *",
    quota=Quota(calls=15_000, zone=ROLLING, usage=limit_info),
    by_name=object_stream,
)
