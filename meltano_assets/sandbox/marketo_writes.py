"""What clients write into Marketo's lead database, one record at a time judged and answered.

A request that makes no sense is an error as a whole; a record that cannot be written is ``skipped`` with
its reasons and disturbs no other. Written from the Swagger description and the vendor's list of codes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date

from starlette.responses import Response

from meltano_assets.sandbox.company_marketing import (
    ADD_TO_LIST,
    CHANGE_PROGRESSION,
    CHANGE_VALUE,
    DELETE_LEAD,
    MERGE_LEADS,
    NEW_LEAD,
)
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_schema import WORKSHOP, WORKSHOP_FIELDS
from meltano_assets.sandbox.marketo_wire import (
    BATCH,
    MarketoError,
    envelope,
    rest_name,
    split_list,
    wire_time,
)

REMOVE_FROM_LIST, REQUEST_CAMPAIGN, PUSH_LEAD = 25, 47, 145
SOURCE = "Web service API"
ACTIONS = ("createOrUpdate", "createOnly", "updateOnly", "createDuplicate")
_FIRST_TYPE = 100_001


class Skipped(Exception):
    """A record that is not written, and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class LeadWriter:
    """Makes and changes leads by a lookup field, as sync, push, forms and imports do."""

    def __init__(
        self, desk: Desk, described: Sequence[Record], action: str, lookup: str | None
    ) -> None:
        self._desk = desk
        self._fields = {rest_name(field): field for field in described if "rest" in field}
        if action not in ACTIONS:
            raise MarketoError("1003", f"Invalid value '{action}' for 'action'")
        self._action = action
        self.lookup = lookup or "email"
        if self.lookup not in self._fields:
            raise MarketoError("1006", f"Lookup field '{self.lookup}' not found")

    def save(self, records: Sequence[Record]) -> list[Record]:
        """One result for each record, in order."""
        values = (record.get(self.lookup) for record in records)
        known = self._desk.found(self.lookup, (value for value in values if value is not None))
        return [self._saved(record, known) for record in records]

    def _saved(self, record: Record, known: dict[str, list[int]]) -> Record:
        try:
            fields = self._checked(record)
            number, is_new = self._target(record, known)
        except Skipped as skipped:
            return skipped_result(skipped)
        if is_new:
            self._create(number, fields)
            key = record.get(self.lookup)
            if key is not None:
                known.setdefault(str(key).lower(), []).append(number)
        else:
            self._change(number, fields)
        return {"id": number, "status": "created" if is_new else "updated"}

    def _checked(self, record: Record) -> Record:
        fields: Record = {}
        for name, value in record.items():
            field = self._fields.get(name)
            if field is None:
                raise Skipped("1006", f"Field '{name}' not found")
            rest = field["rest"]
            is_key = name == self.lookup
            if isinstance(rest, dict) and rest.get("readOnly"):
                if is_key:
                    continue
                raise Skipped("1011", f"Field '{name}' is read only")
            fields[name] = _typed(name, str(field["dataType"]), value)
        return fields

    def _target(self, record: Record, known: dict[str, list[int]]) -> tuple[int, bool]:
        if self._action == "createDuplicate":
            return self._desk.new_id(), True
        key = record.get(self.lookup)
        if key is None or key == "":
            raise Skipped("1003", f"Value for lookup field '{self.lookup}' is missing")
        matches = known.get(str(key).lower(), [])
        if len(matches) > 1:
            raise Skipped("1007", "Multiple lead match lookup criteria")
        if matches and self._action == "createOnly":
            raise Skipped("1005", "Lead already exists")
        if not matches and (self._action == "updateOnly" or self.lookup == "id"):
            raise Skipped("1004", "Lead not found")
        return (matches[0], False) if matches else (self._desk.new_id(), True)

    def _create(self, number: int, fields: Record) -> None:
        now = self._desk.stamp()
        name = " ".join(str(fields[n]) for n in ("firstName", "lastName") if fields.get(n))
        begun: Record = {
            "id": number,
            "createdAt": now,
            "personType": "contact",
            "isLead": True,
            "isAnonymous": False,
            "mktoIsPartner": False,
            "mktoIsCustomer": False,
            "emailInvalid": False,
            "unsubscribed": False,
            "leadScore": 0,
            "leadPartitionId": 1,
            "originalSourceType": SOURCE,
            "mktoName": name or None,
        }
        self._desk.write_lead(number, {**begun, **fields})
        attributes: Record = {"Created Date": now[:10], "Source Type": SOURCE}
        primary = (number, name or str(fields.get("email") or ""))
        self._desk.add_activity(number, NEW_LEAD, primary, attributes)

    def _change(self, number: int, fields: Record) -> None:
        before = self._desk.leads[number]
        changed = {name: v for name, v in fields.items() if before.get(name) != v}
        if not changed:
            return
        self._desk.write_lead(number, changed)
        for name, value in changed.items():
            field = self._fields[name]
            attributes: Record = {
                "New Value": value,
                "Old Value": before.get(name),
                "Reason": SOURCE,
                "Source": SOURCE,
            }
            primary = (int(str(field["id"])), str(field["displayName"]))
            self._desk.add_activity(number, CHANGE_VALUE, primary, attributes)


