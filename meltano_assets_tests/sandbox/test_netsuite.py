"""The simulated NetSuite (W1–W3): contracts, passports, searches, deletes, limits, faults."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep
from zeep.exceptions import Fault

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_books import Ref
from meltano_assets.sandbox.netsuite_contract import contract_in, own_contract
from meltano_assets.sandbox.netsuite_search import IDLE_SECONDS, OpenSearches
from meltano_assets.sandbox.netsuite_wire import StatusError, double_text
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import SCALE, SEED, TODAY, Sandbox
from meltano_assets_tests.sandbox.netsuite_caller import Caller


@pytest.fixture(scope="module")
def netsuite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of this file's own, under the vendor's limits."""
    folder = tmp_path_factory.mktemp("netsuite")
    with serve_in_thread(
        state_dir=folder, seed=SEED, scale=SCALE, today=TODAY, has_vendor_limits=True
    ) as manifest:
        yield Sandbox(manifest)


@pytest.fixture(scope="module")
def connected(netsuite: Sandbox) -> Caller:
    return Caller(netsuite.manifest["netsuite"])


@pytest.fixture
def caller(netsuite: Sandbox, connected: Caller) -> Caller:
    netsuite.clear()
    return connected


def code_of(error: Fault) -> str:
    return str(next(iter(error.detail)).tag).rpartition("}")[2]


# -- contracts --


def test_any_version_is_answered_in_its_own_namespaces(netsuite: Sandbox) -> None:
    for version in ("2017_2", "2024_1"):
        caller = Caller(netsuite.manifest["netsuite"], version)
        found = caller.search(caller.basic("Customer"), size=5)
        assert found.status.isSuccess
        assert len(found.recordList.record) == 5
        kind = found.recordList.record[0]._xsd_type.qname
        assert kind.namespace == f"urn:relationships_{version}.lists.webservices.netsuite.com"


def test_schemas_lie_in_every_place_where_clients_look(netsuite: Sandbox) -> None:
    base = netsuite.manifest["netsuite"]["base_url"]
    for path in (
        "/wsdl/v2023_2_0/platform.core.xsd",
        "/wsdl/v2023_2_0/xsd/platform.core.xsd",
        "/xsd/platform/v2023_2_0/core.xsd",
    ):
        answer = requests.get(base + path, timeout=10)
        assert answer.status_code == 200
        assert 'targetNamespace="urn:core_2023_2.platform' in answer.text
    asked = requests.get(f"{base}/services/NetSuitePort_2023_2?wsdl", timeout=10)
    assert "NetSuitePort_2023_2" in asked.text
    assert base in asked.text
    assert requests.get(f"{base}/wsdl/v2023_2_0/../secret", timeout=10).status_code == 404
    urls = requests.get(f"{base}/rest/datacenterurls?account=1234567", timeout=10).json()
    assert urls["webservicesDomain"] == base


def test_our_contract_agrees_with_the_vendors(shared_fixtures: Path) -> None:
    """What our own set declares is in the vendor's of 2017.2, in the same order and namespace."""
    own, theirs = own_contract(), contract_in(shared_fixtures / "netsuite" / "wsdl-2017_2")
    newer = {name for name in own.types if name not in theirs.types}
    assert newer <= {
        "AdvInterCompanyJournalEntry", "AdvInterCompanyJournalEntryLine",
        "AdvInterCompanyJournalEntryLineList", "CustomerTaxRegistration",
        "CustomerTaxRegistrationList", "InboundShipmentSearch", "InboundShipmentSearchBasic",
        "TaxDetails", "TaxDetailsList",
    }  # fmt: skip
    for name in set(own.types) - newer:
        assert own.types[name].namespace == theirs.types[name].namespace
        ours = [(e.name, e.type, e.is_repeated) for e in own.types[name].elements]
        known = [(e.name, e.type, e.is_repeated) for e in theirs.types[name].elements]
        places = [known.index(item) for item in ours]
        assert places == sorted(places), name


