"""Pings to host records: the first build and a day of news, through the product's own steps.

    python -m benchmarks.pings                                   # 5,000,000 pings of 100,000 hosts
    python -m benchmarks.pings --pings 200000 --keep /tmp/pings  # keeps the warehouse for a look

All pings lie inside the window of 60 days, the day of news ends now. A fifth are usage pings with 44
counters, spread evenly; the rest are version checks, drawn by a Zipf law. Loading is not timed, nor
is the vacuum that Postgres owes a load; cleaning and dbt are, dbt as a process with its start. What cleaning looks at behind its last run is switched off:
the first load, which has just ended, would else be looked at again with the day of news. At the end all
is cleaned and built anew and compared row by row.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.load import opened
from meltano_assets.environment import dbt_project_directory
from meltano_assets.hosts import cache, discoverorg
from meltano_assets.hosts.cache import ensure_caches, refresh_cleaned_hosts, store
from meltano_assets.hosts.providers import Answer
from meltano_assets.modelling import dbt_program, dbt_variables
from meltano_assets.sources.salesforce import SALESFORCE
from meltano_assets.sources.version import USAGE_DATA, VERSION_CHECKS
from meltano_assets.streams import Batch, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load

# Loads carry the true time, so that the pings are of these days too; the day of news ends now.
END = datetime.now(UTC) - timedelta(days=1, hours=1)
WINDOW = timedelta(days=60)
BATCH = 50_000
TARGETS = "+dim_hosts +sync_salesforce_hosts"
RECORDS = "int_hosts__pinged int_installs__aligned int_installs__pinged int_installs__recorded"
ONE_VIEW = "stg_hosts__cleaned_hosts"
COMPARED = (
    "intermediate.int_installs__aligned",
    "intermediate.int_installs__recorded",
    "intermediate.int_companies__by_domain",
    "intermediate.int_companies__matched_to_accounts",
    "analytics.dim_hosts",
    "sync.sync_salesforce_hosts",
)
SUFFIXES = ("com",) * 12 + ("de", "org", "net", "co.uk", "fr", "com.br", "io", "co.jp")
NAMES = ("git", "gitlab", "code", "scm", "www", "dev.git")
PATHS = ("/admin", "/help", "/admin/dashboard", "/admin/users")
COUNTERS = tuple(f"counter_{number}" for number in range(44))
VERSIONS = tuple(f"{major}.{minor}.{patch}{edition}" for major in (9, 10) for minor in range(9)
                 for patch in range(6) for edition in ("", "-ee"))  # fmt: skip


class Hosts:
    """Hosts as installations are: domains, addresses and internal names; some under two names."""

    def __init__(self, count: int) -> None:
        names = [_host(number) for number in range(count)]
        self.count = count
        self.names = pa.array(names)
        self.referers = pa.array([f"https://{name}{path}" for path in PATHS for name in names])
        # One in thirty shares its uuid with its neighbour: an install with two names.
        owners = [number - 1 if number % 30 == 29 else number for number in range(count)]
        self.uuids = pa.array([f"{owner:08x}-0000-4000-8000-{owner:012x}" for owner in owners])
        weights = np.cumsum(1.0 / np.arange(1, count + 1))
        self._shares = weights / weights[-1]
        self._ranks = np.random.default_rng(3).permutation(count)

    def zipf(self, dice: np.random.Generator, size: int) -> np.ndarray:
        """Hosts by a Zipf law."""
        return self._ranks[np.searchsorted(self._shares, dice.random(size))]


def _host(number: int) -> str:
    name = NAMES[number % len(NAMES)]
    if number % 20 == 7:
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    if number % 20 == 13:
        return f"{20 + number % 60}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    if number % 20 == 19:
        return f"{name}{number}.local"
    # A company has several hosts.
    return f"{name}{number % 3}.{_domain(number)}"


def _domain(number: int) -> str:
    return f"company{number // 3}.{SUFFIXES[number // 3 % len(SUFFIXES)]}"


def usage_pings(
    hosts: Hosts, first: int, count: int, since: datetime, span: timedelta, seed: int
) -> Iterator[Batch]:
    """Usage pings in the order of time, each host about as often as any other."""
    for start, size, dice, moments in _slices(count, since, span, seed):
        chosen = dice.integers(0, hosts.count, size)
        numbers = dice.integers(0, 100_000, (size, 4))
        stats = [
            "{" + ", ".join(f'"{c}": {row[i % 4]}' for i, c in enumerate(COUNTERS)) + "}"
            for row in numbers.tolist()
        ]
        known = {
            "id": pa.array(np.arange(first + start, first + start + size, dtype=np.int32)),
            "version": _take(VERSIONS, dice.integers(0, len(VERSIONS), size)),
            "active_user_count": pa.array(numbers[:, 0].astype(np.int32)),
            "installation_type": _take(("omnibus", "docker", "helm"), chosen % 3),
            "uuid": hosts.uuids.take(pa.array(chosen)),
            "edition": _take(("CE", "EES", "EEP"), chosen % 3),
            "hostname": hosts.names.take(pa.array(chosen)),
            "host_id": pa.array(chosen.astype(np.int32)),
            "mattermost_enabled": pa.array(chosen % 5 == 0),
            "recorded_at": moments,
            "created_at": moments,
            "updated_at": moments,
            "stats": pa.array(stats),
        }
        yield _batch(USAGE_DATA, known, size)


def version_checks(
    hosts: Hosts, first: int, count: int, since: datetime, span: timedelta, seed: int
) -> Iterator[Batch]:
    """Version checks in the order of time."""
    for start, size, dice, moments in _slices(count, since, span, seed):
        chosen = hosts.zipf(dice, size)
        referers = hosts.referers.take(
            pa.array(chosen + hosts.count * dice.integers(0, len(PATHS), size))
        )
        request = pc.binary_join_element_wise(
            '{"HTTP_REFERER": "', referers, '", "HTTP_USER_AGENT": "Mozilla/5.0"}', ""
        )
        known = {
            "id": pa.array(np.arange(first + start, first + start + size, dtype=np.int32)),
            "request_data": request,
            "created_at": moments,
            "updated_at": moments,
            "gitlab_version": _take(VERSIONS, dice.integers(0, len(VERSIONS), size)),
            "referer_url": referers,
            "host_id": pa.array(chosen.astype(np.int32)),
        }
        yield _batch(VERSION_CHECKS, known, size)


def _slices(
    count: int, since: datetime, span: timedelta, seed: int
) -> Iterator[tuple[int, int, np.random.Generator, pa.Array]]:
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        offsets = (np.arange(start, start + size) / count * span.total_seconds() * 1e6).astype(int)
        moments = pa.array(int(since.timestamp() * 1e6) + offsets, pa.timestamp("us", "UTC"))
        yield start, size, np.random.default_rng([seed, start]), moments


def _take(words: tuple[str, ...], places: np.ndarray) -> pa.Array:
    return pa.array(words).take(pa.array(places))


def _batch(stream: Stream, known: dict[str, pa.Array], size: int) -> Batch:
    names = [column.name for column in stream.columns if column.name in known]
    return Batch(pa.RecordBatch.from_arrays([known[name] for name in names], names=names))


class Dbt:
    """dbt against one warehouse, as a process."""

    def __init__(self, warehouse: Warehouse, target: Path) -> None:
        self._variables = dbt_variables(warehouse.url)
        self._target = target

    def __call__(self, *arguments: str) -> None:
        folder = str(dbt_project_directory())
        # As the graph runs it: without dbt's files of the run.
        command = [dbt_program(), "--quiet", "--no-write-json", *arguments, "--project-dir", folder]
        command += ["--profiles-dir", folder, "--target-path", str(self._target)]
        command += ["--log-path", str(self._target)]
        subprocess.run(command, check=True, env={**os.environ, **self._variables})


def timed(name: str, work: Callable[[], object]) -> float:
    """Run, print the seconds."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(f"  {name:64}{seconds:8.1f} s", flush=True)
    return seconds


