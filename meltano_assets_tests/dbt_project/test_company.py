"""The sandbox company through the whole project, against what is known of it."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_billing import BillingDesk
from meltano_assets_tests.dbt_project.conftest import Project
from meltano_assets_tests.dbt_project.raw_tables import create_raw_tables, fill_from_company
from meltano_assets_tests.dbt_project.semantic_layer import metric_query

#: The company and its whole dbt project are built once, which takes a minute on an idle machine.
pytestmark = pytest.mark.timeout(900)


TODAY = date(2026, 6, 30)
#: The sandbox's short names for groups that the seed writes out.
GROUPS = {"AE": "AE generated"}


@pytest.fixture(scope="module")
def company() -> Company:
    """The company on its first day."""
    return Company(today=TODAY)


@pytest.fixture(scope="module")
def truths(company: Company) -> dict[str, Any]:
    """What must come out."""
    return company.truths


@pytest.fixture(scope="module")
def built(project: Project, company: Company) -> Project:
    """The project built over the company's data, every data test passed."""
    with project.connect() as connection:
        create_raw_tables(connection)
        fill_from_company(connection, company)
    assert project.dbt("build", "--exclude-resource-type", "unit_test") == {}
    return project


def counts(project: Project, expression: str) -> dict[str, int]:
    """SAOs by an expression."""
    return dict(
        project.rows(
            f"select coalesce(({expression})::text, 'null'), count(*)"
            " from analytics.fct_sales_accepted_opportunities group by 1"
        )
    )


def test_sales_accepted_opportunities_are_the_known_ones(
    built: Project, truths: dict[str, Any]
) -> None:
    known = truths["sales_accepted_opportunities"]
    groups = {GROUPS.get(name, name): n for name, n in known["by_source_group"].items()}
    assert counts(built, "source_group") == groups
    assert counts(built, "lead_source") == known["by_lead_source"]
    assert counts(built, "opportunity_type") == known["by_type"]
    assert counts(built, "nullif(sales_segment, 'Unknown')") == known["by_segment"]
    assert counts(built, "campaign_id") == known["by_campaign"]
    assert counts(built, "sales_accepted_week") == known["by_week"]
    assert counts(built, "to_char(sales_accepted_month, 'YYYY-MM')") == known["by_month"]


@pytest.mark.parametrize("period", ["week", "month"])
def test_sales_accepted_opportunities_by_period_have_no_gaps(
    built: Project, truths: dict[str, Any], period: str
) -> None:
    rows = built.rows(
        f"select {period}_start_date, count(*), sum(sales_accepted_opportunity_count)::int"
        f" from analytics.agg_sales_accepted_opportunities_{period}ly group by 1 order by 1"
    )
    assert {count for _, count, _ in rows} == {4}, "every source group in every period"
    assert sum(count for _, _, count in rows) == truths["sales_accepted_opportunities"]["total"]


def test_every_known_host_has_its_record(built: Project, truths: dict[str, Any]) -> None:
    records = {
        row[0]: row[1:]
        for row in built.rows(
            "select host_key, clean_domain, version, install_uuid, source_ping_kind"
            " from analytics.dim_hosts where host_kind = 'domain'"
        )
    }
    expected = {
        host: (
            known["clean_domain"],
            known["gitlab_version"],
            known["uuid"],
            "usage_ping" if known["has_usage_ping"] else "version_check",
        )
        for host, known in truths["hosts"]["records"].items()
    }
    assert records == expected
    addresses = built.rows("select host_key from analytics.dim_hosts where host_kind <> 'domain'")
    assert set(truths["hosts"]["addresses"].values()) <= {host for (host,) in addresses}


def test_hosts_match_the_accounts_they_belong_to(built: Project, truths: dict[str, Any]) -> None:
    """H6: by domain, then by name, each match with its method."""
    matches = {
        domain: {"account_id": account_id, "method": method}
        for domain, account_id, method in built.rows(
            "select company_key, account_id, match_method"
            " from intermediate.int_companies__matched_to_accounts as matches"
            " inner join intermediate.int_companies__by_domain using (company_key)"
            " where account_id is not null and not is_address"
        )
    }
    assert matches == truths["accounts"]["expected_matches"]


