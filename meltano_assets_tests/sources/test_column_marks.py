"""P2: what is personal, withheld or replaced by pseudonyms is told where the tables are read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dbt.cli.main import dbtRunner

from meltano_assets import environment, scaffold
from meltano_assets.assets.dbt import _inherited, column_tags
from meltano_assets.assets.raw import build_raw_assets
from meltano_assets.doctor import _field_rules
from meltano_assets.resources import CopyIOManager, Vendors, WarehouseResource
from meltano_assets.sources.rules import load_rules
from meltano_assets.sources.salesforce import SALESFORCE
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.sources.conftest import Vendors as Sandbox

RULES = """
salesforce:
  streams:
    contacts:
      columns: {email: pseudonymize, last_name: drop, title: {rule: pseudonymize, domain: job}}
      add: [{field: Fax, pii: true}]
    accounts:
      select: [name, website]
"""
ONLY_CONTACTS = replace(
    SALESFORCE, streams=(SALESFORCE.stream("contacts"), SALESFORCE.stream("accounts"))
)
PERSONAL = [column.name for column in SALESFORCE.stream("contacts").columns if column.is_pii]
CONTACTS = {
    **{name: {"pii": "true"} for name in PERSONAL},
    "last_name": {"pii": "true", "withheld": "true"},
    "email": {"pii": "true", "pseudonym": "email"},
    "title": {"pseudonym": "job"},
    "fax": {"pii": "true"},
}


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, in force."""
    file = tmp_path / "streams.yml"
    file.write_text(RULES)
    monkeypatch.setenv("MELTANO_STREAMS_FILE", str(file))
    monkeypatch.setenv("MELTANO_PSEUDONYM_KEYS", "k1:a-secret-of-chance-1")
    return file


def tags(schema: Any) -> dict[str, dict[str, str]]:
    columns = getattr(schema, "value", schema).columns
    return {column.name: dict(column.tags) for column in columns if column.tags}


def test_the_ui_tells_of_raw_columns_before_and_after_a_run(
    rules: Path, vendors: Sandbox, warehouse: Warehouse
) -> None:
    contacts, accounts = build_raw_assets((ONLY_CONTACTS,))
    declared = {a.key.path[-1]: a.metadata_by_key[a.key] for a in (contacts, accounts)}
    assert tags(declared["contacts"]["dagster/column_schema"]) == CONTACTS
    withheld = tags(declared["accounts"]["dagster/column_schema"])
    assert withheld["industry"] == {"withheld": "true"}
    assert not {"id", "name", "website", "system_modstamp"} & withheld.keys()

    # The file changes, and the next run says what it did.
    rules.write_text(RULES.replace("title: {rule: pseudonymize, domain: job}", "title: drop"))
    database = WarehouseResource(url=warehouse.url)
    settings = {"salesforce": vendors.settings("salesforce")}
    result = dg.materialize(
        [contacts],
        resources={
            "database": database,
            "vendors": Vendors(settings=settings, settings_are_sandbox=True),
            "io_manager": CopyIOManager(database=database),
        },
        instance=dg.DagsterInstance.ephemeral(),
    )
    [event] = result.asset_materializations_for_node("salesforce__contacts")
    assert tags(event.metadata["dagster/column_schema"]) == {
        **CONTACTS,
        "title": {"withheld": "true"},
    }
    with warehouse.connect() as connection:
        row = connection.execute(
            "select count(*) > 0, bool_and(email like '~k1~%' or email is null),"
            " count(last_name), count(title), count(first_name) > 0 from salesforce.contacts"
        ).fetchone()
    assert row == (True, True, 0, 0, True)


def test_dbt_tells_of_source_columns_and_staging_models_inherit_it(
    rules: Path, tmp_path: Path
) -> None:
    project = tmp_path / "dbt_project"
    ignore = shutil.ignore_patterns("target", "logs")
    shutil.copytree(environment.dbt_project_directory(), project, ignore=ignore)
    mine = load_rules([SALESFORCE])["salesforce"]
    folder = project / "models" / "staging" / "salesforce"
    assert scaffold.write(SALESFORCE, project, mine) == [folder / "_salesforce__sources.yml"]
    assert scaffold.write(SALESFORCE, project, mine) == []

    command = ["parse", "--quiet", "--project-dir", str(project), "--profiles-dir", str(project)]
    answer = dbtRunner().invoke([*command, "--target-path", str(tmp_path / "target")])
    assert answer.success, answer.exception
    manifest = json.loads((tmp_path / "target" / "manifest.json").read_text())
    source = manifest["sources"]["source.meltano_assets.salesforce.contacts"]
    marked = {
        name: column_tags(column["config"]["meta"])
        for name, column in source["columns"].items()
        if column["config"]["meta"]
    }
    assert marked == CONTACTS
    assert source["columns"]["fax"]["data_type"] == "text"

    relation = f'"{source["database"]}"."salesforce"."contacts"'
    sql = (
        f"with source as (select * from {relation}), final as (select nullif(email, '') as mail,"
        " id as contact_id from source) select * from final"
    )
    node = manifest["nodes"]["model.meltano_assets.stg_salesforce__contacts"]
    found = _inherited(manifest, node, sql, ["mail", "contact_id"])
    assert found == {"mail": {"pii": True, "pseudonym": "email"}, "contact_id": {}}

    # Without the rules the marks of the declarations are left.
    scaffold.write(SALESFORCE, project)
    before = environment.dbt_project_directory() / folder.relative_to(project)
    name = "_salesforce__sources.yml"
    assert (folder / name).read_text() == (before / name).read_text()


def test_doctor_says_when_dbt_does_not_know_the_rules(rules: Path) -> None:
    [finding] = _field_rules()
    assert finding.status == "warn"
    assert finding.next_step == "meltano-assets scaffold salesforce"
    rules.write_text("salesforce: {quota: {calls: 5}}")
    assert list(_field_rules()) == []


def test_a_mark_that_a_person_made_stays(tmp_path: Path, rules: Path) -> None:
    text = (
        environment.dbt_project_directory() / "models/staging/salesforce/_salesforce__sources.yml"
    ).read_text()
    known = yaml.safe_load(text)
    [accounts] = [t for t in known["sources"][0]["tables"] if t["name"] == "accounts"]
    [phone] = [column for column in accounts["columns"] if column["name"] == "phone"]
    phone["config"] = {"meta": {"pii": True}}
    mine = load_rules([SALESFORCE])["salesforce"]
    written = yaml.safe_load(scaffold.sources_yaml(SALESFORCE, known, mine))
    [accounts] = [t for t in written["sources"][0]["tables"] if t["name"] == "accounts"]
    columns = {column["name"]: column for column in accounts["columns"]}
    assert columns["phone"]["config"]["meta"] == {"pii": True, "withheld": True}
