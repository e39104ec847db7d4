"""Logging in by OAuth 2.0: the token endpoint and its neighbours.

Form errors, codes and messages follow the vendor's "OAuth 2.0 Error Codes". A JWT's signature is not verified (the standard library has no RSA); its claims
are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, unquote_plus

from meltano_assets.sandbox.salesforce_http import Reply
from meltano_assets.sandbox.salesforce_org import ORGANIZATION_ID, SalesforceOrg
from meltano_assets.sandbox.salesforce_rest import identity

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SESSION_SECONDS = 7200


class _Refused(Exception):
    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.reply = Reply(status, {"error": error, "error_description": description})


def _same(given: str | None, known: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), known.encode())


def oauth(
    org: SalesforceOrg, name: str, form: Mapping[str, str], headers: Mapping[str, str], base: str
) -> Reply:
    """``/services/oauth2/{name}``; ``form`` holds body and query parameters."""
    handlers: dict[str, Callable[[], Reply]] = {
        "token": lambda: _token(org, form, headers, base),
        "revoke": lambda: _revoke(org, form),
        "introspect": lambda: _introspect(org, form, headers),
        "userinfo": lambda: _userinfo(org, headers, base),
    }
    handler = handlers.get(name)
    if handler is None:
        return Reply(404, {"error": "not_found", "error_description": "unknown endpoint"})
    try:
        return handler()
    except _Refused as refusal:
        return refusal.reply


def parse_form(body: bytes) -> dict[str, str]:
    """An ``application/x-www-form-urlencoded`` body."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _client(form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Client id and secret, from the form or from Basic authentication."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return None, None
        return unquote_plus(user), unquote_plus(password)
    return form.get("client_id"), form.get("client_secret")


def _check_client(
    org: SalesforceOrg,
    form: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    needs_secret: bool = True,
) -> None:
    client_id, client_secret = _client(form, headers)
    if client_id is None:
        raise _Refused("invalid_client_id", "client identifier invalid")
    if not _same(client_id, org.credentials.client_id):
        raise _Refused("invalid_client_id", "client identifier invalid")
    if client_secret is None and not needs_secret:
        return
    if not _same(client_secret, org.credentials.client_secret):
        raise _Refused("invalid_client", "invalid client credentials")


def _token(
    org: SalesforceOrg, form: Mapping[str, str], headers: Mapping[str, str], base: str
) -> Reply:
    grant = form.get("grant_type")
    known = org.credentials
    answer: dict[str, str] = {}
    if grant == "client_credentials":
        _check_client(org, form, headers)
    elif grant == "password":
        _check_client(org, form, headers)
        if not is_password(org, form.get("username", ""), form.get("password", "")):
            raise _Refused("invalid_grant", "authentication failure")
    elif grant == "refresh_token":
        _check_client(org, form, headers, needs_secret=False)
        if not _same(form.get("refresh_token"), known.refresh_token):
            raise _Refused("invalid_grant", "expired access/refresh token")
    elif grant == _JWT_GRANT:
        _check_assertion(org, form.get("assertion", ""))
        answer["scope"] = "api web"
    elif grant is None:
        raise _Refused("unsupported_grant_type", "grant type not supported")
    else:
        raise _Refused("unsupported_grant_type", "grant type not supported")
    identity_url = f"{base}/id/{ORGANIZATION_ID}/{org.user_id}"
    issued_at = str(int(org.clock.now().timestamp() * 1000))
    signature = hmac.new(
        known.client_secret.encode(), (identity_url + issued_at).encode(), hashlib.sha256
    )
    answer |= {
        "access_token": org.open_session(),
        "signature": base64.b64encode(signature.digest()).decode(),
        "instance_url": base,
        "id": identity_url,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }
    if grant == "client_credentials":
        answer["scope"] = "api"
    return Reply(200, answer, {"Cache-Control": "no-store", "Pragma": "no-cache"})


def is_password(org: SalesforceOrg, username: str, password: str) -> bool:
    """The password with the security token behind it; without it, as from a trusted network."""
    known = org.credentials
    right_user = username.lower() == known.username.lower()
    with_token = _same(password, known.password + known.security_token)
    return (with_token or _same(password, known.password)) and right_user


def _check_assertion(org: SalesforceOrg, assertion: str) -> None:
    try:
        header, payload, signature = assertion.split(".")
        claims = json.loads(_unpadded(payload))
        algorithm = json.loads(_unpadded(header)).get("alg")
    except (ValueError, AttributeError) as error:
        raise _Refused("invalid_grant", "invalid assertion") from error
    if not isinstance(claims, dict) or algorithm != "RS256" or not signature:
        raise _Refused("invalid_grant", "invalid assertion")
    if not _same(str(claims.get("iss")), org.credentials.client_id):
        raise _Refused("invalid_client_id", "client identifier invalid")
    if str(claims.get("sub", claims.get("prn", ""))).lower() != org.credentials.username.lower():
        raise _Refused("invalid_grant", "user hasn't approved this consumer")
    if not claims.get("aud"):
        raise _Refused("invalid_grant", "audience is invalid")
    try:
        expires = float(str(claims.get("exp")))
    except ValueError:
        expires = 0.0
    if expires < time.time():
        raise _Refused("invalid_grant", "expired authorization code")


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _revoke(org: SalesforceOrg, form: Mapping[str, str]) -> Reply:
    if not org.end_session(form.get("token", "")):
        raise _Refused("unsupported_token_type", "this token is not supported")
    return Reply(200)


def _introspect(org: SalesforceOrg, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
    _check_client(org, form, headers)
    if org.session_user(form.get("token", "")) is None:
        return Reply(200, {"active": False})
    now = int(org.clock.now().timestamp())
    return Reply(
        200,
        {
            "active": True,
            "scope": "api",
            "client_id": org.credentials.client_id,
            "username": org.credentials.username,
            "sub": org.user_id,
            "token_type": "access_token",
            "exp": now + SESSION_SECONDS,
            "iat": now,
            "nbf": now,
        },
    )


def _userinfo(org: SalesforceOrg, headers: Mapping[str, str], base: str) -> Reply:
    if bearer_user(org, headers) is None:
        return Reply(403, "Bad_OAuth_Token", content_type="text/html;charset=UTF-8")
    known = identity(org, base)
    return Reply(
        200,
        {
            "sub": known["id"],
            "user_id": known["user_id"],
            "organization_id": known["organization_id"],
            "preferred_username": known["username"],
            "nickname": known["nick_name"],
            "name": known["display_name"],
            "email": known["email"],
            "email_verified": True,
            "given_name": known["first_name"],
            "family_name": known["last_name"],
            "zoneinfo": "GMT",
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 0,
            "urls": known["urls"],
        },
    )


def bearer_user(org: SalesforceOrg, headers: Mapping[str, str]) -> str | None:
    """The user of the session in ``Authorization: Bearer`` (or ``OAuth``), if alive."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() not in ("bearer", "oauth"):
        return None
    return org.session_user(token.strip())
