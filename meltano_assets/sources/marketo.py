"""Marketo Engage: leads, what they did, and the programs that reached them.

Paging: leads and activities come by bulk extract, a job per window of at most 31 days, cut where a
calendar of 31 days of our own is, so that a repeated read orders the same windows; the next ones are
ordered while one is read. Program members come by a job per ten programs, small lists by page tokens,
programs by offset. Limits: 100 calls in 20 seconds, a daily count of calls (607) and of exported bytes
(1029). Deletes: deleted and merged leads are listed, for two weeks at least, and get ``_deleted_at``;
small lists are replaced; who left a program is found by a sweep of keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.jobs import Poll, run_job
from meltano_assets.clients.marketo import (
    CALLS,
    POLL,
    Export,
    MarketoClient,
    UnsupportedFilterError,
)
from meltano_assets.clients.policy import Quota, Transport
from meltano_assets.environment import Variable
from meltano_assets.errors import (
    CredentialsError,
    FatalError,
    GoneError,
    PlatformError,
    QuotaError,
    RetriableError,
)
from meltano_assets.sources.base import (
    Source,
    as_bookmark,
    between,
    key_range,
    moves_bookmark,
    naming_stream,
    plan_window,
    required,
    undeclared_fields,
    where_to_set,
)
from meltano_assets.sources.marketo_streams import (
    ACTIVITIES,
    LEADS,
    PROGRAM_MEMBERS,
    PROGRAMS_ENDPOINT,
    STREAMS,
    TOKENS,
)
from meltano_assets.sources.records import ARROW_TYPES, batch_from_text, read_csv_stream, typed
from meltano_assets.sources.rest import (
    Endpoint,
    RestReader,
    iso_seconds,
    read_pages,
)
from meltano_assets.streams import (
    Batch,
    Bookmark,
    Column,
    ColumnType,
    JobKey,
    ReadOptions,
    Stream,
    VendorJob,
    Window,
)

VARIABLES = (
    Variable("MARKETO_BASE_URL", "base_url", "https://<munchkin id>.mktorest.com"),
    Variable("MARKETO_CLIENT_ID", "client_id", "the custom service's client id"),
    Variable(
        "MARKETO_CLIENT_SECRET",
        "client_secret",
        "the custom service's client secret",
        is_secret=True,
    ),
    Variable(
        "MARKETO_START_DATE",
        "start_date",
        "from when on records are read the first time; the subscription's age when unset",
        is_required=False,
    ),
    Variable(
        "MARKETO_CALLS_PER_20_SECONDS",
        "calls_per_20_seconds",
        "how fast Marketo may be asked, where it allows more or others need some of the usual 100",
        is_required=False,
        default=str(CALLS),
    ),
)

#: The vendor takes no longer window. Windows are cut at multiples of it from here on.
LONGEST_WINDOW = timedelta(days=31)
_FIRST_CUT = datetime(2000, 1, 1, tzinfo=UTC)
#: Most kinds of activities are thrown away after 25 months.
ACTIVITIES_KEPT = timedelta(days=25 * 31)
#: The vendor processes two jobs at a time: one is read, the next are prepared meanwhile.
ORDERED_AHEAD = 2
_SECOND = timedelta(seconds=1)
_PROGRAMS_PER_JOB = 10
_MERGE_LEADS = 32
_UTC_TIME = pa.timestamp("us", "UTC")

_KINDS = {
    LEADS.name: "leads",
    ACTIVITIES.name: "activities",
    PROGRAM_MEMBERS.name: "program/members",
}
#: Data types of described fields as columns have them.
_TYPES: Mapping[str, ColumnType] = {
    "boolean": "boolean",
    "currency": "numeric",
    "date": "date",
    "datetime": "timestamptz",
    "float": "double precision",
    "integer": "bigint",
    "percent": "numeric",
    "reference": "bigint",
    "score": "integer",
}


@dataclass(frozen=True, slots=True)
class _Piece:
    """One export to order: its filter, what marks it, and up to when it reaches."""

    filters: Mapping[str, object]
    mark: Mapping[str, object]
    end: datetime


class MarketoReader:
    """Reads one subscription; ``start_date`` is where it begins, when that is known."""

    def __init__(
        self, client: MarketoClient, *, start_date: datetime | None = None, poll: Poll = POLL
    ) -> None:
        self._client = client
        self._lists = RestReader(client.http)
        self._start_date = start_date
        self._poll = poll
        self._has_updated_at = True
        self.undeclared_types: dict[str, dict[str, ColumnType]] = {}

    @property
    def requests(self) -> int:
        """Requests sent so far, logins included."""
        return self._client.requests

    @property
    def undeclared(self) -> Mapping[str, frozenset[str]]:
        """By stream, fields that the subscription has and no column declares."""
        return self._lists.undeclared

    def count(self, stream: Stream) -> int | None:
        """Marketo does not count."""
        return None

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """Records of the window, with deleted leads; small lists as a whole."""
        if stream.name not in _KINDS:
            yield from self._read_list(stream, bookmark, options, now)
            return
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        has_deletes = stream.name == LEADS.name
        if has_deletes and options.limit is None:
            # Before the rest: the bookmark behind it says that the deletes are stored, too.
            yield from (Batch(records) for records in self._deleted_leads(stream, window))
        left = options.limit
        for batch in self._exported(stream, window, bookmark, options):
            if left is None:
                yield batch
                continue
            yield Batch(batch.records.slice(0, left))
            left -= min(left, batch.records.num_rows)
            if left == 0:
                return
        if has_deletes and left:
            for records in self._deleted_leads(stream, window):
                yield Batch(records.slice(0, left))
                left -= min(left, records.num_rows)
                if left == 0:
                    return

    # Small lists

    def _read_list(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, now: datetime
    ) -> Iterator[Batch]:
        # Times of assets end in "Z+0000", which only their text can be rid of.
        odd = {c.name for c in stream.columns if c.type == "timestamptz"}
        wire = replace(
            stream,
            columns=tuple(replace(c, type="text") if c.name in odd else c for c in stream.columns),
        )
        for batch in self._lists.read(wire, bookmark, options, now=now):
            arrays = [
                typed("timestamptz", pc.replace_substring(array, "Z+0000", "Z"))
                if name in odd
                else array
                for name, array in zip(
                    batch.records.schema.names, batch.records.columns, strict=True
                )
            ]
            records = pa.RecordBatch.from_arrays(arrays, names=batch.records.schema.names)
            yield Batch(records, batch.bookmark)

    # Exports

    def _exported(
        self, stream: Stream, window: Window, bookmark: Bookmark | None, options: ReadOptions
    ) -> Iterator[Batch]:
        columns = self._columns(stream)
        if stream.name == PROGRAM_MEMBERS.name:
            pieces, is_sorted = self._member_pieces(window), False
        else:
            pieces, is_sorted = self._window_pieces(stream, window, options), True
        batches = self._bookmarked(stream, columns, pieces, window, bookmark, options, is_sorted)
        try:
            yield from batches
        except UnsupportedFilterError:
            # The first order was refused, so nothing has been handed on yet.
            if not self._has_updated_at or stream.name == ACTIVITIES.name:
                raise
            self._has_updated_at = False
            if stream.name == PROGRAM_MEMBERS.name:
                pieces = self._member_pieces(window)
            else:
                pieces = self._window_pieces(stream, window, options)
            yield from self._bookmarked(stream, columns, pieces, window, bookmark, options, False)

    def _bookmarked(
        self,
        stream: Stream,
        columns: tuple[Column, ...],
        pieces: Sequence[_Piece],
        window: Window,
        bookmark: Bookmark | None,
        options: ReadOptions,
        is_sorted: bool,
    ) -> Iterator[Batch]:
        """Every piece's records, cut to the window; behind a piece or all of them the bookmark."""
        key = str(stream.replication_key)
        may_move = options.limit is None and moves_bookmark(window, bookmark, options)
        greatest = bookmark.as_time() if bookmark and not options.full_refresh else None
        held: pa.RecordBatch | None = None
        for batches in self._jobs(stream, columns, pieces, is_alone=options.limit is not None):
            for batch in batches:
                records = between(batch, key, window.start, window.end)
                if not records.num_rows:
                    continue
                if held is not None:
                    yield Batch(held)
                held = records
                newest = key_range(records, key)[1]
                greatest = max(filter(None, (greatest, newest)), default=None)
            if held is not None and is_sorted:
                yield Batch(held, as_bookmark(greatest) if may_move else None)
                held = None
        if held is not None:
            yield Batch(held, as_bookmark(greatest) if may_move else None)

    def _jobs(
        self,
        stream: Stream,
        columns: tuple[Column, ...],
        pieces: Sequence[_Piece],
        *,
        is_alone: bool,
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """The batches of each piece in turn; unless ``is_alone`` the next are ordered meanwhile."""
        fields = [column.vendor_field for column in columns]

        def export(piece: _Piece) -> tuple[JobKey, Export[pa.RecordBatch]]:
            request = {**piece.mark, "fields": fields}
            vendor = Export(
                self._client.http,
                _KINDS[stream.name],
                fields,
                piece.filters,
                lambda chunks: _parsed(stream, columns, chunks),
            )
            return JobKey(stream.source, stream.name, "export", request), vendor

        ordered = len(pieces) if is_alone else 0
        for place, piece in enumerate(pieces):
            while ordered < min(len(pieces), place + 1 + ORDERED_AHEAD):
                self._order_ahead(*export(pieces[ordered]), pieces[ordered])
                ordered += 1
            key, vendor = export(piece)
            yield run_job(
                key,
                vendor,
                self._client.http.transport,
                details={"end": piece.end.isoformat()},
                poll=self._poll,
            )

    def _order_ahead(self, key: JobKey, vendor: Export[pa.RecordBatch], piece: _Piece) -> None:
        """See to it that the vendor works on that piece, by whosever order."""
        transport = self._client.http.transport
        if transport.jobs.find(key) is not None:
            return
        try:
            details = {"end": piece.end.isoformat()}
            job = VendorJob(vendor.order(), "ordered", details, transport.clock.now())
            transport.jobs.note(key, job)
            vendor.start(job)
        except UnsupportedFilterError:
            raise
        except PlatformError:
            # What is wrong shows when it is this piece's turn; what is ready comes first.
            return

    def _window_pieces(self, stream: Stream, window: Window, options: ReadOptions) -> list[_Piece]:
        name = "createdAt"
        is_whole = stream.name == LEADS.name and not self._has_updated_at
        if stream.name == LEADS.name and self._has_updated_at:
            name = "updatedAt"
        # Without that filter only all leads ever created hold all that changed.
        start = None if is_whole else window.start
        if start is None:
            start = self._beginning()
            if stream.name == ACTIVITIES.name and self._start_date is None:
                start = max(start, window.end - ACTIVITIES_KEPT)
        pieces: list[_Piece] = []
        for first, end in _spans(start, window.end):
            last_second = _ceiling(end) - _SECOND
            if last_second < first:
                continue
            filters = {name: {"startAt": _iso(first), "endAt": _iso(last_second)}}
            # The end that is "now" is none of the job's marks: the next run may take it up.
            is_now = end == window.end and options.end is None
            mark = {
                "filter": name,
                "start": _iso(first),
                "end": None if is_now else _iso(last_second),
            }
            pieces.append(_Piece(filters, mark, end))
        return pieces

    def _member_pieces(self, window: Window) -> list[_Piece]:
        pages = read_pages(
            self._client.http,
            PROGRAMS_ENDPOINT,
            stream=PROGRAM_MEMBERS.name,
            columns=(Column("id", "bigint"),),
        )
        programs = sorted(i for page in pages for i in page.batch.column("id").to_pylist())
        changed: dict[str, object] = {}
        mark: dict[str, object] = {}
        since = window.start
        # What the vendor cannot be asked for is cut from all that it has.
        if since and window.end - since <= LONGEST_WINDOW and self._has_updated_at:
            last_second = max(since, _ceiling(window.end) - _SECOND)
            changed = {"updatedAt": {"startAt": _iso(since), "endAt": _iso(last_second)}}
            mark = {"start": _iso(since)}
        return [
            _Piece({"programIds": some, **changed}, {"programs": some, **mark}, window.end)
            for some in (
                programs[place : place + _PROGRAMS_PER_JOB]
                for place in range(0, len(programs), _PROGRAMS_PER_JOB)
            )
        ]

    def _beginning(self) -> datetime:
        """When the subscription began: the age of its oldest root folder, unless it is set."""
        if self._start_date is not None:
            return self._start_date
        try:
            folders = self._client.results(
                "/rest/asset/v1/folders.json", {"maxDepth": 1, "maxReturn": 200}
            )
        except (CredentialsError, QuotaError):
            raise
        except FatalError as error:
            raise FatalError(
                f"cannot tell since when there are records: {error.message}",
                hint="set MARKETO_START_DATE, or let the API user read assets",
            ) from None
        times = [str(folder["createdAt"])[:19] for folder in folders if folder.get("createdAt")]
        if not times:
            raise FatalError(
                "cannot tell since when there are records: there are no folders",
                hint="set MARKETO_START_DATE",
            )
        return datetime.fromisoformat(min(times)).replace(tzinfo=UTC)

    def _columns(self, stream: Stream) -> tuple[Column, ...]:
        """The declared columns whose fields the subscription has."""
        if stream.name == ACTIVITIES.name:
            return stream.columns
        described = self._described(stream)
        if described is None:
            return stream.columns
        self._lists.undeclared[stream.name] = undeclared_fields(stream, described)
        self.undeclared_types[stream.name] = described
        present = tuple(c for c in stream.columns if c.vendor_field in described)
        keys = {*stream.primary_key, stream.replication_key}
        if lost := keys - {column.name for column in present}:
            raise FatalError(
                f"the subscription has no field for {', '.join(sorted(filter(None, lost)))}",
                hint="let the API user's role read people and their fields",
            )
        return present

    def _described(self, stream: Stream) -> dict[str, ColumnType] | None:
        """Fields with their types; None where the subscription does not describe them."""
        if stream.name == LEADS.name:
            found: dict[str, ColumnType] = {}
            for field in self._client.results("/rest/v1/leads/describe.json"):
                rest = field.get("rest")
                if isinstance(rest, dict):
                    found[str(rest["name"])] = _TYPES.get(str(field.get("dataType")), "text")
            return found
        try:
            about = self._client.results("/rest/v1/programs/members/describe.json")
        except GoneError:
            return None
        fields = about[0].get("fields") if about else None
        if not isinstance(fields, list):
            return None
        return {
            str(field["name"]): _TYPES.get(str(field.get("dataType")), "text") for field in fields
        }

    # Deleted and merged leads

    def _deleted_leads(self, stream: Stream, window: Window) -> Iterator[pa.RecordBatch]:
        """Leads that are gone, as records of which only the key and the time are known."""
        since = window.start or self._beginning()
        answer = self._client.http.get_json(
            "/rest/v1/activities/pagingtoken.json", {"sinceDatetime": _iso(since)}
        )
        token = answer.get("nextPageToken")
        if not isinstance(token, str):
            raise RetriableError("the answer about a paging token names none")
        plain = Endpoint(
            "/rest/v1/activities/deletedleads.json",
            records="result",
            paging=replace(TOKENS, more="moreResult"),
            params={"nextPageToken": token},
            is_optional=True,
        )
        merges = replace(
            plain,
            path="/rest/v1/activities.json",
            params={**plain.params, "activityTypeIds": _MERGE_LEADS},
        )
        for endpoint, lost in ((plain, _deleted), (merges, _merged)):
            for page in read_pages(self._client.http, endpoint, stream=stream.name):
                pairs = [pair for record in page.records for pair in lost(record)]
                records = _tombstones(stream, pairs)
                records = between(records, str(stream.replication_key), since, window.end)
                if records.num_rows:
                    yield records


def _spans(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The window in pieces that the vendor takes, cut where every run cuts it."""
    start = start.replace(microsecond=0)
    while start < end:
        cuts = (start - _FIRST_CUT) // LONGEST_WINDOW + 1
        cut = min(end, _FIRST_CUT + cuts * LONGEST_WINDOW)
        yield start, cut
        start = cut


def _ceiling(moment: datetime) -> datetime:
    """The moment in whole seconds, not before it."""
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + _SECOND


def _iso(moment: datetime) -> str:
    return iso_seconds(moment.astimezone(UTC))


def _parsed(
    stream: Stream, columns: tuple[Column, ...], chunks: Iterator[bytes]
) -> Iterator[pa.RecordBatch]:
    """A file's records by the columns. The word null is nothing; so is an empty cell, but in text."""
    for texts in read_csv_stream(chunks, null_text="null"):
        if lost := [c.vendor_field for c in columns if c.vendor_field not in texts]:
            raise RetriableError(
                f"the export's file lacks the column {lost[0]}", source=stream.source
            )
        kinds = {column.vendor_field: column.type for column in columns}
        cleaned = {
            name: array if kinds.get(name, "text") == "text" else _without_empty(array)
            for name, array in texts.items()
        }
        yield batch_from_text(columns, cleaned)


def _without_empty(array: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)


def _deleted(record: Mapping[str, object]) -> list[tuple[object, object]]:
    return [(record.get("leadId"), record.get("activityDate"))]


def _merged(record: Mapping[str, object]) -> list[tuple[object, object]]:
    """The leads that went into another one; their ids stand in a text such as ``[17,18]``."""
    attributes = record.get("attributes")
    values = {
        str(item.get("name")): item.get("value")
        for item in (attributes if isinstance(attributes, list) else [])
        if isinstance(item, dict)
    }
    ids = re.findall(r"[0-9]+", str(values.get("Merge IDs") or ""))
    return [(int(number), record.get("activityDate")) for number in ids]


def _tombstones(stream: Stream, gone: Sequence[tuple[object, object]]) -> pa.RecordBatch:
    """Records of the stream's columns that say no more than that they are deleted, and when."""
    numbers = pa.array([str(number) for number, _moment in gone], pa.string())
    moments = typed("timestamptz", pa.array([str(at) for _number, at in gone], pa.string()))
    arrays = []
    for column in stream.columns:
        if column.name in stream.primary_key:
            arrays.append(typed(column.type, numbers))
        elif column.name == stream.replication_key:
            arrays.append(moments)
        else:
            arrays.append(pa.nulls(len(gone), ARROW_TYPES[column.type]))
    names = [column.name for column in stream.columns]
    return pa.RecordBatch.from_arrays([*arrays, moments], names=[*names, "_deleted_at"])


@contextmanager
def connect(
    settings: Mapping[str, str], *, transport: Transport | None = None, poll: Poll = POLL
) -> Iterator[MarketoReader]:
    """A reader of the subscription that the settings name."""
    required(settings, "marketo", VARIABLES)
    hint = where_to_set(VARIABLES[:3])
    calls = settings.get("calls_per_20_seconds") or str(CALLS)
    if not calls.isdigit() or int(calls) == 0:
        raise FatalError(
            "MARKETO_CALLS_PER_20_SECONDS is not a number", source="marketo", hint=hint
        )
    start_date: datetime | None = None
    if text := settings.get("start_date"):
        try:
            start_date = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        except ValueError:
            raise FatalError(
                "MARKETO_START_DATE is no date", source="marketo", hint="such as 2020-01-31"
            ) from None
    with MarketoClient(settings, calls=int(calls), transport=transport, hint=hint) as client:
        yield MarketoReader(client, start_date=start_date, poll=poll)


MARKETO = Source(
    name="marketo",
    title="Marketo",
    description="Leads, their activities and the programs that reached them.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connect,
    kinds=("marketo",),
    cron="20 */2 * * *",
    quota=Quota(calls=50_000, zone="America/Chicago"),
)
