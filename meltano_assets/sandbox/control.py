"""The control service: what runs where, the clock, the truths, faults and counts.

``GET /`` a page, ``GET /manifest`` addresses and credentials, ``GET /truths``, ``GET /requests``
(``DELETE`` sets the counts to nought), ``GET /clock``, ``POST /advance?days=n`` (``allow_future=1`` to
overtake the present), ``POST /faults`` one or a list of ``{"service", "kind", "times", "match",
"skip", …}``, ``GET /faults``, ``DELETE /faults[?service=&kind=]``, ``POST /netsuite/certificates`` a
certificate or public key in PEM, as NetSuite's administrator hands it in. Loopback only, no login.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Mapping

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import Counters, json_response
from meltano_assets.sandbox.state import CompanyClock

Manifest = dict[str, dict[str, object]]


class Control:
    """The ASGI application around the running sandbox."""

    def __init__(
        self,
        *,
        company: Company,
        clock: CompanyClock,
        manifest: Callable[[], Manifest],
        faults: Mapping[str, FaultBox],
        counters: Mapping[str, Counters],
        advance: Callable[[int], Awaitable[dict[str, object]]],
        on_faults_changed: Callable[[str], None],
        add_certificate: Callable[[bytes], str],
    ) -> None:
        self._add_certificate = add_certificate
        self._company = company
        self._clock = clock
        self._manifest = manifest
        self._faults = faults
        self._counters = counters
        self._advance = advance
        self._on_faults_changed = on_faults_changed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.handle(Request(scope, receive))
        await response(scope, receive, send)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        host = (request.headers.get("host") or "").rsplit(":", 1)[0]
        if host not in ("127.0.0.1", "localhost"):
            # A page in a browser must not reach us through a name of its own.
            return json_response({"error": "unknown host"}, 421)
        route = (request.method, request.url.path.rstrip("/") or "/")
        if route == ("GET", "/"):
            return HTMLResponse(self._page())
        if route == ("GET", "/manifest"):
            return json_response(self._manifest())
        if route == ("GET", "/truths"):
            day = int(request.query_params.get("day", self._clock.day))
            return json_response(await run_in_threadpool(self._company.truths_on, day))
        if route == ("GET", "/clock"):
            return json_response(self._time())
        if route == ("GET", "/requests"):
            return json_response({name: c.status() for name, c in self._counters.items()})
        if route == ("DELETE", "/requests"):
            for counters in self._counters.values():
                counters.reset()
            return json_response({})
        if route == ("POST", "/advance"):
            return await self._move(request)
        if route == ("GET", "/faults"):
            return json_response(self._armed())
        if route == ("POST", "/faults"):
            return await self._arm(request)
        if route == ("DELETE", "/faults"):
            return await self._clear(request)
        if route == ("POST", "/netsuite/certificates"):
            try:
                key = self._add_certificate(await request.body())
            except ValueError as error:
                return json_response({"error": str(error)}, 400)
            return json_response({"certificate_id": key})
        return json_response({"error": "not found"}, 404)

    def _time(self) -> dict[str, object]:
        return {
            "day": self._clock.day,
            "today": self._clock.now().date().isoformat(),
            "now": self._clock.now().isoformat(),
            "days_left": self._clock.days_left(),
        }

    async def _move(self, request: Request) -> Response:
        text = request.query_params.get("days", "1")
        if not is_number(text) or not 1 <= int(text) <= 1000:
            return json_response({"error": "days must be a number from 1 to 1000"}, 400)
        days = int(text)
        left = self._clock.days_left()
        if days > left and request.query_params.get("allow_future") != "1":
            message = f"the company would overtake the present: {left} days are left"
            return json_response({"error": message, **self._time()}, 409)
        changes = await self._advance(days)
        return json_response({**self._time(), **changes})

    def _kinds(self, service: str) -> tuple[str, ...]:
        """What can go wrong there."""
        return self._faults[service].kinds if service in self._faults else ()

    def _armed(self) -> dict[str, list[dict[str, object]]]:
        return {name: armed for name, box in self._faults.items() if (armed := box.status())}

    async def _arm(self, request: Request) -> Response:
        try:
            body = orjson.loads(await request.body())
            wanted = body if isinstance(body, list) else [body]
            for fault in wanted:
                self.arm(dict(fault))
        except (ValueError, TypeError) as error:
            return json_response({"error": str(error)}, 400)
        for fault in wanted:
            await run_in_threadpool(self._on_faults_changed, str(fault["service"]))
        return json_response(self._armed())

    def arm(self, fault: dict[str, object]) -> None:
        """Arm one fault as the JSON describes it; ValueError names what is wrong."""
        name = str(fault.pop("service", ""))
        if name not in self._faults:
            raise ValueError(f"no service {name!r}; there are: {', '.join(self._faults)}")
        kind = str(fault.pop("kind", ""))
        times = fault.pop("times", 1)
        skip = int(str(fault.pop("skip", 0)))
        match = str(fault.pop("match", ""))
        count = None if times is None else int(str(times))
        self._faults[name].arm(kind, times=count, match=match, skip=skip, **fault)
        fault["service"] = name

    async def _clear(self, request: Request) -> Response:
        service, kind = (request.query_params.get(name) for name in ("service", "kind"))
        for name, box in self._faults.items():
            if service in (None, name):
                box.clear(kind)
                await run_in_threadpool(self._on_faults_changed, name)
        return json_response(self._armed())

    def _page(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{_settings(settings)}</td>"
            f"<td>{html.escape(_KEEPS.get(name, 'nothing: it is read'))}</td>"
            f"<td>{self._counters[name].requests if name in self._counters else ''}</td>"
            f"<td><code>{html.escape(' '.join(self._kinds(name)))}</code></td></tr>"
            for name, settings in self._manifest().items()
            if name != "control"
        )
        clock = self._time()
        armed = html.escape(orjson.dumps(self._armed()).decode())
        return (
            "<!doctype html><meta charset=utf-8><title>Sandbox</title>"
            "<style>body{font:15px system-ui;margin:2rem}th{text-align:left;vertical-align:top}"
            "td,th{padding:.4rem 1rem;border-bottom:1px solid #ccc}code{font-size:13px}</style>"
            "<h1>Sandbox</h1>"
            f"<p>Seed {self._company.seed}, scale {self._company.scale:g}. Day {clock['day']}: it is"
            f" {html.escape(str(clock['now']))}; {clock['days_left']} days until the present."
            ' <form method=post action="/advance?days=1"><button>Advance one day</button></form>'
            f"<table><tr><th>Service</th><th>Settings</th><th>Keeps what clients write</th>"
            f"<th>Requests</th><th>Faults</th></tr>{rows}</table>"
            f"<p>Armed faults: <code>{armed}</code></p>"
            '<p><a href="/manifest">manifest</a> · <a href="/truths">truths</a> ·'
            ' <a href="/requests">requests</a> · <a href="/faults">faults</a></p>'
        )


#: What services keep of clients' writes, in words; the others are read only.
_KEEPS = {
    "salesforce": "records of every object, jobs",
    "zendesk": "tickets, comments, files, tags, users, organizations, groups, fields, macros, rules",
    "stripe": "customers, products, prices, payments, refunds, invoices, subscriptions, coupons, credit notes",
    "zuora": "accounts, contacts, subscriptions, orders, the catalogue, jobs",
    "netsuite": "records of every type",
    "marketo": "leads, lists, program members, activities, custom objects, import and export jobs",
    "lever": "opportunities, notes, files, contacts, postings, requisitions, users",
}


def _settings(settings: Mapping[str, object]) -> str:
    return "<br>".join(
        f"{html.escape(key)} <code>{html.escape(str(value))}</code>"
        for key, value in settings.items()
    )
