"""The schemas of Marketo's objects: fields of leads, companies, opportunities, members; custom objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_schema import MEMBER_FIELDS, WORKSHOP, about_workshops
from meltano_assets.sandbox.marketo_wire import (
    MarketoError,
    batch_size,
    envelope,
    make_token,
    read_token,
    rest_name,
    split_list,
)

#: Lead fields that are the company's.
_COMPANY = frozenset(
    [
        "company",
        "site",
        "billingStreet",
        "billingCity",
        "billingState",
        "billingCountry",
        "billingPostalCode",
        "website",
        "mainPhone",
        "annualRevenue",
        "numberOfEmployees",
        "industry",
        "sicCode",
        "mktoCompanyNotes",
        "externalCompanyId",
        "Company_Size__c",
    ]
)
_OPPORTUNITY = {
    "marketoGUID": "string", "externalOpportunityId": "string", "name": "string",
    "description": "text", "type": "string", "stage": "string", "amount": "currency",
    "probability": "integer", "expectedRevenue": "currency", "quantity": "float",
    "isClosed": "boolean", "isWon": "boolean", "closeDate": "date", "externalCreatedDate": "datetime",
    "lastActivityDate": "date", "leadSource": "string", "createdAt": "datetime", "updatedAt": "datetime",
}  # fmt: skip
_TYPES = (
    "boolean", "currency", "date", "datetime", "email", "float", "integer", "link", "percent",
    "phone", "score", "string", "text", "url",
)  # fmt: skip


def schema_answer(
    parts: list[str], query: Mapping[str, str], described: Callable[[], list[Record]]
) -> Response | None:
    """The answer to a question about schemas; None where it is none."""
    match parts:
        case [name, "schema", "fields", *rest] if name in ("leads", "companies", "opportunities"):
            return _fields(name, _known(name, described), rest, query)
        case ["programs", "members", "schema", "fields", *rest]:
            members = [_field(name, name, kind) for name, kind in MEMBER_FIELDS.items()]
            return _fields("program members", members, rest, query)
        case ["customobjects", "schema"]:
            names = split_list(query.get("names")) or [WORKSHOP]
            return envelope({"result": [_workshop()] if WORKSHOP in names else []})
        case ["customobjects", "schema", "fieldDataTypes"]:
            return envelope({"result": list(_TYPES)})
        case ["customobjects", "schema", "linkableObjects"]:
            links = [{"name": "Lead", "fields": [{"name": "Id", "displayName": "Id",
                      "dataType": "integer"}]}]  # fmt: skip
            return envelope({"result": links})
        case ["customobjects", "schema", name, "describe" | "dependentAssets" as what]:
            if name != WORKSHOP:
                raise MarketoError("1013", f"Object '{name}' not found")
            return envelope({"result": [_workshop()] if what == "describe" else []})
    return None


def _known(name: str, described: Callable[[], list[Record]]) -> list[Record]:
    if name == "opportunities":
        return [_field(field, field, kind) for field, kind in _OPPORTUNITY.items()]
    found = []
    for field in described():
        title = str(field["displayName"])
        known = rest_name(field) if "rest" in field else title
        if name == "leads" or known in _COMPANY:
            number = int(str(field["id"]))
            told = _field(known, title, field["dataType"], field.get("length"))
            is_own = number >= 9_000_000
            found.append({**told, "isCustom": is_own or known.endswith("__c"),
                          "isApiCreated": is_own, **_told(field)})  # fmt: skip
    return found


def _told(field: Record) -> Record:
    """What a client said about a field of its own."""
    names = ("isHidden", "isHtmlEncodingInEmail", "isSensitive", "description")
    return {name: field[name] for name in names if name in field}


def _field(name: str, title: str, kind: object, length: object = None) -> Record:
    return {
        "name": name, "displayName": title, "dataType": kind, "length": length, "isHidden": False,
        "isHtmlEncodingInEmail": True, "isSensitive": False, "isCustom": False,
        "isApiCreated": False,
    }  # fmt: skip


def _fields(
    what: str, fields: list[Record], rest: list[str], query: Mapping[str, str]
) -> Response | None:
    if len(rest) > 1:
        return None
    if rest:
        found = [field for field in fields if field["name"] == rest[0]]
        if not found:
            raise MarketoError("1006", f"Field '{rest[0]}' not found")
        return envelope({"result": found})
    size, begin = batch_size(query), read_token(query.get("nextPageToken"), what)
    content: dict[str, object] = {"result": fields[begin : begin + size]}
    if begin + size < len(fields):
        content["nextPageToken"] = make_token(what, begin + size)
    return envelope(content)


def _workshop() -> Record:
    about = about_workshops()
    listed = about["fields"]
    fields = [
        {**field, "isDedupeField": field["name"] in ("leadId", "workshopName"), "relatedTo": None}
        for field in (listed if isinstance(listed, list) else [])
    ]
    return {
        "apiName": WORKSHOP, "state": "approved",
        "approved": {
            **{name: about[name] for name in ("displayName", "description", "createdAt", "updatedAt",
               "idField", "dedupeFields", "searchableFields", "relationships")},
            "apiName": WORKSHOP, "pluralName": "Workshops", "fields": fields,
            "showInLeadDetail": False, "version": "approved",
        },
    }  # fmt: skip
