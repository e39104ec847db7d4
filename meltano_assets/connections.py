"""Where things are: the warehouse, Dagster's storage, each vendor.

What the environment names is used as it is. In ``local`` and ``test``, the embedded Postgres stands
in for a warehouse that is not named and the sandbox company for vendors that are not configured;
both are started by the first process that needs them and stopped after the last. In ``review`` and
``production`` nothing stands in: a missing variable is an error that names it.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from meltano_assets import environment
from meltano_assets.errors import FatalError, RetriableError

if TYPE_CHECKING:
    from meltano_assets.environment import Variable
    from meltano_assets.shared_process import Service
    from meltano_assets.sources.base import Source
    from meltano_assets.sources.rules import SourceRules
    from meltano_assets.warehouse.connection import Warehouse
    from meltano_assets.warehouse.server import EmbeddedServer

WAREHOUSE_DATABASE = "warehouse"
DAGSTER_DATABASE = "dagster"
DAGSTER_URL = "MELTANO_DAGSTER_URL"
#: How long the services' own grace and shutdown take at most.
RELEASE_SECONDS = 10.0
#: In a company's folder: the lock of whoever serves it, and where a person's sandbox is reached.
_SERVING, _OPENED = "serving.lock", "opened.json"

_attached = ExitStack()
atexit.register(_attached.close)


@lru_cache(maxsize=1)
def embedded_server() -> EmbeddedServer:
    """The embedded Postgres, attached for as long as this process lives."""
    from meltano_assets.warehouse.server import attach

    return _attached.enter_context(attach(environment.state_directory()))


@lru_cache(maxsize=1)
def warehouse() -> Warehouse:
    """The warehouse: the Postgres that the environment names, else the embedded one."""
    from meltano_assets.warehouse.connection import Warehouse

    url = environment.warehouse_url()
    if url is None:
        server = embedded_server()
        server.ensure_database(WAREHOUSE_DATABASE)
        url = server.url(WAREHOUSE_DATABASE)
    return Warehouse(url)


def dagster_storage_url() -> str:
    """Where Dagster keeps runs and events.

    MELTANO_DAGSTER_URL, else the schema ``dagster`` of the warehouse that the environment names,
    else a database of its own in the embedded server.
    """
    if url := os.environ.get(DAGSTER_URL):
        return url
    if url := environment.warehouse_url():
        from psycopg import sql

        with warehouse().connect(autocommit=True) as connection:
            connection.execute(
                sql.SQL("create schema if not exists {}").format(sql.Identifier(DAGSTER_DATABASE))
            )
        return _storage_url(url, f"-csearch_path={DAGSTER_DATABASE}")
    server = embedded_server()
    # A crash of the machine may cost the last events of a run, never one's consistency.
    return _storage_url(server.ensure_database(DAGSTER_DATABASE), "-csynchronous_commit=off")


def _storage_url(url: str, options: str) -> str:
    """The URL for SQLAlchemy, which takes a database's name literally except in the query.

    There it looks for several servers, too.
    """
    parts = urlsplit(url)
    query: dict[str, str | list[str]] = dict(parse_qsl(parts.query))
    login, at, servers = parts.netloc.rpartition("@")
    if "," in servers:
        query["host"] = servers.split(",")
        servers = ""
    if name := unquote(parts.path.lstrip("/")):
        query["dbname"] = name
    query["options"] = " ".join(filter(None, (str(query.get("options", "")), options)))
    said = urlencode(query, doseq=True, quote_via=quote)
    return f"postgresql://{login}{at}{servers}/?{said}"


def is_sandbox_allowed() -> bool:
    """True where the sandbox may stand in for vendors that are not configured."""
    return environment.current_environment() in ("local", "test")


def is_sandbox(variables: tuple[Variable, ...]) -> bool:
    """True when the sandbox stands in for a vendor that no variable configures."""
    return is_sandbox_allowed() and not environment.is_configured(variables)


def source_settings(source: Source) -> Mapping[str, str]:
    """The settings of one source, by the vendor's words."""
    return vendor_settings(source.name, source.variables)


def source_rules(source: Source) -> SourceRules:
    """The user's rules for one source; none without a file."""
    from meltano_assets.sources.registry import registered
    from meltano_assets.sources.rules import SourceRules, load_rules

    known = {each.name: each for each in (*registered(), source)}
    return load_rules(known.values()).get(source.name) or SourceRules()


def vendor_settings(vendor: str, variables: tuple[Variable, ...]) -> Mapping[str, str]:
    """From the environment where it names any of the variables, else from the sandbox.

    What the sandbox does not serve (a source of the user's own) has to be named by the environment.
    """
    if not is_sandbox(variables) or vendor not in sandbox_manifest():
        try:
            return environment.settings_from_environment(variables)
        except FatalError as error:
            raise FatalError(error.message, source=vendor, hint=error.hint) from None
    service = sandbox_manifest()[vendor]
    return {key: str(value) for key, value in service.items()}


