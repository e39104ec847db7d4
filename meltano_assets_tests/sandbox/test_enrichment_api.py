"""DiscoverOrg and Clearbit by their contracts, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from meltano_assets.sandbox.company import Company
from meltano_assets_tests.sandbox.conftest import Sandbox


def log_in(sandbox: Sandbox, **changes: str) -> requests.Response:
    """DiscoverOrg's login with the announced credentials."""
    settings = sandbox.manifest["discoverorg"]
    body = {
        "username": settings["username"],
        "password": settings["password"],
        "partnerKey": settings["partner_key"],
        **changes,
    }
    return requests.post(settings["base_url"] + "/papi/login", json=body, timeout=10)


def search(sandbox: Sandbox, token: str, criteria: object) -> requests.Response:
    """DiscoverOrg's company search."""
    url = sandbox.manifest["discoverorg"]["base_url"] + "/papi/v1/search/companies"
    headers = {"X-AUTH-TOKEN": token}
    return requests.post(url, json={"companyCriteria": criteria}, headers=headers, timeout=10)


def find(sandbox: Sandbox, domain: str, **headers: str) -> requests.Response:
    """Clearbit's company look-up."""
    settings = sandbox.manifest["clearbit"]
    return requests.get(
        settings["base_url"] + "/v2/companies/find",
        params={"domain": domain},
        auth=(settings["api_key"], "") if not headers else None,
        headers=headers,
        timeout=10,
    )


def domains(company: Company, **wanted: object) -> list[str]:
    """Domains whose facts have these values."""
    return [
        name
        for name, facts in company.domain_facts(0).items()
        if facts.organisation and all(getattr(facts, k) == v for k, v in wanted.items())
    ]


def test_discoverorg_knows_what_the_truths_say(sandbox: Sandbox) -> None:
    token = log_in(sandbox).headers["X-AUTH-TOKEN"]
    hits = sandbox.truths()["enrichment"]["provider_hits"]
    names = sandbox.truths()["enrichment"]["company_names"]
    for domain, provider in hits.items():
        page = search(sandbox, token, {"emailDomains": [domain]}).json()
        assert page["numberOfElements"] == len(page["content"]) == (provider == "discoverorg")
        for company in page["content"]:
            assert company["name"] == names[domain]
            assert company["emailDomain"] == domain
            assert isinstance(company["numEmployees"], int)


def test_discoverorg_takes_the_older_criteria(sandbox: Sandbox, small_company: Company) -> None:
    token = log_in(sandbox).headers["X-AUTH-TOKEN"]
    domain = domains(small_company, discoverorg=True)[0]
    criteria = {"queryString": domain, "queryStringApplication": ["EMAIL_DOMAIN"]}
    assert search(sandbox, token, criteria).json()["content"][0]["emailDomain"] == domain
    assert search(sandbox, token, {"nonsense": 1}).status_code == 400


def test_discoverorg_checks_credentials_and_tokens(sandbox: Sandbox) -> None:
    for wrong in ({"password": "x"}, {"partnerKey": "x"}, {"username": "x"}):
        answer = log_in(sandbox, **wrong)
        assert answer.status_code == 401
        assert "X-AUTH-TOKEN" not in answer.headers
    assert search(sandbox, "invented", {"emailDomains": ["a.com"]}).status_code == 401
    token = log_in(sandbox).headers["X-AUTH-TOKEN"]
    sandbox.arm("discoverorg", "expire_session")
    assert search(sandbox, token, {"emailDomains": ["a.com"]}).status_code == 401
    fresh = log_in(sandbox).headers["X-AUTH-TOKEN"]
    assert search(sandbox, fresh, {"emailDomains": ["a.com"]}).json()["content"] == []


def test_clearbit_finds_a_company(sandbox: Sandbox, small_company: Company) -> None:
    domain = domains(small_company, clearbit="hit")[0]
    organisation: Any = small_company.domain_facts(0)[domain].organisation
    answer = find(sandbox, domain)
    assert answer.status_code == 200
    company = answer.json()
    assert company["name"] == organisation.name
    assert company["legalName"] == organisation.legal_name
    assert company["metrics"]["employees"] == organisation.employees
    assert company["category"]["industry"] == organisation.industry
    assert company["domain"] == domain
    assert int(answer.headers["X-RateLimit-Remaining"]) >= 0
    key = sandbox.manifest["clearbit"]["api_key"]
    assert find(sandbox, domain, Authorization=f"Bearer {key}").json() == company


def test_clearbit_finds_a_company_by_id_name_and_address(
    sandbox: Sandbox, small_company: Company
) -> None:
    settings = sandbox.manifest["clearbit"]
    base, auth = str(settings["base_url"]), (str(settings["api_key"]), "")

    def ask(path: str, method: str = "GET", **params: str) -> requests.Response:
        return requests.request(method, base + path, params=params, auth=auth, timeout=10)

    company = find(sandbox, domains(small_company, clearbit="hit")[0]).json()
    path = f"/v2/companies/{company['id']}"
    assert ask(path).json() == company
    assert ask(f"{path}/flag", "POST").status_code == 200
    named = ask("/v1/domains/find", name=company["name"].upper()).json()
    assert named["name"] == company["name"]
    assert find(sandbox, named["domain"]).json()["name"] == company["name"]
    combined = ask("/v2/combined/find", email=f"a@{company['domain']}").json()
    assert combined == {"person": None, "company": company}
    for where, params, status in (
        ("/v2/companies/x", {}, 404), ("/v1/domains/find", {"name": "nobody"}, 404),
        ("/v1/domains/find", {}, 422), ("/v2/combined/find", {"email": "a"}, 422),
        ("/v2/combined/find", {"email": "a@nobody-knows-this.com"}, 404),
        ("/v2/people/find", {"email": "a@b.com"}, 404), ("/v2/people/find", {}, 422),
        ("/v9/wings", {}, 404),
    ):  # fmt: skip
        answer = ask(where, **params)
        assert answer.status_code == status, where
        assert set(answer.json()["error"]) == {"type", "message"}
    assert ask("/v2/companies/x/flag", "POST").status_code == 404


def test_clearbit_has_an_answer_for_each_case(sandbox: Sandbox, small_company: Company) -> None:
    pending = domains(small_company, clearbit="pending")[0]
    cases = {
        pending: (202, "queued"),
        "nobody-knows-this.com": (404, "unknown_record"),
        "gmail.com": (422, "params_invalid"),
        "not a domain": (422, "params_invalid"),
        "": (422, "params_invalid"),
    }
    for domain, (status, kind) in cases.items():
        answer = find(sandbox, domain)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind), domain


def test_clearbit_finds_a_pending_company_some_days_later(own_sandbox: Sandbox) -> None:
    domain = own_sandbox.truths()["enrichment"]["clearbit_pending"][0]
    assert find(own_sandbox, domain).status_code == 202
    own_sandbox.advance(3)
    assert find(own_sandbox, domain).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        ("throttle", 429, "rate_limit"),
        ("quota", 402, "over_quota"),
        ("server_error", 500, "api_error"),
    ],
)
def test_clearbit_misbehaves_in_its_own_form(
    sandbox: Sandbox, kind: str, status: int, word: str
) -> None:
    sandbox.arm("clearbit", kind)
    answer = find(sandbox, "gmail.com")
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, word)
    assert find(sandbox, "gmail.com").status_code == 422


def test_clearbit_refuses_a_wrong_key(sandbox: Sandbox) -> None:
    answer = find(sandbox, "gmail.com", Authorization="Bearer wrong")
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "auth_invalid")
