"""What the syncs remember, in schema ``salesforce_sync`` of the warehouse.

``runs``     one row per run of a sync: what it planned, did and how it ended
``changes``  the plan record by record; ``before`` is the before-image, ``after`` what is sent.
             Written before anything is sent, so that a run that was killed can be undone too.
``ledger``   one row per record that was ever sent or refused: hash of the row, state, reason
``rejects``  a view of the ledger: what is parked or failed, for people

All of it is kept by Salesforce organisation: what a sandbox refused says nothing of production.

Every method is one transaction. Belongs here: all SQL of the sync.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.salesforce_sync.plan import Change, LedgerEntry, Plan
from meltano_assets.salesforce_sync.results import PastChange, PastRun, Result, RunState, Tally
from meltano_assets.salesforce_sync.spec import SyncSpec

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg import Connection

    from meltano_assets.warehouse.connection import Warehouse

#: Stands in the schema's comment; raise it with every change of the tables.
_VERSION = "What was planned, sent to and refused by Salesforce (tables of version 2)"

_APPLICATION = "meltano-assets salesforce sync"

_TABLES = """
create schema if not exists salesforce_sync;
create table if not exists salesforce_sync.runs (
    number bigint generated always as identity primary key,
    org text not null default '',
    run_id text not null,
    sync text not null,
    object text not null,
    operation text not null,
    state text not null,
    is_pushed boolean not null,
    rows bigint not null default 0,
    to_create bigint not null default 0,
    to_update bigint not null default 0,
    created bigint not null default 0,
    updated bigint not null default 0,
    deleted bigint not null default 0,
    unchanged bigint not null default 0,
    parked bigint not null default 0,
    failed bigint not null default 0,
    skipped bigint not null default 0,
    requests bigint not null default 0,
    reasons jsonb not null default '{}',
    message text,
    reverts text,
    planned_at timestamptz not null,
    finished_at timestamptz
);
alter table salesforce_sync.runs add column if not exists org text not null default '';
create index if not exists runs_run_id on salesforce_sync.runs (run_id);
create index if not exists runs_sync on salesforce_sync.runs (sync, number);
create table if not exists salesforce_sync.changes (
    run_number bigint not null references salesforce_sync.runs on delete cascade,
    position bigint not null,
    sync text not null,
    key text not null,
    record_id text,
    action text not null,
    before jsonb not null,
    after jsonb not null,
    row_hash text not null,
    state text not null default 'planned',
    reason text,
    detail text,
    sent_at timestamptz,
    primary key (run_number, position)
);
create index if not exists changes_key on salesforce_sync.changes (key);
create index if not exists changes_record on salesforce_sync.changes (record_id);
create table if not exists salesforce_sync.ledger (
    org text not null default '',
    sync text not null,
    key text not null,
    object text not null,
    record_id text,
    state text not null,
    row_hash text not null,
    reason text,
    detail text,
    refused_by text,
    attempts bigint not null default 0,
    sent jsonb not null default '{}',
    sent_at timestamptz,
    run_id text not null,
    updated_at timestamptz not null,
    primary key (org, sync, key)
);
do $$ begin
    if not exists (select from information_schema.columns where table_schema = 'salesforce_sync'
        and table_name = 'ledger' and column_name = 'org') then
        alter table salesforce_sync.ledger add column org text not null default '';
        alter table salesforce_sync.ledger drop constraint ledger_pkey;
        alter table salesforce_sync.ledger add primary key (org, sync, key);
    end if;
end $$;
create index if not exists ledger_record on salesforce_sync.ledger (record_id);
drop view if exists salesforce_sync.rejects;
create view salesforce_sync.rejects as
    select org, sync, object, key, record_id, state, reason, detail, refused_by, attempts, run_id,
        updated_at
    from salesforce_sync.ledger
    where state in ('parked', 'failed');
