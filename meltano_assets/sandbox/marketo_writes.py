"""What clients write into Marketo's lead database, one record at a time judged and answered.

A request that makes no sense is an error as a whole; a record that cannot be written is ``skipped`` with
its reasons and disturbs no other. Written from the Swagger description and the vendor's list of codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from starlette.responses import Response

from meltano_assets.sandbox.company_marketing import (
    ADD_TO_LIST,
    CHANGE_PROGRESSION,
    DELETE_LEAD,
    MERGE_LEADS,
)
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_custom import Customs
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_leads import (
    ACTIONS,
    SOURCE,
    LeadWriter,
    Skipped,
    skipped_result,
)
from meltano_assets.sandbox.marketo_wire import (
    BATCH,
    MarketoError,
    envelope,
    input_of,
    object_of,
    split_list,
)
from meltano_assets.sandbox.numbers import is_number

REMOVE_FROM_LIST, REQUEST_CAMPAIGN, PUSH_LEAD = 25, 47, 145


class Writes:
    """Answers the writing part of ``/rest/v1``; what is read back with it, too."""

    def __init__(self, desk: Callable[[], Desk], described: Callable[[], list[Record]]) -> None:
        self._find = desk
        self._described = described
        self.customs = Customs(desk, described)

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
                return self._sync(object_of(body))
            case "POST", "leads", "push":
                return self._push(object_of(body))
            case "POST", "leads", "submitForm":
                return self._submit(object_of(body))
            case ("POST", "leads", "delete") | ("DELETE", "leads"):
                return self._each(_ids(query, body), self._delete)
            case "POST", "leads", "partitions":
                return self._move(object_of(body))
            case "POST", "leads", number, "merge":
                return self._merge(number, query)
            case "POST", "leads", number, "associate":
                return self._associate(number, query)
            case "GET", "leads", number, "listMembership" | "programMembership" as kind:
                return self._memberships(number, kind)
            case "GET", "leads", number, "smartCampaignMembership":
                return self._campaigns_of(self._lead(number))
            case "GET", "lists", number, "leads", "ismember":
                return self._is_member(number, _ids(query, body))
            case "POST", "lists", number, "leads":
                return self._each(_ids(query, body), self._joining(number, is_in=True))
            case "DELETE", "lists", number, "leads":
                return self._each(_ids(query, body), self._joining(number, is_in=False))
            case "POST", "leads", "programs", number, "status":
                told = object_of(body)
                return self._progress(number, told.get("status"), _ids(query, body), "id")
            case "POST", "programs", number, "members", "status":
                told = object_of(body)
                leads = _ids({}, body, "leadId")
                return self._progress(number, told.get("statusName"), leads, "leadId")
            case "POST", "programs", number, "members":
                return self._change_members(number, object_of(body))
            case "POST", "programs", number, "members", "delete":
                return self._each(_ids({}, body, "leadId"), self._leaving(number), "leadId")
            case "POST", "campaigns", number, "trigger":
                return self._trigger(number, object_of(body))
            case "POST", "campaigns", number, "schedule":
                self._campaign(number)
                return envelope({"result": [{"id": int(number)}]})
            case "POST", "companies" | "opportunities" | "salespersons" as name, *_:
                raise MarketoError("1018", f"CRM Enabled: {name} is managed by salesforce.com")
        return self.customs.answer(method, parts, query, body)

    # Leads

    def _writer(self, told: Record, action: str | None = None) -> LeadWriter:
        asked = action or str(told.get("action") or ACTIONS[0])
        lookup = told.get("lookupField")
        _check_partition(told.get("partitionName"))
        return LeadWriter(self._desk, self._described(), asked, str(lookup) if lookup else None)

    def _sync(self, told: Record) -> Response:
        return envelope({"result": self._writer(told).save(input_of(told))})

    def _push(self, told: Record) -> Response:
        name = told.get("programName")
        if not name:
            raise MarketoError("1002", "Missing value for required parameter 'programName'")
        programs = (n for n, p in self._desk.programs.items() if p["name"] == name)
        number = next(programs, None)
        if number is None:
            raise MarketoError("1013", f"Program '{name}' not found")
        status = str(told.get("programStatus") or "Member")
        results = self._writer(told, ACTIONS[0]).save(input_of(told))
        for result in results:
            if "id" in result:
                lead = int(str(result["id"]))
                self.join(number, lead, status)
                about: Record = {"Source": told.get("source"), "Reason": told.get("reason")}
                self._desk.add_activity(lead, PUSH_LEAD, (number, str(name)), about)
        return envelope({"result": results})

    def _submit(self, told: Record) -> Response:
        form = told.get("formId")
        if not isinstance(form, int):
            raise MarketoError("1002", "Missing value for required parameter 'formId'")
        sent = [entry.get("leadFormFields") for entry in input_of(told)]
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
            number = int(text) if is_number(text) else 0
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

        for entry in input_of(told):
            _check_partition(entry.get("partitionName"))
        return self._each(_ids({}, told), moved)

    def _lead(self, text: str) -> int:
        number = int(text) if is_number(text) else 0
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

    def _campaigns_of(self, lead: int) -> Response:
        """The smart campaigns that did something to the lead."""
        numbers = {a["campaignId"] for a in self._desk.activities if a["leadId"] == lead}
        result: list[Record] = [
            {
                "smartCampaignId": number,
                "createdAt": campaign["createdAt"],
                "updatedAt": campaign["updatedAt"],
            }
            for number, campaign in sorted(self._desk.campaigns.items())
            if number in numbers
        ]
        return envelope({"result": result, "moreResult": False})

    # Lists

    def _list(self, text: str) -> int:
        number = int(text) if is_number(text) else 0
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

    def program(self, text: str) -> int:
        """The program of that number; 1013 when there is none."""
        number = int(text) if is_number(text) else 0
        if number not in self._desk.programs:
            raise MarketoError("1013", f"Program '{text}' not found")
        return number

    def join(self, program: int, lead: int, status: str) -> str:
        """A lead enters a program, moves on in it or leaves it; what became of it."""
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
        program = self.program(text)
        if not isinstance(status, str) or not status:
            name = "status" if key == "id" else "statusName"
            raise MarketoError("1002", f"Missing value for required parameter '{name}'")
        return self._each(ids, lambda lead: self.join(program, lead, status), key)

    def _leaving(self, text: str) -> Callable[[int], str]:
        program = self.program(text)
        return lambda lead: self.join(program, lead, "Not in Program")

    def _change_members(self, text: str, told: Record) -> Response:
        program = self.program(text)
        entries = {str(entry.get("leadId")): entry for entry in input_of(told)}

        def act(lead: int) -> str:
            if (program, lead) not in self._desk.members:
                raise Skipped("1015", "Lead not in program")
            fields = {n: v for n, v in entries[str(lead)].items() if n != "leadId"}
            self._desk.write_member(program, lead, {**fields, "updatedAt": self._desk.stamp()})
            return "updated"

        return self._each(list(entries), act, "leadId")

    def _campaign(self, text: str) -> Record:
        found = self._desk.campaigns.get(int(text)) if is_number(text) else None
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


def _check_partition(name: object) -> None:
    if name not in (None, "", "Default"):
        raise MarketoError("1003", f"Lead partition '{name}' not found")


def _ids(query: Mapping[str, str], body: object, key: str = "id") -> list[str]:
    """The leads that a request names: in its address or in its body."""
    named = split_list(query.get("id"))
    if not named and isinstance(body, dict):
        named = [str(entry.get(key)) for entry in input_of(body)]
    if not named:
        raise MarketoError("1002", f"Missing value for required parameter '{key}'")
    if len(named) > BATCH:
        raise MarketoError("1003", f"Number of ids exceeds the limit of {BATCH}")
    return named
