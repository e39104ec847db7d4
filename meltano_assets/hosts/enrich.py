"""Who is behind a host: the waterfall over providers, with caches, budgets and outages.

Domains: DiscoverOrg → Clearbit → WHOIS (RDAP first), stopping at the first that names a company.
Addresses: reverse DNS, whose cleaned name is then asked about as a domain; else the RDAP network.

Providers work side by side, each within its own rate. Only names of kind ``domain`` and public
addresses are ever asked about: whatever else comes in is counted as withheld and goes nowhere. What
is answered is stored while the run goes on: a killed run loses a few seconds' answers at most.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from meltano_assets.clients.policy import Clock
from meltano_assets.errors import FatalError
from meltano_assets.hosts import cache, dns
from meltano_assets.hosts.cache import Pending, decide, ensure_caches, existing_tables, store
from meltano_assets.hosts.clean import clean_hosts
from meltano_assets.hosts.exchange import Limits, ProviderError, ProviderStopError
from meltano_assets.hosts.providers import Answer, Outcome, Provider, Settings, Step
from meltano_assets.hosts.waterfall import ADDRESS_STEPS, CACHES, DOMAIN_STEPS, VARIABLES

if TYPE_CHECKING:
    from meltano_assets.warehouse.connection import Warehouse

_FLUSH_ROWS = 500
_FLUSH_SECONDS = 5.0


@dataclass(slots=True)
class ProviderCounts:
    """What one provider did in a run.

    ``cached`` names had an answer of it that is still good; ``stopped`` says why it was left alone.
    """

    hits: int = 0
    misses: int = 0
    cached: int = 0
    pending: int = 0
    failed: int = 0
    calls: int = 0
    stopped: str | None = None
    last_failure: str | None = None


@dataclass(slots=True)
class EnrichOutcome:
    """The account of a run: ``candidates = done_before + asked + postponed + unasked``.

    ``postponed`` names wait for the next run because the spend cap was reached, ``unasked`` ones
    because no provider could be asked. ``withheld`` names were internal or invalid and went nowhere.
    """

    candidates: int = 0
    done_before: int = 0
    asked: int = 0
    postponed: int = 0
    unasked: int = 0
    withheld: int = 0
    spent: int = 0
    seconds: float = 0.0
    providers: dict[str, ProviderCounts] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """Requests sent to all providers."""
        return sum(counts.calls for counts in self.providers.values())

    @property
    def finished(self) -> int:
        """Names with nothing left to do in this run."""
        return self.done_before + self.asked + self.postponed + self.unasked


#: Called with name, provider and its answer or failure.
OnAnswer = Callable[[str, str, Answer], None]


def refresh_enrichment(
    warehouse: Warehouse,
    settings: Settings,
    *,
    now: datetime,
    run_id: str = "",
    environment: str = "local",
    spend_cap: int | None = None,
    on_progress: Callable[[EnrichOutcome], None] | None = None,
) -> EnrichOutcome:
    """Ask about all domains and public addresses of recent pings that the caches don't answer."""
    return enrich(
        warehouse,
        settings,
        None,
        now=now,
        run_id=run_id,
        environment=environment,
        spend_cap=spend_cap,
        on_progress=on_progress,
    )


def enrich(
    warehouse: Warehouse,
    settings: Settings,
    candidates: Iterable[str] | None = None,
    *,
    now: datetime,
    spend_cap: int | None = None,
    on_progress: Callable[[EnrichOutcome], None] | None = None,
    on_answer: OnAnswer | None = None,
    run_id: str = "",
    environment: str = "local",
    clock: Clock | None = None,
    limits: Limits | None = None,
) -> EnrichOutcome:
    """Fill the caches for the candidates (raw or clean hosts), or for those of recent pings.

    A provider without settings is skipped and named in the outcome. ``spend_cap`` is how many
    names may be put to paid providers in this run.
    """
    if candidates is None and "hosts.cleaned_hosts" not in existing_tables(
        warehouse, ["hosts.cleaned_hosts"]
    ):
        raise FatalError(
            "no hosts are cleaned yet",
            source="enrichment",
            hint="clean them first: hosts.cleaned_hosts",
        )
    began = time.monotonic()
    ensure_caches(warehouse, run_id=run_id, environment=environment)
    run = _Run(
        warehouse,
        settings,
        now=now,
        run_id=run_id,
        environment=environment,
        spend_cap=spend_cap,
        on_progress=on_progress,
        on_answer=on_answer,
        clock=clock,
        limits=limits,
    )
    domains: list[str] | None = None
    addresses: list[str] | None = None
    if candidates is not None:
        domains, addresses = run.sort(candidates)
    try:
        run.ask_all(ADDRESS_STEPS, "address", addresses)
        if addresses:
            domains = sorted({*(domains or ()), *cache.reverse_domains(warehouse, addresses)})
        run.ask_all(DOMAIN_STEPS, "domain", domains)
    finally:
        run.close()
    run.outcome.seconds = time.monotonic() - began
    return run.outcome


