"""NetSuite's REST services: records, their schemas and SuiteQL, signed by OAuth 1.0 or with a bearer token.

``/services/rest/record/v1/customer`` is a collection (``q``, ``limit``, ``offset``), ``…/customer/7``
or ``…/customer/eid:ABC`` a record, ``…/metadata-catalog`` tells what there is and
``/services/rest/query/v1/suiteql`` answers queries. Errors are problem details (``o:errorDetails``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

import orjson
from lxml import etree  # type: ignore[import-untyped]  # it ships no types
from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import Fault, FaultBox
from meltano_assets.sandbox.netsuite_contract import Contract
from meltano_assets.sandbox.netsuite_filter import FilterError, parse_filter
from meltano_assets.sandbox.netsuite_oauth import Tokens
from meltano_assets.sandbox.netsuite_operations import Account, changed_by
from meltano_assets.sandbox.netsuite_passport import Gate, NotSigned
from meltano_assets.sandbox.netsuite_rest_jobs import PATH as JOBS
from meltano_assets.sandbox.netsuite_rest_jobs import RestJobs, is_key
from meltano_assets.sandbox.netsuite_rest_records import Catalog, list_name, path_name
from meltano_assets.sandbox.netsuite_suiteql import MAX_RESULTS, QueryError, Tables
from meltano_assets.sandbox.netsuite_wire import StatusError
from meltano_assets.sandbox.netsuite_writes import RecordWriter, WrittenBooks
from meltano_assets.sandbox.numbers import is_number

PREFIX = "/services/rest/"
#: Where REST's own address and that of RESTlets tell whose token it is.
TOKEN_INFO = ("/rest/tokeninfo", "/services/rest/auth/tokeninfo")
MAX_PAGE_SIZE = 1000
_RESOURCE = "application/vnd.oracle.resource+json; type="
_TITLES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 413: "Payload Too Large", 415: "Unsupported Media Type",
    429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
_SECTIONS = {400: "1", 401: "2", 403: "4", 404: "5", 405: "6"}
#: Code of SOAP → status and code of REST.
_CODES = {
    "RCRD_DSNT_EXIST": (404, "NONEXISTENT_ID"), "DUP_RCRD": (400, "USER_ERROR"),
    "INVALID_KEY_OR_REF": (400, "INVALID_VALUE"), "INVALID_FLD_VALUE": (400, "INVALID_VALUE"),
    "INVALID_DATE_FORMAT": (400, "INVALID_VALUE_FORMAT"), "CANT_DELETE_ENTITY": (400, "USER_ERROR"),
    "INVALID_RCRD_TYPE": (404, "NONEXISTENT_RECORD_TYPE"),
}  # fmt: skip


class Problem(Exception):
    """An error of REST."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        where: tuple[str, str] = ("", ""),
        *,
        realm: str = "OAuth",
    ) -> None:
        super().__init__(detail)
        self.realm = realm
        self.status = status
        self.code = code
        self.detail = detail
        self.where = where

    def response(self) -> Response:
        """The answer that tells it."""
        section = _SECTIONS.get(self.status, "1")
        major = "10.5" if self.status >= 500 else "10.4"
        detail = {"detail": self.detail, "o:errorCode": self.code}
        if self.where[0]:
            detail[self.where[0]] = self.where[1]
        body = {
            "type": f"https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html#sec{major}.{section}",
            "title": _TITLES.get(self.status, "Error"), "status": self.status,
            "o:errorDetails": [detail],
        }  # fmt: skip
        headers = {}
        if self.status == 401:
            headers["WWW-Authenticate"] = f'{self.realm} realm="NetSuite"'
        return Response(orjson.dumps(body), self.status, headers, media_type=f"{_RESOURCE}error")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]
    body: bytes
    base: str


def asked_of(request: Request, body: bytes, base: str) -> Asked:
    """What a request asks for."""
    return Asked(
        request.method, request.url.path.rstrip("/"), dict(request.query_params),
        {name.lower(): value for name, value in request.headers.items()}, body, base,
    )  # fmt: skip


