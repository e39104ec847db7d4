"""Zendesk's webhooks: kept as they were given, and never called."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zendesk_answers import Refused, Written, as_dict, not_found
from meltano_assets.sandbox.zendesk_desk import Desk
from meltano_assets.sandbox.zendesk_details import Part

_NAME = "webhooks"
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_FORMATS = ("form_encoded", "json", "xml")
_STATUSES = ("active", "inactive")
_FIELDS = (
    "authentication", "custom_headers", "description", "endpoint", "http_method", "name",
    "request_format", "status", "subscriptions",
)  # fmt: skip
_REQUIRED = ("name", "endpoint", "http_method", "request_format", "status")
_CHOICES = {"http_method": _METHODS, "request_format": _FORMATS, "status": _STATUSES}


def found(desk: Desk, parts: Sequence[str]) -> Part | None:
    """What is at a path below ``webhooks``."""
    if not parts:
        return _NAME, [_shown(record) for record in desk.merged(_NAME, [])]
    record = _one(desk, parts[0])
    if record is None or len(parts) > 2:
        return None
    if len(parts) == 1:
        return {"webhook": _shown(record)}
    if parts[1] == "signing_secret":
        return {"signing_secret": {"algorithm": "SHA256", "secret": record["_secret"]}}
    return ("invocations", []) if parts[1] == "invocations" else None


def write(
    desk: Desk, method: str, parts: Sequence[str], query: Mapping[str, str], body: Record
) -> Written:
    """The answer to a write at a path below ``webhooks``."""
    if method == "POST" and list(parts) == ["test"]:
        told: Record = {"status": 200, "headers": [], "payload": ""}
        return Written(200, body={"response": told})
    if method == "POST" and not parts:
        given = as_dict(body.get("webhook"))
        if key := query.get("clone_webhook_id"):
            known = _one(desk, key)
            if known is None:
                raise not_found()
            given = {**known, "name": f"{known['name']} (clone)", **given}
        return Written(201, body={"webhook": _new(desk, given)})
    record = _one(desk, parts[0]) if parts else None
    if record is None:
        raise not_found()
    number = int(str(record["_number"]))
    if method == "POST" and list(parts[1:]) == ["signing_secret"]:
        desk.write(_NAME, number, {"_secret": secrets.token_urlsafe(32)})
        renewed = _one(desk, parts[0]) or {}
        secret: Record = {"algorithm": "SHA256", "secret": renewed.get("_secret")}
        return Written(201, body={"signing_secret": secret})
    if len(parts) != 1 or method not in ("DELETE", "PATCH", "PUT"):
        raise Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
    if method == "DELETE":
        desk.write(_NAME, number, {"_deleted_at": desk.stamp()})
        return Written(204)
    given = as_dict(body.get("webhook"))
    _check(given, is_whole=method == "PUT")
    desk.write(_NAME, number, {name: given[name] for name in _FIELDS if name in given})
    return Written(204)


def _new(desk: Desk, given: Record) -> Record:
    _check(given, is_whole=True)
    number, stamp = desk.new_id(), desk.stamp()
    me = str(desk.records("users")[0]["id"])
    kept: Record = {
        "id": f"01H{number:023d}",
        "created_at": stamp,
        "created_by": me,
        "subscriptions": [],
        **{name: given[name] for name in _FIELDS if name in given},
        "updated_by": me,
        "_number": number,
        "_secret": secrets.token_urlsafe(32),
    }
    desk.write(_NAME, number, kept)
    return _shown({**kept, "updated_at": stamp})


def _check(given: Record, *, is_whole: bool) -> None:
    missing = [name for name in _REQUIRED if given.get(name) in (None, "")]
    if is_whole and missing:
        raise _refused("MissingFields", f"Missing required fields: {', '.join(missing)}")
    for name, choices in _CHOICES.items():
        if name in given and given[name] not in choices:
            raise _refused("InvalidParameter", f"{name} must be one of {', '.join(choices)}")
    if "endpoint" in given:
        try:
            address = urlsplit(str(given["endpoint"]))
            is_address = address.scheme in ("http", "https") and bool(address.hostname)
        except ValueError:
            is_address = False
        if not is_address:
            raise _refused("InvalidParameter", "endpoint must be a valid URL")
    if not isinstance(given.get("name", ""), str):
        raise _refused("InvalidParameter", "name must be a text")
    named = given.get("subscriptions", [])
    if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
        raise _refused("InvalidParameter", "subscriptions must be a list of texts")


def _refused(code: str, title: str) -> Refused:
    return Refused(400, {"errors": [{"code": code, "id": secrets.token_hex(8), "title": title}]})


def _one(desk: Desk, key: str) -> Record | None:
    return next((r for r in desk.merged(_NAME, []) if r["id"] == key), None)


def _shown(record: Record) -> Record:
    """A webhook without its credentials."""
    told = {name: value for name, value in record.items() if not name.startswith("_")}
    if isinstance(held := told.get("authentication"), dict):
        told["authentication"] = {n: v for n, v in held.items() if n != "data"}
    return told
