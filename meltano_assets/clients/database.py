"""Reading other people's Postgres: one read-only snapshot, rows streamed by COPY.

Belongs here: connection, snapshot, COPY, what failures mean. Does not belong here: which tables
(``sources/``) and the warehouse (``warehouse/``), which is ours to write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meltano_assets.errors import FatalError, PlatformError, RetriableError

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg
    from psycopg import sql

#: Rows are handed on in pieces of about so many bytes.
CHUNK_BYTES = 4 << 20
_CONNECT_SECONDS = 10
#: From here on a table's rows can be read by ranges of blocks.
_TID_RANGES = 140000
#: SQLSTATE classes and codes after which another try may succeed.
_PASSING = frozenset({"08", "40", "53", "57", "58"})
_TIMED_OUT = frozenset({"25P03", "25P04"})
_LOGIN_WORDS = ("password authentication failed", "no password supplied", "authentication failed")
_MISSING_WORDS = ("does not exist", "no pg_hba.conf entry", "is not permitted to log in")


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What a database says of one of its tables.

    ``types`` are by column, as Postgres writes them; ``kinds`` the letter of each type's category (A
    array, C composite, E enum …). ``indexed`` names the columns that some index begins with,
    ``pages`` is the size in blocks where the rows can be read by block, else 0.
    """

    types: dict[str, str]
    kinds: dict[str, str]
    primary_key: tuple[str, ...]
    indexed: frozenset[str]
    pages: int
    bytes: int
    comments: dict[str, str]
    comment: str


@dataclass(frozen=True, slots=True)
class Transactions:
    """The database's clock, and the span of transaction numbers that may be running: all below
    ``oldest`` have ended, none from ``next`` on has begun.
    """

    at: datetime
    oldest: int
    next: int


class Snapshot:
    """One consistent view of a database, open for as long as its connection."""

    def __init__(self, connection: psycopg.Connection, source: str) -> None:
        self._connection = connection
        self._source = source
        self.queries = 0

    def tables(self, schema: str) -> list[str]:
        """The tables, views and foreign tables of the schema that this user may read."""
        rows = self._connection.execute(
            """
            select c.relname
            from pg_class c
            join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = %s and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
                and has_table_privilege(c.oid, 'select')
            order by c.relname
            """,
            (schema,),
        ).fetchall()
        self.queries += 1
        return [str(name) for (name,) in rows]

    def describe(self, schema: str, table: str) -> TableFacts | None:
        """What the table consists of; None when there is none."""
        found = self._connection.execute(
            """
            select c.oid, case when c.relkind in ('r', 'm') then c.relpages else 0 end,
                pg_total_relation_size(c.oid), coalesce(obj_description(c.oid, 'pg_class'), '')
            from pg_class c
            join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = %s and c.relname = %s and c.relkind in ('r', 'p', 'v', 'm', 'f')
            """,
            (schema, table),
        ).fetchone()
        self.queries += 1
        if found is None:
            return None
        oid, pages, size, comment = found
        columns = self._connection.execute(
            """
            select a.attname, format_type(a.atttypid, a.atttypmod), t.typcategory::text,
                coalesce(col_description(a.attrelid, a.attnum), '')
            from pg_attribute a
            join pg_type t on t.oid = a.atttypid
            where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
            order by a.attnum
            """,
            (oid,),
        ).fetchall()
        indexes = self._connection.execute(
            """
            select i.indisprimary, array_agg(a.attname::text order by k.place)
            from pg_index i
            cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
            left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where i.indrelid = %s and i.indisvalid and i.indpred is null and k.place <= i.indnkeyatts
            group by i.indexrelid, i.indisprimary
            """,
            (oid,),
        ).fetchall()
        self.queries += 2
        return TableFacts(
            types={str(name): str(kind) for name, kind, _, _ in columns},
            kinds={str(name): str(category) for name, _, category, _ in columns},
            primary_key=next((tuple(names) for is_key, names in indexes if is_key), ()),
            indexed=frozenset(str(names[0]) for _, names in indexes if names[0] is not None),
            pages=max(int(pages), 0) if self._connection.info.server_version >= _TID_RANGES else 0,
            bytes=int(size),
            comments={str(name): str(words) for name, _, _, words in columns},
            comment=str(comment),
        )

    def transactions(self) -> Transactions:
        """Which transactions may be running now, at the database's own clock."""
        # A snapshot's xmax is behind the last transaction that ended, not the last that began; its age
        # is counted up to the next number that will be given.
        row = self._connection.execute(
            """
            select clock_timestamp(), txid_snapshot_xmin(seen),
                txid_snapshot_xmax(seen) + age((txid_snapshot_xmax(seen) % 4294967296)::text::xid)
            from txid_current_snapshot() as seen
            """
        ).fetchone()
        assert row is not None
        self.queries += 1
        return Transactions(row[0], int(row[1]), int(row[2]))

    def key_range(self, schema: str, table: str, column: str) -> tuple[int, int] | None:
        """Least and greatest value of a whole-number column; None for an empty table."""
        from psycopg import sql

        query = sql.SQL("select min({0}), max({0}) from {1}").format(
            sql.Identifier(column), sql.Identifier(schema, table)
        )
        row = self._connection.execute(query).fetchone()
        self.queries += 1
        return None if row is None or row[0] is None else (int(row[0]), int(row[1]))

    def release(self) -> None:
        """Let go of what is seen; the next query sees the database as it is then."""
        self._connection.commit()

    def export(self) -> str:
        """The name under which other connections can share this view while it is open."""
        row = self._connection.execute("select pg_export_snapshot()").fetchone()
        assert row is not None
        self.queries += 1
        return str(row[0])

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
    def snapshot(self, shared: str | None = None) -> Iterator[Snapshot]:
        """A read-only snapshot; psycopg's errors inside come out as ours.

        ``shared`` is the name of another one that is still open: both see the same.
        """
        import psycopg
        from psycopg import sql

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
                if shared is not None:
                    connection.execute(
                        sql.SQL("set transaction snapshot {}").format(sql.Literal(shared))
                    )
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
