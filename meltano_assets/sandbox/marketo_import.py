"""Marketo's bulk import of leads: a file becomes a batch, whose outcome is asked for later.

A batch is carried out when it is first asked for after it was queued, so that a client sees it wait.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP

from starlette.datastructures import Headers
from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_leads import LeadWriter
from meltano_assets.sandbox.marketo_wire import MarketoError, envelope
from meltano_assets.sandbox.numbers import is_number

_DELIMITERS = {"csv": ",", "tsv": "\t", "ssv": ";"}
_BIGGEST = 10 << 20
_AT_ONCE = 10


@dataclass(slots=True)
class _Batch:
    number: int
    header: list[str]
    rows: list[list[str]]
    writer: LeadWriter
    list_id: int | None
    status: str = "Queued"
    done: int = 0
    failures: list[list[str]] = field(default_factory=list)

    def rendered(self) -> Record:
        told: Record = {
            "batchId": self.number,
            "importId": str(self.number),
            "status": self.status,
        }
        if self.status == "Complete":
            failed = len(self.failures)
            words = "with errors" if failed else "successfully"
            told |= {
                "numOfLeadsProcessed": self.done,
                "numOfRowsFailed": failed,
                "numOfRowsWithWarning": 0,
                "message": f"Import completed {words}, {self.done} records imported "
                f"({self.done if self.list_id else 0} members), {failed} failed",
            }
        return told


class BulkImport:
    """All imports of the subscription."""

    def __init__(self, desk: Callable[[], Desk], described: Callable[[], list[Record]]) -> None:
        self._desk = desk
        self._described = described
        self._batches: dict[int, _Batch] = {}

    def answer(
        self, method: str, path: str, query: Mapping[str, str], body: object, headers: Headers
    ) -> Response | None:
        """Answers a request below ``/bulk/v1/``; None where it is no import."""
        match method, *path.split("/"):
            case "POST", "leads":
                return self._begin(query, body, headers)
            case "GET", "leads", "batch", number:
                return envelope({"result": [self._asked(number).rendered()]})
            case "GET", "leads", "batch", number, "failures" | "warnings" as kind:
                batch = self._asked(number)
                return _file(batch, batch.failures if kind == "failures" else [])
        return None

    def _begin(self, query: Mapping[str, str], body: object, headers: Headers) -> Response:
        fields = _form(headers.get("content-type", ""), body)
        kind = (query.get("format") or fields.get("format", b"").decode()).lower()
        if kind not in _DELIMITERS:
            raise MarketoError("1003", f"Invalid value '{kind}' for 'format'")
        content = fields.get("file")
        if content is None:
            raise MarketoError("1002", "Missing value for required parameter 'file'")
        if len(content) > _BIGGEST:
            raise MarketoError("1003", "The file is larger than 10 MB")
        if not content.strip():
            raise MarketoError("1003", "Empty file")
        if sum(batch.status == "Queued" for batch in self._batches.values()) >= _AT_ONCE:
            raise MarketoError("1016", "Too many imports")
        text = content.decode("utf-8-sig", "replace")
        header, *rows = csv.reader(io.StringIO(text), delimiter=_DELIMITERS[kind])
        desk = self._desk()
        list_id = query.get("listId", "")
        if list_id and (not is_number(list_id) or int(list_id) not in desk.lists):
            raise MarketoError("1013", f"List '{list_id}' not found")
        writer = LeadWriter(desk, self._described(), "createOrUpdate", query.get("lookupField"))
        if writer.lookup not in header:
            raise MarketoError(
                "1003", f"Lookup field '{writer.lookup}' is not a column of the file"
            )
        number = len(self._batches) + 1_001
        batch = _Batch(
            number, header, [row for row in rows if row], writer, int(list_id or 0) or None
        )
        self._batches[number] = batch
        return envelope({"result": [batch.rendered()]})

    def _asked(self, text: str) -> _Batch:
        batch = self._batches.get(int(text)) if is_number(text) else None
        if batch is None:
            raise MarketoError("1013", f"Batch '{text}' not found")
        if batch.status == "Queued":
            self._carry_out(batch)
        return batch

    def _carry_out(self, batch: _Batch) -> None:
        desk = self._desk()
        whole = [row for row in batch.rows if len(row) == len(batch.header)]
        batch.failures = [
            [*row, "Row has another number of columns than the header"]
            for row in batch.rows
            if len(row) != len(batch.header)
        ]
        results = batch.writer.save([dict(zip(batch.header, row, strict=True)) for row in whole])
        for row, result in zip(whole, results, strict=True):
            if "id" not in result:
                reasons = result["reasons"]
                assert isinstance(reasons, list)
                batch.failures.append([*row, str(reasons[0]["message"])])
                continue
            batch.done += 1
            if batch.list_id is not None:
                desk.join_list(batch.list_id, int(str(result["id"])), is_in=True)
        batch.status = "Complete"
        desk.keep()


def _form(content_type: str, body: object) -> dict[str, bytes]:
    """The parts of a ``multipart/form-data`` body by name."""
    if not isinstance(body, bytes) or "multipart/" not in content_type:
        return {}
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parts = BytesParser(policy=HTTP).parsebytes(head + body)
    found: dict[str, bytes] = {}
    for part in parts.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            found[str(name)] = content
    return found


def _file(batch: _Batch, rows: list[list[str]]) -> Response:
    if batch.status != "Complete":
        raise MarketoError("1003", "The batch is not complete")
    out = io.StringIO()
    if rows:
        csv.writer(out, lineterminator="\n").writerows(
            [[*batch.header, "Import Failure Reason"], *rows]
        )
    return Response(out.getvalue(), media_type="text/csv;charset=UTF-8")
