"""Zendesk Support, as its OpenAPI description and its clients have it.

Served with content: tickets, users, organizations, groups and what belongs to them, in the
incremental exports (cursor and time based), in lists (cursor and offset pagination) and in the search. Other
lists of the real service answer with their right, empty envelope; what clients write is carried out
in ``zendesk_writes.py``. Every path may end in
``.json``. Times of records are the company's; "too recent" is judged by the real clock.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from meltano_assets.sandbox import zendesk_requests as requests
from meltano_assets.sandbox import zendesk_webhooks as webhooks
from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import HttpService, RateLimit, base_url, json_response
from meltano_assets.sandbox.state import StateFolder
from meltano_assets.sandbox.zendesk_answers import Refused, read_body
from meltano_assets.sandbox.zendesk_desk import Desk, shown
from meltano_assets.sandbox.zendesk_details import (
    FIXED,
    Part,
    organization_part,
    person_part,
    ticket_part,
)
from meltano_assets.sandbox.zendesk_empty import EMPTY_LISTS
from meltano_assets.sandbox.zendesk_exports import Exports
from meltano_assets.sandbox.zendesk_kept import KEPT, KeptWrites, file_content, kept_records
from meltano_assets.sandbox.zendesk_pages import LIST_PAGE_SIZE, Pages, page_size
from meltano_assets.sandbox.zendesk_places import (
    export_order,
)
from meltano_assets.sandbox.zendesk_related import previewed, related
from meltano_assets.sandbox.zendesk_search import MAX_RESULTS, TYPES, SearchError, search
from meltano_assets.sandbox.zendesk_tickets import (
    MACROS,
    POLICIES,
    deleted,
    metric_set,
    rating,
)
from meltano_assets.sandbox.zendesk_writes import Writes

_SINGULAR = {
    "tickets": "ticket",
    "users": "user",
    "organizations": "organization",
    "groups": "group",
    "group_memberships": "group_membership",
    "ticket_fields": "ticket_field",
    "ticket_forms": "ticket_form",
    "brands": "brand",
}
#: A record's collection and a part of its path → what is listed, and the field that names the record.
_BELONGING = {
    ("groups", "memberships"): ("group_memberships", "group_id"),
    ("organizations", "users"): ("users", "organization_id"),
    ("users", "group_memberships"): ("group_memberships", "user_id"),
    ("users", "organization_memberships"): ("organization_memberships", "user_id"),
    ("organizations", "organization_memberships"): ("organization_memberships", "organization_id"),
}
#: Lists without a collection behind them → the name of one record.
_ONE_OF = {
    "macros": "macro",
    "satisfaction_ratings": "satisfaction_rating",
    "slas/policies": "sla_policy",
    "ticket_metrics": "ticket_metric",
}
#: What stands behind a list's path and is a list of the same kind.
_OF_LISTS = ("active", "compact", "public", "search", "show_many")
_TOO_MANY = "Number of allowed API requests per minute exceeded"


class Zendesk:
    """The support desk of the company at the address of its service."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        *,
        email: str,
        api_token: str,
        oauth_token: str,
        exports_per_minute: int,
        requests_per_minute: int,
        now: Callable[[], datetime],
        folder: StateFolder | None = None,
    ) -> None:
        basic = base64.b64encode(f"{email}/token:{api_token}".encode()).decode()
        self._logins = (f"basic {basic}", f"bearer {oauth_token}")
        self._requests = RateLimit(requests_per_minute)
        self._exports = RateLimit(exports_per_minute)
        self._desk = Desk(company, day, now, folder)
        self._writes = Writes(self._desk)
        self._uploads = KeptWrites(self._desk)
        self.service = HttpService("zendesk", "Zendesk Support", self.handle, self._error)
        self._pages = Pages(self.service.faults)
        faults = self.service.faults
        self._exported = Exports(self._desk, self._pages, faults, self._rendered)

    # Requests

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if not self._is_known(request):
            return json_response({"error": "Couldn't authenticate you"}, 401)
        # Clients join addresses with one slash too many, and the service does not mind.
        path = re.sub("/+", "/", request.url.path).removesuffix(".json").rstrip("/")
        if path.startswith("/attachments/token/"):
            return self._attachment(path.rpartition("/")[2])
        if not path.startswith("/api/v2/"):
            return json_response({"error": "InvalidEndpoint", "description": "Not found"}, 404)
        path = path.removeprefix("/api/v2/")
        is_export = path.startswith("incremental/")
        limit = self._exports if is_export else self._requests
        remaining, reset = limit.spend(time.monotonic())
        if remaining < 0:
            return _too_many(reset)
        if request.method not in ("GET", "HEAD"):
            response = await self._write(request, path)
        else:
            response = (
                self._exported.answer(request, path) if is_export else self._list(request, path)
            )
        response.headers["X-Rate-Limit"] = str(limit.per_minute)
        response.headers["X-Rate-Limit-Remaining"] = str(remaining)
        response.headers["ratelimit-limit"] = str(limit.per_minute)
        response.headers["ratelimit-remaining"] = str(remaining)
        response.headers["ratelimit-reset"] = str(int(reset))
        return response

    def _attachment(self, number: str) -> Response:
        found = file_content(self._desk, number)
        return Response(found[0], media_type=found[1]) if found else _not_found()

    def _is_known(self, request: Request) -> bool:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        given = f"{scheme.lower()} {rest.strip()}"
        return any(secrets.compare_digest(given.encode(), login.encode()) for login in self._logins)

    def _error(self, kind: str, fault: Fault) -> Response | None:
        if kind == "throttle":
            wait = fault.number("retry_after_seconds", 1)
            return _too_many(wait, with_header=fault.is_set("with_retry_after", default=True))
        if kind == "forbidden":
            message = "You do not have access to this page. Please contact the account owner."
            error = {"error": {"title": "Forbidden", "message": message}}
            return json_response(error, 403)
        if kind == "expire_session":
            return json_response({"error": "Couldn't authenticate you"}, 401)
        if kind == "unavailable":
            return PlainTextResponse("Service Unavailable", 503)
        return json_response({"error": "InternalError", "description": "Something went wrong"}, 500)

    # Records

    def _rendered(self, request: Request, records: Iterable[Record], name: str) -> list[Record]:
        address = base_url(request)
        rendered = [
            {"url": f"{address}/api/v2/{name}/{record['id']}.json", **shown(record)}
            for record in records
        ]
        fault = self.service.faults.take("change_schema", f"{name} {request.url.path}")
        if fault is not None:
            for record in rendered:
                _change_schema(record, fault)
        return rendered

    # Writes

    async def _write(self, request: Request, path: str) -> Response:
        if request.method not in ("POST", "PUT", "DELETE", "PATCH"):
            return _not_found("InvalidEndpoint")
        try:
            content, query = await request.body(), request.query_params
            if request.method == "POST" and path.startswith("views/preview"):
                found = previewed(path, read_body(content), self._kept())
                return _not_found("InvalidEndpoint") if found is None else json_response(found)
            if path.split("/", maxsplit=1)[0] == "uploads":
                kind = request.headers.get("content-type", "")
                told = (path, query, kind, content, base_url(request))
                done = self._uploads.upload(request.method, *told)
            else:
                done = self._writes.handle(request.method, path, query, content)
        except Refused as refused:
            return json_response(refused.body, refused.status)
        if done.status == 204:
            return Response(status_code=204)
        body, headers = dict(done.body), {}
        if done.record is not None:
            [record] = self._rendered(request, [done.record], done.collection)
            body = {done.key: record, **body}
            if done.status == 201:
                headers["Location"] = str(record["url"])
        if isinstance(job := body.get("job_status"), dict):
            body["job_status"] = self._job(request, job)
        return json_response(body, done.status, headers)

    def _job(self, request: Request, job: Record) -> Record:
        return {**job, "url": f"{base_url(request)}/api/v2/job_statuses/{job['id']}.json"}

    # Lists

    def _list(self, request: Request, path: str) -> Response:
        listed = path.removesuffix("/count")
        has_own = path.startswith("search") or re.fullmatch(r"views/\d+/count", path)
        is_count = listed != path and not has_own
        found = self._found(request, listed if is_count else path)
        if found is None:
            return _not_found("InvalidEndpoint")
        if isinstance(found, Response):
            return found
        if isinstance(found, dict):
            return _not_found("InvalidEndpoint") if is_count else json_response(found)
        key, records = found
        if is_count:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return json_response({"count": {"value": len(records), "refreshed_at": now}})
        return self._pages.page(request, key, records)

    def _found(self, request: Request, path: str) -> Part | Response:
        """What there is at that path: a list with its key, or an answer."""
        if path.startswith("job_statuses"):
            return self._jobs(request, path.removeprefix("job_statuses").strip("/"))
        if path.partition("/")[0] == "webhooks":
            return webhooks.found(self._desk, path.split("/")[1:])
        if path.partition("/")[0] == "requests" or path.endswith("/requests"):
            return self._requested(request, path)
        if path == "deleted_tickets":
            gone = [t for t in self._desk.tickets() if t["status"] == "deleted"]
            return path, [deleted(ticket) for ticket in gone]
        if path == "deleted_users":
            return path, [shown(user) for user in self._desk.deleted_users()]
        if path.startswith("attachments/") and path.count("/") == 1:
            file = _by_id(self._desk.merged("attachments", []), path[12:])
            answer: Record = {"attachment": file}
            return _not_found() if file is None else answer
        if "/" in path and (
            beside := related(self._desk, self._kept(), path, request.query_params)
        ):
            return self._with_addresses(request, beside)
        if (
            path.split("/", maxsplit=1)[0] in KEPT
            and (found := self._kept_list(request, path)) is not None
        ):
            return found
        if path in EMPTY_LISTS:
            return EMPTY_LISTS[path], []
        if path in FIXED:
            return FIXED[path]
        if path == "tags":
            counts = Counter(str(tag) for t in self._kept() for tag in _items(t["tags"]))
            return path, [{"name": n, "count": c} for n, c in sorted(counts.items())]
        if path == "autocomplete/tags":
            begin = request.query_params.get("name", "").lower()
            known = {str(tag) for t in self._kept() for tag in _items(t["tags"])}
            return {"tags": sorted(tag for tag in known if begin and tag.startswith(begin))}
        if path in ("macros", "macros/active", "slas/policies"):
            key = "sla_policies" if path == "slas/policies" else "macros"
            fixed = MACROS if key == "macros" else POLICIES
            return key, self._rendered(request, fixed, path)
        if path == "satisfaction_ratings":
            return self._ratings(request)
        if path == "ticket_audits":
            return "audits", self._audits(self._kept())
        if path == "ticket_metrics":
            return path, [metric_set(ticket) for ticket in self._kept()]
        if path in ("search", "search/count", "search/export", "users/search"):
            return self._search(request, path)
        if path == "users/me":
            return self._one(request, "users", self._desk.records("users")[0])
        head, _, rest = path.rpartition("/")
        if head in EMPTY_LISTS:
            return (EMPTY_LISTS[head], []) if rest in _OF_LISTS else _not_found()
        if head in _ONE_OF:
            return self._one_of(request, head, rest)
        return self._record_part(request, path)

    def _requested(self, request: Request, path: str) -> Part | Response:
        """Tickets as those see them who asked."""
        name, _, rest = path.partition("/")
        parts, kept = [part for part in rest.split("/") if part], self._kept()
        if name == "requests":
            beside = requests.found(self._desk, kept, parts, request.query_params)
            if beside is None:
                return _not_found()
            told: Part = beside
        elif len(parts) == 2 and name in ("organizations", "users"):
            key = "requester_id" if name == "users" else "organization_id"
            me = int(str(self._desk.records("users")[0]["id"]))
            told = requests.of_person(kept, key, parts[0], me)
        else:
            told = None
        if isinstance(told, dict) and isinstance(one := told.get("request"), dict):
            return {"request": self._rendered(request, [one], "requests")[0]}
        if isinstance(told, tuple) and told[0] == "requests":
            return told[0], self._rendered(request, told[1], told[0])
        return told

    def _kept_list(self, request: Request, path: str) -> Part | Response:
        """A collection to which clients may add, or a record of it; None for what else is there."""
        name, _, rest = path.partition("/")
        records = kept_records(self._desk, name)
        if not rest or (rest == "active" and name in ("macros", "triggers", "views")):
            return name, self._rendered(request, records, name)
        record = _by_id(records, rest)
        if record is None:
            return None
        answer: Record = {KEPT[name].singular: self._rendered(request, [record], name)[0]}
        return answer

    def _one_of(self, request: Request, path: str, number: str) -> Part | Response:
        """A record of a list that has no collection behind it."""
        found = self._found(request, path)
        records = found[1] if isinstance(found, tuple) else []
        record = next((r for r in records if str(r["id"]) == number), None)
        if record is None:
            return _not_found()
        answer: Record = {_ONE_OF[path]: record}
        return answer

    def _record_part(self, request: Request, path: str) -> Part | Response:
        """A collection, a record of it, or what belongs to the record."""
        name, _, rest = path.partition("/")
        if name not in _SINGULAR:
            return None
        records = self._kept() if name == "tickets" else self._desk.records(name)
        if not rest:
            return name, self._rendered(request, records, name)
        if rest == "search" and name == "organizations":
            query = request.query_params
            key = "external_id" if "external_id" in query else "name"
            wanted = query.get(key, "").lower()
            chosen = [r for r in records if str(r.get(key) or "").lower() == wanted and wanted]
            return name, self._rendered(request, chosen, name)
        if rest == "show_many":
            by = "external_id" if "external_ids" in request.query_params else "id"
            ids = set(request.query_params.get(f"{by}s", "").split(","))
            chosen = [r for r in records if str(r[by] if by == "id" else r.get(by)) in ids]
            return {name: self._rendered(request, chosen, name), "count": len(chosen)}
        if rest == "autocomplete":
            begin = request.query_params.get("name", "").lower()
            chosen = [r for r in records if str(r.get("name", "")).lower().startswith(begin)]
            return name, self._rendered(request, chosen if begin else [], name)
        number, _, part = rest.partition("/")
        record = next((r for r in records if str(r["id"]) == number), None)
        if record is None:
            return _not_found()
        if not part:
            return self._one(request, name, record)
        if part in ("tickets/requested", "tickets") and name != "tickets":
            key = "requester_id" if name == "users" else "organization_id"
            chosen = [t for t in self._kept() if t[key] == record["id"]]
            return "tickets", self._rendered(request, chosen, "tickets")
        if (name, part) in _BELONGING:
            of, key = _BELONGING[name, part]
            belonging = kept_records(self._desk, of) if of in KEPT else self._desk.records(of)
            chosen = [r for r in belonging if r[key] == record["id"]]
            return of, self._rendered(request, chosen, of)
        found: Part = None
        if name == "tickets":
            found = ticket_part(self._desk, self._kept(), record, part)
        elif name == "users":
            found = person_part(self._desk, self._kept(), record, part)
        elif name == "organizations":
            found = organization_part(self._desk, self._kept(), record, part)
        return self._with_addresses(request, found)

    def _with_addresses(self, request: Request, found: Part) -> Part:
        if isinstance(found, tuple) and (found[0] in _SINGULAR or found[0] in KEPT):
            return found[0], self._rendered(request, found[1], found[0])
        return found

    def _search(self, request: Request, path: str) -> Part | Response:
        query = request.query_params
        text = query.get("query", "")
        only = query.get("filter[type]") if path == "search/export" else None
        if path == "users/search":
            only, text = "user", text or f"external_id:{query.get('external_id', '')}"
        if path == "search/export" and not only:
            return _invalid("filter[type] must be present")
        records = {**self._desk.all_records(), "tickets": self._kept()}
        try:
            found = search(
                text,
                records,
                datetime.now(UTC),
                only=only,
                sort_by=query.get("sort_by"),
                descending=query.get("sort_order", "desc") == "desc",
            )
        except SearchError as error:
            return _invalid(str(error))
        if path == "search/count":
            return json_response({"count": len(found)})
        page, size = query.get("page", "1"), page_size(query.get("per_page"), LIST_PAGE_SIZE)
        if path == "search" and is_number(page) and int(page) * size > MAX_RESULTS:
            limits = "Requested response size was greater than Search Response Limits"
            return _invalid(f"Invalid search: {limits}")
        results = []
        for kind, record in found:
            [rendered] = self._rendered(request, [record], TYPES[kind])
            results.append(
                rendered if path == "users/search" else {**rendered, "result_type": kind}
            )
        return "users" if path == "users/search" else "results", results

    def _jobs(self, request: Request, name: str) -> Response:
        jobs = self._desk.jobs
        if not name:
            told = [self._job(request, job) for job in jobs.values()]
            return self._pages.page(request, "job_statuses", told)
        if name == "show_many":
            ids = request.query_params.get("ids", "").split(",")
            told = [self._job(request, jobs[key]) for key in ids if key in jobs]
            return json_response({"job_statuses": told, "count": len(told)})
        if name not in jobs:
            return _not_found()
        return json_response({"job_status": self._job(request, jobs[name])})

    def _audits(self, tickets: Iterable[Record]) -> list[Record]:
        return [told for ticket in tickets for told in self._desk.audits(ticket)]

    def _ratings(self, request: Request) -> Part | Response:
        """Ratings that changed in [start_time, end_time), both in seconds."""
        bounds = [request.query_params.get(name) for name in ("start_time", "end_time")]
        if any(text is not None and not is_number(text) for text in bounds):
            return json_response(
                {"error": "InvalidValue", "description": "start_time must be a Unix epoch time"},
                400,
            )
        start, end = (int(text) if text else None for text in bounds)
        found = [
            record
            for record in filter(None, map(rating, self._kept()))
            if (start is None or export_order(record)[0] >= start)
            and (end is None or export_order(record)[0] < end)
        ]
        rendered = self._rendered(request, found, "satisfaction_ratings")
        return "satisfaction_ratings", rendered

    def _kept(self) -> list[Record]:
        kept = [ticket for ticket in self._desk.tickets() if ticket["status"] != "deleted"]
        return sorted(kept, key=lambda ticket: int(str(ticket["id"])))

    def _one(self, request: Request, name: str, record: Record) -> Response:
        return json_response({_SINGULAR[name]: self._rendered(request, [record], name)[0]})


def _by_id(records: Iterable[Record], number: str) -> Record | None:
    return next((record for record in records if str(record["id"]) == number), None)


def _too_many(seconds: float, *, with_header: bool = True) -> Response:
    headers = {"Retry-After": str(max(0, round(seconds)))} if with_header else {}
    return PlainTextResponse(_TOO_MANY, 429, headers)


def _not_found(error: str = "RecordNotFound") -> Response:
    return json_response({"error": error, "description": "Not found"}, 404)


def _invalid(description: str) -> Response:
    return json_response({"error": "invalid", "description": description}, 422)


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _change_schema(record: Record, fault: Fault) -> None:
    for option in ("add", "retype"):
        values = fault.options.get(option)
        if isinstance(values, dict):
            record.update({str(name): value for name, value in values.items()})
    for name in _items(fault.options.get("drop")):
        record.pop(str(name), None)
