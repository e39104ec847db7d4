"""WHOIS: the holder of a domain, asked last. RDAP first; where it knows no server, port 43.

Port 43 (RFC 3912) is a line of text and an answer of text, different at every registry. The root
server names the registry's server, that one often the registrar's: at most four servers are asked,
none twice, and none that is not on a public address. A text that says "slow down" is no answer.
"""

from __future__ import annotations

import re

from meltano_assets.clients.policy import Clock
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.hosts.addresses import is_public
from meltano_assets.hosts.exchange import (
    Endpoint,
    Exchange,
    Limits,
    Pace,
    ProviderError,
    ProviderStopError,
)
from meltano_assets.hosts.providers import (
    Answer,
    Settings,
    Step,
    cache_stream,
    requests_per_minute,
    setting,
)
from meltano_assets.hosts.rdap import NAME as RDAP
from meltano_assets.hosts.rdap import NoServerError, Rdap, organisation_name

NAME = "whois"
REQUESTS_PER_MINUTE = 600
VARIABLES = (
    Variable(
        "WHOIS_HOST",
        "host",
        "the WHOIS server that knows the others",
        is_required=False,
        default="whois.iana.org",
    ),
    Variable("WHOIS_PORT", "port", "its port", is_required=False, default="43"),
)
PORT = 43
_MAX_SERVERS = 4

#: What some registries want around the name.
_QUERIES = {"de": "-T dn,ace {}", "dk": "--show-handles {}", "jp": "{}/e"}
_REFERRAL = re.compile(
    r"^[ \t]*(?:refer|whois|whois server|registrar whois server)[ \t]*:[ \t]*(\S+)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_NOT_FOUND = re.compile(
    r"no match|not found|no entries found|no data found|nothing found|no object found"
    r"|not (?:been )?registered|is available for|is free$|status:\s*(?:free|available)|no such domain"
    r"|does not exist|no information available",
    re.IGNORECASE | re.MULTILINE,
)
_THROTTLED = re.compile(
    r"(?:limit|quota|number of (?:allowed )?queries)[^\n]{0,40}(?:exceed|reach)"
    r"|exceeded[^\n]{0,40}(?:limit|quota)|too many (?:requests|queries|connections)"
    r"|access (?:is )?(?:temporarily )?(?:denied|blocked)|try again (?:later|after)"
    r"|rate[ -]limit|please slow down|queried too",
    re.IGNORECASE,
)
_ORGANISATION = re.compile(
    r"^[ \t]*(?:[a-z]\. )?\[?(?:registrant organi[sz]ation|registrant org|organi[sz]ation|org-name|org"
    r"|holder(?: name)?|owner(?: name)?|registrant company|registrant:\s*?\n)"
    r"(?:\][ \t]|[ \t.]*:|(?<=\n))[ \t]*(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_COUNTRY = re.compile(
    r"^[ \t]*(?:registrant country(?:/economy)?|country)[ \t]*:[ \t]*([A-Za-z]{2})[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_RECORD = re.compile(
    r"^[ \t]*(?:[a-z]\. )?\[?domain(?:[ _-]?name)?\]?[ \t.]*:?\s*([a-z0-9_.-]+)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_PERSONAL = re.compile(
    r"^[^:\n]*(?:registrant|admin|tech|billing|holder|owner|contact|person)[^:\n]*"
    r"(?:name|street|address|city|postal|phone|fax|e-?mail)[^:\n]*:.*\n?",
    re.IGNORECASE | re.MULTILINE,
)
_MAIL_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+")
_MAX_KEPT = 20_000


class Whois:
    """Holders of domains and networks by RDAP and WHOIS; either may be missing."""

    name = NAME

    def __init__(
        self, settings: Settings, clock: Clock | None = None, limits: Limits | None = None
    ) -> None:
        self._rdap = Rdap(settings, clock, limits) if RDAP in settings else None
        self._port43 = Port43(settings, clock, limits) if NAME in settings else None
        if self._rdap is None and self._port43 is None:
            raise FatalError("neither RDAP nor WHOIS is configured", source=NAME)

    @property
    def calls(self) -> int:
        return sum(part.calls for part in (self._rdap, self._port43) if part is not None)

    def ask(self, name: str) -> Answer:
        if is_public(name):
            if self._rdap is None:
                return Answer("miss", {"method": "rdap_network"}, steps=("RDAP is not configured",))
            try:
                return self._rdap.ask_address(name)
            except NoServerError as error:
                return Answer("miss", {"method": "rdap_network"}, steps=(f"rdap: {error}",))
        steps: list[str] = []
        if self._rdap is not None:
            try:
                return self._rdap.ask_domain(name)
            except NoServerError as error:
                steps.append(f"rdap: {error}")
                if self._port43 is None:
                    return Answer("miss", {"method": "rdap"}, steps=tuple(steps))
            except (ProviderError, ProviderStopError) as error:
                if self._port43 is None:
                    raise
                steps.append(f"rdap: {error}")
        assert self._port43 is not None
        answer = self._port43.ask(name)
        return Answer(answer.outcome, answer.columns, answer.raw, (*steps, *answer.steps))


