"""SIGKILL at any moment of a load: table, bookmark and log agree, and a rerun completes it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import cast

import pytest

from meltano_assets.errors import RetriableError
from meltano_assets.streams import Batch, Disposition
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse.loading_process import records
from meltano_assets_tests.warehouse.tables import batch, query, stream

DISPOSITIONS: tuple[Disposition, ...] = ("upsert", "append", "replace", "scd2")


def run(warehouse: Warehouse, disposition: str, number: int, seed: int, moment: str) -> int:
    """The process's exit code; -9 when it was killed."""
    module = "meltano_assets_tests.warehouse.loading_process"
    arguments = [warehouse.url, disposition, str(number), str(seed), moment]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode


def expected(disposition: Disposition, rounds: int, seed: int) -> list[tuple[object, ...]]:
    """What the table holds after all rounds, computed without the loader."""
    table: dict[object, dict[str, object]] = {}
    for number in range(rounds):
        rows = records(disposition, number, seed)
        if disposition == "scd2":
            table.update({(row["id"], row["at"]): row for row in rows})
            continue
        if disposition == "replace":
            table.clear()
        table.update({row["id"]: row for row in rows})
    found = sorted((row["id"], row["at"], row["name"], row["amount"]) for row in table.values())  # type: ignore[type-var] # an id and a time
    if disposition != "scd2":
        return found
    # Each version holds until the next one of its key.
    following = [*found[1:], (None, None)]
    return [
        (*row, row[1], after[1] if after[0] == row[0] else None)
        for row, after in zip(found, following, strict=True)
    ]


def actual(warehouse: Warehouse) -> list[tuple[object, ...]]:
    spans = query(warehouse, "select 1 from information_schema.columns where table_schema = 'shop'"
                             " and table_name = 'killed' and column_name = '_valid_to'")  # fmt: skip
    columns = "id, at, name, amount::text" + ", _valid_from, _valid_to" * bool(spans)
    return query(warehouse, f"select {columns} from shop.killed order by id, at")


def check_agreement(warehouse: Warehouse) -> None:
    """Straight after a kill: the bookmark is what the table holds, and the log adds up."""
    if query(warehouse, "select to_regclass('shop.killed')") == [(None,)]:
        return
    bookmark = state.read_bookmark(warehouse, "shop", "killed")
    newest = query(warehouse, "select max(at), count(*) from shop.killed")[0]
    if bookmark is not None:
        assert bookmark.as_time() == cast(datetime, newest[0])
    logged = query(
        warehouse, "select coalesce(sum(inserted), 0) from meltano.load_log where disposition <> 'replace'"
    )  # fmt: skip
    if bookmark is not None:
        assert logged[0][0] == newest[1]
    leftovers = query(warehouse, "select relname from pg_class where relname like 'meltano_new%'")
    assert leftovers == []


@pytest.mark.parametrize(
    ("disposition", "moments"),
    [
        ("upsert", ["before-copy", "during-copy", "before-commit", "after-commit"]),
        ("append", ["during-copy", "after-commit"]),
        ("replace", ["during-copy", "before-commit"]),
        ("scd2", ["during-copy", "before-commit", "after-commit"]),
    ],
)
def test_a_load_killed_anywhere_is_completed_by_the_next(
    warehouse: Warehouse, disposition: Disposition, moments: list[str]
) -> None:
    for number, moment in enumerate(moments):
        killed = run(warehouse, disposition, number, 1, moment)
        assert killed == -9
        check_agreement(warehouse)
        assert run(warehouse, disposition, number, 1, "never") == 0
        assert actual(warehouse) == expected(disposition, number + 1, 1)
        check_agreement(warehouse)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(70))
@pytest.mark.parametrize("disposition", DISPOSITIONS)
@pytest.mark.timeout(600)
def test_a_load_killed_at_random_is_completed_by_the_next(
    warehouse: Warehouse, disposition: Disposition, seed: int
) -> None:
    rng = random.Random(seed)
    for number in range(3):
        run(warehouse, disposition, number, seed, f"{rng.uniform(0.0, 0.25):.4f}")
        check_agreement(warehouse)
        run(warehouse, disposition, number, seed, "never")
        assert actual(warehouse) == expected(disposition, number + 1, seed)
        check_agreement(warehouse)


def test_a_backend_that_dies_is_a_retriable_error_and_the_rerun_completes(
    warehouse: Warehouse,
) -> None:
    things = stream({"id": "bigint", "v": "text"})

    def batches() -> Iterator[Batch]:
        yield batch([{"id": 1, "v": "x"}], "1")
        yield batch([{"id": 2, "v": "y" * 1000}])
        query(
            warehouse,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'meltano-assets load shop.things'",
        )
        yield batch([{"id": 3, "v": "z"}], "3")

    with pytest.raises(RetriableError, match=r"shop\.things"):
        load(warehouse, things, batches())
    assert query(warehouse, "select id from shop.things") == [(1,)]
    record = state.last_load(warehouse, "shop", "things")
    assert record is not None and record.status == "failed"
    load(warehouse, things, [batch([{"id": n, "v": "x"} for n in (1, 2, 3)], "3")])
    assert query(warehouse, "select count(*) from shop.things") == [(3,)]
