"""Any Singer tap as a source (X1): its environment, its catalog, its state in our bookmarks, its log.

``tap-test`` is a real program in a wheel of its own; what it does is told by its settings.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.extraction import OpenSource
from meltano_assets.sources import singer
from meltano_assets.sources.base import Source
from meltano_assets.sources.entries import write_catalog
from meltano_assets.sources.registry import registered
from meltano_assets.streams import Batch, Bookmark, ReadOptions
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load

NOW = datetime(2026, 1, 10, tzinfo=UTC)
SECRET = "canary-secret-7781"

TAP = r"""
import argparse, json, os, sys, time

ORDERS = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "price": {"type": ["null", "number"]},
        "updated_at": {"type": "string", "format": "date-time"},
        "tags": {"type": ["null", "array"], "items": {"type": "string"}},
        "email": {"type": ["null", "string"]},
        "_sdc_deleted_at": {"type": ["null", "string"], "format": "date-time"},
    },
}
METADATA = [
    {"breadcrumb": [], "metadata": {"table-key-properties": ["id"], "inclusion": "available",
        "replication-method": "INCREMENTAL", "valid-replication-keys": ["updated_at"]}},
    {"breadcrumb": ["properties", "id"], "metadata": {"inclusion": "automatic"}},
    {"breadcrumb": ["properties", "email"], "metadata": {"inclusion": "available"}},
]
CATALOG = {"streams": [
    {"stream": "shop-orders", "tap_stream_id": "orders", "schema": ORDERS, "metadata": METADATA},
    {"stream": "colours", "tap_stream_id": "colours", "key_properties": [],
        "schema": {"type": "object", "properties": {"name": {"type": "string"}}}},
]}


def say(**message):
    print(json.dumps(message), flush=True)


def main():
    parser = argparse.ArgumentParser()
    for name in ("--config", "--catalog", "--state"):
        parser.add_argument(name)
    parser.add_argument("--discover", action="store_true")
    options = parser.parse_args()
    config = json.load(open(options.config))
    print("signing in with", config["api_token"], file=sys.stderr, flush=True)
    print("PGPASSWORD" in os.environ and "sees too much", file=sys.stderr, flush=True)
    if options.discover:
        json.dump(CATALOG, sys.stdout)
        return
    [stream] = json.load(open(options.catalog))["streams"]
    if stream["tap_stream_id"] == "colours":
        say(type="SCHEMA", stream="colours", schema=stream["schema"], key_properties=[])
        for name in ("red", "blue"):
            say(type="RECORD", stream="colours", record={"name": name})
        return
    since = 0
    if options.state:
        since = json.load(open(options.state))["bookmarks"]["orders"]["seen"]
    print("state", since, "start", config.get("start_date"), file=sys.stderr, flush=True)
    email = {tuple(m["breadcrumb"]): m["metadata"] for m in stream["metadata"]}
    has_email = email[("properties", "email")].get("selected", True)
    say(type="SCHEMA", stream="shop-orders", schema=stream["schema"], key_properties=["id"])
    mode = config.get("mode")
    print("not a message at all", flush=True)
    if mode == "others":
        say(type="RECORD", stream="nobody", record={"id": 1})
        return
    for number in range(since + 1, config.get("count", 5) + 1):
        if mode == "crash" and number == 4:
            print("cannot go on:", config["api_token"], "is refused", file=sys.stderr, flush=True)
            sys.exit(7)
        if mode == "silent" and number == 2:
            time.sleep(600)
        record = {"id": number, "updated_at": "2026-01-%02dT00:00:00Z" % number, "tags": ["a", number]}
        record["_sdc_deleted_at"] = "2026-01-09T00:00:00Z" if number == 2 else None
        if has_email:
            record["email"] = "me@example.com"
        line = json.dumps({"type": "RECORD", "stream": "shop-orders", "record": record})
        print(line[:-2] + ', "price": 12345678901234567890.125}}', flush=True)
        if number % 2 == 0:
            say(type="STATE", value={"bookmarks": {"orders": {"seen": number,
                "replication_key_value": record["updated_at"]}}})
