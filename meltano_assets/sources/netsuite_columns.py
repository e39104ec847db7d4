"""How NetSuite streams are declared: where their records come from and what a column reads.

A column's ``field`` is a path from the record's element, by local names:

======================  =========================================================
``tranId``              the text of that element
``entity@internalId``   an attribute of that element (references carry their id so)
``entity/name``         the text of an element inside it
``@internalId``         an attribute of the record itself
``@type``               the record's own type (``Invoice``, ``VendorBill``)
``^lastModifiedDate``   the same, of the record around a line
``#``                   the line's number; its place in the list where it has none
``#key``                the record's id and the ``line_key`` of the line
``*``                   everything that the record holds
======================  =========================================================

NetSuite writes calendar dates as midnight of the account's own time zone; a column of type ``date``
takes the day as it is written there. Everything else is as the vendor's schema has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from meltano_assets.streams import Column, ColumnType, Stream

#: A script or an import stamps its records when it writes them and shows them when it commits.
LOOKBACK = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class RecordType:
    """Where a stream's records come from.

    ``search`` is the vendor's search (``Customer`` for CustomerSearchBasic), ``get_all`` the type of a
    list without a search, ``deleted_as`` the types under which deleted records are listed (all of
    them where it is empty), ``types`` narrows a search to transactions of these types, ``sublist``
    makes its lines the records, told apart by ``line_key``; ``custom_type`` is the internal id of a custom record's type.
    """

    search: str = ""
    get_all: str = ""
    deleted_as: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    sublist: str = ""
    line_key: tuple[str, ...] = ("line",)
    custom_type: str = ""

    @property
    def lists_deleted(self) -> bool:
        """True for the list of deleted records itself."""
        return not self.search and not self.get_all


def column_name(field: str) -> str:
    """``acctName`` → ``acct_name``, ``entity@internalId`` → ``entity_id``, ``entity/name`` → ``entity_name``."""
    parts = re.split(r"[/@]", field.lstrip("^"))
    if len(parts) > 1 and parts[0] and parts[1] == "internalId":
        parts[1] = "id"
    text = "_".join(part for part in parts if part)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text).lower()


def fields(kind: ColumnType, *names: str, is_pii: bool = False) -> tuple[Column, ...]:
    """One column for each element of that type."""
    return tuple(Column(column_name(name), kind, field=name, is_pii=is_pii) for name in names)


def texts(*names: str) -> tuple[Column, ...]:
    """Elements of text."""
    return fields("text", *names)


def personal(*names: str) -> tuple[Column, ...]:
    """Elements of text that tell of a person."""
    return fields("text", *names, is_pii=True)


def numbers(*names: str) -> tuple[Column, ...]:
    """Amounts, rates and quantities."""
    return fields("numeric", *names)


def integers(*names: str) -> tuple[Column, ...]:
    """Whole numbers."""
    return fields("bigint", *names)


def flags(*names: str) -> tuple[Column, ...]:
    """True or false."""
    return fields("boolean", *names)


def times(*names: str) -> tuple[Column, ...]:
    """Moments."""
    return fields("timestamptz", *names)


def dates(*names: str) -> tuple[Column, ...]:
    """Calendar dates."""
    return fields("date", *names)


def lists(*names: str) -> tuple[Column, ...]:
    """Lists and structures, as JSON."""
    return fields("jsonb", *names)


def references(*names: str, is_pii: bool = False) -> tuple[Column, ...]:
    """References to other records: ``<name>_id`` and ``<name>_name``."""
    columns: list[Column] = []
    for name in names:
        base = column_name(name)
        columns += [
            Column(f"{base}_id", "bigint", field=f"{name}@internalId"),
            Column(f"{base}_name", "text", field=f"{name}/name", is_pii=is_pii),
        ]
    return tuple(columns)


def address(name: str) -> tuple[Column, ...]:
    """An address, by its parts."""
    base = column_name(name)
    parts = {
        "id": "internalId",
        "country": "country",
        "state": "state",
        "city": "city",
        "addr1": "addr1",
        "addr2": "addr2",
        "addr3": "addr3",
        "zip": "zip",
        "addressee": "addressee",
        "addr_phone": "addrPhone",
        "addr_text": "addrText",
        "override": "override",
    }
    public = ("id", "country", "state", "override")
    return tuple(
        Column(
            f"{base}_{part}",
            "boolean" if part == "override" else "text",
            field=f"{name}/{field}",
            is_pii=part not in public,
        )
        for part, field in parts.items()
    )


INTERNAL_ID = Column(
    "internal_id", "bigint", "NetSuite's own id of the record.", field="@internalId"
)
EXTERNAL_ID = Column(
    "external_id", "text", "The id under which another system knows it.", field="@externalId"
)
CUSTOM_FIELDS = Column(
    "custom_field_list",
    "jsonb",
    "The account's own fields: a list of internalId, scriptId, type and value.",
    field="customFieldList",
    is_pii=True,  # whatever somebody made a field for
)
LAST_MODIFIED = Column(
    "last_modified_date", "timestamptz", "When it was last saved.", field="lastModifiedDate"
)


def described(columns: Iterable[Column], descriptions: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns with what is worth saying about them."""
    return tuple(
        replace(column, description=descriptions[column.name])
        if column.name in descriptions
        else column
        for column in columns
    )


def record_stream(
    name: str,
    record: RecordType,
    description: str,
    *columns: Column,
    descriptions: Mapping[str, str] | None = None,
    is_incremental: bool = True,
) -> Stream:
    """A stream of one record type. Without columns of its own it keeps each record whole, as JSON.

    Records of a type that cannot be searched by ``lastModifiedDate`` are replaced as a whole.
    """
    own = columns or (Column("record", "jsonb", "Everything the record holds.", field="*"),)
    listed = (INTERNAL_ID, EXTERNAL_ID, *own, *((LAST_MODIFIED,) if is_incremental else ()))
    return Stream(
        source="netsuite",
        name=name,
        columns=described(listed, descriptions or {}),
        primary_key=("internal_id",),
        replication_key="last_modified_date" if is_incremental else None,
        disposition="upsert" if is_incremental else "replace",
        description=description,
        lookback=LOOKBACK if is_incremental else timedelta(0),
        options={"record": record},
    )


def line_stream(
    name: str,
    record: RecordType,
    description: str,
    *columns: Column,
    descriptions: Mapping[str, str] | None = None,
) -> Stream:
    """A stream of the lines in one list of transactions, keyed by transaction and line."""
    around = (
        Column("unique_id", "text", "Transaction and line, joined by a dot.", field="#key"),
        Column(
            "transaction_id", "bigint", "netsuite.transactions.internal_id.", field="^@internalId"
        ),
        Column("transaction_type", "text", "Type of the transaction.", field="^@type"),
        Column("line", "bigint", "Number of the line in its transaction.", field="#"),
    )
    last_modified = Column(
        "last_modified_date",
        "timestamptz",
        "When the transaction was last saved: a line with an older one than its siblings is gone.",
        field="^lastModifiedDate",
    )
    description += (
        " Lines of a deleted transaction stay: join netsuite.transactions, where it is marked."
    )
    return Stream(
        source="netsuite",
        name=name,
        columns=described((*around, *columns, last_modified), descriptions or {}),
        primary_key=("unique_id",),
        replication_key="last_modified_date",
        description=description,
        lookback=LOOKBACK,
        options={"record": record},
    )
