"""What is missing on this machine, in words, with the next step for each thing.

Belongs here: looking, without changing anything a user keeps (the embedded server is started for
the look and stops again). Does not belong here: how the findings are shown (``cli.py``).
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import socket
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from meltano_assets import environment
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError, PlatformError

if TYPE_CHECKING:
    from meltano_assets.warehouse.connection import Warehouse

Status = Literal["ok", "warn", "fail"]

_REINSTALL = "install the packages of requirements.lock again: ./run does it"
_GIGABYTE = 1024**3
_LOW_SPACE, _LITTLE_SPACE = 1 * _GIGABYTE, 5 * _GIGABYTE
_OLDEST_POSTGRES = 15
_CLOCK_SECONDS = 5.0
_UI_PORT = 3000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do if it isn't well."""

    name: str
    status: Status
    message: str
    next_step: str = ""


def diagnose() -> list[Finding]:
    """Everything worth knowing before a run, in the order in which it would stop one."""
    checks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("environment", _environment),
        ("settings file", _settings_file),
        ("state folder", _state_folder),
        ("warehouse", _warehouse),
        ("sources", _vendors),
        ("dbt", _dbt),
        ("field rules", _field_rules),
        ("roles", _roles),
        ("user interface", _user_interface),
    )
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check()
        except PlatformError as error:
            findings.append(Finding(name, "fail", error.message, error.hint or ""))
        except (OSError, ImportError) as error:
            findings.append(Finding(name, "fail", f"could not be checked: {error}"))
    return findings


def _python() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding("python", "ok", f"Python {version}")
    else:
        yield Finding(
            "python",
            "fail",
            f"Python {version} is not supported",
            "use 3.11, 3.12 or 3.13, for example PYTHON=python3.12 ./run doctor",
        )


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    wrong: list[str] = []
    names = 0
    for text in _required_packages():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        names += 1
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} is {installed}, not {requirement.specifier}")
    if wrong:
        yield Finding("packages", "fail", "; ".join(wrong), _REINSTALL)
    else:
        yield Finding("packages", "ok", f"all {names} packages are there in the right versions")


def _required_packages() -> list[str]:
    """What the project says it needs, from its clone or from its installed metadata."""
    clone = environment.project_root() / "pyproject.toml"
    if clone.is_file():
        project = tomllib.loads(clone.read_text("utf-8")).get("project", {})
        if project.get("name") == "meltano-assets":
            return list(project["dependencies"])
    try:
        return importlib.metadata.requires("meltano-assets") or []
    except importlib.metadata.PackageNotFoundError:
        pass
    raise FatalError("meltano-assets is not installed", hint=_REINSTALL)


def _environment() -> Iterator[Finding]:
    name = environment.current_environment()
    message = f"{name}: {_WHAT_HAPPENS[name]}"
    yield Finding("environment", "ok", message)


_WHAT_HAPPENS = {
    "local": "the sandbox stands in for vendors that are not configured",
    "test": "the sandbox stands in for vendors that are not configured",
    "review": "nothing stands in for a vendor that is not configured",
    "production": "nothing stands in for a vendor that is not configured; schedules run",
}


def _settings_file() -> Iterator[Finding]:
    path = environment.project_root() / ".env"
    if not path.is_file():
        yield Finding("settings file", "ok", "no file .env; the environment alone counts")
    elif path.stat().st_mode & 0o077:
        yield Finding(
            "settings file", "warn", f"{path} can be read by others", f"chmod 600 '{path}'"
        )
    else:
        yield Finding("settings file", "ok", f"{path} is private")


