"""The query resources: ``/query``, ``/queryAll`` and their next pages.

A query whose answer is longer than a page leaves a cursor: the list of matching records, fixed
when the query ran. A locator names a cursor and an offset and may be asked more than once, as
with the vendor; the oldest cursors die when a user opens too many.
"""

from __future__ import annotations

import re
import secrets
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from meltano_assets.sandbox import soql
from meltano_assets.sandbox.faults import FOREIGN_HOST
from meltano_assets.sandbox.salesforce_columns import columns_of
from meltano_assets.sandbox.salesforce_definitions import Definitions, is_definition
from meltano_assets.sandbox.salesforce_explain import explain
from meltano_assets.sandbox.salesforce_http import Call, Reply, bad_request, failure, not_allowed
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_schema import id_checksum, parse_id
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem
from meltano_assets.sandbox.soql_records import Compiled
from meltano_assets.sandbox.soql_sqlite import compile_query

MAX_PAGE = 2000
MIN_PAGE = 200
MAX_CURSORS = 10
#: The vendor gives an idle cursor up to two days.
CURSOR_LIFE = timedelta(days=2)
MAX_QUERY = 100_000
_LOCATOR = re.compile(r"(01g\w{15})-(\d{1,9})$")


def compile_soql(org: SalesforceOrg, text: str, *, include_deleted: bool) -> Compiled:
    """A query checked against what the user may see; refusals are 400s."""
    return compile_tree(org, parse_soql(text), include_deleted=include_deleted)


def parse_soql(text: str) -> soql.Query:
    """A query as a tree; refusals are 400s."""
    if len(text) > MAX_QUERY:
        raise RequestProblem(
            400,
            ApiProblem(
                "MALFORMED_QUERY",
                f"SOQL statements cannot be longer than {MAX_QUERY} characters.",
            ),
        )
    try:
        return soql.parse(text)
    except soql.SoqlError as error:
        raise RequestProblem(400, ApiProblem(error.code, error.message)) from error
    except RecursionError as error:
        raise _too_complicated() from error


def compile_tree(org: SalesforceOrg, query: soql.Query, *, include_deleted: bool) -> Compiled:
    """A query that was read already, checked against what the user may see."""
    try:
        return compile_query(
            query, org.user_schema, org.clock.now(), include_deleted=include_deleted
        )
    except soql.SoqlError as error:
        raise RequestProblem(400, ApiProblem(error.code, error.message)) from error
    except RecursionError as error:
        raise _too_complicated() from error


def _too_complicated() -> RequestProblem:
    return RequestProblem(
        400,
        ApiProblem(
            "QUERY_TOO_COMPLICATED",
            "Query is either selecting too many fields or "
            "the filter conditions are too complicated.",
        ),
    )


def refuse_slow(
    org: SalesforceOrg, compiled: Compiled, rows: int, *, is_count: bool = False
) -> None:
    """The fault ``query_timeout``: a query that finds too many records is given up."""
    for fault in org.faults.standing("query_timeout"):
        is_meant = fault.text("object", compiled.sobject.name) == compiled.sobject.name
        is_exempt = is_count and not fault.options.get("counts")
        if is_meant and not is_exempt and rows > fault.number("rows", 1000):
            message = "Your query request was running for too long."
            raise RequestProblem(400, ApiProblem("QUERY_TIMEOUT", message))


@dataclass(slots=True)
class _Cursor:
    compiled: Compiled
    rows: array[int]
    page_size: int
    opened_at: datetime


