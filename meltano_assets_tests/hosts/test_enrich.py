"""H4 and H5: the waterfall, its caches, and that nothing internal leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from meltano_assets.clients.policy import Clock
from meltano_assets.errors import FatalError
from meltano_assets.hosts import cache
from meltano_assets.hosts.clean import clean_hosts
from meltano_assets.hosts.enrich import EnrichOutcome, enrich, refresh_enrichment
from meltano_assets.hosts.exchange import Limits
from meltano_assets.hosts.waterfall import CACHES, VARIABLES
from meltano_assets.streams import Batch
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.hosts.conftest import World, closed_port

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
LIMITS = Limits(connect_seconds=2, total_seconds=2, max_bytes=100_000)

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning")


@pytest.fixture
def warehouse(warehouse: Warehouse) -> Warehouse:
    """A database of this test's own, with empty caches."""
    cache.ensure_caches(warehouse)
    return warehouse


def ask(
    warehouse: Warehouse,
    world: World,
    names: Iterable[str] | None,
    hasty: Clock,
    *,
    days: float = 0,
    **options: Any,
) -> EnrichOutcome:
    options.setdefault("settings", world.settings)
    options.setdefault("limits", LIMITS)
    settings = options.pop("settings")
    outcome = enrich(
        warehouse, settings, names, now=NOW + timedelta(days=days), clock=hasty, **options
    )
    assert outcome.candidates == (
        outcome.done_before + outcome.asked + outcome.postponed + outcome.unasked
    )
    return outcome


def rows(warehouse: Warehouse, table: str) -> dict[str, dict[str, Any]]:
    with warehouse.connect() as connection:
        cursor = connection.execute(f"select * from enrichment.{table}")  # type: ignore[arg-type]
        names = [column.name for column in cursor.description or ()]
        return {str(row[0]): dict(zip(names, row, strict=True)) for row in cursor}


def company(name: str, **values: Any) -> dict[str, Any]:
    return {"id": 7, "name": name, "fullName": f"{name} Inc.", "numEmployees": 1500, **values}


def registration(name: str, org: str | None, kind: str = "org") -> dict[str, Any]:
    card = [["version", {}, "text", "4.0"], ["fn", {}, "text", org or "REDACTED FOR PRIVACY"]]
    card += [
        ["kind", {}, "text", kind],
        ["adr", {"cc": "DE"}, "text", ["", "", "", "", "", "", ""]],
    ]
    return {
        "objectClassName": "domain",
        "ldhName": name,
        "entities": [{"roles": ["registrant"], "vcardArray": ["vcard", card]}],
    }


def network(name: str) -> dict[str, Any]:
    return {"objectClassName": "ip network", "name": name, "country": "US"}


def pinged(warehouse: Warehouse, *hosts: str, days_ago: float = 1) -> None:
    table = clean_hosts(pa.array(hosts, pa.string()))
    for name, moment in (("last_pinged_at", NOW - timedelta(days=days_ago)), ("cleaned_at", NOW)):
        table = table.append_column(
            name, pa.array([moment] * len(hosts), pa.timestamp("us", "UTC"))
        )
    load(warehouse, cache.CLEANED_HOSTS, [Batch(batch) for batch in table.to_batches()])


# -- the waterfall --


