"""A replace that would lose most of a table's rows is refused (L2).

The rows that are there are counted by a session of its own while the new ones are being stored: a
large table takes a while to count, and the load has nothing else to do in its last moment.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait

import psycopg
from psycopg import sql

from meltano_assets.errors import FatalError, PlatformError
from meltano_assets.streams import Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.records import DELETED_AT
from meltano_assets.warehouse.schema import Table

#: Below this size counting takes less time than the connection.
_LARGE_BYTES = 8 * 1024 * 1024


class ShrinkGuard:
    """Compares a load's rows with those of the table that they replace."""

    def __init__(self, warehouse: Warehouse, stream: Stream) -> None:
        self._warehouse = warehouse
        self._stream = stream
        self._counter: ThreadPoolExecutor | None = None
        self._counting: Future[int] | None = None
        self._session: psycopg.Connection | None = None

    def begin(self, connection: psycopg.Connection, live: Table) -> None:
        """Start counting, if that takes long enough to be felt."""
        row = connection.execute("select pg_relation_size(%s)", [live.oid]).fetchone()
        if self._counting is None and row is not None and (row[0] or 0) > _LARGE_BYTES:
            self._counter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="count")
            self._counting = self._counter.submit(self._count_aside, live)

    def check(self, connection: psycopg.Connection, live: Table, rows: int) -> None:
        """FatalError when the load has fewer rows than the stream may lose."""
        before = self._counted(connection, live)
        if rows < before * (1 - self._stream.max_shrink):
            raise FatalError(
                f"the load has {rows} rows where {before} are now, less than"
                f" {1 - self._stream.max_shrink:.0%}; the table was left as it is",
                source=self._stream.source,
                stream=self._stream.name,
                hint="if the source really lost them, load once with shrinking allowed",
            )

    def close(self) -> None:
        """Count no more."""
        if self._counter is None or self._counting is None:
            return
        while not self._counting.done():
            session = self._session
            if session is not None and not session.closed:
                session.cancel_safe()
            # A connection that is being opened, or a moment before the statement, cannot be cancelled.
            wait([self._counting], timeout=0.1)
        self._counter.shutdown()
        self._counter = self._counting = None

    def _counted(self, connection: psycopg.Connection, live: Table) -> int:
        if self._counting is not None:
            try:
                return self._counting.result()
            except PlatformError:
                # No connection to be had, or no lock: the load's own connection has both.
                self._counting = None
        return _count(connection, live)

    def _count_aside(self, live: Table) -> int:
        name = "meltano-assets load, count"
        with self._warehouse.connect(application_name=name, autocommit=True) as connection:
            # Whoever waits for the load to end may keep this session waiting meanwhile.
            connection.execute("set lock_timeout = '1s'")
            self._session = connection
            return _count(connection, live)


def _count(connection: psycopg.Connection, live: Table) -> int:
    """The table's rows that are not marked as deleted."""
    present = sql.SQL("")
    if DELETED_AT in live.columns:
        present = sql.SQL(" where _deleted_at is null")
    statement = sql.SQL("select count(*) from {}{}").format(live.name.sql, present)
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0
