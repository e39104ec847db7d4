"""The sandbox company: serve it, move it on in time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from meltano_assets import connections, environment
from meltano_assets.commands.terminal import SuggestingGroup, out, parse_time
from meltano_assets.errors import FatalError, RetriableError

sandbox_app = typer.Typer(
    cls=SuggestingGroup,
    help="The simulated company: every vendor on loopback.",
    invoke_without_command=True,
)


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
            today=parse_time("--today", today),
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
