"""What people have given to a table, and how another table gets it before it takes the table's place.

Carried over: owner, grants, comments, defaults, secondary indexes, extended statistics, statistics targets,
the primary key's name, logged or not, storage parameters, tablespace and access method. ``is_movable`` is
False where anything else hangs on the table; then it has to stay the table that it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.warehouse import views
from meltano_assets.warehouse.quarantine import REFUSED
from meltano_assets.warehouse.records import Rejected
from meltano_assets.warehouse.refused import Refuse
from meltano_assets.warehouse.schema import Table, TableName, is_empty

#: What refers to the table's identity, and what a new table is not given.
_IS_IMMOVABLE = """
select exists (select from pg_constraint where contype = 'f' and %(oid)s in (conrelid, confrelid))
    or exists (select from pg_constraint where contype in ('u', 'x') and conrelid = %(oid)s)
    or exists (select from pg_trigger where tgrelid = %(oid)s and not tgisinternal)
    or exists (select from pg_policy where polrelid = %(oid)s)
    or exists (select from pg_inherits where %(oid)s in (inhrelid, inhparent))
    or exists (select from pg_rewrite where ev_class = %(oid)s)
    or exists (
        select from pg_depend d
        where d.refclassid = 'pg_class'::regclass and d.refobjid = %(oid)s and d.deptype = 'n'
            and d.classid <> 'pg_rewrite'::regclass
    )
    or exists (
        select from pg_depend d join pg_type y on y.oid = d.refobjid
        where d.refclassid = 'pg_type'::regclass and d.deptype = 'n'
            and %(oid)s in (y.typrelid, (select typrelid from pg_type where oid = y.typelem))
    )
    -- A sequence that goes with one of its columns.
    or exists (
        select from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
        where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
            and d.refobjid = %(oid)s
    )
    or exists (select from pg_attribute where attrelid = %(oid)s and attidentity <> '')
    -- By its name, its schema's or because all tables are in it: subscribers know it by its identity.
    or exists (
        select from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_publication_tables p on p.schemaname = n.nspname and p.tablename = c.relname
        where c.oid = %(oid)s
    )
    or exists (
        select from pg_index x join pg_class i on i.oid = x.indexrelid
        where x.indrelid = %(oid)s and (
            x.indisclustered
            or exists (
                select from pg_attribute where attrelid = i.oid and coalesce(attstattarget, -1) >= 0
            )
            or x.indisprimary and (
                x.indnatts <> x.indnkeyatts or not x.indimmediate or i.reloptions is not null
                or i.reltablespace <> 0 or obj_description(i.oid, 'pg_class') is not null
                or exists (
                    select from pg_constraint
                    where conindid = i.oid and obj_description(oid, 'pg_constraint') is not null
                )
            )
        )
    )
    or exists (
        select from pg_class c
        where c.oid = %(oid)s and (
            c.relkind <> 'r' or c.relrowsecurity or c.relforcerowsecurity or c.reloftype <> 0
            or c.relreplident <> 'd'
            or not pg_has_role(c.relowner, 'usage')
            or c.reltablespace <> 0 and not has_tablespace_privilege(c.reltablespace, 'create')
        )
    )
"""

#: Secondary indexes: name, text up to the table's name as we write it, is it unique, whole text, comment.
_INDEXES = """
select i.relname,
    format('CREATE %%sINDEX %%I ON %%I.%%I USING ',
        case when x.indisunique then 'UNIQUE ' else '' end, i.relname, n.nspname, t.relname),
    x.indisunique, pg_get_indexdef(x.indexrelid), obj_description(i.oid, 'pg_class')
from pg_index x
join pg_class i on i.oid = x.indexrelid
join pg_class t on t.oid = x.indrelid
join pg_namespace n on n.oid = t.relnamespace
where x.indrelid = %s and not x.indisprimary
order by i.relname
"""

#: How its rows are kept: logged or not, by which method, where (if we may), with which parameters.
_STORAGE = """
select c.relpersistence = 'u', a.amname,
    (
        select spcname from pg_tablespace
        where oid = c.reltablespace and has_tablespace_privilege(oid, 'create')
    ),
    coalesce(c.reloptions, '{}'), coalesce(t.reloptions, '{}')
from pg_class c
left join pg_am a on a.oid = c.relam
left join pg_class t on t.oid = c.reltoastrelid
where c.oid = %s
"""

#: What the planner was told of single columns: name, statistics target, options.
_COLUMN_STATISTICS = """
select attname, coalesce(attstattarget, -1), coalesce(attoptions, '{}') from pg_attribute
where attrelid = %s and attnum > 0 and not attisdropped
    and (coalesce(attstattarget, -1) >= 0 or attoptions is not null)
