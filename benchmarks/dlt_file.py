"""dlt as its users would run it: a file into Postgres, merged on ``id``. Runs in dlt's environment.

    python dlt_file.py FILE.(csv|ndjson|parquet) FORMAT URL [key]

``FORMAT`` is dlt's loader file format or ``default``; ``key`` asks for a unique index on ``id``, which
dlt does not make by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}

import dlt

PAGE = 1000
path, loader_format, url = sys.argv[1:4]
TIMES = [f"t{number}" for number in range(1, 6)]


def pages() -> Iterator[list[Any]]:
    """Dicts, a page at a time, as an API client yields them."""
    import orjson

    with Path(path).open("rb") as file:
        page = []
        for line in file:
            page.append(orjson.loads(line))
            if len(page) == PAGE:
                yield page
                page = []
        if page:
            yield page


def tables() -> Iterator[Any]:
    """Arrow tables of a CSV or a Parquet file."""
    import pyarrow as pa

    if path.endswith(".parquet"):
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches():
            yield pa.Table.from_batches([batch])
        return
    import pyarrow.csv as pa_csv

    types: dict[str, Any] = dict.fromkeys(TIMES, pa.timestamp("us", "UTC"))
    convert = pa_csv.ConvertOptions(
        column_types={"extra": pa.string(), **types},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    for batch in pa_csv.open_csv(
        path,
        convert_options=convert,
        read_options=pa_csv.ReadOptions(block_size=16 << 20),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
    ):
        yield pa.Table.from_batches([batch])


columns: dict[str, Any] = {"extra": {"data_type": "json"}}
if path.endswith(".ndjson"):
    columns |= {name: {"data_type": "timestamp"} for name in TIMES}
if "key" in sys.argv[4:]:
    columns["id"] = {"data_type": "bigint", "unique": True}
resource = dlt.resource(
    pages if path.endswith(".ndjson") else tables,
    name="w1",
    primary_key="id",
    write_disposition="merge",
    columns=columns,
    max_table_nesting=0,
)
pipeline = dlt.pipeline(
    "bench", destination=dlt.destinations.postgres(url), dataset_name="bench_dlt"
)
pipeline.run(
    resource(), **({} if loader_format == "default" else {"loader_file_format": loader_format})
)
