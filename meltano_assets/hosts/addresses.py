"""IP addresses: every spelling a host name field can hold, and which of them are public.

Belongs here: text to address, and the one answer to "may this address be told to anybody?". Does
not belong here: names (``clean.py``), connections.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from bisect import bisect_right
from itertools import chain

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's special-purpose registry, written out: ``ipaddress`` changed its answers between patch
# releases of Python (CVE-2024-4032) and calls multicast global. A test holds that whatever
# ``ipaddress`` calls not global is not public here either.
_NOT_PUBLIC_IPV4 = (
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",
    "169.254.0.0/16",  # link local, cloud metadata
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays, deprecated
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, deprecated; may wrap a private IPv4 address
        "3fff::/20",  # documentation
    )
)


def _boundaries(networks: tuple[str, ...]) -> list[int]:
    ranges = (ipaddress.IPv4Network(text) for text in networks)
    return list(
        chain.from_iterable(
            (int(net.network_address), int(net.broadcast_address) + 1) for net in ranges
        )
    )


#: Sorted boundaries: an odd number of them at or below an address means it is not public.
_IPV4_BOUNDARIES = _boundaries(_NOT_PUBLIC_IPV4)

_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\Z", re.DOTALL)
_MAX_NUMBER_LENGTH = 64


def is_public_ipv4_number(number: int) -> bool:
    """True when the IPv4 address with this number is globally reachable unicast."""
    return bisect_right(_IPV4_BOUNDARIES, number) % 2 == 0


def is_public(address: Address | str) -> bool:
    """True when the address is globally reachable unicast: it may be told to a provider."""
    if isinstance(address, str):
        parsed = parse_ipv6(address) if ":" in address else parse_ipv4(address)
        if parsed is None:
            return False
        address = parsed
    if isinstance(address, ipaddress.IPv4Address):
        return is_public_ipv4_number(int(address))
    if address.ipv4_mapped is not None:
        return is_public_ipv4_number(int(address.ipv4_mapped))
    return address in _PUBLIC_IPV6 and not any(address in net for net in _NOT_PUBLIC_IPV6)


def ends_in_number(name: str) -> bool:
    """True when a browser would read this lower-case name as an IPv4 address or refuse it."""
    return _ENDS_IN_NUMBER.match(name) is not None


def parse_ipv4(text: str) -> ipaddress.IPv4Address | None:
    """The address behind any spelling ``inet_aton`` knows (``0x7f.1``, ``2130706433``), or None."""
    number = parse_ipv4_number(text)
    return None if number is None else ipaddress.IPv4Address(number)


def parse_ipv4_number(text: str) -> int | None:
    """As ``parse_ipv4``, but the bare number: a column of a million addresses needs no objects."""
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError):
        pass
    parts = text.split(".")
    if len(parts) > 4:
        return None
    numbers = [_parse_number(part) for part in parts]
    *heads, last = numbers
    if last is None or last >= 256 ** (5 - len(numbers)):
        return None
    result = last
    for position, head in enumerate(heads):
        if head is None or head > 255:
            return None
        result += head << (8 * (3 - position))
    return result


def format_ipv4_number(number: int) -> str:
    """The dotted decimal spelling."""
    return socket.inet_ntoa(number.to_bytes(4, "big"))


def parse_ipv6(text: str) -> Address | None:
    """The address, without its zone; an IPv4-mapped one as IPv4; None when it is not one."""
    try:
        address = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address


def _parse_number(part: str) -> int | None:
    if not part.isascii() or len(part) > _MAX_NUMBER_LENGTH:
        return None
    base, digits = 10, part
    if part[:2] in ("0x", "0X"):
        base, digits = 16, part[2:] or "0"
    elif len(part) > 1 and part[0] == "0":
        base, digits = 8, part[1:]
    if not digits.isalnum():
        return None
    try:
        return int(digits, base)
    except ValueError:
        return None
