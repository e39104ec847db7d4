"""Marketo's bulk imports: a file of leads, program members or objects becomes a batch, told of later.

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
from meltano_assets.sandbox.marketo_schema import WORKSHOP
from meltano_assets.sandbox.marketo_wire import MarketoError, envelope
from meltano_assets.sandbox.marketo_writes import Writes
from meltano_assets.sandbox.numbers import is_number

_DELIMITERS = {"csv": ",", "tsv": "\t", "ssv": ";"}
_BIGGEST = 10 << 20
_AT_ONCE = 10


#: Saves the rows of a file, each as a record; an outcome with ``reasons`` is a failure.
Save = Callable[[list[Record]], list[Record]]


@dataclass(slots=True)
class _Batch:
    number: int
    kind: str
    header: list[str]
    rows: list[list[str]]
    save: Save
    has_list: bool = False
    status: str = "Queued"
    done: int = 0
    failures: list[list[str]] = field(default_factory=list)

    def rendered(self) -> Record:
        told: Record = {"batchId": self.number, "status": self.status}
        is_object = self.kind == WORKSHOP
        told |= {"objectApiName": WORKSHOP, "operation": "import"} if is_object else {
            "importId": str(self.number)
        }  # fmt: skip
        if self.status == "Complete":
            failed = len(self.failures)
            words = "with errors" if failed else "successfully"
            members = (
                f" ({self.done if self.has_list else 0} members)" if self.kind == "leads" else ""
            )
            told |= {
                "numOfObjectsProcessed" if is_object else "numOfLeadsProcessed": self.done,
                "numOfRowsFailed": failed,
                "numOfRowsWithWarning": 0,
                "message": f"Import completed {words}, {self.done} records imported"
                f"{members}, {failed} failed",
                **({"importTime": "1 second(s)"} if is_object else {}),
            }
        return told


class BulkImport:
    """All imports of the subscription."""

    def __init__(
        self,
        desk: Callable[[], Desk],
        described: Callable[[], list[Record]],
        writes: Writes,
    ) -> None:
        self._desk = desk
        self._described = described
        self._writes = writes
        self._batches: dict[int, _Batch] = {}

    def answer(
        self, method: str, path: str, query: Mapping[str, str], body: object, headers: Headers
    ) -> Response | None:
        """Answers a request below ``/bulk/v1/``; None where it is no import."""
        content_type = headers.get("content-type", "")
        match method, *path.split("/"):
            case "POST", "leads":
                return self._begin_leads(query, _form(content_type, body))
            case "POST", "customobjects", name, "import":
                return self._begin_objects(name, query, _form(content_type, body))
            case "POST", "program", number, "members", "import":
                program = self._writes.program(number)
                return self._begin_members(program, query, _form(content_type, body))
            case "GET", "leads", "batch", number, *what if len(what) < 2:
                return self._told("leads", number, what or ["status"])
            case "GET", "customobjects", name, "import", number, *what:
                return self._told(name, number, what)
            case "GET", "program", "members", "import", number, *what:
                return self._told("members", number, what)
        return None

    def _told(self, kind: str, number: str, what: list[str]) -> Response:
        """How a batch is, or the rows that failed in it."""
        if what not in (["status"], ["failures"], ["warnings"]):
            raise MarketoError("610", "Requested resource not found")
        batch = self._asked(kind, number)
        if what == ["status"]:
            return envelope({"result": [batch.rendered()]})
        return _file(batch, batch.failures if what == ["failures"] else [])

    def _begin(
        self, kind: str, query: Mapping[str, str], fields: Mapping[str, bytes], save: Save
    ) -> _Batch:
        form = (query.get("format") or fields.get("format", b"").decode("utf-8", "replace")).lower()
        if form not in _DELIMITERS:
            raise MarketoError("1003", f"Invalid value '{form}' for 'format'")
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
        try:
            header, *rows = csv.reader(io.StringIO(text), delimiter=_DELIMITERS[form])
        except csv.Error as error:
            raise MarketoError("1003", f"The file cannot be read: {error}") from None
        number = len(self._batches) + 1_001
        return _Batch(number, kind, header, [row for row in rows if row], save)

    def _keep(self, batch: _Batch) -> Response:
        self._batches[batch.number] = batch
        return envelope({"result": [batch.rendered()]})

    def _leads(self, query: Mapping[str, str]) -> LeadWriter:
        lookup = query.get("lookupField")
        return LeadWriter(self._desk(), self._described(), "createOrUpdate", lookup)

    def _begin_leads(self, query: Mapping[str, str], fields: Mapping[str, bytes]) -> Response:
        list_id = query.get("listId", "")
        if list_id and (not is_number(list_id) or int(list_id) not in self._desk().lists):
            raise MarketoError("1013", f"List '{list_id}' not found")
        writer = self._leads(query)

        def save(records: list[Record]) -> list[Record]:
            results = writer.save(records)
            for result in results:
                if list_id and "id" in result:
                    self._desk().join_list(int(list_id), int(str(result["id"])), is_in=True)
            return results

        batch = self._begin("leads", query, fields, save)
        batch.has_list = bool(list_id)
        self._check_lookup(writer, batch)
        return self._keep(batch)

    def _begin_members(
        self, program: int, query: Mapping[str, str], fields: Mapping[str, bytes]
    ) -> Response:
        status = query.get("programMemberStatus", "")
        if not status:
            raise MarketoError("1002", "Missing value for required parameter 'programMemberStatus'")
        writer = self._leads(query)

        def save(records: list[Record]) -> list[Record]:
            results = writer.save(records)
            for result in results:
                if "id" in result:
                    self._writes.join(program, int(str(result["id"])), status)
            return results

        batch = self._begin("members", query, fields, save)
        self._check_lookup(writer, batch)
        return self._keep(batch)

    def _begin_objects(
        self, name: str, query: Mapping[str, str], fields: Mapping[str, bytes]
    ) -> Response:
        if name != WORKSHOP:
            raise MarketoError("1013", f"Object '{name}' not found")
        customs = self._writes.customs

        def save(records: list[Record]) -> list[Record]:
            return [customs.save_workshop(record, "createOrUpdate") for record in records]

        return self._keep(self._begin(WORKSHOP, query, fields, save))

    @staticmethod
    def _check_lookup(writer: LeadWriter, batch: _Batch) -> None:
        if writer.lookup not in batch.header:
            raise MarketoError(
                "1003", f"Lookup field '{writer.lookup}' is not a column of the file"
            )

    def _asked(self, kind: str, text: str) -> _Batch:
        batch = self._batches.get(int(text)) if is_number(text) else None
        if batch is None or batch.kind != kind:
            raise MarketoError("1013", f"Batch '{text}' not found")
        if batch.status == "Queued":
            self._carry_out(batch)
        return batch

    def _carry_out(self, batch: _Batch) -> None:
        whole = [row for row in batch.rows if len(row) == len(batch.header)]
        batch.failures = [
            [*row, "Row has another number of columns than the header"]
            for row in batch.rows
            if len(row) != len(batch.header)
        ]
        results = batch.save([dict(zip(batch.header, row, strict=True)) for row in whole])
        for row, result in zip(whole, results, strict=True):
            if isinstance(reasons := result.get("reasons"), list):
                batch.failures.append([*row, str(reasons[0]["message"])])
            else:
                batch.done += 1
        batch.status = "Complete"
        self._desk().keep()


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
