"""A small simulated org over a real socket, a client of it, and models in a real Postgres."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from psycopg import sql

from meltano_assets.clients.policy import Clock, Transport
from meltano_assets.clients.salesforce import Poll, SalesforceClient
from meltano_assets.salesforce_sync.push import PushOptions
from meltano_assets.salesforce_sync.spec import SyncSpec, parse_spec
from meltano_assets.salesforce_sync.sync import SyncOutcome, run_sync
from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.salesforce import SalesforceOrg, build_app
from meltano_assets.sandbox.salesforce_faults import salesforce_faults
from meltano_assets.sandbox.salesforce_schema import make_id
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer

HOSTS = {
    "model": "hosts",
    "object": "Host__c",
    "external_id": "Meltano_Id__c",
    "operation": "upsert",
    "depends_on": ["new_accounts"],
    "references": {
        "account_meltano_id": {"relationship": "Account__r", "external_id": "Meltano_Id__c"}
    },
    "fields": {
        "name": {"field": "Name", "policy": "own"},
        "account__c": {"field": "Account__c", "policy": "fill_if_empty"},
        "account_meltano_id": {"field": "Account__c", "policy": "fill_if_empty"},
        "host_users__c": {"field": "Host_Users__c", "policy": "own"},
        "last_ping__c": {"field": "Last_Ping__c", "policy": "own"},
        "raw_usage_stats__c": {"field": "Raw_Usage_Stats__c", "policy": "own"},
        "mattermost_enabled__c": {"field": "Mattermost_Enabled__c", "policy": "own"},
        "host_data_source__c": {"field": "Host_Data_Source__c", "policy": "own"},
        "version_link__c": {"field": "Version_Link__c", "policy": "own"},
    },
}
NEW_ACCOUNTS = {
    "model": "new_accounts",
    "object": "Account",
    "external_id": "Meltano_Id__c",
    "operation": "create",
    "fields": {"name": "Name", "website": "Website", "type": "Type", "using_ce__c": "Using_CE__c"},
}
ACCOUNT_UPDATES = {
    "model": "account_updates",
    "object": "Account",
    "match": "id",
    "operation": "update",
    "fields": {"industry": "Industry", "numberofemployees": "NumberOfEmployees"},
}
COLUMNS = {
    "hosts": {
        "meltano_id__c": "text",
        "name": "text",
        "account__c": "text",
        "account_meltano_id": "text",
        "host_users__c": "numeric",
        "last_ping__c": "date",
        "raw_usage_stats__c": "jsonb",
        "mattermost_enabled__c": "boolean",
        "host_data_source__c": "text",
        "version_link__c": "text",
    },
    "new_accounts": {
        "meltano_id__c": "text",
        "name": "text",
        "website": "text",
        "type": "text",
        "using_ce__c": "boolean",
        "changed_at": "timestamptz",
    },
    "account_updates": {"id": "text", "industry": "text", "numberofemployees": "bigint"},
    "scored_leads": {"lead_id": "text", "industry": "text", "title": "text", "company": "text"},
}

#: Chunks and jobs so small that few records exercise them.
SMALL = PushOptions(bulk_threshold=40, bulk_job_rows=60, lock_wait_seconds=0)


@dataclass
class StandingClock:
    """The org's time."""

    at: datetime = datetime(2026, 3, 1, 9, tzinfo=UTC)
    day: int = 0

    def now(self) -> datetime:
        return self.at


@dataclass
class SmallCompany:
    """The records that the org starts with."""

    records: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def salesforce_records(self, day: int) -> Mapping[str, Sequence[Mapping[str, object]]]:
        return self.records if day == 0 else {}


