"""A small name server: PTR for the addresses of the pings, A and AAAA for their host names.

UDP, and TCP for clients that fall back to it. Names that are not known do not exist; known names
asked for another type give an empty answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import struct
from typing import cast

from meltano_assets.sandbox.fault_kinds import KINDS
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.registries import Registries
from meltano_assets.sandbox.service import Counters

_TYPES = {1: "A", 12: "PTR", 28: "AAAA"}
_TTL = 3600
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = range(6)


class NameServer:
    """Answers DNS messages."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries
        self.name = "dns"
        self.title = "DNS (PTR)"
        self.faults = FaultBox(KINDS["dns"])
        self.counters = Counters()

    def answer(self, message: bytes, *, is_udp: bool = True) -> bytes | None:
        """The answer to one message; None for silence."""
        if len(message) < 12:
            return None
        ident, flags, questions = struct.unpack(">HHH", message[:6])
        if flags & 0x8000:
            return None
        try:
            name, kind, end = _question(message)
        except (IndexError, struct.error, UnicodeDecodeError):
            return _reply(ident, flags, FORMAT_ERROR, b"", b"")
        question = message[12:end]
        if questions != 1 or flags & 0x7800:
            return _reply(ident, flags, NOT_IMPLEMENTED, question, b"")
        type_name = _TYPES.get(kind, str(kind))
        subject = f"{type_name} {name}"
        self.counters.count(subject)
        if self.faults.take("drop", subject):
            return None
        if self.faults.take("server_error", subject):
            return _reply(ident, flags, SERVER_FAILURE, question, b"")
        if self.faults.take("throttle", subject):
            return _reply(ident, flags, REFUSED, question, b"")
        if self.faults.take("garbage", subject):
            return message[:2] + b"\x81\x80\x00\x01\x00\x09" + message[8:end]
        if is_udp and self.faults.take("truncate", subject):
            return _reply(ident, flags | 0x0200, NO_ERROR, question, b"")
        exists, data = self._look_up(name, type_name)
        if not exists:
            return _reply(ident, flags, NO_SUCH_NAME, question, b"")
        record = b""
        if data:
            record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, _TTL, len(data)) + data
        return _reply(ident, flags, NO_ERROR, question, record)

    def _look_up(self, name: str, type_name: str) -> tuple[bool, bytes]:
        if name.endswith(".in-addr.arpa") or name.endswith(".ip6.arpa"):
            address = _reverse_address(name)
            found = self._registries.reverse_name(address) if address else None
            return found is not None, _encoded(found) if found and type_name == "PTR" else b""
        text = self._registries.address(name)
        if text is None:
            return False, b""
        address_bytes = ipaddress.ip_address(text).packed
        is_asked = len(address_bytes) == (4 if type_name == "A" else 16)
        return True, address_bytes if type_name in ("A", "AAAA") and is_asked else b""

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Messages with a length in front, until the client goes."""
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            while True:
                async with asyncio.timeout(30):
                    (length,) = struct.unpack(">H", await reader.readexactly(2))
                    message = await reader.readexactly(length)
                reply = self.answer(message, is_udp=False)
                if reply is None:
                    break
                writer.write(struct.pack(">H", len(reply)) + reply)
                await writer.drain()
        writer.close()


class UdpProtocol(asyncio.DatagramProtocol):
    """Datagrams in and out; ``slow`` answers late."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._server.answer(data)
        if reply is None or self._transport is None:
            return
        if fault := self._server.faults.take("slow"):
            loop = asyncio.get_running_loop()
            loop.call_later(fault.number("seconds", 1), self._transport.sendto, reply, addr)
        else:
            self._transport.sendto(reply, addr)


def _question(message: bytes) -> tuple[str, int, int]:
    labels: list[str] = []
    place = 12
    while length := message[place]:
        if length > 63:
            raise IndexError("compressed question")
        labels.append(message[place + 1 : place + 1 + length].decode("ascii").lower())
        place += 1 + length
    kind, _class = struct.unpack(">HH", message[place + 1 : place + 5])
    return ".".join(labels), kind, place + 5


def _encoded(name: str) -> bytes:
    labels = name.rstrip(".").split(".")
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in labels) + b"\x00"


def _reverse_address(name: str) -> str | None:
    labels = name.split(".")[:-2][::-1]
    try:
        if name.endswith(".in-addr.arpa"):
            return str(ipaddress.IPv4Address(".".join(labels)))
        digits = "".join(labels)
        groups = ":".join(digits[i : i + 4] for i in range(0, 32, 4))
        return str(ipaddress.IPv6Address(groups))
    except ValueError:
        return None


def _reply(ident: int, flags: int, code: int, question: bytes, record: bytes) -> bytes:
    answer_flags = 0x8000 | 0x0400 | (flags & 0x0300) | 0x0080 | code
    counts = (1 if question else 0, 1 if record else 0, 0, 0)
    return struct.pack(">HHHHHH", ident, answer_flags, *counts) + question + record
