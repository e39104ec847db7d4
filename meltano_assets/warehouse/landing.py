"""The table that COPY fills: a temporary staging table, or the new table beside the live one.

Either was created in the load's transaction. Its shape follows the batches: a column that appears late
is added, a type that proves too narrow is widened, between two COPY commands.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from meltano_assets.streams import OWN, ColumnType
from meltano_assets.warehouse import schema
from meltano_assets.warehouse.catalog import SchemaChange
from meltano_assets.warehouse.converted import NULL_WIRE
from meltano_assets.warehouse.copy import BinaryCopy
from meltano_assets.warehouse.fill import Fillers
from meltano_assets.warehouse.records import DELETED_AT
from meltano_assets.warehouse.schema import TableName
from meltano_assets.warehouse.swap import Beside
from meltano_assets.warehouse.types import as_sent, cast_expression

#: statement_timeout counts a COPY's waiting for a slow source; so no COPY lasts longer than this.
_COPY_SECONDS = 300


UUID_BYTES = 16

#: The staging table, one in a transaction.
STAGING = sql.Identifier("pg_temp", "meltano_staging")


class SeenKeys:
    """Whether some key may have come twice: 8 bytes a record instead of a look at the table.

    Whole numbers are compared as they are, others by a 64-bit hash; so it may be wrong in saying
    yes, never in saying no.
    """

    def __init__(self, key: tuple[str, ...]) -> None:
        self._key = key
        #: Sorted keys, in runs of growing age and size.
        self._runs: list[np.ndarray] = []
        self._repeats = False
        self._types: set[pa.DataType] = set()
        self._is_unsure = False

    def add(self, rows: pa.RecordBatch, types: Mapping[str, ColumnType]) -> None:
        """Remember the keys of fitted rows."""
        if not self._key or self._is_unsure:
            return
        # Equal documents may be written in different ways, and what is equal in other types, who knows.
        self._is_unsure = any(types[column] in ("jsonb", OWN) for column in self._key)
        arrays = [rows.column(rows.schema.get_field_index(column)) for column in self._key]
        for array in arrays:
            # Equal numbers may have different bytes (1.0 and 1.00), so their hashes say nothing.
            kind = array.type
            if (
                pa.types.is_floating(kind)
                or pa.types.is_decimal(kind)
                or pa.types.is_binary(kind)
                or (pa.types.is_fixed_size_binary(kind) and kind.byte_width != UUID_BYTES)
            ):
                self._is_unsure = True
        self._types.add(pa.struct([pa.field("", array.type) for array in arrays]))
        if self._is_unsure or len(self._types) > 1:
            self._is_unsure = True
            self._runs.clear()
            return
        if len(arrays) == 1 and pa.types.is_integer(arrays[0].type):
            self._remember(arrays[0].to_numpy())
        else:
            import polars as pl  # slow to import, seldom needed

            frame = pl.DataFrame([pl.Series(str(n), array) for n, array in enumerate(arrays)])
            self._remember(frame.hash_rows().to_numpy())

    def may_repeat(self) -> bool:
        """False when every key came once."""
        return self._is_unsure or self._repeats

    def _remember(self, keys: np.ndarray) -> None:
        if self._repeats or not len(keys):
            return
        keys = np.sort(keys)
        self._repeats = bool((keys[1:] == keys[:-1]).any()) or any(
            _meet(run, keys) for run in self._runs
        )
        # Runs of about the same size become one, so that there are never many.
        while self._runs and len(self._runs[-1]) < 2 * len(keys):
            # A stable sort takes two sorted runs for what they are.
            keys = np.sort(np.concatenate([self._runs.pop(), keys]), kind="stable")
        self._runs.append(keys)
        if self._repeats:
            self._runs.clear()


def _meet(run: np.ndarray, keys: np.ndarray) -> bool:
    """True when two sorted arrays have a value in common."""
    if keys[0] > run[-1] or keys[-1] < run[0]:
        return False
    places = np.searchsorted(run, keys)
    places[places == len(run)] = 0
    return bool((run[places] == keys).any())


class Landing:
    """Takes fitted batches; ``delivered`` lists the columns that any of them carried."""

    def __init__(
        self,
        connection: psycopg.Connection,
        name: sql.Identifier,
        columns: Mapping[str, ColumnType],
        beside: Beside | None,
    ) -> None:
        self.sql = name
        self.beside_table = beside
        self.rows = 0
        self.has_deletes = False
        #: More than the load's own once several fill the table.
        self._connections = [connection]
        self._fillers: Fillers | None = None
        self._initial = dict(columns)
        self._columns = dict(columns)
        self._sent: list[str] = []
        self._copies: list[BinaryCopy] = []
        self._opened = 0.0

    @classmethod
    def staging(cls, connection: psycopg.Connection, columns: Mapping[str, ColumnType]) -> Landing:
        """A temporary table that vanishes with the transaction."""
        connection.execute(
            sql.SQL("create temp table meltano_staging ({}) on commit drop").format(
                schema.definitions({**columns, DELETED_AT: "timestamptz"})
            )
        )
        return cls(connection, STAGING, columns, None)

    @classmethod
    def beside(
        cls, connection: psycopg.Connection, beside: Beside, columns: Mapping[str, ColumnType]
    ) -> Landing:
        """The table that will take the live one's place."""
        return cls(connection, beside.name.sql, columns, beside)

    @property
    def delivered(self) -> list[str]:
        """The data columns that arrived, in the order of COPY."""
        return [column for column in self._sent if column != DELETED_AT]

    @property
    def known(self) -> list[str]:
        """The columns that tell a landed record."""
        return [*self.delivered, *([DELETED_AT] if self.has_deletes else [])]

    @property
    def columns(self) -> dict[str, ColumnType]:
        """The table's data columns as they are now."""
        return dict(self._columns)

    def write(self, rows: pa.RecordBatch, types: Mapping[str, ColumnType]) -> None:
        """COPY a fitted batch, after giving the table the shape that it needs."""
        self._reshape(types)
        if missing := [name for name in rows.schema.names if name not in self._sent]:
            self.pause()
            self._sent += missing
        if not self._copies or time.monotonic() - self._opened > _COPY_SECONDS:
            self.pause()
            self._open()
        if rows.schema.names != self._sent:
            rows = self._completed(rows, types)
        # Each in its turn.
        self._copies.append(self._copies.pop(0))
        self._copies[-1].write(rows)
        self.rows += rows.num_rows
        if DELETED_AT in rows.schema.names:
            position = rows.schema.get_field_index(DELETED_AT)
            self.has_deletes |= rows.column(position).null_count < rows.num_rows

    def pause(self) -> None:
        """End the COPY in progress, so that other statements can run."""
        while self._copies:
            self._copies.pop().__exit__(None, None, None)
        if self._fillers is not None:
            self._fillers.commit()

    def abort(self, error: BaseException) -> None:
        """Give the COPY in progress up."""
        while self._copies:
            self._copies.pop().__exit__(type(error), error, error.__traceback__)

    def share(self, fillers: Fillers) -> None:
        """Let several connections go on; what was landed so far has been committed."""
        self._fillers, self._connections = fillers, fillers.connections

    def move(self, connection: psycopg.Connection, beside: Beside) -> None:
        """Go on in another table of the same shape and rows, on one connection."""
        self._fillers, self._connections = None, [connection]
        self.sql, self.beside_table = beside.name.sql, beside

    def pour(self, beside: Beside) -> None:
        """Hand the rows on to a table beside, in the order in which they were read."""
        columns = schema.column_list(self._sent)
        if self._sent:
            self._connections[0].execute(
                sql.SQL("insert into {} ({}) select {} from {}").format(
                    beside.name.sql, columns, columns, self.sql
                )
            )
        self.sql, self.beside_table = beside.name.sql, beside

    def changes(
        self, table: TableName, declared: Mapping[str, ColumnType] | None = None
    ) -> list[SchemaChange]:
        """How the shape grew since the landing was opened, or beyond what was declared."""
        found = []
        for column, kind in self._columns.items():
            old = (self._initial if declared is None else declared).get(column)
            if old is None and not declared and declared is not None:
                continue
            if old is None:
                found.append(SchemaChange(str(table), column, "added column", None, kind))
            elif old != kind:
                found.append(SchemaChange(str(table), column, "widened column", old, kind))
        return found

    def _open(self) -> None:
        types = {**self._columns, DELETED_AT: "timestamptz"}
        for connection in self._connections:
            copy = BinaryCopy(
                connection,
                self.sql,
                [(column, types[column]) for column in self._sent],
                freeze=self.beside_table is not None and self._fillers is None,
            )
            copy.__enter__()
            self._copies.append(copy)
        self._opened = time.monotonic()

    def _completed(self, rows: pa.RecordBatch, types: Mapping[str, ColumnType]) -> pa.RecordBatch:
        """The batch with every column of the COPY, those it lacks as nulls."""
        arrays = []
        for column in self._sent:
            place = rows.schema.get_field_index(column)
            if place >= 0:
                arrays.append(rows.column(place))
            else:
                arrays.append(pa.nulls(rows.num_rows, NULL_WIRE[types[column]]))
        return pa.RecordBatch.from_arrays(arrays, names=self._sent)

    def _reshape(self, types: Mapping[str, ColumnType]) -> None:
        steps: list[sql.Composable] = []
        for column, kind in types.items():
            if column == DELETED_AT:
                continue
            present = self._columns.get(column)
            if present is None:
                steps.append(
                    sql.SQL("add column {} {}").format(sql.Identifier(column), as_sent(kind))
                )
            elif present != kind:
                steps.append(
                    sql.SQL("alter column {} type {} using {}").format(
                        sql.Identifier(column),
                        sql.SQL(kind),
                        cast_expression(column, present, kind),
                    )
                )
            self._columns[column] = kind
        if steps:
            self.pause()
            self._connections[0].execute(
                sql.SQL("alter table {} {}").format(self.sql, sql.SQL(", ").join(steps))
            )
            if self._fillers is not None:
                self._fillers.commit()
