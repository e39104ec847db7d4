"""Other people's clients, each installed from its package index into an environment of its own."""

from __future__ import annotations

import shutil
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


def node_packages(folder: Path, *packages: str) -> Path:
    """A folder in which Node.js finds these packages.

    Skips where there is no Node.js or no registry can be reached; a package that cannot be installed
    although the registry answers fails the test.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
    done = _quiet([*command, *packages], folder)
    if done.returncode:
        if _quiet([npm, "view", "npm", "name"], folder).returncode:
            pytest.skip("the package registry cannot be reached")
        pytest.fail(f"cannot install {', '.join(packages)}:\n{done.stderr[-2000:]}")
    return folder


def _quiet(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
