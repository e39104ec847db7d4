"""Parquet as different programs write it: old times, intervals, names that stand twice."""

from __future__ import annotations

import base64
import gzip
import io
import zlib
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.files import read_file
from meltano_assets_tests.warehouse.tables import query
from meltano_assets_tests.warehouse.test_hostile import store

#: A number and an interval: 14 months, 2 days and 3.004 seconds; null; nothing.
INTERVALS = zlib.decompress(base64.b85decode(
    "c-nnY+e*Vg5S_%h6tsap%(8(zL}@~l7#dNm(3eUn_#(w02uTxhF&9bOJmg#a6u-tVaW)mKFD|p}%$aiz2X-}oju3E+;{X"
    "{o3>kn908G<h-yPAVO^4k9<&41jG5mkbABWGAzc}jF>=wi@+pXWSG~TRV^D;q$a90<)%-nN869wwR*t{o|dkLIbwiS3_lN7"
    ";HBqWe8`O+KAgrPDDLnY?mA55bWST?HoDu>dWy}tMD9X>QF@9FWE#lJMpya7F=74|-4D64JWv`G=CMO~Nii!5js!>Vq|q>x"
    ">nU9}Mie?jcUgVW~CM%I<nUWbz~a{P2Bi_Dp3che}k$?qo@R$v2A!70UD(I<QZ59K-Y"
))  # fmt: skip

#: A whole number of 128 bits, which Arrow has no type for.
LONG_INTEGER = zlib.decompress(base64.b85decode(
    "c-n1IO;5r=5Z!JJ;b1(mn{LuWFA@k1!lEhlHjoC1No^bB$FW!zNRXNqK|T3%{F%-!9yIYKJ74d;Iqbxc_8DOw^E^hesIeL$"
    "l;E>0@)ztxoRXTbt&9;)dBme;od}25S;RF>g?DvS7R8oP)H0V*l%i5N!fD<)|JwPd#To<~+N|@aL2#da3~73Ee_1^(=g*n_"
    "Wu0jZ9sv>RFx+APmi+W)bPZ6!*yIE{G4lJpo=*W5zjY?~n*T6!6DD9Nw4-@6g^|gj-iI)I0ODITbq;lMu#OYGZ*k}+ArL!?"
    "i*;63ZtLZJyDT<scQ-GqRk3kpx8Lo#t=a2pox8pYdUBQzl**;A)KKRAbLkJWUXaP)LMf^IY@P?QEgT2`^#Sh?<CVSvt2S9|"
))  # fmt: skip
YEAR_1600 = datetime(1600, 1, 1)  # noqa: DTZ001 - Parquet says no zone
TODAY = datetime(2021, 3, 4, 5, 6, 7, 123456)  # noqa: DTZ001


def parquet(table: pa.Table, **options: object) -> bytes:
    written = io.BytesIO()
    pa_parquet.write_table(table, written, **options)
    return written.getvalue()


@pytest.mark.parametrize("is_packed", [False, True])
def test_times_of_96_bits_keep_years_that_nanoseconds_do_not_reach(
    tmp_path: Path, warehouse: Warehouse, is_packed: bool
) -> None:
    """Most programs make another year of them without a word."""
    times = [YEAR_1600, TODAY, None]
    table = pa.table({"id": [1, 2, 3], "t": times, "l": [[time] for time in times]})
    content = parquet(table, use_deprecated_int96_timestamps=True)
    name = "f.parquet.gz" if is_packed else "f.parquet"
    store(warehouse, tmp_path / name, gzip.compress(content) if is_packed else content, "id")
    assert query(warehouse, "select t, l->>0 from shop.things order by id") == [
        (YEAR_1600, "1600-01-01T00:00:00"),
        (TODAY, "2021-03-04T05:06:07.123456"),
        (None, None),
    ]


@pytest.mark.parametrize("is_packed", [False, True])
def test_times_of_96_bits_are_rounded_like_others(
    tmp_path: Path, warehouse: Warehouse, is_packed: bool
) -> None:
    times = pa.array([1614834367123456789, 0], pa.timestamp("ns"))
    content = parquet(pa.table({"id": [1, 2], "t": times}), use_deprecated_int96_timestamps=True)
    content = gzip.compress(content) if is_packed else content
    outcome = store(warehouse, tmp_path / "f.parquet", content, "id")
    assert outcome.cleaned == {"microseconds_rounded": 1}
    assert query(warehouse, "select t from shop.things where id = 1") == [
        (TODAY.replace(microsecond=123457),)
    ]


def test_intervals_are_text_that_postgres_understands(tmp_path: Path, warehouse: Warehouse) -> None:
    store(warehouse, tmp_path / "f.parquet", INTERVALS, "id")
    assert query(warehouse, "select span, span::interval::text from shop.things order by id") == [
        ("P14M2DT3.004S", "1 year 2 mons 2 days 00:00:03.004"),
        (None, None),
        ("P0M0DT0S", "00:00:00"),
    ]


def test_a_name_that_stands_twice_is_two_columns(tmp_path: Path, warehouse: Warehouse) -> None:
    table = pa.table([[1], ["x"], [2.5], [True]], names=["id", "a", "a", "a_2"])
    store(warehouse, tmp_path / "f.parquet", parquet(table), "id")
    assert query(warehouse, "select id, a, a_3, a_2 from shop.things") == [(1, "x", 2.5, True)]


def test_values_that_no_type_can_say_leave_the_columns_type(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    """DuckDB writes infinite dates as the last day that 32 bits can count."""
    days = pa.array([0, 2**31 - 1, 18_000], pa.int32()).cast(pa.date32())
    table = pa.table({"id": [1, 2, 3], "d": days})
    outcome = store(warehouse, tmp_path / "f.parquet", parquet(table), "id")
    assert (outcome.inserted, outcome.quarantined, outcome.schema_changes[1:]) == (2, 1, [])
    assert query(warehouse, "select pg_typeof(d)::text from shop.things limit 1") == [("date",)]


def test_a_column_that_cannot_be_read_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "f.parquet").write_bytes(LONG_INTEGER)
    with pytest.raises(FatalError, match="a column in a form that cannot be read"):
        read_file(tmp_path / "f.parquet")


def test_a_page_that_is_not_what_was_written_is_an_error(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    """Where the file says what its pages' checksums are, as Spark's and others do."""
    texts = [f"text {number}" for number in range(1000)]
    table = pa.table({"id": range(1000), "v": texts})
    content = parquet(table, compression="none", use_dictionary=False, write_page_checksum=True)
    with pytest.raises(FatalError, match="damaged"):
        store(warehouse, tmp_path / "f.parquet", content.replace(b"text 500", b"text 5OO"), "id")
    assert query(warehouse, "select to_regclass('shop.things')") == [(None,)]


def test_periods_of_pandas_are_text_as_people_write_them(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3],
            "month": pd.PeriodIndex(["2026-01", None, "1969-12"], freq="M"),
            "day": pd.PeriodIndex(["2026-01-31", "2026-02-01", None], freq="D"),
        }
    )
    path = tmp_path / "f.parquet"
    frame.to_parquet(path)
    store(warehouse, path, path.read_bytes())
    rows = query(warehouse, "select month, day from shop.things order by id")
    assert rows == [("2026-01", "2026-01-31"), (None, "2026-02-01"), ("1969-12", None)]
