"""The benchmarks run (L8): every way on a handful of rows, so that they do not rot. Memory is constant (L7)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import sql

from benchmarks import files, workloads
from benchmarks import load as loads
from meltano_assets.warehouse.connection import Warehouse

ROWS = 300


@pytest.mark.parametrize("workload", ["w1", "w2"])
def test_each_case_runs_each_of_its_ways(
    warehouse: Warehouse, tmp_path: Path, workload: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = workloads.table(workload, ROWS)
    workloads.write_csv(base, tmp_path / "base.csv")
    for case in ("append", "replace", "upsert-tenth", "nothing"):
        rows = loads.rows_of(case, workload, base)
        workloads.write_csv(rows, tmp_path / "rows.csv")
        bench = loads.Bench(
            warehouse, workload, base, rows, tmp_path / "base.csv", tmp_path / "rows.csv"
        )
        loads.measure(bench, case, rounds=1)
    assert "pandas, numpy" in capsys.readouterr().out


def test_the_same_rows_load_from_every_form(warehouse: Warehouse, tmp_path: Path) -> None:
    inputs = files.Inputs(tmp_path, ROWS)
    inputs.write()
    tools = files.commands(inputs, warehouse.url, tmp_path / "environments", tmp_path)
    files.reset(warehouse)
    environment = os.environ | {"MELTANO_WAREHOUSE_URL": warehouse.url}
    for tool in ("floor: psql csv", "load ndjson"):
        files.run(tools[tool], environment, tmp_path / "log")
    with warehouse.connect() as connection:
        floor, ours = (
            connection.execute(
                sql.SQL("select id, amount, s7, body, extra from {}.w1 order by id").format(
                    sql.Identifier(schema)
                )
            ).fetchall()
            for schema in ("bench_floor", "bench_ours")
        )
    assert len(floor) == ROWS and floor == ours


def peak(warehouse: Warehouse, rows: int) -> int:
    """MiB that a process of its own takes to load so many rows in one checkpoint."""
    command = [sys.executable, "-m", "benchmarks.memory", "--workload", "w2"]
    ran = subprocess.run(
        [*command, "--url", warehouse.url, "--rows", str(rows)],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"(\d+) MiB", ran.stdout)
    assert found is not None, ran.stdout
    return int(found[1])


def test_memory_does_not_grow_with_the_rows(warehouse: Warehouse) -> None:
    """L7: four times the rows, the same memory, but for 8 bytes a record."""
    assert peak(warehouse, 800_000) < peak(warehouse, 200_000) + 48


@pytest.mark.slow
def test_ten_million_rows_load_in_half_a_gibibyte(warehouse: Warehouse) -> None:
    """L7, in full."""
    assert peak(warehouse, 10_000_000) < 512
