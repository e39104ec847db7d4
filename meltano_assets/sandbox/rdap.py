"""RDAP (RFC 9082, 9083, 9224): bootstrap files, look-ups of domains, networks and what goes with them.

The bootstrap files lead back to this service, one path per registry. The registry of ``uk``
redirects to the registrar (302); a path of another form (``/com/v1/domain/…``), under which a registry is
known outside, is answered as its own; ``52.0.0.0/8`` is redirected from ARIN to RIPE (303). Top-level
domains without RDAP are missing from the bootstrap, as in the world outside.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.registries import (
    NAME_SERVERS,
    REDACTED,
    TOP_LEVEL_DOMAINS,
    Network,
    Registration,
    Registries,
    registry_of,
)
from meltano_assets.sandbox.service import HttpService, base_url, json_response

MEDIA_TYPE = "application/rdap+json"
_PUBLISHED = "2024-01-10T20:00:01Z"
_BOOTSTRAP = re.compile(r"/(?:rdap/)?(?:dns\.json/)?(dns|ipv4|ipv6|asn|object-tags)\.json")
_REGISTRY = re.compile(
    r"/rdap/(?P<registry>[a-z]+)/(?P<kind>domain|ip|nameserver|entity|autnum)/(?P<name>.+)"
)
#: The same at an address of the world outside: any path before the kind.
_ELSEWHERE = re.compile(r"/(?:[\w.-]+/)*?(?P<kind>domain|ip|nameserver|entity|autnum)/(?P<name>.+)")
_SEARCHES = re.compile(r"/(?:[\w.-]+/)*(?:domains|nameservers|entities)")
_REGISTRARS = {"uk": "registrar"}
#: Which registry holds which numbers of autonomous systems.
_ASN = {
    "arin": (
        "1-1876", "1902-2042", "2044-2046", "2048-4607", "4866-6655", "7723-8191", "10240-12287",
        "13312-15359", "16384-17407", "18432-20479", "21504-23455", "25600-28671", "393216-401308",
    ),
    "ripe": (
        "1877-1901", "2043", "2047", "6656-7466", "8192-9215", "12288-13311", "15360-16383",
        "20480-21503", "24576-25599", "28672-64495", "196608-216475",
    ),
    "apnic": ("4608-4865", "7467-7722", "9216-10239", "17408-18431", "23456-24575", "131072-153913"),
}  # fmt: skip
_REGISTRAR = "9999"
_GROUPS = {"com": "verisign", "net": "verisign"}


class Rdap:
    """All registries of the sandbox under one address."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries
        self.service = HttpService("rdap", "RDAP", self.handle, self._error)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.method not in ("GET", "HEAD"):
            headers = {"Allow": "GET, HEAD"}
            return _problem(405, "Method Not Allowed", "RDAP answers GET and HEAD", headers)
        path = request.url.path
        if path in ("/rdap", "/rdap/", "/"):
            path = "/rdap/dns.json"
        if found := _BOOTSTRAP.fullmatch(path):
            return json_response(self._bootstrap(found[1], base_url(request) + "/rdap"))
        if path.endswith("/help"):
            return _rdap({"rdapConformance": ["rdap_level_0"], "notices": []})
        if _SEARCHES.fullmatch(path):
            return _problem(501, "Not Implemented", "searches are not offered here")
        found = _REGISTRY.fullmatch(path)
        registry = found["registry"] if found else ""
        found = found or _ELSEWHERE.fullmatch(path)
        if found is None:
            return _problem(400, "Bad Request", "no such query")
        kind, name = found["kind"], found["name"].rstrip("/")
        if kind == "domain":
            return self._domain(request, registry, name.lower().rstrip("."))
        if kind == "ip":
            return self._network(request, registry, name)
        url = base_url(request) + path
        if kind == "autnum":
            return self._system(name, url)
        made = self._entity(name, url) if kind == "entity" else _nameserver_object(name, url)
        return _rdap(made) if made else _problem(404, "Not Found", f"{kind} not found")

    def _system(self, text: str, url: str) -> Response:
        """An autonomous system, whoever holds it."""
        if not is_number(text) or int(text) >= 1 << 32:
            return _problem(400, "Bad Request", "not a number of an autonomous system")
        number = int(text)
        for registry, spans in _ASN.items():
            for span in spans:
                first, _, last = span.partition("-")
                if int(first) <= number <= int(last or first):
                    return _rdap(_system_object(number, registry, url))
        return _problem(404, "Not Found", "autnum not found")

    def _entity(self, handle: str, url: str) -> dict[str, object] | None:
        """The registrar, or who holds a domain under that handle."""
        common: dict[str, object] = {
            "rdapConformance": ["rdap_level_0"],
            "links": [{"value": url, "rel": "self", "href": url, "type": MEDIA_TYPE}],
        }
        if handle == _REGISTRAR:
            return {**_registrar(), **common}
        held = self._registries.held_by(handle.removeprefix("C")) if handle[:1] == "C" else None
        return {**_registrant(held), **common} if held and held.organisation else None

    def _bootstrap(self, name: str, base: str) -> dict[str, object]:
        services: list[list[list[str]]]
        if name == "asn":
            services = [[list(ranges), [f"{base}/{group}/"]] for group, ranges in _ASN.items()]
        elif name == "object-tags":
            # RFC 8521: whom to ask about a tag comes first.
            services = [[[f"rdap@{g}.test"], [g.upper()], [f"{base}/{g}/"]] for g in _ASN]
        elif name == "dns":
            groups: dict[str, list[str]] = {}
            for tld, has_rdap in TOP_LEVEL_DOMAINS.items():
                if has_rdap:
                    groups.setdefault(_GROUPS.get(tld, tld), []).append(tld)
            services = [[tlds, [f"{base}/{group}/"]] for group, tlds in groups.items()]
        elif name == "ipv4":
            blocks: dict[str, list[str]] = {"apnic": [], "arin": [], "ripe": []}
            for number in range(1, 224):
                blocks[registry_of(number)].append(f"{number}.0.0.0/8")
            services = [[prefixes, [f"{base}/{group}/"]] for group, prefixes in blocks.items()]
        else:
            services = [
                [["2a00::/12", "2001:600::/23"], [f"{base}/ripe/"]],
                [["2600::/12"], [f"{base}/arin/"]],
            ]
        return {
            "version": "1.0",
            "publication": _PUBLISHED,
            "description": "RDAP bootstrap file of the sandbox",
            "services": services,
        }

    def _domain(self, request: Request, registry: str, name: str) -> Response:
        held = self._registries.domain(_ascii(name))
        group = _GROUPS.get(held.tld, held.tld) if held else ""
        registry = registry or group
        if held is None or registry not in (group, _REGISTRARS.get(held.tld, "")):
            return _problem(404, "Not Found", f"Domain {name} is not registered here")
        base = base_url(request)
        if registry != "registrar" and held.tld in _REGISTRARS:
            return RedirectResponse(f"{base}/rdap/registrar/domain/{held.domain}", 302)
        return _rdap(_domain_object(held, f"{base}/rdap/{registry}/domain/{held.domain}"))

    def _network(self, request: Request, registry: str, text: str) -> Response:
        network = self._registries.network(text.split("/", maxsplit=1)[0])
        if network is None:
            return _problem(400, "Bad Request", "not an address")
        base = base_url(request)
        registry = registry or network.registry
        if registry == "arin" and text.startswith("52."):
            return RedirectResponse(f"{base}/rdap/ripe/ip/{text}", 303)
        if registry not in (network.registry, "ripe"):
            return RedirectResponse(f"{base}/rdap/{network.registry}/ip/{text}", 301)
        return _rdap(_network_object(network, f"{base}/rdap/{registry}/ip/{text}"))

    def _error(self, kind: str, fault: Fault) -> Response | None:
        if kind == "throttle":
            headers = {"Retry-After": str(round(fault.number("retry_after_seconds", 1)))}
            if not fault.is_set("with_retry_after", default=True):
                headers = {}
            return _problem(429, "Too Many Requests", "slow down", headers)
        if kind == "unavailable":
            return _problem(503, "Service Unavailable", "try later")
        return _problem(500, "Internal Server Error", "something went wrong")


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def _rdap(content: dict[str, object]) -> Response:
    return json_response(content, media_type=MEDIA_TYPE)


