"""dbt assets: every model, seed and snapshot of ``dbt_project/``, built by one dbt call.

The manifest is what ``dbt parse`` wrote; it is made when it is missing or older than the project.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliInvocation,
    DbtCliResource,
    DbtProject,
    dbt_assets,
)

from meltano_assets import environment
from meltano_assets.assets.lineage import column_lineage, lineage_metadata, relation_name
from meltano_assets.assets.raw import column_tags
from meltano_assets.automation import ON_NEWS
from meltano_assets.modelling import (
    building,
    dbt_program,
    dbt_variables,
    manifest_file,
    offline_variables,
    target_directory,
)
from meltano_assets.resources import WarehouseResource, dagster_edge
from meltano_assets.sources.rules import PSEUDONYM, WITHHELD

if TYPE_CHECKING:
    import psycopg

    from meltano_assets.warehouse.connection import Warehouse

PARSED = "partial_parse.msgpack"
#: Folders of earlier runs (compiled SQL, logs) that are kept.
KEPT_RUNS = 10
#: Unit tests are for those who change models. dbt's own files of a run tell nothing that its events do
#: not, and writing all nodes twice takes a third of the time until its first model.
BUILD = ("build", "--exclude-resource-type", "unit_test", "--no-write-json")


class Translator(DagsterDbtTranslator):
    """Groups models by layer and domain, adds owners and the automation condition."""

    def __init__(self) -> None:
        super().__init__(settings=DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True))

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """The default spec with this project's group, owner and condition."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = manifest["nodes"].get(unique_id) or manifest["sources"].get(unique_id)
        if node is None or node["resource_type"] == "source":
            return spec
        return spec.replace_attributes(
            group_name=_group(node), owners=["team:data"], automation_condition=ON_NEWS
        )


def _group(node: Mapping[str, Any]) -> str:
    """``staging/zendesk``, ``intermediate/hosts``, ``marts/sales`` from the model's folder."""
    folders = [part.lower() for part in node["fqn"][1:-1]]
    if node["resource_type"] == "seed":
        return "seeds"
    if node["resource_type"] == "snapshot":
        return "snapshots"
    return "/".join(folders[:2]) or "dbt"


def dbt_project() -> DbtProject:
    """The project, with its manifest made where it is missing or out of date.

    dbt's own files go to the local state, so that the project itself may be read-only; a manifest
    names the database that it was made for, so each has its own.
    """
    folder = environment.dbt_project_directory()
    url = environment.warehouse_url()
    variables = dbt_variables(url) if url else offline_variables()
    target = target_directory(variables)
    project = DbtProject(project_dir=folder, profiles_dir=folder, target_path=target)
    manifest_file(variables)
    return project


def _with_metadata(
    build: DbtCliInvocation, warehouse: "Warehouse", keys: Mapping[str, dg.AssetKey]
) -> Iterator[Any]:
    """The build's events; what was built with its columns, where they come from, and row counts.

    Asked of the warehouse directly: dagster-dbt's own way opens connections for every model, tells no
    descriptions, and takes longer over the lineage of a wide model than dbt over all of them.
    """
    with warehouse.connect(application_name="meltano-assets dbt", autocommit=True) as connection:
        for event in build.stream():
            if isinstance(event, dg.Output | dg.AssetMaterialization):
                unique_id = str(event.metadata["unique_id"].value)
                node = build.manifest["nodes"][unique_id]
                found = _facts(connection, build.manifest, node, build.target_path, keys)
                yield event.with_metadata({**event.metadata, **found})
            else:
                yield event


def _facts(
    connection: "psycopg.Connection",
    manifest: Mapping[str, Any],
    node: Mapping[str, Any],
    target: Path,
    keys: Mapping[str, dg.AssetKey],
) -> dict[str, Any]:
    """What the UI tells of a model, seed or snapshot that was just built."""
    from meltano_assets.warehouse import read

    schema, name = str(node["schema"]), str(node["alias"])
    columns = read.described(connection, schema, name)
    documented = {column.lower(): words for column, words in node["columns"].items()}
    compiled = target / "compiled" / node["package_name"] / node["original_file_path"]
    is_model = node["resource_type"] == "model" and compiled.is_file()
    sql = compiled.read_text() if is_model else ""
    names = [column for column, _, _ in columns]
    inherited = _inherited(manifest, node, sql, names) if is_model else {}
    facts: dict[str, Any] = {
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn(
                    column,
                    kind,
                    description=documented.get(column, {}).get("description") or None,
                    constraints=dg.TableColumnConstraints(nullable=is_nullable),
                    tags=column_tags(
                        {**inherited.get(column, {}), **_marks(documented.get(column, {}))}
                    ),
                )
                for column, kind, is_nullable in columns
            ]
        )
    }
    if node["config"].get("materialized") != "view":
        facts["dagster/row_count"] = read.count_rows(connection, schema, name)
    if is_model:
        facts |= lineage_metadata(sql, keys, names)
    return facts


