"""NetSuite SuiteTalk: token passports, searches page by page, deletions, in any version.

Every request carries a nonce and a signature of its own, every repetition too. Failures come as
SOAP faults or, with HTTP 200, as a status that says no.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import Action, ErrorTable, Transport
from meltano_assets.clients.soap import (
    Contract,
    Node,
    exchange,
    find,
    load_contract,
    local_name,
    soap_detail,
    text,
)
from meltano_assets.errors import FatalError

T = TypeVar("T")

#: What a search that has ended answers; the caller begins it again.
GONE = frozenset({"INVALID_SEARCH_MORE", "INVALID_SEARCH_PAGE_INDEX", "EXPIRED_SEARCH_CRITERIA"})
_ACTIONS: Mapping[str | int, Action] = {
    "exceededConcurrentRequestLimitFault": "retry",
    "exceededRequestLimitFault": "retry",
    "invalidSessionFault": "retry",
    "unexpectedErrorFault": "retry",
    "WS_CONCUR_SESSION_DISALLWD": "retry",
    "WS_EXCEEDED_MAX_CONCUR_RQST": "retry",
    "WS_REQUEST_BLOCKED": "retry",
    "CONCUR_SEARCH_DISALLWD": "retry",
    "SEARCH_TIMED_OUT": "retry",
    "UNEXPECTED_ERROR": "retry",
    "exceededUsageLimitFault": "quota",
    "invalidCredentialsFault": "refresh",
    "invalidAccountFault": "refresh",
    "insufficientPermissionFault": "fatal",
    "exceededRecordCountFault": "fatal",
    "exceededRequestSizeFault": "fatal",
    "invalidVersionFault": "fatal",
    # Axis tells of a broken request without a detail of its own.
    "Server.userException": "fatal",
}
_PERMISSIONS = frozenset(
    {"insufficientPermissionFault", "INSUFFICIENT_PERMISSION", "WS_PERMISSION_REQD"}
)


@dataclass(frozen=True, slots=True)
class Passport:
    """What signs requests: an integration's key and a user's token."""

    account: str
    consumer_key: str = field(repr=False)
    consumer_secret: str = field(repr=False)
    token_id: str = field(repr=False)
    token_secret: str = field(repr=False)

    def sign(self, nonce: str, timestamp: int) -> str:
        """The signature of one request."""
        key = f"{self.consumer_secret}&{self.token_secret}"
        message = "&".join((self.account, self.consumer_key, self.token_id, nonce, str(timestamp)))
        digest = hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no output may show."""
        return (self.consumer_key, self.consumer_secret, self.token_id, self.token_secret)


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of a search or a list; ``is_gone`` when the search has ended at the vendor."""

    records: Sequence[Node] = ()
    total_records: int = 0
    total_pages: int = 0
    page: int = 1
    search_id: str = ""
    is_gone: bool = False


class NetSuiteClient:
    """Reads one account; counts its ``requests``. The contract is loaded when first needed."""

    def __init__(
        self,
        base_url: str,
        passport: Passport,
        version: str,
        *,
        page_size: int,
        cache: Path | None,
        transport: Transport | None = None,
        hint: str | None = None,
    ) -> None:
        self._passport = passport
        self._version = version
        self._page_size = page_size
        self._cache = cache
        self._transport = transport or Transport()
        self._http = HttpClient(
            base_url,
            source="netsuite",
            errors=ErrorTable(detail=soap_detail(GONE), actions=_ACTIONS, in_success=True),
            transport=transport,
            secrets=passport.secrets,
            hint=hint,
        )
        self._files = HttpClient(
            base_url,
            source="netsuite",
            # Not requests that the vendor counts.
            transport=Transport(
                retry=self._transport.retry,
                clock=self._transport.clock,
                timeout_seconds=self._transport.timeout_seconds,
            ),
            hint=hint,
        )

    @property
    def requests(self) -> int:
        """Requests sent so far, without the files of the contract."""
        return self._http.requests

    def close(self) -> None:
        """Close kept connections."""
        self._http.close()
        self._files.close()

    @property
    def contract(self) -> Contract:
        """The interface of the account's version."""
        return load_contract(
            self._files,
            f"/wsdl/v{self._version}_0/netsuite.wsdl",
            binding=f"{{urn:platform_{self._version}.webservices.netsuite.com}}NetSuiteBinding",
            address=f"{self._http.base_url}{self._port}",
            cache=self._cache,
        )

    @property
    def _port(self) -> str:
        return f"/services/NetSuitePort_{self._version}"

    # -- operations --

    def search(self, record: object, *, page_size: int | None = None) -> SearchPage:
        """The first page of a search."""
        preferences = self.contract.make(
            "SearchPreferences",
            bodyFieldsOnly=False,
            returnSearchColumns=False,
            pageSize=page_size or self._page_size,
        )
        return self._call(
            "search", search_page, {"searchPreferences": preferences}, searchRecord=record
        )

    def more(self, search_id: str, page: int) -> SearchPage:
        """Another page of a search; ``is_gone`` when it has ended."""
        return self._call("searchMoreWithId", search_page, searchId=search_id, pageIndex=page)

    def get_all(self, record_type: str) -> SearchPage:
        """A list that has no search, whole."""
        record = self.contract.make("GetAllRecord", recordType=record_type)
        return self._call("getAll", search_page, record=record)

    def deleted(
        self, start: datetime | None, end: datetime, types: Sequence[str], page: int
    ) -> SearchPage:
        """One page of the records of these types (of any, when empty) deleted within a span."""
        make = self.contract.make
        values: dict[str, object] = {"deletedDate": self.within(start, end)}
        if types:
            values["type"] = self.any_of(types)
        criteria = make("GetDeletedFilter", **values)
        return self._call("getDeleted", search_page, getDeletedFilter=criteria, pageIndex=page)

    def within(self, start: datetime | None, end: datetime) -> object:
        """A search for moments from ``start`` (from ever, when None) until ``end``."""
        if start is None:
            return self.contract.make("SearchDateField", operator="onOrBefore", searchValue=end)
        return self.contract.make(
            "SearchDateField", operator="within", searchValue=start, searchValue2=end
        )

    def any_of(self, values: Sequence[str]) -> object:
        """A search for any of an enumeration's values."""
        return self.contract.make(
            "SearchEnumMultiSelectField", operator="anyOf", searchValue=list(values)
        )

    # -- one exchange --

    def _call(
        self,
        operation: str,
        parse: Callable[[Node], T],
        headers: Mapping[str, object] | None = None,
        **values: object,
    ) -> T:
        contract = self.contract

        def build() -> bytes:
            signed = {"tokenPassport": self._token_passport(contract), **(headers or {})}
            return contract.envelope(operation, signed, **values)

        with _explained():
            return exchange(self._http, self._port, operation, build, parse)

    def _token_passport(self, contract: Contract) -> object:
        passport = self._passport
        nonce = secrets.token_hex(16)
        timestamp = int(self._transport.clock.now().timestamp())
        return contract.make(
            "TokenPassport",
            account=passport.account,
            consumerKey=passport.consumer_key,
            token=passport.token_id,
            nonce=nonce,
            timestamp=timestamp,
            signature=contract.make(
                "TokenPassportSignature", passport.sign(nonce, timestamp), algorithm="HMAC-SHA256"
            ),
        )


@contextmanager
def _explained() -> Iterator[None]:
    """Adds what to do about a permission that the token's role lacks."""
    try:
        yield
    except FatalError as error:
        if any(word in error.message for word in _PERMISSIONS):
            error.hint = (
                "give the token's role that permission; docs/sources/netsuite.md lists them"
            )
        raise


def search_page(body: Node) -> SearchPage:
    """The result inside an answer; ValueError when there is none."""
    answer = next(iter(body), None)
    result = (
        next((item for item in answer if local_name(item.tag).endswith("Result")), None)
        if answer is not None
        else None
    )
    status = find(result, "status")
    if result is None or status is None:
        raise ValueError("an answer without a result")
    if status.get("isSuccess") not in ("true", "1"):
        return SearchPage(is_gone=True)
    records = find(result, "recordList")
    if records is None:
        records = find(result, "deletedRecordList")
    return SearchPage(
        records=list(records) if records is not None else (),
        total_records=_number(result, "totalRecords"),
        total_pages=_number(result, "totalPages"),
        page=_number(result, "pageIndex") or 1,
        search_id=text(result, "searchId"),
    )


def _number(result: Any, name: str) -> int:
    found = text(result, name)
    return int(found) if found else 0
