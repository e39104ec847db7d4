"""Zuora Billing: the tenant of the company, as its API reference and its clients have it.

OAuth and the older key headers, ZOQL with locators, AQuA, object exports, data queries, describe,
files, object queries, records, accounts, contacts, subscriptions, orders and the catalogue. Times of
records are the company's; the tenant's zone is US Pacific. Jobs and tokens live in memory.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import FOREIGN_HOST, Fault
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import HttpService, RateLimit, base_url, json_response
from meltano_assets.sandbox.state import StateFolder
from meltano_assets.sandbox.zuora_business import Business
from meltano_assets.sandbox.zuora_jobs import AquaRefused, Jobs
from meltano_assets.sandbox.zuora_objects import ObjectQueries, ObjectQueryError
from meltano_assets.sandbox.zuora_query import Query, QueryError, parse, rows_of, run
from meltano_assets.sandbox.zuora_schema import describe_all, object_types
from meltano_assets.sandbox.zuora_tenant import TenantRecords
from meltano_assets.sandbox.zuora_wire import ZONE, failure, json_value, lowered
from meltano_assets.sandbox.zuora_writes import Crud, Refused

MAX_BATCH = 2_000
#: Records of one action.
MAX_ACTION = 50
MAX_DATA_QUERIES = 1_000
PARTNER = "meltano-sandbox"
ENTITY = "2c92a0fc5d1a2b3c015d1b2c3d4e5f60"
_LOCATOR_SECONDS = 15 * 60
_TOKEN_SECONDS = 3_599
_REFUSED = "Authentication error"


class Zuora:
    """The tenant at the address of its service."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        *,
        now: Callable[[], datetime],
        folder: StateFolder | None = None,
        client_id: str,
        client_secret: str,
        username: str,
        password: str,
        requests_per_minute: int = 50_000,
        polls: int = 1,
    ) -> None:
        self._client = (client_id, client_secret)
        self._keys = (username, password)
        self._now = now
        self._tenant = TenantRecords(company, day, now, folder)
        self._objects = ObjectQueries(self._tenant, json_value)
        self._tokens: dict[str, float] = {}
        self._locators: dict[str, tuple[Query, list[Record], int, float]] = {}
        self._requests = RateLimit(requests_per_minute)
        self.service = HttpService("zuora", "Zuora Billing", self.handle, self._error)
        self._business = Business(self._tenant, self.service.faults)
        self._crud = Crud(self._tenant, self._business.turn_invoice)
        self.jobs = Jobs(self._tenant, self.service.faults, zone=ZONE, partner=PARTNER, polls=polls)

    # Requests

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        body = await request.body()
        path = "/" + "/".join(filter(None, request.url.path.split("/")))
        remaining, reset = self._requests.spend(time.monotonic())
        if remaining < 0:
            return _too_many(reset)
        response = self._answer(request, path, body)
        response.headers["RateLimit-Limit"] = str(self._requests.per_minute)
        response.headers["RateLimit-Remaining"] = str(remaining)
        response.headers["RateLimit-Reset"] = str(int(reset))
        response.headers["Zuora-Request-Id"] = secrets.token_hex(16)
        if track := request.headers.get("zuora-track-id"):
            response.headers["Zuora-Track-Id"] = track[:64]
        return response

    def _answer(self, request: Request, path: str, body: bytes) -> Response:
        if path == "/oauth/token":
            return self._log_in(request, body)
        if not self._is_known(request):
            if path.startswith(("/v1/batch-query", "/v1/describe", "/v1/action")):
                return json_response(
                    {"message": _REFUSED, "reasons": [{"code": 90000011, "message": _REFUSED}]}, 401
                )
            return failure(90000011, "this resource is protected, please sign in first", 401)
        entity = request.headers.get("zuora-entity-ids")
        if entity and entity.replace("-", "") != ENTITY:
            return failure(90000021, "The entity does not exist or you may not use it", 403)
        if self.service.faults.take("concurrency", f"{request.method} {path}"):
            return _concurrent()
        if fault := self.service.faults.take("inside_error", f"{request.method} {path}"):
            code, message = fault.text("code", "LOCK_COMPETITION"), fault.text("message", "No.")
            return json_response({"errorCode": code, "message": message})
        self._business.catch_up()
        try:
            return self._route(request, path, _json(body))
        except Refused as refused:
            return failure(int(refused.code), refused.message, refused.status)

    def _route(self, request: Request, path: str, body: dict[str, object] | None) -> Response:
        method = request.method
        parts = path.removeprefix("/v1/").removeprefix("/apps/api/").split("/")
        if method in ("POST", "PUT") and body is None:
            return failure(58730020, "The request body is not valid JSON", 400)
        body = body or {}
        match (method, *parts):
            case ("POST", "action", "query"):
                return self._query(body)
            case ("POST", "action", "queryMore"):
                return self._query_more(body)
            case ("POST", "batch-query"):
                return self._order(body)
            case ("GET" | "DELETE", "batch-query", "jobs", key):
                return self._job(method, key)
            case ("GET", "file" | "files", key):
                return self._file(key)
            case ("POST", "object", "export"):
                return self._order_export(body)
            case ("GET", "object", "export", key):
                found = self.jobs.export(key)
                return json_response(found) if found else _no_object("Export", key)
            case ("GET", "object", name, key):
                return self._object(name, key)
            case ("POST", "object", name):
                return _crud_answer(self._crud.create(name, body))
            case ("PUT", "object", name, key):
                return _crud_answer(self._crud.update(name, key, body))
            case ("DELETE", "object", name, key):
                return _crud_answer(self._crud.delete(name, key))
            case ("POST", "action", "create" | "update" | "delete" | "generate" as action):
                return self._act(action, body)
            case ("GET", "", "object-query", resource, *rest) if len(rest) <= 1:
                return self._query_objects(request, resource, rest[0] if rest else None)
            case (_, "accounts" | "contacts" | "subscriptions" | "orders", *_):
                return self._business.answer(request, parts, body)
            case (_, "operations" | "bill-runs", *_) | ("POST" | "PUT" | "DELETE", "invoices", *_):
                return self._business.answer(request, parts, body)
            case ("GET", "invoices" | "payments" as name, *rest):
                return self._business.documents(request, name, rest)
            case ("GET", "transactions", "invoices" | "payments" as name, "accounts", key):
                return self._business.of_account(request, name, key)
            case ("GET", "describe"):
                return _xml(describe_all(base_url(request)))
            case ("GET", "describe", name):
                return self._describe(request, name)
            case ("GET", "catalog", "products"):
                return self._products(request)
            case ("POST", "", "query", "jobs") if not isinstance(body.get("query"), str):
                return failure(40000020, "The query field is required", 400)
            case ("POST", "", "query", "jobs"):
                return json_response({"data": self.jobs.order_query(body, base_url(request))})
            case ("GET", "", "query", "jobs"):
                return self._data_queries(request)
            case ("GET" | "DELETE", "", "query", "jobs", key):
                found = self.jobs.query(key) if method == "GET" else self.jobs.cancel_query(key)
                return (
                    json_response({"data": found}) if found else failure(50000040, "not found", 404)
                )
            case ("POST" | "PUT" | "PATCH" | "DELETE", *_):
                return failure(50000060, "The user has no permission to write", 403)
        return failure(50000040, f"Cannot find entity by path: {path}", 404)

    # Records

    def _act(self, action: str, body: Mapping[str, object]) -> Response:
        """Many records of a type at once, each with its own result."""
        name = str(body.get("type") or "")
        listed = body.get("ids" if action == "delete" else "objects")
        is_fit = action == "delete" or (
            isinstance(listed, list) and all(isinstance(each, dict) for each in listed)
        )
        if not is_fit or not isinstance(listed, list) or not 0 < len(listed) <= MAX_ACTION:
            return failure(58730020, f"From 1 to {MAX_ACTION} records are needed", 400)
        if action == "generate" and name != "Invoice":
            return failure(58730020, f"Only invoices can be generated, not {name!r}", 400)
        results: list[Record] = []
        for each in listed:
            if action == "delete":
                results.append(self._crud.delete(name, str(each)))
            elif action == "create":
                results.append(self._crud.create(name, each))
            elif action == "generate":
                results.append(self._business.generate(each))
            else:
                results.append(self._crud.update(name, str(each.get("Id")), each))
        return json_response(results)

    def _query_objects(self, request: Request, resource: str, key: str | None) -> Response:
        query: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            query.setdefault(name, []).append(value)
        is_stuck = self.service.faults.take("repeat_page", resource) is not None
        try:
            return json_response(self._objects.answer(resource, key, query, stuck=is_stuck))
        except ObjectQueryError as error:
            code = 50000040 if error.status == 404 else 40000020
            return failure(code, error.message, error.status)

    def _data_queries(self, request: Request) -> Response:
        """The latest data queries, the newest first."""
        size = request.query_params.get("pageSize", "20")
        if not is_number(size) or not 1 <= int(size) <= MAX_DATA_QUERIES:
            return failure(40000020, f"pageSize must be from 1 to {MAX_DATA_QUERIES}", 400)
        status = request.query_params.get("queryStatus")
        found = [job for job in self.jobs.queries() if status in (None, job["queryStatus"])]
        return json_response({"data": found[: int(size)]})

    def _error(self, kind: str, fault: Fault) -> Response | None:
        if kind == "throttle":
            wait = fault.number("retry_after_seconds", 1)
            has_header = fault.is_set("with_retry_after", default=True)
            return _too_many(wait, has_header=has_header)
        if kind == "expire_session":
            self._tokens.clear()
            return None
        if kind == "unavailable":
            return failure(58490091, "The service is temporarily unavailable", 503)
        return failure(58490060, "Something unexpected happened", 500)

    # Logins

    def _log_in(self, request: Request, body: bytes) -> Response:
        form = {key: values[0] for key, values in parse_qs(body.decode("latin-1")).items()}
        if request.method != "POST" or form.get("grant_type") != "client_credentials":
            return json_response({"message": "grant_type must be client_credentials"}, 400)
        given = (form.get("client_id", ""), form.get("client_secret", ""))
        if not given[0]:
            given = _basic(request.headers.get("authorization", "")) or given
        if not _same(given, self._client):
            return json_response({"message": "Invalid client id or client secret"}, 401)
        token = secrets.token_hex(16)
        self._tokens[token] = time.monotonic() + _TOKEN_SECONDS
        return json_response(
            {
                "access_token": token,
                "token_type": "bearer",
                "expires_in": _TOKEN_SECONDS,
                "scope": f"entity.{ENTITY} service.usage.delete user.{secrets.token_hex(8)}",
                "jti": token,
            }
        )

    def _is_known(self, request: Request) -> bool:
        headers = request.headers
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._tokens.get(token, 0.0) > time.monotonic()
        if (given := _basic(headers.get("authorization", ""))) is not None:
            return _same(given, self._keys)
        given = (headers.get("apiaccesskeyid", ""), headers.get("apisecretaccesskey", ""))
        return _same(given, self._keys)

    # ZOQL

    def _query(self, body: Mapping[str, object]) -> Response:
        text = str(body.get("queryString") or "")
        conf = body.get("conf")
        size = conf.get("batchSize") if isinstance(conf, dict) else None
        size = size if isinstance(size, int) and 0 < size <= MAX_BATCH else MAX_BATCH
        try:
            query = parse(text, self._tenant, is_export=False, zone=ZONE)
        except QueryError as error:
            if error.code == "MALFORMED_QUERY":
                fault = {"faultcode": "fns:MALFORMED_QUERY", "faultstring": error.message}
                return json_response(fault, 400)
            return json_response({"FaultCode": error.code, "FaultMessage": error.message}, 400)
        return self._zoql_page(query, list(run(query, self._tenant)), 0, size)

    def _query_more(self, body: Mapping[str, object]) -> Response:
        locator = str(body.get("queryLocator") or "")
        kept = self._locators.get(locator)
        is_lost = self.service.faults.take("lose_locator", locator) is not None
        if kept is None or is_lost or kept[3] < time.monotonic():
            return json_response(
                {
                    "FaultCode": "INVALID_QUERY_LOCATOR",
                    "FaultMessage": "invalid query locator",
                },
                400,
            )
        query, records, begin, _ = kept
        if self.service.faults.take("repeat_page", query.text):
            begin = max(0, begin - MAX_BATCH)
        return self._zoql_page(query, records, begin, MAX_BATCH)

    def _zoql_page(self, query: Query, records: list[Record], begin: int, size: int) -> Response:
        page = records[begin : begin + size]
        change = self.service.faults.take("change_schema", query.kind.name)
        found = []
        for values in rows_of(query, self._tenant, page):
            row = {
                item.field.name: json_value(value)
                for item, value in zip(query.selected, values, strict=True)
                if value is not None
            }
            found.append(_changed(row, change) if change else row)
        end = begin + size
        answer: dict[str, object] = {"size": len(records), "done": end >= len(records)}
        if found or records:
            answer["records"] = found
        if end < len(records):
            locator = f"2c92a0{secrets.token_hex(13)}-{end}"
            deadline = time.monotonic() + _LOCATOR_SECONDS
            self._locators[locator] = (query, records, end, deadline)
            answer["queryLocator"] = locator
        return json_response(answer)

    # Jobs and files

    def _order(self, body: Mapping[str, object]) -> Response:
        try:
            return json_response(self.jobs.answer(self.jobs.order(body, self._now())))
        except AquaRefused as refused:
            return json_response(refused.answer)

    def _job(self, method: str, key: str) -> Response:
        job = self.jobs.job(key)
        if job is not None and method == "GET":
            self.jobs.advance(job)
            job = self.jobs.job(key)
        if job is None:
            message = f"Cannot find job by the given id {key}"
            return json_response({"errorCode": "90001", "message": message}, 404)
        if method == "DELETE":
            self.jobs.cancel(job)
        return json_response(self.jobs.answer(job))

    def _file(self, key: str) -> Response:
        found = self.jobs.file(key)
        if found is None:
            return failure(50000040, f"Cannot find file {key}", 404)
        body, kind = found
        ending = {"application/zip": "zip", "application/x-gzip": "csv.gz"}.get(kind, "csv")
        headers = {"Content-Disposition": f'attachment; filename="{key}.{ending}"'}
        return Response(body, 200, headers, kind)

    def _order_export(self, body: Mapping[str, object]) -> Response:
        try:
            return json_response({"Success": True, "Id": self.jobs.order_export(body)})
        except QueryError as error:
            message = f"Invalid Export Query: {error.message}"
            errors = [{"Code": "INVALID_VALUE", "Message": message}]
            return json_response({"Success": False, "Errors": errors}, 400)

    # Describe and records

    def _describe(self, request: Request, name: str) -> Response:
        kind = object_types().get(name.lower())
        if kind is None:
            return failure(50000040, f"Cannot find object {name}", 404)
        lost: object = None
        if fault := self.service.faults.take("change_schema", kind.name):
            lost = fault.options.get("drop")
        hidden = frozenset(str(n) for n in lost) if isinstance(lost, list) else frozenset()
        return _xml(kind.describe(base_url(request), hidden))

    def _object(self, name: str, key: str) -> Response:
        kind = object_types().get(name.replace("-", "").lower())
        record = self._tenant.find(kind.name, key) if kind else None
        if kind is None or record is None or record.get("Deleted"):
            return _no_object(name, key)
        return json_response({k: json_value(v) for k, v in record.items() if v is not None})

    def _products(self, request: Request) -> Response:
        query = request.query_params
        size = (
            min(40, int(query.get("pageSize", "10")))
            if is_number(query.get("pageSize", "1"))
            else 10
        )
        page = int(query["page"]) if is_number(query.get("page", "")) else 1
        products = self._tenant.rows("Product")
        plans = self._tenant.rows("ProductRatePlan")
        charges = self._tenant.rows("ProductRatePlanCharge")
        tiers = self._tenant.rows("ProductRatePlanChargeTier")
        begin = (page - 1) * size
        shown = [
            {
                **lowered(product),
                "productRatePlans": [
                    {
                        **lowered(plan),
                        "productRatePlanCharges": [
                            {
                                **lowered(charge),
                                "pricing": [
                                    lowered(t)
                                    for t in tiers
                                    if t["ProductRatePlanChargeId"] == charge["Id"]
                                ],
                            }
                            for charge in charges
                            if charge["ProductRatePlanId"] == plan["Id"]
                        ],
                    }
                    for plan in plans
                    if plan["ProductId"] == product["Id"]
                ],
            }
            for product in products[begin : begin + size]
        ]
        answer: dict[str, object] = {"products": shown, "success": True}
        if begin + size < len(products):
            following = f"{base_url(request)}/v1/catalog/products?page={page + 1}&pageSize={size}"
            if fault := self.service.faults.take("foreign_link", request.url.path):
                following = fault.text("host", FOREIGN_HOST) + "/v1/catalog/products?page=2"
            answer["nextPage"] = following
        return json_response(answer)


