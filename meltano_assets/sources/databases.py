"""Postgres databases that a user names in ``databases.yml``; docs/databases.md has every word.

An entry names its tables, or leaves them out and takes those that ``meltano-assets discover`` wrote to
``catalogs/<source>.yml``. Columns and primary keys come from the database itself when a table is read.
Nothing is guessed at run time: a table is incremental when its entry names a replication key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from meltano_assets.clients.database import Database, TableFacts
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.sources.base import Source, where_to_set
from meltano_assets.sources.entries import Entry, catalog_file, read_entries
from meltano_assets.sources.postgres import connector
from meltano_assets.sources.rules import parse_sweep
from meltano_assets.streams import Stream
from meltano_assets.yaml_files import read_mapping

FILE = "databases.yml"
_WORDS = (
    "title",
    "description",
    "url",
    "schema",
    "cron",
    "lookback_minutes",
    "parallel",
    "page_rows",
    "sweep",
    "tables",
)
_TABLE_WORDS = (
    "name",
    "table",
    "schema",
    "description",
    "primary_key",
    "replication_key",
    "disposition",
    "select",
    "exclude",
    "parallel",
    "page_rows",
    "sweep",
)
_LOOKBACK_MINUTES = 10
#: Names that a column which orders changes usually has, likeliest first.
_CHANGE_COLUMNS = (
    "updated_at",
    "modified_at",
    "last_modified_at",
    "last_modified",
    "lastmodifieddate",
    "updated",
    "modified",
    "updated_on",
    "modified_on",
    "changed_at",
    "last_updated",
    "systemmodstamp",
)


def configured() -> Iterator[Source]:
    """The sources of the file; FatalError names what is wrong in it."""
    for name, entry in read_entries(FILE):
        entry.check(_WORDS)
        variables = (
            Variable(
                entry.text("url", f"{name.upper()}_DB_URL"),
                "url",
                "postgresql:// address of the database",
                is_secret=True,
            ),
        )
        yield Source(
            name=name,
            title=entry.text("title", f"{name} database"),
            description=entry.text("description", "A Postgres database."),
            variables=variables,
            streams=tuple(_streams(name, entry)),
            connect=connector(name, variables),
            kinds=("postgres",),
            cron=entry.cron("15 * * * *"),
        )


def _streams(source: str, entry: Entry) -> Iterator[Stream]:
    tables, place = entry.words.get("tables"), entry.place
    if tables is None:
        path = catalog_file(source, "yml")
        tables, place = (
            read_mapping(path, "words such as tables").get("tables", []),
            f"{path.parent.name}/{path.name}",
        )
    if not isinstance(tables, list):
        raise FatalError(f"{place}: tables is not a list")
    seen: set[str] = set()
    for table in tables:
        words = {"name": table} if isinstance(table, str) else table
        if not isinstance(words, dict) or not isinstance(words.get("name"), str):
            raise FatalError(f"{place}: a table without a name")
        stream = _stream(source, entry, Entry(f"{place}, {words['name']}", words))
        if stream.name in seen:
            raise FatalError(f"{place}: {stream.name} is named twice")
        seen.add(stream.name)
        yield stream


def _stream(source: str, entry: Entry, table: Entry) -> Stream:
    table.check(_TABLE_WORDS)
    options: dict[str, object] = {
        "schema": table.text("schema", entry.text("schema", "public")),
        "table": table.text("table", table.text("name")),
        "select": table.texts("select"),
        "exclude": table.texts("exclude"),
        "parallel": table.number("parallel", entry.number("parallel", 1, most=16), most=16),
        "page_rows": table.number(
            "page_rows", entry.number("page_rows", 200_000, most=10**7), most=10**7
        ),
    }
    if (disposition := table.disposition()) is not None:
        options["disposition"] = disposition
    minutes = entry.number("lookback_minutes", _LOOKBACK_MINUTES, most=60 * 24 * 31)
    return Stream(
        source=source,
        name=table.text("name"),
        columns=(),
        description=table.text("description"),
        primary_key=table.texts("primary_key"),
        replication_key=table.text("replication_key") or None,
        # What it really is follows from the keys that the database tells.
        disposition="append" if disposition == "append" else "replace",
        lookback=timedelta(minutes=minutes),
        options=options,
        sweep=parse_sweep(table.words.get("sweep", entry.words.get("sweep", True)), table.place),
    )


def discover(source: Source, settings: Mapping[str, str]) -> list[dict[str, object]]:
    """The tables that can be read there, in the words of the file, with a proposal for each.

    A replication key is proposed where a time column bears one of the usual names.
    """
    schema = next((s.text("schema", "public") for n, s in read_entries(FILE) if n == source.name))
    database = Database(settings["url"], source=source.name, hint=where_to_set(source.variables))
    tables: list[dict[str, object]] = []
    with database.snapshot() as snapshot:
        for name in snapshot.tables(schema):
            facts = snapshot.describe(schema, name)
            if facts is not None:
                tables.append(_proposal(name, facts))
    return tables


def _proposal(name: str, facts: TableFacts) -> dict[str, object]:
    times = {column.lower(): column for column in facts.types if _is_time(facts.types[column])}
    key = next((times[usual] for usual in _CHANGE_COLUMNS if usual in times), None)
    words: dict[str, object] = {"name": name}
    if facts.comment:
        words["description"] = facts.comment
    if facts.primary_key:
        words["primary_key"] = list(facts.primary_key)
        if key:
            words["replication_key"] = key
    return words


def _is_time(kind: str) -> bool:
    return kind.startswith("timestamp")


def catalog(tables: list[dict[str, object]], source: str) -> str:
    """The text of the catalog file of these tables."""
    import yaml

    head = (
        f"# Tables of {source}, as `meltano-assets discover {source} --write` found them. Edit it as you like:\n"
        "# remove tables, add `exclude`, correct a replication_key.\n"
    )
    return head + yaml.safe_dump({"tables": tables}, sort_keys=False, allow_unicode=True)


def summary(tables: list[dict[str, object]]) -> list[tuple[str, str, str]]:
    """Name, primary key and replication key of each table, for people."""
    rows = []
    for table in tables:
        keys = table.get("primary_key")
        key = ", ".join(map(str, keys)) if isinstance(keys, list) else "none"
        rows.append((str(table["name"]), key, str(table.get("replication_key", "read whole"))))
    return rows
