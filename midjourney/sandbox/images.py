"""Picture URLs as Discord's CDN signs them: they expire after a day, and their query string is the signature."""

from __future__ import annotations

from midjourney.sandbox import chance

LIFE_S = 24 * 3600
GONE = "This content is no longer available."


def address(base_url: str, name: str, now_s: int, *, expired: bool = False, variant: int = 0) -> str:
    """The URL of a picture, valid for a day from now. `expired`: already expired. Discord's URLs end with & too."""
    if not name:
        return ""
    until = now_s - 60 if expired else now_s + LIFE_S
    signature = f"{chance.number(name, until, variant) % 2**64:016x}"
    return f"{base_url}/mj/image/{name}.png?ex={until:x}&is={until - LIFE_S:x}&hm={signature}&"


def is_expired(ex: str, now_s: int) -> bool:
    """True if a URL with this `ex` parameter has expired. A URL without it never expires."""
    try:
        return bool(ex) and int(ex, 16) < now_s
    except ValueError:
        return True
