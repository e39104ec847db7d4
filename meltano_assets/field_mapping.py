"""Which field of a user's Salesforce holds what the common data model speaks of.

Belongs here: the concepts of the data model, the file ``dbt_project/field_mapping.yml`` that maps
them, its check against an organisation's ``describe`` and proposals for what is not mapped. dbt
reads the mapping through the macro ``mapped``; no model names a custom field. Does not belong
here: reading records (``sources/``), what is written to Salesforce (``salesforce_sync.yml``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from meltano_assets.concepts import CONCEPTS, Concept, Kind
from meltano_assets.errors import FatalError
from meltano_assets.sources.naming import column_name
from meltano_assets.streams import Column, Stream
from meltano_assets.yaml_files import read_mapping

FILE = "field_mapping.yml"
#: The environment variable through which dbt's macros see the mapping.
VARIABLE = "DBT_FIELD_MAPPING"
#: A proposal below this score is shown and not taken.
LEAST_SCORE = 0.62
#: Of the score of a field that people say is not to be used any more: too low to be taken.
_RETIRED = 0.6
_RETIRED_WORDS = re.compile(
    r"\b(deprecated|obsolete|legacy|unused|retired|old|archived?|do not use|don t use|not used)\b"
)
#: Records whose values are looked at.
SAMPLE = 200
#: Salesforce's own bookkeeping is nobody's concept.
_SYSTEM = frozenset(
    [
        *("id", "isdeleted", "ownerid", "createddate", "createdbyid", "lastmodifieddate"),
        *("lastmodifiedbyid", "systemmodstamp", "lastactivitydate", "lastvieweddate"),
        *("lastreferenceddate", "masterrecordid", "recordtypeid", "isclosed", "iswon"),
    ]
)

#: Stream → concept → field; None where the organisation has none.
Mapped = Mapping[str, Mapping[str, str | None]]

_TYPES: Mapping[Kind, Mapping[str, float]] = {
    "text": {
        **dict.fromkeys(("picklist", "string", "reference", "id", "url", "textarea"), 1.0),
        **dict.fromkeys(("multipicklist", "combobox", "email", "phone", "encryptedstring"), 0.6),
    },
    "boolean": {"boolean": 1.0},
    "numeric": {"currency": 1.0, "double": 1.0, "int": 0.9, "percent": 0.4},
    "date": {"date": 1.0, "datetime": 0.7},
}


class Organisation(Protocol):
    """What is asked of a Salesforce client."""

    def describe(self, object_name: str) -> dict[str, object]:
        """The object's fields."""
        ...

    def query(self, soql: str) -> Iterator[list[dict[str, object]]]:
        """The records of a query, page by page."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said of one concept's mapping."""

    concept: Concept
    field: str | None
    state: Literal["ok", "none", "unmapped", "gone", "wrong type"]
    note: str = ""

    @property
    def is_broken(self) -> bool:
        """True where models would fail or read the wrong kind of value."""
        return self.state in ("gone", "wrong type")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A field proposed for a concept, with its score between 0 and 1 and the grounds for it."""

    concept: Concept
    field: str
    label: str
    type: str
    score: float
    grounds: str
    runner_up: str = ""

    @property
    def is_taken(self) -> bool:
        """True where the score is good enough to be written."""
        return self.score >= LEAST_SCORE


def read(path: Path) -> dict[str, dict[str, str | None]]:
    """The mapping of a file; FatalError names what is wrong in it."""
    if not path.is_file():
        raise FatalError(f"there is no {path}")
    told = read_mapping(path, "names of Salesforce streams")
    known: dict[str, set[str]] = {}
    for concept in CONCEPTS:
        known.setdefault(concept.stream, set()).add(concept.name)
    mapped: dict[str, dict[str, str | None]] = {stream: {} for stream in known}
    for stream, fields in _items(told, path, "the file"):
        if stream not in known:
            raise _unknown(path, stream, known)
        for name, field in _items(fields, path, stream):
            if name not in known[stream]:
                raise _unknown(path, f"{stream}.{name}", known[stream])
            if field is not None and not re.fullmatch(r"[A-Za-z]\w*", str(field)):
                raise FatalError(
                    f"{path}: {stream}.{name} is {field!r}",
                    hint="write the API name of one field, or null where there is none",
                )
            mapped[stream][name] = None if field is None else str(field)
    return mapped


def _items(value: object, path: Path, where: str) -> Iterable[tuple[str, Any]]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise FatalError(f"{path}: {where} does not hold a list of name: field")
    return [(str(name), held) for name, held in value.items()]


def _unknown(path: Path, name: str, choices: Iterable[str]) -> FatalError:
    listed = ", ".join(sorted(choices))
    return FatalError(f"{path}: {name} is unknown to the data model", hint=f"there are: {listed}")


def columns_for_dbt(mapped: Mapped) -> str:
    """The mapping as dbt's macros read it: stream → concept → raw column, as JSON."""
    columns = {
        stream: {name: column_name(field) for name, field in fields.items() if field}
        for stream, fields in mapped.items()
    }
    return json.dumps(columns, sort_keys=True)


