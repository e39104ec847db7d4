"""L1 over a line that breaks at some message, and what stands between us and the server (L9)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.streams import Batch, Disposition
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse import loading_process
from meltano_assets_tests.warehouse.postgres_proxy import BreakingLine, Pooler, running
from meltano_assets_tests.warehouse.tables import batch, query, stream
from meltano_assets_tests.warehouse.test_kill import (
    DISPOSITIONS,
    actual,
    check_agreement,
    expected,
)


def load_round(warehouse: Warehouse, disposition: Disposition, number: int, seed: int) -> None:
    """One round of ``test_kill``'s loads, in this process."""
    is_incremental = disposition != "replace"
    bookmark = state.read_bookmark(warehouse, "shop", "killed")
    load(
        warehouse,
        replace(loading_process.STREAM, disposition=disposition, max_shrink=1.0),
        loading_process.batches(
            loading_process.records(disposition, number, seed),
            bookmark.as_time() if bookmark is not None and is_incremental else None,
            "never",
            has_bookmarks=is_incremental,
        ),
    )


def break_lines(warehouse: Warehouse, disposition: Disposition, step: int) -> int:
    """A load over a line that breaks at every ``step``-th message; returns how often it broke."""
    rng = random.Random(f"{disposition} {step}")
    broken = number = seed = 0
    place = rng.randrange(1, step + 1)
    while True:
        line = BreakingLine(warehouse, place, is_heard=rng.random() < 0.5)
        with running(line):
            # Without the connection that asks for keys, or with the last word unheard, it succeeds.
            with suppress(RetriableError):
                load_round(line.warehouse, disposition, number, seed)
                broken -= 1
            broken += 1
            check_agreement(warehouse)
        load_round(warehouse, disposition, number, seed)
        assert actual(warehouse) == expected(disposition, number + 1, seed)
        check_agreement(warehouse)
        if line.passed < place and number == 0:
            return broken
        place += step
        # First loads, which make the table, and later ones, which merge into it, in turn.
        number = 0 if number else 1
        if number == 0:
            seed += 1
            query(warehouse, "drop schema shop, meltano cascade")


@pytest.mark.parametrize(
    "disposition",
    ["upsert", *(pytest.param(one, marks=pytest.mark.slow) for one in DISPOSITIONS[1:])],
)
def test_a_line_that_breaks_at_some_message_loses_and_doubles_nothing(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    assert break_lines(warehouse, disposition, 79) > 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("disposition", DISPOSITIONS)
def test_a_line_that_breaks_at_any_message_loses_and_doubles_nothing(
    warehouse: Warehouse, disposition: Disposition
) -> None:
    assert break_lines(warehouse, disposition, 1) > 50


def test_a_pooler_that_shares_sessions_is_refused_before_anything_is_read(
    warehouse: Warehouse,
) -> None:
    things = stream({"id": "bigint"})

    def unread() -> Iterator[Batch]:
        raise AssertionError("the source was asked")
        yield

    with running(Pooler(warehouse)) as pooler:
        with pytest.raises(FatalError, match=r"a pooler there.*pool in session mode"):
            load(pooler.warehouse, things, unread())
        with pytest.raises(FatalError, match="a pooler there"):
            state.read_bookmark(pooler.warehouse, "shop", "things")
    assert query(warehouse, "select from pg_locks where locktype = 'advisory'") == []
    assert load(warehouse, things, [batch([{"id": 1}])]).inserted == 1
