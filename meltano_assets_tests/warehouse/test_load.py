"""Loading (L1, L2, L3, L9): every disposition, what wins, what is counted, and that nothing is half done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.streams import Batch, Bookmark, LoadOutcome
from meltano_assets.warehouse import state
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse.tables import batch, contents, query, stream

THINGS = stream({"id": "bigint", "name": "text", "at": "timestamptz"}, replication_key="at")
MONDAY, TUESDAY, SUNDAY = (datetime(2026, 3, day, tzinfo=UTC) for day in (2, 3, 1))


def rows(warehouse: Warehouse, columns: str = "id, name") -> list[tuple[object, ...]]:
    return query(warehouse, f"select {columns} from shop.things order by id")


def test_first_load_creates_the_table_with_its_primary_key(warehouse: Warehouse) -> None:
    outcome = load(warehouse, THINGS, [batch([{"id": 1, "name": "a", "at": MONDAY}], "2026-03-02")])
    assert (outcome.read, outcome.inserted, outcome.checkpoints) == (1, 1, 1)
    assert outcome.is_balanced
    assert rows(warehouse) == [(1, "a")]
    key = query(
        warehouse,
        "select conname, pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = 'shop.things'::regclass and contype = 'p'",
    )
    assert key == [("things_pkey", "PRIMARY KEY (id)")]
    assert query(
        warehouse, "select count(*) from shop.things where _load_id = %s", outcome.load_id
    ) == [(1,)]


def test_an_empty_load_creates_the_table_and_a_log_row(warehouse: Warehouse) -> None:
    outcome = load(warehouse, THINGS, [])
    assert outcome.read == 0
    assert rows(warehouse) == []
    record = state.last_load(warehouse, "shop", "things")
    assert record is not None and record.status == "committed" and record.read == 0


@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_upsert_gives_the_same_table_however_the_records_are_cut(
    warehouse: Warehouse, cuts: int
) -> None:
    records = [
        {"id": n % 7, "name": f"n{n}", "at": datetime(2026, 3, 1 + n % 5, tzinfo=UTC)}
        for n in range(40)
    ]
    pieces = [records[start::cuts] for start in range(cuts)]
    outcome = load(warehouse, THINGS, [batch(piece) for piece in pieces])
    ordered = [record for piece in pieces for record in piece]
    newest: dict[object, dict[str, object]] = {}
    for record in ordered:
        held = newest.get(record["id"])
        if held is None or record["at"] >= held["at"]:
            newest[record["id"]] = record
    assert rows(warehouse) == [(key, newest[key]["name"]) for key in sorted(newest)]
    assert outcome.superseded == 40 - 7 and outcome.is_balanced


@pytest.mark.parametrize("at", [[1, None, 2], [2, None, 1], [None, 1, None], [None, None, None]])
@pytest.mark.parametrize("is_one_load", [True, False])
def test_a_record_without_a_replication_key_is_older_than_one_with_it(
    warehouse: Warehouse, at: list[int | None], is_one_load: bool
) -> None:
    records = [
        {"id": 1, "name": f"n{n}", "at": day and datetime(2026, 3, day, tzinfo=UTC)}
        for n, day in enumerate(at)
    ]
    kinds = pa.schema(
        [("id", pa.int64()), ("name", pa.string()), ("at", pa.timestamp("us", "UTC"))]
    )
    batches = [batch([record], schema=kinds) for record in records]
    for part in [batches] if is_one_load else [[one] for one in batches]:
        load(warehouse, THINGS, part)
    newest = max(range(3), key=lambda n: (at[n] or 0, n))
    assert rows(warehouse) == [(1, f"n{newest}")]


def test_upsert_keeps_latest_record_of_duplicates_and_ties_go_to_the_last_read(
    warehouse: Warehouse,
) -> None:
    load(warehouse, THINGS, [batch([{"id": 9, "name": "there", "at": MONDAY}])])
    outcome = load(
        warehouse,
        THINGS,
        [
            batch(
                [
                    {"id": 1, "name": "newest", "at": TUESDAY},
                    {"id": 1, "name": "older", "at": MONDAY},
                    {"id": 2, "name": "first", "at": MONDAY},
                ]
            ),
            batch([{"id": 2, "name": "last", "at": MONDAY}]),
        ],
    )
    assert rows(warehouse) == [(1, "newest"), (2, "last"), (9, "there")]
    assert (outcome.inserted, outcome.superseded) == (2, 2)


def test_an_older_record_does_not_overwrite_a_newer_one(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [batch([{"id": 1, "name": "new", "at": TUESDAY}])])
    outcome = load(warehouse, THINGS, [batch([{"id": 1, "name": "old", "at": MONDAY}])])
    assert rows(warehouse) == [(1, "new")]
    assert (outcome.updated, outcome.unchanged) == (0, 1)


def test_unchanged_rows_are_not_rewritten(warehouse: Warehouse) -> None:
    records = [{"id": n, "name": f"n{n}", "at": MONDAY} for n in range(10)]
    load(warehouse, THINGS, [batch(records)])
    before = query(warehouse, "select id, ctid, xmin, _loaded_at from shop.things order by id")
    changed = [dict(record) for record in records]
    changed[3]["name"] = "other"
    outcome = load(warehouse, THINGS, [batch(changed)])
    after = query(warehouse, "select id, ctid, xmin, _loaded_at from shop.things order by id")
    assert (outcome.updated, outcome.unchanged) == (1, 9)
    assert [row for row in after if row in before] == [row for row in before if row[0] != 3]


def test_a_deleted_record_keeps_its_last_values_and_a_later_live_one_clears_it(
    warehouse: Warehouse,
) -> None:
    load(warehouse, THINGS, [batch([{"id": 1, "name": "a", "at": SUNDAY}])])
    gone = load(warehouse, THINGS, [batch([{"id": 1, "at": MONDAY, "_deleted_at": MONDAY}])])
    assert gone.deleted == 1
    assert rows(warehouse, "id, name, _deleted_at") == [(1, "a", MONDAY)]
    again = load(warehouse, THINGS, [batch([{"id": 1, "at": MONDAY, "_deleted_at": TUESDAY}])])
    assert (again.deleted, again.unchanged) == (0, 1)
    load(warehouse, THINGS, [batch([{"id": 1, "name": "b", "at": TUESDAY}])])
    assert rows(warehouse, "id, name, _deleted_at") == [(1, "b", None)]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_record_deleted_within_one_load_keeps_its_last_values(
    warehouse: Warehouse, is_first: bool
) -> None:
    if not is_first:
        load(warehouse, THINGS, [batch([{"id": 9, "name": "there", "at": SUNDAY}])])
    outcome = load(
        warehouse,
        THINGS,
        [
            batch([{"id": 1, "name": "old", "at": SUNDAY}, {"id": 1, "name": "a", "at": MONDAY}]),
            batch([{"id": 1, "_deleted_at": TUESDAY}]),
        ],
    )
    assert query(warehouse, "select name, _deleted_at from shop.things where id = 1") == [
        ("a", TUESDAY)
    ]
    assert (outcome.superseded, outcome.deleted) == (2, 1)


def test_columns_that_a_batch_does_not_carry_are_left_alone(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [batch([{"id": 1, "name": "a", "at": SUNDAY}])])
    load(warehouse, THINGS, [batch([{"id": 1, "at": MONDAY}])])
    assert rows(warehouse) == [(1, "a")]


def test_append_without_a_key_keeps_every_record(warehouse: Warehouse) -> None:
    log = stream({"text": "text"}, primary_key=(), disposition="append")
    load(warehouse, log, [batch([{"text": "a"}, {"text": "a"}])])
    outcome = load(warehouse, log, [batch([{"text": "a"}])])
    assert query(warehouse, "select text from shop.things") == [("a",)] * 3
    assert outcome.inserted == 1


def test_append_with_a_key_never_changes_what_is_there(warehouse: Warehouse) -> None:
    log = THINGS.with_disposition("append")
    load(warehouse, log, [batch([{"id": 1, "name": "a", "at": MONDAY}])])
    outcome = load(
        warehouse,
        log,
        [batch([{"id": 1, "name": "b", "at": TUESDAY}, {"id": 2, "name": "c", "at": TUESDAY}])],
    )
    assert rows(warehouse) == [(1, "a"), (2, "c")]
    assert (outcome.inserted, outcome.unchanged) == (1, 1)


def test_a_bookmark_is_committed_with_its_rows_and_without_one_it_stays(
    warehouse: Warehouse,
) -> None:
    def interrupted() -> Iterator[Batch]:
        yield batch([{"id": 1, "name": "a", "at": SUNDAY}])
        yield batch([{"id": 2, "name": "b", "at": MONDAY}], "2026-03-02T00:00:00+00:00")
        yield batch([{"id": 3, "name": "c", "at": TUESDAY}])
        raise RetriableError("the source went away")

    with pytest.raises(RetriableError, match=r"shop\.things: the source went away"):
        load(warehouse, THINGS, interrupted(), run_id="run-1")
    assert rows(warehouse) == [(1, "a"), (2, "b")]
    bookmark = state.read_bookmark(warehouse, "shop", "things")
    assert bookmark == Bookmark("2026-03-02T00:00:00+00:00")
    record = state.last_load(warehouse, "shop", "things")
    assert record is not None
    assert (record.status, record.checkpoints, record.inserted) == ("failed", 1, 2)
    assert record.run_id == "run-1" and "the source went away" in str(record.error)


def test_the_bookmark_never_moves_back_but_by_a_full_refresh(warehouse: Warehouse) -> None:
    one = {"id": 1, "name": "a", "at": MONDAY}
    load(warehouse, THINGS, [batch([one], "2026-03-02T00:00:00Z")])
    load(warehouse, THINGS, [batch([one], "2026-03-01T00:00:00+00:00")])
    assert state.read_bookmark(warehouse, "shop", "things") == Bookmark("2026-03-02T00:00:00Z")
    load(warehouse, THINGS, [batch([one], "2026-03-01T00:00:00+00:00")], full_refresh=True)
    bookmark = state.read_bookmark(warehouse, "shop", "things")
    assert bookmark == Bookmark("2026-03-01T00:00:00+00:00")


def test_full_refresh_replaces_an_upsert_table(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [batch([{"id": n, "name": "a", "at": MONDAY} for n in range(4)])])
    outcome = load(
        warehouse,
        THINGS,
        [batch([{"id": n, "name": "b", "at": MONDAY}], "2026-03-02") for n in (1, 2)],
        full_refresh=True,
    )
    assert rows(warehouse) == [(1, "b"), (2, "b")]
    assert (outcome.disposition, outcome.inserted, outcome.checkpoints) == ("replace", 2, 1)


def test_a_replace_that_would_lose_too_much_is_refused(warehouse: Warehouse) -> None:
    everything = replace(THINGS, disposition="replace", max_shrink=0.2)
    load(warehouse, everything, [batch([{"id": n, "name": "a"} for n in range(10)])])
    before = contents(warehouse, "shop.things", "things")
    with pytest.raises(FatalError, match="7 rows where 10 are now"):
        load(warehouse, everything, [batch([{"id": n, "name": "b"} for n in range(7)])])
    with pytest.raises(FatalError, match="0 rows"):
        load(warehouse, everything, [])
    assert contents(warehouse, "shop.things", "things") == before
    outcome = load(warehouse, everything, [], allow_shrink=True)
    assert outcome.read == 0 and rows(warehouse) == []


def test_two_loads_of_one_stream_exclude_each_other(warehouse: Warehouse) -> None:
    def during() -> Iterator[Batch]:
        with pytest.raises(RetriableError, match="another load of this stream is running"):
            load(warehouse, THINGS, [batch([{"id": 2, "name": "b"}])], lock_wait_seconds=0)
        with pytest.raises(RetriableError, match="another load of this stream is running"):
            load(warehouse, THINGS, [batch([{"id": 2, "name": "b"}])], lock_wait_seconds=0.05)
        load(warehouse, replace(THINGS, name="others"), [batch([{"id": 2, "name": "b"}])])
        yield batch([{"id": 1, "name": "a"}])

    load(warehouse, THINGS, during(), lock_wait_seconds=0)
    assert rows(warehouse) == [(1, "a")]
    assert query(warehouse, "select id from shop.others") == [(2,)]


def test_progress_tells_what_is_committed_and_what_is_under_way(warehouse: Warehouse) -> None:
    seen: list[LoadOutcome] = []
    load(
        warehouse,
        THINGS,
        [batch([{"id": 1, "name": "a"}]), batch([{"id": 2, "name": "b"}], "2026-03-01")],
        on_progress=seen.append,
    )
    assert [(one.read, one.inserted) for one in seen] == [(1, 0), (2, 2)]


def test_a_stream_without_columns_takes_them_from_its_batches(warehouse: Warehouse) -> None:
    bare = stream({}, primary_key=(), disposition="append")
    load(warehouse, bare, [batch([{"Foo": 1, "foo": "x", "a b": 1.5, "a-b": True}])])
    fields = dict(query(warehouse, "select field, column_name from meltano.column_names"))
    assert len(set(fields.values())) == 4 and fields["foo"] == "foo"
    row = query(warehouse, f'select "{fields["Foo"]}", foo, "{fields["a b"]}" from shop.things')
    assert row == [(1, "x", 1.5)]


def test_a_view_under_the_tables_name_is_an_error_not_a_surprise(warehouse: Warehouse) -> None:
    query(warehouse, "create schema shop")
    query(warehouse, "create view shop.things as select 1 as id")
    with pytest.raises(FatalError, match="exists and is not a table"):
        load(warehouse, THINGS, [batch([{"id": 1}])])


def test_errors_and_logs_never_hold_values(warehouse: Warehouse) -> None:
    load(warehouse, THINGS, [batch([{"id": 1, "name": "a"}])])
    query(warehouse, "alter table shop.things add constraint short check (length(name) < 5)")
    with pytest.raises(FatalError) as caught:
        load(warehouse, THINGS, [batch([{"id": 2, "name": "secret-value"}])])
    record = state.last_load(warehouse, "shop", "things")
    assert record is not None and record.status == "failed"
    assert "short" in str(caught.value)
    assert "secret-value" not in str(caught.value) + str(record.error)


def test_a_large_change_gives_the_same_table_as_a_small_one(warehouse: Warehouse) -> None:
    """Above 10,000 records the table is written anew when that is cheaper; nobody can tell."""
    old = [{"id": n, "name": f"n{n}", "at": MONDAY} for n in range(12_000)]
    new = [
        {"id": n, "name": f"n{n}" if n % 5 == 0 else f"m{n}", "at": SUNDAY if n % 7 == 0 else TUESDAY,
         "_deleted_at": TUESDAY if n % 11 == 0 else None}
        for n in range(1_000, 13_000)
    ]  # fmt: skip
    small = replace(THINGS, name="small")
    for one in (THINGS, small):
        load(warehouse, one, [batch(old)])
    query(warehouse, "create index things_name on shop.things (name)")
    query(warehouse, "create view shop.names as select name from shop.things")
    before = query(warehouse, "select 'shop.things'::regclass::oid, 'shop.small'::regclass::oid")
    at_once = load(warehouse, THINGS, [batch(new)])
    in_parts = load(
        warehouse, small, [batch(new[at : at + 4_000], f"{at}") for at in range(0, 12_000, 4_000)]
    )
    after = query(warehouse, "select 'shop.things'::regclass::oid, 'shop.small'::regclass::oid")
    assert after[0][0] != before[0][0] and after[0][1] == before[0][1]
    columns = "id, name, at, _deleted_at"
    assert rows(warehouse, columns) == query(
        warehouse, f"select {columns} from shop.small order by id"
    )
    for count in ("inserted", "updated", "unchanged", "deleted", "superseded"):
        assert getattr(at_once, count) == getattr(in_parts, count), count
    assert at_once.is_balanced
    assert query(warehouse, "select count(*) from shop.names") == [(13_000,)]
    untouched = query(warehouse, "select count(*) from shop.things where _load_id <> %s",
                      at_once.load_id)  # fmt: skip
    assert untouched[0][0] == 12_000 - at_once.updated
    indexes = query(
        warehouse, "select indexname from pg_indexes where tablename = 'things' order by 1"
    )
    assert indexes == [("things_name",), ("things_pkey",)]


def test_small_batches_of_changing_shape_arrive_whole_and_in_order(warehouse: Warehouse) -> None:
    wide = stream({"id": "bigint", "a": "text", "b": "numeric", "c": "jsonb"})
    pieces = [
        batch([{"id": 1, "a": "first"}, {"id": 2, "b": 1.5}]),
        batch([{"id": 3, "c": "[1]"}]),
        batch([{"id": 1, "a": "second"}]),
        batch([{"b": "2.25", "id": 4}]),
        batch([{"id": 5, "a": "x", "b": 7, "c": {"k": 1}}]),
        batch([{"id": 1, "a": "third"}]),
    ]
    outcome = load(warehouse, wide, pieces)
    assert (outcome.read, outcome.inserted, outcome.superseded) == (7, 5, 2)
    assert query(warehouse, "select id, a, b::text, c::text from shop.things order by id") == [
        (1, "third", None, None),
        (2, None, "1.5", None),
        (3, None, None, "[1]"),
        (4, None, "2.25", None),
        (5, "x", "7", '{"k": 1}'),
    ]


def test_a_second_load_waits_for_the_first(warehouse: Warehouse) -> None:
    is_open, may_end = threading.Event(), threading.Event()

    def slow() -> Iterator[Batch]:
        yield batch([{"id": 1, "name": "first"}])
        is_open.set()
        may_end.wait(30)

    first = threading.Thread(target=lambda: load(warehouse, THINGS, slow()))
    first.start()
    assert is_open.wait(30)
    threading.Timer(0.3, may_end.set).start()
    load(warehouse, THINGS, [batch([{"id": 1, "name": "second"}])], lock_wait_seconds=30)
    first.join()
    assert rows(warehouse) == [(1, "second")]


def test_a_partitioned_table_is_loaded_like_any_other(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "create schema shop; create table shop.things (id bigint primary key, name text,"
            " at timestamptz, _deleted_at timestamptz, _loaded_at timestamptz, _load_id text)"
            " partition by range (id); create table shop.low partition of shop.things"
            " for values from (0) to (3); create table shop.high partition of shop.things default"
        )
    load(warehouse, THINGS, [batch([{"id": n, "name": "old", "at": MONDAY} for n in range(5)])])
    outcome = load(
        warehouse,
        THINGS,
        [batch([{"id": n, "name": "old" if n == 1 else "new", "at": MONDAY} for n in range(1, 7)])],
    )
    assert (outcome.inserted, outcome.updated, outcome.unchanged) == (2, 3, 1)
    assert [name for _, name in rows(warehouse)] == ["old", "old", *["new"] * 5]
    replaced = [batch([{"id": n, "name": "last", "at": MONDAY} for n in range(4)])]
    load(warehouse, THINGS, replaced, full_refresh=True)
    assert rows(warehouse) == [(n, "last") for n in range(4)]
    assert query(warehouse, "select count(*) from shop.low") == [(3,)]


def test_records_that_change_nothing_touch_no_row(warehouse: Warehouse) -> None:
    """No lock, no log: among twenty thousand some are changed, new, gone or older than the row."""
    things = stream(
        {"id": "bigint", "at": "integer", "n": "integer"}, replication_key="at", max_shrink=1.0
    )

    def batch(ids: range, n: int, at: int) -> pa.RecordBatch:
        return pa.RecordBatch.from_pydict(
            {"id": list(ids), "at": [at] * len(ids), "n": [n] * len(ids), "_deleted_at": [None] * len(ids)},
            pa.schema([("id", pa.int64()), ("at", pa.int32()), ("n", pa.int32()),
                       ("_deleted_at", pa.timestamp("s", "UTC"))]),
        )  # fmt: skip

    load(warehouse, things, [Batch(batch(range(20_000), 1, 5))])
    gone = batch(range(300, 400), 1, 6)
    gone = gone.set_column(3, "_deleted_at", pa.array([1] * 100, pa.timestamp("s", "UTC")))
    outcome = load(
        warehouse,
        things,
        [
            Batch(batch(range(100), 2, 6)),
            Batch(batch(range(100, 300), 2, 4)),
            Batch(gone),
            Batch(batch(range(400, 20_000), 1, 5)),
            Batch(batch(range(20_000, 20_050), 1, 5)),
        ],
    )
    assert (outcome.inserted, outcome.updated, outcome.unchanged) == (50, 200, 19_800)
    assert outcome.deleted == 100
    assert query(warehouse, "select count(*), sum(n) from shop.things") == [(20_050, 20_150)]
    touched = (
        f"select count(*) from shop.things where xmax <> 0 and _load_id <> '{outcome.load_id}'"
    )
    assert query(warehouse, touched) == [(0,)]
