"""The people of the company: who joined, who left, as finance keeps them in NetSuite.

The sales team is Salesforce's users. Everybody else was hired through Lever, began ten days after, and
some have left since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from meltano_assets.sandbox.company_books import DEPARTMENTS, SUBSIDIARIES
from meltano_assets.sandbox.company_words import dice, mailbox

if TYPE_CHECKING:
    from meltano_assets.sandbox.company_hiring import Hire
    from meltano_assets.sandbox.company_netsuite_records import BookRecords
    from meltano_assets.sandbox.company_sales import Record

#: Lever's department, or the job where that says more → the department that pays.
_PAID_BY = {
    "Engineering": "Research & Development",
    "Product": "Research & Development",
    "Customer Success": "Customer Support",
    "SDR": "Sales Development",
    "BDR": "Business Development",
}
_NOTICE = timedelta(days=10)
#: One in so many leaves, after so many days.
_LEAVERS, _STAY = 4, (60, 420)


@dataclass(frozen=True, slots=True)
class Stay:
    """Somebody's time at the company."""

    name: str
    email: str
    title: str
    department: str
    began: datetime
    left: datetime | None = None
    external_id: str | None = None
    #: Told apart from others of the same name.
    number: str = ""


class Staff:
    """Writes employees into the books, each once, and again when they leave."""

    def __init__(self, books: BookRecords, seed: int) -> None:
        self._books = books
        self._seed = seed
        self._known: dict[str, Record] = {}
        self._left: set[str] = set()

    def record(self, key: str, stay: Stay, until: datetime) -> Record | None:
        """What is known of that stay by then, written down; None before it begins."""
        if stay.began > until:
            return None
        if key not in self._known:
            given, _, family = stay.name.partition(" ")
            employee: Record = {
                "internalId": self._books.new_id("Employee"), "externalId": stay.external_id,
                "entityId": f"{stay.name} {stay.number}".strip(), "firstName": given, "lastName": family, "email": stay.email,
                "title": stay.title, "department": self._books.ref("Department", stay.department),
                "isInactive": False, "subsidiary": self._books.ref("Subsidiary", next(iter(SUBSIDIARIES))),
                "hireDate": stay.began.date(), "releaseDate": None,
                "dateCreated": stay.began, "lastModifiedDate": stay.began,
            }  # fmt: skip
            self._known[key] = self._books.put("Employee", stay.began, employee)
        if stay.left is not None and stay.left <= until and key not in self._left:
            self._left.add(key)
            gone = {"isInactive": True, "releaseDate": stay.left.date()}
            self._books.put("Employee", stay.left, {**self._known[key], **gone})
        return self._known[key]

    def join(self, hires: Iterator[Hire], until: datetime) -> None:
        """Whoever was hired begins, and some leave."""
        for hire in hires:
            rng = dice(f"{self._seed}:stay:{hire.number}")
            began = datetime.fromtimestamp(hire.at / 1000, UTC) + _NOTICE
            left = None
            if rng.randrange(_LEAVERS) == 0:
                left = began + timedelta(days=rng.randrange(*_STAY))
            given, _, family = hire.name.partition(" ")
            stay = Stay(
                name=hire.name,
                number=str(hire.number),
                email=f"{mailbox(given, family)}.{hire.number}@staff.example",
                title=hire.job,
                department=_PAID_BY.get(hire.job) or _PAID_BY.get(hire.department, hire.department),
                began=began,
                left=left,
            )
            self.record(f"hire {hire.number}", stay, until)


def user_stay(user: Record, anchor: datetime) -> Stay:
    """A Salesforce user's time; who is no longer active has left on the way."""
    began = datetime.strptime(str(user["CreatedDate"]), "%Y-%m-%dT%H:%M:%S.%f%z")
    wanted = str(user["Department"])
    days = (anchor - began).days
    return Stay(
        name=str(user["Name"]),
        email=str(user["Email"]),
        title=str(user["Title"]),
        department=wanted if wanted in DEPARTMENTS else "Sales",
        began=began,
        left=None if user["IsActive"] else began + timedelta(days=days // 2),
        external_id=str(user["Id"]),
    )


def staff_truths(employees: dict[str, Record], today: date) -> dict[str, dict[str, int]]:
    """Department → month → who was there at its end, or today in the month that is not over.

    The day on which somebody leaves is still worked.
    """
    counts: dict[str, dict[str, int]] = {}
    for employee in employees.values():
        began, left = employee["hireDate"], employee["releaseDate"]
        assert isinstance(began, date)
        month = began.replace(day=1)
        while month <= today:
            following = (month + timedelta(days=32)).replace(day=1)
            end = min(following - timedelta(days=1), today)
            if left is None or end <= left:  # type: ignore[operator]
                months = counts.setdefault(employee["department"].name, {})  # type: ignore[attr-defined]
                months[f"{month:%Y-%m}"] = months.get(f"{month:%Y-%m}", 0) + 1
            month = following
    return counts
