"""Who may log in, and read and write what: the verbs ``roles plan``, ``apply`` and ``check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meltano_assets.commands.terminal import SuggestingGroup, err, say

if TYPE_CHECKING:
    from meltano_assets.warehouse.roles.statements import Plan

roles_app = typer.Typer(
    cls=SuggestingGroup,
    help="Roles of the warehouse and their rights, by roles.yaml.",
    epilog="Example: meltano-assets roles plan",
    no_args_is_help=True,
)

_File = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE", help="Instead of roles.yaml in the folder of users' files."
    ),
]


@roles_app.command("plan")
def roles_plan(file: _File = None) -> None:
    """Print the statements that `apply` would execute; change nothing.

    Ends with 2 where something keeps them from being executed.
    """
    from meltano_assets import connections, modelling, roles
    from meltano_assets.warehouse.roles import apply

    wanted = roles.read_roles(file)
    passwords = roles.passwords(wanted)
    warehouse = connections.warehouse()
    planned = apply.plan(warehouse, wanted, modelling.impersonal_columns(warehouse.url), passwords)
    _show(planned)
    if planned.problems:
        raise typer.Exit(2)
    if planned.statements:
        say(f"-- {_counted(planned)}; nothing was changed → meltano-assets roles apply")
    else:
        say(f"-- nothing to do: {_of(wanted)} as {(file or roles.file()).name} says")


@roles_app.command("apply")
def roles_apply(file: _File = None) -> None:
    """Bring roles and rights to what the file says, all or nothing; a second time does nothing.

    Passwords come from the variables that the file names; the server gets a verifier, never the password.
    """
    from meltano_assets import connections, modelling, roles
    from meltano_assets.warehouse.roles import apply

    wanted = roles.read_roles(file)
    passwords = roles.passwords(wanted)
    warehouse = connections.warehouse()
    impersonal = modelling.impersonal_columns(warehouse.url)
    with modelling.alone(warehouse, _tell):
        done = apply.apply(warehouse, wanted, impersonal, passwords)
    _show(done)
    if done.statements:
        say(f"-- {_counted(done)}, executed in one transaction")
    else:
        say(f"-- nothing to do: {_of(wanted)} as {(file or roles.file()).name} says")


@roles_app.command("check")
def roles_check(file: _File = None) -> None:
    """Say whether roles and rights are as the file says; ends with 1 where they are not.

    Passwords are compared where their variables are set.
    """
    from meltano_assets import connections, modelling, roles
    from meltano_assets.warehouse.roles import apply

    wanted = roles.read_roles(file)
    passwords = roles.passwords(wanted, is_needed=False)
    warehouse = connections.warehouse()
    planned = apply.plan(warehouse, wanted, modelling.impersonal_columns(warehouse.url), passwords)
    _show(planned)
    if planned.is_settled:
        say(f"-- {_of(wanted)} as {(file or roles.file()).name} says")
        return
    if planned.statements:
        say(f"-- {_counted(planned)} away from the file → meltano-assets roles apply")
    raise typer.Exit(1)


def _show(planned: Plan) -> None:
    if planned.statements:
        say(str(planned))
    for note in planned.notes:
        say(f"-- note: {note}")
    for door in planned.open_doors:
        say(f"-- open to everybody: {door}")
    for problem in planned.problems:
        _tell(f"problem: {problem}")


def _tell(words: str) -> None:
    err.print(words, markup=False, highlight=False, soft_wrap=True)


def _counted(planned: Plan) -> str:
    count = len(planned.statements)
    return "1 statement" if count == 1 else f"{count:,} statements"


def _of(wanted: object) -> str:
    count = len(wanted)  # type: ignore[arg-type]
    return "1 role is" if count == 1 else f"{count:,} roles are"
