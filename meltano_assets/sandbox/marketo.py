"""Marketo Engage, as its Swagger descriptions and its clients have it.

Identity (``/identity``), lead database (``/rest/v1``), assets (``/rest/asset/v1``) and bulk extract
(``/bulk/v1``, see ``marketo_bulk``). Whatever goes wrong is told by HTTP 200 with ``success: false``
and a code, as the service does. Paths may end in ``.json``. Tokens and limits go by the real clock,
records by the company's.
"""

from __future__ import annotations

import posixpath
import secrets
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_marketing import CHANGE_VALUE, DELETE_LEAD
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.marketo_assets import Assets
from meltano_assets.sandbox.marketo_bulk import BulkExtract
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_import import BulkImport
from meltano_assets.sandbox.marketo_schema import (
    ACTIVITY_FIELDS,
    DEFAULT_LEAD_FIELDS,
    MEMBER_FIELDS,
    SEARCHABLE,
    WORKSHOP,
    about_workshops,
    activity_types,
    lead_fields,
)
from meltano_assets.sandbox.marketo_wire import (
    BATCH,
    Limits,
    MarketoError,
    TooLarge,
    batch_size,
    envelope,
    make_token,
    marketo_day,
    read_asked,
    read_token,
    rest_name,
    split_list,
    wire_time,
)
from meltano_assets.sandbox.marketo_writes import Writes
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import HttpService, json_response
from meltano_assets.sandbox.state import StateFolder

TOKEN_SECONDS = 3_600
#: So many activities are looked through for one answer, whether they fit the question or not.
SCANNED = 1_000
#: Bytes of an address.
_LONGEST_ADDRESS = 8 << 10


