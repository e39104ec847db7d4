"""Reads and loads of one stream in processes of their own, for tests that kill them.

    python -m meltano_assets_tests.sources.reading_process

Reads lines of JSON (``source``, ``stream``, ``settings``, ``url`` of the warehouse), does each in a fork,
and answers with the fork's process id, and with how it ended: 0, 1 for an error, -9 for a kill.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from meltano_assets.clients.jobs import Poll
from meltano_assets.extraction import open_source
from meltano_assets.sources import SOURCES
from meltano_assets.sources.base import Source
from meltano_assets.sources.salesforce import connect as connect_salesforce
from meltano_assets.streams import ReadOptions
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load

POLL = Poll(first_seconds=0.05, max_seconds=0.2, deadline_seconds=60.0)


def _source(name: str) -> Source:
    """The source, impatient; Salesforce's streams are short here and go by bulk all the same."""
    source = next(each for each in SOURCES if each.name == name)
    if name == "salesforce":
        return replace(source, connect=partial(connect_salesforce, poll=POLL, bulk_threshold=1))
    return replace(source, connect=partial(source.connect, poll=POLL))


def _load(order: dict[str, object]) -> None:
    source, warehouse = _source(str(order["source"])), Warehouse(str(order["url"]))
    stream = source.stream(str(order["stream"]))
    settings = order["settings"]
    assert isinstance(settings, dict)
    with open_source(source, settings, warehouse=warehouse, is_sandbox=True) as opened:
        batches = opened.read(stream, None, ReadOptions(), now=datetime.now(UTC))
        load(warehouse, opened.selected(stream).load, batches)
        opened.settle(stream)


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                _load(json.loads(line))
            except Exception:  # noqa: BLE001 a fork must not go on with its parent's work
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _say(child)
        _say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
