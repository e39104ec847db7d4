"""Empty databases for tests: one that a test has left empty, or nearly so, is the next one's."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import LiteralString

import psycopg
from psycopg import sql

from meltano_assets.errors import PlatformError
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer

#: Dropping so many tables, indexes and views takes as long as another database.
MANY_RELATIONS = 600

#: Schemas that somebody made and how much is in them.
_MADE: LiteralString = """
    select
        coalesce(array_agg(n.nspname), '{}'),
        coalesce(sum((select count(*) from pg_class c where c.relnamespace = n.oid)), 0)
    from pg_namespace n where n.oid >= 16384 and n.nspname !~ '^pg_'
"""
#: What else may be in a database, or be set for it, and is not gone with the schemas.
_CONTENTS: LiteralString = """
    select
        (select array_agg(c.oid order by c.oid) from pg_class c
            join pg_namespace n on n.oid = c.relnamespace where n.nspname !~ '^pg_temp|^pg_toast'),
        (select count(*) from pg_proc),
        (select count(*) from pg_type t join pg_namespace n on n.oid = t.typnamespace
            where n.nspname !~ '^pg_temp|^pg_toast'),
        (select array_agg(row(n.nspname, n.nspowner, n.nspacl::text)::text order by n.nspname)
            from pg_namespace n where n.nspname !~ '^pg_temp|^pg_toast'),
        (select count(*) from pg_operator), (select count(*) from pg_cast),
        (select count(*) from pg_collation), (select count(*) from pg_language),
        (select count(*) from pg_extension), (select count(*) from pg_event_trigger),
        (select count(*) from pg_publication), (select count(*) from pg_default_acl),
        (select count(*) from pg_largeobject_metadata), (select count(*) from pg_foreign_server),
        (select count(*) from pg_foreign_data_wrapper), (select count(*) from pg_prepared_xacts),
        row(d.datdba, d.datacl::text, d.datconnlimit, d.datallowconn)::text,
        (select count(*) from pg_db_role_setting where setdatabase = d.oid)
    from pg_database d where d.datname = current_database()
"""
_DROP = sql.SQL("drop database if exists {} with (force)")
_CREATE = sql.SQL("create database {} template {} strategy file_copy")
_OTHERS: LiteralString = """
    select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""


class Databases:
    """The test databases of one server.

    Making one takes five times as long as emptying another, above all for the files of its catalogs.
    Each has a name that no other had: nothing that a process remembers by it holds for the next.
    """

    def __init__(self, server: EmbeddedServer) -> None:
        self._administration = Warehouse(server.url("postgres"))
        self._spare: list[str] = []
        self._new: tuple[object, ...] | None = None

    def take(self) -> Warehouse:
        """A database with nothing in it."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        if self._spare:
            taken = self._administration.with_database(name)
            self.rename(self._administration.with_database(self._spare.pop()), name)
        else:
            taken = self.make(name)
        if self._new is None:
            with taken.connect() as connection:
                self._new = connection.execute(_CONTENTS).fetchone()
        return taken

    def make(self, name: str, *, template: str = "template1") -> Warehouse:
        """A database of that name, empty or a copy of another; one that has the name goes."""
        database, original = sql.Identifier(name), sql.Identifier(template)
        with self._administration.connect(autocommit=True) as connection:
            connection.execute(_DROP.format(database))
            # Copied as files: half the time of a copy through the log, and dropped at once.
            connection.execute(_CREATE.format(database, original))
        return self._administration.with_database(name)

    def rename(self, warehouse: Warehouse, name: str) -> None:
        """Give the database, which nobody may use now, another name."""
        old, new = sql.Identifier(warehouse.database), sql.Identifier(name)
        with self._administration.connect(autocommit=True) as connection:
            connection.execute(sql.SQL("alter database {} rename to {}").format(old, new))

    def give_back(self, warehouse: Warehouse) -> None:
        """Keep the database for another test, or drop it where more was done than tables made."""
        if self._is_emptied(warehouse):
            self._spare.append(warehouse.database)
            return
        with self._administration.connect(autocommit=True) as connection:
            connection.execute(_DROP.format(sql.Identifier(warehouse.database)))

    def _is_emptied(self, warehouse: Warehouse) -> bool:
        """False too where the database is gone, or takes no statement."""
        with suppress(PlatformError), warehouse.connect(autocommit=True) as connection:
            connection.execute(_OTHERS)
            row = connection.execute(_MADE).fetchone()
            assert row is not None
            schemas, relations = row
            if relations > MANY_RELATIONS:
                return False
            _drop(connection, schemas)
            return connection.execute(_CONTENTS).fetchone() == self._new
        return False


def _drop(connection: psycopg.Connection, schemas: list[str]) -> None:
    if schemas:
        names = sql.SQL(", ").join(map(sql.Identifier, schemas))
        connection.execute(sql.SQL("drop schema {} cascade").format(names))
