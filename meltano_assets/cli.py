"""The command ``meltano-assets``.

Thin: each verb parses its words, calls the floor below and prints. Nothing heavy is imported until
a verb needs it, and Dagster only where a verb runs assets. Exit codes: 0 done, 1 failed but a retry
may help, 2 failed and a retry will not help.
"""

from __future__ import annotations

import difflib
import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from meltano_assets import connections, environment
from meltano_assets.errors import FatalError, PlatformError, RetriableError

if TYPE_CHECKING:
    from meltano_assets.sources.base import Source
    from meltano_assets.streams import LoadOutcome, Stream

out = Console()
err = Console(stderr=True)


class SuggestingGroup(TyperGroup):
    """A command group that answers a wrong name with the nearest right one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name = args[0] if args else ""
        if name and self.get_command(ctx, name) is None:
            ctx.fail(f"No command {name!r}." + nearest(name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def nearest(name: str, choices: list[str]) -> str:
    """`` Did you mean …?`` for a misspelt name, else the choices."""
    matches = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if matches:
        return " Did you mean " + " or ".join(matches) + "?"
    return " There are: " + ", ".join(choices) + "."


app = typer.Typer(
    cls=SuggestingGroup,
    help="From vendor APIs to PostgreSQL, dbt marts and back to Salesforce.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
bookmark_app = typer.Typer(
    cls=SuggestingGroup, help="How far each stream is loaded.", no_args_is_help=True
)
sandbox_app = typer.Typer(
    cls=SuggestingGroup,
    help="The simulated company: every vendor on loopback.",
    invoke_without_command=True,
)
hosts_app = typer.Typer(cls=SuggestingGroup, help="Host names.", no_args_is_help=True)
sync_app = typer.Typer(
    cls=SuggestingGroup, help="What is written back to Salesforce.", no_args_is_help=True
)
app.add_typer(bookmark_app, name="bookmark")
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(hosts_app, name="hosts")
app.add_typer(sync_app, name="sync")


class Output(StrEnum):
    """Where extracted records go."""

    db = "db"
    file = "file"


# --- the main job -------------------------------------------------------------------------------


@app.command()
def demo(
    ui: Annotated[bool, typer.Option("--ui", help="Leave the Dagster UI running.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget earlier demos first.")] = False,
    port: Annotated[int, typer.Option(help="Port of the UI.")] = 3000,
) -> None:
    """Run the whole graph against the sandbox company and show what happened."""
    from meltano_assets.demo.run import run_demo

    raise typer.Exit(run_demo(out, ui=ui, fresh=fresh, port=port))


@app.command()
def extract(
    name: Annotated[str, typer.Argument(metavar="SOURCE[.STREAM]")],
    start: Annotated[str | None, typer.Option(help="Read from this ISO time on.")] = None,
    end: Annotated[str | None, typer.Option(help="Read up to this ISO time.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Read the last N days.")] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Read everything; forget the bookmark.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after N records.")] = None,
    output: Annotated[Output, typer.Option(help="Load the warehouse, or write files.")] = Output.db,
    folder: Annotated[
        Path, typer.Option(help="Folder for --output file; one Parquet file a stream.")
    ] = Path(),
) -> None:
    """Read a source, or one stream of it, into the warehouse or into Parquet files."""
    from meltano_assets.streams import ReadOptions

    source, streams = find_streams(name)
    if days is not None and start is not None:
        raise FatalError("--days and --start exclude each other", hint="leave one out")
    since = datetime.now(UTC) - timedelta(days=days) if days else _time("--start", start)
    options = ReadOptions(
        full_refresh=full_refresh, start=since, end=_time("--end", end), limit=limit
    )
    with source.connect(connections.source_settings(source)) as reader:
        for stream in streams:
            if output is Output.file:
                path, rows = _extract_to_file(reader, stream, options, folder)
                out.print(f"{stream.key}: {rows} records in {path}")
                continue
            print_outcome(stream.key, _extract_to_warehouse(reader, stream, options))


def _extract_to_warehouse(reader: Any, stream: Stream, options: Any) -> LoadOutcome:
    from meltano_assets.warehouse import state
    from meltano_assets.warehouse.load import load

    warehouse = connections.warehouse()
    bookmark = state.read_bookmark(warehouse, stream.source, stream.name)
    batches = reader.read(stream, bookmark, options, now=datetime.now(UTC))
    with err.status(f"{stream.key} ...") as status:
        return load(
            warehouse,
            stream,
            batches,
            environment=environment.current_environment(),
            full_refresh=options.full_refresh,
            on_progress=lambda so_far: status.update(f"{stream.key}: {so_far.read:,} records"),
        )


def _extract_to_file(reader: Any, stream: Stream, options: Any, folder: Path) -> tuple[Path, int]:
    from meltano_assets.warehouse.files import write_parquet

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stream.source}.{stream.name}.parquet"
    batches = reader.read(stream, None, options, now=datetime.now(UTC))
    return path, write_parquet(path, (batch.records for batch in batches))


def find_streams(name: str) -> tuple[Source, list[Stream]]:
    """``SOURCE`` or ``SOURCE.STREAM`` by name; FatalError suggests the nearest."""
    from meltano_assets.sources import SOURCES

    source_name, _, stream_name = name.partition(".")
    by_name = {source.name: source for source in SOURCES}
    source = by_name.get(source_name)
    if source is None:
        raise FatalError(f"no source {source_name!r}." + nearest(source_name, list(by_name)))
    if not stream_name:
        return source, list(source.streams)
    streams = {stream.name: stream for stream in source.streams}
    if stream_name not in streams:
        raise FatalError(
            f"{source_name} has no stream {stream_name!r}." + nearest(stream_name, list(streams))
        )
    return source, [streams[stream_name]]


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FatalError(
            f"{option} {text!r} is not an ISO time", hint="write 2026-01-31 or 2026-01-31T12:00Z"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def print_outcome(name: str, outcome: LoadOutcome) -> None:
    """The account of rows in one line, and what was changed on the way."""
    out.print(
        f"{name}: read {outcome.read:,} = loaded {outcome.loaded:,} + unchanged "
        f"{outcome.unchanged:,} + superseded {outcome.superseded:,} + quarantined "
        f"{outcome.quarantined:,}  ({outcome.seconds:.1f} s)",
        highlight=False,
    )
    for change in outcome.schema_changes:
        out.print(f"  schema: {change}", highlight=False)
    for rule, count in outcome.cleaned.items():
        out.print(f"  cleaned: {count:,} × {rule}", highlight=False)


# --- the sandbox --------------------------------------------------------------------------------


@sandbox_app.callback()
def sandbox(
    ctx: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready, nothing else.")
    ] = False,
    scale: Annotated[float, typer.Option(help="Size of the company.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed, another company.")] = 1,
    today: Annotated[str | None, typer.Option(help="The company's present, YYYY-MM-DD.")] = None,
    port_base: Annotated[
        int | None, typer.Option(help="Fixed ports from here on, instead of free ones.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Misbehave: SERVICE:KIND[:COUNT]; may be repeated.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Folder of the company's state.")] = None,
) -> None:
    """Serve the sandbox company until interrupted."""
    if ctx.invoked_subcommand is not None:
        return
    from meltano_assets.sandbox.server import run

    server = connections.embedded_server()

    def announce(manifest: dict[str, Any]) -> None:
        if as_json:
            sys.stdout.write(json.dumps(manifest) + "\n")
            sys.stdout.flush()
            return
        out.print("The sandbox company is open. Stop it with Ctrl-C.")
        for service, settings in manifest.items():
            where = settings.get("base_url") or settings.get("url") or settings.get("host")
            out.print(f"  {service:12} {where}", highlight=False)

    try:
        run(
            state_dir=state or environment.state_directory() / "sandbox" / "company",
            postgres_url=server.url("postgres"),
            seed=seed,
            scale=scale,
            today=_time("--today", today),
            port_base=port_base,
            faults=fault or [],
            on_ready=announce,
        )
    except ValueError as error:
        raise FatalError(str(error), source="sandbox") from None
    except OSError as error:
        raise RetriableError(f"a port cannot be used: {error.strerror}", source="sandbox") from None


@sandbox_app.command("advance")
def sandbox_advance(
    by: Annotated[str, typer.Argument(metavar="Nd", help="Days, such as 1d.")] = "1d",
) -> None:
    """Move the running sandbox company forward in time."""
    text = by.removesuffix("d")
    if not text.isdigit() or int(text) < 1:
        raise FatalError(f"{by!r} is not a number of days", hint="write 1d")
    from meltano_assets.demo.run import advance_company

    out.print_json(data=advance_company(int(text)))


# --- bookmarks -----------------------------------------------------------------------------------


@bookmark_app.command("show")
def bookmark_show(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE[.STREAM]]")] = None,
) -> None:
    """Show how far each stream is committed."""
    from rich.table import Table

    from meltano_assets.sources import SOURCES
    from meltano_assets.warehouse import state

    streams = find_streams(name)[1] if name else [stream for s in SOURCES for stream in s.streams]
    warehouse = connections.warehouse()
    table = Table("stream", "bookmark", "cursor", box=None)
    for stream in streams:
        bookmark = state.read_bookmark(warehouse, stream.source, stream.name)
        value = (bookmark.value if bookmark else None) or "never loaded"
        table.add_row(stream.key, value, (bookmark.cursor if bookmark else None) or "")
    out.print(table)


@bookmark_app.command("set")
def bookmark_set(
    name: Annotated[str, typer.Argument(metavar="SOURCE.STREAM")],
    value: Annotated[str, typer.Argument(help="The replication key to begin again from.")],
) -> None:
    """Begin the next read of a stream from VALUE."""
    from meltano_assets.streams import Bookmark
    from meltano_assets.warehouse import state

    _, streams = find_streams(name)
    if len(streams) != 1:
        raise FatalError(f"{name} is a source", hint="name one stream of it")
    state.set_bookmark(
        connections.warehouse(), streams[0].source, streams[0].name, Bookmark(value=value)
    )
    out.print(f"{streams[0].key} continues from {value}")


@bookmark_app.command("rewind")
def bookmark_rewind(
    name: Annotated[str, typer.Argument(metavar="SOURCE.STREAM")],
) -> None:
    """Go back to the bookmark before the last one."""
    from meltano_assets.warehouse import state

    _, streams = find_streams(name)
    if len(streams) != 1:
        raise FatalError(f"{name} is a source", hint="name one stream of it")
    bookmark = state.rewind_bookmark(connections.warehouse(), streams[0].source, streams[0].name)
    out.print(f"{streams[0].key} continues from {bookmark.value if bookmark else 'the beginning'}")


# --- hosts and the Salesforce sync --------------------------------------------------------------


@hosts_app.command("clean")
def hosts_clean(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="One raw host a line.")],
) -> None:
    """Print CSV: kind and parts of each raw host, in input order."""
    from meltano_assets.hosts.clean import clean_lines

    if file == "-":
        clean_lines(sys.stdin.buffer, sys.stdout)
        return
    with open_file(file) as lines:
        clean_lines(lines, sys.stdout)


def open_file(name: str) -> BinaryIO:
    """The file for reading; FatalError when it is not there."""
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise FatalError(f"cannot read {name}: {error.strerror}") from None


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


Names = Annotated[list[str] | None, typer.Argument(metavar="[SYNC]...", help="All by default.")]


@sync_app.command("plan")
def sync_plan(
    names: Names = None,
    format: Annotated[Format, typer.Option(help="text or json")] = Format.text,
    limit: Annotated[int, typer.Option(help="Changes shown of each sync; 0 for all.")] = 20,
) -> None:
    """Show what would be written, field by field; writes nothing."""
    from meltano_assets.salesforce_sync.render import render_plan
    from meltano_assets.salesforce_sync.spec import load_spec, select_syncs
    from meltano_assets.salesforce_sync.sync import plan_sync

    with salesforce() as (client, _):
        for spec in select_syncs(load_spec(), names or []):
            made = plan_sync(
                connections.warehouse(), client, spec, now=datetime.now(UTC), run_id=new_run_id()
            )
            sys.stdout.write(render_plan(made, format.value, limit or None) + "\n")


@sync_app.command("apply")
def sync_apply(
    names: Names = None,
    force: Annotated[bool, typer.Option("--force", help="Push what the breaker stops.")] = False,
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
                    on_progress=lambda so_far: status.update(
                        f"{so_far.sync}: {so_far.done:,} of {so_far.total:,}"
                    ),
                )
            print_sync(spec.name, outcome)
        out.print(f"undo with: meltano-assets sync revert {run_id}", highlight=False)


@sync_app.command("revert")
def sync_revert(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run to undo.")],
) -> None:
    """Give every field that a run changed its earlier value, unless somebody changed it since."""
    from meltano_assets.salesforce_sync.revert import revert_run
    from meltano_assets.salesforce_sync.spec import load_spec

    with salesforce() as (client, may_write):
        outcomes = revert_run(
            connections.warehouse(),
            client,
            load_spec(),
            run_id,
            now=datetime.now(UTC),
            new_run_id=new_run_id(),
            push=may_write,
        )
    for outcome in outcomes:
        print_sync(outcome.sync, outcome)


@sync_app.command("check")
def sync_check() -> None:
    """Compare the org with what the syncs need; say exactly what to create."""
    from meltano_assets.salesforce_sync.check import check_org
    from meltano_assets.salesforce_sync.spec import load_spec

    with salesforce() as (client, _):
        findings = check_org(client, load_spec().values())
    for finding in findings:
        where = ".".join(filter(None, (finding.object, finding.field)))
        out.print(
            f"{finding.level}: {where}: {finding.problem}\n  → {finding.fix}", highlight=False
        )
    if not findings:
        out.print("The org has all that the syncs need.")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)


@sync_app.command("show")
def sync_show(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="External id or Salesforce id.")],
) -> None:
    """The history of one record: what was sent, when, and what came of it."""
    from meltano_assets.salesforce_sync.sync import show_record

    out.print_json(data=show_record(connections.warehouse(), record), default=str)


def new_run_id() -> str:
    """An id for a run that no Dagster run stands behind."""
    return f"cli-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def print_sync(name: str, outcome: Any) -> None:
    """One sync's counts in one line, and the reasons of what was not accepted."""
    out.print(
        f"{name}: {outcome.created:,} created, {outcome.updated:,} updated, "
        f"{outcome.deleted:,} deleted, {outcome.unchanged:,} unchanged, {outcome.parked:,} parked, "
        f"{outcome.failed:,} failed  ({outcome.seconds:.1f} s)",
        highlight=False,
    )
    for reason, count in outcome.reasons.items():
        out.print(f"  {count:,} × {reason}", highlight=False)


# --- health -------------------------------------------------------------------------------------


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


# --- edge ---------------------------------------------------------------------------------------


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
