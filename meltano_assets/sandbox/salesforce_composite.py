"""Everything below ``/composite``; belongs here: several records in one request, as collections or trees.

Several calls in one request are in ``salesforce_subrequests.py``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meltano_assets.sandbox.salesforce_drafts import Draft, draft_from_json
from meltano_assets.sandbox.salesforce_http import (
    Call,
    Reply,
    allows_duplicates,
    bad_request,
    not_allowed,
    not_found,
)
from meltano_assets.sandbox.salesforce_org import RollBack
from meltano_assets.sandbox.salesforce_query import compile_soql
from meltano_assets.sandbox.salesforce_schema import Field, SObject, parse_id
from meltano_assets.sandbox.salesforce_subrequests import Subrequests
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem
from meltano_assets.sandbox.salesforce_writes import Operation, Outcome, Writer

if TYPE_CHECKING:
    from meltano_assets.sandbox.salesforce_rest import RestApi

MAX_RECORDS = 200
MAX_RETRIEVED = 2000
MAX_TREE_DEPTH = 5
MAX_TREE_TYPES = 5
_MAX_TYPE_CHANGES = 10

_ROLLED_BACK = ApiProblem(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone "
    "header",
)


def _too_many(limit: int) -> RequestProblem:
    return bad_request(
        "EXCEEDED_ID_LIMIT",
        f"record limit reached. cannot submit more than {limit} records into this call",
    )


class Composite:
    """Everything below ``/composite``."""

    def __init__(self, api: RestApi) -> None:
        self.org = api.org
        self._subrequests = Subrequests(api.dispatch)

    def handle(self, call: Call, rest: list[str]) -> Reply:
        word = rest[0].lower() if rest else ""
        if word == "sobjects":
            return self._collections(call, rest[1:])
        if not word and call.method in ("GET", "HEAD"):
            names = ("sobjects", "batch", "graph", "tree")
            return Reply(200, {name: call.url(f"/composite/{name}") for name in names})
        if call.method != "POST" and word in ("", "batch", "graph", "tree"):
            raise not_allowed(call.method, "POST")
        if not word:
            return self._subrequests.composite(call)
        if word == "batch" and len(rest) == 1:
            return self._subrequests.batch(call)
        if word == "graph" and len(rest) == 1:
            return self._subrequests.graph(call)
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
            raise bad_request("MISSING_ARGUMENT", "The records field is required")
        if len(records) > MAX_RECORDS:
            raise _too_many(MAX_RECORDS)
        text = call.text()
        schema = self.org.user_schema
        parsed: list[tuple[SObject, Draft]] = []
        for record in records:
            sobject = self._type_of(record)
            if only is not None and sobject.name != only.name:
                raise bad_request(
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
            raise bad_request(
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
                    raise RollBack
        except RollBack:
            outcomes = _rolled_back(outcomes)
        return Reply(
            200, [_result(outcome, with_created=operation == "upsert") for outcome in outcomes]
        )

    def _type_of(self, record: object) -> SObject:
        if not isinstance(record, dict):
            raise bad_request("JSON_PARSER_ERROR", "A record must be a JSON object")
        attributes = record.get("attributes")
        name = attributes.get("type") if isinstance(attributes, dict) else None
        if not isinstance(name, str):
            raise bad_request("INVALID_INPUT", "Missing entity type information.")
        sobject = self.org.user_schema.find(name)
        if sobject is None:
            raise bad_request("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        if not sobject.is_writable:
            raise bad_request(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                f"entity type {name} cannot be inserted or updated",
            )
        return sobject

    def _delete(self, call: Call) -> Reply:
        ids = [part for part in call.params.get("ids", "").split(",") if part]
        if not ids:
            raise bad_request("MISSING_ARGUMENT", "The ids parameter is required")
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
                    raise RollBack
        except RollBack:
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
            raise bad_request("MISSING_ARGUMENT", f"The {missing} parameter is required")
        if len(ids) > limit:
            raise _too_many(limit)
        parsed = [parse_id(text) for text in ids]
        for text, found in zip(ids, parsed, strict=True):
            if found is None:
                raise bad_request("MALFORMED_ID", f"malformed id {text}")
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

    # tree

    def _tree(self, call: Call, object_name: str) -> Reply:
        sobject = self.org.user_schema.find(object_name)
        if sobject is None:
            raise not_found()
        records = call.json().get("records")
        if not isinstance(records, list):
            raise bad_request("MISSING_ARGUMENT", "The records field is required")
        nodes = list(_nodes(records))
        if len(nodes) > MAX_RECORDS:
            raise _too_many(MAX_RECORDS)
        if max((depth for depth, _ in nodes), default=0) > MAX_TREE_DEPTH:
            raise bad_request(
                "INVALID_INPUT", f"A tree can be no more than {MAX_TREE_DEPTH} levels deep"
            )
        kinds = {self._type_of(record).name for _, record in nodes}
        if len(kinds) > MAX_TREE_TYPES:
            raise bad_request(
                "INVALID_INPUT", f"A tree can have no more than {MAX_TREE_TYPES} types of objects"
            )
        if misnamed := _misnamed(record for _, record in nodes):
            return Reply(400, {"hasErrors": True, "results": misnamed})
        results: list[dict[str, object]] = []
        errors: list[dict[str, object]] = []
        try:
            with self.org.writing() as connection:
                self._plant(connection, call.text(), sobject, records, None, results, errors)
                if errors:
                    raise RollBack
        except RollBack:
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
                raise bad_request("INVALID_TYPE", f"A record of {sobject.name} is expected")
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
                    raise bad_request(
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


def _names(body: Mapping[str, object], key: str) -> list[str]:
    value = body.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []


def _nodes(records: Sequence[object], depth: int = 1) -> Iterator[tuple[int, object]]:
    """All records of a tree, each with its level, the first one being 1."""
    for record in records:
        yield depth, record
        for value in record.values() if isinstance(record, dict) else ():
            if isinstance(value, dict) and isinstance(value.get("records"), list):
                yield from _nodes(value["records"], depth + 1)


def _misnamed(records: Iterable[object]) -> list[dict[str, object]]:
    """What is wrong with the reference ids of a tree, by record."""
    seen: set[str] = set()
    wrong: list[dict[str, object]] = []
    for record in records:
        attributes = record.get("attributes") if isinstance(record, dict) else None
        name = attributes.get("referenceId") if isinstance(attributes, dict) else None
        message = ""
        if not isinstance(name, str) or not name:
            name, message = "", "Include a reference ID for each record in the request."
        elif not name[0].isalnum():
            message = "A reference ID must start with an alphanumeric character."
        elif name in seen:
            message = "Duplicate ReferenceId provided in the request."
        if message:
            problem = ApiProblem("INVALID_INPUT", message)
            wrong.append({"referenceId": name, "errors": [problem.for_collection()]})
        seen.add(name)
    return wrong
