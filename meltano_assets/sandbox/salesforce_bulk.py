"""Bulk API 2.0: ingest and query jobs, their states and their results.

A job is worked on by one background thread, as the vendor's queue does, and its state is told a
few polls late (``org.bulk_polls``), because clients must live with that. Jobs and results lie in
the org's file; a job that was cut off by the end of the process goes on where it stopped.
Belongs here: the life of a job as the API shows it. Reading CSV and saving its records is in
``salesforce_ingest.py``.
"""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from email.parser import BytesParser
from typing import Any

from meltano_assets.sandbox import salesforce_ingest, soql
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.salesforce_http import CSV_TYPE, Call, Reply, not_allowed, not_found
from meltano_assets.sandbox.salesforce_job import (
    DELIMITERS,
    INGEST_OPERATIONS,
    LINE_ENDINGS,
    Job,
    bad_job,
    line_writer,
    locator_of,
    offset_of,
)
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_query import compile_soql, refuse_slow
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem

_log = logging.getLogger(__name__)

QUERY_OPERATIONS = ("query", "queryAll")
RESULT_PART = 2000
DEFAULT_MAX_RECORDS = 50_000
_ENDED = ("JobComplete", "Failed", "Aborted")


class BulkJobs:
    """Everything below ``/jobs``, and the thread that works."""

    def __init__(self, org: SalesforceOrg) -> None:
        self.org = org
        self._jobs: dict[str, Job] = {}
        self._lock = threading.RLock()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        for (text,) in org.reader().execute("SELECT info FROM _job ORDER BY created, id"):
            job = Job(**json.loads(text))
            self._jobs[job.id] = job

    # the thread

    def start(self) -> None:
        """Starts to work, first on what was left over."""
        with self._lock:
            if self._thread is not None:
                return
            self._is_stopping = False
            for job in self._jobs.values():
                if job.state in ("UploadComplete", "InProgress"):
                    self._queue.put(job.id)
            self._thread = threading.Thread(target=self._work, name="salesforce-bulk", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stops after the chunk at hand; the job goes on at the next start."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._is_stopping = True
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _submit(self, job: Job) -> None:
        self.start()
        self._queue.put(job.id)

    def _work(self) -> None:
        while (job_id := self._queue.get()) is not None:
            job = self._jobs.get(job_id)
            if job is None or job.state not in ("UploadComplete", "InProgress"):
                continue
            started = time.monotonic()
            try:
                self._run(job)
            except salesforce_ingest.JobFailed as failure:
                self._end(job, "Failed", str(failure))
            except (sqlite3.Error, RequestProblem) as error:
                _log.warning("bulk job %s failed: %s", job.id, error)
                self._end(job, "Failed", f"InternalServerError : {error}")
            with self._lock:
                job.milliseconds += int((time.monotonic() - started) * 1000)

    def _run(self, job: Job) -> None:
        self._change(job, state="InProgress")
        is_done = self._run_query(job) if job.kind == "query" else self._run_ingest(job)
        if is_done:
            self._end(job, "JobComplete")

    def _should_stop(self, job: Job) -> bool:
        return self._is_stopping or job.state == "Aborted"

    def _run_query(self, job: Job) -> bool:
        compiled = compile_soql(self.org, job.query, include_deleted=job.operation == "queryAll")
        reader = self.org.reader()
        rows = compiled.row_numbers(reader)
        try:
            refuse_slow(self.org, compiled, len(rows))
        except RequestProblem as slow:
            problem = slow.problems[0]
            raise salesforce_ingest.JobFailed(f"{problem.code}: {problem.message}") from slow
        with self.org.writing() as connection:
            connection.execute("DELETE FROM _result WHERE job = ?", (job.id,))
        job.columns = compiled.header
        job.processed = 0
        for number, start in enumerate(range(0, len(rows), RESULT_PART)):
            if self._should_stop(job):
                return False
            lines: list[str] = []
            writer = line_writer(job, lines)
            writer.writerows(compiled.csv_rows(reader, rows[start : start + RESULT_PART]))
            with self.org.writing() as connection:
                connection.execute(
                    "INSERT INTO _result VALUES (?, 'query', ?, ?, ?)",
                    (job.id, number, len(lines), json.dumps(lines)),
                )
            job.processed += len(lines)
        return True

    def _run_ingest(self, job: Job) -> bool:
        body = (
            self.org.reader()
            .execute("SELECT body FROM _upload WHERE job = ?", (job.id,))
            .fetchone()
        )
        upload = salesforce_ingest.Upload(
            self.org,
            body[0] if body else b"",
            job.object_name,
            job.operation,
            job.external_id,
            DELIMITERS[job.delimiter],
            job.line_ending,
        )
        job.columns = upload.header
        subject = f"{job.object_name} {job.operation}"
        fault = self.org.faults.take("fail_bulk_job", subject)
        limit = int(fault.number("after", 0)) if fault else None
        for rows in upload.chunks(skip=job.processed, limit=limit):
            if self._should_stop(job):
                return False
            with self.org.writing() as connection:
                good, bad = upload.save(connection, rows)
                for part, lines in (("successful", good), ("failed", bad)):
                    if lines:
                        self._keep_lines(connection, job, part, lines)
                job.processed += len(rows)
                job.failed += len(bad)
                self._store(connection, job)
        if limit is not None:
            raise salesforce_ingest.JobFailed(
                "InternalServerError : Processing of the job's data was ended by the server"
            )
        return True

    def _keep_lines(
        self, connection: sqlite3.Connection, job: Job, part: str, rows: list[list[str]]
    ) -> None:
        lines: list[str] = []
        line_writer(job, lines).writerows(rows)
        connection.execute(
            "INSERT INTO _result VALUES (?, ?, ?, ?, ?)",
            (job.id, part, job.processed, len(lines), "".join(lines)),
        )

    # storing

    def _store(self, connection: sqlite3.Connection, job: Job) -> None:
        job.modified = self.org.stamp()
        connection.execute(
            "INSERT OR REPLACE INTO _job VALUES (?, ?, ?, ?)",
            (job.id, job.kind, job.created, json.dumps(asdict(job))),
        )

    def _change(self, job: Job, *, state: str) -> None:
        with self._lock:
            if job.state in _ENDED:
                return
            job.state = state
            with self.org.writing() as connection:
                self._store(connection, job)

    def _end(self, job: Job, state: str, error: str = "") -> None:
        job.error = error
        self._change(job, state=state)

    # the resource

    def handle(self, call: Call, rest: list[str]) -> Reply:
        """``/jobs/ingest…`` and ``/jobs/query…``."""
        kind = rest[0].lower() if rest else ""
        if kind not in ("ingest", "query"):
            raise not_found()
        if len(rest) == 1:
            if call.method == "POST":
                return self._create_ingest(call) if kind == "ingest" else self._create_query(call)
            if call.method == "GET":
                records = [job.details() for job in list(self._jobs.values()) if job.kind == kind]
                return Reply(200, {"done": True, "records": records, "nextRecordsUrl": None})
            raise not_allowed(call.method, "GET", "POST")
        job = self._jobs.get(rest[1]) or self._by_short_id(rest[1])
        if job is None or job.kind != kind:
            raise RequestProblem(
                404, ApiProblem("NOT_FOUND", "The requested resource does not exist")
            )
        if job.version != call.version:
            raise bad_job(
                "INVALIDJOB",
                f"The job was created with API version {job.version}; requests for it must use "
                "the same version",
                409,
            )
        if len(rest) == 2:
            return self._job(call, job)
        if len(rest) > 3:
            raise not_found()
        word = rest[2].lower()
        if kind == "query" and word == "results":
            return self._query_results(call, job)
        if kind == "ingest" and word == "batches":
            return self._upload(call, job)
        parts: dict[str, Callable[[Job], Reply]] = {
            "successfulresults": lambda job: self._ingest_results(job, "successful"),
            "failedresults": lambda job: self._ingest_results(job, "failed"),
            "unprocessedrecords": self._unprocessed,
        }
        if kind == "ingest" and word in parts:
            if call.method != "GET":
                raise not_allowed(call.method, "GET")
            return parts[word](job)
        raise not_found()

    def _by_short_id(self, text: str) -> Job | None:
        return next(
            (j for j in list(self._jobs.values()) if len(text) == 15 and j.id[:15] == text), None
        )

    def _new_job(self, call: Call, kind: str, body: dict[str, object], **known: Any) -> Job:
        delimiter = str(body.get("columnDelimiter") or "COMMA").upper()
        line_ending = str(body.get("lineEnding") or "LF").upper()
        if delimiter not in DELIMITERS:
            raise bad_job("INVALIDJOB", f"InvalidJob : columnDelimiter is invalid: {delimiter}")
        if line_ending not in LINE_ENDINGS:
            raise bad_job("INVALIDJOB", f"InvalidJob : lineEnding is invalid: {line_ending}")
        if str(body.get("contentType") or "CSV").upper() != "CSV":
            raise bad_job("INVALIDJOB", "InvalidJob : Only CSV is supported as contentType")
        stamp = self.org.stamp()
        with self.org.writing() as connection:
            job = Job(
                id=self.org.new_ids(connection, "750", 1)[0],
                kind=kind,
                version=call.version,
                created=stamp,
                modified=stamp,
                created_by=self.org.user_id,
                delimiter=delimiter,
                line_ending=line_ending,
                polls=self.org.bulk_polls,
                **known,
            )
            slow = self.org.faults.take("slow_bulk_job", f"{job.object_name} {job.operation}")
            if slow:
                job.polls += int(slow.number("polls", 3))
            self._store(connection, job)
        with self._lock:
            self._jobs[job.id] = job
        return job

    def _create_ingest(self, call: Call) -> Reply:
        content: bytes | None = None
        if call.headers.get("content-type", "").startswith("multipart/form-data"):
            call.body, content = _multipart(call)
        body = call.json()
        operation = str(body.get("operation", ""))
        if operation not in INGEST_OPERATIONS:
            raise bad_job("INVALIDJOB", f"InvalidJob : Invalid operation: {operation}")
        name = str(body.get("object") or "")
        sobject = self.org.user_schema.find(name)
        if sobject is None or not sobject.is_writable:
            raise bad_job("INVALIDJOB", f"InvalidJob : Unable to find object: {name}")
        external_id = str(body.get("externalIdFieldName") or "")
        if operation == "upsert":
            found = sobject.find(external_id) if external_id else None
            if not external_id:
                raise bad_job(
                    "INVALIDJOB", "InvalidJob : External ID was blank for upsert operation"
                )
            if found is None or not (found.external_id or found.id_lookup or found.kind == "id"):
                raise bad_job(
                    "INVALIDJOB",
                    f"InvalidJob : Field name provided, {external_id} does not match an External "
                    f"ID, Salesforce Id, or indexed field for {sobject.name}",
                )
            external_id = found.name
        elif external_id:
            raise bad_job(
                "INVALIDJOB", "InvalidJob : externalIdFieldName is only allowed with upsert"
            )
        job = self._new_job(
            call,
            "ingest",
            body,
            operation=operation,
            object_name=sobject.name,
            state="Open",
            external_id=external_id,
        )
        if content is not None:
            self._keep_upload(job, content)
            self._change(job, state="UploadComplete")
            self._submit(job)
        return Reply(200, job.info())

    def _create_query(self, call: Call) -> Reply:
        body = call.json()
        operation = str(body.get("operation", ""))
        if operation not in QUERY_OPERATIONS:
            raise bad_job("INVALIDJOB", f"InvalidJob : Invalid operation: {operation}")
        text = str(body.get("query") or "")
        if not text.strip():
            raise bad_job("MALFORMED_QUERY", "SOQL statements cannot be empty or null")
        compiled = compile_soql(self.org, text, include_deleted=operation == "queryAll")
        if compiled.is_count or compiled.aggregates is not None:
            raise bad_job("FEATURENOTENABLED", "Aggregate queries are not supported in Bulk Query")
        if "base64" in compiled.csv_kinds:
            raise bad_job("FEATURENOTENABLED", "Binary fields are not supported in Bulk Query")
        if compiled.has_compound:
            raise bad_job(
                "FEATURENOTENABLED", "Selecting compound data not supported in Bulk Query"
            )
        if compiled.has_type_of:
            raise bad_job("FEATURENOTENABLED", "TYPEOF is not supported in Bulk Query")
        if soql.parse(text).offset is not None:
            raise bad_job("FEATURENOTENABLED", "OFFSET is not supported in Bulk Query")
        if compiled.children:
            raise bad_job("FEATURENOTENABLED", "Nested queries are not supported in Bulk Query")
        job = self._new_job(
            call,
            "query",
            body,
            operation=operation,
            object_name=compiled.sobject.name,
            state="UploadComplete",
            query=text,
        )
        self._submit(job)
        return Reply(200, {**job.info(), "state": "UploadComplete"})

    def _job(self, call: Call, job: Job) -> Reply:
        if call.method == "GET":
            with self._lock:
                answer = job.details()
                if job.polls > 0 and job.state not in ("Open", "UploadComplete"):
                    job.polls -= 1
            return Reply(200, answer)
        if call.method == "PATCH":
            return self._patch(call, job)
        if call.method == "DELETE":
            if job.state in ("Open", "InProgress"):
                raise bad_job("INVALIDJOBSTATE", f"Job in state {job.state} cannot be deleted")
            with self.org.writing() as connection:
                for table in ("_result", "_upload"):
                    connection.execute(f"DELETE FROM {table} WHERE job = ?", (job.id,))
                connection.execute("DELETE FROM _job WHERE id = ?", (job.id,))
            with self._lock:
                self._jobs.pop(job.id, None)
            return Reply(204)
        raise not_allowed(call.method, "DELETE", "GET", "PATCH")

    def _patch(self, call: Call, job: Job) -> Reply:
        state = call.json().get("state")
        if state == "Aborted":
            if job.state in ("JobComplete", "Failed"):
                raise bad_job("INVALIDJOBSTATE", "Aborting already Completed Job not allowed")
            self._change(job, state="Aborted")
            return Reply(200, job.info())
        if state != "UploadComplete" or job.kind == "query":
            raise bad_job(
                "INVALIDJOBSTATE", f"InvalidJobState : Invalid state transition to {state}"
            )
        if job.state != "Open":
            raise bad_job("INVALIDJOBSTATE", f"Closing already {job.state} Job not allowed")
        if not job.is_uploaded:
            raise bad_job(
                "INVALIDJOBSTATE", "Closing the job is not allowed: no data has been uploaded"
            )
        self._change(job, state="UploadComplete")
        answer = job.info()
        self._submit(job)
        return Reply(200, answer)

    def _upload(self, call: Call, job: Job) -> Reply:
        if call.method != "PUT":
            raise not_allowed(call.method, "PUT")
        if job.state != "Open":
            raise bad_job(
                "INVALIDJOBSTATE", f"Adding data to a job in state {job.state} not allowed"
            )
        if job.is_uploaded:
            raise bad_job("INVALIDJOBSTATE", "Job data has already been uploaded for this job")
        if not call.headers.get("content-type", "").lower().startswith("text/csv"):
            raise RequestProblem(
                415, ApiProblem("UNSUPPORTED_MEDIA_TYPE", "Only text/csv is supported")
            )
        self._keep_upload(job, call.body)
        return Reply(201)

    def _keep_upload(self, job: Job, content: bytes) -> None:
        with self.org.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO _upload VALUES (?, ?)", (job.id, content))
            job.is_uploaded = True
            self._store(connection, job)

    # results

    def _query_results(self, call: Call, job: Job) -> Reply:
        if call.method != "GET":
            raise not_allowed(call.method, "GET")
        if job.shown_state != "JobComplete":
            raise bad_job(
                "INVALIDJOBSTATE",
                f"Results are not available: the job is in state {job.shown_state}",
            )
        if self.org.faults.take("lose_results", f"{call.method} {call.path}"):
            raise not_found()
        text = call.params.get("maxRecords")
        if text is not None and (not is_number(text) or int(text) < 1):
            raise bad_job("INVALID_ARGUMENT", f"maxRecords must be a positive number: {text}")
        limit = int(text) if text else DEFAULT_MAX_RECORDS
        start = offset_of(call.params.get("locator"), job.processed)
        if self.org.faults.take("repeat_page", f"{call.method} {call.path}"):
            end, following = min(start + limit, job.processed), locator_of(start)
        else:
            end = min(start + limit, job.processed)
            following = locator_of(end) if end < job.processed else "null"
        lines: list[str] = []
        line_writer(job, lines).writerow(job.columns or [])
        rows = self.org.reader().execute(
            "SELECT number, body FROM _result WHERE job = ? AND part = 'query' "
            "AND number >= ? AND number * ? < ? ORDER BY number",
            (job.id, start // RESULT_PART, RESULT_PART, end),
        )
        for number, body in rows:
            first = number * RESULT_PART
            found = json.loads(body)
            lines += found[max(0, start - first) : max(0, end - first)]
        if self.org.faults.take("cut_results", f"{call.method} {call.path}"):
            del lines[1 + len(lines) // 2 :]
        return Reply(
            200,
            "".join(lines),
            {"Sforce-Locator": following, "Sforce-NumberOfRecords": str(end - start)},
            CSV_TYPE,
        )

    def _check_ended(self, job: Job) -> None:
        if job.shown_state not in _ENDED:
            raise bad_job(
                "INVALIDJOBSTATE",
                f"Results are not available: the job is in state {job.shown_state}",
            )

    def _ingest_results(self, job: Job, part: str) -> Reply:
        self._check_ended(job)
        second = "sf__Created" if part == "successful" else "sf__Error"
        lines: list[str] = []
        line_writer(job, lines).writerow(["sf__Id", second, *(job.columns or [])])
        rows = self.org.reader().execute(
            "SELECT body FROM _result WHERE job = ? AND part = ? ORDER BY number", (job.id, part)
        )
        lines += [body for (body,) in rows]
        return Reply(200, "".join(lines), content_type=CSV_TYPE)

    def _unprocessed(self, job: Job) -> Reply:
        self._check_ended(job)
        body = (
            self.org.reader()
            .execute("SELECT body FROM _upload WHERE job = ?", (job.id,))
            .fetchone()
        )
        lines: list[str] = []
        if body:
            records = salesforce_ingest.raw_rows(body[0], DELIMITERS[job.delimiter])
            writer = line_writer(job, lines)
            try:
                for number, row in enumerate(records):
                    if number == 0 or number > job.processed:
                        writer.writerow(row)
            except salesforce_ingest.JobFailed:
                # What could not be read as CSV goes back as it came.
                return Reply(200, bytes(body[0]), content_type=CSV_TYPE)
        return Reply(200, "".join(lines), content_type=CSV_TYPE)


def _multipart(call: Call) -> tuple[bytes, bytes]:
    """The parts ``job`` and ``content`` of a multipart request."""
    header = f"Content-Type: {call.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(header + call.body)
    found: dict[str, bytes] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            found[name] = payload
    if "job" not in found or "content" not in found:
        raise bad_job(
            "INVALIDJOB", "InvalidJob : A multipart request needs the parts job and content"
        )
    return found["job"], found["content"]
