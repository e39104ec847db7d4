"""A small company, and its services running in a thread for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.control import Manifest
from meltano_assets.sandbox.server import serve_in_thread

SEED = 7
SCALE = 0.2
TODAY = date(2025, 6, 1)


class Sandbox:
    """The manifest of a running sandbox, with the words that tests need."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest: dict[str, dict[str, Any]] = manifest
        self.control = str(manifest["control"]["base_url"])

    def arm(self, service: str, kind: str, **options: object) -> None:
        """Arm a fault."""
        answer = requests.post(
            f"{self.control}/faults", json={"service": service, "kind": kind, **options}, timeout=10
        )
        assert answer.status_code == 200, answer.text

    def clear(self) -> None:
        """Disarm everything and forget the counts."""
        requests.delete(f"{self.control}/faults", timeout=10).raise_for_status()
        requests.delete(f"{self.control}/requests", timeout=10).raise_for_status()

    def advance(self, days: int = 1) -> dict[str, Any]:
        """Let the company live on."""
        answer = requests.post(f"{self.control}/advance", params={"days": days}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def truths(self) -> dict[str, Any]:
        """The truths of the present day."""
        return requests.get(f"{self.control}/truths", timeout=30).json()

    def counts(self, service: str) -> dict[str, Any]:
        """How often a service was asked."""
        return requests.get(f"{self.control}/requests", timeout=10).json()[service]


@pytest.fixture(scope="session")
def small_company() -> Company:
    """The company that ``running`` serves, at day 0 or later."""
    return Company(SEED, SCALE, TODAY)


@pytest.fixture(scope="session")
def session_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for the session; it stays at day 0."""
    with serve_in_thread(
        state_dir=tmp_path_factory.mktemp("sandbox"), seed=SEED, scale=SCALE, today=TODAY
    ) as manifest:
        yield Sandbox(manifest)


@pytest.fixture
def sandbox(session_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The session's sandbox, behaving well."""
    session_sandbox.clear()
    yield session_sandbox
    session_sandbox.clear()


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox of the test's own, which may move in time."""
    with serve_in_thread(
        state_dir=tmp_path / "company", seed=SEED, scale=0.05, today=TODAY
    ) as manifest:
        yield Sandbox(manifest)
