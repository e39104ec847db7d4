"""X4: rows that a vendor deleted without telling are found by reading keys, within a budget."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from meltano_assets import sweeping
from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import ErrorTable, Quota, Transport, json_detail
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.extraction import open_source
from meltano_assets.sources.base import Connect, Source
from meltano_assets.sources.postgres import connector
from meltano_assets.sources.rest import CursorPaging, Endpoint, RestReader
from meltano_assets.sources.rules import parse_rules, parse_sweep, with_objects
from meltano_assets.streams import Column, ReadOptions, Stream, Sweep
from meltano_assets.sweeping import Swept
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.sweep import last_pass
from meltano_assets_tests.clients.local_server import Answer, LocalServer, Request, serving

NOW = datetime(2026, 2, 1, tzinfo=UTC)
PLAN = Sweep(every=timedelta(days=7), calls=100, max_vanished=0.5)
VARIABLES = (Variable("SHOP_URL", "url", "the address", is_secret=True),)
STREAM = Stream(
    "shop",
    "things",
    columns=(Column("id", "bigint"), Column("name"), Column("updated_at", "timestamptz")),
    primary_key=("id",),
    replication_key="updated_at",
    is_sorted=True,
    sweep=PLAN,
    options={
        "page_rows": 3,
        "endpoint": Endpoint("/things", "things", CursorPaging("page", "next"), start="since"),
    },
)


@contextmanager
def connect_rest(
    settings: Mapping[str, str], *, transport: Transport | None = None
) -> Iterator[RestReader]:
    errors = ErrorTable(json_detail("code", "message"), {"stale": "later"})
    client = HttpClient(settings["url"], source="shop", errors=errors, transport=transport)
    with client:
        yield RestReader(client)


def source_of(connect: Connect, quota: Quota | None = None) -> Source:
    return Source("shop", "Shop", "A shop.", VARIABLES, (STREAM,), connect, quota=quota)


class Shop:
    """A vendor with numbered things; either a table or an API that lists them by place."""

    def __init__(self, warehouse: Warehouse, source: Source, url: str) -> None:
        self.warehouse, self.source, self.url = warehouse, source, url

    def extract(self) -> None:
        bookmark = state.read_bookmark(self.warehouse, "shop", "things")
        with open_source(self.source, {"url": self.url}, warehouse=self.warehouse) as opened:
            batches = opened.read(STREAM, bookmark, ReadOptions(), now=datetime.now(UTC))
            load(self.warehouse, opened.selected(STREAM).load, batches)
            opened.settle(STREAM)

    def sweep(self, calls: int | None = None, plan: Sweep = PLAN) -> Swept:
        with open_source(
            self.source, {"url": self.url}, warehouse=self.warehouse, is_sandbox=True
        ) as opened:
            swept = sweeping.sweep(
                opened, STREAM, self.warehouse, now=datetime.now(UTC), plan=plan, calls=calls
            )
        assert swept is not None
        return swept

    def live(self) -> list[int]:
        with self.warehouse.connect() as connection:
            rows = connection.execute(
                "select id from shop.things where _deleted_at is null order by id"
            ).fetchall()
        return [number for (number,) in rows]


@pytest.fixture
def table(warehouse: Warehouse) -> Iterator[psycopg.Connection]:
    """The vendor's own table, in a schema of its own beside the warehouse's."""
    with psycopg.connect(warehouse.url, autocommit=True) as connection:
        connection.execute(
            "create table things (id bigint primary key, name text, updated_at timestamptz"
            " default clock_timestamp() - interval '1 day')"
        )
        connection.execute("insert into things (id) select generate_series(1, 10)")
        yield connection


@pytest.fixture
def database(warehouse: Warehouse, table: psycopg.Connection) -> Shop:
    return Shop(warehouse, source_of(connector("shop", VARIABLES)), warehouse.url)


def listing(things: list[int], size: int = 3) -> Callable[[Request], Answer]:
    """Pages by place: one that is deleted moves all behind it."""

    def answer(request: Request) -> Answer:
        first = int(request.params.get("page", 0))
        found = [{"id": n, "updated_at": "2026-01-01T00:00:00Z"} for n in things]
        body: dict[str, object] = {"things": found[first : first + size]}
        if first + size < len(found):
            body["next"] = first + size
        return Answer(json.dumps(body).encode())

    return answer


@contextmanager
def api(warehouse: Warehouse, things: list[int]) -> Iterator[tuple[Shop, LocalServer]]:
    with serving(listing(things)) as server:
        yield Shop(warehouse, source_of(connect_rest), server.base_url), server


# -- what is deleted, and what is not --


def test_rows_that_are_gone_keep_their_values_and_are_marked(
    database: Shop, table: psycopg.Connection
) -> None:
    database.extract()
    table.execute("delete from things where id in (2, 9)")
    swept = database.sweep()
    assert (swept.of.state, swept.of.vanished, swept.of.marked) == ("complete", 2, 2)
    assert database.live() == [1, 3, 4, 5, 6, 7, 8, 10]
    with database.warehouse.connect() as connection:
        kept = connection.execute("select count(updated_at) from shop.things").fetchone()
        books = connection.execute(
            "select relname from pg_class where relname like 'sweep\\_keys%' and relkind = 'r'"
        ).fetchall()
    assert kept == (10,)
    assert books == []


def test_keys_of_a_type_that_the_table_brought_along_are_compared_as_such(
    database: Shop, table: psycopg.Connection
) -> None:
    table.execute("create schema shop")
    table.execute("create domain shop.number as numeric(12, 2) check (value > 0)")
    table.execute("create table shop.things (id shop.number primary key, name text)")
    database.extract()
    assert database.live() == list(range(1, 11))
    table.execute("delete from things where id in (2, 9)")
    assert database.sweep().of.marked == 2
    assert database.live() == [1, 3, 4, 5, 6, 7, 8, 10]


def test_a_pass_goes_on_where_the_budget_ended_the_run_before(
    database: Shop, table: psycopg.Connection
) -> None:
    database.extract()
    table.execute("delete from things where id = 1")
    seen = [database.sweep(calls=1) for _ in range(4)]
    assert [swept.keys for swept in seen] == [3, 3, 3, 0]
    assert [swept.of.state for swept in seen] == ["open", "open", "open", "complete"]
    assert seen[0].stopped
    assert database.live() == list(range(2, 11))


def test_rows_that_come_during_a_pass_are_not_judged_by_it(
    database: Shop, table: psycopg.Connection
) -> None:
    """A row with a key that the pass has left behind was never looked for."""
    database.extract()
    assert database.sweep(calls=2).of.is_open
    table.execute("insert into things (id, updated_at) values (0, now())")
    table.execute("update things set name = 'changed', updated_at = now() where id = 2")
    database.extract()
    table.execute("delete from things where id in (0, 2, 3)")
    assert database.sweep().of.marked == 0
    assert database.sweep().of.marked == 3
    assert database.live() == [1, *range(4, 11)]


def test_a_row_that_comes_back_is_live_again(database: Shop, table: psycopg.Connection) -> None:
    database.extract()
    table.execute("delete from things where id = 5")
    database.sweep()
    assert 5 not in database.live()
    table.execute("insert into things (id) values (5)")
    assert database.sweep().of.revived == 1
    assert 5 in database.live()


def test_too_many_at_once_are_refused_until_a_person_accepts(
    database: Shop, table: psycopg.Connection
) -> None:
    """A permission that was taken away looks like a mass delete."""
    database.extract()
    table.execute("delete from things where id > 4")
    swept = database.sweep()
    assert (swept.of.state, swept.of.vanished, swept.is_healthy) == ("refused", 6, False)
    assert database.live() == list(range(1, 11))
    assert database.sweep(plan=replace(PLAN, max_vanished=1.0)).of.marked == 6
    assert database.live() == [1, 2, 3, 4]


def test_a_record_that_slips_between_pages_is_not_taken_for_deleted(warehouse: Warehouse) -> None:
    """A list by place: when one of a page that was read goes, the next page begins one later."""
    things = list(range(1, 11))
    with api(warehouse, things) as (shop, _):
        shop.extract()
        assert shop.sweep(calls=1).of.is_open
        things.remove(1)
        first = shop.sweep()
        # 4 has slipped to the first page; 1 was seen before it went.
        assert (first.of.vanished, first.of.marked, first.of.awaits_proof) == (1, 0, True)
        second = shop.sweep()
        assert (second.of.vanished, second.of.marked) == (1, 0)  # now it is 1, for the first time
        assert shop.live() == list(range(1, 11))
        assert shop.sweep().of.marked == 1
        assert shop.live() == list(range(2, 11))
        assert not shop.sweep().of.awaits_proof


# -- kills, refusals and budgets --

_KILLED = """
import sys
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.test_sweeping import Shop, connect_rest, source_of
Shop(Warehouse(sys.argv[1]), source_of(connect_rest), sys.argv[2]).sweep()
"""


def test_a_pass_whose_process_is_killed_goes_on_with_the_page_it_was_at(
    warehouse: Warehouse,
) -> None:
    things = list(range(1, 15))
    with api(warehouse, things) as (shop, server):
        shop.extract()
        things.remove(14)
        calm, has_come, go_on = server.handler, threading.Event(), threading.Event()

        def hanging(request: Request) -> Answer:
            if request.params.get("page") == "6":
                has_come.set()
                go_on.wait(30)
            return calm(request)

        server.handler = hanging
        command = [sys.executable, "-c", _KILLED, warehouse.url, server.base_url]
        process = subprocess.Popen(command)
        try:
            assert has_come.wait(30)
        finally:
            process.kill()
            process.wait()
            go_on.set()
        assert process.returncode == -9
        server.handler = calm
        server.seen.clear()
        before = last_pass(warehouse, STREAM)
        assert before is not None and (before.pages, before.keys) == (2, 6)
        swept = shop.sweep()
        assert [request.params.get("page") for request in server.seen] == ["6", "9", "12"]
        assert (swept.of.id, swept.of.keys, swept.of.vanished) == (before.id, 13, 1)
        assert shop.sweep().of.marked == 1
        assert shop.live() == list(range(1, 14))


def test_a_position_that_the_vendor_no_longer_takes_begins_the_pass_anew(
    warehouse: Warehouse,
) -> None:
    things = list(range(1, 11))
    with api(warehouse, things) as (shop, server):
        shop.extract()
        first = shop.sweep(calls=2)
        calm = server.handler

        def forgetful(request: Request) -> Answer:
            if request.params.get("page") == "6" and len(server.seen) == 1:
                return Answer(b'{"code": "bad_token", "message": "unknown"}', 400)
            return calm(request)

        server.handler = forgetful
        server.seen.clear()
        again = shop.sweep()
        assert again.of.id != first.of.id
        assert (again.of.state, again.of.keys, again.of.vanished) == ("complete", 10, 0)


def test_the_days_share_of_calls_bounds_all_runs_together(warehouse: Warehouse) -> None:
    things = list(range(1, 31))
    with serving(listing(things)) as server:
        source = source_of(connect_rest, Quota(100))
        shop = Shop(warehouse, source, server.base_url)
        shop.extract()
        plan = replace(PLAN, quota_share=0.04)
        assert [shop.sweep(plan=plan).pages for _ in range(2)] == [4, 0]
        assert "share" in shop.sweep(plan=plan).stopped


def test_keys_that_only_a_whole_read_tells_are_read_at_one_go(warehouse: Warehouse) -> None:
    things = list(range(1, 11))

    class Whole:
        """A reader that knows no keys alone."""

        def __init__(self, reader: RestReader) -> None:
            self.read, self.count, self._reader = reader.read, reader.count, reader
            self.undeclared: dict[str, frozenset[str]] = {}

        @property
        def requests(self) -> int:
            return self._reader.requests

    @contextmanager
    def connect(
        settings: Mapping[str, str], *, transport: Transport | None = None
    ) -> Iterator[Whole]:
        with connect_rest(settings, transport=transport) as reader:
            yield Whole(reader)

    with serving(listing(things)) as server:
        shop = Shop(warehouse, source_of(connect), server.base_url)
        shop.extract()
        things.remove(7)
        few = shop.sweep(calls=2)
        assert (few.of.state, few.is_healthy) == ("abandoned", False)
        assert "too few" in few.stopped
        assert [shop.sweep().of.marked for _ in range(2)] == [0, 1]
        assert 7 not in shop.live()


def test_a_pass_is_due_after_a_while_and_at_once_when_it_is_open(
    database: Shop, table: psycopg.Connection
) -> None:
    warehouse = database.warehouse
    assert sweeping.due(warehouse, STREAM, now=NOW) is None  # nothing was loaded
    database.extract()
    now = datetime.now(UTC)
    first = sweeping.due(warehouse, STREAM, now=now)
    assert first is not None and first > now + timedelta(days=6)
    assert sweeping.due(warehouse, replace(STREAM, sweep=None), now=now) is None
    database.sweep(calls=1)
    assert sweeping.due(warehouse, STREAM, now=now) == now
    database.sweep()
    following = sweeping.due(warehouse, STREAM, now=now)
    assert following is not None and following > now + timedelta(days=6)


def test_a_stream_that_is_replaced_has_no_sweep(database: Shop) -> None:
    with open_source(
        database.source, {"url": database.url}, warehouse=database.warehouse
    ) as opened:
        stream = STREAM.with_disposition("replace")
        with pytest.raises(FatalError, match="upserted"):
            sweeping.sweep(opened, stream, database.warehouse, now=NOW)


# -- by configuration --


def test_streams_yml_sets_and_ends_sweeps(tmp_path_factory: pytest.TempPathFactory) -> None:
    source = source_of(connect_rest)
    file = tmp_path_factory.mktemp("rules") / "streams.yml"
    for text, wanted in (
        ("{every: 12h, calls: 9}", Sweep(every=timedelta(hours=12), calls=9)),
        ("{quota_share: 0.5, max_vanished: 1}", Sweep(quota_share=0.5, max_vanished=1.0)),
        ("off", None),
    ):
        file.write_text(f"shop: {{streams: {{things: {{sweep: {text}}}}}}}")
        [changed] = with_objects([source], file)
        assert changed.streams[0].sweep == wanted
        parse_rules(file.read_text(), [source])


@pytest.mark.parametrize(
    "text", ["{every: often}", "{every: 0d}", "{calls: -1}", "{rate: 3}", "[]"]
)
def test_a_wrong_sweep_is_told_by_name(text: str) -> None:
    import yaml

    with pytest.raises(FatalError, match=r"shop\.things: sweep"):
        parse_sweep(yaml.safe_load(text), "shop.things")
