"""The simulated org: its stored records, its users and sessions, its clock and its limits.

One SQLite file in WAL mode holds everything that outlives the process. Reads run beside each
other on a connection per thread; writes take turns on one connection. The company's records of a
day are applied once, like the edits of the people who work in the org: a later day changes only
the fields that the company changed, so what a sync wrote in between stays.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from meltano_assets.sandbox import soql_literals
from meltano_assets.sandbox.salesforce_faults import salesforce_faults
from meltano_assets.sandbox.salesforce_objects import build_schema
from meltano_assets.sandbox.salesforce_rollups import SHOWN, roll_up
from meltano_assets.sandbox.salesforce_schema import Field, Schema, SObject, make_id, parse_id
from meltano_assets.sandbox.salesforce_values import SqlValue, format_datetime, from_company

API_VERSIONS = tuple(f"{number}.0" for number in range(31, 67))
DEFAULT_API_VERSION = "59.0"
ORGANIZATION_ID = make_id("00D", 1)
#: Profiles of the users → may they see and change everything?
_PROFILES = {"System Administrator": 1, "Standard User": 0}


class Company(Protocol):
    """Who fills the org."""

    def salesforce_records(self, day: int) -> Mapping[str, Sequence[Mapping[str, object]]]:
        """Object name → full records created, changed or deleted that day (0: all initial)."""


class Clock(Protocol):
    """The company's time."""

    def now(self) -> datetime: ...

    @property
    def day(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a client may log in."""

    client_id: str = "3MVG9meltano.assets.sandbox.connected.app"
    client_secret: str = "8A1C5D0F7E2B4469A3D1C0B5E8F7A6D2"  # noqa: S105
    username: str = "integration@meltano.example"
    password: str = "sandbox-Passw0rd"  # noqa: S105
    security_token: str = "hGx0TQ2n3sandboxToken7"  # noqa: S105
    refresh_token: str = "5Aep861sandboxRefreshToken.9"  # noqa: S105


_TABLES = """
CREATE TABLE IF NOT EXISTS _meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS _session (token TEXT PRIMARY KEY, user_id TEXT, created TEXT);
CREATE TABLE IF NOT EXISTS _company (id TEXT PRIMARY KEY, record TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _job (id TEXT PRIMARY KEY, kind TEXT, created TEXT, info TEXT);
CREATE TABLE IF NOT EXISTS _upload (job TEXT PRIMARY KEY, body BLOB);
CREATE TABLE IF NOT EXISTS _result (
    job TEXT, part TEXT, number INTEGER, records INTEGER, body TEXT,
    PRIMARY KEY (job, part, number)
);
"""


def _column(field: Field, kept: str) -> str:
    made = f" GENERATED ALWAYS AS ({field.generated}) {kept}" if field.generated else ""
    return f'"{field.name}" {field.storage}{made}'


def _complete_table(connection: sqlite3.Connection, sobject: SObject) -> None:
    """An org that an earlier version of the sandbox began gets the fields that came since."""
    known = {row[1] for row in connection.execute(f'PRAGMA table_xinfo("{sobject.name}")')}
    for field in sobject.stored_fields:
        if field.name not in known:
            empty = " DEFAULT 0" if field.kind == "boolean" and not field.generated else ""
            column = _column(field, "VIRTUAL") + empty
            connection.execute(f'ALTER TABLE "{sobject.name}" ADD COLUMN {column}')


class RollBack(Exception):
    """Raised inside ``writing`` to leave it undone, and caught around it: no error."""


class SalesforceOrg:
    """The org's state and the rules that hold whichever API is used."""

    def __init__(self, state_dir: Path, company: Company, clock: Clock) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self.path = state_dir / "salesforce.sqlite3"
        self.company = company
        self.clock = clock
        self.faults = salesforce_faults()
        self.daily_api_limit = 100_000
        self.api_requests = 0
        self.bulk_polls = 2
        """How many times a finished bulk job still answers that it is on its way."""
        self.schema = build_schema()
        self._restricted: tuple[object, Schema] | None = None
        self._shown_schema: Schema = self.schema
        self._api_day = ""
        self._local = threading.local()
        self._write_lock = threading.RLock()
        self._readers: dict[threading.Thread, sqlite3.Connection] = {}
        self._readers_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._writer = self._connect()
        self._depth = 0
        self._create_tables()
        self._sessions: dict[str, str] = dict(
            self._writer.execute("SELECT token, user_id FROM _session")
        )
        usage = self._writer.execute("SELECT value FROM _meta WHERE name = 'api_usage'").fetchone()
        if usage:
            self._api_day, self.api_requests = json.loads(usage[0])
        self.schema_changed_at = self._first_opened()
        """When the user began to see the schema as it is."""
        self.advance_to(0)
        self.user_id, username = self._integration_user()
        self.credentials = Credentials(username=username)

    # connections

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA cache_size = -32000")
        soql_literals.add_functions(connection)
        return connection

    def reader(self) -> sqlite3.Connection:
        """A connection for reading; inside ``writing`` it sees what is being written."""
        if getattr(self._local, "is_writing", False):
            return self._writer
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            with self._readers_lock:
                # The server's threads come and go; what an ended one had open is closed here.
                for thread in [thread for thread in self._readers if not thread.is_alive()]:
                    self._readers.pop(thread).close()
                self._readers[threading.current_thread()] = connection
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, undone when the block raises; may be nested."""
        with self._write_lock:
            depth = self._depth
            begin = f"SAVEPOINT level{depth}" if depth else "BEGIN IMMEDIATE"
            self._writer.execute(begin)
            self._depth += 1
            self._local.is_writing = True
            try:
                yield self._writer
            except BaseException:
                if depth:
                    self._writer.execute(f"ROLLBACK TO level{depth}")
                    self._writer.execute(f"RELEASE level{depth}")
                else:
                    self._writer.execute("ROLLBACK")
                raise
            else:
                self._writer.execute(f"RELEASE level{depth}" if depth else "COMMIT")
            finally:
                self._depth = depth
                self._local.is_writing = depth > 0

    def close(self) -> None:
        """Closes the file; the org can be opened again."""
        with self._write_lock, self._readers_lock:
            for connection in (self._writer, *self._readers.values()):
                connection.close()
            self._readers.clear()

    def _create_tables(self) -> None:
        self._writer.executescript(_TABLES)
        with self.writing() as connection:
            known = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            for sobject in self.schema.objects.values():
                if sobject.name not in known:
                    self._create_table(connection, sobject)
                else:
                    _complete_table(connection, sobject)

    def _first_opened(self) -> datetime:
        with self.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO _meta VALUES ('first_opened', ?)",
                (self.clock.now().isoformat(),),
            )
            row = connection.execute("SELECT value FROM _meta WHERE name = 'first_opened'")
            return datetime.fromisoformat(row.fetchone()[0])

    def _create_table(self, connection: sqlite3.Connection, sobject: SObject) -> None:
        columns = [
            _column(field, "STORED") + " PRIMARY KEY" * (field.kind == "id")
            for field in sobject.stored_fields
        ]
        connection.execute(f'CREATE TABLE "{sobject.name}" ({", ".join(columns)})')
        is_company_object = len(sobject.fields) > 12
        for field in sobject.stored_fields:
            is_link = field.kind == "reference" and field.child_relationship
            if is_company_object and (
                field.external_id or is_link or field.name == "SystemModstamp"
            ):
                connection.execute(
                    f'CREATE INDEX "{sobject.name}.{field.name}" '
                    f'ON "{sobject.name}" ("{field.name}")'
                )

    # what a user sees

    @property
    def user_schema(self) -> Schema:
        """The schema without the objects and fields that faults hide, with those they lock or change."""
        schema = self._spoiled_schema()
        if schema is not self._shown_schema:
            self._shown_schema = schema
            self.schema_changed_at = self.clock.now()
        return schema

    def _spoiled_schema(self) -> Schema:
        hidden = frozenset(
            fault.text(what).lower()
            for what in ("field", "object")
            for fault in self.faults.standing(f"missing_{what}")
        )
        locked = frozenset(f.text("field").lower() for f in self.faults.standing("read_only_field"))
        texts = {
            fault.text("field").lower(): fault.text("value", "much")
            for fault in self.faults.standing("change_type")
        }
        if not hidden and not locked and not texts:
            return self.schema
        wanted = (hidden, locked, texts)
        if self._restricted is None or self._restricted[0] != wanted:
            self._restricted = (wanted, self.schema.restricted(*wanted))
        return self._restricted[1]

    def stamp(self) -> str:
        """The present, in stored form."""
        return format_datetime(self.clock.now())

    # sessions

    def open_session(self) -> str:
        """A new session id, as a login returns it."""
        token = f"{ORGANIZATION_ID[:15]}!AQ{secrets.token_hex(44)}"
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO _session VALUES (?, ?, ?)", (token, self.user_id, self.stamp())
            )
        self._sessions[token] = self.user_id
        return token

    def session_user(self, token: str) -> str | None:
        """The user of a session that is alive."""
        return self._sessions.get(token)

    def end_session(self, token: str) -> bool:
        """Logs out."""
        with self.writing() as connection:
            connection.execute("DELETE FROM _session WHERE token = ?", (token,))
        return self._sessions.pop(token, None) is not None

    def expire_sessions(self) -> None:
        """Ends all sessions, as a time-out does."""
        with self.writing() as connection:
            connection.execute("DELETE FROM _session")
        self._sessions.clear()

    # limits

    def count_request(self) -> bool:
        """Counts one API request of the day; False when the limit was reached before it."""
        with self._count_lock:
            day = self.clock.now().date().isoformat()
            if day != self._api_day:
                self._api_day, self.api_requests = day, 0
            if self.api_requests >= self.daily_api_limit:
                return False
            self.api_requests += 1
            return True

    def keep_usage(self) -> None:
        """Writes down the requests of the day, for the time after a restart."""
        usage = json.dumps([self._api_day, self.api_requests])
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO _meta VALUES ('api_usage', ?)", (usage,))

    # ids

    def new_ids(self, connection: sqlite3.Connection, key_prefix: str, count: int) -> list[str]:
        """Ids for new records; only inside ``writing``."""
        name = f"next_{key_prefix}"
        row = connection.execute("SELECT value FROM _meta WHERE name = ?", (name,)).fetchone()
        first = int(row[0]) if row else 1
        connection.execute("INSERT OR REPLACE INTO _meta VALUES (?, ?)", (name, first + count))
        return [make_id(key_prefix, number) for number in range(first, first + count)]

    # the company

    @property
    def applied_day(self) -> int:
        """The last day of the company that is in the org; -1 before the first."""
        row = self.reader().execute("SELECT value FROM _meta WHERE name = 'day'").fetchone()
        return int(row[0]) if row else -1

    def advance_to(self, day: int) -> None:
        """Applies the company's records of all days up to ``day`` that are not applied yet."""
        for number in range(self.applied_day + 1, day + 1):
            records = self.company.salesforce_records(number)
            with self.writing() as connection:
                for name, rows in records.items():
                    sobject = self.schema.find(name)
                    if sobject is None:
                        raise ValueError(f"the company has records of an unknown object: {name}")
                    self._apply(connection, sobject, rows)
                if number == 0:
                    self._add_organization(connection)
                self._name_authors(connection, records)
                if "User" in records:
                    connection.execute(
                        'UPDATE "User" SET "ProfileId" = CASE "Id" WHEN (SELECT min("Id") FROM "User") '
                        'THEN ? ELSE ? END WHERE "ProfileId" IS NULL',
                        (make_id("00e", 1), make_id("00e", 2)),
                    )
                if SHOWN & records.keys():
                    roll_up(connection, self.stamp())
                connection.execute("INSERT OR REPLACE INTO _meta VALUES ('day', ?)", (str(number),))

    def _apply(
        self,
        connection: sqlite3.Connection,
        sobject: SObject,
        rows: Iterable[Mapping[str, object]],
    ) -> None:
        stored = [_company_record(sobject, row, self.stamp()) for row in rows]
        ids = json.dumps([record["Id"] for record in stored])
        before = dict(
            connection.execute(
                "SELECT id, record FROM _company WHERE id IN (SELECT value FROM json_each(?))",
                (ids,),
            ).fetchall()
        )
        stamps = dict(
            connection.execute(
                f'SELECT "Id", "SystemModstamp" FROM "{sobject.name}" '
                'WHERE "Id" IN (SELECT value FROM json_each(?))',
                (ids,),
            ).fetchall()
        )
        fresh: dict[str, dict[str, SqlValue]] = {}
        for record in stored:
            record_id = str(record["Id"])
            if record_id in fresh:
                fresh[record_id].update(record)
                continue
            if record_id not in stamps:
                fresh[record_id] = record
                continue
            known = json.loads(before.get(record_id, "{}"))
            changed = {k: v for k, v in record.items() if k not in known or known[k] != v}
            for name in ("LastModifiedDate", "SystemModstamp"):
                if name in changed and str(changed[name]) < str(stamps[record_id]):
                    del changed[name]
            if changed:
                names = ", ".join(f'"{name}" = ?' for name in changed)
                connection.execute(
                    f'UPDATE "{sobject.name}" SET {names} WHERE "Id" = ?',
                    (*changed.values(), record_id),
                )
        if fresh:
            names_of = [f.name for f in sobject.stored_fields if not f.generated]
            marks = ", ".join("?" * len(names_of))
            columns = ", ".join(f'"{name}"' for name in names_of)
            defaults = {f.name: _default(f.kind, f.default) for f in sobject.stored_fields}
            connection.executemany(
                f'INSERT INTO "{sobject.name}" ({columns}) VALUES ({marks})',
                [
                    [record.get(name, defaults[name]) for name in names_of]
                    for record in fresh.values()
                ],
            )
        connection.executemany(
            "INSERT OR REPLACE INTO _company VALUES (?, ?)",
            [(str(record["Id"]), json.dumps(record)) for record in stored],
        )

    def _name_authors(self, connection: sqlite3.Connection, names: Iterable[str]) -> None:
        """Every record has an author; the company names none, so it is the owner or an admin."""
        admin = connection.execute('SELECT min("Id") FROM "User"').fetchone()[0]
        for name in names:
            sobject = self.schema.find(name)
            owner = '"OwnerId"' if sobject and sobject.find("OwnerId") else "NULL"
            for author in ("CreatedById", "LastModifiedById"):
                if sobject is None or sobject.find(author) is None:
                    continue
                connection.execute(
                    f'UPDATE "{name}" SET "{author}" = ifnull({owner}, ?) WHERE "{author}" IS NULL',
                    (admin,),
                )

    def _add_organization(self, connection: sqlite3.Connection) -> None:
        stamp = self.stamp()
        connection.execute(
            'INSERT OR IGNORE INTO "Organization" ("Id", "Name", "OrganizationType", "IsSandbox", '
            '"InstanceName", "DefaultLocaleSidKey", "LanguageLocaleKey", "TimeZoneSidKey", '
            '"FiscalYearStartMonth", "CreatedDate", "LastModifiedDate", "SystemModstamp") '
            "VALUES (?, 'Sandbox Company', 'Enterprise Edition', 1, 'SBX0', 'en_US', 'en_US', "
            "'America/Los_Angeles', 1, ?, ?, ?)",
            (ORGANIZATION_ID, stamp, stamp, stamp),
        )
        for number, (name, is_admin) in enumerate(_PROFILES.items(), 1):
            connection.execute(
                'INSERT OR IGNORE INTO "Profile" ("Id", "Name", "UserType", "PermissionsApiEnabled", '
                '"PermissionsViewAllData", "PermissionsModifyAllData", "CreatedDate", '
                '"LastModifiedDate", "SystemModstamp") VALUES (?, ?, \'Standard\', 1, ?, ?, ?, ?, ?)',
                (make_id("00e", number), name, is_admin, is_admin, stamp, stamp, stamp),
            )

    def _integration_user(self) -> tuple[str, str]:
        """The user behind all logins: the company's first active one, or one of our own."""
        found = self._writer.execute(
            'SELECT "Id", "Username" FROM "User" WHERE "IsActive" = 1 AND "Username" IS NOT NULL '
            'ORDER BY "Id" LIMIT 1'
        ).fetchone()
        if found:
            return str(found[0]), str(found[1])
        username = Credentials().username
        with self.writing() as connection:
            user_id = self.new_ids(connection, "005", 1)[0]
            stamp = self.stamp()
            connection.execute(
                'INSERT INTO "User" ("Id", "Username", "LastName", "Name", "Email", "IsActive", '
                '"CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", '
                "\"SystemModstamp\") VALUES (?, ?, 'Integration', 'Integration', ?, 1, "
                "?, ?, ?, ?, ?)",
                (user_id, username, username, stamp, user_id, stamp, user_id, stamp),
            )
        return user_id, username

    def manifest(self, base_url: str) -> dict[str, str]:
        """What a client must know, by the vendor's words."""
        known = self.credentials
        return {
            "base_url": base_url,
            "login_url": base_url,
            "client_id": known.client_id,
            "client_secret": known.client_secret,
            "username": known.username,
            "password": known.password,
            "security_token": known.security_token,
            "refresh_token": known.refresh_token,
            "api_version": DEFAULT_API_VERSION,
        }


def _default(kind: str, value: object) -> SqlValue:
    if kind == "boolean":
        return int(bool(value))
    return value if isinstance(value, str) else None


def _company_record(sobject: SObject, row: Mapping[str, object], stamp: str) -> dict[str, SqlValue]:
    record: dict[str, SqlValue] = {}
    for name, value in row.items():
        field = sobject.find(name)
        if field is None:
            raise ValueError(f"the company has a field that is unknown: {sobject.name}.{name}")
        if not field.generated:
            record[field.name] = from_company(field, value)
    if parse_id(record.get("Id")) is None:
        raise ValueError(f"the company has a {sobject.name} without a Salesforce id: {row!r}")
    if sobject.name == "User" and record.get("Name") and not record.get("LastName"):
        first, _, last = str(record["Name"]).rpartition(" ")
        record["FirstName"], record["LastName"] = first or None, last
    for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp"):
        if sobject.find(name) and record.get(name) is None:
            # A record without times was made when its day began to be applied.
            record[name] = record.get("SystemModstamp") or record.get("CreatedDate") or stamp
    if sobject.has_is_deleted:
        record.setdefault("IsDeleted", 0)
    return record
