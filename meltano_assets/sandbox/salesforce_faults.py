"""Misbehaviour on request: what the simulated Salesforce can be told to do wrong.

A fault is armed by kind, for a number of times, and optionally for some requests or records only.
The control service of the sandbox (or a test) calls ``arm`` and ``clear``; the server asks
``take`` at the points where a real org misbehaves. All values are plain JSON.

Faults of a request (``match`` is a part of ``METHOD /path?query``):

=====================  ===================================================================
``throttle``           429 with ``Retry-After`` (``retry_after_seconds``, default 1)
``unavailable``        503 ``SERVER_UNAVAILABLE`` with ``Retry-After``
``server_error``       500 ``UNKNOWN_EXCEPTION``
``request_limit``      403 ``REQUEST_LIMIT_EXCEEDED``: the daily limit
``concurrent_limit``   403 ``REQUEST_LIMIT_EXCEEDED``: too many long requests at once
``html``               a gateway's HTML page instead of JSON (``status``, default 502)
``drop``               the connection closes without an answer
``drop_after``         the request is carried out, then the connection closes without an answer
``truncate``           the body ends in the middle while the connection closes
``slow``               the answer waits ``seconds`` (default 1)
``drip``               the answer comes in small pieces over ``seconds``
``expire_session``     all sessions end: 401 ``INVALID_SESSION_ID`` until a new login
``repeat_page``        a query's ``nextRecordsUrl`` leads to the same page for ever
``lose_cursor``        400 ``INVALID_QUERY_LOCATOR`` for a query's next page
=====================  ===================================================================

Faults of records (``match`` is a part of ``Object operation key``, where the key is the external
id or the record id):

=====================  ===================================================================
``lock_rows``          ``UNABLE_TO_LOCK_ROW`` for that many records
``record_error``       the given ``code`` and ``message`` for that many records
=====================  ===================================================================

Faults of the org, in force until cleared (``times`` does not count):

=====================  ===================================================================
``duplicate_rule``     ``DUPLICATES_DETECTED`` on ``objects`` (default Account, Contact, Lead)
``missing_field``      ``field`` (``Object.Field``) is hidden from the user
``read_only_field``    ``field`` can be read but not written
``query_timeout``      queries that find more than ``rows`` records of ``object`` (default: any)
                       run for too long: 400 ``QUERY_TIMEOUT``, or a bulk query job that fails;
                       with ``counts`` also ``COUNT()``
=====================  ===================================================================

Faults of bulk jobs: ``fail_bulk_job`` with ``after`` (records processed before the job fails);
``slow_bulk_job`` with ``polls`` (further answers ``InProgress`` before it ends).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

REQUEST_FAULTS = (
    "throttle",
    "unavailable",
    "server_error",
    "request_limit",
    "concurrent_limit",
    "html",
    "drop",
    "drop_after",
    "truncate",
    "slow",
    "drip",
    "expire_session",
    "repeat_page",
    "lose_cursor",
)
RECORD_FAULTS = ("lock_rows", "record_error")
ORG_FAULTS = ("duplicate_rule", "missing_field", "read_only_field", "query_timeout")
JOB_FAULTS = ("fail_bulk_job", "slow_bulk_job")
KINDS = (*REQUEST_FAULTS, *RECORD_FAULTS, *ORG_FAULTS, *JOB_FAULTS)


@dataclass(slots=True)
class Fault:
    """One armed fault; ``remaining`` None means until cleared."""

    kind: str
    remaining: int | None = 1
    match: str = ""
    skip: int = 0
    options: dict[str, object] = field(default_factory=dict)

    def number(self, name: str, default: float) -> float:
        """A numeric option."""
        value = self.options.get(name, default)
        return float(value) if isinstance(value, (int, float, str)) else default

    def text(self, name: str, default: str = "") -> str:
        """A text option."""
        value = self.options.get(name)
        return default if value is None else str(value)

    def names(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """An option that lists names."""
        value = self.options.get(name, default)
        return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)


class Faults(Protocol):
    """What the server asks. ``SalesforceFaults`` is the one implementation needed."""

    def take(self, kind: str, subject: str = "") -> Fault | None:
        """The armed fault of that kind that fits; counts as one time."""

    def standing(self, kind: str) -> list[Fault]:
        """All faults of that kind in force, without counting."""


class SalesforceFaults:
    """Armed faults; safe to change while the server runs."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._lock = threading.Lock()

    def arm(
        self,
        kind: str,
        *,
        times: int | None = 1,
        match: str = "",
        skip: int = 0,
        **options: object,
    ) -> None:
        """Arms a fault after ``skip`` fitting occasions, for ``times`` (None: until cleared)."""
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are: {', '.join(KINDS)}")
        with self._lock:
            self._armed.append(Fault(kind, times, match, skip, dict(options)))

    def clear(self, kind: str | None = None) -> None:
        """Disarms all faults of that kind, or all."""
        with self._lock:
            self._armed = [f for f in self._armed if kind is not None and f.kind != kind]

    def status(self) -> list[dict[str, object]]:
        """What is armed, as JSON."""
        with self._lock:
            return [
                {"kind": f.kind, "times": f.remaining, "match": f.match, **f.options}
                for f in self._armed
            ]

    def take(self, kind: str, subject: str = "") -> Fault | None:
        """The armed fault of that kind that fits; counts as one time."""
        if not self._armed:
            return None
        with self._lock:
            for fault in self._armed:
                if fault.kind != kind or fault.match.lower() not in subject.lower():
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.remaining is not None:
                    fault.remaining -= 1
                    if fault.remaining <= 0:
                        self._armed.remove(fault)
                return fault
        return None

    def standing(self, kind: str) -> list[Fault]:
        """All faults of that kind in force, without counting."""
        if not self._armed:
            return []
        with self._lock:
            return [f for f in self._armed if f.kind == kind]
