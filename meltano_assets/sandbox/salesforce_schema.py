"""What a Salesforce object and its fields are, and how ``describe`` tells of them.

Belongs here: the vendor's field kinds, record ids, and the JSON of describe calls. Does not belong
here: which objects this org has (``salesforce_objects.py``) and what is stored in them.

Written from the vendor's "sObject Describe" and "Field Types" pages: the keys, the types per kind
and the flags are those that clients branch on (``type``, ``soapType``, ``nillable``,
``defaultedOnCreate``, ``createable``, ``updateable``, ``externalId``, ``idLookup`` …).
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

Kind = Literal[
    "id",
    "string",
    "textarea",
    "picklist",
    "reference",
    "boolean",
    "int",
    "double",
    "currency",
    "percent",
    "date",
    "datetime",
    "email",
    "phone",
    "url",
    "address",
    "location",
    "base64",
]

_SOAP_TYPES: dict[str, str] = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "address": "urn:address",
    "location": "urn:location",
    "base64": "xsd:base64Binary",
}
NUMBER_KINDS = frozenset({"double", "currency", "percent"})
TEXT_KINDS = frozenset({"string", "textarea", "picklist", "email", "phone", "url", "base64"})
ID_KINDS = frozenset({"id", "reference"})
COMPOUND_KINDS = frozenset({"address", "location"})

#: A text area longer than this is a "long text area": not filterable, not sortable.
_LONG_TEXT_FROM = 256

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM = string.ascii_uppercase + "012345"
_BASE62_SET = frozenset(_BASE62)
_UPPER = frozenset(string.ascii_uppercase)


def id_checksum(id15: str) -> str:
    """The three letters that make a 15-character id safe to compare without regard to case."""
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << i for i, char in enumerate(id15[start : start + 5]) if char in _UPPER)
        suffix += _CHECKSUM[bits]
    return suffix


def make_id(key_prefix: str, number: int, instance: str = "Sb0") -> str:
    """The 18-character id of the ``number``-th record that this org creates."""
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    id15 = key_prefix + instance + digits.rjust(9, "0")
    return id15 + id_checksum(id15)


def parse_id(value: object) -> str | None:
    """The 18-character form of a 15- or 18-character id; None when it is no id at all."""
    if not isinstance(value, str) or len(value) not in (15, 18):
        return None
    return _parse_id(value)


@lru_cache(maxsize=50_000)
def _parse_id(text: str) -> str | None:
    id15 = text[:15]
    if not _BASE62_SET.issuperset(id15):
        return None
    checksum = id_checksum(id15)
    if len(text) == 18 and text[15:].upper() != checksum:
        return None
    return id15 + checksum


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object, in the vendor's own terms."""

    name: str
    kind: Kind = "string"
    label: str = ""
    length: int = 255
    precision: int = 18
    scale: int = 2
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    defaulted: bool = False
    default: object = None
    external_id: bool = False
    unique: bool = False
    id_lookup: bool = False
    values: tuple[str, ...] = ()
    restricted: bool = False
    refers_to: tuple[str, ...] = ()
    relationship: str | None = None
    child_relationship: str | None = None
    name_field: bool = False
    auto_number: bool = False
    """Salesforce counts the records up."""
    generated: str | None = None
    """SQL expression of a field that Salesforce composes (``Contact.Name``)."""
    shown: str | None = None
    """A text that every record shows in its place."""
    components: tuple[str, ...] = ()
    """The fields that a compound one is made of."""

    @property
    def custom(self) -> bool:
        return self.name.endswith(("__c", "__s"))

    @property
    def is_compound(self) -> bool:
        """Has no value of its own, but shows those of others together."""
        return self.kind in COMPOUND_KINDS

    @property
    def is_required(self) -> bool:
        """Must a create call name it?"""
        return self.createable and not self.nillable and not self.defaulted

    @property
    def is_long_text(self) -> bool:
        return self.kind == "base64" or (self.kind == "textarea" and self.length >= _LONG_TEXT_FROM)

    @property
    def is_filterable(self) -> bool:
        return not self.is_long_text

    @property
    def storage(self) -> str:
        """SQLite column type."""
        if self.kind in ("boolean", "int"):
            return "INTEGER"
        if self.kind in NUMBER_KINDS:
            return "REAL"
        if self.kind in TEXT_KINDS:
            return "TEXT COLLATE NOCASE"
        return "TEXT"

    def describe(self) -> dict[str, object]:
        """The field's entry in an object's describe."""
        kind = self.kind
        is_text = kind in TEXT_KINDS
        length = (
            0 if kind == "base64" else self.length if is_text else 18 if kind in ID_KINDS else 0
        )
        is_number = kind in NUMBER_KINDS
        groupable = not (self.is_long_text or is_number or kind == "datetime" or self.is_compound)
        return {
            "aggregatable": not (self.is_long_text or self.is_compound or kind == "boolean"),
            "aiPredictionField": False,
            "autoNumber": self.auto_number,
            "byteLength": length * (3 if is_text else 1),
            "calculated": False,
            "calculatedFormula": None,
            "cascadeDelete": False,
            "caseSensitive": False,
            "compoundFieldName": None,
            "controllerName": None,
            "createable": self.createable,
            "custom": self.custom,
            "defaultValue": self.default if kind == "boolean" else None,
            "defaultValueFormula": None,
            "defaultedOnCreate": self.defaulted,
            "dependentPicklist": False,
            "deprecatedAndHidden": False,
            "digits": 9 if kind == "int" else 0,
            "displayLocationInDecimal": False,
            "encrypted": False,
            "externalId": self.external_id,
            "extraTypeInfo": "plaintextarea" if kind == "textarea" else None,
            "filterable": self.is_filterable,
            "filteredLookupInfo": None,
            "formulaTreatNullNumberAsZero": False,
            "groupable": groupable,
            "highScaleNumber": False,
            "htmlFormatted": False,
            "idLookup": self.id_lookup or self.external_id or kind == "id",
            "inlineHelpText": None,
            "label": self.label,
            "length": length,
            "mask": None,
            "maskType": None,
            "name": self.name,
            "nameField": self.name_field,
            "namePointing": len(self.refers_to) > 1,
            "nillable": self.nillable,
            "permissionable": self.nillable and self.createable,
            "picklistValues": [
                {
                    "active": True,
                    "defaultValue": False,
                    "label": value,
                    "validFor": None,
                    "value": value,
                }
                for value in self.values
            ],
            "polymorphicForeignKey": len(self.refers_to) > 1,
            "precision": self.precision if is_number else 0,
            "queryByDistance": self.is_compound,
            "referenceTargetField": None,
            "referenceTo": list(self.refers_to),
            "relationshipName": self.relationship,
            "relationshipOrder": None,
            "restrictedDelete": False,
            "restrictedPicklist": self.restricted,
            "scale": self.scale if is_number else 0,
            "searchPrefilterable": kind == "reference",
            "soapType": _SOAP_TYPES.get(kind, "xsd:string"),
            "sortable": not (self.is_long_text or self.is_compound),
            "type": kind,
            "unique": self.unique,
            "updateable": self.updateable,
            "writeRequiresMasterRead": False,
        }


