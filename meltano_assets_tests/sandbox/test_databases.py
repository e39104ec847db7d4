"""The company's own databases in a real Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.databases import DATABASES, CompanyDatabase
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.sandbox.conftest import SCALE, SEED, TODAY

PASSWORD = "not-a-secret"


@pytest.fixture
def name(server: EmbeddedServer) -> Iterator[str]:
    """A database name of the test's own; database and role are gone afterwards."""
    made = f"sandbox_{uuid.uuid4().hex[:10]}"
    yield made
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(made))
        )
        admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(f"{made}_reader")))


def database(
    company: Company, server: EmbeddedServer, name: str, kind: str = "version"
) -> CompanyDatabase:
    """The database of that company."""
    return CompanyDatabase(company, kind, server.url("postgres"), name, PASSWORD)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query, by the reading login."""
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_the_pings_of_the_company_are_all_there(
    small_company: Company, server: EmbeddedServer, name: str
) -> None:
    login = database(small_company, server, name).prepare(0)
    pings = small_company.pings(0)
    for table, known in (
        ("usage_data", pings.usage_data),
        ("version_checks", pings.version_checks),
        ("hosts", pings.hosts),
        ("versions", pings.versions),
    ):
        assert rows(login.url, f"select count(*) from {table}") == [(len(known),)]
    [(row_id, hostname, updated_at, stats)] = rows(
        login.url, "select id, hostname, updated_at, stats from usage_data order by id limit 1"
    )
    first = pings.usage_data[0]
    assert (row_id, hostname) == (first["id"], first["hostname"])
    assert updated_at == first["updated_at"].replace(tzinfo=None)  # type: ignore[attr-defined]
    assert stats["projects"] >= 1


@pytest.mark.parametrize("kind", [kind for kind in DATABASES if kind != "version"])
def test_the_other_databases_follow_the_days(
    small_company: Company, server: EmbeddedServer, name: str, kind: str
) -> None:
    """W1: their rows come from what happens elsewhere, and change with it."""
    login = database(small_company, server, name, kind).prepare(3)
    latest: dict[str, dict[object, Any]] = {table: {} for table in DATABASES[kind]}
    for day in range(4):
        for table, added in small_company.database_rows(kind, day).items():
            latest[table].update({row["id"]: row for row in added})
    assert all(latest.values())
    for table, known in latest.items():
        stamp = "updated_at" if "updated_at" in DATABASES[kind][table] else "created_at"
        found = rows(login.url, f"select id, {stamp} from {table}")
        assert dict(found) == {key: row[stamp].replace(tzinfo=None) for key, row in known.items()}


def test_an_order_is_a_subscription_of_a_customer_with_an_account(small_company: Company) -> None:
    """W1: the portal, Zuora and Salesforce speak of the same."""
    portal = small_company.database_rows("customers", 0)
    billed = small_company.zuora_records(0)
    customers = {row["id"]: row for row in portal["customers"]}
    subscriptions = {row["Id"]: row for row in billed["Subscription"]}
    accounts = {row["Id"] for row in small_company.salesforce_records(0)["Account"]}
    assert len(portal["orders"]) > 10
    for order in portal["orders"]:
        subscription = subscriptions[order["subscription_id"]]
        customer = customers[order["customer_id"]]
        assert subscription["AccountId"] == customer["zuora_account_id"]
        assert order["quantity"] and order["product_rate_plan_id"]
        crm = customer["salesforce_account_id"]
        assert crm is None or crm in accounts or len(str(crm)) == 15
    licenses = small_company.database_rows("license", 0)["licenses"]
    assert {row["id"] for row in small_company.database_rows("version", 0)["licenses"]} <= {
        row["id"] for row in licenses
    }


def test_hostile_values_are_where_the_truths_say(
    small_company: Company, server: EmbeddedServer, name: str
) -> None:
    login = database(small_company, server, name).prepare(0)
    truth: Any = small_company.truths["hostile_values"]
    found = rows(login.url, r"select id::text from usage_data where stats::text like '%\\u0000%'")
    assert [row[0] for row in found] == truth["usage_data_nul_in_stats"]
    found = rows(login.url, "select id::text from usage_data where license_expires_at = 'infinity'")
    assert [row[0] for row in found] == truth["usage_data_infinite_license"] != []


def test_preparing_again_adds_what_is_missing_and_nothing_twice(
    small_company: Company, server: EmbeddedServer, name: str
) -> None:
    prepared = database(small_company, server, name)
    login = prepared.prepare(0)
    first = rows(login.url, "select count(*) from version_checks")[0][0]
    prepared.prepare(0)
    assert rows(login.url, "select count(*) from version_checks") == [(first,)]
    database(small_company, server, name).prepare(2)
    ids = {row["id"] for day in range(3) for row in small_company.pings(day).version_checks}
    assert rows(login.url, "select count(*) from version_checks") == [(len(ids),)]
    [touched] = [r for r in small_company.pings(1).version_checks if r["id"] <= first]  # type: ignore[operator]
    found = rows(login.url, f"select updated_at from version_checks where id = {touched['id']}")
    assert found == [(touched["updated_at"].replace(tzinfo=None),)]  # type: ignore[attr-defined]


def test_another_company_gets_a_new_database(
    small_company: Company, server: EmbeddedServer, name: str
) -> None:
    database(small_company, server, name).prepare(1)
    other = Company(SEED + 1, SCALE, TODAY)
    login = database(other, server, name).prepare(0)
    count = len(other.pings(0).usage_data)
    assert rows(login.url, "select count(*) from usage_data") == [(count,)]
    # The same company that begins again at day 0 forgets its future.
    login = database(other, server, name).prepare(1)
    login = database(other, server, name).prepare(0)
    assert rows(login.url, "select count(*) from usage_data") == [(count,)]


def test_the_login_may_only_read(small_company: Company, server: EmbeddedServer, name: str) -> None:
    login = database(small_company, server, name).prepare(0)
    for statement in (
        "insert into versions (id, version) values (999, 'x')",
        "delete from usage_data",
        "create table mine (id int)",
        "select * from sandbox.company",
    ):
        with psycopg.connect(login.url) as connection:
            connection.execute("set default_transaction_read_only = off")
            connection.commit()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(login.url.replace(PASSWORD, "wrong"))


def test_faults_cut_refuse_and_change_the_schema(
    small_company: Company, server: EmbeddedServer, name: str
) -> None:
    prepared = database(small_company, server, name)
    login = prepared.prepare(0)
    with psycopg.connect(login.url) as connection:
        prepared.faults.arm("terminate")
        prepared.take_faults()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    prepared.faults.arm("refuse")
    prepared.take_faults()
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(login.url)
    # A company whose server ended meanwhile is served again.
    database(small_company, server, name).prepare(0)
    psycopg.connect(login.url).close()
    prepared.faults.clear()
    prepared.faults.arm("change_schema", table="usage_data", add={"mood": "text"}, drop=["counts"])
    prepared.take_faults()
    columns = {
        row[0]
        for row in rows(
            login.url,
            "select column_name from information_schema.columns where table_name = 'usage_data'",
        )
    }
    assert "mood" in columns
    assert "counts" not in columns
