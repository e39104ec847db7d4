"""A2: days of event-shaped streams are filled again from the UI, beside the reads by bookmark."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import psycopg
import pytest

from meltano_assets import automation
from meltano_assets.assets.raw import build_raw_assets
from meltano_assets.resources import CopyIOManager, Vendors, WarehouseResource
from meltano_assets.sources import SOURCES
from meltano_assets.sources.version import STREAMS, VERSION
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer

DATABASE = "version_history"


@pytest.fixture
def warehouse(server: EmbeddedServer) -> Warehouse:
    """A database that is warehouse and source at once: pings arrive in schema public."""
    server.ensure_database(DATABASE)
    url = server.url(DATABASE)
    with psycopg.connect(url) as connection:
        connection.execute("drop schema if exists public, version, meltano cascade")
        connection.execute("create schema public")
        for stream in STREAMS:
            columns = ", ".join(f"{column.name} {column.type}" for column in stream.columns)
            connection.execute(f"create table public.{stream.name} ({columns}, primary key (id))")  # type: ignore[arg-type]
    return Warehouse(url)


def definitions(warehouse: Warehouse) -> dg.Definitions:
    database = WarehouseResource(url=warehouse.url)
    return dg.Definitions(
        assets=build_raw_assets((VERSION,)),
        jobs=automation.build_jobs((VERSION,)),
        resources={
            "database": database,
            "vendors": Vendors(settings={"version": {"url": warehouse.url}}),
            "io_manager": CopyIOManager(database=database),
        },
    )


def add(warehouse: Warehouse, number: int, at: datetime) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "insert into public.version_checks (id, referer_url, updated_at) values (%s, 'x', %s)",
            [number, at],
        )


def test_a_day_is_read_again_and_the_bookmark_stays(warehouse: Warehouse) -> None:
    """Rows that came late into an old day are missed by the bookmark and found by the day."""
    days = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 2, 3)]
    for number, day in enumerate(days):
        add(warehouse, number, day)
    made = definitions(warehouse)
    with dg.DagsterInstance.ephemeral() as instance:
        assert made.resolve_job_def("version_job").execute_in_process(instance=instance).success
        before = state.read_bookmark(warehouse, "version", "version_checks")
        assert before is not None
        for number, day in enumerate(days, start=10):
            add(warehouse, number, day)
        history = made.resolve_job_def("version_history")
        run = history.execute_in_process(partition_key="2026-03-02", instance=instance)
    assert run.success
    with warehouse.connect() as connection:
        found = connection.execute("select id from version.version_checks order by id").fetchall()
    assert [number for (number,) in found] == [0, 1, 2, 11]
    assert state.read_bookmark(warehouse, "version", "version_checks") == before


def test_adjoining_days_are_one_run_with_the_rows_of_each_day(warehouse: Warehouse) -> None:
    """From the start of the first day to the end of the last, and nothing around them."""
    for number, day in enumerate(range(1, 6)):
        add(warehouse, number, datetime(2026, 3, day, tzinfo=UTC))
        add(warehouse, number + 10, datetime(2026, 3, day, 23, 59, 59, tzinfo=UTC))
    history = definitions(warehouse).resolve_job_def("version_history")
    assert history.backfill_policy == dg.BackfillPolicy.single_run()
    days = {
        "dagster/asset_partition_range_start": "2026-03-02",
        "dagster/asset_partition_range_end": "2026-03-04",
    }
    with dg.DagsterInstance.ephemeral() as instance:
        assert history.execute_in_process(tags=days, instance=instance).success
        together = rows(warehouse)
        with warehouse.connect() as connection:
            connection.execute("drop schema version cascade")
            connection.execute("drop schema meltano cascade")
        for day in ("2026-03-02", "2026-03-03", "2026-03-04"):
            assert history.execute_in_process(partition_key=day, instance=instance).success
    assert rows(warehouse) == together
    assert {number for number, _ in together} == {1, 2, 3, 11, 12, 13}
    assert state.read_bookmark(warehouse, "version", "version_checks") is None


def test_days_and_a_read_config_are_refused_together(warehouse: Warehouse) -> None:
    """Nobody could tell which of the two windows was meant."""
    history = definitions(warehouse).resolve_job_def("version_history")
    config = {"ops": {"version__version_checks": {"config": {"start": "2026-03-01"}}}}
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(dg.Failure, match="takes no read config"),
    ):
        history.execute_in_process(partition_key="2026-03-02", run_config=config, instance=instance)


def rows(warehouse: Warehouse) -> list[tuple[object, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(
            "select id, updated_at from version.version_checks order by id"
        ).fetchall()


def test_every_named_stream_exists_and_no_asset_is_partitioned() -> None:
    """*Materialize all* asks nobody for a partition."""
    streams = {source.name: {stream.name for stream in source.streams} for source in SOURCES}
    for source, names in automation.EVENT_STREAMS.items():
        assert set(names) <= streams[source]
    jobs = {job.name for job in automation.build_jobs(SOURCES)}
    assert {f"{source}_history" for source in automation.EVENT_STREAMS} <= jobs
