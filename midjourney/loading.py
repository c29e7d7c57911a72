"""Images from where people have them (a file, an address, bytes, base64) as submissions carry them.

An address is fetched by us, so it must not be a way to look around in our own network: only public addresses are
fetched, the one that was checked is the one that is connected to, and redirects are checked as well. What an upstream
of ours serves itself may stand anywhere; `is_at` tells.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from midjourney.image_data import LARGEST_BYTES, START_BYTES, BadImage, Image, image_of_bytes, image_of_text
from midjourney.tls import trusted

REDIRECTS = 3
TIMEOUT_S = 20.0


Progress = Callable[[int, int | None], None]
"""Told the bytes that have come, and how many there will be where the server says so."""


IsOwn = Callable[[str], bool]
"""Whether an address is at somebody we talk to anyway, and may be inside a network. Asked about each redirect too."""


class NotServed(BadImage):
    """The address answered, and not with the image: it has expired, or never was one. `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_gone(self) -> bool:
        """Whether asking again is of no use: the server has no image for this address, or shows it to nobody."""
        return self.status in (400, 401, 403, 404, 410)


def is_at(url: str, address: str) -> bool:
    """Whether an address is at the scheme, host and port of `url`; False for what is no address."""
    try:
        place = _place(url)
        return bool(place[1]) and place == _place(address)
    except ValueError:
        return False


def _place(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", _port(parts)


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _nobodys(_address: str) -> bool:
    return False


async def load_image(source: str | bytes | os.PathLike[str], *, largest: int = LARGEST_BYTES) -> Image:
    """The image in bytes, at an http(s) address, in a file, in a data URL or in base64. Raises `BadImage`."""
    if isinstance(source, bytes):
        return image_of_bytes(source, what="the bytes given", largest=largest)
    if isinstance(source, os.PathLike):
        return await read_image(source, largest=largest)
    if source.startswith(("http://", "https://")):
        return await fetch_image(source, largest=largest)
    if source.startswith("data:"):
        return image_of_text(source, what="the data URL", largest=largest)
    if len(source) < 4096 and await asyncio.to_thread(os.path.exists, source):
        return await read_image(Path(source), largest=largest)
    try:
        return image_of_text(source, largest=largest)
    except BadImage as error:
        shown = source if len(source) <= 80 else f"{source[:80]}…"
        raise BadImage(f"{shown!r} is no file that exists, no address, no data URL, and no base64") from error


async def read_image(path: os.PathLike[str], *, largest: int = LARGEST_BYTES) -> Image:
    """The image in a file. Raises `BadImage`; a file that is too large is not read."""

    def read() -> bytes:
        if (size := os.stat(path).st_size) > largest:
            raise BadImage(
                f"{os.fspath(path)} has {size} bytes; at most {largest} are taken: make it smaller"
            )
        return Path(path).read_bytes()

    try:
        data = await asyncio.to_thread(read)
    except OSError as error:
        raise BadImage(f"{os.fspath(path)} cannot be read: {error.strerror}") from error
    return image_of_bytes(data, what=os.fspath(path), largest=largest)


async def fetch_image(
    url: str,
    *,
    largest: int = LARGEST_BYTES,
    timeout_s: float = TIMEOUT_S,
    is_own: IsOwn = _nobodys,
    progress: Progress | None = None,
) -> Image:
    """The image at an address. Its query string goes out byte for byte: Discord signs it.

    Raises `BadImage` for an address that is not public (unless it `is_own`), for what is too large, and when it cannot
    be had; `NotAnImage` for what is none, as soon as it begins; `NotServed` when the server has no image for it.
    """
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=trusted()) as http,
        ):
            for _ in range(REDIRECTS + 1):
                found = await _get(http, url, largest, progress, is_own)
                if isinstance(found, bytes):
                    return image_of_bytes(found, what=_shown(url), largest=largest)
                url = urljoin(url, found)
    except TimeoutError as error:
        raise BadImage(f"{_shown(url)} did not come within {timeout_s:g} s") from error
    except httpx.HTTPError as error:
        raise BadImage(f"{_shown(url)} cannot be had: {str(error) or type(error).__name__}") from error
    except (ValueError, httpx.InvalidURL) as error:  # a port of six digits, a name that no header can carry
        raise BadImage(f"{_shown(url)} is no address that can be asked: {error}") from error
    raise BadImage(f"{_shown(url)} redirects more than {REDIRECTS} times")


async def _get(
    http: httpx.AsyncClient, url: str, largest: int, progress: Progress | None, is_own: IsOwn
) -> bytes | str:
    """The body, or where it redirects to."""
    parts = urlsplit(url)
    address = await _public_address(parts, allow_private=is_own(url))
    host = f"[{address}]" if ":" in address else address
    target = httpx.URL(f"{parts.scheme}://{host}:{_port(parts)}").copy_with(raw_path=_target(parts))
    # Images are compressed already, and unpacking what says it is packed has no bound.
    headers = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "hookchain"}
    headers["host"] = parts.netloc
    request = http.build_request("GET", target, headers=headers, extensions={"sni_hostname": parts.hostname})
    answer = await http.send(request, stream=True, follow_redirects=False)
    try:
        if answer.is_redirect:
            return str(answer.headers.get("location", ""))
        if answer.status_code != 200:
            raise NotServed(f"{_shown(url)} answered HTTP {answer.status_code}", status=answer.status_code)
        return await _body(answer, _shown(url), largest, progress)
    finally:
        await answer.aclose()


async def _body(answer: httpx.Response, what: str, largest: int, progress: Progress | None) -> bytes:
    """All of it, unless it begins like no image, or is too large: neither is read to its end."""
    declared = answer.headers.get("content-length", "")
    expected = int(declared) if declared.isdecimal() else None
    data = bytearray()
    async for piece in answer.aiter_raw():
        begins = len(data) < START_BYTES
        data += piece
        if begins and len(data) >= START_BYTES:
            image_of_bytes(bytes(data[:START_BYTES]), what=what)
        if progress is not None:
            progress(len(data), expected)
        if max(len(data), expected or 0) > largest:
            raise BadImage(f"{what} has more than {largest} bytes: make it smaller")
    return bytes(data)


async def _public_address(parts: SplitResult, *, allow_private: bool) -> str:
    """The address to connect to: the first that the name has, if all of them are public."""
    shown = _shown(parts.geturl())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadImage(f"{shown} is no http:// or https:// address")
    if parts.username is not None or parts.password is not None:
        raise BadImage(f"{shown}: an address with a user name in it is not fetched")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, _port(parts), type=socket.SOCK_STREAM
        )
    except (OSError, ValueError, UnicodeError) as error:
        raise BadImage(f"{shown} cannot be had: the name {parts.hostname!r} is not known") from error
    addresses = [str(entry[4][0]).split("%")[0] for entry in found]
    if not allow_private and not all(_is_public(address) for address in addresses):
        raise BadImage(f"{shown} is an address inside a network, and is not fetched")
    return addresses[0]


_TRANSLATED = tuple(
    ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fec0::/10")
)
"""IPv6 that leads to IPv4 addresses (NAT64, 6to4), and the site-local range of old: not for anybody outside."""


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _TRANSLATED)


def _target(parts: SplitResult) -> bytes:
    """Path and query as they were written, a trailing & included."""
    path = parts.path or "/"
    written = f"{path}?{parts.query}" if parts.query else path
    return written.encode("ascii", "backslashreplace") if written.isascii() else httpx.URL(written).raw_path


def _shown(url: str) -> str:
    """An address without user name and query string, which may be credentials; of a data URL only the beginning."""
    return re.sub(r"//[^/]*@", "//", re.split("[?#]", url, maxsplit=1)[0])[:200]
