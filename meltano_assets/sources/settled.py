"""Up to which moment all that was written to a database can be seen.

A row becomes visible when its transaction commits, which may be long after the time that stands in
its replication key. Who reads "everything since my newest key" misses it for ever. What can be
known without any privilege is the span of transaction numbers that may be running: once all that
ran at some moment have ended, every row that was written before that moment is visible.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

#: How far the first read is held to have seen everything, while transactions were running.
_FIRST = timedelta(days=1)
#: Moments that are kept until the transactions of their time have ended.
_MOST = 20
_TEXT = re.compile(r"settled (?P<at>\S+)(?: waiting (?P<waiting>\S+))?$")


@dataclass(frozen=True, slots=True)
class Settled:
    """``at``: all that was written before is read. ``waiting``: moments that will be the next such
    one when every transaction below their number has ended.
    """

    at: datetime | None = None
    waiting: tuple[tuple[datetime, int], ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Settled:
        """From the text in a bookmark; nothing known when it is none."""
        found = _TEXT.match(text or "")
        if found is None:
            return cls()
        waiting = []
        for pair in filter(None, (found["waiting"] or "").split(",")):
            moment, _, number = pair.partition("/")
            waiting.append((datetime.fromisoformat(moment), int(number)))
        return cls(datetime.fromisoformat(found["at"]), tuple(waiting))

    def __str__(self) -> str:
        if self.at is None:
            return ""
        pairs = ",".join(f"{moment.isoformat()}/{number}" for moment, number in self.waiting)
        return f"settled {self.at.isoformat()}" + (f" waiting {pairs}" if pairs else "")

    def after(self, moment: datetime, next_number: int, oldest: int) -> Settled:
        """What is known once everything visible now has been read.

        At ``moment`` no transaction from ``next_number`` on had begun; by now all below ``oldest``
        have ended.
        """
        known = [*self.waiting, (moment, next_number)]
        ended = [at for at, number in known if number <= oldest]
        past = self.at or moment - _FIRST
        return Settled(max([past, *ended]), tuple(w for w in known if w[1] > oldest)[-_MOST:])
