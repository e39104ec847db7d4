"""Long jobs at a vendor: ordered, awaited, read, and taken up again after a crash.

Belongs here: the life cycle that bulk exports of every vendor share. Does not belong here: what a
vendor's job looks like (its own client) and where jobs are remembered (``warehouse/jobs.py``
behind :class:`JobStore`).

A job is written down right after its order and found again by its :class:`JobKey`, so a process
that is killed at any state leaves it for the next one. Two moments cannot be covered: between the
vendor's yes to an order and our note of it, and an export that the vendor itself throws away.
Both cost one more order and lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from meltano_assets.errors import FatalError, GoneError, RetriableError
from meltano_assets.streams import JobKey, JobState, VendorJob

if TYPE_CHECKING:
    from meltano_assets.clients.policy import Transport

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class JobStore(Protocol):
    """Where jobs are remembered."""

    def find(self, key: JobKey) -> VendorJob | None:
        """The newest open job that was ordered for this, if any."""
        ...

    def note(self, key: JobKey, job: VendorJob) -> None:
        """Remember the job as it now is."""
        ...


class MemoryJobs:
    """Remembers jobs for as long as the process lives; for reads without a warehouse."""

    def __init__(self) -> None:
        self.noted: dict[tuple[str, str, str, str], VendorJob] = {}

    def find(self, key: JobKey) -> VendorJob | None:
        """The newest open job that was ordered for this, if any."""
        job = self.noted.get(_place(key))
        # Without a warehouse nobody tells when a read job is committed: it is done.
        return job if job is not None and job.is_open and job.state != "read" else None

    def note(self, key: JobKey, job: VendorJob) -> None:
        """Remember the job as it now is."""
        self.noted[_place(key)] = job


def _place(key: JobKey) -> tuple[str, str, str, str]:
    return key.source, key.stream, key.kind, key.fingerprint


@dataclass(frozen=True, slots=True)
class Poll:
    """How a job is awaited: ever less often, and no longer than the deadline."""

    first_seconds: float = 1.0
    max_seconds: float = 60.0
    growth: float = 1.5
    deadline_seconds: float = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What the vendor says about a job: its own word, what that means, and the whole answer."""

    state: str
    outcome: Literal["running", "ready", "failed"] = "running"
    answer: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""


class JobVendor(Protocol[T_co]):
    """One kind of job of one vendor. ``check`` and ``read`` raise GoneError for a lost job."""

    def order(self) -> str:
        """Order a job; returns the vendor's id of it."""
        ...

    def check(self, job: VendorJob) -> Progress:
        """Ask once how far it is."""
        ...

    def read(self, job: VendorJob, progress: Progress) -> Iterator[T_co]:
        """The result of a ready job, from its beginning."""
        ...


def run_job(
    key: JobKey,
    vendor: JobVendor[T],
    transport: Transport,
    *,
    details: Mapping[str, object] | None = None,
    poll: Poll | None = None,
    max_age: timedelta = timedelta(hours=24),
) -> Iterator[T]:
    """The result of the open job of this key, or else of a new one; orders at most twice.

    A job that failed is a FatalError and is not taken up again; one that is not ready before the
    deadline stays open for the next run (RetriableError). A job older than ``max_age`` is left
    alone and a new one ordered, as is one that the vendor has lost, once. ``details`` are noted
    with a new order and come back in ``VendorJob.details``.
    """
    jobs, clock = transport.jobs, transport.clock
    for is_last in (False, True):
        job = jobs.find(key)
        if job is not None and clock.now() - job.ordered_at > max_age:
            jobs.note(key, replace(job, state="abandoned"))
            job = None
        if job is None:
            job = VendorJob(vendor.order(), "ordered", dict(details or {}), clock.now())
            jobs.note(key, job)
        has_begun = False
        try:
            progress = _await_ready(key, job, vendor, transport, poll or Poll())
            if job.state == "ordered":
                job = _noted(jobs, key, job, "ready")
            for item in vendor.read(job, progress):
                has_begun = True
                yield item
            _noted(jobs, key, job, "read")
            return
        except GoneError as error:
            _noted(jobs, key, job, "vanished")
            if has_begun or is_last:
                raise RetriableError(
                    f"the {key.kind} job {job.id} is gone at the vendor: {error.message}",
                    source=key.source,
                    stream=key.stream,
                    hint="run it again: it will be ordered anew",
                ) from None


def _await_ready(
    key: JobKey, job: VendorJob, vendor: JobVendor[T], transport: Transport, poll: Poll
) -> Progress:
    clock = transport.clock
    deadline = clock.monotonic() + poll.deadline_seconds
    wait = poll.first_seconds
    while True:
        progress = vendor.check(job)
        if progress.outcome == "ready":
            return progress
        if progress.outcome == "failed":
            _noted(transport.jobs, key, job, "failed")
            reason = f": {progress.reason}" if progress.reason else ""
            raise FatalError(
                f"the {key.kind} job {job.id} ended as {progress.state}{reason}",
                source=key.source,
                stream=key.stream,
                hint="the next run orders a new one; the vendor's own page may tell more",
            )
        if clock.monotonic() + wait > deadline:
            raise RetriableError(
                f"the {key.kind} job {job.id} is still {progress.state} after "
                f"{poll.deadline_seconds:.0f} s",
                source=key.source,
                stream=key.stream,
                hint="run it again later: the same job is taken up",
            )
        clock.sleep(wait)
        wait = min(wait * poll.growth, poll.max_seconds)


def _noted(jobs: JobStore, key: JobKey, job: VendorJob, state: JobState) -> VendorJob:
    job = replace(job, state=state)
    jobs.note(key, job)
    return job
