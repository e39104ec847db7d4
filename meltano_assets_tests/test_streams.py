from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError, PlatformError, RetriableError, SkippableError
from meltano_assets.streams import Batch, Bookmark, Column, LoadOutcome, Stream, Window

ID, CHANGED = Column("id", "bigint"), Column("updated_at", "timestamptz", field="updatedAt")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_stream_is_known_by_source_and_name() -> None:
    stream = Stream("zendesk", "tickets", (ID, CHANGED), ("id",), "updated_at")
    assert stream.key == "zendesk.tickets"
    assert stream.column("updated_at") is CHANGED
    with pytest.raises(KeyError, match=r"zendesk\.tickets has no column 'title'"):
        stream.column("title")


def test_column_has_the_vendors_name_where_it_differs() -> None:
    assert CHANGED.vendor_field == "updatedAt"
    assert ID.vendor_field == "id"


def test_column_declared_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"zendesk\.tickets: a column is declared twice"):
        Stream("zendesk", "tickets", (ID, Column("id", "text")), ("id",))


@pytest.mark.parametrize(
    ("primary_key", "replication_key", "missing"),
    [
        (("number",), None, "number"),
        (("id",), "moved_at", "moved_at"),
        (("b", "a"), "c", "a, b, c"),
    ],
)
def test_keys_without_a_column_are_refused(
    primary_key: tuple[str, ...], replication_key: str | None, missing: str
) -> None:
    with pytest.raises(ValueError, match=f"keys without a column: {missing}"):
        Stream("zendesk", "tickets", (ID,), primary_key, replication_key)


def test_keys_of_a_stream_whose_columns_are_found_out_later_are_accepted() -> None:
    assert Stream("file", "people", (), ("id",)).primary_key == ("id",)


def test_upsert_needs_a_primary_key_and_other_dispositions_do_not() -> None:
    with pytest.raises(ValueError, match="upsert needs a primary key"):
        Stream("zendesk", "tickets", (ID,))
    appended = Stream("zendesk", "tickets", (ID,), disposition="append")
    assert appended.with_disposition("replace").disposition == "replace"
    with pytest.raises(ValueError, match="upsert needs a primary key"):
        appended.with_disposition("upsert")


@pytest.mark.parametrize(
    ("start", "is_empty"),
    [
        (None, False),
        (NOON - timedelta(seconds=1), False),
        (NOON, True),
        (NOON + timedelta(1), True),
    ],
)
def test_window_is_empty_when_nothing_lies_before_its_end(
    start: datetime | None, is_empty: bool
) -> None:
    assert Window(start, NOON).is_empty is is_empty


def test_window_bounds_carry_a_time_zone() -> None:
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        Window(None, naive)
    with pytest.raises(ValueError, match="time zone"):
        Window(naive, NOON)


def test_bookmark_is_read_as_a_time_in_utc() -> None:
    assert Bookmark().as_time() is None
    assert Bookmark("2026-05-04T12:00:00").as_time() == NOON
    assert Bookmark("2026-05-04T12:00:00Z").as_time() == NOON
    local = Bookmark(NOON.astimezone(timezone(timedelta(hours=5))).isoformat()).as_time()
    assert local is not None
    assert (local, local.tzinfo) == (NOON, UTC)
    with pytest.raises(ValueError, match="next Tuesday"):
        Bookmark("next Tuesday").as_time()


def test_batch_moves_no_bookmark_unless_it_carries_one() -> None:
    records = pa.RecordBatch.from_pydict({"id": [1]})
    assert Batch(records).bookmark is None


def test_outcome_is_balanced_when_every_record_is_accounted_for() -> None:
    outcome = LoadOutcome("id", "zendesk.tickets", "upsert", read=10, inserted=3, updated=2)
    assert not outcome.is_balanced
    outcome.unchanged, outcome.superseded, outcome.quarantined = 2, 2, 1
    assert outcome.loaded == 5
    assert outcome.is_balanced


@pytest.mark.parametrize(
    ("kind", "code"), [(FatalError, 2), (RetriableError, 1), (SkippableError, 1)]
)
def test_errors_say_where_what_and_what_to_do(kind: type[PlatformError], code: int) -> None:
    error = kind("the token expired", source="zendesk", stream="tickets", hint="make a new one")
    assert str(error) == "zendesk.tickets: the token expired (make a new one)"
    assert error.place == "zendesk.tickets"
    assert error.exit_code == code
    assert str(kind("the token expired", source="zendesk")) == "zendesk: the token expired"
    assert str(kind("the token expired")) == "the token expired"
