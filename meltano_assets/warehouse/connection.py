"""Connections to the warehouse, and what its failures are called here.

Belongs here: opening a connection with the guards that every statement runs under, and turning
psycopg's errors into ours. Does not belong here: any SQL of a load (``load.py``), the embedded
server (``server.py``).

Postgres repeats rows in DETAIL and CONTEXT, and for malformed values even in the message itself.
None of that may reach a log, so whatever leaves ``Warehouse.connect`` has been through
``platform_error``. Inside the block psycopg's own errors can be caught as usual.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from meltano_assets.errors import FatalError, PlatformError, RetriableError

APPLICATION = "meltano-assets"
CONNECT_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_SECONDS = 3600
#: Longer than the longest retry of a vendor's page: a load may wait inside its transaction.
IDLE_TIMEOUT_SECONDS = 1800

#: The first version that has ``transaction_timeout``.
_HAS_TRANSACTION_TIMEOUT = 170000

_HINT_URL = "write it as postgresql://user:password@host:port/database, special characters as %XX"
_HINT_LOGIN = "check user and password in MELTANO_WAREHOUSE_URL (special characters as %XX)"
_HINT_REACH = "is the server running, and does MELTANO_WAREHOUSE_URL name the right host and port?"

#: A dead peer is noticed after about a minute instead of two hours.
_KEEPALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}

#: SQLSTATE classes and codes where the same statement may succeed later.
_RETRIABLE_CLASSES = ("08", "53", "58")
_RETRIABLE_CODES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "40003",  # statement completion unknown
        "55P03",  # lock not available
        "55006",  # object in use
        "57014",  # cancelled, as by statement_timeout
        "57P01",  # server is shutting down
        "57P02",  # server crashed
        "57P03",  # server is starting
        "57P05",  # idle session timeout
        "25P03",  # idle in transaction
        "25P04",  # transaction timeout
    }
)
_HINTS = {
    "23502": "the column takes no null and the stream has no value for it: let the stream deliver it,"
    " give the column a default, or `alter table … alter column … drop not null`",
    "23503": "load the table that is referred to first, or drop the foreign key",
    "23505": "the table holds such a value once: declare what is unique as the stream's primary key, or"
    " drop the constraint",
    "23514": "the table's own constraint refuses a record, or no partition takes it: correct the record,"
    " drop the constraint or create the partition",
    "23P01": "the table's own constraint refuses a record: correct the record or drop the constraint",
    "22P05": "the database's encoding cannot hold this character: create the database with"
    " `encoding 'UTF8' template template0`",
    "25006": "the database is a standby, or it or the role has default_transaction_read_only: name the"
    " primary in MELTANO_WAREHOUSE_URL, or set it off",
    "42501": "the role of MELTANO_WAREHOUSE_URL lacks this right; grant it or use another role. Where row"
    " security is forced, a policy has to let it read and write every row",
    "42P05": "a pooler hands sessions on as they are: set `server_reset_query = DISCARD ALL` there, or name the"
    " server itself in MELTANO_WAREHOUSE_URL",
    "42710": "something else has this name; rename it, or load into another table",
    "42809": "its shape follows from another object: change that one, or load into another table",
    "P0001": "a trigger or function of the database refuses it; what it says is left out, since it may"
    " hold values",
    "53100": "free disk space on the database server",
    "53300": "too many connections; close some or raise max_connections",
    "57014": "it ran into statement_timeout or was cancelled",
    "25P03": "the transaction stood idle for too long",
    "3D000": "create the database, or correct its name in MELTANO_WAREHOUSE_URL",
}
#: The server says why it refused a connection only as text; libpq passes no SQLSTATE on.
_REFUSALS: tuple[tuple[str, type[PlatformError], str, str], ...] = (
    (r"password authentication failed|no password supplied", FatalError, "login refused", "login"),
    (r'role ".*" does not exist', FatalError, "the user does not exist", "login"),
    (r"is not permitted to log in", FatalError, "the user may not log in", "login"),
    (r"authentication failed", FatalError, "login refused", "login"),
    (r'database ".*" does not exist', FatalError, "the database does not exist", "3D000"),
    (
        r"permission denied for database",
        FatalError,
        "the user may not connect to the database",
        "42501",
    ),
    (r"no pg_hba.conf entry", FatalError, "the server does not admit this user from here", "login"),
    (
        r"server does not support SSL|SSL off|certificate|sslmode|sslrootcert",
        FatalError,
        "the TLS settings do not fit the server",
        "tls",
    ),
    (r"too many (clients|connections)|remaining connection slots", RetriableError, "full", "53300"),
    (
        r"starting up|shutting down|recovery",
        RetriableError,
        "the server is not ready yet",
        "moment",
    ),
    (r"could not translate host name|Name or service|name resolution", RetriableError, "", "reach"),
)
_REFUSAL_HINTS = _HINTS | {
    "login": _HINT_LOGIN,
    "tls": "check sslmode and sslrootcert in MELTANO_WAREHOUSE_URL",
    "moment": "try again in a moment",
    "reach": _HINT_REACH,
}


class Warehouse:
    """A Postgres database by its URL. Holds no connection; opens one for each ``connect``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._parameters = _parse(url)

    def __repr__(self) -> str:
        return f"Warehouse({self.place!r})"

    @property
    def parameters(self) -> Mapping[str, str]:
        """The connection's parts by libpq's words (host, port, user, password, dbname, sslmode)."""
        return MappingProxyType(self._parameters)

    @property
    def place(self) -> str:
        """``host:port/database`` for people: never the password."""
        given = self._parameters.get("host") or self._parameters.get("hostaddr") or "localhost"
        hosts = [f"[{host}]" if ":" in host else host for host in given.split(",")]
        ports = self._parameters.get("port", "5432").split(",")
        # One port may stand for all hosts.
        ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
        places = [f"{host}:{port or 5432}" for host, port in zip(hosts, ports, strict=True)]
        return f"{','.join(places)}/{self.database}"

    @property
    def database(self) -> str:
        """The database's name; libpq takes the user's where none is given."""
        return self._parameters.get("dbname") or self._parameters.get("user", "")

    def with_database(self, name: str) -> Warehouse:
        """The same server and login, another database."""
        parts = self._parameters | {"dbname": name}
        login = quote(parts.pop("user", ""), safe="")
        if password := parts.pop("password", ""):
            login += ":" + quote(password, safe="")
        host = parts.pop("host", "")
        host = f"[{host}]" if ":" in host and not host.startswith("/") else quote(host, safe=",")
        port = f":{quote(parts.pop('port'), safe=',')}" if "port" in parts else ""
        database = quote(parts.pop("dbname"), safe="")
        query = "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in parts.items())
        at = f"{login}@" if login else ""
        return Warehouse(f"postgresql://{at}{host}{port}/{database}" + (f"?{query}" * bool(query)))

    @contextmanager
    def connect(
        self,
        *,
        autocommit: bool = False,
        application_name: str = APPLICATION,
        statement_timeout_seconds: float = STATEMENT_TIMEOUT_SECONDS,
        idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS,
    ) -> Iterator[psycopg.Connection]:
        """An open connection: committed at the end, rolled back on an error, then closed.

        The session runs in UTC and UTF-8, whatever is set for database and role. A psycopg error that leaves the block becomes a
        FatalError or RetriableError without any row's values; others pass unchanged.
        """
        connection = self._open(application_name)
        try:
            with connection:
                process = _set_up(connection, statement_timeout_seconds, idle_timeout_seconds)
                if process != connection.info.backend_pid:
                    self._refuse_shared_sessions(connection)
                connection.autocommit = autocommit
                yield connection
        except psycopg.Error as error:
            raise platform_error(error, place=self.place) from None
        except BaseException as error:
            _redact_chain(error)
            raise

    @contextmanager
    def held(self, *, application_name: str = APPLICATION) -> Iterator[Warehouse]:
        """The same database for a row of short questions: they share one connection.

        Opening one costs more than most questions. Each ``connect`` is a transaction of its own as
        ever; one with settings of its own, or inside another, gets a connection of its own.
        """
        held = _Held(self.url, application_name)
        try:
            yield held
        finally:
            held.close()

    def _open(self, application_name: str) -> psycopg.Connection:
        given = _KEEPALIVE | {"connect_timeout": str(CONNECT_TIMEOUT_SECONDS)} | self._parameters
        given |= {"application_name": application_name[:63], "client_encoding": "utf8"}
        # Outside the handler below, so that the driver's own text is not chained to ours.
        refusal: PlatformError
        try:
            return psycopg.connect(make_conninfo("", **given), autocommit=True)
        except psycopg.Error as error:
            refusal = self._refusal(error)
        raise refusal

    def _refuse_shared_sessions(self, connection: psycopg.Connection) -> None:
        """FatalError when a pooler gives one server process to several sessions in turn.

        What answered named another process than the one that works for us, so it is a pooler. One that
        pools whole sessions keeps a process for each connection.
        """
        ask = "select pg_backend_pid()"
        ours, theirs = set(), set()
        with self._open(APPLICATION) as other:
            for _ in range(3):
                ours.add(connection.execute(ask).fetchone())
                theirs.add(other.execute(ask).fetchone())
        if len(ours | theirs) != 2 or len(ours) != 1:
            raise FatalError(
                f"warehouse {self.place}: a pooler there gives each transaction another session, and a"
                " load needs one of its own for its locks, settings and temporary tables",
                hint="name the server itself in MELTANO_WAREHOUSE_URL, or a pool in session mode",
            )

    def _refusal(self, error: psycopg.Error) -> PlatformError:
        text = str(error)
        for pattern, kind, words, hint in _REFUSALS:
            if words and re.search(pattern, text, re.IGNORECASE):
                return kind(f"warehouse {self.place}: {words}", hint=_REFUSAL_HINTS[hint])
        password = self._parameters.get("password")
        reason = text.rsplit("failed: ", 1)[-1].strip().splitlines()[0] if text.strip() else ""
        if password:
            reason = reason.replace(password, "***")
        message = f"warehouse {self.place} is not reachable"
        return RetriableError(f"{message}: {reason}" if reason else message, hint=_HINT_REACH)