def mapped_columns(mapped: Mapped, stream: Stream) -> tuple[Column, ...]:
    """The mapped fields of a stream that it does not read already."""
    kinds = {(concept.stream, concept.name): concept.kind for concept in CONCEPTS}
    known = {column.vendor_field.lower() for column in stream.columns}
    added = {
        field.lower(): Column(column_name(field), kinds[stream.name, name], field=field)
        for name, field in mapped.get(stream.name, {}).items()
        if field and field.lower() not in known
    }
    return tuple(added.values())


def edited(text: str, mapped: Mapped) -> str:
    """The file's text with the mapping in it; comments, order and all else stay as people wrote it."""
    root = yaml.compose(text)
    edits: list[tuple[int, int, str]] = []
    held = _entries(root)
    missing: dict[str, dict[str, str | None]] = {}
    for stream, fields in mapped.items():
        entries = _entries(held.get(stream))
        for name, field in fields.items():
            node = entries.get(name)
            told = None if node is None or node.tag.endswith(":null") else node.value
            if node is not None and told != field:
                edits.append(_replacement(node, _scalar(field)))
        added = {name: field for name, field in fields.items() if name not in entries}
        if added and stream in held:
            edits.append(_addition(text, held[stream], stream, added))
        elif added:
            missing[stream] = added
    for start, end, words in sorted(edits, reverse=True):
        text = text[:start] + words + text[end:]
    for stream, added in missing.items():
        text = text.rstrip("\n") + f"\n\n{stream}:" + _lines(stream, added, 2) + "\n"
    return text.lstrip("\n")


def _entries(node: Any) -> dict[str, Any]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return {key.value: value for key, value in pairs}


def _scalar(field: str | None) -> str:
    return "null" if field is None else field


def _replacement(node: Any, words: str) -> tuple[int, int, str]:
    start, end = node.start_mark.index, node.end_mark.index
    # What is empty begins and ends right behind its colon.
    return start, end, f" {words}" if start == end else words


def _addition(
    text: str, node: Any, stream: str, added: Mapping[str, str | None]
) -> tuple[int, int, str]:
    if isinstance(node, yaml.MappingNode) and node.value:
        last_key, last = node.value[-1]
        end = last.end_mark.index
        if node.flow_style:
            return end, end, "".join(f", {name}: {_scalar(f)}" for name, f in added.items())
        # Behind the comment that may follow the value on its line.
        end = len(text) if (line_end := text.find("\n", end)) < 0 else line_end
        return end, end, _lines(stream, added, last_key.start_mark.column)
    return node.start_mark.index, node.end_mark.index, _lines(stream, added, 2)


def _lines(stream: str, fields: Mapping[str, str | None], indent: int) -> str:
    meant = {c.name: c.description for c in CONCEPTS if c.stream == stream}
    margin = "\n" + " " * indent
    return "".join(
        f"{margin}# {meant[name]}{margin}{name}: {_scalar(field)}" for name, field in fields.items()
    )


