"""The company's books: what its finance people keep in NetSuite.

All of it follows from the sales side: won deals are invoiced, paid, sometimes credited; what
campaigns cost comes as vendor bills of the same sum; people hand in expense reports; payroll is
booked by department. Amounts of a transaction are in its own currency.
"""

from __future__ import annotations

from meltano_assets.sandbox.company_books import Ref
from meltano_assets.sandbox.company_hiring import HiringDesk
from meltano_assets.sandbox.company_netsuite_costs import Costs
from meltano_assets.sandbox.company_netsuite_lists import Lists
from meltano_assets.sandbox.company_netsuite_receivables import Receivables
from meltano_assets.sandbox.company_netsuite_records import BookRecords
from meltano_assets.sandbox.company_staff import Staff, user_stay
from meltano_assets.sandbox.company_world import World


class Books(BookRecords):
    """The books of a world, built day by day as the world is."""

    def __init__(self, world: World, hiring: HiringDesk) -> None:
        super().__init__(world)
        self._hiring = hiring
        self._staff = Staff(self, world.seed)
        self._costs = Costs(self)
        self._receivables = Receivables(self)
        self._built = -1
        self._employees: list[tuple[Ref, Ref]] = []

    def build(self, day: int) -> None:
        """Keep the books until the end of that day."""
        while self._built < day:
            self._built += 1
            if self._built == 0:
                Lists(self).write()
                self._people()
                self._costs.history(self._employees)
            else:
                self._costs.ordinary_day(self._built, self._employees)
            self._receivables.follow(self._built)
            self._costs.marketing(self._built)
            self._hiring.build(self._built)
            until = self.at(self._built)
            self._staff.join(self._hiring.hires(int(until.timestamp() * 1000)), until)

    def _people(self) -> None:
        anchor = self.at(0)
        for user in self.world.salesforce_records(0)["User"]:
            stay = user_stay(user, anchor)
            employee = self._staff.record(str(user["Id"]), stay, anchor)
            if employee is not None and user["IsActive"]:
                ref = Ref(str(employee["internalId"]), stay.name)
                self._employees.append((ref, self.ref("Department", stay.department)))
