"""Sessions: OAuth, SOAP, expiry, and what is known without one."""

from __future__ import annotations

import base64
import json
import time
import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest
import requests

from meltano_assets_tests.sandbox.salesforce.conftest import Api, known_id

_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def _token(api: Api, form: dict[str, str], **options: object) -> requests.Response:
    return requests.post(
        f"{api.base}/services/oauth2/token",
        data=form,
        timeout=10,
        **options,  # type: ignore[arg-type]
    )


def _client(api: Api) -> dict[str, str]:
    known = api.org.credentials
    return {"client_id": known.client_id, "client_secret": known.client_secret}


def _works(api: Api, answer: requests.Response) -> bool:
    body = answer.json()
    assert answer.status_code == 200, body
    assert body["instance_url"] == api.base
    assert body["token_type"] == "Bearer"
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    return requests.get(f"{api.data}/limits", headers=headers, timeout=10).status_code == 200


def _assertion(api: Api, **changes: object) -> str:
    claims = {
        "iss": api.org.credentials.client_id,
        "sub": api.org.credentials.username,
        "aud": "https://login.salesforce.com",
        "exp": int(time.time()) + 60,
        **changes,
    }
    parts = [{"alg": "RS256"}, claims]
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    ]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def test_every_grant_gives_a_session(shared: Api) -> None:
    known = shared.org.credentials
    person = {"username": known.username, "password": known.password + known.security_token}
    assert _works(shared, _token(shared, {"grant_type": "client_credentials", **_client(shared)}))
    basic = (known.client_id, known.client_secret)
    assert _works(shared, _token(shared, {"grant_type": "client_credentials"}, auth=basic))
    assert _works(shared, _token(shared, {"grant_type": "password", **_client(shared), **person}))
    refresh = {"grant_type": "refresh_token", "refresh_token": known.refresh_token}
    assert _works(shared, _token(shared, {**refresh, **_client(shared)}))
    assert _works(shared, _token(shared, {"grant_type": _JWT, "assertion": _assertion(shared)}))


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "invalid_client_id"),
        ({"grant_type": "client_credentials", "client_id": "x"}, "invalid_client_id"),
        (
            {"grant_type": "client_credentials", "client_id": "!", "client_secret": "x"},
            "invalid_client",
        ),
        ({"grant_type": "password", "client_id": "!", "client_secret": "!"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "client_id": "!", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": _JWT, "assertion": "x.y"}, "invalid_grant"),
        ({"grant_type": _JWT, "assertion": "old"}, "invalid_grant"),
    ],
)
def test_bad_logins_name_their_reason(shared: Api, form: dict[str, str], error: str) -> None:
    known = {k: v for k, v in form.items() if v != "!"}
    known |= {k: _client(shared)[k] for k, v in form.items() if v == "!"}
    if form.get("assertion") == "old":
        known["assertion"] = _assertion(shared, exp=int(time.time()) - 10)
    answer = _token(shared, known)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    assert answer.json()["error_description"]


def _soap(api: Api, username: str, password: str) -> requests.Response:
    body = (
        '<?xml version="1.0" encoding="utf-8" ?><env:Envelope '
        'xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"><env:Body>'
        '<n1:login xmlns:n1="urn:partner.soap.sforce.com">'
        f"<n1:username>{username}</n1:username><n1:password>{password}</n1:password>"
        "</n1:login></env:Body></env:Envelope>"
    )
    headers = {"Content-Type": "text/xml", "SOAPAction": "login"}
    return requests.post(f"{api.base}/services/Soap/u/59.0", body, headers=headers, timeout=10)


def test_soap_login(shared: Api) -> None:
    known = shared.org.credentials
    answer = _soap(shared, known.username, known.password + known.security_token)
    assert answer.status_code == 200
    name = "{urn:partner.soap.sforce.com}"
    result = ET.fromstring(answer.content).find(f".//{name}result")
    assert result is not None
    assert str(result.findtext(f"{name}serverUrl")).startswith(
        f"{shared.base}/services/Soap/u/59.0/"
    )
    assert result.findtext(f"{name}userId") == known_id("005", 1)
    assert result.findtext(f"{name}userInfo/{name}userName") == known.username
    headers = {"Authorization": f"OAuth {result.findtext(f'{name}sessionId')}"}
    assert requests.get(f"{shared.data}/limits", headers=headers, timeout=10).status_code == 200


