"""Records with new keys go straight into the live table (L1, L3, L8): nobody can tell but by the time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest

from meltano_assets.errors import RetriableError
from meltano_assets.streams import Batch, ColumnType, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.straight import FEW_ROWS
from meltano_assets_tests.warehouse.tables import batch, query, stream

COLUMNS: dict[str, ColumnType] = {"id": "bigint", "name": "text", "at": "timestamptz"}
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
Record = dict[str, object]


def records(keys: Iterator[int] | range, text: str = "n", days: int = 0) -> list[Record]:
    at = MONDAY + timedelta(days=days)
    return [{"id": key, "name": f"{text}{key}", "at": at} for key in keys]


def filled(warehouse: Warehouse, one: Stream, keys: range) -> None:
    load(warehouse, one, [batch(records(keys, "old", -1))])


KEYS: dict[ColumnType, Callable[[int], object]] = {
    "integer": int,
    "bigint": int,
    "text": "key é {}".format,
    "uuid": lambda number: str(UUID(int=number + 1_000)),
    "date": lambda number: date(2020, 1, 1) + timedelta(days=number),
    "timestamptz": lambda number: MONDAY + timedelta(microseconds=number),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("key_type", KEYS)
@pytest.mark.parametrize("disposition", ["upsert", "append"])
def test_large_pieces_give_the_same_table_and_account_as_small_ones(
    warehouse: Warehouse, seed: int, key_type: ColumnType, disposition: str
) -> None:
    """New, known, repeated and deleted keys in any mixture: a piece below FEW_ROWS is staged."""
    dice = random.Random(f"{seed} {key_type} {disposition}")
    replication = dice.choice([None, "at"])
    make = KEYS[key_type]
    large = stream({**COLUMNS, "id": key_type}, replication_key=replication)
    small = replace(large, name="small")
    start = records(range(0, 9_000, 3), "old")
    pieces = []
    for number in range(4):
        low, high = dice.choice([(0, 12_000), (9_000, 12_000), (20_000, 60_000), (-500, 9_500)])
        unique = dice.random() < 0.7 and high - low > 3 * FEW_ROWS
        keys = (
            dice.sample(range(low, high), 3 * FEW_ROWS)
            if unique
            else [dice.randrange(low, high) for _ in range(3 * FEW_ROWS)]
        )
        piece = records(iter(keys), f"p{number}-", dice.choice([-2, 0, 1, 2]))
        for record in piece:
            if dice.random() < 0.2:
                record["name"] = f"old{record['id']}"
        if dice.random() < 0.2:
            for record in piece[::50]:
                record["_deleted_at"] = MONDAY
        pieces.append(piece)
    for one in (large, small):
        before = [{**record, "id": make(cast(int, record["id"]))} for record in start]
        load(warehouse, one, [batch(before)])
    pieces = [[{**each, "id": make(cast(int, each["id"]))} for each in piece] for piece in pieces]
    if disposition == "append":
        large, small = (one.with_disposition("append") for one in (large, small))
    straight = load(warehouse, large, [batch(piece) for piece in pieces])
    staged = load(
        warehouse,
        small,
        [
            batch(piece[at : at + FEW_ROWS - 1])
            for piece in pieces
            for at in range(0, len(piece), FEW_ROWS - 1)
        ],
    )
    table = "select id, name, at, _deleted_at from shop.{} order by id"
    assert query(warehouse, table.format("things")) == query(warehouse, table.format("small"))
    for count in ("read", "inserted", "updated", "unchanged", "superseded", "deleted"):
        assert getattr(straight, count) == getattr(staged, count), count
    assert straight.is_balanced


@pytest.mark.parametrize("again", [[4_002], [90_002], [4_002, 90_002, 95_002]])
def test_keys_that_a_sample_misses_are_merged_all_the_same(
    warehouse: Warehouse, again: list[int]
) -> None:
    """Once a piece was all new only every second key is asked about: known, sent before, both (L3)."""
    one = stream(COLUMNS)
    filled(warehouse, one, range(1, 9_000))
    pieces = [
        records(range(start, start + 2 * FEW_ROWS), "new", 1)
        for start in range(90_000, 100_000, 2_000)
    ]
    pieces[3][3:3] = records(iter(again), "again", 2)
    outcome = load(warehouse, one, [batch(piece) for piece in pieces])
    repeated = sum(key >= 90_000 for key in again)
    assert (outcome.read, outcome.inserted) == (10_000 + len(again), 10_000)
    assert (outcome.updated, outcome.superseded) == (len(again) - repeated, repeated)
    found = query(warehouse, "select id from shop.things where name like 'again%%' order by id")
    assert [key for (key,) in found] == again
    assert query(warehouse, "select count(*) from shop.things") == [(18_999,)]


def test_new_keys_are_never_staged_and_known_ones_are_merged(warehouse: Warehouse) -> None:
    """Not to be seen from outside but by the place of the rows."""
    one = stream(COLUMNS)
    filled(warehouse, one, range(0, 20_000, 2))
    outcome = load(warehouse, one, [batch(records(range(5_000, 9_000), "new", 1))])
    assert (outcome.inserted, outcome.updated) == (2_000, 2_000)
    # Stored by COPY before the merge, the new keys lie before the updated rows.
    last, first = query(
        warehouse,
        "select max(ctid) filter (where id % 2 = 1), min(ctid) filter (where id % 2 = 0)"
        " from shop.things where name like 'new%%'",
    )[0]
    assert place(last) < place(first)


def place(ctid: str) -> tuple[int, ...]:
    return tuple(int(part) for part in ctid.strip("()").split(","))


def test_a_key_that_comes_twice_beyond_the_known_ones_is_stored_once(warehouse: Warehouse) -> None:
    """Beyond the table's greatest key nothing is asked; the index itself finds the second one."""
    one = stream(COLUMNS, replication_key="at")
    filled(warehouse, one, range(2_000))
    pieces = [
        records(range(10_000, 12_000), "first", 1),
        records(range(11_500, 13_500), "second", 2),
        records(range(9_000, 11_000), "older", 0),
    ]
    outcome = load(warehouse, one, [batch(piece) for piece in pieces])
    assert (outcome.inserted, outcome.superseded, outcome.updated) == (4_500, 1_500, 0)
    names = query(
        warehouse,
        "select substr(name, 1, 3), count(*) from shop.things where id >= 9000 group by 1 order by 1",
    )
    assert names == [("fir", 1_500), ("old", 1_000), ("sec", 2_000)]


