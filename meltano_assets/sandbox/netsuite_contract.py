"""The interface that the simulated NetSuite serves: WSDL, schemas, and their types.

By default a small one of our own (``netsuite_contract.txt``, in the vendor's namespaces and shapes,
for the records that the company has); else whatever set lies in a folder, such as the vendor's own
files of some version. Either is answered under any version: what names its own version is renamed.

The text form: ``[key] namespace file`` begins a schema; ``Name = a b`` is an enumeration, ``^name
Type`` a global element, ``Name < Base @ attribute type : element type, …`` a complex type (``~Name``
is abstract, ``*`` repeats, ``!`` is required, ``^name`` refers to a global element).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from xml.sax.saxutils import escape

from lxml import etree  # type: ignore[import-untyped]  # it ships no types

_XSD = "http://www.w3.org/2001/XMLSchema"
_OWN_VERSION = "2017_2"
_OPERATIONS = (
    "getServerTime", "getDataCenterUrls", "get", "getList", "getAll", "getDeleted", "search",
    "searchMore", "searchNext", "searchMoreWithId", "getSelectValue", "getCustomizationId",
    "getSavedSearch", "getPostingTransactionSummary", "login", "logout",
    "add", "addList", "update", "updateList", "upsert", "upsertList", "delete", "deleteList",
    "asyncAddList", "asyncUpdateList", "asyncUpsertList", "asyncDeleteList", "asyncGetList",
    "asyncSearch", "checkAsyncStatus", "getAsyncResult",
)  # fmt: skip
#: Operations whose answer is declared under another name.
_ANSWERS = {"getList": "getListResponse"}
FAULTS = (
    "insufficientPermissionFault", "invalidAccountFault", "invalidCredentialsFault",
    "invalidSessionFault", "exceededConcurrentRequestLimitFault", "exceededRequestLimitFault",
    "exceededUsageLimitFault", "exceededRecordCountFault", "exceededRequestSizeFault",
    "invalidVersionFault", "unexpectedErrorFault",
)  # fmt: skip
_HEADERS = ("applicationInfo", "partnerInfo", "preferences", "searchPreferences", "passport")


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a complex type; ``type`` is a local name, of the schema language or our own."""

    name: str
    type: str
    namespace: str
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class ComplexType:
    """A complex type with what it inherits; ``namespace`` holds ``{v}`` for the version."""

    name: str
    namespace: str
    base: str | None
    elements: tuple[Element, ...]
    attributes: tuple[str, ...]


class Contract:
    """One set of files and the types in them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {name.rpartition("/")[2]: content for name, content in files.items()}
        found = re.search(rb"urn:platform_(\d{4}_\d)\.webservices", self._files["netsuite.wsdl"])
        if found is None:
            raise ValueError("netsuite.wsdl names no version of the platform")
        self.version = found.group(1).decode()

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the set."""
        return tuple(self._files)

    def file(self, name: str, version: str, base_url: str) -> bytes | None:
        """A file of the set as that version would have it, leading to this server."""
        content = self._files.get(name)
        if content is None:
            return None
        return self._renamed(content, version, base_url)

    def _renamed(self, content: bytes, version: str, base_url: str) -> bytes:
        text = content.replace(self.version.encode(), version.encode())
        # Newer files import their schemas from the vendor's own host.
        return re.sub(rb"https://[a-z0-9.-]*netsuite\.com(?=/)", base_url.encode(), text)

    def schema_at(self, package: str, name: str) -> str | None:
        """The file that the vendor keeps at ``/xsd/<package>/v…/<name>``, under its name here."""
        wanted = name if name in self._files else f"{package}.{name}"
        return wanted if wanted in self._files else None

    @cached_property
    def types(self) -> dict[str, ComplexType]:
        """Complex types by local name."""
        own: dict[str, tuple[str, str | None, tuple[Element, ...], tuple[str, ...]]] = {}
        for name, content in self._files.items():
            if name.endswith(".xsd"):
                for type_name, declared in self._declared(content):
                    # Search types of the common package are the ones that are asked for.
                    own.setdefault(type_name, declared)
        return {name: self._resolved(name, own) for name in own}

    def _declared(
        self, content: bytes
    ) -> Iterator[tuple[str, tuple[str, str | None, tuple[Element, ...], tuple[str, ...]]]]:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
        namespace = str(root.get("targetNamespace")).replace(self.version, "{v}")
        names = {
            prefix: str(uri).replace(self.version, "{v}") for prefix, uri in root.nsmap.items()
        }
        for node in root.iterchildren(f"{{{_XSD}}}complexType"):
            extension = node.find(f".//{{{_XSD}}}extension")
            elements = []
            for item in node.iter(f"{{{_XSD}}}element"):
                prefix, _, local = (item.get("ref") or item.get("type") or "string").rpartition(":")
                is_reference = item.get("ref") is not None
                elements.append(
                    Element(
                        local if is_reference else str(item.get("name")),
                        local[:1].upper() + local[1:] if is_reference else local,
                        names.get(prefix or None, namespace) if is_reference else namespace,
                        item.get("maxOccurs") == "unbounded",
                    )
                )
            base = None
            if extension is not None:
                base = str(extension.get("base")).rpartition(":")[2]
            attributes = tuple(str(item.get("name")) for item in node.iter(f"{{{_XSD}}}attribute"))
            yield str(node.get("name")), (namespace, base, tuple(elements), attributes)

    def _resolved(
        self,
        name: str,
        own: Mapping[str, tuple[str, str | None, tuple[Element, ...], tuple[str, ...]]],
    ) -> ComplexType:
        namespace, base, elements, attributes = own[name]
        above = base
        while above is not None and above in own:
            _, further, inherited, more = own[above]
            elements, attributes = (*inherited, *elements), (*more, *attributes)
            above = further
        return ComplexType(name, namespace, base, elements, attributes)

    def namespace(self, type_name: str, version: str) -> str | None:
        """The namespace of a type in that version; None when there is no such type."""
        found = self.types.get(type_name)
        return found.namespace.replace("{v}", version) if found else None


