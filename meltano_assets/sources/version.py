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
from meltano_assets.streams import Column, ColumnType, Stream

LOOKBACK = timedelta(minutes=10)

#: What the development index compares, each as the installation's own and the leader's value.
_INDEX_SUBJECTS = (
    "boards",
    "ci_pipelines",
    "deployments",
    "environments",
    "issues",
    "merge_requests",
    "milestones",
    "notes",
    "projects_prometheus_active",
    "service_desk_issues",
)

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


def _table(name: str, description: str, *columns: Column) -> Stream:
    """A table with the usual keys: ``id``, and ``updated_at`` that orders its changes."""
    audit = (Column("created_at", "timestamptz"), Column("updated_at", "timestamptz"))
    return Stream(
        source="version",
        name=name,
        description=description,
        columns=(Column("id", "integer"), *columns, *audit),
        primary_key=("id",),
        replication_key="updated_at",
        lookback=LOOKBACK,
        is_sorted=True,
    )


def _index_columns() -> tuple[Column, ...]:
    kinds = {"leader": "The leaders' value", "instance": "The installation's value"}
    kinds["percentage"] = "The installation's share of the leaders' value"
    kind: ColumnType = "double precision"
    return tuple(
        Column(f"{prefix}_{subject}", kind, f"{words} for {subject.replace('_', ' ')}.")
        for subject in _INDEX_SUBJECTS
        for prefix, words in kinds.items()
    )


HOSTS = _table(
    "hosts",
    "Hosts that have asked for their version, as the version application knows them.",
    Column("url", "text", "The host as it was first seen."),
    Column("star", "boolean", "Marked by a person."),
    Column("fortune_rank", "integer"),
    Column("in_salesforce", "boolean"),
)
LICENSES = _table(
    "licenses",
    "Licenses as installations report them in their pings.",
    Column("company", "text"),
    Column("user_count", "integer"),
    Column("add_ons", "text"),
    Column("starts_on", "date"),
    Column("expires_on", "date"),
    Column("active_users_count", "integer"),
    Column("historical_max_users_count", "integer"),
    Column("last_ping_received_at", "timestamptz"),
    Column("version", "text"),
)
DEVELOPMENT_INDICES = _table(
    "conversational_development_indices",
    "How an installation's use of each stage compares with that of the leaders.",
    Column("usage_data_id", "integer", "The usage ping that it was computed from."),
    *_index_columns(),
)
FORTUNE_COMPANIES = _table(
    "fortune_companies",
    "The largest companies and their domains.",
    Column("rank", "integer"),
    Column("company", "text"),
    Column("domain", "text"),
)
VERSIONS = _table(
    "versions",
    "Versions that were released, and whether they are vulnerable.",
    Column("version", "text"),
    Column("vulnerable", "boolean"),
)
USERS = _table(
    "users",
    "People who may look into the version application.",
    Column("email", "text", is_pii=True),
    Column("sign_in_count", "integer"),
    Column("current_sign_in_at", "timestamptz"),
    Column("last_sign_in_at", "timestamptz"),
    Column("current_sign_in_ip", "inet", is_pii=True),
    Column("last_sign_in_ip", "inet", is_pii=True),
    Column("failed_attempts", "integer"),
    Column("locked_at", "timestamptz"),
    Column("provider", "text"),
    Column("uid", "text", is_pii=True),
)

STREAMS: tuple[Stream, ...] = (
    VERSION_CHECKS,
    USAGE_DATA,
    HOSTS,
    LICENSES,
    DEVELOPMENT_INDICES,
    FORTUNE_COMPANIES,
    VERSIONS,
    USERS,
)

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
