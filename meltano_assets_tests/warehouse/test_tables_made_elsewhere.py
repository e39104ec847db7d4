"""Tables that somebody else made: filled as they are, or refused in words that say what to do (L4, L9)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from psycopg.conninfo import make_conninfo

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, Column, Disposition, Stream
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.replay import replay
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.warehouse.tables import batch, query, stream

THINGS = stream({"id": "bigint", "v": "integer"})
RECORD = batch([{"id": 1, "v": 2}])


def make(warehouse: Warehouse, *statements: str) -> None:
    for statement in ("create schema if not exists shop", *statements):
        query(warehouse, statement)


@pytest.mark.parametrize("key", ["primary key", ""])
@pytest.mark.parametrize("disposition", ["upsert", "append", "replace"])
def test_a_column_in_other_letters_is_refused_before_anything_is_read(
    warehouse: Warehouse, disposition: Disposition, key: str
) -> None:
    make(warehouse, f'create table shop.things ("ID" bigint {key}, v integer)')

    def unread() -> object:
        raise AssertionError("the source was asked")
        yield

    things = Stream(
        "shop",
        "things",
        (Column("id", "bigint", field="ID"), Column("v", "integer")),
        primary_key=("id",),
        disposition=disposition,
    )
    with pytest.raises(FatalError, match=r'column "ID".*rename column "ID" to id'):
        load(warehouse, things, unread())  # type: ignore[arg-type] # it yields nothing
    query(warehouse, 'alter table shop.things rename column "ID" to id')
    assert load(warehouse, things, [batch([{"ID": 1, "v": 2}])]).inserted == 1


def test_a_new_field_does_not_become_the_twin_of_a_column_in_other_letters(
    warehouse: Warehouse,
) -> None:
    make(warehouse, 'create table shop.things (id bigint primary key, "Colour" text)')
    with pytest.raises(FatalError, match='column "Colour"'):
        load(warehouse, THINGS, [batch([{"id": 1, "colour": "red"}])])
    both = stream({"id": "bigint", "Colour": "text", "colour": "text"})
    load(warehouse, both, [batch([{"id": 1, "Colour": "red", "colour": "blue"}])])
    assert query(warehouse, 'select "Colour", colour from shop.things') == [("red", "blue")]


def test_another_key_is_refused_before_anything_is_read(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [RECORD])
    pairs = stream({"id": "bigint", "v": "integer"}, primary_key=("id", "v"))

    def unread() -> object:
        raise AssertionError("the source was asked")
        yield

    with pytest.raises(FatalError, match=r"primary key \(id\), the stream's is \(id, v\)"):
        load(warehouse, pairs, unread())  # type: ignore[arg-type] # it yields nothing
    query(warehouse, "alter table shop.things drop constraint things_pkey")
    load(warehouse, pairs, [batch([{"id": 1, "v": 2}, {"id": 1, "v": 3}])])
    assert query(warehouse, "select id, v from shop.things order by v") == [(1, 2), (1, 3)]


def test_a_replaced_table_takes_the_key_that_is_declared_now(warehouse: Warehouse) -> None:
    pairs = stream({"id": "bigint", "v": "integer"}, primary_key=("id", "v"))
    load(warehouse, pairs, [RECORD])
    load(warehouse, THINGS, [batch([{"id": 1}])], full_refresh=True)
    assert query(warehouse, "select id, v from shop.things") == [(1, None)]
    again = load(warehouse, THINGS, [batch([{"id": 1, "v": 5}])])
    assert (again.updated, again.inserted) == (1, 0)


def test_a_column_that_demands_a_value_is_named_with_the_table_that_people_know(
    warehouse: Warehouse,
) -> None:
    make(warehouse, "create table shop.things (id bigint primary key, code text not null)")
    with pytest.raises(FatalError, match=r"no null in column code.*drop not null"):
        load(warehouse, replace(THINGS, disposition="replace"), [RECORD])
    query(warehouse, "alter table shop.things alter column code set default 'x'")
    load(warehouse, replace(THINGS, disposition="replace"), [RECORD])
    assert query(warehouse, "select id, code from shop.things") == [(1, "x")]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("create view shop.things as select 1 as id", "is a view"),
        ("create materialized view shop.things as select 1 as id", "is a materialized view"),
        ("create sequence shop.things", "is a sequence"),
        ("create domain shop.things as integer", "already exists.*something else has this name"),
        ("create table shop.things (id bigint primary key deferrable, v integer)", "deferrable"),
        ("create table shop.things (id bigint primary key, _deleted_at boolean)",
         "_deleted_at of type boolean"),
    ],
)  # fmt: skip
def test_what_no_load_can_fill_is_told_with_the_next_step(
    warehouse: Warehouse, statement: str, told: str
) -> None:
    make(warehouse, statement)
    for _ in range(2):
        with pytest.raises(FatalError, match=told):
            load(warehouse, THINGS, [RECORD])
    log = query(warehouse, "select status, inserted from meltano.load_log")
    assert log == [("failed", 0)] * 2


TABLE = "create table shop.things (id bigint primary key, v integer)"
#: What a table may demand, so that it refuses a record whose v is 13.
DEMANDS = {
    "check": [TABLE, "alter table shop.things add check (v <> 13)"],
    "foreign key": [
        "create table shop.kinds (v integer primary key)",
        "insert into shop.kinds select n from generate_series(0, 12) as n",
        "create table shop.things (id bigint primary key, v integer references shop.kinds)",
    ],
    "trigger": [
        TABLE,
        "create function shop.no() returns trigger language plpgsql as"
        " 'begin if new.v = 13 then raise exception ''secret''; end if; return new; end'",
        "create trigger no before insert or update on shop.things"
        " for each row execute function shop.no()",
    ],
    "partition": [
        "create table shop.things (id bigint, v integer, primary key (id, v)) partition by range (v)",
        "create table shop.low partition of shop.things for values from (0) to (13)",
    ],
    "deferred foreign key": [
        "create table shop.kinds (v integer primary key)",
        "insert into shop.kinds select n from generate_series(0, 12) as n",
        "create table shop.things (id bigint primary key,"
        " v integer references shop.kinds deferrable initially deferred)",
    ],
    "deferred trigger": [
        TABLE,
        "create function shop.no() returns trigger language plpgsql as"
        " 'begin if new.v = 13 then raise exception ''secret''; end if; return null; end'",
        "create constraint trigger no after insert or update on shop.things"
        " deferrable initially deferred for each row execute function shop.no()",
    ],
    "overflow": [
        "create table shop.things (id bigint primary key, v integer,"
        " big integer generated always as (v * 165191050) stored)"
    ],
}


@pytest.mark.parametrize("rows", [40, 2_000])
@pytest.mark.parametrize("disposition", ["upsert", "append", "replace"])
@pytest.mark.parametrize("demand", DEMANDS)
def test_a_record_that_the_table_refuses_is_set_aside_and_the_others_are_loaded(
    warehouse: Warehouse, demand: str, disposition: Disposition, rows: int
) -> None:
    make(warehouse, *DEMANDS[demand])
    key = ("id", "v") if demand == "partition" else ("id",)
    things = replace(THINGS, primary_key=key, disposition=disposition)
    bad = {3, rows - 1}
    for base in (0, rows):
        records = [
            {"id": base * (disposition != "replace") + n, "v": 13 if n in bad else n % 13}
            for n in range(rows)
        ]
        outcome = load(warehouse, things, [batch(records)])
        assert (outcome.inserted, outcome.quarantined) == (rows - 2, 2)
        assert outcome.is_balanced
    total = (rows - 2) * (1 if disposition == "replace" else 2)
    assert query(warehouse, "select count(*) from shop.things where v <> 13") == [(total,)]
    waiting = query(warehouse, "select record::jsonb ->> 'v', reason from shop.things__quarantine")
    assert [v for v, _ in waiting] == ["13"] * 4
    assert all(why.startswith("the table refuses it: ") for _, why in waiting)
    assert "secret" not in str(waiting)


@pytest.mark.parametrize("full_refresh", [False, True])
@pytest.mark.parametrize("replication_key", [None, "at"])
@pytest.mark.parametrize("demand", ["check", "foreign key", "trigger"])
def test_a_version_that_the_table_refuses_is_set_aside_and_the_others_are_kept(
    warehouse: Warehouse, demand: str, replication_key: str | None, full_refresh: bool
) -> None:
    make(warehouse, *DEMANDS[demand])
    things = stream(
        {"id": "bigint", "v": "integer", "at": "date"},
        disposition="scd2",
        replication_key=replication_key,
    )
    for day in (1, 2):
        records = [
            {"id": n, "v": 13 if n == 7 else day, "at": date(2026, 1, day)} for n in range(20)
        ]
        outcome = load(warehouse, things, [batch(records)], full_refresh=full_refresh)
        assert (outcome.inserted, outcome.quarantined) == (19, 1) and outcome.is_balanced
    rows = query(
        warehouse, "select v, count(*), count(_valid_to) from shop.things group by 1 order by 1"
    )
    assert rows == [(1, 19, 19), (2, 19, 0)]


@pytest.mark.parametrize("full_refresh", [False, True])
@pytest.mark.parametrize("replication_key", [None, "at"])
def test_of_several_versions_of_a_key_the_table_keeps_those_that_it_takes(
    warehouse: Warehouse, replication_key: str | None, full_refresh: bool
) -> None:
    make(warehouse, *DEMANDS["check"])
    things = stream(
        {"id": "bigint", "v": "integer", "at": "date"},
        disposition="scd2",
        replication_key=replication_key,
    )
    records = [
        {"id": n, "v": 13 if (n, day) == (7, 2) else day, "at": date(2026, 1, day)}
        for day in (1, 2)
        for n in range(20)
    ]
    load(warehouse, things, [batch([{"id": 7, "v": 9, "at": date(2025, 12, 1)}])])
    outcome = load(warehouse, things, [batch(records)], full_refresh=full_refresh)
    assert outcome.quarantined == 1 and outcome.is_balanced
    holds = "select v, count(*) from shop.things where _valid_to is null group by 1 order by 1"
    # What was read of the seventh before the record that is refused holds on.
    assert query(warehouse, holds) == [(1, 1), (2, 19)]
    versions = query(warehouse, "select count(*) from shop.things")
    assert versions == [(40 if replication_key else 21,)]


@pytest.mark.parametrize("disposition", ["upsert", "append", "replace"])
def test_what_a_table_looks_at_in_the_end_is_told_before_it(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    """A unique constraint that lets two rows change places sets aside only what is there twice."""
    make(
        warehouse,
        "create table shop.things (id bigint primary key, v integer unique deferrable initially deferred)",
        "insert into shop.things values (1, 1), (2, 2)",
    )
    records = [{"id": 1, "v": 2}, {"id": 2, "v": 1}, {"id": 3, "v": 3}, {"id": 4, "v": 3}]
    outcome = load(warehouse, replace(THINGS, disposition=disposition), [batch(records)])
    assert outcome.quarantined == 1 and outcome.is_balanced
    first = [(1, 1), (2, 2)] if disposition == "append" else [(1, 2), (2, 1)]
    assert query(warehouse, "select id, v from shop.things order by id")[:2] == first
    assert query(warehouse, "select count(*) from shop.things where v = 3") == [(1,)]


def test_rows_that_others_miss_at_the_end_are_no_new_records_fault(warehouse: Warehouse) -> None:
    make(
        warehouse,
        TABLE,
        "create table shop.others (v bigint references shop.things deferrable initially deferred)",
        "insert into shop.things values (1, 1), (2, 2)",
        "insert into shop.others values (2)",
    )
    things = replace(THINGS, disposition="replace")
    with pytest.raises(FatalError, match="foreign key"):
        load(warehouse, things, [batch([{"id": 1, "v": 5}, {"id": 3, "v": 5}])])
    load(warehouse, things, [batch([{"id": 2, "v": 5}, {"id": 3, "v": 5}])])
    assert query(warehouse, "select id, v from shop.things order by id") == [(2, 5), (3, 5)]
    assert query(warehouse, "select count(*) from meltano.load_log where status = 'failed'") == [
        (1,)
    ]


def test_refused_records_are_replayed_once_the_table_takes_them(warehouse: Warehouse) -> None:
    make(warehouse, *DEMANDS["check"])
    load(warehouse, THINGS, [batch([{"id": n, "v": 10 + n} for n in range(6)])])
    assert query(warehouse, "select count(*) from shop.things") == [(5,)]
    query(warehouse, "alter table shop.things drop constraint things_v_check")
    outcome = replay(warehouse, THINGS)
    assert outcome is not None and outcome.inserted == 1
    assert query(warehouse, "select id, v from shop.things where v = 13") == [(3, 13)]


@pytest.mark.parametrize("rows", [2, 40, 2_000])
@pytest.mark.parametrize("disposition", ["upsert", "append", "replace"])
def test_a_table_that_refuses_too_much_keeps_what_it_has(
    warehouse: Warehouse, disposition: Disposition, rows: int
) -> None:
    make(warehouse, *DEMANDS["trigger"], "insert into shop.things values (-1, 1)")
    things = replace(THINGS, disposition=disposition)
    with pytest.raises(FatalError, match=r"the function shop\.no refused"):
        load(warehouse, things, [batch([{"id": n, "v": 13} for n in range(rows)])])
    assert query(warehouse, "select id, v from shop.things") == [(-1, 1)]


@pytest.mark.parametrize("disposition", ["upsert", "append", "replace"])
def test_a_null_where_the_table_takes_none_sets_its_record_aside(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    things = replace(THINGS, disposition=disposition)
    load(warehouse, things, [RECORD])
    query(warehouse, "alter table shop.things alter column v set not null")
    outcome = load(
        warehouse, things, [batch([{"id": n, "v": None if n == 5 else n} for n in range(2, 9)])]
    )
    assert (outcome.inserted, outcome.quarantined) == (6, 1)
    demanded = "select attnotnull from pg_attribute where attrelid = 'shop.things'::regclass"
    assert query(warehouse, f"{demanded} and attname = 'v'") == [(True,)]
    with pytest.raises(FatalError, match="drop not null"):
        load(warehouse, things, [batch([{"id": n} for n in range(20, 25)])])


def test_what_a_trigger_says_is_left_out_since_it_may_hold_values(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [RECORD])
    query(warehouse, "create function shop.no() returns trigger language plpgsql as"
                     " 'begin raise exception ''secret %'', new.v; end'")  # fmt: skip
    query(warehouse, "create trigger no before insert on shop.things"
                     " for each row execute function shop.no()")  # fmt: skip
    with pytest.raises(FatalError, match=r"the function shop\.no refused \(P0001\)") as caught:
        load(warehouse, THINGS, [batch([{"id": n, "v": 777} for n in (5, 6)])])
    logged = query(warehouse, "select error from meltano.load_log where status = 'failed'")
    for text in (str(caught.value), str(caught.value.__context__), str(logged)):
        assert "secret" not in text and "777" not in text


def test_a_table_made_elsewhere_becomes_a_history(warehouse: Warehouse) -> None:
    make(warehouse, "create table shop.things (id bigint primary key, v integer)",
         "insert into shop.things values (1, 1), (2, 2)")  # fmt: skip
    load(warehouse, replace(THINGS, disposition="scd2"), [RECORD])
    rows = query(warehouse, "select id, v, _valid_to is null from shop.things order by id, v")
    assert rows == [(1, 1, False), (1, 2, True), (2, 2, True)]


@pytest.fixture
def restricted(warehouse: Warehouse) -> Iterator[tuple[Warehouse, str]]:
    """The warehouse for a role that owns nothing, and the role."""
    role = f"loader_{warehouse.database}"
    query(warehouse, f"create role {role} login password 'x'")
    parts = {**warehouse.parameters, "user": role, "password": "x"}
    yield Warehouse(make_conninfo("", **parts)), role
    query(warehouse, f"drop owned by {role}")
    query(warehouse, f"drop role {role}")


@pytest.mark.parametrize("disposition", ["upsert", "append", "replace"])
def test_a_table_of_another_owner_is_filled_with_the_rights_that_there_are(
    warehouse: Warehouse, restricted: tuple[Warehouse, str], disposition: Disposition
) -> None:
    theirs, role = restricted
    load(warehouse, THINGS, [RECORD])
    oid = query(warehouse, "select 'shop.things'::regclass::oid")
    query(warehouse, f"grant usage, create on schema shop to {role}")
    query(warehouse, f"grant usage on schema meltano to {role}")
    for schema in ("shop", "meltano"):
        query(
            warehouse,
            f"grant select, insert, update, delete on all tables in schema {schema} to {role}",
        )
    load(
        theirs,
        replace(THINGS, disposition=disposition),
        [batch([{"id": 1, "v": 3}, {"id": 4, "v": 4}])],
    )
    assert query(warehouse, "select 'shop.things'::regclass::oid") == oid
    first = 2 if disposition == "append" else 3
    assert query(warehouse, "select id, v from shop.things order by id") == [(1, first), (4, 4)]
    with pytest.raises(FatalError, match=r"must be owner of table things.*lacks this right"):
        load(theirs, THINGS, [batch([{"id": 1, "new": 3}])])


@pytest.mark.parametrize("rows", [2, 3_000])
@pytest.mark.parametrize("disposition", ["upsert", "append"])
def test_an_empty_table_is_filled_without_a_right_on_its_schema(
    warehouse: Warehouse, restricted: tuple[Warehouse, str], disposition: Disposition, rows: int
) -> None:
    theirs, role = restricted
    load(warehouse, THINGS, [RECORD])
    query(warehouse, "delete from shop.things")
    query(warehouse, f"grant usage on schema shop, meltano to {role}")
    query(warehouse, f"grant select, insert, update on shop.things to {role}")
    query(warehouse, f"grant select, insert, update on all tables in schema meltano to {role}")
    things = replace(THINGS, disposition=disposition)
    for value in (1, 2):
        load(theirs, things, [batch([{"id": n, "v": value} for n in range(rows)])])
    found = query(warehouse, "select v, count(*) from shop.things group by 1")
    assert found == [(2 if disposition == "upsert" else 1, rows)]


def test_forced_row_security_is_an_error_and_no_loss(
    warehouse: Warehouse, restricted: tuple[Warehouse, str]
) -> None:
    theirs, role = restricted
    query(warehouse, f"grant create on database {warehouse.database} to {role}")
    for disposition in ("upsert", "append", "replace"):
        things = replace(THINGS, name=disposition, disposition=disposition)  # type: ignore[arg-type]
        load(theirs, things, [RECORD])
        for what in ("enable", "force"):
            query(warehouse, f"alter table shop.{disposition} {what} row level security")
        query(warehouse, f"create policy few on shop.{disposition} using (id < 2)")
        with pytest.raises(FatalError, match=r"row-level security.*a policy has to let it"):
            load(theirs, things, [batch([{"id": 1, "v": 3}, {"id": 4, "v": 4}])])
        assert query(warehouse, f"select id, v from shop.{disposition}") == [(1, 2)]
        query(warehouse, f"create policy all_of_it on shop.{disposition} to {role} using (true)")
        load(theirs, things, [batch([{"id": 1, "v": 3}, {"id": 4, "v": 4}])])
        assert query(warehouse, f"select count(*) from shop.{disposition}") == [(2,)]


SETTINGS = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Tokyo",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "extra_float_digits": "-5",
    "search_path": "nowhere",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "lock_timeout": "1s",
    "row_security": "off",
    "idle_session_timeout": "300ms",
    "idle_in_transaction_session_timeout": "300ms",
    "transaction_timeout": "300ms",
}


@pytest.mark.parametrize("disposition", ["upsert", "append", "replace", "scd2"])
def test_odd_settings_of_the_database_change_nothing(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    known = {name for (name,) in query(warehouse, "select name from pg_settings")}
    for name, value in SETTINGS.items():
        if name not in known:  # transaction_timeout came with Postgres 17
            continue
        query(warehouse, f"alter database {warehouse.database} set {name} to '{value}'")
    every = stream(
        {"id": "bigint", "at": "timestamptz", "day": "date", "raw": "bytea", "doc": "jsonb",
         "amount": "numeric", "text": "text", "real": "double precision"},
        disposition=disposition,
    )  # fmt: skip
    row = {"at": datetime(2026, 1, 2, 3, tzinfo=UTC), "day": date(2026, 2, 1), "raw": b"\x00\\",
           "doc": '{"a": "\\u00e9"}', "amount": Decimal("1.50"), "text": "x\\y'\u20ac", "real": 0.1}  # fmt: skip
    later = {**row, "real": 0.12345678901234567}

    def slowly() -> Iterator[Batch]:
        yield batch([{"id": 1, **row}])
        time.sleep(0.4)
        yield batch([{"id": 2, **later}])

    load(warehouse, every, slowly())
    load(warehouse, every, [batch([{"id": 1, **later}, {"id": 2, **row}])])
    # A double becomes a numeric with all its digits.
    wide = replace(every, columns=tuple(
        replace(one, type="numeric") if one.name == "real" else one for one in every.columns))  # fmt: skip
    load(warehouse, wide, [batch([{"id": 3, **row, "real": "1e30"}])], allow_shrink=True)
    rows = query(warehouse, "select id, at::text, day::text, encode(raw, 'hex'), doc::text, amount::text,"
                            " text, real::text from shop.things order by id, real")  # fmt: skip
    told = (
        "2026-01-02 03:00:00+00",
        "2026-02-01",
        "005c",
        '{"a": "\u00e9"}',
        "1.50",
        "x\\y'\u20ac",
    )
    found = {(number, *rest[:-1]) for number, *rest in rows}
    assert found <= {(number, *told) for number in (1, 2, 3)} and rows[-1][0] == 3
    assert {rest[-1] for _, *rest in rows} <= {"0.1", repr(0.12345678901234567), "1" + "0" * 30}


def test_a_read_only_role_or_database_is_told_what_to_do(warehouse: Warehouse) -> None:
    query(warehouse, f"alter database {warehouse.database} set default_transaction_read_only to on")
    with pytest.raises(
        FatalError, match=r"read-only transaction.*standby.*default_transaction_read_only"
    ):
        load(warehouse, THINGS, [RECORD])


@pytest.mark.parametrize(
    ("encoding", "held", "refused"),
    [
        ("LATIN1", "é", "日"),
        ("WIN1252", "€", "日"),
        ("EUC_JP", "日", "😀"),
        ("SQL_ASCII", "日😀", None),
    ],
)
def test_what_the_databases_encoding_cannot_hold_is_set_aside_and_the_others_are_loaded(
    server: EmbeddedServer, encoding: str, held: str, refused: str | None
) -> None:
    name = f"in_{encoding.lower()}"
    with Warehouse(server.url("postgres")).connect(autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")
        connection.execute(
            f"create database {name} encoding '{encoding}' locale 'C' template template0"
        )
    other = Warehouse(server.url(name))
    texts = stream({"id": "bigint", "v": "text", "doc": "jsonb"})
    told = [held, *([refused] if refused else [])]
    records = [{"id": n, "v": text, "doc": None} for n, text in enumerate(told)]
    records += [{"id": 10 + n, "v": "x", "doc": json.dumps({"a": t})} for n, t in enumerate(told)]
    records.append({"id": 20, "v": None, "doc": json.dumps({"a": 1}) + held})
    outcome = load(other, texts, [batch(records)])
    assert (outcome.inserted, outcome.quarantined) == (2, 2 * len(told) - 1)
    assert query(other, "select id, v, doc ->> 'a' from shop.things order by 1") == [
        (0, held, None),
        (10, "x", held),
    ]
    waiting = query(other, "select record_number, record, reason from shop.things__quarantine")
    if refused:
        number, record, reason = waiting[0]
        assert number == 2 and encoding in reason and refused not in reason
        assert json.loads(record)["v"] == refused
        # A name has to be held, too.
        with pytest.raises(FatalError, match="encoding 'UTF8'") as caught:
            load(other, texts, [batch([{"id": 30, refused: "y"}])])
        assert "0x" not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("create table meltano.load_log (x integer)", "load_log.*no column id"),
        ("create view meltano.load_log as select 1 as x", "load_log.*no column id"),
        ("create table meltano.bookmarks (source integer)", "bookmarks.*no column id"),
        ("create table meltano.table_names (source text, stream integer)", "table_names.*stream"),
        ("create table meltano.sweep_calls (source text)", "sweep_calls.*no column stream"),
    ],
)
def test_a_table_of_another_shape_in_the_place_of_a_book_is_named(
    warehouse: Warehouse, statement: str, told: str
) -> None:
    query(warehouse, "create schema meltano")
    query(warehouse, statement)
    with pytest.raises(FatalError, match=rf"meltano\.{told}.*rename it"):
        load(warehouse, THINGS, [RECORD])
    with pytest.raises(FatalError, match=rf"meltano\.{told}"):
        state.read_bookmark(warehouse, "shop", "things")
    _, kind, name, *_ = statement.split()
    query(warehouse, f"alter {kind} {name} rename to theirs")
    assert load(warehouse, THINGS, [RECORD]).inserted == 1


def test_a_book_that_was_dropped_is_made_anew_and_one_that_was_changed_is_named(
    warehouse: Warehouse,
) -> None:
    load(warehouse, THINGS, [RECORD])
    query(warehouse, "drop table meltano.load_log, meltano.schema_changes")
    load(warehouse, THINGS, [RECORD])
    assert query(warehouse, "select unchanged from meltano.load_log") == [(1,)]
    query(warehouse, "alter table meltano.load_log rename column read to reads")
    with pytest.raises(FatalError, match=r"meltano\.load_log.*no column read \(bigint\)"):
        load(warehouse, THINGS, [RECORD])
