"""What the catalogue says of roles, their memberships and their rights, read at one moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

import psycopg

from meltano_assets.warehouse.roles.wanted import Attributes, Named, Reach, Relation

#: Postgres' name for everybody, in the place of a role.
PUBLIC = None

_ME = """
select r.rolname, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls,
    current_setting('server_version_num')::int, current_database(),
    has_database_privilege(current_database(), 'create')
from pg_roles r where r.rolname = current_user
"""

#: What this session may do for a role: act as it, or make itself a member that can.
_ROLES = """
select r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolinherit,
    r.rolreplication, r.rolbypassrls, r.rolconnlimit,
    case when isfinite(r.rolvaliduntil) then r.rolvaliduntil end,
    pg_has_role(r.oid, 'usage'),
    pg_has_role(r.oid, 'usage with admin option')
from pg_roles r
"""

_MEMBERS = """
select g.rolname, m.rolname, m.rolinherit, bool_or(a.admin_option)
from pg_auth_members a
join pg_roles g on g.oid = a.roleid
join pg_roles m on m.oid = a.member
group by 1, 2, 3
"""
#: Whoever makes a role may administer it, which is no membership as long as it gives no rights.
_MEMBERS_16 = """
select g.rolname, m.rolname, bool_or(a.inherit_option), bool_or(a.admin_option)
from pg_auth_members a
join pg_roles g on g.oid = a.roleid
join pg_roles m on m.oid = a.member
where a.inherit_option or a.set_option
group by 1, 2
"""

_OURS = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"

_SCHEMAS = f"""
select n.nspname, pg_get_userbyid(n.nspowner) from pg_namespace n where {_OURS}
"""
#: By rights of its own, as an owner or as somebody's member.
_CREATORS = f"""
select n.nspname, r.rolname
from pg_namespace n
join pg_roles r on r.rolcanlogin and not r.rolsuper and has_schema_privilege(r.oid, n.oid, 'create')
where {_OURS}
"""
_SCHEMA_RIGHTS = f"""
select r.rolname, n.nspname, a.privilege_type, a.is_grantable
from pg_namespace n cross join aclexplode(n.nspacl) a left join pg_roles r on r.oid = a.grantee
where {_OURS} and a.grantee <> n.nspowner and (a.grantee = 0 or r.rolname = any (%s))
"""
#: A sequence of a serial or identity column belongs to whom its table does; what an extension brought is its
#: own affair.
_RELATIONS = f"""
select n.nspname, c.relname, c.relkind = 'S', pg_get_userbyid(c.relowner),
    c.relkind = 'S' and exists (
        select from pg_depend d
        where d.classid = 'pg_class'::regclass and d.objid = c.oid
            and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
    )
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where {_OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and not exists (
        select from pg_depend d
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
"""
_COLUMNS = f"""
select n.nspname, c.relname, array_agg(a.attname order by a.attnum)
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
where {_OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped
group by 1, 2
"""
_RELATION_RIGHTS = f"""
select r.rolname, n.nspname, c.relname, null, a.privilege_type, a.is_grantable
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
cross join aclexplode(c.relacl) a
left join pg_roles r on r.oid = a.grantee
where {_OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and a.grantee <> c.relowner
    and (a.grantee = 0 or r.rolname = any (%(roles)s))
union all
select r.rolname, n.nspname, c.relname, t.attname, a.privilege_type, a.is_grantable
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute t on t.attrelid = c.oid and t.attacl is not null and not t.attisdropped
cross join aclexplode(t.attacl) a
left join pg_roles r on r.oid = a.grantee
where {_OURS} and a.grantee <> c.relowner and (a.grantee = 0 or r.rolname = any (%(roles)s))
"""
_DEFAULTS = """
select r.rolname, pg_get_userbyid(d.defaclrole), n.nspname, d.defaclobjtype::text, a.privilege_type,
    a.is_grantable
from pg_default_acl d
cross join aclexplode(d.defaclacl) a
left join pg_namespace n on n.oid = d.defaclnamespace
left join pg_roles r on r.oid = a.grantee
where d.defaclobjtype in ('r', 'S', 'n') and a.grantee <> d.defaclrole
    and (a.grantee = 0 or r.rolname = any (%s))
"""
_REMEMBERED = """
select role, access, schema_name, table_name, has_personal_data from meltano.role_access
"""


@dataclass(frozen=True, slots=True)
class KnownRole:
    """A role that is there. ``can_be`` says that this session acts with its rights already."""

    name: str
    can_login: bool
    is_superuser: bool
    attributes: Attributes
    can_be: bool
    can_administer: bool


@dataclass(frozen=True, slots=True)
class Me:
    """Who is asking, and what that role may do."""

    name: str
    is_superuser: bool
    can_create_roles: bool
    can_create_databases: bool
    can_replicate: bool
    can_bypass_rls: bool
    version: int
    database: str
    can_create_schemas: bool


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether a member has the group's rights without asking, and may make others members."""

    inherits: bool
    administers: bool


@dataclass(frozen=True, slots=True)
class Right:
    """One privilege as it stands in the catalogue."""

    privilege: str
    is_grantable: bool


@dataclass(frozen=True, slots=True, order=True)
class Default:
    """What a role gets on things that another one makes: ``kind`` is r (tables), S (sequences), n (schemas)."""

    creator: str
    schema: str | None
    kind: str
    privilege: str


@dataclass(frozen=True, slots=True)
class Access:
    """What ``roles apply`` has last settled for one role's tables."""

    tables: Reach
    has_personal_data: bool


Rights = dict[str | None, dict[Relation, set[Right]]]


@dataclass(slots=True)
class Present:
    """Roles and rights as they are; rights only of the roles that were asked for, and of everybody."""

    me: Me
    roles: dict[str, KnownRole]
    #: Member → the roles that it is a member of.
    groups: dict[str, dict[str, Membership]]
    schemas: dict[str, str]
    #: Schema → roles that log in and may create there.
    creators: dict[str, set[str]]
    tables: dict[Relation, str]
    sequences: dict[Relation, str]
    dependent: frozenset[Relation]
    columns: dict[Relation, tuple[str, ...]]
    schema_rights: dict[str | None, dict[str, set[Right]]]
    rights: Rights
    column_rights: dict[str | None, dict[Relation, dict[str, set[Right]]]]
    defaults: dict[str | None, set[Default]]
    access: dict[str, Access] = field(default_factory=dict)


def look(connection: psycopg.Connection, managed: Collection[str]) -> Present:
    """The catalogue as it stands; ``managed`` are the roles whose rights are wanted."""
    names = list(managed)
    row = connection.execute(_ME).fetchone()
    assert row is not None
    me = Me(*row)
    # Before 16, whoever may create roles may administer all but superusers.
    is_their_keeper = me.version < 160000 and me.can_create_roles
    roles = {
        name: KnownRole(
            name,
            login,
            is_super,
            Attributes(createdb, createrole, inherit, replication, bypassrls, limit, until),
            can_be,
            can_administer or me.is_superuser or (is_their_keeper and not is_super),
        )
        for (
            name,
            login,
            is_super,
            createdb,
            createrole,
            inherit,
            replication,
            bypassrls,
            limit,
            until,
            can_be,
            can_administer,
        ) in connection.execute(_ROLES).fetchall()
    }
    groups: dict[str, dict[str, Membership]] = defaultdict(dict)
    members = _MEMBERS_16 if me.version >= 160000 else _MEMBERS
    for group, member, inherits, administers in connection.execute(members).fetchall():
        groups[member][group] = Membership(inherits, administers)
    tables: dict[Relation, str] = {}
    sequences: dict[Relation, str] = {}
    dependent: set[Relation] = set()
    for schema, name, is_sequence, owner, is_dependent in connection.execute(_RELATIONS).fetchall():
        (sequences if is_sequence else tables)[schema, name] = owner
        if is_dependent:
            dependent.add((schema, name))
    creators: dict[str, set[str]] = defaultdict(set)
    for schema, creator in connection.execute(_CREATORS).fetchall():
        creators[schema].add(creator)
    schema_rights: dict[str | None, dict[str, set[Right]]] = defaultdict(lambda: defaultdict(set))
    for role, schema, privilege, is_grantable in connection.execute(
        _SCHEMA_RIGHTS, [names]
    ).fetchall():
        schema_rights[role][schema].add(Right(privilege, is_grantable))
    rights: Rights = defaultdict(lambda: defaultdict(set))
    column_rights: dict[str | None, dict[Relation, dict[str, set[Right]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(set))
    )
    for role, schema, name, column, privilege, is_grantable in connection.execute(
        _RELATION_RIGHTS, {"roles": names}
    ).fetchall():
        right = Right(privilege, is_grantable)
        if column is None:
            rights[role][schema, name].add(right)
        else:
            column_rights[role][schema, name][column].add(right)
    defaults: dict[str | None, set[Default]] = defaultdict(set)
    for role, creator, schema, kind, privilege, _ in connection.execute(
        _DEFAULTS, [names]
    ).fetchall():
        defaults[role].add(Default(creator, schema, kind, privilege))
    return Present(
        me=me,
        roles=roles,
        groups=groups,
        schemas=dict(connection.execute(_SCHEMAS).fetchall()),
        creators=creators,
        tables=tables,
        sequences=sequences,
        dependent=frozenset(dependent),
        columns={
            (schema, name): tuple(columns)
            for schema, name, columns in connection.execute(_COLUMNS).fetchall()
        },
        schema_rights=schema_rights,
        rights=rights,
        column_rights=column_rights,
        defaults=defaults,
        access=remembered(connection),
    )


def remembered(connection: psycopg.Connection) -> dict[str, Access]:
    """What was last settled, by role; empty where nothing ever was."""
    row = connection.execute("select to_regclass('meltano.role_access') is not null").fetchone()
    if row is None or not row[0]:
        return {}
    found: dict[str, dict[str, list[Named]]] = defaultdict(lambda: defaultdict(list))
    without = set()
    for role, access, schema, name, has_personal_data in connection.execute(_REMEMBERED).fetchall():
        found[role][access].append(Named(schema, name))
        if not has_personal_data:
            without.add(role)
    return {
        role: Access(
            Reach(*(tuple(sorted(named[access])) for access in ("read", "write", "except"))),
            role not in without,
        )
        for role, named in found.items()
    }
