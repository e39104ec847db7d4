"""Zendesk's incremental exports: tickets and users by cursor, everything by time, and events."""

from __future__ import annotations

import re
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import json_response
from meltano_assets.sandbox.zendesk_desk import Desk
from meltano_assets.sandbox.zendesk_empty import EMPTY_EXPORTS
from meltano_assets.sandbox.zendesk_pages import Pages, page_size
from meltano_assets.sandbox.zendesk_places import export_order, make_cursor, parse_cursor
from meltano_assets.sandbox.zendesk_tickets import EVENT_EXPORTS, events, metric_set

EXPORT_PAGE_SIZE = 1000
Rendered = Callable[[Request, Iterable[Record], str], list[Record]]


class Exports:
    """Answers exports of the desk."""

    def __init__(self, desk: Desk, pages: Pages, faults: FaultBox, rendered: Rendered) -> None:
        self._desk = desk
        self._pages = pages
        self._faults = faults
        self._rendered = rendered

    def answer(self, request: Request, path: str) -> Response:
        """What a GET below ``incremental/`` gets."""
        name = path.removeprefix("incremental/")
        if name.endswith("/cursor") and name.removesuffix("/cursor") in ("tickets", "users"):
            return self._cursor_export(request, name.removesuffix("/cursor"))
        if name.endswith("/sample"):
            return self._time_export(request, name.removesuffix("/sample"), most=50)
        return self._time_export(request, name, most=EXPORT_PAGE_SIZE)

    def _export_records(self, name: str) -> list[Record]:
        if name == "tickets":
            return self._desk.tickets()
        return sorted(self._desk.records(name), key=export_order)

    def _cursor_export(self, request: Request, name: str) -> Response:
        records = self._export_records(name)
        query = request.query_params
        size = page_size(query.get("per_page"), EXPORT_PAGE_SIZE)
        cursor = query.get("cursor")
        if cursor is not None:
            place = parse_cursor(cursor)
            is_lost = self._faults.take("lose_cursor", request.url.path)
            if place is None or is_lost:
                return json_response(
                    {"error": "InvalidPaginationParameter", "description": "cursor is invalid"}, 400
                )
            begin = bisect_right(records, place, key=export_order)
        else:
            start = _start_time(query.get("start_time"))
            if isinstance(start, Response):
                return start
            begin = bisect_left(records, (start, 0), key=export_order)
        if query.get("exclude_deleted") == "true":
            records = [r for r in records[begin:] if r.get("status") != "deleted"]
            begin = 0
        page = records[begin : begin + size]
        after = make_cursor(page[-1]) if page else cursor
        is_last = begin + size >= len(records)
        if page and self._faults.take("repeat_page", request.url.path):
            after, is_last = cursor or make_cursor(page[0], before=True), False
        body: dict[str, object] = {
            name: self._with_sets(request, self._rendered(request, page, name)),
            "after_cursor": after,
            "after_url": self._pages.link(request, cursor=after) if after else None,
            "before_cursor": None,
            "before_url": None,
            "end_of_stream": is_last,
            **self._sideloads(request, page),
        }
        return json_response(body)

    def _time_export(self, request: Request, name: str, *, most: int) -> Response:
        query = request.query_params
        if name in EMPTY_EXPORTS:
            records: list[Record] = []
            key = EMPTY_EXPORTS[name]
        elif name in EVENT_EXPORTS:
            include = query.get("include", "").split(",")
            found = (e for t in self._desk.tickets() for e in events(name, t, include))
            records, key = sorted(found, key=export_order), name
        elif name in ("tickets", "users", "organizations"):
            records, key = self._export_records(name), name
        else:
            return json_response({"error": "InvalidEndpoint", "description": "Not found"}, 404)
        # Clients probe the metric events with the present time, and the service lets them.
        start = _start_time(query.get("start_time"), may_be_now=name == "ticket_metric_events")
        if isinstance(start, Response):
            return start
        begin = bisect_left(records, (start, 0), key=export_order)
        if name == "ticket_metric_events" and query.keys() & {"page[size]", "page[after]"}:
            return self._pages.cursor_page(request, key, records[begin:])
        size = page_size(query.get("per_page"), most)
        end = begin + size
        if begin < len(records) and end < len(records):
            last = export_order(records[end - 1])[0]
            if last == export_order(records[begin])[0]:
                # A page of a single second takes all of it, else the next one would be the same.
                end = bisect_right(records, (last, 1 << 62), key=export_order)
        page = records[begin:end]
        end_time = export_order(page[-1])[0] if page else None
        if page and self._faults.take("repeat_page", request.url.path):
            end_time = start
        body: dict[str, object] = {
            key: page
            if name in EVENT_EXPORTS
            else self._with_sets(request, self._rendered(request, page, name)),
            "count": len(page),
            "end_of_stream": end >= len(records),
            "end_time": end_time,
            "next_page": self._pages.link(request, start_time=end_time) if page else None,
            **self._sideloads(request, page),
        }
        return json_response(body)

    def _sideloads(self, request: Request, page: list[Record]) -> dict[str, object]:
        wanted = request.query_params.get("include", "").split(",")
        found: dict[str, object] = {}
        for name, keys in (
            ("users", ("requester_id", "submitter_id", "assignee_id")),
            ("organizations", ("organization_id",)),
            ("groups", ("group_id",)),
        ):
            if name in wanted:
                ids = {record.get(key) for record in page for key in keys}
                records = self._desk.records(name)
                found[name] = self._rendered(request, [r for r in records if r["id"] in ids], name)
        return found

    def _with_sets(self, request: Request, page: list[Record]) -> list[Record]:
        if "metric_sets" in request.query_params.get("include", "").split(","):
            for record in page:
                record["metric_set"] = metric_set(record)
        return page


def _start_time(text: str | None, *, may_be_now: bool = False) -> int | Response:
    """The number that the text begins with, as the service reads it: a client sends a date."""
    number = re.match(r"\d+", text or "")
    if number is None or not is_number(number[0]):
        return json_response(
            {"error": "InvalidValue", "description": "start_time must be a Unix epoch time"}, 400
        )
    if int(number[0]) > time.time() - 60 and not may_be_now:
        return json_response(
            {
                "error": "StartTimeTooRecent",
                "description": "Too recent start_time. Use a start_time older than 60 seconds",
            },
            400,
        )
    return int(number[0])
