"""What clients write to Zendesk: tickets with their comments and tags, users, organizations.

Belongs here: the paths and bodies of writes, their checks and answers. Where the records are kept
and merged with the company's is in ``zendesk_desk.py``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zendesk_desk import Desk

MAX_AT_ONCE = 100
_STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
_PRIORITIES = (None, "low", "normal", "high", "urgent")
_TYPES = (None, "problem", "incident", "question", "task")
_ROLES = ("end-user", "agent", "admin")
_TICKET_FIELDS = [
    "subject",
    "type",
    "priority",
    "status",
    "recipient",
    "assignee_id",
    "organization_id",
    "group_id",
    "collaborator_ids",
    "follower_ids",
    "email_cc_ids",
    "problem_id",
    "due_at",
    "external_id",
    "tags",
    "ticket_form_id",
    "brand_id",
]
_USER_FIELDS = [
    "name",
    "email",
    "role",
    "phone",
    "organization_id",
    "tags",
    "user_fields",
    "locale",
    "time_zone",
    "external_id",
    "notes",
    "details",
    "verified",
    "suspended",
    "default_group_id",
    "alias",
]
_ORGANIZATION_FIELDS = [
    "name",
    "external_id",
    "domain_names",
    "details",
    "notes",
    "group_id",
    "shared_comments",
    "shared_tickets",
    "tags",
    "organization_fields",
]
_API = {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}}
_NEW_USER: Record = {
    "active": True,
    "verified": False,
    "suspended": False,
    "shared": False,
    "locale": "en-US",
    "time_zone": "UTC",
    "phone": None,
    "organization_id": None,
    "default_group_id": None,
    "tags": [],
    "user_fields": {},
    "role": "end-user",
    "email": None,
}
_NEW_ORGANIZATION: Record = {
    "external_id": None,
    "domain_names": [],
    "details": "",
    "notes": None,
    "group_id": None,
    "shared_comments": False,
    "shared_tickets": False,
    "tags": [],
    "organization_fields": {},
}
_NEW_TICKET: Record = {
    "external_id": None,
    "type": None,
    "priority": None,
    "status": "new",
    "recipient": None,
    "assignee_id": None,
    "organization_id": None,
    "group_id": None,
    "collaborator_ids": [],
    "follower_ids": [],
    "email_cc_ids": [],
    "forum_topic_id": None,
    "problem_id": None,
    "has_incidents": False,
    "is_public": True,
    "due_at": None,
    "tags": [],
    "satisfaction_rating": {"score": "unoffered"},
    "sharing_agreement_ids": [],
    "followup_ids": [],
    "allow_channelback": False,
    "allow_attachments": True,
    "from_messaging_channel": False,
}


class Refused(Exception):
    """An answer that is an error, in the vendor's form."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(str(body.get("error")))
        self.status = status
        self.body = body


@dataclass(slots=True)
class Written:
    """The answer to a write; ``record`` is shown under ``key``, ``body`` beside it."""

    status: int
    key: str = ""
    collection: str = ""
    record: Record | None = None
    body: Record = field(default_factory=dict)


def invalid(name: str, description: str, error: str = "InvalidValue") -> Refused:
    """422, naming the field."""
    details = {name: [{"description": description, "error": error}]}
    return Refused(
        422,
        {
            "error": "RecordInvalid",
            "description": "Record validation errors",
            "details": details,
        },
    )


def _missing(name: str) -> Refused:
    return Refused(
        400,
        {
            "error": {
                "title": "Invalid attribute",
                "message": f"You passed an invalid value for the {name} attribute. "
                "must be an object",
            }
        },
    )


def _not_found() -> Refused:
    return Refused(404, {"error": "RecordNotFound", "description": "Not found"})


