"""A tiny HTTP server that answers as a test says, well or badly, over a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from meltano_assets.clients.policy import Clock, Retry, Transport


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    params: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    peer: int


@dataclass
class Answer:
    """What to send. ``cut`` sends only so many bytes of the body; ``is_dropped`` none at all."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: int | None = None
    is_dropped: bool = False


Handler = Callable[[Request], Answer]


class LocalServer:
    """Answers by ``handler``; remembers the requests."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.seen: list[Request] = []
        server = self

        class _Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                size = int(self.headers.get("Content-Length", 0))
                request = Request(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    dict(self.headers),
                    self.rfile.read(size),
                    self.client_address[1],
                )
                server.seen.append(request)
                answer = server.handler(request)
                if answer.is_dropped:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body[: answer.cut])
                if answer.cut is not None:
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serving(handler: Handler) -> Iterator[LocalServer]:
    """A server for the length of the block."""
    server = LocalServer(handler)
    try:
        yield server
    finally:
        server.close()


def in_turn(*answers: Answer) -> Handler:
    """One answer after the other; the last one again and again."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


class FakeClock:
    """Time that passes only by sleeping; ``slept`` holds the waits."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.slept: list[float] = []
        self.start = now

    @property
    def clock(self) -> Clock:
        return Clock(
            monotonic=lambda: sum(self.slept),
            now=lambda: self.start + timedelta(seconds=sum(self.slept)),
            sleep=self.slept.append,
            chance=lambda: 1.0,
        )

    def transport(self, **options: object) -> Transport:
        """A transport that never really waits."""
        settings: dict[str, object] = {"retry": Retry(tries=4), "timeout_seconds": (2.0, 5.0)}
        return Transport(clock=self.clock, **{**settings, **options})  # type: ignore[arg-type]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
