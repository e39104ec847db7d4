"""Stripe: the company's account for customers who serve themselves, as its clients have it.

Belongs here: keys, versions, limits, and writes with idempotency keys. What is read is in
``stripe_reads.py``; what is written to lists that hold nothing here is refused as it is for a restricted
key. ``created`` and the age of events count by the company's clock.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_stripe_records import API_VERSION
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.service import HttpService, RateLimit, json_response
from meltano_assets.sandbox.state import StateFolder
from meltano_assets.sandbox.stripe_books import Books
from meltano_assets.sandbox.stripe_forms import read_form
from meltano_assets.sandbox.stripe_lists import EMPTY_LISTS, READ_ONLY
from meltano_assets.sandbox.stripe_reads import Reads
from meltano_assets.sandbox.stripe_wire import Problem, unknown_path
from meltano_assets.sandbox.stripe_writes import Deed, Writes

OLDEST_VERSION = "2011-01-01"
_VERSION = re.compile(r"\d{4}-\d\d-\d\d(\.\w+)?")
#: Writes by these methods carry no idempotency key that counts.
_IDEMPOTENT = ("GET", "DELETE")
_MAX_KEY = 255


class Stripe:
    """The account at the address of its service."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        *,
        now: Callable[[], datetime],
        api_key: str,
        requests_per_minute: int = 6_000,
        forgets_events: bool = True,
        folder: StateFolder | None = None,
    ) -> None:
        self._books = Books(company, day, now, folder)
        self._writes = Writes(self._books)
        #: Idempotency keys of writes that are under way.
        self._under_way: set[str] = set()
        self._key = api_key
        self._requests = RateLimit(requests_per_minute)
        self.service = HttpService("stripe", "Stripe", self.handle, self._error)
        self._reads = Reads(
            company, self._books, self._writes, self.service.faults,
            now=now, forgets_events=forgets_events,
        )  # fmt: skip

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        request_id = f"req_{secrets.token_hex(7)}"
        try:
            response = await self._answer(request, request_id)
        except Problem as problem:
            response = problem.response()
        response.headers["Request-Id"] = request_id
        response.headers["Stripe-Version"] = request.headers.get("stripe-version", API_VERSION)
        is_worth = response.status_code >= 500 or response.status_code == 409
        response.headers["Stripe-Should-Retry"] = "true" if is_worth else "false"
        if key := request.headers.get("idempotency-key"):
            response.headers["Idempotency-Key"] = key
        return response

    def _error(self, kind: str, fault: Fault) -> Response | None:
        if kind == "throttle":
            return _too_many(
                fault if fault.is_set("with_retry_after", default=False) else None
            ).response()
        if kind == "expire_session":
            shown = f"Expired API Key provided: {_shown(self._key)}"
            return Problem(401, shown, "api_key_expired").response()
        if kind == "forbidden":
            message = "The provided key does not have the required permissions for this endpoint."
            code = "more_permissions_required_for_application"
            return Problem(403, message, code).response()
        if kind == "unavailable":
            return Problem(503, "Stripe is temporarily unavailable", kind="api_error").response()
        message = "An unknown error occurred"
        return Problem(500, message, kind="api_error").response()

    async def _answer(self, request: Request, request_id: str) -> Response:
        self._check_key(request)
        remaining, _ = self._requests.spend(time.monotonic())
        if remaining < 0:
            raise _too_many(None)
        path = request.url.path.strip("/")
        parts = path.split("/")
        if parts[0] != "v1" or len(parts) < 2:
            raise unknown_path(request)
        version = request.headers.get("stripe-version", API_VERSION)
        if not _VERSION.fullmatch(version) or version < OLDEST_VERSION:
            raise Problem(400, f"Invalid Stripe API version: {version}")
        if request.method not in ("GET", "POST", "DELETE"):
            raise unknown_path(request)
        self._catch_up()
        if request.method == "GET":
            return json_response(self._reads.answer(request, parts[1:]))
        return await self._write(request, parts[1:], request_id)

    # Writing

    def _catch_up(self) -> None:
        """What fell due since the last request: periods of subscriptions."""
        self._books.request = (None, None)
        if self._writes.catch_up():
            self._books.keep()

    async def _write(self, request: Request, parts: list[str], request_id: str) -> Response:
        body = await request.body()
        kind = request.headers.get("content-type", "")
        given = read_form(request.url.query, kind, body)
        key = request.headers.get("idempotency-key", "")
        if request.method in _IDEMPOTENT:
            key = ""
        if len(key) > _MAX_KEY:
            raise Problem(400, f"Idempotency keys must be at most {_MAX_KEY} characters.")
        if not key:
            return await self._carried_out(request, parts, given, request_id, None)
        asked = _print(request, given)
        if (known := self._books.answer(key)) is not None:
            if known["asked"] != asked:
                raise _other_parameters(key)
            headers = {"Idempotent-Replayed": "true", "Original-Request": str(known["request"])}
            return json_response(known["body"], int(str(known["status"])), headers)
        if key in self._under_way:
            message = (
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going through): "
                f"{key}. Please try again later."
            )
            raise Problem(409, message, "idempotency_key_in_use", kind="idempotency_error")
        self._under_way.add(key)
        try:
            return await self._carried_out(request, parts, given, request_id, (key, asked))
        finally:
            self._under_way.discard(key)

    async def _carried_out(
        self,
        request: Request,
        parts: list[str],
        given: dict[str, Any],
        request_id: str,
        key: tuple[str, str] | None,
    ) -> Response:
        """The write's answer, remembered for its key once the parameters were found good."""
        deed = self._deed(request, parts, given)
        if fault := self.service.faults.take("slow_write", f"{request.method} {request.url.path}"):
            await asyncio.sleep(fault.number("seconds", 1))
        status, mark = 200, self._books.mark()
        self._books.request = (request_id, key[0] if key else None)
        try:
            made = deed()
            expands = given.get("expand", [])
            expands = expands if isinstance(expands, list) else [expands]
            body: object = (
                made if made.get("deleted") else self._reads.shown(request, made, expands)
            )
        except Problem as problem:
            status, body = problem.status, problem.body()
            if problem.kind != "card_error":
                # What a bank refuses leaves its traces; nothing else that is refused does.
                self._books.roll_back(mark)
        if key is not None:
            self._books.remember(*key, status, body, request_id)
        self._books.keep()
        return json_response(body, status)

    def _deed(self, request: Request, parts: list[str], given: dict[str, Any]) -> Deed:
        deed = self._writes.deed(request.method, parts, given)
        if deed is not None:
            return deed
        kept_elsewhere = {"/".join(parts[: n + 1]) for n in range(len(parts))} & (
            EMPTY_LISTS.keys() | READ_ONLY
        )
        if not kept_elsewhere:
            raise unknown_path(request)
        message = (
            "The provided key does not have the required permissions for this endpoint: the sandbox "
            f"keeps nothing that is written to /v1/{parts[0]}"
        )
        raise Problem(403, message, "more_permissions_required_for_application")

    def _check_key(self, request: Request) -> None:
        header = request.headers.get("authorization", "")
        scheme, _, rest = header.partition(" ")
        given = rest if scheme.lower() == "bearer" else ""
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(rest, validate=True).decode().partition(":")[0]
            except ValueError:
                given = ""
        if not given:
            message = (
                "You did not provide an API key. You need to provide your API key in the "
                "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                "YOUR_SECRET_KEY')."
            )
            challenge = {"WWW-Authenticate": 'Basic realm="Stripe"'}
            raise Problem(401, message, headers=challenge)
        if not secrets.compare_digest(given.encode(), self._key.encode()):
            raise Problem(401, f"Invalid API Key provided: {_shown(given)}")


def _shown(key: str) -> str:
    """A key as Stripe repeats it in errors."""
    return f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}" if len(key) > 12 else "*" * len(key)


def _print(request: Request, given: dict[str, Any]) -> str:
    """What tells requests with the same idempotency key apart."""
    content = orjson.dumps(
        [request.method, request.url.path.rstrip("/"), given], option=orjson.OPT_SORT_KEYS
    )
    return hashlib.sha256(content).hexdigest()


def _other_parameters(key: str) -> Problem:
    message = (
        "Keys for idempotent requests can only be used with the same parameters they were first used "
        f"with. Try using a key other than '{key}' if you meant to execute a different request."
    )
    return Problem(400, message, kind="idempotency_error")


def _too_many(fault: Fault | None) -> Problem:
    """Without Retry-After, unless a fault asks for it."""
    headers = {"Stripe-Rate-Limited-Reason": "global-rate"}
    if fault is not None:
        headers["Retry-After"] = str(round(fault.number("retry_after_seconds", 1)))
    message = (
        "Request rate limit exceeded. You can learn more about rate limits here "
        "https://stripe.com/docs/rate-limits."
    )
    return Problem(429, message, "rate_limit", headers=headers)