@lru_cache(maxsize=1)
def sandbox_manifest() -> Mapping[str, Mapping[str, Any]]:
    """The services of the sandbox company.

    Those of `meltano-assets sandbox` where it runs, else of one that all processes share, started
    when nobody has.
    """
    if (control := open_sandbox()) is not None:
        return _manifest_at(control)
    from meltano_assets import shared_process

    announced: Any = _attached.enter_context(shared_process.attach(_sandbox_service()))
    return cast(Mapping[str, Mapping[str, Any]], announced)


def company_directory() -> Path:
    """Where the sandbox company keeps its state."""
    return environment.state_directory() / "sandbox" / "company"


@contextmanager
def serving(company: Path, *, is_shared: bool) -> Iterator[Path]:
    """Hold a company's folder while it is served; FatalError when another process serves it.

    Gives the file in which a sandbox that a person opened says where its control service is.
    """
    from meltano_assets import process_locks

    try:
        company.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FatalError(f"{company} cannot be made: {error.strerror}", source="sandbox") from None
    held = process_locks.open_private(company / _SERVING)
    opened = company / _OPENED
    control = process_locks.read_json(opened)
    # A shared one is on its way out soon after its last user; a person's stays.
    patience = RELEASE_SECONDS if is_shared or control is None else 0.0
    try:
        if not process_locks.lock_within(held, patience):
            where = f" at {control['base_url']}" if control else " for other processes"
            raise FatalError(
                f"the company in {company} is open already{where}",
                source="sandbox",
                hint="use that one, or name another folder with --state",
            )
        opened.unlink(missing_ok=True)
        yield opened
    finally:
        os.close(held)


def open_sandbox() -> str | None:
    """The control service of the sandbox that a person opened and that still runs, if any."""
    from meltano_assets import process_locks

    company = company_directory()
    if not process_locks.is_held(company / _SERVING):
        return None
    control = process_locks.read_json(company / _OPENED)
    return str(control["base_url"]) if control else None


def _manifest_at(control: str) -> Mapping[str, Mapping[str, Any]]:
    import requests

    try:
        answer = requests.get(f"{control}/manifest", timeout=30)
        answer.raise_for_status()
        manifest: Mapping[str, Mapping[str, Any]] = answer.json()
    except requests.RequestException as error:
        raise RetriableError(
            f"the sandbox at {control} does not answer ({type(error).__name__})", source="sandbox"
        ) from None
    return manifest


def known_secrets() -> frozenset[str]:
    """Every secret that this process was given or has looked up; opens and starts nothing."""
    from meltano_assets import privacy, roles
    from meltano_assets.hosts import waterfall
    from meltano_assets.sources import SOURCES
    from meltano_assets.sources.registry import registered

    try:
        sources = registered()
    except FatalError:
        # A user's file is wrong, which is what is about to be told.
        sources = SOURCES
    groups = [source.variables for source in sources] + list(waterfall.VARIABLES.values())
    variables = [variable for group in groups for variable in group if variable.is_secret]
    found = {os.environ.get(variable.name, "") for variable in variables}
    settings = {variable.setting for variable in variables} | {
        "password",
        "oauth_token",
        "refresh_token",
    }
    if sandbox_manifest.cache_info().currsize:
        services = sandbox_manifest().values()
        found |= {str(service[name]) for service in services for name in settings & set(service)}
    urls = [url for url in found if "://" in url]
    urls += [os.environ.get(name, "") for name in (environment.WAREHOUSE_URL, DAGSTER_URL)]
    found |= {password for url in urls if (password := _password_of(url))}
    found.add(os.environ.get("PG_PASSWORD", ""))
    found |= {os.environ.get(name, "") for name in roles.password_variables()}
    keys = environment.variable(privacy.VARIABLE)
    found |= {keys, *(key.partition(":")[2].strip() for key in keys.split(","))}
    return frozenset(found - {""})


def _password_of(url: str) -> str | None:
    """The password of a URL, also of one that cannot be parsed otherwise."""
    login, at, _ = url.partition("://")[2].rpartition("@")
    return unquote(login.partition(":")[2]) if at else None


def release() -> None:
    """Let go of what this process attached to and wait until what nobody else holds has ended."""
    from meltano_assets import shared_process

    _attached.close()
    for cached in (embedded_server, warehouse, sandbox_manifest):
        cached.cache_clear()
    for directory in (_sandbox_service().directory, environment.state_directory() / "postgres"):
        shared_process.wait_until_ended(directory, RELEASE_SECONDS)


def _sandbox_service() -> Service:
    from meltano_assets.shared_process import Service

    return Service(
        name="sandbox",
        directory=environment.state_directory() / "sandbox",
        command=lambda: [
            sys.executable,
            "-m",
            "meltano_assets.cli",
            "sandbox",
            "--json",
            "--shared",
        ],
    )
