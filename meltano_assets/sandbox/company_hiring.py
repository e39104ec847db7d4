"""The hiring side of the company: Lever's postings, requisitions and opportunities.

Every opportunity has its whole life drawn in advance, as a list of events; what Lever shows is the
part of it that lies in the past. The people of the sales team were hired this way, so that a hire with
a Salesforce user of the same name is a known truth; others were hired beside them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from meltano_assets.sandbox.company_hiring_papers import Life, Papers
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice, mailbox, person
from meltano_assets.sandbox.company_world import scaled

if TYPE_CHECKING:
    from meltano_assets.sandbox.company import Company

#: The pipeline in its order; leads begin at the first, applicants at the fourth.
STAGES = {
    "lead-new": "New lead",
    "lead-reached-out": "Reached out",
    "lead-responded": "Responded",
    "applicant-new": "New applicant",
    "51adc2f4-5a6c-4b0f-9d4e-0c6ab1a7d101": "Recruiter screen",
    "51adc2f4-5a6c-4b0f-9d4e-0c6ab1a7d102": "Technical interview",
    "51adc2f4-5a6c-4b0f-9d4e-0c6ab1a7d103": "On-site interview",
    "51adc2f4-5a6c-4b0f-9d4e-0c6ab1a7d104": "Background check",
    "offer": "Offer",
}
HIRED = "63dd55b2-a99f-4e7b-985f-22c7bf80ab01"
ARCHIVE_REASONS = {
    HIRED: ("Hired", "hired"),
    "63dd55b2-a99f-4e7b-985f-22c7bf80ab02": ("Underqualified", "non-hired"),
    "63dd55b2-a99f-4e7b-985f-22c7bf80ab03": ("Withdrew", "non-hired"),
    "63dd55b2-a99f-4e7b-985f-22c7bf80ab04": ("Offer declined", "non-hired"),
    "63dd55b2-a99f-4e7b-985f-22c7bf80ab05": ("Position closed", "non-hired"),
}
OFFER_DECLINED = "63dd55b2-a99f-4e7b-985f-22c7bf80ab04"
SOURCES = ("LinkedIn", "Careers page", "Referral", "Conference", "Agency: Müller & Söhne")
_JOBS = (
    ("Backend Engineer", "Engineering", "Development"),
    ("Frontend Engineer", "Engineering", "Development"),
    ("Site Reliability Engineer", "Engineering", "Infrastructure"),
    ("Support Engineer", "Customer Success", "Support"),
    ("Product Manager", "Product", "Product"),
    ("Content Marketer", "Marketing", "Content"),
    ("Account Executive", "Sales", "Field"),
    ("SDR", "Sales", "Development of business"),
    ("BDR", "Sales", "Development of business"),
    ("VP Sales", "Sales", "Leadership"),
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an opportunity: a stage entered, an end, a deletion."""

    at: int
    kind: str
    value: str = ""


@dataclass(slots=True)
class _Person:
    """One opportunity with all that will happen to it."""

    number: int
    name: str
    posting: int
    created: float
    origin: str
    source: str
    user: int | None
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Hire:
    """Somebody who signed: who, for what, when (in milliseconds)."""

    number: int
    name: str
    job: str
    department: str
    at: int


