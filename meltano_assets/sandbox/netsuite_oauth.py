"""OAuth 2.0 of the simulated NetSuite: client credentials, proved by a signed assertion.

An administrator hands in a certificate (or its public key) and gets its id; who has the private key signs a
JWT with it (``PS256`` … ``ES512``) and gets an access token for an hour. REST and SuiteQL take it as
bearer. Other grants need a person at a browser, and there is none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from meltano_assets.sandbox.service import json_response
from meltano_assets.sandbox.state import StateFolder

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"  # noqa: S105 (an address)
REVOKE_PATH = "/services/rest/auth/oauth2/v1/revoke"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SCOPES = frozenset({"mcp", "rest_webservices", "restlets", "suite_analytics"})
_SECONDS = 3600
_CLOCK_TOLERANCE_SECONDS = 300
_LEAST_RSA_BITS = 3072
_HASHES = {"256": "SHA256", "384": "SHA384", "512": "SHA512"}
_FILE = "netsuite_certificates"


class _Refused(Exception):
    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.response = json_response({"error": error}, status)


class Tokens:
    """Certificates that were handed in, and access tokens that are alive."""

    def __init__(
        self,
        client_id: str,
        account: str,
        folder: StateFolder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client_id = client_id
        self._account = account
        self._folder = folder
        self._clock = clock
        known = folder.read(_FILE) if folder else {}
        self._certificates: dict[str, str] = {str(k): str(v) for k, v in known.items()}
        self._alive: dict[str, tuple[float, frozenset[str]]] = {}

    def add_certificate(self, content: bytes) -> str:
        """The id of a certificate or public key in PEM; ValueError when it is none that NetSuite takes."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        if b"BEGIN CERTIFICATE" in content:
            key: object = x509.load_pem_x509_certificate(content).public_key()
        else:
            key = serialization.load_pem_public_key(content)
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise ValueError("the key must be of RSA or an elliptic curve")
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
            raise ValueError(f"an RSA key must have {_LEAST_RSA_BITS} bits at least")
        pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()
        digest = hashlib.sha256(pem.encode()).digest()
        key_id = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        self._certificates[key_id] = pem
        if self._folder is not None:
            self._folder.write(_FILE, self._certificates)
        return key_id

    def end(self) -> None:
        """No token is alive any more."""
        self._alive.clear()

    def scopes(self, token: str) -> frozenset[str]:
        """What a token is good for; nothing when it is not alive."""
        until, scopes = self._alive.get(token, (0.0, frozenset[str]()))
        return scopes if until > self._clock() else frozenset()

    def grant(self, form: Mapping[str, str]) -> Response:
        """The answer of the token endpoint."""
        try:
            kind = form.get("grant_type")
            if kind is None:
                raise _Refused("invalid_request")
            if kind != "client_credentials":
                raise _Refused("unsupported_grant_type")
            if form.get("client_assertion_type") != _ASSERTION or not form.get("client_assertion"):
                raise _Refused("invalid_request")
            scopes = self._checked(form["client_assertion"])
        except _Refused as refused:
            return refused.response
        token = self._token(scopes)
        return json_response(
            {"access_token": token, "expires_in": str(_SECONDS), "token_type": "bearer"},
            headers={"Cache-Control": "no-store"},
        )

    def revoke(self, form: Mapping[str, str]) -> Response:
        """The answer of the revocation endpoint."""
        if not form.get("token"):
            return _Refused("invalid_request").response
        self._alive.pop(form["token"], None)
        return Response(b"", 200)

    def _checked(self, assertion: str) -> frozenset[str]:
        """The scopes of an assertion that is right."""
        head, claims, signed, signature = _parts(assertion)
        pem = self._certificates.get(str(head.get("kid")))
        if pem is None or claims.get("iss") != self._client_id:
            raise _Refused("invalid_client", 401)
        if not _is_signed(pem, str(head.get("alg")), signed, signature):
            raise _Refused("invalid_client", 401)
        audience = claims.get("aud")
        names = audience if isinstance(audience, list) else [audience]
        if not any(isinstance(n, str) and n.endswith(TOKEN_PATH) for n in names):
            raise _Refused("invalid_grant")
        begun, ends = claims.get("iat"), claims.get("exp")
        if not isinstance(begun, int | float) or not isinstance(ends, int | float):
            raise _Refused("invalid_request")
        now = self._clock()
        is_early = begun > now + _CLOCK_TOLERANCE_SECONDS
        if is_early or ends < now or ends - begun > _SECONDS:
            raise _Refused("invalid_grant")
        asked = claims.get("scope")
        wanted = asked if isinstance(asked, list) else str(asked or "").replace(",", " ").split()
        if not wanted or not all(isinstance(n, str) and n in _SCOPES for n in wanted):
            raise _Refused("invalid_scope")
        return frozenset(wanted)

    def _token(self, scopes: frozenset[str]) -> str:
        now = self._clock()
        head = {"kid": "s.SYSTEM.sandbox", "typ": "JWT", "alg": "RS256"}
        claims = {
            "sub": f"{self._account};1", "aud": [self._client_id], "scope": sorted(scopes),
            "iss": "https://system.netsuite.com", "iat": int(now), "exp": int(now) + _SECONDS,
            "jti": secrets.token_hex(8),
        }  # fmt: skip
        token = ".".join(
            base64.urlsafe_b64encode(part).decode().rstrip("=")
            for part in (
                json.dumps(head).encode(),
                json.dumps(claims).encode(),
                secrets.token_bytes(64),
            )
        )
        self._alive[token] = (now + _SECONDS, scopes)
        return token


def _parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Head, claims, what is signed and the signature."""
    try:
        first, second, third = assertion.split(".")
        head, claims = (json.loads(_unpadded(part)) for part in (first, second))
        signature = _unpadded(third)
    except (ValueError, RecursionError):
        raise _Refused("invalid_request") from None
    if not isinstance(head, dict) or not isinstance(claims, dict):
        raise _Refused("invalid_request")
    return head, claims, f"{first}.{second}".encode(), signature


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _is_signed(pem: str, algorithm: str, signed: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

    kind, size = algorithm[:2], algorithm[2:]
    if kind not in ("PS", "ES") or size not in _HASHES:
        return False
    digest = getattr(hashes, _HASHES[size])()
    key = serialization.load_pem_public_key(pem.encode())
    try:
        if kind == "PS" and isinstance(key, rsa.RSAPublicKey):
            pad = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO)
            key.verify(signature, signed, pad, digest)
            return True
        if kind == "ES" and isinstance(key, ec.EllipticCurvePublicKey):
            half = (key.curve.key_size + 7) // 8
            if len(signature) != 2 * half:
                return False
            pair = (int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
            key.verify(utils.encode_dss_signature(*pair), signed, ec.ECDSA(digest))
            return True
    except InvalidSignature:
        return False
    return False
