"""The floors: imports go down only, and what belongs to one floor stays on it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import meltano_assets

PACKAGE = Path(meltano_assets.__file__).parent

#: First part of a module's name below the package → its floor.
FLOORS = {
    "": 0,
    "streams": 0,
    "errors": 0,
    "json_objects": 0,
    "environment": 0,
    "singer_schema": 0,
    "yaml_files": 0,
    "process_locks": 0,
    "shared_process": 0,
    "clients": 1,
    "warehouse": 1,
    "sources": 2,
    "hosts": 2,
    "salesforce_sync": 2,
    "privacy": 2,
    "scaffold": 3,
    "concepts": 0,
    "field_mapping": 2,
    "roles": 2,
    "modelling": 4,
    "connections": 3,
    "extraction": 3,
    "sweeping": 4,
    "resources": 4,
    "instance": 4,
    "run_workers": 4,
    "automation": 4,
    "assets": 5,
    "definitions": 6,
    "doctor": 6,
    "demo": 6,
    "commands": 6,
    "cli": 7,
}
DAGSTER = {"resources", "instance", "run_workers", "automation", "assets", "definitions", "demo"}
PSYCOPG = {"warehouse", "clients.database", "sandbox", "hosts", "salesforce_sync", "assets"}
PSYCOPG |= {"connections", "resources", "demo", "doctor"}
GROUND_MAY_IMPORT_LAZILY = {"pyarrow", "yaml"}


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (
            ".".join(part for part in relative.parts if part != "__init__"),
            ast.parse((PACKAGE / relative.with_suffix(".py")).read_text()),
        )
        for relative in (
            path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))
        )
    )


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@cache
def runtime_imports(tree: ast.Module) -> set[str]:
    for_types = {
        name
        for node in ast.walk(tree)
        if is_type_checking(node)
        for name in imports(ast.Module(body=list(node.body), type_ignores=[]))  # type: ignore[attr-defined]
    }
    return set(imports(tree)) - for_types


def part(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def inside(name: str) -> str | None:
    prefix = "meltano_assets."
    return name[len(prefix) :] if name.startswith(prefix) else None


def test_every_module_stands_on_a_floor() -> None:
    unknown = {part(name) for name, _ in modules()} - set(FLOORS) - {"sandbox"}
    assert not unknown


def test_imports_go_down_only() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        if part(name) != "sandbox"
        for target in map(inside, runtime_imports(tree))
        if target is not None
        and part(target) != "sandbox"
        and part(target) in FLOORS
        and FLOORS[part(target)] > FLOORS[part(name)]
    ]
    assert not wrong


def test_clients_and_warehouse_do_not_know_each_other() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        if part(name) in ("clients", "warehouse")
        for target in map(inside, runtime_imports(tree))
        if target is not None and part(target) in {"clients", "warehouse"} - {part(name)}
    ]
    assert not wrong


def test_sources_use_clients_only() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        if part(name) == "sources"
        for target in map(inside, runtime_imports(tree))
        if target is not None and part(target) in ("warehouse", "hosts", "salesforce_sync")
    ]
    assert not wrong


def test_the_sandbox_stands_outside() -> None:
    inward = [
        f"{name} imports {target}"
        for name, tree in modules()
        if part(name) == "sandbox"
        for target in map(inside, runtime_imports(tree))
        if target is not None and part(target) != "sandbox"
    ]
    outward = [
        name
        for name, tree in modules()
        if part(name) not in ("sandbox", "cli", "commands")
        and any(part(inside(target) or "") == "sandbox" for target in runtime_imports(tree))
    ]
    assert not inward
    assert not outward


def test_dagster_lives_on_the_upper_floors() -> None:
    wrong = [
        name
        for name, tree in modules()
        if part(name) not in DAGSTER
        and any(part(target) in ("dagster", "dagster_dbt") for target in imports(tree))
    ]
    assert not wrong


def test_psycopg_is_spoken_only_where_sql_belongs() -> None:
    wrong = [
        name
        for name, tree in modules()
        if part(name) not in PSYCOPG
        and name not in PSYCOPG
        and any(part(target) == "psycopg" for target in runtime_imports(tree))
    ]
    assert not wrong


def test_the_environment_is_read_in_one_place() -> None:
    readers = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and isinstance(node.ctx, ast.Load)
    }
    # The others only pass the whole of it on to a child process.
    passing_on = {"shared_process", "assets.dbt", "commands.modelling", "demo", "connections"}
    passing_on |= {"modelling"}
    assert readers <= {"environment", *passing_on}


def test_packages_re_export_nothing() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent.name == "sources":
            continue
        body = ast.parse(path.read_text()).body
        assert all(isinstance(node, ast.Expr) for node in body), path
