"""The objects of Zuora's two managed packages, as ``salesforce_packages.txt`` lists them.

A line without indent begins an object (API name, key prefix, label, plural), the others give its
fields by kind; ``field>Object`` is a lookup. An administrator's own fields stand among the packages'.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from meltano_assets.sandbox.salesforce_fields import field, flag, name_field, owner, reference
from meltano_assets.sandbox.salesforce_fields import sobject as build
from meltano_assets.sandbox.salesforce_schema import Field, Kind, SObject

_FILE = Path(__file__).parent / "salesforce_packages.txt"


def package_objects() -> tuple[SObject, ...]:
    """All of them."""
    found: list[SObject] = []
    heading, fields = "", []
    for line in [*_FILE.read_text("utf-8").splitlines(), ""]:
        if line.startswith(" "):
            kind, _, names = line.strip().partition(": ")
            fields += [_field(kind, name) for name in names.split()]
            continue
        if heading:
            name, prefix, labels = heading.split(" ", 2)
            label, plural = labels.split(" | ")
            found.append(build(name, label, plural, prefix, name_field("Name", 80), *fields))
        heading, fields = line, []
    return tuple(found)


def _field(kind: str, name: str) -> Field:
    if kind == "owner":
        return owner("Group,User")
    name, _, target = name.partition(">")
    label = name.removesuffix("__c").split("__")[-1].replace("_", " ")
    if target:
        relationship = name[:-1] + "r" if name.endswith("__c") else name.removesuffix("Id")
        return reference(name, label, target, relationship)
    if kind == "boolean":
        return flag(name, label)
    options = {"length": 32_000} if kind == "textarea" else {}
    if kind == "double":
        options = {"precision": 18, "scale": 9}
    return field(name, label, cast(Kind, kind), **options)