def test_the_vendors_own_contract_can_be_served(shared_fixtures: Path, tmp_path: Path) -> None:
    folder = shared_fixtures / "netsuite" / "wsdl-2017_2"
    with serve_in_thread(
        state_dir=tmp_path, seed=SEED, scale=SCALE, today=TODAY, netsuite_wsdl=folder
    ) as manifest:
        caller = Caller(manifest["netsuite"], "2023_2")
        found = caller.search(caller.basic("Transaction"))
        kinds = {record._xsd_type.name for record in found.recordList.record}
        assert {"Invoice", "VendorBill", "JournalEntry", "CustomerPayment"} <= kinds


def test_a_folder_without_a_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no netsuite\.wsdl"):
        contract_in(tmp_path)


# -- passports --


def test_signatures_of_both_kinds_are_accepted(caller: Caller) -> None:
    for algorithm in ("HMAC-SHA256", "HMAC-SHA1"):
        headers = {"tokenPassport": caller.passport(algorithm=algorithm)}
        assert caller.call("getServerTime", headers).getServerTimeResult.status.isSuccess


@pytest.mark.parametrize(
    "wrong",
    [
        {"consumer_secret": "x"}, {"token_secret": "x"}, {"consumer_key": "x"}, {"token_id": "x"},
        {"account": "7654321"}, {"late": -400}, {"late": 400}, {"nonce": "abc"},
        {"nonce": "a b c d e f"}, {"algorithm": "PLAINTEXT"},
    ],
    ids=str,
)  # fmt: skip
def test_a_passport_that_is_not_right_is_refused(caller: Caller, wrong: dict[str, Any]) -> None:
    with pytest.raises(Fault, match="Invalid login attempt") as info:
        caller.call("getServerTime", {"tokenPassport": caller.passport(**wrong)})
    assert code_of(info.value) == "invalidCredentialsFault"


def test_a_nonce_counts_once(caller: Caller) -> None:
    headers = {"tokenPassport": caller.passport()}
    caller.call("getServerTime", headers)
    with pytest.raises(Fault, match="Invalid login attempt"):
        caller.call("getServerTime", headers)


def test_a_token_with_application_info_is_refused(caller: Caller) -> None:
    info = caller.make("ApplicationInfo", applicationId="1")
    with pytest.raises(Fault, match="Ambiguous"):
        caller.call("getServerTime", {"tokenPassport": caller.passport(), "applicationInfo": info})


def test_a_user_logs_in_and_out(caller: Caller) -> None:
    known = caller.known
    role = caller.make("RecordRef", internalId="3")
    right = {"email": known["email"], "account": known["account"], "role": role}
    passport = caller.make("Passport", password=known["password"], **right)
    assert caller.call("getServerTime", {"passport": passport})
    with pytest.raises(Fault, match="timed out"):
        caller.call("getServerTime", {})
    info = {"applicationInfo": caller.make("ApplicationInfo", applicationId="1")}
    assert caller.call("login", info, passport=passport).sessionResponse.status.isSuccess
    assert caller.call("getServerTime", {}).getServerTimeResult.status.isSuccess
    assert caller.call("logout", info).sessionResponse.status.isSuccess
    with pytest.raises(Fault, match="timed out"):
        caller.call("getServerTime", {})
    with pytest.raises(Fault, match="invalid email address or password"):
        caller.call("getServerTime", {"passport": caller.make("Passport", password="x", **right)})


# -- searches --


def test_pages_of_a_search_are_the_whole_in_order(caller: Caller) -> None:
    first = caller.search(caller.basic("Transaction"), size=50)
    assert first.totalPages == -(-first.totalRecords // 50)
    ids: list[int] = []
    for page in range(1, first.totalPages + 1):
        more = caller.call("searchMoreWithId", searchId=first.searchId, pageIndex=page)
        ids += [int(record.internalId) for record in more.searchResult.recordList.record]
        assert more.searchResult.pageIndex == page
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids) == first.totalRecords


