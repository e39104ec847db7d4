"""Roles of one test on a real server: names of its own, entries of roles.yaml, logins."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from meltano_assets import roles
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.roles import apply
from meltano_assets.warehouse.roles.statements import Plan
from meltano_assets.warehouse.roles.wanted import Impersonal, Wanted

PASSWORD = "a pass-word of chance"


@dataclass
class RoleServer:
    """``~name`` in any text is a role of this test: roles are everybody's on a server."""

    administration: Warehouse
    folder: Path
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}_")
    passwords: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.warehouse = self.administration

    def name(self, role: str) -> str:
        """The role's name on the server."""
        return role.replace("~", self.prefix)

    def file(self, text: str) -> Path:
        """A ``roles.yaml``."""
        path = self.folder / "roles.yaml"
        path.write_text(self.name(text))
        return path

    def wanted(self, text: str) -> Wanted:
        """The roles of such a file."""
        return roles.read_roles(self.file(text))

    def plan(self, text: str, impersonal: Impersonal | None = None) -> Plan:
        """What would be done."""
        wanted = self.wanted(text)
        return apply.plan(self.warehouse, wanted, impersonal or {}, self._of(wanted))

    def apply(self, text: str, impersonal: Impersonal | None = None) -> Plan:
        """What was done."""
        wanted = self.wanted(text)
        return apply.apply(self.warehouse, wanted, impersonal or {}, self._of(wanted))

    def _of(self, wanted: Wanted) -> Mapping[str, str]:
        """The tests' password for every role that has one."""
        return {
            role.name: self.passwords.get(role.name, PASSWORD)
            for role in wanted.values()
            if role.password_variable
        }

    def url(self, role: str, password: str = PASSWORD) -> str:
        """The test's database, for a role."""
        host = self.administration.place
        return f"postgresql://{quote(self.name(role))}:{quote(password)}@{host}"

    def execute(self, *statements: str) -> None:
        """As the superuser of the server."""
        with self.administration.connect(autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(self.name(statement)))  # type: ignore[arg-type]

    def work(self, *statements: str) -> None:
        """As the role that applies the file."""
        with self.warehouse.connect(autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(self.name(statement)))  # type: ignore[arg-type]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """As the superuser of the server."""
        with self.administration.connect() as connection:
            return connection.execute(sql.SQL(self.name(query))).fetchall()  # type: ignore[arg-type]

    def work_as(self, role: str) -> None:
        """The platform's own role from now on: no superuser, but one that may create roles."""
        self.execute(
            f"create role {role} login createrole password '{PASSWORD}'",
            f'grant create on database "{self.administration.database}" to {role}',
        )
        self.warehouse = Warehouse(self.url(role))

    @contextmanager
    def login(self, role: str, password: str = PASSWORD) -> Iterator[Login]:
        """A session of that role."""
        with psycopg.connect(self.url(role, password), autocommit=True) as connection:
            yield Login(connection, self)

    def clean(self) -> None:
        """Drop the roles of this test."""
        with self.administration.connect(autocommit=True) as connection:
            names = [
                name
                for (name,) in connection.execute(
                    "select rolname from pg_roles where starts_with(rolname, %s)", [self.prefix]
                ).fetchall()
            ]
            for name in names:
                connection.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(name)))
            for name in names:
                connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@dataclass
class Login:
    """A session; ``may`` says whether a statement is let through."""

    connection: psycopg.Connection
    server: RoleServer

    def may(self, statement: str) -> bool:
        """True when it works; False when the right is missing. Nothing is kept of it."""
        try:
            with self.connection.transaction(force_rollback=True):
                self.connection.execute(sql.SQL(self.server.name(statement)))  # type: ignore[arg-type]
        except (
            psycopg.errors.InsufficientPrivilege,
            # Some views cannot be written, whoever tries.
            psycopg.errors.ObjectNotInPrerequisiteState,
        ):
            return False
        return True

    def do(self, *statements: str) -> None:
        """Work that stays."""
        for statement in statements:
            self.connection.execute(sql.SQL(self.server.name(statement)))  # type: ignore[arg-type]
