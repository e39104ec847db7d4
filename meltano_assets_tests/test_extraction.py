"""X5, X7, P1, P4 between a vendor's reader and the loader, on a real Postgres and real sockets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import sql

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import HeaderAuth, Quota, Transport, usage_headers
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError, QuotaError
from meltano_assets.extraction import OpenSource, open_source
from meltano_assets.privacy import key_ring
from meltano_assets.sources.base import FieldCost, Source, required
from meltano_assets.sources.rest import CursorPaging, Endpoint, RestReader
from meltano_assets.sources.rules import SourceRules, load_rules, parse_rules, selected
from meltano_assets.streams import Column, LoadOutcome, ReadOptions, Stream
from meltano_assets.warehouse import catalog, state
from meltano_assets.warehouse.backfill import Filled, fill_column
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets.warehouse.pseudonyms import rotate
from meltano_assets.warehouse.quota import QuotaLedger, quota_window
from meltano_assets_tests.clients.local_server import Answer, LocalServer, Request, serving

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
KEYS = "k1:a-secret-of-chance-1"
PEOPLE = Stream(
    "shop",
    "people",
    columns=(
        Column("id", "bigint"),
        Column("email", "text", is_pii=True),
        Column("phone", "text", is_pii=True),
        Column("score", "numeric"),
        Column("notes", "jsonb"),
        Column("updated_at", "timestamptz"),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    is_sorted=True,
    options={
        "endpoint": Endpoint(
            "/people", records="people", paging=CursorPaging("page", "next"), start="since"
        )
    },
)
LISTS = replace(PEOPLE, name="lists", replication_key=None, disposition="replace", is_sorted=False)
VARIABLES = (
    Variable("SHOP_BASE_URL", "base_url", "the address"),
    Variable("SHOP_API_KEY", "api_key", "a key", is_secret=True),
)


@contextmanager
def connect(
    settings: Mapping[str, str], *, transport: Transport | None = None
) -> Iterator[RestReader]:
    required(settings, "shop", VARIABLES)
    auth = HeaderAuth("X-Key", settings["api_key"])
    with HttpClient(settings["base_url"], source="shop", auth=auth, transport=transport) as client:
        yield RestReader(client)


SHOP = Source(
    "shop",
    "Shop",
    "A shop.",
    VARIABLES,
    (PEOPLE, LISTS),
    connect,
    quota=Quota(40, share=0.5, elsewhere_share=0.1, usage=usage_headers("X-Used", "X-Allowed")),
)


def person(number: int, **more: object) -> dict[str, object]:
    return {
        "id": number,
        "email": f"Ann{number}@Example.com",
        "phone": f"+49 30 {number:05}",
        "score": 1.5,
        "notes": {"mood": "canary-note"},
        "updated_at": (START + timedelta(hours=number)).isoformat(),
        "secret_hobby": "canary-hobby",
        **more,
    }


def pages(count: int, size: int = 2, **headers: str) -> Callable[[Request], Answer]:
    """People in pages; the vendor's headers with each."""

    def handle(request: Request) -> Answer:
        since = request.params.get("since", "")
        first = int(request.params.get("page", 0))
        people = [p for p in map(person, range(count)) if str(p["updated_at"]) >= since[:19]]
        body: dict[str, object] = {"people": people[first : first + size]}
        if first + size < len(people):
            body["next"] = first + size
        return Answer(json.dumps(body).encode(), headers=dict(headers))

    return handle


def extract(
    server: LocalServer,
    warehouse: Warehouse,
    rules: SourceRules | None = None,
    stream: Stream = PEOPLE,
    source: Source = SHOP,
    **options: Any,
) -> tuple[LoadOutcome, OpenSource]:
    settings = {"base_url": server.base_url, "api_key": "canary-key-123"}
    before = state.read_bookmark(warehouse, "shop", stream.name)
    with open_source(source, settings, warehouse=warehouse, rules=rules, **options) as opened:
        batches = opened.read(stream, before, ReadOptions(), now=NOW)
        outcome = load(warehouse, opened.selected(stream).load, batches)
        opened.settle(stream)
        return outcome, opened


