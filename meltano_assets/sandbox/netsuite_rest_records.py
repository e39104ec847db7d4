"""Records of the books as NetSuite's REST services have them: JSON both ways, and its schemas.

Names are those of SOAP, but for lists (``itemList`` is ``item``, a collection with links), custom
fields (beside the others, under their script id) and enumerations (``{"id", "refName"}``). What is
written becomes the element that SOAP would have sent, so that both ways keep the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from lxml import etree  # type: ignore[import-untyped]  # it ships no types

from meltano_assets.sandbox.company_books import Custom, Ref, customs_of
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.netsuite_contract import ComplexType, Contract, Element
from meltano_assets.sandbox.netsuite_search import State
from meltano_assets.sandbox.netsuite_wire import ACCOUNT_ZONE, XSI, Node, StatusError

#: Types of records that the account knows and keeps none of.
EMPTY_TYPES = (
    "charge", "contact", "job", "location", "message", "opportunity", "phoneCall",
    "purchaseOrder", "salesOrder", "task",
)  # fmt: skip
_TIMES = ("lastModifiedDate", "createdDate", "dateCreated", "firstVisit", "closedOnDate")
_JSON_TYPES = {
    "string": {"type": "string"}, "boolean": {"type": "boolean"},
    "double": {"type": "number", "format": "double"}, "float": {"type": "number"},
    "long": {"type": "integer", "format": "int64"}, "int": {"type": "integer"},
}  # fmt: skip
_REFS = ("RecordRef", "CustomRecordRef", "ListOrRecordRef", "BaseRef")
_CUSTOM_TYPES = {
    "String": {"type": "string"}, "Boolean": {"type": "boolean"}, "Long": {"type": "integer"},
    "Double": {"type": "number", "format": "double"}, "Date": {"type": "string", "format": "date-time"},
}  # fmt: skip


def path_name(kind: str) -> str:
    """A record type as addresses have it."""
    return kind[:1].lower() + kind[1:]


class Catalog:
    """What the contract says about records, in the words of REST."""

    def __init__(self, contract: Contract, state: State, base: str) -> None:
        self._contract = contract
        self._state = state
        self._records = f"{base}/services/rest/record/v1"

    def types(self) -> dict[str, str]:
        """Names in small letters → record types as addresses have them."""
        names = [path_name(kind) for kind in self._state if kind in self._contract.types]
        return {name.lower(): name for name in sorted([*names, *EMPTY_TYPES])}

    def kind(self, name: str) -> str | None:
        """The contract's type behind a name in an address; None for one without records."""
        wanted = name.lower()
        return next((kind for kind in self._state if kind.lower() == wanted), None)

    # Reading

    def link(self, *parts: str) -> list[dict[str, str]]:
        """The ``links`` of something."""
        return [{"rel": "self", "href": "/".join((self._records, *parts))}]

    def record(
        self,
        kind: str,
        record: Record,
        *,
        is_expanded: bool = False,
        has_simple_enums: bool = False,
        fields: frozenset[str] = frozenset(),
    ) -> dict[str, object]:
        """A record as JSON; ``fields`` (small letters) picks some of its fields."""
        key = str(record["internalId"])
        path = (path_name(kind), key)
        shown: dict[str, object] = {"links": self.link(*path), "id": key}
        if record.get("externalId") and (not fields or "externalid" in fields):
            shown["externalId"] = str(record["externalId"])
        for element in self._contract.types[kind].elements:
            value = record.get(element.name)
            if value is None or element.name in ("nullFieldList", "internalId"):
                continue
            if element.name == "customFieldList":
                for field in customs_of(record):
                    if not fields or field.script_id.lower() in fields:
                        shown[field.script_id] = self._custom(field, path)
                continue
            name = list_name(element.name, value)
            if fields and name.lower() not in fields:
                continue
            shown[name] = self.value(
                element, value, (*path, name), is_expanded=is_expanded, simple=has_simple_enums
            )
        if fields:
            return shown
        if "status" in record and isinstance(shown.get("status"), str):
            shown["status"] = {"id": record["status"], "refName": record["status"]}
        return shown

    def value(
        self,
        element: Element,
        value: object,
        path: tuple[str, ...],
        *,
        is_expanded: bool,
        simple: bool = False,
    ) -> object:
        """One value; lists and subrecords are links unless they are to be expanded."""
        if isinstance(value, Ref):
            return self._ref(value, element.name)
        if isinstance(value, list):
            if not is_expanded:
                return {"links": self.link(*path)}
            return self.sublist(element, value, path)
        if isinstance(value, Mapping):
            if not is_expanded:
                return {"links": self.link(*path)}
            declared = self._contract.types.get(element.type)
            return {"links": self.link(*path), **self._inside(declared, value, path)}
        return _scalar(element.name, value, simple=simple)

    def sublist(
        self, element: Element, values: list[Any], path: tuple[str, ...]
    ) -> dict[str, object]:
        """A collection of lines."""
        wrapper = self._contract.types.get(element.type)
        inner = next((e for e in wrapper.elements if e.is_repeated), None) if wrapper else None
        declared = self._contract.types.get(inner.type) if inner else None
        items: list[object] = []
        for place, item in enumerate(values, 1):
            if isinstance(item, Ref):
                items.append(self._ref(item, element.name))
                continue
            line = str(item.get("line", item.get("internalId", place)))
            own = (*path, line)
            items.append({"links": self.link(*own), **self._inside(declared, item, own)})
        return {
            "links": self.link(*path), "count": len(items), "hasMore": False, "items": items,
            "offset": 0, "totalResults": len(items),
        }  # fmt: skip

    def _inside(
        self, declared: ComplexType | None, values: Mapping[str, object], path: tuple[str, ...]
    ) -> dict[str, object]:
        shown: dict[str, object] = {}
        for element in declared.elements if declared else ():
            value = values.get(element.name)
            if value is not None:
                name = "id" if element.name == "internalId" else list_name(element.name, value)
                shown[name] = self.value(element, value, (*path, name), is_expanded=True)
        return shown

    def _ref(self, ref: Ref, field: str) -> dict[str, object]:
        kind = self._leads_to(ref, field)
        links = self.link(path_name(kind), ref.id) if kind else []
        return {"links": links, "id": ref.id, "refName": ref.name}

    def _leads_to(self, ref: Ref, field: str) -> str | None:
        """The type of record behind a reference: of the same name, else the first of that id."""
        wanted = field.removesuffix("List").lower()
        named = next((kind for kind in self._state if kind.lower() == wanted), None)
        if named is not None:
            return named
        kinds = ("Customer", "Vendor", "Employee") if wanted == "entity" else tuple(self._state)
        for kind in kinds:
            record = self._state.get(kind, {}).get(ref.id)
            if record is not None and ref.name in record.values():
                return kind
        return None

    def _custom(self, field: Custom, path: tuple[str, ...]) -> object:
        if isinstance(field.value, list):
            items = [{"id": ref.id, "refName": ref.name} for ref in field.value]
            return {"links": self.link(*path, field.script_id), "items": items}
        if isinstance(field.value, Ref):
            return {"id": field.value.id, "refName": field.value.name}
        return _scalar("lastModifiedDate" if field.kind == "Date" else "", field.value)

    # Schemas

    def schema(self, name: str) -> dict[str, object] | None:
        """The JSON Schema of a record type, of the link or of one of a type's lists."""
        if name.lower() == "nslink":
            return _NS_LINK
        kind_name, _, listed = name.partition("-")
        known = self.types().get(kind_name.lower())
        if known is None:
            return None
        kind = self.kind(known)
        declared = self._contract.types.get(kind) if kind else None
        if listed:
            return self._list_schema(declared, known, listed)
        properties: dict[str, object] = {
            "id": _nullable({"type": "string", "title": "Internal ID"}),
            "externalId": _nullable({"type": "string", "title": "External ID"}),
            "refName": _nullable({"type": "string", "title": "Reference Name"}),
            "links": _LINKS,
        }
        if declared is None:
            moment = {"type": "string", "format": "date-time"}
            properties["lastModifiedDate"] = _nullable({**moment, "title": "Last Modified Date"})
        for element in declared.elements if declared else ():
            if element.name not in ("nullFieldList", "customFieldList", "internalId"):
                properties[self._rest_name(element)] = self._property(known, element)
        for record in self._state[kind].values() if kind else ():
            for field in customs_of(record):
                properties.setdefault(field.script_id, _custom_schema(field))
        return {
            "type": "object", "properties": properties,
            "$schema": "http://json-schema.org/draft-06/hyper-schema#",
            "x-ns-filterable": sorted(properties.keys() - {"links", "refName"}),
        }  # fmt: skip

    def openapi(self, names: Iterable[str]) -> dict[str, object]:
        """The description of some record types in the words of OpenAPI."""
        paths: dict[str, object] = {}
        schemas: dict[str, object] = {"nsLink": _NS_LINK}
        for name in names:
            answer = {"204": {"description": "Done."}}
            content = {
                "application/vnd.oracle.resource+json; type=singular": {
                    "schema": {"$ref": f"#/components/schemas/{name}"}
                }
            }
            key = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            paths[f"/{name}"] = {
                "get": {"tags": [name], "summary": "Get list of records.",
                        "responses": {"200": {"description": "List of records."}}},
                "post": {"tags": [name], "summary": "Insert record.", "responses": answer},
            }  # fmt: skip
            paths[f"/{name}/{{id}}"] = {
                "get": {"tags": [name], "summary": "Get record.", "parameters": [key],
                        "responses": {"200": {"description": "Retrieved record.",
                                              "content": content}}},
                "put": {"tags": [name], "summary": "Insert or update record.",
                        "parameters": [key], "responses": answer},
                "patch": {"tags": [name], "summary": "Update record.", "parameters": [key],
                          "responses": answer},
                "delete": {"tags": [name], "summary": "Remove record.", "parameters": [key],
                           "responses": answer},
            }  # fmt: skip
            schemas[name] = self.schema(name)
        return {
            "openapi": "3.0.1", "info": {"title": "NetSuite REST Record API", "version": "v1"},
            "servers": [{"url": self._records}], "paths": paths,
            "components": {"schemas": schemas},
        }  # fmt: skip

    def _rest_name(self, element: Element) -> str:
        wrapper = self._contract.types.get(element.type)
        is_list = wrapper is not None and any(e.is_repeated for e in wrapper.elements)
        return list_name(element.name, [] if is_list else None)

    def _property(self, name: str, element: Element) -> dict[str, object]:
        title = "".join(f" {c}" if c.isupper() else c for c in element.name).strip().capitalize()
        references = f"/services/rest/record/v1/metadata-catalog/{name}"
        if element.type in _REFS:
            target = self.types().get(element.name.lower(), element.name)
            return {"$ref": references.replace(name, target)}
        if element.type in self._contract.types:
            return {"$ref": f"{references}-{self._rest_name(element)}Collection"}
        if element.type == "dateTime":
            kind = "date-time" if element.name in _TIMES else "date"
            return _nullable({"title": title, "type": "string", "format": kind})
        if element.type in _JSON_TYPES:
            return _nullable({"title": title, **_JSON_TYPES[element.type]})
        return {
            "title": title, "type": "object", "nullable": True,
            "properties": {"id": {"title": "Internal identifier", "type": "string"},
                           "refName": {"title": "Reference Name", "type": "string"}},
        }  # fmt: skip

    def _list_schema(
        self, declared: ComplexType | None, known: str, listed: str
    ) -> dict[str, object] | None:
        wanted = listed.removesuffix("Collection").removesuffix("Element").lower()
        for element in declared.elements if declared else ():
            if self._rest_name(element).lower() != wanted:
                continue
            wrapper = self._contract.types.get(element.type)
            inner = next((e for e in wrapper.elements if e.is_repeated), None) if wrapper else None
            lines = self._contract.types.get(inner.type) if inner else wrapper
            properties = {
                self._rest_name(e): self._property(known, e)
                for e in (lines.elements if lines else ())
            }
            line: dict[str, object] = {"type": "object", "properties": properties}
            if inner is None:
                return line
            return {"type": "object", "properties": {
                "links": _LINKS, "totalResults": {"type": "integer"}, "count": {"type": "integer"},
                "hasMore": {"type": "boolean"}, "offset": {"type": "integer"},
                "items": {"type": "array", "items": line},
            }}  # fmt: skip
        return None

    # Writing

    def element(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        key: str | None,
        external: str | None,
        replaced: frozenset[str],
        is_strict: bool,
    ) -> Node:
        """The element that SOAP would have sent for a record in JSON."""
        node = etree.Element("record")
        node.set(f"{{{XSI}}}type", f"x:{kind}")
        given: Any = body.get("externalId")
        external = given if external is None else external
        if key is not None:
            node.set("internalId", _plain(key, "id"))
        if external is not None:
            node.set("externalId", _plain(external, "externalId"))
        declared = self._contract.types[kind]
        customs = etree.Element("customFieldList")
        for name, value in body.items():
            if name in ("id", "links", "externalId", "refName"):
                continue
            if name.lower().startswith("cust") and _find(declared, name) is None:
                customs.append(self._custom_element(kind, name, value))
                continue
            element = _find(declared, name) if name.lower() != "nullfieldlist" else None
            if element is None:
                if is_strict:
                    raise StatusError("NONEXISTENT_FIELD", f"Unknown field or sublist '{name}'.")
                continue
            node.append(self._written(element, value, name.lower() in replaced or key is None))
        if len(customs):
            node.append(customs)
        return node

    def _written(self, element: Element, value: Any, replaces: bool) -> Node:
        node = etree.Element(element.name)
        wrapper = self._contract.types.get(element.type)
        if value is None:
            node.set(f"{{{XSI}}}nil", "true")
        elif element.type in _REFS:
            _refer(node, element.name, value)
        elif wrapper is None:
            node.text = _sent(element, value)
        elif inner := next((e for e in wrapper.elements if e.is_repeated), None):
            if not replaces:
                node.set("replaceAll", "false")
            items = value.get("items", []) if isinstance(value, Mapping) else value
            if not isinstance(items, list):
                raise StatusError("INVALID_CONTENT", f"The items of {element.name} are no list.")
            for item in items:
                line = etree.SubElement(node, inner.name)
                if inner.type in _REFS:
                    _refer(line, element.name, item)
                elif inner.type not in self._contract.types:
                    line.text = _sent(inner, item)
                else:
                    self._fill(line, inner.type, item, element.name)
        else:
            self._fill(node, element.type, value, element.name)
        return node

    def _fill(self, node: Node, type_name: str, values: Any, where: str) -> None:
        if not isinstance(values, Mapping):
            raise StatusError("INVALID_CONTENT", f"{where} holds something that is no object.")
        declared = self._contract.types[type_name]
        for name, value in values.items():
            element = _find(declared, name)
            if element is not None:
                node.append(self._written(element, value, replaces=True))

    def _custom_element(self, kind: str, name: str, value: Any) -> Node:
        records = self._state.get(kind, {}).values()
        kinds = (f.kind for record in records for f in customs_of(record) if f.script_id == name)
        known = next(kinds, None) or _custom_kind(value)
        node = etree.Element("customField")
        node.set(f"{{{XSI}}}type", f"x:{known}CustomFieldRef")
        node.set("scriptId", name)
        values = value
        if isinstance(value, Mapping) and "items" in value:
            values = value["items"]
        for item in values if isinstance(values, list) else [values]:
            inside = etree.SubElement(node, "value")
            if known in ("Select", "MultiSelect"):
                _refer(inside, name, item)
            elif item is not None:
                inside.text = _plain(item, name)
        return node


