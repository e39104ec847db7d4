"""XML → Arrow (X2): paths, types as declared, empty against missing, lines, JSON, hostile text."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from meltano_assets.sources.netsuite_columns import (
    CUSTOM_FIELDS,
    INTERNAL_ID,
    column_name,
    dates,
    flags,
    lists,
    numbers,
    references,
    texts,
    times,
)
from meltano_assets.sources.xml_records import XmlColumns
from meltano_assets.streams import Column

XSI = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'


def records(*contents: str) -> list[Any]:
    inside = "".join(
        f'<r internalId="{place}" i:type="q:Invoice">{content}</r>'
        for place, content in enumerate(contents, 1)
    )
    return list(etree.fromstring(f'<all xmlns="urn:x" xmlns:q="urn:q" {XSI}>{inside}</all>'))


def test_values_are_found_by_path_and_typed() -> None:
    columns = XmlColumns(
        (
            INTERNAL_ID,
            Column("kind", "text", field="@type"),
            *texts("memo"),
            *references("entity"),
            Column("city", "text", field="address/city"),
            *numbers("total"),
            *flags("closed"),
            *dates("tranDate"),
            *times("lastModifiedDate"),
        )
    )
    batch = columns.batch(
        records(
            '<memo>a &amp; b</memo><entity internalId="7"><name>Acme</name></entity><total>1.2345678E7'
            "</total><closed>true</closed><tranDate>2024-03-10T00:00:00.000+11:00</tranDate>"
            "<lastModifiedDate>2024-03-10T01:02:03.004-08:00</lastModifiedDate>"
            "<address><zip>1</zip><city>Jena</city></address>",
            "<total>-0.125</total><closed>false</closed>",
        )
    )
    assert batch.to_pylist() == [
        {
            "internal_id": 1, "kind": "Invoice", "memo": "a & b", "entity_id": 7,
            "entity_name": "Acme", "city": "Jena", "total": Decimal("12345678"), "closed": True,
            "tran_date": date(2024, 3, 10),
            "last_modified_date": datetime(2024, 3, 10, 9, 2, 3, 4000, tzinfo=UTC),
        },
        {
            "internal_id": 2, "kind": "Invoice", "memo": None, "entity_id": None,
            "entity_name": None, "city": None, "total": Decimal("-0.125"), "closed": False,
            "tran_date": None, "last_modified_date": None,
        },
    ]  # fmt: skip


def test_empty_missing_and_nil_stay_apart() -> None:
    columns = XmlColumns((*texts("memo"), *numbers("total")))
    batch = columns.batch(
        records("<memo/><total/>", "", f'<memo {XSI} i:nil="true"/><total>1</total>')
    )
    assert batch.column("memo").to_pylist() == ["", None, None]
    assert batch.column("total").to_pylist() == [None, None, Decimal(1)]


def test_a_value_that_does_not_fit_keeps_its_column_as_text() -> None:
    batch = XmlColumns(numbers("total")).batch(
        records("<total>12.50</total>", "<total>n/a</total>")
    )
    assert batch.column("total").to_pylist() == ["12.50", "n/a"]


def test_what_no_column_declares_is_reported() -> None:
    columns = XmlColumns(texts("memo"))
    columns.batch(records("<memo>a</memo><brandNew>1</brandNew>", "<other/>"))
    assert columns.undeclared == {"brandNew", "other"}


def test_lines_are_numbered_keyed_and_know_their_record() -> None:
    columns = XmlColumns(
        (
            Column("unique_id", "text", field="#key"),
            Column("transaction_id", "bigint", field="^@internalId"),
            Column("memo", "text", field="^memo"),
            Column("line", "bigint", field="#"),
            *numbers("amount"),
        ),
        ("doc", "line"),
    )
    batch = columns.line_batch(
        records(
            "<memo>m</memo><applyList>"
            "<apply><doc>5</doc><line>0</line><amount>1</amount></apply>"
            "<apply><doc>5</doc><line>0</line><amount>2</amount></apply>"
            "<apply><amount>3</amount></apply></applyList>",
            "<memo>without</memo>",
        ),
        "applyList",
    )
    assert batch.to_pylist() == [
        {"unique_id": "1.5.0", "transaction_id": 1, "memo": "m", "line": 0, "amount": Decimal(1)},
        {"unique_id": "1.5.0.2", "transaction_id": 1, "memo": "m", "line": 0, "amount": Decimal(2)},
        {"unique_id": "1.3.3", "transaction_id": 1, "memo": "m", "line": 3, "amount": Decimal(3)},
    ]
    assert columns.undeclared == set()


def test_no_records_make_an_empty_batch_of_the_right_types() -> None:
    batch = XmlColumns((INTERNAL_ID, *numbers("total"), *dates("day"))).batch([])
    assert batch.num_rows == 0
    assert batch.schema.field("internal_id").type == pa.int64()


def test_structures_become_json() -> None:
    columns = XmlColumns((CUSTOM_FIELDS, *lists("subsidiaryList", "address", "itemList")))
    batch = columns.batch(
        records(
            "<customFieldList>"
            '<customField i:type="c:StringCustomFieldRef" internalId="1" scriptId="s"><value>00123'
            '</value></customField><customField i:type="c:BooleanCustomFieldRef" internalId="2"'
            ' scriptId="b"><value>true</value></customField>'
            '<customField i:type="c:DoubleCustomFieldRef" internalId="3" scriptId="d"><value>0.1'
            '</value></customField><customField i:type="c:DoubleCustomFieldRef" internalId="4"'
            ' scriptId="e"><value>0.12345678901234567890</value></customField>'
            '<customField i:type="c:SelectCustomFieldRef" internalId="5" scriptId="o">'
            '<value internalId="9" typeId="7"><name>EMEA</name></value></customField>'
            '<customField i:type="c:MultiSelectCustomFieldRef" internalId="6" scriptId="m">'
            '<value internalId="9"><name>one</name></value></customField></customFieldList>'
            '<subsidiaryList><recordRef internalId="1"><name>Inc</name></recordRef></subsidiaryList>'
            "<address><city>Jena</city><zip>07743</zip></address>"
            '<itemList replaceAll="false"><item><line>1</line><tag>a</tag><tag>b</tag></item></itemList>'
        )
    )
    (row,) = batch.to_pylist()
    values = {field["scriptId"]: field["value"] for field in json.loads(row["custom_field_list"])}
    assert values == {
        "s": "00123", "b": True, "d": 0.1, "e": "0.12345678901234567890",
        "o": {"internalId": "9", "typeId": "7", "name": "EMEA"},
        "m": [{"internalId": "9", "name": "one"}],
    }  # fmt: skip
    assert json.loads(row["subsidiary_list"]) == [{"internalId": "1", "name": "Inc"}]
    assert json.loads(row["address"]) == {"city": "Jena", "zip": "07743"}
    assert json.loads(row["item_list"]) == [{"line": "1", "tag": ["a", "b"]}]


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")))
def test_any_text_survives(text: str) -> None:
    batch = XmlColumns(texts("memo")).batch(records(f"<memo>{escape(text)}</memo>"))
    assert batch.column("memo").to_pylist() == [text]


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9
    )
)
def test_any_amount_is_exact(amount: Decimal) -> None:
    batch = XmlColumns(numbers("total")).batch(records(f"<total>{amount:f}</total>"))
    assert batch.column("total").to_pylist() == [amount]


def test_columns_are_named_as_the_field_is() -> None:
    assert [
        column_name(field)
        for field in ("acctName", "tax1Amt", "is1099Eligible", "entity@internalId", "entity/name")
    ] == ["acct_name", "tax1_amt", "is1099_eligible", "entity_id", "entity_name"]
