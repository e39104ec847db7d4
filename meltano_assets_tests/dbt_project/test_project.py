"""The dbt project as a whole: it parses alone, covers every stream, and says what it holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt.cli.main import dbtRunner

from meltano_assets.assets.lineage import column_lineage, lost_references, relation_name
from meltano_assets.demo.report import HEADLINES
from meltano_assets.environment import dbt_project_directory
from meltano_assets.roles import impersonal_columns
from meltano_assets_tests.dbt_project.conftest import Project, environment
from meltano_assets_tests.dbt_project.raw_tables import STREAMS

GRAIN = "One row per "
SQL = {"case", "when", "then", "else", "end", "and", "or", "not", "is", "in", "null", "least"}


@pytest.fixture(scope="module")
def manifest(empty: Project) -> dict[str, Any]:
    """What dbt understood of the project."""
    loaded: dict[str, Any] = json.loads((empty.target / "manifest.json").read_text())
    return loaded


def models(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Models by name."""
    nodes = manifest["nodes"].values()
    return {node["name"]: node for node in nodes if node["resource_type"] == "model"}


def test_project_parses_without_warnings_in_an_empty_environment(tmp_path: Path) -> None:
    folder = str(dbt_project_directory())
    command = ["parse", "--warn-error", "--quiet", "--project-dir", folder]
    command += ["--profiles-dir", folder, "--target-path", str(tmp_path)]
    with environment({"HOME": str(tmp_path)}, only=True):
        answer = dbtRunner().invoke([*command, "--log-path", str(tmp_path)])
    assert answer.success, answer.exception


def test_every_stream_has_a_source_table_with_its_columns(manifest: dict[str, Any]) -> None:
    declared = {
        (source["source_name"], source["name"]): {
            name: column["data_type"] for name, column in source["columns"].items()
        }
        for source in manifest["sources"].values()
    }
    loader = {"_loaded_at": "timestamptz", "_load_id": "text", "_deleted_at": "timestamptz"}
    expected = {
        (stream.source, stream.name): {column.name: column.type for column in stream.columns}
        | loader
        for stream in STREAMS
    }
    assert declared == expected


def test_personal_columns_of_streams_are_marked_in_the_sources(manifest: dict[str, Any]) -> None:
    sources = {(s["source_name"], s["name"]): s for s in manifest["sources"].values()}
    for stream in STREAMS:
        columns = sources[stream.source, stream.name]["columns"]
        marked = {name for name, column in columns.items() if column["config"]["meta"].get("pii")}
        assert {column.name for column in stream.columns if column.is_pii} <= marked, stream.key


Made = tuple[str, str]


def _meta(column: dict[str, Any]) -> dict[str, Any]:
    return {**column["meta"], **column["config"]["meta"]}


@pytest.fixture(scope="module")
def personal(manifest: dict[str, Any]) -> set[Made]:
    """Every (relation, column) that is marked as personal, of sources and models alike."""
    return {
        (relation_name((n["database"], n["schema"], n.get("identifier") or n["alias"])), column)
        for n in [*manifest["sources"].values(), *models(manifest).values()]
        for column, words in n["columns"].items()
        if _meta(words).get("pii")
    }


@pytest.fixture(scope="module")
def personal_origins(
    manifest: dict[str, Any], empty: Project, personal: set[Made]
) -> dict[Made, set[Made]]:
    """Model and column → the personal columns of its parents that it is made of, by its SQL."""
    found = {}
    for name, node in models(manifest).items():
        sql = empty.target / "compiled" / node["package_name"] / node["original_file_path"]
        # What cannot be traced cannot be held to its marks.
        assert not lost_references(sql.read_text(), node["columns"]), name
        for column, origins in column_lineage(sql.read_text(), node["columns"]).items():
            found[name, column] = personal.intersection(origins)
    return found


def test_columns_made_of_personal_ones_are_marked_or_say_why_not(
    manifest: dict[str, Any], personal_origins: dict[Made, set[Made]]
) -> None:
    """``meta: {impersonal: why}`` is for what was counted, hashed or cut off what names somebody."""
    for name, node in models(manifest).items():
        for column, words in node["columns"].items():
            origins, meta = personal_origins[name, column], _meta(words)
            reason = meta.get("impersonal")
            assert reason is None or (isinstance(reason, str) and len(reason) > 10), (name, column)
            assert not (reason and meta.get("pii")), (name, column)
            assert not origins or meta.get("pii") or reason, (name, column, origins)
            looks_personal = origins or _is_named_after_personal(manifest, node, column)
            assert looks_personal or not reason, (name, column, "nothing personal to explain")


def _is_named_after_personal(manifest: dict[str, Any], node: dict[str, Any], column: str) -> bool:
    """Whether anything above has a marked column of that name."""
    known = {**manifest["sources"], **manifest["nodes"]}
    waiting, seen = list(node["depends_on"]["nodes"]), set()
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        if _meta(known[key]["columns"].get(column, {"meta": {}, "config": {"meta": {}}})).get(
            "pii"
        ):
            return True
        waiting += known[key].get("depends_on", {}).get("nodes", [])
    return False


