"""``EntityDefinition`` and ``FieldDefinition``, and the tooling resources: the schema as records.

Belongs here: what SOQL can ask about objects and fields themselves. The records are made from the
schema that the user sees, so that what is hidden from them is not told here either. The org has no
Apex: its classes and triggers can be asked for, there are none.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import fields as parts_of
from dataclasses import is_dataclass

from meltano_assets.sandbox import soql, soql_literals
from meltano_assets.sandbox.salesforce_fields import field, flag
from meltano_assets.sandbox.salesforce_http import Call, Reply, bad_request, not_allowed, not_found
from meltano_assets.sandbox.salesforce_schema import Field, Schema, SObject, make_id
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem
from meltano_assets.sandbox.soql_sqlite import compile_query

MAX_RECORDS = 2000
_KEY = Field("DurableId", "string", "Durable ID", id_lookup=True)
_ID = Field("Id", "id", "Record ID", nillable=False, createable=False, updateable=False)
#: A text, although it leads to a record: durable ids are names as well as ids.
_ENTITY_LINK = Field(
    "EntityDefinitionId",
    "string",
    "Entity Definition ID",
    refers_to=("EntityDefinition",),
    relationship="EntityDefinition",
    child_relationship="Fields",
)
_NAMES = (
    field("QualifiedApiName", "Qualified API Name"),
    field("DeveloperName", "Developer Name"),
    field("NamespacePrefix", "Namespace Prefix", length=15),
    field("MasterLabel", "Master Label"),
    field("Label", "Label"),
)
_ENTITY_FLAGS = {
    "IsApexTriggerable": "triggerable",
    "IsCustomizable": "layoutable",
    "IsDeprecatedAndHidden": "deprecatedAndHidden",
    "IsEverCreatable": "createable",
    "IsEverDeletable": "deletable",
    "IsEverUpdatable": "updateable",
    "IsIdEnabled": "retrieveable",
    "IsLayoutable": "layoutable",
    "IsQueryable": "queryable",
    "IsReplicateable": "replicateable",
    "IsRetrieveable": "retrieveable",
    "IsSearchable": "searchable",
    "IsTriggerable": "triggerable",
    "IsWorkflowEnabled": "triggerable",
    "IsCustomSetting": "customSetting",
}
_FIELD_FLAGS = {
    "IsApiFilterable": "filterable",
    "IsApiGroupable": "groupable",
    "IsApiSortable": "sortable",
    "IsCalculated": "calculated",
    "IsHighScaleNumber": "highScaleNumber",
    "IsHtmlFormatted": "htmlFormatted",
    "IsNameField": "nameField",
    "IsNillable": "nillable",
    "IsPolymorphicForeignKey": "polymorphicForeignKey",
}
_ENTITY = SObject(
    "EntityDefinition",
    "Entity Definition",
    "Entity Definitions",
    "4ie",
    (
        _ID,
        _KEY,
        *_NAMES,
        field("PluralLabel", "Plural Label"),
        field("KeyPrefix", "Key Prefix", length=3),
        field("InternalSharingModel", "Internal Sharing Model"),
        field("ExternalSharingModel", "External Sharing Model"),
        *(flag(name, name) for name in _ENTITY_FLAGS),
    ),
    is_writable=False,
)
_FIELD = SObject(
    "FieldDefinition",
    "Field Definition",
    "Field Definitions",
    "4fe",
    (
        _ID,
        _KEY,
        _ENTITY_LINK,
        *_NAMES,
        field("DataType", "Data Type"),
        field("ValueTypeId", "Value Type ID"),
        field("Length", "Length", "int"),
        field("Precision", "Precision", "int"),
        field("Scale", "Scale", "int"),
        field("RelationshipName", "Relationship Name"),
        field("ExtraTypeInfo", "Extra Type Info"),
        field("Description", "Description"),
        flag("IsCompound", "Compound"),
        flag("IsIndexed", "Indexed"),
        flag("IsFieldHistoryTracked", "Field History Tracked"),
        *(flag(name, name) for name in _FIELD_FLAGS),
    ),
    is_writable=False,
)


def _apex(name: str, prefix: str) -> SObject:
    return SObject(
        name,
        name,
        f"{name}es" if name.endswith("s") else f"{name}s",
        prefix,
        (
            _ID,
            field("Name", "Name", name_field=True),
            field("ApiVersion", "Api Version", "double"),
            field("Status", "Status"),
            field("Body", "Body", "textarea", length=1_000_000),
            field("NamespacePrefix", "Namespace Prefix", length=15),
            field("LastModifiedDate", "Last Modified Date", "datetime"),
        ),
        is_writable=False,
    )


#: Asked for in SOQL beside the org's own objects.
DEFINITIONS = Schema((_ENTITY, _FIELD))
_TOOLING = Schema((_ENTITY, _FIELD, _apex("ApexClass", "01p"), _apex("ApexTrigger", "01q")))


class Definitions:
    """The schema of an org as records."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._schema: Schema | None = None
        self._tables: sqlite3.Connection | None = None

    def tooling(self, call: Call, rest: list[str]) -> Reply:
        """``/tooling/query`` and ``/tooling/sobjects``."""
        if call.method not in ("GET", "HEAD"):
            raise not_allowed(call.method, "GET", "HEAD")
        words = [part.lower() for part in rest]
        if not words:
            return Reply(
                200, {name: call.url(f"/tooling/{name}") for name in ("query", "sobjects")}
            )
        if words == ["query"]:
            return self.answer(call, call.params.get("q", ""), in_tooling=True)
        version = f"{call.version}/tooling"
        if words == ["sobjects"]:
            return Reply(200, _TOOLING.describe_global(version))
        sobject = _TOOLING.find(rest[1]) if words[0] == "sobjects" else None
        if sobject is None or words[2:] not in ([], ["describe"]):
            raise not_found()
        if words[2:]:
            return Reply(200, _TOOLING.describe(sobject, version))
        return Reply(200, {"objectDescribe": sobject.summary(version), "recentItems": []})

    def answer(self, call: Call, text: str, *, in_tooling: bool = False) -> Reply:
        """What a query of definitions finds; there are no further pages."""
        if not text:
            raise bad_request("MALFORMED_QUERY", "SOQL statements cannot be empty or null")
        try:
            query = soql.parse(text)
            compiled = compile_query(query, _TOOLING, call.org.clock.now())
        except soql.SoqlError as error:
            raise RequestProblem(400, ApiProblem(error.code, error.message)) from error
        name = compiled.sobject.name
        if name == _FIELD.name and not _names_entity(query.where):
            raise bad_request(
                "MALFORMED_QUERY",
                f"A filter on a reified column is required [{_ENTITY_LINK.name},{_KEY.name}]",
            )
        with self._lock:
            tables = self._filled(call.org.user_schema)
            if compiled.is_count:
                return _page([], compiled.count(tables), in_tooling=in_tooling, name=name)
            if compiled.aggregates is not None:
                records = compiled.aggregate_records(tables)
                return _page(records, len(records), in_tooling=in_tooling, name=name)
            rows = compiled.row_numbers(tables)
            if len(rows) > MAX_RECORDS:
                raise bad_request(
                    "EXCEEDED_ID_LIMIT",
                    f"{name} does not support queryMore(), use LIMIT to restrict the results to a "
                    "single batch",
                )
            version = f"{call.version}/tooling" if in_tooling else call.version
            records = compiled.page(tables, rows, version)
        return _page(records, len(records), in_tooling=in_tooling, name=name)

    def _filled(self, schema: Schema) -> sqlite3.Connection:
        if self._tables is None or self._schema is not schema:
            if self._tables is not None:
                self._tables.close()
            self._tables, self._schema = _tables(schema), schema
        return self._tables


