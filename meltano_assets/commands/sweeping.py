"""Looking for rows that vendors have deleted without telling: the verbs ``sweep show`` and ``run``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from meltano_assets import connections
from meltano_assets.commands.terminal import SuggestingGroup, err, find_streams, say, say_columns
from meltano_assets.errors import FatalError, PlatformError

if TYPE_CHECKING:
    from meltano_assets.extraction import OpenSource
    from meltano_assets.streams import Stream
    from meltano_assets.sweeping import Swept

sweep_app = typer.Typer(
    cls=SuggestingGroup,
    help="Rows that a vendor deleted without telling.",
    epilog="Example: meltano-assets sweep run license.licenses",
    no_args_is_help=True,
)


@sweep_app.command("show")
def sweep_show(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE[.STREAM]]")] = None,
) -> None:
    """Show the last pass over the keys of each stream that has sweeps, and when the next is due."""
    from meltano_assets.sources.registry import registered
    from meltano_assets.sweeping import due
    from meltano_assets.warehouse.sweep import last_pass

    warehouse = connections.warehouse()
    streams = find_streams(name)[1] if name else [each for s in registered() for each in s.streams]
    now = datetime.now(UTC)
    rows = []
    for stream in streams:
        if stream.sweep is None:
            continue
        last, when = last_pass(warehouse, stream), due(warehouse, stream, now=now)
        rows.append(
            (
                stream.key,
                f"{last.state}, {last.keys:,} keys" if last else "none yet",
                f"{last.began_at:%Y-%m-%d %H:%M}" if last else "",
                "" if last is None or last.vanished is None else f"{last.vanished:,}",
                "" if last is None or last.marked is None else f"{last.marked:,}",
                "" if when is None else "now" if when <= now else f"{when:%Y-%m-%d %H:%M}",
            )
        )
    say_columns(("stream", "last pass", "began", "vanished", "marked", "next"), rows)


@sweep_app.command("run")
def sweep_run(
    name: Annotated[str, typer.Argument(metavar="SOURCE.STREAM")],
    calls: Annotated[int | None, typer.Option(min=1, help="Spend at most so many calls.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="However many rows the vendor no longer has.")
    ] = False,
) -> None:
    """Go on with the pass over a stream's keys now, or begin one, due or not.

    At its end rows that the vendor no longer has are marked as deleted. One that was refused because
    it found too many is repeated with --accept.
    """
    from meltano_assets.extraction import open_source
    from meltano_assets.streams import Sweep
    from meltano_assets.sweeping import sweep

    source, streams = find_streams(name)
    if len(streams) != 1:
        raise FatalError(f"{name} is a source", hint="name one stream of it: SOURCE.STREAM")
    warehouse = connections.warehouse()
    with open_source(
        source,
        connections.source_settings(source),
        warehouse=warehouse,
        rules=connections.source_rules(source),
        is_sandbox=connections.is_sandbox(source.variables),
    ) as opened:
        stream = opened.resolve(streams[0])
        plan = stream.sweep or Sweep()
        if accept:
            plan = replace(plan, max_vanished=1.0)
        with err.status(f"keys of {stream.key} ..."):
            swept = sweep(opened, stream, warehouse, now=datetime.now(UTC), plan=plan, calls=calls)
    if swept is None:
        raise FatalError("another process reads these keys", stream=name, hint="wait for it to end")
    _say(stream, swept)
    if not swept.is_healthy:
        raise typer.Exit(1)


def sweep_when_due(opened: OpenSource, stream: Stream) -> None:
    """This run's part of the pass over the stream's keys, where one is due.

    What was loaded is committed, so a failure here is only told.
    """
    from meltano_assets.sweeping import due, sweep

    warehouse, now = connections.warehouse(), datetime.now(UTC)
    when = due(warehouse, stream, now=now)
    if when is None or when > now or opened.stopped is not None:
        return
    try:
        with err.status(f"keys of {stream.key} ..."):
            swept = sweep(opened, stream, warehouse, now=now)
    except PlatformError as error:
        err.print(f"[yellow]keys were not read:[/] {escape(str(error))}", soft_wrap=True)
        return
    if swept is not None:
        _say(stream, swept)


def _say(stream: Stream, swept: Swept) -> None:
    facts = ", ".join(f"{name} {value}" for name, value in swept.facts().items())
    say(f"{stream.key}: {facts}")
    if swept.of.state == "refused":
        say(
            "  too many rows are gone to believe it: can the integration user still see them all?"
            f" If they are, `meltano-assets sweep run {stream.key} --accept`"
        )
