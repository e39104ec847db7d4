"""The company-data providers: DiscoverOrg and Clearbit.

Both know what ``Company.domain_facts`` says they know. DiscoverOrg's wire is fixed by the
project's own contract (the service is gone): log in for an ``X-AUTH-TOKEN``, search companies by
mail domain. Clearbit's is that of its public client.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator

import orjson
from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_hosts import DomainFacts
from meltano_assets.sandbox.company_words import COUNTRY_CODES, Organisation
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.service import HttpService, RateLimit, json_response

_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_TOKEN_SECONDS = 3600


class DiscoverOrg:
    """DiscoverOrg's partner API."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        *,
        username: str,
        password: str,
        partner_key: str,
    ) -> None:
        self._company = company
        self._day = day
        self._login = {"username": username, "password": password, "partnerKey": partner_key}
        self._tokens: dict[str, float] = {}
        self.service = HttpService("discoverorg", "DiscoverOrg", self.handle, self._error)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        path = request.url.path.rstrip("/")
        if path == "/papi/login":
            return await self._log_in(request)
        if path != "/papi/v1/search/companies":
            return _message("Not Found", 404)
        token = request.headers.get("x-auth-token", "")
        if self._tokens.get(token, 0) < time.monotonic():
            return _message("Invalid or expired token", 401)
        if request.method != "POST":
            return _message("Method Not Allowed", 405)
        return await self._search(request)

    async def _log_in(self, request: Request) -> Response:
        if request.method != "POST":
            return _message("Method Not Allowed", 405)
        given = await _json(request)
        if any(given.get(name) != value for name, value in self._login.items()):
            return _message("Bad credentials", 401)
        token = secrets.token_hex(20)
        self._tokens[token] = time.monotonic() + _TOKEN_SECONDS
        return Response(status_code=200, headers={"X-AUTH-TOKEN": token})

    async def _search(self, request: Request) -> Response:
        body = await _json(request)
        criteria = body.get("companyCriteria")
        if not isinstance(criteria, dict):
            return _message("companyCriteria is required", 400)
        domains = criteria.get("emailDomains")
        applications = criteria.get("queryStringApplication")
        if domains is None and isinstance(applications, list) and "EMAIL_DOMAIN" in applications:
            domains = [criteria.get("queryString")]
        if not isinstance(domains, list):
            return _message("no usable criteria", 400)
        facts = self._company.domain_facts(self._day())
        content = [
            _discoverorg_company(known.domain, known.organisation)
            for domain in domains
            if (known := facts.get(str(domain).lower()))
            and known.discoverorg
            and known.organisation
        ]
        return json_response(
            {
                "content": content,
                "totalElements": len(content),
                "totalPages": 1 if content else 0,
                "numberOfElements": len(content),
                "number": 0,
                "size": 20,
                "first": True,
                "last": True,
            }
        )

    def _error(self, kind: str, fault: Fault) -> Response | None:
        if kind == "expire_session":
            self._tokens.clear()
            return None
        if kind == "throttle":
            return _message("Too Many Requests", 429, _retry_after(fault))
        if kind == "unavailable":
            return _message("Service Unavailable", 503)
        return _message("Internal Server Error", 500)


