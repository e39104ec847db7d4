"""Fields and objects of the simulated org, in few words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from meltano_assets.sandbox.salesforce_schema import Field, Kind, SObject

#: The times of a record that may be changed; a row of history is only made.
STAMPS = ("CreatedDate", "LastModifiedDate", "SystemModstamp")


def field(name: str, label: str, kind: Kind = "string", **options: Any) -> Field:
    """A field of any kind."""
    return Field(name, kind, label, **options)


def flag(name: str, label: str, *, default: bool = False, **options: Any) -> Field:
    """A checkbox, which is never null."""
    return Field(name, "boolean", label, nillable=False, defaulted=True, default=default, **options)


def pick(name: str, label: str, *values: str, **options: Any) -> Field:
    """A picklist."""
    return Field(name, "picklist", label, values=values, **options)


def reference(name: str, label: str, to: str, relationship: str, **options: Any) -> Field:
    """A lookup; with several targets, between commas, it is polymorphic."""
    refers_to = tuple(to.split(","))
    return Field(
        name, "reference", label, refers_to=refers_to, relationship=relationship, **options
    )


def number(name: str, label: str, precision: int = 18, scale: int = 0) -> Field:
    """A number."""
    return Field(name, "double", label, precision=precision, scale=scale)


def money(name: str, label: str, scale: int = 2) -> Field:
    """A currency."""
    return Field(name, "currency", label, precision=18, scale=scale)


def owner(to: str = "User") -> Field:
    """Who owns the record."""
    return reference("OwnerId", "Owner ID", to, "Owner", nillable=False, defaulted=True)


def listed_fields(line: str, label: str = "") -> list[Field]:
    """The fields of a line of a listing: a kind and names, where ``!`` says that a field may not be
    written and ``*`` that it must be.

    ``field>Object,Object/Children`` is a lookup with its name on the other side, ``field=A,In_Use`` a
    picklist with its values. ``name``, ``title`` and ``subject`` are the names under which a record is shown, ``auto``
    is a name that Salesforce counts (``?``: not the one that is shown), ``address`` has a prefix.
    """
    kind, _, text = line.strip().partition(": ")
    names = text.split()
    if kind == "address":
        return [part for each in names for part in address(each.removesuffix("Address"))]
    if kind.startswith(("name", "title", "subject", "auto")):
        return [_listed_name(kind, each, label) for each in names]
    return [_listed_field(kind, each) for each in names]


def _listed_field(kind: str, name: str) -> Field:
    if kind == "owner":
        return owner("Group,User")
    is_fixed = "!" in name or kind.endswith("!")
    is_required = "*" in name
    name, _, values = name.replace("!", "").replace("*", "").partition("=")
    name, _, target = name.partition(">")
    target, _, children = target.partition("/")
    kind = kind.removesuffix("!")
    options: dict[str, Any] = {"createable": False, "updateable": False} if is_fixed else {}
    if is_required:
        options["nillable"] = False
    label = _spaced(name.removesuffix("__c").split("__")[-1].replace("_", " "))
    if target:
        relationship = name[:-1] + "r" if name.endswith("__c") else name.removesuffix("Id")
        options["child_relationship"] = children or None
        return reference(name, label, target, relationship, **options)
    if kind == "boolean":
        return flag(name, label, **options)
    if values:
        return pick(name, label, *values.replace("_", " ").split(","), **options)
    options |= {"length": 32_000} if kind == "textarea" else {}
    options |= {"precision": 18, "scale": 9} if kind == "double" else {}
    options |= {"scale": 0} if kind == "percent" else {}
    return field(name, label, cast(Kind, kind), **options)


def listed_objects(text: str) -> Iterator[SObject]:
    """The objects of a listing.

    A line without indent begins an object (API name, key prefix, label, plural), the others give its
    fields. Besides, ``without`` names audit fields that are missing, and ``fixed`` says that nobody
    writes such records.
    """
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith(" "):
            lines.append(line.strip())
            continue
        if lines:
            yield _listed_object(lines[0], lines[1:])
        lines = [line]


def _listed_object(heading: str, lines: list[str]) -> SObject:
    name, prefix, labels = heading.split(" ", 2)
    label, plural = labels.split(" | ")
    fields: list[Field] = []
    missing: set[str] = set()
    is_fixed = False
    for line in lines:
        kind, _, names = line.partition(": ")
        if kind == "without":
            missing |= set(names.split())
        elif kind == "fixed":
            is_fixed = True
        else:
            fields += listed_fields(line, label)
    stamps = tuple(stamp for stamp in STAMPS if stamp not in missing)
    built = sobject(
        name, label, plural, prefix, *fields, has_deleted="IsDeleted" not in missing, stamps=stamps
    )
    return replace(built, is_writable=built.is_writable and not is_fixed)


def _listed_name(kind: str, name: str, label: str) -> Field:
    is_shown = not kind.endswith("?")
    if kind.startswith("auto"):
        return Field(
            name,
            "string",
            _spaced(name),
            length=30,
            nillable=False,
            createable=False,
            updateable=False,
            defaulted=True,
            auto_number=True,
            name_field=is_shown,
            id_lookup=is_shown,
        )
    if kind in ("title", "subject"):
        return field(name, _spaced(name), nillable=kind == "subject", name_field=True)
    return replace(name_field(f"{label} Name"), nillable=not is_shown, name_field=is_shown)


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)


def external_id(label: str = "Meltano Id") -> Field:
    """The key under which another system knows the record."""
    return Field("Meltano_Id__c", "string", label, external_id=True, unique=True)


def address(prefix: str) -> tuple[Field, ...]:
    """The parts of an address, and the compound field that shows them together; a person's only
    address has no prefix.

    The codes are those of an organisation that has picklists of states and countries.
    """

    def label(words: str) -> str:
        return f"{prefix} {words}".strip()

    parts = (
        Field(f"{prefix}Street", "textarea", label("Street")),
        Field(f"{prefix}City", "string", label("City"), length=40),
        Field(f"{prefix}State", "string", label("State/Province"), length=80),
        Field(f"{prefix}PostalCode", "string", label("Zip/Postal Code"), length=20),
        Field(f"{prefix}Country", "string", label("Country"), length=80),
        pick(f"{prefix}StateCode", label("State/Province Code")),
        pick(f"{prefix}CountryCode", label("Country Code")),
        number(f"{prefix}Latitude", label("Latitude"), scale=15),
        number(f"{prefix}Longitude", label("Longitude"), scale=15),
        pick(f"{prefix}GeocodeAccuracy", label("Geocode Accuracy"), "Address", "City", "Zip"),
    )
    return (*parts, _compound(f"{prefix}Address", "address", label("Address"), parts))


def location(name: str, label: str) -> tuple[Field, ...]:
    """A geolocation made by an administrator: two numbers and the compound field."""
    stem = name.removesuffix("c")
    parts = (
        number(f"{stem}Latitude__s", f"{label} (Latitude)", scale=15),
        number(f"{stem}Longitude__s", f"{label} (Longitude)", scale=15),
    )
    return (*parts, _compound(name, "location", label, parts))


def _compound(name: str, kind: Kind, label: str, parts: tuple[Field, ...]) -> Field:
    names = tuple(part.name for part in parts)
    return Field(name, kind, label, createable=False, updateable=False, components=names)


def audit(*, has_deleted: bool = True, stamps: tuple[str, ...] = STAMPS) -> tuple[Field, ...]:
    """Who made and changed a record, and when."""

    def fixed(name: str, label: str, kind: Kind, **options: Any) -> Field:
        return Field(
            name,
            kind,
            label,
            nillable=False,
            createable=False,
            updateable=False,
            defaulted=True,
            **options,
        )

    def who(name: str, label: str) -> Field:
        relationship = name.removesuffix("Id")
        return fixed(name, label, "reference", refers_to=("User",), relationship=relationship)

    fields: list[Field] = []
    if has_deleted:
        fields.append(fixed("IsDeleted", "Deleted", "boolean", default=False))
    if "CreatedDate" in stamps:
        fields.append(fixed("CreatedDate", "Created Date", "datetime"))
        fields.append(who("CreatedById", "Created By ID"))
    if "LastModifiedDate" in stamps:
        fields.append(fixed("LastModifiedDate", "Last Modified Date", "datetime"))
        fields.append(who("LastModifiedById", "Last Modified By ID"))
    if "SystemModstamp" in stamps:
        fields.append(fixed("SystemModstamp", "System Modstamp", "datetime"))
    return tuple(fields)


ID = Field(
    "Id",
    "id",
    "Record ID",
    nillable=False,
    createable=False,
    updateable=False,
    defaulted=True,
)
#: What a person's name is made of, where the object has it.
NAME_PARTS = ("Salutation", "FirstName", "MiddleName", "LastName", "Suffix")
_PERSON_NAME = "trim(ifnull(\"FirstName\", '') || ' ' || ifnull(\"LastName\", ''))"


def full_name(length: int = 121) -> Field:
    """The name that Salesforce composes of its parts."""
    return Field(
        "Name",
        "string",
        "Full Name",
        length=length,
        nillable=False,
        createable=False,
        updateable=False,
        name_field=True,
        generated=_PERSON_NAME,
        components=NAME_PARTS,
    )


def name_field(label: str, length: int = 255) -> Field:
    """The name under which a record is shown."""
    return Field(
        "Name", "string", label, length=length, nillable=False, name_field=True, id_lookup=True
    )


def sobject(
    name: str,
    label: str,
    plural: str,
    prefix: str,
    *fields: Field,
    has_deleted: bool = True,
    stamps: tuple[str, ...] = STAMPS,
) -> SObject:
    """An object with its id and the audit fields around its own; ``stamps`` are its times."""
    around = audit(has_deleted=has_deleted, stamps=stamps)
    is_writable = "LastModifiedDate" in stamps
    if not name.endswith("__c"):
        # Records of standard objects are found by their id or an external one, not by name.
        fields = tuple(
            replace(each, id_lookup=False) if each.name == "Name" else each for each in fields
        )
    return SObject(name, label, plural, prefix, (ID, *fields, *around), is_writable=is_writable)
