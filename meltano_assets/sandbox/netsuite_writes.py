"""What clients write into the books by SOAP: records that they add, change and delete.

A record is read by the contract that is served, as it is written by it. What a client wrote lies over the
company's records and outlives the process in one file of the state folder.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import cast

from meltano_assets.sandbox.company_books import Custom, Ref
from meltano_assets.sandbox.company_netsuite_records import TRANSACTIONS, Deleted
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.netsuite_contract import Contract, Element
from meltano_assets.sandbox.netsuite_search import State
from meltano_assets.sandbox.netsuite_wire import (
    XSI,
    Node,
    StatusError,
    child,
    local,
    parse_moment,
    text_of,
    type_of,
)
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.state import StateFolder

_FILE = "netsuite"
#: Internal ids of what clients make begin here, far from the company's.
_FIRST_ID = 9_000_001
_NAMES = ("entityId", "tranId", "acctName", "periodName", "itemId", "name")
#: Field → the records that it may lead to; what is not known here may lead anywhere.
_LEADS_TO = {
    "entity": ("Customer", "Vendor", "Employee"),
    "customer": ("Customer",),
    "subsidiary": ("Subsidiary",),
    "currency": ("Currency",),
    "account": ("Account",),
    "department": ("Department",),
    "terms": ("Term",),
    "postingPeriod": ("AccountingPeriod",),
    "item": ("NonInventorySaleItem", "ServiceSaleItem", "DiscountItem"),
}
#: Record type → what a new one must say, with the words of the form.
_REQUIRED = {
    "Invoice": {"entity": "Customer", "itemList": "Items"},
    "CreditMemo": {"entity": "Customer", "itemList": "Items"},
    "VendorBill": {"entity": "Vendor"},
    "ExpenseReport": {"entity": "Employee", "expenseList": "Expenses"},
    "CustomerPayment": {"customer": "Customer"},
    "JournalEntry": {"lineList": "Line", "subsidiary": "Subsidiary"},
    "Account": {"acctName": "Name"},
    "Department": {"name": "Name"},
}
_PREFIXES = {
    "Invoice": "INV", "CreditMemo": "CM", "VendorBill": "BILL", "CustomerPayment": "PYMT",
    "JournalEntry": "JE", "ExpenseReport": "EXP", "VendorPayment": "VPY",
}  # fmt: skip
_REFS = ("RecordRef", "CustomRecordRef", "ListOrRecordRef", "BaseRef")


class WrittenBooks:
    """What clients wrote, over and beside the company's books."""

    def __init__(self, folder: StateFolder | None) -> None:
        self._folder = folder
        known = folder.read(_FILE) if folder else {}
        changes = _loaded(known.get("changes") or {})
        self.changes = cast("dict[str, dict[str, Record | None]]", changes)
        gone = known.get("deleted")
        self.deleted = [
            Deleted(kind, key, name, datetime.fromisoformat(at))
            for kind, key, name, at in (gone if isinstance(gone, list) else [])
        ]
        self._next = int(str(known.get("next_id", _FIRST_ID)))
        self.writes = 0
        """How often anything was written."""
        self.lock = threading.Lock()

    def laid_over(self, state: State) -> dict[str, dict[str, Record]]:
        """The company's records with what clients wrote."""
        merged = {kind: dict(records) for kind, records in state.items()}
        for kind, changes in self.changes.items():
            records = merged.setdefault(kind, {})
            for key, change in changes.items():
                if change is None:
                    records.pop(key, None)
                elif key in records or "internalId" in change:
                    records[key] = {**records.get(key, {}), **change}
        return merged

    def new_id(self) -> str:
        """An internal id that nothing has."""
        number = self._next
        self._next += 1
        return str(number)

    def write(self, kind: str, key: str, change: Record) -> None:
        """Make a record or change some of its fields."""
        before = self.changes.setdefault(kind, {}).get(key) or {}
        self.changes[kind][key] = {**before, **change}
        self._keep()

    def delete(self, gone: Deleted) -> None:
        """A record goes, and is remembered as gone."""
        self.changes.setdefault(gone.kind, {})[gone.internal_id] = None
        self.deleted.append(gone)
        self._keep()

    def _keep(self) -> None:
        self.writes += 1
        if self._folder is not None:
            deleted = [
                [item.kind, item.internal_id, item.name, item.at.isoformat()]
                for item in self.deleted
            ]
            content = {"changes": _stored(self.changes), "deleted": deleted, "next_id": self._next}
            self._folder.write(_FILE, content)


