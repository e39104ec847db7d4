"""How Zendesk answers writes, with its errors, and how bodies of requests are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from meltano_assets.sandbox.company_sales import Record


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


def missing(name: str) -> Refused:
    """400: what the attribute must be."""
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


def not_found() -> Refused:
    """404: no such record."""
    return Refused(404, {"error": "RecordNotFound", "description": "Not found"})


def read_body(content: bytes) -> Record:
    """The object of a JSON body."""
    if not content:
        return {}
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused(
            400, {"error": "InvalidRequest", "description": f"The body is not JSON: {error}"}
        ) from error
    if not isinstance(value, dict):
        raise missing("root")
    return value


def object_of(body: Record, name: str) -> Record:
    """The record that a body gives under its name."""
    value = body.get(name)
    if not isinstance(value, dict):
        raise missing(name)
    return value


def as_dict(value: object) -> Record:
    """A value that is an object, if it is one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Record]:
    """The objects of a list."""
    given = value if isinstance(value, list) else []
    return [each for each in given if isinstance(each, dict)]


def as_texts(value: object) -> list[object]:
    """The values of a list, or the only value."""
    return value if isinstance(value, list) else [] if value is None else [value]


def as_tags(value: object) -> list[str]:
    """Tags as the service keeps them: in lower case, each once, without blanks."""
    given = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return sorted({str(tag).strip().lower().replace(" ", "_") for tag in given if str(tag).strip()})
