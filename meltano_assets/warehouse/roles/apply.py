"""Roles looked at, planned and settled, each in one transaction.

Belongs here: what is done with a plan. What it holds is ``plan.py``'s, the catalogue ``present.py``'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import psycopg
from psycopg import errors, sql

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.warehouse import books
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.roles import plan as planning
from meltano_assets.warehouse.roles.present import Present, look, remembered
from meltano_assets.warehouse.roles.statements import Plan
from meltano_assets.warehouse.roles.wanted import Impersonal, Wanted

_APPLICATION = "meltano-assets roles"
#: A load or a dbt run that swaps a table between the look and the grant: look again.
_MOVED = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)
_ATTEMPTS = 5
_ROUNDS = 3
_OWNERS = """
select pg_get_userbyid(n.nspowner), pg_get_userbyid(c.relowner)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'meltano' and c.relname = 'role_access'
"""
_Attempt = Callable[[psycopg.Connection], Plan]


def plan(
    warehouse: Warehouse, wanted: Wanted, impersonal: Impersonal, passwords: Mapping[str, str]
) -> Plan:
    """What ``apply`` would do; changes nothing."""
    with warehouse.connect(application_name=_APPLICATION) as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        present = look(connection, wanted)
        verifiers, notes = _verifiers(warehouse, connection, wanted, present, passwords)
        planned = planning.plan(wanted, present, impersonal, verifiers)
    planned.notes += notes
    return planned


def apply(
    warehouse: Warehouse, wanted: Wanted, impersonal: Impersonal, passwords: Mapping[str, str]
) -> Plan:
    """Bring roles and rights to what is wanted, all or nothing; returns what was done.

    FatalError with every problem when something cannot be done.
    """
    with warehouse.connect(application_name=_APPLICATION) as connection:
        books.ensure(connection)
        _hand_over_books(connection)

    def attempt(connection: psycopg.Connection) -> Plan:
        present = look(connection, wanted)
        verifiers, notes = _verifiers(warehouse, connection, wanted, present, passwords)
        planned = planning.plan(wanted, present, impersonal, verifiers)
        planned.notes += notes
        if planned.problems:
            raise FatalError("nothing was changed:\n" + "\n".join(planned.problems))
        _execute(connection, planned)
        for _ in range(_ROUNDS):
            left = planning.plan(wanted, look(connection, wanted), impersonal)
            if not left.statements and not left.problems:
                return planned
            if left.problems:
                break
            # What one may create in shows only when the rights to do so are settled.
            _execute(connection, left)
            planned.statements += left.statements
        raise FatalError(
            "nothing was changed: after all statements there would be left to do\n"
            + "\n".join([str(left), *left.problems]),
            hint="a grant by somebody else than the owner, perhaps: revoke it as who granted it",
        )

    return _settled(warehouse, attempt)


def settle_tables(warehouse: Warehouse, impersonal: Impersonal) -> Plan:
    """Grants on tables made since the last ``apply``, as that one settled them; most often nothing."""

    def attempt(connection: psycopg.Connection) -> Plan:
        access = remembered(connection)
        if not access:
            return Plan()
        planned = planning.plan_tables(look(connection, access), impersonal)
        _execute(connection, planned)
        return planned

    return _settled(warehouse, attempt)


def is_anything_settled(warehouse: Warehouse) -> bool:
    """True when roles were ever applied here."""
    with warehouse.connect(application_name=_APPLICATION) as connection:
        return bool(remembered(connection))


def _settled(warehouse: Warehouse, attempt: _Attempt) -> Plan:
    for number in range(1, _ATTEMPTS + 1):
        try:
            return _once(warehouse, attempt)
        except _Moved:
            if number < _ATTEMPTS:
                time.sleep(0.2 * number)
    raise RetriableError(
        "tables were exchanged again and again while rights on them were changed",
        hint="run it again when loads have ended",
    )


class _Moved(Exception):
    """Something changed between the look and the statement."""


def _once(warehouse: Warehouse, attempt: _Attempt) -> Plan:
    with warehouse.connect(application_name=_APPLICATION) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [books.advisory_key("roles")])
        try:
            return attempt(connection)
        except _MOVED as error:
            raise _Moved from error
        except errors.InternalError_ as error:
            # "tuple concurrently updated": the catalogue's own words for it.
            if "concurrently" not in str(error):
                raise
            raise _Moved from error


def _hand_over_books(connection: psycopg.Connection) -> None:
    """What is remembered here belongs to whose schema it is: dbt reads it as the platform's own role."""
    row = connection.execute(_OWNERS).fetchone()
    if row is not None and row[0] != row[1]:
        connection.execute(
            sql.SQL("alter table meltano.role_access owner to {}").format(sql.Identifier(row[0]))
        )


def _execute(connection: psycopg.Connection, planned: Plan) -> None:
    for statement in planned.statements:
        try:
            connection.execute(statement.text)
        except errors.InsufficientPrivilege as error:
            raise FatalError(
                f"nothing was changed: Postgres refused `{statement}`: {error.diag.message_primary}",
                hint="let an administrator run it, or give the role of MELTANO_WAREHOUSE_URL the right",
            ) from None


# passwords


def _verifiers(
    warehouse: Warehouse,
    connection: psycopg.Connection,
    wanted: Wanted,
    present: Present,
    passwords: Mapping[str, str],
) -> tuple[dict[str, str], list[str]]:
    """Verifiers of the passwords that have to be set, and notes on those that cannot be compared.

    Whether a password is the one that is set, only the server's login can say: verifiers are not for others
    to read.
    """
    found, notes = {}, []
    now = datetime.now(UTC)
    for name, password in passwords.items():
        known = present.roles.get(name)
        if known is not None:
            until = known.attributes.valid_until
            state = (
                "unknown"
                if until is not None and until < now
                else _state(warehouse, name, password)
            )
            if state == "same":
                continue
            if state == "unknown":
                variable = wanted[name].password_variable
                notes.append(
                    f"{name}: the server lets it in without its password, or not at all, so that"
                    f" whether ${variable} is set as its password cannot be told"
                )
                continue
        found[name] = _verifier(connection, name, password)
    return found, notes


def _verifier(connection: psycopg.Connection, role: str, password: str) -> str:
    """``SCRAM-SHA-256$…``, computed here: the server never sees the password."""
    made = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return made.decode()


def _state(warehouse: Warehouse, role: str, password: str) -> str:
    """Whether the server takes the password: ``same``, ``other``, or ``unknown``.

    By SCRAM only, which proves the password without telling it.
    """
    parameters = dict(warehouse.parameters) | {
        "user": role,
        "password": password,
        "require_auth": "scram-sha-256,none",
        "connect_timeout": "10",
        "application_name": _APPLICATION,
    }
    parameters.pop("options", None)
    try:
        with psycopg.connect(**parameters) as connection:  # type: ignore[arg-type] # libpq's words
            return "same" if connection.pgconn.used_password else "unknown"
    except psycopg.OperationalError as error:
        words = str(error)
    if "password authentication failed" in words or "authentication method" in words:
        return "other"
    # Refused for another reason than its password, which comes first.
    passed = (
        "permission denied for database",
        "too many connections for role",
        "not permitted to log in",
    )
    return "same" if any(word in words for word in passed) else "unknown"
