"""How the simulated NetSuite reads and writes SOAP 1.1: envelopes, faults, statuses, records.

Records are rendered by the contract that is served: its order, its namespaces, and nothing that
it doesn't know. Times are told in the account's own zone, calendar dates as its midnight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import cached_property
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from lxml import etree  # type: ignore[import-untyped]  # it ships no types

from meltano_assets.sandbox.company_books import Custom, Ref
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.netsuite_contract import Contract, Element

ACCOUNT_ZONE = timezone(timedelta(hours=-8))
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
#: Years whose times have an equal in every zone.
_FIRST_YEAR, _LAST_YEAR = 1000, 9998
#: What XML 1.0 cannot hold.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")

Node = Any
ValueOf = Callable[[Record, str], object]


class SoapFault(Exception):
    """A fault; ``name`` is the vendor's element, empty for one without a detail of its own."""

    def __init__(self, name: str, code: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.code = code
        self.message = message


class StatusError(Exception):
    """A failure that is told inside an answer with HTTP 200."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def local(node: Node) -> str:
    """The local name of an element."""
    return str(etree.QName(node).localname)


def child(node: Node | None, name: str) -> Node | None:
    """The first child of that local name."""
    if node is None:
        return None
    return next((item for item in node.iterchildren("*") if local(item) == name), None)


def text_of(node: Node | None, name: str) -> str:
    """The text of that child; empty without it."""
    found = child(node, name)
    return (found.text or "").strip() if found is not None else ""


def type_of(node: Node) -> str:
    """The local name in ``xsi:type``."""
    return str(node.get(f"{{{XSI}}}type") or "").rpartition(":")[2]


def parse_envelope(body: bytes) -> tuple[Node | None, Node]:
    """Header and the operation's element; SoapFault when it is no SOAP."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise SoapFault("", "", f"org.xml.sax.SAXParseException: {error.msg}") from None
    if root.getroottree().docinfo.doctype:
        raise SoapFault("", "", "DTD is not supported in SOAP")
    if root.tag != f"{{{SOAP}}}Envelope":
        raise SoapFault("", "", "the message is not a SOAP 1.1 envelope")
    found = child(root, "Body")
    operation = next(iter(found.iterchildren("*")), None) if found is not None else None
    if operation is None:
        raise SoapFault("", "", "the body is empty")
    return child(root, "Header"), operation


def moment_text(moment: datetime) -> str:
    """A time as the account's users see it."""
    shown = moment.astimezone(ACCOUNT_ZONE)
    return f"{shown:%Y-%m-%dT%H:%M:%S}.{shown.microsecond // 1000:03d}-08:00"


def as_moment(value: object) -> datetime | None:
    """A value of a record as a time; a date is the account's midnight."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=ACCOUNT_ZONE)
    return None


def parse_moment(text: str) -> datetime:
    """A time of a request; without a zone it is the account's. StatusError when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise StatusError("INVALID_DATE_FORMAT", f"{text!r} is not a date") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise StatusError("INVALID_DATE_FORMAT", f"{text!r} is beyond the calendar")
    return moment if moment.tzinfo else moment.replace(tzinfo=ACCOUNT_ZONE)


class Writer:
    """Writes answers in one version of a contract."""

    def __init__(self, contract: Contract, version: str) -> None:
        self._contract = contract
        self.version = version
        namespaces = dict.fromkeys(kind.namespace for kind in contract.types.values())
        self._prefixes = {
            namespace: _prefix(namespace, place) for place, namespace in enumerate(namespaces)
        }

    @cached_property
    def _declarations(self) -> str:
        return "".join(
            f' xmlns:{prefix}="{namespace.replace("{v}", self.version)}"'
            for namespace, prefix in self._prefixes.items()
        )

    # Envelopes

    def envelope(self, body: str, request_id: str) -> bytes:
        """An answer."""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="{SOAP}"'
            f' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="{XSI}"{self._declarations}>'
            f"<soapenv:Header><messages:documentInfo><messages:nsId>{request_id}</messages:nsId>"
            f"</messages:documentInfo></soapenv:Header><soapenv:Body>{body}</soapenv:Body>"
            "</soapenv:Envelope>"
        ).encode()

    def fault(self, fault: SoapFault) -> bytes:
        """A fault in the vendor's form."""
        detail = '<ns:hostname xmlns:ns="http://xml.apache.org/axis/">sandbox</ns:hostname>'
        if fault.name:
            detail = (
                f"<faults:{fault.name}><faults:code>{fault.code}</faults:code><faults:message>"
                f"{escape(fault.message)}</faults:message></faults:{fault.name}>{detail}"
            )
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="{SOAP}"'
            f' xmlns:xsi="{XSI}"><soapenv:Body><soapenv:Fault><faultcode>'
            "soapenv:Server.userException</faultcode><faultstring>"
            f'{escape(fault.message)}</faultstring><detail xmlns:faults="urn:faults_'
            f'{self.version}.platform.webservices.netsuite.com">{detail}</detail>'
            "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
        ).encode()

    def answer(self, operation: str, result: str, content: str, *, package: str = "core") -> str:
        """``<operationResponse><result>content``."""
        return (
            f"<messages:{operation}Response><{package}:{result}>{content}</{package}:{result}>"
            f"</messages:{operation}Response>"
        )

    def status(self, error: StatusError | None = None) -> str:
        """Whether it went well."""
        if error is None:
            return '<core:status isSuccess="true"/>'
        return (
            '<core:status isSuccess="false"><core:statusDetail type="ERROR">'
            f"<core:code>{error.code}</core:code><core:message>{escape(error.message)}"
            "</core:message></core:statusDetail></core:status>"
        )

    # Records

    def records(
        self, found: Iterable[tuple[str, Record]], *, body_only: bool, extra: Mapping[str, object]
    ) -> str:
        """``<recordList>`` with the records."""
        inside = "".join(
            self.record(kind, record, body_only=body_only, extra=extra) for kind, record in found
        )
        return f"<core:recordList>{inside}</core:recordList>"

    def record(
        self,
        kind: str,
        record: Record,
        *,
        body_only: bool = False,
        extra: Mapping[str, object] | None = None,
        package: str = "core",
    ) -> str:
        """``<record xsi:type=…>`` with what the contract knows, and ``extra`` fields behind it."""
        declared = self._contract.types[kind]
        prefix = self._prefixes[declared.namespace]
        attributes = "".join(
            f" {name}={quoteattr(str(record[name]))}"
            for name in declared.attributes
            if record.get(name) is not None
        )
        parts = [
            self._element(element, record[element.name])
            for element in declared.elements
            if record.get(element.name) is not None
            and not (body_only and _is_sublist(record[element.name]))
        ]
        parts += [
            f"<{prefix}:{name}>{escape(str(value))}</{prefix}:{name}>"
            for name, value in (extra or {}).items()
        ]
        return f'<{package}:record{attributes} xsi:type="{prefix}:{kind}">{"".join(parts)}</{package}:record>'

    def rows(
        self, found: Iterable[Record], columns: Iterable[str], row_type: str, values: ValueOf
    ) -> str:
        """``<searchRowList>`` with the columns asked for, each value in the form of its column."""
        row = self._contract.types[row_type]
        basic = self._contract.types[f"{row_type}Basic"]
        prefix, inner = self._prefixes[row.namespace], self._prefixes[basic.namespace]
        known = {element.name: element.type for element in basic.elements}
        wanted = [name for name in columns if name in known]
        parts = []
        for record in found:
            cells = "".join(
                f"<{inner}:{name}>{_search_value(known[name], values(record, name))}</{inner}:{name}>"
                for name in wanted
                if values(record, name) is not None
            )
            parts.append(
                f'<core:searchRow xsi:type="{prefix}:{row_type}"><{prefix}:basic>{cells}'
                f"</{prefix}:basic></core:searchRow>"
            )
        return f"<core:searchRowList>{''.join(parts)}</core:searchRowList>"

    def reference(self, tag: str, ref: Ref, kind: str = "RecordRef", **attributes: str) -> str:
        """A reference as an element of the core package, with its own type."""
        more = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
        return (
            f'<core:{tag} internalId={quoteattr(ref.id)}{more} xsi:type="core:{kind}">'
            f"<core:name>{_clean(ref.name)}</core:name></core:{tag}>"
        )

    def _element(self, element: Element, value: object) -> str:
        tag = f"{self._prefixes[element.namespace]}:{element.name}"
        if isinstance(value, Ref):
            return (
                f"<{tag} internalId={quoteattr(value.id)}><core:name>{_clean(value.name)}"
                f"</core:name></{tag}>"
            )
        if isinstance(value, list):
            return self._list(tag, element, value)
        if isinstance(value, Mapping):
            return f"<{tag}>{self._fields(element.type, value)}</{tag}>"
        return f"<{tag}>{_scalar(value)}</{tag}>"

    def _list(self, tag: str, element: Element, values: list[Any]) -> str:
        if not values:
            return ""
        if isinstance(values[0], Custom):
            inside = "".join(self._custom(place, value) for place, value in enumerate(values))
        elif isinstance(values[0], Ref):
            inside = "".join(
                f"<core:recordRef internalId={quoteattr(ref.id)}><core:name>{_clean(ref.name)}"
                "</core:name></core:recordRef>"
                for ref in values
            )
        else:
            wrapper = self._contract.types.get(element.type)
            inner = (
                next((item for item in wrapper.elements if item.is_repeated), None)
                if wrapper
                else None
            )
            if inner is None:
                return ""
            name = f"{self._prefixes[inner.namespace]}:{inner.name}"
            inside = "".join(
                f"<{name}>{self._fields(inner.type, value)}</{name}>" for value in values
            )
        return f"<{tag}>{inside}</{tag}>"

    def _fields(self, type_name: str, values: Mapping[str, object]) -> str:
        declared = self._contract.types.get(type_name)
        if declared is None:
            return ""
        return "".join(
            self._element(element, values[element.name])
            for element in declared.elements
            if values.get(element.name) is not None
        )

    def _custom(self, place: int, field: Custom) -> str:
        head = (
            f'<core:customField internalId="{place + 100}" scriptId={quoteattr(field.script_id)}'
            f' xsi:type="core:{field.kind}CustomFieldRef">'
        )
        values = field.value if isinstance(field.value, list) else [field.value]
        inside = "".join(
            f'<core:value internalId={quoteattr(value.id)} typeId="7"><core:name>'
            f"{_clean(value.name)}</core:name></core:value>"
            if isinstance(value, Ref)
            else f"<core:value>{_scalar(value)}</core:value>"
            for value in values
        )
        return f"{head}{inside}</core:customField>"


