"""Connections and their guards (L9): time limits, names, one transaction a block, errors without values."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.errors import FatalError, PlatformError, RetriableError
from meltano_assets.warehouse.connection import Warehouse, platform_error
from meltano_assets.warehouse.server import EmbeddedServer

SECRET = "pa$$w:rd/with@everything#%"
HOSTILE_URLS = [
    f"postgresql://user:{SECRET}@127.0.0.1/db",
    "postgresql://user:sec/ret@127.0.0.1/db",
    "postgresql://user:sec@ret@127.0.0.1/db",
    "postgresql://user:sec%zzret@127.0.0.1/db",
    "postgresql://user:secret@127.0.0.1:port/db",
    "postgresql://user:secret@127.0.0.1/db?no_such_option=1",
]


def whole_text(error: BaseException) -> str:
    """Everything that a log or a crash report could show of an error."""
    shown = "".join(traceback.format_exception(error))
    chain = error
    while (following := chain.__cause__ or chain.__context__) is not None:
        shown += repr(following) + str(following)
        chain = following
    return shown + repr(error) + str(vars(error))


@pytest.fixture
def nobody() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port: int = closed.getsockname()[1]
        return port


@pytest.fixture
def login(server: EmbeddedServer) -> Iterator[Callable[..., Warehouse]]:
    """Makes warehouses at the session's server, each part of the URL replaceable."""

    def make(
        user: str = "meltano", password: str | None = None, database: str = "postgres"
    ) -> Warehouse:
        secret = quote(server.password if password is None else password, safe="")
        return Warehouse(f"postgresql://{user}:{secret}@127.0.0.1:{server.port}/{database}")

    yield make


def test_block_is_committed_at_its_end_and_rolled_back_on_an_error(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("create table kept (value integer)")
    with pytest.raises(KeyError), warehouse.connect() as connection:
        connection.execute("insert into kept values (1)")
        raise KeyError
    with warehouse.connect() as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)
    assert connection.closed


def test_session_has_its_guards(warehouse: Warehouse) -> None:
    with warehouse.connect(application_name="a test", statement_timeout_seconds=12.5) as connection:
        rows = connection.execute(
            "select name, setting from pg_settings where name in ('TimeZone', 'statement_timeout',"
            " 'idle_in_transaction_session_timeout', 'application_name', 'client_encoding')"
        ).fetchall()
        assert not connection.autocommit
    assert dict(rows) == {
        "TimeZone": "UTC",
        "statement_timeout": "12500",
        "idle_in_transaction_session_timeout": "1800000",
        "application_name": "a test",
        "client_encoding": "UTF8",
    }


def test_autocommit_is_there_when_asked_for(warehouse: Warehouse) -> None:
    with warehouse.connect(autocommit=True) as connection:
        connection.execute("vacuum pg_class")


def test_unreachable_server_is_retriable_and_names_the_place(nobody: int) -> None:
    warehouse = Warehouse(f"postgresql://user:{quote(SECRET, safe='')}@127.0.0.1:{nobody}/sales")
    with pytest.raises(RetriableError) as caught, warehouse.connect():
        pass
    assert f"127.0.0.1:{nobody}/sales is not reachable" in str(caught.value)
    assert "MELTANO_WAREHOUSE_URL" in str(caught.value)
    assert SECRET not in whole_text(caught.value)
    assert quote(SECRET, safe="") not in whole_text(caught.value)


