from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.process_locks import (
    is_held,
    kill_holders,
    lock_within,
    open_private,
    signal_holder,
    try_lock,
    write_holder,
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "a lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has inherited the lock, and told so in the file."""
    descriptor = open_private(lock)
    assert try_lock(descriptor)
    process = subprocess.Popen(["sleep", "600"], pass_fds=[descriptor])
    write_holder(descriptor, process.pid)
    os.close(descriptor)
    yield process
    process.kill()
    process.wait()


def test_lock_lives_as_long_as_the_process_that_inherited_it(
    lock: Path, holder: subprocess.Popen[bytes]
) -> None:
    assert is_held(lock)
    mine = open_private(lock)
    assert not lock_within(mine, 0.05)
    holder.kill()
    assert lock_within(mine, 10.0)
    os.close(mine)
    assert not is_held(lock)


def test_lock_that_was_never_made_is_not_held(lock: Path) -> None:
    assert not is_held(lock)
    signal_holder(lock, signal.SIGKILL, "nothing")


def test_signal_reaches_the_holder(lock: Path, holder: subprocess.Popen[bytes]) -> None:
    signal_holder(lock, signal.SIGTERM, "the service")
    assert holder.wait(10) == -signal.SIGTERM


def test_processes_that_only_look_at_the_lock_are_never_killed(
    lock: Path, holder: subprocess.Popen[bytes]
) -> None:
    looking = os.open(lock, os.O_RDONLY)
    onlooker = subprocess.Popen(["sleep", "600"], pass_fds=[looking])
    os.close(looking)
    try:
        assert kill_holders(lock)
        assert holder.wait(10) == -signal.SIGKILL
        assert onlooker.poll() is None
    finally:
        onlooker.kill()
        onlooker.wait()


def test_process_that_has_the_told_id_but_not_the_lock_is_never_signalled(
    lock: Path, holder: subprocess.Popen[bytes]
) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        told = json.loads(lock.read_text())
        lock.write_text(json.dumps(told | {"pid": stranger.pid}))
        signal_holder(lock, signal.SIGKILL, "the service")
        assert stranger.poll() is None
        assert holder.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_holder_in_another_container_is_not_signalled(
    lock: Path, holder: subprocess.Popen[bytes]
) -> None:
    told = json.loads(lock.read_text())
    lock.write_text(json.dumps(told | {"home": "another boot"}))
    with pytest.raises(RetriableError, match="used from another container"):
        signal_holder(lock, signal.SIGKILL, "the service")
    assert holder.poll() is None


def test_lock_files_are_private_and_not_inherited(lock: Path) -> None:
    descriptor = open_private(lock)
    assert lock.stat().st_mode & 0o777 == 0o600
    assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(descriptor)


def test_file_that_cannot_be_opened_is_a_fatal_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="missing/lock cannot be opened") as caught:
        open_private(tmp_path / "missing" / "lock")
    assert "MELTANO_STATE_DIR" in str(caught.value)
