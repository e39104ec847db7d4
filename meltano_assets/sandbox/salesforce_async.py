"""The first Bulk API (``/services/async``): jobs made of batches, for clients that still use it.

Written from the vendor's "Bulk API" guide. Each batch is worked on when it arrives and told a few
polls late; a query with PK chunking becomes a batch for each chunk of ids. Jobs live in memory: they end with the process. Content types CSV and JSON; answers
about jobs come in the request's own type, about batches in the job's (XML for CSV jobs).
"""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from xml.sax.saxutils import escape

from meltano_assets.sandbox import soql
from meltano_assets.sandbox.salesforce_drafts import Draft, draft_from_json
from meltano_assets.sandbox.salesforce_http import CSV_TYPE, Call, Reply
from meltano_assets.sandbox.salesforce_ingest import JobFailed, Upload
from meltano_assets.sandbox.salesforce_job import INGEST_OPERATIONS
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_query import compile_tree, parse_soql, refuse_slow
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem
from meltano_assets.sandbox.salesforce_writes import Outcome, Writer
from meltano_assets.sandbox.soql_records import Compiled

MAX_BATCH_RECORDS = 10_000
#: Ids that a chunk of a query spans, unless the client says otherwise.
CHUNK = 100_000
MAX_CHUNK = 250_000
_NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"
_XML = "application/xml"
#: Without a charset, unlike the other interfaces: clients look whether it is just this.
_JSON = "application/json"
_TYPES = {"CSV": CSV_TYPE, "JSON": _JSON}
_PAGE = 2000
#: Stands in the place of a CSV without rows.
_NO_RECORDS = "Records not found for this query"


