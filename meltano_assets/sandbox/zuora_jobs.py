"""Zuora's long jobs: AQuA batches, object exports, data queries, and the files that they leave.

A job's rows are those of the moment of its order. It is ``executing`` for so many polls and then
done. Jobs and files live in memory: they end with the process, as they do at the vendor in time.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import secrets
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.zuora_query import Query, QueryError, Tenant, parse, rows_of, run
from meltano_assets.sandbox.zuora_schema import NO_DELETED

SYNTAX_ERROR = "There is a syntax error in one of the queries in the AQuA input"
NO_DELETED_SUPPORT = (
    "Objects included in the queries do not support the querying of deleted records. "
    "Remove Deleted section in the JSON request and retry the request"
)
MAX_QUERIES = 50
#: Full files of stateful jobs come in pieces from so many rows on.
SEGMENT_ROWS = 500
_OVER = ("completed", "error", "aborted", "cancelled")


class AquaRefused(Exception):
    """AQuA says no, with HTTP 200."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"errorCode": code, "message": message}


@dataclass(slots=True)
class Batch:
    """One query of a job with the rows that it found."""

    name: str
    query: Query | None
    text: str
    kind: str
    rows: list[Record]
    is_full: bool
    deleted: Mapping[str, object] | None
    id: str
    files: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Job:
    """One AQuA job."""

    id: str
    request: Mapping[str, object]
    batches: list[Batch]
    ordered_at: datetime
    polls: int
    status: str = "submitted"
    message: str = ""


def new_id() -> str:
    """An id as jobs and files have it."""
    return f"2c92a0{secrets.token_hex(13)}"


