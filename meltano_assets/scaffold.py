"""The dbt side of a source, written from the declarations of its streams.

Belongs here: the source YAML of a vendor, which always follows the declarations, and a first
staging model for each stream that has none, which is a person's from then on. What people wrote
into the YAML (descriptions, tests, freshness) is kept. Nothing is read but files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from meltano_assets.sources.base import Source
from meltano_assets.sources.naming import column_name
from meltano_assets.sources.rules import Selected, SourceRules, selected
from meltano_assets.streams import Column, Stream

#: What the loader adds to every raw table.
LOADER_COLUMNS = (
    Column("_loaded_at", "timestamptz", "When the row was last written."),
    Column("_load_id", "text", "The load that wrote it."),
    Column("_deleted_at", "timestamptz", "When the record was first seen deleted."),
)

#: Names that say nothing outside their table; a staging model puts the entity before them.
_BARE = "name type status description number code title state category key value label"
_KEYS = ("id", "internal_id", "unique_id", "guid", "marketo_guid")
_DELETED = ("is_deleted", "deleted")
_CLAIMS = ("is_", "has_", "allow_", "can_", "was_", "should_", "uses_", "include", "auto_", "mark_")
#: Words that Postgres takes for something else when they stand bare in a select list.
_RESERVED = (
    "all analyse analyze and any array as asc asymmetric both case cast check collate column "
    "constraint create current_date current_role current_time current_timestamp current_user "
    "default deferrable desc distinct do else end except false fetch for foreign from grant group "
    "having in initially intersect into lateral leading limit localtime localtimestamp not null "
    "offset on only or order placing primary references returning select session_user some "
    "symmetric system_user table then to trailing true union unique user using variadic when "
    "where window with authorization binary collation concurrently cross full ilike inner is "
    "isnull join left like natural notnull outer overlaps right similar verbose"
)


def write(source: Source, project: Path, rules: SourceRules | None = None) -> list[Path]:
    """Bring the dbt side of the source up to its declarations, as the user's rules leave them; returns
    the files that changed.
    """
    rules = rules or SourceRules()
    folder = project / "models" / "staging" / source.name
    folder.mkdir(parents=True, exist_ok=True)
    sources = folder / f"_{source.name}__sources.yml"
    changed = _write(sources, sources_yaml(source, _loaded(sources), rules))
    models = folder / f"_{source.name}__models.yml"
    described = {model["name"] for model in _loaded(models).get("models", [])}
    entries = []
    for stream in source.streams:
        name = model_name(stream)
        changed += _write(
            folder / f"{name}.sql", staging_sql(_chosen(stream, rules).load), only_if_missing=True
        )
        if name not in described:
            entries.append(model_yaml(stream, source.title, rules))
    if entries:
        before = models.read_text() if models.is_file() else "version: 2\n\nmodels:\n"
        changed += _write(models, before.rstrip("\n") + "\n" + "".join(entries))
    return changed


def _write(path: Path, text: str, *, only_if_missing: bool = False) -> list[Path]:
    if path.is_file() and (only_if_missing or path.read_text() == text):
        return []
    path.write_text(text)
    return [path]


def _loaded(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) or {}) if path.is_file() else {}


def model_name(stream: Stream) -> str:
    """The staging model of a stream."""
    return f"stg_{stream.source}__{stream.name}"


def _chosen(stream: Stream, rules: SourceRules) -> Selected:
    return selected(stream, rules.of(stream.name))


def sources_yaml(
    source: Source,
    before: Mapping[str, Any] | None = None,
    rules: SourceRules | None = None,
) -> str:
    """The source YAML of a vendor: its tables, columns and types, and in ``meta`` what is personal,
    withheld or replaced by pseudonyms.
    """
    rules = rules or SourceRules()
    known: dict[str, Any] = next(iter((before or {}).get("sources", [])), {})
    tables = {table["name"]: table for table in known.get("tables", [])}
    lines = [
        "version: 2",
        "",
        "sources:",
        f"  - name: {source.name}",
        f"    description: {_text(known.get('description') or source.description)}",
        f"    schema: {source.name}",
        "    config:",
        "      # Unchanged rows are not written again, so only busy tables can be late.",
        *_kept_lines({"loaded_at_field": "_loaded_at"} | dict(known.get("config", {})), 6),
        "    tables:",
    ]
    for stream in source.streams:
        chosen = _chosen(stream, rules)
        lines += _table_lines(chosen, tables.get(stream.name, {}), source.title)
    return "\n".join(lines) + "\n"


def _table_lines(chosen: Selected, before: Mapping[str, Any], title: str) -> Iterable[str]:
    stream = chosen.load
    entity = singular(stream.name)
    described = {column["name"]: column for column in before.get("columns", [])}
    text = before.get("description") or stream.description or f"{_words(stream.name)} of {title}."
    yield f"      - name: {stream.name}"
    yield f"        description: {_text(text)}"
    kept = {key: before[key] for key in ("config", "data_tests") if key in before}
    yield from _kept_lines(kept, 8)
    yield "        columns:"
    for column in (*stream.columns, *LOADER_COLUMNS):
        known = described.get(column.name, {})
        yield f"          - name: {_text(column.name)}"
        yield f"            data_type: {column.type}"
        told = column.description or known.get("description") or _described(column, entity, title)
        yield f"            description: {_text(told)}"
        marks = chosen.marks(column)
        if known.get("config", {}).get("meta", {}).get("pii"):
            marks = {"pii": True, **marks}
        yield from _meta_lines(marks, 12)
        yield from _kept_lines({k: v for k, v in known.items() if k == "data_tests"}, 12)


def _meta_lines(marks: Mapping[str, Any], indent: int) -> Iterable[str]:
    if marks:
        meta = yaml.safe_dump(dict(marks), default_flow_style=True, sort_keys=False, width=1000)
        yield f"{' ' * indent}config: {{meta: {meta.strip()}}}"


def _kept_lines(values: Mapping[str, Any], indent: int) -> Iterable[str]:
    if values:
        dumped = yaml.safe_dump(dict(values), sort_keys=False, width=100)
        yield from (" " * indent + line for line in dumped.rstrip("\n").splitlines())


def _text(value: str) -> str:
    """A scalar of YAML on one line, in double quotes where it needs any."""
    line = " ".join(str(value).split())
    dumped: str = yaml.safe_dump(line, width=float("inf"), allow_unicode=True)
    plain = dumped.removesuffix("\n...\n").removesuffix("\n")
    return plain if plain == line else json.dumps(line, ensure_ascii=False)


def staging_sql(stream: Stream) -> str:
    """A first staging model: ids, texts, claims, measures, dates and times, each renamed."""
    body = ",\n        ".join(
        expression if expression == name else f"{expression} as {name}"
        for name, expression in _selected(stream)
    )
    return (
        "with\n\nsource as (\n"
        f"    select * from {{{{ raw_table('{stream.source}', '{stream.name}') }}}}\n"
        "),\n\nfinal as (\n    select\n"
        f"        {body}\n    from source\n)\n\nselect * from final\n"
    )


def _selected(stream: Stream) -> list[tuple[str, str]]:
    """Name and expression of each column of the staging model, in the order of the guide."""
    flag = next((c for c in stream.columns if c.name in _DELETED and c.type == "boolean"), None)
    placed = sorted(
        (column for column in stream.columns if column is not flag),
        key=lambda column: _place(stream, column),
    )
    names = _names(stream, placed)
    columns = [(names[column.name], _expression(column)) for column in placed]
    deleted = f"'{flag.name}'" if flag else ""
    columns.append(("is_deleted", f"{{{{ is_deleted({deleted}) }}}}"))
    return [*columns, ("loaded_at", "_loaded_at")]


def _names(stream: Stream, columns: Iterable[Column]) -> dict[str, str]:
    """Raw name → name in the model; two that would meet keep the vendor's."""
    wished = {column.name: _renamed(stream, column) for column in columns}
    taken = [*wished.values(), "is_deleted", "loaded_at"]
    return {raw: raw if taken.count(name) > 1 else name for raw, name in wished.items()}


