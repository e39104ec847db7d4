"""What Salesforce's answers and files mean: errors, save results, CSV of bulk jobs.

Pure parsing and writing, no exchange. ``clients/salesforce.py`` offers the result classes to its
callers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from urllib.parse import urlsplit

from meltano_assets.clients.policy import Action, ErrorTable, Response
from meltano_assets.errors import PlatformError

Record = Mapping[str, object]

#: What an ingest file says to empty a field; an empty cell leaves the field alone.
BULK_NULL = "#N/A"


@dataclass(frozen=True, slots=True)
class SaveError:
    """Why Salesforce refused one record."""

    code: str
    message: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SaveResult:
    """What became of one record; results come in the order of the records."""

    id: str | None
    success: bool
    created: bool
    errors: tuple[SaveError, ...] = ()


#: Result files are looked through in blocks of so many bytes.
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class BulkSaved:
    """A record that an ingest job wrote: its id, and the key that told it."""

    id: str
    created: bool
    key: str


@dataclass(frozen=True, slots=True)
class BulkFailed:
    """A record that an ingest job refused. ``id`` is empty when none was assigned."""

    id: str
    errors: tuple[SaveError, ...]
    key: str


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of all rows of an ingest; rows are told by their key: external id or Id.

    ``error`` is the reason of a job that ended as Failed or Aborted; the keys of what it did not
    reach are ``unprocessed``.
    """

    successful: tuple[BulkSaved, ...] = ()
    failed: tuple[BulkFailed, ...] = ()
    unprocessed: tuple[str, ...] = ()
    job_ids: tuple[str, ...] = ()
    error: str | None = None


def _detail(response: Response) -> tuple[str, str]:
    """Code and message from a JSON array, an OAuth object or a SOAP fault."""
    if response.text.lstrip().startswith("<"):
        name = re.search(r"<(?:\w+:)?faultcode>(?:\w+:)?([^<]*)<", response.text)
        fault = re.search(r"<faultstring>([^<]*)<", response.text)
        return (name.group(1) if name else ""), (fault.group(1) if fault else "")
    try:
        body = response.json()
    except ValueError:
        return "", response.text[:200]
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, dict):
        return "", ""
    code = first.get("errorCode") or first.get("error") or ""
    message = str(first.get("message") or first.get("error_description") or "")
    if code == "REQUEST_LIMIT_EXCEEDED" and "concurrent" in message.lower():
        code = "CONCURRENT_REQUEST_LIMIT"
    return str(code), message


_ACTIONS: Mapping[str | int, Action] = {
    "INVALID_SESSION_ID": "refresh",
    "REQUEST_LIMIT_EXCEEDED": "quota",
    "CONCURRENT_REQUEST_LIMIT": "retry",
    "SERVER_UNAVAILABLE": "retry",
    "UNABLE_TO_LOCK_ROW": "retry",
    # The same query would take as long again; it has to be cut.
    "QUERY_TIMEOUT": "later",
    "INVALID_QUERY_LOCATOR": "later",
}
ERRORS = ErrorTable(_detail, _ACTIONS)
LOGIN_ERRORS = ErrorTable(_detail, {**_ACTIONS, 400: "refresh", "INVALID_LOGIN": "refresh"})


#: How a query that took too long ends: by code, and as the reason of a bulk job.
_TOO_SLOW = re.compile(r"QUERY_TIMEOUT|running for too long|[Rr]etried more than")


def is_too_slow(error: PlatformError) -> bool:
    """True for a query that Salesforce gave up because of the time it took."""
    return _TOO_SLOW.search(error.message) is not None


def limit_info(response: Response) -> tuple[int, int] | None:
    """Calls of the last 24 hours and how many are allowed, as an answer's headers tell."""
    told = re.search(r"api-usage=(\d+)/(\d+)", response.headers.get("Sforce-Limit-Info", ""))
    return (int(told.group(1)), int(told.group(2))) if told else None


def csv_bodies(rows: Iterable[Record], max_bytes: int) -> Iterator[bytes]:
    """Rows as CSV files for ingest jobs, each with a header and at most about max_bytes."""
    lines = [dict(row) for row in rows]
    header = list(dict.fromkeys(name for row in lines for name in row))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    first_line = buffer.getvalue()
    body = bytearray(first_line.encode())
    for row in lines:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow([_cell(row, name) for name in header])
        line = buffer.getvalue().encode()
        if len(body) + len(line) > max_bytes and len(body) > len(first_line.encode()):
            yield bytes(body)
            body = bytearray(first_line.encode())
        body += line
    if lines:
        yield bytes(body)


