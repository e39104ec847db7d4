"""DiscoverOrg: companies by e-mail domain. Asked first.

Login gives a token in the header ``X-AUTH-TOKEN``; it is kept until the service refuses it.
The service is retired and had no public contract: ours is written in ``docs/hosts.md``.
"""

from __future__ import annotations

import threading

import orjson

from meltano_assets.clients.policy import Clock
from meltano_assets.environment import Variable
from meltano_assets.hosts.exchange import (
    Exchange,
    Limits,
    Pace,
    ProviderError,
    ProviderStopError,
    Reply,
    endpoint_of,
)
from meltano_assets.hosts.providers import (
    COMPANY_COLUMNS,
    Answer,
    Settings,
    Step,
    as_text,
    cache_stream,
    dig,
    requests_per_minute,
    setting,
)

NAME = "discoverorg"
REQUESTS_PER_MINUTE = 600
VARIABLES = (
    Variable("DISCOVERORG_BASE_URL", "base_url", "address of the DiscoverOrg API"),
    Variable("DISCOVERORG_USERNAME", "username", "user of the DiscoverOrg API"),
    Variable("DISCOVERORG_PASSWORD", "password", "its password", is_secret=True),
    Variable("DISCOVERORG_PARTNER_KEY", "partner_key", "the partner key", is_secret=True),
)
#: The parts of an address, each by the names under which it has been seen.
_PLACE = (
    ("streetAddress1", "street"),
    ("city",),
    ("stateProvinceRegion", "state"),
    ("postalCode", "zip"),
    ("isoCountryCode", "country"),
)
_TOKEN = "X-AUTH-TOKEN"  # noqa: S105 a header's name


class DiscoverOrg:
    """Companies by domain from DiscoverOrg."""

    name = NAME

    def __init__(
        self, settings: Settings, clock: Clock | None = None, limits: Limits | None = None
    ) -> None:
        self._base_url = setting(settings, NAME, "base_url").rstrip("/")
        self._login = {
            "username": setting(settings, NAME, "username"),
            "password": setting(settings, NAME, "password"),
            "partnerKey": setting(settings, NAME, "partner_key"),
        }
        clock = clock or Clock()
        self._exchange = Exchange(
            Pace(requests_per_minute(settings, NAME, REQUESTS_PER_MINUTE), 60.0, clock),
            frozenset({endpoint_of(self._base_url)}),
            limits or Limits(),
            clock,
        )
        self._lock = threading.Lock()
        self._token = ""

    @property
    def calls(self) -> int:
        return self._exchange.calls

    def ask(self, name: str) -> Answer:
        criteria = {
            "companyCriteria": {"queryString": name, "queryStringApplication": ["EMAIL_DOMAIN"]}
        }
        reply = self._search(criteria, self._current_token(refused=None))
        if reply.status == 404 or not reply.body.strip():
            return Answer("miss")
        if reply.status != 200:
            raise ProviderError(f"answer {reply.status}")
        page = reply.json_object()
        content = page.get("content")
        if content is None or content == []:
            return Answer("miss")
        if not isinstance(content, list) or not isinstance(content[0], dict):
            raise ProviderError("malformed answer: content is no list of companies")
        company: dict[str, object] = content[0]
        columns = company_columns(company)
        return Answer("hit" if columns["company_name"] else "miss", columns, company)

    def _search(self, criteria: object, token: str) -> Reply:
        body = orjson.dumps(criteria)
        for is_last in (False, True):
            reply = self._post("/papi/v1/search/companies", body, {_TOKEN: token})
            if reply.status in (401, 403):
                if is_last:
                    raise ProviderStopError("the credentials were refused")
                token = self._current_token(refused=token)
                continue
            if reply.status == 402:
                raise ProviderStopError("the quota is used up")
            return reply
        raise ProviderStopError("the credentials were refused")

    def _current_token(self, refused: str | None) -> str:
        """The token that all threads share; a refused one is replaced once, not by each."""
        with self._lock:
            if not self._token or self._token == refused:
                reply = self._post("/papi/login", orjson.dumps(self._login), {})
                token = reply.headers.get(_TOKEN, "")
                if reply.status in (400, 401, 403):
                    raise ProviderStopError("the credentials were refused")
                if reply.status >= 300 or not token:
                    raise ProviderError(f"login failed: answer {reply.status}")
                self._token = token
            return self._token

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        sent = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        return self._exchange.fetch("POST", self._base_url + path, headers=sent, body=body)


def company_columns(company: dict[str, object]) -> dict[str, str | None]:
    """The cache columns of one company of an answer."""
    place = company.get("location") or company.get("headquarters")
    parts = [
        next((text for name in names if (text := as_text(dig(place, name)))), None)
        for names in _PLACE
    ]
    return {
        "company_name": as_text(company.get("name")) or as_text(company.get("fullName")),
        "company_legalname": as_text(company.get("fullName")),
        "company_domain": as_text(company.get("emailDomain")),
        "company_industry": as_text(company.get("industry")),
        "company_naics": as_text(company.get("naics")),
        "company_desc": as_text(company.get("description")),
        "company_loc": ", ".join(part for part in parts if part) or None,
        "company_emp": as_text(company.get("numEmployees")),
        "company_rev": as_text(company.get("revenue")),
        "company_type": as_text(company.get("ownershipType")),
        "company_phone": as_text(company.get("mainPhoneNumber")),
        "provider_record_id": as_text(company.get("id")),
    }


CACHE = cache_stream(
    "discoverorg_cache", "domain", COMPANY_COLUMNS, "What DiscoverOrg answered, by domain."
)
STEP = Step(NAME, CACHE, DiscoverOrg, (NAME,), is_paid=True)