def table(warehouse: Warehouse, name: str = "people") -> list[dict[str, Any]]:
    with warehouse.connect() as connection:
        cursor = connection.execute(
            sql.SQL("select * from {} order by id").format(sql.Identifier("shop", name))
        )
        names = [column.name for column in cursor.description or ()]
        return [
            {k: v for k, v in zip(names, row, strict=True) if not k.startswith("_")}
            for row in cursor.fetchall()
        ]


def rules(text: str) -> SourceRules:
    return parse_rules(text, [SHOP])["shop"]


# -- column rules --


def test_without_rules_declared_columns_are_loaded_and_new_fields_reported(
    warehouse: Warehouse,
) -> None:
    with serving(pages(3)) as server:
        _, opened = extract(server, warehouse)
    assert list(table(warehouse)[0]) == [column.name for column in PEOPLE.columns]
    assert opened.undeclared(PEOPLE) == {"secret_hobby"}
    assert opened.facts(PEOPLE)["new fields, not loaded"] == ["secret_hobby"]
    assert catalog.new_fields(warehouse, "shop", "people") == {"secret_hobby": "text"}


def test_only_selected_columns_and_keys_have_values(warehouse: Warehouse) -> None:
    with serving(pages(2)) as server:
        extract(server, warehouse, rules("shop: {streams: {people: {select: [score]}}}"))
    [first, _] = table(warehouse)
    assert {name for name, value in first.items() if value is not None} == {
        "id",
        "score",
        "updated_at",
    }
    assert set(first) == {column.name for column in PEOPLE.columns}


def test_added_fields_are_loaded_with_their_type(warehouse: Warehouse) -> None:
    text = "shop: {streams: {people: {add: [{field: secret_hobby, name: hobby}]}}}"
    with serving(pages(1)) as server:
        _, opened = extract(server, warehouse, rules(text))
    assert table(warehouse)[0]["hobby"] == "canary-hobby"
    assert not opened.undeclared(PEOPLE)


def test_new_fields_are_loaded_from_the_next_read_on_by_policy(warehouse: Warehouse) -> None:
    by_policy = rules("shop: {streams: {people: {new_fields: load}}}")
    with serving(pages(2)) as server:
        extract(server, warehouse, by_policy)
        assert "secret_hobby" not in table(warehouse)[0]
        extract(server, warehouse, by_policy)
        assert table(warehouse)[1]["secret_hobby"] == "canary-hobby"


