"""The sandbox under the vendor's own HTTPS address: for other people's clients that insist on it.

Their process looks host names up here (by a ``sitecustomize`` on its path) and trusts our
certificate; the client itself stays unchanged.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_SITE = """import socket
import ssl
_looked_up = socket.getaddrinfo
def _at_home(host, port, *args, **kwargs):
    if host in {hosts!r}:
        host, port = "127.0.0.1", {port}
    return _looked_up(host, port, *args, **kwargs)
socket.getaddrinfo = _at_home
_loaded = ssl.SSLContext.load_verify_locations
def _and_ours(self, *args, **kwargs):
    _loaded(self, *args, **kwargs)
    _loaded(self, cafile={certificate!r})
ssl.SSLContext.load_verify_locations = _and_ours
"""


@contextlib.contextmanager
def as_vendor(target: str, hosts: tuple[str, ...], folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a process whose HTTPS requests to these hosts reach the target."""
    certificate, key = _certificate(hosts, folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    parts = urlsplit(target)
    address = (str(parts.hostname), int(parts.port or 80))
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=_serve, args=(client, context, address), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    site = folder / "site"
    site.mkdir(exist_ok=True)
    port = listening.getsockname()[1]
    text = _SITE.format(hosts=hosts, port=port, certificate=str(certificate))
    (site / "sitecustomize.py").write_text(text)
    try:
        yield {"PYTHONPATH": str(site), "SSL_CERT_FILE": str(certificate)}
    finally:
        listening.close()


def _serve(client: socket.socket, context: ssl.SSLContext, address: tuple[str, int]) -> None:
    with (
        contextlib.suppress(OSError),
        client,
        context.wrap_socket(client, server_side=True) as inside,
        socket.create_connection(address) as outside,
    ):
        outside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_copy, args=(outside, inside), daemon=True)
        back.start()
        _copy(inside, outside)
        back.join(5)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _certificate(hosts: tuple[str, ...], folder: Path) -> tuple[Path, Path]:
    """A certificate for the hosts that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in hosts]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "sandbox.pem", folder / "sandbox.key"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret
