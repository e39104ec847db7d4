"""RDAP (RFC 9082, 9083, 9224): who holds a domain or a network, asked at its own registry.

The bootstrap files tell which server knows a top-level domain or a network (``bootstrap.py``). No
entry for a domain does not mean that it is not registered: then WHOIS is asked. Registries redirect to registrars,
which may be anywhere; ``exchange`` sees to it that anywhere is a public address.
"""

from __future__ import annotations

import ipaddress
import threading
from typing import Any
from urllib.parse import quote

from meltano_assets.clients.policy import Clock
from meltano_assets.environment import Variable
from meltano_assets.hosts.bootstrap import (
    BootstrapError,
    Registry,
    Services,
    address_of,
    known_services,
    parse_services,
)
from meltano_assets.hosts.exchange import Exchange, Limits, Pace, ProviderError, endpoint_of
from meltano_assets.hosts.providers import (
    Answer,
    Outcome,
    Settings,
    as_text,
    dig,
    requests_per_minute,
)

NAME = "rdap"
REQUESTS_PER_MINUTE = 600
VARIABLES = (
    Variable(
        "RDAP_BOOTSTRAP_URL",
        "bootstrap_url",
        "where to read dns.json, ipv4.json and ipv6.json in each run, instead of the pinned files",
        is_required=False,
    ),
)
_HEADERS = {"Accept": "application/rdap+json, application/json"}

#: What registrars and privacy services write in place of the holder's name.
_HIDDEN = (
    "redacted",
    "privacy",
    "whoisguard",
    "proxy",
    "protected",
    "not disclosed",
    "withheld",
    "data protect",
    "statutory mask",
    "identity protect",
    "hidden",
    "gdpr",
    "non-public",
    "n/a",
    "private registration",
    "domain admin",
)


_KEPT = (
    "objectClassName",
    "handle",
    "ldhName",
    "unicodeName",
    "name",
    "type",
    "status",
    "country",
    "ipVersion",
    "startAddress",
    "endAddress",
    "parentHandle",
    "port43",
    "remarks",
)


class NoServerError(ProviderError):
    """The bootstrap files know no server for this name."""


class Rdap:
    """Registration data of domains and networks."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, limits: Limits | None = None
    ) -> None:
        self._bootstrap_url = settings[NAME].get("bootstrap_url")
        trusted = {endpoint_of(self._bootstrap_url)} if self._bootstrap_url else ()
        clock = clock or Clock()
        self._exchange = Exchange(
            Pace(requests_per_minute(settings, NAME, REQUESTS_PER_MINUTE), 60.0, clock),
            frozenset(trusted),
            limits or Limits(),
            clock,
        )
        self._lock = threading.Lock()
        self._services: dict[Registry, Services] = {}
        self._top_levels: dict[str, str] | None = None

    @property
    def calls(self) -> int:
        """Requests sent so far, bootstrap files included."""
        return self._exchange.calls

    def ask_domain(self, domain: str) -> Answer:
        """The holder of a domain; NoServerError when its top level has no RDAP server."""
        if self._top_levels is None:
            services = self._bootstrap("dns")
            self._top_levels = {entry: base for entries, base in services for entry in entries}
        labels = domain.split(".")
        tails = (".".join(labels[place:]) for place in range(len(labels)))
        base = next((self._top_levels[tail] for tail in tails if tail in self._top_levels), None)
        if base is None:
            raise NoServerError("no RDAP server for this top-level domain")
        found = self._object(f"{base}domain/{quote(domain, safe='')}", "domain")
        if found is None:
            return Answer("miss", {"method": "rdap"})
        columns = domain_columns(found)
        outcome: Outcome = "hit" if columns["name"] else "miss"
        return Answer(outcome, columns | {"method": "rdap"}, without_people(found))

    def ask_address(self, address: str) -> Answer:
        """The network that a public address belongs to."""
        ip = ipaddress.ip_address(address)
        registry: Registry = "ipv4" if ip.version == 4 else "ipv6"
        best = max(
            (
                (network.prefixlen, base)
                for entries, base in self._bootstrap(registry)
                for network in map(_network, entries)
                if network is not None and network.version == ip.version and ip in network
            ),
            default=None,
        )
        if best is None:
            raise NoServerError("no RDAP server for this network")
        found = self._object(f"{best[1]}ip/{ip}", "ip network")
        if found is None:
            return Answer("miss", {"method": "rdap_network"})
        columns = network_columns(found) | {"method": "rdap_network"}
        return Answer("hit" if columns["name"] else "miss", columns, without_people(found))

    def _object(self, url: str, kind: str) -> dict[str, object] | None:
        reply = self._exchange.fetch("GET", url, headers=_HEADERS)
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise ProviderError(f"answer {reply.status}")
        found = reply.json_object()
        if found.get("objectClassName") != kind:
            raise ProviderError(f"malformed answer: not an RDAP {kind}")
        return found

    def _bootstrap(self, registry: Registry) -> Services:
        """Entries with their server's base URL; read once."""
        with self._lock:
            if registry not in self._services:
                self._services[registry] = self._read_bootstrap(registry)
            return self._services[registry]

    def _read_bootstrap(self, registry: Registry) -> Services:
        if not self._bootstrap_url:
            return known_services(registry)
        url = address_of(self._bootstrap_url, registry)
        reply = self._exchange.fetch("GET", url, headers=_HEADERS)
        if reply.status != 200:
            raise ProviderError(f"bootstrap file {registry}.json: answer {reply.status}")
        try:
            return parse_services(reply.json_object())
        except BootstrapError as error:
            raise ProviderError(str(error)) from None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def domain_columns(found: dict[str, object]) -> dict[str, str | None]:
    """Cache columns of a domain: the organisation that holds it, where the registry says so."""
    name = country = None
    for entity in _entities(found, "registrant"):
        card = _vcard(entity)
        name = organisation_name(card.get("org") or (card.get("fn") if _is_org(card) else None))
        country = card.get("country")
        if name:
            break
    return {
        "name": name,
        "description": _remarks(found),
        "asn_description": None,
        "country_code": country,
    }


