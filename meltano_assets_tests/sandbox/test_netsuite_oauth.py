"""OAuth 2.0 and asynchronous requests of the simulated NetSuite's REST services (W1, W2)."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from meltano_assets_tests.sandbox.conftest import Sandbox

_TOKEN = "/services/rest/auth/oauth2/v1/token"
_RECORD = "/services/rest/record/v1/"


class Application:
    """An integration of the account's, with a key of its own."""

    def __init__(self, sandbox: Sandbox, algorithm: str = "ES256") -> None:
        known = sandbox.manifest["netsuite"]
        self.base, self.client_id = str(known["base_url"]), str(known["consumer_key"])
        self.algorithm = algorithm
        self.key: Any = ec.generate_private_key(ec.SECP256R1())
        if algorithm.startswith("PS"):
            self.key = _rsa()
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        answer = requests.post(f"{sandbox.control}/netsuite/certificates", data=pem, timeout=20)
        assert answer.status_code == 200, answer.text
        self.certificate = answer.json()["certificate_id"]

    def assertion(self, head: Mapping[str, object] = {}, **claims: object) -> str:
        now = int(time.time())
        told = {
            "iss": self.client_id, "scope": ["rest_webservices"], "aud": self.base + _TOKEN,
            "iat": now, "exp": now + 3600, **claims,
        }  # fmt: skip
        first = {"alg": self.algorithm, "kid": self.certificate, "typ": "JWT", **head}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in (first, told))
        if self.algorithm == "ES256":
            pair = utils.decode_dss_signature(
                self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
            )
            signature = b"".join(number.to_bytes(32) for number in pair)
        else:
            pad = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            signature = self.key.sign(text.encode(), pad, hashes.SHA256())
        return f"{text}.{_encoded(signature)}"

    def ask(self, **form: str) -> requests.Response:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        told = {"grant_type": "client_credentials", "client_assertion_type": kind, **form}
        return requests.post(self.base + _TOKEN, data=told, timeout=20)

    def token(self) -> str:
        return str(self.ask(client_assertion=self.assertion()).json()["access_token"])

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token()}", **options.pop("headers", {})}
        address = path if path.startswith("http") else self.base + path
        return requests.request(method, address, headers=headers, timeout=20, **options)


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.mark.parametrize("algorithm", ["ES256", "PS256"])
def test_a_signed_assertion_gets_a_token_for_rest_and_suiteql(
    algorithm: str, sandbox: Sandbox
) -> None:
    application = Application(sandbox, algorithm)
    answer = application.ask(client_assertion=application.assertion()).json()
    assert (answer["expires_in"], answer["token_type"]) == ("3600", "bearer")
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    found = requests.get(
        f"{application.base}{_RECORD}customer?limit=1", headers=headers, timeout=20
    )
    assert found.json()["count"] == 1
    rows = requests.post(
        f"{application.base}/services/rest/query/v1/suiteql", json={"q": "SELECT id FROM customer"},
        headers={**headers, "Prefer": "transient"}, timeout=20,
    )  # fmt: skip
    assert rows.json()["count"] > 0
    whose = requests.get(
        f"{application.base}/services/rest/auth/tokeninfo", headers=headers, timeout=20
    )
    assert whose.json()["companyId"] == sandbox.manifest["netsuite"]["account"]