class AsyncProblem(Exception):
    """An error of the whole request, in this API's own codes."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(slots=True)
class _Batch:
    id: str
    job: str
    created: str
    state: str = "Completed"
    message: str = ""
    processed: int = 0
    failed: int = 0
    result_id: str = ""
    result: object = None
    polls: int = 0
    request: bytes = b""

    def info(self) -> dict[str, object]:
        state = "InProgress" if self.polls > 0 else self.state
        answer: dict[str, object] = {
            "id": self.id,
            "jobId": self.job,
            "state": state,
            "createdDate": self.created,
            "systemModstamp": self.created,
            "numberRecordsProcessed": self.processed if state == "Completed" else 0,
            "numberRecordsFailed": self.failed if state == "Completed" else 0,
            "totalProcessingTime": 1,
            "apiActiveProcessingTime": 1,
            "apexProcessingTime": 0,
        }
        if self.message and state == "Failed":
            answer["stateMessage"] = self.message
        return answer


@dataclass(slots=True)
class _Job:
    id: str
    operation: str
    object_name: str
    content_type: str
    external_id: str
    created: str
    created_by: str
    version: str
    chunk_size: int = 0
    """Records a batch is cut into by their ids; 0 leaves it whole."""
    state: str = "Open"
    batches: list[_Batch] = field(default_factory=list)

    @property
    def is_query(self) -> bool:
        return self.operation in ("query", "queryAll")

    def info(self) -> dict[str, object]:
        done = [batch for batch in self.batches if batch.polls == 0]
        answer: dict[str, object] = {
            "id": self.id,
            "operation": self.operation,
            "object": self.object_name,
            "createdById": self.created_by,
            "createdDate": self.created,
            "systemModstamp": self.created,
            "state": self.state,
        }
        if self.external_id:
            answer["externalIdFieldName"] = self.external_id
        return answer | {
            "concurrencyMode": "Parallel",
            "contentType": self.content_type,
            "numberBatchesQueued": 0,
            "numberBatchesInProgress": len(self.batches) - len(done),
            "numberBatchesCompleted": sum(batch.state == "Completed" for batch in done),
            "numberBatchesFailed": sum(batch.state == "Failed" for batch in done),
            "numberBatchesTotal": len(self.batches),
            "numberRecordsProcessed": sum(batch.processed for batch in done),
            "numberRetries": 0,
            "apiVersion": float(self.version),
            "numberRecordsFailed": sum(batch.failed for batch in done),
            "totalProcessingTime": 1,
            "apiActiveProcessingTime": 1,
            "apexProcessingTime": 0,
        }


class AsyncApi:
    """Everything below ``/services/async/XX.X``."""

    def __init__(self, org: SalesforceOrg) -> None:
        self.org = org
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.RLock()

    def dispatch(self, call: Call) -> Reply:
        """The answer to a call; errors of the request are answers too."""
        try:
            return self._route(call)
        except AsyncProblem as problem:
            body = {"exceptionCode": problem.code, "exceptionMessage": str(problem)}
            return _reply(problem.status, "error", body, as_json=_is_json(call))
        except RequestProblem as refusal:
            code = "InvalidBatch"
            body = {"exceptionCode": code, "exceptionMessage": str(refusal)}
            return _reply(400, "error", body, as_json=_is_json(call))

    def _route(self, call: Call) -> Reply:
        session = call.headers.get("x-sfdc-session", "")
        if self.org.session_user(session) is None:
            raise AsyncProblem("InvalidSessionId", "Invalid session id", 401)
        parts = call.segments
        if not parts or parts[0] != "job":
            raise AsyncProblem("InvalidUrl", "Destination URL not found", 404)
        with self._lock:
            if len(parts) == 1:
                return self._create(call)
            job = self._jobs.get(parts[1])
            if job is None:
                raise AsyncProblem("InvalidJob", f"Unable to find job id: {parts[1]}")
            if len(parts) == 2:
                return self._job(call, job)
            if parts[2] != "batch":
                raise AsyncProblem("InvalidUrl", "Destination URL not found", 404)
            as_json = job.content_type == "JSON"
            if len(parts) == 3:
                if call.method == "POST":
                    batch = self._add_batch(call, job)
                    return _reply(201, "batchInfo", batch.info(), as_json=as_json)
                infos = [batch.info() for batch in job.batches]
                _asked(job.batches)
                return _reply(200, "batchInfoList", {"batchInfo": infos}, as_json=as_json)
            batch = self._find_batch(job, parts[3])
            if len(parts) == 4:
                answer = _reply(200, "batchInfo", batch.info(), as_json=as_json)
                _asked([batch])
                return answer
            if parts[4:] == ["request"]:
                return Reply(200, batch.request, content_type=_TYPES[job.content_type])
            if parts[4] != "result":
                raise AsyncProblem("InvalidUrl", "Destination URL not found", 404)
            return self._result(job, batch, parts[5:])

    def _find_batch(self, job: _Job, name: str) -> _Batch:
        for batch in job.batches:
            if batch.id == name:
                return batch
        raise AsyncProblem("InvalidBatch", f"Unable to find batch id: {name}")

    def _create(self, call: Call) -> Reply:
        body = _fields(call)
        operation, name = body.get("operation", ""), body.get("object", "")
        content_type = body.get("contentType", "XML").upper()
        if operation not in (*INGEST_OPERATIONS, "query", "queryAll"):
            raise AsyncProblem("InvalidJob", f"Unknown operation: {operation}")
        if content_type not in ("CSV", "JSON"):
            raise AsyncProblem("InvalidJob", f"Unsupported content type: {content_type}")
        sobject = self.org.user_schema.find(name)
        if sobject is None:
            raise AsyncProblem("InvalidJob", f"Unable to find object: {name}")
        external = body.get("externalIdFieldName", "")
        if operation == "upsert" and sobject.find(external) is None:
            raise AsyncProblem("InvalidJob", "External ID was blank for upsert operation")
        with self.org.writing() as connection:
            job_id = self.org.new_ids(connection, "750", 1)[0]
        stamp = _zulu(self.org.stamp())
        job = _Job(
            job_id,
            operation,
            sobject.name,
            content_type,
            external,
            stamp,
            self.org.user_id,
            call.version,
            _chunk_size(call) if operation in ("query", "queryAll") else 0,
        )
        self._jobs[job.id] = job
        return _reply(201, "jobInfo", job.info(), as_json=_is_json(call))

    def _job(self, call: Call, job: _Job) -> Reply:
        if call.method == "POST":
            state = _fields(call).get("state")
            if state not in ("Closed", "Aborted"):
                raise AsyncProblem("InvalidJobState", f"Invalid job state: {state}")
            if job.state != "Open":
                raise AsyncProblem("InvalidJobState", f"The job is already {job.state}")
            job.state = state
        answer = _reply(200, "jobInfo", job.info(), as_json=_is_json(call))
        if call.method != "POST":
            _asked(job.batches)
        return answer

    def _add_batch(self, call: Call, job: _Job) -> _Batch:
        if job.state != "Open":
            raise AsyncProblem("InvalidJobState", f"The job is already {job.state}")
        first = self._new_batch(job, call.body)
        with _failing(first):
            if job.is_query:
                self._query_batches(call, job, first)
            else:
                self._save(call, job, first)
        return first

    def _new_batch(self, job: _Job, request: bytes) -> _Batch:
        with self.org.writing() as connection:
            batch_id, result_id = (
                self.org.new_ids(connection, prefix, 1)[0] for prefix in ("751", "752")
            )
        batch = _Batch(
            batch_id,
            job.id,
            _zulu(self.org.stamp()),
            result_id=result_id,
            polls=self.org.bulk_polls,
            request=request,
        )
        job.batches.append(batch)
        return batch

    def _query_batches(self, call: Call, job: _Job, first: _Batch) -> None:
        """Answers a query: by its batch, or by one for each chunk of ids."""
        query = parse_soql(call.text().strip())
        whole = self._compiled(job, query)
        if not job.chunk_size:
            self._query(call, job, first, whole)
            return
        if query.order_by or query.limit is not None or query.offset is not None:
            raise JobFailed(
                "InvalidBatch : Failed to process query: PK chunking takes no ORDER BY, LIMIT or "
                "OFFSET"
            )
        reader = self.org.reader()
        found = reader.execute(f'SELECT "Id" FROM "{whole.sobject.name}" ORDER BY "Id"')
        starts = [str(row[0]) for row in found][:: job.chunk_size]
        # The batch that was sent is only the pattern of the others.
        first.state, first.polls = "NotProcessed", 0
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            chunk = soql.parse(query.text)
            bounds = [_compared(">=", start), *([_compared("<", end)] if end else [])]
            given = [query.where] if query.where is not None else []
            chunk.where = soql.Junction("AND", (*given, *bounds))
            batch = self._new_batch(job, call.body)
            with _failing(batch):
                self._query(call, job, batch, self._compiled(job, chunk))

    def _compiled(self, job: _Job, query: soql.Query) -> Compiled:
        compiled = compile_tree(self.org, query, include_deleted=job.operation == "queryAll")
        if compiled.sobject.name != job.object_name:
            raise JobFailed(
                f"InvalidBatch : Failed to process query: the job is for {job.object_name}"
            )
        if compiled.aggregates is not None or compiled.is_count or compiled.children:
            raise JobFailed(
                "InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED: "
                "Aggregate and nested queries are not supported in Bulk Query"
            )
        if "base64" in compiled.csv_kinds:
            raise JobFailed(
                "InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED: "
                "Binary fields are not supported in Bulk Query"
            )
        if compiled.has_compound or compiled.has_type_of:
            raise JobFailed(
                "InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED: "
                "Selecting compound data not supported in Bulk Query"
            )
        return compiled

    def _query(self, call: Call, job: _Job, batch: _Batch, compiled: Compiled) -> None:
        reader = self.org.reader()
        rows = compiled.row_numbers(reader)
        try:
            refuse_slow(self.org, compiled, len(rows))
        except RequestProblem as refusal:
            problem = refusal.problems[0]
            raise JobFailed(
                f"InvalidBatch : Failed to process query: {problem.code}: {problem.message}"
            ) from refusal
        pages = [rows[start : start + _PAGE] for start in range(0, len(rows), _PAGE)]
        batch.processed = len(rows)
        if job.content_type == "JSON":
            batch.result = [
                record for page in pages for record in compiled.page(reader, page, call.version)
            ]
            return
        if not rows:
            batch.result = _NO_RECORDS
            return
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(compiled.header)
        for page in pages:
            writer.writerows(compiled.csv_rows(reader, page))
        batch.result = out.getvalue()

    def _save(self, call: Call, job: _Job, batch: _Batch) -> None:
        if job.content_type == "JSON":
            outcomes = self._save_json(call, job)
            batch.result = [_json_outcome(outcome) for outcome in outcomes]
        else:
            outcomes = self._save_csv(call, job)
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writer.writerow(["Id", "Success", "Created", "Error"])
            for outcome in outcomes:
                error = outcome.problems[0].for_bulk() if outcome.problems else ""
                row = (outcome.record_id or "", outcome.success, outcome.created, error)
                writer.writerow([str(c).lower() if isinstance(c, bool) else c for c in row])
            batch.result = out.getvalue()
        batch.processed = len(outcomes)
        batch.failed = sum(bool(outcome.problems) for outcome in outcomes)

    def _save_csv(self, call: Call, job: _Job) -> list[Outcome]:
        # This API takes either line ending, and tells results in the order of the rows.
        end = call.body.find(b"\n")
        line_ending = "CRLF" if end > 0 and call.body[end - 1 : end] == b"\r" else "LF"
        upload = Upload(
            self.org, call.body, job.object_name, job.operation, job.external_id, ",", line_ending
        )
        outcomes: list[Outcome] = []
        for rows in upload.chunks(skip=0, limit=MAX_BATCH_RECORDS):
            with self.org.writing() as connection:
                outcomes += upload.save_drafts(connection, rows)[1]
        return outcomes

    def _save_json(self, call: Call, job: _Job) -> list[Outcome]:
        try:
            records = json.loads(call.text())
        except ValueError as error:
            raise JobFailed(f"InvalidBatch : Unable to parse JSON: {error}") from error
        if not isinstance(records, list) or len(records) > MAX_BATCH_RECORDS:
            raise JobFailed(
                f"InvalidBatch : A list of at most {MAX_BATCH_RECORDS} records is expected"
            )
        schema = self.org.user_schema
        sobject = schema.find(job.object_name)
        if sobject is None:
            raise JobFailed(f"InvalidJob : Unable to find object: {job.object_name}")
        external = sobject.find(job.external_id) if job.external_id else None
        drafts = []
        for record in records:
            try:
                known = record if isinstance(record, Mapping) else {}
                drafts.append(draft_from_json(schema, sobject, known, external=external))
            except RequestProblem as refusal:
                # Here the parser refuses the record alone.
                problem = refusal.problems[0]
                text = f"Unexpected JsonMappingException: {problem.message}"
                drafts.append(Draft(problems=[ApiProblem(problem.code, text)]))
        with self.org.writing() as connection:
            writer = Writer(self.org, connection, sobject)
            return writer.save(job.operation, drafts, external)  # type: ignore[arg-type]

    def _result(self, job: _Job, batch: _Batch, rest: Sequence[str]) -> Reply:
        if batch.polls > 0 or batch.state != "Completed":
            raise AsyncProblem("InvalidBatch", "Batch not completed")
        as_json = job.content_type == "JSON"
        if job.is_query and not rest:
            if as_json:
                return Reply(200, [batch.result_id], content_type=_JSON)
            return _reply(200, "result-list", {"result": batch.result_id}, as_json=False)
        if job.is_query and rest[0] != batch.result_id:
            raise AsyncProblem("InvalidBatch", f"Unable to find result id: {rest[0]}")
        return Reply(200, batch.result, content_type=_TYPES[job.content_type])


@contextmanager
def _failing(batch: _Batch) -> Iterator[None]:
    """What refuses the whole batch becomes its state."""
    try:
        yield
    except (JobFailed, RequestProblem) as error:
        text = str(error)
        is_known = text.startswith(("InvalidBatch", "ClientInputError"))
        batch.state, batch.message = "Failed", text if is_known else f"InvalidBatch : {text}"


def _asked(batches: Iterable[_Batch]) -> None:
    """Each time a client asks, batches come nearer to their end."""
    for batch in batches:
        batch.polls = max(0, batch.polls - 1)


def _chunk_size(call: Call) -> int:
    """How many ids a chunk spans, by the header of PK chunking; 0 without it."""
    header = call.headers.get("sforce-enable-pkchunking", "").lower().replace(" ", "")
    if not header or header.startswith("false"):
        return 0
    match = re.search(r"chunksize=(\d{1,9})", header)
    return min(max(int(match[1]), 1), MAX_CHUNK) if match else CHUNK


def _compared(operator: str, record_id: str) -> soql.Comparison:
    return soql.Comparison(soql.Path(("Id",), 0), operator, soql.Value("string", record_id, 0))


def _zulu(stamp: str) -> str:
    return stamp[:-5] + "Z"


def _is_json(call: Call) -> bool:
    return "json" in call.headers.get("content-type", "") + call.headers.get("accept", "")


def _fields(call: Call) -> dict[str, str]:
    """The top-level elements of a JSON or XML body."""
    if _is_json(call):
        return {k: str(v) for k, v in call.json().items() if v is not None}
    pairs = re.findall(r"<(?:\w+:)?(\w+)>([^<]*)</(?:\w+:)?\w+>", call.text())
    return {name: unescape(value) for name, value in pairs}


def _reply(status: int, name: str, content: Mapping[str, object], *, as_json: bool) -> Reply:
    if as_json:
        return Reply(status, dict(content), content_type=_JSON)
    body = "".join(_elements(content.items()))
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{_NAMESPACE}">{body}</{name}>'
    return Reply(status, text, content_type=_XML)


def _elements(pairs: Iterable[tuple[str, object]]) -> Iterable[str]:
    for name, value in pairs:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield f"<{name}>{''.join(_elements(item.items()))}</{name}>"
            else:
                text = str(item).lower() if isinstance(item, bool) else str(item)
                yield f"<{name}>{escape(text)}</{name}>"


def _json_outcome(outcome: Outcome) -> dict[str, object]:
    return {
        "success": outcome.success,
        "created": outcome.created,
        "id": outcome.record_id,
        "errors": [
            {**problem.for_collection(), "extendedErrorDetails": None}
            for problem in outcome.problems
        ],
    }
