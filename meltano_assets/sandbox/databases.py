"""The company's own databases in a real Postgres: versions, customers, licenses, CI statistics.

Each is read by a login of its own that may only read. The tables are the applications': times
without zone (UTC), ``stats`` as ``json``. The rows follow the company's days; which days are in is
kept beside them, so that a restart adds what is missing and nothing twice. A database of another
company is made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.fault_kinds import KINDS
from meltano_assets.sandbox.faults import Fault, FaultBox

Connection = psycopg.Connection[tuple[object, ...]]

_TIME = "timestamp without time zone"
_TEXT = "character varying"


def _table(columns: dict[str, str], *, is_stamped: bool = True) -> dict[str, str]:
    stamps = {"created_at": f"{_TIME} not null", "updated_at": f"{_TIME} not null"}
    return {"id": "integer primary key", **columns, **(stamps if is_stamped else {})}


def _users(address: str) -> dict[str, str]:
    return _table(
        {
            "email": f"{_TEXT} not null",
            "sign_in_count": "integer not null default 0",
            "current_sign_in_at": _TIME,
            "last_sign_in_at": _TIME,
            "current_sign_in_ip": address,
            "last_sign_in_ip": address,
            "failed_attempts": "integer not null default 0",
            "locked_at": _TIME,
            "provider": _TEXT,
            "uid": _TEXT,
        }
    )


_INDEX_SUBJECTS = (
    "boards",
    "ci_pipelines",
    "deployments",
    "environments",
    "issues",
    "merge_requests",
    "milestones",
    "notes",
    "projects_prometheus_active",
    "service_desk_issues",
)

_VERSION: dict[str, dict[str, str]] = {
    "hosts": {
        "id": "integer primary key",
        "url": "character varying",
        "created_at": "timestamp without time zone not null",
        "updated_at": "timestamp without time zone not null",
        "star": "boolean not null default false",
        "fortune_rank": "integer",
        "in_salesforce": "boolean not null default false",
    },
    "versions": {
        "id": "integer primary key",
        "version": "character varying not null",
        "vulnerable": "boolean not null default false",
        "created_at": "timestamp without time zone",
        "updated_at": "timestamp without time zone",
    },
    "version_checks": {
        "id": "integer primary key",
        "request_data": "text",
        "created_at": "timestamp without time zone not null",
        "updated_at": "timestamp without time zone not null",
        "gitlab_version": "character varying",
        "referer_url": "character varying",
        "host_id": "integer",
    },
    "usage_data": {
        "id": "integer primary key",
        "source_ip": "character varying",
        "version": "character varying",
        "active_user_count": "integer",
        "license_add_ons": "character varying",
        "installation_type": "character varying",
        "license_id": "integer",
        "license_starts_at": "timestamp without time zone",
        "license_expires_at": "timestamp without time zone",
        "license_user_count": "integer",
        "license_restricted_user_count": "integer",
        "historical_max_users": "integer",
        "uuid": "character varying",
        "edition": "character varying",
        "hostname": "character varying",
        "host_id": "integer",
        "mattermost_enabled": "boolean",
        "recorded_at": "timestamp without time zone",
        "created_at": "timestamp without time zone not null",
        "updated_at": "timestamp without time zone not null",
        "counts": "text",
        "stats": "json",
    },
    "licenses": _table(
        {
            "company": _TEXT,
            "user_count": "integer",
            "add_ons": _TEXT,
            "starts_on": "date",
            "expires_on": "date",
            "active_users_count": "integer",
            "historical_max_users_count": "integer",
            "last_ping_received_at": _TIME,
            "version": _TEXT,
        }
    ),
    "conversational_development_indices": _table(
        {
            "usage_data_id": "integer not null",
            **{
                f"{kind}_{subject}": "double precision not null"
                for subject in _INDEX_SUBJECTS
                for kind in ("leader", "instance", "percentage")
            },
        }
    ),
    "fortune_companies": _table({"rank": "integer", "company": _TEXT, "domain": _TEXT}),
    "users": _users("inet"),
}
_CUSTOMERS: dict[str, dict[str, str]] = {
    "customers": _table(
        {
            "zuora_account_id": _TEXT,
            "salesforce_account_id": _TEXT,
            "billable": "boolean not null default false",
            "sign_in_count": "integer not null default 0",
            "current_sign_in_at": _TIME,
            "last_sign_in_at": _TIME,
        }
    ),
    "orders": _table(
        {
            "customer_id": "integer",
            "product_rate_plan_id": _TEXT,
            "subscription_id": _TEXT,
            "subscription_name": _TEXT,
            "start_date": "date",
            "end_date": "date",
            "quantity": "integer",
        }
    ),
    "versions": _table(
        {
            "item_type": f"{_TEXT} not null",
            "item_id": "integer not null",
            "event": f"{_TEXT} not null",
            "transaction_id": "integer",
            "created_at": _TIME,
        },
        is_stamped=False,
    ),
}
_LICENSE: dict[str, dict[str, str]] = {
    "licenses": _table(
        {
            "company": _TEXT,
            "users_count": "integer",
            "expires_at": "date",
            "recurly_subscription_id": _TEXT,
            "plan_name": _TEXT,
            "starts_at": "date",
            "zuora_subscription_id": _TEXT,
            "previous_users_count": "integer",
            "trueup_quantity": "integer",
            "trueup_from": "date",
            "trueup_to": "date",
            "plan_code": _TEXT,
            "trial": "boolean default false",
        }
    ),
    "add_ons": _table({"name": _TEXT, "code": _TEXT}),
    "granted_add_ons": _table(
        {"license_id": "integer", "add_on_id": "integer", "quantity": "integer"}
    ),
    "plans": _table({"recurly_code": _TEXT, "users_count": "integer", "recurly_name": _TEXT}),
    "users": _users(_TEXT),
}
_CI_STATS: dict[str, dict[str, str]] = {
    "spec_profiling_results": _table(
        {
            "commit": _TEXT,
            "date": _TIME,
            "file": "text",
            "line_number": "integer",
            "description": "text",
            "time": "numeric",
            "status": _TEXT,
            "exception": "text",
            "query_count": "integer",
            "query_time": "numeric",
            "request_count": "integer",
            "request_time": "numeric",
            "branch": _TEXT,
        }
    ),
}
#: Database → table → column → its type.
DATABASES = {
    "version": _VERSION,
    "customers": _CUSTOMERS,
    "license": _LICENSE,
    "ci_stats": _CI_STATS,
}
_TITLES = {
    "version": "version database",
    "customers": "customers database",
    "license": "license database",
    "ci_stats": "CI statistics database",
}
_INDEXED = ("version_checks", "usage_data", "spec_profiling_results", "orders")
#: Makes each company's database its own; a change of the tables' form belongs in here, too.
_FORM = 2


@dataclass(frozen=True, slots=True)
class Login:
    """How clients reach the database."""

    host: str
    port: int
    dbname: str
    user: str
    password: str

    @property
    def url(self) -> str:
        """The connection as one URL."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.dbname}"


