"""The promises D1 to D5 of the dbt project, each in full, read off what dbt understood of it.

What the numbers come to over a company's data is in ``test_company.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meltano_assets.environment import dbt_project_directory

ROOT = Path(__file__).resolve().parents[2]

#: Models of 2018 → where their rule is now.
KEPT = {
    "date_details dim_date": "dim_dates",
    "sfdc_account account dim_account sfdc_accounts_xf": "dim_accounts",
    "sfdc_campaign sfdc_campaign_xf": "dim_campaigns",
    "sfdc_contact": "dim_contacts",
    "sfdc_lead": "fct_leads",
    "sfdc_opportunity opportunity sfdc_opportunity_xf": "fct_opportunities",
    "sfdc_opportunity_line_item opplineitems nolineitems lineitems f_opportunity": (
        "fct_opportunity_line_items"
    ),
    "sfdc_opportunityhistory dim_opphistory": "fct_opportunity_stages",
    "sfdc_opportunitystage dim_opportunitystage": "opportunity_stages",
    "leadsource dim_leadsource": "lead_source_types",
    "sfdc_users users": "dim_users",
    "sfdc_user_roles": "stg_salesforce__user_roles",
    "snapshot_opportunity": "snap_salesforce__opportunities",
    "f_snapshot_opportunity": "fct_opportunity_snapshots",
    "sfdc_pipeline": "agg_pipeline_monthly",
    "sfdc_closed_deals_acv": "agg_closed_deals_monthly",
    "sfdc_sales_accepted_opportunity": "fct_sales_accepted_opportunities",
    "zuora_account": "stg_zuora__accounts",
    "zuora_contact": "stg_zuora__contacts",
    "zuora_invoice": "fct_invoices",
    "zuora_rate_plan": "stg_zuora__rate_plans",
    "zuora_rate_plan_charge": "int_subscriptions__charged",
    "zuora_subscription": "fct_subscriptions",
    "zuora_current_arr": "agg_recurring_revenue_monthly",
    "zuora_accounts_receivables zuora_invoices_beyond_30days": "agg_receivables_aging",
    "zuora_scheduled_renewals": "fct_scheduled_renewals",
    "retention_sfdc_parent_account_churn_history retention_sfdc_child_account_churn_history"
    " retention_zuora_subscription_churn_history": "fct_retention_monthly",
    "historical_headcount": "headcounts",
    "pings_usage_data": "stg_version__usage_data",
    "pings_usage_data_unpacked": "int_usage_pings__unpacked",
    "pings_usage_data_month pings_usage_data_boolean": "agg_usage_monthly",
    "pings_last_60_version_pings pings_last_60_usage_pings": "int_hosts__pinged",
    "version_checks_clean usage_data_clean libre_hosts": "int_installs__recorded",
    "libre_agg_hosts": "int_companies__by_domain",
    "libre_sfdc_accounts": "sync_salesforce_hosts",
    "sfdc_accounts_gen": "sync_salesforce_new_accounts",
    "sfdc_update": "sync_salesforce_account_updates",
    "accounts": "stg_netsuite__accounts",
    "applications": "stg_netsuite__applications",
    "currencies": "stg_netsuite__currencies",
    "customers": "stg_netsuite__customers",
    "departments": "stg_netsuite__departments",
    "expenses transactions transaction_items transaction_lines": "fct_ledger_entries",
    "subsidiaries": "stg_netsuite__subsidiaries",
    "vendors": "stg_netsuite__vendors",
    "marketing_spend": "fct_marketing_spend",
}
#: What was not rebuilt → the words that say so beside the reasons.
DROPPED = {
    "quotelineitems": "quote charges before line items",
    "calc_churn": "`calc_churn`",
    "historical_sales_quota_xf": "quotas by person",
    "is_lau": '"large and up"',
    "sfdc_sales_qualified": "SQOs beside SAOs",
    "staleness": "staleness tests",
}
#: What a rule has that was mended, as the pages name it: a fault must not come back unnamed.
MENDED = (
    "sales-accepted date",
    "reporting currency",
    "lost by an inner join",
    "ISO year",
    "Confernece",
    "row number",
    "0.0001",
    "`source_id` filled with `source`",
    "13 periods back",
    "greatest of each column",
    "NN.NN",
    "link's HTML",
    "removing `www.`",
)

#: The common data model: table → its key.
COMMON = {
    "dim_accounts": "account_id",
    "dim_contacts": "contact_id",
    "dim_users": "user_id",
    "dim_campaigns": "campaign_id",
    "dim_dates": "date_day",
    "fct_leads": "lead_id",
    "fct_opportunities": "opportunity_id",
    "fct_subscriptions": "subscription_id",
    "fct_invoices": "invoice_id",
    "fct_marketing_spend": "marketing_spend_id",
    "fct_usage_pings": "usage_ping_id",
    "fct_tickets": "ticket_id",
}
#: Fields of Salesforce that organisations name as they like.
CUSTOM = {
    "opportunities": {"incremental_acv", "sales_accepted_date", "sales_qualified_source"},
    "leads": {"marketing_qualified_date"},
}

#: Metric → the model that works it out.
METRICS = {
    "sales_accepted_opportunities": "int_opportunities__sales_accepted",
    "marketing_spend": "int_campaigns__spent",
    "leads": "int_leads__attributed",
    "customers_won": "agg_acquisition_monthly",
    "cost_per_lead": "agg_acquisition_monthly",
    "cost_per_sales_accepted_opportunity": "agg_acquisition_monthly",
    "customer_acquisition_cost": "agg_acquisition_monthly",
    "estimated_iacv": "agg_estimated_iacv_monthly",
    "estimated_iacv_per_sales_accepted_opportunity": "agg_acquisition_monthly",
    "estimated_iacv_to_marketing": "agg_acquisition_monthly",
    "lifetime_value": "agg_acquisition_monthly",
    "lifetime_value_per_sales_accepted_opportunity": "agg_acquisition_monthly",
    "return_on_investment": "agg_acquisition_monthly",
}

#: What D4 speaks of → its mart, and columns without which it would be something else.
HISTORY = {
    "opportunity snapshots": ("fct_opportunity_snapshots", "valid_from_at valid_before_at"),
    "retention": (
        "agg_retention_monthly",
        "retention_level net_retention gross_retention",
    ),
    "churn": ("agg_churn_monthly", "yearly_churn"),
    "ARR": ("agg_recurring_revenue_monthly", "currency_code arr mrr arr_reporting"),
    "receivables aging": ("agg_receivables_aging", "overdue_range"),
    "product usage": ("agg_usage_monthly", "install_uuid month_start_date version"),
    "feature adoption": ("agg_feature_adoption_monthly", "feature adoption"),
    "pipeline change": ("agg_pipeline_changes_monthly", "change_type"),
}


@pytest.fixture(scope="module")
def manifest(
    tmp_path_factory: pytest.TempPathFactory, parsed_by_dbt: Callable[[Path], None]
) -> dict[str, Any]:
    """What dbt understood of the project; no database is needed."""
    folder = tmp_path_factory.mktemp("parsed")
    parsed_by_dbt(folder)
    loaded: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return loaded


def nodes(manifest: dict[str, Any], *kinds: str) -> dict[str, dict[str, Any]]:
    """Models, seeds, snapshots by name."""
    found = manifest["nodes"].values()
    return {node["name"]: node for node in found if node["resource_type"] in kinds}


def layer(node: dict[str, Any]) -> str:
    return str(node["fqn"][1])


def upstream(manifest: dict[str, Any], name: str) -> Iterator[str]:
    """Everything that a model is made of, as unique ids."""
    waiting, seen = [f"model.meltano_assets.{name}"], set()
    while waiting:
        for parent in manifest["parent_map"].get(waiting.pop(), ()):
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    yield from seen


def test_d1_the_models_of_2018_are_rebuilt_in_layers_or_their_end_is_told(
    manifest: dict[str, Any],
) -> None:
    built = nodes(manifest, "model", "seed", "snapshot")
    assert not set(KEPT.values()) - set(built)
    told = " ".join((ROOT / "DECISIONS.md").read_text().split())
    told += " ".join((ROOT / "docs" / "metrics.md").read_text().split())
    assert not [name for name, words in DROPPED.items() if words not in told]
    assert not [words for words in MENDED if words not in told]


def test_d1_layers_read_only_what_lies_below_them(manifest: dict[str, Any]) -> None:
    below = {
        "staging": {"sources"},
        "intermediate": {"staging", "intermediate", "seeds", "snapshots"},
        "marts": {"staging", "intermediate", "marts", "seeds", "snapshots"},
    }
    places = dict.fromkeys(manifest["sources"], "sources")
    for key, node in manifest["nodes"].items():
        kind = node["resource_type"]
        places[key] = layer(node) if kind == "model" else f"{kind}s"
    for name, node in nodes(manifest, "model").items():
        read = {places[parent] for parent in node["depends_on"]["nodes"]}
        allowed = below[layer(node)]
        assert read <= allowed, f"{name} reads {read - allowed}"


def test_d2_the_common_data_model_is_there_with_its_keys(manifest: dict[str, Any]) -> None:
    models = nodes(manifest, "model")
    tested: dict[tuple[str, str], set[str]] = {}
    for node in manifest["nodes"].values():
        if node["resource_type"] == "test" and node.get("test_metadata"):
            on = str(node["attached_node"]).rpartition(".")[2]
            column = str(node["column_name"])
            tested.setdefault((on, column), set()).add(node["test_metadata"]["name"])
    for name, key in COMMON.items():
        assert layer(models[name]) == "marts", name
        assert key in models[name]["columns"], name
        assert {"unique", "not_null"} <= tested.get((name, key), set()), name


def test_d2_custom_fields_reach_the_model_through_one_file(manifest: dict[str, Any]) -> None:
    """``mapping suggest`` filling that file without help is in ``test_field_mapping.py``."""
    models = nodes(manifest, "model")
    for stream, concepts in CUSTOM.items():
        code = models[f"stg_salesforce__{stream}"]["raw_code"]
        mapped = set(re.findall(rf"mapped\('{stream}', '(\w+)'", code))
        assert concepts <= mapped, stream
    text = (dbt_project_directory() / "field_mapping.yml").read_text()
    assert all(concept in text for concepts in CUSTOM.values() for concept in concepts)


def test_d3_every_metric_has_a_unit_test_worked_out_by_hand(manifest: dict[str, Any]) -> None:
    told = nodes(manifest, "model")["fct_metrics"]
    named = set(re.findall(r"'(\w+)' as metric|\('(\w+)', \w+|\(\s*'(\w+)',", told["raw_code"]))
    metrics = {name for names in named for name in names if name} - {
        *("all", "week", "month", "source_group", "sales_segment", "campaign")
    }
    assert metrics == set(METRICS)
    tests: dict[str, list[dict[str, Any]]] = {}
    for test in manifest["unit_tests"].values():
        tests.setdefault(test["model"], []).append(test)
    for metric, model in METRICS.items():
        assert tests.get(model), metric
        if model == "agg_acquisition_monthly":
            expected = [row for test in tests[model] for row in test["expect"]["rows"]]
            values = [row.get(metric, row.get(f"{metric}_count")) for row in expected]
            assert any(value is not None for value in values), metric
            # The arithmetic is written beside it.
            assert any(re.search(r"= \d", test["description"]) for test in tests[model])
    shown = {row["metric"] for test in tests["fct_metrics"] for row in test["expect"]["rows"]}
    assert shown == set(METRICS)


def test_d3_money_is_in_one_currency_and_null_where_a_denominator_is_empty(
    manifest: dict[str, Any],
) -> None:
    """No quotient of a mart is written but by the macro that knows of empty denominators."""
    for name, node in nodes(manifest, "model").items():
        if layer(node) != "marts" or not name.startswith(("agg_", "fct_metrics")):
            continue
        code = re.sub(r"--.*|\{\{.*?\}\}|'[^']*'", "", node["raw_code"], flags=re.S)
        code = re.sub(r"--.*", "", code)
        assert " / " not in code, f"{name} divides without the macro ratio"


def test_d4_states_are_kept_and_what_changed_over_time_has_its_mart(
    manifest: dict[str, Any],
) -> None:
    snapshots = nodes(manifest, "snapshot")
    assert {"snap_salesforce__opportunities", "snap_salesforce__accounts"} <= set(snapshots)
    models = nodes(manifest, "model")
    for what, (name, columns) in HISTORY.items():
        assert set(columns.split()) <= set(models[name]["columns"]), what
    retention = models["fct_retention_monthly"]["unique_id"]
    accepted = [
        node["test_metadata"]["kwargs"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and node.get("attached_node") == retention
        and node["column_name"] == "retention_level"
        and node["test_metadata"]["name"] == "accepted_values"
    ]
    assert set(accepted[0]["values"]) == {"account", "ultimate_parent", "subscription"}
    hook = str(models["fct_opportunity_snapshots"]["config"]["post-hook"])
    assert "pipeline_change_function" in hook, "the function of any two dates goes with its table"


def test_d5_marts_are_contracts_and_every_column_is_described(manifest: dict[str, Any]) -> None:
    for name, node in nodes(manifest, "model").items():
        is_mart = layer(node) == "marts"
        assert node["contract"]["enforced"] == is_mart, name
        for column, words in node["columns"].items():
            assert words["description"], f"{name}.{column}"
            assert not is_mart or words["data_type"], f"{name}.{column}"


def test_d5_every_mart_is_tested_and_leads_to_a_consumer(manifest: dict[str, Any]) -> None:
    """Tests of marts are checks of their assets; a consumer is an exposure, at some distance."""
    models = nodes(manifest, "model")
    tested = {node.get("attached_node") for node in nodes(manifest, "test").values()}
    reached: set[str] = set()
    for exposure in manifest["exposures"].values():
        assert exposure["owner"]["name"]
        assert exposure["description"]
        for parent in exposure["depends_on"]["nodes"]:
            reached |= {parent, *upstream(manifest, parent.rpartition(".")[2])}
    marts = {node["unique_id"] for node in models.values() if layer(node) == "marts"}
    assert marts <= tested
    assert marts <= reached