def write(path: Path, mapped: Mapped) -> None:
    """Put the mapping into the file; where its YAML cannot be edited in place it stays as it is."""
    staged = path.with_suffix(".tmp")
    try:
        staged.write_text(edited(path.read_text(), mapped))
        is_right = read(staged) == {stream: dict(mapped.get(stream, {})) for stream in read(path)}
    except FatalError:
        is_right = False
    if not is_right:
        staged.unlink(missing_ok=True)
        lines = "".join(
            f"\n{stream}:{_lines(stream, fields, 2)}" for stream, fields in mapped.items() if fields
        )
        raise FatalError(
            f"{path} is written in a way that cannot be edited without losing a part of it",
            hint=f"write this into it yourself:{lines}",
        )
    staged.replace(path)


def check(mapped: Mapped, organisation: Organisation) -> list[Finding]:
    """Each concept's mapping held against the fields that the organisation has."""
    described = _Described(organisation)
    return [_checked(concept, mapped, described) for concept in CONCEPTS]


def _checked(concept: Concept, mapped: Mapped, described: _Described) -> Finding:
    fields = mapped.get(concept.stream, {})
    if concept.name not in fields:
        return Finding(concept, None, "unmapped")
    field = fields[concept.name]
    if field is None:
        return Finding(concept, None, "none")
    found = described.fields(concept.object).get(field.lower())
    if found is None:
        return Finding(concept, field, "gone", f"{concept.object} has no such field")
    kind = str(found.get("type"))
    if kind not in _TYPES[concept.kind]:
        return Finding(concept, field, "wrong type", f"is {kind}, needs {concept.kind}")
    note = str(found.get("label") or "")
    if found.get("calculated"):
        # Salesforce stamps no change of what a formula comes to.
        note += f" (a formula: read anew by meltano-assets extract salesforce.{concept.stream} --full-refresh)"
    return Finding(concept, field, "ok", note.strip())


def suggest(
    mapped: Mapped, organisation: Organisation, *, is_all: bool = False
) -> list[Suggestion]:
    """Fields for the concepts that are unmapped or gone (or for all), the surest first.

    Each field is proposed once: where two concepts want it, the surer one gets it.
    """
    described = _Described(organisation)
    findings = [_checked(concept, mapped, described) for concept in CONCEPTS]
    kept = {
        (f.concept.object, (f.field or "").lower())
        for f in findings
        if f.state == "ok" and not is_all
    }
    wanted = [f.concept for f in findings if is_all or f.state == "unmapped" or f.is_broken]
    scored = [
        suggestion
        for concept in wanted
        for suggestion in _scored(concept, described, kept)
        if suggestion.score >= 0.4
    ]
    scored.sort(key=lambda s: (-s.score, s.concept.stream, s.concept.name, s.field))
    given: dict[tuple[str, str], Suggestion] = {}
    used: set[tuple[str, str]] = set()
    for suggestion in scored:
        concept, place = suggestion.concept, (suggestion.concept.object, suggestion.field)
        key = (concept.stream, concept.name)
        if key in given:
            if not given[key].runner_up and place not in used:
                named = f"{suggestion.field} {suggestion.score:.2f}"
                given[key] = replace(given[key], runner_up=named)
        elif place not in used:
            given[key] = suggestion
            used.add(place)
    return sorted(given.values(), key=lambda s: -s.score)


def accepted(mapped: Mapped, suggestions: Iterable[Suggestion]) -> dict[str, dict[str, str | None]]:
    """The mapping with the good suggestions in it."""
    result = {stream: dict(fields) for stream, fields in mapped.items()}
    for suggestion in suggestions:
        if suggestion.is_taken:
            result.setdefault(suggestion.concept.stream, {})[suggestion.concept.name] = (
                suggestion.field
            )
    return result


