"""What clients write into Lever: opportunities with their notes and files, contacts, postings, requisitions, users.

A client's values lie over the company's records and outlive the process in one file of the state
folder. Written from the vendor's documentation: who acts is told by ``perform_as``, and what is
made is answered by 201.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from email.parser import BytesParser
from email.policy import HTTP

import orjson

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.state import StateFolder

_FILE = "lever"
#: Collections of which clients make and change records, with what a new one must have.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "postings": ("text",),
    "requisitions": ("requisitionCode", "name", "headcountTotal"),
    "users": ("name", "email"),
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
}
#: Lists of texts to which an opportunity's own calls add and from which they take.
_TEXTS = {"Tags": "tags", "Sources": "sources", "Links": "links"}
_OWN = ("name", "headline", "location", "emails", "phones")


class LeverError(Exception):
    """An error in Lever's form."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad(message: str) -> LeverError:
    """400 for a request that makes no sense."""
    return LeverError(400, "BadRequestError", message)


def missing(what: str) -> LeverError:
    """404 for a record that is not there."""
    return LeverError(404, "ResourceNotFound", f"{what} was not found")


class Written:
    """What clients wrote, over and beside the company's records."""

    def __init__(self, folder: StateFolder | None) -> None:
        self._folder = folder
        known = folder.read(_FILE) if folder else {}
        self._changes = _nested(known.get("changes"))
        children = known.get("children")
        self._children: dict[str, dict[str, list[Record]]] = (
            children if isinstance(children, dict) else {}
        )
        self.writes = 0
        """How often anything was written."""

    def laid_over(self, name: str, records: list[Record]) -> list[Record]:
        """The collection with what clients wrote; opportunities by their last change."""
        changes = self._changes.get(name)
        if not changes:
            return records
        merged = {str(record["id"]): record for record in records}
        for key, change in changes.items():
            if change.get("_gone"):
                merged.pop(key, None)
            elif key in merged or "id" in change:
                merged[key] = {**merged.get(key, {}), **change}
        if name != "opportunities":
            return list(merged.values())
        return sorted(merged.values(), key=lambda r: (int(str(r["updatedAt"])), str(r["id"])))

    def children(self, opportunity: str, name: str) -> list[Record]:
        """Notes, files or applications that clients made for an opportunity."""
        return self._children.get(name, {}).get(opportunity, [])

    def write(self, name: str, key: str, change: Mapping[str, object]) -> None:
        """Make a record or change some of its fields."""
        self._changes.setdefault(name, {}).setdefault(key, {}).update(change)

    def write_children(self, opportunity: str, name: str, children: list[Record]) -> None:
        """Replace an opportunity's notes, files or applications."""
        self._children.setdefault(name, {})[opportunity] = children

    def keep(self) -> None:
        """Remember what was written."""
        self.writes += 1
        if self._folder is not None:
            content = {"changes": self._changes, "children": self._children}
            self._folder.write(_FILE, content)


class Writes:
    """Carries out the requests that write; answers a status and the data."""

    def __init__(
        self,
        written: Written,
        records: Callable[[str], list[Record]],
        now: Callable[[], int],
    ) -> None:
        self._written = written
        self._records = records
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
            case _, "opportunities", key, "notes", *rest:
                return self._note(method, key, rest, actor, body)
            case _, "opportunities", key, "files", *rest:
                return self._file(method, key, rest, actor, body)
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
            case "DELETE", "requisitions", key:
                self._find("requisitions", key)
                self._written.write("requisitions", key, {"_gone": True})
                return 204, None
        raise LeverError(403, "Forbidden", "This key may not change that.")

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
            self._written.write_children(key, "applications", [application])
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

    def _note(
        self, method: str, key: str, rest: Sequence[str], actor: str, body: object
    ) -> tuple[int, object]:
        self._find("opportunities", key)
        notes = list(self._written.children(key, "notes"))
        now = self._now()
        if method == "POST" and not rest:
            told = _object(body)
            if not told.get("value"):
                raise bad("value is required")
            fields = [{"type": "note", "text": "", "value": told["value"], "createdAt": now}]
            note: Record = {
                "id": str(uuid.uuid4()),
                "text": "New Note",
                "fields": fields,
                "user": actor or None,
                "secret": bool(told.get("secret")),
                "completedAt": now,
                "createdAt": told.get("createdAt") or now,
                "deletedAt": None,
            }
            self._written.write_children(key, "notes", [*notes, note])
            self._touch(key, {})
            return 201, note
        place = next((n for n, note in enumerate(notes) if [note["id"]] == list(rest)), None)
        if place is None:
            raise missing(f"notes {'/'.join(rest)}")
        if method == "PUT":
            value = _object(body).get("value")
            fields = [{"type": "note", "text": "", "value": value, "createdAt": now}]
            notes[place] = {**notes[place], "fields": fields}
            self._written.write_children(key, "notes", notes)
            return 200, notes[place]
        if method == "DELETE":
            self._written.write_children(key, "notes", [*notes[:place], *notes[place + 1 :]])
            return 204, None
        raise LeverError(405, "MethodNotAllowed", f"{method} is not allowed here.")

    def _file(
        self, method: str, key: str, rest: Sequence[str], actor: str, body: object
    ) -> tuple[int, object]:
        self._find("opportunities", key)
        files = list(self._written.children(key, "files"))
        if method == "POST" and not rest:
            if not isinstance(body, tuple):
                raise bad("file is required")
            name, content = body
            made: Record = {
                "id": str(uuid.uuid4()),
                "name": name,
                "ext": name.rpartition(".")[2] if "." in name else None,
                "size": len(content),
                "uploadedAt": self._now(),
                "status": "processed",
                "uploader": actor or None,
                "_content": base64.b64encode(content).decode(),
            }
            self._written.write_children(key, "files", [*files, made])
            return 201, shown(made)
        kept = [each for each in files if [each["id"]] != list(rest)]
        if method != "DELETE" or len(kept) == len(files):
            raise missing(f"files {'/'.join(rest)}")
        self._written.write_children(key, "files", kept)
        return 204, None

    # Other collections

    def _create(self, name: str, actor: str, told: Record) -> Record:
        for field in _REQUIRED[name]:
            if told.get(field) in (None, ""):
                raise bad(f"{field} is required")
        if name == "users" and any(u["email"] == told["email"] for u in self._records("users")):
            raise LeverError(409, "Conflict", "A user with this email exists already")
        now, key = self._now(), str(uuid.uuid4())
        record: Record = {"id": key, **_BEGUN[name], **told, "createdAt": now}
        if name == "users":
            record.setdefault("username", str(told["email"]).partition("@")[0])
        else:
            by = actor or str(self._records("users")[0]["id"])
            record = {"owner": by, "creator" if name == "requisitions" else "user": by, **record}
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


def shown(record: Record) -> Record:
    """A record without what only the service itself knows of it."""
    return {name: value for name, value in record.items() if not name.startswith("_")}


def read_body(content_type: str, content: bytes) -> object:
    """A JSON body; of a form with a file, the file's name and content."""
    if "multipart/" in content_type:
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        for part in BytesParser(policy=HTTP).parsebytes(head + content).iter_parts():
            data = part.get_payload(decode=True)
            if part.get_filename() and isinstance(data, bytes):
                return part.get_filename(), data
        return None
    if not content:
        return {}
    try:
        return orjson.loads(content)
    except ValueError:
        raise bad("The body is not valid JSON") from None


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


def _nested(value: object) -> dict[str, dict[str, Record]]:
    return value if isinstance(value, dict) else {}
