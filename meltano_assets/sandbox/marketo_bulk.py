"""Marketo's bulk extract: jobs that are created, enqueued, processed, and whose files wait to be read.

Two jobs are processed at a time and ten may wait, of all kinds together; a file stays for seven
days and counts against the day's bytes. Files are written in a thread and kept in a folder.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response

from meltano_assets.sandbox.company_marketing import attributes_text
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.marketo_schema import (
    ACTIVITY_FIELDS,
    MEMBER_FIELDS,
    WORKSHOP,
    WORKSHOP_FIELDS,
)
from meltano_assets.sandbox.marketo_wire import (
    Limits,
    MarketoError,
    batch_size,
    envelope,
    make_token,
    marketo_day,
    read_token,
    rest_name,
    split_list,
    wire_time,
)
from meltano_assets.sandbox.numbers import is_number

if TYPE_CHECKING:
    from meltano_assets.sandbox.marketo import Marketo

PROCESSED_AT_ONCE, QUEUED_AT_MOST = 2, 10
KEPT = timedelta(days=7)
LONGEST_WINDOW = timedelta(days=31)
_DELIMITERS = {"CSV": ",", "TSV": "\t", "SSV": ";"}
_LEAD_FILTERS = (
    "createdAt",
    "updatedAt",
    "staticListName",
    "staticListId",
    "smartListName",
    "smartListId",
)
_ACTIVITY_FILTERS = (
    "createdAt",
    "activityTypeIds",
    "primaryAttributeValueIds",
    "primaryAttributeValues",
)
_MEMBER_FILTERS = (
    "programId",
    "programIds",
    "isExhausted",
    "nurtureCadence",
    "statusNames",
    "updatedAt",
)

Rows = Callable[[], Iterator[list[str]]]


@dataclass(slots=True)
class Job:
    """One export."""

    kind: str
    format: str
    header: list[str]
    rows: Rows
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "Created"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    queued: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    began: float = 0.0
    writing: asyncio.Future[tuple[int, str]] | None = None
    records: int = 0
    size: int = 0
    checksum: str = ""
    error: str | None = None
    counted_on: str = ""

    def rendered(self) -> Record:
        """The job as its status tells it."""
        record: Record = {
            "exportId": self.key,
            "format": self.format,
            "status": self.status,
            "createdAt": _stamp(self.created),
        }
        for name, moment in (
            ("queuedAt", self.queued),
            ("startedAt", self.started),
            ("finishedAt", self.finished),
        ):
            if moment is not None:
                record[name] = _stamp(moment)
        if self.status == "Completed":
            record |= {
                "numberOfRecords": self.records,
                "fileSize": self.size,
                "fileChecksum": f"sha256:{self.checksum}",
            }
        if self.error:
            record["errorMsg"] = self.error
        return record


class BulkExtract:
    """All exports of the subscription."""

    def __init__(self, marketo: Marketo, folder: Path, faults: FaultBox, limits: Limits) -> None:
        self._marketo = marketo
        self._folder = folder
        self._faults = faults
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._bytes_by_day: dict[str, int] = {}

    async def handle(
        self, method: str, path: str, query: Mapping[str, str], body: object, headers: Headers
    ) -> Response:
        """Answer one request below ``/bulk/v1/``."""
        found = re.fullmatch(
            r"(leads|activities|program/members|customobjects/[\w]+)/export(?:/([\w-]+))?"
            r"(?:/(enqueue|cancel|status|file))?",
            path,
        )
        if found is None:
            raise MarketoError("610", "Requested resource not found")
        kind, key, action = found[1], found[2], found[3]
        self._advance()
        if key is None and method == "GET":
            return self._list(kind, query)
        if key == "create" and action is None and method == "POST":
            return self._create(kind, body)
        job = self._jobs.get(key or "")
        if job is None or job.kind != kind:
            raise MarketoError("1013", f"Export job '{key}' not found")
        if method == "POST" and action == "enqueue":
            return self._enqueue(job)
        if method == "POST" and action == "cancel":
            return self._cancel(job)
        if method == "GET" and action == "status":
            return envelope({"result": [job.rendered()]})
        if method == "GET" and action == "file":
            return self._file(job, headers)
        raise MarketoError("610", "Requested resource not found")

    # The life of a job

    def _advance(self) -> None:
        """What has happened meanwhile: jobs that are done, jobs that can begin, files that are old."""
        now = datetime.now(UTC)
        for job in list(self._jobs.values()):
            if job.status == "Processing" and job.writing is not None and job.writing.done():
                if time.monotonic() - job.began >= self._limits.processing_seconds:
                    self._finish(job)
            elif job.finished is not None and now - job.finished > KEPT:
                self._path(job).unlink(missing_ok=True)
                del self._jobs[job.key]
        busy = sum(1 for job in self._jobs.values() if job.status == "Processing")
        waiting = sorted(
            (job for job in self._jobs.values() if job.status == "Queued"),
            key=lambda job: (job.queued or job.created, job.key),
        )
        for job in waiting[: PROCESSED_AT_ONCE - busy]:
            if self._faults.take("job_stuck", job.kind):
                continue
            job.status, job.started, job.began = "Processing", now, time.monotonic()
            loop = asyncio.get_running_loop()
            job.writing = loop.run_in_executor(None, self._write, job)

    def _finish(self, job: Job) -> None:
        assert job.writing is not None
        job.finished = datetime.now(UTC)
        if self._faults.take("job_failed", job.kind):
            job.status, job.error = "Failed", "Internal error: the export could not be written"
            self._path(job).unlink(missing_ok=True)
            return
        job.size, job.checksum = job.writing.result()
        if self._faults.take("wrong_checksum", job.kind):
            job.checksum = hashlib.sha256(b"of another file").hexdigest()
        job.status = "Completed"
        job.counted_on = marketo_day()
        self._bytes_by_day[job.counted_on] = self._bytes_by_day.get(job.counted_on, 0) + job.size

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.key}.csv"

    def _write(self, job: Job) -> tuple[int, str]:
        """Write the file; its size and checksum."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(job)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=_DELIMITERS[job.format], lineterminator="\n")
            writer.writerow(job.header)
            for row in job.rows():
                job.records += 1
                writer.writerow(row)
        digest = hashlib.sha256()
        with path.open("rb") as written:
            while chunk := written.read(1 << 20):
                digest.update(chunk)
        return path.stat().st_size, digest.hexdigest()

    def _enqueue(self, job: Job) -> Response:
        if job.status != "Created":
            raise MarketoError("1003", f"Export job is already {job.status.lower()}")
        used = self._bytes_by_day.get(marketo_day(), 0)
        if self._faults.take("export_quota") or used >= self._limits.export_bytes_a_day:
            megabytes = self._limits.export_bytes_a_day // 1_000_000
            raise MarketoError("1029", f"Export daily quota {megabytes}MB exceeded")
        queued = sum(1 for other in self._jobs.values() if other.status == "Queued")
        if self._faults.take("queue_full") or queued >= QUEUED_AT_MOST:
            raise MarketoError("1029", "Too many jobs in queue")
        job.status, job.queued = "Queued", datetime.now(UTC)
        answer = envelope({"result": [job.rendered()]})
        self._advance()
        return answer

    def _cancel(self, job: Job) -> Response:
        if job.status not in ("Created", "Queued", "Processing"):
            raise MarketoError("1003", f"Export job is already {job.status.lower()}")
        job.status = "Cancelled"
        return envelope({"result": [job.rendered()]})

    def _list(self, kind: str, query: Mapping[str, str]) -> Response:
        wanted = [status.lower() for status in split_list(query.get("status"))]
        jobs = [
            job.rendered()
            for job in sorted(self._jobs.values(), key=lambda job: (job.created, job.key))
            if job.kind == kind and (not wanted or job.status.lower() in wanted)
        ]
        size = batch_size(query)
        begin = read_token(query.get("nextPageToken"), "exports")
        content: Record = {"result": jobs[begin : begin + size]}
        if begin + size < len(jobs):
            content["nextPageToken"] = make_token("exports", begin + size)
        return envelope(content)

    def _file(self, job: Job, headers: Headers) -> Response:
        if job.status != "Completed":
            raise MarketoError("1003", f"Export job is {job.status.lower()}, there is no file")
        if self._faults.take("file_missing", job.kind):
            return Response("<html><body>404 Not Found</body></html>", 404, media_type="text/html")
        if self._faults.take("file_error", job.kind):
            raise MarketoError("611", "System error")
        path = self._path(job)
        first, last, status = 0, job.size - 1, 200
        asked = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})", headers.get("range", ""))
        if asked:
            first, last = int(asked[1]), min(last, int(asked[2] or last))
            status = 206
            if first >= job.size or last < first:
                return Response(status_code=416, headers={"Content-Range": f"bytes */{job.size}"})
        described = {
            "Accept-Ranges": "bytes",
            "Content-Disposition": f'attachment; filename="{job.key}.csv"',
        }
        if status == 200 and not self._faults.take("cut_file", job.kind):
            return FileResponse(path, headers=described, media_type="text/csv;charset=UTF-8")
        with path.open("rb") as file:
            file.seek(first)
            content = file.read(last - first + 1)
        if status == 206:
            described["Content-Range"] = f"bytes {first}-{last}/{job.size}"
        else:  # half of the file, as if it were all of it
            content = content[: len(content) * 2 // 3]
        return Response(content, status, described, "text/csv;charset=UTF-8")

    # Orders

    def _create(self, kind: str, body: object) -> Response:
        if not isinstance(body, dict):
            raise MarketoError("609", "Invalid JSON")
        filters = body.get("filter")
        if not isinstance(filters, dict) or not filters:
            raise MarketoError("1003", "Missing value for required parameter 'filter'")
        format_ = str(body.get("format") or "CSV").upper()
        if format_ not in _DELIMITERS:
            raise MarketoError("1003", f"Invalid value for 'format': {format_}")
        names = body.get("fields")
        fields = [str(name) for name in names] if isinstance(names, list) else []
        titles = body.get("columnHeaderNames")
        records = self._chosen(kind, fields, filters)
        if not fields:
            fields = list(ACTIVITY_FIELDS)
        header = [str(titles.get(f, f)) if isinstance(titles, dict) else f for f in fields]
        job = Job(kind, format_, header, lambda: self._rows(kind, fields, records))
        self._jobs[job.key] = job
        return envelope({"result": [job.rendered()]})

    def _chosen(self, kind: str, fields: list[str], filters: Record) -> list[Record]:
        """The records that the order asks for, as they are now."""
        marketo = self._marketo
        if kind == "leads":
            known = {rest_name(field) for field in marketo.described() if "rest" in field}
            _check(fields, known, filters, _LEAD_FILTERS, is_needed=True)
            if len(filters) != 1:
                raise MarketoError("1003", "Exactly one filter must be given")
            return self._leads(filters)
        if kind == "activities":
            _check(fields, ACTIVITY_FIELDS, filters, _ACTIVITY_FILTERS, is_needed=False)
            start, end = _span(filters, "createdAt")
            chosen = marketo.activities_between(start, end)
            for name, key in (
                ("activityTypeIds", "activityTypeId"),
                ("primaryAttributeValueIds", "primaryAttributeValueId"),
                ("primaryAttributeValues", "primaryAttributeValue"),
            ):
                wanted = filters.get(name)
                if isinstance(wanted, list):
                    texts = {str(value) for value in wanted}
                    chosen = [record for record in chosen if str(record[key]) in texts]
            return chosen
        if kind == "program/members":
            known = {*MEMBER_FIELDS, *(rest_name(f) for f in marketo.described() if "rest" in f)}
            _check(fields, known, filters, _MEMBER_FILTERS, is_needed=True)
            return self._members(filters)
        if kind != f"customobjects/{WORKSHOP}":
            raise MarketoError("1013", "Object not found")
        _check(fields, WORKSHOP_FIELDS, filters, ("updatedAt",), is_needed=True)
        start, end = _span(filters, "updatedAt")
        workshops = self._marketo.desk.workshops.values()
        return [w for w in workshops if start <= str(w["updatedAt"]) <= end]

    def _leads(self, filters: Record) -> list[Record]:
        desk = self._marketo.desk
        name = next(iter(filters))
        if name == "updatedAt" and self._faults.take("no_updated_at"):
            raise MarketoError("1035", "Unsupported filter type for target subscription: updatedAt")
        if name in ("createdAt", "updatedAt"):
            start, end = _span(filters, name)
            return [lead for lead in desk.leads.values() if start <= str(lead[name]) <= end]
        if name.startswith("smartList"):
            raise MarketoError("1013", "Smart list not found")
        wanted = str(filters[name])
        for number, record in desk.lists.items():
            if wanted in (str(number) if name == "staticListId" else str(record["name"]),):
                return [desk.leads[lead] for lead in sorted(desk.list_members.get(number, {}))]
        raise MarketoError("1013", "List not found")

    def _members(self, filters: Record) -> list[Record]:
        desk = self._marketo.desk
        one, many = filters.get("programId"), filters.get("programIds")
        if (one is None) == (many is None):
            raise MarketoError(
                "1003", "One of the filters 'programId' and 'programIds' is required"
            )
        programs = [str(p) for p in many] if isinstance(many, list) else [str(one)]
        if len(programs) > 10:
            raise MarketoError("1003", "Number of programIds exceeds the limit of 10")
        for program in programs:
            if not is_number(program) or int(program) not in desk.programs:
                raise MarketoError("1013", f"Program '{program}' not found")
        chosen = [m for key, m in sorted(desk.members.items()) if str(key[0]) in programs]
        if "updatedAt" in filters:
            if self._faults.take("no_updated_at"):
                raise MarketoError(
                    "1035", "Unsupported filter type for target subscription: updatedAt"
                )
            start, end = _span(filters, "updatedAt")
            chosen = [m for m in chosen if start <= str(m["updatedAt"]) <= end]
        if isinstance(statuses := filters.get("statusNames"), list):
            chosen = [m for m in chosen if m["statusName"] in statuses]
        return chosen

    def _rows(self, kind: str, fields: list[str], records: Iterable[Record]) -> Iterator[list[str]]:
        fault = self._marketo.changed_schema(kind)
        given: dict[str, object] = {}
        for option in ("add", "retype"):
            values = fault.options.get(option) if fault else None
            given.update(values if isinstance(values, dict) else {})
        leads = self._marketo.desk.leads if kind == "program/members" else {}
        for record in records:
            row: list[str] = []
            for name in fields:
                if name in given:
                    row.append(_cell(given[name]))
                elif name == "attributes":
                    row.append(attributes_text(record))
                elif name not in record and leads:
                    row.append(_cell(leads.get(int(str(record["leadId"])), {}).get(name)))
                else:
                    row.append(_cell(record.get(name)))
            yield row


def _cell(value: object) -> str:
    """A value in the file; what is absent is the word null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(
    fields: list[str],
    known: Iterable[str],
    filters: Record,
    allowed: tuple[str, ...],
    *,
    is_needed: bool,
) -> None:
    if is_needed and not fields:
        raise MarketoError("1002", "Missing value for required parameter 'fields'")
    names = set(known)
    for name in fields:
        if name not in names:
            raise MarketoError("1006", f"Field '{name}' not found")
    for name in filters:
        if name not in allowed:
            raise MarketoError("1035", f"Unsupported filter type for target subscription: {name}")


def _span(filters: Record, name: str) -> tuple[str, str]:
    """The times of a date range, both inclusive."""
    given = filters.get(name)
    if not isinstance(given, dict):
        raise MarketoError("1003", f"Filter '{name}' is required")
    start = wire_time(str(given.get("startAt") or ""), "startAt")
    end = wire_time(str(given.get("endAt") or ""), "endAt")
    if end < start:
        raise MarketoError("1003", "endAt must be after startAt")
    span = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    if span > LONGEST_WINDOW:
        raise MarketoError("1003", "Date range must not exceed 31 days")
    return start, end
