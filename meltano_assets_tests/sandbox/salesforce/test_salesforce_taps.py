"""W2: Singer's and Airbyte's connectors of Salesforce, unmodified, from environments of their own."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from meltano_assets_tests.sandbox.other_environment import installed
from meltano_assets_tests.sandbox.salesforce.conftest import Api
from meltano_assets_tests.sandbox.test_billing_clients import synced
from meltano_assets_tests.sandbox.vendor_address import as_vendor

pytestmark = pytest.mark.slow


def test_tap_salesforce_by_both_of_its_ways(api: Api, tmp_path: Path) -> None:
    # The tap sleeps twenty seconds whenever a batch is not ready at once.
    api.org.bulk_polls = 0
    known = api.org.credentials
    tap = installed(tmp_path, "tap-salesforce==2.8.1") / "tap-salesforce"
    config = {
        "refresh_token": known.refresh_token,
        "client_id": known.client_id,
        "client_secret": known.client_secret,
        "start_date": "2022-01-01T00:00:00Z",
    }
    # The tap asks for deleted records too.
    wanted = {"User": 3, "Account": 20, "Contact": 15, "Opportunity": 10}
    with as_vendor(api.base, ("login.salesforce.com",), tmp_path) as environment:
        for way in ("REST", "BULK"):
            settings = {**config, "api_type": way}
            counts = synced(tap, settings, set(wanted), tmp_path, environment, "--properties")
            assert counts == wanted, way


def test_airbyte_source_salesforce_by_both_of_its_ways(api: Api, tmp_path: Path) -> None:
    api.org.bulk_polls = 0
    known = api.org.credentials
    programs = installed(tmp_path, "airbyte-source-salesforce==2.10.3")
    settings, catalog = tmp_path / "config.json", tmp_path / "catalog.json"
    wanted = {"User": 3, "Account": 20, "Contact": 15, "Opportunity": 10}
    with as_vendor(api.base, ("login.salesforce.com",), tmp_path) as environment:

        def run(*arguments: str) -> list[dict[str, Any]]:
            command = [programs / "source-salesforce", *arguments, "--config", settings]
            # What it downloads it keeps in files of its working directory, and leaves them there.
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
                env=environment,
                cwd=tmp_path,
            )
            assert done.returncode == 0, done.stdout[-3000:]
            return [json.loads(line) for line in done.stdout.splitlines()]

        for is_bulk in (False, True):
            config = {
                "auth_type": "Client",
                "refresh_token": known.refresh_token,
                "client_id": known.client_id,
                "client_secret": known.client_secret,
                # It reads what changed since, and would read the last two years without.
                "start_date": "2023-12-01T00:00:00Z",
                "stream_slice_step": "P3000D",
                "force_use_bulk_api": is_bulk,
            }
            settings.write_text(json.dumps(config))
            (found,) = (m["catalog"] for m in run("discover") if m["type"] == "CATALOG")
            chosen = [
                {"stream": each, "sync_mode": "incremental", "destination_sync_mode": "append"}
                for each in found["streams"]
                if each["name"] in wanted
            ]
            catalog.write_text(json.dumps({"streams": chosen}))
            messages = run("read", "--catalog", str(catalog))
            streams = (m["record"]["stream"] for m in messages if m["type"] == "RECORD")
            assert Counter(streams) == wanted, is_bulk
