"""XML of the SOAP APIs: what was asked, read by the names of elements; answers and faults, written.

Namespaces are not looked at in requests, as clients write them in many ways; a document type is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from lxml import etree  # type: ignore[import-untyped]

from meltano_assets.sandbox.salesforce_http import Reply
from meltano_assets.sandbox.salesforce_values import ApiProblem

SOAP_TYPE = "text/xml;charset=UTF-8"
NAMESPACES = {
    "u": "urn:partner.soap.sforce.com",
    "c": "urn:enterprise.soap.sforce.com",
    "m": "http://soap.sforce.com/2006/04/metadata",
}
_OBJECTS = {
    "u": "urn:sobject.partner.soap.sforce.com",
    "c": "urn:sobject.enterprise.soap.sforce.com",
}
_FAULTS = {
    "u": "urn:fault.partner.soap.sforce.com",
    "c": "urn:fault.enterprise.soap.sforce.com",
    "m": "http://soap.sforce.com/2006/04/metadata",
}
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
#: The code of an error → the kind of fault that carries it.
_FAULT_KINDS = {
    "INVALID_LOGIN": "LoginFault",
    "MALFORMED_QUERY": "MalformedQueryFault",
    "INVALID_FIELD": "InvalidFieldFault",
    "INVALID_TYPE": "InvalidSObjectFault",
    "NOT_FOUND": "InvalidSObjectFault",
    "INVALID_QUERY_LOCATOR": "InvalidQueryLocatorFault",
    "MALFORMED_ID": "InvalidIdFault",
    "INVALID_ID_FIELD": "InvalidIdFault",
}


class _Nil:
    """Said to be null, where nothing said would be an error."""


NIL = _Nil()


class NotSoap(Exception):
    """A body that is no SOAP envelope."""


class Asked:
    """One request: its operation, and what its header and body hold."""

    def __init__(self, body: bytes) -> None:
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, huge_tree=False,
            remove_comments=True, remove_pis=True,
        )  # fmt: skip
        try:
            envelope = etree.fromstring(body, parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            raise NotSoap("Unable to parse the envelope") from error
        if envelope.getroottree().docinfo.doctype:
            raise NotSoap("DOCTYPE is disallowed")
        parts = {local(part): part for part in envelope}
        if local(envelope) != "Envelope" or "Body" not in parts or len(parts["Body"]) == 0:
            raise NotSoap("Unable to parse the envelope")
        self.element: etree._Element = parts["Body"][0]
        self.operation = local(self.element)
        self._header = parts.get("Header")

    def header(self, name: str, inner: str) -> str | None:
        """The text of a header's element."""
        for part in self._header if self._header is not None else ():
            if local(part) == name:
                return text_of(part, inner)
        return None

    def text(self, name: str) -> str | None:
        """The text of the body's first element of that name."""
        return text_of(self.element, name)

    def texts(self, name: str) -> list[str]:
        """The texts of the body's elements of that name."""
        return [part.text or "" for part in self.all(name)]

    def all(self, name: str) -> list[etree._Element]:
        """The body's elements of that name, whatever their capitals."""
        return [part for part in self.element if local(part).lower() == name.lower()]


