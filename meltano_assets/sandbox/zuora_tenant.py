"""The tenant's records: the company's billing as it is on the present day, with what clients wrote over it.

A client's values lie over the company's records and outlive the process in one file of the state
folder, in the form in which the API writes them.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.state import StateFolder
from meltano_assets.sandbox.zuora_schema import object_types

_FILE = "zuora"
#: What clients make is counted from here, far from the company's.
_FIRST_NUMBER = 90_000_001
USER = "2c92a0f00ff84f0e14d6816854ec55a9"


class TenantRecords:
    """All records of the tenant."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        now: Callable[[], datetime],
        folder: StateFolder | None = None,
    ) -> None:
        self._company = company
        self._day = day
        self._now = now
        self._folder = folder
        self._built = -1
        self._moment: datetime | None = None
        self._all: dict[str, dict[str, Record]] = {}
        known = folder.read(_FILE) if folder else {}
        self._changes: dict[str, dict[str, Record]] = _nested(known.get("changes"))
        orders = known.get("orders")
        self.orders: dict[str, Record] = orders if isinstance(orders, dict) else {}
        """Orders by their numbers, as they are told."""
        runs = known.get("bill_runs")
        self.bill_runs: dict[str, Record] = runs if isinstance(runs, dict) else {}
        """Bill runs by their ids, as they are told."""
        self.billed_on = _day_of(known.get("billed_on")) or self.now().date()
        """The day up to which the nightly bill runs have run."""
        self._next = int(str(known.get("next_number", _FIRST_NUMBER)))
        for name, changes in self._changes.items():
            for change in changes.values():
                change |= {n: typed(name, n, value) for n, value in change.items()}

    def _catch_up(self) -> None:
        day = self._day()
        while self._built < day:
            self._built += 1
            for name, records in self._company.zuora_records(self._built).items():
                self._all.setdefault(name, {}).update({str(r["Id"]): r for r in records})
            if self._built == day:
                for name, changes in self._changes.items():
                    for key, change in changes.items():
                        self._lay_over(name, key, change)

    def _lay_over(self, name: str, key: str, change: Record) -> None:
        records = self._all.setdefault(name, {})
        if key in records or "Id" in change:
            records[key] = {**records.get(key, {}), **change}

    def rows(self, name: str, *, with_deleted: bool = False) -> Sequence[Record]:
        """All records of an object."""
        self._catch_up()
        records = self._all.get(name, {}).values()
        return [r for r in records if with_deleted or not r.get("Deleted")]

    def find(self, name: str, key: object) -> Record | None:
        """One record by its id."""
        self._catch_up()
        return self._all.get(name, {}).get(str(key))

    # writing

    def now(self) -> datetime:
        """The present."""
        return (self._moment or self._now()).astimezone(UTC).replace(microsecond=0)

    @contextlib.contextmanager
    def night_of(self, day: date) -> Iterator[None]:
        """What is written within the block happened as that day began, in universal time."""
        self._moment = datetime.combine(day, time(), UTC)
        try:
            yield
        finally:
            self._moment = None

    @contextlib.contextmanager
    def rehearsal(self) -> Iterator[None]:
        """What is written within the block is undone at its end."""
        self._catch_up()
        known = {name: dict(records) for name, records in self._all.items()}
        changes = {
            name: {key: dict(change) for key, change in found.items()}
            for name, found in self._changes.items()
        }
        orders, runs, number = dict(self.orders), dict(self.bill_runs), self._next
        try:
            yield
        finally:
            self._all, self._changes = known, changes
            self.orders, self.bill_runs, self._next = orders, runs, number

    def made(self, name: str) -> list[Record]:
        """The records of an object that clients made."""
        self._catch_up()
        keys = (key for key, change in self._changes.get(name, {}).items() if "Id" in change)
        return [r for key in keys if not (r := self._all[name][key]).get("Deleted")]

    def number(self, prefix: str) -> str:
        """A number that nothing has."""
        found = f"{prefix}{self._next:08}"
        self._next += 1
        return found

    def key(self) -> str:
        """An id that nothing has."""
        return f"2c92a0{secrets.token_hex(13)}"

    def create(self, name: str, fields: Mapping[str, object]) -> Record:
        """A new record."""
        key, now = self.key(), self.now()
        made: Record = {
            "Id": key, **fields,
            "CreatedById": USER, "CreatedDate": now, "UpdatedById": USER, "UpdatedDate": now,
        }  # fmt: skip
        return self._write(name, key, made)

    def update(self, name: str, key: str, fields: Mapping[str, object]) -> Record:
        """Other values of a record's fields."""
        return self._write(name, key, {**fields, "UpdatedById": USER, "UpdatedDate": self.now()})

    def _write(self, name: str, key: str, change: Record) -> Record:
        self._catch_up()
        kept = self._changes.setdefault(name, {}).setdefault(key, {})
        kept.update(change)
        self._lay_over(name, key, change)
        return self._all[name][key]

    def keep(self) -> None:
        """Remember what was written."""
        if self._folder is not None:
            changes = {
                name: {
                    key: {field: _stored(value) for field, value in change.items()}
                    for key, change in found.items()
                }
                for name, found in self._changes.items()
            }
            content = {
                "changes": changes,
                "orders": self.orders,
                "bill_runs": self.bill_runs,
                "billed_on": self.billed_on.isoformat(),
                "next_number": self._next,
            }
            self._folder.write(_FILE, content)


def typed(name: str, field_name: str, value: object) -> object:
    """A value of JSON as the object's field has it; ValueError where it has no such value."""
    field = object_types()[name.lower()].fields.get(field_name.lower())
    if value is None or field is None or not isinstance(value, str | int | float | Decimal):
        if isinstance(value, list | dict):
            raise ValueError(f"{field_name} takes no such value")
        return value
    text = str(value)
    if field.type in ("date", "datetime"):
        return _time(field.type, text)
    if field.type == "boolean":
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text} is not a boolean")
        return text.lower() == "true"
    if field.type == "integer":
        return int(text)
    if field.type == "decimal":
        try:
            return Decimal(text)
        except InvalidOperation:
            raise ValueError(f"{text} is not a number") from None
    return text


def _time(kind: str, text: str) -> date | datetime:
    if kind == "date":
        return date.fromisoformat(text[:10])
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _day_of(value: object) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else None


def _stored(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _nested(value: object) -> dict[str, dict[str, Record]]:
    return value if isinstance(value, dict) else {}