order by attnum
"""

_EXTENDED_STATISTICS = """
select n.nspname, s.stxname, pg_get_statisticsobjdef(s.oid), coalesce(s.stxstattarget, -1),
    obj_description(s.oid, 'pg_statistic_ext')
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
where s.stxrelid = %s
order by s.oid
"""


def is_movable(connection: psycopg.Connection, live: Table) -> bool:
    """True when everything that hangs on the table can be carried over to another one."""
    row = connection.execute(_IS_IMMOVABLE, {"oid": live.oid}).fetchone()
    if row is None or row[0]:
        return False
    if any(view.kind == "m" and view.level == 1 for view in views.above(connection, live.oid)):
        return False
    indexes = connection.execute(_INDEXES, [live.oid]).fetchall()
    return all(str(text).startswith(str(prefix)) for _, prefix, _, text, _ in indexes)


def create_like(
    connection: psycopg.Connection,
    name: TableName,
    live: Table,
    key: Sequence[str],
    *,
    is_passing: bool,
) -> None:
    """An empty table with the live one's columns and constraints, kept as that one is kept; no index.

    Columns outside the key that it will have take nulls meanwhile (``require_values``). One that only
    passes its rows on (``is_passing``) has no constraints, and needs no log, which also keeps it from the
    subscribers of a publication of all tables.
    """
    row = connection.execute(_STORAGE, [live.oid]).fetchone()
    assert row is not None
    is_unlogged, method, tablespace, options, toast_options = row
    parts: list[sql.Composable] = [
        sql.SQL(
            "create {}table {} (like {} including all excluding indexes excluding statistics{})"
        ).format(
            sql.SQL("unlogged " if is_unlogged or is_passing else ""),
            name.sql,
            live.name.sql,
            sql.SQL(" excluding constraints excluding generated" if is_passing else ""),
        )
    ]
    # A partitioned table has no rows of its own, and so nothing that says how they are kept.
    if method is not None and not live.is_partitioned:
        parts.append(sql.SQL("using {}").format(sql.Identifier(method)))
    given = [("", option) for option in options] + [("toast", option) for option in toast_options]
    if given and not live.is_partitioned:
        parts.append(sql.SQL("with ({})").format(_parameters(given)))
    if tablespace is not None:
        parts.append(sql.SQL("tablespace {}").format(sql.Identifier(tablespace)))
    connection.execute(sql.SQL(" ").join(parts))
    former = [name for name, _ in _demanded(connection, live, key)]
    if former:
        steps = (sql.SQL("alter column {} drop not null").format(sql.Identifier(c)) for c in former)
        connection.execute(sql.SQL("alter table {} {}").format(name.sql, sql.SQL(", ").join(steps)))


def _demanded(
    connection: psycopg.Connection, live: Table, key: Sequence[str]
) -> list[tuple[str, str | None]]:
    """Columns outside the key that take no null, and the constraint's name where it has one.

    Those that Postgres fills by itself are left out.
    """
    rows = connection.execute(
        "select a.attname, c.conname from pg_attribute a"
        " left join pg_constraint c on c.conrelid = a.attrelid and c.contype = 'n'"
        " and c.conkey = array[a.attnum]"
        " where a.attrelid = %s and a.attnum > 0 and not a.attisdropped and a.attnotnull"
        " and a.attidentity = '' order by a.attnum",
        [live.oid],
    ).fetchall()
    return [(name, known) for name, known in rows if name not in {*live.computed, *key}]


def require_values(
    connection: psycopg.Connection,
    live: Table,
    beside: TableName,
    key: Sequence[str],
    refuse: Refuse,
) -> None:
    """Let the filled table demand values where the live one does; rows without one are refused."""
    for name, constraint in _demanded(connection, live, key):
        if name in live.primary_key:
            # It took no null because it was part of the key, which it no longer is.
            continue
        column = sql.Identifier(name)
        rows = connection.execute(
            sql.SQL(
                "with gone as (delete from {} where {} is null returning *)"
                " select (to_jsonb(gone.*) - array['_loaded_at', '_load_id'])::text from gone"
            ).format(beside.sql, column)
        ).fetchall()
        for (record,) in rows:
            refuse(Rejected(str(record), f"{REFUSED}: {name} may not be null", name))
        if rows and is_empty(connection, beside):
            raise FatalError(
                f"{live.name} takes no null in column {name}, and no record has a value for it",
                hint="let the stream deliver it, give the column a default, or"
                f" `alter table {live.name} alter column {name} drop not null`",
            )
        demand = sql.SQL("alter column {} set not null").format(column)
        if constraint is not None:
            demand = sql.SQL("add constraint {} not null {}").format(
                sql.Identifier(constraint), column
            )
        connection.execute(sql.SQL("alter table {} {}").format(beside.sql, demand))


def _parameters(given: Iterable[tuple[str, str]]) -> sql.Composed:
    """``"fillfactor" = '70', "toast"."autovacuum_enabled" = 'false'``."""
    pairs = []
    for space, option in given:
        key, _, value = option.partition("=")
        name = sql.Identifier(space, key) if space else sql.Identifier(key)
        pairs.append(sql.SQL("{} = {}").format(name, sql.Literal(value)))
    return sql.SQL(", ").join(pairs)


def copy_indexes(
    connection: psycopg.Connection, live: Table, beside: TableName
) -> list[tuple[str, str]]:
    """Build the live table's secondary indexes beside; returns (name there, name to be)."""
    named = []
    for number, (name, prefix, is_unique, text, comment) in enumerate(
        connection.execute(_INDEXES, [live.oid]).fetchall()
    ):
        temporary = f"{beside.name}_{number}"
        connection.execute(
            sql.SQL("create {}index {} on {} using {}").format(
                sql.SQL("unique " if is_unique else ""),
                sql.Identifier(temporary),
                beside.sql,
                sql.SQL(text[len(prefix) :]),
            )
        )
        if comment:
            connection.execute(
                sql.SQL("comment on index {} is {}").format(
                    sql.Identifier(beside.schema, temporary), sql.Literal(comment)
                )
            )
        named.append((temporary, name))
    return named


