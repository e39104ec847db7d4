"""Dagster's own processes under test: a clone's environment, their start and their whole end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from meltano_assets.environment import project_root
from meltano_assets.shared_process import wait_until_ended

STOP_SECONDS = 60.0


def sparse_environment(folder: Path) -> dict[str, str]:
    """What a fresh machine's shell has: a PATH, a home; and where local state goes."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    programs = Path(sys.executable).parent
    return {
        "PATH": os.pathsep.join([str(programs), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(home),
        "MELTANO_STATE_DIR": str(folder / "state"),
    }


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """A process of Dagster's with everything that it starts."""

    process: subprocess.Popen[bytes]
    log: Path
    state: Path

    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text("utf-8", errors="replace")

    def wait(self, claim: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until the claim holds; fails when the process ends or the time is up."""
        deadline = time.monotonic() + seconds
        while not claim():
            assert self.process.poll() is None, f"ended before {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.output()}"
            time.sleep(0.1)

    def processor_seconds(self) -> float:
        """What it and its children, ended ones too, have used of the processors so far."""
        root = psutil.Process(self.process.pid)
        used = 0.0
        for one in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                used += sum(one.cpu_times()[:4])
        return used

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code once the process has ended."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running(
    command: Sequence[str],
    environment: dict[str, str],
    folder: Path,
    *,
    directory: Path | None = None,
) -> Iterator[Running]:
    """The command in a session of its own, interrupted at the end; nothing may stay behind."""
    log = folder / "output.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=directory or project_root(),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Running(process, log, Path(environment["MELTANO_STATE_DIR"]))
    try:
        yield started
        if process.poll() is None:
            started.interrupt()
        left = leftovers(started.state)
        assert not left, f"{left}\n{started.output()}"
    finally:
        for number in processes_of(started.state):
            os.kill(number, signal.SIGKILL)
        process.wait(STOP_SECONDS)


def leftovers(state: Path, seconds: float = 30.0) -> list[str]:
    """What still runs for this state directory after everybody had time to end."""
    services = [state / "postgres", state / "sandbox"]
    deadline = time.monotonic() + seconds
    while True:
        left = [folder.name for folder in services if not wait_until_ended(folder, seconds)]
        left += processes_of(state).values()
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def processes_of(state: Path) -> dict[int, str]:
    """Processes whose environment or command names the state directory (where /proc tells)."""
    found: dict[int, str] = {}
    name = str(state).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if command and name in command + (folder / "environ").read_bytes():
                found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    found.pop(os.getpid(), None)
    return found
