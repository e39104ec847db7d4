"""Who may use the simulated NetSuite: token passports, signed headers, and users with a password.

A token passport is signed anew for every request: its nonce counts once, its time must be near.
REST has the same parts in a header ``Authorization: OAuth …``, which signs the address, too.
A user's passport is taken with each request or once at ``login``, which opens a session by cookie.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from meltano_assets.sandbox.netsuite_wire import Node, SoapFault, child, text_of

CLOCK_TOLERANCE_SECONDS = 300
SESSION_SECONDS = 20 * 60
_ALGORITHMS = {
    "HMAC-SHA256": hashlib.sha256,
    "HMAC-SHA1": hashlib.sha1,
    "HMAC_SHA256": hashlib.sha256,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the account's administrator has handed out."""

    account: str
    consumer_key: str
    consumer_secret: str = field(repr=False)
    token_id: str
    token_secret: str = field(repr=False)
    email: str
    password: str = field(repr=False)


class NotSigned(Exception):
    """A request whose signature is not right; it doesn't say why."""


def refused(message: str = "Invalid login attempt.") -> SoapFault:
    """The fault for credentials that are not right; it doesn't say why."""
    return SoapFault("invalidCredentialsFault", "INVALID_LOGIN_CREDENTIALS", message)


class Gate:
    """Checks who asks, and remembers nonces and sessions."""

    def __init__(self, credentials: Credentials) -> None:
        self._known = credentials
        self._nonces: dict[str, float] = {}
        self._sessions: dict[str, float] = {}

    def end_sessions(self) -> None:
        """Log everybody out."""
        self._sessions.clear()

    def check(self, header: Node | None, session: str | None) -> None:
        """SoapFault unless the request proves who sends it."""
        token, user = child(header, "tokenPassport"), child(header, "passport")
        if token is not None:
            if child(header, "applicationInfo") is not None or user is not None:
                raise SoapFault(
                    "unexpectedErrorFault", "USER_ERROR", "Ambiguous authentication: tokenPassport"
                    " must be sent without applicationInfo and passport.",
                )  # fmt: skip
            self._check_token(token)
        elif user is not None:
            self.check_user(user)
        elif not self._is_open(session):
            raise SoapFault(
                "invalidSessionFault",
                "SESSION_TIMED_OUT",
                "Your connection has timed out. Please log in again.",
            )

    def check_user(self, passport: Node) -> None:
        """SoapFault unless user, password and account are right."""
        known = self._known
        given = (text_of(passport, "email"), text_of(passport, "password"))
        if not _same(given[0], known.email) or not _same(given[1], known.password):
            raise refused("You have entered an invalid email address or password.")
        if text_of(passport, "account").upper() != known.account:
            raise SoapFault("invalidAccountFault", "INVALID_ACCT", "Invalid account.")

    def open_session(self) -> str:
        """A session's cookie."""
        session = secrets.token_hex(16)
        self._sessions[session] = time.monotonic()
        return session

    def close_session(self, session: str | None) -> None:
        """Forget a session."""
        self._sessions.pop(session or "", None)

    def _is_open(self, session: str | None) -> bool:
        last = self._sessions.get(session or "")
        if session is None or last is None or time.monotonic() - last > SESSION_SECONDS:
            return False
        self._sessions[session] = time.monotonic()
        return True

    def _check_token(self, passport: Node) -> None:
        known = self._known
        parts = {
            name: text_of(passport, name)
            for name in ("account", "consumerKey", "token", "nonce", "timestamp")
        }
        signature = child(passport, "signature")
        algorithm = _ALGORITHMS.get(
            str(signature.get("algorithm")) if signature is not None else ""
        )
        if signature is None or algorithm is None:
            raise refused()
        if not re.fullmatch(r"[A-Za-z0-9]{6,64}", parts["nonce"]) or not _is_near(
            parts["timestamp"]
        ):
            raise refused()
        key = f"{known.consumer_secret}&{known.token_secret}".encode()
        message = "&".join(parts.values()).encode()
        wanted = hmac.new(key, message, algorithm).digest()
        try:
            given = base64.b64decode((signature.text or "").strip(), validate=True)
        except ValueError:
            raise refused() from None
        is_known = (
            _same(parts["account"], known.account)
            and _same(parts["consumerKey"], known.consumer_key)
            and _same(parts["token"], known.token_id)
        )
        if not hmac.compare_digest(wanted, given) or not is_known:
            raise refused()
        if not self._is_first(parts["nonce"]):
            raise refused()

    def check_signature(
        self, method: str, url: str, parameters: list[tuple[str, str]], header: str
    ) -> None:
        """NotSigned unless the header signs this request, by OAuth 1.0 and the token."""
        known = self._known
        scheme, _, rest = header.strip().partition(" ")
        given = {
            unquote(name.strip()): unquote(value.strip().strip('"'))
            for name, equals, value in (part.partition("=") for part in rest.split(","))
            if equals
        }
        algorithm = _ALGORITHMS.get(given.get("oauth_signature_method", ""))
        nonce, stamp = given.get("oauth_nonce", ""), given.get("oauth_timestamp", "")
        if scheme.lower() != "oauth" or algorithm is None or not nonce or not _is_near(stamp):
            raise NotSigned
        signed = [
            *parameters,
            *((n, v) for n, v in given.items() if n not in ("realm", "oauth_signature")),
        ]
        pairs = sorted((_encoded(name), _encoded(value)) for name, value in signed)
        listed = "&".join(f"{name}={value}" for name, value in pairs)
        message = "&".join((method.upper(), _encoded(url), _encoded(listed)))
        key = f"{_encoded(known.consumer_secret)}&{_encoded(known.token_secret)}"
        digest = hmac.new(key.encode(), message.encode(), algorithm).digest()
        is_known = (
            _same(given.get("realm", "").upper().replace("-", "_"), known.account)
            and _same(given.get("oauth_consumer_key", ""), known.consumer_key)
            and _same(given.get("oauth_token", ""), known.token_id)
        )
        wanted = base64.b64encode(digest).decode()
        if not _same(given.get("oauth_signature", ""), wanted) or not is_known:
            raise NotSigned
        if not self._is_first(nonce):
            raise NotSigned

    def token_info(self) -> dict[str, object]:
        """Whose token it is."""
        return {
            "companyName": "Meltano Sandbox", "companyId": self._known.account,
            "roleName": "Administrator", "roleId": 3, "userName": "Sandbox Administrator",
            "userId": 1, "applicationName": "sandbox",
        }  # fmt: skip

    def _is_first(self, nonce: str) -> bool:
        """Whether a nonce was never seen, which it is from now on."""
        now = time.monotonic()
        self._nonces = {
            nonce: at
            for nonce, at in self._nonces.items()
            if now - at < 2 * CLOCK_TOLERANCE_SECONDS
        }
        if nonce in self._nonces:
            return False
        self._nonces[nonce] = now
        return True


def _is_near(timestamp: str) -> bool:
    """Whether a moment in seconds is near enough to now."""
    if not re.fullmatch(r"\d{1,12}", timestamp):
        return False
    return abs(time.time() - int(timestamp)) <= CLOCK_TOLERANCE_SECONDS


def _encoded(text: str) -> str:
    return quote(text, safe="~-._")


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())
