"""Stripe: payments of customers who serve themselves.

Paging: newest first, a hundred at once, behind the last id. Objects do not say when they changed;
the events of the last thirty days do, and hold the object as it became. So a read takes the events
first, the newest of each object, and then the list without those; ``as_of`` is the event's time, or
the object's creation. Deletes are events, too. A bookmark older than the events has the list read
as a whole. Lists inside an object (``lines`` of invoices, ``items`` of subscriptions) are completed.

Amounts are whole numbers in the currency's smallest unit (cents; yen have none), next to
``currency``; times are seconds since 1970 at Stripe and times in the warehouse. Limits: a hundred
reads a second, told by 429.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import (
    BrokenAnswerError,
    ErrorTable,
    HeaderAuth,
    LoopGuard,
    RateBudget,
    Response,
    Transport,
    json_detail,
)
from meltano_assets.environment import Variable
from meltano_assets.errors import GoneError, RetriableError
from meltano_assets.sources.base import (
    Source,
    naming_stream,
    plan_window,
    required,
    undeclared_fields,
    where_to_set,
    with_bookmarks,
)
from meltano_assets.sources.pages import Page
from meltano_assets.sources.records import Record, batch_from_records, parse_json_exactly
from meltano_assets.sources.rest import Params, unix_seconds
from meltano_assets.streams import (
    Batch,
    Bookmark,
    Column,
    ColumnType,
    ReadOptions,
    Stream,
    Window,
)

#: Events are written after the change that they tell of, sometimes minutes after.
LOOKBACK = timedelta(minutes=15)
#: How long money may be pending (a new account's the longest): no event tells when it no longer is.
PENDING = timedelta(days=14)
#: The version whose shapes the columns have; events in another are asked for again.
API_VERSION = "2024-06-20"
#: How long Stripe keeps events.
EVENTS_AGE = timedelta(days=30)
_PAGE_ROWS = 100
_UTC_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class Listing:
    """Where a stream is: the list's path, the kind of its objects, the events that tell of them.

    ``deleted`` is the event of a delete; ``nested`` names the lists inside an object and where the
    rest of them is (``{id}`` stands for the object's). ``members`` names lists of ids that the object has
    not, and where the members are; Stripe knows them of what it made by itself (``automatic``). Where no
    event tells of a kind, only the list is read, from so long ago as its objects still change.
    """

    path: str
    kind: str
    events: tuple[str, ...]
    deleted: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    nested: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_completed(self) -> bool:
        """Whether there is more of an object than its list shows."""
        return bool(self.nested or self.members)


def _events(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names.split())


_LISTINGS = {
    "balance_transactions": Listing("/v1/balance_transactions", "balance_transaction", ()),
    "charges": Listing(
        "/v1/charges",
        "charge",
        _events("charge", "captured expired failed pending refunded succeeded updated"),
    ),
    "customers": Listing(
        "/v1/customers",
        "customer",
        _events("customer", "created updated deleted"),
        deleted="customer.deleted",
    ),
    "disputes": Listing(
        "/v1/disputes",
        "dispute",
        _events("charge.dispute", "created updated closed funds_reinstated funds_withdrawn"),
    ),
    "products": Listing(
        "/v1/products",
        "product",
        _events("product", "created updated deleted"),
        deleted="product.deleted",
    ),
    "refunds": Listing(
        "/v1/refunds",
        "refund",
        (*_events("refund", "created updated failed"), "charge.refund.updated"),
    ),
    "payouts": Listing(
        "/v1/payouts",
        "payout",
        _events("payout", "canceled created failed paid reconciliation_completed updated"),
        members={"balance_transactions": "/v1/balance_transactions?payout={id}"},
    ),
    "invoices": Listing(
        "/v1/invoices",
        "invoice",
        # Not invoice.upcoming, which is of an invoice that is not there yet.
        _events(
            "invoice",
            "created updated deleted finalized finalization_failed marked_uncollectible overdue paid"
            " payment_action_required payment_failed payment_succeeded sent voided will_be_due",
        ),
        deleted="invoice.deleted",
        nested={"lines": "/v1/invoices/{id}/lines"},
    ),
    "subscriptions": Listing(
        "/v1/subscriptions",
        "subscription",
        # "deleted" means cancelled: the subscription stays.
        _events(
            "customer.subscription",
            "created updated deleted paused resumed pending_update_applied pending_update_expired"
            " trial_will_end",
        ),
        params={"status": "all"},
        nested={"items": "/v1/subscription_items?subscription={id}"},
    ),
}


def _columns(kind: ColumnType, names: str, *, is_pii: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, kind, is_pii=is_pii) for name in names.split())


def _stream(
    name: str,
    description: str,
    *,
    text: str = "",
    personal: str = "",
    integer: str = "",
    numeric: str = "",
    amount: str = "",
    boolean: str = "",
    time: str = "",
    nested: str = "",
    personal_nested: str = "",
    is_configurable: bool = True,
) -> Stream:
    """``is_configurable``: whether the objects have a mode and what clients note on them."""
    return Stream(
        source="stripe",
        name=name,
        description=description,
        columns=(
            *_columns("text", f"id {text}"),
            *_columns("text", personal, is_pii=True),
            *_columns("bigint", f"{integer} {amount}"),
            *_columns("numeric", numeric),
            *_columns("boolean", f"{boolean} livemode" if is_configurable else boolean),
            *_columns("jsonb", f"{nested} metadata" if is_configurable else nested),
            *_columns("jsonb", personal_nested, is_pii=True),
            *_columns("timestamptz", f"created {time}"),
            Column(
                "as_of",
                "timestamptz",
                "When Stripe had it so: the time of the event that told of it, or of the listing.",
            ),
        ),
        primary_key=("id",),
        replication_key="as_of",
        lookback=LOOKBACK if _LISTINGS[name].events else PENDING,
        options={"listing": _LISTINGS[name]},
    )


STREAMS: tuple[Stream, ...] = (
    _stream(
        "balance_transactions",
        "What moved the account's balance: charges, refunds, disputes, fees, payouts.",
        text="currency description reporting_category source status type",
        amount="amount fee net",
        numeric="exchange_rate",
        time="available_on",
        nested="fee_details",
        is_configurable=False,
    ),
    _stream(
        "charges",
        "Attempts to take money, successful or not.",
        text="""application application_fee balance_transaction currency customer description
            destination dispute failure_balance_transaction failure_code failure_message invoice
            on_behalf_of order payment_intent payment_method receipt_number review
            source_transfer statement_descriptor statement_descriptor_suffix status transfer
            transfer_group""",
        personal="receipt_email",
        amount="amount amount_captured amount_refunded application_fee_amount",
        boolean="captured disputed paid refunded",
        nested="fraud_details outcome payment_method_details refunds transfer_data",
        personal_nested="billing_details shipping",
    ),
    _stream(
        "customers",
        "Those who pay.",
        text="""currency default_source invoice_prefix tax_exempt test_clock""",
        personal="description email name phone",
        integer="next_invoice_sequence",
        amount="account_balance balance",
        boolean="delinquent",
        nested="discount invoice_settings preferred_locales subscriptions",
        personal_nested="address shipping",
    ),
    _stream(
        "disputes",
        "Charges that the payer contests at the bank.",
        text="charge currency network_reason_code payment_intent reason status",
        amount="amount",
        boolean="is_charge_refundable",
        nested="balance_transactions evidence_details payment_method_details",
    ),
    _stream(
        "products",
        "What is sold to customers who serve themselves.",
        text="""caption default_price description name statement_descriptor tax_code type
            unit_label url""",
        boolean="active shippable",
        time="updated",
        nested="attributes deactivate_on images package_dimensions",
    ),
    _stream(
        "refunds",
        "Money paid back.",
        text="""balance_transaction charge currency description failure_balance_transaction
            failure_reason payment_intent reason receipt_number source_transfer_reversal status
            transfer_reversal""",
        amount="amount",
        nested="destination_details next_action",
    ),
    _stream(
        "payouts",
        "Money sent to the bank account, with the balance transactions that it is made of.",
        text="""application_fee balance_transaction currency description destination
            failure_balance_transaction failure_code failure_message method original_payout
            reconciliation_status reversed_by source_type statement_descriptor status type""",
        amount="amount application_fee_amount",
        boolean="automatic",
        time="arrival_date",
        nested="balance_transactions",
    ),
    _stream(
        "invoices",
        "Invoices with all their lines.",
        text="""account_country account_name billing_reason charge collection_method currency
            customer customer_tax_exempt default_payment_method default_source description footer
            number on_behalf_of payment_intent receipt_number statement_descriptor status
            subscription test_clock""",
        personal="customer_email customer_name customer_phone hosted_invoice_url invoice_pdf",
        integer="attempt_count",
        amount="""amount_due amount_paid amount_remaining amount_shipping ending_balance
            post_payment_credit_notes_amount pre_payment_credit_notes_amount starting_balance
            subtotal subtotal_excluding_tax tax total total_excluding_tax""",
        boolean="attempted auto_advance paid paid_out_of_band",
        time="""due_date effective_at next_payment_attempt period_end period_start
            webhooks_delivered_at""",
        nested="""automatic_tax default_tax_rates discount discounts lines
            payment_settings status_transitions total_discount_amounts total_tax_amounts""",
        personal_nested="custom_fields customer_address customer_shipping customer_tax_ids",
    ),
    _stream(
        "subscriptions",
        "Subscriptions with all their items, cancelled ones too.",
        text="""collection_method currency customer default_payment_method default_source
            description latest_invoice on_behalf_of pending_setup_intent schedule status
            test_clock""",
        integer="days_until_due quantity",
        boolean="cancel_at_period_end",
        time="""billing_cycle_anchor cancel_at canceled_at current_period_end
            current_period_start ended_at start_date trial_end trial_start""",
        nested="""automatic_tax billing_thresholds cancellation_details default_tax_rates discount
            discounts items pause_collection payment_settings plan trial_settings""",
    ),
)


VARIABLES = (
    Variable("STRIPE_BASE_URL", "base_url", "https://api.stripe.com"),
    Variable("STRIPE_API_KEY", "api_key", "a restricted key that may read", is_secret=True),
    Variable(
        "STRIPE_API_VERSION",
        "api_version",
        f"the version whose shapes are asked for; {API_VERSION} when unset",
        is_required=False,
    ),
)


class StripeReader:
    """Reads one account."""

    def __init__(self, client: HttpClient, version: str = API_VERSION) -> None:
        self._client = client
        self._version = version
        self.undeclared: dict[str, frozenset[str]] = {}

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._client.requests

    def count(self, stream: Stream) -> int | None:
        """Stripe cannot tell."""
        return None

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """What events tell of since the bookmark, then what else is in the list."""
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        batches = self._batches(stream, window, bookmark, options, now)
        yield from with_bookmarks(stream, batches, window, bookmark, options)

    def _batches(
        self,
        stream: Stream,
        window: Window,
        bookmark: Bookmark | None,
        options: ReadOptions,
        now: datetime,
    ) -> Iterator[pa.RecordBatch]:
        listing = stream.options["listing"]
        assert isinstance(listing, Listing)
        since, floor = window.start, None
        is_told = bool(listing.events) and options.start is None
        if since is not None and is_told and not self._events_reach(since, now):
            # What changed meanwhile was told while nobody listened: the whole list is read, and is
            # newer than anything that was committed.
            since, floor = None, bookmark.as_time() if bookmark else None
        seen: set[str] = set()
        if listing.events:
            yield from self._changes(stream, listing, since, window.end, seen)
        known = pa.array(sorted(seen), pa.string())
        params: dict[str, str | int] = {**listing.params, "created[lt]": _ceiling(window.end)}
        if since is not None:
            params["created[gte]"] = unix_seconds(since)
        columns = _wire(stream)
        parse = _records if listing.is_completed else _columns_of(columns)
        for answer in self._pages(listing.path, params, parse):
            self.undeclared.setdefault(stream.name, undeclared_fields(stream, answer.fields))
            batch = answer.batch
            if batch is None:
                batch = self._as_batch(listing, columns, answer.records)
            batch = batch.filter(pc.invert(pc.is_in(batch.column("id"), known)))
            if batch.num_rows:
                as_of = _time(batch.column("created"))
                if floor is not None:
                    least = pa.scalar(floor, _UTC_TIME)
                    as_of = pc.if_else(pc.less(as_of, least), least, as_of)
                yield _finished(stream, batch, as_of)

    def _events_reach(self, since: datetime, now: datetime) -> bool:
        """True when no event since then is forgotten: it is not long ago, or there are older ones."""
        if since > now - EVENTS_AGE + timedelta(days=1):
            return True
        params: dict[str, str | int] = {"created[lt]": unix_seconds(since), "limit": 1}
        return bool(self._client.get_json("/v1/events", params).get("data"))

    # -- events --

    def _changes(
        self,
        stream: Stream,
        listing: Listing,
        since: datetime | None,
        end: datetime,
        seen: set[str],
    ) -> Iterator[pa.RecordBatch]:
        """Objects as their newest event left them; ``seen`` gets the ids of all that changed.

        An object whose newest event lies behind the window is for the next read.
        """
        params: dict[str, str | int] = {
            f"types[{place}]": name for place, name in enumerate(listing.events)
        }
        if since is not None:
            params["created[gte]"] = unix_seconds(since)
        columns = _wire(stream)
        for answer in self._pages("/v1/events", params, _records):
            events: list[Record] = []
            for event in answer.records:
                changed = _object_of(event)
                key = str(changed.get("id"))
                if changed.get("object") == listing.kind and key not in seen:
                    seen.add(key)
                    if _seconds(event) < end.timestamp():
                        events.append(event)
            if events:
                objects = [self._as_declared(listing, event) for event in events]
                times = pa.array([_seconds(event) for event in events], pa.int64())
                is_gone = pa.array([event.get("type") == listing.deleted for event in events])
                batch = self._as_batch(listing, columns, objects)
                yield _finished(stream, batch, _time(times), is_gone)

    def _as_declared(self, listing: Listing, event: Record) -> Record:
        """The event's object in the version that the columns have."""
        changed = _object_of(event)
        if event.get("api_version") == self._version or event.get("type") == listing.deleted:
            return changed
        try:
            found = self._client.fetch(
                "GET", f"{listing.path}/{changed.get('id')}", parse=_exact_object
            )
        except GoneError:
            return changed
        return changed if found.get("deleted") else found

    # -- pages and objects --

    def _pages(
        self, path: str, params: Params, parse: Callable[[Response], _Answer]
    ) -> Iterator[_Answer]:
        """The list's pages; RetriableError when they go in a circle or lose their place."""
        guard = LoopGuard("stripe")
        sent: Params = {**params, "limit": _PAGE_ROWS}
        while True:
            try:
                answer = self._client.fetch("GET", path, params=sent, parse=parse)
            except GoneError:
                if "starting_after" not in sent:
                    raise
                raise RetriableError(
                    "the record behind which the next page begins was deleted meanwhile",
                    source="stripe",
                    hint="run it again",
                ) from None
            if answer.has_more:
                guard.check(answer.last_id)
            yield answer
            if not answer.has_more:
                return
            sent = {**sent, "starting_after": answer.last_id}

    def _as_batch(
        self, listing: Listing, columns: Sequence[Column], records: Sequence[Record]
    ) -> pa.RecordBatch:
        """The objects by their columns, the lists inside them whole."""
        if listing.is_completed:
            records = [self._completed(listing, record) for record in records]
        return batch_from_records(columns, records, are_exact=True)

    def _completed(self, listing: Listing, record: Record) -> Record:
        whole = dict(record)
        for name, path in listing.nested.items():
            inner = record.get(name)
            if not isinstance(inner, dict) or not isinstance(inner.get("data"), list):
                continue
            items = list(inner["data"])
            if inner.get("has_more") and items:
                items += self._rest(record, path, {"starting_after": str(items[-1].get("id"))})
            whole[name] = items
        for name, path in listing.members.items():
            if record.get("automatic"):
                whole[name] = [member.get("id") for member in self._rest(record, path, {})]
        return whole

    def _rest(self, record: Record, path: str, params: Params) -> Iterator[Record]:
        """The entries of a list that belongs to an object."""
        link, _, query = path.format(id=record.get("id")).partition("?")
        key, _, value = query.partition("=")
        for answer in self._pages(link, {**params, key: value} if key else params, _records):
            yield from answer.records


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page: its records, or the batch that was made of them at once."""

    records: Sequence[Record]
    batch: pa.RecordBatch | None
    fields: frozenset[str]
    last_id: str
    has_more: bool


def _columns_of(columns: Sequence[Column]) -> Callable[[Response], _Answer]:
    """Reads a page into a batch of these columns."""

    def parse(response: Response) -> _Answer:
        page = Page(response.body, "data", columns)
        ids = page.batch.column("id")
        last = str(ids[-1].as_py()) if len(ids) else ""
        return _Answer((), page.batch, page.fields, last, _has_more(page.get("has_more"), last))

    return parse


def _records(response: Response) -> _Answer:
    """Reads a page into its records, every number as it was written."""
    page = _exact_object(response)
    records = page.get("data")
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise ValueError("no list of records")
    last = str(records[-1].get("id")) if records else ""
    fields = frozenset(records[0]) if records else frozenset()
    return _Answer(records, None, fields, last, _has_more(page.get("has_more"), last))


def _has_more(told: object, last_id: str) -> bool:
    """Whether another page follows; BrokenAnswerError when nothing says behind which object."""
    if told and not last_id:
        raise BrokenAnswerError("more is promised, but there is no object to go on behind")
    return bool(told)


def _exact_object(response: Response) -> Record:
    value = parse_json_exactly(response.body)
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def _object_of(event: Record) -> Record:
    data = event.get("data")
    changed = data.get("object") if isinstance(data, dict) else None
    return changed if isinstance(changed, dict) else {}


def _seconds(event: Record) -> int:
    created = event.get("created")
    if not isinstance(created, int):
        raise RetriableError("an event without a time", source="stripe")
    return created


def _ceiling(moment: datetime) -> int:
    """Whole seconds, so that ``[lt]`` keeps what happened in the last one."""
    return unix_seconds(moment) + (1 if moment.microsecond else 0)


def _wire(stream: Stream) -> tuple[Column, ...]:
    """The columns as they come: times are whole numbers."""
    return tuple(
        replace(column, type="bigint") if column.type == "timestamptz" else column
        for column in stream.columns
        if column.name != "as_of"
    )


def _time(seconds: pa.Array) -> pa.Array:
    """Seconds since 1970 as times; anything else stays as it is, for the loader to judge."""
    if not pa.types.is_integer(seconds.type):
        return seconds
    return pc.multiply(seconds.cast(pa.int64()), 1_000_000).cast(_UTC_TIME)


def _finished(
    stream: Stream, batch: pa.RecordBatch, as_of: pa.Array, is_gone: pa.Array | None = None
) -> pa.RecordBatch:
    """The batch with real times, ``as_of`` and ``_deleted_at``."""
    arrays = {
        column.name: _time(batch.column(column.name))
        if column.type == "timestamptz"
        else batch.column(column.name)
        for column in stream.columns
        if column.name != "as_of"
    }
    nothing = pa.nulls(batch.num_rows, _UTC_TIME)
    arrays["as_of"] = as_of
    arrays["_deleted_at"] = nothing if is_gone is None else pc.if_else(is_gone, as_of, nothing)
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


@contextmanager
def connect(
    settings: Mapping[str, str], *, transport: Transport | None = None
) -> Iterator[StripeReader]:
    """A reader of the account that the settings name."""
    required(settings, "stripe", VARIABLES)
    key = settings["api_key"]
    version = settings.get("api_version") or API_VERSION
    client = HttpClient(
        settings["base_url"],
        source="stripe",
        auth=HeaderAuth("Authorization", f"Bearer {key}"),
        errors=ErrorTable(json_detail("error.code", "error.message"), {"resource_missing": "gone"}),
        headers={"Stripe-Version": version},
        budget=RateBudget(requests=90, per_seconds=1.0),
        transport=transport,
        secrets=[key],
        hint=where_to_set(VARIABLES),
    )
    with client:
        yield StripeReader(client, version)


STRIPE = Source(
    name="stripe",
    title="Stripe",
    description="Payments of customers who serve themselves.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connect,
    kinds=("stripe",),
    cron="25 * * * *",
)
