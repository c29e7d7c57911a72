"""IP addresses that are not public: IANA's special-purpose registries, and addresses that clouds reserve. Performs no I/O.

The list is our own, because Python's `is_global` follows the registries at the time of each patch release, so that two releases
may disagree. Sources: RFC 6890 with the registries that it founded, as of 2025-10-09
(https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry).
Our list is stricter: protocols' anycast addresses and NAT64 are "globally reachable" there, but no image is at such an address.
"""

from __future__ import annotations

import ipaddress

_V4 = (
    *(
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
    ),  # this network, private, carriers' NAT, loopback
    *("169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),  # link-local (cloud metadata), private
    *(
        "192.0.0.0/24",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
    ),  # protocols (Oracle's metadata), examples
    *("192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24"),  # AS112, AMT: anycast of whoever is near
    *("192.88.99.0/24", "198.18.0.0/15"),  # 6to4 relays, benchmarks
    *("224.0.0.0/4", "240.0.0.0/4"),  # multicast, reserved, broadcast
    "168.63.129.16/32",  # Azure's host: DNS, certificates and the guest agent's settings
)
_V6 = (
    *(
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
    ),  # IPv4-compatible, -mapped (read below), -translated (RFC 2765)
    *("64:ff9b::/96", "64:ff9b:1::/48"),  # NAT64: leads to any IPv4 address
    *("100::/64", "100:0:0:1::/64", "2001::/23"),  # discard, dummy, protocols (Teredo, ORCHID, AMT)
    *("2001:db8::/32", "2002::/16", "2620:4f:8000::/48"),  # examples, 6to4, AS112
    *("3fff::/20", "5f00::/16"),  # examples, segment routing
    *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),  # private, link-local, site-local, multicast
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
"""All IPv6 addresses that are assigned to the public."""

_METADATA = (
    "169.254.0.0/16",  # link-local: nearly every cloud, and never images
    "fe80::/10",
    "168.63.129.16/32",  # Azure
    "100.100.100.200/32",  # Alibaba
    "100.96.0.96/32",  # Volcengine
    "192.0.0.192/32",  # Oracle
    "fd00:ec2::/32",  # Amazon: EC2, EKS, names and time
    "fd20:ce::254/128",  # Google
    "fd00:42::42/128",  # Scaleway
)
_ENDS_IN_V4 = ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
"""IPv6 networks whose last 32 bits are the IPv4 address that a translator connects to."""

_SPECIAL_V4 = tuple(map(ipaddress.IPv4Network, _V4))
_SPECIAL_V6 = tuple(map(ipaddress.IPv6Network, _V6))
_METADATA_NETWORKS = tuple(map(ipaddress.ip_network, _METADATA))
_ENDING_NETWORKS = tuple(map(ipaddress.IPv6Network, _ENDS_IN_V4))


def is_public_ip(address: str) -> bool:
    """True if an IP address is public. Raises `ValueError` for an invalid one."""
    ip = _plain(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _SPECIAL_V4)
    return ip in _GLOBAL_V6 and not any(ip in network for network in _SPECIAL_V6)


def is_metadata_ip(address: str) -> bool:
    """True if it is the address of a cloud's metadata service, which gives out the machine's keys, and never has images."""
    ip = _plain(address)
    leads_to = (ip, _behind(ip)) if isinstance(ip, ipaddress.IPv6Address) else (ip,)
    return any(
        target in network for target in leads_to if target is not None for network in _METADATA_NETWORKS
    )


def _behind(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a translator or tunnel (NAT64, 6to4) leads to."""
    if any(ip in network for network in _ENDING_NETWORKS):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.sixtofour


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address; an IPv4-mapped IPv6 address becomes IPv4, because the system connects to that."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