def list_name(name: str, value: object) -> str:
    """A field's name in JSON."""
    if not isinstance(value, list) or not name.endswith("List"):
        return name
    return {"addressbook": "addressBook"}.get(name[:-4], name[:-4])


_NS_LINK: dict[str, object] = {
    "type": "object",
    "properties": {
        "rel": {"title": "Relation", "type": "string", "readOnly": True},
        "href": {"title": "Hypertext Reference", "type": "string", "format": "uri", "readOnly": True},
    },
}  # fmt: skip
_LINKS: dict[str, object] = {
    "title": "Links", "type": "array", "readOnly": True,
    "items": {"$ref": "/services/rest/record/v1/metadata-catalog/nsLink"},
}  # fmt: skip


def _nullable(schema: dict[str, Any]) -> dict[str, object]:
    return {**schema, "nullable": True}


def _custom_schema(field: Custom) -> dict[str, object]:
    known = _CUSTOM_TYPES.get(field.kind)
    if known is None:
        known = {"type": "object"}
    return {"title": field.script_id, **known, "nullable": True, "x-ns-custom-field": True}


def _find(declared: ComplexType, name: str) -> Element | None:
    wanted = (name.lower(), f"{name}list".lower())
    return next((e for e in declared.elements if e.name.lower() in wanted), None)


