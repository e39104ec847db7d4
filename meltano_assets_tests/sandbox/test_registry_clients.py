"""W2: other people's clients of RDAP, unmodified, from an environment of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meltano_assets.sandbox.company import Company
from meltano_assets_tests.sandbox.conftest import Sandbox
from meltano_assets_tests.sandbox.other_environment import installed
from meltano_assets_tests.sandbox.test_billing_clients import run
from meltano_assets_tests.sandbox.test_registries import domain_with
from meltano_assets_tests.sandbox.vendor_address import as_vendor

pytestmark = pytest.mark.slow

_SCRIPT = """
import json, sys
import asyncwhois, whodap, whoisit
told, moved, hidden = sys.argv[1:]
whoisit.bootstrap()
found = whoisit.domain(told)
answer = {
    "name": found["name"].lower(),
    "registrant": found["entities"]["registrant"][0]["name"],
    "expires": found["expiration_date"].year,
    "moved": whoisit.domain(moved)["name"],
    "network": whoisit.ip("1.1.1.1")["type"],
    "parsed": asyncwhois.rdap(told)[1]["domain_name"].lower(),
}
try:
    whoisit.domain(hidden)
except whoisit.errors.ResourceDoesNotExist:
    answer["absent"] = True
try:
    asyncwhois.rdap(hidden)
except whodap.errors.NotFoundError:
    answer["not found"] = True
print(json.dumps(answer))
"""


def test_whoisit_and_asyncwhois(sandbox: Sandbox, small_company: Company, tmp_path: Path) -> None:
    told = domain_with(small_company, "com", "organisation")
    moved = domain_with(small_company, "co.uk", "redacted")
    python = installed(tmp_path, "whoisit==4.1.0", "asyncwhois==1.1.15") / "python"
    base = str(sandbox.manifest["rdap"]["bootstrap_url"]).split("/rdap/", maxsplit=1)[0]
    command = [str(python), "-c", _SCRIPT, told, moved, "nobody-at-all.com"]
    with as_vendor(base, ("data.iana.org",), tmp_path) as environment:
        answer = json.loads(run(command, environment).splitlines()[-1])
    organisation = small_company.domain_facts(0)[told].organisation
    assert organisation is not None
    # A registrant may be told with the form of the company behind its name.
    assert answer.pop("registrant").startswith(organisation.name)
    assert answer == {
        "name": told,
        "expires": 2031,
        "moved": moved,
        "network": "ip network",
        "parsed": told,
        "absent": True,
        "not found": True,
    }
