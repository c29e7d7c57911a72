"""Recognises links that only a private network can reach, by their text alone, without DNS. Performs no I/O.

Programs interpret links differently: C reads 010.0.0.1 as 8.0.0.1 and Java as 10.0.0.1, a browser treats \\ as /, and some decode
%6c in a host. A link counts as private if any of them could read a private address in it, or if its host is unreadable.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable
from urllib.parse import SplitResult, unquote, urlsplit

from midjourney.special_addresses import is_public_ip

_PRIVATE_ENDINGS = (
    *(".localhost", ".localdomain", ".local"),  # RFC 6761, RFC 6762
    *(".internal", ".home.arpa"),  # reserved by ICANN in 2024; RFC 8375
    *(
        ".intranet",
        ".private",
        ".corp",
        ".home",
        ".lan",
    ),  # RFC 6762, appendix G: used privately, never delegated
)
_LINK = re.compile(r"https?:[/\\]+([^/?#]*)", re.IGNORECASE)
_IN_TEXT = re.compile(
    r"https?:[/\\]+[^\s<>\"|,\uff0c\u3001\u3002\uff1b\uff01\uff1f\uff08\uff09\u300c\u300d]+", re.IGNORECASE
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAME = re.compile(r"[\w.-]+")


def is_link(text: str) -> bool:
    """True if a text is an http(s) URL, and not an image in base64 or a data URL."""
    return text.startswith(("http://", "https://"))


def links_in(text: str) -> list[str]:
    """The http(s) links in a prompt, without the punctuation at the end of a sentence."""
    return [link.rstrip(".;:!?)}'") for link in _IN_TEXT.findall(text)]


def is_private(link: str) -> bool:
    """True if only a private network could reach the link: a private IP address in any notation, a name with a private ending
    (`.local`, `.internal` …) or without a dot (`minio`), or an unreadable host."""
    host = host_of(link)
    if ":" in host:
        return not is_public_ip(host)
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        readings = _ipv4_readings(host)
        return not readings or not all(is_public_ip(reading) for reading in readings)
    return "." not in host or host.endswith(_PRIVATE_ENDINGS)


def host_of(link: str) -> str:
    """The host of an http(s) link, in lower case and without a dot at the end; IPv6 without brackets; "" if unreadable."""
    parts = _LINK.match(link)
    if parts is None or "\\" in parts[1]:
        return ""
    host = _without_port(parts[1].rpartition("@")[2])[0]
    if host.startswith("["):
        return _ipv6(host[1:-1])
    host = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower().rstrip(".")
    return host if _NAME.fullmatch(host) else ""


def is_named(link: str, hosts: Iterable[str]) -> bool:
    """True if a link is at one of these hosts: "minio" means all its ports, "minio:9000" only that port."""
    try:
        parts = urlsplit(link)
        host, port = host_of(link), port_of(parts)
    except ValueError:
        return False
    return any(host == name and wanted in (None, port) for name, wanted in map(host_and_port, hosts))


def host_and_port(text: str) -> tuple[str, int | None]:
    """Parse "minio:9000", "192.168.1.5" or "[fd00::5]:9000"; the port is None for all ports. Raises `ValueError`."""
    written, port = _without_port(f"[{text}]" if text.count(":") > 1 and "[" not in text else text)
    host = host_of(f"http://{written}/")
    if not host or set(written) & set("/\\@?#%") or not re.fullmatch(r"(:[0-9]{1,5})?", port):
        raise ValueError(f"{text!r} is not a host such as 192.168.1.5 or minio:9000")
    if port and not 0 < int(port[1:]) < 65536:
        raise ValueError(f"{text!r} does not have a port from 1 to 65535")
    return host, int(port[1:]) if port else None


def is_at(url: str, address: str) -> bool:
    """True if a URL has the scheme, host and port of `url`; False for an invalid one."""
    try:
        place = _place(url)
        return bool(place[1]) and place == _place(address)
    except ValueError:
        return False


def port_of(parts: SplitResult) -> int:
    """The port, or the scheme's default. Raises `ValueError` for an impossible one."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def shown(url: str) -> str:
    """A URL for messages, without user name and query string, which may be credentials; only the beginning of a data URL."""
    return re.sub(r"//[^/]*@", "//", re.split("[?#]", url, maxsplit=1)[0])[:200]


def _place(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", port_of(parts)


def _without_port(authority: str) -> tuple[str, str]:
    """Host and ":port"; IPv6 keeps its brackets."""
    end = authority.find("]") + 1 if authority.startswith("[") else 0
    host, colon, port = authority[end:].partition(":")
    return authority[:end] + host, colon + port


def _ipv6(text: str) -> str:
    """An IPv6 address without its zone (`%eth0`); "" if it is invalid."""
    try:
        return str(ipaddress.IPv6Address(text.partition("%")[0]))
    except ValueError:
        return ""


def _ipv4_readings(host: str) -> list[str]:
    """The addresses that a numeric host may stand for: as C reads it (octal, hexadecimal, fewer parts), and in decimal."""
    parts = host.split(".")
    if not all(_NUMBER.fullmatch(part) for part in parts):
        return []
    readings = (_ipv4(parts, _as_in_c), _ipv4(parts, int))
    return [reading for reading in readings if reading]


def _ipv4(parts: list[str], read: Callable[[str], int]) -> str:
    """The address; "127.1" is 127.0.0.1, because the last part fills the remaining bytes. "" if invalid."""
    try:
        *first, last = (read(part) for part in parts)
    except ValueError:
        return ""
    if len(first) > 3 or any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        return ""
    return str(ipaddress.IPv4Address(sum(number << 8 * (3 - at) for at, number in enumerate(first)) + last))


def _as_in_c(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)
