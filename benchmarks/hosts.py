"""Cleaning host names: all of it (normalising, kinds, addresses, suffixes), against per-row tldextract.

    python benchmarks/hosts.py [--pings 5000000] [--distinct 1000000] [--rounds 5] [--cores 1]

Paired rounds: in each round tldextract splits a slice of the very rows that are then cleaned, and
the ratio is taken inside the round. tldextract only splits; cleaning does all of H2.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SUFFIXES = ["com"] * 40 + [
    "de", "org", "net", "co.uk", "fr", "com.br", "io", "co.jp", "gov.au", "ac.nz", "k12.ca.us",
    "github.io", "s3.amazonaws.com", "kawasaki.jp", "xn--p1ai", "museum", "invalidtld",
]  # fmt: skip
PREFIXES = ["www.", "", "chat.", "gitlab.team.", "a.b."]
ODD = [
    "localhost", "127.0.0.1", "10.1.2.3", "GITLAB.Example.COM", "bücher.example.de", "", "[::1]",
    "8.8.8.8", "http://gitlab.local:8080/x",
]  # fmt: skip
SLICE = 100_000
GOALS = {"pings": 12.0, "pings as URLs": 12.0, "distinct": 4.0, "distinct URLs": 4.0}


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--pings", type=int, default=5_000_000)
    arguments.add_argument("--hosts", type=int, default=100_000)
    arguments.add_argument("--distinct", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--cores", type=int, default=1)
    given = arguments.parse_args()
    # Both must be said before the libraries start their threads.
    os.environ["POLARS_MAX_THREADS"] = str(given.cores)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])

    import numpy as np
    import pyarrow as pa
    import tldextract

    from meltano_assets.hosts.clean import clean_hosts

    pa.set_cpu_count(given.cores)
    dice = random.Random(5)
    most = max(given.hosts, given.distinct)
    pool = [f"{dice.choice(PREFIXES)}name{i}.{dice.choice(SUFFIXES)}" for i in range(most)]
    draws = np.minimum(np.random.default_rng(5).zipf(1.3, given.pings) - 1, given.hosts - 1)
    pings = [pool[i] for i in draws]
    for place in range(0, given.pings, 97):
        pings[place] = ODD[place % len(ODD)]
    distinct = pool[: given.distinct]
    as_url = "https://user@{}:8065/team/x?q=1#f".format
    workloads = {
        "pings": pa.array(pings),
        "pings as URLs": pa.array([as_url(host) for host in pings]),
        "distinct": pa.array(distinct),
        "distinct URLs": pa.array([as_url(host) for host in distinct]),
    }
    del pings, pool
    extract = tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
    )
    extract("a.example.com")
    clean_hosts(pa.array(["a.example.com"]))

    print(f"{'rows':16}{'tldextract':>14}{'cleaning':>14}{'ratio':>8}{'goal':>7}{'seconds':>9}")
    for name, column in workloads.items():
        rows = column.slice(0, SLICE).to_pylist()
        theirs, ours, ratios = [], [], []
        for _ in range(given.rounds):
            slow = len(rows) / seconds(lambda rows=rows: [extract(row) for row in rows])
            fast = len(column) / seconds(lambda column=column: clean_hosts(column))
            theirs.append(slow)
            ours.append(fast)
            ratios.append(fast / slow)
        ratio, rate = statistics.median(ratios), statistics.median(ours)
        print(
            f"{name:16}{statistics.median(theirs) / 1e3:>12,.0f} k{rate / 1e3:>12,.0f} k"
            f"{ratio:>8.1f}{GOALS[name]:>7.0f}{len(column) / rate:>9.2f}"
            f"   rounds: {' '.join(f'{value:.1f}' for value in ratios)}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of everything, input included: {peak:,.0f} MiB; cores: {given.cores}")


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
