"""Marketo's assets (``/rest/asset/v1``): browsed, by name, by id; what is written is in ``marketo_asset_writes.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.responses import Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.marketo_asset_writes import AssetWrites, folder_of
from meltano_assets.sandbox.marketo_contents import content_of, form_fields
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_library import PROGRAM_FOLDER, Library
from meltano_assets.sandbox.marketo_wire import MarketoError, envelope, wire_time
from meltano_assets.sandbox.numbers import is_number

#: One asset → its kind, and what the vendor calls it; who is asked for by name alone has no id.
_SINGLE = {
    "program": ("programs", "Program"),
    "staticList": ("staticLists", "Static list"),
    "smartCampaign": ("smartCampaigns", "Smart campaign"),
    "smartList": ("smartLists", "Smart list"),
    "folder": ("folders", "Folder"),
    "email": ("emails", "Email"),
    "emailTemplate": ("emailTemplates", "Email template"),
    "form": ("forms", "Form"),
    "landingPage": ("landingPages", "Landing page"),
    "landingPageTemplate": ("landingPageTemplates", "Landing page template"),
    "snippet": ("snippets", "Snippet"),
    "file": ("files", "File"),
    "segmentation": ("segmentation", "Segmentation"),
    "redirectRule": ("redirectRules", "Redirect rule"),
}
_BY_NAME_ONLY = {"channel": "channels", "tagType": "tagTypes"}


class Assets:
    """Answers requests for assets."""

    def __init__(self, company: Company, faults: FaultBox) -> None:
        self._library = Library(company)
        self._writes = AssetWrites(self._library)
        self._faults = faults

    def answer(self, method: str, path: str, query: Mapping[str, str], desk: Desk) -> Response:
        """The answer to one path below ``/rest/asset/v1``."""
        parts = path.split("/")
        if method == "POST":
            return self._writes.answer(path, query, desk)
        if method != "GET":
            raise MarketoError("603", "Access denied")
        match parts:
            case [kind] if (records := self._library.records(kind, desk)) is not None:
                return self._page(query, _chosen(records, query))
            case ["program", "byTag"]:
                for name in ("tagType", "tagValue"):
                    _needed(query, name)
                # No program of the company carries a tag.
                return self._page(query, [])
            case [one, "byName"] if one in _SINGLE or one in _BY_NAME_ONLY:
                kind = _BY_NAME_ONLY.get(one) or _SINGLE[one][0]
                name = _needed(query, "name")
                records = self._library.records(kind, desk) or []
                return self._page(query, [record for record in records if record["name"] == name])
            case ["form", "fields" | "programMemberFields" as which]:
                return self._page(query, form_fields(which))
            case [one, number] if one in _SINGLE:
                # What is not there is no error here: a warning stands for the result.
                return self._page({}, self._found(one, number, query, desk))
            case [
                "email"
                | "emailTemplate"
                | "form"
                | "landingPage"
                | "landingPageTemplate"
                | "emailTemplates" as one,
                number,
                what,
            ]:
                known = self._known(one.removesuffix("s"), number, query, desk)
                content = content_of(one.removesuffix("s"), what, known)
                if content is not None:
                    return self._page(query if what == "usedBy" else {}, content)
            case ["folder", number, "content" | "tokens" as what]:
                self._known("folder", number, query, desk)
                return self._below(what, int(number), query, desk)
            case ["segmentation", number, "segments"]:
                return self._page({}, [self._known("segmentation", number, query, desk)])
            case ["program" | "smartCampaign" as one, number, "smartList"]:
                return self._page({}, [_smart_list(self._known(one, number, query, desk))])
        raise MarketoError("610", "Requested resource not found")

    def _known(self, one: str, number: str, query: Mapping[str, str], desk: Desk) -> Record:
        """The asset of that id; 702 when there is none."""
        for record in self._found(one, number, query, desk):
            return record
        raise MarketoError("702", f"{_SINGLE[one][1]} with id '{number}' not found")

    def _found(self, one: str, number: str, query: Mapping[str, str], desk: Desk) -> list[Record]:
        kind = _SINGLE[one][0]
        if one == "folder":
            # A program is a folder, too, when it is asked for as one.
            kind_of = _needed(query, "type")
            if kind_of not in ("Folder", "Program"):
                raise MarketoError("701", f"type '{kind_of}' is not valid")
            kind = "programs" if kind_of == "Program" else kind
        records = self._library.records(kind, desk) or []
        found = [record for record in records if str(record["id"]) == number]
        return [_as_folder(r) for r in found] if one == "folder" and kind == "programs" else found

    def _below(self, what: str, folder: int, query: Mapping[str, str], desk: Desk) -> Response:
        """What lies in a folder or program: references, by kind and id; or its tokens."""
        kind_of = query.get("type") or query.get("folderType")
        if what == "tokens":
            own = {"id": folder, "type": kind_of}
            return self._page({}, [{"folder": own, "tokens": desk.tokens(f"{kind_of}:{folder}")}])
        lies: list[Record] = []
        for one, (kind, _title) in _SINGLE.items():
            if one in ("folder", "staticList", "program"):
                continue
            for record in self._library.records(kind, desk) or []:
                if _place_of(record) == (folder, kind_of):
                    lies.append({"id": record["id"], "type": f"{one[0].upper()}{one[1:]}"})
        if kind_of == "Folder":
            for record in self._library.records("folders", desk) or []:
                if record["parent"] == {"id": folder, "type": "Folder"}:
                    lies.append({"id": record["id"], "type": "Folder"})
            for number, program in sorted(desk.programs.items()):
                if _place_of(program)[0] == folder:
                    lies.append({"id": number, "type": "Program"})
        return self._page(query, lies)

    def _page(self, query: Mapping[str, str], records: list[Record]) -> Response:
        """A page by offset; beyond the end a warning stands for the result."""
        offset, most = query.get("offset", "0"), query.get("maxReturn", "20")
        if not is_number(offset) or not is_number(most) or not 1 <= int(most) <= 200:
            raise MarketoError("1003", "Invalid value for 'offset' or 'maxReturn'")
        page = records[int(offset) : int(offset) + int(most)]
        if self._faults.take("repeat_page", "assets"):
            page = records[: int(most)]
        if not page:
            nothing = ["No assets found for the given search criteria."]
            return envelope({"errors": [], "warnings": nothing})
        return envelope({"errors": [], "warnings": [], "result": page})


def _chosen(records: list[Record], query: Mapping[str, str]) -> list[Record]:
    """The assets that the parameters of a browse call leave."""
    tests: list[Callable[[Record], bool]] = []
    if "earliestUpdatedAt" in query:
        earliest = wire_time(query["earliestUpdatedAt"], "earliestUpdatedAt")[:19]
        tests.append(lambda record: str(record["updatedAt"])[:19] >= earliest)
    if "latestUpdatedAt" in query:
        latest = wire_time(query["latestUpdatedAt"], "latestUpdatedAt")[:19]
        tests.append(lambda record: str(record["updatedAt"])[:19] <= latest)
    if "status" in query:
        status = query["status"].lower()
        tests.append(lambda record: str(record.get("status")).lower() == status)
    if "isActive" in query:
        is_active = query["isActive"].lower() in ("true", "1")
        tests.append(lambda record: record.get("isActive", is_active) is is_active)
    if "folder" in query:
        folder = folder_of(query["folder"])
        place = folder["id"], folder["type"]
        tests.append(lambda record: _place_of(record) == place)
    if "root" in query:
        inside = _inside(records, folder_of(query["root"])["id"])
        tests.append(lambda record: record["id"] in inside)
    return [record for record in records if all(test(record) for test in tests)]


def _place_of(record: Record) -> tuple[object, object]:
    folder = record.get("folder")
    if not isinstance(folder, dict):
        return None, None
    return folder.get("value", folder.get("id")), folder.get("type")


def _inside(folders: list[Record], root: object) -> set[object]:
    """A folder and all folders below it."""
    inside: set[object] = {root}
    for folder in folders:
        parent = folder.get("parent")
        if isinstance(parent, dict) and parent["id"] in inside:
            inside.add(folder["id"])
    return inside


def _as_folder(program: Record) -> Record:
    times = {name: program[name] for name in ("name", "description", "createdAt", "updatedAt")}
    return {
        "id": program["id"],
        **times,
        "url": program["url"],
        "folderId": {"id": program["id"], "type": "Program"},
        "folderType": "Marketing Program",
        "parent": {"id": PROGRAM_FOLDER, "type": "Folder"},
        "path": f"/Marketing Activities/Programs/{program['name']}",
        "isArchive": False,
        "isSystem": False,
        "accessZoneId": 1,
        "workspace": "Default",
    }


def _smart_list(asset: Record) -> Record:
    """The smart list that belongs to a campaign or program: it has no rules."""
    names = ("name", "description", "createdAt", "updatedAt", "folder")
    number = asset.get("smartListId") or int(str(asset["id"])) + 20_000
    return {
        "id": number,
        **{name: asset[name] for name in names},
        "url": f"https://app-sandbox.marketo.com/#SL{number}A1",
        "workspace": "Default",
        "rules": {"filterMatchType": "all", "triggers": [], "filters": []},
    }


def _needed(query: Mapping[str, str], name: str) -> str:
    """A parameter that must be there; where folders are of a kind, either name for it will do."""
    value = query.get(name) or (query.get("folderType") if name == "type" else None)
    if not value:
        raise MarketoError("701", f"{name} cannot be blank")
    return value