def test_a_page_that_is_not_there_is_told_with_http_200(caller: Caller) -> None:
    found = caller.search(caller.basic("Vendor"), size=5)
    for page in (0, 99):
        more = caller.call("searchMoreWithId", searchId=found.searchId, pageIndex=page)
        status = more.searchResult.status
        assert not status.isSuccess
        assert status.statusDetail[0].code == "INVALID_SEARCH_PAGE_INDEX"
    lost = caller.call("searchMoreWithId", searchId="WEBSERVICES_1", pageIndex=1)
    assert lost.searchResult.status.statusDetail[0].code == "INVALID_SEARCH_MORE"


def test_a_search_is_forgotten_after_fifteen_idle_minutes() -> None:
    now = [0.0]
    searches = OpenSearches("1", lambda: now[0])
    kept = searches.keep([], (), "", 10, False)
    now[0] = IDLE_SECONDS - 1
    assert searches.find(kept.search_id) is kept
    now[0] += IDLE_SECONDS - 1
    assert searches.find(kept.search_id) is kept
    now[0] += IDLE_SECONDS
    with pytest.raises(StatusError, match="no longer available"):
        searches.find(kept.search_id)


@pytest.mark.parametrize("size", [4, 1001, -1])
def test_a_page_size_out_of_bounds_is_refused(caller: Caller, size: int) -> None:
    status = caller.search(caller.basic("Vendor"), size=size).status
    assert status.statusDetail[0].code == "INVALID_SEARCH_PAGE_SIZE"


def test_nothing_found_has_no_pages(caller: Caller) -> None:
    named = caller.make("SearchStringField", operator="is", searchValue="nobody at all")
    found = caller.search(caller.basic("Customer", companyName=named))
    assert (found.totalRecords, found.totalPages) == (0, 0)
    assert not found.recordList or not found.recordList.record


def test_body_fields_alone_leave_the_lines_out(caller: Caller) -> None:
    search = invoices(caller)
    whole = caller.search(search).recordList.record[0]
    body = caller.search(search, body_only=True).recordList.record[0]
    assert whole.itemList.item
    assert body.itemList is None
    assert (body.total, body.tranId) == (whole.total, whole.tranId)


@pytest.fixture(scope="module")
def moments(connected: Caller) -> list[datetime]:
    """When invoices were last saved, in order."""
    found = connected.search(invoices(connected), body_only=True)
    return sorted(record.lastModifiedDate for record in found.recordList.record)


