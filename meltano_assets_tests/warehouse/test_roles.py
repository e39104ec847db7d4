"""R1: roles and rights are as roles.yaml says, by a role that is no superuser, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from meltano_assets.environment import project_root
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.roles import impersonal_columns, read_roles
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.roles import apply
from meltano_assets_tests.warehouse.role_server import PASSWORD, RoleServer

#: As YAML inside of a list.
WITH_PASSWORD = r'''"PASSWORD \"{{ env['ITS_PASSWORD'] }}\""'''
ROLES = f"""
~reader:
  privileges:
    schemas: {{read: [crm]}}
    tables: {{read: [crm.*], except: [crm.salaries]}}
    sequences: {{read: [crm.*]}}
~writer:
  can_login: yes
  attributes: [{WITH_PASSWORD}, CONNECTION LIMIT 3, VALID UNTIL '2099-12-31', NOINHERIT]
  privileges:
    schemas: {{write: [lab]}}
    tables: {{write: [lab.*]}}
    sequences: {{write: [lab.*]}}
~ann:
  can_login: yes
  has_personal_schema: yes
  attributes: [{WITH_PASSWORD}]
  member_of: [~reader]
  owns:
    tables: [lab.notes]
  privileges:
    schemas: {{read: [lab]}}
    tables: {{read: [lab.results]}}
"""
TABLES = (
    "create schema crm",
    "create schema lab",
    "create table crm.accounts (id bigserial primary key, name text)",
    "create table crm.salaries (id bigint, amount numeric)",
    "create view crm.names as select name from crm.accounts",
    "create table lab.results (id bigint)",
    "create table lab.notes (id bigint)",
    "create table lab.others (id bigint)",
)


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Iterator[RoleServer]:
    """A database of this test's own, and the roles of its own."""
    house = RoleServer(warehouse, tmp_path)
    yield house
    house.clean()


@pytest.fixture(params=["superuser", "no superuser"])
def platform(request: pytest.FixtureRequest, house: RoleServer) -> RoleServer:
    """The tables belong to the role that applies the file, which may be no superuser."""
    if request.param == "no superuser":
        house.work_as("~platform")
    house.work(*TABLES)
    return house


def test_a_file_is_settled_at_once_and_a_second_plan_is_empty(platform: RoleServer) -> None:
    planned = platform.plan(ROLES)
    assert "create role" in str(planned)
    assert platform.rows("select from pg_roles where rolname = '~ann'") == []
    done = platform.apply(ROLES)
    assert str(done) == str(planned)
    assert platform.plan(ROLES).is_settled
    with platform.login("~ann") as ann:
        assert ann.may("select * from crm.accounts")
        assert ann.may("select * from crm.names")
        assert not ann.may("select * from crm.salaries")
        assert not ann.may("insert into crm.accounts (name) values ('x')")
        assert ann.may("select last_value from crm.accounts_id_seq")
        assert not ann.may("select nextval('crm.accounts_id_seq')")
        assert ann.may("select * from lab.results")
        assert not ann.may("delete from lab.results")
        assert not ann.may("select * from lab.others")
        assert ann.may("drop table lab.notes")
        assert ann.may('create table "~ann".own (id int)')
        assert not ann.may("create table lab.more (id int)")
        assert not ann.may("create schema more")
    with platform.login("~writer") as writer:
        assert writer.may("create table lab.more (id int)")
        assert writer.may("insert into lab.results values (1)")
        assert writer.may("truncate lab.others")
        assert not writer.may("drop table lab.others")
        assert not writer.may("select * from crm.accounts")
    [(limit, until, inherits)] = platform.rows(
        "select rolconnlimit, rolvaliduntil::date::text, rolinherit from pg_roles"
        " where rolname = '~writer'"
    )
    assert (limit, until, inherits) == (3, "2099-12-31", False)


def test_no_membership_of_the_platforms_role_is_left(house: RoleServer) -> None:
    """To act for others it is their member for the length of the transaction."""
    house.work_as("~platform")
    house.work(*TABLES)
    done = house.apply(ROLES)
    assert "is their member for a moment" in str(done)
    # Since 16 whoever makes a role may administer it, without having its rights.
    gives_rights = " and (inherit_option or set_option)" if is_since_16(house) else ""
    left = house.rows(
        "select roleid::regrole::text from pg_auth_members where member = '~platform'::regrole"
        + gives_rights
    )
    assert left == []


