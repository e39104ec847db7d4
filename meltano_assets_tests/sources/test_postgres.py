"""A Postgres database as a source: types, snapshots, failures."""
# ruff: noqa: SIM117 the connection's block and the claim about it stay apart

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest

from meltano_assets.clients.database import Database
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sources.postgres import PostgresReader, connector
from meltano_assets.streams import Bookmark, Column, ReadOptions, Stream
from meltano_assets.warehouse.connection import Warehouse

NOW = datetime(2026, 1, 10, tzinfo=UTC)
THINGS = Stream(
    source="shop",
    name="things",
    columns=(
        Column("id", "integer"),
        Column("big", "bigint"),
        Column("price", "numeric"),
        Column("share", "double precision"),
        Column("name", "text"),
        Column("is_new", "boolean"),
        Column("day", "date"),
        Column("local_at", "timestamp"),
        Column("expires_at", "timestamptz"),
        Column("updated_at", "timestamptz"),
        Column("extra", "jsonb"),
        Column("code", "uuid"),
        Column("address", "inet"),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    lookback=timedelta(minutes=10),
    is_sorted=True,
)
TABLE = """
create table things (
    id int primary key, big bigint, price numeric, share float8, name text, is_new boolean,
    day date, local_at timestamp, expires_at timestamptz, updated_at timestamp, extra json,
    code uuid, address inet, secret text
)
"""


@pytest.fixture
def shop(warehouse: Warehouse) -> Iterator[psycopg.Connection]:
    with psycopg.connect(warehouse.url, autocommit=True) as connection:
        connection.execute(TABLE)
        yield connection


@pytest.fixture
def reader(warehouse: Warehouse) -> PostgresReader:
    return PostgresReader(Database(warehouse.url, source="shop"))


def rows(
    reader: PostgresReader, stream: Stream = THINGS, **options: object
) -> list[dict[str, object]]:
    batches = reader.read(stream, None, ReadOptions(**options), now=NOW)  # type: ignore[arg-type]
    return [row for batch in batches for row in batch.records.to_pylist()]


def test_values_keep_their_types(shop: psycopg.Connection, reader: PostgresReader) -> None:
    shop.execute(
        """insert into things values
        (1, 9007199254740993, 7.250, 0.1, 'a"b,
c\\', true, '2024-02-29', '2024-01-02 03:04:05.678', '2024-01-02 03:04:05.678+02',
        '2026-01-01', '{"a": [1, "x"], "b": 0.12345678901234567890}',
        '6e1f1a2e-0000-4000-8000-000000000001', '10.0.0.0/8', 'not read'),
        (2, null, null, null, '', null, null, null, null, '2026-01-02', null, null, null, null)"""
    )
    first, second = rows(reader)
    assert reader.undeclared == {"things": {"secret"}}
    assert first == {
        "id": 1,
        "big": 9007199254740993,
        "price": Decimal("7.25"),
        "share": 0.1,
        "name": 'a"b,\nc\\',
        "is_new": True,
        "day": date(2024, 2, 29),
        "local_at": datetime(2024, 1, 2, 3, 4, 5, 678000),  # noqa: DTZ001 it has no zone
        "expires_at": datetime(2024, 1, 2, 1, 4, 5, 678000, UTC),
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        "extra": '{"a": [1, "x"], "b": 0.12345678901234567890}',
        "code": "6e1f1a2e-0000-4000-8000-000000000001",
        "address": "10.0.0.0/8",
    }
    assert second["name"] == ""
    assert [second[name] for name in second if name not in ("id", "name", "updated_at")] == [
        None
    ] * 10


def test_a_value_that_arrow_cannot_hold_costs_no_row(
    shop: psycopg.Connection, reader: PostgresReader, caplog: pytest.LogCaptureFixture
) -> None:
    shop.execute(
        """insert into things (id, price, expires_at, day, updated_at) values
        (1, 'NaN', 'infinity', '0044-03-15 BC', '2026-01-01'),
        (2, 1.5, '2024-01-01+00', '2024-01-01', '2026-01-01')"""
    )
    read = rows(reader)
    assert [row["id"] for row in read] == [1, 2]
    assert [row["price"] for row in read] == ["NaN", "1.5"]
    assert read[0]["expires_at"] is None
    assert read[1]["expires_at"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert "shop.things: 1 infinite expires_at became null" in caplog.text
    assert read[0]["day"] == "0044-03-15 BC"


def test_rows_come_in_order_and_within_the_window(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute(
        """insert into things (id, updated_at)
        select n, timestamp '2026-01-01' + (100 - n) * interval '1 hour'
        from generate_series(1, 100) n"""
    )
    shop.execute("insert into things (id, updated_at) values (101, '2026-01-10'), (102, null)")
    batches = list(reader.read(THINGS, None, ReadOptions(), now=NOW))
    ids = [row["id"] for batch in batches for row in batch.records.to_pylist()]
    assert ids == list(range(100, 0, -1))
    bookmark = batches[-1].bookmark
    assert bookmark == Bookmark("2026-01-05T03:00:00+00:00")
    again = list(reader.read(THINGS, bookmark, ReadOptions(), now=NOW + timedelta(hours=1)))
    assert [row["id"] for batch in again for row in batch.records.to_pylist()] == [1, 101]
    assert [row["id"] for row in rows(reader, limit=3)] == [100, 99, 98]


def test_a_table_without_a_replication_key_is_read_whole(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute("insert into things (id) values (2), (1)")
    stream = replace(THINGS, replication_key=None, disposition="replace")
    assert len(rows(reader, stream)) == 2
    assert reader.count(stream) == 2


def test_a_column_that_is_gone_is_left_out(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute("alter table things drop column price")
    shop.execute("insert into things (id, updated_at) values (1, '2026-01-01')")
    assert "price" not in rows(reader)[0]


def test_a_column_that_became_wider_keeps_its_values(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute("alter table things alter id type bigint")
    shop.execute("insert into things (id, updated_at) values (5000000000, '2026-01-01')")
    assert rows(reader)[0]["id"] == 5_000_000_000


def test_a_key_that_is_gone_or_no_table_is_fatal(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute("alter table things drop column updated_at")
    with pytest.raises(FatalError, match=r"shop\.things: public.things has no updated_at"):
        rows(reader)
    shop.execute("drop table things")
    with pytest.raises(FatalError, match=r"no table public\.things"):
        rows(reader)


def test_a_table_that_may_not_be_read_is_fatal(
    shop: psycopg.Connection, warehouse: Warehouse
) -> None:
    name = f"reader_{warehouse.database}"
    shop.execute(f"create role {name} login password 'canary'")
    try:
        host = warehouse.url.rpartition("@")[2]
        reader = PostgresReader(Database(f"postgresql://{name}:canary@{host}", source="shop"))
        with pytest.raises(FatalError, match="permission denied for table things"):
            rows(reader)
    finally:
        shop.execute(f"drop role {name}")


def test_a_session_that_is_cut_is_retriable(shop: psycopg.Connection, warehouse: Warehouse) -> None:
    shop.execute(
        """insert into things (id, name, updated_at)
        select n, repeat('x', 1000), '2026-01-01' from generate_series(1, 30000) n"""
    )
    with pytest.raises(RetriableError, match="broke off") as info:
        with Database(warehouse.url, source="shop").snapshot() as snapshot:
            chunks = snapshot.copy_csv(psycopg.sql.SQL("select * from things"), chunk_bytes=1000)
            next(chunks)
            shop.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'meltano-assets read shop'"
            )
            list(chunks)
    assert "xxx" not in str(info.value)


def test_a_statement_that_takes_too_long_is_retriable(warehouse: Warehouse) -> None:
    database = Database(warehouse.url, source="shop", statement_timeout_seconds=1)
    with pytest.raises(RetriableError, match="QueryCanceled"), database.snapshot() as snapshot:
        list(snapshot.copy_csv(psycopg.sql.SQL("select pg_sleep(5)")))


def test_nothing_can_be_written(shop: psycopg.Connection, warehouse: Warehouse) -> None:
    with pytest.raises(FatalError, match="ReadOnlySqlTransaction"):
        with Database(warehouse.url, source="shop").snapshot() as snapshot:
            list(snapshot.copy_csv(psycopg.sql.SQL("delete from things returning id")))


def test_a_snapshot_does_not_see_what_comes_later(
    shop: psycopg.Connection, warehouse: Warehouse
) -> None:
    with Database(warehouse.url, source="shop").snapshot() as snapshot:
        assert snapshot.count("public", "things") == 0
        shop.execute("insert into things (id) values (1)")
        assert snapshot.count("public", "things") == 0


VARIABLES = (Variable("SHOP_DB_URL", "url", "the database", is_secret=True),)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            lambda url: url.replace(":", ":canary-wrong", 2).replace("canary-wrong//", "//"),
            FatalError,
            "refused",
        ),
        (lambda url: url.rpartition("/")[0] + "/nowhere", FatalError, "does not let"),
        (lambda url: "mysql://root:canary@x/y", FatalError, "no postgresql://"),
        (lambda url: "postgresql://me:canary@127.0.0.1:1/x", RetriableError, "127.0.0.1:1"),
        (lambda url: "postgresql://me:canary@no.such.host.invalid/x", RetriableError, "no.such"),
        (lambda url: "postgresql://me:canary@[x/y", FatalError, "malformed"),
    ],
    ids=["password", "database", "scheme", "port", "host", "malformed"],
)
def test_a_connection_that_fails_says_why_and_shows_no_secret(
    warehouse: Warehouse, change: object, error: type[Exception], words: str
) -> None:
    url = change(warehouse.url)  # type: ignore[operator]
    with pytest.raises(error, match=words) as info:
        with connector("shop", VARIABLES)({"url": url}) as reader:
            reader.count(THINGS)
    assert "SHOP_DB_URL" in str(info.value)
    assert "canary" not in str(info.value)


def test_chunks_hold_whole_rows(shop: psycopg.Connection, warehouse: Warehouse) -> None:
    texts = ["a\nb", 'q"\n"', "", "ü" * 50]
    for number, text in enumerate(texts * 50):
        shop.execute("insert into things (id, name) values (%s, %s)", (number, text))
    with Database(warehouse.url, source="shop").snapshot() as snapshot:
        query = psycopg.sql.SQL("select id, name from things order by id")
        chunks = list(snapshot.copy_csv(query, chunk_bytes=100))
    assert len(chunks) > 10
    assert all(chunk.endswith(b"\n") and chunk.count(b'"') % 2 == 0 for chunk in chunks)


def test_the_declared_columns_of_pings_hold_json(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute(
        "insert into things (id, extra, updated_at) values (1, %s, '2026-01-01')",
        (json.dumps({"text": "a\u2028\"'\\ \u0001"}),),
    )
    batches = list(reader.read(THINGS, None, ReadOptions(), now=NOW))
    column = batches[0].records.column("extra")
    assert column.type == pa.string()
    assert json.loads(column[0].as_py()) == {"text": "a\u2028\"'\\ \u0001"}
