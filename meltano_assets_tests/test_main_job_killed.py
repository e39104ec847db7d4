"""The whole graph killed in mid-way by SIGKILL: a rerun gives what an undisturbed run gives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from meltano_assets.environment import project_root
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources import SOURCES
from meltano_assets.streams import ReadOptions
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.command_line import variables
from meltano_assets_tests.sources.conftest import Vendors

SCALE = 0.05
SECONDS = 240.0
STREAMS = [stream.key for source in SOURCES for stream in source.streams]


@pytest.fixture(scope="module")
def company(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    with serve_in_thread(
        state_dir=tmp_path_factory.mktemp("company"),
        postgres_url=server.url("postgres"),
        database="sandbox_killed",
        scale=SCALE,
    ) as manifest:
        yield Vendors(manifest)


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query.encode()).fetchall()


def raw_tables(warehouse: Warehouse) -> dict[str, list[Any]]:
    """Every raw table whole, but for what the loader adds."""
    query = "select to_jsonb(t) - '_loaded_at' - '_load_id' from {} as t order by id::text"
    return {key: [row[0] for row in rows(warehouse, query.format(key))] for key in STREAMS}


def load_undisturbed(vendors: Vendors, warehouse: Warehouse) -> None:
    """Every stream by the loader alone, without Dagster."""
    for source in SOURCES:
        with source.connect(vendors.settings(source.name)) as reader:
            for stream in source.streams:
                batches = reader.read(stream, None, ReadOptions(), now=datetime.now(UTC))
                load(warehouse, stream, batches)


@contextlib.contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The whole graph in a process group of its own, which is gone afterwards."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "meltano_assets_tests.whole_graph_process"],
            cwd=project_root(),
            env=environment,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def kill_when(claim: Callable[[], object], environment: dict[str, str], log: Path) -> None:
    """Start the graph and kill it, as the kernel would, as soon as the claim holds."""
    deadline = time.monotonic() + SECONDS
    with running(environment, log) as process:
        while not claim():
            assert process.poll() is None, log.read_text("utf-8", "replace")
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "loading",
        "modelling",
        "syncing",
    ],
)
def test_a_killed_run_is_completed_by_the_next(
    moment: str, company: Vendors, warehouse: Warehouse, server: EmbeddedServer, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        **variables(company),
        "MELTANO_WAREHOUSE_URL": warehouse.url,
        "MELTANO_STATE_DIR": str(tmp_path / "state"),
    }
    undisturbed = Warehouse(server.ensure_database(f"undisturbed_{moment}"))
    load_undisturbed(company, undisturbed)
    expected = raw_tables(undisturbed)
    assert all(expected.values())

    def has_begun() -> bool:
        """A load is open and three are done; or what comes after the loads has begun."""
        if moment == "loading":
            done = "select count(*) from meltano.load_log"
            is_open = "select 1 from pg_locks where locktype = 'advisory' limit 1"
            if rows(warehouse, "select to_regclass('meltano.load_log')") == [(None,)]:
                return False
            return rows(warehouse, done)[0][0] >= 3 and bool(rows(warehouse, is_open))
        table = {"modelling": "staging.stg_zendesk__tickets", "syncing": "salesforce_sync.runs"}
        if rows(warehouse, f"select to_regclass('{table[moment]}')") == [(None,)]:
            return False
        return moment == "modelling" or bool(rows(warehouse, "select 1 from salesforce_sync.runs"))

    kill_when(has_begun, environment, tmp_path / "killed.log")
    if moment == "loading":
        done = rows(warehouse, "select count(*) from meltano.load_log where status = 'committed'")
        assert 3 <= done[0][0] < len(STREAMS)

    with running(environment, tmp_path / "rerun.log") as process:
        assert process.wait(SECONDS) == 0, (tmp_path / "rerun.log").read_text("utf-8", "replace")
    found = raw_tables(warehouse)
    different = [key for key in STREAMS if found[key] != expected[key]]
    if moment == "syncing":
        # What the killed run wrote to Salesforce comes back with the rerun's read.
        different = [key for key in different if not key.startswith("salesforce.")]
    assert not different
    assert rows(warehouse, "select relname from pg_class where relname like 'meltano_new%'") == []
    unbalanced = (
        "select source, stream from meltano.load_log where status = 'committed' and read"
        " <> inserted + updated + unchanged + superseded + quarantined"
    )
    assert rows(warehouse, unbalanced) == []
    for model in ("analytics.dim_hosts", "analytics.fct_metrics", "sync.sync_salesforce_hosts"):
        assert rows(warehouse, f"select count(*) from {model}")[0][0] > 0, model
