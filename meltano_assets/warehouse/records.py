"""Batches of a stream fitted to its table: names, types, keys, and records that must be set aside.

Belongs here: what is decided per batch before anything is sent. The values themselves are converted in
``values.py``; the table's shape is changed in ``schema.py`` by whoever asks for the fit.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from meltano_assets.errors import FatalError
from meltano_assets.streams import OWN, ColumnType, Stream
from meltano_assets.warehouse import json_values
from meltano_assets.warehouse.converted import Converted, is_bytes, is_text, mask
from meltano_assets.warehouse.encoding import Encoding
from meltano_assets.warehouse.inference import infer, widened
from meltano_assets.warehouse.names import fold_all
from meltano_assets.warehouse.types import from_arrow, join
from meltano_assets.warehouse.values import convert

SchemaPolicy = Literal["evolve", "freeze", "quarantine"]

#: A B-tree entry holds 2,704 bytes; a longer key could be stored but not enforced.
MAX_KEY_BYTES = 2_600

DELETED_AT = "_deleted_at"

#: Where fields go for which a table has no room: at most 1,600 columns, 8 kB a row outside TOAST.
MORE_FIELDS = "_more_fields"
_MAX_COLUMNS = 1_580
_ROW_BYTES = 7_800
#: What a column takes of a row; texts are guessed as short or null, as most are in wide tables.
_WIDTH: dict[ColumnType, int] = {"boolean": 1, "integer": 4, "date": 4, "text": 7, "jsonb": 7,
                                 "bytea": 7, "uuid": 16}  # fmt: skip

#: Part of the names of a reader's own columns: no input can have such a field, by chance or on purpose.
_OURS = os.urandom(8).hex()

#: A reader's column for the text of rows that are no records; such rows hold nothing else.
MALFORMED = f"\x00malformed {_OURS}"

#: A reader's column for the reason, where it knows more than that the row is malformed.
REASON = f"\x00reason {_OURS}"
#: A reader's column for the row's or line's number.
NUMBER = f"\x00number {_OURS}"
_REMARKS = (MALFORMED, REASON, NUMBER)

#: Fewer rows are converted in less time than threads take to hand them over.
_WORTH_THREADS = 2_000

#: How a number and a truth value are written in JSON; those of files come as text.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SAID: dict[ColumnType, re.Pattern[str]] = {
    **dict.fromkeys(("integer", "bigint", "numeric", "double precision"), _NUMBER),
    "boolean": re.compile("true|false"),
}

#: Option of streams whose types were inferred: text that contradicts them widens the column.
#: True for all columns, or a set of them.
INFERRED = "inferred_types"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be stored, as text, and why not; the reason holds no value."""

    record: str
    reason: str
    column: str | None
    #: Place in the load, or the line or row in the input, counted from 1; None when unknown.
    number: int | None = None


@dataclass(slots=True)
class Fitted:
    """Rows ready for the wire, those set aside, and the rules that changed values."""

    rows: pa.RecordBatch
    rejected: list[Rejected] = field(default_factory=list)
    cleaned: Counter[str] = field(default_factory=Counter)


