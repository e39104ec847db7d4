"""Records with new keys, copied straight into the live table: written once instead of twice.

Each piece of a load is split by asking which of its keys the table holds. Those that it does not are
sent by COPY into the table itself, in the load's transaction, so nobody sees them before the commit; the
others go through the staging table and are merged. The question is asked on a connection of its own
while the piece before is still being sent, so it does not see that piece. Once all of a piece was new, a
sample of the next ones is asked about. A key that a sample missed or that comes twice in a load is refused
by the table's own index; then the piece is taken back and asked about as a whole, the second time inside
the transaction.

Records of one key must be merged in the order in which they were read, which holds as long as no new
key was staged. So the way is left, for the rest of the checkpoint, as soon as a piece has to be staged
whole: for its shape, its deletes, its size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors, sql
from psycopg.adapt import Dumper
from psycopg.pq import Format

from meltano_assets.errors import RetriableError
from meltano_assets.streams import OWN, ColumnType
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.copy import BinaryCopy
from meltano_assets.warehouse.landing import STAGING
from meltano_assets.warehouse.records import DELETED_AT
from meltano_assets.warehouse.schema import Table, column_list, same_key

#: Below this the questions cost more than the second writing.
FEW_ROWS = 1_000

#: Key types that are equal in Postgres exactly when their bytes are.
_KEY_TYPES: frozenset[ColumnType] = frozenset(
    {"integer", "bigint", "text", "uuid", "date", "timestamp", "timestamptz"}
)

#: Nothing stands between COPY and the table, its key is all that it demands of a record, keys are
#: compared byte by byte, and the loader's own columns fill themselves.
_IS_PLAIN = """
select c.relkind = 'r' and not c.relrowsecurity and not c.relhasrules and not c.relhastriggers
    and not c.relhassubclass and not c.relispartition
    and not exists (select from pg_constraint where conrelid = c.oid and contype in ('c', 'u', 'x'))
    and not exists (
        select from pg_index where indrelid = c.oid and not indisprimary and (indisunique or indisexclusion)
    )
    and not exists (
        select from pg_attribute
        where attrelid = c.oid and attnum > 0 and not attisdropped and (
            attgenerated <> '' or attnotnull and attidentity = '' and attname <> all (%s)
        )
    )
    and not exists (
        select from pg_attribute a join pg_collation l on l.oid = a.attcollation
        where a.attrelid = c.oid and a.attname = any (%s) and not l.collisdeterministic
    )
    and (
        select count(*) from pg_attribute
        where attrelid = c.oid and attname in ('_loaded_at', '_load_id') and atthasdef
    ) = 2
from pg_class c where c.oid = %s
"""

#: Probing the index is best at any size: its pages stay in memory, and rows that this load has just
#: stored are not looked at.
_PROBE = "set enable_hashjoin = off; set enable_mergejoin = off"
#: Somebody may wait for this load to end who keeps the others out meanwhile (ALTER TABLE, TRUNCATE):
#: the load would wait for its own question for ever.
_SOON = "; set lock_timeout = '1s'"
_NO_PROBE = "reset enable_hashjoin; reset enable_mergejoin"


class Lookups:
    """Asks which keys a table holds, on a connection opened for the first question and kept."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._opened = ExitStack()
        self._connection: psycopg.Connection | None = None

    def known(self, table: Table, keys: pa.RecordBatch) -> np.ndarray:
        """The places of those keys that other transactions have committed."""
        if self._connection is None:
            connection = self._opened.enter_context(
                self._warehouse.connect(application_name="meltano-assets keys", autocommit=True)
            )
            connection.execute(_PROBE + _SOON)
            self._connection = connection
        return _known(self._connection, table, keys)

    def close(self) -> None:
        """Close the connection."""
        self._connection = None
        self._opened.close()


def _has_duplicates(keys: list[pa.Array]) -> bool:
    """True when two rows have the same key."""
    if len(keys) == 1 and pa.types.is_integer(keys[0].type):
        numbers = np.sort(keys[0].to_numpy())
        return bool((numbers[1:] == numbers[:-1]).any())
    import polars as pl  # slow to import, seldom needed

    frame = pl.DataFrame([pl.Series(str(place), key) for place, key in enumerate(keys)])
    return bool(frame.is_duplicated().any())


def _known(connection: psycopg.Connection, table: Table, keys: pa.RecordBatch) -> np.ndarray:
    """Places of the keys that the table holds, as this connection sees it."""
    order = np.arange(keys.num_rows)
    if keys.num_columns == 1 and pa.types.is_integer(keys.schema.types[0]):
        # Neighbours in the index are found faster one after the other.
        order = np.argsort(keys.column(0).to_numpy())
        keys = keys.take(pa.array(order))
    names = keys.schema.names
    connection.adapters.register_dumper(_Array, _ArrayDumper)
    row = connection.execute(
        sql.SQL(
            "select array_agg(k.place::integer) from unnest({arrays})"
            " with ordinality as k ({names}, place) join {table} as t on {same}"
        ).format(
            arrays=sql.SQL(", ").join(
                sql.SQL("%b::{}[]").format(sql.SQL(table.columns[name])) for name in names
            ),
            names=column_list(names),
            table=table.name.sql,
            same=same_key(names, "t", "k"),
        ),
        [_Array(column, table.columns[name]) for name, column in zip(names, keys, strict=True)],
        binary=True,
    ).fetchone()
    found = [] if row is None or row[0] is None else row[0]
    return order[np.array(cast(list[int], found), dtype=np.int64) - 1]


