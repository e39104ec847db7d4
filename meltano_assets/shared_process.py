"""A process shared by several processes: the first to attach starts it, the last to go stops it.

Belongs here: the life of such a service, whatever it is (the embedded Postgres, the sandbox).
Does not belong here: what the service does or how to ask whether it is ready.

How it holds together when anything is killed at any time. Four files in the service's directory
are only ever locked with ``flock``, which the kernel releases with the last process that has them
open, so that no process id has to be believed:

- ``lease``: every holder has a shared lock. Free for exclusive locking = nobody needs the service.
- ``mutex``: whoever starts or stops.
- ``supervisor.lock``: the supervisor, a small process of its own session that starts the service,
  waits until the lease is free (or the service ends) and then stops it.
- ``service.lock``: inherited by the service and all its children. Free = nothing of it is left.

``state.json`` (0600) says what the service announced; it is written once the service is ready.
A supervisor that dies takes the service with it (Linux: parent-death signal; elsewhere the next
holder to attach ends the orphan).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meltano_assets.errors import FatalError, PlatformError, RetriableError
from meltano_assets.process_locks import (
    POLL_SECONDS,
    is_held,
    kill_holders,
    lock_within,
    open_private,
    read_json,
    signal_holder,
    try_lock,
    wait_free,
    write_holder,
)

LEASE, MUTEX, STATE = "lease", "mutex", "state.json"
SUPERVISOR, SERVICE = "supervisor.lock", "service.lock"
LOG, OUTPUT = "service.log", "service.out"

_WATCH_SECONDS = 0.1
_LOG_TAIL_LINES = 15
_KILL_SECONDS = 1.0

_SUPERVISE = (
    "import sys; sys.path.append(sys.argv[1]);"
    "from meltano_assets.shared_process import _supervise; _supervise()"
)

Announcement = Mapping[str, object]


def announced_line(output: Path) -> Announcement | None:
    """The first line of the service's output that is a JSON object, once it is there whole."""
    try:
        lines = output.read_text("utf-8", errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return None
    for line in lines:
        if line.startswith("{") and line.endswith("\n"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
    return None


@dataclass(frozen=True, slots=True)
class Service:
    """What to run, where its files are and how to know that it is ready.

    ``command`` is asked anew for each start, under the start mutex: it may prepare files.
    ``announce`` gets the file of the service's output and returns what holders are told, or None
    while the service isn't ready; it is asked at every attach, so it is also the identity check.
    A service whose ``fingerprint`` differs from the running one's replaces it if nobody else
    holds it. ``attempts`` is how often a service that ends before it is ready is started again.
    """

    name: str
    directory: Path
    command: Callable[[], Sequence[str]]
    announce: Callable[[Path], Announcement | None] = announced_line
    fingerprint: str = ""
    environment: Mapping[str, str] | None = None
    working_directory: Path | None = None
    attempts: int = 1
    ready_seconds: float = 60.0
    grace_seconds: float = 1.0
    stop_signals: tuple[int, ...] = (signal.SIGTERM,)
    stop_seconds: float = 20.0


@contextmanager
def attach(service: Service) -> Iterator[Announcement]:
    """Hold the service, started if need be, for the length of the block.

    May be entered several times in one process and from threads. FatalError or RetriableError
    show the end of the service's log.
    """
    _private_directory(service.directory)
    patience = service.ready_seconds + service.stop_seconds
    lease = _take_lease(service, time.monotonic() + patience)
    try:
        with _mutex(service, time.monotonic() + patience):
            deadline = time.monotonic() + service.ready_seconds
            announcement = _running(service, lease, deadline)
            if announcement is None:
                _end_previous(service)
                announcement = _start(service, deadline)
        yield announcement
    finally:
        # Only closed, not unlocked: a forked child of ours may still hold the service.
        os.close(lease)


def announcement(directory: Path) -> Announcement | None:
    """What the service in this directory announced, or None when it isn't running."""
    state = _read_state(directory)
    if state is None or not is_held(directory / SUPERVISOR):
        return None
    announced = state.get("announcement")
    return announced if isinstance(announced, dict) else None


def stop(service: Service) -> bool:
    """Stop the service even if it is held; False when it wasn't running."""
    if not service.directory.is_dir():
        return False
    with _mutex(service, time.monotonic() + service.ready_seconds + service.stop_seconds):
        was_running = is_held(service.directory / SERVICE)
        _end_previous(service)
    return was_running


def wait_until_ended(directory: Path, seconds: float) -> bool:
    """Wait until nothing of the service is left; False at once while somebody holds it."""
    deadline = time.monotonic() + seconds
    while is_held(directory / SUPERVISOR) or is_held(directory / SERVICE):
        # An exclusive lock is the supervisor's: it is stopping. A shared one is a holder's.
        lease = open_private(directory / LEASE)
        has_holder = not try_lock(lease) and try_lock(lease, fcntl.LOCK_SH)
        os.close(lease)
        if has_holder or time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def log_tail(directory: Path) -> str:
    """The last lines of the service's log."""
    try:
        text = (directory / LOG).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])


