"""Zendesk's pages: by offset with ``next_page``, by cursor with ``meta`` and ``links``."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import FOREIGN_HOST, FaultBox
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import base_url, json_response
from meltano_assets.sandbox.zendesk_places import make_place, parse_place

LIST_PAGE_SIZE = 100
#: Since 2023 offset pagination ends here; cursor pagination goes on.
MAX_OFFSET_PAGES = 100


class Pages:
    """Cuts lists into pages, and leads from one to the next."""

    def __init__(self, faults: FaultBox) -> None:
        self._faults = faults

    def page(self, request: Request, key: str, records: list[Record]) -> Response:
        """A page of a list, by offset or by cursor as the client asks."""
        query = request.query_params
        # An export of a search knows no numbered pages.
        is_export = request.url.path.removesuffix(".json").endswith("/search/export")
        if is_export or "page[size]" in query or "page[after]" in query or "page[before]" in query:
            return self.cursor_page(request, key, records)
        size = page_size(query.get("per_page"), LIST_PAGE_SIZE)
        text = query.get("page", "1")
        if not is_number(text) or int(text) < 1:
            return json_response(
                {"error": "InvalidPaginationParameter", "description": "page must be an integer"},
                400,
            )
        number = int(text)
        if number > MAX_OFFSET_PAGES:
            return json_response(
                {
                    "error": "InvalidPaginationDepth",
                    "description": f"page must be at most {MAX_OFFSET_PAGES}; "
                    "use cursor pagination to go further",
                },
                400,
            )
        begin = (number - 1) * size
        has_more = begin + size < len(records)
        following = number if self._faults.take("repeat_page", request.url.path) else number + 1
        return json_response(
            {
                key: records[begin : begin + size],
                "count": len(records),
                "next_page": self.link(request, page=following) if has_more else None,
                "previous_page": self.link(request, page=number - 1) if number > 1 else None,
            }
        )

    def cursor_page(self, request: Request, key: str, records: list[Record]) -> Response:
        """A page that a cursor leads to."""
        query = request.query_params
        size = page_size(query.get("page[size]"), LIST_PAGE_SIZE)
        after, before = query.get("page[after]"), query.get("page[before]")
        begin = 0
        if after or before:
            place = parse_place(after or before or "")
            is_lost = self._faults.take("lose_cursor", request.url.path)
            if place is None or is_lost:
                return json_response(
                    {
                        "error": "InvalidPaginationParameter",
                        "description": "page cursor is invalid",
                    },
                    400,
                )
            begin = place if after else max(0, place - size)
        page = records[begin : begin + size]
        has_more = begin + size < len(records)
        following = begin if self._faults.take("repeat_page", request.url.path) else begin + size
        after_cursor = make_place(following) if page else None
        before_cursor = make_place(begin) if page else None
        plain = {"page[after]": None, "page[before]": None}
        return json_response(
            {
                key: page,
                "meta": {
                    "has_more": has_more,
                    "after_cursor": after_cursor,
                    "before_cursor": before_cursor,
                },
                "links": {
                    "next": self.link(request, **{**plain, "page[after]": after_cursor})
                    if has_more
                    else None,
                    "prev": self.link(request, **{**plain, "page[before]": before_cursor})
                    if begin
                    else None,
                },
            }
        )

    def link(self, request: Request, **changes: object) -> str:
        """The address that was asked, with other parameters; the way to another page."""
        # Where a cursor says the place, the start goes on saying where the list began.
        places = () if "page[after]" in changes else ("cursor", "start_time")
        kept = {k: v for k, v in request.query_params.items() if k not in places}
        kept.update({k: str(v) for k, v in changes.items() if v is not None})
        kept = {k: v for k, v in kept.items() if k not in changes or changes[k] is not None}
        address = base_url(request)
        if fault := self._faults.take("foreign_link", request.url.path):
            address = fault.text("host", FOREIGN_HOST)
        path = request.url.path
        if not path.endswith(".json"):
            path += ".json"
        return f"{address}{path}?{urlencode(kept)}"


def page_size(text: str | None, most: int) -> int:
    """The size asked for, as far as the service goes along."""
    if text is None or not is_number(text) or int(text) < 1:
        return most
    return min(int(text), most)
