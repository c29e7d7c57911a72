"""Posts a message to an address that a client gave: only to a public one, unless it is allowed, and without following redirects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

import httpx
import msgspec

from midjourney.addresses import port_of
from midjourney.bounded import BadAnswer, Bounds, exchange
from midjourney.reachable import NameUnknown, address_of
from midjourney.reachable import NotReachable as NotReachable
from midjourney.slices import in_slices
from midjourney.tls import trusted

CURE = "is not called unless the operator allows its host"


class NotTaken(Exception):
    """The other side could not be reached, or did not answer in time."""


class Posted(msgspec.Struct, frozen=True):
    """The answer of the other side: its status, and for how long it asked us to wait, in seconds."""

    status: int
    retry_after_s: float | None = None


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, within_s: float, allow_private: bool
) -> Posted:
    """Post a message. Raises `NotReachable` for an address that must not be called, and `NotTaken` if there was no answer. Messages of
    both name the host alone: a path may be as secret as a key."""
    try:
        parts = urlsplit(url)
        address = await address_of(
            parts, allow_private=allow_private, cure=CURE, link=f"{parts.hostname}:{port_of(parts)}"
        )
        host = f"[{address}]" if ":" in address else address
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        raw_path = path.encode("ascii") if path.isascii() else httpx.URL(path).raw_path
        target = httpx.URL(f"{parts.scheme}://{host}:{port_of(parts)}").copy_with(raw_path=raw_path)
    except NameUnknown as error:
        raise NotTaken(str(error)) from error
    except (ValueError, httpx.InvalidURL) as error:
        raise NotReachable(f"the address is invalid: {error}") from error
    sent = {"host": parts.netloc, "content-type": "application/json", "user-agent": "hookchain"} | dict(
        headers
    )
    try:
        async with in_slices(
            httpx.AsyncClient(timeout=within_s, follow_redirects=False, trust_env=False, verify=trusted())
        ) as http:
            request = http.build_request(
                "POST", target, content=body, headers=sent, extensions={"sni_hostname": parts.hostname}
            )
            answer = await exchange(
                partial(http.send, stream=True), request, _bounds(within_s), reads=lambda _status: False
            )
    except (httpx.HTTPError, BadAnswer) as error:
        raise NotTaken(str(error) or type(error).__name__) from error
    after = answer.headers.get("retry-after", "")
    return Posted(answer.status, float(after) if after.isascii() and after.isdigit() else None)


def _bounds(within_s: float) -> Bounds:
    """Only the status of the answer matters: its body is not read."""
    return Bounds(sent_bytes=0, unpacked_bytes=0, within_s=within_s)
