"""SOAP and NetSuite's passports (X8): signed anew, faults by their table, hostile XML, contracts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from meltano_assets.clients import soap
from meltano_assets.clients.netsuite import NetSuiteClient, Passport
from meltano_assets.clients.soap import parse_xml
from meltano_assets.errors import FatalError, PlatformError, RetriableError
from meltano_assets.sandbox.netsuite_contract import own_contract
from meltano_assets_tests.clients.local_server import (
    Answer,
    FakeClock,
    Handler,
    LocalServer,
    Request,
    in_turn,
    serving,
)

VERSION = "2021_1"
PASSPORT = Passport(
    "1234567_SB1", "key-canary", "secret-canary-1", "token-canary", "secret-canary-2"
)
CORE = f"urn:core_{VERSION}.platform.webservices.netsuite.com"
FAULTS = f"urn:faults_{VERSION}.platform.webservices.netsuite.com"


def envelope(content: str) -> bytes:
    return (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<e:Body>{content}</e:Body></e:Envelope>"
    ).encode()


def result(content: str, *, is_success: str = "true") -> Answer:
    body = (
        f'<r xmlns="x"><searchResult xmlns="{CORE}"><status isSuccess="{is_success}">'
        f"{content}</status></searchResult></r>"
    )
    return Answer(envelope(body), content_type="text/xml")


def failed(code: str) -> Answer:
    detail = f"<statusDetail><code>{code}</code><message>it says</message></statusDetail>"
    return result(detail, is_success="false")


def fault(name: str, code: str = "CODE", message: str = "the vendor says") -> Answer:
    detail = (
        f'<f:{name} xmlns:f="{FAULTS}"><f:code>{code}</f:code><f:message>{message}</f:message>'
        f"</f:{name}>"
    )
    body = (
        "<e:Fault><faultcode>e:Server.userException</faultcode>"
        f"<faultstring>{message}</faultstring><detail>{detail}</detail></e:Fault>"
    )
    return Answer(envelope(body), 500, content_type="text/xml")


FINE = result("")


def with_contract(answer: Handler) -> Handler:
    """Serves the small contract, and ``answer`` for calls."""

    def handle(request: Request) -> Answer:
        if request.method == "POST":
            return answer(request)
        name = request.path.rpartition("/")[2]
        content = own_contract().file(name, VERSION, "http://elsewhere.invalid")
        return Answer(content or b"", 200 if content else 404, content_type="text/xml")

    return handle


_server: list[LocalServer] = []


@pytest.fixture(scope="module", autouse=True)
def one_server() -> Iterator[None]:
    """One address for all tests, so that the contract is loaded once."""
    with serving(with_contract(in_turn(FINE))) as server:
        _server.append(server)
        yield
        _server.clear()


@contextmanager
def client(
    answer: Handler,
    *,
    cache: Path | None = None,
    clock: FakeClock | None = None,
    **options: object,
) -> Iterator[tuple[NetSuiteClient, LocalServer]]:
    server = _server[0]
    server.handler = with_contract(answer)
    server.seen.clear()
    opened = NetSuiteClient(
        server.base_url, PASSPORT, VERSION, page_size=100, cache=cache,
        transport=(clock or FakeClock()).transport(**options), hint="check NETSUITE_TOKEN_ID",
    )  # fmt: skip
    try:
        yield opened, server
    finally:
        opened.close()


def posts(server: LocalServer) -> list[Request]:
    return [request for request in server.seen if request.method == "POST"]


def passport_of(request: Request) -> dict[str, str]:
    found = re.findall(rb"<(?:\w+:)?(\w+)(?: [^>]*)?>([^<>]+)</", request.body)
    return {name.decode(): value.decode() for name, value in found}


# -- requests --


def test_every_try_is_signed_anew() -> None:
    busy = fault("exceededConcurrentRequestLimitFault")
    with client(in_turn(busy, busy, FINE)) as (opened, server):
        opened.get_all("currency")
        sent = [passport_of(request) for request in posts(server)]
    assert len(sent) == 3
    assert len({item["nonce"] for item in sent}) == 3
    for item in sent:
        assert re.fullmatch("[A-Za-z0-9]{6,64}", item["nonce"])
        message = "&".join(
            (PASSPORT.account, PASSPORT.consumer_key, PASSPORT.token_id, item["nonce"], item["timestamp"])
        )  # fmt: skip
        key = b"secret-canary-1&secret-canary-2"
        signed = base64.b64encode(hmac.new(key, message.encode(), hashlib.sha256).digest())
        assert item["signature"] == signed.decode()


def test_a_signature_is_the_one_of_the_vendors_rule() -> None:
    """Computed with ``openssl dgst -sha256 -hmac 'cs&ts' -binary | base64``."""
    passport = Passport("1234567", "ck", "cs", "ti", "ts")
    assert passport.sign("abc123", 1700000000) == "i+JuZPkuM9FhZ6rmzkHQ9MH4eTX2D3a8ikOuO9lxadY="


def test_a_request_names_its_operation_and_asks_for_all_fields() -> None:
    with client(in_turn(FINE)) as (opened, server):
        opened.search(opened.contract.make("CustomerSearchBasic"))
        (request,) = posts(server)
    assert request.path == f"/services/NetSuitePort_{VERSION}"
    assert request.headers["SOAPAction"].strip('"') == "search"
    assert request.headers["Content-Type"].startswith("text/xml")
    assert b"bodyFieldsOnly>false<" in request.body
    assert b"pageSize>100<" in request.body
    assert b"applicationInfo" not in request.body


# -- faults --


@pytest.mark.parametrize(
    "answer",
    [
        fault("exceededConcurrentRequestLimitFault", "WS_REQUEST_BLOCKED"),
        fault("exceededRequestLimitFault"), fault("unexpectedErrorFault"),
        fault("invalidSessionFault"), failed("UNEXPECTED_ERROR"), failed("WS_REQUEST_BLOCKED"),
        Answer(b"<html>Bad gateway</html>", 502, content_type="text/html"),
        Answer(b"busy", 503), Answer(FINE.body, cut=40), Answer(is_dropped=True),
        Answer(FINE.body[:60], content_type="text/xml"), Answer(b'{"not": "xml"}'),
    ],
)  # fmt: skip
def test_what_may_pass_is_tried_again(answer: Answer) -> None:
    clock = FakeClock()
    with client(in_turn(answer, FINE), clock=clock) as (opened, server):
        assert opened.get_all("currency").records == ()
        assert len(posts(server)) == 2
    assert clock.slept
    with client(in_turn(answer)) as (opened, server):
        with pytest.raises(RetriableError):
            opened.get_all("currency")
        assert len(posts(server)) == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (fault("invalidCredentialsFault", "INVALID_LOGIN_CREDENTIALS"), "NETSUITE_TOKEN_ID"),
        (fault("invalidAccountFault"), "NETSUITE_TOKEN_ID"),
        (fault("insufficientPermissionFault"), "docs/sources/netsuite.md"),
        (failed("INSUFFICIENT_PERMISSION"), "docs/sources/netsuite.md"),
        (fault("exceededUsageLimitFault"), "used up"),
        (fault("exceededRecordCountFault"), "exceededRecordCountFault"),
        (fault("invalidVersionFault"), "invalidVersionFault"),
        (failed("INVALID_RCRD_TYPE"), "INVALID_RCRD_TYPE"),
    ],
)
def test_what_will_not_pass_ends_at_once(answer: Answer, words: str) -> None:
    with client(in_turn(answer)) as (opened, server):
        with pytest.raises(FatalError, match=re.escape(words)):
            opened.get_all("currency")
        assert len(posts(server)) == 1


@pytest.mark.parametrize("code", ["INVALID_SEARCH_MORE", "INVALID_SEARCH_PAGE_INDEX"])
def test_a_search_that_has_ended_is_told_not_raised(code: str) -> None:
    with client(in_turn(failed(code))) as (opened, _):
        assert opened.more("id", 2).is_gone


def test_no_secret_is_in_an_error() -> None:
    echo = " ".join(PASSPORT.secrets)
    with client(in_turn(fault("invalidCredentialsFault", message=echo))) as (opened, _):  # noqa: SIM117
        with pytest.raises(FatalError) as info:
            opened.get_all("currency")
    shown = f"{info.value} {info.value!r} {info.value.args} {PASSPORT!r}"
    assert "canary" not in shown


# -- hostile XML --

BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaa">'
    + "".join(f'<!ENTITY {c} "{f"&{chr(ord(c) - 1)};" * 20}">' for c in "bcdefgh")
    + "]>"
)


@pytest.mark.parametrize(
    "body",
    [
        b'<?xml version="1.0"?>' + BOMB.encode() + b"<x>&h;</x>",
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
        b'<!-- c --> <!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>',
        '<!DOCTYPE x [<!ENTITY f "a">]><x>&f;</x>'.encode("utf-16"),
        b"\xef\xbb\xbf <!DOCTYPE x><x/>",
        b"", b"   ", b"plain", b"<", b"<a><b></a>", b"<a", b"\x00<a/>",
    ],
)  # fmt: skip
def test_xml_with_entities_or_none_at_all_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"XML|document type"):
        parse_xml(body)


def test_an_answer_with_entities_ends_in_a_clear_error() -> None:
    body = b'<?xml version="1.0"?>' + BOMB.encode() + FINE.body
    with client(in_turn(Answer(body, content_type="text/xml"))) as (opened, _):  # noqa: SIM117
        with pytest.raises(RetriableError, match="may bring entities along"):
            opened.get_all("currency")


def test_a_body_that_never_ends_is_bounded() -> None:
    huge = Answer(envelope("x" * (2 << 20)), content_type="text/xml")
    with (
        client(in_turn(huge), max_body_bytes=1 << 20) as (opened, _),
        pytest.raises(FatalError, match="larger than 1 MiB"),
    ):
        opened.get_all("currency")


# -- contracts --


def paths(server: LocalServer) -> list[str]:
    return [request.path for request in server.seen if request.method == "GET"]


def test_a_contract_is_loaded_once_and_kept_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soap, "_contracts", {})
    cache = tmp_path / "contracts"
    with client(in_turn(FINE), cache=cache) as (opened, server):
        assert not server.seen
        assert opened.contract is opened.contract
        asked = paths(server)
        assert len(asked) == len(set(asked)) == len(own_contract().names)
        assert opened.requests == 0
        kept = list(cache.iterdir())
        assert len(kept) == len(asked)
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700
        # Another process finds the files and asks nobody.
        monkeypatch.setattr(soap, "_contracts", {})
        server.seen.clear()
        assert opened.contract.has("CustomerSearchBasic")
        assert not server.seen


def test_a_contracts_files_come_from_the_base_url_only() -> None:
    """The handler's contract leads to another host; that host is never asked."""
    elsewhere = urlsplit("http://elsewhere.invalid")

    def handle(request: Request) -> Answer:
        answer = with_contract(in_turn(FINE))(request)
        body = re.sub(
            rb'schemaLocation="', b'schemaLocation="http://elsewhere.invalid/wsdl/v/', answer.body
        )
        return Answer(body, answer.status, content_type="text/xml")

    assert elsewhere.hostname
    with serving(handle) as server:
        opened = NetSuiteClient(
            server.base_url, PASSPORT, VERSION, page_size=5, cache=None,
            transport=FakeClock().transport(),
        )  # fmt: skip
        assert opened.contract.has("CustomerSearchBasic")
        opened.close()


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Sign in</body></html>",
        b"<definitions xmlns='http://schemas.xmlsoap.org/wsdl/'/>",
    ],
)
def test_what_is_no_contract_is_named(body: bytes) -> None:
    with serving(lambda request: Answer(body, content_type="text/xml")) as server:
        opened = NetSuiteClient(
            server.base_url, PASSPORT, VERSION, page_size=5, cache=None,
            transport=FakeClock().transport(),
        )  # fmt: skip
        with pytest.raises(FatalError, match="not the contract") as info:
            opened.get_all("currency")
        assert server.base_url in str(info.value)
        opened.close()


