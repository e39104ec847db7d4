"""What a run left behind: a table of what landed where, and the headlines from the marts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from meltano_assets import connections
from meltano_assets.demo.story import HOPS, AssetAccount, Story

#: Title → query and how a row reads.
HEADLINES: Mapping[str, tuple[LiteralString, str]] = {
    "Sales-accepted opportunities by source": (
        """
        select source_group, count(*),
            count(*) filter (
                where sales_accepted_date >= date_trunc('month', latest) - interval '1 month'
                    and sales_accepted_date < date_trunc('month', latest)
            )
        from analytics.fct_sales_accepted_opportunities,
            (select max(sales_accepted_date) as latest
             from analytics.fct_sales_accepted_opportunities) as newest
        group by source_group order by 2 desc
        """,
        "{0:14} {1:>6,} in all, {2:>4,} in the last full month",
    ),
    "Cost of acquisition, last three full months": (
        """
        select to_char(month_start_date, 'YYYY-MM'), spend, cost_per_lead,
            cost_per_sales_accepted_opportunity
        from analytics.agg_acquisition_monthly
        where cost_per_sales_accepted_opportunity is not null
            and month_start_date < (
                select max(date_trunc('month', sales_accepted_date))
                from analytics.fct_sales_accepted_opportunities
            )
        order by month_start_date desc limit 3
        """,
        "{0}  spend {1:>11,.0f}   per lead {2:>7,.0f}   per SAO {3:>7,.0f}  USD",
    ),
    "Hosts by kind": (
        "select kind, count(*) from hosts.cleaned_hosts group by kind order by 2 desc",
        "{0:14} {1:>6,}",
    ),
    "Written to Salesforce by this run": (
        """
        select object, sync, created, updated, unchanged from salesforce_sync.runs
        where run_id = (select run_id from salesforce_sync.runs order by number desc limit 1)
        order by number
        """,
        "{0:10} {1:16} {2:>4,} created, {3:>4,} updated, {4:>5,} unchanged",
    ),
    "For example": (
        """
        select c.action, r.object, coalesce(c.after ->> 'Name', c.key),
            (select string_agg(field, ', ')
             from (select jsonb_object_keys(c.after) as field limit 4) as sent_fields)
        from salesforce_sync.changes as c
        inner join salesforce_sync.runs as r on r.number = c.run_number
        where c.state = 'sent' and r.run_id = (
            select run_id from salesforce_sync.runs order by number desc limit 1
        )
        order by c.action, r.object, c.position limit 5
        """,
        "{0:7} {1:10} {2:28} {3}",
    ),
}


def print_report(out: Console, story: Story, seconds: float, *, is_first: bool) -> None:
    out.print()
    out.print(_landed_table(story))
    for title, rows in _headlines().items():
        if rows:
            out.print(f"\n[bold]{title}[/]")
            for row in rows:
                out.print(f"  {row}", highlight=False)
    out.print()
    for failure in story.failures:
        out.print(f"[red]failed[/] {escape(failure)}", highlight=False)
    for account in story.accounts.values():
        for check in account.failed_checks:
            out.print(f"[yellow]check failed[/] {account.key}: {check}", highlight=False)
    checks = sum(account.passed + account.failed for account in story.accounts.values())
    what = "First run" if is_first else "Incremental run"
    out.print(
        f"{what}: {len(story.accounts)} assets and {checks} checks in {seconds:.0f} s.",
        highlight=False,
    )


def _landed_table(story: Story) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title="What landed where",
        title_justify="left",
    )
    # Where the terminal is narrow, long names go on in a second line: a number is never cut.
    table.add_column("", overflow="fold")
    for name in ("read", "loaded", "unchanged", "quarantined", "sec", "checks"):
        table.add_column(name, justify="right", no_wrap=True)
    accounts = sorted(story.accounts.values(), key=lambda a: (HOPS.index(a.hop), a.key))
    models: dict[str, list[AssetAccount]] = {}
    for account in accounts:
        if account.hop == "dbt":
            models.setdefault(account.group, []).append(account)
    for hop in HOPS:
        if hop == "dbt":
            for group, members in sorted(models.items(), key=_layer):
                table.add_row(*_group_row(group, members))
        else:
            for account in accounts:
                if account.hop == hop:
                    cells = [account.key, *_cells(account.facts), _checks_cell([account])]
                    table.add_row(*cells)
        table.add_section()
    return table


def _layer(entry: tuple[str, object]) -> tuple[int, str]:
    layers = ("seeds", "staging", "snapshots", "intermediate", "marts")
    group = entry[0]
    first = group.split("/")[0]
    return (layers.index(first) if first in layers else len(layers), group)


def _group_row(group: str, members: list[AssetAccount]) -> list[str]:
    """One line for the models of one folder."""
    rows = [account.facts.get("dagster/row_count") for account in members]
    counted = [row for row in rows if row is not None]
    seconds = sum(account.facts.get("Execution Duration") or 0 for account in members)
    name = f"{group} ({len(members)})"
    built = f"{sum(counted):,}" if counted else "views"
    return [name, "", built, "", "", f"{seconds:.1f}", _checks_cell(members)]


def _cells(facts: Mapping[str, Any]) -> list[str]:
    """Read, loaded, unchanged, set aside (quarantined or parked), seconds."""
    if "read" in facts:
        loaded = (facts.get("inserted") or 0) + (facts.get("updated") or 0)
        cells = [facts["read"], loaded, facts.get("unchanged"), facts.get("quarantined")]
    elif "sent" in facts:
        aside = (facts.get("parked") or 0) + (facts.get("failed") or 0)
        rows = facts.get("dagster/row_count")
        cells = [rows, facts["sent"], facts.get("unchanged"), aside]
    elif "hits" in facts:
        asked = (facts["hits"] or 0) + (facts.get("misses") or 0)
        aside = (facts.get("pending") or 0) + (facts.get("failed") or 0)
        cells = [asked + aside, asked, facts.get("cached"), aside]
    else:
        cells = [None, facts.get("dagster/row_count"), None, None]
    texts = ["" if cell is None else f"{cell:,}" for cell in cells]
    seconds = facts.get("seconds")
    return [*texts, "" if seconds is None else f"{seconds:.1f}"]


def _checks_cell(accounts: list[AssetAccount]) -> str:
    passed = sum(account.passed for account in accounts)
    failed = sum(account.failed for account in accounts)
    if failed:
        return f"[red]{passed} of {passed + failed}[/]"
    return f"[green]{passed} ✓[/]" if passed else ""


def _headlines() -> dict[str, list[str]]:
    """What the run found out, from the tables that it built."""
    return {title: _rows(query, template) for title, (query, template) in HEADLINES.items()}


def _rows(query: LiteralString, template: str) -> list[str]:
    from psycopg.errors import UndefinedTable

    with connections.warehouse().connect() as connection:
        try:
            rows = connection.execute(query).fetchall()
        except UndefinedTable:
            return []
    return [template.format(*row) for row in rows]