class Clearbit:
    """Clearbit's company API, the classic and the streaming host in one."""

    def __init__(
        self, company: Company, day: Callable[[], int], *, api_key: str, requests_per_minute: int
    ) -> None:
        self._company = company
        self._day = day
        basic = base64.b64encode(f"{api_key}:".encode()).decode()
        self._logins = (f"Basic {basic}", f"Bearer {api_key}")
        self._limit = RateLimit(requests_per_minute)
        self.service = HttpService("clearbit", "Clearbit", self.handle, self._error)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        given = request.headers.get("authorization", "")
        if not any(
            secrets.compare_digest(given.encode(), known.encode()) for known in self._logins
        ):
            return _clearbit_error("auth_invalid", "Invalid API key provided.", 401)
        remaining, reset = self._limit.spend(time.monotonic())
        headers = {
            "X-RateLimit-Limit": str(self._limit.per_minute),
            "X-RateLimit-Remaining": str(max(0, remaining)),
            "X-RateLimit-Reset": str(int(time.time() + reset)),
        }
        if remaining < 0:
            return _clearbit_error("rate_limit", "Rate limit exceeded.", 429, headers)
        parts = request.url.path.strip("/").split("/")
        if self.service.faults.take("quota", request.url.path):
            return _clearbit_error("over_quota", "You are over your quota.", 402, headers)
        query = request.query_params
        match (request.method, *parts):
            case ("GET", "v1" | "v2", "companies", "find"):
                return self._find(query.get("domain", ""), headers)
            case ("GET", "v1" | "v2", "companies", key):
                return self._by_id(key, headers)
            case ("POST", "v1" | "v2", "companies", key, "flag"):
                found = self._by_id(key, headers)
                return json_response({}, 200, headers) if found.status_code == 200 else found
            case ("GET", "v1", "domains", "find"):
                return self._domain_of(query.get("name", ""), headers)
            case ("GET", "v1" | "v2", "people", *_) if not query.get("email") and len(parts) == 3:
                return _clearbit_error("params_invalid", "Email is invalid.", 422, headers)
            case ("GET", "v1" | "v2", "people", *_):
                return _clearbit_error("unknown_record", "Unknown person.", 404, headers)
            case ("GET", "v1" | "v2", "combined", "find"):
                return self._combined(query.get("email", ""), headers)
        return _clearbit_error("not_found", "No such resource.", 404, headers)

    def _hits(self) -> Iterator[DomainFacts]:
        """The domains whose company is known here."""
        day = self._day()
        for known in self._company.domain_facts(day).values():
            if known.organisation is not None and known.clearbit_on(day) == "hit":
                yield known

    def _by_id(self, key: str, headers: dict[str, str]) -> Response:
        for known in self._hits():
            if _company_id(known.domain) == key:
                return json_response(_clearbit_company(known), 200, headers)
        return _clearbit_error("unknown_record", "Unknown company.", 404, headers)

    def _domain_of(self, name: str, headers: dict[str, str]) -> Response:
        """The domain of a company by its name."""
        wanted = name.strip().casefold()
        if not wanted:
            return _clearbit_error("params_invalid", "Name is invalid.", 422, headers)
        for known in self._hits():
            organisation = known.organisation
            names = (organisation.name, organisation.legal_name) if organisation else ()
            if organisation and wanted in (each.casefold() for each in names):
                told = {"domain": known.domain, "logo": None, "name": organisation.name}
                return json_response(told, 200, headers)
        return _clearbit_error("unknown_record", "Unknown company.", 404, headers)

    def _combined(self, email: str, headers: dict[str, str]) -> Response:
        """A person, who is nobody here, and the company of their address."""
        mailbox, _, domain = email.strip().rpartition("@")
        if not mailbox or not _DOMAIN.fullmatch(domain.lower()):
            return _clearbit_error("params_invalid", "Email is invalid.", 422, headers)
        for known in self._hits():
            if known.domain == domain.lower():
                told = {"person": None, "company": _clearbit_company(known)}
                return json_response(told, 200, headers)
        return _clearbit_error("unknown_record", "Unknown person.", 404, headers)

    def _find(self, domain: str, headers: dict[str, str]) -> Response:
        domain = domain.strip().lower()
        if not _DOMAIN.fullmatch(domain):
            return _clearbit_error("params_invalid", "Domain is invalid.", 422, headers)
        known = self._company.domain_facts(self._day()).get(domain)
        answer = known.clearbit_on(self._day()) if known else "miss"
        if answer == "invalid":
            message = "Domain is invalid: it belongs to an email provider."
            return _clearbit_error("params_invalid", message, 422, headers)
        if answer == "pending":
            message = "Your request has been queued. Try again in a few minutes."
            return _clearbit_error("queued", message, 202, headers)
        if answer != "hit" or known is None or known.organisation is None:
            return _clearbit_error("unknown_record", "Unknown company.", 404, headers)
        return json_response(_clearbit_company(known), 200, headers)

    def _error(self, kind: str, fault: Fault) -> Response | None:
        if kind == "throttle":
            return _clearbit_error("rate_limit", "Rate limit exceeded.", 429, _retry_after(fault))
        if kind == "expire_session":
            return _clearbit_error("auth_invalid", "Invalid API key provided.", 401)
        if kind == "unavailable":
            return _clearbit_error("unavailable", "Service unavailable.", 503)
        return _clearbit_error("api_error", "Something went wrong.", 500)


def _retry_after(fault: Fault) -> dict[str, str]:
    if not fault.is_set("with_retry_after", default=True):
        return {}
    return {"Retry-After": str(round(fault.number("retry_after_seconds", 1)))}


