"""The sandbox company over real sockets, for every test of the sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.warehouse.server import EmbeddedServer


@dataclass
class Vendors:
    """The running sandbox: settings by vendor, and its control service."""

    manifest: Mapping[str, Mapping[str, object]]
    #: Days that it was moved on since it came up.
    days: int = 0
    is_armed: bool = False
    _session: requests.Session = field(default_factory=requests.Session)

    def settings(self, name: str) -> dict[str, str]:
        """What ``Source.connect`` takes."""
        return {key: str(value) for key, value in self.manifest[name].items()}

    def arm(self, service: str, kind: str, times: int | None = 1, **options: object) -> None:
        """Let a service misbehave so many times, or until cleared."""
        fault = {"service": service, "kind": kind, "times": times, **options}
        self.is_armed = True
        self._call("POST", "/faults", json=fault)

    def advance(self, days: int) -> None:
        """Move the company's time."""
        self.days += days
        self._call("POST", f"/advance?days={days}")

    def clear_faults(self) -> None:
        """Let everything behave again."""
        if self.is_armed:
            self._call("DELETE", "/faults")
        self.is_armed = False

    def armed(self) -> dict[str, object]:
        """The faults that did not come about yet."""
        return dict(self._call("GET", "/faults"))

    def truths(self) -> dict[str, Any]:
        """What the company knows of itself."""
        return dict(self._call("GET", "/truths"))

    def asked(self, service: str) -> dict[str, int]:
        """Path → how often it was asked for, since the company came up."""
        return dict(self._call("GET", "/requests")[service]["by_path"])

    def _call(self, method: str, path: str, json: object = None) -> Any:
        address = f"{self.manifest['control']['base_url']}{path}"
        answer = self._session.request(method, address, json=json, timeout=60)
        assert answer.ok, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def running_vendors(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vendors]:
    """One small company for the session."""
    with serve_in_thread(
        state_dir=tmp_path_factory.mktemp("company"),
        postgres_url=server.url("postgres"),
        database="sandbox_sources",
        scale=0.3,
    ) as manifest:
        yield Vendors(manifest)


@pytest.fixture
def vendors(running_vendors: Vendors) -> Iterator[Vendors]:
    """The company, with no fault armed before and after."""
    yield running_vendors
    running_vendors.clear_faults()
