"""What ``roles.yaml`` wants of roles, as values; reading the file is ``meltano_assets/roles.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

TABLE_READ = frozenset({"SELECT"})
TABLE_WRITE = TABLE_READ | {"INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
SEQUENCE_READ = frozenset({"SELECT"})
SEQUENCE_WRITE = SEQUENCE_READ | {"USAGE", "UPDATE"}
SCHEMA_READ = frozenset({"USAGE"})
SCHEMA_WRITE = SCHEMA_READ | {"CREATE"}

Relation = tuple[str, str]
#: Columns of a relation that are known, and known to tell of nobody.
Impersonal = Mapping[Relation, frozenset[str]]


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """``schema.name``, or everything of a schema: ``schema.*``."""

    schema: str
    name: str = "*"

    @property
    def is_all(self) -> bool:
        """True for ``schema.*``."""
        return self.name == "*"

    def matches(self, relation: Relation) -> bool:
        """True when the relation is named."""
        return self.schema == relation[0] and self.name in ("*", relation[1])

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Reach:
    """Which tables (or sequences) may be read, written, and neither after all."""

    read: tuple[Named, ...] = ()
    write: tuple[Named, ...] = ()
    excepted: tuple[Named, ...] = ()

    def of(self, relation: Relation) -> str | None:
        """``write``, ``read`` or None."""
        if any(one.matches(relation) for one in self.excepted):
            return None
        if any(one.matches(relation) for one in self.write):
            return "write"
        return "read" if any(one.matches(relation) for one in self.read) else None

    def of_new(self, schema: str) -> str | None:
        """The same of what is yet to be made there: only where all of a schema is named and none excepted."""
        if any(one.schema == schema for one in self.excepted):
            return None
        return self.of((schema, "*"))

    @property
    def names(self) -> tuple[Named, ...]:
        """Everything that is named."""
        return (*self.read, *self.write, *self.excepted)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes of a role besides login and superuser; Postgres' defaults where nothing is said."""

    createdb: bool = False
    createrole: bool = False
    inherit: bool = True
    replication: bool = False
    bypassrls: bool = False
    connection_limit: int = -1
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """One entry of the file."""

    name: str
    can_login: bool = False
    is_superuser: bool = False
    attributes: Attributes = field(default_factory=Attributes)
    password_variable: str | None = None
    member_of: tuple[str, ...] = ()
    owned_schemas: tuple[str, ...] = ()
    owned_tables: tuple[Named, ...] = ()
    owned_sequences: tuple[Named, ...] = ()
    has_personal_schema: bool = False
    read_schemas: tuple[str, ...] = ()
    write_schemas: tuple[str, ...] = ()
    tables: Reach = field(default_factory=Reach)
    sequences: Reach = field(default_factory=Reach)
    #: False: of tables only the columns that tell of nobody may be read.
    has_personal_data: bool = True


Wanted = Mapping[str, Role]


def by_name(roles: Iterable[Role]) -> dict[str, Role]:
    """Roles by their names."""
    return {role.name: role for role in roles}
