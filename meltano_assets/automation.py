"""When things run: jobs, schedules, automation conditions and the table of environments.

A schedule can rebuild the graph alone; automation conditions only shorten the delay between a
source's schedule and everything downstream of it. Nothing runs by itself outside ``production``:
one table says so, and a schedule or sensor that it does not name fails at load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from typing import Any, Literal

import dagster as dg

# What ``define_asset_job`` returns; dagster exports no name for it.
from dagster._core.definitions.unresolved_asset_job_definition import (  # noqa: TID251
    UnresolvedAssetJobDefinition,
)

from meltano_assets.environment import EnvironmentName
from meltano_assets.sources.base import Source

Mode = Literal["automatic", "manual"]

_PRODUCTION_ONLY: Mapping[EnvironmentName, Mode] = {
    "local": "manual",
    "test": "manual",
    "review": "manual",
    "production": "automatic",
}

#: What runs by itself where. Every schedule and sensor belongs to a line.
AUTOMATION: Mapping[str, Mapping[EnvironmentName, Mode]] = {
    "source_schedules": _PRODUCTION_ONLY,
    "nightly_rebuild": _PRODUCTION_ONLY,
    "roles_check": _PRODUCTION_ONLY,
    "hosts_sensor": _PRODUCTION_ONLY,
    "dbt_sensor": _PRODUCTION_ONLY,
    "salesforce_sync_sensor": _PRODUCTION_ONLY,
}

#: Environments whose sync writes to a vendor that the user configured. Elsewhere it plans; the
#: sandbox's Salesforce is always written to.
PUSHES_TO_VENDORS: Mapping[EnvironmentName, bool] = {
    "local": False,
    "test": False,
    "review": False,
    "production": True,
}

#: Streams of events, by source: what happened on a day can be read again by day. The first day that
#: can be filled is beside them.
EVENT_STREAMS: Mapping[str, tuple[str, ...]] = {
    "version": ("version_checks", "usage_data"),
    "marketo": ("activities",),
}
FIRST_DAY = datetime(2015, 1, 1, tzinfo=UTC)

NIGHTLY_CRON = "0 2 * * *"
#: When the nightly rebuild is done.
ROLES_CRON = "30 6 * * *"
#: The asset that stands for the roles of the warehouse.
ROLES = dg.AssetKey(["warehouse", "roles"])
#: How often the automation sensors look for news.
SENSOR_SECONDS = 30

#: Carries news downstream as soon as something directly upstream was updated and has passed its
#: blocking checks. A blocking check runs with the asset that it checks, or this waits for ever.
ON_NEWS = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()

EVERYTHING = dg.AssetSelection.all()


def on_checked_news(upstream: Iterable[dg.AssetKey]) -> dg.AutomationCondition:
    """The same, once every blocking check of all these assets has passed on what they hold now.

    For what leaves the house: news of one source must not carry bad rows of another along, which
    wait further up behind a failed check.
    """
    passed = dg.AutomationCondition.all_checks_match(
        dg.AutomationCondition.check_passed(), blocking_only=True
    )
    gates = [dg.AutomationCondition.asset_matches(key, passed) for key in sorted(upstream)]
    return reduce(and_, gates, ON_NEWS)


def is_automatic(family: str, environment: EnvironmentName) -> bool:
    """True when the schedule or sensor runs by itself there; KeyError when it is not declared."""
    if family not in AUTOMATION:
        raise KeyError(f"{family} is not in the table of environments (automation.AUTOMATION)")
    return AUTOMATION[family][environment] == "automatic"


def build_jobs(
    sources: tuple[Source, ...], *, has_roles: bool = False
) -> list[UnresolvedAssetJobDefinition]:
    """One job for each source, one for everything, and one for the roles where there are any."""
    jobs = [
        dg.define_asset_job(
            f"{source.name}_job",
            selection=dg.AssetSelection.groups(f"raw/{source.name}"),
            description=f"Load every stream of {source.title}.",
        )
        for source in sources
    ]
    everything = dg.define_asset_job(
        "everything",
        selection=EVERYTHING,
        description="The whole graph: sources, hosts, dbt, Salesforce sync.",
    )
    if has_roles:
        roles = dg.define_asset_job(
            "roles_check",
            selection=dg.AssetSelection.checks_for_assets(ROLES),
            description="Compare roles and rights of the warehouse with roles.yaml.",
        )
        jobs.append(roles)
    return [*jobs, everything, *_history_jobs(sources)]


def _history_jobs(sources: tuple[Source, ...]) -> list[UnresolvedAssetJobDefinition]:
    """One job partitioned by day for each source of events, to fill history from the UI.

    The assets themselves are read by bookmark and have no partitions: news do not wait for the end
    of a day, and *Materialize all* asks nobody for one. Partitions are the same read with their days
    as its window (``raw.read_options``); it leaves the bookmark alone.
    """
    jobs: list[UnresolvedAssetJobDefinition] = []
    for source in sources:
        events = [
            stream for stream in source.streams if stream.name in EVENT_STREAMS.get(source.name, ())
        ]
        if not events:
            continue
        jobs.append(
            HistoryJob(
                name=f"{source.name}_history",
                selection=dg.AssetSelection.assets(
                    *(dg.AssetKey([source.name, stream.name]) for stream in events)
                ),
                config=_days(),
                description=f"Reads days of {source.title} again, adjoining ones in one run: "
                "choose them under Partitions.",
            )
        )
    return jobs


class HistoryJob(UnresolvedAssetJobDefinition):
    """A job partitioned by day over assets without partitions; adjoining days are one run.

    Dagster takes a job's backfill policy from its partitioned assets, and these have none. Should
    the policy get lost, each day is a run of its own and the rows are the same.
    """

    def resolve(self, *args: Any, **kwargs: Any) -> dg.JobDefinition:
        """The job, with all adjoining days of a backfill in one run."""
        job = super().resolve(*args, **kwargs)
        job.backfill_policy = dg.BackfillPolicy.single_run()
        return job


def _days() -> dg.PartitionedConfig:
    """Days as partitions, without config: a run finds its days in its context."""
    return dg.PartitionedConfig(
        partitions_def=dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1),
        run_config_for_partition_key_fn=lambda day: {},
    )


def build_schedules(
    sources: tuple[Source, ...], environment: EnvironmentName, *, has_roles: bool = False
) -> list[dg.ScheduleDefinition]:
    """One schedule for each source, the nightly rebuild, and the roles' daily check."""
    schedules = [
        _schedule(
            f"{source.name}_schedule",
            f"{source.name}_job",
            source.cron,
            f"Loads what is new at {source.title}.",
            "source_schedules",
            environment,
        )
        for source in sources
    ]
    nightly = _schedule(
        "nightly_rebuild",
        "everything",
        NIGHTLY_CRON,
        "Rebuilds the whole graph.",
        "nightly_rebuild",
        environment,
    )
    if has_roles:
        schedules.append(
            _schedule(
                "roles_check_schedule",
                "roles_check",
                ROLES_CRON,
                "Says whether roles and rights drifted away from roles.yaml.",
                "roles_check",
                environment,
            )
        )
    return [*schedules, nightly]


def _schedule(
    name: str, job: str, cron: str, description: str, family: str, environment: EnvironmentName
) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        description=description,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if is_automatic(family, environment)
            else dg.DefaultScheduleStatus.STOPPED
        ),
    )


def build_sensors(
    environment: EnvironmentName, *, every_seconds: int = SENSOR_SECONDS
) -> list[dg.AutomationConditionSensorDefinition]:
    """One automation sensor for each family downstream, so that a person can stop one."""
    families = {
        "hosts_sensor": dg.AssetSelection.groups("hosts", "enrichment"),
        "dbt_sensor": dg.AssetSelection.kind("dbt"),
        "salesforce_sync_sensor": dg.AssetSelection.groups("salesforce_sync"),
    }
    return [
        dg.AutomationConditionSensorDefinition(
            name,
            target=target,
            run_tags={"automation": name},
            minimum_interval_seconds=every_seconds,
            default_status=(
                dg.DefaultSensorStatus.RUNNING
                if is_automatic(name, environment)
                else dg.DefaultSensorStatus.STOPPED
            ),
        )
        for name, target in families.items()
    ]
