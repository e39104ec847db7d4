"""The dbt project's side: source YAML and staging models of a source."""

from __future__ import annotations

from typing import Annotated

import typer

from meltano_assets.commands.terminal import find_streams, say


def scaffold_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of a source.")],
) -> None:
    """Write the source YAML from the streams' declarations, and a first staging model for each.

    Staging models that exist are left alone; so are descriptions, tests and freshness in the YAML.
    """
    from meltano_assets import environment, scaffold

    found, _ = find_streams(source.partition(".")[0])
    project = environment.dbt_project_directory()
    changed = scaffold.write(found, project)
    for path in changed:
        say(f"wrote {path.relative_to(project.parent)}")
    if not changed:
        say(f"{found.name}: nothing to do, the dbt project has every stream and column")
