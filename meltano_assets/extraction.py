"""A source opened for a run: its reader between the user's rules and the warehouse's memory.

Belongs here: what stands between a vendor's reader and the loader, alike for assets and command
line: column rules, pseudonyms, quota, vendor jobs. Does not belong here: where settings come from
(``connections``), reading (``sources/``), storing (``warehouse/``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from meltano_assets.clients.policy import Quota, Response, Transport
from meltano_assets.errors import FatalError, QuotaError
from meltano_assets.sources.base import (
    FieldCost,
    FieldReader,
    KeyPage,
    KeyReader,
    MaySkip,
    live_keys,
    no_records,
)
from meltano_assets.sources.naming import column_name
from meltano_assets.sources.rules import Selected, SourceRules, selected
from meltano_assets.streams import DESCRIBED, NEEDED, Batch, Column, ColumnType, ReadOptions

if TYPE_CHECKING:
    from meltano_assets.privacy import KeyRing
    from meltano_assets.sources.base import Reader, Source
    from meltano_assets.streams import Bookmark, Stream
    from meltano_assets.warehouse.connection import Warehouse
    from meltano_assets.warehouse.jobs import JobLog
    from meltano_assets.warehouse.quota import Grant, QuotaLedger, QuotaUse, QuotaWindow

_FIRST_CHUNK, _LARGEST_CHUNK = 10, 500


class QuotaMeter:
    """Counts one connection's calls against the ledger, a chunk of them at a time.

    Raises QuotaError before the call that would be one too many.
    """

    def __init__(
        self,
        ledger: QuotaLedger,
        source: str,
        quota: Quota,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._quota = quota
        self._now = now
        self._lock = threading.Lock()
        self._grant: Grant | None = None
        self._left = 0
        self._chunk = _FIRST_CHUNK
        self._told: tuple[int, int] | None = None
        self._is_told_noted = True

    def before_request(self, source: str) -> None:
        """Take one call from the chunk, or a new chunk from the ledger."""
        with self._lock:
            if self._left == 0:
                self._take_chunk()
            self._left -= 1

    def after_response(self, source: str, response: Response) -> None:
        """Remember what the vendor says it counted."""
        told = self._quota.usage(response)
        if told is not None:
            with self._lock:
                self._told, self._is_told_noted = told, False

    def close(self) -> None:
        """Give back what was not used."""
        with self._lock:
            self._settle()

    def window(self) -> QuotaWindow:
        """The vendor's window at this moment."""
        from meltano_assets.warehouse.quota import quota_window

        return quota_window(self._quota.zone, self._now())

    def limits(self) -> tuple[int, int]:
        """How many calls all together may make in the window, and all outside production."""
        return self._quota.limits(self._told[1] if self._told else None)

    def use(self) -> QuotaUse:
        """How much of the window is used."""
        return self._ledger.use(self._source, self.window())

    def _take_chunk(self) -> None:
        self._settle()
        limit, elsewhere = self.limits()
        window = self.window()
        grant = self._ledger.reserve(
            self._source, window, self._chunk, limit=limit, elsewhere_limit=elsewhere
        )
        if not grant.calls:
            until = "as the last 24 hours pass"
            if not window.is_rolling:
                until = f"after {window.end:%Y-%m-%d %H:%M} UTC"
            raise QuotaError(
                f"our share of the vendor's calls is used up: {grant.used_before} of {limit} in "
                f"all, at most {elsewhere} outside production",
                source=self._source,
                hint=f"it goes on {until}; `meltano-assets quota show` tells more",
            )
        self._grant, self._left = grant, grant.calls
        self._chunk = min(2 * self._chunk, _LARGEST_CHUNK)

    def _settle(self) -> None:
        if self._grant is not None:
            self._ledger.settle(self._grant, self._grant.calls - self._left)
            self._grant, self._left = None, 0
        if self._told is not None and not self._is_told_noted:
            self._ledger.note_vendor(self._source, self._told[0])
            self._is_told_noted = True


