"""Views on a raw table: kept alive while the table under them changes.

Two ways. ``rebind`` points the views at the table that now bears the name, by CREATE OR REPLACE VIEW:
their identity, grants, owners and dependents stay. ``taken_down`` drops every view above a table and
puts it up again afterwards, for the case where a column's type changes, which Postgres does not allow
under a view. Both run inside the caller's transaction: readers wait a moment and never miss a view.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

#: Every view and materialized view above a table, nearest first.
_ABOVE = """
with recursive above (oid, level) as (
    select distinct r.ev_class, 1
    from pg_depend d
    join pg_rewrite r on r.oid = d.objid
    where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
        and d.refobjid = %(table)s and r.ev_class <> %(table)s and d.deptype = 'n'
    union
    select r.ev_class, above.level + 1
    from above
    join pg_depend d on d.refobjid = above.oid and d.refclassid = 'pg_class'::regclass
    join pg_rewrite r on r.oid = d.objid
    where d.classid = 'pg_rewrite'::regclass and r.ev_class <> above.oid and d.deptype = 'n'
)
select c.oid, n.nspname, c.relname, c.relkind, pg_get_viewdef(c.oid),
    coalesce(c.reloptions, '{}'), pg_get_userbyid(c.relowner), c.relowner <> u.oid,
    obj_description(c.oid, 'pg_class'), c.relispopulated, max(above.level)