comment on table salesforce_sync.runs is 'One row per run of a sync';
comment on table salesforce_sync.changes is 'One row per record that a run plans to write';
comment on table salesforce_sync.ledger is 'One row per record ever sent or refused';
comment on view salesforce_sync.rejects is 'Records that are waiting, and why';
"""


class OutcomeStore:
    """The sync's memory of one organisation (of all for looking back). ``ensure`` before use."""

    def __init__(self, warehouse: Warehouse, org: str = "") -> None:
        self._warehouse = warehouse
        self._org = org

    def ensure(self) -> None:
        """Create schema and tables where they are missing."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            # A look is enough as a rule: statements that create would wait for running syncs and
            # need rights that a reader has not.
            if self._version(connection) == _VERSION and not self._has_unnamed(connection):
                return
            # Two processes creating the same schema at once would trip over each other.
            connection.execute(
                "select pg_advisory_xact_lock(hashtextextended('salesforce_sync', 0))"
            )
            connection.execute(_TABLES)
            connection.execute(
                sql.SQL("comment on schema salesforce_sync is {}").format(sql.Literal(_VERSION))
            )
            # Tables of version 1 knew of one organisation only: the one that is asked now.
            for table in ("runs", "ledger"):
                connection.execute(
                    sql.SQL("update salesforce_sync.{} set org = %s where org = ''").format(
                        sql.Identifier(table)
                    ),
                    [self._org],
                )

    def _has_unnamed(self, connection: Connection) -> bool:
        query = "select exists (select from salesforce_sync.runs where org = '')"
        row = connection.execute(query).fetchone() if self._org else None
        return bool(row and row[0])

    @staticmethod
    def _version(connection: Connection) -> str | None:
        row = connection.execute(
            "select obj_description(to_regnamespace('salesforce_sync')::oid, 'pg_namespace')"
        ).fetchone()
        return row[0] if row else None

    @contextmanager
    def lock(self, spec: SyncSpec) -> Iterator[None]:
        """Exclude every other run of the sync, on any machine, until the block ends."""
        name = f"salesforce_sync.{self._org}.{spec.name}"
        with self._warehouse.connect(
            autocommit=True, application_name=f"{_APPLICATION} {spec.name}"
        ) as connection:
            row = connection.execute(
                "select pg_try_advisory_lock(hashtextextended(%s, 0))", [name]
            ).fetchone()
            if not row or not row[0]:
                raise RetriableError(
                    f"another run of sync {spec.name} is under way",
                    source="salesforce",
                    hint="try again when it has ended",
                )
            yield

    def read_rows(self, spec: SyncSpec) -> pa.Table:
        """The model's rows, every column as text (Postgres' own, in UTC)."""
        import pyarrow as pa

        from meltano_assets.warehouse.read import read_batches

        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            types = {
                str(name): str(kind)
                for name, kind in connection.execute(
                    "select column_name, data_type from information_schema.columns"
                    " where table_schema = %s and table_name = %s",
                    [spec.schema, spec.model],
                )
            }
            _check_columns(spec, types)
            columns = list(spec.columns)
            query = sql.SQL("select {} from {}").format(
                sql.SQL(", ").join(_as_text(name, types[name]) for name in columns),
                sql.Identifier(spec.schema, spec.model),
            )
        return pa.Table.from_batches(
            read_batches(self._warehouse, query, application_name=_APPLICATION)
        )

    def read_keys(self, spec: SyncSpec) -> set[str]:
        """The keys in a sync's model that are not parked: what it will create or has created."""
        rows = self.read_rows(spec)
        keys = {str(key) for key in rows.column(spec.key_column).to_pylist() if key is not None}
        parked = {key for key, entry in self.read_ledger(spec).items() if entry.state == "parked"}
        return keys - parked

    def read_ledger(self, spec: SyncSpec) -> dict[str, LedgerEntry]:
        """What planning has to know: records that wait, and under ``newest`` what was sent."""
        wants_sent = bool(spec.newest_fields)
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            rows = connection.execute(
                "select key, state, row_hash, reason, detail, refused_by, sent"
                " from salesforce_sync.ledger where org = %s and sync = %s"
                " and (state in ('parked', 'failed', 'reverted') or (%s and sent <> '{}'))",
                [self._org, spec.name, wants_sent],
            ).fetchall()
        return {
            key: LedgerEntry(state, row_hash, reason or "", detail or "", refused_by, sent)
            for key, state, row_hash, reason, detail, refused_by, sent in rows
        }

    def last_push(self, sync: str) -> int:
        """The number of the sync's last pushing run, 0 when there was none."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            row = connection.execute(
                "select coalesce(max(number), 0) from salesforce_sync.runs"
                " where org = %s and sync = %s and is_pushed",
                [self._org, sync],
            ).fetchone()
        return int(row[0]) if row else 0

    def start(
        self, plan: Plan, state: RunState, *, message: str | None = None, reverts: str | None = None
    ) -> int:
        """Write the plan down before anything is sent; returns the run's number.

        Plans that were never pushed are kept for the sync's last such run only. A run that was
        still pushing was killed: what it had not recorded becomes ``unknown``.
        """
        spec = plan.spec
        operation = "revert" if reverts else spec.operation
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            connection.execute(
                "update salesforce_sync.changes set state = 'unknown'"
                " where state = 'planned' and run_number in (select number"
                " from salesforce_sync.runs where org = %s and sync = %s and state = 'pushing')",
                [self._org, spec.name],
            )
            connection.execute(
                "update salesforce_sync.runs set state = 'interrupted'"
                " where org = %s and sync = %s and state = 'pushing'",
                [self._org, spec.name],
            )
            connection.execute(
                "delete from salesforce_sync.runs where org = %s and sync = %s and not is_pushed",
                [self._org, spec.name],
            )
            row = connection.execute(
                "insert into salesforce_sync.runs (org, run_id, sync, object, operation, state,"
                " is_pushed, rows, to_create, to_update, unchanged, parked, reasons, requests,"
                " message, reverts, planned_at)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " returning number",
                [
                    self._org,
                    plan.run_id,
                    spec.name,
                    spec.object,
                    operation,
                    state,
                    state == "pushing",
                    plan.rows,
                    plan.creations,
                    plan.updates,
                    plan.unchanged,
                    len(plan.parked),
                    _json(plan.reasons),
                    plan.requests,
                    message,
                    reverts,
                    plan.planned_at,
                ],
            ).fetchone()
            assert row is not None
            number = int(row[0])
            with (
                connection.cursor() as cursor,
                cursor.copy(
                    "copy salesforce_sync.changes (run_number, position, sync, key, record_id,"
                    " action, before, after, row_hash) from stdin"
                ) as copy,
            ):
                for position, change in enumerate(plan.changes):
                    copy.write_row(
                        (
                            number,
                            position,
                            spec.name,
                            change.key,
                            change.record_id,
                            change.action,
                            _json(change.before),
                            _json(change.after),
                            change.row_hash,
                        )
                    )
            parked = [each for each in plan.parked if each.key and not each.is_held]
            connection.execute(
                "insert into salesforce_sync.ledger as l (org, sync, object, key, record_id,"
                " state, row_hash, reason, detail, refused_by, run_id, updated_at)"
                " select distinct on (p.key) %s, %s, %s, p.key, p.record_id, 'parked', p.row_hash,"
                " p.reason, p.detail, 'plan', %s, %s"
                " from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])"
                " as p(key, record_id, row_hash, reason, detail)"
                " on conflict (org, sync, key) do update set state = excluded.state,"
                " record_id = coalesce(excluded.record_id, l.record_id),"
                " row_hash = excluded.row_hash, reason = excluded.reason,"
                " detail = excluded.detail, refused_by = excluded.refused_by,"
                " run_id = excluded.run_id, updated_at = excluded.updated_at"
                " where (l.state, l.row_hash, l.reason, l.detail) is distinct from"
                " (excluded.state, excluded.row_hash, excluded.reason, excluded.detail)",
                [
                    self._org,
                    spec.name,
                    spec.object,
                    plan.run_id,
                    plan.planned_at,
                    [each.key for each in parked],
                    [each.record_id for each in parked],
                    [each.row_hash for each in parked],
                    [each.reject.reason for each in parked],
                    [each.reject.detail for each in parked],
                ],
            )
            connection.execute(
                "update salesforce_sync.ledger set state = 'resolved', reason = null,"
                " detail = null, refused_by = null, run_id = %s, updated_at = %s"
                " where org = %s and sync = %s and key = any(%s) and state in ('parked', 'failed')",
                [plan.run_id, plan.planned_at, self._org, spec.name, list(plan.resolved)],
            )
        return number

    def record(self, number: int, plan: Plan, results: Sequence[Result], *, now: datetime) -> None:
        """What became of some changes, into history and ledger at once."""
        spec = plan.spec
        newest = spec.newest_fields
        sent = [
            _json(
                {name: text for name, text in each.change.after.items() if name.lower() in newest}
            )
            for each in results
        ]
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            connection.execute(
                "create temporary table results (key text, action text, record_id text, state text,"
                " reason text, detail text, row_hash text, sent jsonb) on commit drop"
            )
            with (
                connection.cursor() as cursor,
                cursor.copy("copy results from stdin") as copy,
            ):
                for each, sent_fields in zip(results, sent, strict=True):
                    copy.write_row(
                        (
                            each.change.key,
                            each.change.action,
                            each.record_id or each.change.record_id,
                            each.state,
                            each.reason or None,
                            each.detail or None,
                            each.change.row_hash,
                            sent_fields,
                        )
                    )
            connection.execute(
                "update salesforce_sync.changes c set state = r.state, reason = r.reason,"
                " detail = r.detail, record_id = coalesce(r.record_id, c.record_id),"
                " sent_at = case when r.state = 'sent' then %s end"
                " from results r where c.run_number = %s and c.key = r.key and c.action = r.action",
                [now, number],
            )
            connection.execute(
                "insert into salesforce_sync.ledger as l (org, sync, object, key, record_id, state,"
                " row_hash, reason, detail, refused_by, attempts, sent, sent_at, run_id,"
                " updated_at)"
                " select %s, %s, %s, key, record_id, state, row_hash, reason, detail,"
                " case when state = 'sent' then null else 'salesforce' end, 1,"
                " case when state = 'sent' then sent else '{}' end,"
                " case when state = 'sent' then %s::timestamptz end, %s, %s"
                " from results where state <> 'skipped'"
                " on conflict (org, sync, key) do update set state = excluded.state,"
                " record_id = coalesce(excluded.record_id, l.record_id),"
                " row_hash = excluded.row_hash, reason = excluded.reason,"
                " detail = excluded.detail, refused_by = excluded.refused_by,"
                " attempts = case when l.state in ('parked', 'failed')"
                " and l.row_hash = excluded.row_hash then l.attempts + 1 else 1 end,"
                " sent = l.sent || excluded.sent,"
                " sent_at = coalesce(excluded.sent_at, l.sent_at),"
                " run_id = excluded.run_id, updated_at = excluded.updated_at",
                [self._org, spec.name, spec.object, now, plan.run_id, now],
            )

    def finish(
        self,
        number: int,
        state: RunState,
        tally: Tally,
        *,
        requests: int,
        now: datetime,
        message: str | None = None,
    ) -> None:
        """Close a run with its counts."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            connection.execute(
                "update salesforce_sync.runs set state = %s, created = %s, updated = %s,"
                " deleted = %s, parked = parked + %s, failed = %s, skipped = %s,"
                " reasons = %s, requests = %s, message = %s, finished_at = %s"
                " where number = %s",
                [
                    state,
                    tally.created,
                    tally.updated,
                    tally.deleted,
                    tally.parked,
                    tally.failed,
                    tally.skipped,
                    _json(tally.reasons),
                    requests,
                    message,
                    now,
                    number,
                ],
            )
            if state != "done":
                connection.execute(
                    "update salesforce_sync.changes set state = 'unknown'"
                    " where run_number = %s and state = 'planned'",
                    [number],
                )

    def mark_reverted(self, spec: SyncSpec, hashes: Mapping[str, str], now: datetime) -> None:
        """Let the records rest until their rows change; else the next run repeats the undone."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            connection.execute(
                "update salesforce_sync.ledger l set state = 'reverted', row_hash = r.row_hash,"
                " reason = 'reverted', detail = 'undone by a revert', refused_by = null, sent = '{}',"
                " updated_at = %s"
                " from unnest(%s::text[], %s::text[]) as r(key, row_hash)"
                " where l.org = %s and l.sync = %s and l.key = r.key",
                [now, list(hashes), list(hashes.values()), self._org, spec.name],
            )

    def pushed_runs(self, run_id: str) -> list[PastRun]:
        """The pushing runs with this id, last first."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            rows = connection.execute(
                "select number, run_id, sync, operation, state, is_pushed, planned_at, finished_at"
                " from salesforce_sync.runs"
                " where org = %s and run_id = %s and is_pushed order by number desc",
                [self._org, run_id],
            ).fetchall()
        return [PastRun(*row) for row in rows]

    def recent_runs(self, limit: int = 20) -> list[dict[str, object]]:
        """The last runs with their counts, last first."""
        return self._dicts(
            "select * from salesforce_sync.runs order by number desc limit %s", [limit]
        )

    def changes_of(self, run: PastRun) -> list[PastChange]:
        """What a run sent, or may have sent."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            rows = connection.execute(
                "select run_number, position, sync, key, record_id, before, after, row_hash,"
                " action, state, reason, detail, sent_at from salesforce_sync.changes"
                " where run_number = %s and state in ('sent', 'unknown', 'planned')"
                " order by position",
                [run.number],
            ).fetchall()
        past = []
        for row in rows:
            number, position, sync, key, record_id, before, after, row_hash, action, *rest = row
            change = Change(
                key=key,
                record_id=record_id,
                before=before,
                after=after,
                row_hash=row_hash,
                action=action,
            )
            past.append(PastChange(number, position, sync, change, *rest))
        return past

    def history(self, record: str) -> dict[str, list[dict[str, object]]]:
        """What is known of a record by its key or Salesforce id: ``ledger`` and ``changes``."""
        return {
            "ledger": self._dicts(
                "select * from salesforce_sync.ledger where key = %s or record_id = %s"
                " order by sync",
                [record, record],
            ),
            "changes": self._dicts(
                "select r.org, r.run_id, r.operation, r.state as run_state, r.planned_at, c.*"
                " from salesforce_sync.changes c"
                " join salesforce_sync.runs r on r.number = c.run_number"
                " where c.key = %s or c.record_id = %s order by c.run_number desc",
                [record, record],
            ),
        }

    def _dicts(self, query: str, parameters: Sequence[object]) -> list[dict[str, object]]:
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            cursor = connection.execute(query, parameters)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _check_columns(spec: SyncSpec, types: Mapping[str, str]) -> None:
    if not types:
        raise FatalError(
            f"model {spec.relation} of sync {spec.name} is not in the warehouse",
            hint="materialize the dbt models first, or correct the sync's `model`",
        )
    for name in spec.columns:
        if name not in types:
            close = difflib.get_close_matches(name, types, n=1)
            raise FatalError(
                f"model {spec.relation} of sync {spec.name} has no column {name}",
                hint=f"did you mean {close[0]}?" if close else None,
            )


def _as_text(name: str, data_type: str) -> sql.Composed:
    form = "array_to_string({}, ';') as {}" if data_type == "ARRAY" else "{}::text as {}"
    return sql.SQL(form).format(sql.Identifier(name), sql.Identifier(name))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
