"""What clients write to Stripe that is kept as it is: tax rates, tax ids, shipping rates, webhooks.

A tax rate has effect on the bills that name it. No webhook is ever called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.stripe_books import Books
from meltano_assets.sandbox.stripe_forms import (
    ANY,
    BOOLEAN,
    DECIMAL,
    INTEGER,
    METADATA,
    TAX_BEHAVIORS,
    TEXT,
    Shape,
    checked,
    merged_metadata,
    required_problem,
    texts,
)
from meltano_assets.sandbox.stripe_wire import Problem, existing, missing

_TAX_TYPES = (
    "amusement_tax", "communications_tax", "gst", "hst", "igst", "jct", "lease_tax", "pst", "qst",
    "rst", "sales_tax", "service_tax", "vat",
)  # fmt: skip
_TAX_RATE: Shape = {
    **texts("country description display_name jurisdiction state"),
    "active": BOOLEAN,
    "metadata": METADATA,
    "tax_type": _TAX_TYPES,
}
_NEW_TAX_RATE: Shape = {**_TAX_RATE, "inclusive": BOOLEAN, "percentage": DECIMAL}
_WEBHOOK: Shape = {
    **texts("description url"),
    "disabled": BOOLEAN,
    "enabled_events": [TEXT],
    "metadata": METADATA,
}
_NEW_WEBHOOK: Shape = {
    **{name: kind for name, kind in _WEBHOOK.items() if name != "disabled"},
    "api_version": TEXT,
    "connect": BOOLEAN,
}
_SHIPPING: Shape = {
    "active": BOOLEAN,
    "fixed_amount": {"currency_options": ANY},
    "metadata": METADATA,
    "tax_behavior": TAX_BEHAVIORS,
}
_NEW_SHIPPING: Shape = {
    **texts("display_name tax_code"),
    "delivery_estimate": ANY,
    "fixed_amount": {"amount": INTEGER, "currency": TEXT, "currency_options": ANY},
    "metadata": METADATA,
    "tax_behavior": TAX_BEHAVIORS,
    "type": ("fixed_amount",),
}
_EVENT = re.compile(r"\*|[a-z_0-9]+(\.[a-z_0-9]+)+")
_MOST_ENDPOINTS = 16


class Kept:
    """Takes and gives back what has no life of its own."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        match method, parts:
            case "POST", ["tax_rates"]:
                params = checked(given, _NEW_TAX_RATE, "display_name", "inclusive", "percentage")
                return lambda: self._new_tax_rate(params)
            case "POST", ["tax_rates", key]:
                params = checked(given, _TAX_RATE)
                return lambda: self._change("tax_rate", key, "tax_rate.updated", params)
            case "POST", ["webhook_endpoints"]:
                params = checked(given, _NEW_WEBHOOK, "url", "enabled_events")
                return lambda: self._new_webhook(params)
            case "POST", ["webhook_endpoints", key]:
                params = checked(given, _WEBHOOK)
                return lambda: self._change_webhook(key, params)
            case "DELETE", ["webhook_endpoints", key]:
                checked(given, {})
                return lambda: self._delete("webhook_endpoint", key, None)
            case "POST", ["shipping_rates"]:
                params = checked(given, _NEW_SHIPPING, "display_name")
                return lambda: self._new_shipping_rate(params)
            case "POST", ["shipping_rates", key]:
                params = checked(given, _SHIPPING)
                params.pop("fixed_amount", None)
                return lambda: self._change("shipping_rate", key, None, params)
            case "POST", ["customers", key, "tax_ids"]:
                params = checked(given, texts("type value"), "type", "value")
                return lambda: self._new_tax_id(key, params)
            case "DELETE", ["customers", key, "tax_ids", one]:
                checked(given, {})
                return lambda: self._delete_tax_id(key, one)
        return None

    def rates(self, keys: object, path: str) -> list[Record]:
        """The tax rates of these ids, as bills carry them."""
        found = []
        for place, key in enumerate(keys if isinstance(keys, list) else ()):
            rate = self._books.live("tax_rate").get(str(key))
            if rate is None:
                raise missing("tax_rate", str(key), f"{path}[{place}]")
            found.append(rate)
        return found

    def _change(self, kind: str, key: str, event: str | None, params: dict[str, Any]) -> Record:
        record = existing(self._books, kind, key)
        fields: Record = {n: v for n, v in params.items() if n in record and n != "metadata"}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(record["metadata"], params["metadata"])
        return self._books.change(event, record, **fields)

    def _delete(self, kind: str, key: str, event: str | None) -> Record:
        self._books.delete(event, existing(self._books, kind, key))
        return {"id": key, "object": kind, "deleted": True}

    def _new(self, prefix: str, kind: str, params: Mapping[str, Any]) -> Record:
        return {
            "id": self._books.new_id(prefix),
            "object": kind,
            "created": self._books.stamp(),
            "livemode": False,
            "metadata": merged_metadata({}, params.get("metadata") or {}),
        }

    def _new_tax_rate(self, params: dict[str, Any]) -> Record:
        if not 0 <= params["percentage"] <= 100:
            message = "Invalid percentage: must be from 0 to 100"
            raise Problem(400, message, None, "percentage")
        plain = ("country", "description", "jurisdiction", "state", "tax_type")
        return self._books.put(
            "tax_rate.created",
            {
                **self._new("txr", "tax_rate", params),
                "active": params.get("active", True),
                "display_name": params["display_name"],
                "effective_percentage": None,
                "inclusive": params["inclusive"],
                "jurisdiction_level": None,
                "percentage": params["percentage"],
                **{name: params.get(name) for name in plain},
            },
        )

    def _new_webhook(self, params: dict[str, Any]) -> Record:
        _check_webhook(params)
        if len(self._books.live("webhook_endpoint")) >= _MOST_ENDPOINTS:
            message = f"You have reached the maximum of {_MOST_ENDPOINTS} test webhook endpoints."
            raise Problem(400, message)
        endpoint: Record = {
            **self._new("we", "webhook_endpoint", params),
            "api_version": params.get("api_version"),
            "application": None,
            "description": params.get("description"),
            "enabled_events": params["enabled_events"],
            "status": "enabled",
            "url": params["url"],
        }
        self._books.put(None, endpoint)
        # The secret is told once.
        return {**endpoint, "secret": self._books.new_id("whsec")}

    def _change_webhook(self, key: str, params: dict[str, Any]) -> Record:
        _check_webhook(params)
        if "disabled" in params:
            params["status"] = "disabled" if params["disabled"] else "enabled"
        return self._change("webhook_endpoint", key, None, params)

    def _new_shipping_rate(self, params: dict[str, Any]) -> Record:
        amount = params.get("fixed_amount") or {}
        for name in ("amount", "currency"):
            if amount.get(name) is None:
                raise required_problem(f"fixed_amount[{name}]")
        return self._books.put(
            None,
            {
                **self._new("shr", "shipping_rate", params),
                "active": True,
                "delivery_estimate": params.get("delivery_estimate"),
                "display_name": params["display_name"],
                "fixed_amount": {"amount": amount["amount"], "currency": amount["currency"]},
                "tax_behavior": params.get("tax_behavior") or "unspecified",
                "tax_code": params.get("tax_code"),
                "type": "fixed_amount",
            },
        )

    def _new_tax_id(self, customer: str, params: dict[str, Any]) -> Record:
        existing(self._books, "customer", customer)
        if not re.fullmatch(r"[a-z]{2}_[a-z_]+", params["type"]):
            raise Problem(400, f"Invalid type: {params['type']}", None, "type")
        if not re.fullmatch(r"[A-Za-z0-9. /-]{4,40}", params["value"]):
            message = f"Invalid value for {params['type']}."
            raise Problem(400, message, "tax_id_invalid", "value")
        country = params["type"].partition("_")[0].upper()
        made = self._new("txi", "tax_id", {})
        del made["metadata"]
        return self._books.put(
            "customer.tax_id.created",
            {
                **made,
                "country": params["value"][:2].upper() if country == "EU" else country,
                "customer": customer,
                "owner": {"customer": customer, "type": "customer"},
                "type": params["type"],
                "value": params["value"],
                "verification": {
                    "status": "pending", "verified_address": None, "verified_name": None,
                },
            },
        )  # fmt: skip

    def _delete_tax_id(self, customer: str, key: str) -> Record:
        if existing(self._books, "tax_id", key)["customer"] != customer:
            raise missing("tax_id", key, "id")
        return self._delete("tax_id", key, "customer.tax_id.deleted")


def _check_webhook(params: Mapping[str, Any]) -> None:
    if (address := params.get("url")) is not None:
        try:
            scheme, host = urlsplit(address).scheme, urlsplit(address).hostname
        except ValueError:
            scheme, host = "", None
        if scheme not in ("http", "https") or not host:
            message = "Invalid URL: An explicit scheme (such as https) must be provided."
            raise Problem(400, message, "url_invalid", "url")
    events = params.get("enabled_events")
    if events is None:
        return
    if not events:
        raise required_problem("enabled_events")
    for place, name in enumerate(events):
        if not name or not _EVENT.fullmatch(name):
            message = f"Invalid enabled_events[{place}]: must be one of the event types, or *"
            raise Problem(400, message, None, f"enabled_events[{place}]")
