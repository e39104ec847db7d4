"""Windows without gaps, bookmarks that never run ahead of what was read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.sources.base import (
    Source,
    between,
    deleted_where,
    moves_bookmark,
    plan_window,
    required,
    with_bookmarks,
)
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

NOW = datetime(2026, 1, 10, tzinfo=UTC)
STREAM = Stream(
    source="vendor",
    name="things",
    columns=(Column("id", "bigint"), Column("at", "timestamptz")),
    primary_key=("id",),
    replication_key="at",
    lookback=timedelta(hours=1),
    is_sorted=True,
)
ALL = ReadOptions()


def day(number: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number - 1)


def batch(*days: float | None) -> pa.RecordBatch:
    moments = [None if number is None else day(number) for number in days]
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(range(len(days)), pa.int64()),
            "at": pa.array(moments, pa.timestamp("us", "UTC")),
        }
    )


def bookmarked(
    *batches: pa.RecordBatch,
    bookmark: Bookmark | None = None,
    options: ReadOptions = ALL,
    is_sorted: bool = True,
) -> list[Batch]:
    window = plan_window(STREAM, bookmark, options, now=NOW)
    read = with_bookmarks(STREAM, batches, window, bookmark, options, is_sorted=is_sorted)
    return list(read)


def days(batches: list[Batch]) -> list[datetime | None]:
    return [item.bookmark.as_time() if item.bookmark else None for item in batches]


def test_a_window_reaches_from_bookmark_minus_lookback_to_now_minus_safety() -> None:
    bookmark = Bookmark(day(5).isoformat())
    window = plan_window(STREAM, bookmark, ALL, now=NOW, safety=timedelta(minutes=5))
    assert window == Window(day(5) - timedelta(hours=1), NOW - timedelta(minutes=5))


def test_without_a_bookmark_or_for_a_full_refresh_everything_is_read() -> None:
    assert plan_window(STREAM, None, ALL, now=NOW) == Window(None, NOW)
    refresh = ReadOptions(full_refresh=True)
    assert plan_window(STREAM, Bookmark(day(5).isoformat()), refresh, now=NOW).start is None


def test_start_and_end_are_what_the_user_asks_but_never_in_the_future() -> None:
    options = ReadOptions(start=day(2), end=NOW + timedelta(days=9))
    assert plan_window(STREAM, Bookmark(day(5).isoformat()), options, now=NOW) == Window(
        day(2), NOW
    )


@given(st.lists(st.timedeltas(timedelta(0), timedelta(days=3)), min_size=1, max_size=8))
def test_windows_in_a_row_leave_no_gap(steps: list[timedelta]) -> None:
    now, bookmark, reached = day(1), None, None
    for step in steps:
        now += step
        window = plan_window(STREAM, bookmark, ALL, now=now, safety=timedelta(seconds=1))
        assert window.start is None or reached is None or window.start <= reached
        if not window.is_empty:
            reached = window.end
            bookmark = Bookmark((window.end - timedelta(microseconds=1)).isoformat())


def test_sorted_records_move_the_bookmark_with_each_batch() -> None:
    assert days(bookmarked(batch(1, 2), batch(2, 3))) == [day(2), day(3)]


def test_unsorted_records_move_it_with_the_last_batch_only() -> None:
    assert days(bookmarked(batch(3, 1), batch(2), is_sorted=False)) == [None, day(3)]


def test_a_broken_promise_of_order_waits_for_the_end() -> None:
    read = bookmarked(batch(1, 5), batch(2, 3), batch(6))
    assert days(read) == [day(5), None, day(6)]


def test_a_reread_behind_the_bookmark_does_not_move_it_back() -> None:
    old = Bookmark(day(5).isoformat())
    assert days(bookmarked(batch(4.99, 5), bookmark=old)) == [day(5)]
    assert days(bookmarked(batch(4.97), batch(4.98), batch(6), bookmark=old))[-1] == day(6)


def test_a_limit_cuts_and_moves_only_what_is_sorted() -> None:
    limited = ReadOptions(limit=3)
    read = bookmarked(batch(1, 2), batch(3, 4), batch(5), options=limited)
    assert [item.records.num_rows for item in read] == [2, 1]
    assert days(read) == [day(2), day(3)]
    read = bookmarked(batch(1, 2), batch(3, 4), options=limited, is_sorted=False)
    assert [item.records.num_rows for item in read] == [2, 1]
    assert days(read) == [None, None]


def test_a_limit_reached_exactly_reads_no_further() -> None:
    def endless() -> Iterator[pa.RecordBatch]:
        yield batch(1, 2)
        raise AssertionError("read beyond the limit")

    window = Window(None, NOW)
    options = ReadOptions(limit=2)
    assert len(list(with_bookmarks(STREAM, endless(), window, None, options))) == 1


@pytest.mark.parametrize("start", [6, 8])
def test_a_span_read_beyond_the_bookmark_leaves_it_where_it_is(start: int) -> None:
    options = ReadOptions(start=day(start), end=day(9))
    assert days(bookmarked(batch(8), bookmark=Bookmark(day(5).isoformat()), options=options)) == [
        None
    ]
    assert days(bookmarked(batch(8), options=options)) == [None]


def test_a_span_that_touches_the_bookmark_moves_it() -> None:
    options = ReadOptions(start=day(4), end=day(9))
    old = Bookmark(day(5).isoformat())
    assert moves_bookmark(plan_window(STREAM, old, options, now=NOW), old, options)
    assert days(bookmarked(batch(8), bookmark=old, options=options)) == [day(8)]


def test_a_full_refresh_forgets_the_old_bookmark() -> None:
    old = Bookmark(day(5).isoformat())
    assert days(bookmarked(batch(2), bookmark=old, options=ReadOptions(full_refresh=True))) == [
        day(2)
    ]


def test_keys_that_are_missing_or_no_times_do_not_move_it() -> None:
    text = pa.RecordBatch.from_pydict({"id": [1], "at": ["soon"]})
    assert days(bookmarked(text)) == [None]
    assert days(bookmarked(batch(None, 3, None))) == [day(3)]


def test_records_outside_a_span_are_cut_and_those_without_a_time_are_kept() -> None:
    inside = between(batch(1, 2, None, 3), "at", day(2), day(3))
    assert inside.column("id").to_pylist() == [1, 2]
    assert between(batch(1, 2), "at", None, None).num_rows == 2
    text = pa.RecordBatch.from_pydict({"id": [1], "at": ["soon"]})
    assert between(text, "at", day(2), day(3)).num_rows == 1


def test_deleted_records_get_the_moment_of_their_last_change() -> None:
    moments = batch(1, 2, 3).column("at")
    flags = pa.array([True, False, None])
    assert deleted_where(flags, moments).to_pylist() == [day(1), None, None]
    assert deleted_where(flags, pa.array(["x", "y", "z"])).to_pylist() == [None] * 3


def test_missing_settings_are_named_with_where_to_set_them() -> None:
    variables = (
        Variable("VENDOR_URL", "base_url", "address"),
        Variable("VENDOR_KEY", "api_key", "key", is_secret=True),
        Variable("VENDOR_MORE", "more", "not needed", is_required=False),
    )
    required({"base_url": "x", "api_key": "y"}, "vendor", variables)
    with pytest.raises(FatalError, match=r"vendor: not set: VENDOR_KEY .*\.env"):
        required({"base_url": "x", "api_key": ""}, "vendor", variables)


def test_a_wrong_stream_name_lists_the_right_ones() -> None:
    source = Source("vendor", "Vendor", "", (), (STREAM,), connect=lambda settings: None)  # type: ignore[arg-type, return-value]
    assert source.stream("things") is STREAM
    with pytest.raises(KeyError, match="only things"):
        source.stream("thing")
