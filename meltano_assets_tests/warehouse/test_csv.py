"""CSV as it is met: quotes that are none, records over many lines, other signs, other formats."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from meltano_assets.errors import FatalError
from meltano_assets.streams import LoadOutcome
from meltano_assets.warehouse import files
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.files import read_file
from meltano_assets.warehouse.names import unique_names
from meltano_assets_tests.warehouse.tables import query
from meltano_assets_tests.warehouse.test_hostile import store


def load(warehouse: Warehouse, path: Path, content: str | bytes) -> LoadOutcome:
    """Load a CSV of a few columns into ``shop.things``."""
    return store(warehouse, path / "f.csv", content)


@pytest.mark.parametrize("header", ['5" disk', 'a "b', 'a""b"'])
def test_a_quote_in_a_header_takes_no_record(
    tmp_path: Path, warehouse: Warehouse, header: str
) -> None:
    outcome = load(warehouse, tmp_path, f'{header},b\n1,"x"\n2,3"\n')
    assert (outcome.read, outcome.inserted) == (2, 2)
    assert query(warehouse, "select b from shop.things order by _load_id, b desc") == [
        ("x",),
        ('3"',),
    ]


@pytest.mark.parametrize("header", ['a,"b', '"a"b",c', 'a,"b"c'])
def test_a_header_that_is_no_record_is_an_error(
    tmp_path: Path, warehouse: Warehouse, header: str
) -> None:
    with pytest.raises(FatalError, match="its header has a quote that is never closed"):
        load(warehouse, tmp_path, f"{header}\n1,2\n3,4\n")


def test_a_name_over_several_lines_that_hold_other_signs(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('"a;b;c\nd;""e""",f\n1,2\n')
    columns, batches = read_file(path)
    assert [column.vendor_field for column in columns] == ['a;b;c\nd;"e"', "f"]
    assert [batch.to_pylist() for batch in batches] == [[{'a;b;c\nd;"e"': "1", "f": "2"}]]


@pytest.mark.parametrize("size", [100_000, 131_073, 5_000_000])
def test_a_name_may_be_long(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f.csv"
    path.write_text("x" * size + ",b\n1,2\n")
    _, batches = read_file(path)
    assert [batch.num_rows for batch in batches] == [1]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('2,"say "hi" to"', "text behind the quote"),
        ('2,"a \\"b\\" c"', "text behind the quote"),
        ('2,"x\n3,y\n4,"z"', "text behind the quote"),
        ('2,"x"y,"z"w', "text behind the quote"),
        ("2,x,y", "malformed row"),
    ],
)
def test_a_row_with_text_behind_a_quote_is_set_aside_as_it_is(
    tmp_path: Path, warehouse: Warehouse, row: str, reason: str
) -> None:
    """Most programs drop the quotes without a word, or take rows for one long value."""
    outcome = load(warehouse, tmp_path, f'a,b\n1,"x, ""y"""\r\n{row}\r\n5,"z" \n')
    assert (outcome.inserted, outcome.quarantined) == (2, 1)
    assert query(warehouse, "select a, b from shop.things order by a") == [
        (1, 'x, "y"'),
        (5, "z "),
    ]
    kept = query(warehouse, "select record, record_number, reason from shop.things__quarantine")
    assert [(text, number) for text, number, _ in kept] == [(row, 2)]
    assert kept[0][2].startswith(reason)