def test_ambiguous_accounts_wait_for_a_person(built: Project, truths: dict[str, Any]) -> None:
    """H6: in a table of their own."""
    reviews: dict[str, list[str]] = {}
    for domain, account_id in built.rows(
        "select company_key, account_id from analytics.fct_account_match_reviews order by 1, 2"
    ):
        reviews.setdefault(domain, []).append(account_id)
    expected = truths["accounts"]["ambiguous_domains"]
    assert reviews == {domain: sorted(ids) for domain, ids in expected.items()}


def test_only_companies_without_an_account_are_created(
    built: Project, truths: dict[str, Any]
) -> None:
    """H6, H7: customers match and are never created again."""
    created = dict(built.rows("select meltano_id__c, name from sync.sync_salesforce_new_accounts"))
    expected = truths["accounts"]["domains_to_create"]
    assert created == {domain: known["name"] for domain, known in expected.items()}
    assert not set(truths["accounts"]["domains_never_to_create"]) & set(created)


def test_account_updates_offer_what_providers_know(built: Project, truths: dict[str, Any]) -> None:
    """H7: fields to fill, by account."""
    offered = {
        row[0]: dict(zip(("Industry", "Description", "NumberOfEmployees"), row[1:], strict=True))
        for row in built.rows(
            "select id, industry, description, numberofemployees"
            " from sync.sync_salesforce_account_updates"
        )
    }
    for account_id, fields in truths["accounts"]["fields_to_fill"].items():
        assert fields.items() <= offered[account_id].items(), account_id


def test_host_records_that_were_there_before_are_claimed(
    built: Project, truths: dict[str, Any]
) -> None:
    claimed = built.rows("select meltano_id__c from sync.sync_salesforce_host_claims")
    assert {host for (host,) in claimed} == set(truths["hosts"]["existing_host_names"])


def test_passwords_in_addresses_go_no_further_than_staging(built: Project) -> None:
    query = "select count(*) from {} as host where host::text like '%s3cret%'"
    assert built.rows(query.format("staging.stg_version__version_checks")) != [(0,)]
    assert built.rows(query.format("analytics.dim_hosts")) == [(0,)]
    assert built.rows(query.format("sync.sync_salesforce_hosts")) == [(0,)]


def test_spend_of_campaigns_is_the_known_one(built: Project, truths: dict[str, Any]) -> None:
    spent = dict(
        built.rows(
            "select campaign_id, round(sum(spend), 2)::float from analytics.fct_marketing_spend"
            " group by 1"
        )
    )
    assert spent == truths["campaign_spend"]["by_campaign"]


def test_each_campaign_costs_what_the_company_paid_for_its_leads_and_deals(
    built: Project, truths: dict[str, Any]
) -> None:
    """Cost per lead and per SAO, of every campaign; the share of an SAO is whole by one touch."""
    known = truths["acquisition"]["campaigns"]
    names = list(next(iter(known.values())))
    found = {
        campaign: dict(zip(names, values, strict=True))
        for campaign, *values in built.rows(
            "select campaign_acquisition_id, round(spend, 2)::float, lead_count,"
            " sales_accepted_opportunity_share::float, cost_per_lead::float,"
            " cost_per_sales_accepted_opportunity::float from analytics.agg_campaign_acquisition"
        )
    }
    assert set(found) == set(known)
    for name in ("cost_per_lead", "cost_per_accepted"):
        assert sum(campaign[name] is not None for campaign in known.values()) > 25, name
    for campaign, expected in known.items():
        near = {
            name: value if value is None else pytest.approx(value, rel=1e-5)
            for name, value in expected.items()
        }
        assert found[campaign] == near, campaign


def test_the_semantic_layer_and_the_metrics_mart_agree(built: Project) -> None:
    """Each metric in both, by month; where both know them, by week and by campaign."""
    manifest = json.loads((built.target / "manifest.json").read_text())
    names = [name for (name,) in built.rows("select distinct metric from analytics.fct_metrics")]
    assert len(names) == 13
    asked = [(name, "month", None) for name in names]
    asked += [("sales_accepted_opportunities", "week", None)]
    asked += [("sales_accepted_opportunities", "month", "campaign")]
    asked += [(name, "month", "campaign") for name in ("marketing_spend", "leads", "cost_per_lead")]
    for name, grain, entity in asked:
        known = {
            (period, member): None if value is None else pytest.approx(float(value), abs=1e-5)
            for period, member, value in built.rows(
                "select period_start_date, dimension_value, value from analytics.fct_metrics"
                f" where metric = '{name}' and period_grain = '{grain}'"
                f" and dimension_name = '{entity or 'all'}'"
            )
        }
        found = {
            (period, member): None if value is None else float(value)
            for period, member, value in built.rows(metric_query(manifest, name, grain, entity))
        }
        assert sum(value is not None for value in known.values()) > 5, name
        # What nobody counted is nothing in the mart, and nowhere in the layer.
        nothing = 0 if name in ("marketing_spend", "leads", "customers_won") else None
        values = {key: nothing if found.get(key) is None else found[key] for key in known}
        assert values == known, (name, grain, entity)


