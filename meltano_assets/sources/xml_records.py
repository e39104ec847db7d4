"""Records of XML → Arrow, by the columns that a stream declares.

A record's element is walked once; a value goes to its columns as the text that it is, and each
column is typed as a whole. Columns without any value cost nothing. What a column's ``field`` may
say is told in ``netsuite_columns``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
import pyarrow as pa

from meltano_assets.sources.records import ARROW_TYPES, typed
from meltano_assets.streams import Column

Node = Any

_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_TYPE, _NIL = f"{_XSI}type", f"{_XSI}nil"
#: How many characters of a time tell its day.
_DAY = 10
_LIST = "List"


class XmlColumns:
    """The columns of a stream, ready to read records; ``undeclared`` collects what none declares."""

    def __init__(self, columns: Sequence[Column], line_key: Sequence[str] = ()) -> None:
        self._columns = columns
        self._line_key = line_key
        self._texts: dict[str, list[int]] = {}
        self._parts: dict[str, list[tuple[int, str, bool]]] = {}
        self._json: dict[str, list[int]] = {}
        self._own: list[tuple[int, str]] = []
        self._around: list[tuple[int, str]] = []
        self._whole: list[int] = []
        self._numbers: list[int] = []
        self._keys: list[int] = []
        self._is_date = [column.type == "date" for column in columns]
        self._is_text = [column.type == "text" for column in columns]
        #: Read by other means than a column of their own.
        self._silent = {*line_key, "line"} if line_key else set()
        self._handlers: dict[str, _Handler | None] = {}
        self.undeclared: set[str] = set()
        for place, column in enumerate(columns):
            self._declare(place, column)

    def _declare(self, place: int, column: Column) -> None:
        field = column.vendor_field
        name, at, attribute = field.partition("@")
        name, slash, inner = name.partition("/")
        if field == "*":
            self._whole.append(place)
        elif field == "#":
            self._numbers.append(place)
        elif field == "#key":
            self._keys.append(place)
        elif field.startswith("^"):
            self._around.append((place, field[1:]))
        elif at and not name:
            self._own.append((place, attribute))
        elif at or slash:
            self._parts.setdefault(name, []).append((place, attribute or inner, bool(at)))
        elif column.type == "jsonb":
            self._json.setdefault(name, []).append(place)
        else:
            self._texts.setdefault(name, []).append(place)

    def batch(self, records: Sequence[Node]) -> pa.RecordBatch:
        """One row for each record."""
        cells: list[list[str | None] | None] = [None] * len(self._columns)
        count = len(records)
        for row, record in enumerate(records):
            self._read(record, row, count, cells)
            for place, attribute in self._own:
                self._put(cells, place, row, count, attribute_of(record, attribute))
            for place in self._whole:
                self._put(cells, place, row, count, json_of(record))
        return self._typed(cells, count)

    def line_batch(self, records: Sequence[Node], sublist: str) -> pa.RecordBatch:
        """One row for each line in that list of the records."""
        found = [(record, list(lines_of(record, sublist))) for record in records]
        count = sum(len(lines) for _, lines in found)
        cells: list[list[str | None] | None] = [None] * len(self._columns)
        row = 0
        for record, lines in found:
            if not lines:
                continue
            around = [(place, value_at(record, path)) for place, path in self._around]
            key = attribute_of(record, "internalId") or ""
            taken: dict[str, int] = {}
            for position, line in enumerate(lines, 1):
                self._read(line, row, count, cells)
                for place, value in around:
                    self._put(cells, place, row, count, value)
                number = value_at(line, "line") or str(position)
                for place in self._numbers:
                    self._put(cells, place, row, count, number)
                parts = [value_at(line, name) or str(position) for name in self._line_key]
                unique = ".".join((key, *parts))
                taken[unique] = taken.get(unique, 0) + 1
                if taken[unique] > 1:
                    unique = f"{unique}.{taken[unique]}"
                for place in self._keys:
                    self._put(cells, place, row, count, unique)
                row += 1
        return self._typed(cells, count)

    def _read(
        self, record: Node, row: int, count: int, cells: list[list[str | None] | None]
    ) -> None:
        handlers = self._handlers
        for child in record:
            tag = child.tag
            handler = handlers.get(tag, _UNKNOWN)
            if handler is _UNKNOWN:
                handler = handlers[tag] = self._handler(tag)
            if handler is None:
                continue
            for place in handler.texts:
                text = child.text
                if text is None:
                    text = "" if self._is_text[place] and child.get(_NIL) != "true" else None
                elif self._is_date[place]:
                    text = text[:_DAY]
                column = cells[place]
                if column is None:
                    column = cells[place] = [None] * count
                column[row] = text
            for place, name, is_attribute in handler.parts:
                value = child.get(name) if is_attribute else inner_text(child, name)
                if value is not None:
                    self._put(cells, place, row, count, value)
            for place in handler.json:
                self._put(cells, place, row, count, json_of(child))

    def _handler(self, tag: object) -> _Handler | None:
        name = _local(tag)
        if name in self._texts or name in self._parts or name in self._json:
            return _Handler(
                self._texts.get(name, []), self._parts.get(name, []), self._json.get(name, [])
            )
        if name and not self._whole and name not in self._silent:
            self.undeclared.add(name)
        return None

    @staticmethod
    def _put(
        cells: list[list[str | None] | None], place: int, row: int, count: int, value: str | None
    ) -> None:
        column = cells[place]
        if column is None:
            column = cells[place] = [None] * count
        column[row] = value

    def _typed(self, cells: list[list[str | None] | None], count: int) -> pa.RecordBatch:
        arrays = []
        for column, values in zip(self._columns, cells, strict=True):
            if values is None:
                arrays.append(pa.nulls(count, ARROW_TYPES[column.type]))
            else:
                arrays.append(typed(column.type, pa.array(values, pa.string())))
        return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in self._columns])


class _Handler:
    """Where the values of one element go."""

    __slots__ = ("json", "parts", "texts")

    def __init__(
        self, texts: list[int], parts: list[tuple[int, str, bool]], json: list[int]
    ) -> None:
        self.texts = texts
        self.parts = parts
        self.json = json


_UNKNOWN = _Handler([], [], [])


def _local(tag: object) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute_of(node: Node, name: str) -> str | None:
    """An attribute; ``type`` is the local name of ``xsi:type`` where it has no other."""
    value: str | None = node.get(name)
    if value is None and name == "type":
        value = str(node.get(_TYPE) or "").rpartition(":")[2] or None
    return value


def inner_text(node: Node, name: str) -> str | None:
    """The text of the element of that name inside; None without it."""
    for child in node:
        if _local(child.tag) == name:
            return child.text if child.text is not None else ""
    return None


def value_at(node: Node, path: str) -> str | None:
    """``@attribute`` or the text of an element inside."""
    if path.startswith("@"):
        return attribute_of(node, path[1:])
    return inner_text(node, path)


def lines_of(record: Node, sublist: str) -> Iterator[Node]:
    """The lines in a list of a record."""
    for child in record:
        if _local(child.tag) == sublist:
            yield from child


# -- JSON --


def json_of(node: Node) -> str:
    """An element as JSON text; see :func:`plain_of`."""
    return orjson.dumps(plain_of(node)).decode()


def plain_of(node: Node) -> object:
    """An element as plain values: text as it is written, lists as lists, structures as objects.

    A custom field keeps its type and has its value in it; only there numbers are numbers.
    """
    kind = str(node.get(_TYPE) or "").rpartition(":")[2]
    if kind.endswith("CustomFieldRef"):
        return _custom_field(node, kind)
    if node.get(_NIL) == "true":
        return None
    attributes = {
        name: value
        for name, value in node.attrib.items()
        if not name.startswith("{") and name != "replaceAll"
    }
    if not len(node):
        if not attributes:
            return node.text or ""
        return {**attributes, "value": node.text} if node.text else attributes
    if _local(node.tag).endswith(_LIST) and not attributes:
        return [plain_of(child) for child in node]
    found: dict[str, object] = dict(attributes)
    repeated: set[str] = set()
    for child in node:
        name, value = _local(child.tag), plain_of(child)
        if name in repeated:
            found[name].append(value)  # type: ignore[attr-defined]  # it is the list made below
        elif name in found:
            found[name] = [found[name], value]
            repeated.add(name)
        else:
            found[name] = value
    return found


_NUMBERS = frozenset({"LongCustomFieldRef", "DoubleCustomFieldRef"})


def _custom_field(node: Node, kind: str) -> Mapping[str, object]:
    values = [plain_of(child) for child in node if _local(child.tag) == "value"]
    value: object = values if kind == "MultiSelectCustomFieldRef" else values[0] if values else None
    if isinstance(value, str):
        if kind == "BooleanCustomFieldRef":
            value = value == "true"
        elif kind in _NUMBERS:
            value = _number(value)
    return {
        "internalId": node.get("internalId"),
        "scriptId": node.get("scriptId"),
        "type": kind.removesuffix("CustomFieldRef"),
        "value": value,
    }


def _number(text: str) -> object:
    """A number that JSON keeps exactly, else its text."""
    try:
        exact = Decimal(text)
    except InvalidOperation:
        return text
    if exact.is_finite() and exact == exact.to_integral_value() and abs(exact) < 1 << 53:
        return int(exact)
    near = float(exact)
    return near if Decimal(repr(near)) == exact else text