def test_an_unknown_version_is_named() -> None:
    def nothing(request: Request) -> Answer:
        return Answer(b"Not found", 404)

    with serving(nothing) as server:
        opened = NetSuiteClient(
            server.base_url, PASSPORT, "1999_9", page_size=5, cache=None,
            transport=FakeClock().transport(),
        )  # fmt: skip
        with pytest.raises(PlatformError, match="v1999_9_0"):
            opened.get_all("currency")
        opened.close()


def test_types_that_a_version_lacks_are_named() -> None:
    with client(in_turn(FINE)) as (opened, _):
        contract = opened.contract
        assert "_invoice" in contract.allowed("TransactionType")
        assert not contract.allowed("CustomerSearchBasic")
        assert contract.has_field("TransactionSearchBasic", "lastModifiedDate")
        assert not contract.has_field("AccountSearchBasic", "lastModifiedDate")
        with pytest.raises(FatalError, match="no MoonLandingSearchBasic"):
            contract.make("MoonLandingSearchBasic")
        with pytest.raises(FatalError, match="CustomerSearchBasic differs"):
            contract.make("CustomerSearchBasic", colour="red")


def test_the_module_loads_no_zeep(tmp_path: Path) -> None:
    """Importing definitions must stay quick."""
    import subprocess
    import sys

    code = (
        "import sys, meltano_assets.sources, meltano_assets.clients.netsuite;"
        "sys.exit('zeep' in sys.modules or 'lxml' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
