"""ci_stats: the Postgres database in which test runs record how long each test took.

Read as ``postgres.py`` says, ordered by ``(updated_at, id)``. Deletes: old rows are purged there; what was
read before is kept here.
"""

from __future__ import annotations

from meltano_assets.environment import Variable
from meltano_assets.sources.base import Source
from meltano_assets.sources.postgres import connector
from meltano_assets.sources.version import LOOKBACK
from meltano_assets.streams import Column, Stream

STREAMS: tuple[Stream, ...] = (
    Stream(
        source="ci_stats",
        name="spec_profiling_results",
        description="One row for each test of each pipeline: its time, queries and requests.",
        columns=(
            Column("id", "integer"),
            Column("commit", "text"),
            Column("branch", "text"),
            Column("date", "timestamptz", "When the test ran."),
            Column("file", "text"),
            Column("line_number", "integer"),
            Column("description", "text"),
            Column("spec_time", "numeric", "Seconds that the test took.", field="time"),
            Column("status", "text"),
            Column("exception", "text"),
            Column("query_count", "integer"),
            Column("query_time", "numeric", "Seconds in queries."),
            Column("request_count", "integer"),
            Column("request_time", "numeric", "Seconds in requests."),
            Column("created_at", "timestamptz"),
            Column("updated_at", "timestamptz"),
        ),
        primary_key=("id",),
        replication_key="updated_at",
        lookback=LOOKBACK,
        is_sorted=True,
    ),
)

VARIABLES = (
    Variable("CI_STATS_DB_URL", "url", "postgresql:// address of the database", is_secret=True),
)

CI_STATS = Source(
    name="ci_stats",
    title="CI statistics database",
    description="How long each test of each pipeline took.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connector("ci_stats", VARIABLES),
    kinds=("postgres",),
    cron="45 * * * *",
)
