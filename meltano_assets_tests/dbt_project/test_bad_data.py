"""A company that has Salesforce alone, and keeps it badly: everything builds, nothing is lost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from psycopg import sql

from meltano_assets.modelling import dbt_variables
from meltano_assets_tests.dbt_project.conftest import Project, environment
from meltano_assets_tests.dbt_project.raw_tables import STREAMS, create_raw_tables, insert

#: The whole project is built once.
pytestmark = pytest.mark.timeout(900)

GOOD: dict[str, object] = {
    "stage_name": "1-Discovery",
    "type": "New Business",
    "lead_source": "Trade Show",
    "account_id": "orphan",
    "amount": 100,
    "incremental_acv__c": 80,
    "currency_iso_code": "USD",
    "close_date": "2026-03-01",
    "sales_accepted_date__c": "2026-02-10",
    "created_date": "2026-02-01",
    "is_closed": False,
    "is_won": False,
    "is_deleted": False,
    "system_modstamp": "2026-04-01",
}
#: Opportunity → how it is worse than a good one.
OPPORTUNITIES: dict[str, dict[str, object]] = {
    "good": {},
    "without a stage": {"stage_name": None},
    "of an unknown stage": {"stage_name": "Quantum"},
    "negative": {"amount": -100, "incremental_acv__c": -80},
    "accepted before it was created": {"sales_accepted_date__c": "2026-01-10"},
    "won before it was accepted": {
        "stage_name": "Closed Won",
        "is_won": True,
        "is_closed": True,
        "close_date": "2026-02-01",
    },
    "in a currency without a rate": {"currency_iso_code": "XTS"},
    "of the last evening of a year": {
        "currency_iso_code": "EUR",
        "close_date": None,
        "created_date": "2024-12-31 23:30Z",
    },
    "in a circle": {"account_id": "round"},
    "of no account": {"account_id": None, "campaign_id": None},
    "of an account and a campaign that are gone": {"account_id": "gone", "campaign_id": "gone"},
    "almost empty": dict.fromkeys(set(GOOD) - {"is_deleted", "system_modstamp"}),
}
ACCOUNTS: tuple[dict[str, object], ...] = (
    {"id": "deleted", "name": "Deleted", "is_deleted": True},
    {"id": "orphan", "name": "Orphan", "parent_id": "deleted", "is_deleted": False},
    {"id": "round", "name": "Round", "parent_id": "about", "is_deleted": False},
    {"id": "about", "name": "About", "parent_id": "round", "is_deleted": False},
)
CAMPAIGN: dict[str, object] = {"start_date": "2026-02-01", "is_deleted": False}
CAMPAIGNS: tuple[dict[str, object], ...] = (
    {**CAMPAIGN, "id": "fair", "actual_cost": 300, "parent_id": "gone"},
    {**CAMPAIGN, "id": "paid back", "actual_cost": -50},
    {**CAMPAIGN, "id": "endless", "actual_cost": 28, "end_date": "2026-01-01"},
)
MEMBERS: tuple[dict[str, object], ...] = tuple(
    {"id": key, "campaign_id": "fair", "lead_id": "lead", "has_responded": True}
    | {"is_deleted": False, "first_responded_date": "2026-02-02"}
    for key in ("once", "twice", "thrice")
)


@pytest.fixture(scope="module")
def built(project: Project) -> Project:
    """The project built over Salesforce's rows; no other vendor was ever loaded."""
    lead = {"id": "lead", "created_date": "2026-02-01", "is_deleted": False}
    with project.connect() as connection:
        create_raw_tables(connection)
        for schema in {stream.source for stream in STREAMS} - {"salesforce"}:
            connection.execute(f'drop schema "{schema}" cascade')
        opportunities = ({**GOOD, "id": key, **worse} for key, worse in OPPORTUNITIES.items())
        for table, rows in {
            "opportunities": opportunities,
            "accounts": ACCOUNTS,
            "campaigns": CAMPAIGNS,
            "campaign_members": MEMBERS,
            "leads": [lead],
        }.items():
            insert(connection, ("salesforce", table), rows)
        # A server far to the east, where it is tomorrow already.
        connection.execute(
            sql.SQL("alter database {} set timezone to 'Pacific/Auckland'").format(
                sql.Identifier(connection.info.dbname)
            )
        )
    assert warnings(project.dbt("build", "--exclude-resource-type", "unit_test")) == {
        "assert_stages_are_known",
        "assert_currencies_have_rates",
        "fct_opportunities_account_id",
        "fct_opportunities_campaign_id",
        "fct_opportunity_attributions_campaign_id",
    }
    return project