class Writes:
    """Answers the writing part of ``/rest/v1``; what is read back with it, too."""

    def __init__(self, desk: Callable[[], Desk], described: Callable[[], list[Record]]) -> None:
        self._find = desk
        self._described = described

    @property
    def _desk(self) -> Desk:
        return self._find()

    def answer(
        self, method: str, path: str, query: Mapping[str, str], body: object
    ) -> Response | None:
        """The answer; None where this is no address of ours."""
        answer = self._answer(method, path.split("/"), query, body)
        if answer is not None and method != "GET":
            self._desk.keep()
        return answer

    def _answer(
        self, method: str, parts: list[str], query: Mapping[str, str], body: object
    ) -> Response | None:
        match method, *parts:
            case "POST", "leads":
                return self._sync(_object(body))
            case "POST", "leads", "push":
                return self._push(_object(body))
            case "POST", "leads", "submitForm":
                return self._submit(_object(body))
            case ("POST", "leads", "delete") | ("DELETE", "leads"):
                return self._each(_ids(query, body), self._delete)
            case "POST", "leads", "partitions":
                return self._move(_object(body))
            case "POST", "leads", number, "merge":
                return self._merge(number, query)
            case "POST", "leads", number, "associate":
                return self._associate(number, query)
            case "GET", "leads", number, "listMembership" | "programMembership" as kind:
                return self._memberships(number, kind)
            case "GET", "lists", number, "leads", "ismember":
                return self._is_member(number, _ids(query, body))
            case "POST", "lists", number, "leads":
                return self._each(_ids(query, body), self._joining(number, is_in=True))
            case "DELETE", "lists", number, "leads":
                return self._each(_ids(query, body), self._joining(number, is_in=False))
            case "POST", "leads", "programs", number, "status":
                told = _object(body)
                return self._progress(number, told.get("status"), _ids(query, body), "id")
            case "POST", "programs", number, "members", "status":
                told = _object(body)
                leads = _ids({}, body, "leadId")
                return self._progress(number, told.get("statusName"), leads, "leadId")
            case "POST", "programs", number, "members":
                return self._change_members(number, _object(body))
            case "POST", "programs", number, "members", "delete":
                return self._each(_ids({}, body, "leadId"), self._leaving(number), "leadId")
            case "POST", "campaigns", number, "trigger":
                return self._trigger(number, _object(body))
            case "POST", "campaigns", number, "schedule":
                self._campaign(number)
                return envelope({"result": [{"id": int(number)}]})
            case "POST", "activities", "external":
                return self._add_activities(_object(body))
            case _, "activities", "external", *rest:
                return self._types(method, rest, body)
            case _, "customobjects", name, *rest if name == WORKSHOP:
                return self._workshops(method, rest, query, body)
            case "GET", "leads", "schema", "fields":
                return envelope({"result": [_field_schema(f) for f in self._described()]})
            case "POST", "leads", "schema", "fields":
                return self._add_fields(_object(body))
            case "POST", "companies" | "opportunities" | "salespersons" as name, *_:
                raise MarketoError("1018", f"CRM Enabled: {name} is managed by salesforce.com")
        return None

    # Leads

    def _writer(self, told: Record, action: str | None = None) -> LeadWriter:
        asked = action or str(told.get("action") or ACTIONS[0])
        lookup = told.get("lookupField")
        _check_partition(told.get("partitionName"))
        return LeadWriter(self._desk, self._described(), asked, str(lookup) if lookup else None)

    def _sync(self, told: Record) -> Response:
        return envelope({"result": self._writer(told).save(_input(told))})

    def _push(self, told: Record) -> Response:
        name = told.get("programName")
        if not name:
            raise MarketoError("1002", "Missing value for required parameter 'programName'")
        programs = (n for n, p in self._desk.programs.items() if p["name"] == name)
        number = next(programs, None)
        if number is None:
            raise MarketoError("1013", f"Program '{name}' not found")
        status = str(told.get("programStatus") or "Member")
        results = self._writer(told, ACTIONS[0]).save(_input(told))
        for result in results:
            if "id" in result:
                lead = int(str(result["id"]))
                self._join(number, lead, status)
                about: Record = {"Source": told.get("source"), "Reason": told.get("reason")}
                self._desk.add_activity(lead, PUSH_LEAD, (number, str(name)), about)
        return envelope({"result": results})

    def _submit(self, told: Record) -> Response:
        form = told.get("formId")
        if not isinstance(form, int):
            raise MarketoError("1002", "Missing value for required parameter 'formId'")
        sent = [entry.get("leadFormFields") for entry in _input(told)]
        leads = [fields if isinstance(fields, dict) else {} for fields in sent]
        results = self._writer({}, ACTIONS[0]).save(leads)
        for result in results:
            if "id" in result:
                self._desk.add_activity(int(str(result["id"])), 2, (form, f"Form {form}"))
        return envelope({"result": results})

    def _each(
        self,
        ids: Sequence[str],
        act: Callable[[int], str],
        key: str = "id",
    ) -> Response:
        results: list[Record] = []
        for text in ids:
            number = int(text) if text.isdigit() else 0
            try:
                if number not in self._desk.leads:
                    raise Skipped("1004", "Lead not found")
                status: Record = {"status": act(number)}
            except Skipped as skipped:
                status = skipped_result(skipped)
            results.append({key: number, **status})
        return envelope({"result": results})

    def _delete(self, number: int) -> str:
        lead = self._desk.leads[number]
        name = str(lead.get("mktoName") or lead.get("email"))
        self._desk.delete_lead(number)
        self._desk.add_activity(number, DELETE_LEAD, (number, name), {"Remove from CRM": False})
        return "deleted"

    def _move(self, told: Record) -> Response:
        def moved(number: int) -> str:
            return "updated"

        for entry in _input(told):
            _check_partition(entry.get("partitionName"))
        return self._each(_ids({}, told), moved)

    def _lead(self, text: str) -> int:
        number = int(text) if text.isdigit() else 0
        if number not in self._desk.leads:
            raise MarketoError("1004", f"Lead '{text}' not found")
        return number

    def _merge(self, text: str, query: Mapping[str, str]) -> Response:
        winner = self._lead(text)
        named = split_list(query.get("leadIds")) or split_list(query.get("leadId"))
        if not named:
            raise MarketoError("1002", "Missing value for required parameter 'leadId'")
        losers = [self._lead(each) for each in named]
        if len(losers) > 25 or winner in losers:
            raise MarketoError("1003", "Invalid value for 'leadIds'")
        kept: Record = {}
        for loser in losers:
            kept = {**{n: v for n, v in self._desk.leads[loser].items() if v is not None}, **kept}
            for number, who in list(self._desk.list_members.items()):
                if loser in who and winner not in who:
                    self._desk.join_list(number, winner, is_in=True)
            for (program, lead), member in list(self._desk.members.items()):
                if lead == loser and (program, winner) not in self._desk.members:
                    self._desk.write_member(program, winner, {**member, "leadId": winner})
            self._desk.delete_lead(loser)
        own = {n: v for n, v in self._desk.leads[winner].items() if v is not None}
        self._desk.write_lead(winner, {**kept, **own})
        told: Record = {
            "Merge IDs": str(losers),
            "Master Updated": True,
            "Merged in Sales": query.get("mergeInCRM", "").lower() == "true",
            "Merge Source": SOURCE,
        }
        name = str(own.get("mktoName") or own.get("email"))
        self._desk.add_activity(winner, MERGE_LEADS, (winner, name), told)
        return envelope({})

    def _associate(self, text: str, query: Mapping[str, str]) -> Response:
        cookie = query.get("cookie", "")
        if not re.fullmatch(r"(id:[\w-]+&token:)?_mch-[\w.-]+", cookie):
            raise MarketoError("1012", "Invalid cookie value")
        self._desk.write_lead(self._lead(text), {"cookies": cookie})
        return envelope({})

    def _memberships(self, text: str, kind: str) -> Response:
        lead = self._lead(text)
        result: list[Record] = []
        if kind == "listMembership":
            for number, who in sorted(self._desk.list_members.items()):
                if lead in who:
                    times = {"membershipDate": who[lead], "updatedAt": who[lead]}
                    result.append({"id": len(result), "listId": number, **times})
        else:
            for (program, who_is), member in sorted(self._desk.members.items()):
                if who_is == lead:
                    names = ("statusName", "membershipDate", "reachedSuccess", "updatedAt")
                    told = {name: member.get(name) for name in names}
                    told["progressionStatus"] = told.pop("statusName")
                    result.append({"id": len(result), "programId": program, **told})
        return envelope({"result": result})

    # Lists

    def _list(self, text: str) -> int:
        number = int(text) if text.isdigit() else 0
        if number not in self._desk.lists:
            raise MarketoError("1013", f"List '{text}' not found")
        return number

    def _joining(self, text: str, *, is_in: bool) -> Callable[[int], str]:
        number = self._list(text)
        name = str(self._desk.lists[number]["name"])

        def act(lead: int) -> str:
            was_in = lead in self._desk.list_members.get(number, {})
            if not was_in and not is_in:
                raise Skipped("1015", "Lead not in list")
            if was_in is not is_in:
                self._desk.join_list(number, lead, is_in=is_in)
                kind = ADD_TO_LIST if is_in else REMOVE_FROM_LIST
                self._desk.add_activity(lead, kind, (number, name), {"Source": SOURCE})
            return "added" if is_in else "removed"

        return act

    def _is_member(self, text: str, ids: Sequence[str]) -> Response:
        who = self._desk.list_members.get(self._list(text), {})
        return self._each(ids, lambda lead: "memberof" if lead in who else "notmemberof")

    # Programs and campaigns

    def _program(self, text: str) -> int:
        number = int(text) if text.isdigit() else 0
        if number not in self._desk.programs:
            raise MarketoError("1013", f"Program '{text}' not found")
        return number

    def _join(self, program: int, lead: int, status: str) -> str:
        before = self._desk.members.get((program, lead))
        now = self._desk.stamp()
        if status == "Not in Program":
            if before is None:
                raise Skipped("1015", "Lead not in program")
            self._desk.write_member(program, lead, None)
            return "deleted"
        change: Record = {"statusName": status, "updatedAt": now}
        if before is None:
            change |= {
                "leadId": lead,
                "programId": program,
                "program": self._desk.programs[program]["name"],
                "acquiredBy": False,
                "isExhausted": False,
                "reachedSuccess": False,
                "reachedSuccessDate": None,
                "membershipDate": now,
                "createdAt": now,
            }
        self._desk.write_member(program, lead, change)
        told: Record = {
            "New Status": status,
            "Old Status": None if before is None else before["statusName"],
            "Reason": SOURCE,
        }
        name = str(self._desk.programs[program]["name"])
        self._desk.add_activity(lead, CHANGE_PROGRESSION, (program, name), told)
        return "created" if before is None else "updated"

    def _progress(self, text: str, status: object, ids: Sequence[str], key: str) -> Response:
        program = self._program(text)
        if not isinstance(status, str) or not status:
            name = "status" if key == "id" else "statusName"
            raise MarketoError("1002", f"Missing value for required parameter '{name}'")
        return self._each(ids, lambda lead: self._join(program, lead, status), key)

    def _leaving(self, text: str) -> Callable[[int], str]:
        program = self._program(text)
        return lambda lead: self._join(program, lead, "Not in Program")

    def _change_members(self, text: str, told: Record) -> Response:
        program = self._program(text)
        entries = {str(entry.get("leadId")): entry for entry in _input(told)}

        def act(lead: int) -> str:
            if (program, lead) not in self._desk.members:
                raise Skipped("1015", "Lead not in program")
            fields = {n: v for n, v in entries[str(lead)].items() if n != "leadId"}
            self._desk.write_member(program, lead, {**fields, "updatedAt": self._desk.stamp()})
            return "updated"

        return self._each(list(entries), act, "leadId")

    def _campaign(self, text: str) -> Record:
        found = self._desk.campaigns.get(int(text)) if text.isdigit() else None
        if found is None:
            raise MarketoError("1013", f"Campaign '{text}' not found")
        return found

    def _trigger(self, text: str, told: Record) -> Response:
        name = str(self._campaign(text)["name"])
        given = told.get("input")
        leads = _ids({}, {"input": given.get("leads")} if isinstance(given, dict) else {})
        if len(leads) > 100:
            raise MarketoError("1003", "Number of leads exceeds the limit of 100")
        for lead in [self._lead(each) for each in leads]:
            self._desk.add_activity(lead, REQUEST_CAMPAIGN, (int(text), name), {"Source": SOURCE})
        return envelope({"result": [{"id": int(text)}]})

    # Activities of the subscription's own

    def _add_activities(self, told: Record) -> Response:
        types = {
            str(kind["id"]): kind for kind in self._desk.types.values() if kind["status"] != "draft"
        }
        results: list[Record] = []
        for entry in _input(told):
            try:
                kind = types.get(str(entry.get("activityTypeId")))
                if kind is None:
                    raise Skipped("1013", "Activity type not found")
                lead = str(entry.get("leadId"))
                if not lead.isdigit() or int(lead) not in self._desk.leads:
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
                told = _object(body)
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
                told = _object(body)
                names = ("name", "description", "filterName", "triggerName")
                kind |= {name: told[name] for name in names if name in told}
            case "POST", "approve":
                kind["status"] = "approved"
            case "POST", "delete":
                del kinds[parts[1]]
            case "POST", "attributes", "create":
                listed = kind["attributes"]
                added = _object(body).get("attributes")
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
            case ("GET",):
                return self._find_workshops(query)
            case ("POST",):
                told = _object(body)
                results = [
                    {
                        "seq": seq,
                        **self._save_workshop(entry, str(told.get("action") or ACTIONS[0])),
                    }
                    for seq, entry in enumerate(_input(told))
                ]
                return envelope({"result": results})
            case "POST", "delete":
                return envelope({"result": self._delete_workshops(_input(_object(body)))})
        return None

    def _find_workshops(self, query: Mapping[str, str]) -> Response:
        kind = query.get("filterType", "")
        if kind not in (*WORKSHOP_FIELDS[:3], "idField"):
            raise MarketoError("1003", f"Invalid filterType '{kind}'")
        kind = WORKSHOP_FIELDS[0] if kind == "idField" else kind
        wanted = split_list(query.get("filterValues"))
        if not wanted:
            raise MarketoError("1002", "Missing value for required parameter 'filterValues'")
        found = [w for w in self._desk.workshops.values() if str(w.get(kind)) in wanted]
        return envelope({"result": [{"seq": n, **w} for n, w in enumerate(found)]})

    def _known_workshop(self, entry: Record) -> Record | None:
        if guid := entry.get("marketoGUID"):
            return self._desk.workshops.get(str(guid))
        for known in self._desk.workshops.values():
            if all(str(known.get(n)) == str(entry.get(n)) for n in ("leadId", "workshopName")):
                return known
        return None

    def _save_workshop(self, entry: Record, action: str) -> Record:
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
        for entry in _input(told):
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


