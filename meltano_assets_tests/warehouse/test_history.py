"""The disposition scd2 (L2): versions, their spans, deletes, late records, reruns, changing shapes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, Column, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse.tables import Rows, batch, contents, query, stream

TIMED = stream(
    {"id": "bigint", "v": "text", "at": "timestamptz"}, replication_key="at", disposition="scd2"
)
PLAIN = stream({"id": "bigint", "v": "text"}, disposition="scd2")
DAY = "2026-03-0{}T00:00:00Z"


def at(day: int, v: object = None, number: int = 1, **more: object) -> dict[str, object]:
    return {"id": number, "v": v, "at": DAY.format(day), **more}


def spans(warehouse: Warehouse, columns: str = "id, v") -> list[tuple[object, ...]]:
    """Every version with the days from and to which it holds."""
    return query(
        warehouse,
        f"select {columns}, extract(day from _valid_from)::int, extract(day from _valid_to)::int"
        " from shop.things order by id, _valid_from",
    )


def current(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return query(warehouse, "select id, v from shop.things where _valid_to is null order by id")


def test_every_version_holds_until_the_next(warehouse: Warehouse) -> None:
    load(warehouse, TIMED, [batch([at(1, "a"), at(1, "x", 2)])])
    outcome = load(warehouse, TIMED, [batch([at(3, "b"), at(5, "c")])])
    assert (outcome.inserted, outcome.updated) == (2, 0)
    assert spans(warehouse) == [
        (1, "a", 1, 3),
        (1, "b", 3, 5),
        (1, "c", 5, None),
        (2, "x", 1, None),
    ]
    hashes = query(warehouse, "select count(distinct _row_hash), min(length(_row_hash))"
                              " from shop.things")  # fmt: skip
    assert hashes == [(4, 32)]


@pytest.mark.parametrize("target", [TIMED, PLAIN], ids=["timed", "plain"])
def test_the_same_records_again_change_nothing(warehouse: Warehouse, target: Stream) -> None:
    names = [column.name for column in target.columns]
    rows = [{name: row[name] for name in names} for row in (at(1, "a"), at(2, None, 2))]
    load(warehouse, target, [batch(rows)])
    before = contents(warehouse, "shop.things", "things.*")
    outcome = load(warehouse, target, [batch(rows), batch(rows)])
    assert (outcome.unchanged, outcome.superseded, outcome.loaded) == (2, 2, 0)
    assert contents(warehouse, "shop.things", "things.*") == before


def test_without_a_time_the_moment_of_loading_counts(warehouse: Warehouse) -> None:
    load(warehouse, PLAIN, [batch([{"id": 1, "v": "a"}, {"id": 1, "v": "b"}])])
    load(warehouse, PLAIN, [batch([{"id": 1, "v": "c"}])])
    load(warehouse, PLAIN, [batch([{"id": 1, "v": "b"}])])
    rows = query(warehouse, "select v, _valid_to = lead(_valid_from) over (order by _valid_from),"
                            " _valid_to is null from shop.things order by _valid_from")  # fmt: skip
    assert rows == [("b", True, False), ("c", True, False), ("b", None, True)]
    assert query(warehouse, "select count(distinct _row_hash) from shop.things") == [(2,)]


def test_deletes_end_versions_and_a_later_record_begins_anew(warehouse: Warehouse) -> None:
    load(warehouse, PLAIN, [batch([{"id": 1, "v": "a"}, {"id": 2, "v": "b"}])])
    gone = {"id": 1, "v": None, "_deleted_at": "2020-01-01T00:00:00Z"}
    for deleted in (1, 0):
        outcome = load(warehouse, PLAIN, [batch([gone])])
        assert (outcome.deleted, outcome.updated, outcome.unchanged) == (
            deleted,
            deleted,
            1 - deleted,
        )
        assert current(warehouse) == [(2, "b")]
    kept = query(warehouse, "select v, _deleted_at is null, _valid_to >= _valid_from"
                            " from shop.things where id = 1")  # fmt: skip
    assert kept == [("a", False, True)]
    load(warehouse, PLAIN, [batch([{"id": 1, "v": "a"}])])
    assert current(warehouse) == [(1, "a"), (2, "b")]
    assert query(warehouse, "select count(*) from shop.things") == [(3,)]


def test_deletes_with_and_without_a_time_of_their_own(warehouse: Warehouse) -> None:
    load(warehouse, TIMED, [batch([at(1, "a"), at(1, "x", 2), at(1, "y", 3)])])
    rows = [
        at(4, None, 1, _deleted_at=DAY.format(4)),
        {"id": 2, "v": None, "at": None, "_deleted_at": DAY.format(5)},
        {"id": 9, "v": "z", "at": None, "_deleted_at": DAY.format(5)},
    ]
    outcome = load(warehouse, TIMED, [batch(rows)])
    assert (outcome.deleted, outcome.inserted, outcome.updated) == (3, 2, 1)
    expected = [
        (1, "a", 1, 4),
        (1, "a", 4, 4),
        (2, "x", 1, 5),
        (3, "y", 1, None),
        (9, "z", 5, 5),
    ]
    assert spans(warehouse) == expected
    # Read again, as a lookback does: the live record of day 1 does not bring the key back.
    again = load(warehouse, TIMED, [batch([at(1, "x", 2), *rows])])
    assert (again.unchanged, again.deleted) == (4, 0)
    assert spans(warehouse) == expected
    load(warehouse, TIMED, [batch([at(7, "x", 2)])])
    assert spans(warehouse)[3] == (2, "x", 7, None)


def test_a_late_record_takes_its_place_and_a_corrected_one_its_values(
    warehouse: Warehouse,
) -> None:
    load(warehouse, TIMED, [batch([at(1, "a"), at(5, "c")])])
    outcome = load(warehouse, TIMED, [batch([at(3, "b"), at(5, "C")])])
    assert (outcome.inserted, outcome.updated) == (1, 1)
    assert spans(warehouse) == [(1, "a", 1, 3), (1, "b", 3, 5), (1, "C", 5, None)]


@pytest.mark.parametrize("seed", range(6))
def test_the_history_does_not_depend_on_how_its_records_come(
    warehouse: Warehouse, seed: int
) -> None:
    rng = random.Random(seed)
    records: list[dict[str, object]] = []
    for number in range(4):
        days = rng.sample(range(1, 9), rng.randint(1, 5))
        for day in sorted(days):
            is_deleted = rng.random() < 0.2
            records.append(
                at(
                    day,
                    f"{number} {day}",
                    number,
                    _deleted_at=DAY.format(day) if is_deleted else None,
                )
            )

    def expected() -> list[tuple[object, ...]]:
        result = []
        for number in range(4):
            own = [row for row in records if row["id"] == number]
            ends = [*(str(row["at"])[:10] for row in own[1:]), None]
            for row, end in zip(own, ends, strict=True):
                until = str(row["at"])[:10] if row["_deleted_at"] else end
                result.append((number, row["v"], str(row["at"])[:10], until))
        return result

    pieces: list[Batch] = []
    rest = rng.sample(records, len(records)) + rng.choices(records, k=5)
    while rest:
        size = rng.randint(1, 6)
        pieces.append(batch(rest[:size]))
        rest = rest[size:]
    while pieces:
        size = rng.randint(1, 3)
        assert load(warehouse, TIMED, pieces[:size]).is_balanced
        pieces = pieces[size:]
    assert expected() == query(
        warehouse,
        "select id, v, _valid_from::date::text, _valid_to::date::text from shop.things"
        " order by id, _valid_from",
    )


def test_a_history_changes_its_shape_like_any_table(warehouse: Warehouse) -> None:
    load(warehouse, PLAIN, [batch([{"id": 1, "v": "a", "n": 1}, {"id": 2, "v": "b", "n": 2}])])
    same = load(warehouse, PLAIN, [batch([{"id": 1, "v": "a", "n": "1.0", "new": None}])])
    assert same.unchanged == 1
    load(warehouse, PLAIN, [batch([{"id": 2, "v": "b", "n": "2.5", "new": "x"}])])
    rows = query(warehouse, "select id, n::text, new from shop.things where _valid_to is null order by id")  # fmt: skip
    assert rows == [(1, "1", None), (2, "2.5", "x")]
    assert query(warehouse, "select count(*) from shop.things") == [(3,)]


def test_a_full_refresh_ends_what_is_gone_and_keeps_the_history(warehouse: Warehouse) -> None:
    def rows(*numbers: int) -> Rows:
        return [{"id": number, "v": "a"} for number in numbers]

    load(warehouse, PLAIN, [batch(rows(1, 2, 3))])
    outcome = load(warehouse, PLAIN, [batch(rows(1)), batch(rows(2, 4))], full_refresh=True)
    assert (outcome.inserted, outcome.unchanged, outcome.deleted) == (1, 2, 1)
    assert outcome.disposition == "scd2"
    assert current(warehouse) == [(1, "a"), (2, "a"), (4, "a")]
    assert query(warehouse, "select count(*) from shop.things") == [(4,)]
    with pytest.raises(FatalError, match="lacks 3 of the 3 records"):
        load(warehouse, PLAIN, [], full_refresh=True)
    assert len(current(warehouse)) == 3
    load(warehouse, PLAIN, [], full_refresh=True, allow_shrink=True)
    assert current(warehouse) == []


@pytest.mark.parametrize("kind", [PLAIN, TIMED], ids=["plain", "timed"])
def test_what_a_full_refresh_brings_again_holds_again(warehouse: Warehouse, kind: Stream) -> None:
    both, one = [batch([at(1, "a"), at(2, "x", 2)])], [batch([at(1, "a")])]
    load(warehouse, kind, both)
    load(warehouse, kind, one, full_refresh=True)
    assert current(warehouse) == [(1, "a")]
    outcome = load(warehouse, kind, both, full_refresh=True)
    assert (outcome.inserted, outcome.unchanged) == (1, 1)
    assert current(warehouse) == [(1, "a"), (2, "x")]
    assert query(
        warehouse,
        "select count(*), count(*) filter (where _valid_to <= now() and _deleted_at is not null),"
        " max(_valid_from) > max(_valid_to) from shop.things where id = 2",
    ) == [(2, 1, True)]
    # Nothing new: nothing changes.
    before = contents(warehouse, "shop.things", "id, v, _valid_from, _valid_to, _loaded_at")
    outcome = load(warehouse, kind, both, full_refresh=True)
    assert outcome.unchanged == 2
    assert contents(warehouse, "shop.things", "id, v, _valid_from, _valid_to, _loaded_at") == before
    # A record that is just late says nothing of today.
    load(warehouse, kind, one, full_refresh=True)
    if kind is TIMED:
        load(warehouse, kind, [batch([at(1, "w", 2)])])
        assert current(warehouse) == [(1, "a")]


def test_an_upserted_table_becomes_a_history(warehouse: Warehouse) -> None:
    load(warehouse, TIMED.with_disposition("upsert"), [
        batch([at(1, "a"), at(1, "x", 2), at(2, "x", 2, _deleted_at=DAY.format(2))])
    ])  # fmt: skip
    outcome = load(warehouse, TIMED, [batch([at(1, "a"), at(4, "b")])])
    assert "added column _valid_from (timestamptz)" in outcome.schema_changes
    assert (outcome.unchanged, outcome.inserted) == (1, 1)
    assert spans(warehouse) == [(1, "a", 1, 4), (1, "b", 4, None), (2, "x", 2, 2)]
    with pytest.raises(FatalError, match="has the primary key"):
        load(warehouse, TIMED.with_disposition("upsert"), [batch([at(5, "c")])])


def test_names_that_a_history_needs_may_be_taken(warehouse: Warehouse) -> None:
    load(warehouse, stream({"id": "bigint"}, name="things_current"), [batch([{"id": 1}])])
    record = {"id": 1, "v": "a", "_valid_from": "mine", "_row_hash": "too"}
    load(warehouse, PLAIN, [batch([record])])
    names = dict(query(warehouse, "select field, column_name from meltano.column_names"))
    assert query(
        warehouse, f'select "{names["_valid_from"]}", "{names["_row_hash"]}" from shop.things'
    ) == [("mine", "too")]
    with pytest.raises(ValueError, match="columns of its own"):
        replace(PLAIN, columns=(*PLAIN.columns, Column("_valid_to")))
    long = replace(PLAIN, name="é" * 31)
    for _ in range(2):
        assert load(warehouse, long, [batch([{"id": 1, "v": "a"}])]).is_balanced
