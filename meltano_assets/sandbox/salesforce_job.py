"""One bulk job: what is known of it, how the API shows it, and the form of its files."""

from __future__ import annotations

import base64
import csv
from dataclasses import dataclass
from typing import Any

from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem

DELIMITERS = {
    "BACKQUOTE": "`",
    "CARET": "^",
    "COMMA": ",",
    "PIPE": "|",
    "SEMICOLON": ";",
    "TAB": "\t",
}
INGEST_OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}


@dataclass(slots=True)
class Job:
    """One bulk job; ``state`` is the true one, ``polls`` how long it is still hidden."""

    id: str
    kind: str
    operation: str
    object_name: str
    version: str
    state: str
    created: str
    modified: str
    created_by: str
    delimiter: str = "COMMA"
    line_ending: str = "LF"
    external_id: str = ""
    query: str = ""
    is_uploaded: bool = False
    columns: list[str] | None = None
    processed: int = 0
    failed: int = 0
    error: str = ""
    milliseconds: int = 0
    polls: int = 0

    @property
    def shown_state(self) -> str:
        """The state that a client sees."""
        if self.polls > 0 and self.state in ("InProgress", "JobComplete", "Failed"):
            return "InProgress"
        return self.state

    def info(self) -> dict[str, object]:
        """The job as the API shows it."""
        answer: dict[str, object] = {
            "id": self.id,
            "operation": self.operation,
            "object": self.object_name,
            "createdById": self.created_by,
            "createdDate": self.created,
            "systemModstamp": self.modified,
            "state": self.shown_state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version),
            "lineEnding": self.line_ending,
            "columnDelimiter": self.delimiter,
        }
        if self.external_id:
            answer["externalIdFieldName"] = self.external_id
        if self.kind == "ingest" and self.state == "Open":
            answer["contentUrl"] = f"services/data/v{self.version}/jobs/ingest/{self.id}/batches"
        return answer

    def details(self) -> dict[str, object]:
        """The job with its counters."""
        answer = self.info()
        answer |= {
            "jobType": "V2Ingest" if self.kind == "ingest" else "V2Query",
            "numberRecordsProcessed": self.processed,
            "retries": 0,
            "totalProcessingTime": self.milliseconds,
        }
        if self.kind == "ingest":
            answer |= {
                "numberRecordsFailed": self.failed,
                "apiActiveProcessingTime": self.milliseconds,
                "apexProcessingTime": 0,
            }
        else:
            answer["isPkChunkingSupported"] = True
        if self.error and self.shown_state == "Failed":
            answer["errorMessage"] = self.error
        return answer


def bad_job(code: str, message: str, status: int = 400) -> RequestProblem:
    """A refusal of the whole request."""
    return RequestProblem(status, ApiProblem(code, message))


class _Lines:
    """Collects what a CSV writer writes, one string per record."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def line_writer(job: Job, lines: list[str]) -> Any:
    """A CSV writer that appends one string per record, in the form the job asked for."""
    return csv.writer(
        _Lines(lines),
        delimiter=DELIMITERS[job.delimiter],
        lineterminator=LINE_ENDINGS[job.line_ending],
        quoting=csv.QUOTE_ALL,
    )


def locator_of(offset: int) -> str:
    """The opaque name of a place in a query job's results."""
    return base64.urlsafe_b64encode(str(offset).encode()).decode().rstrip("=")


def offset_of(locator: str | None, size: int) -> int:
    """The place that a locator names; none is the beginning."""
    if not locator:
        return 0
    try:
        text = base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)).decode()
        offset = int(text)
    except ValueError:
        offset = -1
    if offset < 0 or (offset >= size and offset > 0):
        raise bad_job("INVALID_QUERY_LOCATOR", f"Invalid locator: {locator}")
    return offset