def test_what_is_yet_to_be_made_is_granted_whoever_makes_it(platform: RoleServer) -> None:
    text = """
~reader: {can_login: yes, attributes: [PW], privileges: {schemas: {read: [lab]}, tables: {read: [lab.*]}}}
~wary: {can_login: yes, attributes: [PW],
  privileges: {schemas: {read: [lab]}, tables: {read: [lab.*], except: [lab.secrets]}}}
~makers: {privileges: {schemas: {write: [lab]}}}
~bob: {can_login: yes, attributes: [PW], member_of: [~makers]}
""".replace("[PW]", f"[{WITH_PASSWORD}]")
    # Somebody whom the file does not name may create there, too.
    platform.work(
        f"create role ~guest login password '{PASSWORD}'",
        "grant usage, create on schema lab to ~guest",
    )
    platform.apply(text)
    with platform.login("~guest") as guest:
        guest.do("create table lab.by_guest (id int)")
    platform.work(
        "create table lab.by_platform (id int)",
        "create view lab.view_by_platform as select 1 as id",
        "create table lab.secrets (id int)",
    )
    with platform.login("~bob") as bob:
        bob.do("create table lab.by_bob (id int)")
    with platform.login("~reader") as reader:
        for table in ("by_platform", "view_by_platform", "by_bob", "by_guest", "secrets"):
            assert reader.may(f"select * from lab.{table}"), table
            assert not reader.may(f"delete from lab.{table}"), table
    with platform.login("~wary") as wary:
        assert not wary.may("select * from lab.secrets")
        assert not wary.may("select * from lab.by_platform"), "defaults know no exception"
    platform.apply(text)
    with platform.login("~wary") as wary:
        assert wary.may("select * from lab.by_bob")
        assert not wary.may("select * from lab.secrets")


def test_what_a_role_has_beyond_the_file_is_taken_away(platform: RoleServer) -> None:
    platform.apply(ROLES)
    platform.work(
        "create role ~powers",
        "grant ~powers to ~ann",
        "alter role ~ann connection limit 7",
        "grant update, delete on crm.accounts to ~ann",
        "grant select (amount) on crm.salaries to ~ann",
        "grant create on schema crm to ~ann",
        "grant usage on sequence crm.accounts_id_seq to ~ann",
        "grant select on lab.results to ~ann with grant option",
        "alter default privileges grant select on tables to ~ann",
        "alter default privileges in schema lab grant usage on sequences to ~ann",
    )
    planned = platform.plan(ROLES)
    assert not planned.is_settled
    platform.apply(ROLES)
    assert platform.plan(ROLES).is_settled
    with platform.login("~ann") as ann:
        assert not ann.may("delete from crm.accounts")
        assert not ann.may("select amount from crm.salaries")
        assert not ann.may("create table crm.t (id int)")
        assert not ann.may("select nextval('crm.accounts_id_seq')")
        assert ann.may("select * from lab.results")
    handed_on = "select has_table_privilege('~ann', 'lab.results', 'select with grant option')"
    assert platform.rows(handed_on) == [(False,)]


def test_memberships_are_as_the_role_inherits_and_are_not_handed_on(platform: RoleServer) -> None:
    platform.apply(ROLES)
    platform.work("grant ~reader to ~ann with admin option")
    shy = ROLES.replace(
        f"attributes: [{WITH_PASSWORD}]", f"attributes: [{WITH_PASSWORD}, NOINHERIT]"
    )
    for text, inherits in ((shy, False), (ROLES, True)):
        platform.apply(text)
        assert platform.plan(text).is_settled
        with platform.login("~ann") as ann:
            assert ann.may("select * from crm.accounts") is inherits
            ann.do("set role ~reader")
            assert ann.may("select * from crm.accounts")
            ann.do("reset role")
            assert not ann.may("grant ~reader to ~writer")