def test_marked_columns_are_made_of_marked_ones(
    manifest: dict[str, Any], personal_origins: dict[Made, set[Made]]
) -> None:
    """A mark without one is a mark that the source lacks."""
    for name, node in models(manifest).items():
        for column, words in node["columns"].items():
            if _meta(words).get("pii"):
                assert personal_origins[name, column], (name, column)


def test_roles_close_what_is_marked_and_nothing_else_of_the_project(
    manifest: dict[str, Any], personal: set[Made]
) -> None:
    """They also close a name that comes from a marked column above, which those who write models forget to mark."""
    opened = impersonal_columns(manifest)
    for node in models(manifest).values():
        relation = relation_name((node["database"], node["schema"], node["alias"]))
        unmarked = {column for column in node["columns"] if (relation, column) not in personal}
        assert opened[node["schema"], node["alias"]] == unmarked, node["name"]


def test_personal_columns_that_are_synced_are_personal_fields(manifest: dict[str, Any]) -> None:
    """Their values are kept out of Dagster's events."""
    text = (dbt_project_directory() / "salesforce_sync.yml").read_text()
    for sync in yaml.safe_load(text)["syncs"].values():
        columns = models(manifest)[sync["model"]]["columns"]
        marked = {column for column, words in columns.items() if _meta(words).get("pii")}
        told = {column for column, field in sync["fields"].items() if field.get("personal")}
        assert marked == told, sync["model"]


def test_every_source_table_has_one_staging_model(manifest: dict[str, Any]) -> None:
    tables = {f"stg_{s['source_name']}__{s['name']}" for s in manifest["sources"].values()}
    staging = {name for name in models(manifest) if name.startswith("stg_")}
    assert staging == tables
    for name, node in models(manifest).items():
        reads_sources = any(unique.startswith("source.") for unique in node["depends_on"]["nodes"])
        assert reads_sources == (name in staging), name


def test_models_say_their_grain_and_describe_exactly_their_columns(
    manifest: dict[str, Any], empty: Project
) -> None:
    actual: dict[tuple[str, str], set[str]] = {}
    for schema, table, column in empty.rows(
        "select table_schema, table_name, column_name from information_schema.columns"
    ):
        actual.setdefault((schema, table), set()).add(column)
    for name, node in models(manifest).items():
        assert node["description"].startswith(GRAIN), name
        described = {c for c, column in node["columns"].items() if column["description"]}
        assert described == actual[node["schema"], node["alias"]], name


def test_marts_and_sync_models_are_public_contracts(manifest: dict[str, Any]) -> None:
    for name, node in models(manifest).items():
        is_mart = "marts" in node["path"].split("/")
        assert node["contract"]["enforced"] == is_mart, name
        assert (node["access"] == "public") == is_mart, name


#: Facts that are metrics already, or wait for a person.
NOT_SEMANTIC = {"fct_metrics", "fct_account_match_reviews"}
#: Marts that sum up a fact, which is the one to ask.
SUMMED = {
    "agg_account_tickets_monthly": "fct_tickets",
    "agg_campaign_acquisition": "fct_marketing_spend",
    "agg_campaign_acquisition_monthly": "fct_marketing_spend",
    "agg_churn_monthly": "fct_retention_monthly",
    "agg_closed_deals_monthly": "fct_opportunities",
    "agg_expenses_monthly": "fct_ledger_entries",
    "agg_feature_adoption_monthly": "agg_usage_monthly",
    "agg_hiring_funnel_monthly": "fct_candidates",
    "agg_pipeline_changes_monthly": "fct_opportunity_snapshots",
    "agg_pipeline_monthly": "fct_opportunities",
    "agg_receivables_aging": "fct_invoices",
    "agg_recurring_revenue_monthly": "fct_recurring_revenue_monthly",
    "agg_retention_monthly": "fct_retention_monthly",
    "agg_sales_accepted_opportunities_monthly": "fct_sales_accepted_opportunities",
    "agg_sales_accepted_opportunities_weekly": "fct_sales_accepted_opportunities",
    "agg_version_currency_monthly": "agg_usage_monthly",
}


def test_every_fact_has_a_semantic_model_of_its_columns(manifest: dict[str, Any]) -> None:
    """dbt parses the expressions and does not look whether the columns are there."""
    described = {}
    for semantic in manifest["semantic_models"].values():
        model = models(manifest)[semantic["node_relation"]["alias"]]
        described[model["name"]] = semantic["name"]
        parts = [*semantic["entities"], *semantic["dimensions"], *semantic["measures"]]
        for part in parts:
            expression = part["expr"] or part["name"]
            words = set(re.findall(r"[a-z_]+", re.sub(r"'[^']*'", "", expression))) - SQL
            assert words <= set(model["columns"]), (semantic["name"], part["name"])
    names = {name for name in models(manifest) if name.startswith(("fct_", "agg_"))}
    assert names - set(described) == NOT_SEMANTIC | set(SUMMED)
    assert set(SUMMED.values()) <= set(described)


