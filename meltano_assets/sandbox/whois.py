"""WHOIS (RFC 3912): a gateway, IANA, the registries and a registrar on TCP.

The *gateway* answers for all registries itself, without a referral, as a site's own WHOIS proxy
does: for clients that follow referrals to public addresses only. The other three refer to each
other like the real ones. They run at different loopback addresses with one port, so that a
referral can name a host alone and clients that keep their port reach it; a ``ReferralServer``
line with the port follows for those that do not. Where the machine has only 127.0.0.1, they
run at different ports and referrals say ``host:port``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable

from meltano_assets.sandbox.fault_kinds import KINDS
from meltano_assets.sandbox.faults import Fault, FaultBox
from meltano_assets.sandbox.registries import (
    SILENT,
    THIN,
    TOP_LEVEL_DOMAINS,
    Network,
    Registration,
    Registries,
    suffix_of,
)
from meltano_assets.sandbox.service import Counters

_END = "\r\n"
#: How registries of numbers and IANA end their lines.
_UNIX_END = "\n"
_SYSTEM = re.compile(r"as\d{1,10}")
_DAYS = ("created", "changed", "expires")
_READ_SECONDS = 30
_LONGEST_QUERY = 4096


class Whois:
    """The answers of all kinds of servers; ``address`` says where each of them listens."""

    def __init__(self, registries: Registries, address: Callable[[str], tuple[str, int]]) -> None:
        self._registries = registries
        self._address = address
        self.name = "whois"
        self.title = "WHOIS"
        self.faults = FaultBox(KINDS["whois"])
        self.counters = Counters()

    async def serve(
        self, role: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection: a line in, an answer out, the end."""
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            async with asyncio.timeout(_READ_SECONDS):
                line = (await reader.readline())[:_LONGEST_QUERY]
            query = line.decode("utf-8", "replace").strip()
            self.counters.count(f"{role} {query}")
            await self._answer(role, query, writer)
        writer.close()

    async def _answer(self, role: str, query: str, writer: asyncio.StreamWriter) -> None:
        subject = f"{role} {query}"
        if fault := self.faults.take("slow", subject):
            await asyncio.sleep(fault.number("seconds", 1))
        if self.faults.take("drop", subject):
            writer.transport.abort()
            return
        text = self._misbehaviour(role, query, subject) or self.answer(role, query)
        is_latin = query.lower().endswith(".de") and "utf-8" not in query.lower()
        data = text.encode("latin-1" if is_latin else "utf-8", "replace")
        if self.faults.take("truncate", subject):
            data = data[: len(data) // 2]
        fault = self.faults.take("drip", subject)
        await _write(writer, data, fault)

    def _misbehaviour(self, role: str, query: str, subject: str) -> str | None:
        if self.faults.take("throttle", subject):
            if query.lower().endswith(".de"):
                return (
                    f"% Error: 55000000002 Connection refused; access control limit exceeded.{_END}"
                )
            return f"WHOIS LIMIT EXCEEDED - SEE WWW.PIR.ORG/WHOIS FOR DETAILS{_END}"
        if self.faults.take("server_error", subject):
            return f"% Internal error, try again later{_END}"
        if self.faults.take("garbage", subject):
            return "\x00\x01\x02<html>502 Bad Gateway</html>" * 40
        if fault := self.faults.take("huge", subject):
            return f"remarks: {'x' * 62}{_END}" * int(
                fault.number("mebibytes", 10) * (1 << 20) / 73
            )
        if fault := self.faults.take("refer", subject):
            host, port = self._address(role)
            return _lines(f"refer: {fault.text('to', f'{host}:{port}')}", "status: ACTIVE")
        return None

    def answer(self, role: str, query: str) -> str:
        """The answer of the server of that role to one query."""
        name = _asked_name(query)
        if not name:
            return f"% Error: no query given{_END}"
        if network := self._registries.network(name):
            if role == "iana":
                return self._referral("inetnum", str(network.block), "registry")
            return _network_answer(network)
        if _SYSTEM.fullmatch(name):
            if role == "iana":
                return self._referral("as-block", name.upper(), "registry")
            return _system_answer(name.upper())
        tld = name.rsplit(".", 1)[-1]
        if role == "iana":
            if tld not in TOP_LEVEL_DOMAINS:
                return _lines(
                    "% IANA WHOIS server",
                    "% for more information on IANA, visit http://www.iana.org",
                    "% This query returned 0 objects.",
                    end=_UNIX_END,
                )
            return self._referral("domain", tld.upper(), "registry")
        if "." not in name and name in TOP_LEVEL_DOMAINS:
            return _lines(f"domain: {name.upper()}", "status: ACTIVE")
        held = self._registries.domain(_ascii(name))
        if held is None:
            return _not_found(name, tld)
        if role == "registry" and held.tld in THIN:
            return self._thin(held)
        return _thick(held)

    def _referral(self, kind: str, name: str, role: str) -> str:
        host, port = self._address(role)
        mine = self._address("iana")
        where = host if port == mine[1] else f"{host}:{port}"
        return _lines(
            "% IANA WHOIS server",
            "% for more information on IANA, visit http://www.iana.org",
            "% This query returned 1 object",
            "",
            f"refer:        {where}",
            "",
            f"{kind}:       {name}",
            "",
            "organisation: Sandbox Registry Services",
            "address:      1 Loopback Road",
            "",
            f"whois:        {where}",
            "",
            "status:       ACTIVE",
            "remarks:      Registration information: http://127.0.0.1/",
            "",
            "created:      1985-01-01",
            "changed:      2023-12-07",
            "source:       IANA",
            "",
            f"ReferralServer: whois://{host}:{port}",
            end=_UNIX_END,
        )

    def _thin(self, held: Registration) -> str:
        host, port = self._address("registrar")
        where = host if port == self._address("iana")[1] else f"{host}:{port}"
        return _lines(
            f"   Domain Name: {held.domain.upper()}",
            f"   Registry Domain ID: {held.handle}",
            f"   Registrar WHOIS Server: {where}",
            "   Registrar URL: http://www.sandbox-registrar.com",
            f"   Updated Date: {held.changed}",
            f"   Creation Date: {held.created}",
            f"   Registry Expiry Date: {held.expires}",
            "   Registrar: Sandbox Registrar Ltd",
            "   Registrar IANA ID: 9999",
            "   Domain Status: clientTransferProhibited https://icann.org/epp#clientTransferProhibited",
            *(f"   Name Server: {name.upper()}" for name in held.name_servers),
            "   DNSSEC: unsigned",
            ">>> Last update of whois database: 2024-01-10T20:00:01Z <<<",
        )


async def _write(writer: asyncio.StreamWriter, data: bytes, drip: Fault | None) -> None:
    if drip is None:
        writer.write(data)
    else:
        size = max(1, -(-len(data) // 20))
        for place in range(0, len(data), size):
            writer.write(data[place : place + size])
            await writer.drain()
            await asyncio.sleep(drip.number("seconds", 1) / 20)
    await writer.drain()


def _lines(*lines: str, end: str = _END) -> str:
    return end.join(lines) + end


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def _asked_name(query: str) -> str:
    words = [word for word in query.split() if word]
    if not words:
        return ""
    name = words[-1].lower().removeprefix("=").removesuffix("/e").rstrip(".")
    return name.split("/")[0]


def _not_found(name: str, tld: str) -> str:
    if tld in THIN:
        return _lines(
            f'No match for "{name.upper()}".',
            ">>> Last update of whois database: 2024-01-10T20:00:01Z <<<",
        )
    if tld == "de":
        return _lines(f"Domain: {name}", "Status: free")
    if tld == "uk":
        return _lines(
            "", f'    No match for "{name}".', "", "    This domain name has not been registered."
        )
    if tld == "jp":
        return _lines("No match!!")
    if tld in ("fr", "nl"):
        return _lines("%% NOT FOUND" if tld == "fr" else f"{name} is free")
    if tld == "br":
        return _lines(f"% No match for {name}")
    return _lines("Domain not found.") if suffix_of(name) else _lines("NOT FOUND")


def _thick(held: Registration) -> str:
    if held.tld == "de":
        return _lines(
            "% Restricted rights.",
            "",
            f"Domain: {held.domain}",
            *(f"Nserver: {name}" for name in held.name_servers),
            "Status: connect",
            f"Changed: {held.changed.replace('Z', '+00:00')}",
        )
    if held.tld == "jp":
        return _lines(
            f"a. [Domain Name]                {held.domain.upper()}",
            "g. [Organization]               ",
            f"p. [Name Server]                {held.name_servers[0]}",
            f"[State]                         Connected ({held.expires[:10].replace('-', '/')})",
        )
    if held.tld == "br":
        day = {name: getattr(held, name)[:10].replace("-", "") for name in _DAYS}
        return _lines(
            "% Copyright (c) Nic.br",
            "",
            f"domain:      {held.domain}",
            f"owner:       {held.registrant}",
            "country:     BR",
            "owner-c:     SBX12",
            "tech-c:      SBX12",
            *(f"nserver:     {name}" for name in held.name_servers),
            f"created:     {day['created']} #123456",
            f"changed:     {day['changed']}",
            f"expires:     {day['expires']}",
            "status:      published",
            "",
            "nic-hdl-br:  SBX12",
            "person:      Sandbox Registrar Ltd",
            f"created:     {day['created']}",
        )
    if held.tld == "uk":
        return _lines(
            "",
            "    Domain name:",
            f"        {held.domain}",
            "",
            "    Registrant:",
            f"        {held.registrant}",
            "",
            "    Registrar:",
            "        Sandbox Registrar Ltd [Tag = SANDBOX]",
            "",
            "    Relevant dates:",
            f"        Registered on: {held.created[:10]}",
            f"        Expiry date:  {held.expires[:10]}",
            "",
            "    Registration status:",
            "        Registered until expiry date.",
            "",
            "    Name servers:",
            *(f"        {name}" for name in held.name_servers),
        )
    hidden = held.organisation is None or held.tld in SILENT
    return _lines(
        f"Domain Name: {held.domain.upper()}",
        f"Registry Domain ID: {held.handle}",
        "Registrar URL: http://www.sandbox-registrar.com",
        f"Updated Date: {held.changed}",
        f"Creation Date: {held.created}",
        f"Registry Expiry Date: {held.expires}",
        "Registrar: Sandbox Registrar Ltd",
        "Registrar IANA ID: 9999",
        "Registrar Abuse Contact Email: abuse@sandbox-registrar.com",
        "Domain Status: clientTransferProhibited https://icann.org/epp#clientTransferProhibited",
        "Registrant Name: REDACTED FOR PRIVACY",
        f"Registrant Organization: {held.registrant}",
        f"Registrant City: {'REDACTED FOR PRIVACY' if hidden else held.city}",
        f"Registrant Country: {'REDACTED FOR PRIVACY' if hidden else held.country}",
        "Registrant Email: Please query the RDDS service of the Registrar of Record",
        *(f"Name Server: {name.upper()}" for name in held.name_servers),
        "DNSSEC: unsigned",
        ">>> Last update of WHOIS database: 2024-01-10T20:00:01Z <<<",
    )


def _network_answer(network: Network) -> str:
    block = network.block
    return _lines(
        "% This is a simulated registry's answer",
        "",
        f"inetnum:        {block.network_address} - {block.broadcast_address}"
        if block.version == 4
        else f"inet6num:       {block}",
        f"netname:        {network.name}",
        f"descr:          {network.organisation}",
        f"country:        {network.country}",
        "status:         ASSIGNED PA",
        f"source:         {network.registry.upper()}",
        "",
        f"organisation:   ORG-{network.handle}",
        f"org-name:       {network.organisation}",
        "org-type:       LIR",
        end=_UNIX_END,
    )


def _system_answer(name: str) -> str:
    return _lines(
        "% This is a simulated registry's answer",
        "",
        f"aut-num:        {name}",
        f"as-name:        RACKHAUS-{name}",
        "descr:          Rackhaus Hosting B.V.",
        "country:        NL",
        "status:         ASSIGNED",
        "source:         RIPE",
        "",
        f"organisation:   ORG-{name}",
        "org-name:       Rackhaus Hosting B.V.",
        "org-type:       LIR",
        end=_UNIX_END,
    )
