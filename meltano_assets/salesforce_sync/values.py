"""What a Salesforce field can hold, and one spelling for every value.

Belongs here: a field as the describe call tells it, the canonical text of a value (so that what
the warehouse says and what Salesforce says can be compared), and the reasons for which a value is
refused before it is sent. Does not belong here: which values are sent (``plan``).

Canonical text: text without surrounding blanks and with bare line feeds, numbers in plain
decimals rounded to the field's scale (as Salesforce rounds them), ``true``/``false``, ISO dates,
``2026-01-31T12:00:00.000+0000`` in UTC, 18-character ids. Nothing and the empty text are None,
and so is ``#N/A``: on a Bulk job it would erase the field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    import pyarrow as pa

ERASE = "#N/A"

_TEXT_TYPES = frozenset(
    {"string", "textarea", "phone", "url", "email", "picklist", "combobox", "encryptedstring"}
)
_LENGTH_TYPES = _TEXT_TYPES - {"picklist"} | {"multipicklist"}
_NUMBER_TYPES = frozenset({"int", "double", "currency", "percent", "long"})
_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_TRUE = frozenset({"true", "t", "1", "yes"})
_FALSE = frozenset({"false", "f", "0", "no"})
_MAX_INT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a record is not sent. ``detail`` names fields and limits, never the value."""

    reason: str
    detail: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A field as the org's describe call tells it."""

    name: str
    type: str
    label: str = ""
    length: int = 0
    precision: int = 0
    scale: int = 0
    digits: int = 0
    is_createable: bool = True
    is_updateable: bool = True
    is_nillable: bool = True
    is_defaulted: bool = False
    is_external_id: bool = False
    is_unique: bool = False
    is_case_sensitive: bool = False
    is_restricted: bool = False
    picklist: frozenset[str] = frozenset()
    relationship: str | None = None
    reference_to: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """True for integers, doubles, currencies and percents."""
        return self.type in _NUMBER_TYPES

    @property
    def is_text(self) -> bool:
        """True where the value is free or listed text, compared as it is."""
        return self.type in _TEXT_TYPES


@dataclass(frozen=True, slots=True)
class ObjectDescription:
    """An object as the org's describe call tells it; fields by name as the org spells it."""

    name: str
    fields: Mapping[str, Field]
    is_createable: bool = True
    is_updateable: bool = True
    is_deletable: bool = True
    children: tuple[tuple[str, str], ...] = ()

    def field(self, name: str) -> Field:
        """The field, whatever the case of its name; FatalError when the org has none."""
        found = self.find(name)
        if found is None:
            raise FatalError(
                f"{self.name} has no field {name} that the integration user can see",
                source="salesforce",
                hint="`meltano-assets sync check` lists what the org needs",
            )
        return found

    def find(self, name: str) -> Field | None:
        """The field, whatever the case of its name, or None."""
        if name in self.fields:
            return self.fields[name]
        folded = name.lower()
        return next((each for each in self.fields.values() if each.name.lower() == folded), None)

    def lookup(self, relationship: str) -> Field | None:
        """The reference field whose parent is reached by ``relationship``."""
        folded = relationship.lower()
        for each in self.fields.values():
            if each.relationship and each.relationship.lower() == folded:
                return each
        return None


def parse_describe(answer: Mapping[str, Any]) -> ObjectDescription:
    """The describe call's JSON, reduced to what the sync needs."""
    fields = {}
    for entry in answer.get("fields", ()):
        values = entry.get("picklistValues") or ()
        fields[entry["name"]] = Field(
            name=entry["name"],
            type=str(entry.get("type", "string")).lower(),
            label=entry.get("label") or "",
            length=int(entry.get("length") or 0),
            precision=int(entry.get("precision") or 0),
            scale=int(entry.get("scale") or 0),
            digits=int(entry.get("digits") or 0),
            is_createable=bool(entry.get("createable", True)),
            is_updateable=bool(entry.get("updateable", True)),
            is_nillable=bool(entry.get("nillable", True)),
            is_defaulted=bool(entry.get("defaultedOnCreate", False)),
            is_external_id=bool(entry.get("externalId", False)),
            is_unique=bool(entry.get("unique", False)),
            is_case_sensitive=bool(entry.get("caseSensitive", False)),
            is_restricted=bool(entry.get("restrictedPicklist", False)),
            picklist=frozenset(str(v["value"]) for v in values if v.get("active", True)),
            relationship=entry.get("relationshipName") or None,
            reference_to=tuple(entry.get("referenceTo") or ()),
        )
    children = tuple(
        (str(child["childSObject"]), str(child["field"]))
        for child in answer.get("childRelationships") or ()
        if child.get("cascadeDelete")
    )
    return ObjectDescription(
        name=str(answer["name"]),
        fields=fields,
        is_createable=bool(answer.get("createable", True)),
        is_updateable=bool(answer.get("updateable", True)),
        is_deletable=bool(answer.get("deletable", True)),
        children=children,
    )


