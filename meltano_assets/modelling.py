"""How dbt is run: its program, its folder for files, the variables that it reads."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from meltano_assets import environment, field_mapping
from meltano_assets.connections import WAREHOUSE_DATABASE

if TYPE_CHECKING:
    from meltano_assets.warehouse.connection import Warehouse

#: dbt's commands that write tables.
WRITING = frozenset({"build", "clone", "retry", "run", "run-operation", "seed", "snapshot"})


@contextmanager
def building(warehouse: Warehouse, on_wait: Callable[[str], None]) -> Iterator[None]:
    """The only run of dbt that writes to this warehouse, from wherever it was started.

    dbt knows nothing of others: two that add to one incremental model or snapshot at once both see what
    is missing and both insert it. A second one waits; ``on_wait`` is told so. The lock goes with its
    connection, however the process ends.
    """
    from meltano_assets.warehouse.books import advisory_key

    key = advisory_key("dbt build")
    with warehouse.connect(
        application_name="meltano-assets dbt lock", autocommit=True, statement_timeout_seconds=0
    ) as connection:
        row = connection.execute("select pg_try_advisory_lock(%s)", [key]).fetchone()
        if row is None or not row[0]:
            on_wait("another run of dbt writes to this warehouse; waiting for it to end")
            connection.execute("select pg_advisory_lock(%s)", [key])
        yield


def dbt_program() -> str:
    """dbt of this very environment, also where that is not on the PATH."""
    for name in ("meltano-assets-dbt", "dbt"):
        beside = Path(sys.executable).parent / name
        if beside.is_file():
            return str(beside)
    return "dbt"


def run_dbt() -> None:
    """dbt as its own program is, a second of CPU quicker to start.

    dbt makes a million objects that stay and hardly a cycle; Python's collector would look through
    all of them again and again while they are made.
    """
    gc.set_threshold(200_000, 50, 100)
    from dbt.cli.main import cli

    forget_the_place()
    keep_the_manifest()
    gc.freeze()
    cli()


def forget_the_place() -> None:
    """What was parsed holds wherever the database is served: the embedded one's port changes.

    dbt compares these keys and parses all anew when one differs; no model reads them, while the
    database's name is in every relation and stays among them.
    """
    from dbt.adapters.postgres.connections import PostgresCredentials

    compared: Any = PostgresCredentials._connection_keys
    places = ("host", "port")
    keys = lambda credentials: [k for k in compared(credentials) if k not in places]  # noqa: E731
    setattr(PostgresCredentials, "_connection_keys", keys)  # noqa: B010


def keep_the_manifest() -> None:
    """``manifest.json`` is written where something was parsed, not again in every run.

    dbt writes the parsed project for its next start first and the manifest afterwards: a manifest
    that is not older says the same.
    """
    from dbt import constants
    from dbt.parser import manifest as parser

    write: Any = parser.write_manifest

    def written(manifest: Any, target_path: str, which: str | None = None) -> None:
        folder = Path(target_path)
        try:
            parsed = (folder / constants.PARTIAL_PARSE_FILE_NAME).stat().st_mtime_ns
            told = min(
                (folder / name).stat().st_mtime_ns
                for name in (constants.MANIFEST_FILE_NAME, constants.SEMANTIC_MANIFEST_FILE_NAME)
            )
        except FileNotFoundError:
            told = parsed = 0
        if not told or told < parsed:
            write(manifest, target_path, which)
        else:
            manifest.build_parent_and_child_maps()
            manifest.build_group_map()

    parser.write_manifest = written


def target_directory(variables: Mapping[str, str]) -> Path:
    """Where dbt's files go: a manifest names its database, so each has its own folder."""
    return environment.state_directory() / "dbt" / variables["DBT_DBNAME"]


def offline_variables() -> dict[str, str]:
    """What dbt needs to read the project without a database."""
    return {
        "DBT_DBNAME": WAREHOUSE_DATABASE,
        # As in a run: what was parsed for another target is parsed anew.
        "DBT_TARGET": environment.current_environment(),
        **_field_mapping(),
    }


def dbt_variables(url: str) -> dict[str, str]:
    """The warehouse's address and the field mapping as ``profiles.yml`` and macros read them."""
    parts = urlsplit(url)
    variables = {
        "DBT_HOST": parts.hostname or "127.0.0.1",
        "DBT_PORT": str(parts.port or 5432),
        "DBT_USER": unquote(parts.username or ""),
        "DBT_PASSWORD": unquote(parts.password or ""),
        "DBT_DBNAME": unquote(parts.path.lstrip("/")) or "postgres",
        "DBT_TARGET": environment.current_environment(),
        **_field_mapping(),
    }
    if sslmode := parse_qs(parts.query).get("sslmode"):
        variables["PGSSLMODE"] = sslmode[0]
    return variables


def _field_mapping() -> dict[str, str]:
    mapped = field_mapping.read(environment.dbt_project_directory() / field_mapping.FILE)
    return {field_mapping.VARIABLE: field_mapping.columns_for_dbt(mapped)}