def invoices(caller: Caller, **fields: Any) -> Any:
    kinds = caller.make("SearchEnumMultiSelectField", operator="anyOf", searchValue=["_invoice"])
    return caller.basic("Transaction", type=kinds, **fields)


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        ("onOrAfter", lambda m, a, b: m >= a),
        ("after", lambda m, a, b: m > a),
        ("before", lambda m, a, b: m < a),
        ("onOrBefore", lambda m, a, b: m <= a),
        ("notBefore", lambda m, a, b: m >= a),
        ("notAfter", lambda m, a, b: m <= a),
        ("within", lambda m, a, b: a <= m <= b),
        ("notWithin", lambda m, a, b: not a <= m <= b),
    ],
)
def test_dates_are_searched_as_the_operator_says(
    caller: Caller, moments: list[datetime], operator: str, holds: Any
) -> None:
    low, high = moments[len(moments) // 3], moments[len(moments) // 2]
    second = {"searchValue2": high} if "ithin" in operator else {}
    field = caller.make("SearchDateField", operator=operator, searchValue=low, **second)
    found = caller.search(invoices(caller, lastModifiedDate=field), size=5, body_only=True)
    assert found.totalRecords == sum(1 for moment in moments if holds(moment, low, high))
    assert found.totalRecords


def test_fields_of_every_kind_are_searched(caller: Caller) -> None:
    make = caller.make

    def count(name: str, /, **fields: Any) -> int:
        return int(caller.search(caller.basic(name, **fields)).totalRecords)

    every = caller.search(caller.basic("Account")).recordList.record
    kinds = Counter(record.acctType for record in every)
    enumerated = make("SearchEnumMultiSelectField", operator="anyOf", searchValue=["_expense"])
    assert count("Account", type=enumerated) == kinds["_expense"]
    others = make("SearchEnumMultiSelectField", operator="noneOf", searchValue=["_expense"])
    assert count("Account", type=others) == len(every) - kinds["_expense"]
    by_id = make(
        "SearchMultiSelectField",
        operator="anyOf",
        searchValue=[make("RecordRef", internalId=i) for i in ("1", "2")],
    )
    assert count("Account", internalId=by_id) == 2
    for operator, value, expected in (
        ("startsWith", "acc", 3), ("contains", "REVENUE", 4), ("is", "checking", 1),
        ("doesNotContain", "revenue", len(every) - 4), ("hasKeywords", "services rev", 1),
    ):  # fmt: skip
        named = make("SearchStringField", operator=operator, searchValue=value)
        assert count("Account", name=named) == expected, operator
    assert count("Account", isInactive=make("SearchBooleanField", searchValue=False)) == len(every)
    assert count("Account", isInactive=make("SearchBooleanField", searchValue=True)) == 0
    numbered = make("SearchLongField", operator="between", searchValue=2, searchValue2=5)
    assert count("Account", internalIdNumber=numbered) == 4
    top = make(
        "SearchMultiSelectField",
        operator="anyOf",
        searchValue=[make("RecordRef", internalId="@NONE@")],
    )
    assert count("Account", parent=top) == sum(1 for record in every if record.parent is None)
    custom = make(
        "SearchCustomFieldList",
        [make("SearchBooleanCustomField", scriptId="custentity_preferred", searchValue=True)],
    )
    preferred = count("Vendor", customFieldList=custom)
    vendors = caller.search(caller.basic("Vendor")).recordList.record
    assert preferred == sum(
        1
        for vendor in vendors
        for field in vendor.customFieldList.customField
        if field.scriptId == "custentity_preferred" and field.value
    )


def test_columns_come_as_rows_and_joins_narrow(caller: Caller) -> None:
    make = caller.make
    columns = make(
        "TransactionSearchRow",
        basic=make(
            "TransactionSearchRowBasic",
            internalId=[make("SearchColumnSelectField")],
            type=[make("SearchColumnEnumSelectField")],
            total=[make("SearchColumnDoubleField")],
        ),
    )
    one = caller.search(caller.basic("Customer")).recordList.record[0]
    whose = make(
        "SearchMultiSelectField",
        operator="anyOf",
        searchValue=[make("RecordRef", internalId=one.internalId)],
    )
    criteria = make("TransactionSearch", customerJoin=make("CustomerSearchBasic", internalId=whose))
    found = caller.search(make("TransactionSearchAdvanced", criteria=criteria, columns=columns))
    everything = caller.search(caller.basic("Transaction")).recordList.record
    mine = {
        record.internalId
        for record in everything
        if (getattr(record, "entity", None) and record.entity.internalId == one.internalId)
        or (getattr(record, "customer", None) and record.customer.internalId == one.internalId)
    }  # fmt: skip
    rows = found.searchRowList.searchRow
    assert {row.basic.internalId[0].searchValue.internalId for row in rows} == mine
    assert {row.basic.type[0].searchValue for row in rows} <= {
        "_invoice", "_customerPayment", "_creditMemo"
    }  # fmt: skip


def test_what_a_search_does_not_know_is_refused(caller: Caller) -> None:
    empty = caller.make("SearchStringField", searchValue="x")
    status = caller.search(caller.basic("Account", name=empty)).status
    assert status.statusDetail[0].code == "INVALID_SEARCH_OPERATOR"
    saved = caller.make("CustomerSearchAdvanced", savedSearchId="77")
    status = caller.search(saved).status
    assert status.statusDetail[0].code == "INVALID_SAVED_SRCH"


# -- other operations --


def test_records_are_got_by_either_id(caller: Caller) -> None:
    make = caller.make
    known = caller.search(caller.basic("Customer")).recordList.record[0]
    for ref in ({"internalId": known.internalId}, {"externalId": known.externalId}):
        found = caller.call("get", baseRef=make("RecordRef", type="customer", **ref)).readResponse
        assert found.record.companyName == known.companyName
    lost = caller.call("get", baseRef=make("RecordRef", type="customer", internalId="1"))
    assert lost.readResponse.status.statusDetail[0].code == "RCRD_DSNT_EXIST"
    refs = [make("RecordRef", type="customer", internalId=i) for i in (known.internalId, "1")]
    listed = caller.call("getList", baseRef=refs).readResponseList.readResponse
    assert [item.status.isSuccess for item in listed] == [True, False]


def test_lists_times_values_and_customizations_are_told(caller: Caller) -> None:
    make = caller.make
    currencies = caller.call("getAll", record=make("GetAllRecord", recordType="currency"))
    symbols = [item.symbol for item in currencies.getAllResult.recordList.record]
    assert symbols == ["USD", "GBP", "EUR"]
    states = caller.call("getAll", record=make("GetAllRecord", recordType="state")).getAllResult
    assert (states.status.isSuccess, states.totalRecords) == (True, 0)
    field = make("GetSelectValueFieldDescription", recordType="customer", field="terms")
    values = caller.call("getSelectValue", fieldDescription=field, pageIndex=1)
    names = {ref.name for ref in values.getSelectValueResult.baseRefList.baseRef}
    assert names == {"Net 30", "Net 45", "Net 60"}
    kind = make("CustomizationType", getCustomizationType="entityCustomField")
    custom = caller.call("getCustomizationId", customizationType=kind, includeInactives=False)
    ids = {
        ref.scriptId
        for ref in custom.getCustomizationIdResult.customizationRefList.customizationRef
    }
    assert "custentity_salesforce_id" in ids
    urls = caller.call("getDataCenterUrls", account=caller.known["account"])
    assert urls.getDataCenterUrlsResult.dataCenterUrls.webservicesDomain == caller.known["base_url"]


def test_postings_of_a_period_balance(caller: Caller) -> None:
    fields = caller.make("PostingTransactionSummaryField", period=True, account=True)
    payroll = caller.search(
        caller.basic(
            "Account",
            name=caller.make("SearchStringField", operator="is", searchValue="Accrued Payroll"),
        )
    ).recordList.record[0]
    answer = caller.call(
        "getPostingTransactionSummary",
        fields=fields,
        filters=caller.make(
            "PostingTransactionSummaryFilter",
            account=caller.make(
                "RecordRefList", [caller.make("RecordRef", internalId=payroll.internalId)]
            ),
        ),
        pageIndex=1,
    ).getPostingTransactionSummaryResult
    rows = answer.postingTransactionSummaryList.postingTransactionSummary
    assert rows
    assert all(row.account.internalId == payroll.internalId and row.amount < 0 for row in rows)


def test_what_the_role_may_not_do_is_refused(caller: Caller) -> None:
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header>%s</e:Header>'
        '<e:Body><attach xmlns="urn:messages_2017_2.platform.webservices.netsuite.com"/></e:Body>'
        "</e:Envelope>"
    )
    passport = caller.client.create_message(
        caller.service, "getServerTime", _soapheaders={"tokenPassport": caller.passport()}
    )
    from lxml import etree

    header = b"".join(etree.tostring(item) for item in passport[0]).decode()
    url = f"{caller.known['base_url']}/services/NetSuitePort_2017_2"
    answer = requests.post(url, data=body % header, timeout=10)
    assert answer.status_code == 500
    assert "insufficientPermissionFault" in answer.text


