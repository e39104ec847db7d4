"""The objects of the Stripe account: the company's, with what clients made, changed and deleted.

A client's change of a field stays when the company changes others of the same object later. What
was written, and the answers to writes that carried an idempotency key, outlive the process in one
file of the state folder.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_stripe import SelfServe
from meltano_assets.sandbox.company_stripe_balance import as_of
from meltano_assets.sandbox.company_stripe_records import API_VERSION
from meltano_assets.sandbox.company_stripe_shapes import PAYMENT_INTENT
from meltano_assets.sandbox.state import StateFolder

_FILE = "stripe"
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_SECONDS = 86_400
Mark = tuple[dict[str, dict[str, Record]], dict[str, dict[str, int]], dict[str, int], int]


class Books:
    """Objects by kind and id as they are now, and their events."""

    def __init__(
        self,
        company: Company,
        day: Callable[[], int],
        now: Callable[[], datetime],
        folder: StateFolder | None = None,
    ) -> None:
        self._company = company
        self._day = day
        self._now = now
        self._folder = folder
        known = folder.read(_FILE) if folder else {}
        self._changes: dict[str, dict[str, Record]] = _tree(known.get("changes"))
        self._deleted: dict[str, dict[str, int]] = _tree(known.get("deleted"))
        self._events: list[Record] = items_of(known.get("events"))
        self._answers: dict[str, Record] = _tree(known.get("answers"))
        self._ended: dict[str, int] = _tree(known.get("ended"))
        self._merged: dict[str, dict[str, Record]] = {}
        self._merged_on = -1
        self._moment: int | None = None
        #: The id of the request under way, and its idempotency key.
        self.request: tuple[str | None, str | None] = (None, None)

    # Reading

    def live(self, kind: str) -> Mapping[str, Record]:
        """Id → object, in the order of their making."""
        day = self._day()
        if day != self._merged_on:
            self._merged.clear()
            self._merged_on = day
        if kind not in self._merged:
            gone = self._deleted.get(kind, {})
            records = {k: v for k, v in self._of_company(kind).items() if k not in gone}
            for key, change in self._changes.get(kind, {}).items():
                if key not in gone:
                    records[key] = {**records.get(key, {}), **change}
            if kind == "balance_transaction":
                records = as_of(records.values(), self.stamp())
            self._merged[kind] = records
        return self._merged[kind]

    def is_deleted(self, kind: str, key: str) -> bool:
        """Whether it was there once."""
        return key in self._deleted.get(kind, ()) or key in self._books().deleted.get(kind, ())

    def events(self) -> Iterable[Record]:
        """What happened, in order for each second; nothing of what a client deleted before."""
        for event in self._books().events:
            told = event["data"]
            about = told["object"] if isinstance(told, dict) else {}
            gone_at = self._deleted.get(str(about["object"]), {}).get(str(about["id"]))
            if gone_at is None or int(str(event["created"])) <= gone_at:
                yield event
        yield from self._events

    def _books(self) -> SelfServe:
        books = self._company.stripe(self._day())
        books.ended = self._ended
        return books

    def _of_company(self, kind: str) -> Mapping[str, Record]:
        live = self._books().live
        if kind == "payment_intent":
            return {str(c["payment_intent"]): _intent(c) for c in live["charge"].values()}
        if kind == "payment_method":
            return {str(c["payment_method"]): _method(c) for c in live["charge"].values()}
        if kind == "plan":
            return {key: _plan(price) for key, price in self.live("price").items()}
        return live.get(kind, {})

    # Writing

    def stamp(self) -> int:
        """The present, in seconds since 1970."""
        return int(self._now().timestamp()) if self._moment is None else self._moment

    @contextlib.contextmanager
    def moment(self, at: int) -> Iterator[None]:
        """What is written within the block happened at that time."""
        self._moment = at
        try:
            yield
        finally:
            self._moment = None

    def own(self, kind: str) -> list[Record]:
        """The objects of that kind that clients made."""
        company, made = self._of_company(kind), self._changes.get(kind, {})
        return [
            self.live(kind)[key] for key in made if key not in company and key in self.live(kind)
        ]

    def new_id(self, prefix: str) -> str:
        """A new id of that kind of object."""
        return f"{prefix}_{''.join(secrets.choice(_LETTERS) for _ in range(24))}"

    def put(self, event: str | None, record: Record) -> Record:
        """The object is there."""
        self._write(record, record)
        self._tell(event, record, {})
        return record

    def change(self, event: str | None, record: Record, **fields: object) -> Record:
        """The object as it is with other values in these fields; no event where nothing changed."""
        current = self.live(str(record["object"]))[str(record["id"])]
        before = {name: current.get(name) for name, value in fields.items()
                  if current.get(name) != value}  # fmt: skip
        if not before:
            return current
        self._write(current, {name: fields[name] for name in before})
        changed = {**current, **fields}
        self._tell(event, changed, {k: v for k, v in before.items() if not k.startswith("_")})
        return changed

    def delete(self, event: str | None, record: Record) -> None:
        """The object is gone."""
        kind, key = str(record["object"]), str(record["id"])
        self._deleted.setdefault(kind, {})[key] = self.stamp()
        self._forget(kind)
        self._tell(event, record, {})

    def end(self, subscription: str) -> None:
        """The company bills this subscription no more."""
        self._ended[subscription] = self.stamp()

    def mark(self) -> Mark:
        """How things are, for ``roll_back``."""
        changes = {kind: dict(records) for kind, records in self._changes.items()}
        deleted = {kind: dict(keys) for kind, keys in self._deleted.items()}
        return changes, deleted, dict(self._ended), len(self._events)

    def roll_back(self, mark: Mark) -> None:
        """Everything is as it was at that mark."""
        self._changes, self._deleted, self._ended, events = mark
        del self._events[events:]
        self._merged.clear()

    def keep(self) -> None:
        """What was written outlives the process."""
        if self._folder is not None:
            kept = {
                "changes": self._changes,
                "deleted": self._deleted,
                "events": self._events,
                "answers": self._answers,
                "ended": self._ended,
            }
            self._folder.write(_FILE, kept)

    # Idempotency

    def answer(self, key: str) -> Record | None:
        """The answer that a write with this key got, for a day."""
        known = self._answers.get(key)
        if known is None or int(str(known["at"])) < self.stamp() - _KEY_SECONDS:
            return None
        return known

    def remember(self, key: str, asked: str, status: int, body: object, request_id: str) -> None:
        """Keep the answer to a write for others with its key; what is a day old goes."""
        oldest = self.stamp() - _KEY_SECONDS
        self._answers = {k: v for k, v in self._answers.items() if int(str(v["at"])) >= oldest}
        self._answers[key] = {
            "asked": asked,
            "status": status,
            "body": body,
            "request": request_id,
            "at": self.stamp(),
        }

    def _write(self, record: Record, fields: Record) -> None:
        kind, key = str(record["object"]), str(record["id"])
        changes = self._changes.setdefault(kind, {})
        changes[key] = {**changes.get(key, {}), **fields}
        self._forget(kind)

    def _forget(self, kind: str) -> None:
        self._merged.pop(kind, None)
        if kind == "price":
            self._merged.pop("plan", None)

    def _tell(self, event: str | None, record: Record, before: Record) -> None:
        if event is None:
            return
        data: Record = {"object": {k: v for k, v in record.items() if not k.startswith("_")}}
        if before:
            data["previous_attributes"] = before
        request_id, idempotency_key = self.request
        self._events.append(
            {
                "id": self.new_id("evt"),
                "object": "event",
                "api_version": API_VERSION,
                "created": self.stamp(),
                "data": data,
                "livemode": False,
                "pending_webhooks": 0,
                "request": {"id": request_id, "idempotency_key": idempotency_key},
                "type": event,
            }
        )


def items_of(value: object) -> list[Record]:
    """A value that is a list, if it is one."""
    return value if isinstance(value, list) else []


def _intent(charge: Record) -> Record:
    """What led to one of the company's charges."""
    is_paid = charge["status"] == "succeeded"
    error: Record | None = None
    if not is_paid:
        error = {
            "charge": charge["id"],
            "code": charge["failure_code"],
            "decline_code": "generic_decline",
            "message": charge["failure_message"],
            "type": "card_error",
        }
    key = charge["payment_intent"]
    return {
        **PAYMENT_INTENT,
        "id": key,
        "amount": charge["amount"],
        "amount_received": charge["amount_captured"],
        "client_secret": f"{key}_secret_{str(charge['id'])[3:]}",
        "created": charge["created"],
        "currency": charge["currency"],
        "customer": charge["customer"],
        "description": charge["description"],
        "invoice": charge["invoice"],
        "last_payment_error": error,
        "latest_charge": charge["id"],
        "payment_method": charge["payment_method"] if is_paid else None,
        "status": "succeeded" if is_paid else "requires_payment_method",
    }


def _method(charge: Record) -> Record:
    """The card that one of the company's charges was made to."""
    details = charge["payment_method_details"]
    card = details["card"] if isinstance(details, dict) else {}
    return {
        "id": charge["payment_method"],
        "object": "payment_method",
        "billing_details": charge["billing_details"],
        "card": {"exp_month": 12, "exp_year": 2034, "funding": "credit", **card},
        "created": charge["created"],
        "customer": charge["customer"],
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def _plan(price: Record) -> Record:
    """A price in the older shape."""
    kept = ("id", "active", "billing_scheme", "created", "currency", "livemode", "metadata",
            "nickname", "product", "tiers_mode", "transform_quantity")  # fmt: skip
    recurring = price["recurring"] if isinstance(price["recurring"], dict) else {}
    return {
        **{name: price[name] for name in kept},
        "object": "plan",
        "aggregate_usage": None,
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "interval": recurring.get("interval", "month"),
        "interval_count": recurring.get("interval_count", 1),
        "trial_period_days": recurring.get("trial_period_days"),
        "usage_type": recurring.get("usage_type", "licensed"),
    }


def _tree(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
