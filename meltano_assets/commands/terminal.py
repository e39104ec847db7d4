"""What all verbs share: the two consoles, names with suggestions, times, the account of rows."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    from meltano_assets.sources.base import Source
    from meltano_assets.streams import LoadOutcome, Stream

#: The option of every verb that loads.
Wait = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long to wait for another load of the same table; 0 refuses at once.",
    ),
]

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """One line as it is: not wrapped, not coloured, brackets are brackets."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def say_columns(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under headers, each column as wide as its widest value; nothing is cut off."""
    lines = [list(headers), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headers))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())


class SuggestingGroup(TyperGroup):
    """A command group that answers a wrong name with the nearest right one.

    Help is folded to the terminal's width: the lines of a docstring are those of the code.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:
            paragraphs = inspect.cleandoc(command.help).split("\n\n")
            command.help = "\n\n".join(" ".join(lines.split()) for lines in paragraphs)
        return command

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_place)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name = args[0] if args else ""
        if name and self.get_command(ctx, name) is None:
            ctx.fail(f"No command {name!r}." + nearest(name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


#: In the order in which a newcomer meets them; the verbs of a group keep their own.
_VERBS = (
    "demo",
    "extract",
    "load",
    "bookmark",
    "backfill",
    "reconcile",
    "sweep",
    "quota",
    "quarantine",
    "pseudonyms",
    "hosts",
    "enrich",
    "sync",
    "query",
    "mapping",
    "dbt",
    "roles",
    "discover",
    "scaffold",
    "sandbox",
    "doctor",
)


def _place(verb: str) -> int:
    return _VERBS.index(verb) if verb in _VERBS else len(_VERBS)


def nearest(name: str, choices: list[str]) -> str:
    """`` Did you mean …?`` for a misspelt name, else the choices."""
    matches = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if matches:
        return " Did you mean " + " or ".join(matches) + "?"
    return " There are: " + ", ".join(choices) + "."


def find_source(name: str) -> Source:
    """The source of that name; FatalError suggests the nearest."""
    from meltano_assets.sources.registry import registered

    by_name = {source.name: source for source in registered()}
    source = by_name.get(name)
    if source is None:
        raise FatalError(f"no source {name!r}." + nearest(name, list(by_name)))
    return source


def find_streams(name: str) -> tuple[Source, list[Stream]]:
    """``SOURCE`` or ``SOURCE.STREAM`` by name; FatalError suggests the nearest, or where to look."""
    source_name, _, stream_name = name.partition(".")
    source = find_source(source_name)
    if not source.streams:
        raise FatalError(
            "none of its tables or streams is known yet",
            source=source_name,
            hint=f"meltano-assets discover {source_name} --write",
        )
    if not stream_name:
        return source, list(source.streams)
    streams = {stream.name: stream for stream in source.streams}
    if stream_name not in streams:
        raise FatalError(
            f"{source_name} has no stream {stream_name!r}." + nearest(stream_name, list(streams))
        )
    return source, [streams[stream_name]]


def parse_time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FatalError(
            f"{option} {text!r} is not an ISO time", hint="write 2026-01-31 or 2026-01-31T12:00Z"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def print_outcome(name: str, outcome: LoadOutcome, *, to: Console | None = None) -> None:
    """The account of rows in one line, what was changed on the way, and where to look."""
    console = to or out

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    line(
        f"{name}: read {outcome.read:,} = loaded {outcome.loaded:,} + unchanged "
        f"{outcome.unchanged:,} + superseded {outcome.superseded:,} + quarantined "
        f"{outcome.quarantined:,}  ({outcome.seconds:.1f} s)"
    )
    if outcome.deleted:
        line(f"  deleted: {outcome.deleted:,}")
    for change in outcome.schema_changes:
        line(f"  schema: {change}")
    for rule, count in outcome.cleaned.items():
        line(f"  cleaned: {count:,} × {rule}")
    if outcome.quarantined:
        line(f"  why {outcome.quarantined:,} wait: meltano-assets quarantine show {name}")
