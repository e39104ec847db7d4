"""The way of a checkpoint's rows into their table: which one they take, and who sends them.

A table that is new, empty or to be replaced is built beside and exchanged (``swap.py``), by several
connections where that pays (``fill.py``); otherwise records with new keys go straight into the table
(``straight.py``), the others through a temporary staging table and are merged (``store.py``).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

import psycopg
import pyarrow as pa
from psycopg import sql

from meltano_assets.errors import PlatformError
from meltano_assets.streams import ColumnType, Stream
from meltano_assets.warehouse import fill, merge, own_types, schema, swap
from meltano_assets.warehouse.catalog import SchemaChange
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.landing import Landing, SeenKeys
from meltano_assets.warehouse.merge import Keys
from meltano_assets.warehouse.records import DELETED_AT, Rejected
from meltano_assets.warehouse.refused import Refuse
from meltano_assets.warehouse.schema import Table, TableName
from meltano_assets.warehouse.shrink import ShrinkGuard
from meltano_assets.warehouse.store import Stored, Target
from meltano_assets.warehouse.straight import FEW_ROWS, Lookups, Straight

#: Option: a record of a key that the history has is no news, when no time tells which is newer.
ONLY_MISSING = "only_missing_keys"

#: Session settings that make sorts, hashes and index builds of a load stay in memory.
_SETTINGS = {
    "work_mem": "128MB",
    "maintenance_work_mem": "256MB",
    "temp_buffers": "64MB",
    # The disk begins with a new table's pages at once, so that the commit has few to wait for.
    "backend_flush_after": "1MB",
    "synchronous_commit": "on",
}


def set_up(connection: psycopg.Connection, load_id: str) -> None:
    """Make a connection one of a load's; commits."""
    settings = {**_SETTINGS, "meltano.load_id": load_id}
    connection.execute(
        sql.SQL("select {}").format(
            sql.SQL(", ").join(
                sql.SQL("set_config({}, {}, false)").format(sql.Literal(name), sql.Literal(value))
                for name, value in settings.items()
            )
        )
    )
    connection.commit()


def hidden_name(table: TableName) -> TableName:
    """What the table beside this one is called."""
    return TableName(table.schema, f"{swap.HIDDEN}{fill.hidden_suffix(table)}")


