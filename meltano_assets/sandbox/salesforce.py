"""A local Salesforce over HTTP, for clients that were written for the real one.

``SalesforceOrg`` holds the state, ``build_app`` serves it: OAuth and SOAP login, REST records,
describe, SOQL, composite calls, Bulk API 2.0 and the first Bulk API. Belongs here: what happens to every request
(reading it, sessions, limits, misbehaviour on request, compression). What the resources do is in
the modules named ``salesforce_*``.

Links are built from ``public_url`` or from the request's ``Host`` (and ``X-Forwarded-Proto``), so
the server works on any port and behind a TLS proxy.
"""

from __future__ import annotations

import asyncio
import logging
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from meltano_assets.sandbox.faults import Fault, FaultBox
from meltano_assets.sandbox.salesforce_async import AsyncApi
from meltano_assets.sandbox.salesforce_bulk import BulkJobs
from meltano_assets.sandbox.salesforce_http import NOT_FOUND, Call, Reply, failure
from meltano_assets.sandbox.salesforce_login import bearer_user, oauth, parse_form
from meltano_assets.sandbox.salesforce_org import API_VERSIONS, SalesforceOrg
from meltano_assets.sandbox.salesforce_rest import RestApi, identity, versions
from meltano_assets.sandbox.salesforce_soap import Soap
from meltano_assets.sandbox.salesforce_values import ApiProblem
from meltano_assets.sandbox.service import BAD_BODIES, METADATA, address_of, bad_body

__all__ = ["SalesforceOrg", "build_app"]

_log = logging.getLogger(__name__)

