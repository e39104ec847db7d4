"""With what assets work: the warehouse, the vendors, dbt, and the COPY IO manager.

Everything here is looked up when a run uses it; loading the definitions opens nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import dagster as dg
from pydantic import PrivateAttr

from meltano_assets import connections, environment
from meltano_assets.errors import FatalError, PlatformError
from meltano_assets.streams import Batch, Disposition, LoadOutcome, Stream

if TYPE_CHECKING:
    from meltano_assets.environment import Variable
    from meltano_assets.extraction import OpenSource
    from meltano_assets.sources.base import Source
    from meltano_assets.warehouse.connection import Warehouse


class WarehouseResource(dg.ConfigurableResource):
    """The Postgres warehouse: ``url`` when given, else the one of the environment."""

    url: str = ""
    _warehouse: Any = PrivateAttr(default=None)

    def open(self) -> "Warehouse":
        """The warehouse, connected on first use."""
        if self._warehouse is None:
            from meltano_assets.warehouse.connection import Warehouse

            self._warehouse = Warehouse(self.url) if self.url else connections.warehouse()
        warehouse: Warehouse = self._warehouse
        return warehouse


class Vendors(dg.ConfigurableResource):
    """Connections to the vendors.

    ``settings`` gives them by vendor and by the vendor's words, for tests and unusual set-ups;
    without it they come from the environment's variables, in ``local`` else from the sandbox.
    """

    settings: dict[str, dict[str, str]] = {}  # noqa: RUF012 pydantic copies defaults
    #: Whether ``settings`` lead to a sandbox, which the sync may always write to.
    settings_are_sandbox: bool = False

    def settings_of(self, vendor: str, variables: "tuple[Variable, ...]") -> Mapping[str, str]:
        """The settings of one vendor; FatalError names what is missing."""
        given = self.settings.get(vendor)
        return given if given is not None else connections.vendor_settings(vendor, variables)

    def optional_settings(
        self, vendors: "Mapping[str, tuple[Variable, ...]]"
    ) -> dict[str, Mapping[str, str]]:
        """The settings of those vendors that are there; one that is not configured is left out."""
        found: dict[str, Mapping[str, str]] = {}
        for vendor, variables in vendors.items():
            needs_choice = any(variable.is_required for variable in variables)
            is_chosen = vendor in self.settings or environment.is_configured(variables)
            if is_chosen or not needs_choice or connections.is_sandbox_allowed():
                found[vendor] = self.settings_of(vendor, variables)
        return found

    def is_sandbox(self, vendor: str, variables: "tuple[Variable, ...]") -> bool:
        """True when the sandbox stands in for this vendor."""
        if vendor in self.settings:
            return self.settings_are_sandbox
        return connections.is_sandbox(variables)

    @contextmanager
    def open(
        self, source: "Source", warehouse: "Warehouse | None" = None, run_id: str = ""
    ) -> "Iterator[OpenSource]":
        """The source, connected, by the user's rules; the warehouse remembers its jobs and calls."""
        from meltano_assets.extraction import open_source

        settings = self.settings_of(source.name, source.variables)
        with open_source(
            source,
            settings,
            warehouse=warehouse,
            run_id=run_id,
            rules=connections.source_rules(source),
            is_sandbox=self.is_sandbox(source.name, source.variables),
        ) as opened:
            yield opened


@dataclass(slots=True)
class Load:
    """Batches on their way into a raw table; ``outcome`` is filled in when they are committed.

    ``facts`` are asked for then, too: what else the UI shall show of the load.
    """

    stream: Stream
    batches: Iterable[Batch]
    full_refresh: bool = False
    outcome: LoadOutcome | None = None
    facts: Callable[[], Mapping[str, Any]] = dict


@contextmanager
def dagster_edge() -> Iterator[None]:
    """Turn our errors into Dagster's: a FatalError is a Failure that is not retried."""
    try:
        yield
    except FatalError as error:
        raise dg.Failure(
            description=str(error),
            metadata=_failure_metadata(error),
            allow_retries=False,
        ) from error


def _failure_metadata(error: PlatformError) -> dict[str, str]:
    facts = {"where": error.place, "next step": error.hint or ""}
    return {name: text for name, text in facts.items() if text}


