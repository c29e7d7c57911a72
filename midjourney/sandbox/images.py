"""Addresses of pictures, as Discord's CDN signs them: they end after a day, and their query string is part of them."""

from __future__ import annotations

from midjourney.sandbox import chance

LIFE_S = 24 * 3600
GONE = "This content is no longer available."


def address(base_url: str, name: str, now_s: int, *, expired: bool = False, variant: int = 0) -> str:
    """The address of a picture, from now on for a day; `expired`: until a while ago. The trailing & is Discord's."""
    if not name:
        return ""
    until = now_s - 60 if expired else now_s + LIFE_S
    signature = f"{chance.number(name, until, variant) % 2**64:016x}"
    return f"{base_url}/mj/image/{name}.png?ex={until:x}&is={until - LIFE_S:x}&hm={signature}&"


def is_expired(ex: str, now_s: int) -> bool:
    """Whether an address with this `ex` has ended; one without is for ever."""
    try:
        return bool(ex) and int(ex, 16) < now_s
    except ValueError:
        return True
