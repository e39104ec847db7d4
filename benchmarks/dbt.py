"""The dbt project at scale: a build from nothing, a parse, a day of news.

    python -m benchmarks.dbt                          # 5 M pings, 1 M leads, 200 k opportunities
    python -m benchmarks.dbt --scale 0.02             # a fiftieth, to see that it works

Rows are made by the database itself, into raw tables as the loader would leave them; that is not
timed. dbt is timed as a process with its start, as `meltano-assets dbt build` runs it, data tests
included. After the first build days of news come: new pings, one for 180 that are there, and one in 365
leads and deals changed. All pings were loaded at once before the first day, so that each is looked for
again; not before the others. "CPU" is that of dbt and of the server, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from benchmarks.load import opened
from meltano_assets.environment import dbt_project_directory
from meltano_assets.hosts import cache
from meltano_assets.hosts.cache import ensure_indexes
from meltano_assets.hosts.waterfall import CACHES
from meltano_assets.modelling import dbt_program, dbt_variables
from meltano_assets.sources import SOURCES
from meltano_assets.sources.version import USAGE_DATA
from meltano_assets.streams import Stream
from meltano_assets.warehouse.connection import Warehouse

STREAMS: tuple[Stream, ...] = (
    *(stream for source in SOURCES for stream in source.streams),
    cache.CLEANED_HOSTS,
    *CACHES,
)
#: When a ping came: one after the other, over 1,080 days; those of the days of news go on from there.
PINGED = "timestamptz '2026-06-30' + (n + 1 - {all}) * (interval '1080 days' / {all})"
#: Table → rows at full scale, and the select that makes row ``n`` of them.
ROWS: dict[str, tuple[int, str]] = {
    "salesforce.users": (200, "select 'u' || n as id, 'User ' || n as name"),
    "salesforce.accounts": (
        100_000,
        "select 'a' || n as id, 'Company ' || n as name, 'www.company' || n || '.com' as website,"
        " case when n % 4 = 0 then 'Customer' else 'Prospect' end as type,"
        " case when n % 10 = 1 then 'a' || n / 10 end as parent_id, 'u' || n % 200 as owner_id",
    ),
    "salesforce.contacts": (
        300_000,
        "select 'c' || n as id, 'a' || n % 100000 as account_id, n || '@company.com' as email",
    ),
    "salesforce.campaigns": (
        2_000,
        "select '7' || n as id, 'Campaign ' || n as name, 'Webcast' as type, 1000 + n as actual_cost,"
        " date '2023-01-01' + n % 1200 as start_date, date '2023-01-31' + n % 1200 as end_date",
    ),
    "salesforce.leads": (
        1_000_000,
        "select 'l' || n as id, n || '@lead.com' as email, 'Webcast' as lead_source,"
        " case when n % 10 = 0 then 'o' || n / 10 end as converted_opportunity_id",
    ),
    "salesforce.campaign_members": (
        1_500_000,
        "select 'm' || n as id, '7' || n % 2000 as campaign_id,"
        " case when n % 3 > 0 then 'l' || n % 1000000 end as lead_id,"
        " case when n % 3 = 0 then 'c' || n % 300000 end as contact_id, n % 2 = 0 as has_responded,"
        " date '2023-01-01' + n % 1200 as first_responded_date",
    ),
    "salesforce.opportunities": (
        200_000,
        "select 'o' || n as id, 'a' || n % 100000 as account_id, '7' || n % 2000 as campaign_id,"
        " 'u' || n % 200 as owner_id, 'Deal ' || n as name, 'New Business' as type,"
        " (array['1-Discovery', '4-Proposal', 'Closed Won', '8-Closed Lost'])[1 + n % 4] as stage_name,"
        " n % 4 >= 2 as is_closed, n % 4 = 2 as is_won, 100 * (n % 900) as amount,"
        " 'SDR Generated' as sql_source__c, 50 * (n % 900) as incremental_acv__c,"
        " (array['USD', 'EUR', 'GBP'])[1 + n % 3] as currency_iso_code,"
        " date '2023-02-01' + n % 1200 as sales_accepted_date__c,"
        " date '2023-04-01' + n % 1200 as close_date",
    ),
    "version.usage_data": (
        5_000_000,
        "select n as id, 'uuid ' || n % 100000 as uuid, 'git.company' || n % 100000 || '.com' as"
        " hostname, '10.' || n % 12 || '.0-ee' as version, 'EEP' as edition, n % 500 as"
        " active_user_count, jsonb_build_object('issues', n % 90, 'notes', n % 7, 'boards', 1,"
        " 'ci_builds', n, 'projects', n % 50, 'groups', n % 9, 'labels', 3, 'todos', 0, 'keys', 5)"
        f" as stats, {PINGED} as updated_at, {PINGED} as recorded_at",
    ),
    "hosts.cleaned_hosts": (
        100_000,
        "select 'git.company' || n || '.com' as raw_host, 'domain' as kind, 'company' || n || '.com'"
        " as clean_domain, 'git.company' || n || '.com' as clean_full_domain, now() as cleaned_at",
    ),
    "zuora.accounts": (20_000, "select 'z' || n as id, 'a' || n * 4 as crm_id, 'USD' as currency"),
    "zuora.subscriptions": (
        30_000,
        "select 's' || n as id, 'A-' || n as name, 'z' || n % 20000 as account_id, 1 as version,"
        " 'Active' as status, date '2024-01-01' + n % 700 as term_start_date",
    ),
    "zuora.rate_plans": (30_000, "select 'r' || n as id, 's' || n as subscription_id"),
    "zuora.rate_plan_charges": (
        60_000,
        "select 'h' || n as id, 'r' || n % 30000 as rate_plan_id, n % 400 as mrr, 5 as quantity,"
        " date '2024-01-01' + n % 700 as effective_start_date,"
        " date '2025-01-01' + n % 900 as effective_end_date",
    ),
    "zendesk.tickets": (
        300_000,
        "select n as id, n % 5000 as organization_id, 'open' as status, timestamptz '2026-06-30'"
        " - n % 900 * interval '1 day' as created_at",
    ),
    "marketo.activities": (
        2_000_000,
        "select 'g' || n as marketo_guid, n % 1000000 as lead_id, n % 40 as activity_type_id,"
        " timestamptz '2026-06-30' - n % 700 * interval '1 day' as activity_date",
    ),
}
#: Columns that most tables have, where their rows do not say otherwise.
USUAL = {
    "created_date": "timestamptz '2023-01-01' + n % 1200 * interval '1 day'",
    "system_modstamp": "timestamptz '2026-06-29'",
    "updated_date": "timestamptz '2026-06-29'",
    "is_deleted": "false",
    "_loaded_at": "{at}",
}
FIRST_LOAD = datetime(2026, 6, 30, tzinfo=UTC)
#: A day brings one new ping for so many that are there.
PINGS_FOR_ONE = 180
#: What a day changes.
NEWS = (
    "update salesforce.leads set _loaded_at = {at}, system_modstamp = {at}"
    " where substr(id, 2)::int % 365 = {day}",
    "update salesforce.opportunities set _loaded_at = {at}, system_modstamp = {at},"
    " stage_name = 'Closed Won', is_won = true where substr(id, 2)::int % 365 = {day}",
)


def fill(connection: psycopg.Connection, scale: float) -> None:
    """Every raw table, those of ``ROWS`` with rows."""
    for stream in STREAMS:
        columns = {column.name: column.type for column in stream.columns} | {
            "_loaded_at": "timestamptz",
            "_load_id": "text",
            "_deleted_at": "timestamptz",
        }
        listed = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in columns.items()
        )
        table = sql.Identifier(stream.source, stream.name)
        schema = sql.Identifier(stream.source)
        keys = sql.SQL(", ").join(map(sql.Identifier, stream.primary_key))
        connection.execute(sql.SQL("create schema if not exists {}").format(schema))
        connection.execute(sql.SQL("create table {} ({})").format(table, listed))
        if stream.key in ROWS:
            insert(connection, stream, scale, FIRST_LOAD)
        connection.execute(sql.SQL("alter table {} add primary key ({})").format(table, keys))
        connection.execute(sql.SQL("analyze {}").format(table))


def insert(
    connection: psycopg.Connection,
    stream: Stream,
    scale: float,
    at: datetime,
    *,
    first: int = 0,
    count: int | None = None,
) -> None:
    """Rows of ``ROWS`` from the ``first`` on, loaded at ``at``; all that the scale asks for, or ``count``."""
    rows, select = ROWS[stream.key]
    every = int(rows * scale)
    columns = {column.name for column in stream.columns} | {"_loaded_at"}
    usual = [
        f"{text} as {name}"
        for name, text in USUAL.items()
        if name in columns and f" as {name}" not in select
    ]
    query = f"{', '.join([select, *usual])} from generate_series({{first}}, {{last}}) as n"
    connection.execute(
        sql.SQL("create temporary table made on commit drop as " + query).format(
            all=sql.Literal(every),
            at=sql.Literal(at),
            first=sql.Literal(first),
            last=sql.Literal(first + (every if count is None else count) - 1),
        )
    )
    described = connection.execute("select * from made limit 0").description or ()
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in described)
    table = sql.Identifier(stream.source, stream.name)
    connection.execute(
        sql.SQL("insert into {} ({}) select {} from made").format(table, names, names)
    )
    connection.execute("drop table made")


def day_of_news(connection: psycopg.Connection, scale: float, day: int) -> None:
    """What the day brings: new pings, changed leads and deals."""
    at = FIRST_LOAD + timedelta(days=day)
    there = int(ROWS[USAGE_DATA.key][0] * scale)
    new = there // PINGS_FOR_ONE
    insert(connection, USAGE_DATA, scale, at, first=there + new * (day - 1), count=new)
    for statement in NEWS:
        connection.execute(sql.SQL(statement).format(at=sql.Literal(at), day=sql.Literal(day)))


def cpu_seconds(warehouse: Warehouse) -> float:
    """CPU of the server with all that it ever started, and of the programs that we started."""
    with warehouse.connect() as connection:
        row = connection.execute("select pg_backend_pid()").fetchone()
        assert row is not None
        server = psutil.Process(psutil.Process(row[0]).ppid())
        living = [process.cpu_times() for process in (server, *server.children())]
    ended = [server.cpu_times(), psutil.Process().cpu_times()]
    return sum(time.user + time.system for time in living) + sum(
        time.children_user + time.children_system for time in ended
    )


def timed(name: str, warehouse: Warehouse, folder: Path, *arguments: str) -> float:
    """Seconds of one dbt command, told with its CPU and the server's; its last words when it fails."""
    project = str(dbt_project_directory())
    command = [dbt_program(), "--quiet", *arguments, "--project-dir", project]
    command += ["--profiles-dir", project, "--target-path", str(folder), "--log-path", str(folder)]
    began, taken = time.perf_counter(), cpu_seconds(warehouse)
    ended = subprocess.run(
        command,
        env={**os.environ, **dbt_variables(warehouse.url)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    cpu = cpu_seconds(warehouse) - taken
    failed = "" if ended.returncode == 0 else "  FAILED"
    print(f"{name:<28}{seconds:8.1f} s{cpu:8.1f} s CPU{failed}", flush=True)
    if ended.returncode:
        print(ended.stdout[-3000:])
    return seconds


def slowest(folder: Path, count: int = 8) -> None:
    """The nodes that took longest in the last run."""
    import json

    results = json.loads((folder / "run_results.json").read_text())["results"]
    for result in sorted(results, key=lambda r: -r["execution_time"])[:count]:
        print(f"    {result['execution_time']:7.1f} s  {result['unique_id'].split('.')[2]}")


def main() -> None:
    """Fill, build, parse, take a day of news, build again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, default=None, help="where data and server live")
    parser.add_argument("--days", type=int, default=2, help="of news")
    parser.add_argument("--step", choices=("all", "fill", "build", "news"), default="all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = options.folder or Path(name)
        target = folder / "target"
        with opened(folder) as warehouse:
            if options.step in ("all", "fill"):
                with warehouse.connect() as connection:
                    fill(connection, options.scale)
                # As cleaning leaves them.
                ensure_indexes(warehouse)
                timed("parse from nothing", warehouse, target, "parse")
                timed("partial parse", warehouse, target, "parse")
            exclude = ("--exclude-resource-type", "unit_test")
            if options.step in ("all", "build"):
                timed("build from nothing", warehouse, target, "build", *exclude)
                slowest(target)
            if options.step in ("all", "news"):
                for day in range(1, options.days + 1):
                    with warehouse.connect() as connection:
                        day_of_news(connection, options.scale, day)
                    timed(f"build after news of day {day}", warehouse, target, "build", *exclude)
                    slowest(target)


if __name__ == "__main__":
    main()