class Fitter:
    """Fits one stream's batches, and learns new fields and wider types on the way.

    ``types`` says what each column's type is by now; ``names`` which column each field has.
    ``new_names`` collects fields met for the first time. ``unknown`` are columns without a type as yet:
    the first value gives it. ``encoding`` is the database's, if it does not hold every character.
    """

    def __init__(
        self,
        stream: Stream,
        types: Mapping[str, ColumnType],
        names: Mapping[str, str],
        encoding: Encoding | None = None,
    ) -> None:
        self.stream = stream
        self._encoding = encoding
        self.types = self._fitting(types)
        self.names = dict(names)
        self.new_names: dict[str, str] = {}
        self.policy = cast(SchemaPolicy, stream.options.get("schema_policy", "evolve"))
        declared = {column.vendor_field: column.name for column in stream.columns}
        declared |= {column.name: column.name for column in stream.columns}
        self._declared = declared
        inferred = stream.options.get(INFERRED) or ()
        self._inferred = inferred if isinstance(inferred, frozenset) else None
        self._is_inferred = inferred is True
        self.unknown = {column.name for column in stream.columns if not column.is_type_known}
        self._places: dict[tuple[str, ...], list[str | None]] = {}
        self._before = 0
        self._threads: ThreadPoolExecutor | None = None

    def fit(self, records: pa.RecordBatch) -> Fitted:
        """The batch as rows for the wire; ``types`` may be wider afterwards."""
        cleaned: Counter[str] = Counter()
        bad = np.zeros(records.num_rows, dtype=bool)
        reasons: dict[int, tuple[str, str | None]] = {}
        columns: list[str] = []
        arrays: list[pa.Array] = []
        if MALFORMED in records.schema.names:
            texts = records.column(records.schema.get_field_index(MALFORMED))
            known = records.schema.get_field_index(REASON)
            told = [None] * len(texts) if known < 0 else records.column(known).to_pylist()
            malformed = mask(pc.is_valid(texts))
            for row in np.flatnonzero(malformed):
                reasons.setdefault(int(row), (told[row] or "malformed row", None))
            bad |= malformed
        more: dict[str, pa.Array] = {}
        places = self._columns_of(records.schema)
        trials = self._begin(records, places)
        for index, column in enumerate(places):
            if column is None:
                continue
            array = records.column(index)
            if column not in self.types:
                if array.null_count == len(array):
                    continue
                if self.policy == "evolve" and not self._has_room(self.types):
                    more[records.schema.field(index).name] = array
                    continue
                if self.policy == "quarantine":
                    _note(reasons, mask(pc.is_valid(array)), bad, "undeclared field", column)
                    continue
                self._learn(records.schema.field(index).name, column, array)
            elif column in self.unknown and array.null_count < len(array):
                self.types[column] = self._type_of(column, array)
                self.unknown.discard(column)
            converted = self._convert(column, array, reasons, bad, trials.get(column))
            if converted.bad is not None:
                reason = f"not a {self.types[column]}"
                _note(reasons, converted.bad, bad, reason, column)
            cleaned.update(converted.cleaned)
            columns.append(column)
            arrays.append(self._encoded(column, converted.array, reasons, bad))
        if more:
            self.types.setdefault(MORE_FIELDS, "jsonb")
            struct = pa.StructArray.from_arrays([*more.values()], names=[*more])
            converted = self._convert(MORE_FIELDS, struct, reasons, bad)
            if converted.bad is not None:
                _note(reasons, converted.bad, bad, "not a jsonb", MORE_FIELDS)
            cleaned.update(converted.cleaned)
            columns.append(MORE_FIELDS)
            arrays.append(self._encoded(MORE_FIELDS, converted.array, reasons, bad))
        self._check_keys(columns, arrays, reasons, bad)
        if not columns:
            _note(reasons, ~bad, bad, "the record is empty", None)
        rejected = []
        if bad.any():
            kinds = [None if column is None else self.types.get(column) for column in places]
            rejected = _reject(records, kinds, reasons, self._before)
        self._before += records.num_rows
        rows = pa.RecordBatch.from_arrays(arrays, names=columns)
        if rejected and columns:
            rows = rows.filter(pa.array(~bad))
        return Fitted(rows, rejected, cleaned)

    def _fitting(self, types: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
        """The types for which a table has room: the keys', then the first ones given."""
        keys = {*self.stream.primary_key, self.stream.replication_key, DELETED_AT}
        chosen = {name: kind for name, kind in types.items() if name in keys}
        for name, kind in types.items():
            if name not in chosen and self._has_room(chosen):
                chosen[name] = kind
        return {name: kind for name, kind in types.items() if name in chosen}

    def _has_room(self, types: Mapping[str, ColumnType]) -> bool:
        size = sum(_WIDTH.get(kind, 8) for kind in types.values())
        return len(types) < _MAX_COLUMNS and size < _ROW_BYTES

    def _columns_of(self, schema: pa.Schema) -> list[str | None]:
        """The column of each field; None for a reader's own remarks."""
        fields = tuple(schema.names)
        if len(set(fields)) < len(fields):
            twice = sorted({name for name in fields if fields.count(name) > 1})
            raise self._fatal(
                f"two fields of a batch have the same name: {', '.join(twice)}",
                hint="give each a name of its own",
            )
        if fields not in self._places:
            known = {**self.names, **self._declared}
            ours = {name for name in fields if name in (DELETED_AT, *_REMARKS)}
            folded = fold_all((name for name in fields if name not in ours), known)
            self._places[fields] = [
                (DELETED_AT if name == DELETED_AT else None) if name in ours else folded[name]
                for name in fields
            ]
        return self._places[fields]

    def _learn(self, name: str, column: str, array: pa.Array) -> None:
        if self.policy == "freeze" and self.stream.columns:
            number = self._number(mask(pc.is_valid(array)))
            raise self._fatal(
                f"record {number}: a new field would need column {column},"
                " and the stream's schema is frozen",
                hint="declare the column or set the policy to evolve",
            )
        self.types[column] = self._type_of(column, array)
        self.names[name] = column
        self.new_names[name] = column

    def _type_of(self, column: str, array: pa.Array) -> ColumnType:
        """The type for a column's first values."""
        if self._may_become_text(column) and is_text(array.type):
            return infer(array) or "text"
        return from_arrow(array.type)

    def _convert(
        self,
        column: str,
        array: pa.Array,
        reasons: dict[int, tuple[str, str | None]],
        bad: np.ndarray,
        trial: Future[tuple[ColumnType, Converted]] | None = None,
    ) -> Converted:
        """Convert, widening the column as often as the values demand."""
        is_inferred = self._may_become_text(column) and column != DELETED_AT
        known = self._try(column, array) if trial is None else trial.result()
        self.types[column], converted = known
        is_inferred &= self.types[column] != OWN
        if converted.bad is not None and is_inferred and self.policy == "evolve":
            as_text = convert(array, "text")
            if as_text.bad is None or as_text.bad.sum() < converted.bad.sum():
                self.types[column] = "text"
                return as_text
        while converted.wider is not None:
            wider = join(self.types[column], converted.wider)
            if column == DELETED_AT or (self.policy == "quarantine" and self.stream.columns):
                misfits = _misfits(array, self.types[column])
                _note(reasons, misfits, bad, f"not a {self.types[column]}", column)
                array = pc.if_else(pa.array(misfits), pa.scalar(None, array.type), array)
                return convert(array, self.types[column])
            if self.policy == "freeze" and self.stream.columns:
                number = self._number(_misfits(array, self.types[column]))
                raise self._fatal(
                    f"record {number}: column {column} is {self.types[column]}, a value needs"
                    f" {wider}, and the stream's schema is frozen",
                    hint="declare the wider type or set the policy to evolve",
                )
            self.types[column] = wider
            converted = convert(array, wider)
        return converted

    def _encoded(
        self,
        column: str,
        array: pa.Array,
        reasons: dict[int, tuple[str, str | None]],
        bad: np.ndarray,
    ) -> pa.Array:
        """The values as the database's encoding takes them; records that it cannot hold are marked."""
        kind = self.types[column]
        if self._encoding is None or kind not in ("text", "jsonb", OWN):
            return array
        array, unfit = self._encoding.fitted(array, is_json=kind == "jsonb")
        if unfit is not None:
            reason = f"a character that the database's encoding {self._encoding.name} cannot hold"
            _note(reasons, unfit, bad, reason, column)
        return array

    def _begin(
        self, records: pa.RecordBatch, places: Sequence[str | None]
    ) -> dict[str, Future[tuple[ColumnType, Converted]]]:
        """Columns that have a type are converted side by side: most of the work leaves Python."""
        if records.num_rows < _WORTH_THREADS:
            return {}
        if self._threads is None:
            self._threads = ThreadPoolExecutor(min(os.cpu_count() or 1, 4), "fit")
        return {
            column: self._threads.submit(self._try, column, records.column(index))
            for index, column in enumerate(places)
            if column is not None and column in self.types and column not in self.unknown
        }

    def _try(self, column: str, array: pa.Array) -> tuple[ColumnType, Converted]:
        """The type that a column's values ask for as they are written, and the values in it."""
        kind = self.types[column]
        is_open = self.policy == "evolve" and column != DELETED_AT
        if self._may_become_text(column) and is_text(array.type) and is_open:
            kind = widened(kind, array)
        return kind, convert(array, kind)

    def _may_become_text(self, column: str) -> bool:
        """True when the column's type was only guessed from values."""
        return self._is_inferred or (self._inferred is not None and column in self._inferred)

    def _check_keys(
        self,
        columns: list[str],
        arrays: list[pa.Array],
        reasons: dict[int, tuple[str, str | None]],
        bad: np.ndarray,
    ) -> None:
        size = np.zeros(len(bad), dtype=np.int64)
        for key in self.stream.primary_key:
            if key not in columns:
                if len(bad):
                    _note(reasons, ~bad, bad, "the primary key is missing", key)
                continue
            array = arrays[columns.index(key)]
            if array.null_count:
                empty = ~mask(pc.is_valid(array)) & ~bad
                _note(reasons, empty, bad, "the primary key is null", key)
            if (is_text(array.type) or is_bytes(array.type)) and len(array):
                size += pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False)
        long = size > MAX_KEY_BYTES
        if long.any():
            only = self.stream.primary_key[0] if len(self.stream.primary_key) == 1 else None
            _note(reasons, long, bad, "the primary key is too long to be indexed", only)

    def _number(self, found: np.ndarray) -> int:
        """Which record of the load is the first that was found in a batch."""
        return self._before + int(np.flatnonzero(found)[0]) + 1

    def _fatal(self, message: str, hint: str | None = None) -> FatalError:
        return FatalError(message, source=self.stream.source, stream=self.stream.name, hint=hint)


