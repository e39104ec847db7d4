"""What clients write into Lever: opportunities with what hangs on them, contacts, postings and other lists.

Written from the vendor's documentation: who acts is told by ``perform_as``, and what is
made is answered by 201.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.lever_kept import LeverError, Written, bad, missing, shown

#: Collections of which clients make and change records, with what a new one must have.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "postings": ("text",),
    "requisitions": ("requisitionCode", "name", "headcountTotal"),
    "users": ("name", "email"),
    "feedback_templates": ("text", "fields"),
    "form_templates": ("text", "fields"),
    "requisition_fields": ("text", "type"),
    "webhooks": ("url", "event"),
}
_DELETABLE = (
    "requisitions", "feedback_templates", "form_templates", "requisition_fields", "webhooks",
)  # fmt: skip
#: What a webhook may be told of.
_EVENTS = (
    "applicationCreated", "candidateArchiveChange", "candidateDeleted", "candidateHired",
    "candidateStageChange", "contactCreated", "contactUpdated", "interviewCreated",
    "interviewDeleted", "interviewUpdated",
)  # fmt: skip
#: Lists that are only read.
_READ_ONLY = ("archive_reasons", "audit_events", "sources", "stages", "tags")
#: What hangs on an opportunity and is made by clients, with what a new one must have.
_PAPERS: dict[str, tuple[str, ...]] = {
    "panels": ("timezone", "interviews"),
    "interviews": ("panel", "interviewers", "date", "duration"),
    "feedback": ("baseTemplateId",),
    "forms": ("baseTemplateId",),
}
_BEGUN: dict[str, Record] = {
    "postings": {
        "state": "draft",
        "distributionChannels": [],
        "hiringManager": None,
        "categories": {},
        "content": {},
        "tags": [],
        "followers": [],
        "requisitionCodes": [],
        "confidentiality": "non-confidential",
        "urls": {},
    },
    "requisitions": {
        "status": "open",
        "backfill": False,
        "confidentiality": "non-confidential",
        "headcountHired": 0,
        "postings": [],
        "offerIds": [],
        "customFields": {},
        "closedAt": None,
    },
    "users": {
        "accessRole": "interviewer",
        "photo": None,
        "deactivatedAt": None,
        "externalDirectoryId": None,
        "linkedContactIds": None,
        "jobTitle": None,
        "managerId": None,
    },
    "feedback_templates": {"instructions": "", "group": None},
    "form_templates": {"instructions": "", "secret": False},
    "requisition_fields": {"isRequired": False},
    "webhooks": {"conditions": {"origins": []}, "verifiedAt": None},
    "panels": {
        "applications": [], "canceledAt": None, "externallyManaged": True, "externalUrl": None,
        "feedbackReminder": "once", "note": "",
    },
    "interviews": {
        "subject": "", "note": "", "timezone": "UTC", "location": "", "feedbackTemplate": None,
        "feedbackForms": [], "feedbackReminder": "once", "canceledAt": None, "postings": [],
        "gcalEventUrl": None,
    },
    "feedback": {"type": "interview", "interview": None, "panel": None, "deletedAt": None},
    "forms": {"type": "form", "deletedAt": None},
}  # fmt: skip
#: Lists of texts to which an opportunity's own calls add and from which they take.
_TEXTS = {"Tags": "tags", "Sources": "sources", "Links": "links"}
_OWN = ("name", "headline", "location", "emails", "phones")
#: What clients make below an opportunity.
_CHILDREN = ("notes", "files", *_PAPERS)


class Writes:
    """Carries out the requests that write; answers a status and the data."""

    def __init__(
        self,
        written: Written,
        records: Callable[[str], list[Record]],
        children: Callable[[str, str], list[Record]],
        now: Callable[[], int],
    ) -> None:
        self._written = written
        self._records = records
        self._children = children
        self._now = now

    def answer(
        self, method: str, parts: Sequence[str], query: Mapping[str, list[str]], body: object
    ) -> tuple[int, object]:
        """The answer to one request."""
        actor = query.get("perform_as", [""])[-1]
        if actor:
            self._find("users", actor)
        answer = self._answer(method, parts, actor, body)
        self._written.keep()
        return answer

    def _answer(
        self, method: str, parts: Sequence[str], actor: str, body: object
    ) -> tuple[int, object]:
        match method, *parts:
            case "POST", "opportunities":
                return 201, self._begin(_acting(actor), _object(body))
            case "PUT", "opportunities", key, "stage":
                return 200, self._move(key, actor, _object(body))
            case "PUT", "opportunities", key, "archived":
                return 200, self._archive(key, _object(body))
            case "POST", "opportunities", key, action if action[:3] in ("add", "rem"):
                return 200, self._change_texts(key, action, _object(body))
            case ("POST", "opportunities", key, name) if name in _CHILDREN:
                self._find("opportunities", key)
                made = self._child(key, name, actor, body)
                self._written.write_child(key, name, made)
                self._touch(key, {})
                return 201, shown(made)
            case ("PUT" | "DELETE", "opportunities", key, name, child) if name in _CHILDREN:
                return self._change_child(method, key, name, child, body)
            case "PUT", "contacts", key:
                return 200, self._change_contact(key, _object(body))
            case "POST", "users", key, "deactivate" | "reactivate" as action:
                self._find("users", key)
                at = self._now() if action == "deactivate" else None
                self._written.write("users", key, {"deactivatedAt": at})
                return 200, {**self._find("users", key), "deactivatedAt": at}
            case "POST", name if name in _REQUIRED:
                return 201, self._create(name, actor, _object(body))
            case "PUT" | "POST", name, key if name in _REQUIRED:
                return 200, self._change(name, key, _object(body))
            case "DELETE", name, key if name in _DELETABLE:
                self._find(name, key)
                self._written.write(name, key, {"_gone": True})
                return 204, None
        raise _not_served(method, parts)

    def _find(self, name: str, key: str) -> Record:
        for record in self._records(name):
            if record.get("id") == key:
                return record
        raise missing(f"{name} {key}")

    def _known(self, name: str, key: object) -> str:
        try:
            return str(self._find(name, str(key))["id"])
        except LeverError:
            raise bad(f"Invalid {name.rstrip('s')}: {key}") from None

    # Opportunities

    def _begin(self, actor: str, told: Record) -> Record:
        now = self._now()
        emails = _texts(told, "emails")
        stage = self._known("stages", told.get("stage") or "lead-new")
        owner = self._known("users", told.get("owner") or actor)
        posting = _texts(told, "postings")
        if len(posting) > 1:
            raise bad("An opportunity can be made for one posting at most")
        posting = [self._known("postings", key) for key in posting]
        # Who is known by an address is the same person with one more opportunity.
        same = (r for r in self._records("opportunities") if set(_texts(r, "emails")) & set(emails))
        contact = next((str(r["contact"]) for r in same), "") or str(uuid.uuid4())
        key = str(uuid.uuid4())
        created = told.get("createdAt")
        created = created if isinstance(created, int) and created <= now else now
        archived = told.get("archived")
        record: Record = {
            "id": key,
            "name": str(told.get("name") or ""),
            "headline": str(told.get("headline") or ""),
            "contact": contact,
            "emails": emails,
            "phones": told.get("phones") or [],
            "confidentiality": "non-confidential",
            "location": told.get("location"),
            "links": _texts(told, "links"),
            "archived": self._end(archived) if isinstance(archived, dict) else None,
            "tags": _texts(told, "tags"),
            "sources": _texts(told, "sources"),
            "stageChanges": [_entered(stage, self._place(stage), now, actor)],
            "origin": told.get("origin") or "sourced",
            "sourcedBy": actor if not posting else None,
            "stage": stage,
            "owner": owner,
            "followers": sorted({owner, *_texts(told, "followers")}),
            "applications": [],
            "createdAt": created,
            "updatedAt": now,
            "lastInteractionAt": now,
            "lastAdvancedAt": now,
            "snoozedUntil": None,
            "urls": {
                "list": "https://hire.sandbox.example/candidates",
                "show": f"https://hire.sandbox.example/candidates/{key}",
            },
            "dataProtection": None,
            "isAnonymized": False,
            "opportunityLocation": None,
        }
        if posting:
            application = self._application(record, posting[0], actor)
            record["applications"] = [application["id"]]
            self._written.write_child(key, "applications", application)
        self._written.write("opportunities", key, record)
        return record

    def _application(self, opportunity: Record, posting: str, actor: str) -> Record:
        job = self._find("postings", posting)
        return {
            "id": str(uuid.uuid4()),
            "opportunityId": opportunity["id"],
            "candidateId": opportunity["id"],
            "type": "user",
            "posting": posting,
            "postingOwner": job.get("owner"),
            "postingHiringManager": job.get("hiringManager"),
            "user": actor,
            "name": opportunity["name"],
            "company": None,
            "phone": None,
            "email": next(iter(_texts(opportunity, "emails")), None),
            "links": opportunity["links"],
            "comments": None,
            "customQuestions": [],
            "createdAt": opportunity["createdAt"],
            "archived": None,
            "requisitionForHire": None,
        }

    def _place(self, stage: str) -> int:
        return [r["id"] for r in self._records("stages")].index(stage)

    def _touch(self, key: str, change: Record) -> Record:
        now = self._now()
        change = {**change, "updatedAt": now, "lastInteractionAt": now}
        self._written.write("opportunities", key, change)
        return {**self._find("opportunities", key), **change}

    def _move(self, key: str, actor: str, told: Record) -> Record:
        found = self._find("opportunities", key)
        if not told.get("stage"):
            raise bad("stage is required")
        stage = self._known("stages", told["stage"])
        before = found["stageChanges"]
        now = self._now()
        entered = _entered(stage, self._place(stage), now, actor or str(found["owner"]))
        changes = [*(before if isinstance(before, list) else []), entered]
        change: Record = {"stage": stage, "stageChanges": changes, "lastAdvancedAt": now}
        return self._touch(key, change)

    def _archive(self, key: str, told: Record) -> Record:
        self._find("opportunities", key)
        if "reason" not in told:
            raise bad("reason is required")
        return self._touch(key, {"archived": self._end(told) if told["reason"] else None})

    def _end(self, told: Record) -> Record:
        reason = self._known("archive_reasons", told.get("reason"))
        at = told.get("archivedAt")
        return {"reason": reason, "archivedAt": at if isinstance(at, int) else self._now()}

    def _change_texts(self, key: str, action: str, told: Record) -> Record:
        is_adding = action.startswith("add")
        name = _TEXTS.get(action.removeprefix("add" if is_adding else "remove"))
        if name is None:
            raise missing(f"opportunities/{key}/{action}")
        before = _texts(self._find("opportunities", key), name)
        if name not in told:
            raise bad(f"{name} is required")
        given = _texts(told, name)
        kept = (
            [*before, *(text for text in dict.fromkeys(given) if text not in before)]
            if is_adding
            else [text for text in before if text not in given]
        )
        return self._touch(key, {name: kept})

    def _change_contact(self, key: str, told: Record) -> Record:
        theirs = [r for r in self._records("opportunities") if r["contact"] == key]
        if not theirs:
            raise missing(f"contacts {key}")
        change = {name: told[name] for name in _OWN if name in told}
        for record in theirs:
            self._touch(str(record["id"]), dict(change))
        return contact_of({**theirs[-1], **change})

    # What hangs on an opportunity

    def _child(self, key: str, name: str, actor: str, body: object) -> Record:
        """A new note, file, panel, interview, feedback or form."""
        now, made = self._now(), str(uuid.uuid4())
        if name == "files":
            if not isinstance(body, tuple):
                raise bad("file is required")
            title, content = body
            return {
                "id": made, "name": title, "ext": title.rpartition(".")[2] if "." in title else None,
                "size": len(content), "uploadedAt": now, "status": "processed",
                "downloadUrl": f"https://api.lever.co/v1/opportunities/{key}/files/{made}/download",
                "uploader": actor or None, "_content": base64.b64encode(content).decode(),
            }  # fmt: skip
        told = _object(body)
        if name == "notes":
            if not told.get("value"):
                raise bad("value is required")
            return {
                "id": made, "text": "New Note", "fields": [_note(told["value"], now)],
                "user": actor or None, "secret": bool(told.get("secret")), "completedAt": now,
                "createdAt": told.get("createdAt") or now, "deletedAt": None,
            }  # fmt: skip
        for field in _PAPERS[name]:
            if told.get(field) in (None, "", []):
                raise bad(f"{field} is required")
        record: Record = {"id": made, **_BEGUN[name], **told, "user": _acting(actor)}
        record["createdAt"] = told.get("createdAt") or now
        if name in ("feedback", "forms"):
            templates = "feedback_templates" if name == "feedback" else "form_templates"
            template = self._find(templates, self._known(templates, told["baseTemplateId"]))
            record |= {"text": template["text"], "instructions": template.get("instructions")}
            record["fields"] = _answered(template.get("fields"), record.pop("fieldValues", None))
            record["completedAt"] = told.get("completedAt")
            return record
        record["stage"] = self._find("opportunities", key)["stage"]
        if name == "interviews":
            panels = {str(panel["id"]): panel for panel in self._children(key, "panels")}
            panel = panels.get(str(told["panel"]))
            if panel is None:
                raise bad(f"Invalid panel: {told['panel']}")
            record["interviewers"] = self._interviewers(told["interviewers"])
            self._written.write_child(key, "panels", _with_talk(panel, record))
            return record
        talks = told["interviews"]
        if not isinstance(talks, list) or not all(isinstance(talk, dict) for talk in talks):
            raise bad("interviews must be a list of objects")
        begun: list[Record] = [
            {
                "id": str(uuid.uuid4()), **_BEGUN["interviews"], "timezone": told["timezone"], **talk,
                "panel": made, "user": actor, "createdAt": now, "stage": record["stage"],
                "interviewers": self._interviewers(talk.get("interviewers") or []),
            }
            for talk in talks
        ]  # fmt: skip
        record["interviews"] = []
        for talk in begun:
            record = _with_talk(record, talk)
            self._written.write_child(key, "interviews", talk)
        return record

    def _interviewers(self, told: object) -> list[Record]:
        if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
            raise bad("interviewers must be a list of objects")
        people = []
        for one in told:
            user = self._find("users", self._known("users", one.get("id")))
            template = one.get("feedbackTemplate")
            people.append({"id": user["id"], "name": user["name"], "email": user["email"],
                           "feedbackTemplate": template})  # fmt: skip
        return people

    def _change_child(
        self, method: str, key: str, name: str, child: str, body: object
    ) -> tuple[int, object]:
        self._find("opportunities", key)
        found = next((one for one in self._children(key, name) if one["id"] == child), None)
        if found is None:
            raise missing(f"{name} {child}")
        if method == "DELETE":
            self._written.write_child(key, name, {"id": child, "_gone": True})
            return 204, None
        if name == "files":
            raise _not_served(method, ["opportunities", key, name, child])
        told = _object(body)
        if name == "notes":
            changed = {**found, "fields": [_note(told.get("value"), self._now())]}
        elif name in ("feedback", "forms"):
            fields = _answered(found["fields"], told.get("fieldValues"))
            changed = {**found, "fields": fields, "updatedAt": self._now()}
            if "completedAt" in told:
                changed["completedAt"] = told["completedAt"]
        else:
            kept = ("id", "createdAt", "interviews", "panel", "user")
            changed = {**found, **{n: v for n, v in told.items() if n not in kept}}
            if "interviewers" in told:
                changed["interviewers"] = self._interviewers(told["interviewers"])
        self._written.write_child(key, name, changed)
        return 200, changed

    # Other collections

    def _create(self, name: str, actor: str, told: Record) -> Record:
        for field in _REQUIRED[name]:
            if told.get(field) in (None, ""):
                raise bad(f"{field} is required")
        if name == "webhooks":
            if not str(told["url"]).startswith("https://"):
                raise bad("url must be an address that begins with https://")
            if told["event"] not in _EVENTS:
                raise bad(f"event must be one of {', '.join(_EVENTS)}")
        if name == "users" and any(u["email"] == told["email"] for u in self._records("users")):
            raise LeverError(409, "Conflict", "A user with this email exists already")
        now, key = self._now(), str(uuid.uuid4())
        record: Record = {"id": key, **_BEGUN[name], **told, "createdAt": now}
        if name in ("webhooks", "requisition_fields"):
            record["updatedAt"] = now
        elif name == "users":
            record.setdefault("username", str(told["email"]).partition("@")[0])
        else:
            by = actor or str(self._records("users")[0]["id"])
            if name in ("postings", "requisitions"):
                who = "creator" if name == "requisitions" else "user"
                record = {"owner": by, who: by, **record}
            record["updatedAt"] = now
        self._written.write(name, key, record)
        return record

    def _change(self, name: str, key: str, told: Record) -> Record:
        known = self._find(name, key)
        change = {field: value for field, value in told.items() if field not in ("id", "createdAt")}
        if "updatedAt" in known:
            change["updatedAt"] = self._now()
        self._written.write(name, key, change)
        return {**known, **change}


def contact_of(opportunity: Record) -> Record:
    """The person behind an opportunity."""
    return {
        "id": opportunity["contact"],
        **{name: opportunity.get(name) for name in _OWN},
        "isAnonymized": False,
    }


def _not_served(method: str, parts: Sequence[str]) -> LeverError:
    """405 for a path that is served another way, 404 for one that is not."""
    allowed = ""
    match parts:
        case [name] if name in (*_READ_ONLY, "opportunities", *_REQUIRED):
            allowed = "GET" if name in _READ_ONLY else "GET, POST"
        case [name, _] if name in (*_READ_ONLY, "opportunities", "contacts", *_REQUIRED):
            allowed = "GET, PUT" if name == "contacts" or name in _REQUIRED else "GET"
            allowed += ", DELETE" if name in _DELETABLE else ""
        case ["opportunities", _, "stage" | "archived"]:
            allowed = "PUT"
        case ["opportunities", _, name, *rest] if len(rest) < 2:
            if name in _CHILDREN:
                allowed = "GET, PUT, DELETE" if rest else "GET, POST"
            elif name in ("applications", "offers", "resumes", "referrals"):
                allowed = "GET"
    if allowed:
        return LeverError(405, "MethodNotAllowedError", f"{method} is not allowed", allowed)
    return LeverError(404, "ResourceNotFound", f"/v1/{'/'.join(parts)} does not exist")


def _note(value: object, at: int) -> Record:
    return {"type": "note", "text": "", "value": value, "createdAt": at}


def _answered(fields: object, values: object) -> list[Record]:
    """The fields of a form with the answers that were sent (``fieldValues``)."""
    given = values if isinstance(values, list) else []
    told = {
        str(one["id"]): one.get("value") for one in given if isinstance(one, dict) and "id" in one
    }
    listed = [one for one in fields if isinstance(one, dict)] if isinstance(fields, list) else []
    known = {str(one.get("id")) for one in listed}
    if unknown := next((key for key in told if key not in known), None):
        raise bad(f"Invalid field: {unknown}")
    return [{**one, "value": told.get(str(one.get("id")), one.get("value"))} for one in listed]


def _with_talk(panel: Record, talk: Record) -> Record:
    """A panel with one interview more; it lasts from the first one's begin to the last one's end."""
    before = panel.get("interviews")
    talks = [*(before if isinstance(before, list) else []), talk]
    begins, ends = [], []
    for one in talks:
        begin, minutes = one.get("date"), one.get("duration")
        if not isinstance(begin, int) or not isinstance(minutes, int):
            raise bad("date and duration must be numbers")
        begins.append(begin)
        ends.append(begin + minutes * 60_000)
    return {**panel, "interviews": talks, "start": min(begins), "end": max(ends)}


def _acting(actor: str) -> str:
    if not actor:
        raise bad("perform_as is required")
    return actor


def _entered(stage: str, place: int, at: int, actor: str) -> Record:
    return {"toStageId": stage, "toStageIndex": place, "updatedAt": at, "userId": actor}


def _object(body: object) -> Record:
    if not isinstance(body, dict):
        raise bad("The body must be an object")
    return body


def _texts(told: Mapping[str, object], name: str) -> list[str]:
    value = told.get(name) or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise bad(f"{name} must be a list of texts")
    return value
