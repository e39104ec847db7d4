from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meltano_assets import shared_process
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.shared_process import Service, announced_line, attach

PYTHON = [sys.executable, "-I", "-S", "-c"]
SERVICE = """
import json, os, signal, sys, time
def leave(number, frame):
    print("told to stop", file=sys.stderr, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("a line that is no announcement")
print(json.dumps({"pid": os.getpid()}), flush=True)
time.sleep(600)
"""
#: A holder of its own process: says what was announced, holds until its input ends.
HOLDER = """
import json, sys
from pathlib import Path
from meltano_assets.shared_process import Service, attach
directory, command, grace = json.loads(sys.argv[1])
with attach(Service("toy", Path(directory), lambda: command, grace_seconds=grace)) as announced:
    print(announced["pid"], flush=True)
    sys.stdin.read()
"""

Eventually = Callable[..., None]


def toy(directory: Path, code: str = SERVICE, **changes: Any) -> Service:
    service = Service("toy", directory, lambda: [*PYTHON, code], grace_seconds=0.1)
    return replace(service, **changes)


def is_alive(pid: int) -> bool:
    """Running, and not merely waiting for its parent to take note of its end."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def is_over(directory: Path) -> bool:
    """Nothing has a lock, nothing is announced."""
    for name in ("lease", "mutex", "supervisor.lock", "service.lock"):
        with (directory / name).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return not (directory / "state.json").exists()


def supervisor_of(directory: Path) -> int:
    pid = json.loads((directory / "supervisor.lock").read_text())["pid"]
    assert isinstance(pid, int)
    return pid


def service_pid(announced: shared_process.Announcement) -> int:
    pid = announced["pid"]
    assert isinstance(pid, int)
    return pid


class Holders:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[str]] = []

    def start(self, code: str = SERVICE, grace: float = 0.1) -> subprocess.Popen[str]:
        told = json.dumps([str(self.directory), [*PYTHON, code], grace])
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(shared_process.__file__).parent.parent,
            start_new_session=True,
        )
        self.started.append(holder)
        return holder

    @staticmethod
    def told(holder: subprocess.Popen[str]) -> int:
        assert holder.stdout is not None
        return int(holder.stdout.readline())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "a service's folder"


@pytest.fixture
def holders(directory: Path) -> Iterator[Holders]:
    holders = Holders(directory)
    yield holders
    for holder in holders.started:
        holder.kill()
        holder.communicate()


def test_holders_that_come_at_once_share_one_service(
    directory: Path, holders: Holders, eventually: Eventually
) -> None:
    all_of_them = [holders.start() for _ in range(4)]
    pids = {holders.told(holder) for holder in all_of_them}
    assert len(pids) == 1
    for holder in all_of_them[:-1]:
        holder.communicate("")
    assert is_alive(*pids)
    all_of_them[-1].communicate("")
    eventually(lambda: is_over(directory))
    assert not is_alive(*pids)


def test_service_stops_after_all_holders_were_killed(
    directory: Path, holders: Holders, eventually: Eventually
) -> None:
    first, second = holders.start(), holders.start()
    pid = holders.told(first)
    assert holders.told(second) == pid
    first.kill()
    first.wait()
    with attach(toy(directory)) as announced:
        assert announced == {"pid": pid}
    second.kill()
    eventually(lambda: is_over(directory))
    assert not is_alive(pid)
    assert "told to stop" in (directory / "service.log").read_text()


def test_one_process_may_attach_several_times_and_from_threads(
    directory: Path, eventually: Eventually
) -> None:
    pids: list[object] = []
    with attach(toy(directory)) as outer:

        def hold() -> None:
            with attach(toy(directory)) as inner:
                pids.append(inner["pid"])

        threads = [threading.Thread(target=hold) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pids == [outer["pid"]] * 4
        assert is_alive(service_pid(outer))
    eventually(lambda: is_over(directory))


def test_service_survives_a_pause_shorter_than_the_grace_period(directory: Path) -> None:
    patient = toy(directory, grace_seconds=30.0)
    with attach(patient) as before:
        pass
    with attach(patient) as after:
        assert after == before
    assert shared_process.stop(patient)
    assert not is_alive(service_pid(before))


def test_killed_service_is_started_again(directory: Path, eventually: Eventually) -> None:
    with attach(toy(directory)) as before:
        os.kill(service_pid(before), signal.SIGKILL)
        eventually(lambda: shared_process.announcement(directory) is None)
        with attach(toy(directory)) as after:
            assert after != before
            assert is_alive(service_pid(after))


def test_service_goes_with_its_killed_supervisor_and_starts_again(
    directory: Path, eventually: Eventually
) -> None:
    with attach(toy(directory)) as before:
        os.kill(supervisor_of(directory), signal.SIGKILL)
        if sys.platform.startswith("linux"):
            eventually(lambda: not is_alive(service_pid(before)))
        with attach(toy(directory)) as after:
            assert after != before
            assert not is_alive(service_pid(before))
    eventually(lambda: is_over(directory))


def test_start_goes_on_when_whoever_began_it_was_killed(
    directory: Path, holders: Holders, eventually: Eventually
) -> None:
    slow = holders.start("import time; print('not yet', flush=True); time.sleep(600)", 30.0)
    output = directory / "service.out"
    eventually(lambda: output.exists() and "not yet" in output.read_text())
    slow.kill()
    with attach(toy(directory)) as announced:
        assert is_alive(service_pid(announced))


def test_callers_output_ends_with_the_caller(directory: Path, holders: Holders) -> None:
    starter = holders.start()
    holders.told(starter)
    with attach(toy(directory)) as announced:
        # Returns only when nobody has the starter's output open any more.
        starter.communicate("", timeout=20)
        assert is_alive(service_pid(announced))


def test_service_and_supervisor_are_out_of_reach_of_the_terminal(
    directory: Path, holders: Holders
) -> None:
    starter = holders.start()
    pid = holders.told(starter)
    with attach(toy(directory)):
        os.killpg(starter.pid, signal.SIGINT)
        starter.wait()
        assert is_alive(pid)
        sessions = {os.getsid(process) for process in (pid, supervisor_of(directory))}
        assert os.getsid(0) not in sessions
        assert starter.pid not in sessions


def test_service_that_is_never_ready_is_reported_with_the_end_of_its_log(
    directory: Path,
) -> None:
    code = (
        "import sys, time; print('waiting for the moon', file=sys.stderr, flush=True);"
        "time.sleep(600)"
    )
    with (
        pytest.raises(RetriableError, match=r"not ready within 0\.5 s") as caught,
        attach(toy(directory, code, ready_seconds=0.5)),
    ):
        pass
    assert "waiting for the moon" in str(caught.value)
    assert str(directory / "service.log") in str(caught.value)
    assert is_over(directory)


def test_service_that_ends_is_tried_as_often_as_told(directory: Path) -> None:
    starts: list[int] = []

    def command() -> Sequence[str]:
        starts.append(len(starts))
        return [*PYTHON, f"import sys; sys.exit('attempt {len(starts)} failed')"]

    with (
        pytest.raises(FatalError, match="ended before it was ready") as caught,
        attach(toy(directory, command=command, attempts=3)),
    ):
        pass
    assert "attempt 3 failed" in str(caught.value)
    assert starts == [0, 1, 2]


def test_missing_program_is_named(directory: Path) -> None:
    with (
        pytest.raises(FatalError, match="no-such-program: No such file"),
        attach(toy(directory, command=lambda: ["/no-such-program"])),
    ):
        pass


@pytest.mark.parametrize("state", ["", "{", "[]", '{"announcement": {"pid": 1}}'])
def test_stale_files_are_not_believed_and_strangers_are_left_alone(
    directory: Path, state: str
) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        directory.mkdir(parents=True)
        (directory / "state.json").write_text(state)
        for name in ("supervisor.lock", "service.lock"):
            (directory / name).write_text(json.dumps({"pid": stranger.pid, "home": "elsewhere"}))
        assert shared_process.announcement(directory) is None
        with attach(toy(directory)) as announced:
            assert is_alive(service_pid(announced))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_children_that_the_service_leaves_behind_are_ended(
    directory: Path, eventually: Eventually
) -> None:
    code = (
        "import json, os, time\n"
        "child = os.fork()\n"
        "if child: print(json.dumps({'pid': os.getpid(), 'child': child}), flush=True)\n"
        "else: os.setsid()\n"
        "time.sleep(600)\n"
    )
    with attach(toy(directory, code)) as announced:
        child = announced["child"]
        assert isinstance(child, int)
        os.kill(service_pid(announced), signal.SIGKILL)
        eventually(lambda: shared_process.announcement(directory) is None)
        with attach(toy(directory)) as after:
            assert after != announced
            assert not is_alive(child)


def test_service_deaf_to_its_stop_signals_is_killed(
    directory: Path, eventually: Eventually
) -> None:
    deaf = SERVICE.replace("sys.exit(0)", "return")
    with attach(toy(directory, deaf, stop_seconds=0.2)) as announced:
        pass
    eventually(lambda: is_over(directory))
    assert not is_alive(service_pid(announced))
    assert "told to stop" in (directory / "service.log").read_text()


def test_changed_service_replaces_the_old_one_unless_somebody_holds_it(directory: Path) -> None:
    first, second = toy(directory, fingerprint="one"), toy(directory, fingerprint="two")
    with attach(replace(first, grace_seconds=30.0)) as before, attach(second) as shared:
        assert shared == before
    with attach(second) as after:
        assert after != before
        assert not is_alive(service_pid(before))


def test_forked_child_still_holds_the_service(directory: Path, eventually: Eventually) -> None:
    go_on, tell = os.pipe()
    with attach(toy(directory)) as announced:
        child = os.fork()
        if child == 0:
            os.close(tell)
            os.read(go_on, 1)
            os._exit(0)
        os.close(go_on)
    watched = {"turns": 0}

    def several_looks_later() -> bool:
        watched["turns"] += 1
        return watched["turns"] > 50

    eventually(several_looks_later)
    assert is_alive(service_pid(announced))
    os.close(tell)
    os.waitpid(child, 0)
    eventually(lambda: is_over(directory))


def test_removed_folder_gets_a_new_service_and_the_old_one_ends(
    directory: Path, eventually: Eventually
) -> None:
    with attach(toy(directory)) as before:
        directory.rename(directory.with_name("removed"))
        with attach(toy(directory)) as after:
            assert after != before
    eventually(lambda: is_over(directory) and not is_alive(service_pid(before)))


def test_files_are_private(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    with attach(toy(directory)):
        assert directory.stat().st_mode & 0o777 == 0o700
        for path in directory.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path


def test_folder_that_cannot_be_made_is_a_fatal_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FatalError, match="file/service cannot be used") as caught,
        attach(toy(tmp_path / "file" / "service")),
    ):
        pass
    assert "MELTANO_STATE_DIR" in str(caught.value)


def test_stop_ends_a_held_service_and_says_whether_there_was_one(directory: Path) -> None:
    assert not shared_process.stop(toy(directory))
    with attach(toy(directory)) as announced:
        assert shared_process.announcement(directory) == announced
        assert shared_process.stop(toy(directory))
        assert not is_alive(service_pid(announced))
    assert not shared_process.stop(toy(directory))


def test_end_can_be_waited_for_unless_somebody_still_holds_the_service(directory: Path) -> None:
    assert shared_process.wait_until_ended(directory, 5.0)
    with attach(toy(directory)) as announced:
        began = time.monotonic()
        assert not shared_process.wait_until_ended(directory, 60.0)
        assert time.monotonic() - began < 30.0
    assert shared_process.wait_until_ended(directory, 60.0)
    assert is_over(directory)
    assert not is_alive(service_pid(announced))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("hello\n", None),
        ('{"a": 1}', None),
        ('{"a": 1}\n', {"a": 1}),
        ('{broken\n{"a": 2}\n{"a": 3}\n', {"a": 2}),
        ("[1]\n", None),
    ],
)
def test_announcement_is_the_first_whole_json_object(
    tmp_path: Path, text: str, expected: object
) -> None:
    output = tmp_path / "out"
    assert announced_line(output) is None
    output.write_text(text)
    assert announced_line(output) == expected
