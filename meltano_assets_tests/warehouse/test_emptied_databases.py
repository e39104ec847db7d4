"""What the other tests lean on: a database that somebody used before is as empty as a new one."""

from __future__ import annotations

import psycopg
import pytest

from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.databases import Databases
from meltano_assets_tests.warehouse.tables import query


@pytest.fixture
def databases(server: EmbeddedServer) -> Databases:
    """None of them is spare."""
    return Databases(server)


def test_a_database_that_is_given_back_is_another_ones_emptied(databases: Databases) -> None:
    first = databases.take()
    oid = query(first, "select oid from pg_database where datname = current_database()")
    left_open = psycopg.connect(first.url, autocommit=True)
    left_open.execute('create schema "odd näme"')
    left_open.execute('create table "odd näme".people (id serial primary key, name text)')
    databases.give_back(first)
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("select 1")
    left_open.close()
    second = databases.take()
    assert second.database != first.database
    assert query(second, "select oid from pg_database where datname = current_database()") == oid
    assert query(second, "select nspname from pg_namespace where oid >= 16384") == []
    assert query(second, "select relname from pg_class where relname = 'people'") == []
    databases.give_back(second)


@pytest.mark.parametrize(
    "statement",
    [
        "create table mine (id int)",
        "create function mine() returns int language sql as 'select 1'",
        "create type mine as enum ('a')",
        "create publication mine",
        "alter default privileges grant select on tables to public",
        "grant create on schema public to public",
        "revoke connect on database {} from public",
        "alter database {} set work_mem to '5MB'",
        "select lo_create(0)",
    ],
)
def test_one_with_more_than_schemas_in_it_is_nobodys(databases: Databases, statement: str) -> None:
    used = databases.take()
    query(used, statement.format(used.database))
    oid = query(used, "select oid from pg_database where datname = current_database()")
    databases.give_back(used)
    other = databases.take()
    assert query(other, "select oid from pg_database where datname = current_database()") != oid
    databases.give_back(other)


def test_one_that_the_test_dropped_itself_is_forgotten(
    databases: Databases, server: EmbeddedServer
) -> None:
    used = databases.take()
    with Warehouse(server.url("postgres")).connect(autocommit=True) as connection:
        connection.execute(f"drop database {used.database}".encode())
    databases.give_back(used)
    other = databases.take()
    assert query(other, "select 1") == [(1,)]
    databases.give_back(other)