class Queries:
    """The open cursors and the answers of the query resources."""

    def __init__(self, definitions: Definitions, view_query: Callable[[str], str | None]) -> None:
        self._definitions = definitions
        self._view_query = view_query
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()
        self._lock = threading.Lock()

    def handle(self, call: Call, rest: list[str]) -> Reply:
        """``/query?q=…``, ``/query/{locator}``."""
        if call.method not in ("GET", "HEAD"):
            raise not_allowed(call.method, "HEAD", "GET")
        if rest:
            return self._next_page(call, rest[0])
        include_deleted = call.segments[0].lower() == "queryall"
        text = call.params.get("q")
        if not text and not include_deleted and call.params.get("explain"):
            return self._explained(call, call.params["explain"])
        if not text:
            return failure(
                400, ApiProblem("MALFORMED_QUERY", "SOQL statements cannot be empty or null")
            )
        query = parse_soql(text)
        if is_definition(query):
            return self._definitions.answer(call, text)
        compiled = compile_tree(call.org, query, include_deleted=include_deleted)
        if call.params.get("columns", "").lower() == "true":
            return Reply(200, columns_of(compiled, query))
        connection = call.org.reader()
        if compiled.is_count:
            total = compiled.count(connection)
            refuse_slow(call.org, compiled, total, is_count=True)
            return Reply(200, {"totalSize": total, "done": True, "records": []})
        if compiled.aggregates is not None:
            records = compiled.aggregate_records(connection)
            return Reply(200, {"totalSize": len(records), "done": True, "records": records})
        rows = compiled.row_numbers(connection)
        cursor = _Cursor(compiled, rows, _page_size(call), call.org.clock.now())
        refuse_slow(call.org, compiled, len(cursor.rows))
        return self._page(call, cursor, "", 0)

    def _explained(self, call: Call, text: str) -> Reply:
        if parse_id(text) is not None:
            view = self._view_query(text)
            if view is None:
                raise bad_request("INVALID_ID", f"invalid report or list view ID: {text}")
            text = view
        query = parse_soql(text)
        compiled = compile_tree(call.org, query, include_deleted=True)
        return Reply(200, explain(call.org, query, compiled.sobject))

    def _page(self, call: Call, cursor: _Cursor, name: str, offset: int) -> Reply:
        end = offset + cursor.page_size
        records = cursor.compiled.page(call.org.reader(), cursor.rows[offset:end], call.version)
        total = len(cursor.rows)
        answer: dict[str, object] = {"totalSize": total, "done": end >= total}
        if end < total:
            name = name or self._keep(cursor)
            repeated = call.org.faults.take("repeat_page", f"{call.method} {call.path}")
            link = call.url(f"/query/{name}-{offset if repeated else end}")
            if fault := call.org.faults.take("foreign_link", f"{call.method} {call.path}"):
                link = fault.text("host", FOREIGN_HOST) + link
            answer["nextRecordsUrl"] = link
        answer["records"] = records
        return Reply(200, answer)

    def _keep(self, cursor: _Cursor) -> str:
        # A locator is an id of its own kind.
        id15 = "01g" + secrets.token_hex(6)
        name = id15 + id_checksum(id15)
        with self._lock:
            self._cursors[name] = cursor
            while len(self._cursors) > MAX_CURSORS:
                self._cursors.popitem(last=False)
        return name

    def _next_page(self, call: Call, locator: str) -> Reply:
        match = _LOCATOR.match(locator)
        with self._lock:
            cursor = self._cursors.get(match[1]) if match else None
            if match and cursor and call.org.clock.now() - cursor.opened_at > CURSOR_LIFE:
                del self._cursors[match[1]]
                cursor = None
        lost = call.org.faults.take("lose_cursor", f"{call.method} {call.path}")
        if match is None or cursor is None or lost or int(match[2]) >= len(cursor.rows):
            return failure(400, ApiProblem("INVALID_QUERY_LOCATOR", "invalid query locator"))
        return self._page(call, cursor, match[1], int(match[2]))


def _page_size(call: Call) -> int:
    match = re.search(r"batchSize\s*=\s*(\d{1,9})", call.headers.get("sforce-query-options", ""))
    if not match:
        return MAX_PAGE
    return min(max(int(match[1]), MIN_PAGE), MAX_PAGE)
