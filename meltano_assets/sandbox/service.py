"""What every HTTP service of the sandbox has: counted requests, faults, gzip, a way to hang up."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from meltano_assets.sandbox.fault_kinds import KINDS
from meltano_assets.sandbox.faults import Fault, FaultBox

Handler = Callable[[Request], Awaitable[Response]]
ErrorAnswer = Callable[[str, Fault], Response | None]


def json_response(
    content: object,
    status: int = 200,
    headers: dict[str, str] | None = None,
    media_type: str = "application/json; charset=utf-8",
) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(content), status, headers, media_type)


#: Names of headers that are no words with a capital.
_CAPITALS = {b"etag": b"ETag", b"www-authenticate": b"WWW-Authenticate"}
_NAME = re.compile(rb"(?<=\r\n)[a-z0-9-]+(?=:)")


class _WithCapitals:
    """A connection whose answers name their headers as vendors do: ``Content-Type``.

    HTTP knows no case here, but clients do; uvicorn writes small letters.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            data = _NAME.sub(_capitalized, data)
        self._transport.write(data)


def _capitalized(found: re.Match[bytes]) -> bytes:
    return _CAPITALS.get(found[0]) or found[0].title()


class HangUpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets an application close or abort its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_WithCapitals(transport))  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: MutableMapping[str, Any] = self.scope.setdefault("extensions", {})
        extensions["sandbox.close"] = self.transport.close
        extensions["sandbox.abort"] = self.transport.abort


