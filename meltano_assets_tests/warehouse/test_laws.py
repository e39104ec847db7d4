"""What holds for any records in any pieces (L1–L4): the table is what a dictionary in Python says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meltano_assets.streams import Batch, Bookmark, Disposition
from meltano_assets.warehouse import intake, merge, state, straight
from meltano_assets.warehouse import load as loading
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load
from meltano_assets_tests.warehouse.tables import query, stream

Record = dict[str, Any]

#: Numbers that make the column integer, bigint or numeric; the column's type follows.
NUMBERS = st.one_of(
    st.integers(-5, 5), st.just(2**40), st.just(2**70), st.just(Decimal("0.50")), st.none()
)
RECORD = st.fixed_dictionaries(
    {"id": st.integers(0, 6)},
    optional={
        "at": st.one_of(st.none(), st.integers(0, 4)),
        "n": NUMBERS,
        "t": st.one_of(st.none(), st.sampled_from(["", "a", "\u00e9"])),
        "gone": st.booleans(),
    },
)
#: A load is batches; True behind one ends a checkpoint.
LOAD = st.lists(st.tuples(st.lists(RECORD, max_size=8), st.booleans()), max_size=4)
LOADS = st.lists(LOAD, min_size=1, max_size=4)

#: A few in each run; more with ``--hypothesis-seed`` and a larger number here.
EXAMPLES = settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
VALUES = ("at", "n", "t")


@dataclass
class Model:
    """A table of our rules, in a dictionary."""

    disposition: Disposition
    has_order: bool
    rows: dict[int, Record] = field(default_factory=dict)

    def rank(self, record: Record, place: int) -> tuple[object, ...]:
        if not self.has_order:
            return (place,)
        at = record.get("at")
        return (at is None and record["gone"], at is not None, at or 0, place)

    def checkpoint(self, batches: Sequence[Sequence[Record]]) -> None:
        carried = [name for name in VALUES if any(name in one for part in batches for one in part)]
        records = [
            {"id": one["id"], "gone": one.get("gone", False), **{name: one.get(name) for name in carried}}
            for part in batches
            for one in part
        ]  # fmt: skip
        of_key: dict[int, list[tuple[tuple[object, ...], Record]]] = {}
        for place, record in enumerate(records):
            of_key.setdefault(record["id"], []).append((self.rank(record, place), record))
        for key, ranked in of_key.items():
            ranked.sort(key=lambda pair: pair[0])
            winner = dict(ranked[-1][1])
            alive = [record for _, record in ranked if not record["gone"]]
            if winner["gone"] and alive:
                last = alive[-1]
                winner |= {name: last[name] for name in carried if winner[name] is None}
            self.meet(key, winner, carried)

    def meet(self, key: int, record: Record, carried: Sequence[str]) -> None:
        old = self.rows.get(key)
        if old is None:
            empty: Record = dict.fromkeys(VALUES)
            self.rows[key] = empty | record
            return
        if self.disposition == "append":
            return
        if self.has_order and "at" in carried:
            is_delete = record["gone"] and record["at"] is None
            if not (is_delete or old["at"] is None or
                    (record["at"] is not None and record["at"] >= old["at"])):  # fmt: skip
                return
        kept = {
            name: old[name] if record["gone"] and record[name] is None else record[name]
            for name in carried
        }
        self.rows[key] = old | kept | {"gone": record["gone"]}


def as_batch(records: Sequence[Record], bookmark: str | None) -> Batch:
    """Columns as a source gives them: whole numbers, or text where they are more than that."""
    names = [name for name in VALUES if any(name in one for one in records)]
    columns = {"id": pa.array([one["id"] for one in records], pa.int64())}
    for name in names:
        values = [one.get(name) for one in records]
        if name == "n":
            values = [None if value is None else str(value) for value in values]
        columns[name] = pa.array(values, pa.string() if name in ("n", "t") else pa.int32())
    if any(one.get("gone") for one in records):
        moments = [1 if one.get("gone") else None for one in records]
        columns["_deleted_at"] = pa.array(moments, pa.timestamp("s", "UTC"))
    batch = pa.RecordBatch.from_arrays([*columns.values()], names=[*columns])
    return Batch(batch, None if bookmark is None else Bookmark(bookmark))


def table_of(warehouse: Warehouse) -> dict[int, Record]:
    rows = query(warehouse, "select id, at, n, t, _deleted_at is not null from shop.things")
    return {
        key: {"id": key, "at": at, "n": None if n is None else Decimal(n), "t": t, "gone": gone}
        for key, at, n, t, gone in rows
    }


def as_numbers(rows: dict[int, Record]) -> dict[int, Record]:
    return {
        key: row | {"n": None if row["n"] is None else Decimal(row["n"])}
        for key, row in rows.items()
    }


@pytest.fixture(params=[False, True], ids=["small", "ways-of-large-ones"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few rows, and the ways that only large loads go."""
    if request.param:
        monkeypatch.setattr(intake, "FEW_ROWS", 3)
        monkeypatch.setattr(straight, "FEW_ROWS", 3)
        monkeypatch.setattr(loading, "_FIRST_ROWS", 4)
        monkeypatch.setattr(loading, "_PIECE_ROWS", 4)
        monkeypatch.setattr(merge, "REWRITE_ROWS", 4)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("has_order", [False, True])
