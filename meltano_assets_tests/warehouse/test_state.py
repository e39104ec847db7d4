"""The loader's books (L10): created once by many, append-only bookmarks, one row a checkpoint."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, Bookmark
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse.tables import batch, query, stream

THINGS = stream({"id": "bigint"})


def test_all_books_exist_after_the_first_look(warehouse: Warehouse) -> None:
    assert state.read_bookmark(warehouse, "shop", "things") is None
    tables = query(
        warehouse, "select tablename from pg_tables where schemaname = 'meltano' order by 1"
    )
    assert [name for (name,) in tables] == [
        "bookmarks",
        "column_names",
        "job_log",
        "load_log",
        "new_fields",
        "quota_ledger",
        "reconciliation",
        "role_access",
        "schema_changes",
        "sweep_calls",
        "sweeps",
        "table_names",
    ]


def test_many_may_create_the_books_at_once(warehouse: Warehouse) -> None:
    failures: list[BaseException] = []

    def first() -> None:
        try:
            state.read_bookmark(warehouse, "shop", "things")
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_bookmarks_are_a_history_that_can_be_rewound_and_set(warehouse: Warehouse) -> None:
    for value in ("2026-03-01", "2026-03-02", "2026-03-03"):
        load(warehouse, THINGS, [batch([{"id": 1}], value)])
    assert state.rewind_bookmark(warehouse, "shop", "things") == Bookmark("2026-03-02")
    first = state.bookmark_history(warehouse, "shop", "things")[-1]
    assert state.rewind_bookmark(warehouse, "shop", "things", entry_id=first.id) == Bookmark(
        "2026-03-01"
    )
    beginning = datetime(2000, 1, 1, tzinfo=UTC)
    assert state.rewind_bookmark(warehouse, "shop", "things", before=beginning) is None
    assert state.read_bookmark(warehouse, "shop", "things") is None
    state.set_bookmark(warehouse, "shop", "things", Bookmark("2026-02-01", "cursor"))
    assert state.read_bookmark(warehouse, "shop", "things") == Bookmark("2026-02-01", "cursor")
    history = state.bookmark_history(warehouse, "shop", "things")
    assert [entry.reason for entry in history] == [
        "set", "rewind", "rewind", "rewind", "load", "load", "load"
    ]  # fmt: skip
    with pytest.raises(FatalError, match="no entry 999"):
        state.rewind_bookmark(warehouse, "shop", "things", entry_id=999)


def test_a_bookmark_is_not_moved_under_a_running_load(warehouse: Warehouse) -> None:
    def during() -> Iterator[Batch]:
        with pytest.raises(FatalError, match="a load of this stream is running"):
            state.set_bookmark(warehouse, "shop", "things", None)
        yield batch([{"id": 1}])

    load(warehouse, THINGS, during())


def test_the_load_log_adds_the_checkpoints_of_a_load_up(warehouse: Warehouse) -> None:
    outcome = load(
        warehouse,
        stream({"id": "bigint", "v": "text"}),
        [
            batch([{"id": 1, "v": "a\x00"}], "1"),
            batch([{"id": 1, "v": "b"}, {"id": 2, "v": "\x00"}], "2"),
        ],
        run_id="run-7",
        environment="test",
    )
    rows = query(warehouse, "select checkpoint, read, inserted, updated, bookmark_value,"
                 " environment from meltano.load_log order by id")  # fmt: skip
    assert rows == [(1, 1, 1, 0, "1", "test"), (2, 2, 1, 1, "2", "test")]
    record = state.last_load(warehouse, "shop", "things")
    assert record is not None
    assert (record.load_id, record.run_id, record.checkpoints) == (outcome.load_id, "run-7", 2)
    assert (record.read, record.inserted, record.updated) == (3, 2, 1)
    assert record.cleaned == outcome.cleaned == {"nul": 2}