def with_malformed(
    records: pa.RecordBatch,
    texts: Sequence[str],
    numbers: Sequence[int | None] = (),
    reasons: Sequence[str | None] = (),
) -> pa.RecordBatch:
    """The records, and behind them rows that hold nothing but the text of a malformed one.

    ``numbers`` says which line or row each was, ``reasons`` what is wrong with it.
    """
    arrays = [
        pa.concat_arrays([column, pa.nulls(len(texts), column.type)]) for column in records.columns
    ]
    before = [None] * records.num_rows
    names = [*records.schema.names, MALFORMED]
    arrays.append(pa.array([*before, *texts], pa.string()))
    if numbers:
        names.append(NUMBER)
        arrays.append(pa.array([*before, *numbers], pa.int64()))
    if reasons:
        names.append(REASON)
        arrays.append(pa.array([*before, *reasons], pa.string()))
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _note(
    reasons: dict[int, tuple[str, str | None]],
    found: np.ndarray,
    bad: np.ndarray,
    reason: str,
    column: str | None,
) -> None:
    """Mark rows as bad; the first reason found for a row is kept."""
    for row in np.flatnonzero(found):
        reasons.setdefault(int(row), (reason, column))
    bad |= found


def _misfits(array: pa.Array, target: ColumnType) -> np.ndarray:
    """Rows whose value needs a wider type than the target, found by halving."""
    found = np.zeros(len(array), dtype=bool)
    spans = [(0, len(array))]
    while spans:
        start, length = spans.pop()
        if length == 0 or convert(array.slice(start, length), target).wider is None:
            continue
        if length == 1:
            found[start] = True
            continue
        half = length // 2
        spans += [(start, half), (start + half, length - half)]
    return found


