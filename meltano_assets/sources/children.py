"""Child streams: one request (or several pages) for each record of a parent list.

Belongs here: bounded concurrency, and a bookmark that follows the parents. Does not belong here:
where parents and children are read (``rest.Endpoint`` and ``rest.Parents``).

Children come in the order of their parents. The bookmark follows the parents' replication key, so
that parents without children are not asked again each time. A parent that is gone by the time its
children are asked for (404, or a ``skip`` of the error table) has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import pyarrow as pa

from meltano_assets.errors import GoneError, SkippableError
from meltano_assets.sources.base import (
    KeyPage,
    as_bookmark,
    between,
    key_range,
    moves_bookmark,
    no_records,
)
from meltano_assets.sources.records import ARROW_TYPES
from meltano_assets.streams import Batch, Bookmark, Column, ReadOptions, Stream, Window

if TYPE_CHECKING:
    from datetime import datetime

    from meltano_assets.sources.rest import Endpoint, RestReader

A = TypeVar("A")
B = TypeVar("B")


def in_order(work: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """``work`` on each item by several threads; results in the items' order, few held at once.

    The first error is raised in its turn, after the results before it; what has not begun by then
    is dropped. Nothing runs when the block is left.
    """
    if workers <= 1:
        yield from map(work, items)
        return
    waiting: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="children")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_children(
    reader: RestReader,
    stream: Stream,
    endpoint: Endpoint,
    window: Window,
    bookmark: Bookmark | None,
    options: ReadOptions,
) -> Iterator[Batch]:
    """The children of every parent that changed in the window."""
    from meltano_assets.sources.rest import read_pages

    parents = endpoint.parents
    assert parents is not None
    carried = {column.name for column in parents.columns}
    children = _children(reader, stream, endpoint)
    key = stream.replication_key if stream.replication_key in carried else None
    may_move = key is not None and moves_bookmark(window, bookmark, options)
    greatest = bookmark.as_time() if bookmark and not options.full_refresh else None
    left = options.limit

    for page in read_pages(
        reader.client,
        parents.endpoint.within(window),
        stream=stream.name,
        columns=parents.columns,
    ):
        batch = page.batch
        if key is not None:
            start = options.start if parents.endpoint.start is None else None
            end = window.end if parents.endpoint.end is None else None
            batch = between(batch, key, start, end)
        for batches in in_order(children, batch.to_pylist(), parents.workers):
            for records in batches:
                kept = records if left is None else records.slice(0, left)
                yield Batch(kept)
                if left is not None:
                    left -= kept.num_rows
                    if left == 0:
                        return
        if key is not None:
            greatest = _later(greatest, key_range(batch, key)[1])
            if may_move and stream.is_sorted:
                yield Batch(no_records(stream.columns), as_bookmark(greatest))
    if may_move and not stream.is_sorted:
        yield Batch(no_records(stream.columns), as_bookmark(greatest))


def read_child_keys(
    reader: RestReader, stream: Stream, endpoint: Endpoint, position: str | None
) -> Iterator[KeyPage]:
    """The children of all parents by few of their columns, one page for a page of parents."""
    from meltano_assets.sources.rest import placed_pages

    parents = endpoint.parents
    assert parents is not None
    children = _children(reader, stream, endpoint)
    for page, place in placed_pages(
        reader.client,
        parents.endpoint,
        stream=stream.name,
        columns=parents.columns,
        place=position,
    ):
        found = in_order(children, page.batch.to_pylist(), parents.workers)
        batches = [batch for batches in found for batch in batches]
        table = pa.Table.from_batches(batches or [no_records(stream.columns)])
        records = table.combine_chunks().to_batches()
        yield KeyPage(
            records[0] if records else no_records(stream.columns), place, is_last=place is None
        )


def _children(
    reader: RestReader, stream: Stream, endpoint: Endpoint
) -> Callable[[Mapping[str, object]], list[pa.RecordBatch]]:
    """What reads the children of one parent, with what the stream declares of that."""
    from meltano_assets.sources.rest import read_pages

    parents = endpoint.parents
    assert parents is not None
    carried = {column.name for column in parents.columns}
    own = tuple(column for column in stream.columns if column.name not in carried)

    def children(parent: Mapping[str, object]) -> list[pa.RecordBatch]:
        named = {name: quote(str(value), safe="") for name, value in parent.items()}
        child = endpoint.at(endpoint.path.format_map(named))
        try:
            pages = [
                reader.noted(stream, page).batch
                for page in read_pages(reader.client, child, stream=stream.name, columns=own)
                if len(page)
            ]
        except (GoneError, SkippableError):
            return []
        return [_with_parent(stream, batch, parent, parents.columns) for batch in pages]

    return children


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


def _with_parent(
    stream: Stream,
    batch: pa.RecordBatch,
    parent: Mapping[str, object],
    columns: tuple[Column, ...],
) -> pa.RecordBatch:
    """The children with what their stream declares of the parent, columns in its order."""
    types = {column.name: ARROW_TYPES[column.type] for column in columns}
    arrays = [
        pa.repeat(pa.scalar(parent[column.name], types[column.name]), batch.num_rows)
        if column.name in types
        else batch.column(column.name)
        for column in stream.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in stream.columns])
