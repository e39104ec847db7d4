"""What the org tells of itself: describes, layouts, list views, tabs, limits and counts of records.

Belongs here: resources that only read and tell no record. The org has one page layout and two list
views an object, made from its fields as Salesforce makes the first ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import format_datetime

from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.salesforce_http import (
    Call,
    Reply,
    bad_request,
    header_time,
    not_allowed,
    not_found,
)
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_query import compile_soql
from meltano_assets.sandbox.salesforce_schema import Field, SObject, make_id

_MASTER = "012000000000000AAA"
_LIST_ROWS = 25
_MAX_LIST_ROWS = 2000
_LIST_COLUMNS = 6
_TABS = ("Account", "Contact", "Lead", "Opportunity", "Campaign", "Case", "Task", "Host__c")
_HEADING = "Information"


class Metadata:
    """The answers about the org itself."""

    def __init__(self, org: SalesforceOrg) -> None:
        self.org = org

    # resources of the root

    def limits(self, call: Call, rest: list[str]) -> Reply:
        """``/limits`` and ``/limits/recordCount``."""
        _reads(call)
        if [part.lower() for part in rest] == ["recordcount"]:
            return self._counts(call)
        if rest:
            raise not_found()
        limit, used = self.org.daily_api_limit, self.org.api_requests
        # What limits batches was called otherwise until version 48.
        batches = "DailyBulkApiBatches" if float(call.version) >= 49 else "DailyBulkApiRequests"
        plenty = {"Max": 100_000_000, "Remaining": 100_000_000}
        return Reply(
            200,
            {
                "ConcurrentAsyncGetReportInstances": {"Max": 200, "Remaining": 200},
                "DailyApiRequests": {"Max": limit, "Remaining": max(0, limit - used)},
                "DailyAsyncApexExecutions": {"Max": 250_000, "Remaining": 250_000},
                batches: {"Max": 15_000, "Remaining": 15_000},
                "DailyBulkV2QueryFileStorageMB": {"Max": 976_562, "Remaining": 976_562},
                "DailyBulkV2QueryJobs": {"Max": 10_000, "Remaining": 10_000},
                "DailyStreamingApiEvents": {"Max": 200_000, "Remaining": 200_000},
                "DataStorageMB": {"Max": 10_240, "Remaining": 10_000},
                "FileStorageMB": {"Max": 10_240, "Remaining": 10_240},
                "HourlyODataCallout": {"Max": 10_000, "Remaining": 10_000},
                "MassEmail": {"Max": 5_000, "Remaining": 5_000},
                "SingleEmail": {"Max": 5_000, "Remaining": 5_000},
                "DailyBulkV2IngestRecords": plenty,
            },
        )

    def _counts(self, call: Call) -> Reply:
        """How many records objects have; the vendor's numbers are approximate, these are not."""
        schema = self.org.user_schema
        wanted = [name.strip() for name in call.params.get("sObjects", "").split(",")]
        found = [schema.find(name) for name in wanted if name]
        objects = [item for item in found if item] if found else list(schema.objects.values())
        reader = self.org.reader()
        counts = []
        for item in objects:
            living = ' WHERE "IsDeleted" = 0' if item.has_is_deleted else ""
            count = reader.execute(f'SELECT count(*) FROM "{item.name}"{living}').fetchone()[0]
            counts.append({"count": count, "name": item.name})
        return Reply(200, {"sObjects": counts})

    def nothing(self, call: Call, rest: list[str]) -> Reply:
        """``/recent`` and ``/quickActions``: nobody looks at records in a browser here."""
        if rest:
            raise not_found()
        _reads(call)
        return Reply(200, [])

    def tabs(self, call: Call, rest: list[str]) -> Reply:
        """``/tabs``."""
        if rest:
            raise not_found()
        _reads(call)
        return Reply(
            200,
            [
                {
                    "colors": [],
                    "custom": item.custom,
                    "iconUrl": "",
                    "icons": [],
                    "label": item.label_plural,
                    "miniIconUrl": "",
                    "name": item.name if item.custom else f"standard-{item.name}",
                    "sobjectName": item.name,
                    "url": f"{call.base_url}/{item.key_prefix}/o",
                }
                for item in self._tabbed()
            ],
        )

    def theme(self, call: Call, rest: list[str]) -> Reply:
        """``/theme``."""
        if rest:
            raise not_found()
        _reads(call)
        items = [{"colors": [], "icons": [], "name": item.name} for item in self._tabbed()]
        return Reply(200, {"themeItems": items})

    def _tabbed(self) -> list[SObject]:
        return [item for name in _TABS if (item := self.org.user_schema.find(name))]

    # describes

    def global_describe(self, call: Call) -> Reply:
        """``/sobjects``."""
        _reads(call)
        return self._unless_known(call, lambda: self.org.user_schema.describe_global(call.version))

    def describe(self, call: Call, sobject: SObject, rest: Sequence[str]) -> Reply:
        """``/sobjects/{object}/describe`` and what lies below."""
        _reads(call)
        if not rest:
            return self._unless_known(
                call, lambda: self.org.user_schema.describe(sobject, call.version)
            )
        word, more = rest[0].lower(), list(rest[1:])
        if more and (len(more) > 1 or more[0] not in (_MASTER, _MASTER[:15], "primary")):
            raise not_found()
        base = call.url(f"/sobjects/{sobject.name}/describe")
        if word == "layouts" and more != ["primary"]:
            return Reply(200, _layout(sobject) if more else _layouts(sobject, base))
        if word == "compactlayouts":
            return Reply(200, _compact_layout(sobject) if more else _compact_layouts(sobject, base))
        if word == "approvallayouts" and not more:
            return Reply(200, {"approvalLayouts": []})
        raise not_found()

    def _unless_known(self, call: Call, describe: Callable[[], dict[str, object]]) -> Reply:
        """304 when nothing changed since ``If-Modified-Since``."""
        changed = self.org.schema_changed_at.replace(microsecond=0)
        headers = {"Last-Modified": format_datetime(changed, usegmt=True)}
        since = header_time(call.headers.get("if-modified-since"))
        if since is not None and changed <= since:
            return Reply(304, headers=headers)
        return Reply(200, describe(), headers)

    def quick_actions(self, call: Call, rest: Sequence[str]) -> Reply:
        """``/sobjects/{object}/quickActions``: nobody made any."""
        _reads(call)
        if rest:
            raise not_found()
        return Reply(200, [])

    # list views

    def list_views(self, call: Call, sobject: SObject, rest: Sequence[str]) -> Reply:
        """``/sobjects/{object}/listviews`` and what lies below."""
        _reads(call)
        views = {view.view_id: view for view in _views(sobject)}
        base = call.url(f"/sobjects/{sobject.name}/listviews")
        if not rest:
            return Reply(
                200,
                {
                    "done": True,
                    "listviews": [view.entry(base) for view in views.values()],
                    "nextRecordsUrl": None,
                    "size": len(views),
                    "sobjectType": sobject.name,
                },
            )
        view = next((v for key, v in views.items() if rest[0] in (key, key[:15])), None)
        word = rest[1].lower() if len(rest) == 2 else ""
        if view is None or len(rest) > 2:
            raise not_found()
        if len(rest) == 1:
            return Reply(200, view.entry(base))
        if word == "describe":
            return Reply(200, view.describe())
        if word == "results":
            return self._results(call, view)
        raise not_found()

    def view_query(self, view_id: str) -> str | None:
        """The SOQL of a list view; None where there is no such view."""
        for sobject in self.org.user_schema.objects.values():
            for view in _views(sobject):
                if view_id[:15] == view.view_id[:15]:
                    return view.query
        return None

    def _results(self, call: Call, view: _ListView) -> Reply:
        limit = _number(call, "limit", _LIST_ROWS, _MAX_LIST_ROWS)
        offset = _number(call, "offset", 0, _MAX_LIST_ROWS)
        compiled = compile_soql(self.org, view.query, include_deleted=False)
        reader = self.org.reader()
        rows = compiled.row_numbers(reader)
        records = compiled.page(reader, rows[offset : offset + limit], call.version)
        return Reply(
            200,
            {
                "columns": view.columns(),
                "developerName": view.name,
                "done": offset + limit >= len(rows),
                "id": view.view_id,
                "label": view.label,
                "records": [
                    {
                        "columns": [
                            {"fieldNameOrPath": name, "value": _shown(record.get(name))}
                            for name in view.paths()
                        ]
                    }
                    for record in records
                ],
                "size": len(records),
            },
        )


