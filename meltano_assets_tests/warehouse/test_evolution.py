"""Schema evolution (L4): renames, fields that are gone, closed schemas, and the lattice of types."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.errors import FatalError
from meltano_assets.streams import COLUMN_TYPES, Batch, Column, ColumnType, Disposition, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.evolution import IS_WHOLE, OBSERVED
from meltano_assets.warehouse.files import read_file, tells_its_columns
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.types import join
from meltano_assets_tests.warehouse.tables import batch, query, stream

ID = Column("id", "bigint")
THINGS = stream({"id": "bigint", "old": "text"})
RENAMED = replace(THINGS, columns=(ID, Column("new", "text", renamed_from="old")))


def changes(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return query(warehouse, "select change, column_name from meltano.schema_changes order by id")


@pytest.mark.parametrize("disposition", ["upsert", "append", "replace", "scd2"])
def test_a_declared_rename_keeps_the_values_and_the_views(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    before, after = THINGS.with_disposition(disposition), RENAMED.with_disposition(disposition)
    load(warehouse, before, [batch([{"id": 1, "old": "a"}])])
    query(warehouse, "create view shop.seen as select id, old from shop.things")
    outcome = load(warehouse, after, [batch([{"id": 1, "new": "a"}, {"id": 2, "new": "b"}])])
    assert outcome.schema_changes == ["renamed column old to new"]
    assert query(warehouse, "select id, new from shop.things order by id") == [(1, "a"), (2, "b")]
    assert query(warehouse, "select id, old from shop.seen order by id") == [(1, "a"), (2, "b")]
    if disposition in ("upsert", "append", "scd2"):
        assert (outcome.unchanged, outcome.inserted) == (1, 1)
    again = load(warehouse, after, [batch([{"id": 2, "new": "b"}])], allow_shrink=True)
    assert again.schema_changes == []
    assert changes(warehouse) == [("created table", None), ("renamed column old to", "new")]


def test_a_rename_is_known_by_the_vendors_id_of_the_field(warehouse: Warehouse) -> None:
    def declared(name: str) -> Stream:
        return replace(THINGS, columns=(ID, Column(name, "text", field=name.upper(), field_id="7")))

    load(warehouse, declared("plan"), [batch([{"id": 1, "PLAN": "a"}])])
    outcome = load(warehouse, declared("tier"), [batch([{"id": 2, "TIER": "b"}])])
    assert outcome.schema_changes == ["renamed column plan to tier"]
    assert query(warehouse, "select id, tier from shop.things order by id") == [(1, "a"), (2, "b")]
    known = query(warehouse, "select field, column_name, field_id from meltano.column_names"
                             " order by column_name")  # fmt: skip
    assert known == [("id", "id", None), ("TIER", "tier", "7")]


def test_a_key_can_be_renamed_and_a_name_that_is_taken_is_left_alone(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [batch([{"id": 1, "old": "a"}])])
    key = replace(
        THINGS,
        columns=(Column("number", "bigint", renamed_from="id"), Column("old")),
        primary_key=("number",),
    )
    load(warehouse, key, [batch([{"number": 1, "old": "b"}])])
    assert query(warehouse, "select number, old from shop.things") == [(1, "b")]
    both = replace(key, columns=(*key.columns, Column("late", "text")))
    load(warehouse, both, [batch([{"number": 2, "old": "c", "late": "d"}])])
    taken = replace(key, columns=(key.columns[0], Column("late", renamed_from="old")))
    load(warehouse, taken, [batch([{"number": 3, "late": "e"}])])
    rows = query(warehouse, "select number, old, late from shop.things order by number")
    assert rows == [(1, "b", None), (2, "c", "d"), (3, None, "e")]


def test_a_field_that_is_gone_keeps_its_column_and_is_marked_until_it_is_back(
    warehouse: Warehouse,
) -> None:
    load(warehouse, THINGS, [batch([{"id": 1, "old": "a", "extra": 1}])])
    fewer = replace(THINGS, columns=(ID,))
    for expected in (["field is gone, kept column old"], []):
        outcome = load(warehouse, fewer, [batch([{"id": 1}])])
        assert outcome.schema_changes == expected
    gone = "select column_name from meltano.column_names where gone_since is not null"
    assert query(warehouse, gone) == [("old",)]
    assert query(warehouse, "select old, extra from shop.things") == [("a", 1)]
    outcome = load(warehouse, THINGS, [batch([{"id": 1, "old": "b"}])])
    assert outcome.schema_changes == ["field is back, column old"]
    assert query(warehouse, gone) == []


def from_file(path: Path, policy: str, **options: object) -> tuple[Stream, list[Batch]]:
    columns, batches = read_file(path)
    known = {"inferred_types": True, OBSERVED: True, IS_WHOLE: tells_its_columns(str(path), "auto")}
    target = Stream("shop", "things", columns, primary_key=("id",),
                    options={**known, "schema_policy": policy, **options})  # fmt: skip
    return target, [Batch(records) for records in batches]


def test_a_files_header_says_what_is_gone_and_json_does_not(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    for name, content, expected in (
        ("a.csv", "id,v,w\n1,x,y\n", ["created table"]),
        ("b.csv", "id,v\n1,x\n", ["field is gone, kept column w"]),
        ("c.ndjson", '{"id": 1}\n', []),
        ("d.csv", "id,v,w\n1,x,z\n", ["field is back, column w"]),
    ):
        (tmp_path / name).write_text(content)
        outcome = load(warehouse, *from_file(tmp_path / name, "evolve"))
        assert outcome.schema_changes == expected
    assert query(warehouse, "select v, w from shop.things") == [(None, "z")] or query(
        warehouse, "select v, w from shop.things"
    ) == [("x", "z")]


def test_a_closed_schema_of_files_is_that_of_the_table(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / f"{n}.csv" for n in range(3))
    first.write_text("id,n\n1,5\n")
    second.write_text("id,n\n2,6\n3,7.25\n4,much\n")
    third.write_text("id,n,new\n5,1,\n6,1,x\n")
    load(warehouse, *from_file(first, "freeze"))
    with pytest.raises(FatalError, match="record 2: column n is bigint, a value needs numeric"):
        load(warehouse, *from_file(second, "freeze"))
    with pytest.raises(FatalError, match="record 2: a new field would need column new"):
        load(warehouse, *from_file(third, "freeze"))
    outcome = load(warehouse, *from_file(second, "quarantine"))
    assert (outcome.inserted, outcome.quarantined, outcome.schema_changes) == (1, 2, [])
    outcome = load(warehouse, *from_file(third, "quarantine"))
    assert (outcome.inserted, outcome.quarantined) == (1, 1)
    assert query(warehouse, "select record_number, reason, column_name"
                            " from shop.things__quarantine order by id") == [
        (2, "not a bigint", "n"),
        (3, "not a bigint", "n"),
        (2, "undeclared field", "new"),
    ]  # fmt: skip
    outcome = load(warehouse, *from_file(second, "evolve"))
    assert outcome.schema_changes == ["widened column n (bigint → text)"]


def test_too_many_bad_records_are_told_with_place_and_cause_but_no_value(
    warehouse: Warehouse,
) -> None:
    rows = [{"id": n, "old": "x", "n": f"secret{n}" if n > 20 else "1"} for n in range(40)]
    strict = stream({"id": "bigint", "old": "text", "n": "integer"})
    with pytest.raises(
        FatalError, match=r"shop\.things: 19 of 40 .*record 40: column n: not a integer"
    ) as caught:
        load(warehouse, strict, [batch(rows)])
    assert "secret" not in str(caught.value)
    assert query(warehouse, "select to_regclass('shop.things')") == [(None,)]


@given(st.lists(st.sampled_from(COLUMN_TYPES), min_size=1, max_size=6))
def test_a_type_only_ever_grows(kinds: list[ColumnType]) -> None:
    present = kinds[0]
    for kind in kinds[1:]:
        wider = join(present, kind)
        # What was held before is held still, and so is what came.
        assert join(wider, present) == wider == join(wider, kind)
        present = wider


@pytest.mark.parametrize(
    ("types", "widest"),
    [
        (["integer", "bigint"], "bigint"),
        (["integer", "bigint", "double precision"], "numeric"),
        (["integer", "double precision"], "double precision"),
        (["date", "timestamp", "timestamptz"], "timestamptz"),
        (["bigint", "boolean"], "text"),
        (["jsonb", "numeric"], "text"),
    ],
)
def test_the_lattice_is_the_written_one(types: list[ColumnType], widest: str) -> None:
    present = types[0]
    for kind in types[1:]:
        present = join(present, kind)
    assert present == widest