def skipped_result(skipped: Skipped) -> Record:
    """The result of a record that was not written."""
    reasons = [{"code": skipped.code, "message": skipped.message}]
    return {"status": "skipped", "reasons": reasons}


def _check_partition(name: object) -> None:
    if name not in (None, "", "Default"):
        raise MarketoError("1003", f"Lead partition '{name}' not found")


def _object(body: object) -> Record:
    if not isinstance(body, dict):
        raise MarketoError("609", "Invalid JSON")
    return body


def _input(told: Record) -> list[Record]:
    given = told.get("input")
    if not isinstance(given, list) or not given:
        raise MarketoError("1002", "Missing value for required parameter 'input'")
    if len(given) > BATCH:
        raise MarketoError("1003", f"Number of records in 'input' exceeds the limit of {BATCH}")
    if not all(isinstance(entry, dict) for entry in given):
        raise MarketoError("609", "Invalid JSON")
    return given


def _ids(query: Mapping[str, str], body: object, key: str = "id") -> list[str]:
    """The leads that a request names: in its address or in its body."""
    named = split_list(query.get("id"))
    if not named and isinstance(body, dict):
        named = [str(entry.get(key)) for entry in _input(body)]
    if not named:
        raise MarketoError("1002", f"Missing value for required parameter '{key}'")
    if len(named) > BATCH:
        raise MarketoError("1003", f"Number of ids exceeds the limit of {BATCH}")
    return named