class _Held(Warehouse):
    """A database whose connection stays open from one ``connect`` to the next."""

    def __init__(self, url: str, application_name: str) -> None:
        super().__init__(url)
        self._application_name = application_name
        self._open_blocks = ExitStack()
        self._connection: psycopg.Connection | None = None
        self._is_in_use = False

    @contextmanager
    def connect(self, **settings: Any) -> Iterator[psycopg.Connection]:
        if settings or self._is_in_use:
            with super().connect(**settings) as own:
                yield own
            return
        if self._connection is None or self._connection.closed:
            self.close()
            self._connection = self._open_blocks.enter_context(
                super().connect(application_name=self._application_name)
            )
        self._is_in_use = True
        try:
            yield self._connection
            self._connection.commit()
        except BaseException:
            # It ends here as any other connection does: rolled back, its error in our words.
            self._open_blocks.__exit__(*sys.exc_info())
            raise
        finally:
            self._is_in_use = False

    def close(self) -> None:
        """Give the connection back."""
        self._open_blocks.close()
        self._connection = None


def platform_error(error: psycopg.Error, *, place: str = "") -> PlatformError:
    """What the runner should do about a database error, in words that hold no row's values.

    The given error is redacted too, so that no traceback that shows it can tell more.
    """
    code = error.sqlstate or ""
    words = _safe_message(error)
    connection_lost = not code and isinstance(error, psycopg.OperationalError)
    kind = (
        RetriableError
        if connection_lost or code[:2] in _RETRIABLE_CLASSES or code in _RETRIABLE_CODES
        else FatalError
    )
    where = f"warehouse {place}" if place else "warehouse"
    hint = _HINTS.get(code, _HINT_REACH if connection_lost else None)
    _redact_chain(error)
    return kind(f"{where}: {words}", hint=hint)