@dataclass(frozen=True)
class SObject:
    """One kind of record: its names, its id prefix and its fields."""

    name: str
    label: str
    label_plural: str
    key_prefix: str
    fields: tuple[Field, ...]
    is_writable: bool = True
    field_by_name: dict[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "field_by_name", {f.name.lower(): f for f in self.fields})

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    def find(self, name: str) -> Field | None:
        """The field of that name; Salesforce does not mind case."""
        return self.field_by_name.get(name.lower())

    def by_relationship(self, name: str) -> Field | None:
        """The reference field behind ``Account`` or ``Account__r``."""
        return self._relationships.get(name.lower())

    @cached_property
    def _relationships(self) -> dict[str, Field]:
        return {f.relationship.lower(): f for f in self.fields if f.relationship}

    @cached_property
    def stored_fields(self) -> tuple[Field, ...]:
        """Fields that have a column; compound ones are made of others."""
        return tuple(f for f in self.fields if not f.is_compound)

    @property
    def has_shared_prefix(self) -> bool:
        """Field histories of all objects begin alike, so that describe tells no prefix."""
        return self.key_prefix == "017"

    @property
    def has_is_deleted(self) -> bool:
        return "isdeleted" in self.field_by_name

    def summary(self, version: str) -> dict[str, object]:
        """The object's entry in the global describe."""
        base = f"/services/data/v{version}/sobjects/{self.name}"
        writable = self.is_writable
        return {
            "activateable": False,
            "associateEntityType": None,
            "associateParentEntity": None,
            "createable": writable,
            "custom": self.custom,
            "customSetting": False,
            "deepCloneable": False,
            "deletable": writable and self.has_is_deleted,
            "deprecatedAndHidden": False,
            "feedEnabled": False,
            "hasSubtypes": False,
            "isInterface": False,
            "isSubtype": False,
            "keyPrefix": None if self.has_shared_prefix else self.key_prefix,
            "label": self.label,
            "labelPlural": self.label_plural,
            "layoutable": True,
            "mergeable": self.name in ("Account", "Contact", "Lead"),
            "mruEnabled": True,
            "name": self.name,
            "queryable": True,
            "replicateable": True,
            "retrieveable": True,
            "searchable": True,
            "triggerable": True,
            "undeletable": writable and self.has_is_deleted,
            "updateable": writable,
            "urls": {
                "rowTemplate": f"{base}/{{ID}}",
                "defaultValues": f"{base}/defaultValues?recordTypeId&fields",
                "describe": f"{base}/describe",
                "sobject": base,
            },
        }


