"""What people's assets return, as Arrow batches: frames, tables, iterators of them, records as dictionaries.

Text and decimals in a numpy-backed pandas frame are Python objects, and turning them into Arrow takes longer
than all the rest of the frame: so the whole frame is looked at first (its types are those of all its
rows), and each slice is converted when the loader asks for it. A column of objects in which kinds of values
mix gets the type that the lattice (``types.py``) has for all of them.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from itertools import chain, islice
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.errors import FatalError
from meltano_assets.streams import Batch, ColumnType
from meltano_assets.warehouse import json_values, values
from meltano_assets.warehouse.types import join

if TYPE_CHECKING:
    import pandas as pd

#: From here on a double no longer holds every whole number; up to there an integer column goes.
_INEXACT_FROM, _INEXACT_TO = 2.0**53, 2.0**64

_SLICE_ROWS = 65_536
#: Dictionaries that become one batch.
_RECORDS = 10_000


def record_batches(holder: Any) -> tuple[pa.Schema, Iterator[Batch]]:
    """Columns and batches of whatever holds records; FatalError when it holds none.

    An Arrow table, batch or reader; a pandas or polars frame, or anything else with Arrow's C stream;
    an iterable of those; an iterable of dictionaries, one a record. The columns are those of the first
    batch; later ones may differ.
    """
    found = _of_one(holder)
    if found is not None:
        return found
    if isinstance(holder, str | bytes | Mapping) or not isinstance(holder, Iterable):
        raise _unstorable(type(holder).__name__)
    parts = iter(holder)
    first = next(parts, None)
    if first is None:
        raise _unstorable("an iterator without any batch: it tells no columns")
    batches = _of_many(type(holder).__name__, chain([first], parts))
    schema = next(batches)
    assert isinstance(schema, pa.Schema)
    return schema, batches  # type: ignore[return-value] # all but the first are batches


def _of_one(holder: Any) -> tuple[pa.Schema, Iterator[Batch]] | None:
    """Columns and batches of a frame, table or the like; None when it is none."""
    if isinstance(holder, pa.RecordBatch):
        return holder.schema, iter([Batch(holder)])
    if isinstance(holder, pa.Table):
        return holder.schema, map(Batch, holder.to_batches())
    if isinstance(holder, pa.RecordBatchReader):
        return holder.schema, map(Batch, holder)
    if hasattr(holder, "to_feather"):
        return batches_of(holder)
    if not hasattr(holder, "__arrow_c_stream__"):
        return None
    dtypes = getattr(holder, "dtypes", None)
    if isinstance(dtypes, list) and "Object" in map(str, dtypes):
        # polars would hand on where the objects lie in memory.
        raise _no_table("a column of Python objects")
    try:
        reader = pa.RecordBatchReader.from_stream(holder)
    except pa.ArrowException:
        raise _no_table("a column of a kind unknown to Arrow") from None
    return reader.schema, map(Batch, reader)


def _of_many(name: str, parts: Iterator[Any]) -> Iterator[pa.Schema | Batch]:
    """The columns of the first part, then the batches of all."""
    is_first = True
    for part in parts:
        if isinstance(part, Mapping):
            import pandas as pd

            # Objects: pandas would make floats of whole numbers beside a missing one.
            records = [part, *islice(parts, _RECORDS - 1)]
            if not all(isinstance(record, Mapping) for record in records):
                raise _unstorable(f"{name} of dictionaries and other things")
            found = batches_of(pd.DataFrame(records, dtype=object))
        else:
            one = _of_one(part)
            if one is None:
                raise _unstorable(f"{name} of {type(part).__name__}")
            found = one
        schema, batches = found
        if is_first:
            yield schema
            is_first = False
        yield from batches


def _unstorable(what: str) -> FatalError:
    hint = (
        "return a pandas or polars frame, an Arrow table, or an iterator of record batches, of those or"
        " of dictionaries"
    )
    return FatalError(f"cannot store {what}", hint=hint)


def batches_of(frame: pd.DataFrame) -> tuple[pa.Schema, Iterator[Batch]]:
    """The frame's columns and its rows; FatalError for integers that pandas has rounded for a null.

    A numpy-backed column has one word for NaN and null, which becomes null.
    """
    late = _late_columns(frame)
    cleaned: Counter[str] = Counter()
    table, settled = _arrow_table(frame.drop(columns=list(late)) if late else frame, cleaned)
    fields = [
        pa.field(name, late[name]) if name in late else settled.get(name, table.schema.field(name))
        for name in (frame.columns if late else table.schema.names)
    ]
    batches = _slices(frame, table, late) if late else iter(table.to_batches())
    return pa.schema(fields), _counted(batches, cleaned)


def _counted(batches: Iterator[pa.RecordBatch], cleaned: Counter[str]) -> Iterator[Batch]:
    for number, batch in enumerate(batches):
        yield Batch(batch, cleaned=cleaned if not number else {})


def _late_columns(frame: pd.DataFrame) -> dict[str, pa.DataType]:
    """Columns of nothing but text or nothing but decimals, as objects, in a frame of some size."""
    from pandas.api.types import infer_dtype, is_object_dtype

    has_names = frame.columns.is_unique and all(isinstance(name, str) for name in frame.columns)
    if len(frame) <= _SLICE_ROWS or not has_names:
        return {}
    kinds = {"string": pa.string(), "decimal": pa.decimal128(38, 9)}
    found: dict[str, pa.DataType] = {}
    for name, dtype in frame.dtypes.items():
        if is_object_dtype(dtype):
            kind = kinds.get(infer_dtype(frame[name], skipna=True))
            if kind is not None:
                found[str(name)] = kind
    return found


def _slices(
    frame: pd.DataFrame, table: pa.Table, late: dict[str, pa.DataType]
) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(frame), _SLICE_ROWS):
        part = frame.iloc[start : start + _SLICE_ROWS]
        arrays = []
        for name in frame.columns:
            if name in late:
                arrays.append(_array(part[name], late[name]))
            else:
                # One chunk: no slice is larger than a batch of the loader.
                arrays.append(table.column(name).slice(start, len(part)).combine_chunks())
        yield pa.RecordBatch.from_arrays(arrays, names=list(frame.columns))


def _array(column: pd.Series, kind: pa.DataType) -> pa.Array:
    try:
        if pa.types.is_string(kind):
            return _texts(column)
        # Each slice with the digits that it has.
        array = pa.array(column, from_pandas=True)
        return array if not pa.types.is_null(array.type) else array.cast(kind)
    except (ValueError, TypeError):
        raise _no_table(f"column {column.name}") from None


def _texts(column: pd.Series) -> pa.Array:
    """A column of text; what is no Unicode becomes bytes that the loader counts and replaces."""
    try:
        return pa.array(column, pa.string(), from_pandas=True)
    except UnicodeEncodeError:
        raw = [
            text.encode("utf-8", _NO_UNICODE) if isinstance(text, str) else None for text in column
        ]
        array = pa.array(raw, pa.large_binary())
        return pa.Array.from_buffers(
            pa.large_string(), len(array), array.buffers(), null_count=array.null_count
        )


#: An encoder's rule: one byte that no UTF-8 has for each lone surrogate.
_NO_UNICODE = "meltano_no_unicode"


def _broken(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    return b"\xff" * (error.end - error.start), error.end


codecs.register_error(_NO_UNICODE, _broken)


def _arrow_table(
    frame: pd.DataFrame, cleaned: Counter[str]
) -> tuple[pa.Table, dict[str, pa.Field]]:
    """The frame as a table; fields whose type is not the one that the values are handed on in."""
    settled: dict[str, pa.Field] = {}
    try:
        plain, own = _plain(frame, cleaned)
        table = pa.Table.from_pandas(plain, preserve_index=False)
        for place, (array, kind) in own.items():
            name = table.schema.field(place).name
            table = table.set_column(place, name, array)
            settled[name] = pa.field(name, kind)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        if not frame.columns.is_unique:
            raise _no_table("two columns of one name") from None
        # Arrow's first words tell a value, its last ones the column.
        where = (
            str(error.args[-1]) if len(error.args) > 1 else "a column of a kind unknown to Arrow"
        )
        raise _no_table(where) from None
    for name, kind in frame.dtypes.items():
        if str(kind) != "float64":  # an Arrow-backed column says ``double[pyarrow]``
            continue
        column = table.column(str(name))
        if not 0 < column.null_count < len(column):
            continue
        size = pc.max(pc.abs(column)).as_py()
        if (
            _INEXACT_FROM <= size < _INEXACT_TO
            and pc.all(pc.equal(column, pc.round(column))).as_py()
        ):
            raise FatalError(
                f"column {name} has whole numbers beyond 2**53 and nulls: pandas made floats of them,"
                " which changes their last digits",
                hint="read it as Int64 or Arrow-backed (dtype_backend='pyarrow'); if these are real"
                " floats, make the column double[pyarrow]",
            )
    return table, settled


def _plain(
    frame: pd.DataFrame, cleaned: Counter[str]
) -> tuple[pd.DataFrame, dict[int, tuple[pa.Array, pa.DataType]]]:
    """The frame with the columns that Arrow does not take as what they are in a form that it does.

    Periods would become bare numbers, sparse columns are refused. Columns of mixed objects come beside,
    by their place: their values, and the type that they are to have.
    """
    import pandas as pd
    from pandas.api.types import is_object_dtype

    said: dict[int, pd.Series] = {}
    own: dict[int, tuple[pa.Array, pa.DataType]] = {}
    for place, dtype in enumerate(frame.dtypes):
        column = frame.iloc[:, place]
        if isinstance(dtype, pd.PeriodDtype):
            said[place] = column.astype("string")
        elif isinstance(dtype, pd.SparseDtype):
            said[place] = column.astype(dtype.subtype)
        elif is_object_dtype(dtype):
            settled = _settled(column, cleaned)
            if settled is not None:
                own[place] = settled
                said[place] = pd.Series(None, index=frame.index, dtype=object)
    if not said:
        return frame, own
    columns = [said.get(place, frame.iloc[:, place]) for place in range(frame.shape[1])]
    plain = pd.concat(columns, axis=1)
    plain.columns = frame.columns
    return plain, own


#: What pandas calls columns of objects that Arrow takes for what they are.
_PLAIN_OBJECTS = frozenset({"boolean", "decimal", "empty", "floating", "time"})

#: Kinds of Python values, those that are a special case of another first, and what column they make.
_KINDS: tuple[tuple[type | tuple[type, ...], ColumnType], ...] = (
    ((bool, np.bool_), "boolean"),
    (Integral, "bigint"),
    (Real, "double precision"),
    (Decimal, "numeric"),
    (datetime, "timestamp"),
    (date, "date"),
    (str, "text"),
    ((bytes, bytearray), "bytea"),
    (UUID, "uuid"),
    ((time, timedelta), "text"),
    ((dict, list, tuple, set, frozenset, np.ndarray), "jsonb"),
)
#: Arrow types that stand for columns of mixed values, which are handed on as text.
_ARROW: dict[ColumnType, pa.DataType] = {
    "numeric": pa.decimal128(38, 9),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "text": pa.string(),
    "jsonb": pa.json_(),
}


def _settled(column: pd.Series, cleaned: Counter[str]) -> tuple[pa.Array, pa.DataType] | None:
    """The values of a column of objects as text, and the type for all of them.

    None where Arrow takes them for what they are, or for nothing that it knows. Left to itself it makes
    1.0 of a True behind 2.5, drops the time of a datetime behind a date and the zone of one behind a
    time without.
    """
    from pandas.api.types import infer_dtype

    kind = infer_dtype(column, skipna=True)
    if kind in _PLAIN_OBJECTS:
        return None
    if kind == "string":
        texts = _texts(column)
        return (texts, pa.string()) if pa.types.is_large_string(texts.type) else None
    present = np.flatnonzero(column.notna().to_numpy())
    items = column.to_numpy(dtype=object)[present]
    kinds = {one: _kind(one) for one in set(map(type, items))}
    if not kinds or None in kinds.values():
        return None
    found = {one for one in kinds.values() if one is not None}
    if "timestamp" in found:
        zones = {item.tzinfo is not None for item in items if isinstance(item, datetime)}
        if True in zones:
            found = (found - {"timestamp"}) | {"timestamptz"}
        if len(found) == len(zones) == 1:
            return None
    elif found == {"bigint"}:
        if min(items) >= -(2**63) and max(items) < 2**63:
            return None
        found = {"numeric"}
    elif found == {"bigint", "double precision"}:
        if all(abs(int(item)) <= _INEXACT_FROM for item in items if isinstance(item, Integral)):
            return None
    elif len(kinds) == 1 and found != {"jsonb"}:
        return None
    target = reduce(join, sorted(found))
    if target not in _ARROW:
        return None
    texts = np.empty(len(column), dtype=object)
    for type_, one in kinds.items():
        mine = np.fromiter((type(item) is type_ for item in items), bool, len(items))
        texts[present[mine]] = _as_texts(list(items[mine]), one, cleaned)
    return _texts(_series(texts)), _ARROW[target]


def _kind(type_: type) -> ColumnType | None:
    return next((kind for types, kind in _KINDS if issubclass(type_, types)), None)


def _as_texts(items: list[Any], kind: ColumnType | None, cleaned: Counter[str]) -> list[str]:
    if kind == "text" and isinstance(items[0], str):
        return items
    if kind == "jsonb":
        return [json_values.dumps(item, cleaned) for item in items]
    if kind == "bigint":
        return [str(int(item)) for item in items]
    if kind == "timestamp":
        return [item.isoformat() for item in items]
    found: list[str] = values.convert(pa.array(items), "text").array.to_pylist()
    return found


def _series(texts: np.ndarray) -> pd.Series:
    import pandas as pd

    return pd.Series(texts, dtype=object)


def _no_table(where: str) -> FatalError:
    return FatalError(
        f"the frame has no form as a table: {where}",
        hint="give each column one type and a name of its own",
    )