def test_deletes_are_listed_by_type_and_time(netsuite: Sandbox, caller: Caller) -> None:
    make = caller.make

    def deleted(**filters: Any) -> Any:
        criteria = make("GetDeletedFilter", **filters)
        return caller.call("getDeleted", getDeletedFilter=criteria, pageIndex=1).getDeletedResult

    bills = make("SearchEnumMultiSelectField", operator="anyOf", searchValue=["vendorBill"])
    every = deleted(type=bills)
    assert every.totalRecords >= 9
    assert {item.record.type for item in every.deletedRecordList.deletedRecord} == {"vendorBill"}
    others = make("SearchEnumMultiSelectField", operator="anyOf", searchValue=["invoice"])
    assert deleted(type=others).totalRecords == 0
    moments = [item.deletedDate for item in every.deletedRecordList.deletedRecord]
    since = make("SearchDateField", operator="onOrAfter", searchValue=moments[3])
    assert deleted(deletedDate=since).totalRecords == len(moments) - 3
    gone = {item.record.internalId for item in every.deletedRecordList.deletedRecord}
    there = caller.search(caller.basic("Transaction")).recordList.record
    assert gone.isdisjoint(record.internalId for record in there)


# -- misbehaviour --


def test_too_many_requests_at_a_time_are_blocked(netsuite: Sandbox, caller: Caller) -> None:
    netsuite.arm("netsuite", "slow", times=30, seconds=0.6, match="/services/")
    told: list[str] = []
    envelope = b"<x/>"
    url = f"{caller.known['base_url']}/services/NetSuitePort_2017_2"

    def post() -> None:
        answer = requests.post(url, data=envelope, timeout=20)
        told.append("blocked" if "WS_REQUEST_BLOCKED" in answer.text else "taken")

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count("blocked") >= 1
    assert told.count("taken") >= 1


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("throttle", {}, "exceededConcurrentRequestLimitFault"),
        ("server_error", {}, "unexpectedErrorFault"),
        ("expire_session", {}, "invalidSessionFault"),
        ("fault", {"name": "exceededRequestLimitFault", "code": "WS_REQUEST_BLOCKED"},
         "exceededRequestLimitFault"),
        ("fault", {"name": "exceededUsageLimitFault"}, "exceededUsageLimitFault"),
        ("fault", {"name": "insufficientPermissionFault"}, "insufficientPermissionFault"),
    ],
)  # fmt: skip
def test_faults_come_in_the_vendors_form(
    netsuite: Sandbox, caller: Caller, kind: str, options: dict[str, str], expected: str
) -> None:
    netsuite.arm("netsuite", kind, match="" if kind == "fault" else "/services/", **options)
    with pytest.raises(Fault) as info:
        caller.call("getServerTime")
    assert code_of(info.value) == expected
    assert caller.call("getServerTime").getServerTimeResult.status.isSuccess