class Intake:
    """Takes rows, checkpoint by checkpoint, in the load's transaction.

    ``types`` are the columns' types, and may grow while rows come. ``refuse`` takes records that the
    table refuses.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        connection: psycopg.Connection,
        stream: Stream,
        types: Mapping[str, ColumnType],
        *,
        load_id: str,
        is_replace: bool,
        allow_shrink: bool,
        refuse: Refuse,
    ) -> None:
        self._warehouse = warehouse
        self._connection = connection
        self._stream = stream
        self._types = types
        self._load_id = load_id
        self._is_replace = is_replace
        self._allow_shrink = allow_shrink
        self._refuse = refuse
        self._table = TableName(stream.source, stream.name)
        self._keys = Keys(stream.primary_key, stream.replication_key)
        self._is_history = stream.disposition == "scd2"
        self._guard = ShrinkGuard(warehouse, stream)
        self._lookups = Lookups(warehouse)
        self._landing: Landing | None = None
        self._straight: Straight | None = None
        self._fillers: fill.Fillers | None = None
        self._live: Table | None = None

    def begin(self, live: Table | None) -> None:
        """A new checkpoint, whose rows go into this table; None when there is none yet."""
        self._live = live
        self._keys = replace(self._keys, as_text=frozenset(live.own if live is not None else ()))
        self._straight = None
        self._close_fillers()
        #: May several connections fill the table beside? Asked once so much was landed in it.
        self._may_share = True
        self._landed_bytes = 0
        self._seen = SeenKeys(self._stream.primary_key)
        self._changes: list[SchemaChange] = []

    def take(self, rows: pa.RecordBatch) -> None:
        """Send fitted rows on their way."""
        self._seen.add(rows, self._types)
        is_first = self._landing is None and self._straight is None
        can_merge = self._live is not None and not self._is_history
        if is_first and can_merge and rows.num_rows >= FEW_ROWS and not self._is_built_beside():
            assert self._live is not None
            self._straight = Straight.open(
                self._connection,
                self._lookups,
                self._live,
                self._keys.primary,
                self._stage,
                self._free,
            )
        if self._straight is not None:
            self._straight.write(rows, self._data_types())
            return
        landing = self._open_landing()
        if self._fillers is not None:
            if self._seen.may_repeat():
                self._fill_alone(landing)
            elif self._connection.info.transaction_status:
                # The transaction is open and does nothing else: the server would end it.
                self._connection.execute("select")
        landing.write(rows, self._types)
        if landing.beside_table is not None and self._may_share:
            self._landed_bytes += rows.nbytes
            if self._landed_bytes > fill.LARGE_BYTES:
                self._share(landing)

    def pause(self) -> None:
        """Leave the connection free for other statements than COPY."""
        if self._straight is not None:
            self._straight.settle()
        self._free()

    def stay_alone(self) -> None:
        """Other things are written in this transaction, so it cannot be committed halfway."""
        self._may_share = False

    def store(self) -> Stored:
        """Everything taken since the checkpoint began, into the live table."""
        straight = self._straight.rows if self._straight is not None else 0
        is_due = (
            self._landing is not None
            or self._is_replace
            or self._live is None
            # Declared columns are there, with or without a record.
            or not self._data_types().keys() <= self._live.columns.keys()
        )
        stored = Stored()
        if is_due and self._data_types():
            landing = self._open_landing()
            landing.rows -= self._cast(landing)
            if landing.beside_table is not None or self._is_to_be_poured():
                stored = self._exchange(landing)
            else:
                stored = self._add_stored(landing)
                stored.changes = [*self._changes, *stored.changes]
            self._landing = None
        stored.inserted += straight
        return stored

    def abort(self, error: BaseException) -> None:
        """Give up what is being sent, and drop what was committed under a hidden name."""
        for way in (self._landing, self._straight):
            if way is not None:
                way.abort(error)
        if self._fillers is not None:
            # Should this fail too, the next load does it.
            with suppress(psycopg.Error, PlatformError):
                # Its locks would make us wait for ourselves.
                self._connection.rollback()
            with suppress(psycopg.Error, PlatformError):
                self._fillers.drop(hidden_name(self._table))
            with suppress(psycopg.Error, PlatformError):
                self._close_fillers()

    def close(self) -> None:
        """Close the connections beside the load's own."""
        self._lookups.close()
        self._guard.close()

    # which way

    def _is_built_beside(self) -> bool:
        if self._is_history:
            return False
        if self._is_replace or self._live is None:
            return True
        return schema.is_empty(self._connection, self._table) and self._may_build(self._live)

    def _may_build(self, live: Table) -> bool:
        """True when the role may make a table beside this one, and empty this one."""
        row = self._connection.execute(
            "select has_schema_privilege(relnamespace, 'create') and has_table_privilege(oid, 'delete')"
            " from pg_class where oid = %s",
            [live.oid],
        ).fetchone()
        return row is not None and bool(row[0])

    def _open_landing(self) -> Landing:
        if self._landing is None:
            columns = self._data_types()
            has_own = self._live is not None and bool(self._live.own)
            if self._straight is None and not has_own and self._is_built_beside():
                beside = self._open_beside(columns)
                self._landing = Landing.beside(self._connection, beside, columns)
            else:
                self._landing = Landing.staging(self._connection, columns)
        return self._landing

    def _open_beside(self, columns: Mapping[str, ColumnType]) -> swap.Beside:
        """The table that will take the live one's place."""
        beside, changes = swap.open_beside(
            self._connection,
            self._table,
            self._live,
            columns,
            required=self._stream.primary_key,
            suffix=fill.hidden_suffix(self._table),
        )
        self._changes += changes
        if self._may_not_shrink and beside.live is not None:
            self._guard.begin(self._connection, beside.live)
        return beside

    def _is_to_be_poured(self) -> bool:
        """True when what was staged, for its types, goes into a table beside."""
        return self._straight is None and self._is_built_beside()

    def _cast(self, landing: Landing) -> int:
        """Give landed columns the types of the table's own; returns how many records do not fit them."""
        own = self._live.own if self._live is not None else {}
        return own_types.cast_landed(
            self._connection,
            landing.sql,
            {column: own[column] for column in landing.delivered if column in own},
            landing.known,
            self._refuse,
        )

    @property
    def _may_not_shrink(self) -> bool:
        return self._is_replace and not self._allow_shrink

    def _data_types(self) -> dict[str, ColumnType]:
        return {name: kind for name, kind in self._types.items() if name != DELETED_AT}

    def _stage(self, rows: pa.RecordBatch) -> None:
        """The rows into the staging table; the connection stays busy with them until it is freed."""
        self._open_landing().write(rows, self._types)

    def _free(self) -> None:
        """End what is being sent into the staging table."""
        if self._landing is not None:
            self._landing.pause()

    # several connections

    def _share(self, landing: Landing) -> None:
        """Let several connections fill the table beside, if they may and if it pays."""
        self._may_share = False
        if self._landed_bytes < landing.rows * fill.WIDE_ROW or self._seen.may_repeat():
            return
        landing.pause()
        prepare: Callable[[psycopg.Connection], None] = partial(set_up, load_id=self._load_id)
        self._fillers = fill.Fillers.open(self._warehouse, self._connection, prepare)
        if self._fillers is not None:
            fill.claim(self._connection, hidden_name(self._table))
            # Nothing but the table beside was written in this transaction.
            self._connection.commit()
            landing.share(self._fillers)

    def _fill_alone(self, landing: Landing) -> None:
        """A key came again, and which record was read last shows only in what one connection stored."""
        fillers = self._fillers
        assert fillers is not None and landing.beside_table is not None
        landing.pause()
        beside, _ = swap.open_beside(
            self._connection,
            self._table,
            self._live,
            landing.columns,
            required=self._stream.primary_key,
            suffix=secrets.token_hex(6),
        )
        fillers.copy_back(landing.beside_table.name, self._connection, beside.name)
        landing.move(self._connection, beside)
        self._close_fillers()

    def _close_fillers(self) -> None:
        fillers, self._fillers = self._fillers, None
        if fillers is not None:
            fillers.close()

    # into the live table

    def _add_stored(self, landing: Landing) -> Stored:
        """What is in the staging table, into the live one."""
        target = Target(
            self._connection,
            self._stream,
            self._table,
            self._keys,
            self._load_id,
            self._refuse,
        )
        may_repeat = self._seen.may_repeat()
        if self._is_history:
            max_shrink = 1.0 if self._allow_shrink else self._stream.max_shrink
            return target.keep(
                landing,
                self._live,
                self._data_types(),
                may_repeat=may_repeat,
                only_missing=bool(self._stream.options.get(ONLY_MISSING)),
                max_shrink=max_shrink if self._is_replace else None,
            )
        assert self._live is not None
        return target.merge(
            landing,
            self._live,
            self._data_types(),
            may_repeat=may_repeat,
            has_own=self._straight is not None and self._straight.rows > 0,
        )

    def _exchange(self, landing: Landing) -> Stored:
        """What was landed takes the live table's place."""
        connection, key = self._connection, self._stream.primary_key
        stored = Stored()
        in_place = False
        is_poured = landing.beside_table is None
        if self._fillers is None and key and self._seen.may_repeat():
            stored.superseded = merge.keep_newest(
                connection,
                landing.sql,
                self._keys,
                landing.delivered,
                has_deletes=landing.has_deletes,
            )
        if landing.beside_table is None:
            landing.pour(self._open_beside(landing.columns))
        beside = landing.beside_table
        assert beside is not None
        name = beside.name
        if self._fillers is not None:
            in_place = not self._fillers.finish(name, key)
        elif key:
            schema.add_primary_key(connection, name, key, f"{name.name}_pkey")
        rows = landing.rows - stored.superseded
        if self._may_not_shrink and beside.live is not None:
            self._guard.check(connection, beside.live, rows)
        if landing.has_deletes:
            statement = sql.SQL("select count(*) from {} where _deleted_at is not null")
            row = connection.execute(statement.format(name.sql)).fetchone()
            stored.deleted = int(row[0]) if row else 0
        changes = [*self._changes, *landing.changes(self._table)]

        def refuse(rejected: Rejected) -> None:
            stored.refused += 1
            self._refuse(rejected)

        swap.exchange(
            connection,
            beside,
            self._table,
            is_reshaped=bool(changes),
            primary_key=key,
            refuse=refuse,
            in_place=in_place,
            is_frozen=not is_poured,
        )
        stored.inserted = rows - stored.refused
        if beside.live is None:
            created = SchemaChange(str(self._table), None, "created table")
            declared = {one.name: one.type for one in self._stream.columns if one.is_type_known}
            changes = [created, *landing.changes(self._table, declared)]
        stored.changes = changes
        return stored
