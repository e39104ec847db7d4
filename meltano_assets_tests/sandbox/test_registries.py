"""RDAP, WHOIS and DNS by their documents, over real sockets and with other people's clients."""

from __future__ import annotations

import shutil
import socket
import subprocess
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import dns.reversename
import pytest
import requests
import whois as python_whois

from meltano_assets.sandbox.company import Company
from meltano_assets_tests.sandbox.conftest import Sandbox


def domain_with(company: Company, suffix: str, registrant: str) -> str:
    """A domain of that suffix whose registrant is told, hidden or absent."""
    return next(
        name
        for name, facts in company.domain_facts(0).items()
        if name.split(".", 1)[1] == suffix and facts.registrant == registrant
    )


# --- RDAP ---------------------------------------------------------------------------------------


def bases(sandbox: Sandbox, registry: str = "dns") -> dict[str, str]:
    """Bootstrap entry → base URL."""
    url = sandbox.manifest["rdap"]["bootstrap_url"].replace("dns.json", f"{registry}.json")
    file = requests.get(url, timeout=10).json()
    assert file["version"] == "1.0"
    return {entry: urls[0] for entries, urls in file["services"] for entry in entries}


def rdap(sandbox: Sandbox, domain: str, **options: Any) -> requests.Response:
    """A domain look-up as RFC 9224 describes it."""
    base = bases(sandbox)[domain.rsplit(".", 1)[-1]]
    headers = {"Accept": "application/rdap+json"}
    return requests.get(f"{base}domain/{domain}", headers=headers, timeout=10, **options)


def registrant(answer: dict[str, Any]) -> dict[str, Any]:
    """The vCard of the registrant, by property."""
    entity = next(e for e in answer["entities"] if "registrant" in e["roles"])
    return {name: value for name, _parameters, _kind, value in entity["vcardArray"][1]}


def test_bootstrap_leads_back_here_and_leaves_some_out(sandbox: Sandbox) -> None:
    known = bases(sandbox)
    host = sandbox.manifest["rdap"]["bootstrap_url"].split("/rdap/")[0]
    assert all(base.startswith(host) and base.endswith("/") for base in known.values())
    assert {"com", "net", "org", "uk"} <= set(known)
    assert not {"de", "io", "jp"} & set(known)
    assert len(bases(sandbox, "ipv4")) == 223
    assert bases(sandbox, "ipv6")


def test_every_bootstrap_file_has_services(sandbox: Sandbox) -> None:
    url = str(sandbox.manifest["rdap"]["bootstrap_url"])
    for name in ("dns", "ipv4", "ipv6", "asn", "object-tags"):
        found = requests.get(url.replace("dns.json", f"{name}.json"), timeout=10).json()
        assert found["services"], name
        assert all(service[-1][0].endswith("/") for service in found["services"])
    refused = requests.post(url, timeout=10)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_a_domain_tells_its_registrant(sandbox: Sandbox, small_company: Company) -> None:
    domain = domain_with(small_company, "com", "organisation")
    answer = rdap(sandbox, domain)
    assert answer.headers["Content-Type"].startswith("application/rdap+json")
    found = answer.json()
    assert found["objectClassName"] == "domain"
    assert found["ldhName"].lower() == domain
    organisation: Any = small_company.domain_facts(0)[domain].organisation
    assert registrant(found)["org"] == organisation.legal_name
    assert {event["eventAction"] for event in found["events"]} >= {"registration", "expiration"}
    assert "rdap_level_0" in found["rdapConformance"]


def test_a_hidden_registrant_stays_hidden(sandbox: Sandbox, small_company: Company) -> None:
    found = rdap(sandbox, domain_with(small_company, "com", "redacted")).json()
    assert "org" not in registrant(found)
    assert registrant(found)["fn"] == ""


def test_unregistered_domains_are_not_found(sandbox: Sandbox) -> None:
    answer = rdap(sandbox, "nobody-registered-this.com")
    assert answer.status_code == 404
    assert answer.json()["errorCode"] == 404