def bulk_errors(text: str) -> tuple[SaveError, ...]:
    """The error of a failed row, written ``CODE:message:fields--``, in parts."""
    code, _, rest = text.partition(":")
    message, _, fields = rest.rpartition(":")
    if not message:
        message, fields = rest, ""
    names = tuple(name for name in re.split(r"[ ,]+", fields.removesuffix("--")) if name)
    return (SaveError(code, message, names),)


def _cell(row: Record, name: str) -> str:
    if name not in row:
        return ""
    value = row[name]
    if value is None:
        return BULK_NULL
    plain = text(value)
    return "" if plain == BULK_NULL else plain


def text(value: object) -> str:
    """A value as Salesforce writes it in text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)


def nested(record: Record) -> dict[str, object]:
    """The record for JSON; ``Account__r.Key__c`` becomes a nested object."""
    result: dict[str, object] = {}
    for name, value in record.items():
        plain = float(value) if isinstance(value, Decimal) else value
        parent, dot, child = name.partition(".")
        result[parent] = {child: plain} if dot else plain
    return result


def save_results(response: Response, size: int, *, is_create: bool = False) -> list[SaveResult]:
    """One result per record, in their order; ValueError otherwise.

    The answer to a create does not repeat that it created.
    """
    answers = response.json()
    if not isinstance(answers, list) or len(answers) != size:
        raise ValueError("not one result per record")
    return [
        SaveResult(
            id=answer.get("id"),
            success=bool(answer["success"]),
            created=bool(answer["success"]) if is_create else bool(answer.get("created")),
            errors=tuple(
                SaveError(
                    str(error.get("statusCode") or error.get("errorCode") or ""),
                    str(error.get("message", "")),
                    tuple(error.get("fields") or ()),
                )
                for error in answer.get("errors") or ()
            ),
        )
        for answer in answers
    ]


def whole_csv(response: Response) -> Response:
    """A page of results; ValueError when it is not CSV, ends inside a value or has too few records."""
    kind = response.headers.get("Content-Type", "text/csv")
    if not kind.startswith("text/csv"):
        raise ValueError("not CSV")
    told = response.headers.get("Sforce-NumberOfRecords", "")
    if told.isdigit() and _rows(response.body) != int(told):
        raise ValueError("records are missing")
    if response.body.count(b'"') % 2 or (response.body and not response.body.endswith(b"\n")):
        raise ValueError("the last line is cut off")
    return response


def _rows(body: bytes) -> int:
    """Records below the header; an end of line within quotes ends none."""
    if b'"' not in body:
        return max(0, body.count(b"\n") - 1)
    import numpy as np

    lines, quotes = 0, 0
    octets = np.frombuffer(body, np.uint8)
    for start in range(0, len(octets), _BLOCK):
        block = octets[start : start + _BLOCK]
        # After an even number of quotes one is outside of them.
        passed = quotes + np.cumsum(block == ord('"'), dtype=np.int32)
        lines += int(np.count_nonzero((block == ord("\n")) & (passed % 2 == 0)))
        quotes = int(passed[-1]) % 2
    return max(0, lines - 1)


def csv_cells(response: Response, names: Sequence[str]) -> list[tuple[str, ...]]:
    """These columns of a result file, whatever case its header is in; '' where it has none.

    The other cells repeat what was sent, which may be a hundred megabytes. ValueError when the file is
    broken.
    """
    whole_csv(response)
    csv.field_size_limit(1 << 30)
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(response.body), encoding="utf-8", newline=""))
    header = [name.lower() for name in next(lines, ())]
    places = [header.index(name.lower()) if name.lower() in header else None for name in names]
    cells = []
    for line in filter(None, lines):
        if len(line) != len(header):
            raise ValueError("a record has other cells than the header")
        cells.append(tuple("" if place is None else line[place] for place in places))
    return cells


def job_error(job: Mapping[str, object]) -> str:
    """Why a job failed, in the vendor's words."""
    return " ".join(str(job.get("errorMessage") or "no reason given").split())[:300]


def session(response: Response) -> tuple[str, str, str | None]:
    """Session id, instance address and organisation from a SOAP login's answer; ValueError when it has
    none, or brings entities along.
    """
    if "<!DOCTYPE" in response.text[:1000]:
        raise ValueError("a document type where none belongs")
    organization = re.search(r"<(?:\w+:)?organizationId>([^<]+)</", response.text)
    token = re.search(r"<(?:\w+:)?sessionId>([^<]+)</", response.text)
    server = re.search(r"<(?:\w+:)?serverUrl>([^<]+)</", response.text)
    if not token or not server:
        raise ValueError("no session in the answer")
    parts = urlsplit(server.group(1))
    instance_url = f"{parts.scheme}://{parts.netloc}"
    return token.group(1), instance_url, organization.group(1) if organization else None
