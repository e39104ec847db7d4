"""One warehouse with raw tables and one dbt, shared by the tests of the dbt project."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dbt.cli.main import dbtRunner

from meltano_assets import field_mapping
from meltano_assets.connections import WAREHOUSE_DATABASE
from meltano_assets.environment import dbt_project_directory
from meltano_assets.modelling import (
    dbt_variables,
    forget_the_place,
    write_what_is_logged,
)
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.databases import Databases
from meltano_assets_tests.dbt_project.raw_tables import create_raw_tables

BUILT_OVER_NOTHING = "built_over_nothing"


@contextmanager
def environment(variables: Mapping[str, str], *, only: bool = False) -> Iterator[None]:
    """The process with these variables (and no other); dbt reads its connection from there."""
    before = dict(os.environ)
    if only:
        os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass
class Project:
    """The project against one database."""

    url: str
    target: Path
    mapped: Mapping[str, Mapping[str, str | None]] | None = None
    is_mapping_told: bool = True
    #: What dbt understood, by the mapping: parsed once, as every run would parse it.
    _parsed: dict[str, Any] = field(default_factory=dict)

    def dbt(self, *arguments: str) -> dict[str, str]:
        """Run dbt; what failed or warned, by name."""
        connection = dbt_variables(self.url)
        if self.mapped is not None:
            connection[field_mapping.VARIABLE] = field_mapping.columns_for_dbt(self.mapped)
        if not self.is_mapping_told:
            connection[field_mapping.VARIABLE] = ""
        mapping = connection[field_mapping.VARIABLE]
        with environment(connection):
            if mapping not in self._parsed:
                self._parsed[mapping] = self._invoke("parse")
            # What was parsed is written already, and what is built is looked at in the database.
            built = [*arguments, "--no-write-json"]
            results = self._invoke(*built, manifest=self._parsed[mapping])
        return {
            result.node.name: f"{result.status}: {result.message}"
            for result in getattr(results, "results", [])
            if str(result.status) not in ("success", "pass", "no-op")
        }

    def _invoke(self, *arguments: str, manifest: Any = None) -> Any:
        folder = str(dbt_project_directory())
        command = [*arguments, "--project-dir", folder, "--profiles-dir", folder, "--quiet"]
        command += ["--target-path", str(self.target), "--log-path", str(self.target)]
        # A tenth of a build's time went into a log that nobody reads.
        command += ["--log-level-file", "none"]
        answer = dbtRunner(manifest).invoke(command)
        if answer.exception:
            raise answer.exception
        return answer.result

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """A connection whose work is committed."""
        with psycopg.connect(self.url) as connection:
            yield connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self.connect() as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="session")
def parsed() -> dict[str, Any]:
    """What dbt understood of the project, by its mapping."""
    forget_the_place()
    write_what_is_logged()
    return {}


@pytest.fixture(scope="module")
def project(
    dbt_warehouse: Warehouse,
    tmp_path_factory: pytest.TempPathFactory,
    parsed: dict[str, Any],
    parsed_by_dbt: Callable[[Path], None],
) -> Project:
    """The project and a new database without tables, for the tests of one file."""
    target = tmp_path_factory.mktemp("dbt")
    parsed_by_dbt(target)
    return Project(dbt_warehouse.url, target, _parsed=parsed)


@pytest.fixture(scope="session")
def built_over_nothing(
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
    parsed: dict[str, Any],
    parsed_by_dbt: Callable[[Path], None],
) -> Path:
    """A database for copies, with the project built over empty raw tables; dbt's files of it."""
    target = tmp_path_factory.mktemp("built")
    parsed_by_dbt(target)
    warehouse = databases.make(WAREHOUSE_DATABASE)
    project = Project(warehouse.url, target, _parsed=parsed)
    with project.connect() as connection:
        create_raw_tables(connection)
    # Data tests say nothing about empty tables; test_company runs them.
    assert project.dbt("build", "--exclude-resource-type", "unit_test", "test") == {}
    databases.rename(warehouse, BUILT_OVER_NOTHING)
    return target


@pytest.fixture(scope="module")
def empty(built_over_nothing: Path, databases: Databases, project: Project) -> Project:
    """The project built over empty raw tables, for the tests of one file."""
    databases.make(WAREHOUSE_DATABASE, template=BUILT_OVER_NOTHING)
    shutil.copytree(built_over_nothing, project.target, dirs_exist_ok=True)
    return project
