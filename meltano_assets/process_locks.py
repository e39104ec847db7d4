"""Locks between processes, and how to reach whoever holds one.

Belongs here: ``flock`` on private files, which the kernel releases with the last process that has
the file open, and signals to holders that are sure to hit nobody else. Does not belong here: what
is locked and why (``shared_process.py``).

A lock file tells the id of the process that it was taken for. The id is believed only while the
lock is held, only on the same boot and in the same process namespace, and, where /proc can be
read, only if that process has the file open for writing (a look at the lock opens it for reading).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from pathlib import Path

from meltano_assets.errors import FatalError, RetriableError

POLL_SECONDS = 0.02
#: Time for the children of a service that died to notice it, before they are killed.
_ORPHAN_SECONDS = 1.0


def open_private(path: Path) -> int:
    """A file for locking (0600), not inherited by children, given to its folder's owner."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # What root makes in another user's folder belongs to that user, who may come back.
        if os.geteuid() == 0 and (owner := path.parent.stat()).st_uid != 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor
    except OSError as error:
        reason = error.strerror
    raise FatalError(
        f"{path} cannot be opened: {reason}",
        hint="set MELTANO_STATE_DIR to a folder of your own on a local disk",
    )


def try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock if it can be had at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(descriptor: int, seconds: float, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock, waiting for it no longer than told."""
    deadline = time.monotonic() + seconds
    while not try_lock(descriptor, kind):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def is_held(path: Path) -> bool:
    """True when some process has the exclusive lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def wait_free(path: Path, seconds: float) -> bool:
    """Wait until nobody has the exclusive lock; False when it takes longer than told."""
    deadline = time.monotonic() + seconds
    while is_held(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def write_holder(descriptor: int, pid: int) -> None:
    """Tell in the lock file for which process the lock was taken."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": pid, "home": home()}).encode(), 0)


def signal_holder(path: Path, number: int, name: str) -> None:
    """Signal the process that the lock file tells of, if it still has the lock.

    FatalError when it belongs to another user, RetriableError when to another container; ``name``
    is what they call it.
    """
    told = read_json(path)
    pid = told.get("pid") if told else None
    if told is None or not isinstance(pid, int):
        return
    if told.get("home") != home():
        raise RetriableError(
            f"{name} in {path.parent} is used from another container",
            hint="stop it there, or set MELTANO_STATE_DIR to another folder here",
        )
    holders = _holders(path)
    if holders is not None and pid not in holders:
        return
    is_allowed = True
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        is_allowed = False
    if not is_allowed:
        raise FatalError(
            f"{name} in {path.parent} was started by another user",
            hint="stop it as that user, or set MELTANO_STATE_DIR to a folder of your own",
        )


def kill_holders(path: Path) -> bool:
    """End whatever still has the lock, after a moment to go by itself; True when nothing is left."""
    if wait_free(path, _ORPHAN_SECONDS):
        return True
    for pid in _holders(path) or ():
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    return wait_free(path, _ORPHAN_SECONDS)


def read_json(path: Path) -> dict[str, object] | None:
    """The JSON object in a file; None when there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _holders(path: Path) -> list[int] | None:
    """The other processes that have this file open for writing; None where /proc is missing."""
    try:
        wanted = path.stat()
        processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:
        return None
    return [pid for pid in processes if pid != os.getpid() and _has_open_for_writing(pid, wanted)]


def _has_open_for_writing(pid: int, wanted: os.stat_result) -> bool:
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            same = [entry.name for entry in entries if os.path.samestat(entry.stat(), wanted)]
        for name in same:
            about = Path(f"/proc/{pid}/fdinfo/{name}").read_text("ascii")
            flags = int(about.split("flags:", 1)[1].split(maxsplit=1)[0], 8)
            if flags & os.O_ACCMODE == os.O_RDWR:
                return True
    except (OSError, IndexError, ValueError):
        return False
    return False


def home() -> str:
    """What makes a process id mean something: this boot and this process namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
