"""Lever's recruiting API, as its documentation and its clients have it.

Lists with opaque offsets, objects, children of opportunities; ``/candidates`` is the older name of
``/opportunities``. Times are milliseconds. Errors are a status with ``code`` and ``message``; too many
requests are 429 without ``Retry-After``. Who may not see confidential data does not.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_hiring import HiringDesk
from meltano_assets.sandbox.company_hiring_papers import KINDS
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.lever_kept import LeverError, Written, missing, read_body, shown
from meltano_assets.sandbox.lever_writes import Writes, contact_of
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import HttpService, json_response
from meltano_assets.sandbox.state import StateFolder

PAGE = 100
_EXPANDABLE = (
    "applications", "stage", "owner", "followers", "sourcedBy", "contact", "user", "hiringManager",
    "posting", "creator",
)  # fmt: skip


class TokenBucket:
    """So many requests a second, and a stock for bursts."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._stock = float(burst)
        self._at = time.monotonic()

    def take(self) -> bool:
        """True when the request may pass."""
        now = time.monotonic()
        self._stock = min(self._burst, self._stock + (now - self._at) * self._per_second)
        self._at = now
        if self._stock < 1:
            return False
        self._stock -= 1
        return True


class Lever:
    """The company's recruiting at the address of its service."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        *,
        api_key: str,
        oauth_token: str,
        per_second: float,
        burst: int,
        now: Callable[[], datetime] | None = None,
        folder: StateFolder | None = None,
    ) -> None:
        self._company = company
        self._day = day
        self._basic = f"Basic {base64.b64encode(f'{api_key}:'.encode()).decode()}"
        self._bearer = f"Bearer {oauth_token}"
        self._bucket = TokenBucket(per_second, burst)
        self._desk = HiringDesk(company)
        self._lists: dict[str, list[Record]] = {}
        self._lists_at = (-1, 0)
        self._now_at = now
        self._written = Written(folder)
        self._writes = Writes(self._written, self._records, self._children, self._present)
        self.service = HttpService("lever", "Lever", self.handle, self._error)

    # Requests

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            given = request.headers.get("authorization", "").encode()
            if not any(
                secrets.compare_digest(given, known.encode())
                for known in (self._basic, self._bearer)
            ):
                raise LeverError(401, "Unauthorized", "Invalid or missing API credentials.")
            if not self._bucket.take():
                raise LeverError(429, "TooManyRequests", "You have exceeded the rate limit.")
            path = request.url.path.removeprefix("/v1").strip("/")
            query: dict[str, list[str]] = {}
            for name, value in request.query_params.multi_items():
                query.setdefault(name, []).append(value)
            if request.method != "GET":
                return await self._write(request, path, query)
            return self._answer(path, query)
        except LeverError as error:
            body = {"code": error.code, "message": error.message}
            headers = {"Allow": error.allowed} if error.allowed else None
            return json_response(body, error.status, headers)

    async def _write(self, request: Request, path: str, query: Mapping[str, list[str]]) -> Response:
        body = read_body(request.headers.get("content-type", ""), await request.body())
        status, data = self._writes.answer(request.method, _parts(path), query, body)
        return Response(status_code=204) if status == 204 else json_response({"data": data}, status)

    def _error(self, kind: str, fault: Fault) -> Response | None:
        status, code, message = {
            "throttle": (429, "TooManyRequests", "You have exceeded the rate limit."),
            "forbidden": (403, "Forbidden", "This key may not do that."),
            "expire_session": (401, "Unauthorized", "Invalid or missing API credentials."),
            "unavailable": (503, "ServiceUnavailable", "Lever is down for maintenance."),
        }.get(kind, (500, "ServerError", "An unexpected error occurred."))
        return json_response({"code": code, "message": message}, status)

    # Records

    def changes(self, since: int, until: int) -> dict[str, int]:
        """Kind of record → how many came or changed from one day to another."""
        self._desk.build(until)
        return self._desk.changes(self._moment(since), self._moment(until))

    def _moment(self, day: int) -> int:
        return int(self._company.now(day).timestamp() * 1000)

    def _now(self) -> int:
        return self._moment(self._day())

    def _present(self) -> int:
        """When a client writes: after all that the company did."""
        return self._now() if self._now_at is None else int(self._now_at().timestamp() * 1000)

    def _records(self, name: str) -> list[Record]:
        at = (self._day(), self._written.writes)
        if at != self._lists_at:
            self._desk.build(at[0])
            self._lists, self._lists_at = {}, at
        if name not in self._lists:
            desk, now = self._desk, self._now()
            makers: dict[str, Callable[[], list[Record]]] = {
                "opportunities": lambda: desk.opportunities(now),
                "opportunities/deleted": lambda: desk.deleted(now),
                "postings": lambda: desk.postings(now),
                "requisitions": lambda: desk.requisitions(now),
                "users": lambda: desk.users(now),
                "sources": lambda: desk.sources(now),
                "tags": lambda: desk.tags(now),
                "stages": desk.stages,
                "archive_reasons": desk.archive_reasons,
                "audit_events": list,
                "feedback_templates": lambda: desk.templates("feedback_templates"),
                "form_templates": lambda: desk.templates("form_templates"),
                "requisition_fields": list,
                "webhooks": list,
            }
            if name not in makers:
                raise LeverError(404, "ResourceNotFound", f"Resource not found: {name}")
            self._lists[name] = self._written.laid_over(name, makers[name]())
        return self._lists[name]

    def _answer(self, path: str, query: Mapping[str, list[str]]) -> Response:
        parts = _parts(path)
        if parts[0] == "contacts" and len(parts) == 2:
            return self._contact(parts[1])
        if parts == ["opportunities", "deleted"]:
            return self._list("opportunities/deleted", query)
        if len(parts) == 1:
            return self._list(parts[0], query)
        records = self._records(parts[0])
        found = next((r for r in self._seen(records, query) if r.get("id") == parts[1]), None)
        if found is None:
            raise LeverError(404, "ResourceNotFound", f"{parts[0]} {parts[1]} was not found")
        if len(parts) == 2:
            return json_response({"data": self._shown(found, query, parts[0])})
        if parts[0] == "opportunities":
            return self._below(parts[1], parts[2:], query)
        raise LeverError(404, "ResourceNotFound", "Resource not found")

    def _contact(self, key: str) -> Response:
        theirs = [r for r in self._records("opportunities") if r["contact"] == key]
        if not theirs:
            raise missing(f"contacts {key}")
        return json_response({"data": contact_of(theirs[-1])})

    def _below(self, opportunity: str, rest: list[str], query: Mapping[str, list[str]]) -> Response:
        """What hangs on an opportunity: a list, one of it, or a file's content."""
        children = self._children(opportunity, rest[0])
        if len(rest) == 1:
            shown_ones = [shown(child) for child in children]
            return self._page(f"opportunities/{opportunity}/{rest[0]}", shown_ones, query)
        found = next((child for child in children if child["id"] == rest[1]), None)
        if found is None:
            raise missing(f"{rest[0]} {rest[1]}")
        if len(rest) == 2:
            return json_response({"data": shown(found)})
        if rest[2:] == ["download"] and "_content" in found:
            content = base64.b64decode(str(found["_content"]))
            return Response(content, media_type="application/octet-stream")
        raise LeverError(404, "ResourceNotFound", "Resource not found")

    def _children(self, opportunity: str, name: str) -> list[Record]:
        now = self._now()
        if name == "applications":
            known = self._desk.applications(opportunity, now) or []
        elif name == "offers":
            known = self._desk.offers(opportunity, now) or []
        elif name in KINDS:
            known = self._desk.papers(opportunity, name, now)
        else:
            raise LeverError(404, "ResourceNotFound", f"Resource not found: {name}")
        return self._written.children_over(opportunity, name, known)

    @staticmethod
    def _seen(records: list[Record], query: Mapping[str, list[str]]) -> list[Record]:
        """Confidential records come only to who asks for them."""
        asked = query.get("confidentiality", ["non-confidential"])[-1]
        if asked not in ("all", "confidential", "non-confidential"):
            raise LeverError(400, "BadRequestError", "Invalid parameter: confidentiality")
        if asked == "all":
            return records
        return [r for r in records if r.get("confidentiality", asked) == asked]

    def _list(self, name: str, query: Mapping[str, list[str]]) -> Response:
        records = self._seen(self._records(name), query)
        for time_ in ("created_at", "updated_at", "deleted_at"):
            key = {"created_at": "createdAt", "updated_at": "updatedAt"}.get(time_, "deletedAt")
            start = _number(query, f"{time_}_start")
            end = _number(query, f"{time_}_end")
            if start is not None:
                records = [r for r in records if int(str(r.get(key) or 0)) >= start]
            if end is not None:
                records = [r for r in records if int(str(r.get(key) or 0)) <= end]
        if name == "opportunities":
            for parameter, field in (
                ("stage_id", "stage"),
                ("contact_id", "contact"),
                ("origin", "origin"),
                ("owner_id", "owner"),
            ):
                if parameter in query:
                    records = [r for r in records if r[field] in query[parameter]]
            for parameter, field in (("tag", "tags"), ("source", "sources"), ("email", "emails")):
                if parameter in query:
                    wanted = set(query[parameter])
                    records = [r for r in records if wanted & set(_texts(r[field]))]
            if "archived" in query:
                is_wanted = query["archived"][-1] == "true"
                records = [r for r in records if (r["archived"] is not None) == is_wanted]
            if "archived_reason_id" in query or "archive_reason_id" in query:
                reasons = query.get("archived_reason_id", query.get("archive_reason_id", []))
                records = [r for r in records if _reason(r) in reasons]
        if name == "users" and query.get("includeDeactivated", ["false"])[-1] != "true":
            records = [r for r in records if r["deactivatedAt"] is None]
        for parameter, field in (("state", "state"), ("status", "status")):
            if parameter in query and name in ("postings", "requisitions"):
                records = [r for r in records if r.get(field) in query[parameter]]
        return self._page(name, records, query)

    # Pages

    def _page(self, name: str, records: list[Record], query: Mapping[str, list[str]]) -> Response:
        size = _number(query, "limit")
        size = PAGE if size is None else size
        if not 1 <= size <= PAGE:
            raise LeverError(400, "BadRequestError", "limit must be between 1 and 100")
        begin = 0
        if offset := query.get("offset", [""])[-1]:
            begin = self._place(offset, name)
            if self.service.faults.take("lose_cursor", f"GET /v1/{name}"):
                raise _lost_offset(offset)
        page = records[begin : begin + size]
        has_next = begin + size < len(records)
        body: dict[str, object] = {
            "data": [self._shown(record, query, name) for record in page],
            "hasNext": has_next,
        }
        if has_next:
            is_stuck = self.service.faults.take("repeat_page", f"GET /v1/{name}")
            body["next"] = self._offset(begin if is_stuck else begin + size, name)
        return json_response(body)

    @staticmethod
    def _offset(place: int, name: str) -> str:
        """Opaque, written for a URL already; to be handed back as it is."""
        mark = hashlib.sha256(f"{name}:{place}".encode()).hexdigest()[:12]
        token = base64.b64encode(f"{place}:{mark}".encode()).decode()
        return quote(json.dumps([f"0.{token}", place]), safe="")

    def _place(self, offset: str, name: str) -> int:
        wrong = _lost_offset(offset)
        try:
            token, _place = json.loads(unquote(offset))
            plain = base64.b64decode(str(token).removeprefix("0."), validate=True).decode()
            place = int(plain.partition(":")[0])
        except (ValueError, TypeError):
            raise wrong from None
        if self._offset(place, name) != quote(unquote(offset), safe=""):
            raise wrong
        return place

    def _shown(self, record: Record, query: Mapping[str, list[str]], name: str) -> Record:
        """The record with what is to be expanded, and only what is to be included."""
        shown = dict(record)
        expanded = [part for value in query.get("expand", []) for part in value.split(",")]
        for field in expanded:
            if field not in _EXPANDABLE and field != "archived":
                raise LeverError(400, "BadRequestError", f"Cannot expand {field}")
            if field in shown:
                shown[field] = self._expanded(field, record)
        included = [part for value in query.get("include", []) for part in value.split(",")]
        if included and name == "opportunities":
            shown = {key: value for key, value in shown.items() if key in {*included, "id"}}
        fault = self.service.faults.take("change_schema", f"GET /v1/{name}")
        if fault is not None:
            for option in ("add", "retype"):
                values = fault.options.get(option)
                shown.update(values if isinstance(values, dict) else {})
            gone = fault.options.get("drop")
            for key in gone if isinstance(gone, list) else []:
                shown.pop(str(key), None)
        return shown

    def _expanded(self, field: str, record: Record) -> object:
        value = record[field]
        if field == "applications":
            return self._children(str(record["id"]), "applications")
        if field == "contact":
            keys = ("name", "headline", "emails", "phones", "location")
            return {"id": value, **{key: record.get(key) for key in keys}}
        if field == "archived":
            return value
        names = {"stage": "stages", "posting": "postings"}
        known = {r["id"]: r for r in self._records(names.get(field, "users"))}
        if isinstance(value, list):
            return [known.get(key, key) for key in value]
        return known.get(value, value)


def _parts(path: str) -> list[str]:
    """The words of a path; ``candidates`` is the older name, deprecated, and served."""
    parts = path.split("/")
    return ["opportunities", *parts[1:]] if parts[0] == "candidates" else parts


def _lost_offset(offset: str) -> LeverError:
    return LeverError(400, "BadRequestError", f"Invalid offset token: {offset[:60]}")


def _number(query: Mapping[str, list[str]], name: str) -> int | None:
    if name not in query:
        return None
    text = query[name][-1]
    if not is_number(text.removeprefix("-")):
        what = "a number" if name == "limit" else "a number of milliseconds"
        raise LeverError(400, "BadRequestError", f"{name} must be {what}")
    return int(text)


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _reason(record: Record) -> object:
    archived = record["archived"]
    return archived["reason"] if isinstance(archived, dict) else None
