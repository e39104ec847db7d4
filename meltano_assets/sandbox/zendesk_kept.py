"""Zendesk's smaller collections that clients fill: groups, memberships, fields, macros, rules, identities, files.

A record is kept as it was given, with an id and times; what must be there is checked. Lists of the
company's own (its groups, its macros) show a client's records behind them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zendesk_answers import (
    Refused,
    Written,
    as_list,
    invalid,
    not_found,
    object_of,
)
from meltano_assets.sandbox.zendesk_desk import Desk
from meltano_assets.sandbox.zendesk_tickets import MACROS, identity

MAX_UPLOAD = 50 << 20


class Kept(NamedTuple):
    """A collection: what one record is called, what it must say, and what it is at first."""

    singular: str
    required: tuple[str, ...]
    begun: Mapping[str, object]


_RULE: Mapping[str, object] = {"active": True, "position": 1, "description": None}
_FIELD: Mapping[str, object] = {
    "active": True,
    "position": 1,
    "description": "",
    "regexp_for_validation": None,
}
KEPT = {
    "groups": Kept("group", ("name",), {"description": "", "default": False, "deleted": False}),
    "group_memberships": Kept("group_membership", ("user_id", "group_id"), {"default": False}),
    "organization_memberships": Kept(
        "organization_membership", ("user_id", "organization_id"), {"default": False}
    ),
    "ticket_fields": Kept("ticket_field", ("type", "title"), _FIELD),
    "user_fields": Kept("user_field", ("type", "title", "key"), _FIELD),
    "organization_fields": Kept("organization_field", ("type", "title", "key"), _FIELD),
    "ticket_forms": Kept("ticket_form", ("name",), {"active": True, "default": False}),
    "macros": Kept("macro", ("title", "actions"), {**_RULE, "restriction": None}),
    "triggers": Kept("trigger", ("title", "conditions", "actions"), {**_RULE, "default": False}),
    "automations": Kept("automation", ("title", "conditions", "actions"), _RULE),
    "views": Kept("view", ("title",), {**_RULE, "conditions": {"all": [], "any": []}}),
    "brands": Kept("brand", ("name", "subdomain"), {"active": True, "default": False}),
}  # fmt: skip
#: Field → the collection in which its record must be.
_LEADS_TO = {"user_id": "users", "group_id": "groups", "organization_id": "organizations"}


def kept_records(desk: Desk, name: str) -> list[Record]:
    """A collection with what clients wrote."""
    known = desk.records(name) if name in desk.collections else MACROS if name == "macros" else []
    return desk.merged(name, known)


def unfit(name: str, given: Mapping[str, object], desk: Desk) -> tuple[str, str] | None:
    """The field that keeps a new record from being made, and why."""
    for field in KEPT[name].required:
        if given.get(field) in (None, "", []):
            return field, f"{field.replace('_', ' ').title()}: cannot be blank"
    for field, collection in _LEADS_TO.items():
        number = given.get(field)
        if field in KEPT[name].required and str(number) not in {
            str(record["id"]) for record in kept_records(desk, collection)
        }:
            return field.removesuffix(
                "_id"
            ), f"{field.removesuffix('_id').title()}: {number} is invalid"
    return None


def identities(desk: Desk, user: Record) -> list[Record]:
    """The addresses of a user, the primary one first."""
    own = [identity(user)] if user.get("email") else []
    found = [r for r in desk.merged("identities", own) if r["user_id"] == user["id"]]
    return sorted(found, key=lambda record: not record["primary"])


class KeptWrites:
    """Carries out writes to these collections, and of files."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def keep(
        self,
        method: str,
        name: str,
        parts: Sequence[str],
        query: Mapping[str, str],
        body: Record,
    ) -> Written:
        """Groups, memberships, fields, macros and their like."""
        kept = KEPT[name]
        if method == "POST" and not parts:
            return Written(
                201, kept.singular, name, self._kept_new(name, object_of(body, kept.singular))
            )
        if method == "POST" and list(parts) == ["create_many"]:
            made = [self._kept_new(name, each) for each in as_list(body.get(name))]
            results = [
                {"index": n, "id": r["id"], "action": "create", "success": True}
                for n, r in enumerate(made)
            ]
            return Written(200, body={"job_status": self._desk.add_job(results)})
        if method == "DELETE" and list(parts) == ["destroy_many"]:
            gone = [number for number in query.get("ids", "").split(",") if number]
            for number in gone:
                self._kept_gone(name, number)
            results = [
                {"index": n, "id": int(key), "action": "delete", "success": True}
                for n, key in enumerate(gone)
            ]
            return Written(200, body={"job_status": self._desk.add_job(results)})
        if len(parts) != 1 or method not in ("PUT", "DELETE"):
            raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
        if method == "DELETE":
            self._kept_gone(name, parts[0])
            return Written(204)
        record = self._kept_one(name, parts[0])
        change = {k: v for k, v in object_of(body, kept.singular).items() if k != "id"}
        self._desk.write(name, int(parts[0]), change)
        return Written(200, kept.singular, name, {**record, **change})

    def _kept_one(self, name: str, number: str) -> Record:
        for record in kept_records(self._desk, name):
            if str(record["id"]) == number:
                return record
        raise not_found()

    def _kept_new(self, name: str, given: Record) -> Record:
        if (wrong := unfit(name, given, self._desk)) is not None:
            is_blank = wrong[1].endswith("blank")
            raise invalid(*wrong, "BlankValue" if is_blank else "InvalidValue")
        number = self._desk.new_id()
        made = {**KEPT[name].begun, **given, "id": number, "created_at": self._desk.stamp()}
        self._desk.write(name, number, made)
        return self._kept_one(name, str(number))

    def _kept_gone(self, name: str, number: str) -> None:
        self._kept_one(name, number)
        self._desk.write(name, int(number), {"_deleted_at": self._desk.stamp()})

    def upload(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        kind: str,
        content: bytes,
        address: str,
    ) -> Written:
        """Files for comments to come."""
        parts = path.split("/")
        if method == "POST" and len(parts) == 1:
            if not query.get("filename"):
                raise Refused(
                    400, {"error": "InvalidRequest", "description": "filename is missing"}
                )
            if len(content) > MAX_UPLOAD:
                raise Refused(413, {"error": "AttachmentTooLarge", "description": "Too large"})
            return Written(201, body=upload(self._desk, query, kind, content, address))
        found = uploaded(self._desk, parts[1:])
        if method != "DELETE" or not found:
            raise not_found()
        for record in found:
            self._desk.write(
                "attachments", int(str(record["id"])), {"_deleted_at": self._desk.stamp()}
            )
        return Written(204)