def _reject(
    records: pa.RecordBatch,
    kinds: Sequence[ColumnType | None],
    reasons: Mapping[int, tuple[str, str | None]],
    before: int,
) -> list[Rejected]:
    """The records as JSON; texts that are numbers or truth values, in columns of such, are said as those."""
    ignored: Counter[str] = Counter()
    rejected = []
    for row in sorted(reasons):
        reason, column = reasons[row]
        record = {
            name: _said(_printable(records.column(index)[row]), kinds[index])
            for index, name in enumerate(records.schema.names)
        }
        text = record.pop(MALFORMED, None)
        record.pop(REASON, None)
        told = record.pop(NUMBER, None)
        number = before + row + 1 if text is None else cast("int | None", told)
        if text is None:
            text = json_values.dumps(record, ignored)
        rejected.append(Rejected(str(text).replace("\x00", "\ufffd"), reason, column, number))
    return rejected


def _said(value: object, kind: ColumnType | None) -> object:
    if kind is None or kind not in _SAID or not isinstance(value, str):
        return value
    return orjson.Fragment(value) if _SAID[kind].fullmatch(value) else value


def _printable(value: pa.Scalar) -> object:
    """A value for the record's text, as exactly as it can be said."""
    kinds = pa.types
    try:
        return cast(object, value.as_py())
    except (ValueError, OverflowError):
        pass
    if isinstance(value, pa.StructScalar):
        fields = (value.type.field(place).name for place in range(value.type.num_fields))
        return [[name, _printable(value[place])] for place, name in enumerate(fields)]
    if isinstance(value, pa.ListScalar):
        return [_printable(item) for item in value.values]
    if kinds.is_timestamp(value.type):
        return f"{value.cast(pa.int64())} {value.type.unit} since 1970"
    if kinds.is_date32(value.type):
        return f"{value.cast(pa.int32())} days since 1970"
    if kinds.is_date64(value.type):
        return f"{value.cast(pa.int64())} ms since 1970"
    if is_text(value.type):
        raw: bytes = value.cast(pa.large_binary()).as_py()
        return raw.decode("utf-8", "replace")
    return repr(value)
