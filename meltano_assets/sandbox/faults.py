"""Misbehaviour on request, for every service.

A fault is armed by kind, for a number of times, optionally after some fitting occasions and only
for requests that contain a text (``METHOD /path?query``; the question for WHOIS and DNS).

=================  =======================================================================
``throttle``       the vendor's "too many requests" (``retry_after_seconds``, default 1;
                   ``with_retry_after`` false leaves the header out)
``unavailable``    503
``server_error``   500; SERVFAIL in DNS
``quota``          Clearbit's 402
``html``           a gateway's HTML page instead of JSON (``status``, default 502)
``drop``           the connection closes without an answer; silence in DNS
``drop_after``     the request is carried out, then the connection closes without an answer
``fault``          NetSuite: a fault by ``name`` (invalidSessionFault …) and ``code``
``not_success``    NetSuite: HTTP 200 whose status says no, by ``code``
``expire_search``  NetSuite: every open search ends
``entities``       NetSuite: an answer with a DOCTYPE and entities
``truncate``       the body ends in the middle while the connection closes
``garbage``        a body of the right type that cannot be parsed
``slow``           the answer waits ``seconds`` (default 1)
``drip``           the answer comes in small pieces over ``seconds``
``expire_session`` sessions end, where the service has sessions; else one 401
``repeat_page``    a listing's next page is the same page again, until cleared or counted out
``foreign_link``   next links lead to another host (``host``)
``change_schema``  records gain ``add`` {name: value}, lose ``drop`` [name], get other values by
                   ``retype`` {name: value}; in force until cleared
=================  =======================================================================

Marketo also knows ``quota`` (607), ``too_many_at_once`` (615), ``no_updated_at`` (1035),
``export_quota`` and ``queue_full`` (1029), and of its export jobs ``job_failed``, ``job_stuck`` (stays
queued), ``file_missing`` (404 though completed), ``file_error`` (JSON instead of CSV), ``cut_file`` and
``wrong_checksum``; ``server_error`` takes a ``code`` of its own.

What Salesforce's records and bulk jobs can do wrong stands in ``salesforce_faults``.

The ``version`` database knows ``refuse`` (logins fail until cleared), ``terminate`` (sessions are
cut once) and ``change_schema`` (``table``, ``add`` {column: type}, ``drop`` [column]).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

HTTP_KINDS = (
    "quota",
    "throttle",
    "unavailable",
    "server_error",
    "html",
    "drop",
    "drop_after",
    "truncate",
    "garbage",
    "slow",
    "drip",
    "expire_session",
    "repeat_page",
    "foreign_link",
    "change_schema",
)
LINE_KINDS = ("throttle", "server_error", "drop", "truncate", "garbage", "slow", "drip")
DATABASE_KINDS = ("refuse", "terminate", "change_schema")
#: In force until cleared, whatever ``times`` says.
STANDING_KINDS = ("change_schema", "refuse")


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
        return float(value) if isinstance(value, int | float | str) else default

    def text(self, name: str, default: str = "") -> str:
        """A text option."""
        value = self.options.get(name)
        return default if value is None else str(value)

    def names(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """An option that lists names."""
        value = self.options.get(name, default)
        return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)


class FaultBox:
    """The armed faults of one service; may be changed from other threads."""

    def __init__(self, kinds: tuple[str, ...], standing: tuple[str, ...] = STANDING_KINDS) -> None:
        self.kinds = kinds
        self._standing = standing
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
        """Arm a fault after ``skip`` fitting occasions, for ``times`` (None: until cleared)."""
        if kind not in self.kinds:
            raise ValueError(f"no fault {kind!r} here; there are: {', '.join(self.kinds)}")
        count = None if kind in self._standing else times
        with self._lock:
            self._armed.append(Fault(kind, count, match, skip, dict(options)))

    def clear(self, kind: str | None = None) -> None:
        """Disarm all faults of that kind, or all."""
        with self._lock:
            self._armed = [f for f in self._armed if kind is not None and f.kind != kind]

    def status(self) -> list[dict[str, object]]:
        """What is armed, as JSON."""
        with self._lock:
            return [
                {
                    "kind": f.kind,
                    "times": f.remaining,
                    "match": f.match,
                    "skip": f.skip,
                    **f.options,
                }
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
            return [fault for fault in self._armed if fault.kind == kind]


def parse_fault(text: str) -> dict[str, object]:
    """``service:kind[:times][:option=value…]`` as the JSON that the control service takes."""
    service, _, rest = text.partition(":")
    kind, *parts = rest.split(":") if rest else [""]
    if not service or not kind:
        raise ValueError(f"a fault is service:kind[:times][:option=value], not {text!r}")
    fault: dict[str, object] = {"service": service, "kind": kind}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals:
            fault[name] = value
        elif part == "*":
            fault["times"] = None
        else:
            fault["times"] = int(part)
    return fault
