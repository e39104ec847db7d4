"""What the domain and address registries have on file; RDAP, WHOIS and DNS tell it their way."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_hosts import ACCESS_PROVIDER_DOMAIN, DomainFacts
from meltano_assets.sandbox.company_words import COUNTRY_CODES

#: Suffixes under which names are registered, longest first.
SUFFIXES = ("co.uk", "com.au", "com.br", "co.jp", "com", "net", "org", "io", "de", "fr", "nl")
#: Top-level domain → whether its registry runs RDAP.
TOP_LEVEL_DOMAINS = {
    "com": True,
    "net": True,
    "org": True,
    "uk": True,
    "au": True,
    "fr": True,
    "nl": True,
    "br": True,
    "io": False,
    "de": False,
    "jp": False,
}
#: Registries that know only the registrar; the registrar knows the registrant.
THIN = ("com", "net")
#: Registries that tell nobody who the registrant is.
SILENT = ("de", "jp")
REDACTED = "REDACTED FOR PRIVACY"
#: Of every registered domain.
NAME_SERVERS = ("ns1.dns-sandbox.net", "ns2.dns-sandbox.net")
_PRIVATE_SUFFIXES = ("github.io", "herokuapp.com", "dyndns.org")


@dataclass(frozen=True, slots=True)
class Registration:
    """One registered domain."""

    domain: str
    tld: str
    organisation: str | None
    country: str
    city: str
    handle: str
    created: str
    changed: str
    expires: str
    name_servers: tuple[str, ...]

    @property
    def registrant(self) -> str:
        """The registrant's organisation as published."""
        return self.organisation or REDACTED


@dataclass(frozen=True, slots=True)
class Network:
    """One allocated block of addresses."""

    name: str
    organisation: str
    handle: str
    country: str
    registry: str
    block: ipaddress.IPv4Network | ipaddress.IPv6Network


class Registries:
    """Looks up registrations and networks as of the company's day."""

    def __init__(self, company: Company, day: Callable[[], int]) -> None:
        self._company = company
        self._day = day
        self._addresses: dict[int, dict[str, str]] = {}

    def domain(self, name: str) -> Registration | None:
        """The registration of exactly this domain; None when nobody holds it."""
        facts = self._company.domain_facts(self._day()).get(name)
        if facts is None or facts.registrant == "unregistered":
            return None
        return _registration(facts)

    def held_by(self, handle: str) -> Registration | None:
        """The registration of that handle; None when there is none."""
        names = self._company.domain_facts(self._day())
        return next(
            (held for name in names if (held := self.domain(name)) and held.handle == handle), None
        )

    def network(self, text: str) -> Network | None:
        """The block that holds the address; None when the text is no address."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        return network_of(address, self._company.reverse_names.get(str(address), ""))

    def reverse_name(self, text: str) -> str | None:
        """The address's name in the reverse DNS."""
        return self._company.reverse_names.get(text)

    def address(self, name: str) -> str | None:
        """An address for a host name that an installation uses, or whose reverse it is."""
        day = self._day()
        if day not in self._addresses:
            known = {
                host.clean_full_domain: item.source_ip
                for item in self._company.installations(day)
                for host in item.raw_hosts
                if host.kind == "domain" and host.clean_full_domain
            }
            known.update({reverse: ip for ip, reverse in self._company.reverse_names.items()})
            self._addresses = {day: known}
        return self._addresses[day].get(name)


def suffix_of(name: str) -> str | None:
    """The registry suffix under which the name lies."""
    return next((s for s in SUFFIXES if name.endswith("." + s)), None)


def registry_of(number: int) -> str:
    """The regional registry of an IPv4 first octet."""
    if (
        number in (1, 14, 27, 36, 39, 42, 43, 49, 101, 103, 106)
        or 58 <= number <= 61
        or 110 <= number <= 126
    ):
        return "apnic"
    if number in (2, 5, 31, 37, 46, 62, 109, 151, 176, 178, 185, 188, 212, 213, 217):
        return "ripe"
    if 77 <= number <= 95 or 193 <= number <= 195:
        return "ripe"
    return "arin"


def network_of(address: ipaddress.IPv4Address | ipaddress.IPv6Address, reverse: str) -> Network:
    """The block of an address; every address has one, reserved ones belong to IANA."""
    bits = 24 if address.version == 4 else 48
    block = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    registry = registry_of(int(str(address).split(".")[0])) if address.version == 4 else "ripe"
    if not address.is_global:
        return Network(
            "IANA-RESERVED", "Internet Assigned Numbers Authority", "NET-IANA", "US", "arin", block
        )
    part = f"{int(block.network_address):x}".rstrip("0").upper()
    if reverse.endswith(ACCESS_PROVIDER_DOMAIN):
        return Network(
            "KABELNETZ-DYN", "Kabelnetz Süd GmbH", f"KN{part}-RIPE", "DE", registry, block
        )
    return Network(f"RACKHAUS-{part}", "Rackhaus Hosting B.V.", f"RH{part}", "NL", registry, block)


def _registration(facts: DomainFacts) -> Registration | None:
    suffix = suffix_of(facts.domain)
    if suffix is None or facts.domain.endswith(_PRIVATE_SUFFIXES):
        return None
    organisation = facts.organisation
    is_open = facts.registrant == "organisation" and organisation is not None
    year = 1996 + sum(map(ord, facts.domain)) % 22
    return Registration(
        domain=facts.domain,
        tld=suffix.rsplit(".", 1)[-1],
        organisation=organisation.legal_name if is_open and organisation else None,
        country=COUNTRY_CODES[organisation.country] if organisation else "DE",
        city=organisation.city if organisation else "Munich",
        handle=f"{sum(map(ord, facts.domain)) * 7919}_DOMAIN_{suffix.upper()}-SBX",
        created=f"{year}-05-12T04:00:00Z",
        changed="2023-04-13T09:12:45Z",
        expires="2031-05-12T04:00:00Z",
        name_servers=NAME_SERVERS,
    )
