"""What Lever keeps of clients' writes, how it reads their bodies, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP

import orjson

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.state import StateFolder

_FILE = "lever"


class LeverError(Exception):
    """An error in Lever's form."""

    def __init__(self, status: int, code: str, message: str, allowed: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.allowed = allowed


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

    def children_over(self, opportunity: str, name: str, known: list[Record]) -> list[Record]:
        """What hangs on an opportunity, with what clients wrote over and beside it."""
        merged = {str(child["id"]): child for child in known}
        for child in self._children.get(name, {}).get(opportunity, []):
            merged[str(child["id"])] = child
        return [child for child in merged.values() if not child.get("_gone")]

    def write(self, name: str, key: str, change: Mapping[str, object]) -> None:
        """Make a record or change some of its fields."""
        self._changes.setdefault(name, {}).setdefault(key, {}).update(change)

    def write_child(self, opportunity: str, name: str, child: Record) -> None:
        """Make or replace something that hangs on an opportunity; ``_gone`` deletes it."""
        listed = self._children.setdefault(name, {}).setdefault(opportunity, [])
        others = [one for one in listed if one["id"] != child["id"]]
        is_last = len(others) == len(listed)
        place = len(listed) if is_last else [one["id"] for one in listed].index(child["id"])
        listed[:] = [*others[:place], child, *others[place:]]

    def keep(self) -> None:
        """Remember what was written."""
        self.writes += 1
        if self._folder is not None:
            content = {"changes": self._changes, "children": self._children}
            self._folder.write(_FILE, content)


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


def _nested(value: object) -> dict[str, dict[str, Record]]:
    return value if isinstance(value, dict) else {}