async def _json(request: Request) -> dict[str, object]:
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _message(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return json_response({"status": status, "message": text}, status, headers)


def _clearbit_error(
    kind: str, message: str, status: int, headers: dict[str, str] | None = None
) -> Response:
    return json_response({"error": {"type": kind, "message": message}}, status, headers)


def _range(employees: int) -> str:
    for low, high in ((1, 10), (11, 50), (51, 250), (251, 1_000), (1_001, 5_000), (5_001, 10_000)):
        if employees <= high:
            return f"{low}-{high}"
    return "10001+"


def _revenue_range(revenue: int) -> str:
    steps = ((1, "$0M - $1M"), (10, "$1M - $10M"), (100, "$10M - $100M"), (500, "$100M - $500M"))
    return next((text for most, text in steps if revenue <= most * 1_000_000), "$500M+")


def _discoverorg_company(domain: str, organisation: Organisation) -> dict[str, object]:
    number = 100_000 + organisation.number
    address = {
        "streetAddress1": f"{organisation.number % 90 + 1} Market Street",
        "city": organisation.city,
        "stateProvinceRegion": None,
        "postalCode": f"{10_000 + organisation.number % 80_000}",
        "isoCountryCode": COUNTRY_CODES[organisation.country],
        "country": organisation.country,
    }
    return {
        "id": number,
        "name": organisation.name,
        "fullName": organisation.legal_name,
        "description": organisation.description,
        "dorgCompanyUrl": f"https://go.discoverydb.com/eui/#/company/{number}",
        "emailDomain": domain,
        "websiteUrl": f"www.{domain}",
        "ownershipType": "Private",
        "industry": organisation.industry,
        "naics": ["541512", "518210"],
        "numEmployees": organisation.employees,
        "numberOfLocations": 1 + organisation.employees // 500,
        "revenue": _revenue_range(organisation.revenue),
        "mainPhoneNumber": organisation.phone,
        "location": address,
        "headquarters": {
            "street": address["streetAddress1"],
            "city": organisation.city,
            "state": None,
            "zip": address["postalCode"],
            "country": organisation.country,
        },
    }


def _company_id(domain: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, domain))


def _clearbit_company(known: DomainFacts) -> dict[str, object]:
    organisation = known.organisation
    assert organisation is not None
    employees = organisation.employees
    return {
        "id": _company_id(known.domain),
        "name": organisation.name,
        "legalName": organisation.legal_name,
        "domain": known.domain,
        "domainAliases": [],
        "site": {"phoneNumbers": [organisation.phone], "emailAddresses": [f"info@{known.domain}"]},
        "category": {
            "sector": "Information Technology" if organisation.industry == "Technology" else None,
            "industryGroup": organisation.industry,
            "industry": organisation.industry,
            "subIndustry": None,
            "sicCode": "73",
            "naicsCode": "54",
        },
        "tags": [organisation.industry, "B2B"],
        "description": organisation.description,
        "foundedYear": organisation.founded,
        "location": f"{organisation.city}, {organisation.country}",
        "timeZone": None,
        "utcOffset": None,
        "geo": {
            "streetNumber": None,
            "streetName": None,
            "city": organisation.city,
            "stateCode": None,
            "postalCode": None,
            "country": organisation.country,
            "countryCode": COUNTRY_CODES[organisation.country],
            "lat": None,
            "lng": None,
        },
        "logo": None,
        "facebook": {"handle": None},
        "linkedin": {"handle": f"company/{known.domain.split('.')[0]}"},
        "twitter": {"handle": None},
        "crunchbase": {"handle": None},
        "emailProvider": False,
        "type": "private",
        "ticker": None,
        "identifiers": {"usEIN": None},
        "phone": organisation.phone,
        "indexedAt": "2024-11-02T09:41:37.310Z",
        "metrics": {
            "alexaUsRank": None,
            "alexaGlobalRank": None,
            "employees": employees,
            "employeesRange": _range(employees),
            "marketCap": None,
            "raised": None,
            "annualRevenue": None,
            "estimatedAnnualRevenue": _revenue_range(organisation.revenue),
            "fiscalYearEnd": None,
        },
        "tech": ["google_apps", "nginx"],
        "techCategories": [],
        "parent": {"domain": None},
        "ultimateParent": {"domain": None},
    }
