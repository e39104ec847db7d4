"""Singer taps: other people's extractors, each in an environment of its own.

Belongs here: making that environment, running the tap, its catalog, its log. Does not belong here:
what its messages mean for our tables (``sources/singer.py``), and the target (``warehouse/singer.py``).

A tap gets its settings through a file that only it can open and that is gone with it, and none of this
process's variables but those that every program needs. What it logs is handed on line by line without
the secrets that it was given.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import orjson

from meltano_assets import environment, process_locks
from meltano_assets.clients.redaction import redact
from meltano_assets.errors import FatalError, RetriableError

#: A tap that says nothing for so long is ended.
SILENCE_SECONDS = 3600.0
_INSTALL_SECONDS = 1200.0
_DISCOVER_SECONDS = 600.0
_END_SECONDS = 5.0
#: A line of a tap may be long, but not without end.
_LINE_BYTES = 256 << 20
_LAST_LINES = 5
_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9._-]+")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TapSpec:
    """Which tap: what to install, the command it brings, and the Python it runs on (ours by default)."""

    requirements: tuple[str, ...]
    executable: str = ""
    python: str = ""

    @property
    def command(self) -> str:
        """The name of the tap's command: that of its first requirement, when it is not told."""
        if self.executable:
            return self.executable
        found = _REQUIREMENT_NAME.match(self.requirements[0])
        return found.group() if found else self.requirements[0]

    @property
    def fingerprint(self) -> str:
        """Equal for specs that may share an environment."""
        text = json.dumps([self.requirements, self.python or sys.version])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(slots=True)
class Tap:
    """A tap with its settings. ``secrets`` are the values that no log may show."""

    source: str
    spec: TapSpec
    settings: Mapping[str, object] = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    silence_seconds: float = SILENCE_SECONDS
    runs: int = 0

    def discover(self) -> dict[str, object]:
        """The tap's catalog: what it can read."""
        with self._process(["--discover"], {}, _DISCOVER_SECONDS) as running:
            text = b"".join(running.lines())
        try:
            catalog = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise self._failed("its catalog is no JSON") from None
        if not isinstance(catalog, dict) or not isinstance(catalog.get("streams"), list):
            raise self._failed("its catalog has no streams")
        return catalog

    def messages(
        self,
        catalog: Mapping[str, object],
        state: Mapping[str, object] | None,
        overrides: Mapping[str, object],
    ) -> Iterator[bytes]:
        """The lines that the tap writes for this catalog; RetriableError when it fails."""
        files = {"catalog": catalog, **({"state": state} if state is not None else {})}
        arguments = ["--catalog", "{catalog}"] + (["--state", "{state}"] if state else [])
        if uses_properties(self.executable()):
            arguments[0] = "--properties"
        self.runs += 1
        with self._process(arguments, files, self.silence_seconds, overrides) as running:
            yield from running.lines()

    def executable(self) -> Path:
        """The tap's command, installed if it is not yet."""
        return environment_of(self.source, self.spec) / "bin" / self.spec.command

    @contextlib.contextmanager
    def _process(
        self,
        arguments: list[str],
        files: Mapping[str, object],
        patience_seconds: float,
        overrides: Mapping[str, object] | None = None,
    ) -> Iterator[_Running]:
        command = self.executable()
        settings = {**self.settings, **(overrides or {})}
        with contextlib.ExitStack() as held:
            paths, descriptors = {}, []
            for name, content in {"config": settings, **files}.items():
                path, descriptor = held.enter_context(_private_file(name, orjson.dumps(content)))
                paths[name] = path
                if descriptor is not None:
                    descriptors.append(descriptor)
            line = [part.format(**paths) for part in ["--config", "{config}", *arguments]]
            try:
                process = subprocess.Popen(
                    [str(command), *line],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=_environment(command.parent),
                    pass_fds=descriptors,
                    start_new_session=True,
                )
            except OSError as error:
                raise self._failed(
                    f"{self.spec.command} cannot be started ({error.strerror})",
                    hint="name its command with `executable`",
                ) from None
            running = _Running(self, process, patience_seconds)
            try:
                yield running
            finally:
                running.end()

    def _failed(self, message: str, hint: str | None = None) -> FatalError:
        return FatalError(f"the tap failed: {message}", source=self.source, hint=hint)

    def redact(self, text: str) -> str:
        """The text without the secrets of the settings."""
        return redact(text, self.secrets)


