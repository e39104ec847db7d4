"""A source opened for a run: its reader, with the warehouse's memory behind it.

Belongs here: what stands between a vendor's reader and the loader, alike for assets and command
line. Does not belong here: where settings come from (``connections``), reading (``sources/``),
storing (``warehouse/``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meltano_assets.clients.jobs import JobStore
from meltano_assets.clients.policy import Transport

if TYPE_CHECKING:
    from datetime import datetime

    from meltano_assets.sources.base import Reader, Source
    from meltano_assets.streams import Batch, Bookmark, ReadOptions, Stream
    from meltano_assets.warehouse.connection import Warehouse
    from meltano_assets.warehouse.jobs import JobLog


@dataclass(slots=True)
class OpenSource:
    """A connected source. Call ``settle`` when everything that was read is committed."""

    reader: Reader
    jobs: JobLog | None = None

    @property
    def requests(self) -> int:
        """Requests or queries sent so far."""
        return self.reader.requests

    def read(
        self, stream: Stream, bookmark: Bookmark | None, options: ReadOptions, *, now: datetime
    ) -> Iterator[Batch]:
        """The stream's records since the bookmark."""
        return self.reader.read(stream, bookmark, options, now=now)

    def count(self, stream: Stream) -> int | None:
        """How many live records the vendor says it has, or None where it cannot tell."""
        return self.reader.count(stream)

    def settle(self) -> None:
        """Everything that was read is committed: finished vendor jobs need no second look."""
        if self.jobs is not None:
            self.jobs.settle()


@contextmanager
def open_source(
    source: Source,
    settings: Mapping[str, str],
    *,
    warehouse: Warehouse | None = None,
    run_id: str = "",
) -> Iterator[OpenSource]:
    """The source, connected. With a ``warehouse`` vendor jobs survive this process."""
    jobs: JobLog | None = None
    if warehouse is not None:
        from meltano_assets.warehouse.jobs import JobLog

        jobs = JobLog(warehouse, run_id=run_id)
    transport = Transport(jobs=_store(jobs))
    with source.connect(settings, transport=transport) as reader:
        yield OpenSource(reader, jobs)


def _store(jobs: JobLog | None) -> JobStore:
    from meltano_assets.clients.jobs import MemoryJobs

    return MemoryJobs() if jobs is None else jobs