class Writes:
    """Carries out POST, PUT and DELETE."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._me = int(str(desk.records("users")[0]["id"]))

    def handle(self, method: str, path: str, query: Mapping[str, str], content: bytes) -> Written:
        """The answer to a write at a path below ``/api/v2``; raises ``Refused``."""
        parts = path.split("/")
        name = parts[0]
        if name == "deleted_tickets":
            return self._restore(method, parts[1:])
        if name not in ("tickets", "users", "organizations"):
            raise Refused(
                403,
                {
                    "error": "Forbidden",
                    "description": f"The sandbox keeps what is written to tickets, users and "
                    f"organizations, not to {path}",
                },
            )
        if parts[-1].startswith("update_many") or parts[-1] in ("create_many", "destroy_many"):
            return self._many(method, name, parts[-1], query, content)
        if len(parts) == 1 and method == "POST":
            return self._create(name, _body(content))
        if parts[1:] == ["create_or_update"] and method == "POST" and name != "tickets":
            return self._create_or_update(name, _body(content))
        if len(parts) == 1:
            raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
        record = self._find(name, parts[1])
        if len(parts) == 2 and method == "PUT":
            return self._update(name, record, _body(content))
        if len(parts) == 2 and method == "DELETE":
            return self._delete(name, record)
        if parts[2:] == ["tags"] and name == "tickets":
            return self._tags(method, record, _body(content))
        raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})

    def _find(self, name: str, number: str) -> Record:
        records = self._desk.tickets() if name == "tickets" else self._desk.records(name)
        for record in records:
            if str(record["id"]) == number and record.get("status") != "deleted":
                return record
        raise _not_found()

    # one record

    def _create(self, name: str, body: Record) -> Written:
        given = _object(body, _SINGULAR[name])
        make: Callable[[Record], Record] = {
            "tickets": self._new_ticket,
            "users": self._new_user,
            "organizations": self._new_organization,
        }[name]
        record = make(given)
        told: Record = {}
        if name == "tickets":
            told["audit"] = self._desk.audits(record)[0]
        return Written(201, _SINGULAR[name], name, record, told)

    def _saved(self, name: str, number: int, change: Record) -> Record:
        self._desk.write(name, number, change)
        return self._find(name, str(number))

    def _new_ticket(self, given: Record) -> Record:
        said = given.get("comment")
        text = said.get("body") or said.get("html_body") if isinstance(said, dict) else None
        text = text or given.get("description")
        if not text:
            raise invalid("base", "Description: cannot be blank", "BlankValue")
        change = self._ticket_change(given)
        requester = self._requester(given) or self._me
        user = self._find("users", str(requester))
        stamp = self._desk.stamp()
        is_public = not (isinstance(said, dict) and said.get("public") is False)
        template = self._desk.tickets()[0]
        custom = [{**item, "value": None} for item in _list(template["custom_fields"])]
        record: Record = {
            **_NEW_TICKET,
            "id": self._desk.new_id(),
            "via": _API,
            "created_at": stamp,
            "subject": text,
            "organization_id": user["organization_id"],
            "ticket_form_id": template["ticket_form_id"],
            "brand_id": template["brand_id"],
            "custom_fields": custom,
            "fields": custom,
            **change,
            "description": text,
            "is_public": is_public,
            "requester_id": requester,
            "submitter_id": given.get("submitter_id") or requester,
        }
        record["raw_subject"] = record["subject"]
        if record["assignee_id"] and record["status"] == "new":
            record["status"] = "open"
        return self._saved("tickets", int(str(record["id"])), record)

    def _requester(self, given: Record) -> int | None:
        """Who asks: by id, or by name and address, which make a user where there is none."""
        number = given.get("requester_id")
        if number is not None:
            return int(str(number)) if str(number).isdigit() else None
        person = given.get("requester")
        if not isinstance(person, dict):
            return None
        known = self._user_by_email(person.get("email"))
        if known is None:
            known = self._new_user({"name": person.get("email"), **person})
        return int(str(known["id"]))

    def _ticket_change(self, given: Record) -> Record:
        change: Record = {k: given[k] for k in _TICKET_FIELDS if k in given}
        for name, allowed in (
            ("status", _STATUSES),
            ("priority", _PRIORITIES),
            ("type", _TYPES),
        ):
            if name in change and change[name] not in allowed:
                raise invalid(name, f"{name.title()}: {change[name]} is not included in the list")
        for name, collection in (
            ("assignee_id", "users"),
            ("organization_id", "organizations"),
            ("group_id", "groups"),
        ):
            number = change.get(name)
            known = {str(r["id"]) for r in self._desk.records(collection)}
            if number is not None and str(number) not in known:
                label = name.removesuffix("_id").title()
                raise invalid(name.removesuffix("_id"), f"{label}: {number} is invalid")
        if email := given.get("assignee_email"):
            user = self._user_by_email(email)
            if user is None:
                raise invalid("assignee", f"Assignee: {email} is invalid")
            change["assignee_id"] = user["id"]
        if "tags" in change:
            change["tags"] = _tags(change["tags"])
        values = {
            str(item.get("id")): item.get("value")
            for item in _list(given.get("custom_fields")) + _list(given.get("fields"))
        }
        if values:
            fields = [{"id": f["id"], "value": None} for f in self._desk.records("ticket_fields")]
            fields = [{**f, "value": values.get(str(f["id"]), f["value"])} for f in fields]
            change |= {"custom_fields": fields, "fields": fields}
        return change

    def _user_by_email(self, email: object) -> Record | None:
        wanted = str(email or "").lower()
        found = (u for u in self._desk.records("users") if str(u["email"] or "").lower() == wanted)
        return next(found, None) if wanted else None

    def _new_user(self, given: Record) -> Record:
        if not given.get("name"):
            raise invalid("name", "Name: cannot be blank", "BlankValue")
        self._check_user(given, None)
        number = self._desk.new_id()
        change = {k: given[k] for k in _USER_FIELDS if k in given}
        record = {**_NEW_USER, "id": number, "created_at": self._desk.stamp(), **change}
        return self._saved("users", number, record)

    def _check_user(self, given: Record, user: Record | None) -> None:
        email = given.get("email")
        if email is not None and "@" not in str(email):
            raise invalid("email", f"Email: {email} is not properly formatted")
        known = self._user_by_email(email)
        if known is not None and (user is None or known["id"] != user["id"]):
            raise invalid(
                "email",
                f"Email: {email} is already being used by another user",
                "DuplicateValue",
            )
        if given.get("role") is not None and given["role"] not in _ROLES:
            raise invalid("role", f"Role: {given['role']} is invalid")

    def _new_organization(self, given: Record) -> Record:
        if not given.get("name"):
            raise invalid("name", "Name: cannot be blank", "BlankValue")
        self._check_organization(given, None)
        number = self._desk.new_id()
        change = {k: given[k] for k in _ORGANIZATION_FIELDS if k in given}
        record = {**_NEW_ORGANIZATION, "id": number, "created_at": self._desk.stamp(), **change}
        return self._saved("organizations", number, record)

    def _check_organization(self, given: Record, organization: Record | None) -> None:
        name = str(given.get("name") or "").lower()
        for known in self._desk.records("organizations"):
            is_other = organization is None or known["id"] != organization["id"]
            if name and is_other and str(known["name"]).lower() == name:
                raise invalid(
                    "name", f"Name: {given['name']} has already been taken", "DuplicateValue"
                )

    def _create_or_update(self, name: str, body: Record) -> Written:
        given = _object(body, _SINGULAR[name])
        for key in ("id", "external_id", "email" if name == "users" else "name"):
            for record in self._desk.records(name):
                told, wanted = record.get(key), given.get(key)
                if wanted is not None and str(told).lower() == str(wanted).lower():
                    return self._update(name, record, body)
        return self._create(name, body)

    def _update(self, name: str, record: Record, body: Record) -> Written:
        given = _object(body, _SINGULAR[name])
        number = int(str(record["id"]))
        if name == "tickets":
            told = self._update_ticket(record, given)
            answer: Record = {"audit": told} if told else {"audit": None}
            return Written(200, "ticket", name, self._find(name, str(number)), answer)
        if name == "users":
            self._check_user(given, record)
            allowed = _USER_FIELDS
        else:
            self._check_organization(given, record)
            allowed = _ORGANIZATION_FIELDS
        change = {k: given[k] for k in allowed if k in given}
        return Written(200, _SINGULAR[name], name, self._saved(name, number, change))

    def _update_ticket(self, ticket: Record, given: Record) -> Record | None:
        if ticket["status"] == "closed":
            raise invalid("status", "Status: closed prevents ticket update")
        if given.get("safe_update") and given.get("updated_stamp") != ticket["updated_at"]:
            raise Refused(
                409,
                {
                    "error": "UpdateConflict",
                    "description": "Safe Update prevented the update due to outdated ticket data. "
                    "Please fetch the latest ticket data and try again.",
                },
            )
        change = self._ticket_change(given)
        if "subject" in change:
            change["raw_subject"] = change["subject"]
        if (requester := self._requester(given)) is not None:
            self._find("users", str(requester))
            change["requester_id"] = requester
        if more := given.get("additional_tags"):
            change["tags"] = _tags([*_tags(ticket["tags"]), *_tags(more)])
        if less := given.get("remove_tags"):
            change["tags"] = [t for t in _tags(ticket["tags"]) if t not in _tags(less)]
        events: list[Record] = [
            {
                "id": self._desk.new_id(),
                "type": "Change",
                "field_name": name,
                "value": value,
                "previous_value": ticket.get(name),
            }
            for name, value in change.items()
            if name not in ("custom_fields", "fields", "raw_subject") and ticket.get(name) != value
        ]
        if said := self._said(given.get("comment")):
            events.append(said)
        number = int(str(ticket["id"]))
        self._desk.write("tickets", number, change)
        if not events:
            return None
        told: Record = {
            "id": self._desk.new_id(),
            "ticket_id": number,
            "author_id": self._me,
            "created_at": self._desk.stamp(),
            "via": _API,
            "metadata": {},
            "events": events,
        }
        self._desk.add_audit(number, told)
        return told

    def _said(self, given: object) -> Record | None:
        if not isinstance(given, dict):
            return None
        text = given.get("body") or given.get("html_body")
        if not text:
            raise invalid("base", "Comment: cannot be blank", "BlankValue")
        return {
            "id": self._desk.new_id(),
            "type": "Comment",
            "author_id": given.get("author_id") or self._me,
            "body": text,
            "html_body": given.get("html_body") or f"<div>{text}</div>",
            "plain_body": text,
            "public": given.get("public") is not False,
            "attachments": [],
        }

    def _delete(self, name: str, record: Record) -> Written:
        number = int(str(record["id"]))
        stamp = self._desk.stamp()
        if name == "tickets":
            kept = {"_status_before": record["status"], "_deleted_at": stamp}
            self._desk.write(name, number, {"status": "deleted", **kept})
            return Written(204)
        if name == "users":
            gone = {**record, "active": False}
            self._desk.write(name, number, {"active": False, "_deleted_at": stamp})
            return Written(200, "user", name, gone)
        self._desk.write(name, number, {"_deleted_at": stamp})
        return Written(204)

    def _restore(self, method: str, parts: Sequence[str]) -> Written:
        if method != "PUT" or len(parts) != 2 or parts[1] != "restore":
            raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
        for ticket in self._desk.tickets():
            if str(ticket["id"]) == parts[0] and ticket["status"] == "deleted":
                before = {"status": ticket.get("_status_before") or "open", "_deleted_at": None}
                self._desk.write("tickets", int(parts[0]), before)
                return Written(200, body={})
        raise _not_found()

    def _tags(self, method: str, ticket: Record, body: Record) -> Written:
        given, now = _tags(body.get("tags")), _tags(ticket["tags"])
        if method == "PUT":
            tags = _tags([*now, *given])
        elif method == "POST":
            tags = given
        else:
            tags = [tag for tag in now if tag not in given]
        self._update_ticket(ticket, {"tags": tags})
        return Written(201 if method == "POST" else 200, body={"tags": tags})

    # many records

    def _many(
        self, method: str, name: str, word: str, query: Mapping[str, str], content: bytes
    ) -> Written:
        body = _body(content)
        ids = [part for part in query.get("ids", "").split(",") if part]
        work: list[tuple[str, Record]] = [
            (str(item.get("id", "")), item) for item in _list(body.get(name))
        ]
        if ids:
            work = [(number, _dict(body.get(_SINGULAR[name]))) for number in ids]
        if not work:
            raise _missing(name)
        if len(work) > MAX_AT_ONCE:
            raise Refused(
                413,
                {
                    "error": "TooManyValues",
                    "description": f"The request may name at most {MAX_AT_ONCE} records",
                },
            )
        results = []
        for index, (number, given) in enumerate(work):
            try:
                if word == "create_many" and method == "POST":
                    done = self._create(name, {_SINGULAR[name]: given})
                elif word == "destroy_many" and method == "DELETE":
                    done = self._delete(name, self._find(name, number))
                elif word.startswith("update_many") and method == "PUT":
                    done = self._update(name, self._find(name, number), {_SINGULAR[name]: given})
                else:
                    raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
            except Refused as refused:
                if refused.body.get("error") == "InvalidEndpoint":
                    raise
                told = {"index": index, "error": refused.body.get("error")}
                results.append({**told, "details": str(refused.body.get("details", ""))})
                continue
            made = done.record["id"] if done.record else int(number)
            action = {"create_many": "create", "destroy_many": "delete"}.get(word, "update")
            results.append({"index": index, "id": made, "action": action, "success": True})
        return Written(200, body={"job_status": self._job(results)})

    def _job(self, results: list[Record]) -> Record:
        """Everything is done at once; the answer says queued, as the vendor's does."""
        job: Record = {
            "id": secrets.token_hex(16),
            "total": len(results),
            "progress": len(results),
            "status": "completed",
            "message": f"Completed at {self._desk.stamp()}",
            "results": results,
        }
        self._desk.jobs[str(job["id"])] = job
        return {**job, "progress": None, "status": "queued", "message": None, "results": None}


_SINGULAR = {"tickets": "ticket", "users": "user", "organizations": "organization"}


def _body(content: bytes) -> Record:
    if not content:
        return {}
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused(
            400, {"error": "InvalidRequest", "description": f"The body is not JSON: {error}"}
        ) from error
    if not isinstance(value, dict):
        raise _missing("root")
    return value


def _object(body: Record, name: str) -> Record:
    value = body.get(name)
    if not isinstance(value, dict):
        raise _missing(name)
    return value


def _dict(value: object) -> Record:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Record]:
    return value if isinstance(value, list) else []


def _tags(value: object) -> list[str]:
    """Tags as the service keeps them: in lower case, each once, without blanks."""
    given = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return sorted({str(tag).strip().lower().replace(" ", "_") for tag in given if str(tag).strip()})