def test_every_mart_has_an_exposure(manifest: dict[str, Any]) -> None:
    """A mart that no report and no application is declared to read is nobody's, or nobody knows whose."""
    shown = set()
    for exposure in manifest["exposures"].values():
        assert exposure["owner"]["name"], exposure["name"]
        assert exposure["description"], exposure["name"]
        assert exposure["type"] in ("dashboard", "analysis", "application", "ml", "notebook")
        shown |= set(exposure["depends_on"]["nodes"])
    marts = [node for node in models(manifest).values() if "marts" in node["path"].split("/")]
    assert not {node["name"] for node in marts if node["unique_id"] not in shown}


def test_what_the_product_shows_is_an_exposure(manifest: dict[str, Any]) -> None:
    read = {
        mart for query, _ in HEADLINES.values() for mart in re.findall(r"\banalytics\.(\w+)", query)
    }
    exposures = {exposure["name"]: exposure for exposure in manifest["exposures"].values()}
    told = {key.rpartition(".")[2] for key in exposures["demo_headlines"]["depends_on"]["nodes"]}
    assert told == read
    synced = yaml.safe_load((dbt_project_directory() / "salesforce_sync.yml").read_text())["syncs"]
    told = {key.rpartition(".")[2] for key in exposures["salesforce_sync"]["depends_on"]["nodes"]}
    assert told == {sync["model"] for sync in synced.values()}


def test_schemas_are_the_same_in_every_environment(manifest: dict[str, Any]) -> None:
    schemas = {node["schema"] for node in models(manifest).values()}
    assert schemas == {"staging", "intermediate", "analytics", "sync"}


def test_sync_declaration_names_every_column_of_its_models(manifest: dict[str, Any]) -> None:
    text = (dbt_project_directory() / "salesforce_sync.yml").read_text()
    for name, sync in yaml.safe_load(text)["syncs"].items():
        columns = list(models(manifest)[sync["model"]]["columns"])
        named = [*sync["fields"], *sync.get("references", {}), sync.get("match")]
        assert sorted(columns) == sorted({column for column in named if column}), name
        assert models(manifest)[sync["model"]]["schema"] == "sync", name


def test_unit_tests_pass(empty: Project) -> None:
    assert empty.dbt("test", "--select", "test_type:unit") == {}


#: Models without a unit test, and why; staging models are held to have no logic.
NO_UNIT_TEST = {
    "dim_dates": "thirty years of days; test_days_know_their_weeks_and_quarters looks at some",
    "fct_invoices": "the columns of int_invoices__aged as they are",
    "fct_recurring_revenue_monthly": "the columns of int_subscriptions__recurring_monthly",
    "fct_marketing_spend": "int_campaigns__spent with a key",
    "agg_pipeline_changes_monthly": "calls a function of the database, which"
    " test_pipeline_changes_between_any_two_days and a singular test hold",
}
LOGIC = re.compile(
    r"\b(join|where|case|union|group by|distinct|over \(|order by|having|limit|exists)\b", re.I
)


def test_every_model_with_logic_has_a_unit_test(manifest: dict[str, Any]) -> None:
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    untested = set(models(manifest)) - tested
    staging = {name for name in untested if name.startswith("stg_")}
    assert untested - staging == set(NO_UNIT_TEST)
    for name in staging:
        code = re.sub(r"--.*|{#.*?#}", "", models(manifest)[name]["raw_code"])
        assert not LOGIC.search(code), f"{name} does more than rename, cast and trim"


def test_docs_show_every_relation_with_its_columns_as_described(
    empty: Project, manifest: dict[str, Any]
) -> None:
    assert empty.dbt("docs", "generate", "--no-compile") == {}
    catalog = json.loads((empty.target / "catalog.json").read_text())
    assert not catalog["errors"]
    kinds = {"model", "seed", "snapshot"}
    told = {key: n for key, n in manifest["nodes"].items() if n["resource_type"] in kinds}
    assert set(catalog["nodes"]) == set(told)
    for key, node in told.items():
        assert set(catalog["nodes"][key]["columns"]) == set(node["columns"]), key
        assert all(words["description"] for words in node["columns"].values()), key
    assert set(catalog["sources"]) == set(manifest["sources"])


def test_snapshots_say_of_columns_what_their_models_say(manifest: dict[str, Any]) -> None:
    for node in manifest["nodes"].values():
        if node["resource_type"] == "snapshot":
            [model] = node["depends_on"]["nodes"]
            for column, words in manifest["nodes"][model]["columns"].items():
                said = node["columns"][column]
                assert said["description"] == words["description"], (node["name"], column)
                assert _meta(said) == _meta(words), (node["name"], column)
