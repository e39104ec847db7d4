"""How dbt is run: its program, its folder for files, the variables that it reads."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meltano_assets import environment, field_mapping
from meltano_assets.connections import WAREHOUSE_DATABASE
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    from meltano_assets.warehouse.connection import Warehouse
    from meltano_assets.warehouse.roles.wanted import Relation

#: dbt's commands that write tables.
WRITING = frozenset({"build", "clone", "retry", "run", "run-operation", "seed", "snapshot"})
PROJECT_FILES = ("*.sql", "*.yml", "*.csv", "*.py")


#: Whether models have to ask who may read them: yes or no; unset, they look.
HAS_ROLES = "DBT_HAS_ROLES"
#: Id of the process that is the only one to build, for the dbt that it starts.
BUILDER = "MELTANO_DBT_BUILDER"
#: How often dbt looks whether that process lives, and how long it may take to end after it.
_LOOK_SECONDS, _ORPHAN_SECONDS = 0.5, 20.0


@contextmanager
def building(warehouse: Warehouse, on_wait: Callable[[str], None]) -> Iterator[Mapping[str, str]]:
    """The only run of dbt that writes to this warehouse; behind it every table has its grants.

    dbt gives what it builds its grants itself; the variables that are given here spare it the question
    where nobody applied any roles, and let it end with the process that holds the lock. Raw tables and columns that were made since the last run get theirs here.
    """
    from meltano_assets.warehouse.roles import apply

    with alone(warehouse, on_wait):
        has_roles = apply.is_anything_settled(warehouse)
        try:
            yield {HAS_ROLES: "yes" if has_roles else "no", BUILDER: str(os.getpid())}
        finally:
            if has_roles:
                apply.settle_tables(warehouse, impersonal_columns(warehouse.url))


@contextmanager
def alone(warehouse: Warehouse, on_wait: Callable[[str], None]) -> Iterator[None]:
    """The only one who builds tables in this warehouse, from wherever it was started.

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
    """dbt as its own program is, two seconds of CPU quicker to start and to end.

    dbt makes a million objects that stay and hardly a cycle; Python's collector would look through
    all of them again and again while they are made, and once more at the end.
    """
    gc.set_threshold(200_000, 50, 100)
    if builder := os.environ.get(BUILDER):
        end_with(int(builder))
    compile_classes_when_needed()
    from dbt.cli.main import cli

    forget_the_place()
    keep_the_manifest()
    write_what_is_logged()
    gc.freeze()
    try:
        cli()
    finally:
        gc.freeze()


def end_with(builder: int) -> None:
    """End as by Ctrl-C, queries cancelled, when the process that started this one is gone.

    Its lock went with it, and others may build the same tables from then on.
    """
    import psutil

    if os.getppid() != builder and psutil.pid_exists(builder):
        return
    # Ctrl-C's own signal is ignored by what a shell starts in the background.
    signal.signal(signal.SIGUSR1, signal.default_int_handler)

    def watch() -> None:
        while os.getppid() == builder:
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(_ORPHAN_SECONDS)
        os._exit(128 + signal.SIGINT)

    threading.Thread(target=watch, name="builder", daemon=True).start()


def compile_classes_when_needed() -> None:
    """How a class of dbt is read and written is not compiled for all before anything else.

    Call it before dbt is imported.
    """
    from mashumaro.config import BaseConfig

    BaseConfig.lazy_compilation = True


def write_what_is_logged() -> None:
    """A line of a log is made where its level is logged, and dbt's own file is for people.

    dbt tells every statement three times at the level of debugging. It makes each line for standard
    output, too, before it looks whether anyone is to read it, and makes both of JSON for Dagster,
    which reads the one alone: an eighth of the CPU of a build of small tables.
    """
    from dbt_common.events import logger

    os.environ.setdefault("DBT_LOG_FORMAT_FILE", "debug")
    write_line: Any = logger._Logger.write_line
    levels = {level.value: number for level, number in logger._log_level_map.items()}

    def written(self: Any, message: Any) -> None:
        log = self._python_logger
        is_read = log is not None and log.isEnabledFor(levels[message.info.level])
        if is_read or logger._is_print_event(message):
            write_line(self, message)

    setattr(logger._Logger, "write_line", written)  # noqa: B010


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


