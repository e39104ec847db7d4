"""SOAP by a vendor's own contract: requests are built by zeep, answers are read with lxml.

Belongs here: loading a WSDL once per process, envelopes, faults, safe parsing. Does not belong
here: retries (``http.HttpClient`` has them), a vendor's passports and operations (its own client).
zeep's objects cost several times what reading the same answer as a tree does, so it is asked for
the contract alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from meltano_assets.clients.http import HttpClient
from meltano_assets.clients.policy import BrokenAnswerError, Response
from meltano_assets.errors import FatalError

XSI = "http://www.w3.org/2001/XMLSchema-instance"
#: How long a file of a contract is believed; a version of an interface does not change.
CACHE_SECONDS = 30 * 86_400.0
_MAX_CONTRACT_BYTES = 64 << 20
#: What may stand before the root element; a DOCTYPE may not.
_PROLOGUE = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<(!?)[A-Za-z_]", re.DOTALL
)
_FAILED = re.compile(rb'isSuccess\s*=\s*["\'](?:false|0)')
#: How far into an answer its status stands.
_HEAD_BYTES = 1 << 16

Node = Any
T = TypeVar("T")


def parse_xml(body: bytes) -> Node:
    """The root element; ValueError when the text is cut off, no XML, or brings entities along."""
    from lxml import etree  # type: ignore[import-untyped]  # it ships no types

    begin = _PROLOGUE.match(body)
    if begin is None:
        raise ValueError("not XML")
    if begin.group(1):
        raise BrokenAnswerError("XML with a document type, which may bring entities along")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        remove_comments=True,
    )
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        # The parser's own message quotes the text.
        raise ValueError("the XML is cut off or broken") from None


def local_name(tag: object) -> str:
    """``{urn:x}name`` → ``name``; empty for what is no element."""
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def find(node: Node | None, *names: str) -> Node | None:
    """The first child of that local name, and so on down; None when any is missing."""
    for name in names:
        if node is None:
            return None
        node = next((item for item in node if local_name(item.tag) == name), None)
    return node


def text(node: Node | None, *names: str) -> str:
    """The text down there; empty when it is missing."""
    found = find(node, *names)
    return (found.text or "").strip() if found is not None else ""


def soap_detail(unjudged: frozenset[str] = frozenset()) -> Callable[[Response], tuple[str, str]]:
    """Reads the error of a fault or of a failed ``status``; codes in ``unjudged`` are the caller's.

    A fault's code is the name of its detail element, since vendors declare those.
    """

    def detail(response: Response) -> tuple[str, str]:
        is_success = response.status < 300
        if is_success and not _FAILED.search(response.body[:_HEAD_BYTES]):
            return "", ""
        try:
            body = find(parse_xml(response.body), "Body")
        except ValueError:
            return "", ""
        fault = find(body, "Fault")
        if fault is not None:
            return _fault(fault)
        for status in body.iter("{*}status") if body is not None else ():
            if status.get("isSuccess") in ("false", "0"):
                code = text(status, "statusDetail", "code") or "failed"
                if code in unjudged:
                    return "", ""
                return code, text(status, "statusDetail", "message")
        return "", ""

    return detail


def _fault(fault: Node) -> tuple[str, str]:
    told = text(fault, "faultstring")
    detail = find(fault, "detail")
    for item in detail if detail is not None else ():
        name = local_name(item.tag)
        if name.endswith("Fault"):
            code = text(item, "code")
            return name, ": ".join(part for part in (code, text(item, "message") or told) if part)
    return text(fault, "faultcode").rpartition(":")[2] or "Fault", told


class Contract:
    """A loaded WSDL: makes its types by local name, and the envelopes of its operations."""

    def __init__(
        self, client: Any, binding: str, address: str, enumerations: Mapping[str, frozenset[str]]
    ) -> None:
        self._client = client
        self._enumerations = enumerations
        self._service = client.create_service(binding, address)
        self._types: dict[str, Any] = {}
        for kind in client.wsdl.types.types:
            self._types.setdefault(kind.name, kind)
        self._lock = threading.Lock()

    def has(self, name: str) -> bool:
        """True when the contract knows a type of that name."""
        return name in self._types

    def make(self, name: str, *args: object, **values: object) -> Any:
        """A value of that type; FatalError when the contract has no such type or field."""
        if name not in self._types:
            raise FatalError(f"this version of the interface has no {name}")
        try:
            return self._types[name](*args, **values)
        except TypeError as error:
            raise FatalError(f"this version of {name} differs: {error}") from None

    def allowed(self, name: str) -> frozenset[str]:
        """The values of an enumeration; empty when the contract does not list any."""
        return self._enumerations.get(name, frozenset())

    def has_field(self, name: str, field: str) -> bool:
        """True when that type has that element."""
        kind = self._types.get(name)
        return kind is not None and any(element == field for element, _ in kind.elements)

    def envelope(self, operation: str, headers: Mapping[str, object], **values: object) -> bytes:
        """A request, ready to send."""
        from lxml import etree

        with self._lock:
            envelope = self._client.create_message(
                self._service, operation, _soapheaders=dict(headers), **values
            )
        return bytes(etree.tostring(envelope, xml_declaration=True, encoding="UTF-8"))


_contracts: dict[tuple[str, str], Contract] = {}
_loading = threading.Lock()


def load_contract(
    http: HttpClient, link: str, *, binding: str, address: str, cache: Path | None
) -> Contract:
    """The contract at that address, loaded once per process; its files are kept in ``cache``.

    FatalError when what lies there is no WSDL.
    """
    with _loading:
        key = (http.url(link), address)
        if key not in _contracts:
            _contracts[key] = _load(http, http.url(link), binding, address, cache)
        return _contracts[key]


def _load(http: HttpClient, url: str, binding: str, address: str, cache: Path | None) -> Contract:
    import zeep
    from lxml import etree
    from zeep.transports import Transport

    enumerations: dict[str, frozenset[str]] = {}

    class Files(Transport):  # type: ignore[misc]  # zeep has no types
        """Reads a contract's files by our own client, below the vendor's address only."""

        def load(self, url: str) -> bytes:
            content = _contract_file(http, url, cache)
            enumerations.update(_enumerations(content))
            return content

    settings = zeep.Settings(strict=False, forbid_dtd=True, forbid_entities=True)
    try:
        client = zeep.Client(url, transport=Files(), settings=settings)
        return Contract(client, binding, address, enumerations)
    except (zeep.exceptions.Error, etree.XMLSyntaxError, ValueError, IndexError) as error:
        raise FatalError(
            f"what lies at {url} is not the contract that was expected ({type(error).__name__})",
            source=http.source,
            hint="check the base URL and the version of the interface",
        ) from None


def _enumerations(content: bytes) -> dict[str, frozenset[str]]:
    """The values of a schema's enumerations, which zeep does not keep."""
    return {
        str(kind.get("name")): frozenset(str(item.get("value")) for item in listed)
        for kind in parse_xml(content).iter("{http://www.w3.org/2001/XMLSchema}simpleType")
        if (listed := list(kind.iter("{http://www.w3.org/2001/XMLSchema}enumeration")))
    }


