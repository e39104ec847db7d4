"""Tables: what shape they have, creating them, and letting them grow.

A table only ever grows: new columns are added, types widen along the lattice of ``types.py``. Views
on a column whose type must change are taken down and put up again in the same transaction
(``views.py``). Replacing a whole table is ``swap.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa
from psycopg import errors, sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import OWN, Column, ColumnType
from meltano_assets.warehouse import types, views
from meltano_assets.warehouse.catalog import SchemaChange
from meltano_assets.warehouse.names import fold_all, suffixed

#: What the loader adds, in this order, behind the stream's own columns.
LOADER_TYPES: dict[str, ColumnType] = {
    "_deleted_at": "timestamptz",
    "_loaded_at": "timestamptz",
    "_load_id": "text",
}
#: Those of them that are the same for every row that one transaction inserts.
STAMPS = ("_loaded_at", "_load_id")


@dataclass(frozen=True, slots=True)
class TableName:
    """A table by schema and name."""

    schema: str
    name: str

    @property
    def sql(self) -> sql.Identifier:
        """Quoted for a statement."""
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class OwnType:
    """A type that no stream declares, by its whole name; ``category`` is Postgres' letter (A: array).

    ``is_plain``: it has no length or the like, and is neither an array, a row nor a domain.
    """

    name: str
    category: str
    is_plain: bool


@dataclass(frozen=True, slots=True)
class Table:
    """An existing table: its columns as the loader sees them, and its primary key.

    ``inexact`` names columns whose own type could refuse or round a value (``varchar(20)``,
    ``numeric(10,2)``), with that type. ``computed`` names columns that Postgres fills by itself and
    no load can: generated ones and ``generated always as identity``; they are none of ``columns``, and are
    left to Postgres. ``own`` has the types of the columns that are ``own``.
    """

    name: TableName
    oid: int
    columns: Mapping[str, ColumnType]
    inexact: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    computed: frozenset[str] = frozenset()
    own: Mapping[str, OwnType] = field(default_factory=dict)
    is_partitioned: bool = False
    is_key_deferrable: bool = False


#: Name, type, what its name lacks to be whole, category, whether it is plain, and whether Postgres alone
#: fills the column.
_COLUMNS = """
select a.attname, format_type(a.atttypid, a.atttypmod),
    case when n.nspname <> 'pg_catalog' and pg_type_is_visible(b.oid) then quote_ident(n.nspname) || '.'
        else '' end,
    t.typcategory, a.atttypmod = -1 and t.typtype in ('b', 'e', 'r', 'm') and t.typcategory <> 'A',
    a.attgenerated <> '' or a.attidentity = 'a' and a.attname <> all (%s)
from pg_attribute a
join pg_type t on t.oid = a.atttypid
join pg_type b on b.oid = case when t.typcategory = 'A' and t.typtype <> 'd' and t.typelem <> 0
    then t.typelem else t.oid end
join pg_namespace n on n.oid = b.typnamespace
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""

#: What else may bear a table's name.
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "c": "a type",
    "i": "an index",
    "I": "an index",
}


def find(
    connection: psycopg.Connection, name: TableName, key: Collection[str] = ()
) -> Table | None:
    """The table of that name, None if there is none; FatalError if something else bears it.

    Columns of ``key`` that are ``generated always as identity`` are filled by whoever asks: a record's
    identity is its own.
    """
    row = connection.execute(
        "select c.oid, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relname = %s",
        [name.schema, name.name],
    ).fetchone()
    if row is None:
        return None
    oid, kind = row
    if kind not in ("r", "p"):
        raise FatalError(
            f"{name} exists and is not a table: it is {_KINDS.get(kind, 'something else')}",
            hint="rename or drop it, or load into another table",
        )
    columns: dict[str, ColumnType] = {}
    inexact: dict[str, str] = {}
    computed: list[str] = []
    own: dict[str, OwnType] = {}
    for column, type_name, place, category, is_plain, is_computed in connection.execute(
        _COLUMNS, [list(key), oid]
    ).fetchall():
        if is_computed:
            computed.append(column)
            continue
        columns[column], is_exact = types.from_postgres(type_name)
        if not is_exact:
            inexact[column] = type_name
        if columns[column] == OWN:
            own[column] = OwnType(place + type_name, category, is_plain)
    enforced = connection.execute(
        "select a.attname, c.condeferrable from pg_constraint c"
        " cross join unnest(c.conkey) with ordinality as k (attnum, place)"
        " join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum"
        " where c.conrelid = %s and c.contype = 'p' order by k.place",
        [oid],
    ).fetchall()
    return Table(
        name,
        oid,
        columns,
        inexact,
        primary_key=tuple(column for column, _ in enforced),
        computed=frozenset(computed),
        own=own,
        is_partitioned=kind == "p",
        is_key_deferrable=any(is_deferrable for _, is_deferrable in enforced),
    )


