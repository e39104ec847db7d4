"""How Zuora writes values and errors in JSON."""

from __future__ import annotations

import secrets
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.service import json_response

ZONE = ZoneInfo("America/Los_Angeles")


def json_value(value: object) -> object:
    """As the REST API writes it: times in the tenant's zone."""
    if isinstance(value, datetime):
        text = value.astimezone(ZONE).strftime("%Y-%m-%dT%H:%M:%S.000%z")
        return f"{text[:-2]}:{text[-2:]}"
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value if isinstance(value, str | int | float) else str(value)


def lowered(record: Record) -> Record:
    """A record with names that begin with a small letter."""
    return {
        ("sku" if name == "SKU" else name[0].lower() + name[1:]): json_value(value)
        for name, value in record.items()
        if value is not None
    }


def failure(code: int, message: str, status: int = 200) -> Response:
    """An error in the form of the later calls."""
    return json_response(
        {
            "success": False,
            "processId": secrets.token_hex(8).upper(),
            "reasons": [{"code": code, "message": message}],
        },
        status,
    )
