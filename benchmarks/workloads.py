"""Deterministic data for the benchmarks, as Arrow and as a ready CSV of the same rows.

W1 is wide, like a ticket or an opportunity: 25 columns, ids in random order, about 5 % nulls. W2 is
narrow, like a log of pings: 5 columns, ids ascending.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from meltano_assets.streams import Column, ColumnType, Stream

_TEXT = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma "
    "tau upsilon phi chi psi omega order invoice ticket priority normal urgent customer agent "
    "reply café naïve Zürich 東京 Москва São résumé 🚀 “quoted” it's"
)
_WORDS = _TEXT.split()

W1_COLUMNS: dict[str, ColumnType] = {
    "id": "bigint",
    **{f"i{n}": "integer" for n in range(1, 5)},
    "f1": "double precision",
    "f2": "double precision",
    "amount": "numeric",
    "b1": "boolean",
    "b2": "boolean",
    **{f"t{n}": "timestamptz" for n in range(1, 6)},
    **{f"s{n}": "text" for n in range(1, 9)},
    "body": "text",
    "extra": "jsonb",
}
W2_COLUMNS: dict[str, ColumnType] = {
    "id": "bigint",
    "host": "text",
    "n": "integer",
    "ts": "timestamptz",
    "version": "text",
}


def stream(workload: str, name: str = "rows") -> Stream:
    """The workload's stream, an upsert on ``id``."""
    columns = W1_COLUMNS if workload == "w1" else W2_COLUMNS
    return Stream(
        "bench", name, tuple(Column(*one) for one in columns.items()), primary_key=("id",)
    )


def table(workload: str, rows: int, seed: int = 1) -> pa.Table:
    """The workload's rows, in batches of 50,000."""
    make = _w1 if workload == "w1" else _w2
    return (
        pa.Table.from_batches(
            make(rows, np.random.default_rng(seed), random.Random(seed)).to_batches(50_000)
        )
        .combine_chunks()
        .slice(0)
    )


def changed(rows: pa.Table, share: float, column: str = "s1") -> pa.Table:
    """The same rows with one text column changed in this share of them."""
    names = np.random.default_rng(7).random(rows.num_rows) < share
    place = rows.schema.get_field_index(column)
    other = pc.if_else(pa.array(names), pa.scalar("changed"), rows.column(place))
    return rows.set_column(place, rows.schema.field(place), other)


def write_csv(rows: pa.Table, path: Path) -> None:
    """A CSV as psql's \\copy takes it: NULL empty, '' quoted."""
    pa_csv.write_csv(rows, path, pa_csv.WriteOptions(include_header=True))


def json_lines(batch: pa.RecordBatch) -> list[bytes]:
    """W1's rows as JSON objects: numerics and documents as they are written."""
    lines = []
    for record in batch.to_pylist():
        for name in ("extra", "amount"):
            if record[name] is not None:
                record[name] = orjson.Fragment(str(record[name]))
        lines.append(orjson.dumps(record))
    return lines


def _some_nulls(array: pa.Array, rng: np.random.Generator, share: float = 0.05) -> pa.Array:
    return pc.if_else(pa.array(rng.random(len(array)) >= share), array, None)


def _w1(rows: int, rng: np.random.Generator, words: random.Random) -> pa.Table:
    bodies = []
    for _ in range(20_000):
        text = ""
        while len(text) < 190:
            word, chance = words.choice(_WORDS), words.random()
            if chance < 0.10:
                text += word + ", "
            elif chance < 0.15:
                text += f'{word} "{word}" '
            else:
                text += word + ("\n" if chance < 0.20 else "\\ " if chance < 0.21 else " ")
        bodies.append(text[:200])
    extras = [
        json.dumps(
            {
                "k": number,
                "via": {"channel": words.choice(["web", "api"]), "n": words.random()},
                "tags": words.sample(_WORDS[:40], 3),
            },
            separators=(",", ":"),
        )
        for number in range(20_000)
    ]
    short = {
        "s1": ["open", "pending", "solved", "closed", "new", "hold"],
        "s2": ["low", "normal", "high", "urgent"],
        "s3": [f"agent-{n}@example.org" for n in range(2_000)],
        "s4": [f"Group {n}" for n in range(50)],
        "s5": ["web", "email", "api", "chat", "mobile"],
        "s6": [f"org_{n:06d}" for n in range(20_000)],
        "s7": ["", "EUR", "USD", "GBP", "CHF"],
        "s8": [f"tag{n},tag{n + 1}" for n in range(300)],
    }
    columns: dict[str, pa.Array] = {
        "id": pa.array(2 * rng.permutation(rows).astype(np.int64) + 10_000_000_000)
    }
    for name in ("i1", "i2", "i3", "i4"):
        columns[name] = pa.array(rng.integers(-(10**6), 10**9, rows, dtype=np.int32))
    for name in ("f1", "f2"):
        columns[name] = pa.array(rng.normal(0, 1e4, rows))
    cents = pa.array(rng.integers(0, 10**8, rows), pa.int64()).cast(pa.decimal128(19, 0))
    hundredth = pa.scalar("0.01").cast(pa.decimal128(3, 2))
    columns["amount"] = pc.multiply(cents, hundredth).cast(pa.decimal128(18, 2))
    for name in ("b1", "b2"):
        columns[name] = pa.array(rng.random(rows) < 0.5)
    for name in ("t1", "t2", "t3", "t4", "t5"):
        micros = rng.integers(1_500_000_000_000_000, 1_760_000_000_000_000, rows)
        columns[name] = pa.array(micros).cast(pa.timestamp("us", "UTC"))
    for name, values in [*short.items(), ("body", bodies), ("extra", extras)]:
        columns[name] = pc.take(pa.array(values), pa.array(rng.integers(0, len(values), rows)))
    return pa.table(
        {
            name: array if name == "id" else _some_nulls(array, rng)
            for name, array in columns.items()
        }
    )


def _w2(rows: int, rng: np.random.Generator, words: random.Random) -> pa.Table:
    ends = ["com", "de", "co.uk", "org", "fr", "com.br", "io"]
    hosts = pa.array(
        [f"srv{n}.customer{n % 9973}.example{n % 13}.{words.choice(ends)}" for n in range(100_000)]
    )
    micros = np.sort(rng.integers(1_700_000_000_000_000, 1_760_000_000_000_000, rows))
    versions = pa.array([f"{a}.{b}.{c}" for a in (7, 8, 9) for b in range(10) for c in range(8)])
    return pa.table(
        {
            "id": pa.array(2 * np.arange(1, rows + 1, dtype=np.int64)),
            "host": pc.take(hosts, pa.array(np.minimum(rng.zipf(1.3, rows) - 1, 99_999))),
            "n": pa.array(rng.integers(0, 10**6, rows, dtype=np.int32)),
            "ts": pa.array(micros).cast(pa.timestamp("us", "UTC")),
            "version": _some_nulls(
                pc.take(versions, pa.array(rng.integers(0, len(versions), rows))), rng
            ),
        }
    )
