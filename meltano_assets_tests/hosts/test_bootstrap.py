"""H4: RDAP's bootstrap files come with the package, are read in a run without asking anybody, and are
refreshed only by hand and only as a whole.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meltano_assets.clients.policy import Clock
from meltano_assets.errors import FatalError
from meltano_assets.hosts.bootstrap import (
    REGISTRIES,
    address_of,
    known_services,
    pinned_services,
    refresh,
    refreshed_path,
)
from meltano_assets.hosts.exchange import Exchange, Limits, Pace, ProviderError, endpoint_of
from meltano_assets.hosts.rdap import NoServerError, Rdap
from meltano_assets_tests.hosts.conftest import Asked, World

LIMITS = Limits(tries=1)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local state of its own."""
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path))
    return tmp_path


def exchange_with(world: World) -> Exchange:
    trusted = frozenset({endpoint_of(world.rdap.url)})
    return Exchange(Pace(1000, 1.0, Clock()), trusted, LIMITS)


def test_the_pinned_files_know_the_world() -> None:
    """Every registry is there; each address of the internet but private and loopback has a server."""
    tops = {entry for entries, _ in pinned_services("dns") for entry in entries}
    assert len(tops) > 1_000
    assert tops >= {"com", "net", "org", "uk", "fr", "nl", "br", "io", "xn--ses554g"}
    first = {entry.partition(".")[0] for entries, _ in pinned_services("ipv4") for entry in entries}
    assert first == {str(number) for number in range(1, 224)} - {"10", "127"}
    for registry in REGISTRIES:
        for _, base in pinned_services(registry):
            assert base.startswith("http")
            assert base.endswith("/")


def test_a_run_without_an_address_of_its_own_asks_for_no_bootstrap_file(hasty: Clock) -> None:
    """Names under no listed top level are told apart without a single request."""
    client = Rdap({"rdap": {}}, hasty, LIMITS)
    with pytest.raises(NoServerError):
        client.ask_domain("example.zz--nowhere")
    assert client.calls == 0


def test_a_refresh_replaces_all_files_and_tells_what_changed(world: World) -> None:
    changes = refresh(exchange_with(world), f"{world.rdap.url}/rdap/dns.json")
    assert [change.registry for change in changes] == list(REGISTRIES)
    dns = changes[0]
    assert (dns.entries, dns.added, dns.changed) == (3, 0, 3)
    assert dns.removed == len({e for es, _ in pinned_services("dns") for e in es}) - 3
    assert known_services("dns") == [(["com", "net", "uk"], f"{world.rdap.url}/registry/")]
    again = refresh(exchange_with(world), f"{world.rdap.url}/rdap")
    assert {(change.added, change.changed, change.removed) for change in again} == {(0, 0, 0)}


@pytest.mark.parametrize("body", [b"<html>", b'{"services": 3}', b'{"services": []}'])
def test_one_unsound_file_leaves_all_as_they_were(world: World, body: bytes) -> None:
    sound = world.rdap.answer

    def answer(asked: Asked) -> object:
        return (200, {}, body) if asked.path.endswith("ipv6.json") else sound(asked)

    world.rdap.answer = answer  # type: ignore[assignment] # answers of any form
    with pytest.raises(ProviderError, match=r"ipv6\.json|malformed"):
        refresh(exchange_with(world), f"{world.rdap.url}/rdap/dns.json")
    assert not any(refreshed_path(registry).exists() for registry in REGISTRIES)
    assert known_services("dns") == pinned_services("dns")


def test_a_damaged_refreshed_file_is_named() -> None:
    path = refreshed_path("dns")
    path.parent.mkdir(parents=True)
    path.write_text("half a fi")
    with pytest.raises(FatalError, match="not a readable bootstrap file"):
        known_services("dns")
    path.write_text(json.dumps({"services": [[["com"], ["https://one.test"]]]}))
    assert known_services("dns") == [(["com"], "https://one.test/")]


def test_siblings_stand_beside_the_named_file() -> None:
    assert address_of("https://a.test/rdap/dns.json", "ipv4") == "https://a.test/rdap/ipv4.json"
    assert address_of("https://a.test/rdap/", "dns") == "https://a.test/rdap/dns.json"
