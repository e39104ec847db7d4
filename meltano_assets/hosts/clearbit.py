"""Clearbit: companies by domain. Asked second.

200 a company, 202 still looking (asked again in a later run, never cached as an answer), 404
unknown, 422 not a company's domain, 402 over quota, 429 throttled. Documented limit: 600 requests
a minute.
"""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

from meltano_assets.clients.policy import Clock
from meltano_assets.environment import Variable
from meltano_assets.hosts.exchange import (
    Exchange,
    Limits,
    Pace,
    ProviderError,
    ProviderStopError,
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

NAME = "clearbit"
REQUESTS_PER_MINUTE = 600
VARIABLES = (
    Variable("CLEARBIT_BASE_URL", "base_url", "address of Clearbit's company API"),
    Variable("CLEARBIT_API_KEY", "api_key", "Clearbit's secret key", is_secret=True),
)


class Clearbit:
    """Companies by domain from Clearbit."""

    name = NAME

    def __init__(
        self, settings: Settings, clock: Clock | None = None, limits: Limits | None = None
    ) -> None:
        self._base_url = setting(settings, NAME, "base_url").rstrip("/")
        key = b64encode(f"{setting(settings, NAME, 'api_key')}:".encode()).decode()
        self._headers = {"Authorization": f"Basic {key}", "Accept": "application/json"}
        clock = clock or Clock()
        self._exchange = Exchange(
            Pace(requests_per_minute(settings, NAME, REQUESTS_PER_MINUTE), 60.0, clock),
            frozenset({endpoint_of(self._base_url)}),
            limits or Limits(),
            clock,
        )

    @property
    def calls(self) -> int:
        return self._exchange.calls

    def ask(self, name: str) -> Answer:
        url = f"{self._base_url}/v2/companies/find?domain={quote(name, safe='')}"
        reply = self._exchange.fetch("GET", url, headers=self._headers)
        if reply.status in (404, 422):
            return Answer("miss")
        if reply.status == 202:
            return Answer("pending")
        if reply.status in (401, 403):
            raise ProviderStopError("the credentials were refused")
        if reply.status == 402:
            raise ProviderStopError("the quota is used up")
        if reply.status not in (200, 201):
            raise ProviderError(f"answer {reply.status}")
        company = reply.json_object()
        columns = company_columns(company)
        return Answer("hit" if columns["company_name"] else "miss", columns, company)


def company_columns(company: dict[str, object]) -> dict[str, str | None]:
    """The cache columns of one answer."""
    fields = {
        "company_name": ("name",),
        "company_legalname": ("legalName",),
        "company_domain": ("domain",),
        "company_site": ("category", "sector"),
        "company_industrygroup": ("category", "industryGroup"),
        "company_industry": ("category", "industry"),
        "company_naics": ("category", "naicsCode"),
        "company_desc": ("description",),
        "company_loc": ("location",),
        "company_ein": ("identifiers", "usEIN"),
        "company_emp": ("metrics", "employees"),
        "company_emp_range": ("metrics", "employeesRange"),
        "company_rev": ("metrics", "annualRevenue"),
        "company_estrev": ("metrics", "estimatedAnnualRevenue"),
        "company_type": ("type",),
        "company_phone": ("phone",),
        "company_tech": ("tech",),
        "company_index": ("indexedAt",),
        "provider_record_id": ("id",),
    }
    return {column: as_text(dig(company, *path)) for column, path in fields.items()}


CACHE = cache_stream(
    "clearbit_cache", "domain", COMPANY_COLUMNS, "What Clearbit answered, by domain."
)
STEP = Step(NAME, CACHE, Clearbit, (NAME,), is_paid=True)