def is_definition(query: soql.Query) -> bool:
    """Is a query about the schema rather than about records?"""
    return DEFINITIONS.find(query.object_name) is not None


def _page(records: list[dict[str, object]], total: int, *, in_tooling: bool, name: str) -> Reply:
    answer: dict[str, object] = {"size": len(records)} if in_tooling else {}
    answer |= {"totalSize": total, "done": True}
    if in_tooling:
        answer |= {"queryLocator": None, "entityTypeName": name}
    return Reply(200, {**answer, "records": records})


def _names_entity(condition: object) -> bool:
    """Does a condition say which object's fields are meant?"""
    if isinstance(condition, soql.Path):
        names = [name.lower() for name in condition.names]
        return "entitydefinition" in names or names[-1] in ("entitydefinitionid", "durableid")
    if isinstance(condition, tuple | list):
        return any(_names_entity(item) for item in condition)
    if is_dataclass(condition) and not isinstance(condition, type):
        return any(_names_entity(getattr(condition, part.name)) for part in parts_of(condition))
    return False


# the tables


def _tables(schema: Schema) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    soql_literals.add_functions(connection)
    for sobject in _TOOLING.objects.values():
        columns = ", ".join(f'"{f.name}" {f.storage}' for f in sobject.stored_fields)
        connection.execute(f'CREATE TABLE "{sobject.name}" ({columns})')
    keys = {o.name: _entity_key(o, number) for number, o in enumerate(schema.objects.values(), 1)}
    _fill(connection, _ENTITY, (_entity(o, keys[o.name]) for o in schema.objects.values()))
    _fill(
        connection,
        _FIELD,
        (
            _field(o, keys[o.name], f, number)
            for o in schema.objects.values()
            for number, f in enumerate(o.fields, 1)
        ),
    )
    return connection