def _scalar(name: str, value: object, *, simple: bool = False) -> object:
    if isinstance(value, datetime):
        shown = value.astimezone(ACCOUNT_ZONE)
        if name not in _TIMES and (shown.hour, shown.minute, shown.second) == (0, 0, 0):
            return shown.date().isoformat()
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str) and value.startswith("_") and value[1:].isalnum():
        key = value[1:2].upper() + value[2:]
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key)
        return key if simple else {"id": key, "refName": words}
    if name == "rate" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _custom_kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "MultiSelect" if "items" in value else "Select"
    if isinstance(value, bool):
        return "Boolean"
    return {int: "Long", float: "Double", list: "MultiSelect"}.get(type(value), "String")


def _refer(node: Node, name: str, value: Any) -> None:
    given = value if isinstance(value, Mapping) else {"id": value}
    key, external = given.get("id"), given.get("externalId")
    if key is not None:
        node.set("internalId", _plain(key, name))
    elif external is not None:
        node.set("externalId", _plain(external, name))
    else:
        raise StatusError("INVALID_VALUE", f"Invalid value for the field {name}.")


def _sent(element: Element, value: Any) -> str:
    """A plain value as SOAP writes it; an enumeration begins with a small letter there."""
    given = value.get("id") if isinstance(value, Mapping) else value
    text = _plain(given, element.name)
    if element.type in _JSON_TYPES or element.type == "dateTime" or text.startswith("_"):
        return text
    return f"_{text[:1].lower()}{text[1:]}" if text else text


def _plain(value: object, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise StatusError("INVALID_VALUE", f"Invalid value for the field {name}.")
    text = str(value)
    try:
        etree.Element("v").text = text
        etree.Element("v").set("a", text)
    except ValueError:
        raise StatusError("INVALID_VALUE", f"Invalid value for the field {name}.") from None
    return text