def _problem(
    status: int, title: str, description: str, headers: dict[str, str] | None = None
) -> Response:
    body = {
        "rdapConformance": ["rdap_level_0"],
        "errorCode": status,
        "title": title,
        "description": [description],
    }
    return json_response(body, status, headers, MEDIA_TYPE)


def _vcard(name: str, kind: str, *, country: str = "", city: str = "") -> list[object]:
    fields: list[object] = [
        ["version", {}, "text", "4.0"],
        ["fn", {}, "text", "" if kind == "org" and name == REDACTED else name],
        ["kind", {}, "text", kind],
    ]
    if kind == "org" and name != REDACTED:
        fields.append(["org", {"type": "work"}, "text", name])
    if country:
        fields.append(["adr", {"cc": country}, "text", ["", "", "", city, "", "", country]])
    return ["vcard", fields]


def _registrant(held: Registration) -> dict[str, object]:
    is_redacted = held.organisation is None
    registrant: dict[str, object] = {
        "objectClassName": "entity",
        "handle": REDACTED if is_redacted else f"C{held.handle}",
        "roles": ["registrant"],
        "vcardArray": _vcard(
            held.registrant,
            "org",
            country="" if is_redacted else held.country,
            city="" if is_redacted else held.city,
        ),
    }
    if is_redacted:
        registrant["remarks"] = [
            {
                "title": REDACTED,
                "type": "object redacted due to authorization",
                "description": ["Some of the data in this object has been removed."],
            }
        ]
    return registrant