class Schema:
    """All objects of the org, as one user sees them."""

    def __init__(self, objects: Iterable[SObject]) -> None:
        self.objects: dict[str, SObject] = {o.name.lower(): o for o in objects}
        self.by_prefix: dict[str, SObject] = {o.key_prefix: o for o in self.objects.values()}
        self._children: dict[str, dict[str, tuple[SObject, Field]]] = {}
        for sobject in self.objects.values():
            for ref in sobject.fields:
                if not ref.child_relationship:
                    continue
                for target in ref.refers_to:
                    names = self._children.setdefault(target, {})
                    names.setdefault(ref.child_relationship.lower(), (sobject, ref))

    def find(self, name: str) -> SObject | None:
        """The object of that name; Salesforce does not mind case."""
        return self.objects.get(name.lower())

    def child(self, parent: SObject, relationship: str) -> tuple[SObject, Field] | None:
        """The child object and its reference behind ``Contacts`` or ``Hosts__r``."""
        return self._children.get(parent.name, {}).get(relationship.lower())

    def restricted(
        self, hidden: frozenset[str], read_only: frozenset[str], texts: Mapping[str, str]
    ) -> Schema:
        """The same org for a user without some objects and fields (``Object.Field``, in lower case), and
        with fields that hold a text in ``texts``.
        """
        if not hidden and not read_only and not texts:
            return self
        objects = []
        for sobject in self.objects.values():
            if sobject.name.lower() in hidden:
                continue
            fields = []
            for item in sobject.fields:
                path = f"{sobject.name}.{item.name}".lower()
                if path in hidden:
                    continue
                if path in read_only:
                    item = replace(item, createable=False, updateable=False)  # noqa: PLW2901
                if path in texts:
                    item = replace(item, kind="string", shown=texts[path])  # noqa: PLW2901
                fields.append(item)
            objects.append(replace(sobject, fields=tuple(fields)))
        return Schema(objects)

    def describe_global(self, version: str) -> dict[str, object]:
        """``GET /sobjects``."""
        return {
            "encoding": "UTF-8",
            "maxBatchSize": 200,
            "sobjects": [o.summary(version) for o in self.objects.values()],
        }

    def describe(self, sobject: SObject, version: str) -> dict[str, object]:
        """``GET /sobjects/{name}/describe``."""
        base = f"/services/data/v{version}/sobjects/{sobject.name}"
        compound = {part: f.name for f in sobject.fields for part in f.components}
        fields = []
        for item in sobject.fields:
            entry = item.describe()
            entry["compoundFieldName"] = compound.get(item.name)
            fields.append(entry)
        children: list[dict[str, object]] = [
            {
                "cascadeDelete": False,
                "childSObject": child.name,
                "deprecatedAndHidden": False,
                "field": ref.name,
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": ref.child_relationship,
                "restrictedDelete": False,
            }
            for child, ref in self._children.get(sobject.name, {}).values()
        ]
        answer = sobject.summary(version)
        urls: Mapping[str, str] = {
            "compactLayouts": f"{base}/describe/compactLayouts",
            "rowTemplate": f"{base}/{{ID}}",
            "approvalLayouts": f"{base}/describe/approvalLayouts",
            "describe": f"{base}/describe",
            "layouts": f"{base}/describe/layouts",
            "sobject": base,
        }
        answer.update(
            {
                "actionOverrides": [],
                "childRelationships": children,
                "compactLayoutable": True,
                "extendedBy": None,
                "extendsInterfaces": None,
                "fields": fields,
                "implementedBy": None,
                "implementsInterfaces": None,
                "listviewable": None,
                "lookupLayoutable": None,
                "namedLayoutInfos": [],
                "networkScopeFieldName": None,
                "recordTypeInfos": [
                    {
                        "active": True,
                        "available": True,
                        "defaultRecordTypeMapping": True,
                        "developerName": "Master",
                        "master": True,
                        "name": "Master",
                        "recordTypeId": "012000000000000AAA",
                        "urls": {"layout": f"{base}/describe/layouts/012000000000000AAA"},
                    }
                ],
                "searchLayoutable": True,
                "sobjectDescribeOption": "FULL",
                "supportedScopes": [{"label": "All", "name": "everything"}],
                "urls": urls,
            }
        )
        return answer
