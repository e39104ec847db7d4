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
from collections.abc import Mapping
from contextlib import ExitStack
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from meltano_assets import environment
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    from meltano_assets.environment import Variable
    from meltano_assets.shared_process import Service
    from meltano_assets.sources.base import Source
    from meltano_assets.warehouse.connection import Warehouse
    from meltano_assets.warehouse.server import EmbeddedServer

WAREHOUSE_DATABASE = "warehouse"
DAGSTER_DATABASE = "dagster"
#: How long the services' own grace and shutdown take at most.
RELEASE_SECONDS = 10.0

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
    if url := os.environ.get("MELTANO_DAGSTER_URL"):
        return url
    if url := environment.warehouse_url():
        from psycopg import sql

        with warehouse().connect(autocommit=True) as connection:
            connection.execute(
                sql.SQL("create schema if not exists {}").format(sql.Identifier(DAGSTER_DATABASE))
            )
        joint = "&" if urlsplit(url).query else "?"
        return f"{url}{joint}options={quote(f'-csearch_path={DAGSTER_DATABASE}')}"
    server = embedded_server()
    # A crash of the machine may cost the last events of a run, never one's consistency.
    options = quote("-csynchronous_commit=off")
    return f"{server.ensure_database(DAGSTER_DATABASE)}?options={options}"


def is_sandbox_allowed() -> bool:
    """True where the sandbox may stand in for vendors that are not configured."""
    return environment.current_environment() in ("local", "test")


def source_settings(source: Source) -> Mapping[str, str]:
    """The settings of one source, by the vendor's words."""
    return vendor_settings(source.name, source.variables)


def vendor_settings(vendor: str, variables: tuple[Variable, ...]) -> Mapping[str, str]:
    """From the environment where it names any of the variables, else from the sandbox."""
    if environment.is_configured(variables) or not is_sandbox_allowed():
        try:
            return environment.settings_from_environment(variables)
        except FatalError as error:
            raise FatalError(error.message, source=vendor, hint=error.hint) from None
    service = sandbox_manifest().get(vendor)
    if service is None:
        raise FatalError(
            "the sandbox has no such service",
            source=vendor,
            hint="set its variables: " + ", ".join(variable.name for variable in variables),
        )
    return {key: str(value) for key, value in service.items()}


@lru_cache(maxsize=1)
def sandbox_manifest() -> Mapping[str, Mapping[str, Any]]:
    """The services of the sandbox company, started when nobody has."""
    from meltano_assets import shared_process

    announced: Any = _attached.enter_context(shared_process.attach(_sandbox_service()))
    return cast(Mapping[str, Mapping[str, Any]], announced)


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
        command=lambda: [sys.executable, "-m", "meltano_assets.cli", "sandbox", "--json"],
    )