def manifest(url: str) -> dict[str, Any]:
    """What dbt understood of the project, for the warehouse of that address."""
    found: dict[str, Any] = json.loads(manifest_file(dbt_variables(url)).read_text())
    return found


def impersonal_columns(url: str) -> dict[Relation, frozenset[str]]:
    """Columns of all relations that tell of nobody, by dbt's marks and those of the user's rules."""
    from meltano_assets import connections, roles
    from meltano_assets.sources.registry import registered

    sources = registered()
    rules = {source.name: connections.source_rules(source) for source in sources}
    return roles.impersonal_columns(manifest(url), sources, rules)


def manifest_file(variables: Mapping[str, str]) -> Path:
    """The file that ``dbt parse`` writes; made where it is missing or older than the project."""
    folder, target = environment.dbt_project_directory(), target_directory(variables)
    made = target / "manifest.json"
    if _is_stale(folder, made):
        _parse(folder, target, variables)
    return made


def _is_stale(folder: Path, manifest: Path) -> bool:
    if not manifest.is_file():
        return True
    made_at = manifest.stat().st_mtime
    skip = {"target", "dbt_packages", "logs"}
    return any(
        path.stat().st_mtime > made_at
        for pattern in PROJECT_FILES
        for path in folder.rglob(pattern)
        if not skip.intersection(path.relative_to(folder).parts)
    )


def _parse(folder: Path, target: Path, variables: Mapping[str, str]) -> None:
    """Write the manifest; needs no database."""
    command = [dbt_program(), "--quiet", "parse", "--project-dir", str(folder)]
    command += ["--profiles-dir", str(folder), "--target-path", str(target)]
    command += ["--log-path", str(target)]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **variables},
    )
    if result.returncode != 0:
        raise FatalError(
            f"dbt parse failed:\n{result.stdout.strip()}", source="dbt", hint=f"look into {folder}"
        )


def offline_variables() -> dict[str, str]:
    """What dbt needs to read the project without a database."""
    return {
        "DBT_DBNAME": WAREHOUSE_DATABASE,
        # As in a run: what was parsed for another target is parsed anew.
        "DBT_TARGET": environment.current_environment(),
        **_field_mapping(),
    }


def dbt_variables(url: str) -> dict[str, str]:
    """The warehouse's address and the field mapping as ``profiles.yml`` and macros read them.

    What else the address says (certificates, ways to log in, options) dbt's driver reads from libpq's
    own variables.
    """
    from meltano_assets.warehouse.connection import Warehouse, libpq_variables

    said = dict(Warehouse(url).parameters)
    place = {word: said.pop(word, "") for word in ("host", "port", "user", "password", "dbname")}
    ports = set(place["port"].split(","))
    if len(ports) > 1:
        raise FatalError(
            "the warehouse's address names servers with different ports, of which dbt knows one",
            hint="let all of them listen at the same port, or name one server",
        )
    return {
        "DBT_HOST": place["host"],
        "DBT_PORT": ports.pop() or "5432",
        "DBT_USER": place["user"],
        "DBT_PASSWORD": place["password"],
        "DBT_DBNAME": place["dbname"] or "postgres",
        "DBT_TARGET": environment.current_environment(),
        # A day begins at the same moment for every server, whatever zone it was set to.
        "PGTZ": "UTC",
        **libpq_variables(said),
        **_field_mapping(),
    }


def _field_mapping() -> dict[str, str]:
    mapped = field_mapping.read(environment.dbt_project_directory() / field_mapping.FILE)
    return {field_mapping.VARIABLE: field_mapping.columns_for_dbt(mapped)}
