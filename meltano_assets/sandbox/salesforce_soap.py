"""The SOAP APIs: partner and enterprise, for records, and the metadata API, which only reads.

The partner WSDL's operations on records are those of REST in another form; what REST has no word for
(converting leads, logging in, who the user is) is done here. Clients bring the WSDL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

from lxml import etree  # type: ignore[import-untyped]

from meltano_assets.sandbox.salesforce_bin import empty, merge, undelete
from meltano_assets.sandbox.salesforce_convert import convert_lead
from meltano_assets.sandbox.salesforce_drafts import draft_from_json
from meltano_assets.sandbox.salesforce_http import Call, Reply
from meltano_assets.sandbox.salesforce_login import SESSION_SECONDS, is_password
from meltano_assets.sandbox.salesforce_mdapi import MetadataApi
from meltano_assets.sandbox.salesforce_org import ORGANIZATION_ID, SalesforceOrg
from meltano_assets.sandbox.salesforce_rest import RestApi, identity
from meltano_assets.sandbox.salesforce_schema import SObject, make_id
from meltano_assets.sandbox.salesforce_values import ApiProblem, RequestProblem
from meltano_assets.sandbox.salesforce_xml import (
    NIL,
    Asked,
    NotSoap,
    answer,
    fault,
    is_nil,
    local,
    not_soap,
    plain,
    query_result,
    record,
    text_of,
    written,
)

_BAD_SESSION = ApiProblem(
    "INVALID_SESSION_ID",
    "Invalid Session ID found in SessionHeader: Illegal Session. Session not found, missing session hash",
)
_MOST_RECORDS = 200
_Entry = TypeVar("_Entry")
_NUMBERS = {"currency", "double", "int", "long", "percent"}


class _Problem(Exception):
    def __init__(self, problem: ApiProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Soap:
    """Answers calls of ``/services/Soap/{u,c,m}``."""

    def __init__(self, org: SalesforceOrg, api: RestApi) -> None:
        self._org = org
        self._api = api
        self._metadata = MetadataApi(org)
        self._operations: dict[str, Callable[[_Request], list[str]]] = {
            "query": lambda r: [self._query(r, "query")],
            "queryAll": lambda r: [self._query(r, "queryAll")],
            "queryMore": lambda r: [self._more(r)],
            "create": lambda r: self._save(r, "POST"),
            "update": lambda r: self._save(r, "PATCH"),
            "upsert": self._upsert,
            "delete": self._delete,
            "retrieve": self._retrieve,
            "search": self._search,
            "convertLead": self._convert,
            "undelete": lambda r: _told(undelete(org, r.few(r.asked.texts("ids")))),
            "emptyRecycleBin": lambda r: _told(empty(org, r.few(r.asked.texts("ids")))),
            "merge": self._merge,
            "describeTabs": self._tabs,
            "describeGlobal": lambda r: [self._described(r, "/sobjects")],
            "describeLayout": self._layout,
            "describeSObject": self._describe,
            "describeSObjects": self._describe,
            "getUpdated": lambda r: [self._changes(r, "updated")],
            "getDeleted": lambda r: [self._changes(r, "deleted")],
            "getUserInfo": lambda r: [f"<result>{_user_info(self._org)}</result>"],
            "getServerTimestamp": self._time,
            "logout": self._logout,
        }

    def answer(self, kind: str, version: str, body: bytes, base: str) -> Reply:
        """The answer to one call; errors are faults."""
        try:
            asked = Asked(body)
        except NotSoap as error:
            return not_soap(str(error))
        if asked.operation == "login" and kind != "m":
            return self._login(kind, version, asked, base)
        if self._org.session_user(asked.header("SessionHeader", "sessionId") or "") is None:
            return fault(kind, _BAD_SESSION, fault_kind="UnexpectedErrorFault")
        if kind == "m":
            return self._metadata.answer(asked)
        operation = self._operations.get(asked.operation)
        if operation is None:
            return not_soap(f"No operation available for request {asked.operation}")
        request = _Request(self._org, self._api, kind, version, asked, base)
        if not self._org.count_request():
            problem = ApiProblem("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
            return fault(kind, problem)
        try:
            results = operation(request)
        except _Problem as error:
            return fault(kind, error.problem)
        used, limit = self._org.api_requests, self._org.daily_api_limit
        told = (
            "<soapenv:Header><LimitInfoHeader><limitInfo>"
            f"<current>{used}</current><limit>{limit}</limit><type>API REQUESTS</type>"
            "</limitInfo></LimitInfoHeader></soapenv:Header>"
        )
        return answer(asked.operation, results, kind, more=told)

    # Sessions

    def _login(self, kind: str, version: str, asked: Asked, base: str) -> Reply:
        if not is_password(self._org, asked.text("username") or "", asked.text("password") or ""):
            words = "Invalid username, password, security token; or user locked out."
            return fault(kind, ApiProblem("INVALID_LOGIN", words))
        organization, base = ORGANIZATION_ID[:15], plain(base)
        result = (
            f"<result><metadataServerUrl>{base}/services/Soap/m/{version}/{organization}"
            "</metadataServerUrl><passwordExpired>false</passwordExpired><sandbox>true</sandbox>"
            f"<serverUrl>{base}/services/Soap/{kind}/{version}/{organization}</serverUrl>"
            f"<sessionId>{plain(self._org.open_session())}</sessionId>"
            f"<userId>{self._org.user_id}</userId>"
            f"<userInfo>{_user_info(self._org)}</userInfo></result>"
        )
        return answer("login", [result], kind)

    def _logout(self, request: _Request) -> list[str]:
        self._org.end_session(request.asked.header("SessionHeader", "sessionId") or "")
        return []

    def _time(self, request: _Request) -> list[str]:
        moment = self._org.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return [written("result", {"timestamp": moment})]

    # Queries

    def _query(self, request: _Request, resource: str) -> str:
        text = request.asked.text("queryString") or ""
        return self._page(request, f"/{resource}?{urlencode({'q': text})}")

    def _more(self, request: _Request) -> str:
        locator = request.asked.text("queryLocator") or ""
        return self._page(request, f"/query/{quote(locator, safe='')}")

    def _page(self, request: _Request, path: str) -> str:
        headers = {}
        if size := request.asked.header("QueryOptions", "batchSize"):
            headers["sforce-query-options"] = f"batchSize={size}"
        page = request.rest("GET", path, headers=headers)
        assert isinstance(page, dict)
        kind = "QueryResult"
        return f'<result xsi:type="{kind}">{query_result(page, request.kind)}</result>'

    def _retrieve(self, request: _Request) -> list[str]:
        sobject = request.sobject(request.asked.text("sObjectType") or "")
        names = [n.strip() for n in (request.asked.text("fieldList") or "").split(",") if n.strip()]
        body = {"ids": request.few(request.asked.texts("ids")), "fields": names or ["Id"]}
        found = request.rest("POST", f"/composite/sobjects/{sobject.name}", body)
        assert isinstance(found, list)
        nothing = '<result xsi:nil="true"/>'
        return [record(r, request.kind, "result") if r else nothing for r in found]

    def _search(self, request: _Request) -> list[str]:
        text = request.asked.text("searchString") or ""
        found = request.rest("GET", f"/search?{urlencode({'q': text})}")
        # REST told a list until version 37.
        held = found["searchRecords"] if isinstance(found, dict) else found
        assert isinstance(held, list)
        records = "".join(
            f"<searchRecords>{record(each, request.kind, 'record')}</searchRecords>"
            for each in held
        )
        return [f"<result><queryId>{make_id('1Q0', 1)}</queryId>{records}</result>"]

    # Records

    def _save(self, request: _Request, method: str) -> list[str]:
        records = [request.record(part) for part in request.few(request.asked.all("sObjects"))]
        body = {"allOrNone": request.is_all_or_none, "records": records}
        return _saved(request.rest(method, "/composite/sobjects", body, **request.rules))

    def _upsert(self, request: _Request) -> list[str]:
        records = [request.record(part) for part in request.few(request.asked.all("sObjects"))]
        name = request.asked.text("externalIDFieldName") or "Id"
        if not records:
            return []
        attributes = records[0]["attributes"]
        assert isinstance(attributes, dict)
        path = f"/composite/sobjects/{quote(str(attributes['type']))}/{quote(name, safe='')}"
        body = {"allOrNone": request.is_all_or_none, "records": records}
        return _saved(request.rest("PATCH", path, body, **request.rules))

    def _delete(self, request: _Request) -> list[str]:
        # Clients that are older than the contract say ``id``, and the vendor takes it.
        ids = request.few(request.asked.texts("ids") or request.asked.texts("id"))
        if not ids:
            return []
        told = {"ids": ",".join(ids), "allOrNone": str(request.is_all_or_none).lower()}
        return _saved(request.rest("DELETE", f"/composite/sobjects?{urlencode(told)}"))

    def _convert(self, request: _Request) -> list[str]:
        results = []
        for part in request.few(request.asked.all("leadConverts")):
            asked = {local(e): e.text or "" for e in part if not is_nil(e)}
            results.append(convert_lead(self._org, asked))
        return _told(results)

    def _merge(self, request: _Request) -> list[str]:
        results = []
        for part in request.few(request.asked.all("request") or request.asked.all("mergeRequests")):
            told = {local(e): e for e in part}
            if "masterRecord" not in told:
                raise _Problem(ApiProblem("MISSING_ARGUMENT", "masterRecord not specified"))
            record = request.record(told["masterRecord"])
            attributes = record["attributes"]
            assert isinstance(attributes, dict)
            sobject = request.sobject(str(attributes["type"]))
            try:
                draft = draft_from_json(self._org.user_schema, sobject, record)
            except RequestProblem as error:
                raise _Problem(error.problems[0]) from error
            others = [e.text or "" for e in part if local(e) == "recordToMergeIds"]
            results.append(merge(self._org, sobject, draft, others))
        return _told(results)

    # Describes and changes

    def _described(self, request: _Request, path: str) -> str:
        told = request.rest("GET", path)
        assert isinstance(told, dict)
        return written("result", _in_soap(told, request.base))

    def _describe(self, request: _Request) -> list[str]:
        names = [part.text or "" for part in request.asked.all("sObjectType")]
        found = [request.sobject(name) for name in request.few(names)]
        return [self._described(request, f"/sobjects/{item.name}/describe") for item in found]

    def _layout(self, request: _Request) -> list[str]:
        sobject = request.sobject(request.asked.text("sObjectType") or "")
        return [self._described(request, f"/sobjects/{sobject.name}/describe/layouts")]

    def _tabs(self, request: _Request) -> list[str]:
        tabs = request.rest("GET", "/tabs")
        assert isinstance(tabs, list)
        shown = [{n: v for n, v in tab.items() if n not in ("name",)} for tab in tabs]
        told = {
            "description": "", "label": "Sales", "logoUrl": "", "namespace": "", "selected": True,
            "tabSetId": make_id("02u", 1), "tabs": shown,
        }  # fmt: skip
        return [written("result", told)]

    def _changes(self, request: _Request, word: str) -> str:
        sobject = request.sobject(request.asked.text("sObjectType") or "")
        told = {
            "start": request.asked.text("startDate") or "",
            "end": request.asked.text("endDate") or "",
        }
        changes = request.rest("GET", f"/sobjects/{sobject.name}/{word}?{urlencode(told)}")
        return written("result", changes)


class _Request:
    """One call of an operation, with the words to have it done by REST."""

    def __init__(
        self, org: SalesforceOrg, api: RestApi, kind: str, version: str, asked: Asked, base: str
    ) -> None:
        self._org = org
        self._api = api
        self.kind = kind
        self._version = version if "." in version else f"{version}.0"
        self.asked = asked
        self.base = base
        self.is_all_or_none = asked.header("AllOrNoneHeader", "allOrNone") == "true"

    @property
    def rules(self) -> dict[str, Mapping[str, str]]:
        """What headers say of duplicates."""
        if self.asked.header("DuplicateRuleHeader", "allowSave") == "true":
            return {"headers": {"sforce-duplicate-rule-header": "allowSave=true"}}
        return {}

    def rest(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> object:
        """What REST answers to the same; its errors are raised."""
        path, _, query = path.partition("?")
        call = Call(
            self._org, method, path, query, dict(headers or {}),
            b"" if body is None else json.dumps(body).encode(),
            version=self._version, base_url=self.base,
        )  # fmt: skip
        reply = self._api.dispatch(call)
        content = reply.content
        if reply.status >= 400:
            first = content[0] if isinstance(content, list) and content else {}
            message, code = first.get("message", ""), first.get("errorCode", "UNKNOWN_EXCEPTION")
            raise _Problem(ApiProblem(str(code), str(message)))
        return json.loads(reply.body()) if content is not None else None

    def few(self, entries: list[_Entry]) -> list[_Entry]:
        """No more than a call may carry."""
        if len(entries) > _MOST_RECORDS:
            message = f"record limit reached. cannot submit more than {_MOST_RECORDS} records into this call"
            raise _Problem(ApiProblem("EXCEEDED_ID_LIMIT", message))
        return entries

    def sobject(self, name: str) -> SObject:
        """The object of that name."""
        found = self._org.user_schema.find(name)
        if found is None:
            message = f"sObject type '{name}' is not supported."
            raise _Problem(ApiProblem("INVALID_TYPE", message))
        return found

    def record(self, part: etree._Element) -> dict[str, object]:
        """A record as REST takes it, by what the object's fields are."""
        name = text_of(part, "type") or _type_of(part)
        sobject = self.sobject(name)
        told: dict[str, object] = {"attributes": {"type": sobject.name}}
        for entry in part:
            field = local(entry)
            if field == "type":
                continue
            if field == "fieldsToNull":
                told[entry.text or ""] = None
            elif is_nil(entry):
                continue
            elif len(entry):
                told[field] = {
                    local(e): e.text or "" for e in entry if local(e) != "type" and not is_nil(e)
                }
            elif field.lower() == "id":
                if entry.text:
                    told["id"] = entry.text
            else:
                told[field] = self._value(sobject, field, entry.text or "")
        return told

    def _value(self, sobject: SObject, name: str, text: str) -> object:
        found = sobject.find(name)
        kind = found.kind if found else "string"
        if kind == "boolean" and text in ("true", "false", "0", "1"):
            return text in ("true", "1")
        if kind in _NUMBERS:
            try:
                return json.loads(text)
            except ValueError:
                message = f"'{text}' is not a valid value for the type xsd:{kind}"
                raise _Problem(ApiProblem("INVALID_FIELD", message)) from None
        return text


