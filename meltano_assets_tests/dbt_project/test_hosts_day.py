"""A day of the hosts flow: cleaning what is new and building the records, against all of it anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from meltano_assets.hosts import cache
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.dbt_project.conftest import Project

MODELS = ("int_hosts__pinged", "int_installs__aligned", "int_installs__pinged")
MODELS += ("int_installs__recorded",)
NOW = datetime.now(UTC)


def days_ago(days: float) -> datetime:
    """A moment so many days ago."""
    return NOW - timedelta(days=days)


def usage_ping(
    connection: psycopg.Connection, number: int, host: str, at: datetime, **more: Any
) -> None:
    """One usage ping, new or changed."""
    row = {"id": number, "hostname": host, "updated_at": at, "version": "10.0", **more}
    _upsert(connection, "usage_data", row)


def version_check(connection: psycopg.Connection, number: int, host: str, at: datetime) -> None:
    """One version check, new or changed."""
    row = {"id": number, "referer_url": f"https://{host}/admin", "updated_at": at}
    _upsert(connection, "version_checks", row | {"gitlab_version": "9.5.10-ee"})


def _upsert(connection: psycopg.Connection, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    changes = ", ".join(f"{name} = excluded.{name}" for name in row)
    connection.execute(
        f"insert into version.{table} ({names}) values ({values})"
        f" on conflict (id) do update set {changes}, _loaded_at = now()",
        row,
    )


def delete_ping(connection: psycopg.Connection, table: str, number: int) -> None:
    """As the loader marks what the vendor has deleted."""
    connection.execute(
        f"update version.{table} set _deleted_at = now(), _loaded_at = now() where id = {number}"
    )


def build(project: Project, *, anew: bool = False) -> list[list[tuple[Any, ...]]]:
    """Clean and build; all rows of all models."""
    cache.refresh_cleaned_hosts(Warehouse(project.url), now=datetime.now(UTC), full_refresh=anew)
    options = ["--full-refresh"] if anew else []
    assert project.dbt("run", *options, "--select", *MODELS) == {}
    return [
        project.rows(f"select * from intermediate.{model} as t order by t::text")
        for model in MODELS
    ]


def test_a_day_equals_everything_anew(empty: Project) -> None:
    """H3: new, changed, moved and deleted pings, links that come and go, a window that moves on."""
    with empty.connect() as connection:
        for number in range(40):
            host, age = f"git{number % 4}.company{number % 10}.com", 61.5 - number * 1.5
            usage_ping(connection, number, host, days_ago(age), uuid=f"u{number % 20}")
            version_check(connection, number, host, days_ago(age - 0.5))
        usage_ping(connection, 100, "git.linked.com", days_ago(20), uuid="link")
        usage_ping(connection, 101, "code.linked.com", days_ago(21), uuid="link")
        usage_ping(connection, 102, "git.leaves.com", days_ago(61.9))
        usage_ping(connection, 103, "moved.com", days_ago(10))
        usage_ping(connection, 104, "10.0.0.1", days_ago(10))
    first = build(empty)
    with empty.connect() as connection:
        # The window moves on by two days: git.leaves.com is out, and some first pings.
        usage_ping(connection, 200, "git1.company1.com", days_ago(1), uuid="u1", version="11.0")
        version_check(connection, 200, "brand.new.com", days_ago(0.5))
        # As late as the window allows, and between the others.
        version_check(connection, 201, "git2.company2.com", days_ago(33.3))
        usage_ping(connection, 103, "elsewhere.com", days_ago(9))
        usage_ping(connection, 100, "git.linked.com", days_ago(20), uuid="alone")
        usage_ping(connection, 30, "git2.company0.com", days_ago(5), uuid="u10", version="9.0")
        delete_ping(connection, "usage_data", 39)
        delete_ping(connection, "version_checks", 0)
    second = build(empty)
    assert second != first
    assert second == build(empty, anew=True)
    hosts = {row[0] for row in empty.rows("select host_key from intermediate.int_hosts__pinged")}
    assert {"brand.new.com", "elsewhere.com", "git.linked.com", None} <= hosts
    assert not {"git.leaves.com", "moved.com"} & hosts
    with empty.connect() as connection:
        # The window goes back: the latest pings were none.
        delete_ping(connection, "version_checks", 200)
        delete_ping(connection, "usage_data", 200)
    third = build(empty)
    assert third == build(empty, anew=True)
    uncleaned = "select count(*) from intermediate.int_hosts__pinged where host_kind is null"
    assert empty.rows(uncleaned) == [(0,)]


@pytest.mark.parametrize("table", ["usage_data", "version_checks"])
def test_the_latest_pings_are_found_by_index(empty: Project, table: str) -> None:
    """Through the staging model, so that a day does not read all pings to find its window."""
    cache.refresh_cleaned_hosts(Warehouse(empty.url), now=NOW)
    with empty.connect() as connection:
        # Of so few rows all would be read.
        connection.execute("set enable_seqscan = off")
        plan = connection.execute(
            f"explain with pings as (select * from staging.stg_version__{table} where not is_deleted)"
            " select (select max(updated_at) from pings)"
        ).fetchall()
    assert f"{table}_pinged" in str(plan)
