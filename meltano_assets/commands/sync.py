"""The Salesforce sync: plan, apply, runs, revert, check, show."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from meltano_assets import connections, environment
from meltano_assets.commands.terminal import SuggestingGroup, err, out, say, say_columns
from meltano_assets.errors import FatalError

sync_app = typer.Typer(
    cls=SuggestingGroup,
    help="What is written back to Salesforce.",
    epilog="Example: meltano-assets sync plan hosts --limit 5",
    no_args_is_help=True,
)


@contextmanager
def salesforce() -> Iterator[tuple[Any, bool]]:
    """A Salesforce client, and whether this environment may write with it."""
    from meltano_assets.clients.salesforce import SalesforceClient
    from meltano_assets.sources.salesforce import SALESFORCE

    is_ours = connections.is_sandbox_allowed() and not environment.is_configured(
        SALESFORCE.variables
    )
    with SalesforceClient(connections.source_settings(SALESFORCE)) as client:
        yield client, is_ours or environment.current_environment() == "production"


class Format(StrEnum):
    """How a plan is printed."""

    text = "text"
    json = "json"


Retry = Annotated[
    bool,
    typer.Option(
        "--retry",
        help="Also what Salesforce refused or a revert undid, though its row has not changed.",
    ),
]
Names = Annotated[list[str] | None, typer.Argument(metavar="[SYNC]...", help="All by default.")]


@sync_app.command("plan")
def sync_plan(
    names: Names = None,
    format: Annotated[Format, typer.Option(help="For people or for programs.")] = Format.text,
    limit: Annotated[int, typer.Option(help="Changes shown of each sync; 0 for all.", min=0)] = 20,
    retry: Retry = False,
) -> None:
    """Show what would be written, field by field; writes nothing."""
    from meltano_assets.salesforce_sync.render import render_plan, render_plans
    from meltano_assets.salesforce_sync.spec import load_spec, select_syncs
    from meltano_assets.salesforce_sync.sync import plan_sync

    plans = []
    with salesforce() as (client, _):
        for spec in select_syncs(load_spec(), names or []):
            made = plan_sync(
                connections.warehouse(),
                client,
                spec,
                now=datetime.now(UTC),
                run_id=new_run_id(),
                retry=retry,
            )
            if format is Format.json:
                plans.append(made)
            else:
                sys.stdout.write(render_plan(made, limit or None) + "\n")
    if format is Format.json:
        sys.stdout.write(render_plans(plans, limit or None) + "\n")


@sync_app.command("apply")
def sync_apply(
    names: Names = None,
    force: Annotated[bool, typer.Option("--force", help="Push what the breaker stops.")] = False,
    retry: Retry = False,
) -> None:
    """Plan and write, and say what became of every row."""
    from meltano_assets.salesforce_sync.spec import load_spec, select_syncs
    from meltano_assets.salesforce_sync.sync import run_sync

    with salesforce() as (client, may_write):
        if not may_write:
            raise FatalError(
                f"the environment {environment.current_environment()} does not write to vendors",
                source="salesforce",
                hint="`sync plan` shows the changes; MELTANO_ENVIRONMENT=production writes them",
            )
        run_id = new_run_id()
        sent = 0
        for spec in select_syncs(load_spec(), names or []):
            with err.status(f"{spec.name} ...") as status:
                outcome = run_sync(
                    connections.warehouse(),
                    client,
                    spec,
                    push=True,
                    now=datetime.now(UTC),
                    run_id=run_id,
                    force=force,
                    retry=retry,
                    on_progress=lambda so_far: status.update(
                        f"{so_far.sync}: {so_far.done:,} of {so_far.total:,}"
                    ),
                )
            print_sync(spec.name, outcome)
            sent += outcome.created + outcome.updated + outcome.deleted
        if sent:
            say(f"undo with: meltano-assets sync revert {run_id}")


@sync_app.command("runs")
def sync_runs(
    format: Annotated[Format, typer.Option(help="For people or for programs.")] = Format.text,
    limit: Annotated[int, typer.Option(help="How many runs, last first.", min=1)] = 20,
) -> None:
    """The last runs with their counts, and what to revert them by."""
    from meltano_assets.salesforce_sync.sync import recent_runs

    runs = recent_runs(connections.warehouse(), limit)
    if format is Format.json:
        out.print_json(data=runs, default=str)
        return
    counts = ("created", "updated", "deleted", "unchanged", "parked", "failed")
    say_columns(
        ("run", "sync", "state", "planned at", *counts),
        [
            [
                str(run["run_id"]),
                str(run["sync"]),
                str(run["state"]),
                f"{run['planned_at']:%Y-%m-%d %H:%M:%S}",
                *("" if run[name] is None else f"{run[name]:,}" for name in counts),
            ]
            for run in runs
        ],
    )


@sync_app.command("revert")
def sync_revert(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run to undo.")],
) -> None:
    """Give every field that a run changed its earlier value, unless somebody changed it since."""
    from meltano_assets.salesforce_sync.revert import revert_run
    from meltano_assets.salesforce_sync.spec import load_spec

    with salesforce() as (client, may_write), err.status(f"{run_id} ...") as status:
        outcomes = revert_run(
            connections.warehouse(),
            client,
            load_spec(),
            run_id,
            now=datetime.now(UTC),
            new_run_id=new_run_id(),
            push=may_write,
            on_progress=lambda so_far: status.update(
                f"{so_far.sync}: {so_far.done:,} of {so_far.total:,}"
            ),
        )
    for outcome in outcomes:
        print_sync(outcome.sync, outcome)
    if not may_write:
        say(
            f"Nothing was written: the environment {environment.current_environment()} does not "
            "write to vendors. MELTANO_ENVIRONMENT=production undoes the run."
        )


@sync_app.command("check")
def sync_check() -> None:
    """Compare the org with what the syncs need; say exactly what to create."""
    from meltano_assets.salesforce_sync.check import check_org, needed_permissions
    from meltano_assets.salesforce_sync.spec import load_spec

    specs = load_spec().values()
    with salesforce() as (client, _):
        findings = check_org(client, specs)
    for finding in findings:
        where = ".".join(filter(None, (finding.object, finding.field)))
        say(f"{finding.level}: {where}: {finding.problem}\n  → {finding.fix}")
    if findings:
        say("The permission set of the integration user needs:")
        for line in needed_permissions(specs):
            say(f"  {line}")
    else:
        say("The org has all that the syncs need.")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)


@sync_app.command("show")
def sync_show(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="External id or Salesforce id.")],
    format: Annotated[Format, typer.Option(help="For people or for programs.")] = Format.text,
) -> None:
    """The history of one record: what was sent, when, and what came of it."""
    from meltano_assets.salesforce_sync.render import render_history
    from meltano_assets.salesforce_sync.sync import show_record

    history = show_record(connections.warehouse(), record)
    if not any(history.values()):
        raise FatalError(
            f"no sync has ever sent anything for {record!r}",
            hint="name it by its external id (meltano_id__c) or its Salesforce id",
        )
    if format is Format.json:
        out.print_json(data=history, default=str)
    else:
        sys.stdout.write(render_history(history) + "\n")


def new_run_id() -> str:
    """An id for a run that no Dagster run stands behind."""
    return f"cli-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def print_sync(name: str, outcome: Any) -> None:
    """One sync's counts in one line, and the reasons of what was not accepted."""
    if not outcome.is_pushed:
        made = outcome.plan.changes
        deletions = sum(change.action == "delete" for change in made)
        say(
            f"{name}: would change {len(made) - deletions:,} and delete {deletions:,}, "
            f"{outcome.skipped:,} left alone"
        )
        return
    say(
        f"{name}: {outcome.created:,} created, {outcome.updated:,} updated, "
        f"{outcome.deleted:,} deleted, {outcome.unchanged:,} unchanged, {outcome.parked:,} parked, "
        f"{outcome.failed:,} failed, {outcome.skipped:,} left alone  ({outcome.seconds:.1f} s)"
    )
    for reason, count in outcome.reasons.items():
        say(f"  {count:,} × {reason}")
