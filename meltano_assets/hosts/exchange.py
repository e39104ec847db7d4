"""How a provider is talked to: guarded, paced, bounded. Nothing else in ``hosts/`` opens a socket.

Providers answer about names that anybody on the internet may have put into a ping, and RDAP and
WHOIS send their clients from server to server. So every connection is checked where it is made,
after the name is resolved: it goes to a globally reachable address, or to one of the *trusted
endpoints*, the host and port pairs that the user configured. Redirects and referrals earn no trust.

``clients.http`` stays on one vendor's host by design; this module is for exchanges that must
leave it. Each exchange has a connection of its own, a limit in bytes and a limit in seconds that
holds also for an answer that drips.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urljoin, urlsplit

import orjson

from meltano_assets.clients.http import retry_after_seconds
from meltano_assets.clients.policy import Clock
from meltano_assets.hosts.addresses import is_public

Endpoint = tuple[str, int]
#: ``getaddrinfo`` reduced to what is needed: name and port to addresses.
Resolve = Callable[[str, int], list[str]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_CHUNK = 1 << 16
_MAX_ADDRESSES = 4
_NOT_HTTP = "redirect to something that is not http(s)"
_LATE = "no whole answer in time"


class ProviderError(Exception):
    """This question got no answer; it counts as failed and is asked again in the next run."""


class RefusedError(ProviderError):
    """A connection was not made, because it would have left the allowed addresses."""


class LateError(ProviderError):
    """No whole answer in time; asking again at once would only take as long again."""


class ProviderStopError(Exception):
    """The provider answers nothing more in this run: quota, credentials, long throttling."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may take."""

    connect_seconds: float = 5.0
    total_seconds: float = 20.0
    max_bytes: int = 1 << 20
    tries: int = 3
    first_wait_seconds: float = 0.5
    #: A vendor that wants a longer pause is left alone for the rest of the run.
    patience_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json_object(self) -> dict[str, object]:
        """The body as a JSON object; ProviderError when it is none."""
        try:
            value = orjson.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            kind = self.headers.get("Content-Type", "").split(";")[0] or "no content type"
            raise ProviderError(f"malformed answer: {kind} instead of a JSON object")
        return value


