"""A large table beside the live one, filled by several connections at once.

One connection can fill the table in the load's own transaction, so that a kill leaves nothing of it.
Several cannot: the table is committed under its hidden name, each connection commits what it
stored, and only the exchange of the names, in the load's transaction, makes the rows count. Killed
meanwhile, the live table is what it was, and the next load of any stream drops the hidden one.

Rows that several transactions stored have no order and are not frozen. So this way is taken only while
every key came once, and where it can be seen whether a reader's snapshot is older than the rows.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psycopg
from psycopg import errors, sql

from meltano_assets.errors import PlatformError
from meltano_assets.warehouse import schema
from meltano_assets.warehouse.books import advisory_key
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.schema import TableName
from meltano_assets.warehouse.snapshots import has_older_readers

#: What has to have come before more connections pay, as bytes of Arrow, and how wide a row has to be:
#: narrow ones are stored about as fast as they are prepared.
LARGE_BYTES = 16 * 1024 * 1024
WIDE_ROW = 200

_CONNECTIONS = 2

#: How long the exchange waits for transactions with older snapshots.
_PATIENCE_SECONDS = 10.0

#: Tables under hidden names that this role may drop.
_LEFT = r"""
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname like 'meltano\_new\_%' and c.relname ~ '^meltano_new_[0-9a-f]{12}$'
    and c.relkind = 'r' and pg_has_role(current_user, c.relowner, 'usage')
"""


def hidden_suffix(table: TableName) -> str:
    """What marks the hidden table of a stream: the same for every load of it."""
    return hashlib.sha256(str(table).encode()).hexdigest()[:12]


class Fillers:
    """Connections that store rows in a committed table of hidden name, beside the load's own."""

    def __init__(self, connections: list[psycopg.Connection], opened: ExitStack) -> None:
        self.connections = connections
        self._opened = opened

    @classmethod
    def open(
        cls,
        warehouse: Warehouse,
        main: psycopg.Connection,
        prepare: Callable[[psycopg.Connection], None],
    ) -> Fillers | None:
        """The connections; None where one has to do.

        So it is where other sessions cannot be seen, or one of them reads with an older snapshot,
        or there are no more connections to be had; and where one connection is as fast, since
        what it stores in a table of its own transaction is not logged.
        """
        if (os.cpu_count() or 1) < _CONNECTIONS or not _is_logged(main) or has_older_readers(main):
            return None
        with ExitStack() as opened:
            connections = []
            for _ in range(_CONNECTIONS):
                try:
                    connection = opened.enter_context(
                        warehouse.connect(application_name="meltano-assets load, parallel")
                    )
                except PlatformError:
                    return None
                prepare(connection)
                connections.append(connection)
            return cls(connections, opened.pop_all())

    def commit(self) -> None:
        """Commit what every connection stored."""
        for connection in self.connections:
            connection.commit()

    def finish(self, table: TableName, key: tuple[str, ...]) -> bool:
        """Give the filled table its key; True once nobody can have an older snapshot than its rows."""
        connection = self.connections[0]
        if key:
            schema.add_primary_key(connection, table, key, f"{table.name}_pkey")
        connection.commit()
        row = connection.execute("select clock_timestamp()").fetchone()
        assert row is not None
        connection.commit()
        patience = time.monotonic() + _PATIENCE_SECONDS
        while has_older_readers(connection, row[0]):
            connection.commit()
            if time.monotonic() > patience:
                return False
            time.sleep(0.05)
        connection.commit()
        return True

    def copy_back(self, source: TableName, main: psycopg.Connection, target: TableName) -> None:
        """The rows into a table that ``main`` made, in its transaction and frozen; drops the source."""
        reader = self.connections[0]
        table = schema.find(reader, source)
        assert table is not None
        columns = schema.column_list(table.columns)
        read = sql.SQL("copy {} ({}) to stdout (format binary)").format(source.sql, columns)
        write = sql.SQL("copy {} ({}) from stdin (format binary, freeze)").format(
            target.sql, columns
        )
        with reader.cursor().copy(read) as rows, main.cursor().copy(write) as copy:
            for data in rows:
                copy.write(data)
        reader.commit()
        self.drop(source)

    def drop(self, table: TableName) -> None:
        """Remove the hidden table and what is being stored in it."""
        for connection in self.connections:
            connection.rollback()
        self.connections[0].execute(sql.SQL("drop table if exists {}").format(table.sql))
        self.connections[0].commit()

    def close(self) -> None:
        """Close the connections."""
        self._opened.close()


def claim(connection: psycopg.Connection, table: TableName) -> None:
    """Mark a hidden table, for as long as the session lasts, as one that is being filled."""
    connection.execute("select pg_advisory_lock(%s)", [_claim_key(table)])


def drop_leftovers(connection: psycopg.Connection) -> None:
    """Drop the hidden tables that killed loads left, of whatever stream; commits."""
    for schema_name, name in connection.execute(_LEFT).fetchall():
        table = TableName(schema_name, name)
        key = _claim_key(table)
        row = connection.execute("select pg_try_advisory_xact_lock(%s)", [key]).fetchone()
        if row is not None and row[0]:
            lock = sql.SQL("lock table {} in access exclusive mode nowait").format(table.sql)
            # Whoever copies the whole database holds it for a while: the next load's turn.
            with (
                suppress(errors.LockNotAvailable, errors.UndefinedTable),
                connection.transaction(),
            ):
                connection.execute(lock)
                connection.execute(sql.SQL("drop table {}").format(table.sql))
        connection.commit()
    connection.commit()


def _claim_key(table: TableName) -> int:
    return advisory_key(f"fill {table}")


def _is_logged(connection: psycopg.Connection) -> bool:
    """Does a table that is created and filled in one transaction go through the log?"""
    row = connection.execute("select current_setting('wal_level') <> 'minimal'").fetchone()
    return row is None or bool(row[0])