def warnings(told: dict[str, str]) -> set[str]:
    """The tests that warned, those of keys by model and column; whatever else failed, whole."""
    found = set()
    for name, message in told.items():
        if not message.startswith("warn"):
            found.add(f"{name}: {message}")
        elif name.startswith("relationships_"):
            found.add(name.removeprefix("relationships_").split("__")[0])
        else:
            found.add(name)
    return found


def test_every_opportunity_is_there_and_those_that_were_accepted_count(built: Project) -> None:
    kept = built.rows("select opportunity_id from analytics.fct_opportunities")
    assert {key for (key,) in kept} == set(OPPORTUNITIES)
    accepted = built.rows("select opportunity_id from analytics.fct_sales_accepted_opportunities")
    assert {key for (key,) in accepted} == set(OPPORTUNITIES) - {"negative", "almost empty"}


def test_unknown_worth_is_null_and_not_zero(built: Project) -> None:
    rows = built.rows(
        "select opportunity_id, incremental_acv_reporting from analytics.fct_opportunities"
    )
    worths = dict(rows)
    assert worths["in a currency without a rate"] is None
    assert worths["almost empty"] is None
    assert worths["negative"] == -80


def test_a_day_is_the_same_for_every_server(built: Project) -> None:
    """Without a day of closing the rate is that of the day of creation, by universal time."""
    [(worth, rate)] = built.rows(
        "select total_contract_value_reporting, (select rate_to_usd from seeds.exchange_rates"
        " where currency_code = 'EUR' and valid_from = '2024-01-01') from analytics.fct_opportunities"
        " where opportunity_id = 'of the last evening of a year'"
    )
    assert worth == 100 * rate
    assert built.rows("show timezone") == [("Pacific/Auckland",)]
    with environment(dbt_variables(built.url)):
        assert built.rows("show timezone") == [("UTC",)], "whatever a model forgets to say"


def test_hierarchies_end_where_parents_are_gone_and_in_circles(built: Project) -> None:
    tops = dict(
        built.rows("select account_id, ultimate_parent_account_id from analytics.dim_accounts")
    )
    assert tops["orphan"] == "orphan"
    assert tops["round"] == tops["about"] == "about"


def test_a_person_who_was_added_thrice_is_one(built: Project) -> None:
    [counts] = built.rows(
        "select member_count, responded_count from analytics.dim_campaigns"
        " where campaign_id = 'fair'"
    )
    assert counts == (1, 1)
    assert built.rows("select count(*) from analytics.fct_leads") == [(1,)]


def test_costs_that_came_back_and_ends_before_the_start(built: Project) -> None:
    spent = dict(built.rows("select campaign_id, spend from analytics.fct_marketing_spend"))
    assert spent == {"fair": Decimal(300), "paid back": Decimal(-50), "endless": Decimal(28)}


def test_what_was_won_before_it_was_accepted_took_no_time(built: Project) -> None:
    [(median,)] = built.rows(
        "select distinct median_days_to_won from analytics.agg_estimated_iacv_monthly"
    )
    assert median == 0


@pytest.mark.parametrize(
    "domain", ["finance", "retention", "people", "product", "support", "hosts"]
)
def test_marts_of_vendors_that_were_never_loaded_are_empty_and_typed(
    built: Project, domain: str
) -> None:
    folder = {"finance": "fct_ledger_entries", "retention": "fct_retention_monthly"}
    folder |= {"people": "agg_headcount_monthly", "product": "fct_usage_pings"}
    folder |= {"support": "fct_tickets", "hosts": "dim_hosts"}
    assert built.rows(f"select count(*) from analytics.{folder[domain]}") == [(0,)]
    kinds = built.rows(
        "select data_type from information_schema.columns where table_schema = 'analytics'"
        f" and table_name = '{folder[domain]}' and column_name ~ '_(at|date|month)$'"
    )
    assert {kind for (kind,) in kinds} <= {"timestamp with time zone", "date"}
    assert kinds
