"""The objects of Zuora's two managed packages, as ``salesforce_packages.txt`` lists them.

A line without indent begins an object (API name, key prefix, label, plural), the others give its
fields by kind, as ``listed_field`` reads them. An administrator's own fields stand among the packages'.
"""

from __future__ import annotations

from pathlib import Path

from meltano_assets.sandbox.salesforce_fields import listed_field, name_field
from meltano_assets.sandbox.salesforce_fields import sobject as build
from meltano_assets.sandbox.salesforce_schema import SObject

_FILE = Path(__file__).parent / "salesforce_packages.txt"


def package_objects() -> tuple[SObject, ...]:
    """All of them."""
    found: list[SObject] = []
    heading, fields = "", []
    for line in [*_FILE.read_text("utf-8").splitlines(), ""]:
        if line.startswith(" "):
            kind, _, names = line.strip().partition(": ")
            fields += [listed_field(kind, name) for name in names.split()]
            continue
        if heading:
            name, prefix, labels = heading.split(" ", 2)
            label, plural = labels.split(" | ")
            found.append(build(name, label, plural, prefix, name_field("Name", 80), *fields))
        heading, fields = line, []
    return tuple(found)