class HiringDesk:
    """Lever's records as they stand at a moment."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._seed = company.seed
        self._people: list[_Person] = []
        self._numbers: dict[str, int] = {}
        self._days = -1
        self._team = 0
        self._users = self._make_users()
        self._papers = Papers(company.seed, self._id, self._users)

    def _id(self, kind: str, number: object) -> str:
        """A UUID of version 4's form, the same for the same thing."""
        digest = hashlib.md5(f"{self._seed}:{kind}:{number}".encode(), usedforsecurity=False)
        text = digest.hexdigest()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def _milliseconds(self, days: float) -> int:
        """The moment that many days after the anchor, outside of the hours that clients write in."""
        whole = int(days // 1)
        return int(self._company.clock.at(whole + 0.2 + 0.78 * (days - whole)).timestamp() * 1000)

    def build(self, day: int) -> None:
        """Everybody who has come by the end of that day, and what will become of them."""
        while self._days < day:
            self._days += 1
            if self._days == 0:
                self._first_people()
            rng = dice(f"{self._seed}:hiring:{self._days}")
            spans: list[tuple[float, float, int]] = [(self._days - 1, self._days, 6)]
            if self._days == 0:
                spans = [(-540, -20, 400), (-20, -0.5, 60)]
            for since, until, many in spans:
                for _ in range(scaled(many, self._company.scale)):
                    created, posting = rng.uniform(since, until), rng.randrange(len(_JOBS))
                    given, family = person(rng)
                    self._add(f"{given} {family}", posting, created, None)

    def _first_people(self) -> None:
        """The sales team, each hired shortly before Salesforce knew them."""
        jobs = {title: place for place, (title, _department, _team) in enumerate(_JOBS)}
        for user in self._company.salesforce_records(0)["User"]:
            stamp = datetime.fromisoformat(str(user["CreatedDate"]).replace("+0000", "+00:00"))
            began = (stamp - self._company.anchor).total_seconds() / 86_400
            posting = jobs.get(str(user["Title"]), 6)
            self._add(str(user["Name"]), posting, began - 60, began - 10)
        self._team = len(self._people)

    def _add(self, name: str, posting: int, created: float, hired: float | None) -> None:
        number = len(self._people)
        rng = dice(f"{self._seed}:hiring:person:{number}")
        origin = rng.choice(["applied", "applied", "sourced", "referred", "agency"])
        user = rng.randrange(len(self._users)) if origin != "applied" else None
        one = _Person(number, name, posting, created, origin, rng.choice(SOURCES), user)
        self._people.append(one)
        self._numbers[self._id("opportunity", number)] = number
        order = list(STAGES)
        place = 0 if origin == "sourced" and hired is None else 3
        at = created
        steps = len(order) - place
        while True:
            one.events.append(Event(self._milliseconds(at), "stage", order[place]))
            gap = (hired - created) / steps if hired is not None else rng.uniform(0.5, 9)
            at += gap
            place += 1
            goes_on = hired is not None or rng.random() < 0.62
            if place == len(order):
                is_hired = hired is not None or rng.random() < 0.75
                signed = "signed" if is_hired else "denied"
                one.events.append(Event(self._milliseconds(at - gap / 2), "offer", signed))
                reason = HIRED if is_hired else OFFER_DECLINED
                one.events.append(Event(self._milliseconds(at), "archive", reason))
                break
            if not goes_on:
                reason = rng.choice(
                    [r for r in ARCHIVE_REASONS if r not in (HIRED, OFFER_DECLINED)]
                )
                one.events.append(Event(self._milliseconds(at), "archive", reason))
                break
        if hired is None and rng.random() < 0.09:
            gone = self._milliseconds(at + rng.uniform(1, 30))
            one.events.append(Event(gone, "delete", self._users[0]["id"]))  # type: ignore[arg-type]

    def hires(self, now: int) -> Iterator[Hire]:
        """Who was hired by then beside the sales team, also those whom Lever has forgotten since."""
        for one in self._people[self._team :]:
            title, department, _ = _JOBS[one.posting]
            for event in self._past(one, now):
                if event.kind == "archive" and event.value == HIRED:
                    yield Hire(one.number, one.name, title, department, event.at)

    def changes(self, since: int, until: int) -> dict[str, int]:
        """Kind of record → how many came or changed after ``since``, until ``until``."""
        records = {
            "opportunities": (self.opportunities(until), "updatedAt"),
            "requisitions": (self.requisitions(until), "updatedAt"),
            "deleted_opportunities": (self.deleted(until), "deletedAt"),
        }
        counts = {
            kind: sum(since < int(str(record[name])) for record in found)
            for kind, (found, name) in records.items()
        }
        return {kind: number for kind, number in counts.items() if number}

    # What Lever shows

    def _past(self, one: _Person, now: int) -> list[Event]:
        return [event for event in one.events if event.at <= now]

    def _living(self, now: int) -> Iterator[tuple[_Person, list[Event]]]:
        for one in self._people:
            past = self._past(one, now)
            if past and past[-1].kind != "delete":
                yield one, past

    def opportunities(self, now: int) -> list[Record]:
        """All opportunities that are not deleted, by the time of their last change."""
        records = [self._opportunity(one, past, now) for one, past in self._living(now)]
        return sorted(
            records, key=lambda record: (int(str(record["updatedAt"])), str(record["id"]))
        )

    def deleted(self, now: int) -> list[Record]:
        """Deleted opportunities, in their order."""
        gone = [
            {
                "id": self._id("opportunity", one.number),
                "deletedAt": past[-1].at,
                "deletedBy": past[-1].value,
            }
            for one in self._people
            if (past := self._past(one, now)) and past[-1].kind == "delete"
        ]
        return sorted(gone, key=lambda record: (int(str(record["deletedAt"])), str(record["id"])))

    def _opportunity(self, one: _Person, past: list[Event], now: int) -> Record:
        key = self._id("opportunity", one.number)
        stages = [event for event in past if event.kind == "stage"]
        end = next((event for event in past if event.kind == "archive"), None)
        owner = self._users[one.number % len(self._users)]["id"]
        rng = dice(f"{self._seed}:hiring:details:{one.number}")
        given, _, family = one.name.partition(" ")
        address = f"{mailbox(given, family)}.{one.number}@candidates.example"
        places = list(STAGES)
        return {
            "id": key,
            "name": one.name,
            "headline": rng.choice(["Acme, Initech", "„Freelance“ 🦊", "", "Univ. of Jena\nMSc"]),
            "contact": self._id("contact", one.number),
            "emails": [address],
            "phones": [{"type": "mobile", "value": f"+1 202 555 0{100 + one.number % 100}"}],
            "confidentiality": self._confidentiality(one),
            "location": rng.choice(["Berlin", "São Paulo", "Oslo", None]),
            "links": [f"https://profiles.example/in/{one.number}"],
            "archived": {"reason": end.value, "archivedAt": end.at} if end else None,
            "tags": [_JOBS[one.posting][0], _JOBS[one.posting][2]],
            "sources": [one.source],
            "stageChanges": [
                {
                    "toStageId": event.value,
                    "toStageIndex": places.index(event.value),
                    "updatedAt": event.at,
                    "userId": owner,
                }
                for event in stages
            ],
            "origin": one.origin,
            "sourcedBy": self._users[one.user]["id"] if one.user is not None else None,
            "stage": stages[-1].value,
            "owner": owner,
            "followers": [owner],
            "applications": [self._id("application", one.number)],
            "createdAt": past[0].at,
            "updatedAt": past[-1].at,
            "lastInteractionAt": past[-1].at,
            "lastAdvancedAt": stages[-1].at,
            "snoozedUntil": None,
            "urls": {
                "list": "https://hire.sandbox.example/candidates",
                "show": f"https://hire.sandbox.example/candidates/{key}",
            },
            "dataProtection": {
                "contact": {"allowed": False, "expiresAt": past[0].at + 31_536_000_000},
                "store": {"allowed": True, "expiresAt": None},
            },
            "isAnonymized": False,
            "opportunityLocation": None,
        }

    def _confidentiality(self, one: _Person) -> str:
        return "confidential" if one.posting == 9 else "non-confidential"

    def _person(self, opportunity: str, now: int) -> tuple[_Person, list[Event]] | None:
        number = self._numbers.get(opportunity)
        if number is None:
            return None
        past = self._past(self._people[number], now)
        return (self._people[number], past) if past and past[-1].kind != "delete" else None

    def applications(self, opportunity: str, now: int) -> list[Record] | None:
        """The applications of that opportunity; None when there is none of that id."""
        found = self._person(opportunity, now)
        if found is None:
            return None
        one, past = found
        end = next((event for event in past if event.kind == "archive"), None)
        posting = self.postings(now)[one.posting]
        hired = end is not None and end.value == HIRED
        requisition = self._id("requisition", one.posting)
        return [
            {
                "id": self._id("application", one.number),
                "opportunityId": opportunity,
                "candidateId": opportunity,
                "type": {"applied": "posting", "referred": "referral"}.get(one.origin, "user"),
                "posting": posting["id"],
                "postingOwner": posting["owner"],
                "postingHiringManager": posting["hiringManager"],
                "user": self._users[one.user]["id"] if one.user is not None else None,
                "name": one.name,
                "company": None,
                "phone": {"value": f"+1 202 555 0{100 + one.number % 100}"},
                "email": None,
                "links": [],
                "comments": "Would “love” to,\njoin." if one.number % 5 == 0 else None,
                "customQuestions": [],
                "createdAt": past[0].at,
                "archived": {"reason": end.value, "archivedAt": end.at} if end else None,
                "requisitionForHire": {
                    "id": requisition,
                    "requisitionCode": f"REQ-{one.posting + 1}",
                    "hiringManagerOnHire": posting["hiringManager"],
                }
                if hired
                else None,
            }
        ]

    def offers(self, opportunity: str, now: int) -> list[Record] | None:
        """The offers of that opportunity; None when there is none of that id."""
        found = self._person(opportunity, now)
        if found is None:
            return None
        one, past = found
        return [
            {
                "id": self._id("offer", one.number),
                "posting": self._id("posting", one.posting),
                "createdAt": event.at,
                "status": event.value,
                "creator": self._users[0]["id"],
                "fields": [
                    {
                        "text": "Salary amount",
                        "identifier": "salary_amount",
                        "value": 90_000 + one.number,
                    },
                    {
                        "text": "Job title",
                        "identifier": "job_title",
                        "value": _JOBS[one.posting][0],
                    },
                ],
                "signatures": None,
                "approved": None,
                "approvedAt": event.at,
                "sentAt": event.at,
                "sentDocument": None,
                "signedDocument": None,
            }
            for event in past
            if event.kind == "offer"
        ]

    def papers(self, opportunity: str, name: str, now: int) -> list[Record]:
        """What else hangs on that opportunity, by its kind (``resumes``, ``notes`` …)."""
        found = self._person(opportunity, now)
        if found is None:
            return []
        one, past = found
        life = Life(
            one.number, one.name, _JOBS[one.posting][0], self._id("posting", one.posting),
            self._id("application", one.number), one.origin,
            str(self._users[one.number % len(self._users)]["id"]),
            str(self._users[one.user]["id"]) if one.user is not None else None,
            [(event.value, event.at) for event in past if event.kind == "stage"],
        )  # fmt: skip
        return self._papers.of(life, name, now)

    def templates(self, name: str) -> list[Record]:
        """What feedback and forms are made from."""
        return self._papers.templates(name)

    def postings(self, now: int) -> list[Record]:
        """The jobs as advertised."""
        created = self._milliseconds(-1000)
        return [
            {
                "id": self._id("posting", place),
                "text": title,
                "state": "closed" if place == 9 else "published",
                "distributionChannels": ["public", "internal"],
                "user": self._users[0]["id"],
                "owner": self._users[0]["id"],
                "hiringManager": self._users[place % len(self._users)]["id"],
                "categories": {
                    "team": team,
                    "department": department,
                    "location": "Remote",
                    "allLocations": ["Remote", "Zürich"],
                    "commitment": "Full-time",
                    "level": None,
                },
                "content": {
                    "description": f"We look for a {title}.",
                    "descriptionHtml": f"<div>We look for a {title}.</div>",
                    "lists": [],
                    "closing": "Apply & see.",
                    "closingHtml": "<div>Apply &amp; see.</div>",
                },
                "country": "US",
                "workplaceType": "remote",
                "tags": [team],
                "followers": [],
                "reqCode": None,
                "requisitionCodes": [f"REQ-{place + 1}"],
                "salaryRange": None,
                "confidentiality": "confidential" if place == 9 else "non-confidential",
                "urls": {
                    "list": "https://jobs.sandbox.example",
                    "show": f"https://jobs.sandbox.example/{place}",
                    "apply": f"https://jobs.sandbox.example/{place}/apply",
                },
                "createdAt": created,
                "updatedAt": created + 86_400_000 * place,
            }
            for place, (title, department, team) in enumerate(_JOBS)
        ]

    def requisitions(self, now: int) -> list[Record]:
        """The positions behind the postings, with who has been hired for them."""
        hires: dict[int, list[int]] = {}
        for one in self._people:
            for event in self._past(one, now):
                if event.kind == "archive" and event.value == HIRED:
                    hires.setdefault(one.posting, []).append(event.at)
        created = self._milliseconds(-1000)
        return [
            {
                "id": self._id("requisition", place),
                "requisitionCode": f"REQ-{place + 1}",
                "name": title,
                "backfill": place % 3 == 0,
                "confidentiality": "confidential" if place == 9 else "non-confidential",
                "createdAt": created,
                "creator": self._users[0]["id"],
                "headcountHired": len(hires.get(place, [])),
                "headcountTotal": "unlimited" if place % 2 else 500,
                "status": "closed" if place == 9 else "open",
                "hiringManager": self._users[place % len(self._users)]["id"],
                "owner": self._users[0]["id"],
                "compensationBand": {
                    "currency": "USD",
                    "interval": "per-year-salary",
                    "min": 60_000,
                    "max": 99_500.5,
                },
                "employmentStatus": "full-time",
                "location": "Remote",
                "internalNotes": None,
                "postings": [self._id("posting", place)],
                "department": department,
                "team": team,
                "offerIds": [],
                "approval": None,
                "customFields": {"cost_center": f"CC-{place}"},
                "updatedAt": max([created, *hires.get(place, [])]),
                "closedAt": created + 86_400_000 if place == 9 else None,
            }
            for place, (title, department, team) in enumerate(_JOBS)
        ]

    def users(self, now: int) -> list[Record]:
        """Who works in Lever, the deactivated too."""
        return self._users

    def _make_users(self) -> list[Record]:
        rng = dice(f"{self._seed}:hiring:users")
        records: list[Record] = []
        for place in range(max(4, scaled(9, self._company.scale))):
            given, family = person(rng)
            created = self._milliseconds(-1100 + place)
            records.append(
                {
                    "id": self._id("user", place),
                    "name": f"{given} {family}",
                    "username": f"{mailbox(given, family)}.{place}",
                    "email": f"{mailbox(given, family)}.{place}@hiring.meltano-sandbox.com",
                    "accessRole": "super admin" if not place else "interviewer",
                    "photo": None,
                    "createdAt": created,
                    "deactivatedAt": created + 86_400_000 * 300 if place == 3 else None,
                    "externalDirectoryId": None,
                    "linkedContactIds": None,
                    "jobTitle": "Recruiter" if place % 2 else None,
                    "managerId": None,
                }
            )
        return records

    def sources(self, now: int) -> list[Record]:
        """Where candidates come from, with their count."""
        counts = Counter(one.source for one, _past in self._living(now))
        return [{"text": name, "count": counts[name]} for name in SOURCES]

    def tags(self, now: int) -> list[Record]:
        """Tags of candidates, with their count."""
        counts: Counter[str] = Counter()
        for one, _past in self._living(now):
            counts.update((_JOBS[one.posting][0], _JOBS[one.posting][2]))
        return [{"text": name, "count": count} for name, count in sorted(counts.items())]

    @staticmethod
    def stages() -> list[Record]:
        """The pipeline's steps."""
        return [{"id": key, "text": text} for key, text in STAGES.items()]

    @staticmethod
    def archive_reasons() -> list[Record]:
        """Why opportunities end."""
        return [
            {"id": key, "text": text, "status": "active", "type": kind}
            for key, (text, kind) in ARCHIVE_REASONS.items()
        ]

    # Truths

    def truths(self, now: int) -> dict[str, object]:
        """What must come out of Lever at that moment."""
        open_ = [r for r in self.opportunities(now) if r["confidentiality"] == "non-confidential"]
        ended = [r["archived"] for r in open_ if isinstance(r["archived"], dict)]
        hires = [end for end in ended if end["reason"] == HIRED]
        months = [
            datetime.fromtimestamp(int(end["archivedAt"]) / 1000, self._company.anchor.tzinfo)
            for end in hires
        ]
        offers = [
            event.value
            for one, past in self._living(now)
            for event in past
            if event.kind == "offer" and self._confidentiality(one) == "non-confidential"
        ]
        return {
            "opportunities": {
                "live": len(open_),
                "confidential": len(self.opportunities(now)) - len(open_),
                "deleted": len(self.deleted(now)),
                "active_by_stage": dict(
                    sorted(Counter(str(r["stage"]) for r in open_ if not r["archived"]).items())
                ),
                "archived_by_reason": dict(
                    sorted(Counter(str(e["reason"]) for e in ended).items())
                ),
                "reached_stage": dict(
                    sorted(
                        Counter(
                            change["toStageId"]
                            for r in open_
                            for change in r["stageChanges"]  # type: ignore[attr-defined]
                        ).items()
                    )
                ),
            },
            "hires": {
                "total": len(hires),
                "by_month": dict(sorted(Counter(m.strftime("%Y-%m") for m in months).items())),
            },
            "offers_by_status": dict(sorted(Counter(offers).items())),
            "postings": sum(
                1 for p in self.postings(now) if p["confidentiality"] == "non-confidential"
            ),
            "users": len(self._users),
        }