def refuse_unfillable(table: Table, wanted: Collection[str]) -> None:
    """FatalError when a stream brings a column that Postgres lets nobody fill."""
    if taken := sorted(table.computed.intersection(wanted)):
        raise FatalError(
            f"{table.name} has column {', '.join(taken)}, which Postgres generates and no load can fill",
            hint="`alter table … alter column … drop expression` (or `drop identity`) makes it a plain"
            " column; or leave the field out of the stream, or load into another table",
        )


def refuse_other_loader_columns(table: Table) -> None:
    """FatalError when one of the loader's columns is there for something else."""
    for column, kind in LOADER_TYPES.items():
        present = table.columns.get(column)
        if present is not None and types.join(present, kind) != kind:
            named = table.own[column].name if column in table.own else present
            raise FatalError(
                f"{table.name} has column {column} of type {named}, and the loader keeps {kind} there",
                hint="rename that column, or load into another table",
            )


def refuse_other_case(table: Table, wanted: Collection[str]) -> None:
    """FatalError when a column of the stream is there in other letters, such as "ID" for id.

    To Postgres these are two columns: the one would stay empty, and beside it the other would grow.
    """
    lowered = {column.lower(): column for column in (*table.columns, *table.computed)}
    for column in wanted:
        other = lowered.get(column.lower())
        if column not in table.columns and other is not None and other not in wanted:
            raise FatalError(
                f'{table.name} has column "{other}", and the stream fills {column}: to Postgres, quoted'
                " names in other letters are other columns",
                hint=f'`alter table {table.name} rename column "{other}" to {column}`,'
                " or load into another table",
            )


def require_key(connection: psycopg.Connection, table: Table, key: tuple[str, ...]) -> None:
    """Make sure that the table enforces the key; FatalError when it enforces another one."""
    if set(table.primary_key) == set(key):
        return
    refuse_other_key(table, key)
    try:
        with connection.transaction():
            add_primary_key(connection, table.name, key, free_name(connection, table.name, "_pkey"))
    except (errors.UniqueViolation, errors.NotNullViolation):
        raise FatalError(
            f"{table.name} has no primary key, and its rows do not allow one",
            hint="remove rows whose key is null or occurs twice, or do a full refresh",
        ) from None


def refuse_other_key(table: Table, key: tuple[str, ...]) -> None:
    """FatalError when the table enforces another key than the stream's."""
    if table.primary_key and set(table.primary_key) != set(key):
        raise FatalError(
            f"{table.name} has the primary key ({', '.join(table.primary_key)}),"
            f" the stream's is ({', '.join(key)})",
            hint="declare the table's own key; or drop its constraint, and the next load adds the"
            " stream's key; or read everything anew into a table of another name",
        )


def refuse_deferrable_key(table: Table) -> None:
    """FatalError when Postgres cannot upsert by the table's key."""
    if table.is_key_deferrable:
        raise FatalError(
            f"{table.name} has a deferrable primary key, by which Postgres cannot upsert",
            hint="drop the constraint and add it again without `deferrable`",
        )


def columns_from_arrow(arrow_schema: pa.Schema) -> tuple[Column, ...]:
    """A stream's columns for records of this Arrow schema, each under a name of its own."""
    fields = [field for field in arrow_schema if field.name != "_deleted_at"]
    names = fold_all(field.name for field in fields)
    return tuple(
        Column(
            names[field.name],
            types.from_arrow(field.type),
            field=field.name,
            is_type_known=not pa.types.is_null(field.type),
        )
        for field in fields
    )


def is_empty(connection: psycopg.Connection, name: TableName) -> bool:
    """True when the table has no row that this transaction sees."""
    statement = sql.SQL("select exists (select from {})").format(name.sql)
    row = connection.execute(statement).fetchone()
    return row is not None and not row[0]


def same_key(key: Sequence[str], one: str, other: str) -> sql.Composed:
    """``one.a = other.a and one.b = other.b``, quoted."""
    return sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one, column), sql.Identifier(other, column))
        for column in key
    )