@pytest.mark.parametrize("hidden", [False, True])
def test_pieces_that_look_known_may_hide_a_new_key(warehouse: Warehouse, hidden: bool) -> None:
    """Only a sample of their keys is asked about; the order of reading holds all the same."""
    one = stream(COLUMNS)
    filled(warehouse, one, range(6_000))
    known = records(range(6_000), "first", 1)
    if hidden:
        known[1] = records(range(7_000, 7_001), "first", 1)[0]
    outcome = load(warehouse, one, [batch(known), batch(records(range(5_000, 8_000), "second", 1))])
    assert (outcome.inserted, outcome.updated) == (2_000, 6_000 - hidden)
    assert outcome.superseded == 1_000 + hidden and outcome.is_balanced
    assert query(warehouse, "select count(*) from shop.things where name like 'second%%'") == [
        (3_000,)
    ]


def test_what_went_straight_is_gone_when_the_load_fails(warehouse: Warehouse) -> None:
    one = stream(COLUMNS)
    filled(warehouse, one, range(2_000))

    def interrupted() -> Iterator[Batch]:
        yield batch(records(range(10_000, 12_000)), "2026-03-02")
        yield batch(records(range(20_000, 22_000)))
        yield batch(records(range(30_000, 32_000)))
        raise RetriableError("the source went away")

    with pytest.raises(RetriableError, match="the source went away"):
        load(warehouse, one, interrupted())
    assert query(warehouse, "select count(*), max(id) from shop.things") == [(4_000, 11_999)]