def test_what_is_not_proved_gets_no_token(sandbox: Sandbox) -> None:
    application, now = Application(sandbox), int(time.time())
    good = application.assertion()
    for form, told in [
        ({}, (400, "invalid_request")),
        ({"client_assertion": "x.y"}, (400, "invalid_request")),
        ({"client_assertion": "W10.W10.x"}, (400, "invalid_request")),
        ({"client_assertion": good, "grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"client_assertion": good, "client_assertion_type": "x"}, (400, "invalid_request")),
        ({"client_assertion": good[:-4] + "AAAA"}, (401, "invalid_client")),
        ({"client_assertion": application.assertion({"kid": "other"})}, (401, "invalid_client")),
        ({"client_assertion": application.assertion({"alg": "none"})}, (401, "invalid_client")),
        ({"client_assertion": application.assertion(iss="other")}, (401, "invalid_client")),
        ({"client_assertion": application.assertion(aud="https://else")}, (400, "invalid_grant")),
        ({"client_assertion": application.assertion(aud=7)}, (400, "invalid_grant")),
        ({"client_assertion": application.assertion(exp=now - 1)}, (400, "invalid_grant")),
        ({"client_assertion": application.assertion(exp=now + 9_999)}, (400, "invalid_grant")),
        ({"client_assertion": application.assertion(exp="soon")}, (400, "invalid_request")),
        ({"client_assertion": application.assertion(scope=["all"])}, (400, "invalid_scope")),
        ({"client_assertion": application.assertion(scope=[{}])}, (400, "invalid_scope")),
    ]:
        answer = application.ask(**form)
        assert (answer.status_code, answer.json()["error"]) == told, form


def test_a_token_that_is_none_or_for_something_else_opens_nothing(sandbox: Sandbox) -> None:
    application = Application(sandbox)
    address = f"{application.base}{_RECORD}customer"
    refused = requests.get(address, headers={"Authorization": "Bearer x"}, timeout=20)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    other = application.ask(client_assertion=application.assertion(scope="restlets")).json()
    headers = {"Authorization": f"Bearer {other['access_token']}"}
    assert requests.get(address, headers=headers, timeout=20).status_code == 403
    form = {"token": other["access_token"]}
    revoked = f"{application.base}/services/rest/auth/oauth2/v1/revoke"
    assert requests.post(revoked, data=form, timeout=20).status_code == 200
    assert requests.get(address, headers=headers, timeout=20).status_code == 401


@pytest.mark.parametrize("content", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_is_refused(content: bytes, sandbox: Sandbox) -> None:
    address = f"{sandbox.control}/netsuite/certificates"
    assert requests.post(address, data=content, timeout=20).status_code == 400


def test_a_request_is_answered_by_a_job(own_sandbox: Sandbox) -> None:
    application = Application(own_sandbox)
    key = str(uuid.uuid4())
    headers = {"Prefer": "respond-async", "X-NetSuite-Idempotency-Key": key}
    body = {"companyName": "Later Ltd.", "externalId": "later"}
    first, second = (
        application.call("POST", f"{_RECORD}customer", json=body, headers=headers) for _ in range(2)
    )
    assert (first.status_code, first.headers["Preference-Applied"]) == (202, "respond-async")
    assert first.headers["Location"] == second.headers["Location"]
    job = first.headers["Location"]
    begun = application.call("GET", job).json()
    assert (begun["completed"], begun["progress"]) == (False, "processing")
    assert application.call("GET", f"{job}/task/1/result").status_code == 404
    done = application.call("GET", job).json()
    assert (done["completed"], done["progress"]) == (True, "succeeded")
    tasks = application.call("GET", done["task"]["links"][0]["href"]).json()
    task = application.call("GET", tasks["items"][0]["links"][0]["href"]).json()
    result = application.call("GET", task["result"]["links"][0]["href"])
    assert result.status_code == 204
    made = application.call("GET", result.headers["Location"]).json()
    assert made["companyName"] == "Later Ltd."


def test_a_job_that_fails_tells_why(sandbox: Sandbox) -> None:
    application = Application(sandbox)
    headers = {"Prefer": "respond-async"}
    job = application.call("GET", f"{_RECORD}customer/0", headers=headers).headers["Location"]
    application.call("GET", job)
    assert application.call("GET", job).json()["progress"] == "failed"
    assert application.call("GET", f"{job}/task/1/result").status_code == 404
    for path in ("0", "x", "1/task/2", "1/nothing", f"{'9' * 30}"):
        gone = application.call("GET", f"/services/rest/async/v1/job/{path}")
        assert gone.json()["o:errorDetails"][0]["o:errorCode"] == "NONEXISTENT_ID"
    bad = {**headers, "X-NetSuite-Idempotency-Key": "mine"}
    refused = application.call("GET", f"{_RECORD}customer", headers=bad)
    assert refused.json()["o:errorDetails"][0]["o:errorCode"] == "INVALID_HEADER"
