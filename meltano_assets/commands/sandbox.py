"""The sandbox company: serve it, move it on in time."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from meltano_assets import connections
from meltano_assets.commands.terminal import SuggestingGroup, out, parse_time, say
from meltano_assets.errors import FatalError, RetriableError

sandbox_app = typer.Typer(
    cls=SuggestingGroup,
    help="The simulated company: every vendor on loopback.",
    epilog="Example: meltano-assets sandbox --json --scale 0.1 --fault zendesk:throttle:3",
    invoke_without_command=True,
)


@sandbox_app.callback()
def sandbox(
    ctx: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready, nothing else.")
    ] = False,
    scale: Annotated[
        float | None, typer.Option(help="Size of the company: 1 has 400 accounts.", min=0.001)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed, another company.")] = None,
    today: Annotated[str | None, typer.Option(help="The company's present, YYYY-MM-DD.")] = None,
    port_base: Annotated[
        int | None,
        typer.Option(help="Fixed ports from here on, instead of free ones.", min=1, max=65500),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Misbehave: SERVICE:KIND[:COUNT][:OPTION=VALUE], COUNT * for always;"
            " `sandbox faults` lists the kinds. May be repeated."
        ),
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Folder of the company's state.")] = None,
    netsuite_wsdl: Annotated[
        Path | None,
        typer.Option(
            help="Folder with a WSDL set for NetSuite to serve.", exists=True, file_okay=False
        ),
    ] = None,
    is_shared: Annotated[bool, typer.Option("--shared", hidden=True)] = False,
) -> None:
    """Serve the sandbox company until interrupted.

    Other verbs use it while it runs. Seed and scale are chosen at a folder's first start.
    """
    if ctx.invoked_subcommand is not None:
        return
    from meltano_assets.sandbox.server import run

    folder = (state or connections.company_directory()).expanduser().resolve()
    moment = parse_time("--today", today)
    known_seed, known_scale = _company_of(folder)
    with connections.serving(folder, is_shared=is_shared) as opened:

        def announce(manifest: dict[str, Any]) -> None:
            if not is_shared:
                opened.write_text(json.dumps(manifest["control"]), "utf-8")
            if as_json:
                sys.stdout.write(json.dumps(manifest) + "\n")
                sys.stdout.flush()
                return
            _tell(manifest)

        try:
            run(
                state_dir=folder,
                postgres_url=connections.embedded_server().url("postgres"),
                seed=known_seed if seed is None else seed,
                scale=known_scale if scale is None else scale,
                today=moment,
                port_base=port_base,
                faults=fault or [],
                database=_database_of(folder),
                netsuite_wsdl=netsuite_wsdl,
                on_ready=announce,
            )
        except ValueError as error:
            raise FatalError(str(error), source="sandbox") from None
        except OSError as error:
            # The sandbox itself says which port; a folder's error names its file.
            what = error.strerror or type(error).__name__
            if error.filename is not None:
                raise FatalError(f"{error.filename}: {what}", source="sandbox") from None
            raise RetriableError(
                f"cannot be opened: {what}", source="sandbox", hint="choose another --port-base"
            ) from None


def _company_of(folder: Path) -> tuple[int, float]:
    """Seed and scale of the company that lives in the folder, else those of a new one."""
    from meltano_assets.process_locks import read_json

    known = read_json(folder / "company.json") or {}
    return int(str(known.get("seed", 1))), float(str(known.get("scale", 1.0)))


def _database_of(folder: Path) -> str:
    """The name of the company's ``version`` database: companies of other folders have their own."""
    if folder == connections.company_directory():
        return "sandbox_version"
    return f"sandbox_version_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def _tell(manifest: dict[str, Any]) -> None:
    out.print("The sandbox company is open. Stop it with Ctrl-C.")
    for service, settings in manifest.items():
        say(f"  {service:12} {_address(settings)}")
    say(f"Credentials and faults: {manifest['control']['base_url']}")


def _address(settings: dict[str, Any]) -> str:
    """Where a service is, without its credentials."""
    for name in ("base_url", "bootstrap_url"):
        if name in settings:
            return str(settings[name])
    if "url" in settings:
        parts = urlsplit(settings["url"])
        return f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}"
    return f"{settings['host']}:{settings['port']}"


@sandbox_app.command("advance", epilog="Example: meltano-assets sandbox advance 2d")
def sandbox_advance(
    by: Annotated[str, typer.Argument(metavar="Nd", help="Days, such as 1d.")] = "1d",
) -> None:
    """Move the sandbox company forward in time; prints what changed at each vendor."""
    text = by.removesuffix("d")
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise FatalError(f"{by!r} is not a number of days", hint="write 1d")
    from meltano_assets.demo.run import advance_company

    out.print_json(data=advance_company(int(text)))


@sandbox_app.command("faults", epilog="Example: meltano-assets sandbox faults zuora")
def sandbox_faults(
    service: Annotated[str | None, typer.Argument(help="One service; without it, all.")] = None,
) -> None:
    """List what each service can be told to do wrong."""
    from meltano_assets.sandbox.fault_kinds import KINDS

    if service is not None and service not in KINDS:
        raise FatalError(f"there is no service {service!r}", hint=f"there are: {', '.join(KINDS)}")
    for name in [service] if service else KINDS:
        say(name)
        for kind, meaning in KINDS[name].items():
            say(f"  {kind:17} {meaning}")
