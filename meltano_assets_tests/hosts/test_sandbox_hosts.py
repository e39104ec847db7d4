"""The whole hosts flow against the sandbox company, held to what the company knows of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests

from meltano_assets.hosts import cache
from meltano_assets.hosts.enrich import refresh_enrichment
from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources.version import USAGE_DATA, VERSION_CHECKS
from meltano_assets.streams import Batch, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load

SEED, SCALE, TODAY = 11, 0.3, date(2025, 6, 1)


@pytest.fixture(scope="module")
def company() -> Company:
    return Company(SEED, SCALE, TODAY)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("hosts-sandbox")
    with serve_in_thread(state_dir=folder, seed=SEED, scale=SCALE, today=TODAY) as services:
        yield services


def load_pings(warehouse: Warehouse, company: Company, day: int) -> None:
    for stream, columns in (
        (VERSION_CHECKS, ("id", "referer_url", "updated_at")),
        (USAGE_DATA, ("id", "hostname", "source_ip", "updated_at")),
    ):
        pings = getattr(company.pings(day), stream.name)
        narrow = Stream(
            source=stream.source,
            name=stream.name,
            columns=tuple(stream.column(name) for name in columns),
            primary_key=("id",),
        )
        records = pa.RecordBatch.from_pylist(
            [
                {name: str(ping[name]) if name == "updated_at" else ping[name] for name in columns}
                for ping in pings
            ]
        )
        load(warehouse, narrow, [Batch(records)])


def test_pings_become_clean_and_enriched_hosts(
    warehouse: Warehouse, company: Company, manifest: Any
) -> None:
    control = manifest["control"]["base_url"]
    now = company.now(0) + timedelta(hours=1)
    truths = requests.get(f"{control}/truths", timeout=30).json()
    load_pings(warehouse, company, 0)

    outcome = cache.refresh_cleaned_hosts(warehouse, now=now)
    assert outcome.quarantined == 0
    with warehouse.connect() as connection:
        found = {
            raw: {"kind": kind, "clean_domain": domain, "clean_full_domain": full}
            for raw, kind, domain, full in connection.execute(
                "select raw_host, kind, clean_domain, clean_full_domain from hosts.cleaned_hosts"
            )
        }
    for raw, wanted in truths["hosts"]["raw"].items():
        assert found[raw]["kind"] == wanted["kind"], raw
        if wanted["kind"] == "domain":
            assert found[raw] == wanted
    assert Counter(row["kind"] for row in found.values()) == truths["hosts"]["by_kind"]
    again = cache.refresh_cleaned_hosts(warehouse, now=now)
    assert again.read == 0

    services = {name: {k: str(v) for k, v in given.items()} for name, given in manifest.items()}
    enriched = refresh_enrichment(warehouse, services, now=now)
    assert {name: c.failed for name, c in enriched.providers.items() if c.failed} == {}
    assert enriched.asked == enriched.candidates
    with warehouse.connect() as connection:
        hits = dict(
            connection.execute(
                "select domain, 'whois' from enrichment.whois_cache"
                " where outcome = 'hit' and method <> 'rdap_network'"
                " union all select domain, 'clearbit' from enrichment.clearbit_cache"
                " where outcome = 'hit'"
                " union all select domain, 'discoverorg' from enrichment.discoverorg_cache"
                " where outcome = 'hit'"
            ).fetchall()
        )
        names = dict(
            connection.execute(
                "select domain, company_name from enrichment.discoverorg_cache"
                " where outcome = 'hit'"
                " union all select domain, company_name from enrichment.clearbit_cache"
                " where outcome = 'hit'"
                " union all select domain, name from enrichment.whois_cache"
                " where outcome = 'hit' and method <> 'rdap_network'"
            ).fetchall()
        )
        pending = {
            domain
            for (domain,) in connection.execute(
                "select domain from enrichment.clearbit_cache where outcome = 'pending'"
            )
        }
        reverse = dict(
            connection.execute(
                "select ip, host_name from enrichment.reverse_dns_cache where outcome = 'hit'"
            ).fetchall()
        )
        networks = connection.execute(
            "select count(*) from enrichment.whois_cache"
            " where method = 'rdap_network' and outcome = 'hit'"
        ).fetchone()
    wanted_hits = truths["enrichment"]["provider_hits"]
    assert {name: hits.get(name) for name in wanted_hits} == wanted_hits
    wanted_names = truths["enrichment"]["company_names"]
    assert {name: names.get(name) for name in wanted_names} == wanted_names
    assert pending >= set(truths["enrichment"]["clearbit_pending"])
    seen = {row["clean_full_domain"] for row in found.values()}
    known_reverse = {ip: n for ip, n in truths["hosts"]["reverse_names"].items() if ip in seen}
    assert reverse == known_reverse
    assert networks is not None
    assert networks[0] > 0

    asked = requests.get(f"{control}/requests", timeout=30).json()
    told = str({name: asked[name] for name in ("discoverorg", "clearbit", "rdap", "whois", "dns")})
    for raw in truths["hosts"]["never_sent_to_providers"]:
        internal = found[raw]["clean_full_domain"]
        assert f"{internal!r}" not in told
        assert f"domain={internal}'" not in told

    requests.delete(f"{control}/requests", timeout=10)
    quiet = refresh_enrichment(warehouse, services, now=now)
    waiting = len(pending)
    assert quiet.providers["clearbit"].calls == waiting
    assert quiet.calls - quiet.providers["whois"].calls == waiting
    assert quiet.done_before == quiet.candidates - waiting


def test_new_days_bring_new_hosts_only(warehouse: Warehouse, company: Company) -> None:
    load_pings(warehouse, company, 0)
    first = cache.refresh_cleaned_hosts(warehouse, now=company.now(0))
    load_pings(warehouse, company, 1)
    second = cache.refresh_cleaned_hosts(warehouse, now=company.now(1))
    assert 0 < second.read < first.read
    everything = cache.refresh_cleaned_hosts(warehouse, now=company.now(1), full_refresh=True)
    with warehouse.connect() as connection:
        count = connection.execute("select count(*) from hosts.cleaned_hosts").fetchone()
    assert count == (everything.read,)
    assert datetime.now(UTC) > company.now(1)