def _marks(column: Mapping[str, Any]) -> dict[str, Any]:
    """What a column's meta says of it: personal, withheld, or which pseudonyms it has."""
    meta = {**column.get("meta", {}), **column.get("config", {}).get("meta", {})}
    return {name: meta[name] for name in ("pii", WITHHELD, PSEUDONYM) if meta.get(name)}


def _inherited(
    manifest: Mapping[str, Any], node: Mapping[str, Any], sql: str, columns: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Marks that a staging model's columns have from those of the raw table behind them."""
    marked: dict[tuple[str, str], dict[str, Any]] = {}
    for parent in node["depends_on"]["nodes"]:
        source = manifest["sources"].get(parent)
        if source is None:
            continue
        relation = relation_name((source["database"], source["schema"], source["identifier"]))
        for column, words in source["columns"].items():
            if marks := _marks(words):
                marked[relation, column] = marks
    if not marked:
        return {}
    traced = column_lineage(sql, columns)
    return {
        column: {
            name: value for origin in origins for name, value in marked.get(origin, {}).items()
        }
        for column, origins in traced.items()
    }


def _keys_by_relation(manifest: Mapping[str, Any]) -> dict[str, dg.AssetKey]:
    """Assets by the name of their relation, sources included."""
    translator = Translator()
    keys = {}
    for unique_id, node in {**manifest["sources"], **manifest["nodes"]}.items():
        if node.get("relation_name") and node["resource_type"] != "test":
            parts = (node["database"], node["schema"], node.get("identifier") or node["alias"])
            keys[relation_name(parts)] = translator.get_asset_spec(manifest, unique_id, None).key
    return keys


def _tidy(build: DbtCliInvocation, project: DbtProject) -> None:
    """Keep what was parsed for the next run, drop old runs' files and dagster-dbt's own copy.

    For large selections dagster-dbt runs dbt in a copy of the project, which it leaves behind.
    """
    parsed = build.target_path / PARSED
    kept = Path(project.target_path) / PARSED
    if parsed.is_file():
        staged = kept.with_name(f"{PARSED}.{os.getpid()}")
        shutil.copyfile(parsed, staged)
        staged.replace(kept)
    runs = sorted(
        Path(project.target_path).glob("dbt_models-*"), key=lambda run: run.stat().st_mtime
    )
    for old in runs[:-KEPT_RUNS]:
        shutil.rmtree(old, ignore_errors=True)
    if build.project_dir.resolve() != Path(project.project_dir).resolve():
        shutil.rmtree(build.project_dir, ignore_errors=True)


@contextmanager
def _surroundings(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment of a child process that is started here, and of nothing else."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def dbt_resource(project: DbtProject) -> DbtCliResource:
    """The resource that runs dbt."""
    return DbtCliResource(project_dir=project, dbt_executable=dbt_program())


def build_dbt_assets(project: DbtProject) -> dg.AssetsDefinition:
    """All of the project as one multi-asset."""

    @dbt_assets(
        manifest=project.manifest_path,
        project=project,
        dagster_dbt_translator=Translator(),
        name="dbt_models",
        pool="dbt",
    )
    def dbt_models(
        context: dg.AssetExecutionContext, dbt: DbtCliResource, database: WarehouseResource
    ) -> Iterator[Any]:
        with dagster_edge():
            warehouse = database.open()
            variables = dbt_variables(warehouse.url)
        variables["DBT_TARGET_PATH"] = str(project.target_path)
        with building(warehouse, context.log.info) as more:
            with _surroundings({**variables, **more}):
                build = dbt.cli(BUILD, context=context)
            try:
                yield from _with_metadata(build, warehouse, _keys_by_relation(build.manifest))
            finally:
                _tidy(build, project)

    return dbt_models