def _state_folder() -> Iterator[Finding]:
    folder = environment.state_directory()
    step = "set MELTANO_STATE_DIR to a folder of your own on a local disk"
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield Finding("state folder", "fail", f"{folder} cannot be written", step)
        return
    with tempfile.TemporaryFile(dir=existing) as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            reason = error.strerror
            yield Finding("state folder", "fail", f"{folder} has no file locks: {reason}", step)
            return
    if folder.exists() and folder.stat().st_mode & 0o022:
        yield Finding(
            "state folder", "warn", f"{folder} can be changed by others", f"chmod 700 '{folder}'"
        )
    else:
        yield Finding("state folder", "ok", f"{folder} can be written")
    free = shutil.disk_usage(existing).free
    message = f"{free / _GIGABYTE:.1f} GB free on the disk of {folder}"
    if free < _LITTLE_SPACE:
        step = "free some space, or set MELTANO_STATE_DIR to another disk"
        yield Finding("disk space", "fail" if free < _LOW_SPACE else "warn", message, step)
    else:
        yield Finding("disk space", "ok", message)


def _warehouse() -> Iterator[Finding]:
    from meltano_assets.warehouse.connection import Warehouse

    with _warehouse_url() as (url, what):
        yield from _look_into(Warehouse(url), what)
    name = environment.current_environment()
    if environment.warehouse_url() is None and name in ("review", "production"):
        yield Finding(
            "warehouse",
            "warn",
            f"{name} uses the embedded Postgres of this machine",
            f"set {environment.WAREHOUSE_URL} to a server that is backed up",
        )


@contextmanager
def _warehouse_url() -> Iterator[tuple[str, str]]:
    """The warehouse that a run would use; the embedded one is started for the look."""
    url = environment.warehouse_url()
    if url is not None:
        yield url, "the one that the environment names"
        return
    from meltano_assets.warehouse.server import attach

    with attach() as server:
        yield server.url("postgres"), "embedded"


def _look_into(warehouse: Warehouse, what: str) -> Iterator[Finding]:
    before = datetime.now(UTC)
    with warehouse.connect(
        application_name="meltano-assets doctor", statement_timeout_seconds=15
    ) as connection:
        found = connection.execute(
            "select current_setting('server_version'), current_setting('server_version_num')::int,"
            " current_user::text, pg_encoding_to_char(encoding),"
            " has_database_privilege(current_database(), 'CREATE'),"
            " pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool,"
            " clock_timestamp(),"
            " (select ssl from pg_stat_ssl where pid = pg_backend_pid())"
            " from pg_database where datname = current_database()"
        ).fetchone()
    after = datetime.now(UTC)
    assert found is not None
    version, number, user, encoding, may_create, is_read_only, clock, is_encrypted = found
    place = f"Postgres {version} at {warehouse.place} ({what})"
    if is_read_only:
        yield Finding("warehouse", "fail", f"{place} is read-only", "name the primary server")
    elif not may_create:
        yield Finding(
            "warehouse",
            "fail",
            f"{user} may not make schemas in {place}",
            f'as the database\'s owner: grant create on database "{warehouse.database}" to "{user}"',
        )
    elif encoding != "UTF8":
        step = "make a database with encoding UTF8"
        yield Finding("warehouse", "fail", f"{place} stores {encoding}", step)
    elif number // 10000 < _OLDEST_POSTGRES:
        step = f"use Postgres {_OLDEST_POSTGRES} or newer"
        yield Finding("warehouse", "warn", f"{place} is older than what is tested", step)
    else:
        yield Finding("warehouse", "ok", place)
    if not is_encrypted and not _is_local(warehouse.parameters.get("host", "")):
        yield Finding(
            "warehouse",
            "warn",
            f"the way to {warehouse.place} is not encrypted",
            "add ?sslmode=verify-full to MELTANO_WAREHOUSE_URL",
        )
    # The server answered somewhere between the two looks at our own clock.
    apart = max((before - clock).total_seconds(), (clock - after).total_seconds(), 0.0)
    if apart > _CLOCK_SECONDS:
        step = "set both clocks by NTP: bookmarks compare their times"
        yield Finding(
            "clock", "warn", f"{apart:.0f} s apart from the clock of {warehouse.place}", step
        )
    else:
        yield Finding("clock", "ok", f"{after:%Y-%m-%d %H:%M:%S} UTC, as on the database server")


def _is_local(host: str) -> bool:
    return host in ("", "localhost", "::1") or host.startswith(("127.", "/"))