class Counted:
    """An application that came from elsewhere, with its requests counted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.counters = Counters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.counters.count(scope["path"])

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.counters.by_status[str(message["status"])] += 1
            await send(message)

        await self._app(scope, receive, counted)


class Counters:
    """How often a service was asked, by path and by status."""

    def __init__(self) -> None:
        self.requests = 0
        self.by_path: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()

    def count(self, path: str) -> None:
        """One more request."""
        self.requests += 1
        self.by_path[path] += 1

    def status(self) -> dict[str, object]:
        """The counts, as JSON."""
        return {
            "requests": self.requests,
            "by_path": dict(self.by_path),
            "by_status": dict(self.by_status),
        }

    def reset(self) -> None:
        """Begin at nought."""
        self.requests = 0
        self.by_path.clear()
        self.by_status.clear()


#: Where a client inside a cloud would find that cloud's credentials.
METADATA = "http://169.254.169.254/latest/meta-data/"
#: Faults of which the body alone is bad.
BAD_BODIES = ("garbage", "huge", "gzip_bomb", "entities")
#: Entities that a parser must not follow: a file, and a text that grows as it is read.
_ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/hostname">'
    b'<!ENTITY a "aaaaaaaaaa">'
    + b"".join(
        b'<!ENTITY %c "%s">' % (name, b"&%c;" % (name - 1) * 10)
        for name in range(ord("b"), ord("j"))
    )
    + b']><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    b"<soapenv:Body><x>&file;&i;</x></soapenv:Body></soapenv:Envelope>"
)


def bad_body(fault: Fault) -> tuple[bytes, dict[str, str]]:
    """A body that cannot be read or is too much to read, and its headers."""
    if fault.kind == "garbage":
        return b'{"records": [{"id": 1, "na', {}
    if fault.kind == "entities":
        return _ENTITIES, {"Content-Type": "text/xml; charset=utf-8"}
    if fault.kind == "huge":
        size = int(fault.number("mebibytes", 10) * (1 << 20))
        return b'{"records": [{"id": 1, "name": "' + b"x" * size, {}
    # A gzip file may have many members, so that one of them need be packed.
    member = gzip.compress(b" " * (1 << 20), 9)
    return member * max(1, int(fault.number("mebibytes", 1024))), {"Content-Encoding": "gzip"}


class HttpService:
    """One vendor's HTTP service around its handler.

    ``error_answer`` gives the vendor's own body for ``throttle``, ``unavailable``,
    ``server_error``, ``forbidden`` and ``expire_session``; None means that the handler goes on (it has, say,
    dropped its sessions).
    """

    media_type = "application/json"

    def __init__(
        self,
        name: str,
        title: str,
        handler: Handler,
        error_answer: ErrorAnswer,
    ) -> None:
        self.name = name
        self.title = title
        self.faults = FaultBox(KINDS[name])
        self.counters = Counters()
        self._error_answer = error_answer
        self._handler = handler
        self._app: ASGIApp = GZipMiddleware(self._answer, minimum_size=600, compresslevel=3)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.counters.count(scope["path"])
        subject = f"{scope['method']} {scope['path']}?{scope['query_string'].decode('latin-1')}"
        if fault := self.faults.take("slow", subject):
            await asyncio.sleep(fault.number("seconds", 1))
        if self.faults.take("drop", subject):
            self.counters.by_status["dropped"] += 1
            await hang_up(scope, receive, abort=True)
            return
        replaced = self._refusal(subject)
        app = replaced or self._app
        ending = next(
            (f for k in ("drop_after", "truncate", "drip") if (f := self.faults.take(k, subject))),
            None,
        )
        if ending is not None:
            await self._end_badly(ending, app, scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.counters.by_status[str(message["status"])] += 1
            await send(message)

        await app(scope, receive, counted)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A handler need not know HEAD: it is GET, whose body the server leaves out.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        response = await self._handler(Request(asked, receive))
        await response(scope, receive, send)

    def _refusal(self, subject: str) -> Response | None:
        for kind in ("expire_session", "forbidden", "throttle", "unavailable", "server_error"):
            if (fault := self.faults.take(kind, subject)) and (
                answer := self._told(kind, fault, subject)
            ) is not None:
                return answer
        if fault := self.faults.take("html", subject):
            return HTMLResponse(
                "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
                int(fault.number("status", 502)),
            )
        for kind in BAD_BODIES:
            if fault := self.faults.take(kind, subject):
                body, headers = bad_body(fault)
                return Response(body, 200, {"Content-Type": self.media_type, **headers})
        if fault := self.faults.take("redirect", subject):
            return Response(b"", 302, {"Location": fault.text("location", METADATA)})
        return None

    def _told(self, kind: str, fault: Fault, subject: str) -> Response | None:
        """The vendor's own answer for a fault; ``subject`` is the request's line."""
        return self._error_answer(kind, fault)

    async def _end_badly(
        self, fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        start: Message = {}
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await app(scope, receive, collect)
        body = b"".join(parts)
        self.counters.by_status[fault.kind] += 1
        if fault.kind == "drop_after":
            await hang_up(scope, receive, abort=True)
            return
        headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "headers": headers})
        if fault.kind == "truncate":
            await send(
                {"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True}
            )
            await hang_up(scope, receive, abort=False)
            return
        pieces = 20
        size = max(1, -(-len(body) // pieces))
        for place in range(0, len(body), size):
            await asyncio.sleep(fault.number("seconds", 1) / pieces)
            chunk = body[place : place + size]
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def hang_up(scope: Scope, receive: Receive, *, abort: bool) -> None:
    """Close the connection: at once, or after what was written has gone out."""
    action = (scope.get("extensions") or {}).get("sandbox.abort" if abort else "sandbox.close")
    if action is None:
        raise ConnectionAbortedError("told to drop this connection")
    action()
    while (await receive())["type"] != "http.disconnect":
        pass


#: Domains of the vendors, whose services speak nothing but HTTPS.
_VENDORS = (
    "clearbit.com",
    "discoverydb.com",
    "force.com",
    "iana.org",
    "lever.co",
    "mktorest.com",
    "netsuite.com",
    "salesforce.com",
    "stripe.com",
    "zendesk.com",
    "zuora.com",
)


def address_of(headers: Mapping[str, str], scheme: str) -> str:
    """The address under which the client reached this service, from the headers by lower case.

    A client that calls the vendor by name came through something that ended TLS for it, which
    may say so or be a plain tunnel.
    """
    host = headers.get("x-forwarded-host") or headers.get("host") or "localhost"
    name = host.partition(":")[0].lower()
    if any(name == vendor or name.endswith(f".{vendor}") for vendor in _VENDORS):
        scheme = "https"
    return f"{headers.get('x-forwarded-proto') or scheme}://{host}"


def base_url(request: Request) -> str:
    """The address under which the client reached this service."""
    return address_of(request.headers, request.url.scheme)


class RateLimit:
    """A budget of requests in a sliding minute."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._times: list[float] = []

    def spend(self, now: float) -> tuple[int, float]:
        """Remaining requests (negative: refused) and the seconds until the oldest is forgotten."""
        self._times = [t for t in self._times if t > now - 60]
        if len(self._times) >= self.per_minute:
            return -1, max(1.0, self._times[0] + 60 - now)
        self._times.append(now)
        return self.per_minute - len(self._times), 60 - (now - self._times[0])
