"""What may stand between a load and its server: a line that breaks at a given message, and a pooler.

Both speak Postgres' protocol as far as they must: a startup packet, then messages of a letter and a length.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from meltano_assets.warehouse.connection import Warehouse

_REFUSES_TLS = 80877103
#: So long the server may take for the last message that it hears.
_PATIENCE_SECONDS = 0.05


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def _startup(client: socket.socket) -> bytes:
    """The startup packet; TLS is refused."""
    while True:
        size = _exactly(client, 4)
        body = _exactly(client, struct.unpack(">i", size)[0] - 4)
        if struct.unpack(">i", body[:4])[0] != _REFUSES_TLS:
            return size + body
        client.sendall(b"N")


def _message(stream: socket.socket) -> bytes:
    head = _exactly(stream, 5)
    return head + _exactly(stream, struct.unpack(">i", head[1:])[0] - 4)


class _Server(ABC):
    """Listens on a port of its own and gives each client a thread."""

    def __init__(self, behind: Warehouse) -> None:
        self.behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        given = behind.url.split("@", 1)
        login, place = given[0], given[1].split("/", 1)[1]
        self.warehouse = Warehouse(f"{login}@127.0.0.1:{port}/{place}")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve_quietly, args=[client], daemon=True).start()

    def _serve_quietly(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            self.serve(client)

    @abstractmethod
    def serve(self, client: socket.socket) -> None:
        """Answer one client until it goes."""


class BreakingLine(_Server):
    """Passes messages on; the one of number ``breaks_at`` is lost, or its answer is (``is_heard``)."""

    def __init__(
        self, behind: Warehouse, breaks_at: int | None = None, *, is_heard: bool = False
    ) -> None:
        self.passed = 0
        self._breaks_at = breaks_at
        self._is_heard = is_heard
        self._lock = threading.Lock()
        super().__init__(behind)

    def serve(self, client: socket.socket) -> None:
        parts = self.behind.parameters
        with socket.create_connection((parts["host"], int(parts["port"]))) as server:
            server.sendall(_startup(client))
            threading.Thread(target=self._answer, args=[server, client], daemon=True).start()
            while True:
                try:
                    message = _message(client)
                except OSError:
                    server.shutdown(socket.SHUT_RDWR)
                    raise
                with self._lock:
                    self.passed += 1
                    is_broken = self._breaks_at is not None and self.passed >= self._breaks_at
                if is_broken:
                    client.shutdown(socket.SHUT_RDWR)
                    if self._is_heard:
                        server.sendall(message)
                        time.sleep(_PATIENCE_SECONDS)
                    # Closing alone would wait for the other thread.
                    server.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(message)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError, ConnectionError):
            while data := server.recv(65_536):
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


class Pooler(_Server):
    """Lets all clients share one session of the server, a transaction each in turn."""

    def __init__(self, behind: Warehouse) -> None:
        self._connection = psycopg.connect(behind.url, autocommit=True)
        self._session = socket.socket(fileno=os.dup(self._connection.fileno()))
        self._session.setblocking(True)
        self._turn = threading.Lock()
        super().__init__(behind)

    def close(self) -> None:
        super().close()
        self._connection.close()

    def serve(self, client: socket.socket) -> None:
        _startup(client)
        client.sendall(b"R" + struct.pack(">ii", 8, 0))
        for name in ("server_version", "client_encoding", "server_encoding", "DateStyle",
                     "integer_datetimes", "standard_conforming_strings", "TimeZone"):  # fmt: skip
            value = self._connection.info.parameter_status(name) or ""
            body = name.encode() + b"\0" + value.encode() + b"\0"
            client.sendall(b"S" + struct.pack(">i", len(body) + 4) + body)
        client.sendall(b"K" + struct.pack(">iii", 12, 1, 1) + b"Z" + struct.pack(">i", 5) + b"I")
        while True:
            message = _message(client)
            if message[:1] == b"X":
                return
            with self._turn:
                self._transaction(client, message)

    def _transaction(self, client: socket.socket, message: bytes) -> None:
        while True:
            self._session.sendall(message)
            if message[:1] in b"QS":
                answer = b""
                while answer[:1] != b"Z":
                    answer = _message(self._session)
                    client.sendall(answer)
                if answer[-1:] == b"I":
                    return
            message = _message(client)


@contextmanager
def running(server: BreakingLine | Pooler) -> Iterator[BreakingLine | Pooler]:
    try:
        yield server
    finally:
        server.close()
