"""Several records or several calls in one request: collections, composite, batch and tree."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from meltano_assets.sandbox.salesforce_drafts import Draft, draft_from_json
from meltano_assets.sandbox.salesforce_http import (
    Call,
    Reply,
    allows_duplicates,
    not_allowed,
    not_found,
)
from meltano_assets.sandbox.salesforce_query import compile_soql
from meltano_assets.sandbox.salesforce_schema import Field, SObject, parse_id
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem
from meltano_assets.sandbox.salesforce_writes import Operation, Outcome, Writer

if TYPE_CHECKING:
    from meltano_assets.sandbox.salesforce_rest import RestApi

MAX_RECORDS = 200
MAX_RETRIEVED = 2000
MAX_SUBREQUESTS = 25
_MAX_TYPE_CHANGES = 10

_ROLLED_BACK = ApiProblem(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone "
    "header",
)
_HALTED = ApiProblem(
    "PROCESSING_HALTED",
    "The transaction was rolled back since another operation in the same transaction failed.",
)
_REFERENCE = re.compile(r"@\{(\w+)((?:\.\w+|\[\d+\])*)\}")


class _RollBack(Exception):
    """Leaves a transaction undone."""


def _bad_request(code: str, message: str) -> RequestProblem:
    return RequestProblem(400, ApiProblem(code, message))


def _too_many(limit: int) -> RequestProblem:
    return _bad_request(
        "EXCEEDED_ID_LIMIT",
        f"record limit reached. cannot submit more than {limit} records into this call",
    )


class Composite:
    """Everything below ``/composite``."""

    def __init__(self, api: RestApi) -> None:
        self.api = api
        self.org = api.org

    def handle(self, call: Call, rest: list[str]) -> Reply:
        word = rest[0].lower() if rest else ""
        if word == "sobjects":
            return self._collections(call, rest[1:])
        if call.method != "POST" and word in ("", "batch", "tree"):
            if not word and call.method == "GET":
                names = ("sobjects", "batch", "tree")
                return Reply(200, {name: call.url(f"/composite/{name}") for name in names})
            raise not_allowed(call.method, "POST")
        if not word:
            return self._composite(call)
        if word == "batch" and len(rest) == 1:
            return self._batch(call)
        if word == "tree" and len(rest) == 2:
            return self._tree(call, rest[1])
        raise not_found()

    # collections

    def _collections(self, call: Call, rest: list[str]) -> Reply:
        if not rest:
            if call.method == "DELETE":
                return self._delete(call)
            if call.method not in ("POST", "PATCH"):
                raise not_allowed(call.method, "DELETE", "PATCH", "POST")
            return self._write(call, "insert" if call.method == "POST" else "update")
        sobject = self.org.user_schema.find(rest[0])
        if sobject is None:
            raise not_found()
        if len(rest) == 1:
            return self._retrieve(call, sobject)
        if call.method != "PATCH":
            raise not_allowed(call.method, "PATCH")
        external = sobject.find(rest[1])
        if external is None or not (external.external_id or external.kind == "id"):
            raise RequestProblem(
                404,
                ApiProblem(
                    "NOT_FOUND",
                    f"Provided external ID field does not exist or is not accessible: {rest[1]}",
                ),
            )
        return self._write(call, "upsert", sobject, external)

    def _write(
        self,
        call: Call,
        operation: Operation,
        only: SObject | None = None,
        external: Field | None = None,
    ) -> Reply:
        body = call.json()
        records = body.get("records")
        if not isinstance(records, list):
            raise _bad_request("MISSING_ARGUMENT", "The records field is required")
        if len(records) > MAX_RECORDS:
            raise _too_many(MAX_RECORDS)
        text = call.text()
        schema = self.org.user_schema
        parsed: list[tuple[SObject, Draft]] = []
        for record in records:
            sobject = self._type_of(record)
            if only is not None and sobject.name != only.name:
                raise _bad_request(
                    "INVALID_TYPE",
                    f"All records must be of the type in the URI: {only.name}",
                )
            parsed.append(
                (sobject, draft_from_json(schema, sobject, record, external=external, body=text))
            )
        groups: list[tuple[SObject, list[Draft]]] = []
        for sobject, draft in parsed:
            # Records of one type in a row are one chunk; the vendor allows ten chunks.
            if not groups or groups[-1][0] is not sobject:
                groups.append((sobject, []))
            groups[-1][1].append(draft)
        if len(groups) > _MAX_TYPE_CHANGES:
            raise _bad_request(
                "INVALID_INPUT",
                "Request contains more than 10 chunks of different object types",
            )
        all_or_none = body.get("allOrNone") is True
        outcomes: list[Outcome] = []
        try:
            with self.org.writing() as connection:
                for sobject, drafts in groups:
                    writer = Writer(
                        self.org,
                        connection,
                        sobject,
                        allow_duplicates=allows_duplicates(call.headers),
                    )
                    outcomes += writer.save(operation, drafts, external)
                if all_or_none and any(outcome.problems for outcome in outcomes):
                    raise _RollBack
        except _RollBack:
            outcomes = _rolled_back(outcomes)
        return Reply(
            200, [_result(outcome, with_created=operation == "upsert") for outcome in outcomes]
        )

    def _type_of(self, record: object) -> SObject:
        if not isinstance(record, dict):
            raise _bad_request("JSON_PARSER_ERROR", "A record must be a JSON object")
        attributes = record.get("attributes")
        name = attributes.get("type") if isinstance(attributes, dict) else None
        if not isinstance(name, str):
            raise _bad_request("INVALID_INPUT", "Missing entity type information.")
        sobject = self.org.user_schema.find(name)
        if sobject is None:
            raise _bad_request("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        if not sobject.is_writable:
            raise _bad_request(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                f"entity type {name} cannot be inserted or updated",
            )
        return sobject

    def _delete(self, call: Call) -> Reply:
        ids = [part for part in call.params.get("ids", "").split(",") if part]
        if not ids:
            raise _bad_request("MISSING_ARGUMENT", "The ids parameter is required")
        if len(ids) > MAX_RECORDS:
            raise _too_many(MAX_RECORDS)
        all_or_none = call.params.get("allOrNone", "").lower() == "true"
        outcomes: list[Outcome] = []
        try:
            with self.org.writing() as connection:
                for text in ids:
                    sobject = self.org.schema.by_prefix.get(text[:3])
                    if sobject is None or parse_id(text) is None:
                        problem = ApiProblem("MALFORMED_ID", f"malformed id {text}")
                        outcomes.append(Outcome(problems=(problem,)))
                        continue
                    writer = Writer(self.org, connection, sobject)
                    outcomes += writer.save("delete", [Draft(record_id=text)])
                if all_or_none and any(outcome.problems for outcome in outcomes):
                    raise _RollBack
        except _RollBack:
            outcomes = _rolled_back(outcomes)
        return Reply(200, [_result(outcome) for outcome in outcomes])

    def _retrieve(self, call: Call, sobject: SObject) -> Reply:
        if call.method == "GET":
            ids = [part for part in call.params.get("ids", "").split(",") if part]
            names = [part.strip() for part in call.params.get("fields", "").split(",") if part]
            limit = MAX_RETRIEVED
        elif call.method == "POST":
            body = call.json()
            ids, names = _names(body, "ids"), _names(body, "fields")
            limit = MAX_RETRIEVED
        else:
            raise not_allowed(call.method, "GET", "POST")
        if not ids or not names:
            missing = "ids" if not ids else "fields"
            raise _bad_request("MISSING_ARGUMENT", f"The {missing} parameter is required")
        if len(ids) > limit:
            raise _too_many(limit)
        parsed = [parse_id(text) for text in ids]
        for text, found in zip(ids, parsed, strict=True):
            if found is None:
                raise _bad_request("MALFORMED_ID", f"malformed id {text}")
        unique = list(dict.fromkeys(["Id", *(n for n in names if n.lower() != "id")]))
        listed = ", ".join(f"'{found}'" for found in parsed)
        compiled = compile_soql(
            self.org,
            f"SELECT {', '.join(unique)} FROM {sobject.name} WHERE Id IN ({listed})",
            include_deleted=False,
        )
        connection = self.org.reader()
        records = compiled.page(connection, compiled.row_numbers(connection), call.version)
        by_id = {record["Id"]: record for record in records}
        return Reply(200, [by_id.get(found) for found in parsed])

    # several calls

    def _sub_call(
        self, call: Call, method: str, url: str, body: object, headers: Mapping[str, str]
    ) -> Call:
        """A call inside a call; ``url`` may begin with ``/services/data/vXX.X`` or ``vXX.X``."""
        match = re.match(r"(?:/services/data)?/?v(\d+\.\d)(/[^?]*)?(?:\?(.*))?$", url)
        if match is None:
            raise _bad_request("INVALID_INPUT", f"The url of a subrequest is invalid: {url}")
        text = b"" if body is None else json.dumps(body).encode()
        # Within the body of a subrequest, blanks in its query are not always encoded.
        return Call(
            self.org,
            method.upper(),
            quote(match[2] or "", safe="/%@+:"),
            match[3] or "",
            {**call.headers, **{k.lower(): str(v) for k, v in headers.items()}},
            text,
            version=match[1],
            base_url=call.base_url,
        )

    def _batch(self, call: Call) -> Reply:
        body = call.json()
        requests = body.get("batchRequests")
        if not isinstance(requests, list):
            raise _bad_request("MISSING_ARGUMENT", "The batchRequests field is required")
        if len(requests) > MAX_SUBREQUESTS:
            raise _bad_request(
                "LIMIT_EXCEEDED", f"Batch size exceeds the limit of {MAX_SUBREQUESTS}"
            )
        halt = body.get("haltOnError") is True
        results: list[dict[str, object]] = []
        has_errors = False
        for item in requests:
            if not isinstance(item, dict):
                raise _bad_request("JSON_PARSER_ERROR", "A subrequest must be a JSON object")
            if halt and has_errors:
                problem = ApiProblem(
                    "BATCH_PROCESSING_HALTED",
                    "Batch processing halted per the request after error in preceding operation",
                )
                results.append({"statusCode": 412, "result": [problem.for_request()]})
                continue
            inner = self._sub_call(
                call,
                str(item.get("method", "")),
                str(item.get("url", "")),
                item.get("richInput"),
                {},
            )
            reply = self.api.dispatch(inner)
            has_errors = has_errors or reply.status >= 400
            results.append({"statusCode": reply.status, "result": reply.content})
        return Reply(200, {"hasErrors": has_errors, "results": results})

    def _composite(self, call: Call) -> Reply:
        body = call.json()
        requests = body.get("compositeRequest")
        if not isinstance(requests, list):
            raise _bad_request("MISSING_ARGUMENT", "The compositeRequest field is required")
        if len(requests) > MAX_SUBREQUESTS:
            raise _bad_request(
                "LIMIT_EXCEEDED",
                f"Limit of {MAX_SUBREQUESTS} reached for allowed subrequests in a composite request",
            )
        seen: set[str] = set()
        for item in requests:
            name = item.get("referenceId") if isinstance(item, dict) else None
            if not isinstance(name, str) or not name:
                raise _bad_request("INVALID_INPUT", "Provide a valid reference ID.")
            if name in seen:
                raise _bad_request("INVALID_INPUT", f"Duplicate reference ID provided: {name}.")
            seen.add(name)
        known: dict[str, object] = {}
        answers: list[dict[str, object]] = []
        if body.get("allOrNone") is not True:
            answers = [self._subrequest(call, item, known) for item in requests]
            return Reply(200, {"compositeResponse": answers})
        try:
            with self.org.writing():
                for item in requests:
                    answers.append(self._subrequest(call, item, known))
                    status = answers[-1]["httpStatusCode"]
                    if isinstance(status, int) and status >= 400:
                        raise _RollBack
        except _RollBack:
            failed = answers[-1]
            answers = [
                failed
                if item["referenceId"] == failed["referenceId"]
                else _sub_answer(400, [_HALTED.for_request()], str(item["referenceId"]))
                for item in requests
            ]
        return Reply(200, {"compositeResponse": answers})

    def _subrequest(
        self, call: Call, item: Mapping[str, object], known: dict[str, object]
    ) -> dict[str, object]:
        name = str(item["referenceId"])
        headers = item.get("httpHeaders")
        try:
            inner = self._sub_call(
                call,
                str(item.get("method", "")),
                str(_resolve(item.get("url", ""), known)),
                _resolve(item.get("body"), known),
                headers if isinstance(headers, dict) else {},
            )
        except RequestProblem as error:
            return _sub_answer(400, [p.for_request() for p in error.problems], name)
        reply = self.api.dispatch(inner)
        if reply.status < 400:
            known[name] = reply.content
        return _sub_answer(reply.status, reply.content, name, reply.headers)

    # tree

    def _tree(self, call: Call, object_name: str) -> Reply:
        sobject = self.org.user_schema.find(object_name)
        if sobject is None:
            raise not_found()
        records = call.json().get("records")
        if not isinstance(records, list):
            raise _bad_request("MISSING_ARGUMENT", "The records field is required")
        if _tree_size(records) > MAX_RECORDS:
            raise _too_many(MAX_RECORDS)
        results: list[dict[str, object]] = []
        errors: list[dict[str, object]] = []
        try:
            with self.org.writing() as connection:
                self._plant(connection, call.text(), sobject, records, None, results, errors)
                if errors:
                    raise _RollBack
        except _RollBack:
            return Reply(400, {"hasErrors": True, "results": errors})
        return Reply(201, {"hasErrors": False, "results": results})

    def _plant(
        self,
        connection: sqlite3.Connection,
        text: str,
        sobject: SObject,
        records: Sequence[object],
        parent: tuple[Field, str] | None,
        results: list[dict[str, object]],
        errors: list[dict[str, object]],
    ) -> None:
        schema = self.org.user_schema
        for record in records:
            found = self._type_of(record)
            if found.name != sobject.name or not isinstance(record, dict):
                raise _bad_request("INVALID_TYPE", f"A record of {sobject.name} is expected")
            reference = str(record["attributes"].get("referenceId", ""))
            own: dict[str, object] = {}
            nested: dict[str, dict[str, Any]] = {}
            for name, value in record.items():
                is_nested = isinstance(value, dict) and isinstance(value.get("records"), list)
                if is_nested:
                    nested[name] = value
                else:
                    own[name] = value
            draft = draft_from_json(schema, sobject, own, body=text)
            if parent is not None:
                draft.values[parent[0].name] = parent[1]
            outcome = Writer(self.org, connection, sobject).save("insert", [draft])[0]
            if outcome.problems:
                shown = [problem.for_collection() for problem in outcome.problems]
                errors.append({"referenceId": reference, "errors": shown})
                continue
            results.append({"referenceId": reference, "id": outcome.record_id})
            for name, value in nested.items():
                child = schema.child(sobject, name)
                if child is None:
                    raise _bad_request(
                        "INVALID_FIELD",
                        f"No such column '{name}' on sobject of type {sobject.name}",
                    )
                self._plant(
                    connection,
                    text,
                    child[0],
                    value["records"],
                    (child[1], str(outcome.record_id)),
                    results,
                    errors,
                )


def _rolled_back(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o if o.problems else Outcome(problems=(_ROLLED_BACK,)) for o in outcomes]


def _result(outcome: Outcome, *, with_created: bool = False) -> dict[str, object]:
    if outcome.problems:
        return {
            "success": False,
            "errors": [problem.for_collection() for problem in outcome.problems],
        }
    answer: dict[str, object] = {"id": outcome.record_id, "success": True, "errors": []}
    if with_created:
        answer["created"] = outcome.created
    return answer


def _sub_answer(
    status: int, content: object, name: str, headers: Mapping[str, str] | None = None
) -> dict[str, object]:
    shown = {k: v for k, v in (headers or {}).items() if k == "Location"}
    return {
        "body": content,
        "httpHeaders": shown,
        "httpStatusCode": status,
        "referenceId": name,
    }


def _names(body: Mapping[str, object], key: str) -> list[str]:
    value = body.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []


def _tree_size(records: Sequence[object]) -> int:
    size = 0
    for record in records:
        size += 1
        for value in record.values() if isinstance(record, dict) else ():
            if isinstance(value, dict) and isinstance(value.get("records"), list):
                size += _tree_size(value["records"])
    return size


def _resolve(value: object, known: Mapping[str, object]) -> object:
    """Puts earlier results in the place of ``@{ref.field}``."""
    if isinstance(value, dict):
        return {key: _resolve(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, known) for item in value]
    if not isinstance(value, str) or "@{" not in value:
        return value

    def find(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise _bad_request("PROCESSING_HALTED", f"Invalid reference specified. {match[0]}")
        found: object = known[match[1]]
        for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", match[2]):
            if name and isinstance(found, dict) and name in found:
                found = found[name]
            elif index and isinstance(found, list) and int(index) < len(found):
                found = found[int(index)]
            else:
                raise _bad_request(
                    "PROCESSING_HALTED",
                    f"Invalid reference specified. No value for {match[2][1:]} found in {match[1]}",
                )
        return str(found)

    return _REFERENCE.sub(find, value)
