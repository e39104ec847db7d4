"""What a source has: discover the tables of a database and the streams of a Singer tap."""

from __future__ import annotations

from typing import Annotated

import typer

from meltano_assets import connections
from meltano_assets.commands.terminal import find_source, nearest, say, say_columns
from meltano_assets.errors import FatalError


def discover_command(
    name: Annotated[str, typer.Argument(metavar="SOURCE", help="An entry of a user's file.")],
    write: Annotated[
        bool, typer.Option("--write", help="Keep it in catalogs/, from where assets are made.")
    ] = False,
) -> None:
    """Show what a database of databases.yml or a tap of singer.yml can deliver.

    With --write it becomes catalogs/SOURCE.yml (or .json for a tap), which belongs into version
    control: what it selects are assets from the next start on.
    """
    import orjson

    from meltano_assets.sources import SOURCES, databases, entries, singer

    name = name.partition(".")[0]
    own = [
        entry for file in (databases.FILE, singer.FILE) for entry, _ in entries.read_entries(file)
    ]
    if name not in own and name not in {source.name for source in SOURCES}:
        raise FatalError(
            f"no entry {name!r} in {databases.FILE} or {singer.FILE}",
            hint=nearest(name, own).strip()
            if own
            else "write one there first: docs/databases.md, docs/singer.md",
        )
    source = find_source(name)
    settings = connections.source_settings(source)
    if "singer" in source.kinds:
        catalog = singer.discover(source, settings)
        rows = singer.summary(catalog)
        path = entries.catalog_file(source.name, "json")
        content = orjson.dumps(catalog, option=orjson.OPT_INDENT_2)
    elif name in own:
        tables = databases.discover(source, settings)
        rows = databases.summary(tables)
        path = entries.catalog_file(source.name, "yml")
        content = databases.catalog(tables, source.name).encode()
    else:
        raise FatalError(
            f"the streams of {source.name} are part of the package",
            hint="discover is for entries of databases.yml and singer.yml",
        )
    say_columns(("stream", "primary key", "replication key"), rows)
    if write:
        entries.write_catalog(path, content)
        say(f"wrote {path.parent.name}/{path.name}")
    else:
        say(f"{len(rows)} in all; --write keeps them in {path.parent.name}/{path.name}")