def test_it_stops_at_the_first_provider_that_names_a_company(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    world.companies["one.com"] = company(
        "One",
        emailDomain="one.com",
        industry="Software",
        naics=["541512", "518210"],
        location={"city": "Bonn", "stateProvinceRegion": "NRW", "isoCountryCode": "DE"},
        mainPhoneNumber="+49 228",
        ownershipType="Private",
    )
    world.clearbit_answers["two.com"] = (
        200,
        {},
        {
            "id": "abc",
            "name": "Two",
            "legalName": "Two Ltd",
            "domain": "two.com",
            "category": {"sector": "IT", "industryGroup": "SaaS", "naicsCode": "54"},
            "metrics": {"employees": 12, "estimatedAnnualRevenue": "$1M - $10M"},
            "tech": ["nginx", "aws"],
        },
    )
    world.registrations["three.com"] = registration("three.com", "Three GmbH")
    outcome = ask(warehouse, world, ["one.com", "two.com", "three.com", "four.com"], hasty)

    assert outcome.asked == outcome.candidates == 4
    counts = {name: (c.hits, c.misses, c.failed) for name, c in outcome.providers.items()}
    assert counts == {
        "discoverorg": (1, 3, 0),
        "clearbit": (1, 2, 0),
        "whois": (1, 1, 0),
        "dns": (0, 0, 0),
    }
    assert outcome.providers["discoverorg"].calls == 5  # one login
    discoverorg = rows(warehouse, "discoverorg_cache")
    assert {name: row["outcome"] for name, row in discoverorg.items()} == {
        "one.com": "hit",
        "two.com": "miss",
        "three.com": "miss",
        "four.com": "miss",
    }
    one = discoverorg["one.com"]
    assert one["company_name"] == "One"
    assert one["company_legalname"] == "One Inc."
    assert one["company_naics"] == "541512, 518210"
    assert one["company_loc"] == "Bonn, NRW, DE"
    assert one["company_emp"] == "1500"
    assert one["provider_record_id"] == "7"
    assert one["raw_answer"] == world.companies["one.com"]
    assert one["last_update"] == NOW
    two = rows(warehouse, "clearbit_cache")["two.com"]
    assert (two["company_name"], two["company_site"], two["company_emp"]) == ("Two", "IT", "12")
    assert two["company_tech"] == "nginx, aws"
    assert two["company_estrev"] == "$1M - $10M"
    three = rows(warehouse, "whois_cache")["three.com"]
    assert (three["name"], three["country_code"], three["method"]) == ("Three GmbH", "DE", "rdap")
    assert rows(warehouse, "whois_cache")["four.com"]["outcome"] == "miss"


def test_a_second_run_calls_nobody(warehouse: Warehouse, world: World, hasty: Clock) -> None:
    world.companies["one.com"] = company("One")
    world.dns.names["8.8.8.8"] = "dns.one.com"
    names = ["one.com", "two.com", "8.8.8.8", "88.1.1.1"]
    ask(warehouse, world, names, hasty)
    before = world.total
    outcome = ask(warehouse, world, names, hasty, days=29)
    assert world.total == before
    assert outcome.calls == 0
    assert outcome.done_before == outcome.candidates == 4
    assert outcome.providers["discoverorg"].cached == 2


def test_answers_grow_old_after_thirty_days(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    world.companies["one.com"] = company("One")
    ask(warehouse, world, ["one.com", "two.com"], hasty)
    world.companies["one.com"] = company("One, renamed")
    world.companies["two.com"] = company("Two")
    outcome = ask(warehouse, world, ["one.com", "two.com"], hasty, days=31)
    assert outcome.asked == 2
    names = {k: r["company_name"] for k, r in rows(warehouse, "discoverorg_cache").items()}
    assert names == {"one.com": "One, renamed", "two.com": "Two"}


def test_pending_is_no_answer_and_asked_again(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    world.clearbit_answers["one.com"] = (202, {}, {})
    outcome = ask(warehouse, world, ["one.com"], hasty)
    assert outcome.providers["clearbit"].pending == 1
    assert rows(warehouse, "clearbit_cache")["one.com"]["outcome"] == "pending"
    world.clearbit_answers["one.com"] = (200, {}, {"name": "One"})
    outcome = ask(warehouse, world, ["one.com"], hasty)
    assert outcome.providers["clearbit"].hits == 1
    assert outcome.providers["discoverorg"].calls == 0
    assert rows(warehouse, "clearbit_cache")["one.com"]["company_name"] == "One"


def test_a_company_without_a_name_counts_as_not_found(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    world.clearbit_answers["one.com"] = (200, {}, {"name": None, "domain": "one.com"})
    world.clearbit_answers["mail.com"] = (422, {}, {"error": {"type": "params_invalid"}})
    outcome = ask(warehouse, world, ["one.com", "mail.com"], hasty)
    assert outcome.providers["clearbit"].misses == 2


def test_hidden_and_private_holders_name_no_company(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    world.registrations["hidden.com"] = registration("hidden.com", None)
    world.registrations["person.com"] = registration("person.com", "Joe User", kind="individual")
    ask(warehouse, world, ["hidden.com", "person.com"], hasty)
    found = rows(warehouse, "whois_cache")
    assert {row["outcome"] for row in found.values()} == {"miss"}
    assert {row["name"] for row in found.values()} == {None}


# -- addresses --


def test_addresses_go_by_their_name_else_by_their_network(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    world.dns.names |= {"8.8.8.8": "git.one.com", "8.8.4.4": "router.local", "88.1.1.1": ""}
    world.companies["one.com"] = company("One")
    world.registrations |= {
        "8.8.4.4": network("GOGL"),
        "2001:4860:4860::8888": network("GOGL6"),
    }
    limits = replace(LIMITS, total_seconds=0.5)
    outcome = ask(
        warehouse,
        world,
        ["http://8.8.8.8/x", "8.8.4.4", "[2001:4860:4860::8888]", "9.9.9.9"],
        hasty,
        limits=limits,
    )
    assert outcome.candidates == 5  # four addresses and one domain found
    reverse = rows(warehouse, "reverse_dns_cache")
    assert reverse["8.8.8.8"]["clean_full_domain"] == "git.one.com"
    assert reverse["8.8.8.8"]["clean_domain"] == "one.com"
    assert reverse["8.8.4.4"]["outcome"] == "miss"
    assert reverse["8.8.4.4"]["host_name"] == "router.local"
    networks = rows(warehouse, "whois_cache")
    assert {k: r["name"] for k, r in networks.items()} == {
        "8.8.4.4": "GOGL",
        "2001:4860:4860::8888": "GOGL6",
        "9.9.9.9": None,
    }
    assert networks["8.8.4.4"]["method"] == "rdap_network"
    assert rows(warehouse, "discoverorg_cache")["one.com"]["outcome"] == "hit"
    assert "router.local" not in world.asked_names()


# -- nothing internal leaves --

INTERNAL = (
    "localhost",
    "gitlab",
    "gitlab.local",
    "git.corp.internal",
    "git.home.arpa",
    "10.1.2.3",
    "http://192.168.1.1/x",
    "0x7f.1",
    "2130706433",
    "169.254.169.254",
    "[::1]",
    "fd00::1",
    "::ffff:10.0.0.1",
    "100.64.0.1",
    "one.com\r\nHost: evil.org",
    "@#$^#$",
    "",
    "co.uk",
)


def test_internal_and_invalid_hosts_never_leave(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    outcome = ask(warehouse, world, INTERNAL, hasty)
    assert outcome.withheld == len(INTERNAL)
    pinged(warehouse, *INTERNAL, "one.com")
    outcome = ask(warehouse, world, None, hasty)
    assert outcome.candidates == 1
    assert world.asked_names() <= {"one.com"}


def test_a_poisoned_table_is_stopped_at_the_gate(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    pinged(warehouse, "one.com", "8.8.8.8")
    with warehouse.connect() as connection:
        connection.execute(
            "update hosts.cleaned_hosts set clean_domain = 'git.corp', clean_full_domain = '10.0.0.1'"
        )
    outcome = ask(warehouse, world, None, hasty)
    assert outcome.withheld == 2
    assert world.asked_names() == set()


# -- which hosts --


def test_only_recently_pinged_hosts_are_asked_about(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    pinged(warehouse, "git.new.com", "www.new.com", "8.8.8.8")
    pinged(warehouse, "old.com", days_ago=70)
    world.dns.names["8.8.8.8"] = "gw.provider.net"
    outcome = ask(warehouse, world, None, hasty)
    assert outcome.candidates == 3
    assert set(rows(warehouse, "discoverorg_cache")) == {"new.com", "provider.net"}


def test_without_cleaned_hosts_it_says_what_to_do(warehouse: Warehouse) -> None:
    with pytest.raises(FatalError, match="no hosts are cleaned yet"):
        refresh_enrichment(warehouse, {}, now=NOW)


# -- providers missing, failing, exhausted --


def test_providers_without_settings_are_skipped_and_named(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    settings = {"rdap": world.settings["rdap"], "clearbit": {}}
    world.registrations["one.com"] = registration("one.com", "One AG")
    outcome = ask(warehouse, world, ["one.com", "8.8.8.8"], hasty, settings=settings)
    assert set(outcome.skipped) == {"discoverorg", "clearbit", "dns"}
    assert outcome.providers["whois"].hits == 1
    assert rows(warehouse, "clearbit_cache") == {}
    nobody = ask(warehouse, world, ["two.com"], hasty, settings={})
    assert nobody.unasked == 1
    assert nobody.calls == 0


def test_half_configured_providers_are_an_error_that_names_the_setting(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    settings = {"clearbit": {"base_url": "http://127.0.0.1:1"}}
    with pytest.raises(FatalError, match="clearbit: the setting 'api_key' is missing"):
        ask(warehouse, world, ["one.com"], hasty, settings=settings)


def test_an_outage_degrades_and_erases_nothing(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    world.companies["one.com"] = company("One")
    ask(warehouse, world, ["one.com"], hasty)
    settings = world.settings | {
        "discoverorg": world.settings["discoverorg"]
        | {"base_url": f"http://127.0.0.1:{closed_port()}"}
    }
    names = ["one.com", *(f"host{i}.com" for i in range(40))]
    world.clearbit_answers["host1.com"] = (200, {}, {"name": "Host"})
    outcome = ask(warehouse, world, names, hasty, days=31, settings=settings)
    counts = outcome.providers["discoverorg"]
    assert counts.stopped is not None
    assert "10 failures in a row" in counts.stopped
    assert "refused" in counts.stopped
    assert counts.failed < 40
    assert outcome.asked == 41
    assert outcome.providers["clearbit"].hits == 1
    kept = rows(warehouse, "discoverorg_cache")
    assert kept["one.com"]["company_name"] == "One"
    assert kept["one.com"]["outcome"] == "hit"
    assert kept["one.com"]["last_update"] == NOW
    assert {row["outcome"] for key, row in kept.items() if key != "one.com"} == {"error"}
    # The provider is back: whoever has no answer of it is asked about.
    outcome = ask(warehouse, world, names, hasty, days=31.1)
    assert outcome.providers["discoverorg"].misses == 40


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((402, {}, {}), "quota"),
        ((401, {}, {}), "credentials"),
        ((429, {"Retry-After": "3600"}, {}), "3600"),
    ],
)
def test_exhausted_providers_are_left_alone(
    warehouse: Warehouse, world: World, hasty: Clock, reply: Any, said: str
) -> None:
    world.clearbit.answer = lambda asked: reply
    names = [f"host{i}.com" for i in range(30)]
    outcome = ask(warehouse, world, names, hasty)
    counts = outcome.providers["clearbit"]
    assert said in str(counts.stopped)
    assert counts.calls <= 17  # those that were on their way
    assert outcome.asked == 30
    assert outcome.providers["whois"].misses == 30


def test_wrong_credentials_of_discoverorg_stop_it(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    settings = world.settings | {"discoverorg": world.settings["discoverorg"] | {"password": "no"}}
    outcome = ask(warehouse, world, ["one.com"], hasty, settings=settings)
    assert "credentials" in str(outcome.providers["discoverorg"].stopped)
    assert "no" not in rows(warehouse, "discoverorg_cache")["one.com"]["outcome"]


def test_an_expired_token_is_replaced_once(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    valid = ["first"]

    def answer(asked: Any) -> Any:
        if asked.path == "/papi/login":
            return 200, {"X-AUTH-TOKEN": valid[0]}, b""
        if asked.headers.get("X-AUTH-TOKEN") != valid[0]:
            return 401, {}, {}
        if valid[0] == "first" and len(world.discoverorg.asked) > 5:
            valid[0] = "second"
            return 401, {}, {}
        return 200, {}, {"content": []}

    world.discoverorg.answer = answer
    outcome = ask(warehouse, world, [f"host{i}.com" for i in range(40)], hasty)
    assert outcome.providers["discoverorg"].misses == 40
    logins = [asked for asked in world.discoverorg.asked if asked.path == "/papi/login"]
    assert len(logins) == 2


@pytest.mark.parametrize(
    "content",
    [b"<html><body>maintenance</body></html>", b"[]", b"{", b"", b'"x"', b"\xff\xfe", b"nul"],
)
def test_malformed_answers_are_failures_not_negatives(
    warehouse: Warehouse, world: World, hasty: Clock, content: bytes
) -> None:
    world.clearbit.answer = lambda asked: (200, {"Content-Type": "text/html"}, content)
    outcome = ask(warehouse, world, ["one.com"], hasty)
    assert outcome.providers["clearbit"].failed == 1
    assert "malformed" in str(outcome.providers["clearbit"].last_failure)
    assert rows(warehouse, "clearbit_cache")["one.com"]["outcome"] == "error"
    assert outcome.providers["whois"].misses == 1


def test_throttling_and_server_errors_are_waited_out(warehouse: Warehouse, world: World) -> None:
    slept: list[float] = []
    clock = Clock(sleep=slept.append, chance=lambda: 0.0)
    replies = [(429, {"Retry-After": "7"}, {}), (503, {}, {}), (200, {}, {"name": "One"})]
    world.clearbit.answer = lambda asked: replies[len(world.clearbit.asked) - 1]
    outcome = ask(warehouse, world, ["one.com"], clock)
    assert outcome.providers["clearbit"].hits == 1
    assert outcome.providers["clearbit"].calls == 3
    assert max(slept) >= 7


def test_the_spend_cap_postpones_the_rest(warehouse: Warehouse, world: World, hasty: Clock) -> None:
    names = [f"host{i}.com" for i in range(50)]
    outcome = ask(warehouse, world, names, hasty, spend_cap=30)
    assert outcome.spent == 30
    assert outcome.postponed > 0
    searches = [a for a in world.discoverorg.asked if a.path != "/papi/login"]
    assert len(searches) + len(world.clearbit.asked) == 30
    again = ask(warehouse, world, names, hasty)
    assert again.postponed == 0
    # Nothing that was paid for is paid for again.
    searches = [a for a in world.discoverorg.asked if a.path != "/papi/login"]
    assert len(searches) == 50
    assert len(world.clearbit.asked) == 50


def test_progress_and_every_answer_are_told(
    warehouse: Warehouse, world: World, hasty: Clock
) -> None:
    seen: list[int] = []
    told: list[tuple[str, str, str]] = []
    world.companies["one.com"] = company("One")
    ask(
        warehouse,
        world,
        ["one.com", "two.com"],
        hasty,
        on_progress=lambda outcome: seen.append(outcome.finished),
        on_answer=lambda name, provider, answer: told.append((name, provider, answer.outcome)),
    )
    assert seen[-1] == 2
    assert ("one.com", "discoverorg", "hit") in told
    assert ("two.com", "whois", "miss") in told


def test_every_vendor_has_variables() -> None:
    assert set(VARIABLES) == {"discoverorg", "clearbit", "rdap", "whois", "dns"}
    secrets = {v.name for group in VARIABLES.values() for v in group if v.is_secret}
    assert secrets == {"DISCOVERORG_PASSWORD", "DISCOVERORG_PARTNER_KEY", "CLEARBIT_API_KEY"}


def test_no_secret_and_no_credential_shows_anywhere(
    warehouse: Warehouse, world: World, hasty: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = ("S3cret-Pass", "S3cret-Partner", "S3cret-Key", "token")
    settings = world.settings | {
        "discoverorg": world.settings["discoverorg"]
        | {"password": secrets[0], "partner_key": secrets[1]},
        "clearbit": world.settings["clearbit"] | {"api_key": secrets[2]},
    }
    world.clearbit.answer = lambda asked: (500, {}, {"echo": asked.headers})
    world.rdap.answer = lambda asked: (302, {"Location": "http://10.0.0.1/?S3cret-Key"}, b"")
    told: list[str] = []
    outcome = ask(
        warehouse,
        world,
        ["http://joe:S3cret-Pass@one.com/x", "8.8.8.8"],
        hasty,
        settings=settings,
        on_answer=lambda name, provider, answer: told.append(f"{name} {provider} {answer}"),
    )
    assert sum(counts.failed for counts in outcome.providers.values()) == 3
    tables = [rows(warehouse, stream.name) for stream in CACHES]
    everything = f"{outcome} {told} {tables} {caplog.text}"
    assert not [secret for secret in secrets if secret in everything]