class Marketo:
    """The marketing platform of the company at the address of its service."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        *,
        client_id: str,
        client_secret: str,
        folder: Path,
        limits: Limits,
        now: Callable[[], datetime] | None = None,
        kept: StateFolder | None = None,
    ) -> None:
        self._day = day
        self._client_id = client_id
        self._client_secret = client_secret
        self._limits = limits
        self._token = ""
        self._token_until = 0.0
        self._old_tokens: deque[str] = deque(maxlen=100)
        self._recent: deque[float] = deque()
        self._today = ""
        self._calls_today = 0
        self._errors_today: Counter[str] = Counter()
        self._running = 0
        self._desk = Desk(company, now or (lambda: company.now(day())), kept)
        self._company = company
        self._types = activity_types()
        self._fields = lead_fields()
        self.service = HttpService("marketo", "Marketo Engage", self.handle, self._error)
        self._assets = Assets(company, self.service.faults)
        self._bulk = BulkExtract(self, folder, self.service.faults, limits)
        self._writes = Writes(lambda: self.desk, self.described)
        self._imports = BulkImport(lambda: self.desk, self.described, self._writes)

    # Requests

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        # Clients write ``/rest/../bulk``, which servers follow.
        path = posixpath.normpath(request.url.path).removesuffix(".json")
        if len(request.url.path) + len(request.url.query) > _LONGEST_ADDRESS:
            return PlainTextResponse("Request-URI Too Long", 414)
        try:
            query, body = await read_asked(request)
        except TooLarge:
            return PlainTextResponse("Request Entity Too Large", 413)
        except ValueError:
            return self._refuse(MarketoError("609", "Invalid JSON"))
        if path == "/identity/oauth/token":
            return self._identity(request, query)
        self._running += 1
        try:
            self._admit(request, query)
            method = query.get("_method", request.method).upper()
            if path.startswith("/bulk/v1/"):
                asked = path.removeprefix("/bulk/v1/")
                begun = self._imports.answer(method, asked, query, body, request.headers)
                if begun is not None:
                    return begun
                return await self._bulk.handle(method, asked, query, body, request.headers)
            if path.startswith("/rest/asset/v1/"):
                asked = path.removeprefix("/rest/asset/v1/")
                return self._assets.answer(method, asked, query, self.desk)
            if path.startswith("/rest/v1/"):
                asked = path.removeprefix("/rest/v1/")
                written = self._writes.answer(method, asked, query, body)
                if written is not None:
                    return written
                if method != "GET":
                    raise MarketoError("603", "Access denied")
                return self._database(asked, query)
            raise MarketoError("610", "Requested resource not found")
        except MarketoError as error:
            return self._refuse(error)
        finally:
            self._running -= 1

    def _refuse(self, error: MarketoError) -> Response:
        self._errors_today[error.code] += 1
        errors = [{"code": error.code, "message": error.message}]
        return envelope({"errors": errors}, success=False)

    def _identity(self, request: Request, query: Mapping[str, str]) -> Response:
        if request.method not in ("GET", "POST"):
            return json_response({"error": "method_not_allowed"}, 405)
        is_known = secrets.compare_digest(
            f"{query.get('client_id')}\n{query.get('client_secret')}".encode(),
            f"{self._client_id}\n{self._client_secret}".encode(),
        )
        if not is_known:
            description = "No client with requested id" + f": {query.get('client_id', '')}"
            if query.get("client_id") == self._client_id:
                description = "Bad client credentials"
            return json_response({"error": "unauthorized", "error_description": description}, 401)
        if query.get("grant_type") != "client_credentials":
            return json_response(
                {
                    "error": "unsupported_grant_type",
                    "error_description": f"Unsupported grant type: {query.get('grant_type')}",
                },
                400,
            )
        now = time.monotonic()
        if not self._token or now >= self._token_until:
            self._forget_token()
            self._token = f"{secrets.token_hex(16)}:sj"
            self._token_until = now + TOKEN_SECONDS
        return json_response(
            {
                "access_token": self._token,
                "token_type": "bearer",
                "expires_in": max(0, int(self._token_until - now) - 1),
                "scope": "api@meltano-sandbox.com",
            }
        )

    def _forget_token(self) -> None:
        if self._token:
            self._old_tokens.append(self._token)
        self._token = ""

    def _admit(self, request: Request, query: Mapping[str, str]) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        token = given.strip() if scheme.lower() == "bearer" else query.get("access_token", "")
        if not token:
            raise MarketoError("600", "Access token not specified")
        if token in self._old_tokens or (
            token == self._token and time.monotonic() >= self._token_until
        ):
            raise MarketoError("602", "Access token expired")
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            raise MarketoError("601", "Access token invalid")
        self._count_call()

    def _count_call(self) -> None:
        limits, now = self._limits, time.monotonic()
        while self._recent and now - self._recent[0] >= limits.seconds:
            self._recent.popleft()
        if self._running > limits.at_once or self.service.faults.take("too_many_at_once"):
            raise MarketoError("615", "Concurrent access limit reached")
        if len(self._recent) >= limits.calls:
            message = (
                f"Max rate limit '{limits.calls}' exceeded with in '{limits.seconds:.0f}' secs"
            )
            raise MarketoError("606", message)
        self._recent.append(now)
        if (today := marketo_day()) != self._today:
            self._today, self._calls_today = today, 0
            self._errors_today.clear()
        if self._calls_today >= limits.calls_a_day or self.service.faults.take("quota"):
            raise MarketoError("607", f"Max daily quota '{limits.calls_a_day}' reached")
        self._calls_today += 1

    def _error(self, kind: str, fault: Fault) -> Response | None:
        if kind == "throttle":
            limits = self._limits
            message = (
                f"Max rate limit '{limits.calls}' exceeded with in '{limits.seconds:.0f}' secs"
            )
            return self._refuse(MarketoError("606", message))
        if kind == "expire_session":
            self._forget_token()
            return None
        if kind == "unavailable":
            return self._refuse(MarketoError("608", "API temporarily unavailable"))
        code = fault.text("code")
        if code:
            return self._refuse(MarketoError(code, fault.text("message", "System error")))
        return json_response({"error": "Internal Server Error"}, 500)

    # Records

    @property
    def desk(self) -> Desk:
        """The records as they stand on the company's day."""
        return self._desk.at(self._day())

    def changes(self, since: int, until: int) -> dict[str, int]:
        """Kind of record → how many came or changed from one day to another."""
        return self.desk.changes(self._company.now(since), self._company.now(until))

    def activities_between(self, start: str, end: str) -> list[Record]:
        """Activities of a span of time, both ends in it."""
        desk = self.desk
        first = bisect_left(desk.activity_times, start)
        return desk.activities[first : bisect_left(desk.activity_times, f"{end}~")]

    def changed_schema(self, subject: str) -> Fault | None:
        """The change of schema that is in force for leads, activities and so on."""
        return self.service.faults.take("change_schema", subject)

    def described(self) -> list[Record]:
        """The lead fields, as they are at the moment."""
        fields = [*self._fields, *self.desk.fields.values()]
        fault = self.changed_schema("leads")
        if fault is None:
            return fields
        drop, add, retype = (fault.options.get(name) for name in ("drop", "add", "retype"))
        gone = drop if isinstance(drop, list) else []
        fields = [f for f in fields if "rest" not in f or rest_name(f) not in gone]
        if isinstance(retype, dict):
            fields = [
                {**f, "dataType": "string"} if "rest" in f and rest_name(f) in retype else f
                for f in fields
            ]
        for place, name in enumerate(add if isinstance(add, dict) else {}):
            fields.append(
                {
                    "id": 9_000 + place,
                    "displayName": name,
                    "dataType": "string",
                    "length": 255,
                    "rest": {"name": name, "readOnly": False},
                }
            )
        return fields

    # Pages

    def _page(self, query: Mapping[str, str], kind: str, records: list[Record]) -> Response:
        """One page of a list, with a token where more follows."""
        size = batch_size(query)
        begin = read_token(query.get("nextPageToken"), kind)
        if begin and self.service.faults.take("lose_cursor", kind):
            raise MarketoError("1003", "Invalid value for 'nextPageToken'")
        page = records[begin : begin + size]
        content: dict[str, object] = {"result": page}
        if begin + size < len(records):
            is_stuck = self.service.faults.take("repeat_page", kind)
            content["nextPageToken"] = make_token(kind, begin if is_stuck else begin + size)
        return envelope(content)

    # The lead database

    def _database(self, path: str, query: Mapping[str, str]) -> Response:
        parts = path.split("/")
        match parts:
            case ["leads"]:
                return self._leads_by_filter(query)
            case ["lead", number]:
                lead = self.desk.leads.get(int(number)) if is_number(number) else None
                if lead is None:
                    raise MarketoError("1004", f"Lead '{number}' not found")
                return envelope({"result": self._leads([lead], query)})
            case ["leads", "describe"]:
                return envelope({"result": self.described()})
            case ["leads", "describe2"]:
                return envelope({"result": [self._described_anew()]})
            case ["leads", "partitions"]:
                result = [{"id": 1, "name": "Default", "description": "Initial partition"}]
                return envelope({"result": result})
            case ["leads", "programs", number]:
                return self._members_as_leads(int(number) if is_number(number) else 0, query)
            case ["programs", number, "members"]:
                return self._program_members(int(number) if is_number(number) else 0, query)
            case ["programs" | "program", "members", "describe"]:
                fields = [
                    {"name": name, "displayName": name, "dataType": kind, "updateable": False}
                    for name, kind in MEMBER_FIELDS.items()
                ]
                searchable = [["leadId"], ["statusName"], ["reachedSuccess"]]
                about = {
                    "name": "API Program Membership",
                    "description": "Map for API program membership fields",
                    "createdAt": "2020-02-11T00:00:00Z",
                    "updatedAt": "2020-02-11T00:00:00Z",
                    "dedupeFields": ["leadId", "programId"],
                    "searchableFields": searchable,
                    "fields": fields,
                }
                return envelope({"result": [about]})
            case ["lists"]:
                return self._named(query, "lists", self.desk.lists)
            case ["lists", number] if is_number(number):
                return self._one(self.desk.lists.get(int(number)), f"List '{number}'")
            case ["lists" | "list", number, "leads"] if is_number(number):
                return self._list_leads(int(number), query)
            case ["campaigns"]:
                return self._named(query, "campaigns", self.desk.campaigns)
            case ["campaigns", number] if is_number(number):
                return self._one(self.desk.campaigns.get(int(number)), f"Campaign '{number}'")
            case ["activities", "types"]:
                return envelope({"result": [*self._types, *self._own_types()]})
            case ["activities", "pagingtoken"]:
                since = wire_time(query.get("sinceDatetime"), "sinceDatetime")
                return envelope({"nextPageToken": self._token_since(since)})
            case ["activities"]:
                return self._read_activities(query)
            case ["activities", "deletedleads"]:
                return self._activity_page(query, {DELETE_LEAD}, set(), "deletedleads")
            case ["activities", "leadchanges"]:
                return self._lead_changes(query)
            case ["stats", "usage" | "errors" as kind, *rest] if rest in ([], ["last7days"]):
                return self._stats(kind)
            case ["customobjects"]:
                names = split_list(query.get("names")) or [WORKSHOP]
                return envelope({"result": [about_workshops()] if WORKSHOP in names else []})
            case ["customobjects", name, *_]:
                raise MarketoError("1013", f"Object '{name}' not found")
            case ["companies" | "opportunities" | "salespersons" as name, *_]:
                raise MarketoError("1018", f"CRM Enabled: {name} is managed by salesforce.com")
            case ["namedaccounts" | "namedAccountLists" | "namedAccountList", *_]:
                raise MarketoError("603", "Access denied")
        raise MarketoError("610", "Requested resource not found")

    def _own_types(self) -> Iterator[Record]:
        for kind in self.desk.types.values():
            if kind["status"] != "draft":
                names = ("id", "name", "apiName", "description", "primaryAttribute", "attributes")
                yield {name: kind[name] for name in names}

    def _one(self, record: Record | None, name: str) -> Response:
        if record is None:
            raise MarketoError("1013", f"{name} not found")
        return envelope({"result": [record]})

    def _named(
        self, query: Mapping[str, str], kind: str, records: Mapping[int, Record]
    ) -> Response:
        chosen = [records[number] for number in sorted(records)]
        for parameter, field in (
            ("id", "id"),
            ("name", "name"),
            ("programName", "programName"),
            ("workspaceName", "workspaceName"),
        ):
            if parameter in query:
                wanted = query[parameter].split(",")
                chosen = [r for r in chosen if str(r.get(field)) in wanted]
        if query.get("isTriggerable") in ("true", "1"):
            chosen = []
        return self._page(query, kind, chosen)

    def _leads(self, leads: Iterable[Record], query: Mapping[str, str]) -> list[Record]:
        names = split_list(query.get("fields")) or list(DEFAULT_LEAD_FIELDS)
        known = {rest_name(field) for field in self.described() if "rest" in field}
        for name in names:
            if name not in known:
                raise MarketoError("1006", f"Field '{name}' not found")
        if "id" not in names:
            names.insert(0, "id")
        return [{name: lead.get(name) for name in names} for lead in leads]

    def _described_anew(self) -> Record:
        fields = [
            {
                "name": rest_name(field),
                "displayName": field["displayName"],
                "dataType": field["dataType"],
                "length": field.get("length"),
                "updateable": not _is_read_only(field),
                "crmManaged": rest_name(field).startswith("sfdc"),
            }
            for field in self.described()
            if "rest" in field
        ]
        return {
            "name": "API Lead",
            "searchableFields": [[name] for name in SEARCHABLE],
            "fields": fields,
        }

    def _leads_by_filter(self, query: Mapping[str, str]) -> Response:
        kind = query.get("filterType")
        if not kind:
            raise MarketoError("1002", "Missing value for required parameter 'filterType'")
        values = split_list(query.get("filterValues"))
        if not values:
            raise MarketoError("1002", "Missing value for required parameter 'filterValues'")
        if len(values) > BATCH:
            raise MarketoError("1003", f"Number of filterValues exceeds the limit of {BATCH}")
        if kind not in SEARCHABLE and not kind.endswith("__c"):
            raise MarketoError("1003", f"Invalid filterType '{kind}'")
        leads = self.desk.leads
        if kind == "id":
            found = [leads[int(v)] for v in values if is_number(v) and int(v) in leads]
        else:
            wanted = {value.lower() for value in values}
            found = [lead for lead in leads.values() if str(lead.get(kind)).lower() in wanted]
        return self._page(query, "leads", self._leads(found, query))

    def _list_leads(self, number: int, query: Mapping[str, str]) -> Response:
        if number not in self.desk.lists:
            raise MarketoError("1013", f"List '{number}' not found")
        leads = [self.desk.leads[lead] for lead in sorted(self.desk.list_members.get(number, {}))]
        return self._page(query, f"list{number}", self._leads(leads, query))

    def _members_of(self, program: int) -> list[Record]:
        if program not in self.desk.programs:
            raise MarketoError("1013", f"Program '{program}' not found")
        members = self.desk.members
        return [members[key] for key in sorted(members) if key[0] == program]

    def _members_as_leads(self, program: int, query: Mapping[str, str]) -> Response:
        members = self._members_of(program)
        leads = self._leads((self.desk.leads[int(str(m["leadId"]))] for m in members), query)
        for lead, member in zip(leads, members, strict=True):
            lead["membership"] = {
                "id": int(str(member["leadId"])),
                "acquiredBy": member["acquiredBy"],
                "isExhausted": member["isExhausted"],
                "membershipDate": member["membershipDate"],
                "progressionStatus": member["statusName"],
                "reachedSuccess": member["reachedSuccess"],
                "reachedSuccessDate": member["reachedSuccessDate"],
                "updatedAt": member["updatedAt"],
            }
        return self._page(query, f"program{program}", leads)

    def _program_members(self, program: int, query: Mapping[str, str]) -> Response:
        members = self._members_of(program)
        kind = query.get("filterType", "")
        if kind == "updatedAt":
            start = wire_time(query.get("startAt"), "startAt")
            end = wire_time(query.get("endAt"), "endAt")
            members = [m for m in members if start <= str(m["updatedAt"]) <= end]
        elif kind in ("leadId", "statusName", "reachedSuccess"):
            wanted = [value.lower() for value in split_list(query.get("filterValues"))]
            members = [m for m in members if str(m[kind]).lower() in wanted]
        else:
            raise MarketoError("1003", f"Invalid filterType '{kind}'")
        result = [{"seq": seq, **member} for seq, member in enumerate(members)]
        return self._page(query, f"members{program}", result)

    # Activities

    def _token_since(self, since: str) -> str:
        return make_token("activities", bisect_left(self.desk.activity_times, since))

    def _read_activities(self, query: Mapping[str, str]) -> Response:
        types = split_list(query.get("activityTypeIds"))
        if not types or not all(is_number(kind) for kind in types):
            raise MarketoError("1003", "Invalid value for 'activityTypeIds'")
        if len(types) > 10:
            raise MarketoError("1003", "Number of activityTypeIds exceeds the limit of 10")
        leads = split_list(query.get("leadIds"))
        if len(leads) > 30:
            raise MarketoError("1003", "Number of leadIds exceeds the limit of 30")
        return self._activity_page(
            query, {int(kind) for kind in types}, {int(lead) for lead in leads}, "activities"
        )

    def _activity_page(
        self, query: Mapping[str, str], types: set[int], leads: set[int], subject: str
    ) -> Response:
        if not query.get("nextPageToken"):
            raise MarketoError("1002", "Missing value for required parameter 'nextPageToken'")
        activities = self.desk.activities
        begin = read_token(query["nextPageToken"], "activities")
        size = batch_size(query)
        result: list[Record] = []
        place = begin
        while place < min(len(activities), begin + SCANNED) and len(result) < size:
            activity = activities[place]
            place += 1
            if activity["activityTypeId"] in types and (not leads or activity["leadId"] in leads):
                result.append(self._rendered_activity(activity))
        has_more = place < len(activities)
        if has_more and self.service.faults.take("repeat_page", subject):
            place = begin
        content: Record = {"result": result} if result else {}
        following = {"nextPageToken": make_token("activities", place), "moreResult": has_more}
        return envelope(content | following)

    def _rendered_activity(self, activity: Record) -> Record:
        record = {name: activity[name] for name in ("id", *ACTIVITY_FIELDS)}
        if record["campaignId"] is None:
            del record["campaignId"]
        attributes = activity["attributes"]
        assert isinstance(attributes, dict)
        record["attributes"] = [{"name": n, "value": v} for n, v in attributes.items()]
        return record

    def _lead_changes(self, query: Mapping[str, str]) -> Response:
        if not query.get("fields"):
            raise MarketoError("1002", "Missing value for required parameter 'fields'")
        response = self._activity_page(query, {CHANGE_VALUE}, set(), "leadchanges")
        content = orjson.loads(response.body)
        for record in content.get("result", []):
            values = {item["name"]: item["value"] for item in record["attributes"]}
            record["fields"] = [
                {
                    "id": 1,
                    "name": "leadStatus",
                    "newValue": values.get("New Value"),
                    "oldValue": values.get("Old Value"),
                }
            ]
        return json_response(content)

    def _stats(self, kind: str) -> Response:
        date = self._today
        if kind == "usage":
            users = [{"userId": "api@meltano-sandbox.com", "count": self._calls_today}]
            return envelope(
                {"result": [{"date": date, "total": self._calls_today, "users": users}]}
            )
        errors = [{"errorCode": c, "count": n} for c, n in sorted(self._errors_today.items())]
        total = sum(self._errors_today.values())
        return envelope({"result": [{"date": date, "total": total, "errors": errors}]})


def _is_read_only(field: Record) -> bool:
    rest = field["rest"]
    return isinstance(rest, dict) and bool(rest.get("readOnly"))
