"""Tables that somebody else made: filled as they are, or refused in words that say what to do (L4, L9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import Column, Disposition, Stream
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
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
    with pytest.raises(FatalError, match=r'column "code" of relation "things".*drop not null'):
        load(warehouse, replace(THINGS, disposition="replace"), [RECORD])
    query(warehouse, "alter table shop.things alter column code set default 'x'")
    load(warehouse, replace(THINGS, disposition="replace"), [RECORD])
    assert query(warehouse, "select id, code from shop.things") == [(1, "x")]


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
