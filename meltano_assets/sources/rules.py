"""The user's rules for streams: what is loaded, replaced and spent; the file ``streams.yml``.

Belongs here: reading the file, and what its rules make of a stream and of its batches. Does not
belong here: pseudonyms (``privacy.py``), the ledger of calls (``warehouse/quota.py``).

Without a rule a stream loads the columns that it declares; fields that nobody declared are reported,
not loaded. A declared column that a rule leaves out stays in the table, always empty, so that models
that name it still build. docs/streams.md describes the file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal, cast, get_args

import pyarrow as pa

from meltano_assets import environment
from meltano_assets.clients.policy import Quota
from meltano_assets.errors import FatalError
from meltano_assets.privacy import default_domain
from meltano_assets.sources.base import Source
from meltano_assets.sources.records import ARROW_TYPES
from meltano_assets.streams import (
    COLUMN_TYPES,
    DESCRIBED,
    NEEDED,
    Column,
    ColumnType,
    Stream,
    Sweep,
)
from meltano_assets.yaml_files import parse_mapping, read_mapping

#: Marks of columns, in dbt's ``meta`` and in the tags of the UI.
WITHHELD, PSEUDONYM = "withheld", "pseudonym"

Action = Literal["keep", "drop", "pseudonymize"]
NewFields = Literal["report", "load"]


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What becomes of a column; ``domain`` is the pseudonyms' domain of use."""

    action: Action
    domain: str = ""


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What a user wants of one stream."""

    select: frozenset[str] | None = None
    add: tuple[Column, ...] = ()
    new_fields: NewFields = "report"
    columns: Mapping[str, ColumnRule] = field(default_factory=dict)
    personal: Action = "keep"

    def rule(self, column: Column) -> ColumnRule:
        """The rule of one column: its own, else that of personal data, else keep."""
        found = self.columns.get(column.name) or self.columns.get(column.vendor_field)
        if found is None and column.is_pii and self.personal != "keep":
            found = ColumnRule(self.personal, default_domain(column.name))
        return found or ColumnRule("keep")


@dataclass(frozen=True, slots=True)
class SourceRules:
    """What a user wants of one source."""

    quota: Mapping[str, float | int | str] = field(default_factory=dict)
    streams: Mapping[str, StreamRules] = field(default_factory=dict)
    personal: Action = "keep"

    def of(self, stream: str) -> StreamRules:
        """The stream's rules, the source's where it has none."""
        return self.streams.get(stream) or StreamRules(personal=self.personal)

    def limited(self, quota: Quota | None) -> Quota | None:
        """The source's quota with what the user has set."""
        if not self.quota:
            return quota
        if quota is None and "calls" not in self.quota:
            return None
        base = quota or Quota(0)
        return replace(base, **self.quota, is_set="calls" in self.quota or base.is_set)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Selected:
    """A stream as it is read and as it is loaded, by the user's rules."""

    read: Stream
    load: Stream
    emptied: frozenset[str] = frozenset()
    pseudonymized: Mapping[str, str] = field(default_factory=dict)
    new_fields: NewFields = "report"

    def marks(self, column: Column) -> dict[str, str | bool]:
        """What whoever reads the column must know: personal, withheld, or which pseudonyms it has."""
        found: dict[str, str | bool] = {"pii": True} if column.is_pii else {}
        if column.name in self.emptied:
            found[WITHHELD] = True
        if column.name in self.pseudonymized:
            found[PSEUDONYM] = self.pseudonymized[column.name]
        return found

    def applied(
        self,
        records: pa.RecordBatch,
        replace_values: Callable[[pa.Array, str], pa.Array],
        *,
        only: Iterable[str] | None = None,
    ) -> pa.RecordBatch:
        """A batch by the rules; ``replace_values`` makes the pseudonyms of a domain.

        The batch gets a column for every one that is left empty, or has ``only`` those.
        """
        if not self.emptied and not self.pseudonymized:
            return records
        names = [*records.schema.names, *sorted(self.emptied - set(records.schema.names))]
        names = names if only is None else list(only)
        arrays = []
        types = {column.name: ARROW_TYPES[column.type] for column in self.load.columns}
        for name in names:
            if name in self.emptied:
                arrays.append(pa.nulls(records.num_rows, types[name]))
            elif name in self.pseudonymized:
                arrays.append(replace_values(records.column(name), self.pseudonymized[name]))
            else:
                arrays.append(records.column(name))
        return pa.RecordBatch.from_arrays(arrays, names=names)


