"""Resolves the name in a link to the address that a request goes to, so that nobody's link leads into our own network.

The connection goes to the address that was checked: a name that is resolved again might lead elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import SplitResult

from midjourney.addresses import port_of, shown
from midjourney.special_addresses import is_metadata_ip, is_public_ip


class NotReachable(Exception):
    """A link that is not followed; the message says why."""


class NameUnknown(NotReachable):
    """The name in a link leads nowhere now. Another try may help: a container that starts again has no name for a moment."""


async def address_of(parts: SplitResult, *, allow_private: bool, cure: str, link: str = "") -> str:
    """The first address of a link's name, if all of its addresses are public, or `allow_private`.

    Raises `NotReachable`; for a private address its message ends with `cure`, and metadata services of clouds are never allowed.
    `link`: what messages call the link, if its path is nobody's business.
    """
    link = link or shown(parts.geturl())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotReachable(f"{link} is not an http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise NotReachable(f"{link}: a URL with a user name is not fetched")
    try:
        entries = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, port_of(parts), type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise NameUnknown(f"{link} cannot be reached: the name {parts.hostname!r} is unknown") from error
    except ValueError as error:
        raise NotReachable(f"{link} cannot be reached: {parts.hostname!r} is not a valid name") from error
    addresses = [str(entry[4][0]).split("%")[0] for entry in entries]
    if any(is_metadata_ip(address) for address in addresses):
        raise NotReachable(f"{link} is an address of a cloud's metadata service, which is never fetched")
    if not allow_private and not all(is_public_ip(address) for address in addresses):
        raise NotReachable(f"{link} is in a private network, and {cure}")
    return addresses[0]