@dataclass
class World:
    """An org, the warehouse with its models, and the means to sync one to the other."""

    org: SalesforceOrg
    faults: FaultBox
    settings: dict[str, str]
    warehouse: Warehouse
    clock: StandingClock
    specs: dict[str, SyncSpec]
    client: SalesforceClient
    options: PushOptions = SMALL
    runs: int = 0

    def fill(self, model: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Make the model's table hold exactly these rows."""
        columns = COLUMNS[model]
        table = sql.Identifier("sync", model)
        names = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))  # type: ignore[arg-type]
            for name, kind in columns.items()
        )
        with self.warehouse.connect() as connection:
            connection.execute("create schema if not exists sync")
            connection.execute(sql.SQL("drop table if exists {}").format(table))
            connection.execute(sql.SQL("create table {} ({})").format(table, names))
            with (
                connection.cursor() as cursor,
                cursor.copy(sql.SQL("copy {} from stdin").format(table)) as copy,
            ):
                for row in rows:
                    copy.write_row([row.get(name) for name in columns])

    def sync(self, name: str = "hosts", *, push: bool = True, **values: Any) -> SyncOutcome:
        """One run of one sync."""
        self.runs += 1
        given: dict[str, Any] = {
            "push": push,
            "now": datetime(2026, 3, 1, 12, tzinfo=UTC),
            "run_id": f"run{self.runs}",
            "options": self.options,
            "sleep": lambda seconds: None,
        }
        return run_sync(self.warehouse, self.client, self.specs[name], **(given | values))

    def records(self, object_name: str, *fields: str) -> list[dict[str, object]]:
        """The object's records as Salesforce tells them, by name."""
        names = ", ".join(["Id", *fields])
        pages = self.client.query(f"SELECT {names} FROM {object_name} ORDER BY Name")
        records = [record for page in pages for record in page]
        for record in records:
            record.pop("attributes", None)
        return records

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query in the warehouse."""
        with self.warehouse.connect() as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]


def host(key: str, **values: object) -> dict[str, object]:
    """A row of the hosts model."""
    given = {"meltano_id__c": key, "name": key, "host_data_source__c": "WHOIS"}
    return {**given, **values}


def account(number: int, name: str, **values: object) -> dict[str, object]:
    """An account that the org starts with."""
    return {"Id": make_id("001", number, "Co0"), "Name": name, **values}


@pytest.fixture(scope="session")
def sync_database(server: EmbeddedServer) -> Warehouse:
    """One database for all tests of the sync: emptying it is quicker than making another."""
    server.ensure_database("salesforce_sync_tests")
    return Warehouse(server.url("salesforce_sync_tests"))


@pytest.fixture
def warehouse(sync_database: Warehouse) -> Warehouse:
    """That database, emptied."""
    with sync_database.connect() as connection:
        connection.execute("drop schema if exists salesforce_sync, sync cascade")
    return sync_database


@pytest.fixture
def company() -> SmallCompany:
    """Three accounts; tests may add records before the org starts."""
    return SmallCompany(
        {
            "Account": [
                account(1, "Acme", Industry="Technology", NumberOfEmployees=10),
                account(2, "Bolt", Meltano_Id__c="bolt.com"),
                account(3, "Core"),
            ]
        }
    )


@pytest.fixture
def world(company: SmallCompany, warehouse: Warehouse, tmp_path: Path) -> Iterator[World]:
    clock = StandingClock()
    org = SalesforceOrg(tmp_path / "org", company, clock)
    org.bulk_polls = 0
    faults = salesforce_faults()
    config = uvicorn.Config(
        build_app(org, faults=faults), host="127.0.0.1", port=0, log_level="error"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    settings = org.manifest(f"http://127.0.0.1:{port}")
    syncs = {"hosts": HOSTS, "new_accounts": NEW_ACCOUNTS, "account_updates": ACCOUNT_UPDATES}
    specs = parse_spec({"syncs": syncs})
    with SalesforceClient(
        settings,
        http=Transport(clock=Clock(sleep=lambda seconds: time.sleep(min(seconds, 0.02)))),
        poll=Poll(0.02, 0.05, 30),
    ) as client:
        yield World(org, faults, settings, warehouse, clock, specs, client)
    server.should_exit = True
    thread.join(timeout=10)
    org.close()
