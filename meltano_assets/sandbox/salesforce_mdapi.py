"""The metadata API, as far as it reads: which kinds of components there are, which the org has, what objects are made of.

Nothing is deployed or changed through it; what asks for that is refused as for a user without the right.
"""

from __future__ import annotations

from collections.abc import Callable

from meltano_assets.sandbox.salesforce_http import Reply
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_schema import Field, SObject, make_id
from meltano_assets.sandbox.salesforce_values import ApiProblem
from meltano_assets.sandbox.salesforce_xml import Asked, answer, fault, not_soap, text_of, written

#: Kind of component → folder, suffix, the kinds inside of it.
_KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ApexClass": ("classes", "cls", ()),
    "ApexTrigger": ("triggers", "trigger", ()),
    "CustomApplication": ("applications", "app", ()),
    "CustomObject": (
        "objects", "object",
        ("CustomField", "BusinessProcess", "RecordType", "WebLink", "ValidationRule", "ListView"),
    ),
    "CustomTab": ("tabs", "tab", ()),
    "Flow": ("flows", "flow", ()),
    "GlobalValueSet": ("globalValueSets", "globalValueSet", ()),
    "Layout": ("layouts", "layout", ()),
    "PermissionSet": ("permissionsets", "permissionset", ()),
    "Profile": ("profiles", "profile", ()),
    "Report": ("reports", "report", ()),
    "StandardValueSet": ("standardValueSets", "standardValueSet", ()),
    "Workflow": ("workflows", "workflow", ()),
}  # fmt: skip
_IN_FOLDERS = ("Report",)
_WITH_META_FILE = ("ApexClass", "ApexTrigger")
_MOST_QUERIES, _MOST_READ = 3, 10
#: What changes something, or leads up to that.
_WRITES = (
    "cancelDeploy", "checkDeployStatus", "checkRetrieveStatus", "createMetadata", "deleteMetadata",
    "deploy", "deployRecentValidation", "renameMetadata", "retrieve", "updateMetadata",
    "upsertMetadata",
)  # fmt: skip
#: Kind of field as describes have it → as components have it.
_FIELD_KINDS = {
    "boolean": "Checkbox",
    "currency": "Currency",
    "date": "Date",
    "datetime": "DateTime",
    "double": "Number",
    "email": "Email",
    "int": "Number",
    "multipicklist": "MultiselectPicklist",
    "percent": "Percent",
    "phone": "Phone",
    "picklist": "Picklist",
    "reference": "Lookup",
    "string": "Text",
    "textarea": "LongTextArea",
    "url": "Url",
}


class MetadataApi:
    """Answers calls of ``/services/Soap/m``."""

    def __init__(self, org: SalesforceOrg) -> None:
        self._org = org
        self._operations: dict[str, Callable[[Asked], list[str]]] = {
            "describeMetadata": lambda asked: [written("result", _described())],
            "listMetadata": self._listed,
            "readMetadata": self._read,
        }

    def answer(self, asked: Asked) -> Reply:
        """The answer to one call; errors are faults."""
        if asked.operation in _WRITES:
            message = "insufficient access rights on cross-reference id"
            return _fault("INSUFFICIENT_ACCESS", message)
        operation = self._operations.get(asked.operation)
        if operation is None:
            return not_soap(f"No operation available for request {asked.operation}")
        if len(asked.all("queries")) > _MOST_QUERIES or len(asked.all("fullNames")) > _MOST_READ:
            return _fault("LIMIT_EXCEEDED", "too many components in one call")
        try:
            results = operation(asked)
        except LookupError as error:
            return _fault("INVALID_TYPE", str(error.args[0]))
        return answer(asked.operation, results, "m")

    def _listed(self, asked: Asked) -> list[str]:
        results = []
        for query in asked.all("queries"):
            kind = text_of(query, "type") or ""
            for name in self._names(kind):
                results.append(written("result", self._properties(kind, name)))
        return results

    def _names(self, kind: str) -> list[str]:
        objects = self._org.user_schema.objects.values()
        if kind == "CustomObject":
            return [item.name for item in objects]
        if kind == "CustomField":
            return [f"{o.name}.{f.name}" for o in objects for f in o.fields if f.custom]
        if kind == "Layout":
            return [f"{item.name}-{item.label} Layout" for item in objects]
        if kind in _KINDS or any(kind in inner for _, _, inner in _KINDS.values()):
            return []
        raise LookupError(f"Unknown type name '{kind}' specified")

    def _properties(self, kind: str, name: str) -> dict[str, object]:
        holder = "CustomObject" if kind == "CustomField" else kind
        folder, suffix, _ = _KINDS[holder]
        stem = name.partition(".")[0] if kind == "CustomField" else name
        stamp = self._org.schema_changed_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        user = {"ById": self._org.user_id, "ByName": "Sandbox Company", "Date": stamp}
        is_custom = name.endswith("__c")
        return {
            **{f"created{word}": value for word, value in user.items()},
            **{f"lastModified{word}": value for word, value in user.items()},
            "fileName": f"{folder}/{stem}.{suffix}",
            "fullName": name,
            # What is standard has no id of its own.
            "id": make_id("01I", 1 + sum(name.encode())) if is_custom else "",
            "manageableState": "unmanaged",
            "type": kind,
        }

    def _read(self, asked: Asked) -> list[str]:
        kind = asked.text("type") or ""
        self._names(kind)
        records = []
        for name in asked.texts("fullNames"):
            found = self._org.user_schema.find(name) if kind == "CustomObject" else None
            inner = _component(found) if found else ""
            shown = f' xsi:type="{kind}"' if inner else ' xsi:nil="true"'
            records.append(f"<records{shown}>{inner}</records>")
        return [f"<result>{''.join(records)}</result>"]


def _fault(code: str, message: str) -> Reply:
    return fault("m", ApiProblem(code, message), fault_kind="UnexpectedErrorFault")


def _described() -> dict[str, object]:
    objects = [
        {
            "childXmlNames": inner,
            "directoryName": folder,
            "inFolder": kind in _IN_FOLDERS,
            "metaFile": kind in _WITH_META_FILE,
            "suffix": suffix,
            "xmlName": kind,
        }
        for kind, (folder, suffix, inner) in _KINDS.items()
    ]
    return {
        "metadataObjects": objects,
        "organizationNamespace": "",
        "partialSaveAllowed": True,
        "testRequired": False,
    }


def _component(sobject: SObject) -> str:
    """An object as a component: its name, its labels and its own fields."""
    told: dict[str, object] = {
        "deploymentStatus": "Deployed" if sobject.custom else None,
        "fields": [_field(field) for field in sobject.fields if field.custom],
        "label": sobject.label if sobject.custom else None,
        "nameField": {"label": "Name", "type": "Text"} if sobject.custom else None,
        "pluralLabel": sobject.label_plural if sobject.custom else None,
        "sharingModel": "ReadWrite",
    }
    # A component's name comes first, its fields by the alphabet.
    return written("fullName", sobject.name) + "".join(written(n, told[n]) for n in sorted(told))


def _field(field: Field) -> dict[str, object]:
    return {
        "externalId": field.external_id,
        "fullName": field.name,
        "label": field.label,
        "length": field.length if field.kind in ("string", "textarea") else None,
        "referenceTo": field.refers_to[0] if field.kind == "reference" else None,
        "required": field.is_required,
        "type": _FIELD_KINDS.get(field.kind, "Text"),
        "unique": field.unique or None,
    }
