"""What hangs on an opportunity of Lever: resumes, files, notes, panels, interviews, feedback, forms, referrals.

All of it follows from the opportunity's events: who came by themselves sent a resume, each stage with
a talk has its panel, and an hour after the talk its feedback is in.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice

_HOUR = 3_600_000
#: Stage → the talk in it and its minutes.
_TALKS = {
    "51adc2f4-5a6c-4b0f-9d4e-0c6ab1a7d101": ("Phone interview", 30),
    "51adc2f4-5a6c-4b0f-9d4e-0c6ab1a7d102": ("Technical interview", 60),
    "51adc2f4-5a6c-4b0f-9d4e-0c6ab1a7d103": ("On-site interview", 90),
}
_SCORES = ("1 - Strong no hire", "2 - No hire", "3 - Hire", "4 - Strong hire")
_REMARKS = (
    "Clear answers.",
    "Knows “the basics”,\nno more.",
    "Très bien 🎉",
    "Asked good questions.",
)
_NOTES = ("Called, will call back.", "Prefers mornings & e-mail.", "Salary: see <range>.")
FEEDBACK_TEMPLATE = "Interview feedback"
FORM_TEMPLATE = "Relocation"
REFERRAL_TEMPLATE = "Referral"
KINDS = (
    "referrals", "resumes", "interviews", "feedback", "notes", "panels", "forms", "files",
)  # fmt: skip

MakeId = Callable[[str, object], str]


@dataclass(frozen=True, slots=True)
class Life:
    """An opportunity as it went so far: stages entered with their moments in milliseconds."""

    number: int
    name: str
    job: str
    posting: str
    application: str
    origin: str
    owner: str
    sourced_by: str | None
    stages: Sequence[tuple[str, int]]


class Papers:
    """Draws up what hangs on opportunities, always the same."""

    def __init__(self, seed: int, make_id: MakeId, users: Sequence[Record]) -> None:
        self._seed = seed
        self._id = make_id
        self._users = users

    def of(self, life: Life, name: str, now: int) -> list[Record]:
        """The records of that kind, as far as they are there."""
        made = getattr(self, f"_{name}")(life, now)
        return [record for record in made if int(str(record.get("createdAt", 0))) <= now]

    def templates(self, name: str) -> list[Record]:
        """``feedback_templates`` or ``form_templates``."""
        created = int(str(self._users[0]["createdAt"]))
        is_feedback = name == "feedback_templates"
        text = FEEDBACK_TEMPLATE if is_feedback else FORM_TEMPLATE
        made = _feedback_fields if is_feedback else _form_fields
        own: Record = {"group": None} if is_feedback else {"secret": False}
        return [
            {
                "id": self._id("template", text), "text": text, "instructions": "", **own,
                "fields": made(self._id), "createdAt": created, "updatedAt": created,
            }
        ]  # fmt: skip

    # The kinds

    def _resumes(self, life: Life, now: int) -> list[Record]:
        if life.origin == "sourced" and life.number % 3:
            return []
        created = life.stages[0][1]
        rng = dice(f"{self._seed}:hiring:resume:{life.number}")
        content = _document(f"{life.name}: resume")
        positions = [
            {
                "org": org, "title": life.job, "summary": None, "location": rng.choice(["Oslo", None]),
                "start": {"year": 2012 + 4 * place, "month": rng.randint(1, 12)},
                "end": None if place else {"year": 2016, "month": 3},
            }
            for place, org in enumerate(("Initech", "Müller & Söhne"))
        ]  # fmt: skip
        school = {
            "org": "Univ. of Jena", "degree": "MSc", "field": "Computing", "summary": None,
            "start": {"year": 2006, "month": 10}, "end": {"year": 2011, "month": 9},
        }  # fmt: skip
        key = self._id("resume", life.number)
        return [
            {
                "id": key, "createdAt": created,
                "file": {
                    "name": f"{life.name}.pdf", "ext": "pdf", "uploadedAt": created,
                    "downloadUrl": self._link(life, "resumes", key), "status": "processed",
                    "size": len(content),
                },
                "parsedData": {"positions": positions, "schools": [school]},
                "_content": base64.b64encode(content).decode(),
            }
        ]  # fmt: skip

    def _files(self, life: Life, now: int) -> list[Record]:
        if life.number % 4 or life.stages[0][1] > now:
            return []
        content = _document(f"{life.name}: cover letter")
        key = self._id("file", life.number)
        return [
            {
                "id": key, "downloadUrl": self._link(life, "files", key), "ext": "pdf",
                "name": "cover letter.pdf", "uploadedAt": life.stages[0][1], "status": "processed",
                "size": len(content), "_content": base64.b64encode(content).decode(),
            }
        ]  # fmt: skip

    def _notes(self, life: Life, now: int) -> list[Record]:
        notes: list[Record] = []
        for place, (_stage, at) in enumerate(life.stages[1:]):
            rng = dice(f"{self._seed}:hiring:note:{life.number}:{place}")
            if rng.random() < 0.5:
                continue
            field = {"type": "note", "text": "", "value": rng.choice(_NOTES), "createdAt": at}
            notes.append(
                {
                    "id": self._id("note", f"{life.number}:{place}"), "text": "New Note",
                    "fields": [field], "user": life.owner, "secret": rng.random() < 0.1,
                    "completedAt": at, "createdAt": at, "deletedAt": None,
                }
            )  # fmt: skip
        return notes

    def _interviews(self, life: Life, now: int) -> list[Record]:
        found: list[Record] = []
        for stage, at in life.stages:
            if stage not in _TALKS or at > now:
                continue
            subject, minutes = _TALKS[stage]
            rng = dice(f"{self._seed}:hiring:talk:{life.number}:{stage}")
            begin = at + rng.randint(1, 6) * _HOUR
            who = self._users[rng.randrange(len(self._users))]
            key = f"{life.number}:{stage}"
            template = self._id("template", FEEDBACK_TEMPLATE)
            is_told = begin + minutes * 60_000 + _HOUR <= now
            found.append(
                {
                    "id": self._id("interview", key), "panel": self._id("panel", key),
                    "subject": f"{subject} - {life.name} - {life.job}", "note": "",
                    "interviewers": [
                        {"email": who["email"], "id": who["id"], "name": who["name"],
                         "feedbackTemplate": template}
                    ],
                    "timezone": "Europe/Berlin", "createdAt": at, "date": begin,
                    "duration": minutes, "location": rng.choice(["call", "Room Ada", ""]),
                    "feedbackTemplate": template,
                    "feedbackForms": [self._id("feedback", key)] if is_told else [],
                    "feedbackReminder": "once", "user": life.owner, "stage": stage,
                    "canceledAt": None, "postings": [life.posting], "gcalEventUrl": None,
                }
            )  # fmt: skip
        return found

    def _panels(self, life: Life, now: int) -> list[Record]:
        return [
            {
                "id": talk["panel"], "applications": [life.application], "canceledAt": None,
                "createdAt": talk["createdAt"], "start": talk["date"],
                "end": int(str(talk["date"])) + int(str(talk["duration"])) * 60_000,
                "externallyManaged": False, "externalUrl": None, "feedbackReminder": "once",
                "interviews": [talk], "note": "", "stage": talk["stage"],
                "timezone": talk["timezone"], "user": talk["user"],
            }
            for talk in self._interviews(life, now)
        ]  # fmt: skip

    def _feedback(self, life: Life, now: int) -> list[Record]:
        found: list[Record] = []
        for talk in self._interviews(life, now):
            forms, people = talk["feedbackForms"], talk["interviewers"]
            if not isinstance(forms, list) or not isinstance(people, list) or not forms:
                continue
            told = int(str(talk["date"])) + int(str(talk["duration"])) * 60_000 + _HOUR
            rng = dice(f"{self._seed}:hiring:feedback:{talk['id']}")
            found.append(
                {
                    "id": forms[0], "type": "interview", "text": FEEDBACK_TEMPLATE,
                    "instructions": "",
                    "fields": _feedback_fields(self._id, rng.choice(_SCORES), rng.choice(_REMARKS)),
                    "baseTemplateId": talk["feedbackTemplate"], "interview": talk["id"],
                    "panel": talk["panel"], "user": people[0]["id"], "createdAt": told,
                    "completedAt": told, "updatedAt": told, "deletedAt": None,
                }
            )  # fmt: skip
        return found

    def _forms(self, life: Life, now: int) -> list[Record]:
        if life.number % 6 or len(life.stages) < 2:
            return []
        at = life.stages[1][1]
        return [
            {
                "id": self._id("form", life.number), "type": "form", "text": FORM_TEMPLATE,
                "instructions": "", "baseTemplateId": self._id("template", FORM_TEMPLATE),
                "fields": _form_fields(self._id, "yes"), "user": life.owner,
                "stage": life.stages[1][0], "createdAt": at, "completedAt": at, "deletedAt": None,
            }
        ]  # fmt: skip

    def _referrals(self, life: Life, now: int) -> list[Record]:
        if life.origin != "referred":
            return []
        at = life.stages[0][1]
        fields = [
            {"type": "text", "text": "How do you know them?", "description": "", "required": False,
             "value": "We were colleagues."},
        ]  # fmt: skip
        return [
            {
                "id": self._id("referral", life.number), "type": "referral",
                "text": REFERRAL_TEMPLATE, "instructions": "",
                "baseTemplateId": self._id("template", REFERRAL_TEMPLATE), "fields": fields,
                "user": life.sourced_by, "referrer": life.sourced_by, "stage": life.stages[0][0],
                "createdAt": at, "completedAt": at,
            }
        ]  # fmt: skip

    def _link(self, life: Life, name: str, key: str) -> str:
        opportunity = self._id("opportunity", life.number)
        return f"https://api.lever.co/v1/opportunities/{opportunity}/{name}/{key}/download"


def _feedback_fields(
    make_id: MakeId, score: str | None = None, remark: str | None = None
) -> list[Record]:
    return [
        {
            "id": make_id("field", "rating"), "type": "score-system", "text": "Rating",
            "description": "", "required": True, "value": score,
            "options": [{"text": text} for text in _SCORES],
        },
        {
            "id": make_id("field", "remarks"), "type": "textarea", "text": "Remarks",
            "description": "", "required": False, "value": remark,
        },
    ]  # fmt: skip


def _form_fields(make_id: MakeId, answer: str | None = None) -> list[Record]:
    return [
        {
            "id": make_id("field", "moves"), "type": "yes-no", "text": "Would you move?",
            "description": "", "required": False, "value": answer,
        }
    ]  # fmt: skip


def _document(text: str) -> bytes:
    """A small file that calls itself a PDF."""
    return b"%PDF-1.4\n% " + text.encode() + b"\n%%EOF\n"