class Port43:
    """The WHOIS protocol, from the configured server along its referrals."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, limits: Limits | None = None
    ) -> None:
        port = str(settings[NAME].get("port") or PORT)
        if not port.isdigit() or not 0 < int(port) < 65_536:
            raise FatalError("the port is not a number", source=NAME)
        self._root: Endpoint = (setting(settings, NAME, "host").lower(), int(port))
        self._registries: dict[str, Endpoint | None] = {}
        clock = clock or Clock()
        self._exchange = Exchange(
            Pace(requests_per_minute(settings, NAME, REQUESTS_PER_MINUTE), 60.0, clock),
            frozenset({self._root}),
            limits or Limits(max_bytes=1 << 18),
            clock,
        )

    @property
    def calls(self) -> int:
        """Questions sent so far."""
        return self._exchange.calls

    def ask(self, domain: str) -> Answer:
        """The holder of the domain by the last server of the chain that tells one."""
        texts: list[str] = []
        steps: list[str] = []
        problem: ProviderError | None = None
        query = _QUERIES.get(domain.rpartition(".")[2], "{}").format(domain)
        server: Endpoint | None = self._root
        asked: set[Endpoint] = set()
        while server is not None and server not in asked and len(asked) < _MAX_SERVERS:
            place, server = server, None
            try:
                if not asked:
                    server = self._registry(domain.rpartition(".")[2])
                asked.add(place)
                if server is None:
                    text = self._converse(place, query)
                    steps.append(f"whois {place[0]}: {len(text)} characters")
                    if is_record(text, domain) or _NOT_FOUND.search(text):
                        texts.append(text)
                    server = _referral(text)
                else:
                    steps.append(f"whois {place[0]}: refers to {server[0]}")
            except ProviderError as error:
                steps.append(f"whois {place[0]}: {error}")
                problem = error
        if not texts:
            raise problem or ProviderError("no WHOIS server told anything about the domain")
        columns = whois_columns(texts)
        raw = {"text": without_people("\n\n".join(texts))[:_MAX_KEPT]}
        return Answer("hit" if columns["name"] else "miss", columns, raw, tuple(steps))

    def _registry(self, top: str) -> Endpoint | None:
        """The server that the root names for a top level, asked once in a run.

        A root that refers nowhere may know domains itself, as a gateway does.
        """
        if top not in self._registries:
            referred = _referral(self._converse(self._root, top))
            self._registries[top] = None if referred == self._root else referred
        return self._registries[top]

    def _converse(self, server: Endpoint, query: str) -> str:
        data = self._exchange.converse(*server, query.encode("ascii") + b"\r\n")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        text = text.replace("\x00", "").replace("\r\n", "\n")
        if _THROTTLED.search(text) and not _RECORD.search(text):
            raise ProviderError("throttled by the WHOIS server")
        if not text.strip():
            raise ProviderError("empty answer")
        if text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
            raise ProviderError("malformed answer: HTML")
        return text


def is_record(text: str, domain: str) -> bool:
    """True when the text describes the domain rather than saying something about it."""
    return any(match[1].lower().rstrip(".") == domain for match in _RECORD.finditer(text))


def whois_columns(texts: list[str]) -> dict[str, str | None]:
    """Cache columns of a chain of answers; the last one that tells something wins."""
    name = country = None
    for text in reversed(texts):
        for match in _ORGANISATION.finditer(text):
            name = name or organisation_name(match[1].strip())
        if country is None and (found := _COUNTRY.search(text)):
            country = found[1].upper()
    return {
        "name": name,
        "description": None,
        "asn_description": None,
        "country_code": country,
        "method": "whois",
    }


def without_people(text: str) -> str:
    """The text as it is kept: without persons' names, addresses and telephone numbers."""
    return _MAIL_ADDRESS.sub("…", _PERSONAL.sub("", text))


def _referral(text: str) -> Endpoint | None:
    """The server that the last referring line names."""
    for word in reversed(_REFERRAL.findall(text)):
        spec = re.sub(r"^r?whois://", "", word.strip().lower()).rstrip("/")
        host, _, port = spec.partition(":")
        if re.fullmatch(r"[a-z0-9._-]+", host) and (not port or port.isdigit()):
            number = int(port or PORT)
            if 0 < number < 65_536:
                return host.rstrip("."), number
    return None


CACHE = cache_stream(
    "whois_cache",
    "domain",
    ("name", "description", "asn_description", "country_code", "method"),
    "Who holds a domain, or a public address's network, by RDAP or WHOIS.",
)
#: Each failure may be another server's.
STEP = Step(NAME, CACHE, Whois, (RDAP, NAME), max_failures=50)
