"""The graph as production runs it by itself, but soon: what the daemon's test loads.

One source is due every minute and one sensor looks often; both are built by the package's own
functions and switched on as in production, while the systems are the sandbox's.
"""

from __future__ import annotations

from dataclasses import replace

import dagster as dg

from meltano_assets import automation
from meltano_assets.definitions import build_definitions
from meltano_assets.resources import Vendors, WarehouseResource
from meltano_assets.sources import SOURCES

SOURCE, SCHEDULE, SENSOR = "version", "version_schedule", "hosts_sensor"


@dg.definitions
def defs() -> dg.Definitions:
    """The whole graph with one schedule and one sensor that run."""
    whole = build_definitions(WarehouseResource(), Vendors())
    soon = tuple(replace(s, cron="* * * * *") if s.name == SOURCE else s for s in SOURCES)
    schedules = automation.build_schedules(soon, "production")
    sensors = automation.build_sensors("production", every_seconds=3)
    return dg.Definitions(
        assets=whole.assets,
        jobs=whole.jobs,
        schedules=[schedule for schedule in schedules if schedule.name == SCHEDULE],
        sensors=[sensor for sensor in sensors if sensor.name == SENSOR],
        resources=whole.resources,
        executor=whole.executor,
    )