def test_unknown_host_is_retriable() -> None:
    warehouse = Warehouse("postgresql://user:secret@no-such-host.invalid/sales")
    with pytest.raises(RetriableError, match="is not reachable") as caught, warehouse.connect():
        pass
    assert "no-such-host.invalid:5432/sales" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": SECRET}, "login refused"),
        ({"password": ""}, "login refused"),
        ({"user": "nobody"}, "login refused"),
        ({"database": "missing"}, "the database does not exist"),
    ],
)
def test_wrong_login_and_unknown_database_are_fatal_and_say_what_to_do(
    login: Callable[..., Warehouse], server: EmbeddedServer, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(FatalError, match=words) as caught, login(**changes).connect():
        pass
    assert f"127.0.0.1:{server.port}/" in str(caught.value)
    assert "MELTANO_WAREHOUSE_URL" in str(caught.value)
    for secret in (SECRET, server.password):
        assert secret not in whole_text(caught.value)


def test_missing_tls_is_fatal(server: EmbeddedServer) -> None:
    warehouse = Warehouse(server.url("postgres") + "?sslmode=require")
    with pytest.raises(FatalError, match="TLS settings") as caught, warehouse.connect():
        pass
    assert "sslmode" in str(caught.value)
    with Warehouse(server.url("postgres") + "?sslmode=disable").connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_url_that_cannot_be_read_is_fatal_and_not_shown(url: str) -> None:
    with pytest.raises(FatalError, match="cannot be read") as caught:
        Warehouse(url)
    for part in ("sec", "ret", SECRET, "pa$$w"):
        assert part not in str(caught.value).replace("special characters", "")


def test_password_is_in_no_representation(server: EmbeddedServer) -> None:
    warehouse = Warehouse(server.url("postgres"))
    assert server.password not in repr(warehouse)
    assert warehouse.place == f"127.0.0.1:{server.port}/postgres"
    assert warehouse.parameters["password"] == server.password


@given(
    user=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    password=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    database=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    other=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    host=st.sampled_from(["127.0.0.1", "[::1]", "db.example.com", "%2Fvar%2Frun"]),
    query=st.sampled_from(["", "?sslmode=require", "?sslmode=verify-full&sslrootcert=/a%20b"]),
)
def test_another_database_keeps_all_other_parts(
    user: str, password: str, database: str, other: str, host: str, query: str
) -> None:
    parts = [quote(part, safe="") for part in (user, password, database)]
    warehouse = Warehouse(
        "postgresql://{}:{}@{host}:5433/{}{query}".format(*parts, host=host, query=query)
    )
    assert warehouse.parameters["user"] == user
    assert warehouse.parameters["password"] == password
    moved = warehouse.with_database(other)
    assert dict(moved.parameters) == dict(warehouse.parameters) | {"dbname": other}


CASES = [
    ("select 'VALUE'::integer", FatalError, "22P02"),
    ("select '[VALUE'::jsonb", FatalError, "22P02"),
    ("select date 'VALUE'", FatalError, "22007"),
    ("select '2026-99-99 VALUE'::timestamptz", FatalError, "22"),
    ("select 'VALUE\"quoted\"\nVALUE'::uuid", FatalError, "22P02"),
    ("insert into people values (1, 'VALUE'), (1, 'VALUE')", FatalError, "23505"),
    ("insert into people values (1, null)", FatalError, "23502"),
    ("insert into people values (-1, 'VALUE')", FatalError, "23514"),
    ("insert into people values (1, repeat('VALUE', 100))", FatalError, "22001"),
    ("select 1 / 0", FatalError, "22012"),
    ("select * from missing", FatalError, "42P01"),
    ("select pg_sleep(9)", RetriableError, "57014"),
    ("lock table people in access share mode nowait; select VALUE", FatalError, "42703"),
]


@pytest.mark.parametrize(("statement", "kind", "code"), CASES)
def test_statement_errors_tell_their_code_and_no_values(
    warehouse: Warehouse, statement: str, kind: type[PlatformError], code: str
) -> None:
    value = "x9f3c"
    with warehouse.connect() as connection:
        connection.execute(
            "create table people (id integer primary key check (id > 0), name varchar(99) not null)"
        )
    with pytest.raises(kind) as caught, warehouse.connect(statement_timeout_seconds=0.3) as c:
        c.execute(statement.replace("VALUE", value).encode())
    assert f"({code}" in str(caught.value)
    if "42703" not in code:
        assert value not in whole_text(caught.value)


def test_copy_errors_name_line_and_column_and_no_values(warehouse: Warehouse) -> None:
    with pytest.raises(FatalError) as caught, warehouse.connect() as connection:
        connection.execute("create table people (id integer, born date)")
        with connection.cursor().copy("copy people from stdin") as copy:
            copy.write(b"1\t2026-01-01\n2\tx9f3c\n")
    assert "[COPY people, line 2, column born]" in str(caught.value)
    assert "x9f3c" not in whole_text(caught.value)


def test_error_under_which_another_was_raised_tells_no_values_either(warehouse: Warehouse) -> None:
    value = "x9" + "f3c"
    with pytest.raises(ValueError, match="unrelated") as caught, warehouse.connect() as connection:
        try:
            connection.execute("select %s::text::integer", [value])
        except psycopg.Error:
            raise ValueError("unrelated")  # noqa: B904 (the chain is what is tested)
    assert value not in whole_text(caught.value)


def test_psycopg_errors_can_be_caught_inside_the_block(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        with pytest.raises(psycopg.errors.UndefinedTable), connection.transaction():
            connection.execute("select * from missing")
        assert connection.execute("select 1").fetchone() == (1,)


def test_lost_connection_is_retriable(warehouse: Warehouse) -> None:
    with pytest.raises(RetriableError), warehouse.connect() as connection:
        with warehouse.connect(autocommit=True) as other:
            other.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])
        connection.execute("select 1")


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.SerializationFailure(),
        psycopg.errors.DeadlockDetected(),
        psycopg.errors.LockNotAvailable(),
        psycopg.errors.DiskFull(),
        psycopg.errors.TooManyConnections(),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.IdleInTransactionSessionTimeout(),
        psycopg.errors.ConnectionFailure(),
        psycopg.OperationalError("the connection is closed"),
    ],
)
def test_causes_that_pass_are_retriable(error: psycopg.Error) -> None:
    assert isinstance(platform_error(error), RetriableError)


