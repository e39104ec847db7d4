"""Hosts: raw hosts of the pings cleaned, then their domains enriched."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from psycopg import sql

from meltano_assets import connections
from meltano_assets.assets.raw import OWNERS, RETRY
from meltano_assets.automation import ON_NEWS
from meltano_assets.hosts import cache, enrich
from meltano_assets.resources import Vendors, WarehouseResource, dagster_edge, outcome_metadata
from meltano_assets.warehouse.connection import Warehouse

CLEANED_HOSTS = dg.AssetKey(["hosts", "cleaned_hosts"])
PINGS = [dg.AssetKey(["version", "version_checks"]), dg.AssetKey(["version", "usage_data"])]