def contract_in(folder: Path) -> Contract:
    """The set of files below a folder; ValueError when it holds no ``netsuite.wsdl``."""
    files = {
        path.name: path.read_bytes()
        for pattern in ("*.wsdl", "*.xsd")
        for path in sorted(folder.rglob(pattern))
    }
    if "netsuite.wsdl" not in files:
        raise ValueError(f"there is no netsuite.wsdl in {folder}")
    return Contract(files)


@cache
def own_contract() -> Contract:
    """The small set that comes with the sandbox."""
    text = (Path(__file__).parent / "netsuite_contract.txt").read_text("utf-8")
    schemas = list(_schemas(text.replace("{v}", _OWN_VERSION)))
    namespaces = {schema.key: schema.namespace for schema in schemas}
    files = {schema.file: schema.document(schemas).encode() for schema in schemas}
    files["netsuite.wsdl"] = _wsdl(schemas, namespaces).encode()
    return Contract(files)


@dataclass(slots=True)
class _Schema:
    key: str
    namespace: str
    file: str
    lines: list[str]

    def document(self, schemas: list[_Schema]) -> str:
        body = "".join(self._declaration(line) for line in self.lines)
        prefixes = "".join(
            f' xmlns:{_prefix(other.key)}="{other.namespace}"'
            for other in schemas
            if f"{_prefix(other.key)}:" in body or other is self
        )
        imports = "".join(
            f'<xs:import namespace="{other.namespace}" schemaLocation="{other.file}"/>'
            for other in schemas
            if other is not self and f"{_prefix(other.key)}:" in body
        )
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<xs:schema xmlns:xs="{_XSD}"{prefixes}'
            f' targetNamespace="{self.namespace}" elementFormDefault="qualified"'
            f' attributeFormDefault="unqualified">{imports}{body}</xs:schema>\n'
        )

    def _declaration(self, line: str) -> str:
        if line.startswith("^"):
            name, kind = line[1:].split()
            return f'<xs:element name="{name}" type="{self._type(kind)}"/>'
        name, is_enumeration, values = line.partition(" =")
        if is_enumeration:
            items = "".join(f'<xs:enumeration value="{value}"/>' for value in values.split())
            return (
                f'<xs:simpleType name="{name}"><xs:restriction base="xs:string">{items}'
                "</xs:restriction></xs:simpleType>"
            )
        head, _, body = line.partition(" : ")
        head, _, attributes = head.partition(" @ ")
        name, _, base = head.partition(" < ")
        elements = "".join(self._element(item) for item in body.split(", ") if item)
        listed = "".join(
            f'<xs:attribute name="{item.split()[0]}" type="{self._type(item.split()[1])}"/>'
            for item in attributes.split(", ")
            if item
        )
        inside = f"<xs:sequence>{elements}</xs:sequence>{listed}"
        if base == "string":
            inside = (
                f'<xs:simpleContent><xs:extension base="xs:string">{listed}</xs:extension>'
                "</xs:simpleContent>"
            )
        elif base:
            inside = (
                f'<xs:complexContent><xs:extension base="{self._type(base)}">{inside}'
                "</xs:extension></xs:complexContent>"
            )
        abstract = ' abstract="true"' if name.startswith("~") else ""
        return f'<xs:complexType name="{name.lstrip("~")}"{abstract}>{inside}</xs:complexType>'

    def _element(self, item: str) -> str:
        repeated = ' maxOccurs="unbounded"' if "*" in item else ""
        optional = "" if "!" in item else ' minOccurs="0"'
        plain = item.replace("*", "").replace("!", "")
        if plain.startswith("^"):
            return f'<xs:element ref="{self._type(plain[1:])}"{optional}{repeated}/>'
        name, kind = plain.split()
        return f'<xs:element name="{name}" type="{self._type(kind)}"{optional}{repeated}/>'

    def _type(self, kind: str) -> str:
        key, colon, name = kind.rpartition(":")
        if not colon:
            return f"xs:{name}"
        return f"{_prefix(key or self.key)}:{name}"


