"""The file ``roles.yaml``: who may log in, and read and write what; docs/roles.md has every word.

Belongs here: the file, word by word (its syntax is pgbedrock's), the passwords that it names, and which
columns tell of nobody. Does not belong here: the catalogue and statements (``warehouse/roles/``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from meltano_assets import environment
from meltano_assets.errors import FatalError
from meltano_assets.sources.base import Source
from meltano_assets.sources.rules import SourceRules, selected
from meltano_assets.warehouse.roles.wanted import (
    Attributes,
    Named,
    Reach,
    Relation,
    Role,
    Wanted,
    by_name,
)
from meltano_assets.yaml_files import read_mapping

FILE = "roles.yaml"
_WORDS = (
    "can_login",
    "is_superuser",
    "attributes",
    "member_of",
    "owns",
    "privileges",
    "has_personal_schema",
    "personal_data",
)
_KINDS = ("schemas", "tables", "sequences")
_PASSWORD = re.compile(r"""PASSWORD\s+(["']?)\{\{\s*env\[["'](\w+)["']\]\s*\}\}\1""", re.IGNORECASE)
_FLAGS = ("createdb", "createrole", "inherit", "replication", "bypassrls")
_ATTRIBUTES = (
    "[NO]CREATEDB, [NO]CREATEROLE, [NO]INHERIT, [NO]REPLICATION, [NO]BYPASSRLS,"
    " CONNECTION LIMIT n, VALID UNTIL 'date', PASSWORD \"{{ env['VARIABLE'] }}\""
)
#: A part of a name: quoted as in SQL where it holds a dot, else as it is.
_PART = r'(?:"((?:[^"]|"")+)"|([^".]+))'
_NAMED = re.compile(rf"{_PART}\.(?:(\*)|{_PART})")
#: The last name of an expression, also inside of functions; read backwards, which takes one step a character.
_LAST_NAME = re.compile(r"\s*(?:[a-z_]+::)?['\s)}]*([a-z0-9_$]+)")
_NAME_GOES_ON = re.compile(r"[a-z0-9_$]")
#: Every role of its own schema, in lists of pgbedrock.
_PERSONAL_SCHEMAS = "personal_schemas"


def file() -> Path:
    """Where the file is looked for."""
    return environment.user_file(FILE)


def read_roles(path: Path | None = None) -> Wanted:
    """The roles of the file by name; FatalError names the entry that cannot be meant."""
    place = path or file()
    if not place.is_file():
        other = place.with_suffix(".yml" if place.suffix == ".yaml" else ".yaml")
        hint = f"rename {other.name}" if other.is_file() else "docs/roles.md begins with an example"
        raise FatalError(f"there is no {place}", hint=hint)
    entries = read_mapping(place, "names of roles")
    roles = by_name(_role(place.name, name, words) for name, words in entries.items())
    roles = _with_personal_schemas(roles)
    _refuse_contradictions(place.name, roles)
    return roles


def passwords(roles: Wanted, *, is_needed: bool = True) -> dict[str, str]:
    """Passwords by role, out of the environment; FatalError for a variable that is not set.

    Without ``is_needed`` roles whose variable is not set are left out.
    """
    found = {}
    for role in roles.values():
        if role.password_variable is None:
            continue
        if value := environment.variable(role.password_variable):
            found[role.name] = value
        elif is_needed:
            raise FatalError(
                f"{FILE}, {role.name}: {role.password_variable} is not set",
                hint="set it in the environment or in the file .env, or take PASSWORD out of the entry",
            )
    return found


def password_variables() -> frozenset[str]:
    """The variables that the file names for passwords; reads nothing else of it."""
    try:
        text = file().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(variable for _, variable in _PASSWORD.findall(text))


class _Words:
    """A mapping of the file; errors say where it stands."""

    def __init__(self, place: str, words: object, known: Iterable[str]) -> None:
        self.place = place
        self.known = tuple(known)
        if words is None:
            words = {}
        if not isinstance(words, dict):
            raise FatalError(f"{place}: words and values are expected", hint=self._known())
        for word in words:
            if word not in self.known:
                near = get_close_matches(str(word), self.known, n=1)
                raise FatalError(
                    f"{place}: unknown word {word!r}",
                    hint=f"did you mean {near[0]}?" if near else self._known(),
                )
        self.words: Mapping[str, object] = words

    def _known(self) -> str:
        return f"known are: {', '.join(self.known)}"

    def flag(self, word: str, default: bool) -> bool:
        value = self.words.get(word, default)
        if not isinstance(value, bool):
            raise FatalError(f"{self.place}: {word} is yes or no")
        return value

    def texts(self, word: str) -> tuple[str, ...]:
        value = self.words.get(word)
        values = [] if value is None else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise FatalError(f"{self.place}, {word}: a list of names is expected")
        return tuple(dict.fromkeys(values))

    def inside(self, word: str, known: Iterable[str]) -> _Words:
        return _Words(f"{self.place}, {word}", self.words.get(word), known)

    def named(self, word: str) -> tuple[Named, ...]:
        return tuple(self._named(word, text) for text in self.texts(word))

    def schemas(self, word: str) -> tuple[str, ...]:
        found = []
        for text in self.texts(word):
            match = re.fullmatch(_PART, text)
            if match is None:
                raise FatalError(
                    f"{self.place}, {word}: {text!r} is not the name of a schema",
                    hint="tables stand under tables",
                )
            found.append(_unquoted(match[1], match[2]))
        return tuple(found)

    def _named(self, word: str, text: str) -> Named:
        match = _NAMED.fullmatch(text)
        if match is None:
            raise FatalError(
                f"{self.place}, {word}: {text!r} is not schema.name or schema.*",
                hint='a name with a dot stands in double quotes: \'"my.schema"."my.table"\'',
            )
        schema, name = _unquoted(match[1], match[2]), _unquoted(match[4], match[5])
        return Named(schema, match[3] or name)


def _unquoted(quoted: str | None, plain: str | None) -> str:
    return quoted.replace('""', '"') if quoted else plain or ""


def _role(file_name: str, name: object, words: object) -> Role:
    if not isinstance(name, str) or not name or len(name.encode()) > 63:
        raise FatalError(
            f"{file_name}: {name!r} is not the name of a role",
            hint="a text of at most 63 bytes, in quotes where YAML takes it for something else",
        )
    place = f"{file_name}, {name}"
    if name.lower().startswith("pg_") or name.lower() in ("public", "none"):
        raise FatalError(f"{place}: Postgres keeps this name to itself", hint="choose another")
    entry = _Words(place, words, _WORDS)
    attributes, variable = _attributes(place, entry.texts("attributes"))
    owns = entry.inside("owns", _KINDS)
    privileges = entry.inside("privileges", _KINDS)
    schemas = privileges.inside("schemas", ("read", "write"))
    tables = privileges.inside("tables", ("read", "write", "except"))
    sequences = privileges.inside("sequences", ("read", "write", "except"))
    return Role(
        name=name,
        can_login=entry.flag("can_login", False),
        is_superuser=entry.flag("is_superuser", False),
        attributes=attributes,
        password_variable=variable,
        member_of=entry.texts("member_of"),
        owned_schemas=owns.schemas("schemas"),
        owned_tables=owns.named("tables"),
        owned_sequences=owns.named("sequences"),
        has_personal_schema=entry.flag("has_personal_schema", False),
        read_schemas=schemas.schemas("read"),
        write_schemas=schemas.schemas("write"),
        tables=Reach(tables.named("read"), tables.named("write"), tables.named("except")),
        sequences=Reach(
            sequences.named("read"), sequences.named("write"), sequences.named("except")
        ),
        has_personal_data=entry.flag("personal_data", True),
    )


def _attributes(place: str, items: tuple[str, ...]) -> tuple[Attributes, str | None]:
    found: dict[str, Any] = {}
    variable = None
    for item in items:
        word = item.strip()
        bare = word.lower()
        if bare in _FLAGS or bare.removeprefix("no") in _FLAGS:
            found[bare if bare in _FLAGS else bare.removeprefix("no")] = bare in _FLAGS
        elif limit := re.fullmatch(r"connection\s+limit\s+(-?\d+)", bare):
            found["connection_limit"] = int(limit[1])
            if found["connection_limit"] < -1:
                raise FatalError(f"{place}, attributes: {word}: a number from -1 (no limit) up")
        elif until := re.fullmatch(r"valid\s+until\s+['\"]?([^'\"]+)['\"]?", word, re.IGNORECASE):
            found["valid_until"] = _moment(place, until[1])
        elif password := _PASSWORD.fullmatch(word):
            variable = password[2]
        elif bare.startswith("password"):
            raise FatalError(
                f"{place}, attributes: a password does not stand in the file",
                hint="name a variable: PASSWORD \"{{ env['ITS_PASSWORD'] }}\"",
            )
        elif bare.removeprefix("no") in ("login", "superuser"):
            instead = "can_login" if "login" in bare else "is_superuser"
            raise FatalError(f"{place}, attributes: {word} is said by {instead}: yes or no")
        else:
            raise FatalError(
                f"{place}, attributes: {word!r} is no attribute", hint=f"known are: {_ATTRIBUTES}"
            )
    return Attributes(**found), variable


def _moment(place: str, text: str) -> datetime | None:
    if text.strip().lower() == "infinity":
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise FatalError(
            f"{place}, attributes: VALID UNTIL {text!r} is not a time",
            hint="write 2027-01-31 or 2027-01-31 12:00Z; without a zone it is UTC",
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _with_personal_schemas(roles: Wanted) -> dict[str, Role]:
    """``personal_schemas`` in lists, as the schemas that it stands for; who has one owns it."""
    from dataclasses import replace

    own = tuple(role.name for role in roles.values() if role.has_personal_schema)

    def schemas(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(s for name in names for s in (own if name == _PERSONAL_SCHEMAS else (name,)))

    def named(names: tuple[Named, ...]) -> tuple[Named, ...]:
        every = Named(_PERSONAL_SCHEMAS)
        return tuple(n for one in names for n in (map(Named, own) if one == every else (one,)))

    def reach(one: Reach) -> Reach:
        return Reach(named(one.read), named(one.write), named(one.excepted))

    changed = []
    for role in roles.values():
        owned = (role.name,) if role.has_personal_schema else ()
        changed.append(
            replace(
                role,
                owned_schemas=tuple(dict.fromkeys((*role.owned_schemas, *owned))),
                read_schemas=schemas(role.read_schemas),
                write_schemas=schemas(role.write_schemas),
                tables=reach(role.tables),
                sequences=reach(role.sequences),
            )
        )
    return by_name(changed)


def _refuse_contradictions(file_name: str, roles: Wanted) -> None:
    owners: dict[tuple[str, object], str] = {}
    for role in roles.values():
        place = f"{file_name}, {role.name}"
        if role.password_variable and not role.can_login:
            raise FatalError(f"{place}: it has a password and cannot log in", hint="can_login: yes")
        owned: list[tuple[str, object]] = [("schema", schema) for schema in role.owned_schemas]
        owned += [("table", table) for table in role.owned_tables]
        owned += [("sequence", sequence) for sequence in role.owned_sequences]
        for kind, thing in owned:
            if (kind, thing) in owners:
                raise FatalError(
                    f"{place}: {owners[kind, thing]} owns the {kind} {thing} already",
                    hint="a thing has one owner; what several share they own by a role that they are in",
                )
            owners[kind, thing] = role.name
        if circle := _circle(role.name, roles):
            raise FatalError(f"{place}: a member of itself, by {' → '.join(circle)}")
        for kind, reach in (("tables", role.tables), ("sequences", role.sequences)):
            if doubled := set(reach.read) & set(reach.write):
                raise FatalError(
                    f"{place}, privileges, {kind}: {min(doubled)} stands under read and under write",
                    hint="who writes may read",
                )
        if not role.has_personal_data:
            _refuse_personal_data(place, role, roles)


def _circle(name: str, roles: Wanted) -> list[str]:
    """The way from a role up to itself; empty where there is none."""
    pending = [[name]]
    seen = set()
    while pending:
        way = pending.pop()
        for group in roles[way[-1]].member_of if way[-1] in roles else ():
            if group == name:
                return [*way, name]
            if group not in seen:
                seen.add(group)
                pending.append([*way, group])
    return []


def _refuse_personal_data(place: str, role: Role, roles: Wanted) -> None:
    """FatalError for rights by which a role without personal data would come to it."""
    powers = [flag for flag in ("createrole", "replication") if getattr(role.attributes, flag)]
    if role.is_superuser or powers:
        power = "is a superuser" if role.is_superuser else f"has {powers[0].upper()}"
        raise FatalError(
            f"{place}: personal_data is no, and the role {power}, which opens every table",
            hint="take one of the two out",
        )
    for what, names in (("tables, write", role.tables.write), ("owns, tables", role.owned_tables)):
        if names:
            raise FatalError(
                f"{place}, {what}: personal_data is no, and who writes or owns {names[0]} sees all of it",
                hint="give the role a schema of its own (owns: schemas, or has_personal_schema: yes)",
            )
    for group in role.member_of:
        if group not in roles or roles[group].has_personal_data:
            raise FatalError(
                f"{place}: personal_data is no, and {group}, of which it is a member, has it",
                hint=f"say personal_data: no for {group} in {FILE}, too, or take it out of member_of",
            )


# Columns that tell of nobody


def impersonal_columns(
    manifest: Mapping[str, Any],
    sources: Iterable[Source] = (),
    rules: Mapping[str, SourceRules] | None = None,
) -> dict[Relation, frozenset[str]]:
    """Columns that are declared and bear no mark, by relation: of raw tables, models, seeds, snapshots.

    What nobody has declared is not known to tell of nobody. Nor is a model's column that has its name from a
    marked one above it, also by ``marked as name``, unless it says why it tells of nobody (``meta: {impersonal: why}``). ``sources`` with their ``rules`` add marks to
    what dbt's sources say of raw tables; they take none away.
    """
    found: dict[Relation, frozenset[str]] = {}
    nodes = {**manifest["sources"], **manifest["nodes"]}
    known: dict[tuple[str, str], bool] = {}
    for key, node in nodes.items():
        if node["resource_type"] in ("source", "model", "seed", "snapshot"):
            relation = (node["schema"], node.get("identifier") or node["alias"])
            found[relation] = frozenset(_unmarked(key, nodes, known))
    for source in sources:
        for stream in source.streams:
            chosen = selected(stream, (rules or {}).get(source.name, SourceRules()).of(stream.name))
            marked = {c.name for c in chosen.load.columns if chosen.marks(c).get("pii")}
            relation = (stream.source, stream.name)
            if relation in found:
                found[relation] -= marked
    return found


def _unmarked(
    key: str, nodes: Mapping[str, Any], known: dict[tuple[str, str], bool]
) -> Iterator[str]:
    node = nodes[key]
    names = set(node["columns"])
    if node["resource_type"] == "snapshot":
        # It has the columns of what it is taken of, besides its own.
        names.update(*(nodes[parent]["columns"] for parent in node["depends_on"]["nodes"]))
    for name in names:
        if not _is_personal(key, name, nodes, known):
            yield name


def _is_personal(
    key: str, name: str, nodes: Mapping[str, Any], known: dict[tuple[str, str], bool]
) -> bool:
    """As the macro of that name says it while a model is built; ``known`` is what was found before."""
    if (key, name) not in known:
        known[key, name] = _is_found_personal(nodes[key], name, nodes, known)
    return known[key, name]


def _is_found_personal(
    node: Mapping[str, Any],
    name: str,
    nodes: Mapping[str, Any],
    known: dict[tuple[str, str], bool],
) -> bool:
    if described := node["columns"].get(name):
        meta = {
            **described.get("meta", {}),
            **cast(Any, described.get("config", {})).get("meta", {}),
        }
        if meta.get("pii") or meta.get("impersonal"):
            return bool(meta.get("pii"))
    names = _former_names(node.get("raw_code") or "", name)
    parents = [key for key in node.get("depends_on", {}).get("nodes", ()) if key in nodes]
    return any(_is_personal(key, former, nodes, known) for key in parents for former in names)


def _former_names(raw_code: str, name: str) -> list[str]:
    """The name and those that the SQL gives it another name of, step by step; as the macro does it."""
    names, text = [name], raw_code.lower().replace('"', "")
    for known in names:
        before, *others = text.split(f" as {known}")
        for after in others:
            last = None if _NAME_GOES_ON.match(after) else _LAST_NAME.match(before[:-121:-1])
            if last and last[1][::-1] not in names:
                names.append(last[1][::-1])
            before = after
    return names
