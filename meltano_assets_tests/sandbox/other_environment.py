"""Other people's clients, each installed from the package index into an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PATIENCE_SECONDS = 300


def installed(folder: Path, *requirements: str) -> Path:
    """The ``bin`` folder of a new environment with these packages.

    Skips where no package index can be reached; a requirement that cannot be installed although
    the index answers fails the test.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120)
    programs = folder / "venv" / "bin"
    done = _pip(programs, *requirements)
    if done.returncode:
        # Whether the index answers is asked with a package that every index has.
        probe = _pip(programs, "--dry-run", "--ignore-installed", "--no-deps", "pip")
        if probe.returncode:
            pytest.skip("the package index cannot be reached")
        pytest.fail(f"cannot install {', '.join(requirements)}:\n{done.stderr[-2000:]}")
    return programs


def _pip(programs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    pip = [str(programs / "python"), "-m", "pip", "install", "-q", "--retries", "1"]
    return subprocess.run(
        [*pip, "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