# Files


def upload(desk: Desk, query: Mapping[str, str], kind: str, content: bytes, address: str) -> Record:
    """A file for a comment to come; with a token, one more file of the same upload."""
    token = query.get("token") or secrets.token_hex(16)
    name, number = query["filename"], desk.new_id()
    made: Record = {
        "id": number,
        "file_name": name,
        "content_url": f"{address}/attachments/token/{token}/{number}?name={name}",
        "content_type": kind or "application/octet-stream",
        "size": len(content),
        "inline": False,
        "deleted": False,
        "thumbnails": [],
    }
    desk.write("attachments", number, made)
    desk.write("_files", number, {"token": token, "body": base64.b64encode(content).decode()})
    return {"upload": {"token": token, "attachment": made, "attachments": uploaded(desk, [token])}}


def uploaded(desk: Desk, tokens: Sequence[object]) -> list[Record]:
    """The files behind the tokens of uploads."""
    wanted = {str(token) for token in tokens}
    files = desk.written("_files")
    records = {str(record["id"]): record for record in desk.merged("attachments", [])}
    return [
        {name: value for name, value in records[key].items() if name != "updated_at"}
        for key, file in files.items()
        if file.get("token") in wanted and key in records
    ]


def file_content(desk: Desk, number: str) -> tuple[bytes, str] | None:
    """The bytes of a file and what they are."""
    file = desk.written("_files").get(number)
    record = next((r for r in desk.merged("attachments", []) if str(r["id"]) == number), None)
    if file is None or record is None:
        return None
    return base64.b64decode(str(file["body"])), str(record["content_type"])
