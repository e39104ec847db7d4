"""How a view of the dbt project is built again: where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dbt.cli.main import dbtRunner

from meltano_assets.environment import dbt_project_directory
from meltano_assets.modelling import dbt_variables
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.dbt_project.conftest import environment


@dataclass
class Small:
    """A project of one model, with the macros of the real one."""

    folder: Path
    warehouse: Warehouse

    def build(self, sql: str, materialized: str = "view") -> Any:
        """Build the model anew from this SQL; dbt's result of it."""
        (self.folder / "models" / "numbers.sql").write_text(
            f"{{{{ config(materialized='{materialized}', schema='analytics') }}}}\n{sql}"
        )
        command = ["run", "--quiet", "--log-level-file", "none"]
        for option in ("--project-dir", "--profiles-dir", "--log-path"):
            command += [option, str(self.folder)]
        with environment(dbt_variables(self.warehouse.url)):
            answer = dbtRunner().invoke(command)
        if answer.exception:
            raise answer.exception
        result: Any = answer.result
        return result.results[0]

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement, committed."""
        with psycopg.connect(self.warehouse.url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def views(self) -> set[str]:
        """Names of the views."""
        return {name for (name,) in self.execute(VIEWS)}


VIEWS = "select viewname from pg_views where schemaname not in ('pg_catalog', 'information_schema')"


@pytest.fixture
def small(tmp_path: Path, warehouse: Warehouse) -> Small:
    (tmp_path / "models").mkdir()
    real = dbt_project_directory()
    (tmp_path / "profiles.yml").write_text((real / "profiles.yml").read_text())
    (tmp_path / "dbt_project.yml").write_text(
        f"name: small\nprofile: meltano_assets\nmacro-paths: ['{real / 'macros'}']\n"
    )
    made = Small(tmp_path, warehouse)
    assert str(made.build("select 1 as id").status) == "success"
    made.execute("create view public.mine as select id + 1 as next from analytics.numbers")
    return made


def test_what_others_built_on_a_view_outlives_its_next_build(small: Small) -> None:
    small.execute("grant select on analytics.numbers to public")
    again = small.build("select 41 as id, 'a %s $$ new column' as told")
    assert (str(again.status), again.message) == ("success", "CREATE VIEW")
    assert small.execute("select * from mine") == [(42,)]
    assert small.execute("select told from analytics.numbers") == [("a %s $$ new column",)]
    assert small.execute("select has_table_privilege('public', 'analytics.numbers', 'select')") == [
        (True,)
    ]


@pytest.mark.parametrize(
    "sql", ["select 1 as other", "select '1' as id", "select 1 as first, 1 as id"]
)
def test_a_view_with_other_columns_is_made_anew(small: Small, sql: str) -> None:
    """What stood on the old ones has nothing left to stand on."""
    assert str(small.build(sql).status) == "success"
    assert small.views() == {"numbers"}


def test_a_view_may_become_a_table_and_a_table_a_view(small: Small) -> None:
    assert str(small.build("select 2 as id", "table").status) == "success"
    assert small.views() == set()
    assert str(small.build("select 3 as id").status) == "success"
    assert small.views() == {"numbers"}
    assert small.execute("select id from analytics.numbers") == [(3,)]


def test_an_error_names_its_line_and_leaves_the_old_view(small: Small) -> None:
    failed = small.build("select\n    id\nfrom (select 1 as number) as numbers")
    assert str(failed.status) == "error"
    assert 'column "id" does not exist' in failed.message
    assert "LINE" in failed.message
    assert "QUERY" not in failed.message
    assert small.execute("select * from mine") == [(2,)]
