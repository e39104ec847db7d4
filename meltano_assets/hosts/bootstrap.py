"""Which RDAP server knows a top-level domain or a network (RFC 9224): pinned, and refreshed by hand.

A run asks nobody for these files: it reads the copy that somebody refreshed into the local state
(``meltano-assets hosts bootstrap``), else the one that came with the package. A server that has
moved since costs nothing but the way over port 43.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import orjson

from meltano_assets.environment import state_directory
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    from meltano_assets.hosts.exchange import Exchange

Registry = Literal["dns", "ipv4", "ipv6"]
REGISTRIES: tuple[Registry, ...] = get_args(Registry)
IANA = "https://data.iana.org/rdap/dns.json"

#: Entries (top-level domains or networks) and the base address of the server that knows them.
Services = list[tuple[list[str], str]]


class BootstrapError(ValueError):
    """What should be a bootstrap file is none."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """One refreshed file against the one that was used before."""

    registry: Registry
    published: str
    entries: int
    added: int
    changed: int
    removed: int
    path: Path


def address_of(url: str, registry: Registry) -> str:
    """The address of one registry's file beside ``url``, the address of dns.json or its folder."""
    dns = url if url.endswith(".json") else f"{url.rstrip('/')}/dns.json"
    return dns if registry == "dns" else f"{dns.rpartition('/')[0]}/{registry}.json"


def parse_services(file: object) -> Services:
    """Entries with their server, https first; BootstrapError when it is no bootstrap file."""
    services = file.get("services") if isinstance(file, Mapping) else None
    if not isinstance(services, list):
        raise BootstrapError("malformed bootstrap file")
    found = []
    for service in services:
        if not (isinstance(service, list) and len(service) == 2):
            continue
        entries, urls = service
        if isinstance(entries, list) and isinstance(urls, list) and urls:
            texts = sorted(map(str, urls), key=lambda url: not url.startswith("https:"))
            lower = [str(entry).lower() for entry in entries]
            found.append((lower, texts[0].rstrip("/") + "/"))
    return found


def known_services(registry: Registry) -> Services:
    """The refreshed file's services, else the pinned one's."""
    refreshed = refreshed_path(registry)
    try:
        return parse_services(orjson.loads(refreshed.read_bytes()))
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        raise FatalError(
            f"{refreshed} is not a readable bootstrap file",
            source="rdap",
            hint="remove it, or refresh it: meltano-assets hosts bootstrap",
        ) from None
    return pinned_services(registry)


def pinned_services(registry: Registry) -> Services:
    """The services of the file that came with the package."""
    pinned = files("meltano_assets.hosts") / "rdap_bootstrap" / f"{registry}.json"
    return parse_services(orjson.loads(pinned.read_bytes()))


def refreshed_path(registry: Registry) -> Path:
    """Where a refreshed file is kept."""
    return state_directory() / "rdap" / f"{registry}.json"


def refresh(exchange: Exchange, url: str = IANA) -> list[Refreshed]:
    """Fetch all three files, check them, then put them in place of what was used before.

    Nothing is written unless all are sound; ProviderError says what was wrong.
    """
    from meltano_assets.hosts.exchange import ProviderError

    fetched: dict[Registry, tuple[bytes, str, Services]] = {}
    for registry in REGISTRIES:
        reply = exchange.fetch("GET", address_of(url, registry))
        if reply.status != 200:
            raise ProviderError(f"{registry}.json: answer {reply.status}")
        try:
            services = parse_services(reply.json_object())
        except BootstrapError as error:
            raise ProviderError(f"{registry}.json: {error}") from None
        if not services:
            raise ProviderError(f"{registry}.json: names no server")
        published = str(reply.json_object().get("publication") or "unknown")
        fetched[registry] = (reply.body, published, services)
    refreshed = []
    for registry, (body, published, services) in fetched.items():
        new, old = _by_entry(services), _by_entry(known_services(registry))
        path = refreshed_path(registry)
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f"{path.name}.{os.getpid()}")
        staged.write_bytes(body)
        staged.replace(path)
        refreshed.append(
            Refreshed(
                registry,
                published,
                entries=len(new),
                added=len(new.keys() - old.keys()),
                changed=sum(new[entry] != old[entry] for entry in new.keys() & old.keys()),
                removed=len(old.keys() - new.keys()),
                path=path,
            )
        )
    return refreshed


def _by_entry(services: Services) -> dict[str, str]:
    return {entry: base for entries, base in services for entry in entries}
