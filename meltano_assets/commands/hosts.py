"""Host names: clean a list, show the waterfall of one domain."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from meltano_assets.commands.terminal import SuggestingGroup, say
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    from meltano_assets.hosts.providers import Answer

hosts_app = typer.Typer(
    cls=SuggestingGroup,
    help="Host names.",
    epilog="Example: meltano-assets hosts clean hosts.txt > hosts.csv",
    no_args_is_help=True,
)


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


def enrich_command(
    domains: Annotated[list[str], typer.Argument(metavar="DOMAIN...", help="Hosts or addresses.")],
) -> None:
    """Show, step by step, what the providers know of a domain; fills the caches."""
    from datetime import UTC, datetime

    from meltano_assets import connections, environment
    from meltano_assets.hosts.cache import recall
    from meltano_assets.hosts.clean import clean_host
    from meltano_assets.hosts.enrich import enrich
    from meltano_assets.hosts.waterfall import CACHES, VARIABLES

    settings = {}
    for vendor, variables in VARIABLES.items():
        is_chosen = environment.is_configured(variables) or connections.is_sandbox_allowed()
        if is_chosen or not any(variable.is_required for variable in variables):
            settings[vendor] = connections.vendor_settings(vendor, variables)
    warehouse = connections.warehouse()

    def tell(name: str, provider: str, answer: Answer) -> None:
        say(f"{name}: {provider} {answer.outcome} {_named(answer.columns)}".rstrip())
        for step in answer.steps:
            say(f"    {step}")

    outcome = enrich(
        warehouse,
        settings,
        domains,
        now=datetime.now(UTC),
        environment=environment.current_environment(),
        on_answer=tell,
    )
    for vendor, reason in outcome.skipped.items():
        say(f"{vendor}: skipped, {reason}")
    cleaned = {domain: clean_host(domain) for domain in domains}
    for domain, host in cleaned.items():
        if host.clean_domain is None:
            say(f"{domain}: {host.kind}, no provider is asked about it")
    names = list(dict.fromkeys(host.clean_domain for host in cleaned.values() if host.clean_domain))
    for name in names:
        say(f"{name} in the caches:")
        for known in recall(warehouse, CACHES, [name]):
            at = known.asked_at.isoformat(" ", "minutes")
            say(f"    {known.table}: {known.outcome}, asked {at} {known.told or ''}".rstrip())
    say(
        f"{outcome.candidates} names: {outcome.done_before} answered by the caches, "
        f"{outcome.asked} asked ({outcome.calls} requests), {outcome.withheld} withheld"
    )


def _named(columns: Mapping[str, str | None]) -> str:
    return columns.get("company_name") or columns.get("name") or columns.get("host_name") or ""


@hosts_app.command("bootstrap")
def hosts_bootstrap(
    url: Annotated[str | None, typer.Option(help="Address of dns.json; by default IANA's.")] = None,
) -> None:
    """Fetch IANA's lists of RDAP servers anew, in place of the ones that came with the package."""
    from meltano_assets import environment
    from meltano_assets.clients.policy import Clock
    from meltano_assets.hosts import rdap
    from meltano_assets.hosts.bootstrap import IANA, refresh
    from meltano_assets.hosts.exchange import Exchange, Limits, Pace, ProviderError, endpoint_of

    given = environment.settings_from_environment(rdap.VARIABLES)
    address = url or given.get("bootstrap_url") or IANA
    try:
        trusted = frozenset({endpoint_of(address)})
    except ValueError:
        raise FatalError(f"{address} is no http(s) address") from None
    exchange = Exchange(Pace(60, 60.0, Clock()), trusted, Limits(max_bytes=4 << 20))
    try:
        files = refresh(exchange, address)
    except ProviderError as error:
        raise FatalError(
            f"the bootstrap files at {address} were not read: {error}",
            source="rdap",
            hint="the lists used so far stay in use",
        ) from None
    for file in files:
        say(
            f"{file.registry}: published {file.published}, {file.entries:,} entries: {file.added:,} "
            f"new, {file.changed:,} moved, {file.removed:,} gone  → {file.path}"
        )
