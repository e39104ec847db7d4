"""What extraction costs and keeps: quota, backfill, reconciliation, pseudonyms."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from meltano_assets import connections, environment
from meltano_assets.commands.terminal import (
    SuggestingGroup,
    err,
    find_source,
    find_streams,
    say,
    say_columns,
)
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    from meltano_assets.extraction import OpenSource
    from meltano_assets.sources.base import Source
    from meltano_assets.streams import Stream

quota_app = typer.Typer(
    cls=SuggestingGroup,
    help="Calls to vendors, and how many are left.",
    epilog="Example: meltano-assets quota show salesforce",
    no_args_is_help=True,
)
pseudonyms_app = typer.Typer(
    cls=SuggestingGroup,
    help="Personal values as keyed hashes.",
    epilog="Example: meltano-assets pseudonyms rotate",
    no_args_is_help=True,
)


@quota_app.command("show")
def quota_show(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE]")] = None,
) -> None:
    """Show what each vendor's window holds: calls made by whom, our limits, and the reset.

    Limits are the source's own until `quota:` in streams.yml sets others.
    """
    from meltano_assets.sources.registry import registered
    from meltano_assets.warehouse.quota import QuotaLedger, quota_window

    sources = [find_source(name)] if name else list(registered())
    ledger = QuotaLedger(
        connections.warehouse(), run_id="", environment=environment.current_environment()
    )
    rows = []
    for source in sources:
        quota = connections.source_rules(source).limited(source.quota)
        if quota is None:
            rows.append((source.name, "no daily limit", "", "", "", ""))
            continue
        window = quota_window(quota.zone, datetime.now(UTC))
        use = ledger.use(source.name, window)
        limit, elsewhere = quota.limits(None)
        rows.append(
            (
                source.name,
                f"{use.used:,}",
                f"{limit:,}, {elsewhere:,} outside production",
                ", ".join(f"{who} {calls:,}" for who, calls in sorted(use.by_environment.items())),
                "" if use.vendor is None else f"{use.vendor:,}",
                "always" if window.is_rolling else f"{window.end:%Y-%m-%d %H:%M} UTC",
            )
        )
    say_columns(("source", "used", "our limits", "by whom", "vendor says", "resets"), rows)


@pseudonyms_app.command("rotate")
def pseudonyms_rotate() -> None:
    """Put stored pseudonyms under the newest key of MELTANO_PSEUDONYM_KEYS.

    Append the new key to the variable first; the older ones stay in it. May be stopped and
    repeated at any time.
    """
    from meltano_assets.privacy import key_ring
    from meltano_assets.warehouse.pseudonyms import rotate

    keys = key_ring()
    rows = 0
    with err.status("looking for pseudonyms of older keys ..."):
        for renewed in rotate(connections.warehouse(), keys.older, keys.renewed_in):
            say(f"{renewed.table}: {renewed.rows:,} rows of {renewed.column}")
            rows += renewed.rows
    say(f"{rows:,} values are now under the key {keys.current}" if rows else "nothing to do")


@pseudonyms_app.command("of")
def pseudonyms_of(
    domain: Annotated[str, typer.Argument(help="Such as email; see docs/privacy.md.")],
) -> None:
    """Print the pseudonym of each line of standard input, to look a person up."""
    from meltano_assets.privacy import key_ring

    if sys.stdin.isatty():
        raise FatalError("values are read from standard input", hint="echo ann@example.com | …")
    keys = key_ring()
    for line in sys.stdin:
        say(keys.pseudonym(line.rstrip("\n"), domain))


def backfill(
    name: Annotated[str, typer.Argument(metavar="SOURCE.STREAM")],
    field: Annotated[str, typer.Argument(help="The column, or the vendor's name of the field.")],
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it would cost.")] = False,
) -> None:
    """Read one field for all records, after it was chosen in streams.yml.

    Reads keys and that field alone where the vendor can, and says the price first. Only that
    column changes; rows that get a value get a new _loaded_at, and dbt snapshots the value too.
    """
    from meltano_assets.extraction import open_source
    from meltano_assets.warehouse.backfill import fill_column

    source, streams = find_streams(name)
    if len(streams) != 1:
        raise FatalError(f"{name} is a source", hint="name one stream of it: SOURCE.STREAM")
    [stream] = streams
    warehouse = connections.warehouse()
    with open_source(
        source,
        connections.source_settings(source),
        warehouse=warehouse,
        rules=connections.source_rules(source),
        is_sandbox=connections.is_sandbox(source.variables),
    ) as opened:
        column = opened.chosen_column(stream, field)
        cost = opened.field_cost(stream, column)
        say(f"{stream.key}.{column.name}: {cost.how}")
        records = "an unknown number of" if cost.records is None else f"{cost.records:,}"
        calls = "an unknown number of" if cost.calls is None else f"about {cost.calls:,}"
        say(f"{records} records, {calls} calls{_share(opened, cost.calls)}")
        if plan:
            return
        with err.status(f"{stream.key}.{column.name} ..."):
            batches = opened.read_field(stream, column, now=datetime.now(UTC))
            filled = fill_column(warehouse, opened.selected(stream).load, column, batches)
        opened.settle(stream)
    snapshots = f", {filled.snapshots:,} of its snapshot" if filled.snapshots else ""
    say(f"{filled.read:,} records read, {filled.updated:,} rows changed{snapshots}")
    if filled.quarantined:
        say(f"{filled.quarantined:,} values could not be stored")


def _share(opened: OpenSource, calls: int | None) -> str:
    """How much of what is left of the quota that is."""
    if opened.meter is None:
        return "; this vendor has no daily limit"
    limit, elsewhere = opened.meter.limits()
    use = opened.meter.use()
    left = limit - use.used
    if environment.current_environment() != "production":
        ours = sum(n for who, n in use.by_environment.items() if who != "production")
        left = min(left, elsewhere - ours)
    if calls is None:
        return f"; {max(left, 0):,} are left of our share"
    fits = "" if calls <= left else ": it does not fit"
    return f" of {max(left, 0):,} that are left of our share{fits}"


def reconcile(
    name: Annotated[str | None, typer.Argument(metavar="[SOURCE[.STREAM]]")] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask the vendors for their counts now.")
    ] = False,
) -> None:
    """Compare counts at every hop: vendor, extracted, loaded, quarantined, models, and what was sent.

    Shows the last comparison of each stream; exit code 1 when one does not agree.
    """
    from meltano_assets.sources.registry import registered
    from meltano_assets.warehouse import claims

    warehouse = connections.warehouse()
    sources = (
        [find_streams(name)] if name else [(each, list(each.streams)) for each in registered()]
    )
    if ask:
        for source, streams in sources:
            _ask(source, streams)
    wanted = {(stream.source, stream.name) for _, streams in sources for stream in streams}
    rows = [
        row
        for row in claims.reconciled(warehouse)
        if name is None or (row.source, row.stream) in wanted
    ]
    say_columns(
        ("stream", "hop", "expected", "actual", "agrees", "checked"),
        [
            (
                f"{row.source}.{row.stream}",
                row.hop,
                "" if row.expected is None else f"{row.expected:,}",
                "" if row.actual is None else f"{row.actual:,}",
                "yes" if row.agrees else "NO",
                f"{row.checked_at:%Y-%m-%d %H:%M}",
            )
            for row in rows
        ],
    )
    if not all(row.agrees for row in rows):
        raise typer.Exit(1)


def _ask(source: Source, streams: list[Stream]) -> None:
    """Write down each vendor's own count beside the table's, where the vendor can tell."""
    from meltano_assets.extraction import open_source
    from meltano_assets.warehouse import claims

    warehouse = connections.warehouse()
    with open_source(
        source,
        connections.source_settings(source),
        warehouse=warehouse,
        rules=connections.source_rules(source),
        is_sandbox=connections.is_sandbox(source.variables),
    ) as opened:
        for stream in streams:
            with err.status(f"{stream.key} ..."):
                theirs = opened.count(stream)
            if theirs is None:
                continue
            ours = claims.live_rows(warehouse, stream)
            aside = claims.quarantined_rows(warehouse, stream)
            # Within what waits in quarantine nobody can say which of them the vendor counts.
            actual = theirs if ours <= theirs <= ours + aside else ours
            claims.record_reconciliation(
                warehouse,
                stream.source,
                stream.name,
                run_id="",
                hops={"source to table": (theirs, actual)},
            )
