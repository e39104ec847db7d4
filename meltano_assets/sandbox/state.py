"""What the sandbox remembers between runs: which company, which day, which ports and secrets."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from meltano_assets.sandbox.company import Company

#: Client writes of a day carry times up to this long after its beginning (see ``company.py``).
_QUIET_HOURS = timedelta(hours=3, minutes=59)


class StateFolder:
    """A private folder of small JSON files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, name: str) -> dict[str, object]:
        """The file's object; empty when there is none yet."""
        try:
            content = json.loads((self.path / f"{name}.json").read_text())
        except FileNotFoundError:
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, name: str, content: Mapping[str, object]) -> None:
        """Replace the file at once or not at all."""
        target = self.path / f"{name}.json"
        draft = self.path / f".{name}.{os.getpid()}.json"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file, indent=1)
        draft.replace(target)

    def company(self, seed: int, scale: float, today: date | None) -> Company:
        """The company of this folder; ``today`` counts on the first run only.

        ValueError when the folder holds another company.
        """
        known = self.read("company")
        if known and (known["seed"], known["scale"]) != (seed, scale):
            raise ValueError(
                f"{self.path} holds the company of seed {known['seed']} and scale"
                f" {known['scale']}, not of seed {seed} and scale {scale};"
                " use the same values or another folder"
            )
        if known:
            today = date.fromisoformat(str(known["today"]))
        company = Company(seed, scale, today)
        self.write("company", {"seed": seed, "scale": scale, "today": company.today.isoformat()})
        return company

    def secrets(self) -> dict[str, str]:
        """Random credentials, made on the first run."""
        known = {name: str(value) for name, value in self.read("credentials").items()}
        for name in _SECRETS:
            known.setdefault(name, secrets.token_urlsafe(18).replace("-", "x").replace("_", "y"))
        self.write("credentials", known)
        return known


_SECRETS = (
    "zendesk_api_token",
    "zendesk_oauth_token",
    "discoverorg_password",
    "discoverorg_partner_key",
    "clearbit_api_key",
    "version_password",
    "netsuite_consumer_key",
    "netsuite_consumer_secret",
    "netsuite_token_id",
    "netsuite_token_secret",
    "netsuite_password",
    "zuora_client_secret",
    "zuora_password",
    "stripe_api_key",
    "marketo_client_id",
    "marketo_client_secret",
    "lever_api_key",
    "lever_oauth_token",
)


class CompanyClock:
    """The company's time: whole days by ``advance``, and seconds as they pass meanwhile."""

    def __init__(self, company: Company, folder: StateFolder) -> None:
        self._company = company
        self._folder = folder
        known = folder.read("clock")
        self._day = int(str(known.get("day", 0)))
        self._began_at = float(str(known.get("began_at", time.time())))
        self._save()

    @property
    def day(self) -> int:
        """How many days have been lived since the anchor."""
        return self._day

    def now(self) -> datetime:
        """The moment; never beyond the time that belongs to clients before the next day."""
        passed = timedelta(seconds=max(0.0, time.time() - self._began_at))
        return self._company.now(self._day) + min(passed, _QUIET_HOURS)

    def move_to(self, day: int) -> None:
        """Remember that this day has been reached."""
        self._day = day
        self._began_at = time.time()
        self._save()

    def days_left(self) -> int:
        """How many days can be lived before the company overtakes the real present."""
        return max(0, (datetime.now(UTC) - self._company.now(self._day)).days)

    def _save(self) -> None:
        self._folder.write("clock", {"day": self._day, "began_at": self._began_at})


def remembered_ports(folder: StateFolder) -> dict[str, int]:
    """Service → the port of the last run."""
    ports: dict[str, int] = {}
    for name, port in folder.read("ports").items():
        with contextlib.suppress(ValueError):
            ports[name] = int(str(port))
    return ports
