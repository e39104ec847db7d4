"""Dagster's own storage, on the Postgres that this environment uses.

``dagster.yaml`` names :class:`PlatformStorage`, so every Dagster process finds the same server
without a variable being set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_postgres import DagsterPostgresStorage

from meltano_assets import connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagster._serdes import ConfigurableClassData


#: One kept connection for each of the three storages, replaced after an hour.
POOL = {"statement_timeout": 60_000, "pool_recycle": 3600, "max_overflow": 20}


class PlatformStorage(DagsterPostgresStorage):
    """dagster-postgres storage whose URL is looked up when the instance is opened.

    Keeps its connections: opening one for every event costs more than storing it.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No configuration: the environment says where."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> PlatformStorage:
        """Open the storage; starts the embedded Postgres when nothing else is named."""
        opened = cls(postgres_url=connections.dagster_storage_url(), inst_data=inst_data)
        _remember_what_is_there(opened.event_log_storage)
        for storage in (
            opened.run_storage,
            opened.event_log_storage,
            opened.schedule_storage,
        ):
            storage.optimize_for_webserver(**POOL)
        return opened


def _remember_what_is_there(log: Any) -> None:
    """Tables and columns that are there are looked for once, not with every event of an asset.

    Dagster asks the catalog so often, by three methods, that a third of an event's time goes there.
    """
    for method in ("has_table", "has_asset_key_col", "_has_asset_key_col_on_connection"):
        if look := getattr(log, method, None):
            setattr(log, method, _remembering(look))


def _remembering(look: Callable[..., bool]) -> Callable[..., bool]:
    there = set[str]()

    def looked(*arguments: Any) -> bool:
        name = str(arguments[-1])
        if name not in there and look(*arguments):
            there.add(name)
        return name in there

    return looked