def test_a_failure_is_told_inside_an_answer(netsuite: Sandbox, caller: Caller) -> None:
    netsuite.arm("netsuite", "not_success", code="UNEXPECTED_ERROR", match="search")
    status = caller.search(caller.basic("Vendor")).status
    assert not status.isSuccess
    assert status.statusDetail[0].code == "UNEXPECTED_ERROR"


def test_searches_expire_on_request(netsuite: Sandbox, caller: Caller) -> None:
    found = caller.search(caller.basic("Transaction"), size=50)
    netsuite.arm("netsuite", "expire_search", match="searchMoreWithId")
    more = caller.call("searchMoreWithId", searchId=found.searchId, pageIndex=2)
    assert more.searchResult.status.statusDetail[0].code == "INVALID_SEARCH_MORE"


def test_the_schema_changes_on_request(netsuite: Sandbox, caller: Caller) -> None:
    base = caller.known["base_url"]
    netsuite.arm("netsuite", "change_schema", drop=["phone"], add={"newField": "x"})
    envelope = caller.client.create_message(
        caller.service,
        "search",
        searchRecord=caller.basic("Vendor"),
        _soapheaders={"tokenPassport": caller.passport()},
    )
    from lxml import etree

    answer = requests.post(
        f"{base}/services/NetSuitePort_2017_2", data=etree.tostring(envelope), timeout=10
    )
    assert ":newField>x<" in answer.text
    assert ":phone>" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<", b"<a/>", b"not xml",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body/></e:Envelope>',
        b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>'
        b'<search xmlns="urn:messages_2020_1.platform.webservices.netsuite.com"/></e:Body></e:Envelope>',
    ],
)  # fmt: skip
def test_a_broken_request_gets_a_fault(netsuite: Sandbox, body: bytes) -> None:
    base = netsuite.manifest["netsuite"]["base_url"]
    answer = requests.post(f"{base}/services/NetSuitePort_2017_2", data=body, timeout=10)
    assert answer.status_code == 500
    assert "Fault>" in answer.text