def _renamed(stream: Stream, column: Column) -> str:
    entity = singular(stream.name)
    name = _bare(column)
    if stream.primary_key == (name,) and name in _KEYS:
        return f"{entity}_id"
    if name in _BARE.split() or name in _RESERVED.split():
        return f"{entity}_{name}"
    if column.type in ("timestamptz", "timestamp") and name.endswith(("_date", "_on", "_time")):
        return name.rsplit("_", 1)[0] + "_at"
    if column.type == "boolean" and not name.startswith(_CLAIMS):
        return f"is_{name}"
    return name


def _bare(column: Column) -> str:
    """The name without what marks a field as custom or as a package's: the vendor's business."""
    field = re.fullmatch(r"[A-Za-z]\w*?__(\w+?)__c", column.field or "")
    if field is not None:
        return column_name(field[1])
    return re.sub(r"(__(c|r|qt))+$", "", column.name)


def _expression(column: Column) -> str:
    name = f'"{column.name}"' if _needs_quotes(column.name) else column.name
    return f"{{{{ clean_text({name!r}) }}}}" if column.type == "text" else name


def _needs_quotes(name: str) -> bool:
    return name in _RESERVED.split() or not re.fullmatch(r"[a-z_][a-z0-9_]*", name)


def _place(stream: Stream, column: Column) -> tuple[int, int]:
    """Keys, ids, texts, claims, nested values, measures, dates, times."""
    if column.name in stream.primary_key:
        return (0, stream.primary_key.index(column.name))
    if column.name.endswith("_id"):
        return (1, 0)
    order = ["text", "uuid", "inet", "boolean", "jsonb", "bytea", "integer", "bigint", "numeric"]
    order += ["double precision", "date", "timestamp", "timestamptz"]
    return (2 + order.index(column.type), 0)