class _Running:
    """A tap at work."""

    def __init__(self, tap: Tap, process: subprocess.Popen[bytes], patience_seconds: float) -> None:
        self._tap = tap
        self._process = process
        self._patience = patience_seconds
        self._heard = time.monotonic()
        self._is_silent = False
        self._is_over = threading.Event()
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._threads = [
            threading.Thread(target=self._follow_log, daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def lines(self) -> Iterator[bytes]:
        """What the tap writes; RetriableError when it ends badly."""
        output = self._process.stdout
        assert output is not None
        while line := output.readline(_LINE_BYTES):
            self._heard = time.monotonic()
            if len(line) >= _LINE_BYTES:
                raise FatalError("a line of the tap has no end", source=self._tap.source)
            yield line
        code = self._process.wait()
        self._threads[0].join(_END_SECONDS)
        if self._is_silent:
            raise RetriableError(
                f"the tap said nothing for {self._patience:.0f} s and was ended",
                source=self._tap.source,
                hint="raise silence_minutes if it needs that long",
            )
        if code != 0:
            words = "; ".join(self._last) or "it said nothing"
            raise RetriableError(
                f"the tap failed with code {code}: {words[-600:]}", source=self._tap.source
            )

    def end(self) -> None:
        """End the tap and everything that it started."""
        self._is_over.set()
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _follow_log(self) -> None:
        log = self._process.stderr
        assert log is not None
        with contextlib.suppress(ValueError):  # closed while it was read
            for raw in log:
                self._heard = time.monotonic()
                text = self._tap.redact(raw.decode("utf-8", "replace").rstrip())
                if text:
                    self._last.append(text[:300])
                    _log.info("%s: %s", self._tap.spec.command, text[:2000])

    def _watch(self) -> None:
        while not self._is_over.wait(min(self._patience, 1.0)):
            if self._process.poll() is not None:
                return
            if time.monotonic() - self._heard > self._patience:
                self._is_silent = True
                self._signal(signal.SIGKILL)
                return


@contextlib.contextmanager
def _private_file(name: str, content: bytes) -> Iterator[tuple[str, int | None]]:
    """A path under which a child finds the content, and the descriptor that it has to inherit.

    Where the system has files without a name nothing is ever written to a disk.
    """
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create(name)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}", descriptor
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.touch(mode=0o600)
        path.write_bytes(content)
        yield str(path), None


def _environment(programs: Path) -> dict[str, str]:
    kept = environment.for_other_programs()
    return {**kept, "PATH": f"{programs}:{kept.get('PATH', os.defpath)}", "PYTHONUNBUFFERED": "1"}


def environment_of(source: str, spec: TapSpec) -> Path:
    """The folder of the tap's own environment; made when there is none yet.

    One that was broken off is begun anew; two processes never make the same one.
    """
    taps = environment.state_directory() / "taps"
    folder = taps / f"{source}-{spec.fingerprint}"
    complete = folder / ".complete"
    if complete.exists():
        return folder
    taps.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = process_locks.open_private(taps / f"{source}.lock")
    try:
        if not process_locks.lock_within(lock, _INSTALL_SECONDS):
            raise RetriableError("another process installs the tap", source=source)
        if not complete.exists():
            _log.info("installing %s for %s", ", ".join(spec.requirements), source)
            _run([spec.python or sys.executable, "-m", "venv", "--clear", str(folder)], source)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            pip += ["--disable-pip-version-check", *spec.requirements]
            _run(pip, source)
            if not (folder / "bin" / spec.command).exists():
                raise FatalError(
                    f"{', '.join(spec.requirements)} brings no command {spec.command}",
                    source=source,
                    hint="name its command with `executable`",
                )
            complete.touch()
            for old in taps.glob(f"{source}-*"):
                if old != folder:
                    shutil.rmtree(old, ignore_errors=True)
    finally:
        os.close(lock)
    return folder


def _run(command: list[str], source: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RetriableError(
            f"the tap's environment cannot be made ({type(error).__name__})", source=source
        ) from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        words = re.sub(r"://[^/@\s]+@", "://", said[-1] if said else "no reason given")
        raise FatalError(
            f"the tap cannot be installed: {words[:300]}",
            source=source,
            hint="check the requirement, and that its package index can be reached",
        )


@lru_cache
def uses_properties(command: Path) -> bool:
    """True for taps of the first days, which call their catalog ``--properties``."""
    done = subprocess.run(
        [str(command), "--help"], capture_output=True, text=True, timeout=120, check=False
    )
    return "--properties" in done.stdout and "--catalog" not in done.stdout


def stream_name(stream: Mapping[str, object]) -> str:
    """The name under which a catalog's stream sends its records."""
    return str(stream.get("stream") or stream.get("tap_stream_id") or "")


def metadata_of(stream: Mapping[str, object], breadcrumb: Iterable[str] = ()) -> dict[str, object]:
    """The catalog's words about a stream, or about one of its properties."""
    wanted = list(breadcrumb)
    entries = stream.get("metadata")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("breadcrumb") == wanted:
            found = entry.get("metadata")
            return found if isinstance(found, dict) else {}
    return {}
