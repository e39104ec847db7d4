"""The REST resources below ``/services/data/vXX.X``.

Belongs here: single records, and the way from a path to its resource. What the org tells of itself
is in ``salesforce_metadata.py``, collections and composite calls are in ``salesforce_composite.py``,
jobs in ``salesforce_bulk.py``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from meltano_assets.sandbox.salesforce_composite import Composite
from meltano_assets.sandbox.salesforce_definitions import DEFINITIONS, Definitions
from meltano_assets.sandbox.salesforce_drafts import Draft, draft_from_json
from meltano_assets.sandbox.salesforce_http import (
    NOT_FOUND,
    Call,
    Reply,
    allows_duplicates,
    failure,
    header_time,
    not_allowed,
    not_found,
)
from meltano_assets.sandbox.salesforce_metadata import Metadata
from meltano_assets.sandbox.salesforce_offices import Offices
from meltano_assets.sandbox.salesforce_org import API_VERSIONS, ORGANIZATION_ID, SalesforceOrg
from meltano_assets.sandbox.salesforce_query import Queries, compile_soql
from meltano_assets.sandbox.salesforce_schema import Field, SObject, parse_id
from meltano_assets.sandbox.salesforce_search import Searches
from meltano_assets.sandbox.salesforce_values import (
    ApiProblem,
    RequestProblem,
    format_datetime,
    parse_datetime,
)
from meltano_assets.sandbox.salesforce_writes import Outcome, Writer

_RESOURCES = (
    "actions",
    "analytics",
    "composite",
    "jobs",
    "limits",
    "parameterizedSearch",
    "process",
    "query",
    "queryAll",
    "quickActions",
    "recent",
    "search",
    "sobjects",
    "tabs",
    "theme",
    "tooling",
)
#: So far back the vendor tells which records were changed or deleted.
_OLDEST_CHANGES = timedelta(days=30)
_WRITTEN_STATUS = {
    "ENTITY_IS_DELETED": 404,
    "INVALID_CROSS_REFERENCE_KEY": 404,
}


class Resource(Protocol):
    """Handles what lies below one first segment."""

    def handle(self, call: Call, rest: list[str]) -> Reply: ...


class RestApi:
    """From a call to its answer."""

    def __init__(self, org: SalesforceOrg, jobs: Resource) -> None:
        self.org = org
        self.metadata = Metadata(org)
        definitions = Definitions()
        self.queries = Queries(definitions, self.metadata.view_query)
        self.composite = Composite(self)
        self.offices = Offices(org)
        searches = Searches()
        self._routes: dict[str, Callable[[Call, list[str]], Reply]] = {
            "query": self.queries.handle,
            "queryall": self.queries.handle,
            "sobjects": self._sobjects,
            "limits": self.metadata.limits,
            "composite": self.composite.handle,
            "jobs": jobs.handle,
            "actions": self.offices.actions,
            "analytics": self.offices.analytics,
            "process": self.offices.process,
            "quickactions": self.metadata.nothing,
            "recent": self.metadata.nothing,
            "tabs": self.metadata.tabs,
            "theme": self.metadata.theme,
            "tooling": definitions.tooling,
            "search": searches.handle,
            "parameterizedsearch": searches.parameterized,
        }

    def dispatch(self, call: Call) -> Reply:
        """The answer to a call; errors of the request are answers too."""
        try:
            segments = call.segments
            if not segments:
                _allow(call, "GET", "HEAD")
                return Reply(200, {name: call.url(f"/{name}") for name in _RESOURCES})
            route = self._routes.get(segments[0].lower())
            if route is None:
                raise not_found()
            return route(call, segments[1:])
        except RequestProblem as error:
            reply = failure(error.status, *error.problems)
            reply.headers |= error.headers
            return reply

    def _sobjects(self, call: Call, rest: list[str]) -> Reply:
        schema = self.org.user_schema
        if not rest:
            return self.metadata.global_describe(call)
        sobject = schema.find(rest[0])
        if sobject is None:
            defined = DEFINITIONS.find(rest[0])
            if defined is not None and [word.lower() for word in rest[1:]] == ["describe"]:
                return Reply(200, DEFINITIONS.describe(defined, call.version))
            raise not_found()
        if len(rest) == 1:
            return self._sobject(call, sobject)
        word = rest[1].lower()
        if word == "describe":
            return self.metadata.describe(call, sobject, rest[2:])
        if word == "quickactions":
            return self.metadata.quick_actions(call, rest[2:])
        if word == "listviews":
            return self.metadata.list_views(call, sobject, rest[2:])
        if word in ("updated", "deleted") and len(rest) == 2:
            _allow(call, "GET", "HEAD")
            return self._changes(call, sobject, word)
        external = sobject.find(rest[1]) if len(rest) == 3 else None
        if external is not None:
            if not (external.external_id or external.id_lookup or external.kind == "id"):
                raise _unknown_external_id(rest[1])
            if external.kind == "id":
                return self._record(call, sobject, rest[2])
            return self._by_external_id(call, sobject, external, rest[2])
        if len(rest) == 2:
            return self._record(call, sobject, rest[1])
        blob = sobject.find(rest[2]) if len(rest) == 3 else None
        if blob is not None and blob.kind == "base64":
            return self._blob(call, sobject, rest[1], blob)
        if sobject.by_relationship(rest[2]) is not None and len(rest) == 3:
            return self._related(call, sobject, rest[1], rest[2])
        if schema.child(sobject, rest[2]) is not None and len(rest) == 3:
            return self._children(call, sobject, rest[1], rest[2])
        if parse_id(rest[1]) is None:
            raise _unknown_external_id(rest[1])
        raise not_found()

    def _sobject(self, call: Call, sobject: SObject) -> Reply:
        if call.method == "POST":
            return self._create(call, sobject)
        _allow(call, "GET", "HEAD", "POST")
        return Reply(200, {"objectDescribe": sobject.summary(call.version), "recentItems": []})

    def _changes(self, call: Call, sobject: SObject, word: str) -> Reply:
        start = parse_datetime(call.params.get("start", "").replace(" ", "+"))
        end = parse_datetime(call.params.get("end", "").replace(" ", "+"))
        if start is None or end is None:
            name = "start" if start is None else "end"
            return failure(400, ApiProblem("INVALID_TYPE", f"{name} is not a valid date and time"))
        if end <= start:
            return failure(
                400,
                ApiProblem(
                    "INVALID_REPLICATION_DATE",
                    f"startDate before endDate is required: {call.params.get('start')}",
                ),
            )
        if end - start < timedelta(minutes=1):
            return failure(
                400,
                ApiProblem("INVALID_REPLICATION_DATE", "The span must be longer than one minute."),
            )
        if start < self.org.clock.now() - _OLDEST_CHANGES:
            return failure(
                400,
                ApiProblem(
                    "INVALID_REPLICATION_DATE",
                    f"startDate cannot be more than {_OLDEST_CHANGES.days} days ago",
                ),
            )
        deleted = (
            "" if not sobject.has_is_deleted else (f' AND "IsDeleted" = {int(word == "deleted")}')
        )
        rows = self.org.reader().execute(
            f'SELECT "Id", "SystemModstamp" FROM "{sobject.name}" '
            f'WHERE "SystemModstamp" >= ? AND "SystemModstamp" < ?{deleted} '
            'ORDER BY "SystemModstamp"',
            (format_datetime(start), format_datetime(end)),
        )
        covered = min(end, self.org.clock.now())
        latest = format_datetime(covered)
        if word == "updated":
            return Reply(200, {"ids": [row[0] for row in rows], "latestDateCovered": latest})
        found = rows.fetchall() if sobject.has_is_deleted else []
        return Reply(
            200,
            {
                "deletedRecords": [{"id": row[0], "deletedDate": row[1]} for row in found],
                "earliestDateAvailable": format_datetime(self.org.clock.now() - timedelta(days=15)),
                "latestDateCovered": latest,
            },
        )

    # single records

    def read_record(
        self, call: Call, sobject: SObject, condition: str, fields: str | None
    ) -> dict[str, object] | None:
        """One living record in full, or with the fields asked for."""
        if fields:
            names = [name.strip() for name in fields.split(",") if name.strip()]
        else:
            names = [f.name for f in sobject.fields]
        unique = list(dict.fromkeys(names))
        text = f"SELECT {', '.join(unique)} FROM {sobject.name} WHERE {condition} LIMIT 1"
        compiled = compile_soql(self.org, text, include_deleted=False)
        connection = self.org.reader()
        rows = compiled.row_numbers(connection)
        found = compiled.page(connection, rows, call.version)
        return found[0] if found else None

    def _record(self, call: Call, sobject: SObject, text: str) -> Reply:
        record_id = parse_id(text)
        if record_id is None or record_id[:3] != sobject.key_prefix:
            raise _unknown_external_id(text)
        if call.method in ("GET", "HEAD"):
            if self._is_as_known(call, sobject, record_id):
                return Reply(304)
            record = self.read_record(
                call, sobject, f"Id = '{record_id}'", call.params.get("fields")
            )
            if record is not None:
                return Reply(200, record)
            return self._absent(sobject, record_id)
        _allow(call, "GET", "HEAD", "PATCH", "DELETE")
        _writable(sobject)
        self._is_as_known(call, sobject, record_id)
        if call.method == "DELETE":
            draft = Draft(record_id=record_id)
            outcome = self._write(call, sobject, "delete", draft)
            return _written(outcome) if outcome.problems else Reply(204)
        body = call.json()
        if any(name.lower() == "id" for name in body):
            return failure(
                400,
                ApiProblem(
                    "INVALID_FIELD",
                    "The Id field should not be specified in the sobject data.",
                ),
            )
        draft = draft_from_json(self.org.user_schema, sobject, body, body=call.text())
        draft.record_id = record_id
        outcome = self._write(call, sobject, "update", draft)
        return _written(outcome) if outcome.problems else Reply(204)

    def _is_as_known(self, call: Call, sobject: SObject, record_id: str) -> bool:
        """Judges a conditional request; ``If-Unmodified-Since`` that does not hold ends it."""
        since = header_time(call.headers.get("if-modified-since"))
        before = header_time(call.headers.get("if-unmodified-since"))
        if since is None and before is None:
            return False
        column = "LastModifiedDate" if sobject.find("LastModifiedDate") else "SystemModstamp"
        row = (
            self.org.reader()
            .execute(f'SELECT "{column}" FROM "{sobject.name}" WHERE "Id" = ?', (record_id,))
            .fetchone()
        )
        changed = parse_datetime(row[0]) if row and row[0] else None
        if changed is None:
            return False
        if before is not None and changed > before:
            raise RequestProblem(
                412,
                ApiProblem(
                    "PRECONDITION_FAILED", "The record was modified after If-Unmodified-Since"
                ),
            )
        return since is not None and changed <= since

    def _absent(self, sobject: SObject, record_id: str) -> Reply:
        if sobject.has_is_deleted:
            row = self.org.reader().execute(
                f'SELECT 1 FROM "{sobject.name}" WHERE "Id" = ?', (record_id,)
            )
            if row.fetchone():
                return failure(404, ApiProblem("ENTITY_IS_DELETED", "entity is deleted"))
        return failure(404, NOT_FOUND)

    def _create(self, call: Call, sobject: SObject) -> Reply:
        _writable(sobject)
        body = call.json()
        draft = draft_from_json(self.org.user_schema, sobject, body, body=call.text())
        outcome = self._write(call, sobject, "insert", draft)
        if outcome.problems:
            return _written(outcome)
        return Reply(
            201,
            {"id": outcome.record_id, "success": True, "errors": []},
            {"Location": call.url(f"/sobjects/{sobject.name}/{outcome.record_id}")},
        )

    def _by_external_id(self, call: Call, sobject: SObject, external: Field, value: str) -> Reply:
        living = ' AND "IsDeleted" = 0' if sobject.has_is_deleted else ""
        rows = self.org.reader().execute(
            f'SELECT "Id" FROM "{sobject.name}" WHERE "{external.name}" = ?{living}', (value,)
        )
        ids = [row[0] for row in rows]
        if len(ids) > 1:
            return Reply(300, [call.url(f"/sobjects/{sobject.name}/{found}") for found in ids])
        is_update_only = call.params.get("updateOnly", "").lower() == "true"
        if not ids and (call.method != "PATCH" or is_update_only):
            return failure(404, NOT_FOUND)
        if call.method in ("GET", "HEAD", "DELETE"):
            return self._record(call, sobject, ids[0])
        _allow(call, "GET", "HEAD", "PATCH", "DELETE")
        _writable(sobject)
        body = call.json()
        if any(name.lower() == external.name.lower() for name in body):
            return failure(
                400,
                ApiProblem(
                    "INVALID_FIELD",
                    f"The {external.name} field should not be specified in the sobject data.",
                ),
            )
        draft = draft_from_json(
            self.org.user_schema,
            sobject,
            {**body, external.name: value},
            external=external,
            body=call.text(),
        )
        outcome = self._write(call, sobject, "upsert", draft, external)
        if outcome.problems:
            return _written(outcome)
        content: dict[str, object] = {
            "id": outcome.record_id,
            "success": True,
            "errors": [],
            "created": outcome.created,
        }
        if outcome.created:
            location = call.url(f"/sobjects/{sobject.name}/{outcome.record_id}")
            return Reply(201, content, {"Location": location})
        # Since version 46 an update tells the id; before, it had no content.
        return Reply(200, content) if float(call.version) >= 46 else Reply(204)

    def _related(self, call: Call, sobject: SObject, text: str, name: str) -> Reply:
        """``/sobjects/Contact/{id}/Account``: the record that a reference leads to."""
        _allow(call, "GET", "HEAD")
        ref = sobject.by_relationship(name)
        record_id = parse_id(text)
        if ref is None or record_id is None:
            raise not_found()
        row = (
            self.org.reader()
            .execute(f'SELECT "{ref.name}" FROM "{sobject.name}" WHERE "Id" = ?', (record_id,))
            .fetchone()
        )
        target = self.org.schema.by_prefix.get(str(row[0])[:3]) if row and row[0] else None
        if target is None:
            raise not_found()
        return self._record(call, target, str(row[0]))

    def _children(self, call: Call, sobject: SObject, text: str, name: str) -> Reply:
        """``/sobjects/Account/{id}/Contacts``: the records whose reference leads here."""
        _allow(call, "GET", "HEAD")
        found = self.org.user_schema.child(sobject, name)
        record_id = parse_id(text)
        if found is None or record_id is None:
            raise not_found()
        if self.read_record(call, sobject, f"Id = '{record_id}'", "Id") is None:
            return self._absent(sobject, record_id)
        child, ref = found
        names = call.params.get("fields") or ", ".join(item.name for item in child.fields)
        text = f"SELECT {names} FROM {child.name} WHERE {ref.name} = '{record_id}'"
        compiled = compile_soql(self.org, text, include_deleted=False)
        reader = self.org.reader()
        records = compiled.page(reader, compiled.row_numbers(reader), call.version)
        return Reply(200, {"done": True, "totalSize": len(records), "records": records})

    def _blob(self, call: Call, sobject: SObject, text: str, blob: Field) -> Reply:
        """``/sobjects/Attachment/{id}/Body``: the bytes of a field."""
        _allow(call, "GET", "HEAD")
        row = (
            self.org.reader()
            .execute(
                f'SELECT "{blob.name}" FROM "{sobject.name}" WHERE "Id" = ?', (parse_id(text),)
            )
            .fetchone()
        )
        if row is None or row[0] is None:
            raise not_found()
        return Reply(200, base64.b64decode(row[0]), content_type="application/octetstream")

    def _write(
        self,
        call: Call,
        sobject: SObject,
        operation: str,
        draft: Draft,
        external: Field | None = None,
    ) -> Outcome:
        with self.org.writing() as connection:
            writer = Writer(
                self.org, connection, sobject, allow_duplicates=allows_duplicates(call.headers)
            )
            return writer.save(operation, [draft], external)[0]  # type: ignore[arg-type]


def _allow(call: Call, *methods: str) -> None:
    if call.method not in methods:
        raise not_allowed(call.method, *methods)


def _writable(sobject: SObject) -> None:
    if not sobject.is_writable:
        raise RequestProblem(
            400,
            ApiProblem(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                f"entity type {sobject.name} cannot be inserted or updated",
            ),
        )


def _unknown_external_id(name: str) -> RequestProblem:
    return RequestProblem(
        404,
        ApiProblem(
            "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {name}"
        ),
    )


def _written(outcome: Outcome) -> Reply:
    status = _WRITTEN_STATUS.get(outcome.problems[0].code, 400)
    if outcome.problems[0].fields:
        status = 400
    if status == 404 and outcome.problems[0].code == "INVALID_CROSS_REFERENCE_KEY":
        return failure(404, NOT_FOUND)
    return failure(status, *outcome.problems)


def versions() -> list[dict[str, str]]:
    """``GET /services/data``."""
    names = ("Spring", "Summer", "Winter")
    answer = []
    for version in API_VERSIONS:
        number = int(float(version))
        # 31.0 was Summer '14; three releases a year, Winter named after the year to come.
        season, turn = names[(number - 30) % 3], (number - 30) // 3
        year = 14 + turn + (1 if season == "Winter" else 0)
        answer.append(
            {"label": f"{season} '{year}", "url": f"/services/data/v{version}", "version": version}
        )
    return answer


def identity(org: SalesforceOrg, base_url: str) -> dict[str, object]:
    """What the identity URL tells of the logged-in user."""
    row = (
        org.reader()
        .execute(
            'SELECT "Username", "Name", "Email", "FirstName", "LastName" FROM "User" WHERE "Id" = ?',
            (org.user_id,),
        )
        .fetchone()
    )
    username, name, email, first, last = row
    return {
        "id": f"{base_url}/id/{ORGANIZATION_ID}/{org.user_id}",
        "asserted_user": True,
        "user_id": org.user_id,
        "organization_id": ORGANIZATION_ID,
        "username": username,
        "nick_name": str(username).split("@", 1)[0],
        "display_name": name,
        "email": email,
        "email_verified": True,
        "first_name": first,
        "last_name": last,
        "timezone": "GMT",
        "active": True,
        "user_type": "STANDARD",
        "language": "en_US",
        "locale": "en_US",
        "utcOffset": 0,
        "is_app_installed": True,
        "urls": {
            "enterprise": f"{base_url}/services/Soap/c/{{version}}/{ORGANIZATION_ID[:15]}",
            "partner": f"{base_url}/services/Soap/u/{{version}}/{ORGANIZATION_ID[:15]}",
            "rest": f"{base_url}/services/data/v{{version}}/",
            "sobjects": f"{base_url}/services/data/v{{version}}/sobjects/",
            "query": f"{base_url}/services/data/v{{version}}/query/",
            "recent": f"{base_url}/services/data/v{{version}}/recent/",
            "search": f"{base_url}/services/data/v{{version}}/search/",
            "profile": f"{base_url}/{org.user_id}",
        },
    }
