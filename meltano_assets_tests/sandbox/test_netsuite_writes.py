"""What clients write to NetSuite by SOAP, by its contract, with nothing but zeep."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from zeep.exceptions import Fault

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.netsuite_caller import Caller


class Writer(Caller):
    """A caller that writes, too."""

    def ref(self, key: str | None = None, **more: object) -> Any:
        return self.make("RecordRef", internalId=key, **more)

    def write(self, operation: str, record: Any) -> Any:
        name = "baseRef" if operation == "delete" else "record"
        return self.call(operation, **{name: record}).writeResponse

    def written(self, operation: str, record: Any) -> str:
        """The internal id of a record that was written."""
        answer = self.write(operation, record)
        assert answer.status.isSuccess, answer
        return str(answer.baseRef.internalId)

    def refused(self, operation: str, record: Any) -> tuple[str, str]:
        """Why a record was not written."""
        status = self.write(operation, record).status
        assert not status.isSuccess
        return status.statusDetail[0].code, status.statusDetail[0].message

    def read(self, kind: str, key: str) -> Any:
        answer = self.call("get", baseRef=self.ref(key, type=kind))
        return answer.readResponse.record

    def customer(self, **fields: object) -> Any:
        return self.make("Customer", **{"companyName": "New & Sons", **fields})

    def found(self, kind: str, **criteria: Any) -> list[Any]:
        records = self.search(self.basic(kind, **criteria)).recordList
        return list(records.record) if records is not None else []


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """Books of these tests' own."""
    folder = tmp_path_factory.mktemp("books")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.05, today=TODAY) as manifest:
        yield Writer(manifest["netsuite"])


def test_a_new_record_is_found_everywhere(writer: Writer) -> None:
    make = writer.make
    now = writer.call("getServerTime").getServerTimeResult.serverTime
    fields = make(
        "CustomFieldList",
        customField=[
            make("StringCustomFieldRef", scriptId="custentity_note", value="a <b>"),
            make("DoubleCustomFieldRef", scriptId="custentity_health", value=0.5),
        ],
    )
    address = make(
        "CustomerAddressbookList",
        addressbook=[
            make(
                "CustomerAddressbook",
                label="Home",
                addressbookAddress=make("Address", city="Jena", country="_germany"),
            )
        ],
    )
    key = writer.written(
        "add",
        writer.customer(
            externalId="ext-1",
            email="n@new.example",
            subsidiary=writer.ref("1"),
            customFieldList=fields,
            addressbookList=address,
        ),
    )
    record = writer.read("customer", key)
    assert (record.companyName, record.entityId) == ("New & Sons", "New & Sons")
    assert (record.externalId, record.subsidiary.name) == ("ext-1", "Meltano Sandbox")
    assert record.addressbookList.addressbook[0].addressbookAddress.city == "Jena"
    assert [f.value for f in record.customFieldList.customField] == ["a <b>", 0.5]
    since = make("SearchDateField", operator="onOrAfter", searchValue=now)
    news = writer.found("Customer", lastModifiedDate=since)
    assert [item.internalId for item in news] == [key]
    by_external = writer.call("get", baseRef=writer.ref(externalId="ext-1", type="customer"))
    assert by_external.readResponse.record.internalId == key


def test_updates_keep_what_they_do_not_name(writer: Writer) -> None:
    key = writer.written("add", writer.customer(email="u@new.example", phone="1"))
    writer.written("update", writer.make("Customer", internalId=key, phone="2"))
    record = writer.read("customer", key)
    assert (record.email, record.phone) == ("u@new.example", "2")
    nulls = writer.make("NullField", name=["phone"])
    writer.written("update", writer.make("Customer", internalId=key, nullFieldList=nulls))
    assert writer.read("customer", key).phone is None
    known = writer.found("Vendor")[0]
    writer.written("update", writer.make("Vendor", internalId=known.internalId, phone="9"))
    changed = writer.read("vendor", known.internalId)
    assert (changed.phone, changed.email) == ("9", known.email)
    assert changed.lastModifiedDate > known.lastModifiedDate


def test_upserts_go_by_the_external_id(writer: Writer) -> None:
    first = writer.written("upsert", writer.customer(externalId="up-1", phone="1"))
    assert writer.written("upsert", writer.customer(externalId="up-1", phone="2")) == first
    assert writer.read("customer", first).phone == "2"
    assert writer.refused("add", writer.customer(externalId="up-1"))[0] == "DUP_RCRD"
    assert writer.refused("upsert", writer.customer())[0] == "MISSING_REQD_ARGUMENT"


def test_an_invoice_sums_its_lines(writer: Writer) -> None:
    make = writer.make
    customer = writer.found("Customer")[0].internalId
    item = writer.found("Item")[0].internalId
    lines = [
        make("InvoiceItem", item=writer.ref(item), quantity=3, rate="10.50"),
        make("InvoiceItem", item=writer.ref(item), amount=100.25),
    ]
    items = make("InvoiceItemList", item=lines)
    when = datetime(2025, 2, 3, 8, tzinfo=UTC)
    invoice = make("Invoice", entity=writer.ref(customer), tranDate=when, itemList=items)
    key = writer.written("add", invoice)
    record = writer.read("invoice", key)
    assert (record.total, record.amountRemaining, record.status) == (131.75, 131.75, "Open")
    assert [line.amount for line in record.itemList.item] == [31.5, 100.25]
    assert record.tranDate == when
    more = make(
        "InvoiceItemList",
        replaceAll=False,
        item=[make("InvoiceItem", line=2, amount=1.0), make("InvoiceItem", amount=2.0)],
    )
    writer.written("update", make("Invoice", internalId=key, itemList=more))
    assert writer.read("invoice", key).total == 34.5
    among = make("SearchEnumMultiSelectField", operator="anyOf", searchValue=["_invoice"])
    assert key in {record.internalId for record in writer.found("Transaction", type=among)}