def test_stays_in_stages_go_back_to_the_making_of_a_deal(built: Project, company: Company) -> None:
    """The first snapshot is of today; what was before is Salesforce's own history (D4)."""
    state = company.salesforce_state(0)
    known: dict[str, list[str]] = {}
    changes = (r for r in state["OpportunityHistory"].values() if not r["IsDeleted"])
    for change in sorted(changes, key=lambda r: (str(r["CreatedDate"]), str(r["Id"]))):
        known.setdefault(str(change["OpportunityId"]), []).append(str(change["StageName"]))
    assert max(map(len, known.values())) > 4
    found: dict[str, list[str]] = {}
    for key, stage in built.rows(
        "select opportunity_id, stage_name from analytics.fct_opportunity_stages"
        " order by opportunity_id, stage_number"
    ):
        found.setdefault(key, []).append(stage)
    assert found == known
    [(entered, made)] = built.rows(
        "select min(entered_at), min(created_at) from analytics.fct_opportunity_stages"
        " inner join analytics.fct_opportunities using (opportunity_id)"
    )
    assert entered == made


def test_recurring_revenue_is_the_known_one(built: Project, company: Company) -> None:
    desk = BillingDesk(company.world)
    desk.build(0)
    [(today,)] = built.rows("select max(as_of_date) from analytics.fct_recurring_revenue_monthly")
    for day in (today, date(today.year - 1, 12, 31)):
        known: dict[str, Decimal] = {}
        for subscription in desk.subscriptions:
            is_counted = not subscription.is_excluded and subscription.status != "Draft"
            if is_counted and subscription.mrr_on(day):
                arr = 12 * subscription.mrr_on(day)
                known[subscription.name] = known.get(subscription.name, Decimal(0)) + arr
        found = dict(
            built.rows(
                "select subscription_name, arr from analytics.fct_recurring_revenue_monthly"
                f" where as_of_date = '{day}'"
            )
        )
        assert found == pytest.approx(known), day
    assert len(found) > 10


def test_retention_is_known_for_every_month_after_the_first_year(built: Project) -> None:
    rows = built.rows(
        "select net_retention, gross_retention, entity_count from analytics.agg_retention_monthly"
        " where retention_level = 'account' order by month_start_date desc limit 6"
    )
    assert len(rows) == 6
    assert all(0 < gross <= min(net, 1) and count for net, gross, count in rows)
    sources = built.rows("select distinct churn_source from analytics.agg_churn_monthly")
    assert ("subscriptions",) in sources


def test_receivables_are_what_is_owed(built: Project, company: Company) -> None:
    invoices = company.zuora_records(0)["Invoice"]
    owed = sum(Decimal(str(i["Balance"])) for i in invoices if i["Status"] == "Posted")
    assert built.rows("select sum(balance) from analytics.fct_invoices where is_posted") == [
        (owed,)
    ]
    assert built.rows("select count(*) > 0 from analytics.agg_receivables_aging") == [(True,)]


def test_hires_are_the_known_ones(built: Project, truths: dict[str, Any]) -> None:
    known = truths["hiring"]
    months = built.rows(
        "select to_char(archived_date, 'YYYY-MM'), count(*) from analytics.fct_candidates"
        " where is_hired group by 1"
    )
    assert dict(months) == known["hires"]["by_month"]
    stages = built.rows("select stage_id, count(*) from analytics.fct_candidate_stages group by 1")
    assert dict(stages) == known["opportunities"]["reached_stage"]
    [(hired,)] = built.rows("select sum(hired_count) from analytics.agg_headcount_monthly")
    assert hired == known["hires"]["total"]