def test_a_registry_redirects_to_the_registrar(sandbox: Sandbox, small_company: Company) -> None:
    domain = domain_with(small_company, "co.uk", "redacted")
    first = rdap(sandbox, domain, allow_redirects=False)
    assert first.status_code == 302
    assert "/registrar/" in first.headers["Location"]
    assert rdap(sandbox, domain).json()["ldhName"] == domain


def test_networks_are_found_and_reserved_ones_belong_to_iana(sandbox: Sandbox) -> None:
    base = bases(sandbox, "ipv4")
    hosting = requests.get(f"{base['88.0.0.0/8']}ip/88.198.20.14", timeout=10).json()
    assert hosting["objectClassName"] == "ip network"
    assert hosting["startAddress"] == "88.198.20.0"
    assert hosting["name"].startswith(("RACKHAUS", "KABELNETZ"))
    private = requests.get(f"{base['172.0.0.0/8']}ip/172.16.0.9", timeout=10).json()
    assert private["name"] == "IANA-RESERVED"
    moved = requests.get(f"{base['52.0.0.0/8']}ip/52.18.33.201", timeout=10)
    assert moved.history[0].status_code == 303
    assert moved.json()["objectClassName"] == "ip network"


def test_what_goes_with_domains_is_found(sandbox: Sandbox, small_company: Company) -> None:
    name = domain_with(small_company, "com", "organisation")
    base = bases(sandbox)["com"]
    domain = rdap(sandbox, name).json()
    for entity in domain["entities"]:
        found = requests.get(f"{base}entity/{entity['handle']}", timeout=10).json()
        assert found["vcardArray"] == entity["vcardArray"]
    server = domain["nameservers"][0]["ldhName"]
    found = requests.get(f"{base}nameserver/{server}", timeout=10).json()
    assert (found["objectClassName"], found["ldhName"]) == ("nameserver", server)
    for path, status in {
        "entity/nobody": 404, "entity/C": 404, "nameserver/ns.nowhere.com": 404, "autnum/x": 400,
        "autnum/4294967296": 400, "autnum/64512": 404, "wings/7": 400,
    }.items():  # fmt: skip
        answer = requests.get(base + path, timeout=10)
        assert answer.status_code == status, path
        assert answer.json()["errorCode"] == status
    search = base.replace("/rdap/", "/other/") + "domains?name=x*.com"
    assert requests.get(search, timeout=10).status_code == 501


def test_numbers_of_autonomous_systems_are_found(sandbox: Sandbox) -> None:
    spans = bases(sandbox, "asn")
    for number in (1, 2043, 13335, 15169, 4608, 131072, 200000):
        (base,) = (
            base
            for span, base in spans.items()
            if int(span.partition("-")[0]) <= number <= int(span.rpartition("-")[2])
        )
        found = requests.get(f"{base}autnum/{number}", timeout=10).json()
        assert (found["objectClassName"], found["handle"]) == ("autnum", f"AS{number}")
        assert found["startAutnum"] <= number <= found["endAutnum"]


def test_a_registrys_own_path_is_answered_too(sandbox: Sandbox, small_company: Company) -> None:
    host = sandbox.manifest["rdap"]["bootstrap_url"].split("/rdap/")[0]
    name = domain_with(small_company, "com", "organisation")
    known = rdap(sandbox, name).json()
    for path in ("com/v1/", "", "registry/"):
        found = requests.get(f"{host}/{path}domain/{name}", timeout=10).json()
        assert found["handle"] == known["handle"]
    assert requests.get(f"{host}/registry/ip/1.1.1.1", timeout=10).status_code == 200
    assert requests.get(f"{host}/com/v1/domain/nobody-at-all.com", timeout=10).status_code == 404


def test_rdap_can_be_throttled(sandbox: Sandbox) -> None:
    sandbox.arm("rdap", "throttle", match="domain/", retry_after_seconds=2)
    answer = rdap(sandbox, "anything.com")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")


# --- WHOIS --------------------------------------------------------------------------------------


def ask(host: str, port: int, query: str) -> str:
    """RFC 3912: a line, and all that comes until the end."""
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(query.encode() + b"\r\n")
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


def gateway(sandbox: Sandbox, query: str) -> str:
    """The announced server."""
    settings = sandbox.manifest["whois"]
    return ask(settings["host"], settings["port"], query)