def _fill(
    connection: sqlite3.Connection, sobject: SObject, records: Iterator[dict[str, object]]
) -> None:
    names = [f.name for f in sobject.stored_fields]
    connection.executemany(
        f'INSERT INTO "{sobject.name}" VALUES ({", ".join("?" * len(names))})',
        ([record.get(name) for name in names] for record in records),
    )


def _entity_key(sobject: SObject, number: int) -> str:
    return make_id("01I", number)[:15] if sobject.custom else sobject.name


def _naming(name: str, label: str) -> dict[str, object]:
    """What the names of an object or a field are made of: ``package__Thing__c``."""
    stem = name.removesuffix("__c").removesuffix("__s")
    namespace, _, rest = stem.rpartition("__")
    return {
        "QualifiedApiName": name,
        "DeveloperName": rest,
        "NamespacePrefix": namespace or None,
        "MasterLabel": label,
        "Label": label,
    }


def _entity(sobject: SObject, key: str) -> dict[str, object]:
    told = sobject.summary("")
    return {
        "Id": key,
        "DurableId": key,
        **_naming(sobject.name, sobject.label),
        "PluralLabel": sobject.label_plural,
        "KeyPrefix": told["keyPrefix"],
        "InternalSharingModel": "ReadWrite",
        "ExternalSharingModel": "Private",
        **{name: int(bool(told[flag])) for name, flag in _ENTITY_FLAGS.items()},
    }


def _field(sobject: SObject, entity_key: str, item: Field, number: int) -> dict[str, object]:
    told = item.describe()
    own_key = make_id("00N", number, sobject.key_prefix)[:15] if item.custom else item.name
    key = f"{entity_key}.{own_key}"
    is_indexed = item.kind in ("id", "reference") or item.external_id or item.name == "Name"
    return {
        "Id": key,
        "DurableId": key,
        "EntityDefinitionId": entity_key,
        **_naming(item.name, item.label),
        "DataType": _data_type(item),
        "ValueTypeId": str(told["soapType"]).partition(":")[2].lower(),
        "Length": told["length"],
        "Precision": told["precision"],
        "Scale": told["scale"],
        "RelationshipName": item.relationship,
        "ExtraTypeInfo": told["extraTypeInfo"],
        "IsCompound": int(item.is_compound),
        "IsIndexed": int(is_indexed),
        "IsFieldHistoryTracked": 0,
        **{name: int(bool(told[flag])) for name, flag in _FIELD_FLAGS.items()},
    }


def _data_type(item: Field) -> str:
    """The type in the words of the vendor's setup pages."""
    digits = f"({item.precision - item.scale}, {item.scale})"
    long_text = f"Long Text Area({item.length})"
    words = {
        "id": "Lookup()",
        "string": f"Text({item.length})",
        "textarea": long_text if item.is_long_text else f"Text Area({item.length})",
        "picklist": "Picklist",
        "reference": f"Lookup({','.join(item.refers_to)})",
        "boolean": "Checkbox",
        "int": "Number(9, 0)",
        "double": f"Number{digits}",
        "currency": f"Currency{digits}",
        "percent": f"Percent{digits}",
        "date": "Date",
        "datetime": "Date/Time",
        "email": "Email",
        "phone": "Phone",
        "url": f"URL({item.length})",
        "address": "Address",
        "location": "Geolocation",
        "base64": "Base64",
    }
    if item.auto_number:
        return "Auto Number"
    named = "Name" if item.name_field else words[item.kind]
    return f"{named} (Unique Case Insensitive)" if item.unique else named
