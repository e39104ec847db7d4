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
from meltano_assets.sources.postgres import PATIENCE_SECONDS, PostgresReader, connector
from meltano_assets.streams import Bookmark, Column, ReadOptions, Stream
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.clients.local_server import FakeClock

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
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute(
        """insert into things (id, price, expires_at, day, updated_at) values
        (1, 'NaN', 'infinity', '0044-03-15 BC', '2026-01-01'),
        (2, 1.5, '2024-01-01+00', '2024-01-01', '2026-01-01')"""
    )
    batches = list(reader.read(THINGS, None, ReadOptions(), now=NOW))
    read = [row for batch in batches for row in batch.records.to_pylist()]
    assert [row["id"] for row in read] == [1, 2]
    assert [row["price"] for row in read] == ["NaN", "1.5"]
    assert read[0]["expires_at"] is None
    assert read[1]["expires_at"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert [batch.cleaned for batch in batches] == [{"infinite_time_as_null": 1}]
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
    assert ids == [*range(100, 0, -1), 102]  # what has no key is only seen by a full read
    bookmark = batches[-1].bookmark
    assert bookmark is not None and bookmark.value == "2026-01-05T03:00:00+00:00"
    again = list(reader.read(THINGS, bookmark, ReadOptions(), now=NOW + timedelta(hours=1)))
    assert [row["id"] for batch in again for row in batch.records.to_pylist()] == [1, 101]
    assert [row["id"] for row in rows(reader, limit=3)] == [100, 99, 98]


def test_pages_by_key_lose_and_repeat_nothing_where_keys_are_equal(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    """X3: ties are never lost, whatever page they fall on."""
    shop.execute("create index on things (updated_at)")
    shop.execute(
        """insert into things (id, updated_at)
        select n, timestamp '2026-01-01' + (n / 40) * interval '1 hour 1.000001 seconds'
        from generate_series(1, 205) n"""
    )
    shop.execute("insert into things (id, name) values (900, null), (901, '')")
    stream = replace(THINGS, options={"page_rows": 25})
    batches = list(reader.read(stream, None, ReadOptions(), now=NOW))
    ids = [row["id"] for batch in batches for row in batch.records.to_pylist()]
    assert ids == [*range(1, 206), 900, 901]
    assert len(batches) > 8
    assert batches[3].bookmark is not None  # a read that breaks off goes on from there
    assert [row["id"] for row in rows(reader, stream, limit=30)] == list(range(1, 31))


def test_a_row_that_is_committed_late_is_read_next_time(
    shop: psycopg.Connection, warehouse: Warehouse
) -> None:
    """X3: a transaction that runs while its table is read loses nothing."""
    clock = FakeClock()
    reader = PostgresReader(Database(warehouse.url, source="shop"), clock=clock.clock)
    now = datetime.now(UTC) + timedelta(seconds=5)

    def read(bookmark: Bookmark | None) -> tuple[list[object], Bookmark]:
        batches = list(reader.read(THINGS, bookmark, ReadOptions(), now=now))
        assert batches[-1].bookmark is not None
        ids = [row["id"] for batch in batches for row in batch.records.to_pylist()]
        return ids, batches[-1].bookmark

    add = "insert into things (id, updated_at) values (%s, (now() at time zone 'UTC') - %s)"
    shop.execute(add, (1, timedelta(minutes=1)))
    with psycopg.connect(warehouse.url) as slow:
        slow.execute(add, (2, timedelta(hours=5)))
        seen, bookmark = read(None)
        assert seen == [1]
        assert sum(clock.slept) >= PATIENCE_SECONDS
        shop.execute(add, (3, timedelta(seconds=1)))
        slow.commit()
    seen, bookmark = read(bookmark)
    assert seen == [2, 1, 3]
    # Nothing runs any more: from now on only the lookback is read again.
    shop.execute("update things set updated_at = updated_at - interval '20 minutes' where id < 3")
    seen, bookmark = read(bookmark)
    assert seen == [3]
    assert "waiting" not in str(bookmark.cursor)


@pytest.mark.parametrize("key", ["id", "code"])
def test_a_large_table_is_read_by_several_connections_that_see_the_same(
    shop: psycopg.Connection, reader: PostgresReader, key: str
) -> None:
    shop.execute(
        """insert into things (id, code, name)
        select n * n, gen_random_uuid(), repeat('x', 500) from generate_series(1, 3000) n"""
    )
    shop.execute("analyze things")
    stream = replace(
        THINGS,
        primary_key=(key,),
        replication_key=None,
        disposition="replace",
        options={"parallel": 3},
    )
    read = rows(reader, stream)
    assert sorted(row["id"] for row in read) == [n * n for n in range(1, 3001)]  # type: ignore[type-var]
    shop.execute("delete from things")
    assert rows(reader, stream) == []


def test_a_connection_that_breaks_ends_a_parallel_read(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute("insert into things (id, name) select n, 'x' from generate_series(1, 100) n")
    shop.execute(
        """create view broken as
        select id, case when id = 77 then (1 / (id - 77))::text else name end as name from things"""
    )
    columns = (Column("id", "integer"), Column("name"))
    options = {"parallel": 2, "table": "broken"}
    stream = Stream("shop", "broken", columns, ("id",), disposition="replace", options=options)
    with pytest.raises(FatalError, match="DivisionByZero"):
        rows(reader, stream)


def test_a_stream_without_columns_takes_those_of_its_table(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    shop.execute("create type mood as enum ('sad', 'ok')")
    shop.execute(
        """create table public."Odd Things" (
            "Id" smallint primary key, price numeric(10, 2), owed money, at timestamp(3) with time zone,
            tags text[], mood mood, raw bytea, took interval, span int4range, code char(4),
            _loaded_at text, secret text)"""
    )
    shop.execute("""comment on column "Odd Things".price is 'What it costs.'""")
    shop.execute(
        """insert into "Odd Things" values (7, 1.50, '$1,234.50', '2026-01-01 00:00:00.123+02',
        '{"a,b",null}', 'ok', '\\xdead00', '1 day 02:00', '[1,5)', 'ab', 'theirs', 'canary')"""
    )
    plain = Stream("shop", "odd", (), disposition="replace", options={"table": "Odd Things"})
    stream = reader.resolve(plain)
    assert {column.name: column.type for column in stream.columns} == {
        "Id": "integer",
        "price": "numeric",
        "owed": "numeric",
        "at": "timestamptz",
        "tags": "jsonb",
        "mood": "text",
        "raw": "bytea",
        "took": "text",
        "span": "jsonb",
        "code": "text",
        "source_loaded_at": "text",
        "secret": "text",
    }
    assert stream.primary_key == ("Id",)
    assert stream.column("price").description == "What it costs."
    assert rows(reader, stream) == [
        {
            "Id": 7,
            "price": Decimal("1.5"),
            "owed": Decimal("1234.5"),
            "at": datetime(2025, 12, 31, 22, 0, 0, 123000, UTC),
            "tags": '["a,b", null]',
            "mood": "ok",
            "raw": b"\xde\xad\x00",
            "took": "P1DT2H",
            "span": '"[1,5)"',
            "code": "ab  ",
            "source_loaded_at": "theirs",
            "secret": "canary",
        }
    ]
    without = replace(plain, options={"table": "Odd Things", "exclude": ["secret", "raw"]})
    assert "secret" not in rows(reader, without)[0]
    assert reader.undeclared["odd"] == frozenset()
    few = replace(plain, options={"table": "Odd Things", "select": ["price"]})
    assert [column.name for column in reader.resolve(few).columns] == ["Id", "price"]
    wrong = replace(plain, options={"table": "Odd Things", "select": ["prize"]})
    with pytest.raises(FatalError, match="has no column prize"):
        reader.resolve(wrong)


def test_a_resolved_stream_is_incremental_only_when_it_says_by_what(
    shop: psycopg.Connection, reader: PostgresReader
) -> None:
    whole = reader.resolve(Stream("shop", "things", (), disposition="replace"))
    assert (whole.primary_key, whole.disposition) == (("id",), "replace")
    by_time = Stream("shop", "things", (), replication_key="updated_at", disposition="replace")
    assert reader.resolve(by_time).disposition == "upsert"


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