class RecordWriter:
    """Carries out one request's writes, record by record."""

    def __init__(
        self, contract: Contract, state: State, books: WrittenBooks, now: datetime
    ) -> None:
        self._contract = contract
        self._state = {kind: dict(records) for kind, records in state.items()}
        self._books = books
        self._now = now

    def save(self, operation: str, node: Node) -> tuple[str, Record]:
        """Adds, updates or upserts a record; its type and what it is now."""
        kind = type_of(node)
        declared = self._contract.types.get(kind)
        if declared is None or declared.base != "Record":
            raise StatusError("INVALID_RCRD_TYPE", f"{kind or 'nothing'} cannot be written.")
        known = self._known(operation, kind, node)
        change = self._fields(kind, node)
        for name in self._nulls(node):
            change[name] = None
        self._check_refs(change)
        if known is None:
            return kind, self._add(kind, node.get("externalId"), change)
        return kind, self._update(kind, known, node, change)

    def delete(self, ref: Node) -> tuple[str, Record]:
        """Deletes a record; its type and what it was."""
        kind, record = self.find(ref.get("type") or "", ref)
        key = str(record["internalId"])
        for other, records in self._state.items():
            if other in TRANSACTIONS and kind not in TRANSACTIONS:
                for item in records.values():
                    if any(isinstance(v, Ref) and v.id == key for v in _leading(kind, item)):
                        raise StatusError(
                            "CANT_DELETE_ENTITY",
                            "This record cannot be deleted because it has dependent records.",
                        )
        self._books.delete(Deleted(kind, key, _name(record), self._now))
        del self._state[kind][key]
        return kind, record

    def find(self, kind: str, node: Node) -> tuple[str, Record]:
        """The record that ``internalId`` or ``externalId`` names."""
        wanted = kind.lower()
        for name, records in self._state.items():
            if name.lower() != wanted:
                continue
            if (key := node.get("internalId")) is not None:
                if key in records:
                    return name, records[key]
            elif (external := node.get("externalId")) is not None:
                for record in records.values():
                    if record.get("externalId") == external:
                        return name, record
        raise StatusError(
            "RCRD_DSNT_EXIST",
            f"That record does not exist. path: {node.get('internalId') or node.get('externalId')}",
        )

    def _known(self, operation: str, kind: str, node: Node) -> Record | None:
        external = node.get("externalId")
        if operation == "update":
            return self.find(kind, node)[1]
        if operation == "upsert" and external is None:
            raise StatusError(
                "MISSING_REQD_ARGUMENT", "upsert: Missing a required argument: externalId"
            )
        records = self._state.get(kind, {}).values()
        same = next((r for r in records if external and r.get("externalId") == external), None)
        if operation == "add" and same is not None:
            raise StatusError("DUP_RCRD", "This record already exists")
        return same

    # Reading what was sent

    def _nulls(self, node: Node) -> list[str]:
        listed = child(node, "nullFieldList")
        return [item.text for item in listed.iterchildren("*")] if listed is not None else []

    def _fields(self, type_name: str, node: Node) -> Record:
        declared = {e.name: e for e in self._contract.types[type_name].elements}
        return {
            local(item): self._value(declared[local(item)], item)
            for item in node.iterchildren("*")
            if local(item) in declared and local(item) != "nullFieldList"
        }

    def _value(self, element: Element, node: Node) -> object:
        if node.get(f"{{{XSI}}}nil") in ("true", "1"):
            return None
        kind = type_of(node) if type_of(node) in _REFS else element.type
        if kind in _REFS:
            return self._ref(element.name, node)
        if kind == "CustomFieldList":
            return [self._custom(item) for item in node.iterchildren("*")]
        declared = self._contract.types.get(kind)
        if declared is not None:
            inner = next((item for item in declared.elements if item.is_repeated), None)
            if inner is None:
                return self._fields(kind, node)
            if inner.type in _REFS:
                return [self._ref(element.name, item) for item in node.iterchildren("*")]
            return [self._fields(inner.type, item) for item in node.iterchildren("*")]
        return _scalar(kind, element.name, (node.text or "").strip())

    def _custom(self, node: Node) -> Custom:
        kind = type_of(node).removesuffix("CustomFieldRef")
        name = node.get("scriptId") or node.get("internalId") or ""
        values = [item for item in node.iterchildren("*") if local(item) == "value"]
        if kind in ("Select", "MultiSelect"):
            refs = [self._ref(name, item) for item in values]
            is_many = kind == "MultiSelect"
            return Custom(kind, name, refs if is_many else refs[0] if refs else None)
        types = {"Long": "long", "Double": "double", "Boolean": "boolean", "Date": "dateTime"}
        text = (values[0].text or "").strip() if values else ""
        return Custom(kind, name, _scalar(types.get(kind, "string"), name, text))

    def _ref(self, field: str, node: Node) -> Ref:
        key, external = node.get("internalId"), node.get("externalId")
        for kind in _LEADS_TO.get(field, tuple(self._state) if external else ()):
            for record in self._state.get(kind, {}).values():
                if key == record["internalId"] or (
                    external and external == record.get("externalId")
                ):
                    return Ref(str(record["internalId"]), _name(record))
        if key is None or field in _LEADS_TO:
            raise StatusError(
                "INVALID_KEY_OR_REF", f"Invalid {field} reference key {key or external}."
            )
        return Ref(key, text_of(node, "name") or key)

    def _check_refs(self, change: Record) -> None:
        """A reference by name only or to nothing was refused when it was read."""
        for name in ("internalId", "externalId"):
            change.pop(name, None)

    # Writing

    def _add(self, kind: str, external: str | None, change: Record) -> Record:
        self._check_required(kind, change)
        key = self._books.new_id()
        made = "dateCreated" if self._knows(kind, "dateCreated") else "createdDate"
        record: Record = {"internalId": key, "externalId": external}
        for name, value in {made: self._now, **self._begun(kind, key, change)}.items():
            if self._knows(kind, name):
                record[name] = value
        return self._write(kind, key, {**record, **change})

    def _update(self, kind: str, known: Record, node: Node, change: Record) -> Record:
        for name, value in change.items():
            listed, before = child(node, name), known.get(name)
            is_added = listed is not None and listed.get("replaceAll") in ("false", "0")
            if name == "customFieldList" and isinstance(value, list) and isinstance(before, list):
                given = {custom.script_id: custom for custom in value}
                kept = [c for c in before if c.script_id not in given]
                change[name] = [*kept, *value]
            elif is_added and isinstance(value, list) and isinstance(before, list):
                change[name] = _lines_joined(before, value)
        whole = {**known, **change}
        self._check_required(kind, whole)
        change |= _sums(kind, whole)
        if node.get("externalId") and node.get("internalId"):
            change["externalId"] = node.get("externalId")
        return self._write(kind, str(known["internalId"]), change)

    def _write(self, kind: str, key: str, change: Record) -> Record:
        if self._knows(kind, "lastModifiedDate"):
            change["lastModifiedDate"] = self._now
        self._books.write(kind, key, change)
        records = self._state.setdefault(kind, {})
        records[key] = {**records.get(key, {}), **change}
        return records[key]

    def _knows(self, kind: str, name: str) -> bool:
        return any(element.name == name for element in self._contract.types[kind].elements)

    def _check_required(self, kind: str, record: Record) -> None:
        missing = [words for name, words in _REQUIRED.get(kind, {}).items() if not record.get(name)]
        if kind in ("Customer", "Vendor", "Employee"):
            is_person = kind == "Employee" or record.get("isPerson") is True
            needed = ("lastName",) if is_person else ("companyName",)
            missing += [_spaced(name) for name in needed if not record.get(name)]
        if missing:
            raise StatusError("USER_ERROR", f"Please enter value(s) for: {', '.join(missing)}")
        if kind == "JournalEntry":
            lines = record["lineList"]
            debit, credit = (_sum(lines, name) for name in ("debit", "credit"))
            if abs(debit - credit) > 0.005:
                raise StatusError("USER_ERROR", "The amounts in a journal entry must balance.")

    def _begun(self, kind: str, key: str, change: Record) -> Record:
        """What NetSuite fills in."""
        company = change.get("companyName")
        person = " ".join(str(change[n]) for n in ("firstName", "lastName") if change.get(n))
        begun: Record = {
            "entityId": company or person,
            "isInactive": False,
            "isPerson": bool(change.get("isPerson")),
            "balance": 0.0,
        }
        if kind not in TRANSACTIONS:
            return begun
        number = f"{_PREFIXES.get(kind, 'TRN')}{key}"
        currency = change.get("currency") or self._first("Currency")
        return {
            "tranId": number,
            "transactionNumber": number,
            "tranDate": self._now.date(),
            "status": "Open",
            "currency": currency,
            "currencyName": currency.name if isinstance(currency, Ref) else None,
            "exchangeRate": 1.0,
            "subsidiary": self._first("Subsidiary"),
            **_sums(kind, change),
        }

    def _first(self, kind: str) -> Ref | None:
        for record in self._state.get(kind, {}).values():
            return Ref(str(record["internalId"]), _name(record))
        return None