# --- attaching ---------------------------------------------------------------------------------


def _running(service: Service, lease: int, deadline: float) -> Announcement | None:
    """What a running service announces; None when one has to be started."""
    directory = service.directory
    state = _read_state(directory)
    if state is None:
        return None
    if state.get("fingerprint") != service.fingerprint and _is_alone(lease):
        return None
    while is_held(directory / SUPERVISOR) and is_held(directory / SERVICE):
        if announced := service.announce(directory / OUTPUT):
            return announced
        if time.monotonic() > deadline:
            raise _failure(service, RetriableError, "is running but does not answer")
        time.sleep(POLL_SECONDS)
    return None


def _start(service: Service, deadline: float) -> Announcement:
    for _ in range(service.attempts):
        generation = secrets.token_hex(8)
        _spawn(service, generation)
        while is_held(service.directory / SERVICE):
            if announced := service.announce(service.directory / OUTPUT):
                _write_state(service, generation, announced)
                return announced
            if time.monotonic() > deadline:
                _end_previous(service)
                seconds = f"{service.ready_seconds:g} s"
                raise _failure(service, RetriableError, f"was not ready within {seconds}")
            time.sleep(POLL_SECONDS)
        _end_previous(service)
    raise _failure(service, FatalError, "ended before it was ready")


def _spawn(service: Service, generation: str) -> None:
    """Start the supervisor and through it the service; returns once the service runs."""
    directory = service.directory
    log = directory / LOG
    if log.exists():
        log.replace(directory / f"{LOG}.1")
    for name in (LOG, OUTPUT):
        _truncate(directory / name)
    orders = {
        "directory": str(directory),
        "generation": generation,
        "command": [str(word) for word in service.command()],
        "working_directory": str(service.working_directory or directory),
        "grace_seconds": service.grace_seconds,
        "stop_signals": [int(number) for number in service.stop_signals],
        "stop_seconds": service.stop_seconds,
    }
    package_parent = str(Path(__file__).resolve().parent.parent)
    # Isolated and without site-packages: starts fast, and no .pth file or PYTHONPATH gets a say.
    isolated = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
    words = [sys.executable, *isolated, "-c", _SUPERVISE, package_parent, service.name]
    with log.open("ab") as log_file:
        launched = subprocess.run(
            [*words, str(directory)],
            input=json.dumps(orders).encode(),
            stdout=subprocess.PIPE,
            stderr=log_file,
            cwd="/",
            env=None if service.environment is None else dict(service.environment),
            start_new_session=True,
            check=False,
        )
    if launched.stdout.strip() != b"started":
        reason = launched.stdout.decode("utf-8", errors="replace").strip()
        raise _failure(service, FatalError, f"could not be started: {reason}")


def _end_previous(service: Service) -> None:
    """Leave nothing of an earlier supervisor or service; the caller holds the mutex."""
    directory = service.directory
    supervisor = directory / SUPERVISOR
    limit = service.stop_seconds * (len(service.stop_signals) + 1)
    if is_held(supervisor):
        signal_holder(supervisor, signal.SIGTERM, service.name)
        if not wait_free(supervisor, limit):
            signal_holder(supervisor, signal.SIGKILL, service.name)
            wait_free(supervisor, _KILL_SECONDS)
    running = directory / SERVICE
    # With the supervisor gone a parent-death signal may already be ending the service.
    for number in service.stop_signals if is_held(running) else ():
        signal_holder(running, number, service.name)
        if wait_free(running, service.stop_seconds):
            break
    if not kill_holders(running):
        raise _failure(service, RetriableError, "has processes that cannot be ended")
    (directory / STATE).unlink(missing_ok=True)


def _failure(service: Service, kind: type[PlatformError], what: str) -> PlatformError:
    tail = log_tail(service.directory)
    end = f"; its log ends with:\n{tail}" if tail else ""
    return kind(f"{service.name} {what}{end}", hint=f"log: {service.directory / LOG}")


# --- the supervisor, a process of its own ------------------------------------------------------