#: Per key type: Postgres' number of the type, Arrow's as whole numbers, and where Postgres begins to
#: count (2000-01-01).
_FIXED: dict[ColumnType, tuple[int, pa.DataType, int]] = {
    "integer": (23, pa.int32(), 0),
    "bigint": (20, pa.int64(), 0),
    "date": (1082, pa.int32(), 10_957),
    "timestamp": (1114, pa.int64(), 946_684_800_000_000),
    "timestamptz": (1184, pa.int64(), 946_684_800_000_000),
}
_TEXT, _UUID = 25, 2950


@dataclass(frozen=True, slots=True)
class _Array:
    """Keys, as ``values.convert`` gives them, to be sent as one Postgres array."""

    keys: pa.Array
    kind: ColumnType

    def binary(self) -> bytes:
        """The array in Postgres' binary form: dimensions, has nulls, type, length, lower bound."""
        if self.kind in _FIXED:
            oid, arrow, epoch = _FIXED[self.kind]
            numbers = self.keys.cast(arrow, safe=False).to_numpy() - epoch
            size = arrow.bit_width // 8
            items = np.empty(len(numbers), dtype=[("size", ">i4"), ("value", f">i{size}")])
            items["size"], items["value"] = size, numbers
            data = items.tobytes()
        else:
            oid = _TEXT if self.kind == "text" else _UUID
            values = self.keys.cast(pa.large_binary()).to_pylist()
            data = b"".join(len(value).to_bytes(4) + value for value in values)
        return struct.pack(">iiIii", 1, 0, oid, len(self.keys), 1) + data


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> bytes:
        return obj.binary()


