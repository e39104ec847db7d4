"""L10: SIGKILL while a vendor's job runs, or while its result is read: the next process takes the job up.

The vendor's side counts: what it was ordered, not what we remember having ordered.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import requests
from psycopg import sql

from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.clients.local_server import Answer, Request, serving
from meltano_assets_tests.sources.conftest import Vendors

_NOT_PASSED_ON = {"content-length", "transfer-encoding", "connection", "content-encoding"}


@dataclass(frozen=True)
class Kind:
    """A vendor's jobs: how requests of the three kinds look, and a stream that is read by them."""

    source: str
    stream: str
    order: str
    poll: str
    result: str


KINDS = (
    Kind(
        "zuora",
        "accounts",
        r"POST /v1/batch-query/?$",
        r"GET /v1/batch-query/jobs/",
        r"GET /v1/files?/",
    ),
    Kind(
        "salesforce",
        "accounts",
        r"POST .*/jobs/query$",
        r"GET .*/jobs/query/\w+$",
        r"GET .*/jobs/query/\w+/results$",
    ),
    Kind(
        "marketo",
        "leads",
        r"POST /bulk/v1/leads/export/create\.json$",
        r"GET /bulk/v1/leads/export/[^/]+/status\.json$",
        r"GET /bulk/v1/leads/export/[^/]+/file\.json$",
    ),
)


class Runner:
    """Starts reads in processes of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, order: object) -> int:
        """The process that reads."""
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._line()

    def ended(self) -> int:
        """How it ended."""
        return self._line()

    def _line(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    module = "meltano_assets_tests.sources.reading_process"
    with subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Runner(process)
        assert process.stdin is not None
        process.stdin.close()


@dataclass
class Gate:
    """Stands before the vendor, counts its orders, and kills the reader at a request of one kind."""

    vendor: str
    kind: Kind
    kill_at: str | None = None
    orders: int = 0
    reader: int = 0
    is_known: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Answer:
        line = f"{request.method} {request.path}"
        with self.lock:
            self.orders += bool(re.search(self.kind.order, line))
            if self.kill_at is not None and re.search(self.kill_at, line):
                self.is_known.wait(10)
                os.kill(self.reader, signal.SIGKILL)
                return Answer(is_dropped=True)
        answer = requests.request(
            request.method,
            self.vendor + request.path,
            params=request.params,
            headers=dict(request.headers),
            data=request.body,
            timeout=30,
        )
        headers = {k: v for k, v in answer.headers.items() if k.lower() not in _NOT_PASSED_ON}
        kind = headers.pop("content-type", headers.pop("Content-Type", "application/json"))
        return Answer(answer.content, answer.status_code, headers, kind)

    def run(self, runner: Runner, order: object, *, kill_at: str | None) -> int:
        """One process, killed when the vendor gets such a request; how it ended."""
        self.is_known.clear()
        self.kill_at = kill_at
        self.reader = runner.start(order)
        self.is_known.set()
        return runner.ended()


def gate_of(vendors: Vendors, kind: Kind) -> tuple[Gate, dict[str, str]]:
    """A gate before the vendor, and the settings of who reads it."""
    settings = vendors.settings(kind.source)
    if kind.source == "marketo":
        begin = datetime.now(UTC) - timedelta(days=60)
        settings["start_date"] = begin.date().isoformat()
    return Gate(settings["base_url"], kind), settings


def at(address: str) -> dict[str, str]:
    """The vendor is there."""
    return {"base_url": address, "login_url": address}


def order_of(kind: Kind, warehouse: Warehouse, settings: dict[str, str]) -> dict[str, object]:
    """What a process is to read."""
    return {
        "source": kind.source,
        "stream": kind.stream,
        "url": warehouse.url,
        "settings": settings,
    }


@pytest.mark.parametrize("moment", [pytest.param("poll", marks=pytest.mark.slow), "result"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.source}")
def test_a_job_whose_reader_was_killed_is_picked_up_and_not_ordered_again(
    vendors: Vendors, warehouse: Warehouse, runner: Runner, kind: Kind, moment: str
) -> None:
    gate, settings = gate_of(vendors, kind)
    with serving(gate) as server:
        order = order_of(kind, warehouse, {**settings, **at(server.base_url)})
        # The second that is killed has taken the job up itself.
        for _ in range(2):
            assert gate.run(runner, order, kill_at=getattr(kind, moment)) == -signal.SIGKILL
            assert gate.orders >= 1
        assert gate.run(runner, order, kill_at=None) == 0
    with warehouse.connect() as connection:
        states = connection.execute("select state from meltano.job_log").fetchall()
        table = sql.Identifier(kind.source, kind.stream)
        rows = connection.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
    assert rows is not None
    assert rows[0] > 0
    # Marketo has a job for each window.
    assert gate.orders == len(states)
    assert gate.orders == 1 or kind.source == "marketo"
    assert set(states) == {("finished",)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.source}")
def test_a_reader_that_was_killed_while_it_ordered_leaves_nothing_in_the_way(
    vendors: Vendors, warehouse: Warehouse, runner: Runner, kind: Kind
) -> None:
    gate, settings = gate_of(vendors, kind)
    with serving(gate) as server:
        order = order_of(kind, warehouse, {**settings, **at(server.base_url)})
        assert gate.run(runner, order, kill_at=kind.order) == -signal.SIGKILL
        lost = gate.orders
        assert gate.run(runner, order, kill_at=None) == 0
    with warehouse.connect() as connection:
        states = connection.execute("select state from meltano.job_log").fetchall()
    # What was never answered is no job; every other one was ordered once and has ended.
    assert lost == 1
    assert gate.orders == lost + len(states)
    assert set(states) == {("finished",)}
