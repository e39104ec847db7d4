"""What a source chooses for its exchanges: authentication, errors, patience, budget.

Small values and objects that ``http.HttpClient`` acts on; nothing here sends anything.
"""

from __future__ import annotations

import random
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

import orjson

from meltano_assets.clients.jobs import JobStore, MemoryJobs
from meltano_assets.errors import RetriableError

#: What to do about a failed exchange: ``retry`` the same; ``throttle``, the same when the vendor has
#: surely not acted and wants us slower; ``refresh`` the credentials once and repeat it; ``later``,
#: because only a new read can succeed; ``quota``, because the vendor's limit of a day or so is used
#: up; ``gone``, what was asked for is not there; ``skip`` what was asked for; ``fatal``, stop.
Action = Literal["retry", "throttle", "refresh", "later", "quota", "gone", "skip", "fatal"]

MEBIBYTE = 1 << 20


class Auth(Protocol):
    """How requests prove who sends them."""

    def headers(self) -> Mapping[str, str]:
        """Headers to add; may log in first."""
        ...

    def renew(self) -> bool:
        """Forget what was refused; False when asking again would change nothing."""
        ...

    @property
    def secrets(self) -> Iterable[str]:
        """Values that no output may show."""
        ...


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """User and password in every request."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Basic {self._encoded}"}

    def renew(self) -> bool:
        return False

    @property
    def _encoded(self) -> str:
        return b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> Iterable[str]:
        return (self.password, self._encoded)


@dataclass(frozen=True, slots=True)
class HeaderAuth:
    """A fixed secret in a header, such as an API key."""

    name: str
    value: str = field(repr=False)

    def headers(self) -> Mapping[str, str]:
        return {self.name: self.value}

    def renew(self) -> bool:
        return False

    @property
    def secrets(self) -> Iterable[str]:
        return (self.value,)


@dataclass(frozen=True, slots=True)
class KeysAuth:
    """Several fixed headers, as older APIs want them: an id and a secret, say."""

    values: Mapping[str, str] = field(repr=False)

    def headers(self) -> Mapping[str, str]:
        return self.values

    def renew(self) -> bool:
        return False

    @property
    def secrets(self) -> Iterable[str]:
        return tuple(self.values.values())


@dataclass(slots=True)
class TokenAuth:
    """A token that ``log_in`` fetches when first needed and again when the vendor refuses it.

    Threads share it: a token that several of them find refused is fetched once.
    """

    log_in: Callable[[], str] = field(repr=False)
    name: str = "Authorization"
    prefix: str = "Bearer "
    _token: str | None = field(default=None, repr=False)
    _seen: list[str] = field(default_factory=list, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _sent: threading.local = field(default_factory=threading.local, repr=False)

    def headers(self) -> Mapping[str, str]:
        with self._lock:
            if self._token is None:
                self._token = self.log_in()
                self._seen.append(self._token)
            self._sent.token = self._token
            return {self.name: f"{self.prefix}{self._token}"}

    def renew(self) -> bool:
        with self._lock:
            if self._token == getattr(self._sent, "token", self._token):
                self._token = None
            return True

    @property
    def secrets(self) -> Iterable[str]:
        return tuple(self._seen)


@dataclass(frozen=True, slots=True)
class Response:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """The body as JSON; ValueError when it is none."""
        return orjson.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text, whatever it holds."""
        return self.body.decode("utf-8", "replace")


def value_at(value: object, path: str) -> object:
    """The value below nested JSON objects, names joined by dots; None when any is absent."""
    for name in filter(None, path.split(".")):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def json_detail(code: str, message: str) -> Callable[[Response], tuple[str, str]]:
    """Reads an error's code and message from their paths in a JSON body; any other body has none."""

    def detail(response: Response) -> tuple[str, str]:
        try:
            body = response.json()
        except ValueError:
            return "", ""
        return str(value_at(body, code) or ""), str(value_at(body, message) or "")

    return detail


def no_detail(response: Response) -> tuple[str, str]:
    """Code and message of vendors whose status says all."""
    return "", ""


