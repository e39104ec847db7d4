"""The command line under test: in this process where that is enough, else as a user starts it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from meltano_assets import cli, connections
from meltano_assets.environment import Variable, project_root
from meltano_assets.hosts import waterfall
from meltano_assets.sources import SOURCES
from meltano_assets_tests.sources.conftest import Vendors

PROGRAM = [sys.executable, "-m", "meltano_assets.cli"]


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def command(*words: str) -> Ran:
    """Run the command in this process, through the edge that every failure meets."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(lambda: cli.app(list(words)))
    return Ran(code, out.getvalue(), err.getvalue())


def start(*words: str, **options: object) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [*PROGRAM, *words],
        cwd=project_root(),
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": dict(os.environ)} | options,
    )


def process(*words: str, stdin: bytes = b"") -> Ran:
    """The command as a process of its own, run to its end."""
    with start(*words, stdin=subprocess.PIPE) as running:
        out, err = running.communicate(stdin, timeout=60)
    return Ran(running.returncode, out.decode(), err.decode())


def variables(vendors: Vendors) -> dict[str, str]:
    """The environment variables that lead every source and provider to a company."""
    groups: Mapping[str, tuple[Variable, ...]] = {
        **{source.name: source.variables for source in SOURCES},
        **waterfall.VARIABLES,
    }
    found = {}
    for vendor, group in groups.items():
        settings = vendors.settings(vendor)
        found |= {each.name: settings[each.setting] for each in group if each.setting in settings}
    return found


@contextlib.contextmanager
def nothing_looked_up() -> Iterator[None]:
    """What this process has looked up is forgotten before and after."""
    connections.release()
    try:
        yield
    finally:
        connections.release()
