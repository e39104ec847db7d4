"""Calls inside one call: ``/composite``, ``/composite/batch`` and ``/composite/graph``.

Belongs here: reading subrequests, references from one to another, what is undone when one fails and
what the vendor allows at most. What a subrequest does is the business of the resource it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from meltano_assets.sandbox.salesforce_http import Call, Reply, bad_request, not_found
from meltano_assets.sandbox.salesforce_org import RollBack
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem

MAX_SUBREQUESTS = 25
#: Queries and collections together, in one composite request.
MAX_WIDE_SUBREQUESTS = 5
MAX_GRAPHS = 75
MAX_NODES = 500
MAX_DEPTH = 15
#: Version, method and object together make a kind of node.
MAX_KINDS_OF_NODES = 15
MAX_FAILED_GRAPHS = 14

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_NODE_METHODS = {
    1: ("POST",),
    2: ("DELETE", "GET", "PATCH"),
    3: ("DELETE", "GET", "PATCH", "POST"),
}
#: Headers that a subrequest has from the request around it, and may not bring itself.
_INHERITED = ("accept", "authorization", "content-type")
_COMPOSITE_RESOURCES = ("sobjects", "query", "queryall")
_BATCH_VERSION = 34.0
_GRAPH_VERSION = 50.0
#: From this version on odd reference ids fail the whole request, and null may be referred to.
_STRICT_VERSION = 52.0
_URL = re.compile(r"(?:/services/data)?/?v(\d+\.\d)(/[^?]*)?(?:\?(.*))?$")
_REFERENCE_ID = re.compile(r"[A-Za-z0-9]\w*$", re.ASCII)
_GRAPH_ID = re.compile(r"[A-Za-z0-9][^.]{0,39}$")
_REFERENCE = re.compile(r"@\{(\w+)((?:\.\w+|\[\d+\])*)\}")
_NOT_AN_ID = (
    "must start with a letter or a number, and it can contain only letters, numbers and "
    "underscores ('_')."
)
_ROLLED_BACK = ApiProblem(
    "PROCESSING_HALTED",
    "The transaction was rolled back since another operation in the same transaction failed.",
)
_TOO_MANY_FAILED = ApiProblem(
    "PROCESSING_HALTED",
    f"The graph was not processed since more than {MAX_FAILED_GRAPHS} graphs of the request failed.",
)
_BATCH_HALTED = ApiProblem(
    "BATCH_PROCESSING_HALTED",
    "Batch processing halted per the request after error in preceding operation",
)


@dataclass(slots=True)
class _Part:
    """A subrequest of a composite request, or a node of a graph."""

    name: str
    method: str
    url: str
    body: object
    headers: dict[str, str] = field(default_factory=dict)

    def answer(
        self, status: int, content: object, headers: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        """The result as the vendor writes it."""
        return {
            "body": content,
            "httpHeaders": {k: v for k, v in (headers or {}).items() if k == "Location"},
            "httpStatusCode": status,
            "referenceId": self.name,
        }

    def halted(self, problem: ApiProblem) -> dict[str, object]:
        """The result of a part that was not carried out, or was undone."""
        return self.answer(400, [problem.for_request()])


class Subrequests:
    """Carries calls out one after the other, through ``dispatch``."""

    def __init__(self, dispatch: Callable[[Call], Reply]) -> None:
        self._dispatch = dispatch

    # independent calls

    def batch(self, call: Call) -> Reply:
        """Up to 25 calls, each for itself."""
        body = call.json()
        requests = _objects(body, "batchRequests")
        if len(requests) > MAX_SUBREQUESTS:
            raise bad_request(
                "LIMIT_EXCEEDED", f"Batch size exceeds the limit of {MAX_SUBREQUESTS}"
            )
        calls = [self._batch_call(call, item) for item in requests]
        halt = body.get("haltOnError") is True
        results: list[dict[str, object]] = []
        has_errors = False
        for inner in calls:
            if halt and has_errors:
                results.append({"statusCode": 412, "result": [_BATCH_HALTED.for_request()]})
                continue
            reply = self._dispatch(inner)
            has_errors = has_errors or reply.status >= 400
            results.append({"statusCode": reply.status, "result": reply.content})
        return Reply(200, {"hasErrors": has_errors, "results": results})

    def _batch_call(self, call: Call, item: Mapping[str, object]) -> Call:
        inner = _call(call, _method(item), str(item.get("url", "")), item.get("richInput"))
        inner.headers = {**call.headers, "content-type": "application/json"}
        version, around = float(inner.version), float(call.version)
        if version > around or (version < _BATCH_VERSION and around >= _BATCH_VERSION):
            raise bad_request(
                "INVALID_INPUT",
                f"The version of a subrequest must be {_BATCH_VERSION} or later and not later "
                f"than that of the batch, {call.version}: {item.get('url')}",
            )
        if inner.segments and inner.segments[0].lower() in ("composite", "jobs"):
            raise bad_request(
                "INVALID_INPUT", f"This resource is not supported in a batch: {item.get('url')}"
            )
        return inner

    # calls that refer to each other

    def composite(self, call: Call) -> Reply:
        """Up to 25 calls that may refer to the results of earlier ones."""
        body = call.json()
        requests = _objects(body, "compositeRequest")
        if len(requests) > MAX_SUBREQUESTS:
            raise bad_request(
                "LIMIT_EXCEEDED",
                f"Limit of {MAX_SUBREQUESTS} reached for allowed subrequests in a composite request",
            )
        parts = _parts(requests, call.version)
        if sum(_is_wide(part.url) for part in parts) > MAX_WIDE_SUBREQUESTS:
            raise bad_request(
                "LIMIT_EXCEEDED",
                f"Limit of {MAX_WIDE_SUBREQUESTS} reached for queries and sObject Collections in a "
                "composite request",
            )
        for flag in ("allOrNone", "collateSubrequests"):
            if not isinstance(body.get(flag, False), bool):
                raise bad_request("JSON_PARSER_ERROR", f"{flag} must be true or false")
        # Subrequests are never collated here: their order is one of those that the vendor may choose.
        if body.get("allOrNone") is True:
            answers, _ = self._all_or_none(call, parts, _is_composite_resource)
        else:
            known: dict[str, object] = {}
            answers = [self._run(call, part, known, _is_composite_resource) for part in parts]
        return Reply(200, {"compositeResponse": answers})

    def graph(self, call: Call) -> Reply:
        """Graphs of calls, each of which is carried out as a whole or not at all."""
        if float(call.version) < _GRAPH_VERSION:
            raise not_found()
        graphs = _graphs(call)
        results: list[dict[str, object]] = []
        failed = 0
        for name, nodes in graphs:
            if failed > MAX_FAILED_GRAPHS:
                answers, is_done = [node.halted(_TOO_MANY_FAILED) for node in nodes], False
            else:
                answers, is_done = self._all_or_none(call, nodes, _is_node_resource)
                failed += not is_done
            results.append(
                {
                    "graphId": name,
                    "graphResponse": {"compositeResponse": answers},
                    "isSuccessful": is_done,
                }
            )
        return Reply(200, {"graphs": results})

    def _all_or_none(
        self, call: Call, parts: Sequence[_Part], is_allowed: Callable[[Call], bool]
    ) -> tuple[list[dict[str, object]], bool]:
        """The results, and whether all went well; the first failure undoes everything."""
        known: dict[str, object] = {}
        answers: list[dict[str, object]] = []
        try:
            with call.org.writing():
                for part in parts:
                    answers.append(self._run(call, part, known, is_allowed))
                    if _has_failed(answers[-1]):
                        raise RollBack
        except RollBack:
            failed = answers[-1]
            return [
                failed if part.name == failed["referenceId"] else part.halted(_ROLLED_BACK)
                for part in parts
            ], False
        return answers, True

    def _run(
        self,
        call: Call,
        part: _Part,
        known: dict[str, object],
        is_allowed: Callable[[Call], bool],
    ) -> dict[str, object]:
        is_strict = float(call.version) >= _STRICT_VERSION
        try:
            url = str(_resolve(part.url, known, takes_null=False))
            body = _resolve(part.body, known, takes_null=is_strict)
            inner = _call(call, part.method, url, body)
            if not is_allowed(inner):
                raise bad_request(
                    "INVALID_INPUT",
                    f"The method and resource of a subrequest are not supported: {part.method} {url}",
                )
        except RequestProblem as error:
            return part.answer(error.status, [p.for_request() for p in error.problems])
        inherited = {name: value for name, value in call.headers.items() if name in _INHERITED}
        inner.headers = {**inherited, **part.headers}
        reply = self._dispatch(inner)
        if reply.status < 400:
            known[part.name] = reply.content
        return part.answer(reply.status, reply.content, reply.headers)


def _has_failed(answer: Mapping[str, object]) -> bool:
    status, body = answer["httpStatusCode"], answer["body"]
    if isinstance(status, int) and status >= 400:
        return True
    # Collections answer 200 with results of their own.
    results = body if isinstance(body, list) else ()
    return any(isinstance(item, dict) and item.get("success") is False for item in results)


# reading


def _objects(body: Mapping[str, object], name: str) -> list[dict[str, object]]:
    value = body.get(name)
    if not isinstance(value, list):
        raise bad_request("MISSING_ARGUMENT", f"The {name} field is required")
    items = [item for item in value if isinstance(item, dict)]
    if len(items) < len(value):
        raise bad_request("JSON_PARSER_ERROR", f"Each item of {name} must be a JSON object")
    return items


def _method(item: Mapping[str, object]) -> str:
    method = item.get("method")
    if method not in _METHODS:
        raise bad_request(
            "INVALID_INPUT",
            f"The method of a subrequest must be one of {', '.join(_METHODS)}: {method}",
        )
    return str(method)


def _parts(requests: Sequence[Mapping[str, object]], version: str) -> list[_Part]:
    parts: dict[str, _Part] = {}
    for item in requests:
        name = item.get("referenceId")
        if not isinstance(name, str) or not name:
            raise bad_request("INVALID_INPUT", "Provide a valid reference ID.")
        if float(version) >= _STRICT_VERSION and not _REFERENCE_ID.match(name):
            raise bad_request("JSON_PARSER_ERROR", f"Provided referenceId ('{name}') {_NOT_AN_ID}")
        if name in parts:
            raise bad_request("INVALID_INPUT", f"Duplicate reference ID provided: {name}.")
        given = item.get("httpHeaders") or {}
        if not isinstance(given, dict):
            raise bad_request("JSON_PARSER_ERROR", "httpHeaders must be a JSON object")
        headers = {key.lower(): str(value) for key, value in given.items()}
        for forbidden in headers.keys() & set(_INHERITED):
            raise bad_request(
                "INVALID_INPUT",
                f"A subrequest has this header from the request around it: {forbidden}",
            )
        url = str(item.get("url", ""))
        parts[name] = _Part(name, _method(item), url, item.get("body"), headers)
    return list(parts.values())


def _graphs(call: Call) -> list[tuple[str, list[_Part]]]:
    found = _objects(call.json(), "graphs")
    if len(found) > MAX_GRAPHS:
        raise _over(MAX_GRAPHS, "graphs in one request")
    graphs: dict[str, list[_Part]] = {}
    for item in found:
        name = item.get("graphId")
        if not isinstance(name, str) or not _GRAPH_ID.match(name):
            raise bad_request(
                "INVALID_INPUT",
                "A graphId must begin with a letter or a number, have at most 40 characters and no "
                f"period: {name}",
            )
        if name in graphs:
            raise bad_request("INVALID_INPUT", f"Duplicate graphId provided: {name}.")
        graphs[name] = _parts(_objects(item, "compositeRequest"), call.version)
    nodes = [node for graph in graphs.values() for node in graph]
    if len(nodes) > MAX_NODES:
        raise _over(MAX_NODES, "nodes in one request")
    if len({_kind(node) for node in nodes}) > MAX_KINDS_OF_NODES:
        raise _over(MAX_KINDS_OF_NODES, "different nodes in one request")
    for graph in graphs.values():
        if _depth(graph) > MAX_DEPTH:
            raise _over(MAX_DEPTH, "the depth of a graph")
    return list(graphs.items())


def _over(limit: int, what: str) -> RequestProblem:
    return bad_request("LIMIT_EXCEEDED", f"Limit of {limit} exceeded for {what}")


def _kind(node: _Part) -> tuple[str, str, str]:
    match = _URL.match(node.url)
    path = [part for part in ((match and match[2]) or "").split("/") if part]
    return (match[1] if match else "", node.method, "/".join(path[:2]).lower())


def _depth(graph: Sequence[_Part]) -> int:
    """How many nodes follow each other at most, by their references."""
    depths: dict[str, int] = {}
    for node in graph:
        text = node.url + json.dumps(node.body)
        before = [depths.get(match[1], 0) for match in _REFERENCE.finditer(text)]
        depths[node.name] = 1 + max(before, default=0)
    return max(depths.values(), default=0)


def _call(call: Call, method: str, url: str, body: object) -> Call:
    """A call inside a call; ``url`` may begin with ``/services/data/vXX.X`` or ``vXX.X``."""
    match = _URL.match(url)
    if match is None:
        raise bad_request("INVALID_INPUT", f"The url of a subrequest is invalid: {url}")
    return Call(
        call.org,
        method,
        # Within the body of a request, blanks in an address are not always encoded.
        quote(match[2] or "", safe="/%@+:"),
        match[3] or "",
        {},
        b"" if body is None else json.dumps(body).encode(),
        version=match[1],
        base_url=call.base_url,
    )


# what may be asked


def _lower_segments(inner: Call) -> list[str]:
    return [segment.lower() for segment in inner.segments]


def _is_wide(url: str) -> bool:
    """A query or a collection?"""
    match = _URL.match(url.partition("?")[0])
    path = [part for part in ((match and match[2]) or "").lower().split("/") if part]
    return path[:1] in (["query"], ["queryall"]) or path[:2] == ["composite", "sobjects"]


def _is_composite_resource(inner: Call) -> bool:
    path = _lower_segments(inner)
    return bool(path) and (path[0] in _COMPOSITE_RESOURCES or path[:2] == ["composite", "sobjects"])


def _is_node_resource(inner: Call) -> bool:
    path = _lower_segments(inner)
    methods: Collection[str] = _NODE_METHODS.get(len(path) - 1, ())
    return bool(path) and path[0] == "sobjects" and inner.method in methods


# references


def _resolve(value: object, known: Mapping[str, object], *, takes_null: bool) -> object:
    """Puts earlier results in the place of ``@{ref.field}``; one alone keeps its type."""
    if isinstance(value, dict):
        return {key: _resolve(item, known, takes_null=takes_null) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, known, takes_null=takes_null) for item in value]
    if not isinstance(value, str) or "@{" not in value:
        return value
    if alone := _REFERENCE.fullmatch(value):
        return _look_up(alone, known, takes_null=takes_null)

    def text(match: re.Match[str]) -> str:
        found = _look_up(match, known, takes_null=takes_null)
        return "" if found is None else found if isinstance(found, str) else json.dumps(found)

    return _REFERENCE.sub(text, value)


def _look_up(match: re.Match[str], known: Mapping[str, object], *, takes_null: bool) -> object:
    if match[1] not in known:
        raise bad_request("PROCESSING_HALTED", f"Invalid reference specified. {match[0]}")
    found: object = known[match[1]]
    path = match[1] + match[2]
    is_found = True
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", match[2]):
        if name and isinstance(found, dict) and name in found:
            found = found[name]
        elif index and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        else:
            is_found = False
            break
    if not is_found or isinstance(found, dict | list) or (found is None and not takes_null):
        raise bad_request(
            "PROCESSING_HALTED",
            f"Invalid reference specified. No value for {path} found in {match[1]}. "
            f"Provided referenceId ('{path}') {_NOT_AN_ID}",
        )
    return found
