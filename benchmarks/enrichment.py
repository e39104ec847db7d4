"""Enrichment of names that no cache knows, against the time that the providers' rates allow.

    python -m benchmarks.enrichment                       # 10,000 domains, 6,000 requests a minute
    python -m benchmarks.enrichment --domains 500 --rate 3000

Then a million domains (``--cached``) of which the caches know all: how long the one query takes that
decides what is left to ask.

Nobody knows the domains, so that each is put to DiscoverOrg, Clearbit and RDAP: the longest way there
is. The sandbox's servers run in a process of their own. What the rates allow: names / rate, when
every provider is asked without a pause; a first burst may be quicker.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.load import opened
from meltano_assets.hosts import cache, clearbit, discoverorg, whois
from meltano_assets.hosts.enrich import enrich
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.warehouse.connection import Warehouse


def serve(folder: Path, pipe: Connection) -> None:
    """The sandbox, until the other end says so."""
    with serve_in_thread(state_dir=folder, seed=1, scale=0.1) as manifest:
        pipe.send({vendor: dict(manifest[vendor]) for vendor in VENDORS})
        pipe.recv()


VENDORS = ("discoverorg", "clearbit", "rdap", "whois", "dns")


def decide(warehouse: Warehouse, count: int) -> None:
    """Domains of recent pings, each a miss of DiscoverOrg and a hit of Clearbit; none is left."""
    now = datetime.now(UTC)
    cache.ensure_caches(warehouse)
    with warehouse.connect() as connection:
        for table, outcome in (("discoverorg_cache", "miss"), ("clearbit_cache", "hit")):
            connection.execute(
                f"insert into enrichment.{table} (domain, outcome, last_update)"  # type: ignore[arg-type]
                " select 'name' || n || '.com', %s, %s from generate_series(1, %s) as n",
                [outcome, now, count],
            )
        connection.execute(
            "create schema if not exists hosts;"
            "create table hosts.cleaned_hosts (raw_host text primary key, kind text,"
            " clean_domain text, clean_full_domain text, last_pinged_at timestamptz)"
        )
        connection.execute(
            "insert into hosts.cleaned_hosts select 'www.name' || n || '.com', 'domain',"
            " 'name' || n || '.com', 'www.name' || n || '.com', %s from generate_series(1, %s) as n",
            [now, count],
        )
    waterfall = [(module.CACHE, True) for module in (discoverorg, clearbit, whois)]
    for round_number in range(1, 4):
        began = time.perf_counter()
        decision = cache.decide(warehouse, waterfall, kind="domain", names=None, now=now)
        seconds = time.perf_counter() - began
        print(f"{decision.done:,} cached domains decided in {seconds:.2f} s (round {round_number})")


def main() -> None:
    """Parse the command line; enrich once, once more from the caches, then decide about many."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--domains", type=int, default=10_000)
    parser.add_argument("--cached", type=int, default=1_000_000, help="domains that caches know")
    parser.add_argument("--rate", type=int, default=6_000, help="requests a minute, each provider")
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as name, opened(Path(name) / "warehouse") as warehouse:
        server = context.Process(target=serve, args=(Path(name) / "sandbox", theirs))
        server.start()
        settings = {
            vendor: {key: str(value) for key, value in values.items()}
            | {"requests_per_minute": str(given.rate)}
            for vendor, values in ours.recv().items()
        }
        domains = [f"nobody{number}.com" for number in range(given.domains)]
        outcome = enrich(warehouse, settings, domains, now=datetime.now(UTC))
        allowed = given.domains / given.rate * 60
        print(
            f"{outcome.asked:,} names asked in {outcome.seconds:.1f} s with {outcome.calls:,} "
            f"requests; the rates allow it in {allowed:.1f} s: {outcome.seconds / allowed:.3f}"
        )
        print({vendor: counts.misses for vendor, counts in outcome.providers.items()})
        again = enrich(warehouse, settings, domains, now=datetime.now(UTC))
        print(f"from the caches: {again.seconds:.1f} s, {again.calls} requests")
        ours.send("enough")
        server.join(20)
        decide(warehouse, given.cached)


if __name__ == "__main__":
    main()
