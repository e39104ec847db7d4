"""What extraction costs and keeps: quota, pseudonyms."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from meltano_assets import connections, environment
from meltano_assets.commands.terminal import SuggestingGroup, err, find_streams, say, say_columns
from meltano_assets.errors import FatalError

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

    sources = [find_streams(name)[0]] if name else list(registered())
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