class CompanyDatabase:
    """Creates, fills and advances one of the databases in the Postgres of a superuser's URL."""

    def __init__(
        self, company: Company, name: str, postgres_url: str, database: str, password: str
    ) -> None:
        self._company = company
        self._admin_url = postgres_url
        self._database = database
        self._reader = f"{database}_reader"
        self._password = password
        self.name = name
        self.title = f"{_TITLES[name]} (Postgres)"
        self._tables = DATABASES[name]
        self.faults = FaultBox(KINDS[name])
        self._is_refusing = False

    def prepare(self, day: int) -> Login:
        """The database with all days up to ``day``; safe to call again."""
        with psycopg.connect(self._admin_url, autocommit=True) as admin:
            self._ensure_role(admin)
            if self._is_foreign(admin, day):
                name = sql.Identifier(self._database)
                admin.execute(sql.SQL("drop database {} with (force)").format(name))
            if not self._exists(admin):
                name = sql.Identifier(self._database)
                admin.execute(
                    sql.SQL("create database {} template template0 encoding 'UTF8'").format(name)
                )
            info = admin.info
            host, port = info.host or "127.0.0.1", info.port
        self.advance_to(day)
        return Login(host, port, self._database, self._reader, self._password)

    def advance_to(self, day: int) -> None:
        """Add the days that are missing, each in one transaction."""
        with self._connect() as connection:
            self._ensure_tables(connection)
            row = connection.execute("select day from sandbox.company").fetchone()
            done = int(str(row[0])) if row else -1
            for next_day in range(done + 1, day + 1):
                with connection.transaction():
                    self._add_day(connection, next_day)

    def take_faults(self) -> None:
        """Carry out what was armed: this service's faults act on the database at once."""
        if fault := self.faults.take("change_schema"):
            self._change_schema(fault)
            self.faults.clear("change_schema")
        if self.faults.take("terminate"):
            self._terminate()
        is_refusing = any(status["kind"] == "refuse" for status in self.faults.status())
        if is_refusing == self._is_refusing:
            return
        with psycopg.connect(self._admin_url, autocommit=True) as admin:
            login = sql.SQL("nologin" if is_refusing else "login")
            admin.execute(sql.SQL("alter role {} {}").format(sql.Identifier(self._reader), login))
        self._is_refusing = is_refusing
        if is_refusing:
            self._terminate()

    def _connect(self) -> Connection:
        return psycopg.connect(
            self._admin_url, dbname=self._database, application_name="sandbox", autocommit=True
        )

    def _ensure_role(self, admin: Connection) -> None:
        role = sql.Identifier(self._reader)
        found = admin.execute(
            "select 1 from pg_roles where rolname = %s", [self._reader]
        ).fetchone()
        if not found:
            admin.execute(sql.SQL("create role {}").format(role))
        # Whoever served this company before may have ended while logins were refused.
        admin.execute(
            sql.SQL("alter role {} login password {}").format(role, sql.Literal(self._password))
        )
        admin.execute(sql.SQL("alter role {} set default_transaction_read_only = on").format(role))

    def _exists(self, admin: Connection) -> bool:
        query = "select 1 from pg_database where datname = %s"
        return admin.execute(query, [self._database]).fetchone() is not None

    def _identity(self) -> str:
        company = self._company
        return f"form {_FORM}, seed {company.seed}, scale {company.scale}, today {company.today}"

    def _is_foreign(self, admin: Connection, day: int) -> bool:
        """True for the database of another company, or of this one in a future life."""
        if not self._exists(admin):
            return False
        with self._connect() as connection:
            if connection.execute("select to_regclass('sandbox.company')").fetchone() == (None,):
                return (
                    connection.execute(
                        "select 1 from pg_tables where schemaname = 'public'"
                    ).fetchone()
                    is not None
                )
            row = connection.execute("select identity, day from sandbox.company").fetchone()
            return row is not None and (row[0] != self._identity() or int(str(row[1])) > day)

    def _ensure_tables(self, connection: Connection) -> None:
        with connection.transaction():
            if connection.execute("select to_regclass('sandbox.company')").fetchone() != (None,):
                return
            connection.execute("create schema sandbox")
            connection.execute("create table sandbox.company (identity text, day integer)")
            for table, columns in self._tables.items():
                definition = sql.SQL(", ").join(
                    sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
                    for name, kind in columns.items()
                )
                connection.execute(
                    sql.SQL("create table public.{} ({})").format(sql.Identifier(table), definition)
                )
            for table in self._tables.keys() & set(_INDEXED):
                connection.execute(
                    sql.SQL("create index on public.{} (updated_at)").format(sql.Identifier(table))
                )
            reader = sql.Identifier(self._reader)
            name = sql.Identifier(self._database)
            connection.execute("revoke create on schema public from public")
            connection.execute(sql.SQL("revoke all on database {} from public").format(name))
            connection.execute(sql.SQL("grant connect on database {} to {}").format(name, reader))
            connection.execute(sql.SQL("grant usage on schema public to {}").format(reader))
            connection.execute(
                sql.SQL("grant select on all tables in schema public to {}").format(reader)
            )

    def _add_day(self, connection: Connection, day: int) -> None:
        for table, rows in self._company.database_rows(self.name, day).items():
            _add_rows(connection, table, self._tables[table], rows, is_first=day == 0)
        if day == 0:
            connection.execute(
                "insert into sandbox.company values (%s, %s)", [self._identity(), day]
            )
        else:
            connection.execute("update sandbox.company set day = %s", [day])

    def _terminate(self) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = %s and usename = %s",
                [self._database, self._reader],
            )

    def _change_schema(self, fault: Fault) -> None:
        table = sql.Identifier(
            fault.text(
                "table", "usage_data" if self.name == "version" else next(iter(self._tables))
            )
        )
        added, dropped = fault.options.get("add"), fault.options.get("drop")
        with self._connect() as connection:
            for name, kind in (added if isinstance(added, dict) else {}).items():
                connection.execute(
                    sql.SQL("alter table public.{} add column {} {}").format(
                        table, sql.Identifier(str(name)), sql.SQL(str(kind))
                    )
                )
            for name in dropped if isinstance(dropped, list) else []:
                connection.execute(
                    sql.SQL("alter table public.{} drop column {}").format(
                        table, sql.Identifier(str(name))
                    )
                )