_STATUS_ACTIONS: Mapping[int, Action] = {
    401: "refresh",
    404: "gone",
    408: "retry",
    410: "gone",
    425: "retry",
    429: "throttle",
}


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """A vendor's errors: ``detail`` reads code and message from a body, ``actions`` says what to
    do by code or status, code first. 5xx, 408, 425 and 429 are retried and 401 refreshed unless
    told otherwise. With ``in_success`` also 2xx bodies are asked for a code. ``waits`` are the
    seconds to stay away after a code or status, for vendors that send no ``Retry-After``.
    """

    detail: Callable[[Response], tuple[str, str]] = no_detail
    actions: Mapping[str | int, Action] = field(default_factory=dict)
    in_success: bool = False
    waits: Mapping[str | int, float] = field(default_factory=dict)

    def wait_seconds(self, code: str, status: int) -> float:
        """How long the vendor is left alone after that error, at least."""
        return self.waits.get(code, self.waits.get(status, 0.0))

    def judge(self, response: Response) -> tuple[Action, str, str] | None:
        """What to do about an answer, with code and message; None when it is good."""
        is_success = response.status < 300
        if is_success and not self.in_success:
            return None
        code, message = self.detail(response)
        if is_success and not code:
            return None
        default: Action = "retry" if response.status >= 500 else "fatal"
        default = _STATUS_ACTIONS.get(response.status, default)
        action = self.actions.get(code) if code else None
        return action or self.actions.get(response.status, default), code, message


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently a failed exchange is repeated."""

    tries: int = 6
    first_seconds: float = 0.5
    max_seconds: float = 60.0
    patience_seconds: float = 600.0

    def wait_seconds(self, attempt: int, floor: float, chance: float) -> float:
        """Seconds before the next try: exponential with jitter, never below the vendor's word."""
        backoff = min(self.max_seconds, self.first_seconds * 2.0 ** (attempt - 1))
        return max(backoff * (0.5 + chance / 2), floor)


@dataclass(slots=True)
class RateBudget:
    """At most ``requests`` in any span of ``per_seconds``, kept by waiting before a request.

    Threads and clients may share one: each request books its own moment.
    """

    requests: int
    per_seconds: float
    _booked: deque[float] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def book(self, now: float) -> float:
        """Take the next free moment for a request; returns the seconds until then."""
        with self._lock:
            moment = now
            if len(self._booked) == self.requests:
                moment = max(now, self._booked.popleft() + self.per_seconds)
            self._booked.append(moment)
            return moment - now


#: The zone of vendors that count the last 24 hours.
ROLLING = "rolling"


def no_usage(response: Response) -> tuple[int, int] | None:
    """For vendors that do not say how much is used."""
    return None


def usage_headers(used: str, allowed: str) -> Callable[[Response], tuple[int, int] | None]:
    """Reads what the vendor counted from two headers."""

    def usage(response: Response) -> tuple[int, int] | None:
        words = response.headers.get(used, ""), response.headers.get(allowed, "")
        return (int(words[0]), int(words[1])) if all(map(str.isdecimal, words)) else None

    return usage


@dataclass(frozen=True, slots=True)
class Quota:
    """How many calls a vendor allows in a day, and how many of them are ours to use.

    The day begins at midnight of ``zone``, or is the last 24 hours (``ROLLING``). ``usage`` reads
    what was used and what is allowed from an answer; the vendor's word on what is allowed goes
    before ``calls``, unless a person has set that (``is_set``). Production stops at ``share`` of
    the allowed calls; what runs elsewhere stops at ``elsewhere_share``, all of it together.
    """

    calls: int
    zone: str = "UTC"
    share: float = 0.8
    elsewhere_share: float = 0.05
    usage: Callable[[Response], tuple[int, int] | None] = no_usage
    is_set: bool = False

    def limits(self, allowed: int | None) -> tuple[int, int]:
        """How many calls all together may make, and all outside production."""
        calls = self.calls if allowed is None or self.is_set else allowed
        return int(calls * self.share), int(calls * self.elsewhere_share)


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance as the client sees them; tests pass their own."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Transport:
    """What a connection does about time and failure; the defaults are for production."""

    retry: Retry = field(default_factory=Retry)
    clock: Clock = field(default_factory=Clock)
    timeout_seconds: tuple[float, float] = (10.0, 120.0)
    max_body_bytes: int = 256 * MEBIBYTE
    before_request: Callable[[str], None] | None = None
    """Called with the source's name before every request: the place to reserve quota."""
    after_response: Callable[[str, Response], None] | None = None
    """Called with the source's name and every answer: the place to read usage headers."""
    jobs: JobStore = field(default_factory=MemoryJobs)
    """Where long jobs at the vendor are remembered, so that another process can take them up."""


class BrokenAnswerError(ValueError):
    """An answer that ``parse`` refuses; its words are shown, so they hold no value of it."""


class LoopGuard:
    """Raises when paging turns in a circle: the same token, or the same page twice in a row."""

    def __init__(self, source: str, stream: str | None = None) -> None:
        self._source = source
        self._stream = stream
        self._tokens: set[int] = set()
        self._last_page: object = None

    def check(self, token: object, page: object = None) -> None:
        """Note the token of the next page and what is on this one; RetriableError on a loop."""
        seen = hash(str(token))
        is_same_page = bool(page) and page == self._last_page
        self._last_page = page
        if seen in self._tokens or is_same_page:
            raise RetriableError(
                "the vendor repeats the same page, reading would never end",
                source=self._source,
                stream=self._stream,
                hint="what came before it is kept; run it again later",
            )
        self._tokens.add(seen)