#: The vendor takes 150 MB (base64) in one upload; anything longer is cut off here.
MAX_BODY = 150 * 1024 * 1024
#: Longer addresses are refused with 414, as the vendor's page on status codes says.
MAX_URI = 16_384
_COMPRESS_FROM = 1024
_DATA = re.compile(r"/services/data/v(\d+\.\d)(/.*)?$")
_ASYNC = re.compile(r"/services/async/(\d+\.\d)(/.*)?$")
_SOAP = re.compile(r"/services/Soap/([ucm])/(\d{1,3}(?:\.\d)?)(?:/\w*)?/?$", re.I)
_REQUEST_LIMIT = ApiProblem("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
_BAD_SESSION = ApiProblem("INVALID_SESSION_ID", "Session expired or invalid")


def build_app(
    org: SalesforceOrg, *, public_url: str | None = None, faults: FaultBox | None = None
) -> Starlette:
    """The org as a web application; its bulk jobs run while the application lives."""
    if faults is not None:
        org.faults = faults
    jobs = BulkJobs(org)
    server = _Server(org, RestApi(org, jobs), public_url)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        jobs.start()
        yield
        await run_in_threadpool(jobs.stop)
        await run_in_threadpool(org.keep_usage)

    return Starlette(routes=[Mount("/", app=server)], lifespan=lifespan)


class _BadBody(Exception):
    """A body that cannot be read."""


class _Server:
    def __init__(self, org: SalesforceOrg, api: RestApi, public_url: str | None) -> None:
        self.org = org
        self.api = api
        self.bulk_1 = AsyncApi(org)
        self.soap = Soap(org, api)
        self.public_url = public_url.rstrip("/") if public_url else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        method = scope["method"]
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        # Clients join an address that ends in a slash with paths that begin with one.
        path = "/" + path.split("?", 1)[0].lstrip("/")
        query = scope["query_string"].decode("latin-1")
        subject = f"{method} {path}?{query}"
        try:
            body = await _read_body(receive, headers)
        except _BadBody as error:
            reply = failure(400, ApiProblem("JSON_PARSER_ERROR", str(error)))
            await _send(send, reply, headers, method)
            return
        if fault := self.org.faults.take("slow", subject):
            await asyncio.sleep(fault.number("seconds", 1))
        if self.org.faults.take("drop", subject):
            await _drop(scope, receive)
            return
        has_session = "x-sfdc-session" in headers or headers.get(
            "authorization", ""
        ).lower().startswith(("bearer", "oauth"))
        if has_session and self.org.faults.take("expire_session", subject):
            await run_in_threadpool(self.org.expire_sessions)
        spoiled = self._spoiled(subject)
        if spoiled is None:
            reply = await run_in_threadpool(self._answer, method, path, query, headers, body, scope)
        else:
            reply = spoiled
        if self.org.faults.take("drop_after", subject):
            await _drop(scope, receive)
            return
        ending = self.org.faults.take("truncate", subject)
        if ending is None:
            ending = self.org.faults.take("drip", subject)
        if ending is None:
            await _send(send, reply, headers, method)
        else:
            await _send(send, reply, headers, method, ending)
            if ending.kind == "truncate":
                await asyncio.sleep(0.05)  # lets the half that was sent reach the client
                await _drop(scope, receive)

    def _spoiled(self, subject: str) -> Reply | None:
        """The answer of a fault that replaces the real one."""
        take = self.org.faults.take
        if fault := take("throttle", subject):
            problem = ApiProblem("TOO_MANY_REQUESTS", "Too many requests. Try again later.")
            wait = int(fault.number("retry_after_seconds", 1))
            headers = {"Retry-After": str(wait)}
            if not fault.is_set("with_retry_after", default=True):
                headers = {}
            return Reply(429, [problem.for_request()], headers)
        if fault := take("unavailable", subject):
            problem = ApiProblem("SERVER_UNAVAILABLE", "Server unavailable. Try again later.")
            wait = int(fault.number("retry_after_seconds", 1))
            return Reply(503, [problem.for_request()], {"Retry-After": str(wait)})
        if take("server_error", subject):
            return failure(
                500,
                ApiProblem(
                    "UNKNOWN_EXCEPTION",
                    "An unexpected error occurred. Please include this ErrorId if you contact "
                    "support: 1042-7 (-1331044234)",
                ),
            )
        if take("request_limit", subject):
            return failure(403, _REQUEST_LIMIT)
        if take("concurrent_limit", subject):
            return failure(
                403,
                ApiProblem(
                    "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API) Limit exceeded."
                ),
            )
        if fault := take("html", subject):
            return Reply(
                int(fault.number("status", 502)),
                "<html><head><title>502 Bad Gateway</title></head>"
                "<body><h1>Bad Gateway</h1></body></html>",
                content_type="text/html",
            )
        for kind in BAD_BODIES:
            if fault := take(kind, subject):
                return Reply(200, *bad_body(fault))
        if fault := take("redirect", subject):
            return Reply(302, b"", {"Location": fault.text("location", METADATA)})
        return None

    def _base_url(self, headers: dict[str, str], scope: Scope) -> str:
        if self.public_url:
            return self.public_url
        return address_of(headers, scope.get("scheme", "http"))

    def _answer(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        body: bytes,
        scope: Scope,
    ) -> Reply:
        base = self._base_url(headers, scope)
        if len(path) + len(query) > MAX_URI:
            return Reply(
                414,
                [ApiProblem("URI_TOO_LONG", "The URI exceeds the maximum length").for_request()],
            )
        if soap_path := _SOAP.match(path):
            return self.soap.answer(soap_path[1].lower(), soap_path[2], body, base)
        params = dict(parse_qsl(query, keep_blank_values=True))
        if path.startswith("/services/oauth2/"):
            name = path.rstrip("/").rsplit("/", 1)[1]
            return oauth(self.org, name, {**params, **parse_form(body)}, headers, base)
        if path.rstrip("/") == "/services/data":
            return Reply(200, versions())
        if bulk := _ASYNC.match(path):
            if not self.org.count_request():
                return self._limited(failure(403, _REQUEST_LIMIT))
            call = Call(self.org, method, bulk[2] or "", query, headers, body, version=bulk[1])
            return self.bulk_1.dispatch(call)
        user = bearer_user(self.org, headers)
        if path.startswith("/id/"):
            if user is None:
                return Reply(403, "Bad_OAuth_Token", content_type="text/html;charset=UTF-8")
            return Reply(200, identity(self.org, base))
        data = _DATA.match(path)
        if user is None and data:
            return Reply(401, [_BAD_SESSION.for_request()], {"WWW-Authenticate": "Token"})
        if data is None or data[1] not in API_VERSIONS:
            return failure(404, NOT_FOUND)
        if not self.org.count_request():
            return self._limited(failure(403, _REQUEST_LIMIT))
        override = params.get("_HttpMethod", "").upper() or headers.get(
            "x-http-method-override", ""
        )
        if method == "POST" and override in ("PATCH", "DELETE", "PUT"):
            method = override
        call = Call(
            self.org, method, data[2] or "", query, headers, body, version=data[1], base_url=base
        )
        return self._limited(self.api.dispatch(call))

    def _limited(self, reply: Reply) -> Reply:
        used, limit = self.org.api_requests, self.org.daily_api_limit
        reply.headers["Sforce-Limit-Info"] = f"api-usage={used}/{limit}"
        return reply


async def _read_body(receive: Receive, headers: dict[str, str]) -> bytes:
    chunks = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _BadBody("The client closed the connection")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY:
            raise _BadBody("The request entity is too large")
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    body = b"".join(chunks)
    if headers.get("content-encoding", "").lower() == "gzip":
        unpacker = zlib.decompressobj(31)
        try:
            body = unpacker.decompress(body, MAX_BODY)
        except zlib.error as error:
            raise _BadBody("The body is not valid gzip") from error
        if unpacker.unconsumed_tail:
            raise _BadBody("The request entity is too large")
    return body


async def _drop(scope: Scope, receive: Receive) -> None:
    """Closes the connection without a word, as a broken network does."""
    # ASGI has no word for this. The sandbox's own protocol offers it as an extension; uvicorn's
    # plain one keeps the socket behind ``receive``.
    abort = (scope.get("extensions") or {}).get("sandbox.abort")
    if abort is None:
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is None:
            raise ConnectionAbortedError("the sandbox was told to drop this connection")
        abort = transport.abort
    abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(
    send: Send,
    reply: Reply,
    request_headers: dict[str, str],
    method: str,
    fault: Fault | None = None,
) -> None:
    body = await run_in_threadpool(reply.body) if reply.content is not None else b""
    headers = {"Content-Type": reply.content_type, **reply.headers}
    if reply.content is None:
        del headers["Content-Type"]
    is_plain = "Content-Encoding" not in headers
    if (
        is_plain
        and len(body) >= _COMPRESS_FROM
        and "gzip" in request_headers.get("accept-encoding", "")
    ):
        body = await run_in_threadpool(_gzip, body)
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
    if reply.status not in (204, 304):
        headers["Content-Length"] = str(len(body))
    start: Message = {
        "type": "http.response.start",
        "status": reply.status,
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
        ],
    }
    await send(start)
    if method == "HEAD":
        body = b""
    if fault is not None and fault.kind == "truncate":
        half = body[: len(body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        return
    if fault is not None and fault.kind == "drip":
        pieces = 20
        step = max(1, len(body) // pieces)
        for index in range(0, len(body), step):
            piece = body[index : index + step]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(fault.number("seconds", 1) / pieces)
        body = b""
    await send({"type": "http.response.body", "body": body})


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
