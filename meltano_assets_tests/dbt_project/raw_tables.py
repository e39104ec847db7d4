"""The raw tables that the dbt project reads, made and filled without extracting anything.

The tables follow the declarations of the streams, so that a change there shows as a failing build.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from meltano_assets.hosts import cache
from meltano_assets.hosts.waterfall import CACHES
from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_hiring import HiringDesk
from meltano_assets.sandbox.company_hosts import DomainFacts
from meltano_assets.sandbox.company_sales import KEY_PREFIXES
from meltano_assets.sources import SOURCES, lever, version, zendesk, zuora_streams
from meltano_assets.sources.salesforce import SALESFORCE
from meltano_assets.streams import Stream

STREAMS: tuple[Stream, ...] = (
    *(stream for source in SOURCES for stream in source.streams),
    cache.CLEANED_HOSTS,
    *CACHES,
)

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def create_raw_tables(connection: psycopg.Connection) -> None:
    """All raw tables, empty; existing ones are emptied."""
    for stream in STREAMS:
        columns = {column.name: column.type for column in stream.columns} | {
            "_loaded_at": "timestamptz default now()",
            "_load_id": "text",
            "_deleted_at": "timestamptz",
        }
        table = sql.Identifier(stream.source, stream.name)
        connection.execute(
            sql.SQL("create schema if not exists {}").format(sql.Identifier(stream.source))
        )
        connection.execute(
            sql.SQL("create table if not exists {} ({}, primary key ({}))").format(
                table,
                sql.SQL(", ").join(
                    sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
                    for name, kind in columns.items()
                ),
                sql.SQL(", ").join(map(sql.Identifier, stream.primary_key)),
            )
        )
        connection.execute(sql.SQL("truncate {}").format(table))


def insert(
    connection: psycopg.Connection, table: tuple[str, str], rows: Iterable[Mapping[str, object]]
) -> None:
    """The rows, whose keys are columns; a column that a row lacks stays null."""
    rows = list(rows)
    if not rows:
        return
    columns = sorted({name for row in rows for name in row})
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(*table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([_value(row.get(column)) for column in columns])


def _value(value: object) -> object:
    if isinstance(value, dict | list):
        value = json.dumps(value)
    return value.replace("\0", "").replace("\\u0000", "") if isinstance(value, str) else value


def fill_from_company(connection: psycopg.Connection, company: Company, day: int = 0) -> None:
    """What a faultless extraction, cleaning and enrichment would have left on that day."""
    state = company.salesforce_state(day)
    prefixes = {prefix: name for name, prefix in KEY_PREFIXES.items()}
    for stream in SALESFORCE.streams:
        objects = state[str(stream.options["object"])].values()
        insert(
            connection,
            (stream.source, stream.name),
            (_salesforce_row(stream, record, prefixes) for record in objects),
        )
    for stream in (version.VERSION_CHECKS, version.USAGE_DATA):
        rows: dict[object, Mapping[str, object]] = {}
        for past in range(day + 1):
            rows.update({row["id"]: row for row in getattr(company.pings(past), stream.name)})
        insert(connection, (stream.source, stream.name), (_row(stream, r) for r in rows.values()))
    tickets = {t["id"]: t for past in range(day + 1) for t in company.zendesk_tickets(past)}
    stream = zendesk.TICKETS
    insert(connection, (stream.source, stream.name), (_row(stream, t) for t in tickets.values()))
    records = company.zendesk_records()
    for stream in (zendesk.USERS, zendesk.ORGANIZATIONS, zendesk.GROUPS):
        listed = (_row(stream, record) for record in records[stream.name])
        insert(connection, (stream.source, stream.name), listed)
    _fill_hosts(connection, company, day)
    _fill_caches(connection, company, day)
    _fill_billing(connection, company, day)
    _fill_hiring(connection, company, day)


def _fill_billing(connection: psycopg.Connection, company: Company, day: int) -> None:
    kept: dict[str, dict[object, Mapping[str, object]]] = {}
    for past in range(day + 1):
        for name, records in company.zuora_records(past).items():
            kept.setdefault(name, {}).update({record["Id"]: record for record in records})
    for stream in zuora_streams.STREAMS:
        records = kept.get(str(stream.options["object"]), {}).values()
        insert(
            connection,
            (stream.source, stream.name),
            (
                _row(stream, r) | {"_deleted_at": r["UpdatedDate"] if r.get("Deleted") else None}
                for r in records
            ),
        )


def _fill_hiring(connection: psycopg.Connection, company: Company, day: int) -> None:
    desk, now = HiringDesk(company), int(company.now(day).timestamp() * 1000)
    desk.build(day)
    opportunities = [o for o in desk.opportunities(now) if o["confidentiality"] != "confidential"]
    nested: dict[str, list[dict[str, object]]] = {"applications": [], "offers": []}
    for opportunity in opportunities:
        key = str(opportunity["id"])
        for name, read in (("applications", desk.applications), ("offers", desk.offers)):
            found = read(key, now) or ()
            nested[name].extend({**record, "opportunityId": key} for record in found)
    listed = {
        "opportunities": opportunities,
        "postings": desk.postings(now),
        "stages": desk.stages(),
        "archive_reasons": desk.archive_reasons(),
    }
    for stream in lever.STREAMS:
        if stream.name in listed:
            rows = (_lever_row(stream, record) for record in listed[stream.name])
            insert(connection, (stream.source, stream.name), rows)
        elif stream.name in nested:
            rows = (
                _lever_row(stream, record) | {"opportunity_id": record["opportunityId"]}
                for record in nested[stream.name]
            )
            insert(connection, (stream.source, stream.name), rows)


def _lever_row(stream: Stream, record: Mapping[str, object]) -> dict[str, object]:
    flat = dict(record)
    archived = record.get("archived")
    if isinstance(archived, dict):
        flat |= {"archiveReasonId": archived["reason"], "archivedAt": archived["archivedAt"]}
    row = _row(stream, flat)
    for column in stream.columns:
        value = row[column.name]
        if column.type == "timestamptz" and isinstance(value, int):
            row[column.name] = datetime.fromtimestamp(value / 1000, UTC)
    return row


def _row(stream: Stream, record: Mapping[str, object]) -> dict[str, object]:
    row: dict[str, object] = {}
    for column in stream.columns:
        value = record.get(column.vendor_field)
        if column.type == "jsonb" and value is not None and not isinstance(value, str):
            value = json.dumps(value)
        # Postgres writes an endless date as the text infinity; Python has no value for it.
        row[column.name] = value
    return row


def _salesforce_row(
    stream: Stream, record: Mapping[str, object], objects: Mapping[str, str]
) -> dict[str, object]:
    row = _row(stream, record)
    for column in stream.columns:
        if column.vendor_field.endswith(".Type"):
            leads_to = str(record.get(column.vendor_field.replace(".Type", "Id")) or "")
            row[column.name] = objects.get(leads_to[:3])
    row["_deleted_at"] = record["SystemModstamp"] if record.get("IsDeleted") else None
    return row


def _fill_hosts(connection: psycopg.Connection, company: Company, day: int) -> None:
    addresses = company.truths_on(day)["hosts"]["addresses"]  # type: ignore[index]
    rows = []
    for host in company.raw_hosts(day).values():
        full, registrable = host.clean_full_domain, host.clean_domain
        if host.kind in ("ipv4", "ipv6"):
            full = registrable = addresses.get(host.raw, host.raw)
        rows.append(
            {
                "raw_host": host.raw,
                "kind": host.kind,
                "clean_domain": registrable,
                "clean_full_domain": full,
                "cleaned_at": _NOW,
            }
        )
    insert(connection, ("hosts", "cleaned_hosts"), rows)


def _fill_caches(connection: psycopg.Connection, company: Company, day: int) -> None:
    seen = {h.clean_domain for h in company.raw_hosts(day).values() if h.clean_domain}
    tables: dict[str, list[dict[str, object]]] = {stream.name: [] for stream in CACHES}
    for domain, facts in company.domain_facts(day).items():
        if domain not in seen:
            continue
        asked = {"domain": domain, "last_update": _NOW}
        provider = facts.provider_on(day)
        tables["discoverorg_cache"].append(
            {**asked, **(_hit(facts) if provider == "discoverorg" else {"outcome": "miss"})}
        )
        if provider == "discoverorg":
            continue
        answer = facts.clearbit_on(day)
        tables["clearbit_cache"].append(
            {**asked, **(_hit(facts) if answer == "hit" else {"outcome": _outcome(answer)})}
        )
        if provider == "whois" and facts.organisation:
            hit = {"outcome": "hit", "name": facts.organisation.legal_name, "method": "rdap"}
            tables["whois_cache"].append({**asked, **hit})
        elif provider is None:
            tables["whois_cache"].append({**asked, "outcome": "miss"})
    for address, name in company.reverse_names.items():
        tables["reverse_dns_cache"].append(
            {
                "ip": address,
                "host_name": name,
                "clean_domain": ".".join(name.split(".")[-2:]),
                "clean_full_domain": name,
                "outcome": "hit",
                "last_update": _NOW,
            }
        )
    for table, rows in tables.items():
        insert(connection, ("enrichment", table), rows)


def _outcome(answer: str) -> str:
    return answer if answer in ("hit", "miss", "pending") else "error"


def _hit(facts: DomainFacts) -> dict[str, object]:
    known = facts.organisation
    assert known is not None
    return {
        "outcome": "hit",
        "company_name": known.name,
        "company_legalname": known.legal_name,
        "company_domain": known.domain,
        "company_industry": known.industry,
        "company_desc": known.description,
        "company_emp": str(known.employees),
        "company_phone": known.phone,
    }
