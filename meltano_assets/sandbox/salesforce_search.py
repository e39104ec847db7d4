"""The search resources: ``/search``, ``/parameterizedSearch`` and what they tell of themselves.

A record is found when its text fields hold what is looked for; there is no index that lags behind,
no ranking and no spelling correction. ``/parameterizedSearch`` is SOSL without its syntax, so it is
made into SOSL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meltano_assets.sandbox import sosl
from meltano_assets.sandbox.salesforce_http import Call, Reply, not_allowed, not_found
from meltano_assets.sandbox.salesforce_query import compile_tree
from meltano_assets.sandbox.salesforce_schema import TEXT_KINDS, Field, SObject
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem
from meltano_assets.sandbox.soql import Path, Query, Selected, SoqlError
from meltano_assets.sandbox.soql_records import Compiled

MAX_RESULTS = 2000
#: The vendor finds nothing for a longer statement.
MAX_SEARCH = 10_000
_FIRST_ANSWER_WITH_KEYS = 37.0
_NAMES = frozenset(["FirstName", "LastName", "Subject"])
_SCOPE = ("Account", "Contact", "Lead", "Opportunity", "Case", "Campaign", "User", "Task", "Event")


class Searches:
    """The answers of the search resources."""

    def handle(self, call: Call, rest: list[str]) -> Reply:
        """``/search?q=FIND …``, ``/search/scopeOrder``, ``/search/layout``."""
        if call.method not in ("GET", "HEAD"):
            raise not_allowed(call.method, "HEAD", "GET")
        word = rest[0].lower() if rest else ""
        if word == "scopeorder" and len(rest) == 1:
            return self._scope(call)
        if word == "layout" and len(rest) == 1:
            return self._layouts(call)
        if rest:
            raise not_found()
        return self._answer(call, call.params.get("q", ""))

    def parameterized(self, call: Call, rest: list[str]) -> Reply:
        """``/parameterizedSearch`` by parameters of the address or by a JSON body."""
        if rest:
            raise not_found()
        if call.method == "POST":
            return self._answer(call, _sosl(call.json()))
        if call.method not in ("GET", "HEAD"):
            raise not_allowed(call.method, "HEAD", "GET", "POST")
        return self._answer(call, _sosl(_body_of(call)))

    def _answer(self, call: Call, text: str) -> Reply:
        try:
            search = sosl.parse(text)
        except SoqlError as error:
            raise RequestProblem(400, ApiProblem(error.code, error.message)) from error
        queries = search.returning or [
            Query(name, 0, [Selected(Path(("Id",), 0))], text=text)
            for name in (o.name for o in call.org.user_schema.objects.values())
        ]
        compiled = [compile_tree(call.org, query, include_deleted=False) for query in queries]
        connection = call.org.reader()
        found = []
        for each in compiled:
            is_searchable = _narrow(each, search) and len(text) <= MAX_SEARCH
            found.append(each.row_numbers(connection) if is_searchable else [])
        limit = min(MAX_RESULTS, MAX_RESULTS if search.limit is None else search.limit)
        shares = _shares([len(rows) for rows in found], limit)
        records = [
            record
            for each, rows, share in zip(compiled, found, shares, strict=True)
            if share
            for record in each.page(connection, rows[:share], call.version)
        ]
        if float(call.version) < _FIRST_ANSWER_WITH_KEYS:
            return Reply(200, records)
        answer: dict[str, object] = {"searchRecords": records}
        if search.with_labels:
            answer["metadata"] = {"entityMetadata": [_labels(each) for each in compiled]}
        return Reply(200, answer)

    def _scope(self, call: Call) -> Reply:
        schema = call.org.user_schema
        names = [name for name in _SCOPE if schema.find(name)]
        return Reply(
            200,
            [
                {"type": name, "url": call.url(f"/sobjects/{name}/describe")}
                for name in [*names, *(o.name for o in schema.objects.values() if o.custom)]
            ],
        )

    def _layouts(self, call: Call) -> Reply:
        names = [name.strip() for name in call.params.get("q", "").split(",") if name.strip()]
        if not names:
            raise RequestProblem(400, ApiProblem("MISSING_ARGUMENT", "The q parameter is required"))
        layouts = []
        for name in names:
            sobject = call.org.user_schema.find(name)
            if sobject is None:
                problem = ApiProblem("INVALID_TYPE", f"sObject type '{name}' is not supported.")
                raise RequestProblem(400, problem)
            layouts.append(
                {
                    "errorMsg": None,
                    "label": "Search Results",
                    "limitRows": 25,
                    "objectType": sobject.name,
                    "searchColumns": [
                        {
                            "field": f"{sobject.name}.{column.name}",
                            "format": column.kind if column.kind in ("date", "datetime") else None,
                            "label": column.label,
                            "name": column.name,
                        }
                        for column in _columns(sobject)
                    ],
                }
            )
        return Reply(200, layouts)


# --- what is looked through ----------------------------------------------------------------


def _narrow(compiled: Compiled, search: sosl.Search) -> bool:
    """Leaves only the records that hold the words; False for an object without such fields."""
    texts = [
        f"ifnull(t0.\"{f.name}\", '')"
        for f in compiled.sobject.stored_fields
        if _is_in(f, search.group)
    ]
    if not texts:
        return False
    document = " || char(10) || ".join(texts)
    condition = _condition(search.expression, document, compiled.parameters)
    compiled.where += f"{' AND' if compiled.where else ' WHERE'} {condition}"
    return True


def _is_in(found: Field, group: str) -> bool:
    if group in ("email", "phone"):
        return found.kind == group
    if group == "name":
        return found.name_field or found.name in _NAMES
    return found.kind in TEXT_KINDS


def _condition(expression: sosl.Expression, document: str, parameters: list[object]) -> str:
    if isinstance(expression, sosl.Term):
        parameters.append(expression.pattern)
        return f"sosl_stands_in(?, {document})"
    left = _condition(expression.left, document, parameters)
    return f"({left} {expression.operator} {_condition(expression.right, document, parameters)})"


def _shares(counts: Sequence[int], limit: int) -> list[int]:
    """How many records of each object are told: an overall limit is shared out evenly."""
    shares = [0] * len(counts)
    open_ = [index for index, count in enumerate(counts) if count]
    while limit > 0 and open_:
        each = max(1, limit // len(open_))
        for index in open_:
            more = min(each, counts[index] - shares[index], limit)
            shares[index] += more
            limit -= more
        open_ = [index for index in open_ if shares[index] < counts[index]]
    return shares


def _labels(compiled: Compiled) -> dict[str, object]:
    keys = [key for key, kind, _ in compiled.root.items if kind == "column"]
    fields = [found for key in keys if (found := compiled.sobject.find(key))]
    return {
        "entityName": compiled.sobject.name,
        "fieldMetadata": [{"label": found.label, "name": found.name} for found in fields],
    }


def _columns(sobject: SObject) -> list[Field]:
    """The name and how to reach somebody."""
    named = [f for f in sobject.fields if f.name_field]
    return named + [f for f in sobject.fields if f.kind in ("phone", "email")][:3]


# --- a search by parameters ----------------------------------------------------------------


def _body_of(call: Call) -> dict[str, object]:
    """The parameters of an address in the form of the body."""
    params = call.params
    objects = [name for text in call.values("sobject") for name in text.split(",") if name]
    body: dict[str, object] = {
        **params,
        "fields": _listed(params.get("fields")),
        "sobjects": [
            {
                "name": name,
                "fields": _listed(params.get(f"{name}.fields")),
                "where": params.get(f"{name}.where"),
                "orderBy": params.get(f"{name}.orderBy"),
                "limit": params.get(f"{name}.limit"),
            }
            for name in objects
        ],
    }
    return body


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _sosl(body: Mapping[str, object]) -> str:
    """The search in SOSL."""
    words = str(body.get("q") or "")
    if not words.strip():
        raise RequestProblem(400, ApiProblem("MISSING_ARGUMENT", "The q parameter is required"))
    escaped = "".join(
        f"\\{char}" if char in sosl.RESERVED and char not in '*?()"' else char for char in words
    )
    group = str(body.get("in") or "ALL").upper().removesuffix("FIELDS").strip()
    text = f"FIND {{{escaped}}} IN {group} FIELDS"
    objects = body.get("sobjects")
    shared, default = body.get("fields"), body.get("defaultLimit")
    if isinstance(objects, list) and objects:
        text += " RETURNING " + ", ".join(_returning(o, shared, default) for o in objects)
    elif shared:
        problem = ApiProblem(
            "INVALID_SEARCH", "Specify at least one sobject to return fields of it"
        )
        raise RequestProblem(400, problem)
    if body.get("metadata"):
        text += f" WITH METADATA = '{body['metadata']}'"
    if body.get("overallLimit"):
        text += f" LIMIT {body['overallLimit']}"
    return text


def _returning(item: object, shared: object, default: object) -> str:
    if not isinstance(item, dict) or not item.get("name"):
        raise RequestProblem(400, ApiProblem("JSON_PARSER_ERROR", "Each of sobjects needs a name"))
    fields = item.get("fields") or shared or ["Id"]
    text = ", ".join(str(name) for name in fields) if isinstance(fields, list) else str(fields)
    for key, words in (("where", "WHERE"), ("orderBy", "ORDER BY")):
        if item.get(key):
            text += f" {words} {item[key]}"
    if limit := item.get("limit") or default:
        text += f" LIMIT {limit}"
    return f"{item['name']}({text})"