def column_list(columns: Iterable[str], prefix: str = "") -> sql.Composed:
    """``a, b, c`` or ``prefix.a, prefix.b, prefix.c``, quoted."""
    return sql.SQL(", ").join(
        sql.Identifier(prefix, column) if prefix else sql.Identifier(column) for column in columns
    )


def definitions(columns: Mapping[str, ColumnType], required: Iterable[str] = ()) -> sql.Composed:
    """Column definitions for ``create table``; ``required`` ones are not null."""
    needed = set(required)
    return sql.SQL(", ").join(
        sql.SQL("{} {}{}").format(
            sql.Identifier(column),
            types.as_sent(kind),
            sql.SQL(" not null" if column in needed else ""),
        )
        for column, kind in columns.items()
    )


def create(
    connection: psycopg.Connection,
    name: TableName,
    columns: Mapping[str, ColumnType],
    required: Iterable[str] = (),
) -> None:
    """A new table with these columns, without its primary key."""
    connection.execute(
        sql.SQL("create table {} ({})").format(name.sql, definitions(columns, required))
    )


def stamp(connection: psycopg.Connection, name: TableName) -> None:
    """Add the columns that say when and by which load, for all rows that are there.

    Postgres keeps such a value once, beside the table: no row is written for it, and none has to
    carry it while COPY fills the table.
    """
    connection.execute(
        sql.SQL(
            "alter table {} add column _loaded_at timestamptz default now(),"
            " add column _load_id text default current_setting('meltano.load_id', true)"
        ).format(name.sql)
    )


def set_defaults(connection: psycopg.Connection, name: TableName) -> None:
    """Let COPY fill the loader's columns by itself; ``meltano.load_id`` is set by each load."""
    connection.execute(
        sql.SQL(
            "alter table {} alter column _loaded_at set default now(),"
            " alter column _load_id set default current_setting('meltano.load_id', true)"
        ).format(name.sql)
    )


def free_name(connection: psycopg.Connection, table: TableName, suffix: str) -> str:
    """A name for an index of the table that no other relation of its schema has."""
    for attempt in range(1000):
        name = suffixed(table.name, suffix if not attempt else f"_{attempt}{suffix}")
        found = connection.execute(
            "select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = %s and c.relname = %s",
            [table.schema, name],
        ).fetchone()
        if found is None:
            return name
    raise FatalError(f"there is no free name for an index of {table}")


def primary_key_name(table: str) -> str:
    """The constraint's name: ``<table>_pkey`` in 63 bytes."""
    return suffixed(table, "_pkey")


def add_primary_key(
    connection: psycopg.Connection, name: TableName, key: Iterable[str], constraint: str
) -> None:
    """Enforce the key; psycopg's UniqueViolation when rows contradict it."""
    connection.execute(
        sql.SQL("alter table {} add constraint {} primary key ({})").format(
            name.sql, sql.Identifier(constraint), column_list(key)
        )
    )


def grow(
    connection: psycopg.Connection, table: Table, wanted: Mapping[str, ColumnType]
) -> list[SchemaChange]:
    """Give the table every wanted column, each at least as wide as wanted; returns the changes."""
    refuse_unfillable(table, wanted)
    changes: list[SchemaChange] = []
    steps: list[sql.Composable] = []
    retyped: list[str] = []
    for column, kind in wanted.items():
        present = table.columns.get(column)
        if present is None:
            steps.append(
                sql.SQL("add column {} {}").format(sql.Identifier(column), types.as_sent(kind))
            )
            changes.append(SchemaChange(str(table.name), column, "added column", None, kind))
            continue
        # A column may have got another type since the load began; what was the table's own fits any.
        target = present if kind == OWN else types.join(present, kind)
        if target == present and column not in table.inexact:
            continue
        retyped.append(column)
        steps.append(
            sql.SQL("alter column {} type {} using {}").format(
                sql.Identifier(column),
                sql.SQL(target),
                types.cast_expression(column, present, target),
            )
        )
        old = table.inexact.get(column, present)
        changes.append(SchemaChange(str(table.name), column, "widened column", old, target))
    if steps:
        statement = sql.SQL("alter table {} {}").format(table.name.sql, sql.SQL(", ").join(steps))
        if retyped:
            with views.taken_down(connection, table.oid):
                connection.execute(statement)
        else:
            connection.execute(statement)
        if any(change.column == "_load_id" for change in changes):
            set_defaults(connection, table.name)
    return changes
