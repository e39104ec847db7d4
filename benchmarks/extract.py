"""Extraction: pages of JSON → Arrow against plain NDJSON readers, and paging against a bare loop.

    python -m benchmarks.extract [--rows 40000] [--rounds 7]

Each round times every way once, so that a busy moment of the machine hits all of them; the ratio of
a round is that way's speed by the other's, and the median of the rounds is shown, by wall time and
by processor time, which other work on the machine disturbs less. The NDJSON readers get the records
as ready lines and infer their types; ours gets the vendor's page, declared types, exact decimals,
and nested values as JSON text.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection

import polars as pl
import pyarrow as pa
import requests
from pyarrow import json as pa_json

from benchmarks import workloads
from meltano_assets.clients.http import HttpClient
from meltano_assets.sources.pages import Page
from meltano_assets.sources.rest import Endpoint, OffsetPaging, read_pages
from meltano_assets.streams import Column, ColumnType

_PAGE = 1000
_TYPES: dict[str, ColumnType] = {
    "has_incidents": "boolean",
    "is_public": "boolean",
    "amount": "numeric",
    "score": "double precision",
    "due_at": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "tags": "jsonb",
    "custom_fields": "jsonb",
    "via": "jsonb",
    **{f"{name}_id": "bigint" for name in ("requester", "submitter", "assignee", "group")},
    "id": "bigint",
    "generated_timestamp": "bigint",
}


def record(number: int, dice: random.Random) -> dict[str, object]:
    """Something like a ticket: 25 fields, three of them nested."""
    return {
        "id": number,
        "url": f"https://acme.example/api/v2/tickets/{number}.json",
        "external_id": None if number % 3 else f"crm-{number}",
        "type": dice.choice(["problem", "incident", None]),
        "subject": "Printer on fire " + "x" * dice.randint(0, 30),
        "description": 'It burns.\nPlease "help" ' + "lorem ipsum " * dice.randint(1, 8),
        "priority": dice.choice(["low", "high", None]),
        "status": "open",
        "recipient": None,
        "requester_id": dice.randint(1, 10**9),
        "submitter_id": dice.randint(1, 10**9),
        "assignee_id": None if number % 5 == 0 else dice.randint(1, 10**6),
        "group_id": 7,
        "brand": "sandbox",
        "tags": ["a", "b", "vip"][: number % 4],
        "custom_fields": [{"id": 1, "value": "x"}, {"id": 2, "value": None}],
        "via": {"channel": "web", "source": {"from": {}, "to": {}, "rel": None}},
        "has_incidents": False,
        "is_public": True,
        "amount": round(dice.random() * 1000, 2),
        "score": dice.random(),
        "due_at": None,
        "created_at": "2024-01-02T03:04:05Z",
        "updated_at": "2024-02-02T03:04:05Z",
        "generated_timestamp": 1_700_000_000 + number,
    }


Speeds = dict[str, list[tuple[float, float]]]


def rounds(ways: dict[str, Callable[[], object]], count: int, rows: int) -> Speeds:
    """Records a second of each way, in each round, and records a second of processor time."""
    speeds: Speeds = {name: [] for name in ways}
    for _ in range(count):
        for name, way in ways.items():
            began, worked = time.perf_counter(), time.process_time()
            way()
            took, work = time.perf_counter() - began, time.process_time() - worked
            speeds[name].append((rows / took, rows / work))
    return speeds


def show(speeds: Speeds, against: tuple[str, ...]) -> None:
    """Median speeds, and the median of the rounds' ratios to the fastest of ``against``."""
    print(f"{'':34s}{'k records/s':>12s} {'x':>6s} {'by CPU':>12s} {'x':>6s}")
    for name, values in speeds.items():
        line = f"{name:34s}"
        for each in (0, 1):
            own = [value[each] for value in values]
            rivals = zip(*([value[each] for value in speeds[one]] for one in against), strict=True)
            ratio = statistics.median(v / max(b) for v, b in zip(own, rivals, strict=True))
            line += f"{statistics.median(own) / 1000:12.0f} {ratio:6.2f} "
        print(line.rstrip())


