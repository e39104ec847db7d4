"""Providers on loopback that say what a test tells them to, and remember what they were asked."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset
import pytest

from meltano_assets.clients.policy import Clock


@dataclass
class Asked:
    """One request as a server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


#: Status, headers and body; a callable as the body writes to the connection itself.
Reply = tuple[int, dict[str, str], Any]


@dataclass
class WebServer:
    """An HTTP server; ``answer`` is the test's."""

    answer: Callable[[Asked], Reply]
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def web_server(answer: Callable[[Asked], Reply]) -> Iterator[WebServer]:
    server = WebServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            asked = Asked(self.command, self.path, dict(self.headers.items()), body)
            server.asked.append(asked)
            status, headers, content = server.answer(asked)
            with contextlib.suppress(OSError):
                if callable(content):
                    content(self.wfile)
                    return
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = handle_any

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        server.port = running.server_address[1]
        with _serving(running):
            yield server


@dataclass
class LineServer:
    """A TCP server of the WHOIS kind: a line in, text out."""

    answer: Callable[[str], str | bytes]
    asked: list[str] = field(default_factory=list)
    port: int = 0


@contextlib.contextmanager
def line_server(answer: Callable[[str], str | bytes]) -> Iterator[LineServer]:
    server = LineServer(answer)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode().removesuffix("\r\n")
            server.asked.append(line)
            said = server.answer(line)
            with contextlib.suppress(OSError):
                self.wfile.write(said if isinstance(said, bytes) else said.encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        server.port = running.server_address[1]
        with _serving(running):
            yield server


@dataclass
class NameServer:
    """A DNS server for PTR records; no name is NXDOMAIN, ``""`` is silence."""

    names: dict[str, str]
    asked: list[str] = field(default_factory=list)
    port: int = 0


@contextlib.contextmanager
def name_server(names: dict[str, str]) -> Iterator[NameServer]:
    server = NameServer(names)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            query = dns.message.from_wire(data)
            question = query.question[0]
            address = dns.reversename.to_address(question.name)
            server.asked.append(address)
            found = server.names.get(address)
            if found == "":
                return
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.RA
            if found is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            else:
                reply.answer.append(
                    dns.rrset.from_text(question.name, 60, "IN", "PTR", f"{found}.")
                )
            sock.sendto(reply.to_wire(), self.client_address)

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        server.port = running.server_address[1]
        with _serving(running):
            yield server


@contextlib.contextmanager
def _serving(running: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        running.shutdown()
        thread.join()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class World:
    """All providers: what each knows, and settings that lead to them."""

    settings: dict[str, dict[str, str]]
    discoverorg: WebServer
    clearbit: WebServer
    rdap: WebServer
    whois: LineServer
    dns: NameServer
    companies: dict[str, dict[str, Any]] = field(default_factory=dict)
    clearbit_answers: dict[str, Reply] = field(default_factory=dict)
    registrations: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)

    def asked_names(self) -> set[str]:
        """Every name that reached any provider."""
        names = {
            asked.body["companyCriteria"]["queryString"]
            for asked in self.discoverorg.asked
            if asked.path.endswith("/search/companies")
        }
        names |= {asked.path.partition("domain=")[2] for asked in self.clearbit.asked}
        names |= {
            asked.path.rpartition("/")[2]
            for asked in self.rdap.asked
            if not asked.path.endswith(".json")
        }
        return names | set(self.whois.asked) | set(self.dns.asked)

    @property
    def total(self) -> int:
        """Requests that reached any provider."""
        servers = (self.discoverorg, self.clearbit, self.rdap, self.whois, self.dns)
        return sum(len(server.asked) for server in servers)


@pytest.fixture
def world() -> Iterator[World]:
    """Providers that know nothing yet."""
    with contextlib.ExitStack() as stack:
        discoverorg = stack.enter_context(web_server(lambda asked: _discoverorg(world, asked)))
        clearbit = stack.enter_context(web_server(lambda asked: _clearbit(world, asked)))
        rdap = stack.enter_context(web_server(lambda asked: _rdap(world, asked)))
        whois = stack.enter_context(line_server(lambda line: _whois(world, line)))
        names = stack.enter_context(name_server({}))
        world = World(
            settings={
                "discoverorg": {
                    "base_url": discoverorg.url,
                    "username": "user",
                    "password": "word",
                    "partner_key": "key",
                },
                "clearbit": {"base_url": clearbit.url, "api_key": "sk_test"},
                "rdap": {"bootstrap_url": f"{rdap.url}/rdap/dns.json"},
                "whois": {"host": "127.0.0.1", "port": str(whois.port)},
                "dns": {"host": "127.0.0.1", "port": str(names.port)},
            },
            discoverorg=discoverorg,
            clearbit=clearbit,
            rdap=rdap,
            whois=whois,
            dns=names,
        )
        yield world


@pytest.fixture
def hasty() -> Clock:
    """A clock whose pauses take no time."""
    return Clock(sleep=lambda seconds: None, chance=lambda: 0.0)


def _discoverorg(world: World, asked: Asked) -> Reply:
    if asked.path == "/papi/login":
        is_right = asked.body == {"username": "user", "password": "word", "partnerKey": "key"}
        return (200, {"X-AUTH-TOKEN": "token"}, b"") if is_right else (401, {}, {})
    if asked.headers.get("X-AUTH-TOKEN") != "token":
        return 401, {}, {}
    company = world.companies.get(asked.body["companyCriteria"]["queryString"])
    content = [] if company is None else [company]
    return 200, {}, {"content": content, "numberOfElements": len(content)}


def _clearbit(world: World, asked: Asked) -> Reply:
    domain = asked.path.partition("domain=")[2]
    unknown = {"error": {"type": "unknown_record", "message": "Unknown company."}}
    return world.clearbit_answers.get(domain, (404, {}, unknown))


def _rdap(world: World, asked: Asked) -> Reply:
    services = {
        "/rdap/dns.json": [[["com", "net", "uk"], [f"{world.rdap.url}/registry/"]]],
        "/rdap/ipv4.json": [[["8.0.0.0/7", "88.0.0.0/8"], [f"{world.rdap.url}/registry"]]],
        "/rdap/ipv6.json": [[["2001:4860::/32"], [f"{world.rdap.url}/registry/"]]],
    }
    if asked.path in services:
        return 200, {}, {"version": "1.0", "services": services[asked.path]}
    found = world.registrations.get(asked.path.rpartition("/")[2])
    if found is None:
        return 404, {}, {"errorCode": 404, "title": "Not Found", "description": []}
    return 200, {"Content-Type": "application/rdap+json"}, found


def _whois(world: World, line: str) -> str:
    return world.records.get(line, "No match for domain.\r\n")
