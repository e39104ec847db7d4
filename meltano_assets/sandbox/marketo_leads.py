"""How leads are made and changed in Marketo, by a lookup field, whoever asks: calls, forms, files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from meltano_assets.sandbox.company_marketing import CHANGE_VALUE, NEW_LEAD
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_wire import MarketoError, rest_name, wire_time

SOURCE = "Web service API"
ACTIONS = ("createOrUpdate", "createOnly", "updateOnly", "createDuplicate")


class Skipped(Exception):
    """A record that is not written, and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class LeadWriter:
    """Makes and changes leads by a lookup field, as sync, push, forms and imports do."""

    def __init__(
        self, desk: Desk, described: Sequence[Record], action: str, lookup: str | None
    ) -> None:
        self._desk = desk
        self._fields = {rest_name(field): field for field in described if "rest" in field}
        if action not in ACTIONS:
            raise MarketoError("1003", f"Invalid value '{action}' for 'action'")
        self._action = action
        self.lookup = lookup or "email"
        if self.lookup not in self._fields:
            raise MarketoError("1006", f"Lookup field '{self.lookup}' not found")

    def save(self, records: Sequence[Record]) -> list[Record]:
        """One result for each record, in order."""
        values = (record.get(self.lookup) for record in records)
        known = self._desk.found(self.lookup, (value for value in values if value is not None))
        return [self._saved(record, known) for record in records]

    def _saved(self, record: Record, known: dict[str, list[int]]) -> Record:
        try:
            fields = self._checked(record)
            number, is_new = self._target(record, known)
        except Skipped as skipped:
            return skipped_result(skipped)
        if is_new:
            self._create(number, fields)
            key = record.get(self.lookup)
            if key is not None:
                known.setdefault(str(key).lower(), []).append(number)
        else:
            self._change(number, fields)
        return {"id": number, "status": "created" if is_new else "updated"}

    def _checked(self, record: Record) -> Record:
        fields: Record = {}
        for name, value in record.items():
            field = self._fields.get(name)
            if field is None:
                raise Skipped("1006", f"Field '{name}' not found")
            rest = field["rest"]
            is_key = name == self.lookup
            if isinstance(rest, dict) and rest.get("readOnly"):
                if is_key:
                    continue
                raise Skipped("1011", f"Field '{name}' is read only")
            fields[name] = _typed(name, str(field["dataType"]), value)
        return fields

    def _target(self, record: Record, known: dict[str, list[int]]) -> tuple[int, bool]:
        if self._action == "createDuplicate":
            return self._desk.new_id(), True
        key = record.get(self.lookup)
        if key is None or key == "":
            raise Skipped("1003", f"Value for lookup field '{self.lookup}' is missing")
        matches = known.get(str(key).lower(), [])
        if len(matches) > 1:
            raise Skipped("1007", "Multiple lead match lookup criteria")
        if matches and self._action == "createOnly":
            raise Skipped("1005", "Lead already exists")
        if not matches and (self._action == "updateOnly" or self.lookup == "id"):
            raise Skipped("1004", "Lead not found")
        return (matches[0], False) if matches else (self._desk.new_id(), True)

    def _create(self, number: int, fields: Record) -> None:
        now = self._desk.stamp()
        name = " ".join(str(fields[n]) for n in ("firstName", "lastName") if fields.get(n))
        begun: Record = {
            "id": number,
            "createdAt": now,
            "personType": "contact",
            "isLead": True,
            "isAnonymous": False,
            "mktoIsPartner": False,
            "mktoIsCustomer": False,
            "emailInvalid": False,
            "unsubscribed": False,
            "leadScore": 0,
            "leadPartitionId": 1,
            "originalSourceType": SOURCE,
            "mktoName": name or None,
        }
        self._desk.write_lead(number, {**begun, **fields})
        attributes: Record = {"Created Date": now[:10], "Source Type": SOURCE}
        primary = (number, name or str(fields.get("email") or ""))
        self._desk.add_activity(number, NEW_LEAD, primary, attributes)

    def _change(self, number: int, fields: Record) -> None:
        before = self._desk.leads[number]
        changed = {name: v for name, v in fields.items() if before.get(name) != v}
        if not changed:
            return
        self._desk.write_lead(number, changed)
        for name, value in changed.items():
            field = self._fields[name]
            attributes: Record = {
                "New Value": value,
                "Old Value": before.get(name),
                "Reason": SOURCE,
                "Source": SOURCE,
            }
            primary = (int(str(field["id"])), str(field["displayName"]))
            self._desk.add_activity(number, CHANGE_VALUE, primary, attributes)


def skipped_result(skipped: Skipped) -> Record:
    """The result of a record that was not written."""
    reasons = [{"code": skipped.code, "message": skipped.message}]
    return {"status": "skipped", "reasons": reasons}


def _typed(name: str, kind: str, value: object) -> object:
    """The value as the field's type has it; Marketo takes texts of all types."""
    if value is None or value in ("", "NULL", "null"):
        return None
    refused = Skipped(
        "1001", f"Invalid value '{value}' for field '{name}'. Required of type '{kind}'"
    )
    try:
        if kind in ("integer", "score", "reference"):
            return int(str(value))
        if kind in ("float", "currency", "percent"):
            return float(str(value))
        if kind == "boolean":
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if kind == "datetime":
            return wire_time(str(value), name)
        if kind == "date":
            return date.fromisoformat(str(value)[:10]).isoformat()
    except (ValueError, KeyError, MarketoError):
        raise refused from None
    if isinstance(value, (list, dict)):
        raise refused
    text = str(value)
    return text[:255] if kind in ("string", "email", "phone", "url") else text
