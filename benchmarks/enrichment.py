"""Enrichment of names that no cache knows, against the time that the providers' rates allow.

    python -m benchmarks.enrichment                       # 10,000 domains, 6,000 requests a minute
    python -m benchmarks.enrichment --domains 500 --rate 3000

Nobody knows the domains, so that each is put to DiscoverOrg, Clearbit and RDAP: the longest way there
is. The sandbox's servers run in a process of their own. What the rates allow: names / rate, when
every provider is asked without a pause; a first burst may be quicker.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.load import opened
from meltano_assets.hosts.enrich import enrich
from meltano_assets.sandbox.server import serve_in_thread


def serve(folder: Path, pipe: Connection) -> None:
    """The sandbox, until the other end says so."""
    with serve_in_thread(state_dir=folder, seed=1, scale=0.1) as manifest:
        pipe.send({vendor: dict(manifest[vendor]) for vendor in VENDORS})
        pipe.recv()


VENDORS = ("discoverorg", "clearbit", "rdap", "whois", "dns")


def main() -> None:
    """Parse the command line; enrich once, then once more from the caches."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--domains", type=int, default=10_000)
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


if __name__ == "__main__":
    main()
