"""Marketo's assets (``/rest/asset/v1``): programs, folders, static lists, smart campaigns."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_marketing import BEGAN
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.marketo_desk import Desk
from meltano_assets.sandbox.marketo_wire import MarketoError, envelope, wire_time
from meltano_assets.sandbox.numbers import is_number


class Assets:
    """Answers requests for assets."""

    def __init__(self, company: Company, faults: FaultBox) -> None:
        self._company = company
        self._faults = faults

    def answer(self, method: str, path: str, query: Mapping[str, str], desk: Desk) -> Response:
        """The answer to one path below ``/rest/asset/v1``."""
        parts = path.split("/")
        if method == "POST" and parts[0] in ("staticLists", "staticList"):
            return _write_list(parts[1:], query, desk)
        if method != "GET":
            raise MarketoError("603", "Access denied")
        match parts:
            case ["programs"]:
                programs = [desk.programs[number] for number in sorted(desk.programs)]
                for name, is_after in (("earliestUpdatedAt", True), ("latestUpdatedAt", False)):
                    if name in query:
                        bound = wire_time(query[name], name)[:19]
                        programs = [
                            p
                            for p in programs
                            if (str(p["updatedAt"])[:19] >= bound) is is_after
                            or str(p["updatedAt"])[:19] == bound
                        ]
                if "status" in query:
                    programs = [p for p in programs if p["status"] == query["status"]]
                return self._page(query, programs)
            case ["program", "byName"]:
                return self._page(
                    query,
                    [p for p in desk.programs.values() if p["name"] == query.get("name")],
                )
            case ["program", number] if is_number(number):
                program = desk.programs.get(int(number))
                if program is None:
                    raise MarketoError("702", f"Program with id '{number}' not found")
                return self._page(query, [{**program, "tags": []}])
            case ["folders"]:
                return self._page(query, _folders(self._company))
            case ["channels"]:
                return self._page(query, [])
            case ["tagTypes"] | ["smartLists"]:
                return self._page(query, [])
            case ["staticLists"]:
                return self._page(query, [_static_list(r) for _, r in sorted(desk.lists.items())])
            case ["staticList", "byName"]:
                named = [r for r in desk.lists.values() if r["name"] == query.get("name")]
                return self._page(query, [_static_list(record) for record in named])
            case ["staticList", number]:
                return self._page(query, [_static_list(_known_list(number, desk))])
            case ["smartCampaigns"]:
                return self._page(
                    query,
                    [
                        {**record, "isActive": record["active"], "isSystem": False}
                        for _number, record in sorted(desk.campaigns.items())
                    ],
                )
        raise MarketoError("610", "Requested resource not found")

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


def _static_list(record: Record) -> Record:
    folder = {"id": 20, "type": "Folder"}
    return {"folder": folder, "url": None, "workspace": "Default", **record}


def _known_list(number: str, desk: Desk) -> Record:
    found = desk.lists.get(int(number)) if is_number(number) else None
    if found is None:
        raise MarketoError("702", f"Static list with id '{number}' not found")
    return found


def _write_list(parts: list[str], query: Mapping[str, str], desk: Desk) -> Response:
    """Makes, renames or deletes a static list."""
    match parts:
        case []:
            for name in ("name", "folder"):
                if not query.get(name):
                    raise MarketoError("701", f"{name} cannot be blank")
            if any(record["name"] == query["name"] for record in desk.lists.values()):
                raise MarketoError("709", "Static list with the same name already exists")
            try:
                folder = orjson.loads(query["folder"])
            except ValueError:
                raise MarketoError("701", "folder is not valid") from None
            now = desk.stamp()
            record: Record = {
                "id": desk.new_id(),
                "name": query["name"],
                "description": query.get("description"),
                "createdAt": now,
                "updatedAt": now,
                "workspaceName": "Default",
                "folder": folder,
            }
            desk.write_list(int(str(record["id"])), record)
        case [number]:
            changed = {n: query[n] for n in ("name", "description") if n in query}
            record = {**_known_list(number, desk), **changed, "updatedAt": desk.stamp()}
            desk.write_list(int(number), record)
        case [number, "delete"]:
            record = {"id": int(str(_known_list(number, desk)["id"]))}
            desk.delete_list(int(number))
        case _:
            raise MarketoError("610", "Requested resource not found")
    desk.keep()
    told = record if len(record) == 1 else _static_list(record)
    return envelope({"errors": [], "warnings": [], "result": [told]})


def _folders(company: Company) -> list[Record]:
    """The root folders, which are as old as the subscription."""
    began = f"{company.clock.stamp(BEGAN)[:19]}Z+0000"
    return [
        {
            "id": number,
            "name": name,
            "description": None,
            "createdAt": began,
            "updatedAt": began,
            "url": None,
            "folderId": {"id": number, "type": "Folder"},
            "folderType": "Zone",
            "parent": None,
            "path": f"/{name}",
            "isArchive": False,
            "isSystem": True,
            "accessZoneId": 1,
            "workspace": "Default",
        }
        for number, name in ((1, "Design Studio"), (2, "Marketing Activities"))
    ]