def _leading(kind: str, record: Record) -> Iterable[object]:
    """The references of a transaction that may lead to a record of that type."""
    return (record.get(name) for name, kinds in _LEADS_TO.items() if kind in kinds)


def _lines_joined(before: list[object], given: list[object]) -> list[object]:
    """Lines that a client sent, over those of the same number and behind the others."""
    lines = [dict(line) for line in before if isinstance(line, dict)]
    for line in given:
        if not isinstance(line, dict):
            continue
        same = next(
            (old for old in lines if line.get("line") and old.get("line") == line["line"]), None
        )
        if same is None:
            lines.append({"line": len(lines) + 1, **line})
        else:
            same.update(line)
    return cast("list[object]", lines)


def _sums(kind: str, record: Record) -> Record:
    """Totals of the lines, and of each line what follows from its quantity and rate."""
    if kind in ("Invoice", "CreditMemo"):
        lines = [_priced(place, line) for place, line in enumerate(_dicts(record.get("itemList")))]
        total = round(_sum(lines, "amount"), 2)
        paid = record.get("amountPaid")
        remaining = round(total - (paid if isinstance(paid, float) else 0.0), 2)
        record["itemList"] = lines
        return {
            "itemList": lines, "subTotal": total, "total": total, "amountRemaining": remaining,
        }  # fmt: skip
    if kind in ("VendorBill", "ExpenseReport"):
        lines = [*_dicts(record.get("expenseList")), *_dicts(record.get("itemList"))]
        total = round(_sum(lines, "amount"), 2)
        return {"userTotal": total} if kind == "VendorBill" else {"total": total}
    if kind == "CustomerPayment":
        paid = record.get("payment")
        return {"total": paid, "unapplied": round(float(str(paid or 0)) - _applied(record), 2)}
    return {}


