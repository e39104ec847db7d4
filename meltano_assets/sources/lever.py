"""Lever: job applications and the people who handle them.

Paging: an opaque token, 100 records at most. Limits: ten requests a second with bursts of twenty,
told by 429 without ``Retry-After``; one budget is shared by all requests. Times are milliseconds
since 1970, windows include both ends, so the end is cut here. Lists come in no order of change.
Applications and offers belong to opportunities and are read for those alone that changed:
applications inside of their opportunities, offers one request each. Deletes: deleted opportunities
are listed and get ``_deleted_at``; small lists are replaced; postings, requisitions, applications and
offers that are gone Lever does not tell: their keys are swept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import (
    BasicAuth,
    ErrorTable,
    RateBudget,
    Response,
    Transport,
    json_detail,
)
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.sources.base import (
    KeyPage,
    Source,
    naming_stream,
    plan_window,
    required,
    where_to_set,
)
from meltano_assets.sources.lever_streams import (
    APPLICATIONS,
    ARCHIVE_REASONS,
    CANDIDATES,
    DELETED_OPPORTUNITIES,
    OPPORTUNITIES,
    POSTINGS,
    REQUESTS_PER_SECOND,
    REQUISITIONS,
    STAGES,
    STREAMS,
)
from meltano_assets.sources.naming import column_name
from meltano_assets.sources.records import (
    ARROW_TYPES,
    batch_from_records,
    parse_json_exactly,
)
from meltano_assets.sources.rest import (
    Endpoint,
    RestReader,
    read_pages,
)
from meltano_assets.streams import (
    Batch,
    Bookmark,
    Column,
    ReadOptions,
    Stream,
)

VARIABLES = (
    Variable("LEVER_BASE_URL", "base_url", "https://api.lever.co/v1"),
    Variable("LEVER_API_KEY", "api_key", "an API key", is_secret=True),
    Variable(
        "LEVER_CONFIDENTIALITY",
        "confidentiality",
        "non-confidential, confidential or all; the key must be allowed to see them",
        is_required=False,
        default="non-confidential",
    ),
    Variable(
        "LEVER_REQUESTS_PER_SECOND",
        "requests_per_second",
        "how fast Lever may be asked, where it allows more than the usual 10",
        is_required=False,
        default=str(REQUESTS_PER_SECOND),
    ),
)

#: Parts of nested objects that have columns of their own: column → the object and its part.
_PARTS: Mapping[str, tuple[str, str]] = {
    "archived_at": ("archived", "archivedAt"),
    "archive_reason_id": ("archived", "reason"),
    **{
        name: ("categories", name)
        for name in ("team", "department", "location", "commitment", "level")
    },
}
#: Columns of candidates that stage changes and the lists of names give.
_PIPELINE = ("pipeline_stage_ids", "pipeline_stage_names", "pipeline_stage_timestamps")
_DELETED_AT = Column("_deleted_at", "timestamptz", field="deletedAt")


class LeverReader:
    """Reads one account. ``confidentiality`` is what the key asks to see."""

    def __init__(self, client: HttpClient, *, confidentiality: str) -> None:
        self._rest = RestReader(client)
        self._confidentiality = confidentiality
        self._names: dict[str, Mapping[str, object]] = {}

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._rest.requests

    @property
    def undeclared(self) -> Mapping[str, frozenset[str]]:
        """By stream, fields of the answers that no column declares."""
        return self._rest.undeclared

    def count(self, stream: Stream) -> int | None:
        """Lever does not count."""
        return None

    @naming_stream
    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """Records that changed in the window, with deleted opportunities; lists as a whole."""
        has_deletes = stream.name in {OPPORTUNITIES.name, CANDIDATES.name}
        if has_deletes and options.limit is None:
            # Before the rest: the bookmark behind it says that the deletes are stored, too.
            yield from self._deletes(stream, bookmark, options, now)
        left = options.limit
        wire, build = self._wire(stream)
        # An opportunity may hold several applications, so the limit is kept here.
        for batch in self._rest.read(wire, bookmark, replace(options, limit=None), now=now):
            records = build(batch.records)
            if left is None:
                yield Batch(records, batch.bookmark)
                continue
            yield Batch(records.slice(0, left))
            left -= min(left, records.num_rows)
            if left == 0:
                return
        if has_deletes and left:
            yield from self._deletes(stream, bookmark, replace(options, limit=left), now)

    def read_keys(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage] | None:
        """Keys page by page; those of applications from the opportunities around them."""
        wire, _ = self._wire(stream)
        if stream.name != APPLICATIONS.name:
            return self._rest.read_keys(wire, position, now=now)
        keys = replace(stream, columns=(stream.column("id"),), replication_key=None)
        parents = tuple(c for c in wire.columns if c.name != "opportunity_updated_at")
        pages = self._rest.narrow_pages(
            replace(wire, columns=parents, replication_key=None), position
        )
        return (replace(page, records=_applications(keys, page.records)) for page in pages)

    def _deletes(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, now: datetime
    ) -> Iterator[Batch]:
        """Deleted opportunities as records of which only the key and the time are known."""
        window = plan_window(stream, bookmark, options, now=now)
        if window.is_empty:
            return
        endpoint = _endpoint_of(DELETED_OPPORTUNITIES).within(window)
        columns = (Column("id", "text"), _DELETED_AT)
        left = options.limit
        for page in read_pages(self._rest.client, endpoint, stream=stream.name, columns=columns):
            gone = page.batch
            moments = gone.column(_DELETED_AT.name)
            if pa.types.is_timestamp(moments.type):
                is_inside = pc.less(moments, pa.scalar(window.end, moments.type))
                if options.start is not None:
                    since = pa.scalar(options.start, moments.type)
                    is_inside = pc.and_(is_inside, pc.greater_equal(moments, since))
                gone = gone.filter(pc.fill_null(is_inside, True))
            gone = gone if left is None else gone.slice(0, left)
            if gone.num_rows:
                yield Batch(_tombstones(stream, gone))
            if left is not None:
                left -= gone.num_rows
                if left == 0:
                    return

    # From Lever's records to the columns

    def _wire(self, stream: Stream) -> tuple[Stream, Callable[[pa.RecordBatch], pa.RecordBatch]]:
        """The stream by the fields that Lever sends, and what makes the declared columns of them."""
        endpoint = self._confidential(stream)
        if stream.name == APPLICATIONS.name:
            columns: tuple[Column, ...] = (
                Column("id", "text"),
                Column("applications", "jsonb"),
                Column("opportunity_updated_at", "timestamptz", field="updatedAt"),
            )
            wire = replace(stream, columns=columns, options={"endpoint": endpoint})
            return wire, lambda records: _applications(stream, records)
        made = {name for name in _PARTS if _is_part(stream, name)}
        sources = {_PARTS[name][0] for name in made}
        if stream.name == CANDIDATES.name:
            made |= {"stage_id", "stage_text", "archive_reason_text", *_PIPELINE}
            sources |= {"stage", "stageChanges", "archived"}
        if not made:
            return replace(stream, options={"endpoint": endpoint}), lambda records: records
        own = tuple(column for column in stream.columns if column.name not in made)
        known = {column.vendor_field for column in own}
        hidden = tuple(
            Column(f"wire_{column_name(name)}", "text" if name == "stage" else "jsonb", field=name)
            for name in sorted(sources - known)
        )
        wire = replace(stream, columns=(*own, *hidden), options={"endpoint": endpoint})
        return wire, lambda records: self._unpacked(stream, wire, records)

    def _confidential(self, stream: Stream) -> Endpoint:
        endpoint = _endpoint_of(stream)
        asked = {"confidentiality": self._confidentiality}
        if stream.name in {POSTINGS.name, REQUISITIONS.name} or endpoint.path == "/opportunities":
            return endpoint.starting_with(asked)
        if endpoint.parents is not None:
            parents = endpoint.parents.endpoint.starting_with(asked)
            return replace(
                endpoint.starting_with(asked), parents=replace(endpoint.parents, endpoint=parents)
            )
        return endpoint

    def _unpacked(self, stream: Stream, wire: Stream, records: pa.RecordBatch) -> pa.RecordBatch:
        """The records with the columns that are parts of nested objects."""
        by_field = {column.vendor_field: column.name for column in wire.columns}

        def nested(field: str) -> list[object]:
            texts = records.column(by_field[field]).to_pylist()
            return [None if text is None else parse_json_exactly(text.encode()) for text in texts]

        values: dict[str, list[object]] = {}
        objects = {name: nested(name) for name in ("archived", "categories") if name in by_field}
        for name, (whole, part) in _PARTS.items():
            if whole in objects and _is_part(stream, name):
                values[name] = [
                    item.get(part) if isinstance(item, dict) else None for item in objects[whole]
                ]
        if stream.name == CANDIDATES.name:
            stages, reasons = self._named("stages"), self._named("archive_reasons")
            values["stage_id"] = records.column(by_field["stage"]).to_pylist()
            values["stage_text"] = [stages.get(str(key)) for key in values["stage_id"]]
            values["archive_reason_text"] = [
                reasons.get(str(item.get("reason"))) if isinstance(item, dict) else None
                for item in objects["archived"]
            ]
            changes = [item if isinstance(item, list) else [] for item in nested("stageChanges")]
            ids = [[change.get("toStageId") for change in item] for item in changes]
            values["pipeline_stage_ids"] = list(ids)
            values["pipeline_stage_names"] = [
                [stages.get(str(key)) for key in item] for item in ids
            ]
            values["pipeline_stage_timestamps"] = [
                [_iso(change.get("updatedAt")) for change in item] for item in changes
            ]
        made = tuple(
            Column(column.name, column.type) for column in stream.columns if column.name in values
        )
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        unpacked = batch_from_records(made, rows, are_exact=True)
        arrays = [
            (unpacked if column.name in values else records).column(column.name)
            for column in stream.columns
        ]
        return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in stream.columns])

    def _named(self, name: str) -> Mapping[str, object]:
        """The texts of a small list by id, asked for once."""
        if name not in self._names:
            stream = STAGES if name == STAGES.name else ARCHIVE_REASONS
            pages = read_pages(
                self._rest.client, _endpoint_of(stream), stream=name, columns=stream.columns
            )
            self._names[name] = {
                str(record["id"]): record.get("text") for page in pages for record in page.records
            }
        return self._names[name]


def _endpoint_of(stream: Stream) -> Endpoint:
    endpoint = stream.options["endpoint"]
    if not isinstance(endpoint, Endpoint):
        raise TypeError(f"{stream.key} names no endpoint")
    return endpoint


def _is_part(stream: Stream, name: str) -> bool:
    """True for columns that this stream has of a nested object; requisitions have teams themselves."""
    if name in _CATEGORIES and stream.name != POSTINGS.name:
        return False
    return any(column.name == name for column in stream.columns)


_CATEGORIES = frozenset({"team", "department", "location", "commitment", "level"})


def _iso(value: object) -> str | None:
    """Milliseconds as text that people can read."""
    if not isinstance(value, int):
        return None
    moment = datetime.fromtimestamp(value / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds")


def _tombstones(stream: Stream, gone: pa.RecordBatch) -> pa.RecordBatch:
    """Records of the stream's columns that say no more than that they are deleted, and when."""
    moments = gone.column(_DELETED_AT.name)
    arrays = []
    for column in stream.columns:
        if column.name == "id":
            arrays.append(gone.column("id"))
        elif column.name == stream.replication_key:
            arrays.append(moments)
        else:
            arrays.append(pa.nulls(gone.num_rows, ARROW_TYPES[column.type]))
    names = [column.name for column in stream.columns]
    return pa.RecordBatch.from_arrays([*arrays, moments], names=[*names, _DELETED_AT.name])


