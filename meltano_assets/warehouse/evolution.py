"""What a stream's declaration changes about its table: renamed columns, fields that are gone.

New columns and wider types follow from the values (``records.py``) and are made in ``schema.py``. Here is
what only a comparison with earlier declarations tells; those are kept in ``meltano.column_names``.
"""

from __future__ import annotations

from collections.abc import Collection

import psycopg
from psycopg import sql

from meltano_assets.streams import HISTORY_COLUMNS, LOADER_COLUMNS, Stream
from meltano_assets.warehouse import catalog
from meltano_assets.warehouse.catalog import SchemaChange
from meltano_assets.warehouse.schema import Table

#: How long a rename waits for readers of the table; whoever comes meanwhile waits behind it.
_LOCK_PATIENCE = "30s"

#: Option: the declaration was found in the data and is whole, as a CSV's header is.
IS_WHOLE = "whole_declaration"
#: Option: the declaration was found in the data, so that a frozen schema is the table's.
OBSERVED = "observed_columns"


def is_the_table_authority(stream: Stream) -> bool:
    """True when a closed schema means the table's, since what the data brings is no declaration."""
    is_closed = stream.options.get("schema_policy", "evolve") != "evolve"
    return is_closed and bool(stream.options.get(OBSERVED))


def rename_columns(
    connection: psycopg.Connection, stream: Stream, live: Table, load_id: str
) -> list[SchemaChange]:
    """Give columns the names that they are declared under now, and write it down.

    A column is renamed when ``renamed_from`` says so, or when the vendor's id of its field is known under
    another name; not when the new name is taken already.
    """
    known = catalog.known_columns(connection, stream.source, stream.name)
    by_id = {one.field_id: one.column for one in known if one.field_id is not None}
    by_field = {one.field: one.column for one in known}
    declared = {column.name for column in stream.columns}
    moves: dict[str, str] = {}
    for column in stream.columns:
        if column.name in live.columns:
            continue
        said = column.renamed_from or ""
        candidates = [by_id.get(column.field_id or ""), by_field.get(said, said), said]
        for old in candidates:
            if old is None or old in LOADER_COLUMNS or old in HISTORY_COLUMNS:
                continue
            if old in live.columns and old not in {*declared, *moves}:
                moves[old] = column.name
                break
    if not moves:
        return []
    connection.execute("select set_config('lock_timeout', %s, true)", [_LOCK_PATIENCE])
    for old, new in moves.items():
        connection.execute(
            sql.SQL("alter table {} rename column {} to {}").format(
                live.name.sql, sql.Identifier(old), sql.Identifier(new)
            )
        )
    connection.execute("select set_config('lock_timeout', '0', true)")
    catalog.forget_columns(connection, stream.source, stream.name, moves)
    changes = [
        SchemaChange(str(live.name), new, f"renamed column {old} to") for old, new in moves.items()
    ]
    catalog.write_schema_changes(connection, stream.source, stream.name, changes, load_id)
    return changes


class Declaration:
    """A stream's declared columns beside those of earlier loads; what is new is written once."""

    def __init__(self, connection: psycopg.Connection, stream: Stream) -> None:
        self._stream = stream
        known = catalog.known_columns(connection, stream.source, stream.name)
        is_observed = bool(stream.options.get(OBSERVED))
        self._is_whole = bool(stream.columns) and (
            not is_observed or bool(stream.options.get(IS_WHOLE))
        )
        declared = {column.name for column in stream.columns}
        self._missing = {
            one.column
            for one in known
            # What tells of a record's transport is there or not as the target is asked to.
            if one.is_declared and not one.is_gone and not one.field.startswith("_sdc_")
        } - declared
        self._gone = {one.column for one in known if one.is_gone}
        before = {(one.field, one.column, one.field_id, one.is_declared) for one in known}
        wanted = {
            (column.vendor_field, column.name, column.field_id, self._is_whole)
            for column in stream.columns
        }
        self._news = sorted(wanted - before, key=str)

    def write(
        self,
        connection: psycopg.Connection,
        live: Table | None,
        delivered: Collection[str],
        load_id: str,
    ) -> list[SchemaChange]:
        """Note new declarations, fields that are gone and fields that are back."""
        stream = self._stream
        catalog.write_columns(connection, stream.source, stream.name, self._news, load_id)
        self._news = []
        there = {*live.columns} if live is not None else set()
        gone = (self._missing & there) - {*delivered} if self._is_whole else set()
        back = self._gone & {*delivered, *(column.name for column in stream.columns)}
        self._missing -= gone
        self._gone = (self._gone | gone) - back
        catalog.mark_columns(connection, stream.source, stream.name, gone, back)
        table = f"{stream.source}.{stream.name}"
        return [
            *(SchemaChange(table, column, "field is gone, kept column") for column in sorted(gone)),
            *(SchemaChange(table, column, "field is back, column") for column in sorted(back)),
        ]