def _prefix(key: str) -> str:
    return key.replace(".", "-")


def _schemas(text: str) -> Iterator[_Schema]:
    current: _Schema | None = None
    for line in text.splitlines():
        if line.startswith("["):
            if current is not None:
                yield current
            key, namespace, file = line.split()
            current = _Schema(key.strip("[]"), namespace, file, [])
        elif current is None:
            raise ValueError("a line before the first schema")
        elif line.startswith("  "):
            current.lines[-1] += f" {line.strip()}"
        else:
            current.lines.append(line)
    if current is not None:
        yield current


def _wsdl(schemas: list[_Schema], namespaces: Mapping[str, str]) -> str:
    target = f"urn:platform_{_OWN_VERSION}.webservices.netsuite.com"
    messages, faults = namespaces["messages"], namespaces["faults"]
    imports = "".join(
        f'<xs:import namespace="{schema.namespace}" schemaLocation="{schema.file}"/>'
        for schema in schemas
    )
    parts = "".join(
        f'<part name="{name}" element="m:{name}"/>'
        for name in (*_HEADERS, "documentInfo", "tokenPassport")
    )
    declared = [f'<message name="headers">{parts}</message>']
    ports, bindings = [], []
    for fault in FAULTS:
        declared.append(
            f'<message name="{fault}"><part name="fault" element="f:{fault}"/></message>'
        )
    for name in _OPERATIONS:
        answer = _ANSWERS.get(name, f"{name}Response")
        for message, element in ((f"{name}Request", name), (f"{name}Response", answer)):
            declared.append(
                f'<message name="{message}"><part name="parameters" element="m:{element}"/></message>'
            )
        port_faults = "".join(
            f'<fault name="{fault[0].upper()}{fault[1:]}" message="tns:{fault}"/>'
            for fault in FAULTS
        )
        ports.append(
            f'<operation name="{name}"><input name="{name}Request" message="tns:{name}Request"/>'
            f'<output name="{name}Response" message="tns:{name}Response"/>{port_faults}</operation>'
        )
        headers = "".join(
            f'<soap:header message="tns:headers" part="{part}" use="literal"/>'
            for part in (*_HEADERS, "tokenPassport")
        )
        binding_faults = "".join(
            f'<fault name="{title}"><soap:fault name="{title}" use="literal"/></fault>'
            for title in (fault[0].upper() + fault[1:] for fault in FAULTS)
        )
        bindings.append(
            f'<operation name="{name}"><soap:operation soapAction="{name}"/>'
            f'<input name="{name}Request">{headers}<soap:body use="literal"/></input>'
            f'<output name="{name}Response"><soap:header message="tns:headers" part="documentInfo"'
            f' use="literal"/><soap:body use="literal"/></output>{binding_faults}</operation>'
        )
    address = escape(f"https://webservices.netsuite.com/services/NetSuitePort_{_OWN_VERSION}")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<definitions'
        ' xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"'
        f' xmlns:tns="{target}" xmlns:m="{messages}" xmlns:f="{faults}"'
        f' targetNamespace="{target}"><types><xs:schema xmlns:xs="{_XSD}"'
        f' elementFormDefault="qualified">{imports}</xs:schema></types>{"".join(declared)}'
        f'<portType name="NetSuitePortType">{"".join(ports)}</portType>'
        '<binding name="NetSuiteBinding" type="tns:NetSuitePortType"><soap:binding'
        ' style="document" transport="http://schemas.xmlsoap.org/soap/http"/>'
        f'{"".join(bindings)}</binding><service name="NetSuiteService"><port name="NetSuitePort"'
        f' binding="tns:NetSuiteBinding"><soap:address location="{address}"/></port></service>'
        "</definitions>\n"
    )
