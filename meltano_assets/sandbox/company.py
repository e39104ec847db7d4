"""The simulated company: one coherent world from a seed, with known truths.

``Company`` is the model from which every simulated vendor takes its data. It knows nothing of
sockets or databases. All moments are counted from the *anchor*, thirty days before ``today``; the
company's clock begins there (day 0) and day ``n`` ends ``n`` days later. What happens on day n
carries times between four hours after the beginning of that day and its end, so that records
which clients write right after day n - 1 stay older than it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from meltano_assets.sandbox.company_billing import BillingDesk
from meltano_assets.sandbox.company_days import build_day
from meltano_assets.sandbox.company_hiring import HiringDesk
from meltano_assets.sandbox.company_hosts import DomainFacts, Installation, RawHost
from meltano_assets.sandbox.company_netsuite import Books
from meltano_assets.sandbox.company_office import Office
from meltano_assets.sandbox.company_packages import Packages
from meltano_assets.sandbox.company_portals import Portals
from meltano_assets.sandbox.company_sales import Clockwork, Record, salesforce_id
from meltano_assets.sandbox.company_start import build_start
from meltano_assets.sandbox.company_stripe import SelfServe
from meltano_assets.sandbox.company_support import SupportDesk
from meltano_assets.sandbox.company_truths import build_truths
from meltano_assets.sandbox.company_world import World

__all__ = ["Company", "Pings", "salesforce_id"]

#: How far the company's clock starts before ``today``.
START_BEFORE_TODAY = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Pings:
    """New or changed rows of the ``version`` database, with ids, in order of insertion."""

    usage_data: list[Record] = field(default_factory=list)
    version_checks: list[Record] = field(default_factory=list)
    hosts: list[Record] = field(default_factory=list)
    versions: list[Record] = field(default_factory=list)


class Company:
    """The company of a seed. Same seed, scale and today: same records, to the byte.

    Days are built one after another and kept; asking for day 7 builds days 1 to 7.
    """

    def __init__(self, seed: int = 1, scale: float = 1.0, today: date | None = None) -> None:
        if scale <= 0:
            raise ValueError("scale must be greater than 0")
        self.seed = seed
        self.scale = scale
        self.today = today or datetime.now(UTC).date()
        midnight = datetime(self.today.year, self.today.month, self.today.day, tzinfo=UTC)
        self.anchor = midnight - START_BEFORE_TODAY
        self.clock = Clockwork(self.anchor)
        self.world = World(seed, scale, self.clock)
        build_start(self.world)
        self._support = SupportDesk(self.world)
        self._books: Books | None = None
        self._billing = BillingDesk(self.world)
        self._office = Office(self.world)
        self._packages = Packages(self.world, self.billing)
        self._self_serve = SelfServe(self.world)
        self._portals = Portals(self.world, self._billing)
        self._built = 0
        self._lock = threading.RLock()
        self._facts: dict[int, dict[str, DomainFacts]] = {}
        self._truths: dict[int, dict[str, object]] = {}

    def now(self, day: int) -> datetime:
        """The moment at which day ``day`` ends; day 0 ends at the anchor."""
        return self.anchor + timedelta(days=day)

    def build(self, day: int) -> None:
        """Live on until the end of that day."""
        with self._lock:
            while self._built < day:
                build_day(self.world, self._built + 1)
                self._support.build_day(self._built + 1)
                self._built += 1

    # Salesforce

    def salesforce_records(self, day: int) -> dict[str, list[Record]]:
        """Object name → full records that came or changed on that day; day 0 has all of them.

        Values are in Salesforce's wire form: datetimes ``2024-01-02T03:04:05.000+0000``, dates
        ``2024-01-02``, numbers, booleans, None. A deleted record has ``IsDeleted`` True. Who keeps
        values that clients wrote takes over only what differs from the company's last word.
        """
        self.build(day)
        with self._lock:
            office = self._office.records(day)
            packages = self._packages.records(day)
        return {**self.world.salesforce_records(day), **office, **packages}

    def salesforce_state(self, day: int) -> dict[str, dict[str, Record]]:
        """Object name → id → record as the company left it at the end of that day."""
        state: dict[str, dict[str, Record]] = {}
        for past in range(day + 1):
            for name, records in self.salesforce_records(past).items():
                state.setdefault(name, {}).update({str(r["Id"]): r for r in records})
        return state

    # The version database

    def pings(self, day: int) -> Pings:
        """Rows that came or changed on that day; a changed row comes whole, with its old id."""
        self.build(day)
        rows = self.world.pings[day]
        return Pings(rows["usage_data"], rows["version_checks"], rows["hosts"], rows["versions"])

    def database_rows(self, database: str, day: int) -> dict[str, list[Record]]:
        """Table → rows that came or changed on that day in a database of the company's own.

        A changed row comes whole, with its old id; times are datetimes in UTC.
        """
        self.build(day)
        with self._lock:
            # Copies: what an application knows of its day, others may still add to.
            rows = dict(self._portals.rows(day)[database])
        if database == "version":
            pings = self.pings(day)
            rows |= {
                "hosts": pings.hosts,
                "versions": pings.versions,
                "version_checks": pings.version_checks,
                "usage_data": pings.usage_data,
            }
        return rows

    def installations(self, day: int) -> list[Installation]:
        """All installations that have pinged by the end of that day, as they are now."""
        self.build(day)
        return [item for item in self.world.installations if item.from_day <= day]

    def raw_hosts(self, day: int) -> dict[str, RawHost]:
        """Raw spelling → what it is, for all pings of the last sixty days."""
        return {
            host.raw: host
            for item in self.installations(day)
            if item.last_ping > -60
            for host in item.raw_hosts
        }

    # Providers

    def domain_facts(self, day: int) -> dict[str, DomainFacts]:
        """Registrable domain → what the outside world knows of it on that day."""
        self.build(day)
        with self._lock:
            if day not in self._facts:
                known = self.world.facts.items()
                self._facts[day] = {name: facts for name, facts in known if facts.from_day <= day}
            return self._facts[day]

    @property
    def reverse_names(self) -> dict[str, str]:
        """Public address → its reverse name; other addresses have none."""
        return self.world.reverse_names

    # Zendesk

    def zendesk_tickets(self, day: int) -> list[Record]:
        """Tickets that came or changed on that day, whole; deleted ones have that status."""
        self.build(day)
        return self._support.tickets(day)

    def zendesk_records(self) -> dict[str, list[Record]]:
        """The small collections beside tickets: organizations, users, groups and so on."""
        return self._support.records

    # NetSuite

    def books(self, day: int) -> Books:
        """What finance keeps in NetSuite, until the end of that day at least."""
        self.build(day)
        with self._lock:
            if self._books is None:
                self._books = Books(self.world, HiringDesk(self))
            self._books.build(day)
            return self._books

    # Zuora

    def zuora_records(self, day: int) -> dict[str, list[Record]]:
        """Object name → records that came, changed or were deleted (``Deleted``) on that day.

        Day 0 has all of them. Times are UTC datetimes, dates dates, money and numbers decimals.
        """
        return self.billing(day).records(day)

    def billing(self, day: int) -> BillingDesk:
        """The billing side at the end of that day at least."""
        self.build(day)
        with self._lock:
            self._billing.build(day)
            return self._billing

    # Stripe

    def stripe(self, day: int) -> SelfServe:
        """What the Stripe account holds at the end of that day at least."""
        self.build(day)
        with self._lock:
            self._self_serve.build(day)
            return self._self_serve

    # Truths

    @property
    def truths(self) -> dict[str, object]:
        """What must come out of this company on day 0."""
        return self.truths_on(0)

    def truths_on(self, day: int) -> dict[str, object]:
        """What must come out at the end of that day; plain values, ready for JSON."""
        with self._lock:
            if day not in self._truths:
                company = self
                if self._built > day:  # later days have moved on what installations do
                    company = Company(self.seed, self.scale, self.today)
                company.build(day)
                self._truths[day] = build_truths(company, day)
            return self._truths[day]
