"""Records of the books and their versions: numbered, changed, deleted, looked at for a moment.

Each record is a list of versions with their moments, some of them ahead (a payment due next month), so
that the books of any moment are a look at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from meltano_assets.sandbox.company_books import CURRENCIES, Ref
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_world import World

TRANSACTIONS = (
    "Invoice", "CustomerPayment", "CreditMemo", "VendorBill", "VendorPayment", "ExpenseReport",
    "JournalEntry",
)  # fmt: skip
_ENTITIES = ("Customer", "Vendor", "Employee")


@dataclass(frozen=True, slots=True)
class Deleted:
    """A record that is gone, as NetSuite remembers it."""

    kind: str
    internal_id: str
    name: str
    at: datetime


class BookRecords:
    """Every record of a company's books, by its type and internal id, with all its versions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.versions: dict[tuple[str, str], list[tuple[datetime, Record | None]]] = {}
        self.numbers: dict[str, int] = {}
        #: By month; and what lists hold, by record type and name.
        self.periods: dict[tuple[int, int], Ref] = {}
        self.refs: dict[str, dict[str, Ref]] = {}

    def state(self, moment: datetime) -> dict[str, dict[str, Record]]:
        """Record type → internal id → record, as they are at that moment."""
        found: dict[str, dict[str, Record]] = {}
        for (kind, key), versions in self.versions.items():
            current = [record for at, record in versions if at <= moment]
            if current and current[-1] is not None:
                found.setdefault(kind, {})[key] = current[-1]
        return found

    def deleted(self, moment: datetime) -> list[Deleted]:
        """What had been deleted by that moment, oldest first."""
        gone = []
        for (kind, key), versions in self.versions.items():
            at, record = versions[-1]
            if record is None and at <= moment:
                last = versions[-2][1] or {}
                name = last.get("tranId") or last.get("entityId") or key
                gone.append(Deleted(kind, key, str(name), at))
        return sorted(gone, key=lambda item: (item.at, item.internal_id))

    def changes(self, since: datetime, until: datetime) -> dict[str, int]:
        """How many records of each type came, changed or went after ``since`` until ``until``."""
        counts: dict[str, int] = {}
        for (kind, _key), versions in self.versions.items():
            if any(since < at <= until for at, _record in versions):
                counts[kind] = counts.get(kind, 0) + 1
        return counts

    def new_id(self, kind: str) -> str:
        """The next number of that kind of record."""
        space = (
            "transaction"
            if kind in TRANSACTIONS
            else "entity"
            if kind in _ENTITIES
            else "item"
            if kind.endswith("Item")
            else kind
        )
        first = {"transaction": 1000, "entity": 100}.get(space, 0)
        number = self.numbers.get(space, first) + 1
        self.numbers[space] = number
        return str(number)

    def number(self, prefix: str) -> str:
        """The next number that people see on documents of that kind."""
        number = self.numbers.get(prefix, 1000) + 1
        self.numbers[prefix] = number
        return f"{prefix}{number}"

    def put(self, kind: str, at: datetime, record: Record) -> Record:
        """The record exists, or has changed, since that moment."""
        versions = self.versions.setdefault((kind, str(record["internalId"])), [])
        if versions and at <= versions[-1][0]:
            at = versions[-1][0] + timedelta(seconds=1)
        if "lastModifiedDate" in record:
            record = {**record, "lastModifiedDate": at}
        versions.append((at, record))
        return record

    def delete(self, kind: str, key: str, at: datetime) -> None:
        """The record is gone since that moment."""
        versions = self.versions[kind, key]
        versions.append((max(at, versions[-1][0] + timedelta(seconds=1)), None))

    def ref(self, kind: str, name: str) -> Ref:
        """A reference to what has that name in a list."""
        return self.refs[kind][name]

    def put_in_list(self, kind: str, label: str, /, **fields: object) -> Ref:
        """A record of a list, there since ever."""
        ref = Ref(self.new_id(kind), label)
        self.refs.setdefault(kind, {})[label] = ref
        self.put(kind, self.at(-700), {"internalId": ref.id, **fields})
        return ref

    def at(self, days: float) -> datetime:
        """The moment so many days after the company's first."""
        return self.world.clock.at(days)

    def period(self, day: date) -> Ref | None:
        """The accounting period of a day."""
        return self.periods.get((day.year, day.month))


def moment_of(value: object) -> datetime:
    """The moment that a stamp of Salesforce names."""
    return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S.%f%z")


def application(
    document: Ref, kind: str, day: date, amount: float, symbol: str, total: float | None = None
) -> Record:
    """The line of a payment that says what it pays."""
    whole = amount if total is None else total
    return {
        "apply": True, "doc": int(document.id), "line": 0, "applyDate": day, "type": kind,
        "refNum": document.name, "total": whole, "due": whole,
        "currency": CURRENCIES[symbol][0], "amount": amount,
    }  # fmt: skip


def symbol_of(record: Record) -> str:
    """The symbol of a transaction's currency."""
    name = name_of(record["currency"])
    return next(symbol for symbol, facts in CURRENCIES.items() if facts[0] == name)


def name_of(value: object) -> str:
    """The name of what a reference leads to; empty where nothing is."""
    return value.name if isinstance(value, Ref) else ""