@dataclass(slots=True)
class OpenSource:
    """A connected source. Call ``settle`` when everything that was read is committed."""

    reader: Reader
    rules: SourceRules = field(default_factory=SourceRules)
    jobs: JobLog | None = None
    meter: QuotaMeter | None = None
    warehouse: Warehouse | None = None
    stopped: QuotaError | None = None
    _selected: dict[str, Selected] = field(default_factory=dict)
    _keys: KeyRing | None = None

    @property
    def requests(self) -> int:
        """Requests or queries sent so far."""
        return self.reader.requests

    def undeclared(self, stream: Stream) -> frozenset[str]:
        """Fields that the vendor offered and that are not loaded."""
        offered = self.reader.undeclared.get(stream.name, frozenset())
        return offered - {column.vendor_field for column in self.selected(stream).load.columns}

    def skipped(self, stream: Stream) -> str | None:
        """Why there was nothing to read, where the vendor has no such thing here."""
        return self.reader.absent.get(stream.name) if isinstance(self.reader, MaySkip) else None

    def selected(self, stream: Stream) -> Selected:
        """The stream by the user's rules; ``load`` is how it is stored.

        With ``new_fields: load`` it has the fields that earlier reads came across.
        """
        found = self._selected.get(stream.name)
        if found is None:
            rules = self.rules.of(stream.name)
            if stream.options.get(DESCRIBED):
                ask = cast("Callable[[Stream], tuple[Column, ...]]", self.reader.columns)  # type: ignore[attr-defined]
                stream = replace(stream, columns=ask(stream))
            if rules.new_fields == "load" and self.warehouse is not None:
                rules = replace(rules, add=(*rules.add, *self._new_columns(stream)))
            found = self._selected[stream.name] = selected(stream, rules)
        return found

    def _new_columns(self, stream: Stream) -> tuple[Column, ...]:
        from meltano_assets.warehouse import catalog

        assert self.warehouse is not None
        seen = catalog.new_fields(self.warehouse, stream.source, stream.name)
        taken = {column.name for column in stream.columns}
        columns = []
        for name, kind in seen.items():
            if (column := column_name(name)) not in taken:
                taken.add(column)
                columns.append(Column(column, cast(ColumnType, kind), field=name))
        return tuple(columns)

    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """The stream's records since the bookmark, by the user's rules.

        When the quota is used up an upserted stream just ends, so that what was read is kept
        (``stopped`` says so, and the bookmark stands behind what it covers); one that is replaced
        or appended to ends with the QuotaError.
        """
        chosen = self.selected(stream)
        replace_values = self._pseudonyms if chosen.pseudonymized else None
        is_partial_safe = stream.disposition == "upsert" and not options.full_refresh
        try:
            for batch in self.reader.read(chosen.read, bookmark, options, now=now):
                if replace_values is None and not chosen.emptied:
                    yield batch
                else:
                    records = chosen.applied(batch.records, self._pseudonyms)
                    yield Batch(records, batch.bookmark, batch.cleaned)
        except QuotaError as error:
            if not is_partial_safe:
                raise
            self.stopped = error

    def resolve(self, stream: Stream) -> Stream:
        """The stream with its columns, where only the vendor knows them."""
        from meltano_assets.sources.base import KnowsColumns

        if stream.columns or not isinstance(self.reader, KnowsColumns):
            return stream
        return self.reader.resolve(stream)

    def chosen_column(self, stream: Stream, name: str) -> Column:
        """The column of that name or vendor's field that is loaded; FatalError where none is."""
        chosen = self.selected(stream)
        columns = {c.vendor_field: c for c in chosen.load.columns}
        columns |= {c.name: c for c in chosen.load.columns}
        column = columns.get(name)
        if column is None or column.name in chosen.emptied:
            raise FatalError(
                f"the field {name} is not chosen",
                source=stream.source,
                stream=stream.name,
                hint="choose it in streams.yml (`add` or `select`) first",
            )
        if column.name in stream.primary_key:
            raise FatalError(f"{name} is the key", source=stream.source, stream=stream.name)
        return column

    def field_cost(self, stream: Stream, column: Column) -> FieldCost:
        """What reading one field of all records costs; asks the vendor for counts only."""
        read = self._read_column(stream, column)
        if isinstance(self.reader, FieldReader):
            return self.reader.field_cost(self.selected(stream).read, read)
        endpoint = stream.options.get("endpoint") or stream.options.get("export")
        size = getattr(getattr(endpoint, "paging", None), "size", None)
        records = self.count(stream)
        if records is None and self.warehouse is not None:
            from meltano_assets.warehouse import claims

            records = claims.live_rows(self.warehouse, stream)
        calls = -(-records // size) if size and records is not None else None
        return FieldCost(
            records, calls, "the whole stream: this vendor cannot give one field alone"
        )

    def read_field(self, stream: Stream, column: Column, *, now: datetime) -> Iterator[Batch]:
        """Keys and one field of all records that have it, by the user's rules."""
        chosen = self.selected(stream)
        if isinstance(self.reader, FieldReader):
            batches = self.reader.read_field(
                chosen.read, self._read_column(stream, column), now=now
            )
        else:
            batches = self.reader.read(chosen.read, None, ReadOptions(full_refresh=True), now=now)
        names = [*stream.primary_key, column.name]
        for batch in batches:
            records = chosen.applied(batch.records.select(names), self._pseudonyms, only=names)
            yield Batch(records)

    def can_resume_keys(self, stream: Stream) -> bool:
        """True when keys can be read a part at a time."""
        return self._key_pages(stream, None, now=datetime.now(UTC)) is not None

    def read_keys(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage]:
        """The keys of all live records from the position on, by the user's rules.

        Where the vendor gives no keys alone everything is read, which ends with a page that is last.
        """
        chosen = self.selected(stream)
        pages = self._key_pages(stream, position, now=now) or self._whole_keys(stream, now)
        for page in pages:
            records = chosen.applied(page.records, self._pseudonyms, only=stream.primary_key)
            yield replace(page, records=records)

    def _key_pages(
        self, stream: Stream, position: str | None, *, now: datetime
    ) -> Iterator[KeyPage] | None:
        if not isinstance(self.reader, KeyReader):
            return None
        return self.reader.read_keys(self.selected(stream).read, position, now=now)

    def _whole_keys(self, stream: Stream, now: datetime) -> Iterator[KeyPage]:
        read = self.selected(stream).read
        names = list(stream.primary_key)
        needed = stream.options.get(NEEDED)
        if needed is not None:
            keys = {*names, stream.replication_key, *cast("tuple[str, ...]", needed)}
            read = replace(read, columns=tuple(c for c in read.columns if c.name in keys))
        for batch in self.reader.read(read, None, ReadOptions(full_refresh=True), now=now):
            yield KeyPage(live_keys(batch.records, names))
        yield KeyPage(no_records(map(read.column, names)), is_last=True)

    def _read_column(self, stream: Stream, column: Column) -> Column:
        """The column as the vendor gives it, before any rule."""
        return self.selected(stream).read.column(column.name)

    def count(self, stream: Stream) -> int | None:
        """How many live records the vendor says it has, or None where it cannot tell or the quota
        is used up.
        """
        try:
            return self.reader.count(stream)
        except QuotaError:
            return None

    def settle(self, stream: Stream) -> None:
        """What was read is committed: its jobs are done with, its new fields written down."""
        if self.jobs is not None:
            self.jobs.settle()
        if self.warehouse is not None:
            from meltano_assets.warehouse import catalog

            kinds = getattr(self.reader, "undeclared_types", {}).get(stream.name, {})
            fields = {name: kinds.get(name, "text") for name in self.undeclared(stream)}
            catalog.write_new_fields(self.warehouse, stream.source, stream.name, fields)

    def facts(self, stream: Stream) -> dict[str, object]:
        """What the UI tells about a read besides its account of records."""
        facts: dict[str, object] = {"requests": self.requests}
        if new := self.undeclared(stream):
            facts["new fields, not loaded"] = sorted(new)
        if self.meter is not None:
            limit, _ = self.meter.limits()
            facts["quota"] = f"{self.meter.use().used:,} of {limit:,} calls used"
        if why := self.skipped(stream):
            facts["skipped"] = why
        if self.stopped is not None:
            facts["stopped"] = str(self.stopped)
        return facts

    def _pseudonyms(self, values: object, domain: str) -> object:
        if self._keys is None:
            from meltano_assets.privacy import key_ring

            self._keys = key_ring()
        return self._keys.pseudonyms(values, domain)


@contextmanager
def open_source(
    source: Source,
    settings: Mapping[str, str],
    *,
    warehouse: Warehouse | None = None,
    run_id: str = "",
    rules: SourceRules | None = None,
    is_sandbox: bool = False,
    transport: Transport | None = None,
) -> Iterator[OpenSource]:
    """The source, connected.

    With a ``warehouse`` vendor jobs survive this process and calls are counted; a sandbox's calls
    are all ours. ``transport`` says what to do about time and failure.
    """
    rules = rules or SourceRules()
    transport = transport or Transport()
    if warehouse is None:
        with source.connect(settings, transport=transport) as reader:
            yield OpenSource(reader, rules)
        return
    from meltano_assets.warehouse.jobs import JobLog

    jobs = JobLog(warehouse, run_id=run_id)
    meter = _meter(source, rules, warehouse, run_id, is_sandbox=is_sandbox)
    transport = replace(
        transport,
        jobs=jobs,
        before_request=meter.before_request if meter else None,
        after_response=meter.after_response if meter else None,
    )
    try:
        with source.connect(settings, transport=transport) as reader:
            yield OpenSource(reader, rules, jobs, meter, warehouse)
    finally:
        if meter is not None:
            meter.close()


def _meter(
    source: Source, rules: SourceRules, warehouse: Warehouse, run_id: str, *, is_sandbox: bool
) -> QuotaMeter | None:
    from meltano_assets import environment
    from meltano_assets.warehouse.quota import QuotaLedger

    quota = rules.limited(source.quota)
    if quota is None:
        return None
    if is_sandbox:
        quota = replace(quota, share=1.0, elsewhere_share=1.0)
    ledger = QuotaLedger(warehouse, run_id=run_id, environment=environment.current_environment())
    return QuotaMeter(ledger, source.name, quota)