def libpq_variables(parts: Mapping[str, str]) -> dict[str, str]:
    """Parts of an address as libpq's own variables, as far as it has one for them."""
    return {
        option.envvar.decode(): parts[option.keyword.decode()]
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar and option.keyword.decode() in parts
    }


def _parse(url: str) -> dict[str, str]:
    """The URL's parts; FatalError (without the text, which holds a password) if it has none."""
    parts: dict[str, str] | None
    try:
        parts = {
            key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None
        }
    except psycopg.Error:
        parts = None
    if parts is None:
        raise FatalError("the warehouse's URL cannot be read", hint=_HINT_URL)
    # An unescaped @ or / in the password ends up in the host or the port, and so in messages.
    ports = parts.get("port", "5432").split(",")
    if "@" in parts.get("host", "") or not all(port.isdigit() or not port for port in ports):
        raise FatalError("the warehouse's URL cannot be read", hint=_HINT_URL)
    return parts


def _set_up(connection: psycopg.Connection, statement_seconds: float, idle_seconds: float) -> int:
    """The settings under which our statements mean what they say and end when they should.

    Returns the number of the server process that works for us.
    """
    settings = {
        "timezone": "UTC",
        "datestyle": "ISO, MDY",
        "intervalstyle": "postgres",
        # Names of types and definitions as we compare them, numbers with all their digits.
        "quote_all_identifiers": "off",
        "extra_float_digits": "1",
        "statement_timeout": _milliseconds(statement_seconds),
        "idle_in_transaction_session_timeout": _milliseconds(idle_seconds),
        # The server notices a dead client, too, and gives its locks back.
        **{f"tcp_{name}": value for name, value in _KEEPALIVE.items()},
        # Between checkpoints a load waits for its source.
        "idle_session_timeout": _milliseconds(idle_seconds),
    }
    if connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
        # A checkpoint is one transaction, as long as it takes.
        settings["transaction_timeout"] = "0"
    row = connection.execute(
        "select pg_backend_pid(), " + ", ".join(["set_config(%s, %s, false)"] * len(settings)),
        [part for setting in settings.items() for part in setting],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _milliseconds(seconds: float) -> str:
    return str(max(0, round(seconds * 1000)))


def _safe_message(error: psycopg.Error) -> str:
    """The primary message and the place (table, column, constraint, COPY line); no values."""
    diagnosis = error.diag
    message = diagnosis.message_primary or str(error).strip().split("\n", 1)[0]
    code = error.sqlstate or ""
    if diagnosis.source_function == "exec_stmt_raise" or re.match(
        r"PL/(?!pgSQL)\S+ ", diagnosis.context or ""
    ):
        # What people have their triggers say often holds the row.
        message = "a trigger or function refused"
        if found := re.match(r"\S+ \S+ ([\w.\"]+)\(", diagnosis.context or ""):
            message = f"the function {found[1]} refused"
    # A syntax error without a place in the statement is one in a value, of a tsvector or the like.
    is_in_value = code == "42601" and not diagnosis.statement_position
    if code.startswith("22") or is_in_value or (not code and isinstance(error, psycopg.DataError)):
        # invalid input syntax for type integer: "the value" / encoding "UTF8": 0xff
        message = re.sub(r'".*("|$)', "…", message, flags=re.DOTALL)
        message = re.sub(r":\s*(0x|\S*\d)[^…]*$", ": …", message)
        message = re.sub(r"0x[0-9a-f]{2}( 0x[0-9a-f]{2})*", "…", message)
    named = {
        "table": ".".join(filter(None, [diagnosis.schema_name, diagnosis.table_name])),
        "column": diagnosis.column_name,
        "constraint": diagnosis.constraint_name,
    }
    places = [f"{word} {name}" for word, name in named.items() if name and name not in message]
    copied = re.match(r"COPY (\S+), line (\d+)(?:, column ([^:\s]+))?", diagnosis.context or "")
    if copied:
        column = f", column {copied[3]}" if copied[3] else ""
        places.append(f"COPY {copied[1]}, line {copied[2]}{column}")
    suffix = f" [{', '.join(places)}]" if places else ""
    return f"{message}{suffix}" + (f" ({code})" if code else "")


def _redact_chain(error: BaseException) -> None:
    """Take row values out of every psycopg error that this one was raised from or during."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, psycopg.Error) and not getattr(current, "is_redacted", False):
            current.args = (_safe_message(current),)
            current.is_redacted = True  # type: ignore[attr-defined]
        pending += [current.__cause__, current.__context__]
