"""Values of fields: what a client may send, how they are stored, how they are answered.

Stored form: text as text, booleans and integers as SQLite integers, other numbers as doubles,
dates as ``2024-01-02``, times as ``2024-01-02T03:04:05.000+0000`` (always UTC), which is also the
form of a REST answer, so that it sorts and compares as it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from meltano_assets.sandbox.salesforce_schema import (
    ID_KINDS,
    NUMBER_KINDS,
    TEXT_KINDS,
    Field,
    parse_id,
)

SqlValue = str | int | float | None


@dataclass(frozen=True, slots=True)
class ApiProblem:
    """One error of one record, as every API of the vendor reports it."""

    code: str
    message: str
    fields: tuple[str, ...] = ()

    def for_collection(self) -> dict[str, object]:
        """The form inside a collection's result."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}

    def for_request(self) -> dict[str, object]:
        """The form of a whole request's failure."""
        answer: dict[str, object] = {"message": self.message, "errorCode": self.code}
        if self.fields or self.code in _CODES_WITH_FIELDS:
            answer["fields"] = list(self.fields)
        return answer

    def for_bulk(self) -> str:
        """The cell ``sf__Error`` of a bulk job's failed results."""
        return f"{self.code}:{self.message}:{' '.join(self.fields)} --"


_CODES_WITH_FIELDS = frozenset(
    {
        "DUPLICATE_VALUE",
        "DUPLICATES_DETECTED",
        "REQUIRED_FIELD_MISSING",
        "INVALID_CROSS_REFERENCE_KEY",
        "UNABLE_TO_LOCK_ROW",
        "ENTITY_IS_DELETED",
    }
)


class RecordProblem(Exception):
    """A value that makes its record fail, and no other."""

    def __init__(self, problem: ApiProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class RequestProblem(Exception):
    """What makes a whole request fail."""

    def __init__(self, status: int, *problems: ApiProblem) -> None:
        super().__init__(problems[0].message)
        self.status = status
        self.problems = problems
        self.headers: dict[str, str] = {}


class NotThisType(Exception):
    """A value whose JSON type does not fit: it makes the whole request fail."""

    def __init__(self, type_name: str, token: str, text: str) -> None:
        super().__init__(
            f"Cannot deserialize instance of {type_name} from {token} value {text} "
            "or request may be missing a required field"
        )


# --- times ---------------------------------------------------------------------------------

_DATETIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?"
    r"(Z|[+-]\d{2}:?\d{2})?$"
)
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})$")


