"""Postgres databases by one entry of ``databases.yml`` (X1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from meltano_assets.assets.raw import build_raw_assets
from meltano_assets.errors import FatalError
from meltano_assets.resources import CopyIOManager, Vendors, WarehouseResource
from meltano_assets.sources import databases
from meltano_assets.sources.base import Source
from meltano_assets.sources.entries import catalog_file, write_catalog
from meltano_assets.sources.registry import registered
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.command_line import command


@pytest.fixture
def billing(warehouse: Warehouse) -> Iterator[psycopg.Connection]:
    """Somebody's database, in a schema of the test's own."""
    with psycopg.connect(warehouse.url, autocommit=True) as connection:
        connection.execute(
            """
            create schema app;
            create table app.orders (
                id bigint primary key, total numeric(12, 2), email text, updated_at timestamptz
            );
            create index on app.orders (updated_at);
            create table app.colours (name text);
            create view app.totals as select sum(total) as total from app.orders;
            comment on table app.orders is 'What was ordered.';
            insert into app.orders
            select n, n * 1.5, 'me@example.com', timestamptz '2026-01-01' + n * interval '1 hour'
            from generate_series(1, 10) n;
            insert into app.colours values ('red'), ('blue');
            """
        )
        yield connection


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes ``databases.yml`` and gives the source ``billing`` that it makes."""
    monkeypatch.setenv("MELTANO_CONFIG_DIR", str(tmp_path))

    def write(text: str) -> Source:
        (tmp_path / "databases.yml").write_text(text)
        [source] = [source for source in registered() if source.name == "billing"]
        return source

    return write


def materialize(source: Source, warehouse: Warehouse) -> dg.ExecuteInProcessResult:
    database = WarehouseResource(url=warehouse.url)
    return dg.materialize(
        build_raw_assets((source,)),
        resources={
            "database": database,
            "vendors": Vendors(settings={"billing": {"url": warehouse.url}}),
            "io_manager": CopyIOManager(database=database),
        },
        instance=dg.DagsterInstance.ephemeral(),
    )


def test_one_entry_makes_assets_with_columns_keys_and_increments(
    configure: Any, billing: psycopg.Connection, warehouse: Warehouse
) -> None:
    source = configure(
        """
        billing:
          schema: app
          tables:
            - colours
            - name: orders
              replication_key: updated_at
              exclude: [email]
        """
    )
    assert [variable.name for variable in source.variables] == ["BILLING_DB_URL"]
    first = materialize(source, warehouse)
    assert first.success
    [orders] = first.asset_materializations_for_node("billing__orders")
    schema = orders.metadata["dagster/column_schema"].value
    assert [column.name for column in schema.columns][:3] == ["id", "total", "updated_at"]  # type: ignore[union-attr]
    assert orders.metadata["inserted"].value == 10
    billing.execute("update app.orders set total = 99, updated_at = now() where id = 3")
    billing.execute("delete from app.colours where name = 'red'")
    again = materialize(source, warehouse)
    [orders] = again.asset_materializations_for_node("billing__orders")
    assert orders.metadata["updated"].value == 1
    found = billing.execute("select count(*), max(total) from billing.orders").fetchone()
    assert found == (10, 99)
    assert billing.execute("select name from billing.colours").fetchall() == [("blue",)]
    assert all(check.passed for check in again.get_asset_check_evaluations())


def test_what_is_discovered_becomes_the_tables_of_an_entry_without_any(
    configure: Any, billing: psycopg.Connection, warehouse: Warehouse
) -> None:
    source = configure("billing:\n  schema: app\n")
    assert source.streams == ()
    tables = databases.discover(source, {"url": warehouse.url})
    assert tables == [
        {"name": "colours"},
        {
            "name": "orders",
            "description": "What was ordered.",
            "primary_key": ["id"],
            "replication_key": "updated_at",
        },
        {"name": "totals"},
    ]
    path = catalog_file("billing", "yml")
    write_catalog(path, databases.catalog(tables, "billing").encode())
    source = configure("billing:\n  schema: app\n")
    assert [stream.name for stream in source.streams] == ["colours", "orders", "totals"]
    assert source.stream("orders").replication_key == "updated_at"
    assert materialize(source, warehouse).success


def test_the_kind_of_a_stream_is_known_before_its_database_is_reached(configure: Any) -> None:
    source = configure(
        "billing: {lookback_minutes: 60, parallel: 4, tables: [{name: log, disposition: append}]}"
    )
    log = source.stream("log")
    assert (log.disposition, log.lookback.total_seconds()) == ("append", 3600)
    assert log.options["parallel"] == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("billing: [", r"databases\.yml is no YAML at line 1"),
        ("- billing", "names of sources are expected"),
        ("billing: {}\nbilling: {}", r"databases\.yml, line 2: billing stands there twice"),
        ("billing:\n  tables: [{name: a,\n  name: b}]", "line 3: name stands there twice"),
        ("billing: nothing", "not a list of words"),
        ("Billing DB: {}", "not the name of a source"),
        ("billing: {tabels: []}", r"unknown word 'tabels' \(did you mean tables\?\)"),
        ("billing: {tables: orders}", "tables is not a list"),
        ("billing: {tables: [{schema: app}]}", "a table without a name"),
        ("billing: {tables: [orders, orders]}", "orders is named twice"),
        ("billing: {tables: [{name: o, primary_key: 7}]}", "primary_key is not a list of texts"),
        ("billing: {tables: [{name: o, parallel: 99}]}", "parallel is not a whole number"),
        ("billing: {tables: [{name: o, disposition: merge}]}", "disposition is one of"),
        ("salesforce: {}", "there is a source salesforce already"),
    ],
)
def test_a_wrong_file_is_named_with_its_place(configure: Any, text: str, message: str) -> None:
    with pytest.raises(FatalError, match=message) as info:
        configure(text)
    assert "databases.yml" in str(info.value)


def test_a_key_that_the_table_lacks_is_fatal(
    configure: Any, billing: psycopg.Connection, warehouse: Warehouse
) -> None:
    source = configure(
        "billing: {schema: app, tables: [{name: colours, replication_key: updated_at}]}"
    )
    with (
        source.connect({"url": warehouse.url}) as reader,
        pytest.raises(FatalError, match=r"app\.colours has no updated_at"),
    ):
        reader.resolve(source.streams[0])  # type: ignore[attr-defined]


def test_without_files_there_is_nothing_more(configure: Any, tmp_path: Path) -> None:
    assert list(databases.configured()) == []


def test_the_command_line_names_a_wrong_file(configure: Any, tmp_path: Path) -> None:
    (tmp_path / "databases.yml").write_text("billing: [")
    ran = command("bookmark", "show")
    assert ran.code == 2
    assert "databases.yml is no YAML at line 1" in ran.said
    (tmp_path / "databases.yml").write_text("billing: {tables: [orders]}")
    ran = command("extract", "billing")
    assert ran.code == 2
    assert "BILLING_DB_URL" in ran.said
