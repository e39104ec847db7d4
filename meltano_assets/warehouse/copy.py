"""Arrow record batches into Postgres by binary COPY.

The arrays must already be what ``values.convert`` gives: this module only encodes and sends, in
pieces small enough that memory stays flat whatever the batch, and in a thread of its own, so that
the next batch is prepared while the server works on this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import pgpq
import psycopg
import pyarrow as pa
from pgpq import encoders as pgpq_encoders
from pgpq import schema as pgpq_schema
from psycopg import sql

from meltano_assets.errors import FatalError
from meltano_assets.streams import ColumnType

#: A piece is cut at whichever comes first. While one is encoded, the server lives on what the
#: socket's buffer holds of the one before, so they must not be large.
PIECE_ROWS = 65_536
PIECE_BYTES = 1024 * 1024

#: What ends a binary COPY.
_TRAILER = b"\xff\xff"

#: Batches that may wait while one is being sent.
_WAITING = 1


def pieces(
    batch: pa.RecordBatch, rows: int = PIECE_ROWS, size: int = PIECE_BYTES
) -> Iterator[pa.RecordBatch]:
    """The batch in equal slices of at most so many rows and about so many bytes."""
    if not batch.num_rows:
        return
    per_row = max(1, batch.nbytes // batch.num_rows)
    most = max(1, min(rows, size // per_row))
    # Of equal size: a small remainder would cost as many steps as a whole piece.
    step = -(-batch.num_rows // -(-batch.num_rows // most))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


class BinaryCopy:
    """One ``COPY table (columns) FROM STDIN`` in progress; a context manager.

    Successive batches may use different Arrow types for one column as long as they stand for the
    same Postgres type: binary COPY is rows one after the other, so each batch has its own encoder.
    Between entering and leaving, the connection belongs to the sending thread.
    """

    def __init__(
        self,
        connection: psycopg.Connection[tuple[object, ...]],
        table: sql.Composable,
        columns: Sequence[tuple[str, ColumnType]],
        *,
        freeze: bool = False,
    ) -> None:
        self._types = dict(columns)
        options = "format binary, freeze" if freeze else "format binary"
        self._statement = sql.SQL("copy {} ({}) from stdin with ({})").format(
            table,
            sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
            sql.SQL(options),
        )
        self._cursor = connection.cursor()
        self._manager = self._cursor.copy(self._statement)
        self._copy: psycopg.Copy | None = None
        self._rows = 0
        self._schema: pa.Schema | None = None
        self._encoder: pgpq.ArrowToPostgresBinaryEncoder | None = None
        self._sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copy")
        self._sending: deque[Future[None]] = deque()

    def __enter__(self) -> BinaryCopy:
        self._copy = self._manager.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._wait_for_sender(0)
            if kind is None and self._encoder is not None and self._copy is not None:
                self._copy.write(self._encoder.finish())
        except BaseException as failure:
            if error is None:
                self._manager.__exit__(type(failure), failure, failure.__traceback__)
                raise
        finally:
            self._sender.shutdown()
        self._manager.__exit__(kind, error, trace)
        stored = self._cursor.rowcount
        self._cursor.close()
        if kind is None and stored != self._rows:
            raise FatalError(
                f"{self._rows} records were sent and {stored} arrived",
                hint="a trigger or rule on the table may drop rows",
            )

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows to be sent; the batch's columns are those of the COPY, in its order.

        An error of an earlier batch may show here or when the COPY is left.
        """
        self._wait_for_sender(_WAITING)
        self._sending.append(self._sender.submit(self._send, batch))

    def _wait_for_sender(self, allowed: int) -> None:
        while len(self._sending) > allowed:
            self._sending.popleft().result()

    def _send(self, batch: pa.RecordBatch) -> None:
        assert self._copy is not None
        if self._encoder is None or batch.schema != self._schema:
            # An encoder holds small pieces back; what is left goes before another one begins.
            if self._encoder is not None:
                self._copy.write(self._encoder.finish().removesuffix(_TRAILER))
            fresh = self._new_encoder(batch.schema)
            header = fresh.write_header()
            if self._encoder is None:
                self._copy.write(header)
            self._encoder, self._schema = fresh, batch.schema
        for piece in pieces(batch):
            self._copy.write(self._encoder.write_batch(piece))
            self._rows += piece.num_rows

    def _new_encoder(self, schema: pa.Schema) -> pgpq.ArrowToPostgresBinaryEncoder:
        builders = {}
        for field in schema:
            if self._types[field.name] == "jsonb":
                builders[field.name] = _json_encoder(field)
            else:
                builders[field.name] = pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(field)
        return pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(schema, builders)


def _json_encoder(field: pa.Field) -> object:
    if pa.types.is_large_string(field.type):
        kind = pgpq_encoders.LargeStringEncoderBuilder
    elif pa.types.is_string_view(field.type):
        kind = pgpq_encoders.StringViewEncoderBuilder
    else:
        kind = pgpq_encoders.StringEncoderBuilder
    return kind.new_with_output(field, pgpq_schema.Jsonb())