def test_what_is_remembered_belongs_to_the_platform_whoever_applies(house: RoleServer) -> None:
    house.work_as("~platform")
    house.work("create schema meltano", *TABLES)
    house.warehouse = house.administration
    house.apply(ROLES)
    with house.login("~platform") as platform:
        assert platform.may("select * from meltano.role_access")


def test_roles_that_the_file_does_not_name_are_left_alone(platform: RoleServer) -> None:
    platform.execute(
        "create role ~guest login connection limit 2",
        "create role ~team",
        "grant ~team to ~guest",
        "grant usage on schema crm to ~guest",
        "grant insert, select (id) on crm.accounts to ~guest",
        "alter default privileges in schema crm grant select on tables to ~guest",
    )
    facts = (
        "select rolconnlimit, (select array_agg(roleid::regrole::text) from pg_auth_members"
        " where member = r.oid), (select array_agg(relacl::text order by oid) from pg_class c"
        " where relacl::text like '%~guest%'), (select array_agg(defaclacl::text) from"
        " pg_default_acl where defaclacl::text like '%~guest%') from pg_roles r"
        " where rolname = '~guest'"
    )
    before = platform.rows(facts)
    platform.apply(ROLES)
    [(limit, groups, rights, defaults)] = platform.rows(facts)
    assert (limit, groups, defaults) == (before[0][0], before[0][1], before[0][3])
    assert [("~guest=a" in acl.replace(platform.prefix, "~")) for acl in rights] == [True]


def test_a_file_is_applied_whole_or_not_at_all(house: RoleServer) -> None:
    house.execute(*TABLES)
    house.execute(
        "create function refuse() returns event_trigger language plpgsql as"
        " $$ begin raise exception 'not now'; end $$",
        "create event trigger refuse on ddl_command_start when tag in"
        " ('ALTER DEFAULT PRIVILEGES') execute function refuse()",
    )
    with pytest.raises(FatalError, match="the function refuse refused"):
        house.apply(ROLES)
    assert house.rows("select from pg_roles where starts_with(rolname, '~')") == []
    house.execute("drop event trigger refuse")
    house.apply(ROLES)
    assert house.plan(ROLES).is_settled