def fingerprints(warehouse: Warehouse) -> dict[str, object]:
    """Rows and a hash of all rows of each compared table."""
    with warehouse.connect() as connection:
        return {
            table: connection.execute(
                f"select count(*), sum(hashtextextended(t::text, 0)::numeric) from {table} as t"
            ).fetchone()
            for table in COMPARED
        }


def overnight(warehouse: Warehouse) -> None:
    """What Postgres does by itself within hours of a load: else it would do so while others are timed."""
    with warehouse.connect() as connection:
        connection.autocommit = True
        connection.execute("vacuum analyze")


def fill(warehouse: Warehouse, hosts: Hosts, pings: int) -> None:
    """Sixty days of pings, loaded by the loader."""
    usage = pings // 5
    since = END - WINDOW + timedelta(hours=1)
    span = END - since
    load(warehouse, USAGE_DATA, usage_pings(hosts, 1, usage, since, span, 1))
    load(warehouse, VERSION_CHECKS, version_checks(hosts, 1, pings - usage, since, span, 2))
    ensure_caches(warehouse)
    fill_companies(warehouse, hosts)


def fill_companies(warehouse: Warehouse, hosts: Hosts) -> None:
    """Two companies of three are known to a provider, one of three has an account."""
    domains = [_domain(number) for number in range(0, hosts.count, 3)]
    answers = [
        (name, Answer("hit", {"company_name": name.title(), "company_industry": "Software"}))
        if number % 3
        else (name, Answer("miss"))
        for number, name in enumerate(domains)
    ]
    store(warehouse, discoverorg.CACHE, answers, now=END)
    accounts = [
        {
            "id": f"0015e{number:010d}AAA",
            "name": name.title(),
            "website": f"https://www.{name}/",
            "type": "Customer" if number % 2 else "Prospect",
            "is_deleted": False,
        }
        for number, name in enumerate(domains[::3])
    ]
    stream = SALESFORCE.stream("accounts")
    load(warehouse, stream, [Batch(pa.RecordBatch.from_pylist(accounts))])


