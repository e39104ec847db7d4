"""Peak memory of the loading process, and whether time grows with the rows and nothing else.

    python -m benchmarks.memory --rows 1000000 --rows 10000000

Each size is loaded in a process of its own from a generator that makes its batches as it goes, into a
new table with a primary key, in one checkpoint.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import workloads
from benchmarks.load import opened
from meltano_assets.streams import Batch
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load

_BATCH = 50_000


def batches(workload: str, rows: int) -> Iterator[Batch]:
    """The workload's rows, made from one batch with ever new ids."""
    first = workloads.table(workload, _BATCH).to_batches()[0]
    place = first.schema.get_field_index("id")
    for start in range(0, rows, _BATCH):
        ids = pc.add(first.column(place), pa.scalar(start * 10))
        columns = [ids if n == place else column for n, column in enumerate(first.columns)]
        yield Batch(pa.RecordBatch.from_arrays(columns, names=first.schema.names))


def one(url: str, workload: str, rows: int) -> None:
    """Load, and print seconds and the peak of resident memory in MiB."""
    began = time.perf_counter()
    stream = workloads.stream(workload, f"{workload}_{rows}")
    outcome = load(Warehouse(url), stream, batches(workload, rows))
    seconds = time.perf_counter() - began
    assert outcome.inserted == rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{workload} {rows:>12,} rows {seconds:8.1f} s {peak:8.0f} MiB")


def main() -> None:
    """Parse the command line; measure each size in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workload", choices=("w1", "w2"), default="w2")
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.rows or [1_000_000, 10_000_000]
    if options.url:
        one(options.url, options.workload, sizes[0])
        return
    with tempfile.TemporaryDirectory() as name, opened(Path(name)) as warehouse:
        for rows in sizes:
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.memory",
                    "--url",
                    warehouse.url,
                    "--workload",
                    options.workload,
                    "--rows",
                    str(rows),
                ],
                check=True,
            )


if __name__ == "__main__":
    main()