def field(text: str, name: str) -> str | None:
    """The value behind ``name:``, if any."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip().lower() == name.lower():
            return value.strip()
    return None


def test_whois_chain_leads_from_iana_to_the_registrar(
    sandbox: Sandbox, small_company: Company
) -> None:
    settings = sandbox.manifest["whois"]
    port = settings["iana_port"]
    domain = domain_with(small_company, "com", "organisation")
    top = ask(settings["iana_host"], port, "com")
    assert field(top, "domain") == "COM"
    registry = field(top, "whois")
    assert registry is not None
    assert field(top, "refer") == registry
    thin = ask(registry, port, f"domain {domain}")
    assert "Registrant Organization" not in thin
    registrar = field(thin, "Registrar WHOIS Server")
    assert registrar is not None
    thick = ask(registrar, port, domain)
    organisation: Any = small_company.domain_facts(0)[domain].organisation
    assert field(thick, "Registrant Organization") == organisation.legal_name


def test_lines_end_as_each_registry_ends_them(sandbox: Sandbox, small_company: Company) -> None:
    settings = sandbox.manifest["whois"]
    iana = ask(settings["iana_host"], settings["iana_port"], "nl")
    assert "\r" not in iana
    assert "\n\ndomain:" in iana  # blank lines part the groups
    assert "\r" not in gateway(sandbox, "8.8.8.8")
    held = gateway(sandbox, domain_with(small_company, "com", "organisation"))
    assert held.count("\r\n") == held.count("\n") > 5


def test_autonomous_systems_are_told(sandbox: Sandbox) -> None:
    settings = sandbox.manifest["whois"]
    iana = ask(settings["iana_host"], settings["iana_port"], "AS15169")
    assert field(iana, "whois")
    assert field(gateway(sandbox, "AS15169"), "aut-num") == "AS15169"


def test_other_registries_tell_all_themselves(sandbox: Sandbox, small_company: Company) -> None:
    settings = sandbox.manifest["whois"]
    port = settings["iana_port"]
    registry = field(ask(settings["iana_host"], port, "io"), "whois")
    domain = domain_with(small_company, "io", "redacted")
    text = ask(str(registry), port, domain)
    assert field(text, "Registrant Organization") == "REDACTED FOR PRIVACY"
    assert field(text, "Registrar WHOIS Server") is None


def test_the_gateway_answers_for_everybody(sandbox: Sandbox, small_company: Company) -> None:
    for suffix in ("com", "io", "de"):
        domain = domain_with(small_company, suffix, "redacted")
        text = gateway(sandbox, f"-T dn,ace -C UTF-8 {domain}" if suffix == "de" else domain)
        assert domain in text.lower()
        assert field(text, "refer") is None
    assert field(gateway(sandbox, "com"), "domain") == "COM"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody-at-all.com", 'No match for "NOBODY-AT-ALL.COM".'),
        ("nobody-at-all.de", "Status: free"),
        ("nobody-at-all.co.uk", "has not been registered"),
        ("nobody-at-all.io", "Domain not found."),
        ("nobody-at-all.fr", "NOT FOUND"),
    ],
)
def test_every_registry_has_its_own_words_for_nobody(
    sandbox: Sandbox, name: str, words: str
) -> None:
    assert words in gateway(sandbox, name)


def test_whois_survives_odd_questions(sandbox: Sandbox) -> None:
    assert "no query" in gateway(sandbox, "")
    assert gateway(sandbox, "x" * 3000)
    assert "netname" in gateway(sandbox, "88.198.20.14")
    assert "0 objects" in ask(
        sandbox.manifest["whois"]["iana_host"], sandbox.manifest["whois"]["iana_port"], "nosuchtld"
    )


def test_whois_misbehaves_on_request(sandbox: Sandbox) -> None:
    sandbox.arm("whois", "throttle")
    assert "LIMIT EXCEEDED" in gateway(sandbox, "a-b-c.com")
    whole = gateway(sandbox, "a-b-c.com")
    sandbox.arm("whois", "truncate")
    assert len(gateway(sandbox, "a-b-c.com")) == len(whole) // 2
    sandbox.arm("whois", "drop")
    assert gateway(sandbox, "a-b-c.com") == ""
    assert sandbox.counts("whois")["requests"] == 4


def test_a_foreign_parser_reads_the_answers(sandbox: Sandbox, small_company: Company) -> None:
    domain = domain_with(small_company, "com", "organisation")
    organisation: Any = small_company.domain_facts(0)[domain].organisation
    entry = python_whois.WhoisEntry.load(domain, gateway(sandbox, domain))
    assert entry["org"] == organisation.legal_name
    assert entry["domain_name"] == domain.upper()
    with pytest.raises(python_whois.exceptions.PywhoisError):
        python_whois.WhoisEntry.load("x-y-z.com", gateway(sandbox, "x-y-z.com"))


@pytest.mark.skipif(shutil.which("whois") is None, reason="the whois program is not installed")
def test_the_debian_whois_program_follows_the_referral(
    sandbox: Sandbox, small_company: Company
) -> None:
    settings = sandbox.manifest["whois"]
    domain = domain_with(small_company, "io", "redacted")

    def run(port: int) -> str:
        command = ["whois", "-h", "127.0.0.1", "-p", str(port), domain]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=True
        ).stdout

    direct, referred = run(settings["port"]), run(settings["iana_port"])
    assert f"Domain Name: {domain.upper()}" in direct
    assert "IANA WHOIS server" in referred
    assert f"Domain Name: {domain.upper()}" in referred


# --- DNS ----------------------------------------------------------------------------------------


def resolver(sandbox: Sandbox) -> dns.resolver.Resolver:
    """A foreign resolver that asks the sandbox."""
    made = dns.resolver.Resolver(configure=False)
    made.nameservers = [sandbox.manifest["dns"]["host"]]
    made.port = sandbox.manifest["dns"]["port"]
    made.lifetime = 3
    return made


def test_reverse_names_are_the_known_ones(sandbox: Sandbox) -> None:
    names = sandbox.truths()["hosts"]["reverse_names"]
    assert any(":" in address for address in names)
    for address, name in names.items():
        answer = resolver(sandbox).resolve(dns.reversename.from_address(address), "PTR")
        assert [str(record.target) for record in answer] == [f"{name}."]
        forward = "AAAA" if ":" in address else "A"
        assert [str(record) for record in resolver(sandbox).resolve(name, forward)] == [address]


def test_other_addresses_have_no_name(sandbox: Sandbox) -> None:
    with pytest.raises(dns.resolver.NXDOMAIN):
        resolver(sandbox).resolve(dns.reversename.from_address("9.9.9.9"), "PTR")
    address = next(iter(sandbox.truths()["hosts"]["reverse_names"]))
    with pytest.raises(dns.resolver.NoAnswer):
        resolver(sandbox).resolve(dns.reversename.from_address(address), "TXT")


def test_a_cut_answer_is_asked_again_over_tcp(sandbox: Sandbox) -> None:
    address = next(iter(sandbox.truths()["hosts"]["reverse_names"]))
    query = dns.message.make_query(dns.reversename.from_address(address), "PTR")
    where, port = sandbox.manifest["dns"]["host"], sandbox.manifest["dns"]["port"]
    sandbox.arm("dns", "truncate")
    _answer, used_tcp = dns.query.udp_with_fallback(query, where, port=port, timeout=5)
    assert used_tcp


def test_dns_fails_on_request_and_ignores_rubbish(sandbox: Sandbox) -> None:
    where, port = sandbox.manifest["dns"]["host"], sandbox.manifest["dns"]["port"]
    query = dns.message.make_query("1.1.1.1.in-addr.arpa", "PTR")
    sandbox.arm("dns", "server_error")
    assert dns.query.udp(query, where, port=port, timeout=5).rcode() == dns.rcode.SERVFAIL
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rubbish:
        rubbish.sendto(b"\x00\x01rubbish that is long enough", (where, port))
        rubbish.sendto(b"", (where, port))
    assert dns.query.udp(query, where, port=port, timeout=5).rcode() == dns.rcode.NXDOMAIN
