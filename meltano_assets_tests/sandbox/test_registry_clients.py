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


_PYTHON_WHOIS = """
import json, socket, sys
known, domains, absent = json.loads(sys.argv[1]), sys.argv[2:-1], sys.argv[-1]
real = socket.socket.connect
def connect(self, address):
    # The client knows no other port; what it finds behind it is the stand-in.
    if address[1] == 43:
        prefix = "iana_" if "iana" in address[0] else ""
        address = (known[prefix + "host"], known[prefix + "port"])
    return real(self, address)
socket.socket.connect = connect
import whois
told = {}
for domain in domains:
    entry = whois.whois(domain)
    told[domain] = [entry.org or entry.get("registrant_name"), entry.creation_date is not None]
for domain in absent.split(","):
    try:
        whois.whois(domain)
    except whois.exceptions.WhoisDomainNotFoundError:
        told[domain] = "not found"
print(json.dumps(told))
"""


def test_python_whois(sandbox: Sandbox, small_company: Company, tmp_path: Path) -> None:
    domains = {tld: domain_with(small_company, tld, "organisation") for tld in ("com", "com.br")}
    python = installed(tmp_path, "python-whois==0.9.6") / "python"
    absent = ["nobody-at-all.com", "nobody-at-all.com.br", "nobody-at-all.org"]
    known = json.dumps(sandbox.manifest["whois"])
    script = [str(python), "-c", _PYTHON_WHOIS, known, *domains.values(), ",".join(absent)]
    told = json.loads(run(script, {}).splitlines()[-1])
    for domain in domains.values():
        organisation = small_company.domain_facts(0)[domain].organisation
        assert organisation is not None
        name, has_date = told.pop(domain)
        assert name.startswith(organisation.name)
        assert has_date
    assert told == dict.fromkeys(absent, "not found")