def test_a_row_that_somebody_else_writes_meanwhile_is_met_as_any_other(
    warehouse: Warehouse,
) -> None:
    one = stream(COLUMNS)
    filled(warehouse, one, range(2_000))

    def during() -> Iterator[Batch]:
        yield batch(records(range(10_000, 12_000)))
        query(warehouse, "insert into shop.things (id, name) values (20001, 'theirs')")
        yield batch(records(range(20_000, 22_000)))

    outcome = load(warehouse, one, during())
    assert (outcome.inserted, outcome.updated) == (3_999, 1)
    assert query(warehouse, "select name from shop.things where id = 20001") == [("n20001",)]


def test_somebody_who_waits_for_the_load_does_not_stop_it(warehouse: Warehouse) -> None:
    """ALTER TABLE waits for the load and keeps its second connection out: no deadlock."""
    one = stream(COLUMNS)
    filled(warehouse, one, range(0, 20_000, 2))
    waiting = "select exists (select from pg_locks where not granted and mode like 'AccessExcl%%')"
    with ThreadPoolExecutor() as others:

        def during() -> Iterator[Batch]:
            yield batch(records(range(1, 4_001, 2)))
            yield batch(records(range(4_001, 8_001, 2)))
            others.submit(query, warehouse, "alter table shop.things add column theirs integer")
            while query(warehouse, waiting) == [(False,)]:
                pass
            yield batch(records(range(8_000, 12_000)))

        outcome = load(warehouse, one, during())
    assert (outcome.inserted, outcome.updated) == (6_000, 2_000)
    assert query(warehouse, "select count(*), count(theirs) from shop.things") == [(16_000, 0)]


@pytest.mark.parametrize(
    "obstacle",
    [
        "create function shop.hush() returns trigger language plpgsql as"
        " 'begin new.name := upper(new.name); return new; end';"
        " create trigger hush before insert on shop.things"
        " for each row execute function shop.hush()",
        "alter table shop.things alter column _load_id drop default",
    ],
)
def test_where_copy_is_not_insert_the_rows_are_staged(warehouse: Warehouse, obstacle: str) -> None:
    one = stream(COLUMNS)
    filled(warehouse, one, range(2_000))
    query(warehouse, obstacle)
    outcome = load(warehouse, one, [batch(records(range(10_000, 12_000)))])
    assert outcome.inserted == 2_000
    assert query(
        warehouse, "select count(*) from shop.things where _load_id = %s", outcome.load_id
    ) == [(2_000,)]


def test_a_wider_value_in_a_later_piece_widens_the_table(warehouse: Warehouse) -> None:
    """Pieces that the live table cannot take as it is are staged, and the order is kept."""
    one = stream({"id": "bigint", "n": "integer"})
    load(warehouse, one, [batch([{"id": key, "n": key} for key in range(2_000)])])
    outcome = load(
        warehouse,
        one,
        [
            batch([{"id": key, "n": key} for key in range(5_000, 7_000)]),
            batch([{"id": key, "n": key + 0.25} for key in range(6_000, 8_000)]),
            batch([{"id": key, "n": 1} for key in range(7_500, 9_500)]),
        ],
    )
    assert (outcome.inserted, outcome.superseded) == (4_500, 1_500)
    assert query(warehouse, "select n::text from shop.things where id in (5000, 6000, 7500)"
                            " order by id") == [("5000",), ("6000.25",), ("1",)]  # fmt: skip


def test_keys_of_several_columns_go_straight(warehouse: Warehouse) -> None:
    columns: dict[str, ColumnType] = {"day": "date", "host": "text", "n": "integer"}
    one = stream(columns, primary_key=("host", "day"))
    day = date(2026, 3, 1)

    def metrics(low: int, high: int, n: int) -> list[Record]:
        return [
            {"day": day + timedelta(days=key % 7), "host": f"h{key // 7}", "n": n}
            for key in range(low, high)
        ]

    load(warehouse, one, [batch(metrics(0, 3_000, 1))])
    outcome = load(warehouse, one, [batch(metrics(2_000, 5_000, 2))])
    assert (outcome.inserted, outcome.updated) == (2_000, 1_000)
    assert query(warehouse, "select n, count(*) from shop.things group by n order by n") == [
        (1, 2_000),
        (2, 3_000),
    ]