def tickets(rows: int, *, nested: bool) -> list[dict[str, object]]:
    """Records like tickets, with their nested fields or without."""
    dice = random.Random(1)
    left_out = set() if nested else {"tags", "custom_fields", "via"}
    return [
        {name: value for name, value in record(number, dice).items() if name not in left_out}
        for number in range(rows)
    ]


def w1(rows: int) -> list[dict[str, object]]:
    """The rows of W1 as an API writes them: 25 fields, one of them nested."""
    batches = workloads.table("w1", rows).to_batches()
    return [json.loads(line) for batch in batches for line in workloads.json_lines(batch)]


def pages_to_arrow(
    name: str, records: list[dict[str, object]], count: int, types: Mapping[str, ColumnType]
) -> None:
    """Vendor's pages → Arrow."""
    rows = len(records)
    columns = tuple(Column(field, types.get(field, "text")) for field in records[0])
    cuts = range(0, rows, _PAGE)
    compact = (",", ":")
    bodies = [
        json.dumps({"tickets": records[i : i + _PAGE], "next": i}, separators=compact).encode()
        for i in cuts
    ]
    lines = [
        "\n".join(json.dumps(one, separators=compact) for one in records[i : i + _PAGE]).encode()
        for i in cuts
    ]
    ways: dict[str, Callable[[], object]] = {
        "pyarrow, NDJSON": lambda: [pa_json.read_json(pa.BufferReader(one)) for one in lines],
        "polars, NDJSON": lambda: [pl.read_ndjson(io.BytesIO(one)) for one in lines],
        "ours, pages": lambda: [Page(body, "tickets", columns).batch for body in bodies],
    }
    print(f"pages → Arrow, {name}, {len(columns)} fields")
    show(rounds(ways, count, rows), ("pyarrow, NDJSON", "polars, NDJSON"))


def _serve(told: Connection, bodies: list[bytes]) -> None:
    from meltano_assets_tests.clients.local_server import Answer, Request, serving

    def page(request: Request) -> Answer:
        return Answer(bodies[int(request.params["offset"]) // _PAGE])

    with serving(page) as server:
        told.send(server.base_url)
        told.recv()


def paging(rows: int, count: int) -> None:
    """Reading all pages of a list over a socket, unparsed, and by us all the way to Arrow."""
    dice = random.Random(1)
    records = [record(number, dice) for number in range(rows)]
    bodies = [
        json.dumps({"tickets": records[i : i + _PAGE]}).encode() for i in range(0, rows, _PAGE)
    ]
    bodies.append(b'{"tickets": []}')
    columns = tuple(Column(name, _TYPES.get(name, "text")) for name in records[0])
    endpoint = Endpoint("/t", records="tickets", paging=OffsetPaging(size=_PAGE))
    ours, theirs = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=_serve, args=(theirs, bodies), daemon=True)
    server.start()
    address = ours.recv()

    def bare() -> None:
        with requests.Session() as session:
            offset = 0
            while True:
                params = {"offset": offset, "limit": _PAGE}
                found = session.get(f"{address}/t", params=params, timeout=60).json()["tickets"]
                if not found:
                    return
                offset += _PAGE

    def careful() -> None:
        with HttpClient(address, source="bench") as client:
            for page in read_pages(client, endpoint, stream="t", columns=columns):
                assert page.batch is not None

    print("paging over a socket: requests + json() against ours, all the way to Arrow")
    show(rounds({"requests.Session": bare, "ours": careful}, count, rows), ("requests.Session",))
    ours.send(None)
    server.join(10)


def main() -> None:
    """All workloads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    flat, nested = (tickets(given.rows, nested=each) for each in (False, True))
    pages_to_arrow("tickets, nothing nested", flat, given.rounds, _TYPES)
    pages_to_arrow("tickets, three nested", nested, given.rounds, _TYPES)
    pages_to_arrow("W1, one nested", w1(given.rows), given.rounds, workloads.W1_COLUMNS)
    paging(given.rows, given.rounds)


if __name__ == "__main__":
    main()
