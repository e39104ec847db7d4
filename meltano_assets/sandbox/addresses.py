"""Ports of the sandbox's services, and the sockets that are bound to them."""

from __future__ import annotations

import socket

from meltano_assets.sandbox.state import StateFolder, remembered_ports

LOOPBACK = "127.0.0.1"
#: Ports count up in this order from ``port_base``.
SERVICES = (
    "salesforce",
    "zendesk",
    "discoverorg",
    "clearbit",
    "rdap",
    "whois",
    "dns",
    "control",
    "whois_chain",
    "zuora",
    "stripe",
    "marketo",
    "lever",
    "netsuite",
)
#: Where the servers of the WHOIS chain listen, where the machine has these addresses.
WHOIS_CHAIN = {"iana": "127.0.0.1", "registry": "127.0.0.2", "registrar": "127.0.0.3"}


class Addresses:
    """The same ports as the last time where they are free, or counted up from a base."""

    def __init__(self, folder: StateFolder, port_base: int | None) -> None:
        self._folder = folder
        self._port_base = port_base
        self.sockets: dict[str, socket.socket] = {}
        self.ports: dict[str, int] = {}
        #: Role in the WHOIS chain → where its server listens.
        self.chain: dict[str, tuple[str, int]] = {}

    def bind(self) -> None:
        """Take them all; OSError names the port and the service."""
        base = self._port_base
        known = remembered_ports(self._folder)
        for place, name in enumerate(SERVICES):
            wanted = known.get(name, 0) if base is None else base + place
            is_fixed = base is not None
            try:
                if name == "whois_chain":
                    self._bind_chain(wanted, is_fixed)
                elif name == "dns":
                    tcp, udp = _bind_twice(wanted, is_fixed)
                    self.sockets |= {"dns": tcp, "dns_udp": udp}
                else:
                    self.sockets[name] = _bind_one(LOOPBACK, wanted, is_fixed)
            except OSError as error:
                message = f"port {wanted} for {name}: {error.strerror}"
                raise OSError(error.errno, message) from error
            if name in self.sockets:
                self.ports[name] = self.sockets[name].getsockname()[1]
        self._folder.write("ports", self.ports)

    def _bind_chain(self, wanted: int, is_fixed: bool) -> None:
        first = _bind_one(LOOPBACK, wanted, is_fixed)
        port = first.getsockname()[1]
        self.ports["whois_chain"] = port
        for role, address in WHOIS_CHAIN.items():
            if role == "iana":
                bound = first
            else:
                try:
                    bound = _bind_one(address, port, is_fixed=True)
                except OSError:
                    bound = _bind_one(LOOPBACK, 0, is_fixed=False)
            self.sockets[f"whois_{role}"] = bound
            host, number = bound.getsockname()[:2]
            self.chain[role] = (str(host), int(number))

    def url(self, name: str) -> str:
        """Where an HTTP service answers."""
        return f"http://{LOOPBACK}:{self.ports[name]}"


def _bind_one(
    address: str, port: int, is_fixed: bool, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """A bound socket at the port, or at a free one where the port is only a wish."""
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, an answer in
    # two writes waits 40 ms for the client's acknowledgement.
    protocol = socket.IPPROTO_TCP if kind is socket.SOCK_STREAM else socket.IPPROTO_UDP
    bound = socket.socket(socket.AF_INET, kind, protocol)
    try:
        if kind is socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        if kind is socket.SOCK_STREAM:
            bound.listen(256)
    except OSError:
        bound.close()
        if is_fixed or port == 0:
            raise
        return _bind_one(address, 0, is_fixed, kind)
    return bound


def _bind_twice(port: int, is_fixed: bool) -> tuple[socket.socket, socket.socket]:
    """TCP and UDP at one port."""
    for _ in range(20):
        tcp = _bind_one(LOOPBACK, port, is_fixed)
        number = tcp.getsockname()[1]
        try:
            return tcp, _bind_one(LOOPBACK, number, is_fixed=True, kind=socket.SOCK_DGRAM)
        except OSError:
            tcp.close()
            if is_fixed:
                raise
            port = 0
    raise OSError("no port is free for both TCP and UDP")