class _ListView:
    """A list view that every object has."""

    def __init__(self, sobject: SObject, number: int, name: str, label: str, where: str) -> None:
        self.sobject = sobject
        self.name = name
        self.label = label
        self.where = where
        # The number is that of the view; the prefix of its object keeps ids of objects apart.
        self.view_id = make_id("00B", number, sobject.key_prefix)
        self.shown = _columns(sobject)
        self.query = (
            f"SELECT {', '.join(self.paths())} FROM {sobject.name}{where} "
            f"ORDER BY {self.order} ASC NULLS FIRST, Id ASC NULLS FIRST"
        )

    @property
    def order(self) -> str:
        return self.shown[0].name if self.shown else "Id"

    def paths(self) -> list[str]:
        """The columns that are asked for, those behind the shown ones too."""
        names = [field.name for field in self.shown]
        hidden = ("Id", "CreatedDate", "LastModifiedDate", "SystemModstamp")
        return list(dict.fromkeys([*names, *(n for n in hidden if self.sobject.find(n))]))

    def entry(self, base: str) -> dict[str, object]:
        url = f"{base}/{self.view_id}"
        return {
            "describeUrl": f"{url}/describe",
            "developerName": self.name,
            "id": self.view_id,
            "label": self.label,
            "resultsUrl": f"{url}/results",
            "soqlCompatible": True,
            "url": url,
        }

    def columns(self) -> list[dict[str, object]]:
        shown = {field.name for field in self.shown}
        columns: list[dict[str, object]] = []
        for name in self.paths():
            field = self.sobject.find(name)
            if field is None:
                continue
            is_text = field.describe()["soapType"] == "xsd:string"
            is_first = name == self.order
            columns.append(
                {
                    "ascendingLabel": "A-Z" if is_text else "0-9",
                    "descendingLabel": "Z-A" if is_text else "9-0",
                    "fieldNameOrPath": name,
                    "hidden": name not in shown,
                    "label": field.label,
                    "selectListItem": name,
                    "sortDirection": "ascending" if is_first else None,
                    "sortIndex": 0 if is_first else None,
                    "sortable": bool(field.describe()["sortable"]),
                    "type": field.kind,
                }
            )
        return columns

    def describe(self) -> dict[str, object]:
        conditions = []
        if self.where:
            conditions = [{"field": "CreatedDate", "operator": "equals", "values": ["THIS_WEEK"]}]
        order = {"fieldNameOrPath": self.order, "nullsPosition": "first"}
        return {
            "columns": self.columns(),
            "id": self.view_id,
            "orderBy": [
                {**order, "sortDirection": "ascending"},
                {"fieldNameOrPath": "Id", "nullsPosition": "first", "sortDirection": "ascending"},
            ],
            "query": self.query,
            "scope": "everything",
            "sobjectType": self.sobject.name,
            "whereCondition": {"conditions": conditions, "conjunction": "and"},
        }


