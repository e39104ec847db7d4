"""The standard fields of the main objects that the company itself never fills.

``salesforce_standard.txt`` lists them as ``salesforce_packages.txt`` does. What follows from a record's
other fields the org works out, as Salesforce does, so that the company need not know of it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from meltano_assets.sandbox.salesforce_fields import listed_field
from meltano_assets.sandbox.salesforce_picklists import FORECASTS
from meltano_assets.sandbox.salesforce_schema import Field

_FILE = Path(__file__).parent / "salesforce_standard.txt"
_CATEGORY = "CASE \"StageName\" {} ELSE 'Pipeline' END".format(
    " ".join(f"WHEN '{stage}' THEN '{category}'" for stage, category in FORECASTS.items())
)
_YEAR = 'CAST(substr("CloseDate", 1, 4) AS INTEGER)'
_QUARTER = '((CAST(substr("CloseDate", 6, 2) AS INTEGER) + 2) / 3)'
#: Fields made of others of the record.
_MADE = {
    "Opportunity.ForecastCategory": _CATEGORY,
    "Opportunity.FiscalYear": _YEAR,
    "Opportunity.FiscalQuarter": _QUARTER,
    "Opportunity.Fiscal": f"{_YEAR} || ' ' || {_QUARTER}",
    "Opportunity.ExpectedRevenue": 'round("Amount" * "Probability" / 100, 2)',
    "CampaignMember.LeadOrContactId": 'ifnull("ContactId", "LeadId")',
    "CampaignMember.Type": "CASE WHEN \"ContactId\" IS NULL THEN 'Lead' ELSE 'Contact' END",
    "User.UserType": "'Standard'",
}
#: What a new record has where nobody says otherwise.
_DEFAULTS = {
    "Account.CleanStatus": "Pending",
    "User.EmailEncodingKey": "UTF-8",
    "User.LanguageLocaleKey": "en_US",
    "User.LocaleSidKey": "en_US",
    "User.TimeZoneSidKey": "America/Los_Angeles",
}


@lru_cache(maxsize=1)
def _listed() -> dict[str, tuple[Field, ...]]:
    found: dict[str, tuple[Field, ...]] = {}
    name = ""
    for line in _FILE.read_text("utf-8").splitlines():
        if not line.startswith(" "):
            name = line
            continue
        kind, _, names = line.strip().partition(": ")
        fields = (_completed(name, listed_field(kind, each)) for each in names.split())
        found[name] = (*found.get(name, ()), *fields)
    return found


def _completed(sobject: str, field: Field) -> Field:
    path = f"{sobject}.{field.name}"
    if path in _DEFAULTS:
        return replace(field, default=_DEFAULTS[path], defaulted=True)
    return replace(field, generated=_MADE.get(path))


def standard_fields(sobject: str) -> tuple[Field, ...]:
    """What the object has beside the fields of its own declaration."""
    return _listed()[sobject]
