"""P2, R1: marks of personal columns reach grants; whoever logs in may do what the file says, and no more.

Every statement is tried by a role that has logged in, over raw tables, staging models and marts.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from dbt.cli.main import dbtRunner
from psycopg import sql

from meltano_assets import modelling
from meltano_assets.assets.dbt import build_dbt_assets, dbt_project, dbt_resource
from meltano_assets.connections import WAREHOUSE_DATABASE
from meltano_assets.environment import dbt_project_directory
from meltano_assets.resources import WarehouseResource
from meltano_assets.roles import impersonal_columns
from meltano_assets.streams import ColumnType
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.roles import apply
from meltano_assets.warehouse.roles.wanted import Impersonal, Relation
from meltano_assets_tests import command_line
from meltano_assets_tests.dbt_project.conftest import Project, environment
from meltano_assets_tests.dbt_project.raw_tables import STREAMS, create_raw_tables
from meltano_assets_tests.warehouse.role_server import PASSWORD, RoleServer
from meltano_assets_tests.warehouse.tables import batch, stream

PASSWORD_LINE = r'''"PASSWORD \"{{ env['ITS_PASSWORD'] }}\""'''
SCHEMAS = ("salesforce", "netsuite", "version", "staging", "intermediate", "analytics", "snapshots")
#: Withheld from the reader, whatever is rebuilt.
EXCEPTED = ("analytics", "fct_candidates")
FILE = f"""
~analyst:
  can_login: yes
  personal_data: no
  attributes: [{PASSWORD_LINE}]
  privileges:
    schemas: {{read: [{", ".join(SCHEMAS)}]}}
    tables: {{read: [{", ".join(f"{schema}.*" for schema in SCHEMAS)}]}}
~reader:
  can_login: yes
  attributes: [{PASSWORD_LINE}]
  member_of: [~readers]
~readers:
  privileges:
    schemas: {{read: [analytics]}}
    tables: {{read: [analytics.*], except: [{".".join(EXCEPTED)}]}}
~picky:
  can_login: yes
  attributes: [{PASSWORD_LINE}]
  privileges:
    schemas: {{read: [analytics, salesforce]}}
    tables: {{read: [analytics.dim_contacts, salesforce.contacts], write: [analytics.dim_users]}}
"""
VERBS = {
    "SELECT": "select {columns} from {relation} limit 0",
    "INSERT": "insert into {relation} ({columns}) select {nulls} where false",
    "UPDATE": "update {relation} set {assignments} where false",
    "DELETE": "delete from {relation} where false",
    "TRUNCATE": "truncate {relation}",
}
WRITTEN = {("analytics", "dim_users")}
#: What nobody has declared: a quarantine, which holds whole records, and somebody's own table.
UNDECLARED = {("salesforce", "contacts__quarantine"), ("analytics", "somebodys_own")}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, parsed_by_dbt: Callable[[Path], None]) -> Path:
    """Local state of the tests of this file, with what dbt parsed."""
    folder = tmp_path_factory.mktemp("state")
    parsed_by_dbt(folder / "dbt" / WAREHOUSE_DATABASE)
    return folder


@pytest.fixture(autouse=True)
def of_this_file(state: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project is parsed once for all of them."""
    monkeypatch.setenv("MELTANO_STATE_DIR", str(state))