def selected(stream: Stream, rules: StreamRules) -> Selected:
    """What the rules make of a stream; FatalError when they leave out a key."""
    keys = {*stream.primary_key, *filter(None, [stream.replication_key])}
    known = {column.vendor_field for column in stream.columns}
    added = tuple(column for column in rules.add if column.vendor_field not in known)
    emptied, pseudonymized, columns = set(), {}, []
    for column in (*stream.columns, *added):
        rule = rules.rule(column)
        is_chosen = (
            rules.select is None
            or bool({column.name, column.vendor_field} & rules.select)
            or column.name in keys
            or column in added
        )
        if rule.action == "drop" or not is_chosen:
            if column.name in keys:
                raise _wrong(stream.key, f"{column.name} is a key and cannot be dropped")
            emptied.add(column.name)
        elif rule.action == "pseudonymize":
            if column.name == stream.replication_key:
                raise _wrong(stream.key, f"{column.name} orders changes and cannot be replaced")
            pseudonymized[column.name] = rule.domain or default_domain(column.name)
            columns.append(replace(column, type="text"))
            continue
        columns.append(column)
    needed = stream.options.get(NEEDED)
    # Only columns that no rule touches can be left out of what the vendor is asked for.
    spared = emptied - set(cast(Iterable[str], needed)) if needed is not None else set()
    read = replace(
        stream, columns=tuple(c for c in (*stream.columns, *added) if c.name not in spared)
    )
    return Selected(
        read,
        replace(stream, columns=tuple(columns)),
        frozenset(emptied),
        pseudonymized,
        rules.new_fields,
    )


#: What stands at the left margin of the file.
_KEYS = "names of sources"
_HINT = "see docs/streams.md"


def load_rules(sources: Iterable[Source], path: Path | None = None) -> dict[str, SourceRules]:
    """The rules of the user's file by source; FatalError names what it cannot mean.

    A source that the file does not name has no rules; no file, none at all.
    """
    document, where = _document(path)
    return _rules(document, sources, where)


def parse_rules(
    text: str, sources: Iterable[Source], *, where: str = "streams.yml"
) -> dict[str, SourceRules]:
    """The rules of such a file's text."""
    return _rules(_mapping(parse_mapping(text, where, _KEYS, _HINT), where), sources, where)


def _document(path: Path | None) -> tuple[dict[str, object], str]:
    """The user's file, parsed, and its name; nothing where there is none."""
    file = path or environment.streams_file()
    return _mapping(read_mapping(file, _KEYS, _HINT), file.name), file.name


def _rules(
    document: Mapping[str, object], sources: Iterable[Source], where: str
) -> dict[str, SourceRules]:
    by_name = {source.name: source for source in sources}
    return {
        name: _source_rules(by_name[_known(name, by_name, where)], body, f"{where}: {name}")
        for name, body in document.items()
    }


def _source_rules(source: Source, body: object, where: str) -> SourceRules:
    settings = _mapping(body, where, {"quota", "personal", "streams", "objects"})
    personal = _one_of(settings.get("personal", "keep"), get_args(Action), f"{where}: personal")
    streams = {stream.name: stream for stream in source.streams}
    return SourceRules(
        quota=_quota(settings.get("quota", {}), f"{where}: quota"),
        personal=cast(Action, personal),
        streams={
            name: _stream_rules(
                streams[_known(name, streams, where)],
                inside,
                cast(Action, personal),
                f"{where}.{name}",
            )
            for name, inside in _mapping(settings.get("streams", {}), where).items()
        },
    )


def with_objects(sources: Iterable[Source], path: Path | None = None) -> tuple[Source, ...]:
    """The sources with the streams that the user's file adds by name under ``objects``, and with the
    sweeps of keys that it asks for.
    """
    document, where = _document(path)
    found = []
    for source in sources:
        body = document.get(source.name)
        entries = body.get("objects") if isinstance(body, dict) else None
        streams = list(source.streams)
        for entry in _list(entries, f"{where}: {source.name}: objects"):
            here = f"{where}: {source.name}: objects"
            if source.by_name is None:
                raise _wrong(here, "this source takes none by name")
            settings = _mapping({"object": entry} if isinstance(entry, str) else entry, here)
            try:
                stream = source.by_name(settings)
            except (FatalError, ValueError) as error:
                raise _wrong(here, str(error)) from None
            if stream.name in {each.name for each in streams}:
                raise _wrong(
                    here, f"there is a stream {stream.name} already; name another `stream`"
                )
            streams.append(stream)
        wishes = body.get("streams") if isinstance(body, dict) else None
        for name, wish in wishes.items() if isinstance(wishes, dict) else ():
            if isinstance(wish, dict) and "sweep" in wish:
                here = f"{where}: {source.name}.{name}"
                place = [each.name for each in streams].index(
                    _known(str(name), [each.name for each in streams], here)
                )
                chosen = parse_sweep(wish["sweep"], here)
                streams[place] = replace(streams[place], sweep=chosen)
        found.append(replace(source, streams=tuple(streams)))
    return tuple(found)


