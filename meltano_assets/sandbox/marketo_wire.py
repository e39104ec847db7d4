"""What all of Marketo's services share: errors, envelopes, limits, times and paging tokens."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import json_response

BATCH = 300
#: Bytes of a body and of a form with a file.
_LARGEST_BODY, _LARGEST_FILE = 1 << 20, 11 << 20
#: The daily limits begin anew at midnight US Central, here without summer time.
_CENTRAL = timedelta(hours=-6)


class MarketoError(Exception):
    """An error in Marketo's own words: a code, which is a text, and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Limits(NamedTuple):
    """How much a client may ask for."""

    calls: int = 100
    seconds: float = 20.0
    calls_a_day: int = 50_000
    at_once: int = 10
    export_bytes_a_day: int = 500_000_000
    processing_seconds: float = 0.0


def envelope(content: Record, *, success: bool = True) -> Response:
    """An answer in Marketo's form."""
    number = f"{secrets.token_hex(2)}#{secrets.token_hex(6)[:11]}"
    return json_response({"requestId": number, "success": success, **content})


def rest_name(field: Record) -> str:
    """A described field's name in REST."""
    rest = field["rest"]
    return str(rest["name"]) if isinstance(rest, dict) else ""


def marketo_day() -> str:
    """The day by which the limits count."""
    return (datetime.now(UTC) + _CENTRAL).strftime("%Y-%m-%d")


def split_list(text: str | None) -> list[str]:
    """The parts of a comma-separated parameter."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def batch_size(query: Mapping[str, str]) -> int:
    """How many records a page has."""
    text = query.get("batchSize", str(BATCH))
    if not is_number(text) or not 1 <= int(text) <= BATCH:
        raise MarketoError("1003", f"Invalid value for 'batchSize'. Maximum is {BATCH}")
    return int(text)


def wire_time(text: str | None, name: str) -> str:
    """A time of any ISO form as Marketo writes it."""
    if not text:
        raise MarketoError("1002", f"Missing value for required parameter '{name}'")
    try:
        # A plus sign that nobody escaped arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+").replace("Z+0000", "Z"))
    except ValueError:
        raise MarketoError("1003", f"Invalid value for '{name}'") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make_token(kind: str, place: int) -> str:
    """A paging token: opaque, and good for its own list only."""
    plain = f"{kind}:{place}"
    mark = hashlib.sha256(plain.encode()).hexdigest()[:8]
    return base64.b32encode(f"{plain}:{mark}".encode()).decode().rstrip("=") + "===="


def read_token(token: str | None, kind: str) -> int:
    """The place that the token means; nought without one."""
    if not token:
        return 0
    text = token.rstrip("=")
    try:
        plain = base64.b32decode(text + "=" * (-len(text) % 8)).decode()
    except ValueError:
        plain = ""
    name, _, rest = plain.partition(":")
    place, _, _mark = rest.partition(":")
    if name != kind or not is_number(place) or make_token(kind, int(place)).rstrip("=") != text:
        raise MarketoError("1003", "Invalid value for 'nextPageToken'")
    return int(place)


def object_of(body: object) -> Record:
    """The body, which must be an object."""
    if not isinstance(body, dict):
        raise MarketoError("609", "Invalid JSON")
    return body


def input_of(told: Record) -> list[Record]:
    """The records of a request: some, and not too many."""
    given = told.get("input")
    if not isinstance(given, list) or not given:
        raise MarketoError("1002", "Missing value for required parameter 'input'")
    if len(given) > BATCH:
        raise MarketoError("1003", f"Number of records in 'input' exceeds the limit of {BATCH}")
    if not all(isinstance(entry, dict) for entry in given):
        raise MarketoError("609", "Invalid JSON")
    return given


class TooLarge(Exception):
    """A body beyond the vendor's limit."""


async def read_asked(request: Request) -> tuple[dict[str, str], object]:
    """Parameters of the address and of a form; the body where it is JSON."""
    query: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        query[name] = f"{query[name]},{value}" if name in query else value
    kind = request.headers.get("content-type", "")
    most = _LARGEST_FILE if "multipart/" in kind else _LARGEST_BODY
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise TooLarge
    if not content:
        return query, None
    if "multipart/" in kind:
        return query, content
    if "form-urlencoded" in kind:
        query.update(parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True))
        return query, None
    return query, orjson.loads(content)