def test_pseudonyms_are_made_before_anything_is_stored(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_PSEUDONYM_KEYS", KEYS)
    text = """
shop:
  personal: pseudonymize
  streams:
    people:
      columns: {phone: drop, score: {rule: pseudonymize, domain: score}}
"""
    with serving(pages(2)) as server:
        extract(server, warehouse, rules(text))
    ring = key_ring(KEYS)
    first = table(warehouse)[0]
    assert first["email"] == ring.pseudonym("ann0@example.com", "email")
    assert first["phone"] is None
    assert first["score"] == ring.pseudonym("1.5", "score")


def test_pseudonyms_without_a_key_stop_before_anything_is_loaded(warehouse: Warehouse) -> None:
    with serving(pages(2)) as server, pytest.raises(FatalError, match="no key"):
        extract(server, warehouse, rules("shop: {personal: pseudonymize}"))
    assert state.read_bookmark(warehouse, "shop", "people") is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("shopp: {}", "'shopp', but shop"),
        ("shop: {streams: {poeple: {}}}", "'poeple', but people"),
        ("shop: {streams: {people: {select: [emial]}}}", "'emial', but email"),
        ("shop: {streams: {people: {columns: {email: hash}}}}", "'hash'"),
        ("shop: {streams: {people: {columns: {id: drop}}}}", "id is a key"),
        ("shop: {streams: {people: {columns: {updated_at: pseudonymize}}}}", "orders changes"),
        ("shop: {streams: {people: {add: [{type: text}]}}}", "names its `field`"),
        ("shop: {streams: {people: {new: load}}}", "'new', but add, columns, new_fields"),
        ("shop: {quota: {share: 2}}", "between 0 and 1"),
        ("shop: {quota: {calls: many}}", "not a number"),
        ("shop: [1]", "names with values"),
        ("shop: {", "no YAML"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_named(text: str, names: str) -> None:
    with pytest.raises(FatalError, match=re.escape(names)) as info:
        parse_rules(text, [SHOP])
    assert "docs/streams.md" in str(info.value)


def test_no_file_means_no_rules(tmp_path: Any) -> None:
    assert load_rules([SHOP], tmp_path / "streams.yml") == {}
    (tmp_path / "streams.yml").write_text("shop: {personal: drop}")
    assert load_rules([SHOP], tmp_path / "streams.yml")["shop"].personal == "drop"


def test_a_reader_that_allows_it_is_not_asked_for_what_is_left_out() -> None:
    stream = replace(PEOPLE, options={"needed": ("score",)})
    found = selected(stream, rules("shop: {streams: {people: {select: [email]}}}").of("people"))
    assert [column.name for column in found.read.columns] == ["id", "email", "score", "updated_at"]


# -- keys that change --


def test_stored_pseudonyms_get_the_new_key_in_place_and_keep_joining(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_PSEUDONYM_KEYS", KEYS)
    by_rule = rules("shop: {personal: pseudonymize}")
    with serving(pages(4)) as server:
        extract(server, warehouse, by_rule)
        old = table(warehouse)
        with warehouse.connect() as connection:
            connection.execute("create table shop.people__quarantine (record text)")
            connection.execute(
                "insert into shop.people__quarantine values (%s)",
                [json.dumps({"id": "x", "email": old[0]["email"], "note": "no ~k1~ one"})],
            )
        both = f"{KEYS},k2:another-secret-of-chance"
        monkeypatch.setenv("MELTANO_PSEUDONYM_KEYS", both)
        ring = key_ring(both)
        # Killed after the first column: what is left is done by the next run.
        next(rotate(warehouse, ring.older, ring.renewed_in))
        done = list(rotate(warehouse, ring.older, ring.renewed_in))
        assert done
        assert list(rotate(warehouse, ring.older, ring.renewed_in)) == []
        new = table(warehouse)
        assert [row["email"] for row in new] == [
            ring.pseudonym(f"ann{n}@example.com", "email") for n in range(4)
        ]
        with warehouse.connect() as connection:
            [[record]] = connection.execute("select record from shop.people__quarantine").fetchall()
        assert json.loads(record)["email"] == new[0]["email"]
        state.set_bookmark(warehouse, "shop", "people", None)
        outcome, _ = extract(server, warehouse, by_rule)
    assert (outcome.read, outcome.unchanged) == (4, 4)


# -- quota --


def test_a_source_stops_at_its_share_keeps_what_it_read_and_goes_on_after_the_reset(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "production")
    with serving(pages(60)) as server:
        outcome, opened = extract(server, warehouse)
        assert len(server.seen) == 20  # half of 40
        assert opened.stopped is not None
        assert "20 of 20" in str(opened.stopped)
        assert outcome.read == 40
        assert outcome.is_balanced
        stored = state.read_bookmark(warehouse, "shop", "people")
        assert stored is not None
        assert stored.as_time() == START + timedelta(hours=39)
        assert "stopped" in opened.facts(PEOPLE)

        again, opened = extract(server, warehouse)  # the same day
        assert (again.read, len(server.seen)) == (0, 20)
        with warehouse.connect() as connection:  # the day after
            connection.execute(
                "update meltano.quota_ledger set noted_at = noted_at - interval '1 day'"
            )
        rest, opened = extract(server, warehouse)
        assert opened.stopped is None
    assert len(table(warehouse)) == 60
    assert rest.read < 30


def test_a_table_that_is_replaced_is_left_alone_when_the_quota_ends(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "production")
    with serving(pages(6)) as server:
        extract(server, warehouse, stream=LISTS)
    with serving(pages(60)) as server, pytest.raises(QuotaError, match="used up"):
        extract(server, warehouse, stream=LISTS)
    assert len(table(warehouse, "lists")) == 6


def test_outside_production_the_small_share_is_all_there_is(warehouse: Warehouse) -> None:
    with serving(pages(60)) as server:
        extract(server, warehouse)
        assert len(server.seen) == 4


def test_the_sandbox_is_all_ours(warehouse: Warehouse) -> None:
    with serving(pages(60)) as server:
        _, opened = extract(server, warehouse, is_sandbox=True)
        assert len(server.seen) == 30
        assert opened.stopped is None


def test_unused_calls_of_a_chunk_come_back(warehouse: Warehouse) -> None:
    with serving(pages(2)) as server:
        extract(server, warehouse, is_sandbox=True)
    ledger = QuotaLedger(warehouse, run_id="", environment="local")
    assert ledger.use("shop", quota_window("UTC", datetime.now(UTC))).used == 1


def test_the_vendors_headers_count_what_others_use(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "production")
    told = {"X-Used": "95", "X-Allowed": "200"}
    with serving(pages(60, **told)) as server:
        _, opened = extract(server, warehouse)
        # 100 of 200 are ours, 95 were used by somebody else when the first chunk of ten was.
        assert opened.stopped is not None
        assert 10 <= len(server.seen) <= 16


def test_the_users_own_limit_goes_before_all(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "production")
    with serving(pages(60)) as server:
        extract(server, warehouse, rules("shop: {quota: {calls: 6, share: 1.0}}"))
        assert len(server.seen) == 6


def test_a_user_may_limit_a_source_that_has_no_limit_of_its_own() -> None:
    limited = rules("shop: {quota: {calls: 6}}").limited(None)
    assert limited is not None
    assert limited.limits(allowed=1000) == (4, 0)
    assert rules("shop: {quota: {share: 0.1}}").limited(None) is None


# -- nothing leaks --


def test_secrets_and_personal_values_are_found_nowhere(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> None:
    """P4: every table of the database, every log and every error, also when records are refused."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MELTANO_PSEUDONYM_KEYS", KEYS)
    text = "shop: {personal: pseudonymize, streams: {people: {columns: {notes: drop}}}}"
    errors: list[str] = []

    def broken(request: Request) -> Answer:
        if request.params.get("page"):
            return Answer(b'{"error": "canary-key-123 is wrong"}', status=400)
        people = [person(0), person(1, id=None), person(2, updated_at="no time canary?")]
        return Answer(json.dumps({"people": people, "next": 2}).encode())

    with serving(broken) as server:
        try:
            extract(server, warehouse, rules(text))
        except FatalError as error:
            errors += [str(error), repr(error), repr(error.__context__), repr(error.__cause__)]
    assert errors
    with serving(pages(4)) as server:
        extract(server, warehouse, rules(text))
    canaries = ["canary-", "ann0@", "Ann0@", "Ann2@", "+49 30", "a-secret-of-chance"]
    with warehouse.connect() as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_schema in ('meltano', 'shop')"
        ).fetchall()
        stored = [
            str(row)
            for name in names
            for row in connection.execute(
                sql.SQL("select t::text from {} as t").format(sql.Identifier(*name))
            ).fetchall()
        ]
    captured = capfd.readouterr()
    shown = [*stored, *errors, caplog.text, captured.out, captured.err]
    assert len(stored) > 8
    found = [(canary, text) for canary in canaries for text in shown if canary in text]
    assert not found


# -- one more field --

HOBBY = "shop: {streams: {people: {add: [{field: secret_hobby, name: hobby}]}}}"


def fill(
    server: LocalServer, warehouse: Warehouse, by_rule: SourceRules, field: str
) -> tuple[FieldCost, Filled]:
    settings = {"base_url": server.base_url, "api_key": "canary-key-123"}
    with open_source(SHOP, settings, warehouse=warehouse, rules=by_rule, is_sandbox=True) as opened:
        column = opened.chosen_column(PEOPLE, field)
        cost = opened.field_cost(PEOPLE, column)
        batches = opened.read_field(PEOPLE, column, now=NOW)
        return cost, fill_column(warehouse, opened.selected(PEOPLE).load, column, batches)


def test_a_field_is_filled_in_by_a_key_of_a_type_that_the_table_brought_along(
    warehouse: Warehouse,
) -> None:
    with warehouse.connect() as connection:
        connection.execute("create schema shop")
        connection.execute("create type shop.number as enum ('1', '2', '3', '4')")
        connection.execute("create table shop.people (id shop.number primary key)")
    with serving(pages(4)) as server:
        extract(server, warehouse, is_sandbox=True)
        _, filled = fill(server, warehouse, rules(HOBBY), "secret_hobby")
    # One person's key is none of the type, as it was when the people were loaded.
    found = table(warehouse)
    assert (filled.read, filled.updated) == (4, 3)
    assert len(found) == 3 and all(row["hobby"] for row in found)


def test_a_field_chosen_later_is_filled_in_alone(warehouse: Warehouse) -> None:
    """X6: only that column changes; the bookmark stays; changed rows get a new ``_loaded_at``."""
    with serving(pages(4)) as server:
        extract(server, warehouse, is_sandbox=True)
        before = table(warehouse)
        with warehouse.connect() as connection:
            connection.execute("update shop.people set score = 99, _loaded_at = '2020-01-01'")
            connection.execute("create schema snapshots")
            connection.execute(
                "create table snapshots.snap_shop__people as"
                " select id as person_id, null::timestamptz as dbt_valid_to from shop.people"
                " union all select 1, '2020-01-01'"
            )
        bookmark = state.read_bookmark(warehouse, "shop", "people")
        cost, filled = fill(server, warehouse, rules(HOBBY), "secret_hobby")
        assert "whole stream" in cost.how
        assert cost.records == 4
        assert filled == Filled(read=4, updated=4, snapshots=4, quarantined=0)
        after = table(warehouse)
        assert [{**row, "score": 1.5} for row in before] == [
            {k: 1.5 if k == "score" else v for k, v in row.items() if k != "hobby"} for row in after
        ]
        assert {row["score"] for row in after} == {99}
        assert {row["hobby"] for row in after} == {"canary-hobby"}
        assert state.read_bookmark(warehouse, "shop", "people") == bookmark
        with warehouse.connect() as connection:
            assert connection.execute(
                "select count(*) from shop.people where _loaded_at > '2026-01-01'"
            ).fetchone() == (4,)
            assert connection.execute(
                "select count(hobby), count(*) from snapshots.snap_shop__people"
            ).fetchone() == (4, 5)
            left = connection.execute(
                "select relname from pg_class where relname like '%backfill%'"
            ).fetchall()
        assert left == []
        assert fill(server, warehouse, rules(HOBBY), "hobby")[1].updated == 0
        # The field is a column like any other from now on.
        again, _ = extract(server, warehouse, rules(HOBBY), is_sandbox=True)
        assert again.schema_changes == []


def test_a_backfilled_field_obeys_the_rules(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_PSEUDONYM_KEYS", KEYS)
    with serving(pages(2)) as server:
        extract(server, warehouse, rules("shop: {personal: drop}"), is_sandbox=True)
        assert table(warehouse)[0]["email"] is None
        fill(server, warehouse, rules("shop: {personal: pseudonymize}"), "email")
    assert table(warehouse)[0]["email"] == key_ring(KEYS).pseudonym("ann0@example.com", "email")


def test_a_backfill_that_breaks_changes_nothing_and_may_be_repeated(warehouse: Warehouse) -> None:
    with serving(pages(6)) as server:
        extract(server, warehouse, is_sandbox=True)
        before = table(warehouse)

        def breaking(request: Request) -> Answer:
            return Answer(b"{}", status=400) if request.params.get("page") else pages(6)(request)

        server.handler = breaking
        with pytest.raises(FatalError):
            fill(server, warehouse, rules(HOBBY), "hobby")
        assert table(warehouse) == before
        server.handler = pages(6)
        assert fill(server, warehouse, rules(HOBBY), "hobby")[1].updated == 6


@pytest.mark.parametrize(("field", "words"), [("secret_hobby", "not chosen"), ("id", "is the key")])
def test_a_field_that_cannot_be_filled_is_told(
    field: str, words: str, warehouse: Warehouse
) -> None:
    with serving(pages(1)) as server, pytest.raises(FatalError, match=words):
        fill(server, warehouse, SourceRules(), field)


def test_a_table_that_was_never_loaded_has_nothing_to_fill(warehouse: Warehouse) -> None:
    with serving(pages(1)) as server, pytest.raises(FatalError, match="never loaded"):
        fill(server, warehouse, rules(HOBBY), "hobby")
