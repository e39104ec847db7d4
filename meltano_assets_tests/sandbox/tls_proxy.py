"""A proxy that lets clients with a vendor's address built in reach the sandbox.

It answers CONNECT, ends TLS with a certificate of its own authority, and hands the plain HTTP on. A
client needs no change: the environment names the proxy and the authority.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class TlsProxy:
    """Forwards each host of ``routes`` to its plain address."""

    def __init__(self, routes: Mapping[str, str], folder: Path) -> None:
        self._routes = {host.lower(): urlsplit(url).netloc for host, url in routes.items()}
        self.authority, self._contexts = _certificates(list(self._routes), folder)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.hosts: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What a client's process needs."""
        address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        return {
            "HTTPS_PROXY": address,
            "https_proxy": address,
            "NO_PROXY": "",
            "no_proxy": "",
            "REQUESTS_CA_BUNDLE": str(self.authority),
            "SSL_CERT_FILE": str(self.authority),
        }

    def close(self) -> None:
        """No more connections."""
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (chunk := client.recv(4096)):
                    return
                head += chunk
            method, target, _version = head.split(b"\r\n", 1)[0].decode().split(" ")
            host = target.partition(":")[0].lower()
            self.hosts.append(host)
            if method != "CONNECT" or host not in self._routes:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            name, _, port = self._routes[host].partition(":")
            with (
                self._contexts[host].wrap_socket(client, server_side=True) as inside,
                socket.create_connection((name, int(port))) as outside,
            ):
                back = threading.Thread(target=_pump, args=(outside, inside), daemon=True)
                back.start()
                _pump(inside, outside)
                back.join(30)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError, ssl.SSLError, ValueError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _certificates(hosts: list[str], folder: Path) -> tuple[Path, dict[str, ssl.SSLContext]]:
    """An authority's certificate, and for each host what serves with one of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)

    def build(
        subject: str, issuer: str, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
        )

    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = "Sandbox authority"
    authority = (
        build(name, name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    authority_file = folder / "authority.pem"
    authority_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    contexts: dict[str, ssl.SSLContext] = {}
    for host in hosts:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            build(host, name, key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        file = folder / f"{host}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[host].load_cert_chain(file)
    return authority_file, contexts


@contextlib.contextmanager
def tls_proxy(routes: Mapping[str, str], folder: Path) -> Iterator[TlsProxy]:
    """A proxy for the length of the block."""
    proxy = TlsProxy(routes, folder)
    try:
        yield proxy
    finally:
        proxy.close()
