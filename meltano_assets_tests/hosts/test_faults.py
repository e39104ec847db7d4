"""Bad input, provider by provider, against the sandbox's own providers.

Whatever a provider says instead of an answer is a failure: it is no "not found", it is not kept as
an answer, nothing but the provider is contacted, it takes bounded time and memory, and the next run
finds what is there.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from meltano_assets.clients.policy import Clock
from meltano_assets.hosts import cache
from meltano_assets.hosts.enrich import EnrichOutcome, enrich
from meltano_assets.hosts.exchange import Limits
from meltano_assets.sandbox.fault_kinds import KINDS
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.sources.conftest import Vendors

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
LIMITS = Limits(connect_seconds=1, total_seconds=0.7)
#: Provider → the step that asks it, and the settings that it needs.
PROVIDERS = {
    "discoverorg": ("discoverorg", ("discoverorg",)),
    "clearbit": ("clearbit", ("clearbit",)),
    "rdap": ("whois", ("rdap",)),
    "whois": ("whois", ("whois",)),
}
#: Requests of the look-up itself: neither logins nor bootstrap files.
MATCHES = {"discoverorg": "/search/", "clearbit": "/companies/", "rdap": "/domain/", "whois": ""}

HTTP_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "html": ("html", {"status": 200}),
    "html of a gateway": ("html", {}),
    "garbage": ("garbage", {}),
    "ten megabytes": ("huge", {"mebibytes": 10}),
    "gzip bomb": ("gzip_bomb", {}),
    "slow drip": ("drip", {"seconds": 6}),
    "slow": ("slow", {"seconds": 2}),
    "drop": ("drop", {}),
    "drop after": ("drop_after", {}),
    "truncate": ("truncate", {}),
    "unavailable": ("unavailable", {}),
    "server error": ("server_error", {}),
    "throttle": ("throttle", {"retry_after_seconds": 3}),
    "throttle without a time": ("throttle", {"with_retry_after": "false"}),
    "throttle for a day": ("throttle", {"retry_after_seconds": 86_400}),
    "redirect to the metadata": ("redirect", {}),
    "redirect to a private address": ("redirect", {"location": "http://10.0.0.1/"}),
    "redirect to this machine": ("redirect", {"location": "http://127.0.0.1:1/"}),
}
LINE_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "garbage": ("garbage", {}),
    "ten megabytes": ("huge", {"mebibytes": 10}),
    "slow drip": ("drip", {"seconds": 6}),
    "slow": ("slow", {"seconds": 2}),
    "drop": ("drop", {}),
    "server error": ("server_error", {}),
    "throttle": ("throttle", {}),
    "referral in a circle": ("refer", {}),
    "referral to this machine": ("refer", {"to": "127.0.0.1"}),
    "referral to the metadata": ("refer", {"to": "169.254.169.254"}),
    "referral to a private address": ("refer", {"to": "whois://10.0.0.1:43"}),
}
CELLS = [
    *(
        pytest.param(provider, *fault, id=f"{provider} {name}")
        for provider in ("discoverorg", "clearbit", "rdap")
        for name, fault in HTTP_FAULTS.items()
    ),
    *(pytest.param("whois", *fault, id=f"whois {name}") for name, fault in LINE_FAULTS.items()),
    pytest.param("clearbit", "quota", {}, id="clearbit quota"),
    pytest.param("clearbit", "expire_session", {}, id="clearbit expire_session"),
]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    folder = tmp_path_factory.mktemp("providers")
    with serve_in_thread(state_dir=folder, scale=0.05) as manifest:
        yield Vendors(manifest)


@pytest.fixture
def providers(company: Vendors) -> Iterator[Vendors]:
    company.clear_faults()
    yield company
    company.clear_faults()


@pytest.fixture(scope="module")
def caches(server: EmbeddedServer) -> Warehouse:
    """One database for the module: no two tests ask about the same name at the same time."""
    server.ensure_database("provider_faults")
    warehouse = Warehouse(server.url("provider_faults"))
    cache.ensure_caches(warehouse)
    return warehouse


@pytest.fixture
def warehouse(caches: Warehouse) -> Warehouse:
    with caches.connect() as connection:
        for step in ("discoverorg", "clearbit", "whois"):
            connection.execute(f"truncate enrichment.{step}_cache".encode())
    return caches


def known_to(step: str, truths: dict[str, Any]) -> str:
    """A name of which the step tells the company."""
    hits: dict[str, str] = truths["enrichment"]["provider_hits"]
    # Of .com and .org the registries tell the registrant, by RDAP and WHOIS alike.
    told = (".com", ".org") if step == "whois" else ""
    return next(name for name, hit in sorted(hits.items()) if hit == step and name.endswith(told))


def ask(
    warehouse: Warehouse, company: Vendors, provider: str, names: list[str], hasty: Clock
) -> EnrichOutcome:
    _, needed = PROVIDERS[provider]
    settings = {name: company.settings(name) for name in needed}
    return enrich(warehouse, settings, names, now=NOW, clock=hasty, limits=LIMITS)


def cached(warehouse: Warehouse, step: str) -> dict[str, str]:
    with warehouse.connect() as connection:
        query = f"select domain, outcome from enrichment.{step}_cache"
        return dict(connection.execute(query.encode()).fetchall())


@pytest.mark.parametrize(("provider", "kind", "options"), CELLS)
def test_what_is_no_answer_is_a_failure_and_asked_again(
    provider: str,
    kind: str,
    options: dict[str, Any],
    providers: Vendors,
    warehouse: Warehouse,
    hasty: Clock,
) -> None:
    step = PROVIDERS[provider][0]
    name = known_to(step, providers.truths())
    before = sum(providers.asked(provider).values())
    providers.arm(provider, kind, times=None, match=MATCHES[provider], **options)
    tracemalloc.start()
    began = time.monotonic()
    try:
        outcome = ask(warehouse, providers, provider, [name], hasty)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 15
    assert peak < 40 << 20
    counts = outcome.providers[step]
    assert (counts.hits, counts.misses) == (0, 0)
    assert counts.failed == 1 or counts.stopped
    assert cached(warehouse, step).get(name) in (None, "error")
    assert sum(providers.asked(provider).values()) - before < 12

    providers.clear_faults()
    outcome = ask(warehouse, providers, provider, [name], hasty)
    assert outcome.providers[step].hits == 1
    assert cached(warehouse, step)[name] == "hit"


@pytest.mark.parametrize("provider", ["discoverorg", "clearbit", "rdap"])
@pytest.mark.parametrize("kind", ["throttle", "drop", "truncate"])
def test_what_passes_is_waited_out(
    provider: str, kind: str, providers: Vendors, warehouse: Warehouse, hasty: Clock
) -> None:
    step = PROVIDERS[provider][0]
    name = known_to(step, providers.truths())
    providers.arm(provider, kind, match=MATCHES[provider])
    assert ask(warehouse, providers, provider, [name], hasty).providers[step].hits == 1
    assert providers.armed() == {}


def test_a_token_of_discoverorg_that_expires_is_renewed_once(
    providers: Vendors, warehouse: Warehouse, hasty: Clock
) -> None:
    name = known_to("discoverorg", providers.truths())
    before = providers.asked("discoverorg").get("/papi/login", 0)
    providers.arm("discoverorg", "expire_session", match="/search/")
    assert (
        ask(warehouse, providers, "discoverorg", [name], hasty).providers["discoverorg"].hits == 1
    )
    assert providers.asked("discoverorg")["/papi/login"] == before + 2


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "name", ["evil.com\r\nother.com", "evil.com\nx", "a.com\r\nHost: x", "\0.com"]
)
def test_line_breaks_in_a_host_never_reach_a_provider(
    provider: str, name: str, providers: Vendors, warehouse: Warehouse, hasty: Clock
) -> None:
    before = providers.asked(provider)
    outcome = ask(warehouse, providers, provider, [name], hasty)
    asked = providers.asked(provider)
    assert {path: n for path, n in asked.items() if before.get(path) != n} == {}
    assert outcome.calls == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_fault_of_a_provider_is_met_here(provider: str) -> None:
    met = {cell.values[1] for cell in CELLS if cell.values[0] == provider}
    if provider == "discoverorg":
        met.add("expire_session")
    if provider == "whois":  # without a length, half a record is a short one
        met.add("truncate")
    assert KINDS[provider].keys() - met == set()
