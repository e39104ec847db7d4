"""The registry of sources: one file and one line each."""

from __future__ import annotations

from meltano_assets.sources.ci_stats import CI_STATS
from meltano_assets.sources.customers import CUSTOMERS_PORTAL
from meltano_assets.sources.lever import LEVER
from meltano_assets.sources.license import LICENSE
from meltano_assets.sources.marketo import MARKETO
from meltano_assets.sources.netsuite import NETSUITE
from meltano_assets.sources.salesforce import SALESFORCE
from meltano_assets.sources.stripe import STRIPE
from meltano_assets.sources.version import VERSION
from meltano_assets.sources.zendesk import ZENDESK
from meltano_assets.sources.zuora import ZUORA

SOURCES = (
    SALESFORCE,
    VERSION,
    ZENDESK,
    LEVER,
    ZUORA,
    NETSUITE,
    MARKETO,
    STRIPE,
    CUSTOMERS_PORTAL,
    LICENSE,
    CI_STATS,
)
