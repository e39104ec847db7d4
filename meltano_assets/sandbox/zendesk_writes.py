"""What clients write to Zendesk: tickets with their comments and tags, users, organizations and their like.

Belongs here: the paths and bodies of writes, their checks and answers. Where the records are kept
and merged with the company's is in ``zendesk_desk.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from meltano_assets.sandbox import zendesk_requests as requests
from meltano_assets.sandbox import zendesk_webhooks as webhooks
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zendesk_answers import (
    Refused,
    Written,
    as_dict,
    as_list,
    as_tags,
    as_texts,
    invalid,
    missing,
    not_found,
    object_of,
    read_body,
)
from meltano_assets.sandbox.zendesk_desk import Desk, shown
from meltano_assets.sandbox.zendesk_fields import (
    API,
    NEW_ORGANIZATION,
    NEW_TICKET,
    NEW_USER,
    ORGANIZATION_FIELDS,
    PRIORITIES,
    ROLES,
    SINGULAR,
    STATUSES,
    TICKET_FIELDS,
    TYPES,
    USER_FIELDS,
)
from meltano_assets.sandbox.zendesk_kept import (
    KEPT,
    KeptWrites,
    identities,
    uploaded,
)

MAX_AT_ONCE = 100
_MANY = ("create_many", "destroy_many", "create_or_update_many")


class Writes:
    """Carries out POST, PUT and DELETE."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept = KeptWrites(desk)
        self._me = int(str(desk.records("users")[0]["id"]))

    def handle(self, method: str, path: str, query: Mapping[str, str], content: bytes) -> Written:
        """The answer to a write at a path below ``/api/v2``; raises ``Refused``."""
        parts = path.split("/")
        name = parts[0]
        if name == "deleted_tickets":
            return self._restore(method, parts[1:])
        if name == "deleted_users":
            return self._forget(method, parts[1:])
        if name == "imports" and parts[1:2] == ["tickets"] and method == "POST":
            return self._import(parts[2:], read_body(content))
        if name == "webhooks":
            return webhooks.write(self._desk, method, parts[1:], query, read_body(content))
        if name == "requests":
            return self._request(method, parts[1:], read_body(content))
        if name in KEPT:
            return self._kept.keep(method, name, parts[1:], query, read_body(content))
        if name not in ("tickets", "users", "organizations"):
            raise Refused(
                403,
                {
                    "error": "Forbidden",
                    "description": f"The sandbox keeps what is written to tickets, users, "
                    f"organizations and {', '.join(KEPT)}, not to {path}",
                },
            )
        if parts[-1].startswith("update_many") or parts[-1] in _MANY:
            return self._many(method, name, parts[-1], query, content)
        if len(parts) == 1 and method == "POST":
            return self._create(name, read_body(content))
        if parts[1:] == ["create_or_update"] and method == "POST" and name != "tickets":
            return self._create_or_update(name, read_body(content))
        if len(parts) == 1:
            raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
        record = self._find(name, parts[1])
        if len(parts) == 2 and method == "PUT":
            return self._update(name, record, read_body(content))
        if len(parts) == 2 and method == "DELETE":
            return self._delete(name, record)
        if parts[2:] == ["tags"]:
            return self._tags(method, name, record, read_body(content))
        if parts[2:] == ["satisfaction_rating"] and name == "tickets" and method == "POST":
            return requests.rated(self._desk, record, read_body(content))
        if parts[2:] == ["merge"] and name != "organizations":
            return self._merge(name, record, read_body(content))
        if parts[2:] == ["mark_as_spam"] and name == "tickets" and method == "PUT":
            self._saved("users", int(str(record["requester_id"])), {"suspended": True})
            self._delete("tickets", record)
            return Written(200, body={})
        if parts[2:3] == ["identities"] and name == "users":
            return self._identity(method, record, parts[3:], read_body(content))
        raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})

    def _find(self, name: str, number: str) -> Record:
        records = self._desk.tickets() if name == "tickets" else self._desk.records(name)
        for record in records:
            if str(record["id"]) == number and record.get("status") != "deleted":
                return record
        raise not_found()

    # one record

    def _create(self, name: str, body: Record) -> Written:
        given = object_of(body, SINGULAR[name])
        make: Callable[[Record], Record] = {
            "tickets": self._new_ticket,
            "users": self._new_user,
            "organizations": self._new_organization,
        }[name]
        record = make(given)
        told: Record = {}
        if name == "tickets":
            told["audit"] = self._desk.audits(record)[0]
        return Written(201, SINGULAR[name], name, record, told)

    def _request(self, method: str, parts: Sequence[str], body: Record) -> Written:
        """What someone who asks for help writes."""
        if method == "POST" and not parts:
            ticket = self._new_ticket(requests.asked(body))
            return Written(201, "request", "requests", requests.shown(ticket, self._me))
        if method != "PUT" or len(parts) != 1:
            raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
        ticket = self._find("tickets", parts[0])
        self._update_ticket(ticket, requests.changed(body))
        ticket = self._find("tickets", parts[0])
        return Written(200, "request", "requests", requests.shown(ticket, self._me))

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
        custom = [{**item, "value": None} for item in as_list(template["custom_fields"])]
        record: Record = {
            **NEW_TICKET,
            "id": self._desk.new_id(),
            "via": API,
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
            known = {str(user["id"]) for user in self._desk.records("users")}
            if str(number) not in known:
                raise invalid("requester", f"Requester: {number} is invalid")
            return int(str(number))
        person = given.get("requester")
        if not isinstance(person, dict):
            return None
        user = self._user_by_email(person.get("email"))
        if user is None:
            user = self._new_user({"name": person.get("email"), **person})
        return int(str(user["id"]))

    def _ticket_change(self, given: Record) -> Record:
        change: Record = {k: given[k] for k in TICKET_FIELDS if k in given}
        for name, allowed in (
            ("status", STATUSES),
            ("priority", PRIORITIES),
            ("type", TYPES),
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
            change["tags"] = as_tags(change["tags"])
        values = {
            str(item.get("id")): item.get("value")
            for item in as_list(given.get("custom_fields")) + as_list(given.get("fields"))
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
        change = {k: given[k] for k in USER_FIELDS if k in given}
        record = {**NEW_USER, "id": number, "created_at": self._desk.stamp(), **change}
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
        if given.get("role") is not None and given["role"] not in ROLES:
            raise invalid("role", f"Role: {given['role']} is invalid")

    def _new_organization(self, given: Record) -> Record:
        if not given.get("name"):
            raise invalid("name", "Name: cannot be blank", "BlankValue")
        self._check_organization(given, None)
        number = self._desk.new_id()
        change = {k: given[k] for k in ORGANIZATION_FIELDS if k in given}
        record = {**NEW_ORGANIZATION, "id": number, "created_at": self._desk.stamp(), **change}
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
        given = object_of(body, SINGULAR[name])
        for key in ("id", "external_id", "email" if name == "users" else "name"):
            for record in self._desk.records(name):
                told, wanted = record.get(key), given.get(key)
                if wanted is not None and str(told).lower() == str(wanted).lower():
                    return self._update(name, record, body)
        return self._create(name, body)

    def _update(self, name: str, record: Record, body: Record) -> Written:
        given = object_of(body, SINGULAR[name])
        number = int(str(record["id"]))
        if name == "tickets":
            told = self._update_ticket(record, given)
            answer: Record = {"audit": told} if told else {"audit": None}
            return Written(200, "ticket", name, self._find(name, str(number)), answer)
        if name == "users":
            self._check_user(given, record)
            allowed = USER_FIELDS
        else:
            self._check_organization(given, record)
            allowed = ORGANIZATION_FIELDS
        change = {k: given[k] for k in allowed if k in given}
        return Written(200, SINGULAR[name], name, self._saved(name, number, change))

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
            change["tags"] = as_tags([*as_tags(ticket["tags"]), *as_tags(more)])
        if less := given.get("remove_tags"):
            change["tags"] = [t for t in as_tags(ticket["tags"]) if t not in as_tags(less)]
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
            "via": API,
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
            "attachments": uploaded(self._desk, as_texts(given.get("uploads"))),
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
        raise not_found()

    def _tags(self, method: str, name: str, record: Record, body: Record) -> Written:
        given, now = as_tags(body.get("tags")), as_tags(record["tags"])
        if method == "PUT":
            tags = as_tags([*now, *given])
        elif method == "POST":
            tags = given
        else:
            tags = [tag for tag in now if tag not in given]
        if name == "tickets":
            self._update_ticket(record, {"tags": tags})
        else:
            self._saved(name, int(str(record["id"])), {"tags": tags})
        return Written(201 if method == "POST" else 200, body={"tags": tags})

    # what belongs to other records

    def _identity(self, method: str, user: Record, parts: Sequence[str], body: Record) -> Written:
        """Another address of a user."""
        if method == "POST" and not parts:
            given = object_of(body, "identity")
            value = str(given.get("value") or "")
            if given.get("type") == "email":
                self._check_user({"email": value}, None)
            if not value:
                raise invalid("value", "Value: cannot be blank", "BlankValue")
            made: Record = {
                "id": self._desk.new_id(),
                "user_id": user["id"],
                "type": given.get("type") or "email",
                "value": value,
                "verified": bool(given.get("verified")),
                "primary": False,
                "created_at": self._desk.stamp(),
            }
            self._desk.write("identities", int(str(made["id"])), made)
            return Written(201, body={"identity": {**made, "updated_at": self._desk.stamp()}})
        known = {str(each["id"]): each for each in identities(self._desk, user)}
        if not parts or parts[0] not in known:
            raise not_found()
        found, word = known[parts[0]], parts[1] if len(parts) > 1 else ""
        if method == "DELETE":
            self._desk.write("identities", int(parts[0]), {"_deleted_at": self._desk.stamp()})
            return Written(204)
        change: Record = {"verified": True} if word in ("verify", "make_primary") else {}
        change |= {
            k: v for k, v in as_dict(body.get("identity")).items() if k in ("value", "verified")
        }
        if word == "make_primary":
            for key in known:
                self._desk.write("identities", int(key), {"primary": key == parts[0]})
            self._saved("users", int(str(user["id"])), {"email": found["value"]})
            change["primary"] = True
        self._desk.write("identities", int(parts[0]), {**found, **change})
        if word == "make_primary":
            return Written(200, body={"identities": identities(self._desk, user)})
        return Written(200, body={"identity": {**found, **change}})

    def _merge(self, name: str, record: Record, body: Record) -> Written:
        """Tickets become one, or a user another one."""
        if name == "users":
            into = self._find("users", str(object_of(body, "user").get("id")))
            if into["id"] == record["id"]:
                raise invalid("base", "A user cannot be merged into themselves")
            for ticket in list(self._desk.tickets()):
                if ticket["requester_id"] == record["id"]:
                    self._desk.write(
                        "tickets", int(str(ticket["id"])), {"requester_id": into["id"]}
                    )
            self._delete("users", record)
            return Written(200, "user", "users", into)
        ids = body.get("ids")
        if not isinstance(ids, list) or not ids:
            raise missing("ids")
        sources = [self._find("tickets", str(number)) for number in ids]
        for source in sources:
            told = body.get("source_comment") or f"Closed: merged into request #{record['id']}"
            comment = {"body": told, "public": body.get("source_comment_is_public") is True}
            self._update_ticket(source, {"status": "closed", "comment": comment})
        words = ", ".join(f"#{number}" for number in ids)
        told = body.get("target_comment") or f"Requests {words} were merged into this one"
        comment = {"body": told, "public": body.get("target_comment_is_public") is True}
        self._update_ticket(record, {"comment": comment})
        results: list[Record] = [
            {"index": 0, "id": record["id"], "action": "merge", "success": True}
        ]
        return Written(200, body={"job_status": self._desk.add_job(results)})

    def _forget(self, method: str, parts: Sequence[str]) -> Written:
        """A deleted user goes for good."""
        for user in self._desk.deleted_users():
            if method == "DELETE" and [str(user["id"])] == list(parts):
                self._desk.write("users", int(parts[0]), {"_forgotten": True})
                return Written(200, body={"deleted_user": shown(user)})
        raise not_found()

    def _import(self, parts: Sequence[str], body: Record) -> Written:
        """Tickets of another system, with their own times and comments."""
        if list(parts) == ["create_many"]:
            made = [self._imported(each) for each in as_list(body.get("tickets"))]
            results = [
                {"index": n, "id": r["id"], "action": "create", "success": True}
                for n, r in enumerate(made)
            ]
            return Written(200, body={"job_status": self._desk.add_job(results)})
        return Written(201, "ticket", "tickets", self._imported(object_of(body, "ticket")))

    def _imported(self, given: Record) -> Record:
        said = [
            {**each, "body": each.get("body") or each.get("value")}
            for each in as_list(given.get("comments"))
        ]
        first = given.get("description") or (said[0]["body"] if said else given.get("subject"))
        self._ticket_change(given)
        # Comments come before the end: a closed ticket takes none.
        begun = {name: value for name, value in given.items() if name != "status"}
        ticket = self._new_ticket({**begun, "description": first})
        number = int(str(ticket["id"]))
        for each in said if given.get("description") else said[1:]:
            self._update_ticket(self._find("tickets", str(number)), {"comment": each})
        told = {name: given[name] for name in ("created_at", "status") if given.get(name)}
        return self._saved("tickets", number, told)

    # many records

    def _many(
        self, method: str, name: str, word: str, query: Mapping[str, str], content: bytes
    ) -> Written:
        body = read_body(content)
        ids = [part for part in query.get("ids", "").split(",") if part]
        if external := query.get("external_ids"):
            wanted = external.split(",")
            records = self._desk.tickets() if name == "tickets" else self._desk.records(name)
            ids = [str(r["id"]) for r in records if str(r.get("external_id")) in wanted]
        work: list[tuple[str, Record]] = [
            (str(item.get("id", "")), item) for item in as_list(body.get(name))
        ]
        if ids:
            work = [(number, as_dict(body.get(SINGULAR[name]))) for number in ids]
        if not work:
            raise missing(name)
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
                    done = self._create(name, {SINGULAR[name]: given})
                elif word == "create_or_update_many" and method == "POST" and name != "tickets":
                    done = self._create_or_update(name, {SINGULAR[name]: given})
                elif word == "destroy_many" and method == "DELETE":
                    done = self._delete(name, self._find(name, number))
                elif word.startswith("update_many") and method == "PUT":
                    done = self._update(name, self._find(name, number), {SINGULAR[name]: given})
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
            if word == "create_or_update_many" and done.status == 201:
                action = "create"
            results.append({"index": index, "id": made, "action": action, "success": True})
        return Written(200, body={"job_status": self._desk.add_job(results)})