def _add_rows(
    connection: Connection,
    table: str,
    types: Mapping[str, str],
    rows: Sequence[Record],
    *,
    is_first: bool,
) -> None:
    if not rows:
        return
    columns = list(types)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    target = sql.SQL("public.{}").format(sql.Identifier(table))
    if not is_first:
        connection.execute(
            sql.SQL("create temporary table {} (like {}) on commit drop").format(
                sql.Identifier(f"new_{table}"), target
            )
        )
        into = sql.SQL("{}").format(sql.Identifier(f"new_{table}"))
    else:
        into = target
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("copy {} ({}) from stdin").format(into, names)) as copy,
    ):
        for block in _blocks(rows, columns):
            copy.write(block)
    if not is_first:
        changes = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns[1:]
        )
        connection.execute(
            sql.SQL(
                "insert into {} ({names}) select {names} from {} on conflict (id) do update set {}"
            ).format(target, into, changes, names=names)
        )


def _blocks(rows: Iterable[Record], columns: Sequence[str], size: int = 2_000) -> Iterable[str]:
    lines: list[str] = []
    for row in rows:
        lines.append("\t".join(_text(row.get(name)) for name in columns))
        if len(lines) == size:
            yield "\n".join(lines) + "\n"
            lines = []
    if lines:
        yield "\n".join(lines) + "\n"


def _text(value: object) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    text = str(value)
    for raw, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(raw, escaped)
    return text