def _priced(place: int, line: Record) -> Record:
    priced = {"line": place + 1, **line}
    if priced.get("amount") is None and priced.get("rate") is not None:
        quantity = priced.get("quantity")
        count = float(str(1 if quantity is None else quantity))
        priced["amount"] = round(float(str(priced["rate"])) * count, 2)
    return priced


def _applied(record: Record) -> float:
    lines = [line for line in _dicts(record.get("applyList")) if line.get("apply")]
    return _sum(lines, "amount")


def _dicts(value: object) -> list[Record]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _sum(lines: object, name: str) -> float:
    return sum(float(str(line.get(name) or 0)) for line in _dicts(lines))


def _scalar(kind: str, name: str, text: str) -> object:
    try:
        if kind == "boolean":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind in ("double", "float", "decimal"):
            number = float(text)
            if not math.isfinite(number):
                raise ValueError(text)
            return number
        if kind in ("int", "long", "integer"):
            if not is_number(text.removeprefix("-")):
                raise ValueError(text)
            return int(text)
    except (ValueError, KeyError):
        raise StatusError("INVALID_FLD_VALUE", f"Invalid {name} value {text!r}") from None
    return parse_moment(text.replace("Z", "+00:00")) if kind == "dateTime" else text


def _name(record: Record) -> str:
    return next(
        (str(record[name]) for name in _NAMES if record.get(name)), str(record["internalId"])
    )


def _spaced(name: str) -> str:
    return "".join(f" {c}" if c.isupper() else c for c in name[:1].upper() + name[1:]).strip()


def _stored(value: object) -> object:
    """A value of records as JSON has it."""
    if isinstance(value, Ref):
        return {"$ref": [value.id, value.name]}
    if isinstance(value, Custom):
        return {"$custom": [value.kind, value.script_id, _stored(value.value)]}
    if isinstance(value, datetime):
        return {"$at": value.isoformat()}
    if isinstance(value, date):
        return {"$day": value.isoformat()}
    if isinstance(value, Mapping):
        return {str(key): _stored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_stored(item) for item in value]
    return value


def _loaded(value: object) -> object:
    """What ``_stored`` wrote."""
    if isinstance(value, list):
        return [_loaded(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$ref": [str(key), str(name)]}:
            return Ref(key, name)
        case {"$custom": [str(kind), str(script_id), inner]}:
            return Custom(kind, script_id, _loaded(inner))
        case {"$at": str(text)}:
            return datetime.fromisoformat(text)
        case {"$day": str(text)}:
            return date.fromisoformat(text)
    return {key: _loaded(item) for key, item in value.items()}