def _views(sobject: SObject) -> list[_ListView]:
    plural = "".join(sobject.label_plural.split())
    views = [_ListView(sobject, 1, f"All{plural}", f"All {sobject.label_plural}", "")]
    if sobject.find("CreatedDate"):
        where = " WHERE CreatedDate = THIS_WEEK"
        views.append(_ListView(sobject, 2, "NewThisWeek", "New This Week", where))
    return views


def _columns(sobject: SObject) -> list[Field]:
    """The fields a list shows: the name first, then what describes a record in few words."""
    usable = [f for f in sobject.fields if f.is_filterable and not f.is_compound and f.kind != "id"]
    names = [f for f in usable if f.name_field]
    others = [f for f in usable if not f.name_field and f.createable and f.kind != "reference"]
    return [*names, *others][:_LIST_COLUMNS]


def _shown(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else str(value)


def _number(call: Call, name: str, default: int, largest: int) -> int:
    text = call.params.get(name, str(default))
    if not is_number(text) or int(text) > largest:
        raise bad_request(
            "INVALID_QUERY_LOCATOR", f"The {name} must be from 0 to {largest}: {text}"
        )
    return int(text)


# layouts


def _item(field: Field, order: int) -> dict[str, object]:
    component = {
        "details": field.describe(),
        "displayLines": 1,
        "tabOrder": order,
        "type": "Field",
        "value": field.name,
    }
    return {
        "editableForNew": field.createable,
        "editableForUpdate": field.updateable,
        "label": field.label,
        "layoutComponents": [component],
        "placeholder": False,
        "required": field.is_required,
    }


def _layout_id(sobject: SObject) -> str:
    return make_id("00h", 1, sobject.key_prefix)


def _layout(sobject: SObject) -> dict[str, object]:
    """The page layout: every field that a person fills, two in a row."""

    def section(fields: Sequence[Field]) -> dict[str, object]:
        items = [_item(field, order) for order, field in enumerate(fields, 1)]
        rows = [
            {"layoutItems": items[start : start + 2], "numItems": len(items[start : start + 2])}
            for start in range(0, len(items), 2)
        ]
        return {
            "collapsed": False,
            "columns": 2,
            "heading": f"{sobject.label} {_HEADING}",
            "layoutRows": rows,
            "layoutSectionId": make_id("01B", 1, sobject.key_prefix),
            "parentLayoutId": _layout_id(sobject),
            "rows": len(rows),
            "tabOrder": "LeftToRight",
            "useCollapsibleSection": False,
            "useHeading": True,
        }

    shown = [f for f in sobject.fields if f.kind != "id" and not f.is_compound]
    return {
        "buttonLayoutSection": None,
        "detailLayoutSections": [section(shown)],
        "editLayoutSections": [section([f for f in shown if f.createable or f.updateable])],
        "feedView": None,
        "highlightsPanelLayoutSection": None,
        "id": _layout_id(sobject),
        "multirowEditLayoutSections": [],
        "offlineLinks": [],
        "quickActionList": {"quickActionListItems": []},
        "relatedContent": None,
        "relatedLists": [],
        "saveOptions": [],
    }


def _layouts(sobject: SObject, base: str) -> dict[str, object]:
    mapping = {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": True,
        "developerName": "Master",
        "layoutId": _layout_id(sobject),
        "master": True,
        "name": "Master",
        "picklistsForRecordType": [
            {"picklistName": f.name, "picklistValues": f.describe()["picklistValues"]}
            for f in sobject.fields
            if f.kind == "picklist"
        ],
        "recordTypeId": _MASTER,
        "urls": {"layout": f"{base}/layouts/{_MASTER}"},
    }
    return {
        "layouts": [_layout(sobject)],
        "recordTypeMappings": [mapping],
        "recordTypeSelectorRequired": [False],
    }


def _compact_layout(sobject: SObject) -> dict[str, object]:
    return {
        "actions": [],
        "fieldItems": [_item(field, 1) for field in _columns(sobject)[:1]],
        "id": None,
        "imageItems": [],
        "label": "System Default",
        "name": "SYSTEM",
        "objectType": sobject.name,
    }


def _compact_layouts(sobject: SObject, base: str) -> dict[str, object]:
    return {
        "compactLayouts": [_compact_layout(sobject)],
        "defaultCompactLayoutId": None,
        "recordTypeCompactLayoutMappings": [
            {
                "available": True,
                "compactLayoutId": None,
                "compactLayoutName": "SYSTEM",
                "recordTypeId": _MASTER,
                "recordTypeName": "Master",
                "urls": {"compactLayout": f"{base}/compactLayouts/{_MASTER}"},
            }
        ],
        "urls": {"primary": f"{base}/compactLayouts/primary"},
    }


def _reads(call: Call) -> None:
    if call.method not in ("GET", "HEAD"):
        raise not_allowed(call.method, "GET", "HEAD")
