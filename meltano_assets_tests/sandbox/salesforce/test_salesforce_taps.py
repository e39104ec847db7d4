"""W2: the Singer tap of Salesforce, unmodified, from an environment of its own."""

from __future__ import annotations

from pathlib import Path

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
