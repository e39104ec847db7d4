"""The dbt project's side: dbt itself, source YAML and staging models of a source."""

from __future__ import annotations

from typing import Annotated

import typer

from meltano_assets.commands.terminal import err, find_source, say


def scaffold_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of a source.")],
) -> None:
    """Write the source YAML from the streams' declarations, and a first staging model for each.

    Staging models that exist are left alone; so are descriptions, tests and freshness in the YAML. Its
    meta says which columns are withheld or replaced by pseudonyms, by streams.yml.
    """
    from meltano_assets import connections, environment, scaffold

    found = find_source(source.partition(".")[0])
    project = environment.dbt_project_directory()
    changed = scaffold.write(found, project, connections.source_rules(found))
    for path in changed:
        say(f"wrote {path.relative_to(project.parent)}")
    if not changed:
        say(f"{found.name}: nothing to do, the dbt project has every stream and column")


def dbt_command(context: typer.Context) -> None:
    """Run dbt on the project, with the warehouse's address and the field mapping.

    What follows are dbt's own words; alone it prints dbt's help. Of runs that write to one warehouse,
    Dagster's among them, the second waits for the first.
    """
    import os
    import subprocess
    from contextlib import ExitStack

    from meltano_assets import connections, environment, modelling

    folder = str(environment.dbt_project_directory())
    warehouse = connections.warehouse()
    variables = modelling.dbt_variables(warehouse.url)
    arguments = context.args or ["--help"]
    command = [modelling.dbt_program(), *arguments]
    if arguments[0] not in ("--help", "-h", "--version"):
        command += ["--project-dir", folder, "--profiles-dir", folder]
        target = str(modelling.target_directory(variables))
        variables |= {"DBT_TARGET_PATH": target, "DBT_LOG_PATH": target}

    def tell(words: str) -> None:
        err.print(words, markup=False, highlight=False, soft_wrap=True)

    is_writing = not modelling.WRITING.isdisjoint(arguments)
    try:
        with ExitStack() as alone:
            if is_writing:
                variables |= alone.enter_context(modelling.building(warehouse, tell))
            ended = subprocess.run(command, env={**os.environ, **variables}, check=False)
    finally:
        connections.release()
    raise typer.Exit(ended.returncode)
