"""pandas frames in slices: the same rows and types as the frame converted at once."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.warehouse import frames

FRAME = pd.DataFrame(
    {
        "id": range(10),
        "text": pd.Series(
            [None, None, None, "a", "", "\u00e9", float("nan"), pd.NA, "x", "y"], dtype=object
        ),
        "amount": [
            Decimal("1.5"),
            None,
            Decimal("-0.25"),
            None,
            None,
            None,
            *[Decimal(10**30)] * 4,
        ],
        "flag": [True, None] * 5,
        "real": [0.5, float("nan")] * 5,
        "at": pd.to_datetime(["2026-01-02T03:04:05Z"] * 10),
    }
)


def test_slices_hold_what_the_whole_frame_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pa.Table.from_pandas(FRAME, preserve_index=False)
    monkeypatch.setattr(frames, "_SLICE_ROWS", 3)
    schema, batches = frames.batches_of(FRAME)
    slices = list(batches)
    assert [one.num_rows for one in slices] == [3, 3, 3, 1]
    assert schema.names == whole.schema.names
    rows = [row for one in slices for row in one.to_pylist()]
    assert rows == whole.to_pylist()
    same = [name for name in schema.names if name != "amount"]
    for one in slices:
        assert [one.schema.field(name).type for name in same] == [
            whole.schema.field(name).type for name in same
        ]
        assert pa.types.is_decimal(one.schema.field("amount").type)


@pytest.mark.parametrize("last", [7, {"a": 1}, "\ud800"])
def test_a_column_of_two_types_is_refused_wherever_the_second_begins(
    monkeypatch: pytest.MonkeyPatch, last: object
) -> None:
    monkeypatch.setattr(frames, "_SLICE_ROWS", 3)
    frame = pd.DataFrame({"id": range(7), "text": pd.Series([*["secret"] * 6, last], dtype=object)})
    with pytest.raises(FatalError, match=r"no form as a table: .*text") as caught:
        _, batches = frames.batches_of(frame)
        list(batches)
    assert "secret" not in str(caught.value)


def test_columns_that_arrow_does_not_take_as_they_are_keep_their_values() -> None:
    frame = pd.DataFrame(
        {
            "month": pd.PeriodIndex(["2026-01", pd.NaT], freq="M"),
            "seldom": pd.arrays.SparseArray([0, 5]),
            "large": pd.Series([2**70, -1], dtype=object),
            "small": pd.Series([7, None], dtype=object),
        }
    )
    schema, batches = frames.batches_of(frame)
    assert [row for one in batches for row in one.to_pylist()] == [
        {"month": "2026-01", "seldom": 0, "large": Decimal(2**70), "small": 7},
        {"month": None, "seldom": 5, "large": Decimal(-1), "small": None},
    ]
    assert schema.field("seldom").type == pa.int64()
    with pytest.raises(FatalError, match=r"no form as a table: .*wave"):
        frames.batches_of(pd.DataFrame({"wave": [1j]}))
