"""NetSuite's SuiteTalk web services: SOAP 1.1, document/literal, in any version; and REST.

``/services/NetSuitePort_2023_2`` takes requests, ``/wsdl/v2023_2_0/netsuite.wsdl`` describes them
(schemas beside it and in ``xsd/``), ``/rest/datacenterurls`` tells where the account lives;
``/services/rest`` is REST (``netsuite_rest``). Records are the company's books, with what clients
wrote over and beside them. Concurrency is limited as the
vendor limits it. Faults of its own: ``fault`` (any of the vendor's, by ``name`` and ``code``),
``not_success`` (a failure told with HTTP 200, by ``code``), ``expire_search`` (open searches end)
and ``entities`` (an answer with a DOCTYPE).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.netsuite_contract import contract_in, own_contract
from meltano_assets.sandbox.netsuite_oauth import REVOKE_PATH, TOKEN_PATH, Tokens
from meltano_assets.sandbox.netsuite_operations import Account, Call, Job, Operations
from meltano_assets.sandbox.netsuite_passport import Credentials, Gate
from meltano_assets.sandbox.netsuite_rest import (
    PREFIX,
    TOKEN_INFO,
    Problem,
    Rest,
    asked_of,
    refusal,
)
from meltano_assets.sandbox.netsuite_search import OpenSearches
from meltano_assets.sandbox.netsuite_wire import (
    SoapFault,
    StatusError,
    Writer,
    local,
    parse_envelope,
    type_of,
)
from meltano_assets.sandbox.netsuite_writes import WrittenBooks
from meltano_assets.sandbox.service import HttpService, base_url, json_response
from meltano_assets.sandbox.state import StateFolder

MAX_REQUEST_BYTES = 100 << 20
DEFAULT_VERSION = "2017_2"
#: Requests at a time: an account's default, and what it is when nobody is to be held up.
CONCURRENCY, MANY = 5, 64
_PORT = re.compile(r"/services/NetSuitePort_(\d{4}_\d)")
_WSDL = re.compile(r"/wsdl/v(\d{4}_\d)_\d/(?:xsd/)?([\w.]+)")
_SCHEMA = re.compile(r"/xsd/(\w+)/v(\d{4}_\d)_\d/([\w.]+)")
_XML = "text/xml; charset=utf-8"
_BLOCKED = "SuiteTalk concurrent request limit exceeded. Request blocked."


class _Port(HttpService):
    """The service, which knows how many requests are under way."""

    in_flight = 0
    media_type = _XML

    def _told(self, kind: str, fault: Fault, subject: str) -> Response | None:
        if f" {PREFIX}" in subject and kind != "forbidden":
            return refusal(kind, fault)
        return super()._told(kind, fault, subject)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.in_flight += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.in_flight -= 1


class NetSuite:
    """The account of the company at the address of its service."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        *,
        credentials: Credentials,
        wsdl_folder: Path | None = None,
        concurrency: int = MANY,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] | None = None,
        folder: StateFolder | None = None,
    ) -> None:
        self._contract = contract_in(wsdl_folder) if wsdl_folder else own_contract()
        self._company = company
        self._day = day
        self._gate = Gate(credentials)
        self.tokens = Tokens(credentials.consumer_key, credentials.account, folder)
        self._searches = OpenSearches(credentials.account, clock)
        self._writers: dict[str, Writer] = {}
        self._written = WrittenBooks(folder)
        self._jobs: dict[str, Job] = {}
        self._now = now
        self._account: tuple[tuple[int, int], Account] | None = None
        self._concurrency = concurrency
        self._requests = 0
        self.service = _Port("netsuite", "NetSuite SuiteTalk", self.handle, self._error)
        self._rest = Rest(
            self._contract, self._gate, self._written, self._present, lambda: self.service.faults,
            self.tokens,
        )  # fmt: skip

    # Requests

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        path = request.url.path.rstrip("/")
        base = base_url(request)
        if path.startswith(PREFIX) or path in TOKEN_INFO:
            return await self._answer_rest(request, base)
        if request.method in ("GET", "HEAD"):
            return await self._describe(path, request, base)
        found = _PORT.fullmatch(path)
        if found is None or request.method != "POST":
            return PlainTextResponse("Not found", 404)
        writer = self._writer(found.group(1))
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_REQUEST_BYTES:
                fault = SoapFault(
                    "exceededRequestSizeFault", "EXCEEDED_RQST_SIZE_LIMIT", "Request is too large."
                )
                return Response(writer.fault(fault), 500, media_type=_XML)
            chunks.append(chunk)
        session = request.cookies.get("JSESSIONID")
        if self.service.in_flight > self._concurrency:
            fault = SoapFault("exceededConcurrentRequestLimitFault", "WS_REQUEST_BLOCKED", _BLOCKED)
            return Response(writer.fault(fault), 500, media_type=_XML)
        return await run_in_threadpool(self._answer, writer, b"".join(chunks), session, base)

    async def _answer_rest(self, request: Request, base: str) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_REQUEST_BYTES:
                return Problem(413, "INVALID_REQUEST", "The request body is too large.").response()
        if self.service.in_flight > self._concurrency:
            return Problem(429, "CONCURRENCY_LIMIT_EXCEEDED", _BLOCKED).response()
        if request.url.path in (TOKEN_PATH, REVOKE_PATH):
            return self._grant(request, body)
        asked = asked_of(request, body, base)
        # What was signed is the address as it was sent.
        path = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
        signed = parse_qsl(request.url.query, keep_blank_values=True)
        return await run_in_threadpool(self._rest.answer, asked, base.lower() + path, signed)

    def _grant(self, request: Request, body: bytes) -> Response:
        """An access token, by OAuth 2.0; or no more of one."""
        if request.method != "POST":
            return json_response({"error": "invalid_request"}, 405)
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        is_token = request.url.path == TOKEN_PATH
        return self.tokens.grant(form) if is_token else self.tokens.revoke(form)

    async def _describe(self, path: str, request: Request, base: str) -> Response:
        if path == "/rest/datacenterurls":
            return json_response(
                {"restDomain": base, "webservicesDomain": base, "systemDomain": base}
            )
        content: bytes | None = None
        if found := _WSDL.fullmatch(path):
            content = self._contract.file(found.group(2), found.group(1), base)
        elif found := _SCHEMA.fullmatch(path):
            name = self._contract.schema_at(found.group(1), found.group(3))
            content = self._contract.file(name, found.group(2), base) if name else None
        elif (found := _PORT.fullmatch(path)) and "wsdl" in parse_qs(
            request.url.query.lower(), keep_blank_values=True
        ):
            version = found.group(1)
            target = f"{base}/wsdl/v{version}_0/netsuite.wsdl"
            return Response(b"", 302, {"Location": target})
        if content is None:
            return PlainTextResponse("Not found", 404)
        return Response(content, media_type=_XML)

    def _writer(self, version: str) -> Writer:
        if version not in self._writers:
            self._writers[version] = Writer(self._contract, version)
        return self._writers[version]

    def _answer(self, writer: Writer, body: bytes, session: str | None, base: str) -> Response:
        self._requests += 1
        request_id = f"WEBSERVICES_{self._requests:06d}"
        headers: dict[str, str] = {}
        try:
            header, operation = parse_envelope(body)
            name = local(operation)
            subject = (
                name
                if name != "search"
                else f"{name} {type_of(operation[0])}"
                if len(operation)
                else name
            )
            if f"messages_{writer.version}." not in str(operation.tag):
                raise SoapFault(
                    "invalidVersionFault",
                    "INVALID_WS_VERSION",
                    f"This address speaks version {writer.version}.",
                )
            if fault := self.service.faults.take("fault", subject):
                raise SoapFault(
                    fault.text("name", "unexpectedErrorFault"),
                    fault.text("code", "UNEXPECTED_ERROR"),
                    fault.text("message", "An unexpected error occurred. Error ID: sandbox"),
                )
            if self.service.faults.take("expire_search", subject):
                self._searches.searches.clear()
            if name == "login":
                passport = operation[0] if len(operation) else operation
                self._gate.check_user(passport)
                headers["Set-Cookie"] = f"JSESSIONID={self._gate.open_session()}; Path=/; HttpOnly"
            else:
                self._gate.check(header, session)
            if name == "logout":
                self._gate.close_session(session)
            failing = self.service.faults.take("not_success", subject)
            call = Call(
                name, operation, header, base, writer, self._searches,
                StatusError(
                    failing.text("code", "UNEXPECTED_ERROR"), "An error occurred while processing"
                ) if failing else None,
                self.service.faults.take("repeat_page", subject) is not None,
                self.service.faults.take("change_schema", subject),
            )  # fmt: skip
            content = self._operations().answer(call)
        except SoapFault as fault_told:
            return Response(writer.fault(fault_told), 500, media_type=_XML)
        return Response(writer.envelope(content, request_id), 200, headers, media_type=_XML)

    def _operations(self) -> Operations:
        return Operations(self._contract, self._present(), self._written, self._jobs)

    def _present(self) -> Account:
        """The account as it is today."""
        day, writes = self._day(), self._written.writes
        if self._account is None or self._account[0] != (day, writes):
            books = self._company.books(day)
            now = self._company.now(day)
            state = self._written.laid_over(books.state(now))
            deleted = [*books.deleted(now), *self._written.deleted]
            self._account = ((day, writes), Account(state, deleted, now))
        account = self._account[1]
        return account if self._now is None else replace(account, now=self._now())

    def _error(self, kind: str, fault: Fault) -> Response | None:
        writer = self._writer(DEFAULT_VERSION)
        if kind == "expire_session":
            self._gate.end_sessions()
            self.tokens.end()
            told = SoapFault(
                "invalidSessionFault", "SESSION_TIMED_OUT", "Your connection has timed out."
            )
        elif kind == "throttle":
            told = SoapFault("exceededConcurrentRequestLimitFault", "WS_REQUEST_BLOCKED", _BLOCKED)
        elif kind == "server_error":
            told = SoapFault(
                "unexpectedErrorFault", "UNEXPECTED_ERROR", "An unexpected error occurred."
            )
        else:
            return PlainTextResponse("Service unavailable", 503)
        return Response(writer.fault(told), 500, media_type=_XML)