def _contract_file(http: HttpClient, url: str, cache: Path | None) -> bytes:
    link = urlsplit(urljoin(http.base_url, url)).path
    kept = None
    if cache is not None:
        kept = cache / f"{hashlib.sha256(http.url(link).encode()).hexdigest()}.xml"
        try:
            if time.time() - kept.stat().st_mtime < CACHE_SECONDS:
                return kept.read_bytes()
        except OSError:
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def whole_file(response: Response) -> bytes:
        if len(response.body) > _MAX_CONTRACT_BYTES:
            raise FatalError("a file of the contract is too large", source=http.source)
        parse_xml(response.body)
        return response.body

    content = http.fetch("GET", link, parse=whole_file, is_authenticated=False)
    if kept is not None:
        _keep(kept, content)
    return content


def _keep(path: Path, content: bytes) -> None:
    """Write at once or not at all, for nobody else to change."""
    draft = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    draft.replace(path)


def exchange(
    http: HttpClient,
    link: str,
    operation: str,
    build: Callable[[], bytes],
    parse: Callable[[Node], T],
) -> T:
    """One exchange, read by ``parse`` from the body's element.

    ``build`` is called anew for every try, so that a passport counts once. For operations that
    only read: it is repeated like a GET, also when ``parse`` raises ValueError.
    """

    def read(response: Response) -> T:
        body = find(parse_xml(response.body), "Body")
        if body is None:
            raise ValueError("no SOAP body")
        return parse(body)

    return http.fetch(
        "POST",
        link,
        data=build,
        headers={"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{operation}"'},
        parse=read,
        is_repeatable=True,
    )