def _supervise() -> None:
    """Start the service, watch it and the lease, stop it. Runs isolated; orders come on stdin."""
    orders = json.loads(sys.stdin.buffer.read())
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    # Handled by doing nothing rather than ignored: the service must not inherit deaf ears.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, lambda _number, _frame: None)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    directory = Path(orders["directory"])
    own = open_private(directory / SUPERVISOR)
    running = open_private(directory / SERVICE)
    if not (lock_within(own, 5.0) and lock_within(running, 5.0)):
        print("another one is still running", flush=True)  # noqa: T201 (the answer to _spawn)
        os._exit(1)
    write_holder(own, os.getpid())
    told_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told_to_stop.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    waker, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        child = _run_service(orders, running, directory)
    except OSError as error:
        print(f"{orders['command'][0]}: {error.strerror}", flush=True)  # noqa: T201
        os._exit(1)
    write_holder(running, child.pid)
    os.close(running)
    print("started", flush=True)  # noqa: T201
    # From here on nothing of the caller's may stay open, or whoever reads its output waits for us.
    for stream in (1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    watch = _Watch(directory, orders["grace_seconds"])
    while child.poll() is None and not told_to_stop and not watch.nobody_left():
        if select.select([waker], [], [], _WATCH_SECONDS)[0]:
            os.read(waker, 512)
    # First of all, so that nobody believes in a service that just died.
    state = _read_state(directory)
    if state is not None and state.get("generation") == orders["generation"]:
        (directory / STATE).unlink(missing_ok=True)
    for number in orders["stop_signals"]:
        if child.poll() is None:
            child.send_signal(number)
            try:
                child.wait(orders["stop_seconds"])
            except subprocess.TimeoutExpired:
                continue
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    kill_holders(directory / SERVICE)
    os._exit(0)


def _run_service(
    orders: Mapping[str, object], lock: int, directory: Path
) -> subprocess.Popen[bytes]:
    command, signals = orders["command"], orders["stop_signals"]
    assert isinstance(command, list) and isinstance(signals, list)
    with (directory / OUTPUT).open("ab") as output, (directory / LOG).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            cwd=str(orders["working_directory"]),
            pass_fds=[lock],
            start_new_session=True,
            preexec_fn=_follow_parent(signals[0]),  # noqa: PLW1509 (there are no threads here)
        )


def _follow_parent(number: int) -> Callable[[], None] | None:
    """What a child calls to get this signal when its parent dies (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    control = ctypes.CDLL(None).prctl
    set_parent_death_signal = 1

    def follow() -> None:
        control(set_parent_death_signal, number, 0, 0, 0)

    return follow


class _Watch:
    """Tells when nobody has held the lease for the grace period; then keeps everyone out."""

    def __init__(self, directory: Path, grace_seconds: float) -> None:
        self._lease = open_private(directory / LEASE)
        self._mutex = open_private(directory / MUTEX)
        self._grace_seconds = grace_seconds
        self._free_since: float | None = None

    def nobody_left(self) -> bool:
        """True once: mutex and lease are then locked until this process ends."""
        if not try_lock(self._lease):
            self._free_since = None
            return False
        fcntl.flock(self._lease, fcntl.LOCK_UN)
        now = time.monotonic()
        if self._free_since is None:
            self._free_since = now
        if now - self._free_since < self._grace_seconds or not try_lock(self._mutex):
            return False
        if try_lock(self._lease):
            return True
        fcntl.flock(self._mutex, fcntl.LOCK_UN)
        return False


# --- files and locks ---------------------------------------------------------------------------


def _private_directory(directory: Path) -> None:
    """Make the directory with its parents, readable by its owner alone."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
        return
    except OSError as error:
        reason = error.strerror
    raise FatalError(
        f"the folder {directory} cannot be used: {reason}",
        hint="set MELTANO_STATE_DIR to a folder of your own",
    )


def _take_lease(service: Service, deadline: float) -> int:
    """A shared lock on the lease; waits for a service that is being stopped."""
    path = service.directory / LEASE
    while True:
        lease = open_private(path)
        if not lock_within(lease, deadline - time.monotonic(), fcntl.LOCK_SH):
            os.close(lease)
            raise _failure(service, RetriableError, "is being stopped for too long")
        # Someone may have removed the folder meanwhile: a lock on a removed file holds nothing.
        if path.exists() and path.stat().st_ino == os.fstat(lease).st_ino:
            return lease
        os.close(lease)


def _is_alone(lease: int) -> bool:
    """True when no other holder is there. The caller has the mutex; its lease stays."""
    alone = try_lock(lease)
    fcntl.flock(lease, fcntl.LOCK_SH)
    return alone


@contextmanager
def _mutex(service: Service, deadline: float) -> Iterator[None]:
    mutex = open_private(service.directory / MUTEX)
    try:
        if not lock_within(mutex, deadline - time.monotonic()):
            raise _failure(service, RetriableError, "is being started by another process")
        yield
    finally:
        # Unlocked, not only closed: a process forked meanwhile has this file open too.
        fcntl.flock(mutex, fcntl.LOCK_UN)
        os.close(mutex)


def _truncate(path: Path) -> None:
    descriptor = open_private(path)
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


def _read_state(directory: Path) -> dict[str, object] | None:
    return read_json(directory / STATE)


def _write_state(service: Service, generation: str, announced: Announcement) -> None:
    """Atomically, so that a reader sees all of it or none."""
    state = {
        "service": service.name,
        "generation": generation,
        "fingerprint": service.fingerprint,
        "announcement": dict(announced),
    }
    path = service.directory / STATE
    draft = path.with_suffix(".new")
    _truncate(draft)
    draft.write_text(json.dumps(state), "utf-8")
    draft.replace(path)
