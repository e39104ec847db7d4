"""What a subscription defines by itself in Marketo: kinds of activities, the custom object, lead fields."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping

from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_fields import schema_answer
from meltano_assets.sandbox.marketo_leads import ACTIONS, Skipped, skipped_result
from meltano_assets.sandbox.marketo_schema import WORKSHOP, WORKSHOP_FIELDS, about_workshops
from meltano_assets.sandbox.marketo_wire import (
    MarketoError,
    envelope,
    input_of,
    object_of,
    rest_name,
    split_list,
    wire_time,
)
from meltano_assets.sandbox.numbers import is_number

_FIRST_TYPE = 100_001


class Customs:
    """Answers requests about them."""

    def __init__(self, desk: Callable[[], Desk], described: Callable[[], list[Record]]) -> None:
        self._find = desk
        self._described = described

    @property
    def _desk(self) -> Desk:
        return self._find()

    def answer(
        self, method: str, parts: list[str], query: Mapping[str, str], body: object
    ) -> Response | None:
        """The answer; None where this is no address of ours."""
        match method, *parts:
            case "POST", "activities", "external":
                return self._add_activities(object_of(body))
            case _, "activities", "external", *rest:
                return self._types(method, rest, body)
            case _, "customobjects", name, *rest if name == WORKSHOP:
                return self._workshops(method, rest, query, body)
            case "GET", *rest if "schema" in rest:
                return schema_answer(rest, query, self._described)
            case "POST", "leads", "schema", "fields":
                return self._add_fields(object_of(body))
            case "POST", "leads", "schema", "fields", name:
                return self._change_field(name, object_of(body))
        return None

    # Activities of the subscription's own

    def _add_activities(self, told: Record) -> Response:
        types = {
            str(kind["id"]): kind for kind in self._desk.types.values() if kind["status"] != "draft"
        }
        results: list[Record] = []
        for entry in input_of(told):
            try:
                kind = types.get(str(entry.get("activityTypeId")))
                if kind is None:
                    raise Skipped("1013", "Activity type not found")
                lead = str(entry.get("leadId"))
                if not is_number(lead) or int(lead) not in self._desk.leads:
                    raise Skipped("1004", "Lead not found")
                done = self._custom_activity(kind, int(lead), entry)
                result: Record = {
                    "id": done["id"],
                    "marketoGUID": done["marketoGUID"],
                    "status": "added",
                }
            except Skipped as skipped:
                result = skipped_result(skipped)
            except MarketoError as error:
                result = skipped_result(Skipped(error.code, error.message))
            results.append(result)
        return envelope({"result": results})

    def _custom_activity(self, kind: Record, lead: int, entry: Record) -> Record:
        at = wire_time(str(entry.get("activityDate") or ""), "activityDate")
        primary = entry.get("primaryAttributeValue")
        if primary in (None, ""):
            raise Skipped("1002", "Missing value for required parameter 'primaryAttributeValue'")
        listed = kind["attributes"]
        known = {str(a["apiName"]): str(a["name"]) for a in listed if isinstance(a, dict)} \
            if isinstance(listed, list) else {}  # fmt: skip
        sent = entry.get("attributes")
        values: Record = {}
        for item in sent if isinstance(sent, list) else []:
            name = str(item.get("apiName") or item.get("name"))
            if name not in known and name not in known.values():
                raise Skipped("1006", f"Field '{name}' not found")
            values[known.get(name, name)] = item.get("value")
        return self._desk.add_activity(lead, int(str(kind["id"])), (None, str(primary)), values, at)

    def _types(self, method: str, parts: list[str], body: object) -> Response | None:
        kinds = self._desk.types
        match method, *parts:
            case "GET", "types":
                return envelope({"result": list(kinds.values())})
            case "POST", "type":
                told = object_of(body)
                needed = ("apiName", "name", "filterName", "triggerName", "primaryAttribute")
                for name in needed:
                    if not told.get(name):
                        message = f"Missing value for required parameter '{name}'"
                        raise MarketoError("1002", message)
                key = str(told["apiName"])
                if key in kinds:
                    raise MarketoError("1017", f"Activity type '{key}' already exists")
                now = self._desk.stamp()
                kinds[key] = {
                    "id": _FIRST_TYPE + len(kinds),
                    **{name: told[name] for name in needed},
                    "description": told.get("description"),
                    "status": "draft",
                    "createdAt": now,
                    "updatedAt": now,
                    "attributes": [],
                }
                return envelope({"result": [kinds[key]]})
        if len(parts) < 2 or parts[0] != "type":
            return None
        kind = kinds.get(parts[1])
        if kind is None:
            raise MarketoError("1013", f"Activity type '{parts[1]}' not found")
        match method, *parts[2:]:
            case "GET", "describe":
                pass
            case ("POST",):
                told = object_of(body)
                names = ("name", "description", "filterName", "triggerName")
                kind |= {name: told[name] for name in names if name in told}
            case "POST", "approve":
                kind["status"] = "approved"
            case "POST", "discardDraft":
                # What is changed here is changed at once: no draft lies beside an approved type.
                pass
            case "POST", "attributes", "update" | "delete" as action:
                _change_attributes(kind, object_of(body).get("attributes"), action)
            case "POST", "delete":
                del kinds[parts[1]]
            case "POST", "attributes", "create":
                listed = kind["attributes"]
                added = object_of(body).get("attributes")
                assert isinstance(listed, list)
                listed += [
                    {"dataType": "string", "name": each.get("apiName"), **each}
                    for each in (added if isinstance(added, list) else [])
                    if isinstance(each, dict)
                ]
            case _:
                return None
        return envelope({"result": [kind]})

    # The custom object

    def _workshops(
        self, method: str, parts: list[str], query: Mapping[str, str], body: object
    ) -> Response | None:
        match method, *parts:
            case "GET", "describe":
                return envelope({"result": [about_workshops()]})
            case ("GET",):
                return self._find_workshops(query, body)
            case ("POST",):
                told = object_of(body)
                results = [
                    {
                        "seq": seq,
                        **self.save_workshop(entry, str(told.get("action") or ACTIONS[0])),
                    }
                    for seq, entry in enumerate(input_of(told))
                ]
                return envelope({"result": results})
            case "POST", "delete":
                return envelope({"result": self._delete_workshops(input_of(object_of(body)))})
        return None

    def _find_workshops(self, query: Mapping[str, str], body: object) -> Response:
        """By one field's values; by ids or all the fields that tell records apart in a body."""
        told = body if isinstance(body, dict) else {}
        kind = query.get("filterType") or str(told.get("filterType") or "")
        if told.get("input") is not None and kind in ("dedupeFields", "idField"):
            keys = ("leadId", "workshopName") if kind == "dedupeFields" else WORKSHOP_FIELDS[:1]
            asked = {tuple(str(entry.get(key)) for key in keys) for entry in input_of(told)}
        else:
            if kind not in (*WORKSHOP_FIELDS[:3], "idField"):
                raise MarketoError("1003", f"Invalid filterType '{kind}'")
            keys = (WORKSHOP_FIELDS[0] if kind == "idField" else kind,)
            asked = {(value,) for value in split_list(query.get("filterValues"))}
            if not asked:
                raise MarketoError("1002", "Missing value for required parameter 'filterValues'")
        named = told.get("fields")
        chosen = split_list(query.get("fields")) or (named if isinstance(named, list) else [])
        for name in chosen:
            if name not in WORKSHOP_FIELDS:
                raise MarketoError("1006", f"Field '{name}' not found")
        shown = {*(chosen or WORKSHOP_FIELDS), WORKSHOP_FIELDS[0]}
        found = [
            {name: value for name, value in workshop.items() if name in shown}
            for workshop in self._desk.workshops.values()
            if tuple(str(workshop.get(key)) for key in keys) in asked
        ]
        return envelope({"result": [{"seq": n, **w} for n, w in enumerate(found)]})

    def _known_workshop(self, entry: Record) -> Record | None:
        if guid := entry.get("marketoGUID"):
            return self._desk.workshops.get(str(guid))
        for known in self._desk.workshops.values():
            if all(str(known.get(n)) == str(entry.get(n)) for n in ("leadId", "workshopName")):
                return known
        return None

    def save_workshop(self, entry: Record, action: str) -> Record:
        """Make or change a record of the custom object; what became of it."""
        try:
            for name in entry:
                if name not in WORKSHOP_FIELDS:
                    raise Skipped("1006", f"Field '{name}' not found")
            known, now = self._known_workshop(entry), self._desk.stamp()
            if known is None and action == "updateOnly":
                raise Skipped("1013", "Record not found")
            if known is not None and action == "createOnly":
                raise Skipped("1017", "Object already exists")
            if known is None:
                if not (entry.get("leadId") and entry.get("workshopName")):
                    raise Skipped("1002", "Missing value for required parameter 'leadId'")
                guid = str(uuid.uuid4())
                made: Record = {**entry, "marketoGUID": guid, "createdAt": now, "updatedAt": now}
                self._desk.write_workshop(guid, made)
                return {"marketoGUID": guid, "status": "created"}
            guid = str(known["marketoGUID"])
            self._desk.write_workshop(guid, {**known, **entry, "updatedAt": now})
            return {"marketoGUID": guid, "status": "updated"}
        except Skipped as skipped:
            return skipped_result(skipped)

    def _delete_workshops(self, entries: Iterable[Record]) -> list[Record]:
        results: list[Record] = []
        for seq, entry in enumerate(entries):
            known = self._known_workshop(entry)
            if known is None:
                result = skipped_result(Skipped("1013", "Record not found"))
            else:
                guid = str(known["marketoGUID"])
                self._desk.write_workshop(guid, None)
                result = {"marketoGUID": guid, "status": "deleted"}
            results.append({"seq": seq, **result})
        return results

    # Lead fields

    def _add_fields(self, told: Record) -> Response:
        known = {rest_name(field) for field in self._described() if "rest" in field}
        results: list[Record] = []
        for entry in input_of(told):
            name = str(entry.get("name") or "")
            if not re.fullmatch(r"[A-Za-z]\w*", name):
                results.append(skipped_result(Skipped("1003", "Invalid value for 'name'")))
            elif name in known or name in self._desk.fields:
                results.append(skipped_result(Skipped("1017", f"Field '{name}' already exists")))
            else:
                self._desk.fields[name] = {
                    "id": self._desk.new_id(),
                    "displayName": entry.get("displayName") or name,
                    "dataType": entry.get("dataType") or "string",
                    "length": 255,
                    "rest": {"name": name, "readOnly": False},
                }
                results.append({"name": name, "status": "created"})
        return envelope({"result": results})

    def _change_field(self, name: str, told: Record) -> Response:
        """Change what is told of a field that clients made."""
        entry = input_of(told)[0]
        known = self._desk.fields.get(name)
        if known is None:
            is_there = any("rest" in f and rest_name(f) == name for f in self._described())
            code, words = ("1011", "cannot be updated") if is_there else ("1006", "not found")
            raise MarketoError(code, f"Field '{name}' {words}")
        names = ("displayName", "description", "isHidden", "isHtmlEncodingInEmail", "isSensitive")
        self._desk.fields[name] = {**known, **{n: entry[n] for n in names if n in entry}}
        return envelope({"result": [{"name": name, "status": "updated"}]})


def _change_attributes(kind: Record, told: object, action: str) -> None:
    """Change or take away attributes of a kind of activity, each named by its ``apiName``."""
    listed = kind["attributes"]
    assert isinstance(listed, list)
    given = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    if not given:
        raise MarketoError("1002", "Missing value for required parameter 'attributes'")
    changes = {str(each.get("apiName")): each for each in given}
    known = {str(each["apiName"]) for each in listed if "apiName" in each}
    for name in changes:
        if name not in known:
            raise MarketoError("1013", f"Attribute '{name}' not found")
    if action == "delete":
        kind["attributes"] = [each for each in listed if each.get("apiName") not in changes]
    else:
        kind["attributes"] = [{**each, **changes.get(each.get("apiName"), {})} for each in listed]
