"""customers: the Postgres database of the self-service portal in which subscriptions are bought.

Read as ``postgres.py`` says, ordered by ``(updated_at, id)``; ``versions``, the portal's own history of
changes, is only ever added to and ordered by ``(created_at, id)``. Deletes: found by a sweep of keys.
"""

from __future__ import annotations

from meltano_assets.environment import Variable
from meltano_assets.sources.base import Source
from meltano_assets.sources.postgres import connector
from meltano_assets.sources.version import LOOKBACK
from meltano_assets.streams import Column, Stream, Sweep

CUSTOMERS = Stream(
    source="customers",
    name="customers",
    description="People who have an account at the portal, and the company they buy for.",
    columns=(
        Column("id", "integer"),
        Column("zuora_account_id", "text", "The billing account at Zuora."),
        Column("salesforce_account_id", "text", "The account at Salesforce."),
        Column("billable", "boolean"),
        Column("sign_in_count", "integer"),
        Column("current_sign_in_at", "timestamptz"),
        Column("last_sign_in_at", "timestamptz"),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    lookback=LOOKBACK,
    is_sorted=True,
    sweep=Sweep(),
)
ORDERS = Stream(
    source="customers",
    name="orders",
    description="What was ordered at the portal: one row for each subscription.",
    columns=(
        Column("id", "integer"),
        Column("customer_id", "integer"),
        Column("product_rate_plan_id", "text", "The rate plan of Zuora's product catalog."),
        Column("subscription_id", "text", "The subscription at Zuora."),
        Column("subscription_name", "text", "The subscription's number."),
        Column("start_date", "date"),
        Column("end_date", "date"),
        Column("quantity", "integer", "Seats."),
        Column("created_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    lookback=LOOKBACK,
    is_sorted=True,
    sweep=Sweep(),
)
VERSIONS = Stream(
    source="customers",
    name="versions",
    description="The portal's history: which of its rows was made, changed or removed when.",
    columns=(
        Column("id", "integer"),
        Column("item_type", "text", "Kind of the row, such as Order."),
        Column("item_id", "integer"),
        Column("event", "text", "create, update or destroy."),
        Column("transaction_id", "integer"),
        Column("created_at", "timestamptz"),
    ),
    primary_key=("id",),
    replication_key="created_at",
    lookback=LOOKBACK,
    is_sorted=True,
)

STREAMS: tuple[Stream, ...] = (CUSTOMERS, ORDERS, VERSIONS)

VARIABLES = (
    Variable("CUSTOMERS_DB_URL", "url", "postgresql:// address of the database", is_secret=True),
)

CUSTOMERS_PORTAL = Source(
    name="customers",
    title="Customers database",
    description="Customers and orders of the self-service portal.",
    variables=VARIABLES,
    streams=STREAMS,
    connect=connector("customers", VARIABLES),
    kinds=("postgres",),
    cron="25 * * * *",
)
