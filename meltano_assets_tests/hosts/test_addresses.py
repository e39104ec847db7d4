"""Which addresses may be told to a provider."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from meltano_assets.hosts.addresses import is_public, parse_ipv4, parse_ipv6


@given(st.ip_addresses())
def test_nothing_is_public_that_python_calls_not_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_loopback


def test_the_edges_of_every_reserved_network() -> None:
    networks = (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
        "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24"
    )
    for network in map(ipaddress.IPv4Network, networks.split()):
        assert not is_public(network.network_address)
        assert not is_public(network.broadcast_address)
        assert is_public(network.broadcast_address + 1)
        assert network.network_address == ipaddress.IPv4Address(0) or is_public(
            network.network_address - 1
        )
    assert is_public("223.255.255.255")
    assert not is_public("224.0.0.0")
    assert not is_public("255.255.255.255")


def test_public_ipv6_is_global_unicast_alone() -> None:
    assert is_public("2001:4860:4860::8888")
    for text in (
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::",
        "2002::1",
        "64:ff9b::808:808",
        "::ffff:127.0.0.1",
        "2001::1",
        "3fff::1",
        "5f00::1",
        "4000::",
    ):
        assert not is_public(text), text
    assert is_public("::ffff:8.8.8.8")


@given(st.integers(0, 2**32 - 1))
def test_all_spellings_of_an_ipv4_address_are_one(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    first, *rest = address.packed
    tail = int.from_bytes(bytes(rest), "big")
    spellings = (
        str(address),
        str(number),
        hex(number),
        "0" + oct(number)[2:],
        f"{first}.{tail}",
        ".".join(hex(byte) for byte in address.packed),
    )
    assert {parse_ipv4(text) for text in spellings} == {address}
    assert parse_ipv6(f"::ffff:{address}") == address


def test_what_is_no_address_is_none() -> None:
    for text in (
        "",
        ".",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.256",
        "4294967296",
        "08",
        "0x",
        "a",
        "1e3",
        "-1",
        "+1",
        "1_0",
        "٣",
        "9" * 5000,
        "1..2",
        "0x1g",
    ):
        found = parse_ipv4(text)
        assert found is None or text == "0x", text
    for text in ("", ":", ":::", "1::2::3", "g::", "[::1]", "1.2.3.4"):
        assert parse_ipv6(text) is None, text