def _typed(name: str, kind: str, value: object) -> object:
    """The value as the field's type has it; Marketo takes texts of all types."""
    if value is None or value in ("", "NULL", "null"):
        return None
    refused = Skipped(
        "1001", f"Invalid value '{value}' for field '{name}'. Required of type '{kind}'"
    )
    try:
        if kind in ("integer", "score", "reference"):
            return int(str(value))
        if kind in ("float", "currency", "percent"):
            return float(str(value))
        if kind == "boolean":
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if kind == "datetime":
            return wire_time(str(value), name)
        if kind == "date":
            return date.fromisoformat(str(value)[:10]).isoformat()
    except (ValueError, KeyError, MarketoError):
        raise refused from None
    if isinstance(value, (list, dict)):
        raise refused
    text = str(value)
    return text[:255] if kind in ("string", "email", "phone", "url") else text


def _field_schema(field: Record) -> Record:
    name = rest_name(field) if "rest" in field else str(field["displayName"])
    return {
        "name": name,
        "displayName": field["displayName"],
        "dataType": field["dataType"],
        "length": field.get("length"),
        "isHidden": False,
        "isHtmlEncodingInEmail": True,
        "isSensitive": False,
        "isCustom": name.endswith("__c"),
        "isApiCreated": int(str(field["id"])) >= 9_000_000,
    }