from above
join pg_class c on c.oid = above.oid
join pg_namespace n on n.oid = c.relnamespace
join pg_roles u on u.rolname = current_user
where c.relkind in ('v', 'm')
group by c.oid, n.nspname, c.relname, c.relkind, c.relowner, c.reloptions, c.relispopulated, u.oid
order by max(above.level), c.oid
"""


@dataclass(frozen=True, slots=True)
class View:
    """A view as it must be put up again."""

    oid: int
    schema: str
    name: str
    kind: str
    query: str
    options: list[str]
    owner: str
    is_foreign: bool
    comment: str | None
    is_filled: bool
    level: int

    @property
    def identifier(self) -> sql.Identifier:
        """Quoted for a statement."""
        return sql.Identifier(self.schema, self.name)

    def definition(self) -> sql.Composed:
        """``[with (options)] as select …``."""
        options: sql.Composable = sql.SQL("")
        if self.options:
            pairs = [option.split("=", 1) for option in self.options]
            options = sql.SQL(" with ({})").format(
                sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(value))
                    for key, value in pairs
                )
            )
        # A materialized view that was never refreshed stays so.
        filled = sql.SQL("" if self.is_filled or self.kind != "m" else " with no data")
        query = sql.SQL(self.query.rstrip().rstrip(";"))
        return sql.SQL("{} as {}{}").format(options, query, filled)


def above(connection: psycopg.Connection, table_oid: int) -> list[View]:
    """The views that read the table, directly or through other views, nearest first.

    Definitions are spelt with every name qualified.
    """
    with connection.cursor() as cursor:
        cursor.execute("select set_config('search_path', 'pg_catalog', true)")
        cursor.execute(_ABOVE, {"table": table_oid})
        return [View(*row) for row in cursor.fetchall()]


def lock(connection: psycopg.Connection, views: list[View]) -> None:
    """Lock views before their table, the order in which readers do: so nobody deadlocks."""
    for view in sorted(views, key=lambda one: -one.level):
        if view.kind == "v":
            connection.execute(
                sql.SQL("lock table {} in access exclusive mode").format(view.identifier)
            )


def rebind(connection: psycopg.Connection, views: list[View]) -> None:
    """Make the views that name the table directly read the one that bears its name now."""
    for view in views:
        if view.level == 1:
            connection.execute(
                sql.SQL("create or replace view {}{}").format(view.identifier, view.definition())
            )


@contextmanager
def taken_down(connection: psycopg.Connection, table_oid: int) -> Iterator[None]:
    """Drop the views above a table for the length of the block, then put them up as they were."""
    views = above(connection, table_oid)
    lock(connection, views)
    grants = {view.oid: acl(connection, view.oid) for view in views}
    indexes = {view.oid: _index_definitions(connection, view.oid) for view in views}
    comments = {view.oid: _column_comments(connection, view.oid) for view in views}
    for view in reversed(views):
        word = sql.SQL("materialized view" if view.kind == "m" else "view")
        connection.execute(sql.SQL("drop {} {}").format(word, view.identifier))
    yield
    for view in views:
        word = sql.SQL("materialized view" if view.kind == "m" else "view")
        connection.execute(
            sql.SQL("create {} {}{}").format(word, view.identifier, view.definition())
        )
        for definition in indexes[view.oid]:
            connection.execute(sql.SQL(definition))
        for column, comment in comments[view.oid]:
            connection.execute(
                sql.SQL("comment on column {}.{} is {}").format(
                    view.identifier, sql.Identifier(column), sql.Literal(comment)
                )
            )
        if view.comment:
            connection.execute(
                sql.SQL("comment on {} {} is {}").format(
                    word, view.identifier, sql.Literal(view.comment)
                )
            )
        if view.is_foreign:
            connection.execute(
                sql.SQL("alter {} {} owner to {}").format(
                    word, view.identifier, sql.Identifier(view.owner)
                )
            )
        grant(connection, view.identifier, grants[view.oid])


def _column_comments(connection: psycopg.Connection, oid: int) -> list[tuple[str, str]]:
    rows = connection.execute(
        "select a.attname, d.description from pg_description d join pg_attribute a"
        " on a.attrelid = d.objoid and a.attnum = d.objsubid"
        " where d.classoid = 'pg_class'::regclass and d.objoid = %s and d.objsubid > 0",
        [oid],
    ).fetchall()
    return [(str(column), str(comment)) for column, comment in rows]


def _index_definitions(connection: psycopg.Connection, oid: int) -> list[str]:
    rows = connection.execute(
        "select pg_get_indexdef(indexrelid) from pg_index where indrelid = %s", [oid]
    ).fetchall()
    return [str(definition) for (definition,) in rows]


@dataclass(frozen=True, slots=True)
class Grant:
    """One privilege of one role; column None for the whole relation, role None for everybody."""

    role: str | None
    privilege: str
    is_grantable: bool
    column: str | None


def acl(connection: psycopg.Connection, oid: int) -> list[Grant]:
    """Who may do what with a relation and its columns, the owner left out."""
    rows = connection.execute(
        "select r.rolname, a.privilege_type, a.is_grantable, null"
        " from pg_class c cross join aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee"
        " where c.oid = %(oid)s and a.grantee <> c.relowner"
        " union all"
        " select r.rolname, a.privilege_type, a.is_grantable, t.attname"
        " from pg_class c join pg_attribute t on t.attrelid = c.oid"
        " cross join aclexplode(t.attacl) a left join pg_roles r on r.oid = a.grantee"
        " where c.oid = %(oid)s and a.grantee <> c.relowner",
        {"oid": oid},
    ).fetchall()
    return [Grant(*row) for row in rows]


def grant(connection: psycopg.Connection, relation: sql.Composable, grants: list[Grant]) -> None:
    """Give exactly these privileges to exactly these roles."""
    everybody = sql.SQL("public")
    roles = {one.role for one in grants}
    for role in roles:
        name = everybody if role is None else sql.Identifier(role)
        connection.execute(sql.SQL("revoke all on {} from {}").format(relation, name))
    for one in grants:
        columns: sql.Composable = sql.SQL("")
        if one.column is not None:
            columns = sql.SQL(" ({})").format(sql.Identifier(one.column))
        connection.execute(
            sql.SQL("grant {}{} on {} to {}{}").format(
                sql.SQL(one.privilege),
                columns,
                relation,
                everybody if one.role is None else sql.Identifier(one.role),
                sql.SQL(" with grant option" if one.is_grantable else ""),
            )
        )