@pytest.mark.parametrize("disposition", ["upsert", "append", "replace"])
@EXAMPLES
@given(loads=LOADS)
def test_any_loads_give_the_table_of_the_model(
    warehouse: Warehouse, disposition: Disposition, has_order: bool, loads: Any
) -> None:
    query(warehouse, "drop schema if exists shop, meltano cascade")
    things = stream(
        {"id": "bigint", "at": "integer", "n": "integer", "t": "text"},
        replication_key="at" if has_order else None,
        disposition=disposition,
        max_shrink=1.0,
    )
    model = Model(disposition, has_order)
    mark = 0
    for parts in loads:
        batches, pending, ends = [], [], []
        for records, is_end in parts:
            mark += 1
            batches.append(as_batch(records, str(mark) if is_end else None))
            pending.append(records)
            if is_end and disposition != "replace":
                ends.append(pending)
                pending = []
        ends.append(pending)
        outcome = load(warehouse, things, batches)
        assert outcome.is_balanced
        assert outcome.read == sum(len(records) for records, _ in parts)
        if disposition == "replace":
            model.rows.clear()
        for checkpoint in ends:
            model.checkpoint(checkpoint)
        assert table_of(warehouse) == as_numbers(model.rows)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("has_order", [False, True])
@pytest.mark.parametrize("disposition", ["upsert", "append"])
def test_a_delete_keeps_the_nulls_of_the_record_before_it(
    warehouse: Warehouse, disposition: Disposition, has_order: bool
) -> None:
    """Also where a record of the same key before that one went straight into the table."""
    things = stream(
        {"id": "bigint", "at": "integer", "n": "integer", "t": "text"},
        replication_key="at" if has_order else None,
        disposition=disposition,
    )
    records = [{"id": 0}, {"id": 1}, {"id": 2, "n": 0}, {"id": 2}, {"id": 2, "gone": True}]
    load(warehouse, things, [as_batch([{"id": 0}], "1"), as_batch(records, None)])
    row = table_of(warehouse)[2]
    assert (row["n"], row["gone"]) == (None, True)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("disposition", ["upsert", "append", "replace", "scd2"])
@EXAMPLES
@given(
    versions=st.lists(st.tuples(st.integers(0, 6), NUMBERS), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    step=st.integers(1, 5),
)
def test_a_source_cut_at_any_record_and_read_again_gives_the_same_table(
    warehouse: Warehouse,
    disposition: Disposition,
    versions: Sequence[tuple[int, object]],
    cuts: Sequence[int],
    step: int,
) -> None:
    """The reader goes on behind the bookmark, as readers do; a cut may fall anywhere in a batch's way."""
    records = [
        {"id": number if disposition != "append" else place, "at": place, "n": value}
        for place, (number, value) in enumerate(versions)
    ]
    things = stream(
        {"id": "bigint", "at": "integer", "n": "numeric", "t": "text"},
        replication_key="at",
        disposition=disposition,
        max_shrink=1.0,
    )

    def source(after: int, until: int | None) -> Iterator[Batch]:
        wanted = [one for one in records if one["at"] > after]
        for start in range(0, len(wanted), step):
            part = wanted[start : start + step]
            if until is not None and start + len(part) > until:
                yield as_batch(part[: until - start], None)
                raise ConnectionError("cut")
            yield as_batch(part, None if disposition == "replace" else str(part[-1]["at"]))

    def read(until: int | None) -> None:
        bookmark = state.read_bookmark(warehouse, "shop", "things")
        after = int(bookmark.value) if bookmark and bookmark.value else -1
        load(warehouse, things, source(after, until))

    def whole() -> list[tuple[Any, ...]]:
        span = ", _valid_from is not null, _valid_to is null" if disposition == "scd2" else ""
        return query(warehouse, f"select id, at, n::text{span} from shop.things order by id, at")

    query(warehouse, "drop schema if exists shop, meltano cascade")
    read(None)
    expected = whole()
    query(warehouse, "drop schema shop, meltano cascade")
    for cut in cuts:
        try:
            read(cut)
        except ConnectionError:
            pass
    read(None)
    assert whole() == expected
    # Once more, from the beginning: nothing that was told rightly changes.
    load(warehouse, things, source(-1, None))
    assert whole() == expected
