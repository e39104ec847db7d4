"""Where a page of Zendesk's begins: the order of the exports and the cursors that name a place in it."""

from __future__ import annotations

import base64
import re
from datetime import datetime

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number


def export_order(record: Record) -> tuple[int, int]:
    """Second and id: exports are sorted by them."""
    stamp = record.get("generated_timestamp") or record.get("timestamp")
    if stamp is None:
        moment = datetime.fromisoformat(
            str(record.get("time") or record["updated_at"]).replace("Z", "+00:00")
        )
        stamp = int(moment.timestamp())
    return int(str(stamp)), int(str(record["id"]))


def make_cursor(record: Record, *, before: bool = False) -> str:
    """The cursor behind a record of an export, or just before it."""
    stamp, number = export_order(record)
    return base64.b64encode(f"{stamp}.0||{number - before}|".encode()).decode()


def parse_cursor(cursor: str) -> tuple[int, int] | None:
    """The place that a cursor of an export names; None when it is none."""
    try:
        text = base64.b64decode(cursor, validate=True).decode("ascii")
    except ValueError:
        return None
    found = re.fullmatch(r"(\d+)\.0\|\|(\d+)\|", text)
    is_place = found is not None and all(map(is_number, found.groups()))
    return (int(found[1]), int(found[2])) if found and is_place else None


def make_place(number: int) -> str:
    """The cursor of a place in a list."""
    return base64.urlsafe_b64encode(f'{{"o":"id","v":{number}}}'.encode()).decode().rstrip("=")


def parse_place(cursor: str) -> int | None:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        return None
    found = re.fullmatch(r'\{"o":"id","v":(\d+)\}', text)
    return int(found[1]) if found and is_number(found[1]) else None
