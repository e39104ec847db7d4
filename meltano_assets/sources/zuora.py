"""Zuora Billing: accounts, subscriptions, invoices and payments."""

from __future__ import annotations

from meltano_assets.sources.zuora_streams import STREAMS

__all__ = ["STREAMS"]
