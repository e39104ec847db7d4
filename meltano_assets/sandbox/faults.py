"""Misbehaviour on request, for every service: how faults are armed, counted and taken.

A fault is armed by kind, for a number of times, optionally after some fitting occasions and only
for requests that contain a text (``METHOD /path?query``; the question for WHOIS and DNS). What
there is to arm at each service stands in ``fault_kinds``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Where next links lead that were told to lead elsewhere; reserved for documents, so nobody is there.
FOREIGN_HOST = "http://203.0.113.66"
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

    def is_set(self, name: str, *, default: bool) -> bool:
        """An option that is true or false."""
        return self.text(name, str(default)).lower() == "true"


class FaultBox:
    """The armed faults of one service; may be changed from other threads."""

    def __init__(self, kinds: Iterable[str], standing: Iterable[str] = STANDING_KINDS) -> None:
        self.kinds = tuple(kinds)
        self._standing = frozenset(standing)
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
