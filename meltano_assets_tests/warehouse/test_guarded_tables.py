"""Tables with columns of other types, defaults, triggers and rules beside what a stream fills (L4, L9)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import Disposition
from meltano_assets.warehouse import merge
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse.tables import batch, query, stream
from meltano_assets_tests.warehouse.test_tables_made_elsewhere import TABLE, THINGS, make

BESIDE = {
    "a": "integer[] default '{5}'",
    "s": "interval default '1 day'",
    "r": "int4range",
    "d": "timestamptz not null default '2026-01-01Z'",
}


@pytest.mark.parametrize("is_rewritten", [False, True])
@pytest.mark.parametrize("disposition", ["upsert", "append", "replace", "scd2"])
def test_columns_of_other_types_beside_the_streams_own_are_left_to_postgres(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    disposition: Disposition,
    is_rewritten: bool,
) -> None:
    """Stored rows keep what they have there, new ones get the default, however they are written."""
    columns = ", ".join(f"{name} {kind}" for name, kind in BESIDE.items())
    make(
        warehouse,
        f"create table shop.things (id bigint primary key, v integer, {columns})",
        "insert into shop.things (id, v, a, r) select n, 0, '{6}', '[1,5)'"
        " from generate_series(1, 20) as n",
        "analyze shop.things",
    )
    if is_rewritten:
        monkeypatch.setattr(merge, "REWRITE_ROWS", 4)
    records = batch([{"id": n, "v": 1} for n in range(1, 26)])
    outcome = load(warehouse, replace(THINGS, disposition=disposition), [records])
    assert (outcome.quarantined, outcome.is_balanced) == (0, True)
    is_kept = disposition in ("upsert", "append")
    old = query(warehouse, "select distinct a::text, r::text, s::text, d from shop.things"
                           " where id <= 20 and v = %s", int(disposition != "append"))  # fmt: skip
    new = query(warehouse, "select distinct a::text, r::text, s::text, d from shop.things"
                           " where id > 20")  # fmt: skip
    first = datetime(2026, 1, 1, tzinfo=UTC)
    assert new == [("{5}", None, "1 day", first)]
    assert old == ([("{6}", "[1,5)", "1 day", first)] if is_kept else new)


def test_new_rows_of_a_rewritten_table_that_lack_what_it_demands_are_set_aside(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(
        warehouse,
        "create table shop.things (id bigint primary key, v integer, other text not null)",
        "insert into shop.things select n, 0, 'x' from generate_series(1, 40) as n",
        "analyze shop.things",
    )
    monkeypatch.setattr(merge, "REWRITE_ROWS", 4)
    records = batch([{"id": n, "v": 1} for n in range(1, 43)])
    outcome = load(warehouse, THINGS, [records])
    assert (outcome.updated, outcome.quarantined, outcome.is_balanced) == (40, 2, True)
    assert query(warehouse, "select v, other, count(*) from shop.things group by 1, 2") == [
        (1, "x", 40)
    ]


SWALLOWING = {
    "trigger": [
        "create function shop.no() returns trigger language plpgsql as"
        " 'begin if new.v = 13 then return null; end if; return new; end'",
        "create trigger no before insert or update on shop.things"
        " for each row execute function shop.no()",
    ],
    "rule": [
        "create rule no as on insert to shop.things where new.v = 13 do instead nothing",
    ],
}


@pytest.mark.parametrize(
    ("way", "disposition"),
    [("trigger", "upsert"), ("trigger", "append"), ("rule", "append")],
)
def test_a_record_that_a_trigger_or_rule_keeps_out_is_set_aside(
    warehouse: Warehouse, way: str, disposition: Disposition
) -> None:
    """They say nothing: the record passed for one that the table held already."""
    make(warehouse, TABLE, "insert into shop.things values (1, 1), (2, 2)", *SWALLOWING[way])
    things = replace(THINGS, disposition=disposition)
    records = [{"id": n, "v": 13 if n in (2, 7) else 5} for n in range(1, 10)]
    outcome = load(warehouse, things, [batch(records)])
    is_append = disposition == "append"
    assert outcome.is_balanced
    assert (outcome.inserted, outcome.updated) == (6, 0 if is_append else 1)
    assert (outcome.unchanged, outcome.quarantined) == ((2, 1) if is_append else (0, 2))
    waiting = query(warehouse, "select distinct reason from shop.things__quarantine")
    assert waiting == [("the table refuses it: a trigger or rule keeps it out",)]
    assert query(warehouse, "select v from shop.things where id in (2, 7)") == [(2,)]


@pytest.mark.parametrize("way", SWALLOWING)
@pytest.mark.parametrize("disposition", ["append", "scd2", "replace"])
def test_a_table_that_keeps_out_what_cannot_be_told_is_an_error(
    warehouse: Warehouse, way: str, disposition: Disposition
) -> None:
    key = "primary key" if disposition == "scd2" else ""
    make(
        warehouse,
        f"create table shop.things (id bigint {key}, v integer)",
        "insert into shop.things values (1, 1)",
        *SWALLOWING[way],
    )
    things = replace(THINGS, disposition=disposition, primary_key=("id",) if key else ())
    records = batch([{"id": n, "v": 13 if n == 7 else 5} for n in range(2, 10)])
    with pytest.raises(FatalError, match="took 7 of the new rows only; a trigger or rule"):
        load(warehouse, things, [records])
    assert query(warehouse, "select id, v from shop.things") == [(1, 1)]


@pytest.mark.parametrize("disposition", ["upsert", "append", "replace"])
def test_records_that_refer_to_later_ones_are_loaded_although_one_is_refused(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    make(
        warehouse,
        "create table shop.things (id bigint primary key, v integer references shop.things (id))",
        "alter table shop.things alter v type bigint",
        "insert into shop.things values (0, null)",
    )
    things = stream({"id": "bigint", "v": "bigint"}, disposition=disposition)
    # Each refers to the next one, the last to nobody; number 99 to one that does not exist.
    records = [{"id": n, "v": n + 1 if n < 20 else None} for n in range(1, 21)]
    outcome = load(warehouse, things, [batch([*records, {"id": 99, "v": 1000}])])
    assert (outcome.inserted, outcome.quarantined, outcome.is_balanced) == (20, 1, True)
    waiting = query(warehouse, "select record::jsonb ->> 'id' from shop.things__quarantine")
    assert waiting == [("99",)]
