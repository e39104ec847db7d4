"""X1, L10: a vendor's long job is ordered once, whatever happens to the process that waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from meltano_assets.clients.jobs import MemoryJobs, Poll, Progress, run_job
from meltano_assets.errors import FatalError, GoneError, RetriableError
from meltano_assets.streams import JobKey, VendorJob
from meltano_assets_tests.clients.local_server import FakeClock

KEY = JobKey("shop", "orders", "export", {"fields": ["id"], "start": None})


class KilledError(BaseException):
    """The process dies here."""


@dataclass
class Vendor:
    """A vendor whose jobs are ready after ``polls`` questions; keeps what it was asked."""

    polls: int = 2
    ends: str = "ready"
    lost: set[str] = field(default_factory=set)
    die_at: str = ""
    orders: list[str] = field(default_factory=list)
    asked: int = 0

    def _may_die(self, place: str) -> None:
        if self.die_at == place:
            self.die_at = ""
            raise KilledError

    def order(self) -> str:
        self.orders.append(f"job-{len(self.orders) + 1}")
        return self.orders[-1]

    def check(self, job: VendorJob) -> Progress:
        if f"check {job.id}" in self.lost:
            raise GoneError("no such job")
        self._may_die("check")
        self.asked += 1
        is_over = self.asked >= self.polls
        return Progress("Done" if is_over else "Queued", self.ends if is_over else "running")  # type: ignore[arg-type]

    def read(self, job: VendorJob, progress: Progress) -> Iterator[str]:
        for page in range(3):
            if f"page {page} of {job.id}" in self.lost:
                raise GoneError("no such file")
            self._may_die(f"page {page}")
            yield f"{job.id} page {page}"


def pages(job: str) -> list[str]:
    return [f"{job} page {number}" for number in range(3)]


@pytest.mark.parametrize("place", ["check", "page 0", "page 2"])
def test_a_job_is_taken_up_wherever_the_process_died(place: str) -> None:
    vendor, jobs = Vendor(die_at=place), MemoryJobs()
    with pytest.raises(KilledError):
        list(run_job(KEY, vendor, FakeClock().transport(jobs=jobs)))
    assert list(run_job(KEY, vendor, FakeClock().transport(jobs=jobs))) == pages("job-1")
    assert vendor.orders == ["job-1"]


def test_a_finished_job_is_not_read_again() -> None:
    vendor, transport = Vendor(), FakeClock().transport()
    assert list(run_job(KEY, vendor, transport)) == pages("job-1")
    assert list(run_job(KEY, vendor, transport)) == pages("job-2")


def test_another_request_does_not_take_the_job() -> None:
    vendor, transport = Vendor(die_at="check"), FakeClock().transport()
    with pytest.raises(KilledError):
        list(run_job(KEY, vendor, transport))
    other = JobKey(KEY.source, KEY.stream, KEY.kind, {"fields": ["id", "name"], "start": None})
    assert list(run_job(other, vendor, transport)) == pages("job-2")


def test_a_failed_job_ends_and_is_not_taken_up() -> None:
    vendor, transport = Vendor(ends="failed"), FakeClock().transport()
    with pytest.raises(FatalError, match="job-1 ended as Done"):
        list(run_job(KEY, vendor, transport))
    vendor.ends = "ready"
    assert list(run_job(KEY, vendor, transport)) == pages("job-2")


@pytest.mark.parametrize("lost", ["check job-1", "page 0 of job-1"])
def test_a_lost_job_is_ordered_anew_once(lost: str) -> None:
    vendor = Vendor(lost={lost})
    assert list(run_job(KEY, vendor, FakeClock().transport())) == pages("job-2")
    vendor = Vendor(lost={lost, lost.replace("job-1", "job-2")})
    with pytest.raises(RetriableError, match="job-2 is gone"):
        list(run_job(KEY, vendor, FakeClock().transport()))
    assert vendor.orders == ["job-1", "job-2"]


def test_a_file_lost_in_the_middle_is_an_error_and_the_next_run_orders_anew() -> None:
    vendor, transport = Vendor(lost={"page 1 of job-1"}), FakeClock().transport()
    read = []
    with pytest.raises(RetriableError, match="job-1 is gone"):
        for page in run_job(KEY, vendor, transport):
            read.append(page)
    assert read == pages("job-1")[:1]
    assert list(run_job(KEY, vendor, transport)) == pages("job-2")


def test_waiting_grows_and_has_an_end_and_the_job_stays() -> None:
    vendor, clock = Vendor(polls=10_000), FakeClock()
    transport = clock.transport()
    poll = Poll(first_seconds=1, max_seconds=20, deadline_seconds=100)
    with pytest.raises(RetriableError, match="still Queued after 100 s"):
        list(run_job(KEY, vendor, transport, poll=poll))
    assert clock.slept == sorted(clock.slept)
    assert max(clock.slept) == 20
    assert sum(clock.slept) <= 100
    vendor.polls = 0
    assert list(run_job(KEY, vendor, transport)) == pages("job-1")


def test_a_job_too_old_to_be_worth_it_is_left_alone() -> None:
    vendor, clock = Vendor(die_at="check"), FakeClock()
    transport = clock.transport()
    with pytest.raises(KilledError):
        list(run_job(KEY, vendor, transport))
    clock.slept.append(3601.0)
    read = list(run_job(KEY, vendor, transport, max_age=timedelta(hours=1)))
    assert read == pages("job-2")


def test_details_of_the_order_come_back_to_whoever_takes_it_up() -> None:
    seen: list[object] = []

    class Reading(Vendor):
        def read(self, job: VendorJob, progress: Progress) -> Iterator[str]:
            seen.append(job.details.get("end"))
            yield from super().read(job, progress)

    vendor, transport = Reading(die_at="check"), FakeClock().transport()
    with pytest.raises(KilledError):
        list(run_job(KEY, vendor, transport, details={"end": "monday"}))
    list(run_job(KEY, vendor, transport, details={"end": "tuesday"}))
    assert seen == ["monday"]
