"""Large replaced tables are filled by several connections (L1, L2, L8): nobody can tell but by the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from meltano_assets.errors import FatalError, PlatformError
from meltano_assets.streams import Batch, Column, ColumnType
from meltano_assets.warehouse import fill
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse.tables import batch, query, stream

COLUMNS: dict[str, ColumnType] = {"id": "bigint", "v": "integer", "text": "text"}
THINGS = stream(COLUMNS, disposition="replace", replication_key=None)
HIDDEN = "select relname from pg_class where relname like 'meltano_new%'"
#: How many transactions the rows come from.
TRANSACTIONS = "select count(distinct xmin::text) from shop.things"


@pytest.fixture(autouse=True)
def _every_load_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "LARGE_BYTES", 0)
    monkeypatch.setattr(fill, "WIDE_ROW", 0)
    monkeypatch.setattr(fill, "_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(fill, "_is_logged", lambda connection: True)


def part(start: int, v: int, rows: int = 50) -> Batch:
    return batch([{"id": id, "v": v, "text": "é" * 20} for id in range(start, start + rows)])


def parts(v: int, number: int = 6) -> Iterator[Batch]:
    for start in range(number):
        yield part(50 * start, v)


def test_rows_of_several_connections_make_one_table(warehouse: Warehouse) -> None:
    for v in (1, 2):
        outcome = load(warehouse, THINGS, parts(v))
        assert outcome.is_balanced and outcome.inserted == 300
        assert query(warehouse, "select count(*), min(v), max(v) from shop.things") == [(300, v, v)]
        assert query(warehouse, TRANSACTIONS) == [(3,)]
        assert query(warehouse, "select distinct _load_id from shop.things") == [(outcome.load_id,)]
        assert query(warehouse, HIDDEN) == []
    with pytest.raises(PlatformError):
        query(warehouse, "insert into shop.things (id) values (7)")


def test_columns_come_and_widen_while_several_fill(warehouse: Warehouse) -> None:
    def wider() -> Iterator[Batch]:
        yield from parts(1, 3)
        yield batch([{"id": 900, "v": 2**40, "text": "a", "late": 1.5}])
        yield part(1000, 2)

    outcome = load(warehouse, THINGS, wider())
    assert outcome.inserted == 201
    assert query(warehouse, "select v, late from shop.things where id = 900") == [(2**40, 1.5)]
    assert query(warehouse, TRANSACTIONS) != [(1,)]


@pytest.mark.parametrize("replication_key", [None, "v"])
def test_a_key_that_comes_again_has_the_values_read_last_or_newest(
    warehouse: Warehouse, replication_key: str | None
) -> None:
    one = replace(THINGS, replication_key=replication_key)

    def again() -> Iterator[Batch]:
        yield from parts(5)
        # A column that nobody had before, too.
        yield batch([{"id": id, "v": 9 if id % 2 else 1, "new": "x"} for id in range(200, 320)])
        yield part(300, 4)

    outcome = load(warehouse, one, again())
    assert (outcome.read, outcome.inserted, outcome.superseded) == (470, 350, 120)
    # Read last are the 9s and 1s below 300 and then the 4s; newest the 5s and 9s.
    found = query(warehouse, "select v, count(*) from shop.things group by v order by v")
    last = [(1, 50), (4, 50), (5, 200), (9, 50)]
    assert found == (last if replication_key is None else [(4, 40), (5, 250), (9, 60)])
    assert query(warehouse, HIDDEN) == []


def test_a_failed_load_leaves_neither_rows_nor_tables(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, parts(1))

    def broken() -> Iterator[Batch]:
        yield from parts(2)
        assert query(warehouse, HIDDEN) != []
        raise FatalError("the source broke")

    with pytest.raises(FatalError, match="the source broke"):
        load(warehouse, THINGS, broken())
    with pytest.raises(FatalError, match="less than"):
        load(warehouse, THINGS, parts(2, 2))
    assert query(warehouse, "select count(*), min(v), max(v) from shop.things") == [(300, 1, 1)]
    assert query(warehouse, HIDDEN) == []


def test_readers_with_older_snapshots_keep_the_old_rows(warehouse: Warehouse) -> None:
    """One that began before the load makes one connection fill; one that began meanwhile is spared."""
    load(warehouse, THINGS, parts(1))
    for begins_before in (True, False):
        with warehouse.connect() as reader:

            def begin(reader=reader) -> None:  # type: ignore[no-untyped-def] # of the loop
                reader.execute("set transaction isolation level repeatable read")
                reader.execute("select count(*) from pg_class")

            def during(begins_before: bool = begins_before) -> Iterator[Batch]:
                yield from parts(2, 3)
                if not begins_before:
                    begin()
                yield from (part(start, 2) for start in (150, 200, 250))

            if begins_before:
                begin()
            load(warehouse, THINGS, during())
            row = reader.execute("select count(*) from shop.things").fetchone()
            assert row == (300,)
        assert query(warehouse, "select count(*), min(v), max(v) from shop.things") == [(300, 2, 2)]
        assert query(warehouse, HIDDEN) == []


def test_readers_never_see_part_of_a_table_that_several_fill(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, parts(1))
    stop = threading.Event()
    seen: set[object] = set()

    def look() -> None:
        with warehouse.connect(autocommit=True) as connection:
            while not stop.is_set():
                seen.update(
                    connection.execute("select count(*), count(distinct v) from shop.things")
                )

    readers = [threading.Thread(target=look) for _ in range(2)]
    for thread in readers:
        thread.start()
    for v in range(2, 8):
        load(warehouse, THINGS, parts(v))
    stop.set()
    for thread in readers:
        thread.join()
    assert seen == {(300, 1)}


def test_records_set_aside_go_with_the_load(warehouse: Warehouse) -> None:
    """What was written before the table was committed would outlive a load that fails."""
    one = replace(THINGS, columns=(*THINGS.columns, Column("at", "timestamptz")))

    def broken() -> Iterator[Batch]:
        yield from parts(1, 3)
        yield batch([{"id": 700, "v": 1, "text": "a", "at": "never"}])
        raise FatalError("the source broke")

    with pytest.raises(FatalError, match="the source broke"):
        load(warehouse, one, broken())
    assert query(warehouse, "select to_regclass('shop.things__quarantine')") == [(None,)]
    assert query(warehouse, HIDDEN) == []


def test_what_a_killed_load_left_is_dropped_by_the_next_of_any_stream(warehouse: Warehouse) -> None:
    other = stream(COLUMNS, name="other", disposition="replace")
    load(warehouse, THINGS, parts(1))
    query(warehouse, "create table shop.meltano_new_0123456789ab (id bigint)")
    query(warehouse, "create table shop.meltano_new_customers (id bigint)")

    def during() -> Iterator[Batch]:
        yield from parts(2, 3)
        # What another load is filling is none of those.
        load(warehouse, other, parts(1))
        assert len(query(warehouse, HIDDEN)) == 2
        yield from (part(start, 2) for start in (150, 200, 250))

    load(warehouse, THINGS, during())
    assert query(warehouse, HIDDEN) == [("meltano_new_customers",)]
    assert query(warehouse, "select count(*), min(v) from shop.things") == [(300, 2)]
