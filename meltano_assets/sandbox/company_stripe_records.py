"""Objects of the company's Stripe account: made, changed and deleted, each time with an event; and what is
to happen later.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from math import floor

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice
from meltano_assets.sandbox.company_world import World

API_VERSION = "2024-06-20"
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class StripeRecords:
    """Objects by kind and id, their events in order, and the agenda."""

    def __init__(self, world: World) -> None:
        self.clock = world.clock
        self.rng = dice(f"{world.seed}:stripe")
        self._names = dice(f"{world.seed}:stripe:ids")
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._sequence = count()
        #: Kind of object → id → object, in the order of creation; deleted ones are gone.
        self.live: dict[str, dict[str, Record]] = {}
        self.deleted: dict[str, set[str]] = {}
        self.events: list[Record] = []
        self._news: dict[int, dict[str, int]] = {}

    def new_id(self, prefix: str) -> str:
        """A new id of that kind of object."""
        return f"{prefix}_{''.join(self._names.choices(_LETTERS, k=24))}"

    def stamp(self, at: float) -> int:
        """Seconds since 1970; ``at`` is in days of the company."""
        return int(self.clock.at(at).timestamp())

    def put(self, at: float, event: str | None, record: Record, **before: object) -> Record:
        """The object is there, or has changed; ``before`` holds what its fields were."""
        kind = str(record["object"])
        self.live.setdefault(kind, {})[str(record["id"])] = record
        if event is not None:
            self._tell(at, event, record, before)
        return record

    def change(self, at: float, event: str, record: Record, **fields: object) -> Record:
        """The object has other values in these fields."""
        current = self.live[str(record["object"])][str(record["id"])]
        before = {name: current.get(name) for name in fields}
        return self.put(at, event, {**current, **fields}, **before)

    def delete(self, at: float, event: str, record: Record) -> None:
        """The object is gone."""
        kind, key = str(record["object"]), str(record["id"])
        current = self.live[kind].pop(key)
        self.deleted.setdefault(kind, set()).add(key)
        self._tell(at, event, current, {})

    def _tell(self, at: float, event: str, record: Record, before: dict[str, object]) -> None:
        data: Record = {"object": record}
        if before:
            data["previous_attributes"] = before
        self.events.append(
            {
                "id": self.new_id("evt"),
                "object": "event",
                "api_version": API_VERSION,
                "created": self.stamp(at),
                "data": data,
                "livemode": False,
                "pending_webhooks": 0,
                "request": {"id": None, "idempotency_key": None},
                "type": event,
            }
        )
        day = 0 if at < 0 else floor(at) + 1
        counts = self._news.setdefault(day, {})
        counts[event] = counts.get(event, 0) + 1

    def when(self, at: float, action: Callable[[float], None]) -> None:
        """Do it at that time of its day."""
        # Between four hours after the beginning of a day and its end, as everything else.
        at = floor(at) + 0.2 + 0.75 * (at - floor(at))
        heapq.heappush(self._agenda, (at, next(self._sequence), action))

    def do_until(self, day: float) -> None:
        """Everything on the agenda before that time."""
        while self._agenda and self._agenda[0][0] < day:
            at, _, action = heapq.heappop(self._agenda)
            action(at)