def test_every_ticket_is_there(built: Project, truths: dict[str, Any]) -> None:
    known = truths["tickets"]
    statuses = dict(
        built.rows("select ticket_status, count(*) from analytics.fct_tickets group by 1")
    )
    assert statuses == known["by_status"]
    deleted = built.rows("select count(*) from analytics.fct_tickets where is_deleted")
    assert deleted == [(known["deleted"],)]
    organizations = built.rows(
        "select coalesce(organization_id::text, 'None'), count(*) from analytics.fct_tickets"
        " group by 1"
    )
    assert dict(organizations) == known["by_organization"]
    lost = built.rows(
        "select count(*) from analytics.fct_tickets"
        " where organization_id is not null and account_id is null"
    )
    assert lost == [(0,)]


def test_claims_between_layers_fail_when_they_are_broken(built: Project) -> None:
    """A test that cannot fail shows nothing: each claim is broken once."""
    damage = (
        "delete from analytics.agg_sales_accepted_opportunities_weekly",
        "delete from analytics.fct_opportunities where is_won",
        "update analytics.fct_opportunities set mapped_stage = 'Unmapped'"
        " where opportunity_id = (select min(opportunity_id) from analytics.fct_opportunities)",
        "update analytics.fct_opportunities set total_contract_value_reporting = null,"
        " incremental_acv_reporting = null, acv_reporting = null",
        "update analytics.fct_sales_accepted_opportunities set created_at = 'infinity'",
        "delete from analytics.dim_hosts where host_kind = 'domain'",
        "update intermediate.int_hosts__pinged set host_kind = null",
        "update sync.sync_salesforce_new_accounts set meltano_id__c = (select min(account_domain)"
        " from intermediate.int_accounts__identified where is_customer)",
        "update sync.sync_salesforce_hosts set account_meltano_id = null, account__c = null",
        "update intermediate.int_domains__known set domain_class = 'free_mail'",
        "update analytics.fct_opportunity_line_items set incremental_acv = incremental_acv + 1",
        "update analytics.fct_marketing_spend set spend = spend + 1",
        "update analytics.fct_opportunity_attributions set share = share / 2",
        "update analytics.agg_campaign_acquisition set lead_count = lead_count + 1",
        "update analytics.fct_recurring_revenue_monthly set arr = arr + 1, arr_reporting = null",
        "update analytics.fct_invoices set balance = balance + 1",
        "update analytics.fct_invoice_payments set amount = amount + 1",
        "update analytics.fct_refunds set amount = amount + 1",
        "insert into analytics.fct_payouts (payout_id, amount, is_automatic, reconciliation_status)"
        " values ('x', 1, true, 'completed')",
        "insert into analytics.agg_expenses_monthly (expense_month_id, amount) values ('x', 1)",
        "update analytics.fct_candidates set is_hired = false",
        "update analytics.agg_retention_monthly set year_ago_arr_reporting = 0, unknown_count = 0"
        " where retention_level = 'account'",
        "update analytics.agg_pipeline_changes_monthly"
        " set incremental_acv_reporting = incremental_acv_reporting + 1",
        "update analytics.fct_metrics set numerator = numerator * 2",
        "update seeds.exchange_rates set rate_to_usd = 0 where currency_code = 'EUR'",
    )
    with built.connect() as connection:
        for statement in damage:
            connection.execute(statement)
    failed = built.dbt("test", "--select", "test_type:singular")
    broken = {name.removeprefix("assert_") for name in failed}
    assert broken == {
        "campaigns_add_up_to_all_leads_and_opportunities",
        "recurring_revenue_agrees_by_subscription_and_account",
        "receivables_add_up_to_overdue_invoices",
        "billing_currencies_have_rates",
        "invoices_are_paid_by_their_payments",
        "refunds_add_up_to_what_payments_gave_back",
        "payouts_are_the_net_of_their_movements",
        "expenses_add_up_to_the_ledger",
        "hires_of_the_funnel_are_the_hired_candidates",
        "revenue_of_a_year_ago_agrees_on_all_levels",
        "pipeline_changes_lead_from_start_to_end",
        "metrics_are_their_numerator_by_their_denominator",
        "rates_are_one_a_day_and_above_zero",
        "shares_of_an_opportunity_sum_to_one",
        "spend_adds_up_to_the_cost_of_campaigns",
        "currencies_have_rates",
        "every_recent_valid_host_has_one_record",
        "hosts_have_one_account",
        "new_accounts_are_companies",
        "no_customer_is_created_again",
        "line_items_add_up_to_their_opportunity",
        "no_opportunity_is_lost",
        "recent_raw_hosts_are_cleaned",
        "sales_accepted_not_before_created",
        "sales_accepted_opportunities_agree_by_week_and_month",
        "stages_are_known",
    }