def _applications(stream: Stream, records: pa.RecordBatch) -> pa.RecordBatch:
    """The applications inside of the opportunities, each with its opportunity's id and time."""
    carried = {"opportunity_id", "opportunity_updated_at"}
    found: list[dict[str, object]] = []
    places: list[int] = []
    for place, text in enumerate(records.column("applications").to_pylist()):
        applications = parse_json_exactly(text.encode()) if text else None
        for application in applications if isinstance(applications, list) else ():
            if not isinstance(application, dict):
                raise FatalError(
                    "the applications come as ids alone: they were not expanded",
                    hint="the API key must be allowed to read applications",
                )
            archived = application.get("archived")
            ended = archived if isinstance(archived, dict) else {}
            parts = {"archivedAt": ended.get("archivedAt"), "archiveReasonId": ended.get("reason")}
            found.append({**application, **parts})
            places.append(place)
    own = tuple(column for column in stream.columns if column.name not in carried)
    batch = batch_from_records(own, found, are_exact=True)
    parents = records.take(pa.array(places, pa.int64()))
    arrays = [
        parents.column("id")
        if column.name == "opportunity_id"
        else (parents if column.name in carried else batch).column(column.name)
        for column in stream.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in stream.columns])


_in_body = json_detail("code", "message")


def _detail(response: Response) -> tuple[str, str]:
    """Lever's code and message; an offset that is no longer good has no code of its own."""
    code, message = _in_body(response)
    return ("InvalidOffset" if message.startswith("Invalid offset") else code), message


@contextmanager
def connect(
    settings: Mapping[str, str], *, transport: Transport | None = None
) -> Iterator[LeverReader]:
    """A reader of the account whose key the settings hold."""
    required(settings, "lever", VARIABLES)
    rate = settings.get("requests_per_second") or str(REQUESTS_PER_SECOND)
    if not rate.isdigit() or int(rate) == 0:
        raise FatalError(
            "LEVER_REQUESTS_PER_SECOND is not a number",
            source="lever",
            hint=where_to_set(VARIABLES),
        )
    client = HttpClient(
        settings["base_url"],
        source="lever",
        auth=BasicAuth(settings["api_key"], ""),
        errors=ErrorTable(_detail, {"InvalidOffset": "later"}, waits={429: 1.0}),
        budget=RateBudget(requests=int(rate), per_seconds=1.0),
        transport=transport,
        secrets=(settings["api_key"],),
        hint=where_to_set(VARIABLES),
    )
    with client:
        confidentiality = settings.get("confidentiality") or "non-confidential"
        yield LeverReader(client, confidentiality=confidentiality)


LEVER = Source(
    name="lever",
    title="Lever",
    description="Job applications and the people who handle them.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connect,
    kinds=("lever",),
    cron="50 * * * *",
)
