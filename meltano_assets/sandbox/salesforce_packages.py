"""The objects of Zuora's two managed packages, as ``salesforce_packages.txt`` lists them.

An administrator's own fields stand among the packages'.
"""

from __future__ import annotations

from pathlib import Path

from meltano_assets.sandbox.salesforce_fields import listed_objects
from meltano_assets.sandbox.salesforce_schema import SObject

_FILE = Path(__file__).parent / "salesforce_packages.txt"


def package_objects() -> tuple[SObject, ...]:
    """All of them."""
    return tuple(listed_objects(_FILE.read_text("utf-8")))