@pytest.fixture(scope="module")
def built(
    empty: Project, state: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RoleServer]:
    """Raw tables, the project built over them, and the roles of the file.

    dbt runs as itself here: what gives tables their grants is in the project.
    """
    with empty.connect() as connection:
        for table in UNDECLARED:
            connection.execute(
                sql.SQL("create table if not exists {} (record text)").format(
                    sql.Identifier(*table)
                )
            )
    house = RoleServer(Warehouse(empty.url), tmp_path_factory.mktemp("roles"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELTANO_STATE_DIR", str(state))
        house.apply(FILE, known(empty))
        yield house
    house.clean()


def known(project: Project) -> Impersonal:
    """Columns that tell of nobody."""
    return modelling.impersonal_columns(project.url)


def relations(house: RoleServer) -> dict[Relation, tuple[str, ...]]:
    """Every table and view of the database with its columns."""
    found = house.rows(
        "select n.nspname, c.relname, array_agg(a.attname order by a.attnum) from pg_attribute a"
        " join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind in ('r', 'v') and a.attnum > 0 and not a.attisdropped"
        " and n.nspname not in ('pg_catalog', 'information_schema') group by 1, 2"
    )
    return {(schema, name): tuple(columns) for schema, name, columns in found}


def personal_columns(project: Project) -> set[tuple[str, str, str]]:
    """Columns that are marked in dbt, whatever reads the marks: the truth to compare with."""
    manifest = json.loads((project.target / "manifest.json").read_text())
    nodes = {**manifest["sources"], **manifest["nodes"]}
    found = set()
    for node in nodes.values():
        if node["resource_type"] not in ("source", "model", "snapshot"):
            continue
        place = (node["schema"], node.get("identifier") or node["alias"])
        is_copy = node["resource_type"] == "snapshot"
        marked = [nodes[parent] for parent in node["depends_on"]["nodes"]] if is_copy else [node]
        found |= {
            (*place, column)
            for one in marked
            for column, words in one["columns"].items()
            if words["config"].get("meta", {}).get("pii")
        }
    return found


def may(connection: psycopg.Connection, verb: str, relation: Relation, *columns: str) -> bool:
    """Whether the role's session gets the statement through."""
    names = [sql.Identifier(column) for column in columns]
    statement = sql.SQL(VERBS[verb]).format(
        relation=sql.Identifier(*relation),
        columns=sql.SQL(", ").join(names) if names else sql.SQL("*"),
        nulls=sql.SQL(", ").join([sql.SQL("null")] * len(names)),
        assignments=sql.SQL(", ").join(sql.SQL("{} = null").format(name) for name in names),
    )
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState):
        return False
    except (psycopg.errors.WrongObjectType, psycopg.errors.FeatureNotSupported):
        return False  # views are not truncated, and not all of their columns written
    except psycopg.errors.DatatypeMismatch:
        return True  # looked at after the right to it
    return True


def allowed_by_the_file(
    role: str, relation: Relation, column: str, personal: set[tuple[str, str, str]]
) -> set[str]:
    """What the file above means, said once more and otherwise."""
    schema, _ = relation
    if role == "~analyst":
        is_open = schema in SCHEMAS and relation not in UNDECLARED
        return {"SELECT"} if is_open and (*relation, column) not in personal else set()
    if role == "~reader":
        return {"SELECT"} if schema == "analytics" and relation != EXCEPTED else set()
    if relation in WRITTEN:
        return set(VERBS)
    named = {("analytics", "dim_contacts"), ("salesforce", "contacts")}
    return {"SELECT"} if relation in named else set()


@pytest.mark.parametrize("role", ["~analyst", "~reader", "~picky"])
def test_what_is_allowed_works_and_everything_else_is_denied(
    built: RoleServer, project: Project, role: str
) -> None:
    """Tables × columns × verbs, each tried by the role itself."""
    personal = personal_columns(project)
    wrong = []
    tried = 0
    with built.login(role) as login:
        for relation, columns in relations(built).items():
            allowed = {c: allowed_by_the_file(role, relation, c, personal) for c in columns}
            for verb in VERBS:
                readable = [c for c in columns if verb in allowed[c]]
                tried += len(columns)
                if verb in ("DELETE", "TRUNCATE"):
                    if may(login.connection, verb, relation) != (len(readable) == len(columns)):
                        wrong.append((verb, relation))
                    continue
                if readable and not may(login.connection, verb, relation, *readable):
                    wrong.append((verb, relation, readable))
                for column in columns:
                    if column not in readable and may(login.connection, verb, relation, column):
                        wrong.append((verb, relation, column))
            is_all = all("SELECT" in allowed[c] for c in columns)
            if may(login.connection, "SELECT", relation) != is_all:
                wrong.append(("SELECT *", relation))
        for schema in {schema for schema, _ in relations(built)}:
            assert not login.may(f'create table "{schema}".mine (id int)'), schema
    assert not wrong
    assert tried > 30_000


def test_personal_columns_of_every_layer_are_among_those_denied(
    built: RoleServer, project: Project
) -> None:
    """The matrix would say nothing if nothing were marked."""
    personal = personal_columns(project)
    for schema in ("salesforce", "staging", "intermediate", "analytics"):
        assert len({name for place, name, _ in personal if place == schema}) > 3, schema
    with built.login("~analyst") as analyst:
        for statement in (
            "select email from salesforce.contacts",
            "select last_name from staging.stg_salesforce__contacts",
            "select email from analytics.dim_contacts",
            "select * from analytics.dim_contacts",
            "select contact_id from analytics.dim_contacts where email = 'ann@example.com'",
            "select contacts from analytics.dim_contacts as contacts",
            "select raw_host from analytics.dim_hosts",
        ):
            assert not analyst.may(statement), statement
        assert analyst.may(
            "select contact_id, account_id, email_domain from analytics.dim_contacts"
        )
        assert analyst.may("select opportunity_id from snapshots.snap_salesforce__opportunities")


_CHOSEN = (
    *("dim_contacts", "dim_users", "fct_candidates"),
    *("stg_salesforce__contacts", "fct_marketing_activities"),
    "int_usage_pings__unpacked",
)
REBUILT = {
    "tables, views, incremental tables": ("run", "--select", *_CHOSEN),
    "the same, all anew": ("run", "--full-refresh", "--select", *_CHOSEN),
    "seeds and snapshots": (
        *("build", "--full-refresh", "--exclude-resource-type", "test", "--select"),
        *("resource_type:seed", "resource_type:snapshot"),
    ),
}


@pytest.mark.parametrize("what", REBUILT)
def test_what_dbt_rebuilds_keeps_its_grants(built: RoleServer, project: Project, what: str) -> None:
    """Whole tables, single tables, exceptions and columns alike, without anybody's help."""
    assert project.dbt(*REBUILT[what]) == {}
    planned = built.plan(FILE, known(project))
    assert planned.is_settled, str(planned)


def test_nobody_reads_more_or_less_while_tables_are_rebuilt(
    built: RoleServer, project: Project
) -> None:
    """The analyst asks again and again from before the build until after it."""
    seen: dict[str, list[str]] = {"denied": [], "read": []}
    stop = threading.Event()

    def ask(statement: str, expected: type[Exception] | None) -> None:
        with psycopg.connect(built.url("~analyst"), autocommit=True) as connection:
            while not stop.is_set():
                try:
                    connection.execute(statement)
                except psycopg.errors.InsufficientPrivilege:
                    if expected is None:
                        seen["denied"].append(statement)
                else:
                    if expected is not None:
                        seen["read"].append(statement)
                seen.setdefault(statement, []).append("asked")

    questions = {
        "select contact_id from analytics.dim_contacts limit 1": None,
        "select email from analytics.dim_contacts limit 1": psycopg.errors.InsufficientPrivilege,
        "select * from analytics.dim_contacts limit 1": psycopg.errors.InsufficientPrivilege,
        "select email from staging.stg_salesforce__contacts": psycopg.errors.InsufficientPrivilege,
    }
    threads = [threading.Thread(target=ask, args=item) for item in questions.items()]
    for thread in threads:
        thread.start()
    try:
        chosen = ("stg_salesforce__contacts", "dim_contacts")
        assert project.dbt("run", "--full-refresh", "--select", *chosen) == {}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert (seen["denied"], seen["read"]) == ([], [])
    assert all(len(seen[statement]) > 20 for statement in questions)


def test_tables_that_are_made_anew_are_never_open(built: RoleServer, project: Project) -> None:
    """A model's table that was not there, and a raw one: of the latter the next build takes care, here one
    of Dagster.
    """
    built.execute(
        "drop table analytics.dim_contacts cascade", "drop table netsuite.employees cascade"
    )
    assert project.dbt("run", "--select", "dim_contacts") == {}
    with built.login("~analyst") as analyst:
        assert analyst.may("select contact_id from analytics.dim_contacts")
        assert not analyst.may("select email from analytics.dim_contacts")
        with project.connect() as connection:
            create_raw_tables(connection)
        assert not analyst.may("select internal_id from netsuite.employees")
        with built.login("~picky") as picky:
            assert picky.may("select email from analytics.dim_contacts")
        place = dbt_project()
        models = build_dbt_assets(place)
        [key] = [key for key in models.keys if key.path[-1] == "stg_netsuite__employees"]
        resources = {"dbt": dbt_resource(place), "database": WarehouseResource(url=project.url)}
        assert dg.materialize([models], resources=resources, selection=[key]).success
        assert analyst.may("select internal_id from netsuite.employees")
        assert not analyst.may("select last_name from netsuite.employees")
    assert project.dbt("run", "--select", "staging.netsuite+") == {}
    assert built.plan(FILE, known(project)).is_settled


def test_columns_that_come_later_are_open_when_they_are_known(
    built: RoleServer, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the source declares is read after the next `dbt`; one that it does not, never."""
    columns = [c for s in STREAMS if s.key == "salesforce.accounts" for c in s.columns]
    declared = next(c.name for c in columns if not c.is_pii and c.name == "industry")
    built.execute(
        f"alter table salesforce.accounts drop column {declared} cascade",
        f"alter table salesforce.accounts add column {declared} text",
        "alter table salesforce.accounts add column nobody_knows text",
    )
    with built.login("~analyst") as analyst:
        assert not analyst.may(f"select {declared} from salesforce.accounts")
        monkeypatch.setenv("MELTANO_WAREHOUSE_URL", project.url)
        run = command_line.start("dbt", "run", "--select", "stg_salesforce__accounts+")
        said = b" ".join(run.communicate(timeout=240)).decode()
        assert run.returncode == 0, said
        assert analyst.may(f"select {declared} from salesforce.accounts")
        assert not analyst.may("select nobody_knows from salesforce.accounts")
    assert built.plan(FILE, known(project)).is_settled


def test_a_table_that_a_load_swaps_keeps_its_grants(built: RoleServer, project: Project) -> None:
    """And opens no column that comes with the load."""
    identity = "select 'salesforce.contacts'::regclass::oid"
    before = built.rows(identity)
    columns: Mapping[str, ColumnType] = {"id": "text", "email": "text", "shoe_size": "text"}
    load(
        built.warehouse,
        stream(columns, source="salesforce", name="contacts"),
        [batch([{"id": "1", "email": "ann@example.com", "shoe_size": "39"}])],
        full_refresh=True,
    )
    assert built.rows(identity) != before
    with built.login("~analyst") as analyst:
        assert analyst.may("select id from salesforce.contacts")
        assert not analyst.may("select email from salesforce.contacts")
        assert not analyst.may("select shoe_size from salesforce.contacts")
        assert not analyst.may("select email from staging.stg_salesforce__contacts")
    with built.login("~picky") as picky:
        assert picky.may("select email, shoe_size from salesforce.contacts")
    planned = built.plan(FILE, known(project))
    assert planned.is_settled, str(planned)


CONTACTS = "{{ source('salesforce', 'contacts') }}"
#: A user's own models over contacts: SQL, the column that has the address, what their YAML says of it; None: nothing of
#: the model at all.
OWN: dict[str, tuple[str, str, str | None]] = {
    "forgot_the_mark": (f"select id, email from {CONTACTS}", "email", "description: Address."),
    "says_nothing": ("select id, email from {{ ref('forgot_the_mark') }}", "email", None),
    "two_steps_on": (
        "select id, email from {{ ref('says_nothing') }}",
        "email",
        "description: Address.",
    ),
    "renames_it": (
        "with people as (\n"
        "    select id, lower(btrim(c.\"email\"))::text as mail from {{ ref('two_steps_on') }} as c\n"
        ")\n"
        "select id, people.mail AS contact_address from people",
        "contact_address",
        "description: Address.",
    ),
    "after_the_new_name": (
        "select id, {{ 'contact_address' }} as contact from {{ ref('renames_it') }}",
        "contact",
        "description: Address.",
    ),
    "says_why_not": (
        "select id, email from {{ ref('two_steps_on') }}",
        "email",
        "config: {meta: {impersonal: only whether it has one}}",
    ),
    "after_the_reason": (
        "select id, email as has_email from {{ ref('says_why_not') }}",
        "has_email",
        "description: Whether there is one.",
    ),
    "names_only_the_list": (
        f"select id, 'email'::text || coalesce('x', 'y') as list from {CONTACTS} where email > ''",
        "list",
        "config: {meta: {impersonal: a word that we wrote}}",
    ),
    "filters_by_it": (
        f"select id, id || coalesce(id, 'y') as list from {CONTACTS} where email > ''",
        "list",
        "description: A list.",
    ),
}
OPEN = {"says_why_not", "after_the_reason", "names_only_the_list", "filters_by_it"}


def test_a_users_model_that_forgets_a_mark_opens_nothing(
    built: RoleServer, project: Project, tmp_path: Path
) -> None:
    """A small project of their own with the macros of ours; built in the transaction that grants."""
    shutil.copytree(dbt_project_directory() / "macros", tmp_path / "macros")
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(dbt_project_directory() / name, tmp_path / name)
    models = tmp_path / "models"
    models.mkdir()
    email = {"name": "email", "config": {"meta": {"pii": True}}}
    tables = [{"name": "contacts", "columns": [{"name": "id"}, email]}]
    described = []
    for name, (select, column, told) in OWN.items():
        (models / f"{name}.sql").write_text(select)
        if told is not None:
            columns = [{"name": "id"}, {"name": column, **yaml.safe_load(told)}]
            described.append({"name": name, "columns": columns})
    known = {"sources": [{"name": "salesforce", "tables": tables}], "models": described}
    (models / "own.yml").write_text(yaml.safe_dump({"version": 2, **known}))
    command = ["run", "--quiet", "--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path)]
    with environment(modelling.dbt_variables(project.url)):
        assert dbtRunner().invoke(command).success
    manifest = json.loads((tmp_path / "target" / "manifest.json").read_text())
    opened = impersonal_columns(manifest)
    with built.login("~analyst") as analyst:
        for name, (_, column, told) in OWN.items():
            is_open = name in OPEN
            assert analyst.may(f"select {column} from analytics.{name}") == is_open, name
            assert analyst.may(f"select id from analytics.{name}") == (told is not None), name
            assert (column in opened["analytics", name]) == is_open, name
    built.execute(*(f"drop view analytics.{name} cascade" for name in reversed(OWN)))


def test_a_role_that_is_gone_is_no_failure(built: RoleServer, project: Project) -> None:
    """Somebody dropped it; what is built is built."""
    leaver = FILE + "~leaver: {privileges: {tables: {read: [analytics.dim_users]}}}\n"
    apply.apply(built.warehouse, built.wanted(leaver), known(project), _passwords(built))
    built.execute("drop owned by ~leaver", "drop role ~leaver")
    assert project.dbt("run", "--select", "dim_users") == {}
    with modelling.building(built.warehouse, pytest.fail) as variables:
        assert variables[modelling.HAS_ROLES] == "yes"
    built.apply(FILE, known(project))


def _passwords(built: RoleServer) -> Mapping[str, str]:
    return {built.name(role): PASSWORD for role in ("~analyst", "~reader", "~picky")}


def test_a_project_without_roles_asks_for_nothing(project: Project, tmp_path: Path) -> None:
    """Nobody applied a file: no table of grants, and dbt builds as ever."""
    other = Warehouse(project.url).with_database("postgres")
    with other.connect() as connection:
        row = connection.execute("select to_regclass('meltano.role_access')").fetchone()
    assert row == (None,)
    with modelling.building(other, pytest.fail) as variables:
        assert variables[modelling.HAS_ROLES] == "no"
