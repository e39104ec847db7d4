"""The whole project over another organisation: its own field names (D2), and data gone wrong.

The fields are those of ``test_field_mapping.py``, which `mapping suggest` finds without help.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from dbt_common.exceptions import DbtRuntimeError
from psycopg import sql

from meltano_assets.sandbox.company import Company
from meltano_assets.sources.salesforce import column_name
from meltano_assets_tests.dbt_project.conftest import Project
from meltano_assets_tests.dbt_project.raw_tables import (
    create_raw_tables,
    fill_from_company,
    insert,
)
from meltano_assets_tests.test_field_mapping import OTHER_NAMES, SHIPPED

MAPPED = {stream: dict(fields) for stream, fields in SHIPPED.items()}
for (stream, concept), (name, *_) in OTHER_NAMES.items():
    MAPPED[stream][concept] = name
#: This organisation has no such field at all.
MAPPED["opportunities"]["reason_for_loss"] = None


@pytest.fixture(scope="module")
def company() -> Company:
    """A small company."""
    return Company(today=date(2026, 6, 30), scale=0.3)


@pytest.fixture(scope="module")
def built(project: Project, company: Company) -> Iterator[Project]:
    """The project built over a database whose custom columns have other names."""
    other = replace(project, mapped=MAPPED)
    renamed = []
    with project.connect() as connection:
        create_raw_tables(connection)
        fill_from_company(connection, company)
        for stream, fields in SHIPPED.items():
            for concept, field in fields.items():
                new = MAPPED[stream][concept] or "Something_Else__c"
                if field and new != field:
                    pair = (stream, column_name(field), column_name(new))
                    if pair[2] != "tcv__c":  # Amount is a standard field and stays
                        rename(connection, *pair)
                        renamed.append(pair)
        connection.execute("alter table salesforce.opportunities add column tcv__c numeric")
        connection.execute("update salesforce.opportunities set tcv__c = amount, amount = -1")
        insert(connection, ("salesforce", "accounts"), BAD_ACCOUNTS)
        insert(connection, ("salesforce", "opportunities"), BAD_OPPORTUNITIES)
        insert(connection, ("salesforce", "campaigns"), BAD_CAMPAIGNS)
        insert(connection, ("salesforce", "campaign_members"), BAD_MEMBERS)
    assert other.dbt("build", "--exclude-resource-type", "unit_test", "test") == {}
    yield other
    with project.connect() as connection:
        for stream, old, new in renamed:
            rename(connection, stream, new, old)
        connection.execute("alter table salesforce.opportunities drop column tcv__c cascade")


def rename(connection: Any, table: str, old: str, new: str) -> None:
    """A column renamed in the raw table."""
    connection.execute(
        sql.SQL("alter table salesforce.{} rename {} to {}").format(
            *map(sql.Identifier, (table, old, new))
        )
    )


ACCEPTED = {"sao_date__c": "2026-05-04", "type": "New Business", "tcv__c": 100}
BAD_OPPORTUNITIES: list[dict[str, object]] = [
    {"id": "no stage", **ACCEPTED},
    {"id": "unknown stage", "stage_name": "12-Dancing", **ACCEPTED},
    {"id": "negative", **ACCEPTED, "tcv__c": -5, "stage_name": "1-Discovery"},
    {"id": "early", **ACCEPTED, "stage_name": "1-Discovery", "created_date": "2026-05-20 00:00Z"},
    {
        "id": "no rate",
        **ACCEPTED,
        "stage_name": "1-Discovery",
        "currency_iso_code": "XTS",
        "close_date": "2026-05-05",
        "acme__net_new_arr__c": 70,
    },
]
BAD_ACCOUNTS: list[dict[str, object]] = [
    {"id": "orphan", "name": "Orphan", "parent_id": "parent"},
    {"id": "parent", "name": "Gone", "_deleted_at": "2026-01-01 00:00Z"},
    {"id": "circle a", "name": "A", "parent_id": "circle b"},
    {"id": "circle b", "name": "B", "parent_id": "circle c"},
    {"id": "circle c", "name": "C", "parent_id": "circle a"},
    {"id": "below", "name": "D", "parent_id": "circle c"},
    {"id": "itself", "name": "E", "parent_id": "itself"},
]
BAD_CAMPAIGNS: list[dict[str, object]] = [{"id": "twice", "name": "Twice", "actual_cost": 10}]
BAD_MEMBERS: list[dict[str, object]] = [
    {"id": "m1", "campaign_id": "twice", "lead_id": "l1", "has_responded": True},
    {"id": "m2", "campaign_id": "twice", "lead_id": "l1", "has_responded": False},
    {"id": "m3", "campaign_id": "twice", "lead_id": "l2", "is_deleted": True},
]


def test_the_metrics_of_another_organisation_are_the_known_ones(
    built: Project, company: Company
) -> None:
    known: Any = company.truths["sales_accepted_opportunities"]
    ours = "where opportunity_id not in ('no stage', 'unknown stage', 'early', 'no rate')"
    assert built.rows(
        f"select count(*) from analytics.fct_sales_accepted_opportunities {ours}"
    ) == [(known["total"],)]
    groups = dict(
        built.rows(
            "select source_group, count(*) from analytics.fct_sales_accepted_opportunities"
            f" {ours} group by 1"
        )
    )
    expected = {{"AE": "AE generated"}.get(k, k): n for k, n in known["by_source_group"].items()}
    assert groups == expected
    assert built.rows(
        "select count(*) from analytics.fct_opportunities where reason_for_loss is not null"
    ) == [(0,)]


def test_odd_opportunities_are_kept_and_counted_by_the_rule(built: Project) -> None:
    rows = {
        row[0]: row[1:]
        for row in built.rows(
            "select opportunity_id, is_sales_accepted, stage_state, mapped_stage,"
            " total_contract_value from analytics.fct_opportunities"
            " where opportunity_id !~ '^006'"
        )
    }
    assert rows == {
        "no stage": (True, "Open", "Unmapped", 100),
        "unknown stage": (True, "Open", "Unmapped", 100),
        "negative": (False, "Open", "1-Discovery", -5),
        "early": (True, "Open", "1-Discovery", 100),
        "no rate": (True, "Open", "1-Discovery", 100),
    }


def test_an_amount_without_a_rate_is_unknown_and_told(built: Project) -> None:
    assert built.rows(
        "select total_contract_value_reporting, incremental_acv_reporting, incremental_acv"
        " from analytics.fct_opportunities where opportunity_id = 'no rate'"
    ) == [(None, None, 70)]
    told = built.dbt("test", "--select", "assert_currencies_have_rates", "assert_stages_are_known")
    assert set(told) == {"assert_currencies_have_rates", "assert_stages_are_known"}
    assert all(outcome.startswith("warn") for outcome in told.values())


def test_hierarchies_without_a_top_or_with_a_deleted_one_have_an_ultimate_parent(
    built: Project,
) -> None:
    parents = dict(
        built.rows(
            "select account_id, ultimate_parent_account_id from analytics.dim_accounts"
            " where account_id !~ '^001'"
        )
    )
    assert parents == {
        "orphan": "orphan",
        "parent": "parent",
        "circle a": "circle a",
        "circle b": "circle a",
        "circle c": "circle a",
        "below": "circle a",
        "itself": "itself",
    }


def test_a_person_who_was_added_twice_counts_once(built: Project) -> None:
    assert built.rows(
        "select member_count, responded_count from analytics.dim_campaigns"
        " where campaign_id = 'twice'"
    ) == [(1, 1)]


def test_a_mapped_field_that_was_not_loaded_is_named(built: Project) -> None:
    wrong = {**MAPPED, "leads": {"marketing_qualified_date": "Nowhere__c"}}
    failed = replace(built, mapped=wrong).dbt("run", "--select", "stg_salesforce__leads")
    told = failed["stg_salesforce__leads"]
    assert "field_mapping.yml maps leads.marketing_qualified_date to the column nowhere__c" in told
    assert "meltano-assets extract salesforce.leads" in told


@pytest.mark.parametrize(
    ("concept", "field", "holds"),
    [
        ("acv", "Stage_Name", "holds text in"),
        ("sales_accepted_date", "Amount", "holds numeric in"),
    ],
)
def test_a_mapped_field_of_another_kind_is_named_and_not_its_value(
    built: Project, concept: str, field: str, holds: str
) -> None:
    """A cast would fail in some table later, and tell what a record says."""
    wrong = {**MAPPED, "opportunities": {**MAPPED["opportunities"], concept: field}}
    failed = replace(built, mapped=wrong).dbt("run", "--select", "stg_salesforce__opportunities")
    told = failed["stg_salesforce__opportunities"]
    assert f"field_mapping.yml maps opportunities.{concept} to the column" in told
    assert holds in told
    assert "meltano-assets mapping suggest" in told


def test_a_number_that_is_mapped_as_text_is_text(built: Project) -> None:
    numbers = {**MAPPED, "opportunities": {**MAPPED["opportunities"], "reason_for_loss": "Amount"}}
    other = replace(built, mapped=numbers)
    assert other.dbt("run", "--select", "stg_salesforce__opportunities") == {}
    assert built.rows(
        "select distinct reason_for_loss from staging.stg_salesforce__opportunities"
        " where opportunity_id ~ '^006'"
    ) == [("-1",)]
    assert built.dbt("run", "--select", "stg_salesforce__opportunities") == {}


def test_dbt_without_the_mapping_says_how_to_run_it(built: Project) -> None:
    untold = replace(built, mapped=None, is_mapping_told=False)
    with pytest.raises(DbtRuntimeError, match="run `meltano-assets dbt compile` instead"):
        untold.dbt("compile", "--select", "stg_salesforce__leads")