def test_what_makes_no_sense_is_refused_with_a_code(writer: Writer) -> None:
    make = writer.make
    for record, code, words in (
        (make("Customer", phone="1"), "USER_ERROR", "Company Name"),
        (make("Invoice", entity=writer.ref("999999")), "INVALID_KEY_OR_REF", "999999"),
        (make("Invoice", memo="x"), "USER_ERROR", "Customer, Items"),
        (writer.customer(subsidiary=writer.ref("77")), "INVALID_KEY_OR_REF", "subsidiary"),
    ):
        told, message = writer.refused("add", record)
        assert told == code
        assert words in message
    account = writer.found("Account")[0].internalId
    lines = [
        make("JournalEntryLine", account=writer.ref(account), debit=10.0),
        make("JournalEntryLine", account=writer.ref(account), credit=9.0),
    ]
    journal = make(
        "JournalEntry",
        subsidiary=writer.ref("1"),
        lineList=make("JournalEntryLineList", line=lines),
    )
    assert "balance" in writer.refused("add", journal)[1]
    lines[1].credit = 10.0
    assert writer.written("add", journal)
    missing = make("Customer", internalId="999999", phone="1")
    assert writer.refused("update", missing)[0] == "RCRD_DSNT_EXIST"


def test_deletes_are_remembered_and_respect_what_depends(writer: Writer) -> None:
    key = writer.written("add", writer.customer(companyName="Gone"))
    now = writer.call("getServerTime").getServerTimeResult.serverTime
    assert writer.written("delete", writer.ref(key, type="customer")) == key
    assert writer.refused("delete", writer.ref(key, type="customer"))[0] == "RCRD_DSNT_EXIST"
    since = writer.make("SearchDateField", operator="onOrAfter", searchValue=now)
    told = writer.call(
        "getDeleted", getDeletedFilter=writer.make("GetDeletedFilter", deletedDate=since)
    ).getDeletedResult.deletedRecordList.deletedRecord
    assert [(item.record.internalId, item.record.name) for item in told] == [(key, "Gone")]
    invoice = writer.found("Transaction")[0]
    who = writer.ref(invoice.entity.internalId, type="vendor")
    assert writer.refused("delete", who)[0] == "CANT_DELETE_ENTITY"


def test_lists_answer_record_by_record(writer: Writer) -> None:
    records = [writer.customer(companyName="L1"), writer.make("Customer", phone="1")]
    answer = writer.call("addList", record=records).writeResponseList
    assert [each.status.isSuccess for each in answer.writeResponse] == [True, False]
    key = answer.writeResponse[0].baseRef.internalId
    refs = [writer.ref(key, type="customer"), writer.ref("999999", type="customer")]
    gone = writer.call("deleteList", baseRef=refs).writeResponseList
    assert [each.status.isSuccess for each in gone.writeResponse] == [True, False]
    with pytest.raises(Fault) as info:
        writer.call("updateList", record=[writer.customer()] * 101)
    assert b"MAX_RCRDS_EXCEEDED" in _detail(info.value)


def test_jobs_answer_later(writer: Writer) -> None:
    records = [writer.customer(companyName="J1"), writer.make("Customer", phone="1")]
    begun = writer.call("asyncAddList", record=records).asyncStatusResult
    assert begun.status == "pending"
    done = writer.call("checkAsyncStatus", jobId=begun.jobId).asyncStatusResult
    assert (done.status, done.percentCompleted) == ("finished", 100.0)
    result = writer.call("getAsyncResult", jobId=begun.jobId, pageIndex=1).asyncResult
    states = [each.status.isSuccess for each in result.writeResponseList.writeResponse]
    assert states == [True, False]
    search = writer.call("asyncSearch", searchRecord=writer.basic("Vendor")).asyncStatusResult
    found = writer.call("getAsyncResult", jobId=search.jobId, pageIndex=1).asyncResult
    assert found.searchResult.totalRecords == len(writer.found("Vendor"))
    with pytest.raises(Fault) as info:
        writer.call("checkAsyncStatus", jobId="nothing")
    assert b"asyncFault" in _detail(info.value)


def _detail(fault: Fault) -> bytes:
    from lxml import etree

    return etree.tostring(fault.detail)


def test_what_was_written_outlives_a_restart_and_the_companys_days(tmp_path: Path) -> None:
    where: dict[str, Any] = {"state_dir": tmp_path, "seed": 7, "scale": 0.05, "today": TODAY}
    with serve_in_thread(**where) as manifest:
        writer = Writer(manifest["netsuite"])
        fields = [writer.make("StringCustomFieldRef", scriptId="custentity_note", value="kept")]
        custom = writer.make("CustomFieldList", customField=fields)
        key = writer.written(
            "add", writer.customer(subsidiary=writer.ref("1"), customFieldList=custom)
        )
        before = writer.read("customer", key)
    with serve_in_thread(**where) as manifest:
        Sandbox(manifest).advance(2)
        after = Writer(manifest["netsuite"]).read("customer", key)
    assert str(after) == str(before)