def canonical(value: object, field: Field, *, is_stored: bool = False) -> str | None:
    """The value's one spelling for this field; ValueError when it is of the wrong kind.

    ``is_stored`` says that Salesforce holds the value: there ``#N/A`` is a text like any other.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = value.strip()
        if not value or (value == ERASE and not is_stored):
            return None
    try:
        return _CANONICAL.get(field.type, _text)(value, field)
    except OverflowError:
        raise ValueError("takes a time of this age") from None


def comparable(text: str, field: Field) -> str:
    """Equal for two canonical texts between which Salesforce makes no difference."""
    if field.type == "url":
        return text.removeprefix("http://").removesuffix("/")
    return text


def canonical_column(
    column: pa.ChunkedArray | pa.Array, field: Field, *, is_stored: bool = False
) -> tuple[pa.Array, dict[int, Reject]]:
    """The column in canonical text, and a reject for each row whose value is of the wrong kind.

    Free text stays in Arrow; of other types each distinct value is spelled once.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if field.is_text and (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return _canonical_text_column(array, is_stored), {}
    try:
        encoded = pc.dictionary_encode(array)
        distinct, indices = encoded.dictionary.to_pylist(), encoded.indices.to_pylist()
    except pa.ArrowNotImplementedError:
        # Lists and structs have no dictionary: each row is spelled by itself, with the same result.
        distinct, indices = array.to_pylist(), list(range(len(array)))
    spelled: list[str | None] = []
    wrong: dict[int, Reject] = {}
    for position, value in enumerate(distinct):
        try:
            spelled.append(canonical(value, field, is_stored=is_stored))
        except ValueError as error:
            spelled.append(None)
            wrong[position] = Reject("wrong_type", f"{field.name}: {error}", field.name)
    texts = [None if index is None else spelled[index] for index in indices]
    rejects: dict[int, Reject] = {}
    if wrong:
        rejects = {row: wrong[index] for row, index in enumerate(indices) if index in wrong}
    return pa.array(texts, pa.large_string()), rejects


def _canonical_text_column(array: pa.Array, is_stored: bool) -> pa.Array:
    """Free text in canonical spelling; what is so already is not copied (it may be gigabytes)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = array.cast(pa.large_string())
    for unwanted, instead in (("\r\n", "\n"), ("\x00", "")):
        if pc.any(pc.match_substring(text, unwanted)).as_py():
            text = pc.replace_substring(text, unwanted, instead)
    trimmed = pc.utf8_trim_whitespace(text)
    if not pc.all(pc.equal(pc.binary_length(trimmed), pc.binary_length(text))).as_py():
        text = trimmed
    says_nothing = pc.equal(text, "")
    if not is_stored:
        says_nothing = pc.or_(says_nothing, pc.equal(text, ERASE))
    if pc.any(says_nothing).as_py():
        nothing = pa.scalar(None, pa.large_string())
        text = pc.if_else(pc.fill_null(says_nothing, True), nothing, text)
    return text


def refuse(text: str, field: Field) -> Reject | None:
    """Why Salesforce would refuse this canonical text in this field, or None."""
    if field.length and field.type in _LENGTH_TYPES:
        # Salesforce counts UTF-16 units: an emoji is two.
        length = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
        if length > field.length:
            return Reject(
                "too_long",
                f"{field.name} holds {field.length} characters, not {length}",
                field.name,
            )
    if field.is_restricted and field.picklist:
        values = text.split(";") if field.type == "multipicklist" else [text]
        if not field.picklist.issuperset(values):
            return Reject("picklist", f"{field.name} has no such value in its picklist", field.name)
    if field.is_number:
        return _refuse_number(Decimal(text), field)
    if field.type in {"date", "datetime"} and not "1700" <= text[:4] <= "4000":
        return Reject("out_of_range", f"{field.name} takes the years 1700 to 4000", field.name)
    if field.type in {"reference", "id"} and not (len(text) == 18 and text.isalnum()):
        return Reject("not_an_id", f"{field.name} takes a Salesforce id", field.name)
    return None


def _refuse_number(number: Decimal, field: Field) -> Reject | None:
    if field.type == "int":
        digits = field.digits or 10
        if abs(number) > min(_MAX_INT, 10**digits - 1):
            return Reject("out_of_range", f"{field.name} takes {digits} digits", field.name)
    elif field.precision:
        whole = field.precision - field.scale
        if abs(number) >= Decimal(10) ** whole:
            return Reject(
                "out_of_range", f"{field.name} takes {whole} digits before the point", field.name
            )
    return None


def to_wire(text: str | None, field: Field | None) -> object:
    """The canonical text as the JSON value that the REST interface takes."""
    if text is None or field is None:
        return text
    if field.type == "boolean":
        return text == "true"
    if field.is_number:
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() else float(number)
    return text


def storable(text: str) -> str:
    """The text without what Postgres and UTF-8 cannot hold (NUL, lone surrogates)."""
    text = text.replace("\x00", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def long_id(text: str) -> str:
    """An 18-character Salesforce id from one of 15 or 18; anything else is returned as it came."""
    if len(text) != 15 or not (text.isascii() and text.isalnum()):
        return text
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << i for i, letter in enumerate(text[start : start + 5]) if letter.isupper())
        suffix += _ID_ALPHABET[bits]
    return text + suffix


def _text(value: object, field: Field) -> str | None:
    if isinstance(value, str):
        return storable(value.replace("\r\n", "\n"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if isinstance(value, datetime):
        return _datetime(value, field)
    if isinstance(value, Decimal | float):
        return _plain(Decimal(str(value)))
    return str(value)


def _number(value: object, field: Field) -> str:
    if isinstance(value, bool):
        raise ValueError("takes a number, found a boolean")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("takes a number, found text") from None
    if not number.is_finite():
        raise ValueError("takes a number, found one that is not finite")
    if field.type in {"int", "long"}:
        if number != number.to_integral_value():
            raise ValueError("takes a whole number, found a fraction")
        return _plain(number)
    if field.scale >= 0 and -number.as_tuple().exponent > field.scale:  # type: ignore[operator]
        step = Decimal(1).scaleb(-field.scale)
        try:
            number = number.quantize(step, ROUND_HALF_UP)
        except InvalidOperation:
            raise ValueError("takes a number, found one with too many digits") from None
    return _plain(number)


def _plain(number: Decimal) -> str:
    if not math.isfinite(number):
        raise ValueError("found a number that is not finite")
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def _boolean(value: object, field: Field) -> str:
    folded = str(value).lower()
    if folded in _TRUE:
        return "true"
    if folded in _FALSE:
        return "false"
    raise ValueError("takes true or false")


def _date(value: object, field: Field) -> str:
    if isinstance(value, datetime):
        return _in_utc(value).date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return _parse(value, "a date").date().isoformat()


def _datetime(value: object, field: Field) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    moment = _in_utc(value if isinstance(value, datetime) else _parse(value, "a time"))
    # isoformat, unlike strftime, pads years below 1000; Salesforce keeps whole seconds.
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + ".000+0000"


def _parse(value: object, wanted: str) -> datetime:
    try:
        return _in_utc(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        raise ValueError(f"takes {wanted}") from None


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _multipicklist(value: object, field: Field) -> str | None:
    parts = value if isinstance(value, list) else str(value).split(";")
    return ";".join(sorted({str(part).strip() for part in parts} - {""})) or None


def _id(value: object, field: Field) -> str:
    return long_id(str(value))


_CANONICAL: Mapping[str, Callable[[Any, Field], str | None]] = {
    **dict.fromkeys(_NUMBER_TYPES, _number),
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "multipicklist": _multipicklist,
    "reference": _id,
    "id": _id,
}
