"""version: the Postgres database in which installations' pings arrive.

Read as ``postgres.py`` says, ordered by ``(updated_at, id)``. Limits: our own statement timeout.
Deletes: rows are never deleted there. A row becomes visible when its transaction commits, later
than its ``updated_at``; the lookback covers that.
"""

from __future__ import annotations

from datetime import timedelta

from meltano_assets.environment import Variable
from meltano_assets.sources.base import Source
from meltano_assets.sources.postgres import connector
from meltano_assets.streams import Column, Stream

LOOKBACK = timedelta(minutes=10)

VERSION_CHECKS = Stream(
    source="version",
    name="version_checks",
    description="Version checks: each time an installation's admin page asks whether it is current.",
    columns=(
        Column("id", "integer"),
        Column("request_data", "text", "The request's headers, as text."),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
        Column("gitlab_version", "text"),
        Column("referer_url", "text", "Where the check came from: the raw host."),
        Column("host_id", "integer"),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    lookback=LOOKBACK,
    is_sorted=True,
)

USAGE_DATA = Stream(
    source="version",
    name="usage_data",
    description="Usage pings: the weekly report of an installation about itself.",
    columns=(
        Column("id", "integer"),
        Column("source_ip", "text", is_pii=True),
        Column("version", "text"),
        Column("active_user_count", "integer"),
        Column("license_add_ons", "text"),
        Column("installation_type", "text"),
        Column("license_id", "integer"),
        Column("license_starts_at", "timestamptz"),
        Column("license_expires_at", "timestamptz"),
        Column("license_user_count", "integer"),
        Column("license_restricted_user_count", "integer"),
        Column("historical_max_users", "integer"),
        Column("uuid", "text", "The installation's own id."),
        Column("edition", "text"),
        Column("hostname", "text", "The raw host, where the installation tells it."),
        Column("host_id", "integer"),
        Column("mattermost_enabled", "boolean"),
        Column("recorded_at", "timestamptz"),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
        Column("counts", "text"),
        Column("stats", "jsonb", "Counters of what the installation is used for."),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    lookback=LOOKBACK,
    is_sorted=True,
)

STREAMS: tuple[Stream, ...] = (VERSION_CHECKS, USAGE_DATA)

VARIABLES = (
    Variable("VERSION_DB_URL", "url", "postgresql:// address of the database", is_secret=True),
)

VERSION = Source(
    name="version",
    title="Version database",
    description="Version checks and usage pings of installations.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connector("version", VARIABLES),
    kinds=("postgres",),
    cron="20 * * * *",
)
