"""What clients write to Marketo's assets: static lists, folders, tokens, programs, e-mails.

Parameters come as a form, objects among them as JSON. The company's own assets stay as they are; what a
client made can be changed, copied and deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import orjson
from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_library import PROGRAM_FOLDER, Library, static_list
from meltano_assets.sandbox.marketo_wire import MarketoError, envelope, wire_time
from meltano_assets.sandbox.numbers import is_number

_TOKEN_TYPES = ("date", "iCalendar", "number", "rich text", "score", "sfdc campaign", "text")
_PROGRAM_TYPES = ("Default", "Email", "Engagement", "Event", "Event with Webinar")
_HEADERS = {"subject": "subject", "fromName": "fromName", "fromEmail": "fromEmail",
            "replyEmail": "replyEmail", "replyTO": "replyEmail"}  # fmt: skip
_FLAGS = ("operational", "textOnly", "webView", "autoCopyToText")
_MOST_NAME = 255
_ID, _TYPE = r"""['"]?id['"]?\s*:\s*['"]?""", r"""['"]?type['"]?\s*:\s*['"]?"""
_FOLDER = re.compile(
    rf"""(?P<bare>\d{{1,15}})|\{{\s*(?:{_ID}(?P<id>\d{{1,15}})['"]?(?:\s*,\s*{_TYPE}"""
    rf"""(?P<type>Folder|Program)['"]?)?|{_TYPE}(?P<first>Folder|Program)['"]?\s*,\s*"""
    rf"""{_ID}(?P<last>\d{{1,15}})['"]?)\s*\}}"""
)
#: Asset → what the vendor calls it.
_TITLES = {"email": "Email", "folder": "Folder", "program": "Program", "staticList": "Static list"}
_PLURALS = {"emails": "email", "folders": "folder", "programs": "program",
            "staticLists": "staticList"}  # fmt: skip


class AssetWrites:
    """Carries out what is written below ``/rest/asset/v1``."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def answer(self, path: str, query: Mapping[str, str], desk: Desk) -> Response:
        """The answer to a POST; 603 for assets that cannot be written here."""
        parts = path.split("/")
        one = _PLURALS.get(parts[0], parts[0])
        if one not in _TITLES:
            raise MarketoError("603", "Access denied")
        handlers: dict[str, Callable[[list[str], Mapping[str, str], Desk], Record]] = {
            "email": self._email,
            "folder": self._folder,
            "program": self._program,
            "staticList": self._list,
        }
        told = handlers[one]([] if parts[0] in _PLURALS else parts[1:], query, desk)
        desk.keep()
        return envelope({"errors": [], "warnings": [], "result": [told]})

    # Static lists

    def _list(self, parts: list[str], query: Mapping[str, str], desk: Desk) -> Record:
        if not parts:
            made = self._new(query, desk, desk.lists.values(), "Static list")
            number = desk.new_id()
            record: Record = {
                "id": number,
                **made,
                "workspaceName": "Default",
                "folder": folder_of(query["folder"]),
            }
            desk.write_list(number, record)
            return static_list(record)
        known = desk.lists.get(int(parts[0])) if is_number(parts[0]) else None
        if known is None:
            raise MarketoError("702", f"Static list with id '{parts[0]}' not found")
        if parts[1:] == ["delete"]:
            desk.delete_list(int(parts[0]))
            return {"id": int(parts[0])}
        if parts[1:]:
            raise MarketoError("610", "Requested resource not found")
        changed = {n: query[n] for n in ("name", "description") if n in query}
        record = {**known, **changed, "updatedAt": desk.stamp()}
        desk.write_list(int(parts[0]), record)
        return static_list(record)

    # Folders and tokens

    def _folder(self, parts: list[str], query: Mapping[str, str], desk: Desk) -> Record:
        if not parts:
            parent = self._parent(_needed(query, "parent"), desk)
            same = [f for f in self._all("folders", desk) if f["parent"] == parent["folderId"]]
            made = self._new(query, desk, same, "Folder", has_folder=False)
            number = desk.new_id()
            record: Record = {
                "id": number,
                **made,
                "url": f"https://app-sandbox.marketo.com/#MF{number}A1",
                "folderId": {"id": number, "type": "Folder"},
                "folderType": "Marketing Folder"
                if parent["folderType"] == "Zone"
                else parent["folderType"],
                "parent": parent["folderId"],
                "path": f"{parent['path']}/{made['name']}",
                "isArchive": False,
                "isSystem": False,
                "accessZoneId": 1,
                "workspace": "Default",
            }
            desk.write_asset("folders", number, record)
            return record
        if parts[1:2] == ["tokens"]:
            return self._tokens(parts, query, desk)
        record = self._one("folder", parts[0], desk)
        own = desk.own("folders")
        if parts[1:] == ["delete"]:
            inside = [f for f in self._all("folders", desk) if f["parent"] == record["folderId"]]
            if inside or self._lies_in(record["folderId"], desk):
                raise MarketoError("709", "Folder is not empty")
            self._owned(record, own, "Folder")
            desk.write_asset("folders", int(str(record["id"])), None)
            return {"id": record["id"]}
        if parts[1:]:
            raise MarketoError("610", "Requested resource not found")
        self._owned(record, own, "Folder")
        changed: Record = {n: query[n] for n in ("name", "description") if query.get(n)}
        if "name" in changed:
            changed["path"] = f"{str(record['path']).rpartition('/')[0]}/{changed['name']}"
        if "isArchive" in query:
            changed["isArchive"] = query["isArchive"].lower() == "true"
        record = {**record, **changed, "updatedAt": _stamp(desk)}
        desk.write_asset("folders", int(str(record["id"])), record)
        return record

    def _tokens(self, parts: list[str], query: Mapping[str, str], desk: Desk) -> Record:
        kind = _needed(query, "folderType")
        if kind not in ("Folder", "Program"):
            raise MarketoError("701", f"folderType '{kind}' is not valid")
        self._one(kind.lower(), parts[0], desk)
        name, sort = _needed(query, "name"), _needed(query, "type")
        if sort not in _TOKEN_TYPES:
            raise MarketoError("701", f"type '{sort}' is not valid")
        folder: Record = {"id": int(parts[0]), "type": kind}
        key = f"{kind}:{parts[0]}"
        tokens = desk.tokens(key)
        others = [token for token in tokens if (token["name"], token["type"]) != (name, sort)]
        if parts[2:] == ["delete"]:
            if len(others) == len(tokens):
                raise MarketoError("702", f"Token with name '{name}' not found")
            desk.write_tokens(key, others)
            return {"folder": folder, "tokens": others}
        if parts[2:]:
            raise MarketoError("610", "Requested resource not found")
        made: Record = {
            "name": name,
            "type": sort,
            "value": _needed(query, "value"),
            "computedUrl": f"https://app-sandbox.marketo.com/#{kind[0]}T{parts[0]}A1",
        }
        desk.write_tokens(key, [*others, made])
        return {"folder": folder, "tokens": [*others, made]}

    # Programs

    def _program(self, parts: list[str], query: Mapping[str, str], desk: Desk) -> Record:
        if not parts:
            return self._new_program(query, desk, {})
        record = self._one("program", parts[0], desk)
        number, own = int(parts[0]), desk.own("programs")
        if parts[1:] == ["clone"]:
            kept = ("type", "channel", "tags", "costs")
            given = {name: record[name] for name in kept if name in record}
            return self._new_program(query, desk, given)
        if parts[1:] in (["approve"], ["unapprove"]):
            if record["type"] != "Email":
                raise MarketoError("709", "Only e-mail programs can be approved")
            self._owned(record, own, "Program")
            status = "locked" if parts[1] == "approve" else "unlocked"
            desk.write_asset("programs", number, {**record, "status": status})
            return {"id": number}
        if parts[1:] == ["delete"]:
            self._owned(record, own, "Program")
            desk.write_asset("programs", number, None)
            return {"id": number}
        if parts[1:]:
            raise MarketoError("610", "Requested resource not found")
        self._owned(record, own, "Program")
        changed: Record = {n: query[n] for n in ("name", "description") if query.get(n)}
        for name in ("startDate", "endDate"):
            if query.get(name):
                changed[name] = f"{wire_time(query[name], name)}+0000"
        for name in ("costs", "tags"):
            if query.get(name):
                changed[name] = _list_of(query[name], name)
        if "costs" in changed and query.get("costsDestructiveUpdate", "").lower() != "true":
            held = record["costs"] if isinstance(record["costs"], list) else []
            changed["costs"] = [*held, *_list_of(query["costs"], "costs")]
        record = {**record, **changed, "updatedAt": _stamp(desk)}
        desk.write_asset("programs", number, record)
        return record

    def _new_program(self, query: Mapping[str, str], desk: Desk, given: Record) -> Record:
        made = self._new(query, desk, desk.programs.values(), "Program")
        kind = str(given.get("type") or _needed(query, "type")).title().replace("With", "with")
        if kind == "Program":
            kind = "Default"
        channel = str(given.get("channel") or _needed(query, "channel"))
        if kind not in _PROGRAM_TYPES:
            raise MarketoError("701", f"type '{kind}' is not valid")
        if channel not in {record["name"] for record in self._all("channels", desk)}:
            raise MarketoError("702", f"Channel with name '{channel}' not found")
        number = desk.new_id()
        record: Record = {
            "id": number,
            **made,
            "url": f"https://app-sandbox.marketo.com/#PG{number}A1",
            "type": kind,
            "channel": channel,
            "folder": self._placed(query, desk),
            "status": "unlocked" if kind == "Email" else "",
            "workspace": "Default",
            "costs": _list_of(query.get("costs"), "costs"),
            "tags": _list_of(query.get("tags"), "tags"),
            **{n: v for n, v in given.items() if n in ("costs", "tags")},
        }
        desk.write_asset("programs", number, record)
        return record

    # E-mails

    def _email(self, parts: list[str], query: Mapping[str, str], desk: Desk) -> Record:
        if not parts:
            return self._new_email(query, desk, {})
        record = self._one("email", parts[0], desk)
        number, own = int(parts[0]), desk.own("emails")
        match parts[1:]:
            case ["clone"]:
                kept = (*_HEADERS.values(), *_FLAGS, "template")
                return self._new_email(query, desk, {n: record[n] for n in kept if n in record})
            case ["sendSample"]:
                if "@" not in _needed(query, "emailAddress"):
                    raise MarketoError("701", "emailAddress is not valid")
                return {"service": "sendTestEmail", "result": True}
            case [("approveDraft" | "unapprove" | "discardDraft" | "delete") as word]:
                self._owned(record, own, "Email")
                is_draft = record["status"] == "draft"
                if is_draft != (word in ("approveDraft", "discardDraft")) and word != "delete":
                    message = f"Email is {'not approved' if is_draft else 'not a draft'}"
                    raise MarketoError("709", message)
                if word == "delete" and not is_draft:
                    raise MarketoError("709", "An approved asset cannot be deleted")
                status = {"approveDraft": "approved", "unapprove": "draft"}.get(word)
                if word == "delete":
                    desk.write_asset("emails", number, None)
                elif status is not None:
                    desk.write_asset("emails", number, {**record, "status": status})
                return {"id": number}
            case ["content"]:
                self._owned(record, own, "Email")
                heads: Record = {
                    _HEADERS[name]: _header(query[name], name)
                    for name in _HEADERS
                    if query.get(name)
                }
                desk.write_asset("emails", number, {**record, **heads, "updatedAt": _stamp(desk)})
                return {"id": number}
            case []:
                self._owned(record, own, "Email")
                changed: Record = {
                    n: query[n] for n in ("name", "description", "preHeader") if query.get(n)
                }
                changed |= {n: query[n].lower() == "true" for n in _FLAGS if n in query}
                record = {**record, **changed, "updatedAt": _stamp(desk)}
                desk.write_asset("emails", number, record)
                return record
        raise MarketoError("603", "Access denied")

    def _new_email(self, query: Mapping[str, str], desk: Desk, given: Record) -> Record:
        made = self._new(query, desk, self._all("emails", desk), "Email")
        headers: Record = {
            name: given.get(name) or {"type": "Text", "value": _needed(query, name)}
            for name in ("subject", "fromName", "fromEmail", "replyEmail")
        }
        template = given.get("template") or _needed(query, "template")
        known = {str(record["id"]) for record in self._all("emailTemplates", desk)}
        if str(template) not in known:
            raise MarketoError("702", f"Email template with id '{template}' not found")
        number = desk.new_id()
        flags = {n: query.get(n, str(given.get(n, False))).lower() == "true" for n in _FLAGS}
        record: Record = {
            "id": number,
            **made,
            "url": f"https://app-sandbox.marketo.com/#EM{number}A1",
            **headers,
            "folder": self._placed(query, desk),
            **flags,
            "publishToMSI": False,
            "status": "draft",
            "template": int(str(template)),
            "workspace": "Default",
            "version": 2,
            "preHeader": None,
            "ccFields": None,
        }
        desk.write_asset("emails", number, record)
        return record

    # What all have in common

    def _all(self, kind: str, desk: Desk) -> list[Record]:
        return self._library.records(kind, desk) or []

    def _one(self, one: str, number: str, desk: Desk) -> Record:
        for record in self._all(f"{one}s", desk):
            if str(record["id"]) == number:
                return record
        raise MarketoError("702", f"{_TITLES[one]} with id '{number}' not found")

    def _owned(self, record: Record, own: Mapping[str, Record], title: str) -> None:
        if str(record["id"]) not in own:
            raise MarketoError("709", f"{title} '{record['name']}' cannot be changed")

    def _new(
        self,
        query: Mapping[str, str],
        desk: Desk,
        others: object,
        title: str,
        *,
        has_folder: bool = True,
    ) -> Record:
        """What every new asset says of itself; its name must be its own."""
        name = _needed(query, "name")
        if len(name) > _MOST_NAME:
            raise MarketoError("701", f"name cannot have more than {_MOST_NAME} characters")
        if has_folder:
            folder_of(_needed(query, "folder"))
        assert hasattr(others, "__iter__")
        if any(record["name"] == name for record in others):
            raise MarketoError("709", f"{title} with the same name already exists")
        now = desk.stamp() if title == "Static list" else _stamp(desk)
        return {
            "name": name,
            "description": query.get("description"),
            "createdAt": now,
            "updatedAt": now,
        }

    def _parent(self, text: str, desk: Desk) -> Record:
        told = folder_of(text)
        if told["type"] == "Folder":
            for record in self._all("folders", desk):
                if record["id"] == told["id"]:
                    return record
        program = desk.programs.get(int(str(told["id"])))
        if told["type"] == "Program" and program is not None:
            path = f"/Marketing Activities/Programs/{program['name']}"
            return {"folderId": told, "folderType": "Marketing Program", "path": path}
        raise MarketoError("710", "Parent folder not found")

    def _placed(self, query: Mapping[str, str], desk: Desk) -> Record:
        """The folder of an asset as assets tell it."""
        told = folder_of(query["folder"])
        parent = self._parent(query["folder"], desk)
        name = parent.get("name") or str(parent["path"]).rpartition("/")[2]
        return {"type": told["type"], "value": told["id"], "folderName": name}

    def _lies_in(self, folder: object, desk: Desk) -> bool:
        assert isinstance(folder, dict)
        place = (folder["id"], folder["type"])
        if place == (PROGRAM_FOLDER, "Folder"):
            return True
        for kind in ("programs", "emails", "forms", "landingPages", "emailTemplates"):
            for record in self._all(kind, desk):
                held = record.get("folder")
                if isinstance(held, dict) and (held.get("value"), held.get("type")) == place:
                    return True
        return False


def _stamp(desk: Desk) -> str:
    """The present as assets carry it."""
    return f"{desk.stamp()}+0000"


def _needed(query: Mapping[str, str], name: str) -> str:
    value = query.get(name)
    if not value:
        raise MarketoError("701", f"{name} cannot be blank")
    return value


def _json(text: str, name: str) -> object:
    try:
        told: object = orjson.loads(text)
    except ValueError:
        try:
            told = orjson.loads(text.replace("'", '"'))
        except ValueError:
            raise MarketoError("701", f"{name} is not valid") from None
    return told


def folder_of(text: str) -> Record:
    """A folder or program as parameters name it: an object, or a bare number.

    Clients write the object in ways that are no JSON (``{'id': 20, 'type': Folder}``), and the vendor reads them.
    """
    found = _FOLDER.fullmatch(text.strip())
    if found is None:
        raise MarketoError("701", "folder is not valid")
    number, kind = found["bare"] or found["id"] or found["last"], found["type"] or found["first"]
    return {"id": int(number), "type": kind or "Folder"}


def _list_of(text: str | None, name: str) -> list[Record]:
    told = _json(text, name) if text else []
    if not isinstance(told, list) or not all(isinstance(entry, dict) for entry in told):
        raise MarketoError("701", f"{name} is not valid")
    return told


def _header(text: str, name: str) -> Record:
    """A line of an e-mail's head: a text, or an object in JSON."""
    if not text.startswith("{"):
        return {"type": "Text", "value": text}
    told = _json(text, name)
    if not isinstance(told, dict) or not isinstance(told.get("value"), str):
        raise MarketoError("701", f"{name} is not valid")
    return {"type": str(told.get("type") or "Text"), "value": told["value"]}
