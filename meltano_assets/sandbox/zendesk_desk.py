"""The records of the support desk: the company's, with what clients wrote over and beside them.

A client's change of a field stays when the company changes others of the same record later. What
was written outlives the process in one file of the state folder.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.state import StateFolder
from meltano_assets.sandbox.zendesk_tickets import audit, comment

#: Ids of what clients make begin here, far from the company's.
_FIRST_ID = 9_000_001
_FILE = "zendesk"


class Desk:
    """Tickets, users and organizations as they are now, and what was said about tickets."""

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
        known = folder.read(_FILE) if folder else {}
        self._changes: dict[str, dict[str, Record]] = _nested(known.get("changes"))
        self._audits: dict[str, list[Record]] = _lists(known.get("audits"))
        self._next = int(str(known.get("next_id", _FIRST_ID)))
        self.jobs: dict[str, Record] = {}
        """Results of writes to many records at once; they end with the process."""
        self._tickets: list[Record] = []
        self._tickets_at: tuple[int, int] = (-1, 0)
        self._writes = 0

    # reading

    def tickets(self) -> list[Record]:
        """All tickets, deleted ones too, in the order of the export."""
        at = (self._day(), self._writes)
        if at != self._tickets_at:
            live: dict[object, Record] = {}
            for past in range(at[0] + 1):
                live.update(
                    {ticket["id"]: ticket for ticket in self._company.zendesk_tickets(past)}
                )
            self._tickets = sorted(self._changed("tickets", live).values(), key=_order)
            self._tickets_at = at
        return self._tickets

    def records(self, name: str) -> list[Record]:
        """The records of any other collection, in the order of their ids."""
        found = self._company.zendesk_records()[name]
        if name not in self._changes:
            return found
        changed = self._changed(name, {record["id"]: record for record in found}).values()
        return [record for record in changed if not record.get("_deleted_at")]

    @property
    def collections(self) -> frozenset[str]:
        """What the company itself has records of, beside the tickets."""
        return frozenset(self._company.zendesk_records())

    def merged(self, name: str, known: list[Record]) -> list[Record]:
        """These records with what clients wrote into that collection."""
        found = self._changed(name, {record["id"]: record for record in known}).values()
        return [record for record in found if not record.get("_deleted_at")]

    def written(self, name: str) -> dict[str, Record]:
        """What clients wrote into a collection, by id."""
        return self._changes.get(name, {})

    def deleted_users(self) -> list[Record]:
        """Users who are gone and not yet forgotten."""
        known = {record["id"]: record for record in self._company.zendesk_records()["users"]}
        found = self._changed("users", known).values()
        return [r for r in found if r.get("_deleted_at") and not r.get("_forgotten")]

    def all_records(self) -> dict[str, list[Record]]:
        """The collections beside the tickets."""
        return {name: self.records(name) for name in self._company.zendesk_records()}

    def _changed(self, name: str, records: dict[object, Record]) -> dict[object, Record]:
        merged = dict(records)
        for key, change in self._changes.get(name, {}).items():
            merged[int(key)] = {**merged.get(int(key), {}), **change}
        return merged

    def comments(self, ticket: Record) -> list[Record]:
        """What was said, the first first."""
        later = [
            {
                **event,
                "audit_id": told["id"],
                "via": told["via"],
                "metadata": {},
                "created_at": told["created_at"],
            }
            for told in self._audits.get(str(ticket["id"]), [])
            for event in _events(told)
            if event["type"] == "Comment"
        ]
        return [comment(ticket), *later]

    def audits(self, ticket: Record) -> list[Record]:
        """What was done, the first first."""
        return [audit(ticket), *self._audits.get(str(ticket["id"]), [])]

    # writing

    def moment(self) -> datetime:
        """The desk's present."""
        return self._now()

    def stamp(self) -> str:
        """The present as records carry it."""
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_id(self) -> int:
        """An id that nothing has."""
        number = self._next
        self._next += 1
        return number

    def write(self, name: str, number: int, change: Mapping[str, object]) -> None:
        """Make a record or change some of its fields."""
        known = self._changes.setdefault(name, {}).setdefault(str(number), {})
        known.update(change)
        known["updated_at"] = self.stamp()
        if name == "tickets":
            known["generated_timestamp"] = int(self._now().timestamp())
        self._keep()

    def add_audit(self, ticket_id: int, told: Record) -> None:
        """Note what was done to a ticket."""
        self._audits.setdefault(str(ticket_id), []).append(told)
        self._keep()

    def add_job(self, results: list[Record]) -> Record:
        """Everything is done at once; the answer says queued, as the vendor's does."""
        job: Record = {
            "id": secrets.token_hex(16),
            "total": len(results),
            "progress": len(results),
            "status": "completed",
            "message": f"Completed at {self.stamp()}",
            "results": results,
        }
        self.jobs[str(job["id"])] = job
        return {**job, "progress": None, "status": "queued", "message": None, "results": None}

    def _keep(self) -> None:
        self._writes += 1
        if self._folder is not None:
            self._folder.write(
                _FILE,
                {"changes": self._changes, "audits": self._audits, "next_id": self._next},
            )


def shown(record: Record) -> Record:
    """A record without what only the desk itself knows of it."""
    if "_deleted_at" not in record:
        return record
    return {name: value for name, value in record.items() if not name.startswith("_")}


def _events(told: Record) -> list[Record]:
    found = told["events"]
    return found if isinstance(found, list) else []


def _order(ticket: Record) -> tuple[int, int]:
    return int(str(ticket["generated_timestamp"])), int(str(ticket["id"]))


def _nested(value: object) -> dict[str, dict[str, Record]]:
    return value if isinstance(value, dict) else {}


def _lists(value: object) -> dict[str, list[Record]]:
    return value if isinstance(value, dict) else {}