class Pace:
    """At most ``requests`` in any span of ``per_seconds``, for all threads together."""

    def __init__(self, requests: int, per_seconds: float, clock: Clock) -> None:
        self._requests = max(1, requests)
        self._per_seconds = per_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: deque[float] = deque(maxlen=self._requests)
        self._paused_until = float("-inf")

    def wait(self) -> None:
        """Return when the next request may leave."""
        with self._lock:
            now = self._clock.monotonic()
            slot = max(now, self._paused_until)
            if len(self._slots) == self._requests:
                slot = max(slot, self._slots[0] + self._per_seconds)
            self._slots.append(slot)
        if slot > now:
            self._clock.sleep(slot - now)

    def pause(self, seconds: float) -> None:
        """Hold back every request that has not left yet."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)


def resolve_addresses(host: str, port: int) -> list[str]:
    """The addresses of a host as the system's resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def endpoint_of(url: str) -> Endpoint:
    """Host and port of a URL; ValueError when it is not plain http(s)."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http(s) address")
    return parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80)


@dataclass(slots=True)
class Exchange:
    """Exchanges with one provider and whatever servers it refers to; counts its ``calls``."""

    pace: Pace
    trusted: frozenset[Endpoint] = frozenset()
    limits: Limits = field(default_factory=Limits)
    clock: Clock = field(default_factory=Clock)
    resolve: Resolve = resolve_addresses
    _counter: count[int] = field(default_factory=count)
    _calls: int = 0

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._calls

    # -- HTTP --

    def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        is_repeatable: bool = True,
    ) -> Reply:
        """One exchange with its tries; 429 and 5xx that last are ProviderErrors.

        Redirects of a GET are followed. Given headers go to the first server only.
        """
        limits = self.limits
        waited = 0.0
        for attempt in range(1, limits.tries + 1):
            floor = 0.0
            try:
                reply = self._follow(method, url, dict(headers or {}), body)
            except (RefusedError, LateError):
                raise
            except ProviderError as error:
                if attempt == limits.tries or not is_repeatable:
                    raise
                problem = str(error)
            else:
                if reply.status != 429 and reply.status < 500:
                    return reply
                problem = f"answer {reply.status}"
                floor = self._wanted_pause(reply)
                if floor > limits.patience_seconds:
                    raise ProviderStopError(f"throttled: asks for a pause of {floor:.0f} s")
                if floor:
                    self.pace.pause(floor)
            backoff = limits.first_wait_seconds * 2 ** (attempt - 1)
            wait = max(floor, backoff * (0.5 + self.clock.chance() / 2))
            waited += wait
            if attempt == limits.tries or waited > limits.patience_seconds:
                raise ProviderError(f"{problem}, {attempt} tries")
            self.clock.sleep(wait)
        raise ProviderError("no tries were allowed")

    def _wanted_pause(self, reply: Reply) -> float:
        """Seconds by ``Retry-After``, else until the ``X-RateLimit-Reset`` of a 429; else 0."""
        now = self.clock.now()
        floor = retry_after_seconds(reply.headers, now)
        reset = reply.headers.get("X-RateLimit-Reset", "")
        if not floor and reply.status == 429 and reset.isdigit():
            floor = max(0.0, int(reset) - now.timestamp())
        return floor

    def _follow(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Reply:
        for _ in range(_MAX_REDIRECTS + 1):
            reply = self._send(method, url, headers, body)
            location = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or not location:
                return reply
            if method != "GET":
                raise RefusedError(f"redirect of a {method} not followed")
            try:
                target = urljoin(url, location)
            except ValueError:
                raise RefusedError(_NOT_HTTP) from None
            if url.startswith("https:") and not target.startswith("https:"):
                raise RefusedError("redirect away from https not followed")
            if _endpoint(target) != _endpoint(url):
                headers = {"Accept": headers.get("Accept", "*/*")}
            url = target
        raise ProviderError("redirected in a circle")

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        host, port = _endpoint(url)
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"User-Agent": "meltano-assets", "Connection": "close", **headers}
        with self._connection(host, port, is_secure=parts.scheme == "https") as open_socket:
            connection = http.client.HTTPConnection(host, port)
            connection.sock = open_socket
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            data = b"".join(self._bounded(lambda: response.read1(_CHUNK)))
            if response.length:
                raise ProviderError("the answer broke off")
            return Reply(response.status, _Headers(response.getheaders()), data)

    # -- plain TCP --

    def converse(self, host: str, port: int, line: bytes) -> bytes:
        """Send one line, read to the end: the whole of the WHOIS protocol."""
        with self._connection(host, port, is_secure=False) as open_socket:
            open_socket.sendall(line)
            return b"".join(self._bounded(lambda: open_socket.recv(_CHUNK)))

    # -- connections --

    def _bounded(self, read: Callable[[], bytes]) -> Iterator[bytes]:
        size = 0
        while chunk := read():
            size += len(chunk)
            if size > self.limits.max_bytes:
                raise ProviderError(f"answer larger than {self.limits.max_bytes} bytes")
            yield chunk

    @contextmanager
    def _connection(self, host: str, port: int, *, is_secure: bool) -> Iterator[socket.socket]:
        """An open connection that is cut when the exchange takes too long; errors in our words."""
        addresses = self._checked_addresses(host, port)
        self.pace.wait()
        self._calls = next(self._counter) + 1
        plain = self._open(addresses, port)
        is_late = threading.Event()

        def cut() -> None:
            is_late.set()
            try:
                plain.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

        watch = threading.Timer(self.limits.total_seconds, cut)
        watch.daemon = True
        watch.start()
        open_socket = plain
        try:
            plain.settimeout(self.limits.total_seconds)
            if is_secure:
                context = ssl.create_default_context()
                open_socket = context.wrap_socket(plain, server_hostname=host)
            yield open_socket
            if is_late.is_set():
                raise LateError(_LATE)
        except ProviderError:
            if is_late.is_set():
                raise LateError(_LATE) from None
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = is_late.is_set() or isinstance(error, TimeoutError)
            if late:
                raise LateError(_LATE) from None
            raise ProviderError(f"broke off: {type(error).__name__}") from None
        finally:
            watch.cancel()
            open_socket.close()

    def _open(self, addresses: list[str], port: int) -> socket.socket:
        """A connection to the first of the addresses that answers."""
        problem = "not reachable"
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                return socket.create_connection((address, port), self.limits.connect_seconds)
            except TimeoutError:
                problem = "no connection in time"
            except OSError as error:
                problem = f"not reachable: {error.strerror or type(error).__name__}"
        raise ProviderError(problem)

    def _checked_addresses(self, host: str, port: int) -> list[str]:
        """Where to connect to; RefusedError when the host has no address that is allowed.

        The connection goes to the very address that was checked: a name that resolves to
        something else a moment later gains nothing.
        """
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError):
            raise ProviderError("the server's name is unknown") from None
        if (host, port) not in self.trusted:
            addresses = [address for address in addresses if is_public(address)]
        if not addresses:
            raise RefusedError("refers to an address that is not public; not contacted")
        return addresses


class _Headers(dict[str, str]):
    """Header names in any case."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in pairs)

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]
        return super().get(key.lower(), default)


def _endpoint(url: str) -> Endpoint:
    try:
        return endpoint_of(url)
    except ValueError:
        raise RefusedError(_NOT_HTTP) from None