def test_soap_login_fault(shared: Api) -> None:
    answer = _soap(shared, shared.org.credentials.username, "wrong &amp; worse")
    assert answer.status_code == 500
    fault = ET.fromstring(answer.content)
    code = fault.find(".//{urn:fault.partner.soap.sforce.com}exceptionCode")
    assert code is not None
    assert code.text == "INVALID_LOGIN"
    assert fault.findtext(".//faultcode") == "sf:INVALID_LOGIN"


def test_a_session_that_is_not_alive_is_refused(api: Api) -> None:
    assert api.get("/limits").status_code == 200
    api.faults.arm("expire_session")
    expired = api.get("/limits")
    assert api.error(expired) == (401, "INVALID_SESSION_ID")
    assert expired.json() == [
        {"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}
    ]
    assert api.get("/limits").status_code == 401
    api.login()
    assert api.get("/limits").status_code == 200
    token = str(api.session.headers["Authorization"]).partition(" ")[2]
    revoked = requests.post(f"{api.base}/services/oauth2/revoke", data={"token": token}, timeout=10)
    assert revoked.status_code == 200
    assert api.get("/limits").status_code == 401


def test_versions_are_known_without_a_session(shared: Api) -> None:
    versions = requests.get(f"{shared.base}/services/data/", timeout=10).json()
    assert {"label": "Winter '24", "url": "/services/data/v59.0", "version": "59.0"} in versions
    assert requests.get(f"{shared.base}/services/data/v59.0/", timeout=10).status_code == 401
    resources = shared.get("/").json()
    assert resources["sobjects"] == "/services/data/v59.0/sobjects"
    assert shared.error(shared.get(f"{shared.base}/services/data/v99.0/limits")) == (
        404,
        "NOT_FOUND",
    )
    assert shared.error(shared.get("/nonsense")) == (404, "NOT_FOUND")


def test_identity_of_the_user(shared: Api) -> None:
    token = shared.login()
    user = shared.get(f"{shared.base}/services/oauth2/userinfo").json()
    assert user["preferred_username"] == "user1@company.test"
    identity = shared.get(user["sub"]).json()
    assert identity["user_id"] == known_id("005", 1)
    told = requests.post(
        f"{shared.base}/services/oauth2/introspect",
        data={"token": token, **_client(shared)},
        timeout=10,
    ).json()
    assert told["active"] is True


def test_links_follow_the_address_the_client_used(shared: Api) -> None:
    answer = requests.post(
        f"{shared.base}/services/oauth2/token",
        data={"grant_type": "client_credentials", **_client(shared)},
        headers={"Host": "crm.example.com", "X-Forwarded-Proto": "https"},
        timeout=10,
    )
    assert answer.json()["instance_url"] == "https://crm.example.com"


def test_limits_have_the_names_of_their_version(shared: Api) -> None:
    assert "DailyBulkApiBatches" in shared.get("/limits").json()
    older = shared.get(f"{shared.base}/services/data/v41.0/limits").json()
    assert "DailyBulkApiRequests" in older


def test_the_daily_limit_holds_until_the_next_day(api: Api) -> None:
    api.org.daily_api_limit = api.org.api_requests + 2
    limit = api.get("/limits").json()["DailyApiRequests"]
    assert (limit["Max"], limit["Remaining"]) == (api.org.daily_api_limit, 1)
    last = api.get("/limits")
    assert (
        last.headers["Sforce-Limit-Info"]
        == f"api-usage={api.org.daily_api_limit}/{api.org.daily_api_limit}"
    )
    assert api.error(api.get("/limits")) == (403, "REQUEST_LIMIT_EXCEEDED")
    api.clock.at += timedelta(days=1)
    assert api.get("/limits").status_code == 200