class _Run:
    """One run: its providers, counts and answers on their way into the caches."""

    def __init__(
        self,
        warehouse: Warehouse,
        settings: Settings,
        *,
        now: datetime,
        run_id: str,
        environment: str,
        spend_cap: int | None,
        on_progress: Callable[[EnrichOutcome], None] | None,
        on_answer: OnAnswer | None,
        clock: Clock | None,
        limits: Limits | None,
    ) -> None:
        self.outcome = EnrichOutcome()
        self._warehouse = warehouse
        self._settings = settings
        self._now = now
        self._store = partial(store, warehouse, now=now, run_id=run_id, environment=environment)
        self._spend_cap = spend_cap
        self._on_progress = on_progress
        self._on_answer = on_answer
        self._limits = limits
        self._is_stopping = threading.Event()
        self._clock = clock or Clock(sleep=self._sleep)
        self._lanes: dict[str, _Lane | None] = {}
        self._unstored: dict[str, list[tuple[str, Answer]]] = {}
        self._stored_at = time.monotonic()

    def _sleep(self, seconds: float) -> None:
        """A pause that ends when the run does."""
        if self._is_stopping.wait(seconds):
            raise ProviderStopError("the run was stopped")

    def close(self) -> None:
        """Store what is answered and let the threads go."""
        self._is_stopping.set()
        for lane in filter(None, self._lanes.values()):
            lane.executor.shutdown(wait=False, cancel_futures=True)
        self._flush()

    def sort(self, candidates: Iterable[str]) -> tuple[list[str], list[str]]:
        """Clean the caller's candidates into domains and public addresses."""
        import pyarrow as pa

        table = clean_hosts(pa.array(list(candidates), pa.string()))
        domains: set[str] = set()
        addresses: set[str] = set()
        for kind, name in zip(
            table.column("kind").to_pylist(), table.column("clean_domain").to_pylist(), strict=True
        ):
            if kind == "domain":
                domains.add(name)
            elif kind in ("ipv4", "ipv6"):
                addresses.add(name)
            else:
                self.outcome.withheld += 1
        return sorted(domains), sorted(addresses)

    def ask_all(self, steps: Sequence[Step], kind: cache.NameKind, names: list[str] | None) -> None:
        """Take every name down the waterfall as far as it needs to go."""
        lanes = [self._lane(step) for step in steps]
        is_nobody = not any(lane is not None for lane in lanes)
        waterfall = [
            (step.stream, lane is not None or is_nobody)
            for step, lane in zip(steps, lanes, strict=True)
        ]
        decision = decide(self._warehouse, waterfall, kind=kind, names=names, now=self._now)
        self.outcome.candidates += decision.total
        self.outcome.done_before += decision.done
        for step, lane in zip(steps, lanes, strict=True):
            if lane is not None:
                lane.counts.cached += decision.cached[step.stream.name]
        pending = self._checked(decision.open, kind)
        _Waterfall(self, steps, lanes).run(pending)
        self._flush()
        self.report()

    def _checked(self, pending: Sequence[Pending], kind: cache.NameKind) -> list[Pending]:
        """The last gate: nothing that cleans to anything but itself is asked about."""
        import pyarrow as pa

        table = clean_hosts(pa.array([item.name for item in pending], pa.string()))
        allowed = ("domain",) if kind == "domain" else ("ipv4", "ipv6")
        good = [
            item
            for item, found, clean in zip(
                pending,
                table.column("kind").to_pylist(),
                table.column("clean_domain").to_pylist(),
                strict=True,
            )
            if found in allowed and clean == item.name
        ]
        withheld = len(pending) - len(good)
        self.outcome.withheld += withheld
        self.outcome.candidates -= withheld
        return good

    def _lane(self, step: Step) -> _Lane | None:
        if step.name not in self._lanes:
            lane: _Lane | None = None
            if any(map(self._is_configured, step.needs)):
                provider = step.make(self._settings, self._clock, self._limits)
                counts = self.outcome.providers[step.name] = ProviderCounts()
                lane = _Lane(step, provider, counts)
            else:
                self.outcome.skipped[step.name] = "not configured"
            self._lanes[step.name] = lane
        return self._lanes[step.name]

    def _is_configured(self, vendor: str) -> bool:
        """A vendor that requires nothing is there as soon as it is named."""
        given = self._settings.get(vendor)
        return bool(given) or (
            given is not None and not any(each.is_required for each in VARIABLES[vendor])
        )

    def take_budget(self, step: Step) -> bool:
        """Spend one question on a paid provider; False when the cap is reached."""
        if step.is_paid:
            if self._spend_cap is not None and self.outcome.spent >= self._spend_cap:
                return False
            self.outcome.spent += 1
        return True

    def note(self, step: Step, item: Pending, answer: Answer) -> Answer:
        """Keep an answer for storing; what is no answer only where none stands.

        Gives the answer as it is stored.
        """
        if step.stream is dns.CACHE:
            answer = self._with_clean_name(answer)
        if self._on_answer is not None:
            self._on_answer(item.name, step.name, answer)
        if answer.outcome in ("hit", "miss") or step.stream.name not in item.known:
            self._unstored.setdefault(step.stream.name, []).append((item.name, answer))
        waiting = sum(map(len, self._unstored.values()))
        if waiting >= _FLUSH_ROWS or time.monotonic() - self._stored_at > _FLUSH_SECONDS:
            self._flush()
            self.report()
        return answer

    def _with_clean_name(self, answer: Answer) -> Answer:
        """A reverse name counts when it cleans to a domain; others leave the network to ask for."""
        name = answer.columns.get("host_name")
        if not name:
            return answer
        import pyarrow as pa

        row = clean_hosts(pa.array([name], pa.string())).to_pylist()[0]
        is_domain = row["kind"] == "domain"
        outcome: Outcome = "hit" if is_domain else "miss"
        columns = {
            "host_name": name,
            "clean_domain": row["clean_domain"] if is_domain else None,
            "clean_full_domain": row["clean_full_domain"] if is_domain else None,
        }
        return Answer(outcome, columns, answer.raw, answer.steps)

    def _flush(self) -> None:
        unstored, self._unstored = self._unstored, {}
        streams = {stream.name: stream for stream in CACHES}
        for name, answers in unstored.items():
            self._store(streams[name], answers)
        self._stored_at = time.monotonic()

    def report(self) -> None:
        """Tell how far it is."""
        for lane in filter(None, self._lanes.values()):
            lane.counts.calls = lane.provider.calls
        if self._on_progress is not None:
            self._on_progress(self.outcome)