def test_doubles_are_written_as_the_vendor_does() -> None:
    assert [double_text(x) for x in (0.0, -2.5, 9999999.99, 1e7, 123456789.12, 1.5e-5)] == [
        "0.0", "-2.5", "9999999.99", "1.0E7", "1.2345678912E8", "1.5E-5",
    ]  # fmt: skip
    for value in (12345678.9, 1e300, 7.1e-9, -98765432.1):
        assert float(double_text(value)) == value


# -- the company's books --


def test_the_same_company_keeps_the_same_books(small_company: Company) -> None:
    again = Company(SEED, SCALE, TODAY)
    for day in (0, 3):
        now = again.now(day)
        assert small_company.books(day).state(now) == again.books(day).state(now)


def test_books_follow_from_sales(small_company: Company) -> None:
    truths: Any = Company(SEED, SCALE, TODAY).truths
    books = truths["books"]
    spent = {name: round(cost, 2) for name, cost in truths["campaign_spend"]["by_campaign"].items()}
    assert books["marketing_by_campaign"] == dict(sorted(spent.items()))
    deals = small_company.salesforce_state(0)["Opportunity"].values()
    won: Counter[str] = Counter()
    for deal in deals:
        if deal["IsWon"] and not deal["IsDeleted"] and float(str(deal["Amount"] or 0)) > 0:
            won[str(deal["CurrencyIsoCode"])] += round(float(str(deal["Amount"])) * 100)
    sums = books["invoices"]["by_currency"]
    assert {symbol: round(value * 100) for symbol, value in sums.items()} == dict(won)


def test_books_balance_and_point_to_each_other(small_company: Company) -> None:
    state = small_company.books(5).state(small_company.now(5))
    for entry in state["JournalEntry"].values():
        lines: Any = entry["lineList"]
        debit = sum(line.get("debit", 0.0) for line in lines)
        assert round(debit - sum(line.get("credit", 0.0) for line in lines), 2) == 0
    for invoice in state["Invoice"].values():
        items: Any = invoice["itemList"]
        assert round(sum(line["amount"] for line in items) - float(str(invoice["total"])), 2) == 0
        entity = invoice["entity"]
        assert isinstance(entity, Ref)
        assert entity.id in state["Customer"]
    applied: Counter[str] = Counter()
    for kind in ("CustomerPayment", "CreditMemo"):
        for record in state[kind].values():
            applications: Any = record["applyList"]
            for line in applications:
                applied[str(line["doc"])] += round(line["amount"] * 100)
    for key, invoice in state["Invoice"].items():
        paid = round(float(str(invoice["total"])) * 100) - applied[key]
        assert paid == round(float(str(invoice["amountRemaining"])) * 100)


def test_days_bring_news_changes_and_deletes() -> None:
    company = Company(SEED, SCALE, date(2025, 6, 1))
    seen = Counter[str]()
    for day in range(1, 5):
        seen += Counter(company.books(day).changes(company.now(day - 1), company.now(day)))
    assert seen["VendorBill"] >= 4
    assert seen["ExpenseReport"] >= 4
    before = len(company.books(4).deleted(company.now(0)))
    assert len(company.books(4).deleted(company.now(4))) > before
    assert company.now(1) - company.now(0) == timedelta(days=1)
    assert company.now(0).tzinfo == UTC


def test_zeep_is_the_only_judge_of_our_answers(caller: Caller) -> None:
    """Strict zeep reads every record of every type, so the order of elements is the contract's."""
    assert caller.client.settings.strict
    for name in ("Account", "AccountingPeriod", "Customer", "Department", "Employee", "Item",
                 "Subsidiary", "Transaction", "Vendor"):  # fmt: skip
        found = caller.search(caller.basic(name))
        assert len(found.recordList.record) == found.totalRecords > 0
    assert isinstance(caller.client, zeep.Client)
