"""Custom Salesforce fields and the common data model: check the mapping, propose the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meltano_assets.commands.terminal import SuggestingGroup, say, say_columns

if TYPE_CHECKING:
    from meltano_assets.clients.salesforce import SalesforceClient

mapping_app = typer.Typer(
    cls=SuggestingGroup,
    help="Which Salesforce fields the data model reads.",
    epilog="Example: meltano-assets mapping suggest --write",
    no_args_is_help=True,
)


@contextmanager
def _organisation() -> Iterator[SalesforceClient]:
    from meltano_assets import connections
    from meltano_assets.clients.salesforce import SalesforceClient
    from meltano_assets.sources.salesforce import SALESFORCE

    with SalesforceClient(connections.source_settings(SALESFORCE)) as client:
        yield client


def _file() -> Path:
    from meltano_assets import environment, field_mapping

    return environment.dbt_project_directory() / field_mapping.FILE


@mapping_app.command("check")
def mapping_check() -> None:
    """Say for each concept which field it is read from, and what is unmapped or gone.

    Ends with 2 where a mapped field is gone or holds another kind of value.
    """
    from meltano_assets import field_mapping

    mapped = field_mapping.read(_file())
    with _organisation() as organisation:
        findings = field_mapping.check(mapped, organisation)
    say_columns(
        ("concept", "field", "state", "note"),
        [
            (f"{f.concept.stream}.{f.concept.name}", f.field or "-", f.state, f.note)
            for f in findings
        ],
    )
    broken = [f for f in findings if f.is_broken]
    unmapped = [f for f in findings if f.state == "unmapped"]
    if broken or unmapped:
        say(f"{len(broken)} gone or of the wrong type, {len(unmapped)} unmapped")
        say(f"→ meltano-assets mapping suggest, or null in {_file()} where there is no such field")
    if broken:
        raise typer.Exit(2)


@mapping_app.command("suggest")
def mapping_suggest(
    write: Annotated[
        bool, typer.Option("--write", help="Write the good proposals into the file.")
    ] = False,
    is_all: Annotated[
        bool, typer.Option("--all", help="Propose anew what is mapped and fine, too.")
    ] = False,
) -> None:
    """Propose fields for concepts that are unmapped or gone, by names, labels, types and values."""
    from meltano_assets import field_mapping

    path = _file()
    mapped = field_mapping.read(path)
    with _organisation() as organisation:
        suggestions = field_mapping.suggest(mapped, organisation, is_all=is_all)
    if not suggestions:
        say("nothing to propose: every concept is mapped, or no field looks like it")
        return
    say_columns(
        ("concept", "field", "label", "score", "because of", "else"),
        [
            (
                f"{s.concept.stream}.{s.concept.name}",
                s.field,
                s.label,
                f"{s.score:.2f}" + ("" if s.is_taken else " (too low)"),
                s.grounds,
                s.runner_up or "-",
            )
            for s in suggestions
        ],
    )
    taken = sum(s.is_taken for s in suggestions)
    if not write:
        say(f"{taken} good enough → meltano-assets mapping suggest --write puts them into {path}")
        return
    field_mapping.write(path, field_mapping.accepted(mapped, suggestions))
    say(f"wrote {taken} into {path}")
    say("→ newly mapped fields are read whole by: meltano-assets extract salesforce --full-refresh")
