"""Columns of types that no stream declares, in tables that somebody else made (L3, L4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, ColumnType, Disposition
from meltano_assets.warehouse import merge
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.replay import replay
from meltano_assets_tests.warehouse.tables import batch, query, stream
from meltano_assets_tests.warehouse.test_tables_made_elsewhere import make

THINGS = stream({"id": "bigint"})
DISPOSITIONS: Sequence[Disposition] = ("upsert", "append", "replace", "scd2")

MADE = (
    "create type shop.mood as enum ('sad', 'so so', 'glad')",
    "create domain shop.positive as integer check (value > 0)",
    "create domain shop.code as varchar(3)",
    "create domain shop.few as integer[] check (cardinality(value) < 4)",
    "create type shop.pair as (a integer, b text[])",
)

#: Type, values as they come, as Postgres says them, and one that is none of the type.
VALUES: Mapping[str, tuple[list[object], list[str], object]] = {
    "text[]": (
        ['["a", "b c", null, "\\"", "{}"]', "{x,NULL}", "[2:3]={a,b}", "[]", '[["a"],["b"]]'],
        ['{a,"b c",NULL,"\\"","{}"}', "{x,NULL}", "[2:3]={a,b}", "{}", "{{a},{b}}"],
        '["a"',
    ),
    "integer[]": (["[1, 2]", "{3}"], ["{1,2}", "{3}"], "[1.5]"),
    "varchar(2)[]": (['["ab"]'], ["{ab}"], '["abc"]'),
    "numeric(4,1)[]": (["[1.25, 1e2]"], ["{1.3,100.0}"], "[1e9]"),
    "shop.mood": (["glad", "so so"], ["glad", "so so"], "angry"),
    "shop.mood[]": (['["sad", "so so"]'], ['{sad,"so so"}'], '["angry"]'),
    "shop.positive": ([7, 8], ["7", "8"], -7),
    "shop.code": (["abc", ""], ["abc", ""], "abcd"),
    "shop.few": (["[1,2,3]"], ["{1,2,3}"], "[1,2,3,4]"),
    "shop.pair": (
        ['{"b": ["x"], "a": 1}', '(2,"{y,z}")', "{}"],
        ["(1,{x})", '(2,"{y,z}")', "(,)"],
        '{"a": "x"}',
    ),
    "shop.pair[]": (['[{"a": 1}, null]'], ['{"(1,)",NULL}'], '[{"a": 1.5}]'),
    "int4range": (["[1,5)", "empty"], ["[1,5)", "empty"], "[5,1)"),
    "int4multirange": (["{[1,2),[4,5)}"], ["{[1,2),[4,5)}"], "{[1,2"),
    "time": ([time(7, 15), "24:00"], ["07:15:00", "24:00:00"], "25:00"),
    "timetz": (["07:15:00+02"], ["07:15:00+02"], "noon-ish"),
    "interval": ([timedelta(days=1, seconds=1), "1 mon"], ["24:00:01", "1 mon"], "soon"),
    "cidr": (["10.0.0.0/8"], ["10.0.0.0/8"], "10.0.0.1/8"),
    "macaddr": (["08:00:2B:01:02:03"], ["08:00:2b:01:02:03"], "08:00"),
    "bit(3)": (["101"], ["101"], "1011"),
    "bit varying(3)": (["10"], ["10"], "1011"),
    "money": ([Decimal("12.50"), "$1,000.00"], ["$12.50", "$1,000.00"], "much"),
    "char(3)": (["abc", "a"], ["abc", "a"], "abcd"),
    "point": (["(1,2)"], ["(1,2)"], "(1,"),
    "tsvector": (["a b"], ["'a' 'b'"], "'a"),
}


def made(warehouse: Warehouse, kind: str, *, key: str = "id bigint primary key") -> None:
    make(warehouse, *MADE, f"create table shop.things ({key}, v {kind}, other text default 'x')")


def values(warehouse: Warehouse, where: str = "true") -> list[object]:
    rows = query(warehouse, f"select v::text from shop.things where {where} order by id")
    return [value for (value,) in rows]


def kind_of(warehouse: Warehouse) -> object:
    found = query(warehouse, "select format_type(atttypid, atttypmod) from pg_attribute"
                             " where attrelid = 'shop.things'::regclass and attname = 'v'")  # fmt: skip
    return found[0][0]


def records(given: Sequence[object], *, base: int = 1) -> Batch:
    arrays = [pa.array(range(base, base + len(given)), pa.int64()), pa.array(given)]
    return Batch(pa.RecordBatch.from_arrays(arrays, names=["id", "v"]))


@pytest.mark.parametrize("disposition", DISPOSITIONS)
def test_postgres_casts_the_text_of_values_to_the_columns_own_type(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    """A column of each type; of every second one the stream says that it is text, of the others nothing."""
    names = [f"c{number}" for number in range(len(VALUES))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, VALUES, strict=True))
    make(warehouse, *MADE, f"create table shop.things (id bigint primary key, {columns})")
    query(warehouse, "insert into shop.things (id) values (1), (-1)")
    shapes = "select attname, format_type(atttypid, atttypmod) from pg_attribute where attnum > 1"
    shapes += " and attrelid = 'shop.things'::regclass and attname like 'c%%' order by attnum"
    before = dict(query(warehouse, shapes))
    declared: dict[str, ColumnType] = {"id": "bigint", **dict.fromkeys(names[::2], "text")}
    loaded = stream(declared, disposition=disposition, options={"max_quarantine_share": 1.0})

    def record(number: int, place: int, **other: object) -> Batch:
        found = [given[place % len(given)] for given, _, _ in VALUES.values()]
        return batch([{"id": number, **dict(zip(names, found, strict=True)), **other}])

    nothing = batch([{"id": 9, **dict.fromkeys(names)}])
    every = [record(place + 1, place) for place in range(5)]
    bad = [record(n, 0, **{name: VALUES[kind][2]}) for n, (name, kind) in
           enumerate(zip(names, VALUES, strict=True), 100)]  # fmt: skip
    for again in (False, True):
        outcome = load(warehouse, loaded, [*every, *bad, nothing], allow_shrink=True)
        assert outcome.quarantined == len(bad) and outcome.is_balanced
        assert again is False or disposition == "replace" or outcome.unchanged == 6
    current = "_valid_to is null" if disposition == "scd2" else "true"
    told = ", ".join(f"{name}::text" for name in names)
    rows = query(
        warehouse, f"select {told} from shop.things where id > 0 and {current} order by id"
    )
    expected = [
        tuple(said[place % len(said)] for _, said, _ in VALUES.values()) for place in range(5)
    ]
    if disposition == "append":
        expected[0] = (None,) * len(names)
    assert rows == [*expected, (None,) * len(names)]
    assert dict(query(warehouse, shapes)) == before
    waiting = query(warehouse, "select distinct column_name, reason from shop.things__quarantine"
                               " where record::jsonb ->> column_name is not null")  # fmt: skip
    assert dict(waiting) == {name: f"not a {kind}" for name, kind in before.items()}


@pytest.mark.parametrize("kind", ["shop.mood", "interval", "text[]", "point"])
@pytest.mark.parametrize("disposition", ["upsert", "scd2"])
def test_equal_values_are_no_change_and_others_are_one(
    warehouse: Warehouse, disposition: Disposition, kind: str
) -> None:
    """Some types have no equality, and for others values that differ are equal."""
    one, other = {
        "shop.mood": ("sad", "glad"),
        "interval": ("1 month", "30 days"),
        "text[]": ("{a}", "[0:0]={a}"),
        "point": ("(1,2)", "(1,2.0000001)"),
    }[kind]
    made(warehouse, kind)
    loaded = replace(THINGS, disposition=disposition)
    load(warehouse, loaded, [records([one])])
    assert load(warehouse, loaded, [records([one])]).unchanged == 1
    again = load(warehouse, loaded, [records([other])])
    assert (again.updated, again.inserted) == ((1, 0) if disposition == "upsert" else (0, 1))


@pytest.mark.parametrize("disposition", DISPOSITIONS)
def test_lists_and_structs_of_arrow_become_arrays_and_rows(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    make(
        warehouse,
        *MADE,
        "create table shop.things (id bigint primary key, words text[], numbers double precision[],"
        " times timestamptz[], pair shop.pair, grid integer[], raw bytea[], days date[])",
    )
    rows = [
        {
            "id": n,
            "words": ["a", None, 'b"'],
            "numbers": [0.1, 1e300],
            "times": [1_000_000, None],
            "pair": {"b": ["x"], "a": n},
            "grid": [[1, 2], [3, 4]],
            "days": [0],
        }
        for n in range(3)
    ]
    schema = pa.schema({
        "id": pa.int64(), "words": pa.list_(pa.string()), "numbers": pa.large_list(pa.float64()),
        "times": pa.list_(pa.timestamp("us", "UTC")), "pair": pa.struct({"b": pa.list_(pa.string()), "a": pa.int64()}),
        "grid": pa.list_(pa.list_(pa.int32(), 2)), "days": pa.list_(pa.date32()),
    })  # fmt: skip
    load(warehouse, replace(THINGS, disposition=disposition), [batch(rows, schema=schema)])
    found = query(warehouse, "select words, numbers, times::text, pair::text, grid, days::text"
                             " from shop.things where id = 2")  # fmt: skip
    assert found == [
        (
            ["a", None, 'b"'],
            [0.1, 1e300],
            '{"1970-01-01 00:00:01+00",NULL}',
            "(2,{x})",
            [[1, 2], [3, 4]],
            "{1970-01-01}",
        )
    ]


def test_bytes_inside_lists_are_set_aside_since_their_digits_would_be_taken_for_bytes(
    warehouse: Warehouse,
) -> None:
    make(warehouse, "create table shop.things (id bigint primary key, v bytea[])")
    outcome = load(warehouse, THINGS, [records([[b"\x00\xff"]]), records(["{\\\\x00ff}"], base=2)])
    assert outcome.quarantined == 1
    assert query(warehouse, "select id, v from shop.things") == [(2, [b"\x00\xff"])]


@pytest.mark.parametrize("kind", ["shop.mood", "interval", "shop.code"])
@pytest.mark.parametrize("rows", [3, 3_000])
def test_a_key_may_be_of_a_type_of_its_own(warehouse: Warehouse, kind: str, rows: int) -> None:
    keys = ("1 mon", "30 days") if kind == "interval" else ("sad", "sad")
    made(warehouse, kind, key="n bigint")
    query(warehouse, "alter table shop.things add primary key (v)")
    keyed = stream({"v": "text", "n": "bigint"}, primary_key=("v",))
    for base in (0, 10):
        many = [{"v": keys[n % 2], "n": base + n} for n in range(rows)]
        outcome = load(warehouse, keyed, [batch(many)])
        assert outcome.superseded == rows - 1 and outcome.is_balanced
    assert query(warehouse, "select n from shop.things") == [(9 + rows,)]


@pytest.mark.parametrize("disposition", DISPOSITIONS)
@pytest.mark.parametrize("is_rewritten", [False, True])
def test_many_records_with_own_types_go_every_way(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    disposition: Disposition,
    is_rewritten: bool,
) -> None:
    """More than go straight into a table, some bad, some twice, in a table that has rows and views."""
    made(warehouse, "integer[] not null default '{0}' check (cardinality(v) < 9)")
    make(
        warehouse,
        "insert into shop.things (id) select n from generate_series(1, 2000) as n",
        "analyze shop.things",
        "create view shop.seen as select id, v[1] as first from shop.things",
        "create index things_v on shop.things using gin (v)",
    )
    if is_rewritten:
        monkeypatch.setattr(merge, "REWRITE_ROWS", 4)
    given = [f"[{n}]" if n % 50 else "[x]" for n in range(1, 3001)]
    extra = records(["[7, 7]"], base=7)
    outcome = load(warehouse, replace(THINGS, disposition=disposition), [records(given), extra])
    assert (outcome.quarantined, outcome.superseded, outcome.is_balanced) == (60, 1, True) or (
        disposition == "scd2" and outcome.is_balanced
    )
    known = 1960 if disposition == "append" else 0
    left = {"upsert": 40, "append": 40, "replace": 0, "scd2": 2000}[disposition]
    zero = query(warehouse, "select count(*) from shop.seen where first = 0")
    assert zero == [(known + left,)]
    current = " and _valid_to is null" if disposition == "scd2" else ""
    at = query(
        warehouse, "select v from shop.things where id in (7, 2999)" + current + " order by id"
    )
    assert at == [([0] if disposition == "append" else [7, 7],), ([2999],)]
    assert kind_of(warehouse) == "integer[]"


def test_more_records_that_do_not_fit_than_are_kept_in_memory(warehouse: Warehouse) -> None:
    made(warehouse, "integer[]")
    loaded = replace(THINGS, options={"max_quarantine_share": 0.9})
    outcome = load(
        warehouse, loaded, [records([f"[{n}]" if n % 3 else "[x]" for n in range(30_000)])]
    )
    assert (outcome.inserted, outcome.quarantined, outcome.is_balanced) == (20_000, 10_000, True)
    kept = query(
        warehouse, "select count(distinct record), min(reason) from shop.things__quarantine"
    )
    assert kept == [(10_000, "not a integer[]")]
    with pytest.raises(FatalError, match=r"more than 10%.*column v: not a integer\[\]"):
        load(
            warehouse,
            THINGS,
            [records([f"[{n}]" if n % 3 else "[x]" for n in range(60)], base=-99)],
        )
    assert query(warehouse, "select count(*) from shop.things where id < 0") == [(0,)]


def test_what_did_not_fit_is_replayed_once_the_type_takes_it(warehouse: Warehouse) -> None:
    query(warehouse, "create type mood as enum ('glad')")
    made(warehouse, "mood")
    load(warehouse, THINGS, [records(["glad", "angry"])])
    query(warehouse, "alter type mood add value 'angry'")
    outcome = replay(warehouse, THINGS)
    assert outcome is not None and outcome.inserted == 1
    assert values(warehouse) == ["glad", "angry"]
    reasons = query(warehouse, "select reason from shop.things__quarantine")
    assert reasons == [("not a public.mood",)]


def test_a_column_of_its_own_type_that_comes_late_and_into_an_empty_table(
    warehouse: Warehouse,
) -> None:
    made(warehouse, "shop.mood default 'sad'")
    outcome = load(warehouse, THINGS, [batch([{"id": 1}]), records(["glad"], base=2)])
    assert outcome.inserted == 2
    assert values(warehouse) == [None, "glad"]
    load(warehouse, THINGS, [batch([{"id": 3}])])
    assert values(warehouse, "id = 3") == ["sad"]
