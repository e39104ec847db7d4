"""What must be true of a raw table, as counts; the claims behind the asset checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from meltano_assets.streams import Stream
from meltano_assets.warehouse.connection import Warehouse

LIVE_ROWS = "live rows"


def live_rows(warehouse: Warehouse, stream: Stream) -> int:
    """Rows of the raw table that the vendor has not deleted; 0 before the first load."""
    return _count(warehouse, stream.source, stream.name, _is_live(stream))


def _is_live(stream: Stream) -> sql.SQL:
    return sql.SQL("_valid_to is null" if stream.disposition == "scd2" else "_deleted_at is null")


def all_rows(warehouse: Warehouse, stream: Stream) -> int:
    """Rows of the raw table, deleted ones included; 0 before the first load."""
    return _count(warehouse, stream.source, stream.name, sql.SQL("true"))


def quarantined_rows(warehouse: Warehouse, stream: Stream) -> int:
    """Records of the stream that wait in its quarantine."""
    table = f"{stream.name}__quarantine"
    return _count(warehouse, stream.source, table, sql.SQL("replayed_at is null"))


def duplicate_keys(warehouse: Warehouse, stream: Stream) -> int:
    """Keys that more than one row has; not counted where a unique index forbids them."""
    if not stream.primary_key or _is_key_enforced(warehouse, stream):
        return 0
    keys = sql.SQL(", ").join(map(sql.Identifier, stream.primary_key))
    query = sql.SQL(
        "select count(*) from (select {keys} from {table} where {is_one} group by {keys}"
        " having count(*) > 1) as d"
    ).format(
        keys=keys,
        # A history holds many versions of a key; one of them holds now.
        is_one=_is_live(stream) if stream.disposition == "scd2" else sql.SQL("true"),
        table=sql.Identifier(stream.source, stream.name),
    )
    with warehouse.connect() as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def last_healthy_rows(warehouse: Warehouse, stream: Stream) -> int | None:
    """Live rows after the last load that had not lost too many; None before the first.

    A collapse does not become the measure of the loads after it.
    """
    with warehouse.connect() as connection:
        row = connection.execute(
            "select expected, actual from meltano.reconciliation"
            " where source = %s and stream = %s and hop = %s order by id desc limit 1",
            [stream.source, stream.name, LIVE_ROWS],
        ).fetchone()
    if row is None:
        return None
    expected, actual = row
    is_healthy = expected is None or not has_collapsed(stream, expected, actual)
    return int(actual if is_healthy else expected)


def has_collapsed(stream: Stream, expected: int, actual: int) -> bool:
    """True when more rows are gone than the stream may lose."""
    return actual < expected * (1 - stream.max_shrink)


def record_reconciliation(
    warehouse: Warehouse,
    source: str,
    stream: str,
    *,
    run_id: str,
    hops: Mapping[str, tuple[int | None, int]],
) -> None:
    """Write hops to ``meltano.reconciliation``: what was expected (None: unknown) and what is there."""
    from meltano_assets.warehouse import books

    with warehouse.connect() as connection:
        books.ensure(connection)
        connection.cursor().executemany(
            "insert into meltano.reconciliation (source, stream, run_id, hop, expected, actual)"
            " values (%s, %s, %s, %s, %s, %s)",
            [(source, stream, run_id, hop, *counts) for hop, counts in hops.items()],
        )


def _is_key_enforced(warehouse: Warehouse, stream: Stream) -> bool:
    query = """
        select exists (
            select from pg_index as i
            where i.indrelid = to_regclass(%s) and i.indisunique and i.indisvalid
                and i.indpred is null and i.indexprs is null
                and (
                    select array_agg(a.attname::text order by a.attname::text)
                    from unnest(i.indkey::smallint[]) as k
                    inner join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k
                ) = %s
        )
    """
    with warehouse.connect() as connection:
        name = sql.Identifier(stream.source, stream.name).as_string(connection)
        row = connection.execute(query, [name, sorted(stream.primary_key)]).fetchone()
    return bool(row and row[0])


def _count(warehouse: Warehouse, schema: str, table: str, condition: sql.Composable) -> int:
    name = sql.Identifier(schema, table)
    with warehouse.connect() as connection:
        known = connection.execute("select to_regclass(%s)", [name.as_string(connection)])
        found = known.fetchone()
        if found is None or found[0] is None:
            return 0
        query = sql.SQL("select count(*) from {} where {}").format(name, condition)
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The latest comparison of one hop of one stream."""

    source: str
    stream: str
    hop: str
    expected: int | None
    actual: int | None
    checked_at: datetime

    @property
    def agrees(self) -> bool:
        """True when nothing is missing, or nothing was known to compare with.

        Live rows may well change from load to load; that they collapse is a check of its own.
        """
        return self.expected is None or self.hop == LIVE_ROWS or self.expected == self.actual


def reconciled(warehouse: Warehouse) -> list[Reconciled]:
    """The latest comparison of every hop, by stream in the order of the hops."""
    from meltano_assets.warehouse import books

    with warehouse.connect() as connection:
        books.ensure(connection)
        rows = connection.execute(
            "select distinct on (source, stream, hop) source, stream, hop, expected, actual,"
            " checked_at, id from meltano.reconciliation order by source, stream, hop, id desc"
        ).fetchall()
    return [Reconciled(*row[:6]) for row in sorted(rows, key=lambda row: (row[0], row[1], row[6]))]