def network_columns(found: dict[str, object]) -> dict[str, str | None]:
    """Cache columns of a network."""
    return {
        "name": as_text(found.get("name")),
        "description": _remarks(found),
        "asn_description": next(
            (
                name
                for entity in _entities(found, "registrant")
                if (card := _vcard(entity))
                and (name := organisation_name(card.get("org") or card.get("fn")))
                and (_is_org(card) or card.get("org"))
            ),
            None,
        ),
        "country_code": as_text(found.get("country")),
    }


def without_people(found: dict[str, object]) -> dict[str, object]:
    """The answer as it is kept: of its contacts only roles and organisations, nobody's address."""
    kept = {name: found[name] for name in _KEPT if name in found}
    events = found.get("events")
    if isinstance(events, list):
        kept["events"] = [
            {name: dig(event, name) for name in ("eventAction", "eventDate")} for event in events
        ]
    entities = found.get("entities")
    contacts = []
    for entity in entities if isinstance(entities, list) else []:
        if isinstance(entity, dict):
            card = _vcard(entity)
            name = card.get("org") or (card.get("fn") if _is_org(card) else None)
            contacts.append({"roles": entity.get("roles"), "organisation": name})
    return kept | {"contacts": contacts}


def organisation_name(text: str | None) -> str | None:
    """The text when it names an organisation; None for what hides one."""
    if not text:
        return None
    plain = " ".join(text.split())
    is_hidden = any(word in plain.lower() for word in _HIDDEN)
    return None if is_hidden or not any(letter.isalnum() for letter in plain) else plain


def _entities(found: dict[str, object], role: str) -> list[dict[str, object]]:
    entities = found.get("entities")
    chosen = []
    for entity in entities if isinstance(entities, list) else []:
        roles = dig(entity, "roles")
        if isinstance(roles, list) and role in roles:
            chosen.append(entity)
    return chosen


def _is_org(card: dict[str, str]) -> bool:
    """A person's name is not kept: the card must say that it is an organisation's."""
    return card.get("kind", "").lower() in ("org", "group")


def _vcard(entity: dict[str, object]) -> dict[str, str]:
    """Kind, name, organisation and country of a jCard; what is malformed is left out."""
    card = entity.get("vcardArray")
    properties: Any = card[1] if isinstance(card, list) and len(card) > 1 else []
    found: dict[str, str] = {}
    for item in properties if isinstance(properties, list) else []:
        if not (isinstance(item, list) and len(item) >= 4 and isinstance(item[0], str)):
            continue
        key, parameters, value = item[0].lower(), item[1], item[3]
        if key in ("fn", "org", "kind") and (text := as_text(value)):
            found.setdefault(key, text)
        elif key == "adr":
            code = dig(parameters, "cc")
            last = value[-1] if isinstance(value, list) and value else None
            if text := as_text(code) or as_text(last):
                found.setdefault("country", text)
    return found


def _remarks(found: dict[str, object]) -> str | None:
    remarks = found.get("remarks")
    first = remarks[0] if isinstance(remarks, list) and remarks else None
    lines = dig(first, "description")
    return " ".join(map(str, lines)).strip() or None if isinstance(lines, list) else None