def test_the_server_gets_a_verifier_and_never_the_password(platform: RoleServer) -> None:
    planned = platform.plan(ROLES)
    [set_it, _] = [one for one in planned.statements if " password " in str(one)]
    assert "SCRAM verifier of $ITS_PASSWORD" in str(set_it)
    assert "SCRAM-SHA-256$4096:" in set_it.text.as_string(None)
    assert not [one for one in planned.statements if PASSWORD in one.text.as_string(None)]
    platform.apply(ROLES)
    [(stored,)] = platform.rows("select rolpassword from pg_authid where rolname = '~ann'")
    assert stored.startswith("SCRAM-SHA-256$")
    platform.passwords[platform.name("~ann")] = "another päss\u00adword"
    changed = platform.apply(ROLES)
    assert [str(one) for one in changed.statements] == [
        platform.name('alter role "~ann" password /* SCRAM verifier of $ITS_PASSWORD */;')
    ]
    assert platform.plan(ROLES).is_settled
    with platform.login("~ann", "another päss\u00adword") as ann:
        assert ann.may("select 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(platform.url("~ann"))


def test_a_password_of_an_older_kind_becomes_a_verifier(house: RoleServer) -> None:
    house.execute(*TABLES)
    house.apply(ROLES)
    house.execute("set password_encryption = md5", f"alter role ~ann password '{PASSWORD}'")
    house.apply(ROLES)
    [(stored,)] = house.rows("select rolpassword from pg_authid where rolname = '~ann'")
    assert stored.startswith("SCRAM-SHA-256$")


def test_names_are_taken_as_they_are(platform: RoleServer) -> None:
    with platform.warehouse.connect() as connection:
        connection.execute('create schema "My.Schema"')
        connection.execute("""create table "My.Schema"."a ""b"" ; drop" ("c ""d"" ," int)""")
    text = f"""
"~Ann O'Neil \\"x\\"; drop":
  can_login: yes
  attributes: [{WITH_PASSWORD}]
  privileges:
    schemas: {{read: ['"My.Schema"']}}
    tables: {{read: ['"My.Schema"."a ""b"" ; drop"']}}
"""
    platform.apply(text)
    assert platform.plan(text).is_settled
    with platform.login('~Ann O\'Neil "x"; drop') as ann:
        assert ann.may('select "c ""d"" ," from "My.Schema"."a ""b"" ; drop"')


KNOWN = {
    ("crm", "accounts"): frozenset({"id"}),
    ("crm", "names"): frozenset(),
    ("lab", "results"): frozenset({"id"}),
}
ANALYST = f"""
~analyst:
  can_login: yes
  personal_data: no
  attributes: [{WITH_PASSWORD}]
  privileges: {{schemas: {{read: [crm, lab]}}, tables: {{read: [crm.*, lab.results]}}}}
"""


def test_without_personal_data_only_columns_that_tell_of_nobody_are_read(
    platform: RoleServer,
) -> None:
    """A table, a view or a column that nobody has declared is not known to tell of nobody."""
    done = platform.apply(ANALYST, KNOWN)
    granted = 'grant select ("id") on "crm"."accounts" to "~analyst"; -- closed: name'
    assert platform.name(granted) in str(done)
    assert any("crm.names" in note and "crm.salaries" in note for note in done.notes)
    assert platform.plan(ANALYST, KNOWN).is_settled
    with platform.login("~analyst") as analyst:
        assert analyst.may("select id from crm.accounts")
        assert analyst.may("select count(*) from crm.accounts")
        for denied in (
            "select * from crm.accounts",
            "select name from crm.accounts",
            "select id from crm.accounts where name = 'x'",
            "select a from crm.accounts as a",
            "select name from crm.names",
            "select amount from crm.salaries",
            "copy crm.accounts to stdout",
            "insert into crm.accounts (name) values ('x')",
            "select id from crm.accounts for update",
        ):
            assert not analyst.may(denied), denied
        # A table made since is nobody's to read; a column made since is not known.
        platform.work(
            "create table crm.leads (id int)", "alter table lab.results add column email text"
        )
        assert not analyst.may("select id from crm.leads")
        assert not analyst.may("select email from lab.results")
        platform.apply(ANALYST, {**KNOWN, ("crm", "leads"): frozenset({"id", "gone"})})
        assert analyst.may("select id from crm.leads")
        # A column that turns out to be personal, and one that turns out not to be.
        platform.apply(ANALYST, {("crm", "accounts"): frozenset({"name"})})
        assert not analyst.may("select id from crm.accounts")
        assert analyst.may("select name from crm.accounts")


def test_personal_data_can_be_taken_and_given_back(platform: RoleServer) -> None:
    with_data = ANALYST.replace("personal_data: no", "personal_data: yes")
    for text, may_read_names in ((with_data, True), (ANALYST, False), (with_data, True)):
        platform.apply(text, KNOWN)
        assert platform.plan(text, KNOWN).is_settled
        platform.work("create table crm.later (id int)")
        with platform.login("~analyst") as analyst:
            assert analyst.may("select name from crm.accounts") is may_read_names
            assert analyst.may("select * from crm.later") is may_read_names
            assert analyst.may("select id from crm.accounts")
        platform.work("drop table crm.later")


def test_tables_made_since_are_granted_as_was_settled_last(platform: RoleServer) -> None:
    assert not apply.settle_tables(platform.warehouse, KNOWN).statements
    wary = ROLES + ANALYST
    platform.apply(wary, KNOWN)
    platform.work(
        "create table crm.leads (id int, email text)",
        "drop table lab.results",
        "create table lab.results (id int)",
    )
    known = {**KNOWN, ("crm", "leads"): frozenset({"id"})}
    settled = apply.settle_tables(platform.warehouse, known)
    assert settled.statements
    assert not apply.settle_tables(platform.warehouse, known).statements
    assert platform.plan(wary, known).is_settled
    with platform.login("~ann") as ann:
        assert ann.may("select email from crm.leads")
        assert ann.may("select * from lab.results")
    with platform.login("~analyst") as analyst:
        assert analyst.may("select id from crm.leads")
        assert not analyst.may("select email from crm.leads")
    # Also on what somebody else made, for whom the platform's role can act.
    with platform.login("~writer") as writer:
        writer.do("create table lab.by_writer (id int)")
    both = ANALYST.replace("lab.results", "lab.*") + ROLES
    platform.apply(both, known)
    with platform.login("~writer") as writer:
        writer.do("drop table lab.by_writer", "create table lab.by_writer (id int)")
    apply.settle_tables(platform.warehouse, {**known, ("lab", "by_writer"): frozenset({"id"})})
    with platform.login("~analyst") as analyst:
        assert analyst.may("select id from lab.by_writer")
    # A role that is out of the file is left as it is, and no longer looked after.
    platform.apply(ROLES, known)
    platform.work("create table crm.more (id int)")
    apply.settle_tables(platform.warehouse, {("crm", "more"): frozenset({"id"})})
    with platform.login("~analyst") as analyst:
        assert analyst.may("select id from crm.leads")
        assert not analyst.may("select id from crm.more")


def test_a_grant_that_somebody_else_made_is_told_and_nothing_is_changed(
    house: RoleServer,
) -> None:
    """Only who granted it can take it back."""
    house.execute(*TABLES, "create role ~middle", "grant usage on schema crm to ~middle")
    house.execute("grant select on crm.accounts to ~middle with grant option")
    house.apply(ROLES)
    house.execute("set role ~middle; grant select on crm.accounts to ~ann; reset role")
    with pytest.raises(FatalError, match="revoke it as who granted it"):
        house.apply(ROLES.replace("CONNECTION LIMIT 3", "CONNECTION LIMIT 4"))
    limit = "select rolconnlimit from pg_roles where rolname = '~writer'"
    assert house.rows(limit) == [(3,)]


def test_a_grant_to_everybody_is_told(house: RoleServer) -> None:
    house.execute(*TABLES)
    house.apply(ANALYST, KNOWN)
    house.execute("grant select on crm.salaries to public", "grant create on schema lab to public")
    planned = house.plan(ANALYST, KNOWN)
    assert not planned.is_settled
    assert planned.open_doors == [
        'everybody may create things in "lab": revoke create on schema "lab" from public',
        'everybody may select "crm"."salaries", and so may every role of roles.yaml:'
        ' revoke select on "crm"."salaries" from public',
    ]


def test_a_table_that_is_exchanged_at_that_moment_is_looked_at_again(
    house: RoleServer, eventually: Callable[..., None]
) -> None:
    """Between the look and the grant a load puts another table in its place."""
    house.execute(*TABLES)
    house.apply(ROLES)
    house.execute("revoke select on crm.accounts from ~reader")
    with ThreadPoolExecutor(1) as pool:
        with house.administration.connect() as swapping:
            swapping.execute("create table crm.beside (id bigint, name text)")
            swapping.execute("drop table crm.accounts cascade")
            swapping.execute("alter table crm.beside rename to accounts")
            settling = pool.submit(apply.settle_tables, house.warehouse, {})
            waiting = (
                "select from pg_stat_activity where wait_event_type = 'Lock'"
                " and datname = current_database() and query like 'grant%'"
            )
            eventually(lambda: house.rows(waiting))
        assert settling.result().statements
    with house.login("~ann") as ann:
        assert ann.may("select * from crm.accounts")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("~a: {can_log_in: yes}", "~a: unknown word 'can_log_in' (did you mean can_login?)"),
        ("~a: {privileges: {tables: {raed: [x.*]}}}", "privileges, tables: unknown word 'raed'"),
        ("~a: {privileges: {schemas: {except: [x]}}}", "schemas: unknown word 'except'"),
        ("~a: {can_login: perhaps}", "can_login is yes or no"),
        ("~a: {member_of: b}", "member_of: a list of names is expected"),
        ("~a: {privileges: {tables: {read: [accounts]}}}", "'accounts' is not schema.name"),
        ("~a: {privileges: {tables: {read: [a.b.c]}}}", "'a.b.c' is not schema.name"),
        ("~a: {privileges: {schemas: {read: [a.b]}}}", "'a.b' is not the name of a schema"),
        ("~a: {attributes: [SUPERUSER]}", "SUPERUSER is said by is_superuser"),
        ("~a: {attributes: [FLYING]}", "'FLYING' is no attribute (known are: [NO]CREATEDB"),
        ("~a: {attributes: [VALID UNTIL 'soon']}", "VALID UNTIL 'soon' is not a time"),
        ("~a: {attributes: [CONNECTION LIMIT -2]}", "a number from -1 (no limit) up"),
        ("~a: &x {privileges: *x}", "privileges: unknown word 'privileges'"),
        ("~a: {can_login: yes, attributes: ['PASSWORD \"plain\"']}", "does not stand in the file"),
        ("~a: {attributes: [PW]}", "it has a password and cannot log in"),
        ("~a: {member_of: [~b]}\n~b: {member_of: [~a]}", "a member of itself"),
        ("~a: {owns: {schemas: [x]}}\n~b: {owns: {schemas: [x]}}", "~a owns the schema x already"),
        ("~a:\n~a:\n", "line 2: ~a stands there twice"),
        ("~a: {privileges: {tables: {read: [x.y], write: [x.y]}}}", "under read and under write"),
        ("pg_monitor:", "Postgres keeps this name to itself"),
        ("- ~a", "names of roles are expected at the left margin"),
        ("~a: {", "is no YAML at line"),
        ("~a: {personal_data: no, is_superuser: yes}", "is a superuser, which opens every table"),
        ("~a: {personal_data: no, attributes: [CREATEROLE]}", "has CREATEROLE, which opens"),
        (
            "~a: {personal_data: no, privileges: {tables: {write: [x.y]}}}",
            "who writes or owns x.y sees all of it (give the role a schema of its own",
        ),
        (
            "~a: {personal_data: no, member_of: [~b]}\n~b:",
            "~b, of which it is a member, has it (say personal_data: no for ~b",
        ),
        ("~a: {personal_data: no, member_of: [pg_read_all_data]}", "pg_read_all_data, of which it"),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_entry(
    text: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "roles.yaml"
    file.write_text(text.replace("[PW]", f"[{WITH_PASSWORD}]").replace("~", "r_"))
    with pytest.raises(FatalError) as error:
        read_roles(file)
    assert words.replace("~", "r_") in str(error.value)
    assert "roles.yaml" in str(error.value)


#: What a role that may create roles cannot do, since Postgres 16.
OF_16 = (
    "~platform lacks the rights of ~other",
    "to make ~a the owner of table other.theirs",
    "~platform may not change them",
    "~platform may not administer ~other",
)


def is_since_16(house: RoleServer) -> bool:
    return house.rows("select current_setting('server_version_num')::int >= 160000") == [(True,)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("~a: {member_of: [~nobody]}", "~a: member_of names ~nobody, and there is no such role"),
        ("~a: {privileges: {schemas: {read: [nowhere]}}}", "there is no schema nowhere (a first"),
        ("~a: {privileges: {tables: {read: [crm.nothing]}}}", "there is no table crm.nothing"),
        ("~a: {owns: {schemas: [nowhere]}}", "owns, schemas: there is no schema nowhere"),
        ("~a: {privileges: {tables: {read: [other.*]}}}", OF_16[0]),
        ("~a: {owns: {tables: [other.theirs]}}", OF_16[1]),
        ("~other: {attributes: [CREATEDB]}", OF_16[2]),
        ("~a: {member_of: [~other]}", OF_16[3]),
        ("~a: {is_superuser: yes}", "~platform cannot give SUPERUSER, which it lacks itself"),
        ("~a: {attributes: [REPLICATION]}", "cannot give REPLICATION"),
        ("~platform: {can_login: yes}", OF_16[2]),
    ],
)
def test_what_cannot_be_done_is_named_with_the_next_step_before_anything_is(
    house: RoleServer, text: str, words: str
) -> None:
    if words in OF_16 and not is_since_16(house):
        pytest.skip("before Postgres 16 whoever may create roles administers all")
    house.work_as("~platform")
    house.execute(
        *TABLES,
        "create role ~other",
        "create schema other authorization ~other",
        "create table other.theirs (id int)",
        "alter table other.theirs owner to ~other",
    )
    whole = "~fine: {can_login: yes}\n" + text
    assert any(house.name(words) in problem for problem in house.plan(whole).problems)
    with pytest.raises(FatalError) as error:
        house.apply(whole)
    assert "nothing was changed" in str(error.value)
    assert house.name(words) in str(error.value)
    assert str(error.value).count("(") >= 1
    assert house.rows("select from pg_roles where rolname = '~fine'") == []


def test_the_file_of_the_manual_can_be_applied(house: RoleServer, tmp_path: Path) -> None:
    manual = (project_root() / "docs" / "roles.md").read_text()
    file = tmp_path / "roles.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", manual, re.DOTALL)[1])  # type: ignore[index]
    wanted = read_roles(file)
    assert not wanted["analysts"].has_personal_data
    house.execute(
        *(f"create schema {s}" for s in ("salesforce", "staging", "intermediate", "analytics")),
        "create schema people_lab",
    )
    planned = apply.plan(house.warehouse, wanted, {}, {"ann": PASSWORD, "people_team": PASSWORD})
    assert planned.problems == []
    assert planned.statements


