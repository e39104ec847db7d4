"""RDAP and WHOIS: who holds a name, along bootstrap files and referrals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltano_assets.clients.policy import Clock
from meltano_assets.hosts import rdap, whois
from meltano_assets.hosts.bootstrap import parse_services
from meltano_assets.hosts.exchange import Limits, ProviderError
from meltano_assets.hosts.providers import Settings
from meltano_assets.hosts.rdap import NoServerError, Rdap
from meltano_assets.hosts.whois import Port43, Whois, is_record, whois_columns
from meltano_assets_tests.hosts.conftest import LineServer, World, line_server

LIMITS = Limits(connect_seconds=1, total_seconds=2, max_bytes=100_000, tries=1)

THICK = """Domain Name: ONE.IO\r
Registrar: Some Registrar\r
Registrant Name: REDACTED FOR PRIVACY\r
Registrant Organization: One Holding SE\r
Registrant Country: IE\r
>>> Last update of WHOIS database: 2024-01-10T20:00:01Z <<<\r
"""
THIN = """   Domain Name: TWO.COM
   Registrar WHOIS Server: {}
   Registrar: Some Registrar
"""
ROOT = """% IANA WHOIS server
refer:        {}

domain:       IO
organisation: Internet Computer Bureau Limited
whois:        {}
"""


def port43(server: LineServer, hasty: Clock) -> Port43:
    given: Settings = {"whois": {"host": "127.0.0.1", "port": str(server.port)}}
    return Port43(given, hasty, LIMITS)


# -- port 43 --


def test_a_gateway_answers_itself_and_is_asked_once_for_a_top_level(hasty: Clock) -> None:
    answers = {"io": "domain: IO\r\nstatus: ACTIVE\r\n", "one.io": THICK}
    with line_server(lambda line: answers.get(line, "Domain not found.\r\n")) as server:
        client = port43(server, hasty)
        found = client.ask("one.io")
        assert found.outcome == "hit"
        assert found.columns["name"] == "One Holding SE"
        assert found.columns["country_code"] == "IE"
        assert client.ask("none.io").outcome == "miss"
        assert server.asked == ["io", "one.io", "none.io"]


def test_referrals_to_private_servers_are_not_followed(hasty: Clock) -> None:
    for target in ("127.0.0.1", "127.0.0.1:1", "10.0.0.1", "localhost", "169.254.169.254:80"):
        text = ROOT.format(target, target)
        with line_server(lambda line, text=text: text) as server:
            with pytest.raises(ProviderError, match="not public"):
                port43(server, hasty).ask("one.io")
            assert server.asked == ["io"]


def test_what_the_registry_said_counts_when_the_registrar_is_out_of_reach(hasty: Clock) -> None:
    thin = THIN.format("10.0.0.1") + "Registrant Organization: Two Inc\n"
    with line_server(lambda line: thin if line == "two.com" else "ok\n") as server:
        found = port43(server, hasty).ask("two.com")
    assert found.columns["name"] == "Two Inc"
    assert any("not public" in step for step in found.steps)


def test_referral_loops_end(hasty: Clock) -> None:
    with line_server(lambda line: THIN.format(f"127.0.0.1:{server.port}")) as server:
        found = port43(server, hasty).ask("two.com")
        assert found.outcome == "miss"
        assert len(server.asked) <= 2


def test_chains_have_an_end(hasty: Clock) -> None:
    """Each server names another port of the trusted host: none of them is trusted."""
    with (
        line_server(lambda line: THIN.format(f"127.0.0.1:{server.port + 1}")) as server,
        pytest.raises(ProviderError, match="not public"),
    ):
        port43(server, hasty).ask("two.com")


@pytest.mark.parametrize(
    "text",
    [
        "WHOIS LIMIT EXCEEDED - SEE WWW.PIR.ORG/WHOIS FOR DETAILS\r\n",
        "% Error: 55000000002 Connection refused; access control limit exceeded.\r\n",
        "Your query rate is too high, try again later\r\n",
        "Number of allowed queries exceeded.\r\n",
        "% Internal error\r\n",
        "<html>502 Bad Gateway</html>",
        "",
        "\x00\x01\x02",
        "hello",
    ],
)
def test_what_is_no_answer_is_never_a_negative(hasty: Clock, text: str) -> None:
    with (
        line_server(lambda line: "ok" if line == "io" else text) as server,
        pytest.raises(ProviderError),
    ):
        port43(server, hasty).ask("one.io")


@pytest.mark.parametrize(
    "text",
    [
        'No match for "NONE.IO".\r\n',
        "Domain: none.io\r\nStatus: free\r\n",
        "    This domain name has not been registered.\r\n",
        "No match!!\r\n",
        "%% NOT FOUND\r\n",
        "none.io is free\r\n",
        "NOT FOUND\r\n",
        "Domain not found.\r\n",
    ],
)
def test_the_registries_ways_to_say_no(hasty: Clock, text: str) -> None:
    with line_server(lambda line: "ok" if line == "io" else text) as server:
        assert port43(server, hasty).ask("none.io").outcome == "miss"


def test_registries_forms_of_a_record() -> None:
    uk = "\n    Domain name:\n        one.co.uk\n\n    Registrant:\n        One Ltd\n\n"
    assert is_record(uk, "one.co.uk")
    assert whois_columns([uk])["name"] == "One Ltd"
    jp = "a. [Domain Name]                ONE.CO.JP\ng. [Organization]               One KK\n"
    assert is_record(jp, "one.co.jp")
    assert whois_columns([jp])["name"] == "One KK"
    assert not is_record("domain: IO\n", "one.io")
    hidden = "Domain: one.io\nRegistrant Organization: Privacy service provided by X\n"
    assert whois_columns([hidden])["name"] is None


def test_nobodys_address_is_kept(world: World, hasty: Clock, shared_fixtures: Path) -> None:
    text = THICK + "Registrant Email: joe@one.io\nAdmin Street: 5 Main Road\nTech Phone: +1 5\n"
    world.records["one.io"] = text + "write to joe@one.io\n"
    raw = str(Whois(world.settings, hasty, LIMITS).ask("one.io").raw)
    assert "One Holding SE" in raw
    assert not any(word in raw for word in ("joe", "Main Road", "+1 5", "REDACTED"))
    example = shared_fixtures / "rdap" / "rfc9083" / "xn--fo-5ja_example.json"
    world.registrations["two.com"] = json.loads(example.read_text("utf-8"))
    found = Whois(world.settings, hasty, LIMITS).ask("two.com")
    assert found.columns["name"] == "Example"
    assert not any(word in str(found.raw) for word in ("Joe", "joe", "555", "Rue"))
    assert "fóo.example" in str(found.raw)


def test_special_queries_and_latin_answers(hasty: Clock) -> None:
    text = "Domain: one.de\nHolder: Müller GmbH\n".encode("latin-1")
    with line_server(lambda line: text if "one.de" in line else "ok") as server:
        assert port43(server, hasty).ask("one.de").columns["name"] == "Müller GmbH"
        assert server.asked[-1] == "-T dn,ace one.de"


@given(st.text(max_size=300), st.sampled_from(["one.io", "one.de"]))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_without_a_crash(text: str, domain: str) -> None:
    is_record(text, domain)
    assert set(whois_columns([text])) >= {"name", "country_code"}
    whois._referral(text)


# -- RDAP --


def test_top_levels_without_rdap_are_asked_over_port_43(world: World, hasty: Clock) -> None:
    world.records["one.io"] = THICK
    client = Whois(world.settings, hasty, LIMITS)
    found = client.ask("one.io")
    assert (found.outcome, found.columns["method"]) == ("hit", "whois")
    assert client.ask("none.com").columns["method"] == "rdap"
    assert "none.com" not in world.whois.asked
    # Without port 43 a top level that has no RDAP is a miss.
    alone = Whois({"rdap": world.settings["rdap"]}, hasty, LIMITS)
    assert alone.ask("one.io").outcome == "miss"


def test_an_rdap_outage_is_bridged_by_port_43(world: World, hasty: Clock) -> None:
    world.rdap.answer = lambda asked: (503, {}, b"")
    world.records["two.com"] = THICK.replace("ONE.IO", "TWO.COM")
    found = Whois(world.settings, hasty, LIMITS).ask("two.com")
    assert found.columns["name"] == "One Holding SE"
    assert "503" in found.steps[0]


def test_the_longest_entry_of_a_bootstrap_file_wins(world: World, hasty: Clock) -> None:
    world.rdap.answer = lambda asked: (
        (
            200,
            {},
            {
                "services": [
                    [["uk"], [f"{world.rdap.url}/a/"]],
                    [["co.uk"], [f"{world.rdap.url}/b/"]],
                ]
            },
        )
        if asked.path.endswith(".json")
        else (404, {}, b"")
    )
    client = Rdap(world.settings, hasty, LIMITS)
    client.ask_domain("one.co.uk")
    client.ask_domain("one.org.uk")
    assert [asked.path for asked in world.rdap.asked] == [
        "/rdap/dns.json",
        "/b/domain/one.co.uk",
        "/a/domain/one.org.uk",
    ]
    with pytest.raises(NoServerError):
        client.ask_domain("one.xyz")


@pytest.mark.parametrize(
    "file",
    [b"<html>", b"[]", b"{}", b'{"services": 3}', b'{"services": [[1, 2], 3, [["com"], []]]}'],
)
def test_malformed_bootstrap_files_are_failures(world: World, hasty: Clock, file: bytes) -> None:
    world.rdap.answer = lambda asked: (200, {}, file)
    with pytest.raises(ProviderError):
        Rdap(world.settings, hasty, LIMITS).ask_domain("one.com")


def test_a_bootstrap_file_cannot_lead_inside(world: World, hasty: Clock) -> None:
    world.rdap.answer = lambda asked: (
        200,
        {},
        {"services": [[["com"], ["http://169.254.169.254/"]], [["net"], ["ftp://x/"]]]},
    )
    client = Rdap(world.settings, hasty, LIMITS)
    for name in ("one.com", "one.net"):
        with pytest.raises(ProviderError, match="not"):
            client.ask_domain(name)
    assert len(world.rdap.asked) == 1


def test_examples_of_the_standard_and_real_bodies(shared_fixtures: Path) -> None:
    def example(name: str) -> dict[str, Any]:
        return json.loads((shared_fixtures / "rdap" / name).read_text("utf-8"))

    domain = rdap.domain_columns(example("rfc9083/xn--fo-5ja_example.json"))
    assert domain["name"] == "Example"
    assert domain["country_code"] == "Canada"
    assert str(domain["description"]).startswith("She sells sea shells")
    network = rdap.network_columns(example("rfc9083/2001_db8__.json"))
    assert (network["name"], network["country_code"]) == ("NET-RTR-1", "AU")
    for file in ("dns.json", "ipv4.json", "ipv6.json"):
        assert parse_services(example(f"bootstrap/{file}"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["entities", "roles", "vcardArray", "remarks", "description", "name"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["entities", "remarks", "name", "country"]), _JSON))
@settings(max_examples=150, deadline=None)
def test_any_json_is_read_without_a_crash(found: dict[str, object]) -> None:
    for columns in (rdap.domain_columns(found), rdap.network_columns(found)):
        assert all(value is None or isinstance(value, str) for value in columns.values())