def _registrar() -> dict[str, object]:
    return {
        "objectClassName": "entity",
        "handle": _REGISTRAR,
        "roles": ["registrar"],
        "publicIds": [{"type": "IANA Registrar ID", "identifier": _REGISTRAR}],
        "vcardArray": _vcard("Sandbox Registrar Ltd", "individual"),
        "entities": [
            {
                "objectClassName": "entity",
                "roles": ["abuse"],
                "vcardArray": _vcard("Abuse Desk", "individual"),
            }
        ],
    }


def _nameserver_object(name: str, url: str) -> dict[str, object] | None:
    if name.lower() not in NAME_SERVERS:
        return None
    return {
        "objectClassName": "nameserver",
        "ldhName": name.lower(),
        "status": ["active"],
        "links": [{"value": url, "rel": "self", "href": url, "type": MEDIA_TYPE}],
        "rdapConformance": ["rdap_level_0"],
    }


def _system_object(number: int, registry: str, url: str) -> dict[str, object]:
    return {
        "objectClassName": "autnum",
        "handle": f"AS{number}",
        "startAutnum": number,
        "endAutnum": number,
        "name": f"RACKHAUS-AS{number}",
        "type": "DIRECT ALLOCATION",
        "status": ["active"],
        "country": "NL",
        "events": [{"eventAction": "registration", "eventDate": "2004-02-02T10:00:00Z"}],
        "entities": [
            {
                "objectClassName": "entity",
                "handle": f"ORG-AS{number}",
                "roles": ["registrant"],
                "vcardArray": _vcard("Rackhaus Hosting B.V.", "org", country="NL"),
            }
        ],
        "port43": f"whois.{registry}.net",
        "links": [{"value": url, "rel": "self", "href": url, "type": MEDIA_TYPE}],
        "rdapConformance": ["rdap_level_0"],
    }


def _domain_object(held: Registration, url: str) -> dict[str, object]:
    domain: dict[str, object] = {
        "objectClassName": "domain",
        "handle": held.handle,
        "ldhName": held.domain.upper() if held.tld in _GROUPS else held.domain,
        "status": ["client transfer prohibited"],
        "events": [
            {"eventAction": "registration", "eventDate": held.created},
            {"eventAction": "expiration", "eventDate": held.expires},
            {"eventAction": "last changed", "eventDate": held.changed},
        ],
        "entities": [_registrar(), _registrant(held)],
        "nameservers": [
            {"objectClassName": "nameserver", "ldhName": name} for name in held.name_servers
        ],
        "secureDNS": {"delegationSigned": False},
        "links": [{"value": url, "rel": "self", "href": url, "type": MEDIA_TYPE}],
        "notices": [{"title": "Terms of Use", "description": ["A simulated registry."]}],
        "rdapConformance": ["rdap_level_0", "icann_rdap_response_profile_0"],
    }
    if "xn--" in held.domain:
        domain["unicodeName"] = held.domain.encode().decode("idna")
    return domain


def _network_object(network: Network, url: str) -> dict[str, object]:
    block = network.block
    prefix = "v4prefix" if isinstance(block, ipaddress.IPv4Network) else "v6prefix"
    return {
        "objectClassName": "ip network",
        "handle": network.handle,
        "startAddress": str(block.network_address),
        "endAddress": str(block.broadcast_address),
        "ipVersion": f"v{block.version}",
        "name": network.name,
        "type": "ASSIGNED PA",
        "country": network.country,
        "parentHandle": f"{network.registry.upper()}-ROOT",
        "cidr0_cidrs": [{prefix: str(block.network_address), "length": block.prefixlen}],
        "status": ["active"],
        "remarks": [{"description": [f"{network.organisation} customers"]}],
        "events": [{"eventAction": "last changed", "eventDate": "2022-02-02T10:00:00Z"}],
        "entities": [
            {
                "objectClassName": "entity",
                "handle": f"ORG-{network.handle}",
                "roles": ["registrant"],
                "vcardArray": _vcard(network.organisation, "org", country=network.country),
            }
        ],
        "links": [{"value": url, "rel": "self", "href": url, "type": MEDIA_TYPE}],
        "rdapConformance": ["rdap_level_0", "cidr0"],
    }
