"""Records that could not be stored: kept as text beside their table, with the reason.

``<schema>.<table>__quarantine`` is written in the same transaction as the rows that were stored.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import Stream
from meltano_assets.warehouse.books import ensure_schema
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.encoding import Encoding
from meltano_assets.warehouse.names import suffixed
from meltano_assets.warehouse.records import Rejected
from meltano_assets.warehouse.schema import TableName, find

#: A load fails when more than this share of its records (and more than a handful) is set aside.
DEFAULT_MAX_SHARE = 0.1
_HANDFUL = 10

#: What reasons begin with where the table itself took offence.
REFUSED = "the table refuses it"


def table_name(table: TableName) -> TableName:
    """Where a table's rejected records are kept."""
    return TableName(table.schema, suffixed(table.name, "__quarantine"))


def check_share(stream: Stream, quarantined: int, read: int, last: Rejected) -> None:
    """FatalError when too many records are bad for the rest to be trusted.

    The share is the stream's option ``max_quarantine_share``; ``last`` stands as an example.
    """
    share = stream.options.get("max_quarantine_share", DEFAULT_MAX_SHARE)
    assert isinstance(share, float | int)
    if quarantined > _HANDFUL and quarantined > share * read:
        place = f"record {last.number}: " if last.number is not None else ""
        column = f"column {last.column}: " if last.column is not None else ""
        raise FatalError(
            f"{quarantined} of {read} records cannot be stored, more than {share:.0%};"
            f" nothing was stored. For example {place}{column}{last.reason}",
            source=stream.source,
            stream=stream.name,
            hint="see what the table demands: its constraints, triggers and partitions"
            if last.reason.startswith(REFUSED)
            else "check the declared column types against what the source sends",
        )


def write(
    connection: psycopg.Connection, table: TableName, rejected: Iterable[Rejected], load_id: str
) -> None:
    """Keep the records, in the load's transaction."""
    name = table_name(table)
    ensure_schema(connection, name.schema)
    connection.execute(
        sql.SQL(
            "create table if not exists {} ("
            "id bigint generated always as identity primary key, record text not null,"
            " record_number bigint, reason text not null, column_name text, load_id text not null,"
            " quarantined_at timestamptz not null default clock_timestamp(),"
            " replayed_at timestamptz)"
        ).format(name.sql)
    )
    found = find(connection, name)
    if found is None or not {"record", "reason", "column_name", "load_id"} <= found.columns.keys():
        raise FatalError(
            f"records must be set aside, and {name} exists and is another table",
            hint="rename that table",
        )
    if "record_number" not in found.columns:
        connection.execute(
            sql.SQL("alter table {} add column record_number bigint").format(name.sql)
        )
    statement = sql.SQL("copy {} (record, record_number, reason, column_name, load_id) from stdin")
    encoding = Encoding.of(connection)
    with connection.cursor().copy(statement.format(name.sql)) as copy:
        for one in rejected:
            record = one.record if encoding is None else encoding.escaped(one.record)
            copy.write_row((record, one.number, one.reason, one.column, load_id))


def reasons(warehouse: Warehouse, stream: Stream) -> list[tuple[str, str | None, int]]:
    """Why records of the stream wait: reason, column and how many, most frequent first."""
    name = table_name(TableName(stream.source, stream.name))
    with warehouse.connect() as connection:
        if find(connection, name) is None:
            return []
        rows = connection.execute(
            sql.SQL(
                "select reason, column_name, count(*) from {} where replayed_at is null"
                " group by 1, 2 order by 3 desc, 1"
            ).format(name.sql)
        ).fetchall()
    return [(str(reason), column, int(count)) for reason, column, count in rows]
