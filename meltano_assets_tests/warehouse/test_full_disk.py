"""A real disk that fills up: a clear error, books that agree, and a load that completes once there is room."""

from __future__ import annotations

import os
import random
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from psycopg import sql

from meltano_assets.errors import RetriableError
from meltano_assets.streams import Batch, Bookmark
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.command_line import process
from meltano_assets_tests.warehouse.tables import batch, query, stream

TARGET = stream({"id": "bigint", "text": "text"}, primary_key=("id",))
PARTS, PART_ROWS = 12, 1_000


class Disk:
    """A file system of some megabytes; more once somebody has made room."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._mount("-t", "tmpfs", "-o", "size=20m", "tmpfs")

    def make_room(self) -> None:
        self._mount("-o", "remount,size=200m")

    def _mount(self, *words: str) -> None:
        done = subprocess.run(["mount", *words, str(self.place)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("mounting a file system is not allowed here")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    yield Disk(place)
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def small(server: EmbeddedServer, disk: Disk) -> Iterator[Warehouse]:
    """A database on that disk; its log is elsewhere, as on many servers."""
    if not server.data_directory.is_dir():
        pytest.skip("whose server it is cannot be told")
    owner = server.data_directory.stat()
    os.chown(disk.place, owner.st_uid, owner.st_gid)
    disk.place.chmod(0o700)
    name = f"small_{uuid.uuid4().hex[:8]}"
    place = sql.Literal(str(disk.place))
    administration = Warehouse(server.url("postgres"))
    with administration.connect(autocommit=True) as connection:
        made = sql.SQL("create tablespace {0} location {1}").format(sql.Identifier(name), place)
        connection.execute(made)
        made = sql.SQL("create database {0} tablespace {0} strategy file_copy")
        connection.execute(made.format(sql.Identifier(name)))
    yield Warehouse(server.url(name))
    with administration.connect(autocommit=True) as connection:
        for statement in ("drop database {} with (force)", "drop tablespace {}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))  # type: ignore[arg-type]


def part(number: int) -> Batch:
    """A megabyte and a half that no compression makes smaller."""
    letters = random.Random(number)
    return batch(
        [
            {"id": number * PART_ROWS + n, "text": f"{letters.getrandbits(6_000):x}"}
            for n in range(PART_ROWS)
        ],
        str(number),
    )


def write_csv(path: Path, records: Iterable[pa.RecordBatch]) -> None:
    pa_csv.write_csv(pa.Table.from_batches(records), path)


def test_a_disk_that_fills_up_costs_only_the_checkpoint_at_hand(
    small: Warehouse, disk: Disk
) -> None:
    with pytest.raises(RetriableError, match=r"No space left on device.*53100") as caught:
        load(small, TARGET, map(part, range(PARTS)))
    assert caught.value.hint == "free disk space on the database server"
    bookmark = state.read_bookmark(small, "shop", "things")
    assert bookmark is not None
    done = int(str(bookmark.value)) + 1
    assert 0 < done < PARTS
    kept = "select count(*), max(id) from shop.things"
    assert query(small, kept) == [(done * PART_ROWS, done * PART_ROWS - 1)]
    logged = "select sum(inserted), count(*) from meltano.load_log where status = 'committed'"
    assert query(small, logged) == [(done * PART_ROWS, done)]

    disk.make_room()
    outcome = load(small, TARGET, map(part, range(done, PARTS)))
    assert outcome.bookmark == Bookmark(str(PARTS - 1))
    assert query(small, kept) == [(PARTS * PART_ROWS, PARTS * PART_ROWS - 1)]


def test_a_file_for_which_the_disk_has_no_room_is_told_and_loads_later(
    small: Warehouse, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", small.url)
    path = tmp_path / "things.csv"
    write_csv(path, (part(0).records,))
    words = ("load", str(path), "--table", "shop.things", "--primary-key", "id", "--full-refresh")
    assert process(*words).code == 0
    write_csv(path, (part(number).records for number in range(PARTS)))
    ran = process(*words)
    assert ran.code == 1
    assert "shop.things" in ran.err and "No space left on device" in ran.err
    assert "free disk space" in ran.err and f"{part(3).records.column(1)[0]}"[:20] not in ran.said
    assert query(small, "select count(*) from shop.things") == [(PART_ROWS,)]

    disk.make_room()
    assert process(*words).code == 0
    assert query(small, "select count(*), sum(id)::bigint from shop.things") == [
        (PARTS * PART_ROWS, sum(range(PARTS * PART_ROWS)))
    ]
    assert query(small, "select relname from pg_class where relname like 'meltano_new%'") == []
