"""The subscription's records as they are now: the company's, with what clients wrote over and beside them.

A client's value stays when the company changes others of the same lead later, and who was deleted
stays so. What was written outlives the process in one file of the state folder.
"""

from __future__ import annotations

import hashlib
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_marketing import MarketingDesk
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.state import StateFolder

#: Ids of what clients make begin here, far from the company's.
_FIRST_ID = 9_000_001
_FILE = "marketo"
_KEPT = (
    "leads", "gone", "lists", "list_members", "members", "workshops", "types", "fields", "folders",
    "tokens", "programs", "emails",
)  # fmt: skip


class Desk:
    """Leads, lists, programs and activities; ``at`` brings them to a day."""

    def __init__(
        self, company: Company, now: Callable[[], datetime], folder: StateFolder | None = None
    ) -> None:
        self._company = MarketingDesk(company)
        self._now = now
        self._folder = folder
        known = folder.read(_FILE) if folder else {}
        self._written: dict[str, dict[str, Record]] = {
            name: found if isinstance(found := known.get(name), dict) else {} for name in _KEPT
        }
        done = known.get("activities")
        self._done: list[Record] = done if isinstance(done, list) else []
        self._next = int(str(known.get("next_id", _FIRST_ID)))
        self._day = -1
        self.leads: dict[int, Record] = {}
        self.lists: dict[int, Record] = {}
        self.list_members: dict[int, dict[int, str]] = {}
        self.members: dict[tuple[int, int], Record] = {}
        self.workshops: dict[str, Record] = {}
        """Records of the one custom object, by their GUIDs."""
        self.activities: list[Record] = []
        """In the order of their times."""
        self.activity_times: list[str] = []

    def at(self, day: int) -> Desk:
        """The records as they stand on that day."""
        if self._day < day:
            self._company.build(day)
            self._day = day
            self._merge()
        return self

    def _merge(self) -> None:
        known, written = self._company, self._written
        self.leads = dict(known.leads)
        for key, fields in written["leads"].items():
            number = int(key)
            # A lead of the company's that vanished is not brought back by some of its fields.
            if number in known.leads or "id" in fields:
                self.leads[number] = {**self.leads.get(number, {}), **fields}
        for key in written["gone"]:
            self.leads.pop(int(key), None)
        self.list_members = {number: dict(who) for number, who in known.list_members.items()}
        self.lists = dict(known.lists)
        for key, record in written["lists"].items():
            self.lists[int(key)] = record
            if record.get("gone"):
                del self.lists[int(key)]
                self.list_members.pop(int(key), None)
        self.members = dict(known.members)
        for key, changes in written["list_members"].items():
            who = self.list_members.setdefault(int(key), {})
            for lead, since in changes.items():
                if since is None:
                    who.pop(int(lead), None)
                else:
                    who[int(lead)] = str(since)
        for key, change in written["members"].items():
            program, _, member = key.partition(":")
            place = int(program), int(member)
            if change.get("gone"):
                self.members.pop(place, None)
            else:
                self.members[place] = {**self.members.get(place, {}), **change}
        for number in self.list_members.keys() - self.lists.keys():
            del self.list_members[number]
        for who in self.list_members.values():
            for number in who.keys() - self.leads.keys():
                del who[number]
        self.members = {key: m for key, m in self.members.items() if key[1] in self.leads}
        self.workshops = {str(w["marketoGUID"]): w for w in _company_workshops(known.leads)}
        for guid, record in written["workshops"].items():
            self.workshops[guid] = record
            if record.get("gone"):
                del self.workshops[guid]
        self.activities = sorted([*known.activities, *self._done], key=_order)
        self.activity_times = [str(activity["activityDate"]) for activity in self.activities]

    @property
    def company_programs(self) -> dict[int, Record]:
        """The company's programs, which clients cannot change."""
        return self._company.programs

    @property
    def programs(self) -> dict[int, Record]:
        """All programs."""
        own = {int(key): record for key, record in self._written["programs"].items()}
        return {**self._company.programs, **own} if own else self._company.programs

    def own(self, kind: str) -> Mapping[str, Record]:
        """The folders, programs or e-mails that clients made, by id."""
        return self._written[kind]

    def tokens(self, folder: str) -> list[Record]:
        """The tokens of a folder or program (``Folder:20``)."""
        held = self._written["tokens"].get(folder, {}).get("tokens")
        return held if isinstance(held, list) else []

    @property
    def campaigns(self) -> dict[int, Record]:
        """The smart campaigns, which clients cannot change."""
        return self._company.campaigns

    @property
    def types(self) -> dict[str, Record]:
        """Kinds of activities that clients made, by their API names."""
        return self._written["types"]

    @property
    def fields(self) -> dict[str, Record]:
        """Lead fields that clients made, by their names."""
        return self._written["fields"]

    def changes(self, since: datetime, until: datetime) -> dict[str, int]:
        """What the company itself did between two times."""
        return self._company.changes(since, until)

    # writing

    def stamp(self) -> str:
        """The present as records carry it."""
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_id(self) -> int:
        """An id that nothing has."""
        number = self._next
        self._next += 1
        return number

    def write_lead(self, number: int, fields: Mapping[str, object]) -> None:
        """Make a lead or change some of its fields."""
        change: Record = {**fields, "updatedAt": self.stamp()}
        self._written["leads"].setdefault(str(number), {}).update(change)
        self.leads[number] = {**self.leads.get(number, {}), **change}

    def delete_lead(self, number: int) -> None:
        """A lead goes, from lists and programs too."""
        self._written["leads"].pop(str(number), None)
        self._written["gone"][str(number)] = {"at": self.stamp()}
        self.leads.pop(number, None)
        for who in self.list_members.values():
            who.pop(number, None)
        for key in [key for key in self.members if key[1] == number]:
            del self.members[key]

    def write_asset(self, kind: str, number: int, record: Record | None) -> None:
        """Make or change a folder, program or e-mail; None deletes it."""
        if record is None:
            self._written[kind].pop(str(number), None)
        else:
            self._written[kind][str(number)] = record

    def write_tokens(self, folder: str, tokens: list[Record]) -> None:
        """What tokens a folder or program has."""
        self._written["tokens"][folder] = {"tokens": tokens}

    def write_list(self, number: int, record: Record) -> None:
        """Make or change a static list."""
        self._written["lists"][str(number)] = self.lists[number] = record
        self.list_members.setdefault(number, {})

    def delete_list(self, number: int) -> None:
        """A static list goes; its members stay leads."""
        self._written["lists"][str(number)] = {"gone": True}
        self.lists.pop(number, None)
        self.list_members.pop(number, None)

    def join_list(self, number: int, lead: int, *, is_in: bool) -> None:
        """A lead comes into a list or leaves it."""
        since = self.stamp() if is_in else None
        self._written["list_members"].setdefault(str(number), {})[str(lead)] = since
        who = self.list_members.setdefault(number, {})
        if since is None:
            who.pop(lead, None)
        else:
            who[lead] = since

    def write_member(self, program: int, lead: int, change: Record | None) -> None:
        """A lead's part in a program; None ends it."""
        key = f"{program}:{lead}"
        if change is None:
            self._written["members"][key] = {"gone": True}
            self.members.pop((program, lead), None)
            return
        before = self._written["members"].get(key, {})
        kept = {} if before.get("gone") else before
        self._written["members"][key] = {**kept, **change}
        self.members[program, lead] = {**self.members.get((program, lead), {}), **change}

    def write_workshop(self, guid: str, record: Record | None) -> None:
        """Make or change a record of the custom object; None deletes it."""
        if record is None:
            self.workshops.pop(guid, None)
        else:
            self.workshops[guid] = record
        self._written["workshops"][guid] = record or {"gone": True}

    def add_activity(
        self,
        lead: int,
        kind: int,
        primary: tuple[int | None, str | None] = (None, None),
        attributes: Mapping[str, object] | None = None,
        at: str | None = None,
    ) -> Record:
        """Note what was done; the activity."""
        activity: Record = {
            "id": self.new_id(),
            "marketoGUID": uuid.uuid4().hex,
            "leadId": lead,
            "activityDate": at or self.stamp(),
            "activityTypeId": kind,
            "campaignId": None,
            "primaryAttributeValueId": primary[0],
            "primaryAttributeValue": primary[1],
            "attributes": dict(attributes or {}),
        }
        self._done.append(activity)
        place = bisect_left(self.activity_times, f"{activity['activityDate']}~")
        self.activities.insert(place, activity)
        self.activity_times.insert(place, str(activity["activityDate"]))
        return activity

    def keep(self) -> None:
        """Remember what was written."""
        if self._folder is not None:
            content = {**self._written, "activities": self._done, "next_id": self._next}
            self._folder.write(_FILE, content)

    def found(self, field: str, values: Iterable[object]) -> dict[str, list[int]]:
        """Value (folded) → leads that have it in the field."""
        wanted = {str(value).lower() for value in values}
        matches: dict[str, list[int]] = {}
        for number, lead in self.leads.items():
            value = lead.get(field)
            if value is not None and (text := str(value).lower()) in wanted:
                matches.setdefault(text, []).append(number)
        return matches


def _company_workshops(leads: Mapping[int, Record]) -> Iterator[Record]:
    for number, lead in leads.items():
        if number % 50 == 0:
            yield {
                "marketoGUID": hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest(),
                "leadId": number,
                "workshopName": "GitOps, in depth",
                "createdAt": lead["createdAt"],
                "updatedAt": lead["createdAt"],
            }


def _order(activity: Record) -> tuple[str, int]:
    return str(activity["activityDate"]), int(str(activity["id"]))
