"""What must be true of the hosts tables, as counts of what contradicts it.

The claims behind the asset checks; each is one query over the tables that ``cache.py`` writes.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql

from meltano_assets.hosts import cache
from meltano_assets.hosts.waterfall import CACHES

if TYPE_CHECKING:
    from meltano_assets.warehouse.connection import Warehouse


def hosts_by_kind(warehouse: Warehouse) -> dict[str, int]:
    """Cleaned hosts of each kind."""
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select kind, count(*) from hosts.cleaned_hosts group by kind order by kind"
        ).fetchall()
    return {str(kind): int(count) for kind, count in rows}


def uncleaned_hosts(
    warehouse: Warehouse, *, now: datetime, loaded_since: datetime | None = None
) -> int:
    """Raw hosts of recent pings without a row of their own; of those loaded since, if given."""
    query = cache.recent_pings(warehouse)
    with warehouse.connect() as connection:
        row = connection.execute(
            query
            + "select count(distinct raw_host) from recent"
            + " where loaded_at >= coalesce(%s, '-infinity'::timestamptz) and not exists"
            + " (select from hosts.cleaned_hosts as c where c.raw_host = recent.raw_host)",
            [now, loaded_since],
        ).fetchone()
    return int(row[0]) if row else 0


def stray_names(warehouse: Warehouse) -> int:
    """Clean names with upper case, blanks or a dot at an end."""
    with warehouse.connect() as connection:
        row = connection.execute(
            r"""
            select count(*) from hosts.cleaned_hosts
            where clean_full_domain <> lower(clean_full_domain)
                or clean_full_domain ~ '(^\.|\.$|\s|\.\.)'
                or clean_domain ~ '(^\.|\.$|\s|\.\.)'
            """
        ).fetchone()
    return int(row[0]) if row else 0


def internal_names_by_cache(warehouse: Warehouse) -> dict[str, int]:
    """How many names of each cache are internal or invalid hosts: none may ever be."""
    return {
        stream.name: _count(
            warehouse,
            sql.SQL(
                "select count(*) from {cache} as c where exists (select from hosts.cleaned_hosts"
                " as h where h.kind in ('internal', 'invalid') and c.{key} in"
                " (h.clean_full_domain, h.clean_domain, h.raw_host))"
            ).format(
                cache=sql.Identifier(stream.source, stream.name),
                key=sql.Identifier(stream.primary_key[0]),
            ),
        )
        for stream in CACHES
    }


def rows_by_cache(warehouse: Warehouse) -> dict[str, int]:
    """Rows of each cache table."""
    return {
        stream.name: _count(
            warehouse,
            sql.SQL("select count(*) from {}").format(sql.Identifier(stream.source, stream.name)),
        )
        for stream in CACHES
    }


def _count(warehouse: Warehouse, query: sql.Composed) -> int:
    with warehouse.connect() as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
