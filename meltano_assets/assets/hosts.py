"""Hosts: raw hosts of the pings cleaned, then their domains and addresses enriched."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from meltano_assets import environment
from meltano_assets.assets.raw import OWNERS, RETRY, column_schema
from meltano_assets.automation import ON_NEWS
from meltano_assets.hosts import cache, claims, clean, enrich
from meltano_assets.hosts.waterfall import ADDRESS_STEPS, CACHES, DOMAIN_STEPS, VARIABLES
from meltano_assets.resources import Vendors, WarehouseResource, dagster_edge, outcome_metadata
from meltano_assets.sources.rules import Selected
from meltano_assets.streams import Stream

PINGS = [dg.AssetKey(["version", "version_checks"]), dg.AssetKey(["version", "usage_data"])]
CLEANED_HOSTS = dg.AssetKey(["hosts", "cleaned_hosts"])


class CleanConfig(dg.Config):
    """``full_refresh`` cleans every raw host of the last 60 days again."""

    full_refresh: bool = False


class EnrichConfig(dg.Config):
    """``spend_cap`` is how many names paid providers may be asked about in this run."""

    spend_cap: int | None = None


def build_hosts_assets() -> list[dg.AssetsDefinition]:
    """The cleaned hosts and the caches of the providers."""
    return [_cleaned_hosts(), _enrichment()]


def _key(stream: Stream) -> dg.AssetKey:
    return dg.AssetKey([stream.source, stream.name])


def _table_metadata(stream: Stream) -> dict[str, Any]:
    return {
        "dagster/column_schema": column_schema(Selected(stream, stream)),
        "dagster/table_name": stream.key,
    }


def _cleaned_hosts() -> dg.AssetsDefinition:
    @dg.asset(
        key=CLEANED_HOSTS,
        deps=PINGS,
        group_name="hosts",
        kinds={"python", "postgres"},
        owners=OWNERS,
        description=(
            "Raw hosts of the last 60 days of pings, each with its kind, registrable domain and "
            "canonical name.\n\nNew hosts and those pinged since they were last cleaned. Internal "
            "and invalid hosts are kept and counted, and never leave the warehouse."
        ),
        metadata=_table_metadata(cache.CLEANED_HOSTS),
        pool="hosts",
        retry_policy=RETRY,
        automation_condition=ON_NEWS,
        check_specs=[
            dg.AssetCheckSpec(
                "every_host_cleaned",
                asset=CLEANED_HOSTS,
                description=(
                    "Each raw host of the pings loaded since the last run has its row, whatever "
                    "its kind; after a full refresh each of all recent pings."
                ),
                blocking=True,
            ),
            dg.AssetCheckSpec(
                "domains_are_canonical",
                asset=CLEANED_HOSTS,
                description="Clean names are lower case, without stray dots, and of a known kind.",
                blocking=True,
            ),
        ],
    )
    def cleaned_hosts(
        context: dg.AssetExecutionContext, config: CleanConfig, database: WarehouseResource
    ) -> Iterator[Any]:
        warehouse = database.open()
        now = datetime.now(UTC)
        with dagster_edge():
            since = None if config.full_refresh else cache.unseen_since(warehouse)
            outcome = cache.refresh_cleaned_hosts(
                warehouse,
                now=now,
                run_id=context.run.run_id,
                environment=environment.current_environment(),
                full_refresh=config.full_refresh,
            )
            kinds = claims.hosts_by_kind(warehouse)
            missing = claims.uncleaned_hosts(warehouse, now=now, loaded_since=since)
            stray = claims.stray_names(warehouse)
        yield dg.MaterializeResult(
            metadata={
                **outcome_metadata(outcome),
                "dagster/row_count": sum(kinds.values()),
                **{f"hosts: {kind}": count for kind, count in kinds.items()},
            }
        )
        yield dg.AssetCheckResult(
            check_name="every_host_cleaned", passed=missing == 0, metadata={"uncleaned": missing}
        )
        yield dg.AssetCheckResult(
            check_name="domains_are_canonical",
            passed=stray == 0 and set(kinds) <= set(clean.KINDS),
            metadata={"stray names": stray},
        )

    return cleaned_hosts


def _enrichment() -> dg.AssetsDefinition:
    keys = [_key(stream) for stream in CACHES]

    @dg.multi_asset(
        name="enrichment",
        specs=[
            dg.AssetSpec(
                _key(stream),
                deps=[CLEANED_HOSTS],
                group_name="enrichment",
                kinds={"python", "postgres"},
                owners=OWNERS,
                description=(
                    f"{stream.description}\n\nAnswers, found or not, are good for 30 days; "
                    "pending ones and failures are asked again."
                ),
                metadata=_table_metadata(stream),
                automation_condition=ON_NEWS,
            )
            for stream in CACHES
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "nothing_internal_asked",
                asset=key,
                description="No internal name or non-global address was put to the provider.",
                blocking=True,
            )
            for key in keys
        ],
        pool="enrichment",
        retry_policy=RETRY,
    )
    def enrichment(
        context: dg.AssetExecutionContext,
        config: EnrichConfig,
        vendors: Vendors,
        database: WarehouseResource,
    ) -> Iterator[Any]:
        warehouse = database.open()
        with dagster_edge():
            outcome = enrich.refresh_enrichment(
                warehouse,
                vendors.optional_settings(VARIABLES),
                now=datetime.now(UTC),
                run_id=context.run.run_id,
                environment=environment.current_environment(),
                spend_cap=config.spend_cap,
            )
            leaks = claims.internal_names_by_cache(warehouse)
            rows = claims.rows_by_cache(warehouse)
        for vendor, reason in outcome.skipped.items():
            context.log.warning(f"{vendor} was not asked: {reason}")
        for stream in CACHES:
            yield dg.MaterializeResult(
                asset_key=_key(stream),
                metadata={
                    **_enrichment_metadata(outcome, stream),
                    "dagster/row_count": rows[stream.name],
                },
            )
        for stream in CACHES:
            yield dg.AssetCheckResult(
                asset_key=_key(stream),
                check_name="nothing_internal_asked",
                passed=leaks[stream.name] == 0,
                metadata={"internal names": leaks[stream.name]},
            )

    return enrichment


def _enrichment_metadata(outcome: enrich.EnrichOutcome, stream: Stream) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "candidates": outcome.candidates,
        "withheld": outcome.withheld,
        "seconds": round(outcome.seconds, 3),
    }
    for step in (*DOMAIN_STEPS, *ADDRESS_STEPS):
        counts = outcome.providers.get(step.name)
        if step.stream.name != stream.name or counts is None:
            continue
        facts |= {
            "hits": counts.hits,
            "misses": counts.misses,
            "cached": counts.cached,
            "pending": counts.pending,
            "failed": counts.failed,
            "calls spent": counts.calls,
        }
        if counts.stopped:
            facts["stopped"] = counts.stopped
        if counts.last_failure:
            facts["last failure"] = counts.last_failure
    return facts
