"""Names of raw columns from vendors' field names."""

from __future__ import annotations

import re


def column_name(field: str) -> str:
    """Snake case: ``BillingCountry`` → ``billing_country``, ``created-at`` → ``created_at``.

    Salesforce's custom names (``…__c``) keep their own underscores.
    """
    if field.endswith(("__c", "__r")):
        return field.lower()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", field)
    name = re.sub(r"\W+", "_", spaced).strip("_").lower() or "field"
    return f"field_{name}" if name[0].isdigit() else name
