"""What is inside Marketo's assets: the sections of e-mails, the fields of forms, the HTML of pages."""

from __future__ import annotations

from html import escape

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.marketo_schema import MEMBER_FIELDS, lead_fields
from meltano_assets.sandbox.marketo_wire import rest_name

#: The form's fields in their order: id, label, data type, whether it must be filled in.
_FORM = (
    ("FirstName", "First Name:", "text", True),
    ("LastName", "Last Name:", "text", True),
    ("Email", "Email Address:", "email", True),
    ("Company", "Company Name:", "text", False),
)
_KINDS = {"string": "string", "email": "email", "phone": "phone", "text": "textArea",
          "integer": "number", "float": "double", "boolean": "checkbox", "date": "date",
          "datetime": "date", "currency": "currency", "url": "url"}  # fmt: skip


def content_of(one: str, what: str, asset: Record) -> list[Record] | None:
    """The part of that name of an asset; None for a part that it does not have."""
    number, name = asset["id"], str(asset["name"])
    shown: Record = {"id": number, "status": asset["status"]}
    match one, what:
        case "email", "content":
            subject = asset["subject"]
            title = str(subject["value"]) if isinstance(subject, dict) else name
            return [_section("headline", 1, title), _section("body", 2, _words(title))]
        case "email", "fullContent":
            return [{**shown, "content": _page(name, _words(name))}]
        case "email", "variables":
            return [
                {"name": "accentColor", "value": "#554488", "moduleScope": False, "moduleId": None}
            ]
        case "emailTemplate", "content":
            return [{**shown, "content": _page(name, '<div id="body" class="mktEditable"></div>')}]
        case "form", "fields":
            return [_form_field(place, *field) for place, field in enumerate(_FORM)]
        case "form", "thankYouPage":
            return [{"id": number, "thankYouList": asset["thankYouList"]}]
        case "landingPage", "content":
            return [
                {"id": "headline", "type": "RichText", "index": 1,
                 "content": {"content": f"<h1>{escape(name)}</h1>", "contentType": "Text"},
                 "followupType": None, "followupValue": None, "formattingOptions": {"zIndex": 15}},
                {"id": "form", "type": "Form", "index": 2, "content": 601,
                 "followupType": "formDefined", "followupValue": None,
                 "formattingOptions": {"zIndex": 15}},
            ]  # fmt: skip
        case "landingPage", "fullContent":
            return [{"id": number, "content": _page(name, f"<h1>{escape(name)}</h1>")}]
        case "landingPage", "variables":
            return [{"id": "heroColor", "type": "color", "value": "#554488"}]
        case "landingPageTemplate", "content":
            return [
                {**shown, "content": _page(name, '<div id="main" class="mktoContent"></div>'),
                 "templateType": asset["templateType"], "enableMunchkin": True}
            ]  # fmt: skip
        case _, "usedBy":
            return []
    return None


def form_fields(which: str) -> list[Record]:
    """The fields that forms can have: of leads (``fields``) or of program members."""
    if which == "fields":
        known = [(rest_name(f), f["dataType"]) for f in lead_fields() if "rest" in f]
    else:
        known = list(MEMBER_FIELDS.items())
    return [
        {
            "id": name, "dataType": _KINDS.get(str(kind), "string"), "description": None,
            "defaultValue": None, "isRequired": False, "isSensitive": False, "isMultiselect": False,
            "isLabelToRight": False, "initiallyChecked": False, "fieldWidth": 150,
            "labelWidth": 100, "maxLength": 255 if kind == "string" else None,
            "validationMessage": "This field is required.", "placeholderText": None,
            "picklistValues": None, "visibleRows": 4 if kind == "text" else 1,
        }
        for name, kind in known
    ]  # fmt: skip


def _section(name: str, index: int, html: str) -> Record:
    value = [{"type": "HTML", "value": html}, {"type": "Text", "value": html}]
    return {
        "htmlId": name, "value": value, "contentType": "Text", "index": index,
        "parentHtmlId": None, "isLocked": False,
    }  # fmt: skip


def _form_field(place: int, name: str, label: str, kind: str, is_needed: bool) -> Record:
    return {
        "id": name, "label": label, "dataType": kind, "validationMessage": "This field is required.",
        "rowNumber": place, "columnNumber": 0, "maxLength": 255, "required": is_needed,
        "formPrefill": True, "isSensitive": False, "hintText": None, "instructions": None,
        "defaultValue": None, "fieldWidth": 150, "labelWidth": 100, "fieldMetaData": {},
        "visibilityRules": {"ruleType": "alwaysShow"},
    }  # fmt: skip


def _words(title: str) -> str:
    return f"<p>Hello {{{{lead.First Name:default=friend}}}}, join us: {escape(title)}.</p>"


def _page(title: str, body: str) -> str:
    return (
        "<!DOCTYPE html>\n<html><head><title>"
        f"{escape(title)}</title></head><body>{body}</body></html>\n"
    )
