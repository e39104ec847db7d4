"""The standard fields of the main objects that the company itself never fills, and the standard objects
that every org has and that hold no records here.

``salesforce_standard.txt`` and ``salesforce_standard_objects.txt`` list them. What follows from a record's
other fields the org works out, as Salesforce does, so that the company need not know of it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from meltano_assets.sandbox.salesforce_fields import listed_fields, listed_objects
from meltano_assets.sandbox.salesforce_picklists import FORECASTS
from meltano_assets.sandbox.salesforce_schema import Field, SObject

_FOLDER = Path(__file__).parent
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
    "CampaignMember.Name": "nullif(trim(ifnull(\"FirstName\", '') || ' ' || ifnull(\"LastName\", '')), '')",
    "CampaignMember.Type": "CASE WHEN \"ContactId\" IS NULL THEN 'Lead' ELSE 'Contact' END",
    "User.UserType": "'Standard'",
    "Case.IsClosed": "\"Status\" = 'Closed'",
    "Contract.StatusCode": "CASE WHEN \"Status\" = 'Activated' THEN 'Activated' ELSE 'Draft' END",
    "Order.StatusCode": "CASE WHEN \"Status\" = 'Activated' THEN 'Activated' ELSE 'Draft' END",
    "WorkOrder.IsClosed": "\"Status\" IN ('Closed', 'Cannot Complete', 'Canceled')",
}
#: What a new record has where nobody says otherwise.
_DEFAULTS = {
    "Account.CleanStatus": "Pending",
    "Case.Status": "New",
    "Case.Priority": "Medium",
    "Contract.Status": "Draft",
    "Order.Status": "Draft",
    "Quote.Status": "Draft",
    "WorkOrder.Status": "New",
    "Contact.CleanStatus": "Pending",
    "Lead.CleanStatus": "Pending",
    "User.EmailEncodingKey": "UTF-8",
    "User.LanguageLocaleKey": "en_US",
    "User.LocaleSidKey": "en_US",
    "User.TimeZoneSidKey": "America/Los_Angeles",
}


@lru_cache(maxsize=1)
def _listed() -> dict[str, tuple[Field, ...]]:
    found: dict[str, tuple[Field, ...]] = {}
    name = ""
    for line in (_FOLDER / "salesforce_standard.txt").read_text("utf-8").splitlines():
        if not line.startswith(" "):
            name = line
            continue
        fields = (_completed(name, each) for each in listed_fields(line))
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


def standard_objects() -> tuple[SObject, ...]:
    """What every org has beside the objects that the company fills."""
    text = (_FOLDER / "salesforce_standard_objects.txt").read_text("utf-8")
    return tuple(
        replace(each, fields=tuple(_completed(each.name, item) for item in each.fields))
        for each in listed_objects(text)
    )
