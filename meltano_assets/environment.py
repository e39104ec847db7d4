"""What the process is told from outside: environment name, folders, variables.

The only module that reads ``os.environ``. Nothing is read at import.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import quote

from meltano_assets.errors import FatalError

EnvironmentName = Literal["local", "test", "review", "production"]

WAREHOUSE_URL = "MELTANO_WAREHOUSE_URL"


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable that a vendor connection needs.

    ``setting`` is the vendor's own word for the value (``client_id``, ``api_token``): it is the
    key under which a connection receives it and under which the sandbox announces it.
    """

    name: str
    setting: str
    description: str
    is_secret: bool = False
    is_required: bool = True
    default: str | None = None


def current_environment(environ: Mapping[str, str] | None = None) -> EnvironmentName:
    """The environment named by MELTANO_ENVIRONMENT; ``local`` when unset."""
    name = (os.environ if environ is None else environ).get("MELTANO_ENVIRONMENT", "") or "local"
    if name not in get_args(EnvironmentName):
        allowed = ", ".join(get_args(EnvironmentName))
        raise FatalError(f"MELTANO_ENVIRONMENT is {name!r}", hint=f"use one of {allowed}")
    return cast(EnvironmentName, name)


def project_root() -> Path:
    """The clone that this package was installed from, else the current folder."""
    clone = Path(__file__).resolve().parent.parent
    return clone if (clone / "workspace.yaml").is_file() else Path.cwd()


def dbt_project_directory() -> Path:
    """The dbt project: in a clone beside the package, in an installed wheel inside it."""
    package = Path(__file__).resolve().parent
    bundled = package / "_dbt_project"
    return bundled if bundled.is_dir() else package.parent / "dbt_project"


def state_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Where local state lives: MELTANO_STATE_DIR, else ``.meltano`` in the project's root."""
    named = (os.environ if environ is None else environ).get("MELTANO_STATE_DIR")
    return Path(named).expanduser().resolve() if named else project_root() / ".meltano"


def variable(name: str, environ: Mapping[str, str] | None = None) -> str:
    """One variable that belongs to no connection; empty when unset."""
    return (os.environ if environ is None else environ).get(name, "")


def streams_file(environ: Mapping[str, str] | None = None) -> Path:
    """The user's rules for streams: MELTANO_STREAMS_FILE, else ``streams.yml`` where users' files are."""
    named = variable("MELTANO_STREAMS_FILE", environ)
    return Path(named).expanduser().resolve() if named else user_file("streams.yml", environ)


def user_file(name: str, environ: Mapping[str, str] | None = None) -> Path:
    """A file or folder that users write: in MELTANO_CONFIG_DIR, else in the project's root."""
    named = (os.environ if environ is None else environ).get("MELTANO_CONFIG_DIR")
    return (Path(named).expanduser().resolve() if named else project_root()) / name


def warehouse_url(environ: Mapping[str, str] | None = None) -> str | None:
    """The Postgres to use, or None for the embedded one.

    Read from MELTANO_WAREHOUSE_URL, else from PG_ADDRESS, PG_PORT, PG_USERNAME, PG_PASSWORD and
    PG_DATABASE.
    """
    env = os.environ if environ is None else environ
    if url := env.get(WAREHOUSE_URL):
        if not url.startswith(("postgresql://", "postgres://")):
            raise FatalError(f"{WAREHOUSE_URL} is not a postgresql:// URL", hint=_WHERE)
        return url
    if address := env.get("PG_ADDRESS"):
        user = quote(env.get("PG_USERNAME", ""), safe="")
        password = quote(env.get("PG_PASSWORD", ""), safe="")
        login = f"{user}:{password}@" if password else f"{user}@" if user else ""
        host = f"[{address}]" if ":" in address else address
        database = quote(env.get("PG_DATABASE", "warehouse"), safe="")
        return f"postgresql://{login}{host}:{env.get('PG_PORT', '5432')}/{database}"
    return None


def is_configured(variables: Iterable[Variable], environ: Mapping[str, str] | None = None) -> bool:
    """True when the user has set any of a connection's variables, or when it has none to set."""
    env = os.environ if environ is None else environ
    names = [variable.name for variable in variables]
    return not names or any(map(env.get, names))


def settings_from_environment(
    variables: Iterable[Variable], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The connection's settings by the vendor's words; FatalError names what is missing."""
    env = os.environ if environ is None else environ
    settings: dict[str, str] = {}
    missing: list[Variable] = []
    for variable in variables:
        value = env.get(variable.name) or variable.default
        if value is not None:
            settings[variable.setting] = value
        elif variable.is_required:
            missing.append(variable)
    if missing:
        names = "; ".join(f"{variable.name} ({variable.description})" for variable in missing)
        raise FatalError(f"not set: {names}", hint=_WHERE)
    return settings


#: What every program needs to find its way: paths, language, proxies, certificates. No secrets of ours.
_EVERYBODYS = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


def for_other_programs(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that somebody else's program may see."""
    env = os.environ if environ is None else environ
    return {name: env[name] for name in _EVERYBODYS if name in env}


_WHERE = "set it in the environment or in the file .env of the project's root; see .env.example"


def set_default(name: str, value: str) -> None:
    """Set a variable for this process and those that it starts, unless somebody has."""
    os.environ.setdefault(name, value)