def refusal(kind: str, _fault: Fault) -> Response:
    """The answer of an armed fault."""
    if kind == "expire_session":
        return _NOT_LET_IN.response()
    if kind == "throttle":
        return Problem(
            429, "CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded. Request blocked."
        ).response()
    if kind == "server_error":
        return Problem(500, "UNEXPECTED_ERROR", "An unexpected error occurred. Error ID: sandbox"
                       ).response()  # fmt: skip
    return Problem(503, "UNEXPECTED_ERROR", "The service is unavailable.").response()


_NOT_LET_IN = Problem(
    401, "INVALID_LOGIN", "Invalid login attempt. For more details, see the Login Audit Trail in the"
    " NetSuite UI at Setup > Users/Roles > User Management > View Login Audit Trail.",
)  # fmt: skip


class Rest:
    """The REST services of the account."""

    def __init__(
        self,
        contract: Contract,
        gate: Gate,
        books: WrittenBooks,
        account: Callable[[], Account],
        faults: Callable[[], FaultBox],
        tokens: Tokens,
    ) -> None:
        self._contract = contract
        self._gate = gate
        self._tokens = tokens
        self._jobs = RestJobs()
        self._books = books
        self._account = account
        self._faults = faults
        self._tables: tuple[object, Tables] | None = None

    def answer(self, asked: Asked, url: str, signed: list[tuple[str, str]]) -> Response:
        """The answer to a request for ``url`` with its signed parameters."""
        try:
            self._check(asked, url, signed)
        except Problem as problem:
            return problem.response()
        if "respond-async" in asked.headers.get("prefer", "") and not asked.path.startswith(JOBS):
            key = asked.headers.get("x-netsuite-idempotency-key", "")
            if key and not is_key(key):
                return Problem(400, "INVALID_HEADER", "The idempotency key must be a UUID.",
                               ("o:errorHeader", "X-NetSuite-Idempotency-Key")).response()  # fmt: skip
            return self._jobs.submit(asked.base, key, lambda: self._done(asked))
        return self._done(asked)

    def _check(self, asked: Asked, url: str, signed: list[tuple[str, str]]) -> None:
        """Problem unless the request proves who sends it."""
        header = asked.headers.get("authorization", "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer":
            scopes = self._tokens.scopes(token.strip())
            if not scopes:
                raise Problem(401, "INVALID_LOGIN", _NOT_LET_IN.detail, realm="Bearer")
            if "rest_webservices" not in scopes:
                message = "The scope of the access token does not include REST web services."
                raise Problem(403, "INSUFFICIENT_PERMISSION", message)
            return
        try:
            self._gate.check_signature(asked.method, url, signed, header)
        except NotSigned:
            raise _NOT_LET_IN from None

    def _done(self, asked: Asked) -> Response:
        try:
            if asked.path in TOKEN_INFO:
                return _json(self._gate.token_info(), "singular")
            if asked.path.startswith(JOBS):
                return self._job(asked)
            return self._routed(asked)
        except Problem as problem:
            return problem.response()
        except StatusError as error:
            status, code = _CODES.get(error.code, (400, error.code))
            message = f"Error while accessing a resource. {error}"
            if status == 404:
                message = "The record instance does not exist. Provide a valid record instance ID."
            return Problem(status, code, message).response()

    def _job(self, asked: Asked) -> Response:
        if asked.method != "GET":
            raise _not_allowed(asked)
        found = self._jobs.answer(asked.base, asked.path)
        if found is None:
            raise Problem(404, "NONEXISTENT_ID", "The job, task or result does not exist.",
                          ("o:errorUrl", asked.path))  # fmt: skip
        return found

    def _routed(self, asked: Asked) -> Response:
        parts = [unquote(part) for part in asked.path.removeprefix(PREFIX).split("/")]
        match parts:
            case ["query", "v1", "suiteql"]:
                return self._suiteql(asked)
            case ["record", "v1", "metadata-catalog", *more] if len(more) < 2:
                return self._metadata(asked, more[0] if more else "")
            case ["record", "v1", name]:
                return self._collection(asked, name)
            case ["record", "v1", name, key, *more] if len(more) < 3:
                return self._instance(asked, name, key, more)
        raise Problem(404, "INVALID_URL", "The requested resource does not exist.",
                      ("o:errorUrl", asked.path))  # fmt: skip

    # SuiteQL

    def _suiteql(self, asked: Asked) -> Response:
        if asked.method != "POST":
            raise _not_allowed(asked)
        if "transient" not in asked.headers.get("prefer", ""):
            raise Problem(
                400, "INVALID_HEADER", "The required request header 'Prefer' is missing or has an"
                " invalid value. Use 'Prefer: transient'.", ("o:errorHeader", "Prefer"),
            )  # fmt: skip
        body = _body_of(asked)
        query = body.get("q")
        if not isinstance(query, str) or not query.strip():
            raise Problem(400, "INVALID_CONTENT", "The request body must hold the query 'q'.",
                          ("o:errorPath", "q"))  # fmt: skip
        limit, offset = _page(asked)
        account = self._account()
        if self._tables is None or self._tables[0] is not account.state:
            self._tables = (account.state, Tables(account.state, account.now))
        tables = self._tables[1]
        try:
            found = tables.rows(query)
        except QueryError as error:
            told = f"Invalid search query. Detailed unprocessed description follows. {error}"
            raise Problem(400, "INVALID_PARAMETER", told, ("o:errorQueryParam", "q")) from None
        items: list[dict[str, object]] = [
            {"links": [], **row} for row in found[offset : offset + limit]
        ]
        return self._listed(asked, items, min(len(found), MAX_RESULTS), limit, offset)

    def _listed(
        self, asked: Asked, items: list[dict[str, object]], total: int, limit: int, offset: int
    ) -> Response:
        """A page of a collection, with the links to the others."""
        kept = {n: v for n, v in asked.parameters.items() if n not in ("limit", "offset")}

        def link(rel: str, at: int) -> dict[str, str]:
            query = urlencode({**kept, "limit": limit, "offset": at}, quote_via=quote)
            return {"rel": rel, "href": f"{asked.base}{asked.path}?{query}"}

        has_more = offset + len(items) < total
        last = (total - 1) // limit * limit if total else 0
        links = []
        if has_more:
            links += [link("next", offset + limit), link("last", last)]
        if offset > 0:
            links += [link("previous", max(offset - limit, 0)), link("first", 0)]
        links.append({"rel": "self", "href": link("self", offset)["href"]})
        return _json(
            {"links": links, "count": len(items), "hasMore": has_more, "items": items,
             "offset": offset, "totalResults": total}, "collection",
        )  # fmt: skip

    # Metadata

    def _metadata(self, asked: Asked, name: str) -> Response:
        if asked.method != "GET":
            raise _not_allowed(asked)
        catalog = Catalog(self._contract, self._account().state, asked.base)
        accept = asked.headers.get("accept", "")
        types = catalog.types()
        picked = [n for n in asked.parameters.get("select", "").lower().split(",") if n]
        if name and "swagger" not in accept:
            schema = catalog.schema(name)
            if schema is None:
                raise _unknown_type(name)
            return Response(orjson.dumps(schema), media_type="application/schema+json")
        unknown = next(
            (n for n in [*picked, *([name.lower()] if name else [])] if n not in types), None
        )
        if unknown is not None:
            raise _unknown_type(unknown)
        names = [types[n] for n in ([name.lower()] if name else picked or types)]
        if "swagger" in accept:
            return Response(
                orjson.dumps(catalog.openapi(names)), media_type="application/swagger+json"
            )
        root = f"{asked.base}{PREFIX}record/v1/metadata-catalog"
        items = [
            {"name": n, "links": [
                {"rel": rel, "href": f"{root}/{n}", "mediaType": f"application/{kind}"}
                for rel, kind in (("canonical", "json"), ("alternate", "swagger+json"),
                                  ("alternate", "schema+json"))
            ]}
            for n in names
        ]  # fmt: skip
        return _json({"links": [{"rel": "self", "href": root}], "items": items}, "collection")

    # Records

    def _collection(self, asked: Asked, name: str) -> Response:
        account = self._account()
        catalog = Catalog(self._contract, account.state, asked.base)
        if name.lower() not in catalog.types():
            raise _unknown_type(name)
        kind = catalog.kind(name)
        if asked.method == "POST":
            return self._saved(asked, catalog, name, "add", None, None)
        if asked.method != "GET":
            raise _not_allowed(asked)
        limit, offset = _page(asked)
        records = list(account.state.get(kind, {}).values()) if kind else []
        if (text := asked.parameters.get("q", "")).strip():
            schema = catalog.schema(name) or {}
            fields = schema.get("properties")
            known = frozenset(str(n).lower() for n in (fields if isinstance(fields, dict) else ()))
            try:
                holds = parse_filter(text, known)
                records = [record for record in records if holds(record)]
            except FilterError as error:
                code = (
                    "NONEXISTENT_FIELD" if "not filterable" in str(error) else "INVALID_PARAMETER"
                )
                told = f"Invalid query parameter value. {error}"
                raise Problem(400, code, told, ("o:errorQueryParam", "q")) from None
        if self._faults().take("repeat_page", f"{asked.method} {asked.path}"):
            offset = 0
        shown = path_name(kind) if kind else name
        items: list[dict[str, object]] = [
            {
                "links": catalog.link(shown, str(record["internalId"])),
                "id": str(record["internalId"]),
            }
            for record in records[offset : offset + limit]
        ]
        return self._listed(asked, items, len(records), limit, offset)

    def _instance(self, asked: Asked, name: str, key: str, more: list[str]) -> Response:
        account = self._account()
        catalog = Catalog(self._contract, account.state, asked.base)
        if name.lower() not in catalog.types():
            raise _unknown_type(name)
        external = key[4:] if key.startswith("eid:") else None
        if asked.method in ("PUT", "PATCH") and not more:
            if asked.method == "PUT" and external is None:
                raise Problem(405, "INVALID_METHOD", "PUT needs an external ID: eid:VALUE.")
            operation = "upsert" if external is not None else "update"
            if asked.method == "PATCH":
                operation = "update"
            given = None if external is not None else key
            return self._saved(asked, catalog, name, operation, given, external)
        found = self._find(catalog, account, name, key, external)
        if asked.method == "DELETE" and not more:
            return self._deleted(account, *found)
        if asked.method != "GET":
            raise _not_allowed(asked)
        kind, record = found
        if more:
            return self._part(catalog, kind, record, more)
        (changed,), extra = changed_by([(kind, record)], self._faults().take(
            "change_schema", f"{asked.method} {asked.path}"))  # fmt: skip
        wanted = asked.parameters.get("fields", "").lower().split(",")
        shown = catalog.record(
            kind, changed[1],
            is_expanded=asked.parameters.get("expandSubResources", "").lower() == "true",
            has_simple_enums=asked.parameters.get("simpleEnumFormat", "").lower() == "true",
            fields=frozenset(field.strip() for field in wanted if field.strip()),
        )  # fmt: skip
        return _json({**shown, **extra}, "singular")

    def _find(
        self, catalog: Catalog, account: Account, name: str, key: str, external: str | None
    ) -> tuple[str, Record]:
        kind = catalog.kind(name)
        for record in account.state.get(kind, {}).values() if kind else ():
            if key == record["internalId"] or (
                external is not None and external == record.get("externalId")
            ):
                return str(kind), record
        raise StatusError("RCRD_DSNT_EXIST", "")

    def _part(self, catalog: Catalog, kind: str, record: Record, more: list[str]) -> Response:
        """A list of a record, one of its lines, or a subrecord."""
        key = str(record["internalId"])
        for element in self._contract.types[kind].elements:
            value = record.get(element.name)
            if list_name(element.name, value).lower() != more[0].lower() or value is None:
                continue
            path = (path_name(kind), key, list_name(element.name, value))
            shown = catalog.value(element, value, path, is_expanded=True)
            if not isinstance(shown, dict) or not isinstance(value, list):
                break
            if len(more) == 1:
                return _json(shown, "collection")
            line = next(
                (i for i in shown["items"] if i["links"] == catalog.link(*path, more[1])), None
            )
            if line is not None:
                return _json(line, "singular")
        else:
            raise Problem(404, "INVALID_URL", f"'{more[0]}' is no list of {path_name(kind)}.")
        if isinstance(shown, dict) and len(more) == 1:
            return _json(shown, "singular")
        raise Problem(404, "INVALID_URL", "The requested resource does not exist.")

    def _saved(
        self,
        asked: Asked,
        catalog: Catalog,
        name: str,
        operation: str,
        key: str | None,
        external: str | None,
    ) -> Response:
        kind = catalog.kind(name)
        if kind is None:
            raise Problem(403, "INSUFFICIENT_PERMISSION", f"The role may not write {name}.")
        body = _body_of(asked)
        node = catalog.element(
            kind, body, key=key, external=external,
            replaced=frozenset(asked.parameters.get("replace", "").lower().split(",")),
            is_strict=asked.headers.get("x-netsuite-propertynamevalidation", "error").lower()
            == "error",
        )  # fmt: skip
        account = self._account()
        with self._books.lock:
            state = self._books.laid_over(account.state)
            writer = RecordWriter(self._contract, state, self._books, account.now)
            _, record = writer.save(operation, node)
        (link,) = catalog.link(path_name(kind), str(record["internalId"]))
        return Response(status_code=204, headers={"Location": link["href"]})

    def _deleted(self, account: Account, kind: str, record: Record) -> Response:
        ref = etree.Element("baseRef", type=path_name(kind), internalId=str(record["internalId"]))
        with self._books.lock:
            state = self._books.laid_over(account.state)
            RecordWriter(self._contract, state, self._books, account.now).delete(ref)
        return Response(status_code=204)


def _json(content: object, kind: str) -> Response:
    return Response(orjson.dumps(content), media_type=f"{_RESOURCE}{kind}")


def _body_of(asked: Asked) -> dict[str, object]:
    media = asked.headers.get("content-type", "application/json").partition(";")[0].strip()
    if media and not media.endswith("json"):
        raise Problem(415, "INVALID_HEADER", "The request body must be application/json.",
                      ("o:errorHeader", "Content-Type"))  # fmt: skip
    try:
        body = orjson.loads(asked.body)
    except orjson.JSONDecodeError:
        raise Problem(400, "INVALID_JSON", "The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise Problem(400, "INVALID_CONTENT", "The request body must be an object.")
    return body


def _page(asked: Asked) -> tuple[int, int]:
    limit, offset = (asked.parameters.get(n, d) for n, d in (("limit", "1000"), ("offset", "0")))
    if not is_number(limit) or not 1 <= int(limit) <= MAX_PAGE_SIZE:
        raise Problem(400, "INVALID_PARAMETER", "The limit must be from 1 to 1000.",
                      ("o:errorQueryParam", "limit"))  # fmt: skip
    if not is_number(offset):
        raise Problem(400, "INVALID_PARAMETER", "The offset must be a whole number from 0 on.",
                      ("o:errorQueryParam", "offset"))  # fmt: skip
    return int(limit), int(offset)


def _not_allowed(asked: Asked) -> Problem:
    return Problem(405, "INVALID_METHOD", f"The method {asked.method} is not allowed here.")


def _unknown_type(name: str) -> Problem:
    return Problem(404, "NONEXISTENT_RECORD_TYPE", f"Record type '{name}' does not exist.",
                   ("o:errorUrl", f"{PREFIX}record/v1/{name}"))  # fmt: skip