def parse_sweep(body: object, where: str) -> Sweep | None:
    """What a user wants of a sweep of keys: ``off``, or any of its numbers; FatalError for others."""
    if body in (False, "off"):
        return None
    where = f"{where}: sweep"
    settings = {} if body in (True, "on") else _mapping(body, where, _SWEEP)
    chosen: dict[str, timedelta | int | float] = {}
    for name, value in settings.items():
        if name == "every":
            span = re.fullmatch(r"(\d{1,4})([hdw])", str(value))
            if span is None or span[1].strip("0") == "":
                raise _wrong(where, "every is a span such as 12h, 7d or 2w")
            chosen[name] = int(span[1]) * _SPANS[span[2]]
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise _wrong(where, f"{name} is not a number above 0")
        elif name == "calls":
            chosen[name] = int(value)
        elif value > 1:
            raise _wrong(where, f"{name} is a share between 0 and 1")
        else:
            chosen[name] = float(value)
    return Sweep(**chosen)  # type: ignore[arg-type]  # each name has its type by now


_SWEEP = ("every", "calls", "quota_share", "max_vanished")
_SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def _stream_rules(stream: Stream, body: object, personal: Action, where: str) -> StreamRules:
    words = {"select", "add", "new_fields", "columns", "personal", "sweep"}
    settings = _mapping(body, where, words)
    add = tuple(_column(item, f"{where}: add") for item in _list(settings.get("add"), where))
    columns = (*stream.columns, *add)
    names = {name for column in columns for name in (column.name, column.vendor_field)}
    is_told = DESCRIBED in stream.options  # only the vendor knows the columns
    select = settings.get("select")
    chosen = None if select is None else [str(name) for name in _list(select, where)]
    for name in () if is_told else chosen or ():
        _known(name, names, f"{where}: select", "; a field of the vendor is named under `add`")
    rules = {
        _known(name, [*names, name] if is_told else names, f"{where}: columns"): _column_rule(
            name, rule, f"{where}.{name}"
        )
        for name, rule in _mapping(settings.get("columns", {}), where).items()
    }
    result = StreamRules(
        select=None if chosen is None else frozenset(chosen),
        add=add,
        new_fields=cast(
            NewFields,
            _one_of(settings.get("new_fields", "report"), get_args(NewFields), where),
        ),
        columns=rules,
        personal=cast(Action, _one_of(settings.get("personal", personal), get_args(Action), where)),
    )
    selected(stream, result)
    return result


def _column_rule(name: str, body: object, where: str) -> ColumnRule:
    if isinstance(body, str):
        body = {"rule": body}
    settings = _mapping(body, where, {"rule", "domain"})
    action = _one_of(settings.get("rule", "pseudonymize"), get_args(Action), where)
    domain = str(settings.get("domain", "")) or default_domain(name)
    return ColumnRule(cast(Action, action), domain)


def _column(body: object, where: str) -> Column:
    from meltano_assets.sources.naming import column_name

    if isinstance(body, str):
        body = {"field": body}
    settings = _mapping(body, where, {"field", "name", "type", "description", "pii"})
    vendor_field = str(settings.get("field") or "")
    if not vendor_field:
        raise _wrong(where, "an added column names its `field`")
    kind = _one_of(settings.get("type", "text"), COLUMN_TYPES, f"{where}: {vendor_field}")
    return Column(
        str(settings.get("name") or column_name(vendor_field)),
        cast(ColumnType, kind),
        str(settings.get("description") or ""),
        field=vendor_field,
        is_pii=bool(settings.get("pii", False)),
    )


def _quota(body: object, where: str) -> dict[str, float | int | str]:
    settings = _mapping(body, where, {"calls", "share", "elsewhere_share", "zone"})
    found: dict[str, float | int | str] = {}
    for name, value in settings.items():
        if name == "zone":
            found[name] = str(value)
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise _wrong(where, f"{name} is not a number")
        elif name == "calls":
            found[name] = int(value)
        elif value > 1:
            raise _wrong(where, f"{name} is a share between 0 and 1")
        else:
            found[name] = float(value)
    return found


# -- words of the file --


def _mapping(body: object, where: str, allowed: Iterable[str] | None = None) -> dict[str, object]:
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise _wrong(where, "should hold names with values")
    if allowed is not None:
        for name in body:
            _known(str(name), allowed, where)
    return {str(name): value for name, value in body.items()}


def _list(body: object, where: str) -> list[object]:
    if body is None:
        return []
    if not isinstance(body, list):
        raise _wrong(where, "should be a list")
    return body


def _one_of(value: object, allowed: Iterable[str], where: str) -> str:
    return _known(str(value), allowed, where)


def _known(name: str, allowed: Iterable[str], where: str, more: str = "") -> str:
    names = list(allowed)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6) or sorted(names)[:12]
    raise _wrong(where, f"there is no {name!r}, but {', '.join(near)}{more}")


def _wrong(where: str, what: str) -> FatalError:
    return FatalError(f"{where}: {what}", hint=_HINT)
