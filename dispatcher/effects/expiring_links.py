"""When the address of a picture or video expires."""

from __future__ import annotations

import re

from storage import clock

SOON_MS = 60_000
"""A URL that expires within this time is renewed before it is used."""

_EXPIRY = re.compile(r"[?&]ex=([0-9a-fA-F]{1,12})(?:&|$)")


def expires_at_ms(address: str) -> int | None:
    """When a Discord URL expires, in epoch milliseconds: its `ex` is hexadecimal seconds. None if it has no `ex`."""
    expiry = _EXPIRY.search(address)
    return int(expiry[1], 16) * 1000 if expiry else None


def expires_soon(address: str) -> bool:
    """True if a URL expires within a minute, or has expired."""
    expires_ms = expires_at_ms(address)
    return expires_ms is not None and expires_ms < clock.now_ms() + SOON_MS
