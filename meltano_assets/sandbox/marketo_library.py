"""Marketo's assets as records: what the asset services list, by kind.

Programs, static lists and smart campaigns are the desk's; folders, channels, tags, and the one form,
landing page and templates are as old as the subscription; every program has the e-mail that its
activities speak of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_marketing import BEGAN, CHANNELS, FIRST_MAILING
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_desk import Desk

_ROOTS = ((1, "Design Studio"), (2, "Marketing Activities"), (3, "Lead Database"))
#: Folder → what it is called, its parent, and of what kind it is.
_FOLDERS = {
    20: ("Programs", 2, "Marketing Folder"),
    30: ("Landing Pages", 1, "Landing Page"),
    31: ("Forms", 1, "Landing Page Form"),
    32: ("Emails", 1, "Email"),
    33: ("Templates", 32, "Email Template"),
}
PROGRAM_FOLDER = 20
_EMAIL_TEMPLATE, _PAGE_TEMPLATE = 301, 302
#: Programs of a channel move through these: name, step, success.
_PROGRESSION = (
    ("Not in Program", 0, False),
    ("Member", 10, False),
    ("Registered", 20, False),
    ("Responded", 30, True),
)
_PROGRAM_TYPES = {
    "Default": "program",
    "Event": "event",
    "Event with Webinar": "webinar",
    "Email": "email",
}


class Library:
    """The records of every kind of asset."""

    def __init__(self, company: Company) -> None:
        began = f"{company.clock.stamp(BEGAN)[:19]}Z+0000"
        self._times: Record = {"createdAt": began, "updatedAt": began}

    def records(self, kind: str, desk: Desk) -> list[Record] | None:
        """The assets of a kind by its plural name (``smartCampaigns``); None for no such kind."""
        maker = _KINDS.get(kind)
        return None if maker is None else list(maker(self, desk))

    def _programs(self, desk: Desk) -> Iterable[Record]:
        return ({"tags": [], **program} for _, program in sorted(desk.programs.items()))

    def _lists(self, desk: Desk) -> Iterable[Record]:
        return (static_list(record) for _, record in sorted(desk.lists.items()))

    def _campaigns(self, desk: Desk) -> Iterable[Record]:
        for number, record in sorted(desk.campaigns.items()):
            program = record.get("programId")
            is_trigger = record["type"] == "trigger"
            made: Record = {
                "id": number,
                "name": record["name"],
                "description": record.get("description"),
                "createdAt": f"{record['createdAt']}+0000",
                "updatedAt": f"{record['updatedAt']}+0000",
                "folder": _in_program(desk, program),
                "status": "Active" if is_trigger and record["active"] else "Finished",
                "type": record["type"],
                "isSystem": False,
                "isActive": record["active"],
                "isRequestable": False,
                "isCommunicationLimitEnabled": False,
                "recurrence": {"weekdayOnly": False},
                "qualificationRuleType": "any" if is_trigger else "once",
                "workspace": record.get("workspaceName") or "Default",
                "smartListId": number + 10_000,
                "flowId": number,
                "computedUrl": f"https://app-sandbox.marketo.com/#SC{number}A1",
            }
            if program is not None:
                made["parentProgramId"] = program
            yield made

    def _folders(self, desk: Desk) -> Iterable[Record]:
        for number, name in _ROOTS:
            yield self._folder(number, name, None, "Zone", f"/{name}")
        paths = {number: f"/{name}" for number, name in _ROOTS}
        for number, (name, parent, kind) in _FOLDERS.items():
            paths[number] = f"{paths[parent]}/{name}"
            yield self._folder(number, name, parent, kind, paths[number])
        yield from desk.own("folders").values()

    def _folder(self, number: int, name: str, parent: int | None, kind: str, path: str) -> Record:
        return {
            "id": number,
            "name": name,
            "description": None,
            **self._times,
            "url": None,
            "folderId": {"id": number, "type": "Folder"},
            "folderType": kind,
            "parent": None if parent is None else {"id": parent, "type": "Folder"},
            "path": path,
            "isArchive": False,
            "isSystem": parent is None,
            "accessZoneId": 1,
            "workspace": "Default",
        }

    def _channels(self, desk: Desk) -> Iterable[Record]:
        kinds = dict([*CHANNELS.values(), ("Operational", "Default")])
        for number, (name, kind) in enumerate(sorted(kinds.items()), 1):
            yield {
                "id": number,
                "name": name,
                "applicableProgramType": _PROGRAM_TYPES[kind],
                "progressionStatuses": [
                    {
                        "name": status,
                        "description": None,
                        "hidden": False,
                        "type": None,
                        "step": step,
                        "success": is_success,
                    }
                    for status, step, is_success in _PROGRESSION
                ],
                **self._times,
            }

    def _emails(self, desk: Desk) -> Iterable[Record]:
        for number, program in sorted(desk.company_programs.items()):
            yield {
                "id": FIRST_MAILING + number,
                "name": f"{program['name']}.Invitation",
                "description": "",
                "createdAt": program["createdAt"],
                "updatedAt": program["createdAt"],
                "url": f"https://app-sandbox.marketo.com/#EM{FIRST_MAILING + number}A1",
                "subject": _text(program["name"]),
                "fromName": _text("Meltano Sandbox"),
                "fromEmail": _text("hello@meltano-sandbox.com"),
                "replyEmail": _text("hello@meltano-sandbox.com"),
                "folder": _in_program(desk, number),
                "operational": False,
                "textOnly": False,
                "publishToMSI": False,
                "webView": False,
                "status": "approved",
                "template": _EMAIL_TEMPLATE,
                "workspace": "Default",
                "version": 2,
                "autoCopyToText": True,
                "preHeader": None,
                "ccFields": None,
            }
        yield from desk.own("emails").values()

    def _forms(self, desk: Desk) -> Iterable[Record]:
        yield {
            "id": 601,
            "name": "Free trial",
            "description": "",
            **self._times,
            "url": "https://app-sandbox.marketo.com/#FO601B2",
            "status": "approved",
            "theme": "simple",
            "language": "English",
            "locale": "en_US",
            "progressiveProfiling": False,
            "labelPosition": "left",
            "fontFamily": "Helvetica",
            "fontSize": "13px",
            "folder": _folder_of(31),
            "knownVisitor": {"type": "form", "template": None},
            "thankYouList": [
                {"followupType": "url", "followupValue": "/thanks/", "default": True},
            ],
            "buttonLocation": 120,
            "buttonLabel": "Submit",
            "waitingLabel": "Please Wait",
        }

    def _pages(self, desk: Desk) -> Iterable[Record]:
        yield {
            "id": 501,
            "name": "free-trial",
            "title": "Free trial",
            "description": "",
            **self._times,
            "URL": "https://pages.meltano-sandbox.com/free-trial.html",
            "computedUrl": "https://app-sandbox.marketo.com/#LP501B2",
            "folder": _folder_of(30),
            "status": "approved",
            "template": _PAGE_TEMPLATE,
            "workspace": "Default",
            "formPrefill": False,
            "mobileEnabled": False,
            "keywords": None,
            "robots": "index, follow",
            "customHeadHTML": None,
            "facebookOgTags": None,
        }

    def _email_templates(self, desk: Desk) -> Iterable[Record]:
        yield self._template(_EMAIL_TEMPLATE, "Invitation", "EMT")

    def _page_templates(self, desk: Desk) -> Iterable[Record]:
        yield self._template(_PAGE_TEMPLATE, "Blank", "LT") | {"templateType": "freeForm"}

    def _template(self, number: int, name: str, letters: str) -> Record:
        return {
            "id": number,
            "name": name,
            "description": "",
            **self._times,
            "url": f"https://app-sandbox.marketo.com/#{letters}{number}B2",
            "folder": _folder_of(33),
            "status": "approved",
            "workspace": "Default",
            "version": 2,
        }

    def _nothing(self, desk: Desk) -> Iterable[Record]:
        return ()


_KINDS: Mapping[str, Callable[[Library, Desk], Iterable[Record]]] = {
    "programs": Library._programs,
    "staticLists": Library._lists,
    "smartCampaigns": Library._campaigns,
    "folders": Library._folders,
    "channels": Library._channels,
    "emails": Library._emails,
    "forms": Library._forms,
    "landingPages": Library._pages,
    "emailTemplates": Library._email_templates,
    "landingPageTemplates": Library._page_templates,
    **dict.fromkeys(
        (
            "tagTypes", "smartLists", "snippets", "files", "segmentation", "redirectRules",
            "landingPageDomains",
        ),
        Library._nothing,
    ),
}  # fmt: skip


def static_list(record: Record) -> Record:
    """A static list as the asset services show it."""
    number = record["id"]
    return {
        "folder": {"id": PROGRAM_FOLDER, "type": "Folder"},
        "url": None,
        "computedUrl": f"https://app-sandbox.marketo.com/#ST{number}A1",
        "workspace": "Default",
        **record,
    }


def _text(value: object) -> Record:
    return {"type": "Text", "value": value}


def _folder_of(number: int) -> Record:
    return {"type": "Folder", "value": number, "folderName": _FOLDERS[number][0]}


def _in_program(desk: Desk, number: object) -> Record:
    program = desk.programs.get(number) if isinstance(number, int) else None
    if program is None:
        return {"type": "Folder", "value": PROGRAM_FOLDER, "folderName": _FOLDERS[20][0]}
    return {"type": "Program", "value": number, "folderName": program["name"]}
