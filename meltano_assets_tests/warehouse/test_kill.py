"""L1: SIGKILL, a server process that dies, a full disk at any moment of a load: table, bookmark and log agree, and a rerun completes it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import cast

import pytest
from psycopg import sql

from meltano_assets.errors import RetriableError
from meltano_assets.streams import Batch, Bookmark, Disposition
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.warehouse.loading_process import records
from meltano_assets_tests.warehouse.tables import batch, contents, query, stream

DISPOSITIONS: tuple[Disposition, ...] = ("upsert", "append", "replace", "scd2")


Run = Callable[[str, str, int, int, str], int]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs one load in a process of its own and tells how it ended."""
    module = "meltano_assets_tests.warehouse.loading_process"
    with subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as loads:
        assert loads.stdin is not None and loads.stdout is not None

        def one(url: str, disposition: str, number: int, seed: int, moment: str) -> int:
            assert loads.stdin is not None and loads.stdout is not None
            print(url, disposition, number, seed, moment, file=loads.stdin, flush=True)
            ended = int(loads.stdout.readline())
            assert ended in (0, 1, -9)
            return ended

        yield one
        loads.stdin.close()


def wait_for_the_server(warehouse: Warehouse) -> None:
    """A commit that was sent before a kill may still be under way."""
    while query(
        warehouse,
        "select from pg_stat_activity where datname = current_database()"
        " and application_name = 'meltano-assets load shop.killed'",
    ):
        time.sleep(0.01)


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


def check_agreement(warehouse: Warehouse, *, may_leave_hidden: bool = False) -> None:
    """Straight after a kill: the bookmark is what the table holds, and the log adds up.

    A table that several connections were filling stays, under its hidden name, until the next load.
    """
    wait_for_the_server(warehouse)
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
    assert leftovers == [] or may_leave_hidden


@pytest.mark.parametrize(
    ("disposition", "moments"),
    [
        ("upsert", ["before-copy", "during-copy", "before-commit", "after-commit"]),
        ("append", ["during-copy", "after-commit"]),
        ("replace", ["during-copy", "before-commit"]),
        ("replace", ["several-during-copy", "several-before-commit"]),
        ("scd2", ["during-copy", "before-commit", "after-commit"]),
    ],
)
def test_a_load_killed_anywhere_is_completed_by_the_next(
    warehouse: Warehouse, run: Run, disposition: Disposition, moments: list[str]
) -> None:
    for number, moment in enumerate(moments):
        killed = run(warehouse.url, disposition, number, 1, moment)
        assert killed == -9
        check_agreement(warehouse, may_leave_hidden=moment.startswith("several"))
        assert run(warehouse.url, disposition, number, 1, "never") == 0
        assert actual(warehouse) == expected(disposition, number + 1, 1)
        check_agreement(warehouse)


def kill_until(
    warehouse: Warehouse, run: Run, disposition: Disposition, kind: str, kills: int
) -> None:
    """Kills at random moments, each followed by a check and a load that completes it."""
    rng = random.Random(f"{disposition} {kind}")
    done = number = seed = 0
    seconds = 0.2
    while done < kills:
        delay = f"{kind}:{rng.uniform(0.0, seconds):.4f}"
        done += run(warehouse.url, disposition, number, seed, delay) != 0
        check_agreement(warehouse, may_leave_hidden=kind == "several")
        began = time.monotonic()
        assert run(warehouse.url, disposition, number, seed, "never") == 0
        # As long as a whole load of this size takes, so that kills fall into every part of it.
        seconds = max(0.05, time.monotonic() - began)
        assert actual(warehouse) == expected(disposition, number + 1, seed)
        check_agreement(warehouse)
        number += 1
        if number == 4:
            number, seed = 0, seed + 1
            query(warehouse, "drop schema shop, meltano cascade")


@pytest.mark.parametrize("disposition", DISPOSITIONS)
def test_a_load_killed_at_some_moment_is_completed_by_the_next(
    warehouse: Warehouse, run: Run, disposition: Disposition
) -> None:
    kill_until(warehouse, run, disposition, "process", 2)
    query(warehouse, "drop schema shop, meltano cascade")
    kill_until(warehouse, run, disposition, "backend", 1)
    if disposition == "replace":
        query(warehouse, "drop schema shop, meltano cascade")
        kill_until(warehouse, run, disposition, "several", 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("disposition", "kind", "kills"),
    [
        *((one, "process", 60) for one in DISPOSITIONS),
        *((one, "backend", 15) for one in DISPOSITIONS),
        ("replace", "several", 60),
    ],
)
@pytest.mark.timeout(1200)
def test_a_load_killed_at_random_is_completed_by_the_next(
    warehouse: Warehouse, run: Run, disposition: Disposition, kind: str, kills: int
) -> None:
    """300 processes and 60 server processes in all."""
    kill_until(warehouse, run, disposition, kind, kills)


@pytest.fixture
def tiny(server: EmbeddedServer, tmp_path: Path) -> Iterator[Warehouse]:
    """A database on a disk of 16 MB; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(disk)]
    if (
        shutil.which("mount") is None
        or subprocess.run(words, capture_output=True, check=False).returncode
    ):
        pytest.skip("a small disk cannot be mounted here")
    try:
        if not server.data_directory.is_dir():
            pytest.skip("whose server it is cannot be told")
        owner = server.directory.stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        administration = Warehouse(server.url("postgres"))
        name = f"tiny_{tmp_path.name[:20]}".replace("-", "_")
        for directory in reversed(disk.parents):
            directory.chmod(directory.stat().st_mode | 0o011)
        query_alone(administration, f"create tablespace {name} location '{disk}'")
        query_alone(administration, f"create database {name} tablespace {name}")
        yield Warehouse(server.url(name))
        query_alone(administration, f"drop database {name} with (force)")
        query_alone(administration, f"drop tablespace {name}")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def query_alone(warehouse: Warehouse, statement: str) -> None:
    """A statement that runs in no transaction."""
    with warehouse.connect(autocommit=True) as connection:
        connection.execute(sql.SQL(statement))  # type: ignore[arg-type] # written here


@pytest.mark.parametrize(
    "disposition",
    ["upsert", *(pytest.param(one, marks=pytest.mark.slow) for one in DISPOSITIONS[1:])],
)
def test_a_full_disk_changes_nothing_and_a_smaller_load_goes_on(
    tiny: Warehouse, disposition: Disposition
) -> None:
    things = stream({"id": "bigint", "v": "text"}, disposition=disposition)
    rows = [{"id": n, "v": "x" * 100} for n in range(100)]
    load(tiny, things, [batch(rows, "1")])
    before = contents(tiny, "shop.things", "id, v")
    noise = random.Random(1)

    def endless() -> Iterator[Batch]:
        for start in range(0, 10**6, 1000):
            yield batch([{"id": start + n, "v": noise.randbytes(1000).hex()} for n in range(1000)])

    with pytest.raises(RetriableError, match="free disk space"):
        load(tiny, things, endless(), full_refresh=disposition == "replace")
    assert contents(tiny, "shop.things", "id, v") == before
    assert state.read_bookmark(tiny, "shop", "things") == Bookmark("1")
    if disposition != "replace":
        load(tiny, things, [batch([{"id": 100, "v": "y"}], "2")])
        assert len(contents(tiny, "shop.things", "id")) == 101


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