def format_datetime(moment: datetime) -> str:
    """The stored and answered form; Salesforce keeps whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def parse_datetime(text: str) -> datetime | None:
    """An ISO 8601 time with or without fraction and zone (none is UTC)."""
    if not _DATETIME.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def parse_date(text: str) -> str | None:
    """``2024-01-02`` when it is a day of the calendar."""
    if not _DATE.match(text):
        return None
    try:
        date.fromisoformat(text)
    except ValueError:
        return None
    return text


def java_double(value: float) -> str:
    """A double as Java prints it, which is how bulk results carry numbers."""
    if value == 0:
        return "0.0"
    size = abs(value)
    if 1e-3 <= size < 1e7:
        text = format(Decimal(repr(value)), "f")
        return text if "." in text else text + ".0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    whole = "".join(map(str, digits))
    power = len(whole) - 1 + int(exponent)
    return f"{'-' if sign else ''}{whole[0]}.{whole[1:] or '0'}E{power}"


# --- what a client sends -------------------------------------------------------------------

_EMAIL = re.compile(r"[^@\s<>(),;:\\\"\[\]]+@[^@\s.<>(),;:\\\"\[\]]+(\.[^@\s.<>(),;:\\\"\[\]]+)+$")
_JSON_TYPES = {
    "boolean": "boolean",
    "int": "int",
    "double": "double",
    "currency": "double",
    "percent": "double",
    "date": "date",
    "datetime": "datetime",
}
_MAX_INT = 2**31


def _token(value: object) -> tuple[str, str]:
    if isinstance(value, bool):
        return f"VALUE_{str(value).upper()}", str(value).lower()
    if isinstance(value, int):
        return "VALUE_NUMBER_INT", str(value)
    if isinstance(value, float):
        return "VALUE_NUMBER_FLOAT", repr(value)
    if isinstance(value, str):
        return "VALUE_STRING", value
    return ("START_ARRAY", "[") if isinstance(value, list) else ("START_OBJECT", "{")


def _check_text(field: Field, text: str) -> SqlValue:
    text = text.strip()
    if not text:
        return None
    if len(text) > field.length:
        raise RecordProblem(
            ApiProblem(
                "STRING_TOO_LONG",
                f"{field.label}: data value too large: {text} (max length={field.length})",
                (field.name,),
            )
        )
    if field.kind == "picklist" and field.restricted and text not in field.values:
        raise RecordProblem(
            ApiProblem(
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                f"{field.label}: bad value for restricted picklist field: {text}",
                (field.name,),
            )
        )
    if field.kind == "email" and not _EMAIL.match(text):
        raise RecordProblem(
            ApiProblem(
                "INVALID_EMAIL_ADDRESS",
                f"{field.label}: invalid email address: {text}",
                (field.name,),
            )
        )
    return text


def _check_id(field: Field, text: str) -> SqlValue:
    text = text.strip()
    if not text:
        return None
    found = parse_id(text)
    if found is None:
        raise RecordProblem(
            ApiProblem(
                "MALFORMED_ID",
                f"{field.label}: id value of incorrect type: {text}",
                (field.name,),
            )
        )
    return found


def _check_number(field: Field, number: Decimal) -> SqlValue:
    if field.kind == "int":
        if abs(number) >= _MAX_INT:
            raise _out_of_range(field, number)
        return int(number)
    if not number.is_finite() or abs(number) >= Decimal(10) ** (field.precision - field.scale):
        raise _out_of_range(field, number)
    return float(number.quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP))


def _out_of_range(field: Field, number: Decimal) -> RecordProblem:
    return RecordProblem(
        ApiProblem(
            "NUMBER_OUTSIDE_VALID_RANGE",
            f"{field.label}: value outside of valid range on numeric field: {number}",
            (field.name,),
        )
    )


def _parse_number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def from_json(field: Field, value: object) -> SqlValue:
    """The stored form of a JSON value.

    Raises ``NotThisType`` where Salesforce's parser refuses the request, ``RecordProblem`` where
    it refuses the record.
    """
    kind = field.kind
    if value is None:
        if kind == "boolean":
            raise RecordProblem(
                ApiProblem(
                    "INVALID_TYPE_ON_FIELD_IN_RECORD",
                    f"{field.label}: value not of required type: null",
                    (field.name,),
                )
            )
        return None
    if kind in TEXT_KINDS or kind in ID_KINDS:
        if not isinstance(value, str):
            raise NotThisType("string", *_token(value))
        return _check_text(field, value) if kind in TEXT_KINDS else _check_id(field, value)
    type_name = _JSON_TYPES[kind]
    if kind == "boolean":
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return int(value.lower() == "true")
        raise NotThisType(type_name, *_token(value))
    if isinstance(value, (bool, list, dict)):
        raise NotThisType(type_name, *_token(value))
    if kind in ("date", "datetime"):
        stored = _stored_time(kind, value) if isinstance(value, str) else None
        if stored is None and value != "":
            raise NotThisType(type_name, *_token(value))
        return stored
    if value == "":
        return None
    number = _parse_number(value) if isinstance(value, str) else Decimal(repr(value))
    if number is None or (kind == "int" and number != number.to_integral_value()):
        raise NotThisType(type_name, *_token(value))
    return _check_number(field, number)


def _stored_time(kind: str, text: str) -> str | None:
    text = text.strip()
    if kind == "date":
        # A time is accepted for a date field; its UTC day is kept.
        moment = parse_datetime(text)
        return moment.date().isoformat() if moment else parse_date(text)
    day = parse_date(text)
    if day:
        return f"{day}T00:00:00.000+0000"
    moment = parse_datetime(text)
    return format_datetime(moment) if moment else None


_CSV_BOOLEANS = {"true": 1, "1": 1, "yes": 1, "false": 0, "0": 0, "no": 0}


def csv_reader(field: Field, column: int) -> Callable[[str], SqlValue]:
    """A function from a cell of a bulk upload to the stored form.

    The cell is neither empty (leave alone) nor ``#N/A`` (null).
    """
    kind = field.kind

    def fail(text: str, xsd_type: str) -> RecordProblem:
        return RecordProblem(
            ApiProblem(
                "INVALID_FIELD",
                f"Failed to deserialize field at col {column}. Due to, '{text}' is not a valid "
                f"value for the type xsd:{xsd_type}",
                (field.name,),
            )
        )

    if kind in TEXT_KINDS:
        if kind in ("email", "picklist"):
            return lambda text: _check_text(field, text)

        def read_text(text: str, limit: int = field.length) -> SqlValue:
            stripped = text.strip()
            return stripped or None if len(stripped) <= limit else _check_text(field, text)

        return read_text
    if kind in ID_KINDS:
        return lambda text: _check_id(field, text)
    if kind == "boolean":

        def read_boolean(text: str) -> SqlValue:
            value = _CSV_BOOLEANS.get(text.strip().lower())
            if value is None:
                raise fail(text, "boolean")
            return value

        return read_boolean
    if kind in ("date", "datetime"):

        def read_time(text: str) -> SqlValue:
            stored = _stored_time(kind, text)
            if stored is None:
                raise fail(text, "date" if kind == "date" else "dateTime")
            return stored

        return read_time

    def read_number(text: str) -> SqlValue:
        number = _parse_number(text)
        if number is None or (kind == "int" and number != number.to_integral_value()):
            raise fail(text, "int" if kind == "int" else "double")
        return _check_number(field, number)

    return read_number


# --- what the company hands over -----------------------------------------------------------


def from_company(field: Field, value: object) -> SqlValue:
    """The stored form of a value of the simulated company, which may be any Python type."""
    if value is None or value == "":
        return None
    kind = field.kind
    if kind == "boolean":
        return int(bool(value))
    if kind == "int":
        return int(str(value))
    if kind in NUMBER_KINDS:
        number = float(str(value))
        if not math.isfinite(number):
            raise ValueError(f"{field.name} cannot hold {value!r}")
        return number
    if kind == "datetime":
        return _company_datetime(field, value)
    if kind == "date":
        if isinstance(value, datetime):
            return value.date().isoformat()
        text = value.isoformat() if isinstance(value, date) else str(value)
        day = parse_date(text)
        if day is None:
            raise ValueError(f"{field.name} cannot hold {value!r}")
        return day
    if kind in ID_KINDS:
        found = parse_id(value)
        if found is None:
            raise ValueError(f"{field.name} is no Salesforce id: {value!r}")
        return found
    return str(value)


def _company_datetime(field: Field, value: object) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    if isinstance(value, datetime):
        return format_datetime(value if value.tzinfo else value.replace(tzinfo=UTC))
    text = str(value)
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError(f"{field.name} cannot hold {value!r}")
    return text if text.endswith(".000+0000") else format_datetime(moment)