def test_a_row_behind_a_quote_that_is_not_utf8_is_set_aside(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    outcome = load(warehouse, tmp_path, b'a,b\n1,caf\xe9\n2,"caf\xe9"x\n3,caf\xc3\xa9\n')
    assert (outcome.inserted, outcome.quarantined) == (2, 1)
    assert query(warehouse, "select record, record_number from shop.things__quarantine") == [
        ('2,"caf\ufffd"x', 2)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_no_value_is_cut_where_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever the size of its pieces, and with quotes inside of values that have none around them."""
    chance = random.Random(seed)
    monkeypatch.setattr(files, "BLOCK_BYTES", chance.choice([64, 100, 257, 1000]))
    end = chance.choice(["\n", "\r\n", "\r"])
    sign = chance.choice(",;\t|")
    rows, lines = [], [sign.join("abc")]
    for _ in range(200):
        row = [
            "".join(chance.choices(f'xy"\n\r{sign} é', k=chance.randrange(1, 12))) for _ in "abc"
        ]
        if chance.random() < 0.3:
            # As people write it: nothing around a value that needs nothing.
            row = ["x" + "".join(c for c in value if c not in f"\r\n{sign}") for value in row]
            lines.append(sign.join(row))
        else:
            lines.append(sign.join('"' + value.replace('"', '""') + '"' for value in row))
        rows.append(row)
    path = tmp_path / "f.csv"
    path.write_bytes((end.join(lines) + end).encode())
    _, batches = read_file(path)
    found = [[record[name] for name in "abc"] for batch in batches for record in batch.to_pylist()]
    assert found == rows


def test_records_that_end_with_a_carriage_return_come_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"a,b\r" + b'1,"x\ry"\r2,z\r' * 500_000)
    _, batches = read_file(path)
    sizes = [batch.num_rows for batch in batches]
    assert sum(sizes) == 1_000_000
    assert len(sizes) > 1


def test_a_mark_of_the_readers_own_is_no_value_of_the_file(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    outcome = load(warehouse, tmp_path, 'a,b\n,,malformed\n1,"x"y\n,,malformed.\n')
    kept = query(warehouse, "select record from shop.things__quarantine order by record_number")
    assert kept == [(",,malformed",), ('1,"x"y',), (",,malformed.",)]
    assert outcome.quarantined == 3


@pytest.mark.parametrize("content", ['{"a": 1}\n{"a": 2}\n', ' {"a":1}\r\n{"a":2}'])
@pytest.mark.parametrize("suffix", ["csv", "txt", "dat"])
def test_json_by_another_name_keeps_its_first_record(
    tmp_path: Path, warehouse: Warehouse, suffix: str, content: str
) -> None:
    outcome = store(warehouse, tmp_path / f"f.{suffix}", content)
    assert (outcome.read, outcome.inserted) == (2, 2)
    assert query(warehouse, "select a from shop.things order by a") == [(1,), (2,)]
    with pytest.raises(FatalError, match="is JSON"):
        read_file(tmp_path / f"f.{suffix}", "csv")


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": 2}]', '[\n {"a": 1},\n {"a": 2}\n]\n'])
@pytest.mark.parametrize("suffix", ["csv", "dat"])
def test_a_json_document_is_no_csv_of_nothing(tmp_path: Path, suffix: str, content: str) -> None:
    path = tmp_path / f"f.{suffix}"
    path.write_text(content)
    with pytest.raises(FatalError, match="is no NDJSON"):
        read_file(path)


@pytest.mark.parametrize("header", ["PARENT_ID,b", "ORCID,b", "PAR1,b", "BZh,b"])
def test_a_header_may_begin_like_a_file_of_another_kind(tmp_path: Path, header: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"{header}\n")
    columns, _ = read_file(path)
    assert "".join(column.vendor_field for column in columns) == header.replace(",", "")


def test_a_name_that_stands_twice_is_found_quickly() -> None:
    names = unique_names(["a"] * 3000)
    assert len(set(names)) == 3000


@pytest.mark.parametrize("sign", ["^", ":", "\x01", "~", " "])
def test_a_delimiter_may_be_named(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "f.txt"
    path.write_text(f'a{sign}"b,c"\n1{sign}"x{sign}y"\n')
    columns, batches = read_file(path, delimiter=sign)
    assert [column.vendor_field for column in columns] == ["a", "b,c"]
    assert [batch.to_pylist() for batch in batches] == [[{"a": "1", "b,c": f"x{sign}y"}]]