def copy_standing(connection: psycopg.Connection, live: Table, beside: TableName) -> None:
    """Grants, owner and comment of the live table, and what the planner was told of its columns."""
    row = connection.execute(
        "select pg_get_userbyid(c.relowner), pg_get_userbyid(c.relowner) <> current_user,"
        " obj_description(c.oid, 'pg_class'), to_regclass(%s)::oid from pg_class c where oid = %s",
        [beside.sql.as_string(connection), live.oid],
    ).fetchone()
    assert row is not None
    owner, is_foreign, comment, beside_oid = row
    for role in {one.role for one in views.acl(connection, beside_oid)}:
        name = sql.SQL("public") if role is None else sql.Identifier(role)
        connection.execute(sql.SQL("revoke all on {} from {}").format(beside.sql, name))
    views.grant(connection, beside.sql, views.acl(connection, live.oid))
    if comment:
        connection.execute(
            sql.SQL("comment on table {} is {}").format(beside.sql, sql.Literal(comment))
        )
    steps: list[sql.Composable] = []
    for column, target, options in connection.execute(_COLUMN_STATISTICS, [live.oid]).fetchall():
        alter = sql.SQL("alter column {} set ").format(sql.Identifier(column))
        if target >= 0:
            steps.append(alter + sql.SQL("statistics {}").format(sql.Literal(target)))
        if options:
            given = _parameters(("", option) for option in options)
            steps.append(alter + sql.SQL("({})").format(given))
    if steps:
        connection.execute(
            sql.SQL("alter table {} {}").format(beside.sql, sql.SQL(", ").join(steps))
        )
    if is_foreign:
        connection.execute(
            sql.SQL("alter table {} owner to {}").format(beside.sql, sql.Identifier(owner))
        )


def extended_statistics(connection: psycopg.Connection, live: Table) -> list[sql.Composed]:
    """What makes the live table's extended statistics anew, once another table bears its name."""
    steps = []
    connection.execute("select set_config('search_path', 'pg_catalog', true)")
    for place, name, text, target, comment in connection.execute(
        _EXTENDED_STATISTICS, [live.oid]
    ).fetchall():
        statistics = sql.Identifier(place, name)
        steps.append(sql.Composed([sql.SQL(text)]))
        if target >= 0:
            steps.append(
                sql.SQL("alter statistics {} set statistics {}").format(
                    statistics, sql.Literal(target)
                )
            )
        if comment:
            steps.append(
                sql.SQL("comment on statistics {} is {}").format(statistics, sql.Literal(comment))
            )
    return steps


def key_name(connection: psycopg.Connection, live: Table) -> str | None:
    """The name of the primary key's constraint; None when there is none."""
    row = connection.execute(
        "select conname from pg_constraint where conrelid = %s and contype = 'p'", [live.oid]
    ).fetchone()
    return None if row is None else str(row[0])
