"""Quarantined records are tried again (L3), and nothing newer is overwritten."""

from __future__ import annotations

from dataclasses import replace

from meltano_assets.streams import Column
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.replay import replay
from meltano_assets_tests.warehouse.tables import batch, query, stream

THINGS = stream({"id": "bigint", "v": "numeric", "at": "timestamptz"}, replication_key="at")


def waiting(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return query(
        warehouse,
        "select record, reason from shop.things__quarantine where replayed_at is null order by id",
    )


def test_replay_loads_what_has_become_possible_and_keeps_the_rest(warehouse: Warehouse) -> None:
    load(
        warehouse,
        THINGS,
        [
            batch(
                [
                    {"id": 1, "v": "1.50", "at": "2026-03-01T00:00:00Z"},
                    {"id": 2, "v": "n/a", "at": "2026-03-01T00:00:00Z"},
                    {"id": 3, "v": "n/a", "at": "2026-03-01T00:00:00Z"},
                    {"id": None, "v": "5", "at": "2026-03-01T00:00:00Z"},
                ]
            ),
            batch([{"id": 3, "v": "9", "at": "2026-03-02T00:00:00Z"}]),
        ],
    )
    assert len(waiting(warehouse)) == 3
    columns = (Column("id", "bigint"), Column("v", "text"), Column("at", "timestamptz"))
    outcome = replay(warehouse, replace(THINGS, columns=columns))
    assert outcome is not None
    assert (outcome.read, outcome.inserted, outcome.unchanged, outcome.quarantined) == (3, 1, 1, 1)
    rows = query(warehouse, "select id, v from shop.things order by id")
    assert rows == [(1, "1.50"), (2, "n/a"), (3, "9")]
    assert [reason for _, reason in waiting(warehouse)] == ["the primary key is null"]
    again = replay(warehouse, replace(THINGS, columns=columns))
    assert again is not None and (again.read, again.quarantined) == (1, 1)


def test_replay_of_nothing_is_nothing(warehouse: Warehouse) -> None:
    assert replay(warehouse, THINGS) is None
    load(warehouse, THINGS, [batch([{"id": 1, "v": 1}])])
    assert replay(warehouse, THINGS) is None
