"""A small company and a warehouse, named by variables as a user names them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.command_line import (
    nothing_looked_up,
    variables,
)
from meltano_assets_tests.sources.conftest import Vendors


@pytest.fixture(scope="session")
def company(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    with serve_in_thread(
        state_dir=tmp_path_factory.mktemp("company"),
        postgres_url=server.url("postgres"),
        database="sandbox_cli",
        scale=0.05,
    ) as manifest:
        yield Vendors(manifest)


@pytest.fixture
def configured(
    company: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Warehouse]:
    """Every vendor and the warehouse are named by variables."""
    for name, value in variables(company).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    with nothing_looked_up():
        yield warehouse


@pytest.fixture
def stored(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """The warehouse alone is named."""
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    with nothing_looked_up():
        yield warehouse


def rows(warehouse: Warehouse, query: str) -> list[tuple[object, ...]]:
    """The rows of a query."""
    with warehouse.connect() as connection:
        return connection.execute(query.encode()).fetchall()
