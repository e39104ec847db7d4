"""A request and its reply, free of the web framework, so that composite calls can make their own.

Belongs here: what every endpoint needs to read a request and to answer in the vendor's form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, unquote

from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem

JSON_TYPE = "application/json;charset=UTF-8"
CSV_TYPE = "text/csv"
#: Types of bodies in which JSON is looked for; the vendor reads XML as well, the sandbox does not.
_JSON_KINDS = ("application/json", "multipart/form-data")

NOT_FOUND = ApiProblem("NOT_FOUND", "The requested resource does not exist")


#: A JSON escape of half a surrogate pair, perhaps without its other half.
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _mended(text: str) -> str:
    """Puts U+FFFD in the place of characters that no UTF-8 text can carry."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(slots=True)
class Call:
    """One request below ``/services/data/vXX.X``."""

    org: SalesforceOrg
    method: str
    path: str
    """Encoded, below the version: ``/sobjects/Account``."""
    query: str = ""
    """Encoded, as it stood in the address."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    version: str = ""
    base_url: str = ""

    params: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.params = dict(parse_qsl(self.query, keep_blank_values=True))

    def values(self, name: str) -> list[str]:
        """All values of a parameter that stands more than once."""
        return [value for key, value in parse_qsl(self.query) if key == name]

    @property
    def segments(self) -> list[str]:
        return [unquote(part) for part in self.path.split("/") if part]

    def text(self) -> str:
        """The body as text."""
        try:
            return self.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestProblem(
                400, ApiProblem("JSON_PARSER_ERROR", f"Invalid UTF-8 in the body: {error.reason}")
            ) from error

    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind and kind not in _JSON_KINDS:
            raise RequestProblem(
                415,
                ApiProblem(
                    "UNSUPPORTED_MEDIA_TYPE",
                    f"Content-Type header specified in HTTP request is not supported: {kind}",
                ),
            )
        text = self.text()
        try:
            value = json.loads(text, parse_constant=_no_constant)
            if _HALF_PAIR.search(text):
                value = json.loads(_mended(json.dumps(value, ensure_ascii=False)))
        except (ValueError, RecursionError) as error:
            where = (
                f"[line:{error.lineno}, column:{error.colno}]"
                if isinstance(error, json.JSONDecodeError)
                else "[line:1, column:1]"
            )
            reason = "Unexpected end-of-input" if not text.strip() else "Unexpected character"
            raise RequestProblem(
                400, ApiProblem("JSON_PARSER_ERROR", f"{reason} at {where}")
            ) from error
        if not isinstance(value, dict):
            raise RequestProblem(
                400,
                ApiProblem(
                    "JSON_PARSER_ERROR",
                    "Cannot deserialize request body: a JSON object is expected at "
                    "[line:1, column:1]",
                ),
            )
        return value

    def url(self, path: str) -> str:
        """The path of a resource of the same version, as answers carry it."""
        return f"/services/data/v{self.version}{path}"


@dataclass(slots=True)
class Reply:
    """One answer; ``content`` is JSON unless ``content_type`` says otherwise."""

    status: int = 200
    content: object = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON_TYPE

    def body(self) -> bytes:
        """The bytes to send."""
        if isinstance(self.content, bytes):
            return self.content
        if isinstance(self.content, str):
            return self.content.encode("utf-8", "surrogatepass")
        if self.content is None:
            return b""
        return json.dumps(self.content, ensure_ascii=True, separators=(",", ":")).encode()


def failure(status: int, *problems: ApiProblem) -> Reply:
    """The vendor's error answer: a JSON array."""
    return Reply(status, [problem.for_request() for problem in problems])


def not_allowed(method: str, *allowed: str) -> RequestProblem:
    """405, naming what would be allowed."""
    problem = RequestProblem(
        405,
        ApiProblem(
            "METHOD_NOT_ALLOWED",
            f"HTTP Method '{method}' not allowed. Allowed are {','.join(allowed)}",
        ),
    )
    problem.headers["Allow"] = ",".join(allowed)
    return problem


def not_found() -> RequestProblem:
    """404 for a path that leads nowhere."""
    return RequestProblem(404, NOT_FOUND)


def bad_request(code: str, message: str) -> RequestProblem:
    """400 with one problem."""
    return RequestProblem(400, ApiProblem(code, message))


def header_time(text: str | None) -> datetime | None:
    """The time in a header; one that cannot be read is no condition."""
    try:
        moment = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def allows_duplicates(headers: Mapping[str, str]) -> bool:
    """Did the client choose to save in spite of duplicate rules?"""
    value = headers.get("sforce-duplicate-rule-header", "")
    return "allowsave=true" in value.lower().replace(" ", "")
