"""The command ``meltano-assets``.

Thin: each verb (``commands/``) parses its words, calls the floor below and prints. Nothing heavy is
imported until a verb needs it, and Dagster only where a verb runs assets. Exit codes: 0 done,
1 failed but a retry may help, 2 failed and a retry will not help.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from meltano_assets import environment
from meltano_assets.commands.discovery import discover_command
from meltano_assets.commands.edge import report
from meltano_assets.commands.extraction import backfill, pseudonyms_app, quota_app, reconcile
from meltano_assets.commands.hosts import enrich_command, hosts_app
from meltano_assets.commands.load import load_file
from meltano_assets.commands.loading import bookmark_app, extract, quarantine_app
from meltano_assets.commands.mapping import mapping_app
from meltano_assets.commands.modelling import dbt_command, scaffold_command
from meltano_assets.commands.query import query_command
from meltano_assets.commands.roles import roles_app
from meltano_assets.commands.sandbox import sandbox_app
from meltano_assets.commands.sweeping import sweep_app
from meltano_assets.commands.sync import sync_app
from meltano_assets.commands.terminal import SuggestingGroup, out, say

app = typer.Typer(
    cls=SuggestingGroup,
    help="From vendor APIs to PostgreSQL, dbt marts and back to Salesforce.",
    epilog=(
        "Begin with: meltano-assets demo. Where things are is set by the variables of "
        ".env.example, in the environment or in the file .env. "
        "Exit codes: 0 done, 1 a retry may help, 2 it will not."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        say(f"meltano-assets {version('meltano-assets')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that belong to no verb."""


app.add_typer(bookmark_app, name="bookmark")
app.add_typer(quota_app, name="quota")
app.add_typer(pseudonyms_app, name="pseudonyms")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(sweep_app, name="sweep")
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(hosts_app, name="hosts")
app.add_typer(sync_app, name="sync")
app.add_typer(mapping_app, name="mapping")
app.add_typer(roles_app, name="roles")
app.command(
    "dbt",
    epilog="Example: meltano-assets dbt build --select marts.sales",
    options_metavar="[WORDS OF DBT]",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(dbt_command)
app.command(
    "backfill", epilog="Example: meltano-assets backfill salesforce.accounts Region__c --plan"
)(backfill)
app.command("reconcile", epilog="Example: meltano-assets reconcile zendesk --ask")(reconcile)
app.command("extract", epilog="Example: meltano-assets extract salesforce.leads --days 7")(extract)
app.command(
    "load",
    epilog="Example: zcat leads.csv.gz | meltano-assets load - --table crm.leads --primary-key id",
)(load_file)
app.command("discover", epilog="Example: meltano-assets discover billing --write")(discover_command)
app.command("scaffold", epilog="Example: meltano-assets scaffold zendesk")(scaffold_command)
app.command(
    "query",
    epilog='Example: meltano-assets query "select * from analytics.dim_accounts" --format csv',
)(query_command)
app.command("enrich", epilog="Example: meltano-assets enrich gitlab.com 1.1.1.1")(enrich_command)


@app.command(epilog="Example: meltano-assets demo --ui")
def demo(
    ui: Annotated[bool, typer.Option("--ui", help="Leave the Dagster UI running.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget earlier demos first.")] = False,
    port: Annotated[int, typer.Option(help="Port of the UI.", min=1, max=65535)] = 3000,
) -> None:
    """Run the whole graph against the sandbox company and show what happened."""
    from meltano_assets import connections
    from meltano_assets.demo.run import run_demo
    from meltano_assets.errors import FatalError

    if ui and not _is_free(port):
        raise FatalError(
            f"port {port} is in use", hint=f"choose another: --port {port % 65535 + 1}"
        )
    if fresh:
        if connections.open_sandbox() is not None:
            raise FatalError("the sandbox is in use", hint="end `meltano-assets sandbox` first")
        # One that the command before this one used may be on its way out.
        connections.release()
    try:
        code = run_demo(out, ui=ui, fresh=fresh, port=port)
    finally:
        connections.release()
    raise typer.Exit(code)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@app.command(epilog="Example: meltano-assets doctor")
def doctor() -> None:
    """Say what is missing, in words, and what to do about it."""
    from meltano_assets.doctor import diagnose

    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    findings = diagnose()
    for finding in findings:
        out.print(marks[finding.status], style=colours[finding.status], end=" ")
        say(f"{finding.name}: {finding.message}")
        if finding.next_step and finding.status != "ok":
            say(f"     → {finding.next_step}")
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(2)


class _NoPandas:
    """Says that pandas is not installed.

    Arrow looks for it when it makes its first array: a quarter of a short load's time, and nothing that
    a load of a file needs.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """No other module is found here."""
        if name == "pandas":
            raise ModuleNotFoundError(f"{name} is not needed here", name=name)


def main() -> NoReturn:
    """Run the command; every failure ends as one clear message and an exit code."""
    if sys.argv[1:2] == ["load"]:
        sys.meta_path.insert(0, _NoPandas())
        # numpy starts threads for matrices, of which a load has none.
        environment.set_default("OPENBLAS_NUM_THREADS", "1")
        # Nothing that is imported is garbage, and looking for it would take a tenth of the start.
        gc.disable()
    code = run(_app)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads on (`| head`): what is left has nowhere to go, without a complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _app() -> Any:
    from dotenv import load_dotenv

    load_dotenv(environment.project_root() / ".env")
    return app(prog_name="meltano-assets")


def run(command: Callable[[], Any]) -> int:
    """The exit code of a command; the one place where failures that nobody foresaw are caught."""
    try:
        command()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:  # noqa: BLE001 the edge: reported with its place, never passed over
        return report(error)
    return 0


if __name__ == "__main__":
    main()
