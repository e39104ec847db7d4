"""A file on disk to an upserted table, whole processes: `meltano-assets load` beside its peers.

    python -m benchmarks.files                                  # W1, 100,000 rows, everybody
    python -m benchmarks.files --rows 1000000 --only 'floor|load'

Each round starts every tool once, in an order that changes from round to round, on a missing table
(``first``) and with the same file once more, so that every key collides (``again``). The floor is
`psql \\copy` of the CSV into a temporary table, then ``INSERT … ON CONFLICT DO UPDATE``. Peers get an
environment of their own below --environments, made when it is missing.

Not like for like: dlt enforces no key unless told so (``key``), and keeps ``extra`` as ``json``; sling
infers numeric for floats and times without a zone, and flattens JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pa_parquet

from benchmarks import workloads
from benchmarks.load import PSQL, opened
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.schema import definitions

PACKAGES = {
    "dlt": ["dlt[postgres,parquet]==1.31.0", "adbc-driver-postgresql", "orjson"],
    "singer": ["meltanolabs-target-postgres==0.8.1"],
    "sling": ["sling==1.4.11", "sling-linux-amd64==1.4.11"],
}
SCHEMAS = ("bench_floor", "bench_ours", "bench_dlt", "bench_dlt_staging", "bench_singer",
           "bench_sling")  # fmt: skip


#: Variables of people who work on the project that would make every start slower.
_DEVELOPERS = ("PYTHONDONTWRITEBYTECODE",)


@dataclass(frozen=True)
class Inputs:
    """The same rows in every form."""

    folder: Path
    rows: int

    def __getitem__(self, form: str) -> str:
        return str(self.folder / f"w1.{form}")

    def write(self) -> None:
        table = workloads.table("w1", self.rows)
        workloads.write_csv(table, Path(self["csv"]))
        pa_parquet.write_table(table, self["parquet"], row_group_size=100_000)
        schema = json.dumps({"type": "SCHEMA", "stream": "w1", "schema": _singer_schema(),
                             "key_properties": ["id"]})  # fmt: skip
        with Path(self["ndjson"]).open("wb") as plain, Path(self["singer"]).open("wb") as singer:
            singer.write(schema.encode() + b"\n")
            for batch in table.to_batches(10_000):
                for line in workloads.json_lines(batch):
                    plain.write(line + b"\n")
                    singer.write(b'{"type":"RECORD","stream":"w1","record":' + line + b"}\n")
            singer.write(b'{"type":"STATE","value":{}}\n')


def _singer_schema() -> dict[str, object]:
    kinds: dict[str, dict[str, object]] = {
        "bigint": {"type": ["integer", "null"]},
        "integer": {"type": ["integer", "null"]},
        "double precision": {"type": ["number", "null"]},
        "numeric": {"type": ["number", "null"]},
        "boolean": {"type": ["boolean", "null"]},
        "timestamptz": {"type": ["string", "null"], "format": "date-time"},
        "text": {"type": ["string", "null"]},
        "jsonb": {"type": ["object", "null"]},
    }
    columns = workloads.W1_COLUMNS.items()
    return {"type": "object", "properties": {name: kinds[kind] for name, kind in columns}}


def commands(inputs: Inputs, url: str, environments: Path, folder: Path) -> dict[str, list[str]]:
    """Name → what to run; the first is the floor."""
    columns = list(workloads.W1_COLUMNS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
    floor = [str(PSQL), url, "-qX", "-v", "ON_ERROR_STOP=1",
             "-c", "create temp table staging (like bench_floor.w1)",
             "-c", f"\\copy staging from '{inputs['csv']}' with (format csv, header)",
             "-c", "insert into bench_floor.w1 select * from staging"
                   f" on conflict (id) do update set {updates}"]  # fmt: skip

    def ours(form: str, *options: str) -> list[str]:
        # Installed packages are compiled; here, what is run is the checkout.
        compiled = ["env", f"PYTHONPYCACHEPREFIX={folder / 'bytecode'}"]
        return [*compiled, sys.executable, "-m", "meltano_assets.cli", "load", inputs[form],
                *(options or ("--table", "bench_ours.w1", "--primary-key", "id"))]  # fmt: skip

    def dlt(form: str, *options: str) -> list[str]:
        script = str(Path(__file__).with_name("dlt_file.py"))
        python = str(environments / "dlt" / "bin" / "python")
        return [python, script, inputs[form], options[0], url, *options[1:]]

    def singer(use_copy: bool) -> list[str]:
        settings = folder / f"singer_{use_copy}.json"
        where = url.replace("postgresql:", "postgresql+psycopg:")
        settings.write_text(json.dumps({"sqlalchemy_url": where, "use_copy": use_copy,
                                        "default_target_schema": "bench_singer"}))  # fmt: skip
        program = environments / "singer" / "bin" / "target-postgres"
        return ["sh", "-c", f"exec '{program}' --config '{settings}' < '{inputs['singer']}'"]

    def sling(form: str, *options: str) -> list[str]:
        # The wheel's binary; the package's own starter would look for a newer one first.
        found = (environments / "sling").glob("lib/*/site-packages/sling_linux_amd64/bin/sling-*")
        program = next(found, environments / "sling" / "bin" / "sling")
        if program.exists():
            program.chmod(0o755)
        return [str(program), "run", "--src-stream", f"file://{inputs[form]}", "--tgt-conn", "BENCH",
                "--tgt-object", "bench_sling.w1", "--mode", "incremental", "--primary-key", "id",
                *options]  # fmt: skip

    return {
        "floor: psql csv": floor,
        "load parquet": ours("parquet"),
        "load csv": ours("csv"),
        "load ndjson": ours("ndjson"),
        "load singer": ours("singer", "--format", "singer", "--schema", "bench_ours"),
        "sling csv": sling("csv"),
        "sling ndjson": sling("ndjson", "--src-options", "{format: jsonlines, flatten: 0}"),
        "dlt arrow from csv, parquet (best)": dlt("csv", "parquet"),
        "dlt arrow from parquet, parquet (best)": dlt("parquet", "parquet"),
        "dlt arrow from parquet, parquet, key": dlt("parquet", "parquet", "key"),
        "dlt arrow from csv, default": dlt("csv", "default"),
        "dlt dicts, default": dlt("ndjson", "default"),
        "dlt dicts, csv": dlt("ndjson", "csv"),
        "target-postgres, default": singer(use_copy=False),
        "target-postgres, use_copy": singer(use_copy=True),
    }


def run(command: list[str], environment: dict[str, str], log: Path) -> tuple[float, float]:
    """Wall and CPU seconds of the tool; its own output on failure."""
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(log.read_text(errors="replace")[-500:])
    return seconds, used.ru_utime + used.ru_stime


def reset(warehouse: Warehouse) -> None:
    """No table of anybody's, but the floor's empty one."""
    with warehouse.connect(autocommit=True) as connection:
        from psycopg import sql

        for name in SCHEMAS:
            connection.execute(
                sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(name))
            )
        connection.execute("create schema bench_floor; create schema bench_sling")
        connection.execute(
            sql.SQL("create table bench_floor.w1 ({}, primary key (id))").format(
                definitions(workloads.W1_COLUMNS)
            )
        )
        connection.execute("checkpoint")


def make_environment(folder: Path, name: str) -> None:
    """An environment for a peer, unless it is there."""
    if not (folder / name / "ready").exists():
        venv.create(folder / name, with_pip=True, clear=True)
        python = str(folder / name / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES[name]], check=True)
        (folder / name / "ready").touch()


def main() -> None:
    """Parse the command line; run the rounds; print medians and paired ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=".", help="a pattern that names must match")
    parser.add_argument(
        "--base", default="floor", help="what ratios compare with, by its beginning"
    )
    parser.add_argument("--first-only", action="store_true")
    parser.add_argument("--environments", type=Path,
                        default=Path(tempfile.gettempdir()) / "loaders")  # fmt: skip
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, opened(Path(name)) as warehouse:
        folder = Path(name)
        inputs = Inputs(folder, options.rows)
        inputs.write()
        asked = commands(inputs, warehouse.url, options.environments, folder)
        asked = {name: command for name, command in asked.items() if re.search(options.only, name)}
        for peer in PACKAGES:
            if any(str(options.environments / peer) in " ".join(one) for one in asked.values()):
                make_environment(options.environments, peer)
        # Once more: where a peer's program is shows when its environment is there.
        tools = commands(inputs, warehouse.url, options.environments, folder)
        tools = {name: tools[name] for name in asked}
        environment = {name: value for name, value in os.environ.items() if name not in _DEVELOPERS}
        environment |= {
            "MELTANO_WAREHOUSE_URL": warehouse.url,
            "DLT_DATA_DIR": str(folder / "dlt"),
            "BENCH": warehouse.url + "?sslmode=disable",
            "SLING_DISABLE_TELEMETRY": "TRUE",
        }
        for tool in tools:
            if tool.startswith("load"):
                run(tools[tool], environment, folder / "log")  # compiles it
        results: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for number in range(options.rounds):
            for tool in tools if number % 2 == 0 else reversed(tools):
                reset(warehouse)
                shutil.rmtree(folder / "dlt", ignore_errors=True)
                for phase in ("first",) if options.first_only else ("first", "again"):
                    os.sync()
                    found = run(tools[tool], environment, folder / "log")
                    print(f"{number} {tool} {phase} {found[0]:.2f} s", file=sys.stderr, flush=True)
                    results.setdefault((tool, phase), []).append(found)
        _print(results, options.base, options.rows)


def _print(results: dict[tuple[str, str], list[tuple[float, float]]], base: str, rows: int) -> None:
    first = next((tool for tool, _ in results if tool.startswith(base)), next(iter(results))[0])
    rounds = len(next(iter(results.values())))
    print(f"\nw1, {rows:,} rows, {rounds} rounds; speed as a multiple of: {first}")
    print(f"  {'':42}{'':6}{'s':>8}{'cpu s':>8}{'x':>8}  (spread)")
    for (tool, phase), found in results.items():
        seconds, cpu = (statistics.median(one[n] for one in found) for n in range(2))
        pairs = zip(results[first, phase], found, strict=True)
        ratios = [theirs[0] / one[0] for theirs, one in pairs]
        print(
            f"  {tool:42}{phase:6}{seconds:8.2f}{cpu:8.2f}"
            f"{statistics.median(ratios):8.2f}  ({min(ratios):.2f}-{max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
