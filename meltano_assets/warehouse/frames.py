"""pandas frames as Arrow batches, columns of objects converted while the load is under way.

Text and decimals in a numpy-backed frame are Python objects, and turning them into Arrow takes longer
than all the rest of the frame: so the whole frame is looked at first (its types are those of all its
rows), and each slice is converted when the loader asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    import pandas as pd

#: From here on a double no longer holds every whole number; up to there an integer column goes.
_INEXACT_FROM, _INEXACT_TO = 2.0**53, 2.0**64

_SLICE_ROWS = 65_536


def batches_of(frame: pd.DataFrame) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The frame's columns and its rows; FatalError for integers that pandas has rounded for a null.

    A numpy-backed column has one word for NaN and null, which becomes null.
    """
    late = _late_columns(frame)
    table = _arrow_table(frame.drop(columns=list(late)) if late else frame)
    if not late:
        return table.schema, iter(table.to_batches())
    fields = [
        pa.field(name, late[name]) if name in late else table.schema.field(name)
        for name in frame.columns
    ]
    return pa.schema(fields), _slices(frame, table, late)


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


def _array(values: pd.Series, kind: pa.DataType) -> pa.Array:
    try:
        if pa.types.is_string(kind):
            return pa.array(values, kind, from_pandas=True)
        # Each slice with the digits that it has.
        array = pa.array(values, from_pandas=True)
        return array if not pa.types.is_null(array.type) else array.cast(kind)
    except (ValueError, TypeError):
        raise _no_table(f"column {values.name}") from None


def _arrow_table(frame: pd.DataFrame) -> pa.Table:
    try:
        table = _to_arrow(frame)
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
    return table


def _plain(frame: pd.DataFrame, *, has_large_integers: bool = False) -> pd.DataFrame:
    """The frame with the columns that Arrow does not take as what they are in a form that it does.

    Periods would become bare numbers; sparse columns and integers beyond 64 bits are refused.
    """
    import pandas as pd
    from pandas.api.types import infer_dtype, is_object_dtype

    said: dict[int, pd.Series] = {}
    for place, dtype in enumerate(frame.dtypes):
        column = frame.iloc[:, place]
        if isinstance(dtype, pd.PeriodDtype):
            said[place] = column.astype("string")
        elif isinstance(dtype, pd.SparseDtype):
            said[place] = column.astype(dtype.subtype)
        elif (
            has_large_integers
            and is_object_dtype(dtype)
            and infer_dtype(column, skipna=True) == "integer"
        ):
            said[place] = column.map(Decimal, na_action="ignore")
    if not said:
        return frame
    columns = [said.get(place, frame.iloc[:, place]) for place in range(frame.shape[1])]
    plain = pd.concat(columns, axis=1)
    plain.columns = frame.columns
    return plain


def _to_arrow(frame: pd.DataFrame) -> pa.Table:
    try:
        return pa.Table.from_pandas(_plain(frame), preserve_index=False)
    except OverflowError:
        return pa.Table.from_pandas(_plain(frame, has_large_integers=True), preserve_index=False)


def _no_table(where: str) -> FatalError:
    return FatalError(
        f"the frame has no form as a table: {where}",
        hint="give each column one type and a name of its own",
    )
