"""A caller of the simulated NetSuite made of nothing but zeep: the third opinion on its wire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
import warnings
from typing import Any

import zeep


class Caller:
    """zeep with a token passport, as a user of the vendor's own documentation would write it."""

    def __init__(self, settings: dict[str, Any], version: str = "2017_2") -> None:
        self.known = settings
        base = settings["base_url"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.client = zeep.Client(f"{base}/wsdl/v{version}_0/netsuite.wsdl")
        self.service = self.client.create_service(
            f"{{urn:platform_{version}.webservices.netsuite.com}}NetSuiteBinding",
            f"{base}/services/NetSuitePort_{version}",
        )
        self._types = {kind.name: kind for kind in self.client.wsdl.types.types}

    def make(self, name: str, /, *args: object, **values: object) -> Any:
        """A value of the contract's type."""
        return self._types[name](*args, **values)

    def passport(self, **changes: Any) -> Any:
        """A signed passport, with what is to be wrong about it."""
        known = {**self.known, **{k: v for k, v in changes.items() if k in self.known}}
        nonce = changes.get("nonce", secrets.token_hex(10))
        timestamp = int(time.time()) + changes.get("late", 0)
        parts = (
            known["account"], known["consumer_key"], known["token_id"], nonce, str(timestamp)
        )  # fmt: skip
        algorithm = changes.get("algorithm", "HMAC-SHA256")
        digest = {"HMAC-SHA1": hashlib.sha1}.get(algorithm, hashlib.sha256)
        key = f"{known['consumer_secret']}&{known['token_secret']}".encode()
        signed = hmac.new(key, "&".join(parts).encode(), digest).digest()
        return self.make(
            "TokenPassport", account=parts[0], consumerKey=parts[1], token=parts[2], nonce=nonce,
            timestamp=timestamp,
            signature=self.make(
                "TokenPassportSignature", base64.b64encode(signed).decode(), algorithm=algorithm
            ),
        )  # fmt: skip

    def call(self, operation: str, headers: dict[str, Any] | None = None, **values: Any) -> Any:
        """The answer's body."""
        given = {"tokenPassport": self.passport()} if headers is None else headers
        return getattr(self.service, operation)(_soapheaders=given, **values).body

    def search(
        self, record: Any, *, size: int = 1000, body_only: bool = False, **headers: Any
    ) -> Any:
        """The result of a search."""
        preferences = self.make(
            "SearchPreferences", bodyFieldsOnly=body_only, returnSearchColumns=True, pageSize=size
        )
        given = {"tokenPassport": self.passport(), "searchPreferences": preferences, **headers}
        return self.call("search", given, searchRecord=record).searchResult

    def basic(self, name: str, /, **fields: Any) -> Any:
        """A basic search."""
        return self.make(f"{name}SearchBasic", **fields)
