"""The SOAP APIs of the simulated Salesforce: records, conversion of leads, the bin, metadata (W2)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import pytest
import requests

from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id

_ENVELOPE = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns="urn:partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "<s:Header><SessionHeader><sessionId>{session}</sessionId></SessionHeader>{headers}</s:Header>"
    "<s:Body>{body}</s:Body></s:Envelope>"
)


def _call(api: Api, body: str, *, kind: str = "u", headers: str = "") -> requests.Response:
    session = str(api.session.headers["Authorization"]).partition(" ")[2]
    content = _ENVELOPE.format(session=session, body=body, headers=headers)
    address = f"{api.base}/services/Soap/{kind}/59.0/00D"
    return requests.post(address, data=content.encode(), timeout=20)


def _read(element: ET.Element) -> Any:
    """An element as text, None, or a dict of lists and values."""
    if element.get("{http://www.w3.org/2001/XMLSchema-instance}nil") == "true":
        return None
    if not len(element):
        return element.text or ""
    told: dict[str, Any] = {}
    for part in element:
        name, value = part.tag.rpartition("}")[2], _read(part)
        if name in told:
            held = told[name] if isinstance(told[name], list) else [told[name]]
            told[name] = [*held, value]
        else:
            told[name] = value
    return told


def _results(answer: requests.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    root = ET.fromstring(answer.content)
    return [_read(e) for e in root.iter() if e.tag.endswith("}result")]


def _fault(answer: requests.Response) -> str | None:
    assert answer.status_code == 500
    return ET.fromstring(answer.content).findtext(".//faultcode")


def _lead(api: Api, **fields: object) -> str:
    told = {
        "LastName": "Fry",
        "FirstName": "Ada",
        "Company": "Fry & Sons",
        "City": "Bonn",
        **fields,
    }
    return str(api.call("POST", "/sobjects/Lead", json=told).json()["id"])


def _convert(api: Api, *leads: str) -> list[Any]:
    entries = "".join(f"<leadConverts>{lead}</leadConverts>" for lead in leads)
    return _results(_call(api, f"<convertLead>{entries}</convertLead>"))


def test_a_lead_becomes_an_account_a_contact_and_a_deal(api: Api) -> None:
    lead = _lead(api, LeadSource="Web", Email="ada@fry.test")
    (told,) = _convert(
        api,
        f"<leadId>{lead}</leadId><convertedStatus>Converted</convertedStatus>"
        "<opportunityName>Big one</opportunityName>",
    )
    assert told["success"] == "true"
    assert api.rows(f"SELECT Name, BillingCity FROM Account WHERE Id = '{told['accountId']}'") == [
        {"Name": "Fry & Sons", "BillingCity": "Bonn"}
    ]
    (contact,) = api.rows(
        f"SELECT Name, Email, AccountId FROM Contact WHERE Id = '{told['contactId']}'"
    )
    assert contact == {"Name": "Ada Fry", "Email": "ada@fry.test", "AccountId": told["accountId"]}
    (deal,) = api.rows(
        "SELECT Name, LeadSource, IsClosed, CloseDate FROM Opportunity "
        f"WHERE Id = '{told['opportunityId']}'"
    )
    assert deal == {
        "Name": "Big one", "LeadSource": "Web", "IsClosed": False, "CloseDate": "2024-06-30",
    }  # fmt: skip
    (after,) = api.rows(
        "SELECT IsConverted, ConvertedDate, ConvertedContactId, Status FROM Lead "
        f"WHERE Id = '{lead}'"
    )
    assert after == {
        "IsConverted": True, "ConvertedDate": "2024-05-15",
        "ConvertedContactId": told["contactId"], "Status": "Converted",
    }  # fmt: skip


def test_a_lead_joins_an_account_that_is_known(api: Api) -> None:
    account, lead = known_id("001", 1), _lead(api)
    (told,) = _convert(
        api,
        f"<accountId>{account}</accountId><leadId>{lead}</leadId>"
        "<convertedStatus>Converted</convertedStatus>"
        "<doNotCreateOpportunity>true</doNotCreateOpportunity>",
    )
    assert (told["accountId"], told["opportunityId"]) == (account, None)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("<leadId>{lead}</leadId><convertedStatus>Raw</convertedStatus>", "INVALID_STATUS"),
        ("<leadId>{lead}</leadId>", "INVALID_STATUS"),
        ("<leadId>001</leadId><convertedStatus>Converted</convertedStatus>", "INVALID_ID_FIELD"),
        ("<convertedStatus>Converted</convertedStatus>", "INVALID_ID_FIELD"),
        ("<leadId>{lead}</leadId><convertedStatus>Converted</convertedStatus>"
         "<accountId>001000000000000AAA</accountId>", "INVALID_ID_FIELD"),
        ("<leadId>{lead}</leadId><convertedStatus>Converted</convertedStatus>"
         "<contactId>{contact}</contactId>", "REQUIRED_FIELD_MISSING"),
        ("<leadId>00Q000000000000EAA</leadId><convertedStatus>Converted</convertedStatus>",
         "INVALID_CROSS_REFERENCE_KEY"),
    ],
)  # fmt: skip
def test_a_lead_that_cannot_be_converted_stays(asked: str, code: str, shared: Api) -> None:
    lead, before = _lead(shared), len(shared.rows("SELECT Id FROM Account"))
    (told,) = _convert(shared, asked.format(lead=lead, contact=known_id("003", 1)))
    assert (told["success"], told["errors"]["statusCode"]) == ("false", code)
    assert shared.column(f"SELECT IsConverted FROM Lead WHERE Id = '{lead}'") == [False]
    assert len(shared.rows("SELECT Id FROM Account")) == before


def test_a_converted_lead_is_converted_once(api: Api) -> None:
    asked = f"<leadId>{_lead(api)}</leadId><convertedStatus>Converted</convertedStatus>"
    first, second = _convert(api, asked, asked)
    assert first["success"] == "true"
    assert second["errors"]["statusCode"] == "CANNOT_UPDATE_CONVERTED_LEAD"


def test_records_are_made_changed_and_found(api: Api) -> None:
    made, bad = _results(
        _call(
            api,
            "<create><sObjects><type>Account</type><Name>Söap &amp; &lt;Co&gt;</Name>"
            "<NumberOfEmployees>7</NumberOfEmployees></sObjects>"
            "<sObjects><type>Account</type></sObjects></create>",
        )
    )
    assert (made["success"], bad["success"], bad["id"]) == ("true", "false", None)
    assert bad["errors"]["statusCode"] == "REQUIRED_FIELD_MISSING"
    key = made["id"]
    change = f"<update><sObjects><type>Account</type><fieldsToNull>NumberOfEmployees</fieldsToNull><Id>{key}</Id><Type>Customer</Type></sObjects></update>"
    assert _results(_call(api, change))[0]["success"] == "true"
    query = f"<query><queryString>SELECT Id, Name, Type, NumberOfEmployees FROM Account WHERE Id = '{key}'</queryString></query>"
    (page,) = _results(_call(api, query))
    assert (page["done"], page["size"], page["queryLocator"]) == ("true", "1", None)
    assert page["records"] == {
        "type": "Account",
        # The partner API tells the id at the head of each record, too.
        "Id": [key, key],
        "Name": "Söap & <Co>",
        "Type": "Customer",
        "NumberOfEmployees": None,
    }
    wanted = f"<retrieve><fieldList>Name</fieldList><sObjectType>Account</sObjectType><ids>{key}</ids><ids>001000000000000AAA</ids></retrieve>"
    found, nothing = _results(_call(api, wanted))
    assert (found["Name"], nothing) == ("Söap & <Co>", None)
    upsert = (
        "<upsert><externalIDFieldName>Meltano_Id__c</externalIDFieldName><sObjects>"
        "<type>Account</type><Meltano_Id__c>x1</Meltano_Id__c><Name>Up</Name></sObjects></upsert>"
    )
    assert [_results(_call(api, upsert))[0]["created"] for _ in range(2)] == ["true", "false"]
    sought = "<search><searchString>FIND {söap} RETURNING Account(Name)</searchString></search>"
    assert _results(_call(api, sought))[0]["searchRecords"]["record"]["Name"] == "Söap & <Co>"
    # As older clients write it.
    assert _results(_call(api, f"<delete><id>{key}</id></delete>"))[0]["success"] == "true"
    assert api.rows(f"SELECT Id FROM Account WHERE Id = '{key}'") == []
    (back,) = _results(_call(api, f"<undelete><ids>{key}</ids></undelete>"))
    assert (back["id"], back["success"]) == (key, "true")
    assert len(api.rows(f"SELECT Id FROM Account WHERE Id = '{key}'")) == 1
    (kept,) = _results(_call(api, f"<emptyRecycleBin><ids>{key}</ids></emptyRecycleBin>"))
    assert kept["errors"]["statusCode"] == "UNDELETE_FAILED"


def test_pages_nested_records_and_counts(shared: Api) -> None:
    soql = "SELECT Name, Owner.Name, (SELECT LastName FROM Contacts) FROM Account ORDER BY Name"
    sized = "<QueryOptions><batchSize>200</batchSize></QueryOptions>"
    (page,) = _results(
        _call(shared, f"<query><queryString>{soql}</queryString></query>", headers=sized)
    )
    record = page["records"][0]
    assert (record["type"], record["Owner"]["type"]) == ("Account", "User")
    with_contacts = next(r for r in page["records"] if r["Contacts"])
    assert int(with_contacts["Contacts"]["size"]) >= 1
    (counted,) = _results(
        _call(shared, "<query><queryString>SELECT count() FROM Account</queryString></query>")
    )
    assert (counted["size"], counted.get("records")) == ("19", None)


def test_objects_are_described_and_changes_told(shared: Api) -> None:
    (everything,) = _results(_call(shared, "<describeGlobal/>"))
    assert "Host__c" in [item["name"] for item in everything["sobjects"]]
    lead, account = _results(
        _call(
            shared,
            "<describeSObjects><sObjectType>Lead</sObjectType><sObjectType>Account</sObjectType>"
            "</describeSObjects>",
        )
    )
    assert (lead["name"], account["keyPrefix"]) == ("Lead", "001")
    assert "Status" in [field["name"] for field in lead["fields"]]
    assert account["urlNew"] == f"{shared.base}/001/e"
    (layout,) = _results(
        _call(shared, "<describeLayout><sObjectType>Lead</sObjectType></describeLayout>")
    )
    assert layout["layouts"]["detailLayoutSections"]
    (changes,) = _results(
        _call(
            shared,
            "<getUpdated><sObjectType>Account</sObjectType><startDate>2024-05-01T00:00:00Z</startDate>"
            "<endDate>2024-05-15T00:00:00Z</endDate></getUpdated>",
        )
    )
    assert changes["latestDateCovered"]


def test_accounts_are_merged(api: Api) -> None:
    master, other = known_id("001", 1), known_id("001", 2)
    contacts = set(api.column(f"SELECT Id FROM Contact WHERE AccountId = '{other}'"))
    assert contacts
    body = (
        f"<merge><request><masterRecord><type>Account</type><Id>{master}</Id></masterRecord>"
        f"<recordToMergeIds>{other}</recordToMergeIds></request></merge>"
    )
    (told,) = _results(_call(api, body))
    assert (told["success"], told["mergedRecordIds"]) == ("true", other)
    assert contacts <= set(api.column(f"SELECT Id FROM Contact WHERE AccountId = '{master}'"))
    gone = api.query(
        f"SELECT IsDeleted, MasterRecordId FROM Account WHERE Id = '{other}'", everything=True
    )
    (record,) = gone.json()["records"]
    assert (record["IsDeleted"], record["MasterRecordId"]) == (True, master)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<query><queryString>SELECT Nope FROM Account</queryString></query>", "sf:INVALID_FIELD"),
        ("<query><queryString>SELECT</queryString></query>", "sf:MALFORMED_QUERY"),
        ("<query><queryString>SELECT Id FROM Nope</queryString></query>", "sf:INVALID_TYPE"),
        ("<query/>", "sf:MALFORMED_QUERY"),
        ("<queryMore><queryLocator>../x?y</queryLocator></queryMore>", "sf:INVALID_QUERY_LOCATOR"),
        ("<describeSObject><sObjectType>Nope</sObjectType></describeSObject>", "sf:INVALID_TYPE"),
        ("<create><sObjects><type>Nope</type></sObjects></create>", "sf:INVALID_TYPE"),
        ("<create><sObjects><type>Account</type><NumberOfEmployees>many</NumberOfEmployees>"
         "</sObjects></create>", "sf:INVALID_FIELD"),
        ("<create><sObjects><type>Account</type><Nope>1</Nope></sObjects></create>",
         "sf:INVALID_FIELD"),
        (f"<delete>{'<ids>001</ids>' * 201}</delete>", "sf:EXCEEDED_ID_LIMIT"),
        ("<getUpdated><sObjectType>Account</sObjectType><startDate>x</startDate></getUpdated>",
         "sf:INVALID_TYPE"),
        ("<dance/>", "soapenv:Client"),
        ("", "soapenv:Client"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_a_fault(body: str, code: str, shared: Api) -> None:
    assert _fault(_call(shared, body)) == code


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<", b"\xff\xfe\x00", b"<a/>", b"{}",
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="nope"?><a/>',
    ],
)  # fmt: skip
def test_what_is_no_soap_is_a_fault(content: bytes, shared: Api) -> None:
    for kind in "ucm":
        answer = requests.post(f"{shared.base}/services/Soap/{kind}/59.0", data=content, timeout=20)
        assert _fault(answer) == "soapenv:Client"


def test_a_dead_session_is_a_fault(api: Api) -> None:
    api.session.headers["Authorization"] = "Bearer gone"
    assert _fault(_call(api, "<getUserInfo/>")) == "sf:INVALID_SESSION_ID"
    assert _fault(_call(api, "<describeMetadata/>", kind="m")) == "sf:INVALID_SESSION_ID"


def _names(answer: requests.Response) -> Sequence[str]:
    return [result["fullName"] for result in _results(answer)]


def test_metadata_are_told_and_not_changed(shared: Api) -> None:
    (told,) = _results(
        _call(
            shared, "<describeMetadata><asOfVersion>59.0</asOfVersion></describeMetadata>", kind="m"
        )
    )
    assert "CustomObject" in [kind["xmlName"] for kind in told["metadataObjects"]]
    queries = (
        "<queries><type>CustomObject</type></queries><queries><type>CustomField</type></queries>"
    )
    names = _names(_call(shared, f"<listMetadata>{queries}</listMetadata>", kind="m"))
    assert {"Host__c", "Account", "Account.Using_CE__c"} <= set(names)
    read = "<readMetadata><type>CustomObject</type><fullNames>Host__c</fullNames></readMetadata>"
    (host,) = _results(_call(shared, read, kind="m"))
    assert host["records"]["fullName"] == "Host__c"
    bad = "<listMetadata><queries><type>Nope</type></queries></listMetadata>"
    assert _fault(_call(shared, bad, kind="m")) == "sf:INVALID_TYPE"
    assert _fault(_call(shared, "<deploy/>", kind="m")) == "sf:INSUFFICIENT_ACCESS"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/analytics/reports", []),
        ("/analytics/dashboards", []),
        ("/process/approvals", {"approvals": {}}),
        ("/process/rules", {"rules": {}}),
        ("/process/rules/Account", {"rules": {}}),
        ("/actions/standard", {"actions": []}),
        ("/quickActions", []),
        ("/recent", []),
    ],
)
def test_what_the_org_does_not_use_is_empty(path: str, content: object, shared: Api) -> None:
    answer = shared.get(path)
    assert (answer.status_code, answer.json()) == (200, content)
    assert shared.call("PUT", path).status_code == 405


def test_no_report_is_known_and_nothing_is_approved(shared: Api) -> None:
    for path in ("/analytics/reports/00O000000000001AAA/describe", "/process/rules/Nope"):
        assert shared.error(shared.get(path)) == (404, "NOT_FOUND")
    body = {"requests": [{"actionType": "Submit", "contextId": known_id("001", 1)}]}
    (told,) = shared.call("POST", "/process/approvals", json=body).json()
    assert told["errors"][0]["statusCode"] == "NO_APPLICABLE_PROCESS"
    for bad in ({}, {"requests": "x"}, {"requests": [1]}):
        answer = shared.call("POST", "/process/approvals", json=bad)
        assert shared.error(answer) == (400, "JSON_PARSER_ERROR")
