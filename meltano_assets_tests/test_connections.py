"""Where things are: a warehouse of the user's, Dagster's storage in it, settings of vendors."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import dagster as dg
import psycopg
import psycopg2
import pytest
import sqlalchemy
from psycopg import sql

from meltano_assets import connections, environment
from meltano_assets.definitions import build_definitions
from meltano_assets.errors import FatalError
from meltano_assets.instance import PlatformStorage
from meltano_assets.resources import Vendors, WarehouseResource
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources import SOURCES
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.command_line import nothing_looked_up
from meltano_assets_tests.instances import dagster_home

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SALESFORCE = next(source for source in SOURCES if source.name == "salesforce")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    with nothing_looked_up():
        yield


@pytest.fixture
def odd(server: EmbeddedServer) -> Iterator[Warehouse]:
    """A database and a login whose names and password need care in every URL."""
    made = uuid.uuid4().hex[:6]
    database, role, password = (
        f"odd näme %41 +&={made}",
        f"o'dd @r:le {made}",
        "p@ss:/?#[]% +'\"&=",
    )
    admin = Warehouse(server.url("postgres"))
    with admin.connect(autocommit=True) as connection:
        connection.execute(
            sql.SQL("create role {} login password {}").format(
                sql.Identifier(role), sql.Literal(password)
            )
        )
        connection.execute(
            sql.SQL("create database {} owner {}").format(
                sql.Identifier(database), sql.Identifier(role)
            )
        )
    at = urlsplit(admin.url)
    login = f"{quote(role, safe='')}:{quote(password, safe='')}"
    yield Warehouse(f"postgresql://{login}@{at.hostname}:{at.port}/{quote(database, safe='')}")
    with admin.connect(autocommit=True) as connection:
        connection.execute(
            sql.SQL("drop database {} with (force)").format(sql.Identifier(database))
        )
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def rows(warehouse: Warehouse, query: str) -> list[tuple[object, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query.encode()).fetchall()


def test_the_graph_and_its_storage_run_in_the_warehouse_that_the_environment_names(
    odd: Warehouse,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    parts = odd.parameters
    monkeypatch.setenv("PG_ADDRESS", parts["host"])
    monkeypatch.setenv("PG_PORT", parts["port"])
    monkeypatch.setenv("PG_USERNAME", parts["user"])
    monkeypatch.setenv("PG_PASSWORD", parts["password"])
    monkeypatch.setenv("PG_DATABASE", parts["dbname"])
    assert connections.warehouse().parameters == parts
    with serve_in_thread(
        state_dir=tmp_path / "company",
        postgres_url=server.url("postgres"),
        database="sandbox_connections",
        scale=0.05,
    ) as manifest:
        settings = {
            vendor: {key: str(value) for key, value in values.items()}
            for vendor, values in manifest.items()
        }
        definitions = build_definitions(
            WarehouseResource(), Vendors(settings=settings, settings_are_sandbox=True)
        )
        with dg.DagsterInstance.from_config(str(dagster_home(tmp_path))) as instance:
            result = definitions.resolve_job_def("everything").execute_in_process(
                instance=instance,
                asset_selection=[
                    dg.AssetKey(["version", "version_checks"]),
                    dg.AssetKey(["version", "usage_data"]),
                    dg.AssetKey(["hosts", "cleaned_hosts"]),
                    dg.AssetKey(["staging", "stg_hosts__cleaned_hosts"]),
                ],
                run_config=QUIET,
                raise_on_error=False,
            )
            failed = [event for event in result.all_events if event.is_step_failure]
            assert not failed
            assert instance.get_run_by_id(result.run_id)
    pings = rows(odd, "select count(*) from version.version_checks")
    assert pings[0][0]
    hosts = rows(odd, "select count(*) from hosts.cleaned_hosts")
    assert rows(odd, "select count(*) from staging.stg_hosts__cleaned_hosts") == hosts
    assert rows(odd, "select count(*) from dagster.runs") == [(1,)]
    assert rows(odd, "select to_regclass('public.runs')") == [(None,)]
    assert not (environment.state_directory() / "postgres").exists()


@pytest.mark.parametrize("query", ["", "?application_name=ours&options=-cwork_mem%3D5MB"])
def test_dagsters_storage_is_a_schema_of_the_warehouse_that_is_named(
    query: str, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url + query)
    with psycopg.connect(connections.dagster_storage_url()) as connection:
        assert connection.execute("select current_schema()").fetchone() == ("dagster",)
        if query:
            assert connection.execute("show work_mem").fetchone() == ("5MB",)


def test_of_several_servers_the_one_that_answers_is_taken(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = warehouse.url.rpartition("@")[0] + "@127.0.0.1:1,"
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", nobody + warehouse.url.rpartition("@")[2])
    with connections.warehouse().connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    engine = sqlalchemy.create_engine(connections.dagster_storage_url())
    with engine.connect() as stored:
        assert stored.exec_driver_sql("select current_schema()").scalar() == "dagster"
    engine.dispose()


def test_storing_an_event_opens_no_connection_and_asks_no_catalog(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MELTANO_DAGSTER_URL", warehouse.url)
    event = dg.AssetMaterialization("thing", tags={"dagster/data_version": "1"})
    opened: list[object] = []
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    with dg.DagsterInstance.from_config(str(dagster_home(tmp_path))) as instance:
        instance.report_runless_asset_event(event)
        instance.get_asset_records([event.asset_key])
        connect = psycopg2.connect
        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
        monkeypatch.setattr(
            psycopg2, "connect", lambda *a, **k: opened.append(a) or connect(*a, **k)
        )
        instance.report_runless_asset_event(event)
        instance.get_asset_records([event.asset_key])
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
    assert not opened
    assert asked
    assert not [statement for statement in asked if "pg_catalog" in statement]
    assert rows(warehouse, "select count(*) from asset_event_tags") == [(2,)]


def test_dagsters_storage_may_be_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELTANO_DAGSTER_URL", "postgresql://somewhere/else")
    assert connections.dagster_storage_url() == "postgresql://somewhere/else"
    assert PlatformStorage.config_type() == {}


def test_variables_beat_the_sandbox_and_nothing_stands_in_where_it_may_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SALESFORCE_BASE_URL", "https://example.my.salesforce.com")
    assert connections.source_settings(SALESFORCE)["base_url"].startswith("https://example")
    monkeypatch.delenv("SALESFORCE_BASE_URL")
    for name in ("review", "production"):
        monkeypatch.setenv("MELTANO_ENVIRONMENT", name)
        with pytest.raises(FatalError, match="SALESFORCE_BASE_URL") as info:
            connections.source_settings(SALESFORCE)
        assert ".env" in str(info.value)
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "local")
    assert not environment.state_directory().exists()


def test_known_secrets_are_found_without_starting_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not connections.known_secrets()
    monkeypatch.setenv("CLEARBIT_API_KEY", "key-canary")
    monkeypatch.setenv("VERSION_DB_URL", "postgresql://reader:version%2Fcanary@host/db")
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", "postgresql://me:house-canary@host:1/db")
    monkeypatch.setenv("MELTANO_DAGSTER_URL", "not a url")
    monkeypatch.setenv("PG_PASSWORD", "pg-canary")
    assert {"key-canary", "version/canary", "house-canary", "pg-canary"} <= (
        connections.known_secrets()
    )
    assert not environment.state_directory().exists()


def test_a_company_is_served_by_one_process_at_a_time(tmp_path: Path) -> None:
    company = tmp_path / "some company"
    with connections.serving(company, is_shared=False) as opened:
        opened.write_text('{"base_url": "http://127.0.0.1:1"}')
        with (
            pytest.raises(FatalError, match=r"open already at http://127\.0\.0\.1:1"),
            connections.serving(company, is_shared=False),
        ):
            pass
    with connections.serving(company, is_shared=True) as opened:
        assert not opened.exists()
    (tmp_path / "file").touch()
    with (
        pytest.raises(FatalError, match="cannot be made"),
        connections.serving(tmp_path / "file" / "company", is_shared=False),
    ):
        pass
