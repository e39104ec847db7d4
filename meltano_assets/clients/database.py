"""Reading other people's Postgres: one read-only snapshot, rows streamed by COPY.

Belongs here: connection, snapshot, COPY, what failures mean. Does not belong here: which tables
(``sources/``) and the warehouse (``warehouse/``), which is ours to write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from meltano_assets.errors import FatalError, PlatformError, RetriableError

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

#: Rows are handed on in pieces of about so many bytes.
CHUNK_BYTES = 4 << 20
_CONNECT_SECONDS = 10
#: SQLSTATE classes and codes after which another try may succeed.
_PASSING = frozenset({"08", "40", "53", "57", "58"})
_TIMED_OUT = frozenset({"25P03", "25P04"})
_LOGIN_WORDS = ("password authentication failed", "no password supplied", "authentication failed")
_MISSING_WORDS = ("does not exist", "no pg_hba.conf entry", "is not permitted to log in")


class Snapshot:
    """One consistent view of a database, open for as long as its connection."""

    def __init__(self, connection: psycopg.Connection, source: str) -> None:
        self._connection = connection
        self._source = source
        self.queries = 0

    def columns(self, schema: str, table: str) -> dict[str, str]:
        """The table's columns and their types as Postgres writes them; empty without the table."""
        rows = self._connection.execute(
            """
            select a.attname, format_type(a.atttypid, a.atttypmod)
            from pg_attribute a
            join pg_class c on c.oid = a.attrelid
            join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped
            order by a.attnum
            """,
            (schema, table),
        ).fetchall()
        self.queries += 1
        return {str(name): str(kind) for name, kind in rows}

    def count(self, schema: str, table: str) -> int:
        """How many rows the table has."""
        from psycopg import sql

        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
        row = self._connection.execute(query).fetchone()
        self.queries += 1
        return int(row[0]) if row else 0

    def copy_csv(self, query: sql.Composable, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The query's rows as CSV without header, in pieces of whole rows.

        NULL is an empty cell, the empty text is ``""``.
        """
        from psycopg import sql

        statement = sql.SQL("copy ({}) to stdout (format csv)").format(query)
        chunk = bytearray()
        self.queries += 1
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in copy:
                chunk += row
                if len(chunk) >= chunk_bytes:
                    yield bytes(chunk)
                    chunk.clear()
        if chunk:
            yield bytes(chunk)


class Database:
    """A Postgres database by its URL. ``hint`` says where the URL is set."""

    def __init__(
        self,
        url: str,
        *,
        source: str,
        hint: str | None = None,
        statement_timeout_seconds: int = 3600,
    ) -> None:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        if not url.startswith(("postgresql://", "postgres://")):
            raise FatalError("the address is no postgresql:// URL", source=source, hint=hint)
        try:
            self._parameters = conninfo_to_dict(url)
        except ProgrammingError:
            raise FatalError("the URL is malformed", source=source, hint=hint) from None
        self._url = url
        self._source = source
        self._hint = hint
        self._timeout_seconds = statement_timeout_seconds

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A read-only snapshot; psycopg's errors inside come out as ours."""
        import psycopg

        try:
            connection = psycopg.connect(
                self._url,
                connect_timeout=_CONNECT_SECONDS,
                application_name=f"meltano-assets read {self._source}",
                options=self._options(),
            )
        except psycopg.Error as error:
            raise self._refusal(error) from None
        try:
            with connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                yield Snapshot(connection, self._source)
        except psycopg.Error as error:
            raise self._failure(error) from None

    def _options(self) -> str:
        settings: Sequence[tuple[str, object]] = (
            ("statement_timeout", f"{self._timeout_seconds}s"),
            ("idle_in_transaction_session_timeout", f"{self._timeout_seconds}s"),
            ("timezone", "UTC"),
            ("datestyle", "ISO"),
            ("intervalstyle", "iso_8601"),
            ("client_encoding", "UTF8"),
        )
        return " ".join(f"-c {name}={value}" for name, value in settings)

    def _refusal(self, error: psycopg.Error) -> PlatformError:
        """Why there is no connection; never the server's own words, which may hold the URL."""
        words = str(error)
        if any(word in words for word in _LOGIN_WORDS):
            return FatalError("the credentials were refused", source=self._source, hint=self._hint)
        if any(word in words for word in _MISSING_WORDS):
            return FatalError(
                "the server does not let this user into this database",
                source=self._source,
                hint=self._hint,
            )
        return RetriableError(
            f"cannot reach the database at {self._place()}",
            source=self._source,
            hint=self._hint or "try again later",
        )

    def _failure(self, error: psycopg.Error) -> PlatformError:
        """What a failed statement means; without DETAIL, which holds values."""
        code = error.sqlstate or ""
        name = type(error).__name__
        if code.startswith("42"):
            message = error.diag.message_primary or name
            return FatalError(f"the query was refused: {message}", source=self._source)
        if not code or code[:2] in _PASSING or code in _TIMED_OUT:
            return RetriableError(
                f"the read broke off ({name})", source=self._source, hint="try again later"
            )
        return FatalError(f"the read failed ({name}, {code})", source=self._source)

    def _place(self) -> str:
        host = self._parameters.get("host") or "localhost"
        return f"{host}:{self._parameters.get('port', 5432)}"