def _vendors() -> Iterator[Finding]:
    from meltano_assets.hosts import clearbit, discoverorg
    from meltano_assets.sources import SOURCES
    from meltano_assets.sources.registry import registered

    may_stand_in = environment.current_environment() in ("local", "test")
    try:
        sources = registered()
    except FatalError as error:
        yield Finding("sources", "fail", error.message, error.hint or "correct the file")
        sources = SOURCES
    for source in sources:
        has_double = may_stand_in and source in SOURCES
        yield _vendor(source.name, source.variables, has_double, is_needed=True)
        if not source.streams:
            hint = f"meltano-assets discover {source.name} --write"
            yield Finding(source.name, "warn", "none of its tables or streams is known yet", hint)
    for name, module in (("discoverorg", discoverorg), ("clearbit", clearbit)):
        yield _vendor(name, module.VARIABLES, may_stand_in, is_needed=False)


def _vendor(
    name: str, variables: tuple[Variable, ...], may_stand_in: bool, *, is_needed: bool
) -> Finding:
    if environment.is_configured(variables):
        try:
            environment.settings_from_environment(variables)
        except FatalError as error:
            return Finding(name, "fail", error.message, error.hint or "")
        return Finding(name, "ok", "configured; whether the vendor agrees shows at the first read")
    if may_stand_in:
        return Finding(name, "ok", "not configured: the sandbox company stands in")
    names = ", ".join(variable.name for variable in variables if variable.is_required)
    if is_needed:
        return Finding(name, "fail", "not configured", f"set {names}")
    return Finding(name, "warn", "not configured: it is left out", f"to use it, set {names}")


def _dbt() -> Iterator[Finding]:
    folder = environment.dbt_project_directory()
    missing = [
        name for name in ("dbt_project.yml", "profiles.yml") if not (folder / name).is_file()
    ]
    if missing:
        yield Finding(
            "dbt",
            "fail",
            f"{' and '.join(missing)} not found in {folder}",
            "run from a whole clone, or install the package again",
        )
    else:
        yield Finding("dbt", "ok", f"project and profile in {folder}")


def _field_rules() -> Iterator[Finding]:
    """Whether dbt's sources tell what streams.yml withholds and replaces."""
    import yaml

    from meltano_assets import scaffold
    from meltano_assets.sources.registry import registered
    from meltano_assets.sources.rules import load_rules

    sources = registered()
    rules = load_rules(sources)
    for source in sources:
        folder = environment.dbt_project_directory() / "models" / "staging" / source.name
        file = folder / f"_{source.name}__sources.yml"
        if source.name not in rules or not file.is_file():
            continue
        text = file.read_text("utf-8")
        if text != scaffold.sources_yaml(source, yaml.safe_load(text), rules[source.name]):
            yield Finding(
                "field rules",
                "warn",
                f"dbt does not know what streams.yml says of {source.name}",
                f"meltano-assets scaffold {source.name}",
            )


def _roles() -> Iterator[Finding]:
    """Whether roles.yaml can be read, where there is one, and every password is there."""
    from meltano_assets import roles

    if not roles.file().is_file():
        return
    wanted = roles.read_roles()
    variables = {role.password_variable for role in wanted.values() if role.password_variable}
    unset = sorted(name for name in variables if not environment.variable(name))
    if unset:
        yield Finding(
            "roles",
            "warn",
            f"{roles.FILE} can be read, and not applied: not set: {', '.join(unset)}",
            "set them in the environment or in the file .env",
        )
    else:
        count = "1 role" if len(wanted) == 1 else f"{len(wanted)} roles"
        yield Finding(
            "roles", "ok", f"{count} in {roles.FILE}; meltano-assets roles check compares them"
        )


def _user_interface() -> Iterator[Finding]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _UI_PORT))
        except OSError:
            yield Finding(
                "user interface",
                "warn",
                f"port {_UI_PORT} is in use, perhaps by a Dagster that runs already",
                f"choose another: ./run dev --port {_UI_PORT + 1}",
            )
            return
    yield Finding("user interface", "ok", f"port {_UI_PORT} is free for ./run dev")