def _crud_answer(told: Record) -> Response:
    return json_response(told, 200 if told.get("Success", told.get("success")) else 400)


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return user, password


def _same(given: tuple[str, str], known: tuple[str, str]) -> bool:
    return all(
        secrets.compare_digest(one.encode(), other.encode())
        for one, other in zip(given, known, strict=True)
    )


def _json(body: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _changed(row: Record, fault: Fault) -> Record:
    for option in ("add", "retype"):
        values = fault.options.get(option)
        if isinstance(values, dict):
            row.update({str(name): value for name, value in values.items()})
    dropped = fault.options.get("drop")
    for name in dropped if isinstance(dropped, list) else ():
        row.pop(str(name), None)
    return row


def _xml(body: bytes) -> Response:
    return Response(body, media_type="text/xml; charset=utf-8")


def _no_object(name: str, key: str) -> Response:
    return json_response(
        {"done": True, "records": [{}], "size": 0, "message": f"{name} {key} not found"}, 404
    )


def _too_many(seconds: float, *, has_header: bool = True) -> Response:
    wait = str(max(0, round(seconds)))
    headers = {"Retry-After": wait, "RateLimit-Reset": wait} if has_header else {}
    body = {
        "code": 429,
        "message": "Request exceeded limit",
        "reasons": [{"code": 70000070, "message": "Request exceeded limit"}],
    }
    return json_response(body, 429, headers)


def _concurrent() -> Response:
    message = "The maximum number of concurrent requests is exceeded; retry after 120 seconds"
    return json_response(
        {"success": False, "reasons": [{"code": 50000070, "message": message}]},
        429,
        {
            "Concurrency-Limit-Type": "Default",
            "Concurrency-Limit-Limit": "40",
            "Concurrency-Limit-Remaining": "0",
        },
    )
