from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.warehouse import server as embedded
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer

Eventually = Callable[..., None]

REPOSITORY = Path(embedded.__file__).resolve().parent.parent.parent
IS_ROOT = os.geteuid() == 0
HOLDER = """
import json, os, sys
from pathlib import Path
from meltano_assets.warehouse import server
with server.attach(Path(sys.argv[1]), fsync=False, grace_seconds=0.1) as running:
    running.ensure_database("shared")
    pid = (running.data_directory / "postmaster.pid").read_text().split()[0]
    print(json.dumps([running.port, int(pid), os.geteuid()]), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A state directory of this test's own, with a space; its server is gone afterwards."""
    folder = tmp_path / "state of mine"
    yield folder
    embedded.stop(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def holders() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for holder in started:
        holder.kill()
        holder.communicate()


def start_holder(folder: Path, *prefix: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def told(holder: subprocess.Popen[str]) -> tuple[int, int, int]:
    assert holder.stdout is not None
    port, pid, user = json.loads(holder.stdout.readline())
    return port, pid, user


def attach(folder: Path, grace: float = 0.1) -> AbstractContextManager[EmbeddedServer]:
    return embedded.attach(folder, fsync=False, grace_seconds=grace)


def postmaster(server: EmbeddedServer) -> int:
    return int((server.data_directory / "postmaster.pid").read_text().split()[0])


def processes_on(folder: Path) -> list[str]:
    """The command lines of all processes that name this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if str(folder) in command:
                found.append(command)
    return found


def write(server: EmbeddedServer, value: int) -> None:
    with Warehouse(server.ensure_database("kept")).connect() as connection:
        connection.execute("create table if not exists kept (value integer)")
        connection.execute("insert into kept values (%s)", [value])


def count_for_ever(url: str) -> None:
    with (
        contextlib.suppress(psycopg.OperationalError),
        psycopg.connect(url) as connection,
    ):
        connection.execute("insert into kept values (2)")
        connection.execute("select count(*) from generate_series(1, 100000000000)")


def read(server: EmbeddedServer) -> list[int]:
    with Warehouse(server.url("kept")).connect() as connection:
        return [row[0] for row in connection.execute("select value from kept order by value")]


def test_processes_that_come_at_once_get_one_server_that_stops_after_the_last(
    folder: Path, holders: list[subprocess.Popen[str]], eventually: Eventually
) -> None:
    holders += [start_holder(folder) for _ in range(3)]
    assert len({told(holder) for holder in holders}) == 1
    for holder in holders[:-1]:
        holder.kill()
        holder.wait()
    assert embedded.running(folder) is not None
    assert processes_on(folder)
    holders[-1].kill()
    eventually(lambda: not processes_on(folder))
    assert embedded.running(folder) is None
    assert not (folder / "postgres" / "data" / "postmaster.pid").exists()


def test_data_port_and_password_stay_from_one_start_to_the_next(
    folder: Path, eventually: Eventually
) -> None:
    with attach(folder) as before:
        write(before, 1)
    eventually(lambda: not processes_on(folder))
    with attach(folder) as after:
        assert read(after) == [1]
        assert after == before


def test_killed_server_is_started_again_with_what_was_committed(
    folder: Path, eventually: Eventually
) -> None:
    with attach(folder) as before:
        write(before, 1)
        killed = postmaster(before)
        with psycopg.connect(before.url("kept"), autocommit=True) as watcher:
            # A busy backend doesn't notice by itself that its server is gone.
            busy = threading.Thread(target=count_for_ever, args=[before.url("kept")])
            busy.start()
            counting = "select from pg_stat_activity where query like 'select count%'"
            eventually(lambda: watcher.execute(counting).rowcount == 1)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: embedded.running(folder) is None)
        with attach(folder) as after:
            busy.join()
            assert postmaster(after) != killed
            assert read(after) == [1]
            write(after, 3)
            assert read(after) == [1, 3]


def test_next_holder_heals_a_killed_supervisor(folder: Path) -> None:
    with attach(folder) as before:
        write(before, 1)
        supervisor = json.loads((before.directory / "supervisor.lock").read_text())["pid"]
        os.kill(supervisor, signal.SIGKILL)
        with attach(folder) as after:
            assert read(after) == [1]
            assert after.port == before.port


def test_interrupted_set_up_is_done_again(folder: Path) -> None:
    half_done = folder / "postgres" / "data.new"
    half_done.mkdir(parents=True)
    (half_done / "PG_VERSION").write_text("18\n")
    with attach(folder) as server:
        write(server, 1)
        assert not half_done.exists()


def test_port_taken_by_a_stranger_is_left_to_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        (folder / "postgres").mkdir(parents=True)
        (folder / "postgres" / "port").write_text(str(taken))
        with attach(folder) as server:
            assert server.port != taken
            assert (folder / "postgres" / "port").read_text() == str(server.port)


def test_a_strangers_server_is_never_taken_for_ours(server: EmbeddedServer, folder: Path) -> None:
    assert embedded.is_ours(server.data_directory, server.port, server.password)
    assert not embedded.is_ours(folder, server.port, server.password)
    assert not embedded.is_ours(server.data_directory, server.port, "another password")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    assert not embedded.is_ours(server.data_directory, nobody, server.password)


def test_stale_pid_file_that_names_a_living_stranger_does_no_harm(
    folder: Path, eventually: Eventually
) -> None:
    with attach(folder) as server:
        write(server, 1)
        pid_file = server.data_directory / "postmaster.pid"
        content = pid_file.read_text()
    eventually(lambda: not processes_on(folder))
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *content.split("\n")[1:]]))
        with attach(folder) as server:
            assert read(server) == [1]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_server_that_somebody_started_by_hand_on_our_data_is_respected(
    folder: Path, eventually: Eventually
) -> None:
    with attach(folder) as server:
        pid_file = server.data_directory / "postmaster.pid"
        content = pid_file.read_text()
    eventually(lambda: not processes_on(folder))
    by_hand = subprocess.Popen(["sleep", "600"], cwd=server.data_directory)
    try:
        pid_file.write_text("\n".join([str(by_hand.pid), *content.split("\n")[1:]]))
        with (
            pytest.raises(RetriableError, match=f"another Postgres \\(process {by_hand.pid}\\)"),
            attach(folder),
        ):
            pass
    finally:
        by_hand.kill()
        by_hand.wait()
        pid_file.unlink()


def test_other_settings_restart_the_server_when_nobody_else_holds_it(folder: Path) -> None:
    def fsync(server: EmbeddedServer) -> object:
        with Warehouse(server.url("postgres")).connect() as connection:
            row = connection.execute("show fsync").fetchone()
            assert row is not None
            return row[0]

    with attach(folder, grace=30.0) as server:
        assert fsync(server) == "off"
        with embedded.attach(folder, grace_seconds=30.0) as shared:
            assert postmaster(shared) == postmaster(server)
    with embedded.attach(folder, grace_seconds=0.1) as durable:
        assert fsync(durable) == "on"


def test_nothing_secret_is_readable_by_others(folder: Path) -> None:
    with attach(folder) as server:
        assert len(server.password) >= 24
        for path in (folder / "postgres").iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
        assert (folder / "postgres").stat().st_mode & 0o777 == 0o700
        assert not [line for line in processes_on(folder) if server.password in line]
        assert server.password not in server.log.read_text()
        assert server.password not in repr(server)


def test_server_wants_a_password_and_listens_on_loopback_only(server: EmbeddedServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://meltano@127.0.0.1:{server.port}/postgres")
    with Warehouse(server.url("postgres")).connect() as connection:
        settings = dict(
            connection.execute(
                "select name, setting from pg_settings where name in"
                " ('listen_addresses', 'unix_socket_directories', 'jit', 'TimeZone')"
            ).fetchall()
        )
    assert settings == {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "jit": "off",
        "TimeZone": "UTC",
    }


def test_clients_that_insist_on_the_standards_rounds_of_hashing_get_in(
    server: EmbeddedServer,
) -> None:
    """Those of Java and Go refuse a server that asks for less than RFC 7677's 4,096."""
    with Warehouse(server.url("postgres")).connect() as connection:
        verifiers = connection.execute(
            "select left(rolpassword, 19) from pg_authid where rolname = 'meltano'"
        ).fetchall()
    assert verifiers == [("SCRAM-SHA-256$4096:",)]


def test_text_is_utf8_and_sorts_by_code_point_everywhere(server: EmbeddedServer) -> None:
    with Warehouse(server.url("postgres")).connect() as connection:
        words = connection.execute(
            "select * from (values ('a'), ('B'), ('ä'), ('Z')) t(w) order by w"
        )
        assert [row[0] for row in words] == ["B", "Z", "a", "ä"]
        row = connection.execute(
            "select upper('äß'), current_setting('server_encoding')"
        ).fetchone()
        assert row == ("Äß", "UTF8")


@pytest.mark.parametrize("name", ["plain", 'we"ird; drop--', "mit Leerzeichen/ä%"])
def test_ensure_database_makes_it_once_whatever_its_name(server: EmbeddedServer, name: str) -> None:
    threads = [threading.Thread(target=server.ensure_database, args=[name]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Warehouse(server.ensure_database(name)).connect() as connection:
        assert connection.execute("select current_database()").fetchone() == (name,)


def test_data_of_another_version_are_refused_with_a_way_out(folder: Path) -> None:
    data = folder / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(FatalError, match="made by Postgres 16, not 18") as caught, attach(folder):
        pass
    assert "MELTANO_WAREHOUSE_URL" in str(caught.value)


def test_folder_that_holds_something_else_is_not_overwritten(folder: Path) -> None:
    data = folder / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "thesis.txt").write_text("precious")
    with pytest.raises(FatalError, match="not a Postgres data directory"), attach(folder):
        pass
    assert (data / "thesis.txt").read_text() == "precious"


def test_stop_ends_a_held_server_and_says_whether_there_was_one(folder: Path) -> None:
    assert not embedded.stop(folder)
    with attach(folder):
        assert embedded.stop(folder)
        assert embedded.running(folder) is None
    assert not embedded.stop(folder)


@pytest.mark.skipif(not IS_ROOT, reason="every other test already runs as an ordinary user")
def test_ordinary_user_runs_it_without_any_detour(
    folder: Path, holders: list[subprocess.Popen[str]]
) -> None:
    # An ordinary user for whom root's folders, and so this environment, are readable.
    namespace = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine allows no user namespaces")
    holder = start_holder(folder, *namespace)
    holders.append(holder)
    _, pid, user = told(holder)
    assert user == 65534
    assert Path(f"/proc/{pid}/ns/user").readlink() == Path(f"/proc/{holder.pid}/ns/user").readlink()
    holder.communicate("")


@pytest.mark.skipif(not IS_ROOT, reason="only root needs another identity")
def test_root_without_namespaces_becomes_another_user_in_a_folder_only_root_can_enter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    programs = tmp_path / "programs without unshare"
    programs.mkdir()
    for name in ("setpriv", "sh", "id"):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"this machine has no {name}")
        (programs / name).symlink_to(found)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(programs))
        with attach(folder) as server:
            write(server, 1)
            owner = server.data_directory.stat().st_uid
            assert owner != 0
            assert Path(f"/proc/{postmaster(server)}").stat().st_uid == owner
            assert (folder / "postgres").stat().st_mode & 0o777 == 0o700
        eventually(lambda: not processes_on(folder))
    # And from then on, whether or not there are namespaces.
    with attach(folder) as server:
        assert read(server) == [1]
        assert Path(f"/proc/{postmaster(server)}").stat().st_uid == owner


@pytest.mark.skipif(not IS_ROOT, reason="only root can make folders of others")
def test_what_root_makes_in_a_users_folder_belongs_to_that_user(folder: Path) -> None:
    user = 65534
    for path in (folder, folder / "postgres"):
        path.mkdir(mode=0o700)
        os.chown(path, user, user)
    with attach(folder) as server:
        assert postmaster(server)
        strays = [path for path in folder.rglob("*") if path.stat().st_uid != user]
        assert not strays