class CopyIOManager(dg.ConfigurableIOManager):
    """Stores what an asset returns in Postgres by COPY, and gives it back.

    Takes a :class:`Load` (a stream with its bookmark and disposition), or an Arrow table, a pandas or
    polars frame, a ``RecordBatchReader``, or an iterator of those, of record batches or of dictionaries;
    all but the first go to the table named by the last two parts of the asset key, with ``primary_key``
    and ``disposition`` (default ``replace``) from the asset's metadata. A generator is given as
    ``dg.MaterializeResult(value=…)``, since Dagster takes one that is returned for its own. NaN in a
    numpy-backed frame is null, and integers that pandas rounded beside a null are refused. Gives a
    pandas frame (Arrow-backed), or an Arrow table where the parameter is annotated so.
    """

    database: dg.ResourceDependency[WarehouseResource]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Load and report; one transaction for each checkpoint."""
        from meltano_assets.warehouse import claims
        from meltano_assets.warehouse.load import load

        if obj is None:
            return
        with dagster_edge():
            job = obj if isinstance(obj, Load) else _table_load(context, obj)
            job.outcome = load(
                self.database.open(),
                job.stream,
                job.batches,
                run_id=context.run_id,
                environment=environment.current_environment(),
                full_refresh=job.full_refresh,
            )
            rows = claims.all_rows(self.database.open(), job.stream)
            facts = job.facts()
        context.add_output_metadata(
            {**outcome_metadata(job.outcome), **facts, "dagster/row_count": rows}
        )

    def load_input(self, context: dg.InputContext) -> Any:
        """The whole table of the upstream asset."""
        import pyarrow as pa
        from psycopg import sql

        from meltano_assets.warehouse.read import read_table

        schema, name = _table_of(context.asset_key)
        query = sql.SQL("select * from {}").format(sql.Identifier(schema, name))
        with dagster_edge():
            table = read_table(self.database.open(), query)
        if context.dagster_type.typing_type is pa.Table:
            return table
        import pandas as pd

        return table.to_pandas(types_mapper=pd.ArrowDtype)


def _table_of(key: dg.AssetKey) -> tuple[str, str]:
    schema = key.path[-2] if len(key.path) > 1 else "public"
    return schema, key.path[-1]


def _table_load(context: dg.OutputContext, obj: Any) -> Load:
    from meltano_assets.warehouse.frames import record_batches
    from meltano_assets.warehouse.schema import columns_from_arrow

    schema, name = _table_of(context.asset_key)
    settings = context.definition_metadata
    primary_key = settings.get("primary_key", ())
    disposition = settings.get("disposition", "replace")
    try:
        arrow_schema, batches = record_batches(obj)
    except PlatformError as error:
        if error.source is None:
            error.source, error.stream = schema, name
        raise
    try:
        if disposition not in get_args(Disposition):
            raise ValueError(f"no disposition {disposition!r}: {', '.join(get_args(Disposition))}")
        stream = Stream(
            source=schema,
            name=name,
            columns=tuple(columns_from_arrow(arrow_schema)),
            primary_key=(primary_key,) if isinstance(primary_key, str) else tuple(primary_key),
            disposition=disposition,
        )
    except ValueError as error:
        raise FatalError(
            str(error).removeprefix(f"{schema}.{name}: "),
            source=schema,
            stream=name,
            hint="see primary_key and disposition in the asset's metadata",
        ) from None
    return Load(stream, batches)


def outcome_metadata(outcome: LoadOutcome) -> dict[str, Any]:
    """What a load did, in the keys that the UI knows and in plain words."""
    metadata: dict[str, Any] = {
        "read": outcome.read,
        "inserted": outcome.inserted,
        "updated": outcome.updated,
        "unchanged": outcome.unchanged,
        "superseded": outcome.superseded,
        "quarantined": outcome.quarantined,
        "deleted": outcome.deleted,
        "seconds": round(outcome.seconds, 3),
        "load id": outcome.load_id,
        "checkpoints": outcome.checkpoints,
    }
    if outcome.bookmark and outcome.bookmark.value:
        metadata["bookmark"] = outcome.bookmark.value
    if outcome.cleaned:
        metadata["values cleaned"] = dict(outcome.cleaned)
    if outcome.schema_changes:
        metadata["schema changes"] = list(outcome.schema_changes)
    return metadata
