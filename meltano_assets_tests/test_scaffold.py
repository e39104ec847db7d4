"""The dbt side of a source is written from its declarations; what people wrote is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from meltano_assets import environment, scaffold
from meltano_assets.sources import SOURCES
from meltano_assets.sources.base import Source
from meltano_assets.streams import Column, Stream

ORDERS = Stream(
    source="shop",
    name="orders",
    columns=(
        Column("id", "bigint", "Number of the order."),
        Column("status"),
        Column("buyer", is_pii=True, description='"Who": bought it'),
        Column("customer_id", field="CustomerId"),
        Column("gift", "boolean"),
        Column("shop__deleted__c", "boolean", field="shop__Deleted__c"),
        Column("zqu__billcycleday__c", field="zqu__BillCycleDay__c"),
        Column("default", "numeric"),
        Column("created_date", "timestamptz"),
        Column("deleted", "boolean"),
    ),
    primary_key=("id",),
)
SHOP = replace(SOURCES[0], name="shop", title="Shop", description="A shop.", streams=(ORDERS,))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The dbt side of the shop."""
    changed = scaffold.write(SHOP, tmp_path)
    assert len(changed) == 3
    return tmp_path / "models" / "staging" / "shop"


def test_a_first_staging_model_renames_trims_and_keeps_every_column(written: Path) -> None:
    selected = (written / "stg_shop__orders.sql").read_text().split("select\n")[1]
    lines = [line.strip(" ,") for line in selected.split("    from")[0].splitlines()]
    assert lines == [
        "id as order_id",
        "{{ clean_text('customer_id') }} as customer_id",
        "{{ clean_text('status') }} as order_status",
        "{{ clean_text('buyer') }} as buyer",
        "{{ clean_text('zqu__billcycleday__c') }} as bill_cycle_day",
        "gift as is_gift",
        "shop__deleted__c",
        '"default" as order_default',
        "created_date as created_at",
        "{{ is_deleted('deleted') }} as is_deleted",
        "_loaded_at as loaded_at",
    ]
    models = yaml.safe_load((written / "_shop__models.yml").read_text())["models"]
    described = [column["name"] for column in models[0]["columns"]]
    assert described == [line.split(" as ")[-1] for line in lines]


def test_the_source_yaml_tells_types_and_personal_columns(written: Path) -> None:
    table = yaml.safe_load((written / "_shop__sources.yml").read_text())["sources"][0]["tables"][0]
    columns = {column.pop("name"): column for column in table["columns"]}
    assert columns["buyer"] == {
        "data_type": "text",
        "description": '"Who": bought it',
        "config": {"meta": {"pii": True}},
    }
    assert columns["customer_id"]["description"] == "The customer of the order: its id in Shop."
    assert set(columns) - {c.name for c in ORDERS.columns} == {
        "_loaded_at",
        "_load_id",
        "_deleted_at",
    }


def test_a_second_run_changes_nothing_and_a_new_column_keeps_what_people_wrote(
    written: Path, tmp_path: Path
) -> None:
    assert scaffold.write(SHOP, tmp_path) == []
    sources = written / "_shop__sources.yml"
    sources.write_text(
        sources.read_text().replace(
            "description: Status of the order.", "description: open or paid."
        )
    )
    model = written / "stg_shop__orders.sql"
    model.write_text("select 1")
    wider = replace(ORDERS, columns=(*ORDERS.columns, Column("total", "numeric")))
    assert scaffold.write(replace(SHOP, streams=(wider,)), tmp_path) == [sources]
    assert "description: open or paid." in sources.read_text()
    assert "name: total" in sources.read_text()
    assert model.read_text() == "select 1"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_project_follows_the_declarations(source: Source) -> None:
    folder = environment.dbt_project_directory() / "models" / "staging" / source.name
    text = (folder / f"_{source.name}__sources.yml").read_text()
    assert text == scaffold.sources_yaml(source, yaml.safe_load(text)), (
        f"run meltano-assets scaffold {source.name}"
    )