def add_day(warehouse: Warehouse, hosts: Hosts, pings: int) -> None:
    """One per cent more pings in the day that follows."""
    usage, day = pings // 500, timedelta(days=1)
    since = END + timedelta(minutes=1)
    load(warehouse, USAGE_DATA, usage_pings(hosts, 10**8, usage, since, day, 3))
    checks = version_checks(hosts, 10**8, pings // 100 - usage, since, day, 4)
    load(warehouse, VERSION_CHECKS, checks)


def main() -> None:
    """Parse the command line; fill, build, add a day, build, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pings", type=int, default=5_000_000)
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--tests", action="store_true", help="time dbt with its tests too")
    parser.add_argument("--keep", type=Path, help="folder to keep; filled once")
    given = parser.parse_args()
    cache.LOADED_LOOKBACK_HOURS = 0
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        warehouse = stack.enter_context(opened(folder))
        dbt = Dbt(warehouse, folder / "dbt")
        hosts = Hosts(given.hosts)
        marker = folder / "filled"
        if not marker.exists():
            timed("(loading)", lambda: fill(warehouse, hosts, given.pings))
            dbt("seed")
            marker.touch()
        timed("(a night passes: vacuum)", lambda: overnight(warehouse))
        print(f"{given.pings:,} pings of {given.hosts:,} hosts")

        def clean(*, anew: bool) -> None:
            refresh_cleaned_hosts(warehouse, now=datetime.now(UTC), full_refresh=anew)

        timed("cleaning, all", lambda: clean(anew=True))
        timed("dbt, everything", lambda: dbt("run", "--select", TARGETS))
        timed("  of it pings to host records", lambda: dbt("run", "--select", RECORDS))
        if given.tests:
            timed("dbt with its tests", lambda: dbt(
                "build", "--select", TARGETS, "--exclude-resource-type", "unit_test",
                "--indirect-selection", "cautious"))  # fmt: skip
        timed("(a night passes: vacuum)", lambda: overnight(warehouse))
        timed("(loading a day of news)", lambda: add_day(warehouse, hosts, given.pings))
        timed("(dbt's own start: one view)", lambda: dbt("run", "--select", ONE_VIEW))
        day = timed("cleaning, a day of news", lambda: clean(anew=False))
        day += timed("dbt, pings to host records", lambda: dbt("run", "--select", RECORDS))
        print(f"  {'a day of news, in all':64}{day:8.1f} s")
        timed("dbt, everything", lambda: dbt("run", "--select", TARGETS))
        incremental = fingerprints(warehouse)
        timed("cleaning, all anew", lambda: clean(anew=True))
        timed("dbt, everything anew", lambda: dbt("run", "--full-refresh", "--select", TARGETS))
        anew = fingerprints(warehouse)
        different = [table for table in COMPARED if incremental[table] != anew[table]]
        print("incremental and anew:", f"DIFFERENT {different}" if different else "the same rows")
        print({table: rows[0] for table, rows in anew.items()})  # type: ignore[index]
        if different:
            sys.exit(1)


if __name__ == "__main__":
    main()