def _type_of(part: etree._Element) -> str:
    """The type that an enterprise client names by ``xsi:type``."""
    named = part.get("{http://www.w3.org/2001/XMLSchema-instance}type") or ""
    return named.rpartition(":")[2]


def _told(results: list[dict[str, object]]) -> list[str]:
    """Results as the WSDL has them: what is null says so."""
    told = []
    for result in results:
        pieces = []
        for name in sorted(result):
            value = result[name]
            if name == "errors":
                assert isinstance(value, list)
                value = [_error(p.code, p.message, list(p.fields)) for p in value]
            pieces.append(f'<{name} xsi:nil="true"/>' if value is None else written(name, value))
        told.append(f"<result>{''.join(pieces)}</result>")
    return told


def _saved(results: object) -> list[str]:
    """Results of writes as the WSDL has them."""
    assert isinstance(results, list)
    told = []
    for result in results:
        errors = [
            _error(str(e["statusCode"]), str(e["message"]), list(e.get("fields") or ()))
            for e in result.get("errors") or ()
        ]
        kept: dict[str, object] = {"errors": errors, "success": result["success"]}
        if "created" in result:
            kept["created"] = result["created"]
        key = result.get("id")
        pieces = [
            written(name, kept[name]) if name in kept
            else written("id", key) if key else '<id xsi:nil="true"/>'
            for name in sorted({*kept, "id"})
        ]  # fmt: skip
        told.append(f"<result>{''.join(pieces)}</result>")
    return told