class Jobs:
    """All jobs and files of the tenant."""

    def __init__(
        self,
        tenant: Tenant,
        faults: FaultBox,
        *,
        zone: ZoneInfo,
        partner: str,
        polls: int = 1,
    ) -> None:
        self._tenant = tenant
        self._faults = faults
        self._zone = zone
        self._partner = partner
        #: How often a job answers "executing" before it is done.
        self.polls = polls
        self._jobs: dict[str, Job] = {}
        self._exports: dict[str, dict[str, object]] = {}
        self._export_rows: dict[str, tuple[Query, list[Record], str]] = {}
        self._queries: dict[str, dict[str, object]] = {}
        self._files: dict[str, tuple[bytes, str]] = {}
        self._completed: dict[tuple[str, str], datetime] = {}

    # AQuA

    def order(self, request: Mapping[str, object], now: datetime) -> Job:
        """A new job; AquaRefused when the request as a whole will not do."""
        queries = request.get("queries")
        if not isinstance(queries, list) or not queries:
            raise AquaRefused("90002", "The queries field is required")
        if len(queries) > MAX_QUERIES:
            raise AquaRefused("90003", f"The number of queries exceeds the limit of {MAX_QUERIES}")
        kind = str(request.get("format") or "csv").upper()
        if kind not in ("CSV", "ZIP", "GZIP"):
            raise AquaRefused("90004", f"The format {kind} is not supported")
        partner, project = (str(request.get(name) or "") for name in ("partner", "project"))
        if (partner or project) and partner != self._partner:
            raise AquaRefused("90006", "Partner ID is not recognized")
        if bool(partner) != bool(project):
            raise AquaRefused("90007", "partner and project are required together")
        job = Job(new_id(), request, [], now, self.polls)
        self._jobs[job.id] = job
        since = self._since(request, (partner, project)) if project else None
        names = [str(q.get("name") or "") for q in queries if isinstance(q, dict)]
        if len(set(filter(None, names))) < sum(map(bool, names)):
            raise AquaRefused("90008", "The names of queries must be unique")
        for asked in queries:
            self._add_batch(job, asked, since)
        if fault := self._faults.take("job_error", self._subject(job)):
            job.status = "pending error"
            job.message = fault.text("message", "The query could not be executed")
        elif self._faults.take("job_aborted", self._subject(job)):
            job.status = "pending aborted"
        return job

    def _subject(self, job: Job) -> str:
        return " ".join(f"{batch.name} {batch.text}" for batch in job.batches)

    def _since(self, request: Mapping[str, object], project: tuple[str, str]) -> datetime | None:
        """The beginning of the increment: as asked for, in the tenant's zone, or the last job's."""
        text = request.get("incrementalTime")
        if not text:
            return self._completed.get(project)
        try:
            moment = datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").replace(tzinfo=self._zone)
        except ValueError:
            raise AquaRefused(
                "90009", "incrementalTime must have the format yyyy-mm-dd hh:mm:ss"
            ) from None
        return moment.astimezone(UTC)

    def _add_batch(self, job: Job, asked: object, since: datetime | None) -> None:
        request = asked if isinstance(asked, dict) else {}
        text = str(request.get("query") or "")
        kind = str(request.get("type") or "zoqlexport").lower()
        deleted = request.get("deleted")
        batch = Batch(
            str(request.get("name") or ""),
            None,
            text,
            kind,
            [],
            since is None,
            deleted if isinstance(deleted, dict) else None,
            new_id(),
        )
        job.batches.append(batch)
        is_utc = _is_true(job.request.get("dateTimeUtc"))
        try:
            batch.query = parse(
                text,
                self._tenant,
                is_export=kind == "zoqlexport",
                zone=ZoneInfo("UTC") if is_utc else self._zone,
            )
        except QueryError:
            job.status, job.message = "error", SYNTAX_ERROR
            return
        if batch.deleted and batch.query.kind.name in NO_DELETED:
            job.status, job.message = "error", NO_DELETED_SUPPORT
            return
        # What is deleted is told by increments only.
        tells = batch.deleted is not None and since is not None
        batch.rows = list(run(batch.query, self._tenant, with_deleted=tells, since=since))

    def job(self, key: str) -> Job | None:
        """The job; ask with ``advance`` for its next state."""
        return self._jobs.get(key)

    def advance(self, job: Job) -> Job:
        """A poll: the job is one step further."""
        if self._faults.take("lose_job", self._subject(job)):
            self._jobs.pop(job.id, None)
        if job.status in _OVER:
            return job
        if job.polls > 0 or self._faults.take("job_stuck", self._subject(job)):
            job.polls -= 1
            if not job.status.startswith("pending "):
                job.status = "executing"
            return job
        if job.status.startswith("pending "):
            job.status = job.status.removeprefix("pending ")
            return job
        job.status = "completed"
        partner, project = (str(job.request.get(name) or "") for name in ("partner", "project"))
        if project:
            self._completed[partner, project] = job.ordered_at
        for batch in job.batches:
            self._write_files(job, batch, is_stateful=bool(project))
        return job

    def cancel(self, job: Job) -> None:
        """The job is told to end."""
        if job.status not in _OVER:
            job.status = "cancelled"

    def _write_files(self, job: Job, batch: Batch, *, is_stateful: bool) -> None:
        is_cut = is_stateful and batch.is_full and len(batch.rows) > SEGMENT_ROWS
        size = SEGMENT_ROWS if is_cut else max(1, len(batch.rows))
        kind = str(job.request.get("format") or "csv").upper()
        style = Style(
            zone=UTC if _is_true(job.request.get("dateTimeUtc")) else self._zone,
            has_names=_is_true(job.request.get("useQueryLabels")),
            deleted=batch.deleted,
        )
        for start in range(0, max(1, len(batch.rows)), size):
            body = self._csv(batch.query, batch.rows[start : start + size], style)
            batch.files.append(self._file(body, kind, batch.name or "query"))

    def answer(self, job: Job) -> dict[str, object]:
        """The job as the API shows it."""
        request = job.request
        status = "executing" if job.status.startswith("pending ") else job.status
        answer: dict[str, object] = {
            "id": job.id,
            "version": str(request.get("version") or "1.0"),
            "format": str(request.get("format") or "csv").upper(),
            "name": request.get("name"),
            "encrypted": request.get("encrypted") or "none",
            "status": status,
            "startTime": job.ordered_at.astimezone(self._zone).strftime("%Y-%m-%dT%H:%M:%S%z"),
            "useLastCompletedJobQueries": False,
            "batches": [self._batch_answer(batch, status, job.message) for batch in job.batches],
        }
        for name in ("partner", "project", "incrementalTime", "notifyUrl"):
            if request.get(name):
                answer[name] = request[name]
        if job.status == "error":
            answer |= {"errorCode": "90005", "message": job.message}
        return answer

    def _batch_answer(self, batch: Batch, status: str, message: str) -> dict[str, object]:
        state = {"submitted": "pending", "error": "aborted"}.get(status, status)
        answer: dict[str, object] = {
            "name": batch.name,
            "query": batch.text,
            "batchType": batch.kind,
            "batchId": batch.id,
            "status": state,
            "localizedStatus": state,
            "full": batch.is_full,
            "recordCount": len(batch.rows) if status == "completed" else 0,
            "apiVersion": "91.0",
        }
        if status == "error":
            answer["message"] = message
        if batch.deleted:
            answer["deleted"] = dict(batch.deleted)
        if status == "completed":
            if len(batch.files) > 1:
                answer["segments"] = batch.files
            else:
                answer["fileId"] = batch.files[0]
        return answer

    # Exports of one object

    def order_export(self, request: Mapping[str, object]) -> str:
        """The id of a new export; QueryError when its query is refused."""
        query = parse(
            str(request.get("Query") or ""), self._tenant, is_export=True, zone=self._zone
        )
        kind = str(request.get("Format") or "csv").upper()
        rows = list(run(query, self._tenant))
        key = new_id()
        subject = f"{query.kind.name} {query.text}"
        self._exports[key] = {
            "Id": key,
            "Name": request.get("Name"),
            "Query": query.text,
            "Format": kind.lower(),
            "Status": "Pending",
            "StatusReason": "",
            "polls": self.polls,
            "fails": bool(self._faults.take("job_error", subject)),
            "subject": subject,
        }
        self._export_rows[key] = query, rows, kind
        return key

    def export(self, key: str) -> dict[str, object] | None:
        """The export as the API shows it, one step further."""
        export = self._exports.get(key)
        if export is None:
            return None
        if export["Status"] in ("Pending", "Processing"):
            left = int(str(export["polls"]))
            if left > 0 or self._faults.take("job_stuck", str(export["subject"])):
                export |= {"Status": "Processing", "polls": left - 1}
            elif export["fails"]:
                export |= {"Status": "Failed", "StatusReason": "The export could not be executed"}
            else:
                query, rows, kind = self._export_rows[key]
                body = self._csv(query, rows, Style(self._zone, has_names=True))
                file = self._file(body, kind, "export")
                export |= {"Status": "Completed", "FileId": file, "Size": len(body)}
        hidden = ("polls", "fails", "subject")
        return {name: value for name, value in export.items() if name not in hidden}

    # Data queries

    def order_query(self, request: Mapping[str, object], address: str) -> dict[str, object]:
        """A new data query."""
        key = str(uuid.uuid4())
        job: dict[str, object] = {
            "id": key,
            "query": request.get("query"),
            "queryStatus": "accepted",
            "outputFormat": request.get("outputFormat") or "JSON",
            "compression": request.get("compression") or "NONE",
            "remainingRetries": 3,
            "updatedOn": datetime.now(UTC).isoformat(),
        }
        self._queries[key] = {**job, "polls": self.polls, "address": address}
        return job

    def query(self, key: str) -> dict[str, object] | None:
        """The data query, one step further."""
        job = self._queries.get(key)
        if job is None:
            return None
        if job["queryStatus"] in ("accepted", "in_progress"):
            left = int(str(job["polls"]))
            if left > 0 or self._faults.take("job_stuck", str(job["query"])):
                job |= {"queryStatus": "in_progress", "polls": left - 1}
            else:
                self._answer_query(job)
        return _public(job)

    def queries(self) -> list[dict[str, object]]:
        """All data queries as they were last told of, the newest first."""
        return [_public(job) for job in reversed(self._queries.values())]

    def cancel_query(self, key: str) -> dict[str, object] | None:
        """The data query, ended if it runs."""
        job = self._queries.get(key)
        if job is None:
            return None
        if job["queryStatus"] in ("accepted", "in_progress"):
            job["queryStatus"] = "cancelled"
        return _public(job)

    def _answer_query(self, job: dict[str, object]) -> None:
        text = " ".join(
            str(job["query"]).replace("TIMESTAMP '", "'").replace("timestamp '", "'").split()
        )
        try:
            if self._faults.take("job_error", text):
                raise QueryError("QUERY_FAILED", "The query could not be executed")
            query = parse(text, self._tenant, is_export=True, zone=UTC, is_data_query=True)
        except QueryError as error:
            job |= {"queryStatus": "failed", "errorMessage": error.message}
            return
        names = [item.field.name.lower() for item in query.selected]
        rows = list(rows_of(query, self._tenant, run(query, self._tenant)))
        lines = [
            {n: _plain(v, UTC) for n, v in zip(names, row, strict=True) if v is not None}
            for row in rows
        ]
        body = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        file = self._file(body, str(job["compression"]), "query")
        address = f"{job['address']}/v1/files/{file}"
        job |= {"queryStatus": "completed", "dataFile": address, "outputRows": len(rows)}

    # Files

    def _csv(self, query: Query | None, rows: Sequence[Record], style: Style) -> bytes:
        if query is None:
            return b""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        header = [style.header(item.label) for item in query.selected]
        is_plain = not any(item.aggregate for item in query.selected)
        if style.deleted and is_plain:
            header.append(str(style.deleted.get("column") or "Deleted"))
        writer.writerow(header)
        for place, values in enumerate(rows_of(query, self._tenant, rows)):
            cells = [_cell(value, style.zone) for value in values]
            if style.deleted and is_plain:
                is_gone = bool(rows[place].get("Deleted"))
                is_number = str(style.deleted.get("format") or "").lower() == "numeric"
                cells.append(str(int(is_gone)) if is_number else str(is_gone).lower())
            writer.writerow(cells)
        return text.getvalue().encode()

    def _file(self, body: bytes, kind: str, name: str) -> str:
        key = new_id()
        if self._faults.take("cut_file", name):
            body = body[: len(body) * 2 // 3]
        if kind == "GZIP":
            self._files[key] = gzip.compress(body, 6), "application/x-gzip"
        elif kind == "ZIP":
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{name}.csv", body)
            self._files[key] = packed.getvalue(), "application/zip"
        else:
            self._files[key] = body, "text/csv;charset=UTF-8"
        return key

    def file(self, key: str) -> tuple[bytes, str] | None:
        """A file's bytes and type."""
        if self._faults.take("lose_file", key):
            self._files.pop(key, None)
        return self._files.get(key)


@dataclass(frozen=True, slots=True)
class Style:
    """How a file is written."""

    zone: tzinfo
    has_names: bool = False
    deleted: Mapping[str, object] | None = None

    def header(self, label: str) -> str:
        """A column's name: as in the query, or the label that people see."""
        return label if self.has_names else label.replace(".", ": ", 1)


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


def _public(job: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in job.items() if name not in ("polls", "address")}


def _plain(value: object, zone: tzinfo) -> object:
    if isinstance(value, Decimal):
        return float(value)
    return value if isinstance(value, bool | int) else _cell(value, zone)


def _cell(value: object, zone: tzinfo) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if zone is UTC:
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        return value.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S%z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)
