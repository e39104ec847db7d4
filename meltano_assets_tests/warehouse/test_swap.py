"""Replacing and widening tables that others use (L2, L4): views, grants, indexes, readers in the middle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg import sql

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.streams import Batch
from meltano_assets.warehouse import shrink
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.shrink import ShrinkGuard
from meltano_assets_tests.warehouse.tables import batch, query, stream

THINGS = stream({"id": "bigint", "v": "integer"}, disposition="replace")
UPSERTED = THINGS.with_disposition("upsert")


@pytest.fixture
def reader(warehouse: Warehouse) -> Iterator[str]:
    """A role of its own, as an analyst would have."""
    role = f"reader_{warehouse.database}"
    query(warehouse, f"create role {role}")
    yield role
    query(warehouse, f"drop owned by {role}")
    query(warehouse, f"drop role {role}")


def numbers(count: int, value: object) -> Batch:
    return batch([{"id": n, "v": value} for n in range(count)])


def dress(warehouse: Warehouse, reader: str) -> None:
    """Give the table what people give to tables."""
    for statement in (
        "create view shop.direct with (security_barrier = true) as select id, v from shop.things",
        "create view shop.above as select sum(v) as total from shop.direct",
        "comment on view shop.above is 'the total'",
        "comment on table shop.things is 'all things'",
        "create index things_v on shop.things (v) where v > 0",
        "grant select (id) on shop.things to {role}",
        "grant select on shop.above to {role} with grant option",
        "grant update on shop.things to public",
    ):
        query(warehouse, statement.replace("{role}", reader))


def dressing(warehouse: Warehouse, reader: str) -> list[object]:
    """Everything about the dress that must survive."""
    return [
        query(warehouse, "select * from shop.above"),
        query(warehouse, "select obj_description('shop.things'::regclass)"),
        query(warehouse, "select obj_description('shop.above'::regclass)"),
        query(warehouse, "select reloptions from pg_class where oid = 'shop.direct'::regclass"),
        query(
            warehouse,
            "select indexname, indexdef from pg_indexes where schemaname = 'shop' order by 1",
        ),
        query(warehouse, f"select has_column_privilege('{reader}', 'shop.things', 'id', 'select'),"
              f" has_column_privilege('{reader}', 'shop.things', 'v', 'select'),"
              f" has_table_privilege('{reader}', 'shop.things', 'update'),"
              f" has_table_privilege('{reader}', 'shop.above', 'select with grant option')"),
    ]  # fmt: skip


def test_views_grants_comments_and_indexes_survive_a_swap(
    warehouse: Warehouse, reader: str
) -> None:
    load(warehouse, THINGS, [numbers(3, 1)])
    dress(warehouse, reader)
    before = dressing(warehouse, reader)
    oid = query(warehouse, "select 'shop.things'::regclass::oid, 'shop.direct'::regclass::oid")
    load(warehouse, THINGS, [numbers(3, 1)])
    assert dressing(warehouse, reader) == before
    after = query(warehouse, "select 'shop.things'::regclass::oid, 'shop.direct'::regclass::oid")
    assert after[0][0] != oid[0][0] and after[0][1] == oid[0][1]


#: Everything that Postgres knows of a table but its rows and what numbers it goes by.
STANDING = """
select relpersistence, reloptions, reltablespace, relam, relowner, relacl::text, relreplident,
    relrowsecurity, relforcerowsecurity,
    (select reloptions from pg_class where oid = c.reltoastrelid),
    (select array_agg((attname, attnotnull, attstattarget, attoptions, attstorage, attcompression,
            col_description(attrelid, attnum), attacl)::text order by attname)
        from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped),
    (select array_agg((conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint'))::text
            order by conname) from pg_constraint where conrelid = c.oid),
    (select array_agg((pg_get_indexdef(indexrelid), obj_description(indexrelid, 'pg_class'),
            indisclustered, indisreplident,
            (select array_agg(attstattarget) from pg_attribute where attrelid = indexrelid))::text
            order by indexrelid::regclass::text) from pg_index where indrelid = c.oid),
    (select array_agg((pg_get_statisticsobjdef(oid), stxstattarget, stxowner,
            obj_description(oid, 'pg_statistic_ext'))::text order by stxname)
        from pg_statistic_ext where stxrelid = c.oid),
    (select array_agg(tgname order by tgname) from pg_trigger where tgrelid = c.oid and not tgisinternal),
    (select array_agg(polname order by polname) from pg_policy where polrelid = c.oid),
    (select array_agg(pubname order by pubname) from pg_publication_tables
        where schemaname = 'shop' and tablename = 'things')
from pg_class c where oid = 'shop.things'::regclass
"""


@pytest.mark.parametrize(
    "given",
    [
        [
            "alter table shop.things set unlogged",
            "alter table shop.things set (fillfactor = 70, toast.autovacuum_enabled = false)",
            "alter table shop.things alter v set statistics 500, alter v set (n_distinct = 5)",
            "alter table shop.things alter v set not null, alter v set default 7",
            "comment on column shop.things.v is 'a value'",
            "create index things_v on shop.things (v desc) include (id) with (fillfactor = 50)",
            "comment on index shop.things_v is 'newest first'",
            "create statistics shop.related on id, v from shop.things",
            "alter statistics shop.related set statistics 77",
            "comment on statistics shop.related is 'they go together'",
            "alter table shop.things rename constraint things_pkey to known_things",
        ],
        ["alter table shop.things set (autovacuum_enabled = false)"],
    ],
)
def test_what_people_gave_to_a_table_goes_over_to_the_one_that_takes_its_place(
    warehouse: Warehouse, given: list[str]
) -> None:
    load(warehouse, THINGS, [numbers(3, 1)])
    for statement in given:
        query(warehouse, statement)
    before = query(warehouse, STANDING)
    oid = query(warehouse, "select 'shop.things'::regclass::oid")
    for _ in range(2):
        load(warehouse, THINGS, [numbers(4, 2)])
        assert query(warehouse, STANDING) == before
    assert query(warehouse, "select 'shop.things'::regclass::oid") != oid


@pytest.mark.parametrize("kind", [THINGS, UPSERTED], ids=["replace", "upsert"])
def test_views_survive_the_widening_of_their_column(
    warehouse: Warehouse, reader: str, kind: object
) -> None:
    load(warehouse, THINGS, [numbers(3, 1)])
    dress(warehouse, reader)
    before = dressing(warehouse, reader)
    outcome = load(warehouse, kind, [numbers(2, "0.5")])  # type: ignore[arg-type]
    assert "widened column v (integer → numeric)" in outcome.schema_changes
    total = query(warehouse, "select total::text from shop.above")
    assert total == [("1.0",)] if kind is THINGS else [("2.0",)]
    after = dressing(warehouse, reader)
    assert after[1:4] + after[5:] == before[1:4] + before[5:]


@pytest.mark.parametrize("is_full_refresh", [False, True])
def test_materialized_views_and_comments_survive_the_widening_of_their_column(
    warehouse: Warehouse, reader: str, is_full_refresh: bool
) -> None:
    load(warehouse, UPSERTED, [numbers(3, 1)])
    for statement in (
        "create view shop.direct as select id, v from shop.things",
        "comment on column shop.direct.v is 'a number'",
        "create materialized view shop.held as select sum(v) as total from shop.direct",
        "create unique index held_total on shop.held (total)",
        "create materialized view shop.empty as select v from shop.things with no data",
        f"grant select on shop.held to {reader}",
    ):
        query(warehouse, statement)
    load(warehouse, UPSERTED, [numbers(3, "0.5")], full_refresh=is_full_refresh)
    assert query(warehouse, "select v::text from shop.direct where id = 1") == [("0.5",)]
    query(warehouse, "refresh materialized view concurrently shop.held")
    assert query(warehouse, "select total::text from shop.held") == [("1.5",)]
    assert query(
        warehouse,
        "select (select relispopulated from pg_class where oid = 'shop.empty'::regclass),"
        " col_description('shop.direct'::regclass, 2),"
        f" has_table_privilege('{reader}', 'shop.held', 'select')",
    ) == [(False, "a number", True)]


@pytest.mark.parametrize(
    "obstacle",
    [
        "create materialized view shop.held as select * from shop.things",
        "create table shop.other (thing bigint references shop.things)",
        "create function shop.noop() returns trigger language plpgsql as 'begin return new; end';"
        " create trigger t before insert on shop.things for each row execute function shop.noop()",
        "create policy p on shop.things using (true)",
        "alter table shop.things add constraint u unique (id, v)",
        "create view shop.whole as select things from shop.things",
        "create function shop.all_things() returns setof shop.things language sql as"
        " 'select * from shop.things'",
        "create table shop.heir () inherits (shop.things)",
        "create publication everything for all tables",
        "create publication shop_tables for tables in schema shop",
        "alter table shop.things force row level security",
        "alter table shop.things replica identity full",
        "alter table shop.things add column number serial",
        "cluster shop.things using things_pkey",
        "comment on constraint things_pkey on shop.things is 'the key'",
        "comment on index shop.things_pkey is 'the key'",
        "alter table shop.things drop constraint things_pkey,"
        " add constraint things_pkey primary key (id) include (v) with (fillfactor = 50)",
        "alter table shop.things add constraint positive check (v > 0)",
    ],
)
def test_a_table_whose_identity_matters_is_filled_in_place(
    warehouse: Warehouse, obstacle: str
) -> None:
    load(warehouse, THINGS, [numbers(3, 1)])
    query(warehouse, obstacle)
    oid = query(warehouse, "select 'shop.things'::regclass::oid")
    before = query(warehouse, STANDING)
    load(warehouse, THINGS, [numbers(4, 2)])
    assert query(warehouse, "select 'shop.things'::regclass::oid") == oid
    assert query(warehouse, STANDING) == before
    assert query(warehouse, "select id, v from shop.things order by id") == [
        (n, 2) for n in range(4)
    ]
    assert query(warehouse, "select relname from pg_class where relname like 'meltano_new%'") == []


@pytest.mark.parametrize("rule", ["no action", "restrict", "cascade", "set null"])
def test_rows_of_other_tables_that_refer_to_a_replaced_one_stay(
    warehouse: Warehouse, rule: str
) -> None:
    load(warehouse, THINGS, [numbers(3, 1)])
    query(
        warehouse,
        "create table shop.orders (n bigint, thing bigint references shop.things"
        f" on update cascade on delete {rule}); insert into shop.orders values (7, 1), (8, null)",
    )
    load(warehouse, THINGS, [numbers(4, 2)])
    assert query(warehouse, "select id, v from shop.things order by id") == [
        (n, 2) for n in range(4)
    ]
    assert query(warehouse, "select n, thing from shop.orders order by n") == [(7, 1), (8, None)]
    # What is to become of a row whose thing is gone, its table says itself.
    gone = [numbers(1, 3)]
    if rule in ("no action", "restrict"):
        with pytest.raises(FatalError, match=r"violates .*foreign key constraint"):
            load(warehouse, THINGS, gone, allow_shrink=True)
    else:
        load(warehouse, THINGS, gone, allow_shrink=True)
    left = {"cascade": [(8, None)], "set null": [(7, None), (8, None)]}
    orders = query(warehouse, "select n, thing from shop.orders order by n")
    assert orders == left.get(rule, [(7, 1), (8, None)])


def test_rows_that_others_refer_to_are_not_deleted_where_no_key_tells_them_again(
    warehouse: Warehouse,
) -> None:
    keyless = replace(THINGS, primary_key=())
    load(warehouse, keyless, [numbers(3, 1)])
    query(
        warehouse,
        "create unique index u on shop.things (id);"
        " create table shop.orders (thing bigint references shop.things (id) on delete cascade);"
        " insert into shop.orders values (1)",
    )
    with pytest.raises(FatalError, match=r"rows of other tables refer to shop\.things"):
        load(warehouse, keyless, [numbers(3, 2)])
    assert query(warehouse, "select v, count(*) from shop.things group by v") == [(1, 3)]
    assert query(warehouse, "select thing from shop.orders") == [(1,)]


def test_rows_of_a_table_that_inherits_stay(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [numbers(3, 1)])
    query(
        warehouse,
        "create table shop.heir () inherits (shop.things); insert into shop.heir values (9, 9)",
    )
    load(warehouse, THINGS, [numbers(3, 2)])
    assert query(warehouse, "select id, v from only shop.things order by id") == [
        (n, 2) for n in range(3)
    ]
    assert query(warehouse, "select id, v from shop.heir") == [(9, 9)]


@pytest.mark.parametrize("relation", ["shop.things", "shop.direct"])
def test_readers_never_see_a_replaced_table_empty_or_missing(
    warehouse: Warehouse, relation: str
) -> None:
    load(warehouse, THINGS, [numbers(50, 1)])
    query(warehouse, "create view shop.direct as select * from shop.things")
    stop = threading.Event()
    seen: list[tuple[int, int]] = []
    failures: list[str] = []

    def look() -> None:
        statement = sql.SQL("select count(*), count(distinct v) from " + relation)
        with warehouse.connect(autocommit=True) as connection:
            while not stop.is_set():
                try:
                    row = connection.execute(statement).fetchone()
                    seen.append((int(row[0]), int(row[1])))  # type: ignore[index]
                except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
                    failures.append(str(error))

    readers = [threading.Thread(target=look) for _ in range(3)]
    for thread in readers:
        thread.start()
    for value in range(2, 12):
        load(warehouse, THINGS, [numbers(50, value)])
    stop.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert set(seen) == {(50, 1)}


def test_a_transaction_with_an_older_snapshot_does_not_see_it_empty_either(
    warehouse: Warehouse,
) -> None:
    load(warehouse, THINGS, [numbers(5, 1)])
    with warehouse.connect() as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select count(*) from pg_class")
        load(warehouse, THINGS, [numbers(6, 2)])
        row = connection.execute("select count(*) from shop.things").fetchone()
    assert row == (6,)


@pytest.mark.parametrize("begins", ["before", "meanwhile"])
def test_an_older_snapshot_keeps_the_rows_of_a_table_that_changes_as_a_whole(
    warehouse: Warehouse, begins: str
) -> None:
    load(warehouse, UPSERTED, [numbers(11_000, 1)])

    def begin() -> None:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from pg_class")

    def during() -> Iterator[Batch]:
        yield numbers(11_000, 2)
        if begins == "meanwhile":
            begin()

    with warehouse.connect() as reader:
        if begins == "before":
            begin()
        outcome = load(warehouse, UPSERTED, during())
        row = reader.execute("select count(*), min(v), max(v) from shop.things").fetchone()
    assert row == (11_000, 1, 1)
    assert outcome.updated == 11_000
    assert query(warehouse, "select count(*), min(v) from shop.things") == [(11_000, 2)]


@pytest.mark.parametrize("is_plain", [True, False])
def test_every_row_of_a_replaced_table_tells_its_load(warehouse: Warehouse, is_plain: bool) -> None:
    load(warehouse, THINGS, [numbers(3, 1)])
    if not is_plain:
        query(warehouse, "comment on column shop.things._load_id is 'whence'")
        query(warehouse, "alter table shop.things add check (_loaded_at > '2001-01-01')")
    query(warehouse, "create view shop.seen as select * from shop.things")
    outcome = load(warehouse, THINGS, [numbers(4, 2)])
    later = load(warehouse, UPSERTED, [numbers(5, 2)])
    found = query(
        warehouse,
        "select _load_id, count(*), count(distinct _loaded_at), bool_and(_loaded_at <= now())"
        " from shop.seen group by _load_id order by 2 desc",
    )
    assert found == [(outcome.load_id, 4, 1, True), (later.load_id, 1, 1, True)]
    kept = query(
        warehouse,
        "select (select count(*) from pg_constraint where contype = 'c' and conrelid = a.attrelid),"
        " col_description(attrelid, attnum) from pg_attribute a"
        " where attrelid = 'shop.things'::regclass and attname = '_load_id'",
    )
    assert kept == ([(0, None)] if is_plain else [(1, "whence")])


@pytest.mark.parametrize("is_reachable", [True, False])
def test_a_large_table_that_would_shrink_is_left_as_it_was(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, is_reachable: bool
) -> None:
    """Counted by a session of its own, or else by the load's."""
    monkeypatch.setattr(shrink, "_LARGE_BYTES", 0)
    if not is_reachable:
        refusal = RetriableError("too many connections")
        monkeypatch.setattr(ShrinkGuard, "_count_aside", lambda *_: (_ for _ in ()).throw(refusal))
    load(warehouse, THINGS, [numbers(100, 1)])
    with pytest.raises(FatalError, match="10 rows where 100 are now"):
        load(warehouse, THINGS, [numbers(10, 2)])
    assert query(warehouse, "select count(*), max(v) from shop.things") == [(100, 1)]
    assert load(warehouse, THINGS, [numbers(99, 2)]).inserted == 99


def test_a_large_change_of_a_table_that_cannot_be_exchanged_is_made_in_place(
    warehouse: Warehouse,
) -> None:
    load(warehouse, UPSERTED, [numbers(11_000, 1)])
    query(warehouse, "alter table shop.things add constraint u unique (id, v)")
    oid = query(warehouse, "select 'shop.things'::regclass::oid")
    outcome = load(warehouse, UPSERTED, [numbers(11_000, 2)])
    assert (outcome.updated, outcome.inserted) == (11_000, 0)
    assert query(warehouse, "select 'shop.things'::regclass::oid") == oid


def test_first_loads_of_one_source_run_side_by_side(warehouse: Warehouse) -> None:
    def during() -> Iterator[Batch]:
        yield numbers(3, 1)
        load(warehouse, stream({"id": "bigint"}, name="others"), [batch([{"id": 1}])])

    load(warehouse, THINGS, during())
    assert query(warehouse, "select count(*) from shop.others") == [(1,)]


@pytest.mark.slow
def test_a_long_query_neither_blocks_the_load_nor_other_readers(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [numbers(5, 1)])
    with warehouse.connect() as connection:
        connection.execute("select count(*) from shop.things")
        load(warehouse, THINGS, [numbers(6, 2)])
        row = connection.execute("select count(*), max(v) from shop.things").fetchone()
    assert row == (6, 2)
    assert query(warehouse, "select relname from pg_class where relname like 'meltano_new%'") == []