class _Lane:
    """One provider at work in a run."""

    def __init__(self, step: Step, provider: Provider, counts: ProviderCounts) -> None:
        self.step = step
        self.provider = provider
        self.counts = counts
        self.executor = ThreadPoolExecutor(step.threads, thread_name_prefix=step.name)
        self.in_flight = 0
        self.failures_in_a_row = 0

    def fail(self, reason: str) -> None:
        """Count a failure; too many in a row mean an outage."""
        self.counts.failed += 1
        self.counts.last_failure = reason
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= self.step.max_failures and not self.counts.stopped:
            self.counts.stopped = f"{self.failures_in_a_row} failures in a row, last: {reason}"


class _Waterfall:
    """Names on their way through the lanes; all bookkeeping is done in one thread."""

    def __init__(self, run: _Run, steps: Sequence[Step], lanes: Sequence[_Lane | None]) -> None:
        self._run = run
        self._steps = steps
        self._lanes = lanes
        self._queues: list[deque[Pending]] = [deque() for _ in steps]
        self._finished: SimpleQueue[tuple[int, Pending, Future[Answer]]] = SimpleQueue()
        self._asked: set[str] = set()

    def run(self, pending: Iterable[Pending]) -> None:
        """Until every name is done."""
        for item in pending:
            self._advance(item, 0)
        while True:
            self._dispatch()
            if any(lane.in_flight for lane in self._lanes if lane is not None):
                self._settle(*self._finished.get())
            elif not any(self._queues):
                return

    def _advance(self, item: Pending, place: int) -> None:
        """Queue the name for the next provider that is to be asked, or be done with it."""
        for next_place in range(place, len(self._steps)):
            state = item.states.get(self._steps[next_place].stream.name)
            if state == "hit":
                break
            lane = self._lanes[next_place]
            if state != "miss" and lane is not None and not lane.counts.stopped:
                self._queues[next_place].append(item)
                return
        if item.name in self._asked:
            self._asked.remove(item.name)
            self._run.outcome.asked += 1
        else:
            self._run.outcome.unasked += 1

    def _dispatch(self) -> None:
        """Hand out work, later providers first, so that names get done."""
        for place in reversed(range(len(self._steps))):
            lane, queue = self._lanes[place], self._queues[place]
            while lane is not None and queue and lane.in_flight < lane.step.threads:
                item = queue.popleft()
                if lane.counts.stopped:
                    self._advance(item, place + 1)
                elif not self._run.take_budget(lane.step):
                    # Asked again in the next run, from here on: what was answered is cached.
                    self._asked.discard(item.name)
                    self._run.outcome.postponed += 1
                else:
                    lane.in_flight += 1
                    self._asked.add(item.name)
                    future = lane.executor.submit(lane.provider.ask, item.name)
                    future.add_done_callback(partial(self._done, place, item))

    def _done(self, place: int, item: Pending, future: Future[Answer]) -> None:
        self._finished.put((place, item, future))

    def _settle(self, place: int, item: Pending, future: Future[Answer]) -> None:
        lane = self._lanes[place]
        assert lane is not None
        lane.in_flight -= 1
        try:
            answer = future.result()
        except ProviderStopError as error:
            lane.counts.stopped = lane.counts.stopped or str(error)
            lane.fail(str(error))
            answer = Answer("error", steps=(str(error),))
        except ProviderError as error:
            lane.fail(str(error))
            answer = Answer("error", steps=(str(error),))
        else:
            lane.failures_in_a_row = 0
        answer = self._run.note(lane.step, item, answer)
        if answer.outcome == "hit":
            lane.counts.hits += 1
        elif answer.outcome == "miss":
            lane.counts.misses += 1
        elif answer.outcome == "pending":
            lane.counts.pending += 1
        self._advance(item, len(self._steps) if answer.outcome == "hit" else place + 1)