def model_yaml(stream: Stream, title: str, rules: SourceRules | None = None) -> str:
    """The properties of a first staging model, every column described."""
    chosen = _chosen(stream, rules or SourceRules())
    stream = chosen.load
    lines = [
        f"  - name: {model_name(stream)}",
        f"    description: {_text(_grain(stream, title))}",
        "    columns:",
    ]
    flag = next((c for c in stream.columns if c.name in _DELETED and c.type == "boolean"), None)
    columns = [column for column in stream.columns if column is not flag]
    columns.sort(key=lambda column: _place(stream, column))
    names = _names(stream, columns)
    for column in columns:
        lines.append(f"      - name: {_text(names[column.name])}")
        told = column.description or _described(column, singular(stream.name), title)
        lines.append(f"        description: {_text(told)}")
        lines += _meta_lines(chosen.marks(column), 8)
    lines += [
        "      - name: is_deleted",
        "        description: Whether the vendor has deleted the record.",
        "      - name: loaded_at",
        "        description: When the raw row was last written.",
    ]
    return "\n".join(lines) + "\n"


def _grain(stream: Stream, title: str) -> str:
    what = singular(stream.name).replace("_", " ")
    return f"One row per {what} of {title}, deleted ones included."


def _described(column: Column, entity: str, title: str) -> str:
    """Words for a column that its declaration leaves without any."""
    known = {
        "created_date": "When the record was created.",
        "created_at": "When the record was created.",
        "updated_date": "When the record was last changed.",
        "updated_at": "When the record was last changed.",
        "last_modified_date": "When the record was last changed.",
        "created_by_id": "Who created the record.",
        "updated_by_id": "Who last changed the record.",
    }
    if column.name in known:
        return known[column.name]
    name = _bare(column)
    thing = entity.replace("_", " ")
    if name in _KEYS:
        return f"Id of the {thing} in {title}."
    what = name.removesuffix("_id").strip("_").replace("_", " ")
    if name.endswith("_id"):
        return f"The {what} of the {thing}: its id in {title}."
    vendor = f" ({column.field} in {title})" if column.field and column.field != name else ""
    return f"{what.capitalize()} of the {thing}{vendor}."


def _words(name: str) -> str:
    return name.strip("_").replace("_", " ").capitalize()


def singular(name: str) -> str:
    """One of a collection: ``tickets`` → ``ticket``, ``currencies`` → ``currency``."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    if name.endswith(("sses", "shes", "ches", "xes", "uses")):
        return name[:-2]
    if name.endswith("s") and not name.endswith(("ss", "us")):
        return name[:-1]
    return name