def _error(code: str, message: str, fields: list[str]) -> dict[str, object]:
    return {"fields": fields, "message": message, "statusCode": code}


def _in_soap(value: object, base: str) -> object:
    """A describe as SOAP has it: with pages of the browser instead of addresses of REST."""
    if isinstance(value, list):
        return [_in_soap(entry, base) for entry in value]
    if not isinstance(value, dict):
        return value
    told = {n: _in_soap(v, base) for n, v in value.items() if n != "urls"}
    if "keyPrefix" in told:
        told["keyPrefix"] = NIL if told["keyPrefix"] is None else told["keyPrefix"]
    if "fields" in told and "keyPrefix" in told:
        detail = f"{base}/{{ID}}"
        told |= {"urlDetail": detail, "urlEdit": f"{detail}/e"}
        told["urlNew"] = f"{base}/{told['keyPrefix']}/e"
    return told


def _user_info(org: SalesforceOrg) -> str:
    known = identity(org, "")
    nil = ' xsi:nil="true"'
    return (
        "<accessibilityMode>false</accessibilityMode><chatterExternal>false</chatterExternal>"
        "<currencySymbol>$</currencySymbol><orgAttachmentFileSizeLimit>26214400"
        "</orgAttachmentFileSizeLimit><orgDefaultCurrencyIsoCode>USD</orgDefaultCurrencyIsoCode>"
        "<orgDefaultCurrencyLocale>en_US</orgDefaultCurrencyLocale>"
        "<orgDisallowHtmlAttachments>false</orgDisallowHtmlAttachments>"
        "<orgHasPersonAccounts>false</orgHasPersonAccounts>"
        f"<organizationId>{ORGANIZATION_ID}</organizationId>"
        "<organizationMultiCurrency>false</organizationMultiCurrency>"
        "<organizationName>Sandbox Company</organizationName>"
        "<profileId>00eSb0000000001AAA</profileId>"
        f"<roleId{nil}/><sessionSecondsValid>{SESSION_SECONDS}</sessionSecondsValid>"
        f"<userDefaultCurrencyIsoCode{nil}/>"
        f"<userEmail>{plain(str(known['email']))}</userEmail>"
        f"<userFullName>{plain(str(known['display_name']))}</userFullName>"
        f"<userId>{org.user_id}</userId><userLanguage>en_US</userLanguage>"
        "<userLocale>en_US</userLocale>"
        f"<userName>{plain(str(known['username']))}</userName>"
        "<userTimeZone>GMT</userTimeZone><userType>Standard</userType>"
        "<userUiSkin>Theme3</userUiSkin>"
    )