"""


def make_wheel(folder: Path) -> Path:
    """The tap as anybody would publish it."""
    path = folder / "tap_test-1.0-py3-none-any.whl"
    facts = "tap_test-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tap_test.py", TAP)
        wheel.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: tap-test\nVersion: 1.0\n")
        wheel.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{facts}/entry_points.txt", "[console_scripts]\ntap-test = tap_test:main\n")
        wheel.writestr(f"{facts}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def taps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which the tap is installed once for all tests."""
    folder = tmp_path_factory.mktemp("taps")
    make_wheel(folder)
    return folder


@pytest.fixture
def shop(taps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes ``singer.yml`` and gives the source that it makes."""
    monkeypatch.setenv("MELTANO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("MELTANO_STATE_DIR", str(taps / "state"))
    monkeypatch.setenv("PGPASSWORD", "not for taps")

    def make(*, discover: bool = True, mode: str = "", **words: object) -> Source:
        entry = {
            "tap": str(taps / "tap_test-1.0-py3-none-any.whl"),
            "executable": "tap-test",
            "settings": {"api_token": "${SHOP_TOKEN}", "mode": mode},
            **words,
        }
        (tmp_path / "singer.yml").write_text(json.dumps({"shop": entry}))
        [source] = [source for source in registered() if source.name == "shop"]
        if discover and not source.streams:
            catalog = singer.discover(source, {"SHOP_TOKEN": SECRET})
            write_catalog(tmp_path / "catalogs" / "shop.json", json.dumps(catalog).encode())
            [source] = [source for source in registered() if source.name == "shop"]
        return source

    yield make


def read(
    source: Source, name: str = "shop_orders", bookmark: Bookmark | None = None, **options: Any
) -> list[Batch]:
    with source.connect({"SHOP_TOKEN": SECRET}) as reader:
        stream = source.stream(name)
        return list(reader.read(stream, bookmark, ReadOptions(**options), now=NOW))


def ids(batches: list[Batch]) -> list[object]:
    return [row["id"] for batch in batches for row in batch.records.to_pylist()]


def test_the_catalogs_streams_become_streams_of_ours(shop: Any) -> None:
    source = shop()
    orders, colours = source.streams
    assert (orders.name, orders.primary_key, orders.replication_key, orders.disposition) == (
        "shop_orders",
        ("id",),
        "updated_at",
        "upsert",
    )
    assert {column.name: column.type for column in orders.columns} == {
        "id": "bigint",
        "price": "numeric",
        "updated_at": "timestamptz",
        "tags": "jsonb",
        "email": "text",
    }
    assert (colours.name, colours.primary_key, colours.disposition) == ("colours", (), "replace")
    assert [variable.name for variable in source.variables] == ["SHOP_TOKEN"]


def test_entries_choose_streams_fields_and_keys(shop: Any) -> None:
    source = shop(
        select=["shop-orders"],
        streams={"shop-orders": {"exclude": ["email"], "replication_method": "FULL_TABLE"}},
    )
    source = shop(
        discover=False,
        select=["shop-orders"],
        streams={"shop-orders": {"exclude": ["email"], "replication_method": "FULL_TABLE"}},
    )
    [orders] = source.streams
    assert (orders.replication_key, orders.disposition) == (None, "replace")
    batches = read(source)
    assert "email" not in batches[0].records.schema.names
    with source.connect({"SHOP_TOKEN": SECRET}) as reader:
        list(reader.read(orders, None, ReadOptions(), now=NOW))
        assert reader.undeclared == {"shop_orders": {"email"}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"tap": None}, "tap is not a list of texts"),
        ({"sellect": []}, "unknown word 'sellect'"),
        ({"select": ["orders"]}, "the catalog has no stream orders"),
        ({"streams": {"shop-orders": {"primary_key": "nr"}}}, "has no field nr"),
        ({"cron": "daily"}, "cron needs five fields"),
        ({"settings": []}, "settings are names and values"),
    ],
)
def test_a_wrong_entry_is_named(shop: Any, words: dict[str, object], message: str) -> None:
    shop()
    with pytest.raises(FatalError, match=message) as info:
        shop(**words)
    assert "singer.yml, shop" in str(info.value)


def test_records_keep_every_digit_and_deletes_are_marked(shop: Any) -> None:
    [batch] = read(shop())
    first, second, *_ = batch.records.to_pylist()
    assert first["price"] == Decimal("12345678901234567890.125")
    assert json.loads(first["tags"]) == ["a", 1]
    assert first["updated_at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert (first["_deleted_at"], second["_deleted_at"]) == (None, datetime(2026, 1, 9, tzinfo=UTC))


def test_the_state_lives_in_the_bookmark(shop: Any) -> None:
    source = shop()
    [batch] = read(source)
    assert ids([batch]) == [1, 2, 3, 4, 5]
    assert batch.bookmark is not None
    assert batch.bookmark.value == "2026-01-04T00:00:00Z"
    assert ids(read(source, bookmark=batch.bookmark)) == [5]
    assert ids(read(source, bookmark=batch.bookmark, full_refresh=True)) == [1, 2, 3, 4, 5]
    limited = read(source, limit=3)
    assert (ids(limited), limited[0].bookmark) == ([1, 2, 3], None)


def test_a_start_is_handed_to_the_tap_and_an_end_is_refused(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = shop()
    old = Bookmark(None, '{"bookmarks": {"orders": {"seen": 4}}}')
    batches = read(source, bookmark=old, start=datetime(2026, 1, 2, tzinfo=UTC))
    assert "state 0 start 2026-01-02T00:00:00+00:00" in caplog.text
    assert batches[0].bookmark is None
    with pytest.raises(FatalError, match="cannot be told where to end"):
        read(source, end=NOW)


def test_a_tap_that_breaks_off_is_read_on_from_its_last_committed_state(
    shop: Any, warehouse: Warehouse
) -> None:
    """L1: state and records are committed together."""
    broken = shop(mode="crash")
    stream = broken.stream("shop_orders")

    def once(source: Source) -> None:
        bookmark = state.read_bookmark(warehouse, "shop", "shop_orders")
        with source.connect({"SHOP_TOKEN": SECRET}) as reader:
            load(
                warehouse, stream, OpenSource(reader).read(stream, bookmark, ReadOptions(), now=NOW)
            )

    with pytest.raises(RetriableError, match="code 7") as info:
        once(broken)
    assert "cannot go on" in str(info.value)
    assert SECRET not in str(info.value)
    once(shop())
    once(shop())
    with warehouse.connect() as connection:
        found = connection.execute("select id from shop.shop_orders order by id").fetchall()
    assert found == [(n,) for n in range(1, 6)]


def test_its_log_arrives_without_secrets_and_it_sees_none_of_ours(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """P4: what a tap says is redacted; its variables are those that every program needs."""
    caplog.set_level(logging.INFO)
    read(shop())
    assert "tap-test: signing in with" in caplog.text
    assert SECRET not in caplog.text
    assert "sees too much" not in caplog.text
    assert "not a message" not in caplog.text
    assert "shop.shop_orders: a line of the tap is no message" in caplog.text


def test_a_silent_tap_is_ended_with_all_its_children(shop: Any) -> None:
    source = shop(mode="silent")
    tap = singer.tap_of(
        "shop",
        _spec(source),
        {"api_token": SECRET, "mode": "silent"},
        {},
        silence_seconds=1.0,
    )
    reader = singer.SingerReader(tap)
    with pytest.raises(RetriableError, match="said nothing for 1 s"):
        list(reader.read(source.stream("shop_orders"), None, ReadOptions(), now=NOW))


def _spec(source: Source) -> Any:
    with source.connect({"SHOP_TOKEN": SECRET}) as reader:
        assert isinstance(reader, singer.SingerReader)
        return reader.tap.spec


def test_a_reader_that_stops_early_leaves_no_tap_behind(shop: Any) -> None:
    source = shop(mode="silent")
    with source.connect({"SHOP_TOKEN": SECRET}) as reader:
        assert isinstance(reader, singer.SingerReader)
        messages = reader.tap.messages(singer._only(source.stream("shop_orders")), None, {})
        next(messages)
        messages.close()  # type: ignore[attr-defined]
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_tap(path)]
    assert running == []


def _is_tap(path: Path) -> bool:
    try:
        return b"bin/tap-test" in path.read_bytes() and b"--catalog" in path.read_bytes()
    except OSError:
        return False


def test_records_of_other_streams_only_are_no_success(shop: Any) -> None:
    with pytest.raises(FatalError, match="records of other streams only: 1 of nobody"):
        read(shop(mode="others"))


def test_a_tap_that_cannot_be_had_says_so(shop: Any, taps: Path) -> None:
    source = shop()
    missing = replace(_spec(source), requirements=(str(taps / "no_such_tap-1.0-py3-none-any.whl"),))
    with pytest.raises(FatalError, match="cannot be installed"):
        singer.tap_of("other", missing, {}, {}).discover()
    wrong = replace(_spec(source), executable="tap-nothing")
    with pytest.raises(FatalError, match="brings no command tap-nothing"):
        singer.tap_of("wrong", wrong, {}, {}).discover()


def test_a_broken_installation_is_begun_anew(shop: Any, taps: Path) -> None:
    source = shop()
    folder = singer.singer.environment_of("shop", _spec(source))
    (folder / ".complete").unlink()
    (folder / "bin" / "tap-test").unlink()
    assert ids(read(source)) == [1, 2, 3, 4, 5]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requirement", "settings"),
    [
        ("meltanolabs-tap-postgres", {"sqlalchemy_url": "${URL}", "filter_schemas": ["public"]}),
        (
            "pipelinewise-tap-postgres",
            {
                "host": "${HOST}",
                "port": "${PORT}",
                "user": "${USER_NAME}",
                "password": "${PASSWORD}",
                "dbname": "${DBNAME}",
                "filter_schemas": "public",
            },
        ),
    ],
    ids=["sdk", "classic"],
)
def test_taps_of_other_people_read_a_database(
    requirement: str,
    settings: dict[str, object],
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MELTANO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path / "state"))
    with psycopg.connect(warehouse.url, autocommit=True) as connection:
        connection.execute("create table things (id int primary key, at timestamptz, extra jsonb)")
        connection.execute(
            """insert into things select n, timestamptz '2026-01-01' + n * interval '1 hour', '{"a": 1}'
            from generate_series(1, 50) n"""
        )
        info = connection.info
        given = {
            "URL": warehouse.url,
            "HOST": info.host,
            "PORT": str(info.port),
            "USER_NAME": info.user,
            "PASSWORD": info.password,
            "DBNAME": info.dbname,
        }
    keys = {"replication_method": "INCREMENTAL", "replication_key": "at"}
    entry = {"tap": requirement, "executable": "tap-postgres", "settings": settings}
    file = tmp_path / "singer.yml"
    file.write_text(json.dumps({"other": entry}))
    [source] = [source for source in registered() if source.name == "other"]
    catalog: Any = singer.discover(source, given)
    write_catalog(tmp_path / "catalogs" / "other.json", json.dumps(catalog).encode())
    name = next(s["stream"] for s in catalog["streams"] if s["stream"].endswith("things"))
    file.write_text(json.dumps({"other": {**entry, "select": name, "streams": {name: keys}}}))
    [source] = [source for source in registered() if source.name == "other"]
    [stream] = source.streams

    def once() -> int:
        bookmark = state.read_bookmark(warehouse, "other", stream.name)
        with source.connect(given) as reader:
            return load(
                warehouse, stream, reader.read(stream, bookmark, ReadOptions(), now=NOW)
            ).read

    assert once() == 50
    assert once() == 1
    with psycopg.connect(warehouse.url, autocommit=True) as connection:
        connection.execute("update things set at = '2026-02-01' where id = 7")
    assert once() == 2
