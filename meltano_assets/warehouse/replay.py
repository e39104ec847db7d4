"""Quarantined records tried again, after a stream's declaration or a rule has changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
from psycopg import sql

from meltano_assets.streams import Batch, ColumnType, LoadOutcome, Stream
from meltano_assets.warehouse import json_records, quarantine
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.intake import ONLY_MISSING
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.schema import TableName, find

_RECORDS_PER_BATCH = 10_000


def replay(
    warehouse: Warehouse, stream: Stream, *, run_id: str = "", environment: str = "local"
) -> LoadOutcome | None:
    """Load a stream's quarantined records again; None when there are none.

    What still cannot be stored is quarantined anew, with its reason of today. A record never
    overwrites a row that may be newer: without a replication key, only missing keys are added.
    """
    name = TableName(stream.source, stream.name)
    with warehouse.connect(application_name="meltano-assets quarantine") as connection:
        waiting = _waiting(connection, name)
    if waiting == 0:
        return None
    can_compare = bool(stream.primary_key and stream.replication_key)
    if stream.disposition == "scd2":
        target = replace(stream, options={**stream.options, ONLY_MISSING: True})
    else:
        target = stream.with_disposition("upsert" if can_compare else "append")
    done: list[int] = []

    def mark(connection: psycopg.Connection) -> None:
        connection.execute(
            sql.SQL("update {} set replayed_at = now() where id = any(%s)").format(
                quarantine.table_name(name).sql
            ),
            [done],
        )

    return load(
        warehouse,
        target,
        _batches(warehouse, name, done),
        run_id=run_id,
        environment=environment,
        before_commit=mark,
    )


def _waiting(connection: psycopg.Connection, name: TableName) -> int:
    table = quarantine.table_name(name)
    if find(connection, table) is None:
        return 0
    row = connection.execute(
        sql.SQL("select count(*) from {} where replayed_at is null").format(table.sql)
    ).fetchone()
    return int(row[0]) if row else 0


def _batches(warehouse: Warehouse, name: TableName, done: list[int]) -> Iterator[Batch]:
    """The records that wait, oldest first; ``done`` learns the ids of those handed out.

    Rows that were no records in the first place (malformed lines) stay where they are.
    """
    statement = sql.SQL(
        "select id, record from {} where replayed_at is null and id > %s order by id limit %s"
    ).format(quarantine.table_name(name).sql)
    kinds: dict[str, ColumnType] = {}
    last = 0
    while True:
        with warehouse.connect(application_name="meltano-assets quarantine") as connection:
            rows = connection.execute(statement, [last, _RECORDS_PER_BATCH]).fetchall()
        if not rows:
            return
        last = rows[-1][0]
        records = []
        for number, text in rows:
            record = json_records.loads_leniently(text)
            if isinstance(record, dict):
                records.append(record)
                done.append(number)
        if records:
            yield Batch(json_records.batch(records, kinds))
