"""The special-purpose registries of IANA as a table: first and last address of each block, in every way it can be written."""

from __future__ import annotations

import ipaddress

import pytest

from midjourney.image_data import BadImage
from midjourney.loading import fetch_image
from midjourney.special_addresses import is_metadata_ip, is_public_ip
from tests.conftest import PATIENCE_S

SPECIAL = """
0.0.0.0 0.255.255.255 this network
10.0.0.0 10.255.255.255 private
100.64.0.0 100.127.255.255 carriers' NAT
127.0.0.0 127.255.255.255 loopback
169.254.0.0 169.254.255.255 link-local
172.16.0.0 172.31.255.255 private
192.0.0.0 192.0.0.255 protocol assignments
192.0.2.0 192.0.2.255 TEST-NET-1
192.31.196.0 192.31.196.255 AS112
192.52.193.0 192.52.193.255 AMT
192.88.99.0 192.88.99.255 6to4 relays
192.168.0.0 192.168.255.255 private
192.175.48.0 192.175.48.255 AS112
198.18.0.0 198.19.255.255 benchmarks
198.51.100.0 198.51.100.255 TEST-NET-2
203.0.113.0 203.0.113.255 TEST-NET-3
224.0.0.0 239.255.255.255 multicast
240.0.0.0 255.255.255.255 reserved
168.63.129.16 168.63.129.16 Azure
:: ::1 unspecified, loopback
::7f00:1 ::ffff:ffff IPv4-compatible
::ffff:7f00:1 ::ffff:7fff:ffff mapped loopback
::ffff:0:7f00:1 ::ffff:0:8.8.8.8 translated
64:ff9b:: 64:ff9b::ffff:ffff NAT64
64:ff9b:1:: 64:ff9b:1:ffff:ffff:ffff:ffff:ffff local NAT64
100:: 100::ffff:ffff:ffff:ffff discard
100:0:0:1:: 100:0:0:1:ffff:ffff:ffff:ffff dummy
2001:: 2001:0:ffff:ffff:ffff:ffff:ffff:ffff Teredo
2001:2:: 2001:2:0:ffff:ffff:ffff:ffff:ffff benchmarks
2001:10:: 2001:1f:ffff:ffff:ffff:ffff:ffff:ffff ORCHID
2001:20:: 2001:2f:ffff:ffff:ffff:ffff:ffff:ffff ORCHIDv2
2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff documentation
2002:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff 6to4
2620:4f:8000:: 2620:4f:8000:ffff:ffff:ffff:ffff:ffff AS112
3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff documentation
4000:: 5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff not given out, segment routing
fc00:: fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff private
fe80:: febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff link-local
fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff site-local
ff00:: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff multicast
fe80::1%eth0 fe80::1%1 a zone
"""
BLOCKS = [line.split(" ", 2) for line in SPECIAL.strip().splitlines()]

REGISTRIES = """
0.0.0.0/8 no
0.0.0.0/32 no
10.0.0.0/8 no
100.64.0.0/10 no
127.0.0.0/8 no
169.254.0.0/16 no
172.16.0.0/12 no
192.0.0.0/24 no
192.0.0.0/29 no
192.0.0.8/32 no
192.0.0.9/32 yes: port control
192.0.0.10/32 yes: TURN
192.0.0.170/32 no
192.0.0.171/32 no
192.0.2.0/24 no
192.31.196.0/24 yes: AS112
192.52.193.0/24 yes: AMT
192.88.99.0/24 no
192.88.99.2/32 no
192.168.0.0/16 no
192.175.48.0/24 yes: AS112
198.18.0.0/15 no
198.51.100.0/24 no
203.0.113.0/24 no
240.0.0.0/4 no
255.255.255.255/32 no
::1/128 no
::/128 no
::ffff:0:0/96 no
64:ff9b::/96 yes: NAT64
64:ff9b:1::/48 no
100::/64 no
100:0:0:1::/64 no
2001::/23 no
2001::/32 no
2001:1::1/128 yes: port control
2001:1::2/128 yes: TURN
2001:1::3/128 yes: service registration
2001:2::/48 no
2001:3::/32 yes: AMT
2001:4:112::/48 yes: AS112
2001:10::/28 no
2001:20::/28 yes: ORCHIDv2
2001:30::/28 yes: drones' identities
2001:db8::/32 no
2002::/16 no
2620:4f:8000::/48 yes: AS112
3fff::/20 no
5f00::/16 no
fc00::/7 no
fe80::/10 no
"""
"""Both special-purpose registries of IANA, as of 2025-10-09: each block, and whether they call it globally reachable."""
ROWS = [line.split(" ", 1) for line in REGISTRIES.strip().splitlines()]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2001:200::",
    "2001:4860:4860::8888",
    "2003::",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize(("first", "last", "what"), BLOCKS)
def test_a_special_block_is_not_public(first: str, last: str, what: str) -> None:
    """From its first address to its last; of IPv4 also where it is written as IPv6."""
    for address in (first, last):
        assert not is_public_ip(address), what
        if ":" not in address:
            number = int(ipaddress.IPv4Address(address))
            for way in (0xFFFF << 32, 0, 0x0064FF9B << 96, 0x2002 << 112 | number << 48):
                assert not is_public_ip(str(ipaddress.IPv6Address(way | number))), what


@pytest.mark.parametrize(("block", "reachable"), ROWS)
def test_every_block_of_the_registries_is_special(block: str, reachable: str) -> None:
    """Those too that they call reachable: protocols use them, and no picture is there. ::ffff:0:0/96 is read as IPv4."""
    network = ipaddress.ip_network(block)
    if block != "::ffff:0:0/96":
        for address in (network[0], network[network.num_addresses // 2], network[-1]):
            assert not is_public_ip(str(address)), reachable


@pytest.mark.parametrize("address", [one for one in PUBLIC if ":" not in one or "::ffff" not in one])
def test_what_is_public_here_is_public_by_python(address: str) -> None:
    """The list is nowhere laxer than the interpreter's; Azure's neighbours show where it ends."""
    assert ipaddress.ip_address(address).is_global


@pytest.mark.parametrize("address", PUBLIC)
def test_what_lies_beside_is_public(address: str) -> None:
    """The addresses of everybody, up to the edge of each block."""
    assert is_public_ip(address)


METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.23",
    "169.254.42.42",
    "fe80::a9fe:a9fe",
    "168.63.129.16",
    "100.100.100.200",
    "100.96.0.96",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::168.63.129.16",
    "2002:a9fe:a9fe::1",
]
NO_METADATA = ["127.0.0.1", "10.0.0.1", "192.168.1.5", "100.96.0.97", "fd00::5", "::1", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", METADATA)
async def test_a_clouds_metadata_is_never_fetched(address: str) -> None:
    """Not even where private addresses may be: an upstream's own name may lead there tomorrow."""
    assert is_metadata_ip(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(BadImage, match="never fetched"):
        await fetch_image(f"http://{host}/latest", may_be_private=lambda _: True, timeout_s=PATIENCE_S)


@pytest.mark.parametrize("address", NO_METADATA)
def test_other_private_addresses_are_the_owners_to_allow(address: str) -> None:
    """By `private_hosts`."""
    assert not is_metadata_ip(address)
    assert not is_public_ip(address)