def local(element: etree._Element) -> str:
    """An element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def is_nil(element: etree._Element) -> bool:
    """Whether the element says that there is no value."""
    return element.get(f"{{{_XSI}}}nil") in ("true", "1")


def text_of(element: etree._Element, name: str) -> str | None:
    """The text of the first element of that name, if it has a value."""
    for part in element:
        if local(part) == name:
            return None if is_nil(part) else part.text or ""
    return None


def envelope(body: str, kind: str, *, more: str = "") -> bytes:
    """An answer around what its body holds."""
    objects = f' xmlns:sf="{_OBJECTS[kind]}"' if kind in _OBJECTS else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns="{NAMESPACES[kind]}"{objects} xmlns:xsi="{_XSI}" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f"{more}<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    ).encode()


def answer(operation: str, results: Sequence[str], kind: str, *, more: str = "") -> Reply:
    """What an operation gives: one ``result`` for each."""
    inner = "".join(results)
    content = envelope(f"<{operation}Response>{inner}</{operation}Response>", kind, more=more)
    return Reply(200, content, content_type=SOAP_TYPE)


def fault(kind: str, problem: ApiProblem, *, fault_kind: str | None = None) -> Reply:
    """An operation that could not be done."""
    name = fault_kind or _FAULT_KINDS.get(problem.code, "UnexpectedErrorFault")
    code, words = escape(problem.code), _escaped(problem.message)
    detail = (
        f"<sf:exceptionCode>{code}</sf:exceptionCode>"
        f"<sf:exceptionMessage>{words}</sf:exceptionMessage>"
    )
    if name in ("InvalidFieldFault", "InvalidSObjectFault", "MalformedQueryFault"):
        detail += "<sf:row>-1</sf:row><sf:column>-1</sf:column>"
    content = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns:sf="{_FAULTS[kind]}" xmlns:xsi="{_XSI}"><soapenv:Body><soapenv:Fault>'
        f"<faultcode>sf:{code}</faultcode><faultstring>{code}: {words}</faultstring>"
        f'<detail><sf:{name} xsi:type="sf:{name}">{detail}</sf:{name}></detail>'
        "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    ).encode()
    return Reply(500, content, content_type=SOAP_TYPE)


def not_soap(message: str) -> Reply:
    """A request that is no call of an operation."""
    content = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
        "<soapenv:Body><soapenv:Fault><faultcode>soapenv:Client</faultcode>"
        f"<faultstring>{_escaped(message)}</faultstring></soapenv:Fault></soapenv:Body>"
        "</soapenv:Envelope>"
    ).encode()
    return Reply(500, content, content_type=SOAP_TYPE)


def written(name: str, value: object) -> str:
    """A value as XML: a list as so many elements, an object's fields in the contract's order."""
    return "".join(_pieces(name, value))


def _pieces(name: str, value: object) -> Iterator[str]:
    if value is None:
        return
    if value is NIL:
        yield f'<{name} xsi:nil="true"/>'
    elif isinstance(value, Mapping):
        yield f"<{name}>"
        # The contract lists fields by the alphabet.
        for inner in sorted(value):
            yield from _pieces(inner, value[inner])
        yield f"</{name}>"
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _pieces(name, entry)
    else:
        yield f"<{name}>{plain(value)}</{name}>"


def plain(value: object) -> str:
    """A value as text inside of an element."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _escaped(str(value))


def record(value: Mapping[str, object], kind: str, name: str = "records") -> str:
    """A record of a query: its type, its id, and its fields as they were asked for."""
    attributes = value.get("attributes")
    type_name = str(attributes["type"]) if isinstance(attributes, dict) else "AggregateResult"
    is_partner = kind == "u"
    prefix = "sf:"
    pieces = [f'<{name} xsi:type="{"sf:sObject" if is_partner else "sf:" + type_name}">']
    if is_partner:
        pieces.append(f"<sf:type>{type_name}</sf:type>")
        key = value.get("Id")
        pieces.append(f"<sf:Id>{key}</sf:Id>" if key else '<sf:Id xsi:nil="true"/>')
    for field, held in value.items():
        if field == "attributes":
            continue
        tag = prefix + field
        if held is None:
            pieces.append(f'<{tag} xsi:nil="true"/>')
        elif isinstance(held, Mapping) and "records" in held:
            inner = query_result(held, kind)
            pieces.append(f'<{tag} xsi:type="QueryResult">{inner}</{tag}>')
        elif isinstance(held, Mapping) and "attributes" in held:
            pieces.append(record(held, kind, tag))
        elif isinstance(held, Mapping):
            pieces.append(written(tag, {f"sf:{n}": v for n, v in held.items()}))
        else:
            pieces.append(f"<{tag}>{plain(held)}</{tag}>")
    pieces.append(f"</{name}>")
    return "".join(pieces)


def query_result(page: Mapping[str, object], kind: str) -> str:
    """What a page of a query holds."""
    following = page.get("nextRecordsUrl")
    locator = str(following).rpartition("/")[2] if following else None
    told = (
        f"<queryLocator>{plain(locator)}</queryLocator>"
        if locator
        else '<queryLocator xsi:nil="true"/>'
    )
    records = page["records"]
    assert isinstance(records, list)
    inner = "".join(record(each, kind) for each in records)
    return f"<done>{plain(page['done'])}</done>{told}{inner}<size>{page['totalSize']}</size>"


def _escaped(text: str) -> str:
    """Text without the characters that XML cannot carry."""
    kept = "".join(c if c >= " " or c in "\t\n\r" else "\ufffd" for c in text)
    kept = kept.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    return escape(kept.encode("utf-8", "replace").decode())
