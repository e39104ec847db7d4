"""The command ``meltano-assets``.

Thin: each verb (``commands/``) parses its words, calls the floor below and prints. Nothing heavy is
imported until a verb needs it, and Dagster only where a verb runs assets. Exit codes: 0 done,
1 failed but a retry may help, 2 failed and a retry will not help.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from meltano_assets import environment
from meltano_assets.commands.hosts import enrich_command, hosts_app
from meltano_assets.commands.loading import bookmark_app, extract, load_file, quarantine_app
from meltano_assets.commands.sandbox import sandbox_app
from meltano_assets.commands.sync import sync_app
from meltano_assets.commands.terminal import SuggestingGroup, err, out
from meltano_assets.errors import PlatformError

app = typer.Typer(
    cls=SuggestingGroup,
    help="From vendor APIs to PostgreSQL, dbt marts and back to Salesforce.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(bookmark_app, name="bookmark")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(hosts_app, name="hosts")
app.add_typer(sync_app, name="sync")
app.command("extract")(extract)
app.command("load")(load_file)
app.command("enrich")(enrich_command)


@app.command()
def demo(
    ui: Annotated[bool, typer.Option("--ui", help="Leave the Dagster UI running.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget earlier demos first.")] = False,
    port: Annotated[int, typer.Option(help="Port of the UI.")] = 3000,
) -> None:
    """Run the whole graph against the sandbox company and show what happened."""
    from meltano_assets import connections
    from meltano_assets.demo.run import run_demo

    try:
        code = run_demo(out, ui=ui, fresh=fresh, port=port)
    finally:
        connections.release()
    raise typer.Exit(code)


@app.command()
def doctor() -> None:
    """Say what is missing, in words, and what to do about it."""
    from meltano_assets.doctor import diagnose

    marks = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]"}
    findings = diagnose()
    for finding in findings:
        out.print(f"{marks[finding.status]} {finding.name}: {finding.message}", highlight=False)
        if finding.next_step and finding.status != "ok":
            out.print(f"     → {finding.next_step}", highlight=False)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(2)


def main() -> NoReturn:
    """Run the command; every failure ends as one clear message and an exit code."""
    from dotenv import load_dotenv

    load_dotenv(environment.project_root() / ".env")
    try:
        app()
    except PlatformError as error:
        err.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    sys.exit(0)


if __name__ == "__main__":
    main()