def backend(connection: psycopg.Connection) -> int:
    return connection.info.backend_pid


def test_a_held_warehouse_asks_over_one_connection_and_commits_each_block(
    warehouse: Warehouse,
) -> None:
    with warehouse.held() as held:
        with held.connect() as connection:
            first = backend(connection)
            connection.execute("create table kept (n int)")
        with warehouse.connect() as other:
            assert other.execute("select count(*) from kept").fetchone() == (0,)
        with held.connect() as connection:
            assert backend(connection) == first
            with held.connect() as inner:
                assert backend(inner) != first
            with held.connect(autocommit=True) as own:
                assert own.autocommit
                assert backend(own) != first
    assert connection.closed


def test_a_failed_block_of_a_held_warehouse_is_undone_and_leaves_the_next_whole(
    warehouse: Warehouse,
) -> None:
    with warehouse.held() as held:
        with pytest.raises(FatalError, match="division by zero") as info, held.connect() as one:
            one.execute("create table gone ()")
            one.execute("select 1 / 0, 'the canary'")
        assert "canary" not in whole_text(info.value)
        with pytest.raises(KeyError), held.connect() as one:
            one.execute("create table gone ()")
            raise KeyError("ours")
        with held.connect() as one:
            assert one.execute("select to_regclass('gone')").fetchone() == (None,)


def test_a_held_connection_that_the_server_ended_is_opened_anew(warehouse: Warehouse) -> None:
    with warehouse.held() as held:
        with held.connect() as connection:
            ended = backend(connection)
        with warehouse.connect() as other:
            other.execute("select pg_terminate_backend(%s, 5000)", [ended])
        with pytest.raises(RetriableError), held.connect() as connection:
            connection.execute("select 1")
        with held.connect() as connection:
            assert backend(connection) != ended
