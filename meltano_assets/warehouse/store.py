"""What was staged, into the live table: merged by key, kept as versions, or merged into a new table.

All of it is part of the load's transaction. A table that is built beside and exchanged is not a matter
of this module but of ``swap.py``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import psycopg
from psycopg import sql

from meltano_assets.streams import ColumnType, Stream
from meltano_assets.warehouse import history, merge, refused, schema, standing, swap
from meltano_assets.warehouse.catalog import SchemaChange
from meltano_assets.warehouse.landing import Landing
from meltano_assets.warehouse.merge import Keys, Merged, Sample
from meltano_assets.warehouse.quarantine import REFUSED
from meltano_assets.warehouse.records import Rejected
from meltano_assets.warehouse.schema import LOADER_TYPES, Table, TableName
from meltano_assets.warehouse.snapshots import has_older_readers


@dataclass(slots=True)
class Stored:
    """What became of the staged records, and how the table's shape changed."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    deleted: int = 0
    refused: int = 0
    changes: list[SchemaChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Target:
    """One load's live table, in the load's transaction; ``refuse`` takes what it does not want."""

    connection: psycopg.Connection
    stream: Stream
    table: TableName
    keys: Keys
    load_id: str
    refuse: refused.Refuse

    def keep(
        self,
        landing: Landing,
        live: Table | None,
        types: Mapping[str, ColumnType],
        *,
        may_repeat: bool,
        only_missing: bool,
        max_shrink: float | None,
    ) -> Stored:
        """Into a history table: versions are added and closed.

        ``max_shrink`` is given where the records are all there are: versions whose key is not among
        them end, unless they are a larger share than that.
        """
        connection = self.connection
        changes = history.ensure(connection, self.table, live, types, self.keys)
        table = schema.find(connection, self.table, self.keys.primary)
        assert table is not None
        changes += schema.grow(connection, table, {**types, **LOADER_TYPES})
        stored = Stored(changes=changes)
        is_guarded = refused.may_keep_rows_out(connection, table.oid)
        if landing.rows:

            def keep(rows: sql.Composable) -> history.Kept:
                return history.keep(
                    connection,
                    rows,
                    self.table,
                    self.keys,
                    types,
                    landing.delivered,
                    has_deletes=landing.has_deletes,
                    may_repeat=may_repeat,
                    only_missing=only_missing,
                    is_whole=max_shrink is not None,
                    load_id=self.load_id,
                    is_guarded=is_guarded,
                )

            parts = refused.brought_in(
                connection,
                landing.sql,
                keep,
                landing.known,
                self._refuse(stored),
                # The versions of one key follow from one another.
                together=self.keys.primary if may_repeat else (),
            )
            versions = sum(part.versions for part in parts)
            stored.superseded = landing.rows - versions - stored.refused
            stored.inserted = sum(part.inserted for part in parts)
            stored.updated = sum(part.updated for part in parts)
            stored.deleted = sum(part.deleted for part in parts)
            stored.unchanged = versions - stored.inserted - stored.updated
        if max_shrink is not None:
            stored.deleted += history.end_missing(
                connection,
                landing.sql,
                self.table,
                self.keys,
                load_id=self.load_id,
                max_shrink=max_shrink,
            )
        return stored

    def merge(
        self,
        landing: Landing,
        live: Table,
        types: Mapping[str, ColumnType],
        *,
        may_repeat: bool,
        has_own: bool,
    ) -> Stored:
        """Into a table with one row per key, or behind the rows of one without.

        ``has_own`` says that rows of this transaction went straight into the table, and may be
        superseded by staged ones.
        """
        connection = self.connection
        stored = Stored(changes=schema.grow(connection, live, {**types, **LOADER_TYPES}))
        if not landing.rows:
            return stored
        columns, has_deletes = landing.delivered, landing.has_deletes
        if self.keys.primary:
            schema.require_key(connection, live, self.keys.primary)
        is_append = self.stream.disposition == "append"
        if may_repeat and self.keys.primary:
            own = merge.Own(self.table, self.load_id) if has_own else None
            stored.superseded = merge.keep_newest(
                connection, landing.sql, self.keys, columns, has_deletes=has_deletes, own=own
            )
            if own is not None:
                again, deleted = merge.supersede_own(
                    connection, landing.sql, own, self.keys, columns, has_deletes=has_deletes
                )
                stored.superseded += again
                stored.deleted += deleted if not is_append else 0
        sampled = Sample()
        if not is_append and self.keys.primary:
            sampled = merge.sample(
                connection, landing.sql, self.table, self.keys, columns, landing.rows
            )
        if self._pays_to_rewrite(landing, live, sampled):
            parts = [self._rewrite(landing, stored)]
        else:
            bring_in = partial(
                self._bring_in, live, columns, has_deletes, sampled.is_mostly_unchanged
            )
            if refused.may_keep_rows_out(connection, live.oid):
                bring_in = partial(self._bring_in_seen, bring_in, landing, self._refuse(stored))
            parts = refused.brought_in(
                connection, landing.sql, bring_in, landing.known, self._refuse(stored)
            )
            if stored.refused and stored.refused == landing.rows - stored.superseded:
                raise refused.kept_out(self.table, 0)
        for merged in parts:
            stored.inserted += merged.inserted
            stored.updated += merged.updated
            stored.deleted += merged.deleted
        stored.unchanged = landing.rows - stored.superseded - stored.refused
        stored.unchanged -= stored.inserted + stored.updated
        return stored

    def _bring_in(
        self,
        live: Table,
        columns: Sequence[str],
        has_deletes: bool,
        only_changed: bool,
        rows: sql.Composable,
    ) -> Merged:
        """Rows of one record a key, as the disposition wants it."""
        if not self.keys.primary:
            inserted = merge.insert_all(
                self.connection,
                rows,
                self.table,
                columns,
                has_deletes=has_deletes,
                load_id=self.load_id,
            )
            return Merged(inserted=inserted)
        if self.stream.disposition == "append":
            inserted = merge.insert_missing(
                self.connection,
                rows,
                self.table,
                self.keys,
                columns,
                has_deletes=has_deletes,
                load_id=self.load_id,
            )
            return Merged(inserted=inserted)
        return merge.upsert(
            self.connection,
            rows,
            self.table,
            self.keys,
            columns,
            has_deletes=has_deletes,
            load_id=self.load_id,
            is_partitioned=live.is_partitioned,
            only_changed=only_changed,
        )

    def _bring_in_seen(
        self,
        bring_in: Callable[[sql.Composable], Merged],
        landing: Landing,
        refuse: refused.Refuse,
        rows: sql.Composable,
    ) -> Merged:
        """Rows into a table whose triggers or rules may drop some of them without a word."""
        merged = bring_in(rows)
        if not self.keys.primary:
            count = sql.SQL("select count(*) from {}").format(rows)
            row = self.connection.execute(count).fetchone()
            if row is None or row[0] != merged.inserted:
                raise refused.kept_out(self.table, merged.inserted)
            return merged
        for record in merge.kept_out(
            self.connection,
            rows,
            self.table,
            self.keys,
            landing.delivered,
            has_deletes=landing.has_deletes,
            load_id=self.load_id,
            is_append=self.stream.disposition == "append",
        ):
            refuse(Rejected(record, f"{REFUSED}: a trigger or rule keeps it out", None))
        return merged

    def _refuse(self, stored: Stored) -> refused.Refuse:
        def take(rejected: Rejected) -> None:
            stored.refused += 1
            self.refuse(rejected)

        return take

    def _pays_to_rewrite(self, landing: Landing, live: Table, sampled: Sample) -> bool:
        connection = self.connection
        return (
            merge.pays_to_rewrite(connection, self.table, landing.rows, sampled)
            and standing.is_movable(connection, live)
            and not has_older_readers(connection)
        )

    def _rewrite(self, landing: Landing, stored: Stored) -> Merged:
        """Merge into a table beside and exchange the two."""
        connection = self.connection
        # Readers go on; a change that somebody else makes meanwhile would be lost, so it waits.
        connection.execute(
            sql.SQL("lock table {} in share row exclusive mode").format(self.table.sql)
        )
        live = schema.find(connection, self.table)
        assert live is not None
        beside, _ = swap.open_beside(
            connection,
            self.table,
            live,
            {},
            required=live.primary_key,
            suffix=secrets.token_hex(6),
            has_stamps=True,
        )
        merged = merge.rewrite(
            connection,
            landing.sql,
            self.table,
            beside.name,
            self.keys,
            landing.delivered,
            list(live.columns),
            has_deletes=landing.has_deletes,
            load_id=self.load_id,
        )
        schema.add_primary_key(
            connection, beside.name, live.primary_key, f"{beside.name.name}_pkey"
        )
        swap.exchange(
            connection,
            beside,
            self.table,
            is_reshaped=False,
            primary_key=live.primary_key,
            refuse=self._refuse(stored),
            is_frozen=False,
        )
        # Only a new row can lack a value that the table demands.
        return Merged(merged.inserted - stored.refused, merged.updated, merged.deleted)
