"""The main job, whole: vendors over sockets → COPY → hosts → dbt → Salesforce, twice.

One company, one warehouse, one run after the other; each test looks at what they left behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests

from meltano_assets.clients.salesforce import SalesforceClient
from meltano_assets.definitions import build_definitions
from meltano_assets.modelling import dbt_variables, target_directory
from meltano_assets.resources import Vendors, WarehouseResource
from meltano_assets.salesforce_sync.spec import load_spec
from meltano_assets.salesforce_sync.sync import plan_sync
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources import SOURCES
from meltano_assets.warehouse import claims
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.acquisition import expected_acquisition
from meltano_assets_tests.instances import dagster_home

#: The whole graph twice takes two minutes on an idle machine of two cores, and more on a busy one.
pytestmark = pytest.mark.timeout(900)

SCALE = 0.3
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class World:
    """The company, its warehouse and the runs so far."""

    manifest: dict[str, dict[str, Any]]
    warehouse: Warehouse
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    runs: list[dg.ExecuteInProcessResult] = field(default_factory=list)
    truths: list[dict[str, Any]] = field(default_factory=list)

    def run(self, selection: list[dg.AssetKey] | None = None) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def("everything")
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=selection,
            run_config=QUIET,
            raise_on_error=False,
        )

    def known_truths(self) -> dict[str, Any]:
        control = self.manifest["control"]["base_url"]
        return dict(requests.get(f"{control}/truths", timeout=60).json())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.warehouse.connect() as connection:
            return connection.execute(query.encode()).fetchall()

    def count(self, query: str) -> int:
        return int(self.rows(query)[0][0])


@pytest.fixture(scope="module")
def world(
    server: EmbeddedServer,
    dbt_warehouse: Warehouse,
    tmp_path_factory: pytest.TempPathFactory,
    parsed_by_dbt: Callable[[Path], None],
) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        state, url = tmp_path_factory.mktemp("state"), dbt_warehouse.url
        patch.setenv("MELTANO_STATE_DIR", str(state))
        patch.setenv("MELTANO_WAREHOUSE_URL", url)
        parsed_by_dbt(target_directory(dbt_variables(url)))
        with (
            serve_in_thread(
                state_dir=tmp_path_factory.mktemp("company"),
                postgres_url=server.url("postgres"),
                scale=SCALE,
                database="main_job_version",
            ) as manifest,
            # Events go to the warehouse's server as users' do, which also takes less than SQLite.
            dg.DagsterInstance.from_config(
                str(dagster_home(tmp_path_factory.mktemp("dagster")))
            ) as instance,
        ):
            settings = {
                vendor: {key: str(value) for key, value in values.items()}
                for vendor, values in manifest.items()
            }
            definitions = build_definitions(
                WarehouseResource(url=url),
                Vendors(settings=settings, settings_are_sandbox=True),
            )
            made = World(manifest, dbt_warehouse, definitions, instance)
            made.truths.append(made.known_truths())
            made.runs.append(made.run())
            advanced = requests.post(
                f"{manifest['control']['base_url']}/advance", params={"days": 2}, timeout=60
            )
            advanced.raise_for_status()
            made.truths.append(made.known_truths())
            made.runs.append(made.run())
            yield made


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        f"{event.step_key}: {event.step_failure_data.error_display_string[-800:]}"
        for event in result.all_events
        if event.is_step_failure
    ]


def checks(result: dg.ExecuteInProcessResult) -> list[Any]:
    return [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]


def facts(result: dg.ExecuteInProcessResult, *key: str) -> dict[str, Any]:
    materialized = result.asset_materializations_for_node("__".join(key))
    return {name: value.value for name, value in materialized[-1].metadata.items()}


def test_the_whole_graph_succeeds_twice(world: World) -> None:
    for result in world.runs:
        assert not failures(result)
        assert result.success


def test_every_asset_is_materialized(world: World) -> None:
    made = {
        event.asset_key
        for event in world.runs[0].all_events
        if event.event_type_value == "ASSET_MATERIALIZATION"
    }
    assert made == set(world.definitions.resolve_asset_graph().materializable_asset_keys)


def test_every_check_passes(world: World) -> None:
    for result in world.runs:
        failed = [
            f"{check.asset_key.to_user_string()}: {check.check_name} {check.metadata}"
            for check in checks(result)
            if not check.passed
        ]
        assert not failed
        assert len(checks(result)) > 100


def test_every_hop_is_counted_up_to_what_was_sent(world: World) -> None:
    """X9: staging, marts and what went to Salesforce have their rows in meltano.reconciliation."""
    counted = {
        f"{row.source}.{row.stream} {row.hop}": (row.expected, row.actual)
        for row in claims.reconciled(world.warehouse)
    }
    for stream in (stream for source in SOURCES for stream in source.streams):
        rows = world.count(f'select count(*) from "{stream.source}"."{stream.name}"')
        assert counted[f"{stream.key} table to staging"] == (rows, rows)
    for mart in ("accounts staging to dim_accounts", "leads staging to fct_leads"):
        expected, actual = counted[f"salesforce.{mart}"]
        assert expected == actual
        assert actual
    for spec in load_spec().values():
        expected, actual = counted[f"salesforce_sync.{spec.name} {spec.model} to sent"]
        assert expected == actual == world.count(f"select count(*) from {spec.relation}")


def test_every_record_of_the_vendors_is_in_the_warehouse(world: World) -> None:
    for source in SOURCES:
        for stream in source.streams:
            last = facts(world.runs[0], source.name, stream.name)
            written = last["inserted"] + last["updated"] + last["unchanged"] + last["superseded"]
            assert last["read"] == written + last["quarantined"], stream.key
            assert world.count(f"select count(*) from {stream.key}") > 0, stream.key


def test_sales_accepted_opportunities_are_the_companys_own(world: World) -> None:
    known = world.truths[-1]["sales_accepted_opportunities"]
    rows = world.rows(
        "select source_group, count(*) from analytics.fct_sales_accepted_opportunities group by 1"
    )
    counted = {group.split()[0]: count for group, count in rows}
    assert counted == known["by_source_group"]
    for grain in ("weekly", "monthly"):
        table = f"analytics.agg_sales_accepted_opportunities_{grain}"
        total = world.count(f"select sum(sales_accepted_opportunity_count) from {table}")
        assert total == known["total"]


def test_what_a_customer_costs_and_is_worth_is_the_companys_own(world: World) -> None:
    """Spend, cost per lead and SAO, CAC, estimated IACV, LTV and ROI, recounted month by month."""
    known = expected_acquisition(world.truths[-1]["acquisition"])
    names = list(next(iter(known.values())))
    rows = world.rows(
        "select to_char(month_start_date, 'YYYY-MM'), "
        + ", ".join(f"{name}::float" for name in names)
        + " from analytics.agg_acquisition_monthly"
    )
    found = {month: dict(zip(names, values, strict=True)) for month, *values in rows}
    assert set(found) == set(known)
    for name in names:
        column = {month: row[name] for month, row in known.items()}
        assert sum(value is not None for value in column.values()) > 5, name
        for month, value in column.items():
            # Money of the company has two places, what is divided by it has six.
            near = None if value is None else pytest.approx(value, rel=1e-5, abs=0.01)
            assert found[month][name] == near, (month, name)


def test_departments_cost_what_the_company_spent(world: World) -> None:
    """Bills, expense reports and payroll; what was entered twice and deleted costs nothing."""
    known = world.truths[-1]["books"]["costs_by_department"]
    found: dict[str, dict[str, float]] = {}
    for department, month, amount in world.rows(
        "select department_name, to_char(month_start_date, 'YYYY-MM'), sum(amount)::float"
        " from analytics.agg_expenses_monthly group by 1, 2"
    ):
        found.setdefault(department, {})[month] = amount
    assert set(found) == set(known)
    for department, months in known.items():
        assert found[department] == pytest.approx(months), department


def test_headcount_is_the_companys_own(world: World) -> None:
    """Everybody in NetSuite, by department and month, from the first to the last."""
    known = world.truths[-1]["books"]["headcount"]
    found: dict[str, dict[str, int]] = {}
    for department, month, count in world.rows(
        "select department, to_char(month_start_date, 'YYYY-MM'), employee_count"
        " from analytics.agg_headcount_monthly where employee_count > 0"
    ):
        found.setdefault(department, {})[month] = count
    assert found == known
    assert len(known) > 3
    sources = world.rows("select distinct headcount_source from analytics.agg_headcount_monthly")
    assert ("employees",) in sources


def test_money_taken_and_given_back_by_stripe_is_the_companys_own(world: World) -> None:
    known = world.truths[-1]["self_serve"]
    for name, query in {
        "charged": "fct_payments where payment_source = 'stripe' and is_successful",
        "refunded": "fct_refunds where refund_source = 'stripe'",
    }.items():
        rows = world.rows(f"select currency_code, sum(amount) from analytics.{query} group by 1")
        cents = {code.lower(): int(s if code == "JPY" else s * 100) for code, s in rows}
        assert cents == known[name]
        assert len(cents) > 1
    rows = world.rows(
        "select currency_code, sum(gross_amount), sum(fee_amount), sum(arrived_amount)"
        " from analytics.fct_payouts where is_paid group by 1"
    )
    arrived = {
        code.lower(): {
            name: int(s if code == "JPY" else s * 100)
            for name, s in zip(("gross", "fees", "net"), sums, strict=True)
        }
        for code, *sums in rows
    }
    assert arrived == known["arrived"]
    assert len(arrived) > 1
    active = world.count(
        "select count(*) from analytics.fct_self_serve_subscriptions where is_recurring_now"
    )
    assert active == known["active_subscriptions"]


def test_every_raw_host_is_cleaned_into_its_kind(world: World) -> None:
    known = world.truths[-1]["hosts"]["by_kind"]
    rows = world.rows("select kind, count(*) from hosts.cleaned_hosts group by kind")
    assert dict(rows) == known


def test_the_waterfall_finds_each_domain_where_it_is_known(world: World) -> None:
    expected = world.truths[-1]["enrichment"]["provider_hits"]
    found = dict(
        world.rows(
            """
            select domain, 'discoverorg' from enrichment.discoverorg_cache where outcome = 'hit'
            union all
            select domain, 'clearbit' from enrichment.clearbit_cache where outcome = 'hit'
            """
        )
    )
    companies = {d: p for d, p in expected.items() if p in ("discoverorg", "clearbit")}
    wrong = {d: (p, found.get(d)) for d, p in companies.items() if found.get(d) != p}
    assert not wrong


def test_accounts_are_created_that_must_be_and_none_that_must_not(world: World) -> None:
    known = world.truths[-1]["accounts"]
    with SalesforceClient(salesforce_settings(world)) as client:
        pages = list(client.query("SELECT Website, Meltano_Id__c FROM Account"))
    records = [record for page in pages for record in page]
    created = {record["Meltano_Id__c"] for record in records if record["Meltano_Id__c"]}
    assert created == set(known["domains_to_create"])
    assert not created & set(known["domains_never_to_create"])


def salesforce_settings(world: World) -> dict[str, str]:
    return {key: str(value) for key, value in world.manifest["salesforce"].items()}


def test_new_accounts_have_their_hosts_in_the_same_run(world: World) -> None:
    hosts = facts(world.runs[0], "salesforce_sync", "hosts")
    assert hosts["created"] > 0
    with SalesforceClient(salesforce_settings(world)) as client:
        pages = list(
            client.query("SELECT Id FROM Host__c WHERE Meltano_Id__c != null AND Account__c = null")
        )
    assert not [record for page in pages for record in page]


def test_a_second_run_reads_and_sends_only_what_is_new(world: World) -> None:
    first, second = world.runs
    for name in ("accounts", "leads", "opportunities"):
        assert facts(second, "salesforce", name)["read"] < facts(first, "salesforce", name)["read"]
    tickets = facts(second, "zendesk", "tickets")["read"]
    assert 0 < tickets < facts(first, "zendesk", "tickets")["read"] / 2
    hosts = facts(second, "salesforce_sync", "hosts")
    assert hosts["sent"] < hosts["unchanged"]
    assert facts(second, "salesforce_sync", "new_accounts")["created"] < 15


def test_nothing_is_left_to_send_afterwards(world: World) -> None:
    with SalesforceClient(salesforce_settings(world)) as client:
        for spec in load_spec().values():
            plan = plan_sync(
                world.warehouse, client, spec, now=datetime.now(UTC), run_id="afterwards"
            )
            assert not plan.changes, spec.name
            assert plan.requests < 10


def test_the_ui_gets_schema_row_counts_and_lineage(world: World) -> None:
    raw = facts(world.runs[-1], "salesforce", "accounts")
    assert raw["dagster/row_count"] == world.count("select count(*) from salesforce.accounts")
    graph = world.definitions.resolve_asset_graph()
    definition = graph.get(dg.AssetKey(["salesforce", "accounts"])).metadata
    assert len(definition["dagster/column_schema"].columns) > 20
    models = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in world.runs[0].all_events
        if event.event_type_value == "ASSET_MATERIALIZATION"
    }
    accepted = models["analytics/fct_sales_accepted_opportunities"]
    assert accepted["dagster/row_count"].value > 0
    assert len(accepted["dagster/column_schema"].value.columns) > 5
    assert accepted["dagster/column_lineage"].value.deps_by_column


def test_no_secret_is_in_any_event(world: World) -> None:
    told = json.dumps([str(event) for result in world.runs for event in result.all_events])
    secrets = [
        world.manifest["salesforce"]["client_secret"],
        world.manifest["zendesk"]["api_token"],
        world.manifest["clearbit"]["api_key"],
        world.manifest["discoverorg"]["password"],
        world.manifest["version"]["password"],
        world.warehouse.parameters["password"],
    ]
    assert not [secret for secret in secrets if secret in told]


def test_forty_thousand_real_host_names_pass_through(world: World, shared_fixtures: Path) -> None:
    lines = (shared_fixtures / "hosts" / "adserver-hosts.txt").read_text().splitlines()
    names = sorted({name.strip() for name in lines if name.strip() and not name.startswith("#")})
    assert len(names) > 42_000
    now = world.rows("select max(updated_at) from version.usage_data")[0][0]
    admin = Warehouse(world.warehouse.url).with_database("main_job_version")
    with (
        admin.connect() as connection,
        connection.cursor().copy(
            "copy usage_data (id, uuid, hostname, version, edition, recorded_at, created_at,"
            " updated_at) from stdin"
        ) as copy,
    ):
        for number, name in enumerate(names):
            row = (10_000_000 + number, f"real-{number}", name, "11.0.0", "CE", now, now, now)
            copy.write_row(row)
    graph = world.definitions.resolve_asset_graph()
    hosts = dg.AssetKey(["analytics", "dim_hosts"])
    # What leads to the hosts, but not the other vendors again: they have no news.
    skipped = {source.name for source in SOURCES} - {"version"} | {"enrichment"}
    upstream = dg.AssetSelection.assets(hosts).upstream().resolve(graph)
    wanted = [key for key in upstream if key.path[0] not in skipped]
    result = world.run(wanted)
    assert not failures(result)
    cleaned = {
        raw: (kind, full)
        for raw, kind, full in world.rows(
            "select raw_host, kind, clean_full_domain from hosts.cleaned_hosts"
        )
    }
    assert not set(names) - set(cleaned)
    valid = {cleaned[name][1] for name in names if cleaned[name][0] == "domain"}
    recorded = {host for (host,) in world.rows("select host_key from analytics.dim_hosts")}
    assert not valid - recorded
