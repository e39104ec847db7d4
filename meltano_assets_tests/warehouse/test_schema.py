"""Tables grow and never shrink (L4): new columns, wider types, policies. Every field keeps a name of its own (L5)."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.errors import FatalError
from meltano_assets.streams import COLUMN_TYPES, Batch, Column, ColumnType, Disposition
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.names import cut, fold_all, suffixed
from meltano_assets.warehouse.types import join
from meltano_assets_tests.warehouse.tables import batch, query, stream

THINGS = stream({"id": "bigint", "v": "integer"})


def kinds(warehouse: Warehouse, table: str = "things") -> dict[str, str]:
    return dict(
        query(
            warehouse,
            "select column_name, data_type from information_schema.columns"
            " where table_schema = 'shop' and table_name = %s and left(column_name, 1) <> '_'",
            table,
        )
    )


def test_a_new_field_becomes_a_column_and_a_logged_change(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [batch([{"id": 1, "v": 1}])])
    outcome = load(warehouse, THINGS, [batch([{"id": 2, "v": 2, "New Field": 1.5}])])
    assert kinds(warehouse)["new_field"] == "double precision"
    assert outcome.schema_changes == ["added column new_field (double precision)"]
    changes = query(warehouse, "select column_name, change, new_type from meltano.schema_changes"
                    " where load_id = %s", outcome.load_id)  # fmt: skip
    assert changes == [("new_field", "added column", "double precision")]
    assert query(warehouse, "select id, new_field from shop.things order by id") == [
        (1, None),
        (2, 1.5),
    ]


@pytest.mark.parametrize("rows", [0, 1, 2_000])
@pytest.mark.parametrize("disposition", ["upsert", "append", "scd2"])
def test_a_declared_column_is_there_with_or_without_a_record(
    warehouse: Warehouse, disposition: Disposition, rows: int
) -> None:
    things = replace(THINGS, disposition=disposition)
    load(warehouse, things, [batch([{"id": 1, "v": 1}])])
    wider = replace(things, columns=(*things.columns, Column("tags", "jsonb")))
    batches = [batch([{"id": 10 + n, "v": n} for n in range(rows)])] if rows else []
    outcome = load(warehouse, wider, batches)
    assert outcome.schema_changes == ["added column tags (jsonb)"]
    assert kinds(warehouse)["tags"] == "jsonb"
    assert query(warehouse, "select count(*) from shop.things") == [(rows + 1,)]


@pytest.mark.parametrize(
    ("first", "then", "kind", "texts"),
    [
        ([1], [2**40], "bigint", ["1", "1099511627776"]),
        ([1], ["7.25"], "numeric", ["1", "7.25"]),
        ([2**62], [0.5], "numeric", ["4611686018427387904", "0.5"]),
        ([1], [True], "text", ["1", "true"]),
    ],
)
def test_a_stored_column_widens_in_place(
    warehouse: Warehouse, first: list[object], then: list[object], kind: str, texts: list[str]
) -> None:
    load(warehouse, THINGS, [batch([{"id": 1, "v": first[0]}])])
    load(warehouse, THINGS, [batch([{"id": 2, "v": then[0]}])])
    assert kinds(warehouse)["v"] == kind
    assert query(warehouse, "select v::text from shop.things order by id") == [
        (text,) for text in texts
    ]
    load(warehouse, THINGS, [batch([{"id": 3, "v": 3}])])
    assert kinds(warehouse)["v"] == kind


def test_declared_types_and_the_tables_meet_at_the_wider(warehouse: Warehouse) -> None:
    query(warehouse, "create schema shop")
    query(warehouse, "create table shop.things (id smallint primary key, v varchar(2), old text)")
    query(warehouse, "insert into shop.things values (1, 'ab', 'kept')")
    outcome = load(warehouse, THINGS, [batch([{"id": 2, "v": 5}])])
    assert kinds(warehouse) == {"id": "bigint", "v": "text", "old": "text"}
    assert outcome.inserted == 1
    rows = query(warehouse, "select id, v, old from shop.things order by id")
    assert rows == [(1, "ab", "kept"), (2, "5", None)]


@pytest.mark.parametrize(
    ("ddl", "message"),
    [
        ("create table shop.things (id bigint, other int primary key)", "has the primary key"),
        (
            "create table shop.things (id bigint); insert into shop.things values (1), (1)",
            "do not allow one",
        ),
    ],
)
def test_a_table_of_an_incompatible_shape_is_a_clear_error(
    warehouse: Warehouse, ddl: str, message: str
) -> None:
    query(warehouse, "create schema shop")
    for statement in ddl.split("; "):
        query(warehouse, statement)
    if "other" in ddl:
        query(warehouse, "insert into shop.things values (1, 1)")
    with pytest.raises(FatalError, match=message):
        load(warehouse, THINGS, [batch([{"id": 2, "v": 5}])])


@pytest.mark.parametrize(
    ("column", "generated"),
    [
        *((name, "generated always as (1 + 1) stored") for name in ("v", "extra", "id")),
        *((name, "generated always as identity") for name in ("v", "extra")),
    ],
)
@pytest.mark.parametrize("is_full", [False, True])
def test_a_column_that_postgres_fills_is_refused_with_a_next_step(
    warehouse: Warehouse, column: str, generated: str, is_full: bool
) -> None:
    """Declared, delivered without a declaration, or the key: named before anything is changed."""
    query(warehouse, "create schema shop")
    columns = {"id": "primary key", "v": "", "extra": "", column: generated}
    if column == "id":
        columns["id"] += " primary key"
    text = ", ".join(f"{name} bigint {rest}" for name, rest in columns.items())
    query(warehouse, f"create table shop.things ({text})")
    with pytest.raises(FatalError, match=f"shop.things has column {column}, which") as caught:
        load(warehouse, THINGS, [batch([{"id": 2, "v": 5, "extra": 6}])], full_refresh=is_full)
    assert caught.value.hint is not None and "alter table" in caught.value.hint
    assert query(warehouse, "select count(*) from shop.things") == [(0,)]


@pytest.mark.parametrize("rows", [3, 3_000])
@pytest.mark.parametrize("disposition", ["upsert", "append", "replace", "scd2"])
def test_a_records_key_is_its_own_where_postgres_would_count(
    warehouse: Warehouse, disposition: Disposition, rows: int
) -> None:
    query(warehouse, "create schema shop")
    query(warehouse, "create table shop.things (id bigint generated always as identity primary key,"
                     " v integer, nr bigint generated always as identity (start 5000))")  # fmt: skip
    for _ in range(3):
        query(warehouse, "insert into shop.things (v) values (0)")
    things = replace(THINGS, disposition=disposition)
    for value in (1, 2):
        records = [{"id": 10 * n, "v": value} for n in range(rows)]
        outcome = load(warehouse, things, [batch(records)], full_refresh=disposition == "replace")
        assert (outcome.quarantined, outcome.is_balanced) == (0, True)
    where = "mod(id, 10) = 0 and v > 0" + (
        " and _valid_to is null" if disposition == "scd2" else ""
    )
    found = query(
        warehouse, f"select min(id), max(id), count(*), max(v) from shop.things where {where}"
    )
    assert found == [(0, 10 * (rows - 1), rows, 1 if disposition == "append" else 2)]
    assert query(warehouse, "select count(*) = count(distinct nr), count(nr) from shop.things") == [
        (True, query(warehouse, "select count(*) from shop.things")[0][0])
    ]


@pytest.mark.parametrize("rows", [3, 20_000])
def test_columns_that_postgres_fills_beside_the_streams_own_stay(
    warehouse: Warehouse, rows: int
) -> None:
    """Upserts leave the identity of a row alone; a full refresh gives new ones."""
    query(warehouse, "create schema shop")
    query(warehouse, "create table shop.things (id bigint primary key, v integer,"
                     " twice integer generated always as (v * 2) stored,"
                     " nr bigint generated always as identity)")  # fmt: skip
    load(warehouse, THINGS, [batch([{"id": -n, "v": 1} for n in range(rows)])])
    numbers = query(warehouse, "select id, nr from shop.things order by id")
    load(warehouse, THINGS, [batch([{"id": -n, "v": 2} for n in range(rows)])])
    assert query(warehouse, "select distinct v, twice from shop.things") == [(2, 4)]
    assert query(warehouse, "select id, nr from shop.things order by id") == numbers
    load(warehouse, THINGS, [batch([{"id": 1, "v": 3}])])
    row = query(warehouse, "select twice, nr > %s from shop.things where id = 1", rows)
    assert row == [(6, True)]
    load(warehouse, THINGS, [batch([{"id": 1, "v": 4}])], full_refresh=True, allow_shrink=True)
    assert query(warehouse, "select id, v, twice from shop.things") == [(1, 4, 8)]
    query(warehouse, "insert into shop.things (id, v) values (5, 5)")
    assert query(warehouse, "select count(distinct nr) from shop.things") == [(2,)]


def test_a_frozen_schema_refuses_what_an_open_one_learns(warehouse: Warehouse) -> None:
    frozen = replace(THINGS, options={"schema_policy": "freeze"})
    load(warehouse, frozen, [batch([{"id": 1, "v": 1}])])
    with pytest.raises(FatalError, match="frozen"):
        load(warehouse, frozen, [batch([{"id": 1, "v": 1, "new": 1}])])
    with pytest.raises(FatalError, match="frozen"):
        load(warehouse, frozen, [batch([{"id": 1, "v": 1.5}])])
    assert kinds(warehouse) == {"id": "bigint", "v": "integer"}


def test_the_quarantine_policy_sets_aside_only_what_does_not_fit(warehouse: Warehouse) -> None:
    strict = replace(THINGS, options={"schema_policy": "quarantine", "max_quarantine_share": 1.0})
    records = [{"id": n, "v": n if n % 10 else n + 0.5} for n in range(1, 31)]
    outcome = load(warehouse, strict, [batch(records), batch([{"id": 99, "v": 1, "new": "x"}])])
    assert (outcome.inserted, outcome.quarantined) == (27, 4)
    assert kinds(warehouse) == {"id": "bigint", "v": "integer"}


def test_every_field_keeps_a_column_of_its_own(warehouse: Warehouse) -> None:
    fields = ["Foo", "foo", "FOO", "a b", "a-b", "a_b", "é" * 60, "é" * 61, "select", "1st", "",
              "_loaded_at", "_load_id", "ctid", "xmin", '"; drop table x; --', "🚀", "id "]  # fmt: skip
    bare = stream({"id": "bigint"})
    row = {"id": 1, **{field: f"value {n}" for n, field in enumerate(fields)}}
    records = pa.RecordBatch.from_arrays(
        [pa.array([value]) for value in row.values()], names=list(row)
    )
    for _ in range(2):
        load(warehouse, bare, [Batch(records)])
    names = dict(query(warehouse, "select field, column_name from meltano.column_names"))
    assert {"id", *fields} == set(names)
    for number, field in enumerate(fields):
        assert query(warehouse, f'select "{names[field]}" from shop.things') == [
            (f"value {number}",)
        ]


_fields = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(st.lists(_fields, unique=True, max_size=30), st.lists(_fields, unique=True, max_size=30))
def test_folded_names_are_unique_short_and_stable(first: list[str], later: list[str]) -> None:
    names = fold_all(first)
    assert len(set(names.values())) == len(first)
    assert all(0 < len(name.encode()) <= 63 for name in names.values())
    again = fold_all([*later, *first], names)
    assert {field: again[field] for field in first} == names
    assert len(set(again.values())) == len(again)


@given(_fields, st.sampled_from(["_pkey", "__quarantine", ""]))
def test_cut_names_stay_within_63_bytes_and_keep_their_suffix(name: str, suffix: str) -> None:
    assert len(suffixed(name, suffix).encode()) <= 63
    assert suffixed(name, suffix).endswith(suffix)
    assert cut(name) == name or len(name.encode()) > 63


@given(st.sampled_from(COLUMN_TYPES), st.sampled_from(COLUMN_TYPES), st.sampled_from(COLUMN_TYPES))
def test_widening_is_a_lattice(a: ColumnType, b: ColumnType, c: ColumnType) -> None:
    assert join(a, a) == a
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, join(a, b)) == join(a, b)


def test_a_column_delivered_under_the_vendors_name_lands_in_its_own(warehouse: Warehouse) -> None:
    renamed = replace(THINGS, columns=(Column("id", "bigint", field="Id"), Column("v", "integer")))
    load(warehouse, renamed, [batch([{"Id": 1, "v": 1}])])
    assert query(warehouse, "select id, v from shop.things") == [(1, 1)]


@pytest.mark.parametrize("full_refresh", [False, True])
@pytest.mark.parametrize(
    ("source", "name"),
    [("meltano", "reconciliation"), ("meltano", "mine"), ("shop", "meltano_new_0123456789ab")],
)
def test_names_of_the_platforms_own_tables_are_refused(
    warehouse: Warehouse, source: str, name: str, full_refresh: bool
) -> None:
    """A book would be overwritten, and what looks like a killed load's is dropped by the next one."""
    load(warehouse, THINGS, [batch([{"id": 1}])])
    books = query(warehouse, "select tablename from pg_tables where schemaname = 'meltano'")
    target = stream(
        {"source": "text"}, source=source, name=name, primary_key=(), disposition="append"
    )
    with pytest.raises(FatalError, match="a name for the platform's own tables"):
        load(warehouse, target, [batch([{"source": "x"}])], full_refresh=full_refresh)
    assert query(warehouse, "select tablename from pg_tables where schemaname = 'meltano'") == books