def _search_value(kind: str, value: object) -> str:
    if isinstance(value, Ref):
        return (
            f"<core:searchValue internalId={quoteattr(value.id)}><core:name>{_clean(value.name)}"
            "</core:name></core:searchValue>"
        )
    if kind == "SearchColumnSelectField":
        return f"<core:searchValue internalId={quoteattr(str(value))}/>"
    return f"<core:searchValue>{_scalar(value)}</core:searchValue>"


def _is_sublist(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _clean(text: str) -> str:
    return escape(_ILLEGAL.sub("", text))


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00.000-08:00"
    if isinstance(value, float):
        return double_text(value)
    return _clean(str(value))


def double_text(value: float) -> str:
    """A double as NetSuite's servers write it: from ten million on with an exponent."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    digits, _, exponent = f"{value:.17e}".partition("e")
    shortest = repr(float(digits))
    for places in range(1, 18):
        shorter = f"{value:.{places}e}"
        if float(shorter) == value:
            digits, _, exponent = shorter.partition("e")
            shortest = digits.rstrip("0")
            shortest += "0" if shortest.endswith(".") else ""
            break
    return f"{shortest}E{int(exponent)}"


def _prefix(namespace: str, place: int) -> str:
    """A speaking prefix for the packages that answers name; any other for the rest."""
    for package in ("core", "messages", "faults"):
        if namespace.startswith(f"urn:{package}_"):
            return package
    return f"p{place}"