class Straight:
    """One checkpoint's direct way into a live table; ``rows`` counts what went it.

    ``stage`` takes the other rows and may leave the connection busy with them; ``free`` waits for it.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        lookups: Lookups,
        live: Table,
        key: tuple[str, ...],
        stage: Callable[[pa.RecordBatch], None],
        free: Callable[[], None],
    ) -> None:
        self.rows = 0
        #: False once new keys may have been staged too.
        self.is_open = True
        self._connection = connection
        self._lookups = lookups
        self._live = live
        self._key = key
        self._stage = stage
        self._free = free
        self._columns: list[str] | None = None
        self._copy: BinaryCopy | None = None
        self._flying: pa.RecordBatch | None = None
        #: Smallest and greatest whole number that the table had before; beyond it every key is new.
        self._bounds: tuple[int, int] | None = None
        #: Ask in the load's transaction, since a key came twice, or since there is no other way?
        self._asks_inside = False
        #: Were pieces staged whole because a sample of their keys was known?
        self._guessed = False
        #: Is a sample of the next piece enough? So it is once all of a piece was new, until a
        #: sample misleads.
        self._trusts_samples = False
        self._may_trust = True
        #: Was no more than a sample of the piece in hand asked about, of the one being sent?
        self._sampled = False
        self._flies_sampled = False
        #: How many pieces the table's index refused.
        self._refused = 0

    @classmethod
    def open(
        cls,
        connection: psycopg.Connection,
        lookups: Lookups,
        live: Table,
        key: tuple[str, ...],
        stage: Callable[[pa.RecordBatch], None],
        free: Callable[[], None],
    ) -> Straight | None:
        """The way into the table; None where COPY would not do what INSERT does."""
        if set(key) != set(live.primary_key) or any(
            live.columns[column] not in _KEY_TYPES or column in live.inexact for column in key
        ):
            return None
        row = connection.execute(_IS_PLAIN, [list(key), list(key), live.oid]).fetchone()
        if row is None or not row[0]:
            return None
        straight = cls(connection, lookups, live, key, stage, free)
        if len(key) == 1 and live.columns[key[0]] in ("integer", "bigint"):
            statement = sql.SQL("select min({key}), max({key}) from {table}")
            found = connection.execute(
                statement.format(key=sql.Identifier(key[0]), table=live.name.sql)
            ).fetchone()
            if found is not None and found[0] is not None:
                straight._bounds = (found[0], found[1])
        return straight

    def write(self, rows: pa.RecordBatch, types: Mapping[str, ColumnType]) -> None:
        """Send the rows whose keys are new, stage the others."""
        if self._asks_inside:
            self.settle()
        refused = self._refused
        is_new = self._new(rows, types) if self.is_open else None
        if is_new is not None and not self._guessed:
            rows, is_new = self._ordered(rows, is_new)
        self.settle()
        if is_new is not None and self._refused > refused:
            # The piece before held a known key or one twice: this one may, too.
            is_new = self._asked(rows)
        if is_new is None:
            self.is_open = False
            self._stage(rows)
        else:
            self._divide(rows, is_new)

    def settle(self) -> None:
        """Wait for what is being sent; afterwards the connection is free."""
        if self._copy is None or self._flying is None:
            return
        copy, self._copy = self._copy, None
        rows, self._flying = self._flying, None
        try:
            copy.__exit__(None, None, None)
        except errors.UniqueViolation:
            # A key was known after all, came twice, or somebody else wrote it meanwhile.
            if self._asks_inside:
                raise RetriableError(
                    "somebody else is writing the same keys", hint="load again when they are done"
                ) from None
            self._connection.execute("rollback to savepoint meltano_straight")
            self._refused += 1
            if self._flies_sampled:
                self._may_trust = False
            else:
                self._asks_inside = True
            self._divide(rows, self._asked(rows))
            self.settle()
            return
        self._connection.execute("release savepoint meltano_straight")
        self.rows += rows.num_rows

    def abort(self, error: BaseException) -> None:
        """Give up what is being sent."""
        if self._copy is not None:
            copy, self._copy = self._copy, None
            copy.__exit__(type(error), error, error.__traceback__)

    def _new(self, rows: pa.RecordBatch, types: Mapping[str, ColumnType]) -> np.ndarray | None:
        """Which rows the table can take as they are; None when the piece has to be staged whole."""
        names = rows.schema.names
        if rows.num_rows < FEW_ROWS or (self._columns or names) != names:
            return None
        if DELETED_AT in names and rows.column(names.index(DELETED_AT)).null_count < len(rows):
            return None
        if any(
            self._live.columns.get(column) != kind
            or column in self._live.inexact
            or (kind == OWN and column in names)
            for column, kind in types.items()
        ):
            return None
        self._columns = names
        if not self._key:
            return np.ones(len(rows), dtype=bool)
        if _has_duplicates([rows.column(names.index(column)) for column in self._key]):
            return None
        sample = rows.take(pa.array(np.linspace(0, len(rows) - 1, FEW_ROWS).astype(np.int64)))
        known = self._known(sample)
        if known.all():
            # Most likely all of them are; whether so, is asked only if that ever matters.
            self._guessed, self._trusts_samples = True, False
            return np.zeros(len(rows), dtype=bool)
        if self._guessed:
            self.settle()
            if self._has_staged_new():
                return None
            self._guessed = False
        if self._trusts_samples and not known.any():
            self._sampled = True
            return np.ones(len(rows), dtype=bool)
        return self._asked(rows)

    def _asked(self, rows: pa.RecordBatch) -> np.ndarray:
        """Which rows are new, every key asked about."""
        known = self._known(rows)
        self._sampled = False
        self._trusts_samples = self._may_trust and not known.any()
        return ~known

    def _ordered(
        self, rows: pa.RecordBatch, is_new: np.ndarray
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows in the order of their key, whose index then takes neighbours one after the other.

        Only rows with keys of their own come here, so nothing depends on the order of reading.
        """
        if not self._key:
            return rows, is_new
        keys = rows.column(rows.schema.get_field_index(self._key[0]))
        order = pc.array_sort_indices(keys)
        places = order.to_numpy()
        if (places[1:] > places[:-1]).all():
            return rows, is_new
        return rows.take(order), is_new[places]

    def _has_staged_new(self) -> bool:
        """True when a record was staged whose key the table does not hold."""
        statement = sql.SQL(
            "select exists (select from {} as l where not exists (select from {} as t where {}))"
        ).format(STAGING, self._live.name.sql, same_key(self._key, "t", "l"))
        self._free()
        row = self._connection.execute(statement).fetchone()
        return row is None or bool(row[0])

    def _divide(self, rows: pa.RecordBatch, is_new: np.ndarray) -> None:
        if not is_new.all():
            self._stage(rows.filter(pa.array(~is_new)))
            rows = rows.filter(pa.array(is_new))
        if not rows.num_rows:
            return
        self._free()
        self._connection.execute("savepoint meltano_straight")
        columns = [(name, self._live.columns[name]) for name in rows.schema.names]
        self._copy, self._flying = BinaryCopy(self._connection, self._live.name.sql, columns), rows
        self._flies_sampled = self._sampled
        self._copy.__enter__()
        self._copy.write(rows)

    def _known(self, rows: pa.RecordBatch) -> np.ndarray:
        """Which of the rows' keys the table holds."""
        known = np.zeros(rows.num_rows, dtype=bool)
        keys = rows.select(list(self._key))
        if self._asks_inside:
            self._free()
            self._connection.execute(_PROBE)
            known[_known(self._connection, self._live, keys)] = True
            self._connection.execute(_NO_PROBE)
            return known
        places = np.arange(rows.num_rows)
        if self._bounds is not None:
            low, high = self._bounds
            numbers = keys.column(0).to_numpy()
            places = places[(numbers >= low) & (numbers <= high)]
        if len(places):
            asked = keys if len(places) == len(keys) else keys.take(pa.array(places))
            try:
                known[places[self._lookups.known(self._live, asked)]] = True
            except (errors.LockNotAvailable, RetriableError):
                # No connection to be had, or no lock: the load's own connection has both.
                self.settle()
                self._asks_inside = True
                return self._known(rows)
        return known