def test_who_applies_the_file_takes_nothing_from_itself(house: RoleServer) -> None:
    [(me,)] = house.rows("select current_user::text")
    [problem] = house.plan(f"{me}: {{can_login: yes}}").problems
    assert "it is the role that applies the file, and would lose CREATEROLE" in problem


def test_a_role_that_may_not_create_roles_says_so(house: RoleServer) -> None:
    house.work_as("~platform")
    house.execute("alter role ~platform nocreaterole")
    [problem] = house.plan("~a: {}").problems
    assert house.name("~platform may not create roles (let an administrator say: alter role") in (
        problem
    )


def test_a_server_that_is_not_there_is_no_drift(house: RoleServer) -> None:
    away = Warehouse("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(RetriableError):
        apply.plan(away, house.wanted("~a:"), {}, {})


def _node(
    kind: str, name: str, parents: tuple[str, ...] = (), **columns: object
) -> dict[str, object]:
    """What dbt says of a table: column → True where it is marked, the reason where it is no longer personal."""
    return {
        "resource_type": kind,
        "schema": "s",
        "alias": name,
        "identifier": name,
        "depends_on": {"nodes": list(parents)},
        "columns": {
            column: {
                "meta": {},
                "config": {
                    "meta": {"impersonal": told} if isinstance(told, str) else {"pii": told}
                },
            }
            for column, told in columns.items()
        },
    }


def test_columns_are_known_by_dbts_marks_and_the_streams() -> None:
    manifest = {
        "sources": {"source.t": _node("source", "t", id=False, email=True)},
        "nodes": {
            "model.m": _node("model", "m", id=False, phone=True),
            "snapshot.h": _node("snapshot", "h", ("model.m",), dbt_scd_id=False),
            "test.x": _node("test", "x", id=False),
        },
    }
    assert impersonal_columns(manifest) == {
        ("s", "t"): {"id"},
        ("s", "m"): {"id"},
        ("s", "h"): {"dbt_scd_id", "id"},
    }


def test_a_column_that_has_its_name_from_a_personal_one_is_personal() -> None:
    """Through models that say nothing of it, of any number; until one says why it is none."""
    manifest = {
        "sources": {"source.t": _node("source", "t", id=False, email=True)},
        "nodes": {
            "model.forgot": _node("model", "forgot", ("source.t",), id=False, email=False),
            "model.silent": _node("model", "silent", ("model.forgot",), id=False),
            "model.later": _node("model", "later", ("model.silent",), id=False, email=False),
            "model.hashed": _node("model", "hashed", ("model.later",), email="a hash of it"),
            "model.counted": _node("model", "counted", ("model.hashed",), email=False),
            "model.both": _node("model", "both", ("model.hashed", "model.later"), email=False),
        },
    }
    assert impersonal_columns(manifest) == {
        ("s", "t"): {"id"},
        ("s", "forgot"): {"id"},
        ("s", "silent"): {"id"},
        ("s", "later"): {"id"},
        ("s", "hashed"): {"email"},
        ("s", "counted"): {"email"},
        ("s", "both"): set(),
    }
