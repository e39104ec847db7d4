"""All sources: those that come with the package and those that a user's files name."""

from __future__ import annotations

from meltano_assets.errors import FatalError
from meltano_assets.sources import SOURCES
from meltano_assets.sources.base import Source
from meltano_assets.sources.rules import with_objects


def registered() -> tuple[Source, ...]:
    """Every source; FatalError when a user's file is wrong or names one that is there already."""
    from meltano_assets.sources import databases, singer

    found = {source.name: source for source in SOURCES}
    for module in (databases, singer):
        for source in module.configured():
            if source.name in found:
                raise FatalError(
                    f"{module.FILE}: there is a source {source.name} already",
                    hint="give the entry another name; it becomes the schema of its tables",
                )
            found[source.name] = source
    return with_objects(found.values())
