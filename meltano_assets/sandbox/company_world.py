"""The store of a company's life: what exists, and what each day added or changed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from meltano_assets.sandbox.company_hosts import DomainFacts, Installation, InstallationMaker
from meltano_assets.sandbox.company_sales import Clockwork, Record, Sales
from meltano_assets.sandbox.company_words import Organisation, OrganisationMaker

SALESFORCE_OBJECTS = (
    "User",
    "Account",
    "Contact",
    "Campaign",
    "Lead",
    "Opportunity",
    "CampaignMember",
    "Product2",
    "OpportunityLineItem",
    "OpportunityHistory",
    "OpportunityFieldHistory",
    "Host__c",
)
PING_TABLES = ("usage_data", "version_checks", "hosts", "versions")


def scaled(count: float, scale: float) -> int:
    """The count at that scale; at least one, so that no trap vanishes in a small company."""
    return max(1, round(count * scale))


@dataclass(slots=True)
class Matches:
    """Which hosts belong to which accounts, as the company was built."""

    #: domain → (account id, "domain" or "name")
    expected: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: domain → the account ids that share its website
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    #: domain → id of a deleted account, which must not be matched
    deleted: dict[str, str] = field(default_factory=dict)


class World:
    """Everything that exists, by day of its coming."""

    def __init__(self, seed: int, scale: float, clock: Clockwork) -> None:
        self.seed = seed
        self.scale = scale
        self.clock = clock
        self.organisations = OrganisationMaker(seed)
        self.sales = Sales(seed, clock)
        self.installation_maker = InstallationMaker(seed)
        self.installations: list[Installation] = []
        self.facts: dict[str, DomainFacts] = {}
        self.reverse_names: dict[str, str] = {}
        self.matches = Matches()
        self.traps: dict[str, list[str]] = defaultdict(list)
        self.pings: dict[int, dict[str, list[Record]]] = {}
        self.account_organisations: dict[str, Organisation] = {}
        self.live: dict[str, dict[str, Record]] = {name: {} for name in SALESFORCE_OBJECTS}
        self._days: dict[int, dict[str, dict[str, Record]]] = {}
        self._next_organisation = 0
        self._next_ping = {"usage_data": 1, "version_checks": 1}

    def new_organisation(self) -> Organisation:
        """The next organisation of the world."""
        self._next_organisation += 1
        return self.organisations.make(self._next_organisation - 1)

    # Salesforce

    def put(self, day: int, object_name: str, record: Record) -> Record:
        """The record exists, or has changed, since that day."""
        key = str(record["Id"])
        self.live[object_name][key] = record
        today = self._days.setdefault(day, {name: {} for name in SALESFORCE_OBJECTS})
        today[object_name][key] = record
        return record

    def change(
        self, day: int, object_name: str, record: Record, at: float, **fields: object
    ) -> Record:
        """The record with new values, modified at that moment."""
        # Two changes of one day may be told in any order; the record's own time only grows.
        stamp = max(self.clock.stamp(at), str(record["SystemModstamp"]))
        audit = {"LastModifiedDate": stamp, "SystemModstamp": stamp}
        return self.put(day, object_name, {**record, **fields, **audit})

    def salesforce_records(self, day: int) -> dict[str, list[Record]]:
        """Full records of that day, by object."""
        today = self._days.get(day, {})
        return {name: list(today.get(name, {}).values()) for name in SALESFORCE_OBJECTS}

    def salesforce_state(self, day: int) -> dict[str, dict[str, Record]]:
        """All records at the end of that day."""
        state: dict[str, dict[str, Record]] = {name: {} for name in SALESFORCE_OBJECTS}
        for past in range(day + 1):
            for name, records in self._days.get(past, {}).items():
                state[name].update(records)
        return state

    # Pings

    def number_pings(self, table: str, rows: list[Record]) -> list[Record]:
        """The rows with ids, in the order given."""
        first = self._next_ping[table]
        self._next_ping[table] = first + len(rows)
        return [{"id": first + i, **row} for i, row in enumerate(rows)]