class _Described:
    """The organisation's fields and a sample of their values, asked for once."""

    def __init__(self, organisation: Organisation) -> None:
        self._organisation = organisation
        self._fields: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._samples: dict[str, list[dict[str, object]]] = {}

    def fields(self, object_name: str) -> dict[str, Mapping[str, Any]]:
        """Fields by lower-case API name; none where there is no such object."""
        if object_name not in self._fields:
            try:
                told = self._organisation.describe(object_name).get("fields")
            except FatalError as error:
                if "NOT_FOUND" not in error.message:
                    raise
                told = []
            listed = told if isinstance(told, list) else []
            self._fields[object_name] = {str(f.get("name")).lower(): f for f in listed}
        return self._fields[object_name]

    def values(self, object_name: str, field: str) -> list[object]:
        """The field's values in the latest records."""
        if object_name not in self._samples:
            kinds = {kind for kinds in _TYPES.values() for kind in kinds}
            # A request line holds about 16,000 characters; a compound or long field is not asked.
            names: list[str] = []
            for described in self.fields(object_name).values():
                is_asked = described.get("type") in kinds - {"textarea", "encryptedstring"}
                if is_asked and sum(map(len, names)) < 8000:
                    names.append(str(described["name"]))
            soql = f"SELECT {', '.join(names)} FROM {object_name} ORDER BY CreatedDate DESC"
            pages = self._organisation.query(f"{soql} LIMIT {SAMPLE}") if names else iter(())
            self._samples[object_name] = [record for page in pages for record in page]
        return [record.get(field) for record in self._samples[object_name]]


def _scored(
    concept: Concept, described: _Described, kept: set[tuple[str, str]]
) -> Iterator[Suggestion]:
    for key, field in described.fields(concept.object).items():
        type_score = _TYPES[concept.kind].get(str(field.get("type")))
        if type_score is None or key in _SYSTEM or (concept.object, key) in kept:
            continue
        name, label = str(field["name"]), str(field.get("label") or "")
        name_score = _alike(concept, [name, label])
        if name_score < 0.35:
            continue
        grounds = [f"name {name_score:.2f}", f"type {type_score:.1f}"]
        weights = [(0.65, name_score), (0.10, type_score)]
        value_score = _profile(concept, field, described.values(concept.object, name))
        if value_score is not None:
            weights.append((0.25 if concept.values else 0.1, value_score))
            grounds.append(f"values {value_score:.2f}")
        score = sum(w * s for w, s in weights) / sum(w for w, _ in weights)
        if _RETIRED_WORDS.search(f"{words(name)} {words(label)}"):
            score *= _RETIRED
            grounds.append("not to be used any more")
        yield Suggestion(
            concept, name, label, str(field["type"]), round(score, 3), ", ".join(grounds)
        )


def _alike(concept: Concept, names: Sequence[str]) -> float:
    """How much the field's name or label is one of the concept's, 0 to 1."""
    from rapidfuzz import fuzz

    best = 0.0
    for alias in (concept.name, *concept.aliases):
        wanted = words(alias)
        for name in names:
            found = words(name)
            if found:
                exact = fuzz.token_sort_ratio(wanted, found)
                loose = fuzz.token_set_ratio(wanted, found)
                best = max(best, 0.75 * exact + 0.25 * loose)
    return best / 100


def words(name: str) -> str:
    """A field's name or label as lower-case words, without namespace and suffix (``__pc``: of person accounts)."""
    text = re.sub(r"__p?[cr]$", "", name)
    text = text.rsplit("__", 1)[-1]
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _profile(concept: Concept, field: Mapping[str, Any], values: Sequence[object]) -> float | None:
    """How much the field's values look like the concept's; None where nothing can be told."""
    from rapidfuzz import fuzz, process

    present = [value for value in values if value is not None and value != ""]
    if concept.values:
        listed = [
            str(entry.get("value")) for entry in field.get("picklistValues") or [] if entry
        ] or sorted({str(value) for value in present})
        if not listed:
            return None
        choices = [value.lower() for value in concept.values]
        near = [
            value
            for value in listed
            if process.extractOne(value.lower(), choices, scorer=fuzz.ratio, score_cutoff=80)
        ]
        return len(near) / len(listed)
    if not values:
        return None
    # A field that nobody fills is seldom the one that people report by.
    return min(1.0, 2 * len(present) / len(values))
