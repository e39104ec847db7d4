"""license: the Postgres database of the application that issues licenses.

Read as ``postgres.py`` says, ordered by ``(updated_at, id)``. Deletes: found by a sweep of keys.
"""

from __future__ import annotations

from meltano_assets.environment import Variable
from meltano_assets.sources.base import Source
from meltano_assets.sources.postgres import connector
from meltano_assets.sources.version import LOOKBACK
from meltano_assets.streams import Column, Stream, Sweep


def _table(name: str, description: str, *columns: Column) -> Stream:
    audit = (Column("created_at", "timestamptz"), Column("updated_at", "timestamptz"))
    return Stream(
        source="license",
        name=name,
        description=description,
        columns=(Column("id", "integer"), *columns, *audit),
        primary_key=("id",),
        replication_key="updated_at",
        lookback=LOOKBACK,
        is_sorted=True,
        sweep=Sweep(),
    )


STREAMS: tuple[Stream, ...] = (
    _table(
        "licenses",
        "Licenses that were issued, trials included.",
        Column("company", "text"),
        Column("users_count", "integer", "Seats."),
        Column("starts_at", "date"),
        Column("expires_at", "date"),
        Column("plan_name", "text"),
        Column("plan_code", "text"),
        Column("trial", "boolean"),
        Column("zuora_subscription_id", "text", "The subscription at Zuora."),
        Column("recurly_subscription_id", "text", "The subscription at the biller before Zuora."),
        Column("previous_users_count", "integer"),
        Column("trueup_quantity", "integer", "Seats paid for afterwards."),
        Column("trueup_from", "date"),
        Column("trueup_to", "date"),
    ),
    _table(
        "add_ons",
        "Add-ons that a license can carry.",
        Column("name", "text"),
        Column("code", "text"),
    ),
    _table(
        "granted_add_ons",
        "Add-ons of each license.",
        Column("license_id", "integer"),
        Column("add_on_id", "integer"),
        Column("quantity", "integer"),
    ),
    _table(
        "plans",
        "Plans of the biller before Zuora.",
        Column("recurly_code", "text"),
        Column("recurly_name", "text"),
        Column("users_count", "integer"),
    ),
    _table(
        "users",
        "People who may issue licenses.",
        Column("email", "text", is_pii=True),
        Column("sign_in_count", "integer"),
        Column("current_sign_in_at", "timestamptz"),
        Column("last_sign_in_at", "timestamptz"),
        Column("current_sign_in_ip", "text", is_pii=True),
        Column("last_sign_in_ip", "text", is_pii=True),
        Column("failed_attempts", "integer"),
        Column("locked_at", "timestamptz"),
        Column("provider", "text"),
        Column("uid", "text", is_pii=True),
    ),
)

VARIABLES = (
    Variable("LICENSE_DB_URL", "url", "postgresql:// address of the database", is_secret=True),
)

LICENSE = Source(
    name="license",
    title="License database",
    description="Licenses issued to customers and trials.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connector("license", VARIABLES),
    kinds=("postgres",),
    cron="35 * * * *",
)
