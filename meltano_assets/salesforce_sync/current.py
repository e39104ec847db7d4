"""What Salesforce holds now: the records that a plan is compared with, in canonical text.

Three ways of asking, the cheapest that fits: by keys in a few queries, all records of the object
by REST pages, all records by one Bulk query job. None costs a request per record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from meltano_assets.errors import FatalError
from meltano_assets.salesforce_sync.compare import ID, lookup_field, selected_fields
from meltano_assets.salesforce_sync.spec import Reference, SyncSpec
from meltano_assets.salesforce_sync.values import (
    Field,
    ObjectDescription,
    canonical,
    canonical_column,
    parse_describe,
    storable,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from meltano_assets.clients.salesforce import SalesforceClient

#: Salesforce takes addresses of 16,384 bytes; the rest of the query needs some of them.
_KEY_BYTES = 11_000
#: An external id field holds no more.
_MAX_KEY = 255
_PAGE_ROWS = (1_000, 100_000)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """When which way of asking is the cheapest. Tests make the numbers small.

    A query job is left alone for a while, by its size, before its state is asked for: each time
    costs a request of the org's day. Its pages are cut by bytes: ``row_bytes`` is what a record
    is expected to take.
    """

    few_queries: int = 2
    rest_records: int = 6_000
    job_bytes_per_second: int = 30_000_000
    job_wait_seconds: float = 30.0
    page_bytes: int = 100 << 20
    row_bytes: int = 1_000
    sleep: Callable[[float], None] = time.sleep


_DEFAULT = FetchOptions()


def fetch_describe(client: SalesforceClient, object_name: str) -> ObjectDescription:
    """The object as the org describes it."""
    return parse_describe(client.describe(object_name))


def fetch_current(
    client: SalesforceClient,
    spec: SyncSpec,
    describe: ObjectDescription,
    keys: Collection[str],
    options: FetchOptions = _DEFAULT,
) -> pa.Table:
    """The records with these keys (others may be among them), as planning wants them."""
    key_field = describe.field(spec.key_field)
    names = selected_fields(spec, describe)
    return fetch_records(client, describe, names, key_field, keys, options=options)


def fetch_records(
    client: SalesforceClient,
    describe: ObjectDescription,
    names: Sequence[str],
    key_field: Field,
    keys: Collection[str],
    *,
    options: FetchOptions = _DEFAULT,
) -> pa.Table:
    """``names`` (fields, or paths to a parent's field) of the records whose ``key_field`` is
    among ``keys``, at least; all columns are canonical text.
    """
    fields = [describe.find(name) or Field(name=name, type="string") for name in names]
    select = f"SELECT {', '.join(names)} FROM {describe.name}"
    # Longer ones are in no record, and would not fit into an address.
    longest = key_field.length or _MAX_KEY
    ordered = sorted({key for key in keys if len(key) <= longest})
    if not ordered:
        return _table(fields, [])
    if len(list(islice(_chunks(ordered), options.few_queries + 1))) > options.few_queries:
        everything = "" if key_field.name == ID else f"{key_field.name} != null"
        where = f" WHERE {everything}" if everything else ""
        if len(ordered) > options.rest_records:
            return _bulk_table(client, fields, select + where, len(ordered), options)
        total = client.count(describe.name, everything)
        if total <= options.rest_records:
            return _table(fields, _rest(client, [select + where]))
        # Reading a huge object for a few thousand of its records costs more than asking for them.
        if total <= 20 * len(ordered):
            return _bulk_table(client, fields, select + where, total, options)
    chunks = _chunks(ordered)
    queries = (f"{select} WHERE {key_field.name} IN ({','.join(chunk)})" for chunk in chunks)
    return _table(fields, _rest(client, queries))


def fetch_existing_parents(
    client: SalesforceClient,
    describe: ObjectDescription,
    reference: Reference,
    wanted: Collection[str],
    options: FetchOptions = _DEFAULT,
) -> set[str]:
    """Those of the parents' external ids that exist."""
    targets = lookup_field(reference, describe).reference_to
    if not targets:
        raise FatalError(f"{reference.relationship} leads to no object", source="salesforce")
    parent = ObjectDescription(name=targets[0], fields={})
    key_field = Field(name=reference.external_id, type="string")
    table = fetch_records(
        client, parent, [reference.external_id], key_field, wanted, options=options
    )
    return {each for each in table.column(0).to_pylist() if each is not None}


def soql_text(text: str) -> str:
    """A SOQL string literal, quotes included."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f"'{escaped}'"


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    """Literals in groups that fit into one address."""
    chunk: list[str] = []
    size = 0
    for key in keys:
        literal = soql_text(key)
        cost = len(quote(literal, safe="")) + 3
        if chunk and size + cost > _KEY_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(literal)
        size += cost
    if chunk:
        yield chunk


def _rest(client: SalesforceClient, queries: Iterable[str]) -> Iterator[Mapping[str, object]]:
    for soql in queries:
        for page in client.query(soql):
            yield from page


def _table(fields: Sequence[Field], records: Iterable[Mapping[str, object]]) -> pa.Table:
    import pyarrow as pa

    columns: list[list[str | None]] = [[] for _ in fields]
    paths = [field.name.split(".") for field in fields]
    for record in records:
        for column, field, path in zip(columns, fields, paths, strict=True):
            column.append(_tolerant(_follow(record, path), field))
    names = [field.name for field in fields]
    return pa.table([pa.array(column, pa.large_string()) for column in columns], names=names)


def _follow(record: Mapping[str, object], path: Sequence[str]) -> object:
    value: object = record
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _tolerant(value: object, field: Field) -> str | None:
    """What Salesforce itself says is taken as it is where it does not fit the field's type."""
    try:
        return canonical(value, field, is_stored=True)
    except ValueError:
        return storable(str(value))


def _bulk_table(
    client: SalesforceClient,
    fields: Sequence[Field],
    soql: str,
    expected: int,
    options: FetchOptions,
) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    names = [field.name for field in fields]
    tables = []
    least, most = _PAGE_ROWS
    page_rows = min(max(options.page_bytes // max(options.row_bytes, 1), least), most)
    seconds = expected * options.row_bytes / options.job_bytes_per_second
    wait = min(seconds, options.job_wait_seconds)
    for page in client.bulk_query(
        soql, page_rows=page_rows, on_job=lambda job: options.sleep(wait)
    ):
        table = csv.read_csv(
            pa.BufferReader(page),
            read_options=csv.ReadOptions(
                column_names=names, skip_rows=1, block_size=max(len(page), 1)
            ),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False
            ),
        )
        columns = []
        for field in fields:
            column, odd = canonical_column(table.column(field.name), field, is_stored=True)
            if odd:
                raw = cast(list[object], table.column(field.name).to_pylist())
                column = pa.array([_tolerant(value, field) for value in raw], pa.large_string())
            columns.append(column)
        tables.append(pa.table(columns, names=names))
    return pa.concat_tables(tables) if tables else _table(fields, [])
