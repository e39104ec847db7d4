"""Loads in processes of their own, for tests that kill them.

    python -m meltano_assets_tests.warehouse.loading_process

Reads lines ``URL DISPOSITION ROUND SEED MOMENT``, runs each load in a fork and answers with how it ended:
0, -9 for a kill, 1 for an error that a retry may mend. MOMENT says where the load ends itself with SIGKILL:
``before-copy``, ``during-copy``, ``before-commit``, ``after-commit``, or ``never``; a number is a delay in
seconds. ``backend:`` and a number kills the server's process for the load instead. ``several-`` before a
moment or ``several:`` before a number lets several connections fill a replaced table, however small.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pyarrow as pa

from meltano_assets.errors import RetriableError
from meltano_assets.streams import Batch, Bookmark, Column, Disposition, LoadOutcome, Stream
from meltano_assets.warehouse import fill, state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load

BASE = datetime(2026, 1, 1, tzinfo=UTC)
STREAM = Stream(
    "shop",
    "killed",
    (
        Column("id", "bigint"),
        Column("name", "text"),
        Column("amount", "numeric"),
        Column("doc", "jsonb"),
        Column("at", "timestamptz"),
    ),
    primary_key=("id",),
    replication_key="at",
)
PARTS = 4
SEVERAL = "several"


def kill_self() -> None:
    """End like a machine that loses power."""
    os.kill(os.getpid(), signal.SIGKILL)


def records(disposition: Disposition, round_number: int, seed: int) -> list[dict[str, object]]:
    """What the source holds in this round, in replication-key order."""
    rng = random.Random(f"{disposition} {round_number} {seed}")
    size = rng.choice([3, 40, 800, 800, 12_000])
    start = round_number * 100_000 if disposition == "append" else 0
    return [
        {
            "id": start + (n if disposition == "append" else rng.randrange(size)),
            "name": None if rng.random() < 0.1 else "é" * rng.randrange(50),
            "amount": f"{rng.randrange(10**6)}.{rng.randrange(100):02}",
            "doc": f'{{"n": {n}}}',
            "at": BASE + timedelta(days=round_number, seconds=n),
        }
        for n in range(size)
    ]


def batches(
    rows: list[dict[str, object]], begin: datetime | None, moment: str, *, has_bookmarks: bool
) -> Iterator[Batch]:
    """The rows from the bookmark on, in parts; dies at its moment."""
    wanted = [row for row in rows if begin is None or row["at"] > begin]  # type: ignore[operator]
    if moment == "before-copy":
        kill_self()
    step = max(1, len(wanted) // PARTS)
    for start in range(0, len(wanted), step):
        part = wanted[start : start + step]
        last = part[-1]["at"]
        assert isinstance(last, datetime)
        mark = Bookmark(last.isoformat()) if has_bookmarks else None
        yield Batch(pa.RecordBatch.from_pylist(part), mark)
        if moment == "during-copy" and start + step >= len(wanted) // 2:
            kill_self()
    if moment == "before-commit":
        kill_self()


def kill_backend(warehouse: Warehouse) -> None:
    """End the server's process that works for this load."""
    with warehouse.connect(autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and application_name = 'meltano-assets load shop.killed'"
        )


def run(url: str, word: str, round_text: str, seed_text: str, moment: str) -> None:
    """One load, killed or not."""
    disposition: Disposition = word  # type: ignore[assignment]
    warehouse = Warehouse(url)
    if moment.startswith(SEVERAL):
        moment = moment[len(SEVERAL) + 1 :]
        fill.LARGE_BYTES = fill.WIDE_ROW = 0
        fill._is_logged = lambda connection: True
    kind, _, delay = moment.rpartition(":")
    if delay[0].isdigit():
        kill = kill_self if kind != "backend" else partial(kill_backend, warehouse)
        timer = threading.Timer(float(delay), kill)
        timer.daemon = True
        timer.start()
    rows = records(disposition, int(round_text), int(seed_text))
    bookmark = state.read_bookmark(warehouse, "shop", "killed")
    is_incremental = disposition != "replace"
    begin = bookmark.as_time() if bookmark is not None and is_incremental else None

    def progress(outcome: LoadOutcome) -> None:
        if moment == "after-commit" and outcome.checkpoints:
            kill_self()

    load(
        warehouse,
        replace(STREAM, disposition=disposition, max_shrink=1.0),
        batches(rows, begin, moment, has_bookmarks=is_incremental),
        on_progress=progress,
    )


def main() -> None:
    """Runs what standard input asks for; packages are imported once."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(*line.split())
            except RetriableError:
                os._exit(1)
            except BaseException:  # noqa: BLE001 - told to the test, which fails
                traceback.print_exc()
                os._exit(3)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
